/* A fold is exactly "T, T -> T". T is the output of the function whose results are folded: the same element type, and the
 * same shape once the dims are bound. A fold has dims of its own ("f8[k], f8[k] -> f8[k]"): they get their values here.
 */
#include "core/fold.h"

#include "core/error.h"

static bool same_type(const struct mm_type *a, const struct mm_type *b)
{
    bool same = strcmp(a->dtype, b->dtype) == 0 && a->rank == b->rank && a->variable == b->variable;
    for (int i = 0; same && i < a->rank; i++)
        same = a->shape[i].fixed == b->shape[i].fixed && (a->shape[i].fixed || a->shape[i].name == b->shape[i].name);
    return same;
}

int mm_fold_check_form(const struct mm_function *fold, mamuto_error_t *err)
{
    const struct mm_signature *signature = &fold->signature;
    if (signature->n_in != 2 || !same_type(&signature->in[0], &signature->in[1]) ||
        !same_type(&signature->in[0], &signature->out))
        return mm_error_set(err, MAMUTO_ESIGNATURE, "%s.%s: \"%s\" is no fold; a fold is \"T, T -> T\"",
                            fold->info.module, fold->info.name, fold->info.signature);
    if (signature->out.variable)
        return mm_error_set(err, MAMUTO_ESIGNATURE,
                            "%s.%s: \"%s\" folds values of variable length; a fold's T is of "
                            "fixed size",
                            fold->info.module, fold->info.name, fold->info.signature);
    return 0;
}

static uint64_t dim_value(const struct mm_dim *dim, const size_t *dims)
{
    return dim->fixed ? dim->fixed : dims[dim->name];
}

int mm_fold_bind(const struct mm_function *fold, const struct mm_function *function, const size_t *dims,
                 size_t *fold_dims, mamuto_error_t *err)
{
    const struct mm_type *t = &fold->signature.out, *out = &function->signature.out;
    bool same = strcmp(t->dtype, out->dtype) == 0 && t->rank == out->rank && !out->variable;
    for (int j = 0; j < MAMUTO_MAX_DIMS; j++)
        fold_dims[j] = 0;
    for (int i = 0; same && i < t->rank; i++) {
        uint64_t value = dim_value(&out->shape[i], dims);
        if (!t->shape[i].fixed && !fold_dims[t->shape[i].name])
            fold_dims[t->shape[i].name] = (size_t)value;
        same = dim_value(&t->shape[i], fold_dims) == value;
    }
    if (same)
        return 0;
    return mm_error_set(err, MAMUTO_ESIGNATURE,
                        "%s.%s (\"%s\") does not fold what %s.%s (\"%s\") returns: T must be that, with these dims",
                        fold->info.module, fold->info.name, fold->info.signature, function->info.module,
                        function->info.name, function->info.signature);
}
