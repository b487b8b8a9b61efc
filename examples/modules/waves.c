/* Something to compute for the server of examples/event_loop.c: about a microsecond an item. */
#include <mamuto.h>

#include <math.h>

MAMUTO_FUNCTION(wave, " -> f8", "the item's index -> a sum of sines")
{
    double sum = 0;
    for (int k = 1; k <= 50; k++)
        sum += sin((double)MAMUTO_INDEX / k) / k;
    MAMUTO_OUT(double) = sum;
    return 0;
}
