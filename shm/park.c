/* Sleeping and waking without a lost wake-up.
 *
 * Both sides do the mirror image: the waker stores work, fences, looks at `parked`; the sleeper stores `parked`, fences,
 * looks for work. So at least one sees the other. A waker that dies between its exchange and its FUTEX_WAKE leaves a
 * sleeper behind: after each death the master wakes every lane (mm_wake_all). Waking one lane costs 2 µs, so a caller
 * wakes two, and each woken lane that still sees work wakes two more.
 * Spinning pays where the next map comes within microseconds: only where a caller waits for short maps, only spin_max
 * workers at once, never on the caller's own CPU, and at most MM_LINGER_US. (An idle CPU takes 20 µs and more to wake.)
 */
#include "shm/park.h"

#include "shm/clock.h"
#include "shm/futex.h"

static bool on_callers_cpu(struct mm_board *board, struct mm_lane *lane)
{
    int32_t cpu = atomic_load_explicit(&lane->cpu, memory_order_relaxed);
    return cpu >= 0 && cpu == atomic_load_explicit(&board->caller_cpu, memory_order_relaxed);
}

/* Says that it spins, unless enough others do: of those who say so at once, the lower numbers stay. */
static bool begin_spin(struct mm_board *board, uint32_t self)
{
    struct mm_lane *lane = &board->lanes[self];
    if (atomic_load_explicit(&board->caller, memory_order_relaxed) == MM_CALLER_AWAY || on_callers_cpu(board, lane))
        return false;
    if (atomic_load_explicit(&lane->spinning, memory_order_relaxed))
        return true; /* it has served in between, but was at hand all the time */
    atomic_store(&lane->spinning, 1);
    MM_POINT("spinning");
    uint32_t others = 0;
    for (uint32_t i = 0; i < self && others < board->spin_max; i++)
        others += atomic_load_explicit(&board->lanes[i].spinning, memory_order_relaxed);
    return others < board->spin_max;
}

/* Tries to serve while it spins; a map that has nothing left for it is looked at ever more seldom. true: it did. */
static bool spin(struct mm_board *board, uint32_t self, bool (*serve)(void *context), void *context)
{
    struct mm_lane *lane = &board->lanes[self];
    uint64_t start = mm_ticks(), limit = (uint64_t)(MM_LINGER_US * board->ticks_per_us);
    unsigned pause = 1;
    while (mm_ticks() - start < limit && !on_callers_cpu(board, lane)) {
        if (atomic_load_explicit(&board->active, memory_order_relaxed)) {
            if (serve(context))
                return true;
            pause = pause < 64 ? pause * 2 : pause;
        } else
            pause = 1;
        for (unsigned i = 0; i < pause; i++)
            mm_relax();
    }
    return false;
}

void mm_lane_idle(struct mm_board *board, uint32_t self, int eventfd, uint32_t serial, bool (*serve)(void *context),
                  void *context)
{
    struct mm_lane *lane = &board->lanes[self];
    bool tell = false;
    if (begin_spin(board, self) && spin(board, self, serve, context))
        return;
    mm_lane_busy(lane);
    atomic_store(&lane->parked, 1);
    MM_POINT("parked");
    atomic_thread_fence(memory_order_seq_cst);
    bool sleep = !mm_board_has_work(board, lane, &tell) && serial == atomic_load(&board->attach_serial);
    if (tell)
        mm_wake_master(board, eventfd);
    if (sleep)
        mm_futex_wait(&lane->parked, 1, NULL);
    atomic_store(&lane->parked, 0);
    MM_POINT("awake");
}

void mm_lane_busy(struct mm_lane *lane)
{
    if (!atomic_load_explicit(&lane->spinning, memory_order_relaxed))
        return;
    atomic_store_explicit(&lane->spinning, 0, memory_order_release);
    MM_POINT("spun");
}

static bool wake(struct mm_lane *lane)
{
    if (!atomic_load(&lane->parked) || !atomic_exchange(&lane->parked, 0))
        return false;
    MM_POINT("unparked");
    mm_futex_wake(&lane->parked);
    MM_POINT("woken");
    return true;
}

void mm_wake_lanes(struct mm_board *board, uint32_t n, uint32_t want, uint32_t self, int spinning_cpu)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; spinning_cpu >= 0 && i < n && want; i++)
        if (i != self && atomic_load_explicit(&board->lanes[i].spinning, memory_order_relaxed))
            want--;
    for (uint32_t i = 0; i < n && want; i++)
        if (i != self && (spinning_cpu < 0 || atomic_load(&board->lanes[i].cpu) != spinning_cpu) &&
            wake(&board->lanes[i]))
            want--;
}

int mm_spinning_cpu(struct mm_board *board)
{
    bool spins = atomic_load_explicit(&board->caller, memory_order_relaxed) == MM_CALLER_SPINS;
    return spins ? atomic_load_explicit(&board->caller_cpu, memory_order_relaxed) : -1;
}

void mm_wake_all(struct mm_board *board)
{
    for (uint32_t i = 0; i < board->n_workers; i++) { /* whoever is parked, also if a dead waker has said otherwise */
        atomic_store(&board->lanes[i].parked, 0);
        mm_futex_wake(&board->lanes[i].parked);
    }
}

void mm_master_parks(struct mm_board *board)
{
    atomic_store(&board->polling, 1);
    atomic_thread_fence(memory_order_seq_cst);
}

void mm_wake_master(struct mm_board *board, int eventfd)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t one = 1;
    if (!atomic_exchange(&board->polling, 0))
        return;
    MM_POINT("unpolled");
    if (write(eventfd, &one, sizeof one) < 0)
        return; /* full: it is awake, then */
    MM_POINT("told");
}
