/* Hosts that have no agent are sent one: through each kind of shell, into each kind of cache. The host is a shell of this
 * machine with an environment of its own. */
#include "tests/support/cluster.h"
#include "tests/support/e2e.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const modules[] = { E2E_MODULE("cluster"), NULL };
static char cache[512], home[512], folder[512];

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    snprintf(cache, sizeof cache, "%s", e2e_path("cache"));
    snprintf(home, sizeof home, "%s", e2e_path("home"));
    snprintf(folder, sizeof folder, "%s", e2e_path("tmp"));
    mkdir(cache, 0700);
    mkdir(home, 0700);
    mkdir(folder, 0777);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

/* A host of which these are the variables, and this its launch command, as JSON. */
static const char *config(const char *launch)
{
    static char text[4096];
    snprintf(text, sizeof text,
             "{\"hosts\": {\"far\": {\"cores\": 1, \"launch\": [\"env\", \"XDG_CACHE_HOME=%s\", \"HOME=%s\", "
             "\"TMPDIR=%s\", %s]}}}",
             cache, home, folder, launch);
    return text;
}

static void good_map(mamuto_t *m)
{
    static double x[100], out[200];
    static const double values[4] = { 1.25, -3, 7, 1 };
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "cluster.busy",
                           .args = { mamuto_scatter(x, 100), mamuto_broadcast(values) },
                           .result = out };
    for (int i = 0; i < 100; i++)
        x[i] = i;
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 100; i++)
        assert_true(out[2 * i] == i * 1.25 - 3 && out[2 * i + 1] == i * 7.0);
}

static void works(const char *launch)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config(launch), .modules = modules };
    if (mamuto_open_wait(&m, &options, &err))
        fail_msg("%s: %s", launch, err.text);
    good_map(m);
    e2e_close(m);
}

/* The agent's file below a cache folder, or NULL. Static. */
static const char *agent_in(const char *base)
{
    static char path[1024];
    char command[1200];
    snprintf(command, sizeof command, "ls %s/mamuto/agent-* 2>/dev/null | head -1", base);
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c): a command of this file */
    path[0] = '\0';
    assert_non_null(pipe);
    if (!fgets(path, sizeof path, pipe))
        path[0] = '\0';
    pclose(pipe);
    path[strcspn(path, "\n")] = '\0';
    return path[0] ? path : NULL;
}

static void clear(const char *base)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf %s/mamuto %s/.cache %s/mamuto-*", base, base, base);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a command of this file */
}

static void clear_all(void)
{
    clear(cache);
    clear(home);
    clear(folder);
}

static void every_shell_gets_an_agent_and_finds_it_again(void **state)
{
    (void)state;
    static const char *const shells[] = {
        "\"sh\", \"-c\"",  "\"bash\", \"-c\"", "\"dash\", \"-c\"", "\"fish\", \"-c\"", "\"busybox\", \"sh\", \"-c\"",
        "\"tcsh\", \"-c\""
    };
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        clear_all();
        works(shells[i]);
        const char *agent = agent_in(cache);
        struct stat first, second;
        if (!agent)
            fail_msg("%s: there is no agent in its cache", shells[i]);
        assert_int_equal(stat(agent, &first), 0);
        assert_int_equal(first.st_mode & 07777, 0700);
        works(shells[i]);
        assert_int_equal(stat(agent, &second), 0);
        assert_int_equal(first.st_ino, second.st_ino); /* it was not sent again */
    }
}

static void a_start_up_file_may_print(void **state)
{
    (void)state;
    works("\"sh\", \"-c\", \"echo welcome; echo; printf 'mamuto-7d1e no line'; exec sh -c \\\"$0\\\"\"");
}

static void a_cached_agent_is_not_trusted_by_its_name(void **state)
{
    (void)state;
    clear_all();
    works("\"sh\", \"-c\"");
    const char *agent = agent_in(cache);
    assert_non_null(agent);
    assert_int_equal(truncate(agent, 5000), 0);
    works("\"sh\", \"-c\"");
    assert_int_equal(truncate(agent, 0), 0);
    works("\"sh\", \"-c\"");
    static const char other[] = "#!/bin/sh\nexit 127\n";
    e2e_write(agent, other, sizeof other - 1);
    chmod(agent, 0700);
    works("\"sh\", \"-c\"");
    struct stat st;
    assert_true(stat(agent, &st) == 0 && st.st_size > (off_t)sizeof other);
}

static void a_folder_that_others_can_write_is_passed_over(void **state)
{
    (void)state;
    char path[600];
    clear_all();
    snprintf(path, sizeof path, "%s/mamuto", cache);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(chmod(path, 0777), 0);
    works("\"sh\", \"-c\"");
    assert_null(agent_in(cache));
    snprintf(path, sizeof path, "%s/.cache", home);
    assert_non_null(agent_in(path));
    clear_all(); /* and so is a link to one */
    snprintf(path, sizeof path, "%s/mamuto", cache);
    assert_int_equal(symlink(folder, path), 0);
    works("\"sh\", \"-c\"");
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/.cache", home);
    assert_non_null(agent_in(path));
}

static void where_nothing_may_be_run_the_next_folder_is_taken(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    clear_all();
    if (mount("tmpfs", cache, "tmpfs", MS_NOEXEC, "mode=0700") != 0)
        fail_msg("cannot mount: %s", strerror(errno));
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config("\"sh\", \"-c\"") };
    int code = mamuto_open_wait(&m, &options, &err);
    if (!code)
        mamuto_close_wait(m);
    umount(cache);
    if (code)
        fail_msg("%s", err.text);
    char path[600];
    snprintf(path, sizeof path, "%s/.cache", home);
    assert_non_null(agent_in(path));
}

static void refused(const char *launch, const char *part)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config(launch) };
    e2e_is_error(mamuto_open_wait(&m, &options, &err), &err, MAMUTO_ENOHOST, part);
}

static void a_full_cache_is_told(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    clear_all();
    if (mount("tmpfs", cache, "tmpfs", 0, "mode=0700,size=100k") != 0)
        fail_msg("cannot mount: %s", strerror(errno));
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config("\"sh\", \"-c\"") };
    int code = mamuto_open_wait(&m, &options, &err);
    umount(cache);
    e2e_is_error(code, &err, MAMUTO_ENOHOST, "host far: PUT: ");
}

static void without_a_cache_folder_it_is_said_which_were_looked_for(void **state)
{
    (void)state;
    refused("\"env\", \"XDG_CACHE_HOME=/proc\", \"HOME=/proc\", \"TMPDIR=/proc\", \"sh\", \"-c\"",
            "there is no cache folder: of XDG_CACHE_HOME, HOME and TMPDIR");
}

static void what_is_no_shell_is_told(void **state)
{
    (void)state;
    refused("\"yes\"", "host far: EXEC: it prints more than 64 KiB before it answers: is it a shell?");
    refused("\"true\"", "host far: EXEC: the stream ended");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shell_gets_an_agent_and_finds_it_again),
        cmocka_unit_test(a_start_up_file_may_print),
        cmocka_unit_test(a_cached_agent_is_not_trusted_by_its_name),
        cmocka_unit_test(a_folder_that_others_can_write_is_passed_over),
        cmocka_unit_test(where_nothing_may_be_run_the_next_folder_is_taken),
        cmocka_unit_test(a_full_cache_is_told),
        cmocka_unit_test(without_a_cache_folder_it_is_said_which_were_looked_for),
        cmocka_unit_test(what_is_no_shell_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
