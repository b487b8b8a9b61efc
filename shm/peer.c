/* process_vm_readv and _writev between a worker's warm buffers and the master's private arrays.
 *
 * One system call a piece and direction, all inputs of the piece in one; pieces of half a MiB stay in the second-level
 * cache, so that what must move is moved once. A short transfer means that the array ends in unmapped memory: the
 * argument is named. Used by a worker's lane alone; a helping caller works in place and needs none of this.
 */
#include "shm/peer.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

static const uint64_t PIECE_BYTES = 1 << 19;

static bool is_fetched(const struct mm_board_arg *arg, bool scattered)
{
    return arg->where == MM_WHERE_PRIVATE && (arg->stride != 0) == scattered && arg->size;
}

uint64_t mm_peer_piece(const struct mm_board_map *map)
{
    uint64_t bytes = map->out.where == MM_WHERE_PRIVATE ? map->out.size : 0;
    for (unsigned k = 0; k < map->n_in; k++)
        if (is_fetched(&map->in[k], true))
            bytes += map->in[k].size;
    return bytes && bytes < PIECE_BYTES ? PIECE_BYTES / bytes : 1;
}

/* Drops the first `bytes` of n parts; returns how many parts are left. */
static unsigned long advance(struct iovec **parts, unsigned long n, size_t bytes)
{
    while (n && bytes >= (*parts)->iov_len) {
        bytes -= (*parts)->iov_len;
        ++*parts;
        n--;
    }
    if (n) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + bytes;
        (*parts)->iov_len -= bytes;
    }
    return n;
}

/* The kernel moves at most 2 GiB a call, and less where an array ends: the next call tells which it was. */
static enum mm_peer_result transfer(bool read, int pid, struct iovec *local, struct iovec *remote, unsigned long n)
{
    while (n) {
        ssize_t got =
            read ? process_vm_readv(pid, local, n, remote, n, 0) : process_vm_writev(pid, local, n, remote, n, 0);
        if (got == 0 || (got < 0 && errno == EFAULT))
            return read ? MM_PEER_UNREADABLE : MM_PEER_UNWRITABLE;
        if (got < 0)
            return errno == ENOMEM ? MM_PEER_NO_MEMORY : MM_PEER_GONE;
        advance(&remote, n, (size_t)got);
        n = advance(&local, n, (size_t)got);
    }
    return MM_PEER_OK;
}

/* address of the master's bytes: an integer that crossed the board, never a pointer of this process */
static struct iovec at(uint64_t address, size_t bytes)
{
    union {
        uint64_t number;
        void *pointer;
    } u = { .number = address };
    return (struct iovec){ u.pointer, bytes };
}

static enum mm_peer_result fetch(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end,
                                 bool scattered, int *bad)
{
    struct iovec local[MAMUTO_MAX_ARGS] = { 0 }, remote[MAMUTO_MAX_ARGS] = { 0 };
    int argument[MAMUTO_MAX_ARGS];
    unsigned long n = 0;
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_arg *arg = &map->in[k];
        if (!is_fetched(arg, scattered))
            continue;
        size_t bytes = (size_t)((end - begin) * arg->size);
        void *room = mm_buffer_reserve(&peer->in[k], bytes);
        *bad = (int)k;
        if (!room)
            return MM_PEER_NO_MEMORY;
        local[n] = (struct iovec){ room, bytes };
        remote[n] = at(arg->offset + begin * (uint64_t)arg->stride, bytes);
        argument[n++] = (int)k;
    }
    struct iovec locals[MAMUTO_MAX_ARGS], remotes[MAMUTO_MAX_ARGS]; /* transfer uses them up */
    memcpy(locals, local, sizeof locals);
    memcpy(remotes, remote, sizeof remotes);
    enum mm_peer_result result = transfer(true, peer->pid, locals, remotes, n);
    for (unsigned long i = 0; result == MM_PEER_UNREADABLE && i < n; i++) {
        *bad = argument[i];
        if (transfer(true, peer->pid, &local[i], &remote[i], 1) != MM_PEER_OK)
            break;
    }
    return result;
}

enum mm_peer_result mm_peer_fetch_values(struct mm_peer *peer, const struct mm_board_map *map, int *bad)
{
    return fetch(peer, map, 0, 1, false, bad);
}

enum mm_peer_result mm_peer_fetch(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end,
                                  int *bad)
{
    if (map->out.where == MM_WHERE_PRIVATE && !mm_buffer_reserve(&peer->out, (size_t)((end - begin) * map->out.size)))
        return MM_PEER_NO_MEMORY;
    return fetch(peer, map, begin, end, true, bad);
}

enum mm_peer_result mm_peer_store(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end)
{
    size_t bytes = (size_t)((end - begin) * map->out.size);
    struct iovec local = { peer->out.data, bytes };
    struct iovec remote = at(map->out.offset + begin * map->out.size, bytes);
    return transfer(false, peer->pid, &local, &remote, 1);
}

enum mm_peer_result mm_peer_zero(char *to, uint64_t bytes)
{
    static char zeros[4096];
    for (uint64_t done = 0, step; done < bytes; done += step) {
        step = bytes - done < sizeof zeros ? bytes - done : sizeof zeros;
        struct iovec local = { zeros, step }, remote = { to + done, step };
        if (transfer(false, getpid(), &local, &remote, 1) == MM_PEER_UNWRITABLE)
            return MM_PEER_UNWRITABLE;
    }
    return MM_PEER_OK;
}

bool mm_peer_allowed(int pid, uint64_t address, uint64_t expected)
{
    uint64_t seen = 0;
    struct iovec local = { &seen, sizeof seen }, remote = at(address, sizeof seen);
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof seen && seen == expected &&
           process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof seen;
}

void mm_peer_fini(struct mm_peer *peer)
{
    for (int k = 0; k < MAMUTO_MAX_ARGS; k++)
        mm_buffer_fini(&peer->in[k]);
    mm_buffer_fini(&peer->out);
}
