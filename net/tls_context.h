/* How TLS is set up, the same for all wires: versions, suites, keys by name. Used by net/tls.c alone. Plain C11 + POSIX. */
#ifndef MM_NET_TLS_CONTEXT_H
#define MM_NET_TLS_CONTEXT_H

#include "net/tls.h"
#include "net/tls_library.h"

/* The key of one stream and its name, as OpenSSL's callbacks find them. */
struct mm_tls_secret {
    unsigned char key[MM_TLS_KEY];
    unsigned char identity[MM_TLS_IDENTITY];
    size_t n;      /* bytes of identity */
    bool no_match; /* server: the client named another */
};

/* One end of a connection: no bytes have gone yet, the BIO is to be set. The secret is borrowed until its end. NULL: no
 * memory, or OpenSSL lacks a suite. */
struct ssl_st *mm_tls_new(const struct mm_tls_library *library, bool server, struct mm_tls_secret *secret);
/* After a handshake: neither we nor OpenSSL have the key any more. */
void mm_tls_wipe(const struct mm_tls_library *library, struct ssl_st *ssl, struct mm_tls_secret *secret);

#endif
