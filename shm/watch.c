/* The fork server's watch over item timeouts: no clock is read per item, a lane's claim number and cursor are looked at
 * every timeout/8. A chunk of a map with a timeout is kept under a quarter of it, so one that takes longer holds an item
 * that does: its worker is killed, and the sweep has the chunk run again singly, where the item itself is caught. */
#include "shm/watch.h"

#include <signal.h>

static struct mm_board_map *map_of(struct mm_board *board, struct mm_lane *lane, uint64_t *gen)
{
    uint64_t claim = atomic_load(&lane->claim);
    struct mm_board_map *map = &board->maps[mm_claim_slot(claim)];
    *gen = atomic_load(&map->gen);
    bool runs = mm_claim_state(claim) == MM_CLAIM_OWNED && *gen && atomic_load(&lane->in) == *gen;
    return runs && map->timeout_ms ? map : NULL;
}

static void look(struct mm_board *board, struct mm_lane *lane, pid_t pid, struct mm_watched *seen, uint64_t now_ns)
{
    uint64_t gen;
    struct mm_board_map *map = map_of(board, lane, &gen);
    if (!map)
        return;
    uint64_t seq = atomic_load(&lane->seq), cursor = atomic_load(&lane->cursor);
    uint32_t attempts = atomic_load(&lane->attempts);
    if (seen->gen != gen || seen->seq != seq || seen->cursor != cursor || seen->attempts != attempts)
        *seen = (struct mm_watched){ gen, seq, cursor, now_ns, attempts };
    else if (now_ns - seen->since_ns > (uint64_t)map->timeout_ms * 1000000) {
        atomic_store(&lane->verdict_at, cursor);
        atomic_store(&lane->verdict, MM_VERDICT_TIMEOUT);
        kill(pid, SIGKILL);
        seen->since_ns = now_ns;
    }
}

int mm_watch_lanes(struct mm_board *board, const pid_t *pids, struct mm_watched *watched, uint64_t now_ns)
{
    uint32_t shortest = 0;
    for (uint64_t active = atomic_load(&board->active); active; active &= active - 1) {
        struct mm_board_map *map = &board->maps[__builtin_ctzll(active)];
        if (map->timeout_ms && (!shortest || map->timeout_ms < shortest))
            shortest = map->timeout_ms;
    }
    for (uint32_t i = 0; shortest && i < board->n_workers; i++)
        if (pids[i] > 0)
            look(board, &board->lanes[i], pids[i], &watched[i], now_ns);
    return !shortest ? -1 : shortest < 8 ? 1 : (int)(shortest / 8);
}
