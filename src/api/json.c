#include "api/json.h"

#include <stdlib.h>
#include <string.h>

/* Length of the valid UTF-8 character at s[0..n), or 0 (Unicode 15, table 3-7). */
static size_t utf8_char(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char lo, hi, lo2, hi2;
        size_t len;
    } row[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (s[0] < row[i].lo || s[0] > row[i].hi)
            continue;
        if (row[i].len > n || (row[i].len > 1 && (s[1] < row[i].lo2 || s[1] > row[i].hi2)))
            return 0;
        for (size_t k = 2; k < row[i].len; k++) {
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        }
        return row[i].len;
    }
    return 0;
}

json_t *api_json_text(const char *s, size_t n)
{
    /* An answer of no text comes from a buffer that has no memory yet. */
    json_t *v = json_stringn(n > 0 ? s : "", n);
    if (v != NULL)
        return v;
    struct base_buf b;
    base_buf_init(&b, 3 * n + 1);
    for (size_t i = 0; i < n;) {
        size_t len = utf8_char((const unsigned char *)s + i, n - i);
        if (len == 0)
            base_buf_str(&b, "\xef\xbf\xbd");
        else
            base_buf_add(&b, s + i, len);
        i += len > 0 ? len : 1;
    }
    if (b.err == 0)
        v = json_stringn((const char *)b.data, b.len);
    base_buf_fini(&b);
    return v;
}

void api_json_set(json_t *obj, const char *key, json_t *v, bool *ok)
{
    if (v == NULL || json_object_set_new(obj, key, v) != 0)
        *ok = false;
}

static int to_buf(const char *p, size_t n, void *arg)
{
    return base_buf_add(arg, p, n) == 0 ? 0 : -1;
}

/* Nine digits bring every float back exactly and keep 0.7 from being 0.69999999999999996. */
enum { DUMP_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(9) };

int api_json_put(json_t *v, bool ok, bool sse, struct base_buf *out)
{
    int rc = v != NULL && ok ? 0 : BASE_ENOMEM;
    if (rc == 0 && sse)
        base_buf_str(out, "data: ");
    if (rc == 0 && json_dump_callback(v, to_buf, out, DUMP_FLAGS) != 0)
        rc = out->err != 0 ? out->err : BASE_ENOMEM;
    if (rc == 0 && sse)
        rc = base_buf_str(out, "\n\n");
    json_decref(v);
    return rc != 0 ? rc : out->err;
}
