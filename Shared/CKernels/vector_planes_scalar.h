// Quants in planes, in plain C.
#include "quant_planes.h"

CK_INLINE w16 w_load_u8(const uint8_t *p) { w16 r; CK_EACH r.v[i] = p[i]; return r; }
CK_INLINE w16 w_load_i8(const uint8_t *p) { w16 r; CK_EACH r.v[i] = (int8_t)p[i]; return r; }
CK_INLINE w16 w_low4(w16 a) { CK_EACH a.v[i] &= 15; return a; }
CK_INLINE w16 w_high4(w16 a) { CK_EACH a.v[i] >>= 4; return a; }
// a + b * x: b is 0...255, x within 16 bits.
CK_INLINE w16 w_add_product(w16 a, w16 b, int32_t x) { CK_EACH a.v[i] += b.v[i] * x; return a; }

// Byte `at` (0...63) of vector j.
CK_INLINE int32_t plane_quant(const uint8_t *w, int planes, int j, int at) {
    if (planes == CK_PLANES_2 || planes == CK_PLANES_2_1) {
        const int32_t two = w[64 * (j / 4) + at] >> (2 * (j % 4)) & 3;
        return planes == CK_PLANES_2 ? two : two | (w[128 + at] >> j & 1) << 2;
    }
    const int32_t four = j < 4 ? w[64 * j + at] & 15 : w[64 * (j - 4) + at] >> 4;
    switch (planes) {
    case CK_PLANES_4_1: return four | (w[256 + at] >> j & 1) << 4;
    case CK_PLANES_4_2: return four | (w[256 + 64 * (j / 4) + at] >> (2 * (j % 4)) & 3) << 4;
    case CK_PLANES_CODE: return ck_iq4_values[four];
    default: return four;
    }
}

CK_INLINE void dot_planes(const uint8_t *w, const int planes, int offset, const ck_group *x, int first, const int rows, const int part,
                          w16 *sum) {
    const int from = part == 1 ? 4 : 0, to = part == 0 ? 4 : 8;
    for (int r = 0; r < rows; r++) sum[r] = (w16){{0}};
    for (int j = from; j < to; j++)
        for (int at = 0; at < 64; at++) {
            const int32_t v = plane_quant(w, planes, j, at) - offset;
            for (int r = 0; r < rows; r++) sum[r].v[at / 4] += v * x->q[first + r][4 * j + at % 4];
        }
}
