/* The arguments of random calls: every kind, in every place, and the pool of kept arrays that come and go. What an array
 * holds depends on the call's own random numbers alone. What is kept is made of its key, so that a call finds the same
 * data whether it keeps them itself or an earlier one did; the copy that mamuto_keep has read is overwritten and freed.
 */
#include "tests/support/random_call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SLACK_ELEMS = 8, LONG_ITEM = 3000, MOST_ELEMENTS = 60000, KEYS = 3 };

struct random_pool_entry {
    struct random_pool_entry *next;
    const struct random_type *type;
    size_t dims[2], n;
    int kind;
    unsigned key, refs;  /* refs: calls in flight */
    mamuto_kept_t *kept; /* NULL: forgotten */
    struct random_arg arg;
};

/* ---- Arrays -------------------------------------------------------------------------------------------------------- */

struct random_array random_array_make(struct random_world *world, uint64_t *state, size_t bytes, unsigned align,
                                      bool arena)
{
    struct random_array array = { .where = arena ? RANDOM_ARENA : RANDOM_HEAP, .bytes = bytes };
    size_t before = align * random_below(state, SLACK_ELEMS), all = before + bytes + align * SLACK_ELEMS;
    mamuto_error_t err = { 0 };
    if (arena) {
        array.block = mamuto_alloc(world->m, all, 1, &err);
        if (!array.block)
            fail_msg("no array of %zu bytes: %s", all, err.text);
    } else
        array.block = malloc(all);
    assert_non_null(array.block);
    array.p = (char *)array.block + before;
    return array;
}

void random_array_free(struct random_world *world, struct random_array *array)
{
    if (array->where == RANDOM_ARENA && array->block && world->m) { /* else the mapper is gone, and this with it */
        if (mamuto_free(world->m, array->block) != 0)
            fail_msg("an array of a call that is done cannot be freed");
    } else if (array->where == RANDOM_HEAP)
        free(array->block);
    array->block = NULL;
}

/* One in 64 elements is a value that one might take for something else. */
static void put_float(uint64_t *state, unsigned elem, char *p)
{
    static const double special[] = { 0.0, -0.0, 1e300, -1.0 };
    uint64_t r = random_draw(state);
    double value = (double)(int64_t)(r >> 20) * 0x1p-30;
    if (r % 64 == 0)
        value = r & 64 ? special[r >> 8 & 3] : (double)__builtin_inff();
    float single = (float)(r % 64 == 0 && (r >> 8 & 3) == 2 ? 1e30 : value);
    memcpy(p, elem == 4 ? (const void *)&single : &value, elem);
}

static void fill(uint64_t *state, const struct random_type *type, char *p, size_t bytes)
{
    unsigned elem = type->text[0] == 'c' ? type->elem / 2 : type->elem;
    for (size_t i = 0; type->floats && i + elem <= bytes; i += elem)
        put_float(state, elem, p + i);
    for (size_t i = 0; !type->floats && i < bytes; i += 8) {
        uint64_t r = random_draw(state);
        r = r % 64 == 0 ? (r & 64 ? 0 : UINT64_MAX) : r;
        if (type->text[0] == 'b' && type->text[1] == '1')
            r &= UINT64_C(0x0101010101010101);
        memcpy(p + i, &r, bytes - i < 8 ? bytes - i : 8);
    }
}

/* ---- Arguments ----------------------------------------------------------------------------------------------------- */

static bool is_broadcast(int kind) { return kind == MAMUTO_ARG_BROADCAST || kind == MAMUTO_ARG_BROADCAST_VAR; }

static ptrdiff_t choose_stride(uint64_t *state, const struct random_type *type, size_t size)
{
    uint64_t choice = random_below(state, 8);
    if (choice == 0)
        return 0;
    ptrdiff_t stride = (ptrdiff_t)(choice == 1 ? type->align : size + type->align * random_below(state, 6));
    return choice & 1 ? stride : -stride;
}

static bool may_lie_in_the_file(const struct random_world *world, const struct random_type *type, size_t bytes)
{
    return world->file && bytes + 64 < world->file_bytes && strcmp(type->text, "b1") != 0;
}

/* bytes of this type somewhere, filled. */
static void place(struct random_world *world, uint64_t *state, struct random_arg *arg, const struct random_type *type,
                  size_t bytes, bool kept)
{
    uint64_t choice = kept ? 0 : random_below(state, 10), r = random_draw(state), content = random_draw(state);
    if (choice == 9 && may_lie_in_the_file(world, type, bytes)) {
        size_t at = (size_t)(r % (world->file_bytes - bytes - 16)) / 16 * 16;
        char *p;
        memcpy(&p, &world->file, sizeof p); /* not written to */
        arg->data =
            (struct random_array){ .where = RANDOM_FILE, .bytes = bytes, .p = p + at + (r >> 40 & 1) * type->align };
        return;
    }
    arg->data = random_array_make(world, state, bytes, type->align, choice >= 6);
    fill(&content, type, arg->data.p, bytes);
}

static void make_fixed(struct random_world *world, uint64_t *state, struct random_arg *arg,
                       const struct random_type *type, const size_t *dims, size_t n, int kind, bool kept)
{
    size_t len = random_type_len(type, dims), size = len * type->elem;
    ptrdiff_t stride = kind == MAMUTO_ARG_STRIDED ? choose_stride(state, type, size) : (ptrdiff_t)size;
    size_t step = (size_t)(stride < 0 ? -stride : stride);
    size_t bytes = is_broadcast(kind) ? size : n ? (n - 1) * step + size : 0;
    place(world, state, arg, type, bytes, kept);
    char *first = arg->data.p + (stride < 0 && n ? (n - 1) * step : 0);
    if (n == 0 && random_chance(state, 2))
        first = NULL;
    arg->base = first;
    arg->stride = is_broadcast(kind) ? 0 : stride;
    arg->len = len;
    arg->arg = kind == MAMUTO_ARG_BROADCAST ? mamuto_broadcast(first)
               : kind == MAMUTO_ARG_STRIDED ? mamuto_scatter_strided(first, n, stride)
                                            : mamuto_scatter(first, n);
}

static size_t choose_length(uint64_t *state)
{
    uint64_t r = random_draw(state);
    return r % 4 == 0 ? 0 : r % 503 == 0 ? (size_t)(r >> 20) % LONG_ITEM : (size_t)(r >> 20) % 20;
}

static void make_variable(struct random_world *world, uint64_t *state, struct random_arg *arg,
                          const struct random_type *type, size_t n, int kind, bool kept)
{
    if (kind == MAMUTO_ARG_BROADCAST_VAR) {
        arg->len = choose_length(state);
        place(world, state, arg, type, arg->len * type->elem, kept);
        arg->base = arg->data.p;
        arg->arg = mamuto_broadcast_var(arg->len || random_chance(state, 2) ? arg->base : NULL, arg->len);
        return;
    }
    bool arena = !kept && random_chance(state, 3);
    arg->offsets = random_array_make(world, state, (n + 1) * sizeof(int64_t), sizeof(int64_t), arena);
    int64_t *at = (int64_t *)(void *)arg->offsets.p;
    at[0] = random_chance(state, 2) ? 0 : (int64_t)random_below(state, 10);
    for (size_t i = 0; i < n; i++)
        at[i + 1] = at[i] + (at[i] < MOST_ELEMENTS ? (int64_t)choose_length(state) : 0);
    place(world, state, arg, type, (size_t)at[n] * type->elem, kept);
    arg->base = arg->data.p;
    arg->at = at;
    arg->arg = mamuto_scatter_var(arg->base, at, n);
}

static void make_arg(struct random_world *world, uint64_t *state, struct random_arg *arg,
                     const struct random_type *type, const size_t *dims, size_t n, int kind, bool kept)
{
    if (type->variable)
        make_variable(world, state, arg, type, n, kind, kept);
    else
        make_fixed(world, state, arg, type, dims, n, kind, kept);
}

/* ---- Kept arrays --------------------------------------------------------------------------------------------------- */

/* In the order in which the type names them: a call's and a keep's are not the same. */
static void dims_of(const struct random_type *type, const size_t *dims, size_t own[2])
{
    for (int j = 0; j < 2; j++)
        own[j] = type->dims[j] >= 0 ? dims[type->dims[j]] : 0;
}

static struct random_pool_entry *find(const struct random_world *world, const struct random_pool_entry *like)
{
    for (struct random_pool_entry *e = world->pool; e; e = e->next)
        if (e->kept && strcmp(e->type->text, like->type->text) == 0 && e->dims[0] == like->dims[0] &&
            e->dims[1] == like->dims[1] && e->n == like->n && e->kind == like->kind && e->key == like->key)
            return e;
    return NULL;
}

static char *copied(const struct random_array *array)
{
    size_t bytes = (size_t)(array->p - (char *)array->block) + array->bytes;
    char *block = malloc(bytes + 1);
    assert_non_null(block);
    memcpy(block, array->block, bytes);
    return block;
}

static void keep(struct random_world *world, struct random_pool_entry *entry)
{
    struct random_arg *arg = &entry->arg;
    mamuto_keep_t kept = { .type = entry->type->text, .arg = arg->arg, .dims = { entry->dims[0], entry->dims[1] } };
    mamuto_error_t err = { 0 };
    char *data = copied(&arg->data), *offsets = arg->at ? copied(&arg->offsets) : NULL;
    if (kept.arg.data)
        kept.arg.data = data + ((const char *)kept.arg.data - (const char *)arg->data.block);
    if (offsets)
        kept.arg.offsets = (const int64_t *)(const void *)(offsets + (arg->offsets.p - (char *)arg->offsets.block));
    if (mamuto_keep_wait(world->m, &kept, &entry->kept, &err) != 0)
        fail_msg("cannot keep \"%s\": %s", entry->type->text, err.text);
    memset(data, 0x77, arg->data.bytes);
    free(data);
    free(offsets);
    world->n_kept++;
}

static void make_kept(struct random_world *world, uint64_t *state, struct random_arg *arg,
                      const struct random_type *type, const size_t *dims, size_t n, int kind)
{
    struct random_pool_entry like = { .type = type, .kind = kind, .key = (unsigned)random_below(state, KEYS) };
    dims_of(type, dims, like.dims);
    like.n = is_broadcast(kind) ? 0 : n;
    struct random_pool_entry *entry = find(world, &like);
    if (!entry) {
        entry = malloc(sizeof *entry);
        assert_non_null(entry);
        *entry = like;
        uint64_t own = random_hash(like.key, type->text, strlen(type->text)) + (uint64_t)kind * 1001 + like.n * 31 +
                       like.dims[0] * 10007 + like.dims[1] * 100003;
        make_arg(world, &own, &entry->arg, type, dims, is_broadcast(kind) ? 1 : n, kind, true);
        keep(world, entry);
        entry->next = world->pool;
        world->pool = entry;
    }
    entry->refs++;
    *arg = entry->arg;
    arg->entry = entry;
    arg->data.where = RANDOM_KEPT;
    arg->arg = mamuto_resident(entry->kept);
}

static void entry_free(struct random_world *world, struct random_pool_entry **at)
{
    struct random_pool_entry *entry = *at;
    *at = entry->next;
    random_array_free(world, &entry->arg.data);
    if (entry->arg.at)
        random_array_free(world, &entry->arg.offsets);
    free(entry);
}

void random_pool_forget(struct random_world *world, uint64_t *state, bool all)
{
    for (struct random_pool_entry **at = &world->pool; *at;) {
        struct random_pool_entry *entry = *at;
        if (entry->kept && (all || random_chance(state, 6))) {
            if (world->m)
                assert_int_equal(mamuto_forget(entry->kept), 0);
            entry->kept = NULL;
            world->n_forgotten++;
        }
        if (!entry->kept && entry->refs == 0)
            entry_free(world, at);
        else
            at = &entry->next;
    }
}

/* ---- All of a call ------------------------------------------------------------------------------------------------- */

static int choose_kind(uint64_t *state, const struct random_type *type, bool nothing_scattered)
{
    uint64_t choice = random_below(state, 10);
    if (type->variable)
        return nothing_scattered || choice < 2 ? MAMUTO_ARG_BROADCAST_VAR : MAMUTO_ARG_SCATTER_VAR;
    if (nothing_scattered || choice < 2)
        return MAMUTO_ARG_BROADCAST;
    return choice < 5 ? MAMUTO_ARG_STRIDED : MAMUTO_ARG_SCATTER;
}

static bool is_kept_length(size_t n) { return n == 1 || n == 7 || n == 64 || n == 1000 || n == 5000; }

void random_args_make(struct random_world *world, struct random_call *c)
{
    bool any_scattered = false, nothing_scattered = c->n > 0 && random_chance(&c->random, 25);
    const struct random_function *f = c->function;
    for (unsigned k = 0; k < f->n_in; k++) {
        const struct random_type *type = &f->in[k];
        bool last = k + 1 == f->n_in && !any_scattered && !nothing_scattered;
        int kind;
        do
            kind = choose_kind(&c->random, type, nothing_scattered);
        while (last && is_broadcast(kind));
        any_scattered |= !is_broadcast(kind);
        if (random_chance(&c->random, 6) && (is_broadcast(kind) || is_kept_length(c->n)))
            make_kept(world, &c->random, &c->args[k], type, c->call.dims, c->n, kind);
        else
            make_arg(world, &c->random, &c->args[k], type, c->call.dims, c->n, kind, false);
        c->call.args[k] = c->args[k].arg;
    }
    if (!any_scattered || random_chance(&c->random, 4))
        c->call.count = c->n;
}

void random_args_free(struct random_world *world, struct random_call *c)
{
    for (unsigned k = 0; k < c->function->n_in; k++) {
        struct random_arg *arg = &c->args[k];
        if (arg->entry) {
            arg->entry->refs--;
            continue;
        }
        random_array_free(world, &arg->data);
        if (arg->at)
            random_array_free(world, &arg->offsets);
    }
}
