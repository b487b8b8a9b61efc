/* What the contract's cases run; test_fake.c has the same functions for a node that loads no files. */
#include <mamuto.h>

#include <stdio.h>
#include <unistd.h>

MAMUTO_FUNCTION(twice, "f8 -> f8", "two times a number")
{
    MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(indexed, "f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + 3 * (double)MAMUTO_INDEX;
    return 0;
}

MAMUTO_FUNCTION(mixed, "f8 -> f8", "fails for what leaves 3 when divided by 7")
{
    if ((uint64_t)MAMUTO_IN(double, 0) % 7 == 3)
        MAMUTO_FAIL(7, "asked for");
    MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(hopeless, "f8 -> f8", "always fails")
{
    (void)MAMUTO_IN(double, 0);
    MAMUTO_FAIL(7, "asked for");
}

MAMUTO_FUNCTION(prints, "f8 -> f8", "prints a line")
{
    printf("a line of an item\n");
    fflush(stdout);
    MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(endless, "f8 -> f8", "never ends by itself")
{
    for (;;)
        pause();
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(naps, "f8 -> f8", "two times a number, in its own time")
{
    usleep(500);
    MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0);
    return 0;
}

MAMUTO_FUNCTION(plus, "f8, f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}
