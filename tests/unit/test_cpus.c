/* How many cores: read from fixtures, a /proc and a /sys/fs/cgroup below a temporary folder, of version 1, version 2,
 * and both; then from the real machine, where only what must hold anywhere is asked. */
#include "core/cpus.h"

#include "tests/support/fake_root.h"

#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int cores(int affinity) { return mm_cpus_from(fake_root, affinity, NULL, NULL); }

#define V1_CPU "/sys/fs/cgroup/cpu,cpuacct"
#define V2 "/sys/fs/cgroup"
#define CGROUP_V1 "5:cpuset:/other\n4:cpu,cpuacct:/jobs/a/b\n3:memory:/jobs/a\n1:name=systemd:/x\n"

static void quota_v1(const char *dir, const char *quota, const char *period)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    fake_root_put(path, quota);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    fake_root_put(path, period);
}

/* ---- cores ---- */

static void cpus_without_any_file_are_the_affinity(void **state)
{
    (void)state;
    assert_int_equal(cores(6), 6);
    assert_int_equal(cores(0), 1);
    assert_int_equal(mm_cpus_from("/nowhere/at/all", 3, NULL, NULL), 3);
}

static void cpus_of_v1_quota_are_rounded_up(void **state)
{
    (void)state;
    fake_root_mount_v1();
    fake_root_put("/proc/self/cgroup", CGROUP_V1);
    quota_v1(V1_CPU "/jobs/a/b", "250000\n", "100000\n");
    assert_int_equal(cores(64), 3);
    assert_int_equal(cores(2), 2);
    quota_v1(V1_CPU "/jobs/a/b", "200000\n", "100000\n");
    assert_int_equal(cores(64), 2);
    quota_v1(V1_CPU "/jobs/a/b", "1000\n", "100000\n");
    assert_int_equal(cores(64), 1);
    quota_v1(V1_CPU "/jobs/a/b", "100001\n", "50000\n");
    assert_int_equal(cores(64), 3);
}

static void cpus_of_v1_without_quota_are_the_affinity(void **state)
{
    (void)state;
    fake_root_mount_v1();
    fake_root_put("/proc/self/cgroup", CGROUP_V1);
    quota_v1(V1_CPU "/jobs/a/b", "-1\n", "100000\n");
    assert_int_equal(cores(64), 64);
}

static void cpus_of_v1_take_the_least_of_all_levels(void **state)
{
    (void)state;
    fake_root_mount_v1();
    fake_root_put("/proc/self/cgroup", CGROUP_V1);
    quota_v1(V1_CPU "/jobs/a/b", "1600000\n", "100000\n");
    quota_v1(V1_CPU "/jobs/a", "400000\n", "100000\n");
    assert_int_equal(cores(64), 4);
    quota_v1(V1_CPU "/jobs", "-1\n", "100000\n");
    assert_int_equal(cores(64), 4);
    quota_v1(V1_CPU "", "200000\n", "100000\n");
    assert_int_equal(cores(64), 2);
    quota_v1(V1_CPU "/jobs/a/b/c", "100000\n", "100000\n"); /* below the process: not its own */
    quota_v1(V1_CPU "/other", "100000\n", "100000\n");
    quota_v1("/sys/fs/cgroup/cpuset/jobs/a", "100000\n", "100000\n"); /* of another hierarchy */
    assert_int_equal(cores(64), 2);
}

static void cpus_of_v1_cpu_mounted_alone_are_found(void **state)
{
    (void)state;
    fake_root_put("/proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                                          "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n");
    fake_root_put("/proc/self/cgroup", "2:cpuacct:/wrong\n1:cpu:/right\n");
    quota_v1("/sys/fs/cgroup/cpu/right", "300000\n", "100000\n");
    quota_v1("/sys/fs/cgroup/cpuacct/wrong", "100000\n", "100000\n");
    assert_int_equal(cores(64), 3);
}

static void cpus_of_v2_max_are_rounded_up(void **state)
{
    (void)state;
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/user.slice/job 1.scope\n");
    fake_root_put(V2 "/user.slice/job 1.scope/cpu.max", "150000 100000\n");
    assert_int_equal(cores(64), 2);
    fake_root_put(V2 "/user.slice/job 1.scope/cpu.max", "max 100000\n");
    assert_int_equal(cores(64), 64);
    fake_root_put(V2 "/user.slice/cpu.max", "500000 50000\n");
    assert_int_equal(cores(64), 10);
}

static void cpus_of_v2_take_the_least_of_all_levels(void **state)
{
    (void)state;
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/a/b/c/d\n");
    fake_root_put(V2 "/a/b/c/d/cpu.max", "max 100000\n");
    fake_root_put(V2 "/a/b/c/cpu.max", "700000 100000\n");
    fake_root_put(V2 "/a/b/cpu.max", "500000 100000\n");
    fake_root_put(V2 "/a/cpu.max", "600000 100000\n");
    assert_int_equal(cores(64), 5);
    fake_root_put(V2 "/cpu.max", "100000 100000\n"); /* in a container the top has limits too */
    assert_int_equal(cores(64), 1);
}

static void cpus_of_a_hybrid_machine_are_limited_by_both(void **state)
{
    (void)state;
    fake_root_put("/proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                          "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    fake_root_put("/proc/self/cgroup", "4:cpu,cpuacct:/old\n1:name=systemd:/x\n0::/new\n");
    quota_v1(V1_CPU "/old", "300000\n", "100000\n");
    assert_int_equal(cores(64), 3);
    fake_root_put("/sys/fs/cgroup/unified/new/cpu.max", "200000 100000\n");
    assert_int_equal(cores(64), 2);
    quota_v1(V1_CPU "/old", "100000\n", "100000\n");
    assert_int_equal(cores(64), 1);
}

static void cpus_in_a_container_that_sees_the_host_s_path_are_found(void **state)
{
    (void)state;
    fake_root_put("/proc/self/mountinfo",
                  "40 30 0:29 /docker/4f\\0402 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
    fake_root_put("/proc/self/cgroup", "4:cpu,cpuacct:/docker/4f 2/inner\n");
    quota_v1(V1_CPU, "800000\n", "100000\n"); /* /docker/4f 2 itself */
    assert_int_equal(cores(64), 8);
    quota_v1(V1_CPU "/inner", "500000\n", "100000\n");
    assert_int_equal(cores(64), 5);
    fake_root_put("/proc/self/cgroup", "4:cpu,cpuacct:/docker/4f 25/inner\n"); /* not below that top */
    assert_int_equal(cores(64), 8);
    fake_root_put("/proc/self/cgroup", "4:cpu,cpuacct:/../inner\n"); /* outside of the namespace */
    assert_int_equal(cores(64), 8);
}

static void cpus_outside_of_the_namespace_are_read_at_the_top_alone(void **state)
{
    (void)state;
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/..\n");
    fake_root_put("/sys/fs/cpu.max", "100000 100000\n"); /* where the path would lead, out of the mount */
    assert_int_equal(cores(64), 64);
    fake_root_put(V2 "/cpu.max", "300000 100000\n");
    assert_int_equal(cores(64), 3);
}

static void cpus_of_two_mounts_are_read_where_the_path_is_seen(void **state)
{
    (void)state;
    fake_root_put("/proc/self/mountinfo", "40 30 0:29 /other /mnt/other ro - cgroup2 none rw\n"
                                          "41 30 0:29 /job /mnt/a\\040b ro - cgroup2 none rw\n"
                                          "42 30 0:29 /elsewhere /mnt/third ro - cgroup2 none rw\n"
                                          "43 30 0:29 /beyond /mnt/third ro - cgroup2 none rw\n");
    fake_root_put("/proc/self/cgroup", "0::/job/7\n");
    fake_root_put("/mnt/other/cpu.max", "100000 100000\n");
    fake_root_put("/mnt/third/cpu.max", "100000 100000\n");
    fake_root_put("/mnt/a b/7/cpu.max", "400000 100000\n");
    assert_int_equal(cores(64), 4);
    fake_root_put("/proc/self/mountinfo", "40 30 0:29 / /mnt ro - cgroup2 none rw\n"
                                          "41 40 0:29 /job /mnt ro - cgroup2 none rw\n"); /* over the first one */
    fake_root_put("/mnt/7/cpu.max", "500000 100000\n");
    assert_int_equal(cores(64), 5);
}

static void cpus_without_mountinfo_are_found_at_the_usual_places(void **state)
{
    (void)state;
    fake_root_put("/proc/self/cgroup", "4:cpu,cpuacct:/old\n0::/new\n");
    quota_v1("/sys/fs/cgroup/cpu/old", "700000\n", "100000\n");
    assert_int_equal(cores(64), 7);
    quota_v1(V1_CPU "/old", "600000\n", "100000\n");
    assert_int_equal(cores(64), 6);
    fake_root_put(V2 "/new/cpu.max", "500000 100000\n");
    assert_int_equal(cores(64), 5);
    fake_root_put("/sys/fs/cgroup/unified/new/cpu.max", "300000 100000\n");
    assert_int_equal(cores(64), 3);
}

static void cpus_of_garbage_files_are_the_affinity(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "",
        "\n",
        "abc\n",
        "0 100000\n",
        "100000 0\n",
        "100000\n",
        "100000 \n",
        " 100000 100000\n",
        "-100000 100000\n",
        "100000 100000 100000\n",
        "100000x 100000\n",
        "1e5 100000\n",
        "99999999999999999999999 100000\n",
        "100000 99999999999999999999999\n",
        "max max\n",
    };
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/a\n");
    for (size_t k = 0; k < sizeof garbage / sizeof *garbage; k++) {
        fake_root_put(V2 "/a/cpu.max", garbage[k]);
        assert_int_equal(cores(64), 64);
    }
    fake_root_put(V2 "/cpu.max", "300000 100000\n"); /* the level above holds all the same */
    assert_int_equal(cores(64), 3);
    fake_root_mount_v1();
    fake_root_put("/proc/self/cgroup", CGROUP_V1);
    quota_v1(V1_CPU "/jobs/a/b", "garbage\n", "100000\n");
    assert_int_equal(cores(64), 64);
    quota_v1(V1_CPU "/jobs/a/b", "100000\n", "0\n");
    assert_int_equal(cores(64), 64);
    quota_v1(V1_CPU "/jobs/a/b", "100000 5\n", "100000\n");
    assert_int_equal(cores(64), 64);
}

static void cpus_of_a_garbage_proc_are_the_affinity(void **state)
{
    (void)state;
    char noise[40000];
    uint32_t x = 12345;
    for (size_t k = 0; k < sizeof noise; k++) {
        x = x * 1664525 + 1013904223;
        noise[k] = (char)(x >> 24);
    }
    fake_root_put(V2 "/cpu.max", "100000 100000\n");
    static const char *const files[] = { "/proc/self/cgroup", "/proc/self/mountinfo" };
    for (int k = 0; k < 2; k++) {
        fake_root_put_bytes(files[k], noise, sizeof noise);
        assert_int_equal(cores(64), 64);
    }
    fake_root_put("/proc/self/cgroup", "0\n0:\n:::\n4:cpu\n\n:cpu,cpuacct\n");
    fake_root_put("/proc/self/mountinfo",
                  "\n1\n - \n1 2 3 4 5 6 - cgroup2\n1 2 3 / /sys/fs/cgroup - cgroup x cpu\n - cgroup2 a b\n");
    assert_int_equal(cores(64), 64);
    fake_root_put("/proc/self/cgroup",
                  "0::/\n"); /* good again: mountinfo alone is of no use, and the usual place is taken */
    assert_int_equal(cores(64), 1);
}

/* An overlay mount of many layers: what is behind the reader's buffer must not be taken for a line of its own. */
static void cpus_beside_an_overlong_line_are_found(void **state)
{
    (void)state;
    char *text = malloc(60000);
    assert_non_null(text);
    for (size_t kept = 8190; kept <= 8192; kept++) {
        char *line = stpcpy(text, "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        memset(line, 'x', kept);
        strcpy(line + kept, "9 8 0:7 / /wrong rw - cgroup2 cgroup2 rw\n");
        fake_root_put("/proc/self/mountinfo", text);
        fake_root_put("/proc/self/cgroup", "0::/a\n");
        fake_root_put("/wrong/cpu.max", "100000 100000\n");
        fake_root_put(V2 "/a/cpu.max", "200000 100000\n");
        assert_int_equal(cores(64), 2);
    }
    free(text);
}

static void cpus_of_an_overlong_path_do_no_harm(void **state)
{
    (void)state;
    char line[7000] = "0::", *p = line + strlen(line);
    fake_root_mount_v2();
    fake_root_put(V2 "/cpu.max", "300000 100000\n");
    for (int k = 0; k < 1362; k++) /* 4,086 bytes: fits PATH_MAX, but not behind the mount point */
        p = stpcpy(p, "/ab");
    strcpy(p, "\n");
    fake_root_put("/proc/self/cgroup", line);
    assert_int_equal(cores(64), 3);
    for (int k = 0; k < 900; k++)
        p = stpcpy(p, "/ab");
    strcpy(p, "\n");
    fake_root_put("/proc/self/cgroup", line);
    assert_int_equal(cores(64), 64);
}

static void cpus_granted_by_slurm_are_a_limit(void **state)
{
    (void)state;
    assert_int_equal(mm_cpus_from(fake_root, 64, "4", NULL), 4);
    assert_int_equal(mm_cpus_from(fake_root, 64, "4", "2"),
                     4); /* a node's number holds only where there is none a task */
    assert_int_equal(mm_cpus_from(fake_root, 64, NULL, "12"), 12);
    assert_int_equal(mm_cpus_from(fake_root, 8, NULL, "12"), 8);
    static const char *const garbage[] = { "", "0", "-3", "4(x2)", "four", "99999999999999999999999", "4 " };
    for (size_t k = 0; k < sizeof garbage / sizeof *garbage; k++) {
        assert_int_equal(mm_cpus_from(fake_root, 64, garbage[k], NULL), 64);
        assert_int_equal(mm_cpus_from(fake_root, 64, garbage[k], "6"), 6);
    }
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/\n");
    fake_root_put(V2 "/cpu.max", "300000 100000\n");
    assert_int_equal(mm_cpus_from(fake_root, 64, "4", NULL), 3);
    assert_int_equal(mm_cpus_from(fake_root, 64, "2", NULL), 2);
}

/* ---- this machine ---- */

static void cpus_of_this_machine_follow_the_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    unsetenv("SLURM_CPUS_PER_TASK");
    unsetenv("SLURM_CPUS_ON_NODE");
    if (sched_getaffinity(0, sizeof before, &before) != 0)
        skip(); /* more than 1,024 CPUs */
    int allowed = mm_cpus_allowed();
    assert_true(allowed >= 1 && allowed <= CPU_COUNT(&before));
    assert_int_equal(allowed, mm_cpus_from("", CPU_COUNT(&before), NULL, NULL));
    setenv("SLURM_CPUS_PER_TASK", "1", 1);
    assert_int_equal(mm_cpus_allowed(), 1);
    unsetenv("SLURM_CPUS_PER_TASK");
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(mm_cpus_allowed(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

/* The folder of this process's own cgroup of the version 1 CPU controller, with a new child's name behind it. */
static bool new_cgroup(char path[PATH_MAX])
{
    char line[4096], own[4096] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%*d:cpu:%4095[^\n]", own) == 1 || sscanf(line, "%*d:cpu,cpuacct:%4095[^\n]", own) == 1)
            break;
    if (file)
        fclose(file);
    int n = snprintf(path, PATH_MAX, "/sys/fs/cgroup/cpu%s/mamuto-test-%d", own, (int)getpid());
    return own[0] && n < PATH_MAX && mkdir(path, 0700) == 0;
}

static bool write_in(const char *dir, const char *file_name, const char *text)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", dir, file_name);
    FILE *file = fopen(path, "we");
    bool ok = file && fputs(text, file) >= 0;
    return file && fclose(file) == 0 && ok;
}

/* A real limit, where this user may set one (fake_root, version 1). The cgroup is gone before anything is asserted. */
static void cpus_in_a_real_cgroup_follow_its_quota(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    int status = -1;
    if (mm_cpus_allowed() < 2 || !new_cgroup(dir))
        skip();
    bool limited = write_in(dir, "cpu.cfs_quota_us", "50000");
    pid_t child = limited ? fork() : -1;
    if (child == 0)
        _exit(write_in(dir, "cgroup.procs", "0") ? mm_cpus_allowed() : 99);
    if (child > 0)
        waitpid(child, &status, 0);
    rmdir(dir);
    if (child < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 99))
        skip();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

#define WITH_ROOT(test_) cmocka_unit_test_setup_teardown(test_, fake_root_make, fake_root_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROOT(cpus_without_any_file_are_the_affinity),
        WITH_ROOT(cpus_of_v1_quota_are_rounded_up),
        WITH_ROOT(cpus_of_v1_without_quota_are_the_affinity),
        WITH_ROOT(cpus_of_v1_take_the_least_of_all_levels),
        WITH_ROOT(cpus_of_v1_cpu_mounted_alone_are_found),
        WITH_ROOT(cpus_of_v2_max_are_rounded_up),
        WITH_ROOT(cpus_of_v2_take_the_least_of_all_levels),
        WITH_ROOT(cpus_of_a_hybrid_machine_are_limited_by_both),
        WITH_ROOT(cpus_in_a_container_that_sees_the_host_s_path_are_found),
        WITH_ROOT(cpus_outside_of_the_namespace_are_read_at_the_top_alone),
        WITH_ROOT(cpus_of_two_mounts_are_read_where_the_path_is_seen),
        WITH_ROOT(cpus_without_mountinfo_are_found_at_the_usual_places),
        WITH_ROOT(cpus_of_garbage_files_are_the_affinity),
        WITH_ROOT(cpus_of_a_garbage_proc_are_the_affinity),
        WITH_ROOT(cpus_beside_an_overlong_line_are_found),
        WITH_ROOT(cpus_of_an_overlong_path_do_no_harm),
        WITH_ROOT(cpus_granted_by_slurm_are_a_limit),
        WITH_ROOT(cpus_of_this_machine_follow_the_affinity),
        WITH_ROOT(cpus_in_a_real_cgroup_follow_its_quota),
    };
    return cmocka_run_group_tests_name("cpus", tests, NULL, NULL);
}
