// 16 virtual lanes in one AVX-512 register. VNNI multiplies unsigned by signed bytes and adds four products exactly.
#include <string.h>

#include "half.h"

#define CK_INLINE static inline __attribute__((always_inline))

typedef __m512 v16;
typedef __m512i w16;

CK_INLINE v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
CK_INLINE void v_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
CK_INLINE v16 v_set1(float x) { return _mm512_set1_ps(x); }
CK_INLINE v16 v_zero(void) { return _mm512_setzero_ps(); }
CK_INLINE v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
CK_INLINE v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
CK_INLINE v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
CK_INLINE v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
CK_INLINE v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
CK_INLINE v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
CK_INLINE v16 v_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
CK_INLINE v16 v_where_less(v16 a, v16 b, v16 x, v16 y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
CK_INLINE v16 v_keep_nan(v16 a, v16 x) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), x, a); }
CK_INLINE v16 v_first(int n, v16 a, v16 b) { return _mm512_mask_blend_ps((__mmask16)((1u << n) - 1), b, a); }
CK_INLINE v16 v_swap_pairs(v16 a) { return _mm512_permute_ps(a, 0xB1); }
CK_INLINE v16 v_power(v16 t) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(127)), 23));
}
CK_INLINE float v_sum(v16 a) {
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
CK_INLINE float v_top(v16 a) {
    __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}
CK_INLINE uint32_t v_magnitude(v16 a, v16 b) {
    __m512i m = _mm512_set1_epi32(0x7fffffff);
    return _mm512_reduce_max_epu32(_mm512_max_epu32(
        _mm512_and_si512(_mm512_castps_si512(a), m), _mm512_and_si512(_mm512_castps_si512(b), m)));
}
CK_INLINE v16 v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
CK_INLINE void v_store_f16(uint16_t *p, v16 a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
CK_INLINE v16 v_load_bf16(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
CK_INLINE void v_store_i8(int8_t *p, v16 a, v16 b, int32_t *low, int32_t *high) {
    const __m256i q = _mm256_set_m128i(_mm512_cvtepi32_epi8(_mm512_cvtps_epi32(b)), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
    _mm256_storeu_si256((__m256i *)p, q);
    // Sums of 8 bytes each, which are made unsigned by adding 128.
    const __m256i s = _mm256_sad_epu8(_mm256_xor_si256(q, _mm256_set1_epi8((char)0x80)), _mm256_setzero_si256());
    const __m128i x = _mm256_castsi256_si128(s), y = _mm256_extracti128_si256(s, 1);
    const __m128i t = _mm_add_epi64(_mm_unpacklo_epi64(x, y), _mm_unpackhi_epi64(x, y));
    *low = _mm_cvtsi128_si32(t) - 16 * 128;
    *high = _mm_extract_epi32(t, 2) - 16 * 128;
}
CK_INLINE v16 v_from_int(w16 a) { return _mm512_cvtepi32_ps(a); }
CK_INLINE w16 w_add1(w16 a, int32_t x) { return _mm512_add_epi32(a, _mm512_set1_epi32(x)); }
#define v_prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)

CK_INLINE __m512i four_bytes(const int8_t *p) {
    int32_t word;
    memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
}
CK_INLINE void dot_u4(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512i v[8];
    _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) {
        __m512i both = _mm512_load_si512(w + 64 * j);
        v[j] = _mm512_and_si512(both, low);
        v[4 + j] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_si512();
    _Pragma("clang loop unroll(full)") for (int j = 0; j < 8; j++)
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
            sum[r] = _mm512_dpbusd_epi32(sum[r], v[j], four_bytes(&x->q[first + r][4 * j]));
}
CK_INLINE void dot_u8(const uint8_t *w, const ck_group *x, int first, int rows, w16 *sum) {
    // 128 was added to each weight: take 128 times the sum of the row's quants away again, exactly.
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        sum[r] = _mm512_set1_epi32(x->n8[first + r] * 16);
    _Pragma("clang loop unroll(full)") for (int j = 0; j < 8; j++) {
        __m512i v = _mm512_load_si512(w + 64 * j);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
            sum[r] = _mm512_dpbusd_epi32(sum[r], v, four_bytes(&x->q[first + r][4 * j]));
    }
}
#define CK_ROWS_IN_FLIGHT 8
#define CK_QUERIES_IN_FLIGHT 6
#define CK_BLOCKS_IN_FLIGHT 4
#define CK_COLUMNS_IN_FLIGHT 64
