// The part of panel.c for formats whose quants lie in planes.
#ifndef CK_PANEL_PLANES_H
#define CK_PANEL_PLANES_H

#include "include/ck_panel.h"

static inline int has_planes(int32_t format) { return format >= CK_Q5_0 && format <= CK_IQ4_XS; }

// 0 where the columns are no whole number of blocks.
size_t planes_panel_bytes(int32_t format, int32_t columns);
void planes_repack(const uint8_t *source, const ck_matrix *m, int32_t panel, uint8_t *out);
void planes_gather(const ck_matrix *m, int32_t row, float *out);

#endif
