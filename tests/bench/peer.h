/* What every peer of the benchmark speaks: the driver starts it as a process of its own, with pipes for stdin and
 * stdout, and tells it when to run, so that the threads of one never spin beside another.
 *
 *   peer   → "ready"                       set up, its results checked
 *   driver → "run MS ARG"                  run for about MS milliseconds; ARG is the turn's own number, mostly 0
 *   peer   → "NAME VALUE UNIT\t…"          the first figure is the one that is compared
 *   driver → "share"                       which lane does how much (peers that can tell)
 *   peer   → the same form
 *   end of file                            leave
 *
 * A peer that cannot go on prints "error TEXT" and exits. For C11 and C++17. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void peer_turn_fn(void *ctx, double ms, long arg);

/* Serves the driver until it closes the pipe; returns 0. share may be NULL. */
int peer_serve(peer_turn_fn *turn, peer_turn_fn *share, void *ctx);
/* Adds a figure to the reply of the turn that is running. */
void peer_figure(const char *name, double value, const char *unit);
__attribute__((noreturn, format(printf, 1, 2))) void peer_die(const char *format, ...);

uint64_t peer_clock_ns(clockid_t clock);
uint64_t peer_now_ns(void);
void peer_sleep_ms(double ms);
/* Zeroed, touched, on a 64-byte boundary. */
void *peer_memory(size_t bytes);

/* Mean time in microseconds of once(ctx), again and again for ms milliseconds. The clock is read about every 20 us. */
double peer_mean_us(void (*once)(void *), void *ctx, double ms);
/* Times of single calls in microseconds, each after idle_ms of sleep: sorted into times[], their number returned. */
size_t peer_each_us(void (*once)(void *), void *ctx, double ms, double idle_ms, double *times, size_t max);

#ifdef __cplusplus
}
#endif
#endif
