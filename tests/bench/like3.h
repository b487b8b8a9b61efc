/* The kernel of the like rows: one source for the module and for every peer, built with the same flags.
 * Branch-free and division-free (x / 0.02 is x * 50), so that the compiler can vectorise it. */
#ifndef BENCH_LIKE3_H
#define BENCH_LIKE3_H

#include <stddef.h>

/* out[i] = -50 * |data - p[i]|^2 for n packed 3-vectors p. */
static inline void like3_range(const double *__restrict p, const double *__restrict data, double *__restrict out,
                               size_t n)
{
    const double d0 = data[0], d1 = data[1], d2 = data[2];
    for (size_t i = 0; i < n; i++) {
        const double a = d0 - p[3 * i], b = d1 - p[3 * i + 1], c = d2 - p[3 * i + 2];
        out[i] = -50.0 * (a * a + b * b + c * c);
    }
}

/* Inputs that every peer can make again: no file, no seed to pass on. */
static inline void like3_fill(double *p, double *data, size_t n)
{
    unsigned long long state = 42;
    for (size_t i = 0; i < 3 * n; i++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        p[i] = (double)(state >> 40) / 16777216.0;
    }
    data[0] = 0.25;
    data[1] = 0.5;
    data[2] = 0.75;
}

#endif
