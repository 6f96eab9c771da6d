/* Random policies as trees, their text, facts to decide on, and what a tree says of them by an
 * interpreter that is too simple to be wrong. There is one policy at a time: `made`. */
#ifndef TESTS_ROUTER_RANDOM_POLICY_H
#define TESTS_ROUTER_RANDOM_POLICY_H

#include "router/policy.h"

enum { N_WORD = 8, N_PATTERN = 14, N_CLASS = 17, N_TARGET = 2, MAX_RULES = 60, N_SUBJECT = 17 };

/* What a condition can be about: a fact of the table, or one of the policy's own. */
struct subject {
    const char *name;
    enum rt_fact_type type;
    int id; /* -1: its own */
    int64_t max_age_ms;
};

struct ask {
    const struct subject *s;
    char op[8];
    int n, val[3]; /* index into the words or patterns, or the number */
};

struct map { /* a condition mapping */
    struct ask ask[4];
    struct map *any[2], *all[2], *no;
    int n_ask, n_any, n_all;
};

struct gen_rule {
    int name;
    struct map *when; /* NULL: always */
    enum rt_mode mode;
    int target; /* -1: none */
};

/* A declared class: the pairs as bits, mode * 2 + target. */
struct gen_class {
    const char *name;
    unsigned permits;
};

struct random_policy {
    struct map pool[2048];
    struct gen_rule rule[MAX_RULES];
    struct gen_class declared[8];
    int n_pool, n_rule, n_declared;
    int top_number;            /* numbers asked for and given are below it */
    double move_min, move_max; /* of the first rule's confidence; min < 0: no share */
};

struct given {
    struct rt_facts f;
    struct rt_target_link link[N_TARGET];
    struct rt_named named[6];
    const char *list[2][RT_MAX_CLASS + 2];
};

extern struct random_policy made;
extern const struct subject subjects[N_SUBJECT]; /* the first is data.class */
extern const char *const patterns[N_PATTERN], *const target_name[N_TARGET];

/* In [0, n); the same numbers in every run. */
int rnd(int n);

bool of_target(const struct subject *s);
/* What a text of this subject may be: v below n_word(s). */
int n_word(const struct subject *s);
const char *word_of(const struct subject *s, int v);
/* The rule's own test of data.class, or NULL. */
struct ask *classes_asked(struct map *m);

void gen_policy(void);
void put_policy(struct base_buf *b);
/* g is its own memory and what f points to. */
void gen_facts(struct given *g);

bool ref_glob(const char *pattern, const char *cls);
/* The classes as a list, with their count; -1: nobody can tell. */
int ref_list(const struct subject *s, const struct rt_facts *f, const char *out[RT_MAX_CLASS + 2]);
/* moved: the direct tests are those of the rule whose threshold the share moves. */
enum rt_tri ref_map(const struct map *m, const struct rt_facts *f, int target, bool moved);
/* Index of the rule; -1: none, -2: the caller's hint. */
int ref_decide(const struct rt_facts *f);
/* What `classes` permits: the longest declared or built-in name at or above the class. */
bool ref_permits(const char *cls, enum rt_mode mode, int target);

#endif
