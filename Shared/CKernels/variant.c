#include "include/ck_variant.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

extern const ck_variant ck_scalar_variant;
#if defined(__x86_64__)
extern const ck_variant ck_avx2_variant, ck_avxvnni_variant, ck_avx512_variant;

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

// Leaf 7, subleaf 1, EAX bit 4. Where AVX2 is usable, so is this: both need the same registers saved.
static bool has_avx_vnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif
extern const ck_variant ck_neon_variant, ck_neondot_variant;

// SDOT is optional in Armv8.2 and in every later core; Apple's have it.
static bool has_dot_product(void) {
#if defined(__linux__)
    return getauxval(AT_HWCAP) & 1u << 20;  // HWCAP_ASIMDDP
#else
    return true;
#endif
}
#endif

const ck_variant *ck_variant_get(int32_t id) {
    if (id == CK_SCALAR) return &ck_scalar_variant;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (id == CK_AVX2 && has_avx2()) return &ck_avx2_variant;
    if (id == CK_AVX_VNNI && has_avx2() && has_avx_vnni()) return &ck_avxvnni_variant;
    if (id == CK_AVX512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c"))
        return &ck_avx512_variant;
#elif defined(__aarch64__)
    if (id == CK_NEON) return &ck_neon_variant;  // a part of every Armv8-A with floating point
    if (id == CK_NEON_DOT && has_dot_product()) return &ck_neondot_variant;
#endif
    return 0;
}
