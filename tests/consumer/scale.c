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
