/* The HTTP routes: which path goes where, and the answers that need no model. */
#ifndef EDGE_API_H
#define EDGE_API_H

#include "net/local/http.h"

/* A net_http_cb; arg is struct edge. */
void edge_api_handle(struct net_req *r, void *arg);

/* Ends r with an error object. code may be NULL. */
void edge_api_error(struct net_req *r, int status, const char *type, const char *code,
                    const char *message);

#endif
