/* Accounts for mamuto_hosts and on_progress: items settled, items failed, time spent on items.
 *
 * Done words are the truth; they are read while lanes write them, so a sum is of some moment in between, never too much.
 * A map that nobody stopped and no worker died of has settled all of its items when it leaves: no word is read then.
 * Runs that fold or gather what other runs of a call have stored settle nothing, but are time all the same.
 * What a helping caller did counts as items of this host, but not as its workers' time. Called by the owner's thread.
 */
#include "shm/account.h"

#include "shm/clock.h"

void mm_account_map(struct mm_board_map *map, uint64_t gen, uint64_t *done, uint64_t *failed)
{
    const _Atomic uint64_t *words = mm_map_done(map);
    *done = *failed = 0;
    for (uint32_t i = 0; i < map->n_grains; i++) {
        uint64_t word = atomic_load_explicit(&words[i], memory_order_acquire);
        if (word >> 32 != mm_map_tag(gen))
            continue;
        *done += mm_grain_item(map, i + 1) - mm_grain_item(map, i);
        *failed += (uint32_t)word;
    }
}

/* Items of the call in so many of the map's, which count what was given back; of groups, the last may not be whole. */
static uint64_t call_items(const struct mm_job *job, uint64_t done)
{
    const struct mm_run *run = job->run;
    uint64_t all = mm_run_settles(run), items = run->groups ? done * run->groups->group_items : done;
    items = items < all ? items : all;
    return items > job->given_items ? items - job->given_items : 0;
}

static uint64_t ticks_of(struct mm_board_map *map)
{
    return atomic_load_explicit(&map->busy_ticks, memory_order_relaxed) +
           atomic_load_explicit(&map->singly_ticks, memory_order_relaxed);
}

void mm_account_settle(struct mm_jobs *jobs, const struct mm_job *job)
{
    struct mm_board_map *map = &jobs->pool->board->maps[mm_map_slot(job->gen)];
    uint64_t done = map->n, failed;
    bool odd = job->saw_death || job->stopping || atomic_load_explicit(&map->n_records, memory_order_relaxed);
    if (odd || atomic_load_explicit(&map->n_done, memory_order_relaxed) < map->n_grains)
        mm_account_map(map, job->gen, &done, &failed);
    jobs->items += call_items(job, done);
    jobs->busy_ticks += atomic_load_explicit(&map->busy_ticks, memory_order_relaxed);
    if (odd) { /* else nothing ran singly, and its cache line is left alone */
        jobs->busy_ticks += atomic_load_explicit(&map->singly_ticks, memory_order_relaxed);
        atomic_store_explicit(&map->singly_ticks, 0, memory_order_relaxed);
    }
}

void mm_account_total(struct mm_jobs *jobs, uint64_t *items, double *busy)
{
    struct mm_board *board = jobs->pool->board;
    uint64_t ticks = jobs->busy_ticks;
    *items = jobs->items;
    *busy = 0;
    for (uint64_t used = jobs->used; used; used &= used - 1) {
        const struct mm_job *job = &jobs->slots[__builtin_ctzll(used)];
        struct mm_board_map *map = mm_job_map(jobs, job);
        uint64_t done, failed;
        mm_account_map(map, job->gen, &done, &failed);
        *items += call_items(job, done);
        ticks += ticks_of(map);
    }
    if (!jobs->up_ns)
        return;
    ticks = ticks > jobs->caller.busy_ticks ? ticks - jobs->caller.busy_ticks : 0;
    double ns = (double)(mm_now_ns() - jobs->up_ns + 1) * (double)board->n_workers;
    *busy = (double)ticks / board->ticks_per_us * 1000 / ns;
    *busy = *busy > 1 ? 1 : *busy;
}
