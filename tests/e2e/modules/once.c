/* Items with an effect: each counts its runs in a file, "counts" in $E2E_DIR, one byte an item. */
#include <mamuto.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "once.h"

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned char *counts(void)
{
    static unsigned char *bytes;
    char path[512];
    struct stat st;
    if (bytes)
        return bytes;
    snprintf(path, sizeof path, "%s/counts", getenv("E2E_DIR"));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        abort();
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        abort();
    bytes = (unsigned char *)p;
    return bytes;
}

/* Counts a run, takes its time, and does what the item's input says. */
static void run(uint64_t index, uint32_t in)
{
    const uint64_t start = now_ns(), ns = in >> ONCE_ACT_BITS;
    __atomic_fetch_add(&counts()[index], 1, __ATOMIC_SEQ_CST);
    while (now_ns() - start < ns)
        ;
    in &= (1u << ONCE_ACT_BITS) - 1;
    if (in == ONCE_CRASH)
        abort();
    if (in == ONCE_EXIT)
        exit(3);
    while (in == ONCE_HANG)
        __asm__ volatile("" ::: "memory");
}

MAMUTO_FUNCTION(item, "u4 -> u8", "3 * index + 1")
{
    const uint32_t in = MAMUTO_IN(uint32_t, 0), act = in & ((1u << ONCE_ACT_BITS) - 1);
    MAMUTO_OUT(uint64_t) = 99;
    run(MAMUTO_INDEX, in);
    if (act == ONCE_FAIL)
        MAMUTO_FAIL(7, "told to fail");
    if (act == ONCE_RETURN)
        return 8;
    MAMUTO_OUT(uint64_t) = 3 * MAMUTO_INDEX + 1;
    return 0;
}

MAMUTO_KERNEL(chunk, "u4 -> u8", "the same in chunk form: ONCE_RETURN fails all of its call")
{
    const uint32_t *in = MAMUTO_PACKED(uint32_t, 0);
    uint64_t *out = MAMUTO_PACKED_OUT(uint64_t);
    int code = 0;
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        const uint32_t act = in[i] & ((1u << ONCE_ACT_BITS) - 1);
        out[i] = 3 * (MAMUTO_FIRST + i) + 1;
        run(MAMUTO_FIRST + i, in[i]);
        if (act == ONCE_FAIL) {
            MAMUTO_FAIL_AT(i, 7, "told to fail");
            MAMUTO_FAIL_AT(i, 8, "twice");
        }
        if (act == ONCE_RETURN)
            code = 8;
    }
    return code;
}

MAMUTO_FUNCTION(text, "u4, bytes -> u8", "the same, beside bytes of any length")
{
    const uint32_t in = MAMUTO_IN(uint32_t, 0), act = in & ((1u << ONCE_ACT_BITS) - 1);
    MAMUTO_OUT(uint64_t) = 99;
    run(MAMUTO_INDEX, in);
    if (act == ONCE_FAIL)
        MAMUTO_FAIL(7, "told to fail");
    MAMUTO_OUT(uint64_t) = 3 * MAMUTO_INDEX + 1;
    return 0;
}
