#include "engine/pool_adapt.h"

void pool_adapt_init(struct pool_adapt *a)
{
    *a = (struct pool_adapt){.mode = POOL_GREEDY, .stall_us = INT64_MIN / 2};
    for (int m = 0; m < POOL_N_MODE; m++)
        a->left_us[m] = INT64_MIN / 2;
}

static void enter(struct pool_adapt *a, enum pool_mode m, int64_t now_us)
{
    const bool again = now_us - a->left_us[m] < POOL_TRY_US;
    const int64_t hold = again ? a->hold_us[m] * 2 : POOL_HOLD_FIRST_US;
    a->hold_us[m] = hold < POOL_HOLD_MOST_US ? hold : POOL_HOLD_MOST_US;
    a->until_us = now_us + a->hold_us[m];
    a->mode = m;
}

void pool_adapt_stall(struct pool_adapt *a, int64_t now_us)
{
    if (a->mode == POOL_GREEDY) {
        enter(a, POOL_POLITE, now_us);
        a->stall_us = INT64_MIN / 2;
        return;
    }
    if (a->mode == POOL_POLITE && now_us - a->stall_us < POOL_CLOSE_US)
        enter(a, POOL_AWAY, now_us);
    a->stall_us = now_us;
}

enum pool_mode pool_adapt_mode(struct pool_adapt *a, int64_t now_us)
{
    if (a->mode == POOL_GREEDY || now_us < a->until_us)
        return a->mode;
    a->left_us[a->mode] = now_us;
    a->mode--;
    a->until_us = now_us + a->hold_us[a->mode];
    return a->mode;
}

bool pool_caller_asks(struct pool_caller *c, int64_t now_us)
{
    const bool asks = now_us - c->run_us > POOL_GAP_US;
    c->run_us = now_us;
    return asks;
}

bool pool_caller_moves(struct pool_caller *c, int64_t n_lost, int64_t now_us)
{
    const bool lost = n_lost > c->n_lost;
    const bool third = now_us - c->lost_us[1] < POOL_CLOSE_US;
    c->n_lost = n_lost;
    if (!lost)
        return false;
    c->lost_us[1] = c->lost_us[0];
    c->lost_us[0] = now_us;
    if (third) /* the next move needs three more */
        c->lost_us[0] = c->lost_us[1] = now_us - POOL_CLOSE_US;
    return third;
}

int64_t pool_adapt_limit_us(int64_t own_us, int n_slice)
{
    const int64_t slice_us = own_us / (n_slice > 0 ? n_slice : 1);
    const int64_t limit = slice_us * POOL_STALL_SLICES;
    return limit > POOL_STALL_US ? limit : POOL_STALL_US;
}
