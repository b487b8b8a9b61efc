/* The row var-out. */
#include "tests/bench/texts.h"

#include "core/mamuto.h"

MAMUTO_FUNCTION(upper, "bytes -> bytes")
{
    char out[TEXTS_LONGEST];
    size_t n = MAMUTO_LEN(0);
    if (n > sizeof out)
        MAMUTO_FAIL(1, "it is too long");
    texts_upper(MAMUTO_ARRAY(char, 0), n, out);
    return MAMUTO_EMIT(out, n);
}
