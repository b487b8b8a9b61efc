/* Peer: another program that spins on one core for the length of its turn, wherever the kernel puts it; "hog CPU" stays
 * on that one. */
#include <sched.h>

#include "tests/bench/peer.h"
#include "tests/bench/work.h"

static void turn(void *ctx, double ms, long arg)
{
    const uint64_t end = peer_now_ns() + (uint64_t)(ms * 1e6);
    (void)ctx;
    (void)arg;
    while (peer_now_ns() < end)
        __asm__ volatile("" : : "r"(work_chain(10000)));
    peer_figure("time", ms * 1e3, "us");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(strtoul(argv[1], NULL, 10), &set);
        if (sched_setaffinity(0, sizeof set, &set))
            peer_die("CPU %s is not ours", argv[1]);
    }
    return peer_serve(turn, NULL, NULL);
}
