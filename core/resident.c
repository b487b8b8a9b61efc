/* A call's resident arguments: what was kept takes their place before the call is checked, so that kept data is mapped
 * exactly as the same array in place would be. What only a resident argument can be wrong in is checked here: whose it
 * is, whether it is kept, and its type, which must be the function's. Number and lengths are core/args.c's.
 * Called for each call, by core/map.c and core/reduce.c; costs nothing where no argument is resident.
 */
#include "core/error.h"
#include "core/mapper.h"

static bool is_resident(const mamuto_arg_t *arg) { return arg->kind == MAMUTO_ARG_RESIDENT; }

static int check_handle(const mamuto_t *m, const struct mm_function *function, int k, const mamuto_kept_t *kept,
                        mamuto_error_t *err)
{
    const char *module = function->info.module, *name = function->info.name;
    if (!kept)
        return mm_error_set(err, MAMUTO_EARGS, "%s.%s: argument %d is resident, but what is kept is NULL", module, name,
                            k);
    if (kept->mapper != m)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "%s.%s: argument %d is kept by another mapper: keep it with this one, too", module, name,
                            k);
    if (kept->state == MM_KEEPING)
        return mm_error_set(err, MAMUTO_EINVAL, "%s.%s: argument %d is not kept yet: wait for on_kept", module, name,
                            k);
    if (kept->state == MM_FORGOTTEN)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "%s.%s: argument %d was forgotten; only maps that had begun before may still use it",
                            module, name, k);
    return 0;
}

/* The shape that the function takes there; false: a dim has no value, which core/args.c says better. */
static bool expect(const struct mm_function *function, const mamuto_call_t *call, int k, struct mm_type *type)
{
    *type = function->signature.in[k];
    mm_type_bind(type, call->dims);
    for (int j = 0; j < type->rank; j++)
        if (!type->shape[j].fixed)
            return false;
    return true;
}

static int check_type(const struct mm_function *function, const mamuto_call_t *call, int k, const mamuto_kept_t *kept,
                      mamuto_error_t *err)
{
    struct mm_type type;
    char has[MM_TYPE_TEXT], takes[MM_TYPE_TEXT];
    if (k >= function->signature.n_in || !expect(function, call, k, &type) || mm_type_is_equal(&type, &kept->type))
        return 0;
    mm_type_show(&kept->type, has);
    mm_type_show(&type, takes);
    return mm_error_set(err, MAMUTO_EARGS, "%s.%s: argument %d is kept as \"%s\", and the function takes \"%s\" there",
                        function->info.module, function->info.name, k, has, takes);
}

static void replace(mamuto_arg_t *arg)
{
    const struct mamuto_kept *kept = arg->kept;
    const struct mm_run_arg *in = &kept->keep.in;
    arg->kind = kept->kind;
    if (kept->kind == MAMUTO_ARG_STRIDED && in->stride == (ptrdiff_t)in->size)
        arg->kind = MAMUTO_ARG_SCATTER;
    arg->data = in->data;
    arg->count = kept->kind == MAMUTO_ARG_BROADCAST_VAR ? in->len : (size_t)kept->keep.n;
    arg->stride = arg->kind == MAMUTO_ARG_STRIDED ? in->stride : 0;
    arg->offsets = in->offsets;
    if (kept->kind == MAMUTO_ARG_BROADCAST)
        arg->count = 0;
}

/* Where there are resident arguments, *call becomes *room, the same call with what is kept in their place. */
static int resolve(const mamuto_t *m, const struct mm_function *function, const mamuto_call_t **call,
                   mamuto_call_t *room, mamuto_error_t *err)
{
    const mamuto_call_t *given = *call;
    for (int k = 0; k < MAMUTO_MAX_ARGS && given->args[k].kind != MAMUTO_ARG_NONE; k++) {
        if (!is_resident(&given->args[k]))
            continue;
        const mamuto_kept_t *kept = given->args[k].kept;
        int code = check_handle(m, function, k, kept, err);
        if (!code)
            code = check_type(function, given, k, kept, err);
        if (code)
            return code;
        if (*call == given)
            *room = *given;
        *call = room;
        replace(&room->args[k]);
    }
    return 0;
}

static void mark(const mamuto_call_t *given, struct mm_run *run)
{
    for (int k = 0; k < run->n_in; k++) {
        union {
            const mamuto_kept_t *given; /* const for the caller's sake: the handle is the mapper's own */
            struct mamuto_kept *own;
        } kept = { .given = given->args[k].kept };
        run->in[k].keep = is_resident(&given->args[k]) ? &kept.own->keep : NULL;
    }
}

int mm_resident_check(const mamuto_t *m, const struct mm_function *function, const mamuto_call_t *call,
                      struct mm_run *run, mamuto_error_t *err)
{
    const mamuto_call_t *in_place = call;
    mamuto_call_t room;
    int code = resolve(m, function, &in_place, &room, err);
    if (!code)
        code = mm_args_check(function, in_place, run, err);
    if (!code)
        mark(call, run);
    return code;
}
