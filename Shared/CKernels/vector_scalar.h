// 16 virtual lanes in plain C: the twin that every other variant must equal bit for bit.
#include <math.h>
#include <string.h>

#include "half.h"

#define CK_INLINE static inline __attribute__((always_inline))

typedef struct { float v[16]; } v16;
typedef struct { int32_t v[16]; } w16;

#define CK_EACH for (int i = 0; i < 16; i++)

CK_INLINE v16 v_load(const float *p) { v16 r; memcpy(r.v, p, sizeof r.v); return r; }
CK_INLINE void v_store(float *p, v16 a) { memcpy(p, a.v, sizeof a.v); }
CK_INLINE v16 v_set1(float x) { v16 r; CK_EACH r.v[i] = x; return r; }
CK_INLINE v16 v_zero(void) { return v_set1(0); }
CK_INLINE v16 v_add(v16 a, v16 b) { CK_EACH a.v[i] = a.v[i] + b.v[i]; return a; }
CK_INLINE v16 v_sub(v16 a, v16 b) { CK_EACH a.v[i] = a.v[i] - b.v[i]; return a; }
CK_INLINE v16 v_mul(v16 a, v16 b) { CK_EACH a.v[i] = a.v[i] * b.v[i]; return a; }
CK_INLINE v16 v_div(v16 a, v16 b) { CK_EACH a.v[i] = a.v[i] / b.v[i]; return a; }
CK_INLINE v16 v_fma(v16 a, v16 b, v16 c) { CK_EACH a.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]); return a; }
// The second operand where either is not a number, as MAXPS and MINPS have it.
CK_INLINE v16 v_max(v16 a, v16 b) { CK_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
CK_INLINE v16 v_min(v16 a, v16 b) { CK_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
// x where a < b, else y.
CK_INLINE v16 v_where_less(v16 a, v16 b, v16 x, v16 y) { CK_EACH x.v[i] = a.v[i] < b.v[i] ? x.v[i] : y.v[i]; return x; }
// x where a is a number, else a.
CK_INLINE v16 v_keep_nan(v16 a, v16 x) { CK_EACH x.v[i] = a.v[i] == a.v[i] ? x.v[i] : a.v[i]; return x; }
// The first n lanes of a, then b.
CK_INLINE v16 v_first(int n, v16 a, v16 b) { CK_EACH a.v[i] = i < n ? a.v[i] : b.v[i]; return a; }
// Neighbours of each pair exchanged.
CK_INLINE v16 v_swap_pairs(v16 a) { v16 r; CK_EACH r.v[i] = a.v[i ^ 1]; return r; }
// 2^n for t = 1.5 * 2^23 + n.
CK_INLINE v16 v_power(v16 t) {
    v16 r;
    CK_EACH {
        uint32_t bits;
        memcpy(&bits, &t.v[i], 4);
        bits = (bits + 127u) << 23;
        memcpy(&r.v[i], &bits, 4);
    }
    return r;
}
// Lane pairs at distance 8, 4, 2, 1.
CK_INLINE float v_sum(v16 a) {
    for (int w = 8; w; w >>= 1)
        for (int i = 0; i < w; i++) a.v[i] = a.v[i] + a.v[i + w];
    return a.v[0];
}
CK_INLINE float v_top(v16 a) {
    for (int w = 8; w; w >>= 1)
        for (int i = 0; i < w; i++) a.v[i] = a.v[i] > a.v[i + w] ? a.v[i] : a.v[i + w];
    return a.v[0];
}
CK_INLINE uint32_t bits_of(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }
// The largest magnitude as bits: any infinity or NaN is 0x7f800000 or more.
CK_INLINE uint32_t v_magnitude(v16 a, v16 b) {
    uint32_t top = 0;
    CK_EACH {
        uint32_t p = bits_of(a.v[i]) & 0x7fffffffu, q = bits_of(b.v[i]) & 0x7fffffffu;
        top = p > top ? p : top;
        top = q > top ? q : top;
    }
    return top;
}
CK_INLINE v16 v_load_f16(const uint16_t *p) { v16 r; CK_EACH r.v[i] = ck_half_to_float(p[i]); return r; }
CK_INLINE void v_store_f16(uint16_t *p, v16 a) { CK_EACH p[i] = ck_float_to_half(a.v[i]); }
CK_INLINE v16 v_load_bf16(const uint16_t *p) {
    v16 r;
    CK_EACH {
        uint32_t bits = (uint32_t)p[i] << 16;
        memcpy(&r.v[i], &bits, 4);
    }
    return r;
}
// 32 numbers to the nearest even integer, at most 127 in magnitude; gives the sums of the first and the last 16.
CK_INLINE void v_store_i8(int8_t *p, v16 a, v16 b, int32_t *low, int32_t *high) {
    *low = *high = 0;
    CK_EACH {
        *low += p[i] = (int8_t)((a.v[i] + 12582912.0f) - 12582912.0f);
        *high += p[16 + i] = (int8_t)((b.v[i] + 12582912.0f) - 12582912.0f);
    }
}
CK_INLINE v16 v_from_int(w16 a) { v16 r; CK_EACH r.v[i] = (float)a.v[i]; return r; }
CK_INLINE w16 w_add1(w16 a, int32_t x) { CK_EACH a.v[i] += x; return a; }
#define v_prefetch(p) ((void)(p))

// sum[r] = sum over the block's columns of weight (0...15) * q[r]
CK_INLINE void dot_u4(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    for (int r = 0; r < rows; r++) {
        CK_EACH {
            int32_t t = 0;
            for (int k = 0; k < 16; k++) {
                uint8_t byte = w[(k / 4) * 64 + i * 4 + k % 4];
                t += (byte & 15) * x->q[first + r][k] + (byte >> 4) * x->q[first + r][16 + k];
            }
            sum[r].v[i] = t;
        }
    }
}
// sum[r] = sum over the block's columns of (weight - 128) * q[r]
CK_INLINE void dot_u8(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    for (int r = 0; r < rows; r++) {
        CK_EACH {
            int32_t t = 0;
            for (int k = 0; k < 32; k++) t += ((int32_t)w[(k / 4) * 64 + i * 4 + k % 4] - 128) * x->q[first + r][k];
            sum[r].v[i] = t;
        }
    }
}
#define CK_ROWS_IN_FLIGHT 8
#define CK_QUERIES_IN_FLIGHT 6
#define CK_BLOCKS_IN_FLIGHT 1
#define CK_COLUMNS_IN_FLIGHT 16
