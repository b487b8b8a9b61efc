/* Test builds only: a worker that kills or stops itself between two stores to the board.
 *
 * $MAMUTO_TEST_POINT holds up to four specifications "NAME:N:ACTION:FILE", parted by ';'. The first worker that passes
 * the point NAME (MM_POINT in shm/) for its N-th time and can create FILE writes its process id into it and does ACTION:
 * "kill" (SIGKILL to itself) or "stop" (SIGSTOP, until somebody continues or kills it). Or it holds "@FILE": then FILE is
 * a struct mm_test_orders, mapped, whose text holds the specifications; a new version of it is seen at the next point,
 * and passings count from there. A worker that is overtaken by a new version on its way writes 0 and does nothing.
 * Called by mm_worker_run; the master and a helping caller pass all points unharmed. What is not understood ends the
 * worker, so that a misspelt test does not pass.
 */
#include "shm/testpoint.h"

#include "shm/board.h"

#ifdef MM_TEST_HOOKS

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST = 4, EXIT_MISSPELT = 84 };

static struct spec {
    char name[32], file[512];
    unsigned at, passed;
    int signal;
} specs[MOST];
static unsigned n_specs;
static struct mm_test_orders *orders; /* NULL: the specifications stand */
static uint32_t seen;

static bool is_stale(void) { return orders && atomic_load(&orders->version) != seen; }

static void act(const struct spec *spec)
{
    int fd = open(spec->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* another worker was first */
    char text[16];
    bool stale = is_stale();
    int n = snprintf(text, sizeof text, "%d\n", stale ? 0 : (int)getpid());
    if (write(fd, text, (size_t)n) != n)
        _exit(EXIT_MISSPELT);
    close(fd);
    if (!stale)
        kill(getpid(), spec->signal);
}

static void parse_one(const char *text, struct spec *spec)
{
    char passing[12], action[8];
    *spec = (struct spec){ 0 };
    if (sscanf(text, "%31[^:]:%11[^:]:%7[^:]:%511[^;]", spec->name, passing, action, spec->file) != 4)
        _exit(EXIT_MISSPELT);
    spec->at = (unsigned)strtoul(passing, NULL, 10);
    spec->signal = strcmp(action, "kill") == 0 ? SIGKILL : strcmp(action, "stop") == 0 ? SIGSTOP : 0;
    if (!spec->at || !spec->signal)
        _exit(EXIT_MISSPELT);
}

static void parse(const char *text)
{
    n_specs = 0;
    while (text && *text && n_specs < MOST) {
        parse_one(text, &specs[n_specs++]);
        text = strchr(text, ';');
        text = text ? text + 1 : NULL;
    }
}

/* Reads a new version; one that changes meanwhile is left for the next point. */
static void read_orders(void)
{
    static char text[sizeof orders->text];
    uint32_t version = atomic_load(&orders->version);
    n_specs = 0;
    if (version & 1)
        return;
    memcpy(text, orders->text, sizeof text);
    text[sizeof text - 1] = '\0';
    if (atomic_load(&orders->version) != version)
        return;
    seen = version;
    parse(text);
}

static void on_point(const char *name)
{
    if (is_stale())
        read_orders();
    for (unsigned i = 0; i < n_specs; i++)
        if (strcmp(specs[i].name, name) == 0 && ++specs[i].passed == specs[i].at)
            act(&specs[i]);
}

static void map_orders(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *orders, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        _exit(EXIT_MISSPELT);
    close(fd);
    orders = p;
    seen = 1; /* no version that is ever read */
}

void mm_test_point_init(void)
{
    const char *text = getenv("MAMUTO_TEST_POINT");
    if (!text || !*text)
        return;
    if (text[0] == '@')
        map_orders(text + 1);
    else
        parse(text);
    mm_test_point = on_point;
}

#endif
