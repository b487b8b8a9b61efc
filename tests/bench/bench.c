/* See bench.h. Figures of a turn are kept as series, one a side and figure; nothing is dropped, and what is printed of
 * a series is its median. */
#include "tests/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/bench/stats.h"

enum { QUIET_NS = 20000000 };

static const double slow_round_s = 1, budget_s = 80, answer_s = 60;

double bench_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_print(const struct bench *bench, const char *metric, double value, const char *unit)
{
    printf("%s\t%s\t%.4g\t%s\n", bench->name, metric, value, unit);
    fflush(stdout);
}

int bench_missing(const struct bench *bench, size_t side)
{
    return bench->peers_only && !strncmp(bench->sides[side].command, "ours", 4);
}

int bench_add(struct bench *bench, const char *peer)
{
    struct side *side = &bench->sides[bench->n_sides++];
    if (sscanf(peer, "%31[^:]: %95[^\n]", side->label, side->command) != 2)
        return snprintf(bench->error, sizeof bench->error, "\"%s\" is not \"label: command\"", peer), -1;
    if (bench_missing(bench, bench->n_sides - 1))
        return 0;
    return proc_start(&side->proc, bench->dir, side->command, bench->error);
}

static struct series *series_of(struct bench *bench, const char *metric)
{
    for (size_t i = 0; i < bench->n_series; i++)
        if (!strcmp(bench->series[i].metric, metric))
            return &bench->series[i];
    if (bench->n_series == SERIES_MAX)
        return NULL;
    struct series *s = &bench->series[bench->n_series++];
    memset(s, 0, sizeof *s);
    snprintf(s->metric, sizeof s->metric, "%s", metric);
    return s;
}

void bench_record(struct bench *bench, const char *label, const char *metric, double value, const char *unit)
{
    char name[80];
    snprintf(name, sizeof name, "%s.%s", label, metric);
    struct series *s = series_of(bench, name);
    if (!s || s->n == TURNS_MAX)
        return;
    snprintf(s->unit, sizeof s->unit, "%s", unit);
    s->values[s->n++] = value;
}

static void record_all(struct bench *bench, const char *label, const struct reply *reply)
{
    for (size_t i = 0; i < reply->n; i++)
        if (strcmp(reply->figures[i].name, "none"))
            bench_record(bench, label, reply->figures[i].name, reply->figures[i].value, reply->figures[i].unit);
}

static int ask(struct bench *bench, size_t side, const char *line, double seconds)
{
    struct proc *proc = &bench->sides[side].proc;
    nanosleep(&(struct timespec){ .tv_nsec = QUIET_NS }, NULL);
    if (proc_tell(proc, line, bench->error))
        return -1;
    return proc_hear(proc, seconds, &bench->last, bench->error);
}

int bench_turn(struct bench *bench, size_t side, double ms, long arg, enum turn_kind kind, double *value)
{
    char line[64];
    *value = NAN;
    if (bench_missing(bench, side))
        return 0;
    snprintf(line, sizeof line, "run %.3f %ld\n", ms, arg);
    if (ask(bench, side, line, answer_s + ms / 1e3))
        return -1;
    if (bench->last.n)
        *value = bench->last.figures[0].value;
    if (kind == RECORDED)
        record_all(bench, bench->sides[side].label, &bench->last);
    return 0;
}

double bench_last(const struct bench *bench, const char *figure)
{
    for (size_t i = 0; i < bench->last.n; i++)
        if (!strcmp(bench->last.figures[i].name, figure))
            return bench->last.figures[i].value;
    return NAN;
}

int bench_shares(struct bench *bench, size_t side)
{
    const char *label = bench->sides[side].label;
    double least = 100;
    if (bench_missing(bench, side))
        return 0;
    if (ask(bench, side, "share\n", answer_s))
        return -1;
    record_all(bench, label, &bench->last);
    for (size_t i = 0; i < bench->last.n; i++)
        if (bench->last.figures[i].value < least)
            least = bench->last.figures[i].value;
    bench_record(bench, label, "least-share", bench->last.n > 1 ? least : 0, "%");
    return 0;
}

size_t bench_turns(const struct bench *bench, double round_seconds, int kinds)
{
    if (bench->turns > 0)
        return (size_t)bench->turns;
    if (round_seconds < slow_round_s)
        return TURNS;
    const double turns = budget_s / kinds / round_seconds;
    return turns < SLOW_TURNS ? SLOW_TURNS : turns > TURNS ? TURNS : (size_t)turns;
}

double bench_median(const double *values, size_t n)
{
    double sorted[TURNS_MAX];
    memcpy(sorted, values, n * sizeof *sorted);
    return stats_median(sorted, n);
}

static size_t sorted_ratios(const struct outcome *outcome, double ratios[TURNS_MAX])
{
    for (size_t t = 0; t < outcome->turns; t++)
        ratios[t] = outcome->ours[t] / outcome->theirs[t];
    stats_sort(ratios, outcome->turns);
    return outcome->turns;
}

double bench_median_ratio(const struct outcome *outcome)
{
    double ratios[TURNS_MAX];
    return stats_quantile(ratios, sorted_ratios(outcome, ratios), 0.5);
}

void bench_finish(const struct bench *bench, const struct plan *plan, const struct outcome *outcome)
{
    double ratios[TURNS_MAX];
    char metric[64];
    const size_t n = sorted_ratios(outcome, ratios);
    const double place = outcome->largest ? 1 : 0.5;
    double ours[TURNS_MAX];

    for (size_t i = 0; i < bench->n_series; i++)
        bench_print(bench, bench->series[i].metric, bench_median(bench->series[i].values, bench->series[i].n),
                    bench->series[i].unit);
    snprintf(metric, sizeof metric, "reference.%s", outcome->reference);
    bench_print(bench, metric, bench_median(outcome->theirs, n), plan->unit);
    if (bench->peers_only)
        return;
    memcpy(ours, outcome->ours, sizeof ours);
    stats_sort(ours, n);
    bench_print(bench, "ours", stats_quantile(ours, n, place), plan->unit);
    bench_print(bench, "turns", (double)n, "1");
    bench_print(bench, "p10", stats_quantile(ratios, n, 0.1), "1");
    bench_print(bench, "p90", stats_quantile(ratios, n, 0.9), "1");
    printf("%s\tratio\t%.4g\t%g\n", bench->name, stats_quantile(ratios, n, place), bench->limit);
    fflush(stdout);
}

void bench_stop(struct bench *bench)
{
    for (size_t i = 0; i < bench->n_sides; i++)
        proc_stop(&bench->sides[i].proc);
}
