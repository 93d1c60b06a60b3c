typedef int switchboard_kernels_placeholder;
#include "CKernelsSampler.h"
