#if defined(__aarch64__)
#include <arm_neon.h>

#include "include/ck_variant.h"
#include "units.h"

// SwiftPM has no compiler flags for one file: every function below is compiled for this CPU by attribute.
#define CK_USE_SDOT 1
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#include "vector_neon.h"
#include "vector_planes_neon.h"
#include "body.h"
#pragma clang attribute pop

const ck_variant ck_neondot_variant = CK_VARIANT("neondot");
#endif
