/* The table of facts: what a policy can ask about. One line here is a name, a type, a unit, a source,
 * an age limit, what absence means and a doc; the compiler, `policy explain`, the reference page and
 * struct rt_facts come from it. To add a fact: one line here, one in the edge's facts.c. Facts that
 * only one policy knows (its signals, budgets, consents) travel by name: struct rt_named. */
#ifndef ROUTER_FACTS_H
#define ROUTER_FACTS_H

#include <stdbool.h>
#include <stdint.h>

enum rt_fact_type { RT_FACT_BOOL, RT_FACT_INT, RT_FACT_REAL, RT_FACT_STR, RT_FACT_CLASSES };

/* id, name in policies, type, unit, source, oldest age that counts (ms; 0: as of the request), what
 * absence means, doc. The facts of source "target" stand together: each target has its own. */
#define RT_FACT_TABLE(X) \
    X(CALLER, "caller", STR, "", "caller", 0, "no caller entry fits", "Name of the caller as configured") \
    X(CALLER_SEAT, "caller.seat", STR, "", "caller", 0, "not bound to a seat", "Where the caller sits, as configured") \
    X(CALLER_REQUESTS_LEFT, "caller.requests_left", INT, "requests", "caller", 0, "no quota", "What is left of the caller's requests") \
    X(CALLER_BYTES_LEFT, "caller.bytes_left", INT, "bytes", "caller", 0, "no quota", "What is left of the bytes that may leave for the caller") \
    X(DATA_CLASS, "data.class", CLASSES, "", "request", 0, "class cabin", "Data classes of the whole context: labels and what detectors added") \
    X(DATA_DECLARED, "data.declared", CLASSES, "", "caller", 0, "nothing declared", "Of these, what the caller declared") \
    X(DATA_DETECTED, "data.detected", CLASSES, "", "detector", 0, "not looked for", "Of these, what detectors found") \
    X(DATA_HISTORY, "data.history", CLASSES, "", "history", 0, "first turn", "Of these, what earlier turns brought") \
    X(REQ_LANGUAGE, "request.language", STR, "BCP 47", "request", 0, "not recognised", "Language of the last message") \
    X(REQ_PROMPT_TOK, "request.prompt_tokens", INT, "tokens", "request", 0, "not counted yet", "Length of the prompt, history included") \
    X(REQ_HISTORY_TOK, "request.history_tokens", INT, "tokens", "request", 0, "not counted yet", "Of these, those before the last message") \
    X(REQ_MAX_TOK, "request.max_tokens", INT, "tokens", "request", 0, "not known", "Most tokens the caller wants back") \
    X(REQ_DEADLINE_MS, "request.deadline_ms", INT, "ms", "request", 0, "the caller set none", "Time the caller will wait") \
    X(REQ_STREAM, "request.stream", BOOL, "", "request", 0, "not known", "The caller wants a stream") \
    X(REQ_TOOLS, "request.tools", BOOL, "", "request", 0, "not known", "The request brings tools") \
    X(REQ_IMAGES, "request.images", INT, "images", "request", 0, "not known", "Images in the request") \
    X(REQ_MODEL, "request.model", STR, "", "request", 0, "none named", "Model name the caller asked for") \
    X(REQ_HINT, "request.hint", STR, "", "request", 0, "no hint", "metadata.route of the request; may only tighten (local)") \
    X(ENGINE_QUEUE, "engine.queue", INT, "requests", "engine", 0, "not known", "Requests being run or waiting on the device") \
    X(ENGINE_LOAD, "engine.load", REAL, "0..1", "engine", 0, "not measured", "Share of the device's processor time in use") \
    X(ENGINE_TEMPERATURE, "engine.temperature", REAL, "°C", "engine", 0, "no sensor", "Hottest sensor of the device") \
    X(ENGINE_LOCAL_MS, "engine.local_ms", INT, "ms", "engine", 0, "not measured yet", "Predicted time to finish this request on the device") \
    X(ENGINE_FIRST_MS, "engine.first_token_ms", INT, "ms", "engine", 0, "not measured yet", "Predicted time to the first token on the device") \
    X(ENGINE_BATTERY, "engine.battery", REAL, "%", "vehicle", 60000, "no such signal", "Charge of the traction battery") \
    X(ENGINE_POWER_MODE, "engine.power_mode", STR, "", "engine", 60000, "not known", "How the device may spend energy") \
    X(LINK_STATE, "link.state", STR, "", "target", 0, "not known", "Link to the rule's target; unknown: not tried yet") \
    X(LINK_RTT_MS, "link.rtt_ms", REAL, "ms", "target", 0, "not measured yet", "Last measured round trip") \
    X(LINK_UP_KBPS, "link.up_kbps", REAL, "kbit/s", "target", 0, "not measured yet", "Estimated rate towards the target") \
    X(LINK_DOWN_KBPS, "link.down_kbps", REAL, "kbit/s", "target", 0, "not measured yet", "Estimated rate from the target") \
    X(LINK_LOSS, "link.loss", REAL, "0..1", "target", 0, "not measured yet", "Share of tries that failed lately") \
    X(LINK_METERED, "link.metered", BOOL, "", "target", 0, "not known", "Bytes on this link cost money") \
    X(LINK_ROAMING, "link.roaming", BOOL, "", "target", 0, "not known", "The link uses a foreign network") \
    X(LINK_HANDOVER, "link.handover", BOOL, "", "target", 0, "not known", "A change of network is under way") \
    X(LINK_FIRST_MS, "link.first_token_ms", INT, "ms", "target", 0, "not measured yet", "Predicted time to the first token by this target") \
    X(LINK_TOTAL_MS, "link.total_ms", INT, "ms", "target", 0, "not measured yet", "Predicted time to finish this request by this target") \
    X(REQ_COST, "request.cost", REAL, "money", "target", 0, "the target has no price", "Predicted price of this request at the target") \
    X(HISTORY_SEEN, "history.seen", BOOL, "", "target", 0, "not known", "The target has seen earlier turns of this conversation") \
    X(HISTORY_TURNS, "history.turns", INT, "turns", "history", 0, "not known", "Earlier questions of this conversation") \
    X(HISTORY_LAST_ROUTE, "history.last_route", STR, "", "history", 0, "first turn", "How the last turn was answered") \
    X(HISTORY_LAST_TARGET, "history.last_target", STR, "", "history", 0, "no turn left the car", "The target that saw this conversation last") \
    X(HISTORY_RELEASED, "history.released", CLASSES, "", "history", 0, "not known", "Classes of this conversation that have left the car") \
    X(VEHICLE_IGNITION, "vehicle.ignition", STR, "", "vehicle", 10000, "no such signal", "State of the low-voltage system") \
    X(VEHICLE_MOVING, "vehicle.moving", BOOL, "", "vehicle", 2000, "no such signal", "The vehicle moves") \
    X(VEHICLE_SEATS, "vehicle.seats_occupied", INT, "seats", "vehicle", 10000, "no such signal", "Seats with somebody in them") \
    X(VEHICLE_GUEST, "vehicle.guest_mode", BOOL, "", "vehicle", 60000, "no such signal", "Somebody else than the registered driver uses the car") \
    X(VEHICLE_COUNTRY, "vehicle.country", STR, "ISO 3166-1", "vehicle", 600000, "no position", "Country the vehicle is in, two capital letters") \
    X(TIME_OF_DAY, "time.of_day", INT, "HH:MM", "clock", 0, "the clock is not set", "Local time, to the minute") \
    X(TIME_WEEKDAY, "time.weekday", STR, "", "clock", 0, "the clock is not set", "Local day of the week") \
    X(SHARE_EDGE, "share.edge", REAL, "0..1", "share", 0, "too few requests yet", "Share of the last requests that the device finished") \
    X(INTENT, "intent", STR, "", "model", 0, "no command model", "Function that the request calls, or none") \
    X(CONFIDENCE, "confidence", REAL, "0..1", "model", 0, "not calibrated", "Calibrated probability that the device's answer is right") \
    X(MODEL_CONFIDENCE, "model.confidence", REAL, "0..1", "model", 0, "before the first tokens", "Mean probability of the first local tokens")

enum rt_fact_id {
#define RT_FACT_ENUM(id, ...) RT_F_##id,
    RT_FACT_TABLE(RT_FACT_ENUM)
#undef RT_FACT_ENUM
    RT_N_FACT
};

enum {
    RT_MAX_CLASS = 16,
    RT_F_TARGET_FIRST = RT_F_LINK_STATE, /* what differs from target to target */
    RT_F_TARGET_LAST = RT_F_HISTORY_SEEN,
    RT_N_TARGET_FACT = RT_F_TARGET_LAST - RT_F_TARGET_FIRST + 1,
};

struct rt_fact_info {
    const char *name;
    enum rt_fact_type type;
    const char *unit, *source;
    int64_t max_age_ms; /* older values are not known; 0: no limit */
    const char *absent, *doc;
};
extern const struct rt_fact_info rt_fact_info[RT_N_FACT];
int rt_fact_find(const char *name); /* id, or -1 */
const char *rt_fact_values(enum rt_fact_id fact); /* "a|b|c" if only these exist, or NULL */
const char *rt_fact_vss(enum rt_fact_id fact); /* COVESA VSS 6.0 signal that gives it, or NULL */
/* A time of day is an integer, minutes since midnight, and written HH:MM. */
enum { RT_DAY_MINUTES = 24 * 60 };
static inline bool rt_fact_is_clock(int fact)
{
    return fact == RT_F_TIME_OF_DAY;
}
/* "HH:MM" -> minutes; false: it is none. */
bool rt_clock_read(const char *s, int64_t *minutes);
static inline bool rt_fact_is_targets(int fact)
{
    return fact >= RT_F_TARGET_FIRST && fact <= RT_F_TARGET_LAST;
}

/* Values for one decision. Strings are borrowed for the call. A fact whose `have` is false is
 * unknown: its condition "cannot tell", which never matches. */
struct rt_value {
    bool have;
    int32_t age_ms; /* since it was measured; past the fact's limit it is unknown. < 0: of no known age */
    union {
        bool b;
        int64_t i;
        double r;
        const char *s;
        const char *const *list; /* classes, NULL at the end; not for RT_F_DATA_CLASS */
    };
};

/* A fact of the policy's own, by its name: a signal (Vehicle.Speed), budget.NAME.left, … Another type
 * than the policy declares is unknown; an integer will do for a number. */
struct rt_named {
    const char *name;
    enum rt_fact_type type;
    struct rt_value v;
};

struct rt_facts {
    struct rt_value v[RT_N_FACT];
    /* RT_F_DATA_CLASS's value. n_cls 0: not known, which is cabin. Detectors only add: where the
     * caller gave no label, "cabin" goes in before what they found. */
    const char *cls[RT_MAX_CLASS];
    int n_cls;
    /* Facts of source "target", given per target name when a rule is tried.
     * NULL: v[RT_F_TARGET_FIRST …] hold for all targets. */
    const struct rt_target_link *link; /* [n_link] */
    int n_link;
    const struct rt_named *named; /* [n_named] */
    int n_named;
};

struct rt_target_link {
    const char *target;
    struct rt_value v[RT_N_TARGET_FACT]; /* by fact - RT_F_TARGET_FIRST; rt_link finds it */
};

static inline struct rt_value *rt_link(struct rt_target_link *l, enum rt_fact_id fact)
{
    return &l->v[fact - RT_F_TARGET_FIRST];
}
static inline const struct rt_value *rt_link_c(const struct rt_target_link *l, enum rt_fact_id fact)
{
    return &l->v[fact - RT_F_TARGET_FIRST];
}

#endif
