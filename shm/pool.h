/* The owner's side of the engine: board, arena, fork server and workers of one mapper, without a loop. The owner polls
 * three descriptors (control, event, life) and calls the function that goes with each. */
#ifndef MM_SHM_POOL_H
#define MM_SHM_POOL_H

#include "core/error.h"
#include "shm/arena.h"
#include "shm/control.h"
#include "shm/sweep.h"

#include <sys/types.h>

struct mm_pool_config {
    int workers;
    bool pin, core_dumps;
    bool output; /* what workers print is wanted */
    int nice;    /* added to what this process has, for the workers */
    /* borrowed as long as the pool lives */
    const char *workdir; /* the workers' working directory; NULL: this process's */
    char *const *env;    /* "NAME=value", over this process's, ended by NULL; NULL: nothing */
    const char *agent;   /* the helper program; NULL: to be looked for */
};

/* What comes from the fork server. */
struct mm_pool_events {
    void (*on_up)(void *owner, int status,
                  const mamuto_error_t *err); /* all workers were started, or it failed: once */
    void (*on_function)(void *owner, const struct mm_message *message);
    void (*on_loaded)(void *owner, const struct mm_message *message);
    void (*on_death)(void *owner, const struct mm_death *death);
    /* The read end of a worker's stdout (fd 1) or stderr (2), to be closed by the owner; an error ends the opening. */
    int (*on_output)(void *owner, uint32_t lane, int fd, int pipe, mamuto_error_t *err);
};

struct mm_attachment {
    char *base;
    uint64_t bytes;
    int64_t offset;
    int fd; /* kept: a new fork server needs it */
};

struct mm_pool {
    int control, event, life; /* -1: closed */
    pid_t server;
    int board_fd, workdir_fd; /* workdir_fd: -1: workers stay where this process is */
    struct mm_board *board;
    struct mm_arena arena;
    struct mm_attachment attached[MM_MAX_ATTACHED];
    uint64_t detaching;  /* bit per entry: the fork server is still to be told that it was given back */
    uint32_t n_attached; /* all entries from here on are empty */
    struct mm_pool_config config;
    const struct mm_pool_events *events;
    void *owner;
    bool up;
    bool lane_up[MM_MAX_LANES];
    uint32_t n_up; /* workers that were started and are not known to be dead */
    uint64_t start_ticks, start_ns;
    uint64_t probe;            /* what the fork server reads by process_vm_readv, to see whether workers may */
    struct mm_message message; /* being read or sent */
};

int mm_pool_init(struct mm_pool *pool, const struct mm_pool_config *config, const struct mm_pool_events *events,
                 void *owner, mamuto_error_t *err);
/* Starts a fork server and sends it what it needs; also after the one before has died. */
int mm_pool_start(struct mm_pool *pool, mamuto_error_t *err);
/* Reads what the fork server has sent. false: the socket has ended; the life pipe will end soon. */
bool mm_pool_on_control(struct mm_pool *pool);
void mm_pool_on_event(struct mm_pool *pool); /* empties the eventfd */
/* The life pipe has something: true: it has ended, so no process of the pool is left; the fork server is reaped. */
bool mm_pool_on_life(struct mm_pool *pool);
/* Has the fork server, which reaps its children before it leaves, left? It is reaped, then. For where something else
 * holds the life pipe: what module code has forked and put into a session of its own. */
bool mm_pool_server_is_gone(struct mm_pool *pool);
void mm_pool_close_life(struct mm_pool *pool); /* when nobody watches it any more */
/* Asks all processes to leave; the life pipe ends when they have. force: kills them. */
void mm_pool_stop(struct mm_pool *pool, bool force);
/* Kills a fork server whose life pipe is not watched, and reaps it. */
void mm_pool_end_server(struct mm_pool *pool);
/* Frees everything; no process is left. */
void mm_pool_fini(struct mm_pool *pool);

/* Sends a message of no text, and with it a descriptor (-1: none). 0 or -errno. */
int mm_pool_hand_over(struct mm_pool *pool, enum mm_message_type type, uint32_t id, int64_t a, int64_t b, int fd);
/* The same without a descriptor. 0, or ESYSTEM. */
int mm_pool_tell(struct mm_pool *pool, enum mm_message_type type, uint32_t id, int64_t a, int64_t b);
int mm_pool_load(struct mm_pool *pool, uint32_t module, const char *path, const char *cc, char *const *cflags,
                 char *const *libs, mamuto_error_t *err);
/* Gives an array or a file back. -1: it is none of this pool's. */
int mm_pool_free(struct mm_pool *pool, const void *p);
/* Bytes of the array or file that begins at p; 0: there is none. */
uint64_t mm_pool_size(const struct mm_pool *pool, const void *p);
/* A dead lane whose maps are swept: as if it had never held anything. */
void mm_pool_reset_lane(struct mm_pool *pool, uint32_t lane);
/* It is reset, and the fork server asked to fork it anew. false: it cannot be asked now. */
bool mm_pool_respawn(struct mm_pool *pool, uint32_t lane);
/* Where an array of `bytes` lies: arena, attached file, or private; NONE: it begins in an array or file of this pool, but
 * ends beyond it, or was freed. */
enum mm_where mm_pool_locate(const struct mm_pool *pool, const void *p, uint64_t bytes, uint32_t *region,
                             uint64_t *offset);

#endif
