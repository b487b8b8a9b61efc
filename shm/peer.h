/* Private arrays: the master's ordinary memory, read and written by workers through the kernel, piece by piece. */
#ifndef MM_SHM_PEER_H
#define MM_SHM_PEER_H

#include "shm/board.h"
#include "shm/buffer.h"

struct mm_peer {
    int pid; /* of the master; 0: this is the master, its memory is at hand */
    struct mm_buffer in[MAMUTO_MAX_ARGS], offsets[MAMUTO_MAX_ARGS], out;
    /* of what was fetched last: its first item (of variable length: element 0), and from there to the next */
    const char *data[MAMUTO_MAX_ARGS];
    ptrdiff_t stride[MAMUTO_MAX_ARGS];
};

enum mm_peer_result {
    MM_PEER_OK,
    MM_PEER_UNREADABLE,
    MM_PEER_OFFSETS_UNREADABLE,
    MM_PEER_UNWRITABLE,
    MM_PEER_GONE,
    MM_PEER_NO_MEMORY
};

enum { MM_PEER_PIECE_BYTES = 1 << 19 };

/* Private bytes of an item that are moved, but for those of variable length. */
uint64_t mm_peer_item_bytes(const struct mm_board_map *map);
/* Items of a piece: about half a MiB of private bytes, at least one item. */
uint64_t mm_peer_piece(const struct mm_board_map *map);
/* Fetches the broadcast values of map's private inputs into their buffers. bad: which argument, on failure. */
enum mm_peer_result mm_peer_fetch_values(struct mm_peer *peer, const struct mm_board_map *map, int *bad);
/* Fetches the private offsets of items [begin, end), into peer->offsets. */
enum mm_peer_result mm_peer_fetch_offsets(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin,
                                          uint64_t end, int *bad);
/* Fetches items [begin, end) of map's private scattered inputs. at: by argument, the offsets of item begin, NULL: it has
 * none; they are sound. */
enum mm_peer_result mm_peer_fetch(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end,
                                  const int64_t *const *at, int *bad);
/* Stores the results of items [begin, end), packed in the out buffer; what lies between them is left alone. */
enum mm_peer_result mm_peer_store(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end);
/* Zeroes bytes of this process' own memory that may not be there. */
enum mm_peer_result mm_peer_zero(char *at, uint64_t bytes);
/* May this process read and write the memory of pid? Reads the word at address there, compares, and writes it back. */
bool mm_peer_allowed(int pid, uint64_t address, uint64_t expected);
void mm_peer_fini(struct mm_peer *peer);

/* What is known of an array that could not be copied. */
#define MM_SAY_UNREADABLE "is not readable: its address is wrong, or it ends before its last item"
#define MM_SAY_UNWRITABLE                                                                                              \
    "the result is not writable: its address is wrong, it is read-only, or it ends before its last item"

#endif
