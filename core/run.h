/* A range of a map as it is given to a node: checked, resolved, plain data. */
#ifndef MM_CORE_RUN_H
#define MM_CORE_RUN_H

#include "core/signature.h"

#include <stdbool.h>

/* A function as the mapper knows it; found by name, run by (module, index). */
struct mm_function {
    mamuto_function_t info; /* its strings belong to the mapper */
    struct mm_signature signature;
    uint32_t module, index; /* index: in the module, by line */
};

/* A checked argument: every item of it lies in memory that does not wrap. */
struct mm_run_arg {
    const void *data;
    ptrdiff_t stride;       /* bytes from item to item; 0: one for all; where it has offsets, that of elements */
    size_t size;            /* bytes of an item; where it has offsets, of an element */
    size_t len;             /* elements of an item */
    const int64_t *offsets; /* of item 0, in elements; NULL: all items are of one size */
    int64_t low, high;      /* with offsets: elements [low, high) of data are the run's items; read once, at the call */
};

enum { MM_NODE_FULL = 1 }; /* a node has no room for another run now */

struct mm_run {
    const struct mm_function *function;
    uint64_t first, n; /* items [first, first + n) of the map; n >= 1 */
    int n_in;
    struct mm_run_arg in[MAMUTO_MAX_ARGS]; /* of item 0 of the map */
    void *result;                          /* of item 0 of the map */
    ptrdiff_t result_stride;               /* bytes from item to item, never 0 */
    size_t out_size, out_len;
    size_t dims[MAMUTO_MAX_DIMS];
    uint64_t seed;
    int item_timeout_ms, retries, priority;
    bool fail_fast, once;
    bool wait, help; /* a _wait form waits for it; its caller works too */
    void *job;       /* the node's */
};

#endif
