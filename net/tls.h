/* A wire of TLS 1.3 over a connected socket. Both ends know a key of 32 bytes and a name for it; there are no
 * certificates, and nothing else is ever accepted. Plain C11 + POSIX; OpenSSL is found at run time (net/tls_library.h).
 *
 * Roles are fixed: the agent is the server, the master is the client, whoever dialled. An ordinary wire once the handshake
 * is done; before that, readv and writev carry the handshake on and give -EAGAIN, so that a stream may be put on it at
 * once. What writev has taken is sent, or held back until poll() says POLLOUT: then writev again, if with nothing (n = 0).
 * A far side that ends the connection without ending TLS is an error, not an end. */
#ifndef MM_NET_TLS_H
#define MM_NET_TLS_H

#include "core/mamuto.h"
#include "net/wire.h"

enum {
    MM_TLS_KEY = 32,
    MM_TLS_IDENTITY = 64,      /* most bytes of a key's name */
    MM_TLS_UNPROVEN = 8 << 10, /* most bytes that are read from one who has not proved the key */
    MM_TLS_REKEY = 1 << 22,    /* records after which a side takes a new key: 64 GiB where they are full */
};

/* Takes over the socket, which needs not be non-blocking; key and identity are copied, and the key is wiped when the
 * handshake has ended. NULL with err: EHOST, there is no OpenSSL here; EINVAL, identity is empty or too long; ENOMEM. The
 * socket is the caller's, then. */
struct mm_wire *mm_tls_client(int fd, const unsigned char key[MM_TLS_KEY], const char *identity, mamuto_error_t *err);
struct mm_wire *mm_tls_server(int fd, const unsigned char key[MM_TLS_KEY], const char *identity, mamuto_error_t *err);

/* Carries the handshake on. 0: it is done, the far side has proved the key; 1: call again when poll() says what
 * wants() asks for; or a code, for ever: EHOST, ENOMEM, and the wire's reason() says why. */
int mm_tls_handshake(struct mm_wire *wire);

/* For tests: a new key after so many records; how many there were. */
void mm_tls_set_rekey(struct mm_wire *wire, uint64_t records);
uint64_t mm_tls_rekeys(const struct mm_wire *wire);

#endif
