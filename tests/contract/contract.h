/* The contract of core/node.h as a list of cases that run on any kind of node. */
#ifndef MM_TESTS_CONTRACT_CONTRACT_H
#define MM_TESTS_CONTRACT_CONTRACT_H

#include "core/node.h"

/* A kind of node, and what a test must know to make one. */
struct contract_kind {
    const struct mm_node_ops *ops;
    const char *config;             /* whose first host is opened; NULL: this machine with two workers */
    const char *module, *no_module; /* paths: of functions.c, or what is like it; of what cannot be loaded */
    int workers;                    /* that it has; 0: 2 */
    void (*lose)(
        struct mm_node *node); /* called again and again until on_lost; NULL: nodes of this kind are never lost */
};

enum { CONTRACT_MODULE = 3, CONTRACT_FUNCTIONS = 8, CONTRACT_RUNS = 256, CONTRACT_TEXT = 400 };

struct contract;

/* A run and what the node has said of it. Item i's argument is i; results that nobody has written are -1. */
struct contract_run {
    struct mm_run run; /* first: events name it */
    const char *name;  /* of the function */
    double *in, *out;
    uint64_t total; /* items of the arrays */
    bool *given;    /* by item: taken back from the node; NULL: nothing was */
    bool begun, ran;
    int status;
    mamuto_error_t err;
    uint64_t failed, item_errors, last_item;
    void (*then)(struct contract *c, struct contract_run *r); /* in on_ran */
};

struct contract {
    const struct contract_kind *kind;
    uv_loop_t loop;
    uv_timer_t deadline;
    int patience_ms;
    const char *waits_for;
    struct mm_config config;
    struct mm_node *node;
    struct mm_function functions[CONTRACT_FUNCTIONS];
    char names[CONTRACT_FUNCTIONS][16];
    uint32_t n_functions;
    int in_operation; /* so deep */
    int n_up, up_status, n_loaded, loaded_status, n_lost, n_closed;
    bool closing;
    struct contract_run runs[CONTRACT_RUNS];
    int n_runs;
    struct mm_keep keep;
    int n_lines; /* that items have printed */
    int n_kept, kept_status;
    char wrong[CONTRACT_TEXT]; /* the first breach of the contract; "": none */
};

struct contract_case {
    const char *name;
    void (*run)(struct contract *c);
};

/* Ended by a NULL name. */
extern const struct contract_case contract_cases[], contract_more_cases[], contract_ending_cases[];
/* All of them, by number; NULL: there are no more. */
const struct contract_case *contract_case_at(size_t i);
#define CONTRACT_CASE(name_)                                                                                           \
    {                                                                                                                  \
        "node_" #name_, name_                                                                                          \
    }

/* Says what is wrong; the first one is kept. Waits end then, too. */
void contract_breach(struct contract *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define CONTRACT_CHECK(c_, condition_, ...)                                                                            \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            contract_breach((c_), __VA_ARGS__);                                                                        \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CONTRACT_UNTIL(c_, condition_)                                                                                 \
    do {                                                                                                               \
        contract_set_deadline((c_), #condition_);                                                                      \
        while (!(condition_) && !(c_)->wrong[0])                                                                       \
            uv_run(&(c_)->loop, UV_RUN_ONCE);                                                                          \
    } while (0)

void contract_set_deadline(struct contract *c, const char *waits_for);

/* A node that is not up yet; one that is up and has the module. */
void contract_open(struct contract *c);
void contract_open_loaded(struct contract *c);
void contract_load(struct contract *c, const char *path);
void contract_close(struct contract *c);

/* A run of items [first, first + n) of `total`, not begun. */
struct contract_run *contract_new_run(struct contract *c, const char *function, uint64_t total, uint64_t first,
                                      uint64_t n);
/* Gives it to the node; returns what the node says. */
int contract_begin(struct contract *c, struct contract_run *r);
/* The same, where the node has room. */
struct contract_run *contract_run(struct contract *c, const char *function, uint64_t total, uint64_t first, uint64_t n);
void contract_cancel(struct contract *c, struct contract_run *r);
/* It has ended as its function says, with all results. */
void contract_check_run(struct contract *c, struct contract_run *r);

/* One case. Where it is broken, `wrong` says how, and false is returned. */
bool contract_try(const struct contract_kind *kind, const struct contract_case *one, int patience_ms,
                  char wrong[CONTRACT_TEXT]);
/* All cases, as a group of tests; how many failed. */
int contract_run_all(const struct contract_kind *kind);

#endif
