#define _GNU_SOURCE
#include "include/ck_memory.h"

#include <sys/mman.h>

void *ck_map(size_t bytes) {
    void *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return 0;
#if defined(MADV_HUGEPAGE)
    if (bytes >= 4u << 20) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void ck_unmap(void *memory, size_t bytes) {
    if (memory) munmap(memory, bytes);
}
