/* Peer: the least that a round trip to two sleeping processes can take. Two children park on one futex word in shared
 * memory; the parent, after 5 ms of idleness, changes it, wakes both and waits for an eventfd in poll(), as a loop
 * does; the child that finishes last writes it. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/bench/peer.h"

enum { CHILDREN = 2, MAX_TIMES = 1000 };

struct shared {
    _Alignas(64) _Atomic uint32_t call;
    _Alignas(64) _Atomic uint32_t left;
    _Alignas(64) uint32_t in[CHILDREN], out[CHILDREN];
};

static struct shared *shared;
static int done_fd;

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

_Noreturn static void child(int index)
{
    uint32_t seen = 0;
    const uint64_t one = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        while (atomic_load(&shared->call) == seen)
            futex(&shared->call, FUTEX_WAIT, seen);
        seen = atomic_load(&shared->call);
        shared->out[index] = shared->in[index] + 1;
        if (atomic_fetch_sub(&shared->left, 1) == 1 && write(done_fd, &one, sizeof one) != sizeof one)
            _exit(1);
    }
}

static void once(void *ctx)
{
    uint64_t count;
    struct pollfd poll_fd = { .fd = done_fd, .events = POLLIN };
    (void)ctx;
    atomic_store(&shared->left, CHILDREN);
    atomic_fetch_add(&shared->call, 1);
    futex(&shared->call, FUTEX_WAKE, INT_MAX);
    while (poll(&poll_fd, 1, -1) < 0 && errno == EINTR)
        continue;
    if (read(done_fd, &count, sizeof count) != sizeof count)
        peer_die("the eventfd cannot be read");
}

static void turn(void *ctx, double ms, long arg)
{
    static double times[MAX_TIMES];
    (void)arg;
    size_t n = peer_each_us(once, ctx, ms, 5, times, MAX_TIMES);
    peer_figure("time", stats_quantile(times, n, 0.5), "us");
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (shared == MAP_FAILED || done_fd < 0)
        peer_die("no shared memory or no eventfd");
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid < 0)
            peer_die("fork failed");
        if (pid == 0)
            child(i);
    }
    once(NULL);
    return peer_serve(turn, NULL, NULL);
}
