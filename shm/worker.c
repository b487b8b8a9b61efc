/* A worker's loop: look at the maps in flight in turn, a chunk each; with nothing to do, spin a little, then sleep.
 *
 * Maps of a higher priority are served first, those of the same in turn. One chunk in MM_PLAIN_TURN goes to the next map
 * in turn, whatever its priority, so that each gets on. Where all priorities are 0, nothing is looked up.
 * One thread. It never ends by itself, except to be forked anew when a file was attached that it has not mapped. Its
 * death at any point is repaired by the master's sweep. It loads a module when it first meets a map of it.
 */
#include "shm/worker.h"

#include "core/error.h"
#include "core/run.h"
#include "shm/park.h"
#include "shm/testpoint.h"

#include <stdio.h>
#include <unistd.h>

struct state {
    struct mm_runner runner;
    const struct mm_worker *worker;
    struct mm_loaded modules[MM_MAX_MODULES];
    unsigned next_slot;
    unsigned next_plain; /* of the turns that do not look at priorities */
    unsigned ranked;     /* chunks since the last one of these */
    bool woken;          /* or has work to share, and has not passed it on yet */
};

static bool has_file(const struct state *state, uint32_t where, uint32_t region)
{
    const struct mm_board *board = state->worker->board;
    return where != MM_WHERE_ATTACHED ||
           state->worker->view->attached[region].serial == atomic_load(&board->attached[region].serial);
}

static bool has_files(const struct state *state, const struct mm_board_map *map)
{
    bool all = true;
    for (unsigned k = 0; k < map->n_in; k++)
        all &= has_file(state, map->in[k].where, map->in[k].region);
    for (unsigned k = 0; k < map->n_in && map->flags & MM_MAP_VARIABLE; k++)
        all &= has_file(state, map->offsets[k].where, map->offsets[k].region);
    return all;
}

static bool has_module(struct state *state, struct mm_board_map *map, uint64_t gen, uint16_t number)
{
    struct mm_loaded *module = &state->modules[number];
    if (module->functions)
        return true;
    mamuto_error_t err = { 0 };
    const struct mm_board *board = state->worker->board;
    if (mm_load_marked(module, board->module_paths[number], state->worker->own_functions, board->module_marks[number],
                       &err) == 0)
        return true;
    struct mm_failure failure = { .code = MAMUTO_EMODULE };
    snprintf(failure.text, sizeof failure.text, "%.*s", MM_RECORD_TEXT - 1, err.text);
    mm_record_add(map, gen, MAMUTO_NO_ITEM, (int)state->worker->self, 0, &failure);
    atomic_fetch_or(&map->stop, MM_STOP);
    mm_wake_master(state->worker->board, state->worker->eventfd);
    return false;
}

static bool has_modules(struct state *state, struct mm_board_map *map, uint64_t gen)
{
    return (map->module == MM_NO_FUNCTION || has_module(state, map, gen, map->module)) &&
           (!(map->flags & MM_MAP_GROUPS) || has_module(state, map, gen, map->groups.module));
}

static void pass_wake_on(struct state *state, struct mm_board_map *map, uint64_t gen)
{
    struct mm_board *board = state->worker->board;
    if (state->woken && mm_map_has_work(map, gen))
        mm_wake_lanes(board, board->n_workers, 2, state->worker->self, mm_spinning_cpu(board));
    state->woken = false;
}

/* The map's files, module and arguments are at hand. A worker that lacks a file starts anew, where there is work. */
static bool is_ready(struct state *state, struct mm_board_map *map, uint64_t gen)
{
    if (state->runner.gen == gen)
        return true;
    if (!has_files(state, map)) {
        if (mm_map_has_work(map, gen))
            _exit(MM_EXIT_RENEW);
        return false;
    }
    return has_modules(state, map, gen) && mm_runner_prepare(&state->runner, map, gen);
}

/* Chunks of one map: one, or as many as there are while it is the only map. true: there was one. */
static bool serve_map(struct state *state, unsigned slot)
{
    struct mm_board *board = state->worker->board;
    struct mm_board_map *map = &board->maps[slot];
    struct mm_lane *lane = &board->lanes[state->worker->self];
    struct mm_pace *pace = &state->runner.pace[slot];
    struct mm_taken taken;
    uint64_t gen;
    bool any = false;
    mm_map_prefetch_to_run(map);
    if (!mm_board_enter(board, lane, slot, &gen))
        return false;
    bool ready = !mm_map_stopped(map) && is_ready(state, map, gen);
    while (ready && mm_claim_next(board, map, gen, state->worker->self, pace, &taken)) {
        any = true;
        if (!mm_map_is_small(map))
            mm_lane_busy(lane);
        state->woken |= taken.left_rest;
        pass_wake_on(state, map, gen);
        mm_runner_execute(&state->runner, &taken);
        if (atomic_load_explicit(&board->active, memory_order_relaxed) != UINT64_C(1) << slot)
            break;
    }
    if (mm_board_leave(board, lane))
        mm_wake_master(board, state->worker->eventfd);
    return any;
}

/* The first of these slots, from one on, round the end. */
static unsigned first_from(uint64_t slots, unsigned from)
{
    uint64_t later = slots & (UINT64_MAX << from);
    return (unsigned)__builtin_ctzll(later ? later : slots);
}

/* Those of the highest priority among these slots. A map that has just been replaced is looked at as the other one: it
 * costs one chunk in the wrong order. */
static uint64_t highest(const struct mm_board *board, uint64_t slots)
{
    int best = -MM_MOST_PRIORITY - 1;
    uint64_t found = 0;
    for (uint64_t left = slots; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);
        const int priority =
            board->maps[slot].priority; /* NOLINT(bugprone-signed-char-misuse,cert-str34-c): a number */
        if (priority > best)
            found = 0;
        if (priority >= best) {
            best = priority;
            found |= UINT64_C(1) << slot;
        }
    }
    return found;
}

/* One chunk, of the map whose turn it is. */
static bool serve_ranked(struct state *state, uint64_t untried)
{
    bool plain = ++state->ranked >= MM_PLAIN_TURN;
    unsigned *next = plain ? &state->next_plain : &state->next_slot;
    if (plain)
        state->ranked = 0;
    while (untried) {
        unsigned slot = first_from(plain ? untried : highest(state->worker->board, untried), *next);
        untried &= ~(UINT64_C(1) << slot);
        if (!serve_map(state, slot))
            continue;
        *next = (slot + 1) % MM_MAX_MAPS;
        return true;
    }
    return false;
}

/* Every map in flight once, beginning with another one each time. true: there was something to do. */
static bool serve(void *context)
{
    struct state *state = context;
    struct mm_board *board = state->worker->board;
    uint64_t active = atomic_load_explicit(&board->active, memory_order_acquire);
    bool any = false;
    for (uint64_t left = active; left;) {
        if (atomic_load_explicit(&board->ranked, memory_order_relaxed) && (active & (active - 1)))
            return any || serve_ranked(state, active);
        unsigned slot = first_from(left, state->next_slot);
        left &= ~(UINT64_C(1) << slot);
        any |= serve_map(state, slot);
    }
    state->next_slot = (state->next_slot + 1) % MM_MAX_MAPS;
    return any;
}

_Noreturn void mm_worker_run(const struct mm_worker *worker)
{
    static struct state state; /* one worker a process; too large for a stack that a function may overflow */
    state.worker = worker;
    state.runner = (struct mm_runner){ .board = worker->board,
                                       .self = worker->self,
                                       .view = worker->view,
                                       .modules = state.modules,
                                       .eventfd = worker->eventfd,
                                       .peer.pid = worker->board->master_pid };
#ifdef MM_TEST_HOOKS
    mm_test_point_init();
#endif
    for (;;) {
        if (serve(&state))
            continue;
        if (worker->serial != atomic_load(&worker->board->attach_serial))
            _exit(MM_EXIT_RENEW);
        mm_lane_idle(worker->board, worker->self, worker->eventfd, worker->serial, serve, &state);
        state.woken = true;
    }
}
