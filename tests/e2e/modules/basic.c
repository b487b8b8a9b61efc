/* Functions that are right: both forms, broadcast and scattered inputs, named dims, no input, small and odd types. */
#include <mamuto.h>

MAMUTO_FUNCTION(add, "f8, f8 -> f8", "the sum of two numbers")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_KERNEL(add_chunk, "f8, f8 -> f8")
{
    const double *a = MAMUTO_PACKED(double, 0), *b = MAMUTO_PACKED(double, 1);
    double *out = MAMUTO_PACKED_OUT(double);
    if (!a || !b)
        return 1;
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = a[i] + b[i];
    return 0;
}

/* The broadcast value where there is one, without packing it. */
MAMUTO_KERNEL(scale_chunk, "f8, f8 -> f8")
{
    const double *a = MAMUTO_PACKED(double, 0), *one = MAMUTO_ONE(double, 1);
    const double *b = one ? one : MAMUTO_PACKED(double, 1);
    double *out = MAMUTO_PACKED_OUT(double);
    if (!a || !b)
        return 1;
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = a[i] * b[one ? 0 : i];
    return 0;
}

MAMUTO_FUNCTION(like3, "f8[3], f8[3] -> f8")
{
    const double *x = MAMUTO_IN(double[3], 0), *data = MAMUTO_IN(double[3], 1);
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        double d = data[k] - x[k];
        sum -= d * d / 0.02;
    }
    MAMUTO_OUT(double) = sum;
    return 0;
}

MAMUTO_FUNCTION(index, "-> u8")
{
    MAMUTO_OUT(uint64_t) = MAMUTO_INDEX * 3;
    return 0;
}

MAMUTO_KERNEL(index_chunk, "-> u8")
{
    uint64_t *out = MAMUTO_PACKED_OUT(uint64_t);
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = (MAMUTO_FIRST + i) * 3;
    return 0;
}

MAMUTO_FUNCTION(outer, "f8[a], f8[b] -> f8[a, b]")
{
    const double *x = MAMUTO_ARRAY(double, 0), *y = MAMUTO_ARRAY(double, 1);
    double *out = MAMUTO_OUT_ARRAY(double);
    if (MAMUTO_LEN(0) != MAMUTO_DIM(0) || MAMUTO_LEN(1) != MAMUTO_DIM(1))
        return 1;
    for (size_t i = 0; i < MAMUTO_DIM(0); i++)
        for (size_t j = 0; j < MAMUTO_DIM(1); j++)
            out[i * MAMUTO_DIM(1) + j] = x[i] * y[j];
    return 0;
}

MAMUTO_KERNEL(dot_chunk, "f8[d], f8[d] -> f8")
{
    size_t d = MAMUTO_KERNEL_DIM(0);
    const double *a = MAMUTO_PACKED(double, 0), *b = MAMUTO_PACKED(double, 1);
    double *out = MAMUTO_PACKED_OUT(double);
    if (!a || !b || MAMUTO_KERNEL_LEN(0) != d)
        return 1;
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        out[i] = 0;
        for (size_t k = 0; k < d; k++)
            out[i] += a[i * d + k] * b[i * d + k];
    }
    return 0;
}

MAMUTO_FUNCTION(odd, "u1[3], i2 -> u1[5]")
{
    const uint8_t *a = MAMUTO_IN(uint8_t[3], 0);
    int16_t b = MAMUTO_IN(int16_t, 1);
    uint8_t *out = MAMUTO_OUT(uint8_t[5]);
    for (int k = 0; k < 3; k++)
        out[k] = (uint8_t)(a[k] + 1);
    memcpy(out + 3, &b, 2);
    return 0;
}

MAMUTO_FUNCTION(eight, "i4, i4, i4, i4, i4, i4, i4, i4 -> i8")
{
    int64_t sum = 0;
    sum += MAMUTO_IN(int32_t, 0), sum += MAMUTO_IN(int32_t, 1) * 2, sum += MAMUTO_IN(int32_t, 2) * 3;
    sum += MAMUTO_IN(int32_t, 3) * 4, sum += MAMUTO_IN(int32_t, 4) * 5, sum += MAMUTO_IN(int32_t, 5) * 6;
    sum += MAMUTO_IN(int32_t, 6) * 7, sum += MAMUTO_IN(int32_t, 7) * 8;
    MAMUTO_OUT(int64_t) = sum;
    return 0;
}

MAMUTO_FUNCTION(exp, "f8 -> f8") /* a name that the C library has */
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) / 2;
    return 0;
}

MAMUTO_FUNCTION(variable, "f8[*] -> f8")
{
    MAMUTO_OUT(double) = (double)MAMUTO_LEN(0);
    return 0;
}

MAMUTO_FUNCTION(sum_page, "u1[4096] -> u8")
{
    const uint8_t *page = MAMUTO_IN(uint8_t[4096], 0);
    uint64_t sum = 0;
    for (int k = 0; k < 4096; k++)
        sum += page[k];
    MAMUTO_OUT(uint64_t) = sum;
    return 0;
}
