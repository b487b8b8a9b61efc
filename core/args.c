/* A call's arguments against the signature: number, kind, lengths, sizes, alignment, overlap. Pure: looks at pointers,
 * never through them. Every product and sum of sizes is checked for overflow before anything runs. Each failure is a
 * whole sentence that names the function, the argument and what would be right.
 */
#include "core/error.h"
#include "core/mapper.h"

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

static int check_kind(struct check *c, int k)
{
    const mamuto_arg_t *arg = &c->call->args[k];
    if (c->function->signature.in[k].variable)
        return FAIL(c, MAMUTO_ESIGNATURE,
                    "argument %d is of variable length (\"%s\"), which cannot be mapped by this "
                    "version",
                    k, c->function->info.signature);
    if (arg->kind != MAMUTO_ARG_SCATTER && arg->kind != MAMUTO_ARG_BROADCAST)
        return FAIL(c, MAMUTO_EARGS,
                    "argument %d is of no known kind (%d): make it with mamuto_scatter or "
                    "mamuto_broadcast",
                    k, arg->kind);
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
        if (arg->kind != MAMUTO_ARG_SCATTER)
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

/* Bytes of n items of size, which must end before the address space does. */
static int check_span(struct check *c, const char *what, const void *data, uint64_t n, size_t size, uint64_t *bytes)
{
    uint64_t end;
    if (__builtin_mul_overflow(n, size, bytes) || *bytes > INT64_MAX ||
        __builtin_add_overflow((uint64_t)(uintptr_t)data, *bytes, &end))
        return FAIL(c, MAMUTO_ESIZE, "%s of %" PRIu64 " items of %zu bytes does not fit into memory", what, n, size);
    return 0;
}

static int check_array(struct check *c, const char *what, const struct mm_type *type, const void *data, uint64_t n,
                       size_t size, uint64_t *bytes)
{
    int code = check_span(c, what, data, n, size, bytes);
    if (code)
        return code;
    if (!data)
        return FAIL(c, MAMUTO_EARGS, "%s is NULL, and %" PRIu64 " bytes are expected there", what, *bytes);
    if ((uintptr_t)data % type->elem_align)
        return FAIL(c, MAMUTO_EALIGN, "%s begins at an address that is no multiple of %u, as \"%s\" needs", what,
                    (unsigned)type->elem_align, type->dtype);
    return 0;
}

static int check_input(struct check *c, int k, uint64_t *bytes)
{
    const mamuto_arg_t *arg = &c->call->args[k];
    const struct mm_type *type = &c->function->signature.in[k];
    struct mm_run_arg *in = &c->run->in[k];
    char what[24] = "argument 0";
    what[sizeof "argument " - 1] = (char)('0' + k);
    bool scatter = arg->kind == MAMUTO_ARG_SCATTER;
    int code = mm_type_size(type, &c->function->signature, c->run->dims, &in->len, &in->size, c->err);
    if (!code)
        code = check_array(c, what, type, arg->data, scatter ? c->run->n : 1, in->size, bytes);
    if (!code && arg->stride && (!scatter || arg->stride != (ptrdiff_t)in->size))
        code = FAIL(c, MAMUTO_EARGS,
                    "%s has a stride of %td bytes; only packed arrays (%zu) can be mapped by this version", what,
                    arg->stride, in->size);
    in->data = arg->data;
    in->offsets = NULL;
    in->stride = scatter ? (ptrdiff_t)in->size : 0;
    return code;
}

static bool overlap(const void *a, uint64_t a_bytes, const void *b, uint64_t b_bytes)
{
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return x < y ? y - x < a_bytes : x - y < b_bytes;
}

static int check_arrays(struct check *c)
{
    const struct mm_signature *signature = &c->function->signature;
    struct mm_run *run = c->run;
    uint64_t bytes[MAMUTO_MAX_ARGS], result_bytes;
    int code = 0;
    for (int k = 0; k < run->n_in && !code && run->n; k++)
        code = check_input(c, k, &bytes[k]);
    if (!code && signature->out.variable)
        return 0; /* made by the library */
    if (!code)
        code = mm_type_size(&signature->out, signature, run->dims, &run->out_len, &run->out_size, c->err);
    run->result = c->call->result;
    run->result_stride = (ptrdiff_t)run->out_size;
    if (code || run->n == 0 || (c->call->fold && !run->result))
        return code;
    code = check_array(c, "the result", &signature->out, run->result, run->n, run->out_size, &result_bytes);
    for (int k = 0; k < run->n_in && !code; k++)
        if (overlap(run->result, result_bytes, run->in[k].data, bytes[k]))
            code = FAIL(c, MAMUTO_EOVERLAP, "the result overlaps argument %d: give it an array of its own", k);
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
    if (variable && c->function->info.form != MAMUTO_FORM_ITEM)
        return FAIL(c, MAMUTO_ESIGNATURE,
                    "a kernel cannot have a result of variable length (\"%s\"): write it with MAMUTO_FUNCTION",
                    signature);
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
    run->groups = NULL;
    run->marks = NULL;
    run->first = 0;
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
    uint64_t bytes;
    int code = check_number(&c);
    if (!code)
        code = check_kind(&c, 0);
    if (!code)
        code = check_count(&c);
    if (!code && run->n)
        code = check_input(&c, 0, &bytes);
    return code;
}
