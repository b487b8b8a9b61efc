/* Two ends of a stream of bytes, pumped by poll() in this thread, each writing what the other checks: for tests of wires. */
#ifndef MM_TESTS_SUPPORT_WIRES_H
#define MM_TESTS_SUPPORT_WIRES_H

#include "net/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct wires_end {
    struct mm_wire *wire;
    uint64_t to_write, to_read;     /* bytes; set by the test */
    unsigned offset_out, offset_in; /* which bytes: equal to the other end's offset_in and offset_out */
    size_t most;                    /* bytes in a piece; 0: 60,000 */
    uint64_t written, read;
    ssize_t write_result, read_result; /* the last that was not > 0 or -EAGAIN; 1: none */
};

/* Sockets that are connected, with buffers of so many bytes (0: as they come). Non-blocking. */
void wires_socketpair(int fds[2], int buffer_bytes);
void wires_tcp(int fds[2], int buffer_bytes);

void wires_seed(uint64_t seed); /* what is written, and how it is cut */
uint64_t wires_random(void);

bool wires_is_slow(void); /* under a sanitizer or valgrind */

/* Reads and writes by pieces of random lengths until all is done at both ends, nothing is held back, or an end has failed.
 * False: 30 s have passed (600 where it is slow), or wrong bytes came; stderr says so. */
bool wires_pump(struct wires_end ends[2]);
/* One turn of one end without poll(). Did anything move? */
bool wires_turn(struct wires_end *end);

#endif
