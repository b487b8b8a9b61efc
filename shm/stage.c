/* Maps of private arrays on a machine where workers may not read the program's memory (containers, Yama).
 *
 *   NO_ROOM ── some came back ──► COPYING_IN ── all there ──► READY ── slot ──► RUNNING ── result counts ──► COPYING_OUT
 *      └──────── none will, or cancelled ──────────┴────────────┴──────────────────┴──── it does not ──► OVER ◄──┘
 *
 * A run that is waited for is copied by its caller. For the others one thread a node copies, piece by piece and a piece
 * of each map in turn, so that the loop never waits; started with the first of them. States are the owner's (the loop's
 * thread); a stage is handed to the thread by `queued` and comes back by `copied`, under the mutex, and an eventfd.
 * New pages of the arena are taken by the copier too: clearing them takes longer than copying.
 * The copier is the program itself, so an array that is not there would be the program's own SIGSEGV. Each piece is
 * looked at before: unmapped memory, and a piece whose last page is protected, are found (MAMUTO_EARGS); protected pages
 * in the middle of a piece are not, nor is what another thread unmaps meanwhile.
 * Does not know the loop, and neither submits nor reports a map: shm/node_shm.c does.
 */
#include "shm/stage.h"

#include "core/alloc.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint64_t PIECE_BYTES = 1 << 20, PAGE = 4096;

/* --- copying: in the thread, or in a caller that waits ---------------------------------------------------------- */

/* A word of the pages of [p, p + bytes): is it mapped, and its last page readable or, write, writable? */
static bool is_there(const char *p, uint64_t bytes, bool write, bool can_check)
{
    union {
        const char *read;
        char *at;
        uintptr_t number;
    } first = { .read = p }, last = { .read = p + bytes - 1 };
    first.number &= ~(uintptr_t)(PAGE - 1);
    last.number &= ~(uintptr_t)(PAGE - 1);
    if (msync(first.at, (size_t)(last.at - first.at) + PAGE, MS_ASYNC) != 0 && errno == ENOMEM)
        return false;
    return !can_check || madvise(last.at, PAGE, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0 ||
           errno == EAGAIN || errno == EINTR;
}

static int move(const struct mm_stager *stager, const struct mm_stage *stage, const struct mm_stage_copy *copy,
                uint64_t done, uint64_t bytes)
{
    bool in = stage->state == MM_STAGE_COPYING_IN;
    if (in && stage->cold && mm_arena_populate(&stager->pool->arena, copy->to + done, bytes) != 0)
        return MAMUTO_ENOMEM;
    if (!copy->from)
        return 0;
    if (!is_there(in ? copy->from + done : copy->to + done, bytes, !in, stager->can_check))
        return MAMUTO_EARGS;
    memcpy(copy->to + done, copy->from + done, (size_t)bytes);
    return 0;
}

/* Copies a piece. true: that was the last, or it failed. */
static bool step(const struct mm_stager *stager, struct mm_stage *stage)
{
    const struct mm_stage_copy *copy = &stage->copies[stage->at];
    uint64_t left = copy->bytes - stage->done, bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
    MM_POINT(stage->state == MM_STAGE_COPYING_IN ? "copy in" : "copy out");
    stage->failure = move(stager, stage, copy, stage->done, bytes);
    if (stage->failure)
        return true;
    stage->done += bytes;
    if (stage->done == copy->bytes) {
        stage->at++;
        stage->done = 0;
    }
    return stage->at == stage->n_copies;
}

static void append(struct mm_stage_queue *queue, struct mm_stage *stage)
{
    stage->behind = NULL;
    if (queue->last)
        queue->last->behind = stage;
    else
        queue->first = stage;
    queue->last = stage;
}

static bool take_out(struct mm_stage_queue *queue, const struct mm_stage *stage)
{
    struct mm_stage **at = &queue->first, *before = NULL;
    for (; *at && *at != stage; at = &before->behind)
        before = *at;
    if (!*at)
        return false;
    *at = stage->behind;
    if (queue->last == stage)
        queue->last = before;
    return true;
}

static void tell_owner(const struct mm_stager *stager)
{
    uint64_t one = 1;
    if (write(stager->pool->event, &one, sizeof one) < 0)
        return; /* full: it is readable */
}

static void *copy_thread(void *context)
{
    struct mm_stager *stager = context;
    pthread_mutex_lock(&stager->mutex);
    while (!stager->leave) {
        struct mm_stage *stage = stager->queued.first;
        if (!stage) {
            pthread_cond_wait(&stager->work, &stager->mutex);
            continue;
        }
        take_out(&stager->queued, stage);
        pthread_mutex_unlock(&stager->mutex);
        bool over = step(stager, stage);
        pthread_mutex_lock(&stager->mutex);
        over = over || stage->canceled;
        append(over ? &stager->copied : &stager->queued, stage);
        if (over)
            tell_owner(stager);
    }
    pthread_mutex_unlock(&stager->mutex);
    return NULL;
}

static int start_thread(struct mm_stager *stager, mamuto_error_t *err)
{
    if (stager->has_thread)
        return 0;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the program's: its own threads get them */
    int code = pthread_create(&stager->thread, NULL, copy_thread, stager);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code)
        return mm_error_system(err, code, "cannot start the thread that copies private arrays, which workers may not read "
                               "here");
    pthread_setname_np(stager->thread, "mamuto-copy");
    stager->has_thread = true;
    return 0;
}

/* The owner hands the stage over, for all of its copies. */
static void copy(struct mm_stager *stager, struct mm_stage *stage)
{
    stage->at = 0;
    stage->done = 0;
    if (stage->run->wait) {
        while (!step(stager, stage))
            ;
        return;
    }
    pthread_mutex_lock(&stager->mutex);
    append(&stager->queued, stage);
    pthread_cond_signal(&stager->work);
    pthread_mutex_unlock(&stager->mutex);
}

/* --- what is copied where ---------------------------------------------------------------------------------------- */

/* Bytes of input k that must be copied; 0: none, it is shared or small enough to travel on the board. */
static uint64_t input_bytes(const struct mm_pool *pool, const struct mm_run *run, int k, uint64_t *inline_used)
{
    const struct mm_run_arg *in = &run->in[k];
    const char *data = in->data;
    uint64_t bytes = in->stride ? (run->n - 1) * (uint64_t)in->stride + in->size : in->size, offset;
    uint32_t region;
    data += run->first * (uint64_t)in->stride;
    if (mm_pool_locate(pool, data, bytes, &region, &offset) != MM_WHERE_PRIVATE)
        return 0;
    return !in->stride && mm_inline_take(inline_used, in->size, &offset) ? 0 : bytes;
}

static uint64_t result_bytes(const struct mm_pool *pool, const struct mm_run *run)
{
    const char *result = run->result;
    uint64_t bytes = run->n * run->out_size, offset;
    uint32_t region;
    bool private = mm_pool_locate(pool, result + run->first * run->out_size, bytes, &region, &offset) == MM_WHERE_PRIVATE;
    return private ? bytes : 0;
}

bool mm_stager_wants(const struct mm_stager *stager, const struct mm_run *run)
{
    uint64_t inline_used = 0;
    const struct mm_pool *pool = stager->pool;
    bool wanted = false;
    if (!atomic_load_explicit(&pool->board->peer_denied, memory_order_relaxed))
        return false;
    for (int k = 0; k < run->n_in && !wanted; k++)
        wanted = input_bytes(pool, run, k, &inline_used) > 0;
    return wanted || result_bytes(pool, run) > 0;
}

static bool add_room(uint64_t *total, uint64_t bytes)
{
    return !__builtin_add_overflow(*total, bytes, total) && *total <= INT64_MAX - MM_LINE &&
           (*total = (*total + MM_LINE - 1) / MM_LINE * MM_LINE) > 0;
}

static int measure(const struct mm_stager *stager, struct mm_stage *stage, mamuto_error_t *err)
{
    uint64_t inline_used = 0;
    bool fits = true;
    for (int k = 0; k < stage->run->n_in && fits; k++)
        fits = add_room(&stage->bytes, input_bytes(stager->pool, stage->run, k, &inline_used));
    if (fits && add_room(&stage->bytes, result_bytes(stager->pool, stage->run)))
        return 0;
    return mm_error_set(err, MAMUTO_ENOMEM, "the copies of the private arrays, which workers may not read here, do not fit "
                        "into memory");
}

/* The array whose items from `first` on lie at p. */
static void *array_at(char *p, uint64_t first, uint64_t stride)
{
    union {
        char *at;
        uintptr_t number;
    } u = { .at = p };
    u.number -= (uintptr_t)(first * stride);
    return u.at;
}

static void add_copy(struct mm_stage *stage, char *to, const char *from, uint64_t bytes, int argument)
{
    stage->copies[stage->n_copies++] = (struct mm_stage_copy){ to, from, bytes, argument };
}

/* Gives each array its place in the room, and lists what is to be copied in. */
static void lay_out(const struct mm_stager *stager, struct mm_stage *stage)
{
    uint64_t inline_used = 0, first = stage->run->first, at = 0;
    stage->n_copies = 0;
    for (int k = 0; k < stage->run->n_in; k++) {
        struct mm_run_arg *in = &stage->copy.in[k];
        const char *data = in->data;
        uint64_t bytes = input_bytes(stager->pool, stage->run, k, &inline_used);
        if (!bytes)
            continue;
        add_copy(stage, stage->room + at, data + first * (uint64_t)in->stride, bytes, k);
        in->data = array_at(stage->room + at, first, (uint64_t)in->stride);
        add_room(&at, bytes);
    }
    uint64_t bytes = result_bytes(stager->pool, stage->run);
    if (!bytes)
        return;
    stage->copy.result = array_at(stage->room + at, first, stage->run->out_size);
    if (stage->cold)
        add_copy(stage, stage->room + at, NULL, bytes, -1);
}

/* --- the owner's side -------------------------------------------------------------------------------------------- */

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
    const struct mm_stage_copy *copy = &stage->copies[stage->at];
    stage->err.code = 0;
    if (stage->failure == MAMUTO_ENOMEM)
        mm_error_set(&stage->err, MAMUTO_ENOMEM, "the copies of the private arrays take %llu bytes, and the system ran out "
                     "of them", (unsigned long long)stage->bytes);
    else if (copy->argument < 0)
        mm_error_set(&stage->err, MAMUTO_EARGS, "the result is not writable: its array ends before its last item");
    else
        mm_error_set(&stage->err, MAMUTO_EARGS, "argument %d is not readable: its array ends before its last item",
                     copy->argument);
    return end(stage, stage->failure);
}

/* The copies are done, or given up; the stage is the owner's again. */
static int go_on(struct mm_stager *stager, struct mm_stage *stage)
{
    if (stage->canceled)
        return end_canceled(stage);
    if (stage->failure)
        return end_failed(stage);
    if (stage->state == MM_STAGE_COPYING_OUT) {
        stage->state = MM_STAGE_OVER;
        return 0;
    }
    mm_arena_settle(&stager->pool->arena, stage->room);
    stage->state = MM_STAGE_READY;
    return 0;
}

static bool some_room_comes_back(const struct mm_stager *stager)
{
    bool comes = mm_arena_is_punching(&stager->pool->arena);
    for (const struct mm_stage *stage = stager->first; stage && !comes; stage = stage->next)
        comes = stage->room != NULL;
    return comes;
}

/* Takes room and begins to copy. ENOMEM: there is none now, and nothing was begun. */
static int admit(struct mm_stager *stager, struct mm_stage *stage)
{
    mamuto_error_t why = { 0 };
    stage->room = mm_arena_reserve(&stager->pool->arena, stage->bytes, &stage->cold, &why);
    if (!stage->room) {
        stage->err.code = 0;
        return mm_error_set(&stage->err, MAMUTO_ENOMEM, "private arrays must be copied, since workers may not read this "
                            "program's memory here (mamuto_alloc makes arrays that need no copy), and there is no room: "
                            "%.300s", why.text);
    }
    lay_out(stager, stage);
    stage->state = MM_STAGE_COPYING_IN;
    if (!stage->n_copies) { /* a result alone, and its room is warm */
        stage->state = MM_STAGE_READY;
        return 0;
    }
    copy(stager, stage);
    return stage->run->wait ? go_on(stager, stage) : 0;
}

static bool someone_waits_for_room(const struct mm_stager *stager)
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

int mm_stager_begin(struct mm_stager *stager, struct mm_run *run, struct mm_stage **out, mamuto_error_t *err)
{
    struct mm_stage *stage = mm_alloc(sizeof *stage);
    if (!stage)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a map of private arrays");
    stage->run = run;
    stage->copy = *run;
    int code = measure(stager, stage, err);
    if (!code && !run->wait)
        code = start_thread(stager, err);
    if (!code && !someone_waits_for_room(stager)) {
        code = admit(stager, stage);
        if (code && (stage->room || !some_room_comes_back(stager)))
            mm_error_copy(err, &stage->err);
        else
            code = 0;
    }
    add(stager, stage);
    if (code) {
        mm_stage_free(stager, stage);
        return code;
    }
    *out = stage;
    return 0;
}

struct mm_stage *mm_stager_find(const struct mm_stager *stager, const struct mm_run *run)
{
    struct mm_stage *stage = stager->first;
    while (stage && stage->run != run && &stage->copy != run)
        stage = stage->next;
    return stage;
}

unsigned mm_stager_coming(const struct mm_stager *stager)
{
    unsigned n = 0;
    for (const struct mm_stage *stage = stager->first; stage; stage = stage->next)
        n += stage->state < MM_STAGE_RUNNING;
    return n;
}

static void collect_copied(struct mm_stager *stager)
{
    pthread_mutex_lock(&stager->mutex);
    struct mm_stage *stage = stager->copied.first, *behind;
    stager->copied = (struct mm_stage_queue){ NULL, NULL };
    pthread_mutex_unlock(&stager->mutex);
    for (; stage; stage = behind) {
        behind = stage->behind;
        go_on(stager, stage);
    }
}

/* The oldest that waits for room gets it, or learns that there will be none. */
static void admit_waiting(struct mm_stager *stager)
{
    for (struct mm_stage *stage = stager->first; stage; stage = stage->next) {
        if (stage->state != MM_STAGE_NO_ROOM)
            continue;
        int code = admit(stager, stage);
        if (code && !stage->room && some_room_comes_back(stager))
            return;
        if (code)
            end(stage, code);
    }
}

struct mm_stage *mm_stager_next(struct mm_stager *stager)
{
    struct mm_stage *ready = NULL;
    if (!stager->first)
        return NULL;
    collect_copied(stager);
    admit_waiting(stager);
    for (struct mm_stage *stage = stager->first; stage; stage = stage->next) {
        if (stage->state == MM_STAGE_OVER)
            return stage;
        if (stage->state == MM_STAGE_READY && !ready)
            ready = stage;
    }
    return ready;
}

void mm_stage_started(struct mm_stage *stage)
{
    stage->state = MM_STAGE_RUNNING;
    stage->run->job = stage->copy.job;
}

void mm_stage_ran(struct mm_stager *stager, struct mm_stage *stage, int status, uint64_t failed,
                  const mamuto_error_t *err)
{
    stage->run->job = NULL;
    stage->status = status;
    stage->failed = failed;
    stage->err.code = 0;
    if (status)
        mm_error_copy(&stage->err, err);
    bool counts = status == 0 || (status == MAMUTO_EITEM && !stage->run->fail_fast);
    uint64_t bytes = counts ? result_bytes(stager->pool, stage->run) : 0;
    stage->state = MM_STAGE_OVER;
    if (!bytes)
        return;
    uint64_t offset = stage->run->first * stage->run->out_size;
    const char *from = stage->copy.result;
    char *to = stage->run->result;
    stage->state = MM_STAGE_COPYING_OUT;
    stage->n_copies = 0;
    add_copy(stage, to + offset, from + offset, bytes, -1);
    copy(stager, stage);
    if (stage->run->wait)
        go_on(stager, stage);
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
        pthread_mutex_lock(&stager->mutex);
        stage->canceled = true;
        if (take_out(&stager->queued, stage)) /* else the thread is at it, or has done it */
            append(&stager->copied, stage);
        pthread_mutex_unlock(&stager->mutex);
        break;
    case MM_STAGE_RUNNING:
    case MM_STAGE_OVER:
        break;
    }
}

void mm_stage_free(struct mm_stager *stager, struct mm_stage *stage)
{
    struct mm_stage **at = &stager->first, *before = NULL;
    for (; *at != stage; at = &before->next)
        before = *at;
    *at = stage->next;
    if (stager->last == stage)
        stager->last = before;
    if (stage->room)
        mm_pool_free(stager->pool, stage->room);
    mm_free(stage);
}

/* --- init and fini ----------------------------------------------------------------------------------------------- */

void mm_stager_init(struct mm_stager *stager, struct mm_pool *pool)
{
    *stager = (struct mm_stager){ .pool = pool };
    pthread_mutex_init(&stager->mutex, NULL);
    pthread_cond_init(&stager->work, NULL);
    stager->can_check = madvise(pool->board, PAGE, MADV_POPULATE_READ) == 0; /* from Linux 5.14 on */
}

void mm_stager_stop(struct mm_stager *stager)
{
    pthread_mutex_lock(&stager->mutex);
    stager->leave = true;
    pthread_cond_signal(&stager->work);
    pthread_mutex_unlock(&stager->mutex);
}

void mm_stager_join(struct mm_stager *stager)
{
    mm_stager_stop(stager);
    if (stager->has_thread)
        pthread_join(stager->thread, NULL);
    stager->has_thread = false;
}

void mm_stager_fini(struct mm_stager *stager)
{
    mm_stager_join(stager);
    while (stager->first)
        mm_stage_free(stager, stager->first);
    pthread_cond_destroy(&stager->work);
    pthread_mutex_destroy(&stager->mutex);
}
