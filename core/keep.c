/* Kept data: from mamuto_keep to the end of the last map that uses it.
 *
 *   checked ──► KEEPING ── on_kept, 0 ──► KEPT ── forget ──► FORGOTTEN ── no map uses it ──► dropped, freed
 *                  ├────── on_kept, a code ──────────────────────────────────────────────────► freed
 *                  └────── forget ──► FORGOTTEN ── on_kept, ECANCELED ───────────────────────► freed
 *
 * A handle is in one of two lists: in flight (on_kept is owed), or kept. It has a user for each map in flight that names
 * it, and one while its on_kept runs, and is freed when it is forgotten and has none: so forget is legal at any time.
 * Close ends what is in flight by on_kept; the memory goes with the node, the other handles with the mapper.
 * Called on the loop's thread. The copying is the node's; core/resident.c puts what is kept into calls.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/mapper.h"

static void put(struct mamuto_kept **list, struct mamuto_kept *kept)
{
    kept->previous = NULL;
    kept->next = *list;
    if (*list)
        (*list)->previous = kept;
    *list = kept;
}

static void take_out(struct mamuto_kept **list, struct mamuto_kept *kept)
{
    if (kept->previous)
        kept->previous->next = kept->next;
    else
        *list = kept->next;
    if (kept->next)
        kept->next->previous = kept->previous;
}

/* --- the call ----------------------------------------------------------------------------------------------------- */

static int check_state(const mamuto_t *m, const char *what, const mamuto_keep_t *keep, mamuto_error_t *err)
{
    int code = mm_mapper_check_process(m, what, err);
    if (code)
        return code;
    if (!keep)
        return mm_error_set(err, MAMUTO_EINVAL, "%s: keep is NULL", what);
    if (m->state == MM_OPEN)
        return 0;
    static const char *const why[] = { "is not open yet: wait for on_open", "", "could not be opened: close it",
                                       "is being closed" };
    return mm_error_set(err, MAMUTO_EINVAL, "%s: the mapper %s", what, why[m->state]);
}

static int check_reserved(const mamuto_keep_t *keep, const char *what, mamuto_error_t *err)
{
    for (size_t i = 0; i < sizeof keep->reserved / sizeof *keep->reserved; i++)
        if (keep->reserved[i])
            return mm_error_set(err, MAMUTO_EINVAL,
                                "%s: the keep's reserved field %zu is not 0: zero the struct before it is filled", what,
                                i);
    if (keep->arg.kind == MAMUTO_ARG_RESIDENT)
        return mm_error_set(err, MAMUTO_EARGS, "%s: the argument is resident, so it is kept already", what);
    return 0;
}

static int check_dims(const struct mm_signature *type, const mamuto_keep_t *keep, const char *what, mamuto_error_t *err)
{
    for (int j = 0; j < MAMUTO_MAX_DIMS; j++) {
        if (j < type->n_dims && !keep->dims[j])
            return mm_error_set(err, MAMUTO_EARGS, "%s: the dim \"%s\" has no value: set keep.dims[%d] to at least 1",
                                what, type->dims[j], j);
        if (j >= type->n_dims && keep->dims[j])
            return mm_error_set(err, MAMUTO_EARGS, "%s: keep.dims[%d] is set, but \"%s\" has %d named dims", what, j,
                                keep->type, type->n_dims);
    }
    return 0;
}

/* Checks the argument as that of a function that takes nothing else. */
static int fill(struct mamuto_kept *kept, const mamuto_keep_t *keep, const char *what, mamuto_error_t *err)
{
    struct mm_function type = { .info = { .name = what, .module = "", .signature = keep->type } };
    struct mm_run run = { 0 };
    int code = check_reserved(keep, what, err);
    if (!code)
        code = mm_type_parse(&type.signature, keep->type, err);
    if (!code)
        code = check_dims(&type.signature, keep, what, err);
    if (code)
        return code;
    memcpy(run.dims, keep->dims, sizeof run.dims);
    code = mm_args_check_keep(&type, &keep->arg, &run, err);
    kept->type = type.signature.in[0];
    mm_type_bind(&kept->type, keep->dims);
    kept->kind = keep->arg.kind;
    kept->keep.in = run.in[0];
    kept->keep.n = run.n;
    kept->data = keep->data;
    kept->on_kept = keep->on_kept;
    return code;
}

static int submit(mamuto_t *m, const mamuto_keep_t *keep, mamuto_kept_t **handle, struct mm_waited *waited,
                  mamuto_error_t *err)
{
    const char *what = waited ? "mamuto_keep_wait" : "mamuto_keep";
    int code = check_state(m, what, keep, err);
    if (code)
        return code;
    struct mamuto_kept *kept = mm_alloc(sizeof *kept);
    if (!kept)
        return mm_error_set(err, MAMUTO_ENOMEM, "%s: no memory for a handle", what);
    kept->mapper = m;
    kept->state = MM_KEEPING;
    kept->waited = waited;
    kept->keep.wait = waited != NULL;
    code = fill(kept, keep, what, err);
    if (!code)
        code = m->ops->keep(m->node, &kept->keep, err);
    if (code) {
        mm_free(kept);
        return code;
    }
    put(&m->keeping, kept);
    mm_mapper_hold(m);
    *handle = kept;
    return 0;
}

int mamuto_keep(mamuto_t *m, const mamuto_keep_t *keep, mamuto_kept_t **kept, mamuto_error_t *err)
{
    mamuto_kept_t *handle = NULL;
    if (!kept && (!keep || !keep->on_kept))
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_keep: there is nowhere to put the handle (kept is NULL, and there is no on_kept)");
    int code = submit(m, keep, &handle, NULL, err);
    if (!code && kept)
        *kept = handle;
    return code;
}

int mamuto_keep_wait(mamuto_t *m, const mamuto_keep_t *keep, mamuto_kept_t **kept, mamuto_error_t *err)
{
    mamuto_kept_t *handle = NULL;
    struct mm_waited waited = { .err = err };
    int code = mm_mapper_may_wait(m, "mamuto_keep_wait", err);
    if (code)
        return code;
    if (!kept)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_keep_wait: there is nowhere to put the handle (kept is NULL)");
    code = submit(m, keep, &handle, &waited, err);
    if (code)
        return code;
    while (!waited.over)
        uv_run(&m->own_loop, UV_RUN_ONCE);
    if (waited.status == 0)
        *kept = handle;
    return waited.status;
}

/* --- its end -------------------------------------------------------------------------------------------------------- */

/* Forgotten, and nobody uses it: the memory is given back. After close has begun, it goes with the node. */
static void destroy(struct mamuto_kept *kept)
{
    mamuto_t *m = kept->mapper;
    if (m->node && !m->node_closing)
        m->ops->drop(m->node, &kept->keep);
    take_out(&m->kept, kept);
    mm_free(kept);
}

static void leave(struct mamuto_kept *kept)
{
    if (--kept->users == 0 && kept->state == MM_FORGOTTEN)
        destroy(kept);
}

int mamuto_forget(mamuto_kept_t *kept)
{
    if (!kept)
        return 0;
    mamuto_t *m = kept->mapper;
    if (mm_mapper_check_process(m, "mamuto_forget", NULL) || kept->state == MM_FORGOTTEN)
        return MAMUTO_EINVAL;
    bool in_flight = kept->state == MM_KEEPING;
    kept->state = MM_FORGOTTEN;
    if (!in_flight && !kept->users)
        destroy(kept);
    else if (in_flight && m->node && !m->node_closing) /* else close ends it */
        m->ops->cancel_keep(m->node, &kept->keep);
    return 0;
}

static struct mamuto_kept *kept_of(struct mm_keep *keep) { return (struct mamuto_kept *)(void *)keep; }

void mm_keep_hold(const struct mm_run *run)
{
    for (int k = 0; k < run->n_in; k++)
        if (run->in[k].keep)
            kept_of(run->in[k].keep)->users++;
}

void mm_keep_release(const struct mm_run *run)
{
    for (int k = 0; k < run->n_in; k++)
        if (run->in[k].keep)
            leave(kept_of(run->in[k].keep));
}

/* --- on_kept ---------------------------------------------------------------------------------------------------------- */

static void call_back(struct mamuto_kept *kept, int status, const mamuto_error_t *err)
{
    mamuto_t *m = kept->mapper;
    m->depth++;
    if (kept->on_kept)
        kept->on_kept(kept, status, status ? err : NULL);
    m->depth--;
}

/* Who waits gets no handle of what its own on_kept has forgotten. */
static void tell_waiting(const struct mamuto_kept *kept, int status, const mamuto_error_t *err)
{
    struct mm_waited *waited = kept->waited;
    if (!waited)
        return;
    if (!status && kept->state == MM_FORGOTTEN)
        status = mm_error_set(waited->err, MAMUTO_ECANCELED, "mamuto_keep_wait: it was forgotten in its on_kept");
    else if (status)
        mm_error_copy(waited->err, err);
    waited->status = status;
    waited->over = true;
}

static void deliver_failed(struct mamuto_kept *kept, int status, const mamuto_error_t *err)
{
    mamuto_t *m = kept->mapper;
    take_out(&m->keeping, kept);
    kept->state = MM_FORGOTTEN;
    call_back(kept, status, err);
    tell_waiting(kept, status, err);
    mm_free(kept);
    mm_mapper_release(m);
}

static void deliver_canceled(struct mamuto_kept *kept)
{
    mamuto_error_t err = { 0 };
    int code = mm_error_set(&err, MAMUTO_ECANCELED, "mamuto_keep: %s",
                            kept->state == MM_FORGOTTEN ? "forgotten before it was kept" : "the mapper was closed");
    deliver_failed(kept, code, &err);
}

void mm_keep_on_kept(void *owner, struct mm_keep *keep, int status, const mamuto_error_t *err)
{
    mamuto_t *m = owner;
    struct mamuto_kept *kept = kept_of(keep);
    if (kept->state == MM_FORGOTTEN) { /* whatever has become of it meanwhile */
        if (status == 0)
            m->ops->drop(m->node, keep);
        deliver_canceled(kept);
        return;
    }
    if (status) {
        deliver_failed(kept, status, err);
        return;
    }
    take_out(&m->keeping, kept);
    put(&m->kept, kept);
    kept->state = MM_KEPT;
    kept->users++;
    call_back(kept, 0, NULL);
    tell_waiting(kept, 0, NULL);
    leave(kept);
    mm_mapper_release(m);
}

void mm_keep_cancel_all(mamuto_t *m)
{
    while (m->keeping)
        deliver_canceled(m->keeping);
}

void mm_keep_free_all(mamuto_t *m)
{
    struct mamuto_kept *kept;
    while ((kept = m->kept) != NULL) {
        take_out(&m->kept, kept);
        mm_free(kept);
    }
}

void *mamuto_kept_data(const mamuto_kept_t *kept) { return kept->data; }
