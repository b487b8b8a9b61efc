/* The compiler as a program that is run: found, commanded, listened to. Plain C11 + POSIX; blocks. */
#ifndef MM_CORE_COMPILER_H
#define MM_CORE_COMPILER_H

#include <limits.h>
#include <stdbool.h>

#include "core/module.h"

enum { MM_COMPILER_MESSAGE_BYTES = 64 * 1024, MM_COMPILER_HEADERS_BYTES = 1024 * 1024 };

/* What is needed to run it for one source. Zeroed, then _init, at last _fini, which is safe after any failure. */
struct mm_compiler {
    char source[PATH_MAX + 2], cc[PATH_MAX]; /* cc: as found in PATH */
    char include[PATH_MAX + 2];              /* -I and the folder of mamuto.h, or "" */
    const char *const *cflags, *const *libs;
    const char **argv; /* of the next program, with room for each that is run */
    char **env;
    char *text; /* what the last one printed, up to HEADERS_BYTES */
    size_t n_text;
};

/* build: borrowed until _fini; NULL: defaults. EMODULE: too long a path; ENOMEM; ECOMPILE: no such program. */
int mm_compiler_init(struct mm_compiler *compiler, const char *path, const struct mm_build *build, mamuto_error_t *err);
void mm_compiler_fini(struct mm_compiler *compiler);

/* The folder of the mamuto.h that modules are built with. false: none is known. */
bool mm_compiler_header_folder(char folder[PATH_MAX]);

/* Sets argv. output: of the shared object; NULL: asks for the headers instead, without warnings. */
void mm_compiler_command(struct mm_compiler *compiler, const char *output);

/* Runs argv, with what it prints in text. headers: its stdout is a list of headers, of which all is needed; else both
 * outputs are kept. status: as of waitpid, -1: lost to somebody else's waitpid. ECOMPILE, ESYSTEM: it did not run. */
int mm_compiler_run(struct mm_compiler *compiler, bool headers, int *status, mamuto_error_t *err);

/* Fills err with what the compiler said, or how it ended. Always ECOMPILE. */
int mm_compiler_complain(const struct mm_compiler *compiler, int status, mamuto_error_t *err);

#endif
