/* CRC-32 of each 4 KiB block of a file, the file being mapped in place: no worker copies a byte of it.
 *
 * The workers take the whole blocks; the short last one, which no function of fixed size can take, is summed here. Every
 * sum is compared with zlib's.
 *
 *   blocksum FILE [CONFIG]
 */
#include <mamuto.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 4096 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "blocksum: %s: %s\n", what, why);
    return 1;
}

static uint32_t zlib_sum(const unsigned char *p, size_t bytes) { return (uint32_t)crc32(0, p, (unsigned)bytes); }

/* Compares with zlib, adds up what was found, and prints it. */
static int report(const char *name, const unsigned char *bytes, size_t size, const uint32_t *sums, double took)
{
    size_t n = size / BLOCK, rest = size % BLOCK;
    double start = seconds();
    for (size_t i = 0; i < n; i++)
        if (sums[i] != zlib_sum(bytes + i * BLOCK, BLOCK)) {
            fprintf(stderr, "blocksum: block %zu: %08x, zlib says %08x\n", i, sums[i],
                    zlib_sum(bytes + i * BLOCK, BLOCK));
            return 1;
        }
    double zlib_took = seconds() - start;
    uint32_t last = rest ? zlib_sum(bytes + n * BLOCK, rest) : 0;
    uint32_t all = (uint32_t)crc32(0, (const unsigned char *)sums, (unsigned)(n * sizeof *sums));
    printf("%s: %zu bytes, %zu blocks, all as zlib has them; last block %zu bytes, %08x; sum of sums %08x\n", name,
           size, n, rest, last, all);
    printf("map %.2f ms, %.2f GB/s; zlib in one thread %.2f ms\n", took * 1e3, (double)(n * BLOCK) / took / 1e9,
           zlib_took * 1e3);
    return 0;
}

static int sum_blocks(mamuto_t *m, const char *name, int fd, size_t size)
{
    mamuto_error_t err = { 0 };
    const void *bytes;
    if (mamuto_attach(m, fd, 0, size, &bytes, &err))
        return fail(name, err.text);
    size_t n = size / BLOCK;
    uint32_t *sums = calloc(n + 1, sizeof *sums);
    if (!sums)
        return fail(name, "no memory for the sums");
    mamuto_call_t call = { .function = "crc.crc32", .args = { mamuto_scatter(bytes, n) }, .result = sums };
    double start = seconds();
    int code = mamuto_map_wait(m, &call, &err);
    double took = seconds() - start;
    code = code ? fail(name, err.text) : report(name, bytes, size, sums, took);
    free(sums);
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return fprintf(stderr, "usage: blocksum FILE [CONFIG]\n"), 2;
    struct stat status;
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size == 0)
        return fail(argv[1], "no such file, or an empty one");
    mamuto_t *m;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config = argc > 2 ? argv[2] : NULL,
                                 .modules = (const char *[]){ EXAMPLE_MODULES "/crc.c", NULL } };
    if (mamuto_open_wait(&m, &options, &err))
        return fail("open", err.text);
    int code = sum_blocks(m, argv[1], fd, (size_t)status.st_size);
    mamuto_close_wait(m);
    close(fd);
    return code;
}
