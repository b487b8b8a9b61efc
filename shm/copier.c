/* The copying of shm/stage.c: pieces of 1 MiB, so that whoever cancels or closes waits for no more than one.
 *
 * Copies are the program's own reads and writes (a detour through the kernel, by pwrite into the arena's file, takes
 * three times as long), so an array that is not there would be the program's own SIGSEGV. Each piece is looked at
 * before: unmapped memory, and a piece whose first or last page is protected, are found; protected pages in the middle
 * of a piece are not, nor is what another thread unmaps meanwhile. Looking at every page costs half as much as copying: it
 * is done where the job says so.
 * New pages of the arena are taken here too: to clear them takes longer than to copy.
 * The thread knows nothing of maps, and does not touch the arena's book-keeping. Invariant: a job is in one queue, or
 * at the thread, or its owner's; it changes hands under the mutex.
 */
#include "shm/copier.h"

#include "core/error.h"
#include "shm/board.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint64_t PIECE_BYTES = 1 << 20, PAGE = 4096;

/* Is this readable or, write, writable? */
static bool can_use(char *page, size_t bytes, bool write)
{
    return madvise(page, bytes, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0 || errno == EAGAIN ||
           errno == EINTR;
}

/* How a job looks at its private side. */
struct look {
    bool write, each, can_check;
};

/* Is [p, p + bytes) mapped, and can its first and last page, or each, be used? */
static bool is_there(const char *p, uint64_t bytes, const struct look *look)
{
    union {
        const char *read;
        char *at;
        uintptr_t number;
    } first = { .read = p }, last = { .read = p + bytes - 1 };
    first.number &= ~(uintptr_t)(PAGE - 1);
    last.number &= ~(uintptr_t)(PAGE - 1);
    size_t pages = (size_t)(last.at - first.at) + PAGE;
    if (madvise(first.at, pages, MADV_WILLNEED) != 0 && errno == ENOMEM) /* a page is unmapped */
        return false;
    if (!look->can_check)
        return true;
    if (look->each)
        return can_use(first.at, pages, look->write);
    return can_use(last.at, PAGE, look->write) && (first.at == last.at || can_use(first.at, PAGE, look->write));
}

static uint64_t absolute(ptrdiff_t stride) { return stride < 0 ? 0 - (uint64_t)stride : (uint64_t)stride; }

/* Bytes of the next piece: about 1 MiB of the side that is longer. Of items that lie apart: whole ones, unless one is larger. */
static uint64_t piece_bytes(const struct mm_copy *copy, uint64_t done)
{
    uint64_t left = copy->bytes - done, bytes = PIECE_BYTES;
    if (copy->size >= PIECE_BYTES) {
        uint64_t rest = copy->size - done % copy->size;
        bytes = rest < PIECE_BYTES ? rest : PIECE_BYTES;
    } else if (copy->size) {
        uint64_t from = absolute(copy->from_stride), to = absolute(copy->to_stride), step = from > to ? from : to;
        bytes = (step < PIECE_BYTES ? PIECE_BYTES / step : 1) * copy->size;
    }
    return bytes < left ? bytes : left;
}

/* Byte `done` of the items that begin at p. */
static ptrdiff_t place_of(const struct mm_copy *copy, ptrdiff_t stride, uint64_t done)
{
    return copy->size ? (ptrdiff_t)(done / copy->size) * stride + (ptrdiff_t)(done % copy->size) : (ptrdiff_t)done;
}

/* Are the items that a piece of `bytes` at p has there? Where less than a page lies between them, no page lies between. */
static bool are_there(const char *p, const struct mm_copy *copy, ptrdiff_t stride, uint64_t bytes,
                      const struct look *look)
{
    uint64_t n = copy->size && bytes > copy->size ? bytes / copy->size : 1;
    uint64_t step = absolute(stride), size = n > 1 ? copy->size : bytes;
    if (n == 1 || step < size + PAGE) {
        uint64_t reach = (n - 1) * step;
        return is_there(stride < 0 ? p - reach : p, reach + size, look);
    }
    bool there = true;
    for (uint64_t i = 0; i < n && there; i++)
        there = is_there(p + (ptrdiff_t)i * stride, size, look);
    return there;
}

static int move(const struct mm_copier *copier, const struct mm_copy_job *job, const struct mm_copy *copy,
                uint64_t bytes)
{
    char *to = copy->to + place_of(copy, copy->to_stride, job->done);
    if (job->into_arena && job->cold && mm_arena_populate(copier->arena, to, bytes) != 0)
        return MAMUTO_ENOMEM;
    if (!copy->from)
        return 0;
    const char *from = copy->from + place_of(copy, copy->from_stride, job->done);
    ptrdiff_t stride = job->into_arena ? copy->from_stride : copy->to_stride;
    struct look look = { !job->into_arena, job->look, copier->can_check };
    if (!are_there(job->into_arena ? from : to, copy, stride, bytes, &look))
        return MAMUTO_EARGS;
    if (!copy->size || bytes <= copy->size)
        memcpy(to, from, (size_t)bytes);
    else
        for (uint64_t i = 0; i < bytes / copy->size; i++)
            memcpy(to + (ptrdiff_t)i * copy->to_stride, from + (ptrdiff_t)i * copy->from_stride, copy->size);
    return 0;
}

/* Copies a piece. true: that was the last, or it failed. */
static bool step(const struct mm_copier *copier, struct mm_copy_job *job)
{
    const struct mm_copy *copy = &job->copies[job->at];
    uint64_t bytes = piece_bytes(copy, job->done);
    MM_POINT(job->into_arena ? "copy_in" : "copy_out");
    job->failure = move(copier, job, copy, bytes);
    if (job->failure)
        return true;
    job->done += bytes;
    if (job->done == copy->bytes) {
        job->at++;
        job->done = 0;
    }
    return job->at == job->n_copies;
}

void mm_copier_run(const struct mm_copier *copier, struct mm_copy_job *job)
{
    while (!step(copier, job))
        ;
}

/* --- the thread -------------------------------------------------------------------------------------------------- */

static void append(struct mm_copy_queue *queue, struct mm_copy_job *job)
{
    job->behind = NULL;
    if (queue->last)
        queue->last->behind = job;
    else
        queue->first = job;
    queue->last = job;
}

static bool take_out(struct mm_copy_queue *queue, const struct mm_copy_job *job)
{
    struct mm_copy_job *before = NULL, *at = queue->first;
    for (; at && at != job; at = at->behind)
        before = at;
    if (!at)
        return false;
    if (before)
        before->behind = at->behind;
    else
        queue->first = at->behind;
    if (queue->last == at)
        queue->last = before;
    return true;
}

static void come_back(struct mm_copier *copier, struct mm_copy_job *job)
{
    uint64_t one = 1;
    append(&copier->copied, job);
    if (write(copier->event, &one, sizeof one) < 0)
        return; /* full, so it is readable */
}

static void *copy_all(void *context)
{
    struct mm_copier *copier = context;
    pthread_mutex_lock(&copier->mutex);
    while (!copier->leave) {
        struct mm_copy_job *job = copier->queued.first;
        if (!job) {
            pthread_cond_wait(&copier->work, &copier->mutex);
            continue;
        }
        take_out(&copier->queued, job);
        pthread_mutex_unlock(&copier->mutex);
        bool over = step(copier, job);
        pthread_mutex_lock(&copier->mutex);
        if (over || job->canceled)
            come_back(copier, job);
        else
            append(&copier->queued, job);
    }
    pthread_mutex_unlock(&copier->mutex);
    return NULL;
}

int mm_copier_start(struct mm_copier *copier, mamuto_error_t *err)
{
    if (copier->has_thread)
        return 0;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* the program's signals are for its own threads */
    int code = pthread_create(&copier->thread, NULL, copy_all, copier);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code)
        return mm_error_system(err, code, "cannot start the thread that copies arrays");
    pthread_setname_np(copier->thread, "mamuto-copy");
    copier->has_thread = true;
    return 0;
}

void mm_copier_push(struct mm_copier *copier, struct mm_copy_job *job)
{
    pthread_mutex_lock(&copier->mutex);
    append(&copier->queued, job);
    pthread_cond_signal(&copier->work);
    pthread_mutex_unlock(&copier->mutex);
}

void mm_copier_cancel(struct mm_copier *copier, struct mm_copy_job *job)
{
    pthread_mutex_lock(&copier->mutex);
    job->canceled = true;
    if (take_out(&copier->queued, job)) /* else the thread is at it, or it has come back */
        come_back(copier, job);
    pthread_mutex_unlock(&copier->mutex);
}

struct mm_copy_job *mm_copier_take(struct mm_copier *copier)
{
    pthread_mutex_lock(&copier->mutex);
    struct mm_copy_job *job = copier->copied.first;
    if (job)
        take_out(&copier->copied, job);
    pthread_mutex_unlock(&copier->mutex);
    return job;
}

void mm_copier_init(struct mm_copier *copier, const struct mm_arena *arena, int event)
{
    *copier = (struct mm_copier){ .arena = arena, .event = event };
    pthread_mutex_init(&copier->mutex, NULL);
    pthread_cond_init(&copier->work, NULL);
    union {
        struct mm_copier *copier;
        char *at;
        uintptr_t number;
    } page = { .copier = copier };
    page.number &= ~(uintptr_t)(PAGE - 1);
    copier->can_check = madvise(page.at, PAGE, MADV_POPULATE_READ) == 0; /* Linux 5.14 */
}

void mm_copier_stop(struct mm_copier *copier)
{
    pthread_mutex_lock(&copier->mutex);
    copier->leave = true;
    pthread_cond_signal(&copier->work);
    pthread_mutex_unlock(&copier->mutex);
}

void mm_copier_join(struct mm_copier *copier)
{
    mm_copier_stop(copier);
    if (copier->has_thread)
        pthread_join(copier->thread, NULL);
    copier->has_thread = false;
    copier->queued = copier->copied = (struct mm_copy_queue){ NULL, NULL };
}

void mm_copier_fini(struct mm_copier *copier)
{
    mm_copier_join(copier);
    pthread_cond_destroy(&copier->work);
    pthread_mutex_destroy(&copier->mutex);
}
