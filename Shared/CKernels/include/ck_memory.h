// Large zeroed memory, in huge pages where the system has them: a step reads all weights, and small pages cost it a tenth.
#ifndef CK_MEMORY_H
#define CK_MEMORY_H

#include <stddef.h>

// NULL when there is none. Pages take memory when they are first touched.
void *ck_map(size_t bytes);
void ck_unmap(void *memory, size_t bytes);

#endif
