/* libFuzzer entry: bytes of another machine. The first byte is a type of frame, the rest its header (whose first two bytes also
 * say from whom, and where), its prefix and its body, each by itself. Aborts where what a decoder finds does not encode to the
 * same bytes, and where an outcome becomes an error that is not for a terminal. Seeds: corpus/frame. */
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

/* Where nothing else is known of what an agent says: a text for a terminal, whole characters of UTF-8. */
static void is_harmless(const char *text, size_t room, bool lines)
{
    size_t n = strnlen(text, room), left = 0;
    must(n < room, "a text has its end");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        must((c >= ' ' && c != 0x7f) || (lines && c == '\n'), "a text has no control character");
        must(left ? (c & 0xc0) == 0x80 : (c & 0xc0) != 0x80, "a text is of whole characters");
        must(c != 0xc2 || (unsigned char)text[i + 1] >= 0xa0, "a text has no control character of the other kind");
        left = left ? left - 1 : c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    }
    must(!left, "a text ends with a whole character");
}

static void try_outcome(const uint8_t *data, size_t size)
{
    struct mm_outcome_body outcome;
    mamuto_error_t err = { 0 }, again = { 0 };
    const char *why = "";
    if (mm_get_outcome(&outcome, data, size, &why))
        return;
    mm_outcome_to_error(&outcome, &err);
    is_harmless(err.text, sizeof err.text, true);
    is_harmless(err.file, sizeof err.file, false);
    mm_error_to_outcome(&err, &outcome);
    mm_outcome_to_error(&outcome, &again);
    must(memcmp(&err, &again, sizeof err) == 0, "an error crosses a second time as it is");
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
    must(frame.length <= MM_FRAME_MOST && frame.length >= mm_frame_prefix(frame.type),
         "a frame is of a length of its type");
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
    must(code >= 0 || code == -1 || *why, "a reason is given");
    if (data[0] == MM_FRAME_FAIL || data[0] == MM_FRAME_KEPT)
        try_outcome(data + 1, size - 1);
    return 0;
}
