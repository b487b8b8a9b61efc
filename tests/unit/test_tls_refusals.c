/* TLS against ends that are not ours, or not as they should be: OpenSSL itself in the other role, with and without the key,
 * with a certificate, with an older version; garbage; and a relay that cuts, or turns a bit. */
#include "net/tls.h"

#include "tests/support/wires.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cmocka.h>

static unsigned char key[MM_TLS_KEY], other_key[MM_TLS_KEY];
static const char name[] = "0123456789abcdef";
static int fds[2];
static mamuto_error_t err;

static int set_up(void **state)
{
    (void)state;
    wires_seed(4);
    for (int k = 0; k < MM_TLS_KEY; k++)
        key[k] = other_key[k] = (unsigned char)wires_random();
    other_key[0] ^= 0x80;
    memset(&err, 0, sizeof err);
    wires_socketpair(fds, 0);
    return 0;
}

static struct mm_wire *client_of(int fd, const unsigned char *its_key, const char *its_name)
{
    struct mm_wire *wire = mm_tls_client(fd, its_key, its_name, &err);
    assert_non_null(wire);
    return wire;
}

static struct mm_wire *server_of(int fd, const unsigned char *its_key, const char *its_name)
{
    struct mm_wire *wire = mm_tls_server(fd, its_key, its_name, &err);
    assert_non_null(wire);
    return wire;
}

static void close_wire(struct mm_wire *wire) { wire->ops->close(wire); }

static int carry_on(struct mm_wire *wire)
{
    int code = 1;
    for (int k = 0; k < 20 && code == 1; k++)
        code = mm_tls_handshake(wire);
    return code;
}

/* It has failed, for ever, and says so. */
static void assert_failed(struct mm_wire *wire, const char *text)
{
    char byte;
    struct iovec iov = { &byte, 1 };
    assert_int_equal(mm_tls_handshake(wire), MAMUTO_EHOST);
    assert_string_equal(wire->ops->reason(wire), text);
    assert_true(wire->ops->readv(wire, &iov, 1) < -1 && wire->ops->writev(wire, &iov, 1) < -1);
    assert_false(wire->ops->has_more(wire));
    assert_int_equal(mm_tls_handshake(wire), MAMUTO_EHOST);
    assert_string_equal(wire->ops->reason(wire), text);
}

/* Both carry on until neither gets any further. */
static void shake(struct mm_wire *client, struct mm_wire *server)
{
    for (int k = 0; k < 20; k++) {
        mm_tls_handshake(client);
        mm_tls_handshake(server);
    }
}

static void tls_another_key_is_refused_at_both_ends(void **state)
{
    (void)state;
    struct mm_wire *client = client_of(fds[0], key, name), *server = server_of(fds[1], other_key, name);
    shake(client, server);
    assert_failed(server, "the TLS handshake failed: the far side has another key (binder does not verify)");
    assert_failed(client, "the TLS handshake failed: the far side refused it (sslv3 alert illegal parameter)");
    close_wire(client);
    close_wire(server);
}

static void tls_another_name_is_refused_at_both_ends(void **state)
{
    (void)state;
    static const char *const names[] = { "0123456789abcdee", "0123456789abcde", "0123456789abcdef0" };
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        struct mm_wire *client = client_of(fds[0], key, names[k]), *server = server_of(fds[1], key, name);
        shake(client, server);
        assert_failed(server, "the TLS handshake failed: the far side named the key of another stream "
                              "(no suitable signature algorithm)");
        assert_failed(client, "the TLS handshake failed: the far side refused it (sslv3 alert handshake failure)");
        close_wire(client);
        close_wire(server);
        wires_socketpair(fds, 0);
    }
    close(fds[0]);
    close(fds[1]);
}

static void tls_two_of_the_same_role_are_refused(void **state)
{
    (void)state;
    struct mm_wire *one = client_of(fds[0], key, name), *two = client_of(fds[1], key, name);
    shake(one, two);
    assert_failed(one, "the TLS handshake failed: it is not what this side asks for (unexpected message)");
    close_wire(one);
    close_wire(two);
}

/* --- OpenSSL as the other end ------------------------------------------------------------------------------------- */

struct bare {
    SSL_CTX *context;
    SSL *ssl;
    bool with_key;
    unsigned updates, tickets; /* messages that came */
};

static SSL_SESSION *bare_session(SSL *ssl)
{
    const unsigned char suite[] = { 0x13, 0x01 };
    SSL_SESSION *session = SSL_SESSION_new();
    SSL_SESSION_set1_master_key(session, key, sizeof key);
    SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, suite));
    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
    return session;
}

static int bare_use(SSL *ssl, const EVP_MD *hash, const unsigned char **id, size_t *n, SSL_SESSION **session)
{
    (void)hash;
    const struct bare *b = SSL_get_app_data(ssl);
    *session = b->with_key ? bare_session(ssl) : NULL;
    *id = (const unsigned char *)name;
    *n = strlen(name);
    return 1;
}

static int bare_find(SSL *ssl, const unsigned char *id, size_t n, SSL_SESSION **session)
{
    (void)id, (void)n;
    const struct bare *b = SSL_get_app_data(ssl);
    *session = b->with_key ? bare_session(ssl) : NULL;
    return 1;
}

static void on_message(int sent, int version, int kind, const void *at, size_t n, SSL *ssl, void *p)
{
    (void)version, (void)ssl;
    struct bare *b = p;
    if (sent || kind != SSL3_RT_HANDSHAKE || n < 1)
        return;
    b->updates += *(const unsigned char *)at == SSL3_MT_KEY_UPDATE;
    b->tickets += *(const unsigned char *)at == SSL3_MT_NEWSESSION_TICKET;
}

static void give_certificate(SSL_CTX *context)
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    assert_true(pair && certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, pair);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"host", -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    assert_true(X509_sign(certificate, pair, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, pair), 1);
    X509_free(certificate);
    EVP_PKEY_free(pair);
}

static void bare_init(struct bare *b, int fd, bool server, bool with_key, const char *suites)
{
    *b = (struct bare){ .with_key = with_key, .context = SSL_CTX_new(TLS_method()) };
    SSL_CTX_set_psk_use_session_callback(b->context, bare_use);
    SSL_CTX_set_psk_find_session_callback(b->context, bare_find);
    if (suites)
        assert_int_equal(SSL_CTX_set_ciphersuites(b->context, suites), 1);
    if (server)
        give_certificate(b->context);
    b->ssl = SSL_new(b->context);
    SSL_set_app_data(b->ssl, b);
    SSL_set_msg_callback(b->ssl, on_message);
    SSL_set_msg_callback_arg(b->ssl, b);
    SSL_set_fd(b->ssl, fd);
    if (server)
        SSL_set_accept_state(b->ssl);
    else
        SSL_set_connect_state(b->ssl);
}

static void bare_fini(struct bare *b, int fd)
{
    SSL_free(b->ssl);
    SSL_CTX_free(b->context);
    close(fd);
}

static void shake_with_bare(struct mm_wire *wire, struct bare *b)
{
    for (int k = 0; k < 20; k++) {
        mm_tls_handshake(wire);
        SSL_do_handshake(b->ssl);
    }
}

static void tls_server_with_a_certificate_and_no_key_is_refused(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *client = client_of(fds[0], key, name);
    bare_init(&b, fds[1], true, false, NULL);
    shake_with_bare(client, &b);
    assert_failed(client, "the TLS handshake failed: the far side has a certificate instead of the key "
                          "(certificate verify failed)");
    assert_false(SSL_is_init_finished(b.ssl));
    close_wire(client);
    bare_fini(&b, fds[1]);
}

/* What this system trusts makes no difference: not even a certificate that it knows is taken for the key. */
static void tls_server_with_a_trusted_certificate_and_no_key_is_refused(void **state)
{
    (void)state;
    struct bare b;
    char file[] = "/tmp/mamuto-test-tls-XXXXXX";
    bare_init(&b, fds[1], true, false, NULL);
    int fd = mkstemp(file);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    unsigned char *der = NULL;
    int n = i2d_X509(SSL_CTX_get0_certificate(b.context), &der);
    unsigned char base64[8192];
    assert_in_range(n, 100, 4000);
    EVP_EncodeBlock(base64, der, n);
    fprintf(f, "-----BEGIN CERTIFICATE-----\n");
    for (const unsigned char *p = base64; *p; p += strnlen((const char *)p, 64))
        fprintf(f, "%.64s\n", (const char *)p);
    fprintf(f, "-----END CERTIFICATE-----\n");
    fclose(f);
    OPENSSL_free(der);
    setenv("SSL_CERT_FILE", file, 1);
    struct mm_wire *client = client_of(fds[0], key, name);
    shake_with_bare(client, &b);
    assert_failed(client, "the TLS handshake failed: the far side has a certificate instead of the key "
                          "(certificate verify failed)");
    unsetenv("SSL_CERT_FILE");
    unlink(file);
    close_wire(client);
    bare_fini(&b, fds[1]);
}

static void tls_client_without_the_key_is_refused(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *server = server_of(fds[1], key, name);
    bare_init(&b, fds[0], false, false, NULL);
    shake_with_bare(server, &b);
    assert_failed(server, "the TLS handshake failed: it is not what this side asks for "
                          "(no suitable signature algorithm)");
    assert_false(SSL_is_init_finished(b.ssl));
    close_wire(server);
    bare_fini(&b, fds[0]);
}

static void tls_older_versions_are_refused(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *server = server_of(fds[1], key, name);
    bare_init(&b, fds[0], false, true, NULL);
    SSL_set_max_proto_version(b.ssl, TLS1_2_VERSION);
    shake_with_bare(server, &b);
    assert_failed(server, "the TLS handshake failed: it is not what this side asks for (unsupported protocol)");
    close_wire(server);
    bare_fini(&b, fds[0]);
    wires_socketpair(fds, 0);
    struct mm_wire *client = client_of(fds[0], key, name);
    bare_init(&b, fds[1], true, true, NULL);
    SSL_set_max_proto_version(b.ssl, TLS1_2_VERSION);
    shake_with_bare(client, &b);
    assert_failed(client, "the TLS handshake failed: the far side refused it (tlsv1 alert protocol version)");
    close_wire(client);
    bare_fini(&b, fds[1]);
}

static void tls_other_suites_are_refused(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *server = server_of(fds[1], key, name);
    bare_init(&b, fds[0], false, true, "TLS_AES_128_CCM_SHA256");
    shake_with_bare(server, &b);
    assert_failed(server, "the TLS handshake failed: it is not what this side asks for (no shared cipher)");
    close_wire(server);
    bare_fini(&b, fds[0]);
}

/* --- with the key, it is a good one -------------------------------------------------------------------------------- */

static void assert_moves(struct mm_wire *wire, struct bare *b, const char *text)
{
    char got[64] = "";
    struct iovec out = { (void *)(uintptr_t)text, strlen(text) }, in = { got, sizeof got };
    assert_int_equal(wire->ops->writev(wire, &out, 1), strlen(text));
    assert_int_equal(SSL_read(b->ssl, got, sizeof got), strlen(text));
    assert_string_equal(got, text);
    memset(got, 0, sizeof got);
    assert_int_equal(SSL_write(b->ssl, text, (int)strlen(text)), strlen(text));
    assert_int_equal(wire->ops->readv(wire, &in, 1), strlen(text));
    assert_string_equal(got, text);
}

static void assert_is_as_agreed(const struct bare *b, const char *suite)
{
    EVP_PKEY *exchanged = NULL;
    assert_true(SSL_is_init_finished(b->ssl));
    assert_int_equal(SSL_version(b->ssl), TLS1_3_VERSION);
    assert_string_equal(SSL_get_cipher_name(b->ssl), suite);
    assert_int_equal(SSL_session_reused(b->ssl), 1);
    assert_int_equal(SSL_get_peer_tmp_key(b->ssl, &exchanged), 1); /* psk_dhe_ke: it is forward secret */
    assert_int_equal(EVP_PKEY_get_id(exchanged), EVP_PKEY_X25519);
    EVP_PKEY_free(exchanged);
    assert_null(SSL_get0_peer_certificate(b->ssl));
    assert_int_equal(b->tickets, 0);
}

static void tls_with_openssl_at_the_other_end_is_as_agreed(void **state)
{
    (void)state;
    static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256" };
    for (int k = 0; k < 4; k++) {
        struct bare b;
        bool we_serve = k / 2;
        struct mm_wire *wire = we_serve ? server_of(fds[0], key, name) : client_of(fds[0], key, name);
        bare_init(&b, fds[1], !we_serve, true, suites[k % 2]);
        SSL_set_options(b.ssl, SSL_OP_ALLOW_NO_DHE_KEX); /* offered, and not taken */
        shake_with_bare(wire, &b);
        assert_is_as_agreed(&b, suites[k % 2]);
        assert_moves(wire, &b, "some words");
        assert_int_equal(b.tickets, 0);
        close_wire(wire);
        bare_fini(&b, fds[1]);
        wires_socketpair(fds, 0);
    }
    close(fds[0]);
    close(fds[1]);
}

static void tls_new_keys_are_seen_by_the_other_end(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *server = server_of(fds[1], key, name);
    bare_init(&b, fds[0], false, true, NULL);
    shake_with_bare(server, &b);
    mm_tls_set_rekey(server, 3);
    for (int k = 0; k < 301; k++)
        assert_moves(server, &b, "some words");
    assert_int_equal(mm_tls_rekeys(server), 100);
    assert_int_equal(b.updates, 100);
    close_wire(server);
    bare_fini(&b, fds[0]);
}

static void tls_that_is_asked_for_new_keys_gives_them(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *client = client_of(fds[0], key, name);
    bare_init(&b, fds[1], true, true, NULL);
    SSL_set_num_tickets(b.ssl, 0);
    shake_with_bare(client, &b);
    for (int k = 0; k < 100; k++) {
        assert_int_equal(SSL_key_update(b.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_moves(client, &b, "some words");
        assert_moves(client, &b, "more of them");
    }
    assert_int_equal(b.updates, 100);
    close_wire(client);
    bare_fini(&b, fds[1]);
}

/* A far side that sends tickets all the same: they are not kept, and what is sent goes on. */
static void tls_tickets_of_the_other_end_are_nothing(void **state)
{
    (void)state;
    struct bare b;
    struct mm_wire *client = client_of(fds[0], key, name);
    bare_init(&b, fds[1], true, true, NULL);
    SSL_set_num_tickets(b.ssl, 5);
    shake_with_bare(client, &b);
    assert_moves(client, &b, "some words");
    close_wire(client);
    bare_fini(&b, fds[1]);
}

/* --- garbage ----------------------------------------------------------------------------------------------------- */

static void tls_garbage_is_refused_by_the_server(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.0\r\n\r\n";
    static unsigned char flood[2 * MM_TLS_UNPROVEN] = { 0x16, 3, 1, 0x3F, 0xFF, 1, 0, 0x3F, 0xFB }; /* a long hello */
    struct mm_wire *server = server_of(fds[1], key, name);
    assert_int_equal(send(fds[0], http, strlen(http), 0), strlen(http));
    assert_int_equal(carry_on(server), MAMUTO_EHOST);
    assert_failed(server, "the TLS handshake failed: it is not what this side asks for (http request)");
    close_wire(server);
    close(fds[0]);
    wires_socketpair(fds, 0);
    server = server_of(fds[1], key, name);
    assert_int_equal(send(fds[0], flood, sizeof flood, 0), sizeof flood);
    assert_int_equal(carry_on(server), MAMUTO_EHOST);
    assert_failed(server, "the TLS handshake failed: the far side sent more than 8192 bytes without proving the key");
    close_wire(server);
    close(fds[0]);
}

static void tls_garbage_is_refused_by_both_whatever_it_is(void **state)
{
    (void)state;
    for (int k = 0; k < 300; k++) {
        unsigned char garbage[200];
        for (size_t i = 0; i < sizeof garbage; i++)
            garbage[i] = (unsigned char)wires_random();
        if (k % 3) { /* like a record */
            garbage[0] = (unsigned char)(20 + wires_random() % 4);
            garbage[1] = 3, garbage[2] = 3, garbage[3] = 0, garbage[4] = (unsigned char)(1 + wires_random() % 195);
        }
        struct mm_wire *wire = k % 2 ? server_of(fds[1], key, name) : client_of(fds[1], key, name);
        mm_tls_handshake(wire);
        assert_int_equal(send(fds[0], garbage, sizeof garbage, 0), sizeof garbage);
        shutdown(fds[0], SHUT_WR);
        assert_int_equal(carry_on(wire), MAMUTO_EHOST);
        assert_non_null(strstr(wire->ops->reason(wire), "the TLS handshake failed: "));
        close_wire(wire);
        close(fds[0]);
        wires_socketpair(fds, 0);
    }
    close(fds[0]);
    close(fds[1]);
}

/* --- a relay that cuts -------------------------------------------------------------------------------------------- */

/* Client - near[0], near[1] - relay - far[0], far[1] - server. */
static int near[2], far[2];
static struct mm_wire *client_at_relay, *server_at_relay;

static void relay_init(void)
{
    wires_socketpair(near, 0);
    wires_socketpair(far, 0);
    client_at_relay = client_of(near[0], key, name);
    server_at_relay = server_of(far[1], key, name);
}

static void relay_fini(void)
{
    close_wire(client_at_relay);
    close_wire(server_at_relay);
    close(near[1]);
    close(far[0]);
}

/* Hands on at most so many bytes; how many? */
static size_t hand_on(int from, int to, size_t most)
{
    unsigned char bytes[65536];
    ssize_t n = recv(from, bytes, most < sizeof bytes ? most : sizeof bytes, 0);
    if (n > 0)
        assert_int_equal(send(to, bytes, (size_t)n, MSG_NOSIGNAL), n);
    return n > 0 ? (size_t)n : 0;
}

/* Hands on most_up bytes of the client and most_down of the server. True: both have finished. */
static bool relay_shake(size_t most_up, size_t most_down, size_t *up, size_t *down)
{
    *up = *down = 0;
    int c = 1, s = 1;
    for (int k = 0; k < 50; k++) {
        c = mm_tls_handshake(client_at_relay);
        *up += hand_on(near[1], far[0], most_up - *up);
        s = mm_tls_handshake(server_at_relay);
        *down += hand_on(far[0], near[1], most_down - *down);
    }
    return !c && !s;
}

static void tls_cut_anywhere_in_the_handshake_is_an_error(void **state)
{
    (void)state;
    static const char ended[] = "the TLS handshake failed: the far side ended the connection without ending TLS";
    size_t up, down, whole_up, whole_down;
    close(fds[0]);
    close(fds[1]);
    relay_init();
    assert_true(relay_shake(100000, 100000, &whole_up, &whole_down));
    relay_fini();
    assert_in_range(whole_up, 200, 4000);
    assert_in_range(whole_down, 150, 4000);
    for (size_t cut = 0; cut < whole_up + whole_down; cut++) {
        bool is_up = cut < whole_up;
        relay_init();
        assert_false(relay_shake(is_up ? cut : 100000, is_up ? 100000 : cut - whole_up, &up, &down));
        shutdown(near[1], SHUT_RDWR);
        shutdown(far[0], SHUT_RDWR);
        assert_int_equal(carry_on(server_at_relay), MAMUTO_EHOST);
        assert_failed(server_at_relay, ended);
        int code = carry_on(client_at_relay); /* it may have seen all that it needs */
        if (code || !is_up)
            assert_failed(client_at_relay, ended);
        relay_fini();
    }
}

static void tls_cut_in_a_record_gives_what_came_before_and_an_error(void **state)
{
    (void)state;
    enum { RECORD = 16384 };
    static unsigned char bytes[3 * RECORD], got[3 * RECORD];
    size_t up, down;
    close(fds[0]);
    close(fds[1]);
    relay_init();
    assert_true(relay_shake(100000, 100000, &up, &down));
    for (size_t k = 0; k < sizeof bytes; k++)
        bytes[k] = (unsigned char)wires_random();
    struct iovec out = { bytes, sizeof bytes }, in = { got, sizeof got };
    assert_int_equal(client_at_relay->ops->writev(client_at_relay, &out, 1), sizeof bytes);
    assert_int_equal(hand_on(near[1], far[0], 2 * RECORD + 1000), 2 * RECORD + 1000);
    assert_int_equal(server_at_relay->ops->readv(server_at_relay, &in, 1), 2 * RECORD);
    assert_memory_equal(got, bytes, 2 * RECORD);
    assert_int_equal(server_at_relay->ops->readv(server_at_relay, &in, 1), -EAGAIN);
    shutdown(far[0], SHUT_RDWR);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(server_at_relay->ops->readv(server_at_relay, &in, 1), -ECONNRESET);
        assert_string_equal(server_at_relay->ops->reason(server_at_relay),
                            "TLS failed: the far side ended the connection without ending TLS");
    }
    relay_fini();
}

static void tls_with_a_bit_turned_is_an_error(void **state)
{
    (void)state;
    unsigned char raw[200], got[200];
    size_t up, down;
    close(fds[0]);
    close(fds[1]);
    for (unsigned bit = 0; bit < 8; bit++) {
        relay_init();
        assert_true(relay_shake(100000, 100000, &up, &down));
        struct iovec out = { (void *)(uintptr_t) "some words", 10 }, in = { got, sizeof got };
        assert_int_equal(client_at_relay->ops->writev(client_at_relay, &out, 1), 10);
        ssize_t n = recv(near[1], raw, sizeof raw, 0);
        assert_in_range(n, 20, 100);
        raw[5 + wires_random() % ((size_t)n - 5)] ^= (unsigned char)(1u << bit);
        assert_int_equal(send(far[0], raw, (size_t)n, 0), n);
        assert_int_equal(server_at_relay->ops->readv(server_at_relay, &in, 1), -EPROTO);
        assert_string_equal(server_at_relay->ops->reason(server_at_relay),
                            "TLS failed: it is not what this side asks for (decryption failed or bad record mac)");
        relay_fini();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tls_another_key_is_refused_at_both_ends, set_up),
        cmocka_unit_test_setup(tls_another_name_is_refused_at_both_ends, set_up),
        cmocka_unit_test_setup(tls_two_of_the_same_role_are_refused, set_up),
        cmocka_unit_test_setup(tls_server_with_a_certificate_and_no_key_is_refused, set_up),
        cmocka_unit_test_setup(tls_server_with_a_trusted_certificate_and_no_key_is_refused, set_up),
        cmocka_unit_test_setup(tls_client_without_the_key_is_refused, set_up),
        cmocka_unit_test_setup(tls_older_versions_are_refused, set_up),
        cmocka_unit_test_setup(tls_other_suites_are_refused, set_up),
        cmocka_unit_test_setup(tls_with_openssl_at_the_other_end_is_as_agreed, set_up),
        cmocka_unit_test_setup(tls_new_keys_are_seen_by_the_other_end, set_up),
        cmocka_unit_test_setup(tls_that_is_asked_for_new_keys_gives_them, set_up),
        cmocka_unit_test_setup(tls_tickets_of_the_other_end_are_nothing, set_up),
        cmocka_unit_test_setup(tls_garbage_is_refused_by_the_server, set_up),
        cmocka_unit_test_setup(tls_garbage_is_refused_by_both_whatever_it_is, set_up),
        cmocka_unit_test_setup(tls_cut_anywhere_in_the_handshake_is_an_error, set_up),
        cmocka_unit_test_setup(tls_cut_in_a_record_gives_what_came_before_and_an_error, set_up),
        cmocka_unit_test_setup(tls_with_a_bit_turned_is_an_error, set_up),
    };
    return cmocka_run_group_tests_name("tls_refusals", tests, NULL, NULL);
}
