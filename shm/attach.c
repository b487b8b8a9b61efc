/* Attached files: part of a regular file, mapped here and by every worker at its place in the pool's table, read in place.
 *
 * The fork server is told of each, and of each that is given back; workers are forked anew where the table they were
 * forked with is not the board's (attach_serial and the entry's serial, shm/worker.c). An entry whose file was given back
 * stays taken until the fork server could be told. The file descriptor is kept: a new fork server needs it.
 * Called on the owner's thread, by shm/pool.c and shm/node_arrays.c. Does not look into the files.
 */
#include "shm/attach.h"

#include "shm/forkserver.h"
#include "shm/park.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void mm_attach_tell_detached(struct mm_pool *pool)
{
    for (uint64_t left = pool->detaching; left && pool->control >= 0; left &= left - 1) {
        pool->message.serial = atomic_load(&pool->board->attach_serial) + 1;
        if (mm_pool_tell(pool, MM_MSG_DETACH, (uint32_t)__builtin_ctzll(left), 0, 0) != 0)
            return;
        pool->detaching &= ~(left & -left);
        atomic_fetch_add(&pool->board->attach_serial, 1); /* workers are forked anew, without it */
        mm_wake_all(pool->board);
    }
}

static int check_file(int fd, int64_t offset, size_t bytes, mamuto_error_t *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return mm_error_system(err, errno, "mamuto_attach: fd %d", fd);
    int64_t page = sysconf(_SC_PAGESIZE);
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_attach: fd %d is open for writing alone: open it for reading",
                            fd);
    if (bytes == 0)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_attach: 0 bytes of fd %d: there is nothing to attach", fd);
    if (offset < 0 || offset % page != 0)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_attach: offset %lld is not 0 or a positive multiple of the page size, %lld",
                            (long long)offset, (long long)page);
    if (!S_ISREG(status.st_mode))
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_attach: fd %d is not a regular file", fd);
    if (offset > status.st_size || bytes > (uint64_t)(status.st_size - offset))
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_attach: bytes %lld to %lld + %zu are not all in the file, which has "
                            "%lld",
                            (long long)offset, (long long)offset, bytes, (long long)status.st_size);
    return 0;
}

int mm_attach_file(struct mm_pool *pool, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err)
{
    int code = check_file(fd, offset, bytes, err);
    if (code)
        return code;
    uint32_t i = 0;
    mm_attach_tell_detached(pool);
    while (i < MM_MAX_ATTACHED && (pool->attached[i].base || pool->detaching >> i & 1))
        i++;
    if (i == MM_MAX_ATTACHED)
        return mm_error_set(err, MAMUTO_ENOMEM, "mamuto_attach: %d files are attached, no more can be",
                            MM_MAX_ATTACHED);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, MM_CONTROL_FD + 1);
    if (copy < 0)
        return mm_error_system(err, errno, "mamuto_attach: cannot duplicate fd %d", fd);
    void *base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, offset);
    pool->message.serial = atomic_load(&pool->board->attach_serial) + 1;
    atomic_store(&pool->board->attached[i].serial, pool->message.serial);
    code = base == MAP_FAILED ? errno : -mm_pool_hand_over(pool, MM_MSG_ATTACH, i, offset, (int64_t)bytes, copy);
    if (code) {
        if (base != MAP_FAILED)
            munmap(base, bytes);
        close(copy);
        return mm_error_system(err, code, "mamuto_attach: cannot map %zu bytes of fd %d", bytes, fd);
    }
    pool->attached[i] = (struct mm_attachment){ base, bytes, offset, copy };
    pool->n_attached = i < pool->n_attached ? pool->n_attached : i + 1;
    atomic_fetch_add(&pool->board->attach_serial, 1);
    mm_wake_all(pool->board);
    *p = base;
    return 0;
}

static void release(struct mm_attachment *file)
{
    munmap(file->base, file->bytes);
    close(file->fd);
    *file = (struct mm_attachment){ 0 };
}

int mm_attach_give_back(struct mm_pool *pool, const void *p)
{
    const struct mm_attachment *file = mm_attach_of(pool, p);
    if (!file)
        return -1;
    uint32_t i = (uint32_t)(file - pool->attached);
    release(&pool->attached[i]);
    pool->detaching |= UINT64_C(1) << i;
    mm_attach_tell_detached(pool);
    return 0;
}

int mm_attach_hand_over(struct mm_pool *pool)
{
    int code = 0;
    for (uint32_t i = 0; !code && i < pool->n_attached; i++) {
        const struct mm_attachment *file = &pool->attached[i];
        if (!file->base)
            continue;
        pool->message.serial = atomic_load(&pool->board->attached[i].serial);
        code = mm_pool_hand_over(pool, MM_MSG_ATTACH, i, file->offset, (int64_t)file->bytes, file->fd);
    }
    return code;
}

void mm_attach_fini(struct mm_pool *pool)
{
    for (uint32_t i = 0; i < pool->n_attached; i++)
        if (pool->attached[i].base)
            release(&pool->attached[i]);
}

const struct mm_attachment *mm_attach_of(const struct mm_pool *pool, const void *p)
{
    const struct mm_attachment *file = mm_attach_around(pool, p);
    return file && file->base == p ? file : NULL;
}

const struct mm_attachment *mm_attach_around(const struct mm_pool *pool, const void *p)
{
    for (uint32_t i = 0; i < pool->n_attached; i++) {
        const struct mm_attachment *file = &pool->attached[i];
        if (file->base && (uintptr_t)p - (uintptr_t)file->base < file->bytes)
            return file;
    }
    return NULL;
}
