/* waypost-uplink: the gate's far side. It takes messages from the edge (sock.c), lets a request out
 * only under a release record that the ledger has (request.c), and tells the edge how the links are
 * (target.c). One thread, the loop's. */
#ifndef UPLINK_UPLINK_H
#define UPLINK_UPLINK_H

#include "ledger/ledger.h"
#include "net/h2/client.h"
#include "uplink/config.h"

struct up_req;
struct up_sock;

struct up_target {
    struct up *up;
    struct up_target_config cfg;
    struct net_h2c_target net;
    enum ipc_link state;
    uint32_t rtt_us;            /* as last told */
    struct net_timer *timer;    /* of the next preconnect, or of the end of "down" */
    struct net_h2c_stream *pre; /* a preconnect under way */
    int64_t backoff_ms;
};

struct up {
    struct up_config cfg;
    struct net_loop *loop;
    struct net_h2c *net;
    struct ledger *ledger;
    bool ledger_failed; /* said, and every request closed */
    struct up_sock *sock;
    struct up_target target[UP_MAX_TARGET];
    int n_target;
    struct up_req *reqs;
    int n_req;
    char head[65]; /* of the ledger, for the log */
};

/* request.c: each message of the edge about a request. */
void up_req_release(struct up *u, uint32_t id, const struct ipc_release *rel);
void up_req_data(struct up *u, uint32_t id, const uint8_t *p, size_t len);
void up_req_end(struct up *u, uint32_t id);
void up_req_cancel(struct up *u, uint32_t id);
void up_req_hold_all(struct up *u, bool on); /* stops reading answers */
void up_req_close_all(struct up *u, int code, const char *why);

/* target.c */
int up_targets_init(struct up *u, struct base_err *err) BASE_MUST_CHECK;
void up_targets_start(struct up *u); /* preconnects */
void up_targets_fini(struct up *u);
struct up_target *up_target_find(struct up *u, const char *name);
void up_target_is_up(struct up_target *t, int64_t rtt_us);
void up_target_failed(struct up_target *t);

/* sock.c: the socket to the edge. on_gone: it closed, or broke the protocol. */
int up_sock_new(struct up *u, int fd, void (*on_gone)(struct up *u),
                struct base_err *err) BASE_MUST_CHECK;
void up_sock_free(struct up_sock *s);
void up_sock_send(struct up_sock *s, const struct ipc_msg *m);
void up_sock_flush(struct up_sock *s); /* what the socket takes at once */
bool up_sock_is_full(const struct up_sock *s);

#endif
