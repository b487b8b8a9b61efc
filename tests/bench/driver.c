/* The benchmark's driver: runs names, each with its peers as processes of their own, and prints TSV.
 *
 *   driver DIR NAMES.TSV [--peers] [NAME…]     DIR holds the peers; NAMES.TSV the names and their limits
 *
 * A line is name, metric, value, unit; the last of each name is name, "ratio", value, limit. A missed limit is no
 * failure; a name that cannot be measured is: its line is name, "error", the sentence, and the driver exits with 1
 * after the others. $BENCH_TURNS: so many turns in place of 30 (for a quick look; the figures are not the table's). */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"
#include "tests/bench/work.h"

enum { CALIBRATIONS = 21, CALIBRATION_STEPS = 2000000 };

static const double spare_bytes = 1e9;

/* The limit of a name, NAN if the file does not have it. */
static double find_limit(const char *path, const char *name)
{
    char line[1024], word[64];
    double limit = NAN, found;
    FILE *f = fopen(path, "re");
    if (!f) {
        fprintf(stderr, "bench: %s: %s\n", path, strerror(errno));
        exit(2);
    }
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%63[^\t]\t%lf", word, &found) == 2 && !strcmp(word, name))
            limit = found;
    fclose(f);
    return limit;
}

/* Item costs are given in microseconds and are made of steps: the fastest of some tries says how many make one. */
static void calibrate(void)
{
    char text[32];
    double best = INFINITY;
    for (int i = 0; i < CALIBRATIONS; i++) {
        const double start = bench_now_s();
        const uint64_t result = work_chain(CALIBRATION_STEPS);
        __asm__ volatile("" : : "r"(result));
        const double seconds = bench_now_s() - start;
        best = seconds < best ? seconds : best;
    }
    snprintf(text, sizeof text, "%.3f", CALIBRATION_STEPS / (best * 1e6));
    setenv("BENCH_STEPS_PER_US", text, 1);
    printf("# steps of work a microsecond: %s\n", text);
}

static int measure(struct bench *b, const struct plan *plan)
{
    if (memory_available_bytes() < plan->memory_bytes + spare_bytes) {
        snprintf(b->error, sizeof b->error, "needs %.1f GB of memory and 1 GB to spare", plan->memory_bytes / 1e9);
        return -1;
    }
    for (size_t i = 0; i < SIDES_MAX && plan->peers[i]; i++)
        if (bench_add(b, plan->peers[i]))
            return -1;
    return plan->run(b, plan);
}

static int run_name(struct bench *b, const struct plan *plan, const char *names)
{
    b->name = plan->name;
    b->limit = find_limit(names, plan->name);
    b->n_sides = b->n_series = 0;
    memset(b->sides, 0, sizeof b->sides);
    const double start = bench_now_s();
    const int status = measure(b, plan);
    bench_stop(b);
    if (status)
        printf("%s\terror\t%s\t-\n", plan->name, b->error);
    fprintf(stderr, "bench: %s took %.0f s\n", plan->name, bench_now_s() - start);
    fflush(stdout);
    return status;
}

static const struct plan *find_plan(const char *name)
{
    for (size_t i = 0; i < n_plans; i++)
        if (!strcmp(plans[i].name, name))
            return &plans[i];
    return NULL;
}

static int run_all(struct bench *b, const char *names)
{
    int status = 0;
    for (size_t i = 0; i < n_plans; i++)
        status |= run_name(b, &plans[i], names);
    return status ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    const char *turns = getenv("BENCH_TURNS");
    int status = 0, first = 3;

    if (argc < 3) {
        fprintf(stderr, "usage: driver DIR NAMES.TSV [--peers] [NAME…]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    b.dir = argv[1];
    b.turns = turns ? atoi(turns) : 0;
    b.turns = b.turns > TURNS_MAX ? TURNS_MAX : b.turns;
    if (argc > first && !strcmp(argv[first], "--peers")) {
        b.peers_only = 1;
        first++;
    }
    for (int i = first; i < argc; i++)
        if (!find_plan(argv[i])) {
            fprintf(stderr, "bench: no name \"%s\"; --list shows them\n", argv[i]);
            return 2;
        }
    calibrate();
    if (first == argc)
        return run_all(&b, argv[2]);
    for (int i = first; i < argc; i++)
        status |= run_name(&b, find_plan(argv[i]), argv[2]);
    return status ? 1 : 0;
}
