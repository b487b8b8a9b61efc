/* OpenSSL's libraries, found when the program runs: the agent must do without on a host that does not have them, and is built
 * there without their headers. Prototypes are our own, of what has been stable since 1.1.1; a test compares them with the
 * headers'. Plain C11 + POSIX. */
#ifndef MM_NET_TLS_LIBRARY_H
#define MM_NET_TLS_LIBRARY_H

#include <stddef.h>

struct ssl_st;
struct ssl_ctx_st;
struct ssl_method_st;
struct ssl_session_st;
struct ssl_cipher_st;
struct bio_st;
struct bio_method_st;
struct evp_md_st;
struct x509_store_ctx_st;

typedef int mm_psk_find(struct ssl_st *ssl, const unsigned char *identity, size_t n, struct ssl_session_st **session);
typedef int mm_psk_use(struct ssl_st *ssl, const struct evp_md_st *md, const unsigned char **id, size_t *n,
                       struct ssl_session_st **session);

/* library, result, name, arguments */
#define MM_TLS_FUNCTIONS(X)                                                                                            \
    X(ssl, const struct ssl_method_st *, TLS_client_method, (void))                                                    \
    X(ssl, const struct ssl_method_st *, TLS_server_method, (void))                                                    \
    X(ssl, struct ssl_ctx_st *, SSL_CTX_new, (const struct ssl_method_st *))                                           \
    X(ssl, void, SSL_CTX_free, (struct ssl_ctx_st *))                                                                  \
    X(ssl, long, SSL_CTX_ctrl, (struct ssl_ctx_st *, int, long, void *))                                               \
    X(ssl, int, SSL_CTX_set_ciphersuites, (struct ssl_ctx_st *, const char *))                                         \
    X(ssl, int, SSL_CTX_set_num_tickets, (struct ssl_ctx_st *, size_t))                                                \
    X(ssl, void, SSL_CTX_set_default_read_buffer_len, (struct ssl_ctx_st *, size_t))                                   \
    X(ssl, void, SSL_CTX_set_verify, (struct ssl_ctx_st *, int, int (*)(int, struct x509_store_ctx_st *)))             \
    X(ssl, void, SSL_CTX_set_psk_find_session_callback, (struct ssl_ctx_st *, mm_psk_find *))                          \
    X(ssl, void, SSL_CTX_set_psk_use_session_callback, (struct ssl_ctx_st *, mm_psk_use *))                            \
    X(ssl, struct ssl_st *, SSL_new, (struct ssl_ctx_st *))                                                            \
    X(ssl, void, SSL_free, (struct ssl_st *))                                                                          \
    X(ssl, void, SSL_set_bio, (struct ssl_st *, struct bio_st *, struct bio_st *))                                     \
    X(ssl, int, SSL_set_ex_data, (struct ssl_st *, int, void *))                                                       \
    X(ssl, void *, SSL_get_ex_data, (const struct ssl_st *, int))                                                      \
    X(ssl, void, SSL_set_connect_state, (struct ssl_st *))                                                             \
    X(ssl, void, SSL_set_accept_state, (struct ssl_st *))                                                              \
    X(ssl, int, SSL_do_handshake, (struct ssl_st *))                                                                   \
    X(ssl, int, SSL_session_reused, (const struct ssl_st *))                                                           \
    X(ssl, int, SSL_read, (struct ssl_st *, void *, int))                                                              \
    X(ssl, int, SSL_write, (struct ssl_st *, const void *, int))                                                       \
    X(ssl, int, SSL_get_error, (const struct ssl_st *, int))                                                           \
    X(ssl, int, SSL_has_pending, (const struct ssl_st *))                                                              \
    X(ssl, int, SSL_key_update, (struct ssl_st *, int))                                                                \
    X(ssl, int, SSL_shutdown, (struct ssl_st *))                                                                       \
    X(ssl, const struct ssl_cipher_st *, SSL_CIPHER_find, (struct ssl_st *, const unsigned char *))                    \
    X(ssl, struct ssl_session_st *, SSL_SESSION_new, (void))                                                           \
    X(ssl, void, SSL_SESSION_free, (struct ssl_session_st *))                                                          \
    X(ssl, int, SSL_SESSION_set1_master_key, (struct ssl_session_st *, const unsigned char *, size_t))                 \
    X(ssl, int, SSL_SESSION_set_cipher, (struct ssl_session_st *, const struct ssl_cipher_st *))                       \
    X(ssl, int, SSL_SESSION_set_protocol_version, (struct ssl_session_st *, int))                                      \
    X(crypto, int, BIO_get_new_index, (void))                                                                          \
    X(crypto, struct bio_method_st *, BIO_meth_new, (int, const char *))                                               \
    X(crypto, int, BIO_meth_set_write, (struct bio_method_st *, int (*)(struct bio_st *, const char *, int)))          \
    X(crypto, int, BIO_meth_set_read, (struct bio_method_st *, int (*)(struct bio_st *, char *, int)))                 \
    X(crypto, int, BIO_meth_set_ctrl, (struct bio_method_st *, long (*)(struct bio_st *, int, long, void *)))          \
    X(crypto, struct bio_st *, BIO_new, (const struct bio_method_st *))                                                \
    X(crypto, void, BIO_set_data, (struct bio_st *, void *))                                                           \
    X(crypto, void *, BIO_get_data, (struct bio_st *))                                                                 \
    X(crypto, void, BIO_set_init, (struct bio_st *, int))                                                              \
    X(crypto, void, BIO_set_flags, (struct bio_st *, int))                                                             \
    X(crypto, void, BIO_clear_flags, (struct bio_st *, int))                                                           \
    X(crypto, unsigned long, ERR_peek_last_error, (void))                                                              \
    X(crypto, void, ERR_clear_error, (void))                                                                           \
    X(crypto, const char *, ERR_reason_error_string, (unsigned long))                                                  \
    X(crypto, const struct evp_md_st *, EVP_sha256, (void))                                                            \
    X(crypto, unsigned char *, HMAC,                                                                                   \
      (const struct evp_md_st *, const void *, int, const unsigned char *, size_t, unsigned char *, unsigned int *))   \
    X(crypto, int, CRYPTO_memcmp, (const void *, const void *, size_t))                                                \
    X(crypto, void, OPENSSL_cleanse, (void *, size_t))

/* Constants of its headers. */
enum {
    MM_SSL_CTRL_MODE = 33,
    MM_SSL_CTRL_SET_READ_AHEAD = 41,
    MM_SSL_CTRL_SET_SESS_CACHE_MODE = 44,
    MM_SSL_CTRL_SET_MIN_PROTO_VERSION = 123,
    MM_SSL_MODE_ENABLE_PARTIAL_WRITE = 1,
    MM_SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 2,
    MM_SSL_VERIFY_PEER = 1,
    MM_SSL_ERROR_WANT_READ = 2,
    MM_SSL_ERROR_WANT_WRITE = 3,
    MM_SSL_ERROR_ZERO_RETURN = 6,
    MM_SSL_KEY_UPDATE_NOT_REQUESTED = 0,
    MM_TLS1_3_VERSION = 0x0304,
    MM_BIO_TYPE_SOURCE_SINK = 0x0400,
    MM_BIO_FLAGS_READ = 1,
    MM_BIO_FLAGS_WRITE = 2,
    MM_BIO_FLAGS_SHOULD_RETRY = 8,
    MM_BIO_CTRL_FLUSH = 11,
};

#define MM_TLS_MEMBER(library_, result_, name_, arguments_) result_(*name_) arguments_;
struct mm_tls_library {
    MM_TLS_FUNCTIONS(MM_TLS_MEMBER)
    const char *name; /* of its file */
};
#undef MM_TLS_MEMBER

/* Found and loaded at the first call, and then kept. NULL: this host has none that is complete. Thread-safe. */
const struct mm_tls_library *mm_tls_library(void);

#endif
