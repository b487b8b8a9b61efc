/* Giving back: the owner takes grains that no lane has begun, so that another node settles them.
 *
 * It takes the end of the longest range word, as a thief does, but by one compare-and-swap and without a claim: it is the
 * process that sweeps, so nobody looks for the grains between that and their done words, which it stores itself. A lane
 * that has only intended to take them finds the word changed; if it dies then, the sweep finds them done. Where all words
 * are empty, it takes a returned range: one whose items are not run singly, which may lie between settled ones.
 * For the board these grains are done from then on, without a failed item. The job remembers how many they are, so that
 * accounts, the outcome and the log do not count them. Called on the owner's thread alone.
 */
#include "shm/give.h"

#include "shm/park.h"

static uint64_t items_of(const struct mm_board_map *map, uint32_t begin, uint32_t end)
{
    return mm_grain_item(map, end) - mm_grain_item(map, begin);
}

/* Where the last grains of [begin, end) begin that are at most so many items; end: not one. */
static uint32_t cut(const struct mm_board_map *map, uint32_t begin, uint32_t end, uint64_t want)
{
    uint64_t last = mm_grain_item(map, end);
    if (items_of(map, begin, end) <= want)
        return begin;
    return (uint32_t)((last - want + map->grain_items - 1) / map->grain_items);
}

/* The lane with most left; n_lanes: there is none. */
static uint32_t richest(struct mm_board_map *map, uint64_t gen)
{
    uint32_t best = map->n_lanes, most = 0;
    for (uint32_t i = 0; i < map->n_lanes; i++) {
        uint64_t word = atomic_load_explicit(&mm_map_words(map)[i], memory_order_relaxed);
        uint32_t left = mm_word_end(word) <= map->n_grains ? mm_word_left(word, gen) : 0; /* else it is damaged */
        if (left > most) {
            best = i;
            most = left;
        }
    }
    return best;
}

static bool take_of_words(struct mm_board_map *map, uint64_t gen, uint64_t want, uint32_t *begin, uint32_t *end)
{
    for (uint32_t lane; (lane = richest(map, gen)) < map->n_lanes;) {
        _Atomic uint64_t *word = &mm_map_words(map)[lane];
        uint64_t old = atomic_load(word);
        uint32_t from = mm_word_begin(old), to = mm_word_end(old);
        if (!mm_word_left(old, gen) || to > map->n_grains)
            continue;
        uint32_t at = cut(map, from, to, want);
        if (at == to)
            return false;
        if (!atomic_compare_exchange_strong(word, &old, mm_word_pack(gen, from, at)))
            continue;
        *begin = at;
        *end = to;
        return true;
    }
    return false;
}

/* Of a returned range, the end; the rest of it is offered again. */
static bool take_of_entry(struct mm_board_map *map, struct mm_returned *entry, uint64_t want, uint32_t *begin,
                          uint32_t *end)
{
    uint64_t state = atomic_load(&entry->state);
    struct mm_taken range = { .begin = entry->begin, .end = entry->end, .attempts = entry->attempts };
    if ((state & 0xff) != MM_ENTRY_READY || entry->singly || range.begin >= range.end || range.end > map->n_grains)
        return false;
    uint32_t at = cut(map, range.begin, range.end, want);
    if (at == range.end || !atomic_compare_exchange_strong(&entry->state, &state, state >> 16 << 16))
        return false;
    *begin = at;
    *end = range.end;
    range.end = at;
    range.first_item = mm_grain_item(map, range.begin);
    return range.begin == range.end || mm_returned_add(map, &range); /* the entry that was freed has room for it */
}

bool mm_give_grains(struct mm_board_map *map, uint64_t gen, uint64_t want, uint32_t *begin, uint32_t *end)
{
    bool found = !mm_map_stopped(map) && take_of_words(map, gen, want, begin, end);
    for (unsigned i = 0; !found && i < MM_MAX_RETURNED && !mm_map_stopped(map); i++)
        found = take_of_entry(map, &map->returned[i], want, begin, end);
    for (uint32_t i = *begin; found && i < *end; i++)
        atomic_store_explicit(&mm_map_done(map)[i], (uint64_t)mm_map_tag(gen) << 32, memory_order_release);
    if (found)
        atomic_fetch_add(&map->n_done, *end - *begin);
    return found;
}

/* Nobody is to be told that they have landed here. */
static void mark_as_told(const struct mm_run *run, uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; run->log && i < end; i++)
        run->log->reported[i / 64] |= UINT64_C(1) << i % 64;
}

uint64_t mm_jobs_give_back(struct mm_jobs *jobs, struct mm_job *job, uint64_t want, uint64_t *first)
{
    struct mm_board_map *map = mm_job_map(jobs, job);
    struct mm_board *board = jobs->pool->board;
    uint32_t begin = 0, end = 0;
    if (job->stopping || job->run->parts || job->run->op != MM_OP_CALL ||
        !mm_give_grains(map, job->gen, want, &begin, &end))
        return 0;
    mark_as_told(job->run, begin, end);
    struct mm_run given = *job->run;
    given.first = map->first + mm_grain_item(map, begin);
    given.n = items_of(map, begin, end);
    job->given += given.n;
    job->given_items += mm_run_settles(&given);
    if (atomic_load_explicit(&map->ready, memory_order_relaxed)) /* a range that was taken in part is offered anew */
        mm_wake_lanes(board, board->n_workers, 1, map->n_lanes, mm_spinning_cpu(board));
    *first = given.first;
    return given.n;
}

bool mm_jobs_looks_done(struct mm_jobs *jobs, const struct mm_job *job)
{
    struct mm_board_map *map = mm_job_map(jobs, job);
    return job->saw_death || atomic_load(&map->n_done) >= map->n_grains;
}
