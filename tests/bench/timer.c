/* Peer: a uv loop with nothing but a 1 ms timer, beside as many busy processes as the other side has workers.
 * "timer N": N of them, for the length of each turn. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/lateness.h"
#include "tests/bench/work.h"

enum { MAX_BUSY = 64 };

static size_t n_busy = 2;
static struct lateness lateness;

_Noreturn static void busy(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        __asm__ volatile("" : : "r"(work_chain(100000)));
}

static void time_is_up(uv_timer_t *timer)
{
    lateness_stop(&lateness);
    uv_close((uv_handle_t *)timer, NULL);
}

static void turn(void *ctx, double ms, long arg)
{
    pid_t pids[MAX_BUSY];
    uv_loop_t *loop = ctx;
    uv_timer_t end;
    (void)arg;
    for (size_t i = 0; i < n_busy; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            busy();
    }
    lateness_start(&lateness, loop);
    uv_timer_init(loop, &end);
    uv_timer_start(&end, time_is_up, (uint64_t)ms, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < n_busy; i++) {
        if (pids[i] < 0)
            peer_die("fork failed");
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    peer_figure("p99", stats_quantile(lateness.late_ms, lateness.n, 0.99), "ms");
    peer_figure("p50", stats_quantile(lateness.late_ms, lateness.n, 0.5), "ms");
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    n_busy = argc > 1 ? strtoul(argv[1], NULL, 10) : n_busy;
    if (n_busy > MAX_BUSY || uv_loop_init(&loop))
        peer_die("at most %d busy processes", MAX_BUSY);
    return peer_serve(turn, NULL, &loop);
}
