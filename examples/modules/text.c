/* Words in a line of text, as wc counts them: what lies between blanks. */
#include <mamuto.h>

MAMUTO_FUNCTION(words, "bytes -> i8", "a line -> how many words")
{
    const uint8_t *line = MAMUTO_ARRAY(uint8_t, 0);
    int64_t n = 0;
    uint8_t before = ' ';
    for (size_t i = 0; i < MAMUTO_LEN(0); i++) {
        int blank = line[i] == ' ' || (line[i] >= '\t' && line[i] <= '\r');
        int blank_before = before == ' ' || (before >= '\t' && before <= '\r');
        n += !blank && blank_before;
        before = line[i];
    }
    MAMUTO_OUT(int64_t) = n;
    return 0;
}

MAMUTO_FUNCTION(add, "i8, i8 -> i8")
{
    MAMUTO_OUT(int64_t) = MAMUTO_IN(int64_t, 0) + MAMUTO_IN(int64_t, 1);
    return 0;
}
