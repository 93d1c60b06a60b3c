// All kernels, written once over 16 virtual lanes; each variant includes this after its vectors.
#include "body_math.h"
#include "body_tile.h"
#include "body_kv8.h"
#include "body_attention.h"
#include "body_ops.h"

static void exp_all(const float *x, int32_t count, float *y) {
    for (int32_t i = 0; i < count; i += 16) v_store(y + i, v_exp(v_load(x + i)));
}
static void swiglu_all(const float *gate, const float *up, int32_t count, float *y) {
    for (int32_t i = 0; i < count; i += 16) v_store(y + i, v_swiglu(v_load(gate + i), v_load(up + i)));
}
static void half_all(const float *x, int32_t count, uint16_t *y) {
    for (int32_t i = 0; i < count; i += 16) v_store_f16(y + i, v_load(x + i));
}
static void unhalf_all(const uint16_t *x, int32_t count, float *y) {
    for (int32_t i = 0; i < count; i += 16) v_store(y + i, v_load_f16(x + i));
}

#define CK_VARIANT(NAME)                                                                                     \
    {.name = NAME, .run = run, .tile = tile, .quantize = quantize, .norm = norm, .exp = exp_all,             \
     .swiglu = swiglu_all, .rope = rope, .half = half_all, .unhalf = unhalf_all}
