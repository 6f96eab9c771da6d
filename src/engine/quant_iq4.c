/* IQ4: 4-bit codes that name one of 16 unevenly spaced values. The format's table is also the
 * kernels'. */
#include "engine/quant.h"
#include "engine/quant_block.h"

const int8_t quant_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

/* 16 bytes of codes: byte i: low nibble = element i, high nibble = element i + 16. */
static void dequant_32(float d, const uint8_t *q, float *y)
{
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)quant_iq4_values[q[i] & 15];
        y[i + 16] = d * (float)quant_iq4_values[q[i] >> 4];
    }
}

/* IQ4_NL: y = d * value[q]
 *   | d f16 | 16 bytes of codes |
 *   0       2                  18   */
void quant_dequant_iq4_nl(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_IQ4_NL_BYTES, y += QUANT_BLOCK)
        dequant_32(quant_f16_to_f32(quant_rd_u16(b)), b + 2, y);
}

/* IQ4_XS: y = (d * sc[g]) * value[q], 8 groups of 32; sc of 6 bits: quant_iq4_xs_scale()
 *   | d f16 | u16: high 2 bits of sc | 4 bytes: low 4 bits of sc | 8 x 16 bytes of codes |
 *   0       2                        4                           8                     136   */
void quant_dequant_iq4_xs(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_IQ4_XS_BYTES) {
        float d = quant_f16_to_f32(quant_rd_u16(b));
        for (int g = 0; g < QUANT_SUPER / 32; g++, y += 32)
            dequant_32(d * (float)quant_iq4_xs_scale(b, g), b + 8 + 16 * g, y);
    }
}
