// 16 virtual lanes in two AVX2 registers; with CK_USE_AVX_VNNI, four products are multiplied and added exactly by one instruction.
#include <string.h>

#include "half.h"

#define CK_INLINE static inline __attribute__((always_inline))

typedef struct { __m256 a, b; } v16;
typedef struct { __m256i a, b; } w16;

#define CK_V(X, Y) ((v16){(X), (Y)})

CK_INLINE v16 v_load(const float *p) { return CK_V(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
CK_INLINE void v_store(float *p, v16 x) { _mm256_storeu_ps(p, x.a); _mm256_storeu_ps(p + 8, x.b); }
CK_INLINE v16 v_set1(float x) { __m256 s = _mm256_set1_ps(x); return CK_V(s, s); }
CK_INLINE v16 v_zero(void) { return CK_V(_mm256_setzero_ps(), _mm256_setzero_ps()); }
CK_INLINE v16 v_add(v16 x, v16 y) { return CK_V(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
CK_INLINE v16 v_sub(v16 x, v16 y) { return CK_V(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
CK_INLINE v16 v_mul(v16 x, v16 y) { return CK_V(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
CK_INLINE v16 v_div(v16 x, v16 y) { return CK_V(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
CK_INLINE v16 v_fma(v16 x, v16 y, v16 z) { return CK_V(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)); }
CK_INLINE v16 v_max(v16 x, v16 y) { return CK_V(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
CK_INLINE v16 v_min(v16 x, v16 y) { return CK_V(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)); }
CK_INLINE v16 v_where_less(v16 p, v16 q, v16 x, v16 y) {
    return CK_V(_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(p.a, q.a, _CMP_LT_OQ)),
                _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(p.b, q.b, _CMP_LT_OQ)));
}
CK_INLINE v16 v_keep_nan(v16 p, v16 x) {
    return CK_V(_mm256_blendv_ps(x.a, p.a, _mm256_cmp_ps(p.a, p.a, _CMP_UNORD_Q)),
                _mm256_blendv_ps(x.b, p.b, _mm256_cmp_ps(p.b, p.b, _CMP_UNORD_Q)));
}
CK_INLINE v16 v_first(int n, v16 x, v16 y) {
    __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return CK_V(_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), i))),
                _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), i))));
}
CK_INLINE v16 v_swap_pairs(v16 x) { return CK_V(_mm256_permute_ps(x.a, 0xB1), _mm256_permute_ps(x.b, 0xB1)); }
CK_INLINE __m256 power8(__m256 t) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(127)), 23));
}
CK_INLINE v16 v_power(v16 t) { return CK_V(power8(t.a), power8(t.b)); }
CK_INLINE float v_sum(v16 x) {
    __m256 b = _mm256_add_ps(x.a, x.b);
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
CK_INLINE float v_top(v16 x) {
    __m256 b = _mm256_max_ps(x.a, x.b);
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}
CK_INLINE uint32_t v_magnitude(v16 x, v16 y) {
    __m256i m = _mm256_set1_epi32(0x7fffffff);
    __m256i t = _mm256_max_epu32(
        _mm256_max_epu32(_mm256_and_si256(_mm256_castps_si256(x.a), m), _mm256_and_si256(_mm256_castps_si256(x.b), m)),
        _mm256_max_epu32(_mm256_and_si256(_mm256_castps_si256(y.a), m), _mm256_and_si256(_mm256_castps_si256(y.b), m)));
    __m128i u = _mm_max_epu32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
    u = _mm_max_epu32(u, _mm_shuffle_epi32(u, 0x4E));
    u = _mm_max_epu32(u, _mm_shuffle_epi32(u, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(u);
}
CK_INLINE v16 v_load_f16(const uint16_t *p) {
    return CK_V(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8))));
}
CK_INLINE void v_store_f16(uint16_t *p, v16 x) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
CK_INLINE __m256 bf8(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
CK_INLINE v16 v_load_bf16(const uint16_t *p) { return CK_V(bf8(p), bf8(p + 8)); }
CK_INLINE int32_t store_16(int8_t *p, v16 x) {
    __m256i a = _mm256_cvtps_epi32(x.a), b = _mm256_cvtps_epi32(x.b);
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);  // 16 x int16 in order
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
    __m256i s = _mm256_add_epi32(a, b);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1));
    return _mm_cvtsi128_si32(t);
}
CK_INLINE void v_store_i8(int8_t *p, v16 x, v16 y, int32_t *low, int32_t *high) {
    *low = store_16(p, x);
    *high = store_16(p + 16, y);
}
CK_INLINE v16 v_from_int(w16 x) { return CK_V(_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)); }
CK_INLINE w16 w_add1(w16 x, int32_t y) {
    __m256i s = _mm256_set1_epi32(y);
    return (w16){_mm256_add_epi32(x.a, s), _mm256_add_epi32(x.b, s)};
}
#define v_prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)

CK_INLINE __m256i four_bytes(const int8_t *p) {
    int32_t word;
    memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
}
#if defined(CK_USE_AVX_VNNI)
CK_INLINE void dot_u4(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    const __m256i low = _mm256_set1_epi8(15);
    _Pragma("clang loop unroll(full)") for (int half = 0; half < 2; half++) {
        __m256i t[CK_GROUP];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) t[r] = _mm256_setzero_si256();
        _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) {
            const __m256i both = _mm256_load_si256((const __m256i *)(w + 64 * j + 32 * half));
            const __m256i p = _mm256_and_si256(both, low), q = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                t[r] = _mm256_dpbusd_avx_epi32(t[r], p, four_bytes(&x->q[first + r][4 * j]));
                t[r] = _mm256_dpbusd_avx_epi32(t[r], q, four_bytes(&x->q[first + r][16 + 4 * j]));
            }
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            if (half == 0) sum[r].a = t[r]; else sum[r].b = t[r];
        }
    }
}
// 128 was added to each weight: 128 times the sum of the row's quants is taken away, exactly.
CK_INLINE void dot_u8(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    _Pragma("clang loop unroll(full)") for (int half = 0; half < 2; half++) {
        __m256i t[CK_GROUP];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) t[r] = _mm256_set1_epi32(x->n8[first + r] * 16);
        _Pragma("clang loop unroll(full)") for (int j = 0; j < 8; j++) {
            const __m256i v = _mm256_load_si256((const __m256i *)(w + 64 * j + 32 * half));
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
                t[r] = _mm256_dpbusd_avx_epi32(t[r], v, four_bytes(&x->q[first + r][4 * j]));
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            if (half == 0) sum[r].a = t[r]; else sum[r].b = t[r];
        }
    }
}
#else
// Four-bit weights: eight sums of two products, 8 * 2 * 15 * 127, still fit 16 bits.
CK_INLINE void dot_u4(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    _Pragma("clang loop unroll(full)") for (int half = 0; half < 2; half++) {
        __m256i t[CK_GROUP];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) t[r] = _mm256_setzero_si256();
        _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) {
            __m256i both = _mm256_load_si256((const __m256i *)(w + 64 * j + 32 * half));
            __m256i p = _mm256_and_si256(both, low), q = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                t[r] = _mm256_add_epi16(t[r], _mm256_maddubs_epi16(p, four_bytes(&x->q[first + r][4 * j])));
                t[r] = _mm256_add_epi16(t[r], _mm256_maddubs_epi16(q, four_bytes(&x->q[first + r][16 + 4 * j])));
            }
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            __m256i s = _mm256_madd_epi16(t[r], ones);
            if (half == 0) sum[r].a = s; else sum[r].b = s;
        }
    }
}
// Eight-bit weights: |weight| times the row's quant with the weight's sign, since 255 * 127 * 2 would saturate.
CK_INLINE void dot_u8(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    const __m256i flip = _mm256_set1_epi8((char)0x80), ones = _mm256_set1_epi16(1);
    _Pragma("clang loop unroll(full)") for (int half = 0; half < 2; half++) {
        __m256i t[CK_GROUP];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) t[r] = _mm256_setzero_si256();
        _Pragma("clang loop unroll(full)") for (int j = 0; j < 8; j++) {
            __m256i v = _mm256_xor_si256(_mm256_load_si256((const __m256i *)(w + 64 * j + 32 * half)), flip);
            __m256i magnitude = _mm256_abs_epi8(v);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                __m256i q = _mm256_sign_epi8(four_bytes(&x->q[first + r][4 * j]), v);
                t[r] = _mm256_add_epi32(t[r], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, q), ones));
            }
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            if (half == 0) sum[r].a = t[r]; else sum[r].b = t[r];
        }
    }
}
#endif
#define CK_ROWS_IN_FLIGHT 4
#define CK_QUERIES_IN_FLIGHT 6
#define CK_BLOCKS_IN_FLIGHT 1
#define CK_COLUMNS_IN_FLIGHT 16
