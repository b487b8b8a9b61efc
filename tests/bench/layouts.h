/* The work of the rows strided and var-lines: one source for the module and for the peer, built with the same flags. */
#ifndef BENCH_LAYOUTS_H
#define BENCH_LAYOUTS_H

#include <stddef.h>
#include <stdint.h>

/* One column of a matrix of 10^6 rows of 8. */
enum { COLUMN_ITEMS = 1000000, COLUMN_STEP = 8, COLUMN_BYTES = COLUMN_ITEMS * COLUMN_STEP * 8 };
/* Lines of 40 to 120 bytes, 80 on average, of words and blanks. */
enum { LINES_ITEMS = 1000000, LINES_MEAN = 80, LINES_SPREAD = 81 };
enum {
    LINES_BYTES = LINES_ITEMS * (LINES_MEAN + 1),
    LINES_OFFSETS = (LINES_ITEMS + 1) * 8,
    LINES_RESULTS = LINES_ITEMS * 4
};

static inline double column_item(double x) { return 2 * x + 1; }

/* Words: runs of what is no blank. */
static inline uint32_t lines_words(const char *line, size_t n)
{
    uint32_t words = 0, blank_before = 1;
    for (size_t k = 0; k < n; k++) {
        uint32_t blank = line[k] == ' ';
        words += blank_before & (blank ^ 1);
        blank_before = blank;
    }
    return words;
}

#endif
