// A model as one flat list of operations, built once and run by a team of threads in one call a step.
#ifndef CK_PLAN_H
#define CK_PLAN_H

#include <stdbool.h>

#include "ck_panel.h"

struct ck_variant;

typedef enum {
    CK_OP_EMBED,      // token embeddings into x, and the rotations of each row's position
    CK_OP_NORM,       // RMSNorm of x into output
    CK_OP_QKV,        // three matrices; rotates queries and keys, stores keys and values into the KV blocks
    CK_OP_QK_NORM,    // where heads are normed: RMSNorm of each head of the raw queries and keys, then what CK_OP_QKV leaves out
    CK_OP_STORE_KV,   // where the KV cache is of 8 bits: keys and values from `staged` into the KV blocks
    CK_OP_ATTENTION,  // queries over the KV blocks into output
    CK_OP_MERGE,      // after attention, where its units were parts of a walk: the splits of each query in order, into output
    CK_OP_COMPACT,    // input.rows into output.rows without what pads each head to whole vectors
    CK_OP_QUANTIZE,   // output.rows into output.groups, where a head is no whole number of quantised blocks
    CK_OP_PROJECT,    // x += matrix * input
    CK_OP_SWIGLU,     // silu(gate * input + bias) * (up * input + bias) into output
    CK_OP_OUT_NORM,   // RMSNorm of the output rows of x
    CK_OP_LOGITS,     // matrix * input into logits
} ck_op_kind;

typedef struct {
    int32_t kind;
    int32_t layer;
    int32_t matrix_count;
    const float *weight;      // norms: [embedding]; CK_OP_QK_NORM: [head_size], for queries
    const float *key_weight;  // CK_OP_QK_NORM: [head_size], for keys
    const float *bias[3];     // of every matrix: added to its outputs, whole panels of them, or NULL
    ck_matrix matrix[3];
    ck_activation input, output;
} ck_op;

typedef enum { CK_KV_F16, CK_KV_BF16, CK_KV_Q8 } ck_kv_type;

// A run of consecutive rows of one sequence, the unit of attention.
typedef struct {
    int32_t row, count;
    const int32_t *table;
} ck_run;

typedef void (*ck_sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);

typedef struct {
    const struct ck_variant *variant;
    ck_sgemm sgemm;  // cblas_sgemm, where a matrix is CK_F32_ROWS

    const ck_op *ops;
    int32_t op_count;

    int32_t embedding, heads, kv_heads, vocabulary, logits_stride;
    int32_t head_size;          // a multiple of 16; where the model's is not, heads are padded with zeros
    int32_t rope_pairs;         // pairs of a head that are rotated
    const double *rope_turns;   // [rope_pairs] turns per position
    float rope_magnitude;       // of cosines and sines; 1, but for YaRN
    float epsilon, query_scale;
    ck_matrix token_embedding;

    // KV: [layer][block][kv head]{ K: [head_size][16], V: [16][head_size] }; of 8 bits as body_kv8.h says
    uint8_t *kv;
    size_t kv_head_bytes, kv_value_offset;  // of one head in one block; where in it V begins
    int32_t kv_type, kv_blocks;
    int32_t window;  // a row at position p sees the positions above p - window; 0: all up to its own

    float *x;        // [rows][embedding], the residual stream
    float *queries;  // [rows][heads * head_size]
    float *keys;     // [rows][kv_heads * head_size], where the plan has CK_OP_QK_NORM: raw keys; else NULL
    float *staged;   // [rows][2][kv_heads * head_size], finished keys and values, where the plan has CK_OP_STORE_KV; else NULL
    float *rope_cos; // [rows][head_size], each cosine twice
    float *rope_sin; // [rows][head_size], -sin, +sin
    float *logits;   // [outputs][logits_stride]
    uint8_t *non_finite;  // [outputs]
    float *parts;         // [CK_PART_ROWS][heads][part_splits][head_size + CK_PART_TAIL], what the splits of a walk give
    int32_t part_splits;  // 0: walks are not cut
    uint8_t *scratch;     // [threads][scratch_stride]
    size_t scratch_stride;

    // The step.
    int32_t rows, outputs, run_count, threads;
    const int32_t *tokens, *positions, *output_rows;
    const int32_t *const *tables;  // [rows] block table of the row's sequence
    const ck_run *runs;
} ck_plan;

// CK_QUERIES: queries that walk the KV blocks of one head together. CK_PART_ROWS: rows of a step whose walks may be cut at splits.
enum { CK_SPLIT = 256, CK_QUERIES = 24, CK_PART_ROWS = 8, CK_PART_TAIL = 16, CK_BLAS_PANELS = 16, CK_BLAS_SWIGLU_PANELS = 8 };

// Rows of a run at most: as many as fill one walk over the KV blocks with the queries that share a KV head.
static inline int32_t ck_run_rows(int32_t heads, int32_t kv_heads) {
    const int32_t group = heads / kv_heads;
    return group < CK_QUERIES ? CK_QUERIES / group : 1;
}

// Bytes of one head in one block, and where in it V begins.
size_t ck_kv_head_bytes(int32_t kv_type, int32_t head_size);
size_t ck_kv_value_offset(int32_t kv_type, int32_t head_size);

// Scratch bytes of one thread.
size_t ck_scratch_bytes(int32_t head_size, int32_t embedding);

// A team of threads: the caller and `threads - 1` workers that are parked between steps. NULL when it cannot be made.
typedef struct ck_team ck_team;
ck_team *ck_team_create(int32_t threads);
void ck_team_destroy(ck_team *team);

// Runs all operations of a plan on plan->threads threads of the team. Allocates nothing.
void ck_plan_run(ck_team *team, const ck_plan *plan);

// Calls body(context, thread, item) once for each item in 0 ..< count, on at most `threads` threads of the team, each of which takes
// the next item when it is done with one; returns when all are done. Up to CK_FEW_ITEMS of them the caller takes alone: to wake
// somebody costs more. Allocates nothing.
enum { CK_FEW_ITEMS = 2 };
typedef void (*ck_item_body)(void *context, int32_t thread, int32_t item);
void ck_team_each(ck_team *team, int32_t threads, int32_t count, ck_item_body body, void *context);

// Units of an operation in this step: what a thread claims at a time.
int32_t ck_op_units(const ck_plan *plan, const ck_op *op);

// Nanoseconds spent in each kind of operation since the last reset, as the first thread saw it; one for each kind.
void ck_team_profile(ck_team *team, bool on);
uint64_t ck_team_nanoseconds(const ck_team *team, int32_t kind);

#endif
