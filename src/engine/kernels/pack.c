/* Tensor rows -> panels. Plain C over one block of 16 rows at a time: it runs once a load, and what
 * it writes is the same on every CPU. */
#include "engine/kernels/pack.h"

#include <assert.h>
#include <string.h>

#include "engine/quant_block.h"

#define FORM(name, type, ...) [type] = {.used = true, __VA_ARGS__},
static const struct pack_form forms[GGUF_TYPE_MAX] = {PACK_FORMS(FORM)};
#undef FORM

const struct pack_form *pack_form_of(uint32_t type)
{
    return type < GGUF_TYPE_MAX && forms[type].used ? &forms[type] : NULL;
}

void pack_plan(struct pack *p, uint32_t type, int n_in, int n_out)
{
    *p = (struct pack){.form = pack_form_of(type), .type = type, .n_in = n_in, .n_out = n_out};
    if (p->form == NULL)
        return;
    const size_t n_block = (size_t)n_in / PACK_BLOCK, n_super = n_block / PACK_SUPER;
    p->n_panel = (n_out + PACK_OUT - 1) / PACK_OUT;
    p->code_bytes = pack_code_bytes(p->form->code);
    p->scale_at = n_block * p->code_bytes;
    const size_t scales = n_block * pack_scale_bytes(p->form) + n_super * pack_super_bytes(p->form);
    p->panel_bytes = p->scale_at + (scales + PACK_VEC - 1) / PACK_VEC * PACK_VEC;
}

/* ---- one row's block: codes in order, scales ---- */

struct block {
    uint8_t code[PACK_BLOCK];
    uint16_t d, m; /* f16; of the super-block if nested */
    uint8_t s[2], n[2];
};

static void nibbles(uint8_t *code, const uint8_t *q)
{
    for (int i = 0; i < 16; i++) {
        code[i] = q[i] & 15;
        code[i + 16] = q[i] >> 4;
    }
}

static void fifth_bits(uint8_t *code, uint32_t hi)
{
    for (int i = 0; i < 32; i++)
        code[i] |= (uint8_t)((hi >> i & 1) << 4);
}

/* Group g of eight of the K types: 32 bytes share out their bits between groups. */
static void fields(uint8_t *code, const uint8_t *q, int shift, int mask)
{
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)(q[i] >> shift & mask);
}

static void add_fields(uint8_t *code, const uint8_t *q, int shift, int mask, int up)
{
    for (int i = 0; i < 32; i++)
        code[i] |= (uint8_t)((q[i] >> shift & mask) << up);
}

static uint16_t negative(uint16_t f16)
{
    return f16 ^ 0x8000u;
}

static void read_k4_scales(struct block *o, const uint8_t *b, int g)
{
    int s, n;
    quant_k4_scale_min(b + 4, g, &s, &n);
    o->d = quant_rd_u16(b);
    o->m = negative(quant_rd_u16(b + 2));
    o->s[0] = (uint8_t)s;
    o->n[0] = (uint8_t)n;
}

/* Block i of a row. Layouts: quant.c, quant_k.c, quant_iq4.c. */
static void read_block(struct block *o, uint32_t type, const uint8_t *row, int i)
{
    const int g = i % PACK_SUPER;
    const size_t at = (size_t)i, super = (size_t)(i / PACK_SUPER);
    const uint8_t *b;
    switch (type) {
    case GGUF_Q4_0:
    case GGUF_IQ4_NL:
        b = row + at * QUANT_Q4_0_BYTES;
        o->d = quant_rd_u16(b);
        nibbles(o->code, b + 2);
        return;
    case GGUF_Q4_1:
        b = row + at * QUANT_Q4_1_BYTES;
        o->d = quant_rd_u16(b);
        o->m = quant_rd_u16(b + 2);
        nibbles(o->code, b + 4);
        return;
    case GGUF_Q5_0:
        b = row + at * QUANT_Q5_0_BYTES;
        o->d = quant_rd_u16(b);
        nibbles(o->code, b + 6);
        fifth_bits(o->code, quant_rd_u32(b + 2));
        return;
    case GGUF_Q5_1:
        b = row + at * QUANT_Q5_1_BYTES;
        o->d = quant_rd_u16(b);
        o->m = quant_rd_u16(b + 2);
        nibbles(o->code, b + 8);
        fifth_bits(o->code, quant_rd_u32(b + 4));
        return;
    case GGUF_Q8_0:
        b = row + at * QUANT_Q8_0_BYTES;
        o->d = quant_rd_u16(b);
        for (int k = 0; k < 32; k++)
            o->code[k] = b[2 + k] ^ 0x80u; /* i8 + 128 */
        return;
    case GGUF_IQ4_XS:
        b = row + super * QUANT_IQ4_XS_BYTES;
        o->d = quant_rd_u16(b);
        o->s[0] = (uint8_t)quant_iq4_xs_scale(b, g);
        nibbles(o->code, b + 8 + 16 * g);
        return;
    case GGUF_Q2_K:
        b = row + super * QUANT_Q2_K_BYTES;
        o->d = quant_rd_u16(b + 80);
        o->m = negative(quant_rd_u16(b + 82));
        for (int h = 0; h < 2; h++) {
            o->s[h] = b[2 * g + h] & 15;
            o->n[h] = b[2 * g + h] >> 4;
        }
        fields(o->code, b + 16 + g / 4 * 32, g % 4 * 2, 3);
        return;
    case GGUF_Q3_K:
        b = row + super * QUANT_Q3_K_BYTES;
        o->d = quant_rd_u16(b + 108);
        for (int h = 0; h < 2; h++)
            o->s[h] = (uint8_t)quant_k3_scale(b + 96, 2 * g + h);
        fields(o->code, b + 32 + g / 4 * 32, g % 4 * 2, 3);
        add_fields(o->code, b, g, 1, 2);
        return;
    case GGUF_Q4_K:
        b = row + super * QUANT_Q4_K_BYTES;
        read_k4_scales(o, b, g);
        fields(o->code, b + 16 + g / 2 * 32, g % 2 * 4, 15);
        return;
    case GGUF_Q5_K:
        b = row + super * QUANT_Q5_K_BYTES;
        read_k4_scales(o, b, g);
        fields(o->code, b + 48 + g / 2 * 32, g % 2 * 4, 15);
        add_fields(o->code, b + 16, g, 1, 4);
        return;
    case GGUF_Q6_K:
        b = row + super * QUANT_Q6_K_BYTES;
        o->d = quant_rd_u16(b + 208);
        for (int h = 0; h < 2; h++)
            o->s[h] = b[192 + 2 * g + h];
        fields(o->code, b + g / 4 * 64 + g % 2 * 32, g % 4 / 2 * 4, 15);
        add_fields(o->code, b + 128 + g / 4 * 32, g % 4 * 2, 3, 4);
        return;
    default:
        assert(!"a type without a form");
    }
}

/* ---- 16 rows' block into a panel ---- */

static void write_codes(uint8_t *dst, enum pack_code code, const struct block o[PACK_OUT])
{
    uint8_t v[8][PACK_VEC];
    for (int j = 0; j < 8; j++)
        for (int r = 0; r < PACK_OUT; r++)
            memcpy(v[j] + 4 * r, o[r].code + 4 * j, 4);
    if (code == PACK_CODE_8) {
        memcpy(dst, v, sizeof v);
        return;
    }
    for (int j = 0; j < 4; j++, dst += PACK_VEC)
        for (int i = 0; i < PACK_VEC; i++)
            dst[i] = (uint8_t)((v[j][i] & 15) | v[j + 4][i] << 4);
    if (code == PACK_CODE_5) {
        memset(dst, 0, PACK_VEC);
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < PACK_VEC; i++)
                dst[i] |= (uint8_t)((v[j][i] >> 4 & 1) << j);
    } else if (code == PACK_CODE_6) {
        memset(dst, 0, 2 * PACK_VEC);
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < PACK_VEC; i++)
                dst[j / 4 * PACK_VEC + i] |= (uint8_t)((v[j][i] >> 4 & 3) << j % 4 * 2);
    }
}

static void write_f16(uint8_t *dst, const struct pack_form *f, const struct block o[PACK_OUT])
{
    for (int r = 0; r < PACK_OUT; r++) {
        quant_wr_u16(dst + 2 * r, o[r].d);
        if (f->min)
            quant_wr_u16(dst + 2 * PACK_OUT + 2 * r, o[r].m);
    }
}

static void write_small(uint8_t *dst, const struct pack_form *f, const struct block o[PACK_OUT])
{
    for (int h = 0; h < (f->halves ? 2 : 1); h++) {
        for (int r = 0; r < PACK_OUT; r++)
            dst[r] = o[r].s[h];
        dst += PACK_OUT;
        for (int r = 0; r < PACK_OUT && f->min; r++)
            dst[r] = o[r].n[h];
        dst += f->min ? PACK_OUT : 0;
    }
}

void pack_panels(const struct pack *p, const void *rows, size_t row_bytes, int p0, int p1,
                 uint8_t *dst)
{
    const int n_block = p->n_in / PACK_BLOCK;
    for (int panel = p0; panel < p1; panel++) {
        uint8_t *code = dst + (size_t)panel * p->panel_bytes, *scale = code + p->scale_at;
        const int first = panel * PACK_OUT;
        const int n = p->n_out - first < PACK_OUT ? p->n_out - first : PACK_OUT;
        struct block o[PACK_OUT];
        memset(o, 0, sizeof o);
        for (int i = 0; i < n_block; i++, code += p->code_bytes) {
            for (int r = 0; r < n; r++)
                read_block(&o[r], p->type, (const uint8_t *)rows + (size_t)(first + r) * row_bytes,
                           i);
            write_codes(code, p->form->code, o);
            if (!p->form->nested || i % PACK_SUPER == 0) {
                write_f16(scale, p->form, o);
                scale += p->form->nested ? pack_super_bytes(p->form) : pack_scale_bytes(p->form);
            }
            if (p->form->nested) {
                write_small(scale, p->form, o);
                scale += pack_scale_bytes(p->form);
            }
        }
    }
}
