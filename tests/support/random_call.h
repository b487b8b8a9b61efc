/* Random calls: made from a seed and a number alone, started by the test, checked bit for bit against a serial loop.
 * A call owns its arrays. What it takes from the outside (a mapper, the pool of kept arrays, an attached file) changes
 * where its data lies, never what it is: so one call can be replayed alone. */
#ifndef MM_TESTS_SUPPORT_RANDOM_CALL_H
#define MM_TESTS_SUPPORT_RANDOM_CALL_H

#include "core/mamuto.h"
#include "tests/e2e/modules/random.h"

#include <stdbool.h>
#include <stdio.h>

enum { RANDOM_MAX_ITEMS = 20000, RANDOM_MOST_TOLD = 1000, RANDOM_TIMEOUT_MS = 500 };

/* A type of a signature of random.c. Its size is fixed elements times the dims that it names. */
struct random_type {
    const char *text;
    unsigned elem, align, fixed;
    int dims[2]; /* numbers of the call's dims, -1: none */
    bool variable, floats;
};

struct random_function {
    const char *name;
    unsigned n_in, n_dims;
    bool kernel; /* there is a name_k, too */
    struct random_type in[8], out;
    void (*compute)(const struct random_item *item, void *out);
    const char *fold;
    void (*join)(const void *a, const void *b, void *out, size_t dim);
    size_t (*emit)(const struct random_item *item, void *out); /* instead of compute: of variable length */
};

extern const struct random_function random_functions[];
extern const unsigned random_n_functions;

/* Elements of one item; not of variable length. */
size_t random_type_len(const struct random_type *type, const size_t *dims);

/* Where an array's bytes are. */
enum random_where { RANDOM_HEAP, RANDOM_ARENA, RANDOM_FILE, RANDOM_KEPT };

struct random_array {
    enum random_where where;
    void *block; /* to be given back */
    size_t bytes;
    char *p; /* of the array, somewhere in the block */
};

struct random_pool_entry;

struct random_arg {
    mamuto_arg_t arg;
    struct random_array data, offsets;
    /* what the reference reads: item i at base + i * stride, or by the offsets */
    const char *base;
    ptrdiff_t stride;
    const int64_t *at;
    size_t len; /* elements of an item, where there are no offsets */
    struct random_pool_entry *entry;
};

/* What all calls of one mapper share. */
struct random_world {
    mamuto_t *m;
    const char *file; /* attached, FILE_BYTES of it */
    size_t file_bytes;
    unsigned n_kept, n_forgotten;
    struct random_pool_entry *pool; /* a list */
};

/* How the test is to run it. */
enum random_form { RANDOM_CALLBACK, RANDOM_WAIT };
enum random_bad { RANDOM_GOOD, RANDOM_BAD };

struct random_call {
    uint64_t seed, number; /* of the run; which call */
    uint64_t random;       /* state of its own generator */
    const struct random_function *function;
    char name[64], fold[64];
    size_t n, out_size;
    struct random_arg args[8];
    struct random_array result, value;
    ptrdiff_t result_stride;
    mamuto_var_t var; /* the result where it is of variable length */
    char *first;      /* item 0 of the result, NULL: there is none */
    char if_empty[256];
    bool reduces, folds_alone, cancels;
    enum random_form form;
    int cancel_after; /* turns */
    mamuto_call_t call;
    /* a bad call: this code must come */
    int refusal;
    const char *refusal_name;
    /* while it runs */
    mamuto_map_t *map;
    unsigned kills, n_done, n_told, told_bad, spans_bad, progress_bad;
    int turns, status;
    bool cancelled, is_progress_seen;
    uint64_t progress_done;
    mamuto_error_t err;
    struct random_told {
        uint64_t item;
        int code, item_code, signal;
        bool text;
    } * told;
    uint8_t *spanned; /* by item; NULL: no on_spans */
};

uint64_t random_draw(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t n);
bool random_chance(uint64_t *state, unsigned one_in);

/* Call number of a run. Fails the test if there is no memory. */
struct random_call *random_call_make(struct random_world *world, uint64_t seed, uint64_t number);
void random_call_free(struct random_world *world, struct random_call *c);
void random_call_describe(FILE *to, const struct random_call *c);
/* Spoils a good call in one way: c->refusal is what it must be refused with. */
void random_call_spoil(struct random_world *world, struct random_call *c);

/* The arguments alone; called by random_call_make. */
void random_args_make(struct random_world *world, struct random_call *c);
void random_args_free(struct random_world *world, struct random_call *c);
struct random_array random_array_make(struct random_world *world, uint64_t *state, size_t bytes, unsigned align,
                                      bool arena);
void random_array_free(struct random_world *world, struct random_array *array);

/* The pool: forgets some of what is kept (of all: at the end of a mapper, which frees it, or may). */
void random_pool_forget(struct random_world *world, uint64_t *state, bool all);

/* The outcome against the serial reference; status, err, told and so on are filled. What is wrong is written into text. */
bool random_call_is_right(struct random_call *c, char *text, size_t bytes);
bool random_var_is_untouched(const struct random_call *c);
bool random_call_is_untouched(const struct random_call *c, char *text, size_t bytes);

#endif
