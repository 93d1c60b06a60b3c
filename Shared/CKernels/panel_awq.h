// The part of panel.c for AWQ. A panel holds, for each group of 128 columns: 16 F16 scales, 16 zero points of a byte, 16 bytes of
// nothing, and the group's four 4-bit blocks as ck_panel.h has them. A group is one stream of 1088 bytes, 4.25 bits a weight.
#ifndef CK_PANEL_AWQ_H
#define CK_PANEL_AWQ_H

#include "include/ck_panel.h"

enum { CK_AWQ_HEADER = 64, CK_AWQ_GROUP_BYTES = CK_AWQ_HEADER + CK_AWQ_COLUMNS / CK_BLOCK * 256 };

// 0 where the columns are no whole number of groups.
size_t awq_panel_bytes(int32_t columns);
void awq_gather(const ck_matrix *m, int32_t row, float *out);

#endif
