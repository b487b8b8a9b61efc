/* The two futex calls, shared between processes. Static inline, so that a module never sees them. */
#ifndef MM_SHM_FUTEX_H
#define MM_SHM_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MM_FUTEX_WAIT = 0, MM_FUTEX_WAKE = 1 }; /* the kernel's numbers; some C libraries bring no linux/futex.h */

/* Sleeps while *word == value; timeout NULL: for ever. Returns on a wake, a signal, a timeout: the caller looks again. */
static inline void mm_futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
    syscall(SYS_futex, word, MM_FUTEX_WAIT, value, timeout, NULL, 0);
}

static inline void mm_futex_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, MM_FUTEX_WAKE, 1, NULL, NULL, 0); }

#endif
