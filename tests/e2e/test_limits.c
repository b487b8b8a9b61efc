/* Where there is little of something: shared memory, address space, file size, descriptors, processes, memory; and
 * where process_vm_readv is denied. Each in a child process. A mapper then works, or says what is missing; nothing is
 * taken that cannot be had, and nothing remains behind. */
#include "tests/support/e2e.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 3, N = 5000, MIB = 1 << 20 };

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    e2e_close(e2e_open(1, E2E_MODULE("items"))); /* compiled: a limit must not hit the compiler */
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

/* ---- In the children --------------------------------------------------------------------------------------------- */

static int32_t in[N], out[N];

static int map_right(mamuto_t *m, const int32_t *from, int32_t *to, mamuto_error_t *err)
{
    mamuto_call_t call = { .function = "item", .args = { mamuto_scatter(from, N) }, .result = to };
    memset(to, 0xff, N * sizeof *to);
    int code = mamuto_map_wait(m, &call, err);
    for (int i = 0; !code && i < N; i++)
        E2E_CHECK(to[i] == i * 2 + 1);
    return code;
}

/* Opens, maps private and shared arrays, closes. Whatever fails has a code and a sentence, and leaves nothing. */
static int whole_life(const char *module, mamuto_error_t *err)
{
    char config[64];
    mamuto_t *m = NULL;
    struct e2e_held before = e2e_hold();
    *err = (mamuto_error_t){ 0 };
    snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": %d}}", WORKERS);
    mamuto_options_t options = { .config_text = config, .modules = (const char *[]){ module, NULL } };
    int code = mamuto_open_wait(&m, &options, err);
    if (!code) {
        code = map_right(m, in, out, err);
        int32_t *shared = code ? NULL : mamuto_alloc(m, 2 * N, sizeof *shared, err);
        code = err->code;
        if (shared)
            code = map_right(m, shared, shared + N, err);
        E2E_CHECK(mamuto_close_wait(m) == 0);
    }
    E2E_CHECK(err->code == code && (code == 0) == (err->text[0] == '\0'));
    struct e2e_held after = e2e_hold();
    for (int ms = 0; ms < 5000 && after.processes > before.processes; ms++, after = e2e_hold())
        e2e_nap();
    E2E_CHECK(after.fds == before.fds);
    E2E_CHECK(after.processes <= before.processes && after.zombies <= before.zombies);
    E2E_CHECK(after.mappings == before.mappings);
    return code;
}

static int must_live(const char *module)
{
    mamuto_error_t err;
    E2E_CHECK_OK(whole_life(module, &err), &err);
    return 0;
}

static void limit_to(__rlimit_resource_t resource, rlim_t most)
{
    struct rlimit limit;
    E2E_CHECK(getrlimit(resource, &limit) == 0);
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    E2E_CHECK(setrlimit(resource, &limit) == 0);
}

/* ---- /dev/shm ---------------------------------------------------------------------------------------------------- */

static void own_dev_shm(const char *size)
{
    E2E_CHECK(unshare(CLONE_NEWNS) == 0);
    E2E_CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    E2E_CHECK(mount("tmpfs", "/dev/shm", "tmpfs", 0, size) == 0);
}

static int with_small_dev_shm(void *unused)
{
    (void)unused;
    own_dev_shm("size=64m");
    mamuto_error_t err = { 0 };
    mamuto_t *m = NULL;
    mamuto_options_t options = { .modules = (const char *[]){ E2E_MODULE("items"), NULL } };
    E2E_CHECK_OK(mamuto_open_wait(&m, &options, &err), &err);
    size_t n = 24 * MIB; /* 96 MiB of them */
    int32_t *shared = mamuto_alloc(m, n, sizeof *shared, &err);
    E2E_CHECK_OK(err.code, &err);
    shared[n - 1] = 0;
    E2E_CHECK_OK(map_right(m, shared, shared + n - N, &err), &err);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    return e2e_files("/dev/shm");
}

static int with_full_dev_shm(void *unused)
{
    (void)unused;
    own_dev_shm("size=1m");
    static char block[65536];
    int fd = open("/dev/shm/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    E2E_CHECK(errno == ENOSPC);
    close(fd);
    must_live(E2E_MODULE("items"));
    return e2e_files("/dev/shm") - 1;
}

static void small_dev_shm_is_enough(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root may mount */
    assert_int_equal(e2e_child(with_small_dev_shm, NULL), 0);
}

static void full_dev_shm_is_enough(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(e2e_child(with_full_dev_shm, NULL), 0);
}

/* ---- File size, descriptors, address space ----------------------------------------------------------------------- */

static int with_small_files(void *unused)
{
    (void)unused;
    static const rlim_t sizes[] = { 0, 1, 4096, 65536, MIB, 16 * MIB, 100 * MIB, 1024 * MIB };
    mamuto_error_t err;
    int code = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        limit_to(RLIMIT_FSIZE, sizes[i]);
        code = whole_life(E2E_MODULE("items"), &err);
        E2E_CHECK(code == 0 || strstr(err.text, "RLIMIT_FSIZE"));
    }
    E2E_CHECK_OK(code, &err); /* 1 GiB is enough */
    return 0;
}

static int with_arrays_larger_than_files(void *unused)
{
    (void)unused;
    limit_to(RLIMIT_FSIZE, (rlim_t)1024 * MIB);
    mamuto_error_t err = { 0 };
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    E2E_CHECK(!mamuto_alloc(m, 1025, MIB, &err));
    E2E_CHECK(err.code == MAMUTO_ESIZE && strstr(err.text, "RLIMIT_FSIZE"));
    int32_t *shared = mamuto_alloc(m, 2 * N, sizeof *shared, NULL);
    E2E_CHECK(shared && map_right(m, shared, shared + N, NULL) == 0);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    return 0;
}

static void small_file_limit_kills_nobody(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(with_small_files, NULL), 0);
}

static void array_above_the_file_limit_is_refused(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(with_arrays_larger_than_files, NULL), 0);
}

static int with_few_descriptors(void *unused)
{
    (void)unused;
    mamuto_error_t err;
    int used = e2e_hold().fds, refused = 0, code = 0;
    for (int more = 2; more <= 40; more++) { /* some are needed to look into /proc */
        limit_to(RLIMIT_NOFILE, (rlim_t)used + (rlim_t)more);
        code = whole_life(E2E_MODULE("items"), &err);
        E2E_CHECK(code == 0 || code == MAMUTO_ESYSTEM || code == MAMUTO_EHOST || code == MAMUTO_EMODULE ||
                  code == MAMUTO_ECOMPILE || code == MAMUTO_ECONFIG);
        refused += code != 0;
    }
    E2E_CHECK(refused > 0);
    E2E_CHECK_OK(code, &err);
    return 0;
}

static void few_descriptors_are_an_error_or_enough(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(with_few_descriptors, NULL), 0);
}

static int with_little_address_space(void *unused)
{
    (void)unused;
    static const rlim_t mib[] = { 40, 64, 100, 150, 180, 200, 220, 256, 300, 400, 512, 700, 1024, 2048, 4096, 65536 };
    mamuto_error_t err;
    int code = 0;
    for (size_t i = 0; i < sizeof mib / sizeof *mib; i++) {
        limit_to(RLIMIT_AS, mib[i] * MIB);
        code = whole_life(E2E_MODULE("items"), &err);
        if (code &&
            !(code == MAMUTO_ENOMEM || code == MAMUTO_EHOST || code == MAMUTO_ESYSTEM || code == MAMUTO_EMODULE))
            e2e_child_failed(__FILE__, __LINE__, "RLIMIT_AS", &err);
        if (code && mib[i] >= 1024)
            e2e_child_failed(__FILE__, __LINE__, "1 GiB is not enough", &err);
    }
    return 0;
}

static void little_address_space_is_an_error_or_enough(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(with_little_address_space, NULL), 0);
}

/* ---- Processes --------------------------------------------------------------------------------------------------- */

static const uid_t nobody_else = 54321; /* a user without any other process */

/* What that user cannot read where it is, in the scratch folder. The module is built: the compiler would wait for more
 * processes too. */
static void copy_what_is_needed(void)
{
    char command[8192];
    snprintf(command, sizeof command, "cp -L '%s' '%s' && cc -shared -fPIC -O1 -I'%s' -o '%s' '%s'",
             getenv("MAMUTO_AGENT"), e2e_path("agent"), getenv("MAMUTO_INCLUDE"), e2e_path("items.so"),
             E2E_MODULE("items"));
    E2E_CHECK(system(command) == 0);
    setenv("MAMUTO_AGENT", e2e_path("agent"), 1);
}

static int with_few_processes(void *unused)
{
    (void)unused;
    mamuto_error_t err;
    int refused = 0, code = 0;
    copy_what_is_needed();
    E2E_CHECK(setgroups(0, NULL) == 0 && setresgid(nobody_else, nobody_else, nobody_else) == 0);
    E2E_CHECK(setresuid(nobody_else, nobody_else, nobody_else) == 0);
    E2E_CHECK(prctl(PR_SET_DUMPABLE, 1) == 0); /* a change of user has taken that away: /proc/self is its own again */
    must_live(e2e_path("items.so"));
    for (rlim_t most = 1; most <= 13; most++) {
        limit_to(RLIMIT_NPROC, most < 13 ? most : 50);
        code = whole_life(e2e_path("items.so"), &err);
        if (code && code != MAMUTO_ESYSTEM && code != MAMUTO_EHOST)
            e2e_child_failed(__FILE__, __LINE__, "RLIMIT_NPROC", &err);
        refused += code != 0;
    }
    E2E_CHECK(refused > 0);
    E2E_CHECK_OK(code, &err);
    return 0;
}

static void few_processes_are_an_error_or_enough(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root may become another user; of its own processes a user has too many */
    assert_int_equal(e2e_child(with_few_processes, NULL), 0);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static const char *cgroup_path(const char *file)
{
    static char path[128];
    snprintf(path, sizeof path, "/sys/fs/cgroup/memory/mamuto-e2e-%d%s%s", (int)getppid(), *file ? "/" : "", file);
    return path;
}

static long long cgroup_value(const char *file, const char *set)
{
    char text[32] = "";
    int fd = open(cgroup_path(file), (set ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    E2E_CHECK(fd >= 0);
    ssize_t n = set ? write(fd, set, strlen(set)) : read(fd, text, sizeof text - 1);
    E2E_CHECK(n > 0);
    close(fd);
    return atoll(text);
}

static int with_little_memory(void *unused)
{
    (void)unused;
    char limit[32], pid[32];
    mamuto_error_t err = { 0 };
    snprintf(limit, sizeof limit, "%d", 200 * MIB);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    cgroup_value("memory.limit_in_bytes", limit);
    cgroup_value("cgroup.procs", pid);
    mamuto_t *m = e2e_open(2, E2E_MODULE("items"));
    long long before = cgroup_value("memory.usage_in_bytes", NULL);
    E2E_CHECK(!mamuto_alloc(m, 1024, MIB, &err));
    E2E_CHECK(err.code == MAMUTO_ENOMEM && strstr(err.text, "1073741824 bytes") && strstr(err.text, "can be had"));
    E2E_CHECK(cgroup_value("memory.usage_in_bytes", NULL) < before + 16 * MIB);
    size_t most = 0;
    E2E_CHECK(sscanf(strstr(err.text, "and"), "and %zu can be had", &most) == 1 && most > 32 * MIB);
    err.code = 0;
    for (int round = 0; round < 20; round++) { /* there is room for one, not for two */
        int32_t *shared = mamuto_alloc(m, most / 100, 60, &err);
        E2E_CHECK_OK(err.code, &err);
        E2E_CHECK_OK(map_right(m, in, shared, &err), &err);
        E2E_CHECK(mamuto_free(m, shared) == 0);
    }
    E2E_CHECK(mamuto_alloc(m, most / 100, 60, &err));
    E2E_CHECK(!mamuto_alloc(m, most / 100, 60, &err) && err.code == MAMUTO_ENOMEM);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    E2E_CHECK(cgroup_value("memory.usage_in_bytes", NULL) < before + 16 * MIB);
    E2E_CHECK(cgroup_value("memory.failcnt", NULL) == 0 || cgroup_value("memory.usage_in_bytes", NULL) < 250 * MIB);
    return 0;
}

static bool removed(void *path) { return rmdir(path) == 0; }

static void memory_limit_of_a_cgroup_is_kept(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "/sys/fs/cgroup/memory/mamuto-e2e-%d", (int)getpid());
    if (mkdir(path, 0700) != 0)
        skip(); /* no cgroup version 1 here, or none that may be changed */
    int status = e2e_child(with_little_memory, NULL);
    bool gone = e2e_until(removed, path, 5000);
    assert_int_equal(status, 0);
    assert_true(gone); /* no process is left in it */
}

static void more_memory_than_there_is_is_refused(void **state)
{
    (void)state;
    struct sysinfo info;
    mamuto_error_t err = { 0 };
    assert_int_equal(sysinfo(&info), 0);
    size_t all = (size_t)info.totalram * info.mem_unit;
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    assert_null(mamuto_alloc(m, all / 100, 98, &err));
    e2e_is_error(err.code, &err, MAMUTO_ENOMEM, "bytes of shared memory were asked for, and");
    err.code = 0;
    assert_null(mamuto_alloc(m, all, 2, &err));
    e2e_is_error(err.code, &err, MAMUTO_ENOMEM, "bytes of shared memory were asked for, and");
    assert_int_equal(map_right(m, in, out, NULL), 0);
    e2e_close(m);
}

/* ---- process_vm_readv denied ------------------------------------------------------------------------------------- */

static void deny_process_vm(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    E2E_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    E2E_CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    ++*(int *)mamuto_map_data(map);
    E2E_CHECK(err->item == 3 || err->item == 4444);
}

static int with_process_vm_denied(void *unused)
{
    (void)unused;
    deny_process_vm();
    must_live(E2E_MODULE("items"));
    mamuto_error_t err = { 0 };
    mamuto_t *m = e2e_open(WORKERS, E2E_MODULE("items"));
    enum { LARGE = 3000000 };
    int32_t *from = calloc(LARGE, sizeof *from), *to = calloc(LARGE, sizeof *to);
    for (int help = 0; help < 2; help++) {
        mamuto_call_t call = {
            .function = "chunk", .args = { mamuto_scatter(from, LARGE) }, .result = to, .help = help
        };
        memset(to, 0, LARGE * sizeof *to);
        E2E_CHECK_OK(mamuto_map_wait(m, &call, &err), &err);
        for (int i = 0; i < LARGE; i++)
            E2E_CHECK(to[i] == i * 2 + 1);
    }
    int n_told = 0;
    mamuto_call_t call = { .function = "item",
                           .args = { mamuto_scatter(in, N) },
                           .result = out,
                           .data = &n_told,
                           .on_error = MAMUTO_ON_ERROR_SKIP,
                           .on_item_error = on_item_error };
    in[3] = 3, in[4444] = 1; /* one aborts, one returns 7 */
    E2E_CHECK(mamuto_map_wait(m, &call, &err) == MAMUTO_EITEM && n_told == 2);
    for (int i = 0; i < N; i++)
        E2E_CHECK(out[i] == (in[i] ? 0 : i * 2 + 1));
    free(from), free(to);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    return 0;
}

static void private_arrays_are_copied_where_process_vm_is_denied(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(with_process_vm_denied, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_dev_shm_is_enough, begin, end),
        cmocka_unit_test_setup_teardown(full_dev_shm_is_enough, begin, end),
        cmocka_unit_test_setup_teardown(small_file_limit_kills_nobody, begin, end),
        cmocka_unit_test_setup_teardown(array_above_the_file_limit_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(few_descriptors_are_an_error_or_enough, begin, end),
        cmocka_unit_test_setup_teardown(few_processes_are_an_error_or_enough, begin, end),
        cmocka_unit_test_setup_teardown(memory_limit_of_a_cgroup_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(more_memory_than_there_is_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(private_arrays_are_copied_where_process_vm_is_denied, begin, end),
    };
    /* A sanitizer needs terabytes of address space. */
    const struct CMUnitTest space[] = {
        cmocka_unit_test_setup_teardown(little_address_space_is_an_error_or_enough, begin, end),
    };
    int failed = cmocka_run_group_tests_name("e2e_limits", tests, NULL, NULL);
    if (!e2e_is_sanitized())
        failed += cmocka_run_group_tests_name("e2e_limits_space", space, NULL, NULL);
    return failed;
}
