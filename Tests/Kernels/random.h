// Random numbers that are the same on every machine (SplitMix64, Steele et al., 2014), and memory on a line's boundary.
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { uint64_t state; } random_state;

static inline uint64_t next_random(random_state *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Uniform on [-1, 1).
static inline float random_float(random_state *random) { return (float)(next_random(random) >> 40) * 0x1p-23f - 1; }

// Zeroed, with room behind it for what a kernel prefetches or over-reads within a line.
static inline void *aligned(size_t bytes) {
    const size_t rounded = (bytes + 127) & ~(size_t)63;
    void *memory = aligned_alloc(64, rounded);
    if (!memory) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    return memset(memory, 0, rounded);
}

#endif
