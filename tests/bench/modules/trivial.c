/* The module of the wake and open rows: items that cost nothing. */
#include "core/mamuto.h"

MAMUTO_FUNCTION(next, "u4 -> u4")
{
    MAMUTO_OUT(uint32_t) = MAMUTO_IN(uint32_t, 0) + 1;
    return 0;
}
