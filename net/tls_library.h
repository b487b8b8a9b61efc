/* OpenSSL, as far as TLS with a shared key and HMAC need it, found at run time: libssl.so.3 or libssl.so.1.1, which bring
 * their libcrypto. The prototypes are our own, so that no header of it is needed where this is built; that they agree with
 * the real ones is checked by tests/unit/test_tls_library.c. Plain C11 + POSIX, for the master and for the agent. */
#ifndef MM_NET_TLS_LIBRARY_H
#define MM_NET_TLS_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

struct bio_method_st;
struct bio_st;
struct engine_st;
struct evp_md_st;
struct ssl_cipher_st;
struct ssl_ctx_st;
struct ssl_method_st;
struct ssl_session_st;
struct ssl_st;
struct x509_store_ctx_st;

typedef int (*mm_tls_find_session_fn)(struct ssl_st *, const unsigned char *identity, size_t n,
                                      struct ssl_session_st **);
typedef int (*mm_tls_use_session_fn)(struct ssl_st *, const struct evp_md_st *, const unsigned char **identity,
                                     size_t *n, struct ssl_session_st **);

/* type, name, arguments: equal in OpenSSL 1.1.1 and 3 */
#define MM_TLS_FUNCTIONS(X)                                                                                            \
    X(const struct ssl_method_st *, TLS_client_method, (void))                                                         \
    X(const struct ssl_method_st *, TLS_server_method, (void))                                                         \
    X(struct ssl_ctx_st *, SSL_CTX_new, (const struct ssl_method_st *))                                                \
    X(void, SSL_CTX_free, (struct ssl_ctx_st *))                                                                       \
    X(long, SSL_CTX_ctrl, (struct ssl_ctx_st *, int command, long value, void *pointer))                               \
    X(int, SSL_CTX_set_ciphersuites, (struct ssl_ctx_st *, const char *))                                              \
    X(int, SSL_CTX_set_num_tickets, (struct ssl_ctx_st *, size_t))                                                     \
    X(void, SSL_CTX_set_verify, (struct ssl_ctx_st *, int mode, int (*)(int, struct x509_store_ctx_st *)))             \
    X(void, SSL_CTX_set_psk_find_session_callback, (struct ssl_ctx_st *, mm_tls_find_session_fn))                      \
    X(void, SSL_CTX_set_psk_use_session_callback, (struct ssl_ctx_st *, mm_tls_use_session_fn))                        \
    X(struct ssl_st *, SSL_new, (struct ssl_ctx_st *))                                                                 \
    X(void, SSL_free, (struct ssl_st *))                                                                               \
    X(void, SSL_set_bio, (struct ssl_st *, struct bio_st *, struct bio_st *))                                          \
    X(int, SSL_set_ex_data, (struct ssl_st *, int, void *))                                                            \
    X(void *, SSL_get_ex_data, (const struct ssl_st *, int))                                                           \
    X(void, SSL_set_connect_state, (struct ssl_st *))                                                                  \
    X(void, SSL_set_accept_state, (struct ssl_st *))                                                                   \
    X(int, SSL_do_handshake, (struct ssl_st *))                                                                        \
    X(int, SSL_session_reused, (const struct ssl_st *))                                                                \
    X(int, SSL_read_ex, (struct ssl_st *, void *, size_t, size_t *))                                                   \
    X(int, SSL_write_ex, (struct ssl_st *, const void *, size_t, size_t *))                                            \
    X(int, SSL_pending, (const struct ssl_st *))                                                                       \
    X(int, SSL_key_update, (struct ssl_st *, int))                                                                     \
    X(int, SSL_shutdown, (struct ssl_st *))                                                                            \
    X(int, SSL_get_error, (const struct ssl_st *, int))                                                                \
    X(const struct ssl_cipher_st *, SSL_CIPHER_find, (struct ssl_st *, const unsigned char *))                         \
    X(struct ssl_session_st *, SSL_get_session, (const struct ssl_st *))                                               \
    X(struct ssl_session_st *, SSL_SESSION_new, (void))                                                                \
    X(void, SSL_SESSION_free, (struct ssl_session_st *))                                                               \
    X(int, SSL_SESSION_set1_master_key, (struct ssl_session_st *, const unsigned char *, size_t))                      \
    X(int, SSL_SESSION_set_cipher, (struct ssl_session_st *, const struct ssl_cipher_st *))                            \
    X(int, SSL_SESSION_set_protocol_version, (struct ssl_session_st *, int))                                           \
    X(int, BIO_get_new_index, (void))                                                                                  \
    X(struct bio_method_st *, BIO_meth_new, (int, const char *))                                                       \
    X(void, BIO_meth_free, (struct bio_method_st *))                                                                   \
    X(int, BIO_meth_set_read, (struct bio_method_st *, int (*)(struct bio_st *, char *, int)))                         \
    X(int, BIO_meth_set_write, (struct bio_method_st *, int (*)(struct bio_st *, const char *, int)))                  \
    X(int, BIO_meth_set_ctrl, (struct bio_method_st *, long (*)(struct bio_st *, int, long, void *)))                  \
    X(struct bio_st *, BIO_new, (const struct bio_method_st *))                                                        \
    X(void, BIO_set_data, (struct bio_st *, void *))                                                                   \
    X(void *, BIO_get_data, (struct bio_st *))                                                                         \
    X(void, BIO_set_init, (struct bio_st *, int))                                                                      \
    X(void, BIO_set_flags, (struct bio_st *, int))                                                                     \
    X(void, BIO_clear_flags, (struct bio_st *, int))                                                                   \
    X(void, ERR_clear_error, (void))                                                                                   \
    X(unsigned long, ERR_peek_error, (void))                                                                           \
    X(const char *, ERR_reason_error_string, (unsigned long))                                                          \
    X(const char *, OpenSSL_version, (int))                                                                            \
    X(const struct evp_md_st *, EVP_sha256, (void))                                                                    \
    X(int, EVP_Digest,                                                                                                 \
      (const void *, size_t, unsigned char *, unsigned int *, const struct evp_md_st *, struct engine_st *))           \
    X(unsigned char *, HMAC,                                                                                           \
      (const struct evp_md_st *, const void *key, int, const unsigned char *, size_t, unsigned char *,                 \
       unsigned int *))                                                                                                \
    X(void, OPENSSL_cleanse, (void *, size_t))                                                                         \
    X(int, CRYPTO_memcmp, (const void *, const void *, size_t))

/* Constants of its headers; our names, without MM_, are its names. */
#define MM_TLS_CONSTANTS(X)                                                                                            \
    X(SSL_CTRL_MODE, 33)                                                                                               \
    X(SSL_CTRL_SET_SESS_CACHE_MODE, 44)                                                                                \
    X(SSL_CTRL_SET_MIN_PROTO_VERSION, 123)                                                                             \
    X(SSL_CTRL_SET_MAX_PROTO_VERSION, 124)                                                                             \
    X(SSL_MODE_RELEASE_BUFFERS, 16)                                                                                    \
    X(SSL_SESS_CACHE_OFF, 0)                                                                                           \
    X(SSL_VERIFY_NONE, 0)                                                                                              \
    X(SSL_VERIFY_PEER, 1)                                                                                              \
    X(SSL_ERROR_WANT_READ, 2)                                                                                          \
    X(SSL_ERROR_WANT_WRITE, 3)                                                                                         \
    X(SSL_ERROR_ZERO_RETURN, 6)                                                                                        \
    X(SSL_KEY_UPDATE_NOT_REQUESTED, 0)                                                                                 \
    X(SSL_R_BINDER_DOES_NOT_VERIFY, 253)                                                                               \
    X(SSL_R_CERTIFICATE_VERIFY_FAILED, 134)                                                                            \
    X(SSL_AD_REASON_OFFSET, 1000)                                                                                      \
    X(TLS1_3_VERSION, 0x304)                                                                                           \
    X(BIO_CTRL_EOF, 2)                                                                                                 \
    X(BIO_CTRL_FLUSH, 11)                                                                                              \
    X(BIO_TYPE_SOURCE_SINK, 0x400)                                                                                     \
    X(BIO_FLAGS_READ, 1)                                                                                               \
    X(BIO_FLAGS_WRITE, 2)                                                                                              \
    X(BIO_FLAGS_RWS, 7)                                                                                                \
    X(BIO_FLAGS_SHOULD_RETRY, 8)                                                                                       \
    X(OPENSSL_VERSION, 0)

#define MM_TLS_ENUM(name_, value_) MM_##name_ = (value_),
enum { MM_TLS_CONSTANTS(MM_TLS_ENUM) };
#undef MM_TLS_ENUM

struct mm_tls_library {
    void *handle;
    char name[64]; /* as it names itself: "OpenSSL 3.0.22 …" */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): they are declarations */
#define MM_TLS_MEMBER(type_, name_, arguments_) type_(*name_) arguments_;
    MM_TLS_FUNCTIONS(MM_TLS_MEMBER)
#undef MM_TLS_MEMBER
};

/* Loads the first of the names (NULL ends them) that is there and has all functions. 0, or -1 with why, a piece of a
 * sentence. A library that was loaded stays for the life of the process. */
int mm_tls_library_load(struct mm_tls_library *library, const char *const *names, char *why, size_t n);

/* The process's one, loaded at the first call; any thread. NULL: there is none here. */
const struct mm_tls_library *mm_tls_library(void);
const char *mm_tls_library_name(void); /* for HELLO; "": none */
const char *mm_tls_library_why(void);  /* why there is none, a piece of a sentence */

#ifdef MM_TEST_HOOKS
void mm_tls_library_hide(bool hidden); /* as if there were none */
#endif

#endif
