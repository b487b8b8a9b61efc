/* Order statistics over a few thousand doubles, for the driver and its peers.
 * Sorts in place; the percentiles interpolate between neighbours, as NumPy's default does. C11 and C++17. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <math.h>
#include <stdlib.h>

static inline int stats_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline void stats_sort(double *values, size_t n) { qsort(values, n, sizeof *values, stats_compare); }

/* The q-quantile, 0 <= q <= 1, of n sorted values; NAN of none. */
static inline double stats_quantile(const double *sorted, size_t n, double q)
{
    if (n == 0)
        return NAN;
    double place = q * (double)(n - 1);
    size_t below = (size_t)place;
    if (below + 1 >= n)
        return sorted[n - 1];
    if (sorted[below] == sorted[below + 1]) /* also where both are infinite */
        return sorted[below];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

static inline double stats_median(double *values, size_t n)
{
    stats_sort(values, n);
    return stats_quantile(values, n, 0.5);
}

#endif
