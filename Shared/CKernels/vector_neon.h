// 16 virtual lanes in four NEON registers; with CK_USE_SDOT, four products of signed bytes are added exactly by one instruction
// (Armv8.2).
#include <string.h>

#include "half.h"

#define CK_INLINE static inline __attribute__((always_inline))

typedef struct { float32x4_t q[4]; } v16;
typedef struct { int32x4_t q[4]; } w16;

#define CK_QUADS _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++)

CK_INLINE v16 v_load(const float *p) { v16 r; CK_QUADS r.q[i] = vld1q_f32(p + 4 * i); return r; }
CK_INLINE void v_store(float *p, v16 a) { CK_QUADS vst1q_f32(p + 4 * i, a.q[i]); }
CK_INLINE v16 v_set1(float x) { v16 r; CK_QUADS r.q[i] = vdupq_n_f32(x); return r; }
CK_INLINE v16 v_zero(void) { return v_set1(0); }
CK_INLINE v16 v_add(v16 a, v16 b) { CK_QUADS a.q[i] = vaddq_f32(a.q[i], b.q[i]); return a; }
CK_INLINE v16 v_sub(v16 a, v16 b) { CK_QUADS a.q[i] = vsubq_f32(a.q[i], b.q[i]); return a; }
CK_INLINE v16 v_mul(v16 a, v16 b) { CK_QUADS a.q[i] = vmulq_f32(a.q[i], b.q[i]); return a; }
CK_INLINE v16 v_div(v16 a, v16 b) { CK_QUADS a.q[i] = vdivq_f32(a.q[i], b.q[i]); return a; }
CK_INLINE v16 v_fma(v16 a, v16 b, v16 c) { CK_QUADS c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]); return c; }
// FMAX and FMIN would give a NaN where either operand is one; the contract gives the second operand.
CK_INLINE v16 v_max(v16 a, v16 b) { CK_QUADS a.q[i] = vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]); return a; }
CK_INLINE v16 v_min(v16 a, v16 b) { CK_QUADS a.q[i] = vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]); return a; }
CK_INLINE v16 v_where_less(v16 a, v16 b, v16 x, v16 y) {
    CK_QUADS x.q[i] = vbslq_f32(vcltq_f32(a.q[i], b.q[i]), x.q[i], y.q[i]);
    return x;
}
CK_INLINE v16 v_keep_nan(v16 a, v16 x) {
    CK_QUADS x.q[i] = vbslq_f32(vceqq_f32(a.q[i], a.q[i]), x.q[i], a.q[i]);
    return x;
}
CK_INLINE v16 v_first(int n, v16 a, v16 b) {
    static const int32_t lanes[4] = {0, 1, 2, 3};
    const int32x4_t lane = vld1q_s32(lanes);
    CK_QUADS a.q[i] = vbslq_f32(vcltq_s32(lane, vdupq_n_s32(n - 4 * i)), a.q[i], b.q[i]);
    return a;
}
CK_INLINE v16 v_swap_pairs(v16 a) { CK_QUADS a.q[i] = vrev64q_f32(a.q[i]); return a; }
CK_INLINE v16 v_power(v16 t) {
    CK_QUADS t.q[i] = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vreinterpretq_s32_f32(t.q[i]), vdupq_n_s32(127)), 23));
    return t;
}
CK_INLINE float v_sum(v16 a) {
    const float32x4_t b = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
    const float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
    return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}
CK_INLINE float32x4_t larger(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
CK_INLINE float v_top(v16 a) {
    const float32x4_t b = larger(larger(a.q[0], a.q[2]), larger(a.q[1], a.q[3]));
    const float32x4_t c = larger(b, vextq_f32(b, b, 2));
    return vgetq_lane_f32(larger(c, vextq_f32(c, c, 1)), 0);
}
CK_INLINE uint32_t v_magnitude(v16 a, v16 b) {
    const uint32x4_t m = vdupq_n_u32(0x7fffffffu);
    uint32x4_t top = vdupq_n_u32(0);
    CK_QUADS top = vmaxq_u32(top, vmaxq_u32(vandq_u32(vreinterpretq_u32_f32(a.q[i]), m), vandq_u32(vreinterpretq_u32_f32(b.q[i]), m)));
    return vmaxvq_u32(top);
}
CK_INLINE v16 v_load_f16(const uint16_t *p) {
    v16 r;
    CK_QUADS r.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
    return r;
}
CK_INLINE void v_store_f16(uint16_t *p, v16 a) { CK_QUADS vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.q[i]))); }
CK_INLINE v16 v_load_bf16(const uint16_t *p) {
    v16 r;
    CK_QUADS r.q[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
    return r;
}
CK_INLINE int32_t store_16(int8_t *p, v16 a) {
    int32x4_t q[4];
    CK_QUADS q[i] = vcvtnq_s32_f32(a.q[i]);
    const int16x8_t low = vcombine_s16(vmovn_s32(q[0]), vmovn_s32(q[1])), high = vcombine_s16(vmovn_s32(q[2]), vmovn_s32(q[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
    return vaddvq_s32(vaddq_s32(vaddq_s32(q[0], q[1]), vaddq_s32(q[2], q[3])));
}
CK_INLINE void v_store_i8(int8_t *p, v16 a, v16 b, int32_t *low, int32_t *high) {
    *low = store_16(p, a);
    *high = store_16(p + 16, b);
}
CK_INLINE v16 v_from_int(w16 a) { v16 r; CK_QUADS r.q[i] = vcvtq_f32_s32(a.q[i]); return r; }
CK_INLINE w16 w_add1(w16 a, int32_t x) { CK_QUADS a.q[i] = vaddq_s32(a.q[i], vdupq_n_s32(x)); return a; }
#define v_prefetch(p) __builtin_prefetch(p)

// sum[r] += four columns (a constant 0...3 of `x`'s 16) of 16 outputs
#if defined(CK_USE_SDOT)
#define CK_SDOT(SUM, W, X, FOUR) \
    do { \
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) (SUM).q[i] = vdotq_laneq_s32((SUM).q[i], (W)[i], X, FOUR); \
    } while (0)
#else
// The same sums in three steps: products in 16 bits, neighbours added there, and those added in 32. Two products fit in 16 bits, since
// activations are quantised to -127 ... 127: 2 * 128 * 127 < 2^15.
CK_INLINE int32x4_t add_products(int32x4_t sum, int8x16_t w, int8x16_t four) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(four)), high = vmull_high_s8(w, four);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
}
#define CK_SDOT(SUM, W, X, FOUR) \
    do { \
        const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(X), FOUR)); \
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) (SUM).q[i] = add_products((SUM).q[i], (W)[i], four); \
    } while (0)
#endif

// sum[r] += vector J (a constant 0...7) of a block's weights, four registers of signed bytes in V, for all rows
#define CK_ADD_VECTOR(J, V) \
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) { \
        const int8x16_t q = vld1q_s8(x->q[first + r] + 16 * (J / 4)); \
        CK_SDOT(sum[r], V, q, J % 4); \
    }

CK_INLINE void dot_u4(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    int8x16_t low[CK_GROUP], high[CK_GROUP];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        CK_QUADS sum[r].q[i] = vdupq_n_s32(0);
        low[r] = vld1q_s8(x->q[first + r]);
        high[r] = vld1q_s8(x->q[first + r] + 16);
    }
#define CK_FOUR_COLUMNS(J) \
    { \
        int8x16_t p[4], q[4]; \
        CK_QUADS { \
            const uint8x16_t both = vld1q_u8(w + 64 * J + 16 * i); \
            p[i] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))); \
            q[i] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4)); \
        } \
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) { \
            CK_SDOT(sum[r], p, low[r], J); \
            CK_SDOT(sum[r], q, high[r], J); \
        } \
    }
    CK_FOUR_COLUMNS(0) CK_FOUR_COLUMNS(1) CK_FOUR_COLUMNS(2) CK_FOUR_COLUMNS(3)
#undef CK_FOUR_COLUMNS
}
CK_INLINE void dot_u8(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    const uint8x16_t flip = vdupq_n_u8(0x80);  // back to signed bytes
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) CK_QUADS sum[r].q[i] = vdupq_n_s32(0);
#define CK_FOUR_COLUMNS(J) \
    { \
        int8x16_t v[4]; \
        CK_QUADS v[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w + 64 * J + 16 * i), flip)); \
        CK_ADD_VECTOR(J, v) \
    }
    CK_FOUR_COLUMNS(0) CK_FOUR_COLUMNS(1) CK_FOUR_COLUMNS(2) CK_FOUR_COLUMNS(3)
    CK_FOUR_COLUMNS(4) CK_FOUR_COLUMNS(5) CK_FOUR_COLUMNS(6) CK_FOUR_COLUMNS(7)
#undef CK_FOUR_COLUMNS
}
#define CK_ROWS_IN_FLIGHT 4
#define CK_QUERIES_IN_FLIGHT 6
#define CK_BLOCKS_IN_FLIGHT 1
#define CK_COLUMNS_IN_FLIGHT 16
