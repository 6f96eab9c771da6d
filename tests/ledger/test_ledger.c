#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "ledger/ledger.h"

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/waypost-ledger-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/ledger", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static struct ledger_record release(int i)
{
    struct ledger_record r = {.kind = LEDGER_RELEASE, .time_us = 1795402800123456 + i};
    snprintf(r.decision_id, sizeof r.decision_id, "%032x", i);
    strcpy(r.rule, "public \"questions\" \n");
    strcpy(r.target, "cloud-ä");
    strcpy(r.mode, "prompt");
    memset(r.policy_hash, 'a', 64);
    strcpy(r.classes[0], "public");
    strcpy(r.classes[1], "vehicle/status");
    r.n_class = 2;
    r.max_bytes = 4096;
    return r;
}

static struct ledger_record closing(int i)
{
    struct ledger_record r = {.kind = LEDGER_CLOSE, .time_us = 1795402801000000 + i};
    snprintf(r.decision_id, sizeof r.decision_id, "%032x", i);
    r.bytes_out = 100;
    r.bytes_in = 7;
    strcpy(r.result, "ok");
    return r;
}

/* n pairs of records; the last hash goes to head. */
static void fill(int n, char head[65])
{
    struct ledger *l;
    struct base_err err = {0};
    assert_int_equal(ledger_open(&l, path, &err), 0);
    for (int i = 0; i < n; i++) {
        struct ledger_record r = release(i), c = closing(i);
        assert_int_equal(ledger_append(l, &r, &err), 0);
        assert_int_equal(ledger_append(l, &c, &err), 0);
        memcpy(head, c.hash, 65);
    }
    ledger_close(l);
}

static char *slurp(const char *name, size_t *len)
{
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    char *s = calloc(1, 1 << 20);
    *len = fread(s, 1, (1 << 20) - 1, f);
    fclose(f);
    return s;
}

static void spew(const char *name, const char *s, size_t len)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(s, 1, len, f), len);
    fclose(f);
}

struct seen {
    struct ledger_record r[8];
    int n;
};

static int collect(const struct ledger_record *r, void *arg)
{
    struct seen *s = arg;
    assert_true(s->n < 8);
    s->r[s->n++] = *r;
    return 0;
}

static void records_come_back(void **state)
{
    (void)state;
    char head[65], seen_head[65];
    struct seen s = {.n = 0};
    struct base_err err = {0};
    fill(2, head);
    assert_int_equal(ledger_read(path, collect, &s, seen_head, &err), 0);
    assert_int_equal(s.n, 4);
    assert_string_equal(head, seen_head);
    struct ledger_record want = release(1), c = closing(1);
    want.seq = 3;
    memcpy(want.hash, s.r[2].hash, sizeof want.hash);
    assert_memory_equal(&s.r[2], &want, sizeof want);
    c.seq = 4;
    memcpy(c.hash, s.r[3].hash, sizeof c.hash);
    assert_memory_equal(&s.r[3], &c, sizeof c);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* docs/ledger.md promises that any tool can check a line: the hash is over the bytes before
 * ,"hash":, and this is what those bytes are. */
static void bytes_are_the_documented_ones(void **state)
{
    (void)state;
    char head[65], hex[65];
    fill(1, head);
    size_t len;
    char *s = slurp(path, &len);
    static const char want[] =
        "{\"v\":1,\"seq\":1,\"prev\":"
        "\"00000000000000000000000000000000000000000000000000000000000000"
        "00\",\"time\":\"2026-11-23T03:00:00.123456Z\",\"time_us\":1795402800123456,\"kind\":"
        "\"release\",\"decision\":\"00000000000000000000000000000000\",\"rule\":\"public "
        "\\\"questions\\\" \\n\",\"target\":\"cloud-ä\",\"mode\":\"prompt\",\"policy\":"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"classes\":["
        "\"public\","
        "\"vehicle/status\"],\"max_bytes\":4096";
    size_t n = sizeof want - 1;
    assert_true(len > n);
    assert_memory_equal(s, want, n);
    uint8_t h[32];
    assert_int_equal(base_sha256(want, n, h), 0);
    base_hex(h, 32, hex);
    char tail[96];
    snprintf(tail, sizeof tail, ",\"hash\":\"%s\"}\n", hex);
    assert_memory_equal(s + n, tail, strlen(tail));
    free(s);
}

static void reopening_goes_on(void **state)
{
    (void)state;
    char head[65], again[65];
    struct seen s = {.n = 0};
    struct base_err err = {0};
    fill(1, head);
    fill(1, head);
    assert_int_equal(ledger_read(path, collect, &s, again, &err), 0);
    assert_int_equal(s.n, 4);
    assert_int_equal(s.r[3].seq, 4);
    assert_string_equal(again, head);
}

static void an_empty_ledger_has_a_zero_head(void **state)
{
    (void)state;
    struct ledger *l;
    struct base_err err = {0};
    char head[65];
    assert_int_equal(ledger_open(&l, path, &err), 0);
    assert_int_equal(ledger_read(path, NULL, NULL, head, &err), 0);
    assert_int_equal(strspn(head, "0"), 64);
    ledger_close(l);
    assert_int_equal(ledger_read("/nonexistent/ledger", NULL, NULL, head, &err), BASE_EIO);
}

/* Every single byte of the file is covered: any change anywhere is found, at its line. */
static void every_edit_is_found(void **state)
{
    (void)state;
    char head[65], seen[65];
    fill(2, head);
    size_t len;
    char *s = slurp(path, &len);
    int line = 1;
    for (size_t i = 0; i < len; i++) {
        struct base_err err = {0};
        char was = s[i];
        s[i] = (char)(was ^ 1);
        spew(path, s, len);
        int e = ledger_read(path, NULL, NULL, seen, &err);
        if (e != BASE_EFORMAT)
            print_message("byte %zu of %zu: %d %s\n", i, len, e, err.msg);
        assert_int_equal(e, BASE_EFORMAT);
        char place[128];
        snprintf(place, sizeof place, "%s:%d", path, line);
        assert_string_equal(err.place, place);
        s[i] = was;
        line += was == '\n';
    }
    free(s);
}

/* Moves the lines of a four-line file into the order given ("1243"; missing: left out). */
static void reorder(const char *order)
{
    size_t len;
    char *s = slurp(path, &len), *out = calloc(1, 2 * len + 1);
    char *line[4] = {s};
    for (int i = 1; i < 4; i++)
        line[i] = strchr(line[i - 1], '\n') + 1;
    for (; *order != '\0'; order++) {
        char *l = line[*order - '1'];
        strncat(out, l, (size_t)(strchr(l, '\n') - l) + 1);
    }
    spew(path, out, strlen(out));
    free(out);
    free(s);
}

static void moved_and_missing_records_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *order;
        int line;
    } bad[] = {{"1243", 3}, {"124", 3}, {"234", 1}, {"2134", 1}, {"11234", 2}, {"123434", 5}};
    char head[65], seen[65];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct base_err err = {0};
        unlink(path);
        fill(2, head);
        reorder(bad[i].order);
        assert_int_equal(ledger_read(path, NULL, NULL, seen, &err), BASE_EFORMAT);
        char place[128];
        snprintf(place, sizeof place, "%s:%d", path, bad[i].line);
        assert_string_equal(err.place, place);
    }
}

/* A chain cut at a record's end is a chain; only the head that was noted elsewhere tells. */
static void a_cut_end_shows_in_the_head(void **state)
{
    (void)state;
    char head[65], seen[65];
    struct base_err err = {0};
    fill(2, head);
    reorder("123");
    assert_int_equal(ledger_read(path, NULL, NULL, seen, &err), 0);
    assert_string_not_equal(seen, head);
}

/* A line that hashes right but is written differently (spaces, order, a field more) is refused: one
 * record has one form, so two readers cannot see two things. */
static void other_spellings_are_refused(void **state)
{
    (void)state;
    static const char *const body[] = {
        "{\"v\":1, \"seq\":1,\"prev\":\"%s\",\"time\":\"2026-11-23T03:00:01.000000Z\",\"time_us\":"
        "1795402801000000,\"kind\":\"close\",\"decision\":\"00000000000000000000000000000000\","
        "\"bytes_out\":100,\"bytes_in\":7,\"result\":\"ok\"",
        "{\"v\":1,\"seq\":1,\"prev\":\"%s\",\"time\":\"2026-11-23T03:00:02.000000Z\",\"time_us\":"
        "1795402801000000,\"kind\":\"close\",\"decision\":\"00000000000000000000000000000000\","
        "\"bytes_out\":100,\"bytes_in\":7,\"result\":\"ok\"",
        "{\"v\":1,\"seq\":1,\"prev\":\"%s\",\"time\":\"2026-11-23T03:00:01.000000Z\",\"time_us\":"
        "1795402801000000,\"kind\":\"close\",\"decision\":\"00000000000000000000000000000000\","
        "\"bytes_out\":100,\"bytes_in\":7,\"result\":\"ok\",\"note\":\"more\"",
        "{\"v\":1,\"seq\":1,\"prev\":\"%s\",\"time\":\"2026-11-23T03:00:01.000000Z\",\"time_us\":"
        "1795402801000000,\"kind\":\"close\",\"decision\":\"00000000000000000000000000000000\","
        "\"bytes_out\":-100,\"bytes_in\":7,\"result\":\"ok\"",
        "[1",
    };
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    for (size_t i = 0; i < sizeof body / sizeof body[0]; i++) {
        char line[1024], hex[65];
        uint8_t h[32];
        struct base_err err = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int n = snprintf(line, sizeof line, body[i], zeros);
#pragma GCC diagnostic pop
        assert_int_equal(base_sha256(line, (size_t)n, h), 0);
        n += snprintf(line + n, sizeof line - (size_t)n, ",\"hash\":\"%s\"}\n",
                      base_hex(h, 32, hex));
        spew(path, line, (size_t)n);
        assert_int_equal(ledger_read(path, NULL, NULL, hex, &err), BASE_EFORMAT);
        struct ledger *l;
        chmod(path, 0600);
        assert_int_equal(ledger_open(&l, path, &err), BASE_EFORMAT);
        assert_null(l);
    }
}

static void a_torn_record_is_kept_aside(void **state)
{
    (void)state;
    for (int keep = 1; keep <= 3; keep += 2) { /* torn in the second, then in the fourth record */
        char head[65], torn_path[128];
        struct base_err err = {0};
        unlink(path);
        fill(2, head);
        size_t len;
        char *s = slurp(path, &len), *end = s;
        for (int i = 0; i < keep; i++)
            end = strchr(end, '\n') + 1;
        spew(path, s, (size_t)(end - s) + 40);
        assert_int_equal(ledger_read(path, NULL, NULL, head, &err), BASE_EFORMAT);
        struct ledger *l;
        err = (struct base_err){0};
        assert_int_equal(ledger_open(&l, path, &err), 0);
        assert_int_equal(err.code, 0);
        assert_non_null(strstr(err.msg, "torn"));
        struct ledger_record c = closing(9);
        assert_int_equal(ledger_append(l, &c, &err), 0);
        assert_int_equal(c.seq, keep + 1);
        ledger_close(l);
        assert_int_equal(ledger_read(path, NULL, NULL, head, &err), 0);
        snprintf(torn_path, sizeof torn_path, "%s.torn-%d", path, keep + 1);
        size_t n;
        char *torn = slurp(torn_path, &n);
        assert_int_equal(n, 40);
        assert_memory_equal(torn, end, 40);
        free(torn);
        free(s);
    }
}

static void a_torn_first_record_leaves_an_empty_ledger(void **state)
{
    (void)state;
    char head[65];
    struct base_err err = {0};
    spew(path, "{\"v\":1,\"se", 10);
    chmod(path, 0600);
    fill(1, head);
    assert_int_equal(ledger_read(path, NULL, NULL, head, &err), 0);
}

static void a_broken_end_is_refused(void **state)
{
    (void)state;
    char head[65];
    struct base_err err = {0};
    struct ledger *l;
    fill(2, head);
    size_t len;
    char *s = slurp(path, &len);
    s[len - 100] ^= 1;
    spew(path, s, len);
    assert_int_equal(ledger_open(&l, path, &err), BASE_EFORMAT);
    free(s);
    char *noise = calloc(1, 200000);
    memset(noise, 'x', 200000);
    spew(path, noise, 200000);
    assert_int_equal(ledger_open(&l, path, &err), BASE_EFORMAT);
    noise[199999] = '\n';
    spew(path, noise, 200000);
    assert_int_equal(ledger_open(&l, path, &err), BASE_EFORMAT);
    assert_int_equal(ledger_read(path, NULL, NULL, head, &err), BASE_EFORMAT);
    free(noise);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    struct ledger *a, *b;
    struct base_err err = {0};
    assert_int_equal(ledger_open(&a, path, &err), 0);
    assert_int_equal(ledger_open(&b, path, &err), BASE_EBUSY);
    ledger_close(a);
    assert_int_equal(ledger_open(&b, path, &err), 0);
    ledger_close(b);
}

static void strange_files_are_refused(void **state)
{
    (void)state;
    struct ledger *l;
    struct base_err err = {0};
    assert_int_equal(ledger_open(&l, "/dev/full", &err), BASE_EPERM);
    assert_int_equal(ledger_open(&l, dir, &err), BASE_EIO);
    assert_int_equal(ledger_open(&l, "/nonexistent/ledger", &err), BASE_EIO);
    char link_path[128];
    snprintf(link_path, sizeof link_path, "%s/link", dir);
    spew(path, "", 0);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(ledger_open(&l, link_path, &err), BASE_EIO);
    assert_int_equal(chmod(path, 0660), 0);
    assert_int_equal(ledger_open(&l, path, &err), BASE_EPERM);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_not_equal(ledger_open(&l, path, &err), 0);
}

static void a_moved_or_changed_file_stops_it(void **state)
{
    (void)state;
    char aside[128];
    snprintf(aside, sizeof aside, "%s.1", path);
    for (int how = 0; how < 3; how++) {
        struct ledger *l;
        struct base_err err = {0};
        struct ledger_record r = release(1);
        unlink(path);
        assert_int_equal(ledger_open(&l, path, &err), 0);
        assert_int_equal(ledger_append(l, &r, &err), 0);
        if (how == 0)
            assert_int_equal(rename(path, aside), 0);
        else if (how == 1)
            assert_int_equal(unlink(path), 0);
        else
            assert_int_equal(truncate(path, 10), 0);
        assert_int_equal(ledger_append(l, &r, &err), BASE_EFORMAT);
        if (how == 0)
            assert_int_equal(rename(aside, path), 0);
        assert_int_equal(ledger_append(l, &r, &err), BASE_EIO); /* for good */
        ledger_close(l);
    }
}

/* Runs in a child: the limit on file sizes is the process's. Returns the number of the step that
 * went wrong. */
static int full_disk(void)
{
    struct ledger *l;
    struct base_err err = {0};
    struct ledger_record r = release(1);
    signal(SIGXFSZ, SIG_IGN);
    if (ledger_open(&l, path, &err) != 0 || ledger_append(l, &r, &err) != 0)
        return 1;
    struct stat st;
    stat(path, &st);
    struct rlimit lim = {(rlim_t)st.st_size + 100, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &lim);
    if (ledger_append(l, &r, &err) != BASE_EIO || strstr(err.msg, "cannot be written") == NULL)
        return 2;
    lim.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &lim);
    if (ledger_append(l, &r, &err) != BASE_EIO || strstr(err.msg, "earlier error") == NULL)
        return 3;
    ledger_close(l);
    /* What was written half is a torn record to the next start. */
    if (ledger_open(&l, path, &err) != 0 || strstr(err.msg, "100 bytes of a torn record") == NULL)
        return 4;
    r = release(2);
    int e = ledger_append(l, &r, &err);
    ledger_close(l);
    return e == 0 && r.seq == 2 ? 0 : 5;
}

static void a_full_disk_stops_it(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(full_disk());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void bad_fields_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        struct ledger *l;
        struct base_err err = {0};
        struct ledger_record r = i < 7 ? release(1) : closing(1);
        switch (i) {
        case 0:
            r.decision_id[3] = 'G';
            break;
        case 1:
            r.policy_hash[10] = '\0';
            break;
        case 2:
            strcpy(r.rule, "\xff");
            break;
        case 3:
            r.n_class = LEDGER_MAX_CLASS + 1;
            break;
        case 4:
            memset(r.target, 'x', sizeof r.target);
            break;
        case 5:
            r.max_bytes = UINT64_MAX;
            break;
        case 6:
            r.time_us = -1;
            break;
        case 7:
            r.bytes_out = UINT64_MAX;
            break;
        default:
            r.kind = (enum ledger_kind)7;
            break;
        }
        assert_int_equal(ledger_open(&l, path, &err), 0);
        assert_int_equal(ledger_append(l, &r, &err), BASE_EINVAL);
        ledger_close(l);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 0);
    }
}

static void the_longest_record_fits(void **state)
{
    (void)state;
    struct ledger *l;
    struct base_err err = {0};
    struct ledger_record r = release(1), c = closing(1);
    memset(r.rule, 1, LEDGER_MAX_TEXT); /* \u0001: six bytes each */
    memset(r.target, 1, LEDGER_MAX_TEXT);
    for (int i = 0; i < LEDGER_MAX_CLASS; i++)
        memset(r.classes[i], 1, LEDGER_MAX_TEXT);
    r.n_class = LEDGER_MAX_CLASS;
    r.max_bytes = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ledger_open(&l, path, &err), 0);
        assert_int_equal(ledger_append(l, &r, &err), 0);
        ledger_close(l);
    }
    assert_int_equal(ledger_open(&l, path, &err), 0);
    assert_int_equal(ledger_append(l, &c, &err), 0);
    assert_int_equal(c.seq, 3);
    ledger_close(l);
    char head[65];
    assert_int_equal(ledger_read(path, NULL, NULL, head, &err), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(records_come_back),           T(bytes_are_the_documented_ones),
        T(reopening_goes_on),           T(an_empty_ledger_has_a_zero_head),
        T(every_edit_is_found),         T(moved_and_missing_records_are_found),
        T(a_cut_end_shows_in_the_head), T(other_spellings_are_refused),
        T(a_torn_record_is_kept_aside), T(a_torn_first_record_leaves_an_empty_ledger),
        T(a_broken_end_is_refused),     T(one_writer_at_a_time),
        T(strange_files_are_refused),   T(a_moved_or_changed_file_stops_it),
        T(a_full_disk_stops_it),        T(bad_fields_are_refused),
        T(the_longest_record_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
