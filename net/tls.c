/* TLS 1.3 over a socket, by OpenSSL.
 *
 * The key is an external PSK with (EC)DHE, so a recorded stream stays closed even to who gets the key later. A client that
 * does not verify would take any certificate in place of the key: it verifies against nothing, and both ends ask whether the
 * session was "resumed", as it is by a PSK and by nothing else. OpenSSL never changes keys by itself; AES-GCM's bound passes
 * after some 390 GB, so each side does after 64 GiB. Reads go straight to where the caller wants them. Bytes go through a BIO
 * of our own, whose send() raises no SIGPIPE. Called by the owner's loop.
 */
#include "net/tls.h"

#include "core/alloc.h"
#include "core/error.h"
#include "net/tls_library.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IDENTITY = 64, READ_BUFFER = 64 << 10, MOST_WRITE = 16 << 10 };
static const uint64_t REKEY_BYTES = UINT64_C(64) << 30;
static const unsigned char CIPHER[2] = { 0x13, 0x01 }; /* TLS_AES_128_GCM_SHA256: what names the key's hash */

struct tls_wire {
    struct mm_wire wire;
    const struct mm_tls_library *lib;
    struct ssl_ctx_st *ctx;
    struct ssl_st *ssl;
    unsigned char key[MM_KEY_BYTES];
    char identity[IDENTITY];
    bool proven, ended;
    bool read_wants_out, write_wants_in; /* what the last try asked for */
    uint64_t sent, rekey_bytes;
    unsigned rekeyed;
    int last; /* errno of the socket */
    char reason[128];
};

/* --- the socket as a BIO ------------------------------------------------------------------------------------------ */

static struct bio_method_st *method; /* one for all, for ever */

static int keep_errno(struct tls_wire *w, struct bio_st *bio, ssize_t n, int flag)
{
    w->lib->BIO_clear_flags(bio, MM_BIO_FLAGS_READ | MM_BIO_FLAGS_WRITE | MM_BIO_FLAGS_SHOULD_RETRY);
    if (n >= 0)
        return (int)n;
    if (errno == EAGAIN || errno == EINTR)
        w->lib->BIO_set_flags(bio, flag | MM_BIO_FLAGS_SHOULD_RETRY);
    else
        w->last = errno;
    return -1;
}

static int bio_write(struct bio_st *bio, const char *bytes, int n)
{
    struct tls_wire *w = mm_tls_library()->BIO_get_data(bio);
    return keep_errno(w, bio, send(w->wire.fd_out, bytes, (size_t)n, MSG_NOSIGNAL), MM_BIO_FLAGS_WRITE);
}

static int bio_read(struct bio_st *bio, char *bytes, int n)
{
    struct tls_wire *w = mm_tls_library()->BIO_get_data(bio);
    return keep_errno(w, bio, recv(w->wire.fd_in, bytes, (size_t)n, 0), MM_BIO_FLAGS_READ);
}

static long bio_ctrl(struct bio_st *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == MM_BIO_CTRL_FLUSH;
}

static void make_method(void)
{
    const struct mm_tls_library *lib = mm_tls_library();
    method = lib->BIO_meth_new(lib->BIO_get_new_index() | MM_BIO_TYPE_SOURCE_SINK, "mamuto");
    if (!method)
        return;
    lib->BIO_meth_set_write(method, bio_write);
    lib->BIO_meth_set_read(method, bio_read);
    lib->BIO_meth_set_ctrl(method, bio_ctrl);
}

static struct bio_st *make_bio(struct tls_wire *w)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    struct bio_st *bio = method ? w->lib->BIO_new(method) : NULL;
    if (!bio)
        return NULL;
    w->lib->BIO_set_data(bio, w);
    w->lib->BIO_set_init(bio, 1);
    return bio;
}

/* --- the key ------------------------------------------------------------------------------------------------------ */

static struct ssl_session_st *make_session(struct tls_wire *w)
{
    struct ssl_session_st *session = w->lib->SSL_SESSION_new();
    const struct ssl_cipher_st *cipher = w->lib->SSL_CIPHER_find(w->ssl, CIPHER);
    if (session && cipher && w->lib->SSL_SESSION_set1_master_key(session, w->key, sizeof w->key) == 1 &&
        w->lib->SSL_SESSION_set_cipher(session, cipher) == 1 &&
        w->lib->SSL_SESSION_set_protocol_version(session, MM_TLS1_3_VERSION) == 1)
        return session;
    w->lib->SSL_SESSION_free(session);
    return NULL;
}

static int use_key(struct ssl_st *ssl, const struct evp_md_st *md, const unsigned char **id, size_t *n,
                   struct ssl_session_st **session)
{
    struct tls_wire *w = mm_tls_library()->SSL_get_ex_data(ssl, 0);
    *session = NULL;
    if (md && md != w->lib->EVP_sha256())
        return 1; /* a suite of another hash: not with this key */
    *session = make_session(w);
    *id = (const unsigned char *)w->identity;
    *n = strlen(w->identity);
    return *session != NULL;
}

static int find_key(struct ssl_st *ssl, const unsigned char *identity, size_t n, struct ssl_session_st **session)
{
    struct tls_wire *w = mm_tls_library()->SSL_get_ex_data(ssl, 0);
    *session = NULL;
    if (n != strlen(w->identity) || w->lib->CRYPTO_memcmp(identity, w->identity, n) != 0)
        return 1; /* there is no such key: the handshake will fail */
    *session = make_session(w);
    return *session != NULL;
}

/* --- the wire ----------------------------------------------------------------------------------------------------- */

static ssize_t fail(struct tls_wire *w, int result)
{
    unsigned long error = w->lib->ERR_peek_last_error();
    const char *text = error ? w->lib->ERR_reason_error_string(error) : NULL;
    if (w->last)
        snprintf(w->reason, sizeof w->reason, "%s", strerror(w->last));
    else
        snprintf(w->reason, sizeof w->reason, "%s", text ? text : "the far side has ended it");
    w->ended = true;
    w->lib->ERR_clear_error();
    return result < 0 && w->last ? -w->last : -ECONNRESET;
}

static ssize_t read_some(struct tls_wire *w, void *to, size_t n)
{
    w->lib->ERR_clear_error();
    int got = w->lib->SSL_read(w->ssl, to, n < INT_MAX ? (int)n : INT_MAX);
    w->read_wants_out = false;
    if (got > 0)
        return got;
    switch (w->lib->SSL_get_error(w->ssl, got)) {
    case MM_SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case MM_SSL_ERROR_WANT_WRITE:
        w->read_wants_out = true;
        return -EAGAIN;
    case MM_SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return fail(w, got);
    }
}

static ssize_t tls_readv(struct mm_wire *wire, const struct iovec *iov, int n)
{
    struct tls_wire *w = (struct tls_wire *)wire;
    ssize_t total = 0;
    if (w->ended || !w->proven)
        return w->ended ? -ECONNRESET : -EAGAIN;
    for (int i = 0; i < n; i++) {
        size_t done = 0;
        while (done < iov[i].iov_len) {
            ssize_t got = read_some(w, (char *)iov[i].iov_base + done, iov[i].iov_len - done);
            if (got <= 0)
                return total ? total : got;
            done += (size_t)got;
            total += got;
        }
    }
    return total;
}

/* After so many bytes, another key. Only between writes. */
static void rekey(struct tls_wire *w)
{
    if (w->sent < w->rekey_bytes || w->lib->SSL_key_update(w->ssl, MM_SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
        return;
    w->sent = 0;
    w->rekeyed++;
}

static ssize_t write_some(struct tls_wire *w, const void *from, size_t n)
{
    w->lib->ERR_clear_error();
    int put = w->lib->SSL_write(w->ssl, from, (int)n);
    w->write_wants_in = false;
    if (put > 0) {
        w->sent += (uint64_t)put;
        rekey(w);
        return put;
    }
    switch (w->lib->SSL_get_error(w->ssl, put)) {
    case MM_SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case MM_SSL_ERROR_WANT_READ:
        w->write_wants_in = true;
        return -EAGAIN;
    default:
        return fail(w, put);
    }
}

static ssize_t tls_writev(struct mm_wire *wire, const struct iovec *iov, int n)
{
    struct tls_wire *w = (struct tls_wire *)wire;
    ssize_t total = 0;
    if (w->ended || !w->proven)
        return w->ended ? -ECONNRESET : -EAGAIN;
    for (int i = 0; i < n; i++)
        for (size_t done = 0; done < iov[i].iov_len;) {
            size_t left = iov[i].iov_len - done;
            ssize_t put = write_some(w, (const char *)iov[i].iov_base + done, left < MOST_WRITE ? left : MOST_WRITE);
            if (put < 0)
                return total ? total : put;
            done += (size_t)put;
            total += put;
        }
    return total;
}

static void tls_wants(const struct mm_wire *wire, bool reading, bool writing, short *in, short *out)
{
    const struct tls_wire *w = (const struct tls_wire *)wire;
    *in = (reading && !w->read_wants_out) || (writing && w->write_wants_in) ? POLLIN : 0;
    *out = (writing && !w->write_wants_in) || (reading && w->read_wants_out) ? POLLOUT : 0;
}

static bool tls_has_more(const struct mm_wire *wire)
{
    const struct tls_wire *w = (const struct tls_wire *)wire;
    return w->proven && !w->ended && w->lib->SSL_has_pending(w->ssl) == 1;
}

static const char *tls_reason(const struct mm_wire *wire)
{
    const struct tls_wire *w = (const struct tls_wire *)wire;
    return w->reason[0] ? w->reason : "the far side has ended it";
}

static void free_wire(struct tls_wire *w)
{
    if (w->ssl)
        w->lib->SSL_free(w->ssl);
    if (w->ctx)
        w->lib->SSL_CTX_free(w->ctx);
    w->lib->OPENSSL_cleanse(w->key, sizeof w->key);
    mm_free(w);
}

static void tls_close(struct mm_wire *wire)
{
    struct tls_wire *w = (struct tls_wire *)wire;
    int fd = wire->fd_in;
    if (w->proven && !w->ended)
        w->lib->SSL_shutdown(w->ssl);
    free_wire(w);
    close(fd);
}

static const struct mm_wire_ops tls_ops = { .readv = tls_readv,
                                            .writev = tls_writev,
                                            .wants = tls_wants,
                                            .has_more = tls_has_more,
                                            .reason = tls_reason,
                                            .close = tls_close };

/* --- making one --------------------------------------------------------------------------------------------------- */

static bool set_up(struct tls_wire *w, bool server)
{
    const struct mm_tls_library *lib = w->lib;
    w->ctx = lib->SSL_CTX_new(server ? lib->TLS_server_method() : lib->TLS_client_method());
    if (!w->ctx || !lib->SSL_CTX_ctrl(w->ctx, MM_SSL_CTRL_SET_MIN_PROTO_VERSION, MM_TLS1_3_VERSION, NULL) ||
        !lib->SSL_CTX_set_ciphersuites(w->ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"))
        return false;
    lib->SSL_CTX_ctrl(w->ctx, MM_SSL_CTRL_MODE,
                      MM_SSL_MODE_ENABLE_PARTIAL_WRITE | MM_SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
    lib->SSL_CTX_ctrl(w->ctx, MM_SSL_CTRL_SET_SESS_CACHE_MODE, 0, NULL);
    lib->SSL_CTX_ctrl(w->ctx, MM_SSL_CTRL_SET_READ_AHEAD, 1, NULL);
    lib->SSL_CTX_set_default_read_buffer_len(w->ctx, READ_BUFFER);
    lib->SSL_CTX_set_num_tickets(w->ctx, 0);
    if (server)
        lib->SSL_CTX_set_psk_find_session_callback(w->ctx, find_key);
    else {
        lib->SSL_CTX_set_verify(w->ctx, MM_SSL_VERIFY_PEER, NULL); /* against no certificate at all */
        lib->SSL_CTX_set_psk_use_session_callback(w->ctx, use_key);
    }
    w->ssl = lib->SSL_new(w->ctx);
    struct bio_st *bio = w->ssl ? make_bio(w) : NULL;
    if (!bio || lib->SSL_set_ex_data(w->ssl, 0, w) != 1)
        return false;
    lib->SSL_set_bio(w->ssl, bio, bio);
    if (server)
        lib->SSL_set_accept_state(w->ssl);
    else
        lib->SSL_set_connect_state(w->ssl);
    return true;
}

static int make(struct mm_wire **wire, int fd, const unsigned char *key, const char *identity, bool server,
                mamuto_error_t *err)
{
    const struct mm_tls_library *lib = mm_tls_library();
    if (!lib)
        return mm_error_set(err, MAMUTO_EHOST, "there is no libssl.so.3 or libssl.so.1.1");
    struct tls_wire *w = mm_alloc(sizeof *w);
    if (!w || strlen(identity) >= IDENTITY) {
        mm_free(w);
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for an encrypted connection");
    }
    w->wire = (struct mm_wire){ &tls_ops, fd, fd };
    w->lib = lib;
    w->rekey_bytes = REKEY_BYTES;
    memcpy(w->key, key, sizeof w->key);
    memcpy(w->identity, identity, strlen(identity) + 1);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!set_up(w, server)) {
        free_wire(w);
        return mm_error_set(err, MAMUTO_ENOMEM, "OpenSSL cannot set an encrypted connection up");
    }
    *wire = &w->wire;
    return 0;
}

int mm_tls_client(struct mm_wire **wire, int fd, const unsigned char key[MM_KEY_BYTES], const char *identity,
                  mamuto_error_t *err)
{
    return make(wire, fd, key, identity, false, err);
}

int mm_tls_server(struct mm_wire **wire, int fd, const unsigned char key[MM_KEY_BYTES], const char *identity,
                  mamuto_error_t *err)
{
    return make(wire, fd, key, identity, true, err);
}

int mm_tls_handshake(struct mm_wire *wire)
{
    struct tls_wire *w = (struct tls_wire *)wire;
    if (w->proven)
        return 0;
    w->lib->ERR_clear_error();
    int done = w->lib->SSL_do_handshake(w->ssl);
    int error = done == 1 ? 0 : w->lib->SSL_get_error(w->ssl, done);
    w->read_wants_out = error == MM_SSL_ERROR_WANT_WRITE;
    if (error == MM_SSL_ERROR_WANT_READ || error == MM_SSL_ERROR_WANT_WRITE)
        return 1;
    w->lib->OPENSSL_cleanse(w->key, sizeof w->key);
    if (done == 1 && w->lib->SSL_session_reused(w->ssl) == 1) {
        w->proven = true;
        return 0;
    }
    if (done == 1) {
        snprintf(w->reason, sizeof w->reason, "the far side has shown a certificate in place of the key");
        w->ended = true;
    } else
        fail(w, done);
    return MAMUTO_EHOST;
}

void mm_tls_set_rekey_bytes(struct mm_wire *wire, uint64_t bytes) { ((struct tls_wire *)wire)->rekey_bytes = bytes; }

unsigned mm_tls_rekeyed(const struct mm_wire *wire) { return ((const struct tls_wire *)wire)->rekeyed; }
