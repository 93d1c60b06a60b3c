// Kernels of the engine: weights in panels, one arithmetic over 16 virtual lanes, a variant for each kind of CPU.
// The numerics contract that all of it keeps is docs/numerics.md.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "ck_memory.h"
#include "ck_panel.h"
#include "ck_plan.h"
#include "ck_sampler.h"
#include "ck_variant.h"

#endif
