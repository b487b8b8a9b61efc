/* What the peers that use libmamuto share: a mapper with so many workers, modules beside the program, arrays, and a
 * call that must not fail. Every failure ends the peer with the library's own sentence. */
#ifndef BENCH_OURS_H
#define BENCH_OURS_H

#include <uv.h>

#define MAMUTO_NO_MODULE
#include "core/mamuto.h"
#include "tests/bench/peer.h"

/* "like" may be followed by words, in any order. */
struct ours_options {
    size_t n;
    int help, item, private_arrays, denied, pinned, each, kept, reduce;
};

void ours_module(const char *name, char *path, size_t room);
/* Opens a mapper with workers on this machine and one module ("like3" is modules/like3.so beside the program).
 * settings: more JSON members of the host, each beginning with a comma, or "". loop NULL: for the _wait forms. */
mamuto_t *ours_open(int workers, const char *settings, const char *module, uv_loop_t *loop);
void *ours_alloc(mamuto_t *m, size_t count, size_t size);
void ours_map(mamuto_t *m, const mamuto_call_t *call);
void ours_reduce(mamuto_t *m, const mamuto_call_t *call);
/* Runs call, whose last argument is at place, for ms milliseconds with the file that counts lanes; reports shares. */
void ours_shares(mamuto_t *m, mamuto_call_t *call, int place, double ms);

int ours_like(const struct ours_options *options);
int ours_strided(void);
int ours_var_lines(void);
int ours_uneven(double low_us, size_t n, const char *shape);
int ours_var_out(void);
int ours_crash(void);
int ours_memory(void);
int ours_wake(void);
int ours_wake_help(void);
int ours_wake_many(int workers);
int ours_open_row(void);
int ours_idle(void);
int ours_many(void);
int ours_many_wait(void);
int ours_beside(void);
int ours_cancel(void);

#endif
