/* The program mamuto: one file a command, each using mamuto.h alone. */
#ifndef MM_CORE_CLI_CLI_H
#define MM_CORE_CLI_CLI_H

#include "core/mamuto.h"

/* Exit codes. */
enum { MM_CLI_DONE = 0, MM_CLI_ITEMS_FAILED = 1, MM_CLI_USAGE = 2, MM_CLI_NOT_RUN = 3, MM_CLI_INTERRUPTED = 130 };

struct mm_cli_command {
    const char *name, *synopsis, *about;
    int (*run)(int argc, char **argv); /* argv[0] is its name; an exit code */
};

extern const struct mm_cli_command mm_cli_check;

/* "mamuto check: …" on stderr; returns MM_CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int mm_cli_misused(const struct mm_cli_command *command, const char *format, ...);
void mm_cli_help(const struct mm_cli_command *command); /* on stdout */
/* The error's sentence on stderr, with file and line if it has them; the exit code for it: what is wrong in the input, or
 * what could not be done. */
int mm_cli_complain(const mamuto_error_t *err);

#endif
