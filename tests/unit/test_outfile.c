/* Files that appear whole or not at all, on file systems that can hold nameless ones and on others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/outfile.h"

static bool old_fs; /* O_TMPFILE is unknown */

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
    if (old_fs && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    return __real_openat(dir, path, flags, mode);
}

static char dir[] = "/tmp/waypost-outfile.XXXXXX";
static char path[64];

static int entries(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void put(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void holds(const char *want)
{
    char got[64] = "";
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    got[fread(got, 1, sizeof got - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(got, want);
}

static void begin(struct base_outfile *o, bool force)
{
    struct base_err err = {0};
    assert_int_equal(base_outfile_open(o, path, force, &err), 0);
    assert_int_equal(base_outfile_reserve(o, 1000, &err), 0);
    assert_int_equal(base_outfile_write(o, "one ", 4, &err), 0);
    assert_int_equal(base_outfile_write(o, "two", 3, &err), 0);
}

static void it_appears_at_the_end(void **state)
{
    (void)state;
    struct base_outfile o;
    struct base_err err = {0};
    struct stat st;
    const mode_t mask = umask(027);
    begin(&o, false);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(base_outfile_commit(&o, &err), 0);
    umask(mask);
    holds("one two");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(entries(), 1);
    base_outfile_abort(&o); /* nothing */
    holds("one two");
    unlink(path);
}

static void what_is_there_stays(void **state)
{
    (void)state;
    struct base_outfile o;
    struct base_err err = {0};
    put("old");
    assert_int_equal(base_outfile_open(&o, path, false, &err), BASE_EPERM);
    base_outfile_abort(&o);
    holds("old");
    unlink(path);
    begin(&o, false); /* and what comes while it is written */
    put("new");
    assert_int_equal(base_outfile_commit(&o, &err), BASE_EPERM);
    holds("new");
    assert_int_equal(entries(), 1);
    unlink(path);
}

static void force_replaces(void **state)
{
    (void)state;
    struct base_outfile o;
    struct base_err err = {0};
    put("old");
    begin(&o, true);
    holds("old");
    assert_int_equal(base_outfile_commit(&o, &err), 0);
    holds("one two");
    assert_int_equal(entries(), 1);
    unlink(path);
    begin(&o, true); /* nothing to replace */
    assert_int_equal(base_outfile_commit(&o, &err), 0);
    holds("one two");
    unlink(path);
}

static void all_at_once(void **state)
{
    (void)state;
    struct base_err err = {0};
    assert_int_equal(base_outfile_put(path, false, "one", 3, &err), 0);
    holds("one");
    assert_int_equal(base_outfile_put(path, false, "two", 3, &err), BASE_EPERM);
    holds("one");
    assert_int_equal(base_outfile_put(path, true, "", 0, &err), 0);
    holds("");
    assert_int_equal(entries(), 1);
    unlink(path);
}

static void abort_leaves_nothing(void **state)
{
    (void)state;
    struct base_outfile o;
    begin(&o, false);
    base_outfile_abort(&o);
    base_outfile_abort(&o);
    assert_int_equal(entries(), 0);
    put("old");
    begin(&o, true);
    base_outfile_abort(&o);
    holds("old");
    unlink(path);
}

static void bad_places_are_refused(void **state)
{
    (void)state;
    struct base_outfile o;
    struct base_err err = {0};
    char inner[96];
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(base_outfile_open(&o, path, true, &err), BASE_EPERM);
    assert_string_equal(err.place, path);
    rmdir(path);
    snprintf(inner, sizeof inner, "%s/no/such", dir);
    assert_int_equal(base_outfile_open(&o, inner, false, &err), BASE_EIO);
    assert_non_null(strstr(err.msg, "folder"));
    assert_int_equal(entries(), 0);
}

static int on_full_disk(void)
{
    static char block[65536];
    struct base_outfile o;
    struct base_err err = {0};
    int rc = base_outfile_open(&o, path, false, &err);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit lim = {100000, 100000};
    setrlimit(RLIMIT_FSIZE, &lim);
    if (rc != 0 || base_outfile_write(&o, block, sizeof block, &err) != 0)
        return 1;
    if (base_outfile_write(&o, block, sizeof block, &err) != BASE_EIO)
        return 2;
    base_outfile_abort(&o);
    return 0;
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(on_full_disk());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(entries(), 0);
}

/* A file system that can't make files without a name: they have one from the start. */
static int named(void **state)
{
    (void)state;
    old_fs = true;
    return 0;
}

static int nameless(void **state)
{
    (void)state;
    old_fs = false;
    return 0;
}

#define BOTH(test)                                \
    {#test, test, nameless, NULL, NULL},          \
    {                                             \
#test " (named)", test, named, NULL, NULL \
    }

int main(void)
{
    /* clang-format off */
    const struct CMUnitTest tests[] = {
        BOTH(it_appears_at_the_end),
        BOTH(what_is_there_stays),
        BOTH(force_replaces),
        BOTH(all_at_once),
        BOTH(abort_leaves_nothing),
        BOTH(bad_places_are_refused),
        BOTH(a_full_disk_is_told),
    };
    /* clang-format on */
    if (mkdtemp(dir) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/file", dir);
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return rc;
}
