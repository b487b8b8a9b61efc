/* What the end-to-end tests share. Counts come from /proc, so they see what the system sees, not what the library says.
 * A zombie is dead: only its parent can take it away, and in a container nobody may. Waiting is looking again every
 * millisecond, with a limit: no test depends on a sleep being long enough. */
#include "tests/support/e2e.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Mappers ----------------------------------------------------------------------------------------------------- */

mamuto_t *e2e_open(int workers, const char *module)
{
    char config[64] = "{}";
    if (workers)
        snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": %d}}", workers);
    mamuto_error_t err = { 0 };
    mamuto_t *m = NULL;
    mamuto_options_t options = { .config_text = config, .modules = (const char *[]){ module, NULL } };
    if (mamuto_open_wait(&m, &options, &err) != 0)
        fail_msg("cannot open: %s", err.text);
    return m;
}

void e2e_close(mamuto_t *m) { assert_int_equal(mamuto_close_wait(m), 0); }

void e2e_good_map(mamuto_t *m)
{
    mamuto_error_t err = { 0 };
    double x[100], y[100];
    for (int i = 0; i < 100; i++)
        x[i] = i;
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(x, 100), mamuto_broadcast(&x[7]) },
                           .result = y };
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("a good map after the bad one: %s", err.text);
    for (int i = 0; i < 100; i++)
        assert_true(y[i] == i + 7);
}

void e2e_is_error(int code, const mamuto_error_t *err, int expected, const char *part)
{
    if (code != expected)
        fail_msg("code %d (%s), expected %d (%s): %s", code, mamuto_strerror(code), expected, mamuto_strerror(expected),
                 err->text);
    assert_int_equal(err->code, expected);
    if (part && !strstr(err->text, part))
        fail_msg("\"%s\" has no \"%s\"", err->text, part);
}

/* ---- Processes --------------------------------------------------------------------------------------------------- */

struct process {
    pid_t pid, parent;
    char state, comm[32];
};

static bool read_process(pid_t pid, struct process *process)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *name = strchr(text, '('), *end = strrchr(text, ')');
    int parent;
    if (!name || !end || sscanf(end + 1, " %c %d", &process->state, &parent) != 2)
        return false;
    snprintf(process->comm, sizeof process->comm, "%.*s", (int)(end - name - 1), name + 1);
    process->pid = pid;
    process->parent = parent;
    return true;
}

static bool is_dead(char state) { return state == 'Z' || state == 'X'; }

bool e2e_is_alive(pid_t pid)
{
    struct process process;
    return read_process(pid, &process) && !is_dead(process.state);
}

static int all_processes(struct process *all, int max)
{
    DIR *dir = opendir("/proc");
    int n = 0;
    for (struct dirent *entry; dir && n < max && (entry = readdir(dir));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            n += read_process(atoi(entry->d_name), &all[n]);
    if (dir)
        closedir(dir);
    return n;
}

static struct process table[8192];
static bool below[8192];

/* Marks what descends from of; returns how many processes the table has. */
static int mark_descendants(pid_t of)
{
    int n = all_processes(table, 8192);
    memset(below, 0, sizeof below);
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < n; i++) {
            bool is = table[i].parent == of;
            for (int j = 0; j < n && !is; j++)
                is = below[j] && table[j].pid == table[i].parent;
            more |= is && !below[i];
            below[i] |= is;
        }
    }
    return n;
}

int e2e_descendants(pid_t of, const char *comm, pid_t *pids, int max)
{
    int n = mark_descendants(of), found = 0;
    for (int i = 0; i < n && found < max; i++)
        if (below[i] && !is_dead(table[i].state) && (!comm || strcmp(table[i].comm, comm) == 0))
            pids[found++] = table[i].pid;
    return found;
}

int e2e_workers(pid_t *pids, int max) { return e2e_descendants(getpid(), "mamuto-worker", pids, max); }

pid_t e2e_server(void)
{
    pid_t pid = 0;
    return e2e_descendants(getpid(), "mamuto-server", &pid, 1) == 1 ? pid : 0;
}

void e2e_kill_server(void)
{
    pid_t server = e2e_server();
    for (int i = 0; server <= 0 && i < E2E_PATIENCE_MS; i++) {
        e2e_nap();
        server = e2e_server();
    }
    assert_true(server > 0);
    assert_int_equal(kill(server, SIGKILL), 0);
}

/* ---- What is held ------------------------------------------------------------------------------------------------ */

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = -1; /* the one of the folder itself */
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static int count_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    char line[PATH_MAX];
    int n = 0;
    while (file && fgets(line, sizeof line, file))
        n += strstr(line, "mamuto-board") != NULL || strstr(line, "mamuto-arena") != NULL;
    if (file)
        fclose(file);
    return n;
}

struct e2e_held e2e_hold(void)
{
    struct e2e_held held = { .fds = count_fds(), .mappings = count_mappings() };
    int n = mark_descendants(getpid());
    for (int i = 0; i < n; i++) {
        held.processes += below[i] && !is_dead(table[i].state);
        held.zombies += table[i].parent == getpid() && table[i].state == 'Z';
    }
    return held;
}

static bool holds_as(void *before_)
{
    const struct e2e_held *before = before_;
    struct e2e_held now = e2e_hold();
    return now.fds == before->fds && now.processes <= before->processes && now.mappings == before->mappings &&
           now.zombies <= before->zombies;
}

void e2e_holds_as(const struct e2e_held *before)
{
    struct e2e_held copy = *before;
    if (e2e_until(holds_as, &copy, 5000))
        return;
    struct e2e_held now = e2e_hold();
    fail_msg("fds %d, were %d; processes %d, were %d; mappings %d, were %d; zombies %d, were %d", now.fds, before->fds,
             now.processes, before->processes, now.mappings, before->mappings, now.zombies, before->zombies);
}

void e2e_nap(void) { nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); }

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool e2e_until(bool (*condition)(void *context), void *context, int ms)
{
    for (long long end = now_ms() + ms;;) {
        if (condition(context))
            return true;
        if (now_ms() > end)
            return false;
        e2e_nap();
    }
}

/* ---- Scratch folders --------------------------------------------------------------------------------------------- */

static char scratch[256];

const char *e2e_scratch_begin(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/mamuto-e2e-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(scratch));
    assert_int_equal(chmod(scratch, 0777), 0);
    setenv("E2E_DIR", scratch, 1);
    return scratch;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

void e2e_scratch_end(void)
{
    nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    unsetenv("E2E_DIR");
}

const char *e2e_path(const char *name)
{
    static char paths[16][PATH_MAX];
    static int n;
    char *path = paths[n++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

void e2e_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void e2e_touch(const char *name) { e2e_write(e2e_path(name), "", 0); }

long e2e_size(const char *name)
{
    struct stat st;
    return stat(e2e_path(name), &st) == 0 ? (long)st.st_size : -1;
}

struct wanted {
    const char *name;
    long size;
};

static bool has_size(void *wanted_)
{
    const struct wanted *wanted = wanted_;
    return e2e_size(wanted->name) >= wanted->size;
}

bool e2e_has_size(const char *name, long at_least)
{
    return e2e_until(has_size, &(struct wanted){ name, at_least }, E2E_PATIENCE_MS);
}

static int files_seen;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)path, (void)st, (void)place;
    files_seen += kind == FTW_F;
    return 0;
}

int e2e_files(const char *folder)
{
    files_seen = 0;
    nftw(folder, count_one, 8, FTW_PHYS);
    return files_seen;
}

/* ---- Children ---------------------------------------------------------------------------------------------------- */

pid_t e2e_start(int (*body)(void *context), void *context)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static const int of_cmocka[] = { SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL };
        for (size_t i = 0; i < sizeof of_cmocka / sizeof *of_cmocka; i++)
            signal(of_cmocka[i], SIG_DFL);
        _exit(body(context));
    }
    assert_true(pid > 0);
    return pid;
}

struct ending {
    pid_t pid;
    int status;
};

static bool has_ended(void *ending_)
{
    struct ending *ending = ending_;
    return waitpid(ending->pid, &ending->status, WNOHANG) == ending->pid;
}

int e2e_end(pid_t child)
{
    struct ending ending = { .pid = child };
    if (e2e_until(has_ended, &ending, E2E_PATIENCE_MS))
        return ending.status;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fail_msg("the child did not end in %d s", E2E_PATIENCE_MS / 1000);
    return -1;
}

int e2e_child(int (*body)(void *context), void *context) { return e2e_end(e2e_start(body, context)); }

_Noreturn void e2e_child_failed(const char *file, int line, const char *what, const mamuto_error_t *err)
{
    fprintf(stderr, "%s:%d: in a child: %s%s%s\n", file, line, what, err ? ": " : "", err ? err->text : "");
    fflush(stderr);
    _exit(99);
}

bool e2e_is_sanitized(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return true;
#elif defined __has_feature
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
    return false;
#endif
}
