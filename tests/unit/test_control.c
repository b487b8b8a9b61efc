/* Messages between master and fork server: what is sent arrives, and what is not a whole message is refused. */
#include "shm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];
static struct mm_message out, in;

static const size_t HEAD = offsetof(struct mm_message, text);

static int set_up(void **state)
{
    (void)state;
    memset(&out, 0, sizeof out);
    memset(&in, 0xff, sizeof in);
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
    (void)state;
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    return 0;
}

static int next_fd(void) /* the lowest that is free: one that leaks moves it */
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void control_message_arrives_as_it_was_sent(void **state)
{
    (void)state;
    int fd;
    out = (struct mm_message){ .type = MM_MSG_KILL, .id = 7, .a = INT64_MIN, .b = INT64_MAX };
    assert_int_equal(mm_control_send(ends[0], &out, -1), 0);
    assert_int_equal(mm_control_receive(ends[1], &in, &fd), 1);
    assert_int_equal(fd, -1);
    assert_memory_equal(&in, &out, HEAD);
}

static void control_messages_keep_their_order_and_bounds(void **state)
{
    (void)state;
    int fd;
    for (uint32_t i = 0; i < 50; i++) {
        out = (struct mm_message){ .type = MM_MSG_UP, .id = i };
        for (uint32_t k = 0; k < i; k++)
            assert_int_equal(mm_message_add(&out, "word"), 0);
        assert_int_equal(mm_control_send(ends[0], &out, -1), 0);
    }
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(mm_control_receive(ends[1], &in, &fd), 1);
        assert_int_equal(in.id, i);
        assert_int_equal(in.text_bytes, 5 * i);
    }
}

static void control_message_brings_a_descriptor(void **state)
{
    (void)state;
    int fd, pipe_ends[2];
    struct stat sent, got;
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    out = (struct mm_message){ .type = MM_MSG_LIFE };
    assert_int_equal(mm_control_send(ends[0], &out, pipe_ends[1]), 0);
    assert_int_equal(mm_control_receive(ends[1], &in, &fd), 1);
    assert_true(fd >= 0 && fd != pipe_ends[1]);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(pipe_ends[1], &sent) | fstat(fd, &got), 0);
    assert_int_equal(sent.st_ino, got.st_ino);
    close(fd);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void control_largest_message_arrives(void **state)
{
    (void)state;
    int fd;
    static char text[MM_MESSAGE_TEXT];
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(mm_message_add(&out, text), 0);
    assert_int_equal(mm_message_add(&out, ""), -1);
    assert_int_equal(mm_control_send(ends[0], &out, -1), 0);
    assert_int_equal(mm_control_receive(ends[1], &in, &fd), 1);
    assert_int_equal(in.text_bytes, MM_MESSAGE_TEXT);
    assert_memory_equal(in.text, text, sizeof text);
}

static void control_text_is_read_string_by_string(void **state)
{
    (void)state;
    size_t at = 0;
    assert_int_equal(mm_message_add(&out, "one") | mm_message_add(&out, "") | mm_message_add(&out, "three"), 0);
    assert_string_equal(mm_message_next(&out, &at), "one");
    assert_string_equal(mm_message_next(&out, &at), "");
    assert_string_equal(mm_message_next(&out, &at), "three");
    assert_null(mm_message_next(&out, &at));
    assert_null(mm_message_next(&out, &at));
}

static void control_text_without_room_is_left_as_it_was(void **state)
{
    (void)state;
    static char text[MM_MESSAGE_TEXT];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 8] = '\0'; /* leaves 7 bytes */
    assert_int_equal(mm_message_add(&out, text), 0);
    assert_int_equal(mm_message_add(&out, "1234567"), -1);
    assert_int_equal(out.text_bytes, MM_MESSAGE_TEXT - 7);
    assert_int_equal(mm_message_add(&out, "123456"), 0);
}

static void control_end_of_the_socket_is_told(void **state)
{
    (void)state;
    int fd;
    close(ends[1]);
    ends[1] = -1;
    assert_int_equal(mm_control_receive(ends[0], &in, &fd), 0);
    assert_int_equal(mm_control_send(ends[0], &out, -1), -EPIPE); /* and no SIGPIPE */
}

static void control_socket_that_would_block_is_told(void **state)
{
    (void)state;
    int fd, code = 0, n = 0;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    assert_int_equal(mm_control_receive(ends[0], &in, &fd), -EAGAIN);
    while (n < 100000 && (code = mm_control_send(ends[0], &out, -1)) == 0)
        n++;
    assert_int_equal(code, -EAGAIN);
    assert_true(n > 0);
}

/* Sends bytes that are no message, with a descriptor, and expects that they are refused and the descriptor closed. */
static void expect_refused(const void *bytes, size_t size)
{
    char room[CMSG_SPACE(sizeof(int))];
    int fd = 0, free_fd = next_fd();
    union {
        const void *in;
        void *out;
    } data = { bytes };
    struct iovec part = { data.out, size };
    memset(room, 0, sizeof room);
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
    struct cmsghdr *item = CMSG_FIRSTHDR(&head);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(item), &ends[0], sizeof(int));
    assert_int_equal(sendmsg(ends[0], &head, 0), size);
    assert_int_equal(mm_control_receive(ends[1], &in, &fd), -EPROTO);
    assert_int_equal(fd, -1);
    assert_int_equal(next_fd(), free_fd);
}

static void control_bytes_that_are_no_message_are_refused(void **state)
{
    (void)state;
    static struct {
        struct mm_message message;
        char more[64];
    } large;
    for (size_t size = 1; size < HEAD; size++)
        expect_refused(&out, size);
    out.text_bytes = 1; /* more than there are */
    expect_refused(&out, HEAD);
    out.text_bytes = 4;
    memcpy(out.text, "abcd", 4); /* not ended by a 0 */
    expect_refused(&out, HEAD + 4);
    out.text_bytes = 0; /* fewer than there are */
    expect_refused(&out, HEAD + 4);
    out.text_bytes = UINT32_MAX;
    expect_refused(&out, HEAD + 4);
    large.message.text_bytes = MM_MESSAGE_TEXT; /* cut short by what receives it */
    expect_refused(&large, sizeof large);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(control_message_arrives_as_it_was_sent),
        TEST(control_messages_keep_their_order_and_bounds),
        TEST(control_message_brings_a_descriptor),
        TEST(control_largest_message_arrives),
        TEST(control_text_is_read_string_by_string),
        TEST(control_text_without_room_is_left_as_it_was),
        TEST(control_end_of_the_socket_is_told),
        TEST(control_socket_that_would_block_is_told),
        TEST(control_bytes_that_are_no_message_are_refused),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
