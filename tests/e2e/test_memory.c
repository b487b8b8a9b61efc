/* Memory that was given back, and a fork server that does not come to read: files are let go by every process, pages go
 * back to the system, and no message is lost because too many wait. */
#include "tests/support/e2e.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, FLOOD = 600 };

static mamuto_t *m;
static pid_t stopped;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    stopped = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (stopped)
        kill(stopped, SIGCONT);
    e2e_scratch_end();
    return 0;
}

/* ---- Attached files ---------------------------------------------------------------------------------------------- */

static int file_in_memory(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    return fd;
}

static bool maps_file(pid_t pid, const char *name)
{
    char path[64], line[4096 + 128];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && fgets(line, sizeof line, file))
        found |= strstr(line, name) != NULL;
    if (file)
        fclose(file);
    return found;
}

static int users_of(const char *name)
{
    pid_t pids[E2E_MAX_PIDS];
    int n = e2e_descendants(getpid(), NULL, pids, E2E_MAX_PIDS), users = maps_file(getpid(), name);
    for (int i = 0; i < n; i++)
        users += maps_file(pids[i], name);
    return users;
}

static bool is_used_by_none(void *name) { return users_of(name) == 0; }

/* The workers kept it until the mapper was closed, and with it the memory or disk space of an unlinked file. */
static void attached_file_that_is_freed_is_let_go_by_everybody(void **state)
{
    (void)state;
    static char name[] = "e2e-attached";
    m = e2e_open(2, E2E_MODULE("basic"));
    mamuto_error_t err = { 0 };
    const void *p;
    int fd = file_in_memory(name);
    assert_int_equal(mamuto_attach(m, fd, 0, PAGE, &p, &err), 0);
    close(fd);
    double one = 5, out[PAGE / sizeof(double)];
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(p, PAGE / sizeof(double)), mamuto_broadcast(&one) },
                           .result = out };
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    assert_true(out[0] == 5 && users_of(name) >= 2);
    assert_int_equal(mamuto_free(m, (void *)(uintptr_t)p), 0);
    if (!e2e_until(is_used_by_none, name, 5000))
        fail_msg("%d processes have the file that was freed", users_of(name));
    e2e_good_map(m);
    e2e_close(m);
}

/* ---- A fork server that does not read ---------------------------------------------------------------------------- */

static void stop_server(void)
{
    stopped = e2e_server();
    assert_true(stopped > 0);
    kill(stopped, SIGSTOP);
}

/* As soon as the map is in the engine, the server goes on: from another process, since this one waits. */
static int go_on_later(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++)
        e2e_nap();
    kill(stopped, SIGCONT);
    return 0;
}

/* The fork server has reaped it, has told of it, and waits for more. */
static bool is_reaped(void *pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)e2e_server());
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    return n && strstr(text, ") S ") && kill(*(pid_t *)pid, 0) != 0;
}

/* Attaches and frees a file until the socket to the fork server is full, if it ever is. */
static void flood(const char *name)
{
    mamuto_error_t err = { 0 };
    const void *p;
    int fd = file_in_memory(name), code = 0;
    for (int i = 0; i < FLOOD && !code; i++)
        if ((code = mamuto_attach(m, fd, 0, PAGE, &p, &err)) == 0)
            assert_int_equal(mamuto_free(m, (void *)(uintptr_t)p), 0);
    close(fd);
}

/* That the dead worker is to be forked again could not be told, and was never told again: the map had no end. */
static void worker_that_dies_while_the_server_is_flooded_is_replaced(void **state)
{
    (void)state;
    m = e2e_open(1, E2E_MODULE("basic"));
    e2e_good_map(m);
    pid_t worker;
    assert_int_equal(e2e_workers(&worker, 1), 1);
    kill(worker, SIGKILL);
    assert_true(e2e_until(is_reaped, &worker, 5000));
    stop_server();
    flood("e2e-flood");
    pid_t child = e2e_start(go_on_later, NULL);
    e2e_good_map(m);
    assert_int_equal(e2e_end(child), 0);
    e2e_good_map(m);
    e2e_close(m);
}

/* The message that a file was freed is lost; its slot is used again, and nobody may then take the one for the other. */
static void file_that_is_freed_while_the_server_is_flooded_is_let_go(void **state)
{
    (void)state;
    static char name[] = "e2e-attached";
    m = e2e_open(2, E2E_MODULE("basic"));
    mamuto_error_t err = { 0 };
    const void *p;
    int fd = file_in_memory(name);
    if (mamuto_attach(m, fd, 0, PAGE, &p, &err) != 0)
        fail_msg("%s", err.text);
    close(fd);
    e2e_good_map(m);
    stop_server();
    flood("e2e-flood");
    assert_int_equal(mamuto_free(m, (void *)(uintptr_t)p), 0);
    kill(stopped, SIGCONT);
    e2e_good_map(m);
    double value = 7, x = 1, out = 0;
    fd = file_in_memory("e2e-other");
    assert_int_equal(pwrite(fd, &value, sizeof value, 0), sizeof value);
    if (mamuto_attach(m, fd, 0, PAGE, &p, &err) != 0)
        fail_msg("%s", err.text);
    close(fd);
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(p, 1), mamuto_broadcast(&x) },
                           .result = &out };
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    assert_true(out == 8);
    e2e_good_map(m);
    if (!e2e_until(is_used_by_none, name, 5000))
        fail_msg("%d processes have a file that was freed", users_of(name));
    e2e_close(m);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(attached_file_that_is_freed_is_let_go_by_everybody),
        TEST(worker_that_dies_while_the_server_is_flooded_is_replaced),
        TEST(file_that_is_freed_while_the_server_is_flooded_is_let_go),
    };
    return cmocka_run_group_tests_name("e2e_memory", tests, NULL, NULL);
}
