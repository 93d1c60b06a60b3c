// Repacking and gathering of the formats whose quants lie in planes (quant_planes.h). The file's layouts are those of ggml-common.h and
// ggml-quants.c: what a block stands for is taken over exactly, scales and quants as they are.
#include <string.h>

#include "half.h"
#include "panel_planes.h"
#include "quant_planes.h"

// A block of the file, taken apart: 32 columns, or 256 for a super-block.
typedef struct {
    uint16_t d, m;        // F16; m is dmin for a super-block
    uint8_t scale[16];    // integer scales, two's complement where they are signed; Q2_K: scale and minimum in nibbles
    uint8_t minimum[8];
    uint8_t q[256];       // unsigned
} file_block;

static size_t file_block_bytes(int32_t format) {
    switch (format) {
    case CK_Q5_0: return 22;
    case CK_Q5_1: return 24;
    case CK_IQ4_NL: return 18;
    case CK_Q2_K: return 84;
    case CK_Q3_K: return 110;
    case CK_Q4_K: return 144;
    case CK_Q5_K: return 176;
    case CK_Q6_K: return 210;
    default: return 136;  // CK_IQ4_XS
    }
}

static int32_t block_columns(int32_t format) { return is_super(format) ? 256 : 32; }

size_t planes_panel_bytes(int32_t format, int32_t columns) {
    const size_t n = (size_t)columns, quants = (size_t)plane_bytes(planes_of(format));
    if (columns % block_columns(format) != 0) return 0;
    if (is_super(format)) return n / 256 * ((size_t)super_header(format) + 8 * quants);
    return n / 32 * (quants + (has_minimum(format) ? 64 : 32));
}

// `pairs` times 32 bytes: their low nibbles are 32 columns (or 16 + 16 where `half` is 16), their high nibbles the next.
static void nibbles(const uint8_t *p, int count, int half, uint8_t *q) {
    for (int at = 0; at < count; at += half, q += 2 * half)
        for (int i = 0; i < half; i++) {
            q[i] = p[at + i] & 15;
            q[half + i] = p[at + i] >> 4;
        }
}

// 64 bytes hold 256 times two bits: 32 bytes are 128 columns, 32 for each pair of bits.
static void twos(const uint8_t *p, int shift, uint8_t *q) {
    for (int h = 0; h < 2; h++)
        for (int t = 0; t < 4; t++)
            for (int i = 0; i < 32; i++) q[128 * h + 32 * t + i] |= (uint8_t)((p[32 * h + i] >> (2 * t) & 3) << shift);
}

// 32 bytes hold 256 bits: bit t of byte i belongs to column 32t + i.
static void ones(const uint8_t *p, int shift, uint8_t *q) {
    for (int t = 0; t < 8; t++)
        for (int i = 0; i < 32; i++) q[32 * t + i] |= (uint8_t)((p[i] >> t & 1) << shift);
}

// Eight scales and eight minimums of six bits in 12 bytes.
static void six_bit_pairs(const uint8_t *p, file_block *b) {
    for (int i = 0; i < 4; i++) {
        b->scale[i] = p[i] & 63;
        b->minimum[i] = p[4 + i] & 63;
        b->scale[4 + i] = (uint8_t)((p[8 + i] & 15) | (p[i] >> 6) << 4);
        b->minimum[4 + i] = (uint8_t)(p[8 + i] >> 4 | (p[4 + i] >> 6) << 4);
    }
}

static void take_apart(const uint8_t *p, int32_t format, file_block *b) {
    switch (format) {
    case CK_IQ4_NL:
        memcpy(&b->d, p, 2);
        nibbles(p + 2, 16, 16, b->q);
        break;
    case CK_Q5_0: case CK_Q5_1: {
        memcpy(&b->d, p, 2);
        if (format == CK_Q5_1) memcpy(&b->m, p + 2, 2);
        p += format == CK_Q5_1 ? 4 : 2;
        nibbles(p + 4, 16, 16, b->q);
        for (int k = 0; k < 32; k++) b->q[k] |= (uint8_t)((p[k / 8] >> (k % 8) & 1) << 4);
        break;
    }
    case CK_Q2_K:
        memcpy(b->scale, p, 16);
        memset(b->q, 0, 256);
        twos(p + 16, 0, b->q);
        memcpy(&b->d, p + 80, 2);
        memcpy(&b->m, p + 82, 2);
        break;
    case CK_Q3_K:
        memset(b->q, 0, 256);
        ones(p, 2, b->q);
        twos(p + 32, 0, b->q);
        for (int i = 0; i < 16; i++) {
            const int low = i < 8 ? p[96 + i] & 15 : p[96 + i - 8] >> 4, high = p[104 + i % 4] >> (2 * (i / 4)) & 3;
            b->scale[i] = (uint8_t)((low | high << 4) - 32);
        }
        memcpy(&b->d, p + 108, 2);
        break;
    case CK_Q4_K:
        memcpy(&b->d, p, 2);
        memcpy(&b->m, p + 2, 2);
        six_bit_pairs(p + 4, b);
        nibbles(p + 16, 128, 32, b->q);
        break;
    case CK_Q5_K:
        memcpy(&b->d, p, 2);
        memcpy(&b->m, p + 2, 2);
        six_bit_pairs(p + 4, b);
        nibbles(p + 48, 128, 32, b->q);
        ones(p + 16, 4, b->q);
        break;
    case CK_Q6_K:
        nibbles(p, 128, 64, b->q);
        twos(p + 128, 4, b->q);
        memcpy(b->scale, p + 192, 16);
        memcpy(&b->d, p + 208, 2);
        break;
    default:  // CK_IQ4_XS
        memcpy(&b->d, p, 2);
        for (int i = 0; i < 8; i++) {
            const int low = p[4 + i / 2] >> (4 * (i % 2)) & 15, high = p[2 + i / 4] >> (2 * (i % 4)) & 3;
            b->scale[i] = (uint8_t)((low | high << 4) - 32);
        }
        nibbles(p + 8, 128, 16, b->q);
    }
}

// 32 quants of one lane into the planes of a block, whose bytes were zero. `to` is the block's first byte of the lane.
static void put_planes(const uint8_t *q, int planes, uint8_t *to) {
    for (int j = 0; j < 8; j++) {
        uint32_t v, old;
        memcpy(&v, q + 4 * j, 4);
#define CK_PUT(AT, BITS, SHIFT)                        \
        do {                                            \
            memcpy(&old, to + (AT), 4);                 \
            old |= (uint32_t)(BITS) << (SHIFT);         \
            memcpy(to + (AT), &old, 4);                 \
        } while (0)
        if (planes == CK_PLANES_2 || planes == CK_PLANES_2_1) {
            CK_PUT(64 * (j / 4), v & 0x03030303u, 2 * (j % 4));
            if (planes == CK_PLANES_2_1) CK_PUT(128, v >> 2 & 0x01010101u, j);
        } else {
            CK_PUT(64 * (j % 4), v & 0x0f0f0f0fu, j < 4 ? 0 : 4);
            if (planes == CK_PLANES_4_1) CK_PUT(256, v >> 4 & 0x01010101u, j);
            if (planes == CK_PLANES_4_2) CK_PUT(256 + 64 * (j / 4), v >> 4 & 0x03030303u, 2 * (j % 4));
        }
#undef CK_PUT
    }
}

void planes_repack(const uint8_t *source, const ck_matrix *m, int32_t panel, uint8_t *out) {
    const int32_t format = m->format, planes = planes_of(format), blocks = m->columns / block_columns(format);
    const size_t file_bytes = file_block_bytes(format), quants = (size_t)plane_bytes(planes);
    const int32_t scales = scale_columns(format) == 16 ? 16 : 8;
    // Lanes without a row stay zero, and so do their outputs: their scale is zero.
    memset(out, 0, ck_panel_bytes(format, m->columns));
    file_block b;
    memset(&b, 0, sizeof b);
    for (int32_t lane = 0; lane < CK_LANES && panel * CK_LANES + lane < m->rows; lane++) {
        const uint8_t *p = source + ((size_t)panel * CK_LANES + (size_t)lane) * (size_t)blocks * file_bytes;
        if (!is_super(format)) {
            uint16_t *scale = (uint16_t *)(out + (size_t)blocks * quants) + lane;
            for (int32_t i = 0; i < blocks; i++, p += file_bytes) {
                take_apart(p, format, &b);
                put_planes(b.q, planes, out + (size_t)i * quants + 4 * lane);
                *scale = b.d;
                scale += 16;
                if (!has_minimum(format)) continue;
                *scale = b.m;
                scale += 16;
            }
            continue;
        }
        uint8_t *to = out;
        for (int32_t i = 0; i < blocks; i++, p += file_bytes) {
            take_apart(p, format, &b);
            ((uint16_t *)to)[lane] = b.d;
            if (has_minimum(format)) ((uint16_t *)to)[16 + lane] = b.m;
            for (int s = 0; s < scales; s++) to[64 + 16 * s + lane] = b.scale[s];
            if (format == CK_Q4_K || format == CK_Q5_K)
                for (int s = 0; s < 8; s++) to[192 + 16 * s + lane] = b.minimum[s];
            to += super_header(format);
            for (int k = 0; k < 8; k++, to += quants) put_planes(b.q + 32 * k, planes, to + 4 * lane);
        }
    }
}

// The reverse of put_planes: 32 quants of one lane, as whole numbers in units of their scale.
static void read_planes(const uint8_t *from, int32_t format, float *q) {
    const int planes = planes_of(format), offset = quant_offset(format);
    uint8_t bytes[32];
    for (int j = 0; j < 8; j++) {
        uint32_t v, more;
#define CK_TAKE(TO, AT, SHIFT, MASK)           \
        do {                                    \
            memcpy(&(TO), from + (AT), 4);      \
            (TO) = (TO) >> (SHIFT) & (MASK);    \
        } while (0)
        if (planes == CK_PLANES_2 || planes == CK_PLANES_2_1) CK_TAKE(v, 64 * (j / 4), 2 * (j % 4), 0x03030303u);
        else CK_TAKE(v, 64 * (j % 4), j < 4 ? 0 : 4, 0x0f0f0f0fu);
        if (planes == CK_PLANES_2_1) {
            CK_TAKE(more, 128, j, 0x01010101u);
            v |= more << 2;
        } else if (planes == CK_PLANES_4_1) {
            CK_TAKE(more, 256, j, 0x01010101u);
            v |= more << 4;
        } else if (planes == CK_PLANES_4_2) {
            CK_TAKE(more, 256 + 64 * (j / 4), 2 * (j % 4), 0x03030303u);
            v |= more << 4;
        }
#undef CK_TAKE
        memcpy(bytes + 4 * j, &v, 4);
    }
    if (planes == CK_PLANES_CODE)
        for (int k = 0; k < 32; k++) q[k] = (float)ck_iq4_values[bytes[k]];
    else
        for (int k = 0; k < 32; k++) q[k] = (float)((int32_t)bytes[k] - offset);
}

// As if fused, in two steps: where there is a base, w has 17 bits at most and q five, so that their product is exact.
static void scale_up(const float *q, int count, float w, float base, float *out) {
    for (int k = 0; k < count; k++) out[k] = w * q[k] + base;
}

void planes_gather(const ck_matrix *m, int32_t row, float *out) {
    const int32_t format = m->format, lane = row % CK_LANES;
    const size_t quants = (size_t)plane_bytes(planes_of(format));
    const uint8_t *p = m->data + (size_t)(row / CK_LANES) * m->panel_stride;
    float q[32];
    if (!is_super(format)) {
        const int32_t blocks = m->columns / 32;
        const uint16_t *scale = (const uint16_t *)(p + (size_t)blocks * quants) + lane;
        for (int32_t b = 0; b < blocks; b++, p += quants, out += 32) {
            read_planes(p + 4 * lane, format, q);
            // -0 leaves the product as it is, zeros with their sign too.
            scale_up(q, 32, ck_half_to_float(*scale), has_minimum(format) ? ck_half_to_float(scale[16]) : -0.0f, out);
            scale += has_minimum(format) ? 32 : 16;
        }
        return;
    }
    const int32_t share = scale_columns(format);
    for (int32_t s = 0; s < m->columns / 256; s++) {
        const uint8_t *scale = p + 64 + lane;
        const float d = ck_half_to_float(((const uint16_t *)p)[lane]), dmin = ck_half_to_float(((const uint16_t *)p)[16 + lane]);
        p += super_header(format);
        for (int32_t b = 0; b < 8; b++, p += quants) {
            read_planes(p + 4 * lane, format, q);
            for (int k = 0; k < 32; k += share, out += share) {
                const uint8_t integer = scale[16 * ((32 * b + k) / share)];
                if (format == CK_Q2_K) scale_up(q + k, share, d * (float)(integer & 15), -(dmin * (float)(integer >> 4)), out);
                else if (has_minimum(format)) scale_up(q + k, share, d * (float)integer, -(dmin * (float)scale[128 + 16 * b]), out);
                else scale_up(q + k, share, d * (float)(int8_t)integer, -0.0f, out);
            }
        }
    }
}
