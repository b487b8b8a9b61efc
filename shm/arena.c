/* The arena's book-keeping, in the master alone; nothing of it is shared.
 *
 * Extents cover the file without gaps, sorted by offset. First touch of shared memory is dear (0.7 s a GB), so freed
 * extents stay warm up to a limit (an eighth of MemAvailable at open) and the most recently freed one that fits is taken
 * first; beyond the limit the pages are punched out by the fork server, off the caller's loop. New pages are taken by
 * fallocate after the budget was compared: a memfd has no limit of its own, and running out later would be SIGBUS.
 */
#include "shm/arena.h"

#include "core/alloc.h"
#include "core/cpus.h"
#include "core/error.h"
#include "shm/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static const uint64_t PAGE = 4096, BLOCK = UINT64_C(2) << 20, STEP = UINT64_C(64) << 20;
static const uint64_t BUDGET_NS = 20000000;

/* --- memory of this machine ----------------------------------------------------------------------------------- */

static uint64_t meminfo(const char *field)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    uint64_t kib = 0;
    size_t length = strlen(field); /* with its colon */
    while (file && !kib && fgets(line, sizeof line, file))
        if (strncmp(line, field, length) == 0)
            kib = strtoull(line + length, NULL, 10);
    if (file)
        fclose(file);
    return kib ? kib * 1024 : UINT64_C(1) << 40;
}

static uint64_t limit_of(__rlimit_resource_t resource)
{
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : UINT64_MAX;
}

uint64_t mm_memory_budget(void)
{
    uint64_t budget = meminfo("MemAvailable:"), cgroup = mm_cgroup_memory_free("");
    if (cgroup < budget)
        budget = cgroup;
    return budget - budget / 20;
}

int mm_shared_file(const char *name, uint64_t bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) { /* no memfd here: a name that lives for a moment */
        char path[64];
        snprintf(path, sizeof path, "/%s-%d", name, (int)getpid());
        fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            shm_unlink(path);
    }
    bool fits = bytes <= limit_of(RLIMIT_FSIZE); /* beyond it, ftruncate would kill by SIGXFSZ */
    if (fd >= 0 && (!fits || ftruncate(fd, (off_t)bytes) != 0)) {
        int saved = fits ? errno : EFBIG;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int map_as_much_as_possible(struct mm_arena *arena, mamuto_error_t *err)
{
    uint64_t bytes = meminfo("MemTotal:") / BLOCK * BLOCK, file_limit = limit_of(RLIMIT_FSIZE);
    if (bytes > file_limit)
        bytes = file_limit / PAGE * PAGE;
    for (void *base; bytes >= BLOCK; bytes = bytes / 2 / PAGE * PAGE) {
        base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena->fd, 0);
        if (base != MAP_FAILED) {
            arena->base = base;
            arena->bytes = bytes;
            madvise(base, bytes, MADV_DONTDUMP);
            return 0;
        }
    }
    return mm_error_set(err, MAMUTO_ENOMEM,
                        "no room for the arena of shared arrays: RLIMIT_AS or RLIMIT_FSIZE is too "
                        "low for even 2 MiB");
}

int mm_arena_init(struct mm_arena *arena, mamuto_error_t *err)
{
    *arena = (struct mm_arena){ .fd = mm_shared_file("mamuto-arena", 0), .room = 16 };
    arena->extents = mm_alloc_array(arena->room, sizeof *arena->extents);
    if (arena->fd < 0)
        mm_error_system(err, errno, "cannot make the shared memory for arrays");
    else if (!arena->extents)
        mm_error_set(err, MAMUTO_ENOMEM, "no memory for the table of shared arrays");
    else if (map_as_much_as_possible(arena, err) == 0) {
        if (ftruncate(arena->fd, (off_t)arena->bytes) == 0) {
            arena->extents[0] = (struct mm_extent){ .bytes = arena->bytes };
            arena->n_extents = 1;
            arena->warm_limit = mm_memory_budget() / 8;
            return 0;
        }
        mm_error_system(err, errno, "cannot size the shared memory for arrays");
    }
    mm_arena_fini(arena);
    return err ? err->code : MAMUTO_ENOMEM;
}

void mm_arena_fini(struct mm_arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->bytes);
    if (arena->fd >= 0)
        close(arena->fd);
    mm_free(arena->extents);
    *arena = (struct mm_arena){ .fd = -1 };
}

/* --- extents -------------------------------------------------------------------------------------------------- */

static bool make_room(struct mm_arena *arena)
{
    if (arena->n_extents + 1 < arena->room)
        return true;
    struct mm_extent *more = mm_realloc(arena->extents, arena->room * 2 * sizeof *more);
    if (!more)
        return false;
    arena->extents = more;
    arena->room *= 2;
    return true;
}

/* Cuts extent i after bytes; the caller has made room. */
static void split(struct mm_arena *arena, size_t i, uint64_t bytes)
{
    struct mm_extent *e = &arena->extents[i];
    if (e->bytes == bytes)
        return;
    memmove(e + 2, e + 1, (arena->n_extents - i - 1) * sizeof *e);
    arena->n_extents++;
    e[1] = e[0];
    e[1].offset += bytes;
    e[1].bytes -= bytes;
    e[0].bytes = bytes;
}

static void merge_with_next(struct mm_arena *arena, size_t i)
{
    struct mm_extent *e = &arena->extents[i];
    if (i + 1 >= arena->n_extents || e[0].state != MM_EXTENT_FREE || e[1].state != MM_EXTENT_FREE ||
        e[0].warm != e[1].warm)
        return;
    e[0].bytes += e[1].bytes;
    if (e[1].released > e[0].released)
        e[0].released = e[1].released;
    memmove(e + 1, e + 2, (arena->n_extents - i - 2) * sizeof *e);
    arena->n_extents--;
}

static void merge(struct mm_arena *arena, size_t i)
{
    merge_with_next(arena, i);
    if (i)
        merge_with_next(arena, i - 1);
}

/* Which of two free extents, both long enough, is to be taken? A warm one; of these, one that is just as long, since
 * who maps again and again asks for the same lengths, and would find the longer ones cut to pieces; then the one that was
 * last used. */
static bool is_better(const struct mm_extent *a, const struct mm_extent *b, uint64_t bytes)
{
    if (!a->warm || !b->warm)
        return a->warm && !b->warm;
    if ((a->bytes == bytes) != (b->bytes == bytes))
        return a->bytes == bytes;
    return a->released > b->released;
}

/* The free extent to take; of cold ones, the first. */
static struct mm_extent *choose(struct mm_arena *arena, uint64_t bytes)
{
    struct mm_extent *best = NULL;
    for (size_t i = 0; i < arena->n_extents; i++) {
        struct mm_extent *e = &arena->extents[i];
        if (e->state == MM_EXTENT_FREE && e->bytes >= bytes && (!best || is_better(e, best, bytes)))
            best = e;
    }
    return best;
}

static void merge_all(struct mm_arena *arena)
{
    for (size_t i = 0; i + 1 < arena->n_extents;) {
        size_t before = arena->n_extents;
        merge_with_next(arena, i);
        i += arena->n_extents == before;
    }
}

/* Memory is scarce: what is free gives its pages back now, also what the fork server has been asked to punch out. */
static void give_pages_back(struct mm_arena *arena)
{
    for (size_t i = 0; i < arena->n_extents; i++) {
        struct mm_extent *e = &arena->extents[i];
        if (!e->warm || e->state == MM_EXTENT_USED)
            continue;
        if (fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)e->offset, (off_t)e->bytes) != 0)
            continue;
        if (e->state == MM_EXTENT_FREE)
            arena->warm_free -= e->bytes;
        e->warm = false;
    }
}

static uint64_t budget_of(const struct mm_arena *arena)
{
    uint64_t budget = mm_memory_budget();
    return budget > arena->pageless ? budget - arena->pageless : 0;
}

static int check_budget(struct mm_arena *arena, uint64_t bytes, mamuto_error_t *err)
{
    uint64_t budget = budget_of(arena);
    if (bytes > budget) {
        give_pages_back(arena);
        budget = budget_of(arena);
    }
    if (bytes > budget)
        return mm_error_set(err, MAMUTO_ENOMEM,
                            "%llu bytes of shared memory were asked for, and %llu can be had (the "
                            "least of MemAvailable and the cgroup's limit, less 5 %%)",
                            (unsigned long long)bytes, (unsigned long long)budget);
    return 0;
}

static int take_pages(struct mm_arena *arena, uint64_t offset, uint64_t bytes, mamuto_error_t *err)
{
    for (uint64_t done = 0; done < bytes; done += STEP) {
        uint64_t step = bytes - done < STEP ? bytes - done : STEP;
        int code;
        do
            code = fallocate(arena->fd, 0, (off_t)(offset + done), (off_t)step);
        while (code != 0 && errno == EINTR);
        if (code == 0)
            continue;
        code = errno;
        fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
        if (code == ENOSPC || code == ENOMEM)
            return mm_error_set(err, MAMUTO_ENOMEM,
                                "%llu bytes of shared memory were asked for, and the system ran out "
                                "of it",
                                (unsigned long long)bytes);
        return mm_error_system(err, code, "cannot take %llu bytes of shared memory", (unsigned long long)bytes);
    }
    return 0;
}

void *mm_arena_reserve(struct mm_arena *arena, uint64_t bytes, bool *cold, mamuto_error_t *err)
{
    uint64_t size = bytes ? (bytes + PAGE - 1) / PAGE * PAGE : PAGE;
    if (bytes > INT64_MAX || size > arena->bytes) {
        mm_error_set(err, bytes > limit_of(RLIMIT_FSIZE) ? MAMUTO_ESIZE : MAMUTO_ENOMEM,
                     "%llu bytes of shared memory "
                     "were asked for, and the arena of this process holds %llu (this machine's memory, or what "
                     "RLIMIT_FSIZE and RLIMIT_AS allow)",
                     (unsigned long long)bytes, (unsigned long long)arena->bytes);
        return NULL;
    }
    if (!make_room(arena)) {
        mm_error_set(err, MAMUTO_ENOMEM, "no memory for the table of shared arrays");
        return NULL;
    }
    struct mm_extent *e = choose(arena, size);
    if (!e) { /* a warm and a cold neighbour may be long enough together */
        give_pages_back(arena);
        merge_all(arena);
        e = choose(arena, size);
    }
    if (!e) {
        mm_error_set(err, MAMUTO_ENOMEM,
                     "%llu bytes of shared memory were asked for, and no free stretch of the arena "
                     "is as long: free arrays that are not needed",
                     (unsigned long long)bytes);
        return NULL;
    }
    if (!e->warm && check_budget(arena, size, err) != 0)
        return NULL;
    if (e->warm)
        arena->warm_free -= size;
    else
        arena->pageless += size;
    *cold = !e->warm;
    split(arena, (size_t)(e - arena->extents), size);
    e->state = MM_EXTENT_USED;
    return arena->base + e->offset;
}

/* How long a sparse stretch may be, if there are n of them. */
static uint64_t sparse_bytes(struct mm_arena *arena, size_t n)
{
    uint64_t now = mm_now_ns();
    if (!arena->budget || now - arena->budget_ns > BUDGET_NS) {
        arena->budget = mm_memory_budget();
        arena->budget_ns = now;
    }
    uint64_t taken = arena->pageless + arena->budget / 8;
    return arena->budget > taken ? (arena->budget - taken) / (n ? 8 : 2) / PAGE * PAGE : 0;
}

void *mm_arena_reserve_sparse(struct mm_arena *arena, uint64_t *bytes)
{
    bool room = make_room(arena);
    struct mm_extent *longest = NULL;
    size_t n = 0;
    for (size_t i = 0; i < arena->n_extents; i++) {
        struct mm_extent *e = &arena->extents[i];
        n += e->sparse;
        if (e->state == MM_EXTENT_FREE && !e->warm && (!longest || e->bytes > longest->bytes))
            longest = e;
    }
    *bytes = sparse_bytes(arena, n);
    if (!room || !*bytes || !longest)
        return NULL;
    struct mm_extent *e = longest;
    if (e->bytes > *bytes) { /* its end: the beginning is for those that stay longer */
        split(arena, (size_t)(e - arena->extents), e->bytes - *bytes);
        e++;
    }
    *bytes = e->bytes;
    e->state = MM_EXTENT_USED;
    e->sparse = true;
    arena->pageless += *bytes;
    return arena->base + e->offset;
}

int mm_arena_populate(const struct mm_arena *arena, char *p, uint64_t bytes)
{
    int code;
    uint64_t from = (uint64_t)(p - arena->base) / PAGE * PAGE, to = (uint64_t)(p - arena->base) + bytes;
    if (madvise(arena->base + from, to - from, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL) /* before Linux 5.14 it is not known */
        return errno;
    do
        code = fallocate(arena->fd, 0, (off_t)from, (off_t)(to - from));
    while (code != 0 && errno == EINTR);
    return code ? errno : 0;
}

static struct mm_extent *at_offset(const struct mm_arena *arena, uint64_t offset)
{
    size_t low = 0, high = arena->n_extents;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct mm_extent *e = &arena->extents[middle];
        if (offset < e->offset)
            high = middle;
        else if (offset - e->offset >= e->bytes)
            low = middle + 1;
        else
            return e;
    }
    return NULL;
}

bool mm_arena_holds(const struct mm_arena *arena, const void *p)
{
    uintptr_t at = (uintptr_t)p, base = (uintptr_t)arena->base;
    return arena->base && at >= base && at - base < arena->bytes;
}

static struct mm_extent *used_at(const struct mm_arena *arena, const void *p)
{
    if (!mm_arena_holds(arena, p))
        return NULL;
    struct mm_extent *e = at_offset(arena, (uint64_t)((const char *)p - arena->base));
    return e && e->state == MM_EXTENT_USED && arena->base + e->offset == (const char *)p ? e : NULL;
}

void mm_arena_trim(struct mm_arena *arena, const void *p, uint64_t bytes)
{
    uint64_t kept = (bytes + PAGE - 1) / PAGE * PAGE;
    bool room = !kept || make_room(arena); /* nothing is cut where all of it goes */
    struct mm_extent *e = used_at(arena, p);
    if (!room || !e || kept >= e->bytes)
        return;
    size_t i = (size_t)(e - arena->extents);
    e->sparse = false;
    if (kept)
        split(arena, i++, kept);
    e = &arena->extents[i];
    e->state = MM_EXTENT_FREE;
    if (e->warm)
        arena->warm_free += e->bytes;
    else
        arena->pageless -= e->bytes;
    merge(arena, i);
}

void *mm_arena_alloc(struct mm_arena *arena, uint64_t bytes, mamuto_error_t *err)
{
    bool cold;
    char *p = mm_arena_reserve(arena, bytes, &cold, err);
    if (!p || !cold)
        return p;
    struct mm_extent punch, *e = used_at(arena, p);
    if (take_pages(arena, e->offset, e->bytes, err) != 0) {
        mm_arena_free(arena, p, &punch); /* nothing is there to punch out any more */
        mm_arena_punched(arena, punch.offset);
        return NULL;
    }
    mm_arena_settle(arena, p);
    return p;
}

void mm_arena_settle(struct mm_arena *arena, const void *p)
{
    struct mm_extent *e = used_at(arena, p);
    if (!e || e->warm)
        return;
    e->warm = true;
    arena->pageless -= e->bytes;
}

bool mm_arena_is_punching(const struct mm_arena *arena)
{
    for (size_t i = 0; i < arena->n_extents; i++)
        if (arena->extents[i].state == MM_EXTENT_PUNCHING)
            return true;
    return false;
}

uint64_t mm_arena_size(const struct mm_arena *arena, const void *p)
{
    const struct mm_extent *e = used_at(arena, p);
    return e ? e->bytes : 0;
}

int mm_arena_free(struct mm_arena *arena, const void *p, struct mm_extent *punch)
{
    *punch = (struct mm_extent){ 0 };
    struct mm_extent *e = used_at(arena, p);
    if (!e)
        return -1;
    e->released = ++arena->clock;
    e->sparse = false;
    if (!e->warm)
        arena->pageless -= e->bytes;
    if (!e->warm || arena->warm_free + e->bytes > arena->warm_limit) {
        e->state = MM_EXTENT_PUNCHING;
        *punch = *e;
        return 0;
    }
    e->state = MM_EXTENT_FREE;
    arena->warm_free += e->bytes;
    merge(arena, (size_t)(e - arena->extents));
    return 0;
}

void mm_arena_punch(struct mm_arena *arena, const struct mm_extent *punch)
{
    if (fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)punch->offset, (off_t)punch->bytes) !=
        0)
        errno = 0; /* its pages stay; it is used again all the same */
    mm_arena_punched(arena, punch->offset);
}

void mm_arena_punched(struct mm_arena *arena, uint64_t offset)
{
    struct mm_extent *e = at_offset(arena, offset);
    if (!e || e->state != MM_EXTENT_PUNCHING || e->offset != offset)
        return;
    e->state = MM_EXTENT_FREE;
    e->warm = false;
    merge(arena, (size_t)(e - arena->extents));
}

bool mm_arena_find(const struct mm_arena *arena, const void *p, uint64_t bytes, uint64_t *offset)
{
    if (!mm_arena_holds(arena, p))
        return false;
    uint64_t from = (uint64_t)((const char *)p - arena->base);
    const struct mm_extent *e = at_offset(arena, from);
    if (!e || e->state != MM_EXTENT_USED || bytes > e->bytes - (from - e->offset))
        return false;
    *offset = from;
    return true;
}
