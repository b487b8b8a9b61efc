/* Reading a small file, if nobody but this user or root could have written it.
 *
 * For files that make us run commands: the config (config.c). As ssh does with its config, such a file is refused
 * rather than read with a warning. The descriptor is asked, not the path, so that what was checked is what is read.
 * The size is checked twice, because a file can grow while it is read, and files of /proc and /sys have none.
 * Not checked: the folders above it; who may exchange those may exchange anything of this user's. */
#include "core/ownfile.h"

#include "core/alloc.h"
#include "core/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int check(int fd, const char *name, size_t max_bytes, int code, mamuto_error_t *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return mm_error_set(err, code, "%s: cannot be examined: %s", name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return mm_error_set(err, code, "%s: is a folder; a regular file is needed", name);
    if (!S_ISREG(st.st_mode))
        return mm_error_set(err, code, "%s: is not a regular file", name);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return mm_error_set(err, code,
                            "%s: belongs to user %ju, who could make it run commands as you; use a copy of your own",
                            name, (uintmax_t)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return mm_error_set(err, code,
                            "%s: others can write it (mode %04o) and could make it run commands as you; "
                            "run: chmod go-w %s",
                            name, (unsigned)st.st_mode & 07777, name);
    if ((uintmax_t)st.st_size > max_bytes)
        return mm_error_set(err, code, "%s: has %jd bytes; at most %zu are read", name, (intmax_t)st.st_size,
                            max_bytes);
    return 0;
}

/* Reads up to room bytes; -1 with errno. */
static ssize_t read_up_to(int fd, char *bytes, size_t room)
{
    size_t n = 0;
    while (n < room) {
        ssize_t got = read(fd, bytes + n, room - n);
        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR)
            return -1;
    }
    return (ssize_t)n;
}

int mm_ownfile_read(const char *path, const char *name, size_t max_bytes, char **text, size_t *length, int code,
                    mamuto_error_t *err)
{
    char *bytes = NULL;
    int rc;
    /* O_NONBLOCK: opening a FIFO must not wait for its writer; it does nothing to regular files */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return mm_error_set(err, code, "%s: cannot be opened: %s", name, strerror(errno));
    if ((rc = check(fd, name, max_bytes, code, err)))
        goto fail;
    if (!(bytes = mm_alloc(max_bytes + 2))) { /* one more than allowed, to see that there is more; and the NUL */
        rc = mm_error_set(err, MAMUTO_ENOMEM, "%s: not enough memory to read it", name);
        goto fail;
    }
    ssize_t got = read_up_to(fd, bytes, max_bytes + 1);
    if (got < 0) {
        rc = mm_error_set(err, code, "%s: cannot be read: %s", name, strerror(errno));
        goto fail;
    }
    if ((size_t)got > max_bytes) {
        rc = mm_error_set(err, code, "%s: has more than the %zu bytes that are read", name, max_bytes);
        goto fail;
    }
    bytes[got] = '\0';
    *text = bytes;
    *length = (size_t)got;
    close(fd);
    return 0;

fail:
    mm_free(bytes);
    close(fd);
    return rc;
}
