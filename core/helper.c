/* Finding mamuto-agent: where the config says, $MAMUTO_AGENT, beside the library or program that this code is in, in the
 * install prefix. Called where a fork server is started (shm/spawn.c), and where one is sent to another host.
 */
#include "core/helper.h"

#include "core/error.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct search {
    char path[PATH_MAX];
    char tried[320];
};

static bool try_path(struct search *search, const char *folder, const char *rest)
{
    int n = snprintf(search->path, sizeof search->path, "%s%s", folder, rest);
    if (n < 0 || (size_t)n >= sizeof search->path)
        return false;
    if (access(search->path, X_OK) == 0)
        return true;
    size_t used = strlen(search->tried);
    int room = (int)(sizeof search->tried - used) - (used ? 3 : 1); /* what does not fit is cut */
    if (room > 0)
        snprintf(search->tried + used, sizeof search->tried - used, "%s%.*s", used ? ", " : "", room, search->path);
    return false;
}

/* The folder of the file that holds this code: libmamuto, or the program it is linked into. */
static bool own_folder(char *folder, size_t size)
{
    Dl_info info;
    char real[PATH_MAX];
    static const int here;
    if (!dladdr(&here, &info) || !info.dli_fname || !realpath(info.dli_fname, real))
        if (!realpath("/proc/self/exe", real))
            return false;
    char *slash = strrchr(real, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return snprintf(folder, size, "%s", real) < (int)size;
}

static int find(struct search *search, const char *agent, mamuto_error_t *err)
{
    const char *named = getenv("MAMUTO_AGENT");
    char folder[PATH_MAX];
    if (agent) {
        if (try_path(search, agent, ""))
            return 0;
        return mm_error_set(err, MAMUTO_EHOST,
                            "the helper program that the config's \"agent\" names, %s, cannot be run: %s", agent,
                            strerror(errno));
    }
    if (named && *named) {
        if (try_path(search, named, ""))
            return 0;
        return mm_error_set(err, MAMUTO_EHOST, "the helper program that $MAMUTO_AGENT names, %s, cannot be run: %s",
                            named, strerror(errno));
    }
    if (own_folder(folder, sizeof folder) &&
        (try_path(search, folder, "/" MM_HELPER) || try_path(search, folder, "/../libexec/mamuto/" MM_HELPER)))
        return 0;
    if (try_path(search, MM_AGENT_DIR, "/" MM_HELPER))
        return 0;
    return mm_error_set(err, MAMUTO_EHOST,
                        "the helper program " MM_HELPER " is not found; tried: %s; install it, or name it "
                        "in $MAMUTO_AGENT",
                        search->tried);
}

int mm_helper_find(const char *agent, char path[PATH_MAX], mamuto_error_t *err)
{
    struct search search = { 0 };
    int code = find(&search, agent, err);
    if (!code)
        memcpy(path, search.path, sizeof search.path);
    return code;
}
