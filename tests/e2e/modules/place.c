/* What a worker sees of the place that the config has made for it, and how this was compiled. */
#define _GNU_SOURCE
#include <mamuto.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef PLACE_FLAG
#define PLACE_FLAG 0
#endif
#ifndef PLACE_CC
#define PLACE_CC 0
#endif
#if __has_include(<place_extra.h>)
#define PLACE_INCLUDE 1
#else
#define PLACE_INCLUDE 0
#endif

extern char place_lib __attribute__((weak)); /* there if libs say so */

MAMUTO_FUNCTION(cwd, "-> u1[512]") { return getcwd(&MAMUTO_OUT(char[512])[0], 512) ? 0 : 1; }

/* "-": it is not set. */
MAMUTO_FUNCTION(variable, "u1[64] -> u1[128]")
{
    const char *value = getenv(MAMUTO_IN(char[64], 0));
    strncpy(&MAMUTO_OUT(char[128])[0], value ? value : "-", 127);
    return 0;
}

MAMUTO_FUNCTION(priority, "-> i4")
{
    MAMUTO_OUT(int32_t) = getpriority(PRIO_PROCESS, 0);
    return 0;
}

MAMUTO_FUNCTION(core_limit, "-> u8")
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0)
        return 1;
    MAMUTO_OUT(uint64_t) = limit.rlim_cur;
    return 0;
}

MAMUTO_FUNCTION(cpus, "-> i4")
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    MAMUTO_OUT(int32_t) = CPU_COUNT(&set);
    return 0;
}

/* -DPLACE_FLAG, -DPLACE_CC, a header found, a symbol found. */
MAMUTO_FUNCTION(compiled, "-> i4[4]")
{
    int32_t *out = &MAMUTO_OUT(int32_t[4])[0];
    out[0] = PLACE_FLAG;
    out[1] = PLACE_CC;
    out[2] = PLACE_INCLUDE;
    out[3] = &place_lib != NULL;
    return 0;
}
