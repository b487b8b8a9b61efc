/* Items that do what their input says, in both forms; and items that work at last, or that wait to be told. The folder
 * for what they leave behind is $E2E_DIR. */
#include <mamuto.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "items.h"

static void leave_mark(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("E2E_DIR"), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, ".", 1) != 1)
        abort();
    close(fd);
}

static long marks(const char *name)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", getenv("E2E_DIR"), name);
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

__attribute__((noinline)) static int recurse(volatile char *above)
{
    volatile char room[4096];
    room[0] = *above;
    return recurse(room) + room[0];
}

/* What kills, or hangs. */
static void act(int32_t what, const void *input)
{
    union {
        const void *read;
        int32_t *write;
    } in = { input };
    static volatile int *volatile nowhere;
    char here = 1;
    if (what == ACT_ABORT)
        abort();
    if (what == ACT_SEGFAULT)
        *nowhere = 1;
    if (what == ACT_WRITE_INPUT)
        *(volatile int32_t *)in.write = 0;
    if (what == ACT_OVERFLOW)
        recurse(&here);
    if (what == ACT_EXIT)
        exit(3);
    if (what == ACT_EXIT_RENEW)
        exit(83);
    while (what == ACT_LOOP)
        __asm__ volatile("" ::: "memory");
}

MAMUTO_FUNCTION(item, "i4 -> i4", "does what its input says")
{
    const int32_t *in = &MAMUTO_IN(int32_t, 0);
    int32_t what = *in;
    if (what == ACT_RETURN)
        return 7;
    if (what == ACT_FAIL)
        MAMUTO_FAIL(9, "this item was told to fail");
    act(what, in);
    MAMUTO_OUT(int32_t) = (int32_t)MAMUTO_INDEX * 2 + 1;
    return 0;
}

MAMUTO_KERNEL(chunk, "i4 -> i4", "the same in chunk form")
{
    const int32_t *in = MAMUTO_PACKED(int32_t, 0);
    int32_t *out = MAMUTO_PACKED_OUT(int32_t);
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        if (in[i] == ACT_RETURN)
            return 7; /* says that all of the chunk failed */
        if (in[i] == ACT_FAIL)
            MAMUTO_FAIL_AT(i, 9, "this item was told to fail");
        act(in[i], &in[i]);
        out[i] = (int32_t)(MAMUTO_FIRST + i) * 2 + 1;
    }
    return 0;
}

/* Is this one of the first `in` runs of the item? Its runs are marks in run-INDEX. */
static int32_t run_again(uint64_t index, int32_t in)
{
    char name[64];
    snprintf(name, sizeof name, "run-%llu", (unsigned long long)index);
    long before = marks(name);
    if (in > 0)
        leave_mark(name);
    return in > 0 && (before < 0 ? 0 : before) < in;
}

MAMUTO_FUNCTION(flaky, "i4 -> i4", "fails so many times as its input says, then works")
{
    if (run_again(MAMUTO_INDEX, MAMUTO_IN(int32_t, 0)))
        return 5;
    MAMUTO_OUT(int32_t) = (int32_t)MAMUTO_INDEX * 2 + 1;
    return 0;
}

MAMUTO_FUNCTION(crashing, "i4 -> i4", "dies so many times as its input says, then works")
{
    if (run_again(MAMUTO_INDEX, MAMUTO_IN(int32_t, 0)))
        abort();
    MAMUTO_OUT(int32_t) = (int32_t)MAMUTO_INDEX * 2 + 1;
    return 0;
}

static void nap(void) { nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); }

MAMUTO_FUNCTION(gate, "i4 -> i4",
                "an item of input 1 says \"begun\" and \"in-PID\", and waits for \"go\", 20 s at most")
{
    int32_t in = MAMUTO_IN(int32_t, 0);
    if (in) {
        char name[32];
        snprintf(name, sizeof name, "in-%d", (int)getpid());
        leave_mark(name);
        leave_mark("begun");
        for (int ms = 0; ms < 20000 && marks("go") < 0; ms++)
            nap();
    }
    MAMUTO_OUT(int32_t) = (int32_t)MAMUTO_INDEX * 2 + 1;
    return 0;
}

MAMUTO_FUNCTION(work, "i4 -> i4", "about so many µs as its input says")
{
    volatile uint32_t x = 1;
    for (int32_t i = MAMUTO_IN(int32_t, 0) * 200; i > 0; i--)
        x = x * 1664525u + 1013904223u;
    MAMUTO_OUT(int32_t) = (int32_t)MAMUTO_INDEX * 2 + 1;
    return 0;
}
