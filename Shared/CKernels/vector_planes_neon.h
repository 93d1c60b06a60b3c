// Quants in planes, in NEON.
#include "quant_planes.h"

CK_INLINE w16 w_from_i16(int16x8_t a, int16x8_t b) {
    return (w16){{vmovl_s16(vget_low_s16(a)), vmovl_s16(vget_high_s16(a)), vmovl_s16(vget_low_s16(b)), vmovl_s16(vget_high_s16(b))}};
}
CK_INLINE w16 w_load_u8(const uint8_t *p) {
    const uint8x16_t v = vld1q_u8(p);
    return w_from_i16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v))), vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(v))));
}
CK_INLINE w16 w_load_i8(const uint8_t *p) {
    const int8x16_t v = vreinterpretq_s8_u8(vld1q_u8(p));
    return w_from_i16(vmovl_s8(vget_low_s8(v)), vmovl_s8(vget_high_s8(v)));
}
CK_INLINE w16 w_low4(w16 a) { CK_QUADS a.q[i] = vandq_s32(a.q[i], vdupq_n_s32(15)); return a; }
CK_INLINE w16 w_high4(w16 a) { CK_QUADS a.q[i] = vshrq_n_s32(a.q[i], 4); return a; }
CK_INLINE w16 w_add_product(w16 a, w16 b, int32_t x) { CK_QUADS a.q[i] = vmlaq_n_s32(a.q[i], b.q[i], x); return a; }

// `mask` of 16 bytes moved up by n places (down for n < 0).
CK_INLINE uint8x16_t plane_bits(const uint8_t *w, const int n, uint8_t mask) {
    return vandq_u8(vshlq_u8(vld1q_u8(w), vdupq_n_s8((int8_t)n)), vdupq_n_u8(mask));
}

// A quarter of vector j as signed bytes. w points to the quarter.
CK_INLINE int8x16_t plane_vector(const uint8_t *w, const int planes, const int offset, const int j) {
    uint8x16_t v;
    if (planes == CK_PLANES_2 || planes == CK_PLANES_2_1) {
        v = plane_bits(w + 64 * (j / 4), -2 * (j % 4), 3);
        if (planes == CK_PLANES_2_1) v = vorrq_u8(v, plane_bits(w + 128, 2 - j, 4));
    } else {
        v = plane_bits(w + 64 * (j % 4), j < 4 ? 0 : -4, 15);
        if (planes == CK_PLANES_4_1) v = vorrq_u8(v, plane_bits(w + 256, 4 - j, 0x10));
        if (planes == CK_PLANES_4_2) v = vorrq_u8(v, plane_bits(w + 256 + 64 * (j / 4), 4 - 2 * (j % 4), 0x30));
        if (planes == CK_PLANES_CODE) return vqtbl1q_s8(vld1q_s8(ck_iq4_values), v);
    }
    return vsubq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8((int8_t)offset));
}

CK_INLINE void dot_planes(const uint8_t *w, const int planes, const int offset, const ck_group *x, int first, const int rows,
                          const int part, w16 *sum) {
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) CK_QUADS sum[r].q[i] = vdupq_n_s32(0);
#define CK_FOUR_COLUMNS(J) \
    if (part == 2 || part == J / 4) { \
        int8x16_t v[4]; \
        CK_QUADS v[i] = plane_vector(w + 16 * i, planes, offset, J); \
        CK_ADD_VECTOR(J, v) \
    }
    CK_FOUR_COLUMNS(0) CK_FOUR_COLUMNS(1) CK_FOUR_COLUMNS(2) CK_FOUR_COLUMNS(3)
    CK_FOUR_COLUMNS(4) CK_FOUR_COLUMNS(5) CK_FOUR_COLUMNS(6) CK_FOUR_COLUMNS(7)
#undef CK_FOUR_COLUMNS
}
