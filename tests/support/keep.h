/* What the tests of kept arrays share: keeps in flight that count their on_kept, maps that use what is kept, and how much
 * of the arena is in use. */
#ifndef MM_TESTS_SUPPORT_KEEP_H
#define MM_TESTS_SUPPORT_KEEP_H

#include "core/mamuto.h"

#include <stdbool.h>
#include <uv.h>

/* A keep, in flight or kept. */
struct keep_one {
    mamuto_kept_t *handle;
    int n_kept, status;
    mamuto_error_t err;
    void (*then)(struct keep_one *one); /* in its on_kept, NULL: nothing */
};

/* Begins to keep; the test fails if that does. */
void keep_begin(struct keep_one *one, mamuto_t *m, const char *type, mamuto_arg_t arg);
/* The same, and runs the loop until it is kept, with this status. */
void keep_until(struct keep_one *one, mamuto_t *m, uv_loop_t *loop, const char *type, mamuto_arg_t arg, int status);

/* A map of a function "f8, f8 -> f8" of keep_work that adds: of x = 0, 1, … in place and a kept argument. */
enum { KEEP_ITEMS = 5000 };
struct keep_map {
    double x[KEEP_ITEMS], out[KEEP_ITEMS];
    int n_done, status;
    mamuto_error_t err;
    mamuto_map_t *handle;
    void (*then)(struct keep_map *map);      /* in its on_done */
    void (*on_failed)(struct keep_map *map); /* in its on_item_error */
};
/* Begins it, with SKIP; returns what mamuto_map does. */
int keep_map_begin(struct keep_map *map, mamuto_t *m, const char *function, const mamuto_kept_t *kept);
/* Is each result that of x and y? y[i] for i, or y[0] for all. Items that are x = 100 or 101 may be 0. */
void keep_map_is_right(const struct keep_map *map, const double *y, bool scattered);
/* A map with what is kept, which must be right. */
void keep_good_map(mamuto_t *m, uv_loop_t *loop, const mamuto_kept_t *kept, const double *y, bool scattered);

/* Extents of the mapper's arena that are in use. */
int keep_extents(const mamuto_t *m);
struct mm_node *keep_node(const mamuto_t *m);

#endif
