/* The functions that the random calls choose from, and the choice: shapes, lengths, options, failures, and how a good call
 * is spoilt. All of a call follows from the run's seed and the call's number. */
#include "tests/support/random_call.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

uint64_t random_draw(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return random_mix(*state);
}

uint64_t random_below(uint64_t *state, uint64_t n) { return random_draw(state) % n; }
bool random_chance(uint64_t *state, unsigned one_in) { return random_below(state, one_in) == 0; }

/* ---- Functions ----------------------------------------------------------------------------------------------------- */

#define FIXED(text_, elem_, align_, fixed_, floats_)                                                                   \
    {                                                                                                                  \
        .text = (text_), .elem = (elem_), .align = (align_), .fixed = (fixed_), .dims = { -1, -1 },                    \
        .floats = (floats_)                                                                                            \
    }
#define DIMS(text_, elem_, a_, b_, floats_)                                                                            \
    {                                                                                                                  \
        .text = (text_), .elem = (elem_), .align = (elem_), .fixed = 1, .dims = { (a_), (b_) }, .floats = (floats_)    \
    }
#define VARIABLE(text_, elem_, floats_)                                                                                \
    {                                                                                                                  \
        .text = (text_), .elem = (elem_), .align = (elem_), .dims = { -1, -1 }, .variable = true, .floats = (floats_)  \
    }
#define F8 FIXED("f8", 8, 8, 1, true)
#define F8X3 FIXED("f8[3]", 8, 8, 3, true)
#define C16X2 FIXED("c16[2]", 16, 8, 2, true)
#define I4 FIXED("i4", 4, 4, 1, false)

static void join_f8(const void *a, const void *b, void *out, size_t dim)
{
    (void)dim;
    random_fold_f8(a, b, out);
}

static void join_i4(const void *a, const void *b, void *out, size_t dim)
{
    (void)dim;
    random_fold_i4(a, b, out);
}

static void join_u8x2(const void *a, const void *b, void *out, size_t dim)
{
    (void)dim;
    random_fold_u8x2(a, b, out);
}

static void join_dim(const void *a, const void *b, void *out, size_t dim) { random_fold_dim(a, b, out, dim); }

const struct random_function random_functions[] = {
    { "add", 2, 0, true, { F8, F8 }, F8, random_add, "fold_f8", join_f8, NULL },
    { "turn", 1, 0, true, { I4 }, I4, random_turn, "fold_i4", join_i4, NULL },
    { "bytes",
      2,
      0,
      true,
      { FIXED("u1[5]", 1, 1, 5, false), FIXED("i2", 2, 2, 1, false) },
      FIXED("u1[5]", 1, 1, 5, false),
      random_bytes,
      NULL,
      NULL,
      NULL },
    { "triple", 2, 0, true, { F8X3, F8X3 }, F8X3, random_triple, "fold_dim", join_dim, NULL },
    { "scale",
      2,
      1,
      true,
      { DIMS("f8[d]", 8, 0, -1, true), F8 },
      DIMS("f8[d]", 8, 0, -1, true),
      random_scale,
      "fold_dim",
      join_dim,
      NULL },
    { "matrix",
      2,
      2,
      true,
      { DIMS("i2[a,b]", 2, 0, 1, false), DIMS("i2[b]", 2, 1, -1, false) },
      DIMS("i4[a]", 4, 0, -1, false),
      random_matrix,
      NULL,
      NULL,
      NULL },
    { "complex", 2, 0, true, { C16X2, FIXED("f4", 4, 4, 1, true) }, C16X2, random_complex, NULL, NULL, NULL },
    { "nothing", 0, 0, true, { { 0 } }, FIXED("u8", 8, 8, 1, false), random_nothing, NULL, NULL, NULL },
    { "eight",
      8,
      1,
      true,
      { FIXED("i1", 1, 1, 1, false), FIXED("u2", 2, 2, 1, false), I4, FIXED("i8", 8, 8, 1, false),
        FIXED("f4", 4, 4, 1, true), FIXED("u1[3]", 1, 1, 3, false), FIXED("b1", 1, 1, 1, false),
        DIMS("i2[a]", 2, 0, -1, false) },
      FIXED("i8", 8, 8, 1, false),
      random_eight,
      NULL,
      NULL,
      NULL },
    { "text",
      1,
      0,
      false,
      { VARIABLE("bytes", 1, false) },
      FIXED("u4", 4, 4, 1, false),
      random_text,
      NULL,
      NULL,
      NULL },
    { "sum", 2, 0, false, { VARIABLE("f8[*]", 8, true), F8 }, F8, random_sum, "fold_f8", join_f8, NULL },
    { "both",
      3,
      0,
      false,
      { VARIABLE("bytes", 1, false), VARIABLE("i4[*]", 4, false), FIXED("u1", 1, 1, 1, false) },
      FIXED("u8[2]", 8, 8, 2, false),
      random_both,
      "fold_u8x2",
      join_u8x2,
      NULL },
    { .name = "echo",
      .n_in = 2,
      .in = { VARIABLE("bytes", 1, false), FIXED("u1", 1, 1, 1, false) },
      .out = VARIABLE("bytes", 1, false),
      .emit = random_echo },
    { .name = "count", .n_in = 1, .in = { I4 }, .out = VARIABLE("i4[*]", 4, false), .emit = random_count },
};

const unsigned random_n_functions = sizeof random_functions / sizeof *random_functions;

size_t random_type_len(const struct random_type *type, const size_t *dims)
{
    size_t len = type->fixed;
    for (int j = 0; j < 2; j++)
        if (type->dims[j] >= 0)
            len *= dims[type->dims[j]];
    return len;
}

/* ---- Choices ------------------------------------------------------------------------------------------------------- */

static size_t choose_n(uint64_t *random)
{
    static const size_t special[] = { 0,  0,   1,   1,   1,    2,    3,    4,    5,    7,    8,   63,
                                      64, 65,  127, 128, 129,  1000, 1000, 1023, 1024, 1025, 255, 256,
                                      7,  257, 64,  511, 4095, 4096, 4097, 5000, 8192, 6,    9,   10 };
    uint64_t r = random_draw(random), choice = r % 100;
    r >>= 20;
    if (choice < 60)
        return special[r % (sizeof special / sizeof *special)];
    if (choice < 85)
        return (size_t)(r % 300);
    return choice < 97 ? (size_t)(r % 3000) : (size_t)(r % (RANDOM_MAX_ITEMS + 1));
}

static void choose_dims(struct random_call *c)
{
    static const size_t most[2] = { 6, 5 };
    for (unsigned j = 0; j < 2 && j < c->function->n_dims; j++)
        c->call.dims[j] = 1 + random_below(&c->random, most[j]);
}

/* It must be refused, with this code. */
static void refused(struct random_call *c, int code, const char *name)
{
    c->refusal = code;
    c->refusal_name = name;
}

/* Few items die: each costs a process. */
static void choose_faults(struct random_call *c)
{
    uint64_t choice = random_below(&c->random, 100), modulus = 1 + random_below(&c->random, 400), kind = RANDOM_FINE;
    uint64_t salt = random_draw(&c->random) & ~UINT64_C(0xffffff);
    c->call.retries = random_chance(&c->random, 3) ? (int)random_below(&c->random, 4) : 0;
    c->call.once = random_chance(&c->random, 12);
    if (choice < 10)
        kind = RANDOM_CODE;
    else if (choice < 16)
        kind = RANDOM_TEXT;
    else if (choice < 18)
        kind = RANDOM_AT_FIRST;
    else if (choice < 22)
        kind = choice < 20 ? RANDOM_CRASH : choice < 21 ? RANDOM_EXIT : RANDOM_MIXED;
    else if (choice == 22 && random_chance(&c->random, 8))
        kind = RANDOM_HANG;
    if (kind >= RANDOM_CRASH && kind != RANDOM_MIXED)
        modulus += c->n / 2;
    if (kind == RANDOM_HANG) {
        modulus += c->n;
        c->call.retries = 0;
        c->call.item_timeout_ms = RANDOM_TIMEOUT_MS;
    } else if (random_chance(&c->random, 50))
        c->call.item_timeout_ms = 60000;
    if (kind == RANDOM_MIXED && c->call.retries > 1)
        c->call.retries = 1;
    c->call.seed = salt | (modulus & 0xfffff) << 4 | kind;
    c->call.on_error = random_chance(&c->random, 2) ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL;
    c->call.help = kind <= RANDOM_TEXT && !c->call.item_timeout_ms && random_chance(&c->random, 4);
}

static void choose_options(struct random_call *c)
{
    if (random_chance(&c->random, 4))
        c->call.priority = (int)random_below(&c->random, 201) - 100;
    c->form = random_chance(&c->random, 8) ? RANDOM_WAIT : RANDOM_CALLBACK;
    c->cancels = c->form == RANDOM_CALLBACK && random_chance(&c->random, 15);
    c->cancel_after = c->cancels ? (int)random_below(&c->random, 20) : 0;
}

static void choose_result(struct random_world *world, struct random_call *c)
{
    const struct random_type *type = &c->function->out;
    memset(&c->var, 0xa5, sizeof c->var);
    if (type->variable) {
        c->out_size = type->elem;
        c->call.result_var = &c->var;
        c->result = random_array_make(world, &c->random, 0, 1, false);
        memset(c->result.block, 0xa5, (size_t)(c->result.p - (char *)c->result.block));
        return;
    }
    c->out_size = random_type_len(type, c->call.dims) * type->elem;
    bool none = c->reduces && random_chance(&c->random, 2), arena = random_chance(&c->random, 3);
    ptrdiff_t stride = (ptrdiff_t)c->out_size;
    if (random_chance(&c->random, 4))
        stride += (ptrdiff_t)(type->align * random_below(&c->random, 4));
    if (random_chance(&c->random, 8))
        stride = -stride;
    size_t step = (size_t)(stride < 0 ? -stride : stride), bytes = c->n ? (c->n - 1) * step + c->out_size : 0;
    c->result = random_array_make(world, &c->random, bytes, type->align, arena);
    memset(c->result.block, 0xa5, (size_t)(c->result.p - (char *)c->result.block) + bytes);
    c->result_stride = stride;
    c->first = none ? NULL : c->result.p + (stride < 0 && c->n ? (c->n - 1) * step : 0);
    c->call.result = c->n || random_chance(&c->random, 2) ? c->first : NULL;
    c->call.result_stride = stride == (ptrdiff_t)c->out_size && random_chance(&c->random, 2) ? 0 : stride;
    if (none)
        c->call.result_stride = 0;
}

/* A reduction, of the function's results or, where the type allows it, of the argument's items themselves. */
static void choose_fold(struct random_world *world, struct random_call *c)
{
    c->value = random_array_make(world, &c->random, 256, 16, random_chance(&c->random, 4));
    memset(c->value.p, 0xa5, 256);
    if (!c->function->fold || !random_chance(&c->random, 4))
        return;
    c->reduces = true;
    snprintf(c->fold, sizeof c->fold, "random.%s", c->function->fold);
    c->call.fold = c->fold;
    c->call.value = c->value.p;
    uint64_t empty = random_draw(&c->random);
    for (unsigned k = 0; k < sizeof c->if_empty; k++)
        c->if_empty[k] = (char)(k * 7 + empty);
    if (random_chance(&c->random, 2))
        c->call.if_empty = c->if_empty;
    else if (c->n == 0)
        refused(c, MAMUTO_EEMPTY, "nothing to reduce");
    c->folds_alone = strcmp(c->function->name, "turn") == 0 && random_chance(&c->random, 2);
}

static void choose_name(struct random_call *c)
{
    const struct random_function *f = c->function;
    bool kernel = f->kernel && random_chance(&c->random, 2), qualified = !random_chance(&c->random, 10);
    snprintf(c->name, sizeof c->name, "%s%s%s", qualified ? "random." : "", f->name, kernel ? "_k" : "");
    c->call.function = c->folds_alone ? NULL : c->name;
    if (c->folds_alone) {
        c->call.seed &= ~UINT64_C(15);
        c->call.result = c->first = NULL;
        c->call.result_stride = 0;
    }
}

struct random_call *random_call_make(struct random_world *world, uint64_t seed, uint64_t number)
{
    struct random_call *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->seed = seed;
    c->number = number;
    c->random = random_mix(seed) ^ random_mix(~number);
    c->function = &random_functions[random_below(&c->random, random_n_functions)];
    c->n = choose_n(&c->random);
    if (c->function->n_in == 0 && c->n == 0)
        c->n = 1; /* count 0 is refused where nothing is scattered */
    choose_dims(c);
    choose_faults(c);
    choose_options(c);
    choose_fold(world, c);
    choose_result(world, c);
    choose_name(c);
    random_args_make(world, c);
    c->told = malloc((RANDOM_MOST_TOLD + 1) * sizeof *c->told);
    c->spanned = random_chance(&c->random, 5) ? calloc(c->n + 1, 1) : NULL;
    assert_non_null(c->told);
    c->call.data = c;
    return c;
}

void random_call_free(struct random_world *world, struct random_call *c)
{
    random_args_free(world, c);
    random_array_free(world, &c->result);
    random_array_free(world, &c->value);
    if (c->call.result_var && c->n_done && !random_var_is_untouched(c) && world->m)
        assert_int_equal(mamuto_free(world->m, c->var.data), 0);
    free(c->told);
    free(c->spanned);
    free(c);
}

/* ---- A bad call ---------------------------------------------------------------------------------------------------- */

static void spoil_options(struct random_call *c, uint64_t choice)
{
    mamuto_call_t *call = &c->call;
    if (choice == 0)
        call->priority = random_chance(&c->random, 2) ? 101 : -101;
    else if (choice == 1)
        call->retries = -1;
    else if (choice == 2)
        call->item_timeout_ms = -5;
    else if (choice == 3)
        call->on_error = 2;
    else if (choice == 4)
        call->reserved[random_below(&c->random, 16)] = 1;
    else {
        call->help = 1;
        call->item_timeout_ms = 100;
    }
    refused(c, MAMUTO_EINVAL, "an option");
}

/* Of an argument that is scattered in place, of fixed size; -1: there is none. */
static int scattered(const struct random_call *c)
{
    for (unsigned k = 0; k < c->function->n_in; k++)
        if ((c->call.args[k].kind == MAMUTO_ARG_SCATTER || c->call.args[k].kind == MAMUTO_ARG_STRIDED) &&
            !c->args[k].entry && c->n > 0)
            return (int)k;
    return -1;
}

static bool spoil_array(struct random_call *c, uint64_t choice)
{
    int k = scattered(c);
    if (k < 0)
        return false;
    mamuto_arg_t *arg = &c->call.args[k];
    if (choice == 0) {
        arg->data = NULL;
        refused(c, MAMUTO_EARGS, "a NULL array");
    } else if (choice == 1) {
        arg->count++;
        c->call.count = c->n;
        refused(c, MAMUTO_ELENGTH, "one item more than there are");
    } else if (choice == 2 && c->function->in[k].align > 1) {
        arg->data = (const char *)arg->data + 1;
        refused(c, MAMUTO_EALIGN, "an array that is not aligned");
    } else if (choice == 3 && c->call.result) {
        arg->data = c->call.result;
        refused(c, MAMUTO_EOVERLAP, "an argument in the result");
        return (uintptr_t)c->call.result % c->function->in[k].align == 0;
    } else if (choice == 4) {
        arg->kind = 77;
        refused(c, MAMUTO_EARGS, "an argument of no known kind");
    } else
        return false;
    return true;
}

static bool spoil_call(struct random_call *c, uint64_t choice)
{
    unsigned n_in = c->function->n_in, n_dims = c->function->n_dims;
    if (choice == 0) {
        c->call.function = "random.nobody";
        refused(c, MAMUTO_EFUNCTION, "a function that is not there");
    } else if (choice == 1 && n_in > 0) {
        memset(&c->call.args[n_in - 1], 0, sizeof c->call.args[0]);
        refused(c, MAMUTO_EARGS, "an argument too few");
    } else if (choice == 2 && n_in < 8) {
        c->call.args[n_in] = mamuto_broadcast(c->if_empty);
        refused(c, MAMUTO_EARGS, "an argument too many");
    } else if (choice == 3 && n_dims > 0) {
        c->call.dims[n_dims - 1] = 0;
        refused(c, MAMUTO_EARGS, "a dim without a value");
    } else if (choice == 4 && n_dims < 8 && !c->reduces) {
        c->call.dims[n_dims] = 3;
        refused(c, MAMUTO_EARGS, "a dim too many");
    } else if (choice == 5 && (c->call.result || c->call.result_var) && c->n > 0) {
        c->call.result = NULL;
        c->call.result_var = NULL;
        refused(c, MAMUTO_EARGS, "no result");
        return !c->reduces;
    } else if (choice == 6 && c->call.result && c->out_size > 8 && c->n > 1) {
        c->call.result_stride = 8;
        refused(c, MAMUTO_EARGS, "results that overlap");
    } else
        return false;
    return true;
}

void random_call_spoil(struct random_world *world, struct random_call *c)
{
    (void)world;
    for (;;) {
        uint64_t choice = random_below(&c->random, 18);
        mamuto_call_t good = c->call;
        if (choice < 6) {
            spoil_options(c, choice);
            return;
        }
        if (choice < 11 ? spoil_array(c, choice - 6) : spoil_call(c, choice - 11))
            return;
        c->call = good;
    }
}

/* ---- Words --------------------------------------------------------------------------------------------------------- */

static void describe_arg(FILE *to, const struct random_call *c, unsigned k)
{
    static const char *const kinds[] = { "none", "scatter", "broadcast", "strided", "scatter_var", "broadcast_var" };
    static const char *const places[] = { "heap", "arena", "file", "kept" };
    const struct random_arg *arg = &c->args[k];
    int kind = arg->arg.kind;
    fprintf(to, "  argument %u: %s in %s%s, stride %td, %s\n", k, c->function->in[k].text, places[arg->data.where],
            arg->at && arg->offsets.where == RANDOM_ARENA ? " (offsets in arena)" : "", arg->stride,
            kind == MAMUTO_ARG_RESIDENT ? (arg->at || arg->stride ? "scattered" : "for all") : kinds[kind]);
}

void random_call_describe(FILE *to, const struct random_call *c)
{
    static const char *const faults[] = { "none", "code", "text", "crash", "exit", "hang", "at first", "mixed" };
    const mamuto_call_t *call = &c->call;
    fprintf(to,
            "MAMUTO_SEED=%" PRIu64 " MAMUTO_RANDOM_CALL=%" PRIu64 " replays it alone: %s %s, n = %zu, dims %zu %zu\n",
            c->seed, c->number, c->reduces ? "mamuto_reduce of" : "mamuto_map of", call->function ? c->name : "(items)",
            c->n, call->dims[0], call->dims[1]);
    for (unsigned k = 0; k < c->function->n_in; k++)
        describe_arg(to, c, k);
    fprintf(to,
            "  result %s%s, stride %td; fold %s; faults: %s, one in %u; retries %d, once %d, on_error %s, help %d, "
            "priority %d, item_timeout_ms %d, seed %" PRIx64 "; %s%s%s%s\n",
            c->result.where == RANDOM_ARENA ? "in arena" : "in heap", c->call.result ? "" : " (not set)",
            c->result_stride, c->reduces ? c->fold : "none", faults[call->seed & 7],
            (unsigned)(call->seed >> 4 & 0xfffff), call->retries, call->once,
            call->on_error == MAMUTO_ON_ERROR_SKIP ? "SKIP" : "FAIL", call->help, call->priority, call->item_timeout_ms,
            call->seed, c->form == RANDOM_WAIT ? "_wait" : "callback", c->cancels ? ", to be cancelled" : "",
            c->refusal ? ", spoilt: " : "", c->refusal ? c->refusal_name : "");
    fprintf(to, "  came to: on_done %u times, status %d, %u told, %u kills meanwhile: %s\n", c->n_done, c->status,
            c->n_told, c->kills, c->err.text);
}
