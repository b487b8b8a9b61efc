/* Kept arrays: one extent of the arena each, filled once, read in place by every map that names it.
 *
 *   NO_ROOM ── memory came back ──► COPYING ── all copied ──► OVER ── reported, 0 ──► kept ── drop ──► room given back
 *      └──────── no memory, a cancel, an array that is not there ──────────► OVER ── reported with a code ──► gone
 *
 * New pages are taken and bytes are copied by a copier's thread of the keeper's own, so that the caller's loop goes on,
 * and maps of private arrays are not held up; a caller that waits does both itself. Every page of the caller's array is
 * looked at before it is read: one that is not readable is an error, not the program's SIGSEGV.
 * A keep waits for room only while memory is on its way back to the kernel. What is kept is the node's no more than to
 * give it back: keep->job is then its extent.
 * Called on the owner's thread, by shm/node_shm.c; reports from mm_keeper_go_on and mm_keeper_lose alone.
 */
#include "shm/keep.h"

#include "core/alloc.h"
#include "core/span.h"

#include <unistd.h>

/* --- what is copied where ------------------------------------------------------------------------------------------ */

/* Where the caller's items lie; nowhere, if there are none. */
static struct mm_span span_of(const struct mm_keep *keep)
{
    struct mm_run run = { .n = keep->n, .n_in = 1, .in = { keep->in } };
    return keep->n ? mm_span_of_input(&run, 0) : (struct mm_span){ 0 };
}

static uint64_t items_bytes(const struct mm_keep *keep)
{
    return mm_span_is_apart(&keep->in) ? keep->n * keep->in.size : span_of(keep).bytes;
}

static uint64_t offsets_bytes(const struct mm_keep *keep)
{
    return keep->in.offsets ? (keep->n + 1) * sizeof(int64_t) : 0;
}

/* Offsets come behind the items, on a line of their own. false: they do not fit into memory. */
static bool measure(const struct mm_keep *keep, uint64_t *offsets_at, uint64_t *bytes)
{
    uint64_t items = items_bytes(keep);
    *offsets_at = (items + MM_LINE - 1) / MM_LINE * MM_LINE;
    return items <= INT64_MAX - MM_LINE && !__builtin_add_overflow(*offsets_at, offsets_bytes(keep), bytes);
}

static void add_copy(struct mm_copy_job *job, char *to, const void *from, uint64_t bytes)
{
    if (bytes)
        job->copies[job->n_copies++] = (struct mm_copy){ .to = to, .from = from, .bytes = bytes };
}

static void lay_out(struct mm_keeping *keeping, bool cold)
{
    const struct mm_run_arg *in = &keeping->keep->in;
    struct mm_copy_job *job = &keeping->job;
    struct mm_span span = span_of(keeping->keep);
    *job = (struct mm_copy_job){ .owner = keeping, .into_arena = true, .cold = cold, .look = true };
    add_copy(job, keeping->room, mm_span_is_apart(in) ? span.low + span.back : span.low, items_bytes(keeping->keep));
    if (mm_span_is_apart(in) && job->n_copies) {
        job->copies[0].size = in->size;
        job->copies[0].to_stride = (ptrdiff_t)in->size;
        job->copies[0].from_stride = in->stride;
    }
    add_copy(job, keeping->room + keeping->offsets_at, in->offsets, offsets_bytes(keeping->keep));
}

/* What is kept is the copy, from now on. */
static void become_copy(struct mm_keep *keep, const struct mm_keeping *keeping)
{
    struct mm_run_arg *in = &keep->in;
    union {
        char *room;
        int64_t *offsets;
    } at = { .room = keeping->room + keeping->offsets_at };
    if (in->offsets) {
        in->data = mm_span_array(keeping->room, (uint64_t)in->low * in->size);
        in->offsets = at.offsets;
    } else if (mm_span_is_apart(in)) {
        in->data = keeping->room;
        in->stride = (ptrdiff_t)in->size;
    } else
        in->data = keeping->room + span_of(keep).back;
}

/* --- from state to state ------------------------------------------------------------------------------------------- */

static void end(struct mm_keeping *keeping, int status)
{
    keeping->state = MM_KEEPING_OVER;
    keeping->status = status;
}

static void end_canceled(struct mm_keeping *keeping)
{
    keeping->err.code = 0;
    end(keeping, mm_error_set(&keeping->err, MAMUTO_ECANCELED, "mamuto_keep: cancelled"));
}

static void end_failed(struct mm_keeping *keeping)
{
    keeping->err.code = 0;
    if (keeping->job.failure == MAMUTO_ENOMEM)
        mm_error_set(&keeping->err, MAMUTO_ENOMEM,
                     "mamuto_keep: the copy takes %llu bytes, and the system ran out of memory",
                     (unsigned long long)keeping->bytes);
    else
        mm_error_set(
            &keeping->err, MAMUTO_EARGS,
            "mamuto_keep: the array or its offsets are not readable: an address is wrong, or they end before the "
            "last item");
    end(keeping, keeping->job.failure);
}

static void copied(struct mm_keeper *keeper, struct mm_keeping *keeping)
{
    if (keeping->job.canceled) {
        end_canceled(keeping);
    } else if (keeping->job.failure) {
        end_failed(keeping);
    } else {
        mm_arena_settle(&keeper->pool->arena, keeping->room);
        end(keeping, 0);
    }
}

/* false: there is no room, and keeping->err says why. */
static bool admit(struct mm_keeper *keeper, struct mm_keeping *keeping)
{
    mamuto_error_t why = { 0 };
    bool cold;
    keeping->room = mm_arena_reserve(&keeper->pool->arena, keeping->bytes, &cold, &why);
    if (!keeping->room) {
        keeping->err.code = 0;
        mm_error_set(&keeping->err, why.code, "mamuto_keep: no room for the copy: %.400s", why.text);
        return false;
    }
    keeping->state = MM_KEEPING_COPYING;
    lay_out(keeping, cold);
    if (keeping->job.n_copies && !keeping->keep->wait) {
        mm_copier_push(&keeper->copier, &keeping->job);
        return true;
    }
    if (keeping->job.n_copies)
        mm_copier_run(&keeper->copier, &keeping->job);
    copied(keeper, keeping);
    return true;
}

/* In the order of their coming; those that find no room wait while some is on its way back. */
static void admit_waiting(struct mm_keeper *keeper)
{
    for (struct mm_keeping *keeping = keeper->first; keeping; keeping = keeping->next) {
        if (keeping->state != MM_KEEPING_NO_ROOM || admit(keeper, keeping))
            continue;
        if (mm_arena_is_punching(&keeper->pool->arena))
            return;
        end(keeping, keeping->err.code);
    }
}

static void call_owner(const struct mm_keeper *keeper)
{
    uint64_t one = 1;
    if (write(keeper->pool->event, &one, sizeof one) < 0)
        return; /* full, so it is readable */
}

int mm_keeper_begin(struct mm_keeper *keeper, struct mm_keep *keep, mamuto_error_t *err)
{
    struct mm_keeping *keeping = mm_alloc(sizeof *keeping);
    if (!keeping)
        return mm_error_set(err, MAMUTO_ENOMEM, "mamuto_keep: no memory for a copy in flight");
    int code = 0;
    if (!measure(keep, &keeping->offsets_at, &keeping->bytes))
        code = mm_error_set(err, MAMUTO_ENOMEM, "mamuto_keep: the array is larger than any memory");
    if (!code && !keep->wait)
        code = mm_copier_start(&keeper->copier, err);
    if (code) {
        mm_free(keeping);
        return code;
    }
    keeping->keep = keep;
    keep->job = keeping;
    if (keeper->last)
        keeper->last->next = keeping;
    else
        keeper->first = keeping;
    keeper->last = keeping;
    admit_waiting(keeper);
    if (keeping->state != MM_KEEPING_COPYING)
        call_owner(keeper);
    return 0;
}

static struct mm_keeping *find(const struct mm_keeper *keeper, const struct mm_keep *keep)
{
    struct mm_keeping *keeping = keeper->first;
    while (keeping && keeping->keep != keep)
        keeping = keeping->next;
    return keeping;
}

void mm_keeper_cancel(struct mm_keeper *keeper, struct mm_keep *keep)
{
    struct mm_keeping *keeping = find(keeper, keep);
    if (keeping && keeping->state == MM_KEEPING_COPYING)
        mm_copier_cancel(&keeper->copier, &keeping->job);
    else if (keeping && keeping->state == MM_KEEPING_NO_ROOM)
        end_canceled(keeping);
    call_owner(keeper);
}

void mm_keeper_drop(struct mm_keeper *keeper, struct mm_keep *keep) { mm_pool_free(keeper->pool, keep->job); }

static void take_out(struct mm_keeper *keeper, struct mm_keeping *keeping)
{
    struct mm_keeping *before = NULL, *at = keeper->first;
    for (; at != keeping; at = at->next)
        before = at;
    if (before)
        before->next = keeping->next;
    else
        keeper->first = keeping->next;
    if (keeper->last == keeping)
        keeper->last = before;
}

static void report(struct mm_keeper *keeper, struct mm_keeping *keeping)
{
    struct mm_keep *keep = keeping->keep;
    int status = keeping->status;
    mamuto_error_t err = keeping->err;
    take_out(keeper, keeping);
    keep->job = status ? NULL : keeping->room;
    if (status == 0)
        become_copy(keep, keeping);
    else if (keeping->room)
        mm_pool_free(keeper->pool, keeping->room);
    mm_free(keeping);
    keeper->report(keeper->context, keep, status, &err);
}

static unsigned count_over(const struct mm_keeper *keeper)
{
    unsigned n = 0;
    for (const struct mm_keeping *keeping = keeper->first; keeping; keeping = keeping->next)
        n += keeping->state == MM_KEEPING_OVER;
    return n;
}

static struct mm_keeping *first_over(const struct mm_keeper *keeper)
{
    struct mm_keeping *keeping = keeper->first;
    while (keeping && keeping->state != MM_KEEPING_OVER)
        keeping = keeping->next;
    return keeping;
}

void mm_keeper_go_on(struct mm_keeper *keeper)
{
    struct mm_copy_job *job;
    if (!keeper->first)
        return;
    while ((job = mm_copier_take(&keeper->copier)) != NULL)
        copied(keeper, job->owner);
    admit_waiting(keeper);
    for (unsigned n = count_over(keeper); n > 0; n--) /* what its callbacks begin is for the loop's next turn */
        report(keeper, first_over(keeper));
}

void mm_keeper_lose(struct mm_keeper *keeper, const mamuto_error_t *err)
{
    struct mm_keeping *keeping;
    mm_copier_join(&keeper->copier);
    while ((keeping = keeper->first) != NULL) {
        keeping->err = *err;
        end(keeping, err->code);
        report(keeper, keeping);
    }
}

void mm_keeper_init(struct mm_keeper *keeper, struct mm_pool *pool, mm_keep_report *on_kept, void *context)
{
    *keeper = (struct mm_keeper){ .pool = pool, .report = on_kept, .context = context };
    mm_copier_init(&keeper->copier, &pool->arena, pool->event);
}

void mm_keeper_stop(struct mm_keeper *keeper) { mm_copier_stop(&keeper->copier); }

void mm_keeper_fini(struct mm_keeper *keeper)
{
    struct mm_keeping *keeping;
    mm_copier_fini(&keeper->copier);
    while ((keeping = keeper->first) != NULL) {
        take_out(keeper, keeping);
        mm_free(keeping);
    }
}
