/* Memory within cgroups, from fixtures of version 1, version 2, and both; and the CPU's identity, from fixtures and
 * from this machine. */
#include "core/cpus.h"

#include "tests/support/fake_root.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define V1_MEMORY "/sys/fs/cgroup/memory"
#define V2 "/sys/fs/cgroup"
#define CGROUP_V1 "5:cpuset:/other\n4:cpu,cpuacct:/jobs/a/b\n3:memory:/jobs/a\n1:name=systemd:/x\n"

/* ---- memory ---- */

static void memory_v1(const char *dir, const char *limit, const char *usage, const char *stat)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/memory.limit_in_bytes", dir);
    fake_root_put(path, limit);
    snprintf(path, sizeof path, "%s/memory.usage_in_bytes", dir);
    fake_root_put(path, usage);
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    fake_root_put(path, stat);
}

static void memory_v2(const char *dir, const char *limit, const char *usage, const char *stat)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/memory.max", dir);
    fake_root_put(path, limit);
    snprintf(path, sizeof path, "%s/memory.current", dir);
    fake_root_put(path, usage);
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    fake_root_put(path, stat);
}

static void cpus_memory_without_any_limit_is_none(void **state)
{
    (void)state;
    assert_true(mm_cgroup_memory_free(fake_root) == UINT64_MAX);
    fake_root_mount_v1();
    fake_root_put("/proc/self/cgroup", CGROUP_V1);
    memory_v1(V1_MEMORY "/jobs/a", "9223372036854771712\n", "5000\n", "total_inactive_file 10\n");
    memory_v1(V1_MEMORY, "9223372036854710272\n", "5000\n", ""); /* pages of 64 KiB */
    assert_true(mm_cgroup_memory_free(fake_root) == UINT64_MAX);
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/a\n");
    memory_v2(V2 "/a", "max\n", "5000\n", "inactive_file 10\n");
    assert_true(mm_cgroup_memory_free(fake_root) == UINT64_MAX);
}

static void cpus_memory_of_v1_is_limit_less_use_plus_inactive(void **state)
{
    (void)state;
    fake_root_mount_v1();
    fake_root_put("/proc/self/cgroup", CGROUP_V1);
    memory_v1(V1_MEMORY "/jobs/a", "1000000\n", "600000\n",
              "inactive_file 1\ntotal_inactive_file_x 2\ntotal_inactive_file 50000\ntotal_active_file 3\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 450000);
    memory_v1(V1_MEMORY "/jobs", "2000000\n", "1900000\n", "total_inactive_file 0\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 100000);
    memory_v1(V1_MEMORY, "500000\n", "0\n", "");
    assert_true(mm_cgroup_memory_free(fake_root) == 100000);
}

static void cpus_memory_of_v2_is_the_least_of_all_levels(void **state)
{
    (void)state;
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/a/b\n");
    memory_v2(V2 "/a/b", "1000000\n", "600000\n", "anon 7\ninactive_file 50000\ntotal_inactive_file 9\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 450000);
    memory_v2(V2 "/a", "300000\n", "200000\n", "inactive_file 5000\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 105000);
    memory_v2(V2, "max\n", "900000000\n", "inactive_file 0\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 105000);
}

static void cpus_memory_beyond_the_limit_is_zero(void **state)
{
    (void)state;
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/a\n");
    memory_v2(V2 "/a", "1000\n", "1500\n", "inactive_file 100\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 0);
    memory_v2(V2 "/a", "1000\n", "500\n", "inactive_file 900\n"); /* more inactive than used: no more than the limit */
    assert_true(mm_cgroup_memory_free(fake_root) == 1000);
    memory_v2(V2 "/a", "0\n", "0\n", "");
    assert_true(mm_cgroup_memory_free(fake_root) == 0);
}

static void cpus_memory_of_garbage_files_is_ignored(void **state)
{
    (void)state;
    fake_root_mount_v2();
    fake_root_put("/proc/self/cgroup", "0::/a\n");
    memory_v2(V2 "/a", "lots\n", "1500\n", "inactive_file 100\n");
    assert_true(mm_cgroup_memory_free(fake_root) == UINT64_MAX);
    memory_v2(V2 "/a", "1000\n", "?\n", "inactive_file 100\n"); /* the limit holds still */
    assert_true(mm_cgroup_memory_free(fake_root) == 1000);
    memory_v2(V2 "/a", "1000\n", "400\n", "inactive_file\ninactive_file_7\ninactive_file x\ninactive_file -5\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 600);
    memory_v2(V2 "/a", "1000\n", "400\n", "inactive_file 10 20\ninactive_file 30\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 630);
}

static void cpus_memory_of_a_hybrid_machine_is_limited_by_both(void **state)
{
    (void)state;
    fake_root_put("/proc/self/mountinfo", "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                          "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    fake_root_put("/proc/self/cgroup", "3:memory:/old\n0::/new\n");
    memory_v1(V1_MEMORY "/old", "5000\n", "1000\n", "total_inactive_file 500\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 4500);
    memory_v2("/sys/fs/cgroup/unified/new", "3000\n", "1000\n", "inactive_file 500\n");
    assert_true(mm_cgroup_memory_free(fake_root) == 2500);
}

/* ---- the CPU's identity ---- */

#define X86(model_, stepping_, mhz_, flags_)                                                                           \
    "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: " model_ "\nmodel name\t: A name\n"        \
    "stepping\t: " stepping_ "\ncpu MHz\t\t: " mhz_ "\nflags\t\t: " flags_ "\nbugs\t\t: spectre_v1\n\n"

static void identity_of(const char *cpuinfo, char text[256])
{
    char path[PATH_MAX];
    fake_root_put("/cpuinfo", cpuinfo);
    snprintf(path, sizeof path, "%s/cpuinfo", fake_root);
    assert_int_equal(mm_cpu_identity_from(path, text, 256), 0);
}

static void cpus_identity_tells_model_and_flags_apart(void **state)
{
    (void)state;
    const char *flags = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov avx avx2 avx512f avx512bw";
    char cpuinfo[2048], base[256], same[256], other[256], less[256];
    snprintf(cpuinfo, sizeof cpuinfo, X86("85", "7", "2596.148", "%s"), flags);
    identity_of(cpuinfo, base);
    assert_ptr_equal(strstr(base, "GenuineIntel; 6; 85; "), base);
    snprintf(cpuinfo, sizeof cpuinfo, X86("85", "4", "3100.000", "%s") X86("1", "1", "1", "none"), flags);
    identity_of(cpuinfo, same); /* neither the stepping, the clock, nor a second CPU count */
    assert_string_equal(same, base);
    snprintf(cpuinfo, sizeof cpuinfo, X86("86", "7", "2596.148", "%s"), flags);
    identity_of(cpuinfo, other);
    assert_string_not_equal(other, base);
    snprintf(cpuinfo, sizeof cpuinfo, X86("85", "7", "2596.148", "%.*s"), (int)strlen(flags) - 1, flags);
    identity_of(cpuinfo, less); /* a flag at the far end */
    assert_string_not_equal(less, base);
}

static void cpus_identity_of_arm_is_found(void **state)
{
    (void)state;
    char text[256];
    identity_of("processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\n"
                "CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\n",
                text);
    assert_string_equal(text, "fp asimd sve; 0x41; 8; 0x3; 0xd0c");
}

static void cpus_identity_that_cannot_be_read_is_minus_1(void **state)
{
    (void)state;
    char path[PATH_MAX], text[256] = "as it was";
    snprintf(path, sizeof path, "%s/cpuinfo", fake_root);
    assert_int_equal(mm_cpu_identity_from(path, text, sizeof text), -1); /* missing */
    fake_root_put("/cpuinfo", "nothing known: here\n\n\n");
    assert_int_equal(mm_cpu_identity_from(path, text, sizeof text), -1);
    char endless[4096] = "", *end = endless;
    for (int k = 0; k < 50; k++)
        end = stpcpy(end, "vendor_id\t: a vendor of thirty-one characters\n");
    fake_root_put("/cpuinfo", endless);
    assert_int_equal(mm_cpu_identity_from(path, text, sizeof text), -1);
    fake_root_put("/cpuinfo", X86("85", "7", "1", "fpu"));
    assert_int_equal(mm_cpu_identity_from(path, text, 10), -1); /* cut short it would tell nothing apart */
    assert_int_equal(mm_cpu_identity_from(path, text, 0), -1);
    assert_string_equal(text, "as it was");
}

static void cpus_identity_of_this_machine_is_stable(void **state)
{
    (void)state;
    char first[256], second[256];
    assert_int_equal(mm_cpu_identity(first, sizeof first), 0);
    assert_int_equal(mm_cpu_identity(second, sizeof second), 0);
    assert_string_equal(first, second);
    assert_true(strlen(first) > 3);
}

#define WITH_ROOT(test_) cmocka_unit_test_setup_teardown(test_, fake_root_make, fake_root_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROOT(cpus_memory_without_any_limit_is_none),
        WITH_ROOT(cpus_memory_of_v1_is_limit_less_use_plus_inactive),
        WITH_ROOT(cpus_memory_of_v2_is_the_least_of_all_levels),
        WITH_ROOT(cpus_memory_beyond_the_limit_is_zero),
        WITH_ROOT(cpus_memory_of_garbage_files_is_ignored),
        WITH_ROOT(cpus_memory_of_a_hybrid_machine_is_limited_by_both),
        WITH_ROOT(cpus_identity_tells_model_and_flags_apart),
        WITH_ROOT(cpus_identity_of_arm_is_found),
        WITH_ROOT(cpus_identity_that_cannot_be_read_is_minus_1),
        WITH_ROOT(cpus_identity_of_this_machine_is_stable),
    };
    return cmocka_run_group_tests_name("cpus_memory", tests, NULL, NULL);
}
