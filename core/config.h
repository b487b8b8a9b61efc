/* The config: JSON to structure. The only file that knows jansson is config.c. Blocks on reading a small file. */
#ifndef MM_CORE_CONFIG_H
#define MM_CORE_CONFIG_H

#include "core/mamuto.h"

#include <stdbool.h>

enum { MM_CONFIG_MAX_CORES = 255, MM_CONFIG_MAX_BYTES = 1 << 20 };

enum mm_pin { MM_PIN_AUTO, MM_PIN_ON, MM_PIN_OFF };

struct mm_config {
    int cores; /* 1 to MM_CONFIG_MAX_CORES; 0: all that this process may use */
    enum mm_pin pin;
    bool core_dumps;
    char *cc;              /* no slash: to be looked for in PATH */
    char **cflags, **libs; /* ended by NULL */
};

/* The defaults: this machine, all cores, cc, -O3 -march=native -ffp-contract=off, -lm. MAMUTO_ENOMEM. */
int mm_config_default(struct mm_config *config, mamuto_error_t *err);
/* From a file, or from text. MAMUTO_ECONFIG with file (err->file), line and key, and what would be right; ENOMEM.
 * *config is untouched on failure. Relative paths in a file are from the file's folder, and come out absolute: cc if
 * it has a slash, the folders of -I -L -isystem -iquote -idirafter, other arguments in libs, and those in cflags that
 * have a slash. */
int mm_config_load(struct mm_config *config, const char *path, mamuto_error_t *err);
int mm_config_parse(struct mm_config *config, const char *text, mamuto_error_t *err);
void mm_config_fini(struct mm_config *config); /* also of a zeroed one; zeroes it */

#endif
