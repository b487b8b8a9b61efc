/* A good body of each frame that is taken whole, and its decoder. */
#ifndef MM_TESTS_SUPPORT_BODIES_H
#define MM_TESTS_SUPPORT_BODIES_H

#include "net/message.h"

#include <stdbool.h>

enum { BODIES_BYTES = 8192 };

/* The i-th kind: its frame, and a body of it that differs with seed. Bytes; 0: there is no such kind. */
size_t bodies_make(unsigned i, uint64_t seed, enum mm_frame_type *type, unsigned char body[BODIES_BYTES]);
/* Decodes it as a body of that type, and encodes what was found: into again, how many bytes into *n_again. 0, or the code. Types
 * without a decoder: -1. */
int bodies_take(unsigned type, const unsigned char *body, size_t n, unsigned char again[BODIES_BYTES], size_t *n_again,
                const char **why);

#endif
