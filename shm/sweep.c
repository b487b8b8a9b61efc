/* The sweep. A grain is always named by a word, an entry, a claim or its done word, and is named in its next place before
 * it leaves the one before. So what a dead lane has lost lies within its last claim, and is what nobody else names.
 *
 * Lanes go on while the master looks. Words and entries are read before live claims, claims before done words: the
 * direction in which grains move. The one move back (a stolen rest into its thief's word) bumps lane.moves, so a look
 * during which moves changed, or in which a live lane only intends to take such a grain, is repeated; one that does not
 * settle (the lane may be stopped) is put off, never waited for.
 * The block that a lane ran when it died is run again one item a call; if it ran singly, the cursor's item is at fault.
 * Of a map with MM_MAP_ONCE it is not run again: what of it is not done may have run, and has failed.
 */
#include "shm/sweep.h"

#include "shm/clock.h"
#include "shm/run.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

enum { LOOKS = 200 };

struct look {
    struct mm_board *board;
    struct mm_board_map *map;
    uint64_t gen;
    uint32_t lane, begin, end; /* the dead lane, its claim */
    const bool *dead;          /* all that are known to be: they hold what they own, and do nothing any more */
};

static uint64_t moves(const struct look *look, bool *odd)
{
    uint64_t sum = 0;
    *odd = false;
    for (uint32_t i = 0; i < look->map->n_lanes; i++) {
        uint64_t n = atomic_load(&look->board->lanes[i].moves);
        if (look->dead[i])
            continue;
        sum += n;
        *odd |= n & 1;
    }
    return sum;
}

static bool in_words(const struct look *look, uint32_t grain)
{
    _Atomic uint64_t *words = mm_map_words(look->map);
    for (uint32_t i = 0; i < look->map->n_lanes; i++) {
        uint64_t word = atomic_load(&words[i]);
        if (mm_word_left(word, look->gen) && grain >= mm_word_begin(word) && grain < mm_word_end(word))
            return true;
    }
    return false;
}

static bool in_entries(const struct look *look, uint32_t grain)
{
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++) {
        struct mm_returned *entry = &look->map->returned[i];
        uint64_t state = atomic_load(&entry->state);
        if ((state & 0xff) != MM_ENTRY_FREE && grain >= entry->begin && grain < entry->end)
            return true;
    }
    return false;
}

/* OWNED by another lane: held, if it is dead until it is swept itself. INTENT of a live one: *unclear. */
static bool in_claims(const struct look *look, uint32_t grain, bool *unclear)
{
    unsigned slot = (unsigned)(look->map - look->board->maps);
    for (uint32_t i = 0; i < look->map->n_lanes; i++) {
        uint64_t claim = i == look->lane ? 0 : atomic_load(&look->board->lanes[i].claim);
        if (!claim || mm_claim_slot(claim) != slot || grain < mm_claim_begin(claim) || grain >= mm_claim_end(claim))
            continue;
        if (mm_claim_state(claim) == MM_CLAIM_OWNED)
            return true;
        *unclear |= !look->dead[i];
    }
    return false;
}

static bool is_done(const struct look *look, uint32_t grain)
{
    return atomic_load(&mm_map_done(look->map)[grain]) >> 32 == mm_map_tag(look->gen);
}

/* Is this grain lost? -1: cannot be told now. */
static int is_lost(const struct look *look, uint32_t grain)
{
    for (int i = 0; i < LOOKS; i++) {
        bool odd, unclear = false;
        uint64_t before = moves(look, &odd);
        bool held = in_words(look, grain) || in_entries(look, grain) || in_claims(look, grain, &unclear) ||
                    is_done(look, grain);
        if (held)
            return 0;
        bool odd_after;
        if (!odd && !unclear && moves(look, &odd_after) == before)
            return 1;
        mm_relax();
    }
    return -1;
}

static bool recorded(const struct mm_board_map *map, uint64_t gen, uint64_t item)
{
    uint32_t n = atomic_load(&map->n_records);
    for (uint32_t i = 0; i < n && i < MM_MAX_RECORDS; i++)
        if (atomic_load(&map->records[i].ready) == mm_map_tag(gen) && map->records[i].item == item)
            return true;
    return false;
}

static void describe(const struct mm_death *death, struct mm_failure *failure, int *signal)
{
    *signal = WIFSIGNALED(death->status) ? WTERMSIG(death->status) : 0;
    failure->code = death->verdict == MM_VERDICT_TIMEOUT ? MAMUTO_ETIMEOUT : MAMUTO_ECRASH;
    if (WIFEXITED(death->status))
        snprintf(failure->text, sizeof failure->text, "exited with status %d", WEXITSTATUS(death->status));
}

/* Killed by us, but for something else: for a map that it has left since, for the item before. */
static bool is_a_mistake(const struct mm_death *death, uint64_t item)
{
    return death->verdict == MM_VERDICT_CANCELED || (death->verdict == MM_VERDICT_TIMEOUT && death->verdict_at != item);
}

static bool is_from_outside(const struct mm_death *death)
{
    return WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGKILL && death->verdict == MM_VERDICT_NONE;
}

/* A lost item's result, where the caller has it. */
static void zero(struct mm_board_map *map, uint64_t gen, uint32_t lane, char *at)
{
    if (map->out.where != MM_WHERE_PRIVATE)
        memset(at, 0, map->out.size);
    else if (mm_peer_zero(at, map->out.size) != MM_PEER_OK) { /* that is what it died of */
        struct mm_failure bad = { .code = MAMUTO_EARGS };
        snprintf(bad.text, sizeof bad.text, MM_SAY_UNWRITABLE);
        mm_record_add(map, gen, MAMUTO_NO_ITEM, (int)lane, 0, &bad);
        atomic_fetch_or(&map->stop, MM_STOP);
    }
}

/* The item that the cursor names has failed: for good, or one of its retries is used up; or it is spared this once. */
static void blame(struct mm_board_map *map, uint64_t gen, const struct mm_death *death, struct mm_taken *rest,
                  char *result, uint8_t *marks)
{
    uint64_t item = rest->first_item;
    bool first_death = !(rest->attempts & MM_SPARED), known = recorded(map, gen, map->first + item);
    rest->attempts |= MM_SPARED;
    if (!known && (is_a_mistake(death, item) || (first_death && is_from_outside(death))))
        return;
    if (!known && (rest->attempts & ~MM_SPARED) < map->retries) {
        rest->attempts++;
        return;
    }
    struct mm_failure failure = { 0 };
    int signal;
    describe(death, &failure, &signal);
    zero(map, gen, death->lane, result + (ptrdiff_t)item * map->out.stride);
    if (marks)
        marks[item] = 1;
    if (!known) /* else the lane itself had settled it, and died before its cursor moved on */
        mm_record_add(map, gen, map->first + item, (int)death->lane, signal, &failure);
    rest->attempts = MM_SPARED;
    rest->failed++;
    rest->first_item++;
    if (rest->first_item == mm_grain_item(map, rest->begin + 1)) {
        mm_grain_commit(map, gen, rest->begin, rest->failed);
        rest->begin++;
        rest->failed = 0;
    }
    if (map->flags & MM_MAP_FAIL_FAST)
        atomic_fetch_or(&map->stop, MM_STOP);
}

/* The lane ran singly: go on behind the item at fault. */
static enum mm_swept return_singly(const struct look *look, const struct mm_death *death, char *result, uint8_t *marks)
{
    struct mm_lane *lane = &look->board->lanes[look->lane];
    uint64_t item = atomic_load(&lane->cursor), first = mm_grain_item(look->map, look->begin);
    if (item < first) /* a stray write: never believe what a damaged process left behind */
        item = first;
    struct mm_taken rest = { .begin = look->begin,
                             .end = look->end,
                             .singly = true,
                             .first_item = item,
                             .failed = atomic_load(&lane->failed[item & 1]),
                             .attempts = atomic_load(&lane->attempts) };
    while (rest.begin < rest.end && mm_grain_item(look->map, rest.begin + 1) <= item)
        rest.begin++; /* done: their words were stored before the cursor moved on */
    enum mm_swept swept = MM_SWEPT_RETURNED;
    if (rest.begin < rest.end && is_done(look, rest.begin)) { /* it died between the done word and the cursor */
        rest.begin++;
        rest.first_item = mm_grain_item(look->map, rest.begin);
        rest.failed = 0;
        rest.attempts = MM_SPARED;
    } else if (rest.begin < rest.end) {
        blame(look->map, look->gen, death, &rest, result, marks);
        swept = MM_SWEPT_SETTLED;
    }
    if (rest.begin < rest.end && !mm_returned_add(look->map, &rest))
        return MM_SWEPT_LATER;
    return swept;
}

/* Grains [begin, end) that the lane had: those that are lost are run again. */
static bool return_grains(const struct look *look, uint32_t begin, uint32_t end, bool singly)
{
    for (uint32_t i = begin; i < end;) {
        struct mm_taken run = { .begin = i,
                                .end = i,
                                .singly = singly,
                                .first_item = mm_grain_item(look->map, i),
                                .attempts = singly ? MM_SPARED : 0 };
        int lost = 0;
        while (run.end < end && (lost = is_lost(look, run.end)) == 1)
            run.end++;
        if (lost < 0 || (run.end > run.begin && !mm_returned_add(look->map, &run)))
            return false;
        i = run.end + 1;
    }
    return true;
}

/* The lane ran whole grains, in blocks: only the block that ran is at fault, and is run singly. */
static enum mm_swept return_chunk(const struct look *look)
{
    const struct mm_lane *lane = &look->board->lanes[look->lane];
    uint64_t first = atomic_load(&lane->cursor), last = atomic_load(&lane->block_end);
    uint32_t begin = look->begin, end = look->end;
    while (begin < end && mm_grain_item(look->map, begin + 1) <= first)
        begin++;
    while (end > begin && mm_grain_item(look->map, end - 1) >= last)
        end--;
    bool whole = return_grains(look, look->begin, begin, false) && return_grains(look, begin, end, true) &&
                 return_grains(look, end, look->end, false);
    return whole ? MM_SWEPT_RETURNED : MM_SWEPT_LATER;
}

/* All items of a grain that may have run, and may not be run again. */
static void settle_lost(const struct look *look, const struct mm_death *death, uint32_t grain, char *result,
                        uint8_t *marks)
{
    struct mm_board_map *map = look->map;
    struct mm_failure failure = { 0 };
    uint64_t first = mm_grain_item(map, grain), end = mm_grain_item(map, grain + 1);
    int signal;
    describe(death, &failure, &signal);
    if (is_a_mistake(death, atomic_load(&look->board->lanes[look->lane].cursor)))
        failure.code = MAMUTO_ECRASH;
    for (uint64_t item = first; item < end; item++) {
        zero(map, look->gen, look->lane, result + (ptrdiff_t)item * map->out.stride);
        if (marks)
            marks[item] = 1;
        if (!recorded(map, look->gen, map->first + item)) /* it may have failed before the lane died */
            mm_record_add(map, look->gen, map->first + item, (int)look->lane, signal, &failure);
    }
    mm_grain_commit(map, look->gen, grain, (uint32_t)(end - first));
    if (map->flags & MM_MAP_FAIL_FAST)
        atomic_fetch_or(&map->stop, MM_STOP);
}

/* No item may be run twice: the block is lost, the rest has not begun. */
static enum mm_swept return_once(const struct look *look, const struct mm_death *death, char *result, uint8_t *marks)
{
    const struct mm_lane *lane = &look->board->lanes[look->lane];
    uint64_t first = atomic_load(&lane->cursor), last = atomic_load(&lane->block_end);
    enum mm_swept swept = MM_SWEPT_RETURNED;
    for (uint32_t i = look->begin; i < look->end; i++) {
        uint64_t at = mm_grain_item(look->map, i);
        if (at < first || at >= last || is_done(look, i))
            continue;
        settle_lost(look, death, i, result, marks);
        swept = MM_SWEPT_SETTLED;
    }
    return return_grains(look, look->begin, look->end, false) ? swept : MM_SWEPT_LATER;
}

static bool room_to_return(struct mm_board_map *map)
{
    unsigned room = 0;
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++)
        room += (atomic_load(&map->returned[i].state) & 0xff) == MM_ENTRY_FREE;
    return room > 3;
}

enum mm_swept mm_sweep(struct mm_board *board, struct mm_board_map *map, uint64_t gen, const struct mm_death *death,
                       const bool *dead, char *result, uint8_t *marks)
{
    struct mm_lane *lane = &board->lanes[death->lane];
    uint64_t claim = atomic_load(&lane->claim);
    enum mm_claim_state state = mm_claim_state(claim);
    struct look look = { board, map, gen, death->lane, mm_claim_begin(claim), mm_claim_end(claim), dead };
    bool held = state != MM_CLAIM_NONE && mm_claim_slot(claim) == (unsigned)(map - board->maps) &&
                atomic_load(&lane->in) == gen;
    if (look.end > map->n_grains)
        look.end = map->n_grains; /* never trust what a damaged process left behind */
    if (held && state == MM_CLAIM_OWNED && !room_to_return(map))
        return MM_SWEPT_LATER;
    mm_returned_untake(map, death->lane, !(held && state == MM_CLAIM_OWNED));
    if (!held)
        return MM_SWEPT_NOTHING;
    if (state == MM_CLAIM_OWNED && map->flags & MM_MAP_ONCE)
        return return_once(&look, death, result, marks);
    if (state == MM_CLAIM_OWNED && mm_claim_singly(claim))
        return return_singly(&look, death, result, marks);
    if (state == MM_CLAIM_OWNED)
        return return_chunk(&look);
    return return_grains(&look, look.begin, look.end, false) ? MM_SWEPT_RETURNED : MM_SWEPT_LATER;
}

bool mm_map_quiet(const struct mm_board *board, uint64_t gen, uint32_t n_lanes)
{
    for (uint32_t i = 0; i < n_lanes; i++)
        if (atomic_load(&board->lanes[i].in) == gen)
            return false;
    return true;
}
