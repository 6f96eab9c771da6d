/* waypostctl policy: the router's compiler and its explanation, by hand. */
#include "ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/hash.h"
#include "ctl/policy_reach.h"
#include "router/router.h"

enum { OUT_BYTES = 64 << 20, FACTS_BYTES = 1 << 20 };

static const char help[] =
    "usage: waypostctl policy check FILE [--json]\n"
    "       waypostctl policy explain FILE [--facts FILE.json|-] [NAME=VALUE ...] [--json]\n"
    "       waypostctl policy reach FILE [--json]\n"
    "       waypostctl policy facts\n"
    "\n"
    "check    compiles FILE and prints every mistake as FILE:LINE:COLUMN.\n"
    "explain  shows, rule by rule, how a request with these facts would be decided.\n"
    "reach    prints what may and what can leave the car, class by class.\n"
    "facts    prints the table of facts that a policy can ask about.\n"
    "\n"
    "Facts are given as NAME=VALUE (data.class takes a comma-separated list) or as a JSON object\n"
    "  {\"data.class\": [\"public.general\"], \"request.prompt_tokens\": 40,\n"
    "   \"links\": {\"cloud\": {\"state\": \"up\", \"rtt_ms\": 35.5}}}\n"
    "where `links` says what holds for each target; link.state and link.rtt_ms hold for all.\n"
    "A fact that is not given is not known. FILE may be - for standard input.\n"
    "\n"
    "Exit status: 0 fine, 1 the policy has errors, 2 wrong usage, 3 a file can't be read or the\n"
    "facts make no sense.\n";

/* ---- reading ---- */

/* The whole of a file; NULL and a message on stderr if it can't be had or is longer than max. */
static char *slurp(const char *path, size_t max, size_t *len)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct base_buf b;
    char *text = NULL;

    base_buf_init(&b, max);
    while (f != NULL && b.err == 0) {
        char piece[8192];
        size_t n = fread(piece, 1, sizeof piece, f);
        base_buf_add(&b, piece, n);
        if (n < sizeof piece)
            break;
    }
    if (f == NULL || ferror(f) != 0)
        fprintf(stderr, "waypostctl: %s: %s\n", path, strerror(errno));
    else if (b.err == BASE_ELIMIT)
        fprintf(stderr, "waypostctl: %s: longer than %zu bytes\n", path, max);
    else if (base_buf_cstr(&b) == NULL)
        fprintf(stderr, "waypostctl: %s: out of memory\n", path);
    else {
        *len = b.len;
        text = (char *)b.data;
        b.data = NULL;
    }
    if (f != NULL && f != stdin)
        fclose(f);
    base_buf_fini(&b);
    return text;
}

/* *rc: 0, or the exit status with *out NULL. diags say why. */
static struct rt_policy *load(const char *path, struct rt_diags *diags, int *rc)
{
    struct rt_policy *p = NULL;
    size_t len = 0;
    char *text = slurp(path, RT_MAX_TEXT_BYTES + (size_t)1, &len);

    diags->n = diags->n_error = 0;
    *rc = 3;
    if (text == NULL)
        return NULL;
    int err = rt_policy_compile(&p, text, len, diags);
    *rc = err == 0 ? 0 : diags->n_error > 0 ? 1 : 3;
    if (*rc == 3)
        fprintf(stderr, "waypostctl: %s: %s\n", path, base_code_str(err));
    free(text);
    return p;
}

static void print_diags(const char *path, const struct rt_diags *d)
{
    for (int i = 0; i < d->n; i++)
        fprintf(stderr, "%s:%d:%d: %s: %s\n", path, d->at[i].line, d->at[i].col,
                d->at[i].warning ? "warning" : "error", d->at[i].msg);
    if (d->n == RT_MAX_DIAG)
        fprintf(stderr, "%s: only the first %d findings are shown\n", path, RT_MAX_DIAG);
}

/* ---- check ---- */

static int print_check_json(const char *path, const struct rt_policy *p, const struct rt_diags *d)
{
    char hex[2 * BASE_SHA256_BYTES + 1] = "";
    json_t *list = json_array(), *targets = json_array();

    for (int i = 0; i < d->n; i++)
        json_array_append_new(list, json_pack("{s:i, s:i, s:s, s:s}", "line", d->at[i].line,
                                              "column", d->at[i].col, "severity",
                                              d->at[i].warning ? "warning" : "error", "message",
                                              d->at[i].msg));
    for (int i = 0; p != NULL && i < rt_policy_n_target(p); i++)
        json_array_append_new(targets, json_string(rt_policy_target_name(p, i)));
    json_t *root = json_pack("{s:s+, s:b, s:o, s:o}", "file", path, "", "ok", p != NULL,
                             "diagnostics", list, "targets", targets);
    if (root != NULL && p != NULL) {
        base_hex(rt_policy_hash(p), BASE_SHA256_BYTES, hex);
        json_object_set_new(root, "version", json_string(rt_policy_version(p)));
        json_object_set_new(root, "sha256", json_string(hex));
        json_object_set_new(root, "rules", json_integer(rt_policy_n_rule(p)));
    }
    int rc = root != NULL && json_dumpf(root, stdout, JSON_INDENT(2)) == 0 ? 0 : 3;
    putchar('\n');
    json_decref(root);
    return rc;
}

static int check(int argc, char **argv, bool json)
{
    static struct rt_diags diags;
    char hex[2 * BASE_SHA256_BYTES + 1];
    int rc;

    if (argc != 2) {
        fputs(help, stderr);
        return 2;
    }
    struct rt_policy *p = load(argv[1], &diags, &rc);
    if (rc != 3 && json) {
        int printed = print_check_json(argv[1], p, &diags);
        rc = printed != 0 ? printed : rc;
    } else if (rc != 3) {
        print_diags(argv[1], &diags);
        if (p != NULL)
            printf("%s: fine: version %s, %d rules, %d targets, sha256 %s\n", argv[1],
                   rt_policy_version(p), rt_policy_n_rule(p), rt_policy_n_target(p),
                   base_hex(rt_policy_hash(p), BASE_SHA256_BYTES, hex));
        else
            fprintf(stderr, "%s: %d errors\n", argv[1], diags.n_error);
    }
    rt_policy_free(p);
    return rc;
}

/* ---- facts ---- */

struct given {
    struct rt_facts f;
    struct rt_target_link link[RT_MAX_TARGET];
    struct base_arena arena; /* strings of the facts */
};

static int bad_fact(const char *name, const char *why)
{
    fprintf(stderr, "waypostctl: fact '%s': %s\n", name, why);
    return 3;
}

static int add_class(struct given *g, const char *s, size_t n)
{
    if (g->f.n_cls == RT_MAX_CLASS)
        return bad_fact("data.class", "more than 16 classes");
    if (n == 0)
        return bad_fact("data.class", "an empty class");
    g->f.cls[g->f.n_cls++] = base_arena_strndup(&g->arena, s, n);
    return g->f.cls[g->f.n_cls - 1] != NULL ? 0 : bad_fact("data.class", "out of memory");
}

/* One value of fact id, which is no set of classes. */
static int add_value(struct given *g, const char *name, int id, struct rt_value *to,
                     const json_t *v)
{
    to->have = true;
    switch (rt_fact_info[id].type) {
    case RT_FACT_BOOL:
        to->b = json_is_true(v);
        return json_is_boolean(v) ? 0 : bad_fact(name, "is true or false");
    case RT_FACT_INT:
        to->i = json_integer_value(v);
        return json_is_integer(v) ? 0 : bad_fact(name, "is an integer");
    case RT_FACT_REAL:
        to->r = json_number_value(v);
        return json_is_number(v) ? 0 : bad_fact(name, "is a number");
    case RT_FACT_STR:
        to->s = json_is_string(v)
                    ? base_arena_strndup(&g->arena, json_string_value(v), json_string_length(v))
                    : NULL;
        return to->s != NULL ? 0 : bad_fact(name, "is a text");
    case RT_FACT_CLASSES:
        break;
    }
    return bad_fact(name, "is a list of classes");
}

static int add_list(struct given *g, const char *name, int id, const json_t *v)
{
    size_t n = json_array_size(v);
    const char **list = base_arena_get(&g->arena, (n + 1) * sizeof *list);
    if (list == NULL)
        return bad_fact(name, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *c = json_array_get(v, i);
        if (!json_is_string(c))
            return bad_fact(name, "is a list of classes");
        if (id == RT_F_DATA_CLASS) {
            int rc = add_class(g, json_string_value(c), json_string_length(c));
            if (rc != 0)
                return rc;
        }
        list[i] = base_arena_strndup(&g->arena, json_string_value(c), json_string_length(c));
        if (list[i] == NULL)
            return bad_fact(name, "out of memory");
    }
    if (id != RT_F_DATA_CLASS)
        g->f.v[id].list = list;
    g->f.v[id].have = true;
    return 0;
}

static int add_json(struct given *g, const char *name, const json_t *v)
{
    int id = rt_fact_find(name);
    if (id < 0)
        return bad_fact(name, "no such fact; see waypostctl policy facts");
    if (json_is_null(v))
        return 0;
    if (rt_fact_info[id].type == RT_FACT_CLASSES && json_is_array(v))
        return add_list(g, name, id, v);
    return add_value(g, name, id, &g->f.v[id], v);
}

/* A target's fact by its name (link.state) or, of link.*, by its last word (state). */
static int link_fact(const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "link.%s", name);
    int id = rt_fact_find(name);
    return id >= 0 ? id : rt_fact_find(full);
}

static int add_link(struct given *g, const char *target, json_t *link)
{
    const char *name;
    json_t *v;

    if (g->f.n_link == RT_MAX_TARGET)
        return bad_fact("links", "more than 64 targets");
    if (!json_is_object(link))
        return bad_fact(target, "a link has \"state\" (text), \"rtt_ms\" (number) and so on");
    struct rt_target_link *l = &g->link[g->f.n_link++];
    l->target = base_arena_strndup(&g->arena, target, strlen(target));
    if (l->target == NULL)
        return bad_fact("links", "out of memory");
    json_object_foreach(link, name, v)
    {
        int id = link_fact(name);
        if (id < 0 || !rt_fact_is_targets(id))
            return bad_fact(name, "no fact of a link; see waypostctl policy facts");
        int rc = add_value(g, name, id, rt_link(l, (enum rt_fact_id)id), v);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int add_links(struct given *g, json_t *links)
{
    const char *name;
    json_t *v;

    if (!json_is_object(links))
        return bad_fact("links", "is an object: {\"cloud\": {\"state\": \"up\"}}");
    json_object_foreach(links, name, v)
    {
        int rc = add_link(g, name, v);
        if (rc != 0)
            return rc;
    }
    g->f.link = g->link;
    return 0;
}

static int add_file(struct given *g, const char *path)
{
    json_error_t where;
    size_t len = 0;
    char *text = slurp(path, FACTS_BYTES, &len);
    const char *name;
    json_t *v;
    int rc = 0;

    if (text == NULL)
        return 3;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (root == NULL) {
        fprintf(stderr, "%s:%d:%d: %s\n", path, where.line, where.column, where.text);
        return 3;
    }
    if (!json_is_object(root))
        rc = bad_fact(path, "facts are a JSON object");
    json_object_foreach(root, name, v)
    {
        if (rc == 0)
            rc = strcmp(name, "links") == 0 ? add_links(g, v) : add_json(g, name, v);
    }
    json_decref(root);
    return rc;
}

/* NAME=VALUE, the value as the fact's type reads it. */
static int add_word(struct given *g, const char *word)
{
    const char *eq = strchr(word, '=');
    char name[64];

    snprintf(name, sizeof name, "%.*s", (int)(eq - word), word);
    int id = rt_fact_find(name);
    const char *s = eq + 1;
    json_t *v;
    if (id >= 0 && rt_fact_info[id].type == RT_FACT_CLASSES) {
        v = json_array();
        for (;; s++) {
            size_t n = strcspn(s, ",");
            (void)json_array_append_new(v, json_stringn(s, n));
            s += n;
            if (*s == '\0')
                break;
        }
    } else {
        v = id >= 0 && rt_fact_info[id].type == RT_FACT_STR ? json_string(s)
                                                            : json_loads(s, JSON_DECODE_ANY, NULL);
    }
    int rc = v != NULL ? add_json(g, name, v)
             : id < 0  ? add_json(g, name, NULL)
                       : bad_fact(name, "can't be read");
    json_decref(v);
    return rc;
}

/* ---- explain ---- */

/* Facts out of argv[2 …]. */
static int take_facts(struct given *g, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        int rc;
        if (strcmp(argv[i], "--facts") == 0 && i + 1 < argc) {
            rc = add_file(g, argv[++i]);
        } else if (argv[i][0] != '-' && strchr(argv[i], '=') != NULL) {
            rc = add_word(g, argv[i]);
        } else {
            fprintf(stderr, "waypostctl: '%s' is no NAME=VALUE\n", argv[i]);
            rc = 2;
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int explain(int argc, char **argv, bool json)
{
    static struct rt_diags diags;
    struct given g = {0};
    struct base_buf out;
    int rc;

    if (argc < 2 || argv[1][0] == '\0') {
        fputs(help, stderr);
        return 2;
    }
    base_arena_init(&g.arena, FACTS_BYTES * (size_t)4);
    base_buf_init(&out, OUT_BYTES);
    struct rt_policy *p = load(argv[1], &diags, &rc);
    if (rc == 1)
        print_diags(argv[1], &diags);
    if (rc == 0)
        rc = take_facts(&g, argc, argv);
    if (rc == 0) {
        int err = rt_explain(p, &g.f, json, &out);
        if (err != 0 || fwrite(out.data, 1, out.len, stdout) != out.len) {
            fprintf(stderr, "waypostctl: %s\n", base_code_str(err != 0 ? err : BASE_EIO));
            rc = 3;
        }
    }
    base_buf_fini(&out);
    base_arena_fini(&g.arena);
    rt_policy_free(p);
    return rc;
}

static int reach(int argc, char **argv, bool json)
{
    static struct rt_diags diags;
    int rc;

    if (argc != 2) {
        fputs(help, stderr);
        return 2;
    }
    struct rt_policy *p = load(argv[1], &diags, &rc);
    if (rc == 1)
        print_diags(argv[1], &diags);
    if (rc == 0)
        rc = ctl_policy_reach(p, json);
    rt_policy_free(p);
    return rc;
}

static int facts(void)
{
    struct base_buf out;
    base_buf_init(&out, OUT_BYTES);
    int rc =
        rt_facts_reference(&out) == 0 && fwrite(out.data, 1, out.len, stdout) == out.len ? 0 : 3;
    base_buf_fini(&out);
    return rc;
}

int ctl_policy(int argc, char **argv)
{
    bool json = ctl_take_json(&argc, argv);

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
    }
    if (argc >= 2 && strcmp(argv[1], "check") == 0)
        return check(argc - 1, argv + 1, json);
    if (argc >= 2 && strcmp(argv[1], "explain") == 0)
        return explain(argc - 1, argv + 1, json);
    if (argc >= 2 && strcmp(argv[1], "reach") == 0)
        return reach(argc - 1, argv + 1, json);
    if (argc == 2 && strcmp(argv[1], "facts") == 0)
        return facts();
    fputs(help, stderr);
    return 2;
}
