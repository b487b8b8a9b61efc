/* The contract's cases: coming up, modules, runs of all shapes, failures. What ends early is in cases_ends.c, what not all
 * kinds have in cases_more.c. A case looks through struct contract alone, so that it holds on any kind of node. */
#include "tests/contract/contract.h"

#include <string.h>

static int workers_of(const struct contract *c) { return c->kind->workers ? c->kind->workers : 2; }

static void comes_up_once_and_closes(struct contract *c)
{
    contract_open(c);
    CONTRACT_CHECK(c, c->kind->ops->workers(c->node) == 0, "there are workers before on_up");
    CONTRACT_UNTIL(c, c->n_up > 0);
    CONTRACT_CHECK(c, c->up_status == 0, "it has not come up");
    CONTRACT_CHECK(c, c->kind->ops->workers(c->node) == workers_of(c), "%d workers, not %d",
                   c->kind->ops->workers(c->node), workers_of(c));
    contract_close(c);
}

static void closes_before_it_is_up(struct contract *c)
{
    contract_open(c);
    contract_close(c);
}

static void loads_a_module_with_all_its_functions(struct contract *c)
{
    static const char *const names[] = { "twice", "indexed", "mixed", "hopeless", "prints", "endless" };
    contract_open_loaded(c);
    for (uint32_t i = 0; i < 6 && !c->wrong[0]; i++)
        CONTRACT_CHECK(c, strcmp(c->names[i], names[i]) == 0, "function %u is %s", i, c->names[i]);
}

static void says_why_a_module_is_not_loaded_and_goes_on(struct contract *c)
{
    contract_open_loaded(c);
    uint32_t n_functions = c->n_functions;
    mamuto_error_t err = { 0 };
    c->n_loaded = 0;
    c->in_operation++;
    int code = c->kind->ops->load(c->node, CONTRACT_MODULE + 1, c->kind->no_module, &c->config.hosts[0], &err);
    c->in_operation--;
    CONTRACT_CHECK(c, code == 0, "load: %s", err.text);
    CONTRACT_UNTIL(c, c->n_loaded > 0);
    CONTRACT_CHECK(c, c->loaded_status == MAMUTO_EMODULE, "on_loaded says %d", c->loaded_status);
    CONTRACT_CHECK(c, c->n_functions == n_functions, "a module that was not loaded has functions");
    struct contract_run *r = contract_run(c, "twice", 10, 0, 10);
    CONTRACT_UNTIL(c, r->ran);
    contract_check_run(c, r);
}

/* ---- Runs ------------------------------------------------------------------------------------------------------------ */

static void runs_a_map(struct contract *c)
{
    contract_open_loaded(c);
    static const uint64_t sizes[] = { 1, 2, 3, 100, 20000 };
    for (int i = 0; i < 5 && !c->wrong[0]; i++) {
        struct contract_run *r = contract_run(c, "twice", sizes[i], 0, sizes[i]);
        CONTRACT_UNTIL(c, r->ran);
        contract_check_run(c, r);
    }
}

/* Arrays and numbers are the map's, the items the run's: nothing beside them is written. */
static void runs_a_range_of_a_map(struct contract *c)
{
    contract_open_loaded(c);
    static const uint64_t ranges[][2] = { { 0, 1 }, { 1, 1 }, { 999, 1 }, { 1, 999 }, { 250, 500 }, { 500, 500 } };
    for (int i = 0; i < 6 && !c->wrong[0]; i++) {
        struct contract_run *r = contract_run(c, i % 2 ? "indexed" : "twice", 1000, ranges[i][0], ranges[i][1]);
        CONTRACT_UNTIL(c, r->ran);
        contract_check_run(c, r);
    }
}

/* Ranges of one map that run at the same time, as when several nodes share it. */
static void runs_all_ranges_of_a_map_at_once(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *parts[5];
    for (uint64_t i = 0; i < 5 && !c->wrong[0]; i++) {
        parts[i] = contract_new_run(c, "indexed", 1000, i * 200, 200);
        parts[i]->run.result = parts[0]->out;
        parts[i]->run.in[0].data = parts[0]->in;
        CONTRACT_CHECK(c, contract_begin(c, parts[i]) == 0, "no room for five runs");
    }
    CONTRACT_UNTIL(c, parts[0]->ran && parts[1]->ran && parts[2]->ran && parts[3]->ran && parts[4]->ran);
    parts[0]->run.n = 1000;
    contract_check_run(c, parts[0]);
}

static void runs_a_broadcast(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *r = contract_new_run(c, "twice", 500, 100, 300);
    double one = 21;
    r->run.in[0] = (struct mm_run_arg){ .data = &one, .size = sizeof one, .len = 1 };
    CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
    CONTRACT_UNTIL(c, r->ran);
    CONTRACT_CHECK(c, r->status == 0 || c->wrong[0], "it has ended with %d", r->status);
    for (uint64_t i = 0; i < 500 && !c->wrong[0]; i++)
        CONTRACT_CHECK(c, r->out[i] == (i - 100 < 300 ? 42 : -1), "item %d is %g", (int)i, r->out[i]);
}

enum { CHAIN = 40 };

static void begin_another(struct contract *c, struct contract_run *r)
{
    static const char *const names[] = { "twice", "indexed", "mixed" };
    (void)r;
    if (c->n_runs >= CHAIN)
        return;
    uint64_t n = (uint64_t)c->n_runs * 37;
    struct contract_run *next = contract_run(c, names[c->n_runs % 3], n + 10, 5, n);
    next->then = begin_another;
}

static bool all_ran(const struct contract *c)
{
    for (int i = 0; i < c->n_runs; i++)
        if (c->runs[i].begun && !c->runs[i].ran)
            return false;
    return true;
}

/* In an event any operation may be called: each run that ends begins the next one. */
static void runs_are_begun_from_events(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 0; i < 4 && !c->wrong[0]; i++)
        contract_run(c, "twice", 100, 0, 100)->then = begin_another;
    CONTRACT_UNTIL(c, all_ran(c));
    CONTRACT_CHECK(c, c->n_runs == CHAIN || c->wrong[0], "%d runs, not %d", c->n_runs, CHAIN);
    for (int i = 0; i < c->n_runs && !c->wrong[0]; i++)
        contract_check_run(c, &c->runs[i]);
}

static void try_again(struct contract *c, struct contract_run *r)
{
    r->then = NULL;
    contract_run(c, "twice", 10, 0, 10);
}

/* A node that is full has room when one of its runs has ended, at once. */
static void says_when_it_is_full_and_has_room_again(struct contract *c)
{
    enum { MOST = 200 };
    int code = 0;
    contract_open_loaded(c);
    while (code == 0 && c->n_runs < MOST && !c->wrong[0])
        code = contract_begin(c, contract_new_run(c, "endless", 1, 0, 1));
    if (code == 0)
        return; /* it takes whatever comes */
    CONTRACT_CHECK(c, code == MM_NODE_FULL, "run says %d", code);
    c->runs[0].then = try_again;
    contract_cancel(c, &c->runs[0]);
    CONTRACT_UNTIL(c, c->runs[0].ran);
    struct contract_run *last = &c->runs[c->n_runs - 1];
    for (int i = 0; i < c->n_runs - 1; i++)
        if (c->runs[i].begun && !c->runs[i].ran)
            contract_cancel(c, &c->runs[i]);
    CONTRACT_UNTIL(c, all_ran(c));
    contract_check_run(c, last);
}

/* ---- Failures -------------------------------------------------------------------------------------------------------- */

/* All that its items have printed is there when a run ends. */
static void hands_on_what_items_print(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 1; i <= 3 && !c->wrong[0]; i++) {
        struct contract_run *r = contract_run(c, "prints", 60, 10, 40);
        CONTRACT_UNTIL(c, r->ran);
        CONTRACT_CHECK(c, c->n_lines == 40 * i || c->wrong[0], "%d lines came, not %d", c->n_lines, 40 * i);
        contract_check_run(c, r);
    }
}

static void reports_failed_items_and_runs_all_others(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *all = contract_run(c, "mixed", 3000, 0, 3000);
    struct contract_run *part = contract_run(c, "mixed", 3000, 1001, 333);
    CONTRACT_UNTIL(c, all->ran && part->ran);
    contract_check_run(c, all);
    contract_check_run(c, part);
    CONTRACT_CHECK(c, c->wrong[0] || (part->err.item == 1004 && part->err.item_code == 7), "the first one is item %llu",
                   (unsigned long long)part->err.item);
}

/* Where a node has arrays, marks lie in one of them. */
static void marks_failed_items_where_that_is_wanted(struct contract *c)
{
    enum { N = 3000 };
    static uint8_t own[N + 1];
    uint8_t *marks = own;
    contract_open_loaded(c);
    struct contract_run *r = contract_new_run(c, "mixed", 2 * N, 1000, N);
    if (c->kind->ops->alloc)
        marks = c->kind->ops->alloc(c->node, sizeof own, NULL);
    CONTRACT_CHECK(c, marks, "no array");
    memset(marks, 0, N);
    marks[N] = 9;
    r->run.marks = marks;
    CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
    CONTRACT_UNTIL(c, r->ran);
    contract_check_run(c, r);
    for (uint64_t i = 0; i < N && !c->wrong[0]; i++)
        CONTRACT_CHECK(c, marks[i] == ((1000 + i) % 7 == 3), "the mark of item %d is %d", (int)(1000 + i), marks[i]);
    CONTRACT_CHECK(c, c->wrong[0] || marks[N] == 9, "a mark lies behind the run's last item");
}

static void reports_a_thousand_failed_items_at_most(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *r = contract_run(c, "hopeless", 2500, 0, 2500);
    CONTRACT_UNTIL(c, r->ran);
    contract_check_run(c, r);
}

static void ends_at_the_first_failed_item_where_it_is_to(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *r = contract_new_run(c, "mixed", 3000, 100, 2000);
    r->run.fail_fast = true;
    CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
    CONTRACT_UNTIL(c, r->ran);
    CONTRACT_CHECK(c, r->status == MAMUTO_EITEM && r->err.item % 7 == 3, "it has ended with %d", r->status);
    CONTRACT_CHECK(c, r->item_errors > 0 && r->failed >= r->item_errors, "no item was reported");
    for (uint64_t i = 0; i < 3000; i++)
        CONTRACT_CHECK(c, r->out[i] == -1 || (i - 100 < 2000 && r->out[i] == (i % 7 == 3 ? 0 : 2 * (double)i)),
                       "the result of item %d is %g", (int)i, r->out[i]);
}

static void ends_an_item_that_takes_too_long(struct contract *c)
{
    contract_open_loaded(c);
    struct contract_run *r = contract_new_run(c, "endless", 3, 1, 1);
    r->run.item_timeout_ms = 30;
    CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
    CONTRACT_UNTIL(c, r->ran);
    CONTRACT_CHECK(c, r->status == MAMUTO_EITEM && r->failed == 1 && r->last_item == 1, "it has ended with %d: %s",
                   r->status, r->err.text);
    CONTRACT_CHECK(c, r->out[0] == -1 && r->out[1] == 0 && r->out[2] == -1, "the results are wrong");
}

static void describes_itself(struct contract *c)
{
    contract_open_loaded(c);
    if (c->wrong[0])
        return;
    struct contract_run *r = contract_run(c, "mixed", 100, 0, 100);
    CONTRACT_UNTIL(c, r->ran);
    struct mm_node_state state = { 0 };
    c->kind->ops->describe(c->node, &state);
    CONTRACT_CHECK(c, state.state && strcmp(state.state, "up") == 0, "its state is %s", state.state);
    CONTRACT_CHECK(c, state.workers == workers_of(c) && state.items == 100, "%d workers, %d items", state.workers,
                   (int)state.items);
}

const struct contract_case contract_cases[] = {
    CONTRACT_CASE(comes_up_once_and_closes),
    CONTRACT_CASE(closes_before_it_is_up),
    CONTRACT_CASE(loads_a_module_with_all_its_functions),
    CONTRACT_CASE(says_why_a_module_is_not_loaded_and_goes_on),
    CONTRACT_CASE(runs_a_map),
    CONTRACT_CASE(runs_a_range_of_a_map),
    CONTRACT_CASE(runs_all_ranges_of_a_map_at_once),
    CONTRACT_CASE(runs_a_broadcast),
    CONTRACT_CASE(runs_are_begun_from_events),
    CONTRACT_CASE(says_when_it_is_full_and_has_room_again),
    CONTRACT_CASE(hands_on_what_items_print),
    CONTRACT_CASE(reports_failed_items_and_runs_all_others),
    CONTRACT_CASE(marks_failed_items_where_that_is_wanted),
    CONTRACT_CASE(reports_a_thousand_failed_items_at_most),
    CONTRACT_CASE(ends_at_the_first_failed_item_where_it_is_to),
    CONTRACT_CASE(ends_an_item_that_takes_too_long),
    CONTRACT_CASE(describes_itself),
    { NULL, NULL },
};
