#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/outfile.h"

/* The folder: two sets of files and a few lines, each written whole or not at all. */
#define GOOD "good.policy"
#define PREVIOUS "previous.policy"
#define STATE "state"
#define STATE_HEAD "waypost-policy-state 1\n"

enum {
    PACK_MAX_BYTES = RT_MAX_TEXT_BYTES + STORE_MAX_SIG_BYTES + (64 << 10),
    STATE_MAX_BYTES = 1024
};

struct store {
    char *file, *dir; /* dir "": nothing is remembered */
    struct store_key key[STORE_MAX_KEY];
    int n_key;
    uint64_t floor;                        /* highest serial number kept */
    uint8_t floor_hash[BASE_SHA256_BYTES]; /* whose it is */
    bool unsaved;                          /* these are newer than the folder's */
    bool have_refused;                     /* a set that was rolled back */
    uint8_t refused[BASE_SHA256_BYTES];
    struct store_set watched;                                      /* names only */
    uint8_t loaded[BASE_XXH128_BYTES], settled[BASE_XXH128_BYTES]; /* as they were read */
    uint8_t seen[BASE_XXH128_BYTES];                               /* at the last look */
};

void store_policy_fini(struct store_policy *p)
{
    rt_policy_free(p->rt);
    store_set_fini(&p->set);
    *p = (struct store_policy){.rt = NULL};
}

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, BASE_SHA256_BYTES) == 0;
}

/* ---- the folder ---- */

static char *path_in(const struct store *s, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", s->dir, name) < 0 ? NULL : path;
}

static int dir_check(const char *dir, struct base_err *err)
{
    struct stat st;
    if (stat(dir, &st) != 0)
        return base_err_set(err, BASE_EIO, dir, "cannot be used: %s", strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return base_err_set(err, BASE_EPERM, dir, "is no folder");
    if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return base_err_set(err, BASE_EPERM, dir,
                            "must belong to this user, and nobody else may write to it (mode %04o)",
                            (unsigned)(st.st_mode & 07777));
    return 0;
}

static int text_write(const struct store *s, const char *name, const struct base_buf *b,
                      struct base_err *err)
{
    char *path = path_in(s, name);
    if (path == NULL)
        return base_err_set(err, BASE_ENOMEM, s->dir, "out of memory");
    int rc = base_outfile_put(path, true, b->data, b->len, err);
    free(path);
    return rc;
}

static int text_read(const struct store *s, const char *name, size_t max, char **out, size_t *len,
                     struct base_err *err)
{
    const int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return base_err_set(err, BASE_EIO, s->dir, "cannot open: %s", strerror(errno));
    int rc = store_file_read(fd, name, name, max, out, len, err);
    close(fd);
    return rc;
}

static int state_write(const struct store *s, struct base_err *err)
{
    char hex[2 * BASE_SHA256_BYTES + 1];
    struct base_buf b;
    if (s->dir[0] == '\0')
        return 0;
    base_buf_init(&b, STATE_MAX_BYTES);
    base_buf_printf(&b, STATE_HEAD "floor %" PRIu64 " %s\n", s->floor,
                    base_hex(s->floor_hash, BASE_SHA256_BYTES, hex));
    if (s->have_refused)
        base_buf_printf(&b, "refused %s\n", base_hex(s->refused, BASE_SHA256_BYTES, hex));
    int rc = b.err == 0 ? text_write(s, STATE, &b, err)
                        : base_err_set(err, b.err, s->dir, "%s", base_code_str(b.err));
    base_buf_fini(&b);
    return rc;
}

static bool hash_parse(const char *hex, uint8_t out[BASE_SHA256_BYTES])
{
    struct store_key k; /* the same 64 digits */
    if (store_key_parse(&k, hex, "", NULL) != 0)
        return false;
    memcpy(out, k.pub, BASE_SHA256_BYTES);
    return true;
}

/* A state that cannot be read must not open the way for an old policy: it is an error. */
static int state_read(struct store *s, struct base_err *err)
{
    char *text = NULL, hex[65] = "", refused[65] = "";
    size_t len = 0;
    int rc = text_read(s, STATE, STATE_MAX_BYTES, &text, &len, err);
    if (rc == BASE_ENOTFOUND)
        return 0;
    if (rc != 0)
        return rc;
    const size_t n = strlen(STATE_HEAD);
    const int got = strncmp(text, STATE_HEAD, n) == 0
                        ? sscanf(text + n, "floor %" SCNu64 " %64[0-9a-f]\nrefused %64[0-9a-f]\n",
                                 &s->floor, hex, refused)
                        : 0;
    s->have_refused = got == 3;
    if (got < 2 || s->floor > INT64_MAX || !hash_parse(hex, s->floor_hash) ||
        (got == 3 && !hash_parse(refused, s->refused)))
        rc = base_err_set(err, BASE_EFORMAT, s->dir, "its file `" STATE "` is broken");
    free(text);
    return rc;
}

static int pack_write(const struct store *s, const char *name, const struct store_set *set,
                      struct base_err *err)
{
    struct base_buf b;
    base_buf_init(&b, PACK_MAX_BYTES);
    int rc = store_set_pack(set, &b) == 0
                 ? text_write(s, name, &b, err)
                 : base_err_set(err, b.err, name, "%s", base_code_str(b.err));
    base_buf_fini(&b);
    return rc;
}

/* ---- opening ---- */

int store_open(struct store **out, const struct store_opt *o, struct base_err *err)
{
    struct store *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s == NULL)
        return base_err_set(err, BASE_ENOMEM, o->file, "out of memory");
    s->file = strdup(o->file);
    s->dir = strdup(o->state_dir);
    s->n_key = o->n_key;
    memcpy(s->key, o->key, sizeof s->key);
    int rc = s->file == NULL || s->dir == NULL
                 ? base_err_set(err, BASE_ENOMEM, o->file, "out of memory")
                 : 0;
    if (rc == 0 && s->dir[0] != '\0')
        rc = dir_check(s->dir, err);
    if (rc == 0 && s->dir[0] != '\0')
        rc = state_read(s, err);
    if (rc != 0) {
        store_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    store_set_fini(&s->watched);
    free(s->file);
    free(s->dir);
    free(s);
}

uint64_t store_floor(const struct store *s)
{
    return s->floor;
}

/* ---- loading ---- */

int store_compile(struct rt_policy **out, const struct store_set *set, struct rt_diags *diags,
                  struct base_err *err)
{
    *out = NULL;
    int rc = rt_policy_compile_sources(out, set->src, set->n, diags);
    if (rc == 0)
        return 0;
    for (int i = 0; i < diags->n; i++) {
        const struct rt_diag *d = &diags->at[i];
        char place[160];
        if (d->warning)
            continue;
        snprintf(place, sizeof place, "%.120s:%d:%d",
                 d->file[0] != '\0' ? d->file : set->src[0].name, d->line, d->col);
        return base_err_set(err, rc, place, "%s", d->msg);
    }
    return base_err_set(err, rc, set->src[0].name, "the policy is broken: %s", base_code_str(rc));
}

/* The names whose files are watched from now on. */
static void watch(struct store *s, const struct store_set *set)
{
    struct store_set names = {.n = 0};
    for (int i = 0; i < set->n; i++) {
        char *copy = strdup(set->src[i].name);
        if (copy == NULL)
            break;
        names.src[names.n++].name = copy;
    }
    store_set_fini(&s->watched);
    s->watched = names;
}

/* Signature and text of out->set. */
static int vet(const struct store *s, struct store_policy *out, struct rt_diags *diags,
               struct base_err *err)
{
    int rc = 0;
    memcpy(out->hash, out->set.hash, sizeof out->hash);
    if (s->n_key > 0)
        rc = store_sig_verify(&out->set, s->key, s->n_key, &out->serial, err);
    return rc == 0 ? store_compile(&out->rt, &out->set, diags, err) : rc;
}

/* Against what has been kept so far. */
static int serial_check(const struct store *s, const struct store_policy *p, struct base_err *err)
{
    if (s->have_refused && same(p->hash, s->refused))
        return base_err_set(err, BASE_EPERM, s->file,
                            "was rolled back: the next one must be other files");
    if (s->n_key == 0 || p->serial > s->floor)
        return 0;
    if (p->serial < s->floor)
        return base_err_set(err, BASE_EMISMATCH, s->file,
                            "has serial number %" PRIu64 ", below %" PRIu64
                            ", which was here before",
                            p->serial, s->floor);
    return same(p->hash, s->floor_hash)
               ? 0
               : base_err_set(err, BASE_EMISMATCH, s->file,
                              "has serial number %" PRIu64 " as one before it, and other files",
                              p->serial);
}

int store_load(struct store *s, struct store_policy *out, struct rt_diags *diags,
               struct base_err *err)
{
    *out = (struct store_policy){.rt = NULL};
    int rc = store_set_read(&out->set, s->file, 0, err);
    watch(s, &out->set);
    /* What could not be read whole is read once more when it keeps still. */
    memcpy(s->loaded, out->set.stamp, sizeof s->loaded);
    if (rc == 0)
        rc = vet(s, out, diags, err);
    if (rc == 0)
        rc = serial_check(s, out, err);
    if (rc != 0)
        store_policy_fini(out);
    return rc;
}

static int pack_load(const struct store *s, const char *name, struct store_policy *out,
                     struct base_err *err)
{
    char *text = NULL;
    size_t len = 0;
    *out = (struct store_policy){.rt = NULL};
    if (s->dir[0] == '\0')
        return base_err_set(err, BASE_ENOTFOUND, s->file, "no folder keeps copies");
    struct rt_diags *diags = calloc(1, sizeof *diags);
    int rc = diags == NULL ? base_err_set(err, BASE_ENOMEM, name, "out of memory")
                           : text_read(s, name, PACK_MAX_BYTES, &text, &len, err);
    if (rc == 0)
        rc = store_set_unpack(&out->set, name, (const uint8_t *)text, len, err);
    if (rc == 0)
        rc = vet(s, out, diags, err);
    free(text);
    free(diags);
    if (rc != 0)
        store_policy_fini(out);
    return rc;
}

int store_last_good(struct store *s, struct store_policy *out, struct base_err *err)
{
    return pack_load(s, GOOD, out, err);
}

/* ---- remembering ---- */

/* What is good becomes the previous one. That there is none is no error. */
static int good_move(const struct store *s, struct base_err *err)
{
    char *from = path_in(s, GOOD), *to = path_in(s, PREVIOUS);
    int rc = 0;
    if (from == NULL || to == NULL)
        rc = base_err_set(err, BASE_ENOMEM, s->dir, "out of memory");
    else if (rename(from, to) != 0 && errno != ENOENT)
        rc = base_err_set(err, BASE_EIO, s->dir, "cannot rename " GOOD ": %s", strerror(errno));
    free(from);
    free(to);
    return rc;
}

/* Whether the copy is of these files already. */
static bool good_is(struct store *s, const struct store_policy *p)
{
    struct store_policy now;
    if (pack_load(s, GOOD, &now, NULL) != 0)
        return false;
    const bool is = same(now.hash, p->hash) && now.serial == p->serial;
    store_policy_fini(&now);
    return is;
}

int store_keep(struct store *s, const struct store_policy *p, struct base_err *err)
{
    if (p->serial > s->floor) {
        s->floor = p->serial;
        memcpy(s->floor_hash, p->hash, sizeof s->floor_hash);
        s->unsaved = true;
    }
    s->unsaved = s->unsaved || s->have_refused;
    s->have_refused = false;
    if (s->dir[0] == '\0')
        return 0;
    /* The number first: a power cut between the two must not leave a way back. */
    int rc = s->unsaved ? state_write(s, err) : 0;
    s->unsaved = rc != 0;
    if (rc != 0 || good_is(s, p))
        return rc;
    rc = good_move(s, err);
    return rc == 0 ? pack_write(s, GOOD, &p->set, err) : rc;
}

int store_roll_back(struct store *s, struct store_policy *out, struct base_err *err)
{
    struct store_policy now;
    int rc = pack_load(s, PREVIOUS, out, err);
    if (rc != 0)
        return rc;
    const bool have_now = pack_load(s, GOOD, &now, NULL) == 0;
    s->have_refused = have_now;
    if (have_now)
        memcpy(s->refused, now.hash, sizeof s->refused);
    store_policy_fini(&now);
    rc = state_write(s, err);
    if (rc == 0) {
        char *from = path_in(s, PREVIOUS), *to = path_in(s, GOOD);
        if (from == NULL || to == NULL)
            rc = base_err_set(err, BASE_ENOMEM, s->dir, "out of memory");
        else if (rename(from, to) != 0)
            rc = base_err_set(err, BASE_EIO, s->dir, "cannot rename " PREVIOUS ": %s",
                              strerror(errno));
        free(from);
        free(to);
    }
    if (rc != 0)
        store_policy_fini(out);
    return rc;
}

void store_settle(struct store *s)
{
    memcpy(s->settled, s->loaded, sizeof s->settled);
}

bool store_changed(struct store *s)
{
    uint8_t now[BASE_XXH128_BYTES];
    store_set_stamp(&s->watched, s->file, now);
    const bool still = memcmp(now, s->seen, sizeof now) == 0;
    memcpy(s->seen, now, sizeof now);
    if (!still || memcmp(now, s->settled, sizeof now) == 0)
        return false;
    memcpy(s->settled, now, sizeof now);
    return true;
}
