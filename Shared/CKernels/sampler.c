#include "ck_sampler.h"

#include <string.h>

// The elementwise loops below are compiled a second time for AVX2: the same IEEE operations, so the same bits, on wider registers.
#if defined(__x86_64__) && defined(__linux__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

// A weight is exp((logit - max) / temperature) in fixed point. 2^30 fits int32, whose conversion from float is vectorised; a
// token rarer than 2^-31 of the most probable one gets weight 0 and is never drawn.
#define WEIGHT_ONE 1073741824.0f

// Chunks of the row whose maxima bound the k-th largest logit from below.
enum { CHUNKS = 512, BINS = 4096 };

typedef struct {
    uint64_t bins[BINS];
    uint32_t chunk_max[CHUNKS];  // order-preserving keys
    uint32_t *ids;               // candidates, ascending
    uint32_t *keys;              // order-preserving keys of the candidates' logits
    uint32_t *weights;
    uint32_t *boundary;          // indexes into the candidates: the bin under selection
} scratch_layout;

static size_t round_up(size_t n) { return (n + 63) / 64 * 64; }

size_t ck_sampler_scratch_size(uint32_t vocabulary) {
    return round_up(sizeof(scratch_layout)) + 4 * round_up((size_t)vocabulary * sizeof(uint32_t));
}

static scratch_layout *lay_out(void *memory, uint32_t vocabulary) {
    scratch_layout *s = memory;
    size_t row = round_up((size_t)vocabulary * sizeof(uint32_t));
    char *p = (char *)memory + round_up(sizeof(scratch_layout));
    s->ids = (uint32_t *)p;
    s->keys = (uint32_t *)(p + row);
    s->weights = (uint32_t *)(p + 2 * row);
    s->boundary = (uint32_t *)(p + 3 * row);
    return s;
}

static inline uint32_t bits_of(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static inline float float_of(uint32_t b) {
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/// Unsigned order of the keys is the order of the floats; -0 and +0 are one value.
static inline uint32_t key_of(float x) {
    uint32_t b = bits_of(x + 0.0f);
    return b ^ ((uint32_t)-(int32_t)(b >> 31) | 0x80000000u);
}

/// Cody and Waite's reduction, a Taylor polynomial of degree 7 on [-ln2/2, ln2/2] (error 5e-9), and the power of two put into the
/// exponent's bits.
static inline float exp_nonpositive(float x) {
    float in_range = x > -87.0f ? x : -87.0f;
    // Adding 1.5 * 2^23 leaves the rounded quotient in the low bits of the sum.
    float shifted = in_range * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = in_range - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    float scale = float_of((bits_of(shifted) - 0x4B400000u + 127u) << 23);
    return x > -87.0f ? p * scale : 0.0f;
}

float ck_sampler_exp(float x) { return exp_nonpositive(x); }

void ck_sampler_penalize(float *logits, const int32_t *ids, const uint32_t *generated, uint32_t count,
                      float repetition, float presence, float frequency) {
    for (uint32_t i = 0; i < count; i++) {
        float l = logits[ids[i]];
        l = l > 0.0f ? l / repetition : l * repetition;
        if (generated[i] > 0) {
            float frequent = frequency * (float)generated[i];
            l = l - presence;
            l = l - frequent;
        }
        logits[ids[i]] = l;
    }
}

/// Keys of all logits into `keys`; chunk maxima into `chunk_max`; returns whether all logits are finite.
WIDE static int scan(const float *restrict logits, uint32_t n, uint32_t chunk, uint32_t *restrict keys,
                     uint32_t *restrict chunk_max) {
    uint32_t bad = 0;
    uint32_t c = 0;
    for (uint32_t start = 0; start < n; start += chunk, c++) {
        uint32_t end = n - start < chunk ? n : start + chunk;
        uint32_t top = 0;
        for (uint32_t i = start; i < end; i++) {
            uint32_t exponent = bits_of(logits[i]) & 0x7F800000u;
            bad |= exponent == 0x7F800000u;
            uint32_t key = key_of(logits[i]);
            keys[i] = key;
            top = key > top ? key : top;
        }
        chunk_max[c] = top;
    }
    return bad == 0;
}

/// weights[i] = round(2^30 * exp((logit - top) * inverse_temperature)) from the keys.
WIDE static void weigh(const uint32_t *restrict keys, uint32_t n, float top, float inverse_temperature,
                       uint32_t *restrict weights) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = keys[i];
        // The inverse of key_of.
        float logit = float_of(key ^ (((key >> 31) - 1u) | 0x80000000u));
        float w = exp_nonpositive((logit - top) * inverse_temperature) * WEIGHT_ONE;
        weights[i] = (uint32_t)(int32_t)(w + 0.5f);
    }
}

WIDE static uint64_t sum(const uint32_t *restrict weights, uint32_t n) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++) total += weights[i];
    return total;
}

/// The candidates with a key above `key`, and the first `ties` of those equal to it, keep their order; returns their number.
static uint32_t keep(scratch_layout *s, uint32_t n, uint32_t key, uint32_t ties, int weighted) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = s->keys[i];
        int tie = k == key && ties > 0;
        ties -= (uint32_t)tie;
        s->ids[kept] = s->ids[i];
        s->keys[kept] = k;
        if (weighted) s->weights[kept] = s->weights[i];
        kept += (uint32_t)(k > key || tie);
    }
    return kept;
}

/// Where the mass of the candidates, taken by descending key and then ascending id, first reaches `target`.
///
/// A radix selection over the keys' bits (12, 10, 10), so that no order has to be made. The mass of a candidate is its weight, or 1
/// when `weighted` is 0. `target` is in 1 ... the mass of all. Sets the boundary key and how many candidates that have this key belong.
static void select_boundary(scratch_layout *s, uint32_t n, uint64_t target, int weighted, uint32_t *key, uint32_t *ties) {
    static const struct { uint32_t shift, bins; } levels[3] = {{20, 4096}, {10, 1024}, {0, 1024}};
    uint32_t count = n;
    uint32_t prefix = 0;
    uint64_t above = 0;
    for (int level = 0; level < 3; level++) {
        uint32_t shift = levels[level].shift, mask = levels[level].bins - 1;
        memset(s->bins, 0, levels[level].bins * sizeof(uint64_t));
        for (uint32_t j = 0; j < count; j++) {
            uint32_t i = level == 0 ? j : s->boundary[j];
            s->bins[(s->keys[i] >> shift) & mask] += weighted ? s->weights[i] : 1;
        }
        uint32_t bin = mask;
        while (bin > 0 && above + s->bins[bin] < target) above += s->bins[bin--];
        prefix |= bin << shift;
        uint32_t inside = 0;
        for (uint32_t j = 0; j < count; j++) {
            uint32_t i = level == 0 ? j : s->boundary[j];
            s->boundary[inside] = i;
            inside += ((s->keys[i] >> shift) & mask) == bin;
        }
        count = inside;
    }
    uint32_t taken = 0;
    while (taken < count && above < target) above += weighted ? s->weights[s->boundary[taken++]] : (taken++, 1u);
    *key = prefix;
    *ties = taken;
}

/// Copies the ids and keys of all logits with at least this key into the candidates.
static uint32_t gather(scratch_layout *s, uint32_t vocabulary, uint32_t chunk, uint32_t at_least) {
    uint32_t kept = 0;
    uint32_t c = 0;
    for (uint32_t start = 0; start < vocabulary; start += chunk, c++) {
        if (s->chunk_max[c] < at_least) continue;
        uint32_t end = vocabulary - start < chunk ? vocabulary : start + chunk;
        for (uint32_t i = start; i < end; i++) {
            uint32_t key = s->keys[i];
            s->ids[kept] = i;
            s->keys[kept] = key;
            kept += key >= at_least;
        }
    }
    return kept;
}

/// The k-th largest of the chunks' maxima: at least k logits are not below it. 0 when there are fewer chunks.
static uint32_t bound_of_top_k(scratch_layout *s, uint32_t chunks, uint32_t k) {
    if (k > chunks) return 0;
    uint32_t *sorted = s->boundary;  // not in use yet
    uint32_t size = 0;
    for (uint32_t c = 0; c < chunks; c++) {
        uint32_t key = s->chunk_max[c];
        if (size == k && key <= sorted[k - 1]) continue;
        uint32_t at = size < k ? size++ : k - 1;
        for (; at > 0 && sorted[at - 1] < key; at--) sorted[at] = sorted[at - 1];
        sorted[at] = key;
    }
    return sorted[k - 1];
}

static uint32_t keep_top_k(scratch_layout *s, uint32_t vocabulary, uint32_t chunk, uint32_t chunks, uint32_t k) {
    uint32_t n = gather(s, vocabulary, chunk, bound_of_top_k(s, chunks, k));
    uint32_t key, ties;
    select_boundary(s, n, k, 0, &key, &ties);
    return keep(s, n, key, ties, 0);
}

/// Drops candidates whose weight is below `least`; `dense` candidates are the whole row and have no ids yet.
static uint32_t keep_weights(scratch_layout *s, uint32_t n, uint32_t least, int dense) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t w = s->weights[i];
        s->ids[kept] = dense ? i : s->ids[i];
        s->keys[kept] = s->keys[i];
        s->weights[kept] = w;
        kept += w >= least;
    }
    return kept;
}

static uint32_t keep_top_p(scratch_layout *s, uint32_t n, float top_p, int dense) {
    uint64_t total = sum(s->weights, n);
    uint64_t target = (uint64_t)((double)top_p * (double)total);
    target = target < 1 ? 1 : target > total ? total : target;
    // All candidates lighter than this weigh less than what may be left out, so none of them belongs.
    uint64_t least = (total - target) / ((uint64_t)n + 1);
    n = keep_weights(s, n, least > WEIGHT_ONE ? (uint32_t)WEIGHT_ONE : (uint32_t)least, dense);
    uint32_t key, ties;
    select_boundary(s, n, target, 1, &key, &ties);
    return keep(s, n, key, ties, 1);
}

/// The candidate on which the random number falls, in ascending order of id. At least one candidate weighs something.
static uint32_t draw(const uint32_t *weights, uint32_t n, uint64_t random) {
    uint64_t rest = (uint64_t)(((unsigned __int128)random * sum(weights, n)) >> 64);
    uint32_t i = 0;
    // Whole stretches first: sums are vectorised, the walk is not.
    for (; n - i > 1024; i += 1024) {
        uint64_t stretch = sum(weights + i, 1024);
        if (rest < stretch) break;
        rest -= stretch;
    }
    for (; i + 1 < n && rest >= weights[i]; i++) rest -= weights[i];
    return i;
}

int32_t ck_sampler_sample(const float *logits, uint32_t vocabulary, const ck_sampler_settings *settings, uint64_t random,
                       void *memory) {
    if (vocabulary == 0) return CK_SAMPLER_NON_FINITE;
    scratch_layout *s = lay_out(memory, vocabulary);
    uint32_t chunk = (vocabulary + CHUNKS - 1) / CHUNKS;
    if (!scan(logits, vocabulary, chunk, s->keys, s->chunk_max)) return CK_SAMPLER_NON_FINITE;
    uint32_t chunks = (vocabulary + chunk - 1) / chunk;
    uint32_t best = 0;
    for (uint32_t c = 1; c < chunks; c++)
        if (s->chunk_max[c] > s->chunk_max[best]) best = c;
    uint32_t first = best * chunk;
    while (s->keys[first] != s->chunk_max[best]) first++;
    if (!(settings->temperature > 1e-4f) || settings->top_k == 1) return (int32_t)first;

    int dense = settings->top_k == 0 || settings->top_k >= vocabulary;
    uint32_t n = dense ? vocabulary : keep_top_k(s, vocabulary, chunk, chunks, settings->top_k);
    weigh(s->keys, n, logits[first], 1.0f / settings->temperature, s->weights);
    if (settings->top_p < 1.0f) {
        n = keep_top_p(s, n, settings->top_p, dense);
        dense = 0;
    }
    if (settings->min_p > 0.0f) {
        float least = settings->min_p * WEIGHT_ONE;
        n = keep_weights(s, n, least < WEIGHT_ONE ? (uint32_t)least : (uint32_t)WEIGHT_ONE, dense);
        dense = 0;
    }
    uint32_t drawn = draw(s->weights, n, random);
    return (int32_t)(dense ? drawn : s->ids[drawn]);
}

void ck_sampler_sample_row(void *batch, int32_t thread, int32_t row) {
    const ck_sampler_batch *b = batch;
    ck_sampler_row *r = &b->rows[row];
    r->token = ck_sampler_sample(r->logits, b->vocabulary, &r->settings, r->random,
                                 (char *)b->scratch + (size_t)thread * b->scratch_stride);
}
