/* options.on_output: the workers' lines arrive, whole and in order, before the map's end; a dead worker's last words
 * arrive, too; a flood blocks those who print and neither the loop nor a cancel; nothing is left open. */
#include "tests/support/e2e.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 200, WORKERS = 3, KEPT = 64, MEBI = 1 << 20 };

static mamuto_t *m;
static uv_loop_t loop;
static int32_t in[N], out[N];
static struct {
    int lines, lines_of[3], items[N], errors[N];
    size_t bytes;
    char text[KEPT][32]; /* how the first lines begin */
    size_t length[KEPT];
    int workers_seen[WORKERS];
    bool after_close;
    int open_status, done, status, closed;
    mamuto_map_t *cancel; /* at the next line */
    bool close;
    mamuto_error_t err;
} seen;

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    memset(&seen, 0, sizeof seen);
    memset(in, 0, sizeof in);
    seen.open_status = 1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

static void on_close(void *data)
{
    (void)data;
    seen.closed++;
}

static void on_output(mamuto_t *mapper, const char *host, int worker, int fd, const char *line, size_t n)
{
    int item;
    assert_string_equal(host, "localhost");
    assert_in_range(worker, 0, WORKERS - 1);
    assert_in_range(fd, 1, 2);
    assert_in_range(n, 0, 4096);
    seen.after_close |= seen.closed > 0;
    seen.workers_seen[worker]++;
    seen.lines_of[fd]++;
    seen.bytes += n;
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)(n < 31 ? n : 31), line);
    if (seen.lines < KEPT) {
        memcpy(seen.text[seen.lines], text, sizeof text);
        seen.length[seen.lines] = n;
    }
    seen.lines++;
    if (sscanf(text, "item %d", &item) == 1 && fd == 1)
        seen.items[item]++;
    if (sscanf(text, "error %d", &item) == 1 && fd == 2)
        seen.errors[item]++;
    if (seen.cancel)
        assert_int_equal(mamuto_cancel(seen.cancel), 0);
    if (seen.close)
        assert_int_equal(mamuto_close(mapper, on_close), 0);
    seen.cancel = NULL;
    seen.close = false;
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper;
    seen.open_status = status;
    if (err)
        seen.err = *err;
}

static const mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                          .modules = (const char *[]){ E2E_MODULE("print"), NULL },
                                          .on_open = on_open,
                                          .on_output = on_output };

static void open_wait(void)
{
    mamuto_error_t err = { 0 };
    if (mamuto_open_wait(&m, &options, &err) != 0)
        fail_msg("%s", err.text);
}

static int map_wait(const char *function, size_t n, mamuto_error_t *err)
{
    mamuto_call_t call = { .function = function, .args = { mamuto_scatter(in, n) }, .result = out };
    return mamuto_map_wait(m, &call, err);
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    seen.done++;
    seen.status = status;
    if (err)
        seen.err = *err;
}

static mamuto_map_t *start(const char *function, size_t n)
{
    mamuto_error_t err = { 0 };
    mamuto_map_t *map = NULL;
    mamuto_call_t call = { .function = function, .args = { mamuto_scatter(in, n) }, .result = out, .on_done = on_done };
    if (mamuto_map(m, &call, &map, &err) != 0)
        fail_msg("%s", err.text);
    return map;
}

static void open_on_a_loop(void)
{
    mamuto_options_t on_loop = options;
    on_loop.loop = &loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &on_loop, NULL), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.open_status, 0);
}

static void end_loop(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.closed, 1);
    assert_false(seen.after_close);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static void lines_arrive_before_the_maps_end(void **state)
{
    (void)state;
    open_wait();
    for (int round = 1; round <= 20; round++) {
        assert_int_equal(map_wait("say", N, NULL), 0);
        for (int i = 0; i < N; i++)
            if (seen.items[i] != round || seen.errors[i] != round)
                fail_msg("round %d: item %d was told %d and %d times", round, i, seen.items[i], seen.errors[i]);
        assert_int_equal(seen.lines, round * N * 2);
    }
    e2e_close(m);
}

static void lines_arrive_on_a_loop(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_a_loop();
    start("say", N);
    assert_int_equal(seen.lines, 0);
    uv_run(&loop, UV_RUN_DEFAULT); /* pipes do not keep it going */
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.lines, 2 * N);
    assert_int_equal(mamuto_close(m, on_close), 0);
    end_loop();
    e2e_holds_as(&before);
}

static void long_lines_arrive_in_pieces(void **state)
{
    (void)state;
    static const int lengths[] = { 0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 10000, 0, 5 };
    open_wait();
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        int left = lengths[k], pieces = 0;
        memset(&seen, 0, sizeof seen);
        in[0] = lengths[k];
        assert_int_equal(map_wait("line", 1, NULL), 0);
        do { /* 8192: two pieces, and nothing after them */
            assert_int_equal(seen.length[pieces], left < 4096 ? left : 4096);
            left -= (int)seen.length[pieces++];
        } while (left > 0);
        assert_int_equal(seen.lines, pieces);
        assert_int_equal(seen.bytes, lengths[k]);
    }
    e2e_close(m);
}

static void parts_of_a_line_arrive_as_one(void **state)
{
    (void)state;
    open_wait();
    assert_int_equal(map_wait("parts", 30, NULL), 0);
    assert_int_equal(seen.lines, 30);
    for (int i = 0; i < 30; i++)
        assert_string_equal(seen.text[i], "one two three");
    e2e_close(m);
}

static int print_to_a_file(void *path)
{
    mamuto_options_t plain = options;
    mamuto_error_t err = { 0 };
    plain.on_output = NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    E2E_CHECK(fd >= 0 && dup2(fd, 1) == 1);
    E2E_CHECK_OK(mamuto_open_wait(&m, &plain, &err), &err);
    E2E_CHECK_OK(map_wait("flushed", 10, &err), &err);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    return 0;
}

static void without_on_output_lines_go_where_the_programs_go(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s", e2e_path("printed"));
    assert_int_equal(e2e_child(print_to_a_file, path), 0);
    assert_int_equal(e2e_size("printed"), 10 * 8);
}

/* ---- Deaths ------------------------------------------------------------------------------------------------------ */

static void last_words_of_a_worker_arrive(void **state)
{
    (void)state;
    open_wait();
    mamuto_error_t err = { 0 };
    for (int round = 0; round < 5; round++) {
        memset(&seen, 0, sizeof seen);
        err.code = 0;
        e2e_is_error(map_wait("last_words", 1, &err), &err, MAMUTO_ECRASH, NULL);
        assert_true(seen.lines >= 2 && seen.lines % 2 == 0); /* two for each time it was tried */
        for (int i = 0; i < seen.lines; i++)
            assert_string_equal(seen.text[i], i % 2 ? "last words" : "a whole line");
    }
    memset(&seen, 0, sizeof seen);
    assert_int_equal(map_wait("say", N, NULL), 0); /* those that were forked anew print, too */
    assert_int_equal(seen.lines, 2 * N);
    e2e_close(m);
}

static int open_files(pid_t pid)
{
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static void nothing_is_left_of_a_thousand_deaths(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_wait();
    assert_int_equal(map_wait("die", 1, NULL), MAMUTO_ECRASH);
    int own = open_files(getpid()), servers = open_files(e2e_server());
    for (int deaths = 0; deaths < 1000; deaths++)
        assert_int_equal(map_wait("die", 1, NULL), MAMUTO_ECRASH);
    assert_int_equal(map_wait("say", N, NULL), 0);
    assert_int_equal(open_files(getpid()), own);
    assert_int_equal(open_files(e2e_server()), servers);
    e2e_close(m);
    e2e_holds_as(&before);
}

static void lines_arrive_after_the_fork_server_was_started_anew(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_wait();
    int own = open_files(getpid());
    for (int round = 0; round < 5; round++) {
        e2e_kill_server();
        memset(&seen, 0, sizeof seen);
        assert_int_equal(map_wait("parts", 3, NULL), 0);
        assert_true(seen.lines >= 3); /* an item may have been run twice */
        memset(&seen, 0, sizeof seen);
        assert_int_equal(map_wait("say", N, NULL), 0);
        assert_true(seen.lines >= 2 * N);
    }
    assert_int_equal(open_files(getpid()), own);
    e2e_close(m);
    e2e_holds_as(&before);
}

/* ---- Floods ------------------------------------------------------------------------------------------------------ */

static uint64_t last_tick_ns, longest_ns;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    uint64_t now = uv_hrtime();
    if (last_tick_ns && now - last_tick_ns > longest_ns)
        longest_ns = now - last_tick_ns;
    last_tick_ns = now;
}

static void begin_ticks(uv_timer_t *ticks)
{
    last_tick_ns = longest_ns = 0;
    uv_timer_init(&loop, ticks);
    uv_timer_start(ticks, on_tick, 1, 1);
    uv_unref((uv_handle_t *)ticks);
}

static void flood_arrives_whole_and_leaves_the_loop_alone(void **state)
{
    (void)state;
    uv_timer_t ticks;
    open_on_a_loop();
    begin_ticks(&ticks);
    in[0] = 50, in[1] = 50;
    start("flood", 2);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.status, 0);
    assert_int_equal(seen.lines, 100 * MEBI / 64);
    assert_int_equal(seen.bytes, 100 * (size_t)MEBI / 64 * 63);
    assert_true(longest_ns < 500000000); /* a machine that is busy; else about a millisecond */
    uv_close((uv_handle_t *)&ticks, NULL);
    assert_int_equal(mamuto_close(m, on_close), 0);
    end_loop();
}

static void flood_does_not_hold_a_cancel_up(void **state)
{
    (void)state;
    open_on_a_loop();
    for (int i = 0; i < WORKERS; i++)
        in[i] = 1 << 20; /* a tebibyte */
    seen.cancel = start("flood", WORKERS);
    uint64_t started = uv_hrtime();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.status, MAMUTO_ECANCELED);
    assert_true(uv_hrtime() - started < UINT64_C(10000000000));
    memset(&seen, 0, sizeof seen);
    start("say", N);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.status, 0);
    assert_int_equal(seen.items[N - 1], 1);
    assert_int_equal(mamuto_close(m, on_close), 0);
    end_loop();
}

/* ---- Close ------------------------------------------------------------------------------------------------------- */

static void close_tells_what_was_printed(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_a_loop();
    start("gate", 1);
    assert_true(e2e_has_size("begun", 0));
    assert_int_equal(seen.lines, 0);
    assert_int_equal(mamuto_close(m, on_close), 0);
    end_loop();
    assert_int_equal(seen.status, MAMUTO_ECANCELED);
    assert_int_equal(seen.lines, 2);
    assert_string_equal(seen.text[0], "before the gate");
    assert_string_equal(seen.text[1], "and no");
    e2e_holds_as(&before);
}

static void mapper_can_be_closed_in_on_output(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_a_loop();
    in[0] = in[1] = 1 << 20;
    start("flood", 2);
    seen.close = true;
    end_loop();
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.status, MAMUTO_ECANCELED);
    e2e_holds_as(&before);
}

static int open_with_few_files(void *unused)
{
    (void)unused;
    mamuto_error_t err = { 0 };
    mamuto_options_t many = options;
    many.config_text = "{\"hosts\": {\"localhost\": 30}}";
    if (getenv("MAMUTO_UNDER_VALGRIND")) /* which has descriptors, and a limit, of its own */
        return 0;
    E2E_CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 48, 48 }) == 0);
    E2E_CHECK(mamuto_open_wait(&m, &many, &err) == MAMUTO_ESYSTEM);
    E2E_CHECK(strstr(err.text, "worker") && strstr(err.text, "Too many open files"));
    many.on_output = NULL;
    err.code = 0;
    E2E_CHECK_OK(mamuto_open_wait(&m, &many, &err), &err);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    return 0;
}

static void open_without_room_for_the_pipes_says_so(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(open_with_few_files, NULL), 0);
}

/* libuv keeps some descriptors from the first loop on: they are there before anything is counted. */
static int set_up(void **state)
{
    (void)state;
    return uv_loop_init(&loop) || uv_loop_close(&loop);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_arrive_before_the_maps_end),
        TEST(lines_arrive_on_a_loop),
        TEST(long_lines_arrive_in_pieces),
        TEST(parts_of_a_line_arrive_as_one),
        TEST(without_on_output_lines_go_where_the_programs_go),
        TEST(last_words_of_a_worker_arrive),
        TEST(nothing_is_left_of_a_thousand_deaths),
        TEST(lines_arrive_after_the_fork_server_was_started_anew),
        TEST(flood_arrives_whole_and_leaves_the_loop_alone),
        TEST(flood_does_not_hold_a_cancel_up),
        TEST(close_tells_what_was_printed),
        TEST(mapper_can_be_closed_in_on_output),
        TEST(open_without_room_for_the_pipes_says_so),
    };
    return cmocka_run_group_tests_name("e2e_output", tests, set_up, NULL);
}
