/* What the tests of kept arrays share. */
#include "tests/support/keep.h"

#include "shm/node_shm.h"
#include "tests/support/private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void on_kept(mamuto_kept_t *kept, int status, const mamuto_error_t *err)
{
    struct keep_one *one = mamuto_kept_data(kept);
    assert_ptr_equal(one->handle, kept);
    assert_true((status == 0) == (err == NULL));
    one->n_kept++;
    one->status = status;
    if (err)
        one->err = *err;
    if (one->then)
        one->then(one);
}

void keep_begin(struct keep_one *one, mamuto_t *m, const char *type, mamuto_arg_t arg)
{
    mamuto_error_t err = { 0 };
    mamuto_keep_t keep = { .type = type, .arg = arg, .data = one, .on_kept = on_kept };
    one->n_kept = one->status = one->err.code = 0;
    if (mamuto_keep(m, &keep, &one->handle, &err) != 0)
        fail_msg("mamuto_keep: %s", err.text);
    assert_non_null(one->handle);
    assert_int_equal(one->n_kept, 0); /* never from inside the call */
}

void keep_until(struct keep_one *one, mamuto_t *m, uv_loop_t *loop, const char *type, mamuto_arg_t arg, int status)
{
    keep_begin(one, m, type, arg);
    uv_run(loop, UV_RUN_DEFAULT); /* which a keep in flight keeps going */
    assert_int_equal(one->n_kept, 1);
    if (one->status != status)
        fail_msg("status %d, expected %d: %s", one->status, status, one->err.text);
}

static void on_done(mamuto_map_t *handle, int status, const mamuto_error_t *err)
{
    struct keep_map *map = mamuto_map_data(handle);
    map->n_done++;
    map->status = status;
    if (err)
        map->err = *err;
    if (map->then)
        map->then(map);
}

static void on_item_error(mamuto_map_t *handle, const mamuto_error_t *err)
{
    struct keep_map *map = mamuto_map_data(handle);
    (void)err;
    if (map->on_failed)
        map->on_failed(map);
}

int keep_map_begin(struct keep_map *map, mamuto_t *m, const char *function, const mamuto_kept_t *kept)
{
    map->n_done = map->status = map->err.code = 0;
    for (int i = 0; i < KEEP_ITEMS; i++) {
        map->x[i] = i;
        map->out[i] = -1;
    }
    mamuto_call_t call = { .function = function,
                           .args = { mamuto_scatter(map->x, KEEP_ITEMS), mamuto_resident(kept) },
                           .result = map->out,
                           .on_error = MAMUTO_ON_ERROR_SKIP,
                           .data = map,
                           .on_done = on_done,
                           .on_item_error = on_item_error };
    return mamuto_map(m, &call, &map->handle, &map->err);
}

void keep_map_is_right(const struct keep_map *map, const double *y, bool scattered)
{
    for (int i = 0; i < KEEP_ITEMS; i++) {
        double expected = i + y[scattered ? i : 0];
        bool failed = map->status && (i == 100 || i == 101) && map->out[i] == 0;
        if (map->out[i] != expected && !failed)
            fail_msg("item %d is %g, expected %g", i, map->out[i], expected);
    }
}

void keep_good_map(mamuto_t *m, uv_loop_t *loop, const mamuto_kept_t *kept, const double *y, bool scattered)
{
    static struct keep_map map;
    if (keep_map_begin(&map, m, "add", kept) != 0)
        fail_msg("a good map: %s", map.err.text);
    private_run_until(loop, &map.n_done, 1);
    assert_int_equal(map.status, 0);
    keep_map_is_right(&map, y, scattered);
}

int keep_extents(const mamuto_t *m)
{
    const struct mm_arena *arena = &keep_node(m)->pool.arena;
    int n = 0;
    for (size_t i = 0; i < arena->n_extents; i++)
        n += arena->extents[i].state == MM_EXTENT_USED;
    return n;
}
