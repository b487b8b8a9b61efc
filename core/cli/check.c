/* mamuto check: logs in everywhere and prints a line a host: transport, cores, login, round trip, rate, state.
 *
 * The rate is that of data which is kept there: some megabytes to all hosts at once, each timed by itself, so that hosts
 * which share a wire share its rate, as they do in a map. The mapper has no loop of ours: it is polled.
 */
#include "core/cli/cli.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RATE_BYTES = 16 << 20, MOST_HOSTS = 1001, RATE_DEADLINE_S = 30 };

struct check {
    mamuto_t *m;
    bool_t: 0;
};
