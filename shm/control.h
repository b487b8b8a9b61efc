/* The socket between master and fork server: whole messages (SOCK_SEQPACKET), at most one fd with each. */
#ifndef MM_SHM_CONTROL_H
#define MM_SHM_CONTROL_H

#include <stddef.h>
#include <stdint.h>

enum mm_message_type {
    /* master to fork server */
    MM_MSG_BOARD = 1, /* fd; a: bytes */
    MM_MSG_ARENA,     /* fd; a: bytes */
    MM_MSG_EVENT,     /* fd */
    MM_MSG_LIFE,      /* fd: write end of the life pipe */
    MM_MSG_START,     /* id: workers; a: enum mm_pin, resolved to 0 or 1; b: MM_START_* */
    MM_MSG_PLACE,     /* fd, or none: the workers' working directory; a: added to their nice value; before START */
    MM_MSG_LOAD,      /* id: module; text: path, cc, n_cflags strings, libs (a, b: how many) each ended by 0 */
    MM_MSG_ATTACH,    /* fd; id: region; a: offset; b: bytes */
    MM_MSG_DETACH,    /* id: region */
    MM_MSG_RESPAWN,   /* id: lane */
    MM_MSG_KILL,      /* id: lane; a: pid; b: gen of the map that it must leave */
    MM_MSG_PUNCH,     /* a: offset; b: bytes */
    MM_MSG_WATCH,     /* a map with an item timeout has begun */
    /* fork server to master */
    MM_MSG_HELLO = 32, /* text: build id */
    MM_MSG_UP,         /* id: lane; a: pid */
    MM_MSG_DIED,       /* id: lane; a: wait status; b: pid */
    MM_MSG_FUNCTION,   /* id: module; a: form; b: line; text: name, signature, description, each ended by 0 */
    MM_MSG_LOADED,  /* id: module; a: 0 or code; b: mark or line; text: path or sentence, then file, each ended by 0 */
    MM_MSG_PUNCHED, /* a: offset; b: bytes */
    MM_MSG_OUTPUT,  /* fd: read end of a pipe; id: lane; a: which of the worker's descriptors it is, 1 or 2 */
};

enum { MM_START_CORE_DUMPS = 1, MM_START_OUTPUT = 2 };
enum { MM_MESSAGE_TEXT = 60 * 1024 };

struct mm_message {
    uint32_t type, id;
    int64_t a, b;
    uint32_t text_bytes;
    uint32_t serial; /* ATTACH, DETACH, START: of the attached files, then */
    char text[MM_MESSAGE_TEXT];
};

/* Sends; fd -1: none. 0, or -errno. EAGAIN: the socket is full (non-blocking side). */
int mm_control_send(int socket, const struct mm_message *message, int fd);
/* Receives a whole, valid message; fd: -1 or a new close-on-exec fd. 1: got one; 0: end; -errno. A message that is cut
 * short or of the wrong size is -EPROTO; one whose fd this process has no room for, too, but for MM_MSG_OUTPUT: fd is -1. */
int mm_control_receive(int socket, struct mm_message *message, int *fd);

/* Appends a string with its 0. -1: no room. */
int mm_message_add(struct mm_message *message, const char *text);
/* The next string of the text after *at, or NULL. */
const char *mm_message_next(const struct mm_message *message, size_t *at);

#endif
