// Weight matrices as panels of 16 output rows, and activations as groups of 8 rows.
//
// One lane of a vector computes one output of the matrix from its whole row, so no sum is ever split over lanes. A panel
// of a quantised matrix holds its quants first, then its scales, so that both are read as aligned streams:
//
//   4-bit block (32 columns)   4 x 64 bytes; byte 4*lane+i of vector j: column 4j+i low nibble, column 16+4j+i high nibble
//   8-bit block                8 x 64 bytes; byte 4*lane+i of vector j: column 4j+i, plus 128
//   scales of a block          16 F16 d; for Q4_1 then 16 F16 m
//   full precision             [column][16 lanes]
#ifndef CK_PANEL_H
#define CK_PANEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    CK_LANES = 16,  // outputs of a panel
    CK_BLOCK = 32,  // columns that share a scale
    CK_AWQ_COLUMNS = 128,  // columns that share a scale and a zero point in AWQ
    CK_GROUP = 8,   // rows of activations that meet a panel together
    CK_TILE = 128,  // rows that meet a chunk of panels before the next rows do; the largest M given to a BLAS
};

typedef enum {
    CK_F32 = 0,
    CK_F16 = 1,
    CK_BF16 = 2,
    CK_Q4_0 = 3,
    CK_Q4_1 = 4,
    CK_Q8_0 = 5,
    CK_F32_ROWS = 6,  // not panels: [row][column] for a BLAS
    // Quants in planes of bits, as quant_planes.h describes. Columns of the K types and of IQ4_XS are a multiple of 256.
    CK_Q5_0 = 7,
    CK_Q5_1 = 8,
    CK_IQ4_NL = 9,
    CK_Q2_K = 10,
    CK_Q3_K = 11,
    CK_Q4_K = 12,
    CK_Q5_K = 13,
    CK_Q6_K = 14,
    CK_IQ4_XS = 15,
    // AWQ, as panel_awq.h describes; columns are a multiple of CK_AWQ_COLUMNS. ck_repack_awq makes it.
    CK_AWQ = 16,
    CK_FORMAT_COUNT = 17,
} ck_format;

typedef struct {
    const uint8_t *data;
    size_t panel_stride;  // bytes from panel to panel, a multiple of 64; more than a panel where another matrix lies between
    int32_t format;
    int32_t rows;     // outputs
    int32_t columns;  // inputs
    int32_t panels;   // rows / 16, rounded up; lanes beyond the rows are zero
} ck_matrix;

// One block of 8 quantised rows: x[r][i] ~ d[r] * q[r][i].
typedef struct {
    int8_t q[CK_GROUP][CK_BLOCK];
    float d[CK_GROUP];     // scale: largest magnitude / 127
    float s[CK_GROUP];     // d * sum of q
    int32_t n8[CK_GROUP];  // -8 * sum of q
    int32_t h32[2][CK_GROUP];  // -32 * sum of q over columns 0...15, 16...31
} ck_group;

// Rows of activations, quantised, in full precision, or both; a missing form is NULL.
typedef struct {
    ck_group *groups;  // [rows / 8][columns / 32]
    float *rows;       // [rows][columns]
    int32_t columns;
} ck_activation;

// Bytes of one panel of a matrix with this many columns; 0 for an unknown format, or for columns that are no whole number of its blocks.
size_t ck_panel_bytes(int32_t format, int32_t columns);

// Repacks a row-major matrix of GGUF blocks (any format but CK_F32_ROWS and CK_AWQ) into panels of the same format, or, for CK_F32_ROWS, expands F32,
// F16 or BF16 (source_format) into row-major F32. F32, F16 and BF16 lie on a multiple of their size. The destination holds the
// matrix's panels, 64-byte aligned.
void ck_repack(const uint8_t *source, int32_t source_format, const ck_matrix *matrix, uint8_t *destination);

// A matrix as AutoAWQ's "gemm" checkpoints have it: weight[output][column] = (quant - zero) * scale of the column's group of 128.
typedef struct {
    const uint32_t *quants;  // qweight [columns][outputs / 8], eight outputs of four bits in a word
    const uint32_t *zeros;   // qzeros [columns / 128][outputs / 8]
    const uint16_t *scales;  // F16 [columns / 128][outputs]
    const int32_t *order;    // for each row of the matrix, which of the outputs it is
    int32_t outputs;         // a multiple of 8
} ck_awq;

// Repacks it into panels of CK_AWQ, bits unchanged. The destination is as that of ck_repack.
void ck_repack_awq(const ck_awq *source, const ck_matrix *matrix, uint8_t *destination);

// Row `row` of a matrix in full precision: `out[columns]`.
void ck_gather(const ck_matrix *matrix, int32_t row, float *out);

#endif
