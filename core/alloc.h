/* The library's heap. In test builds (MM_TEST_HOOKS) the n-th allocation can be made to fail. Plain C11. */
#ifndef MM_CORE_ALLOC_H
#define MM_CORE_ALLOC_H

#include <stddef.h>

void *mm_alloc(size_t bytes);                    /* zeroed; NULL: no memory */
void *mm_alloc_array(size_t count, size_t size); /* zeroed; NULL: no memory, or the product overflows */
void *mm_realloc(void *p, size_t bytes);         /* as realloc; p stays valid on failure */
char *mm_strdup(const char *text);
void mm_free(void *p); /* p may be NULL */

#ifdef MM_TEST_HOOKS
/* The n-th allocation from now on (1: the next) fails; 0: none. Returns how many were made since the last call. */
long mm_alloc_fail_at(long n);
#endif

#endif
