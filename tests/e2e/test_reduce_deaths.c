/* Reductions while workers are killed at random, now and then the fork server, and all of them with it: each value is
 * right. $MAMUTO_SEED replays the choices of an earlier run; the moments differ, of course. */
#include "shm/board.h"
#include "tests/support/e2e.h"
#include "tests/support/faults.h"
#include "tests/support/reference.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { MOST = 300000, WORKERS = 3 };

static uint64_t in[MOST], seed, random_state;

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (random_state ^ random_state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb) >> 5;
}

static void fold_u8(const void *a, const void *b, void *out, size_t dim)
{
    (void)dim;
    *(uint64_t *)out = *(const uint64_t *)a * 31 + *(const uint64_t *)b;
}

static uint64_t expect(size_t n)
{
    struct reference reference = { .size = sizeof(uint64_t), .fold = fold_u8 };
    uint64_t value = 0;
    assert_true(reference_reduce(&reference, in, n, &value));
    return value;
}

/* Items folded themselves. */
static mamuto_call_t call_of(size_t n, uint64_t *value)
{
    return (mamuto_call_t){ .args = { mamuto_scatter(in, n) }, .fold = "reduce.fold_u8", .value = value };
}

static struct {
    pthread_t thread;
    struct mm_board *board;
    uint64_t random;
    unsigned kills, servers;
    _Atomic bool over;
} killer;

static uint64_t killer_draw(uint64_t n)
{
    killer.random = killer.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (killer.random >> 33) % n;
}

static void *kill_at_random(void *unused)
{
    (void)unused;
    while (!atomic_load(&killer.over)) {
        pid_t pid = atomic_load(&killer.board->lanes[killer_draw(WORKERS)].pid);
        bool all = killer_draw(40) == 0;
        pid_t server = all ? faults_parent(pid) : 0;
        if (faults_worker_state(pid) != 0 && (!all || (server > 1 && faults_parent(server) == getpid()))) {
            kill(all ? server : pid, SIGKILL);
            killer.kills++;
            killer.servers += all;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 + (long)killer_draw(20000000) }, NULL);
    }
    return NULL;
}

/* A group that runs alone and whose worker is killed again may rightly fail: seldom. */
static void value_is_right_while_workers_are_killed(void **state)
{
    (void)state;
    mamuto_t *mine = e2e_open(WORKERS, E2E_MODULE("reduce"));
    killer.board = faults_board();
    killer.random = seed;
    atomic_store(&killer.over, false);
    uint64_t expected[4], value = 0;
    static const size_t sizes[4] = { 900, 3000, 100000, MOST };
    static uint64_t result[MOST];
    unsigned failed = 0, ended = 0;
    for (int k = 0; k < 4; k++)
        expected[k] = expect(sizes[k]);
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_at_random, NULL), 0);
    for (uint64_t stop = uv_hrtime() + UINT64_C(8000000000); uv_hrtime() < stop; ended++) {
        mamuto_error_t err = { 0 };
        int k = (int)(draw() % 4);
        mamuto_call_t call = call_of(sizes[k], &value);
        if (draw() % 2) {
            call.function = "reduce.same";
            call.result = draw() % 2 ? result : NULL;
        }
        call.help = draw() % 2;
        if (mamuto_reduce_wait(mine, &call, &err) == 0)
            assert_true(value == expected[k]);
        else if (err.code == MAMUTO_ECRASH && err.signal == SIGKILL)
            failed++;
        else
            fail_msg("n = %zu: %s; MAMUTO_SEED=%" PRIu64, sizes[k], err.text, seed);
    }
    atomic_store(&killer.over, true);
    pthread_join(killer.thread, NULL);
    print_message("%u kills, %u of the fork server; %u reductions, %u failed\n", killer.kills, killer.servers, ended,
                  failed);
    assert_true(killer.kills > 50 && failed * 50 <= ended);
    e2e_close(mine);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    random_state = seed;
    for (size_t i = 0; i < MOST; i++)
        in[i] = draw();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_is_right_while_workers_are_killed),
    };
    return cmocka_run_group_tests_name("e2e_reduce_deaths", tests, set_up, NULL);
}
