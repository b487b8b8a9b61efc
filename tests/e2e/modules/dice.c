/* Random numbers in both forms; some items die once, or fail once. The folder for their marks is $E2E_DIR. */
#include <mamuto.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Is it the first time that this item comes by? */
static int first_time(uint64_t index)
{
    char path[512];
    snprintf(path, sizeof path, "%s/dice-%llu", getenv("E2E_DIR"), (unsigned long long)index);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

MAMUTO_FUNCTION(item, "-> u8[3]", "three draws of the item's stream")
{
    mamuto_rng_t r = MAMUTO_RNG();
    MAMUTO_OUT(uint64_t[3])[0] = mamuto_random(&r);
    double u = mamuto_uniform(&r);
    memcpy(&MAMUTO_OUT(uint64_t[3])[1], &u, sizeof u);
    MAMUTO_OUT(uint64_t[3])[2] = mamuto_random(&r);
    return 0;
}

MAMUTO_KERNEL(chunk, "-> u8[3]", "the same in chunk form")
{
    uint64_t(*out)[3] = MAMUTO_PACKED_OUT(uint64_t[3]);
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        mamuto_rng_t r = MAMUTO_KERNEL_RNG(i);
        out[i][0] = mamuto_random(&r);
        double u = mamuto_uniform(&r);
        memcpy(&out[i][1], &u, sizeof u);
        out[i][2] = mamuto_random(&r);
    }
    return 0;
}

MAMUTO_FUNCTION(troubled, "-> u8[3]", "the same; every 97th item dies, every 89th fails, the first time")
{
    mamuto_rng_t r = MAMUTO_RNG();
    MAMUTO_OUT(uint64_t[3])[0] = mamuto_random(&r);
    double u = mamuto_uniform(&r);
    memcpy(&MAMUTO_OUT(uint64_t[3])[1], &u, sizeof u);
    if (MAMUTO_INDEX % 97 == 50 && first_time(MAMUTO_INDEX))
        abort();
    if (MAMUTO_INDEX % 89 == 50 && first_time(MAMUTO_INDEX))
        return 3;
    MAMUTO_OUT(uint64_t[3])[2] = mamuto_random(&r);
    return 0;
}
