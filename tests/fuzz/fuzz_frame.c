/* libFuzzer entry: bytes of another machine. The first byte is a type of frame, the rest its header, its prefix and its body, each
 * by itself. Aborts where what a decoder finds does not encode to the same bytes. Seeds: corpus/frame. */
#include "net/frame.h"
#include "tests/support/bodies.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static void try_header(const uint8_t *data, size_t size)
{
    unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX] = { 0 }, again[sizeof at];
    struct mm_frame frame;
    const char *why = "";
    if (size < sizeof at)
        return;
    memcpy(at, data, sizeof at);
    if (mm_frame_get_header(&frame, at, 1 + data[0] % 3, 1 + data[1] % 3, &why) &&
        mm_frame_get_header(&frame, at, MM_BY_BOTH, MM_ON_BOTH, &why)) {
        must(*why, "a reason is given");
        return;
    }
    must(mm_frame_name(frame.type) != NULL, "a frame has a name");
    if (mm_frame_prefix(frame.type) && mm_frame_get_prefix(&frame, at + MM_FRAME_HEADER, &why)) {
        must(*why, "a reason is given");
        return;
    }
    size_t n = mm_frame_put(&frame, again);
    must(memcmp(at, again, n) == 0, "a frame is put as it was got");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char again[BODIES_BYTES];
    const char *why = "";
    size_t n = 0;
    if (size < 1)
        return 0;
    try_header(data + 1, size - 1);
    int code = bodies_take(data[0], data + 1, size - 1, again, &n, &why);
    if (code == 0 && n)
        must(n == size - 1 && memcmp(again, data + 1, n) == 0, "a body is put as it was got");
    return 0;
}
