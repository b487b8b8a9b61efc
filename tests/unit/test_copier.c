/* The copier: what it copies, in turn, given up, stopped; arrays that are not there; new pages of an arena. */
#include "shm/copier.h"

#include "shm/board.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)

static struct mm_arena arena;
static struct mm_copier copier;
static int event;

/* A gate at the copier's test point: it takes a ticket for each piece. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int tickets = INT32_MAX, waiting;

static void on_point(const char *name)
{
    (void)name;
    pthread_mutex_lock(&mutex);
    waiting++;
    pthread_cond_broadcast(&changed);
    while (!tickets)
        pthread_cond_wait(&changed, &mutex);
    tickets--;
    waiting--;
    pthread_mutex_unlock(&mutex);
}

static void give_tickets(int n)
{
    pthread_mutex_lock(&mutex);
    tickets = n;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

/* The copier has used up its tickets and stands before the next piece. */
static void wait_for_gate(void)
{
    pthread_mutex_lock(&mutex);
    while (!waiting || tickets)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static int set_up(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    tickets = INT32_MAX;
    mm_test_point = on_point;
    assert_int_equal(mm_arena_init(&arena, &err), 0);
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mm_copier_init(&copier, &arena, event);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    give_tickets(INT32_MAX);
    mm_copier_fini(&copier);
    mm_arena_fini(&arena);
    close(event);
    mm_test_point = NULL;
    return 0;
}

static char *room(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

static struct mm_copy_job job_of(char *to, const char *from, uint64_t bytes)
{
    return (struct mm_copy_job){ .into_arena = true, .copies = { { to, from, bytes, 0, 0, 0, 0 } }, .n_copies = 1 };
}

static void start(void)
{
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_copier_start(&copier, &err), 0);
}

static struct mm_copy_job *take(void)
{
    struct mm_copy_job *job;
    while (!(job = mm_copier_take(&copier))) {
        uint64_t count;
        struct pollfd one = { event, POLLIN, 0 };
        assert_int_equal(poll(&one, 1, 20000), 1);
        assert_int_equal(read(event, &count, sizeof count), sizeof count);
    }
    return job;
}

static void copier_run_of_several_arrays_copies_them(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, PAGE, MIB - 1, MIB, MIB + 1, 3 * MIB + 17 };
    enum { N = sizeof sizes / sizeof *sizes };
    char *from = room(8 * MIB), *to = room(4 * MIB * N);
    for (size_t i = 0; i < 8 * MIB; i++)
        from[i] = (char)(i * 7 + i / 1000);
    struct mm_copy_job job = { .into_arena = true, .n_copies = N };
    for (size_t i = 0; i < N; i++)
        job.copies[i] =
            (struct mm_copy){ .to = to + i * 4 * MIB, .from = from + i, .bytes = sizes[i], .argument = (int)i };
    mm_copier_run(&copier, &job);
    assert_int_equal(job.failure, 0);
    for (size_t i = 0; i < N; i++) {
        assert_memory_equal(to + i * 4 * MIB, from + i, sizes[i]);
        assert_int_equal(to[i * 4 * MIB + sizes[i]], 0);
    }
    munmap(from, 8 * MIB);
    munmap(to, 4 * MIB * N);
}

static void copier_array_that_ends_too_early_is_named(void **state)
{
    (void)state;
    char *p = room(4 * MIB), *q = room(4 * MIB);
    munmap(p + 2 * MIB, PAGE);
    struct mm_copy_job job = { .into_arena = true,
                               .copies = { { q, p, 2 * MIB, 0, 0, 0, 0 }, { q, p, 2 * MIB + 1, 1, 0, 0, 0 } },
                               .n_copies = 2 };
    mm_copier_run(&copier, &job);
    assert_int_equal(job.failure, MAMUTO_EARGS);
    assert_int_equal(job.at, 1);
    mprotect(p + 1 * MIB, PAGE, PROT_NONE);
    job = job_of(q, p, MIB + PAGE);
    mm_copier_run(&copier, &job);
    assert_int_equal(job.failure, copier.can_check ? MAMUTO_EARGS : 0);
    mprotect(p, PAGE, PROT_READ);
    job = (struct mm_copy_job){ .copies = { { p, q, PAGE, -1, 0, 0, 0 } }, .n_copies = 1 };
    mm_copier_run(&copier, &job);
    assert_int_equal(job.failure, copier.can_check ? MAMUTO_EARGS : 0);
    munmap(p, 4 * MIB);
    munmap(q, 4 * MIB);
}

static void copier_jobs_take_turns_piece_by_piece(void **state)
{
    (void)state;
    char *p = room(4 * MIB), *q = room(4 * MIB);
    struct mm_copy_job large = job_of(q, p, 3 * MIB), small = job_of(q + 3 * MIB, p, MIB);
    give_tickets(0);
    start();
    mm_copier_push(&copier, &large);
    wait_for_gate();
    mm_copier_push(&copier, &small);
    give_tickets(INT32_MAX);
    assert_ptr_equal(take(), &small);
    assert_ptr_equal(take(), &large);
    assert_null(mm_copier_take(&copier));
    munmap(p, 4 * MIB);
    munmap(q, 4 * MIB);
}

static void copier_canceled_job_comes_back_untouched_or_after_its_piece(void **state)
{
    (void)state;
    char *p = room(4 * MIB), *q = room(8 * MIB);
    memset(p, 1, 4 * MIB);
    struct mm_copy_job first = job_of(q, p, 4 * MIB), second = job_of(q + 4 * MIB, p, 4 * MIB);
    give_tickets(0);
    start();
    mm_copier_push(&copier, &first);
    wait_for_gate();
    mm_copier_push(&copier, &second);
    mm_copier_cancel(&copier, &second);
    assert_ptr_equal(take(), &second);
    assert_true(second.canceled);
    mm_copier_cancel(&copier, &first);
    assert_null(mm_copier_take(&copier));
    give_tickets(INT32_MAX);
    assert_ptr_equal(take(), &first);
    assert_true(first.canceled);
    assert_int_equal(q[MIB - 1], 1);
    assert_int_equal(q[MIB], 0);
    assert_int_equal(q[4 * MIB], 0);
    munmap(p, 4 * MIB);
    munmap(q, 8 * MIB);
}

static void copier_job_canceled_after_it_came_back_says_so(void **state)
{
    (void)state;
    char *p = room(MIB), *q = room(MIB);
    struct mm_copy_job job = job_of(q, p, MIB);
    struct pollfd one = { event, POLLIN, 0 };
    start();
    mm_copier_push(&copier, &job);
    assert_int_equal(poll(&one, 1, 20000), 1);
    mm_copier_cancel(&copier, &job);
    assert_ptr_equal(take(), &job);
    assert_true(job.canceled);
    munmap(p, MIB);
    munmap(q, MIB);
}

static void copier_joined_touches_nothing_any_more(void **state)
{
    (void)state;
    char *p = room(4 * MIB), *q = room(4 * MIB);
    struct mm_copy_job jobs[3];
    give_tickets(0);
    start();
    for (int i = 0; i < 3; i++) {
        jobs[i] = job_of(q, p, 4 * MIB);
        mm_copier_push(&copier, &jobs[i]);
    }
    wait_for_gate();
    mm_copier_stop(&copier);
    give_tickets(INT32_MAX);
    mm_copier_join(&copier);
    munmap(p, 4 * MIB);
    munmap(q, 4 * MIB);
    assert_null(mm_copier_take(&copier));
}

static void copier_many_jobs_all_come_back_once(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct mm_copy_job jobs[N];
    int seen[N] = { 0 };
    char *p = room(2 * MIB), *q = room(2 * MIB);
    start();
    for (int i = 0; i < N; i++) {
        jobs[i] = job_of(q, p, (uint64_t)(i % 7) * 300000 + 1);
        mm_copier_push(&copier, &jobs[i]);
        if (i % 3 == 0)
            mm_copier_cancel(&copier, &jobs[i / 2]);
    }
    for (int i = 0; i < N; i++)
        seen[take() - jobs]++;
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    munmap(p, 2 * MIB);
    munmap(q, 2 * MIB);
}

/* ---- New pages ---------------------------------------------------------------------------------------------------- */

static void copier_takes_new_pages_of_the_arena(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    bool cold;
    char *p = room(3 * MIB), *to = mm_arena_reserve(&arena, 6 * MIB, &cold, &err);
    struct mm_extent punch;
    assert_true(to && cold);
    assert_int_equal(arena.pageless, 6 * MIB);
    memset(p, 5, 3 * MIB);
    struct mm_copy_job job = { .into_arena = true,
                               .cold = true,
                               .copies = { { to, p, 3 * MIB, 0, 0, 0, 0 },
                                           { to + 3 * MIB, NULL, 3 * MIB, -1, 0, 0, 0 } },
                               .n_copies = 2 };
    mm_copier_run(&copier, &job);
    assert_int_equal(job.failure, 0);
    mm_arena_settle(&arena, to);
    assert_int_equal(arena.pageless, 0);
    assert_memory_equal(to, p, 3 * MIB);
    assert_int_equal(to[6 * MIB - 1], 0);
    assert_int_equal(mm_arena_free(&arena, to, &punch), 0);
    assert_int_equal(punch.bytes, 0); /* kept warm */
    assert_ptr_equal(mm_arena_reserve(&arena, 6 * MIB, &cold, &err), to);
    assert_false(cold);
    munmap(p, 3 * MIB);
}

static void arena_reserved_without_pages_is_punched_out_when_freed(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    bool cold;
    struct mm_extent punch;
    char *p = mm_arena_reserve(&arena, 5 * MIB, &cold, &err);
    assert_non_null(p);
    assert_int_equal(mm_arena_populate(&arena, p, MIB), 0);
    assert_int_equal(mm_arena_free(&arena, p, &punch), 0);
    assert_int_equal(punch.bytes, 5 * MIB);
    assert_int_equal(arena.pageless, 0);
    assert_true(mm_arena_is_punching(&arena));
    mm_arena_punched(&arena, punch.offset);
    assert_false(mm_arena_is_punching(&arena));
    assert_ptr_equal(mm_arena_reserve(&arena, MIB, &cold, &err), p);
    assert_true(cold);
}

static void arena_reserved_memory_counts_against_what_there_is(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    bool cold;
    uint64_t whole = mm_memory_budget() / 2 + 64 * MIB;
    if (whole * 2 > arena.bytes) /* a cgroup of more than the machine has: nothing to be seen here */
        skip();
    assert_non_null(mm_arena_reserve(&arena, whole, &cold, &err)); /* no page of it is taken */
    assert_null(mm_arena_reserve(&arena, whole, &cold, &err));
    assert_int_equal(err.code, MAMUTO_ENOMEM);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(copier_run_of_several_arrays_copies_them),
        TEST(copier_array_that_ends_too_early_is_named),
        TEST(copier_jobs_take_turns_piece_by_piece),
        TEST(copier_canceled_job_comes_back_untouched_or_after_its_piece),
        TEST(copier_job_canceled_after_it_came_back_says_so),
        TEST(copier_joined_touches_nothing_any_more),
        TEST(copier_many_jobs_all_come_back_once),
        TEST(copier_takes_new_pages_of_the_arena),
        TEST(arena_reserved_without_pages_is_punched_out_when_freed),
        TEST(arena_reserved_memory_counts_against_what_there_is),
    };
    return cmocka_run_group_tests_name("copier", tests, NULL, NULL);
}
