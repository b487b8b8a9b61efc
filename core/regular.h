/* Regular files that a user names, and how they are named in a sentence. Plain C11 + POSIX. */
#ifndef MM_CORE_REGULAR_H
#define MM_CORE_REGULAR_H

#include "core/mamuto.h"

/* Opens a regular file for reading (O_CLOEXEC); its fd, or EMODULE: missing, unreadable, not a file.
 * bytes: out, its size. */
int mm_regular_open(const char *path, uint64_t *bytes, mamuto_error_t *err);

/* The end of a long path: a sentence of 512 bytes must have room for more than a path. */
const char *mm_regular_shown(const char *path);

#endif
