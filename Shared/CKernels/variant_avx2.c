#if defined(__x86_64__)
#include <immintrin.h>

#include "include/ck_variant.h"
#include "units.h"

// SwiftPM has no compiler flags for one file: every function below is compiled for this CPU by attribute.
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "vector_avx2.h"
#include "vector_planes_avx2.h"
#include "body.h"
#pragma clang attribute pop

const ck_variant ck_avx2_variant = CK_VARIANT("avx2");
#endif
