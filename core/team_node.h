/* The team as the files know it that make it: team.c (life and events), team_load.c (modules), team_keep.c (kept data),
 * team_run.c (calls), team_lease.c (leases), team_end.c (what becomes of them), team_tell.c (what it tells). */
#ifndef MM_CORE_TEAM_NODE_H
#define MM_CORE_TEAM_NODE_H

#include "core/claims.h"
#include "core/team.h"

enum { MM_TEAM_MODULES = 256, MM_TEAM_CALLS = 64, MM_TEAM_ERRORS = 1000 };

enum mm_child_state {
    MM_CHILD_STARTING, /* on_up is owed */
    MM_CHILD_UP,
    MM_CHILD_AWAY, /* not up, or lost, but it may come back */
    MM_CHILD_OUT,  /* of no use any more */
};

enum mm_module_at { MM_MODULE_NOT_THERE, MM_MODULE_ASKED, MM_MODULE_ANSWERED, MM_MODULE_REFUSED, MM_MODULE_THERE };

/* The node of one host. */
struct mm_child {
    struct mm_node *team;
    const struct mm_node_ops *ops;
    const struct mm_config_host *config;
    struct mm_node *node; /* NULL: it is not open */
    size_t host;          /* SIZE_MAX: this machine, where the config does not list it: memory and folds alone */
    enum mm_child_state state;
    bool expelled, closing; /* to be closed; on_closed is owed */
    bool full;              /* until one of its runs has ended */
    uint32_t n_leases, n_alone;
    uint64_t landed; /* items of copies that ran there, which its node does not count */
    int code;
    char reason[512];                 /* why it is AWAY or OUT, where the node does not say */
    uint8_t modules[MM_TEAM_MODULES]; /* enum mm_module_at */
    char **texts;                     /* by module: its functions, as it describes them, or why it refuses it */
};

struct mm_team_module {
    char *path; /* NULL: there is none of this number */
    enum { MM_TEAM_LOADING, MM_TEAM_LOADED, MM_TEAM_FAILED } state;
    const struct mm_child *failed; /* a required host that cannot load it */
    int code;
};

struct mm_team_keep {
    struct mm_keep *keep;
    enum { MM_TEAM_COPYING, MM_TEAM_SPREADING, MM_TEAM_KEPT } state;
    bool canceled;
    const struct mm_child *failed; /* a required host that cannot keep it */
    mamuto_error_t *why;
    struct mm_team_keep *next;
    uint8_t at[]; /* by child: enum mm_kept_at */
};
enum mm_kept_at { MM_KEPT_NOT_THERE, MM_KEPT_ASKED, MM_KEPT_REFUSED, MM_KEPT_THERE };

/* Failed items: the lowest MM_TEAM_ERRORS, when they are trimmed. */
struct mm_team_errors {
    mamuto_error_t *at;
    size_t n, room;
};

struct mm_range {
    uint64_t first, n;
    uint32_t deaths; /* agents that died while they had it */
};
enum { MM_DEATHS_OF_SUSPECTS = 2 }; /* from then on its items are given singly, so that a death says which one it was */

enum mm_lease_kind {
    MM_LEASE_OWN,   /* this machine's: others are given of it */
    MM_LEASE_RANGE, /* another host's */
    MM_LEASE_COPY,  /* the same range as another lease that is late */
};

/* A range of a call that a child has. */
struct mm_lease {
    struct mm_run run; /* first: a run's lease is found by its address */
    struct mm_call *call;
    struct mm_child *child;
    enum mm_lease_kind kind;
    struct mm_lease *next, *previous; /* of the call */
    struct mm_groups groups;          /* the run's, where it has some */
    struct mm_span_log log;
    struct mm_team_errors errors; /* of a copy in scratch */
    char *scratch;                /* of a copy on this machine: results, then marks */
    uint64_t given;               /* taken back from it */
    uint64_t begun_ns;
    uint64_t ahead;  /* items that the child had when it began, its own among them */
    uint32_t deaths; /* of its range */
    bool alone;      /* a suspect: its host has nothing else */
    bool revoked;    /* cancelled: it has nothing left to do */
    bool copied;     /* a copy of it has done what it could: what is missing is being sent, and is waited for */
};

/* What a child is to a call. */
struct mm_team_part {
    double rate;        /* items a ns; 0: not known */
    double items, ns;   /* that were done, and what time it had leases; of late */
    uint64_t since_ns;  /* that time counts from here */
    uint64_t in_leases; /* items that it has now */
    uint32_t n_leases;
    bool refused, had; /* had: it was given a lease, ever */
};

/* A run of the team's owner, shared. */
struct mm_call {
    struct mm_node *team;
    struct mm_run *run; /* the owner's; its job is this */
    uint64_t number, arrival;
    struct mm_call *next, *previous; /* by priority, then arrival */
    struct mm_claims *claims;        /* of what other hosts have, or had; NULL: nothing yet */
    uint32_t n_sources;
    struct mm_lease *leases;
    struct mm_range *open; /* nobody's */
    size_t n_open, open_room;
    struct mm_team_part *parts; /* by child */
    bool ending;                /* no more leases; status: why, 0: the errors say */
    int status;
    mamuto_error_t err, refusal; /* refusal: what the first host said that cannot run it */
    struct mm_team_errors errors;
    uint64_t failed, done; /* done: of leases of this machine that have ended, in items of the run */
    uint64_t begun_ns;
};

struct mm_node {
    uv_loop_t *loop;
    const struct mm_node_events *events;
    struct mm_node_events child_events;
    void *owner;
    struct mm_child *children; /* the first one is this machine's */
    size_t n_children, n_open; /* open: nodes that are not closed */
    struct mm_config_host own; /* of this machine, where the config does not list it; its lists are the first host's */
    bool up, lost, closing;    /* up: on_up was told */
    mamuto_error_t why_lost;
    struct mm_team_module modules[MM_TEAM_MODULES];
    uint32_t n_loading;
    struct mm_team_keep *keeps;
    struct mm_call *first, *last;
    uint32_t n_calls;
    uint64_t last_number, turns;
    bool suspects;   /* there was a range of suspects, ever */
    uint64_t due_ns; /* when the timer fires; 0: it does not */
    uv_timer_t timer;
};

/* team.c */
static inline struct mm_child *mm_team_local(struct mm_node *team) { return &team->children[0]; }
static inline bool mm_child_computes(const struct mm_child *child) { return child->host != SIZE_MAX; }
static inline bool mm_child_is_local(const struct mm_child *child) { return child == child->team->children; }
const char *mm_child_label(const struct mm_child *child);
/* Goes on with whatever can go on; never called from inside an operation. */
void mm_team_go_on(struct mm_node *team);
void mm_team_wake(struct mm_node *team, uint64_t ms); /* mm_team_go_on is called in so long, at the latest */
/* The child is of no use any more: it is closed, soon. */
void mm_team_expel(struct mm_child *child, const mamuto_error_t *why);
/* Every host that computes, and why it does not: into text. */
void mm_team_say_why(struct mm_node *team, char *text, size_t size);

/* team_load.c */
int mm_team_load(struct mm_node *team, uint32_t module, const char *path, const struct mm_config_host *config,
                 mamuto_error_t *err);
void mm_team_on_function(void *owner, uint32_t module, const char *name, const char *signature, const char *doc,
                         int form, int line);
void mm_team_on_loaded(void *owner, uint32_t module, int status, const mamuto_error_t *err);
void mm_team_load_all(struct mm_child *child); /* it is up: asks for what it lacks */
void mm_team_settle_modules(struct mm_node *team);
bool mm_team_has_modules(const struct mm_child *child, const struct mm_run *run);
bool mm_team_will_have_modules(const struct mm_child *child, const struct mm_run *run);
void mm_team_free_modules(struct mm_node *team);
void mm_team_free_texts(struct mm_child *child);

/* team_keep.c */
int mm_team_keep(struct mm_node *team, struct mm_keep *keep, mamuto_error_t *err);
void mm_team_cancel_keep(struct mm_node *team, struct mm_keep *keep);
void mm_team_drop(struct mm_node *team, struct mm_keep *keep);
void mm_team_on_kept(void *owner, struct mm_keep *keep, int status, const mamuto_error_t *err);
void mm_team_keep_all(struct mm_child *child);
void mm_team_forget_child(struct mm_child *child); /* it is gone */
void mm_team_settle_keeps(struct mm_node *team);
bool mm_team_has_keeps(const struct mm_child *child, const struct mm_run *run);
bool mm_team_will_have_keeps(const struct mm_child *child, const struct mm_run *run);
void mm_team_free_keeps(struct mm_node *team);

/* team_run.c */
bool mm_team_is_shared(const struct mm_run *run);
int mm_team_run(struct mm_node *team, struct mm_run *run, mamuto_error_t *err);
void mm_team_cancel(struct mm_node *team, struct mm_run *run);
bool mm_team_assist(struct mm_node *team, struct mm_run *run);
/* Ends a call early; it is told when nobody has a lease of it any more. err: its status and sentence; NULL: the failed
 * items say. */
void mm_call_stop(struct mm_call *call, const mamuto_error_t *err);
void mm_call_free(struct mm_call *call);
void mm_team_end_calls(struct mm_node *team); /* those that are over */

/* team_lease.c */
struct mm_lease *mm_lease_of(struct mm_run *run);
int mm_lease_begin(struct mm_call *call, struct mm_child *child, enum mm_lease_kind kind, struct mm_range range,
                   mamuto_error_t *err); /* as run of core/node.h */
void mm_lease_free(struct mm_lease *lease);
bool mm_child_can(const struct mm_child *child, const struct mm_call *call);
bool mm_child_will(const struct mm_child *child, const struct mm_call *call);
void mm_team_hand_out(struct mm_node *team);
int mm_call_open(struct mm_call *call, struct mm_range range); /* nobody's again; ENOMEM */

/* team_end.c */
void mm_team_on_item_error(void *owner, struct mm_run *run, const mamuto_error_t *err);
void mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err);
/* The child's node is closed: its leases are over. */
void mm_team_end_leases(struct mm_child *child);
void mm_errors_trim(struct mm_team_errors *errors); /* sorts them; each item once */

/* team_tell.c */
int mm_team_workers(const struct mm_node *team);
void mm_team_progress(struct mm_node *team, const struct mm_run *run, uint64_t *done, uint64_t *failed);
bool mm_team_spans(struct mm_node *team, const struct mm_run *run);
void mm_lease_log(struct mm_lease *lease); /* what it has logged goes into the log of its call */
void mm_team_log(struct mm_call *call, const struct mm_child *child, const mamuto_span_t *span);
void mm_lease_begin_log(struct mm_lease *lease);
void mm_lease_flush(struct mm_run *run);
void mm_team_describe(struct mm_node *team, struct mm_node_state *state);
void mm_team_describe_host(struct mm_node *team, size_t host, struct mm_node_state *state);
size_t mm_team_hosts(const struct mm_node *team);

#endif
