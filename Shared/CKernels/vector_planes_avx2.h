// Quants in planes, in AVX2.
#include "quant_planes.h"

CK_INLINE w16 w_load_u8(const uint8_t *p) {
    const __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (w16){_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))};
}
CK_INLINE w16 w_load_i8(const uint8_t *p) {
    const __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (w16){_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_srli_si128(v, 8))};
}
CK_INLINE w16 w_low4(w16 x) {
    const __m256i m = _mm256_set1_epi32(15);
    return (w16){_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
CK_INLINE w16 w_high4(w16 x) { return (w16){_mm256_srli_epi32(x.a, 4), _mm256_srli_epi32(x.b, 4)}; }
// Pairs of 16 bits: b has zeros in the upper ones.
CK_INLINE w16 w_add_product(w16 a, w16 b, int32_t x) {
    const __m256i s = _mm256_set1_epi32(x);
#if defined(CK_USE_AVX_VNNI)
    return (w16){_mm256_dpwssd_avx_epi32(a.a, b.a, s), _mm256_dpwssd_avx_epi32(a.b, b.b, s)};
#else
    return (w16){_mm256_add_epi32(a.a, _mm256_madd_epi16(b.a, s)), _mm256_add_epi32(a.b, _mm256_madd_epi16(b.b, s))};
#endif
}

// As in vector_planes_avx512.h.
CK_INLINE __m256i plane_shift(__m256i v, const int n) {
    return n > 0 ? _mm256_slli_epi16(v, n) : n < 0 ? _mm256_srli_epi16(v, -n) : v;
}
CK_INLINE __m256i plane_bits(const uint8_t *w, const int shift, char mask) {
    return _mm256_and_si256(plane_shift(_mm256_load_si256((const __m256i *)w), shift), _mm256_set1_epi8(mask));
}

// Half a vector j as bytes; unsigned but for a codebook's values. w points to the half.
CK_INLINE __m256i plane_vector(const uint8_t *w, const int planes, const int j) {
    if (planes == CK_PLANES_2 || planes == CK_PLANES_2_1) {
        const __m256i two = plane_bits(w + 64 * (j / 4), -2 * (j % 4), 3);
        return planes == CK_PLANES_2 ? two : _mm256_or_si256(two, plane_bits(w + 128, 2 - j, 4));
    }
    const __m256i four = plane_bits(w + 64 * (j % 4), j < 4 ? 0 : -4, 15);
    switch (planes) {
    case CK_PLANES_4_1: return _mm256_or_si256(four, plane_bits(w + 256, 4 - j, 0x10));
    case CK_PLANES_4_2: return _mm256_or_si256(four, plane_bits(w + 256 + 64 * (j / 4), 4 - 2 * (j % 4), 0x30));
    case CK_PLANES_CODE: return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)ck_iq4_values)), four);
    default: return four;
    }
}

// Products are added in 16 bits as long as they fit: 2 * largest quant * 127 each. 8 of 15, 4 of 31, 2 of 63; a codebook's magnitudes
// of up to 127 one at a time, times the row's quants with their signs.
CK_INLINE void dot_planes(const uint8_t *w, const int planes, const int offset, const ck_group *x, int first, const int rows,
                          const int part, w16 *sum) {
    const __m256i ones = _mm256_set1_epi16(1);
    const int from = part == 1 ? 4 : 0, to = part == 0 ? 4 : 8;
    const int fit = planes == CK_PLANES_CODE ? 1 : planes == CK_PLANES_4_2 ? 2 : planes == CK_PLANES_4_1 ? 4 : to - from;
    _Pragma("clang loop unroll(full)") for (int half = 0; half < 2; half++) {
        __m256i t[CK_GROUP], p[CK_GROUP];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            const int taken = offset == 0 ? 0 : part == 2 ? x->n8[first + r] * (offset / 8) : x->h32[part][first + r] / (32 / offset);
            t[r] = _mm256_set1_epi32(taken);
        }
        _Pragma("clang loop unroll(full)") for (int j = from; j < to; j++) {
            const __m256i v = plane_vector(w + 32 * half, planes, j);
            const __m256i magnitude = planes == CK_PLANES_CODE ? _mm256_abs_epi8(v) : v;
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                __m256i q = four_bytes(&x->q[first + r][4 * j]);
                if (planes == CK_PLANES_CODE) q = _mm256_sign_epi8(q, v);
#if defined(CK_USE_AVX_VNNI)
                t[r] = _mm256_dpbusd_avx_epi32(t[r], magnitude, q);
                (void)p, (void)ones, (void)fit;
#else
                const __m256i product = _mm256_maddubs_epi16(magnitude, q);
                p[r] = (j - from) % fit == 0 ? product : _mm256_add_epi16(p[r], product);
                if ((j - from) % fit == fit - 1) t[r] = _mm256_add_epi32(t[r], _mm256_madd_epi16(p[r], ones));
#endif
            }
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            if (half == 0) sum[r].a = t[r]; else sum[r].b = t[r];
        }
    }
}
