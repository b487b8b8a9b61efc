/* The tree of mamuto_reduce, level by level, with nothing of the library's: neither groups nor tiles. What is absent is
 * passed over, in a block as in the tree. */
#include "tests/support/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK = 64 };

struct level {
    char *values;
    bool *there;
    size_t n;
};

/* x = fold(x, y), where one of them may not be there. */
static bool join(const struct reference *r, char *x, bool x_there, const void *y, bool y_there, char *spare)
{
    if (x_there && y_there) {
        r->fold(x, y, spare, r->dim);
        memcpy(x, spare, r->size);
    } else if (y_there)
        memmove(x, y, r->size);
    return x_there || y_there;
}

static void fold_blocks(const struct reference *r, const char *items, size_t n, struct level *level, char *spare)
{
    for (size_t b = 0; b < level->n; b++) {
        level->there[b] = false;
        for (size_t i = b * BLOCK; i < n && i < (b + 1) * BLOCK; i++)
            level->there[b] = join(r, level->values + b * r->size, level->there[b], items + i * r->size,
                                   !r->absent || !r->absent[i], spare);
    }
}

static void fold_pairs(const struct reference *r, struct level *level, char *spare)
{
    size_t pairs = (level->n + 1) / 2;
    for (size_t j = 0; j < pairs; j++) {
        char *to = level->values + j * r->size, *from = level->values + 2 * j * r->size;
        bool right = 2 * j + 1 < level->n;
        memmove(to, from, r->size);
        level->there[j] = level->there[2 * j];
        if (right)
            level->there[j] = join(r, to, level->there[j], from + r->size, level->there[2 * j + 1], spare);
    }
    level->n = pairs;
}

bool reference_reduce(const struct reference *r, const void *items, size_t n, void *value)
{
    struct level level = { .n = (n + BLOCK - 1) / BLOCK };
    char *spare = malloc(r->size);
    level.values = malloc((level.n + 1) * r->size);
    level.there = calloc(level.n + 1, 1);
    assert_true(spare && level.values && level.there);
    fold_blocks(r, items, n, &level, spare);
    while (level.n > 1)
        fold_pairs(r, &level, spare);
    bool there = n && level.there[0];
    if (there)
        memcpy(value, level.values, r->size);
    free(spare);
    free(level.values);
    free(level.there);
    return there;
}
