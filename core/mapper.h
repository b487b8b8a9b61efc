/* The mapper's own structure, shared by the files that implement the public calls. */
#ifndef MM_CORE_MAPPER_H
#define MM_CORE_MAPPER_H

#include "core/module.h"
#include "core/node.h"

enum { MM_MOST_MODULES = 256 };

/* What a _wait form waits for. */
struct mm_waited {
    bool over;
    int status;
    mamuto_error_t *err; /* the caller's, may be NULL */
};

/* A module that was asked for. */
struct mm_mapper_module {
    char name[MM_MAX_MODULE_NAME + 1];
    char *path;
    bool loaded, initial; /* initial: of mamuto_open */
    bool pending;         /* on_loaded is owed */
    struct mm_function **functions;
    size_t n_functions, room;
    mamuto_error_t error; /* met while it is described */
    void (*on_loaded)(mamuto_t *m, int status, const mamuto_error_t *err);
    struct mm_waited *waited;
};

enum mm_map_state { MM_MAP_QUEUED, MM_MAP_RUNNING, MM_MAP_ENDED };

struct mamuto_map_s;

/* A call that takes several runs, one after the other: a reduction, a result of variable length. */
struct mm_plan {
    /* A run has ended so; or there are no items, and so no run at all. MM_PLAN_GOES_ON: the next one is in map->run; else the call's outcome, with its sentence. */
    int (*next)(struct mamuto_map_s *map, int status, uint64_t failed, const mamuto_error_t *ran, mamuto_error_t *err);
    void (*on_item_error)(struct mamuto_map_s *map, const mamuto_error_t *err);
    void (*fini)(struct mm_plan *plan, mamuto_t *m); /* m->node may be gone, and its memory with it */
    struct mm_run whole;                             /* the call as it was checked: the caller's arrays */
    void *value;                                     /* where the outcome goes: the caller's, as if_empty; or NULL */
    const void *if_empty;
};
enum { MM_PLAN_GOES_ON = 2 };

/* One call in flight: its handle. */
struct mamuto_map_s {
    struct mm_run run;    /* first: a run's map is found by its address */
    struct mm_plan *plan; /* NULL: one run is all there is */
    bool fresh;           /* the run has just begun: a caller that waits may assist */
    mamuto_t *mapper;
    enum mm_map_state state;
    struct mamuto_map_s *next, *previous; /* in its list */
    void *data;
    void (*on_done)(mamuto_map_t *map, int status, const mamuto_error_t *err);
    void (*on_item_error)(mamuto_map_t *map, const mamuto_error_t *err);
    bool ticks, begun; /* it has one of these two; it is counted as one that has */
    void (*on_progress)(mamuto_map_t *map, const mamuto_progress_t *progress);
    void (*on_spans)(mamuto_map_t *map, const mamuto_span_t *spans, size_t n);
    struct mm_span_log log;
    uint64_t called_ns, running_ns, told_ns; /* the call; it began to run, 0: it has not; the last on_progress */
    uint64_t failed_before;                  /* items of the runs of its plan that have ended */
    uint64_t done, failed;                   /* as they were told */
    uint64_t bytes_out, bytes_in;            /* of the mapper's hosts, at the call */
    bool canceled;                           /* while queued */
    uint64_t arrival;                        /* of m->n_queued */
    struct mm_waited *waited;
};

enum mm_kept_state { MM_KEEPING, MM_KEPT, MM_FORGOTTEN };

/* Kept data: its handle. */
struct mamuto_kept {
    struct mm_keep keep; /* first: a keep's handle is found by its address */
    mamuto_t *mapper;
    enum mm_kept_state state;
    unsigned users;      /* maps in flight, and its on_kept while it runs */
    struct mm_type type; /* its dims bound */
    int kind;            /* MAMUTO_ARG_*, as it was given */
    void *data;
    void (*on_kept)(mamuto_kept_t *kept, int status, const mamuto_error_t *err);
    struct mm_waited *waited;
    struct mamuto_kept *next, *previous; /* in its list */
};

struct mm_map_list {
    struct mamuto_map_s *first, *last;
};

enum mm_mapper_state { MM_OPENING, MM_OPEN, MM_FAILED, MM_CLOSING };

struct mamuto {
    enum mm_mapper_state state;
    uv_loop_t *loop, own_loop;
    bool owns_loop;
    struct mm_config config;
    void *data;
    void (*on_open)(mamuto_t *m, int status, const mamuto_error_t *err);
    void (*on_close)(void *data);
    void (*on_host)(mamuto_t *m, const mamuto_host_t *host);
    char (*host_reasons)[512]; /* by host: of the last mamuto_host_t that was filled */
    bool open_owed;            /* on_open has not come yet */
    mamuto_error_t open_error;
    void (*on_output)(mamuto_t *m, const char *host, int worker, int fd, const char *line, size_t n);
    const struct mm_node_ops *ops;
    struct mm_node_events events; /* that the node is given */
    struct mm_node *node;
    bool node_up, node_closing, gone, lost; /* lost: the node takes no run any more */
    struct mm_mapper_module *modules[MM_MOST_MODULES];
    uint32_t n_modules, n_loading; /* loading: initial ones that are not there yet */
    const struct mm_function *last_function;
    char last_name[MM_MAX_MODULE_NAME * 2 + 2];
    struct mm_map_list queued, running, ended; /* queued: by priority */
    uint64_t n_queued, n_begun;                /* maps that were ever queued, and that began after it */
    struct mamuto_kept *keeping, *kept;        /* in flight; kept, or forgotten and still used */
    struct mamuto_map_s *spare;                /* the last one freed: the next one made */
    uv_async_t kick;
    uv_timer_t ticker;             /* while a map has on_progress or on_spans */
    uint32_t n_progress, n_spans;  /* such maps in flight */
    struct mamuto_map_s *visiting; /* the ticker's next one */
    unsigned process;              /* mm_process() of the one that opened it */
    int depth;                     /* callbacks of this mapper on the stack */
    int busy;                      /* what keeps the loop alive */
};

/* mapper.c */
/* Is this mapper another process' (this one is a child of fork())? EINVAL. */
int mm_mapper_check_process(const mamuto_t *m, const char *call, mamuto_error_t *err);
void mm_mapper_kick(mamuto_t *m); /* on the loop's next turn: ended maps, a close that was asked for */
void mm_mapper_hold(mamuto_t *m); /* one more thing in flight */
void mm_mapper_release(mamuto_t *m);
int mm_mapper_may_wait(const mamuto_t *m, const char *call, mamuto_error_t *err);
void mm_mapper_look(mamuto_t *m); /* is the opening over? */
void mm_mapper_free(mamuto_t *m); /* it is closed; with its own loop, if it has one */

/* modules.c */
int mm_mapper_load(mamuto_t *m, const char *path, bool initial, struct mm_mapper_module **module, mamuto_error_t *err);
int mm_mapper_load_program(mamuto_t *m, mamuto_error_t *err); /* its own functions, if it has any */
void mm_mapper_on_function(void *owner, uint32_t module, const char *name, const char *signature, const char *doc,
                           int form, int line);
void mm_mapper_on_loaded(void *owner, uint32_t module, int status, const mamuto_error_t *err);
void mm_mapper_cancel_loads(mamuto_t *m);
void mm_mapper_free_modules(mamuto_t *m);
/* By its full or its plain name; NULL with EFUNCTION. */
const struct mm_function *mm_mapper_find(mamuto_t *m, const char *name, mamuto_error_t *err);

/* hosts.c */
void mm_hosts_on_state(void *owner); /* the node's only host has joined, was lost, or is back */
void mm_hosts_on_host(void *owner, size_t host);

/* map.c */
/* What a call is made into: map->run, and map->plan if it takes several. */
typedef int mm_map_fill(struct mamuto_map_s *map, mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err);
int mm_map_submit(mamuto_t *m, const char *name, const mamuto_call_t *call, mm_map_fill *fill, mamuto_map_t **map,
                  mamuto_error_t *err);
int mm_map_submit_wait(mamuto_t *m, const char *name, const mamuto_call_t *call, mm_map_fill *fill,
                       mamuto_error_t *err);
/* For a fill: has the functions that a helping caller runs at hand. */
void mm_map_tell_item_error(struct mamuto_map_s *map, const mamuto_error_t *err);
int mm_map_prepare_help(struct mamuto_map_s *map, const struct mm_function *function, mamuto_error_t *err);
void mm_map_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err);
void mm_map_on_item_error(void *owner, struct mm_run *run, const mamuto_error_t *err);
bool mm_map_uses(const mamuto_t *m, const void *p,
                 uint64_t bytes); /* does a map or keep in flight use an array there? */
void mm_map_deliver_ended(mamuto_t *m);
void mm_map_cancel_all(mamuto_t *m); /* the node is gone: on_done with ECANCELED for all */

/* ticks.c */
void mm_ticks_init(mamuto_t *m);
void mm_ticks_prepare(struct mamuto_map_s *map, const mamuto_call_t *call); /* before map->run is filled in */
void mm_ticks_fill(struct mamuto_map_s *map);                               /* and after it */
void mm_ticks_begin(struct mamuto_map_s *map);                              /* the map is in flight */
void mm_ticks_running(struct mamuto_map_s *map);                            /* it was queued, and has begun */
void mm_ticks_ran(struct mamuto_map_s *map, uint64_t failed);               /* one of its runs has ended */
/* It has ended: tells the last of what has landed. Before on_done. */
void mm_ticks_end(struct mamuto_map_s *map, int status);

/* keep.c */
void mm_keep_on_kept(void *owner, struct mm_keep *keep, int status, const mamuto_error_t *err);
void mm_keep_cancel_all(mamuto_t *m);           /* the node is gone: on_kept with ECANCELED for those in flight */
void mm_keep_free_all(mamuto_t *m);             /* the handles that are left */
void mm_keep_hold(const struct mm_run *run);    /* a map with these resident arguments is in flight, */
void mm_keep_release(const struct mm_run *run); /* and has ended */

/* resident.c: a call against its function, as mm_args_check, of which arguments may be resident. EINVAL: one is of another
 * mapper, not kept yet, or forgotten; EARGS: of another type. What fills a run from a call uses this one. */
int mm_resident_check(const mamuto_t *m, const struct mm_function *function, const mamuto_call_t *call,
                      struct mm_run *run, mamuto_error_t *err);

/* args.c: a call without resident arguments against its function's signature, before anything runs. Fills run; touches nothing on failure but run. */
int mm_args_check(const struct mm_function *function, const mamuto_call_t *call, struct mm_run *run,
                  mamuto_error_t *err);
/* One argument of a type alone, the function's only input; run->dims is set. Fills run->n and run->in[0]. */
int mm_args_check_keep(const struct mm_function *type, const mamuto_arg_t *arg, struct mm_run *run,
                       mamuto_error_t *err);

#endif
