/* The items of a chunk: from the places on the board to calls of the module's function, and the results to theirs.
 *
 * Arrays that this process sees are used in place, whatever their strides. Private ones pass through the lane's buffers in
 * pieces of half a MiB (shm/peer.c); a helping caller works on them in place. A function of the chunk form stores packed
 * results; where the map's result is strided, they are spread over it afterwards. The offsets of inputs of variable length
 * are looked at, for the items that are about to run, before anything relies on them (shm/variable.c).
 * Called by shm/run.c and shm/group.c, for the map that the runner is prepared for. Does not know claims, cursors, retries.
 */
#include "shm/items.h"

#include "shm/once.h"

#include "shm/variable.h"

#include <stdio.h>

static void on_fail(mamuto_chunk_t *chunk, size_t i, int code, const char *text)
{
    (void)i; /* which item it is becomes known when it runs alone */
    struct mm_failure *failure = &((struct mm_runner *)chunk->host)->failure;
    if (failure->code)
        return;
    failure->code = MAMUTO_EITEM;
    failure->item_code = code ? code : 1;
    snprintf(failure->text, sizeof failure->text, "%s", text ? text : "");
}

static const void *on_pack(mamuto_chunk_t *chunk, int k)
{
    struct mm_runner *runner = chunk->host;
    const mamuto_chunk_in_t *in = &chunk->in[k];
    char *room = NULL;
    size_t bytes;
    if (!__builtin_mul_overflow(chunk->count, in->size, &bytes))
        room = mm_buffer_reserve(&runner->packed[k], bytes ? bytes : 1);
    for (size_t i = 0; room && i < chunk->count; i++)
        memcpy(room + i * in->size, in->data + (ptrdiff_t)i * in->stride, in->size);
    return room;
}

/* --- where everything is -------------------------------------------------------------------------------------------- */

static bool is_in_place(const struct mm_runner *runner) { return runner->peer.pid == 0; }

/* Where an argument begins in this process; NULL: its pieces come through the peer's buffers. */
static const void *resolve(const struct mm_runner *runner, const struct mm_board_map *map, uint32_t where,
                           uint32_t region, uint64_t offset)
{
    union {
        uint64_t number;
        const char *pointer;
    } address = { .number = offset };
    switch ((enum mm_where)where) {
    case MM_WHERE_ARENA:
        return runner->view->arena_read + offset;
    case MM_WHERE_ATTACHED:
        return runner->view->attached[region].base + offset;
    case MM_WHERE_INLINE:
        return map->inline_bytes + offset;
    case MM_WHERE_PRIVATE:
        return is_in_place(runner) ? address.pointer : NULL;
    case MM_WHERE_NONE:
        break;
    }
    return NULL;
}

static bool peer_failed(struct mm_runner *runner, enum mm_peer_result result, int bad)
{
    char text[MM_RECORD_TEXT];
    switch (result) {
    case MM_PEER_OK:
        return false;
    case MM_PEER_UNREADABLE:
        snprintf(text, sizeof text, "argument %d " MM_SAY_UNREADABLE, bad);
        mm_runner_stop(runner, MAMUTO_EARGS, text);
        break;
    case MM_PEER_OFFSETS_UNREADABLE:
        snprintf(text, sizeof text,
                 "the offsets of argument %d are not readable: their address is wrong, or they are too few", bad);
        mm_runner_stop(runner, MAMUTO_EARGS, text);
        break;
    case MM_PEER_UNWRITABLE:
        mm_runner_stop(runner, MAMUTO_EARGS, MM_SAY_UNWRITABLE);
        break;
    case MM_PEER_NO_MEMORY:
        mm_runner_stop(runner, MAMUTO_ENOMEM, "a worker has no memory for the items of private arrays");
        break;
    case MM_PEER_GONE:
        mm_runner_stop(runner, MAMUTO_ESYSTEM, "a worker may not read the arrays of this program any more");
        break;
    }
    return true;
}

static void describe_inputs(struct mm_runner *runner, const struct mm_board_map *map)
{
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_arg *arg = &map->in[k];
        const char *data = resolve(runner, map, arg->where, arg->region, arg->offset);
        if (!data && arg->stride == 0)
            data = runner->peer.data[k];
        runner->staged |= arg->where == MM_WHERE_PRIVATE && arg->stride && !is_in_place(runner);
        runner->base.in[k] = (mamuto_chunk_in_t){ data, (ptrdiff_t)arg->stride, arg->size, arg->len, NULL };
    }
}

/* Those at hand are kept in base, of the map's first item; private ones are fetched with each block. */
static void describe_offsets(struct mm_runner *runner, const struct mm_board_map *map)
{
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_offsets *offsets = &map->offsets[k];
        runner->offsets[k] = NULL;
        if (offsets->where == MM_WHERE_NONE)
            continue;
        runner->staged |= offsets->where == MM_WHERE_PRIVATE && !is_in_place(runner);
        runner->base.in[k].offsets = resolve(runner, map, offsets->where, offsets->region, offsets->offset);
        runner->base.in[k].stride = 0;
    }
}

static void describe_output(struct mm_runner *runner, const struct mm_board_map *map)
{
    const struct mm_board_arg *out = &map->out;
    union {
        const char *read;
        char *write;
    } place = { resolve(runner, map, out->where, out->region, out->offset) };
    if (out->where == MM_WHERE_ARENA)
        place.write = runner->view->arena_write + out->offset;
    runner->staged |= out->where == MM_WHERE_PRIVATE && !is_in_place(runner);
    runner->base.out = place.write;
    runner->base.out_stride = (ptrdiff_t)(place.write ? out->stride : (int64_t)out->size);
    runner->base.out_size = out->size;
    runner->scatter = runner->base.out_stride != (ptrdiff_t)out->size && map->module != MM_NO_FUNCTION &&
                      runner->modules[map->module].functions[map->function]->form == MAMUTO_FORM_CHUNK;
}

bool mm_items_prepare(struct mm_runner *runner)
{
    struct mm_board_map *map = runner->map;
    int bad = 0;
    runner->staged = false;
    runner->emitter.slab = NULL;
    runner->base = (mamuto_chunk_t){ .first = map->first,
                                     .dims = runner->dims,
                                     .seed = map->seed,
                                     .fail = on_fail,
                                     .pack = on_pack,
                                     .emit = mm_slab_emit,
                                     .host = runner };
    if (map->flags & MM_MAP_ONCE)
        runner->base.fail = mm_once_fail;
    if (map->flags & MM_MAP_GROUPS)
        runner->base.first *= map->groups.group_items;
    for (unsigned j = 0; j < map->n_dims; j++)
        runner->dims[j] = map->dims[j];
    if (!is_in_place(runner) && peer_failed(runner, mm_peer_fetch_values(&runner->peer, map, &bad), bad))
        return false;
    describe_inputs(runner, map);
    if (map->flags & MM_MAP_VARIABLE)
        describe_offsets(runner, map);
    describe_output(runner, map);
    return true;
}

/* --- one call --------------------------------------------------------------------------------------------------------- */

/* Data and offsets of inputs of variable length, for a chunk that begins with item `begin`. */
static void set_variable(const struct mm_runner *runner, mamuto_chunk_t *chunk, uint64_t begin)
{
    for (unsigned k = 0; k < runner->map->n_in; k++) {
        mamuto_chunk_in_t *in = &chunk->in[k];
        union {
            const char *pointer;
            uintptr_t number;
        } data = { .pointer = in->data };
        if (!runner->offsets[k])
            continue;
        in->offsets = runner->offsets[k] + (begin - runner->offsets_first);
        if (runner->base.in[k].data) /* element `low`; what the peer has fetched is element 0 already */
            data.number -= (uint64_t)runner->map->offsets[k].low * in->size;
        in->data = data.pointer;
    }
}

static void set_inputs(const struct mm_runner *runner, mamuto_chunk_t *chunk, uint64_t begin)
{
    for (unsigned k = 0; k < runner->map->n_in; k++) {
        mamuto_chunk_in_t *in = &chunk->in[k];
        if (in->data) {
            in->data += (ptrdiff_t)begin * in->stride;
        } else {
            in->data = runner->peer.data[k];
            in->stride = runner->peer.stride[k];
        }
    }
    if (runner->map->flags & MM_MAP_VARIABLE)
        set_variable(runner, chunk, begin);
}

static void spread(const struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    const char *from = runner->peer.out.data;
    size_t size = runner->base.out_size;
    for (uint64_t i = begin; i < end; i++, from += size)
        memcpy(runner->base.out + (ptrdiff_t)i * runner->base.out_stride, from, size);
}

/* What the engine sees as the output are the records of what is emitted; the function has no other. */
static void prepare_to_emit(struct mm_runner *runner, mamuto_chunk_t *chunk, uint64_t begin)
{
    mm_slab_begin(runner, begin, begin + chunk->count);
    chunk->out = NULL;
    chunk->out_size = (size_t)runner->map->element;
    chunk->out_stride = (ptrdiff_t)chunk->out_size;
}

/* One call of the function for items [begin, end), which are at hand. out: where the results go, packed; NULL: where the
 * map says, or into the peer's buffer. */
static enum mm_outcome call(struct mm_runner *runner, uint64_t begin, uint64_t end, char *out)
{
    mamuto_chunk_t chunk = runner->base;
    bool scatter = runner->scatter && !out;
    chunk.first += begin;
    chunk.count = (size_t)(end - begin);
    set_inputs(runner, &chunk, begin);
    if (out || scatter)
        chunk.out_stride = (ptrdiff_t)chunk.out_size;
    if (scatter)
        out = mm_buffer_reserve(&runner->peer.out, chunk.count * chunk.out_size);
    if (scatter && !out && peer_failed(runner, MM_PEER_NO_MEMORY, 0))
        return MM_STOPPED;
    if (out)
        chunk.out = out;
    else
        chunk.out = chunk.out ? chunk.out + (ptrdiff_t)begin * chunk.out_stride : runner->peer.out.data;
    if (runner->map->flags & MM_MAP_EMITS)
        prepare_to_emit(runner, &chunk, begin);
    bool once = runner->map->flags & MM_MAP_ONCE;
    int code = runner->run(&chunk);
    if (once)
        mm_once_end(runner, &chunk, code);
    else if (code)
        on_fail(&chunk, 0, code, NULL);
    if (runner->failure.code) {
        if (runner->map->flags & MM_MAP_EMITS)
            mm_slab_undo(runner);
        return MM_FAILED;
    }
    if (scatter)
        spread(runner, begin, end);
    return MM_RAN;
}

/* --- pieces ----------------------------------------------------------------------------------------------------------- */

/* Items that fit into a piece. at: the offsets of item begin, or NULL. */
static enum mm_outcome run_piece(struct mm_runner *runner, uint64_t begin, uint64_t end, const int64_t *const *at,
                                 char *out)
{
    int bad = 0;
    enum mm_peer_result fetched = mm_peer_fetch(&runner->peer, runner->map, begin, end, at, &bad);
    if (peer_failed(runner, fetched, bad))
        return MM_STOPPED;
    enum mm_outcome outcome = call(runner, begin, end, out);
    if (outcome == MM_RAN && !out && !runner->base.out &&
        peer_failed(runner, mm_peer_store(&runner->peer, runner->map, begin, end), bad))
        return MM_STOPPED;
    return outcome;
}

/* The offsets of items [begin, end): fetched where they are private, and looked at before anything relies on them. */
static bool get_offsets(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    int bad = 0;
    char text[MM_RECORD_TEXT];
    if (!is_in_place(runner) &&
        peer_failed(runner, mm_peer_fetch_offsets(&runner->peer, runner->map, begin, end, &bad), bad))
        return false;
    runner->offsets_first = begin;
    for (unsigned k = 0; k < runner->map->n_in; k++) {
        const int64_t *all = runner->base.in[k].offsets;
        if (runner->map->offsets[k].where != MM_WHERE_NONE)
            runner->offsets[k] = all ? all + begin : (const int64_t *)(const void *)runner->peer.offsets[k].data;
    }
    if (mm_variable_check(runner->map, runner->offsets, runner->base.first + begin, end - begin, text))
        return true;
    mm_runner_stop(runner, MAMUTO_EARGS, text);
    return false;
}

static enum mm_outcome run_variable(struct mm_runner *runner, uint64_t begin, uint64_t end, char *out)
{
    const int64_t *at[MAMUTO_MAX_ARGS];
    enum mm_outcome outcome = MM_RAN;
    if (!get_offsets(runner, begin, end))
        return MM_STOPPED;
    if (!runner->staged)
        return call(runner, begin, end, out);
    uint64_t fixed = mm_peer_item_bytes(runner->map), to;
    for (; begin < end && outcome == MM_RAN; begin = to) {
        for (unsigned k = 0; k < runner->map->n_in; k++)
            at[k] = runner->offsets[k] ? runner->offsets[k] + (begin - runner->offsets_first) : NULL;
        to = begin + mm_variable_cut(runner->map, at, end - begin, fixed, MM_PEER_PIECE_BYTES);
        outcome = run_piece(runner, begin, to, at, out);
        if (out)
            out += (to - begin) * runner->base.out_size;
    }
    return outcome;
}

uint64_t mm_items_most(const struct mm_runner *runner)
{
    uint64_t fit = 1 + MM_PEER_PIECE_BYTES / runner->base.out_size;
    if (runner->staged)
        return mm_peer_piece(runner->map);
    return runner->scatter && fit < MM_ITEMS_MOST ? fit : MM_ITEMS_MOST;
}

enum mm_outcome mm_items_run(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    if (runner->map->flags & MM_MAP_VARIABLE)
        return run_variable(runner, begin, end, NULL);
    return runner->staged ? run_piece(runner, begin, end, NULL, NULL) : call(runner, begin, end, NULL);
}

enum mm_outcome mm_items_map(struct mm_runner *runner, uint64_t begin, uint64_t end, char *out)
{
    enum mm_outcome outcome = MM_RAN;
    if (runner->map->flags & MM_MAP_VARIABLE)
        return run_variable(runner, begin, end, out);
    if (!runner->staged)
        return call(runner, begin, end, out);
    uint64_t piece = mm_peer_piece(runner->map), to;
    for (; begin < end && outcome == MM_RAN; begin = to) {
        to = end - begin > piece ? begin + piece : end;
        outcome = run_piece(runner, begin, to, NULL, out);
        out += (to - begin) * runner->base.out_size;
    }
    return outcome;
}

enum mm_outcome mm_items_fetch(struct mm_runner *runner, uint64_t begin, uint64_t end, const char **items,
                               ptrdiff_t *stride)
{
    mamuto_chunk_t chunk = runner->base;
    int bad = 0;
    if (runner->staged && peer_failed(runner, mm_peer_fetch(&runner->peer, runner->map, begin, end, NULL, &bad), bad))
        return MM_STOPPED;
    set_inputs(runner, &chunk, begin);
    *items = chunk.in[0].data;
    *stride = chunk.in[0].stride;
    return MM_RAN;
}

void mm_items_zero(struct mm_runner *runner, uint64_t item)
{
    const struct mm_board_arg *out = &runner->map->out;
    if (runner->base.out)
        memset(runner->base.out + (ptrdiff_t)item * (ptrdiff_t)out->stride, 0, out->size);
    else {
        memset(runner->peer.out.data, 0, out->size);
        peer_failed(runner, mm_peer_store(&runner->peer, runner->map, item, item + 1), 0);
    }
}
