// Repacking, gathering: memory moves and exact conversions, the same on every CPU.
#include "include/ck_panel.h"

#include <math.h>
#include <string.h>

#include "half.h"
#include "panel_awq.h"
#include "panel_planes.h"

static size_t block_bytes(int32_t format) {  // GGUF's blocks of 32
    return format == CK_Q4_0 ? 18 : format == CK_Q4_1 ? 20 : 34;
}

size_t ck_panel_bytes(int32_t format, int32_t columns) {
    const size_t n = (size_t)columns, blocks = n / CK_BLOCK;
    size_t bytes;
    if (has_planes(format)) return (planes_panel_bytes(format, columns) + 63) & ~(size_t)63;
    switch (format) {
    case CK_AWQ: return awq_panel_bytes(columns);
    case CK_F32: case CK_F32_ROWS: bytes = n * 64; break;
    case CK_F16: case CK_BF16: bytes = n * 32; break;
    case CK_Q4_0: bytes = blocks * (256 + 32); break;
    case CK_Q4_1: bytes = blocks * (256 + 64); break;
    case CK_Q8_0: bytes = blocks * (512 + 32); break;
    default: return 0;
    }
    return (bytes + 63) & ~(size_t)63;
}

static void repack_quantized(const uint8_t *source, const ck_matrix *m, int32_t panel, uint8_t *out) {
    const int32_t blocks = m->columns / CK_BLOCK;
    const size_t bytes = block_bytes(m->format), quants = m->format == CK_Q8_0 ? 512 : 256;
    const int32_t scales = m->format == CK_Q4_1 ? 2 : 1;
    uint16_t *scale = (uint16_t *)(out + (size_t)blocks * quants);
    for (int32_t lane = 0; lane < CK_LANES && panel * CK_LANES + lane < m->rows; lane++) {
        const uint8_t *block = source + ((size_t)panel * CK_LANES + (size_t)lane) * (size_t)blocks * bytes;
        uint8_t *to = out + 4 * lane;
        for (int32_t b = 0; b < blocks; b++, block += bytes, to += quants) {
            for (int32_t s = 0; s < scales; s++) memcpy(scale + (b * scales + s) * 16 + lane, block + 2 * s, 2);
            const uint8_t *q = block + 2 * scales;
            if (m->format == CK_Q8_0) {
                for (int j = 0; j < 8; j++)
                    for (int i = 0; i < 4; i++) to[64 * j + i] = q[4 * j + i] ^ 0x80;
            } else {
                for (int j = 0; j < 4; j++) memcpy(to + 64 * j, q + 4 * j, 4);
            }
        }
    }
    // Lanes without a row stay zero; a zero scale makes their outputs zero whatever their quants are.
}

// In squares of 16 by 16, so that each line of the source and of the panel is fetched once.
#define CK_TRANSPOSE(NAME, TYPE)                                                                        \
    static void NAME(const TYPE *source, int32_t columns, int32_t lanes, TYPE *out) {                    \
        for (int32_t from = 0; from < columns; from += 16) {                                             \
            const int32_t to = from + 16 < columns ? from + 16 : columns;                                \
            for (int32_t lane = 0; lane < lanes; lane++)                                                 \
                for (int32_t k = from; k < to; k++)                                                      \
                    out[k * CK_LANES + lane] = source[(size_t)lane * (size_t)columns + (size_t)k];       \
        }                                                                                                \
    }
CK_TRANSPOSE(transpose_words, uint32_t)
CK_TRANSPOSE(transpose_halves, uint16_t)

static void repack_full(const uint8_t *source, const ck_matrix *m, int32_t panel, uint8_t *out) {
    const int32_t left = m->rows - panel * CK_LANES, lanes = left < CK_LANES ? left : CK_LANES;
    const size_t at = (size_t)panel * CK_LANES * (size_t)m->columns;
    if (m->format == CK_F32) transpose_words((const uint32_t *)source + at, m->columns, lanes, (uint32_t *)out);
    else transpose_halves((const uint16_t *)source + at, m->columns, lanes, (uint16_t *)out);
}

static float expand(const uint8_t *p, int32_t format) {
    float f;
    uint16_t h;
    uint32_t bits;
    if (format == CK_F32) {
        memcpy(&f, p, 4);
        return f;
    }
    memcpy(&h, p, 2);
    if (format == CK_F16) return ck_half_to_float(h);
    bits = (uint32_t)h << 16;
    memcpy(&f, &bits, 4);
    return f;
}

void ck_repack(const uint8_t *source, int32_t source_format, const ck_matrix *m, uint8_t *destination) {
    if (m->format == CK_F32_ROWS) {
        const size_t bytes = source_format == CK_F32 ? 4 : 2, count = (size_t)m->rows * (size_t)m->columns;
        for (size_t i = 0; i < count; i++) {
            float f = expand(source + i * bytes, source_format);
            memcpy(destination + i * 4, &f, 4);
        }
        return;
    }
    for (int32_t panel = 0; panel < m->panels; panel++) {
        uint8_t *out = destination + (size_t)panel * m->panel_stride;
        if (has_planes(m->format)) {
            planes_repack(source, m, panel, out);
            continue;
        }
        if ((panel + 1) * CK_LANES > m->rows) memset(out, 0, ck_panel_bytes(m->format, m->columns));
        if (m->format <= CK_BF16) repack_full(source, m, panel, out);
        else repack_quantized(source, m, panel, out);
    }
}

void ck_gather(const ck_matrix *m, int32_t row, float *out) {
    if (has_planes(m->format)) {
        planes_gather(m, row, out);
        return;
    }
    if (m->format == CK_AWQ) {
        awq_gather(m, row, out);
        return;
    }
    if (m->format == CK_F32_ROWS) {
        memcpy(out, m->data + (size_t)row * (size_t)m->columns * 4, (size_t)m->columns * 4);
        return;
    }
    const int32_t lane = row % CK_LANES, blocks = m->columns / CK_BLOCK;
    const uint8_t *p = m->data + (size_t)(row / CK_LANES) * m->panel_stride;
    if (m->format <= CK_BF16) {
        const size_t bytes = m->format == CK_F32 ? 4 : 2;
        for (int32_t k = 0; k < m->columns; k++) out[k] = expand(p + ((size_t)k * CK_LANES + (size_t)lane) * bytes, m->format);
        return;
    }
    const size_t quants = m->format == CK_Q8_0 ? 512 : 256;
    const int32_t scales = m->format == CK_Q4_1 ? 2 : 1;
    const uint16_t *scale = (const uint16_t *)(p + (size_t)blocks * quants);
    const uint8_t *q = p + 4 * lane;
    for (int32_t b = 0; b < blocks; b++, q += quants, out += CK_BLOCK) {
        const float d = ck_half_to_float(scale[b * scales * 16 + lane]);
        const float base = scales == 2 ? ck_half_to_float(scale[(b * 2 + 1) * 16 + lane]) : 0;
        for (int k = 0; k < 32; k++) {
            if (m->format == CK_Q8_0) {
                out[k] = d * (float)((int32_t)q[64 * (k / 4) + k % 4] - 128);
            } else {
                const uint8_t byte = q[64 * (k % 16 / 4) + k % 4];
                const int32_t w = k < 16 ? byte & 15 : byte >> 4;
                out[k] = m->format == CK_Q4_0 ? d * (float)(w - 8) : fmaf(d, (float)w, base);
            }
        }
    }
}
