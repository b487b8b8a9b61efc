/* What the functions of layouts.c compute, for the module and for the test's serial loop. Integers alone: any bytes are
 * a value. */
#ifndef MM_TESTS_LAYOUTS_H
#define MM_TESTS_LAYOUTS_H

#include <stdint.h>
#include <string.h>

enum { LAYOUTS_BIG_IN = 9000, LAYOUTS_BIG_OUT = 5000 };
enum { LAYOUTS_FINE = 100, LAYOUTS_FAILS, LAYOUTS_CRASHES, LAYOUTS_IS_KILLED }; /* of layouts.faulty's second input */

static inline int64_t layouts_mix(int64_t a, const int32_t *b, const uint8_t *c)
{
    uint64_t sum = (uint64_t)a * 3;
    for (unsigned k = 0; k < 3; k++)
        sum += (uint64_t)b[k] * (k + 1);
    for (unsigned k = 0; k < 5; k++)
        sum += (uint64_t)c[k] << 8 * k;
    return (int64_t)sum;
}

static inline void layouts_big(const uint8_t *in, uint8_t *out)
{
    for (unsigned k = 0; k < LAYOUTS_BIG_OUT; k++)
        out[k] = (uint8_t)(in[k + LAYOUTS_BIG_IN - LAYOUTS_BIG_OUT] ^ k);
}

static inline int64_t layouts_double(int64_t x) { return (int64_t)((uint64_t)x * 2 + 1); }

static inline void layouts_odd(const uint8_t *a, int16_t b, uint8_t *out)
{
    for (unsigned k = 0; k < 3; k++)
        out[k] = (uint8_t)(a[k] + k);
    memcpy(out + 3, &b, 2);
    out[5] = out[6] = 7;
}

#endif
