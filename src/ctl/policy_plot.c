/* The frontier as SVG: quality, time and bytes over the share that the device finishes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/policy_tune.h"

enum { WIDTH = 880, LEFT = 86, RIGHT = 190, TOP = 96, GAP = 34 };

struct axis {
    double lo, hi, step;
    int digits; /* of its labels, behind the point */
};

struct panel {
    enum tune_metric metric;
    const char *name;
    double scale; /* of what is shown */
    int y, height;
    struct axis axis;
};

struct plot {
    const struct tune *t;
    struct base_buf *out;
    struct axis x;
    struct tune_point front[TUNE_N_BIN], tied[TUNE_N_TIED]; /* by edge share */
    int n_front, n_tied;
};

/* Colours once for paper and once for a dark screen: many viewers know no CSS variables. */
#define COLOURS(bg, ink, soft, grid, front, tied, goal)                                         \
    ".bg,.now{fill:" bg "} text,.h{fill:" ink "} .soft{fill:" soft "} .grid{stroke:" grid "} "  \
    ".frame{stroke:" soft "} .front{stroke:" front "} .dot,.best{fill:" front "} "              \
    ".tied{stroke:" tied "} .fixed{fill:" tied "} .best,.fixed{stroke:" bg "} .now{stroke:" ink \
    "} .goal,.goaltext{fill:" goal "} .goalline{stroke:" goal "}"

static const char style[] =
    "<style>\n"
    "svg{font:13px 'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif} "
    ".h{font-size:19px;font-weight:600} .p,.goaltext{font-weight:600} .frame{stroke-opacity:.45;"
    "fill:none} .front{stroke-width:2.5;fill:none;stroke-linejoin:round} .tied{stroke-width:2;"
    "stroke-dasharray:6 4;fill:none} .best,.fixed,.now{stroke-width:2} .goal{fill-opacity:.15} "
    ".goaltext{fill-opacity:1} .goalline{stroke-width:1.5} .e{text-anchor:end} "
    ".m{text-anchor:middle}\n" COLOURS(
        "#ffffff", "#1c2733", "#66737f", "#e6eaee", "#0b69c7", "#c9640a",
        "#2e8b57") "\n"
                   "@media (prefers-color-scheme: dark) {" COLOURS("#14181d", "#e8edf2", "#93a0ad",
                                                                   "#2a323a", "#5ab0ff", "#ffa657",
                                                                   "#5fce93") "}\n"
                                                                              "</style>\n";

/* 1, 2 or 5 times a power of ten, about n steps. */
static struct axis axis_of(double lo, double hi, int n)
{
    struct axis a;
    double room = hi > lo ? (hi - lo) * 0.06 : fmax(1e-6, fabs(hi) * 0.05);
    double raw = (hi - lo + 2.0 * room) / n, unit = pow(10.0, floor(log10(raw)));

    a.step = unit * (raw / unit <= 1.0   ? 1.0
                     : raw / unit <= 2.0 ? 2.0
                     : raw / unit <= 5.0 ? 5.0
                                         : 10.0);
    a.lo = floor((lo - room) / a.step) * a.step;
    a.hi = ceil((hi + room) / a.step) * a.step;
    a.digits = a.step >= 1.0 ? 0 : (int)ceil(-log10(a.step) - 1e-9);
    return a;
}

static double px(const struct plot *p, double edge)
{
    return LEFT + (edge - p->x.lo) / (p->x.hi - p->x.lo) * (WIDTH - LEFT - RIGHT);
}

static double py(const struct panel *n, const struct tune_sum *s)
{
    double v = tune_metric(s, n->metric) * n->scale;
    return n->y + n->height - (v - n->axis.lo) / (n->axis.hi - n->axis.lo) * n->height;
}

static int by_edge(const void *pa, const void *pb)
{
    const struct tune_point *a = pa, *b = pb;
    double x = tune_metric(&a->sum, TUNE_EDGE), y = tune_metric(&b->sum, TUNE_EDGE);
    return (x > y) - (x < y);
}

static void span(const struct tune_sum *s, enum tune_metric m, double *lo, double *hi)
{
    double v = tune_metric(s, m);
    *lo = fmin(*lo, v);
    *hi = fmax(*hi, v);
}

static struct axis span_all(const struct plot *p, enum tune_metric m, double scale, int steps)
{
    double lo = INFINITY, hi = -INFINITY;

    for (int i = 0; i < p->n_front; i++)
        span(&p->front[i].sum, m, &lo, &hi);
    for (int i = 0; i < p->n_tied; i++)
        span(&p->tied[i].sum, m, &lo, &hi);
    span(&p->t->now.sum, m, &lo, &hi);
    span(&p->t->best.sum, m, &lo, &hi);
    struct axis a = axis_of(lo * scale, hi * scale, steps);
    if (m == TUNE_EDGE) {
        a.lo = fmax(a.lo, 0.0);
        a.hi = fmin(a.hi, 1.0);
    } else if (lo >= 0.0) {
        a.lo = fmax(a.lo, 0.0);
    }
    return a;
}

/* Text from outside. */
static void put_text(struct base_buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '&' || *s == '<' || *s == '>')
            base_buf_str(out, *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : "&gt;");
        else
            ctl_policy_safe(out, s, 1);
    }
}

static void put_line(const struct plot *p, const struct panel *n, const struct tune_point *pt,
                     int n_pt, const char *class)
{
    base_buf_printf(p->out, "<polyline class=\"%s\" points=\"", class);
    for (int i = 0; i < n_pt; i++)
        base_buf_printf(p->out, "%.1f,%.1f ", px(p, tune_metric(&pt[i].sum, TUNE_EDGE)),
                        py(n, &pt[i].sum));
    base_buf_str(p->out, "\"/>\n");
}

static void put_values(const struct plot *p, const struct tune_point *pt)
{
    base_buf_str(p->out, "<title>");
    for (int k = 0; k < p->t->n_number; k++) {
        base_buf_str(p->out, k > 0 ? "&#10;" : "");
        put_text(p->out, p->t->number[k].rule);
        base_buf_str(p->out, ": ");
        put_text(p->out, p->t->number[k].fact);
        base_buf_printf(p->out, " %s %.6g", p->t->number[k].op, pt->value[k]);
    }
    base_buf_printf(p->out, "&#10;on the device %.1f %%, quality %.4f</title>",
                    100.0 * tune_metric(&pt->sum, TUNE_EDGE), tune_metric(&pt->sum, TUNE_QUALITY));
}

static void put_mark(const struct plot *p, const struct panel *n, const struct tune_point *pt,
                     const char *class, double r)
{
    double x = px(p, tune_metric(&pt->sum, TUNE_EDGE)), y = py(n, &pt->sum);
    if (strcmp(class, "fixed") == 0)
        base_buf_printf(p->out,
                        "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                        "height=\"%.1f\" transform=\"rotate(45 %.1f %.1f)\">",
                        class, x - r, y - r, 2 * r, 2 * r, x, y);
    else
        base_buf_printf(p->out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\">", class,
                        x, y, r);
    put_values(p, pt);
    base_buf_str(p->out, strcmp(class, "fixed") == 0 ? "</rect>\n" : "</circle>\n");
}

static void put_grid(const struct plot *p, const struct panel *n, bool last)
{
    int right = WIDTH - RIGHT;

    for (double v = n->axis.lo; v <= n->axis.hi + n->axis.step * 1e-6; v += n->axis.step) {
        double y = n->y + n->height - (v - n->axis.lo) / (n->axis.hi - n->axis.lo) * n->height;
        base_buf_printf(p->out,
                        "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                        "<text class=\"soft e\" x=\"%d\" y=\"%.1f\">%.*f</text>\n",
                        LEFT, right, y, y, LEFT - 8, y + 4, n->axis.digits, v);
    }
    for (double v = p->x.lo; v <= p->x.hi + p->x.step * 1e-6; v += p->x.step) {
        base_buf_printf(p->out,
                        "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>",
                        px(p, v), px(p, v), n->y, n->y + n->height);
        if (last)
            base_buf_printf(p->out, "<text class=\"soft m\" x=\"%.1f\" y=\"%d\">%.0f %%</text>",
                            px(p, v), n->y + n->height + 20, 100.0 * v);
    }
    base_buf_printf(p->out,
                    "\n<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
                    "<text class=\"p\" x=\"%d\" y=\"%d\">%s</text>\n",
                    LEFT, n->y, right - LEFT, n->height, LEFT, n->y - 9, n->name);
}

static void put_goal(const struct plot *p, const struct panel *n)
{
    for (int i = 0; i < p->t->n_goal; i++) {
        const struct tune_goal *g = &p->t->goal[i];
        if (g->metric != TUNE_EDGE || g->value < p->x.lo || g->value > p->x.hi)
            continue;
        double x = px(p, g->value);
        double from = g->sign < 0 ? LEFT : g->sign > 0 ? x : px(p, fmax(p->x.lo, g->value - 0.01));
        double to = g->sign > 0   ? WIDTH - RIGHT
                    : g->sign < 0 ? x
                                  : px(p, fmin(p->x.hi, g->value + 0.01));
        base_buf_printf(p->out,
                        "<rect class=\"goal\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>"
                        "<line class=\"goalline\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n",
                        from, n->y, to - from, n->height, x, x, n->y, n->y + n->height);
        if (n->metric == TUNE_QUALITY)
            base_buf_printf(p->out,
                            "<text class=\"goaltext m\" x=\"%.1f\" y=\"%d\">goal %s%.4g %%"
                            "</text>\n",
                            x, n->y - 9,
                            g->sign > 0   ? "≥ "
                            : g->sign < 0 ? "≤ "
                                          : "",
                            100.0 * g->value);
    }
}

static void put_side(const struct plot *p, const struct panel *n, int line, const char *mark,
                     const char *name, const struct tune_point *pt)
{
    int x = WIDTH - RIGHT + 22, y = n->y + 14 + 40 * line;
    double v = tune_metric(&pt->sum, n->metric) * n->scale;

    base_buf_printf(p->out,
                    "<circle class=\"%s\" cx=\"%d\" cy=\"%d\" r=\"6\"/>"
                    "<text x=\"%d\" y=\"%d\">%s</text>"
                    "<text class=\"soft\" x=\"%d\" y=\"%d\">%.*f at %.1f %%</text>\n",
                    mark, x, y, x + 14, y + 4, name, x + 14, y + 20,
                    n->metric == TUNE_QUALITY ? 4 : 1, v, 100.0 * tune_metric(&pt->sum, TUNE_EDGE));
}

static void put_panel(const struct plot *p, const struct panel *n, bool last)
{
    put_grid(p, n, last);
    put_goal(p, n);
    if (p->n_tied > 1)
        put_line(p, n, p->tied, p->n_tied, "tied");
    put_line(p, n, p->front, p->n_front, "front");
    for (int i = 0; i < p->n_front; i++)
        put_mark(p, n, &p->front[i], "dot", 2.5);
    put_mark(p, n, &p->t->now, "now", 6.0);
    if (p->n_tied > 1)
        put_mark(p, n, &p->t->fixed, "fixed", 5.0);
    put_mark(p, n, &p->t->best, "best", 7.0);
    put_side(p, n, 0, "best", "tuned", &p->t->best);
    if (p->n_tied > 1)
        put_side(p, n, 1, "fixed", "one threshold", &p->t->fixed);
    put_side(p, n, p->n_tied > 1 ? 2 : 1, "now", "as it was", &p->t->now);
}

int tune_plot(const struct tune *t, const char *title, struct base_buf *out)
{
    struct panel panel[] = {
        {TUNE_QUALITY, "quality of answers", 1.0, TOP, 260, {.lo = 0.0}},
        {TUNE_MS, "mean time, ms", 1.0, 0, 130, {.lo = 0.0}},
        {TUNE_BYTES, "bytes out a request", 1.0, 0, 130, {.lo = 0.0}},
    };
    struct plot *p = calloc(1, sizeof *p);
    int height = TOP;

    if (p == NULL)
        return BASE_ENOMEM;
    p->t = t;
    p->out = out;
    p->n_front = t->n_frontier;
    p->n_tied = t->n_tied;
    memcpy(p->front, t->frontier, sizeof t->frontier);
    memcpy(p->tied, t->tied, sizeof t->tied);
    qsort(p->front, (size_t)p->n_front, sizeof p->front[0], by_edge);
    qsort(p->tied, (size_t)p->n_tied, sizeof p->tied[0], by_edge);
    p->x = span_all(p, TUNE_EDGE, 1.0, 8);
    for (int i = 0; i < 3; i++) {
        panel[i].axis = span_all(p, panel[i].metric, panel[i].scale, i == 0 ? 6 : 4);
        panel[i].y = height;
        height += panel[i].height + GAP;
    }
    height += 34;
    base_buf_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
        "height=\"%d\" role=\"img\">\n%s<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n"
        "<text class=\"h\" x=\"%d\" y=\"34\">",
        WIDTH, height, WIDTH, height, style, WIDTH, height, LEFT - 54);
    put_text(out, title);
    base_buf_printf(
        out,
        "</text>\n<text class=\"soft\" x=\"%d\" y=\"56\">What can be had: each point of "
        "the line is a choice of %d numbers. Dashed: one number for all.</text>\n",
        LEFT - 54, t->n_number);
    for (int i = 0; i < 3; i++)
        put_panel(p, &panel[i], i == 2);
    base_buf_printf(out,
                    "<text class=\"soft m\" x=\"%d\" y=\"%d\">requests finished on the device"
                    "</text>\n</svg>\n",
                    (LEFT + WIDTH - RIGHT) / 2, height - 12);
    free(p);
    return out->err;
}
