/// Sampling kernels: one row of logits in, one token id out.
///
/// Every value is computed elementwise with IEEE operations that round once (no fused operations, no libm, no reduction),
/// and every sum that decides something is a sum of integers. So the token depends on the logits, the settings and the
/// random number alone: not on the CPU, the vector width or the order in which anything was visited.
#ifndef CK_SAMPLER_H
#define CK_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Returned by ck_sampler_sample when a logit is infinite or not a number.
#define CK_SAMPLER_NON_FINITE (-1)

typedef struct {
    /// Divides the logits; 0 (or anything up to 1e-4) takes the largest logit, ties to the lowest id.
    float temperature;
    /// Keeps the top_k largest logits, ties to the lower ids; 0 keeps all.
    uint32_t top_k;
    /// Keeps the fewest tokens, most probable first, whose probabilities reach top_p of what top_k left; >= 1 keeps all.
    float top_p;
    /// Keeps tokens of at least min_p times the largest probability; 0 keeps all.
    float min_p;
} ck_sampler_settings;

/// Bytes of scratch memory for rows of `vocabulary` logits (alignment 64).
size_t ck_sampler_scratch_size(uint32_t vocabulary);

/// Applies the penalties in place.
///
/// For each of `count` distinct ids below `vocabulary`: a positive logit is divided and a negative one multiplied by `repetition`
/// (Keskar et al. 2019, CTRL, section 4.1); then `presence` and `frequency` times the number of the id's occurrences in the
/// generated text are subtracted where that number is not 0.
void ck_sampler_penalize(float *logits, const int32_t *ids, const uint32_t *generated, uint32_t count,
                      float repetition, float presence, float frequency);

/// Chooses a token id.
///
/// - logits: [vocabulary]
/// - random: uniform over all 64-bit numbers
/// - scratch: at least ck_sampler_scratch_size(vocabulary) bytes, aligned to 64
/// - returns the id, or CK_SAMPLER_NON_FINITE
int32_t ck_sampler_sample(const float *logits, uint32_t vocabulary, const ck_sampler_settings *settings, uint64_t random,
                       void *scratch);

/// A row of a batch: what ck_sampler_sample takes, and the id that it returned.
typedef struct {
    const float *logits;
    ck_sampler_settings settings;
    uint64_t random;
    int32_t token;
} ck_sampler_row;

typedef struct {
    ck_sampler_row *rows;
    uint32_t vocabulary;
    void *scratch;  // scratch_stride bytes for each thread
    size_t scratch_stride;
} ck_sampler_batch;

/// Chooses the token of one row of a ck_sampler_batch, in the scratch memory of this thread; an item for ck_team_each.
void ck_sampler_sample_row(void *batch, int32_t thread, int32_t row);

/// exp(x) for x <= 0, relative error below 2e-7 down to -87; 0 below that. Scalar form of the sampler's exponential.
float ck_sampler_exp(float x);

#ifdef __cplusplus
}
#endif

#endif
