/* Regular files that a user names: opened without being held by a FIFO, and refused with a sentence where they are
 * something else. Called by core/module.c, core/compiler.c and core/elf.c, from a child process or a thread. Keeps no
 * state, and follows symbolic links: whose file it is matters only in core/cache.c. */
#include "core/regular.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"

enum { SHOWN_BYTES = 120 };

const char *mm_regular_shown(const char *path)
{
    size_t bytes = strlen(path);
    return bytes > SHOWN_BYTES ? path + bytes - SHOWN_BYTES : path;
}

int mm_regular_open(const char *path, uint64_t *bytes, mamuto_error_t *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0; /* a FIFO must not hold us */
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        rc = mm_error_set(err, MAMUTO_EMODULE, "there is no file \"%s\"", mm_regular_shown(path));
    else if (fd < 0 || fstat(fd, &st))
        rc = mm_error_set(err, MAMUTO_EMODULE, "%s cannot be read: %s", mm_regular_shown(path), strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = mm_error_set(err, MAMUTO_EMODULE, "%s is %s, not a file", mm_regular_shown(path),
                          S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    else
        *bytes = (uint64_t)st.st_size;
    if (rc && fd >= 0)
        close(fd);
    return rc ? rc : fd;
}
