/* Time: a cheap tick counter for chunk sizes, the monotonic clock for everything that must be right. */
#ifndef MM_SHM_CLOCK_H
#define MM_SHM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t mm_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Ticks of a constant rate, a few ns a reading; only estimates are made of them. */
static inline uint64_t mm_ticks(void)
{
#if defined __x86_64__
    return __builtin_ia32_rdtsc();
#elif defined __aarch64__
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    return mm_now_ns();
#endif
}

static inline void mm_relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

#endif
