/* What the contract's cases have in common: a loop, a node, runs, and events that are held against the contract as they
 * come: none from inside an operation, none too often, errors in order. A breach is noted, never asserted, so that a node
 * that is broken on purpose can be seen to be found out; whatever it has done, the node is closed at the end.
 */
#include "tests/contract/contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, MOST_ITEM_ERRORS = 1000 };

void contract_breach(struct contract *c, const char *format, ...)
{
    va_list list;
    if (c->wrong[0])
        return;
    va_start(list, format);
    vsnprintf(c->wrong, sizeof c->wrong, format, list);
    va_end(list);
}

/* ---- Events ---------------------------------------------------------------------------------------------------------- */

static struct contract *begin_event(void *owner, const char *name)
{
    struct contract *c = owner;
    if (c->in_operation)
        contract_breach(c, "%s was called from inside an operation", name);
    if (c->n_closed)
        contract_breach(c, "%s was called after on_closed", name);
    uv_stop(&c->loop); /* what is waited for may be there: uv_run is not to go to sleep behind this event */
    return c;
}

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    struct contract *c = begin_event(owner, "on_up");
    if (c->n_up++)
        contract_breach(c, "on_up was called twice");
    c->up_status = status;
    if (status && (!err || !err->text[0]))
        contract_breach(c, "on_up fails without a sentence");
}

static void on_function(void *owner, uint32_t module, const char *name, const char *signature, const char *doc,
                        int form, int line)
{
    struct contract *c = begin_event(owner, "on_function");
    (void)doc, (void)form, (void)line;
    struct mm_function *function = &c->functions[c->n_functions];
    CONTRACT_CHECK(c, module == CONTRACT_MODULE && c->n_functions < CONTRACT_FUNCTIONS,
                   "on_function of a module that was not loaded");
    CONTRACT_CHECK(c, c->n_loaded == 0, "on_function came after on_loaded");
    function->module = module;
    function->index = c->n_functions;
    CONTRACT_CHECK(c, mm_signature_parse(&function->signature, signature, NULL) == 0, "no signature: %s", signature);
    snprintf(c->names[c->n_functions++], sizeof c->names[0], "%s", name);
}

static void on_loaded(void *owner, uint32_t module, int status, const mamuto_error_t *err)
{
    struct contract *c = begin_event(owner, "on_loaded");
    if (c->n_loaded++)
        contract_breach(c, "on_loaded was called twice");
    if (module != CONTRACT_MODULE && module != CONTRACT_MODULE + 1)
        contract_breach(c, "on_loaded of module %u, which was not loaded", module);
    c->loaded_status = status;
    if (status && (!err || !err->text[0]))
        contract_breach(c, "on_loaded fails without a sentence");
}

static void on_item_error(void *owner, struct mm_run *run, const mamuto_error_t *err)
{
    struct contract *c = begin_event(owner, "on_item_error");
    struct contract_run *r = (struct contract_run *)run;
    unsigned long long item = err->item;
    CONTRACT_CHECK(c, r->begun && !r->ran, "item %llu: on_item_error came after on_ran", item);
    CONTRACT_CHECK(c, item - r->run.first < r->run.n, "item %llu failed, which is none of the run's", item);
    CONTRACT_CHECK(c, !r->item_errors || item != r->last_item, "item %llu was reported twice", item);
    CONTRACT_CHECK(c, !r->item_errors || item > r->last_item, "item %llu was reported after a later one", item);
    CONTRACT_CHECK(c, err->text[0], "item %llu failed without a sentence", item);
    r->last_item = err->item;
    if (++r->item_errors > MOST_ITEM_ERRORS)
        contract_breach(c, "more than %d failed items were reported", MOST_ITEM_ERRORS);
}

static void on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct contract *c = begin_event(owner, "on_ran");
    struct contract_run *r = (struct contract_run *)run;
    CONTRACT_CHECK(c, r->begun, "on_ran of a run that was not begun");
    CONTRACT_CHECK(c, !r->ran, "on_ran was called twice for a run");
    CONTRACT_CHECK(c, !c->closing, "on_ran was called after close");
    CONTRACT_CHECK(c, !c->n_lost, "on_ran was called after on_lost");
    r->ran = true;
    r->status = status;
    r->failed = failed;
    if (status) {
        CONTRACT_CHECK(c, err && err->code == status && err->text[0], "a run fails without a sentence");
        r->err = *err;
    }
    if (r->then)
        r->then(c, r);
}

static void on_lost(void *owner, const mamuto_error_t *err)
{
    struct contract *c = begin_event(owner, "on_lost");
    if (c->n_lost++)
        contract_breach(c, "on_lost was called twice");
    if (!err || !err->code || !err->text[0])
        contract_breach(c, "on_lost has no sentence");
    for (int i = 0; i < c->n_runs; i++)
        if (c->runs[i].begun && !c->runs[i].ran)
            contract_breach(c, "on_lost came before the on_ran of a run");
}

static void on_state(void *owner)
{
    struct contract *c = begin_event(owner, "on_state");
    if (!c->n_up)
        contract_breach(c, "on_state came before on_up");
}

static void on_output(void *owner, int worker, int fd, const char *line, size_t n)
{
    static const char printed[] = "a line of an item";
    struct contract *c = begin_event(owner, "on_output");
    CONTRACT_CHECK(c, worker >= 0 && worker < 2 && (fd == 1 || fd == 2), "worker %d prints to fd %d", worker, fd);
    CONTRACT_CHECK(c, n == sizeof printed - 1 && memcmp(line, printed, n) == 0, "the line is \"%.*s\"", (int)n, line);
    c->n_lines++;
}

static void on_kept(void *owner, struct mm_keep *keep, int status, const mamuto_error_t *err)
{
    struct contract *c = begin_event(owner, "on_kept");
    CONTRACT_CHECK(c, keep == &c->keep && c->n_kept++ == 0, "on_kept of what was not to be kept, or twice");
    CONTRACT_CHECK(c, !c->closing, "on_kept was called after close");
    CONTRACT_CHECK(c, !status || (err && err->code == status && err->text[0]), "a keep fails without a sentence");
    c->kept_status = status;
}

static void on_closed(void *owner)
{
    struct contract *c = begin_event(owner, "on_closed");
    if (!c->closing)
        contract_breach(c, "on_closed came without a close");
    c->n_closed++;
}

static const struct mm_node_events events = { .on_up = on_up,
                                              .on_function = on_function,
                                              .on_loaded = on_loaded,
                                              .on_item_error = on_item_error,
                                              .on_ran = on_ran,
                                              .on_lost = on_lost,
                                              .on_closed = on_closed,
                                              .on_state = on_state,
                                              .on_kept = on_kept,
                                              .on_output = on_output };

/* ---- Operations ------------------------------------------------------------------------------------------------------ */

static void on_deadline(uv_timer_t *timer)
{
    struct contract *c = timer->data;
    contract_breach(c, "waited in vain for: %s", c->waits_for);
}

void contract_set_deadline(struct contract *c, const char *waits_for)
{
    c->waits_for = waits_for;
    uv_timer_start(&c->deadline, on_deadline, (uint64_t)c->patience_ms, 0);
}

void contract_open(struct contract *c)
{
    mamuto_error_t err = { 0 };
    c->in_operation++;
    int code = c->kind->ops->open(&c->node, &c->config.hosts[0], &c->loop, &events, c, &err);
    c->in_operation--;
    if (code)
        contract_breach(c, "open: %s", err.text);
}

void contract_load(struct contract *c, const char *path)
{
    mamuto_error_t err = { 0 };
    c->n_loaded = 0;
    c->in_operation++;
    int code = c->kind->ops->load(c->node, CONTRACT_MODULE, path, &c->config.hosts[0], &err);
    c->in_operation--;
    CONTRACT_CHECK(c, code == 0, "load: %s", err.text);
    CONTRACT_UNTIL(c, c->n_loaded > 0);
}

void contract_open_loaded(struct contract *c)
{
    contract_open(c);
    if (c->wrong[0])
        return;
    CONTRACT_UNTIL(c, c->n_up > 0);
    CONTRACT_CHECK(c, c->up_status == 0, "the node has not come up");
    contract_load(c, c->kind->module);
    CONTRACT_CHECK(c, c->loaded_status == 0 && c->n_functions == CONTRACT_FUNCTIONS, "the module was not loaded");
}

void contract_close(struct contract *c)
{
    c->closing = true;
    c->in_operation++;
    c->kind->ops->close(c->node);
    c->in_operation--;
    contract_set_deadline(c, "on_closed");
    bool in_vain = false; /* breaches of before do not end this wait */
    uint64_t began = uv_now(&c->loop);
    while (!c->n_closed && !in_vain) {
        uv_run(&c->loop, UV_RUN_ONCE);
        in_vain = uv_now(&c->loop) - began >= PATIENCE_MS;
        if (!uv_is_active((uv_handle_t *)&c->deadline))
            contract_set_deadline(c, "on_closed");
    }
    uv_timer_stop(&c->deadline);
    uv_run(&c->loop, UV_RUN_NOWAIT); /* whatever may follow */
    if (c->n_closed != 1)
        contract_breach(c, "on_closed was called %d times", c->n_closed);
    c->node = NULL;
}

static const struct mm_function *function(const struct contract *c, const char *name)
{
    for (uint32_t i = 0; i < c->n_functions; i++)
        if (strcmp(c->names[i], name) == 0)
            return &c->functions[i];
    return NULL;
}

struct contract_run *contract_new_run(struct contract *c, const char *name, uint64_t total, uint64_t first, uint64_t n)
{
    assert_in_range(c->n_runs, 0, CONTRACT_RUNS - 1);
    struct contract_run *r = &c->runs[c->n_runs++];
    r->name = name;
    r->total = total;
    r->in = malloc(total * sizeof *r->in);
    r->out = malloc(total * sizeof *r->out);
    assert_true(r->in && r->out);
    for (uint64_t i = 0; i < total; i++) {
        r->in[i] = (double)i;
        r->out[i] = -1;
    }
    r->run = (struct mm_run){ .function = function(c, name),
                              .first = first,
                              .n = n,
                              .n_in = 1,
                              .result = r->out,
                              .result_stride = sizeof *r->out,
                              .out_size = sizeof *r->out,
                              .out_len = 1 };
    r->run.in[0] = (struct mm_run_arg){ .data = r->in, .stride = sizeof *r->in, .size = sizeof *r->in, .len = 1 };
    assert_non_null(r->run.function);
    return r;
}

int contract_begin(struct contract *c, struct contract_run *r)
{
    mamuto_error_t err = { 0 };
    c->in_operation++;
    r->begun = true; /* an event from inside is a breach of its own */
    int code = c->kind->ops->run(c->node, &r->run, &err);
    r->begun = code == 0;
    c->in_operation--;
    if (code < 0 && (err.code != code || !err.text[0]))
        contract_breach(c, "run fails without a sentence");
    return code;
}

struct contract_run *contract_run(struct contract *c, const char *name, uint64_t total, uint64_t first, uint64_t n)
{
    struct contract_run *r = contract_new_run(c, name, total, first, n);
    int code = contract_begin(c, r);
    if (code)
        contract_breach(c, "run says %d, though there must be room", code);
    return r;
}

void contract_cancel(struct contract *c, struct contract_run *r)
{
    c->in_operation++;
    c->kind->ops->cancel(c->node, &r->run);
    c->in_operation--;
}

/* ---- What a run must have come to ------------------------------------------------------------------------------------ */

static bool fails(const struct contract_run *r, uint64_t i)
{
    return strcmp(r->name, "hopeless") == 0 || (strcmp(r->name, "mixed") == 0 && i % 7 == 3);
}

static double right(const struct contract_run *r, uint64_t i)
{
    if (i - r->run.first >= r->run.n || (r->given && r->given[i]))
        return -1; /* not of this run */
    if (fails(r, i))
        return 0;
    return strcmp(r->name, "indexed") == 0 ? 4 * (double)i : 2 * (double)i;
}

void contract_check_run(struct contract *c, struct contract_run *r)
{
    uint64_t failing = 0;
    CONTRACT_CHECK(c, r->ran, "a run has not ended");
    for (uint64_t i = 0; i < r->total; i++) {
        failing += i - r->run.first < r->run.n && !(r->given && r->given[i]) && fails(r, i);
        CONTRACT_CHECK(c, r->out[i] == right(r, i), "%s: the result of item %llu of [%llu, %llu) is %g, not %g",
                       r->name, (unsigned long long)i, (unsigned long long)r->run.first,
                       (unsigned long long)(r->run.first + r->run.n), r->out[i], right(r, i));
    }
    CONTRACT_CHECK(c, r->status == (failing ? MAMUTO_EITEM : 0), "%s has ended with %d: %s", r->name, r->status,
                   r->err.text);
    CONTRACT_CHECK(c, r->failed == failing, "%llu items failed, and %llu were counted", (unsigned long long)failing,
                   (unsigned long long)r->failed);
    uint64_t reported = failing < MOST_ITEM_ERRORS ? failing : MOST_ITEM_ERRORS;
    CONTRACT_CHECK(c, r->item_errors == reported, "%llu failed items were reported, not %llu",
                   (unsigned long long)r->item_errors, (unsigned long long)reported);
}

/* ---- Cases ----------------------------------------------------------------------------------------------------------- */

static void end_loop(struct contract *c)
{
    uv_close((uv_handle_t *)&c->deadline, NULL);
    while (uv_run(&c->loop, UV_RUN_NOWAIT))
        ;
    if (uv_loop_close(&c->loop) != 0)
        contract_breach(c, "handles are left after on_closed");
}

bool contract_try(const struct contract_kind *kind, const struct contract_case *one, int patience_ms,
                  char wrong[CONTRACT_TEXT])
{
    struct contract *c = calloc(1, sizeof *c);
    mamuto_error_t err = { 0 };
    assert_non_null(c);
    c->kind = kind;
    c->patience_ms = patience_ms;
    assert_int_equal(uv_loop_init(&c->loop), 0);
    uv_timer_init(&c->loop, &c->deadline);
    c->deadline.data = c;
    int code = kind->config ? mm_config_parse(&c->config, kind->config, &err) : mm_config_default(&c->config, &err);
    if (code)
        fail_msg("%s", err.text);
    if (!kind->config)
        c->config.hosts[0].cores = 2;
    one->run(c);
    if (c->node)
        contract_close(c);
    end_loop(c);
    memcpy(wrong, c->wrong, CONTRACT_TEXT);
    for (int i = 0; i < c->n_runs; i++) {
        free(c->runs[i].in);
        free(c->runs[i].out);
        free(c->runs[i].given);
    }
    mm_config_fini(&c->config);
    free(c);
    return !wrong[0];
}

const struct contract_case *contract_case_at(size_t i)
{
    static const struct contract_case *const lists[] = { contract_cases, contract_more_cases, contract_ending_cases };
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
        for (const struct contract_case *one = lists[k]; one->name; one++)
            if (i-- == 0)
                return one;
    return NULL;
}

struct trial {
    const struct contract_kind *kind;
    const struct contract_case *one;
};

static void run_case(void **state)
{
    const struct trial *trial = *state;
    char wrong[CONTRACT_TEXT];
    if (!contract_try(trial->kind, trial->one, PATIENCE_MS, wrong))
        fail_msg("%s", wrong);
}

int contract_run_all(const struct contract_kind *kind)
{
    enum { MOST = 64 };
    struct CMUnitTest tests[MOST] = { 0 };
    struct trial trials[MOST];
    size_t n = 0;
    for (const struct contract_case *one; n < MOST && (one = contract_case_at(n)); n++) {
        trials[n] = (struct trial){ kind, one };
        tests[n] = (struct CMUnitTest){ one->name, run_case, NULL, NULL, &trials[n] };
    }
    return _cmocka_run_group_tests(kind->ops->kind, tests, n, NULL, NULL);
}
