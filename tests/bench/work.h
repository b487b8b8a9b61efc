/* Items of a known cost, for the uneven rows: a chain of multiplications, each of which needs the one before, so that
 * neither vector units nor a second item in flight shorten it. The cost is work, never a wait for a clock: a lane that
 * loses its core is late. The driver measures once a run how many steps a microsecond has ($BENCH_STEPS_PER_US). */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t work_chain(uint32_t steps)
{
    uint64_t x = steps;
    for (uint32_t k = 0; k < steps; k++)
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    return x;
}

static inline double work_steps_per_us(void)
{
    const char *text = getenv("BENCH_STEPS_PER_US");
    double steps = text ? atof(text) : 0;
    return steps > 0 ? steps : 500;
}

/* Fills steps[n]: ascending or descending from low_us to 10 * low_us; or "eighth", where the first eighth of the items
 * costs 50 times what each other does, with the same sum. Returns 0, or -1 if there is no such shape. */
static inline int work_fill(const char *shape, double low_us, uint32_t *steps, size_t n)
{
    const double scale = work_steps_per_us();
    const double other_us = 5.5 * low_us / ((50.0 + 7.0) / 8.0);
    const int up = !strcmp(shape, "ascending"), down = !strcmp(shape, "descending");

    if (!up && !down && strcmp(shape, "eighth"))
        return -1;
    for (size_t i = 0; i < n; i++) {
        double us = low_us * (1.0 + 9.0 * (double)(down ? n - 1 - i : i) / (double)(n - 1));
        if (!up && !down)
            us = i < n / 8 ? 50.0 * other_us : other_us;
        steps[i] = (uint32_t)(us * scale + 0.5);
    }
    return 0;
}

#endif
