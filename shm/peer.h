/* Private arrays: the master's ordinary memory, read and written by workers through the kernel, piece by piece. */
#ifndef MM_SHM_PEER_H
#define MM_SHM_PEER_H

#include "shm/board.h"
#include "shm/buffer.h"

struct mm_peer {
    int pid; /* of the master; 0: this is the master, its memory is at hand */
    struct mm_buffer in[MAMUTO_MAX_ARGS], out;
};

enum mm_peer_result { MM_PEER_OK, MM_PEER_UNREADABLE, MM_PEER_UNWRITABLE, MM_PEER_GONE, MM_PEER_NO_MEMORY };

/* Items of a piece: about half a MiB of private bytes, at least one item. */
uint64_t mm_peer_piece(const struct mm_board_map *map);
/* Fetches the broadcast values of map's private inputs into their buffers. bad: which argument, on failure. */
enum mm_peer_result mm_peer_fetch_values(struct mm_peer *peer, const struct mm_board_map *map, int *bad);
/* Fetches items [begin, end) of map's private scattered inputs. */
enum mm_peer_result mm_peer_fetch(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end,
                                  int *bad);
/* Stores the results of items [begin, end) from the out buffer. */
enum mm_peer_result mm_peer_store(struct mm_peer *peer, const struct mm_board_map *map, uint64_t begin, uint64_t end);
/* Zeroes bytes of this process' own memory that may not be there. */
enum mm_peer_result mm_peer_zero(char *at, uint64_t bytes);
/* May this process read and write the memory of pid? Reads the word at address there, compares, and writes it back. */
bool mm_peer_allowed(int pid, uint64_t address, uint64_t expected);
void mm_peer_fini(struct mm_peer *peer);

#endif
