/* Functions and folds for the tests of mamuto_reduce: of many types, in both forms; and spans of items, whose folds
 * find out whether they are given neighbours, and whose items and folds fail, die and hang as their input says. */
#include <mamuto.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "reduce.h"

/* item_X, chunk_X: u8 -> T; fold_X, fold_chunk_X: T, T -> T. E: T's element, n of them. */
#define KIND(name_, type_, E, n_)                                                                                      \
    MAMUTO_FUNCTION(item_##name_, "u8 -> " type_)                                                                      \
    {                                                                                                                  \
        make_##name_(MAMUTO_IN(uint64_t, 0), MAMUTO_OUT(E[n_]));                                                       \
        return 0;                                                                                                      \
    }                                                                                                                  \
    MAMUTO_KERNEL(chunk_##name_, "u8 -> " type_)                                                                       \
    {                                                                                                                  \
        const uint64_t *x = MAMUTO_PACKED(uint64_t, 0);                                                                \
        E *out = MAMUTO_PACKED_OUT(E);                                                                                 \
        for (size_t i = 0; x && i < MAMUTO_COUNT; i++)                                                                 \
            make_##name_(x[i], out + i * (n_));                                                                        \
        return !x;                                                                                                     \
    }                                                                                                                  \
    MAMUTO_FUNCTION(fold_##name_, type_ ", " type_ " -> " type_)                                                       \
    {                                                                                                                  \
        fold_##name_(MAMUTO_IN(E[n_], 0), MAMUTO_IN(E[n_], 1), MAMUTO_OUT(E[n_]));                                     \
        return 0;                                                                                                      \
    }                                                                                                                  \
    MAMUTO_KERNEL(fold_chunk_##name_, type_ ", " type_ " -> " type_)                                                   \
    {                                                                                                                  \
        const E *a = MAMUTO_PACKED(E, 0), *b = MAMUTO_PACKED(E, 1);                                                    \
        E *out = MAMUTO_PACKED_OUT(E);                                                                                 \
        for (size_t i = 0; a && b && i < MAMUTO_COUNT; i++)                                                            \
            fold_##name_(a + i * (n_), b + i * (n_), out + i * (n_));                                                  \
        return !a || !b;                                                                                               \
    }

KIND(f8, "f8", double, 1)
KIND(f4, "f4", float, 1)
KIND(i8, "i8", int64_t, 1)
KIND(c16, "c16", double, 2)
KIND(f8x3, "f8[3]", double, 3)
KIND(large, "u1[100000]", uint8_t, LARGE)

MAMUTO_FUNCTION(item_dim, "u8 -> f8[d]")
{
    make_dim(MAMUTO_IN(uint64_t, 0), MAMUTO_OUT_ARRAY(double), MAMUTO_DIM(0));
    return 0;
}

MAMUTO_KERNEL(chunk_dim, "u8 -> f8[d]")
{
    const uint64_t *x = MAMUTO_PACKED(uint64_t, 0);
    double *out = MAMUTO_PACKED_OUT(double);
    size_t d = MAMUTO_KERNEL_DIM(0);
    for (size_t i = 0; x && i < MAMUTO_COUNT; i++)
        make_dim(x[i], out + i * d, d);
    return !x;
}

MAMUTO_FUNCTION(fold_dim, "f8[k], f8[k] -> f8[k]")
{
    fold_dim(MAMUTO_ARRAY(double, 0), MAMUTO_ARRAY(double, 1), MAMUTO_OUT_ARRAY(double), MAMUTO_DIM(0));
    return 0;
}

MAMUTO_KERNEL(fold_chunk_dim, "f8[k], f8[k] -> f8[k]")
{
    const double *a = MAMUTO_PACKED(double, 0), *b = MAMUTO_PACKED(double, 1);
    double *out = MAMUTO_PACKED_OUT(double);
    size_t d = MAMUTO_KERNEL_DIM(0);
    for (size_t i = 0; a && b && i < MAMUTO_COUNT; i++)
        fold_dim(a + i * d, b + i * d, out + i * d, d);
    return !a || !b;
}

/* Two dims of the function's, bound by the fold's only one, and a number. */
MAMUTO_FUNCTION(square, "f8[a], f8[b] -> f8[a, b]")
{
    for (size_t i = 0; i < MAMUTO_DIM(0) * MAMUTO_DIM(1); i++)
        MAMUTO_OUT_ARRAY(double)[i] = MAMUTO_ARRAY(double, 0)[i / MAMUTO_DIM(1)] + MAMUTO_ARRAY(double, 1)[0];
    return 0;
}
MAMUTO_FUNCTION(fold_square, "f8[n, n], f8[n, n] -> f8[n, n]")
{
    fold_dim(MAMUTO_ARRAY(double, 0), MAMUTO_ARRAY(double, 1), MAMUTO_OUT_ARRAY(double), MAMUTO_DIM(0) * MAMUTO_DIM(0));
    return 0;
}

/* ---- Spans: {first, last, count} --------------------------------------------------------------------------------- */

static void nap_ms(long ms) { nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL); }

/* true for the first to come by. */
static int is_first(const char *what, uint64_t index)
{
    char path[512];
    const char *folder = getenv("E2E_DIR");
    snprintf(path, sizeof path, "%s/%s-%llu", folder ? folder : "/nowhere", what, (unsigned long long)index);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

MAMUTO_FUNCTION(span, "u8 -> i8[3]")
{
    uint64_t x = MAMUTO_IN(uint64_t, 0), index = x << 8 >> 8;
    switch (x >> SPAN_SHIFT) {
    case SPAN_CODE:
        return 11;
    case SPAN_FAIL:
        MAMUTO_FAIL(12, "the test says so");
    case SPAN_CRASH:
        raise(SIGSEGV);
        break;
    case SPAN_HANG:
        for (;;)
            pause();
    case SPAN_SECOND_TRY:
        if (is_first("try", index))
            return 13;
        break;
    case SPAN_CRASH_ONCE:
        if (is_first("crash", index))
            raise(SIGSEGV);
        break;
    case SPAN_WAIT:
        nap_ms(1);
        break;
    default:
        break;
    }
    int64_t *out = MAMUTO_OUT(int64_t[3]);
    out[0] = out[1] = (int64_t)index;
    out[2] = 1;
    return 0;
}

static int join(const int64_t *a, const int64_t *b, int64_t *out, int gaps)
{
    if (gaps ? a[1] >= b[0] : a[1] + 1 != b[0])
        return 21;
    out[0] = a[0];
    out[1] = b[1];
    out[2] = a[2] + b[2];
    return 0;
}

#define SPANS(name_, gaps_, ...)                                                                                       \
    MAMUTO_FUNCTION(name_, "i8[3], i8[3] -> i8[3]")                                                                    \
    {                                                                                                                  \
        const int64_t *a = MAMUTO_IN(int64_t[3], 0), *b = MAMUTO_IN(int64_t[3], 1);                                    \
        int trapped = a[0] <= TRAP && TRAP <= b[1];                                                                    \
        (void)trapped;                                                                                                 \
        __VA_ARGS__                                                                                                    \
        return join(a, b, MAMUTO_OUT(int64_t[3]), gaps_);                                                              \
    }

SPANS(join, 0)
SPANS(join_gaps, 1)
SPANS(join_code, 1, if (trapped && b[0] == TRAP) return 22;)
SPANS(join_fail, 1, if (trapped && b[0] == TRAP) MAMUTO_FAIL(23, "the fold says so");)
SPANS(join_crash, 1, if (trapped) raise(SIGSEGV);)
SPANS(join_hang, 1, if (trapped) for (;;) pause();)
SPANS(join_high, 1, if (a[0] == 0 && b[1] - a[0] >= 8192) return 24;) /* fails in a node high up */
SPANS(join_once, 1, if (trapped && is_first("fold", TRAP)) raise(SIGSEGV);)
SPANS(join_slowly, 1, nap_ms(4);)

MAMUTO_KERNEL(join_chunk, "i8[3], i8[3] -> i8[3]")
{
    const int64_t *a = MAMUTO_PACKED(int64_t, 0), *b = MAMUTO_PACKED(int64_t, 1);
    int64_t *out = MAMUTO_PACKED_OUT(int64_t);
    for (size_t i = 0; a && b && i < MAMUTO_COUNT; i++)
        if (b[3 * i] == TRAP || join(a + 3 * i, b + 3 * i, out + 3 * i, 1))
            return 25;
    return !a || !b;
}

/* ---- What is no fold --------------------------------------------------------------------------------------------- */

MAMUTO_FUNCTION(three, "f8, f8, f8 -> f8")
{
    MAMUTO_OUT(double) = 0;
    return 0;
}
MAMUTO_FUNCTION(mixed, "f8, f4 -> f8")
{
    MAMUTO_OUT(double) = 0;
    return 0;
}
MAMUTO_FUNCTION(other_out, "f8, f8 -> f4")
{
    MAMUTO_OUT(float) = 0;
    return 0;
}
MAMUTO_FUNCTION(variable, "f8[*], f8[*] -> f8[*]") { return 0; }
MAMUTO_FUNCTION(page, "u1[65536] -> u8")
{
    const uint8_t *page = MAMUTO_ARRAY(uint8_t, 0);
    MAMUTO_OUT(uint64_t) = page[0] + 256u * page[65535];
    return 0;
}
MAMUTO_FUNCTION(fold_u8, "u8, u8 -> u8")
{
    MAMUTO_OUT(uint64_t) = MAMUTO_IN(uint64_t, 0) * 31 + MAMUTO_IN(uint64_t, 1);
    return 0;
}
MAMUTO_FUNCTION(same, "u8 -> u8")
{
    MAMUTO_OUT(uint64_t) = MAMUTO_IN(uint64_t, 0);
    return 0;
}
MAMUTO_FUNCTION(last, "u1[*] -> u8", "the last element, and how many there are")
{
    const uint8_t *elements = MAMUTO_ARRAY(uint8_t, 0);
    size_t n = MAMUTO_LEN(0);
    MAMUTO_OUT(uint64_t) = n ? n * 256 + elements[n - 1] : 0;
    return 0;
}
MAMUTO_FUNCTION(index, "-> u8")
{
    MAMUTO_OUT(uint64_t) = MAMUTO_INDEX;
    return 0;
}

/* ---- Values as large as a call says ------------------------------------------------------------------------------ */

MAMUTO_FUNCTION(block, "u1 -> u1[n]")
{
    memset(MAMUTO_OUT_ARRAY(uint8_t), MAMUTO_IN(uint8_t, 0), MAMUTO_DIM(0));
    return 0;
}
MAMUTO_FUNCTION(fold_block, "u1[n], u1[n] -> u1[n]")
{
    const uint8_t *a = MAMUTO_ARRAY(uint8_t, 0), *b = MAMUTO_ARRAY(uint8_t, 1);
    for (size_t i = 0; i < MAMUTO_DIM(0); i++)
        MAMUTO_OUT_ARRAY(uint8_t)[i] = (uint8_t)(a[i] + b[i]);
    return 0;
}
