/* How late a 1 ms timer on a uv loop is: restarted each time that it fires; late is what passed since, less 1 ms. */
#ifndef BENCH_LATENESS_H
#define BENCH_LATENESS_H

#include <uv.h>

#include "tests/bench/peer.h"

enum { LATENESS_MAX = 100000 };

struct lateness {
    uv_timer_t timer;
    uint64_t last_ns;
    size_t n;
    double late_ms[LATENESS_MAX];
};

static inline void lateness_fired(uv_timer_t *timer)
{
    struct lateness *l = (struct lateness *)timer->data;
    const uint64_t now = peer_now_ns();
    const double late = ((double)(now - l->last_ns) - 1e6) / 1e6;
    if (l->n < LATENESS_MAX)
        l->late_ms[l->n++] = late > 0 ? late : 0;
    l->last_ns = now;
    uv_update_time(timer->loop);
    uv_timer_start(timer, lateness_fired, 1, 0);
}

static inline void lateness_start(struct lateness *l, uv_loop_t *loop)
{
    l->n = 0;
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    l->last_ns = peer_now_ns();
    uv_update_time(loop);
    uv_timer_start(&l->timer, lateness_fired, 1, 0);
}

/* Stops the timer, but leaves it to the caller to run the loop until it is closed. Sorts late_ms. */
static inline void lateness_stop(struct lateness *l)
{
    uv_timer_stop(&l->timer);
    uv_close((uv_handle_t *)&l->timer, NULL);
    stats_sort(l->late_ms, l->n);
}

#endif
