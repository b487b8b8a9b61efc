/* A 128-bit hash of our own, for cache keys. Against accidents only: nothing is guarded by it. Pure. */
#ifndef MM_CORE_HASH_H
#define MM_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct mm_hash {
    uint64_t a, b, length;
    unsigned char tail[16]; /* bytes that do not fill a block yet */
};

void mm_hash_init(struct mm_hash *hash);
void mm_hash_add(struct mm_hash *hash, const void *data, size_t bytes);
void mm_hash_add_text(struct mm_hash *hash,
                      const char *text);                    /* with its end, so that "a","bc" differs from "ab","c" */
void mm_hash_hex(const struct mm_hash *hash, char hex[33]); /* the hash of what was added; hash may go on */

#endif
