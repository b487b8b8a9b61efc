/* Results of variable length: what each item has emitted, and how that becomes one array with offsets. Pure. */
#ifndef MM_CORE_VARLEN_H
#define MM_CORE_VARLEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of this size and fewer, of at most MM_VARLEN_GROUP items, are gathered where the records are, not by a map. */
enum { MM_VARLEN_TINY = 65536, MM_VARLEN_GROUP = 4096 };

/* What one item has emitted. All zero: nothing. */
struct mm_varlen_record {
    uint64_t place; /* MM_VARLEN_SECOND, if it is in the second part, and the offset in that part */
    uint64_t bytes;
};
#define MM_VARLEN_SECOND (UINT64_C(1) << 62)

/* Where the places are: two stretches of memory. */
struct mm_varlen_parts {
    const char *data[2];
    uint64_t bytes[2];
};

/* Items of a group, so that n of them make groups enough for all workers, and few enough to be summed on the loop. */
uint64_t mm_varlen_group(uint64_t n);

/* Sum of the bytes of n records. false: one of them lies outside the parts. */
bool mm_varlen_sum(const struct mm_varlen_parts *parts, const struct mm_varlen_record *records, uint64_t n,
                   uint64_t *bytes);
/* Copies what n records stand for to data, from byte *at on, and writes the offset of each, in elements. *at: behind
 * them. past_caches: the whole is much more than caches hold, so that it had better not go through them. false: a record
 * lies outside the parts, or more would be copied than up to byte end. */
bool mm_varlen_gather(const struct mm_varlen_parts *parts, const struct mm_varlen_record *records, uint64_t n,
                      size_t element, bool past_caches, char *data, int64_t *offsets, uint64_t *at, uint64_t end);

/* Bytes of the array that holds `bytes` of elements and the offsets of n items, and where these begin. false: more
 * than memory can hold. */
bool mm_varlen_layout(uint64_t bytes, uint64_t n, uint64_t *offsets_at, uint64_t *whole);

#endif
