/* The known name that a mistyped one most probably means. Pure: no allocation. Plain C11. */
#ifndef MM_CORE_NEAREST_H
#define MM_CORE_NEAREST_H

enum { MM_NEAREST_MAX = 64 }; /* names of this many bytes or more are near to nothing */

/* Edits that make b of a: insertions, deletions, exchanges, swaps of neighbours; upper or lower case is the same.
 * MM_NEAREST_MAX where one is too long. */
int mm_nearest_distance(const char *a, const char *b);

/* The search for the nearest of several names: start with { 0 }, offer each, read name (NULL: none resembles it). */
struct mm_nearest {
    const char *name; /* borrowed from the offer */
    int distance;
};

/* A candidate of which half is different is no candidate. Of two that are equally near, the first offered wins. */
void mm_nearest_offer(struct mm_nearest *nearest, const char *mistyped, const char *candidate);

#endif
