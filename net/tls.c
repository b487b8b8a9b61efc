/* A wire of TLS.
 *
 *   HANDSHAKE ---> OPEN ---> FAILED
 *        '-------------------^
 *
 * Invariants: no byte of the far side's data is handed out, and none of ours is encrypted, before it has proved the key
 * (SSL_session_reused: without it, OpenSSL would be content with a certificate). The key is wiped when the handshake ends,
 * either way. Writing never depends on reading, nor the other way round: what OpenSSL wants to send is held back by
 * net/tls_socket.c. After MM_TLS_REKEY records the sender changes its key; OpenSSL never does so by itself, and AES-GCM's
 * bound is 2^24.5 records, full or not.
 * OpenSSL's queue of errors is of the thread: it is emptied before each call, so that what others left in it is not taken
 * for ours, and after each error.
 * Called by the owner's loop, on both ends. Knows nothing of frames, and has no clock: who waits too long closes it.
 */
#include "net/tls.h"

#include "core/alloc.h"
#include "core/error.h"
#include "net/tls_context.h"
#include "net/tls_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum state { HANDSHAKE, OPEN, FAILED };

struct tls {
    struct mm_wire wire;
    const struct mm_tls_library *library;
    struct ssl_st *ssl;
    struct mm_tls_socket socket;
    struct mm_tls_secret secret;
    enum state state;
    int failure; /* -errno, of FAILED */
    bool server, begun;
    uint64_t records, rekey_after, rekeys;
    char reason[160];
};

/* --- what went wrong --------------------------------------------------------------------------------------------- */

static const char *why_refused(const struct tls *t, unsigned reason)
{
    if (t->server && t->secret.no_match)
        return "the far side named the key of another stream";
    if (reason == MM_SSL_R_BINDER_DOES_NOT_VERIFY)
        return "the far side has another key";
    if (reason == MM_SSL_R_CERTIFICATE_VERIFY_FAILED)
        return "the far side has a certificate instead of the key";
    if (reason >= MM_SSL_AD_REASON_OFFSET)
        return "the far side refused it";
    return "it is not what this side asks for";
}

/* From what OpenSSL and the socket left behind: the sentence, and -errno. */
static int describe(struct tls *t)
{
    unsigned long error = t->library->ERR_peek_error();
    const char *text = error ? t->library->ERR_reason_error_string(error) : NULL;
    const char *where = t->state == HANDSHAKE ? "the TLS handshake failed" : "TLS failed";
    if (t->socket.write_error == ENOMEM || (text && strstr(text, "malloc failure"))) {
        snprintf(t->reason, sizeof t->reason, "%s: not enough memory", where);
        return -ENOMEM;
    }
    if (t->socket.read_error == EMSGSIZE) {
        snprintf(t->reason, sizeof t->reason, "%s: the far side sent more than %d bytes without proving the key", where,
                 MM_TLS_UNPROVEN);
        return -EPROTO;
    }
    if (t->socket.read_error || (!error && t->socket.write_error)) {
        int e = t->socket.read_error ? t->socket.read_error : t->socket.write_error;
        snprintf(t->reason, sizeof t->reason, "%s: the connection broke: %s", where, strerror(e));
        return -e;
    }
    if (t->socket.ended) {
        snprintf(t->reason, sizeof t->reason, "%s: the far side ended the connection without ending TLS", where);
        return -ECONNRESET;
    }
    snprintf(t->reason, sizeof t->reason, "%s: %s (%s)", where, why_refused(t, (unsigned)(error & 0xFFF)),
             text ? text : "OpenSSL does not say more");
    return -EPROTO;
}

static int fail(struct tls *t)
{
    t->failure = describe(t);
    t->library->ERR_clear_error();
    mm_tls_wipe(t->library, t->ssl, &t->secret);
    mm_tls_socket_flush(&t->socket); /* the alert, which tells the far side */
    t->state = FAILED;
    return t->failure;
}

/* --- the handshake ---------------------------------------------------------------------------------------------- */

static bool is_later(const struct tls *t, int result)
{
    int error = t->library->SSL_get_error(t->ssl, result);
    return error == MM_SSL_ERROR_WANT_READ || error == MM_SSL_ERROR_WANT_WRITE;
}

static int open_up(struct tls *t)
{
    if (!t->library->SSL_session_reused(t->ssl)) {
        fail(t);
        snprintf(t->reason, sizeof t->reason, "the TLS handshake failed: the far side did not prove the key");
        return t->failure = -EPROTO;
    }
    mm_tls_wipe(t->library, t->ssl, &t->secret);
    t->socket.may_read = SIZE_MAX;
    t->socket.buffers = true;
    t->state = OPEN;
    return 0;
}

/* 1: done, 0: later, -1: failed. What is to be sent goes out; that it cannot be sent is no reason to stop before what
 * the far side has sent is read: it may say why it has gone. */
static int step(struct tls *t)
{
    t->library->ERR_clear_error();
    int result = t->library->SSL_do_handshake(t->ssl);
    bool later = result != 1 && is_later(t, result);
    int flushed = mm_tls_socket_flush(&t->socket);
    if (later && flushed && flushed != -EAGAIN) {
        result = t->library->SSL_do_handshake(t->ssl);
        later = false;
    }
    return later ? 0 : result == 1 ? 1 : -1;
}

/* 0, -EAGAIN or another -errno. */
static int get_ready(struct tls *t)
{
    if (t->state != HANDSHAKE)
        return t->failure;
    t->begun = true;
    int result = step(t);
    mm_tls_socket_trim(&t->socket);
    if (!result)
        return -EAGAIN;
    return result < 0 ? fail(t) : open_up(t);
}

int mm_tls_handshake(struct mm_wire *wire)
{
    int code = get_ready((struct tls *)wire);
    if (code == -ENOMEM)
        return MAMUTO_ENOMEM;
    return code == -EAGAIN ? 1 : code ? MAMUTO_EHOST : 0;
}

/* --- the wire ---------------------------------------------------------------------------------------------------- */

/* Bytes of one record: > 0; 0: the far side has ended TLS; or -errno. */
static ssize_t read_some(struct tls *t, void *to, size_t n)
{
    size_t got = 0;
    t->library->ERR_clear_error();
    int result = t->library->SSL_read_ex(t->ssl, to, n, &got);
    if (result == 1)
        return (ssize_t)got;
    if (t->library->SSL_get_error(t->ssl, result) == MM_SSL_ERROR_ZERO_RETURN)
        return 0;
    return is_later(t, result) ? -EAGAIN : fail(t);
}

static ssize_t read_all(struct tls *t, const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int k = 0; k < n; k++)
        for (size_t at = 0; at < iov[k].iov_len;) {
            ssize_t got = read_some(t, (char *)iov[k].iov_base + at, iov[k].iov_len - at);
            if (got <= 0)
                return total ? (ssize_t)total : got; /* the same again at the next call */
            at += (size_t)got;
            total += (size_t)got;
        }
    return (ssize_t)total;
}

static ssize_t tls_readv(struct mm_wire *wire, const struct iovec *iov, int n)
{
    struct tls *t = (struct tls *)wire;
    int code = get_ready(t);
    if (code)
        return code;
    ssize_t total = read_all(t, iov, n);
    mm_tls_socket_trim(&t->socket);
    return total;
}

struct cursor {
    const struct iovec *iov;
    int n;
    size_t at; /* in the first */
};

static size_t take(struct cursor *c, size_t most, const void **from)
{
    size_t there = c->iov->iov_len - c->at;
    size_t n = there < most ? there : most;
    *from = (const char *)c->iov->iov_base + c->at;
    c->at += n;
    if (c->at == c->iov->iov_len) {
        c->iov++;
        c->n--;
        c->at = 0;
    }
    return n;
}

/* The data of the next record: where it lies, or, of several pieces, copied together. 0: there is no more. */
static size_t next_record(struct cursor *c, unsigned char stage[MM_TLS_RECORD], const void **from)
{
    size_t n = 0;
    if (!c->n)
        return 0;
    if (c->n == 1 || c->iov->iov_len - c->at >= MM_TLS_RECORD)
        return take(c, MM_TLS_RECORD, from);
    while (c->n && n < MM_TLS_RECORD) {
        const void *piece;
        size_t got = take(c, MM_TLS_RECORD - n, &piece);
        memcpy(stage + n, piece, got);
        n += got;
    }
    *from = stage;
    return n;
}

/* There is room for it: it is taken, or all is over. */
static int write_record(struct tls *t, const void *from, size_t n)
{
    size_t written = 0;
    t->library->ERR_clear_error();
    if (t->records >= t->rekey_after) {
        if (!t->library->SSL_key_update(t->ssl, MM_SSL_KEY_UPDATE_NOT_REQUESTED))
            return fail(t);
        t->records = 0;
        t->rekeys++;
    }
    if (!t->library->SSL_write_ex(t->ssl, from, n, &written) || written != n)
        return fail(t);
    t->records++;
    return 0;
}

static int flush(struct tls *t)
{
    int code = mm_tls_socket_flush(&t->socket);
    if (code && code != -EAGAIN)
        snprintf(t->reason, sizeof t->reason, "the connection broke: %s", strerror(-code));
    return code;
}

/* Sets *total to how many bytes were taken. */
static int write_all(struct tls *t, const struct iovec *iov, int n, size_t *total)
{
    unsigned char stage[MM_TLS_RECORD];
    struct cursor rest = { iov, n, 0 };
    for (;;) {
        bool may_take = mm_tls_socket_has_room(&t->socket) && !t->socket.write_error;
        int code = may_take ? 0 : flush(t);
        if (code) /* a broken way out is none of OpenSSL's business: what came in can still be read */
            return code;
        const void *from;
        size_t record = next_record(&rest, stage, &from);
        if (!record)
            return flush(t);
        if ((code = write_record(t, from, record)))
            return code;
        *total += record;
    }
}

static ssize_t tls_writev(struct mm_wire *wire, const struct iovec *iov, int n)
{
    struct tls *t = (struct tls *)wire;
    size_t total = 0;
    int code = get_ready(t);
    if (!code)
        code = write_all(t, iov, n, &total);
    mm_tls_socket_trim(&t->socket);
    return total ? (ssize_t)total : code;
}

static void tls_wants(const struct mm_wire *wire, bool reading, bool writing, short *in, short *out)
{
    const struct tls *t = (const struct tls *)wire;
    bool held = mm_tls_socket_holds(&t->socket);
    if (t->state == HANDSHAKE) {
        reading = true;
        writing = !t->server && !t->begun; /* the client speaks first */
    }
    *in = reading ? POLLIN : 0;
    *out = writing || held ? POLLOUT : 0;
}

/* What OpenSSL has asked for and not got is in its own hands: our buffer is empty, then. */
static bool tls_has_more(const struct mm_wire *wire)
{
    const struct tls *t = (const struct tls *)wire;
    return t->state == OPEN && (mm_tls_socket_has_read(&t->socket) || t->library->SSL_pending(t->ssl) > 0);
}

static const char *tls_reason(const struct mm_wire *wire)
{
    const struct tls *t = (const struct tls *)wire;
    return t->reason[0] ? t->reason : "the far side has ended it";
}

static void tls_close(struct mm_wire *wire)
{
    struct tls *t = (struct tls *)wire;
    if (t->state == OPEN) {
        t->library->ERR_clear_error();
        t->library->SSL_shutdown(t->ssl); /* says that this is the end; nobody waits for the far side's */
        t->library->ERR_clear_error();
        mm_tls_socket_flush(&t->socket);
    }
    mm_tls_wipe(t->library, t->ssl, &t->secret);
    t->library->SSL_free(t->ssl);
    mm_tls_socket_fini(&t->socket);
    close(wire->fd_in);
    mm_free(t);
}

static const struct mm_wire_ops tls_ops = { .readv = tls_readv,
                                            .writev = tls_writev,
                                            .wants = tls_wants,
                                            .has_more = tls_has_more,
                                            .reason = tls_reason,
                                            .close = tls_close };

/* --- making one ------------------------------------------------------------------------------------------------- */

static bool start(struct tls *t, int fd)
{
    t->wire = (struct mm_wire){ &tls_ops, fd, fd };
    t->socket = (struct mm_tls_socket){ .fd = fd, .library = t->library, .may_read = MM_TLS_UNPROVEN };
    t->rekey_after = MM_TLS_REKEY;
    t->library->ERR_clear_error();
    t->ssl = mm_tls_new(t->library, t->server, &t->secret);
    struct bio_st *bio = t->ssl ? mm_tls_socket_bio(&t->socket) : NULL;
    if (bio)
        t->library->SSL_set_bio(t->ssl, bio, bio);
    else if (t->ssl)
        t->library->SSL_free(t->ssl);
    t->library->ERR_clear_error();
    return bio;
}

static struct mm_wire *new_wire(int fd, const unsigned char *key, const char *identity, bool server,
                                mamuto_error_t *err)
{
    const struct mm_tls_library *library = mm_tls_library();
    size_t n = strlen(identity);
    if (!library) {
        mm_error_set(err, MAMUTO_EHOST, "there is no TLS on this machine: %s", mm_tls_library_why());
        return NULL;
    }
    if (!n || n > MM_TLS_IDENTITY) {
        mm_error_set(err, MAMUTO_EINVAL, "the name of a key has %zu bytes; it may have 1 to %d", n, MM_TLS_IDENTITY);
        return NULL;
    }
    struct tls *t = mm_alloc(sizeof *t);
    if (t) {
        t->library = library;
        t->server = server;
        t->secret.n = n;
        memcpy(t->secret.identity, identity, n);
        memcpy(t->secret.key, key, MM_TLS_KEY);
        if (start(t, fd))
            return &t->wire;
        library->OPENSSL_cleanse(t->secret.key, MM_TLS_KEY);
        mm_free(t);
    }
    mm_error_set(err, MAMUTO_ENOMEM, "not enough memory for a TLS connection");
    return NULL;
}

struct mm_wire *mm_tls_client(int fd, const unsigned char key[MM_TLS_KEY], const char *identity, mamuto_error_t *err)
{
    return new_wire(fd, key, identity, false, err);
}

struct mm_wire *mm_tls_server(int fd, const unsigned char key[MM_TLS_KEY], const char *identity, mamuto_error_t *err)
{
    return new_wire(fd, key, identity, true, err);
}

void mm_tls_set_rekey(struct mm_wire *wire, uint64_t records) { ((struct tls *)wire)->rekey_after = records; }
uint64_t mm_tls_rekeys(const struct mm_wire *wire) { return ((const struct tls *)wire)->rekeys; }
