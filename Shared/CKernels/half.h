// IEEE binary16 and bfloat16 in plain C, to nearest even, with subnormals: what VCVTPS2PH and VCVTPH2PS compute.
#ifndef CK_HALF_H
#define CK_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ck_half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 1023u, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | (mantissa ? 0x400000u | (mantissa << 13) : 0);
    } else if (exponent) {
        bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else {
        float f = (float)mantissa * 0x1p-24f;  // exact
        memcpy(&bits, &f, 4);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline uint16_t ck_float_to_half(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7e00u | ((bits >> 13) & 0x1ffu);
    if (bits >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and more round to infinity
    if (bits < 0x38800000u) {                        // subnormal: in units of 2^-24, rounded by the adder
        float x;
        memcpy(&x, &bits, 4);
        float shifted = x * 0x1p24f + 12582912.0f;  // the product is exact
        memcpy(&bits, &shifted, 4);
        return sign | (uint16_t)(bits - 0x4b400000u);
    }
    bits += 0xfffu + ((bits >> 13) & 1u);
    return sign | (uint16_t)((bits - 0x38000000u) >> 13);
}

// To nearest even; a number that is none stays one.
static inline uint16_t ck_float_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, quiet = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

#endif
