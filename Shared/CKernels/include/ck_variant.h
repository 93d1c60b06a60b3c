// The kernels of one kind of CPU, chosen at run time.
#ifndef CK_VARIANT_H
#define CK_VARIANT_H

#include "ck_panel.h"
#include "ck_plan.h"

typedef enum { CK_SCALAR = 0, CK_AVX2 = 1, CK_AVX512 = 2, CK_NEON = 3, CK_AVX_VNNI = 4, CK_NEON_DOT = 5, CK_VARIANT_COUNT = 6 } ck_variant_id;

// run: units [first, end) of an operation. The others are the pieces of it that tests compare.
typedef struct ck_variant {
    const char *name;
    void (*run)(const ck_plan *plan, const ck_op *op, int32_t thread, int32_t first, int32_t end);
    // y[r * 16 + lane] for `rows` (1...8) rows of group 0 of x against a panel; y is [8][16].
    void (*tile)(const ck_matrix *matrix, int32_t panel, const ck_activation *x, int32_t first_row, int32_t rows, float *y);
    void (*quantize)(const float *x, int32_t columns, int32_t row, const ck_activation *out);
    void (*norm)(const float *x, const float *weight, float epsilon, int32_t columns, float *y);
    void (*exp)(const float *x, int32_t count, float *y);       // count: a multiple of 16
    void (*swiglu)(const float *gate, const float *up, int32_t count, float *y);
    // cos and signed sin of position * turns[i] turns, each twice: c = cos, cos; s = -sin, +sin
    void (*rope)(int32_t position, const double *turns, int32_t pairs, float *c, float *s);
    void (*half)(const float *x, int32_t count, uint16_t *y);   // F32 to F16, to nearest even
    void (*unhalf)(const uint16_t *x, int32_t count, float *y);
} ck_variant;

// NULL where this CPU, or this build, does not have the variant.
const ck_variant *ck_variant_get(int32_t id);

#endif
