/* The program mamuto, as it was built: what it prints, and its exit codes. It finds the library's own helper, not the tests'. */
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static char output[16384];

/* Runs it with these arguments; both outputs. Its exit code. */
static int run(const char *arguments)
{
    char command[2048];
    const char *agent = getenv("MAMUTO_AGENT"); /* BUILD/test-agent/mamuto-agent */
    assert_non_null(agent);
    snprintf(command, sizeof command, "unset MAMUTO_AGENT; $(dirname %s)/../bin/mamuto %s 2>&1", agent, arguments);
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c): a command of this file */
    assert_non_null(pipe);
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void has(const char *part)
{
    if (!strstr(output, part))
        fail_msg("no \"%s\" in: %s", part, output);
}

static void check_tells_of_each_host(void **state)
{
    (void)state;
    static const char good[] = "{\"hosts\": {\"localhost\": 1, \"far\": {\"cores\": 1, \"launch\": [\"sh\", \"-c\"]}}}";
    static const char bad[] = "{\"hosts\": {\"localhost\": 1, \"gone\": {\"launch\": [\"false\"]}}}";
    char arguments[600];
    e2e_scratch_begin();
    e2e_write(e2e_path("good.json"), good, sizeof good - 1);
    e2e_write(e2e_path("bad.json"), bad, sizeof bad - 1);
    snprintf(arguments, sizeof arguments, "check -c %s", e2e_path("good.json"));
    assert_int_equal(run(arguments), 0);
    has("host       transport  cores");
    has("localhost  shm            1");
    has("far        tcp+tls        1");
    snprintf(arguments, sizeof arguments, "check -c %s", e2e_path("bad.json"));
    assert_int_equal(run(arguments), 3);
    has("gone       -");
    has("lost: host gone: EXEC: ");
    e2e_scratch_end();
}

static void check_of_a_bad_config_names_file_and_line(void **state)
{
    (void)state;
    static const char wrong[] = "{\n  \"hosts\": {\"localhost\": {\"croes\": 1}}\n}\n";
    char arguments[600];
    e2e_scratch_begin();
    e2e_write(e2e_path("wrong.json"), wrong, sizeof wrong - 1);
    snprintf(arguments, sizeof arguments, "check -c %s", e2e_path("wrong.json"));
    assert_int_equal(run(arguments), 2);
    has("wrong.json:2: ");
    has("did you mean \"cores\"?");
    e2e_scratch_end();
}

static void misuse_is_told_with_what_would_be_right(void **state)
{
    (void)state;
    assert_int_equal(run("check --frob"), 2);
    has("there is no option \"--frob\"");
    has("usage: mamuto check [-c FILE]");
    assert_int_equal(run("check one"), 2);
    has("\"one\" is one argument too many");
    assert_int_equal(run("chekc"), 2);
    has("there is no command \"chekc\"");
    assert_int_equal(run(""), 2);
    assert_int_equal(run("--help"), 0);
    has("mamuto check [-c FILE]");
    assert_int_equal(run("check --help"), 0);
    has("Logs in to every host");
    assert_int_equal(run("--version"), 0);
    has("mamuto ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_tells_of_each_host),
        cmocka_unit_test(check_of_a_bad_config_names_file_and_line),
        cmocka_unit_test(misuse_is_told_with_what_would_be_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
