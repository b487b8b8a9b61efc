/* The contract's cases of what ends early: runs that are cancelled, at any time; nodes that are closed or lost while they
 * have runs. */
#include "tests/contract/contract.h"

#include <stddef.h>

static bool all_ran(const struct contract *c)
{
    for (int i = 0; i < c->n_runs; i++)
        if (c->runs[i].begun && !c->runs[i].ran)
            return false;
    return true;
}

/* Canceled, or whole where the end came first. */
static void check_canceled(struct contract *c, struct contract_run *r)
{
    CONTRACT_CHECK(c, r->ran, "a run that was cancelled has not ended");
    if (r->status == 0) {
        contract_check_run(c, r);
        return;
    }
    CONTRACT_CHECK(c, r->status == MAMUTO_ECANCELED, "a run that was cancelled has ended with %d", r->status);
    for (uint64_t i = 0; i < r->total; i++)
        CONTRACT_CHECK(c, r->out[i] == -1 || (i - r->run.first < r->run.n && r->out[i] == 2 * (double)i),
                       "the result of item %d is %g", (int)i, r->out[i]);
}

/* The node is as good as before. */
static void check_good(struct contract *c)
{
    struct contract_run *r = contract_run(c, "twice", 300, 100, 150);
    CONTRACT_UNTIL(c, r->ran);
    contract_check_run(c, r);
}

static void cancels_a_run_that_has_just_begun(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 0; i < 5 && !c->wrong[0]; i++) {
        struct contract_run *r = contract_run(c, "twice", 20000, 100, 19000);
        contract_cancel(c, r);
        contract_cancel(c, r);
        CONTRACT_UNTIL(c, r->ran);
        check_canceled(c, r);
    }
    check_good(c);
}

static void cancels_an_item_that_never_ends(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *r = contract_run(c, "endless", 10, 2, 5);
    struct contract_run *other = contract_run(c, "twice", 300, 0, 1);
    for (int i = 0; i < 20 && !c->wrong[0]; i++) /* wherever it is by then */
        uv_run(&c->loop, UV_RUN_NOWAIT);
    CONTRACT_CHECK(c, !r->ran, "it has ended");
    contract_cancel(c, r);
    CONTRACT_UNTIL(c, r->ran && other->ran);
    CONTRACT_CHECK(c, c->wrong[0] || r->status == MAMUTO_ECANCELED, "it has ended with %d", r->status);
    contract_check_run(c, other);
    check_good(c);
}

static void cancels_nothing_that_has_ended(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *r = contract_run(c, "twice", 100, 0, 100);
    CONTRACT_UNTIL(c, r->ran);
    contract_cancel(c, r);
    check_good(c);
    contract_check_run(c, r);
}

static void cancel_the_next(struct contract *c, struct contract_run *r)
{
    if (r + 1 < c->runs + c->n_runs && !(r + 1)->ran)
        contract_cancel(c, r + 1);
}

/* In an event any operation may be called: each run that ends takes the next one with it. */
static void cancels_others_from_events(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 0; i < 6 && !c->wrong[0]; i++)
        contract_run(c, "endless", 3, 1, 2)->then = cancel_the_next;
    contract_cancel(c, &c->runs[0]);
    CONTRACT_UNTIL(c, all_ran(c));
    for (int i = 0; i < c->n_runs && !c->wrong[0]; i++)
        CONTRACT_CHECK(c, c->runs[i].status == MAMUTO_ECANCELED, "run %d has ended with %d", i, c->runs[i].status);
    check_good(c);
}

static void closes_with_runs_in_flight(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 0; i < 3 && !c->wrong[0]; i++) {
        contract_run(c, "endless", 4, 0, 4);
        contract_run(c, "mixed", 20000, 10, 19000);
    }
    if (!c->wrong[0])
        contract_close(c);
}

static void closes_with_runs_that_were_cancelled(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 0; i < 3 && !c->wrong[0]; i++)
        contract_cancel(c, contract_run(c, "endless", 4, 0, 4));
    if (!c->wrong[0])
        contract_close(c);
}

static void closes_while_a_module_is_loaded(struct contract *c)
{
    mamuto_error_t err = { 0 };
    contract_open(c);
    CONTRACT_UNTIL(c, c->n_up > 0);
    CONTRACT_CHECK(c, c->kind->ops->load(c->node, CONTRACT_MODULE, c->kind->module, &c->config.hosts[0], &err) == 0,
                   "load: %s", err.text);
    contract_close(c);
}

/* Its host, or the last of its hosts. */
static bool is_lost(int code) { return code == MAMUTO_EHOST || code == MAMUTO_ENOHOST; }

/* All its runs have ended before, with a code; it takes no more, and is closed like any other. */
static void is_lost_after_its_runs_have_ended(struct contract *c)
{
    contract_open_loaded(c);
    if (!c->kind->lose || c->wrong[0])
        return;
    struct contract_run *r[] = { contract_run(c, "endless", 4, 0, 4), contract_run(c, "endless", 9, 2, 5) };
    CONTRACT_UNTIL(c, (c->kind->lose(c->node), c->n_lost > 0));
    for (int i = 0; i < 2 && !c->wrong[0]; i++)
        CONTRACT_CHECK(c, r[i]->ran && is_lost(r[i]->status), "a run of a lost node has ended with %d", r[i]->status);
    struct contract_run *late = contract_new_run(c, "twice", 10, 0, 10);
    int code = contract_begin(c, late);
    CONTRACT_CHECK(c, is_lost(code), "a lost node takes a run with %d", code);
    contract_close(c);
}

const struct contract_case contract_ending_cases[] = {
    CONTRACT_CASE(cancels_a_run_that_has_just_begun),
    CONTRACT_CASE(cancels_an_item_that_never_ends),
    CONTRACT_CASE(cancels_nothing_that_has_ended),
    CONTRACT_CASE(cancels_others_from_events),
    CONTRACT_CASE(closes_with_runs_in_flight),
    CONTRACT_CASE(closes_with_runs_that_were_cancelled),
    CONTRACT_CASE(closes_while_a_module_is_loaded),
    CONTRACT_CASE(is_lost_after_its_runs_have_ended),
    { NULL, NULL },
};
