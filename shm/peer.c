/* process_vm_readv and _writev between a worker's warm buffers and the master's private arrays.
 *
 * One system call a piece and direction, all inputs of the piece in one; pieces of half a MiB stay in the second-level
 * cache, so that what must move is moved once. A short transfer means that the array ends in unmapped memory: the
 * argument is named.
 * Items that lie apart are fetched with what lies between them while that is small (the kernel takes 0.6 µs for an item on
 * its own, and 3 KB more in a row), else one by one. Results that lie apart are always stored one by one: what lies
 * between them is not the map's. Used by a worker's lane alone; a helping caller works in place and needs none of this.
 */
#include "shm/peer.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_GAP = 3072 };   /* less than a page: so no page of such a span is without an item */
enum { MOST_PARTS = 1024 }; /* IOV_MAX of Linux */

static bool is_fetched(const struct mm_board_arg *arg, bool scattered)
{
    return arg->where == MM_WHERE_PRIVATE && (arg->stride != 0) == scattered && arg->size;
}

static uint64_t step_of(const struct mm_board_arg *arg)
{
    return arg->stride < 0 ? 0 - (uint64_t)arg->stride : (uint64_t)arg->stride;
}

static bool is_sparse(const struct mm_board_arg *arg)
{
    return step_of(arg) > arg->size && step_of(arg) - arg->size > MOST_GAP;
}

static bool has_offsets(const struct mm_board_map *map, unsigned k)
{
    return map->flags & MM_MAP_VARIABLE && map->offsets[k].where != MM_WHERE_NONE;
}

uint64_t mm_peer_item_bytes(const struct mm_board_map *map)
{
    uint64_t bytes = map->out.where == MM_WHERE_PRIVATE ? map->out.size : 0;
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_arg *arg = &map->in[k];
        if (has_offsets(map, k))
            bytes += map->offsets[k].where == MM_WHERE_PRIVATE ? sizeof(int64_t) : 0;
        else if (is_fetched(arg, true))
            bytes += is_sparse(arg) ? arg->size : step_of(arg);
    }
    return bytes;
}

uint64_t mm_peer_piece(const struct mm_board_map *map)
{
    uint64_t bytes = mm_peer_item_bytes(map);
    if (bytes < sizeof(int64_t)) /* what little there may be is cut by shm/variable.c */
        bytes = map->flags & MM_MAP_VARIABLE ? sizeof(int64_t) : bytes;
    return bytes && bytes < MM_PEER_PIECE_BYTES ? MM_PEER_PIECE_BYTES / bytes : 1;
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
static enum mm_peer_result transfer(bool read, int pid, struct iovec *local, unsigned long n_local,
                                    struct iovec *remote, unsigned long n_remote)
{
    while (n_local) {
        ssize_t got = read ? process_vm_readv(pid, local, n_local, remote, n_remote, 0)
                           : process_vm_writev(pid, local, n_local, remote, n_remote, 0);
        if (got == 0 || (got < 0 && errno == EFAULT))
            return read ? MM_PEER_UNREADABLE : MM_PEER_UNWRITABLE;
        if (got < 0)
            return errno == ENOMEM ? MM_PEER_NO_MEMORY : MM_PEER_GONE;
        n_remote = advance(&remote, n_remote, (size_t)got);
        n_local = advance(&local, n_local, (size_t)got);
    }
    return MM_PEER_OK;
}

/* address of the master's bytes: an integer that crossed the board, never a pointer of this process */
static struct iovec part_at(uint64_t address, size_t bytes)
{
    union {
        uint64_t number;
        void *pointer;
    } u = { .number = address };
    return (struct iovec){ u.pointer, bytes };
}

/* n items of a private array, one by one, to or from a packed buffer. */
static enum mm_peer_result transfer_items(bool read, int pid, char *packed, const struct mm_board_arg *arg,
                                          uint64_t begin, uint64_t end)
{
    struct iovec remote[MOST_PARTS];
    enum mm_peer_result result = MM_PEER_OK;
    while (begin < end && result == MM_PEER_OK) {
        unsigned long n = 0;
        for (; n < MOST_PARTS && begin < end; n++, begin++)
            remote[n] = part_at(arg->offset + begin * (uint64_t)arg->stride, arg->size);
        struct iovec local = { packed, n * arg->size };
        packed += local.iov_len;
        result = transfer(read, pid, &local, 1, remote, n);
    }
    return result;
}

/* What is fetched in one call. */
struct parts {
    struct iovec local[MAMUTO_MAX_ARGS], remote[MAMUTO_MAX_ARGS];
    int argument[MAMUTO_MAX_ARGS];
    unsigned long n;
};

/* Room for bytes of argument k; NULL: no memory. They are fetched with the others, if there are any. */
static char *add_part(struct parts *parts, struct mm_buffer *buffer, uint64_t address, uint64_t bytes, unsigned k)
{
    char *room = mm_buffer_reserve(buffer, bytes ? bytes : 1);
    if (!room || !bytes)
        return room;
    parts->local[parts->n] = (struct iovec){ room, bytes };
    parts->remote[parts->n] = part_at(address, bytes);
    parts->argument[parts->n++] = (int)k;
    return room;
}

static enum mm_peer_result fetch_parts(struct mm_peer *peer, const struct parts *parts, int *bad)
{
    struct parts copy = *parts; /* transfer uses them up */
    enum mm_peer_result result = transfer(true, peer->pid, copy.local, copy.n, copy.remote, copy.n);
    copy = *parts;
    for (unsigned long i = 0; result == MM_PEER_UNREADABLE && i < copy.n; i++) {
        *bad = copy.argument[i];
        if (transfer(true, peer->pid, &copy.local[i], 1, &copy.remote[i], 1) != MM_PEER_OK)
            break;
    }
    return result;
}

/* Where element 0 would be, if the element that the offsets begin with lies at p. */
static const char *element_zero(const char *p, int64_t first, uint64_t size)
{
    union {
        const char *pointer;
        uintptr_t number;
    } u = { .pointer = p };
    u.number -= (uint64_t)first * size;
    return u.pointer;
}

/* The elements of argument k, of variable length, of items that have these offsets. */
static bool add_elements(struct mm_peer *peer, struct parts *parts, const struct mm_board_map *map, unsigned k,
                         const int64_t *at, uint64_t n)
{
    const struct mm_board_arg *arg = &map->in[k];
    uint64_t address = arg->offset + (uint64_t)(at[0] - map->offsets[k].low) * arg->size;
    const char *room = add_part(parts, &peer->in[k], address, (uint64_t)(at[n] - at[0]) * arg->size, k);
    peer->data[k] = room ? element_zero(room, at[0], arg->size) : NULL;
    peer->stride[k] = 0;
    return room != NULL;
}

/* Items [begin, end) of argument k, with what lies between them. */
static bool add_items(struct mm_peer *peer, struct parts *parts, const struct mm_board_arg *arg, unsigned k,
                      uint64_t begin, uint64_t end)
{
    uint64_t reach = (end - begin - 1) * step_of(arg), back = arg->stride < 0 ? reach : 0;
    uint64_t address = arg->offset + begin * (uint64_t)arg->stride - back;
    const char *room = add_part(parts, &peer->in[k], address, reach + arg->size, k);
    peer->data[k] = room ? room + back : NULL;
    peer->stride[k] = (ptrdiff_t)arg->stride;
    return room != NULL;
}

static enum mm_peer_result fetch_sparse(struct mm_peer *peer, const struct mm_board_arg *arg, unsigned k,
                                        uint64_t begin, uint64_t end)
{
    char *room = mm_buffer_reserve(&peer->in[k], (size_t)((end - begin) * arg->size));
    peer->data[k] = room;
    peer->stride[k] = (ptrdiff_t)arg->size;
    return room ? transfer_items(true, peer->pid, room, arg, begin, end) : MM_PEER_NO_MEMORY;
}

static enum mm_peer_result fetch(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end,
                                 const int64_t *const *at, bool scattered, int *bad)
{
    struct parts parts = { .n = 0 };
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_arg *arg = &map->in[k];
        if (!is_fetched(arg, scattered))
            continue;
        bool variable = at && at[k];
        enum mm_peer_result result = MM_PEER_OK;
        *bad = (int)k;
        if (!variable && is_sparse(arg))
            result = fetch_sparse(peer, arg, k, begin, end);
        else if (!(variable ? add_elements(peer, &parts, map, k, at[k], end - begin)
                            : add_items(peer, &parts, arg, k, begin, end)))
            result = MM_PEER_NO_MEMORY;
        if (result != MM_PEER_OK)
            return result;
    }
    return fetch_parts(peer, &parts, bad);
}

enum mm_peer_result mm_peer_fetch_values(struct mm_peer *peer, const struct mm_board_map *map, int *bad)
{
    return fetch(peer, map, 0, 1, NULL, false, bad);
}

enum mm_peer_result mm_peer_fetch_offsets(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin,
                                          uint64_t end, int *bad)
{
    struct parts parts = { .n = 0 };
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_offsets *offsets = &map->offsets[k];
        *bad = (int)k;
        if (offsets->where == MM_WHERE_PRIVATE &&
            !add_part(&parts, &peer->offsets[k], offsets->offset + begin * sizeof(int64_t),
                      (end - begin + 1) * sizeof(int64_t), k))
            return MM_PEER_NO_MEMORY;
    }
    enum mm_peer_result result = fetch_parts(peer, &parts, bad);
    return result == MM_PEER_UNREADABLE ? MM_PEER_OFFSETS_UNREADABLE : result;
}

enum mm_peer_result mm_peer_fetch(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end,
                                  const int64_t *const *at, int *bad)
{
    if (map->out.where == MM_WHERE_PRIVATE && !mm_buffer_reserve(&peer->out, (size_t)((end - begin) * map->out.size)))
        return MM_PEER_NO_MEMORY;
    return fetch(peer, map, begin, end, at, true, bad);
}

enum mm_peer_result mm_peer_store(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end)
{
    const struct mm_board_arg *out = &map->out;
    if (out->stride != (int64_t)out->size)
        return transfer_items(false, peer->pid, peer->out.data, out, begin, end);
    size_t bytes = (size_t)((end - begin) * out->size);
    struct iovec local = { peer->out.data, bytes };
    struct iovec remote = part_at(out->offset + begin * out->size, bytes);
    return transfer(false, peer->pid, &local, 1, &remote, 1);
}

enum mm_peer_result mm_peer_zero(char *to, uint64_t bytes)
{
    static char zeros[4096];
    for (uint64_t done = 0, step; done < bytes; done += step) {
        step = bytes - done < sizeof zeros ? bytes - done : sizeof zeros;
        struct iovec local = { zeros, step }, remote = { to + done, step };
        if (transfer(false, getpid(), &local, 1, &remote, 1) == MM_PEER_UNWRITABLE)
            return MM_PEER_UNWRITABLE;
    }
    return MM_PEER_OK;
}

bool mm_peer_allowed(int pid, uint64_t address, uint64_t expected)
{
    uint64_t seen = 0;
    struct iovec local = { &seen, sizeof seen }, remote = part_at(address, sizeof seen);
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof seen && seen == expected &&
           process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof seen;
}

void mm_peer_fini(struct mm_peer *peer)
{
    for (int k = 0; k < MAMUTO_MAX_ARGS; k++) {
        mm_buffer_fini(&peer->in[k]);
        mm_buffer_fini(&peer->offsets[k]);
    }
    mm_buffer_fini(&peer->out);
}
