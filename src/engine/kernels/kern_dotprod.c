/* Packed weights by the dot products of ARMv8.2 (Cortex-A55, A76 and later). */
#include <arm_neon.h>

#include "engine/kernels/neon_dot.h"

enum { STEP = 1 };

SPECIALISE void arrange(int8x16_t c[2][8])
{
    (void)c;
}

SPECIALISE void dots_step(struct pack_form f, int8x16_t c[2][8], const int8_t *q, int j0, int n,
                          const int32_t *minus, int32x4_t isum[STEP][2])
{
    const struct row x = load_row(q);
    dots(f, c, &x, j0, n, minus, isum[0]);
}

#include "engine/kernels/neon_tile.h"

void kern_dotprod_init(struct kern_ops *ops)
{
    ops->matmul_pack = matmul_pack;
}
