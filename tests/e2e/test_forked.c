/* Programs and modules that fork: a mapper is its opener's alone, a child that lives on takes nothing from a close, and
 * what module code has started and let go of does not hold it up. */
#include "tests/support/e2e.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

static mamuto_t *m;
static pid_t child; /* lives until the test ends */

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    child = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    e2e_scratch_end();
    return 0;
}

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- The mapper in a child --------------------------------------------------------------------------------------- */

struct theirs { /* what the parent had when it forked */
    void *array;
    mamuto_map_t *map;
};

#define REFUSED(call_)                                                                                                 \
    do {                                                                                                               \
        err = (mamuto_error_t){ 0 };                                                                                   \
        E2E_CHECK((call_) == MAMUTO_EINVAL);                                                                           \
        E2E_CHECK(err.code == MAMUTO_EINVAL && strstr(err.text, "belongs to the process that opened it"));             \
    } while (0)

static int use_in_a_child(void *theirs_)
{
    struct theirs *theirs = theirs_;
    mamuto_error_t err;
    const void *p;
    double a = 1, b = 2, out = 0;
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(&a, 1), mamuto_scatter(&b, 1) },
                           .result = &out };
    mamuto_function_t info;
    REFUSED(mamuto_map(m, &call, NULL, &err));
    REFUSED(mamuto_map_wait(m, &call, &err));
    REFUSED(mamuto_load(m, E2E_MODULE("items"), NULL, &err));
    REFUSED(mamuto_load_wait(m, E2E_MODULE("items"), &err));
    REFUSED(mamuto_function(m, "basic.add", &info, &err));
    REFUSED(mamuto_attach(m, 0, 0, 1, &p, &err));
    REFUSED(mamuto_alloc(m, 1, 1, &err) ? 0 : err.code);
    E2E_CHECK(mamuto_free(m, theirs->array) == MAMUTO_EINVAL);
    E2E_CHECK(mamuto_cancel(theirs->map) == MAMUTO_EINVAL);
    E2E_CHECK(mamuto_close(m, NULL) == MAMUTO_EINVAL);
    E2E_CHECK(mamuto_close_wait(m) == MAMUTO_EINVAL);
    return 0;
}

static int use_in_a_grandchild(void *theirs)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(use_in_a_child(theirs));
    int status;
    E2E_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

static int open_in_a_child(void *unused)
{
    (void)unused;
    mamuto_t *own = NULL;
    mamuto_error_t err = { 0 };
    double a = 1, b = 2, out = 0;
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 1}}",
                                 .modules = (const char *[]){ E2E_MODULE("basic"), NULL } };
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(&a, 1), mamuto_scatter(&b, 1) },
                           .result = &out };
    E2E_CHECK_OK(mamuto_open_wait(&own, &options, &err), &err);
    E2E_CHECK_OK(mamuto_map_wait(own, &call, &err), &err);
    E2E_CHECK(out == 3);
    E2E_CHECK(mamuto_close_wait(own) == 0);
    return 0;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)err;
    *(int *)mamuto_map_data(map) = status;
}

/* It shared the sockets and the memory of its parent's mapper: what it asked for, the parent was answered. */
static void mapper_in_a_child_of_fork_refuses_everything(void **state)
{
    (void)state;
    static const int32_t in[1] = { 1 };
    int32_t out[1] = { 0 };
    int status = 1;
    mamuto_error_t err = { 0 };
    m = e2e_open(2, E2E_MODULE("basic"));
    assert_int_equal(mamuto_load_wait(m, E2E_MODULE("items"), &err), 0);
    struct theirs theirs = { .array = mamuto_alloc(m, 100, 1, &err) };
    assert_non_null(theirs.array);
    mamuto_call_t call = {
        .function = "items.gate", .args = { mamuto_scatter(in, 1) }, .result = out, .data = &status, .on_done = on_done
    };
    assert_int_equal(mamuto_map(m, &call, &theirs.map, &err), 0);
    assert_int_equal(e2e_child(use_in_a_child, &theirs), 0);
    assert_int_equal(e2e_child(use_in_a_grandchild, &theirs), 0);
    assert_int_equal(e2e_child(open_in_a_child, NULL), 0); /* one of its own is fine */
    e2e_touch("go");
    while (status == 1)
        e2e_good_map(m);
    assert_int_equal(status, 0);
    assert_int_equal(out[0], 1);
    assert_int_equal(mamuto_free(m, theirs.array), 0);
    e2e_close(m);
}

/* ---- A child that lives on --------------------------------------------------------------------------------------- */

static uv_loop_t loop;
static long long close_begin, close_ms;

static int live_on(void *unused)
{
    (void)unused;
    return pause(); /* until it is killed */
}

static void on_close(void *data)
{
    (void)data;
    close_ms = now_ms() - close_begin;
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    if (status)
        fail_msg("cannot open: %s", err->text);
    child = e2e_start(live_on, NULL);
    close_begin = now_ms();
    assert_int_equal(mamuto_close(mapper, on_close), 0);
}

/* The child has copies of the pipes and sockets. One that had been closed before the loop let go of it was at its end
 * for ever, and the loop ran without a pause; the fork server did not see its socket end, and was killed after 1 s. */
static void loop_is_idle_after_a_close_while_a_child_lives(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}", .loop = &loop, .on_open = on_open };
    close_ms = -1;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(close_ms >= 0 && e2e_is_alive(child));
    if (close_ms >= 1000 && !e2e_is_sanitized())
        fail_msg("close took %lld ms", close_ms);
    uv_run(&loop, UV_RUN_NOWAIT);
    struct pollfd fd = { .fd = uv_backend_fd(&loop), .events = POLLIN };
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- What module code has forked --------------------------------------------------------------------------------- */

static const char escaping[] = "#include <mamuto.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
                               "MAMUTO_FUNCTION(escape, \"i4 -> i4\")\n{\n"
                               "    MAMUTO_OUT(int32_t) = MAMUTO_IN(int32_t, 0);\n"
                               "    pid_t pid = fork();\n"
                               "    if (pid == 0) {\n"
                               "        setsid();\n"
                               "        sleep(60);\n"
                               "        _exit(0);\n"
                               "    }\n"
                               "    MAMUTO_OUT(int32_t) = (int32_t)pid;\n"
                               "    return pid < 0;\n}\n";

/* Returns the process that a function has started, in a session of its own. */
static pid_t escape(void)
{
    mamuto_error_t err = { 0 };
    int32_t in[1] = { 0 }, out[1] = { 0 };
    e2e_write(e2e_path("escaping.c"), escaping, sizeof escaping - 1);
    if (mamuto_load_wait(m, e2e_path("escaping.c"), &err) != 0)
        fail_msg("%s", err.text);
    mamuto_call_t call = { .function = "escape", .args = { mamuto_scatter(in, 1) }, .result = out };
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    assert_true(out[0] > 0 && e2e_is_alive(out[0]));
    return out[0];
}

/* The end of all workers is told by the end of a pipe, which it holds. */
static void process_that_a_function_has_forked_does_not_hold_up_close(void **state)
{
    (void)state;
    m = e2e_open(2, E2E_MODULE("basic"));
    pid_t escaped = escape();
    long long begin = now_ms();
    e2e_close(m);
    assert_true(now_ms() - begin < 30000); /* it sleeps for 60 s */
    assert_true(e2e_is_alive(escaped));
    kill(escaped, SIGKILL);
}

static void process_that_a_function_has_forked_does_not_hold_up_a_restart(void **state)
{
    (void)state;
    m = e2e_open(2, E2E_MODULE("basic"));
    pid_t escaped = escape();
    long long begin = now_ms();
    pid_t server = e2e_server();
    assert_true(server > 0);
    kill(server, SIGKILL);
    e2e_good_map(m);
    assert_true(now_ms() - begin < 30000);
    assert_true(e2e_is_alive(escaped));
    kill(escaped, SIGKILL);
    e2e_close(m);
}

/* ---- Standard streams -------------------------------------------------------------------------------------------- */

static int open_without_a_stream(void *fd)
{
    mamuto_t *own = NULL;
    mamuto_error_t err = { 0 };
    char part[64];
    snprintf(part, sizeof part, "file descriptor %d is closed", *(int *)fd);
    int copy = dup(2);
    close(*(int *)fd);
    int code = mamuto_open_wait(&own, NULL, &err);
    dup2(copy, 2);
    E2E_CHECK(code == MAMUTO_EINVAL && err.code == MAMUTO_EINVAL && !own);
    E2E_CHECK(strstr(err.text, part));
    return 0;
}

/* The next file takes its place: what anybody prints would be written into it. */
static void open_without_a_standard_stream_is_refused(void **state)
{
    (void)state;
    for (int fd = 0; fd < 3; fd++)
        assert_int_equal(e2e_child(open_without_a_stream, &fd), 0);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mapper_in_a_child_of_fork_refuses_everything),
        TEST(loop_is_idle_after_a_close_while_a_child_lives),
        TEST(process_that_a_function_has_forked_does_not_hold_up_close),
        TEST(process_that_a_function_has_forked_does_not_hold_up_a_restart),
        TEST(open_without_a_standard_stream_is_refused),
    };
    return cmocka_run_group_tests_name("e2e_forked", tests, NULL, NULL);
}
