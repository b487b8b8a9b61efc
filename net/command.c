/* The process of a launch command, and its stderr.
 *
 * Its stdio is a socket pair, so that a write to a process that has ended is an error and no signal. SIGCHLD and waitpid(-1)
 * are the application's: the process is known by a pidfd, which the loop watches, and reaped by its number alone. Where
 * there are no pidfds it is looked for by the timer. Called on the loop's thread; blocks for a vfork and an exec.
 */
#include "net/command.h"

#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LOOK_MS = 20, TERMINATE_MS = 1000, KILL_MS = 2000 };

struct mm_command {
    uv_loop_t *loop;
    pid_t pid; /* 0: it was reaped */
    int pidfd, err_fd;
    uv_poll_t on_exit, on_err;
    uv_timer_t timer;
    bool has_exit, has_err, stopping;
    int open; /* close callbacks to come */
    unsigned stopping_ms;
    char tail[2 * MM_COMMAND_TAIL]; /* the first half goes when it is full */
    size_t n_tail;
    char end[96];
    void (*on_gone)(void *owner);
    void *owner;
};

/* --- starting ----------------------------------------------------------------------------------------------------- */

static int spawn(pid_t *pid, char *const *argv, int io, int err_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int code = posix_spawn_file_actions_init(&actions);
    if (code)
        return code;
    code = posix_spawnattr_init(&attributes);
    if (code) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    code = posix_spawn_file_actions_adddup2(&actions, io, 0);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&actions, io, 1);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&actions, err_fd, 2);
    if (!code)
        code = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static int spawn_with(pid_t *pid, char *const *argv, const char *last, int io, int err_fd)
{
    size_t n = 0;
    while (argv[n])
        n++;
    char **all = mm_alloc_array(n + 2, sizeof *all);
    if (!all)
        return ENOMEM;
    memcpy(all, argv, n * sizeof *all);
    all[n] = (char *)(uintptr_t)last;
    int code = spawn(pid, all, io, err_fd);
    mm_free(all);
    return code;
}

static int open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
#else
    (void)pid;
    return -1;
#endif
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

static void look(struct mm_command *c)
{
    int status = 0;
    if (!c->pid || waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    c->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(c->end, sizeof c->end, "it was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(c->end, sizeof c->end, "it exited with status %d", WEXITSTATUS(status));
}

/* What stderr has; false: it has ended. */
static bool read_tail(struct mm_command *c)
{
    for (;;) {
        if (c->n_tail == sizeof c->tail) {
            memmove(c->tail, c->tail + MM_COMMAND_TAIL, MM_COMMAND_TAIL);
            c->n_tail = MM_COMMAND_TAIL;
        }
        ssize_t n = read(c->err_fd, c->tail + c->n_tail, sizeof c->tail - c->n_tail);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        c->n_tail += (size_t)n;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct mm_command *c = handle->data;
    if (--c->open)
        return;
    void (*on_gone)(void *) = c->on_gone;
    void *owner = c->owner;
    mm_free(c);
    if (on_gone)
        on_gone(owner);
}

static void drop(struct mm_command *c, uv_poll_t *poll, bool *has, int *fd)
{
    if (*has)
        uv_close((uv_handle_t *)poll, on_closed);
    *has = false;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    (void)c;
}

static void on_stderr(uv_poll_t *poll, int status, int events)
{
    struct mm_command *c = poll->data;
    (void)events;
    if (!read_tail(c) || status < 0)
        uv_poll_stop(poll);
}

static void on_exit_of_it(uv_poll_t *poll, int status, int events)
{
    struct mm_command *c = poll->data;
    (void)status, (void)events;
    look(c);
    if (!c->pid)
        uv_poll_stop(poll);
}

static void on_timer(uv_timer_t *timer)
{
    struct mm_command *c = timer->data;
    look(c);
    if (!c->stopping)
        return;
    if (!c->pid) {
        drop(c, &c->on_exit, &c->has_exit, &c->pidfd);
        drop(c, &c->on_err, &c->has_err, &c->err_fd);
        uv_close((uv_handle_t *)&c->timer, on_closed);
        return;
    }
    c->stopping_ms += LOOK_MS;
    if (c->stopping_ms >= TERMINATE_MS)
        kill(-c->pid, c->stopping_ms >= KILL_MS ? SIGKILL : SIGTERM); /* its group: not reaped, so it is there */
}

static void watch(struct mm_command *c, uv_poll_t *poll, bool *has, int fd, uv_poll_cb on_ready)
{
    if (fd < 0 || uv_poll_init(c->loop, poll, fd) != 0)
        return; /* the timer looks, too */
    poll->data = c;
    *has = true;
    c->open++;
    uv_poll_start(poll, UV_READABLE, on_ready);
    uv_unref((uv_handle_t *)poll);
}

static void watch_all(struct mm_command *c, int err_fd)
{
    c->err_fd = err_fd;
    fcntl(err_fd, F_SETFL, O_NONBLOCK);
    c->pidfd = open_pidfd(c->pid);
    uv_timer_init(c->loop, &c->timer);
    c->timer.data = c;
    c->open = 1;
    watch(c, &c->on_err, &c->has_err, err_fd, on_stderr);
    watch(c, &c->on_exit, &c->has_exit, c->pidfd, on_exit_of_it);
    if (!c->has_exit)
        uv_timer_start(&c->timer, on_timer, LOOK_MS, LOOK_MS);
    uv_unref((uv_handle_t *)&c->timer);
}

int mm_command_start(struct mm_command **out, uv_loop_t *loop, char *const *argv, const char *last,
                     struct mm_wire **wire, mamuto_error_t *err)
{
    int io[2] = { -1, -1 }, errs[2] = { -1, -1 }, code = 0;
    struct mm_command *c = mm_alloc(sizeof *c);
    if (!c)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a launch command");
    c->loop = loop;
    c->pidfd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io) != 0 || pipe2(errs, O_CLOEXEC) != 0)
        code = mm_error_system(err, errno, "cannot make a socket for a launch command");
    int failed = code ? 0 : spawn_with(&c->pid, argv, last, io[1], errs[1]);
    if (failed)
        code =
            mm_error_set(err, MAMUTO_EHOST, "the launch command %s cannot be started: %s", argv[0], strerror(failed));
    if (!code && !(*wire = mm_wire_of_fds(io[0], io[0]))) {
        code = mm_error_set(err, MAMUTO_ENOMEM, "no memory for a launch command");
        kill(-c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
    for (int i = 0; i < 2; i++) { /* the child has the others */
        if (io[i] >= 0 && (code || i))
            close(io[i]);
        if (errs[i] >= 0 && (code || i))
            close(errs[i]);
    }
    if (code) {
        mm_free(c);
        return code;
    }
    watch_all(c, errs[0]);
    *out = c;
    return 0;
}

const char *mm_command_tail(struct mm_command *c, size_t *n)
{
    if (c->err_fd >= 0)
        read_tail(c);
    size_t skip = c->n_tail > MM_COMMAND_TAIL ? c->n_tail - MM_COMMAND_TAIL : 0;
    *n = c->n_tail - skip;
    return c->tail + skip;
}

const char *mm_command_end(struct mm_command *c)
{
    look(c);
    return c->pid ? NULL : c->end;
}

void mm_command_stop(struct mm_command *c, void (*on_gone)(void *owner), void *owner)
{
    c->stopping = true;
    c->on_gone = on_gone;
    c->owner = owner;
    uv_timer_start(&c->timer, on_timer, 0, LOOK_MS);
}
