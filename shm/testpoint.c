/* Test builds only: a worker that kills or stops itself between two stores to the board.
 *
 * $MAMUTO_TEST_POINT holds specifications "NAME:N:ACTION:FILE", parted by ';'. The first worker that passes the point
 * NAME (MM_POINT in shm/) for the N-th time since FILE's folder is there, and can create FILE, writes its process id
 * into it and does ACTION: "kill" (SIGKILL to itself) or "stop" (SIGSTOP, until somebody continues or kills it). So a
 * test arms a specification by making a folder, each acts once, and one mapper serves many of them.
 * Called by mm_worker_run; the master and a helping caller pass all points unharmed. What is not understood ends the
 * worker, so that a misspelt test does not pass.
 */
#include "shm/board.h"

#ifdef MM_TEST_HOOKS

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST = 512, EXIT_MISSPELT = 84 };

enum state { WAITS, ARMED, OVER };

struct spec {
    char name[32], file[256];
    enum state state;
    unsigned at, passed;
    int signal;
};

static struct spec specs[MOST];
static unsigned n_specs;

static void act(struct spec *spec)
{
    spec->state = OVER;
    int fd = open(spec->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* another worker was first, or the test has disarmed it */
    char text[16];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (write(fd, text, (size_t)n) != n)
        _exit(EXIT_MISSPELT);
    close(fd);
    kill(getpid(), spec->signal);
}

static bool is_armed(struct spec *spec)
{
    char *slash = strrchr(spec->file, '/');
    if (spec->state != WAITS || !slash)
        return spec->state == ARMED;
    *slash = '\0';
    if (access(spec->file, F_OK) == 0)
        spec->state = ARMED;
    *slash = '/';
    return spec->state == ARMED;
}

static void on_point(const char *name)
{
    for (unsigned i = 0; i < n_specs; i++)
        if (strcmp(specs[i].name, name) == 0 && is_armed(&specs[i]) && ++specs[i].passed == specs[i].at)
            act(&specs[i]);
}

static void parse(const char *text, struct spec *spec)
{
    char action[8];
    if (sscanf(text, "%31[^:]:%u:%7[^:]:%255[^;]", spec->name, &spec->at, action, spec->file) != 4 || !spec->at)
        _exit(EXIT_MISSPELT);
    spec->signal = strcmp(action, "kill") == 0 ? SIGKILL : strcmp(action, "stop") == 0 ? SIGSTOP : 0;
    if (!spec->signal)
        _exit(EXIT_MISSPELT);
}

void mm_test_point_init(void)
{
    const char *text = getenv("MAMUTO_TEST_POINT");
    for (n_specs = 0; text && *text && n_specs < MOST; n_specs++) {
        specs[n_specs] = (struct spec){ 0 };
        parse(text, &specs[n_specs]);
        text = strchr(text, ';');
        text = text ? text + 1 : NULL;
    }
    mm_test_point = n_specs ? on_point : NULL;
}

#endif
