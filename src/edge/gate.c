#include "edge/gate.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* The second look: the decision is taken again from the same facts, and must be the same. */
static int check(const struct edge_req *r, struct base_err *err)
{
    const struct rt_outcome *o = &r->dec.route;
    struct rt_decision again = {0};
    rt_decide(r->policy->rt, &r->facts, &again);
    bool leaves = o->mode == RT_PROMPT || o->mode == RT_HIDDEN;
    bool agree = again.rule_index == r->dec.rule_index && rt_decision_same(&again, &r->dec) &&
                 o->target != NULL;
    bool hinted_local = r->api.hint != NULL;
    if (!leaves || !agree || again.rule_index < 0 || hinted_local || r->facts.n_cls <= 0)
        return base_err_set(err, BASE_EPERM, "gate", "the policy does not release this request");
    if (!edge_uplink_ready(r->e->uplink))
        return base_err_set(err, BASE_ECLOSED, "gate", "there is no uplink");
    if (!edge_uplink_has_target(r->e->uplink, o->target))
        return base_err_set(err, BASE_ENOTFOUND, "gate", "the uplink has no target '%s'",
                            o->target);
    return 0;
}

static int text_copy(char *out, const char *s, const char *what, struct base_err *err)
{
    size_t n = strlen(s);
    if (n > IPC_MAX_TEXT)
        return base_err_set(err, BASE_ELIMIT, "gate", "the %s is longer than %d bytes", what,
                            IPC_MAX_TEXT);
    memcpy(out, s, n + 1);
    return 0;
}

static int record_fill(const struct edge_req *r, struct ipc_release *rel, struct base_err *err)
{
    const struct rt_outcome *o = &r->dec.route;
    memcpy(rel->decision_id, r->decision_id, sizeof rel->decision_id);
    memcpy(rel->policy_hash, rt_policy_hash(r->policy->rt), sizeof rel->policy_hash);
    int rc = text_copy(rel->rule, r->dec.rule, "rule's name", err);
    if (rc == 0)
        rc = text_copy(rel->target, o->target, "target's name", err);
    for (int i = 0; rc == 0 && i < r->facts.n_cls; i++) {
        if (i >= IPC_MAX_CLASS)
            return base_err_set(err, BASE_ELIMIT, "gate", "more than %d classes", IPC_MAX_CLASS);
        rc = text_copy(rel->classes[i], r->facts.cls[i], "class", err);
        rel->n_class = i + 1;
    }
    rel->mode = o->mode == RT_HIDDEN ? IPC_MODE_HIDDEN : IPC_MODE_PROMPT;
    rel->max_bytes = o->max_bytes;
    rel->deadline_ms = edge_req_left_ms(r);
    return rc;
}

static int message_queue(struct edge_up_req *q, const struct ipc_msg *m)
{
    struct base_buf b;
    base_buf_init(&b, IPC_MAX_FRAME + 64);
    int rc = ipc_encode(m, &b);
    if (rc == 0)
        rc = edge_uplink_queue(q->u, b.data, b.len, m->type == IPC_END || m->type == IPC_CANCEL);
    base_buf_fini(&b);
    return rc;
}

int edge_gate_open(struct edge_up_req **out, struct edge_req *r, const struct edge_up_cb *cb,
                   void *arg, struct base_err *err)
{
    struct ipc_msg m = {.type = IPC_RELEASE};
    int rc = check(r, err);
    if (rc == 0)
        rc = record_fill(r, &m.u.release, err);
    if (rc != 0) {
        if (rc == BASE_EPERM)
            base_log_error("gate", "id=%s: refused: decision and policy disagree", r->id);
        return rc;
    }
    struct edge_up_req *q = edge_uplink_attach(r->e->uplink, cb, arg);
    if (q == NULL)
        return base_err_set(err, BASE_ENOMEM, "gate", "out of memory");
    q->max_bytes = m.u.release.max_bytes;
    q->out_bytes = &r->out_bytes;
    m.id = q->id;
    rc = message_queue(q, &m);
    if (rc != 0) {
        edge_uplink_drop(q);
        return base_err_set(err, rc, "gate", "the uplink took no release: %s", base_code_str(rc));
    }
    r->left_us = base_clock_mono_us();
    *out = q;
    return 0;
}

int edge_gate_send(struct edge_up_req *q, struct edge_req *r, const void *p, size_t len,
                   struct base_err *err)
{
    if (q->body_ended)
        return base_err_set(err, BASE_EINTERNAL, "gate", "the body has ended");
    if (len > q->max_bytes - q->released_bytes)
        return base_err_set(err, BASE_ELIMIT, "gate",
                            "%zu more bytes would pass the rule's max_bytes %llu", len,
                            (unsigned long long)q->max_bytes);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < IPC_MAX_DATA ? len - at : IPC_MAX_DATA;
        struct ipc_msg m = {.type = IPC_DATA, .id = q->id};
        m.u.data.p = (const uint8_t *)p + at;
        m.u.data.len = n;
        int rc = message_queue(q, &m);
        if (rc != 0)
            return base_err_set(err, rc, "gate", "the uplink does not keep up: %s",
                                base_code_str(rc));
        q->released_bytes += n;
        r->released_bytes += n;
        r->out_bytes += n;
        r->e->metrics.released_bytes += n;
        at += n;
    }
    return 0;
}

/* END and CANCEL carry nothing; if they can't be queued the uplink's own deadline ends the request.
 */
static void signal_queue(struct edge_up_req *q, enum ipc_type type)
{
    struct ipc_msg m = {.type = type, .id = q->id};
    int rc = message_queue(q, &m);
    if (rc != 0 && rc != BASE_ECLOSED)
        base_log_warn("gate", "uplink request %u: %s", (unsigned)q->id, base_code_str(rc));
}

void edge_gate_end(struct edge_up_req *q)
{
    if (q->body_ended)
        return;
    q->body_ended = true;
    signal_queue(q, IPC_END);
}

void edge_gate_leave(struct edge_up_req *q, bool now)
{
    if (q == NULL)
        return;
    q->cb = NULL;
    if (now)
        signal_queue(q, IPC_CANCEL);
    else
        edge_gate_end(q);
}
