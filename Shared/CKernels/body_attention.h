// Attention of the queries of one run of rows over the KV blocks of its sequence, for one KV head.
//
// Positions are walked in splits of 256: scores, their maximum, exponentials and the weighted sum of values are computed for the
// split, then merged with what came before. A split is a property of the position alone, so a row's bits do not depend on its batch.

typedef struct {
    float scores[CK_QUERIES][CK_SPLIT];
    float part[];  // [CK_QUERIES][size]: what a split adds; then queries of 8 bits: [CK_QUERIES / 8][size / 32] groups
} attention_scratch;

// Which tokens of a split a query sees, [from, to), relative to the split's first position; empty where from >= to.
typedef struct {
    int from, to;
    bool fresh;  // its first split: there is nothing to merge with
} query_range;

CK_INLINE v16 load_kv(const uint8_t *p, int index, const int type) {
    return type == CK_KV_F16 ? v_load_f16((const uint16_t *)p + index)
           : type == CK_KV_BF16 ? v_load_bf16((const uint16_t *)p + index) : v_from_int(w_load_i8(p + index));
}

// s[r][16 b + lane] = query r . key, the head's elements ascending. `ahead` is what the next pass reads, laid out alike.
CK_INLINE void score_tile(const uint8_t *const *keys, const uint8_t *const *ahead, const int type, const int blocks, const int rows,
                          const float *const *q, int size, float *const *s) {
    v16 f[CK_QUERIES_IN_FLIGHT][CK_BLOCKS_IN_FLIGHT];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int b = 0; b < blocks; b++) f[r][b] = v_zero();
    _Pragma("clang loop unroll_count(2)") for (int d = 0; d < size; d++) {
        v16 k[CK_BLOCKS_IN_FLIGHT];
        if (d % 2 == 0)
            _Pragma("clang loop unroll(full)") for (int b = 0; b < blocks; b++) v_prefetch(ahead[b] + 32 * d);
        _Pragma("clang loop unroll(full)") for (int b = 0; b < blocks; b++) k[b] = load_kv(keys[b], 16 * d, type);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            v16 a = v_set1(q[r][d]);
            _Pragma("clang loop unroll(full)") for (int b = 0; b < blocks; b++) f[r][b] = v_fma(a, k[b], f[r][b]);
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int b = 0; b < blocks; b++) v_store(s[r] + 16 * b, f[r][b]);
}

// o[r][column ..< column + 16 * width] (+)= sum of p[r][t] * value t over the tokens [from, to), ascending.
CK_INLINE void weigh_tile(const uint8_t *const *values, const uint8_t *const *ahead, const int type, int from, int to, const bool *fresh,
                          const int rows, const int width, const float *const *p, int size, int column, float *const *o) {
    v16 f[CK_QUERIES_IN_FLIGHT][4];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++)
            f[r][c] = fresh[r] ? v_zero() : v_load(o[r] + column + 16 * c);
    for (int t = from; t < to;) {
        const int end = (t / 16 + 1) * 16 < to ? (t / 16 + 1) * 16 : to;
        const uint8_t *block = values[t / 16], *next = ahead[t / 16];
        if (type == CK_KV_Q8) v_prefetch(next + 16 * padded_size(size));
        for (; t < end; t++) {
            const int at = t % 16 * size + column;
            v16 x[4];
            v_prefetch(next + (type == CK_KV_Q8 ? at : 2 * at));
            if (type != CK_KV_Q8 && width == 4) v_prefetch(next + 2 * at + 64);
            _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++) x[c] = load_kv(block, at + 16 * c, type);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                v16 a = v_set1(p[r][t]);
                _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++) f[r][c] = v_fma(a, x[c], f[r][c]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++)
        _Pragma("clang loop unroll(full)") for (int c = 0; c < width; c++) v_store(o[r] + column + 16 * c, f[r][c]);
}

typedef void (*score_function)(const uint8_t *const *keys, const uint8_t *const *ahead, int count, const float *const *q, int size,
                               float *const *s);
typedef void (*weigh_function)(const uint8_t *const *values, const uint8_t *const *ahead, int from, int to, const bool *fresh,
                               const float *const *p, int size, float *const *o);

#define CK_SCORE(NAME, TYPE, ROWS)                                                                                            \
    static void score_##NAME##_##ROWS(const uint8_t *const *keys, const uint8_t *const *ahead, int count, const float *const *q, \
                                      int size, float *const *s) {                                                            \
        float *to[ROWS];                                                                                                      \
        for (int r = 0; r < ROWS; r++) to[r] = s[r];                                                                          \
        for (; count >= CK_BLOCKS_IN_FLIGHT; count -= CK_BLOCKS_IN_FLIGHT) {                                                  \
            score_tile(keys, ahead, TYPE, CK_BLOCKS_IN_FLIGHT, ROWS, q, size, to);                                            \
            keys += CK_BLOCKS_IN_FLIGHT, ahead += CK_BLOCKS_IN_FLIGHT;                                                        \
            for (int r = 0; r < ROWS; r++) to[r] += 16 * CK_BLOCKS_IN_FLIGHT;                                                 \
        }                                                                                                                     \
        for (; count > 0; count--, keys++, ahead++) {                                                                         \
            score_tile(keys, ahead, TYPE, 1, ROWS, q, size, to);                                                              \
            for (int r = 0; r < ROWS; r++) to[r] += 16;                                                                       \
        }                                                                                                                     \
    }
#define CK_WEIGH(NAME, TYPE, ROWS)                                                                                            \
    static void weigh_##NAME##_##ROWS(const uint8_t *const *values, const uint8_t *const *ahead, int from, int to,            \
                                      const bool *fresh, const float *const *p, int size, float *const *o) {                  \
        int c = 0;                                                                                                            \
        if (CK_COLUMNS_IN_FLIGHT == 64) {                                                                                     \
            for (; c + 64 <= size; c += 64) weigh_tile(values, ahead, TYPE, from, to, fresh, ROWS, 4, p, size, c, o);         \
            for (; c + 32 <= size; c += 32) weigh_tile(values, ahead, TYPE, from, to, fresh, ROWS, 2, p, size, c, o);         \
        }                                                                                                                     \
        for (; c < size; c += 16) weigh_tile(values, ahead, TYPE, from, to, fresh, ROWS, 1, p, size, c, o);                   \
    }
#define CK_EACH_TILE(KIND, NAME, TYPE) \
    KIND(NAME, TYPE, 1) KIND(NAME, TYPE, 2) KIND(NAME, TYPE, 3) KIND(NAME, TYPE, 4) KIND(NAME, TYPE, 5) KIND(NAME, TYPE, 6)
CK_EACH_TILE(CK_SCORE, f16, CK_KV_F16)
CK_EACH_TILE(CK_SCORE, bf16, CK_KV_BF16)
CK_EACH_TILE(CK_WEIGH, f16, CK_KV_F16)
CK_EACH_TILE(CK_WEIGH, bf16, CK_KV_BF16)
CK_EACH_TILE(CK_WEIGH, q8, CK_KV_Q8)
#define CK_TILES(NAME) {NAME##_1, NAME##_2, NAME##_3, NAME##_4, NAME##_5, NAME##_6}
static const score_function score_table[][CK_QUERIES_IN_FLIGHT] = {[CK_KV_F16] = CK_TILES(score_f16), [CK_KV_BF16] = CK_TILES(score_bf16)};
static const weigh_function weigh_table[][CK_QUERIES_IN_FLIGHT] = {
    [CK_KV_F16] = CK_TILES(weigh_f16), [CK_KV_BF16] = CK_TILES(weigh_bf16), [CK_KV_Q8] = CK_TILES(weigh_q8)};

// The blocks of one split.
typedef struct {
    const uint8_t *keys[CK_SPLIT / 16], *values[CK_SPLIT / 16], *next[CK_SPLIT / 16];
    int first, end;  // blocks that some query sees
    int size, type;
    const ck_group *queries;  // 8-bit K only
    int first_query;          // of them that sees the split
} split_blocks;

CK_INLINE int tile_of(int queries) { return queries < CK_QUERIES_IN_FLIGHT ? queries : CK_QUERIES_IN_FLIGHT; }

// Scores of all queries against the blocks [first, end) of the split.
static void score_split(const split_blocks *b, int queries, const float *const *q, attention_scratch *a) {
    if (b->type == CK_KV_Q8) {
        for (int r = 0, n; r < queries; r += n) {
            float *s[CK_ROWS_IN_FLIGHT];
            const int at = b->first_query + r, left = CK_GROUP - at % CK_GROUP;
            n = queries - r < CK_ROWS_IN_FLIGHT ? queries - r : CK_ROWS_IN_FLIGHT;
            if (n > left) n = left;
            for (int i = 0; i < n; i++) s[i] = a->scores[r + i] + 16 * b->first;
            score8(b->keys + b->first, b->values + b->first, b->end - b->first, b->queries + at / CK_GROUP * (padded_size(b->size) / CK_BLOCK),
                   at % CK_GROUP, n, b->size, s);
        }
        return;
    }
    const score_function *score = score_table[b->type];
    for (int r = 0; r < queries; r += CK_QUERIES_IN_FLIGHT) {
        float *s[CK_QUERIES_IN_FLIGHT];
        const int n = tile_of(queries - r);
        for (int i = 0; i < n; i++) s[i] = a->scores[r + i] + 16 * b->first;
        score[n - 1](b->keys + b->first, b->values + b->first, b->end - b->first, q + r, b->size, s);
    }
}

// Adds the values that the queries see: first the tokens that all of them see, then for each position its own. A token that a query does
// not see is never multiplied: its slot may hold anything, and 0 times infinity is no 0.
static void weigh_split(const split_blocks *b, int queries, const query_range *range, const attention_scratch *a, float *const *o) {
    const weigh_function *weigh = weigh_table[b->type];
    const float *p[CK_QUERIES];
    bool fresh[CK_QUERIES];
    const int from = range[queries - 1].from, to = range[0].to;
    const bool together = from == range[0].from && from < to;
    for (int r = 0; r < queries; r++) {
        p[r] = a->scores[r];
        fresh[r] = !together;
    }
    static const bool all[CK_QUERIES_IN_FLIGHT] = {true, true, true, true, true, true};
    for (int r = 0; together && r < queries; r += CK_QUERIES_IN_FLIGHT)
        weigh[tile_of(queries - r) - 1](b->values, b->next, from, to, all, p + r, b->size, o + r);
    for (int r = 0, n; r < queries; r += n) {
        const query_range own = range[r];
        for (n = 1; n < CK_QUERIES_IN_FLIGHT && r + n < queries && range[r + n].from == own.from && range[r + n].to == own.to;) n++;
        const int begin = together ? to : own.from;
        if (begin < own.to) weigh[n - 1](b->values, b->next, begin, own.to, fresh + r, p + r, b->size, o + r);
    }
}

// Turns scores into exp(score - maximum) over the tokens that each query sees.
static void soften(int queries, const query_range *range, attention_scratch *a, float *top, float *sum) {
    const v16 nothing = v_set1(-__builtin_inff());
    for (int r = 0; r < queries; r++) {
        float *s = a->scores[r];
        const int first = range[r].from / 16, last = (range[r].to - 1) / 16, from = range[r].from % 16, to = range[r].to % 16;
        if (to) v_store(s + 16 * last, v_first(to, v_load(s + 16 * last), nothing));
        if (from) v_store(s + 16 * first, v_first(from, nothing, v_load(s + 16 * first)));
        v16 most = nothing;
        for (int b = first; b <= last; b++) most = v_max(v_load(s + 16 * b), most);
        top[r] = v_top(most);
    }
    for (int r = 0; r < queries; r++) {
        float *s = a->scores[r];
        const v16 shift = v_set1(top[r]);
        v16 total = v_zero();
        for (int b = range[r].from / 16; b <= (range[r].to - 1) / 16; b++) {
            const v16 p = v_exp(v_sub(v_load(s + 16 * b), shift));
            v_store(s + 16 * b, p);
            total = v_add(total, p);
        }
        sum[r] = v_sum(total);
    }
}

// Weights times the scales of the values that they will meet.
static void scale_weights(const split_blocks *b, int queries, const query_range *range, attention_scratch *a) {
    for (int r = 0; r < queries; r++)
        for (int block = range[r].from / 16; block <= (range[r].to - 1) / 16; block++) {
            float *p = a->scores[r] + 16 * block;
            v_store(p, v_mul(v_load(p), v_load((const float *)(b->values[block] + 16 * b->size))));
        }
}

// Adds a split to those before it: out and o [size] are weighted sums of values, sum and split_sum those of the weights.
CK_INLINE void merge_split(float *out, float *top, float *sum, const float *o, float split_top, float split_sum, int size) {
    const float both = split_top > *top ? split_top : *top;
    float scale[16] = {*top - both, split_top - both};
    v_store(scale, v_exp(v_load(scale)));
    const v16 old = v_set1(scale[0]), new = v_set1(scale[1]);
    for (int d = 0; d < size; d += 16) v_store(out + d, v_fma(v_load(o + d), new, v_mul(v_load(out + d), old)));
    *sum = __builtin_fmaf(split_sum, scale[1], *sum * scale[0]);
    *top = both;
}

CK_INLINE void divide(float *out, float sum, int size) {
    const v16 total = v_set1(sum);
    for (int d = 0; d < size; d += 16) v_store(out + d, v_div(v_load(out + d), total));
}

// Where a split of a query is kept until all are there: the weighted sum of values, the largest score, the sum of weights.
CK_INLINE float *part_of(const ck_plan *plan, int32_t row, int32_t head, int32_t split) {
    const size_t query = (size_t)row * (size_t)plan->heads + (size_t)head;
    return plan->parts + (query * (size_t)plan->part_splits + (size_t)split) * (size_t)(plan->head_size + CK_PART_TAIL);
}

// out[r][size] for queries of positions `position[r]`, ascending. `next_head` is the KV head that this thread walks next, or this one.
// Where `splits` is not 0, only that many splits from split `begin` of the walk on, each kept in kept[r], [split][size + CK_PART_TAIL].
static void attend(const ck_plan *plan, int32_t layer, int32_t kv_head, int32_t next_head, const int32_t *table, int queries,
                   const int32_t *position, const float *const *q, float *const *out, int32_t begin, int32_t splits, float *const *kept,
                   attention_scratch *a) {
    const int size = plan->head_size;
    const size_t head = plan->kv_head_bytes, block = head * (size_t)plan->kv_heads;
    const uint8_t *layer_blocks = plan->kv + (size_t)layer * (size_t)plan->kv_blocks * block;
    const uint8_t *kv = layer_blocks + (size_t)kv_head * head, *next = layer_blocks + (size_t)next_head * head;
    float top[CK_QUERIES], sum[CK_QUERIES];
    query_range range[CK_QUERIES];
    const int32_t last = position[queries - 1], window = plan->window;
    int32_t start = first_split(plan, position[0]) * CK_SPLIT;
    const int32_t first_block = start / 16;
    start += begin * CK_SPLIT;
    const int32_t stop = splits && start + splits * CK_SPLIT <= last ? start + splits * CK_SPLIT : last + 1;
    ck_group *quantized = (ck_group *)(a->part + CK_QUERIES * size);
    if (plan->kv_type == CK_KV_Q8) quantize_queries(q, queries, size, quantized);

    for (; start < stop; start += CK_SPLIT) {
        int first = 0, end = queries;  // the queries that see a part of this split
        while (position[first] < start) first++;
        split_blocks b = {.size = size, .type = plan->kv_type, .queries = quantized, .first_query = first};
        for (int r = first; r < queries; r++) {
            const int32_t from = window && position[r] >= window ? position[r] - window + 1 - start : -start;
            if (from >= CK_SPLIT) {
                end = r;
                break;
            }
            const int32_t to = position[r] - start + 1;
            range[r] = (query_range){.from = from > 0 ? from : 0, .to = to < CK_SPLIT ? to : CK_SPLIT, .fresh = from >= 0};
        }
        if (first == end) continue;
        b.first = range[first].from / 16;
        b.end = (range[end - 1].to + 15) / 16;
        for (int i = b.first; i < b.end; i++) {
            b.keys[i] = kv + (size_t)table[start / 16 + i] * block;
            b.values[i] = b.keys[i] + plan->kv_value_offset;
            const int32_t after = start / 16 + i + CK_SPLIT / 16;
            b.next[i] = after <= last / 16 ? kv + (size_t)table[after] * block : next + (size_t)table[first_block + i] * block;
        }
        score_split(&b, end - first, q + first, a);

        float split_top[CK_QUERIES], split_sum[CK_QUERIES], *o[CK_QUERIES];
        soften(end - first, range + first, a, split_top + first, split_sum + first);
        if (b.type == CK_KV_Q8) scale_weights(&b, end - first, range + first, a);
        const size_t part = (size_t)(start / CK_SPLIT) * (size_t)(size + CK_PART_TAIL);
        for (int r = first; r < end; r++) o[r] = splits ? kept[r] + part : range[r].fresh ? out[r] : a->part + r * size;
        weigh_split(&b, end - first, range + first, a, o + first);

        for (int r = first; r < end; r++) {
            if (splits) {
                o[r][size] = split_top[r];
                o[r][size + 1] = split_sum[r];
            } else if (range[r].fresh) {
                top[r] = split_top[r];
                sum[r] = split_sum[r];
            } else {
                merge_split(out[r], &top[r], &sum[r], o[r], split_top[r], split_sum[r], size);
            }
        }
    }
    for (int r = 0; r < queries && !splits; r++) divide(out[r], sum[r], size);
}

// out[size] of one query from its parts.
static void merge_parts(const ck_plan *plan, int32_t row, int32_t head, float *out) {
    const int size = plan->head_size;
    const int32_t first = first_split(plan, plan->positions[row]), last = plan->positions[row] / CK_SPLIT;
    const float *part = part_of(plan, row, head, first);
    float top = part[size], sum = part[size + 1];
    memcpy(out, part, (size_t)size * sizeof *out);
    for (int32_t split = first + 1; split <= last; split++) {
        part = part_of(plan, row, head, split);
        merge_split(out, &top, &sum, part, part[size], part[size + 1], size);
    }
    divide(out, sum, size);
}
