/* waypost-cloud-stub: start-up as a list to be read, the loop, and the way down. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "cloud-stub/stub.h"

/* No core dumps, not even for the same user: prompts are in memory. */
static int process_harden(struct base_err *err)
{
    struct rlimit none = {0, 0};
    signal(SIGPIPE, SIG_IGN);
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return base_err_set(err, BASE_EIO, "process", "no core dumps: %s", strerror(errno));
#ifndef WP_SANITIZED
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return base_err_set(err, BASE_EIO, "process", "dumpable: %s", strerror(errno));
#endif
    return 0;
}

static int model_open(struct stub *s, struct base_err *err)
{
    const struct stub_config *c = s->cfg;
    struct eng_model_opt o = {.path = c->model_path,
                              .layer_end = -1,
                              .exact = c->exact != 0,
                              .n_thread = (int)c->n_thread,
                              .pack_cache = c->pack_cache[0] != '\0' ? c->pack_cache : NULL,
                              .chat_format = c->chat_format[0] != '\0' ? c->chat_format : NULL,
                              .cpu = getenv("WAYPOST_CPU")};
    int rc = eng_model_open(&s->model, &o, err);
    if (rc != 0)
        return rc;
    if (eng_model_cache_err(s->model) != NULL)
        base_log_warn("engine", "engine.pack_cache: %s: %s", eng_model_cache_err(s->model)->place,
                      eng_model_cache_err(s->model)->msg);
    const struct eng_identity *id = eng_model_identity(s->model);
    const struct eng_config *m = eng_model_config(s->model);
    if (id == NULL)
        return base_err_set(err, BASE_ENOMEM, c->model_path, "out of memory");
    memcpy(s->identity.config, id->config, sizeof s->identity.config);
    memcpy(s->identity.tok, id->tok, sizeof s->identity.tok);
    memcpy(s->identity.head, id->head, sizeof s->identity.head);
    s->identity.n_layer = id->n_layer;
    s->identity.layer = id->layer;
    s->identity.d_model = m->d_model;
    s->identity.n_vocab = m->n_vocab;
    return 0;
}

static void on_engine(int fd, int what, void *arg)
{
    struct stub *s = arg;
    (void)fd;
    (void)what;
    eng_sched_poll(s->sched);
}

static int engine_start(struct stub *s, struct net_watch **watch, struct base_err *err)
{
    const struct stub_config *c = s->cfg;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    static const enum kern_kv_type kv_type[] = {KERN_KV_F16, KERN_KV_F32, KERN_KV_Q8_0};
    struct eng_sched_opt o = {.n_thread = c->n_thread > 0 ? (int)c->n_thread
                                          : cores > 0     ? (int)cores
                                                          : 1,
                              .max_job = (int)c->n_session,
                              .n_ctx = (int)c->n_ctx,
                              .chunk_tok = (int)c->chunk_tok,
                              .max_row = (int)(c->chunk_tok + c->n_session),
                              .kv = kv_type[c->kv]};
    int rc = eng_sched_new(&s->sched, s->model, &o, err);
    if (rc != 0)
        return rc;
    *watch = net_watch_new(s->loop, eng_sched_fd(s->sched), on_engine, s);
    if (*watch == NULL)
        return base_err_set(err, BASE_ENOMEM, "engine", "out of memory");
    net_watch_want(*watch, NET_READ);
    return 0;
}

static int listen_start(struct stub *s, struct base_err *err)
{
    const struct stub_config *c = s->cfg;
    struct net_h2s_opt o = {.addr = c->addr,
                            .port = (int)c->port,
                            .cert_file = c->tls_cert,
                            .key_file = c->tls_key,
                            .client_ca_file = c->tls_client_ca,
                            .crl_file = c->tls_crl[0] != '\0' ? c->tls_crl : NULL,
                            .max_conn = (int)c->max_conn,
                            .max_stream = (int)c->max_stream,
                            .max_header_fields = (int)c->max_header_fields,
                            .max_header_bytes = (int)c->max_header_bytes,
                            .header_deadline_ms = (int)c->header_ms,
                            .idle_deadline_ms = (int)c->idle_ms,
                            .progress_deadline_ms = (int)c->progress_ms,
                            .max_out_bytes = (size_t)c->max_out_bytes};
    return net_h2s_new(&s->server, s->loop, &o, &stub_callbacks, s, err);
}

static void on_stop_signal(int signo, void *arg)
{
    struct stub *s = arg;
    base_log_info("stub", "signal %d: stopping", signo);
    net_loop_stop(s->loop);
}

static int loop_start(struct stub *s, struct base_err *err)
{
    int rc = net_loop_new(&s->loop, err);
    if (rc == 0 && (net_signal(s->loop, SIGTERM, on_stop_signal, s) != 0 ||
                    net_signal(s->loop, SIGINT, on_stop_signal, s) != 0))
        rc = base_err_set(err, BASE_ENOMEM, "loop", "out of memory");
    return rc;
}

static int stub_run(struct stub *s, struct net_watch **watch, struct base_err *err)
{
    int rc = process_harden(err);
    if (rc == 0)
        rc = model_open(s, err);
    if (rc == 0)
        rc = stub_keys_new(&s->keys, (int)s->cfg->n_key, s->cfg->key_ms * 1000);
    if (rc == 0)
        rc = loop_start(s, err);
    if (rc == 0)
        rc = engine_start(s, watch, err);
    if (rc == 0)
        rc = listen_start(s, err);
    if (rc == 0)
        rc = base_cli_tell_port(s->cfg->port_file, net_h2s_port(s->server), err);
    if (rc != 0)
        return rc;
    base_log_info("stub", "listening on %s:%d", s->cfg->addr, net_h2s_port(s->server));
    return net_loop_run(s->loop);
}

int main(int argc, char **argv)
{
    static struct stub_config cfg;
    struct stub s = {.cfg = &cfg};
    struct net_watch *watch = NULL;
    struct base_err err = {0};
    char line[sizeof err.place + sizeof err.msg + 4];
    int rc = base_cli_main(&stub_cli, &cfg, argc, argv);
    if (rc >= 0) {
        base_opt_fini(stub_cli.opt, stub_cli.n_opt, &cfg);
        return rc;
    }
    base_log_init("waypost-cloud-stub", (enum base_log_level)cfg.log_level);
    rc = stub_run(&s, &watch, &err);
    if (rc != 0) {
        err.code = rc;
        base_log_error("stub", "%s", base_err_line(&err, line, sizeof line));
    }
    /* Streams first: their jobs belong to the scheduler. */
    net_h2s_free(s.server);
    net_watch_free(watch);
    eng_sched_free(s.sched);
    net_loop_free(s.loop);
    stub_keys_free(s.keys);
    eng_vocab_free(s.vocab);
    eng_model_close(s.model);
    base_opt_fini(stub_cli.opt, stub_cli.n_opt, &cfg);
    return rc != 0 ? 1 : 0;
}
