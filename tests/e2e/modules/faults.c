/* Work for the tests that kill workers: items whose cost, failures and crashes are what the test says. */
#include <mamuto.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The broadcast argument; tests/support/faults.h has the same. */
enum { COST_NS, HEAVY_NS, HEAVY_BELOW, FAIL_MODULUS, FAIL_REST, CRASH_ITEM, CRASH_MARK, KNOBS };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void spend(uint64_t ns)
{
    for (uint64_t start = ns ? now_ns() : 0; ns && now_ns() - start < ns;)
        ;
}

/* The first to come by dies. */
static void crash_once(uint64_t mark)
{
    char path[512];
    const char *folder = getenv("E2E_DIR");
    snprintf(path, sizeof path, "%s/crash-%llu", folder ? folder : "/nowhere", (unsigned long long)mark);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        raise(SIGSEGV);
}

MAMUTO_FUNCTION(work, "u8, u8[7] -> u8[2]", "a mix of x and its complement; costs, fails and crashes as the knobs say")
{
    uint64_t x = MAMUTO_IN(uint64_t, 0);
    const uint64_t *knobs = MAMUTO_IN(uint64_t[KNOBS], 1);
    spend(x < knobs[HEAVY_BELOW] ? knobs[HEAVY_NS] : knobs[COST_NS]);
    if (knobs[CRASH_MARK] && x == knobs[CRASH_ITEM])
        crash_once(knobs[CRASH_MARK]);
    if (knobs[FAIL_MODULUS] && x % knobs[FAIL_MODULUS] == knobs[FAIL_REST])
        MAMUTO_FAIL(7, "the test says so");
    uint64_t mix = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
    mix ^= mix >> 29;
    MAMUTO_OUT(uint64_t[2])[0] = mix;
    MAMUTO_OUT(uint64_t[2])[1] = ~mix;
    return 0;
}

MAMUTO_FUNCTION(chain, "u8[2], u8[2] -> u8[2]", "a fold that is neither commutative nor associative")
{
    const uint64_t *a = MAMUTO_IN(uint64_t[2], 0), *b = MAMUTO_IN(uint64_t[2], 1);
    uint64_t *out = MAMUTO_OUT(uint64_t[2]);
    out[0] = a[0] * 31 + b[0];
    out[1] = a[1] * 37 + b[1];
    return 0;
}
