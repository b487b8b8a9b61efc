/* Names whose turns are of their own kind: beside a hog, over a row of lengths, as long as another's turn, or measured
 * from outside. See plans.c for the table. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/bench/bench.h"

enum { LENGTHS = 21 };

static const double turn_ms = 50;

/* ---- hog: one of two equal peers has company ---- */

/* The hog spins before the turn's 20 ms of quiet begin, and until after its end. */
static int turn_beside_hog(struct bench *b, enum turn_kind kind, double *value)
{
    struct reply reply;
    char line[64];
    snprintf(line, sizeof line, "run %.3f 0\n", turn_ms + 40);
    if (proc_tell(&b->sides[2].proc, line, b->error) || bench_turn(b, 0, turn_ms, 0, kind, value))
        return -1;
    return proc_hear(&b->sides[2].proc, 60, &reply, b->error);
}

int plan_hog(struct bench *b, const struct plan *plan)
{
    struct outcome outcome = { .reference = "alone" };
    double warm;
    if (turn_beside_hog(b, WARM, &warm) || bench_turn(b, 1, turn_ms, 0, WARM, &warm))
        return -1;
    outcome.turns = bench_turns(b, 0, 1);
    for (size_t t = 0; t < outcome.turns; t++)
        if (turn_beside_hog(b, RECORDED, &outcome.ours[t]) ||
            bench_turn(b, 1, turn_ms, 0, RECORDED, &outcome.theirs[t]))
            return -1;
    bench_finish(b, plan, &outcome);
    return 0;
}

/* ---- even: the shortest map that is worth it ---- */

struct sweep {
    size_t turns;
    long n[LENGTHS];
    double ours[LENGTHS][TURNS_MAX], serial[LENGTHS][TURNS_MAX];
};

static int sweep_round(struct bench *b, struct sweep *s, size_t turn)
{
    for (int i = 0; i < LENGTHS; i++)
        if (bench_turn(b, 0, turn_ms, s->n[i], WARM, &s->ours[i][turn]) ||
            bench_turn(b, 1, turn_ms, s->n[i], WARM, &s->serial[i][turn]))
            return -1;
    return 0;
}

static void print_lengths(const struct bench *b, const struct sweep *s)
{
    char metric[64];
    for (int i = 0; i < LENGTHS; i++) {
        snprintf(metric, sizeof metric, "n=%ld.serial", s->n[i]);
        bench_print(b, metric, bench_median(s->serial[i], s->turns), "us");
        snprintf(metric, sizeof metric, "n=%ld.ours", s->n[i]);
        if (!b->peers_only)
            bench_print(b, metric, bench_median(s->ours[i], s->turns), "us");
    }
}

/* The first length from which on the medians of ours stay below those of the serial loop; LENGTHS if there is none. */
static int first_even(const struct sweep *s)
{
    int even = LENGTHS;
    while (even > 0 && bench_median(s->ours[even - 1], s->turns) < bench_median(s->serial[even - 1], s->turns))
        even--;
    return even;
}

int plan_even(struct bench *b, const struct plan *plan)
{
    static struct sweep s;
    struct outcome outcome = { .reference = "constant" };
    double length = atof(plan->argument);
    for (int i = 0; i < LENGTHS; i++, length *= 1.25)
        s.n[i] = (long)length;
    s.turns = outcome.turns = bench_turns(b, 0, 1);
    for (size_t t = 0; t < s.turns; t++)
        if (sweep_round(b, &s, t))
            return -1;
    const int even = first_even(&s);
    print_lengths(b, &s);
    for (size_t t = 0; t < s.turns; t++) {
        outcome.ours[t] = even < LENGTHS ? s.serial[even][t] : INFINITY;
        outcome.theirs[t] = plan->constant;
    }
    bench_finish(b, plan, &outcome);
    return 0;
}

/* ---- the loop while gigabytes are mapped; the bare one for as long as that has just taken ---- */

int plan_loop_delay(struct bench *b, const struct plan *plan)
{
    struct outcome outcome = { .reference = "bare" };
    double ms = 1000;
    const double start = bench_now_s();
    if (bench_turn(b, 0, 0, 0, WARM, &outcome.ours[0]))
        return -1;
    outcome.turns = bench_turns(b, 2 * (bench_now_s() - start), 1);
    for (size_t t = 0; t < outcome.turns; t++) {
        if (bench_turn(b, 0, 0, 0, RECORDED, &outcome.ours[t]))
            return -1;
        if (!b->peers_only)
            ms = bench_last(b, "duration");
        if (bench_turn(b, 1, ms, 0, RECORDED, &outcome.theirs[t]))
            return -1;
    }
    bench_finish(b, plan, &outcome);
    return 0;
}

/* ---- what all of our processes use, read from outside ---- */

int plan_idle(struct bench *b, const struct plan *plan)
{
    struct outcome outcome = { .reference = "constant" };
    const pid_t pid = b->sides[0].proc.pid;
    double seconds;
    if (b->peers_only)
        return 0;
    outcome.turns = b->turns > 0 ? (size_t)b->turns : SLOW_TURNS;
    for (size_t t = 0; t < outcome.turns; t++) {
        const double before = tree_cpu_ms(pid);
        if (bench_turn(b, 0, 10000, 0, RECORDED, &seconds))
            return -1;
        outcome.ours[t] = tree_cpu_ms(pid) - before;
        outcome.theirs[t] = plan->constant;
    }
    bench_finish(b, plan, &outcome);
    return 0;
}

int plan_memory(struct bench *b, const struct plan *plan)
{
    struct outcome outcome = { .reference = "constant", .largest = 1 };
    double time;
    if (b->peers_only)
        return 0;
    outcome.turns = bench_turns(b, 0, 1);
    for (size_t t = 0; t < outcome.turns; t++) {
        if (bench_turn(b, 0, turn_ms, 0, RECORDED, &time))
            return -1;
        outcome.ours[t] = (tree_pss_bytes(b->sides[0].proc.pid) - bench_last(b, "arrays")) / 1e6;
        outcome.theirs[t] = plan->constant;
    }
    bench_finish(b, plan, &outcome);
    return 0;
}
