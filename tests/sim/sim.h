/* A world in which the real team (core/team*.c, core/claims.c) and the real nodes of other hosts (net/node_remote.c,
 * net/remote_*.c) live: its clock, its loop, its network, its agents, its workers. Everything in it is drawn from a
 * seed. */
#ifndef MM_TESTS_SIM_H
#define MM_TESTS_SIM_H

#include "core/config.h"
#include "core/node.h"
#include "net/frame.h"

#include <stdbool.h>

enum { SIM_HOSTS = 4, SIM_CALLS = 3, SIM_LOCAL = -1, SIM_TEAM = -2 };

static const uint64_t SIM_US = 1000, SIM_MS = 1000000, SIM_S = 1000000000;

extern bool sim_is_poor; /* now and then there is no memory: an error is right then, a wrong value never is */

/* ---- world.c: chance, clock, loop -------------------------------------------------------------------------------- */

uint64_t sim_below(uint64_t n);            /* [0, n) */
bool sim_percent(unsigned percent);        /* true in so many cases of a hundred */
uint64_t sim_about(uint64_t mean);         /* [mean/2, 3*mean/2] mostly, ten times that rarely */
uint64_t sim_hash(uint64_t a, uint64_t b); /* the same in each run */
uint64_t sim_now(void);
void sim_at(uint64_t delay_ns, void (*what)(void *owner), void *owner); /* an event */
bool sim_step(void);                                                    /* the next event; false: there is none */
void sim_begin(uint64_t seed);
void sim_end(void);           /* frees what sim_keep has given */
void *sim_keep(size_t bytes); /* zeroed; stays until the end of the seed: late events may look at it */
/* Something is wrong: prints it with the seed, and ends the process. */
__attribute__((format(printf, 1, 2), noreturn)) void sim_broken(const char *format, ...);
__attribute__((format(printf, 1, 2))) void sim_trace(const char *format, ...); /* where MAMUTO_TRACE is set */

/* ---- items.c: what is known of each item, by who knows everything ------------------------------------------------ */

enum sim_state { SIM_OPEN, SIM_RUNNING, SIM_CLAIMED, SIM_SETTLED }; /* RUNNING: here, which nobody can take back */

struct sim_item {
    enum sim_state state;
    int host;          /* who claims it, runs it, or has settled it; SIM_LOCAL, SIM_TEAM */
    uint32_t source;   /* who claims it */
    uint32_t begun;    /* how often some worker began it */
    uint32_t deaths;   /* agents that died of it */
    bool failed, told; /* settled as a failure; on_item_error came */
};

struct sim_call {
    bool begun, ended, canceled;
    int number;
    struct mm_run run;
    bool once; /* what the program asked for */
    unsigned char *in, *value, *result;
    size_t result_bytes;
    uint8_t *marks;
    struct sim_item *items;   /* from the first on */
    struct mm_claims *claims; /* the team's */
    int status;
    uint64_t failed;
};
extern struct sim_call sim_calls[SIM_CALLS];

struct sim_item *sim_item(uint64_t item, struct sim_call **call);
/* A worker of a host begins an item. */
void sim_item_begins(uint64_t item, int host, bool copy);
/* A worker here has finished an item, and stored it. */
void sim_item_stored_here(uint64_t item, bool failed);
/* Somebody writes results: is it his to write? */
void sim_check_write(const void *to, size_t n, int host);
/* Somebody reads arguments: are they there still? */
void sim_check_read(const void *from);
/* What an item comes to on a host. */
bool sim_fails(uint64_t item, int host);
void sim_item_kills(uint64_t item); /* an agent has begun it */
bool sim_kills(uint64_t item);      /* an agent whose worker begins it */
void sim_value(uint64_t item, uint64_t in, void *out, size_t n);
/* Who is at work in the master at this moment: of whom what comes is taken. Returns who was before. */
int sim_act_for(int host, bool failing);

/* ---- local.c, net.c, agent.c ------------------------------------------------------------------------------------- */

extern const struct mm_node_ops sim_local; /* a node of this machine */
extern uint64_t sim_local_item_ns;
extern int sim_local_workers;

struct sim_host {
    uint64_t trip_ns, item_ns, slice; /* slice: bytes that come at once */
    uint64_t unreachable_until, frozen_until;
    struct mm_link *link; /* of its agent; NULL: none */
    unsigned launches, losses;
    int number, workers;
    bool no_return; /* once lost, it stays so */
    bool slow_sender;
};
extern struct sim_host sim_hosts[SIM_HOSTS];
extern unsigned sim_crashes; /* agents that died of themselves */
enum sim_fault { SIM_CUT, SIM_RESET, SIM_CRASH, SIM_FREEZE, SIM_N_FAULTS };
void sim_fault(struct sim_host *host, enum sim_fault fault);

/* agent.c: the other end of a link */
struct sim_agent;
struct sim_agent *sim_agent_new(struct mm_link *link, struct sim_host *host);
void sim_agent_frame(struct sim_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n);
/* net.c: what an agent sends */
void sim_agent_sends(struct mm_link *link, const struct mm_frame *frame, const void *body, size_t n);
void sim_agent_dies(struct mm_link *link); /* what it has sent still arrives */
bool sim_is_over(const struct mm_link *link);

/* ---- plant.c: bugs that are to be found -------------------------------------------------------------------------- */

/* The linker's --wrap: who calls a function of the library from another file gets the one, which may call the other. */
#define SIM_WRAP(name_) __asm__("__wrap_" #name_)
#define SIM_REAL(name_) __asm__("__real_" #name_)

#define SIM_PLANTS(X)                                                                                                  \
    X(none)                                                                                                            \
    X(claims_twice)       /* what somebody else has claimed looks open */                                              \
    X(settled_looks_open) /* what is settled looks open */                                                             \
    X(release_opens_all)  /* a source that goes opens what others have claimed */                                      \
    X(release_nothing)    /* a source that goes leaves its claims standing */                                          \
    X(settle_less)        /* the last item of a piece is not settled */                                                \
    X(range_forgotten)    /* what a lost host leaves undone is forgotten */                                            \
    X(range_twice)        /* it is returned twice */                                                                   \
    X(runs_what_it_gave)  /* this machine runs what was taken back from it */                                          \
    X(copies_with_once)   /* once is not heeded */                                                                     \
    X(copy_in_place)      /* a copy here writes straight into the result */                                            \
    X(drain_in_place)     /* what is not this lease's to write is written all the same */                              \
    X(slice_settles)      /* an item is settled with the first of its slices */                                        \
    X(sources_stay)       /* what is to be sent of a run that has ended is sent all the same */                        \
    X(marks_at_once)      /* marks count for items that somebody else has settled */                                   \
    X(deaths_forgotten)   /* what agents died of is given again as if nothing had been */                              \
    X(deaths_blame_all)   /* all that an agent had when it died are failed */                                          \
    X(loss_untold)        /* leases of a lost agent stay in flight for ever */
enum sim_plant {
#define SIM_PLANT(name_) SIM_PLANT_##name_,
    SIM_PLANTS(SIM_PLANT)
#undef SIM_PLANT
        SIM_N_PLANTS
};
extern enum sim_plant sim_plant;
extern const char *const sim_plant_names[SIM_N_PLANTS];

#endif
