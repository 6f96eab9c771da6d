#include "edge/policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { HASH_SHOWN = 6 };

/* What the thread gets and gives back. */
struct job {
    enum edge_policy_ask ask;
    struct edge_policies *s;
    int rc, keep_rc, shadow_rc;
    bool same; /* as what is in force */
    struct base_err err, keep_err, shadow_err;
    struct store_policy got, shadow;
    struct rt_diags diags, shadow_diags;
    edge_policy_done *done;
    void *arg;
};

struct edge_policies {
    const struct edge_config *cfg;
    struct store *store, *shadow_store; /* NULL: not configured, or not to be opened yet */
    struct edge_policy *now, *shadow;
    struct edge_policy_info info;

    struct net_loop *loop;
    struct net_timer *watch;
    int wake_fd; /* the thread is done */
    struct net_watch *wake;
    pthread_t thread;
    struct job *job; /* NULL: none under way */
    bool again;
};

const char *edge_policy_state_str(enum edge_policy_state s)
{
    static const char *const name[] = {"none", "ok", "kept", "rolled_back", "local_only"};
    return name[s];
}

const char *edge_policy_result_str(enum edge_policy_result r)
{
    static const char *const name[] = {"ok",        "unchanged", "unreadable", "broken",
                                       "signature", "serial",    "failed"};
    return name[r];
}

static enum edge_policy_result result_of(int rc, bool same)
{
    switch (rc) {
    case 0:
        return same ? EDGE_POLICY_R_UNCHANGED : EDGE_POLICY_R_OK;
    case BASE_EIO:
    case BASE_ENOTFOUND:
        return EDGE_POLICY_R_UNREADABLE;
    case BASE_EFORMAT:
    case BASE_ELIMIT:
    case BASE_EINVAL:
        return EDGE_POLICY_R_BROKEN;
    case BASE_EPERM:
        return EDGE_POLICY_R_SIGNATURE;
    case BASE_EMISMATCH:
        return EDGE_POLICY_R_SERIAL;
    default:
        return EDGE_POLICY_R_FAILED;
    }
}

/* ---- one policy ---- */

struct edge_policy *edge_policy_ref(struct edge_policy *p)
{
    if (p != NULL)
        p->n_ref++;
    return p;
}

void edge_policy_unref(struct edge_policy *p)
{
    if (p == NULL || --p->n_ref > 0)
        return;
    edge_callers_fini(&p->callers);
    store_policy_fini(&p->own);
    free(p);
}

/* Takes *from over, which may be empty: the policy of no policy. NULL: out of memory. */
static struct edge_policy *policy_new(struct store_policy *from)
{
    char hash[2 * HASH_SHOWN + 1];
    struct edge_policy *p = calloc(1, sizeof *p);
    if (p == NULL || (from->rt != NULL && edge_callers_of_policy(&p->callers, from->rt) != 0)) {
        free(p);
        return NULL;
    }
    p->n_ref = 1;
    p->own = *from;
    *from = (struct store_policy){.rt = NULL};
    p->serial = p->own.serial;
    p->rt = p->own.rt != NULL ? p->own.rt : rt_policy_none();
    snprintf(p->label, sizeof p->label, "%.64s sha256:%s", rt_policy_version(p->rt),
             base_hex(rt_policy_hash(p->rt), HASH_SHOWN, hash));
    return p;
}

struct edge_policy *edge_policies_now(const struct edge_policies *s)
{
    return s->now;
}

struct edge_policy *edge_policies_shadow(const struct edge_policies *s)
{
    return s->shadow;
}

const struct edge_policy_info *edge_policies_info(const struct edge_policies *s)
{
    return &s->info;
}

/* ---- what the thread does ---- */

int edge_policy_keys(const struct edge_config *c, struct store_opt *o, struct base_err *err)
{
    o->n_key = 0;
    for (int i = 0; i < c->policy_key.n && i < STORE_MAX_KEY; i++) {
        int rc = store_key_parse(&o->key[o->n_key++], c->policy_key.item[i], "policy.key", err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int store_get(const struct edge_config *c, struct store **out, struct base_err *err)
{
    struct store_opt o = {.file = c->policy_file, .state_dir = c->policy_state_dir};
    if (*out != NULL)
        return 0;
    int rc = edge_policy_keys(c, &o, err);
    return rc == 0 ? store_open(out, &o, err) : rc;
}

/* It decides nothing, so it needs no signature and nobody comes back to it. */
static int shadow_get(const struct edge_config *c, struct store **out, struct base_err *err)
{
    const struct store_opt o = {.file = c->policy_shadow, .state_dir = ""};
    return *out != NULL ? 0 : store_open(out, &o, err);
}

static void job_do(struct job *j)
{
    struct edge_policies *s = j->s;
    const struct edge_policy *now = s->now;
    j->rc = store_get(s->cfg, &s->store, &j->err);
    if (j->rc == 0 && j->ask == EDGE_POLICY_ROLL_BACK)
        j->rc = store_roll_back(s->store, &j->got, &j->err);
    else if (j->rc == 0)
        j->rc = store_load(s->store, &j->got, &j->diags, &j->err);
    if (s->store != NULL && j->ask == EDGE_POLICY_LOAD)
        store_settle(s->store);
    j->same = j->rc == 0 && now->own.rt != NULL && now->serial == j->got.serial &&
              memcmp(now->own.hash, j->got.hash, sizeof j->got.hash) == 0;
    if (j->rc == 0 && j->ask == EDGE_POLICY_LOAD)
        j->keep_rc = store_keep(s->store, &j->got, &j->keep_err);
    if (s->cfg->policy_shadow[0] == '\0' || j->ask != EDGE_POLICY_LOAD)
        return;
    j->shadow_rc = shadow_get(s->cfg, &s->shadow_store, &j->shadow_err);
    if (j->shadow_rc == 0)
        j->shadow_rc = store_load(s->shadow_store, &j->shadow, &j->shadow_diags, &j->shadow_err);
    if (s->shadow_store != NULL)
        store_settle(s->shadow_store);
}

static void *job_thread(void *arg)
{
    struct job *j = arg;
    const uint64_t one = 1;
    job_do(j);
    if (write(j->s->wake_fd, &one, sizeof one) != (ssize_t)sizeof one)
        base_log_error("policy", "the loop cannot be told");
    return NULL;
}

static void job_free(struct job *j)
{
    if (j == NULL)
        return;
    store_policy_fini(&j->got);
    store_policy_fini(&j->shadow);
    free(j);
}

/* ---- what the loop makes of it ---- */

static void diags_log(const struct rt_diags *diags, const char *path)
{
    for (int i = 0; i < diags->n; i++) {
        const struct rt_diag *d = &diags->at[i];
        base_log(d->warning ? BASE_LOG_WARN : BASE_LOG_ERROR, "policy", "%s:%d:%d: %s",
                 d->file[0] != '\0' ? d->file : path, d->line, d->col, d->msg);
    }
}

static void swap(struct edge_policy **at, struct edge_policy *p)
{
    edge_policy_unref(*at);
    *at = p;
}

static void shadow_take(struct edge_policies *s, struct job *j)
{
    char line[512];
    if (s->cfg->policy_shadow[0] == '\0')
        return;
    diags_log(&j->shadow_diags, s->cfg->policy_shadow);
    s->info.shadow_broken = j->shadow_rc != 0;
    if (j->shadow_rc == 0 && s->shadow != NULL &&
        memcmp(s->shadow->own.hash, j->shadow.hash, sizeof j->shadow.hash) == 0)
        return;
    struct edge_policy *p = j->shadow_rc == 0 ? policy_new(&j->shadow) : NULL;
    if (p == NULL) {
        base_log_error("policy", "shadow: %s; %s",
                       j->shadow_rc != 0 ? base_err_line(&j->shadow_err, line, sizeof line)
                                         : "out of memory",
                       s->shadow != NULL ? "the one before goes on" : "none decides beside");
        return;
    }
    swap(&s->shadow, p);
    base_log_info("policy", "shadow %s decides beside", p->label);
}

/* The job's policy into force. BASE_ENOMEM: not done. */
static int got_take(struct edge_policies *s, struct job *j)
{
    const bool back = j->ask == EDGE_POLICY_ROLL_BACK;
    if (!j->same) {
        struct edge_policy *p = policy_new(&j->got);
        if (p == NULL)
            return base_err_set(&j->err, BASE_ENOMEM, "policy", "out of memory");
        swap(&s->now, p);
        s->info.generation++;
        base_log_info("policy", "%s in force, serial %llu, generation %llu", p->label,
                      (unsigned long long)p->serial, (unsigned long long)s->info.generation);
    }
    s->info.state = back ? EDGE_POLICY_ROLLED_BACK : EDGE_POLICY_OK;
    return 0;
}

static void failure_take(struct edge_policies *s, const struct job *j)
{
    char line[512];
    const bool have = s->now->own.rt != NULL;
    if (j->ask == EDGE_POLICY_LOAD && s->info.state != EDGE_POLICY_ROLLED_BACK)
        s->info.state = have ? EDGE_POLICY_KEPT : EDGE_POLICY_LOCAL_ONLY;
    base_log_error("policy", "%s; %s", base_err_line(&j->err, line, sizeof line),
                   !have ? "every request stays on the device"
                         : "the last good one stays in force");
}

static enum edge_policy_result job_take(struct edge_policies *s, struct job *j)
{
    char line[512];
    diags_log(&j->diags, s->cfg->policy_file);
    if (j->ask == EDGE_POLICY_CHECK)
        return result_of(j->rc, j->same);
    if (j->rc == 0)
        j->rc = got_take(s, j);
    if (j->rc != 0)
        failure_take(s, j);
    s->info.unsaved = j->rc == 0 && j->keep_rc != 0;
    if (s->info.unsaved)
        base_log_error("policy", "%s; a restart will not know this policy if its file is lost",
                       base_err_line(&j->keep_err, line, sizeof line));
    const enum edge_policy_result r = result_of(j->rc, j->same);
    s->info.have_last = true;
    s->info.last = r;
    s->info.last_err = j->rc != 0 ? j->err : (struct base_err){.code = 0};
    s->info.last_us = base_clock_real_us();
    s->info.ended[r]++;
    if (j->ask == EDGE_POLICY_LOAD)
        shadow_take(s, j);
    return r;
}

/* ---- start ---- */

/* The copy that an earlier run left, where the file is no good. */
static void copy_take(struct edge_policies *s)
{
    struct store_policy got;
    struct base_err err = {0};
    char line[512];
    if (s->store == NULL)
        return;
    int rc = store_last_good(s->store, &got, &err);
    struct edge_policy *p = rc == 0 ? policy_new(&got) : NULL;
    if (p == NULL) {
        base_log_error("policy", "no copy of an earlier one: %s",
                       base_err_line(&err, line, sizeof line));
        store_policy_fini(&got);
        return;
    }
    swap(&s->now, p);
    s->info.generation++;
    s->info.state = EDGE_POLICY_KEPT;
    base_log_warn("policy", "%s in force, serial %llu, from the copy of the last good one",
                  p->label, (unsigned long long)p->serial);
}

int edge_policies_open(struct edge_policies **out, const struct edge_config *c,
                       struct base_err *err)
{
    struct store_policy none = {.rt = NULL};
    struct edge_policies *s = calloc(1, sizeof *s);
    struct job *j = calloc(1, sizeof *j);
    *out = s;
    if (s != NULL)
        s->wake_fd = -1;
    if (s == NULL || j == NULL || (s->now = policy_new(&none)) == NULL) {
        free(j);
        return base_err_set(err, BASE_ENOMEM, "policy", "out of memory");
    }
    s->cfg = c;
    j->s = s;
    if (c->policy_file[0] != '\0') {
        job_do(j);
        (void)job_take(s, j);
        if (s->now->own.rt == NULL)
            copy_take(s);
    }
    job_free(j);
    return 0;
}

static void on_watch(void *arg)
{
    struct edge_policies *s = arg;
    if (s->job == NULL) {
        const bool a = s->store != NULL && store_changed(s->store);
        const bool b = s->shadow_store != NULL && store_changed(s->shadow_store);
        if ((a || b) && edge_policies_ask(s, EDGE_POLICY_LOAD, NULL, NULL) != 0)
            base_log_error("policy", "its file has changed, and there is no memory to read it");
    }
    net_timer_set(s->watch, s->cfg->policy_watch_ms * 1000);
}

static void on_wake(int fd, int what, void *arg)
{
    struct edge_policies *s = arg;
    uint64_t n;
    struct job *j = s->job;
    (void)what;
    if (read(fd, &n, sizeof n) != (ssize_t)sizeof n || j == NULL)
        return;
    pthread_join(s->thread, NULL);
    s->job = NULL;
    const enum edge_policy_result r = job_take(s, j);
    if (j->done != NULL)
        j->done(j->arg, r, &j->err);
    job_free(j);
    if (s->again && edge_policies_ask(s, EDGE_POLICY_LOAD, NULL, NULL) != 0)
        base_log_error("policy", "out of memory");
}

int edge_policies_run(struct edge_policies *s, struct net_loop *l, struct base_err *err)
{
    s->loop = l;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return base_err_set(err, BASE_EIO, "policy", "eventfd: %s", strerror(errno));
    s->wake = net_watch_new(l, s->wake_fd, on_wake, s);
    s->watch = net_timer_new(l, on_watch, s);
    if (s->wake == NULL || s->watch == NULL)
        return base_err_set(err, BASE_ENOMEM, "policy", "out of memory");
    net_watch_want(s->wake, NET_READ);
    if (s->cfg->policy_file[0] != '\0' && s->cfg->policy_watch_ms > 0) {
        /* As they are now is how they were read, or the next look will tell. */
        net_timer_set(s->watch, s->cfg->policy_watch_ms * 1000);
    }
    return 0;
}

void edge_policies_stop(struct edge_policies *s)
{
    if (s == NULL)
        return;
    if (s->job != NULL) {
        pthread_join(s->thread, NULL);
        job_free(s->job);
        s->job = NULL;
    }
    net_watch_free(s->wake);
    net_timer_free(s->watch);
    s->wake = NULL;
    s->watch = NULL;
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    s->wake_fd = -1;
}

void edge_policies_close(struct edge_policies *s)
{
    if (s == NULL)
        return;
    edge_policies_stop(s);
    edge_policy_unref(s->now);
    edge_policy_unref(s->shadow);
    store_close(s->store);
    store_close(s->shadow_store);
    free(s);
}

/* ---- asking ---- */

int edge_policies_ask(struct edge_policies *s, enum edge_policy_ask ask, edge_policy_done *done,
                      void *arg)
{
    if (s->cfg->policy_file[0] == '\0')
        return BASE_ENOTFOUND;
    if (s->job != NULL) {
        s->again = s->again || ask == EDGE_POLICY_LOAD;
        return BASE_EBUSY;
    }
    if (ask == EDGE_POLICY_LOAD)
        s->again = false;
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return BASE_ENOMEM;
    *j = (struct job){.ask = ask, .s = s, .done = done, .arg = arg};
    s->job = j;
    if (pthread_create(&s->thread, NULL, job_thread, j) != 0) {
        s->job = NULL;
        free(j);
        return BASE_ENOMEM;
    }
    return 0;
}

void edge_policies_forget(struct edge_policies *s, const void *arg)
{
    if (s->job != NULL && s->job->arg == arg)
        s->job->done = NULL;
}

int edge_policies_check(const struct edge_config *c, struct base_err *err)
{
    struct store *store = NULL, *shadow = NULL;
    struct store_policy got = {.rt = NULL};
    struct rt_diags *diags = calloc(1, sizeof *diags);
    int rc = diags == NULL ? base_err_set(err, BASE_ENOMEM, "policy", "out of memory") : 0;
    if (rc == 0 && c->policy_file[0] != '\0') {
        rc = store_get(c, &store, err);
        if (rc == 0)
            rc = store_load(store, &got, diags, err);
        diags_log(diags, c->policy_file);
        store_policy_fini(&got);
    }
    if (rc == 0 && c->policy_shadow[0] != '\0') {
        rc = shadow_get(c, &shadow, err);
        if (rc == 0)
            rc = store_load(shadow, &got, diags, err);
        diags_log(diags, c->policy_shadow);
        store_policy_fini(&got);
    }
    store_close(store);
    store_close(shadow);
    free(diags);
    return rc;
}
