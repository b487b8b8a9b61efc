/* The arithmetic of results of variable length, without any state.
 *
 * While the map runs, the elements lie in slabs, in the order in which workers emitted them, and each item has a record
 * of where. Items that a worker ran one after the other mostly lie one after the other, too, so that the gathering
 * copies few long stretches rather than many short ones. Records lie where a function's stray write may hit them, so
 * each one is checked before it is followed. Called by the workers for a group of records each, and by the owner where
 * there is little to do.
 */
#include "core/varlen.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { GROUPS = 256, LINE = 64 };

/* As memcpy, by stores that do not first read the lines that they overwrite: a third less to move. */
static void copy_past_caches(char *to, const char *from, uint64_t bytes)
{
#ifdef __SSE2__
    uint64_t head = (LINE - (uintptr_t)to % LINE) % LINE, at = head < bytes ? head : bytes;
    memcpy(to, from, at);
    for (; bytes - at >= LINE; at += LINE) {
        __m128i *line = (__m128i *)(void *)(to + at);
        const __m128i *source = (const __m128i *)(const void *)(from + at);
        __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
        __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
        _mm_stream_si128(line, a);
        _mm_stream_si128(line + 1, b);
        _mm_stream_si128(line + 2, c);
        _mm_stream_si128(line + 3, d);
    }
    _mm_sfence(); /* before the word that says that it is done */
    to += at;
    from += at;
    bytes -= at;
#endif
    memcpy(to, from, bytes);
}

uint64_t mm_varlen_group(uint64_t n)
{
    uint64_t items = n / GROUPS;
    return items < 1 ? 1 : items > MM_VARLEN_GROUP ? MM_VARLEN_GROUP : items;
}

/* Where [place, place + bytes) lies; NULL: outside. */
static const char *find(const struct mm_varlen_parts *parts, uint64_t place, uint64_t bytes)
{
    bool second = place & MM_VARLEN_SECOND;
    uint64_t offset = second ? place ^ MM_VARLEN_SECOND : place, room = parts->bytes[second];
    return offset <= room && bytes <= room - offset ? parts->data[second] + offset : NULL;
}

bool mm_varlen_sum(const struct mm_varlen_parts *parts, const struct mm_varlen_record *records, uint64_t n,
                   uint64_t *bytes)
{
    uint64_t sum = 0;
    bool right = true;
    for (uint64_t i = 0; i < n; i++) {
        right &= !records[i].bytes || find(parts, records[i].place, records[i].bytes);
        right &= !__builtin_add_overflow(sum, records[i].bytes, &sum);
    }
    *bytes = sum;
    return right;
}

/* Records from the first on that lie one behind the other (empty ones anywhere): their number; their bytes. */
static uint64_t stretch(const struct mm_varlen_record *records, uint64_t n, int shift, int64_t *offsets, uint64_t at,
                        uint64_t *bytes)
{
    uint64_t i = 0, sum = 0, more, begin = records[0].place;
    for (; i < n; i++, sum = more) {
        if (sum == 0)
            begin = records[i].place;
        else if (records[i].bytes && records[i].place != begin + sum)
            break;
        if (__builtin_add_overflow(sum, records[i].bytes, &more))
            break;
        offsets[i] = (int64_t)((at + sum) >> shift);
    }
    *bytes = sum;
    return i;
}

bool mm_varlen_gather(const struct mm_varlen_parts *parts, const struct mm_varlen_record *records, uint64_t n,
                      size_t element, bool past_caches, char *data, int64_t *offsets, uint64_t *at, uint64_t end)
{
    int shift = __builtin_ctzll((unsigned long long)element); /* elements have 1, 2, 4, 8 or 16 bytes */
    for (uint64_t i = 0, run; i < n; i += run) {
        uint64_t bytes, empty = i;
        run = stretch(records + i, n - i, shift, offsets + i, *at, &bytes);
        if (!run)
            return false;
        while (!records[empty].bytes && empty + 1 < i + run)
            empty++;
        const char *from = bytes ? find(parts, records[empty].place, bytes) : data;
        if (!from || bytes > end - *at)
            return false;
        if (past_caches)
            copy_past_caches(data + *at, from, bytes);
        else if (bytes)
            memcpy(data + *at, from, bytes);
        *at += bytes;
    }
    return true;
}

bool mm_varlen_layout(uint64_t bytes, uint64_t n, uint64_t *offsets_at, uint64_t *whole)
{
    uint64_t offsets;
    return !__builtin_add_overflow(bytes, LINE - 1, offsets_at) && (*offsets_at &= ~(uint64_t)(LINE - 1), true) &&
           !__builtin_mul_overflow(n + 1, sizeof(int64_t), &offsets) &&
           !__builtin_add_overflow(*offsets_at, offsets, whole) && *whole <= INT64_MAX;
}
