/* The config of this machine, seen from inside its workers: each key changes something there, and what cannot be done
 * is a clear error of open. The module "place" tells what a worker sees. */
#include "tests/support/e2e.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

static char before[4096]; /* the working directory of the test */

static int begin(void **state)
{
    (void)state;
    static const char *const names[] = { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                         "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
                                         "PLACE_A",         "PLACE_B",
                                         "MAMUTO_CONFIG" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    e2e_scratch_begin();
    return getcwd(before, sizeof before) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return chdir(before);
}

/* --- helpers ----------------------------------------------------------------------------------------------------- */

static const char *const place[] = { E2E_MODULE("place"), NULL };

static mamuto_t *opened(const mamuto_options_t *options)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    if (mamuto_open_wait(&m, options, &err) != 0)
        fail_msg("cannot open: %s", err.text);
    return m;
}

static mamuto_t *with(const char *config_text)
{
    return opened(&(mamuto_options_t){ .config_text = config_text, .modules = place });
}

static void refused(const mamuto_options_t *options, int code, const char *part)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_open_wait(&m, options, &err), &err, code, part);
    assert_null(m);
}

/* A config file in the scratch folder. */
static const char *config_file(const char *text)
{
    const char *path = e2e_path("cluster.json");
    e2e_write(path, text, strlen(text));
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

/* One item of a function without input. */
static void ask(mamuto_t *m, const char *function, void *result)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function, .count = 1, .result = result };
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%s: %s", function, err.text);
}

static int32_t ask_number(mamuto_t *m, const char *function)
{
    int32_t number = -1;
    ask(m, function, &number);
    return number;
}

static void assert_variable(mamuto_t *m, const char *name, const char *value)
{
    char in[64] = "", out[128] = "";
    mamuto_error_t err = { 0 };
    strcpy(in, name);
    mamuto_call_t call = { .function = "variable", .args = { mamuto_scatter(in, 1) }, .result = out };
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
    if (strcmp(out, value) != 0)
        fail_msg("$%s is \"%s\", not \"%s\"", name, out, value);
}

static void assert_cwd(mamuto_t *m, const char *folder)
{
    char out[512] = "", real[4096];
    ask(m, "cwd", out);
    assert_non_null(realpath(folder, real));
    assert_string_equal(out, real);
}

static bool are_workers(void *n)
{
    pid_t pids[E2E_MAX_PIDS];
    return e2e_workers(pids, E2E_MAX_PIDS) == *(int *)n;
}

/* A worker takes its name a moment after it is there. */
static void assert_workers(int n) { assert_true(e2e_until(are_workers, &n, E2E_PATIENCE_MS)); }

static bool is_dead(void *pid) { return !e2e_is_alive(*(pid_t *)pid); }

static void end_process(pid_t pid)
{
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(e2e_until(is_dead, &pid, E2E_PATIENCE_MS));
}

/* --- who and where ------------------------------------------------------------------------------------------------ */

static void config_cores_is_the_number_of_workers(void **state)
{
    (void)state;
    static const char *const texts[] = { "{\"hosts\": {\"localhost\": 3}}",
                                         "{\"hosts\": {\"localhost\": {\"cores\": 3, \"transport\": \"shm\"}}}" };
    for (size_t i = 0; i < 2; i++) {
        mamuto_t *m = with(texts[i]);
        assert_workers(3);
        e2e_close(m);
    }
}

static void config_pin_true_keeps_a_worker_on_one_cpu(void **state)
{
    (void)state;
    cpu_set_t own;
    assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
    mamuto_t *m = with("{\"hosts\": {\"localhost\": {\"cores\": 1}}, \"pin\": true}");
    assert_int_equal(ask_number(m, "cpus"), 1);
    e2e_close(m);
    m = with("{\"hosts\": {\"localhost\": {\"cores\": 1, \"pin\": false}}, \"pin\": true}");
    assert_int_equal(ask_number(m, "cpus"), CPU_COUNT(&own));
    e2e_close(m);
}

static void config_core_dumps_true_leaves_the_limit(void **state)
{
    (void)state;
    struct rlimit limit;
    uint64_t seen = 7;
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_CORE, &limit), 0);
    mamuto_t *m = with("{}");
    ask(m, "core_limit", &seen);
    assert_int_equal(seen, 0);
    e2e_close(m);
    m = with("{\"core_dumps\": true}");
    ask(m, "core_limit", &seen);
    assert_true(seen == limit.rlim_cur || e2e_is_sanitized()); /* sanitizers turn cores off themselves */
    e2e_close(m);
}

static void config_nice_is_added_for_workers_alone(void **state)
{
    (void)state;
    int own = getpriority(PRIO_PROCESS, 0);
    mamuto_t *m = with("{\"hosts\": {\"localhost\": 2}, \"nice\": 5}");
    assert_int_equal(ask_number(m, "priority"), own + 5 > 19 ? 19 : own + 5);
    pid_t server = e2e_server();
    assert_true(server > 0);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)server), own);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
    e2e_close(m);
    m = with("{\"hosts\": {\"localhost\": {\"nice\": 0}}, \"nice\": 5}");
    assert_int_equal(ask_number(m, "priority"), own);
    e2e_close(m);
}

static void config_workdir_is_where_workers_are(void **state)
{
    (void)state;
    char text[4200];
    assert_int_equal(mkdir(e2e_path("data"), 0700), 0);
    snprintf(text, sizeof text, "{\"hosts\": {\"localhost\": 2}, \"workdir\": \"%s\"}", e2e_path("data"));
    mamuto_t *m = with(text);
    assert_cwd(m, e2e_path("data"));
    e2e_close(m);
    m = with("{\"hosts\": {\"localhost\": {\"workdir\": \"\"}}, \"workdir\": \"/\"}");
    assert_cwd(m, before);
    e2e_close(m);
    m = opened(&(mamuto_options_t){ .config = config_file("{\"workdir\": \"data\"}"), .modules = place });
    assert_cwd(m, e2e_path("data")); /* from the config's folder */
    e2e_close(m);
}

/* The folder is held, not looked for again: a new worker comes to where the first one was. */
static void config_workdir_env_and_nice_outlive_workers_and_server(void **state)
{
    (void)state;
    int own = getpriority(PRIO_PROCESS, 0);
    pid_t pids[E2E_MAX_PIDS];
    assert_int_equal(mkdir(e2e_path("data"), 0700), 0);
    mamuto_t *m = opened(&(mamuto_options_t){
        .config = config_file("{\"hosts\": {\"localhost\": {\"cores\": 1, \"workdir\": \"data\", \"nice\": 3, "
                              "\"env\": {\"PLACE_A\": \"a\"}}}}"),
        .modules = place });
    assert_int_equal(rename(e2e_path("data"), e2e_path("moved")), 0);
    for (int i = 0; i < 2; i++) {
        assert_workers(1);
        end_process(i == 0 && e2e_workers(pids, E2E_MAX_PIDS) == 1 ? pids[0] : e2e_server());
        assert_cwd(m, e2e_path("moved"));
        assert_variable(m, "PLACE_A", "a");
        assert_int_equal(ask_number(m, "priority"), own + 3 > 19 ? 19 : own + 3);
    }
    e2e_close(m);
}

struct opening {
    uv_loop_t loop;
    int calls, status;
    char text[512];
};

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    struct opening *opening = mamuto_data(m);
    opening->calls++;
    opening->status = status;
    snprintf(opening->text, sizeof opening->text, "%s", err ? err->text : "");
}

static void config_workdir_that_is_not_there_is_told_by_on_open(void **state)
{
    (void)state;
    struct opening opening = { .calls = 0 };
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    struct e2e_held held = e2e_hold();
    assert_int_equal(uv_loop_init(&opening.loop), 0);
    mamuto_options_t options = {
        .config_text = "{\"workdir\": \"/nonexistent/x\"}", .loop = &opening.loop, .data = &opening, .on_open = on_open
    };
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    assert_int_equal(opening.calls, 0);
    uv_run(&opening.loop, UV_RUN_DEFAULT);
    assert_int_equal(opening.calls, 1);
    assert_int_equal(opening.status, MAMUTO_ECONFIG);
    assert_non_null(strstr(opening.text, "workdir, /nonexistent/x, cannot be the workers' working directory: No such"));
    assert_int_equal(mamuto_close(m, NULL), 0);
    uv_run(&opening.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&opening.loop), 0);
    e2e_holds_as(&held);
    refused(&(mamuto_options_t){ .config_text = "{\"workdir\": \"/dev/null\"}" }, MAMUTO_ECONFIG, "Not a directory");
}

/* --- environment -------------------------------------------------------------------------------------------------- */

static void config_env_is_merged_and_the_hosts_own_wins(void **state)
{
    (void)state;
    setenv("PLACE_A", "program", 1);
    setenv("PLACE_B", "program", 1);
    mamuto_t *m =
        with("{\"hosts\": {\"localhost\": {\"cores\": 2, \"env\": {\"PLACE_B\": \"host\", \"PLACE_D\": \"\"}}}, "
             "\"env\": {\"PLACE_B\": \"top\", \"PLACE_C\": \"a=b \\\"ö\"}}");
    assert_variable(m, "PLACE_A", "program");
    assert_variable(m, "PLACE_B", "host");
    assert_variable(m, "PLACE_C", "a=b \"ö");
    assert_variable(m, "PLACE_D", "");
    assert_variable(m, "PLACE_E", "-");
    assert_string_equal(getenv("PLACE_B"), "program"); /* the program's own is untouched */
    e2e_close(m);
    unsetenv("PLACE_A");
    unsetenv("PLACE_B");
}

static void config_inner_threads_are_one_unless_set(void **state)
{
    (void)state;
    static const struct {
        const char *config, *values[4];
    } cases[] = {
        { "{}", { "1", "1", "1", "1" } },
        { "{\"env\": {\"OPENBLAS_NUM_THREADS\": \"2\"}}", { "1", "2", "1", "1" } },
        /* the libraries follow OpenMP's where they have no own: so it means them all */
        { "{\"env\": {\"OMP_NUM_THREADS\": \"3\"}}", { "3", "-", "-", "-" } },
        { "{\"env\": {\"OMP_NUM_THREADS\": \"3\", \"MKL_NUM_THREADS\": \"5\"}}", { "3", "-", "5", "-" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mamuto_t *m = with(cases[i].config);
        assert_variable(m, "OMP_NUM_THREADS", cases[i].values[0]);
        assert_variable(m, "OPENBLAS_NUM_THREADS", cases[i].values[1]);
        assert_variable(m, "MKL_NUM_THREADS", cases[i].values[2]);
        assert_variable(m, "BLIS_NUM_THREADS", cases[i].values[3]);
        e2e_close(m);
    }
    setenv("OMP_NUM_THREADS", "4", 1);
    mamuto_t *m = with("{}");
    assert_variable(m, "OMP_NUM_THREADS", "4");
    e2e_close(m);
    unsetenv("OMP_NUM_THREADS");
}

/* --- compiler and modules ----------------------------------------------------------------------------------------- */

static void assert_compiled(mamuto_t *m, int flag, int cc, int include, int lib)
{
    int32_t seen[4] = { -1, -1, -1, -1 };
    ask(m, "compiled", seen);
    assert_int_equal(seen[0], flag);
    assert_int_equal(seen[1], cc);
    assert_int_equal(seen[2], include);
    assert_int_equal(seen[3], lib);
}

static void write_script(const char *name, const char *text)
{
    const char *path = e2e_path(name);
    e2e_write(path, text, strlen(text));
    assert_int_equal(chmod(path, 0700), 0);
}

static void config_cc_cflags_and_libs_are_what_modules_are_built_with(void **state)
{
    (void)state;
    write_script("my cc", "#!/bin/sh\nexec cc -DPLACE_CC=1 \"$@\"\n");
    assert_int_equal(mkdir(e2e_path("inc"), 0700), 0);
    e2e_write(e2e_path("inc/place_extra.h"), "\n", 1);
    mamuto_t *m = with("{}");
    assert_compiled(m, 0, 0, 0, 0);
    e2e_close(m);
    m = with("{\"cflags\": [\"-O1\", \"-DPLACE_FLAG=6\"]}");
    assert_compiled(m, 6, 0, 0, 0);
    e2e_close(m);
    m = with("{\"libs\": [\"-lm\", \"-Wl,--defsym=place_lib=1\"]}");
    assert_compiled(m, 0, 0, 0, 1);
    e2e_close(m);
    m = opened(&(mamuto_options_t){
        .config = config_file("{\"cc\": \"./my cc\", \"cflags\": [\"-Iinc\"], \"hosts\": {\"localhost\": 1}}"),
        .modules = place });
    assert_compiled(m, 0, 1, 1, 0); /* paths from the config's folder */
    e2e_close(m);
    assert_int_equal(chdir(e2e_path("")), 0);
    m = with("{\"cflags\": [\"-Iinc\", \"-DPLACE_FLAG=2\"], \"workdir\": \"/\", \"hosts\": {\"localhost\": 1}}");
    assert_compiled(m, 2, 0, 1, 0); /* of a text: from where the program is, whatever the workers' folder */
    assert_cwd(m, "/");
    e2e_close(m);
}

static void config_modules_are_loaded_before_those_of_the_options(void **state)
{
    (void)state;
    static const char text[] = "#include <mamuto.h>\n"
                               "MAMUTO_FUNCTION(one, \"-> i4\") { MAMUTO_OUT(int32_t) = 1; return 0; }\n";
    e2e_write(e2e_path("first.c"), text, sizeof text - 1);
    mamuto_t *m =
        opened(&(mamuto_options_t){ .config = config_file("{\"modules\": [\"first.c\"]}"), .modules = place });
    assert_int_equal(ask_number(m, "first.one"), 1);
    assert_int_equal(ask_number(m, "place.priority"), getpriority(PRIO_PROCESS, 0));
    e2e_close(m);
    setenv("MAMUTO_CONFIG", e2e_path("cluster.json"), 1);
    m = opened(NULL);
    assert_int_equal(ask_number(m, "one"), 1);
    e2e_close(m);
    unsetenv("MAMUTO_CONFIG");
    refused(&(mamuto_options_t){ .config = config_file("{\"modules\": [\"first.c\", \"x/first.c\"]}") }, MAMUTO_EMODULE,
            "the name \"first\" is taken by");
    refused(&(mamuto_options_t){ .config = config_file("{\"modules\": [\"first.c\"]}"),
                                 .modules = (const char *[]){ "later/first.c", NULL } },
            MAMUTO_EMODULE, "module later/first.c: the name \"first\" is taken by /");
    refused(&(mamuto_options_t){ .config = config_file("{\"modules\": [\"missing.c\"]}") }, MAMUTO_EMODULE,
            "missing.c");
}

static void config_agent_is_the_helper_program(void **state)
{
    (void)state;
    const char *named = getenv("MAMUTO_AGENT");
    char script[4300];
    assert_non_null(named); /* as CTest has it */
    snprintf(script, sizeof script, "#!/bin/sh\n: > \"$E2E_DIR/it-ran\"\nexec \"%s\" \"$@\"\n", named);
    write_script("agent", script);
    mamuto_t *m = opened(&(mamuto_options_t){
        .config = config_file("{\"hosts\": {\"localhost\": {\"agent\": \"agent\", \"cores\": 1}}}"),
        .modules = place });
    assert_int_equal(e2e_size("it-ran"), 0);
    assert_int_equal(ask_number(m, "priority"), getpriority(PRIO_PROCESS, 0));
    e2e_close(m);
    refused(&(mamuto_options_t){ .config_text = "{\"hosts\": {\"localhost\": {\"agent\": \"/nonexistent/agent\"}}}" },
            MAMUTO_EHOST, "the config's \"agent\" names, /nonexistent/agent, cannot be run: No such file");
}

/* --- what open refuses -------------------------------------------------------------------------------------------- */

static void config_host_that_does_not_come_up_is_done_without(void **state)
{
    (void)state;
    mamuto_host_t hosts[2] = { 0 };
    mamuto_t *m =
        opened(&(mamuto_options_t){ .config = config_file("{\"hosts\": {\"localhost\": 1, \"node1\": {\"launch\": "
                                                          "[\"false\"]}}}"),
                                    .modules = place });
    assert_int_equal(mamuto_hosts(m, hosts, 2), 2);
    assert_string_equal(hosts[1].name, "node1");
    assert_string_equal(hosts[1].state, "lost");
    assert_non_null(hosts[1].reason);
    assert_int_equal(ask_number(m, "priority"), getpriority(PRIO_PROCESS, 0));
    e2e_close(m);
    refused(&(mamuto_options_t){ .config_text = "{\"hosts\": {\"node1\": {\"launch\": [\"false\"]}}}" }, MAMUTO_ENOHOST,
            "no host is left: node1: ");
    refused(&(mamuto_options_t){ .config_text = "{\"hosts\": {\"localhost\": 1, \"node1\": {\"launch\": "
                                                "[\"false\"], \"required\": true}}}" },
            MAMUTO_EHOST, "node1, which is required: ");
    refused(&(mamuto_options_t){ .config_text = "{\"hosts\": {\"node1\": {\"port\": 0}}}" }, MAMUTO_ECONFIG,
            "config:1: hosts.node1.port: must be a port, an integer from 1 to 65535, not 0");
}

static void config_file_that_others_can_write_is_an_error_of_open(void **state)
{
    (void)state;
    const char *path = config_file("{}");
    assert_int_equal(chmod(path, 0666), 0);
    refused(&(mamuto_options_t){ .config = path }, MAMUTO_ECONFIG, "others can write it");
}

static void config_written_is_one_that_opens(void **state)
{
    (void)state;
    static const char *const hosts[] = { "localhost" };
    mamuto_error_t err = { 0 };
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", e2e_path("a \"b\" ö"));
    assert_int_equal(mkdir(folder, 0700), 0);
    mamuto_config_t config = { .hosts = hosts, .cores = (int[]){ 2 }, .n_hosts = 1, .workdir = folder, .nice = 1 };
    assert_int_equal(mamuto_config_write(e2e_path("written.json"), &config, &err), 0);
    mamuto_t *m = opened(&(mamuto_options_t){ .config = e2e_path("written.json"), .modules = place });
    assert_workers(2);
    assert_cwd(m, folder);
    e2e_close(m);
}

#define IN_SCRATCH(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(config_cores_is_the_number_of_workers),
        IN_SCRATCH(config_pin_true_keeps_a_worker_on_one_cpu),
        IN_SCRATCH(config_core_dumps_true_leaves_the_limit),
        IN_SCRATCH(config_nice_is_added_for_workers_alone),
        IN_SCRATCH(config_workdir_is_where_workers_are),
        IN_SCRATCH(config_workdir_env_and_nice_outlive_workers_and_server),
        IN_SCRATCH(config_workdir_that_is_not_there_is_told_by_on_open),
        IN_SCRATCH(config_env_is_merged_and_the_hosts_own_wins),
        IN_SCRATCH(config_inner_threads_are_one_unless_set),
        IN_SCRATCH(config_cc_cflags_and_libs_are_what_modules_are_built_with),
        IN_SCRATCH(config_modules_are_loaded_before_those_of_the_options),
        IN_SCRATCH(config_agent_is_the_helper_program),
        IN_SCRATCH(config_host_that_does_not_come_up_is_done_without),
        IN_SCRATCH(config_file_that_others_can_write_is_an_error_of_open),
        IN_SCRATCH(config_written_is_one_that_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
