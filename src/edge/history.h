/* What earlier turns of a conversation were about, and who has seen them: so that labels are only
 * ever added, also from turn to turn. A conversation is known again by the caller's
 * metadata.session, or by its beginning: the messages of person, system and tools that a turn
 * repeats. Kept are keyed hashes, never words; the key is made at start and lies nowhere. Loop
 * thread. */
#ifndef EDGE_HISTORY_H
#define EDGE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct edge_req;
struct edge_history;

enum { EDGE_TURN_KEY_BYTES = 16 };

/* Of one request. */
struct edge_turn {
    uint8_t key[EDGE_TURN_KEY_BYTES];         /* under which it is remembered */
    bool have_key;                            /* false: it cannot be */
    char session[EDGE_TURN_KEY_BYTES + 1];    /* for the decision log: the same for all turns */
    bool is_first;                            /* nothing came before it */
    bool known;                               /* an earlier turn was found */
    bool vague;                               /* with more classes than can be told */
    int n_before;                             /* questions before this one; -1: not known */
    const char *const *cls, *const *released; /* NULL-terminated, in the arena; NULL: not known */
    const char *last_route, *last_target;     /* NULL: none, or not known */
    uint64_t seen;                            /* bit a target of the table */
};

/* BASE_ENOMEM, BASE_EIO (no random numbers). */
int edge_history_new(struct edge_history **out, int max_entries, int64_t max_age_ms,
                     struct base_err *err) BASE_MUST_CHECK;
void edge_history_free(struct edge_history *h); /* NULL is fine */

/* Fills r->turn. BASE_ENOMEM, BASE_EINTERNAL. */
int edge_history_find(struct edge_req *r) BASE_MUST_CHECK;
/* r has ended: what it was about, where it went. */
void edge_history_record(const struct edge_req *r);

/* Whether target has seen an earlier turn of r's conversation. */
bool edge_history_seen(const struct edge_req *r, const char *target);

#endif
