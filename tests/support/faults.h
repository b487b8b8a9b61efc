/* What the tests share that kill workers: maps of tests/e2e/modules/faults.c whose outcome is checked item by item, and a
 * view of the job board of this process's only mapper. */
#ifndef MM_TESTS_SUPPORT_FAULTS_H
#define MM_TESTS_SUPPORT_FAULTS_H

#include "core/mamuto.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* The knobs of faults.work, one 64-bit number each. */
enum faults_knob {
    FAULTS_COST_NS,
    FAULTS_HEAVY_NS, /* of items below the next */
    FAULTS_HEAVY_BELOW,
    FAULTS_FAIL_MODULUS, /* items that leave FAIL_REST fail; 0: none */
    FAULTS_FAIL_REST,
    FAULTS_CRASH_ITEM, /* the first to run it dies, once for each mark in $E2E_DIR; mark 0: nobody */
    FAULTS_CRASH_MARK,
    FAULTS_KNOBS
};

/* What killing may cost, beyond what the knobs say. */
struct faults_loss {
    unsigned items;  /* so many items may fail that should not */
    unsigned blamed; /* so many of those that fail anyway may be blamed for their worker's death */
    bool crash_item; /* the item that crashes once may fail */
};

struct faults_map {
    uint64_t knobs[FAULTS_KNOBS];
    size_t n;
    int retries, on_error;
    const uint64_t *x; /* x[i] = i */
    uint64_t (*out)[2];
    /* filled while it runs */
    struct faults_failure {
        uint64_t item;
        int code;
    } failures[1000];
    unsigned n_failures;
    int status;
    mamuto_error_t err;
};

/* Sets the results to what no item yields, and fills a call of faults.work; map is the call's data, and its callbacks
 * take down failures, status and err. */
void faults_prepare(struct faults_map *map, mamuto_call_t *call);
void faults_take_down(struct faults_map *map, const mamuto_error_t *err); /* a failure, for one's own callback */
/* Are results, failures and status those that the knobs, retries and on_error ask for, but for the loss? What is wrong
 * is written into text. */
bool faults_is_right(const struct faults_map *map, const struct faults_loss *loss, char *text, size_t bytes);

/* The names of all MM_POINTs in the sources that match, each once. */
enum { FAULTS_POINT_NAME = 32 };
unsigned faults_points(const char *pattern, char names[][FAULTS_POINT_NAME], unsigned max);

struct mm_board;
struct mm_board *faults_board(void); /* NULL: no mapper is open */
void faults_print_board(FILE *to, struct mm_board *board);
/* A process's state as ps says it (R, S, T, Z …); 0: there is none, or it is no worker. */
char faults_worker_state(pid_t pid);
pid_t faults_parent(pid_t pid); /* 0: there is no such process */

#endif
