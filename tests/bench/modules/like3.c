/* The module of the like rows: like3 in both forms, a fold, and a variant that tells which process ran how many items. */
#include "core/mamuto.h"
#include "tests/bench/like3.h"
#include "tests/bench/modules/lanes.h"

MAMUTO_KERNEL(like3, "f8[3], f8[3] -> f8")
{
    like3_range(MAMUTO_PACKED(double, 0), MAMUTO_ONE(double, 1), MAMUTO_PACKED_OUT(double), MAMUTO_COUNT);
    return 0;
}

MAMUTO_FUNCTION(like3_item, "f8[3], f8[3] -> f8")
{
    const double *p = MAMUTO_IN(double[3], 0), *data = MAMUTO_IN(double[3], 1);
    double sum = 0;
    for (int k = 0; k < 3; k++)
        sum += (data[k] - p[k]) * (data[k] - p[k]);
    MAMUTO_OUT(double) = -50.0 * sum;
    return 0;
}

MAMUTO_FUNCTION(sum, "f8, f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_KERNEL(like3_lanes, "f8[3], f8[3], u1[64] -> f8")
{
    like3_range(MAMUTO_PACKED(double, 0), MAMUTO_ONE(double, 1), MAMUTO_PACKED_OUT(double), MAMUTO_COUNT);
    return lanes_add(MAMUTO_ONE(char, 2), MAMUTO_COUNT);
}
