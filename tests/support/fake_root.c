/* A folder that stands for "/" in the tests of what reads /proc and /sys: made before each test, removed after it.
 * Uses cmocka's assertions, so it is called from tests alone. */
#include "tests/support/fake_root.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

char fake_root[] = "/tmp/mamuto-test-cpus-XXXXXX";

int fake_root_make(void **state)
{
    (void)state;
    strcpy(fake_root + sizeof fake_root - 7, "XXXXXX");
    return mkdtemp(fake_root) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

int fake_root_remove(void **state)
{
    (void)state;
    return nftw(fake_root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void fake_root_put_bytes(const char *path, const char *bytes, size_t n)
{
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s", fake_root, path);
    for (char *slash = strchr(full + strlen(fake_root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

void fake_root_put(const char *path, const char *text) { fake_root_put_bytes(path, text, strlen(text)); }

void fake_root_mount_v1(void)
{
    fake_root_put(
        "/proc/self/mountinfo",
        "22 27 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n"
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:3 - cgroup cgroup rw,cpu,cpuacct\n"
        "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime shared:10 - cgroup cgroup rw,cpuset\n"
        "34 31 0:31 / /sys/fs/cgroup/memory rw,relatime shared:11 - cgroup cgroup rw,memory\n");
}

void fake_root_mount_v2(void)
{
    fake_root_put("/proc/self/mountinfo",
                  "22 27 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n"
                  "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
}
