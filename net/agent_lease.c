/* The arrays of a lease: one stretch of the arena, in which everything that comes and everything that goes has its place, and
 * a run that points into it, its items numbered as in the whole call.
 *
 * Sizes are the master's, and are held against the signature that this host found in the module: a run that does not fit its
 * function is refused before anything of it is on the board. Called by net/agent_run.c.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/span.h"
#include "net/agent.h"

/* --- a call against its function ---------------------------------------------------------------------------------- */

static bool find_function(const struct mm_agent *agent, uint32_t module, uint32_t index, struct mm_function *function)
{
    if (module >= MM_MAX_MODULES || !agent->modules[module].there || index >= agent->modules[module].n)
        return false;
    *function = agent->modules[module].functions[index];
    return true;
}

static bool is_size(const struct mm_type *type, const struct mm_signature *sig, const uint64_t *dims, uint64_t size,
                    uint64_t len, bool variable)
{
    size_t bound[MAMUTO_MAX_DIMS], n = 0, bytes = 0;
    for (int j = 0; j < MAMUTO_MAX_DIMS; j++)
        bound[j] = (size_t)dims[j];
    if (type->variable)
        return variable ? size == type->elem_bytes
                        : len <= INT64_MAX / type->elem_bytes && size == len * type->elem_bytes;
    return !variable && mm_type_size(type, sig, bound, &n, &bytes, NULL) == 0 && size == bytes && len == n;
}

static bool is_call_of(const struct mm_call_body *body, const struct mm_signature *sig)
{
    if (body->n_in != (uint32_t)sig->n_in || body->n_dims != (uint32_t)sig->n_dims || sig->out.variable)
        return false;
    for (uint32_t k = 0; k < body->n_in; k++)
        if (!is_size(&sig->in[k], sig, body->dims, body->in[k].size, body->in[k].len, body->in[k].variable))
            return false;
    return is_size(&sig->out, sig, body->dims, body->out_size, body->out_len, false);
}

int mm_agent_check_call(struct mm_agent *agent, struct mm_agent_call *call, const char **why)
{
    const struct mm_call_body *body = &call->body;
    bool fold_only = body->flags & MM_CALL_FOLD_ONLY, groups = body->flags & MM_CALL_GROUPS;
    *why = "there is no such function";
    if (!fold_only && !find_function(agent, body->module, body->function, &call->function))
        return MAMUTO_EPROTOCOL;
    if (groups && !find_function(agent, body->fold_module, body->fold_function, &call->fold))
        return MAMUTO_EPROTOCOL;
    *why = "it does not fit its function's signature";
    if (!fold_only && !is_call_of(body, &call->function.signature))
        return MAMUTO_EPROTOCOL;
    if (fold_only && (body->n_in != 1 || body->in[0].variable || body->in[0].size != body->out_size))
        return MAMUTO_EPROTOCOL;
    const struct mm_signature *fold = &call->fold.signature;
    if (groups && (fold->n_in != 2 || fold->out.variable || body->n_fold_dims != (uint32_t)fold->n_dims ||
                   !is_size(&fold->out, fold, body->fold_dims, body->out_size, body->out_len, false)))
        return MAMUTO_EPROTOCOL;
    return 0;
}

/* --- its room ----------------------------------------------------------------------------------------------------- */

/* A stretch of the room; which begins at *at. */
static char *take(uint64_t *at, char *room, uint64_t bytes)
{
    char *p = room ? room + *at : NULL;
    *at += (bytes + MM_LINE - 1) / MM_LINE * MM_LINE;
    return p;
}

static bool is_sent(const struct mm_call_argument *in) { return in->kind == MM_ARGUMENT_SCATTER; }

/* Places everything in the room; the bytes that it takes. Called with none first. */
static uint64_t lay_out(struct mm_agent_lease *lease, char *room)
{
    const struct mm_call_body *body = &lease->call->body;
    uint64_t at = 0;
    lease->result = take(&at, room, lease->run.n * body->out_size);
    lease->absent_out = lease->absent_bytes ? take(&at, room, lease->run.n) : NULL;
    lease->marks = body->flags & MM_CALL_MARKS ? take(&at, room, lease->run.n) : NULL;
    lease->absent = lease->absent_bytes ? take(&at, room, lease->absent_bytes) : NULL;
    for (uint32_t k = 0; k < body->n_in; k++) {
        lease->items[k] = is_sent(&body->in[k]) ? take(&at, room, lease->items_bytes[k]) : NULL;
        lease->offsets[k] = lease->offsets_bytes[k] ? take(&at, room, lease->offsets_bytes[k]) : NULL;
    }
    return at;
}

static int wrong(mamuto_error_t *err, const char *text) { return mm_error_set(err, MAMUTO_EPROTOCOL, "%s", text); }

/* What will come of its arguments; kept ones are held. */
static int fill_inputs(struct mm_agent *agent, struct mm_agent_lease *lease, const struct mm_run_body *run,
                       mamuto_error_t *err)
{
    const struct mm_call_body *body = &lease->call->body;
    uint64_t n = mm_run_n_items(&lease->run), bytes;
    if (run->n_in != body->n_in)
        return wrong(err, "it has not as many arguments as its call");
    for (uint32_t k = 0; k < body->n_in; k++) {
        const struct mm_call_argument *in = &body->in[k];
        if (in->kind == MM_ARGUMENT_KEPT) {
            if (!(lease->kept[k] = mm_agent_object(agent, in->object)))
                return wrong(err, "an argument names data that is not kept");
            lease->kept[k]->users++;
        }
        if (!is_sent(in))
            continue;
        if (__builtin_mul_overflow(n, in->size, &bytes) || (!in->variable && run->bytes[k] != bytes) ||
            run->bytes[k] > INT64_MAX || (in->variable && run->bytes[k] % in->size))
            return wrong(err, "an argument's size is not that of its items");
        lease->items_bytes[k] = run->bytes[k];
        lease->offsets_bytes[k] = in->variable ? (n + 1) * sizeof(int64_t) : 0;
        lease->missing += (lease->items_bytes[k] ? 1U : 0U) + (lease->offsets_bytes[k] ? 1U : 0U);
    }
    if (body->flags & MM_CALL_ABSENT) {
        lease->absent_bytes = n;
        lease->missing++;
    }
    return 0;
}

static int fill_run(struct mm_agent_lease *lease, const struct mm_run_body *run, mamuto_error_t *err)
{
    const struct mm_call_body *body = &lease->call->body;
    struct mm_run *to = &lease->run;
    *to = (struct mm_run){ .function = body->flags & MM_CALL_FOLD_ONLY ? NULL : &lease->call->function,
                           .first = run->lo,
                           .n = run->hi - run->lo,
                           .n_in = (int)body->n_in,
                           .out_size = body->out_size,
                           .out_len = body->out_len,
                           .result_stride = (ptrdiff_t)body->out_size,
                           .seed = body->seed,
                           .item_timeout_ms = body->item_timeout_ms,
                           .retries = body->retries,
                           .priority = body->priority,
                           .fail_fast = body->flags & MM_CALL_FAIL_FAST,
                           .once = body->flags & MM_CALL_ONCE };
    for (unsigned j = 0; j < MAMUTO_MAX_DIMS; j++)
        to->dims[j] = (size_t)body->dims[j];
    uint64_t bytes;
    if (__builtin_mul_overflow(to->n, body->out_size, &bytes) || bytes > INT64_MAX)
        return wrong(err, "its results are more than can be counted");
    if (!(body->flags & MM_CALL_GROUPS))
        return 0;
    uint64_t begin, end;
    lease->groups = (struct mm_groups){ .fold = &lease->call->fold,
                                        .n_items = body->n_items,
                                        .group_items = body->group_items,
                                        .leaf_items = body->leaf_items,
                                        .values = body->flags & MM_CALL_VALUES };
    for (unsigned j = 0; j < MAMUTO_MAX_DIMS; j++)
        lease->groups.dims[j] = (size_t)body->fold_dims[j];
    to->groups = &lease->groups;
    if (__builtin_mul_overflow(run->lo, body->group_items, &begin) ||
        __builtin_mul_overflow(run->hi - 1, body->group_items, &end) || end >= body->n_items)
        return wrong(err, "its groups are not of the call");
    return 0;
}

int mm_agent_make_lease(struct mm_agent *agent, struct mm_agent_lease *lease, const struct mm_run_body *run,
                        mamuto_error_t *err)
{
    int code = fill_run(lease, run, err);
    if (!code)
        code = fill_inputs(agent, lease, run, err);
    if (code)
        return code;
    uint64_t bytes = lay_out(lease, NULL);
    bool values = true; /* of broadcast arguments: was there memory for them? */
    for (uint32_t k = 0; k < lease->call->body.n_in; k++) {
        const struct mm_call_argument *in = &lease->call->body.in[k];
        values &= in->kind != MM_ARGUMENT_BROADCAST || !in->size || lease->call->values[k];
    }
    if (!values)
        return mm_error_set(err, MAMUTO_ENOMEM, "there is no memory for the call's broadcast values");
    lease->room = mm_agent_take(agent, bytes, err);
    if (!lease->room)
        return err->code;
    lease->bytes = bytes;
    lay_out(lease, lease->room);
    return 0;
}

/* --- ready -------------------------------------------------------------------------------------------------------- */

/* Offsets that have come: do they run forward, within what has come? */
static bool are_offsets(const int64_t *offsets, uint64_t n, uint64_t elements)
{
    if (offsets[0] != 0 || offsets[n] < 0 || (uint64_t)offsets[n] != elements)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (offsets[i + 1] < offsets[i])
            return false;
    return true;
}

/* Kept data is of the whole call: is this lease's part of it there? */
static int point_at_kept(const struct mm_agent_object *o, const struct mm_call_argument *in, struct mm_run_arg *arg,
                         uint64_t end, mamuto_error_t *err)
{
    uint64_t bytes;
    arg->data = o->bytes[MM_WHAT_ITEMS];
    if (in->variable) {
        if (o->total[MM_WHAT_OFFSETS] / sizeof(int64_t) <= end)
            return wrong(err, "the kept data has fewer items");
        arg->offsets = (const int64_t *)(const void *)o->bytes[MM_WHAT_OFFSETS];
        arg->low = 0;
        arg->high = (int64_t)(o->total[MM_WHAT_ITEMS] / (in->size ? in->size : 1));
        arg->stride = (ptrdiff_t)in->size;
        return 0;
    }
    arg->stride = in->one ? 0 : (ptrdiff_t)in->size;
    if (__builtin_mul_overflow(in->one ? 1 : end, in->size, &bytes) || bytes > o->total[MM_WHAT_ITEMS])
        return wrong(err, "the kept data has fewer items");
    return 0;
}

static int point_at(struct mm_agent_lease *lease, uint32_t k, mamuto_error_t *err)
{
    const struct mm_call_argument *in = &lease->call->body.in[k];
    struct mm_run_arg *arg = &lease->run.in[k];
    uint64_t first = mm_run_first_item(&lease->run), n = mm_run_n_items(&lease->run);
    *arg = (struct mm_run_arg){ .size = in->size, .len = in->len };
    if (lease->kept[k])
        return point_at_kept(lease->kept[k], in, arg, first + n, err);
    if (!is_sent(in)) {
        arg->data = lease->call->values[k];
        return 0;
    }
    arg->stride = (ptrdiff_t)in->size;
    if (!in->variable) {
        arg->data = mm_span_array(lease->items[k], first * in->size);
        return 0;
    }
    const int64_t *offsets = (const int64_t *)(const void *)lease->offsets[k];
    uint64_t elements = lease->items_bytes[k] / in->size;
    if (!are_offsets(offsets, n, elements))
        return wrong(err, "offsets that run back, or beyond their elements");
    arg->data = lease->items[k];
    arg->offsets = mm_span_array(lease->offsets[k], first * sizeof *offsets);
    arg->high = (int64_t)elements;
    return 0;
}

int mm_agent_ready_lease(struct mm_agent *agent, struct mm_agent_lease *lease, mamuto_error_t *err)
{
    int code = 0;
    (void)agent;
    for (uint32_t k = 0; k < lease->call->body.n_in && !code; k++)
        code = point_at(lease, k, err);
    if (code)
        return code;
    mm_span_narrow(&lease->run);
    lease->run.result = mm_span_array(lease->result, lease->run.first * lease->run.out_size);
    lease->run.marks = (uint8_t *)lease->marks;
    if (lease->marks)
        memset(lease->marks, 0, lease->run.n);
    lease->groups.absent = (const uint8_t *)lease->absent;
    lease->groups.absent_out = (uint8_t *)lease->absent_out;
    return 0;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static int send_piece(struct mm_agent *agent, struct mm_agent_lease *lease, enum mm_frame_what what, uint64_t lo,
                      uint64_t n, const char *at, uint64_t bytes)
{
    struct mm_frame frame = { .type = MM_FRAME_RESULT, .id = lease->id, .part = what, .lo = lo, .hi = lo + n };
    lease->sending++;
    return mm_stream_send_source(mm_agent_stream(agent), &frame, &lease->source, (uint64_t)(at - lease->room), bytes);
}

/* A byte an item, or the items themselves: in pieces of whole items that fit into a frame, or an item alone. */
static int send_pieces(struct mm_agent *agent, struct mm_agent_lease *lease, enum mm_frame_what what, const char *at,
                       uint64_t size)
{
    uint64_t most = (MM_FRAME_MOST - mm_frame_prefix(MM_FRAME_RESULT)) / size, left = lease->run.n;
    uint64_t lo = lease->run.first;
    int code = 0;
    for (uint64_t n; left && !code; left -= n, lo += n, at += n * size) {
        n = most < 1 ? 1 : most < left ? most : left;
        code = send_piece(agent, lease, what, lo, n, at, n * size);
    }
    return code;
}

int mm_agent_send_result(struct mm_agent *agent, struct mm_agent_lease *lease)
{
    int code = lease->marks ? send_pieces(agent, lease, MM_WHAT_MARKS, lease->marks, 1) : 0;
    if (!code && lease->absent_out)
        code = send_pieces(agent, lease, MM_WHAT_ABSENT, lease->absent_out, 1);
    return code ? code : send_pieces(agent, lease, MM_WHAT_ITEMS, lease->result, lease->run.out_size);
}
