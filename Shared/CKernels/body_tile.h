// A panel of 16 outputs against a few rows: the inner loop of every matrix.

// How far ahead of use the weights are asked for, block by block in the order of memory. Panels follow each other, so this runs on into
// the next one. Nearer, one core does not keep the memory busy; farther, lines are pushed out of the first cache before their use.
enum { CK_AHEAD = 12288 };

#include "body_tile_planes.h"
#include "panel_awq.h"

CK_INLINE void tile_quantized(const uint8_t *panel, int format, int blocks, const ck_group *x, int first, const int rows, v16 *f) {
    const int quant_bytes = format == CK_Q8_0 ? 512 : 256;
    const int scale_count = format == CK_Q4_1 ? 32 : 16;
    const int block_bytes = quant_bytes + 2 * scale_count;
    const uint8_t *w = panel, *ahead = panel + CK_AHEAD;
    const uint16_t *scale = (const uint16_t *)(panel + (size_t)blocks * (size_t)quant_bytes);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_zero();
    for (int b = 0; b < blocks; b++, w += quant_bytes, ahead += block_bytes, scale += scale_count, x++) {
        _Pragma("clang loop unroll(full)") for (int line = 0; line < block_bytes; line += 64) v_prefetch(ahead + line);
        w16 sum[CK_GROUP];
        if (format == CK_Q8_0) dot_u8(w, x, first, rows, sum);
        else dot_u4(w, x, first, rows, sum);
        v16 d = v_load_f16(scale);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            // Q4_0 stores weight + 8: 8 times the sum of the row's quants goes away exactly.
            if (format == CK_Q4_0) sum[r] = w_add1(sum[r], x->n8[first + r]);
            f[r] = v_fma(v_mul(d, v_set1(x->d[first + r])), v_from_int(sum[r]), f[r]);
        }
        if (format == CK_Q4_1) {
            v16 m = v_load_f16(scale + 16);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_fma(m, v_set1(x->s[first + r]), f[r]);
        }
    }
}

// Formats with a zero point for each lane: AWQ. The zero times the sum of the row's quants, of which the groups hold -8 times, goes away
// exactly, among the integers.
CK_INLINE void tile_awq(const uint8_t *panel, int columns, const ck_group *x, int first, const int rows, v16 *f) {
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_zero();
    for (int g = 0; g < columns / CK_AWQ_COLUMNS; g++, panel += CK_AWQ_GROUP_BYTES) {
        v_prefetch(panel + CK_AHEAD);
        const v16 d = v_load_f16((const uint16_t *)panel);
        const w16 zero = w_load_u8(panel + 32);
        const uint8_t *w = panel + CK_AWQ_HEADER;
        for (int b = 0; b < CK_AWQ_COLUMNS / CK_BLOCK; b++, w += 256, x++) {
            _Pragma("clang loop unroll(full)") for (int line = 0; line < 256; line += 64) v_prefetch(w + CK_AHEAD + line);
            w16 sum[CK_GROUP];
            dot_u4(w, x, first, rows, sum);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                sum[r] = w_add_product(sum[r], zero, x->n8[first + r] >> 3);
                f[r] = v_fma(v_mul(d, v_set1(x->d[first + r])), v_from_int(sum[r]), f[r]);
            }
        }
    }
}

CK_INLINE void tile_full(const uint8_t *panel, int format, int columns, const float *x, size_t stride, const int rows, v16 *f) {
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_zero();
    const int bytes = format == CK_F32 ? 64 : 32;
    for (int k = 0; k < columns; k++, panel += bytes) {
        v_prefetch(panel + CK_AHEAD);
        v16 w = format == CK_F32 ? v_load((const float *)panel)
                : format == CK_F16 ? v_load_f16((const uint16_t *)panel) : v_load_bf16((const uint16_t *)panel);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
            f[r] = v_fma(w, v_set1(x[(size_t)r * stride + (size_t)k]), f[r]);
    }
}

#define CK_TILE_FUNCTION(NAME, FORMAT, ROWS)                                                                        \
    static void NAME##_##ROWS(const uint8_t *panel, const ck_matrix *m, const ck_activation *x, int row, float *y) { \
        v16 f[ROWS];                                                                                                \
        if (FORMAT <= CK_BF16)                                                                                      \
            tile_full(panel, FORMAT, m->columns, x->rows + (size_t)row * (size_t)m->columns, (size_t)m->columns, ROWS, f); \
        else if (FORMAT == CK_AWQ)                                                                                  \
            tile_awq(panel, m->columns, x->groups + (size_t)(row / CK_GROUP) * (size_t)(m->columns / CK_BLOCK),     \
                     row % CK_GROUP, ROWS, f);                                                                      \
        else if (is_super(FORMAT))                                                                                  \
            tile_super(panel, FORMAT, m->columns / 256,                                                             \
                       x->groups + (size_t)(row / CK_GROUP) * (size_t)(m->columns / CK_BLOCK), row % CK_GROUP, ROWS, f); \
        else if (FORMAT >= CK_Q5_0)                                                                                 \
            tile_planes(panel, FORMAT, m->columns / CK_BLOCK,                                                       \
                        x->groups + (size_t)(row / CK_GROUP) * (size_t)(m->columns / CK_BLOCK), row % CK_GROUP, ROWS, f); \
        else                                                                                                        \
            tile_quantized(panel, FORMAT, m->columns / CK_BLOCK,                                                    \
                           x->groups + (size_t)(row / CK_GROUP) * (size_t)(m->columns / CK_BLOCK), row % CK_GROUP, ROWS, f); \
        for (int r = 0; r < ROWS; r++) v_store(y + 16 * r, f[r]);                                                   \
    }
#if CK_ROWS_IN_FLIGHT == 8
#define CK_TILE_FUNCTIONS(NAME, FORMAT)                                                                        \
    CK_TILE_FUNCTION(NAME, FORMAT, 1) CK_TILE_FUNCTION(NAME, FORMAT, 2) CK_TILE_FUNCTION(NAME, FORMAT, 3)      \
    CK_TILE_FUNCTION(NAME, FORMAT, 4) CK_TILE_FUNCTION(NAME, FORMAT, 5) CK_TILE_FUNCTION(NAME, FORMAT, 6)      \
    CK_TILE_FUNCTION(NAME, FORMAT, 7) CK_TILE_FUNCTION(NAME, FORMAT, 8)
#define CK_TILE_ROW(NAME) {NAME##_1, NAME##_2, NAME##_3, NAME##_4, NAME##_5, NAME##_6, NAME##_7, NAME##_8}
#else
#define CK_TILE_FUNCTIONS(NAME, FORMAT)                                                                        \
    CK_TILE_FUNCTION(NAME, FORMAT, 1) CK_TILE_FUNCTION(NAME, FORMAT, 2) CK_TILE_FUNCTION(NAME, FORMAT, 3)      \
    CK_TILE_FUNCTION(NAME, FORMAT, 4)
#define CK_TILE_ROW(NAME) {NAME##_1, NAME##_2, NAME##_3, NAME##_4}
#endif

CK_TILE_FUNCTIONS(tile_f32, CK_F32)
CK_TILE_FUNCTIONS(tile_f16, CK_F16)
CK_TILE_FUNCTIONS(tile_bf16, CK_BF16)
CK_TILE_FUNCTIONS(tile_q4_0, CK_Q4_0)
CK_TILE_FUNCTIONS(tile_q4_1, CK_Q4_1)
CK_TILE_FUNCTIONS(tile_q8_0, CK_Q8_0)
CK_TILE_FUNCTIONS(tile_q5_0, CK_Q5_0)
CK_TILE_FUNCTIONS(tile_q5_1, CK_Q5_1)
CK_TILE_FUNCTIONS(tile_iq4_nl, CK_IQ4_NL)
CK_TILE_FUNCTIONS(tile_q2_k, CK_Q2_K)
CK_TILE_FUNCTIONS(tile_q3_k, CK_Q3_K)
CK_TILE_FUNCTIONS(tile_q4_k, CK_Q4_K)
CK_TILE_FUNCTIONS(tile_q5_k, CK_Q5_K)
CK_TILE_FUNCTIONS(tile_q6_k, CK_Q6_K)
CK_TILE_FUNCTIONS(tile_iq4_xs, CK_IQ4_XS)
CK_TILE_FUNCTIONS(tile_awq, CK_AWQ)

typedef void (*tile_function)(const uint8_t *, const ck_matrix *, const ck_activation *, int, float *);

static const tile_function tile_table[CK_FORMAT_COUNT][CK_ROWS_IN_FLIGHT] = {
    [CK_F32] = CK_TILE_ROW(tile_f32),       [CK_F16] = CK_TILE_ROW(tile_f16),       [CK_BF16] = CK_TILE_ROW(tile_bf16),
    [CK_Q4_0] = CK_TILE_ROW(tile_q4_0),     [CK_Q4_1] = CK_TILE_ROW(tile_q4_1),     [CK_Q8_0] = CK_TILE_ROW(tile_q8_0),
    [CK_Q5_0] = CK_TILE_ROW(tile_q5_0),     [CK_Q5_1] = CK_TILE_ROW(tile_q5_1),     [CK_IQ4_NL] = CK_TILE_ROW(tile_iq4_nl),
    [CK_Q2_K] = CK_TILE_ROW(tile_q2_k),     [CK_Q3_K] = CK_TILE_ROW(tile_q3_k),     [CK_Q4_K] = CK_TILE_ROW(tile_q4_k),
    [CK_Q5_K] = CK_TILE_ROW(tile_q5_k),     [CK_Q6_K] = CK_TILE_ROW(tile_q6_k),     [CK_IQ4_XS] = CK_TILE_ROW(tile_iq4_xs),
    [CK_AWQ] = CK_TILE_ROW(tile_awq),
};

// y[r][16] for `rows` rows that lie in one group.
static void tile(const ck_matrix *m, int32_t panel, const ck_activation *x, int32_t row, int32_t rows, float *y) {
    const uint8_t *p = m->data + (size_t)panel * m->panel_stride;
    while (rows > 0) {
        int n = rows < CK_ROWS_IN_FLIGHT ? rows : CK_ROWS_IN_FLIGHT;
        tile_table[m->format][n - 1](p, m, x, row, y);
        row += n;
        rows -= n;
        y += 16 * n;
    }
}
