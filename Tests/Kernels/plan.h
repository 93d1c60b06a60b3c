// Small whole models as plans, with random weights.
#ifndef PLAN_H
#define PLAN_H

#include "CKernels.h"

enum { PLAN_SHAPES = 8 };

// Everything that a step leaves behind: the logits of both steps and the KV blocks.
typedef struct {
    size_t count;
    uint8_t bytes[];
} result;

// Two steps (a prefill of three sequences, then one row each) of the same weights and tokens on any variant. Attention
// takes at most `run_rows` rows together, or as many as the engine does where that is 0. To be freed.
result *run_plan(const ck_variant *variant, int shape, int threads, int run_rows);

#endif
