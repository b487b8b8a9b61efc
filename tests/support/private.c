/* What the tests of private arrays share. The gate is a test point of the library (MM_POINT in shm/copier.c): the thread
 * that passes it waits there, so that a test can cancel and close at a stage that it has chosen. */
#include "tests/support/private.h"

#include "shm/board.h"
#include "tests/support/e2e.h"

#include <dirent.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

void private_deny(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* ---- Arrays ------------------------------------------------------------------------------------------------------- */

static const size_t PAGE = 4096, GUARD = 65536; /* an array that is mapped too long ends in there */

static size_t pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

static char *begin_of(void *p, size_t bytes) { return (char *)p + bytes - pages(bytes); }

void *private_array(size_t bytes)
{
    size_t whole = pages(bytes);
    char *p = mmap(NULL, whole + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + whole, GUARD, PROT_NONE), 0);
    return p + whole - bytes;
}

void private_free(void *p, size_t bytes) { assert_int_equal(munmap(begin_of(p, bytes), pages(bytes) + GUARD), 0); }

void private_seal(void *p, size_t bytes)
{
    if (bytes)
        assert_int_equal(mprotect(begin_of(p, bytes), pages(bytes), PROT_NONE), 0);
}

void private_unseal(void *p, size_t bytes)
{
    if (bytes)
        assert_int_equal(mprotect(begin_of(p, bytes), pages(bytes), PROT_READ | PROT_WRITE), 0);
}

/* ---- Mappers and maps --------------------------------------------------------------------------------------------- */

static int opened, closed;

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    (void)m;
    if (status)
        fail_msg("cannot open: %s", err->text);
    opened++;
}

static void on_close(void *data)
{
    (void)data;
    closed++;
}

mamuto_t *private_open(uv_loop_t *loop, const char *module)
{
    mamuto_error_t err = { 0 };
    mamuto_t *m = NULL;
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                 .modules = (const char *[]){ module, NULL },
                                 .loop = loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(loop), 0);
    opened = closed = 0;
    if (mamuto_open(&m, &options, &err) != 0)
        fail_msg("cannot open: %s", err.text);
    private_run_until(loop, &opened, 1);
    return m;
}

void private_close(mamuto_t *m, uv_loop_t *loop)
{
    assert_int_equal(mamuto_close(m, on_close), 0);
    private_run_until(loop, &closed, 1);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

void private_map_init(struct private_map *map, size_t n)
{
    size_t bytes = n * sizeof(double);
    *map = (struct private_map){ .n = n, .a = private_array(bytes), .b = private_array(bytes), .seal = true };
    map->out = private_array(bytes);
    for (size_t i = 0; i < n; i++) {
        map->a[i] = (double)i;
        map->b[i] = (double)i * 0.5 + 1;
        map->out[i] = -1;
    }
}

static void on_done(mamuto_map_t *handle, int status, const mamuto_error_t *err)
{
    struct private_map *map = mamuto_map_data(handle);
    map->n_done++;
    map->status = status;
    if (status)
        map->err = *err;
    if (!map->seal)
        return;
    private_seal(map->a, map->n * sizeof(double));
    private_seal(map->b, map->n * sizeof(double));
    private_seal(map->out, map->n * sizeof(double));
}

void private_map_begin(struct private_map *map, mamuto_t *m, const char *function)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function,
                           .args = { mamuto_scatter(map->a, map->n), mamuto_scatter(map->b, map->n) },
                           .result = map->out,
                           .data = map,
                           .on_done = on_done };
    if (mamuto_map(m, &call, &map->handle, &err) != 0)
        fail_msg("%s of %zu: %s", function, map->n, err.text);
    assert_int_equal(map->n_done, 0);
}

static void unseal(const struct private_map *map)
{
    private_unseal(map->a, map->n * sizeof(double));
    private_unseal(map->b, map->n * sizeof(double));
    private_unseal(map->out, map->n * sizeof(double));
}

void private_map_is_right(const struct private_map *map)
{
    if (map->n_done != 1 || map->status)
        fail_msg("done %d times, with %d: %s", map->n_done, map->status, map->err.text);
    unseal(map);
    for (size_t i = 0; i < map->n; i++)
        if (map->out[i] != map->a[i] + map->b[i])
            fail_msg("of %zu: item %zu is %g", map->n, i, map->out[i]);
}

void private_map_fini(struct private_map *map)
{
    assert_int_equal(map->n_done, 1);
    unseal(map);
    private_free(map->a, map->n * sizeof(double));
    private_free(map->b, map->n * sizeof(double));
    private_free(map->out, map->n * sizeof(double));
}

struct turn {
    uv_loop_t *loop;
    const int *counter;
    int at_least;
};

static bool is_reached(void *turn_)
{
    struct turn *turn = turn_;
    uv_run(turn->loop, UV_RUN_NOWAIT);
    return *turn->counter >= turn->at_least;
}

void private_run_until(uv_loop_t *loop, const int *counter, int at_least)
{
    struct turn turn = { loop, counter, at_least };
    if (!e2e_until(is_reached, &turn, E2E_PATIENCE_MS))
        fail_msg("%d of %d in %d s", *counter, at_least, E2E_PATIENCE_MS / 1000);
}

/* ---- The gate ----------------------------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t open_now = PTHREAD_COND_INITIALIZER;
static const char *gate; /* NULL: open */
static bool held;
static unsigned copied;

static void on_point(const char *name)
{
    pthread_mutex_lock(&mutex);
    copied += strncmp(name, "copy_", 5) == 0;
    while (gate && strcmp(gate, name) == 0) {
        held = true;
        pthread_cond_wait(&open_now, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

/* Once: the copier's thread reads it. */
static void listen_to_points(void)
{
    if (mm_test_point != on_point)
        mm_test_point = on_point;
}

void private_gate_close(const char *point)
{
    pthread_mutex_lock(&mutex);
    gate = point;
    held = false;
    listen_to_points();
    pthread_mutex_unlock(&mutex);
}

void private_gate_open(void)
{
    pthread_mutex_lock(&mutex);
    gate = NULL;
    pthread_cond_broadcast(&open_now);
    pthread_mutex_unlock(&mutex);
}

static bool is_held(void *loop)
{
    uv_run(loop, UV_RUN_NOWAIT);
    pthread_mutex_lock(&mutex);
    bool is = held;
    pthread_mutex_unlock(&mutex);
    return is;
}

void private_gate_reached(uv_loop_t *loop)
{
    if (!e2e_until(is_held, loop, E2E_PATIENCE_MS))
        fail_msg("nobody has come to the gate %s", gate);
}

unsigned private_copied(void)
{
    pthread_mutex_lock(&mutex);
    unsigned n = copied;
    copied = 0;
    listen_to_points();
    pthread_mutex_unlock(&mutex);
    return n;
}

bool private_has_copier(void)
{
    DIR *dir = opendir("/proc/self/task");
    bool found = false;
    assert_non_null(dir);
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        char path[300], comm[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        found = file && fgets(comm, sizeof comm, file) && strcmp(comm, "mamuto-copy\n") == 0;
        if (file)
            fclose(file);
    }
    closedir(dir);
    return found;
}
