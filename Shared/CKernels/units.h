// How an operation is cut into units that threads claim. Cutting never changes a bit: a unit computes whole outputs.
#ifndef CK_UNITS_H
#define CK_UNITS_H

#include "include/ck_plan.h"

// Panels of one unit of a matrix operation. A BLAS always gets the same columns, so that only its row count varies.
static inline int32_t unit_panels(const ck_plan *plan, const ck_op *op, int32_t matrix) {
    const ck_matrix *m = &op->matrix[matrix];
    const bool pairs = op->kind == CK_OP_SWIGLU;
    if (m->format == CK_F32_ROWS) return pairs ? CK_BLAS_SWIGLU_PANELS : CK_BLAS_PANELS;
    int32_t total = 0;
    for (int32_t i = 0; i < (pairs ? 1 : op->matrix_count); i++) total += op->matrix[i].panels;
    int32_t n = plan->rows >= 64 ? 1 : total / (plan->threads * 8);
    if (n > 16) n = 16;
    if (pairs) n &= ~1;
    return n < (pairs ? 2 : 1) ? (pairs ? 2 : 1) : n;
}

static inline int32_t rows_of(const ck_plan *plan, const ck_op *op) {
    return op->kind == CK_OP_LOGITS || op->kind == CK_OP_OUT_NORM ? plan->outputs : plan->rows;
}

// The first split of which a row sees something.
static inline int32_t first_split(const ck_plan *plan, int32_t position) {
    return plan->window && position >= plan->window ? (position - plan->window + 1) / CK_SPLIT : 0;
}

// Splits that the longest run walks; 0 where one goes beyond those that can be kept apart.
static inline int32_t longest_walk(const ck_plan *plan) {
    int32_t most = 0;
    for (const ck_run *run = plan->runs; run < plan->runs + plan->run_count; run++) {
        const int32_t last = plan->positions[run->row + run->count - 1] / CK_SPLIT;
        const int32_t splits = last - first_split(plan, plan->positions[run->row]) + 1;
        if (last >= plan->part_splits) return 0;
        if (splits > most) most = splits;
    }
    return most;
}

// Query heads of one unit of attention: those of several KV heads where there are runs enough, all that share one KV head, or a single one
// where that keeps more threads busy. `*cost` is the busiest thread's, for each split: reading and converting a KV head costs about
// as much as two queries.
static inline int32_t whole_attention_heads(const ck_plan *plan, int32_t *cost) {
    const int32_t group = plan->heads / plan->kv_heads, threads = plan->threads, runs = plan->run_count;
    const int32_t shared = (runs * plan->kv_heads + threads - 1) / threads * (group + 2);
    const int32_t single = (runs * plan->heads + threads - 1) / threads * 3;
    *cost = shared <= single ? shared : single;
    if (runs >= 8 * threads) return plan->heads;
    return shared <= single ? group : 1;
}

// Splits of one unit of attention, where a few rows have a long way to go and whole walks would leave threads idle; 0 where a unit goes all
// the way. The splits of such a step are kept apart and merged in their order at the end.
static inline int32_t attention_splits(const ck_plan *plan) {
    if (plan->threads == 1 || plan->rows > CK_PART_ROWS) return 0;
    const int32_t walks = plan->run_count * plan->kv_heads, parts = 8 * plan->threads / walks, most = longest_walk(plan);
    if (parts < 2 || most < 2) return 0;
    const int32_t splits = (most + parts - 1) / parts, units = walks * ((most + splits - 1) / splits);
    int32_t whole;
    whole_attention_heads(plan, &whole);
    const int32_t cut = (units + plan->threads - 1) / plan->threads * (plan->heads / plan->kv_heads + 2) * splits;
    return cut < whole * most ? splits : 0;
}

// Query heads of one unit of attention in this step.
static inline int32_t attention_heads(const ck_plan *plan) {
    int32_t cost;
    return attention_splits(plan) ? plan->heads / plan->kv_heads : whole_attention_heads(plan, &cost);
}

// Units into which attention over each run of rows is cut.
static inline int32_t attention_units(const ck_plan *plan) {
    const int32_t splits = attention_splits(plan), parts = splits ? (longest_walk(plan) + splits - 1) / splits : 1;
    return plan->heads / attention_heads(plan) * parts;
}

static inline int32_t matrix_units(const ck_plan *plan, const ck_op *op, int32_t matrix) {
    const int32_t n = unit_panels(plan, op, matrix);
    return (op->matrix[matrix].panels + n - 1) / n;
}

// Matrices whose panels are counted: the up projection goes with the gate.
static inline int32_t counted_matrices(const ck_op *op) { return op->kind == CK_OP_SWIGLU ? 1 : op->matrix_count; }

#endif
