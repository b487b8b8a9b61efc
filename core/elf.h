/* Is a file a shared object that can be loaded here? Plain C11 + POSIX. */
#ifndef MM_CORE_ELF_H
#define MM_CORE_ELF_H

#include "core/mamuto.h"

/* What mm_module_check says of a file; see core/module.h. */
int mm_elf_check(const char *path, mamuto_error_t *err);

#endif
