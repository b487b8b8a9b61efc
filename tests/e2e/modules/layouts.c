/* Functions of both forms over arrays of every layout; what they compute is in layouts.h. And one that fails, crashes or
 * is killed where its input says so. */
#include "layouts.h"
#include "mamuto.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

MAMUTO_FUNCTION(mix, "i8, i4[3], u1[5] -> i8")
{
    MAMUTO_OUT(int64_t) = layouts_mix(MAMUTO_IN(int64_t, 0), MAMUTO_IN(int32_t[3], 1), MAMUTO_IN(uint8_t[5], 2));
    return 0;
}

MAMUTO_KERNEL(mix_kernel, "i8, i4[3], u1[5] -> i8")
{
    const int64_t *a = MAMUTO_PACKED(int64_t, 0);
    const int32_t(*b)[3] = MAMUTO_PACKED(int32_t[3], 1);
    const uint8_t(*c)[5] = MAMUTO_PACKED(uint8_t[5], 2);
    int64_t *out = MAMUTO_PACKED_OUT(int64_t);
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = layouts_mix(a[i], b[i], c[i]);
    return 0;
}

MAMUTO_FUNCTION(big, "u1[9000] -> u1[5000]")
{
    layouts_big(MAMUTO_IN(uint8_t[LAYOUTS_BIG_IN], 0), MAMUTO_OUT(uint8_t[LAYOUTS_BIG_OUT]));
    return 0;
}

MAMUTO_KERNEL(big_kernel, "u1[9000] -> u1[5000]")
{
    const uint8_t(*in)[LAYOUTS_BIG_IN] = MAMUTO_PACKED(uint8_t[LAYOUTS_BIG_IN], 0);
    uint8_t(*out)[LAYOUTS_BIG_OUT] = MAMUTO_PACKED_OUT(uint8_t[LAYOUTS_BIG_OUT]);
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        layouts_big(in[i], out[i]);
    return 0;
}

MAMUTO_FUNCTION(twice, "i8 -> i8")
{
    MAMUTO_OUT(int64_t) = layouts_double(MAMUTO_IN(int64_t, 0));
    return 0;
}

MAMUTO_KERNEL(twice_kernel, "i8 -> i8")
{
    const int64_t *in = MAMUTO_PACKED(int64_t, 0);
    int64_t *out = MAMUTO_PACKED_OUT(int64_t);
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = layouts_double(in[i]);
    return 0;
}

MAMUTO_FUNCTION(odd, "u1[a], i2 -> u1[b]")
{
    layouts_odd(MAMUTO_ARRAY(uint8_t, 0), MAMUTO_IN(int16_t, 1), MAMUTO_OUT_ARRAY(uint8_t));
    return 0;
}

/* The first to come here is killed from outside; those after it are not. */
static void be_killed(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/killed", getenv("E2E_DIR") ? getenv("E2E_DIR") : "/nonexistent");
    if (access(path, F_OK) == 0)
        return;
    FILE *mark = fopen(path, "w");
    if (!mark)
        return;
    fclose(mark);
    raise(SIGKILL);
}

static int faulty_one(int64_t x, int64_t what, int64_t out[2])
{
    out[0] = out[1] = -1; /* what failed items leave behind must not be seen */
    if (what == LAYOUTS_FAILS)
        return 7;
    if (what == LAYOUTS_CRASHES)
        raise(SIGSEGV);
    if (what == LAYOUTS_IS_KILLED)
        be_killed();
    out[0] = x;
    out[1] = layouts_double(x);
    return 0;
}

MAMUTO_FUNCTION(faulty, "i8, i8 -> i8[2]")
{
    return faulty_one(MAMUTO_IN(int64_t, 0), MAMUTO_IN(int64_t, 1), MAMUTO_OUT(int64_t[2]));
}

MAMUTO_KERNEL(faulty_kernel, "i8, i8 -> i8[2]")
{
    const int64_t *x = MAMUTO_PACKED(int64_t, 0), *what = MAMUTO_PACKED(int64_t, 1);
    int64_t(*out)[2] = MAMUTO_PACKED_OUT(int64_t[2]);
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        int code = faulty_one(x[i], what[i], out[i]);
        if (code)
            MAMUTO_FAIL_AT(i, code, NULL);
    }
    return 0;
}
