/* Running what a lane has claimed: from offsets on the board to a call of the module's function. */
#ifndef MM_SHM_RUN_H
#define MM_SHM_RUN_H

#include "shm/claim.h"
#include "shm/load.h"
#include "shm/peer.h"
#include "shm/slab.h"

/* How this process sees the data: two views of the arena, so that a function cannot write into its arguments. */
struct mm_view {
    const char *arena_read;
    char *arena_write;
    struct {
        const char *base;
        uint64_t bytes;
        uint32_t serial;
    } attached[MM_MAX_ATTACHED];
};

struct mm_failure {
    int code, item_code; /* code 0: none */
    uint64_t node_item;  /* of a fold: the first item of what it was to fold */
    char text[MM_RECORD_TEXT];
};

enum { MM_ONCE_ITEMS = 8192 }; /* of a call, where no item may be run twice */
/* Folding, and its buffers: shm/group.c. */
struct mm_folder {
    int (*run)(mamuto_chunk_t *);
    size_t dims[MAMUTO_MAX_DIMS];
    struct mm_buffer items, turned, values[2], stack;
};

struct mm_runner {
    struct mm_board *board;
    uint32_t self; /* lane */
    const struct mm_view *view;
    struct mm_loaded *modules; /* MM_MAX_MODULES */
    int eventfd;               /* the master's; -1: this is the master */
    struct mm_peer peer;
    struct mm_buffer packed[MAMUTO_MAX_ARGS];
    struct mm_pace pace[MM_MAX_MAPS];
    struct mm_slab slabs[MM_MAX_MAPS];
    struct mm_emitter emitter; /* slab NULL: the function of this map does not emit */
    /* of the map that it is prepared for */
    uint64_t gen;
    struct mm_board_map *map;
    mamuto_chunk_t base;
    size_t dims[MAMUTO_MAX_DIMS];
    int (*run)(mamuto_chunk_t *);            /* NULL: input 0 is folded itself */
    struct mm_folder folder;                 /* of a map over groups */
    bool any_once_failed;                    /* of a map with MM_MAP_ONCE, in the run that goes on: shm/once.c */
    bool staged;                             /* private arrays pass through the peer's buffers */
    bool scatter;                            /* a packed block is spread over the strided result */
    const int64_t *offsets[MAMUTO_MAX_ARGS]; /* of item offsets_first; NULL: the input has none */
    uint64_t offsets_first;
    struct mm_failure failure;                /* of the call that runs */
    uint64_t busy_ticks;                      /* that it spent on items */
    uint64_t once_first;                      /* of a map with MM_MAP_ONCE: the first item of the run that goes on */
    uint64_t once_failed[MM_ONCE_ITEMS / 64]; /* where any_once_failed: bit per item of it */
};

enum mm_outcome { MM_RAN, MM_FAILED, MM_STOPPED };

/* Resolves the map's function and arguments; the lane is in the map. The module is loaded already. false: an argument
 * could not be fetched; the map is stopped with a record that says so. */
bool mm_runner_prepare(struct mm_runner *runner, struct mm_board_map *map, uint64_t gen);
/* Runs what was taken to its commit or release. */
void mm_runner_execute(struct mm_runner *runner, struct mm_taken *taken);
/* Items [begin, end) of the map, in one call. false: the map is stopped. For MM_MAP_ONCE. */
bool mm_runner_items(struct mm_runner *runner, uint64_t begin, uint64_t end);
/* Ends the map with a failure of no item, whatever on_error says. */
void mm_runner_stop(struct mm_runner *runner, int code, const char *text);
/* Adds a failure to the map's records, if there is room. item: of the call, or MAMUTO_NO_ITEM. */
void mm_record_add(struct mm_board_map *map, uint64_t gen, uint64_t item, int worker, int signal,
                   const struct mm_failure *failure);
void mm_runner_fini(struct mm_runner *runner);

/* The call's index of the run's first item. */
uint64_t mm_runner_first(const struct mm_runner *runner);

#endif
