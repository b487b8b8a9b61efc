/* A worker: the process that runs module code. */
#ifndef MM_SHM_WORKER_H
#define MM_SHM_WORKER_H

#include "shm/run.h"

enum { MM_EXIT_RENEW = 83 }; /* exit code of a worker that wants to be forked again: a file was attached since */

struct mm_worker {
    struct mm_board *board;
    uint32_t self;
    uint32_t serial; /* of the attached files that the view has */
    const struct mm_view *view;
    const mamuto_module_t *own_functions; /* the program's, with mamuto_main; else NULL */
    int eventfd;
};

/* Serves the board until it is killed. Called in a process of its own, forked by the fork server. */
_Noreturn void mm_worker_run(const struct mm_worker *worker);

#endif
