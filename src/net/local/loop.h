/* One event loop, one thread: timers, descriptors, signals. A thin face on libevent, so that the
 * programs do not include it. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct event_base;
struct net_loop;
int net_loop_new(struct net_loop **out, struct base_err *err) BASE_MUST_CHECK;
void net_loop_free(struct net_loop *l);
int net_loop_run(struct net_loop *l) BASE_MUST_CHECK; /* until net_loop_stop; BASE_EIO */
void net_loop_stop(struct net_loop *l);
struct event_base *net_loop_base(struct net_loop *l); /* for rooms inside net only */

struct net_timer;
typedef void net_timer_cb(void *arg);
struct net_timer *net_timer_new(struct net_loop *l, net_timer_cb *cb, void *arg); /* NULL: memory */
void net_timer_set(struct net_timer *t, int64_t after_us); /* one shot; replaces the earlier time */
void net_timer_clear(struct net_timer *t);
void net_timer_free(struct net_timer *t);

enum { NET_READ = 1, NET_WRITE = 2 };
struct net_watch;
typedef void net_watch_cb(int fd, int what, void *arg);
struct net_watch *net_watch_new(struct net_loop *l, int fd, net_watch_cb *cb, void *arg);
void net_watch_want(struct net_watch *w, int what); /* bits of NET_READ, NET_WRITE; 0: none */
void net_watch_free(struct net_watch *w);           /* does not close fd */

typedef void net_signal_cb(int signo, void *arg);
int net_signal(struct net_loop *l, int signo, net_signal_cb *cb, void *arg) BASE_MUST_CHECK;

#endif
