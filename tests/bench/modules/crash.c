/* The module of the crash row: like3 in chunk form, where one item, named by a broadcast argument, writes to nowhere. */
#include "core/mamuto.h"
#include "tests/bench/like3.h"

MAMUTO_KERNEL(like3_but, "f8[3], f8[3], u8 -> f8")
{
    const uint64_t culprit = *MAMUTO_ONE(uint64_t, 2);
    like3_range(MAMUTO_PACKED(double, 0), MAMUTO_ONE(double, 1), MAMUTO_PACKED_OUT(double), MAMUTO_COUNT);
    if (culprit >= MAMUTO_FIRST && culprit - MAMUTO_FIRST < MAMUTO_COUNT) {
        volatile char *volatile nowhere = NULL;
        *nowhere = 1;
    }
    return 0;
}
