/* The master's view of the maps on its board: filling a slot, deciding when a map has ended, deaths.
 *
 *   free ── submit ──► runs ── all done words set ──────────────────────────► ended ── remove ──► free
 *                        └── stop (cancel, first failure, too many deaths) ──► stopping ── no lane in it ──► ended
 *
 * A map that nobody stopped ends when all done words are set: then nobody writes for it any more. One that was stopped
 * ends when no lane is in it; whoever still is after 100 ms is killed. n_done is only a hint to look.
 * Called from the owner's thread alone. Results: shm/outcome.c. Where the arrays are: shm/place.c. A caller that waits: shm/caller.c.
 */
#include "shm/jobs.h"

#include "core/alloc.h"
#include "core/cpus.h"
#include "core/span.h"
#include "shm/account.h"
#include "shm/clock.h"
#include "shm/park.h"
#include "shm/place.h"
#include "shm/spans.h"
#include "shm/variable.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>

static const double SPIN_BELOW_US = 20, LINGER_BELOW_US = 500, MIN_PART_US = 10, MIN_HELP_PART_US = 0.25;
static const uint64_t KILL_AFTER_NS = 100000000;
enum { SLOTS_AT_ONCE = 4, CHUNK_CAP_US = 1000, DEATHS_PER_WORKER = 3, FORK_TRIES = 50 };

void mm_jobs_init(struct mm_jobs *jobs, struct mm_pool *pool, const mamuto_module_t *own)
{
    jobs->pool = pool;
    jobs->own = own;
    jobs->view.arena_read = jobs->view.arena_write = pool->arena.base;
    jobs->caller = (struct mm_runner){ .board = pool->board,
                                       .self = pool->board->n_workers,
                                       .view = &jobs->view,
                                       .modules = jobs->loaded,
                                       .eventfd = -1 };
    long cpus = mm_cpus_allowed();
    pool->board->spin_max = cpus > 2 ? (uint32_t)cpus - 1 : 1;
    jobs->most_spinning_callers = (int)cpus - 1;
}

void mm_jobs_fini(struct mm_jobs *jobs)
{
    mm_runner_fini(&jobs->caller);
    for (unsigned i = 0; i < MM_MAX_MODULES; i++) {
        mm_free(jobs->costs[i]);
        mm_load_fini(&jobs->loaded[i]);
    }
}

int mm_jobs_add_module(struct mm_jobs *jobs, uint32_t module, uint32_t n_functions, const char *path, uint64_t mark,
                       mamuto_error_t *err)
{
    jobs->costs[module] = mm_alloc_array(n_functions, sizeof *jobs->costs[module]);
    if (!jobs->costs[module])
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for the functions of %s", path);
    jobs->n_costs[module] = n_functions;
    jobs->pool->board->module_marks[module] = mark;
    snprintf(jobs->pool->board->module_paths[module], sizeof jobs->pool->board->module_paths[module], "%s", path);
    return 0;
}

/* --- filling a slot -------------------------------------------------------------------------------------------- */

static size_t item_bytes(const struct mm_run *run)
{
    size_t bytes = run->out_size;
    if (run->op != MM_OP_CALL)
        return run->gather.bytes;
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_run_arg *in = &run->in[k];
        bytes += in->offsets ? (size_t)((uint64_t)(in->high - in->low) / mm_run_n_items(run)) * in->size : in->size;
    }
    return bytes;
}

/* Items of the call in one item of the map. */
static double unit_items(const struct mm_run *run)
{
    return run->groups ? (double)mm_run_n_items(run) / (double)run->n : 1;
}

static struct mm_cost *cost_of(struct mm_jobs *jobs, const struct mm_run *run)
{
    if (run->op != MM_OP_CALL)
        return &jobs->op_costs[run->op];
    const struct mm_function *function = run->function ? run->function : run->groups->fold;
    return &jobs->costs[function->module][function->index][run->groups != NULL];
}

static double estimate(struct mm_jobs *jobs, const struct mm_run *run)
{
    const struct mm_cost *cost = cost_of(jobs, run);
    size_t bytes = item_bytes(run);
    double ticks = cost->item_bytes == bytes
                       ? cost->item_ticks
                       : cost->item_ticks * (double)bytes / (double)(cost->item_bytes ? cost->item_bytes : 1);
    return ticks * unit_items(run);
}

/* Parts go to lanes in order, so that the same part of the next map of this length goes to the same lane; a helping
 * caller takes the first, and where the map is too short to wake anybody for, lanes that are awake come first. */
static void deal_parts(struct mm_jobs *jobs, struct mm_board_map *map, uint64_t gen, uint32_t n_parts, bool help)
{
    struct mm_board *board = jobs->pool->board;
    uint32_t order[MM_MAX_LANES], n = 0, workers = board->n_workers;
    if (help)
        order[n++] = workers;
    bool few = n_parts < workers + help;
    for (uint32_t i = 0; few && i < workers && n < n_parts; i++)
        if (atomic_load_explicit(&board->lanes[i].spinning, memory_order_relaxed))
            order[n++] = i;
    if (few && help && n < n_parts)
        n_parts = n; /* nobody else is awake: the rest is not worth a wake-up */
    for (uint32_t i = 0; !few && i < workers; i++)
        order[n++] = i;
    if (n == 0)
        order[n++] = 0;
    n_parts = n < n_parts ? n : n_parts;
    _Atomic uint64_t *words = mm_map_words(map);
    for (uint32_t i = 0; i < map->n_lanes; i++)
        atomic_store_explicit(&words[i], 0, memory_order_relaxed);
    for (uint32_t i = 0; i < n_parts; i++) {
        uint32_t begin = (uint32_t)((uint64_t)map->n_grains * i / n_parts);
        uint32_t end = (uint32_t)((uint64_t)map->n_grains * (i + 1) / n_parts);
        atomic_store_explicit(&words[order[i]], mm_word_pack(gen, begin, end), memory_order_relaxed);
    }
}

/* Slots that no lane is in any more, a few at a time: looking takes each lane's own cache line away from it. */
static uint64_t look_for_slots(struct mm_jobs *jobs)
{
    uint64_t found = 0;
    int n = 0;
    for (uint64_t closed = ~jobs->used; closed && n < SLOTS_AT_ONCE; closed &= closed - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(closed);
        if (!mm_board_reusable(jobs->pool->board, slot, jobs->slots[slot].gen, jobs->pool->board->n_workers))
            continue;
        found |= UINT64_C(1) << slot;
        n++;
    }
    return found;
}

static struct mm_job *free_slot(struct mm_jobs *jobs, unsigned *slot)
{
    if (!jobs->reusable)
        jobs->reusable = look_for_slots(jobs);
    if (!jobs->reusable)
        return NULL;
    *slot = (unsigned)__builtin_ctzll(jobs->reusable);
    return &jobs->slots[*slot];
}

static uint64_t next_gen(const struct mm_job *job, unsigned slot, struct mm_board_map *map)
{
    uint64_t gen = ((job->gen >> 6) + 1) << 6 | slot;
    if (mm_map_tag(gen) != 0)
        return gen;
    for (uint32_t i = 0; i < MM_MAX_GRAINS;
         i++) /* tags begin anew: none of the last round may be taken for one of it */
        atomic_store_explicit(&map->done[i], 0, memory_order_relaxed);
    for (uint32_t i = 0; i < MM_MAX_RECORDS; i++)
        atomic_store_explicit(&map->records[i].ready, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < MM_MAX_LANES; i++)
        atomic_store_explicit(&map->ended[i].ready, 0, memory_order_relaxed);
    return gen + (UINT64_C(1) << 6);
}

static uint32_t chunk_cap_us(const struct mm_run *run)
{
    uint32_t quarter = (uint32_t)run->item_timeout_ms * 250u;
    return quarter && run->item_timeout_ms < CHUNK_CAP_US * 4 / 1000 ? quarter : CHUNK_CAP_US;
}

/* core's own arrays, so they lie in the arena */
static uint64_t arena_offset(const struct mm_jobs *jobs, const uint8_t *p)
{
    return (uint64_t)((const char *)p - jobs->pool->arena.base);
}

static void fill_groups(const struct mm_jobs *jobs, struct mm_board_map *map, const struct mm_run *run)
{
    const struct mm_groups *groups = run->groups;
    map->flags |= MM_MAP_GROUPS;
    map->groups = (struct mm_board_groups){ .n_items = mm_run_n_items(run),
                                            .group_items = groups->group_items,
                                            .leaf_items = groups->leaf_items,
                                            .fold = groups->fold->index,
                                            .module = (uint16_t)groups->fold->module,
                                            .n_dims = (uint16_t)groups->fold->signature.n_dims };
    for (unsigned j = 0; j < map->groups.n_dims; j++)
        map->groups.dims[j] = groups->dims[j];
    if (!groups->absent)
        return;
    map->flags |= MM_MAP_ABSENT;
    map->groups.absent = arena_offset(jobs, groups->absent);
    map->groups.absent_out = arena_offset(jobs, groups->absent_out);
}

static void fill(struct mm_jobs *jobs, uint64_t gen, struct mm_board_map *map, const struct mm_run *run,
                 double item_ticks)
{
    struct mm_board *board = jobs->pool->board;
    uint32_t lanes = board->n_workers + 1;
    struct mm_cut cut = mm_cut_map(run->n, item_ticks, board->ticks_per_us, mm_stride_abs(run->result_stride),
                                   board->n_workers + run->help, run->help ? MIN_HELP_PART_US : MIN_PART_US);
    map->first = run->first;
    map->n = run->n;
    map->grain_items = cut.grain_items;
    map->n_grains = cut.n_grains;
    map->n_lanes = lanes;
    map->n_dims = run->function ? (uint8_t)run->function->signature.n_dims : 0;
    map->flags = (uint16_t)((run->fail_fast ? MM_MAP_FAIL_FAST : 0) | (run->once ? MM_MAP_ONCE : 0) |
                            (run->log ? MM_MAP_SPANS : 0) | (mm_variable_has(run) ? MM_MAP_VARIABLE : 0));
    map->priority = (int8_t)run->priority;
    map->seed = run->seed;
    map->module = run->function ? (uint16_t)run->function->module : MM_NO_FUNCTION;
    map->function = run->function ? run->function->index : 0;
    map->retries = (uint32_t)run->retries;
    map->timeout_ms = (uint32_t)run->item_timeout_ms;
    map->chunk_cap_us = chunk_cap_us(run);
    map->item_ticks = item_ticks;
    for (unsigned j = 0; j < map->n_dims; j++)
        map->dims[j] = run->dims[j];
    if (run->groups)
        fill_groups(jobs, map, run);
    if (run->marks) {
        map->flags |= MM_MAP_MARKS;
        map->marks = arena_offset(jobs, run->marks);
    }
    if (run->parts || run->op != MM_OP_CALL)
        mm_room_describe(jobs->pool, run, map);
    atomic_store_explicit(&map->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&map->stop, 0, memory_order_relaxed);
    atomic_store_explicit(&map->busy_ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&map->ready, 0, memory_order_relaxed);
    atomic_store_explicit(&map->n_records, 0, memory_order_relaxed);
    for (uint32_t i = 0; mm_map_is_small(map) && i < map->n_grains; i++)
        atomic_store_explicit(&mm_map_done(map)[i], 0, memory_order_relaxed);
    deal_parts(jobs, map, gen, cut.n_parts, run->help);
}

void mm_jobs_set_caller(struct mm_jobs *jobs, enum mm_caller caller)
{
    struct mm_board *board = jobs->pool->board;
    int32_t cpu = caller == MM_CALLER_AWAY ? -1 : sched_getcpu();
    if (atomic_load_explicit(&board->caller_cpu, memory_order_relaxed) != cpu) /* spinning workers read this line */
        atomic_store_explicit(&board->caller_cpu, cpu, memory_order_relaxed);
    if (atomic_load_explicit(&board->caller, memory_order_relaxed) != (uint32_t)caller)
        atomic_store_explicit(&board->caller, (uint32_t)caller, memory_order_relaxed);
}

/* Wakes whom the map is worth waking: nobody where the caller will be done sooner. */
static void wake_workers(struct mm_jobs *jobs, const struct mm_run *run, double item_ticks, struct mm_board_map *map)
{
    struct mm_board *board = jobs->pool->board;
    double us = item_ticks * (double)run->n / board->ticks_per_us;
    bool known = item_ticks > 0;
    bool spins = run->wait && known && jobs->most_spinning_callers > 0 && mm_spin_us(board, us) < SPIN_BELOW_US;
    enum mm_caller caller = MM_CALLER_AWAY;
    if (run->wait && (spins || run->help))
        caller = MM_CALLER_SPINS;
    else if (run->wait && known && us < LINGER_BELOW_US)
        caller = MM_CALLER_SLEEPS;
    mm_jobs_set_caller(jobs, caller);
    int cpu = caller == MM_CALLER_SPINS ? atomic_load_explicit(&board->caller_cpu, memory_order_relaxed) : -1;
    if (run->help && known && us < MIN_PART_US)
        return;
    uint32_t want = known && us < MIN_PART_US ? 1 : map->n_grains < 2 ? 1 : 2;
    mm_wake_lanes(board, board->n_workers, want, map->n_lanes, cpu);
}

static char *shape_of(struct mm_board_map *map) { return (char *)map + offsetof(struct mm_board_map, first); }

int mm_jobs_submit(struct mm_jobs *jobs, struct mm_run *run, mamuto_error_t *err)
{
    unsigned slot;
    struct mm_board *board = jobs->pool->board;
    struct mm_job *job = free_slot(jobs, &slot);
    if (!job)
        return MM_NODE_FULL;
    struct mm_board_map *map = &board->maps[slot];
    mm_map_prefetch_to_fill(map);
    double item_ticks = estimate(jobs, run);
    int code = mm_place_arrays(jobs->pool, map, run, err);
    if (!code && run->parts)
        code = mm_room_take(jobs->pool, &cost_of(jobs, run)->emitted, run, err);
    if (code)
        return code;
    uint64_t gen = next_gen(job, slot, map);
    job->run = run;
    job->gen = gen;
    job->saw_death = job->stopping = false;
    job->status = 0;
    job->deaths = 0;
    job->progress = job->given = job->given_items = 0;
    jobs->reusable &= ~(UINT64_C(1) << slot);
    fill(jobs, job->gen, map, run, item_ticks);
    if (run->log && (code = mm_spans_begin(run, map, err)) != 0) {
        job->run = NULL;
        return code;
    }
    memcpy(job->shape, shape_of(map), sizeof job->shape);
    run->job = job;
    jobs->used |= UINT64_C(1) << slot;
    if (!run->wait)
        atomic_store(&board->polling, 1);
    atomic_store_explicit(&map->gen, job->gen, memory_order_release);
    if (run->priority)
        atomic_fetch_or(&board->ranked, UINT64_C(1) << slot);
    atomic_fetch_or(&board->active, UINT64_C(1) << slot);
    wake_workers(jobs, run, item_ticks, map);
    if (run->item_timeout_ms)
        mm_pool_tell(jobs->pool, MM_MSG_WATCH, 0, 0, 0);
    return 0;
}

/* --- ending ---------------------------------------------------------------------------------------------------- */

struct mm_board_map *mm_job_map(struct mm_jobs *jobs, const struct mm_job *job)
{
    struct mm_board *board = jobs->pool->board;
    struct mm_board_map *map = &board->maps[mm_map_slot(job->gen)];
    if (memcmp(shape_of(map), job->shape, sizeof job->shape) != 0)
        memcpy(shape_of(map), job->shape, sizeof job->shape);
    if (board->n_workers != (uint32_t)jobs->pool->config.workers)
        board->n_workers = (uint32_t)jobs->pool->config.workers;
    return map;
}

void mm_jobs_stop(struct mm_jobs *jobs, struct mm_job *job, int status)
{
    if (job->stopping)
        return;
    job->stopping = true;
    job->status = status;
    job->stop_ns = mm_now_ns();
    atomic_fetch_or(&mm_job_map(jobs, job)->stop, MM_STOP);
}

static void kill_holders(struct mm_jobs *jobs, uint64_t gen)
{
    struct mm_board *board = jobs->pool->board;
    for (uint32_t i = 0; i < board->n_workers; i++) {
        struct mm_lane *lane = &board->lanes[i];
        if (atomic_load(&lane->in) == gen && atomic_load(&lane->pid) > 0)
            mm_pool_tell(jobs->pool, MM_MSG_KILL, i, atomic_load(&lane->pid), (int64_t)gen);
    }
}

enum mm_job_state mm_jobs_check(struct mm_jobs *jobs, struct mm_job *job)
{
    struct mm_board_map *map = mm_job_map(jobs, job);
    uint64_t failed;
    if (!job->stopping) {
        bool look = job->saw_death || atomic_load(&map->n_done) >= map->n_grains;
        if (look && mm_map_all_done(map, job->gen, &failed))
            return MM_JOB_ENDED;
        if (!mm_map_stopped(map))
            return MM_JOB_RUNS;
        mm_jobs_stop(jobs, job, 0);
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (mm_map_quiet(jobs->pool->board, job->gen, jobs->pool->board->n_workers))
        return MM_JOB_ENDED;
    uint64_t now = mm_now_ns();
    if (now - job->stop_ns > KILL_AFTER_NS) {
        kill_holders(jobs, job->gen);
        job->stop_ns = now;
    }
    return MM_JOB_RUNS;
}

static void learn_cost(struct mm_jobs *jobs, struct mm_job *job, struct mm_board_map *map)
{
    struct mm_cost *cost = cost_of(jobs, job->run);
    uint64_t busy = atomic_load_explicit(&map->busy_ticks, memory_order_relaxed);
    if (job->saw_death || job->stopping || !busy || job->given >= map->n)
        return;
    double old = estimate(jobs, job->run), now = (double)busy / (double)(map->n - job->given);
    cost->item_ticks = (old > 0 && now < 4 * old ? old * 0.75 + now * 0.25 : now) / unit_items(job->run);
    cost->item_bytes = item_bytes(job->run);
}

void mm_jobs_remove(struct mm_jobs *jobs, struct mm_job *job)
{
    struct mm_board_map *map = mm_job_map(jobs, job);
    unsigned slot = mm_map_slot(job->gen);
    learn_cost(jobs, job, map);
    if (job->run->parts)
        mm_room_close(jobs->pool, job->saw_death || job->stopping ? NULL : &cost_of(jobs, job->run)->emitted, job->run,
                      map);
    mm_account_settle(jobs, job);
    atomic_fetch_and(&jobs->pool->board->active, ~(UINT64_C(1) << slot));
    if (job->run->priority)
        atomic_fetch_and(&jobs->pool->board->ranked, ~(UINT64_C(1) << slot));
    atomic_store_explicit(&map->gen, 0, memory_order_release);
    if (job->saw_death)
        for (unsigned i = 0; i < MM_MAX_RETURNED; i++)
            atomic_store_explicit(&map->returned[i].state, atomic_load(&map->returned[i].state) >> 16 << 16,
                                  memory_order_relaxed);
    jobs->used &= ~(UINT64_C(1) << slot);
    job->run->job = NULL;
    job->run = NULL;
}

/* --- deaths ---------------------------------------------------------------------------------------------------- */

static void count_death(struct mm_jobs *jobs, struct mm_job *job, bool settled)
{
    struct mm_board_map *map = mm_job_map(jobs, job);
    uint64_t progress = (uint64_t)atomic_load(&map->n_done) << 32 | atomic_load(&map->n_records);
    job->deaths = settled || progress != job->progress ? 1 : job->deaths + 1;
    job->progress = progress;
    if (job->deaths > DEATHS_PER_WORKER * jobs->pool->board->n_workers)
        mm_jobs_stop(jobs, job, MAMUTO_EHOST);
}

/* false: a job could not be swept yet. */
static bool sweep_all(struct mm_jobs *jobs, const struct mm_death *death)
{
    struct mm_board *board = jobs->pool->board;
    bool whole = true;
    for (uint64_t used = jobs->used; used; used &= used - 1) {
        struct mm_job *job = &jobs->slots[__builtin_ctzll(used)];
        struct mm_board_map *map = mm_job_map(jobs, job);
        if (job->stopping)
            continue;
        bool seen = job->saw_death;
        job->saw_death = true;
        atomic_fetch_or(&map->stop, MM_NOTIFY);
        char *result = (char *)job->run->result + (ptrdiff_t)job->run->first * job->run->result_stride;
        enum mm_swept swept = mm_sweep(board, map, job->gen, death, jobs->dead, result, job->run->marks);
        whole &= swept != MM_SWEPT_LATER;
        bool was_in = atomic_load(&board->lanes[death->lane].in) == job->gen;
        if (swept == MM_SWEPT_NOTHING)
            job->saw_death = seen || was_in;
        if (was_in && swept != MM_SWEPT_LATER)
            count_death(jobs, job, swept == MM_SWEPT_SETTLED);
    }
    return whole;
}

static void stop_all(struct mm_jobs *jobs, int status)
{
    for (uint64_t used = jobs->used; used; used &= used - 1)
        mm_jobs_stop(jobs, &jobs->slots[__builtin_ctzll(used)], status);
}

static void put_off(struct mm_jobs *jobs, const struct mm_death *death)
{
    if (jobs->n_later < MM_MAX_LANES)
        jobs->later[jobs->n_later++] = *death;
}

void mm_jobs_on_death(struct mm_jobs *jobs, const struct mm_death *death)
{
    jobs->dead[death->lane] = true;
    if (death->fork_error) { /* tried again a little later: processes may be scarce for a moment */
        jobs->fork_failures = jobs->pool->n_up ? 0 : jobs->fork_failures + 1;
        if (jobs->fork_failures > FORK_TRIES)
            stop_all(jobs, MAMUTO_EHOST);
        put_off(jobs, death);
    } else if (sweep_all(jobs, death) && mm_pool_respawn(jobs->pool, death->lane))
        jobs->dead[death->lane] = false;
    else
        put_off(jobs, death); /* a second sweep of what is swept finds nothing */
}

void mm_jobs_sweep_later(struct mm_jobs *jobs)
{
    uint32_t n = jobs->n_later;
    jobs->n_later = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct mm_death death = jobs->later[i];
        death.fork_error = 0;
        mm_jobs_on_death(jobs, &death);
    }
}

void mm_jobs_on_all_dead(struct mm_jobs *jobs)
{
    struct mm_board *board = jobs->pool->board;
    jobs->n_later = 0;
    for (uint32_t i = 0; i < board->n_workers; i++) {
        jobs->dead[i] = true;
        atomic_store(&board->lanes[i].pid, 0);
    }
    for (uint32_t i = 0; i < board->n_workers; i++) {
        struct mm_death death = { .lane = i, .status = SIGKILL };
        if (!sweep_all(jobs, &death)) /* more returned ranges than there is room for */
            stop_all(jobs, MAMUTO_EHOST);
        mm_pool_reset_lane(jobs->pool, i);
    }
    memset(jobs->dead, 0, sizeof jobs->dead);
}
