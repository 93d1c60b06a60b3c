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

// How attention over each run of rows is cut into units: each is of `heads` query heads, and of `splits` splits of their walk, of which
// there are `parts`; 0 splits where a unit goes all the way.
typedef struct {
    int32_t heads, splits, parts;
} attention_cut;

// The heads of a unit are those of several KV heads where there are runs enough, all that share one KV head, or a single one where that
// keeps more threads busy. Costs are the busiest thread's: reading and converting a KV head costs about as much as two queries.
// Where a few rows have a long way to go and whole walks would leave threads idle, walks are cut. The splits of such a step are kept
// apart and merged in their order at the end.
static inline attention_cut cut_attention(const ck_plan *plan) {
    const int32_t group = plan->heads / plan->kv_heads, threads = plan->threads, runs = plan->run_count, walks = runs * plan->kv_heads;
    const int32_t shared = (walks + threads - 1) / threads * (group + 2);
    const int32_t single = (runs * plan->heads + threads - 1) / threads * 3;
    const attention_cut whole = {.heads = runs >= 8 * threads ? plan->heads : shared <= single ? group : 1, .parts = 1};
    if (threads == 1 || plan->rows > CK_PART_ROWS) return whole;
    const int32_t most_parts = 8 * threads / walks, most = longest_walk(plan);
    if (most_parts < 2 || most < 2) return whole;
    const int32_t splits = (most + most_parts - 1) / most_parts, parts = (most + splits - 1) / splits;
    const int32_t cost = (walks * parts + threads - 1) / threads * (group + 2) * splits;
    if (cost >= (shared <= single ? shared : single) * most) return whole;
    return (attention_cut){.heads = group, .splits = splits, .parts = parts};
}

// Units of each run of rows.
static inline int32_t attention_units(const ck_plan *plan, attention_cut cut) { return plan->heads / cut.heads * cut.parts; }

static inline int32_t matrix_units(const ck_plan *plan, const ck_op *op, int32_t matrix) {
    const int32_t n = unit_panels(plan, op, matrix);
    return (op->matrix[matrix].panels + n - 1) / n;
}

// Matrices whose panels are counted: the up projection goes with the gate.
static inline int32_t counted_matrices(const ck_op *op) { return op->kind == CK_OP_SWIGLU ? 1 : op->matrix_count; }

#endif
