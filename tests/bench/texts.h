/* The work of the row var-out: one source for the module and for the peer, built with the same flags. */
#ifndef BENCH_TEXTS_H
#define BENCH_TEXTS_H

#include <stddef.h>

/* Strings of 8 to 200 bytes. */
enum { TEXTS_ITEMS = 1000000, TEXTS_SHORTEST = 8, TEXTS_LONGEST = 200 };

static inline void texts_upper(const char *text, size_t n, char *out)
{
    for (size_t k = 0; k < n; k++)
        out[k] = (char)(text[k] - (text[k] >= 'a' && text[k] <= 'z' ? 'a' - 'A' : 0));
}

#endif
