/* Files that change, and folders: a shared object that is replaced after it was loaded is never run as if it were the
 * old one, and a relative path is one of the folder that the program is in when it loads. */
#include "tests/support/e2e.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "#include <mamuto.h>\n"
#define TWICE "MAMUTO_FUNCTION(twice, \"f8 -> f8\") { MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0); return 0; }\n"
#define MINUS "MAMUTO_FUNCTION(minus, \"f8 -> f8\") { MAMUTO_OUT(double) = -MAMUTO_IN(double, 0); return 0; }\n"
#define THRICE "MAMUTO_FUNCTION(thrice, \"f8 -> f8\") { MAMUTO_OUT(double) = 3 * MAMUTO_IN(double, 0); return 0; }\n"

static mamuto_t *m;
static char folder[4096];
static pid_t worker;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    assert_non_null(getcwd(folder, sizeof folder));
    m = e2e_open(1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir(folder), 0);
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* A new file in place of the old one, as linkers and package managers make it. */
static void build(const char *name, const char *text)
{
    char command[16384];
    e2e_write(e2e_path("source.c"), text, strlen(text));
    snprintf(command, sizeof command, "cc -shared -fPIC -I'%s' -o '%s' '%s' && mv '%s' '%s'", getenv("MAMUTO_INCLUDE"),
             e2e_path("fresh"), e2e_path("source.c"), e2e_path("fresh"), e2e_path(name));
    assert_int_equal(system(command), 0);
}

static int map_one(const char *function, int help, double *out, mamuto_error_t *err)
{
    static const double in = 21;
    mamuto_call_t call = { .function = function, .args = { mamuto_scatter(&in, 1) }, .result = out, .help = help };
    *err = (mamuto_error_t){ 0 };
    *out = 0;
    return mamuto_map_wait(m, &call, err);
}

static void expect(const char *function, int help, double expected)
{
    double out;
    mamuto_error_t err;
    if (map_one(function, help, &out, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(out == expected);
}

static void expect_replaced(const char *function, int help)
{
    double out;
    mamuto_error_t err;
    e2e_is_error(map_one(function, help, &out, &err), &err, MAMUTO_EMODULE, "has been replaced since it was loaded");
}

static void load(const char *name)
{
    mamuto_error_t err = { 0 };
    if (mamuto_load_wait(m, e2e_path(name), &err) != 0)
        fail_msg("%s", err.text);
}

static bool is_another(void *unused)
{
    (void)unused;
    pid_t now;
    return e2e_workers(&now, 1) == 1 && now != worker;
}

static void kill_worker(void)
{
    assert_int_equal(e2e_workers(&worker, 1), 1);
    kill(worker, SIGKILL);
    mamuto_call_t call = { .function = "witness.thrice", .args = { mamuto_scatter(&(double){ 1 }, 1) } };
    double out; /* the loop has to run for the death to be seen */
    call.result = &out;
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(e2e_until(is_another, NULL, E2E_PATIENCE_MS));
}

/* A function is known by its number: the new file's first one was run under the old one's name, with status 0. */
static void module_replaced_before_a_worker_dies_is_not_run(void **state)
{
    (void)state;
    build("lib.so", HEAD TWICE);
    build("witness.so", HEAD THRICE);
    load("lib.so");
    load("witness.so");
    expect("lib.twice", 0, 42);
    build("lib.so", HEAD MINUS TWICE);
    expect("lib.twice", 0, 42); /* this worker has the old one */
    kill_worker();
    expect_replaced("lib.twice", 0);
    expect("witness.thrice", 0, 63);
}

/* Also one with fewer functions: what lay behind its table was called. */
static void module_replaced_before_its_first_map_is_not_run(void **state)
{
    (void)state;
    build("lib.so", HEAD MINUS TWICE);
    load("lib.so");
    build("lib.so", HEAD TWICE);
    expect_replaced("lib.twice", 0);
    expect_replaced("lib.minus", 0);
    expect_replaced("lib.twice", 1); /* nor by the caller */
}

static void module_replaced_before_an_attach_is_not_run(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    build("lib.so", HEAD TWICE);
    load("lib.so");
    expect("lib.twice", 0, 42);
    assert_int_equal(e2e_workers(&worker, 1), 1);
    build("lib.so", HEAD MINUS TWICE);
    const void *p;
    int fd = open(e2e_path("lib.so"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(mamuto_attach(m, fd, 0, 100, &p, &err), 0); /* has all workers forked anew */
    close(fd);
    assert_true(e2e_until(is_another, NULL, E2E_PATIENCE_MS));
    expect_replaced("lib.twice", 0);
}

static void module_built_again_with_the_same_functions_is_run(void **state)
{
    (void)state;
    build("lib.so", HEAD TWICE);
    load("lib.so");
    build("lib.so", HEAD "/* the same */\n" TWICE);
    expect("lib.twice", 0, 42);
    expect("lib.twice", 1, 42);
}

/* The path was looked up from the folder in which the mapper had been opened, and its file taken if there was one. */
static void relative_path_is_of_the_present_folder(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    build("here.so", HEAD TWICE);
    assert_int_equal(mkdir(e2e_path("sub"), 0700), 0);
    build("sub/here.so", HEAD MINUS);
    e2e_write(e2e_path("sub/source.c"), HEAD THRICE, strlen(HEAD THRICE));
    e2e_is_error(mamuto_load_wait(m, "here.so", &err), &err, MAMUTO_EMODULE, "there is no file");
    err = (mamuto_error_t){ 0 };
    assert_int_equal(chdir(e2e_path("sub")), 0);
    if (mamuto_load_wait(m, "here.so", &err) != 0 || mamuto_load_wait(m, "./source.c", &err) != 0)
        fail_msg("%s", err.text);
    expect("here.minus", 0, -21);
    expect("source.thrice", 0, 63);
    assert_int_equal(chdir(folder), 0); /* it stays what it is */
    expect("here.minus", 1, -21);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(module_replaced_before_a_worker_dies_is_not_run), TEST(module_replaced_before_its_first_map_is_not_run),
        TEST(module_replaced_before_an_attach_is_not_run),     TEST(module_built_again_with_the_same_functions_is_run),
        TEST(relative_path_is_of_the_present_folder),
    };
    return cmocka_run_group_tests_name("e2e_replaced", tests, NULL, NULL);
}
