// The 8-bit KV cache: int8 with one F32 scale for each token and head, for K and for V.
//
// A head's block: K as panels of 16 tokens (the 8-bit blocks of ck_panel.h, head_size rounded up to 32 columns), 16 scales, then V
// [16][head_size] as int8, 16 scales. Queries are quantised as activations are, so that scores are exact integer dot products.

CK_INLINE int padded_size(int size) { return (size + CK_BLOCK - 1) & ~(CK_BLOCK - 1); }

// Scale of a head and what it is multiplied by to be quantised. Anything that is no finite number shows in the scale.
CK_INLINE float scale_of(const float *x, int size, float *inverse) {
    uint32_t top = 0;
    for (int d = 0; d < size; d += 16) {
        const v16 a = v_load(x + d);
        const uint32_t magnitude = v_magnitude(a, a);
        if (magnitude > top) top = magnitude;
    }
    float largest;
    memcpy(&largest, &top, 4);
    *inverse = 0;
    if (top >= 0x7f800000u) return __builtin_nanf("");
    if (largest < 0x1p-100f) return 0;
    *inverse = 127.0f / largest;
    return largest / 127.0f;
}

// 16 elements times the inverse of their scale, to nearest even; 0 where there is no inverse.
CK_INLINE void quantize_16(const float *x, float inverse, int8_t *q) {
    int8_t both[32];
    int32_t sums[2];
    v_store_i8(both, inverse == 0 ? v_zero() : v_mul(v_load(x), v_set1(inverse)), v_zero(), &sums[0], &sums[1]);
    memcpy(q, both, 16);
}

// Stores the finished keys and values of one row: [kv_heads][head_size] each.
static void store_kv8(const ck_plan *plan, const ck_op *op, int32_t row) {
    const int size = plan->head_size;
    const int32_t width = plan->kv_heads * size, token = plan->positions[row] % 16;
    const float *x = plan->staged + (size_t)row * 2 * (size_t)width;
    const size_t block = (size_t)op->layer * (size_t)plan->kv_blocks + (size_t)plan->tables[row][plan->positions[row] / 16];
    for (int32_t head = 0; head < plan->kv_heads; head++, x += size) {
        uint8_t *keys = plan->kv + (block * (size_t)plan->kv_heads + (size_t)head) * plan->kv_head_bytes;
        uint8_t *values = keys + plan->kv_value_offset;
        int8_t q[16];
        float inverse;
        ((float *)(keys + padded_size(size) * 16))[token] = scale_of(x, size, &inverse);
        for (int d = 0; d < size; d += 16) {
            quantize_16(x + d, inverse, q);
            for (int i = 0; i < 16; i++) keys[(d + i) / 4 * 64 + token * 4 + i % 4] = (uint8_t)(q[i] + 128);
        }
        ((float *)(values + size * 16))[token] = scale_of(x + width, size, &inverse);
        for (int d = 0; d < size; d += 16) quantize_16(x + width + d, inverse, (int8_t *)values + token * size + d);
    }
}

// Quantises queries into groups of 8: [queries / 8][padded_size / 32].
static void quantize_queries(const float *const *q, int queries, int size, ck_group *groups) {
    const int columns = padded_size(size);
    const ck_activation to = {.groups = groups, .columns = columns};
    for (int r = 0; r < queries; r++) {
        if (columns == size) {
            quantize(q[r], columns, r, &to);
            continue;
        }
        float padded[512] = {0};
        memcpy(padded, q[r], (size_t)size * sizeof(float));
        quantize(padded, columns, r, &to);
    }
}

// s[r][16 b + lane] = query r . key: over the blocks of 32 elements, ascending, f = fma(d, float(isum), f); then f * scale of the key.
CK_INLINE void score8_tile(const uint8_t *const *keys, const uint8_t *const *ahead, int count, const ck_group *groups, int first, const int rows,
                           int size, float *const *s) {
    const int parts = padded_size(size) / CK_BLOCK, value_bytes = size * 16 + 64;
    for (int b = 0; b < count; b++) {
        for (int line = 0; line < value_bytes; line += 64) v_prefetch(ahead[b] + line);
        v16 f[CK_ROWS_IN_FLIGHT];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) f[r] = v_zero();
        for (int k = 0; k < parts; k++) {
            w16 sum[CK_GROUP];
            dot_u8(keys[b] + 512 * k, groups + k, first, rows, sum);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
                f[r] = v_fma(v_set1(groups[k].d[first + r]), v_from_int(sum[r]), f[r]);
        }
        const v16 scale = v_load((const float *)(keys[b] + padded_size(size) * 16));
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) v_store(s[r] + 16 * b, v_mul(f[r], scale));
    }
}

// Queries [first, first + rows) of a group, at most CK_ROWS_IN_FLIGHT of them.
static void score8(const uint8_t *const *keys, const uint8_t *const *ahead, int count, const ck_group *groups, int first, int rows, int size,
                   float *const *s) {
    switch (rows) {
    case 1: score8_tile(keys, ahead, count, groups, first, 1, size, s); break;
    case 2: score8_tile(keys, ahead, count, groups, first, 2, size, s); break;
    case 3: score8_tile(keys, ahead, count, groups, first, 3, size, s); break;
    case 4: score8_tile(keys, ahead, count, groups, first, 4, size, s); break;
#if CK_ROWS_IN_FLIGHT == 8
    case 5: score8_tile(keys, ahead, count, groups, first, 5, size, s); break;
    case 6: score8_tile(keys, ahead, count, groups, first, 6, size, s); break;
    case 7: score8_tile(keys, ahead, count, groups, first, 7, size, s); break;
    default: score8_tile(keys, ahead, count, groups, first, 8, size, s);
#endif
    }
}
