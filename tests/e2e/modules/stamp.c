/* Items that say when they ran. */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

MAMUTO_FUNCTION(stamp, "u4 -> u8", "takes so many µs as its input says; when it ended, in ns of CLOCK_MONOTONIC")
{
    uint64_t start = now_ns(), now = start;
    while (now - start < (uint64_t)MAMUTO_IN(uint32_t, 0) * 1000)
        now = now_ns();
    MAMUTO_OUT(uint64_t) = now;
    return 0;
}

MAMUTO_FUNCTION(gate, "u4 -> u8", "waits for \"go\" in $E2E_DIR, 20 s at most; when that was")
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/go", getenv("E2E_DIR"));
    for (int ms = 0; ms < 20000 && stat(path, &st) != 0; ms++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    MAMUTO_OUT(uint64_t) = now_ns() + 0 * MAMUTO_IN(uint32_t, 0);
    return 0;
}
