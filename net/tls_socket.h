/* The bytes of TLS between OpenSSL and a socket: a BIO that buffers on both sides. Used by net/tls.c alone. Plain C11 +
 * POSIX. */
#ifndef MM_NET_TLS_SOCKET_H
#define MM_NET_TLS_SOCKET_H

#include "net/tls_library.h"

#include <sys/types.h>

enum {
    MM_TLS_RECORD = 16 << 10,                 /* most bytes of data in a record */
    MM_TLS_RECORD_ROOM = MM_TLS_RECORD + 512, /* and with what goes around it, and a key update before it */
    MM_TLS_READ = 64 << 10,                   /* read at once */
    MM_TLS_HELD = 7 * MM_TLS_RECORD_ROOM,     /* written at once */
};

struct mm_tls_socket {
    int fd;
    const struct mm_tls_library *library;
    size_t may_read;             /* so many bytes more, then read_error is EMSGSIZE */
    bool ended;                  /* the far side has sent its last byte */
    bool buffers;                /* reads ahead */
    int read_error, write_error; /* errno, for ever */
    unsigned char *in, *out;     /* heap; NULL: nothing is in there */
    size_t in_begin, in_end, out_begin, out_end;
};

/* A BIO over the socket, which it borrows; its users free it. NULL: no memory. */
struct bio_st *mm_tls_socket_bio(struct mm_tls_socket *s);
/* Writes what is held back. 0: nothing is; -EAGAIN: something still is; or another -errno. */
int mm_tls_socket_flush(struct mm_tls_socket *s);
/* Is there room for a record to be held back? If not, flush. */
bool mm_tls_socket_has_room(const struct mm_tls_socket *s);
/* Frees the buffers that are empty: an idle stream has none. */
void mm_tls_socket_trim(struct mm_tls_socket *s);
void mm_tls_socket_fini(struct mm_tls_socket *s);

static inline bool mm_tls_socket_holds(const struct mm_tls_socket *s) { return s->out_begin < s->out_end; }
static inline bool mm_tls_socket_has_read(const struct mm_tls_socket *s) { return s->in_begin < s->in_end; }

#endif
