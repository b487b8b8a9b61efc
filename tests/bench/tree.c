/* What a process and all its descendants use, read from /proc by the driver, so that reading costs them nothing. */
#include "tests/bench/procs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIDS_MAX = 32768, TREE_MAX = 1024 };

struct tree {
    size_t n;
    pid_t pids[TREE_MAX];
};

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512] = "";
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fgets(text, sizeof text, f)) {
        const char *after = strrchr(text, ')'); /* the name may hold blanks and brackets */
        if (!after || sscanf(after + 1, " %*c %d", &parent) != 1)
            parent = 0;
    }
    fclose(f);
    return parent;
}

static size_t all_pids(pid_t *pids, size_t max)
{
    size_t n = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && n < max && (entry = readdir(proc));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (pid > 0 && !*end)
            pids[n++] = (pid_t)pid;
    }
    if (proc)
        closedir(proc);
    return n;
}

static int holds(const struct tree *tree, pid_t pid)
{
    for (size_t i = 0; i < tree->n; i++)
        if (tree->pids[i] == pid)
            return 1;
    return 0;
}

static void find_tree(pid_t root, struct tree *tree)
{
    static pid_t pids[PIDS_MAX], parents[PIDS_MAX];
    const size_t n = all_pids(pids, PIDS_MAX);
    size_t before;
    for (size_t i = 0; i < n; i++)
        parents[i] = parent_of(pids[i]);
    tree->n = 1;
    tree->pids[0] = root;
    do {
        before = tree->n;
        for (size_t i = 0; i < n && tree->n < TREE_MAX; i++)
            if (holds(tree, parents[i]) && !holds(tree, pids[i]))
                tree->pids[tree->n++] = pids[i];
    } while (tree->n > before);
}

static double process_cpu_ns(pid_t pid)
{
    char path[300];
    double sum = 0, ns;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.200s/schedstat", pid, entry->d_name);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%lf", &ns) == 1)
            sum += ns;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

double tree_cpu_ms(pid_t root)
{
    static struct tree tree;
    double sum = 0;
    find_tree(root, &tree);
    for (size_t i = 0; i < tree.n; i++)
        sum += process_cpu_ns(tree.pids[i]);
    return sum / 1e6;
}

/* The number behind "name:" in a file of such lines, in bytes; 0 if there is none. */
static double kilobytes(const char *path, const char *name)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        size_t n = strlen(name);
        if (!strncmp(line, name, n) && line[n] == ':' && sscanf(line + n + 1, "%lf", &kb) == 1)
            break;
    }
    if (f)
        fclose(f);
    return kb * 1024;
}

double tree_pss_bytes(pid_t root)
{
    static struct tree tree;
    char path[64];
    double sum = 0;
    find_tree(root, &tree);
    for (size_t i = 0; i < tree.n; i++) {
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", tree.pids[i]);
        sum += kilobytes(path, "Pss");
    }
    return sum;
}

double memory_available_bytes(void) { return kilobytes("/proc/meminfo", "MemAvailable"); }
