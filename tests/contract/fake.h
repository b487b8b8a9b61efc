/* A node in this process that keeps the contract as a far and busy host would: late, piecemeal, out of order. */
#ifndef MM_TESTS_CONTRACT_FAKE_H
#define MM_TESTS_CONTRACT_FAKE_H

#include "core/node.h"

/* An item: 0, with a line if it prints one, or a code, with a sentence if there is one; FAKE_NEVER: it is not done yet. */
enum { FAKE_NEVER = -1 };
struct fake_function {
    const char *name, *signature;
    int (*item)(const void *const *in, void *out, uint64_t index, const char **text);
};

/* Ways to break the contract, for the cases to find. */
enum fake_break {
    FAKE_KEEPS_IT,
    FAKE_RAN_FROM_INSIDE,    /* on_ran from inside run */
    FAKE_RAN_TWICE,          /* for one run */
    FAKE_RAN_AFTER_CLOSE,    /* of a run that was in flight */
    FAKE_ITEM_TWICE,         /* a failed item is reported twice */
    FAKE_ITEMS_SHUFFLED,     /* failed items are not reported in order */
    FAKE_ITEM_AFTER_RAN,     /* one is reported late */
    FAKE_ITEMS_ALL_REPORTED, /* more than 1,000 */
    FAKE_ITEM_LOST,          /* one is never run */
    FAKE_RANGE_FROM_ZERO,    /* first is not heeded */
    FAKE_RUNS_WHAT_IT_GAVE,  /* items that were given back are run, too */
    FAKE_CANCEL_UNHEARD,     /* cancel does nothing */
    FAKE_FULL_FOR_EVER,      /* a run that has ended makes no room */
    FAKE_LOST_BEFORE_RAN,    /* on_lost before the last on_ran */
    FAKE_CLOSED_TWICE,
    FAKE_N_BREAKS
};

/* What all fakes are made of. Functions end with a NULL name; they are the module "functions". */
struct fake_settings {
    const struct fake_function *functions;
    uint64_t seed;
    enum fake_break broken;
    /* Labels of hosts whose nodes are special; NULL: none is. */
    const char *down;  /* never comes up */
    const char *stuck; /* takes runs, and does nothing of them */
    const char *full;  /* has no memory for what is to be kept */
    const char *other; /* its module has other functions: all but the first */
    const char *bare;  /* cannot load any */
};
extern struct fake_settings fake_settings;
extern const struct fake_function fake_functions[]; /* as in modules/functions.c */

extern const struct mm_node_ops fake_node;
#define FAKE_MODULE "functions" /* and what has that name: functions.c, in any folder */

void fake_lose(struct mm_node *node);

/* The node of the host with this label, that was opened last; NULL: there is none. */
struct mm_node *fake_find(const char *label);
void fake_lose_for_a_while(struct mm_node *node); /* soon */
void fake_come_back(struct mm_node *node);
uint64_t fake_items(const struct mm_node *node); /* settled there */
int fake_kept(const struct mm_node *node);       /* what it keeps */
int fake_calls_ended(const struct mm_node *node);

#endif
