/* The end of every table's integer kernels: a copy of panels() for each form, and matmul_pack over
 * them. The including file has defined SLICE_BYTES (of panels, that a next group of rows finds in
 * L2) and panels(form, w, p0, p1, x, r0, g, y, ldy), which does panels [p0, p1) for the group of g
 * rows at r0. */
#ifndef ENG_INT_PANELS_H
#define ENG_INT_PANELS_H

#include "engine/kernels/kern_impl.h"

/* The compiler sees each form as a constant: one copy of the loops for each. */
#define FORM(name, type, ...)                                                                \
    static void name(const struct pack *w, int p0, int p1, const struct kern_act *x, int r0, \
                     int g, float *y, size_t ldy)                                            \
    {                                                                                        \
        panels((struct pack_form){.used = true, __VA_ARGS__}, w, p0, p1, x, r0, g, y, ldy);  \
    }
PACK_FORMS(FORM)
#undef FORM

#define ENTRY(name, type, ...) [type] = name,
static void (*const by_type[GGUF_TYPE_MAX])(const struct pack *w, int p0, int p1,
                                            const struct kern_act *x, int r0, int g, float *y,
                                            size_t ldy) = {PACK_FORMS(ENTRY)};
#undef ENTRY

static void matmul_pack(const struct pack *w, int p0, int p1, const struct kern_act *x, int n_x,
                        float *y, size_t ldy)
{
    const int step = (int)(SLICE_BYTES / w->panel_bytes) + 1;
    for (int p = p0; p < p1; p += step) {
        const int end = p + step < p1 ? p + step : p1;
        for (int r0 = 0, g; r0 < n_x; r0 += g) {
            g = kern_act_group(n_x - r0);
            by_type[w->type](w, p, end, x, r0, g, y, ldy);
        }
    }
}

#endif
