/* A call's arguments against the signature: number, kind, lengths, sizes, alignment, overlap. Looks at pointers, never
 * through them, but for an array's first and last offset; that those between do not decrease is seen by the workers, as
 * they go (shm/variable.c). Every product and sum of sizes is checked for overflow before anything runs. Each failure is a
 * whole sentence that names the function, the argument and what would be right.
 */
#include "core/error.h"
#include "core/mapper.h"
#include "core/span.h"

#include <inttypes.h>

struct check {
    const struct mm_function *function;
    const mamuto_call_t *call;
    struct mm_run *run;
    mamuto_error_t *err;
    int scattered; /* an argument that is scattered, -1: none */
};

static const char *name_of(const struct check *c) { return c->function->info.name; }
static const char *module_of(const struct check *c) { return c->function->info.module; }

#define FAIL(c_, code_, format_, ...)                                                                                  \
    mm_error_set((c_)->err, (code_), "%s%s%s: " format_, module_of(c_), *module_of(c_) ? "." : "", name_of(c_),        \
                 __VA_ARGS__)

static int check_options(struct check *c)
{
    const mamuto_call_t *call = c->call;
    for (size_t i = 0; i < sizeof call->reserved / sizeof *call->reserved; i++)
        if (call->reserved[i])
            return FAIL(c, MAMUTO_EINVAL, "the call's reserved field %zu is not 0: zero the struct before it is filled",
                        i);
    if (call->item_timeout_ms < 0 || call->retries < 0)
        return FAIL(c, MAMUTO_EINVAL, "item_timeout_ms is %d and retries is %d; neither may be negative",
                    call->item_timeout_ms, call->retries);
    if (call->priority < -MM_MOST_PRIORITY || call->priority > MM_MOST_PRIORITY)
        return FAIL(c, MAMUTO_EINVAL, "priority is %d; it is %d to %d", call->priority, -MM_MOST_PRIORITY,
                    MM_MOST_PRIORITY);
    if (call->on_error != MAMUTO_ON_ERROR_FAIL && call->on_error != MAMUTO_ON_ERROR_SKIP)
        return FAIL(c, MAMUTO_EINVAL, "on_error is %d; it is MAMUTO_ON_ERROR_FAIL or MAMUTO_ON_ERROR_SKIP",
                    call->on_error);
    if (call->help && call->item_timeout_ms)
        return FAIL(c, MAMUTO_EINVAL,
                    "help and item_timeout_ms = %d exclude each other: nobody could stop an item that "
                    "the caller itself runs",
                    call->item_timeout_ms);
    return 0;
}

static int check_dims(struct check *c)
{
    const struct mm_signature *signature = &c->function->signature;
    for (int j = 0; j < MAMUTO_MAX_DIMS; j++) {
        size_t dim = c->call->dims[j];
        if (j < signature->n_dims && dim == 0)
            return FAIL(c, MAMUTO_EARGS, "the dim \"%s\" has no value: set call.dims[%d] to at least 1",
                        signature->dims[j], j);
        if (j >= signature->n_dims && dim)
            return FAIL(c, MAMUTO_EARGS, "call.dims[%d] is set, but \"%s\" has %d named dims", j,
                        c->function->info.signature, signature->n_dims);
        c->run->dims[j] = dim;
    }
    return 0;
}

static int check_number(struct check *c)
{
    int n = 0, wanted = c->function->signature.n_in;
    while (n < MAMUTO_MAX_ARGS && c->call->args[n].kind != MAMUTO_ARG_NONE)
        n++;
    if (n != wanted)
        return FAIL(c, MAMUTO_EARGS, "it takes %d argument%s (\"%s\"), %d given", wanted, wanted == 1 ? "" : "s",
                    c->function->info.signature, n);
    for (int k = n; k < MAMUTO_MAX_ARGS; k++)
        if (c->call->args[k].kind != MAMUTO_ARG_NONE)
            return FAIL(c, MAMUTO_EARGS, "argument %d is set behind an empty one", k);
    c->run->n_in = n;
    return 0;
}

static bool is_scattered(const mamuto_arg_t *arg)
{
    return arg->kind == MAMUTO_ARG_SCATTER || arg->kind == MAMUTO_ARG_STRIDED || arg->kind == MAMUTO_ARG_SCATTER_VAR;
}

static int check_kind(struct check *c, int k)
{
    const mamuto_arg_t *arg = &c->call->args[k];
    bool variable = arg->kind == MAMUTO_ARG_SCATTER_VAR || arg->kind == MAMUTO_ARG_BROADCAST_VAR;
    if (!is_scattered(arg) && !variable && arg->kind != MAMUTO_ARG_BROADCAST)
        return FAIL(c, MAMUTO_EARGS,
                    "argument %d is of no known kind (%d): make it with mamuto_scatter or "
                    "mamuto_broadcast",
                    k, arg->kind);
    if (c->function->signature.in[k].variable != variable)
        return FAIL(c, MAMUTO_EARGS, "argument %d is of %s (\"%s\"): make it with %s", k,
                    variable ? "fixed size" : "variable length", c->function->info.signature,
                    variable ? "mamuto_scatter, mamuto_scatter_strided or mamuto_broadcast"
                             : "mamuto_scatter_var or mamuto_broadcast_var");
    for (size_t i = 0; i < sizeof arg->reserved / sizeof *arg->reserved; i++)
        if (arg->reserved[i])
            return FAIL(c, MAMUTO_EINVAL,
                        "argument %d has a reserved field that is not 0: make it with mamuto_scatter or "
                        "mamuto_broadcast",
                        k);
    return 0;
}

/* How many items: the scattered arguments' length, which must be one. */
static int check_count(struct check *c)
{
    uint64_t n = c->call->count;
    for (int k = 0; k < c->run->n_in; k++) {
        const mamuto_arg_t *arg = &c->call->args[k];
        if (!is_scattered(arg))
            continue;
        if (c->scattered >= 0 && arg->count != n)
            return FAIL(c, MAMUTO_ELENGTH,
                        "argument %d has %zu items, argument %d has %zu; scattered arguments are of "
                        "one length",
                        c->scattered, (size_t)n, k, arg->count);
        if (c->call->count && arg->count != c->call->count)
            return FAIL(c, MAMUTO_ELENGTH, "argument %d has %zu items, call.count says %zu", k, arg->count,
                        c->call->count);
        c->scattered = k;
        n = arg->count;
    }
    if (c->scattered < 0 && n == 0)
        return FAIL(c, MAMUTO_ELENGTH, "nothing is scattered (\"%s\"), so call.count must say how many items there are",
                    c->function->info.signature);
    if (n >= MAMUTO_MAX_ITEMS)
        return FAIL(c, MAMUTO_ESIZE, "%" PRIu64 " items; there can be less than 2^48", n);
    c->run->n = n;
    return 0;
}

/* An array's items, to be checked. */
struct array {
    const char *what;
    const struct mm_type *type;
    const void *data;
    uint64_t n;
    size_t size;      /* of an item */
    ptrdiff_t stride; /* from one to the next */
};

/* The items' span must lie between the ends of the address space. */
static int check_span(struct check *c, const struct array *array)
{
    uint64_t step = mm_stride_abs(array->stride), reach, bytes, end, begin = (uint64_t)(uintptr_t)array->data;
    bool wraps = __builtin_mul_overflow(array->n - 1, step, &reach) ||
                 __builtin_add_overflow(reach, array->size, &bytes) || bytes > INT64_MAX;
    if (!wraps && array->stride < 0)
        wraps = (begin && reach > begin) || __builtin_add_overflow(begin, array->size, &end); /* NULL: see below */
    else if (!wraps)
        wraps = __builtin_add_overflow(begin, bytes, &end);
    if (!wraps)
        return 0;
    if (step == array->size || step == 0)
        return FAIL(c, MAMUTO_ESIZE, "%s of %" PRIu64 " items of %zu bytes does not fit into memory", array->what,
                    array->n, array->size);
    return FAIL(c, MAMUTO_ESIZE, "%s of %" PRIu64 " items of %zu bytes, %td bytes apart, does not fit into memory",
                array->what, array->n, array->size, array->stride);
}

static int check_place(struct check *c, const struct array *array, uint64_t bytes)
{
    unsigned align = array->type->elem_align;
    if (!array->data)
        return FAIL(c, MAMUTO_EARGS, "%s is NULL, and %" PRIu64 " bytes are expected there", array->what, bytes);
    if ((uintptr_t)array->data % align)
        return FAIL(c, MAMUTO_EALIGN, "%s begins at an address that is no multiple of %u, as \"%s\" needs", array->what,
                    align, array->type->dtype);
    if (mm_stride_abs(array->stride) % align)
        return FAIL(c, MAMUTO_EALIGN, "%s has a stride of %td bytes, which is no multiple of %u, as \"%s\" needs",
                    array->what, array->stride, align, array->type->dtype);
    return 0;
}

static int check_array(struct check *c, const struct array *array)
{
    int code = check_span(c, array);
    return code ? code : check_place(c, array, (array->n - 1) * mm_stride_abs(array->stride) + array->size);
}

/* One value of a length of its own. */
static int check_broadcast_var(struct check *c, const struct array *array, const mamuto_arg_t *arg,
                               struct mm_run_arg *in)
{
    struct array all = *array;
    if (__builtin_mul_overflow(arg->count, all.size, &in->size))
        return FAIL(c, MAMUTO_ESIZE, "%s of %zu elements of %zu bytes does not fit into memory", all.what, arg->count,
                    all.size);
    in->len = arg->count;
    in->stride = 0;
    all.size = in->size;
    return in->size ? check_array(c, &all) : 0;
}

static int check_scatter_var(struct check *c, const struct array *array, const mamuto_arg_t *arg, struct mm_run_arg *in)
{
    uint64_t bytes, end;
    const char *what = array->what;
    if (!arg->offsets)
        return FAIL(c, MAMUTO_EARGS, "%s has no offsets (NULL): %" PRIu64 " of them are expected", what, array->n + 1);
    if ((uintptr_t)arg->offsets % _Alignof(int64_t))
        return FAIL(c, MAMUTO_EALIGN, "%s has offsets at an address that is no multiple of %zu, as int64_t needs", what,
                    _Alignof(int64_t));
    if (__builtin_add_overflow((uintptr_t)arg->offsets, (array->n + 1) * sizeof(int64_t), &end))
        return FAIL(c, MAMUTO_ESIZE, "%s has %" PRIu64 " offsets, which do not fit into memory", what, array->n + 1);
    in->offsets = arg->offsets;
    in->low = arg->offsets[0];
    in->high = arg->offsets[array->n];
    if (in->low < 0)
        return FAIL(c, MAMUTO_EARGS, "%s has %" PRId64 " as its first offset; none may be negative", what, in->low);
    if (in->high < in->low)
        return FAIL(c, MAMUTO_EARGS, "%s has offsets that decrease: the first is %" PRId64 ", the last %" PRId64, what,
                    in->low, in->high);
    if (__builtin_mul_overflow((uint64_t)in->high, array->size, &bytes) || bytes > INT64_MAX ||
        __builtin_add_overflow((uint64_t)(uintptr_t)array->data, bytes, &end))
        return FAIL(c, MAMUTO_ESIZE, "%s of %" PRId64 " elements of %zu bytes does not fit into memory", what, in->high,
                    array->size);
    return in->high > in->low ? check_place(c, array, bytes) : 0;
}

static int check_variable(struct check *c, int k, struct array *array)
{
    const mamuto_arg_t *arg = &c->call->args[k];
    struct mm_run_arg *in = &c->run->in[k];
    array->size = in->size = array->type->elem_bytes;
    array->stride = in->stride = (ptrdiff_t)in->size;
    in->len = 0;
    if (arg->stride)
        return FAIL(c, MAMUTO_EARGS, "%s is of variable length and has a stride of %td bytes: make it with %s",
                    array->what, arg->stride, "mamuto_scatter_var or mamuto_broadcast_var");
    if (arg->kind == MAMUTO_ARG_SCATTER_VAR)
        return check_scatter_var(c, array, arg, in);
    array->n = 1;
    return check_broadcast_var(c, array, arg, in);
}

static int check_input(struct check *c, int k)
{
    const mamuto_arg_t *arg = &c->call->args[k];
    struct mm_run_arg *in = &c->run->in[k];
    char what[24] = "argument 0";
    what[sizeof "argument " - 1] = (char)('0' + k);
    struct array array = { .what = what, .type = &c->function->signature.in[k], .data = arg->data, .n = c->run->n };
    in->data = arg->data;
    in->offsets = NULL;
    if (array.type->variable)
        return check_variable(c, k, &array);
    int code = mm_type_size(array.type, &c->function->signature, c->run->dims, &in->len, &in->size, c->err);
    if (code)
        return code;
    bool scatter = arg->kind == MAMUTO_ARG_SCATTER, strided = arg->kind == MAMUTO_ARG_STRIDED;
    in->stride = strided ? arg->stride : scatter ? (ptrdiff_t)in->size : 0;
    if (!strided && arg->stride && arg->stride != in->stride)
        return FAIL(c, MAMUTO_EARGS,
                    "%s has a stride of %td bytes, but is not of mamuto_scatter_strided: its items are "
                    "packed (%zu bytes each)",
                    what, arg->stride, in->size);
    array.n = scatter || strided ? array.n : 1;
    array.size = in->size;
    array.stride = in->stride;
    return check_array(c, &array);
}

static int check_result(struct check *c)
{
    struct mm_run *run = c->run;
    ptrdiff_t stride = c->call->result_stride;
    run->result = c->call->result;
    run->result_stride = stride ? stride : (ptrdiff_t)run->out_size;
    if (mm_stride_abs(run->result_stride) < run->out_size)
        return FAIL(c, MAMUTO_EARGS,
                    "the result has a stride of %td bytes, so its items of %zu bytes would overlap: give it 0 "
                    "(packed), or at least their size",
                    stride, run->out_size);
    struct array array = { "the result",  &c->function->signature.out, run->result, run->n,
                           run->out_size, run->result_stride };
    if (!run->n || (c->call->fold && !run->result)) /* a reduction may keep no results */
        return 0;
    return check_array(c, &array);
}

static int check_overlap(struct check *c, int k)
{
    struct mm_span result = mm_span_of_result(c->run), in = mm_span_of_input(c->run, k);
    if (mm_span_overlap(&result, &in))
        return FAIL(c, MAMUTO_EOVERLAP, "the result overlaps argument %d: give it an array of its own", k);
    if (!c->run->in[k].offsets)
        return 0;
    in = mm_span_of_offsets(c->run, k);
    if (mm_span_overlap(&result, &in))
        return FAIL(c, MAMUTO_EOVERLAP, "the result overlaps the offsets of argument %d: give it an array of its own",
                    k);
    return 0;
}

static int check_arrays(struct check *c)
{
    const struct mm_signature *signature = &c->function->signature;
    struct mm_run *run = c->run;
    int code = 0;
    run->groups = NULL;
    run->first = 0;
    for (int k = 0; k < run->n_in && !code && run->n; k++)
        code = check_input(c, k);
    if (!code && signature->out.variable)
        return 0; /* made by the library */
    if (!code)
        code = mm_type_size(&signature->out, signature, run->dims, &run->out_len, &run->out_size, c->err);
    if (!code)
        code = check_result(c);
    for (int k = 0; k < run->n_in && !code && run->n && run->result; k++)
        code = check_overlap(c, k);
    return code;
}

/* Which of result and result_var it must be. */
static int check_output(struct check *c)
{
    const mamuto_call_t *call = c->call;
    const char *signature = c->function->info.signature;
    bool variable = c->function->signature.out.variable;
    c->run->element = variable ? c->function->signature.out.elem_bytes : 0;
    c->run->result = NULL;
    c->run->out_len = 0;
    c->run->parts = NULL;
    c->run->op = MM_OP_CALL;
    if (variable && (call->result || call->result_stride))
        return FAIL(c, MAMUTO_EARGS,
                    "its result is of variable length (\"%s\"): call.result_var takes it, and call.result and "
                    "result_stride are 0",
                    signature);
    if (variable && !call->result_var)
        return FAIL(c, MAMUTO_EARGS, "call.result_var is NULL, and its result is of variable length (\"%s\")",
                    signature);
    if (!variable && call->result_var)
        return FAIL(c, MAMUTO_EARGS,
                    "call.result_var is set, but \"%s\" has a result of fixed size: call.result takes it", signature);
    return 0;
}

int mm_args_check(const struct mm_function *function, const mamuto_call_t *call, struct mm_run *run,
                  mamuto_error_t *err)
{
    struct check c = { function, call, run, err, -1 };
    int code = check_options(&c);
    if (!code)
        code = check_output(&c);
    if (!code)
        code = check_dims(&c);
    if (!code)
        code = check_number(&c);
    for (int k = 0; k < run->n_in && !code; k++)
        code = check_kind(&c, k);
    if (!code)
        code = check_count(&c);
    if (!code)
        code = check_arrays(&c);
    run->function = function;
    run->marks = NULL;
    run->call = 0;
    run->claims = NULL;
    run->source = 0;
    run->copy = false;
    run->item_timeout_ms = call->item_timeout_ms;
    run->retries = call->retries;
    run->priority = call->priority;
    run->seed = call->seed;
    run->once = call->once != 0;
    run->fail_fast = call->on_error == MAMUTO_ON_ERROR_FAIL;
    return code;
}

int mm_args_check_keep(const struct mm_function *type, const mamuto_arg_t *arg, struct mm_run *run, mamuto_error_t *err)
{
    bool broadcast = arg->kind == MAMUTO_ARG_BROADCAST || arg->kind == MAMUTO_ARG_BROADCAST_VAR;
    mamuto_call_t call = { .args = { *arg }, .count = broadcast };
    struct check c = { type, &call, run, err, -1 };
    int code = check_number(&c);
    if (!code)
        code = check_kind(&c, 0);
    if (!code)
        code = check_count(&c);
    if (!code && run->n)
        code = check_input(&c, 0);
    return code;
}
