/* The working directory that a config names for the workers. */
#ifndef MM_SHM_WORKDIR_H
#define MM_SHM_WORKDIR_H

#include "core/mamuto.h"

/* A descriptor that stands for the folder, close-on-exec, whatever its path becomes. ECONFIG: it is none, or cannot be
 * entered. */
int mm_workdir_open(const char *path, int *fd, mamuto_error_t *err);

#endif
