/* Which process did how much: a variant of a function, run in a pass of its own (never in a timed turn), adds what it
 * did to its process's entry of a table in a file. The file's name is the function's last argument, broadcast. */
#ifndef BENCH_LANES_H
#define BENCH_LANES_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LANES_MAX = 128, LANES_PATH = 64, LANES_BYTES = LANES_MAX * 64 };

struct lane {
    _Alignas(64) uint64_t pid;
    uint64_t work;
};

/* The calling process's entry, or NULL if the file cannot be mapped. */
static inline struct lane *lanes_find(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct lane *lanes = mmap(NULL, LANES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const uint64_t self = (uint64_t)getpid();
    close(fd);
    for (int i = 0; lanes != MAP_FAILED && i < LANES_MAX; i++) {
        uint64_t pid = 0;
        if (__atomic_compare_exchange_n(&lanes[i].pid, &pid, self, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ||
            pid == self)
            return &lanes[i];
    }
    return NULL;
}

/* Adds to the calling process's entry; 0, or -1 without one. */
static inline int lanes_add(const char *path, uint64_t work)
{
    static struct lane *mine;
    if (!mine)
        mine = lanes_find(path);
    if (!mine)
        return -1;
    __atomic_fetch_add(&mine->work, work, __ATOMIC_RELAXED);
    return 0;
}

#endif
