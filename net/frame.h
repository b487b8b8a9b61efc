/* The frames of the protocol (net/PROTOCOL.md): their headers and prefixes, bytes to structure and back. Pure: no
 * descriptor, no memory of its own. Plain C11. */
#ifndef MM_NET_FRAME_H
#define MM_NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MM_FRAME_HEADER = 16,
    MM_FRAME_MOST = 1 << 20,   /* bytes behind a header: prefix and payload */
    MM_FRAME_SMALL = 64 << 10, /* of a frame that is taken whole */
    MM_FRAME_MOST_PREFIX = 32,
};

/* Who sends it (M the master, A the agent) and where (C the launch channel, S the stream; a stream in the channel is
 * both).
 *   name, number, senders, places, most bytes behind the header, bytes of the prefix (0: it is taken whole) */
#define MM_FRAMES(X)                                                                                                   \
    X(HELLO, 1, MM_BY_AGENT, MM_ON_CHANNEL, MM_FRAME_SMALL, 0)                                                         \
    X(START, 2, MM_BY_MASTER, MM_ON_CHANNEL, MM_FRAME_SMALL, 0)                                                        \
    X(LISTEN, 3, MM_BY_AGENT, MM_ON_CHANNEL, MM_FRAME_SMALL, 0)                                                        \
    X(PROVE, 4, MM_BY_BOTH, MM_ON_STREAM, 64, 0)                                                                       \
    X(BIND, 5, MM_BY_MASTER, MM_ON_BOTH, 0, 0)                                                                         \
    X(UP, 6, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                               \
    X(MODULE, 7, MM_BY_MASTER, MM_ON_CHANNEL, MM_FRAME_SMALL, 0)                                                       \
    X(FILE, 8, MM_BY_MASTER, MM_ON_CHANNEL, MM_FRAME_MOST, 16)                                                         \
    X(FUNCTION, 9, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                         \
    X(LOADED, 10, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                          \
    X(KEEP, 11, MM_BY_MASTER, MM_ON_BOTH, MM_FRAME_MOST, 32)                                                           \
    X(KEPT, 12, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                            \
    X(FORGET, 13, MM_BY_MASTER, MM_ON_BOTH, 0, 0)                                                                      \
    X(CALL, 14, MM_BY_MASTER, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                           \
    X(BCAST, 15, MM_BY_MASTER, MM_ON_BOTH, MM_FRAME_MOST, 16)                                                          \
    X(RUN, 16, MM_BY_MASTER, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                            \
    X(IN, 17, MM_BY_MASTER, MM_ON_BOTH, MM_FRAME_MOST, 16)                                                             \
    X(RESULT, 18, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_MOST, 32)                                                          \
    X(FAIL, 19, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                            \
    X(DONE, 20, MM_BY_AGENT, MM_ON_BOTH, MM_FRAME_SMALL, 0)                                                            \
    X(CANCEL, 21, MM_BY_MASTER, MM_ON_BOTH, 0, 0)                                                                      \
    X(END, 22, MM_BY_MASTER, MM_ON_BOTH, 0, 0)                                                                         \
    X(CREDIT, 23, MM_BY_MASTER, MM_ON_BOTH, 8, 0)                                                                      \
    X(OUT, 24, MM_BY_AGENT, MM_ON_BOTH, 16 << 10, 0)                                                                   \
    X(PING, 25, MM_BY_BOTH, MM_ON_BOTH, 0, 0)                                                                          \
    X(PONG, 26, MM_BY_BOTH, MM_ON_BOTH, 0, 0)                                                                          \
    X(BYE, 27, MM_BY_BOTH, MM_ON_BOTH, MM_FRAME_SMALL, 0)

enum { MM_BY_MASTER = 1, MM_BY_AGENT = 2, MM_BY_BOTH = 3 };
enum { MM_ON_CHANNEL = 1, MM_ON_STREAM = 2, MM_ON_BOTH = 3 };

#define MM_FRAME_ENUM(name_, number_, by_, on_, most_, prefix_) MM_FRAME_##name_ = (number_),
enum mm_frame_type { MM_FRAMES(MM_FRAME_ENUM) MM_FRAME_END_OF_TYPES };
#undef MM_FRAME_ENUM

/* A header; of a frame with a payload, its prefix too. */
struct mm_frame {
    uint32_t length; /* bytes behind the header */
    uint8_t type, flags;
    uint64_t id; /* of a module, object, call or lease; of a ping */
    uint32_t
        part; /* FILE: which file; BCAST, IN: argument | enum mm_frame_what << 8; KEEP, RESULT: enum mm_frame_what */
    uint64_t offset; /* of the payload's first byte in what it is a slice of */
    uint64_t total;  /* KEEP: bytes of the whole */
    uint64_t lo, hi; /* RESULT: whose items */
};

/* What a payload is a slice of. */
enum mm_frame_what {
    MM_WHAT_ITEMS,   /* arguments or results, packed */
    MM_WHAT_OFFSETS, /* of an argument of variable length: one i64 an item, and one more, the first is 0 */
    MM_WHAT_ABSENT,  /* of a run over groups: a byte an item (IN), a byte a group (RESULT) */
    MM_WHAT_MARKS,   /* RESULT: a byte an item: 1: it failed */
    MM_N_WHATS
};

/* The name of a type, for messages; NULL: there is no such type. */
const char *mm_frame_name(unsigned type);
/* Bytes of the prefix of a type: 0 where a frame of it is taken whole. */
uint32_t mm_frame_prefix(unsigned type);
/* Writes header and prefix; returns how many bytes. frame->length counts the prefix. */
size_t mm_frame_put(const struct mm_frame *frame, unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX]);
/* Reads a header; by and on: who sends on which. 0, or EPROTOCOL with why, a piece of a sentence: no such type, not from
 * this side, not in this place, too long, too short for its prefix, flags or reserved bits set. */
int mm_frame_get_header(struct mm_frame *frame, const unsigned char at[MM_FRAME_HEADER], int by, int on,
                        const char **why);
/* Reads the prefix of a frame whose header is there; checks what can be checked by itself: the argument or kind, lo < hi,
 * offsets that can be counted, reserved bits, and that there is a payload (but for KEEP of nothing). What it is beside the
 * lease, call or object that it names is its reader's to check. 0, or EPROTOCOL with why. */
int mm_frame_get_prefix(struct mm_frame *frame, const unsigned char *at, const char **why);

#endif
