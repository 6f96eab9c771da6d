/* Numbers within bounds, digit by digit. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/schema_int.h"

enum {
    MAX_DIGITS = 18, /* of an integer: any of them is an int64 */
    MAX_SCALE = 6,   /* decimals of a bound or a step */
    MAX_STEPS = 2048,
};
static const int64_t most = 999999999999999999;

/* ---- digits ---- */

static void digits(struct base_buf *e, int n)
{
    if (n > 0)
        base_buf_printf(e, " [0-9]{%d}", n);
}

static bool all(const char *s, int n, char c)
{
    for (int i = 0; i < n; i++) {
        if (s[i] != c)
            return false;
    }
    return true;
}

/* n digits, at least those of s (up: at most). */
static void beyond(struct base_buf *e, const char *s, int n, bool up)
{
    if (all(s, n, up ? '9' : '0')) {
        digits(e, n);
        return;
    }
    base_buf_printf(e, " (\"%c\"", s[0]);
    beyond(e, s + 1, n - 1, up);
    if (up ? s[0] > '0' : s[0] < '9') {
        base_buf_printf(e, " | [%c-%c]", up ? '0' : s[0] + 1, up ? s[0] - 1 : '9');
        digits(e, n - 1);
    }
    base_buf_str(e, ")");
}

/* n digits from a to b, a <= b. */
static void between(struct base_buf *e, const char *a, const char *b, int n)
{
    if (n == 0)
        return;
    if (a[0] == b[0]) {
        base_buf_printf(e, " \"%c\"", a[0]);
        between(e, a + 1, b + 1, n - 1);
        return;
    }
    base_buf_printf(e, " (\"%c\"", a[0]);
    beyond(e, a + 1, n - 1, false);
    base_buf_printf(e, " | \"%c\"", b[0]);
    beyond(e, b + 1, n - 1, true);
    if (a[0] + 1 < b[0]) {
        base_buf_printf(e, " | [%c-%c]", a[0] + 1, b[0] - 1);
        digits(e, n - 1);
    }
    base_buf_str(e, ")");
}

/* Whole numbers from lo to hi, 0 <= lo <= hi <= most, as alternatives. */
static void whole(struct base_buf *e, int64_t lo, int64_t hi)
{
    bool first = true;
    for (int64_t from = 0, to = 9; from <= hi; from = to + 1, to = to * 10 + 9) {
        const int64_t a = lo > from ? lo : from, b = hi < to ? hi : to;
        if (a > b)
            continue;
        char x[24], y[24];
        const int n = snprintf(x, sizeof x, "%" PRId64, a);
        (void)snprintf(y, sizeof y, "%" PRId64, b);
        base_buf_str(e, first ? "" : " |");
        first = false;
        between(e, x, y, n);
        if (to == most)
            break;
    }
}

/* ---- bounds ---- */

struct bound {
    bool have, open; /* open: not the number itself */
    double v;
};

static int bound_get(struct api_schema *c, const json_t *s, const struct schema_at *at,
                     const char *key, const char *exclusive, bool upper, struct bound *b)
{
    const json_t *v = json_object_get(s, key), *x = json_object_get(s, exclusive);
    *b = (struct bound){0};
    if (v != NULL && !json_is_number(v))
        return schema_refuse(c, at, BASE_EFORMAT, "'%s' must be a number", key);
    if (x != NULL && !json_is_number(x) && !json_is_boolean(x))
        return schema_refuse(c, at, BASE_EFORMAT, "'%s' must be a number", exclusive);
    if (v != NULL)
        *b = (struct bound){true, json_is_true(x), json_number_value(v)};
    if (json_is_number(x)) {
        const double d = json_number_value(x);
        if (!b->have || (upper ? d <= b->v : d >= b->v))
            *b = (struct bound){true, true, d};
    }
    return 0;
}

/* v as a whole number of 10^-scale, scale as small as it goes. false: it needs more decimals. */
static bool scaled(double v, int *scale, int64_t *out)
{
    double unit = 1;
    for (*scale = 0; *scale <= MAX_SCALE; (*scale)++, unit *= 10) {
        const double x = round(v * unit);
        if (fabs(x) < 9e15 && fabs(x / unit - v) <= 1e-15 * fabs(v)) {
            *out = (int64_t)x;
            return true;
        }
    }
    return false;
}

static int64_t power(int n)
{
    int64_t p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

/* v as n digits; out[n + 1]. */
static void pad(char *out, int64_t v, int n)
{
    out[n] = '\0';
    for (; n > 0; v /= 10)
        out[--n] = (char)('0' + v % 10);
}

/* ---- steps ---- */

static void decimal(struct base_buf *e, int64_t v, int scale)
{
    const int64_t unit = power(scale), a = v < 0 ? -v : v;
    char frac[16] = "";
    int n = scale;
    pad(frac, a % unit, scale);
    while (n > 0 && frac[n - 1] == '0')
        n--;
    base_buf_printf(e, "\"%s%" PRId64 "%s%.*s\"", v < 0 ? "-" : "", a / unit, n > 0 ? "." : "", n,
                    frac);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* All multiples within the bounds, one by one. */
static int multiples(struct api_schema *c, const struct schema_at *at, double step, struct bound lo,
                     struct bound hi, bool integer, struct base_buf *e)
{
    int sa, sb, ss, scale;
    int64_t a, b, q;
    if (!(step > 0))
        return schema_refuse(c, at, BASE_EFORMAT, "'multipleOf' must be greater than 0");
    if (!lo.have || !hi.have)
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "'multipleOf' is held only between a minimum and a maximum");
    if (!scaled(step, &ss, &q) || !scaled(lo.v, &sa, &a) || !scaled(hi.v, &sb, &b) || q == 0)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "bounds and steps have at most %d decimals",
                             MAX_SCALE);
    scale = sa > sb ? sa : sb;
    scale = scale > ss ? scale : ss;
    if (fabs(lo.v) > 1e9 || fabs(hi.v) > 1e9 || step > 1e9)
        return schema_refuse(c, at, BASE_ELIMIT, "'multipleOf' is held within 1e9 only");
    a = a * power(scale - sa) + lo.open;
    b = b * power(scale - sb) - hi.open;
    q *= power(scale - ss);
    const int64_t from = -floor_div(-a, q), to = floor_div(b, q);
    if (to < from)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "no number is within these bounds");
    if (to - from >= MAX_STEPS)
        return schema_refuse(c, at, BASE_ELIMIT, "'multipleOf' leaves more than %d values",
                             MAX_STEPS);
    bool any = false;
    base_buf_str(e, "(");
    for (int64_t k = from; k <= to; k++) {
        if (integer && k * q % power(scale) != 0)
            continue;
        base_buf_str(e, any ? " | " : "");
        decimal(e, k * q, scale);
        any = true;
    }
    base_buf_str(e, ")");
    return any ? 0 : schema_refuse(c, at, BASE_EUNSUPPORTED, "no number is within these bounds");
}

/* ---- integers ---- */

static int integers(struct api_schema *c, const struct schema_at *at, struct bound lo,
                    struct bound hi, struct base_buf *e)
{
    double a = lo.have ? ceil(lo.v) : (double)-most, b = hi.have ? floor(hi.v) : (double)most;
    if (lo.have && lo.open && a <= lo.v)
        a += 1;
    if (hi.have && hi.open && b >= hi.v)
        b -= 1;
    const int64_t from = a <= (double)-most ? -most : a >= (double)most ? most : (int64_t)a;
    const int64_t to = b <= (double)-most ? -most : b >= (double)most ? most : (int64_t)b;
    if (a > b || (lo.have && a >= (double)most) || (hi.have && b <= (double)-most))
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "no integer of %d digits is within these bounds", MAX_DIGITS);
    base_buf_str(e, "(");
    if (to >= 0)
        whole(e, from > 0 ? from : 0, to);
    if (from < 0) {
        base_buf_str(e, to >= 0 ? " | \"-\" (" : "\"-\" (");
        whole(e, to < 0 ? -to : 1, -from);
        base_buf_str(e, ")");
    }
    base_buf_str(e, ")");
    return 0;
}

/* ---- numbers ---- */

#define FRACTION " (\".\" [0-9]{1,9})?"

/* "i." and a fraction of at most `scale` digits, from a to b in units of the last. */
static void fraction(struct base_buf *e, int64_t i, int64_t a, int64_t b, int scale, bool *first)
{
    for (int n = 1; n <= scale; n++) {
        const int64_t unit = power(scale - n), x = (a + unit - 1) / unit, y = b / unit;
        char from[16], to[16];
        if (x > y)
            continue;
        pad(from, x, n);
        pad(to, y, n);
        base_buf_printf(e, "%s\"%" PRId64 ".\"", *first ? "" : " | ", i);
        between(e, from, to, n);
        *first = false;
    }
}

/* Numbers of 0 <= lo … hi in units of 10^-scale, as alternatives. Away from the bounds' whole parts
 * any fraction goes; at them, one of at most `scale` decimals. */
static void reals(struct base_buf *e, int64_t lo, bool lo_open, int64_t hi, bool hi_open, int scale)
{
    const int64_t unit = power(scale), i = lo / unit, j = hi / unit;
    bool first = true;
    int64_t from = i;
    if (lo % unit != 0 || lo_open || i == j) { /* the first whole part, with some fractions */
        const int64_t a = lo % unit + lo_open, b = i < j ? unit - 1 : hi % unit - hi_open;
        if (a == 0) {
            base_buf_printf(e, "\"%" PRId64 "\"", i);
            first = false;
        }
        if (a < unit)
            fraction(e, i, a, b, scale, &first);
        from = i + 1;
    }
    if (from < j) {
        base_buf_str(e, first ? "(" : " | (");
        whole(e, from, j - 1);
        base_buf_str(e, ")" FRACTION);
        first = false;
    }
    if (j >= from) { /* the last whole part */
        const int64_t b = hi % unit - hi_open;
        if (b >= 0) {
            base_buf_printf(e, "%s\"%" PRId64 "\"", first ? "" : " | ", j);
            first = false;
        }
        if (b > 0)
            fraction(e, j, 0, b, scale, &first);
    }
}

static int numbers(struct api_schema *c, const struct schema_at *at, struct bound lo,
                   struct bound hi, struct base_buf *e)
{
    int sa = 0, sb = 0;
    int64_t a = -1000000000, b = 1000000000;
    if ((lo.have && (fabs(lo.v) > 1e9 || !scaled(lo.v, &sa, &a))) ||
        (hi.have && (fabs(hi.v) > 1e9 || !scaled(hi.v, &sb, &b))))
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "bounds of numbers are within 1e9 and have at most %d decimals",
                             MAX_SCALE);
    if (lo.have && hi.have && (lo.v > hi.v || (lo.v >= hi.v && (lo.open || hi.open))))
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "no number is within these bounds");
    /* One bound alone: as far as a number is sure to be read back as it was written. */
    if (!hi.have && a >= b)
        b = a + 1, sb = sa;
    if (!lo.have && b <= a)
        a = b - 1, sa = sb;
    const int scale = (sa > sb ? sa : sb) + 2;
    a *= power(scale - sa);
    b *= power(scale - sb);
    /* An open bound that is 0 on the way through the other sign. */
    base_buf_str(e, "(");
    if (b > 0 || (b == 0 && !hi.open)) {
        reals(e, a > 0 ? a : 0, a >= 0 && lo.open, b, hi.open, scale);
        base_buf_str(e, a < 0 ? " | " : "");
    }
    if (a < 0) {
        base_buf_str(e, "\"-\" (");
        reals(e, b < 0 ? -b : 0, b < 0 ? hi.open : true, -a, lo.open, scale);
        base_buf_str(e, ")");
    }
    base_buf_str(e, ")");
    return 0;
}

int schema_number(struct api_schema *c, const json_t *s, const struct schema_at *at, bool integer,
                  struct base_buf *e)
{
    const json_t *step = json_object_get(s, "multipleOf"), *f = json_object_get(s, "format");
    struct bound lo, hi;
    int rc = bound_get(c, s, at, "minimum", "exclusiveMinimum", false, &lo);
    if (rc == 0)
        rc = bound_get(c, s, at, "maximum", "exclusiveMaximum", true, &hi);
    if (rc != 0)
        return rc;
    if (step != NULL && !json_is_number(step))
        return schema_refuse(c, at, BASE_EFORMAT, "'multipleOf' must be a number");
    if (json_is_string(f) && strcmp(json_string_value(f), "int32") == 0) {
        if (!lo.have || lo.v < INT32_MIN)
            lo = (struct bound){true, false, INT32_MIN};
        if (!hi.have || hi.v > INT32_MAX)
            hi = (struct bound){true, false, INT32_MAX};
    }
    /* Multiples of 1 are the integers; every integer is one. */
    if (step != NULL && fabs(json_number_value(step) - 1) < 1e-12) {
        integer = true;
        step = NULL;
    }
    if (step != NULL)
        return multiples(c, at, json_number_value(step), lo, hi, integer, e);
    if (!lo.have && !hi.have) {
        c->used |= integer ? RULE_INTEGER : RULE_NUMBER;
        base_buf_str(e, integer ? "integer" : "number");
        return 0;
    }
    return integer ? integers(c, at, lo, hi, e) : numbers(c, at, lo, hi, e);
}
