/* What the tests of private arrays share: denying process_vm_readv, arrays that end at a guard page and can be sealed,
 * maps in flight on a loop, and a gate at which the copying stops. */
#ifndef MM_TESTS_SUPPORT_PRIVATE_H
#define MM_TESTS_SUPPORT_PRIVATE_H

#include "core/mamuto.h"

#include <stdbool.h>
#include <uv.h>

/* From here on the kernel refuses process_vm_readv and _writev to this process and to all that it starts. */
void private_deny(void);

/* Ordinary memory, zeroed, that ends at 64 KB that nobody may touch. */
void *private_array(size_t bytes);
void private_free(void *p, size_t bytes);
void private_seal(void *p, size_t bytes);   /* whoever touches it from now on dies */
void private_unseal(void *p, size_t bytes); /* also for private_free */

/* A mapper on the loop, with two workers. */
mamuto_t *private_open(uv_loop_t *loop, const char *module);
/* Closes it, waits for on_close, and for the loop to have nothing left. */
void private_close(mamuto_t *m, uv_loop_t *loop);

/* A map of stage.add: out = a + b, all of them private. */
struct private_map {
    size_t n;
    double *a, *b, *out;
    bool seal; /* when it is done */
    int n_done, status;
    mamuto_error_t err;
    mamuto_map_t *handle;
};

void private_map_init(struct private_map *map, size_t n);
/* Begins it; the test fails if that does. */
void private_map_begin(struct private_map *map, mamuto_t *m, const char *function);
void private_map_is_right(const struct private_map *map);
/* It must have ended once; arrays that were sealed are opened again. */
void private_map_fini(struct private_map *map);
/* Runs the loop until the map is done, or until so many are. */
void private_run_until(uv_loop_t *loop, const int *counter, int at_least);

/* The copier stops at its next "copy_in" or "copy_out" until the gate is opened. */
void private_gate_close(const char *point);
void private_gate_open(void);
void private_gate_reached(uv_loop_t *loop); /* runs the loop until the copier stands at the gate */
/* How many pieces have been copied, in and out, since the last call. */
unsigned private_copied(void);
/* Does this process have the copier's thread? */
bool private_has_copier(void);

#endif
