/* The job board: what master, fork server and workers share. One mapping of its own, apart from the data.
 *
 * No locks. Everything is a fixed-width atomic or is written before the map's gen is published and constant until the
 * slot is reused. Only offsets cross. tests/model has the protocol as a Promela model.
 *
 *   field             written by                     order               why
 *   map.gen           master                         release             publishes the constant fields; 0 = closed
 *   map.words[lane]   whoever claims (CAS)           seq_cst             one range word a lane: tag | begin | end
 *   map.done[grain]   the lane that ran it           release             after the results: the truth of what is done
 *   map.n_done        the lane, after done[]         seq_cst             a hint to look at done[]
 *   map.stop          master; a lane that failed     seq_cst             MM_STOP, MM_NOTIFY
 *   map.ready         master; a lane that saw none   seq_cst, CAS        a hint to look at returned[]
 *   map.returned[]    master fills, a lane takes     release, CAS        ranges to be run again; served first
 *   map.records[]     the lane that saw a failure    release (ready)     what failed, at most MM_MAX_RECORDS
 *   lane.claim        the lane; master after death   seq_cst             what it is about to take, or runs
 *   lane.in           the lane                       seq_cst             hazard: the map's slot is not reused
 *   lane.parked       the lane; a waker (exchange)   seq_cst             futex: asleep, or about to be
 *   lane.cursor …     the lane                       release             read only when it is dead
 *   ring.head         the lane                       release             after the entry, before its done words
 *   ring.tail         master                         release             what it has read
 *   board.active      master                         seq_cst             bit per slot: there may be work
 *   board.ranked      master                         seq_cst             of active: to be served by priority
 *   board.polling     master                         seq_cst             it sleeps on the eventfd, or is about to
 */
#ifndef MM_SHM_BOARD_H
#define MM_SHM_BOARD_H

#include "core/mamuto.h"

#include <stdatomic.h>
#include <stdbool.h>

enum {
    MM_MAX_LANES = 256, /* workers and, last, the caller that helps */
    MM_MAX_MAPS = 64,
    MM_MAX_GRAINS = 1 << 18,
    MM_MAX_RETURNED = 128,
    MM_MAX_RECORDS = 1000,
    MM_MAX_ATTACHED = 64,
    MM_INLINE_BYTES = 4096, /* for small broadcast values of private arrays */
    MM_HOT_WORDS = 5,       /* range words and done words that fit into the hot line */
    MM_RECORD_TEXT = 200,
    MM_LINE = 64,
};

/* Bits of map.stop. */
enum {
    MM_STOP = 1,   /* nobody claims, and blocks end */
    MM_NOTIFY = 2, /* the count cannot be trusted after a death: the master is told of every chunk */
};

/* Flags of a map. */
enum {
    MM_MAP_FAIL_FAST = 1, /* the first failed item stops it */
    MM_MAP_ONCE = 2,      /* no item is run twice */
    MM_MAP_GROUPS = 4,    /* its items are groups: map.groups */
    MM_MAP_ABSENT = 8,    /* of which some items may be left out: map.groups.absent */
    MM_MAP_MARKS = 16,    /* items that failed for good are marked: map.marks */
    MM_MAP_VARIABLE = 32, /* an input has offsets: map.offsets */
    MM_MAP_SPANS = 64,    /* lanes log what they have finished */
    MM_MAP_EMITS = 128,   /* its function emits: map.parts */
    MM_MAP_BUILTIN = 256, /* no function of a module: map.op */
};

/* Of a map over groups: core/run.h's struct mm_groups. Items count from the run's first one. */
struct mm_board_groups {
    uint64_t n_items, group_items;
    uint64_t absent, absent_out; /* offsets into the arena */
    uint32_t leaf_items;
    uint32_t fold; /* index into its module */
    uint16_t module, n_dims;
    uint64_t dims[MAMUTO_MAX_DIMS];
};
enum { MM_NO_FUNCTION = UINT16_MAX }; /* as a module: input 0 is folded itself */

#define MM_BOARD_MAGIC UINT64_C(0x316472616f626d6d) /* "mmboard1" */
#define MM_BOARD_LAYOUT 1u

/* Where an argument lies. */
enum mm_where { MM_WHERE_NONE, MM_WHERE_ARENA, MM_WHERE_ATTACHED, MM_WHERE_PRIVATE, MM_WHERE_INLINE };

struct mm_board_arg {
    uint32_t where;  /* enum mm_where */
    uint32_t region; /* which attached file */
    uint64_t offset; /* into the arena, the attached bytes, the inline bytes; the master's address if private */
    int64_t stride;  /* bytes; 0: broadcast */
    uint64_t size;   /* bytes of one item; with offsets: of an element */
    uint64_t len;    /* elements of one item */
};

/* A part of the arena that lanes take slabs of: by compare-and-swap on used. */
struct mm_board_part {
    uint64_t offset, bytes;
    uint64_t slab; /* bytes that are taken at once */
    _Atomic uint64_t used;
};

/* Of an input of variable length, the offsets; its bytes are those of elements [low, high), and lie where the argument's
 * offset says. */
struct mm_board_offsets {
    uint32_t where, region; /* MM_WHERE_NONE: this input has none */
    uint64_t offset;        /* to the first item's */
    int64_t low, high;
};

/* A range that is to be run again. Data fields are the master's while the entry is free. */
enum mm_entry_state { MM_ENTRY_FREE, MM_ENTRY_READY, MM_ENTRY_TAKEN };
struct mm_returned {
    _Atomic uint64_t state;      /* tag << 16 | lane << 8 | enum mm_entry_state */
    _Atomic uint32_t begin, end; /* grains */
    _Atomic uint64_t first_item; /* items before it in the first grain are settled */
    _Atomic uint32_t failed;     /* of those, so many failed */
    _Atomic uint32_t attempts;   /* failures that first_item has behind it */
    _Atomic uint32_t singly;     /* one item a call, under the cursor */
    uint32_t unused;
};

struct mm_record {
    _Atomic uint32_t ready; /* the map's low gen when the rest is written */
    int32_t code, item_code, signal, worker;
    uint32_t unused;
    uint64_t item;
    uint64_t node_item; /* of a fold: the first of what it was to fold, else 0 */
    char text[MM_RECORD_TEXT];
};

struct mm_board_map {
    /* constant while gen stands */
    _Alignas(MM_LINE) _Atomic uint64_t gen; /* slot generation << 6 | slot; 0: closed */
    uint64_t first, n;                      /* items [first, first + n) of the call */
    uint64_t grain_items;
    uint32_t n_grains, n_lanes;
    uint8_t n_in, n_dims;
    int8_t priority;
    uint16_t flags; /* MM_MAP_* */
    uint16_t module;
    uint32_t function; /* index into the module */
    uint32_t retries;
    uint32_t timeout_ms;
    uint32_t chunk_cap_us;
    double item_ticks; /* estimate; 0: not known */
    /* second line on: as many as are used */
    _Alignas(MM_LINE) uint64_t seed;
    struct mm_board_arg out;
    struct mm_board_arg in[MAMUTO_MAX_ARGS];
    uint64_t dims[MAMUTO_MAX_DIMS];
    struct mm_board_groups groups;
    uint64_t marks;                                   /* offset into the arena: a byte an item */
    struct mm_board_offsets offsets[MAMUTO_MAX_ARGS]; /* by input; with MM_MAP_VARIABLE */
    struct mm_board_part parts[2];
    uint64_t element;                          /* bytes, of what it emits or gathers */
    uint64_t emitted_items, group, offsets_at; /* core/run.h's struct mm_run_gather */
    uint32_t op;                               /* enum mm_op */
    /* the hot line */
    _Alignas(MM_LINE) _Atomic uint32_t n_done;
    _Atomic uint32_t stop;
    _Atomic uint64_t busy_ticks;
    _Atomic uint32_t ready; /* hint: 0: nothing is READY in returned[]; else a version, one up an entry */
    _Atomic uint32_t n_records;
    _Atomic uint64_t hot[MM_HOT_WORDS];
    _Alignas(MM_LINE) _Atomic uint64_t words[MM_MAX_LANES];
    _Alignas(MM_LINE) struct mm_returned returned[MM_MAX_RETURNED];
    uint32_t ready_version;                                     /* the master's own: the last value of ready but 0 */
    _Atomic uint64_t singly_ticks;                              /* time of items that ran singly, not in busy_ticks */
    _Alignas(MM_LINE) struct mm_record records[MM_MAX_RECORDS]; /* of items */
    struct mm_record ended[MM_MAX_LANES];                       /* by lane: what ended the map, of no item */
    _Alignas(4096) char inline_bytes[MM_INLINE_BYTES];
    _Alignas(4096) _Atomic uint64_t done[MM_MAX_GRAINS]; /* low gen << 32 | failed items of the grain */
};

/* In attempts, beside the count: a worker died of this range before. The first death that comes from outside is held
 * against no item; the second one, while it runs singly, against the item that ran. */
#define MM_SPARED (UINT32_C(1) << 31)

/* A worker lingers (spins a little for the next map) where the caller waits for maps that are short. */
enum mm_caller { MM_CALLER_AWAY, MM_CALLER_SLEEPS, MM_CALLER_SPINS };

enum mm_verdict { MM_VERDICT_NONE, MM_VERDICT_TIMEOUT, MM_VERDICT_CANCELED };

/* A worker, or the caller. First line: read by wakers at each call. Second: its own, read by the master now and then. */
struct mm_lane {
    _Alignas(MM_LINE) _Atomic uint32_t parked; /* 1: asleep or about to be */
    _Atomic uint32_t spinning;                 /* 1: at hand: looks for work without sleeping, or ran a small map */
    _Atomic int32_t cpu;                       /* pinned there, -1: not */
    _Atomic int32_t pid;                       /* 0: not running */
    _Atomic uint64_t verdict_at;               /* the cursor that the fork server saw when it killed it */
    _Alignas(MM_LINE) _Atomic uint64_t in;     /* gen of the map that it is in */
    _Atomic uint64_t claim;                    /* mm_claim_pack */
    _Atomic uint64_t seq;                      /* one up a claim */
    _Atomic uint64_t moves;                    /* odd while a stolen rest moves from claim to word */
    _Atomic uint64_t cursor;                   /* the item that runs, singly; else the first of the block that runs */
    _Atomic uint64_t block_end;                /* of that block */
    _Atomic uint32_t failed[2];                /* failed items of the cursor's grain before it; index cursor & 1 */
    _Atomic uint32_t attempts;                 /* of the cursor's item */
    _Atomic uint32_t verdict;                  /* enum mm_verdict: why the fork server killed it */
};

/* What a lane has finished, of maps with MM_MAP_SPANS: shm/spans.c. A ring: the lane writes head, the master tail. */
enum { MM_RING_SPANS = 1024 };
struct mm_span_entry {
    _Atomic uint64_t gen;
    _Atomic uint32_t begin, end;  /* grains */
    _Atomic uint64_t start, stop; /* ticks */
};
struct mm_span_ring {
    _Alignas(MM_LINE) _Atomic uint32_t head;
    _Alignas(MM_LINE) _Atomic uint32_t tail;
    _Alignas(MM_LINE) struct mm_span_entry entries[MM_RING_SPANS];
};

struct mm_attached {
    _Atomic uint32_t serial; /* one up an attach: a worker that has another one mapped is forked anew */
};

enum { MM_MAX_MODULES = 256 };

struct mm_board {
    uint64_t magic;
    uint32_t layout, n_workers;
    uint64_t arena_bytes;
    double ticks_per_us;
    int32_t master_pid;
    uint32_t spin_max;                         /* most workers that spin at once */
    _Alignas(MM_LINE) _Atomic uint64_t active; /* bit per map slot */
    _Atomic uint64_t ranked;                   /* of those, the maps of a priority other than 0 */
    _Atomic uint32_t caller;                   /* enum mm_caller: how the last caller waits */
    _Atomic int32_t caller_cpu;                /* its CPU, where no worker lingers; -1: it does not wait */
    _Alignas(MM_LINE) _Atomic uint32_t polling;
    _Alignas(MM_LINE) _Atomic uint32_t attach_serial; /* of all attached files */
    _Atomic uint32_t peer_denied;        /* process_vm_readv or _writev is not allowed here: tried by the fork server */
    uint64_t probe_address, probe_value; /* a word of the master's private memory, to try it with */
    struct mm_attached attached[MM_MAX_ATTACHED];
    struct mm_lane lanes[MM_MAX_LANES];
    uint64_t module_marks[MM_MAX_MODULES];   /* of their functions, as they were described */
    char module_paths[MM_MAX_MODULES][4096]; /* by module index; sparse */
    struct mm_board_map maps[MM_MAX_MAPS];
    struct mm_span_ring rings[MM_MAX_LANES]; /* by lane; sparse */
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8, "64-bit atomics are lock-free");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && sizeof(_Atomic uint32_t) == 4, "32-bit atomics are lock-free");
_Static_assert(sizeof(struct mm_lane) == 2 * (size_t)MM_LINE, "a lane is two lines");
_Static_assert(offsetof(struct mm_board_map, words) - offsetof(struct mm_board_map, n_done) == MM_LINE, "one hot line");

static inline bool mm_map_stopped(struct mm_board_map *map)
{
    return atomic_load_explicit(&map->stop, memory_order_relaxed) & MM_STOP;
}

static inline uint32_t mm_map_tag(uint64_t gen) { return (uint32_t)(gen >> 6); } /* never 0 for an open map */
static inline unsigned mm_map_slot(uint64_t gen) { return (unsigned)(gen & (MM_MAX_MAPS - 1)); }

/* Small maps have their range words and done words in the hot line: one cache line to and fro. */
static inline bool mm_map_is_small(const struct mm_board_map *map)
{
    return map->n_lanes + map->n_grains <= MM_HOT_WORDS;
}
static inline _Atomic uint64_t *mm_map_words(struct mm_board_map *map)
{
    return mm_map_is_small(map) ? map->hot : map->words;
}
static inline _Atomic uint64_t *mm_map_done(struct mm_board_map *map)
{
    return mm_map_is_small(map) ? map->hot + map->n_lanes : map->done;
}

/* Range word: tag (24) | begin (20) | end (20), in grains. */
static inline uint64_t mm_word_pack(uint64_t gen, uint32_t begin, uint32_t end)
{
    return ((gen >> 6) & 0xffffff) << 40 | (uint64_t)begin << 20 | end;
}
static inline uint32_t mm_word_begin(uint64_t word) { return (uint32_t)(word >> 20) & 0xfffff; }
static inline uint32_t mm_word_end(uint64_t word) { return (uint32_t)word & 0xfffff; }
static inline bool mm_word_is_of(uint64_t word, uint64_t gen) { return word >> 40 == ((gen >> 6) & 0xffffff); }
/* Grains left in a word that belongs to gen, else 0. */
static inline uint32_t mm_word_left(uint64_t word, uint64_t gen)
{
    uint32_t begin = mm_word_begin(word), end = mm_word_end(word);
    return mm_word_is_of(word, gen) && begin < end ? end - begin : 0;
}

/* Claim: state (2) | singly (1) | slot (6) | begin (20) | end (20). 0: none. */
enum mm_claim_state { MM_CLAIM_NONE, MM_CLAIM_INTENT, MM_CLAIM_OWNED };
static inline uint64_t mm_claim_pack(enum mm_claim_state state, bool singly, unsigned slot, uint32_t begin,
                                     uint32_t end)
{
    return (uint64_t)state | (uint64_t)singly << 2 | (uint64_t)slot << 3 | (uint64_t)begin << 9 | (uint64_t)end << 29;
}
static inline enum mm_claim_state mm_claim_state(uint64_t claim) { return (enum mm_claim_state)(claim & 3); }
static inline bool mm_claim_singly(uint64_t claim) { return claim >> 2 & 1; }
static inline unsigned mm_claim_slot(uint64_t claim) { return (unsigned)(claim >> 3) & (MM_MAX_MAPS - 1); }
static inline uint32_t mm_claim_begin(uint64_t claim) { return (uint32_t)(claim >> 9) & 0xfffff; }
static inline uint32_t mm_claim_end(uint64_t claim) { return (uint32_t)(claim >> 29) & 0xfffff; }

/* Hazard: enters a map if it is open; false: it is not, or was closed or stopped meanwhile. Called by a lane. */
bool mm_board_enter(struct mm_board *board, struct mm_lane *lane, unsigned slot, uint64_t *gen);
/* true: the map is stopped, and the master may be waiting for this lane to leave: it is to be woken. */
bool mm_board_leave(struct mm_board *board, struct mm_lane *lane);
/* Is no lane in this slot any more? Called by the master, before it fills the slot again. */
bool mm_board_reusable(struct mm_board *board, unsigned slot, uint64_t last_gen, unsigned n_lanes);

/* Is there anything that a lane could claim in this map, or in any active one? *tell is set as by mm_board_leave. */
bool mm_map_has_work(struct mm_board_map *map, uint64_t gen);
bool mm_board_has_work(struct mm_board *board, struct mm_lane *self, bool *tell);
/* Are all grains done? failed: items that failed, summed. From the done words, so exact. */
bool mm_map_all_done(struct mm_board_map *map, uint64_t gen, uint64_t *failed);

/* Items [*begin, *end) of grains [begin, end), as indexes into the map (0 … n). */
static inline uint64_t mm_grain_item(const struct mm_board_map *map, uint32_t grain)
{
    return grain >= map->n_grains ? map->n : (uint64_t)grain * map->grain_items;
}

/* Room among a map's inline bytes: true, and where; false: there is none. */
static inline bool mm_inline_take(uint64_t *used, uint64_t bytes, uint64_t *offset)
{
    if (bytes > MM_INLINE_BYTES - *used)
        return false;
    *offset = *used;
    *used += (bytes + MM_LINE - 1) / MM_LINE * MM_LINE;
    return true;
}

/* A line that is about to be written: fetched as one's own at once, not first to read and then again. */
static inline void mm_prefetch_own(const void *line)
{
#if defined __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line)); /* the builtin reads, unless built for newer CPUs */
#else
    __builtin_prefetch(line, 1);
#endif
}

/* The lines of a small map at once, which would be missed one after the other otherwise. */
static inline void mm_map_prefetch_to_fill(const struct mm_board_map *map)
{
    mm_prefetch_own(&map->gen);
    mm_prefetch_own(&map->seed);
    mm_prefetch_own((const char *)&map->seed + MM_LINE);
    mm_prefetch_own(&map->n_done);
}
static inline void mm_map_prefetch_to_run(const struct mm_board_map *map)
{
    __builtin_prefetch(&map->gen);
    __builtin_prefetch(&map->seed);
    __builtin_prefetch((const char *)&map->seed + MM_LINE);
    mm_prefetch_own(&map->n_done);
}

/* Points between two stores at which a test build can stop or kill; nothing in other builds. */
#ifdef MM_TEST_HOOKS
extern void (*mm_test_point)(const char *name);
#define MM_POINT(name_)                                                                                                \
    do {                                                                                                               \
        if (mm_test_point)                                                                                             \
            mm_test_point(name_);                                                                                      \
    } while (0)
#else
#define MM_POINT(name_) ((void)0)
#endif

#endif
