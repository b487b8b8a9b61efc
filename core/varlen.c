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

enum { GROUPS = 256, LINE = 64, BLOCK = 64 };

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

/* Bytes of a long item. false: it lies outside the parts. */
static bool read_long(const struct mm_varlen_parts *parts, mm_varlen_record record, uint64_t *bytes)
{
    const char *head = find(parts, mm_varlen_place(record), MM_VARLEN_HEAD);
    if (head)
        memcpy(bytes, head, MM_VARLEN_HEAD);
    return head && *bytes < MM_VARLEN_SECOND && find(parts, mm_varlen_place(record), MM_VARLEN_HEAD + *bytes);
}

/* Of a block without long items, without a branch an item. false: there is one, or one lies outside. */
static bool sum_short(const struct mm_varlen_parts *parts, const mm_varlen_record *records, uint64_t n, uint64_t *sum)
{
    uint64_t bytes = 0, outside = 0, any_long = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t place = mm_varlen_place(records[i]), some = mm_varlen_short(records[i]);
        uint64_t behind = (place & (MM_VARLEN_SECOND - 1)) + some;
        outside |=
            (parts->bytes[place / MM_VARLEN_SECOND] - behind) & (some ? UINT64_MAX : 0); /* below 0: its top bit */
        any_long |= some == MM_VARLEN_LONG;
        bytes += some;
    }
    *sum += bytes;
    return !any_long && !(outside >> 63);
}

static bool sum_any(const struct mm_varlen_parts *parts, const mm_varlen_record *records, uint64_t n, uint64_t *bytes)
{
    uint64_t sum = *bytes;
    bool right = true;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t some = mm_varlen_short(records[i]);
        if (some == MM_VARLEN_LONG)
            right &= read_long(parts, records[i], &some);
        else
            right &= !some || find(parts, mm_varlen_place(records[i]), some);
        right &= !__builtin_add_overflow(sum, some, &sum);
    }
    *bytes = sum;
    return right;
}

bool mm_varlen_sum(const struct mm_varlen_parts *parts, const mm_varlen_record *records, uint64_t n, uint64_t *bytes)
{
    bool right = true;
    *bytes = 0;
    for (uint64_t i = 0, some; i < n; i += some) {
        uint64_t sum = *bytes;
        some = n - i < BLOCK ? n - i : BLOCK;
        if (sum_short(parts, records + i, some, &sum) && sum >= *bytes)
            *bytes = sum;
        else
            right &= sum_any(parts, records + i, some, bytes);
    }
    return right;
}

/* Short records from the first on that lie one behind the other (empty ones anywhere): number, place and bytes. */
static uint64_t stretch(const mm_varlen_record *records, uint64_t n, int shift, int64_t *offsets, uint64_t at,
                        uint64_t *place, uint64_t *bytes)
{
    uint64_t i = 0, sum = 0;
    *place = 0;
    for (uint64_t some; i < n; i++, sum += some) {
        some = mm_varlen_short(records[i]);
        if (some == MM_VARLEN_LONG)
            break;
        if (sum == 0)
            *place = mm_varlen_place(records[i]);
        else if (some && mm_varlen_place(records[i]) != *place + sum)
            break;
        offsets[i] = (int64_t)((at + sum) >> shift);
    }
    *bytes = sum;
    return i;
}

bool mm_varlen_gather(const struct mm_varlen_parts *parts, const mm_varlen_record *records, uint64_t n, size_t element,
                      bool past_caches, char *data, int64_t *offsets, uint64_t *at, uint64_t end)
{
    int shift = __builtin_ctzll((unsigned long long)element); /* elements have 1, 2, 4, 8 or 16 bytes */
    for (uint64_t i = 0, run; i < n; i += run) {
        uint64_t place, bytes = 0;
        run = stretch(records + i, n - i, shift, offsets + i, *at, &place, &bytes);
        if (!run) { /* a long one */
            if (!read_long(parts, records[i], &bytes))
                return false;
            offsets[i] = (int64_t)(*at >> shift);
            place = mm_varlen_place(records[i]) + MM_VARLEN_HEAD;
            run = 1;
        }
        const char *from = bytes ? find(parts, place, bytes) : data;
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
