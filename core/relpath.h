/* Relative paths of a config: from the config's folder. Plain C11 + POSIX. Results are to be freed with mm_free. */
#ifndef MM_CORE_RELPATH_H
#define MM_CORE_RELPATH_H

#include <stdbool.h>

/* The folder of the file path, absolute; where the current folder cannot be told, as it is. NULL: no memory. */
char *mm_relpath_folder(const char *path);

/* What is a path in any case, absolute. folder NULL: a plain copy. NULL: no memory. */
char *mm_relpath_path(const char *path, const char *folder);

/* A program: a relative path, if it has a slash; else a name to be looked for in PATH, which stays. folder NULL: a
 * plain copy. NULL: no memory. */
char *mm_relpath_program(const char *program, const char *folder);

/* An argument of a compiler that is not empty. Paths are what follows -I, -L, -isystem, -iquote or -idirafter (joined,
 * or as the next argument) and arguments without "-": in libs (is_lib) all, else those with a slash.
 * previous: the argument before, or NULL. folder NULL: a plain copy. NULL: no memory. */
char *mm_relpath_flag(const char *flag, const char *previous, bool is_lib, const char *folder);

#endif
