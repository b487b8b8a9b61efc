/* A wire over a socket, encrypted: TLS 1.3 with a key that both ends have from elsewhere. Plain C11 + POSIX. */
#ifndef MM_NET_TLS_H
#define MM_NET_TLS_H

#include "core/mamuto.h"
#include "net/message.h"
#include "net/wire.h"

/* Takes over a connected socket, non-blocking from now on. identity: both ends' name for the key. Only a far side that has the
 * key is spoken to: no certificate stands in for it. EHOST: there is no library; ENOMEM. On failure the socket stays the
 * caller's. */
int mm_tls_client(struct mm_wire **wire, int fd, const unsigned char key[MM_KEY_BYTES], const char *identity,
                  mamuto_error_t *err);
int mm_tls_server(struct mm_wire **wire, int fd, const unsigned char key[MM_KEY_BYTES], const char *identity,
                  mamuto_error_t *err);
/* A step of the handshake: 1: poll and call again; 0: the far side has proven the key, which is wiped here; EHOST: it has
 * not, and the wire's reason says why. Before that nothing can be read or written. */
int mm_tls_handshake(struct mm_wire *wire);
/* After so many bytes sent a side takes another key; 64 GiB. For tests. */
void mm_tls_set_rekey_bytes(struct mm_wire *wire, uint64_t bytes);
unsigned mm_tls_rekeyed(const struct mm_wire *wire); /* how often */

#endif
