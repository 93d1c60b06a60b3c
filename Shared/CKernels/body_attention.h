// Attention of up to 6 queries at a time over the KV blocks of one sequence and one KV head.
//
// Positions are walked in splits of 256: scores, their maximum, exponentials and the weighted sum of values are computed for the
// split, then merged with what came before. A split is a property of the position alone, so a row's bits do not depend on its batch.

typedef struct {
    float scores[CK_QUERY_TILE][CK_SPLIT];
} attention_scratch;

// scores[r][t] = query r . key t for `count` blocks side by side.
CK_INLINE void score_blocks(const uint16_t *const *keys, const int count, const float *const *q, const int rows, int size, float (*s)[CK_SPLIT]) {
    v16 f[CK_QUERY_TILE][4];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int b = 0; b < count; b++) f[r][b] = v_zero();
    for (int d = 0; d < size; d++) {
        v16 k[4];
        _Pragma("clang loop unroll(full)") for (int b = 0; b < count; b++) k[b] = v_load_f16(keys[b] + 16 * d);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            v16 a = v_set1(q[r][d]);
            _Pragma("clang loop unroll(full)") for (int b = 0; b < count; b++) f[r][b] = v_fma(a, k[b], f[r][b]);
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int b = 0; b < count; b++) v_store(s[r] + 16 * b, f[r][b]);
}

// o[r][0..<16 * width] (+)= sum of p[r][t] * value t over the tokens `from` ..< `to`, ascending; starts from 0 where from is 0.
CK_INLINE void weigh_values(const uint16_t *const *values, int from, int to, const float (*p)[CK_SPLIT], const int rows, const int width,
                            int size, int column, float *const *o) {
    v16 f[CK_QUERY_TILE][4];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++)
            f[r][c] = from ? v_load(o[r] + column + 16 * c) : v_zero();
    for (int t = from; t < to;) {
        const uint16_t *v = values[t / 16] + (t % 16) * size + column;
        const int end = (t / 16 + 1) * 16 < to ? (t / 16 + 1) * 16 : to;
        for (; t < end; t++, v += size) {
            v16 x[4];
            _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++) x[c] = v_load_f16(v + 16 * c);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                v16 a = v_set1(p[r][t]);
                _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++) f[r][c] = v_fma(a, x[c], f[r][c]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++) v_store(o[r] + column + 16 * c, f[r][c]);
}

#define CK_ATTENTION(ROWS, BLOCKS)                                                                                    \
    static void score_##ROWS(const uint16_t *const *keys, int count, const float *const *q, int size, float (*s)[CK_SPLIT]) { \
        int b = 0;                                                                                                    \
        for (; b + BLOCKS <= count; b += BLOCKS) score_blocks(keys + b, BLOCKS, q, ROWS, size, (float(*)[CK_SPLIT])(s[0] + 16 * b)); \
        for (; b < count; b++) score_blocks(keys + b, 1, q, ROWS, size, (float(*)[CK_SPLIT])(s[0] + 16 * b));         \
    }                                                                                                                 \
    static void weigh_##ROWS(const uint16_t *const *values, int from, int to, const float (*p)[CK_SPLIT], int size, float *const *o) { \
        int c = 0;                                                                                                    \
        for (; c + 64 <= size; c += 64) weigh_values(values, from, to, p, ROWS, 4, size, c, o);                       \
        for (; c < size; c += 16) weigh_values(values, from, to, p, ROWS, 1, size, c, o);                             \
    }
CK_ATTENTION(1, 4)
CK_ATTENTION(2, 4)
CK_ATTENTION(3, 4)
CK_ATTENTION(4, 2)
CK_ATTENTION(5, 2)
CK_ATTENTION(6, 2)

static void (*const score_table[])(const uint16_t *const *, int, const float *const *, int, float (*)[CK_SPLIT]) = {
    score_1, score_2, score_3, score_4, score_5, score_6};
static void (*const weigh_table[])(const uint16_t *const *, int, int, const float (*)[CK_SPLIT], int, float *const *) = {
    weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

// out[r][size] for queries of positions `position[r]`, ascending. `part` holds [6][size] floats.
static void attend(const ck_plan *plan, int32_t layer, int32_t kv_head, const int32_t *table, int rows, const int32_t *position,
                   const float *const *queries, float *const *out, attention_scratch *scratch, float *part) {
    const int size = plan->head_size;
    const size_t head = (size_t)size * 32, block = head * (size_t)plan->kv_heads;
    const uint16_t *kv = plan->kv + ((size_t)layer * (size_t)plan->kv_blocks) * block + (size_t)kv_head * head;
    float top[CK_QUERY_TILE], sum[CK_QUERY_TILE], split_top[CK_QUERY_TILE], split_sum[CK_QUERY_TILE];
    const int32_t last = position[rows - 1];

    for (int32_t start = 0; start <= last; start += CK_SPLIT) {
        int first = 0;  // rows before it ended in an earlier split
        while (position[first] < start) first++;
        const int active = rows - first;
        const int length = last - start + 1 < CK_SPLIT ? last - start + 1 : CK_SPLIT;
        const int blocks = (length + 15) / 16;
        const uint16_t *keys[CK_SPLIT / 16 + 1], *values[CK_SPLIT / 16 + 1];
        for (int b = 0; b < blocks; b++) {
            keys[b] = kv + (size_t)table[start / 16 + b] * block;
            values[b] = keys[b] + size * 16;
        }
        score_table[active - 1](keys, blocks, queries + first, size, scratch->scores);

        for (int r = 0; r < active; r++) {
            float *s = scratch->scores[r];
            const int own = position[first + r] - start + 1 < length ? position[first + r] - start + 1 : length;
            const int own_blocks = (own + 15) / 16;
            const v16 nothing = v_set1(-__builtin_inff());
            if (own % 16) v_store(s + 16 * (own_blocks - 1), v_first(own % 16, v_load(s + 16 * (own_blocks - 1)), nothing));
            v16 most = nothing;
            for (int b = 0; b < own_blocks; b++) most = v_max(v_load(s + 16 * b), most);
            const float m = v_top(most);
            const v16 shift = v_set1(m);
            v16 total = v_zero();
            for (int b = 0; b < own_blocks; b++) {
                v16 p = v_exp(v_sub(v_load(s + 16 * b), shift));
                v_store(s + 16 * b, p);
                total = v_add(total, p);
            }
            split_top[r] = m;
            split_sum[r] = v_sum(total);
        }

        // Rows weigh their common tokens together, then each its own: a later slot may hold anything, and 0 times infinity is no 0.
        float *to[CK_QUERY_TILE];
        for (int r = 0; r < active; r++) to[r] = start == 0 ? out[first + r] : part + r * size;
        for (int r = 0, done = 0; r < active;) {
            const int own = position[first + r] - start + 1 < length ? position[first + r] - start + 1 : length;
            weigh_table[active - r - 1](values, done, own, (const float(*)[CK_SPLIT])scratch->scores[r], size, to + r);
            done = own;
            const int32_t p = position[first + r];
            while (r < active && (position[first + r] == p || own == length)) r++;
        }

        if (start == 0) {
            for (int r = 0; r < rows; r++) {
                top[r] = split_top[r];
                sum[r] = split_sum[r];
            }
            continue;
        }
        for (int r = 0; r < active; r++) {
            const float m = split_top[r], before = top[first + r], both = m > before ? m : before;
            float scale[16] = {before - both, m - both};
            v_store(scale, v_exp(v_load(scale)));
            const v16 old = v_set1(scale[0]), new = v_set1(scale[1]);
            float *o = out[first + r];
            for (int d = 0; d < size; d += 16) v_store(o + d, v_fma(v_load(to[r] + d), new, v_mul(v_load(o + d), old)));
            sum[first + r] = __builtin_fmaf(split_sum[r], scale[1], sum[first + r] * scale[0]);
            top[first + r] = both;
        }
    }
    for (int r = 0; r < rows; r++) {
        const v16 total = v_set1(sum[r]);
        for (int d = 0; d < size; d += 16) v_store(out[r] + d, v_div(v_load(out[r] + d), total));
    }
}
