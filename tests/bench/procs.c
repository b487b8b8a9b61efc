/* The driver's side of peer.h's protocol: a peer is a child with two pipes. It is given time to answer; one that does
 * not, or says "error", is killed and its sentence handed up. A peer leaves by itself when its stdin ends. */
#include "tests/bench/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, WORDS_MAX = 16, READY_SECONDS = 60, LEAVE_MS = 3000, GONE_MS = 3000 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One line without its newline; -1 at a deadline, an error or the end. */
static int read_line(int fd, double seconds, char *line, size_t room)
{
    const double end = now_s() + seconds;
    for (size_t n = 0; n + 1 < room;) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        const double left = end - now_s();
        if (left <= 0 || poll(&poll_fd, 1, (int)(left * 1e3) + 1) <= 0)
            return -1;
        ssize_t got = read(fd, line + n, room - 1 - n);
        if (got <= 0)
            return -1;
        n += (size_t)got;
        line[n] = 0;
        if (line[n - 1] == '\n') {
            line[n - 1] = 0;
            return 0;
        }
    }
    return -1;
}

_Noreturn static void become(const char *dir, const char *command, int in, int out)
{
    char copy[512], path[1024], *words[WORDS_MAX + 2], *rest = NULL;
    size_t n = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(copy, sizeof copy, "%s", command);
    for (char *word = strtok_r(copy, " ", &rest); word && n < WORDS_MAX; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    words[n] = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, words[1]);
    words[1] = path;
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    signal(SIGPIPE, SIG_DFL);
    if (strstr(path, ".py")) {
        words[0] = (char *)"python3";
        execv("/usr/bin/python3", words);
    }
    execv(path, words + 1);
    printf("error %s: %s\n", path, strerror(errno));
    fflush(stdout);
    _exit(127);
}

/* Why a peer that has said nothing has not. */
static const char *ended(struct proc *proc)
{
    static char text[64];
    int status = 0, left_ms = GONE_MS;
    while (waitpid(proc->pid, &status, WNOHANG) == 0 && (left_ms -= 10) > 0) /* a core may have to be written first */
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    if (left_ms <= 0)
        return "it says nothing";
    proc->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(text, sizeof text, "it ended with status %d", WEXITSTATUS(status));
    return text;
}

int proc_start(struct proc *proc, const char *dir, const char *command, char error[256])
{
    int in[2], out[2];
    char line[LINE_MAX_BYTES] = "";
    fflush(stdout);
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
        return snprintf(error, 256, "pipe: %s", strerror(errno)), -1;
    proc->pid = fork();
    if (proc->pid == 0)
        become(dir, command, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    proc->to = in[1];
    proc->from = out[0];
    if (proc->pid < 0)
        return snprintf(error, 256, "fork: %s", strerror(errno)), -1;
    if (read_line(proc->from, READY_SECONDS, line, sizeof line) == 0 && !strcmp(line, "ready"))
        return 0;
    snprintf(error, 256, "%s is not ready: %.150s", command, line[0] ? line : ended(proc));
    return -1;
}

int proc_tell(struct proc *proc, const char *line, char error[256])
{
    size_t n = strlen(line);
    if (write(proc->to, line, n) != (ssize_t)n)
        return snprintf(error, 256, "a peer has left"), -1;
    return 0;
}

int proc_hear(struct proc *proc, double seconds, struct reply *reply, char error[256])
{
    char line[LINE_MAX_BYTES] = "", *rest = NULL;
    reply->n = 0;
    if (read_line(proc->from, seconds, line, sizeof line))
        return snprintf(error, 256, "a peer did not answer within %.0f s", seconds), -1;
    if (!strncmp(line, "error ", 6))
        return snprintf(error, 256, "%.250s", line + 6), -1;
    for (char *part = strtok_r(line, "\t", &rest); part; part = strtok_r(NULL, "\t", &rest)) {
        struct figure *f = &reply->figures[reply->n];
        if (reply->n == REPLY_MAX || sscanf(part, "%31s %lf %7s", f->name, &f->value, f->unit) != 3)
            return snprintf(error, 256, "a peer answered \"%.200s\"", part), -1;
        reply->n++;
    }
    return 0;
}

void proc_stop(struct proc *proc)
{
    if (proc->pid <= 0)
        return;
    close(proc->to);
    for (int i = 0; i < LEAVE_MS / 10; i++) {
        if (waitpid(proc->pid, NULL, WNOHANG) != 0) {
            proc->pid = 0;
            break;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    if (proc->pid > 0) {
        kill(proc->pid, SIGKILL);
        waitpid(proc->pid, NULL, 0);
        proc->pid = 0;
    }
    close(proc->from);
}
