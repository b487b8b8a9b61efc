/* Maps of uneven items, maps in which an item crashes, and a gigabyte of shared arrays. */
#include "tests/bench/ours.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/like3.h"
#include "tests/bench/work.h"

enum { LANES = 2, CRASH_N = 1000000, CRASH_MAX = 1000 };

/* ---- uneven ---- */

struct uneven {
    mamuto_t *m;
    mamuto_call_t call;
};

static void once_map(void *ctx)
{
    struct uneven *u = ctx;
    ours_map(u->m, &u->call);
}

static void turn_map(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once_map, ctx, ms), "us");
}

static void share_uneven(void *ctx, double ms, long arg)
{
    struct uneven *u = ctx;
    mamuto_call_t call = u->call;
    (void)arg;
    call.function = "chain.chain_lanes";
    ours_shares(u->m, &call, 1, ms);
}

int ours_uneven(double low_us, size_t n, const char *shape)
{
    struct uneven u = { .m = ours_open(LANES, "", "chain", NULL) };
    uint32_t *steps = ours_alloc(u.m, n, sizeof *steps);
    uint64_t *out = ours_alloc(u.m, n, sizeof *out);
    if (work_fill(shape, low_us, steps, n))
        peer_die("no shape \"%s\"", shape);
    u.call = (mamuto_call_t){ .function = "chain.chain", .args = { mamuto_scatter(steps, n) }, .result = out };
    once_map(&u);
    for (size_t i = 0; i < n; i += n / 64 + 1)
        if (out[i] != work_chain(steps[i]))
            peer_die("item %zu is wrong", i);
    peer_serve(turn_map, share_uneven, &u);
    return mamuto_close_wait(u.m) ? 1 : 0;
}

/* ---- crash ---- */

struct crash {
    mamuto_t *m;
    mamuto_call_t call;
    uint64_t culprit, named, crashes;
    char dir[256];
};

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    struct crash *c = mamuto_map_data(map);
    if (err->signal == SIGSEGV)
        c->named = err->item;
}

static double time_map(struct crash *c, uint64_t culprit)
{
    mamuto_error_t err = { 0 };
    c->culprit = culprit;
    c->named = MAMUTO_NO_ITEM;
    const uint64_t start = peer_now_ns();
    int status = mamuto_map_wait(c->m, &c->call, &err);
    const double ms = (double)(peer_now_ns() - start) / 1e6;
    if ((status != 0) != (culprit != MAMUTO_NO_ITEM) || c->named != culprit)
        peer_die("item %lld was to crash, and %lld was named (%d: %s)", (long long)culprit, (long long)c->named, status,
                 err.text);
    return ms;
}

/* The workers' cores go to the current folder, where core_pattern says so. They are removed after each crash: to write
 * over one makes ext4 wait for the disk (auto_da_alloc), which is not what is measured. */
static void remove_cores(const char *dir)
{
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
}

static void turn_crash(void *ctx, double ms, long arg)
{
    static double plain[CRASH_MAX], crashed[CRASH_MAX], more[CRASH_MAX];
    struct crash *c = ctx;
    const uint64_t start = peer_now_ns();
    size_t n = 0;
    (void)arg;
    do {
        plain[n] = time_map(c, MAMUTO_NO_ITEM);
        crashed[n] = time_map(c, ++c->crashes * 2654435761u % CRASH_N);
        remove_cores(c->dir);
        more[n] = crashed[n] - plain[n];
        n++;
    } while (n < CRASH_MAX && (double)(peer_now_ns() - start) < ms * 1e6);
    peer_figure("more", stats_median(more, n), "ms");
    peer_figure("plain", stats_median(plain, n), "ms");
    peer_figure("crashed", stats_median(crashed, n), "ms");
}

static void allow_cores(struct crash *c)
{
    struct rlimit limit;
    const char *parent = getenv("TMPDIR");
    snprintf(c->dir, sizeof c->dir, "%.200s/mamuto-bench-cores-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(c->dir) || chdir(c->dir))
        peer_die("%s cannot be made", c->dir);
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
}

/* All results but the culprit's are the serial loop's; the culprit's is zero. */
static void check_but(const double *p, const double *data, const double *out, size_t culprit)
{
    double *right = peer_memory(CRASH_N * sizeof *right);
    like3_range(p, data, right, CRASH_N);
    right[culprit] = 0;
    for (size_t i = 0; i < CRASH_N; i++)
        if (memcmp(&right[i], &out[i], sizeof *right))
            peer_die("after a crash, item %zu is %.17g, not %.17g", i, out[i], right[i]);
    free(right);
}

int ours_crash(void)
{
    struct crash c = { .culprit = MAMUTO_NO_ITEM };
    double data[3];
    allow_cores(&c);
    c.m = ours_open(LANES, ", \"core_dumps\": true", "crash", NULL);
    double *big = ours_alloc(c.m, (size_t)512 << 20, 1); /* p and out lie in the arena's 512 MB */
    like3_fill(big, data, CRASH_N);
    c.call =
        (mamuto_call_t){ .function = "crash.like3_but",
                         .args = { mamuto_scatter(big, CRASH_N), mamuto_broadcast(data), mamuto_broadcast(&c.culprit) },
                         .result = ours_alloc(c.m, CRASH_N, sizeof(double)),
                         .on_error = MAMUTO_ON_ERROR_SKIP,
                         .on_item_error = on_item_error,
                         .data = &c };
    for (int i = 0; i < 20; i++)
        time_map(&c, MAMUTO_NO_ITEM);
    time_map(&c, CRASH_N / 2);
    check_but(big, data, c.call.result, CRASH_N / 2);
    peer_serve(turn_crash, NULL, &c);
    remove_cores(c.dir);
    int status = mamuto_close_wait(c.m);
    rmdir(c.dir);
    return status ? 1 : 0;
}

/* ---- memory ---- */

static void turn_memory(void *ctx, double ms, long arg)
{
    struct uneven *u = ctx;
    (void)arg;
    peer_figure("time", peer_mean_us(once_map, u, ms), "us");
    peer_figure("arrays", (double)u->call.args[0].count * 4 * sizeof(double), "B");
}

int ours_memory(void)
{
    const size_t n = 1000000000 / (4 * sizeof(double));
    struct uneven u = { .m = ours_open(LANES, "", "like3", NULL) };
    double data[3], *p = ours_alloc(u.m, n, 3 * sizeof(double));
    like3_fill(p, data, n);
    u.call = (mamuto_call_t){ .function = "like3.like3",
                              .args = { mamuto_scatter(p, n), mamuto_broadcast(data) },
                              .result = ours_alloc(u.m, n, sizeof(double)) };
    once_map(&u);
    peer_serve(turn_memory, NULL, &u);
    return mamuto_close_wait(u.m) ? 1 : 0;
}
