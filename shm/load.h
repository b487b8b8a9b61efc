/* Loading a module's shared object and finding its functions. Only in a process that may die of it. */
#ifndef MM_SHM_LOAD_H
#define MM_SHM_LOAD_H

#include "core/mamuto.h"

struct mm_loaded {
    void *handle;                          /* of dlopen; NULL: the program's own functions */
    const mamuto_descriptor_t **functions; /* by line; NULL: not loaded */
    uint32_t n;
};

#define MM_MODULE_SELF "" /* path of the program's own functions */

/* Loads path; self is used where path is MM_MODULE_SELF. EMODULE: dlopen's message, no mamuto_module, another ABI, no
 * functions. */
int mm_load_module(struct mm_loaded *loaded, const char *path, const mamuto_module_t *self, mamuto_error_t *err);
void mm_load_fini(struct mm_loaded *loaded);

#endif
