/* The library's heap: calloc, realloc and free behind one door, so that tests can make the n-th allocation fail.
 *
 * Invariants: NULL always means "no memory" (a request of 0 bytes gives a block of one byte); new memory is zeroed, so
 * that a fini is safe on a half-built object; errno is ENOMEM after a failure, also one made by the hook.
 * Called from everywhere in the library, from any thread. Arrays that workers share do not come from here: they are of
 * the arena. The hook exists only in builds with MM_TEST_HOOKS; its two counters are atomic, because the n-th
 * allocation of a test may be made by any of its threads. */
#include "core/alloc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef MM_TEST_HOOKS
#include <stdatomic.h>

static atomic_long made, countdown;

long mm_alloc_fail_at(long n)
{
    atomic_store(&countdown, n);
    return atomic_exchange(&made, 0);
}

static bool refused(void)
{
    atomic_fetch_add(&made, 1);
    if (atomic_fetch_sub(&countdown, 1) != 1) /* only one thread sees the step from 1 to 0 */
        return false;
    errno = ENOMEM;
    return true;
}
#else
static bool refused(void) { return false; }
#endif

void *mm_alloc(size_t bytes) { return refused() ? NULL : calloc(1, bytes ? bytes : 1); }

void *mm_alloc_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return mm_alloc(bytes);
}

void *mm_realloc(void *p, size_t bytes)
{
    return refused() ? NULL : realloc(p, bytes ? bytes : 1); /* realloc(p, 0) might free p and return NULL */
}

char *mm_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mm_alloc(bytes);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

void mm_free(void *p) { free(p); }
