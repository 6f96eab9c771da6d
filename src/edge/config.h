/* The daemon's settings: one table (config.c) from which the parser, --help, --dump-config and the
 * manual page come. Read once at start; const afterwards. */
#ifndef EDGE_CONFIG_H
#define EDGE_CONFIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/opt.h"

struct edge_config {
    char *http_addr, *http_port_file, *http_socket, *http_socket_mode;
    int64_t http_port, http_max_conn, http_max_body_bytes, http_max_header_bytes;
    int64_t http_read_deadline_ms, http_idle_deadline_ms, http_max_out_bytes;

    char *model_path, *model_name, *model_chat_format;
    char *engine_cpu, *engine_pack_cache;
    int engine_exact;
    int64_t engine_threads, engine_sessions, engine_context, engine_chunk, engine_queue;
    int64_t engine_step_ms, engine_yield_steps, engine_draft_tok;
    int64_t engine_cache_bytes, engine_cache_entries, engine_cache_age_ms;
    int engine_kv; /* enum edge_kv */

    char *policy_file, *policy_shadow, *policy_state_dir;
    struct base_strlist policy_key;
    int64_t policy_watch_ms, history_turns, history_age_ms;
    char *vehicle_socket, *vehicle_socket_mode, *vehicle_file, *device_root, *budget_file;
    char *energy_file;
    int64_t router_confidence_tok;
    char *router_confidence_file;
    struct base_strlist caller, target, adapter;
    char *cabin_adapter, *cabin_catalogue, *cabin_confidence, *cabin_seat;
    double cabin_min_confidence;

    char *uplink_program, *uplink_config;
    int64_t uplink_queue_bytes, uplink_patience_ms;

    int64_t limit_max_tok, limit_default_max_tok, limit_deadline_ms, limit_default_deadline_ms;
    int64_t limit_answer_bytes;

    char *decision_log_file;
    int64_t decision_log_max_bytes, decision_log_keep;

    int log_level; /* enum base_log_level */
    int process_seal;
    int64_t process_drain_ms;
};

enum edge_kv { EDGE_KV_F16, EDGE_KV_F32, EDGE_KV_Q8_0 };

extern const struct base_opt edge_opt[];
extern const int edge_n_opt;

/* What the table can't say: the model's path is set, the mode is octal, callers parse. */
int edge_config_check(const void *cfg, struct base_err *err);

/* The model name that a prompt to this target carries, where a `target` entry gives one (copied to
 * out), else BASE_ENOTFOUND. */
int edge_config_target_model(const struct edge_config *c, const char *target, char *out,
                             size_t size_bytes);

/* The socket's path in force: the option, or for "auto" a place in the runtime folder. NULL: none.
 * *is_auto tells that a failure to bind it is no reason to stop. Malloc'd. */
char *edge_config_socket(const struct edge_config *c, bool *is_auto);
mode_t edge_config_socket_mode(const struct edge_config *c);

/* The uplink's program: the option, or the one beside this executable, or in bindir. Malloc'd;
 * NULL: out of memory. */
char *edge_config_uplink_program(const struct edge_config *c);

#endif
