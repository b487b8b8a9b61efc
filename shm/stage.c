/* Maps of private arrays on a machine where workers may not read the program's memory (containers, Yama).
 *
 *   NO_ROOM ─ some came back ─► COPYING_IN ─ all there ─► READY ─ slot ─► RUNNING ─ result counts ─► COPYING_OUT ─► OVER
 *
 * and from each of them to OVER: no memory, an array that is not there, a cancel, an outcome whose result counts for
 * nothing (anything but success, and failed items that are skipped). A map waits for room only while some is on its way
 * back: from a map before it, or being punched out. Else it is refused before anything runs.
 * A run that is waited for is copied by its caller, inside the call; the others by shm/copier.c's thread, which is
 * started with the first of them. All arrays of a map have one extent of the arena, whose pages stay warm for the next.
 * Called on the owner's thread, by shm/node_shm.c, which also hands over what became of a copy's map. Does not know the
 * loop; nothing is reported from inside mm_stager_begin and mm_stage_cancel.
 */
#include "shm/stage.h"

#include "core/alloc.h"
#include "core/span.h"

/* --- what is copied where ---------------------------------------------------------------------------------------- */

static bool is_private(const struct mm_pool *pool, const struct mm_span *span)
{
    uint32_t region;
    uint64_t offset;
    return span->bytes && mm_pool_locate(pool, span->low, span->bytes, &region, &offset) == MM_WHERE_PRIVATE;
}

/* Bytes of input k that must be copied; 0: none, it is shared or small enough to travel on the board. */
static uint64_t input_bytes(const struct mm_pool *pool, const struct mm_run *run, int k, uint64_t *inline_used)
{
    const struct mm_run_arg *in = &run->in[k];
    struct mm_span span = mm_span_of_input(run, k);
    uint64_t at;
    if (!is_private(pool, &span))
        return 0;
    if (!in->stride && mm_inline_take(inline_used, in->size, &at))
        return 0;
    return mm_span_is_apart(in) ? mm_run_n_items(run) * in->size : span.bytes;
}

static uint64_t offsets_bytes(const struct mm_pool *pool, const struct mm_run *run, int k)
{
    if (!run->in[k].offsets)
        return 0;
    struct mm_span span = mm_span_of_offsets(run, k);
    return is_private(pool, &span) ? span.bytes : 0;
}

static uint64_t result_bytes(const struct mm_pool *pool, const struct mm_run *run)
{
    struct mm_span span = mm_span_of_result(run);
    return is_private(pool, &span) ? run->n * run->out_size : 0;
}

bool mm_stager_wants(const struct mm_stager *stager, const struct mm_run *run)
{
    uint64_t inline_used = 0;
    bool wanted = false;
    if (!atomic_load_explicit(&stager->pool->board->peer_denied, memory_order_relaxed))
        return false;
    for (int k = 0; k < run->n_in && !wanted; k++)
        wanted = input_bytes(stager->pool, run, k, &inline_used) > 0 || offsets_bytes(stager->pool, run, k) > 0;
    return wanted || result_bytes(stager->pool, run) > 0;
}

/* An array's place in the room: *total grows by it, to the next line. false: it does not fit into memory. */
static bool add_room(uint64_t *total, uint64_t bytes)
{
    if (bytes > INT64_MAX - MM_LINE - *total)
        return false;
    *total = (*total + bytes + MM_LINE - 1) / MM_LINE * MM_LINE;
    return true;
}

static bool measure(const struct mm_stager *stager, struct mm_stage *stage)
{
    uint64_t inline_used = 0;
    bool fits = true;
    for (int k = 0; k < stage->run->n_in && fits; k++)
        fits = add_room(&stage->bytes, input_bytes(stager->pool, stage->run, k, &inline_used)) &&
               add_room(&stage->bytes, offsets_bytes(stager->pool, stage->run, k));
    return fits && add_room(&stage->bytes, result_bytes(stager->pool, stage->run));
}

static struct mm_copy *add_copy(struct mm_copy_job *job, char *to, const char *from, uint64_t bytes, int argument)
{
    struct mm_copy *copy = &job->copies[job->n_copies++];
    *copy = (struct mm_copy){ .to = to, .from = from, .bytes = bytes, .argument = argument };
    return copy;
}

static struct mm_copy_job *new_job(struct mm_stage *stage, bool into_arena, bool cold)
{
    stage->job = (struct mm_copy_job){ .owner = stage, .into_arena = into_arena, .cold = cold };
    return &stage->job;
}

static void lay_out_input(struct mm_stage *stage, struct mm_copy_job *job, int k, char *room, uint64_t bytes)
{
    const struct mm_run *run = stage->run;
    struct mm_run_arg *in = &stage->copy.in[k];
    struct mm_span span = mm_span_of_input(run, k);
    struct mm_copy *copy = add_copy(job, room, span.low, bytes, k);
    if (in->offsets) {
        in->data = mm_span_array(room, (uint64_t)in->low * in->size);
        return;
    }
    if (mm_span_is_apart(in)) {
        copy->from += span.back;
        copy->size = in->size;
        copy->to_stride = (ptrdiff_t)in->size;
        copy->from_stride = in->stride;
        in->stride = (ptrdiff_t)in->size;
        span.back = 0;
    }
    in->data = mm_span_array(room + span.back, mm_run_first_item(run) * (uint64_t)in->stride);
}

static void lay_out_offsets(struct mm_stage *stage, struct mm_copy_job *job, int k, char *room, uint64_t bytes)
{
    struct mm_span span = mm_span_of_offsets(stage->run, k);
    add_copy(job, room, span.low, bytes, k);
    stage->copy.in[k].offsets = mm_span_array(room, mm_run_first_item(stage->run) * sizeof(int64_t));
}

/* Gives each array its place in the room, and lists what is to be copied in. */
static void lay_out(const struct mm_stager *stager, struct mm_stage *stage, struct mm_copy_job *job)
{
    const struct mm_run *run = stage->run;
    uint64_t inline_used = 0, at = 0, bytes;
    for (int k = 0; k < run->n_in; k++) {
        if ((bytes = input_bytes(stager->pool, run, k, &inline_used)) != 0)
            lay_out_input(stage, job, k, stage->room + at, bytes);
        add_room(&at, bytes);
        if ((bytes = offsets_bytes(stager->pool, run, k)) != 0)
            lay_out_offsets(stage, job, k, stage->room + at, bytes);
        add_room(&at, bytes);
    }
    bytes = result_bytes(stager->pool, run);
    if (!bytes)
        return;
    stage->copy.result = mm_span_array(stage->room + at, run->first * run->out_size);
    stage->copy.result_stride = (ptrdiff_t)run->out_size;
    if (job->cold)
        add_copy(job, stage->room + at, NULL, bytes, -1);
}

/* --- from state to state ----------------------------------------------------------------------------------------- */

static int end(struct mm_stage *stage, int status)
{
    stage->state = MM_STAGE_OVER;
    stage->status = status;
    stage->failed = 0;
    return status;
}

static int end_canceled(struct mm_stage *stage)
{
    stage->err.code = 0;
    return end(stage, mm_error_set(&stage->err, MAMUTO_ECANCELED, "the map was cancelled"));
}

static int end_failed(struct mm_stage *stage)
{
    int argument = stage->job.copies[stage->job.at].argument;
    stage->err.code = 0;
    if (stage->job.failure == MAMUTO_ENOMEM)
        mm_error_set(&stage->err, MAMUTO_ENOMEM,
                     "the copies of private arrays take %llu bytes, and the system ran out of "
                     "memory",
                     (unsigned long long)stage->bytes);
    else if (argument < 0)
        mm_error_set(&stage->err, MAMUTO_EARGS, MM_SAY_UNWRITABLE);
    else
        mm_error_set(&stage->err, MAMUTO_EARGS, "argument %d " MM_SAY_UNREADABLE, argument);
    return end(stage, stage->job.failure);
}

/* The copies are done, or given up. */
static int copied(struct mm_stager *stager, struct mm_stage *stage)
{
    if (stage->job.canceled)
        return end_canceled(stage);
    if (stage->job.failure)
        return end_failed(stage);
    if (stage->job.into_arena)
        mm_arena_settle(&stager->pool->arena, stage->room);
    stage->state = stage->job.into_arena ? MM_STAGE_READY : MM_STAGE_OVER;
    return 0;
}

static int copy(struct mm_stager *stager, struct mm_stage *stage)
{
    if (!stage->run->wait && stage->job.n_copies) {
        mm_copier_push(&stager->copier, &stage->job);
        return 0;
    }
    if (stage->job.n_copies)
        mm_copier_run(&stager->copier, &stage->job);
    return copied(stager, stage);
}

/* Takes room and begins to copy. On failure without room nothing was begun; with room, it is OVER. */
static int admit(struct mm_stager *stager, struct mm_stage *stage)
{
    mamuto_error_t why = { 0 };
    bool cold;
    stage->room = mm_arena_reserve(&stager->pool->arena, stage->bytes, &cold, &why);
    if (!stage->room) {
        stage->err.code = 0;
        return mm_error_set(&stage->err, MAMUTO_ENOMEM,
                            "private arrays must be copied, since workers may not read this "
                            "program's memory here (arrays of mamuto_alloc need no copy), and there is no room: %.300s",
                            why.text);
    }
    stage->state = MM_STAGE_COPYING_IN;
    lay_out(stager, stage, new_job(stage, true, cold));
    return copy(stager, stage);
}

static bool result_counts(const struct mm_stage *stage)
{
    return stage->status == 0 || (stage->status == MAMUTO_EITEM && !stage->run->fail_fast);
}

/* The copy's map has ended so: the result is copied back if it counts. */
static void ran(struct mm_stager *stager, struct mm_stage *stage, int status, uint64_t failed,
                const mamuto_error_t *err)
{
    stage->err.code = 0;
    end(stage, status ? mm_error_copy(&stage->err, err) : 0);
    stage->failed = failed;
    stage->run->job = NULL;
    uint64_t bytes = result_counts(stage) ? result_bytes(stager->pool, stage->run) : 0;
    if (!bytes)
        return;
    const struct mm_run *run = stage->run;
    const char *from = stage->copy.result;
    char *to = run->result;
    stage->state = MM_STAGE_COPYING_OUT;
    struct mm_copy *back = add_copy(new_job(stage, false, false), to + (ptrdiff_t)run->first * run->result_stride,
                                    from + run->first * run->out_size, bytes, -1);
    if (run->result_stride != (ptrdiff_t)run->out_size) {
        back->size = run->out_size;
        back->to_stride = run->result_stride;
        back->from_stride = (ptrdiff_t)run->out_size;
    }
    copy(stager, stage);
}

/* false: no slot is free for a moment. */
static bool submit(struct mm_stager *stager, struct mm_stage *stage)
{
    mamuto_error_t err = { 0 };
    int code = mm_jobs_submit(stager->jobs, &stage->copy, &err);
    if (code == MM_NODE_FULL)
        return false;
    stage->state = MM_STAGE_RUNNING;
    stage->run->job = stage->copy.job;
    if (code)
        ran(stager, stage, code, 0, &err);
    return true;
}

static bool room_comes_back(const struct mm_stager *stager)
{
    bool comes = mm_arena_is_punching(&stager->pool->arena);
    for (const struct mm_stage *stage = stager->first; stage && !comes; stage = stage->next)
        comes = stage->room != NULL;
    return comes;
}

static bool somebody_waits(const struct mm_stager *stager)
{
    const struct mm_stage *stage = stager->first;
    while (stage && stage->state != MM_STAGE_NO_ROOM)
        stage = stage->next;
    return stage != NULL;
}

static void add(struct mm_stager *stager, struct mm_stage *stage)
{
    if (stager->last)
        stager->last->next = stage;
    else
        stager->first = stage;
    stager->last = stage;
}

static void destroy(struct mm_stager *stager, struct mm_stage *stage)
{
    struct mm_stage *before = NULL, *at = stager->first;
    for (; at != stage; at = at->next)
        before = at;
    if (before)
        before->next = stage->next;
    else
        stager->first = stage->next;
    if (stager->last == stage)
        stager->last = before;
    if (stage->room)
        mm_pool_free(stager->pool, stage->room);
    mm_free(stage);
}

/* First come, first served: it waits behind those that wait for room. */
static int begin(struct mm_stager *stager, struct mm_stage *stage)
{
    uint64_t whole = stager->pool->arena.bytes;
    if (stage->bytes <= whole && somebody_waits(stager))
        return 0;
    int code = admit(stager, stage);
    return !stage->room && stage->bytes <= whole && room_comes_back(stager) ? 0 : code;
}

int mm_stager_begin(struct mm_stager *stager, struct mm_run *run, mamuto_error_t *err)
{
    struct mm_stage *stage = mm_alloc(sizeof *stage);
    if (!stage)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a map of private arrays");
    stage->run = run;
    stage->copy = *run;
    int code = 0;
    if (!measure(stager, stage))
        code = mm_error_set(err, MAMUTO_ENOMEM, "private arrays must be copied here, and are larger than any memory");
    if (!code && !run->wait)
        code = mm_copier_start(&stager->copier, err);
    if (!code && (code = begin(stager, stage)) != 0)
        mm_error_copy(err, &stage->err);
    add(stager, stage);
    if (code)
        destroy(stager, stage);
    else if (stage->state == MM_STAGE_READY)
        submit(stager, stage);
    return code;
}

struct mm_stage *mm_stager_find(const struct mm_stager *stager, const struct mm_run *run)
{
    struct mm_stage *stage = stager->first;
    while (stage && stage->run != run && &stage->copy != run)
        stage = stage->next;
    return stage;
}

bool mm_stager_is_full(const struct mm_stager *stager)
{
    int n = __builtin_popcountll(stager->jobs->used);
    for (const struct mm_stage *stage = stager->first; stage; stage = stage->next)
        n += stage->state < MM_STAGE_RUNNING;
    return n >= MM_MAX_MAPS;
}

/* Those that wait for room get it, or learn that there will be none, in the order of their coming. */
static void admit_waiting(struct mm_stager *stager)
{
    for (struct mm_stage *stage = stager->first; stage; stage = stage->next) {
        if (stage->state != MM_STAGE_NO_ROOM)
            continue;
        int code = admit(stager, stage);
        if (code && !stage->room && room_comes_back(stager))
            return;
        if (code)
            end(stage, code);
    }
}

/* One that is OVER, else the first that is READY, else NULL. */
static struct mm_stage *next(struct mm_stager *stager)
{
    struct mm_stage *ready = NULL;
    struct mm_copy_job *job;
    while ((job = mm_copier_take(&stager->copier)) != NULL)
        copied(stager, job->owner);
    admit_waiting(stager);
    for (struct mm_stage *stage = stager->first; stage; stage = stage->next) {
        if (stage->state == MM_STAGE_OVER)
            return stage;
        if (stage->state == MM_STAGE_READY && !ready)
            ready = stage;
    }
    return ready;
}

static void report(struct mm_stager *stager, struct mm_stage *stage)
{
    struct mm_run *run = stage->run;
    int status = stage->status;
    uint64_t failed = stage->failed;
    mamuto_error_t err = stage->err;
    if (run->log && !result_counts(stage))
        run->log->n = 0; /* nothing has landed */
    destroy(stager, stage);
    stager->report(stager->context, run, status, failed, &err);
}

void mm_stager_go_on(struct mm_stager *stager)
{
    struct mm_stage *stage;
    while (stager->first && (stage = next(stager)) != NULL) {
        if (stage->state == MM_STAGE_OVER) {
            report(stager, stage);
            continue;
        }
        stage->copy.wait = stage->copy.help = false; /* its caller, if it waits, sleeps by now */
        if (!submit(stager, stage))
            return;
    }
}

void mm_stage_finish(struct mm_stager *stager, struct mm_stage *stage, int status, uint64_t failed,
                     const mamuto_error_t *err)
{
    ran(stager, stage, status, failed, err);
    if (stage->state == MM_STAGE_OVER)
        report(stager, stage);
}

void mm_stager_lose(struct mm_stager *stager, const mamuto_error_t *err)
{
    mm_copier_join(&stager->copier);
    while (stager->first)
        mm_stage_finish(stager, stager->first, MAMUTO_EHOST, 0, err);
}

void mm_stage_cancel(struct mm_stager *stager, struct mm_stage *stage)
{
    switch (stage->state) {
    case MM_STAGE_NO_ROOM:
    case MM_STAGE_READY:
        end_canceled(stage);
        break;
    case MM_STAGE_COPYING_IN:
    case MM_STAGE_COPYING_OUT:
        mm_copier_cancel(&stager->copier, &stage->job);
        break;
    case MM_STAGE_RUNNING:
    case MM_STAGE_OVER:
        break;
    }
}

void mm_stager_init(struct mm_stager *stager, struct mm_jobs *jobs, mm_stage_report *on_ran, void *context)
{
    *stager = (struct mm_stager){ .jobs = jobs, .pool = jobs->pool, .report = on_ran, .context = context };
    mm_copier_init(&stager->copier, &jobs->pool->arena, jobs->pool->event);
}

void mm_stager_stop(struct mm_stager *stager)
{
    mm_copier_stop(&stager->copier);
    for (struct mm_stage *stage = stager->first; stage; stage = stage->next)
        if (stage->run->log)
            stage->run->log->n = 0; /* nothing lands any more */
}

void mm_stager_fini(struct mm_stager *stager)
{
    mm_copier_fini(&stager->copier);
    while (stager->first)
        destroy(stager, stager->first);
}
