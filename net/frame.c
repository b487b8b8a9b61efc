/* Headers and prefixes of frames. One table says of each type who sends it, where, how long it may be, and how much of it is
 * a prefix; everything is little-endian and written byte by byte. Called by net/stream.c.
 */
#include "net/frame.h"

#include "core/mamuto.h"

struct type {
    const char *name;
    int by, on;
    uint32_t most, prefix;
};

#define TYPE(name_, number_, by_, on_, most_, prefix_) [number_] = { #name_, by_, on_, most_, prefix_ },
static const struct type types[] = { MM_FRAMES(TYPE) };
#undef TYPE
enum { N_TYPES = sizeof types / sizeof *types };

static const struct type *type_of(unsigned type) { return type < N_TYPES && types[type].name ? &types[type] : NULL; }

const char *mm_frame_name(unsigned type)
{
    const struct type *t = type_of(type);
    return t ? t->name : NULL;
}

uint32_t mm_frame_prefix(unsigned type)
{
    const struct type *t = type_of(type);
    return t ? t->prefix : 0;
}

static unsigned char *put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
    return at + bytes;
}

static uint64_t get(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static unsigned char *put_prefix(const struct mm_frame *frame, unsigned char *at)
{
    switch (frame->type) {
    case MM_FRAME_FILE:
    case MM_FRAME_BCAST:
    case MM_FRAME_IN:
        at = put(at, frame->part, 4);
        at = put(at, 0, 4);
        return put(at, frame->offset, 8);
    case MM_FRAME_KEEP:
        at = put(at, frame->part, 4);
        at = put(at, 0, 4);
        at = put(at, frame->offset, 8);
        at = put(at, frame->total, 8);
        return put(at, 0, 8);
    default: /* RESULT */
        at = put(at, frame->part, 4);
        at = put(at, 0, 4);
        at = put(at, frame->offset, 8);
        at = put(at, frame->lo, 8);
        return put(at, frame->hi, 8);
    }
}

size_t mm_frame_put(const struct mm_frame *frame, unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX])
{
    unsigned char *end = put(at, frame->length, 4);
    end = put(end, frame->type, 1);
    end = put(end, frame->flags, 1);
    end = put(end, 0, 2);
    end = put(end, frame->id, 8);
    if (mm_frame_prefix(frame->type))
        end = put_prefix(frame, end);
    return (size_t)(end - at);
}

static int wrong(const char **why, const char *text)
{
    *why = text;
    return MAMUTO_EPROTOCOL;
}

int mm_frame_get_header(struct mm_frame *frame, const unsigned char at[MM_FRAME_HEADER], int by, int on,
                        const char **why)
{
    const struct type *t = type_of(at[4]);
    *frame = (struct mm_frame){ .length = (uint32_t)get(at, 4), .type = at[4], .flags = at[5], .id = get(at + 8, 8) };
    if (!t)
        return wrong(why, "there is no such type");
    if (!(t->by & by))
        return wrong(why, "this side does not send it");
    if (!(t->on & on))
        return wrong(why, "it does not go this way");
    if (frame->flags || at[6] || at[7])
        return wrong(why, "reserved bits are set");
    if (frame->length > t->most)
        return wrong(why, "it is too long");
    if (frame->length < t->prefix)
        return wrong(why, "it is too short");
    return 0;
}

static int get_result(struct mm_frame *frame, const unsigned char *at, const char **why)
{
    frame->lo = get(at + 16, 8);
    frame->hi = get(at + 24, 8);
    if (frame->part >= MM_N_WHATS || frame->part == MM_WHAT_OFFSETS)
        return wrong(why, "it is of no known kind");
    if (frame->lo >= frame->hi)
        return wrong(why, "it has no items");
    return frame->hi <= MAMUTO_MAX_ITEMS ? 0 : wrong(why, "its items are more than a map has");
}

static int get_keep(struct mm_frame *frame, const unsigned char *at, uint64_t payload, const char **why)
{
    frame->total = get(at + 16, 8);
    if (get(at + 24, 8))
        return wrong(why, "reserved bits are set");
    if (frame->part > MM_WHAT_OFFSETS)
        return wrong(why, "it is of no known kind");
    if (payload > frame->total || frame->offset > frame->total - payload)
        return wrong(why, "it is beyond the whole");
    return payload || !frame->total ? 0 : wrong(why, "it is empty");
}

static int get_input(const struct mm_frame *frame, const char **why)
{
    unsigned k = frame->part & 0xff, what = frame->part >> 8;
    if (k >= MAMUTO_MAX_ARGS || what > MM_WHAT_ABSENT || (what == MM_WHAT_ABSENT && k))
        return wrong(why, "it is of no argument");
    return 0;
}

int mm_frame_get_prefix(struct mm_frame *frame, const unsigned char *at, const char **why)
{
    uint64_t payload = frame->length - mm_frame_prefix(frame->type);
    frame->part = (uint32_t)get(at, 4);
    frame->offset = get(at + 8, 8);
    if (get(at + 4, 4))
        return wrong(why, "reserved bits are set");
    if (frame->offset > INT64_MAX - payload)
        return wrong(why, "its offset is too large");
    if (!payload && frame->type != MM_FRAME_KEEP)
        return wrong(why, "it is empty");
    switch (frame->type) {
    case MM_FRAME_RESULT:
        return get_result(frame, at, why);
    case MM_FRAME_KEEP:
        return get_keep(frame, at, payload, why);
    case MM_FRAME_IN:
        return get_input(frame, why);
    case MM_FRAME_BCAST:
        return frame->part < MAMUTO_MAX_ARGS ? 0 : wrong(why, "it is of no argument");
    default:
        return 0;
    }
}
