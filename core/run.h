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
    struct mm_keep *keep;   /* a resident argument: what it is kept by; NULL: it is the caller's array */
};

/* Data that nodes keep for many runs. */
struct mm_keep {
    struct mm_run_arg in; /* of item 0: the caller's array; when it is kept, the copy, packed if items lay apart */
    uint64_t n;           /* items; of a broadcast value: 1 */
    bool wait;            /* a _wait form waits for it */
    void *job;            /* of the node that has made the copy; nodes of other hosts leave it alone */
};

/* Where workers put what a function emits (core/varlen.h): two parts of the node's memory, taken when the run begins.
 * They stay when it has ended, and are the caller's to free. */
struct mm_run_parts {
    void *data[2]; /* NULL: there is no such part */
    uint64_t bytes[2];
    uint64_t used[2]; /* when the run has ended: what lies behind was never touched */
};

/* What a run does: call its function, or one of the steps by which emitted elements become one array. Those have inputs
 * and result in the node's memory, and the records (input 0) and parts (inputs 1 and 2) of a run that has ended. Item g
 * stands for the records [g * group, (g + 1) * group), less behind n_records. */
enum mm_op {
    MM_OP_CALL,
    MM_OP_SUM,    /* result: bytes of each group */
    MM_OP_GATHER, /* input 3: bytes before each group, and all; input 4 is filled: elements, and offsets, at offsets_at */
    MM_N_OPS
};
struct mm_run_gather {
    uint64_t n_records, group, offsets_at;
    size_t element;
    uint64_t bytes; /* that a group moves, for the estimate of its cost */
};

/* A run over groups: its item g is items [g * group_items, (g + 1) * group_items) of the call, less behind n_items, mapped
 * and folded into one. Blocks of leaf_items are folded left to right, blocks up the binary tree. */
struct mm_groups {
    const struct mm_function *fold;
    size_t dims[MAMUTO_MAX_DIMS]; /* of the fold */
    uint64_t n_items;             /* that all groups cover */
    uint64_t group_items;         /* leaf_items times a power of two */
    uint32_t leaf_items;
    bool values;           /* its items are what other runs of the call have stored, not the call's */
    const uint8_t *absent; /* 1: an item that is left out; by item, from the run's first on; NULL: none is */
    uint8_t *absent_out;   /* where absent is set: 1: nothing of the group was there; by group of the run */
};

enum { MM_NODE_FULL = 1 }; /* a node has no room for another run now */

/* Those with more are served first; one turn in MM_PLAIN_TURN goes by order alone, so that nobody starves. */
enum { MM_MOST_PRIORITY = 100, MM_PLAIN_TURN = 16 };

struct mm_run;
struct mm_claims;

/* What has landed of a run whose caller wants to know: filled by the node, told and emptied by core. */
struct mm_span_log {
    mamuto_span_t *at;
    size_t n, room;
    uint64_t *reported; /* the node's: what was ever put in */
    uint64_t begun_ns;
    void (*flush)(struct mm_run *run); /* tells now: for a node that has no memory for more */
    struct mm_run *run;                /* flush's */
};

struct mm_run {
    const struct mm_function *function; /* NULL, of groups: input 0 is folded itself */
    const struct mm_groups *groups;     /* NULL: its items are the call's */
    uint64_t first, n;                  /* items [first, first + n) of the map; n >= 1 */
    int n_in;
    struct mm_run_arg in[MAMUTO_MAX_ARGS]; /* of item 0 of the map */
    void *result;                          /* of item 0 of the map */
    ptrdiff_t result_stride;               /* bytes from item to item, never 0 */
    size_t out_size, out_len;
    size_t dims[MAMUTO_MAX_DIMS];
    struct mm_run_parts *parts; /* the function emits, elements of so many bytes; its result are records. NULL: no */
    size_t element;
    enum mm_op op;
    struct mm_run_gather gather; /* of another op */
    uint64_t seed;
    int item_timeout_ms, retries, priority;
    bool fail_fast, once;
    uint8_t *marks;          /* 1 for each item that failed for good; by item, from the first on; NULL: not wanted */
    bool wait, help;         /* a _wait form waits for it; its caller works too */
    bool ticks;              /* it has on_progress or on_spans: a caller that works lets the loop turn now and then */
    struct mm_span_log *log; /* NULL: nobody wants to know what has landed */
    void *job;               /* the node's */
    /* Of a call that several nodes share. */
    uint64_t call; /* runs of one number are of one call: the same function, arguments and arrays; 0: of none */
    struct mm_claims *claims; /* asked before a result is written (core/claims.h); NULL: all are this run's to write */
    uint32_t source;          /* what this run is there */
    bool died; /* set by a node, with EHOST: the host's agent has ended, and was not cut off; an item may be why */
    bool copy; /* of what another run is late with, into scratch memory: who lands it has settled it, not the node */
};

/* The run's range in items of the call. */
static inline uint64_t mm_run_first_item(const struct mm_run *run)
{
    return run->groups ? run->first * run->groups->group_items : run->first;
}
static inline uint64_t mm_run_n_items(const struct mm_run *run)
{
    if (!run->groups)
        return run->n;
    uint64_t from = mm_run_first_item(run), to = from + run->n * run->groups->group_items;
    return (to < run->groups->n_items ? to : run->groups->n_items) - from;
}

/* Of the call's items, those that the run settles: none where it folds or gathers what others have stored, or is a copy. */
static inline uint64_t mm_run_settles(const struct mm_run *run)
{
    return run->copy || run->op != MM_OP_CALL || (run->groups && run->groups->values) ? 0 : mm_run_n_items(run);
}

#endif
