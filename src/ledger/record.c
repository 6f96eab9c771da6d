#include "ledger/record.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/hash.h"

enum { FORMAT_VERSION = 1 };

/* What ledger_line puts after the hashed bytes: ,"hash":"<64 hex>"} */
static const char hash_key[] = ",\"hash\":\"";
enum { HASH_HEX = 64, TAIL_BYTES = sizeof hash_key - 1 + HASH_HEX + 2 };

static bool is_hex(const char *s, size_t n)
{
    return strnlen(s, n + 1) == n && strspn(s, "0123456789abcdef") == n;
}

static int check_text(const char *s, size_t size, const char *field, struct base_err *err)
{
    if (strnlen(s, size) == size)
        return base_err_set(err, BASE_EINVAL, field, "longer than %zu bytes", size - 1);
    return 0;
}

static int check_int(uint64_t v, const char *field, struct base_err *err)
{
    if (v > INT64_MAX)
        return base_err_set(err, BASE_EINVAL, field, "%llu is over 2^63 - 1",
                            (unsigned long long)v);
    return 0;
}

static int check_release(const struct ledger_record *r, struct base_err *err)
{
    if (!is_hex(r->policy_hash, HASH_HEX))
        return base_err_set(err, BASE_EINVAL, "policy", "not 64 hex digits");
    if (r->n_class < 0 || r->n_class > LEDGER_MAX_CLASS)
        return base_err_set(err, BASE_EINVAL, "classes", "%d are more than %d", r->n_class,
                            LEDGER_MAX_CLASS);
    int e = check_text(r->rule, sizeof r->rule, "rule", err);
    if (e == 0)
        e = check_text(r->target, sizeof r->target, "target", err);
    if (e == 0)
        e = check_text(r->mode, sizeof r->mode, "mode", err);
    for (int i = 0; e == 0 && i < r->n_class; i++)
        e = check_text(r->classes[i], sizeof r->classes[i], "classes", err);
    return e != 0 ? e : check_int(r->max_bytes, "max_bytes", err);
}

static int check_close(const struct ledger_record *r, struct base_err *err)
{
    int e = check_text(r->result, sizeof r->result, "result", err);
    if (e == 0)
        e = check_int(r->bytes_out, "bytes_out", err);
    return e != 0 ? e : check_int(r->bytes_in, "bytes_in", err);
}

static int check(const struct ledger_record *r, struct base_err *err)
{
    if (!is_hex(r->decision_id, sizeof r->decision_id - 1))
        return base_err_set(err, BASE_EINVAL, "decision", "not 32 hex digits");
    if (r->kind != LEDGER_RELEASE && r->kind != LEDGER_CLOSE)
        return base_err_set(err, BASE_EINVAL, "kind", "%d is no kind", (int)r->kind);
    if (r->time_us < 0)
        return base_err_set(err, BASE_EINVAL, "time_us", "before 1970");
    return r->kind == LEDGER_RELEASE ? check_release(r, err) : check_close(r, err);
}

static json_t *classes_json(const struct ledger_record *r)
{
    json_t *a = json_array();
    for (int i = 0; i < r->n_class; i++) {
        if (json_array_append_new(a, json_string(r->classes[i])) != 0) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* Everything but the hash. The order of the members is part of the format. */
static json_t *record_json(const struct ledger_record *r, const char *prev)
{
    char iso[32];
    bool release = r->kind == LEDGER_RELEASE;
    json_t *o = json_pack("{s:i, s:I, s:s, s:s, s:I, s:s, s:s}", "v", FORMAT_VERSION, "seq",
                          (json_int_t)r->seq, "prev", prev, "time",
                          base_clock_iso8601(r->time_us, iso), "time_us", (json_int_t)r->time_us,
                          "kind", release ? "release" : "close", "decision", r->decision_id);
    json_t *rest = release
                       ? json_pack("{s:s, s:s, s:s, s:s, s:o, s:I}", "rule", r->rule, "target",
                                   r->target, "mode", r->mode, "policy", r->policy_hash, "classes",
                                   classes_json(r), "max_bytes", (json_int_t)r->max_bytes)
                       : json_pack("{s:I, s:I, s:s}", "bytes_out", (json_int_t)r->bytes_out,
                                   "bytes_in", (json_int_t)r->bytes_in, "result", r->result);
    if (o == NULL || rest == NULL || json_object_update(o, rest) != 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(rest);
    return o;
}

static int hash_hex(const char *p, size_t len, char out[65])
{
    uint8_t h[BASE_SHA256_BYTES];
    int e = base_sha256(p, len, h);
    if (e == 0)
        base_hex(h, sizeof h, out);
    return e;
}

int ledger_line(char **out, struct ledger_record *r, const char prev[65], struct base_err *err)
{
    *out = NULL;
    int e = check(r, err);
    if (e != 0)
        return e;
    json_t *o = record_json(r, prev);
    if (o == NULL) /* or out of memory; jansson does not tell the two apart */
        return base_err_set(err, BASE_EINVAL, "record", "a text is not UTF-8");
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    size_t n = text != NULL ? strlen(text) : 0;
    char *line = text != NULL ? malloc(n - 1 + TAIL_BYTES + 1) : NULL;
    if (line == NULL) {
        e = base_err_set(err, BASE_ENOMEM, "record", "out of memory");
        goto out;
    }
    n--; /* the closing brace comes after the hash */
    e = hash_hex(text, n, r->hash);
    if (e != 0) {
        base_err_set(err, e, "record", "SHA-256 is not available");
        free(line);
        goto out;
    }
    memcpy(line, text, n);
    char *p = stpcpy(line + n, hash_key);
    p = stpcpy(p, r->hash);
    stpcpy(p, "\"}");
    *out = line;
out:
    free(text);
    return e;
}

static int copy(char *dst, size_t size, const char *s)
{
    size_t n = strlen(s);
    if (n >= size)
        return -1;
    memcpy(dst, s, n + 1);
    return 0;
}

static int read_classes(struct ledger_record *r, const json_t *a)
{
    size_t n = json_array_size(a);
    if (!json_is_array(a) || n > LEDGER_MAX_CLASS)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(a, i));
        if (s == NULL || copy(r->classes[i], sizeof r->classes[i], s) != 0)
            return -1;
    }
    r->n_class = (int)n;
    return 0;
}

static int read_release(struct ledger_record *r, json_t *o)
{
    const char *rule, *target, *mode, *policy;
    json_t *classes;
    json_int_t max_bytes;
    if (json_unpack(o, "{s:s, s:s, s:s, s:s, s:o, s:I}", "rule", &rule, "target", &target, "mode",
                    &mode, "policy", &policy, "classes", &classes, "max_bytes", &max_bytes) != 0)
        return -1;
    r->kind = LEDGER_RELEASE;
    r->max_bytes = (uint64_t)max_bytes;
    return copy(r->rule, sizeof r->rule, rule) != 0 ||
                   copy(r->target, sizeof r->target, target) != 0 ||
                   copy(r->mode, sizeof r->mode, mode) != 0 ||
                   copy(r->policy_hash, sizeof r->policy_hash, policy) != 0 ||
                   read_classes(r, classes) != 0
               ? -1
               : 0;
}

static int read_close(struct ledger_record *r, json_t *o)
{
    const char *result;
    json_int_t out, in;
    if (json_unpack(o, "{s:I, s:I, s:s}", "bytes_out", &out, "bytes_in", &in, "result", &result) !=
        0)
        return -1;
    r->kind = LEDGER_CLOSE;
    r->bytes_out = (uint64_t)out;
    r->bytes_in = (uint64_t)in;
    return copy(r->result, sizeof r->result, result);
}

static int read_record(struct ledger_record *r, char prev[65], json_t *o)
{
    const char *kind, *before, *decision;
    json_int_t seq, time_us;
    if (json_unpack(o, "{s:I, s:s, s:I, s:s, s:s}", "seq", &seq, "prev", &before, "time_us",
                    &time_us, "kind", &kind, "decision", &decision) != 0)
        return -1;
    r->seq = (uint64_t)seq;
    r->time_us = time_us;
    if (!is_hex(before, HASH_HEX) || copy(prev, HASH_HEX + 1, before) != 0 ||
        copy(r->decision_id, sizeof r->decision_id, decision) != 0)
        return -1;
    if (strcmp(kind, "release") == 0)
        return read_release(r, o);
    return strcmp(kind, "close") == 0 ? read_close(r, o) : -1;
}

int ledger_parse(struct ledger_record *r, char prev[65], const char *line, size_t len,
                 const char *place, struct base_err *err)
{
    char want[65];
    *r = (struct ledger_record){0};
    if (len <= TAIL_BYTES || memcmp(line + len - TAIL_BYTES, hash_key, sizeof hash_key - 1) != 0)
        return base_err_set(err, BASE_EFORMAT, place, "not a record: it does not end with a hash");
    int e = hash_hex(line, len - TAIL_BYTES, want);
    if (e != 0)
        return base_err_set(err, e, place, "SHA-256 is not available");
    const char *has = line + len - 2 - HASH_HEX;
    if (memcmp(has, want, HASH_HEX) != 0)
        return base_err_set(err, BASE_EFORMAT, place,
                            "the record was changed: its hash is %s and says %.64s", want, has);
    json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    e = o != NULL ? read_record(r, prev, o) : -1;
    json_decref(o);
    if (e != 0)
        return base_err_set(err, BASE_EFORMAT, place, "a field is missing or of the wrong kind");
    char *again = NULL;
    e = ledger_line(&again, r, prev, err);
    if (e == BASE_ENOMEM)
        return e;
    if (e != 0 || strlen(again) != len || memcmp(again, line, len) != 0)
        e = base_err_set(err, BASE_EFORMAT, place, "the record is not in the ledger's one form");
    free(again);
    return e;
}
