// Armv8.0 (Cortex-A53, A72: Raspberry Pi 3 and 4): NEON without a dot product.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "include/ck_variant.h"
#include "units.h"

#include "vector_neon.h"
#include "vector_planes_neon.h"
#include "body.h"

const ck_variant ck_neon_variant = CK_VARIANT("neon");
#endif
