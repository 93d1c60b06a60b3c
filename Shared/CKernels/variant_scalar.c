#include "include/ck_variant.h"
#include "units.h"
#include "vector_scalar.h"
#include "vector_planes_scalar.h"
#include "body.h"

const ck_variant ck_scalar_variant = CK_VARIANT("scalar");
