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

/* Loads path, which was built from source (what errors name); self is used where path is MM_MODULE_SELF. EMODULE: dlopen's message, no mamuto_module, another ABI, no
 * functions. */
int mm_load_module(struct mm_loaded *loaded, const char *path, const char *source, const mamuto_module_t *self,
                   mamuto_error_t *err);
/* A number that two files share only if their functions are the same, by name, signature and form, in the same order. */
uint64_t mm_load_mark(const struct mm_loaded *loaded);
/* Loads what another process has loaded before and found to be of this mark. EMODULE also: the file is another one now. */
int mm_load_marked(struct mm_loaded *loaded, const char *path, const mamuto_module_t *self, uint64_t mark,
                   mamuto_error_t *err);
void mm_load_fini(struct mm_loaded *loaded);

#endif
