// How the quants of one block of 32 columns lie in a panel: planes of 64-byte vectors. Byte 4*lane+i of a vector belongs to lane `lane`;
// "vector j" (0...7) of the block means columns 4j...4j+3.
//
//   four bits   4 vectors: vector j in the low nibbles of the first four for j < 4, of j - 4 in the high nibbles for j >= 4
//   two bits    2 vectors: bits 2(j mod 4) and the next of vector j / 4
//   one bit     1 vector:  bit j
//
// Every variant reads the same planes: shifts and masks only, no shuffles over lanes.
#ifndef CK_QUANT_PLANES_H
#define CK_QUANT_PLANES_H

#include "include/ck_panel.h"

typedef enum {
    CK_PLANES_4,     // 0...15
    CK_PLANES_4_1,   // 0...31: four low bits, one high bit
    CK_PLANES_4_2,   // 0...63: four low bits, two high bits
    CK_PLANES_2,     // 0...3
    CK_PLANES_2_1,   // 0...7: two low bits, one high bit
    CK_PLANES_CODE,  // four bits that name a value of ck_iq4_values
} ck_planes;

static inline int planes_of(int format) {
    switch (format) {
    case CK_Q5_0: case CK_Q5_1: case CK_Q5_K: return CK_PLANES_4_1;
    case CK_Q6_K: return CK_PLANES_4_2;
    case CK_Q3_K: return CK_PLANES_2_1;
    case CK_Q2_K: return CK_PLANES_2;
    case CK_IQ4_NL: case CK_IQ4_XS: return CK_PLANES_CODE;
    default: return CK_PLANES_4;
    }
}

static inline int plane_bytes(int planes) {
    switch (planes) {
    case CK_PLANES_4_1: return 320;
    case CK_PLANES_4_2: return 384;
    case CK_PLANES_2_1: return 192;
    case CK_PLANES_2: return 128;
    default: return 256;
    }
}

// What is subtracted from a stored quant.
static inline int quant_offset(int format) {
    return format == CK_Q5_0 ? 16 : format == CK_Q6_K ? 32 : format == CK_Q3_K ? 4 : 0;
}

// Formats with integer scales below an F16 scale for 256 columns.
static inline int is_super(int format) { return format >= CK_Q2_K && format <= CK_IQ4_XS; }
// Columns that share an integer scale.
static inline int scale_columns(int format) { return format == CK_Q2_K || format == CK_Q3_K || format == CK_Q6_K ? 16 : 32; }
static inline int has_minimum(int format) {
    return format == CK_Q5_1 || format == CK_Q2_K || format == CK_Q4_K || format == CK_Q5_K;
}
// Bytes of a super-block's scales, which stand before its eight blocks of quants: 16 F16 d, 16 F16 dmin (or nothing), then the
// integer scales [sub-block][16], then for Q4_K and Q5_K the integer minimums [sub-block][16]. Q2_K has its minimum in the high nibble.
static inline int super_header(int format) { return format == CK_IQ4_XS ? 192 : 320; }

// The values of IQ4_NL and IQ4_XS (ggml-quants.c, kvalues_iq4nl).
static const int8_t ck_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

#endif
