/* The table of facts: what a policy can ask about. One line here is a name, a type, a unit, what
 * absence means and a doc; the compiler, `policy explain`, the reference page and struct rt_facts
 * come from it. To add a fact: one line here, one in the edge's facts.c. */
#ifndef ROUTER_FACTS_H
#define ROUTER_FACTS_H

#include <stdbool.h>
#include <stdint.h>

enum rt_fact_type { RT_FACT_BOOL, RT_FACT_INT, RT_FACT_REAL, RT_FACT_STR, RT_FACT_CLASSES };

/*      id                    name in policies         type     unit    doc */
#define RT_FACT_TABLE(X) \
    X(CALLER,               "caller",                STR,     "",     "Name of the caller as configured") \
    X(DATA_CLASS,           "data.class",            CLASSES, "",     "Data classes of the whole context: labels and what detectors added") \
    X(REQ_PROMPT_TOK,       "request.prompt_tokens", INT,     "tokens", "Length of the prompt, history included") \
    X(REQ_MAX_TOK,          "request.max_tokens",    INT,     "tokens", "Most tokens the caller wants back") \
    X(REQ_DEADLINE_MS,      "request.deadline_ms",   INT,     "ms",   "Time the caller will wait; absent if it set none") \
    X(REQ_STREAM,           "request.stream",        BOOL,    "",     "The caller wants a stream") \
    X(REQ_TOOLS,            "request.tools",         BOOL,    "",     "The request brings tools") \
    X(REQ_MODEL,            "request.model",         STR,     "",     "Model name the caller asked for") \
    X(REQ_HINT,             "request.hint",          STR,     "",     "metadata.route of the request; may only tighten (local)") \
    X(ENGINE_QUEUE,         "engine.queue",          INT,     "requests", "Requests being run or waiting on the device") \
    X(ENGINE_LOCAL_MS,      "engine.local_ms",       INT,     "ms",   "Predicted time to finish this request on the device; absent until measured") \
    X(ENGINE_FIRST_MS,      "engine.first_token_ms", INT,     "ms",   "Predicted time to the first token on the device; absent until measured") \
    X(LINK_STATE,           "link.state",            STR,     "",     "unknown (not tried yet), up or down, of the rule's target") \
    X(LINK_RTT_MS,          "link.rtt_ms",           REAL,    "ms",   "Last measured round trip; absent until measured") \
    X(MODEL_CONFIDENCE,     "model.confidence",      REAL,    "0..1", "Mean probability of the first local tokens; absent before them")

enum rt_fact_id {
#define RT_FACT_ENUM(id, name, type, unit, doc) RT_F_##id,
    RT_FACT_TABLE(RT_FACT_ENUM)
#undef RT_FACT_ENUM
    RT_N_FACT
};

enum { RT_MAX_CLASS = 16 };

struct rt_fact_info {
    const char *name;
    enum rt_fact_type type;
    const char *unit, *doc;
};
extern const struct rt_fact_info rt_fact_info[RT_N_FACT];
int rt_fact_find(const char *name); /* id, or -1 */
const char *rt_fact_values(enum rt_fact_id fact); /* "a|b|c" if only these exist, or NULL */

/* Values for one decision. Strings are borrowed for the call. A fact whose `have` is false is
 * unknown: its condition "cannot tell", which never matches. */
struct rt_value {
    bool have;
    union {
        bool b;
        int64_t i;
        double r;
        const char *s;
    };
};

struct rt_facts {
    struct rt_value v[RT_N_FACT];
    /* RT_F_DATA_CLASS's value. n_cls 0: not known, which is cabin. Detectors only add: where the
     * caller gave no label, "cabin" goes in before what they found. */
    const char *cls[RT_MAX_CLASS];
    int n_cls;
    /* link facts differ from target to target: given per target name when a rule is tried.
     * NULL: v[RT_F_LINK_*] hold for all targets. */
    const struct rt_target_link *link; /* [n_link] */
    int n_link;
};

struct rt_target_link {
    const char *target;
    const char *state; /* "unknown", "up", "down" */
    bool have_rtt;
    double rtt_ms;
};

#endif
