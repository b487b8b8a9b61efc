/* The agent: the other end of a launch, on another host. It drives the engine of shm/ for a master that is at the far end of
 * a stream. Plain C11 + POSIX, one thread, poll(). */
#ifndef MM_NET_AGENT_H
#define MM_NET_AGENT_H

#include "net/agent_listen.h"
#include "net/agent_output.h"
#include "net/stream.h"
#include "shm/jobs.h"

enum { MM_AGENT_NONCE = 64 };

/* A function of a module, as it was described. */
struct mm_agent_module {
    bool there, loading;
    uint32_t n, room;
    struct mm_function *functions; /* with signature, module and index alone */
    struct mm_agent_build *build;  /* while its files come: net/agent_module.c */
    char error[256];
};

/* Kept data: of an argument, its bytes and, if it has them, its offsets. */
struct mm_agent_object {
    struct mm_agent_object *next;
    uint64_t id;
    char *bytes[2]; /* by enum mm_frame_what; in the arena; NULL: it has none */
    uint64_t total[2], got[2];
    bool began[2], kept;
    unsigned users; /* leases */
    bool forgotten;
};

struct mm_agent_call {
    struct mm_agent_call *next;
    uint64_t id;
    struct mm_call_body body;
    struct mm_function function, fold;
    char *values[MAMUTO_MAX_ARGS]; /* broadcast ones, in the arena */
    uint64_t got[MAMUTO_MAX_ARGS];
    unsigned missing; /* of them */
    unsigned n_leases;
    bool ended;
};

struct mm_agent_lease {
    struct mm_run run; /* first: the engine names it */
    struct mm_agent_lease *next;
    uint64_t id;
    struct mm_agent_call *call;
    struct mm_groups groups;
    struct mm_source source; /* of what it sends */
    char *room;              /* in the arena: all that follows */
    uint64_t bytes;
    char *items[MAMUTO_MAX_ARGS], *offsets[MAMUTO_MAX_ARGS], *absent; /* what comes; NULL: nothing */
    uint64_t items_bytes[MAMUTO_MAX_ARGS], offsets_bytes[MAMUTO_MAX_ARGS], absent_bytes;
    uint64_t items_got[MAMUTO_MAX_ARGS], offsets_got[MAMUTO_MAX_ARGS], absent_got;
    char *result, *absent_out, *marks;
    struct mm_agent_object *kept[MAMUTO_MAX_ARGS];
    unsigned missing; /* of what comes */
    bool submitted, canceled, over;
    unsigned sending; /* pieces of results */
    int status;
    uint64_t failed, busy_ns;
    mamuto_error_t err;
};

struct mm_agent {
    char nonce[MM_AGENT_NONCE];
    struct mm_stream *channel, *stream; /* of a stream in the channel the same; stream NULL: it is not bound yet */
    struct mm_agent_listener listener;
    bool started, leaving;
    uint32_t deadline_ms;
    uint64_t heard_ns, received; /* the last byte; how many until then */
    uint64_t memory, held;       /* bytes that it may hold; that it holds */
    struct mm_pool pool;
    struct mm_jobs jobs;
    bool has_pool, up; /* up: the workers are, or cannot be */
    mamuto_error_t up_error;
    char self[4096], workdir[4096];
    char **env;
    struct mm_agent_outputs outputs;
    struct mm_agent_module modules[MM_MAX_MODULES];
    struct mm_agent_object *objects;
    struct mm_agent_call *calls;
    struct mm_agent_lease *leases;
    mamuto_error_t error; /* why it leaves; code 0: it was asked to */
};

/* agent.c: serves the channel on these descriptors until there is no more use for it. An exit status. */
int mm_agent_main(int fd_in, int fd_out, const char *nonce);
/* It leaves: what comes or happened is wrong. Returns EPROTOCOL. */
__attribute__((format(printf, 2, 3))) int mm_agent_wrong(struct mm_agent *agent, const char *format, ...);
void mm_agent_leave(struct mm_agent *agent, const mamuto_error_t *why);
/* The stream that is bound. */
void mm_agent_take_stream(struct mm_agent *agent, struct mm_stream *stream);
struct mm_stream *mm_agent_stream(struct mm_agent *agent); /* where frames of no other place go */

/* agent_hello.c */
int mm_agent_say_hello(struct mm_agent *agent);

/* agent_engine.c: pool and jobs. */
int mm_agent_start_engine(struct mm_agent *agent, const struct mm_start *start, mamuto_error_t *err);
void mm_agent_tell_up(struct mm_agent *agent);     /* when the workers are up and the stream is bound */
void mm_agent_stop_engine(struct mm_agent *agent); /* waits until no process is left */
enum { MM_AGENT_ENGINE_FDS = 3 };
struct pollfd;
void mm_agent_engine_fds(const struct mm_agent *agent, struct pollfd fds[MM_AGENT_ENGINE_FDS]);
void mm_agent_on_engine(struct mm_agent *agent, const struct pollfd fds[MM_AGENT_ENGINE_FDS]);
int mm_agent_engine_timeout_ms(const struct mm_agent *agent); /* -1: nothing is to be looked at by itself */
/* Memory of the arena, against what it may hold. NULL: ENOMEM with a sentence. */
void *mm_agent_take(struct mm_agent *agent, uint64_t bytes, mamuto_error_t *err);
void mm_agent_give(struct mm_agent *agent, void *p, uint64_t bytes);

/* agent_run.c: calls and leases. */
int mm_agent_on_call(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n);
int mm_agent_on_run(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n);
int mm_agent_on_cancel(struct mm_agent *agent, uint64_t id);
int mm_agent_on_end(struct mm_agent *agent, uint64_t id);
int mm_agent_on_input(struct mm_agent *agent, const struct mm_frame *frame, size_t done, void **to); /* IN, BCAST */
int mm_agent_on_input_end(struct mm_agent *agent, const struct mm_frame *frame);
void mm_agent_finish(struct mm_agent *agent, struct mm_agent_lease *lease); /* it is off the board */
int mm_agent_end_sent(struct mm_agent *agent);                              /* leases whose results are sent: DONE */
void mm_agent_free_runs(struct mm_agent *agent);

/* agent_lease.c: the arrays of a lease. */
int mm_agent_check_call(struct mm_agent *agent, struct mm_agent_call *call, const char **why);
/* Takes room and fills lease->run. EPROTOCOL with a sentence, ENOMEM. */
int mm_agent_make_lease(struct mm_agent *agent, struct mm_agent_lease *lease, const struct mm_run_body *body,
                        mamuto_error_t *err);
/* When all of it is there: points the run at its arrays. EPROTOCOL: offsets that make no sense. */
int mm_agent_ready_lease(struct mm_agent *agent, struct mm_agent_lease *lease, mamuto_error_t *err);
int mm_agent_send_result(struct mm_agent *agent, struct mm_agent_lease *lease);

/* agent_module.c */
int mm_agent_on_module(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n);
int mm_agent_on_file(struct mm_agent *agent, const struct mm_frame *frame, size_t done, void **to);
int mm_agent_on_file_end(struct mm_agent *agent, const struct mm_frame *frame);
void mm_agent_on_function(struct mm_agent *agent, const struct mm_message *message);
void mm_agent_on_loaded(struct mm_agent *agent, const struct mm_message *message);
void mm_agent_free_modules(struct mm_agent *agent);

/* agent_keep.c */
int mm_agent_on_keep(struct mm_agent *agent, const struct mm_frame *frame, size_t done, void **to);
int mm_agent_on_keep_end(struct mm_agent *agent, const struct mm_frame *frame);
int mm_agent_on_forget(struct mm_agent *agent, uint64_t id);
struct mm_agent_object *mm_agent_object(struct mm_agent *agent, uint64_t id); /* NULL: it is not kept */
void mm_agent_release(struct mm_agent *agent, struct mm_agent_object *object);
void mm_agent_free_objects(struct mm_agent *agent);

#endif
