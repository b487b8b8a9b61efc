/* Mappers in threads of their own, all at once: opening, mapping, failing and closing in one has no effect on another.
 * Half of them wait, half have a loop; the workers of one die all the time. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 100, MAPS = 30, OPENINGS = 3, MOST = 8 };

/* What a thread does; it says what is wrong, if anything, and the test fails with that: only its own thread may. */
struct thread {
    pthread_t id, self; /* id: of the one that started it */
    pthread_barrier_t *start;
    bool crashes, waits;
    bool elsewhere; /* something was called back in another thread */
    mamuto_t *m;
    int32_t in[N], out[N];
    int open, done, closed, status, item_errors, expected_errors;
    char wrong[600];
};

#define CHECK(thread_, what_) check((thread_), (what_), #what_, __LINE__)

static bool check(struct thread *thread, bool right, const char *what, int line)
{
    if (!right && !thread->wrong[0])
        snprintf(thread->wrong, sizeof thread->wrong, "line %d: %s", line, what);
    return right;
}

static void is_here(struct thread *thread) { thread->elsewhere |= !pthread_equal(thread->self, pthread_self()); }

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    struct thread *thread = mamuto_data(m);
    (void)err;
    is_here(thread);
    thread->open++;
    thread->status = status;
}

static void on_close(void *data)
{
    struct thread *thread = data;
    is_here(thread);
    thread->closed++;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct thread *thread = mamuto_map_data(map);
    (void)err;
    is_here(thread);
    thread->done++;
    thread->status = status;
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    struct thread *thread = mamuto_map_data(map);
    is_here(thread);
    CHECK(thread, err->code == MAMUTO_ECRASH || err->code == MAMUTO_EITEM);
    thread->item_errors++;
}

/* Each map of the one whose workers die has an item that kills and one that fails. */
static mamuto_call_t next_call(struct thread *thread, int number)
{
    memset(thread->in, 0, sizeof thread->in);
    memset(thread->out, 0xff, sizeof thread->out);
    if (thread->crashes) {
        thread->in[number % N] = number % 2 ? ACT_SEGFAULT : ACT_ABORT;
        thread->in[(number + 1) % N] = ACT_RETURN;
    }
    thread->item_errors = 0;
    thread->expected_errors = thread->crashes ? 2 : 0;
    return (mamuto_call_t){ .function = number % 3 ? "item" : "chunk",
                            .args = { mamuto_scatter(thread->in, N) },
                            .result = thread->out,
                            .on_error = MAMUTO_ON_ERROR_SKIP,
                            .data = thread,
                            .on_done = on_done,
                            .on_item_error = on_item_error };
}

static void is_right(struct thread *thread, int status)
{
    CHECK(thread, status == (thread->crashes ? MAMUTO_EITEM : 0));
    CHECK(thread, thread->item_errors == thread->expected_errors);
    for (int i = 0; i < N; i++)
        CHECK(thread, thread->out[i] == (thread->in[i] ? 0 : 2 * i + 1));
}

static mamuto_options_t options_of(struct thread *thread, uv_loop_t *loop)
{
    static const char *const modules[] = { E2E_MODULE("items"), NULL };
    return (mamuto_options_t){ .config_text = "{\"hosts\": {\"localhost\": 2}}",
                               .modules = modules,
                               .loop = loop,
                               .data = thread,
                               .on_open = on_open };
}

static void run_with_waits(struct thread *thread)
{
    mamuto_error_t err = { 0 };
    mamuto_options_t options = options_of(thread, NULL);
    if (!CHECK(thread, mamuto_open_wait(&thread->m, &options, &err) == 0))
        return;
    for (int k = 0; k < MAPS && !thread->wrong[0]; k++) {
        mamuto_call_t call = next_call(thread, k);
        is_right(thread, mamuto_map_wait(thread->m, &call, NULL));
    }
    CHECK(thread, mamuto_close_wait(thread->m) == 0);
}

static void run_with_a_loop(struct thread *thread)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    mamuto_options_t options = options_of(thread, &loop);
    if (!CHECK(thread, mamuto_open(&thread->m, &options, NULL) == 0))
        return;
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(thread, thread->status == 0);
    for (int k = 0; k < MAPS && !thread->wrong[0]; k++) {
        mamuto_call_t call = next_call(thread, k);
        CHECK(thread, mamuto_map(thread->m, &call, NULL, NULL) == 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        is_right(thread, thread->status);
    }
    int closed = thread->closed;
    CHECK(thread, mamuto_close(thread->m, on_close) == 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(thread, thread->closed == closed + 1);
    CHECK(thread, uv_loop_close(&loop) == 0);
}

static void *run(void *data)
{
    struct thread *thread = data;
    pthread_barrier_wait(thread->start);
    thread->self = pthread_self();
    for (int k = 0; k < OPENINGS && !thread->wrong[0]; k++)
        if (thread->waits)
            run_with_waits(thread);
        else
            run_with_a_loop(thread);
    CHECK(thread, thread->open == OPENINGS);
    CHECK(thread, thread->done == OPENINGS * MAPS);
    CHECK(thread, !thread->elsewhere);
    return NULL;
}

/* waits, crashes: bit per thread */
static void run_threads(unsigned n, unsigned waits, unsigned crashes)
{
    static struct thread threads[MOST];
    struct e2e_held before = e2e_hold();
    pthread_barrier_t start;
    memset(threads, 0, sizeof threads);
    assert_int_equal(pthread_barrier_init(&start, NULL, n), 0);
    for (unsigned i = 0; i < n; i++) {
        threads[i].start = &start;
        threads[i].waits = waits >> i & 1;
        threads[i].crashes = crashes >> i & 1;
        assert_int_equal(pthread_create(&threads[i].id, NULL, run, &threads[i]), 0);
    }
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
    assert_int_equal(pthread_barrier_destroy(&start), 0);
    for (unsigned i = 0; i < n; i++)
        if (threads[i].wrong[0])
            fail_msg("thread %u: %s", i, threads[i].wrong);
    e2e_holds_as(&before);
}

static void two_threads_wait_at_once(void **state)
{
    (void)state;
    run_threads(2, 3, 0);
}

static void crashes_in_one_thread_leave_the_other_alone(void **state)
{
    (void)state;
    run_threads(2, 3, 1);
    run_threads(2, 0, 1);
}

static void thread_that_waits_and_thread_with_a_loop_are_independent(void **state)
{
    (void)state;
    run_threads(2, 1, 1);
    run_threads(2, 1, 2);
}

static void eight_threads_are_independent(void **state)
{
    (void)state;
    run_threads(8, 0x55, 0x09);
}

/* ---- One mapper, handed on --------------------------------------------------------------------------------------- */

static void *map_here(void *data)
{
    struct thread *thread = data;
    thread->self = pthread_self();
    mamuto_call_t call = next_call(thread, 1);
    is_right(thread, mamuto_map_wait(thread->m, &call, NULL));
    return NULL;
}

/* It belongs to one thread at a time, not to the one that opened it. */
static void mapper_can_be_handed_to_another_thread(void **state)
{
    (void)state;
    static struct thread thread;
    memset(&thread, 0, sizeof thread);
    thread.m = e2e_open(2, E2E_MODULE("items"));
    for (int round = 0; round < 3; round++) {
        pthread_t id;
        assert_int_equal(pthread_create(&id, NULL, map_here, &thread), 0);
        assert_int_equal(pthread_join(id, NULL), 0);
        map_here(&thread);
        if (thread.wrong[0])
            fail_msg("%s", thread.wrong);
    }
    e2e_close(thread.m);
}

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin(); /* workers find their folder in the environment, which no thread may change */
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

/* libuv keeps some descriptors from the first loop on: they are there before anything is counted. */
static int set_up(void **state)
{
    (void)state;
    uv_loop_t loop;
    return uv_loop_init(&loop) || uv_loop_close(&loop);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_threads_wait_at_once),
        TEST(crashes_in_one_thread_leave_the_other_alone),
        TEST(thread_that_waits_and_thread_with_a_loop_are_independent),
        TEST(eight_threads_are_independent),
        TEST(mapper_can_be_handed_to_another_thread),
    };
    return cmocka_run_group_tests_name("e2e_threads", tests, set_up, NULL);
}
