/* Packed weights: kept in a file and found again, with the same logits; and whatever is wrong with
 * the file or its folder, the model still runs and says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tiny_model.h"

enum { N_TOK = 9 };

struct place {
    const char *model;
    char dir[80], file[400];
};

static struct place place_new(void)
{
    struct place p = {.model = tiny_make("--layers 2 --type q4_0 --untied")};
    snprintf(p.dir, sizeof p.dir, "%s/cache", tiny_dir);
    assert_int_equal(mkdir(p.dir, 0700), 0);
    return p;
}

/* The cache's only file; how many there are. */
static int find_file(struct place *p)
{
    DIR *d = opendir(p->dir);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(p->file, sizeof p->file, "%s/%s", p->dir, e->d_name);
        n++;
    }
    closedir(d);
    return n;
}

static void place_free(struct place *p)
{
    chmod(p->dir, 0700);
    while (find_file(p) > 0)
        unlink(p->file);
    rmdir(p->dir);
}

/* Opens, runs, closes. how: NULL, or what eng_model_packed_how must say; word: in the complaint. */
static void run(const struct place *p, const char *dir, const char *how, const char *word,
                float *logits)
{
    const struct eng_model_opt o = {
        .path = p->model, .layer_end = -1, .pack_cache = dir, .n_thread = 2};
    struct eng_model *m = tiny_open(&o);
    struct eng_exec *e = NULL;
    struct eng_session *s = NULL;
    struct base_err err = {0};
    int32_t ids[N_TOK];
    for (int i = 0; i < N_TOK; i++)
        ids[i] = 3 * i + 1;
    const struct base_err *why = eng_model_cache_err(m);
    assert_string_equal(eng_model_packed_how(m), how);
    if (word == NULL && why != NULL)
        fail_msg("%s: %s", why->place, why->msg);
    if (word != NULL && (why == NULL || strstr(why->msg, word) == NULL))
        fail_msg("no '%s' in: %s", word, why == NULL ? "nothing" : why->msg);
    assert_int_equal(eng_exec_new(&e, m, 2, N_TOK, &err), 0);
    assert_int_equal(eng_session_new(&s, m, N_TOK, KERN_KV_F16, &err), 0);
    const struct eng_seg g = {
        .s = s, .layer_end = 2, .n_row = N_TOK, .token = ids, .logits = logits};
    assert_int_equal(eng_exec_run(e, &g, 1, &err), 0);
    eng_session_free(s);
    eng_exec_free(e);
    eng_model_close(m);
}

static void check(const struct place *p, const char *how, const char *word)
{
    static float plain[1024], got[1024];
    run(p, NULL, "packed", NULL, plain);
    run(p, p->dir, how, word, got);
    assert_memory_equal(plain, got, sizeof plain);
}

static void is_written_once_and_mapped(void **state)
{
    (void)state;
    struct place p = place_new();
    check(&p, "packed", NULL);
    assert_int_equal(find_file(&p), 1);
    struct stat st;
    assert_int_equal(stat(p.file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    check(&p, "from the cache", NULL);
    check(&p, "from the cache", NULL);
    assert_int_equal(find_file(&p), 1);
    place_free(&p);
}

static void poke(const char *file, off_t at, const char *byte)
{
    const int fd = open(file, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, byte, 1, at), 1);
    close(fd);
}

static void damage_is_made_good(void **state)
{
    (void)state;
    struct place p = place_new();
    check(&p, "packed", NULL);
    assert_int_equal(find_file(&p), 1);
    struct stat st;
    assert_int_equal(stat(p.file, &st), 0);
    const off_t at[] = {0, 8, 16, 32, 40, 4096, st.st_size - 1}; /* each part of it */
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        poke(p.file, at[i], "\x5a");
        check(&p, "packed", NULL);
        check(&p, "from the cache", NULL);
    }
    assert_int_equal(truncate(p.file, st.st_size / 2), 0);
    check(&p, "packed", NULL);
    assert_int_equal(truncate(p.file, 0), 0);
    check(&p, "packed", NULL);
    check(&p, "from the cache", NULL);
    place_free(&p);
}

/* More than one piece is hashed, each by whoever comes first; damage is found in any. */
static void large_ones_are_hashed_in_pieces(void **state)
{
    (void)state;
    struct place p = place_new();
    p.model = tiny_make("--layers 2 --d 1024 --heads 8 --ff 2048 --type q8_0");
    check(&p, "packed", NULL);
    assert_int_equal(find_file(&p), 1);
    struct stat st;
    assert_int_equal(stat(p.file, &st), 0);
    assert_true(st.st_size > 3 * (4 << 20));
    for (int i = 0; i < 5; i++)
        check(&p, "from the cache", NULL);
    for (off_t at = 5000; at < st.st_size; at += 4 << 20) {
        poke(p.file, at, "\x5a");
        check(&p, "packed", NULL);
        poke(p.file, at, "\xa5");
        check(&p, "packed", NULL);
    }
    check(&p, "from the cache", NULL);
    place_free(&p);
}

static void another_file_has_another_key(void **state)
{
    (void)state;
    struct place p = place_new();
    check(&p, "packed", NULL);
    assert_int_equal(utimensat(AT_FDCWD, p.model, NULL, 0), 0);
    check(&p, "packed", NULL);
    assert_int_equal(find_file(&p), 2);
    place_free(&p);
}

static void a_folder_that_will_not_do_is_said(void **state)
{
    (void)state;
    struct place p = place_new();
    static float logits[1024];
    assert_int_equal(chmod(p.dir, 0777), 0);
    check(&p, "packed", "others can write");
    assert_int_equal(find_file(&p), 0);
    assert_int_equal(chmod(p.dir, 0700), 0);
    run(&p, "/nonexistent/cache", "packed", "No such file", logits);
    run(&p, p.model, "packed", "not a folder", logits);
    char dir[5000];
    memset(dir, 'x', sizeof dir - 1);
    dir[sizeof dir - 1] = '\0';
    run(&p, dir, "packed", "", logits);
    check(&p, "packed", NULL);
    assert_int_equal(find_file(&p), 1);
    char target[420];
    snprintf(target, sizeof target, "%s.real", p.file);
    assert_int_equal(rename(p.file, target), 0);
    assert_int_equal(symlink(target, p.file), 0);
    check(&p, "packed", NULL); /* a link is not followed, but replaced */
    check(&p, "from the cache", NULL);
    place_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_written_once_and_mapped),
        cmocka_unit_test(damage_is_made_good),
        cmocka_unit_test(large_ones_are_hashed_in_pieces),
        cmocka_unit_test(another_file_has_another_key),
        cmocka_unit_test(a_folder_that_will_not_do_is_said),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_clean();
    return rc;
}
