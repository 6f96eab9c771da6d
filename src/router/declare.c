/* What stands beside the rules: targets, callers, budgets, consents, signals. */
#include "router/compile.h"

#include <stdio.h>
#include <string.h>

#define TARGET_KEYS "modes|where|identity|price|overridable"
#define CALLER_KEYS "match|labels|seat|priority|quota"
#define MATCH_KEYS "socket|uid|key_sha256"
#define QUOTA_KEYS "requests|bytes|per"
#define BUDGET_KEYS "unit|limit|per|targets"
#define CONSENT_KEYS "lapses|ask|between|days"
#define DAYS "mon|tue|wed|thu|fri|sat|sun"
#define SIGNAL_KEYS "type|unit|max_age_ms"

enum {
    MAX_AGE_MS = 24 * 3600 * 1000,
    DEFAULT_AGE_MS = 10000,
    MAX_PRIORITY = 100,
};

/* The entries of a section that maps names to mappings. */
typedef void (*take_entry)(struct rt_compiler *c, const struct rt_yaml *n);

static void section(struct rt_compiler *c, const char *name, const char *example, take_entry take)
{
    const struct rt_yaml *n = rt_key(c->src[c->at].root, name);

    if (n == NULL)
        return;
    if (n->kind != RT_YAML_MAP) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "'%s' takes names: %s", name, example);
        return;
    }
    for (const struct rt_yaml *v = n->child; v != NULL && c->err == 0; v = v->next)
        take(c, v);
}

static bool is_entry(struct rt_compiler *c, const struct rt_yaml *n, const char *what,
                     const char *keys)
{
    if (!rt_take_name(c, n->key, what))
        return false;
    if (n->kind != RT_YAML_MAP) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "%s is followed by a mapping of %s", what, keys);
        return false;
    }
    rt_check_keys(c, n, what, keys);
    return true;
}

static bool room(struct rt_compiler *c, const struct rt_yaml *n, int have, int most,
                 const char *what)
{
    if (have < most)
        return true;
    rt_tell(c, n->key, RT_C_LIMIT, "more than %d %s", most, what);
    return false;
}

const char *rt_own_fact(struct rt_compiler *c, const struct rt_yaml *n, const char *name,
                        const struct rt_fact_info *info)
{
    struct rt_policy *p = c->p;

    if (p->n_own == RT_MAX_OWN) {
        rt_tell(c, n, RT_C_LIMIT, "more than %d signals, budgets, consents and moves", RT_MAX_OWN);
        return "";
    }
    uint32_t id = rt_str_add(c, name, strlen(name));
    if (id == RT_STR_NONE)
        return "";
    p->own[p->n_own] = *info;
    c->own_at[p->n_own].src = c->at;
    c->own_at[p->n_own].line = n->line;
    c->own_at[p->n_own].col = n->col;
    p->own[p->n_own].name = p->str[id];
    return p->own[p->n_own++].name;
}

/* ---- targets ---- */

static int target_index(const struct rt_policy *p, const char *name)
{
    for (int i = 0; i < p->n_target; i++) {
        if (strcmp(p->target[i].d.name, name) == 0)
            return i;
    }
    return -1;
}

static void target_modes(struct rt_compiler *c, const struct rt_yaml *n, struct rt_target *t)
{
    const struct rt_yaml *modes = rt_key(n, "modes");

    if (modes == NULL || modes->kind != RT_YAML_SEQ || modes->n == 0) {
        rt_tell(c, modes != NULL ? modes : n, RT_C_MISSING_KEY,
                "a target needs its modes: { modes: [prompt, hidden] }");
        return;
    }
    for (const struct rt_yaml *m = modes->child; m != NULL; m = m->next) {
        int which;
        if (!rt_take_choice(c, m, "a target's mode", "prompt|hidden", &which))
            continue;
        bool *mode = which == 0 ? &t->d.prompt : &t->d.hidden;
        if (*mode)
            rt_tell(c, m, RT_C_DUPLICATE_ENTRY, "'%s' is twice in the list", m->text);
        *mode = true;
    }
}

static void target_price(struct rt_compiler *c, const struct rt_yaml *n, struct rt_target *t)
{
    const struct rt_yaml *price = rt_key(n, "price");
    const struct rt_yaml *in = price != NULL ? rt_key(price, "in") : NULL;
    const struct rt_yaml *out = price != NULL ? rt_key(price, "out") : NULL;

    if (price == NULL)
        return;
    if (in == NULL || out == NULL || price->n != 2) {
        rt_tell(c, price, RT_C_WRONG_SHAPE,
                "a price is money for 10^6 tokens: { in: 0.5, out: 1.5 }");
        return;
    }
    t->d.have_price = rt_take_real(c, in, "price in", &t->d.price_in) &&
                      rt_take_real(c, out, "price out", &t->d.price_out);
    if (t->d.have_price && (t->d.price_in < 0 || t->d.price_out < 0))
        rt_tell(c, price, RT_C_BAD_VALUE, "a price is not below 0");
}

static void take_target(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_target t = {.src = c->at, .line = n->key->line, .col = n->key->col};
    const struct rt_yaml *where, *over, *identity;

    if (!rt_take_name(c, n->key, "the name of a target"))
        return;
    if (n->kind == RT_YAML_MAP)
        rt_check_keys(c, n, "a target", TARGET_KEYS);
    target_modes(c, n, &t);
    target_price(c, n, &t);
    t.d.where = "";
    if ((where = rt_key(n, "where")) != NULL && rt_take_name(c, where, "where"))
        t.d.where = rt_keep(c, where->text, where->len);
    t.d.identity = rt_keep_text(c, (identity = rt_key(n, "identity")), "identity");
    if ((over = rt_key(n, "overridable")) != NULL)
        rt_take_bool(c, over, "overridable", &t.overridable);
    t.d.name = rt_keep(c, n->key->text, n->key->len);
    int old = c->err == 0 ? target_index(c->p, t.d.name) : -1;
    if (old >= 0 && !c->p->target[old].overridable) {
        rt_tell(c, n->key, RT_C_NOT_OVERRIDABLE,
                "target '%s' is declared in '%s', line %d, without 'overridable: true': an "
                "including file may not send its data elsewhere",
                t.d.name, c->src[c->p->target[old].src].name, c->p->target[old].line);
        return;
    }
    if (old < 0 && !room(c, n, c->p->n_target, RT_MAX_TARGET, "targets"))
        return;
    c->p->target[old >= 0 ? old : c->p->n_target++] = t;
}

static const char *next_target(const void *ctx, int i)
{
    const struct rt_policy *p = ctx;
    return i < p->n_target ? p->target[i].d.name : NULL;
}

int rt_target_find(struct rt_compiler *c, const struct rt_yaml *n)
{
    char show[RT_SHOW_BYTES];

    if (!rt_take_name(c, n, "target"))
        return -1;
    int i = target_index(c->p, n->text);
    if (i >= 0)
        return i;
    const char *hint = rt_nearest(c, n->text, next_target, c->p);
    rt_tell(c, n, RT_C_UNKNOWN_TARGET, "no target %s in 'targets'%s%s%s",
            rt_show(n->text, n->len, show), hint != NULL ? "; did you mean '" : "",
            hint != NULL ? hint : "", hint != NULL ? "'?" : "");
    return -1;
}

/* ---- callers ---- */

/* One of its class patterns, as text. */
static const char *take_label(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_item it;
    return rt_take_glob(c, n, false, &it) ? rt_keep(c, n->text, n->len) : NULL;
}

static void caller_labels(struct rt_compiler *c, const struct rt_yaml *n, struct rt_caller_decl *to)
{
    if (n->kind != RT_YAML_SEQ || n->n == 0 || n->n > RT_MAX_LIST) {
        rt_tell(c, n, RT_C_WRONG_SHAPE,
                "'labels' takes the classes that the caller may declare: [public.*]");
        return;
    }
    const char **list = base_arena_get(&c->p->arena, (size_t)n->n * sizeof *list);
    if (list == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    for (const struct rt_yaml *v = n->child; v != NULL; v = v->next) {
        list[to->n_label] = take_label(c, v);
        to->n_label += list[to->n_label] != NULL;
    }
    to->label = list;
}

static void caller_match(struct rt_compiler *c, const struct rt_yaml *n, struct rt_caller_decl *to)
{
    const struct rt_yaml *socket, *uid, *key;

    if (n->kind != RT_YAML_MAP || n->n == 0) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "'match' takes %s", MATCH_KEYS);
        return;
    }
    rt_check_keys(c, n, "match", MATCH_KEYS);
    if ((socket = rt_key(n, "socket")) != NULL && rt_take_name(c, socket, "socket"))
        to->socket = rt_keep(c, socket->text, socket->len);
    if ((uid = rt_key(n, "uid")) != NULL)
        rt_take_int(c, uid, "uid", 0, UINT32_MAX, &to->uid);
    if ((key = rt_key(n, "key_sha256")) != NULL && rt_take_name(c, key, "key_sha256")) {
        if (key->len != 64 || strspn(key->text, "0123456789abcdef") != 64)
            rt_tell(c, key, RT_C_BAD_VALUE,
                    "key_sha256 is the SHA-256 of the key: 64 digits 0-9 a-f");
        to->key_sha256 = rt_keep(c, key->text, key->len);
    }
}

static void caller_quota(struct rt_compiler *c, const struct rt_yaml *n, struct rt_caller_decl *to)
{
    static const int64_t seconds[] = {0, 3600, 86400};
    const struct rt_yaml *req = rt_key(n, "requests"), *bytes = rt_key(n, "bytes");
    const struct rt_yaml *per = rt_key(n, "per");
    int which;

    if (n->kind != RT_YAML_MAP || (req == NULL && bytes == NULL) || per == NULL) {
        rt_tell(c, n, RT_C_MISSING_KEY,
                "a quota says what and for how long: { requests: 100, per: hour }");
        return;
    }
    rt_check_keys(c, n, "a quota", QUOTA_KEYS);
    if (req != NULL)
        rt_take_int(c, req, "requests", 0, INT64_MAX, &to->quota_requests);
    if (bytes != NULL)
        rt_take_int(c, bytes, "bytes", 0, INT64_MAX, &to->quota_bytes);
    if (rt_take_choice(c, per, "per", "trip|hour|day", &which))
        to->quota_s = seconds[which];
}

static void take_caller(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_policy *p = c->p;
    struct rt_caller_decl d = {.uid = -1, .quota_requests = -1, .quota_bytes = -1};
    const struct rt_yaml *v;
    int64_t priority = 0;
    int at = 0;

    if (!is_entry(c, n, "a caller", CALLER_KEYS))
        return;
    if ((v = rt_key(n, "match")) != NULL)
        caller_match(c, v, &d);
    else
        rt_tell(c, n->key, RT_C_MISSING_KEY, "a caller needs 'match': { uid: 1001 }");
    if ((v = rt_key(n, "labels")) != NULL)
        caller_labels(c, v, &d);
    if ((v = rt_key(n, "seat")) != NULL && rt_take_name(c, v, "seat"))
        d.seat = rt_keep(c, v->text, v->len);
    if ((v = rt_key(n, "priority")) != NULL)
        rt_take_int(c, v, "priority", 0, MAX_PRIORITY, &priority);
    if ((v = rt_key(n, "quota")) != NULL)
        caller_quota(c, v, &d);
    d.priority = (int)priority;
    d.name = rt_keep(c, n->key->text, n->key->len);
    while (c->err == 0 && at < p->n_caller && strcmp(p->caller[at].name, d.name) != 0)
        at++;
    if (c->err != 0 || (at == p->n_caller && !room(c, n, at, RT_MAX_CALLER, "callers")))
        return;
    p->caller[at] = d;
    p->n_caller += at == p->n_caller;
}

/* ---- budgets, consents, signals ---- */

static void budget_per(struct rt_compiler *c, const struct rt_yaml *n, struct rt_budget_decl *d)
{
    int which;

    if (n->kind == RT_YAML_SCALAR) {
        if (rt_take_choice(c, n, "per", "trip|hour|day|month", &which))
            d->period = (enum rt_period)which;
        return;
    }
    if (n->kind != RT_YAML_SEQ || n->n != 2) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "'per' takes a time, or whose and a time: per: [sim, day]");
        return;
    }
    if (rt_take_choice(c, n->child, "per", "vehicle|sim|seat|caller", &which))
        d->scope = (enum rt_scope)which;
    if (rt_take_choice(c, n->child->next, "per", "trip|hour|day|month", &which))
        d->period = (enum rt_period)which;
}

static void take_budget(struct rt_compiler *c, const struct rt_yaml *n)
{
    static const char *const unit_name[] = {"bytes", "requests", "money", "joules"};
    struct rt_policy *p = c->p;
    struct rt_budget_decl d = {.targets = UINT64_MAX, .period = RT_DAY};
    const struct rt_yaml *unit = rt_key(n, "unit"), *limit = rt_key(n, "limit");
    const struct rt_yaml *to = rt_key(n, "targets");
    char fact[RT_MAX_NAME_BYTES + 16];
    int which, at = 0;

    if (!is_entry(c, n, "a budget", BUDGET_KEYS))
        return;
    if (unit == NULL || limit == NULL || rt_key(n, "per") == NULL) {
        rt_tell(c, n->key, RT_C_MISSING_KEY,
                "a budget needs unit, limit and per: { unit: bytes, limit: 1000000, "
                "per: day }");
        return;
    }
    if (rt_take_choice(c, unit, "unit", "bytes|requests|money|joules", &which))
        d.unit = (enum rt_budget_unit)which;
    if (rt_take_real(c, limit, "limit", &d.limit) && d.limit < 0)
        rt_tell(c, limit, RT_C_BAD_VALUE, "a limit is not below 0");
    budget_per(c, rt_key(n, "per"), &d);
    if (to != NULL && (to->kind != RT_YAML_SEQ || to->n == 0))
        rt_tell(c, to, RT_C_WRONG_SHAPE, "'targets' takes a list: [cloud]");
    for (const struct rt_yaml *v = to != NULL ? to->child : NULL; v != NULL; v = v->next) {
        int t = rt_target_find(c, v);
        d.targets = v == to->child ? 0 : d.targets;
        d.targets |= t >= 0 ? UINT64_C(1) << t : 0;
    }
    d.name = rt_keep(c, n->key->text, n->key->len);
    while (c->err == 0 && at < p->n_budget && strcmp(p->budget[at].name, d.name) != 0)
        at++;
    if (c->err != 0 || (at == p->n_budget && !room(c, n, at, RT_MAX_BUDGET, "budgets")))
        return;
    snprintf(fact, sizeof fact, "budget.%s.left", d.name);
    d.fact = at < p->n_budget
                 ? p->budget[at].fact
                 : rt_own_fact(c, n->key, fact,
                               &(struct rt_fact_info){.type = RT_FACT_REAL,
                                                      .unit = unit_name[d.unit],
                                                      .source = "budget",
                                                      .absent = "nobody counts",
                                                      .doc = "What is left of the budget"});
    p->budget[at] = d;
    p->n_budget += at == p->n_budget;
}

/* When a consent counts at all: between two times of day, on some days. */
static void consent_hours(struct rt_compiler *c, const struct rt_yaml *n, struct rt_consent_decl *d)
{
    const struct rt_yaml *between = rt_key(n, "between"), *days = rt_key(n, "days");
    int which;

    if (between != NULL && (between->kind != RT_YAML_SEQ || between->n != 2))
        rt_tell(c, between, RT_C_WRONG_SHAPE,
                "'between' takes two times of day: between: [06:00, 22:00]");
    else if (between != NULL)
        d->has_hours = rt_take_clock(c, between->child, "between", &d->from_minute) &&
                       rt_take_clock(c, between->child->next, "between", &d->to_minute);
    if (days != NULL && (days->kind != RT_YAML_SEQ || days->n == 0)) {
        rt_tell(c, days, RT_C_WRONG_SHAPE, "'days' takes a list of " DAYS);
        return;
    }
    for (const struct rt_yaml *v = days != NULL ? days->child : NULL; v != NULL; v = v->next) {
        if (rt_take_choice(c, v, "a day", DAYS, &which))
            d->days |= (uint8_t)(1u << which);
    }
}

static void take_consent(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_policy *p = c->p;
    struct rt_consent_decl d = {0};
    const struct rt_yaml *lapses = rt_key(n, "lapses");
    char fact[RT_MAX_NAME_BYTES + 16];
    int which, at = 0;

    if (!is_entry(c, n, "a consent", CONSENT_KEYS))
        return;
    if (lapses == NULL)
        rt_tell(c, n->key, RT_C_MISSING_KEY, "a consent needs 'lapses': trip, hour, day or month");
    else if (rt_take_choice(c, lapses, "lapses", "trip|hour|day|month", &which))
        d.lapses = (enum rt_period)which;
    d.ask = rt_keep_text(c, rt_key(n, "ask"), "ask");
    consent_hours(c, n, &d);
    d.name = rt_keep(c, n->key->text, n->key->len);
    while (c->err == 0 && at < p->n_consent && strcmp(p->consent[at].name, d.name) != 0)
        at++;
    if (c->err != 0 || (at == p->n_consent && !room(c, n, at, RT_MAX_CONSENT, "consents")))
        return;
    snprintf(fact, sizeof fact, "consent.%s", d.name);
    d.fact =
        at < p->n_consent
            ? p->consent[at].fact
            : rt_own_fact(c, n->key, fact,
                          &(struct rt_fact_info){.type = RT_FACT_BOOL,
                                                 .unit = "",
                                                 .source = "consent",
                                                 .absent = "nobody was asked",
                                                 .doc = "A person agreed, and it has not lapsed"});
    p->consent[at] = d;
    p->n_consent += at == p->n_consent;
}

/* `signals` may also shorten or lengthen the time for which a fact of the table counts. */
static void signal_of_table(struct rt_compiler *c, const struct rt_yaml *n, int fact)
{
    const struct rt_yaml *age = rt_key(n, "max_age_ms");

    if (rt_fact_info[fact].max_age_ms == 0 || age == NULL || n->n != 1) {
        rt_tell(c, n->key, RT_C_BAD_VALUE, "of '%s' only max_age_ms can be set here%s",
                rt_fact_info[fact].name,
                rt_fact_info[fact].max_age_ms == 0 ? ", and it has none" : "");
        return;
    }
    rt_take_int(c, age, "max_age_ms", 1, MAX_AGE_MS, &c->p->max_age_ms[fact]);
}

static void take_signal(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_policy *p = c->p;
    struct rt_signal_decl d = {.max_age_ms = DEFAULT_AGE_MS};
    const struct rt_yaml *type = rt_key(n, "type"), *unit = rt_key(n, "unit");
    const struct rt_yaml *age = rt_key(n, "max_age_ms");
    int which, at = 0, fact = rt_fact_find(n->key->text);

    if (fact >= 0 && n->kind == RT_YAML_MAP) {
        signal_of_table(c, n, fact);
        return;
    }
    if (!is_entry(c, n, "a signal", SIGNAL_KEYS))
        return;
    if (strncmp(n->key->text, "Vehicle.", 8) != 0)
        rt_tell(c, n->key, RT_C_BAD_NAME, "a signal is named as in VSS: Vehicle.Speed");
    if (type == NULL)
        rt_tell(c, n->key, RT_C_MISSING_KEY,
                "a signal needs its type: boolean, integer, number or text");
    else if (rt_take_choice(c, type, "type", "boolean|integer|number|text", &which))
        d.type = (enum rt_fact_type)which;
    if (age != NULL)
        rt_take_int(c, age, "max_age_ms", 1, MAX_AGE_MS, &d.max_age_ms);
    d.unit = rt_keep_text(c, unit, "unit");
    while (at < p->n_signal && strcmp(p->signal[at].name, n->key->text) != 0)
        at++;
    if (c->err != 0 || (at == p->n_signal && !room(c, n, at, RT_MAX_SIGNAL, "signals")))
        return;
    struct rt_fact_info info = {.type = d.type,
                                .unit = d.unit,
                                .source = "vehicle",
                                .max_age_ms = d.max_age_ms,
                                .absent = "no such signal",
                                .doc = "Signal of the vehicle"};
    if (at < p->n_signal) {
        d.name = info.name = p->signal[at].name;
        for (int i = 0; i < p->n_own; i++) {
            if (p->own[i].name == d.name)
                p->own[i] = info;
        }
    } else {
        d.name = rt_own_fact(c, n->key, n->key->text, &info);
    }
    p->signal[at] = d;
    p->n_signal += at == p->n_signal;
}

/* ---- all ---- */

void rt_declare(struct rt_compiler *c)
{
    c->p->share.edge = -1;
    for (int s = 0; s < c->n_src && c->err == 0; s++) {
        rt_in_source(c, s);
        section(c, "targets", "cloud: { modes: [prompt, hidden] }", take_target);
        section(c, "budgets", "data: { unit: bytes, limit: 1000000, per: day }", take_budget);
        section(c, "consents", "cloud: { lapses: trip }", take_consent);
        section(c, "signals", "Vehicle.Speed: { type: number }", take_signal);
    }
    if (c->err == 0)
        rt_declare_share(c);
    /* After the facts: a label is a string too. */
    for (int s = 0; s < c->n_src && c->err == 0; s++) {
        rt_in_source(c, s);
        section(c, "callers", "nav: { match: { uid: 1001 } }", take_caller);
    }
}
