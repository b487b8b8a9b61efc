/* Frames over a pair of sockets: what a stream asks its owner before it believes a frame. */
#include "net/stream.h"
#include "tests/support/wires.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATTERN = 0x5a };

struct owner {
    struct mm_stream *stream;
    int asked, ended, frames;
    bool refuses;
    unsigned char *to;
    struct mm_frame last;
};

static int on_frame(void *of, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct owner *owner = of;
    (void)body, (void)n;
    owner->last = *frame;
    owner->frames++;
    return 0;
}

static int on_payload(void *of, const struct mm_frame *frame, size_t done, void **to)
{
    struct owner *owner = of;
    owner->asked++;
    *to = owner->to ? owner->to + frame->offset + done : NULL;
    return owner->refuses ? mm_stream_fail(owner->stream, "it is not wanted") : 0;
}

static int on_payload_end(void *of, const struct mm_frame *frame)
{
    struct owner *owner = of;
    owner->last = *frame;
    owner->ended++;
    return 0;
}

static const struct mm_stream_events events = { on_frame, on_payload, on_payload_end, NULL };

/* A stream of what a master sends, and the socket to write it to. */
static int begin(struct owner *owner)
{
    int fds[2];
    wires_socketpair(fds, 0);
    struct mm_wire *wire = mm_wire_of_fds(fds[0], fds[0]);
    assert_non_null(wire);
    owner->stream = mm_stream_new(wire, MM_BY_MASTER, MM_ON_BOTH, &events, owner);
    assert_non_null(owner->stream);
    return fds[1];
}

static void write_frame(int fd, const struct mm_frame *frame)
{
    unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
    size_t n = mm_frame_put(frame, at);
    assert_int_equal(write(fd, at, n), n);
}

static int read_it(struct owner *owner)
{
    bool more;
    return mm_stream_read(owner->stream, &more);
}

static void end(struct owner *owner, int fd)
{
    mm_stream_free(owner->stream);
    close(fd);
}

/* It was believed unseen: whoever it was for was told of its end, and looked for what it had never begun. */
static void stream_payload_of_no_bytes_is_asked_for_before_it_ends(void **state)
{
    (void)state;
    const struct mm_frame keep = { .length = 32, .type = MM_FRAME_KEEP, .id = 7 };
    struct owner owner = { 0 };
    int fd = begin(&owner);
    write_frame(fd, &keep);
    assert_int_equal(read_it(&owner), 0);
    assert_int_equal(owner.asked, 1);
    assert_int_equal(owner.ended, 1);
    owner.refuses = true;
    write_frame(fd, &keep);
    assert_int_equal(read_it(&owner), MAMUTO_EPROTOCOL);
    assert_int_equal(owner.ended, 1);
    assert_string_equal(mm_stream_error(owner.stream)->text, "it is not wanted");
    end(&owner, fd);
}

static void stream_payload_that_may_not_be_empty_is_refused(void **state)
{
    (void)state;
    static const struct mm_frame frames[] = { { .length = 16, .type = MM_FRAME_IN },
                                              { .length = 16, .type = MM_FRAME_BCAST },
                                              { .length = 16, .type = MM_FRAME_FILE },
                                              { .length = 32, .type = MM_FRAME_KEEP, .total = 8 } };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct owner owner = { 0 };
        char text[64];
        int fd = begin(&owner);
        write_frame(fd, &frames[i]);
        assert_int_equal(read_it(&owner), MAMUTO_EPROTOCOL);
        assert_int_equal(owner.asked + owner.ended, 0);
        snprintf(text, sizeof text, "frame %s: it is empty", mm_frame_name(frames[i].type));
        assert_string_equal(mm_stream_error(owner.stream)->text, text);
        end(&owner, fd);
    }
}

/* However it is cut on the way: header, prefix and payload of one frame, and the frame behind it. */
static void stream_frames_that_come_byte_by_byte_are_whole(void **state)
{
    (void)state;
    enum { N = 100 };
    unsigned char to[N] = { 0 }, bytes[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX + N + MM_FRAME_HEADER];
    const struct mm_frame in = { .length = 16 + N, .type = MM_FRAME_IN, .id = 3, .part = 2 };
    const struct mm_frame ping = { .type = MM_FRAME_PING, .id = 4 };
    struct owner owner = { .to = to };
    int fd = begin(&owner);
    size_t n = mm_frame_put(&in, bytes);
    memset(bytes + n, PATTERN, N);
    n += N;
    n += mm_frame_put(&ping, bytes + n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(write(fd, bytes + i, 1), 1);
        assert_int_equal(read_it(&owner), 0);
        assert_int_equal(owner.ended, i + 1 >= n - MM_FRAME_HEADER);
        assert_int_equal(owner.frames, i + 1 == n);
    }
    assert_int_equal(owner.last.id, 4);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(to[i], PATTERN);
    end(&owner, fd);
}

static void stream_that_ends_in_mid_frame_says_so(void **state)
{
    (void)state;
    struct owner owner = { 0 };
    int fd = begin(&owner);
    write_frame(fd, &(struct mm_frame){ .length = 20, .type = MM_FRAME_IN });
    assert_int_equal(read_it(&owner), 0);
    close(fd);
    assert_int_equal(read_it(&owner), MAMUTO_EHOST);
    assert_non_null(strstr(mm_stream_error(owner.stream)->text, "the stream ended in the middle of a frame"));
    assert_int_equal(owner.ended, 0);
    mm_stream_free(owner.stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_payload_of_no_bytes_is_asked_for_before_it_ends),
        cmocka_unit_test(stream_payload_that_may_not_be_empty_is_refused),
        cmocka_unit_test(stream_frames_that_come_byte_by_byte_are_whole),
        cmocka_unit_test(stream_that_ends_in_mid_frame_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
