/* What workers print, on the caller's loop: pipes are read, and cut into lines. */
#ifndef MM_SHM_LOOP_OUTPUT_H
#define MM_SHM_LOOP_OUTPUT_H

#include "core/error.h"
#include "shm/board.h"

#include <uv.h>

enum { MM_OUTPUT_PIECE = 4096 }; /* the longest line that is told in one piece */

struct mm_stream;

struct mm_outputs {
    uv_loop_t *loop;
    void (*on_line)(void *owner, int worker, int fd, const char *line, size_t n);
    void *owner;
    uint32_t n_lanes;                           /* those behind have no stream */
    struct mm_stream *streams[MM_MAX_LANES][2]; /* of stdout and stderr; NULL: none */
};

/* Begins to read a lane's pipe. The descriptor becomes the streams', also after a failure. ENOMEM, ESYSTEM. */
int mm_outputs_add(struct mm_outputs *outputs, uint32_t lane, int fd, int pipe, mamuto_error_t *err);
/* Tells what is in the pipes now, but for lines without an end: what was printed before something else that is to be told. */
void mm_outputs_drain(struct mm_outputs *outputs);
/* The lane's worker has died: tells all that it has written. */
void mm_outputs_end_worker(struct mm_outputs *outputs, uint32_t lane);
/* Nobody writes any more: tells what is left, and closes the pipes. */
void mm_outputs_close(struct mm_outputs *outputs);

#endif
