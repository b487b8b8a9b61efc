/* See ours.h. Used by both programs, ours and ours-loop. */
#include "tests/bench/ours.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/modules/lanes.h"

struct opening {
    int done, status;
    char text[512];
};

void ours_module(const char *name, char *path, size_t room)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        peer_die("/proc/self/exe cannot be read");
    self[n] = 0;
    *strrchr(self, '/') = 0;
    if ((size_t)snprintf(path, room, "%s/modules/%s.so", self, name) >= room)
        peer_die("the path of the module is too long");
}

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    struct opening *opening = mamuto_data(m);
    opening->done = 1;
    opening->status = status;
    snprintf(opening->text, sizeof opening->text, "%s", err ? err->text : "");
}

static void open_on_loop(mamuto_t **m, mamuto_options_t *options)
{
    struct opening opening = { 0 };
    mamuto_error_t err = { 0 };
    options->data = &opening;
    options->on_open = on_open;
    if (mamuto_open(m, options, &err))
        peer_die("mamuto_open: %s", err.text);
    while (!opening.done)
        uv_run(options->loop, UV_RUN_ONCE);
    if (opening.status)
        peer_die("mamuto_open: %s", opening.text);
}

mamuto_t *ours_open(int workers, const char *settings, const char *module, uv_loop_t *loop)
{
    char config[512], path[PATH_MAX];
    const char *modules[] = { path, NULL };
    mamuto_options_t options = { .config_text = config, .modules = modules, .loop = loop };
    mamuto_error_t err = { 0 };
    mamuto_t *m;

    ours_module(module, path, sizeof path);
    snprintf(config, sizeof config, "{ \"hosts\": { \"localhost\": { \"cores\": %d%s } } }", workers, settings);
    if (loop)
        open_on_loop(&m, &options);
    else if (mamuto_open_wait(&m, &options, &err))
        peer_die("mamuto_open_wait: %s", err.text);
    return m;
}

void *ours_alloc(mamuto_t *m, size_t count, size_t size)
{
    mamuto_error_t err = { 0 };
    void *p = mamuto_alloc(m, count, size, &err);
    if (!p)
        peer_die("mamuto_alloc: %s", err.text);
    return p;
}

void ours_map(mamuto_t *m, const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(m, call, &err))
        peer_die("mamuto_map_wait: %s", err.text);
}

void ours_reduce(mamuto_t *m, const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_reduce_wait(m, call, &err))
        peer_die("mamuto_reduce_wait: %s", err.text);
}

static struct lane *make_lanes(char path[LANES_PATH])
{
    memset(path, 0, LANES_PATH);
    snprintf(path, LANES_PATH, "/tmp/mamuto-bench-lanes-XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, LANES_BYTES))
        peer_die("%s cannot be made", path);
    struct lane *lanes = mmap(NULL, LANES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (lanes == MAP_FAILED)
        peer_die("%s cannot be mapped", path);
    return lanes;
}

static void report_lanes(const struct lane *lanes)
{
    double sum = 0;
    char name[32];
    for (int i = 0; i < LANES_MAX; i++)
        sum += (double)lanes[i].work;
    for (int i = 0; i < LANES_MAX && lanes[i].pid; i++) {
        snprintf(name, sizeof name, "lane%d%s", i, lanes[i].pid == (uint64_t)getpid() ? ".caller" : "");
        peer_figure(name, sum > 0 ? 100 * (double)lanes[i].work / sum : 0, "%");
    }
}

void ours_shares(mamuto_t *m, mamuto_call_t *call, int place, double ms)
{
    char path[LANES_PATH];
    struct lane *lanes = make_lanes(path);
    call->args[place] = mamuto_broadcast(path);
    for (const uint64_t start = peer_now_ns(); (double)(peer_now_ns() - start) < ms * 1e6;)
        ours_map(m, call);
    unlink(path);
    report_lanes(lanes);
    munmap(lanes, LANES_BYTES);
}
