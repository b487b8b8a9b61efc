/* How TLS is set up.
 *
 * TLS 1.3 only; a key that both ends know (an external PSK) with X25519 or what else OpenSSL agrees on (psk_dhe_ke is all
 * that it offers): a key that is told later opens nothing that was recorded. Suites whose hash is the key's, SHA-256. No
 * tickets, no cache, no early data.
 *
 * A client that named a key would be content with a server that has none, but a certificate. So each certificate is
 * refused here, whatever this system trusts; and net/tls.c asks after the handshake whether the key was used.
 * The two contexts are made once, are never changed then, and serve all threads. Called by net/tls.c; the callbacks by
 * OpenSSL, inside a handshake.
 */
#include "net/tls_context.h"

#include <pthread.h>
#include <string.h>

static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
static const unsigned char aes_128_gcm_sha256[] = { 0x13, 0x01 };

/* A new session that holds the key, as both callbacks want it: the handshake owns it. */
static struct ssl_session_st *new_session(const struct mm_tls_library *l, struct ssl_st *ssl,
                                          const struct mm_tls_secret *secret)
{
    const struct ssl_cipher_st *cipher = l->SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    struct ssl_session_st *session = cipher ? l->SSL_SESSION_new() : NULL;
    if (!session)
        return NULL;
    if (l->SSL_SESSION_set1_master_key(session, secret->key, sizeof secret->key) &&
        l->SSL_SESSION_set_cipher(session, cipher) && l->SSL_SESSION_set_protocol_version(session, MM_TLS1_3_VERSION))
        return session;
    l->SSL_SESSION_free(session);
    return NULL;
}

static int use_session(struct ssl_st *ssl, const struct evp_md_st *hash, const unsigned char **identity, size_t *n,
                       struct ssl_session_st **session)
{
    const struct mm_tls_library *l = mm_tls_library();
    const struct mm_tls_secret *secret = l->SSL_get_ex_data(ssl, 0);
    (void)hash; /* SHA-256: there is no suite with another */
    *session = new_session(l, ssl, secret);
    *identity = secret->identity;
    *n = secret->n;
    return *session != NULL;
}

static int find_session(struct ssl_st *ssl, const unsigned char *identity, size_t n, struct ssl_session_st **session)
{
    const struct mm_tls_library *l = mm_tls_library();
    struct mm_tls_secret *secret = l->SSL_get_ex_data(ssl, 0);
    *session = NULL;
    secret->no_match = n != secret->n || memcmp(identity, secret->identity, n) != 0;
    if (secret->no_match)
        return 1; /* goes on as without a key, and fails: there is no certificate */
    *session = new_session(l, ssl, secret);
    return *session != NULL;
}

static int refuse_certificate(int is_trusted, struct x509_store_ctx_st *store)
{
    (void)is_trusted, (void)store;
    return 0;
}

static bool set_up(const struct mm_tls_library *l, struct ssl_ctx_st *context, bool server)
{
    if (!l->SSL_CTX_ctrl(context, MM_SSL_CTRL_SET_MIN_PROTO_VERSION, MM_TLS1_3_VERSION, NULL) ||
        !l->SSL_CTX_ctrl(context, MM_SSL_CTRL_SET_MAX_PROTO_VERSION, MM_TLS1_3_VERSION, NULL) ||
        !l->SSL_CTX_set_ciphersuites(context, suites) || !l->SSL_CTX_set_num_tickets(context, 0))
        return false;
    l->SSL_CTX_ctrl(context, MM_SSL_CTRL_SET_SESS_CACHE_MODE, MM_SSL_SESS_CACHE_OFF, NULL);
    l->SSL_CTX_ctrl(context, MM_SSL_CTRL_MODE, MM_SSL_MODE_RELEASE_BUFFERS, NULL);
    l->SSL_CTX_set_verify(context, server ? MM_SSL_VERIFY_NONE : MM_SSL_VERIFY_PEER, refuse_certificate);
    if (server)
        l->SSL_CTX_set_psk_find_session_callback(context, find_session);
    else
        l->SSL_CTX_set_psk_use_session_callback(context, use_session);
    return true;
}

static struct ssl_ctx_st *new_context(const struct mm_tls_library *l, bool server)
{
    struct ssl_ctx_st *context = l->SSL_CTX_new(server ? l->TLS_server_method() : l->TLS_client_method());
    if (context && !set_up(l, context, server)) {
        l->SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static struct ssl_ctx_st *the_context(const struct mm_tls_library *l, bool server)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct ssl_ctx_st *contexts[2];
    pthread_mutex_lock(&lock);
    if (!contexts[server])
        contexts[server] = new_context(l, server);
    struct ssl_ctx_st *found = contexts[server];
    pthread_mutex_unlock(&lock);
    return found;
}

struct ssl_st *mm_tls_new(const struct mm_tls_library *l, bool server, struct mm_tls_secret *secret)
{
    struct ssl_ctx_st *context = the_context(l, server);
    struct ssl_st *ssl = context ? l->SSL_new(context) : NULL;
    if (!ssl)
        return NULL;
    if (!l->SSL_set_ex_data(ssl, 0, secret)) {
        l->SSL_free(ssl);
        return NULL;
    }
    if (server)
        l->SSL_set_accept_state(ssl);
    else
        l->SSL_set_connect_state(ssl);
    return ssl;
}

void mm_tls_wipe(const struct mm_tls_library *l, struct ssl_st *ssl, struct mm_tls_secret *secret)
{
    static const unsigned char zeros[sizeof secret->key];
    struct ssl_session_st *session = l->SSL_get_session(ssl);
    if (session) /* the traffic keys do not come from it any more, and there will be no tickets */
        l->SSL_SESSION_set1_master_key(session, zeros, sizeof zeros);
    l->OPENSSL_cleanse(secret->key, sizeof secret->key);
}
