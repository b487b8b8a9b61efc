/* Finds the helper program and starts it with posix_spawn: default signals, an empty mask, one socket and the standard
 * streams. The child cleans up the rest itself (shm/forkserver.c). Called by the owner of a pool; blocks for the time of
 * a vfork and an exec. */
#include "shm/spawn.h"

#include "core/alloc.h"
#include "core/error.h"
#include "core/helper.h"
#include "core/program.h"
#include "shm/forkserver.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

static bool is_name_in(const char *variable, char *const *env)
{
    size_t n = strcspn(variable, "=");
    while (env && *env && (strncmp(*env, variable, n + 1) != 0))
        env++;
    return env && *env;
}

/* This process's environment with env's variables in place of its own; the strings are borrowed. NULL: no memory. */
static char **merge(char *const *env)
{
    size_t n = 0;
    for (char **p = environ; p && *p; p++)
        n++;
    for (char *const *p = env; p && *p; p++)
        n++;
    char **merged = mm_alloc_array(n + 1, sizeof *merged);
    n = 0;
    for (char **p = environ; merged && p && *p; p++)
        if (!is_name_in(*p, env))
            merged[n++] = *p;
    for (char *const *p = env; merged && p && *p; p++)
        merged[n++] = *p;
    return merged;
}

static int spawn(pid_t *pid, const char *path, char *const *env, int control)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char *const argv[] = { (char[]){ MM_HELPER }, (char[]){ MM_FORK_SERVER_ARGUMENT }, NULL };
    sigemptyset(&none);
    sigfillset(&all);
    int code = posix_spawn_file_actions_init(&actions);
    if (code)
        return code;
    code = posix_spawnattr_init(&attributes);
    if (!code) {
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        code = posix_spawn_file_actions_adddup2(&actions, control, MM_CONTROL_FD);
        if (!code)
            code = posix_spawn(pid, path, &actions, &attributes, argv, env);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

int mm_spawn_fork_server(const char *agent, char *const *env, pid_t *pid, int *control, mamuto_error_t *err)
{
    char path[PATH_MAX] = "/proc/self/exe";
    int pair[2], code = mm_program_functions() ? 0 : mm_helper_find(agent, path, err);
    if (code)
        return code;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return mm_error_system(err, errno, "cannot make the socket to the fork server");
    if (pair[1] == MM_CONTROL_FD) { /* dup2 onto itself would leave it close-on-exec */
        int other = fcntl(pair[1], F_DUPFD_CLOEXEC, MM_CONTROL_FD + 1);
        close(pair[1]);
        pair[1] = other;
    }
    char **merged = merge(env);
    code = pair[1] < 0 ? errno : !merged ? ENOMEM : spawn(pid, path, merged, pair[1]);
    mm_free(merged);
    if (pair[1] >= 0)
        close(pair[1]);
    if (code) {
        close(pair[0]);
        return mm_error_set(err, MAMUTO_EHOST, "cannot start the helper program %s: %s", path, strerror(code));
    }
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    *control = pair[0];
    return 0;
}
