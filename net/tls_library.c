/* Finding OpenSSL at run time: libssl.so.3, else .1.1, each with the libcrypto of its own version. One that lacks a function
 * is no library for us. It is loaded once and never unloaded, for it leaves handlers behind.
 */
#include "net/tls_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static struct mm_tls_library library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A function's address into a pointer to one: ISO C knows no conversion, POSIX says that they are alike. */
static bool find(void *from, const char *name, void *to)
{
    void *address = dlsym(from, name);
    memcpy(to, &address, sizeof address);
    return address != NULL;
}

static bool fill(void *ssl, void *crypto)
{
    bool all = true;
#define FIND(library_, result_, name_, arguments_) all = all && find(library_, #name_, &library.name_);
    MM_TLS_FUNCTIONS(FIND)
#undef FIND
    return all;
}

static void load(void)
{
    static const char *const names[][2] = { { "libssl.so.3", "libcrypto.so.3" },
                                            { "libssl.so.1.1", "libcrypto.so.1.1" } };
    for (size_t i = 0; i < sizeof names / sizeof *names && !library.name; i++) {
        void *crypto = dlopen(names[i][1], RTLD_NOW | RTLD_LOCAL);
        void *ssl = crypto ? dlopen(names[i][0], RTLD_NOW | RTLD_LOCAL) : NULL;
        if (ssl && fill(ssl, crypto)) {
            library.name = names[i][0];
            return;
        }
        if (ssl)
            dlclose(ssl);
        if (crypto)
            dlclose(crypto);
    }
}

const struct mm_tls_library *mm_tls_library(void)
{
    pthread_once(&once, load);
    return library.name ? &library : NULL;
}
