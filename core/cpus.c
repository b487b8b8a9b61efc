/* What this process may use of its machine: cores, memory within its cgroups, and what its CPU is.
 *
 * A cgroup limit may be set at the process's own cgroup or at any above it; all of them hold, so each level is read,
 * from the process's own up to the top of the mount. A hierarchy is version 1 (one for each set of controllers) or 2
 * (one for all); a hybrid machine has both, so both are read, and a controller that is not there sets no limit. In a
 * container the mount shows only a part of the hierarchy: its top is then not "/", and the part of the path that lies
 * above it is taken off.
 * Invariants: a file that is missing or not understood sets no limit; nothing fails; no heap of our own is used.
 * Called when a host's workers are counted, when the arena grows, and by the module cache; from any thread.
 * It does not look at the load of the machine, nor at rlimits. */
#include "core/cpus.h"

#include "core/hash.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE = 8192, SHORT_VALUE_MAX = 40 };

struct mount {
    char point[PATH_MAX], top[PATH_MAX]; /* where it is mounted; which cgroup of the hierarchy is seen there */
};

typedef void visit_level(const char *dir, void *data);

/* ---- files ---- */

static FILE *open_below(const char *root, const char *path)
{
    char name[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s%s", root, path);
    return n < (int)sizeof name ? fopen(name, "re") : NULL;
}

/* The next line without its end. What does not fit is dropped, so that the rest is not taken for a line of its own. */
static bool next_line(FILE *file, char line[LINE_SIZE])
{
    if (!fgets(line, LINE_SIZE, file))
        return false;
    size_t n = strcspn(line, "\n");
    if (line[n] != '\n')
        for (int c = getc(file); c != EOF && c != '\n';)
            c = getc(file);
    line[n] = '\0';
    return true;
}

static bool first_line(const char *dir, const char *file_name, char line[LINE_SIZE])
{
    FILE *file = open_below(dir, file_name);
    bool ok = file && next_line(file, line);
    if (file)
        fclose(file);
    return ok;
}

/* A decimal number at *text, which is moved behind it. */
static bool take_number(const char **text, uint64_t *number)
{
    const char *p = *text;
    uint64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return false;
    if (p == *text)
        return false;
    *text = p;
    *number = value;
    return true;
}

/* A text that is one number and no more. */
static bool whole_number(const char *text, uint64_t *number)
{
    uint64_t value;
    if (!take_number(&text, &value) || *text)
        return false;
    *number = value;
    return true;
}

static bool file_number(const char *dir, const char *file_name, uint64_t *number)
{
    char line[LINE_SIZE];
    return first_line(dir, file_name, line) && whole_number(line, number);
}

/* The number behind key in a file of lines "key number", as memory.stat is. */
static bool stat_number(const char *dir, const char *file_name, const char *key, uint64_t *number)
{
    char line[LINE_SIZE];
    bool found = false;
    FILE *file = open_below(dir, file_name);
    size_t n = strlen(key);
    while (file && !found && next_line(file, line))
        found = strncmp(line, key, n) == 0 && line[n] == ' ' && whole_number(line + n + 1, number);
    if (file)
        fclose(file);
    return found;
}

/* ---- the levels of the process's cgroup ---- */

static bool lists(const char *list, const char *item) /* item is one of a,b,c */
{
    size_t n = strlen(item);
    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (strncmp(p, item, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    return false;
}

/* From /proc/self/cgroup, lines "4:cpu,cpuacct:/a/b": the process's path in the controller's hierarchy ("": that of
 * version 2), and the list of controllers that names it. */
static bool own_path(const char *root, const char *controller, char list[PATH_MAX], char path[PATH_MAX])
{
    char line[LINE_SIZE];
    bool found = false;
    FILE *file = open_below(root, "/proc/self/cgroup");
    while (file && !found && next_line(file, line)) {
        char *rest = line;
        const char *number = strsep(&rest, ":"), *names = strsep(&rest, ":");
        if (!rest || strlen(rest) >= PATH_MAX || strlen(names) >= PATH_MAX)
            continue;
        found = *controller ? lists(names, controller) : strcmp(number, "0") == 0;
        strcpy(list, names);
        strcpy(path, rest);
    }
    if (file)
        fclose(file);
    return found;
}

static void unescape(char *text) /* "\040" for a blank and the like, as the kernel writes paths */
{
    char *to = text;
    for (const char *p = text; *p; to++) {
        if (*p == '\\' && strspn(p + 1, "01234567") >= 3) {
            *to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = '\0';
}

/* A line of mountinfo: "id parent device top point options [optional …] - type source options". */
static bool read_mount(char *line, const char *controller, struct mount *mount)
{
    char *field[5] = { NULL }, *rest = line;
    for (int k = 0; k < 5; k++)
        field[k] = strsep(&rest, " ");
    char *tail = rest ? strstr(rest, " - ") : NULL;
    if (!tail)
        return false;
    tail += strlen(" - ");
    const char *type = strsep(&tail, " ");
    strsep(&tail, " "); /* the source, which may be anything */
    bool ours = *controller ? strcmp(type, "cgroup") == 0 && tail && lists(tail, controller) : !strcmp(type, "cgroup2");
    if (!ours || field[4][0] != '/' || strlen(field[3]) >= PATH_MAX || strlen(field[4]) >= PATH_MAX)
        return false;
    strcpy(mount->top, field[3]);
    strcpy(mount->point, field[4]);
    unescape(mount->top);
    unescape(mount->point);
    return true;
}

/* The part of path below top; NULL: it is not below. */
static const char *below(const char *path, const char *top)
{
    size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
    return strncmp(path, top, n) == 0 && (path[n] == '/' || !path[n]) && !strstr(path, "/..") ? path + n : NULL;
}

/* The mount that shows path, or, where none does, any of the hierarchy, of which the top alone is read then. The last
 * of several, for it may lie over the others. */
static bool find_mount(const char *root, const char *controller, const char *path, struct mount *mount)
{
    char line[LINE_SIZE];
    struct mount candidate;
    bool found = false, shown = false;
    FILE *file = open_below(root, "/proc/self/mountinfo");
    while (file && next_line(file, line)) {
        if (!read_mount(line, controller, &candidate))
            continue;
        bool shows = below(path, candidate.top) != NULL;
        if (shows || !shown)
            *mount = candidate;
        shown = shown || shows;
        found = true;
    }
    if (file)
        fclose(file);
    return found;
}

/* The usual place, where mountinfo says nothing (a sandbox with half a /proc): the folder is named after the list of
 * controllers or the one; "unified" is version 2 on a hybrid machine. */
static void guess_mount(const char *root, const char *controller, const char *list, struct mount *mount)
{
    char dir[2 * PATH_MAX];
    const char *name = *controller ? list : "unified";
    snprintf(dir, sizeof dir, "%s/sys/fs/cgroup/%s", root, name);
    if (access(dir, F_OK) != 0)
        name = controller;
    strcpy(mount->top, "/");
    if (snprintf(mount->point, PATH_MAX, "/sys/fs/cgroup%s%s", *name ? "/" : "", name) >= PATH_MAX)
        mount->point[0] = '\0';
}

/* Calls visit for each level of the process's cgroup that has the controller ("": version 2), the innermost first. */
static void each_level(const char *root, const char *controller, visit_level *visit, void *data)
{
    char list[PATH_MAX], path[PATH_MAX], dir[PATH_MAX];
    struct mount mount;
    if (!own_path(root, controller, list, path))
        return;
    if (!find_mount(root, controller, path, &mount))
        guess_mount(root, controller, list, &mount);
    const char *relative = below(path, mount.top);
    int top = snprintf(dir, sizeof dir, "%s%s", root, mount.point);
    if (top >= (int)sizeof dir)
        return;
    int n = snprintf(dir + top, sizeof dir - (size_t)top, "%s", relative ? relative : "");
    if (n >= (int)sizeof dir - top)
        dir[top] = '\0';
    for (char *end = dir + strlen(dir); end >= dir + top; end--) {
        if (*end != '/' && *end != '\0')
            continue;
        *end = '\0';
        if (end == dir + top || end[-1] != '/')
            visit(dir, data);
    }
}

/* ---- cores ---- */

static void limit_cores(int *cores, uint64_t quota, uint64_t period)
{
    if (!quota || !period)
        return;
    uint64_t allowed = quota / period + (quota % period != 0);
    if (allowed < (uint64_t)*cores)
        *cores = (int)allowed;
}

static void visit_cpu_v1(const char *dir, void *cores)
{
    uint64_t quota, period;
    if (file_number(dir, "/cpu.cfs_quota_us", &quota) && file_number(dir, "/cpu.cfs_period_us", &period))
        limit_cores(cores, quota, period); /* a quota of -1, none, is no number here */
}

static void visit_cpu_v2(const char *dir, void *cores)
{
    char line[LINE_SIZE];
    const char *p = line;
    uint64_t quota, period;
    if (first_line(dir, "/cpu.max", line) && take_number(&p, &quota) && *p == ' ' && whole_number(p + 1, &period))
        limit_cores(cores, quota, period);
}

static bool slurm_number(const char *text, uint64_t *number) { return text && whole_number(text, number) && *number; }

int mm_cpus_from(const char *root, int affinity, const char *slurm_per_task, const char *slurm_on_node)
{
    int cores = affinity > 1 ? affinity : 1;
    uint64_t granted;
    each_level(root, "cpu", visit_cpu_v1, &cores);
    each_level(root, "", visit_cpu_v2, &cores);
    if (slurm_number(slurm_per_task, &granted) || slurm_number(slurm_on_node, &granted))
        limit_cores(&cores, granted, 1);
    return cores;
}

int mm_cpus_allowed(void)
{
    cpu_set_t sets[64]; /* 65,536 CPUs: the kernel refuses a mask that is smaller than its own, 8,192 at most today */
    bool known = sched_getaffinity(0, sizeof sets, sets) == 0;
    int affinity = known ? CPU_COUNT_S(sizeof sets, sets) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return mm_cpus_from("", affinity, getenv("SLURM_CPUS_PER_TASK"), getenv("SLURM_CPUS_ON_NODE"));
}

/* ---- memory ---- */

/* inactive: file pages that count as used, but that the kernel takes back before it kills. */
static void limit_memory(unsigned long long *free_bytes, uint64_t limit, uint64_t used, uint64_t inactive)
{
    if (limit > INT64_MAX / 2) /* version 1 writes "none" as 2^63 less a page */
        return;
    used -= inactive < used ? inactive : used;
    uint64_t left = used < limit ? limit - used : 0;
    if (left < *free_bytes)
        *free_bytes = left;
}

static void visit_memory_v1(const char *dir, void *free_bytes)
{
    uint64_t limit, used = 0, inactive = 0;
    if (!file_number(dir, "/memory.limit_in_bytes", &limit))
        return;
    if (file_number(dir, "/memory.usage_in_bytes", &used))
        stat_number(dir, "/memory.stat", "total_inactive_file", &inactive);
    limit_memory(free_bytes, limit, used, inactive);
}

static void visit_memory_v2(const char *dir, void *free_bytes)
{
    uint64_t limit, used = 0, inactive = 0;
    if (!file_number(dir, "/memory.max", &limit)) /* "max" is no number */
        return;
    if (file_number(dir, "/memory.current", &used))
        stat_number(dir, "/memory.stat", "inactive_file", &inactive);
    limit_memory(free_bytes, limit, used, inactive);
}

unsigned long long mm_cgroup_memory_free(const char *root)
{
    unsigned long long free_bytes = UINT64_MAX;
    each_level(root, "memory", visit_memory_v1, &free_bytes);
    each_level(root, "", visit_memory_v2, &free_bytes);
    return free_bytes;
}

/* ---- the CPU's identity ---- */

/* What /proc/cpuinfo calls vendor, family, model and features on x86, Arm, RISC-V, POWER, s390 and LoongArch. The
 * stepping, clock and bugs are left out: they change nothing in what code runs. */
static const char *const identity_keys[] = {
    "vendor_id",   "cpu family", "model",    "flags",      "CPU implementer", "CPU architecture",
    "CPU variant", "CPU part",   "Features", "isa",        "uarch",           "cpu",
    "cpu model",   "features",   "machine",  "CPU Family", "Model Name",
};

static bool is_identity(const char *key)
{
    for (size_t k = 0; k < sizeof identity_keys / sizeof *identity_keys; k++)
        if (strcmp(key, identity_keys[k]) == 0)
            return true;
    return false;
}

/* Appends "; value", or its hash where it is long, as flags are: cut short they would tell nothing apart. */
static bool append(char *text, size_t size, const char *value)
{
    char hex[33];
    struct mm_hash hash;
    if (strlen(value) > SHORT_VALUE_MAX) {
        mm_hash_init(&hash);
        mm_hash_add_text(&hash, value);
        mm_hash_hex(&hash, hex);
        value = hex;
    }
    size_t used = strlen(text);
    int n = snprintf(text + used, size - used, "%s%s", used ? "; " : "", value);
    return n >= 0 && (size_t)n < size - used;
}

/* The first CPU's lines "key : value", up to the blank line behind them. */
static bool read_identity(FILE *file, char *text, size_t size)
{
    char line[LINE_SIZE];
    while (next_line(file, line) && !(line[0] == '\0' && text[0])) {
        char *value = strchr(line, ':'), *end = value;
        if (!value)
            continue;
        while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        *end = '\0';
        value += 1 + strspn(value + 1, " \t");
        if (is_identity(line) && !append(text, size, value))
            return false;
    }
    return text[0] != '\0';
}

int mm_cpu_identity_from(const char *path, char *text, unsigned long size)
{
    char identity[1024] = "";
    FILE *file = open_below("", path);
    bool ok = file && read_identity(file, identity, sizeof identity) && strlen(identity) < size;
    if (file)
        fclose(file);
    if (!ok)
        return -1;
    strcpy(text, identity);
    return 0;
}

int mm_cpu_identity(char *text, unsigned long size) { return mm_cpu_identity_from("/proc/cpuinfo", text, size); }
