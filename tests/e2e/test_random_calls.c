/* Random calls against a serial reference: functions, shapes, lengths, kinds of arguments, failures, cancels and kept
 * arrays by chance, up to 100 calls in flight, on 1, 2, 3 and 5 workers by turns; now and then a worker is killed, and a
 * bad call must be refused and change nothing. Every outcome is checked bit for bit in its on_done.
 *
 * It takes 60 s, in which there must be 10,000 calls; on a machine that is too busy it goes on until there are.
 * $MAMUTO_RANDOM_SECONDS sets the length. A failure names its seed and call: $MAMUTO_SEED replays the run (the moments
 * differ, of course), with $MAMUTO_RANDOM_CALL that call alone.
 */
#include "shm/board.h"
#include "tests/support/e2e.h"
#include "tests/support/faults.h"
#include "tests/support/random_call.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SECONDS = 60, CALLS_PER_MINUTE = 10000, MOST_IN_FLIGHT = 100, CALLS_OF_A_MAPPER = 500, KILL_EVERY_MS = 150 };
enum { FILE_BYTES = 1 << 20, STUCK_SECONDS = 120, AT_MOST = 5, TIMES_ALONE = 10 };

static const int workers_by_turns[] = { 1, 2, 3, 5 };

static struct {
    uint64_t seed, random; /* random: of what is no call's own */
    uint64_t next, only;   /* numbers of calls; only: UINT64_MAX, or that one alone */
    struct random_world world;
    struct random_call *calls[MOST_IN_FLIGHT + 1];
    unsigned in_flight, limit, workers;
    struct mm_board *board;
    uint64_t last_kill_ms;
    uint64_t n_calls, n_refused, n_failed, n_cancelled, n_reductions, n_kills, n_items, n_waits, n_started, n_done;
    bool closing; /* with calls in flight */
    unsigned n_mappers, n_kept, n_forgotten;
} run;

static char stuck_text[256];

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static _Noreturn void give_up(const struct random_call *c, const char *why)
{
    fprintf(stderr, "with %u workers, %u calls in flight: %s\n", run.workers, run.in_flight, why);
    if (c)
        random_call_describe(stderr, c);
    else
        fprintf(stderr, "MAMUTO_SEED=%" PRIu64 " replays it; call %" PRIu64 " is next\n", run.seed, run.next);
    _exit(1);
}

/* Nothing has ended for a long time. */
static void on_stuck(int signal)
{
    (void)signal;
    ssize_t n = write(2, stuck_text, strlen(stuck_text));
    (void)n;
    /* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): it ends here, right or not */
    faults_print_board(stderr, run.board);
    _exit(1);
}

static void watch(uint64_t number)
{
    snprintf(stuck_text, sizeof stuck_text,
             "stuck: MAMUTO_SEED=%" PRIu64 ", call %" PRIu64 " was the last to begin or end\n", run.seed, number);
    alarm(STUCK_SECONDS);
}

/* ---- Callbacks ----------------------------------------------------------------------------------------------------- */

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    struct random_call *c = mamuto_map_data(map);
    c->told_bad += c->n_done || c->n_told >= RANDOM_MOST_TOLD || err->worker < -1 || err->worker > (int)run.workers ||
                   strcmp(err->host, "localhost") != 0;
    if (c->n_told < RANDOM_MOST_TOLD)
        c->told[c->n_told++] = (struct random_told){ err->item, err->code, err->item_code, err->signal,
                                                     strstr(err->text, RANDOM_FAULT_TEXT) != NULL };
}

static void on_spans(mamuto_map_t *map, const mamuto_span_t *spans, size_t n)
{
    struct random_call *c = mamuto_map_data(map);
    for (size_t s = 0; s < n; s++) {
        const mamuto_span_t *span = &spans[s];
        c->spans_bad += c->n_done || span->count == 0 || span->first >= c->n || span->count > c->n - span->first ||
                        span->end_ns < span->start_ns;
        for (uint64_t i = span->first; i < span->first + span->count && i < c->n; i++)
            c->spans_bad += c->spanned[i]++ != 0;
    }
}

static void on_progress(mamuto_map_t *map, const mamuto_progress_t *progress)
{
    struct random_call *c = mamuto_map_data(map);
    c->progress_bad += c->n_done || progress->total != c->n || progress->done > c->n || progress->failed > c->n ||
                       progress->done < c->progress_done;
    c->progress_done = progress->done;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct random_call *c = mamuto_map_data(map);
    char text[800];
    run.n_done++;
    c->n_done++;
    c->status = status;
    if (err)
        c->err = *err;
    if ((status == 0) != (err == NULL))
        give_up(c, "on_done has no error, or one with status 0");
    if (c->n_done != 1)
        give_up(c, "on_done has come more than once");
    if (run.closing && status == MAMUTO_ECANCELED) { /* its arrays are still there */
        if (c->call.result)
            (void)*(const volatile char *)c->call.result;
    } else if (!random_call_is_right(c, text, sizeof text))
        give_up(c, text);
    run.n_failed += status == MAMUTO_EITEM || status == MAMUTO_ECRASH || status == MAMUTO_ETIMEOUT;
    run.n_cancelled += status == MAMUTO_ECANCELED;
    watch(c->number);
}

/* ---- Calls --------------------------------------------------------------------------------------------------------- */

static int start(struct random_call *c, mamuto_error_t *err)
{
    mamuto_t *m = run.world.m;
    c->call.on_done = on_done;
    c->call.on_item_error = on_item_error;
    c->call.on_spans = c->spanned ? on_spans : NULL;
    c->call.on_progress = on_progress;
    if (c->form == RANDOM_WAIT)
        return c->reduces ? mamuto_reduce_wait(m, &c->call, err) : mamuto_map_wait(m, &c->call, err);
    return c->reduces ? mamuto_reduce(m, &c->call, &c->map, err) : mamuto_map(m, &c->call, &c->map, err);
}

static void begin_bad(struct random_call *c)
{
    mamuto_error_t err = { 0 };
    char text[800];
    if (!c->refusal)
        random_call_spoil(&run.world, c);
    int code = start(c, &err);
    c->err = err;
    c->status = code;
    if (code != c->refusal || err.code != code || c->map)
        give_up(c, code ? "a bad call was refused with another code" : "a bad call was not refused");
    if (!random_call_is_untouched(c, text, sizeof text))
        give_up(c, text);
    run.n_refused++;
    random_call_free(&run.world, c);
}

static void end_wait(struct random_call *c, int code, const mamuto_error_t *err)
{
    if (c->n_done != 1 || code != c->status || err->code != code)
        give_up(c, "what a _wait form returns is not its on_done's");
    run.n_waits++;
}

static void begin(uint64_t number)
{
    struct random_call *c = random_call_make(&run.world, run.seed, number);
    mamuto_error_t err = { 0 };
    run.n_calls++;
    watch(number);
    if (c->refusal || number % 20 == 7) {
        begin_bad(c);
        return;
    }
    run.n_started++;
    run.n_items += c->n;
    run.n_reductions += c->reduces;
    run.calls[run.in_flight++] = c;
    int code = start(c, &err);
    if (c->form == RANDOM_WAIT)
        end_wait(c, code, &err);
    else if (code) {
        c->err = err;
        give_up(c, "a good call was refused");
    } else if (c->n_done)
        give_up(c, "on_done came from inside the call");
}

static void reap(void)
{
    for (unsigned i = 0; i < run.in_flight;)
        if (run.calls[i]->n_done) {
            random_call_free(&run.world, run.calls[i]);
            run.calls[i] = run.calls[--run.in_flight];
        } else
            i++;
}

static void cancel_some(void)
{
    for (unsigned i = 0; i < run.in_flight; i++) {
        struct random_call *c = run.calls[i];
        if (c->n_done || !c->cancels || c->cancelled || c->turns++ < c->cancel_after)
            continue;
        c->cancelled = true;
        if (mamuto_cancel(c->map) != 0 || c->n_done)
            give_up(c, "cannot cancel, or its on_done came from inside");
    }
}

/* Afterwards it is dead: calls that begin later cannot lose anything to it. */
static void kill_some(void)
{
    uint32_t lane = (uint32_t)random_below(&run.random, run.workers);
    pid_t pid = atomic_load(&run.board->lanes[lane].pid);
    uint64_t now = now_ms();
    if (now - run.last_kill_ms < KILL_EVERY_MS || faults_worker_state(pid) == 0)
        return;
    run.last_kill_ms = now;
    if (kill(pid, SIGKILL) != 0)
        return;
    for (char state = 'R'; state != 0 && state != 'Z' && state != 'X';)
        state = faults_worker_state(pid);
    run.n_kills++;
    for (unsigned i = 0; i < run.in_flight; i++)
        run.calls[i]->kills++;
}

static void turn(bool wait)
{
    int ms = mamuto_timeout_ms(run.world.m);
    poll(&(struct pollfd){ mamuto_fd(run.world.m), POLLIN, 0 }, 1, wait ? (ms < 0 || ms > 100 ? 100 : ms) : 0);
    if (mamuto_dispatch(run.world.m) != 0)
        give_up(NULL, "mamuto_dispatch fails");
    cancel_some();
    reap();
}

/* ---- Mappers ------------------------------------------------------------------------------------------------------- */

/* Words that are a small float, and two of them a small double. */
static const char *make_file(void)
{
    uint32_t *words = malloc(FILE_BYTES);
    assert_non_null(words);
    for (size_t i = 0; i < FILE_BYTES / sizeof *words; i++)
        words[i] = UINT32_C(0x3f800000) | ((uint32_t)random_draw(&run.random) & 0x807fffff);
    const char *path = e2e_path("attached");
    e2e_write(path, words, FILE_BYTES);
    free(words);
    return path;
}

static void attach(void)
{
    mamuto_error_t err = { 0 };
    const void *p;
    int fd = open(e2e_path("attached"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (mamuto_attach(run.world.m, fd, 0, FILE_BYTES, &p, &err) != 0)
        fail_msg("%s", err.text);
    close(fd);
    run.world.file = p;
    run.world.file_bytes = FILE_BYTES;
}

static void open_mapper(void)
{
    run.workers = (unsigned)workers_by_turns[run.n_mappers++ % 4];
    run.world = (struct random_world){ .m = e2e_open((int)run.workers, E2E_MODULE("random")) };
    run.board = faults_board();
    assert_non_null(run.board);
    attach();
}

static void drain(void)
{
    while (run.in_flight)
        turn(true);
}

/* Now and then with calls in flight, which are cancelled. */
static void close_mapper(void)
{
    if (!random_chance(&run.random, 3))
        drain();
    run.closing = run.in_flight > 0;
    if (run.in_flight == 0)
        random_pool_forget(&run.world, &run.random, true);
    e2e_close(run.world.m);
    run.closing = false;
    run.board = NULL;
    run.n_kept += run.world.n_kept;
    run.n_forgotten += run.world.n_forgotten;
    run.world.m = NULL;
    if (run.n_done != run.n_started)
        give_up(NULL, "the number of on_done is not that of the calls");
    reap();
    random_pool_forget(&run.world, &run.random, true);
}

static bool is_over(uint64_t begin_ms, uint64_t seconds)
{
    uint64_t ms = now_ms() - begin_ms;
    bool enough = run.n_calls >= CALLS_PER_MINUTE * seconds / 60 || e2e_is_sanitized() || getenv("MAMUTO_TEST_UNDER");
    return ms >= seconds * 1000 && (enough || ms >= AT_MOST * seconds * 1000);
}

static void run_mapper(uint64_t begin_ms, uint64_t seconds)
{
    open_mapper();
    for (unsigned i = 0; i < CALLS_OF_A_MAPPER && !is_over(begin_ms, seconds); i++) {
        if (random_chance(&run.random, 30))
            run.limit = 1 + (unsigned)random_below(&run.random, random_chance(&run.random, 3) ? MOST_IN_FLIGHT : 8);
        while (run.in_flight >= run.limit)
            turn(true);
        begin(run.next++);
        turn(false);
        if (random_chance(&run.random, 20))
            random_pool_forget(&run.world, &run.random, false);
        if (random_chance(&run.random, 20))
            kill_some();
    }
    close_mapper();
}

static void run_alone(void)
{
    for (size_t i = 0; i < sizeof workers_by_turns / sizeof *workers_by_turns; i++) {
        open_mapper();
        for (int times = 0; times < TIMES_ALONE; times++) {
            begin(run.only);
            drain();
        }
        close_mapper();
    }
}

static void random_calls_end_as_the_serial_loop_does(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_RANDOM_SECONDS");
    uint64_t seconds = text ? strtoull(text, NULL, 10) : SECONDS, begin_ms = now_ms();
    e2e_close(e2e_open(1, E2E_MODULE("random"))); /* what a process makes once is there then */
    struct e2e_held before = e2e_hold();
    run.limit = 1;
    if (run.only != UINT64_MAX)
        run_alone();
    while (run.only == UINT64_MAX && !is_over(begin_ms, seconds))
        run_mapper(begin_ms, seconds);
    alarm(0);
    print_message("%" PRIu64 " calls (%" PRIu64 " refused, %" PRIu64 " failed, %" PRIu64 " cancelled, %" PRIu64
                  " reductions, %" PRIu64 " waited for) of %" PRIu64
                  " items in %u mappers, %u arrays kept, %u forgotten, "
                  "%" PRIu64 " workers killed, %" PRIu64 " s\n",
                  run.n_calls, run.n_refused, run.n_failed, run.n_cancelled, run.n_reductions, run.n_waits, run.n_items,
                  run.n_mappers, run.n_kept, run.n_forgotten, run.n_kills, (now_ms() - begin_ms) / 1000);
    e2e_holds_as(&before);
    if (run.only == UINT64_MAX && !e2e_is_sanitized() && !getenv("MAMUTO_TEST_UNDER"))
        assert_true(run.n_calls >= CALLS_PER_MINUTE * seconds / 60);
}

static int set_up(void **state)
{
    (void)state;
    const char *seed = getenv("MAMUTO_SEED"), *only = getenv("MAMUTO_RANDOM_CALL");
    run.seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    run.only = only ? strtoull(only, NULL, 10) : UINT64_MAX;
    run.random = ~run.seed;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", run.seed);
    e2e_scratch_begin();
    make_file();
    signal(SIGALRM, on_stuck);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_calls_end_as_the_serial_loop_does),
    };
    return cmocka_run_group_tests_name("random_calls", tests, set_up, tear_down);
}
