/* Starting the fork server of a mapper. */
#ifndef MM_SHM_SPAWN_H
#define MM_SHM_SPAWN_H

#include "core/mamuto.h"

#include <sys/types.h>

/* Starts the program itself, where it called mamuto_main(), else the helper mamuto-agent: agent (the config's; NULL:
 * none), $MAMUTO_AGENT, beside libmamuto, ../libexec/mamuto from there, the install prefix. env: "NAME=value" over this
 * process's environment, or NULL. control: a non-blocking, close-on-exec socket to it.
 * EHOST: no helper is found (the sentence lists what was tried) or it cannot be started; ESYSTEM. */
int mm_spawn_fork_server(const char *agent, char *const *env, pid_t *pid, int *control, mamuto_error_t *err);

#endif
