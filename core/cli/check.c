/* mamuto check: logs in everywhere and prints a line a host: transport, cores, login, round trip, rate, state.
 *
 * The rate is that of data which is kept there: some megabytes to all hosts at once, each timed by itself, so that hosts which
 * share a wire share its rate, as they do in a map. The mapper has no loop of ours: it is polled.
 */
#include "core/cli/cli.h"

#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RATE_BYTES = 16 << 20, MOST_HOSTS = 1000, RATE_DEADLINE_S = 30, TURN_MS = 5 };

struct host {
    uint64_t before; /* bytes that had gone to it */
    double seconds;  /* until all had; 0: not yet */
};

struct check {
    mamuto_t *m;
    mamuto_host_t at[MOST_HOSTS];
    struct host hosts[MOST_HOSTS];
    size_t n;
    bool open, kept;
    mamuto_error_t err;
};

static struct check check; /* large, and one a process */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void look(void)
{
    check.n = mamuto_hosts(check.m, check.at, MOST_HOSTS);
    check.n = check.n < MOST_HOSTS ? check.n : MOST_HOSTS;
}

static void turn(void)
{
    int ms = mamuto_timeout_ms(check.m);
    struct pollfd fd = { .fd = mamuto_fd(check.m), .events = POLLIN };
    poll(&fd, 1, ms >= 0 && ms < TURN_MS ? ms : TURN_MS);
    mamuto_dispatch(check.m);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    (void)m;
    check.open = true;
    if (status)
        check.err = *err;
}

static int open_mapper(const char *config)
{
    mamuto_options_t options = { .config = config, .on_open = on_open };
    if (mamuto_open(&check.m, &options, &check.err))
        return mm_cli_complain(&check.err);
    while (!check.open)
        turn();
    return 0;
}

/* --- rates -------------------------------------------------------------------------------------------------------- */

static void on_kept(mamuto_kept_t *kept, int status, const mamuto_error_t *err)
{
    (void)kept, (void)status, (void)err; /* a host that cannot keep it has no rate */
    check.kept = true;
}

static void note_rates(double begun)
{
    look();
    for (size_t i = 0; i < check.n; i++)
        if (check.hosts[i].seconds <= 0 && check.at[i].bytes_out >= check.hosts[i].before + RATE_BYTES)
            check.hosts[i].seconds = now_s() - begun;
}

/* A second after the last byte a ping goes out, whose answer is the round trip. */
static bool all_pinged(void)
{
    bool all = true;
    look();
    for (size_t i = 0; i < check.n; i++)
        all &= !check.at[i].transport || strcmp(check.at[i].transport, "shm") == 0 || check.at[i].rtt_us > 0;
    return all;
}

static void measure(void)
{
    mamuto_error_t err = { 0 };
    mamuto_kept_t *kept = NULL;
    unsigned char *data = calloc(RATE_BYTES, 1);
    mamuto_keep_t keep = { .type = "u1", .arg = mamuto_scatter(data, RATE_BYTES), .on_kept = on_kept };
    look();
    for (size_t i = 0; i < check.n; i++)
        check.hosts[i].before = check.at[i].bytes_out;
    double begun = now_s();
    if (data && mamuto_keep(check.m, &keep, &kept, &err) == 0) {
        while (!check.kept && now_s() - begun < RATE_DEADLINE_S) {
            turn();
            note_rates(begun);
        }
        mamuto_forget(kept);
    }
    free(data);
    while (!all_pinged() && now_s() - begun < RATE_DEADLINE_S)
        turn();
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static void print_number(const char *format, double value, int width)
{
    char text[32];
    snprintf(text, sizeof text, format, value);
    printf("  %*s", width, value > 0 ? text : "-");
}

static int print_hosts(void)
{
    int lost = 0, width = 4;
    for (size_t i = 0; i < check.n; i++)
        width = (int)strlen(check.at[i].name) > width ? (int)strlen(check.at[i].name) : width;
    printf("%-*s  transport  cores  login ms  rtt us    MB/s  state\n", width, "host");
    for (size_t i = 0; i < check.n; i++) {
        const mamuto_host_t *host = &check.at[i];
        double seconds = check.hosts[i].seconds;
        printf("%-*s  %-9s  %5d", width, host->name, host->transport ? host->transport : "-", host->cores);
        print_number("%.0f", host->login_ms, 8);
        print_number("%.0f", host->rtt_us, 6);
        print_number("%.0f", seconds > 0 ? RATE_BYTES / seconds / 1e6 : 0, 6);
        printf("  %s%s%s\n", host->state, host->reason ? ": " : "", host->reason ? host->reason : "");
        lost += strcmp(host->state, "up") != 0;
    }
    return lost;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = { { "config", required_argument, NULL, 'c' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    const char *config = NULL;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (c == 'h') {
            mm_cli_help(&mm_cli_check);
            return MM_CLI_DONE;
        }
        if (c != 'c')
            return mm_cli_misused(&mm_cli_check, "there is no option \"%s\", or its argument is missing",
                                  argv[optind - 1]);
        config = optarg;
    }
    if (optind < argc)
        return mm_cli_misused(&mm_cli_check, "\"%s\" is one argument too many", argv[optind]);
    int code = open_mapper(config);
    if (code)
        return code;
    if (!check.err.code)
        measure();
    else
        look();
    int lost = print_hosts();
    if (check.err.code)
        code = mm_cli_complain(&check.err);
    mamuto_close_wait(check.m);
    return code ? code : lost ? MM_CLI_NOT_RUN : MM_CLI_DONE;
}

const struct mm_cli_command mm_cli_check = {
    .name = "check",
    .synopsis = "[-c FILE]",
    .about = "Logs in to every host of a config (FILE, else $MAMUTO_CONFIG, else this machine alone), and prints of "
             "each how\n"
             "it is reached, its workers, how long the login took, the round trip, the rate of data to it, and whether "
             "it is\n"
             "up; else why not, and what would be right. Exits with 0 if all are up, with 3 if one is not.",
    .run = run
};
