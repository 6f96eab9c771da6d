#include "router/cases.h"

#include <stdio.h>
#include <string.h>

const char *rt_decision_text(const struct rt_decision *d, char out[RT_DECISION_BYTES])
{
    static const char *const dtype[] = {"f32", "f16", "i8"};
    const size_t size = RT_DECISION_BYTES;
    size_t n = (size_t)snprintf(out, size, "%s", rt_mode_str(d->route.mode));

    if (d->route.target != NULL)
        n += (size_t)snprintf(out + n, size - n, " %s", d->route.target);
    if (d->route.mode == RT_HIDDEN)
        n += (size_t)snprintf(out + n, size - n, " layer %d tail %s %s", d->route.layer,
                              d->route.tail == RT_TAIL_CLOUD ? "cloud" : "edge",
                              dtype[d->route.dtype]);
    if (d->route.target != NULL)
        snprintf(out + n, size - n, " else %s", rt_mode_str(d->fallback.mode));
    return out;
}

/* The next line without its end; false at the end of the text. */
static bool next_line(struct rt_cases *r, const char **s, size_t *n)
{
    if (r->at >= r->len)
        return false;
    *s = r->text + r->at;
    const char *end = memchr(*s, '\n', r->len - r->at);
    *n = end != NULL ? (size_t)(end - *s) : r->len - r->at;
    r->at += *n + 1;
    r->line++;
    if (*n > 0 && (*s)[*n - 1] == '\r')
        --*n;
    return true;
}

int rt_cases_next(struct rt_cases *r, struct rt_case *out, struct base_err *err)
{
    const char *s;
    size_t n;
    int have = 0;

    *out = (struct rt_case){0};
    while (next_line(r, &s, &n)) {
        bool gap = n == 0 || s[0] == '#';
        if (gap && have == 0)
            continue;
        if (gap)
            break;
        if (have == 0) {
            out->line = r->line;
            out->rule = s;
            out->rule_bytes = n;
        } else if (have == 1) {
            out->facts = s;
            out->facts_bytes = n;
        } else {
            out->want = s;
            out->want_bytes = n;
            return 1;
        }
        have++;
    }
    if (have == 0)
        return 0;
    return base_err_set(err, BASE_EFORMAT, "",
                        "a case has three lines (rule, facts, what is decided); this one has %d",
                        have);
}
