/* Finding OpenSSL at run time.
 *
 * Neither end may need it to start: a host without it is served through its ssh channel. So it is opened by dlopen when
 * somebody first asks, and each function that is missing (libssl 1.1.0, LibreSSL) means that there is no library, rather
 * than a crash later. libcrypto needs no handle of its own: libssl depends on exactly the one that fits it, and dlsym
 * looks through what a library depends on. It is never closed: OpenSSL has threads' and exit's handlers in itself.
 * Called by both ends: HELLO, wires of TLS, proofs of plain streams. Does not set anything up; see net/tls_context.c.
 */
#include "net/tls_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(void *) == sizeof(void (*)(void)), "dlsym returns functions as pointers");

struct entry {
    const char *name;
    size_t offset;
};
#define MM_ENTRY(type_, name_, arguments_) { #name_, offsetof(struct mm_tls_library, name_) },
static const struct entry entries[] = { MM_TLS_FUNCTIONS(MM_ENTRY) };
#undef MM_ENTRY

static int find_functions(struct mm_tls_library *library, const char *name, char *why, size_t n)
{
    for (size_t k = 0; k < sizeof entries / sizeof entries[0]; k++) {
        void *function = dlsym(library->handle, entries[k].name);
        if (!function) {
            snprintf(why, n, "%s has no %s", name, entries[k].name);
            return -1;
        }
        memcpy((char *)library + entries[k].offset, &function, sizeof function);
    }
    return 0;
}

int mm_tls_library_load(struct mm_tls_library *library, const char *const *names, char *why, size_t n)
{
    snprintf(why, n, "no name was given");
    for (; *names; names++) {
        struct mm_tls_library found = { .handle = dlopen(*names, RTLD_NOW | RTLD_LOCAL) };
        if (!found.handle) {
            const char *text = dlerror();
            snprintf(why, n, "%s", text ? text : *names);
            continue;
        }
        if (find_functions(&found, *names, why, n) == 0) {
            snprintf(found.name, sizeof found.name, "%s", found.OpenSSL_version(MM_OPENSSL_VERSION));
            *library = found;
            return 0;
        }
        dlclose(found.handle); /* nothing in it has run but its constructors */
    }
    return -1;
}

static struct mm_tls_library the_library;
static char why_none[256];
static bool is_there;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    static const char *const names[] = { "libssl.so.3", "libssl.so.1.1", NULL };
    is_there = mm_tls_library_load(&the_library, names, why_none, sizeof why_none) == 0;
}

#ifdef MM_TEST_HOOKS
static bool is_hidden;
void mm_tls_library_hide(bool hidden) { is_hidden = hidden; }
#else
enum { is_hidden = 0 };
#endif

const struct mm_tls_library *mm_tls_library(void)
{
    pthread_once(&once, load);
    return is_there && !is_hidden ? &the_library : NULL;
}

const char *mm_tls_library_name(void)
{
    const struct mm_tls_library *library = mm_tls_library();
    return library ? library->name : "";
}

const char *mm_tls_library_why(void)
{
    pthread_once(&once, load);
    return is_hidden ? "it is hidden" : why_none;
}
