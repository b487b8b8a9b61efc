/* The files of a module, read into memory: what must be sent for it to be built elsewhere. Blocks for reading small files. */
#ifndef MM_NET_MODULE_FILES_H
#define MM_NET_MODULE_FILES_H

#include "core/module.h"

enum { MM_MODULE_FILES = 256 };
#define MM_MODULE_BYTES (UINT64_C(256) << 20)
#define MM_MODULE_HEADER "_mamuto/mamuto.h" /* the name of the public header among them */
#define MM_MODULE_FOLDER "@/"               /* in cflags: the folder that they are put into */

struct mm_module_file {
    char *name; /* relative, below one folder; no ".." */
    char *bytes;
    uint64_t n;
};

struct mm_module_files {
    char stem[MM_MAX_MODULE_NAME + 1]; /* the module's name */
    char **cflags;                     /* ended by NULL */
    struct mm_module_file at[MM_MODULE_FILES];
    uint32_t n; /* the first is the module itself */
};

/* Of a .c: with the files that it includes by #include "…", from the folder of the file that does and those of -I and
 * -iquote, and theirs; and mamuto.h. Their names are relative to the folder that holds them all; in cflags, a folder below
 * that begins with MM_MODULE_FOLDER. Of a .so: itself. EMODULE with what is wrong; ENOMEM; ESIZE. */
int mm_module_files_read(struct mm_module_files **files, const char *path, char *const *cflags, mamuto_error_t *err);
void mm_module_files_free(struct mm_module_files *files);

#endif
