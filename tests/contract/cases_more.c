/* The contract's cases of what not all kinds of node have: arrays and files in place, data that is kept, a caller that works,
 * ranges that are taken back. They pass where there is nothing of the kind. */
#include "tests/contract/contract.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void gives_arrays_that_are_run_in_place(struct contract *c)
{
    const struct mm_node_ops *ops = c->kind->ops;
    mamuto_error_t err = { 0 };
    contract_open_loaded(c);
    if (!ops->alloc || c->wrong[0])
        return;
    struct contract_run *r = contract_new_run(c, "indexed", 5000, 10, 4000);
    double *in = ops->alloc(c->node, 5000 * sizeof *in, &err), *out = ops->alloc(c->node, 5000 * sizeof *out, &err);
    CONTRACT_CHECK(c, in && out, "alloc: %s", err.text);
    CONTRACT_CHECK(c, ops->array_bytes(c->node, in) >= 5000 * sizeof *in, "it is too small");
    CONTRACT_CHECK(c, ops->array_bytes(c->node, in + 1) == 0 && ops->array_bytes(c->node, r->in) == 0,
                   "it takes what is not the beginning of an array for one");
    memcpy(in, r->in, 5000 * sizeof *in);
    memcpy(out, r->out, 5000 * sizeof *out);
    r->run.in[0].data = in;
    r->run.result = out;
    CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
    CONTRACT_UNTIL(c, r->ran);
    memcpy(r->out, out, 5000 * sizeof *out);
    contract_check_run(c, r);
    ops->free(c->node, in);
    ops->free(c->node, out);
    CONTRACT_CHECK(c, ops->array_bytes(c->node, out) == 0, "it is still there when it was freed");
    CONTRACT_CHECK(c, !ops->alloc(c->node, SIZE_MAX / 2, &err) && err.code && err.text[0], "half of all memory");
}

static void maps_files_for_reading(struct contract *c)
{
    const struct mm_node_ops *ops = c->kind->ops;
    mamuto_error_t err = { 0 };
    const void *p = NULL;
    contract_open_loaded(c);
    if (!ops->attach || c->wrong[0])
        return;
    struct contract_run *r = contract_new_run(c, "twice", 512, 0, 512);
    int fd = memfd_create("contract", MFD_CLOEXEC);
    bool written = write(fd, r->in, 4096) == 4096;
    int bad = ops->attach(c->node, fd, 1, 8, &p, &err);
    bool untouched = p == NULL;
    err.code = 0;
    int code = ops->attach(c->node, fd, 0, 4096, &p, &err);
    close(fd);
    CONTRACT_CHECK(c, written && code == 0, "attach: %s", err.text);
    CONTRACT_CHECK(c, bad == MAMUTO_EINVAL && untouched, "an offset of 1 is %d", bad);
    r->run.in[0].data = p;
    CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
    CONTRACT_UNTIL(c, r->ran);
    contract_check_run(c, r);
    union {
        const void *read;
        void *freed;
    } file = { p };
    ops->free(c->node, file.freed);
}

/* The caller's array may change when it is kept: runs see the copy. A node that has no memory in common with the program
 * makes no such copy: it reads the master's. */
static void keeps_data_for_many_runs(struct contract *c)
{
    const struct mm_node_ops *ops = c->kind->ops;
    mamuto_error_t err = { 0 };
    contract_open_loaded(c);
    if (!ops->keep || !ops->alloc || c->wrong[0]) /* who has no memory in common makes no first copy */
        return;
    struct contract_run *first = contract_new_run(c, "twice", 3000, 0, 3000);
    struct contract_run *second = contract_new_run(c, "indexed", 3000, 1000, 500);
    c->keep = (struct mm_keep){ .in = first->run.in[0], .n = 3000 };
    c->in_operation++;
    int code = ops->keep(c->node, &c->keep, &err);
    c->in_operation--;
    CONTRACT_CHECK(c, code == 0, "keep: %s", err.text);
    CONTRACT_UNTIL(c, c->n_kept > 0);
    CONTRACT_CHECK(c, c->kept_status == 0 && (c->keep.in.data != first->in || !ops->alloc), "on_kept says %d",
                   c->kept_status);
    if (ops->alloc)
        memset(first->in, 0, 3000 * sizeof *first->in);
    first->run.in[0] = second->run.in[0] = c->keep.in;
    first->run.in[0].keep = second->run.in[0].keep = &c->keep;
    CONTRACT_CHECK(c, contract_begin(c, first) == 0 && contract_begin(c, second) == 0, "no room");
    CONTRACT_UNTIL(c, first->ran && second->ran);
    contract_check_run(c, first);
    contract_check_run(c, second);
    ops->drop(c->node, &c->keep);
}

static void gives_a_keep_up(struct contract *c)
{
    const struct mm_node_ops *ops = c->kind->ops;
    mamuto_error_t err = { 0 };
    contract_open_loaded(c);
    if (!ops->keep || !ops->alloc || c->wrong[0]) /* who has no memory in common makes no first copy */
        return;
    struct contract_run *r = contract_new_run(c, "twice", 20000, 0, 20000);
    c->keep = (struct mm_keep){ .in = r->run.in[0], .n = 20000 };
    c->in_operation++;
    int code = ops->keep(c->node, &c->keep, &err);
    if (!code)
        ops->cancel_keep(c->node, &c->keep);
    c->in_operation--;
    CONTRACT_CHECK(c, code == 0, "keep: %s", err.text);
    CONTRACT_UNTIL(c, c->n_kept > 0);
    CONTRACT_CHECK(c, c->kept_status == 0 || c->kept_status == MAMUTO_ECANCELED, "on_kept says %d", c->kept_status);
    if (c->kept_status == 0)
        ops->drop(c->node, &c->keep);
}

static void assists_a_caller_that_waits(struct contract *c)
{
    const struct mm_node_ops *ops = c->kind->ops;
    mamuto_error_t err = { 0 };
    contract_open_loaded(c);
    for (int help = 0; help < 2 && ops->assist && !c->wrong[0]; help++) {
        if (help && (!ops->prepare_help || ops->prepare_help(c->node, CONTRACT_MODULE, &err) != 0))
            break;
        struct contract_run *r = contract_new_run(c, "mixed", 2000, 500, 1000);
        r->run.wait = true;
        r->run.help = help;
        CONTRACT_CHECK(c, contract_begin(c, r) == 0, "no room");
        contract_set_deadline(c, "a run that is assisted");
        while (!r->ran && !c->wrong[0]) {
            ops->assist(c->node, &r->run);
            if (!r->ran)
                uv_run(&c->loop, UV_RUN_ONCE);
        }
        contract_check_run(c, r);
    }
    CONTRACT_CHECK(c, !err.code, "prepare_help: %s", err.text);
}

static void take_back(struct contract *c, struct contract_run *r, uint64_t want, struct contract_run **parts, int *n)
{
    uint64_t first = 0, got = c->kind->ops->give_back(c->node, &r->run, want, &first);
    if (!got)
        return;
    CONTRACT_CHECK(c, got <= want, "more was given back than asked for");
    CONTRACT_CHECK(c, first >= r->run.first && first + got <= r->run.first + r->run.n, "given back: beyond the run");
    parts[*n] = contract_new_run(c, r->name, r->total, first, got);
    parts[(*n)++]->run.result = r->out;
    for (uint64_t i = first; i < first + got; i++) {
        CONTRACT_CHECK(c, !r->given[i], "item %llu was given back twice", (unsigned long long)i);
        r->given[i] = true;
    }
}

/* Ranges that are taken back from a run are run elsewhere: each item is settled once, by one of them. */
static void gives_ranges_back(struct contract *c)
{
    enum { N = 1000, MOST = 30 };
    struct contract_run *parts[MOST];
    int n = 0;
    contract_open_loaded(c);
    if (!c->kind->ops->give_back || c->wrong[0])
        return;
    struct contract_run *r = contract_run(c, "mixed", N + 100, 50, N);
    r->given = calloc(N + 100, sizeof *r->given);
    contract_set_deadline(c, "a run of which parts are taken back");
    take_back(c, r, 100, parts, &n); /* where it is not too late for that */
    while (!r->ran && !c->wrong[0]) {
        if (n < MOST)
            take_back(c, r, 20, parts, &n);
        uv_run(&c->loop, UV_RUN_ONCE);
    }
    contract_check_run(c, r);
    for (int i = 0; i < n && !c->wrong[0]; i++) {
        CONTRACT_CHECK(c, contract_begin(c, parts[i]) == 0, "no room");
        CONTRACT_UNTIL(c, parts[i]->ran);
    }
    memset(r->given, 0, (N + 100) * sizeof *r->given);
    for (uint64_t i = 0; i < N + 100; i++)
        CONTRACT_CHECK(c,
                       r->out[i] == (i - 50 >= N  ? -1
                                     : i % 7 == 3 ? 0
                                                  : 2 * (double)i),
                       "item %d is %g", (int)i, r->out[i]);
}

/* Of a run that hangs, all but what the workers have in hand can be had; then it waits for nothing but that. */
static void gives_back_what_it_has_not_begun(struct contract *c)
{
    enum { N = 2000, IN_HAND = 100 };
    contract_open_loaded(c);
    if (!c->kind->ops->give_back || c->wrong[0])
        return;
    struct contract_run *r = contract_run(c, "endless", N + 7, 7, N);
    uint64_t first, got, sum = 0;
    contract_set_deadline(c, "what was not begun");
    while (sum < N - IN_HAND && !c->wrong[0]) {
        uint64_t want = 1 + sum % 300;
        got = c->kind->ops->give_back(c->node, &r->run, want, &first);
        CONTRACT_CHECK(c, got <= want && (!got || (first >= 7 && first + got <= N + 7)), "%d items are given back",
                       (int)got);
        sum += got;
        uv_run(&c->loop, UV_RUN_NOWAIT);
    }
    CONTRACT_CHECK(c, !r->ran && sum <= N, "%d items of %d were given back", (int)sum, N);
    uint64_t done = 0, failed = 0;
    if (c->kind->ops->progress)
        c->kind->ops->progress(c->node, &r->run, &done, &failed);
    CONTRACT_CHECK(c, done == 0 && failed == 0, "what was given back counts as done");
    contract_cancel(c, r);
    CONTRACT_UNTIL(c, r->ran);
    CONTRACT_CHECK(c, r->status == MAMUTO_ECANCELED, "it has ended with %d", r->status);
    CONTRACT_CHECK(c, c->kind->ops->give_back(c->node, &r->run, 1, &first) == 0, "of a run that has ended");
}

static void gives_everything_back_and_ends(struct contract *c)
{
    contract_open_loaded(c);
    if (!c->kind->ops->give_back || c->wrong[0])
        return;
    struct contract_run *r = contract_run(c, "twice", 500, 0, 500);
    uint64_t first, got, sum = 0;
    r->given = calloc(500, sizeof *r->given);
    while ((got = c->kind->ops->give_back(c->node, &r->run, UINT64_MAX, &first)) > 0 && sum < 500) {
        for (uint64_t i = first; i < first + got && i < 500; i++)
            r->given[i] = true;
        sum += got;
    }
    CONTRACT_CHECK(c, sum <= 500, "%llu items of 500 were given back", (unsigned long long)sum);
    CONTRACT_UNTIL(c, r->ran);
    contract_check_run(c, r);
}

const struct contract_case contract_more_cases[] = {
    CONTRACT_CASE(gives_arrays_that_are_run_in_place),
    CONTRACT_CASE(maps_files_for_reading),
    CONTRACT_CASE(keeps_data_for_many_runs),
    CONTRACT_CASE(gives_a_keep_up),
    CONTRACT_CASE(assists_a_caller_that_waits),
    CONTRACT_CASE(gives_ranges_back),
    CONTRACT_CASE(gives_back_what_it_has_not_begun),
    CONTRACT_CASE(gives_everything_back_and_ends),
    { NULL, NULL },
};
