// Repacking and gathering of AWQ matrices (Lin et al., 2023, arXiv:2306.00978) in the "gemm" form of AutoAWQ's checkpoints.
#include "panel_awq.h"

#include <string.h>

#include "half.h"

size_t awq_panel_bytes(int32_t columns) {
    return columns % CK_AWQ_COLUMNS ? 0 : (size_t)(columns / CK_AWQ_COLUMNS) * CK_AWQ_GROUP_BYTES;
}

// Where a word of eight outputs has output o: from nibble 0 up it holds 0, 2, 4, 6, 1, 3, 5, 7.
static int shift_of(int32_t output) {
    const int32_t o = output % 8;
    return 4 * (o / 2 + (o % 2 ? 4 : 0));
}

// Four columns of one output, a byte each.
static uint32_t four_quants(const uint32_t *w, size_t stride, int shift) {
    return (w[0] >> shift & 15) | (w[stride] >> shift & 15) << 8 | (w[2 * stride] >> shift & 15) << 16 | (w[3 * stride] >> shift & 15) << 24;
}

// Scales and zero points of a group.
static void put_header(const ck_awq *source, const ck_matrix *m, int32_t g, int32_t panel, uint8_t *out) {
    const size_t words = (size_t)source->outputs / 8;
    // Lanes without a row keep a scale of zero, and so do their outputs.
    memset(out, 0, (panel + 1) * CK_LANES > m->rows ? CK_AWQ_GROUP_BYTES : CK_AWQ_HEADER);
    for (int32_t lane = 0; lane < CK_LANES && panel * CK_LANES + lane < m->rows; lane++) {
        const int32_t output = source->order[panel * CK_LANES + lane];
        memcpy(out + 2 * lane, source->scales + (size_t)g * (size_t)source->outputs + output, 2);
        out[32 + lane] = (uint8_t)(source->zeros[(size_t)g * words + (size_t)output / 8] >> shift_of(output) & 15);
    }
}

// The file has its columns outermost. So panels are the inner loop, and eight rows of the file are read at a time as streams: more
// of them would share few sets of the cache where a row's bytes are a power of two.
void ck_repack_awq(const ck_awq *source, const ck_matrix *m, uint8_t *destination) {
    const size_t words = (size_t)source->outputs / 8;
    for (int32_t g = 0; g < m->columns / CK_AWQ_COLUMNS; g++) {
        uint8_t *group = destination + (size_t)g * CK_AWQ_GROUP_BYTES;
        for (int32_t panel = 0; panel < m->panels; panel++) put_header(source, m, g, panel, group + (size_t)panel * m->panel_stride);
        for (int vector = 0; vector < CK_AWQ_COLUMNS / 8; vector++) {
            const int32_t column = g * CK_AWQ_COLUMNS + vector / 4 * CK_BLOCK + vector % 4 * 4;
            const uint32_t *low = source->quants + (size_t)column * words, *high = low + 16 * words;
            for (int32_t panel = 0; panel < m->panels; panel++) {
                uint8_t *out = group + (size_t)panel * m->panel_stride + CK_AWQ_HEADER + 64 * vector;
                for (int32_t lane = 0; lane < CK_LANES && panel * CK_LANES + lane < m->rows; lane++) {
                    const int32_t output = source->order[panel * CK_LANES + lane];
                    const int shift = shift_of(output);
                    const uint32_t both = four_quants(low + output / 8, words, shift) | four_quants(high + output / 8, words, shift) << 4;
                    memcpy(out + 4 * lane, &both, 4);
                }
            }
        }
    }
}

// 11 bits of scale by five of quant: the product is exact.
void awq_gather(const ck_matrix *m, int32_t row, float *out) {
    const int32_t lane = row % CK_LANES;
    const uint8_t *p = m->data + (size_t)(row / CK_LANES) * m->panel_stride;
    for (int32_t g = 0; g < m->columns / CK_AWQ_COLUMNS; g++, p += CK_AWQ_GROUP_BYTES) {
        const float d = ck_half_to_float(((const uint16_t *)p)[lane]);
        const int32_t zero = p[32 + lane];
        for (int k = 0; k < CK_AWQ_COLUMNS; k++) {
            const uint8_t byte = p[CK_AWQ_HEADER + 256 * (k / 32) + 64 * (k % 16 / 4) + 4 * lane + k % 4];
            *out++ = d * (float)((k % 32 < 16 ? byte & 15 : byte >> 4) - zero);
        }
    }
}
