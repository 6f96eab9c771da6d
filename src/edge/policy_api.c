#include "edge/policy_api.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "edge/api.h"
#include "edge/signals.h"
#include "edge/usage.h"

enum { PAGE_BYTES = 64 << 10 };

static json_t *brief(const struct edge *e)
{
    const struct edge_policy_info *i = edge_policies_info(e->policies);
    const struct edge_policy *now = edge_policies_now(e->policies);
    const struct edge_policy *shadow = edge_policies_shadow(e->policies);
    char hex[2 * BASE_SHA256_BYTES + 1], when[32];
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I}", "state", edge_policy_state_str(i->state),
                          "version", rt_policy_version(now->rt), "sha256",
                          base_hex(rt_policy_hash(now->rt), BASE_SHA256_BYTES, hex), "serial",
                          (json_int_t)now->serial, "generation", (json_int_t)i->generation);
    if (o == NULL)
        return NULL;
    if (i->have_last)
        (void)json_object_set_new(o, "last_reload",
                                  json_pack("{s:s, s:s}", "result", edge_policy_result_str(i->last),
                                            "time", base_clock_iso8601(i->last_us, when)));
    if (i->unsaved)
        (void)json_object_set_new(o, "unsaved", json_true());
    if (e->cfg.policy_shadow[0] != '\0')
        (void)json_object_set_new(o, "shadow",
                                  json_pack("{s:s, s:s*}", "state",
                                            i->shadow_broken ? "broken" : "ok", "version",
                                            shadow != NULL ? rt_policy_version(shadow->rt) : NULL));
    return o;
}

int edge_policy_brief(const struct edge *e, struct base_buf *out)
{
    json_t *o = brief(e);
    char *s = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    int rc = s != NULL ? base_buf_str(out, s) : BASE_ENOMEM;
    free(s);
    return rc;
}

static void reply(struct net_req *r, int status, json_t *o)
{
    char *s = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (s != NULL)
        net_req_reply(r, status, "application/json", s, strlen(s));
    else
        edge_api_error(r, 500, "server_error", NULL, "out of memory");
    free(s);
}

/* false: answered. */
static bool may(struct net_req *r)
{
    const uid_t uid = net_req_peer_uid(r);
    if (net_req_is_unix(r) && (uid == 0 || uid == geteuid()))
        return true;
    edge_api_error(r, 403, "permission_error", "not_permitted",
                   "Only root and the daemon's own user may do this, over the unix socket.");
    return false;
}

static void why_add(json_t *o, const struct base_err *err)
{
    if (o != NULL && err->code != 0)
        (void)json_object_set_new(
            o, "error", json_pack("{s:s, s:s}", "place", err->place, "message", err->msg));
}

static int64_t consent_period(const struct edge *e, const struct rt_consent_decl *c)
{
    edge_usage_starts(e->usage, edge_signals_starts(e->signals));
    return edge_usage_period(e->usage, c->lapses, base_clock_real_us());
}

/* Those that the policy in force declares, and whether they hold. */
static json_t *consents(const struct edge *e)
{
    const struct rt_policy *p = edge_policies_now(e->policies)->rt;
    json_t *o = json_object();
    for (int i = 0; i < rt_policy_n_consent(p); i++) {
        const struct rt_consent_decl *c = rt_policy_consent(p, i);
        bool yes = false;
        const bool said = edge_usage_consents(e->usage, c->name, consent_period(e, c), &yes);
        (void)json_object_set_new(o, c->name, said ? json_boolean(yes) : json_null());
    }
    return o;
}

void edge_policy_api_get(struct edge *e, struct net_req *r)
{
    if (!may(r))
        return;
    json_t *o = brief(e);
    why_add(json_object_get(o, "last_reload"), &edge_policies_info(e->policies)->last_err);
    (void)json_object_set_new(o, "consents", consents(e));
    reply(r, 200, o);
}

static const struct rt_consent_decl *consent_find(const struct rt_policy *p, const char *name)
{
    for (int i = 0; name != NULL && i < rt_policy_n_consent(p); i++) {
        if (strcmp(rt_policy_consent(p, i)->name, name) == 0)
            return rt_policy_consent(p, i);
    }
    return NULL;
}

void edge_policy_api_consent(struct edge *e, struct net_req *r)
{
    size_t len = 0;
    if (!may(r))
        return;
    const char *body = net_req_body(r, &len);
    json_t *o = json_loadb(body != NULL ? body : "", len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *granted = json_object_get(o, "granted");
    const struct rt_consent_decl *c = consent_find(
        edge_policies_now(e->policies)->rt, json_string_value(json_object_get(o, "consent")));
    int rc = c == NULL || !json_is_boolean(granted) ? BASE_EINVAL : 0;
    if (rc == 0)
        rc = edge_usage_consent(e->usage, c->name, consent_period(e, c), json_is_true(granted));
    json_decref(o);
    if (rc == BASE_EINVAL)
        edge_api_error(
            r, 400, "invalid_request_error", "consent",
            "The body is {\"consent\": NAME, \"granted\": true or false}, with a name that "
            "the policy in force declares.");
    else if (rc != 0)
        edge_api_error(r, 503, "server_error", "budget_file", "Consents cannot be kept now.");
    else
        reply(r, 200, json_pack("{s:o}", "consents", consents(e)));
}

/* Somebody waits for a job. */
struct asker {
    struct edge *e;
    struct net_req *http;
};

static void on_gone(struct net_req *r, void *arg)
{
    struct asker *a = arg;
    (void)r;
    edge_policies_forget(a->e->policies, a);
    free(a);
}

static void on_done(void *arg, enum edge_policy_result result, const struct base_err *err)
{
    struct asker *a = arg;
    const bool fine = result == EDGE_POLICY_R_OK || result == EDGE_POLICY_R_UNCHANGED;
    json_t *o =
        json_pack("{s:s, s:o*}", "result", edge_policy_result_str(result), "policy", brief(a->e));
    struct net_req *http = a->http;
    if (!fine)
        why_add(o, err);
    net_req_on_gone(http, NULL, NULL);
    free(a);
    reply(http, fine ? 200 : 422, o);
}

static void ask(struct edge *e, struct net_req *r, enum edge_policy_ask what)
{
    if (!may(r))
        return;
    struct asker *a = calloc(1, sizeof *a);
    if (a == NULL) {
        edge_api_error(r, 503, "server_error", "out_of_memory", "out of memory");
        return;
    }
    *a = (struct asker){.e = e, .http = r};
    const int rc = edge_policies_ask(e->policies, what, on_done, a);
    if (rc == 0) {
        net_req_on_gone(r, on_gone, a);
        return;
    }
    free(a);
    if (rc == BASE_EBUSY)
        edge_api_error(r, 503, "server_error", "busy", "Another load of the policy is under way.");
    else if (rc == BASE_ENOTFOUND)
        edge_api_error(r, 409, "invalid_request_error", "no_policy",
                       "No policy.file is configured.");
    else
        edge_api_error(r, 503, "server_error", "out_of_memory", "out of memory");
}

void edge_policy_api_reload(struct edge *e, struct net_req *r)
{
    ask(e, r, EDGE_POLICY_LOAD);
}

void edge_policy_api_check(struct edge *e, struct net_req *r)
{
    ask(e, r, EDGE_POLICY_CHECK);
}

void edge_policy_api_roll_back(struct edge *e, struct net_req *r)
{
    ask(e, r, EDGE_POLICY_ROLL_BACK);
}
