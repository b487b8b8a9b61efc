/* The rows strided and var-lines, in the item form. */
#include "tests/bench/layouts.h"

#include "core/mamuto.h"

MAMUTO_FUNCTION(column, "f8 -> f8")
{
    MAMUTO_OUT(double) = column_item(MAMUTO_IN(double, 0));
    return 0;
}

MAMUTO_FUNCTION(words, "bytes -> u4")
{
    MAMUTO_OUT(uint32_t) = lines_words(MAMUTO_ARRAY(char, 0), MAMUTO_LEN(0));
    return 0;
}
