// The operations of a plan, unit by unit.

typedef struct {
    float y[4][CK_GROUP][16];
} tile_scratch;

// 16 finished outputs of one row of the query, key or value matrix: rotate, then keep or store into the KV block.
CK_INLINE void store_rotated(const ck_plan *plan, const ck_op *op, int32_t matrix, int32_t column, int32_t row, v16 y) {
    const int32_t size = plan->head_size, head = column / size, d = column % size;
    if (matrix < 2) {
        // x' = x cos -+ neighbour sin; pairs are neighbours, as GGUF's llama tensors have them (RoFormer, Su et al., 2021). The rows of
        // other models' matrices are put into this order at load.
        const v16 c = v_load(plan->rope_cos + (size_t)row * (size_t)size + d);
        const v16 s = v_load(plan->rope_sin + (size_t)row * (size_t)size + d);
        y = v_fma(y, c, v_mul(v_swap_pairs(y), s));
    }
    if (matrix == 0) {
        v_store(plan->queries + (size_t)row * (size_t)(plan->heads * size) + column, v_mul(y, v_set1(plan->query_scale)));
        return;
    }
    if (plan->kv_type == CK_KV_Q8) {  // a scale needs the whole head
        const size_t width = (size_t)(plan->kv_heads * size);
        v_store(plan->staged + ((size_t)row * 2 + (size_t)(matrix - 1)) * width + column, y);
        return;
    }
    const int32_t position = plan->positions[row];
    const size_t block = (size_t)op->layer * (size_t)plan->kv_blocks + (size_t)plan->tables[row][position / 16];
    uint16_t *kv = (uint16_t *)(plan->kv + (block * (size_t)plan->kv_heads + (size_t)head) * plan->kv_head_bytes);
    uint16_t element[16];
    if (plan->kv_type == CK_KV_F16) {
        v_store_f16(element, y);
    } else {
        float exact[16];
        v_store(exact, y);
        for (int i = 0; i < 16; i++) element[i] = ck_float_to_bf16(exact[i]);
    }
    if (matrix == 1)
        for (int i = 0; i < 16; i++) kv[(d + i) * 16 + position % 16] = element[i];
    else
        memcpy(kv + size * 16 + (position % 16) * size + d, element, sizeof element);
}

// 16 outputs of one row of the query, key or value matrix. A norm over heads needs whole heads, so then they are stored as they are.
CK_INLINE void store_qkv(const ck_plan *plan, const ck_op *op, int32_t matrix, int32_t panel, int32_t row, v16 y) {
    const int32_t column = panel * 16;
    if (matrix == 2 || !plan->keys) store_rotated(plan, op, matrix, column, row, y);
    else if (matrix == 0) v_store(plan->queries + (size_t)row * (size_t)(plan->heads * plan->head_size) + column, y);
    else v_store(plan->keys + (size_t)row * (size_t)(plan->kv_heads * plan->head_size) + column, y);
}

// All heads of a row's raw queries and keys: RMSNorm, rotation, storing.
static void norm_heads(const ck_plan *plan, const ck_op *op, int32_t row, float *y) {
    const int32_t size = plan->head_size;
    for (int32_t matrix = 0; matrix < 2; matrix++) {
        const int32_t width = (matrix == 0 ? plan->heads : plan->kv_heads) * size;
        const float *x = (matrix == 0 ? plan->queries : plan->keys) + (size_t)row * (size_t)width;
        for (int32_t column = 0; column < width; column += size) {
            norm(x + column, matrix == 0 ? op->weight : op->key_weight, plan->epsilon, size, y);
            for (int32_t d = 0; d < size; d += 16) store_rotated(plan, op, matrix, column + d, row, v_load(y + d));
        }
    }
}

CK_INLINE void store_outputs(const ck_plan *plan, const ck_op *op, int32_t matrix, int32_t panel, int32_t row, int32_t rows,
                             const float *y, size_t stride) {
    for (int32_t r = 0; r < rows; r++, y += stride) {
        v16 v = v_load(y);
        if (op->bias[matrix]) v = v_add(v, v_load(op->bias[matrix] + panel * 16));
        if (op->kind == CK_OP_QKV) {
            store_qkv(plan, op, matrix, panel, row + r, v);
        } else if (op->kind == CK_OP_PROJECT) {
            float *x = plan->x + (size_t)(row + r) * (size_t)plan->embedding + panel * 16;
            v_store(x, v_add(v_load(x), v));
        } else {
            v_store(plan->logits + (size_t)(row + r) * (size_t)plan->logits_stride + panel * 16, v);
            if (v_magnitude(v, v) >= 0x7f800000u) __atomic_store_n(plan->non_finite + row + r, 1, __ATOMIC_RELAXED);
        }
    }
}

// Panels [first, end) of one matrix against rows [row, row_end), at most CK_TILE of them, starting at a whole group.
static void multiply(const ck_plan *plan, const ck_op *op, int32_t matrix, int32_t first, int32_t end, int32_t row, int32_t row_end,
                     uint8_t *scratch) {
    const ck_matrix *m = &op->matrix[matrix];
    float *y = (float *)scratch;
    if (m->format == CK_F32_ROWS) {
        const int32_t columns = end * 16 <= m->rows ? (end - first) * 16 : m->rows - first * 16;
        const int32_t stride = (end - first) * 16;
        memset(y, 0, (size_t)(row_end - row) * (size_t)stride * sizeof(float));
        plan->sgemm(101, 111, 112, row_end - row, columns, m->columns, 1, op->input.rows + (size_t)row * (size_t)m->columns, m->columns,
                    (const float *)m->data + (size_t)first * 16 * (size_t)m->columns, m->columns, 0, y, stride);
        for (int32_t p = first; p < end; p++)
            store_outputs(plan, op, matrix, p, row, row_end - row, y + (p - first) * 16, (size_t)stride);
        return;
    }
    for (int32_t p = first; p < end; p++)
        for (int32_t r = row; r < row_end; r += CK_GROUP) {
            const int32_t n = row_end - r < CK_GROUP ? row_end - r : CK_GROUP;
            tile(m, p, &op->input, r, n, y);
            store_outputs(plan, op, matrix, p, r, n, y, 16);
        }
}

CK_INLINE void store_swiglu(const ck_op *op, int32_t column, int32_t row, const float *gate, const float *up, size_t panel_stride) {
    float h[CK_BLOCK];
    v16 g[2] = {v_load(gate), v_load(gate + panel_stride)}, u[2] = {v_load(up), v_load(up + panel_stride)};
    if (op->bias[0])
        for (int i = 0; i < 2; i++) g[i] = v_add(g[i], v_load(op->bias[0] + column + 16 * i));
    if (op->bias[1])
        for (int i = 0; i < 2; i++) u[i] = v_add(u[i], v_load(op->bias[1] + column + 16 * i));
    for (int i = 0; i < 2; i++) v_store(h + 16 * i, v_swiglu(g[i], u[i]));
    const size_t columns = (size_t)op->output.columns;
    if (op->output.groups)
        quantize_block(h, op->output.groups + (size_t)(row / CK_GROUP) * (columns / CK_BLOCK) + column / CK_BLOCK, row % CK_GROUP);
    if (op->output.rows) memcpy(op->output.rows + (size_t)row * columns + column, h, sizeof h);
}

// Gate and up panels [first, end) side by side: two of each make one block of the hidden activation.
static void multiply_swiglu(const ck_op *op, const ck_plan *plan, int32_t first, int32_t end, int32_t row, int32_t row_end, uint8_t *scratch) {
    const ck_matrix *m = op->matrix;
    if (m[0].format == CK_F32_ROWS) {
        const int32_t columns = (end - first) * 16, rows = row_end - row;
        float *y[2] = {(float *)scratch, (float *)scratch + rows * columns};
        for (int i = 0; i < 2; i++)
            plan->sgemm(101, 111, 112, rows, columns, m[i].columns, 1, op->input.rows + (size_t)row * (size_t)m[i].columns, m[i].columns,
                        (const float *)m[i].data + (size_t)first * 16 * (size_t)m[i].columns, m[i].columns, 0, y[i], columns);
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < columns; c += CK_BLOCK)
                store_swiglu(op, first * 16 + c, row + r, y[0] + r * columns + c, y[1] + r * columns + c, 16);
        return;
    }
    tile_scratch *t = (tile_scratch *)scratch;
    for (int32_t p = first; p < end; p += 2)
        for (int32_t r = row; r < row_end; r += CK_GROUP) {
            const int32_t n = row_end - r < CK_GROUP ? row_end - r : CK_GROUP;
            for (int i = 0; i < 4; i++) tile(&m[i % 2], p + i / 2, &op->input, r, n, t->y[i][0]);
            for (int32_t i = 0; i < n; i++) store_swiglu(op, p * 16, r + i, t->y[0][i], t->y[1][i], 2 * CK_GROUP * 16);
        }
}

static void run_matrix_unit(const ck_plan *plan, const ck_op *op, int32_t unit, uint8_t *scratch) {
    int32_t in_tile = 0;
    for (int32_t i = 0; i < counted_matrices(op); i++) in_tile += matrix_units(plan, op, i);
    const int32_t rows = rows_of(plan, op), row = unit / in_tile * CK_TILE;
    const int32_t row_end = row + CK_TILE < rows ? row + CK_TILE : rows;
    unit %= in_tile;
    int32_t matrix = 0;
    while (unit >= matrix_units(plan, op, matrix)) unit -= matrix_units(plan, op, matrix++);
    const int32_t n = unit_panels(plan, op, matrix), first = unit * n;
    const int32_t end = first + n < op->matrix[matrix].panels ? first + n : op->matrix[matrix].panels;
    if (op->kind == CK_OP_SWIGLU) multiply_swiglu(op, plan, first, end, row, row_end, scratch);
    else multiply(plan, op, matrix, first, end, row, row_end, scratch);
}

// A finished query as what reads it wants it, where a head is a whole number of quantised blocks.
CK_INLINE void quantize_attended(const ck_plan *plan, const ck_op *op, int32_t row, int32_t head, const float *out) {
    const int32_t size = plan->head_size, width = plan->heads * size;
    if (!op->output.groups || size % CK_BLOCK) return;
    ck_group *g = op->output.groups + (size_t)(row / CK_GROUP) * (size_t)(width / CK_BLOCK) + head * size / CK_BLOCK;
    for (int32_t d = 0; d < size; d += CK_BLOCK) quantize_block(out + d, g++, row % CK_GROUP);
}

static void run_attention_unit(const ck_plan *plan, const ck_op *op, int32_t unit, uint8_t *scratch) {
    const int32_t size = plan->head_size, group = plan->heads / plan->kv_heads, width = plan->heads * size;
    const attention_cut cut = cut_attention(plan);
    const int32_t heads = cut.heads, splits = cut.splits, parts = cut.parts, units = attention_units(plan, cut);
    const ck_run *run = plan->runs + unit / units;
    const int32_t end = (unit % units / parts + 1) * heads;
    // Units go from the last to the first; the parts of a walk ascend all the same, as what they ask for ahead does.
    const int32_t begin = (parts - 1 - unit % parts) * splits;
    for (int32_t head = end - heads; head < end;) {
        const int32_t kv_head = head / group, shared = (kv_head + 1) * group < end ? (kv_head + 1) * group - head : end - head;
        const int32_t next_head = head + shared < end ? kv_head + 1 : kv_head, queries = run->count * shared;
        for (int32_t i = 0; i < queries; i += CK_QUERIES) {
            const int32_t n = queries - i < CK_QUERIES ? queries - i : CK_QUERIES;
            const float *q[CK_QUERIES];
            float *out[CK_QUERIES], *kept[CK_QUERIES];
            int32_t position[CK_QUERIES];
            for (int32_t j = 0; j < n; j++) {
                const int32_t row = run->row + (i + j) / shared, h = head + (i + j) % shared;
                const size_t at = (size_t)row * (size_t)width + (size_t)(h * size);
                q[j] = plan->queries + at;
                out[j] = op->output.rows + at;
                position[j] = plan->positions[row];
                kept[j] = splits ? part_of(plan, row, h, 0) : NULL;
            }
            attend(plan, op->layer, kv_head, next_head, run->table, n, position, q, out, begin, splits, kept, (attention_scratch *)scratch);
            for (int32_t j = 0; j < n && !splits; j++)
                quantize_attended(plan, op, run->row + (i + j) / shared, head + (i + j) % shared, out[j]);
        }
        head += shared;
    }
}

// A unit is a row.
static void run_merge_unit(const ck_plan *plan, const ck_op *op, int32_t row) {
    for (int32_t head = 0; head < plan->heads; head++) {
        float *out = op->output.rows + ((size_t)row * (size_t)plan->heads + (size_t)head) * (size_t)plan->head_size;
        merge_parts(plan, row, head, out);
        quantize_attended(plan, op, row, head, out);
    }
}

// A unit of the operations that go row by row is one group, so that two threads never write to one.
static void run_rows_unit(const ck_plan *plan, const ck_op *op, int32_t unit, uint8_t *scratch) {
    const int32_t rows = rows_of(plan, op), end = (unit + 1) * CK_GROUP < rows ? (unit + 1) * CK_GROUP : rows;
    for (int32_t row = unit * CK_GROUP; row < end; row++) {
        if (op->kind == CK_OP_EMBED) {
            ck_gather(&plan->token_embedding, plan->tokens[row], plan->x + (size_t)row * (size_t)plan->embedding);
            float *c = plan->rope_cos + (size_t)row * (size_t)plan->head_size, *s = plan->rope_sin + (size_t)row * (size_t)plan->head_size;
            rope(plan->positions[row], plan->rope_turns, plan->rope_pairs, c, s);
            if (plan->rope_magnitude != 1)
                for (int32_t i = 0; i < 2 * plan->rope_pairs; i++) c[i] *= plan->rope_magnitude, s[i] *= plan->rope_magnitude;
            for (int32_t i = 2 * plan->rope_pairs; i < plan->head_size; i++) c[i] = 1, s[i] = 0;
        } else if (op->kind == CK_OP_COMPACT) {
            const int32_t padded = op->input.columns / plan->heads, size = op->output.columns / plan->heads;
            const float *from = op->input.rows + (size_t)row * (size_t)op->input.columns;
            float *to = op->output.rows + (size_t)row * (size_t)op->output.columns;
            for (int32_t head = 0; head < plan->heads; head++, from += padded, to += size) memcpy(to, from, (size_t)size * sizeof *to);
        } else if (op->kind == CK_OP_QUANTIZE) {
            quantize(op->output.rows + (size_t)row * (size_t)op->output.columns, op->output.columns, row, &op->output);
        } else if (op->kind == CK_OP_QK_NORM) {
            norm_heads(plan, op, row, (float *)scratch);
        } else if (op->kind == CK_OP_STORE_KV) {
            store_kv8(plan, op, row);
        } else {
            const int32_t from = op->kind == CK_OP_OUT_NORM ? plan->output_rows[row] : row;
            float *y = (float *)scratch;
            norm(plan->x + (size_t)from * (size_t)plan->embedding, op->weight, plan->epsilon, plan->embedding, y);
            store_activation(y, plan->embedding, row, &op->output);
        }
    }
}

static void run(const ck_plan *plan, const ck_op *op, int32_t thread, int32_t first, int32_t end) {
    uint8_t *scratch = plan->scratch + (size_t)thread * plan->scratch_stride;
    for (int32_t unit = first; unit < end; unit++) {
        switch (op->kind) {
        case CK_OP_QKV: case CK_OP_PROJECT: case CK_OP_SWIGLU: case CK_OP_LOGITS: run_matrix_unit(plan, op, unit, scratch); break;
        // The longest runs first: they are the last of a prefill.
        case CK_OP_ATTENTION: run_attention_unit(plan, op, ck_op_units(plan, op) - 1 - unit, scratch); break;
        case CK_OP_MERGE: run_merge_unit(plan, op, unit); break;
        default: run_rows_unit(plan, op, unit, scratch);
        }
    }
}
