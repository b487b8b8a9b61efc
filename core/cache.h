/* The folder of built modules. Plain C11 + POSIX. */
#ifndef MM_CORE_CACHE_H
#define MM_CORE_CACHE_H

#include "core/mamuto.h"

/* Finds, and makes where it is missing, the first of $XDG_CACHE_HOME/mamuto (absolute only), $HOME/.cache/mamuto (from
 * passwd where $HOME is unset), mamuto-UID in $TMPDIR or /tmp that is a real directory (no symlink), ours, mode 0700,
 * writable, and not mounted noexec. dir: at least PATH_MAX bytes; what is found leaves room in them for a file's name.
 * MAMUTO_ESYSTEM: none; the sentence says for each what is wrong. */
int mm_cache_dir(char *dir, mamuto_error_t *err);

/* Opens a temporary file of its own name in dir for writing (path: PATH_MAX bytes): ".tmp-PID-N". Returns its
 * fd (O_CLOEXEC), to be closed by the caller, or a negative code. */
int mm_cache_temporary(const char *dir, char *path, mamuto_error_t *err);

/* fsync + rename of a finished temporary file to dir/name. On failure the temporary file is removed. */
int mm_cache_publish(const char *dir, const char *temporary, const char *name, mamuto_error_t *err);

#endif
