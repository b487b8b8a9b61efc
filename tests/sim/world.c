/* Chance, clock and loop: events by time, then by the order in which they were asked for; and the few functions of
 * libuv that the team and its nodes call, on that clock. Linked before libuv, these are the ones that are taken. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct event {
    uint64_t at, order;
    void (*what)(void *owner);
    void *owner;
};

struct kept {
    struct kept *next;
    max_align_t bytes[];
};

enum { TIMERS = 64 };

static struct event *events; /* a heap */
static size_t n_events, room;
static uv_timer_t *timers[TIMERS]; /* that are active */
static int n_timers;
static uint64_t now, order, seed, chance;
static struct kept *kept;

/* ---- chance ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t draw(void) { return mix(chance += UINT64_C(0x9e3779b97f4a7c15)); }

uint64_t sim_below(uint64_t n) { return n ? draw() % n : 0; }
bool sim_percent(unsigned percent) { return draw() % 100 < percent; }
uint64_t sim_hash(uint64_t a, uint64_t b) { return mix(mix(a + UINT64_C(0x9e3779b97f4a7c15)) ^ (b + seed)); }

uint64_t sim_about(uint64_t mean)
{
    uint64_t n = mean / 2 + sim_below(mean + 1);
    return sim_percent(3) ? 10 * n : n;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(size_t i, size_t k)
{
    struct event other = events[i];
    events[i] = events[k];
    events[k] = other;
}

void sim_at(uint64_t delay_ns, void (*what)(void *owner), void *owner)
{
    if (n_events == room) {
        room = room ? 2 * room : 256;
        events = realloc(events, room * sizeof *events);
        if (!events)
            abort();
    }
    size_t i = n_events++;
    events[i] = (struct event){ now + delay_ns, ++order, what, owner };
    for (; i && is_before(&events[i], &events[(i - 1) / 2]); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

static struct event pop(void)
{
    struct event first = events[0];
    events[0] = events[--n_events];
    for (size_t i = 0, k; (k = 2 * i + 1) < n_events; i = k) {
        if (k + 1 < n_events && is_before(&events[k + 1], &events[k]))
            k++;
        if (!is_before(&events[k], &events[i]))
            break;
        swap(i, k);
    }
    return first;
}

static int next_timer(void)
{
    int found = -1;
    for (int i = 0; i < n_timers; i++)
        if (found < 0 || timers[i]->timeout < timers[found]->timeout ||
            (timers[i]->timeout == timers[found]->timeout && timers[i]->start_id < timers[found]->start_id))
            found = i;
    return found;
}

bool sim_step(void)
{
    int i = next_timer();
    if (i < 0 && !n_events)
        return false;
    if (n_events && (i < 0 || events[0].at < timers[i]->timeout ||
                     (events[0].at == timers[i]->timeout && events[0].order < timers[i]->start_id))) {
        struct event event = pop();
        now = event.at;
        event.what(event.owner);
        return true;
    }
    uv_timer_t *timer = timers[i];
    now = timer->timeout;
    timers[i] = timers[--n_timers];
    if (timer->repeat)
        uv_timer_start(timer, timer->timer_cb, timer->repeat, timer->repeat);
    timer->timer_cb(timer);
    return true;
}

uint64_t sim_now(void) { return now; }

void sim_begin(uint64_t of)
{
    seed = of;
    chance = mix(of + 1);
    now = SIM_S;
    order = 0;
    n_events = 0;
    n_timers = 0;
}

void *sim_keep(size_t bytes)
{
    struct kept *more = calloc(1, sizeof *more + bytes);
    if (!more)
        abort();
    more->next = kept;
    kept = more;
    return more->bytes;
}

void sim_end(void)
{
    for (struct kept *next; kept; kept = next) {
        next = kept->next;
        free(kept);
    }
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

void sim_trace(const char *format, ...)
{
    static int wanted = -1;
    va_list args;
    if (wanted < 0)
        wanted = getenv("MAMUTO_TRACE") != NULL;
    if (!wanted)
        return;
    printf("%10.3f ms  ", (double)(now - SIM_S) / 1e6);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void sim_broken(const char *format, ...)
{
    va_list args;
    printf("MAMUTO_SEED=%" PRIu64 ", %.3f ms: ", seed, (double)(now - SIM_S) / 1e6);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    _exit(3);
}

/* ---- libuv ------------------------------------------------------------------------------------------------------- */

static void stop(const uv_timer_t *timer)
{
    for (int i = 0; i < n_timers; i++)
        if (timers[i] == timer) {
            timers[i] = timers[--n_timers];
            return;
        }
}

uint64_t uv_hrtime(void) { return now; }
void uv_update_time(uv_loop_t *loop) { (void)loop; }
void uv_unref(uv_handle_t *handle) { (void)handle; }

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    memset(timer, 0, sizeof *timer);
    timer->loop = loop;
    return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t ms, uint64_t repeat)
{
    stop(timer);
    if (n_timers == TIMERS)
        abort();
    timer->timer_cb = cb;
    timer->timeout = now + ms * SIM_MS;
    timer->repeat = repeat;
    timer->start_id = ++order;
    timers[n_timers++] = timer;
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    stop(timer);
    return 0;
}

static void closed(void *owner)
{
    uv_handle_t *handle = owner;
    handle->close_cb(handle);
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
    stop((uv_timer_t *)handle);
    handle->close_cb = cb;
    sim_at(0, closed, handle);
}
