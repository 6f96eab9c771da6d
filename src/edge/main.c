/* waypost-edge: start-up as a list to be read, the loop, and the way down. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/hash.h"
#include "base/log.h"
#include "edge/api.h"
#include "edge/decision_log.h"
#include "edge/device.h"
#include "edge/edge.h"
#include "edge/form.h"
#include "edge/launcher.h"
#include "edge/request.h"
#include "edge/seal.h"
#include "edge/signals.h"
#include "edge/uplink_link.h"
#include "edge/usage.h"

static bool
    only_checking; /* --check-config: a broken policy is an error, not a reason to stay local */

static int config_check(const void *cfg, struct base_err *err)
{
    const struct edge_config *c = cfg;
    int rc = edge_config_check(cfg, err);
    if (rc == 0 && only_checking) {
        rc = edge_policies_check(c, err);
        if (rc == 0 && access(c->model_path, R_OK) != 0)
            rc = base_err_set(err, BASE_EIO, "model.path", "cannot read %s: %s", c->model_path,
                              strerror(errno));
    }
    return rc;
}

/* --- start ----------------------------------------------------------------------------------- */

/* Every token short of the context with the longest piece there is. */
static size_t max_prompt_bytes(const struct edge *e)
{
    size_t longest = 1;
    for (int32_t i = 0; i < eng_tok_n_vocab(eng_model_tok(e->model)); i++) {
        size_t len = 0;
        (void)eng_tok_piece(eng_model_tok(e->model), i, true, &len);
        longest = len > longest ? len : longest;
    }
    return longest * (size_t)e->cfg.engine_context;
}

/* It is asked after a few tokens of any conversation: states of the prompt are not at hand then. */
static int confidence_open(struct edge *e, struct base_err *err)
{
    const char *path = e->cfg.router_confidence_file;
    struct eng_watch_opt w;
    if (path[0] == '\0')
        return 0;
    int rc = eng_conf_open(&e->conf, path, e->model, NULL, err);
    if (rc != 0)
        return rc;
    eng_conf_watch(e->conf, ENG_CONF_ANSWER, &w);
    if (!eng_conf_has(e->conf, ENG_CONF_ANSWER) || w.n > 0)
        return base_err_set(err, BASE_EUNSUPPORTED, "router.confidence_file",
                            "%.200s has no task answer, or one that asks for states", path);
    return 0;
}

static int model_start(struct edge *e, struct base_err *err)
{
    const struct edge_config *c = &e->cfg;
    struct eng_model_opt o = {.path = c->model_path,
                              .layer_end = -1,
                              .exact = c->engine_exact != 0,
                              .n_thread = (int)c->engine_threads};
    if (c->model_chat_format[0] != '\0')
        o.chat_format = c->model_chat_format;
    if (c->engine_cpu[0] != '\0')
        o.cpu = c->engine_cpu;
    if (c->engine_pack_cache[0] != '\0')
        o.pack_cache = c->engine_pack_cache;
    int rc = eng_model_open(&e->model, &o, err);
    if (rc == 0 && eng_model_cache_err(e->model) != NULL)
        base_log_warn("engine", "engine.pack_cache: %s: %s", eng_model_cache_err(e->model)->place,
                      eng_model_cache_err(e->model)->msg);
    if (rc == 0)
        rc = eng_model_chat(e->model, &e->chat, err);
    if (rc == 0)
        rc = edge_adapters_open(&e->adapters, &c->adapter, e->model, err);
    if (rc == 0)
        rc = edge_cabin_open(&e->cabin, c, e->model, err);
    if (rc == 0)
        rc = confidence_open(e, err);
    if (rc == 0 && e->cabin.catalogue != NULL)
        rc = edge_form_vocab(e, err);
    if (rc != 0)
        return rc;
    const char *slash = strrchr(c->model_path, '/');
    e->max_prompt_bytes = max_prompt_bytes(e);
    e->model_name = c->model_name[0] != '\0' ? c->model_name
                    : slash != NULL          ? slash + 1
                                             : c->model_path;
    /* Hashing reads every weight: now, not within the first request that leaves. */
    if (c->uplink_config[0] != '\0' && eng_model_identity(e->model) == NULL)
        return base_err_set(err, BASE_ENOMEM, "model.path", "out of memory");
    return 0;
}

static int launcher_start(struct edge *e, struct edge_launcher *l, struct base_err *err)
{
    if (e->cfg.uplink_config[0] == '\0')
        return 0;
    char *program = edge_config_uplink_program(&e->cfg);
    int rc = program == NULL ? base_err_set(err, BASE_ENOMEM, "uplink", "out of memory")
             : access(program, X_OK) != 0
                 ? base_err_set(err, BASE_EIO, "uplink.program", "cannot run %s: %s", program,
                                strerror(errno))
                 : edge_launcher_start(l, program, e->cfg.uplink_config, err);
    free(program);
    return rc;
}

static int uplink_start(struct edge *e, const struct edge_launcher *l, struct base_err *err)
{
    if (l->fd < 0)
        return 0;
    return edge_uplink_new(&e->uplink, e->loop, l->fd, (size_t)e->cfg.uplink_queue_bytes, err);
}

static int unix_bind(struct edge *e, struct base_err *err)
{
    bool is_auto = false;
    char line[512];
    char *path = edge_config_socket(&e->cfg, &is_auto);
    int rc = 0;
    if (path != NULL)
        rc = net_http_listen_unix(e->http, path, edge_config_socket_mode(&e->cfg), err);
    if (rc == 0 && path != NULL)
        base_log_info("edge", "listening on %s", path);
    if (rc != 0 && is_auto) {
        base_log_warn("edge", "no unix socket: %s", base_err_line(err, line, sizeof line));
        rc = 0;
    }
    free(path);
    return rc;
}

static int bind_all(struct edge *e, int *port, struct base_err *err)
{
    const struct edge_config *c = &e->cfg;
    struct net_http_limits lim = {.max_conn = (int)c->http_max_conn,
                                  .max_body_bytes = (int)c->http_max_body_bytes,
                                  .max_header_bytes = (int)c->http_max_header_bytes,
                                  .read_deadline_ms = (int)c->http_read_deadline_ms,
                                  .idle_deadline_ms = (int)c->http_idle_deadline_ms,
                                  .max_out_bytes = (int)c->http_max_out_bytes};
    int rc = net_http_new(&e->http, e->loop, &lim, edge_api_handle, e, err);
    if (rc == 0 && strcmp(c->http_addr, "none") != 0) {
        rc = net_http_listen_tcp(e->http, c->http_addr, (int)c->http_port, port, err);
        if (rc == 0)
            base_log_info("edge", "listening on %s:%d", c->http_addr, *port);
    }
    return rc != 0 ? rc : unix_bind(e, err);
}

static int seal(const struct edge *e, struct base_err *err)
{
    if (e->cfg.process_seal)
        return edge_seal(err);
    base_log_warn("edge", "process.seal is off: this process could open connections");
    return 0;
}

static void on_engine(int fd, int what, void *arg)
{
    struct edge *e = arg;
    (void)fd;
    (void)what;
    eng_sched_poll(e->sched);
    if (e->n_wait > 0)
        net_timer_set(e->later, 0);
}

static int engine_start(struct edge *e, struct base_err *err)
{
    const struct edge_config *c = &e->cfg;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    static const enum kern_kv_type kv_type[] = {
        [EDGE_KV_F16] = KERN_KV_F16, [EDGE_KV_F32] = KERN_KV_F32, [EDGE_KV_Q8_0] = KERN_KV_Q8_0};
    struct eng_sched_opt o = {
        .n_thread = c->engine_threads > 0 ? (int)c->engine_threads
                    : cores > 0           ? (int)cores
                                          : 1,
        /* A closed job lives on until the engine's next step: room for as many again. */
        .max_job = 2 * (int)c->engine_sessions + (e->cabin.catalogue != NULL ? EDGE_N_COMMON : 0),
        .n_ctx = (int)c->engine_context,
        .chunk_tok = (int)c->engine_chunk,
        .max_row = (int)(c->engine_chunk + c->engine_sessions + 1),
        .kv = kv_type[c->engine_kv],
        .step_ms = (int)c->engine_step_ms,
        .yield_steps = (int)c->engine_yield_steps,
        .draft_tok = (int)c->engine_draft_tok,
        .cache_bytes = (size_t)c->engine_cache_bytes,
        .cache_entries = (int)c->engine_cache_entries,
        .cache_age_ms = (int)c->engine_cache_age_ms};
    int rc = eng_sched_new(&e->sched, e->model, &o, err);
    if (rc != 0)
        return rc;
    e->sched_watch = net_watch_new(e->loop, eng_sched_fd(e->sched), on_engine, e);
    if (e->sched_watch == NULL)
        return base_err_set(err, BASE_ENOMEM, "engine", "out of memory");
    net_watch_want(e->sched_watch, NET_READ);
    return edge_cabin_warm(e, err);
}

static void on_drained(void *arg)
{
    struct edge *e = arg;
    if (e->n_req == 0) {
        net_loop_stop(e->loop);
        return;
    }
    edge_req_fail_all(e, "The daemon is stopping.");
    net_timer_set(e->drain, EDGE_FLUSH_US);
}

static void on_stop_signal(int signo, void *arg)
{
    struct edge *e = arg;
    base_log_info("edge", "signal %d: stopping, %d requests under way", signo, e->n_req);
    if (e->draining) { /* asked twice */
        on_drained(e);
        return;
    }
    e->draining = true;
    net_http_stop_accepting(e->http);
    net_timer_set(e->drain, e->n_req == 0 ? EDGE_FLUSH_US : e->cfg.process_drain_ms * 1000);
}

static void on_hup(int signo, void *arg)
{
    struct edge *e = arg;
    (void)signo;
    int rc = edge_policies_ask(e->policies, EDGE_POLICY_LOAD, NULL, NULL);
    if (rc != 0 && rc != BASE_EBUSY)
        base_log_warn("policy", "SIGHUP: %s",
                      rc == BASE_ENOTFOUND ? "no policy.file is set" : base_code_str(rc));
}

static int loop_start(struct edge *e, struct base_err *err)
{
    int rc = net_loop_new(&e->loop, err);
    if (rc != 0)
        return rc;
    e->later = net_timer_new(e->loop, edge_req_housekeeping, e);
    e->drain = net_timer_new(e->loop, on_drained, e);
    if (e->later == NULL || e->drain == NULL ||
        net_signal(e->loop, SIGTERM, on_stop_signal, e) != 0 ||
        net_signal(e->loop, SIGINT, on_stop_signal, e) != 0 ||
        net_signal(e->loop, SIGHUP, on_hup, e) != 0)
        return base_err_set(err, BASE_ENOMEM, "edge", "out of memory");
    return edge_policies_run(e->policies, e->loop, err);
}

/* Where facts come from, and where their state lies. */
static int facts_start(struct edge *e, struct base_err *err)
{
    const struct edge_config *c = &e->cfg;
    int rc = edge_history_new(&e->history, (int)c->history_turns, c->history_age_ms, err);
    if (rc == 0)
        rc = edge_device_new(&e->device, c->device_root, e->loop, err);
    if (rc == 0)
        rc = edge_energy_open(&e->energy, c->energy_file, err);
    if (rc == 0)
        rc = edge_usage_open(&e->usage, c->budget_file, e->loop, err);
    if (rc == 0)
        rc = edge_signals_open(&e->signals, c, e->loop, err);
    return rc;
}

static int dlog_start(struct edge *e, struct base_err *err)
{
    const struct edge_config *c = &e->cfg;
    if (c->decision_log_file[0] == '\0')
        return 0;
    return edge_dlog_open(&e->dlog, c->decision_log_file, c->decision_log_max_bytes,
                          (int)c->decision_log_keep, err);
}

/* Everything is taken down in the order that lets no callback find a part gone. */
static void stop_all(struct edge *e, struct edge_launcher *l)
{
    edge_req_fail_all(e, "The daemon is stopping.");
    if (e->later != NULL)
        edge_req_housekeeping(e);
    edge_policies_stop(e->policies); /* its job may still hold an HTTP request */
    net_http_free(e->http);
    net_watch_free(e->sched_watch);
    eng_sched_free(e->sched);
    edge_uplink_free(e->uplink);
    edge_launcher_stop(l);
    edge_signals_free(e->signals);
    edge_device_free(e->device);
    edge_energy_close(&e->energy);
    edge_usage_close(e->usage);
    edge_share_fini(&e->share);
    net_timer_free(e->later);
    net_timer_free(e->drain);
    net_loop_free(e->loop);
    edge_dlog_close(e->dlog);
    edge_history_free(e->history);
    rt_detect_close(e->detect);
    edge_policies_close(e->policies);
    eng_conf_close(e->conf);
    edge_cabin_close(&e->cabin);
    edge_adapters_close(&e->adapters);
    eng_vocab_free(e->vocab);
    eng_model_close(e->model);
    edge_callers_fini(&e->callers);
    base_opt_fini(edge_opt, edge_n_opt, &e->cfg);
}

static int edge_run(struct edge *e, struct edge_launcher *l, struct base_err *err)
{
    int port = 0;
    int rc = launcher_start(e, l, err); /* first: it must hold nothing of ours */
    if (rc == 0)
        rc = edge_callers_parse(&e->callers, &e->cfg.caller, err);
    if (rc == 0)
        rc = rt_detect_open(&e->detect, err);
    if (rc == 0)
        rc = model_start(e, err);
    if (rc == 0)
        rc = loop_start(e, err);
    if (rc == 0)
        rc = facts_start(e, err);
    if (rc == 0)
        rc = dlog_start(e, err);
    if (rc == 0)
        rc = uplink_start(e, l, err);
    if (rc == 0)
        rc = bind_all(e, &port, err);
    if (rc == 0)
        rc = seal(e, err);
    if (rc == 0)
        rc = engine_start(e, err); /* its threads are born sealed */
    if (rc == 0)
        rc = base_cli_tell_port(e->cfg.http_port_file, port, err);
    if (rc != 0)
        return rc;
    base_log_info("edge", "ready model=%s policy=%s uplink=%s", e->model_name,
                  edge_policies_now(e->policies)->label, e->uplink != NULL ? "yes" : "none");
    rc = net_loop_run(e->loop);
    return rc == 0 ? 0 : base_err_set(err, rc, "edge", "the event loop failed");
}

int main(int argc, char **argv)
{
    static struct edge e = {.energy = {.fd = -1}};
    struct edge_launcher launcher = {.pid = -1, .fd = -1};
    struct base_err err = {0};
    char line[512];
    const struct base_cli cli = {.program = "waypost-edge",
                                 .summary = "local model, routing and the gate, on the ECU",
                                 .opt = edge_opt,
                                 .n_opt = edge_n_opt,
                                 .check = config_check};
    for (int i = 1; i < argc; i++)
        only_checking = only_checking || strcmp(argv[i], "--check-config") == 0;
    int status = base_cli_main(&cli, &e.cfg, argc, argv);
    if (status >= 0) {
        base_opt_fini(edge_opt, edge_n_opt, &e.cfg);
        return status;
    }
    base_log_init("waypost-edge", (enum base_log_level)e.cfg.log_level);
    umask(0077);
    status = 0;
    if (edge_policies_open(&e.policies, &e.cfg, &err) != 0 || edge_run(&e, &launcher, &err) != 0) {
        base_log_error("edge", "%s", base_err_line(&err, line, sizeof line));
        status = 1;
    }
    stop_all(&e, &launcher);
    return status;
}
