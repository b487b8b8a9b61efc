/* A folder that stands for "/" in a test: files are put below it, with the folders that they need. */
#ifndef MM_TESTS_SUPPORT_FAKE_ROOT_H
#define MM_TESTS_SUPPORT_FAKE_ROOT_H

#include <stddef.h>

extern char fake_root[]; /* its path, without a slash at the end */

int fake_root_make(void **state);   /* of a test: its setup */
int fake_root_remove(void **state); /* and its teardown */

/* Writes the file at path ("/proc/self/cgroup"), in place of one that is there. A failure is the test's. */
void fake_root_put(const char *path, const char *text);
void fake_root_put_bytes(const char *path, const char *bytes, size_t n);

/* The mounts of a machine with cgroup version 1 alone, as Debian 10 has them, between others; with version 2 alone. */
void fake_root_mount_v1(void);
void fake_root_mount_v2(void);

#endif
