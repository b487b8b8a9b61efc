/* Opens the folder in which workers are to be, before any of them is there.
 *
 * The owner of a pool calls it once: so a folder that is missing is an error of opening, with its name, and not the end of
 * each worker. What is handed to the fork server is the descriptor: workers that are forked later, from a server that may
 * be another one, come to the same folder though it was renamed. Blocks as open does. */
#include "shm/workdir.h"

#include "core/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* May it be entered? Opening it with O_PATH asks no more than whether it is there. */
static int enter(int folder)
{
    int inside = openat(folder, ".", O_PATH | O_CLOEXEC);
    if (inside >= 0)
        close(inside);
    return inside < 0 ? -1 : 0;
}

int mm_workdir_open(const char *path, int *fd, mamuto_error_t *err)
{
    int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0 && enter(folder) == 0) {
        *fd = folder;
        return 0;
    }
    mm_error_set(
        err, MAMUTO_ECONFIG,
        "the config's workdir, %s, cannot be the workers' working directory: %s; make it, or name a folder that "
        "is there",
        path, strerror(errno));
    if (folder >= 0)
        close(folder);
    return MAMUTO_ECONFIG;
}
