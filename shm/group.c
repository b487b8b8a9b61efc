/* Maps over groups. Item g of such a map is a group of the call's items: they are mapped, and their results folded into
 * one value, so that everything else (claims, commits, deaths, re-runs) is as for any other map.
 *
 * The order of a reduction is fixed by n alone: blocks of leaf_items are folded left to right, block results up a
 * binary tree, where a right side that is missing passes the left one through. A group is a power of two of blocks, so
 * that its value is one node of that tree, whoever computes it.
 * Tiles of up to 128 blocks are folded side by side: one call of the fold for the i-th items of all blocks, so that it
 * is vectorised like any function. Values that are large, and items some of which are absent, are folded one by one.
 * Called by a lane, through shm/run.c. Whatever a fold fails with is the failure of its group.
 */
#include "shm/group.h"

#include "shm/items.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { TILE_BLOCKS = 128, TILE_BYTES = 1 << 16, ONE_BY_ONE_BYTES = 512, STEP_BYTES = 1 << 16, MAX_DEPTH = 64 };

/* A value on the stack stands for 2^level units (tiles, or blocks). */
struct entry {
    uint64_t first_item;
    unsigned level;
    bool absent;
};

struct fold {
    struct mm_runner *runner;
    const struct mm_board_map *map;
    const uint8_t *absent; /* by item; NULL: all are there */
    mamuto_chunk_t chunk;  /* of the fold */
    size_t size;           /* of a value */
    uint64_t leaf;
    struct entry entries[MAX_DEPTH];
    unsigned depth;
};

void mm_group_prepare(struct mm_runner *runner)
{
    const struct mm_board_groups *groups = &runner->map->groups;
    runner->folder.run = runner->modules[groups->module].functions[groups->fold]->run;
    for (unsigned j = 0; j < groups->n_dims; j++)
        runner->folder.dims[j] = groups->dims[j];
}

void mm_group_fini(struct mm_folder *folder)
{
    mm_buffer_fini(&folder->items);
    mm_buffer_fini(&folder->turned);
    mm_buffer_fini(&folder->values[0]);
    mm_buffer_fini(&folder->values[1]);
    mm_buffer_fini(&folder->stack);
}

static bool reserve(struct fold *fold, size_t items, size_t values)
{
    struct mm_folder *folder = &fold->runner->folder;
    return mm_buffer_reserve(&folder->items, items * fold->size) &&
           mm_buffer_reserve(&folder->turned, items * fold->size + (size_t)fold->leaf * MM_LINE) &&
           mm_buffer_reserve(&folder->values[0], values * fold->size) &&
           mm_buffer_reserve(&folder->values[1], values * fold->size) &&
           mm_buffer_reserve(&folder->stack, (MAX_DEPTH + 1) * fold->size);
}

static enum mm_outcome no_memory(struct mm_runner *runner)
{
    mm_runner_stop(runner, MAMUTO_ENOMEM, "a worker has no memory to fold in");
    return MM_STOPPED;
}

static bool call_fold(struct fold *fold, const char *x, const char *y, char *out, size_t n)
{
    mamuto_chunk_t *chunk = &fold->chunk;
    chunk->count = n;
    chunk->in[0].data = x;
    chunk->in[1].data = y;
    chunk->out = out;
    int code = fold->runner->folder.run(chunk);
    if (code)
        chunk->fail(chunk, 0, code, NULL);
    return fold->runner->failure.code == 0;
}

/* out[i] = fold(x[i], y[i]), where i stands for the node that begins `step` items behind that of i - 1. What fails is
 * told by its node's first item: one after the other, since a fold in chunk form need not say which it was. */
static bool combine(struct fold *fold, const char *x, ptrdiff_t x_stride, const char *y, ptrdiff_t y_stride, char *out,
                    size_t n, uint64_t first_item, uint64_t step)
{
    struct mm_failure *failure = &fold->runner->failure, whole;
    fold->chunk.in[0].stride = x_stride;
    fold->chunk.in[1].stride = y_stride;
    if (call_fold(fold, x, y, out, n))
        return true;
    whole = *failure;
    size_t i = 0;
    for (failure->code = 0; n > 1 && i < n; i++)
        if (!call_fold(fold, x + (ptrdiff_t)i * x_stride, y + (ptrdiff_t)i * y_stride, out + i * fold->size, 1))
            break;
    if (!failure->code) { /* alone, none fails */
        *failure = whole;
        i = 0;
    }
    failure->node_item = mm_runner_first(fold->runner) + first_item + i * step;
    return false;
}

/* --- the tree ----------------------------------------------------------------------------------------------------- */

static char *stack_at(const struct fold *fold, unsigned i) { return fold->runner->folder.stack.data + i * fold->size; }

/* The two uppermost become one. */
static bool merge(struct fold *fold)
{
    struct entry *left = &fold->entries[fold->depth - 2], *right = &fold->entries[fold->depth - 1];
    char *x = stack_at(fold, fold->depth - 2), *y = stack_at(fold, fold->depth - 1), *spare = stack_at(fold, MAX_DEPTH);
    ptrdiff_t size = (ptrdiff_t)fold->size;
    left->level = left->level > right->level ? left->level + 1 : right->level + 1;
    fold->depth--;
    if (right->absent)
        return true;
    if (left->absent) {
        left->absent = false;
        memcpy(x, y, fold->size);
        return true;
    }
    if (!combine(fold, x, size, y, size, spare, 1, left->first_item, 0))
        return false;
    memcpy(x, spare, fold->size);
    return true;
}

static bool push(struct fold *fold, const char *value, uint64_t first_item)
{
    fold->entries[fold->depth] = (struct entry){ first_item, 0, value == NULL };
    if (value)
        memcpy(stack_at(fold, fold->depth), value, fold->size);
    fold->depth++;
    while (fold->depth > 1 && fold->entries[fold->depth - 1].level == fold->entries[fold->depth - 2].level)
        if (!merge(fold))
            return false;
    return true;
}

static bool collapse(struct fold *fold)
{
    while (fold->depth > 1)
        if (!merge(fold))
            return false;
    return true;
}

/* --- many blocks side by side ------------------------------------------------------------------------------------- */

/* Two values of 8 bytes, or four of 4. */
typedef uint64_t two __attribute__((vector_size(16)));
typedef uint32_t four __attribute__((vector_size(16)));

static void turn_2x2(const char *from, char *to, size_t row, size_t column)
{
    two a, b;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + row, sizeof b);
    two low = { a[0], b[0] }, high = { a[1], b[1] };
    memcpy(to, &low, sizeof low);
    memcpy(to + column, &high, sizeof high);
}

static void turn_4x4(const char *from, char *to, size_t row, size_t column)
{
    four a, b, c, d;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + row, sizeof b);
    memcpy(&c, from + 2 * row, sizeof c);
    memcpy(&d, from + 3 * row, sizeof d);
    four w = { a[0], b[0], c[0], d[0] }, x = { a[1], b[1], c[1], d[1] }, y = { a[2], b[2], c[2], d[2] },
         z = { a[3], b[3], c[3], d[3] };
    memcpy(to, &w, sizeof w);
    memcpy(to + column, &x, sizeof x);
    memcpy(to + 2 * column, &y, sizeof y);
    memcpy(to + 3 * column, &z, sizeof z);
}

static bool is_turned(const struct fold *fold, size_t n, ptrdiff_t stride)
{
    size_t side = MM_LINE / fold->size;
    return (fold->size == 4 || fold->size == 8) && stride == (ptrdiff_t)fold->size && n % side == 0 &&
           fold->leaf % side == 0;
}

static void turn_square(const char *from, char *to, size_t size, size_t row, size_t column)
{
    size_t side = MM_LINE / size, step = 16 / size;
    for (size_t i = 0; i < side; i += step)
        for (size_t b = 0; b < side; b += step) {
            if (size == 8)
                turn_2x2(from + b * row + i * size, to + i * column + b * size, row, column);
            else
                turn_4x4(from + b * row + i * size, to + i * column + b * size, row, column);
        }
}

#ifdef __x86_64__
static bool is_wide(size_t size)
{
#ifdef MM_TEST_HOOKS /* both ways are tested */
    static _Thread_local unsigned n;
    if (n++ % 2)
        return false;
#endif
    return size == 8 && __builtin_cpu_supports("avx2");
}

/* Four values of 8 bytes. */
static inline __attribute__((target("avx2"))) __m256i load_4(const char *from)
{
    __m256i values;
    memcpy(&values, from, sizeof values);
    return values;
}

static inline __attribute__((target("avx2"))) void store_4(char *to, __m256i values)
{
    memcpy(to, &values, sizeof values);
}

static __attribute__((target("avx2"))) void turn_square_wide(const char *from, char *to, size_t row, size_t column)
{
    for (size_t i = 0; i < 8; i += 4)
        for (size_t b = 0; b < 8; b += 4) {
            const char *at = from + b * row + i * 8;
            char *into = to + i * column + b * 8;
            __m256i w = load_4(at), x = load_4(at + row), y = load_4(at + 2 * row), z = load_4(at + 3 * row);
            __m256i w02 = _mm256_unpacklo_epi64(w, x), w13 = _mm256_unpackhi_epi64(w, x);
            __m256i y02 = _mm256_unpacklo_epi64(y, z), y13 = _mm256_unpackhi_epi64(y, z);
            store_4(into, _mm256_permute2x128_si256(w02, y02, 0x20));
            store_4(into + column, _mm256_permute2x128_si256(w13, y13, 0x20));
            store_4(into + 2 * column, _mm256_permute2x128_si256(w02, y02, 0x31));
            store_4(into + 3 * column, _mm256_permute2x128_si256(w13, y13, 0x31));
        }
}
#else
static bool is_wide(size_t size) { return (void)size, false; }

static void turn_square_wide(const char *from, char *to, size_t row, size_t column)
{
    turn_square(from, to, 8, row, column);
}
#endif

/* Rows of a block's items become columns: item i of block b goes to the b-th place of row i, and rows are `column`
 * bytes apart. In squares of a cache line, and in those by vectors of 16 or 32 bytes. What does not come out of a function
 * just now may be far away, in rows that are too short to be foreseen by a processor. */
static void turn(const struct fold *fold, const char *from, size_t n, size_t column)
{
    char *to = fold->runner->folder.turned.data;
    size_t size = fold->size, leaf = (size_t)fold->leaf, row = leaf * size, side = MM_LINE / size;
    bool far = fold->runner->run == NULL, wide = is_wide(size);
    for (size_t b0 = 0; b0 < n; b0 += side)
        for (size_t i0 = 0; i0 < leaf; i0 += side) {
            const char *square = from + b0 * row + i0 * size;
            for (size_t b = side; far && b < 2 * side && b0 + side < n; b++)
                __builtin_prefetch(square + b * row);
            char *turned = to + i0 * column + b0 * size;
            if (wide)
                turn_square_wide(square, turned, row, column);
            else
                turn_square(square, turned, size, row, column);
        }
}

/* The i-th items of n blocks at once. */
static bool fold_blocks(struct fold *fold, const char *items, ptrdiff_t stride, ptrdiff_t block, size_t n,
                        char **values, uint64_t first_item)
{
    struct mm_folder *folder = &fold->runner->folder;
    char *to = folder->values[0].data, *spare = folder->values[1].data;
    ptrdiff_t size = (ptrdiff_t)fold->size;
    for (size_t b = 0; fold->leaf == 1 && b < n; b++)
        memcpy(to + b * fold->size, items + (ptrdiff_t)b * block, fold->size);
    for (uint64_t i = 1; i < fold->leaf; i++) {
        const char *x = i == 1 ? items : to;
        if (!combine(fold, x, i == 1 ? block : size, items + (ptrdiff_t)i * stride, block, spare, n, first_item,
                     fold->leaf))
            return false;
        char *swap = to;
        to = spare;
        spare = swap;
    }
    *values = to;
    return true;
}

/* n values to one, level by level; an odd one is passed through. */
static bool fold_tree(struct fold *fold, char *values, size_t n, uint64_t first_item, char **value)
{
    struct mm_folder *folder = &fold->runner->folder;
    ptrdiff_t pair = 2 * (ptrdiff_t)fold->size;
    for (uint64_t step = 2 * fold->leaf; n > 1; n = (n + 1) / 2, step *= 2) {
        char *to = values == folder->values[0].data ? folder->values[1].data : folder->values[0].data;
        if (!combine(fold, values, pair, values + fold->size, pair, to, n / 2, first_item, step))
            return false;
        if (n % 2)
            memcpy(to + n / 2 * fold->size, values + (n - 1) * fold->size, fold->size);
        values = to;
    }
    *value = values;
    return true;
}

/* The last block has fewer items: its value goes behind those of the others. */
static bool fold_last(struct fold *fold, const char *items, ptrdiff_t stride, uint64_t count, char *values, size_t at,
                      uint64_t first_item)
{
    char *value = values + at * fold->size, *spare = stack_at(fold, MAX_DEPTH);
    ptrdiff_t size = (ptrdiff_t)fold->size;
    memcpy(value, items, fold->size);
    for (uint64_t i = 1; i < count; i++) {
        if (!combine(fold, value, size, items + (ptrdiff_t)i * stride, size, spare, 1, first_item, 0))
            return false;
        memcpy(value, spare, fold->size);
    }
    return true;
}

/* Items of private arrays that may be fetched at once. */
static uint64_t most_fetched(const struct mm_runner *runner)
{
    return runner->staged ? mm_peer_piece(runner->map) : UINT64_MAX;
}

/* The results of items [begin, end), and their stride. */
static enum mm_outcome results(struct fold *fold, uint64_t begin, uint64_t end, const char **items, ptrdiff_t *stride)
{
    struct mm_runner *runner = fold->runner;
    if (!runner->run)
        return mm_items_fetch(runner, begin, end, items, stride);
    *items = runner->folder.items.data;
    *stride = (ptrdiff_t)fold->size;
    return mm_items_map(runner, begin, end, runner->folder.items.data);
}

/* Packed results are turned first, since a fold over packed items is vectorised: the i-th of all blocks side by side,
 * in rows that do not begin at the same place of the cache. */
static enum mm_outcome fold_whole_blocks(struct fold *fold, uint64_t begin, size_t n, char **values)
{
    const char *items;
    ptrdiff_t stride, block;
    if (n == 0)
        return MM_RAN;
    enum mm_outcome outcome = results(fold, begin, begin + n * fold->leaf, &items, &stride);
    if (outcome != MM_RAN)
        return outcome;
    if (is_turned(fold, n, stride)) {
        block = (ptrdiff_t)fold->size;
        stride = (ptrdiff_t)(n * fold->size + MM_LINE);
        turn(fold, items, n, (size_t)stride);
        items = fold->runner->folder.turned.data;
    } else
        block = (ptrdiff_t)fold->leaf * stride;
    return fold_blocks(fold, items, stride, block, n, values, begin) ? MM_RAN : MM_FAILED;
}

static enum mm_outcome fold_tile(struct fold *fold, uint64_t begin, uint64_t end)
{
    const char *items = NULL; /* behind the whole blocks, if there are any */
    ptrdiff_t stride = 0;
    size_t blocks = (size_t)((end - begin) / fold->leaf);
    uint64_t whole = begin + blocks * fold->leaf;
    char *values = fold->runner->folder.values[0].data, *value;
    enum mm_outcome outcome = fold_whole_blocks(fold, begin, blocks, &values);
    if (outcome == MM_RAN && whole < end)
        outcome = results(fold, whole, end, &items, &stride);
    if (outcome != MM_RAN)
        return outcome;
    bool right = !items || fold_last(fold, items, stride, end - whole, values, blocks, whole);
    right = right && fold_tree(fold, values, blocks + (whole < end), begin, &value) && push(fold, value, begin);
    return right ? MM_RAN : MM_FAILED;
}

static enum mm_outcome fold_tiles(struct fold *fold, uint64_t begin, uint64_t end)
{
    uint64_t blocks = TILE_BLOCKS, piece = most_fetched(fold->runner);
    while (blocks > 1 && (blocks * fold->leaf * fold->size > TILE_BYTES || blocks * fold->leaf > piece))
        blocks /= 2;
    uint64_t tile = blocks * fold->leaf;
    enum mm_outcome outcome = MM_RAN;
    if (!reserve(fold, (size_t)tile, (size_t)blocks + 1))
        return no_memory(fold->runner);
    for (uint64_t i = begin; i < end && outcome == MM_RAN; i += tile)
        outcome = fold_tile(fold, i, end - i > tile ? i + tile : end);
    return outcome;
}

/* --- one by one --------------------------------------------------------------------------------------------------- */

/* Items [begin, end) of a block go on with its value, if it has one yet. */
static enum mm_outcome fold_step(struct fold *fold, uint64_t begin, uint64_t end, bool *any, uint64_t block)
{
    const char *items;
    ptrdiff_t stride, size = (ptrdiff_t)fold->size;
    char *value = fold->runner->folder.values[0].data, *spare = fold->runner->folder.values[1].data;
    enum mm_outcome outcome = results(fold, begin, end, &items, &stride);
    for (uint64_t i = begin; i < end && outcome == MM_RAN; i++) {
        const char *item = items + (ptrdiff_t)(i - begin) * stride;
        if (fold->absent && fold->absent[i])
            continue;
        if (*any && !combine(fold, value, size, item, size, spare, 1, block, 0))
            return MM_FAILED;
        memcpy(value, *any ? spare : item, fold->size);
        *any = true;
    }
    return outcome;
}

static enum mm_outcome fold_one_by_one(struct fold *fold, uint64_t begin, uint64_t end)
{
    uint64_t step = STEP_BYTES / fold->size, piece = most_fetched(fold->runner);
    step = step < piece ? step : piece;
    step = step < 1 ? 1 : step < fold->leaf ? step : fold->leaf;
    if (!reserve(fold, (size_t)step, 1))
        return no_memory(fold->runner);
    for (uint64_t block = begin; block < end; block += fold->leaf) {
        uint64_t block_end = end - block > fold->leaf ? block + fold->leaf : end;
        bool any = false;
        for (uint64_t i = block; i < block_end; i += step) {
            enum mm_outcome outcome = fold_step(fold, i, block_end - i > step ? i + step : block_end, &any, block);
            if (outcome != MM_RAN)
                return outcome;
        }
        if (!push(fold, any ? fold->runner->folder.values[0].data : NULL, block))
            return MM_FAILED;
    }
    return MM_RAN;
}

/* --- a group ------------------------------------------------------------------------------------------------------ */

static void begin_fold(struct fold *fold, struct mm_runner *runner)
{
    const struct mm_board_map *map = runner->map;
    fold->runner = runner;
    fold->map = map;
    fold->absent = NULL;
    if (map->flags & MM_MAP_ABSENT)
        fold->absent = (const uint8_t *)runner->view->arena_read + map->groups.absent;
    fold->size = map->out.size;
    fold->leaf = map->groups.leaf_items;
    fold->depth = 0;
    fold->entries[0].absent = true;
    fold->chunk = runner->base;
    fold->chunk.first = 0;
    fold->chunk.dims = runner->folder.dims;
    fold->chunk.out_stride = (ptrdiff_t)map->out.size;
    fold->chunk.out_size = map->out.size;
    for (int k = 0; k < 2; k++)
        fold->chunk.in[k] = (mamuto_chunk_in_t){ .size = map->out.size, .len = map->out.len };
}

enum mm_outcome mm_group_run(struct mm_runner *runner, uint64_t group)
{
    struct fold fold;
    begin_fold(&fold, runner);
    const struct mm_board_groups *groups = &fold.map->groups;
    uint64_t begin = group * groups->group_items, end = begin + groups->group_items;
    if (end > groups->n_items)
        end = groups->n_items;
    bool large = fold.size > ONE_BY_ONE_BYTES || most_fetched(runner) < fold.leaf;
    enum mm_outcome outcome = fold.absent || large ? fold_one_by_one(&fold, begin, end) : fold_tiles(&fold, begin, end);
    if (outcome == MM_RAN && !collapse(&fold))
        outcome = MM_FAILED;
    if (outcome != MM_RAN)
        return outcome;
    if (!fold.entries[0].absent)
        memcpy(runner->base.out + group * fold.size, stack_at(&fold, 0), fold.size);
    if (fold.absent)
        runner->view->arena_write[groups->absent_out + group] = fold.entries[0].absent;
    return MM_RAN;
}
