/* See peer.h. Linked into every peer. Nothing here runs within what is timed but the reading of the clock. */
#include "tests/bench/peer.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>

static char reply[2048];
static size_t reply_len;

void peer_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("error ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    exit(1);
}

void peer_figure(const char *name, double value, const char *unit)
{
    size_t room = sizeof reply - reply_len;
    int n = snprintf(reply + reply_len, room, "%s%s %.9g %s", reply_len ? "\t" : "", name, value, unit);
    if (n < 0 || (size_t)n >= room)
        peer_die("too many figures in one turn");
    reply_len += (size_t)n;
}

uint64_t peer_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t peer_now_ns(void) { return peer_clock_ns(CLOCK_MONOTONIC); }

void peer_sleep_ms(double ms)
{
    struct timespec t;
    t.tv_sec = (time_t)(ms / 1e3);
    t.tv_nsec = (long)((ms - 1e3 * (double)t.tv_sec) * 1e6);
    nanosleep(&t, NULL);
}

void *peer_memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p)
        peer_die("no memory for %zu bytes", bytes);
    memset(p, 0, bytes);
    return p;
}

double peer_mean_us(void (*once)(void *), void *ctx, double ms)
{
    const uint64_t start = peer_now_ns(), length = (uint64_t)(ms * 1e6);
    uint64_t now = start, calls = 0, batch = 1;
    do {
        const uint64_t before = now;
        for (uint64_t i = 0; i < batch; i++)
            once(ctx);
        calls += batch;
        now = peer_now_ns();
        if (now - before < 20000)
            batch *= 2;
        else if (now - before > 40000 && batch > 1)
            batch /= 2;
    } while (now - start < length);
    return (double)(now - start) / 1e3 / (double)calls;
}

size_t peer_each_us(void (*once)(void *), void *ctx, double ms, double idle_ms, double *times, size_t max)
{
    const uint64_t start = peer_now_ns();
    size_t n = 0;
    while (n < max && (n == 0 || (double)(peer_now_ns() - start) < ms * 1e6)) {
        if (idle_ms > 0)
            peer_sleep_ms(idle_ms);
        const uint64_t before = peer_now_ns();
        once(ctx);
        times[n++] = (double)(peer_now_ns() - before) / 1e3;
    }
    stats_sort(times, n);
    return n;
}

static void answer(void)
{
    printf("%s\n", reply_len ? reply : "none 0 -");
    fflush(stdout);
    reply_len = 0;
}

int peer_serve(peer_turn_fn *turn, peer_turn_fn *share, void *ctx)
{
    char line[128];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double ms = 0;
        long arg = 0;
        if (sscanf(line, "run %lf %ld", &ms, &arg) == 2)
            turn(ctx, ms, arg);
        else if (strncmp(line, "share", 5))
            peer_die("what is \"%.100s\"?", line);
        else if (share)
            share(ctx, 50, 0);
        answer();
    }
    return 0;
}
