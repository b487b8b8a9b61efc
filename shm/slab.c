/* Slabs: a lane's own stretches of the map's parts of the arena, into which it emits.
 *
 * A slab is taken by a compare-and-swap on the part's counter, whole, so lanes share nothing while they emit. An item's
 * elements are contiguous: what does not fit into what is left of a slab moves to a new one with the item's elements
 * before it; one that grows on and on gets twice what it has each time, so that each byte moves about once. The slab
 * is made longer in place, and nothing moves, where nobody has taken what lies behind it. Slabs of a lane that died
 * are lost until the map ends. A record is all zero until its item has emitted something, so that an item that failed
 * is an empty one. Called in workers, and in a caller that helps, under the functions of modules.
 */
#include "shm/slab.h"

#include "core/varlen.h"
#include "shm/run.h"

#include <stdio.h>

static mm_varlen_record *record_at(const struct mm_runner *runner, uint64_t item)
{
    union {
        char *bytes;
        mm_varlen_record *records;
    } u = { .bytes = runner->base.out };
    return u.records + item;
}

static char *memory_at(const struct mm_runner *runner, uint64_t place)
{
    bool second = place & MM_VARLEN_SECOND;
    return runner->view->arena_write + runner->map->parts[second].offset + (place & ~MM_VARLEN_SECOND);
}

void mm_slab_begin(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    struct mm_slab *slab = &runner->slabs[mm_map_slot(runner->gen)];
    if (slab->gen != runner->gen)
        *slab = (struct mm_slab){ .gen = runner->gen };
    slab->mark = slab->place;
    runner->emitter = (struct mm_emitter){ slab, record_at(runner, begin), __builtin_ctzll(runner->map->element) };
    memset(runner->emitter.records, 0, (end - begin) * sizeof(mm_varlen_record));
}

void mm_slab_undo(struct mm_runner *runner)
{
    struct mm_slab *slab = runner->emitter.slab;
    uint64_t bytes = slab->place - slab->mark;
    if (!bytes) /* there may be no slab yet */
        return;
    slab->place -= bytes;
    slab->left += bytes;
    slab->at -= bytes;
}

/* Bytes behind the slab, if nobody has taken them: it is longer then. */
static bool extend(struct mm_board_map *map, struct mm_slab *slab, uint64_t want, uint64_t least)
{
    struct mm_board_part *part = &map->parts[(slab->place & MM_VARLEN_SECOND) != 0];
    uint64_t end = (slab->place & ~MM_VARLEN_SECOND) + slab->left, rest = part->bytes - end;
    uint64_t take = want < rest ? want : rest;
    if (!slab->at || take < least || !atomic_compare_exchange_strong(&part->used, &end, end + take))
        return false;
    slab->left += take;
    return true;
}

static bool take_of(struct mm_board_part *part, uint64_t want, uint64_t least, uint64_t *begin, uint64_t *bytes)
{
    uint64_t used = atomic_load(&part->used), take;
    do {
        uint64_t rest = used < part->bytes ? part->bytes - used : 0;
        take = want > part->slab ? want : part->slab;
        take = take < rest ? take : rest;
        if (take < least)
            return false;
    } while (!atomic_compare_exchange_weak(&part->used, &used, used + take));
    *begin = used;
    *bytes = take;
    return true;
}

static bool take(struct mm_runner *runner, struct mm_slab *slab, uint64_t want, uint64_t least)
{
    struct mm_board_map *map = runner->map;
    uint64_t begin, bytes;
    if (!take_of(&map->parts[0], want, least, &begin, &bytes)) {
        if (!take_of(&map->parts[1], want, least, &begin, &bytes))
            return false;
        begin |= MM_VARLEN_SECOND;
    }
    slab->place = slab->mark = begin;
    slab->left = bytes;
    slab->at = memory_at(runner, begin);
    return true;
}

static void put(struct mm_slab *slab, const void *elements, uint64_t bytes)
{
    char *to = slab->at;
    slab->place += bytes;
    slab->left -= bytes;
    slab->at += bytes;
    memcpy(to, elements, bytes);
}

/* What an item has so far: elements, and their head if it is a long one. */
struct item {
    uint64_t place, bytes, head;
};

static struct item item_of(const struct mm_runner *runner, mm_varlen_record record)
{
    struct item item = { mm_varlen_place(record), mm_varlen_short(record), 0 };
    if (item.bytes == MM_VARLEN_LONG) {
        memcpy(&item.bytes, memory_at(runner, item.place), MM_VARLEN_HEAD);
        item.head = MM_VARLEN_HEAD;
    }
    return item;
}

/* Room for `bytes` more behind the item, without moving it to another slab; its head, if it needs one by now. false:
 * there is none. */
static bool has_room(const struct mm_runner *runner, struct mm_slab *slab, struct item *item, uint64_t bytes)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): who emits has a slab */
    uint64_t step = runner->map->parts[(slab->place & MM_VARLEN_SECOND) != 0].slab, want = 2 * item->bytes + bytes;
    uint64_t head = !item->head && item->bytes + bytes >= MM_VARLEN_LONG ? MM_VARLEN_HEAD : 0, least = bytes + head;
    if (!item->bytes && !item->head)
        item->place = slab->place;
    if (item->place + item->head + item->bytes != slab->place)
        return false;
    if (least > slab->left && !extend(runner->map, slab, want > step ? want : step, least - slab->left))
        return false;
    if (head) {
        char *elements = slab->at - item->bytes;
        memmove(elements + head, elements, item->bytes);
        slab->place += head;
        slab->left -= head;
        slab->at += head;
        item->head = head;
    }
    return true;
}

/* To a slab with room for `bytes` more, and twice what it has. false: there is none. */
static bool move(struct mm_runner *runner, struct mm_slab *slab, struct item *item, uint64_t bytes)
{
    uint64_t head = item->bytes + bytes >= MM_VARLEN_LONG ? MM_VARLEN_HEAD : 0, least = head + item->bytes + bytes;
    const char *elements = memory_at(runner, item->place + item->head);
    if (!take(runner, slab, least + item->bytes, least))
        return false;
    item->place = slab->place;
    item->head = head;
    put(slab, &item->bytes, head); /* of which the number follows */
    put(slab, elements, item->bytes);
    return true;
}

static int no_room(mamuto_chunk_t *chunk, size_t i)
{
    const struct mm_board_map *map = ((struct mm_runner *)chunk->host)->map;
    char text[MM_RECORD_TEXT];
    snprintf(text, sizeof text, "no memory for what it emits: the map may use %llu bytes, and they are used up",
             (unsigned long long)(map->parts[0].bytes + map->parts[1].bytes));
    chunk->fail(chunk, i, MAMUTO_ENOMEM, text);
    return MAMUTO_ENOMEM;
}

/* Whatever is not the usual case. */
static __attribute__((noinline)) int emit_slowly(mamuto_chunk_t *chunk, size_t i, const void *elements, size_t n)
{
    struct mm_runner *runner = chunk->host;
    struct mm_slab *slab = runner->emitter.slab;
    size_t bytes;
    if (!(runner->map->flags & MM_MAP_EMITS)) {
        chunk->fail(chunk, i, MAMUTO_EINVAL, "it emits, but its signature has no result of variable length");
        return MAMUTO_EINVAL;
    }
    if (i >= chunk->count) {
        chunk->fail(chunk, i, MAMUTO_EINVAL, "it emits for an item that is not its own");
        return MAMUTO_EINVAL;
    }
    if (__builtin_mul_overflow(n, chunk->out_size, &bytes))
        return no_room(chunk, i);
    if (bytes == 0)
        return 0;
    mm_varlen_record *record = runner->emitter.records + i;
    struct item item = item_of(runner, *record);
    if (bytes >= MM_VARLEN_SECOND || (!has_room(runner, slab, &item, bytes) && !move(runner, slab, &item, bytes)))
        return no_room(chunk, i);
    put(slab, elements, bytes);
    item.bytes += bytes;
    if (item.head)
        memcpy(memory_at(runner, item.place), &item.bytes, MM_VARLEN_HEAD);
    *record = mm_varlen_pack(item.place, item.head ? MM_VARLEN_LONG : item.bytes);
    return 0;
}

int mm_slab_emit(mamuto_chunk_t *chunk, size_t i, const void *elements, size_t n)
{
    const struct mm_emitter *emitter = &((struct mm_runner *)chunk->host)->emitter;
    struct mm_slab *slab = emitter->slab;
    if (!slab || i >= chunk->count || n == 0 ||
        n > (slab->left < MM_VARLEN_LONG ? slab->left : MM_VARLEN_LONG) >> emitter->shift)
        return emit_slowly(chunk, i, elements, n);
    mm_varlen_record *record = emitter->records + i;
    uint64_t had = mm_varlen_short(*record), bytes = n << emitter->shift;
    if (had + bytes >= MM_VARLEN_LONG || (had && mm_varlen_place(*record) + had != slab->place))
        return emit_slowly(chunk, i, elements, n);
    *record = mm_varlen_pack(slab->place - had, had + bytes);
    put(slab, elements, bytes);
    return 0;
}
