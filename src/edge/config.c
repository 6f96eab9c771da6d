#include "edge/config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edge/adapter.h"
#include "edge/cabin.h"
#include "edge/caller.h"
#include "edge/policy.h"

#define AT(f) offsetof(struct edge_config, f)
#define MIB (1024.0 * 1024.0)

/* clang-format off */
const struct base_opt edge_opt[] = {
    {"http.addr", BASE_OPT_STR, AT(http_addr), 0, 0, "127.0.0.1", NULL, NULL,
     "Loopback address to listen on; `none` leaves only the unix socket."},
    {"http.port", BASE_OPT_INT, AT(http_port), 0, 65535, "8088", NULL, NULL,
     "TCP port on that address; 0 picks a free one."},
    {"http.port_file", BASE_OPT_STR, AT(http_port_file), 0, 0, "", NULL, NULL,
     "The port in use is written to this file once requests are accepted."},
    {"http.socket", BASE_OPT_STR, AT(http_socket), 0, 0, "auto", NULL, NULL,
     "Path of the unix socket. `auto`: edge.sock in $RUNTIME_DIRECTORY, else in "
     "$XDG_RUNTIME_DIR/waypost, else in /run/waypost. `none`: no socket."},
    {"http.socket_mode", BASE_OPT_STR, AT(http_socket_mode), 0, 0, "0660", NULL, NULL,
     "Permissions of the unix socket, octal."},
    {"http.max_conn", BASE_OPT_INT, AT(http_max_conn), 1, 4096, "128", "connections", NULL,
     "Open connections on all listeners."},
    {"http.max_body_bytes", BASE_OPT_INT, AT(http_max_body_bytes), 1024, 64 * MIB, "4194304", "bytes",
     NULL, "Largest request body; more is 413."},
    {"http.max_header_bytes", BASE_OPT_INT, AT(http_max_header_bytes), 1024, MIB, "16384", "bytes", NULL,
     "Largest request header; more is 431."},
    {"http.read_deadline_ms", BASE_OPT_INT, AT(http_read_deadline_ms), 10, 600000, "10000", "ms", NULL,
     "From a request's first byte to its last."},
    {"http.idle_deadline_ms", BASE_OPT_INT, AT(http_idle_deadline_ms), 10, 3600000, "60000", "ms", NULL,
     "A kept connection without a request is closed after this."},
    {"http.max_out_bytes", BASE_OPT_INT, AT(http_max_out_bytes), 4096, 64 * MIB, "1048576", "bytes",
     NULL, "Unread answer bytes kept for a slow client; past it the connection is dropped."},

    {"model.path", BASE_OPT_STR, AT(model_path), 0, 0, "", NULL, NULL, "The model's GGUF file."},
    {"model.name", BASE_OPT_STR, AT(model_name), 0, 0, "waypost", NULL, NULL,
     "Name shown by /v1/models, and sent to prompt targets that have none of their own; empty: the file's."},
    {"model.chat_format", BASE_OPT_STR, AT(model_chat_format), 0, 0, "", NULL, NULL,
     "Forces a chat format (chatml, llama3, …); empty: by the template in the file."},
    {"adapter", BASE_OPT_LIST, AT(adapter), 0, EDGE_MAX_ADAPTER, NULL, NULL, NULL,
     "An adapter (LoRA in a GGUF file) beside the model: name=NAME path=FILE. Requests for the model NAME "
     "are answered with it; all share one batch."},
    {"cabin.adapter", BASE_OPT_STR, AT(cabin_adapter), 0, 0, "", NULL, NULL,
     "The adapter that answers commands with calls of the catalogue's functions, for requests whose tools are "
     "among them and for the model waypost-cabin. Empty: none."},
    {"cabin.catalogue", BASE_OPT_STR, AT(cabin_catalogue), 0, 0, "", NULL, NULL,
     "The functions that it was trained for, as OpenAI tools; empty: catalogue.json beside the adapter."},
    {"cabin.confidence", BASE_OPT_STR, AT(cabin_confidence), 0, 0, "", NULL, NULL,
     "What makes its probabilities calibrated; empty: cabin.confidence beside the adapter, where there is one. "
     "Without it the fact confidence is not known."},
    {"cabin.min_confidence", BASE_OPT_REAL, AT(cabin_min_confidence), 0, 1, "0.5", NULL, NULL,
     "A call that is less sure than this is not carried out: the request becomes a chat, and the answer "
     "says what was probably meant. 0: every call is."},
    {"cabin.seat", BASE_OPT_STR, AT(cabin_seat), 0, 0, "driver", NULL, NULL,
     "Whose place `me` is where the caller has none (seat=… of its `caller` entry)."},
    {"engine.cpu", BASE_OPT_STR, AT(engine_cpu), 0, 0, "", NULL, NULL,
     "Forces a set of kernels; empty: the best that this CPU has."},
    {"engine.exact", BASE_OPT_BOOL, AT(engine_exact), 0, 0, "no", NULL, NULL,
     "Keep activations in f32 instead of 8 bits where weights are quantised: many times slower, for "
     "comparisons. Both tiers must have the same."},
    {"engine.pack_cache", BASE_OPT_STR, AT(engine_pack_cache), 0, 0, "", NULL, NULL,
     "Folder where packed weights are kept for the next start (about the model's size; only the "
     "daemon's user may write to it); empty: packed anew at each start."},
    {"engine.threads", BASE_OPT_INT, AT(engine_threads), 0, 256, "0", "threads", NULL,
     "Worker threads; 0: one a core."},
    {"engine.sessions", BASE_OPT_INT, AT(engine_sessions), 1, 64, "8", "requests", NULL,
     "Requests decoded at once in one batch; each owns a K/V cache. Callers with a priority above 0 "
     "find one more."},
    {"engine.context", BASE_OPT_INT, AT(engine_context), 16, 131072, "2048", "tokens", NULL,
     "Positions a session: prompt and answer together."},
    {"engine.chunk", BASE_OPT_INT, AT(engine_chunk), 1, 2048, "64", "tokens", NULL,
     "Prompt tokens of one request in one step; smaller lets others in sooner."},
    {"engine.kv", BASE_OPT_ENUM, AT(engine_kv), 0, 0, "f16", NULL, "f16|f32|q8_0",
     "Type of the K/V cache."},
    {"engine.queue", BASE_OPT_INT, AT(engine_queue), 0, 4096, "32", "requests", NULL,
     "Requests that wait for a session; more are 429."},
    {"engine.step_ms", BASE_OPT_INT, AT(engine_step_ms), 0, 60000, "50", "ms", NULL,
     "What a step should take at most while answers wait for its end: a prompt is read in smaller chunks "
     "then, of 8 tokens at least. 0: in whole chunks always."},
    {"engine.yield_steps", BASE_OPT_INT, AT(engine_yield_steps), 1, 10000, "8", "steps", NULL,
     "While a prompt of higher priority is read, an answer gets a token in one of so many steps."},
    {"engine.draft_tok", BASE_OPT_INT, AT(engine_draft_tok), 0, 64, "8", "tokens", NULL,
     "Tokens by which an answer is guessed ahead from its prompt and itself, at most and where that pays. "
     "No answer changes by it. 0: none."},
    {"engine.cache_bytes", BASE_OPT_INT, AT(engine_cache_bytes), 0, 65536 * MIB, "67108864", "bytes",
     NULL,
     "K/V of ended requests, kept so that the same caller's next prompt need not be read again as far as it "
     "begins alike. 0: none is kept."},
    {"engine.cache_entries", BASE_OPT_INT, AT(engine_cache_entries), 1, 1024, "16", "requests", NULL,
     "Requests of which K/V is kept, at most; the longest unused goes first."},
    {"engine.cache_age_ms", BASE_OPT_INT, AT(engine_cache_age_ms), 1, 86400000, "600000", "ms", NULL,
     "K/V that nobody used for so long is forgotten."},

    {"policy.file", BASE_OPT_STR, AT(policy_file), 0, 0, "", NULL, NULL,
     "The routing policy; empty or broken: every request stays on the device."},
    {"policy.key", BASE_OPT_LIST, AT(policy_key), 0, STORE_MAX_KEY, NULL, NULL, NULL,
     "An Ed25519 public key, 64 hex digits. With one or more, a policy must be signed by one of them "
     "(FILE.sig), and its serial number may never fall."},
    {"policy.state_dir", BASE_OPT_STR, AT(policy_state_dir), 0, 0, "", NULL, NULL,
     "Folder that remembers the highest serial number and copies of the last two good policies; only the "
     "daemon's user may write to it. Needed with policy.key. Empty: nothing survives a restart."},
    {"policy.watch_ms", BASE_OPT_INT, AT(policy_watch_ms), 0, 3600000, "1000", "ms", NULL,
     "How often the policy's files are looked at for changes; 0: only SIGHUP and the API load it again."},
    {"policy.shadow", BASE_OPT_STR, AT(policy_shadow), 0, 0, "", NULL, NULL,
     "A second policy that decides beside the first, for the log and the metrics only."},
    {"history.turns", BASE_OPT_INT, AT(history_turns), 1, 65536, "512", "turns", NULL,
     "Turns of conversations whose data classes and targets are remembered (as keyed hashes)."},
    {"history.age_ms", BASE_OPT_INT, AT(history_age_ms), 1000, 604800000, "14400000", "ms", NULL,
     "They are forgotten after so long without a next turn."},
    {"vehicle.socket", BASE_OPT_STR, AT(vehicle_socket), 0, 0, "", NULL, NULL,
     "Unix socket on which the vehicle's signals are taken, a JSON object a line; empty: none."},
    {"vehicle.socket_mode", BASE_OPT_STR, AT(vehicle_socket_mode), 0, 0, "0600", NULL, NULL,
     "Its permissions, octal: who may write to it says what the policy believes of the vehicle."},
    {"vehicle.file", BASE_OPT_STR, AT(vehicle_file), 0, 0, "", NULL, NULL,
     "A file with one such object, read again when it changes; empty: none."},
    {"device.root", BASE_OPT_STR, AT(device_root), 0, 0, "/", NULL, NULL,
     "Folder (with its slash) that has proc/ and sys/, for load, temperature and power mode."},
    {"energy.file", BASE_OPT_STR, AT(energy_file), 0, 0, "", NULL, NULL,
     "A counter of microjoules, for budgets of joules: powercap's energy_uj, as in "
     "/sys/class/powercap/intel-rapl:0/energy_uj, or hwmon's energy1_input. Empty: joules are not known."},
    {"budget.file", BASE_OPT_STR, AT(budget_file), 0, 0, "", NULL, NULL,
     "What was used of budgets and quotas, and consents, over restarts; empty: only in memory."},
    {"router.confidence_tok", BASE_OPT_INT, AT(router_confidence_tok), 1, 64, "8", "tokens", NULL,
     "First local tokens held back to measure model.confidence, where the policy asks for it."},
    {"router.confidence_file", BASE_OPT_STR, AT(router_confidence_file), 0, 0, "", NULL, NULL,
     "What makes model.confidence a calibrated probability (docs/confidence.md, task answer, of signals alone); "
     "empty: it is the mean probability of the first tokens. Not known for adapters then."},
    {"caller", BASE_OPT_LIST, AT(caller), 0, 64, NULL, NULL, NULL,
     "Who may declare which data classes: name=NAME [listen=unix|tcp] [uid=N] [key_sha256=HEX] "
     "[classes=a,b] [priority=N] [seat=PLACE]. The first whose conditions all hold; nobody: `anonymous`, which may declare none."},

    {"uplink.program", BASE_OPT_STR, AT(uplink_program), 0, 0, "", NULL, NULL,
     "The uplink's executable; empty: waypost-uplink beside this program, else where it was installed."},
    {"uplink.config", BASE_OPT_STR, AT(uplink_config), 0, 0, "", NULL, NULL,
     "The uplink's configuration file; empty: no uplink, nothing can leave."},
    {"target", BASE_OPT_LIST, AT(target), 0, 16, NULL, NULL, NULL,
     "What the edge must know of a target: name=NAME model=MODEL. MODEL is the name that prompts to it "
     "carry; without an entry it is model.name."},
    {"uplink.patience_ms", BASE_OPT_INT, AT(uplink_patience_ms), 10, 3600000, "10000", "ms", NULL,
     "A cloud that owes a word and says none for this long is given up: the request falls back."},
    {"uplink.queue_bytes", BASE_OPT_INT, AT(uplink_queue_bytes), MIB, 1024 * MIB, "67108864", "bytes",
     NULL, "Released bytes that wait for the uplink to take them; past it the request falls back."},

    {"limit.max_tokens", BASE_OPT_INT, AT(limit_max_tok), 1, 131072, "2048", "tokens", NULL,
     "Longest answer; a request for more gets this."},
    {"limit.default_max_tokens", BASE_OPT_INT, AT(limit_default_max_tok), 1, 131072, "256", "tokens",
     NULL, "Longest answer of a request that does not say."},
    {"limit.deadline_ms", BASE_OPT_INT, AT(limit_deadline_ms), 10, 3600000, "300000", "ms", NULL,
     "Longest deadline that a request may ask for (metadata.deadline_ms)."},
    {"limit.default_deadline_ms", BASE_OPT_INT, AT(limit_default_deadline_ms), 10, 3600000, "120000",
     "ms", NULL, "Deadline of a request that sets none."},
    {"limit.answer_bytes", BASE_OPT_INT, AT(limit_answer_bytes), 1024, 64 * MIB, "1048576", "bytes",
     NULL, "Longest answer text; past it the answer ends with finish_reason `length`."},

    {"decision_log.file", BASE_OPT_STR, AT(decision_log_file), 0, 0, "", NULL, NULL,
     "One JSON line a request: facts (never content), decision and outcome. Empty: none."},
    {"decision_log.max_bytes", BASE_OPT_INT, AT(decision_log_max_bytes), 4096, 1024 * MIB, "16777216",
     "bytes", NULL, "The file is rotated when it would grow past this."},
    {"decision_log.keep", BASE_OPT_INT, AT(decision_log_keep), 1, 99, "4", "files", NULL,
     "Rotated files kept (FILE.1 is the newest)."},

    {"log.level", BASE_OPT_ENUM, AT(log_level), 0, 0, "info", NULL, "error|warn|info|debug",
     "What is written to standard error."},
    {"process.seal", BASE_OPT_BOOL, AT(process_seal), 0, 0, "yes", NULL, NULL,
     "After start, forbid sockets, connections, new programs and core dumps by the kernel. Turn it off "
     "only to debug."},
    {"process.drain_ms", BASE_OPT_INT, AT(process_drain_ms), 0, 600000, "5000", "ms", NULL,
     "On SIGTERM, time for the requests under way to finish."},
};
/* clang-format on */
const int edge_n_opt = (int)(sizeof edge_opt / sizeof edge_opt[0]);

static int target_check(const char *entry, struct base_err *err)
{
    char place[160], v[256];
    struct base_err why = {0};
    snprintf(place, sizeof place, "target = %s", entry);
    int rc = base_opt_words_check(entry, "name|model", &why);
    if (rc != 0)
        return base_err_set(err, rc, place, "%s", why.msg);
    if (base_opt_word(entry, "name", v, sizeof v) != 0 || v[0] == '\0' ||
        base_opt_word(entry, "model", v, sizeof v) != 0 || v[0] == '\0')
        return base_err_set(err, BASE_EINVAL, place,
                            "needs name=… and model=…, each up to 255 bytes");
    return 0;
}

int edge_config_target_model(const struct edge_config *c, const char *target, char *out,
                             size_t size_bytes)
{
    char name[256];
    for (int i = 0; i < c->target.n; i++) {
        if (base_opt_word(c->target.item[i], "name", name, sizeof name) == 0 &&
            strcmp(name, target) == 0)
            return base_opt_word(c->target.item[i], "model", out, size_bytes);
    }
    return BASE_ENOTFOUND;
}

mode_t edge_config_socket_mode(const struct edge_config *c)
{
    return (mode_t)strtoul(c->http_socket_mode, NULL, 8);
}

static int mode_check(const char *name, const char *octal, struct base_err *err)
{
    char *end;
    const unsigned long mode = strtoul(octal, &end, 8);
    return *end == '\0' && end != octal && mode <= 0777
               ? 0
               : base_err_set(err, BASE_EINVAL, name, "'%s' is not an octal mode", octal);
}

int edge_config_check(const void *cfg, struct base_err *err)
{
    const struct edge_config *c = cfg;
    struct edge_callers callers = {0};
    if (c->model_path[0] == '\0')
        return base_err_set(err, BASE_EINVAL, "model.path", "is not set: name a GGUF file");
    if (c->limit_default_deadline_ms > c->limit_deadline_ms)
        return base_err_set(err, BASE_EINVAL, "limit.default_deadline_ms",
                            "is above limit.deadline_ms (%lld)", (long long)c->limit_deadline_ms);
    if (strcmp(c->http_addr, "none") == 0 && strcmp(c->http_socket, "none") == 0)
        return base_err_set(err, BASE_EINVAL, "http.addr", "no listener is left");
    struct store_opt keys;
    int rc = mode_check("http.socket_mode", c->http_socket_mode, err);
    if (rc == 0)
        rc = mode_check("vehicle.socket_mode", c->vehicle_socket_mode, err);
    if (rc == 0)
        rc = edge_policy_keys(c, &keys, err);
    if (rc == 0 && keys.n_key > 0 && c->policy_state_dir[0] == '\0')
        rc = base_err_set(err, BASE_EINVAL, "policy.key",
                          "needs policy.state_dir: a serial number must outlive a restart");
    if (rc == 0)
        rc = edge_callers_parse(&callers, &c->caller, err);
    edge_callers_fini(&callers);
    if (rc == 0)
        rc = edge_adapters_check(&c->adapter, c->model_name, err);
    if (rc == 0)
        rc = edge_cabin_check(c, err);
    for (int i = 0; rc == 0 && i < c->target.n; i++)
        rc = target_check(c->target.item[i], err);
    return rc;
}

/* dir/sub/edge.sock, making dir/sub if it is not there. */
static char *socket_in(const char *dir, size_t dir_len, const char *sub)
{
    char *path = NULL;
    if (asprintf(&path, "%.*s%s", (int)dir_len, dir, sub) < 0)
        return NULL;
    if (sub[0] != '\0')
        (void)mkdir(path, 0700); /* binding says what is wrong with it */
    char *full = NULL;
    if (asprintf(&full, "%s/edge.sock", path) < 0)
        full = NULL;
    free(path);
    return full;
}

char *edge_config_socket(const struct edge_config *c, bool *is_auto)
{
    const char *s = c->http_socket;
    *is_auto = strcmp(s, "auto") == 0;
    if (s[0] == '\0' || strcmp(s, "none") == 0)
        return NULL;
    if (!*is_auto)
        return strdup(s);
    const char *dir = getenv("RUNTIME_DIRECTORY"); /* set by systemd; a list */
    if (dir != NULL && dir[0] == '/')
        return socket_in(dir, strcspn(dir, ":"), "");
    dir = getenv("XDG_RUNTIME_DIR");
    if (dir != NULL && dir[0] == '/')
        return socket_in(dir, strlen(dir), "/waypost");
    return socket_in("/run", 4, "/waypost");
}

char *edge_config_uplink_program(const struct edge_config *c)
{
    if (c->uplink_program[0] != '\0')
        return strdup(c->uplink_program);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *path = NULL;
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        if (slash != NULL &&
            asprintf(&path, "%.*s/waypost-uplink", (int)(slash - self), self) >= 0) {
            if (access(path, X_OK) == 0)
                return path;
            free(path);
        }
    }
    return strdup(WP_BINDIR "/waypost-uplink");
}
