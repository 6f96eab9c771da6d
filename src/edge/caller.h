/* Who asks: a request's caller, by listener, peer uid and API key, and the data classes that the
 * configuration lets this caller declare. Const after parsing. */
#ifndef EDGE_CALLER_H
#define EDGE_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "base/opt.h"
#include "router/router.h"

enum edge_listen { EDGE_LISTEN_ANY, EDGE_LISTEN_UNIX, EDGE_LISTEN_TCP };

enum { EDGE_MAX_CALLER_CLASS = 64, EDGE_MAX_PRIORITY = 100 };

struct edge_caller {
    char name[64];
    enum edge_listen listen;
    bool have_uid, have_key;
    uid_t uid;
    uint8_t key_sha256[BASE_SHA256_BYTES];
    char cls[EDGE_MAX_CALLER_CLASS][72]; /* that it may declare; "x.*": x and below */
    int n_cls;
    char seat[64]; /* where the caller sits, "" if nobody knows */
    int priority; /* in the engine and in the line for it; higher first */
};

struct edge_callers {
    struct edge_caller *at; /* [n], owned */
    int n;
};

/* Errors: BASE_EINVAL, BASE_EFORMAT with the entry and what is wrong in it; BASE_ENOMEM. */
int edge_callers_parse(struct edge_callers *out, const struct base_strlist *entries,
                       struct base_err *err) BASE_MUST_CHECK;
/* Those that a policy declares. Errors: BASE_ENOMEM. */
int edge_callers_of_policy(struct edge_callers *out, const struct rt_policy *p) BASE_MUST_CHECK;
void edge_callers_fini(struct edge_callers *c);

/* The first caller whose conditions all hold; else `anonymous`. authorization: the header or NULL.
 * Never NULL. */
const struct edge_caller *edge_callers_find(const struct edge_callers *c, bool is_unix, uid_t uid,
                                            const char *authorization);

bool edge_caller_is_anonymous(const struct edge_caller *c);

/* Who shares K/V of prompts (eng_job_opt.cache_key) into buf: the clients of one caller, on the unix
 * socket those of one user. "" for strangers on TCP: they can't be told apart. Returns buf. */
enum { EDGE_CACHE_KEY_MAX = 96 };
const char *edge_caller_cache_key(const struct edge_caller *c, bool is_unix, uid_t uid,
                                  char buf[EDGE_CACHE_KEY_MAX]);

bool edge_caller_may(const struct edge_caller *c, const char *data_class);

/* A class name: 1 to 63 of [a-z0-9._-], starting with a letter. */
bool edge_class_ok(const char *s);

#endif
