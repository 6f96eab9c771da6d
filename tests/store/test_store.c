/* The policy store: what is read and what is refused, signatures bit by bit, what survives a
 * restart, and every allocation failing once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "store/store.h"
#include "../fixtures/wrap_alloc.h"

/* ---- a folder of its own ---- */

static char dir[64], state[96];
static struct rt_diags diags;
static struct base_err err;

static const char *at(const char *name)
{
    static char path[320];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(at(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A policy with one rule, of that version, that includes `more` ("": nothing). */
static void put_policy(const char *name, const char *version, const char *more)
{
    char text[4096], include[3072] = "";
    if (more[0] != '\0')
        snprintf(include, sizeof include, "include: [%s]\n", more);
    snprintf(text, sizeof text,
             "waypost_policy: 1\nversion: \"%s\"\n%srules:\n  - name: rule-%.8s\n"
             "    when: { caller: %.8s }\n    route: local\n",
             version, include, name, name);
    put(name, text);
}

static int setup(void **s)
{
    (void)s;
    umask(0022);
    snprintf(dir, sizeof dir, "/tmp/waypost-store-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(state, sizeof state, "%s/state", dir);
    return mkdir(state, 0700);
}

static int teardown(void **s)
{
    char cmd[128];
    (void)s;
    fail_at = -1;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

/* ---- reading ---- */

static int set_code(const char *path, struct store_set *s)
{
    err = (struct base_err){0};
    int rc = store_set_read(s, path, 0, &err);
    assert_int_equal(rc, err.code);
    return rc;
}

static int read_code(const char *path)
{
    struct store_set s;
    int rc = set_code(path, &s);
    store_set_fini(&s);
    return rc;
}

static void test_includes(void **x)
{
    (void)x;
    struct store_set s;
    put_policy("p.yaml", "1", "base.yaml");
    put_policy("base.yaml", "1", "more.yaml");
    put_policy("more.yaml", "1", "base.yaml"); /* a ring: each is read once, the compiler tells */
    assert_int_equal(set_code(at("p.yaml"), &s), 0);
    assert_int_equal(s.n, 3);
    assert_string_equal(s.src[0].name, "p.yaml");
    assert_string_equal(s.src[2].name, "more.yaml");
    store_set_fini(&s);
    assert_int_equal(unlink(at("base.yaml")), 0);
    assert_int_equal(read_code(at("p.yaml")), BASE_ENOTFOUND);
    assert_string_equal(err.place, "base.yaml");
}

static void test_names_that_lead_out(void **x)
{
    (void)x;
    static const char *const bad[] = {"../x.yaml", "/etc/passwd", "sub/x.yaml", ".hidden", "./x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct store_set s;
        struct rt_policy *p = NULL;
        put_policy("p.yaml", "1", bad[i]);
        /* Nothing is opened, and the compiler says where the name stands. */
        assert_int_equal(set_code(at("p.yaml"), &s), 0);
        assert_int_equal(s.n, 1);
        assert_int_equal(store_compile(&p, &s, &diags, &err), BASE_EFORMAT);
        assert_non_null(strstr(err.place, "p.yaml:3:"));
        store_set_fini(&s);
    }
    put_policy("p.yaml", "1", "in.yaml");
    put_policy("real.yaml", "1", "");
    assert_int_equal(symlink("real.yaml", at("in.yaml")), 0);
    assert_int_equal(read_code(at("p.yaml")), BASE_EPERM);
    assert_non_null(strstr(err.msg, "link"));
    put_policy("p.yaml", "1", "");
    assert_int_equal(symlink(".", at("here")), 0);
    assert_int_equal(read_code(at("here/p.yaml")), 0); /* the way to the folder may be a link */
    assert_int_equal(symlink("real.yaml", at("p.yaml.sig")), 0);
    assert_int_equal(read_code(at("p.yaml")), BASE_EPERM);
}

static void test_files_that_are_none(void **x)
{
    (void)x;
    assert_int_equal(read_code(at("none.yaml")), BASE_ENOTFOUND);
    assert_int_equal(read_code(at("none/p.yaml")), BASE_EIO);
    assert_int_equal(mkfifo(at("fifo"), 0644), 0);
    assert_int_equal(read_code(at("fifo")), BASE_EPERM); /* and nobody waits */
    assert_int_equal(read_code(dir), BASE_EPERM);
    put_policy("p.yaml", "1", "");
    assert_int_equal(chmod(at("p.yaml"), 0646), 0);
    assert_int_equal(read_code(at("p.yaml")), BASE_EPERM);
    assert_int_equal(chmod(at("p.yaml"), 0644), 0);
    put("p.yaml.sig", "x");
    assert_int_equal(chmod(at("p.yaml.sig"), 0646), 0);
    assert_int_equal(read_code(at("p.yaml")), BASE_EPERM);
}

static void test_limits(void **x)
{
    (void)x;
    char name[32], next[32];
    for (int i = 0; i < STORE_MAX_DEPTH + 1; i++) {
        snprintf(name, sizeof name, "d%d.yaml", i);
        snprintf(next, sizeof next, "d%d.yaml", i + 1);
        put_policy(name, "1", i < STORE_MAX_DEPTH ? next : "");
    }
    assert_int_equal(read_code(at("d1.yaml")), 0);
    assert_int_equal(read_code(at("d0.yaml")), BASE_ELIMIT);
    char all[1024] = "";
    for (int i = 0; i < STORE_MAX_FILE; i++) {
        snprintf(name, sizeof name, "w%d.yaml", i);
        put_policy(name, "1", "");
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i > 0 ? ", " : "", name);
    }
    put_policy("wide.yaml", "1", all);
    assert_int_equal(read_code(at("wide.yaml")), BASE_ELIMIT);
    *strrchr(all, ',') = '\0';
    put_policy("wide.yaml", "1", all);
    assert_int_equal(read_code(at("wide.yaml")), 0);
    int fd = open(at("big.yaml"), O_CREAT | O_WRONLY, 0644);
    assert_int_equal(ftruncate(fd, RT_MAX_TEXT_BYTES + 1), 0);
    close(fd);
    assert_int_equal(read_code(at("big.yaml")), BASE_ELIMIT);
    assert_string_equal(err.place, "big.yaml:1:2097153");
    assert_non_null(strstr(err.msg, "2097152 bytes"));
    put_policy("p.yaml", "1", "half.yaml");
    fd = open(at("half.yaml"), O_CREAT | O_WRONLY, 0644);
    assert_int_equal(ftruncate(fd, RT_MAX_TEXT_BYTES - 10), 0);
    close(fd);
    assert_int_equal(read_code(at("p.yaml")), BASE_ELIMIT); /* together */
    assert_non_null(strstr(err.place, "half.yaml:1:"));
}

/* What somebody names at a terminal is read as it is; what it includes is followed all the same. */
static void test_by_hand(void **x)
{
    (void)x;
    struct store_set s;
    struct rt_policy *p = NULL;
    put_policy("real.yaml", "1", "base.yaml");
    put_policy("under.yaml", "1", "");
    assert_int_equal(symlink("real.yaml", at("a link, oddly named")), 0);
    assert_int_equal(symlink("under.yaml", at("base.yaml")), 0);
    assert_int_equal(chmod(at("real.yaml"), 0666), 0);
    put("a link, oddly named.sig", "not looked at");
    assert_int_equal(store_set_read(&s, at("a link, oddly named"), STORE_BY_HAND, &err), 0);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.src[0].name, "a link, oddly named");
    assert_string_equal(s.src[1].name, "base.yaml");
    assert_null(s.sig);
    assert_int_equal(store_compile(&p, &s, &diags, &err), 0);
    rt_policy_free(p);
    store_set_fini(&s);

    static const char text[] =
        "waypost_policy: 1\nversion: \"2\"\ninclude: [under.yaml]\nrules: []\n";
    assert_int_equal(store_set_read_text(&s, at("none.yaml"), text, strlen(text), &err), 0);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.src[0].text, text);
    store_set_fini(&s);

    char *big = malloc(RT_MAX_TEXT_BYTES + 100);
    assert_non_null(big);
    memset(big, '#', RT_MAX_TEXT_BYTES + 100);
    assert_int_equal(store_set_read_text(&s, at("none.yaml"), big, RT_MAX_TEXT_BYTES + 100, &err),
                     0);
    assert_int_equal(store_compile(&p, &s, &diags, &err),
                     BASE_ELIMIT); /* cut, and not fine for it */
    store_set_fini(&s);
    free(big);
    int fd = open(at("big.yaml"), O_CREAT | O_WRONLY, 0644);
    assert_int_equal(ftruncate(fd, RT_MAX_TEXT_BYTES + 10), 0);
    close(fd);
    assert_int_equal(store_set_read(&s, at("big.yaml"), STORE_BY_HAND, &err), 0);
    assert_int_equal(s.src[0].len, RT_MAX_TEXT_BYTES + 1);
    store_set_fini(&s);
    put_policy("more.yaml", "1", "big.yaml"); /* and so together with others */
    assert_int_equal(store_set_read(&s, at("more.yaml"), STORE_BY_HAND, &err), 0);
    assert_int_equal(store_compile(&p, &s, &diags, &err), BASE_ELIMIT);
    store_set_fini(&s);

    assert_int_equal(store_set_read(&s, at("gone.yaml"), STORE_BY_HAND, &err), BASE_ENOTFOUND);
    assert_string_equal(err.place, at("gone.yaml"));
    store_set_fini(&s);
    assert_int_equal(store_set_read(&s, dir, STORE_BY_HAND, &err), BASE_EIO);
    store_set_fini(&s);
}

static void test_one_text_and_back(void **x)
{
    (void)x;
    struct store_set s, back;
    struct base_buf b;
    put_policy("p.yaml", "1", "base.yaml");
    put_policy("base.yaml", "1", "");
    put("p.yaml.sig", "not looked at here\n");
    assert_int_equal(set_code(at("p.yaml"), &s), 0);
    base_buf_init(&b, 1 << 20);
    assert_int_equal(store_set_pack(&s, &b), 0);
    assert_int_equal(store_set_unpack(&back, "x", b.data, b.len, &err), 0);
    assert_int_equal(back.n, 2);
    assert_string_equal(back.sig, s.sig);
    assert_string_equal(back.src[1].text, s.src[1].text);
    assert_memory_equal(back.hash, s.hash, sizeof s.hash);
    store_set_fini(&back);
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(store_set_unpack(&back, "x", b.data, n, &err), BASE_EFORMAT);
        assert_int_equal(back.n, 0);
    }
    base_buf_fini(&b);
    store_set_fini(&s);
}

/* ---- signatures ---- */

static EVP_PKEY *pkey;
static struct store_key key;

static void key_make(void)
{
    size_t n = sizeof key.pub;
    EVP_PKEY_free(pkey);
    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_int_equal(EVP_PKEY_get_raw_public_key(pkey, key.pub, &n), 1);
    assert_int_equal(store_key_name(&key), 0);
}

static void sign(const char *name, uint64_t serial)
{
    struct store_set s;
    struct base_buf b;
    uint8_t sig[STORE_SIG_BYTES];
    size_t n = sizeof sig;
    char path[96];
    snprintf(path, sizeof path, "%s.sig", name);
    (void)unlink(at(path));
    assert_int_equal(set_code(at(name), &s), 0);
    base_buf_init(&b, STORE_MAX_SIG_BYTES);
    assert_int_equal(store_sig_body(&s, serial, key.id, &b), 0);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, b.data, b.len), 1);
    EVP_MD_CTX_free(ctx);
    assert_int_equal(store_sig_end(sig, &b), 0);
    put(path, base_buf_cstr(&b));
    base_buf_fini(&b);
    store_set_fini(&s);
}

static void test_signature_bit_by_bit(void **x)
{
    (void)x;
    struct store_set s;
    uint64_t serial = 0;
    key_make();
    put_policy("p.yaml", "1", "base.yaml");
    put_policy("base.yaml", "1", "");
    sign("p.yaml", 41);
    assert_int_equal(set_code(at("p.yaml"), &s), 0);
    assert_int_equal(store_sig_verify(&s, &key, 1, &serial, &err), 0);
    assert_int_equal(serial, 41);
    assert_int_equal(store_sig_serial(s.sig), 41);
    for (size_t i = 0; i < strlen(s.sig); i++) {
        for (int bit = 0; bit < 8; bit++) {
            s.sig[i] = (char)(s.sig[i] ^ 1 << bit);
            const int rc = store_sig_verify(&s, &key, 1, &serial, &err);
            if (rc != BASE_EPERM && rc != BASE_EFORMAT)
                fail_msg("byte %zu bit %d: %d", i, bit, rc);
            s.sig[i] = (char)(s.sig[i] ^ 1 << bit);
        }
    }
    const size_t len = strlen(s.sig);
    for (size_t n = 0; n < len; n++) {
        const char c = s.sig[n];
        s.sig[n] = '\0';
        assert_true(store_sig_verify(&s, &key, 1, &serial, &err) < 0);
        s.sig[n] = c;
    }
    ((char *)s.src[1].text)[0] ^= 1; /* an included file */
    assert_int_equal(store_sig_verify(&s, &key, 1, &serial, &err), BASE_EPERM);
    assert_non_null(strstr(err.msg, "base.yaml"));
    ((char *)s.src[1].text)[0] ^= 1;
    s.n = 1; /* one file less than was signed */
    assert_int_equal(store_sig_verify(&s, &key, 1, &serial, &err), BASE_EPERM);
    s.n = 2;
    struct store_key other = key;
    other.pub[0] ^= 1; /* the same name, another key */
    assert_int_equal(store_sig_verify(&s, &other, 1, &serial, &err), BASE_EPERM);
    assert_int_equal(store_sig_verify(&s, NULL, 0, &serial, &err), BASE_EPERM);
    store_set_fini(&s);
}

static void test_serials_that_are_none(void **x)
{
    (void)x;
    static const char *const bad[] = {
        "",
        "waypost-policy-signature 1\n",
        "waypost-policy-signature 2\nserial 1\nkey 0123456789abcdef\n",
        "waypost-policy-signature 1\nserial 0\nkey 0123456789abcdef\n",
        "waypost-policy-signature 1\nserial 01\nkey 0123456789abcdef\n",
        "waypost-policy-signature 1\nserial -1\nkey 0123456789abcdef\n",
        "waypost-policy-signature 1\nserial 9223372036854775808\nkey 0123456789abcdef\n",
        "waypost-policy-signature 1\nserial 1\nkey 0123456789abcde\n",
        "waypost-policy-signature 1\nserial 1\nkey 0123456789abcdefa\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (i == 8)
            continue; /* its serial can be read; the rest is not the list */
        assert_int_equal(store_sig_serial(bad[i]), 0);
    }
    assert_int_equal(store_sig_serial("waypost-policy-signature 1\nserial 9223372036854775807\n"
                                      "key 0123456789abcdef\n"),
                     INT64_MAX);
}

/* ---- the store ---- */

static struct store *opened(bool with_key, bool with_state)
{
    struct store_opt o = {.file = at("p.yaml"), .state_dir = with_state ? state : ""};
    struct store *s = NULL;
    if (with_key)
        o.key[o.n_key++] = key;
    assert_int_equal(store_open(&s, &o, &err), 0);
    return s;
}

static int load(struct store *s, struct store_policy *p)
{
    err = (struct base_err){0};
    int rc = store_load(s, p, &diags, &err);
    assert_int_equal(rc, err.code);
    return rc;
}

static void load_and_keep(struct store *s)
{
    struct store_policy p;
    assert_int_equal(load(s, &p), 0);
    store_settle(s);
    assert_int_equal(store_keep(s, &p, &err), 0);
    store_policy_fini(&p);
}

static void test_last_good_and_previous(void **x)
{
    (void)x;
    struct store_policy p;
    struct store *s = opened(false, true);
    assert_int_equal(store_last_good(s, &p, &err), BASE_ENOTFOUND);
    put_policy("p.yaml", "one", "");
    load_and_keep(s);
    load_and_keep(s); /* twice the same is one */
    put_policy("p.yaml", "two", "");
    load_and_keep(s);
    put("p.yaml", "rules: [");
    assert_int_equal(load(s, &p), BASE_EFORMAT);
    assert_non_null(strstr(err.place, "p.yaml:"));
    store_close(s);
    s = opened(false, true);
    assert_int_equal(store_last_good(s, &p, &err), 0);
    assert_string_equal(rt_policy_version(p.rt), "two");
    store_policy_fini(&p);
    assert_int_equal(store_roll_back(s, &p, &err), 0);
    assert_string_equal(rt_policy_version(p.rt), "one");
    store_policy_fini(&p);
    assert_int_equal(store_roll_back(s, &p, &err), BASE_ENOTFOUND);
    put_policy("p.yaml", "two", "");
    assert_int_equal(load(s, &p), BASE_EPERM);
    store_close(s);
    s = opened(false, true);
    assert_int_equal(load(s, &p), BASE_EPERM); /* nor after a restart */
    put_policy("p.yaml", "three", "");
    load_and_keep(s);
    put_policy("p.yaml", "two", ""); /* something else was good meanwhile: it may come again */
    load_and_keep(s);
    store_close(s);
}

static void test_serials_only_grow(void **x)
{
    (void)x;
    struct store_policy p;
    key_make();
    put_policy("p.yaml", "one", "");
    struct store *s = opened(true, true);
    assert_int_equal(load(s, &p), BASE_EPERM); /* not signed */
    sign("p.yaml", 5);
    load_and_keep(s);
    put_policy("p.yaml", "two", "");
    sign("p.yaml", 4);
    assert_int_equal(load(s, &p), BASE_EMISMATCH);
    sign("p.yaml", 5);
    assert_int_equal(load(s, &p), BASE_EMISMATCH);
    sign("p.yaml", 6);
    assert_int_equal(load(s, &p), 0); /* a dry run moves nothing */
    store_policy_fini(&p);
    assert_int_equal(store_floor(s), 5);
    load_and_keep(s);
    store_close(s);
    s = opened(true, true);
    assert_int_equal(store_floor(s), 6);
    sign("p.yaml", 5);
    assert_int_equal(load(s, &p), BASE_EMISMATCH);
    /* Where nothing can be written the number still counts. */
    sign("p.yaml", 7);
    assert_int_equal(load(s, &p), 0);
    assert_int_equal(rename(state, at("gone")), 0);
    assert_int_equal(store_keep(s, &p, &err), BASE_EIO);
    assert_int_equal(store_floor(s), 7);
    assert_int_equal(rename(at("gone"), state), 0);
    assert_int_equal(store_keep(s, &p, &err), 0); /* and is written as soon as it can be */
    store_policy_fini(&p);
    store_close(s);
    s = opened(true, true);
    assert_int_equal(store_floor(s), 7);
    store_close(s);
}

static void test_a_hurt_folder(void **x)
{
    (void)x;
    struct store *s = opened(false, true);
    struct store_policy p;
    put_policy("p.yaml", "one", "");
    load_and_keep(s);
    store_close(s);
    put("state/good.policy", "junk");
    s = opened(false, true);
    assert_int_equal(store_last_good(s, &p, &err), BASE_EFORMAT);
    load_and_keep(s); /* and is replaced */
    assert_int_equal(store_last_good(s, &p, &err), 0);
    store_policy_fini(&p);
    store_close(s);
    static const char *const bad[] = {"", "junk", "waypost-policy-state 1\n",
                                      "waypost-policy-state 1\nfloor 3 abc\n",
                                      "waypost-policy-state 1\nfloor -3 abc\n"};
    const struct store_opt o = {.file = at("p.yaml"), .state_dir = state};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put("state/state", bad[i]);
        assert_int_equal(store_open(&s, &o, &err), BASE_EFORMAT);
        assert_null(s);
    }
    assert_int_equal(unlink(at("state/state")), 0);
    assert_int_equal(chmod(state, 0770), 0);
    assert_int_equal(store_open(&s, &o, &err), BASE_EPERM);
    const struct store_opt none = {.file = at("p.yaml"), .state_dir = at("nowhere")};
    assert_int_equal(store_open(&s, &none, &err), BASE_EIO);
}

static void test_changes_are_seen_when_they_are_over(void **x)
{
    (void)x;
    struct store_policy p;
    struct store *s = opened(false, false);
    put_policy("p.yaml", "one", "base.yaml");
    put_policy("base.yaml", "one", "");
    load_and_keep(s);
    assert_false(store_changed(s));
    assert_false(store_changed(s));
    put_policy("base.yaml", "three", "");
    assert_false(store_changed(s)); /* it may still be written */
    assert_true(store_changed(s));
    assert_false(store_changed(s)); /* told once */
    load_and_keep(s);
    put("p.yaml.sig", "new\n");
    assert_false(store_changed(s));
    assert_true(store_changed(s));
    assert_int_equal(unlink(at("base.yaml")), 0);
    assert_int_equal(load(s, &p), BASE_ENOTFOUND);
    store_settle(s);
    assert_false(store_changed(s));
    (void)store_changed(s); /* what could not be read is tried once more */
    assert_false(store_changed(s));
    put_policy("base.yaml", "four", "");
    assert_false(store_changed(s));
    assert_true(store_changed(s));    /* a file that was only missed */
    assert_int_equal(load(s, &p), 0); /* a dry run leaves a change to be told */
    store_policy_fini(&p);
    put_policy("base.yaml", "fives", "");
    assert_int_equal(load(s, &p), 0);
    store_policy_fini(&p);
    assert_false(store_changed(s));
    assert_true(store_changed(s));
    store_close(s);
}

/* ---- no memory ---- */

static int life(void)
{
    struct store_opt o = {.file = at("p.yaml"), .state_dir = state, .key = {key}, .n_key = 1};
    struct store *s = NULL;
    struct store_policy p = {.rt = NULL}, again = {.rt = NULL};
    int rc = store_open(&s, &o, &err);
    if (rc == 0)
        rc = store_load(s, &p, &diags, &err);
    if (rc == 0)
        rc = store_keep(s, &p, &err);
    if (rc == 0)
        rc = store_last_good(s, &again, &err);
    store_policy_fini(&again);
    store_policy_fini(&p);
    if (s != NULL)
        (void)store_changed(s);
    store_close(s);
    return rc;
}

static void test_every_allocation_fails_once(void **x)
{
    (void)x;
    key_make();
    put_policy("p.yaml", "one", "base.yaml");
    put_policy("base.yaml", "one", "");
    sign("p.yaml", 1);
    assert_int_equal(life(), 0); /* libcrypto's own first use */
    n_alloc = 0;
    assert_int_equal(life(), 0);
    const long n = n_alloc;
    assert_true(n > 20);
    long failed = 0;
    for (long i = 0; i < n; i++) {
        n_alloc = 0;
        fail_at = i;
        const int rc = life();
        fail_at = -1;
        failed += rc != 0;
        if (rc > 0)
            fail_msg("allocation %ld: %d", i, rc);
    }
    assert_true(failed > n / 2);
    assert_int_equal(life(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_includes),
        T(test_names_that_lead_out),
        T(test_files_that_are_none),
        T(test_limits),
        T(test_by_hand),
        T(test_one_text_and_back),
        T(test_signature_bit_by_bit),
        T(test_serials_that_are_none),
        T(test_last_good_and_previous),
        T(test_serials_only_grow),
        T(test_a_hurt_folder),
        T(test_changes_are_seen_when_they_are_over),
        T(test_every_allocation_fails_once),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(pkey);
    return rc;
}
