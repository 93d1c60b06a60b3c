// Quants in planes, in AVX-512: unpacked to unsigned bytes with shifts and one ternary operation, multiplied by VNNI.
#include "quant_planes.h"

CK_INLINE w16 w_load_u8(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
CK_INLINE w16 w_load_i8(const uint8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
CK_INLINE w16 w_low4(w16 a) { return _mm512_and_si512(a, _mm512_set1_epi32(15)); }
CK_INLINE w16 w_high4(w16 a) { return _mm512_srli_epi32(a, 4); }
// Pairs of 16 bits: b has zeros in the upper ones.
CK_INLINE w16 w_add_product(w16 a, w16 b, int32_t x) { return _mm512_dpwssd_epi32(a, b, _mm512_set1_epi32(x)); }

// The bits of each byte moved up by n places (down for n < 0); what comes from the neighbour is masked away by the caller.
CK_INLINE __m512i plane_shift(__m512i v, const int n) {
    return n > 0 ? _mm512_slli_epi16(v, (unsigned)n) : n < 0 ? _mm512_srli_epi16(v, (unsigned)-n) : v;
}
// a | (b & mask)
CK_INLINE __m512i plane_or(__m512i a, __m512i b, char mask) { return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(mask), 0xF8); }

// Vector j as unsigned bytes; a codebook's values plus 128.
CK_INLINE __m512i plane_vector(const uint8_t *w, const int planes, const int j) {
    if (planes == CK_PLANES_2 || planes == CK_PLANES_2_1) {
        const __m512i two = _mm512_and_si512(plane_shift(_mm512_load_si512(w + 64 * (j / 4)), -2 * (j % 4)), _mm512_set1_epi8(3));
        return planes == CK_PLANES_2 ? two : plane_or(two, plane_shift(_mm512_load_si512(w + 128), 2 - j), 4);
    }
    const __m512i four = _mm512_and_si512(plane_shift(_mm512_load_si512(w + 64 * (j % 4)), j < 4 ? 0 : -4), _mm512_set1_epi8(15));
    switch (planes) {
    case CK_PLANES_4_1: return plane_or(four, plane_shift(_mm512_load_si512(w + 256), 4 - j), 0x10);
    case CK_PLANES_4_2: return plane_or(four, plane_shift(_mm512_load_si512(w + 256 + 64 * (j / 4)), 4 - 2 * (j % 4)), 0x30);
    case CK_PLANES_CODE: {
        const __m128i values = _mm_xor_si128(_mm_loadu_si128((const __m128i *)ck_iq4_values), _mm_set1_epi8((char)0x80));
        return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), four);
    }
    default: return four;
    }
}

CK_INLINE void dot_planes(const uint8_t *w, const int planes, const int offset, const ck_group *x, int first, const int rows,
                          const int part, w16 *sum) {
    const int from = part == 1 ? 4 : 0, to = part == 0 ? 4 : 8, taken = planes == CK_PLANES_CODE ? 128 : offset;
    // The offset times the sum of the row's quants goes away exactly: the groups hold -8 times it, and -32 times its halves.
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        if (taken == 0) sum[r] = _mm512_setzero_si512();
        else if (part == 2) sum[r] = _mm512_slli_epi32(_mm512_set1_epi32(x->n8[first + r]), taken == 128 ? 4 : taken == 32 ? 2 : 1);
        else sum[r] = _mm512_srai_epi32(_mm512_set1_epi32(x->h32[part][first + r]), taken == 32 ? 0 : 3);
    }
    __m512i v[8];
    _Pragma("clang loop unroll(full)") for (int j = from; j < to; j++) v[j] = plane_vector(w, planes, j);
    _Pragma("clang loop unroll(full)") for (int j = from; j < to; j++)
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
            sum[r] = _mm512_dpbusd_epi32(sum[r], v[j], four_bytes(&x->q[first + r][4 * j]));
}
