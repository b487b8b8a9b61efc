/* The names: which peers take turns, and what becomes of their figures. Limits are in names.tsv. The kinds of turn that
 * are not "each side for 50 ms" are in plans_more.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/bench.h"

enum { LANES = 2, SHAPES = 3 };

static const double turn_ms = 50;

/* ---- ours against the best of the others ---- */

static int run_round(struct bench *b, size_t turn, enum turn_kind kind, double values[SIDES_MAX])
{
    for (size_t k = 0; k < b->n_sides; k++) {
        const size_t side = (k + turn) % b->n_sides; /* nobody is always first */
        if (bench_turn(b, side, turn_ms, 0, kind, &values[side]))
            return -1;
    }
    return 0;
}

static void take_side(double values[][SIDES_MAX], size_t side, size_t turns, double *column)
{
    for (size_t t = 0; t < turns; t++)
        column[t] = values[t][side];
}

/* The side other than ours with the lowest median is what ours is held against. */
static void settle(const struct bench *b, double values[][SIDES_MAX], struct outcome *outcome)
{
    double lowest = INFINITY;
    size_t best = 1;
    for (size_t side = 1; side < b->n_sides; side++) {
        take_side(values, side, outcome->turns, outcome->theirs);
        const double median = bench_median(outcome->theirs, outcome->turns);
        if (median < lowest) {
            lowest = median;
            best = side;
        }
    }
    take_side(values, 0, outcome->turns, outcome->ours);
    take_side(values, best, outcome->turns, outcome->theirs);
    outcome->reference = b->sides[best].label;
}

static int run_pairs(struct bench *b, const struct plan *plan)
{
    double values[TURNS_MAX][SIDES_MAX] = { { 0 } };
    struct outcome outcome = { 0 };
    const double start = bench_now_s();
    if (run_round(b, 0, WARM, values[0]))
        return -1;
    outcome.turns = bench_turns(b, bench_now_s() - start, 1);
    for (size_t t = 0; t < outcome.turns; t++)
        if (run_round(b, t, RECORDED, values[t]))
            return -1;
    if (strstr(plan->peers[0], "ours like") && bench_shares(b, 0))
        return -1;
    settle(b, values, &outcome);
    bench_finish(b, plan, &outcome);
    return 0;
}

static int run_constant(struct bench *b, const struct plan *plan)
{
    struct outcome outcome = { .reference = "constant" };
    const double start = bench_now_s();
    if (bench_turn(b, 0, turn_ms, 0, WARM, &outcome.ours[0]))
        return -1;
    outcome.turns = bench_turns(b, bench_now_s() - start, 1);
    for (size_t t = 0; t < outcome.turns; t++) {
        outcome.theirs[t] = plan->constant;
        if (bench_turn(b, 0, turn_ms, 0, RECORDED, &outcome.ours[t]))
            return -1;
    }
    bench_finish(b, plan, &outcome);
    return 0;
}

/* ---- uneven: three shapes, the worst of which is the name's ---- */

static const char *const shapes[SHAPES] = { "ascending", "descending", "eighth" };

static int add_shapes(struct bench *b, const struct plan *plan)
{
    char peer[96];
    for (int i = 0; i < 2 * SHAPES; i++) {
        const char *who = i % 2 ? "serial" : "ours";
        const char *shape = shapes[i / 2];
        snprintf(peer, sizeof peer, "%s.%s: %s uneven %s %s", shape, who, who, plan->argument, shape);
        if (bench_add(b, peer))
            return -1;
    }
    return 0;
}

static int run_shape(struct bench *b, size_t shape, struct outcome *outcome)
{
    double values[2] = { 0 };
    const double start = bench_now_s();
    for (size_t k = 0; k < 2; k++)
        if (bench_turn(b, 2 * shape + k, turn_ms, 0, WARM, &values[k]))
            return -1;
    outcome->turns = bench_turns(b, bench_now_s() - start, SHAPES);
    for (size_t t = 0; t < outcome->turns; t++) {
        for (size_t k = 0; k < 2; k++)
            if (bench_turn(b, 2 * shape + (k + t) % 2, turn_ms, 0, RECORDED, &values[(k + t) % 2]))
                return -1;
        outcome->ours[t] = values[0];
        outcome->theirs[t] = values[1] / LANES;
    }
    outcome->reference = "serial/2";
    return bench_shares(b, 2 * shape);
}

static int run_uneven(struct bench *b, const struct plan *plan)
{
    static struct outcome outcomes[SHAPES];
    char metric[32];
    size_t worst = 0;
    if (add_shapes(b, plan))
        return -1;
    for (size_t i = 0; i < SHAPES; i++) {
        if (run_shape(b, i, &outcomes[i]))
            return -1;
        snprintf(metric, sizeof metric, "%s.ratio", shapes[i]);
        if (!b->peers_only)
            bench_print(b, metric, bench_median_ratio(&outcomes[i]), "1");
        if (bench_median_ratio(&outcomes[i]) > bench_median_ratio(&outcomes[worst]))
            worst = i;
    }
    bench_finish(b, plan, &outcomes[worst]);
    return 0;
}

/* ---- the table ---- */

#define OPENMP(n) "openmp: omp " n
#define POOLS(n) "pthreadpool-2: pthreadpool " n " 2", "pthreadpool-8: pthreadpool " n " 8"
#define TBB(n)                                                                                                         \
    "tbb-static: tbb like " n " static", "tbb-auto: tbb like " n " auto", "tbb-affinity: tbb like " n " affinity"
#define ALL(n) OPENMP(n), POOLS(n), TBB(n)
#define MEMCPY "memcpy: serial memcpy 32000000" /* the bytes of p and of the result */
#define PINNED "ours like 1000 pinned each"
#define SERIAL "serial: serial like"

const struct plan plans[] = {
    { .name = "like-1k", .run = run_pairs, .unit = "us", .peers = { "ours: ours like 1000", OPENMP("1000") } },
    { .name = "like-1k-help",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours like 1000 help", OPENMP("1000"), POOLS("1000") } },
    { .name = "like-100k-help",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours like 100000 help", ALL("100000") } },
    { .name = "like-100k", .run = run_pairs, .unit = "us", .peers = { "ours: ours like 100000", ALL("100000") } },
    { .name = "like-1m", .run = run_pairs, .unit = "us", .peers = { "ours: ours like 1000000", ALL("1000000") } },
    { .name = "like-item",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours like 1000000 item", "chunk: ours like 1000000" } },
    { .name = "reduce",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours like 1000000 reduce", "openmp: omp 1000000 reduce" } },
    { .name = "like-private", .run = run_pairs, .unit = "us", .peers = { "ours: ours like 1000000 private", MEMCPY } },
    { .name = "like-copied",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours like 1000000 private denied", MEMCPY } },
    { .name = "strided", .run = run_pairs, .unit = "us", .peers = { "ours: ours strided", "openmp: omp strided" } },
    { .name = "var-lines",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours var-lines", "openmp: omp var-lines" } },
    { .name = "var-out", .run = run_pairs, .unit = "us", .peers = { "ours: ours var-out", "openmp: omp-texts" } },
    { .name = "keep-call",
      .run = run_pairs,
      .unit = "us",
      .peers = { "kept: ours like 100000 kept", "shared: ours like 100000" } },
    { .name = "wake", .run = run_pairs, .unit = "us", .peers = { "ours: ours wake", "bare: wake" } },
    { .name = "wake-help", .run = run_pairs, .unit = "us", .peers = { "ours: ours wake-help", "tbb: tbb wake" } },
    { .name = "wake-many", .run = run_constant, .unit = "us", .peers = { "ours: ours wake-many 64" }, .constant = 50 },
    { .name = "uneven-us", .run = run_uneven, .unit = "us", .argument = "2 10000" },
    { .name = "uneven-ms", .run = run_uneven, .unit = "us", .argument = "200 1000" },
    { .name = "hog", .run = plan_hog, .unit = "us", .peers = { "beside-hog: " PINNED, "alone: " PINNED, "hog: hog" } },
    { .name = "crash",
      .run = run_constant,
      .unit = "ms",
      .peers = { "ours: ours crash" },
      .constant = 2,
      .memory_bytes = 0.6e9 },
    { .name = "open", .run = run_pairs, .unit = "ms", .peers = { "ours: ours open", "pool: pool.py" } },
    { .name = "even-help",
      .run = plan_even,
      .unit = "us",
      .peers = { "ours: ours like 100000 help", SERIAL },
      .constant = 1.5,
      .argument = "400" },
    { .name = "even",
      .run = plan_even,
      .unit = "us",
      .peers = { "ours: ours like 1000000", SERIAL },
      .constant = 40,
      .argument = "8000" },
    { .name = "loop-delay",
      .run = plan_loop_delay,
      .unit = "ms",
      .peers = { "ours: ours-loop delay", "bare: timer 2" },
      .memory_bytes = 2e9 },
    { .name = "loop-entry",
      .run = run_constant,
      .unit = "ms",
      .peers = { "ours: ours-loop entry" },
      .constant = 1,
      .memory_bytes = 2e9 },
    { .name = "many-maps",
      .run = run_pairs,
      .unit = "us",
      .peers = { "ours: ours many-maps", "waits: ours many-waits" } },
    { .name = "small-beside-big",
      .run = run_constant,
      .unit = "ms",
      .peers = { "ours: ours small-beside-big" },
      .constant = 2 },
    { .name = "cancel", .run = run_constant, .unit = "ms", .peers = { "ours: ours cancel" }, .constant = 120 },
    { .name = "idle-cpu", .run = plan_idle, .unit = "ms", .peers = { "ours: ours idle" }, .constant = 10 },
    { .name = "memory",
      .run = plan_memory,
      .unit = "MB",
      .peers = { "ours: ours memory" },
      .constant = 16,
      .memory_bytes = 1.2e9 },
};
const size_t n_plans = sizeof plans / sizeof *plans;
