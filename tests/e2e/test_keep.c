/* Kept arrays on a caller's loop: their life from mamuto_keep to mamuto_forget, in every order that is legal; close, deaths
 * and shortage meanwhile. on_kept comes once, what is forgotten leaves no memory behind, and a good map follows. */
#include "tests/support/e2e.h"
#include "tests/support/keep.h"
#include "tests/support/private.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static uv_loop_t loop;
static mamuto_t *m;
static struct e2e_held before;
static double y[KEEP_ITEMS], one_value = 0.5;
static struct keep_one kept;
static struct keep_map map, maps[3];

static int set_up(void **state)
{
    (void)state;
    before = e2e_hold();
    e2e_scratch_begin();
    m = private_open(&loop, E2E_MODULE("keep_work"));
    kept = (struct keep_one){ 0 };
    memset(&map, 0, sizeof map);
    memset(maps, 0, sizeof maps);
    for (int i = 0; i < KEEP_ITEMS; i++)
        y[i] = 1.0 / (i + 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    private_gate_open();
    if (m)
        private_close(m, &loop);
    m = NULL;
    assert_false(private_has_copier());
    e2e_scratch_end();
    e2e_holds_as(&before);
    return 0;
}

static mamuto_arg_t all(void) { return mamuto_scatter(y, KEEP_ITEMS); }

static void keep(void) { keep_until(&kept, m, &loop, "f8", all(), 0); }

/* Nothing that was kept is left, and the mapper works. */
static void nothing_is_left(void)
{
    struct keep_one other = { 0 };
    assert_int_equal(keep_extents(m), 0);
    keep_until(&other, m, &loop, "f8", mamuto_broadcast(&one_value), 0);
    keep_good_map(m, &loop, other.handle, &one_value, false);
    assert_int_equal(mamuto_forget(other.handle), 0);
    assert_int_equal(keep_extents(m), 0);
}

/* ---- What is kept ---------------------------------------------------------------------------------------------------- */

static void kept_array_is_as_in_place_in_many_maps(void **state)
{
    (void)state;
    static const char *const functions[] = { "add", "add_chunk" };
    double *array = private_array(sizeof y);
    memcpy(array, y, sizeof y);
    keep_until(&kept, m, &loop, "f8", mamuto_scatter(array, KEEP_ITEMS), 0);
    private_seal(array, sizeof y); /* nobody needs it any more */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(keep_map_begin(&map, m, functions[i % 2], kept.handle), 0);
        private_run_until(&loop, &map.n_done, 1);
        assert_int_equal(map.status, 0);
        keep_map_is_right(&map, y, true);
    }
    assert_int_equal(mamuto_forget(kept.handle), 0);
    private_unseal(array, sizeof y);
    private_free(array, sizeof y);
    nothing_is_left();
}

static void kept_value_is_as_in_place_in_many_maps(void **state)
{
    (void)state;
    double value = 0.25;
    keep_until(&kept, m, &loop, "f8", mamuto_broadcast(&value), 0);
    value = 17; /* it was copied */
    const double expected = 0.25;
    for (int i = 0; i < 20; i++)
        keep_good_map(m, &loop, kept.handle, &expected, false);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    nothing_is_left();
}

static void kept_array_of_no_items_is_legal(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    double nothing;
    keep_until(&kept, m, &loop, "f8", mamuto_scatter(NULL, 0), 0);
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(&nothing, 0), mamuto_resident(kept.handle) },
                           .result = &nothing };
    assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    e2e_is_error(keep_map_begin(&map, m, "add", kept.handle), &map.err, MAMUTO_ELENGTH, "argument 1 has 0");
    assert_int_equal(mamuto_forget(kept.handle), 0);
    nothing_is_left();
}

static void function_that_writes_into_kept_array_is_named(void **state)
{
    (void)state;
    keep();
    assert_int_equal(keep_map_begin(&map, m, "scribble", kept.handle), 0);
    assert_int_equal(mamuto_cancel(map.handle), 0); /* the first crash is enough */
    private_run_until(&loop, &map.n_done, 1);
    assert_true(map.status == MAMUTO_ECANCELED || map.status == MAMUTO_ECRASH);
    keep_good_map(m, &loop, kept.handle, y, true);
    mamuto_forget(kept.handle);
    nothing_is_left();
}

/* ---- Forget ------------------------------------------------------------------------------------------------------------ */

static void is_canceled(struct keep_one *one)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(one->n_kept, 1);
    e2e_is_error(one->status, &one->err, MAMUTO_ECANCELED, "forgotten");
}

static void forgotten_right_after_the_call_is_canceled_once(void **state)
{
    (void)state;
    keep_begin(&kept, m, "f8", all());
    assert_int_equal(mamuto_forget(kept.handle), 0);
    assert_int_equal(mamuto_forget(kept.handle), MAMUTO_EINVAL);
    is_canceled(&kept);
    nothing_is_left();
}

/* It was copied by then, and only on_kept was owed. */
static void forgotten_after_the_copy_is_canceled_once(void **state)
{
    (void)state;
    keep_begin(&kept, m, "f8", mamuto_scatter(NULL, 0));
    assert_int_equal(mamuto_forget(kept.handle), 0);
    is_canceled(&kept);
    nothing_is_left();
}

/* A cancel leaves the copier its piece: the array is in use until on_kept has come. */
static void array_that_is_being_kept_is_not_freed(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    const int64_t all_of_it[] = { 0, KEEP_ITEMS };
    double *array = mamuto_alloc(m, KEEP_ITEMS, sizeof *array, &err);
    int64_t *offsets = mamuto_alloc(m, 2, sizeof *offsets, &err);
    assert_non_null(array);
    assert_non_null(offsets);
    memcpy(array, y, sizeof y);
    memcpy(offsets, all_of_it, sizeof all_of_it);
    private_gate_close("copy_in");
    keep_begin(&kept, m, "f8[*]", mamuto_scatter_var(array, offsets, 1));
    private_gate_reached(&loop);
    assert_int_equal(mamuto_free(m, array), MAMUTO_EINVAL);
    assert_int_equal(mamuto_free(m, offsets), MAMUTO_EINVAL);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    assert_int_equal(mamuto_free(m, array), MAMUTO_EINVAL);
    private_gate_open();
    is_canceled(&kept);
    assert_int_equal(mamuto_free(m, array), 0);
    assert_int_equal(mamuto_free(m, offsets), 0);
    nothing_is_left();
}

static void forgotten_while_copied_is_canceled_once(void **state)
{
    (void)state;
    struct keep_one behind = { 0 };
    const size_t n = 1 << 20;
    double *large = calloc(n, sizeof *large);
    private_gate_close("copy_in");
    keep_begin(&kept, m, "f8", mamuto_scatter(large, n));
    keep_begin(&behind, m, "f8", all());
    private_gate_reached(&loop);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    assert_int_equal(mamuto_forget(behind.handle), 0);
    private_gate_open();
    is_canceled(&kept);
    is_canceled(&behind);
    free(large);
    nothing_is_left();
}

static void forget_itself(struct keep_one *one)
{
    int expected = one->status ? MAMUTO_EINVAL : 0;
    assert_int_equal(mamuto_forget(one->handle), expected);
    assert_ptr_equal(mamuto_kept_data(one->handle), one); /* it is valid until on_kept returns */
}

static void forgotten_in_its_on_kept_is_gone(void **state)
{
    (void)state;
    kept.then = forget_itself;
    keep();
    nothing_is_left();
    keep_begin(&kept, m, "f8", all());
    mamuto_forget(kept.handle);
    is_canceled(&kept); /* and forgotten once more in there */
    nothing_is_left();
}

static struct keep_one *other;

static void forget_the_other(struct keep_one *one)
{
    (void)one;
    assert_int_equal(mamuto_forget(other->handle), 0);
}

static void forgotten_in_on_kept_of_another_is_canceled_or_gone(void **state)
{
    (void)state;
    struct keep_one second = { .then = forget_the_other };
    other = &kept;
    keep();
    keep_until(&second, m, &loop, "f8", all(), 0);
    assert_int_equal(keep_extents(m), 1);
    kept.then = forget_the_other;
    other = &second;
    second.then = NULL;
    private_gate_close("copy_in");
    keep_begin(&second, m, "f8", mamuto_broadcast(&one_value)); /* the handle of before is lost: close frees it */
    keep_begin(&kept, m, "f8", mamuto_scatter(NULL, 0));        /* over before the other is copied */
    private_run_until(&loop, &kept.n_kept, 1);
    private_gate_open();
    is_canceled(&second);
}

static void forget_in_on_done(struct keep_map *one)
{
    (void)one;
    assert_int_equal(mamuto_forget(kept.handle), 0);
}

static void forget_in_on_item_error(struct keep_map *one)
{
    (void)one;
    mamuto_forget(kept.handle); /* the second failure finds it forgotten */
}

static void forgotten_in_on_done_is_gone(void **state)
{
    (void)state;
    keep();
    map.then = forget_in_on_done;
    assert_int_equal(keep_map_begin(&map, m, "add", kept.handle), 0);
    private_run_until(&loop, &map.n_done, 1);
    keep_map_is_right(&map, y, true);
    nothing_is_left();
}

static void forgotten_in_on_item_error_is_there_until_on_done(void **state)
{
    (void)state;
    keep();
    map.on_failed = forget_in_on_item_error;
    assert_int_equal(keep_map_begin(&map, m, "picky", kept.handle), 0);
    private_run_until(&loop, &map.n_done, 1);
    assert_int_equal(map.status, MAMUTO_EITEM);
    keep_map_is_right(&map, y, true);
    nothing_is_left();
}

static int n_loaded;

static void forget_in_on_loaded(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper, (void)err;
    assert_int_equal(status, 0);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    n_loaded++;
}

static void forgotten_in_on_loaded_is_gone(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    n_loaded = 0;
    keep();
    assert_int_equal(mamuto_load(m, E2E_MODULE("basic"), forget_in_on_loaded, &err), 0);
    private_run_until(&loop, &n_loaded, 1);
    assert_int_equal(keep_extents(m), 0);
}

static void forgotten_is_there_until_the_last_map_has_ended(void **state)
{
    (void)state;
    keep();
    for (int i = 0; i < 3; i++)
        assert_int_equal(keep_map_begin(&maps[i], m, "hold", kept.handle), 0);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    assert_int_equal(mamuto_forget(kept.handle), MAMUTO_EINVAL);
    e2e_is_error(keep_map_begin(&map, m, "add", kept.handle), &map.err, MAMUTO_EINVAL, "was forgotten");
    assert_int_equal(mamuto_cancel(maps[1].handle), 0);
    private_run_until(&loop, &maps[1].n_done, 1);
    assert_int_equal(keep_extents(m), 1);
    e2e_touch("go");
    for (int i = 0; i < 3; i++) {
        private_run_until(&loop, &maps[i].n_done, 1);
        assert_int_equal(maps[i].status, i == 1 ? MAMUTO_ECANCELED : 0);
        if (i != 1)
            keep_map_is_right(&maps[i], y, true);
    }
    nothing_is_left();
}

/* More maps than the board has slots: some wait in the mapper, and hold what they name all the same. */
static void forgotten_is_there_for_maps_that_have_not_begun(void **state)
{
    (void)state;
    enum { MOST = 70 };
    struct keep_map *many = calloc(MOST, sizeof *many);
    keep();
    for (int i = 0; i < MOST; i++)
        assert_int_equal(keep_map_begin(&many[i], m, "hold", kept.handle), 0);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    assert_int_equal(mamuto_cancel(many[MOST - 1].handle), 0);
    e2e_touch("go");
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < MOST - 1; i++) {
        assert_int_equal(many[i].status, 0);
        keep_map_is_right(&many[i], y, true);
    }
    assert_int_equal(many[MOST - 1].status, MAMUTO_ECANCELED);
    free(many);
    nothing_is_left();
}

/* ---- Close ------------------------------------------------------------------------------------------------------------- */

static int n_closed;

static void on_close(void *data)
{
    (void)data;
    n_closed++;
    assert_int_equal(kept.n_kept, 1); /* on_kept came before */
}

static void close_now(void)
{
    n_closed = 0;
    assert_int_equal(mamuto_close(m, on_close), 0);
    uv_run(&loop, UV_RUN_NOWAIT); /* it begins to close; that it ends needs more turns, and the gate open */
    private_gate_open();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
    m = NULL;
}

static void close_ends_keeps_in_flight_and_frees_what_is_kept(void **state)
{
    (void)state;
    static const size_t n = 3 << 20;
    double *large = private_array(n);
    struct keep_one old[3] = { { 0 } }, behind = { .then = forget_itself };
    for (int i = 0; i < 3; i++)
        keep_until(&old[i], m, &loop, "f8", all(), 0);
    private_gate_close("copy_in");
    keep_begin(&kept, m, "u1", mamuto_scatter(large, n));
    keep_begin(&behind, m, "f8", all());
    private_gate_reached(&loop);
    close_now();
    private_seal(large, n);
    e2e_is_error(kept.status, &kept.err, MAMUTO_ECANCELED, "closed");
    e2e_is_error(behind.status, &behind.err, MAMUTO_ECANCELED, "closed");
    private_unseal(large, n);
    private_free(large, n);
}

static void close_right_after_keep_and_forget_ends_it(void **state)
{
    (void)state;
    keep_begin(&kept, m, "f8", all());
    assert_int_equal(mamuto_forget(kept.handle), 0);
    close_now();
    assert_int_equal(kept.status, MAMUTO_ECANCELED);
}

static void forgotten_in_on_done_of_close_is_legal(void **state)
{
    (void)state;
    struct keep_one second = { 0 };
    keep();
    keep_until(&second, m, &loop, "f8", all(), 0);
    map.then = forget_in_on_done;
    assert_int_equal(keep_map_begin(&map, m, "hold", kept.handle), 0);
    assert_int_equal(keep_map_begin(&maps[0], m, "hold", second.handle), 0);
    assert_int_equal(mamuto_forget(second.handle), 0);
    close_now();
    assert_int_equal(map.status, MAMUTO_ECANCELED);
    assert_int_equal(maps[0].status, MAMUTO_ECANCELED);
}

static void keep_after_close_is_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = NULL;
    mamuto_keep_t bad = { .type = "f8", .arg = all() };
    keep();
    assert_int_equal(mamuto_close(m, on_close), 0);
    e2e_is_error(mamuto_keep(m, &bad, &handle, &err), &err, MAMUTO_EINVAL, "is being closed");
    assert_null(handle);
    assert_int_equal(mamuto_forget(kept.handle), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    m = NULL;
}

/* ---- Deaths -------------------------------------------------------------------------------------------------------------- */

static void kept_array_survives_deaths_of_workers(void **state)
{
    (void)state;
    keep();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(keep_map_begin(&map, m, "picky", kept.handle), 0);
        private_run_until(&loop, &map.n_done, 1);
        assert_int_equal(map.status, MAMUTO_EITEM);
        keep_map_is_right(&map, y, true);
    }
    keep_good_map(m, &loop, kept.handle, y, true);
}

static void kept_array_survives_death_of_all_processes(void **state)
{
    (void)state;
    keep();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(keep_map_begin(&map, m, "hold", kept.handle), 0);
        assert_int_equal(kill(e2e_server(), SIGKILL), 0);
        e2e_touch("go");
        private_run_until(&loop, &map.n_done, 1);
        assert_int_equal(map.status, 0);
        keep_map_is_right(&map, y, true);
    }
    keep_good_map(m, &loop, kept.handle, y, true);
}

static void keep_survives_death_of_all_processes_while_copied(void **state)
{
    (void)state;
    private_gate_close("copy_in");
    keep_begin(&kept, m, "f8", all());
    private_gate_reached(&loop);
    assert_int_equal(kill(e2e_server(), SIGKILL), 0);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    private_gate_open();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(kept.status, 0);
    keep_good_map(m, &loop, kept.handle, y, true);
}

static pid_t last_server;

static bool has_new_server(void *unused)
{
    (void)unused;
    uv_run(&loop, UV_RUN_NOWAIT);
    pid_t server = e2e_server();
    return server && server != last_server;
}

/* The fourth time in a row, the host is given up. */
static void keep_ends_when_processes_die_again_and_again(void **state)
{
    (void)state;
    struct keep_one old = { 0 };
    const size_t n = 64 << 20;
    char *large = calloc(n, 1);
    keep_until(&old, m, &loop, "f8", all(), 0);
    private_gate_close("copy_in");
    keep_begin(&kept, m, "u1", mamuto_scatter(large, n));
    private_gate_reached(&loop);
    for (int i = 0; i < 4; i++) {
        assert_true(e2e_until(has_new_server, NULL, E2E_PATIENCE_MS));
        last_server = e2e_server();
        if (i == 3)
            private_gate_open();
        assert_int_equal(kill(last_server, SIGKILL), 0);
    }
    private_run_until(&loop, &kept.n_kept, 1);
    assert_true(kept.status == MAMUTO_EHOST || kept.status == 0);
    assert_int_equal(mamuto_forget(old.handle), 0);
    free(large);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kept_array_is_as_in_place_in_many_maps),
        TEST(kept_value_is_as_in_place_in_many_maps),
        TEST(kept_array_of_no_items_is_legal),
        TEST(function_that_writes_into_kept_array_is_named),
        TEST(forgotten_right_after_the_call_is_canceled_once),
        TEST(forgotten_after_the_copy_is_canceled_once),
        TEST(array_that_is_being_kept_is_not_freed),
        TEST(forgotten_while_copied_is_canceled_once),
        TEST(forgotten_in_its_on_kept_is_gone),
        TEST(forgotten_in_on_kept_of_another_is_canceled_or_gone),
        TEST(forgotten_in_on_done_is_gone),
        TEST(forgotten_in_on_item_error_is_there_until_on_done),
        TEST(forgotten_in_on_loaded_is_gone),
        TEST(forgotten_is_there_until_the_last_map_has_ended),
        TEST(forgotten_is_there_for_maps_that_have_not_begun),
        TEST(close_ends_keeps_in_flight_and_frees_what_is_kept),
        TEST(close_right_after_keep_and_forget_ends_it),
        TEST(forgotten_in_on_done_of_close_is_legal),
        TEST(keep_after_close_is_refused),
        TEST(kept_array_survives_deaths_of_workers),
        TEST(kept_array_survives_death_of_all_processes),
        TEST(keep_survives_death_of_all_processes_while_copied),
        TEST(keep_ends_when_processes_die_again_and_again),
    };
    uv_loop_init(&loop); /* the first one opens what libuv keeps */
    uv_loop_close(&loop);
    return cmocka_run_group_tests_name("e2e_keep", tests, NULL, NULL);
}
