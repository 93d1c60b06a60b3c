#if defined(__x86_64__)
#include <immintrin.h>

#include "include/ck_variant.h"
#include "units.h"

// SwiftPM has no compiler flags for one file: every function below is compiled for this CPU by attribute.
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#define CK_USE_AVX_VNNI 1
#include "vector_avx2.h"
#include "vector_planes_avx2.h"
#include "body.h"
#pragma clang attribute pop

const ck_variant ck_avxvnni_variant = CK_VARIANT("avxvnni");
#endif
