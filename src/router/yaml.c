/* Policy text -> tree, by libyaml's events. Only the part of YAML that a rule file needs: no
 * anchors, aliases, tags, directives or second documents. Depth, nodes and keys are bounded, and
 * the parser is left at the first breach, so that hostile input costs no more than its length. */
#include "router/compile.h"

#include <string.h>

#include <yaml.h>

enum {
    MAX_DEPTH = 16,
    MAX_NODES = 1 << 19, /* 8192 rules of 64 nodes */
    MAX_KEYS = 128,      /* of one mapping; bounds the check for duplicates too */
};

struct builder {
    yaml_parser_t parser;
    struct base_arena *arena;
    struct rt_diags *d;
    struct rt_yaml *open[MAX_DEPTH];      /* the collections around the next node */
    struct rt_yaml *last[MAX_DEPTH];      /* their youngest child */
    const struct rt_yaml *key[MAX_DEPTH]; /* in a mapping: the key that waits for its value */
    int depth, n_node;
    int end_line, end_col; /* of the text */
    struct rt_yaml *root;
};

#define TOO_MANY_RULES "more than 8192 rules in one policy; this is the first too many"
#define TOO_MANY_ENTRIES "more than 8192 entries in one list; this is the first too many"

static int refuse(struct builder *b, const yaml_event_t *ev, enum rt_code code, const char *what)
{
    rt_diag_add(b->d, code, (int)ev->start_mark.line + 1, (int)ev->start_mark.column + 1, "%s",
                what);
    return code == RT_C_LIMIT ? BASE_ELIMIT : BASE_EFORMAT;
}

static int add_key(struct builder *b, const yaml_event_t *ev, const struct rt_yaml *key)
{
    const struct rt_yaml *map = b->open[b->depth - 1];
    char show[RT_SHOW_BYTES];

    if (map->n == MAX_KEYS)
        return refuse(b, ev, RT_C_LIMIT, "more than 128 keys in one mapping");
    for (const struct rt_yaml *v = map->child; v != NULL; v = v->next) {
        if (strcmp(v->key->text, key->text) == 0) {
            rt_diag_add(b->d, RT_C_DUPLICATE_KEY, key->line, key->col,
                        "duplicate key %s, first in line %d", rt_show(key->text, key->len, show),
                        v->key->line);
            return BASE_EFORMAT;
        }
    }
    b->key[b->depth - 1] = key;
    return 0;
}

/* By its key alone: a list of this name further in is a mistake of its own. */
static bool is_rules(const struct rt_yaml *n)
{
    return n->key != NULL && strcmp(n->key->text, "rules") == 0;
}

/* Hangs a new node below the innermost collection (or takes it as that mapping's next key). */
static int add_node(struct builder *b, const yaml_event_t *ev, enum rt_yaml_kind kind,
                    struct rt_yaml **out)
{
    if (b->n_node++ == MAX_NODES)
        return refuse(b, ev, RT_C_LIMIT, "more than 524288 values in one policy");
    struct rt_yaml *n = base_arena_get(b->arena, sizeof *n);
    if (n == NULL)
        return BASE_ENOMEM;
    n->kind = kind;
    n->line = (int)ev->start_mark.line + 1;
    n->col = (int)ev->start_mark.column + 1;
    n->text = "";
    if (kind == RT_YAML_SCALAR) {
        n->len = ev->data.scalar.length;
        n->text = base_arena_strndup(b->arena, (const char *)ev->data.scalar.value, n->len);
        n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        if (n->text == NULL)
            return BASE_ENOMEM;
    }
    *out = n;
    if (b->depth == 0) {
        b->root = n;
        return 0;
    }
    int top = b->depth - 1;
    struct rt_yaml *in = b->open[top];
    if (in->kind == RT_YAML_MAP && b->key[top] == NULL) {
        if (kind != RT_YAML_SCALAR)
            return refuse(b, ev, RT_C_YAML_FEATURE, "a key must be a plain word");
        return add_key(b, ev, n);
    }
    if (in->kind == RT_YAML_MAP) {
        n->key = b->key[top];
        b->key[top] = NULL;
    }
    if (in->n == RT_MAX_RULE) /* the longest list that there is */
        return refuse(b, ev, RT_C_LIMIT, is_rules(in) ? TOO_MANY_RULES : TOO_MANY_ENTRIES);
    if (b->last[top] == NULL)
        in->child = n;
    else
        b->last[top]->next = n;
    b->last[top] = n;
    in->n++;
    return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
    int line, col;
    const char *what;
    struct rt_yaml *n;

    if (ev->data.scalar.anchor != NULL)
        return refuse(b, ev, RT_C_YAML_FEATURE,
                      "anchors (&name) are not part of the policy language");
    if (ev->data.scalar.tag != NULL)
        return refuse(b, ev, RT_C_YAML_FEATURE, "tags (!type) are not part of the policy language");
    /* The file is clean, but escapes in double quotes can still make what it may not hold. */
    if (!rt_text_clean((const char *)ev->data.scalar.value, ev->data.scalar.length, true, &line,
                       &col, &what)) {
        rt_diag_add(b->d, RT_C_BAD_TEXT, (int)ev->start_mark.line + 1,
                    (int)ev->start_mark.column + 1, "the text holds %s", what);
        return BASE_EFORMAT;
    }
    return add_node(b, ev, RT_YAML_SCALAR, &n);
}

static int on_open(struct builder *b, const yaml_event_t *ev, enum rt_yaml_kind kind)
{
    bool map = kind == RT_YAML_MAP;
    struct rt_yaml *n;

    if ((map ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor) != NULL)
        return refuse(b, ev, RT_C_YAML_FEATURE,
                      "anchors (&name) are not part of the policy language");
    if ((map ? ev->data.mapping_start.tag : ev->data.sequence_start.tag) != NULL)
        return refuse(b, ev, RT_C_YAML_FEATURE, "tags (!type) are not part of the policy language");
    if (b->depth == MAX_DEPTH)
        return refuse(b, ev, RT_C_LIMIT, "nested deeper than 16 levels");
    int err = add_node(b, ev, kind, &n);
    if (err != 0)
        return err;
    b->open[b->depth] = n;
    b->last[b->depth] = NULL;
    b->key[b->depth] = NULL;
    b->depth++;
    return 0;
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (ev->data.document_start.version_directive != NULL ||
            ev->data.document_start.tag_directives.start !=
                ev->data.document_start.tag_directives.end)
            return refuse(b, ev, RT_C_YAML_FEATURE,
                          "directives (%…) are not part of the policy language");
        if (b->root != NULL)
            return refuse(b, ev, RT_C_YAML_FEATURE, "a second document; a policy file holds one");
        return 0;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, ev);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, ev, RT_YAML_SEQ);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, ev, RT_YAML_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse(b, ev, RT_C_YAML_FEATURE,
                      "aliases (*name) are not part of the policy language; "
                      "a class pattern that starts with * needs quotes");
    default:
        return 0;
    }
}

static int syntax_error(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return BASE_ENOMEM;
    int line = (int)p->problem_mark.line + 1, col = (int)p->problem_mark.column + 1;
    if (line > b->end_line) { /* libyaml ends the last line even where the text does not */
        line = b->end_line;
        col = b->end_col;
    }
    rt_diag_add(b->d, RT_C_YAML, line, col, "not valid YAML: %s%s%s",
                p->problem != NULL ? p->problem : "unreadable", p->context != NULL ? " " : "",
                p->context != NULL ? p->context : "");
    return BASE_EFORMAT;
}

/* libyaml takes microseconds for a rule, so that the first too many is looked for in the lines of a
 * plain list under `rules:` before. A line that begins so within a text is taken for a rule as well:
 * no text of a policy is as long as to hold thousands of them. */
static bool too_many_rules(const char *text, size_t len, size_t *at)
{
    int n = 0;
    size_t indent = SIZE_MAX; /* of the list's dashes; SIZE_MAX: none yet */
    bool inside = false;

    for (size_t i = 0, next; i < len; i = next) {
        const char *line = text + i, *nl = memchr(line, '\n', len - i);
        size_t n_line = nl != NULL ? (size_t)(nl - line) : len - i, in = 0;
        next = i + n_line + 1;
        while (in < n_line && line[in] == ' ')
            in++;
        if (in == n_line || line[in] == '#')
            continue;
        bool dash = line[in] == '-' && (in + 1 == n_line || line[in + 1] == ' ');
        if (in == 0 && !dash) {
            inside = n_line >= 6 && memcmp(line, "rules:", 6) == 0;
            continue;
        }
        if (!inside || !dash)
            continue;
        if (indent == SIZE_MAX)
            indent = in;
        if (in == indent && ++n > RT_MAX_RULE) {
            *at = i + in;
            return true;
        }
    }
    return false;
}

static int refuse_at(struct rt_diags *d, const char *text, size_t at, const char *what)
{
    int line, col;
    rt_text_place(text, at, &line, &col);
    rt_diag_add(d, RT_C_LIMIT, line, col, "%s", what);
    return BASE_ELIMIT;
}

int rt_yaml_parse(struct base_arena *a, const char *text, size_t len, size_t most,
                  struct rt_diags *d, struct rt_yaml **root)
{
    struct builder b = {.arena = a, .d = d};
    int line, col, err = 0;
    const char *what;
    size_t at;

    *root = NULL;
    if (too_many_rules(text, len < most ? len : most, &at))
        return refuse_at(d, text, at, TOO_MANY_RULES);
    if (len > most)
        return refuse_at(d, text, most,
                         "a policy has at most 2097152 bytes (2 MiB), all its files together; this "
                         "is the first too many");
    if (!rt_text_clean(text, len, true, &line, &col, &what)) {
        rt_diag_add(d, RT_C_BAD_TEXT, line, col, "the text holds %s", what);
        return BASE_EFORMAT;
    }
    b.end_line = line;
    b.end_col = col;
    if (yaml_parser_initialize(&b.parser) == 0)
        return BASE_ENOMEM;
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
    for (bool more = true; more && err == 0;) {
        yaml_event_t ev;
        if (yaml_parser_parse(&b.parser, &ev) == 0) {
            err = syntax_error(&b);
            break;
        }
        more = ev.type != YAML_STREAM_END_EVENT;
        err = on_event(&b, &ev);
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&b.parser);
    if (err == 0 && b.root == NULL) {
        rt_diag_add(d, RT_C_NO_POLICY, 1, 1, "empty; a policy starts with 'waypost_policy: 1'");
        err = BASE_EFORMAT;
    }
    if (err == 0)
        *root = b.root;
    return err;
}
