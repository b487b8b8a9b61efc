/* Functions whose output is of variable length: text, numbers in pieces, huge, nothing at all; ones that fail and
 * die. */
#include <mamuto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

MAMUTO_FUNCTION(upper, "u1[16] -> bytes", "the word, which ends at its first 0, in upper case")
{
    const char *word = (const char *)MAMUTO_IN(uint8_t[16], 0);
    char out[16];
    size_t n = 0;
    for (; n < 16 && word[n]; n++)
        out[n] = (char)(word[n] >= 'a' && word[n] <= 'z' ? word[n] - 32 : word[n]);
    return MAMUTO_EMIT(out, n);
}

MAMUTO_FUNCTION(repeat, "u1[16], i4 -> bytes", "the word so many times")
{
    const char *word = (const char *)MAMUTO_IN(uint8_t[16], 0);
    size_t n = strnlen(word, 16);
    for (int32_t i = 0; i < MAMUTO_IN(int32_t, 1); i++)
        if (MAMUTO_EMIT(word, n))
            return 1;
    return 0;
}

MAMUTO_FUNCTION(upper_text, "bytes -> bytes", "in upper case, a part at a time")
{
    const char *text = MAMUTO_ARRAY(char, 0);
    char out[50];
    for (size_t k = 0, n; k < MAMUTO_LEN(0); k += n) {
        for (n = 0; n < sizeof out && k + n < MAMUTO_LEN(0); n++)
            out[n] = (char)(text[k + n] >= 'a' && text[k + n] <= 'z' ? text[k + n] - 32 : text[k + n]);
        if (MAMUTO_EMIT(out, n))
            return 1;
    }
    return 0;
}

/* Item i: i * 0.5, i * 0.5 + 1, … */
MAMUTO_FUNCTION(pieces, "i4 -> f8[*]", "so many numbers, one by one")
{
    for (int32_t k = 0; k < MAMUTO_IN(int32_t, 0); k++) {
        double x = (double)MAMUTO_INDEX * 0.5 + k;
        if (MAMUTO_EMIT(&x, 1))
            return 1;
    }
    return 0;
}

/* The bytes count on from the item's number, in blocks of at most `block`. */
MAMUTO_FUNCTION(blocks, "i8, i4 -> u1[*]", "so many bytes, a block at a time")
{
    static uint8_t block[1 << 16];
    int64_t left = MAMUTO_IN(int64_t, 0), size = MAMUTO_IN(int32_t, 1), at = 0;
    for (; left > 0; left -= size) {
        size_t n = (size_t)(left < size ? left : size);
        for (size_t k = 0; k < n; k++)
            block[k] = (uint8_t)(MAMUTO_INDEX + (uint64_t)at++);
        if (MAMUTO_EMIT(block, n))
            return 77;
    }
    return 0;
}

MAMUTO_FUNCTION(nothing, "i4 -> c16[*]", "never emits") { return MAMUTO_IN(int32_t, 0) < -1; }

/* What comes of i, in both of the next: i numbers i; the items that leave 3 divided by 7 are at fault. */
MAMUTO_FUNCTION(fails, "i4 -> i4[*]", "some items fail when they have emitted")
{
    int32_t x = MAMUTO_IN(int32_t, 0), n = x % 50;
    for (int32_t k = 0; k < n; k++)
        if (MAMUTO_EMIT(&x, 1))
            return 1;
    if (x % 7 == 3)
        MAMUTO_FAIL(42, "it leaves 3");
    return 0;
}

MAMUTO_FUNCTION(crashes, "i4, i4 -> i4[*]", "some items die when they have emitted")
{
    int32_t x = MAMUTO_IN(int32_t, 0), n = x % 50;
    for (int32_t k = 0; k < n; k++)
        if (MAMUTO_EMIT(&x, 1))
            return 1;
    if (MAMUTO_IN(int32_t, 1) && x % MAMUTO_IN(int32_t, 1) == 3)
        raise(SIGSEGV);
    return 0;
}

MAMUTO_FUNCTION(random, "-> u4[*]", "a random number of random numbers")
{
    mamuto_rng_t r = MAMUTO_RNG();
    uint32_t n = mamuto_random32(&r) % 40;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t x = mamuto_random32(&r);
        if (MAMUTO_EMIT(&x, 1))
            return 1;
    }
    return 0;
}

/* It pays no heed to what emit returns: the item fails all the same. */
MAMUTO_FUNCTION(greedy, "-> u1[*]", "more than there is memory for")
{
    static const char some[16];
    MAMUTO_EMIT(some, SIZE_MAX / 2);
    return 0;
}

MAMUTO_FUNCTION(astray, "i4 -> i4", "emits, and has no such output")
{
    int32_t x = MAMUTO_IN(int32_t, 0);
    MAMUTO_OUT(int32_t) = x;
    return x % 2 ? MAMUTO_EMIT(&x, 1) : 0;
}

MAMUTO_FUNCTION(sum, "i4, i4 -> i4", "a fold of what is of fixed size")
{
    MAMUTO_OUT(int32_t) = MAMUTO_IN(int32_t, 0) + MAMUTO_IN(int32_t, 1);
    return 0;
}

/* Emits, and waits for the file "go" in $E2E_DIR. */
MAMUTO_FUNCTION(gate, "i4 -> i4[*]", "waits")
{
    char path[4096];
    int32_t x = MAMUTO_IN(int32_t, 0);
    if (MAMUTO_EMIT(&x, 1))
        return 1;
    snprintf(path, sizeof path, "%s/begun", getenv("E2E_DIR"));
    fclose(fopen(path, "a"));
    snprintf(path, sizeof path, "%s/go", getenv("E2E_DIR"));
    while (access(path, F_OK) != 0)
        usleep(1000);
    return 0;
}
