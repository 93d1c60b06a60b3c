#define _GNU_SOURCE  // M_PI
#include "plan.h"

#include <math.h>

#include "random.h"

typedef struct {
    int32_t embedding, heads, kv_heads, head_size, feed_forward, vocabulary, format;
    bool biases, norms_heads;
    int32_t kv_type, window;
    int32_t longest;  // tokens of the longest prompt: over the end of one split or of two, which takes three times as long
} model_shape;

static const model_shape shapes[PLAN_SHAPES] = {
    {64, 4, 2, 32, 96, 80, CK_Q8_0, false, false, CK_KV_F16, 0, 290},
    {96, 6, 2, 16, 64, 40, CK_F32, false, false, CK_KV_BF16, 0, 290},
    {64, 3, 1, 64, 160, 48, CK_Q4_1, false, false, CK_KV_F16, 40, 530},
    {64, 2, 2, 32, 64, 48, CK_Q8_0, true, false, CK_KV_BF16, 270, 530},
    {64, 4, 1, 48, 96, 32, CK_Q4_1, false, true, CK_KV_F16, 0, 530},
    {64, 9, 3, 64, 96, 32, CK_Q4_1, false, false, CK_KV_Q8, 0, 290},
    {64, 8, 1, 48, 96, 32, CK_Q8_0, false, true, CK_KV_Q8, 40, 290},
    {32, 26, 1, 16, 32, 32, CK_Q8_0, false, false, CK_KV_F16, 0, 290},  // more queries share a KV head than walk its blocks together
};
enum { LAYERS = 2, SEQUENCES = 3, MOST_ROWS = 560, BLOCKS = 102, TABLE = 34 };
static const int32_t lengths[SEQUENCES] = {0, 17, 5};  // the shape's own, over the end of a block, within a block

// All memory of one plan, to be freed with it.
typedef struct {
    void *blocks[256];
    int count;
} memory;

static void *take(memory *owner, size_t bytes) {
    if (owner->count == sizeof owner->blocks / sizeof *owner->blocks) exit(2);
    return owner->blocks[owner->count++] = aligned(bytes);
}

// Rows of blocks as a file has them, with weights that keep activations near 1.
static ck_matrix random_matrix(memory *owner, int32_t format, int32_t rows, int32_t columns, random_state *random) {
    ck_matrix m = {.format = format, .rows = rows, .columns = columns, .panels = (rows + 15) / 16};
    m.panel_stride = ck_panel_bytes(format, columns);
    const size_t values = (size_t)rows * (size_t)columns;
    uint8_t *data = take(owner, m.panel_stride * (size_t)m.panels), *source = aligned(values * 4), *s = source;
    const float scale = 1 / sqrtf((float)columns);
    if (format == CK_F32) {
        for (size_t i = 0; i < values; i++) ((float *)(void *)source)[i] = random_float(random) * scale;
    } else {
        for (size_t block = 0; block < values / CK_BLOCK; block++) {
            const float d = format == CK_Q8_0 ? scale / 100 : scale / 7, base = -7.5f * d;
            float halves[16] = {d, base};
            uint16_t bits[16];
            ck_variant_get(CK_SCALAR)->half(halves, 16, bits);
            const size_t head = format == CK_Q8_0 ? 2 : 4, quants = format == CK_Q8_0 ? 32 : 16;
            memcpy(s, bits, head);
            for (size_t i = 0; i < quants; i++) s[head + i] = (uint8_t)next_random(random);
            s += head + quants;
        }
    }
    ck_repack(source, format, &m, data);
    free(source);
    m.data = data;
    return m;
}

static float *random_weights(memory *owner, int32_t count, random_state *random) {
    float *w = take(owner, (size_t)count * sizeof(float));
    for (int32_t i = 0; i < count; i++) w[i] = 1 + random_float(random) / 4;
    return w;
}

static ck_activation activation(memory *owner, int32_t columns) {
    return (ck_activation){take(owner, (size_t)(MOST_ROWS / CK_GROUP) * (size_t)(columns / CK_BLOCK) * sizeof(ck_group)),
                           take(owner, (size_t)MOST_ROWS * (size_t)columns * sizeof(float)), columns};
}

static int add_layer(memory *owner, ck_op *ops, int n, const model_shape *s, int32_t layer, ck_activation normed, ck_activation attended,
                     ck_activation hidden, random_state *random) {
    const int32_t width = s->heads * s->head_size, kv_width = s->kv_heads * s->head_size;
    ops[n++] = (ck_op){.kind = CK_OP_NORM, .weight = random_weights(owner, s->embedding, random), .output = normed};
    ops[n++] = (ck_op){.kind = CK_OP_QKV, .layer = layer, .matrix_count = 3, .input = normed,
                       .matrix = {random_matrix(owner, s->format, width, s->embedding, random),
                                  random_matrix(owner, s->format, kv_width, s->embedding, random),
                                  random_matrix(owner, s->format, kv_width, s->embedding, random)}};
    if (s->biases) {
        const int32_t widths[3] = {width, kv_width, kv_width};
        for (int i = 0; i < 3; i++) ops[n - 1].bias[i] = random_weights(owner, widths[i], random);
    }
    if (s->norms_heads)
        ops[n++] = (ck_op){.kind = CK_OP_QK_NORM, .layer = layer, .weight = random_weights(owner, s->head_size, random),
                           .key_weight = random_weights(owner, s->head_size, random)};
    if (s->kv_type == CK_KV_Q8) ops[n++] = (ck_op){.kind = CK_OP_STORE_KV, .layer = layer};
    ops[n++] = (ck_op){.kind = CK_OP_ATTENTION, .layer = layer, .output = attended};
    ops[n++] = (ck_op){.kind = CK_OP_MERGE, .output = attended};
    if (s->head_size % CK_BLOCK) ops[n++] = (ck_op){.kind = CK_OP_QUANTIZE, .output = attended};
    ops[n++] = (ck_op){.kind = CK_OP_PROJECT, .matrix_count = 1, .input = attended,
                       .matrix = {random_matrix(owner, s->format, s->embedding, width, random)}};
    ops[n++] = (ck_op){.kind = CK_OP_NORM, .weight = random_weights(owner, s->embedding, random), .output = normed};
    ops[n++] = (ck_op){.kind = CK_OP_SWIGLU, .matrix_count = 2, .input = normed, .output = hidden,
                       .matrix = {random_matrix(owner, s->format, s->feed_forward, s->embedding, random),
                                  random_matrix(owner, s->format, s->feed_forward, s->embedding, random)}};
    if (s->biases)
        for (int i = 0; i < 2; i++) ops[n - 1].bias[i] = random_weights(owner, s->feed_forward, random);
    ops[n++] = (ck_op){.kind = CK_OP_PROJECT, .matrix_count = 1, .input = hidden,
                       .matrix = {random_matrix(owner, s->format, s->embedding, s->feed_forward, random)}};
    if (s->biases) ops[n - 1].bias[0] = random_weights(owner, s->embedding, random);
    return n;
}

// Sequence i has blocks i, i + 3, i + 6 and so on: no two neighbours in memory are neighbours in a sequence.
static void add_rows(ck_plan *plan, ck_run *runs, const int32_t **row_tables, int32_t *tokens, int32_t *positions,
                     int32_t (*tables)[TABLE], int32_t run_rows, int32_t sequence, int32_t from, int32_t to) {
    for (int32_t p = from; p < to; p++) {
        if (p == from || runs[plan->run_count - 1].count == run_rows)
            runs[plan->run_count++] = (ck_run){.row = plan->rows, .table = tables[sequence]};
        runs[plan->run_count - 1].count++;
        tokens[plan->rows] = (p * 31 + sequence * 7) % plan->vocabulary;
        positions[plan->rows] = p;
        row_tables[plan->rows++] = tables[sequence];
    }
}

result *run_plan(const ck_variant *variant, int shape, int threads, int run_rows) {
    const model_shape *s = &shapes[shape];
    random_state random = {(uint64_t)shape + 100};
    if (run_rows == 0) run_rows = ck_run_rows(s->heads, s->kv_heads);
    memory owner = {0};
    ck_op ops[LAYERS * 11 + 3];
    const ck_activation normed = activation(&owner, s->embedding), hidden = activation(&owner, s->feed_forward);
    const ck_activation attended = activation(&owner, s->heads * s->head_size);
    int n = 0;
    ops[n++] = (ck_op){.kind = CK_OP_EMBED};
    for (int32_t layer = 0; layer < LAYERS; layer++) n = add_layer(&owner, ops, n, s, layer, normed, attended, hidden, &random);
    ops[n++] = (ck_op){.kind = CK_OP_OUT_NORM, .weight = random_weights(&owner, s->embedding, &random), .output = normed};
    const ck_matrix output = random_matrix(&owner, s->format, s->vocabulary, s->embedding, &random);
    ops[n++] = (ck_op){.kind = CK_OP_LOGITS, .matrix_count = 1, .input = normed, .matrix = {output}};

    double turns[32];
    for (int i = 0; i < s->head_size / 2; i++) turns[i] = pow(10000, -2.0 * i / s->head_size) / (2 * M_PI);
    int32_t tables[SEQUENCES][TABLE], tokens[MOST_ROWS], positions[MOST_ROWS], outputs[SEQUENCES];
    const int32_t *row_tables[MOST_ROWS];
    ck_run runs[MOST_ROWS];
    for (int32_t i = 0; i < SEQUENCES * TABLE; i++) tables[i % SEQUENCES][i / SEQUENCES] = i;
    const size_t head_bytes = ck_kv_head_bytes(s->kv_type, s->head_size), kv_bytes = (size_t)LAYERS * BLOCKS * (size_t)s->kv_heads * head_bytes;
    ck_plan plan = {
        .variant = variant, .ops = ops, .op_count = n, .embedding = s->embedding, .heads = s->heads, .kv_heads = s->kv_heads,
        .head_size = s->head_size, .vocabulary = s->vocabulary, .logits_stride = (s->vocabulary + 15) / 16 * 16,
        .rope_pairs = s->head_size / 2, .rope_turns = turns, .rope_magnitude = s->biases ? 1.2f : 1, .epsilon = 1e-5f,
        .query_scale = 1 / sqrtf((float)s->head_size), .token_embedding = output, .kv_blocks = BLOCKS, .kv_type = s->kv_type,
        .kv_head_bytes = head_bytes, .kv_value_offset = ck_kv_value_offset(s->kv_type, s->head_size), .window = s->window,
        .tables = row_tables, .runs = runs, .tokens = tokens,
        .positions = positions, .output_rows = outputs, .outputs = SEQUENCES, .threads = threads,
        .scratch_stride = ck_scratch_bytes(s->head_size, s->embedding),
    };
    const size_t row_floats = (size_t)MOST_ROWS * sizeof(float);
    plan.kv = take(&owner, kv_bytes);
    plan.x = take(&owner, row_floats * (size_t)s->embedding);
    plan.queries = take(&owner, row_floats * (size_t)(s->heads * s->head_size));
    if (s->kv_type == CK_KV_Q8) plan.staged = take(&owner, 2 * row_floats * (size_t)(s->kv_heads * s->head_size));
    if (s->norms_heads) plan.keys = take(&owner, row_floats * (size_t)(s->kv_heads * s->head_size));
    plan.rope_cos = take(&owner, row_floats * (size_t)s->head_size);
    plan.rope_sin = take(&owner, row_floats * (size_t)s->head_size);
    plan.logits = take(&owner, SEQUENCES * (size_t)plan.logits_stride * sizeof(float));
    plan.non_finite = take(&owner, SEQUENCES);
    plan.part_splits = (TABLE * 16 + CK_SPLIT - 1) / CK_SPLIT;
    plan.parts = take(&owner, (size_t)(CK_PART_ROWS * s->heads * plan.part_splits) * (size_t)(s->head_size + CK_PART_TAIL) * sizeof(float));
    plan.scratch = take(&owner, plan.scratch_stride * (size_t)threads);

    ck_team *team = ck_team_create(threads);
    if (!team) exit(2);
    const size_t logits = SEQUENCES * (size_t)plan.logits_stride * sizeof(float);
    result *r = calloc(1, sizeof *r + 2 * logits + kv_bytes);
    if (!r) exit(2);
    for (int32_t step = 0; step < 2; step++) {
        plan.rows = plan.run_count = 0;
        for (int32_t i = 0; i < SEQUENCES; i++) {
            const int32_t length = i == 0 ? s->longest : lengths[i];
            add_rows(&plan, runs, row_tables, tokens, positions, tables, run_rows, i, step ? length : 0, length + step);
            outputs[i] = plan.rows - 1;
        }
        ck_plan_run(team, &plan);
        memcpy(r->bytes + r->count, plan.logits, logits);
        r->count += logits;
    }
    memcpy(r->bytes + r->count, plan.kv, kv_bytes);
    r->count += kv_bytes;
    ck_team_destroy(team);
    while (owner.count) free(owner.blocks[--owner.count]);
    return r;
}
