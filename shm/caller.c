/* A caller that waits for a map: it works on it (help), and spins for the end while that pays.
 *
 * Spinning pays below about 20 µs: a sleeping caller costs 5 to 50 µs of wake-up. Above, the caller's core is better left
 * to a worker. A spin lasts at most twice the estimate, but 25 µs, half of what sleeping costs, where that is more; 5 µs
 * where there is no estimate. One that times out, or in which the clock jumps (the caller was preempted), turns spinning
 * off for 8 waits, and for twice as many the next time.
 * Spinning callers of all mappers of the process are counted: no more than there are cores, less one.
 */
#include "core/alloc.h"
#include "shm/clock.h"
#include "shm/jobs.h"
#include "shm/park.h"

#include <unistd.h>

static const double UNKNOWN_US = 5, MOST_US = 40, LEAST_US = 25, WAKE_ABOVE_US = 10, JUMP_US = 200, SLICE_US = 5000,
                    LEFT_ALONE = 0.7;
enum { OFF_WAITS = 8, OFF_MOST = 1 << 20 };

static _Atomic int spinning_callers;

int mm_jobs_prepare_help(struct mm_jobs *jobs, uint32_t module, mamuto_error_t *err)
{
    const struct mm_board *board = jobs->pool->board;
    if (jobs->loaded[module].functions)
        return 0;
    return mm_load_marked(&jobs->loaded[module], board->module_paths[module], jobs->own, board->module_marks[module],
                          err);
}

static void see_files(struct mm_jobs *jobs)
{
    for (unsigned i = 0; i < jobs->pool->n_attached; i++) {
        jobs->view.attached[i].base = jobs->pool->attached[i].base;
        jobs->view.attached[i].bytes = jobs->pool->attached[i].bytes;
    }
}

static bool is_over(struct mm_board_map *map)
{
    return atomic_load_explicit(&map->n_done, memory_order_acquire) >= map->n_grains ||
           atomic_load_explicit(&map->stop, memory_order_relaxed);
}

/* Wakes two workers once it is known that more than 10 µs of work is left. */
static void share(struct mm_jobs *jobs, struct mm_board_map *map, bool *shared)
{
    struct mm_board *board = jobs->pool->board;
    const struct mm_pace *pace = &jobs->caller.pace[(unsigned)(map - board->maps)];
    uint32_t done = atomic_load_explicit(&map->n_done, memory_order_relaxed);
    double left = (double)(map->n_grains - done) * (double)map->grain_items * pace->item_ticks / board->ticks_per_us;
    if (*shared || pace->item_ticks <= 0 || left < WAKE_ABOVE_US)
        return;
    *shared = true;
    mm_wake_lanes(board, board->n_workers, 2, jobs->caller.self, atomic_load(&board->caller_cpu));
}

/* true: it has stopped midway, so that the loop can turn. */
static bool help(struct mm_jobs *jobs, struct mm_job *job, struct mm_board_map *map)
{
    struct mm_board *board = jobs->pool->board;
    struct mm_taken taken;
    bool shared = false;
    uint64_t end = mm_ticks() + (uint64_t)(SLICE_US * board->ticks_per_us);
    see_files(jobs);
    if (!mm_runner_prepare(&jobs->caller, map, job->gen))
        return false;
    share(jobs, map, &shared);
    while (mm_claim_next(board, map, job->gen, jobs->caller.self, &jobs->caller.pace[mm_map_slot(job->gen)], &taken)) {
        mm_runner_execute(&jobs->caller, &taken);
        share(jobs, map, &shared);
        if (job->run->ticks && mm_ticks() > end)
            return true;
    }
    return false;
}

double mm_spin_us(const struct mm_board *board, double work_us)
{
    return work_us / (board->n_workers < board->spin_max ? board->n_workers : board->spin_max);
}

static double spin_limit_us(const struct mm_board *board, const struct mm_board_map *map, bool helped)
{
    double us = mm_spin_us(board, map->item_ticks * (double)map->n / board->ticks_per_us);
    if (map->item_ticks <= 0)
        return UNKNOWN_US;
    if (!helped && us > MOST_US / 2)
        return 0;
    return 2 * us < LEAST_US ? LEAST_US : 2 * us < MOST_US ? 2 * us : MOST_US;
}

static void spin_failed(struct mm_jobs *jobs)
{
    jobs->spin_off_for = jobs->spin_off_for ? jobs->spin_off_for * 2 : OFF_WAITS;
    if (jobs->spin_off_for > OFF_MOST)
        jobs->spin_off_for = OFF_MOST;
    jobs->spin_off = jobs->spin_off_for;
}

/* Until the map can be expected to end soon, its hot line is left to the worker. */
static void leave_alone(const struct mm_board_map *map)
{
    uint64_t start = mm_ticks(), expected = (uint64_t)(map->item_ticks * (double)map->n * LEFT_ALONE);
    while (mm_ticks() - start < expected)
        mm_relax();
}

static void spin(struct mm_jobs *jobs, struct mm_board_map *map, double limit_us)
{
    double ticks_per_us = jobs->pool->board->ticks_per_us;
    if (mm_map_is_small(map) && !jobs->slots[map - jobs->pool->board->maps].run->help)
        leave_alone(map);
    uint64_t limit = (uint64_t)(limit_us * ticks_per_us), jump = (uint64_t)(JUMP_US * ticks_per_us);
    uint64_t start = mm_ticks(), last = start;
    while (!is_over(map)) {
        mm_relax();
        uint64_t now = mm_ticks();
        if (now - start > limit || now - last > jump) {
            if (map->item_ticks > 0)
                spin_failed(jobs);
            return;
        }
        last = now;
    }
    jobs->spin_off_for = 0;
}

bool mm_jobs_assist(struct mm_jobs *jobs, struct mm_job *job)
{
    struct mm_board *board = jobs->pool->board;
    struct mm_board_map *map = &board->maps[mm_map_slot(job->gen)];
    if (job->run->help && help(jobs, job, map))
        return true;
    double limit_us = spin_limit_us(board, map, job->run->help);
    if (jobs->spin_off)
        jobs->spin_off--;
    else if (limit_us > 0 && !is_over(map)) {
        if (atomic_fetch_add(&spinning_callers, 1) < jobs->most_spinning_callers)
            spin(jobs, map, limit_us);
        atomic_fetch_sub(&spinning_callers, 1);
    }
    if (is_over(map))
        return false;
    if (atomic_load_explicit(&board->caller, memory_order_relaxed) == MM_CALLER_SPINS)
        mm_jobs_set_caller(jobs, MM_CALLER_SLEEPS);
    mm_wake_lanes(board, board->n_workers, 2, jobs->caller.self, -1);
    return false;
}
