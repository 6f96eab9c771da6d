#include "edge/api.h"

#include <string.h>
#include <strings.h>

#include "api/chat.h"
#include "base/clock.h"
#include "edge/edge.h"
#include "edge/policy_api.h"
#include "edge/request.h"
#include "edge/uplink_link.h"

enum { API_PAGE_BYTES = 1 << 20 };

void edge_api_error(struct net_req *r, int status, const char *type, const char *code,
                    const char *message)
{
    struct api_error e = {.status = status, .type = type, .code = code};
    struct base_buf b;
    snprintf(e.message, sizeof e.message, "%s", message);
    base_buf_init(&b, API_PAGE_BYTES);
    if (api_error_write(&e, NULL, false, &b) != 0)
        base_buf_reset(&b);
    if (status == 503)
        net_req_add_header(r, "retry-after", "1");
    net_req_reply(r, status, "application/json", b.data, b.len);
    base_buf_fini(&b);
}

static void completions(struct edge *e, struct net_req *r, bool is_chat)
{
    /* A web page can send a form or plain text across origins, but not JSON without asking first.
     */
    const char *type = net_req_header(r, "content-type");
    if (type == NULL || strncasecmp(type, "application/json", 16) != 0) {
        edge_api_error(r, 415, "invalid_request_error", "content_type",
                       "The body must be sent as content-type: application/json.");
        return;
    }
    if (e->draining) {
        edge_api_error(r, 503, "server_error", "shutting_down", "The daemon is stopping.");
        return;
    }
    edge_req_accept(e, r, is_chat);
}

static void chat(struct edge *e, struct net_req *r)
{
    completions(e, r, true);
}

static void complete(struct edge *e, struct net_req *r)
{
    completions(e, r, false);
}

static void models(struct edge *e, struct net_req *r)
{
    struct base_buf b;
    base_buf_init(&b, API_PAGE_BYTES);
    const char *name[2 + EDGE_MAX_ADAPTER] = {e->model_name};
    int n = 1;
    for (int i = 0; i < e->adapters.n; i++)
        name[n++] = e->adapters.at[i].name;
    if (e->cabin.catalogue != NULL)
        name[n++] = EDGE_CABIN_MODEL;
    if (api_models_write(name, n, base_clock_real_us() / 1000000, &b) == 0)
        net_req_reply(r, 200, "application/json", b.data, b.len);
    else
        edge_api_error(r, 500, "server_error", NULL, "out of memory");
    base_buf_fini(&b);
}

static void healthz(struct edge *e, struct net_req *r)
{
    (void)e;
    net_req_reply(r, 200, "text/plain", "ok\n", 3);
}

/* Ready means that requests are answered. An uplink that has only just been started is waited for;
 * one that does not come up, or dies later, is told beside it: the device still answers. */
static void readyz(struct edge *e, struct net_req *r)
{
    const char *uplink = e->uplink == NULL              ? "none"
                         : edge_uplink_ready(e->uplink) ? "ready"
                                                        : "down";
    bool ready = !e->draining && !edge_uplink_starting(e->uplink);
    struct base_buf b;
    base_buf_init(&b, API_PAGE_BYTES);
    if (!ready)
        net_req_add_header(r, "retry-after", "1");
    base_buf_printf(&b, "{\"ready\":%s,\"uplink\":\"%s\",\"policy\":", ready ? "true" : "false",
                    uplink);
    if (edge_policy_brief(e, &b) == 0 && base_buf_str(&b, "}\n") == 0)
        net_req_reply(r, ready ? 200 : 503, "application/json", b.data, b.len);
    else
        edge_api_error(r, 500, "server_error", NULL, "out of memory");
    base_buf_fini(&b);
}

static void metrics(struct edge *e, struct net_req *r)
{
    struct base_buf b;
    base_buf_init(&b, API_PAGE_BYTES);
    if (edge_metrics_write(e, &b) == 0)
        net_req_reply(r, 200, "text/plain; version=0.0.4", b.data, b.len);
    else
        edge_api_error(r, 500, "server_error", NULL, "out of memory");
    base_buf_fini(&b);
}

static const struct {
    const char *path, *method;
    void (*handle)(struct edge *e, struct net_req *r);
} route[] = {
    {"/v1/chat/completions", "POST", chat},
    {"/v1/completions", "POST", complete},
    {"/v1/models", "GET", models},
    {"/v1/policy", "GET", edge_policy_api_get},
    {"/v1/policy/reload", "POST", edge_policy_api_reload},
    {"/v1/policy/check", "POST", edge_policy_api_check},
    {"/v1/policy/rollback", "POST", edge_policy_api_roll_back},
    {"/v1/policy/consent", "POST", edge_policy_api_consent},
    {"/healthz", "GET", healthz},
    {"/readyz", "GET", readyz},
    {"/metrics", "GET", metrics},
};

void edge_api_handle(struct net_req *r, void *arg)
{
    struct edge *e = arg;
    for (size_t i = 0; i < sizeof route / sizeof route[0]; i++) {
        if (strcmp(net_req_path(r), route[i].path) != 0)
            continue;
        if (strcmp(net_req_method(r), route[i].method) == 0) {
            route[i].handle(e, r);
            return;
        }
        net_req_add_header(r, "allow", route[i].method);
        edge_api_error(r, 405, "invalid_request_error", "method_not_allowed",
                       "This path does not take this method.");
        return;
    }
    edge_api_error(r, 404, "invalid_request_error", "not_found", "There is no such path.");
}
