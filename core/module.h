/* Modules before they are loaded: their names, their building, their soundness. Plain C11 + POSIX; blocks (it runs a
 * compiler), so it is called in a child process or a thread, never on a loop. */
#ifndef MM_CORE_MODULE_H
#define MM_CORE_MODULE_H

#include "core/mamuto.h"

enum { MM_MAX_MODULE_NAME = 63 };

struct mm_build {
    const char *cc;            /* "cc" */
    const char *const *cflags; /* ended by NULL; default: -O3 -march=native -ffp-contract=off */
    const char *const *libs;   /* ended by NULL; default: -lm */
};

/* The module's name of a path: the stem of a .c or .so file, an identifier. EMODULE otherwise, with what is wrong. */
int mm_module_name(char name[MM_MAX_MODULE_NAME + 1], const char *path, mamuto_error_t *err);

/* A loadable file for a module: for a .so its absolute path, checked by mm_module_check; for a .c that of the cached
 * shared object, compiled now if need be. out: PATH_MAX bytes. EMODULE: no such file, not readable; ECOMPILE: the
 * compiler's message (its first lines, in err->text; file and line of the first error in err->file, err->line). */
int mm_module_build(const char *path, const struct mm_build *build, char *out, mamuto_error_t *err);

/* Is this a whole ELF shared object for this machine? EMODULE: missing, not ELF, truncated, of another architecture or
 * class or byte order, not a shared object. */
int mm_module_check(const char *so_path, mamuto_error_t *err);

#endif
