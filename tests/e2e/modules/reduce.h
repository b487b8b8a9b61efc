/* What the items and folds of modules/reduce.c compute, for the module and for the test's own serial reference. No fold is
 * commutative or associative, so that any other order gives other bits. */
#ifndef MM_TESTS_E2E_REDUCE_H
#define MM_TESTS_E2E_REDUCE_H

#include <stddef.h>
#include <stdint.h>

enum { LARGE = 100000 };

/* What an item of reduce.span does: the upper byte of its input; the rest is its index. */
enum { SPAN_OK, SPAN_CODE, SPAN_FAIL, SPAN_CRASH, SPAN_HANG, SPAN_SECOND_TRY, SPAN_CRASH_ONCE, SPAN_WAIT };
enum { SPAN_SHIFT = 56 };
/* Folds of spans that do not like this item. */
enum { TRAP = 700 };

static inline double reduce_unit(uint64_t x) { return (double)(int64_t)(x * UINT64_C(0x9e3779b97f4a7c15)) * 0x1p-63; }

static inline void make_f8(uint64_t x, double *out) { *out = reduce_unit(x); }
static inline void fold_f8(const double *a, const double *b, double *out) { *out = *a * 0.9990234375 + *b; }

static inline void make_f4(uint64_t x, float *out) { *out = (float)reduce_unit(x); }
static inline void fold_f4(const float *a, const float *b, float *out) { *out = *a * 0.9990234375f + *b; }

static inline void make_i8(uint64_t x, int64_t *out) { *out = (int64_t)(x * 3 + 1); }
static inline void fold_i8(const int64_t *a, const int64_t *b, int64_t *out)
{
    *out = (int64_t)((uint64_t)*a * 31 + (uint64_t)*b);
}

static inline void make_c16(uint64_t x, double *out)
{
    out[0] = reduce_unit(x);
    out[1] = reduce_unit(x + 1);
}
/* A sum in both halves: of a difference in one and a sum in the other, gcc 12 makes vfmaddsub in spite of
 * -ffp-contract=off, and so other bits where it vectorises than where it does not. */
static inline void fold_c16(const double *a, const double *b, double *out)
{
    out[0] = a[0] * 0.75 + b[1];
    out[1] = a[1] * 0.75 + b[0];
}

static inline void make_dim(uint64_t x, double *out, size_t d)
{
    for (size_t k = 0; k < d; k++)
        out[k] = reduce_unit(x + k);
}
static inline void fold_dim(const double *a, const double *b, double *out, size_t d)
{
    for (size_t k = 0; k < d; k++)
        out[k] = a[k] * 0.75 + b[(k + 1) % d];
}
static inline void make_f8x3(uint64_t x, double *out) { make_dim(x, out, 3); }
static inline void fold_f8x3(const double *a, const double *b, double *out) { fold_dim(a, b, out, 3); }

static inline void make_large(uint64_t x, uint8_t *out)
{
    for (size_t k = 0; k < LARGE; k++)
        out[k] = (uint8_t)(x + k);
}
static inline void fold_large(const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    for (size_t k = 0; k < LARGE; k++)
        out[k] = (uint8_t)(a[k] * 3 + b[k]);
}

#endif
