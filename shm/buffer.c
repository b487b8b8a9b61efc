/* Scratch buffers by mmap: page-aligned, never dumped, outside the heap that a module's code may have damaged.
 * Grows in steps of 256 KiB and never shrinks, since first touch of new memory is what costs. Used by a lane alone. */
#include "shm/buffer.h"

#include <sys/mman.h>

static const size_t STEP = 1 << 18;

void *mm_buffer_reserve(struct mm_buffer *buffer, size_t bytes)
{
    if (bytes <= buffer->bytes)
        return buffer->data;
    if (bytes > (size_t)-1 - STEP)
        return NULL;
    size_t size = (bytes + STEP - 1) / STEP * STEP;
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    madvise(data, size, MADV_DONTDUMP);
    mm_buffer_fini(buffer);
    *buffer = (struct mm_buffer){ data, size };
    return data;
}

void mm_buffer_fini(struct mm_buffer *buffer)
{
    if (buffer->data)
        munmap(buffer->data, buffer->bytes);
    *buffer = (struct mm_buffer){ 0 };
}
