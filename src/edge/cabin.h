/* The cabin's commands: a catalogue of functions (api/catalogue.h) and the adapter that was trained to
 * call them (`cabin.adapter`). A request whose tools are among them, or for the model waypost-cabin, is
 * first read with the adapter: what the person said last alone, answered in one line that the sampler
 * holds. That gives the facts `intent` and `confidence`, with which the router decides: the device's
 * call is answered, or another tier does, or, where it is none or not sure enough
 * (`cabin.min_confidence`), the request goes on as any other.
 * Opened at start, const afterwards; commands are the loop thread's. */
#ifndef EDGE_CABIN_H
#define EDGE_CABIN_H

#include "api/catalogue.h"
#include "engine/confidence.h"
#include "engine/lora.h"

#define EDGE_CABIN_MODEL "waypost-cabin"

struct edge;
struct edge_config;
struct edge_req;
struct api_error;

struct edge_cabin {
    struct api_catalogue *catalogue; /* owned; NULL: off */
    struct eng_lora *lora;           /* owned */
    struct eng_conf *conf;           /* owned; NULL: how sure it is cannot be told */
};

/* What can be said before the model is open: names, and the catalogue itself. Errors: BASE_EINVAL,
 * BASE_EIO, api_catalogue_parse's. */
int edge_cabin_check(const struct edge_config *c, struct base_err *err) BASE_MUST_CHECK;
/* Nothing is opened where cabin.adapter is empty. Errors: edge_cabin_check's, eng_lora_open's and
 * eng_conf_open's. */
int edge_cabin_open(struct edge_cabin *out, const struct edge_config *c, struct eng_model *m,
                    struct base_err *err) BASE_MUST_CHECK;
void edge_cabin_close(struct edge_cabin *c);
/* Has the beginning that all prompts of commands share computed, and the same for plain chats, for as
 * long as the engine runs. Errors: eng_job_open's, eng_job_feed_tokens'. */
int edge_cabin_warm(struct edge *e, struct base_err *err) BASE_MUST_CHECK;

/* A request that the cabin is asked about. */
struct edge_command;

/* r->command, or NULL if it is none of the cabin's. Errors, with *e: 400 for what waypost-cabin can't
 * do; BASE_ENOMEM. */
int edge_command_take(struct edge_req *r, struct api_error *e) BASE_MUST_CHECK;
void edge_command_free(struct edge_command *c); /* NULL is fine */

/* What came of it; c may be NULL. */
bool edge_command_acts(const struct edge_command *c); /* a call, and sure enough to be answered */
const char *edge_command_intent(const struct edge_command *c); /* NULL: not known */
double edge_command_confidence(const struct edge_command *c);  /* below 0: not known */
const char *edge_command_vss(const struct edge_command *c);    /* NULL: none */

#endif
