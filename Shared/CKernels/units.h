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

// Query heads of one unit of attention: those of several KV heads where there are runs enough, all that share one KV head, or a single one
// where that keeps more threads busy. Reading and converting a KV head costs about as much as two queries.
static inline int32_t attention_heads(const ck_plan *plan) {
    const int32_t group = plan->heads / plan->kv_heads, threads = plan->threads, runs = plan->run_count;
    if (runs >= 8 * threads) return plan->heads;
    const int32_t shared = (runs * plan->kv_heads + threads - 1) / threads * (group + 2);
    const int32_t single = (runs * plan->heads + threads - 1) / threads * 3;
    return shared <= single ? group : 1;
}

static inline int32_t matrix_units(const ck_plan *plan, const ck_op *op, int32_t matrix) {
    const int32_t n = unit_panels(plan, op, matrix);
    return (op->matrix[matrix].panels + n - 1) / n;
}

// Matrices whose panels are counted: the up projection goes with the gate.
static inline int32_t counted_matrices(const ck_op *op) { return op->kind == CK_OP_SWIGLU ? 1 : op->matrix_count; }

#endif
