/* Peer: oneTBB, an arena of two threads, the caller among them.
 *   tbb like N static|auto|affinity    like3 over N items, again and again
 *   tbb wake                           two trivial items, each time after 5 ms of idleness */
#include <oneapi/tbb.h>

#include "tests/bench/peer_like.h"

namespace
{
constexpr int lanes = 2;
constexpr std::size_t grain = 64;
constexpr double idle_ms = 5;

oneapi::tbb::task_arena arena(lanes);
oneapi::tbb::affinity_partitioner affinity;
std::uint32_t in[lanes], out[lanes];

template <typename P> void run_like(like *l, P &&partitioner)
{
    using range = oneapi::tbb::blocked_range<std::size_t>;
    arena.execute([&] {
        oneapi::tbb::parallel_for(
            range(0, l->n, grain),
            [l](const range &r) { like3_range(l->p + 3 * r.begin(), l->data, l->out + r.begin(), r.size()); },
            partitioner);
    });
}

void once_static(void *ctx) { run_like(static_cast<like *>(ctx), oneapi::tbb::static_partitioner()); }

void once_auto(void *ctx) { run_like(static_cast<like *>(ctx), oneapi::tbb::auto_partitioner()); }

void once_affinity(void *ctx) { run_like(static_cast<like *>(ctx), affinity); }

void once_wake(void *)
{
    arena.execute([] { oneapi::tbb::parallel_for(0, lanes, [](int i) { out[i] = in[i] + 1; }); });
}

void turn_wake(void *, double ms, long)
{
    static double times[1000];
    std::size_t n = peer_each_us(once_wake, nullptr, ms, idle_ms, times, 1000);
    peer_figure("time", stats_quantile(times, n, 0.5), "us");
}
} // namespace

int main(int argc, char **argv)
{
    const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, lanes);
    if (argc == 2 && !std::strcmp(argv[1], "wake")) {
        once_wake(nullptr);
        return peer_serve(turn_wake, nullptr, nullptr);
    }
    if (argc != 4 || std::strcmp(argv[1], "like"))
        peer_die("tbb like N static|auto|affinity, or tbb wake");
    like l;
    like_make(&l, std::strtoul(argv[2], nullptr, 10));
    if (!std::strcmp(argv[3], "static"))
        return like_serve(&l, once_static);
    return like_serve(&l, std::strcmp(argv[3], "auto") ? once_affinity : once_auto);
}
