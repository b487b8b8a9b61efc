/* The node of another host, shared by the files that it is made of. */
#ifndef MM_NET_REMOTE_H
#define MM_NET_REMOTE_H

#include "core/node.h"
#include "net/launch.h"
#include "net/module_files.h"

enum { MM_REMOTE_MODULES = 256, MM_REMOTE_RUNS = 64, MM_REMOTE_ERRORS = 1000 };

enum mm_remote_state {
    MM_REMOTE_STARTING, /* on_up is owed */
    MM_REMOTE_UP,
    MM_REMOTE_AWAY,      /* its agent is lost; another one is launched, at once or after a while */
    MM_REMOTE_RETURNING, /* a new agent is there, and gets modules and kept data */
    MM_REMOTE_LOST,      /* it never came up */
    MM_REMOTE_CLOSING
};

struct mm_remote_module {
    struct mm_module_files *files; /* NULL: there is no such module */
    char *cc, **cflags, **libs;    /* borrowed from the config */
    bool loading;                  /* on_loaded is owed */
    bool lost;                     /* its agent is gone: on_loaded is to be told */
    mamuto_error_t *refused;       /* it cannot be sent: so is this; NULL: it can */
    bool loaded;                   /* it was, on some agent */
    bool there;                    /* on this agent */
    struct mm_remote_file {
        struct mm_source source; /* first */
        const struct mm_module_files *files;
        uint32_t file;
    } * sources;
};

/* A call as this agent knows it; leases of it come one after the other. */
struct mm_remote_call {
    struct mm_remote_call *next;
    uint64_t id;               /* on the wire */
    uint64_t call;             /* of core; 0: of one run alone */
    unsigned n_leases, n_live; /* live: not revoked */
    bool ended;                /* END was sent, or will be with its last lease */
    bool stale;                /* its broadcast values were not sent whole: no lease can be added */
    struct mm_run run;         /* the first of its runs: whose broadcast arguments are sent */
    struct mm_remote_input {
        struct mm_source source; /* first */
        const struct mm_run *run;
        int k;             /* the argument */
        int what;          /* enum mm_frame_what */
        unsigned *waiting; /* counts down when it is sent; NULL */
    } in[MAMUTO_MAX_ARGS];
    unsigned sending; /* of in */
};

/* A range that the agent has. Ids grow, so the list is in their order. */
struct mm_remote_lease {
    struct mm_remote_lease *next;
    uint64_t id;
    struct mm_run *run; /* NULL: revoked; what still comes is thrown away */
    struct mm_remote_call *call;
    uint64_t first, n; /* the run's */
    size_t out_size;
    uint64_t bytes; /* of arguments and results, against the budget */
    struct mm_remote_input in[2 * MAMUTO_MAX_ARGS + 1];
    unsigned sending;         /* of in */
    struct mm_claims *claims; /* the run's; or its own, to see that each item comes once */
    uint32_t source;
    /* of the piece of the result that is coming */
    enum mm_remote_place { MM_REMOTE_AWAY_WITH_IT, MM_REMOTE_IN_PLACE, MM_REMOTE_IN_SCRATCH } place;
    uint64_t lo, next_offset; /* of an item that comes in several slices; 0: none does */
    uint8_t *marks; /* by item, as the agent says; they count for what is settled after; NULL: none have come */
    uint64_t settled, failed; /* items that were its to settle */
    mamuto_error_t *errors;   /* by item */
    uint32_t n_errors, room;
    uint64_t begun_ns;
    bool over;   /* to be reported */
    bool closed; /* nothing of it comes any more */
    bool lacks;  /* some of its items were thrown away, as another source was writing them */
    int status;
    mamuto_error_t err;
};

struct mm_remote_keep {
    struct mm_remote_keep *next;
    struct mm_keep *keep; /* NULL: given up while it was sent */
    uint64_t id;
    bool owed;         /* on_kept */
    bool there;        /* on this agent */
    bool over;         /* to be reported */
    struct mm_run run; /* its only argument is what is kept */
    struct mm_remote_input in[2];
    unsigned sending;
    int status;
    mamuto_error_t err;
};

struct mm_node {
    uv_loop_t *loop;
    const struct mm_config_host *host;
    const struct mm_node_events *events;
    void *owner;
    enum mm_remote_state state;
    char reason[512];
    struct mm_launch *launch; /* NULL: none now */
    struct mm_link *channel, *stream;
    bool up;   /* UP has come */
    bool died; /* the agent has ended, and was not cut off */
    int workers;
    uint64_t memory;              /* bytes that the agent may hold of ours */
    uv_timer_t tick, soon, again; /* once a second; on the next turn; the next launch */
    unsigned failures;            /* launches in a row that failed */
    unsigned open;                /* timers and launches that are not gone */
    bool up_owed, state_owed;     /* on_up with error, on_state */
    mamuto_error_t error;
    struct mm_remote_module modules[MM_REMOTE_MODULES];
    struct mm_remote_call *calls;
    struct mm_remote_lease *leases, **last_lease;
    unsigned n_leases;  /* not revoked */
    uint64_t in_flight; /* bytes of them */
    struct mm_remote_keep *keeps;
    uint64_t kept_bytes;
    uint64_t last_id;
    unsigned char *scratch; /* a piece of a result that is not read in place; MM_FRAME_MOST bytes, or NULL */
    uint64_t items, busy_ns, up_ns, bytes_out, bytes_in; /* of all its agents */
};

/* node_remote.c */
void mm_remote_soon(struct mm_node *node); /* looks for what is to be told, from the loop */
/* The agent has done what it may not, or cannot be told something: it is lost. */
void mm_remote_lose_agent(struct mm_node *node, const mamuto_error_t *err);
__attribute__((format(printf, 2, 3))) int mm_remote_wrong(struct mm_node *node, const char *format, ...);

/* remote_run.c: calls and leases. Operations of core/node.h. */
int mm_remote_run(struct mm_node *node, struct mm_run *run, mamuto_error_t *err);
void mm_remote_cancel(struct mm_node *node, struct mm_run *run);
void mm_remote_end_call(struct mm_node *node, uint64_t call);
void mm_remote_progress(struct mm_node *node, const struct mm_run *run, uint64_t *done, uint64_t *failed);
void mm_remote_report_runs(struct mm_node *node);                         /* those that are over */
void mm_remote_end_runs(struct mm_node *node, const mamuto_error_t *err); /* the agent is gone; NULL: nobody is told */
int mm_remote_on_done(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n);

/* remote_result.c: what comes of a lease. */
struct mm_remote_lease *mm_remote_find_lease(struct mm_node *node, uint64_t id);
int mm_remote_on_result(struct mm_node *node, const struct mm_frame *frame, size_t done, void **to);
int mm_remote_on_result_end(struct mm_node *node, const struct mm_frame *frame);
int mm_remote_on_fail(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n);

/* remote_input.c: what is sent of arrays. */
/* Readies it; the bytes that it will send. */
uint64_t mm_remote_input(struct mm_remote_input *in, const struct mm_run *run, int k, enum mm_frame_what what,
                         uint64_t turn, unsigned *waiting);

/* remote_module.c */
int mm_remote_load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                   mamuto_error_t *err);
int mm_remote_on_function(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n);
int mm_remote_on_loaded(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n);
int mm_remote_send_modules(struct mm_node *node); /* to a new agent */
void mm_remote_modules_lost(struct mm_node *node);
void mm_remote_report_modules(struct mm_node *node); /* those that were being loaded then */
bool mm_remote_modules_there(const struct mm_node *node);
void mm_remote_free_modules(struct mm_node *node);

/* remote_keep.c */
int mm_remote_keep(struct mm_node *node, struct mm_keep *keep, mamuto_error_t *err);
void mm_remote_cancel_keep(struct mm_node *node, struct mm_keep *keep);
void mm_remote_drop(struct mm_node *node, struct mm_keep *keep);
uint64_t mm_remote_object(const struct mm_node *node, const struct mm_keep *keep); /* 0: it is not kept there */
int mm_remote_on_kept(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n);
int mm_remote_send_keeps(struct mm_node *node);
void mm_remote_report_keeps(struct mm_node *node);
void mm_remote_keeps_lost(struct mm_node *node);
bool mm_remote_keeps_there(const struct mm_node *node);
void mm_remote_free_keeps(struct mm_node *node);

#endif
