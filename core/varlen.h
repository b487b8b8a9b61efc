/* Results of variable length: what each item has emitted, and how that becomes one array with offsets. Pure. */
#ifndef MM_CORE_VARLEN_H
#define MM_CORE_VARLEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of this size and fewer, of at most MM_VARLEN_GROUP items, are gathered where the records are, not by a map. */
enum { MM_VARLEN_TINY = 65536, MM_VARLEN_GROUP = 4096 };

/* What one item has emitted: place << 24 | bytes; 0: nothing. A place is an offset in a part, below MM_VARLEN_SECOND,
 * which is added for the second part. A long item has MM_VARLEN_LONG for its bytes, and their true number, in eight
 * bytes, at its place, before its elements. Records are written, summed and followed once an item: they are half as
 * long that way. */
typedef uint64_t mm_varlen_record;
#define MM_VARLEN_LONG UINT64_C(0xffffff)
#define MM_VARLEN_SECOND (UINT64_C(1) << 39)
enum { MM_VARLEN_HEAD = 8 };

static inline mm_varlen_record mm_varlen_pack(uint64_t place, uint64_t bytes) { return place << 24 | bytes; }
static inline uint64_t mm_varlen_place(mm_varlen_record record) { return record >> 24; }
static inline uint64_t mm_varlen_short(mm_varlen_record record) { return record & MM_VARLEN_LONG; }

/* Where the places are: two stretches of memory. */
struct mm_varlen_parts {
    const char *data[2];
    uint64_t bytes[2];
};

/* Items of a group, so that n of them make groups enough for all workers, and few enough to be summed on the loop. */
uint64_t mm_varlen_group(uint64_t n);

/* Sum of the bytes of n records. false: one of them lies outside the parts. */
bool mm_varlen_sum(const struct mm_varlen_parts *parts, const mm_varlen_record *records, uint64_t n, uint64_t *bytes);
/* Copies what n records stand for to data, from byte *at on, and writes the offset of each, in elements. *at: behind
 * them. past_caches: the whole is much more than caches hold, so that it had better not go through them. false: a
 * record lies outside the parts, or more would be copied than up to byte end. */
bool mm_varlen_gather(const struct mm_varlen_parts *parts, const mm_varlen_record *records, uint64_t n, size_t element,
                      bool past_caches, char *data, int64_t *offsets, uint64_t *at, uint64_t end);

/* Bytes of the array that holds `bytes` of elements and the offsets of n items, and where these begin. false: more
 * than memory can hold. */
bool mm_varlen_layout(uint64_t bytes, uint64_t n, uint64_t *offsets_at, uint64_t *whole);

#endif
