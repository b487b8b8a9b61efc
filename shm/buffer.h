/* A growing, page-aligned scratch buffer of a worker; kept warm between uses. */
#ifndef MM_SHM_BUFFER_H
#define MM_SHM_BUFFER_H

#include <stddef.h>

struct mm_buffer {
    char *data;
    size_t bytes;
};

/* At least `bytes` of room; the contents are lost when it grows. NULL: no memory. */
void *mm_buffer_reserve(struct mm_buffer *buffer, size_t bytes);
void mm_buffer_fini(struct mm_buffer *buffer);

#endif
