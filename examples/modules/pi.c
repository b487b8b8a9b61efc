/* Random points in a square: how many of them lie within a quarter of a circle. Each item has random numbers of its own,
 * which depend on the call's seed and the item's index alone. */
#include <mamuto.h>

MAMUTO_FUNCTION(hits, "i8 -> i8", "points to draw -> points inside")
{
    mamuto_rng_t random = MAMUTO_RNG();
    int64_t inside = 0;
    for (int64_t i = 0; i < MAMUTO_IN(int64_t, 0); i++) {
        double x = mamuto_uniform(&random), y = mamuto_uniform(&random);
        inside += x * x + y * y < 1;
    }
    MAMUTO_OUT(int64_t) = inside;
    return 0;
}

MAMUTO_FUNCTION(add, "i8, i8 -> i8")
{
    MAMUTO_OUT(int64_t) = MAMUTO_IN(int64_t, 0) + MAMUTO_IN(int64_t, 1);
    return 0;
}
