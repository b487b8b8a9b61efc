/* The agent's file, kept for the life of the process: many hosts are sent the same, and the file may be replaced meanwhile.
 */
#include "net/payload.h"

#include "core/alloc.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/helper.h"
#include "net/tls_library.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mm_payload kept;
static char *kept_bytes;

static void name_it(struct mm_payload *p)
{
    const struct mm_tls_library *lib = mm_tls_library();
    unsigned char sum[32];
    unsigned n = sizeof sum;
    struct mm_hash hash;
    mm_hash_init(&hash);
    mm_hash_add(&hash, p->bytes, p->n);
    mm_hash_hex(&hash, p->name);
    snprintf(p->sha256, sizeof p->sha256, "-");
    if (!lib || lib->EVP_Digest(p->bytes, p->n, sum, &n, lib->EVP_sha256(), NULL) != 1)
        return;
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(p->sha256 + 2 * i, 3, "%02x", sum[i]);
}

static int read_all(int fd, const char *path, mamuto_error_t *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return mm_error_system(err, errno, "%s cannot be read", path);
    char *bytes = mm_alloc((size_t)st.st_size + 1);
    size_t n = 0;
    if (!bytes)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for the agent that is to be sent");
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int code = mm_error_system(err, got < 0 ? errno : EIO, "%s cannot be read", path);
            mm_free(bytes);
            return code;
        }
        n += (size_t)got;
    }
    kept_bytes = bytes;
    kept = (struct mm_payload){ .bytes = bytes, .n = n };
    name_it(&kept);
    return 0;
}

static int load(mamuto_error_t *err)
{
    char path[PATH_MAX];
    int code = mm_helper_find(NULL, path, err);
    if (code)
        return code;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mm_error_system(err, errno, "%s cannot be read", path);
    code = read_all(fd, path, err);
    close(fd);
    return code;
}

int mm_payload(const struct mm_payload **payload, mamuto_error_t *err)
{
    pthread_mutex_lock(&lock);
    int code = kept_bytes ? 0 : load(err);
    pthread_mutex_unlock(&lock);
    *payload = &kept;
    return code;
}

bool mm_payload_fits(const char *system, const char *machine, const char *libc)
{
    struct utsname name;
    bool glibc = false;
#ifdef __GLIBC__
    glibc = true;
#endif
    return uname(&name) == 0 && strcmp(system, name.sysname) == 0 && strcmp(machine, name.machine) == 0 &&
           (strncmp(libc, "glibc", 5) == 0) == glibc;
}
