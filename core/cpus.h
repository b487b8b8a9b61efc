/* How many cores this process may use. Plain C11 + POSIX/Linux. */
#ifndef MM_CORE_CPUS_H
#define MM_CORE_CPUS_H

/* The least of: CPUs of the affinity mask, the CPU quota of each level of its cgroup (v1 and v2, rounded up), Slurm's
 * SLURM_CPUS_PER_TASK (or SLURM_CPUS_ON_NODE where that is not set). At least 1. */
int mm_cpus_allowed(void);

/* The same with the files read below root ("" for the real ones): for fixtures in tests. affinity: CPUs of the mask. */
int mm_cpus_from(const char *root, int affinity, const char *slurm_per_task, const char *slurm_on_node);

/* Least of the memory limits in bytes, minus use plus inactive file pages, of each level of the cgroup, v1 and v2;
 * UINT64_MAX: none. Same root rule. */
unsigned long long mm_cgroup_memory_free(const char *root);

/* A text that two CPUs share only if code built with -march=native for one runs on the other: vendor, family, model,
 * feature flags. 0, or -1 where /proc/cpuinfo cannot be read. */
int mm_cpu_identity(char *text, unsigned long size);

/* The same, from the file at path; also -1 where it names no CPU, or text is too small (256 bytes are enough). */
int mm_cpu_identity_from(const char *path, char *text, unsigned long size);

#endif
