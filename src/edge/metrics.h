/* Counters for /metrics in Prometheus' text format. Base units; never content. Loop thread. */
#ifndef EDGE_METRICS_H
#define EDGE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

/* Routes are those of enum rt_mode, and one for what was refused before a decision. */
enum { EDGE_N_BUCKET = 12, EDGE_ROUTE_NONE = 4, EDGE_N_ROUTE };
enum edge_result { EDGE_RES_OK, EDGE_RES_REFUSED, EDGE_RES_ERROR, EDGE_RES_GONE, EDGE_N_RESULT };
const char *edge_result_str(enum edge_result r); /* "ok", "refused", "error", "gone" */

/* What became of requests that the cabin was asked about. */
enum edge_command_end { EDGE_CMD_CALL, EDGE_CMD_NONE, EDGE_CMD_ELSEWHERE, EDGE_CMD_UNSURE, EDGE_N_COMMAND };

struct edge_histogram {
    uint64_t bucket[EDGE_N_BUCKET + 1]; /* not cumulative; the last is +Inf */
    uint64_t n;
    double sum_s;
};

struct edge_metrics {
    uint64_t request[EDGE_N_ROUTE][EDGE_N_RESULT];
    uint64_t tier[4]; /* finished answers by tier bits */
    uint64_t prompt_tok, answer_tok;
    uint64_t released_bytes;
    uint64_t fall_back;      /* escalations that went on locally or were refused */
    uint64_t rejected_busy;  /* 429 */
    uint64_t command[EDGE_N_COMMAND];
    uint64_t shadow[4][4];   /* by enum rt_mode: the policy's, and what its shadow said */
    uint64_t shadow_differs; /* in route, target or parameters */
    struct edge_histogram first_token, total, command_line;
};

void edge_metrics_first_token(struct edge_metrics *m, int64_t us);
void edge_metrics_total(struct edge_metrics *m, int64_t us);
void edge_metrics_command(struct edge_metrics *m, enum edge_command_end end, int64_t us);

struct edge;
int edge_metrics_write(const struct edge *e, struct base_buf *out) BASE_MUST_CHECK;

#endif
