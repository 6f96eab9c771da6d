/* waypostctl ledger: shows and verifies the egress ledger. Reads only. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/err.h"
#include "ledger/ledger.h"

/* What was released and closed under one decision. */
struct tally {
    char decision[33];
    unsigned n_release, n_close;
    uint64_t max_bytes, bytes_out;
    UT_hash_handle hh;
};

struct request {
    const char *path, *decision, *head;
    bool json;
};

struct walk {
    const struct request *rq;
    uint64_t n_record, n_shown;
    uint64_t head_at; /* seq of the record whose hash is rq->head; 0: not met */
    uint64_t bytes_out, bytes_in;
    struct tally *tallies;
    struct base_err err; /* a record that breaks a rule, the chain being whole */
};

static void usage(FILE *out)
{
    fputs(
        "usage: waypostctl ledger show FILE [--decision ID] [--json]\n"
        "       waypostctl ledger verify FILE [--head HASH] [--json]\n\n"
        "show lists the records; verify checks the whole chain and that no request sent more than\n"
        "its release allowed. A chain cut at its end is still a chain: note the head that verify\n"
        "prints somewhere else, and give it back later with --head.\n\n"
        "  --decision ID  only this decision's records; the start of the id is enough\n"
        "  --head HASH    this hash must be in the chain\n"
        "  --json         one JSON document\n\n"
        "Exit status: 0 fine, 1 not (broken, cut, over its limit), 2 usage, 3 could not be read.\n",
        out);
}

static json_t *classes_json(const struct ledger_record *r)
{
    json_t *a = json_array();
    for (int i = 0; i < r->n_class; i++)
        json_array_append_new(a, json_string(r->classes[i]));
    return a;
}

static int put_json(const struct ledger_record *r, bool first)
{
    json_t *o =
        r->kind == LEDGER_RELEASE
            ? json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:s}", "seq",
                        (json_int_t)r->seq, "time_us", (json_int_t)r->time_us, "kind", "release",
                        "decision", r->decision_id, "rule", r->rule, "target", r->target, "mode",
                        r->mode, "policy", r->policy_hash, "classes", classes_json(r), "max_bytes",
                        (json_int_t)r->max_bytes, "hash", r->hash)
            : json_pack("{s:I, s:I, s:s, s:s, s:I, s:I, s:s, s:s}", "seq", (json_int_t)r->seq,
                        "time_us", (json_int_t)r->time_us, "kind", "close", "decision",
                        r->decision_id, "bytes_out", (json_int_t)r->bytes_out, "bytes_in",
                        (json_int_t)r->bytes_in, "result", r->result, "hash", r->hash);
    if (o == NULL)
        return BASE_ENOMEM;
    fputs(first ? "\n" : ",\n", stdout);
    int e = json_dumpf(o, stdout, JSON_COMPACT) == 0 ? 0 : BASE_EIO;
    json_decref(o);
    return e;
}

/* A terminal obeys escape sequences, also those in a rule's name. */
static void put_safe(const char *s)
{
    for (; *s != '\0'; s++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void put_text(const struct ledger_record *r)
{
    char iso[32];
    printf("%6llu  %s  %.12s  ", (unsigned long long)r->seq, base_clock_iso8601(r->time_us, iso),
           r->decision_id);
    if (r->kind == LEDGER_RELEASE) {
        fputs("release  ", stdout);
        put_safe(r->mode);
        fputs(" to ", stdout);
        put_safe(r->target);
        fputs(", rule ", stdout);
        put_safe(r->rule);
        fputs(", classes", stdout);
        for (int i = 0; i < r->n_class; i++) {
            putchar(i == 0 ? ' ' : '+');
            put_safe(r->classes[i]);
        }
        printf(", at most %llu bytes, policy %.12s\n", (unsigned long long)r->max_bytes,
               r->policy_hash);
    } else {
        printf("close    %llu bytes out, %llu in: ", (unsigned long long)r->bytes_out,
               (unsigned long long)r->bytes_in);
        put_safe(r->result);
        putchar('\n');
    }
}

static int show_record(const struct ledger_record *r, void *arg)
{
    struct walk *w = arg;
    w->n_record++;
    const char *want = w->rq->decision;
    if (want != NULL && strncmp(r->decision_id, want, strlen(want)) != 0)
        return 0;
    w->n_shown++;
    if (w->rq->json)
        return put_json(r, w->n_shown == 1);
    put_text(r);
    return 0;
}

static struct tally *tally_of(struct walk *w, const char *decision)
{
    struct tally *t;
    HASH_FIND_STR(w->tallies, decision, t);
    if (t == NULL && (t = calloc(1, sizeof *t)) != NULL) {
        snprintf(t->decision, sizeof t->decision, "%s", decision);
        HASH_ADD_STR(w->tallies, decision, t);
    }
    return t;
}

static int verify_record(const struct ledger_record *r, void *arg)
{
    struct walk *w = arg;
    struct tally *t = tally_of(w, r->decision_id);
    char place[sizeof w->err.place];
    snprintf(place, sizeof place, "%.120s:%llu", w->rq->path, (unsigned long long)r->seq);
    if (t == NULL)
        return base_err_set(&w->err, BASE_ENOMEM, place, "out of memory");
    w->n_record++;
    if (w->rq->head != NULL && strcmp(r->hash, w->rq->head) == 0)
        w->head_at = r->seq;
    if (r->kind == LEDGER_RELEASE) {
        t->n_release++;
        t->max_bytes += r->max_bytes;
        return 0;
    }
    t->n_close++;
    t->bytes_out += r->bytes_out;
    w->bytes_out += r->bytes_out;
    w->bytes_in += r->bytes_in;
    if (t->n_close > t->n_release)
        return base_err_set(&w->err, BASE_EMISMATCH, place, "decision %s was closed, not released",
                            r->decision_id);
    if (t->bytes_out > t->max_bytes)
        return base_err_set(&w->err, BASE_EMISMATCH, place,
                            "decision %s sent %llu bytes and was allowed %llu", r->decision_id,
                            (unsigned long long)t->bytes_out, (unsigned long long)t->max_bytes);
    return 0;
}

/* Releases without a close, and frees the tallies. */
static uint64_t count_open(struct walk *w)
{
    uint64_t n = 0;
    struct tally *t, *next;
    HASH_ITER (hh, w->tallies, t, next) {
        n += t->n_release - t->n_close;
        HASH_DEL(w->tallies, t);
        free(t);
    }
    return n;
}

static json_t *err_json(const struct base_err *err)
{
    return json_pack("{s:s, s:s, s:s}", "place", err->place, "message", err->msg, "code",
                     base_code_str(err->code));
}

/* stderr gets the error in either form; a script that wants JSON has it on stdout too. */
static int status_of(int e, const struct base_err *err)
{
    if (e == 0)
        return 0;
    char line[sizeof err->place + sizeof err->msg + 4];
    fprintf(stderr, "waypostctl ledger: %s\n", base_err_line(err, line, sizeof line));
    return e == BASE_EFORMAT || e == BASE_EMISMATCH ? 1 : 3;
}

static int show(const struct request *rq)
{
    struct walk w = {.rq = rq};
    struct base_err err = {0};
    char head[65];
    if (rq->json)
        fputs("{\"records\":[", stdout);
    int e = ledger_read(rq->path, show_record, &w, head, &err);
    if (e != 0 && err.code == 0)
        base_err_set(&err, e, "stdout", "the record could not be written");
    if (rq->json) {
        json_t *o = e != 0 ? err_json(&err) : NULL;
        printf("\n],\"head\":\"%s\",\"ok\":%s", head, e == 0 ? "true" : "false");
        if (o != NULL) {
            fputs(",\"error\":", stdout);
            json_dumpf(o, stdout, JSON_COMPACT);
            json_decref(o);
        }
        puts("}");
    } else if (e == 0) {
        printf("%llu of %llu records, head %s\n", (unsigned long long)w.n_shown,
               (unsigned long long)w.n_record, head);
    }
    return status_of(e, &err);
}

static void report(const struct request *rq, const struct walk *w, uint64_t n_open,
                   const char *head, int e, const struct base_err *err)
{
    if (rq->json) {
        json_t *o =
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:s}", "ok", e == 0, "records",
                      (json_int_t)w->n_record, "open", (json_int_t)n_open, "bytes_out",
                      (json_int_t)w->bytes_out, "bytes_in", (json_int_t)w->bytes_in, "head", head);
        if (e == 0 && rq->head != NULL)
            json_object_set_new(o, "head_at", json_integer((json_int_t)w->head_at));
        if (e != 0)
            json_object_set_new(o, "error", err_json(err));
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(o);
    } else if (e == 0) {
        printf("%s: %llu records, chain whole, %llu bytes out, %llu in\n", rq->path,
               (unsigned long long)w->n_record, (unsigned long long)w->bytes_out,
               (unsigned long long)w->bytes_in);
        if (n_open > 0)
            printf("%llu releases have no close: still running, or cut by a crash\n",
                   (unsigned long long)n_open);
        if (rq->head != NULL)
            printf("the given head is record %llu, %llu came after it\n",
                   (unsigned long long)w->head_at, (unsigned long long)(w->n_record - w->head_at));
        printf("head %s\n", head);
    }
}

static int verify(const struct request *rq)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct walk w = {.rq = rq};
    struct base_err err = {0};
    char head[65];
    int e = ledger_read(rq->path, verify_record, &w, head, &err);
    if (w.err.code != 0)
        err = w.err;
    if (e == 0 && rq->head != NULL && w.head_at == 0 && strcmp(rq->head, zeros) != 0)
        e = base_err_set(&err, BASE_EMISMATCH, rq->path,
                         "no record has the hash %s: the end was cut off, or it was written anew",
                         rq->head);
    uint64_t n_open = count_open(&w);
    report(rq, &w, n_open, head, e, &err);
    return status_of(e, &err);
}

static bool is_hex(const char *s, size_t max)
{
    size_t n = strlen(s);
    return n > 0 && n <= max && strspn(s, "0123456789abcdef") == n;
}

int ctl_ledger(int argc, char **argv)
{
    struct request rq = {.json = ctl_take_json(&argc, argv)};
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    bool is_show = argc >= 2 && strcmp(argv[1], "show") == 0;
    bool ok = is_show || (argc >= 2 && strcmp(argv[1], "verify") == 0);
    for (int i = 2; ok && i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        if (is_show && strcmp(argv[i], "--decision") == 0 && is_hex(v, 32)) {
            rq.decision = v;
            i++;
        } else if (!is_show && strcmp(argv[i], "--head") == 0 && is_hex(v, 64) && strlen(v) == 64) {
            rq.head = v;
            i++;
        } else if (argv[i][0] != '-' && rq.path == NULL) {
            rq.path = argv[i];
        } else {
            fprintf(stderr, "waypostctl ledger: '%s' is not understood\n", argv[i]);
            ok = false;
        }
    }
    if (!ok || rq.path == NULL) {
        usage(stderr);
        return 2;
    }
    return is_show ? show(&rq) : verify(&rq);
}
