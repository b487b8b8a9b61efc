/* The callback form, on a loop of the test's own: when callbacks come and when they do not, closing and cancelling in
 * each of them, many maps at once, what keeps the loop alive, and that nothing is left on it at the end. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 1000, MANY = 300 };

static uv_loop_t loop;
static mamuto_t *m;
static uv_timer_t limit; /* no test hangs */
static int32_t in[N], out[N], outs[MANY][N];

/* What has been called back, and what callbacks are to do. */
static struct {
    int open, open_status, loaded, loaded_status, done, done_status, item_errors, closed, canceled;
    bool inside;             /* a call of the library is on the stack */
    bool called_from_inside; /* and called back: never */
    bool done_after_close, closed_twice;
    bool close_in_open, close_in_done, close_in_item_error, close_in_loaded, cancel_in_done, cancel_in_item_error;
    bool map_in_done;
    mamuto_map_t *other; /* to be cancelled */
    mamuto_error_t err;
} seen;

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("the loop does not end");
}

static void begin_loop(void)
{
    memset(&seen, 0, sizeof seen);
    m = NULL;
    for (int i = 0; i < N; i++)
        in[i] = 0, out[i] = -1;
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &limit);
    uv_timer_start(&limit, on_limit, E2E_PATIENCE_MS, 0);
    uv_unref((uv_handle_t *)&limit);
}

static void run_loop(void) { uv_run(&loop, UV_RUN_DEFAULT); }

/* The loop has run out by itself; what is left on it is the limit alone. */
static void end_loop(void)
{
    run_loop();
    uv_close((uv_handle_t *)&limit, NULL);
    run_loop();
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_false(seen.called_from_inside || seen.done_after_close || seen.closed_twice);
    e2e_scratch_end();
}

static void on_close(void *data)
{
    assert_ptr_equal(data, &seen);
    seen.called_from_inside |= seen.inside;
    seen.closed_twice |= seen.closed++ > 0;
    m = NULL;
}

static void close_now(void)
{
    seen.inside = true;
    assert_int_equal(mamuto_close(m, on_close), 0);
    assert_int_equal(mamuto_close(m, on_close), MAMUTO_EINVAL); /* it is being closed */
    seen.inside = false;
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    assert_ptr_equal(mamuto_data(mapper), &seen);
    seen.called_from_inside |= seen.inside;
    seen.open++;
    seen.open_status = status;
    if (err)
        seen.err = *err;
    assert_true((status == 0) == (err == NULL));
    assert_int_equal(mamuto_close_wait(mapper), MAMUTO_EINVAL);
    if (seen.close_in_open)
        close_now();
}

static void begin_open(const char *module)
{
    mamuto_error_t err = { 0 };
    e2e_scratch_begin();
    begin_loop();
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .loop = &loop,
                                 .data = &seen,
                                 .modules = (const char *[]){ module, NULL },
                                 .on_open = on_open };
    seen.inside = true;
    if (mamuto_open(&m, &options, &err) != 0)
        fail_msg("%s", err.text);
    seen.inside = false;
}

static void open_mapper(void)
{
    begin_open(E2E_MODULE("items"));
    run_loop();
    if (seen.open_status)
        fail_msg("%s", seen.err.text);
    assert_int_equal(seen.open, 1);
}

static void start_map(int32_t *result, const char *function, void (*done)(mamuto_map_t *, int, const mamuto_error_t *));

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    seen.called_from_inside |= seen.inside;
    seen.done_after_close |= seen.closed > 0;
    seen.done++;
    seen.canceled += status == MAMUTO_ECANCELED;
    seen.done_status = status;
    assert_true((status == 0) == (err == NULL));
    if (err)
        seen.err = *err;
    assert_ptr_equal(mamuto_map_data(map), &in);
    if (seen.cancel_in_done) {
        assert_int_equal(mamuto_cancel(map), 0); /* itself: it has ended already */
        if (seen.other && seen.other != map)
            assert_int_equal(mamuto_cancel(seen.other), 0);
        seen.other = NULL;
    }
    if (seen.close_in_done) {
        seen.close_in_done = false;
        close_now();
    }
    if (seen.map_in_done) {
        seen.map_in_done = false;
        start_map(out, "item", on_done);
    }
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    assert_true(err->code != 0);
    seen.called_from_inside |= seen.inside;
    if (seen.item_errors++)
        return;
    if (seen.cancel_in_item_error)
        assert_int_equal(mamuto_cancel(map), 0);
    if (seen.close_in_item_error)
        close_now();
}

static mamuto_call_t call_of(int32_t *result, const char *function)
{
    return (mamuto_call_t){ .function = function,
                            .args = { mamuto_scatter(in, N) },
                            .result = result,
                            .data = &in,
                            .on_done = on_done,
                            .on_item_error = on_item_error,
                            .on_error = MAMUTO_ON_ERROR_SKIP };
}

static mamuto_map_t *begin_map(const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    mamuto_map_t *map = NULL;
    bool inside = seen.inside;
    seen.inside = true;
    if (mamuto_map(m, call, &map, &err) != 0)
        fail_msg("%s", err.text);
    seen.inside = inside;
    return map;
}

static void start_map(int32_t *result, const char *function, void (*done)(mamuto_map_t *, int, const mamuto_error_t *))
{
    mamuto_call_t call = call_of(result, function);
    call.on_done = done;
    begin_map(&call);
}

static void is_right(const int32_t *result)
{
    for (int i = 0; i < N; i++)
        if (result[i] != i * 2 + 1)
            fail_msg("item %d is %d", i, result[i]);
}

static void close_and_end(void)
{
    close_now();
    end_loop();
    assert_int_equal(seen.closed, 1);
}

/* ---- The plain course -------------------------------------------------------------------------------------------- */

static void map_on_a_loop_calls_back_once(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_mapper();
    mamuto_call_t call = call_of(out, "item");
    begin_map(&call);
    assert_int_equal(seen.done, 0);
    memset(&call, 0xff, sizeof call); /* it was borrowed for the call alone */
    run_loop();
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.done_status, 0);
    is_right(out);
    close_and_end();
    e2e_holds_as(&before);
}

static void map_of_nothing_calls_back_later(void **state)
{
    (void)state;
    open_mapper();
    mamuto_call_t call = call_of(out, "item");
    call.args[0] = mamuto_scatter(in, 0);
    begin_map(&call);
    assert_int_equal(seen.done, 0);
    run_loop();
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.done_status, 0);
    close_and_end();
}

static void map_without_callbacks_is_run(void **state)
{
    (void)state;
    open_mapper();
    mamuto_call_t call = { .function = "item", .args = { mamuto_scatter(in, N) }, .result = out };
    begin_map(&call);
    run_loop();
    is_right(out);
    assert_int_equal(mamuto_close(m, NULL), 0);
    end_loop();
}

static void loop_runs_out_with_an_idle_mapper(void **state)
{
    (void)state;
    open_mapper(); /* uv_run() has come back: the mapper is idle */
    assert_int_equal(uv_loop_alive(&loop), 0);
    mamuto_call_t call = call_of(out, "item");
    for (int round = 0; round < 3; round++) {
        begin_map(&call);
        assert_int_equal(uv_loop_alive(&loop), 1);
        run_loop();
        assert_int_equal(seen.done, round + 1);
        assert_int_equal(uv_loop_alive(&loop), 0);
    }
    close_now();
    assert_int_equal(uv_loop_alive(&loop), 1);
    end_loop();
}

static void map_in_on_done_is_run(void **state)
{
    (void)state;
    open_mapper();
    seen.map_in_done = true;
    start_map(outs[0], "item", on_done);
    run_loop();
    assert_int_equal(seen.done, 2);
    is_right(out);
    close_and_end();
}

static void map_in_flight_outlives_a_crash(void **state)
{
    (void)state;
    open_mapper();
    in[10] = ACT_ABORT, in[900] = ACT_RETURN;
    start_map(out, "chunk", on_done);
    run_loop();
    assert_int_equal(seen.done_status, MAMUTO_EITEM);
    assert_int_equal(seen.item_errors, 2);
    close_and_end();
}

/* ---- Many -------------------------------------------------------------------------------------------------------- */

static int order[MANY], n_ordered;

static void on_ordered(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    if (status)
        fail_msg("%s", err->text);
    order[n_ordered++] = (int)((int32_t(*)[N])mamuto_map_data(map) - outs);
}

static void more_maps_than_there_is_room_for_are_all_run(void **state)
{
    (void)state;
    open_mapper();
    n_ordered = 0;
    for (int k = 0; k < MANY; k++) {
        mamuto_call_t call = call_of(outs[k], k % 2 ? "item" : "chunk");
        call.data = outs[k];
        call.on_done = on_ordered;
        memset(outs[k], 0xff, sizeof outs[k]);
        begin_map(&call);
    }
    assert_int_equal(n_ordered, 0);
    run_loop();
    assert_int_equal(n_ordered, MANY);
    int times[MANY] = { 0 };
    for (int k = 0; k < MANY; k++) {
        times[order[k]]++;
        assert_true(order[k] < k + 64); /* 64 at once: a map begins when all but 63 before it have ended */
        is_right(outs[k]);
    }
    for (int k = 0; k < MANY; k++)
        assert_int_equal(times[k], 1);
    close_and_end();
}

static void array_of_a_waiting_map_is_not_freed(void **state)
{
    (void)state;
    open_mapper();
    int32_t *shared = mamuto_alloc(m, N, sizeof *shared, NULL);
    in[0] = 1;
    for (int k = 0; k < 70; k++)
        start_map(k < 69 ? outs[k] : shared, "gate", on_done);
    assert_int_equal(mamuto_free(m, shared), MAMUTO_EINVAL);
    e2e_touch("go");
    run_loop();
    assert_int_equal(seen.done, 70);
    is_right(shared);
    assert_int_equal(mamuto_free(m, shared), 0);
    close_and_end();
}

/* ---- Cancel ------------------------------------------------------------------------------------------------------ */

static void map_that_hangs_can_be_cancelled(void **state)
{
    (void)state;
    open_mapper();
    in[3] = ACT_LOOP;
    mamuto_call_t call = call_of(out, "item");
    mamuto_map_t *map = begin_map(&call);
    for (int i = 0; i < 20; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        e2e_nap();
    }
    assert_int_equal(seen.done, 0);
    assert_int_equal(mamuto_cancel(map), 0);
    assert_int_equal(mamuto_cancel(map), 0); /* again: nothing more */
    assert_int_equal(seen.done, 0);
    run_loop();
    assert_int_equal(seen.done, 1);
    e2e_is_error(seen.done_status, &seen.err, MAMUTO_ECANCELED, "cancelled");
    in[3] = 0;
    begin_map(&call); /* all workers serve again */
    run_loop();
    assert_int_equal(seen.done_status, 0);
    is_right(out);
    close_and_end();
}

static void map_cancelled_at_once_calls_back_once(void **state)
{
    (void)state;
    open_mapper();
    mamuto_call_t call = call_of(out, "item");
    for (int round = 0; round < 200; round++) {
        seen.done = 0;
        mamuto_map_t *map = begin_map(&call);
        assert_int_equal(mamuto_cancel(map), 0);
        assert_int_equal(seen.done, 0);
        run_loop();
        assert_int_equal(seen.done, 1);
        if (seen.done_status == 0)
            is_right(out);
        else
            assert_int_equal(seen.done_status, MAMUTO_ECANCELED);
    }
    call.args[0].count = 0;
    assert_int_equal(mamuto_cancel(begin_map(&call)), 0);
    run_loop();
    close_and_end();
}

static void waiting_map_can_be_cancelled(void **state)
{
    (void)state;
    open_mapper();
    in[0] = 1;
    mamuto_map_t *maps[100];
    for (int k = 0; k < 100; k++) {
        mamuto_call_t call = call_of(outs[k], "gate");
        maps[k] = begin_map(&call);
    }
    for (int k = 70; k < 100; k += 2)
        assert_int_equal(mamuto_cancel(maps[k]), 0);
    assert_int_equal(seen.done, 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    e2e_touch("go");
    run_loop();
    assert_int_equal(seen.done, 100);
    assert_int_equal(seen.canceled, 15);
    for (int k = 0; k < 100; k++)
        if (k < 70 || k % 2)
            is_right(outs[k]);
    close_and_end();
}

static void other_map_can_be_cancelled_in_on_done(void **state)
{
    (void)state;
    open_mapper();
    in[0] = 1;
    mamuto_call_t call = call_of(outs[0], "gate");
    seen.other = begin_map(&call);
    assert_true(e2e_has_size("begun", 1));
    seen.cancel_in_done = true;
    call = call_of(out, "work");
    begin_map(&call);
    run_loop();
    assert_int_equal(seen.done, 2);
    assert_int_equal(seen.canceled, 1);
    is_right(out);
    close_and_end();
}

static void map_can_be_cancelled_in_on_item_error(void **state)
{
    (void)state;
    open_mapper();
    in[5] = in[500] = ACT_RETURN;
    seen.cancel_in_item_error = true;
    start_map(out, "item", on_done);
    run_loop();
    assert_int_equal(seen.done, 1);
    assert_true(seen.done_status == MAMUTO_EITEM || seen.done_status == MAMUTO_ECANCELED);
    close_and_end();
}

/* ---- Close ------------------------------------------------------------------------------------------------------- */

static void mapper_closed_before_it_is_open_is_told_so(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    begin_open(E2E_MODULE("items"));
    close_now();
    assert_int_equal(seen.open, 0);
    end_loop();
    assert_int_equal(seen.open, 1);
    assert_int_equal(seen.closed, 1);
    e2e_is_error(seen.open_status, &seen.err, MAMUTO_ECANCELED, "closed before it was open");
    e2e_holds_as(&before);
}

static void mapper_closed_at_any_turn_of_opening_is_told_once(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    for (int turns = 0; turns < 12; turns++) {
        begin_open(E2E_MODULE("items"));
        for (int i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        close_now();
        end_loop();
        assert_int_equal(seen.open, 1);
        assert_int_equal(seen.closed, 1);
    }
    e2e_holds_as(&before);
}

static void mapper_can_be_closed_in_on_open(void **state)
{
    (void)state;
    begin_open(E2E_MODULE("items"));
    seen.close_in_open = true;
    end_loop();
    assert_int_equal(seen.open, 1);
    assert_int_equal(seen.open_status, 0);
    assert_int_equal(seen.closed, 1);
}

static void mapper_that_cannot_be_opened_is_closed_in_on_open(void **state)
{
    (void)state;
    begin_open("/nowhere/module.c");
    seen.close_in_open = true;
    end_loop();
    assert_int_equal(seen.open, 1);
    e2e_is_error(seen.open_status, &seen.err, MAMUTO_EMODULE, "/nowhere/module.c");
    assert_int_equal(seen.closed, 1);
}

static void mapper_can_be_closed_in_on_done(void **state)
{
    (void)state;
    open_mapper();
    in[0] = 1;
    for (int k = 0; k < 80; k++)
        start_map(outs[k], "gate", on_done);
    seen.close_in_done = true;
    mamuto_call_t call = call_of(out, "item");
    call.args[0].count = 0; /* the first to be done */
    begin_map(&call);
    end_loop();
    assert_int_equal(seen.done, 81);
    assert_int_equal(seen.canceled, 80);
    assert_int_equal(seen.closed, 1);
}

static void mapper_can_be_closed_in_on_item_error(void **state)
{
    (void)state;
    open_mapper();
    in[5] = in[500] = ACT_RETURN;
    seen.close_in_item_error = true;
    start_map(out, "item", on_done);
    end_loop();
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.closed, 1);
}

static void on_loaded(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    assert_ptr_equal(mapper, m);
    assert_true((status == 0) == (err == NULL));
    seen.called_from_inside |= seen.inside;
    seen.loaded++;
    seen.loaded_status = status;
    if (seen.close_in_loaded)
        close_now();
}

static void begin_load(const char *path)
{
    mamuto_error_t err = { 0 };
    seen.inside = true;
    if (mamuto_load(m, path, on_loaded, &err) != 0)
        fail_msg("%s", err.text);
    seen.inside = false;
}

static void module_can_be_loaded_on_a_loop(void **state)
{
    (void)state;
    open_mapper();
    begin_load(E2E_MODULE("basic"));
    assert_int_equal(uv_loop_alive(&loop), 1);
    run_loop();
    assert_int_equal(seen.loaded, 1);
    assert_int_equal(seen.loaded_status, 0);
    begin_load("/nowhere/module.c");
    run_loop();
    assert_int_equal(seen.loaded, 2);
    assert_int_equal(seen.loaded_status, MAMUTO_EMODULE);
    close_and_end();
}

static void mapper_can_be_closed_in_on_loaded(void **state)
{
    (void)state;
    open_mapper();
    seen.close_in_loaded = true;
    begin_load(E2E_MODULE("basic"));
    end_loop();
    assert_int_equal(seen.loaded, 1);
    assert_int_equal(seen.closed, 1);
}

static void load_in_flight_is_cancelled_by_close(void **state)
{
    (void)state;
    open_mapper();
    begin_load(E2E_MODULE("basic"));
    close_now();
    end_loop();
    assert_int_equal(seen.loaded, 1);
    assert_int_equal(seen.loaded_status, MAMUTO_ECANCELED);
}

static void maps_in_flight_are_cancelled_by_close(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_mapper();
    in[0] = ACT_LOOP;
    for (int k = 0; k < 80; k++)
        start_map(outs[k], "chunk", on_done);
    close_now();
    end_loop();
    assert_int_equal(seen.done, 80);
    assert_int_equal(seen.canceled, 80);
    e2e_holds_as(&before);
}

static void closing_mapper_refuses_everything(void **state)
{
    (void)state;
    open_mapper();
    close_now();
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of(out, "item");
    e2e_is_error(mamuto_map(m, &call, NULL, &err), &err, MAMUTO_EINVAL, "being closed");
    err.code = 0;
    e2e_is_error(mamuto_load(m, E2E_MODULE("basic"), on_loaded, &err), &err, MAMUTO_EINVAL, NULL);
    err.code = 0;
    assert_null(mamuto_alloc(m, 1, 1, &err));
    assert_int_equal(err.code, MAMUTO_EINVAL);
    end_loop();
    assert_int_equal(seen.done, 0);
    assert_int_equal(seen.loaded, 0);
}

static void mapper_that_is_not_open_yet_refuses_maps(void **state)
{
    (void)state;
    begin_open(E2E_MODULE("items"));
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of(out, "item");
    e2e_is_error(mamuto_map(m, &call, NULL, &err), &err, MAMUTO_EINVAL, "not open yet");
    run_loop();
    close_and_end();
}

/* ---- _wait ------------------------------------------------------------------------------------------------------- */

static void wait_forms_are_refused_on_a_loop_of_the_callers(void **state)
{
    (void)state;
    open_mapper();
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of(out, "item");
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EINVAL, "a loop of yours");
    err.code = 0;
    e2e_is_error(mamuto_load_wait(m, E2E_MODULE("basic"), &err), &err, MAMUTO_EINVAL, "a loop of yours");
    assert_int_equal(mamuto_close_wait(m), MAMUTO_EINVAL);
    err.code = 0;
    mamuto_t *other = NULL;
    mamuto_options_t options = { .loop = &loop };
    e2e_is_error(mamuto_open_wait(&other, &options, &err), &err, MAMUTO_EINVAL, "mamuto_open");
    assert_null(other);
    close_and_end();
}

static int32_t inner[N];
static int inner_code, inner_load, inner_close;
static mamuto_t *own;

static void on_done_that_waits(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map, (void)status, (void)err;
    mamuto_call_t call = { .function = "item", .args = { mamuto_scatter(in, N) }, .result = inner };
    inner_code = mamuto_map_wait(own, &call, NULL);
    inner_load = mamuto_load_wait(own, E2E_MODULE("basic"), NULL);
    inner_close = mamuto_close_wait(own);
}

static void wait_forms_are_refused_inside_a_callback(void **state)
{
    (void)state;
    e2e_scratch_begin();
    memset(in, 0, sizeof in);
    own = e2e_open(2, E2E_MODULE("items"));
    mamuto_call_t call = {
        .function = "item", .args = { mamuto_scatter(in, N) }, .result = out, .on_done = on_done_that_waits
    };
    assert_int_equal(mamuto_map_wait(own, &call, NULL), 0);
    assert_int_equal(inner_code, MAMUTO_EINVAL);
    assert_int_equal(inner_load, MAMUTO_EINVAL);
    assert_int_equal(inner_close, MAMUTO_EINVAL);
    call.on_done = NULL;
    assert_int_equal(mamuto_map_wait(own, &call, NULL), 0);
    e2e_close(own);
    e2e_scratch_end();
}

static void on_done_that_closes(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map, (void)status, (void)err;
    inner_close = mamuto_close(own, NULL);
}

static void mapper_of_wait_forms_can_be_closed_in_a_callback(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    e2e_scratch_begin();
    own = e2e_open(2, E2E_MODULE("items"));
    mamuto_call_t call = {
        .function = "item", .args = { mamuto_scatter(in, N) }, .result = out, .on_done = on_done_that_closes
    };
    assert_int_equal(mamuto_map_wait(own, &call, NULL), 0);
    assert_int_equal(inner_close, 0);
    assert_int_equal(mamuto_map_wait(own, &call, NULL), MAMUTO_EINVAL);
    e2e_close(own);
    e2e_scratch_end();
    e2e_holds_as(&before);
}

static void on_open_that_closes(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)status, (void)err;
    assert_int_equal(mamuto_close(mapper, NULL), 0);
}

static void open_wait_whose_on_open_closes_is_cancelled(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_t *other = NULL;
    mamuto_options_t options = { .on_open = on_open_that_closes };
    e2e_is_error(mamuto_open_wait(&other, &options, &err), &err, MAMUTO_ECANCELED, NULL);
    assert_null(other);
}

/* Maps in flight go on while another is waited for, and their callbacks come. */
static void callbacks_of_other_maps_run_inside_wait(void **state)
{
    (void)state;
    e2e_scratch_begin();
    memset(&seen, 0, sizeof seen);
    own = e2e_open(2, E2E_MODULE("items"));
    mamuto_call_t call = call_of(outs[0], "item");
    for (int k = 0; k < 10; k++)
        assert_int_equal(mamuto_map(own, &call, NULL, NULL), 0);
    call = (mamuto_call_t){ .function = "work", .args = { mamuto_scatter(in, N) }, .result = out };
    while (seen.done < 10)
        assert_int_equal(mamuto_map_wait(own, &call, NULL), 0);
    is_right(outs[0]);
    e2e_close(own);
    e2e_scratch_end();
}

static void two_mappers_share_a_loop(void **state)
{
    (void)state;
    open_mapper();
    mamuto_t *first = m;
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 1}}",
                                 .loop = &loop,
                                 .data = &seen,
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL } };
    assert_int_equal(mamuto_open(&own, &options, NULL), 0);
    run_loop();
    mamuto_call_t call = call_of(outs[1], "item");
    assert_int_equal(mamuto_map(own, &call, NULL, NULL), 0);
    assert_int_equal(mamuto_close(own, NULL), 0);
    assert_int_equal(
        mamuto_map(first, &(mamuto_call_t){ .function = "item", .args = { mamuto_scatter(in, N) }, .result = out },
                   NULL, NULL),
        0);
    run_loop();
    is_right(out);
    close_and_end();
}

/* libuv keeps some descriptors from the first loop on: they are there before anything is counted. */
static int set_up(void **state)
{
    (void)state;
    begin_loop();
    uv_close((uv_handle_t *)&limit, NULL);
    run_loop();
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_on_a_loop_calls_back_once),
        cmocka_unit_test(map_of_nothing_calls_back_later),
        cmocka_unit_test(map_without_callbacks_is_run),
        cmocka_unit_test(loop_runs_out_with_an_idle_mapper),
        cmocka_unit_test(map_in_on_done_is_run),
        cmocka_unit_test(map_in_flight_outlives_a_crash),
        cmocka_unit_test(more_maps_than_there_is_room_for_are_all_run),
        cmocka_unit_test(array_of_a_waiting_map_is_not_freed),
        cmocka_unit_test(map_that_hangs_can_be_cancelled),
        cmocka_unit_test(map_cancelled_at_once_calls_back_once),
        cmocka_unit_test(waiting_map_can_be_cancelled),
        cmocka_unit_test(other_map_can_be_cancelled_in_on_done),
        cmocka_unit_test(map_can_be_cancelled_in_on_item_error),
        cmocka_unit_test(mapper_closed_before_it_is_open_is_told_so),
        cmocka_unit_test(mapper_closed_at_any_turn_of_opening_is_told_once),
        cmocka_unit_test(mapper_can_be_closed_in_on_open),
        cmocka_unit_test(mapper_that_cannot_be_opened_is_closed_in_on_open),
        cmocka_unit_test(mapper_can_be_closed_in_on_done),
        cmocka_unit_test(mapper_can_be_closed_in_on_item_error),
        cmocka_unit_test(module_can_be_loaded_on_a_loop),
        cmocka_unit_test(mapper_can_be_closed_in_on_loaded),
        cmocka_unit_test(load_in_flight_is_cancelled_by_close),
        cmocka_unit_test(maps_in_flight_are_cancelled_by_close),
        cmocka_unit_test(closing_mapper_refuses_everything),
        cmocka_unit_test(mapper_that_is_not_open_yet_refuses_maps),
        cmocka_unit_test(wait_forms_are_refused_on_a_loop_of_the_callers),
        cmocka_unit_test(wait_forms_are_refused_inside_a_callback),
        cmocka_unit_test(mapper_of_wait_forms_can_be_closed_in_a_callback),
        cmocka_unit_test(open_wait_whose_on_open_closes_is_cancelled),
        cmocka_unit_test(callbacks_of_other_maps_run_inside_wait),
        cmocka_unit_test(two_mappers_share_a_loop),
    };
    return cmocka_run_group_tests_name("e2e_loop", tests, set_up, NULL);
}
