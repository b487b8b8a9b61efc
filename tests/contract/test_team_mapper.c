/* Mappers of several hosts, through the public calls: this machine's node is a real one, the others are fakes in this
 * process, which this program puts into the table of kinds. A host is known by its label: those of fake_settings misbehave.
 * The seed of the fakes is printed; MAMUTO_SEED replays it. */
#include "core/mapper.h"
#include "tests/contract/fake.h"
#include "tests/support/e2e.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

const struct mm_node_ops *const mm_node_kinds[MM_N_KINDS] = { &mm_node_shm, &fake_node };

enum { N = 20000, FEW = 2000, PATIENCE_MS = 20000 };

#define HERE "\"localhost\": {\"cores\": 2}"
#define A "\"a\": {\"cores\": 2}"
#define B "\"b\": {\"cores\": 2}"
#define HOSTS(list_) "{\"hosts\": {" list_ "}}"

static double x[N], y[N];
static uint64_t seed;

static struct {
    int joined, lost;
    char last_lost[512];
    int lines[3]; /* of this machine, of a, of b */
} seen;

static void on_host(mamuto_t *m, const mamuto_host_t *host)
{
    (void)m;
    seen.joined += strcmp(host->state, "up") == 0;
    if (strcmp(host->state, "lost") != 0)
        return;
    seen.lost++;
    snprintf(seen.last_lost, sizeof seen.last_lost, "%s: %s", host->name, host->reason ? host->reason : "");
}

static void on_output(mamuto_t *m, const char *host, int worker, int fd, const char *line, size_t n)
{
    (void)m, (void)worker, (void)fd, (void)line, (void)n;
    seen.lines[strcmp(host, "a") == 0 ? 1 : strcmp(host, "b") == 0 ? 2 : 0]++;
}

static int set_up(void **state)
{
    (void)state;
    fake_settings = (struct fake_settings){ .functions = fake_functions, .seed = seed };
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = -1;
    }
    return 0;
}

static int try_open(mamuto_t **m, const char *config, mamuto_error_t *err)
{
    mamuto_options_t options = { .config_text = config,
                                 .modules = (const char *[]){ E2E_MODULE("functions"), NULL },
                                 .on_host = on_host };
    return mamuto_open_wait(m, &options, err);
}

static mamuto_t *open_with(const char *config)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    if (try_open(&m, config, &err))
        fail_msg("%s", err.text);
    return m;
}

static void expect(const char *function, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double right = 2 * x[i];
        if (strcmp(function, "mixed") == 0 && i % 7 == 3)
            right = 0;
        if (y[i] != right)
            fail_msg("item %zu is %g, not %g", i, y[i], right);
        y[i] = -1;
    }
}

static void map_right(mamuto_t *m, const char *function, size_t n)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function, .args = { mamuto_scatter(x, n) }, .result = y };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    expect(function, n);
}

static mamuto_host_t host_called(mamuto_t *m, const char *label)
{
    mamuto_host_t all[4] = { 0 };
    size_t n = mamuto_hosts(m, all, 4);
    for (size_t i = 0; i < n && i < 4; i++)
        if (strcmp(all[i].name, label) == 0)
            return all[i];
    fail_msg("there is no host %s", label);
    return all[0];
}

static uint64_t all_items(mamuto_t *m)
{
    mamuto_host_t all[4] = { 0 };
    size_t n = mamuto_hosts(m, all, 4);
    uint64_t sum = 0;
    for (size_t i = 0; i < n && i < 4; i++)
        sum += all[i].items;
    return sum;
}

/* Lets the loop turn until a host is in this state. */
static void wait_for(mamuto_t *m, const char *label, const char *state)
{
    for (int i = 0; i < PATIENCE_MS; i++) {
        if (strcmp(host_called(m, label).state, state) == 0)
            return;
        mamuto_dispatch(m);
        e2e_nap();
    }
    fail_msg("%s is not %s", label, state);
}

/* ---- Hosts and shares ------------------------------------------------------------------------------------------------- */

static void team_lists_its_hosts_and_says_when_they_join(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A ", " HERE ", " B));
    mamuto_host_t all[3];
    assert_int_equal(mamuto_hosts(m, all, 3), 3);
    assert_string_equal(all[0].name, "a");
    assert_string_equal(all[1].name, "localhost");
    assert_string_equal(all[2].name, "b");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(all[i].state, "up");
        assert_null(all[i].reason);
        assert_int_equal(all[i].cores, 2);
    }
    assert_int_equal(seen.joined, 3);
    e2e_close(m);
}

static void team_shares_a_map_among_its_hosts(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(HERE ", " A ", " B));
    map_right(m, "naps", FEW);
    assert_true(host_called(m, "a").items > 0);
    assert_true(host_called(m, "b").items > 0);
    assert_true(host_called(m, "localhost").items > 0);
    assert_int_equal(all_items(m), FEW);
    assert_true(fake_calls_ended(fake_find("a")) == 1);
    map_right(m, "twice", N);
    map_right(m, "twice", 1);
    assert_int_equal(all_items(m), FEW + N + 1);
    e2e_close(m);
}

/* This machine is not of them: it runs none of the items, and is not listed. */
static void team_of_others_runs_no_item_here(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A ", " B));
    mamuto_host_t all[3];
    assert_int_equal(mamuto_hosts(m, all, 3), 2);
    map_right(m, "twice", N);
    assert_int_equal(all_items(m), N);
    assert_int_equal(fake_items(fake_find("a")) + fake_items(fake_find("b")), N);
    double *place = mamuto_alloc(m, N, sizeof *place, NULL);
    assert_non_null(place);
    assert_int_equal(mamuto_free(m, place), 0);
    e2e_close(m);
}

static void team_says_whose_output_it_is(void **state)
{
    (void)state;
    mamuto_t *m = NULL;
    mamuto_options_t options = { .config_text = HOSTS(A ", " B),
                                 .modules = (const char *[]){ E2E_MODULE("functions"), NULL },
                                 .on_output = on_output };
    assert_int_equal(mamuto_open_wait(&m, &options, NULL), 0);
    map_right(m, "prints", 300);
    assert_int_equal(seen.lines[1] + seen.lines[2], 300);
    assert_true(seen.lines[1] > 0 && seen.lines[2] > 0);
    e2e_close(m);
}

/* ---- What is told of a map --------------------------------------------------------------------------------------------- */

static struct {
    bool told[N];
    uint64_t items, others;
    double last;
} landed;

static void on_spans(mamuto_map_t *map, const mamuto_span_t *spans, size_t n)
{
    (void)map;
    for (size_t i = 0; i < n; i++) {
        assert_true(spans[i].first + spans[i].count <= N);
        assert_true(spans[i].start_ns <= spans[i].end_ns);
        for (uint64_t k = spans[i].first; k < spans[i].first + spans[i].count; k++) {
            if (landed.told[k])
                fail_msg("item %d is told twice", (int)k);
            landed.told[k] = true;
        }
        landed.items += spans[i].count;
        landed.others += strcmp(spans[i].host, "localhost") == 0 ? 0 : spans[i].count;
    }
}

static void on_progress(mamuto_map_t *map, const mamuto_progress_t *progress)
{
    (void)map;
    assert_true(progress->done <= progress->total && progress->failed <= progress->done);
    assert_true((double)progress->done >= landed.last);
    landed.last = (double)progress->done;
}

static void team_tells_what_has_landed_once_and_where(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(HERE ", " A));
    mamuto_error_t err = { 0 };
    memset(&landed, 0, sizeof landed);
    mamuto_call_t call = { .function = "naps",
                           .args = { mamuto_scatter(x, FEW) },
                           .result = y,
                           .on_spans = on_spans,
                           .on_progress = on_progress };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    expect("naps", FEW);
    assert_int_equal(landed.items, FEW);
    assert_int_equal(landed.others, host_called(m, "a").items);
    assert_true(landed.others > 0);
    e2e_close(m);
}

static struct {
    uint64_t n, last, others;
} errors;

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map;
    assert_true(errors.n == 0 || err->item > errors.last);
    assert_int_equal(err->item % 7, 3);
    errors.n++;
    errors.last = err->item;
    errors.others += strcmp(err->host, "localhost") != 0;
}

static void team_reports_failed_items_in_order(void **state)
{
    static const char *const configs[] = { HOSTS(A ", " B), HOSTS(HERE ", " A) };
    (void)state;
    for (int i = 0; i < 2; i++) {
        mamuto_t *m = open_with(configs[i]);
        mamuto_error_t err = { 0 };
        memset(&errors, 0, sizeof errors);
        mamuto_call_t call = { .function = "mixed",
                               .args = { mamuto_scatter(x, FEW) },
                               .result = y,
                               .on_error = MAMUTO_ON_ERROR_SKIP,
                               .on_item_error = on_item_error };
        int code = mamuto_map_wait(m, &call, &err);
        e2e_is_error(code, &err, MAMUTO_EITEM, "286 of 2000 items failed; the first: item 3 failed");
        assert_int_equal(errors.n, 286);
        assert_true(i || errors.others == 286);
        expect("mixed", FEW);
        e2e_close(m);
    }
}

static void team_ends_at_a_failed_item_where_it_is_to(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A ", " HERE ", " B));
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "hopeless", .args = { mamuto_scatter(x, N) }, .result = y };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "failed with code 7");
    set_up(NULL);
    map_right(m, "twice", N);
    e2e_close(m);
}

/* ---- Reductions -------------------------------------------------------------------------------------------------------- */

static double reduced(mamuto_t *m, const char *function, int on_error, int expected)
{
    double value = -1;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = function, .fold = "plus", .args = { mamuto_scatter(x, N) }, .value = &value, .on_error = on_error
    };
    int code = mamuto_reduce_wait(m, &call, &err);
    if (code != expected)
        fail_msg("%d: %s", code, err.text);
    return value;
}

static void team_folds_to_the_same_bits(void **state)
{
    static const char *const configs[] = { HOSTS(HERE), HOSTS(HERE ", " A), HOSTS(A ", " B) };
    double right[3] = { 0 };
    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = 1.0 / (i + 1);
    for (int i = 0; i < 3; i++) {
        mamuto_t *m = open_with(configs[i]);
        double values[] = { reduced(m, "twice", 0, 0), reduced(m, NULL, 0, 0), reduced(m, "indexed", 0, 0) };
        for (int k = 0; k < 3; k++) {
            right[k] = i ? right[k] : values[k];
            assert_memory_equal(&values[k], &right[k], sizeof right[k]);
        }
        e2e_close(m);
    }
}

static void team_leaves_failed_items_out_of_a_fold(void **state)
{
    static const char *const configs[] = { HOSTS(HERE), HOSTS(HERE ", " A), HOSTS(A ", " B) };
    double right = 0;
    (void)state;
    for (int i = 0; i < 3; i++) {
        mamuto_t *m = open_with(configs[i]);
        double value = reduced(m, "mixed", MAMUTO_ON_ERROR_SKIP, MAMUTO_EITEM);
        right = i ? right : value;
        assert_true(right > 0 && value == right);
        reduced(m, "mixed", MAMUTO_ON_ERROR_FAIL, MAMUTO_EITEM);
        e2e_close(m);
    }
}

/* ---- Kept data ----------------------------------------------------------------------------------------------------------- */

static void team_keeps_data_on_every_host(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A ", " B));
    mamuto_kept_t *kept = NULL;
    mamuto_error_t err = { 0 };
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    if (mamuto_keep_wait(m, &keep, &kept, &err))
        fail_msg("%s", err.text);
    assert_int_equal(fake_kept(fake_find("a")), 1);
    assert_int_equal(fake_kept(fake_find("b")), 1);
    mamuto_call_t call = { .function = "twice", .args = { mamuto_resident(kept) }, .result = y };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    expect("twice", N);
    assert_int_equal(mamuto_forget(kept), 0);
    assert_int_equal(fake_kept(fake_find("a")), 0);
    e2e_close(m);
}

/* A host without room for it is left out of the maps that use it. */
static void team_maps_kept_data_where_there_was_room(void **state)
{
    (void)state;
    fake_settings.full = "a";
    mamuto_t *m = open_with(HOSTS(A ", " B));
    mamuto_kept_t *kept = NULL;
    mamuto_error_t err = { 0 };
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    if (mamuto_keep_wait(m, &keep, &kept, &err))
        fail_msg("%s", err.text);
    mamuto_call_t call = { .function = "twice", .args = { mamuto_resident(kept) }, .result = y };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    expect("twice", N);
    assert_int_equal(host_called(m, "a").items, 0);
    assert_int_equal(host_called(m, "b").items, N);
    e2e_close(m);
}

static void team_keeps_nothing_that_a_required_host_cannot(void **state)
{
    (void)state;
    fake_settings.full = "a";
    mamuto_t *m = open_with(HOSTS("\"a\": {\"required\": true}, " B));
    mamuto_kept_t *kept = NULL;
    mamuto_error_t err = { 0 };
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    e2e_is_error(mamuto_keep_wait(m, &keep, &kept, &err), &err, MAMUTO_ENOMEM, "a, which is required: there is no");
    assert_int_equal(fake_kept(fake_find("b")), 0);
    map_right(m, "twice", N);
    e2e_close(m);
}

/* ---- Hosts that go, come, and hang ------------------------------------------------------------------------------------------ */

struct disturbed {
    void (*what)(struct mm_node *node);
    const char *label;
    uint64_t after; /* items of that host */
    bool done;
};
static struct disturbed disturbed;

static void disturb(mamuto_map_t *map, const mamuto_span_t *spans, size_t n)
{
    (void)map, (void)spans, (void)n;
    struct mm_node *node = fake_find(disturbed.label);
    if (disturbed.done || fake_items(node) < disturbed.after)
        return;
    disturbed.done = true;
    disturbed.what(node);
}

static int map_disturbed(mamuto_t *m, const char *function, size_t n, bool once, mamuto_error_t *err)
{
    mamuto_call_t call = { .function = function,
                           .args = { mamuto_scatter(x, n) },
                           .result = y,
                           .once = once,
                           .on_error = once ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL,
                           .on_spans = disturb };
    int code = mamuto_map_wait(m, &call, err);
    assert_true(disturbed.done);
    return code;
}

static void team_settles_what_a_lost_host_leaves(void **state)
{
    static void (*const ways[])(struct mm_node *) = { fake_lose, fake_lose_for_a_while };
    (void)state;
    for (int i = 0; i < 4; i++) {
        mamuto_t *m = open_with(i % 2 ? HOSTS(HERE ", " A) : HOSTS(A ", " B));
        mamuto_error_t err = { 0 };
        disturbed = (struct disturbed){ ways[i / 2], "a", 50, false };
        if (map_disturbed(m, "naps", i % 2 ? FEW : N, false, &err))
            fail_msg("%s", err.text);
        expect("naps", i % 2 ? FEW : N);
        wait_for(m, "a", "lost");
        assert_true(seen.lost > 0);
        map_right(m, "twice", N);
        if (i / 2) {
            fake_come_back(fake_find("a"));
            wait_for(m, "a", "up");
            uint64_t before = host_called(m, "a").items;
            map_right(m, "naps", FEW);
            assert_true(host_called(m, "a").items > before);
        }
        e2e_close(m);
    }
}

/* No item runs twice: what the lost host had may have run. */
static void team_runs_no_item_twice_with_once(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A ", " B));
    mamuto_error_t err = { 0 };
    disturbed = (struct disturbed){ fake_lose, "a", 50, false };
    x[0] = 1; /* so that none is 0 */
    int code = map_disturbed(m, "twice", N, true, &err);
    size_t lost = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(y[i] == 2 * x[i] || y[i] == 0);
        lost += y[i] == 0;
    }
    if (lost)
        e2e_is_error(code, &err, MAMUTO_EITEM, "may have run, and is not run again (once)");
    else
        assert_int_equal(code, 0);
    e2e_close(m);
}

static void team_copies_what_a_stuck_host_has(void **state)
{
    (void)state;
    fake_settings.stuck = "a";
    for (int i = 0; i < 2; i++) {
        mamuto_t *m = open_with(i ? HOSTS(HERE ", " A) : HOSTS(A ", " B));
        map_right(m, "naps", i ? FEW : N);
        assert_int_equal(host_called(m, "a").items, 0);
        e2e_close(m);
    }
}

static void team_fails_when_no_host_is_left(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A));
    mamuto_error_t err = { 0 };
    disturbed = (struct disturbed){ fake_lose_for_a_while, "a", 50, false };
    e2e_is_error(map_disturbed(m, "naps", N, false, &err), &err, MAMUTO_ENOHOST, "a: the host was lost for a while");
    mamuto_call_t call = { .function = "twice", .args = { mamuto_scatter(x, N) }, .result = y };
    err.code = 0;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_ENOHOST, "a: the host was lost for a while");
    fake_come_back(fake_find("a"));
    wait_for(m, "a", "up");
    map_right(m, "twice", N);
    e2e_close(m);
}

/* ---- Opening ------------------------------------------------------------------------------------------------------------ */

static void team_opens_without_a_host_that_is_down(void **state)
{
    (void)state;
    fake_settings.down = "a";
    mamuto_t *m = open_with(HOSTS(A ", " B));
    assert_string_equal(host_called(m, "a").state, "lost");
    assert_non_null(strstr(host_called(m, "a").reason, "nobody listens there"));
    assert_int_equal(seen.joined, 1);
    assert_int_equal(seen.lost, 1);
    map_right(m, "twice", N);
    e2e_close(m);
}

/* It gets the modules and the kept data that the others have. */
static void team_takes_a_host_that_comes_late(void **state)
{
    (void)state;
    fake_settings.down = "a";
    mamuto_t *m = open_with(HOSTS(A ", " B));
    mamuto_kept_t *kept = NULL;
    mamuto_error_t err = { 0 };
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    if (mamuto_keep_wait(m, &keep, &kept, &err))
        fail_msg("%s", err.text);
    fake_settings.down = NULL;
    fake_come_back(fake_find("a"));
    wait_for(m, "a", "up");
    for (int i = 0; i < PATIENCE_MS && !fake_kept(fake_find("a")); i++) {
        mamuto_dispatch(m);
        e2e_nap();
    }
    for (int i = 0; i < 100 && host_called(m, "a").items == 0; i++) {
        mamuto_call_t call = { .function = "twice", .args = { mamuto_resident(kept) }, .result = y };
        if (mamuto_map_wait(m, &call, &err))
            fail_msg("%s", err.text);
        expect("twice", N);
    }
    assert_true(host_called(m, "a").items > 0);
    e2e_close(m);
}

static void team_does_not_open_without_any_host(void **state)
{
    (void)state;
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    fake_settings.down = "a";
    e2e_is_error(try_open(&m, HOSTS(A), &err), &err, MAMUTO_ENOHOST, "no host is left: a: nobody listens there");
    err.code = 0;
    e2e_is_error(try_open(&m, HOSTS("\"a\": {\"required\": true}, " B), &err), &err, MAMUTO_EHOST,
                 "a, which is required: nobody listens there");
}

static void team_loses_a_host_with_other_functions(void **state)
{
    (void)state;
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    fake_settings.other = "a";
    m = open_with(HOSTS(A ", " B));
    wait_for(m, "a", "lost");
    assert_non_null(strstr(seen.last_lost, "a: module "));
    assert_non_null(
        strstr(seen.last_lost, "is another one there: it has indexed \"f8 -> f8\", where this machine's has twice"));
    map_right(m, "twice", N);
    assert_int_equal(host_called(m, "b").items, N);
    e2e_close(m);
    m = NULL;
    e2e_is_error(try_open(&m, HOSTS("\"a\": {\"required\": true}, " B), &err), &err, MAMUTO_EMODULE,
                 "a, which is required: module ");
    assert_string_equal(err.host, "a");
}

static void team_loses_a_host_that_cannot_load(void **state)
{
    (void)state;
    fake_settings.bare = "a";
    mamuto_t *m = open_with(HOSTS(A ", " B));
    wait_for(m, "a", "lost");
    map_right(m, "twice", N);
    e2e_close(m);
}

/* What this machine cannot load either is held against nobody. */
static void team_keeps_its_hosts_when_there_is_no_such_module(void **state)
{
    (void)state;
    mamuto_t *m = open_with(HOSTS(A ", " B));
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_load_wait(m, "/nonexistent/none.c", &err), &err, MAMUTO_EMODULE, "none.c");
    map_right(m, "twice", N);
    assert_string_equal(host_called(m, "a").state, "up");
    assert_string_equal(host_called(m, "b").state, "up");
    e2e_close(m);
}

#define TEST(name_) cmocka_unit_test_setup(name_, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(team_lists_its_hosts_and_says_when_they_join),
        TEST(team_shares_a_map_among_its_hosts),
        TEST(team_of_others_runs_no_item_here),
        TEST(team_says_whose_output_it_is),
        TEST(team_tells_what_has_landed_once_and_where),
        TEST(team_reports_failed_items_in_order),
        TEST(team_ends_at_a_failed_item_where_it_is_to),
        TEST(team_folds_to_the_same_bits),
        TEST(team_leaves_failed_items_out_of_a_fold),
        TEST(team_keeps_data_on_every_host),
        TEST(team_maps_kept_data_where_there_was_room),
        TEST(team_keeps_nothing_that_a_required_host_cannot),
        TEST(team_settles_what_a_lost_host_leaves),
        TEST(team_runs_no_item_twice_with_once),
        TEST(team_copies_what_a_stuck_host_has),
        TEST(team_fails_when_no_host_is_left),
        TEST(team_opens_without_a_host_that_is_down),
        TEST(team_takes_a_host_that_comes_late),
        TEST(team_does_not_open_without_any_host),
        TEST(team_loses_a_host_with_other_functions),
        TEST(team_loses_a_host_that_cannot_load),
        TEST(team_keeps_its_hosts_when_there_is_no_such_module),
    };
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}
