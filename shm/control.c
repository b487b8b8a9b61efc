/* Messages between master and fork server. A message is its fixed head and text_bytes of text, checked on receipt.
 * Both ends are on one machine and of one build (checked by MM_MSG_HELLO), so the head travels as it lies in memory.
 * Allocates nothing. Blocks as its socket does. */
#include "shm/control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const size_t HEAD = offsetof(struct mm_message, text);

union fd_room {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int mm_control_send(int socket, const struct mm_message *message, int fd)
{
    union {
        const struct mm_message *in;
        void *out;
    } data = { message };
    struct iovec part = { data.out, HEAD + message->text_bytes };
    union fd_room room = { 0 };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    if (fd >= 0) {
        head.msg_control = room.bytes;
        head.msg_controllen = sizeof room.bytes;
        struct cmsghdr *item = CMSG_FIRSTHDR(&head);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(item), &fd, sizeof fd);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &head, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

static int take_fd(struct msghdr *head)
{
    int fd = -1;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(head); item; item = CMSG_NXTHDR(head, item))
        if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(item), sizeof fd);
    return fd;
}

int mm_control_receive(int socket, struct mm_message *message, int *fd)
{
    struct iovec part = { message, sizeof *message };
    union fd_room room;
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof room.bytes
    };
    ssize_t got;
    do
        got = recvmsg(socket, &head, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    *fd = -1;
    if (got <= 0)
        return got < 0 ? -errno : 0;
    *fd = take_fd(&head);
    bool whole = !(head.msg_flags & MSG_TRUNC) && (size_t)got >= HEAD && message->text_bytes == (size_t)got - HEAD;
    whole = whole && (!(head.msg_flags & MSG_CTRUNC) || (*fd < 0 && message->type == MM_MSG_OUTPUT));
    if (whole && (message->text_bytes == 0 || message->text[message->text_bytes - 1] == '\0'))
        return 1;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return -EPROTO;
}

int mm_message_add(struct mm_message *message, const char *text)
{
    size_t bytes = strlen(text) + 1;
    if (bytes > MM_MESSAGE_TEXT - message->text_bytes)
        return -1;
    memcpy(message->text + message->text_bytes, text, bytes);
    message->text_bytes += (uint32_t)bytes;
    return 0;
}

const char *mm_message_next(const struct mm_message *message, size_t *at)
{
    if (*at >= message->text_bytes)
        return NULL;
    const char *text = message->text + *at;
    *at += strlen(text) + 1;
    return text;
}
