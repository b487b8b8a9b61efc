/* One name of the benchmark while it runs: its peers in turns, what they reported, and the lines that come of it. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "tests/bench/procs.h"

enum { SIDES_MAX = 8, SERIES_MAX = 160, TURNS = 30, SLOW_TURNS = 5, TURNS_MAX = 64 };

struct series {
    char metric[80], unit[FIGURE_UNIT];
    size_t n;
    double values[TURNS_MAX];
};

/* "ours …" sides are left out when the driver was told to run the peers alone: their figures are NAN then. */
struct side {
    char label[32], command[96];
    struct proc proc;
};

struct bench {
    const char *name, *dir;
    double limit;
    int peers_only, turns; /* turns: 0, or how many to take in place of what the rules say */
    size_t n_sides, n_series;
    struct side sides[SIDES_MAX];
    struct series series[SERIES_MAX];
    struct reply last;
    char error[256];
};

/* How a name is measured. */
struct plan {
    const char *name;
    int (*run)(struct bench *bench, const struct plan *plan); /* 0, or -1 with bench->error */
    const char *unit;                                         /* of ours and of what it is held against */
    const char *peers[SIDES_MAX];                             /* "label: command"; the first is ours */
    double constant;                                          /* where ours is held against a number */
    double memory_bytes;                                      /* what it takes; looked for before */
    const char *argument;                                     /* run's own */
};

/* What the turns of a name came to: ratios are pairwise. */
struct outcome {
    const char *reference; /* the label of theirs */
    size_t turns;
    int largest; /* the largest ratio is the name's, not the median */
    double ours[TURNS_MAX], theirs[TURNS_MAX];
};

extern const struct plan plans[];
extern const size_t n_plans;

/* Starts a peer, "label: command". */
int bench_add(struct bench *bench, const char *peer);
int bench_missing(const struct bench *bench, size_t side);
/* After 20 ms of quiet, one turn of a side; *value is its first figure. WARM: its figures are not recorded. */
enum turn_kind { WARM, RECORDED };
int bench_turn(struct bench *bench, size_t side, double ms, long arg, enum turn_kind kind, double *value);
/* A figure of the turn before, NAN if it had none of that name. */
double bench_last(const struct bench *bench, const char *figure);
/* The pass that tells which lane does how much. */
int bench_shares(struct bench *bench, size_t side);
void bench_record(struct bench *bench, const char *label, const char *metric, double value, const char *unit);
/* How many turns a name may take, if one round takes so many seconds and there are so many kinds of round. */
size_t bench_turns(const struct bench *bench, double round_seconds, int kinds);

double bench_now_s(void);
void bench_print(const struct bench *bench, const char *metric, double value, const char *unit);
double bench_median(const double *values, size_t n);
double bench_median_ratio(const struct outcome *outcome);
/* Prints a line for each recorded figure, then the name's last lines: ours, what it is held against, the 10th and 90th
 * percentile of the ratios, the ratio and its limit. */
void bench_finish(const struct bench *bench, const struct plan *plan, const struct outcome *outcome);
void bench_stop(struct bench *bench);

/* Kinds of plan that have a file of their own: plans_more.c. */
int plan_hog(struct bench *bench, const struct plan *plan);
int plan_even(struct bench *bench, const struct plan *plan);
int plan_loop_delay(struct bench *bench, const struct plan *plan);
int plan_idle(struct bench *bench, const struct plan *plan);
int plan_memory(struct bench *bench, const struct plan *plan);

#endif
