/* The module of the wake, open and calls rows: items that cost nothing, and items that cost so many microseconds. */
#include "core/mamuto.h"

#include <time.h>

MAMUTO_FUNCTION(next, "u4 -> u4")
{
    MAMUTO_OUT(uint32_t) = MAMUTO_IN(uint32_t, 0) + 1;
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

MAMUTO_FUNCTION(spend, "u4 -> u4")
{
    const uint64_t end = now_ns() + (uint64_t)MAMUTO_IN(uint32_t, 0) * 1000;
    while (now_ns() < end)
        ;
    MAMUTO_OUT(uint32_t) = 1;
    return 0;
}
