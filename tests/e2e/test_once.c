/* once: items with effects of their own. Each run is counted in a file; whatever is killed, no item runs twice, and each is
 * stored, or has failed: by itself, or as one that may have run. $MAMUTO_SEED replays the choices of an earlier run. */
#include "tests/e2e/modules/once.h"
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 3000, WORKERS = 3, ROUNDS = 12 };

static mamuto_t *m;
static uint32_t in[N];
static uint64_t out[N];
static volatile unsigned char *counts;
static int codes[N]; /* of items that failed */
static char texts[N][200];
static unsigned n_failed;
static uint64_t seed, state_of_random;

static uint64_t below(uint64_t n)
{
    state_of_random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = state_of_random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    int fd = open(e2e_path("counts"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, N) == 0);
    void *p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(p != MAP_FAILED);
    counts = p;
    m = e2e_open(WORKERS, E2E_MODULE("once"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_close(m);
    munmap((void *)(uintptr_t)counts, N);
    e2e_scratch_end();
    return 0;
}

static void work(uint32_t ns)
{
    for (int i = 0; i < N; i++)
        in[i] = ns << ONCE_ACT_BITS;
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map;
    assert_true(err->item < N);
    assert_int_equal(codes[err->item], 0);
    codes[err->item] = err->code;
    snprintf(texts[err->item], sizeof texts[0], "%.199s", err->text);
    n_failed++;
}

static int run(mamuto_call_t *call, mamuto_error_t *err)
{
    memset((void *)(uintptr_t)counts, 0, N);
    memset(codes, 0, sizeof codes);
    n_failed = 0;
    for (int i = 0; i < N; i++)
        out[i] = 12345;
    if (!call->args[0].kind)
        call->args[0] = mamuto_scatter(in, N);
    if (!call->result)
        call->result = out;
    call->once = 1;
    call->retries = 5; /* of no effect */
    call->on_item_error = on_item_error;
    return mamuto_map_wait(m, call, err);
}

/* Every item is stored and has run once, or has failed, is zero, and has not run twice. */
static void expect_once(const uint64_t *results)
{
    for (int i = 0; i < N; i++) {
        if (counts[i] > 1)
            fail_msg("item %d ran %d times; MAMUTO_SEED=%" PRIu64, i, counts[i], seed);
        if (!codes[i] && (counts[i] != 1 || results[i] != 3 * (uint64_t)i + 1))
            fail_msg("item %d has not failed, ran %d times and is %" PRIu64 "; MAMUTO_SEED=%" PRIu64, i, counts[i],
                     results[i], seed);
        if (codes[i] && results[i])
            fail_msg("item %d has failed and is %" PRIu64, i, results[i]);
        if (codes[i] == MAMUTO_ECRASH && !strstr(texts[i], "may have run"))
            fail_msg("item %d: %s", i, texts[i]);
    }
}

/* ---- Failures ----------------------------------------------------------------------------------------------------- */

static void failed_items_are_named_and_not_run_again(void **state)
{
    (void)state;
    static const char *const functions[] = { "once.item", "once.chunk" };
    for (int round = 0; round < 4; round++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = functions[round % 2], .on_error = MAMUTO_ON_ERROR_SKIP, .help = round >= 2 };
        work(round ? 300 : 0);
        for (int i = 5; i < N; i += 100)
            in[i] |= ONCE_FAIL;
        if (round % 2 == 0)
            in[17] |= ONCE_RETURN;
        e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "items failed");
        expect_once(out);
        assert_int_equal(n_failed, 30 + (round % 2 == 0));
        assert_non_null(strstr(texts[105], "told to fail"));
        for (int i = 0; i < N; i++)
            assert_int_equal(codes[i], i % 100 == 5 || (round % 2 == 0 && i == 17) ? MAMUTO_EITEM : 0);
    }
}

static void kernel_that_returns_a_code_fails_its_call(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "once.chunk", .on_error = MAMUTO_ON_ERROR_SKIP };
    work(200);
    in[1000] |= ONCE_RETURN;
    e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "items failed");
    expect_once(out);
    assert_int_equal(codes[1000], MAMUTO_EITEM);
    assert_true(n_failed >= 1 && n_failed < 1000);
    for (int i = 0; i < N; i++)
        assert_int_equal(counts[i], 1);
}

static void first_failure_ends_the_map(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "once.item" };
    work(5000);
    in[100] |= ONCE_FAIL;
    e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "item 100 failed with code 7: told to fail");
    for (int i = 0; i < N; i++)
        assert_true(counts[i] <= 1);
}

static void more_failures_than_are_listed_are_counted(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "once.item", .on_error = MAMUTO_ON_ERROR_SKIP };
    work(0);
    for (int i = 0; i < N; i += 2)
        in[i] |= ONCE_FAIL;
    e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "1500 of 3000 items failed");
    assert_int_equal(n_failed, 1000);
    for (int i = 0; i < N; i++) {
        assert_int_equal(counts[i], 1);
        assert_true(out[i] == (i % 2 ? 3 * (uint64_t)i + 1 : 0));
    }
}

/* Private bytes come in pieces: a block of many items takes several calls, and failures of all of them count. */
static void failures_of_all_pieces_of_a_block_are_counted(void **state)
{
    (void)state;
    enum { LONG = 1 << 16, PART = N / WORKERS, LONG_ONES = 100 }; /* at the end of each worker's part */
    static int64_t offsets[N + 1];
    char *bytes = calloc(WORKERS * LONG_ONES, LONG);
    assert_non_null(bytes);
    work(0);
    for (int i = 0; i < N; i++) {
        offsets[i + 1] = offsets[i] + (i % PART >= PART - LONG_ONES ? LONG : 0);
        in[i] |= i % 4 == 1 ? ONCE_FAIL : 0;
    }
    for (int round = 0; round < 4; round++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = "once.text",
                               .args = { mamuto_scatter(in, N), mamuto_scatter_var(bytes, offsets, N) },
                               .on_error = MAMUTO_ON_ERROR_SKIP };
        e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "750 of 3000 items failed");
        assert_int_equal(n_failed, 750);
        expect_once(out);
    }
    free(bytes);
}

/* ---- Deaths ------------------------------------------------------------------------------------------------------- */

static void crash_loses_its_block_alone(void **state)
{
    (void)state;
    static const int acts[] = { ONCE_CRASH, ONCE_EXIT };
    for (int round = 0; round < 4; round++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = round < 2 ? "once.item" : "once.chunk", .on_error = MAMUTO_ON_ERROR_SKIP };
        work(round % 2 ? 30000 : 200); /* 30 µs: a block of one item */
        in[700] |= (uint32_t)acts[round % 2];
        in[2100] |= ONCE_CRASH;
        e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "may have run");
        expect_once(out);
        assert_int_equal(codes[700], MAMUTO_ECRASH);
        assert_int_equal(codes[2100], MAMUTO_ECRASH);
        assert_int_equal(counts[700], 1);
        if (round % 2 && round < 2) /* by now it is known what an item costs */
            assert_int_equal(n_failed, 2);
        assert_true(n_failed >= 2 && n_failed < 200);
    }
}

static void crash_ends_a_map_that_does_not_skip(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "once.item" };
    work(5000);
    in[3] |= ONCE_CRASH;
    int code = run(&call, &err);
    e2e_is_error(code, &err, MAMUTO_ECRASH, "item 3 may have run, and is not run again (once): worker");
    assert_int_equal(err.signal, SIGABRT);
}

static void item_that_hangs_times_out_and_is_not_run_again(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "once.item", .on_error = MAMUTO_ON_ERROR_SKIP, .item_timeout_ms = 500 };
    work(5000);
    in[1234] |= ONCE_HANG;
    e2e_is_error(run(&call, &err), &err, MAMUTO_EITEM, "may have run");
    expect_once(out);
    assert_int_equal(codes[1234], MAMUTO_ETIMEOUT);
    assert_int_equal(counts[1234], 1);
}

static struct {
    pthread_t thread;
    bool servers; /* now and then the fork server */
    unsigned kills;
    _Atomic bool over;
} killer;

static void *kill_at_random(void *unused)
{
    (void)unused;
    bool servers = killer.servers; /* one of them a map: a few in a row are too much for it */
    while (!killer.over) {
        pid_t pids[E2E_MAX_PIDS];
        int n = e2e_descendants(getpid(), "mamuto-worker", pids, E2E_MAX_PIDS);
        nanosleep(&(struct timespec){ .tv_nsec = (long)below(4000000) }, NULL);
        if (killer.over)
            break;
        if (servers && below(4) == 0) {
            e2e_kill_server();
            servers = false;
        } else if (n > 0)
            kill(pids[below((uint64_t)n)], SIGKILL);
        killer.kills++;
    }
    return NULL;
}

static void kill_under(mamuto_call_t *call, const uint64_t *results)
{
    mamuto_error_t err = { 0 };
    killer.over = false;
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_at_random, NULL), 0);
    int code = run(call, &err);
    killer.over = true;
    pthread_join(killer.thread, NULL);
    if (code && code != MAMUTO_EITEM)
        fail_msg("%d: %s; MAMUTO_SEED=%" PRIu64, code, err.text, seed);
    assert_int_equal(code ? 1 : 0, n_failed ? 1 : 0);
    expect_once(results);
}

static void random_kills_run_nothing_twice(void **state)
{
    (void)state;
    unsigned lost = 0;
    killer.servers = false;
    for (int round = 0; round < ROUNDS; round++) {
        mamuto_call_t call = { .function = round % 2 ? "once.item" : "once.chunk",
                               .on_error = MAMUTO_ON_ERROR_SKIP,
                               .help = round % 4 == 3 };
        work(20000);
        for (int i = 1; i < N; i += 50)
            in[i] |= ONCE_FAIL;
        kill_under(&call, out);
        for (int i = 0; i < N; i++) {
            if (i % 50 == 1)
                assert_true(codes[i] != 0);
            lost += codes[i] == MAMUTO_ECRASH;
        }
    }
    print_message("%u kills, %u items lost\n", killer.kills, lost);
    assert_true(killer.kills > 0 && lost > 0);
}

static void random_kills_of_the_fork_server_run_nothing_twice(void **state)
{
    (void)state;
    killer.servers = true;
    for (int round = 0; round < ROUNDS / 2; round++) {
        mamuto_call_t call = { .function = "once.item", .on_error = MAMUTO_ON_ERROR_SKIP };
        work(20000);
        kill_under(&call, out);
    }
}

static void random_kills_with_shared_arrays_run_nothing_twice(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    uint32_t *x = mamuto_alloc(m, N, sizeof *x, &err);
    uint64_t *y = mamuto_alloc(m, N, sizeof *y, &err);
    assert_true(x && y);
    killer.servers = false;
    for (int round = 0; round < ROUNDS; round++) {
        mamuto_call_t call = { .function = round % 2 ? "once.item" : "once.chunk",
                               .args = { mamuto_scatter(x, N) },
                               .result = y,
                               .on_error = MAMUTO_ON_ERROR_SKIP };
        for (int i = 0; i < N; i++)
            x[i] = (round % 3 ? 20000u : 1000u) << ONCE_ACT_BITS;
        kill_under(&call, y);
    }
}

/* Where workers may not read the program's memory: the maps run on copies. */
static int copied(void *unused)
{
    (void)unused;
    private_deny();
    m = e2e_open(WORKERS, E2E_MODULE("once"));
    killer.servers = false;
    for (int round = 0; round < 4; round++) {
        mamuto_call_t call = { .function = "once.item", .on_error = MAMUTO_ON_ERROR_SKIP };
        work(20000);
        kill_under(&call, out);
    }
    e2e_close(m);
    return 0;
}

static void random_kills_of_copied_maps_run_nothing_twice(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(copied, NULL), 0);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    state_of_random = seed;
    const struct CMUnitTest tests[] = {
        TEST(failed_items_are_named_and_not_run_again),
        TEST(kernel_that_returns_a_code_fails_its_call),
        TEST(first_failure_ends_the_map),
        TEST(more_failures_than_are_listed_are_counted),
        TEST(failures_of_all_pieces_of_a_block_are_counted),
        TEST(crash_loses_its_block_alone),
        TEST(crash_ends_a_map_that_does_not_skip),
        TEST(item_that_hangs_times_out_and_is_not_run_again),
        TEST(random_kills_run_nothing_twice),
        TEST(random_kills_with_shared_arrays_run_nothing_twice),
        TEST(random_kills_of_the_fork_server_run_nothing_twice),
        TEST(random_kills_of_copied_maps_run_nothing_twice),
    };
    return cmocka_run_group_tests_name("e2e_once", tests, NULL, NULL);
}
