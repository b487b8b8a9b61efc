/* Programs that end in the midst of a map: killed, interrupted, by a fault of their own. Nothing of theirs remains; a
 * Ctrl-C reaches the program alone, and ends what it ends. */
#include "tests/support/e2e.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

/* A program of its own, in a process group of its own, whose map waits for "go". */
static int program(void *handler)
{
    setpgid(0, 0);
    if (handler)
        signal(SIGINT, *(void (**)(int))handler);
    mamuto_t *own = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL } };
    E2E_CHECK_OK(mamuto_open_wait(&own, &options, &err), &err);
    int32_t *shared = mamuto_alloc(own, 1 << 20, sizeof *shared, &err);
    E2E_CHECK(shared);
    static const int32_t in[3] = { 1, 1, 1 };
    mamuto_call_t call = { .function = "gate", .args = { mamuto_scatter(in, 3) }, .result = shared };
    E2E_CHECK_OK(mamuto_map_wait(own, &call, &err), &err);
    E2E_CHECK(shared[0] == 1 && shared[1] == 3 && shared[2] == 5);
    E2E_CHECK(mamuto_close_wait(own) == 0);
    return 0;
}

static struct {
    pid_t pids[64];
    int n;
} left;

static bool all_gone(void *unused)
{
    (void)unused;
    for (int i = 0; i < left.n; i++)
        if (e2e_is_alive(left.pids[i]))
            return false;
    return true;
}

/* The fork server and three workers; the process that loaded the module may take a moment to end. */
static bool is_complete(void *child)
{
    left.n = e2e_descendants(*(pid_t *)child, NULL, left.pids, 64);
    return left.n == 4;
}

/* Starts the program and waits until it is in mid-map, all its processes known. */
static pid_t start_program(void *handler)
{
    pid_t child = e2e_start(program, handler);
    assert_true(e2e_has_size("begun", 3));
    assert_true(e2e_until(is_complete, &child, 5000));
    return child;
}

static void program_killed_in_mid_map_leaves_nothing(void **state)
{
    (void)state;
    int files = e2e_files("/dev/shm"), scratch = e2e_files(e2e_path(""));
    pid_t child = start_program(NULL);
    kill(child, SIGKILL);
    int status = e2e_end(child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    if (!e2e_until(all_gone, NULL, 5000))
        fail_msg("processes remain");
    assert_true(e2e_files("/dev/shm") <= files);
    assert_int_equal(e2e_files(e2e_path("")), scratch + 4); /* "begun", and "in-PID" of three */
}

static void program_that_ends_by_itself_in_mid_map_leaves_nothing(void **state)
{
    (void)state;
    static const int signals[] = { SIGTERM, SIGSEGV, SIGABRT, SIGHUP };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        remove(e2e_path("begun"));
        pid_t child = start_program(NULL);
        kill(child, signals[i]);
        assert_true(WIFSIGNALED(e2e_end(child)));
        assert_true(e2e_until(all_gone, NULL, 5000));
    }
}

static void interrupt_without_a_handler_ends_everything(void **state)
{
    (void)state;
    pid_t child = start_program(NULL);
    kill(-child, SIGINT);
    int status = e2e_end(child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    assert_true(e2e_until(all_gone, NULL, 5000));
}

static void on_interrupt(int signal) { (void)signal; }

static void interrupt_reaches_the_program_alone(void **state)
{
    (void)state;
    void (*handler)(int) = on_interrupt;
    pid_t child = start_program(&handler);
    for (int i = 0; i < 20; i++) {
        kill(-child, SIGINT);
        e2e_nap();
    }
    assert_int_equal(kill(-child, 0), 0);
    for (int i = 0; i < left.n; i++)
        assert_true(e2e_is_alive(left.pids[i]));
    e2e_touch("go");
    assert_int_equal(e2e_end(child), 0); /* the map went on to its end, and was right */
    assert_true(e2e_until(all_gone, NULL, 5000));
}

/* ---- Closed streams ---------------------------------------------------------------------------------------------- */

enum { ARRAY_BYTES = 1 << 16 };

struct streamless {
    unsigned char *array; /* no map uses it */
    int code, right;
    bool gone;
    mamuto_error_t err;
};

static void map_without_streams(mamuto_t *own, struct streamless *result)
{
    int32_t in = 1, out = 0;
    mamuto_call_t call = { .function = "shout", .args = { mamuto_scatter(&in, 1) }, .result = &out };
    int code = mamuto_map_wait(own, &call, &result->err);
    result->code = result->code ? result->code : code;
    bool untouched = true;
    for (int k = 0; k < ARRAY_BYTES; k++)
        untouched &= result->array[k] == 0xee;
    result->right += code == 0 && out == 2 && untouched;
}

/* The program closes its standard streams when the mapper is open; then the fork server dies. What the next one and its
 * workers printed was written into the arena, whose descriptor had taken the place of stderr. */
static int program_without_streams(void *unused)
{
    (void)unused;
    static const char module[] = "#include <mamuto.h>\n#include <stdio.h>\n"
                                 "MAMUTO_FUNCTION(shout, \"i4 -> i4\")\n{\n"
                                 "    fprintf(stderr, \"SHOUT\"), fprintf(stdout, \"SHOUT\");\n"
                                 "    fflush(stderr), fflush(stdout);\n"
                                 "    MAMUTO_OUT(int32_t) = MAMUTO_IN(int32_t, 0) + 1;\n"
                                 "    return 0;\n}\n";
    mamuto_t *own = NULL;
    mamuto_error_t err = { 0 };
    e2e_write(e2e_path("shouting.c"), module, sizeof module - 1);
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .modules = (const char *[]){ e2e_path("shouting.c"), NULL } };
    int copy = fcntl(2, F_DUPFD_CLOEXEC, 10), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, 1), dup2(null, 2);
    int opened = mamuto_open_wait(&own, &options, &err);
    dup2(copy, 1), dup2(copy, 2);
    E2E_CHECK_OK(opened, &err);
    struct streamless result = { .array = mamuto_alloc(own, ARRAY_BYTES, 1, &err) };
    E2E_CHECK(copy > 2 && result.array);
    memset(result.array, 0xee, ARRAY_BYTES);
    close(0), close(1), close(2); /* and nothing is put into their places: they may be the library's soon */
    map_without_streams(own, &result);
    pid_t self = getpid(), server = e2e_server();
    bool complete = e2e_until(is_complete, &self, 5000);
    if (server > 0)
        kill(server, SIGKILL);
    result.gone = complete && e2e_until(all_gone, NULL, 5000); /* who has the streams still */
    map_without_streams(own, &result);
    int closed = mamuto_close_wait(own);
    dup2(copy, 1), dup2(copy, 2);
    E2E_CHECK_OK(result.code, &result.err);
    E2E_CHECK(result.right == 2 && result.gone);
    E2E_CHECK(closed == 0);
    return 0;
}

static void program_that_closes_its_streams_keeps_its_arrays(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(program_without_streams, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(program_killed_in_mid_map_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(program_that_ends_by_itself_in_mid_map_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(interrupt_without_a_handler_ends_everything, begin, end),
        cmocka_unit_test_setup_teardown(interrupt_reaches_the_program_alone, begin, end),
        cmocka_unit_test_setup_teardown(program_that_closes_its_streams_keeps_its_arrays, begin, end),
    };
    return cmocka_run_group_tests_name("e2e_programs", tests, NULL, NULL);
}
