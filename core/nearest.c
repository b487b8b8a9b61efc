/* The known name that a mistyped one most probably means, for "did you mean …?".
 *
 * config_keys.c offers its keys. The measure is the edit distance with swaps of neighbours, each pair of letters
 * swapped at most once (optimal string alignment), which is what slips of a keyboard look like. Names are short, so the whole
 * table is on the stack; a name too long for it is near to nothing, which bounds the time for a hostile one. */
#include "core/nearest.h"

#include <string.h>

static int lower(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

static int least(int a, int b) { return a < b ? a : b; }

int mm_nearest_distance(const char *a, const char *b)
{
    int n = (int)strnlen(a, MM_NEAREST_MAX), m = (int)strnlen(b, MM_NEAREST_MAX);
    if (n == MM_NEAREST_MAX || m == MM_NEAREST_MAX)
        return MM_NEAREST_MAX;
    int d[MM_NEAREST_MAX][MM_NEAREST_MAX]; /* [i][j]: from the first i letters of a to the first j of b */
    for (int i = 0; i <= n; i++)
        d[i][0] = i;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        for (int j = 1; j <= m; j++) {
            int x = lower(a[i - 1]), y = lower(b[j - 1]);
            d[i][j] = least(d[i - 1][j - 1] + (x != y), 1 + least(d[i - 1][j], d[i][j - 1]));
            if (i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]))
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

void mm_nearest_offer(struct mm_nearest *nearest, const char *mistyped, const char *candidate)
{
    int n = (int)strnlen(mistyped, MM_NEAREST_MAX), m = (int)strnlen(candidate, MM_NEAREST_MAX);
    int distance = mm_nearest_distance(mistyped, candidate);
    if (distance * 2 > (n > m ? n : m))
        return;
    if (!nearest->name || distance < nearest->distance)
        *nearest = (struct mm_nearest){ candidate, distance };
}
