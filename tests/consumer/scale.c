/* A module, built at run time by the installed library: it finds the installed header. */
#include <mamuto.h>

#ifndef CONSUMER_INSTALLED_HEADER /* tests/consumer/run adds this to the installed copy */
#error "this is not the installed mamuto.h"
#endif

MAMUTO_FUNCTION(scale, "f8, f8 -> f8", "a product")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) * MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_FUNCTION(add, "f8, f8 -> f8", "a fold")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_FUNCTION(count_up, "i4 -> i4[*]", "0 to n - 1, of variable length")
{
    int32_t n = MAMUTO_IN(int32_t, 0);
    for (int32_t i = 0; i < n; i++) {
        int code = MAMUTO_EMIT(&i, 1);
        if (code)
            return code;
    }
    return 0;
}
