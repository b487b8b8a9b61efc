/* What the tests of several hosts run. An item's input says how it is to behave. */
#include <mamuto.h>

#include <signal.h>
#include <stdio.h>
#include <time.h>

static void spin(double us)
{
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((double)(now.tv_sec - begun.tv_sec) * 1e6 + (double)(now.tv_nsec - begun.tv_nsec) / 1e3 < us);
}

MAMUTO_FUNCTION(busy, "f8, f8[4] -> f8[2]", "so many µs as the fourth broadcast number says")
{
    double x = MAMUTO_IN(double, 0);
    const double *y = MAMUTO_IN(double[4], 1);
    double *out = MAMUTO_OUT(double[2]);
    spin(y[3]);
    out[0] = x * y[0] + y[1];
    out[1] = (double)MAMUTO_INDEX * y[2];
    return 0;
}

MAMUTO_FUNCTION(odd, "f8 -> f8", "fails for what leaves 3 when divided by 7")
{
    if ((uint64_t)MAMUTO_IN(double, 0) % 7 == 3)
        MAMUTO_FAIL(7, "asked for");
    spin(20);
    MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(deadly, "f8, f8 -> f8", "dies for one number")
{
    if (MAMUTO_IN(double, 0) == MAMUTO_IN(double, 1))
        raise(SIGSEGV);
    spin(20);
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + 1;
    return 0;
}

MAMUTO_FUNCTION(length, "f8[*] -> f8[2]", "its sum, and how many")
{
    double *out = MAMUTO_OUT(double[2]);
    spin(10);
    out[0] = 0;
    for (size_t i = 0; i < MAMUTO_LEN(0); i++)
        out[0] += MAMUTO_ARRAY(double, 0)[i];
    out[1] = (double)MAMUTO_LEN(0);
    return 0;
}

MAMUTO_FUNCTION(third, "f8 -> f8")
{
    spin(3);
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) / 3;
    return 0;
}

MAMUTO_FUNCTION(sum, "f8, f8 -> f8", "rounds: its order shows in the bits")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_FUNCTION(say, "f8 -> f8", "prints its number")
{
    spin(200);
    printf("item %d\n", (int)MAMUTO_IN(double, 0));
    fflush(stdout);
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(big, "f8 -> f8[200000]", "a result of more than a frame")
{
    double *out = MAMUTO_OUT_ARRAY(double);
    for (size_t i = 0; i < 200000; i++)
        out[i] = MAMUTO_IN(double, 0) + (double)i;
    return 0;
}
