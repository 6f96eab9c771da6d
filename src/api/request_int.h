/* What the parts that read a request share; nobody else includes this. */
#ifndef API_REQUEST_INT_H
#define API_REQUEST_INT_H

#include "api/chat.h"
#include "api/json.h"

struct api_parse {
    struct api_request *r;
    struct base_arena *a;
    struct api_error *e;
};

/* Fills the error; returns code. */
int api_refuse(struct api_parse *p, int code, const char *param, const char *fmt, ...)
    BASE_PRINTF(4, 5);
int api_no_memory(struct api_parse *p);

/* A string into the arena. len may be NULL. */
int api_copy_text(struct api_parse *p, const json_t *v, const char *param, const char **out,
                  size_t *len) BASE_MUST_CHECK;

/* request_msg.c */
int api_get_messages(struct api_parse *p, const json_t *v) BASE_MUST_CHECK;
int api_get_prompt(struct api_parse *p, const json_t *v) BASE_MUST_CHECK;

/* request_tools.c: functions, who chooses, the answer's form; after the messages. */
int api_get_tools(struct api_parse *p, const json_t *root) BASE_MUST_CHECK;
/* An assistant's calls. */
int api_get_calls(struct api_parse *p, const json_t *v, int i, struct api_msg *m) BASE_MUST_CHECK;

#endif
