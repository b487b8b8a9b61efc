/* What the functions of random.c compute, for the module and for the serial reference of the random calls; and which items
 * fail, and how: that is in the call's seed, so that any function can fail. Floating point is added and multiplied in one
 * order that is given, so that the bits are given, too. */
#ifndef MM_TESTS_RANDOM_H
#define MM_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- Faults: the seed is kind (4 bits), modulus (20 bits), salt ---------------------------------------------------- */

enum random_fault {
    RANDOM_FINE,
    RANDOM_CODE,     /* returns a code */
    RANDOM_TEXT,     /* MAMUTO_FAIL */
    RANDOM_CRASH,    /* SIGSEGV */
    RANDOM_EXIT,     /* calls exit() */
    RANDOM_HANG,     /* needs an item_timeout_ms */
    RANDOM_AT_FIRST, /* a code, but only the first time: $E2E_DIR has a mark of it */
    RANDOM_MIXED,    /* of a seed: each item CODE, TEXT or CRASH */
};

#define RANDOM_FAULT_TEXT "this item was told to fail"
enum { RANDOM_EXIT_STATUS = 3 };

static inline uint64_t random_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline enum random_fault random_fault(uint64_t seed, uint64_t item)
{
    uint64_t kind = seed & 15, modulus = seed >> 4 & 0xfffff;
    if (kind == RANDOM_FINE || modulus == 0)
        return RANDOM_FINE;
    uint64_t h = random_mix(seed ^ random_mix(item));
    if (h % modulus)
        return RANDOM_FINE;
    if (kind != RANDOM_MIXED)
        return (enum random_fault)kind;
    return h >> 40 & 15 ? (enum random_fault)(RANDOM_CODE + (h >> 50 & 1)) : RANDOM_CRASH;
}

static inline int random_code(uint64_t item) { return 1 + (int)(item % 100); }

/* ---- What is computed ---------------------------------------------------------------------------------------------- */

/* The inputs of one item, their elements, the dims. */
struct random_item {
    const void *in[8];
    size_t len[8];
    const size_t *dims;
    uint64_t seed, index;
};

static inline void random_add(const struct random_item *it, void *out_)
{
    const double *a = it->in[0], *b = it->in[1];
    double *out = out_;
    out[0] = (a[0] + b[0]) * 0.75;
}

static inline void random_turn(const struct random_item *it, void *out_)
{
    const int32_t *x = it->in[0];
    int32_t *out = out_;
    out[0] = (int32_t)((uint32_t)x[0] * 3 ^ (uint32_t)x[0] >> 5);
}

static inline void random_bytes(const struct random_item *it, void *out_)
{
    const uint8_t *x = it->in[0];
    const int16_t *y = it->in[1];
    uint8_t *out = out_;
    for (unsigned k = 0; k < 5; k++)
        out[k] = (uint8_t)(x[4 - k] ^ (unsigned)(uint16_t)y[0] >> k);
}

static inline void random_triple(const struct random_item *it, void *out_)
{
    const double *a = it->in[0], *b = it->in[1];
    double *out = out_;
    for (unsigned k = 0; k < 3; k++)
        out[k] = a[k] + b[(k + 1) % 3];
}

static inline void random_scale(const struct random_item *it, void *out_)
{
    const double *a = it->in[0], *s = it->in[1];
    double *out = out_;
    for (size_t k = 0; k < it->dims[0]; k++)
        out[k] = a[k] * s[0];
}

static inline void random_matrix(const struct random_item *it, void *out_)
{
    const int16_t *a = it->in[0], *x = it->in[1];
    int32_t *out = out_;
    size_t rows = it->dims[0], columns = it->dims[1];
    for (size_t i = 0; i < rows; i++) {
        uint32_t sum = 0;
        for (size_t k = 0; k < columns; k++)
            sum += (uint32_t)(a[i * columns + k] * x[k]);
        out[i] = (int32_t)sum;
    }
}

static inline uint64_t random_hash(uint64_t h, const void *bytes_, size_t n)
{
    const uint8_t *bytes = bytes_;
    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static inline void random_text(const struct random_item *it, void *out_)
{
    uint32_t *out = out_;
    out[0] = (uint32_t)random_hash(it->len[0], it->in[0], it->len[0]);
}

static inline void random_sum(const struct random_item *it, void *out_)
{
    const double *x = it->in[0], *y = it->in[1];
    double *out = out_, sum = y[0];
    for (size_t k = 0; k < it->len[0]; k++)
        sum += x[k];
    out[0] = sum;
}

static inline void random_both(const struct random_item *it, void *out_)
{
    uint64_t *out = out_;
    out[0] = random_hash(it->len[0], it->in[0], it->len[0]);
    out[1] = random_hash(it->len[1], it->in[1], it->len[1] * 4) + ((const uint8_t *)it->in[2])[0];
}

static inline void random_nothing(const struct random_item *it, void *out_)
{
    uint64_t *out = out_;
    out[0] = random_mix(it->index ^ it->seed);
}

static inline void random_complex(const struct random_item *it, void *out_)
{
    const double *a = it->in[0];
    const float *s = it->in[1];
    double *out = out_;
    for (unsigned k = 0; k < 4; k++)
        out[k] = a[3 - k] * (double)s[0];
}

static inline void random_eight(const struct random_item *it, void *out_)
{
    static const size_t sizes[8] = { 1, 2, 4, 8, 4, 3, 1, 2 };
    int64_t *out = out_;
    uint64_t h = it->index;
    for (unsigned k = 0; k < 8; k++)
        h = random_hash(h, it->in[k], sizes[k] * (k == 7 ? it->dims[0] : 1));
    out[0] = (int64_t)h;
}

/* Of variable length: returns how many elements; out has room for RANDOM_MOST_EMITTED bytes. */
enum { RANDOM_MOST_EMITTED = 20000 };

static inline size_t random_echo(const struct random_item *it, void *out_)
{
    const uint8_t *x = it->in[0], *y = it->in[1];
    uint8_t *out = out_;
    for (size_t k = 0; k < it->len[0]; k++)
        out[k] = x[it->len[0] - 1 - k] ^ y[0];
    return it->len[0];
}

static inline size_t random_count(const struct random_item *it, void *out_)
{
    const int32_t *x = it->in[0];
    int32_t *out = out_;
    size_t n = (uint32_t)x[0] % 997 == 0 ? (uint32_t)x[0] % 4096 : (uint32_t)x[0] % 11;
    for (size_t k = 0; k < n; k++)
        out[k] = (int32_t)((uint32_t)x[0] + (uint32_t)k);
    return n;
}

/* The folds: neither associative nor commutative. */
static inline void random_fold_f8(const double *a, const double *b, double *out) { out[0] = (a[0] + b[0]) * 0.5; }

static inline void random_fold_i4(const int32_t *a, const int32_t *b, int32_t *out)
{
    out[0] = (int32_t)((uint32_t)a[0] * 31 + (uint32_t)b[0]);
}

static inline void random_fold_u8x2(const uint64_t *a, const uint64_t *b, uint64_t *out)
{
    uint64_t first = a[0] * 31 + b[1], second = a[1] * 37 + b[0];
    out[0] = first;
    out[1] = second;
}

static inline void random_fold_dim(const double *a, const double *b, double *out, size_t dim)
{
    for (size_t k = 0; k < dim; k++)
        out[k] = (a[k] + b[dim - 1 - k]) * 0.5;
}

#endif
