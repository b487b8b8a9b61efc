/* dlopen of a module, its ABI number, its table of functions, sorted by line so that every process agrees on an index.
 *
 * Runs in workers, in the child that describes a module, and in the master only for a call with help. A constructor
 * runs here: whatever it does is the module's doing. Blocks for about 0.1 ms.
 */
#include "shm/load.h"

#include "core/alloc.h"
#include "core/error.h"
#include "core/signature.h"

#include <dlfcn.h>
#include <stdlib.h>

static int by_line(const void *a, const void *b)
{
    const mamuto_descriptor_t *x = *(const mamuto_descriptor_t *const *)a, *y = *(const mamuto_descriptor_t *const *)b;
    return x->line != y->line ? (x->line < y->line ? -1 : 1) : strcmp(x->name, y->name);
}

static int check(const mamuto_module_t *module, const char *path, mamuto_error_t *err)
{
    if (!module)
        return mm_error_set(err, MAMUTO_EMODULE,
                            "%s is not a mamuto module: it has no symbol mamuto_module; include "
                            "mamuto.h and define functions with MAMUTO_FUNCTION or MAMUTO_KERNEL",
                            path);
    if (module->abi != MAMUTO_ABI || module->descriptor_size != sizeof(mamuto_descriptor_t))
        return mm_error_set(err, MAMUTO_EMODULE,
                            "%s was built with a mamuto.h of ABI %u (descriptor of %u bytes), this "
                            "library has ABI %d (%zu bytes): build it again",
                            path, module->abi, module->descriptor_size, MAMUTO_ABI, sizeof(mamuto_descriptor_t));
    if (module->end <= module->begin)
        return mm_error_set(err, MAMUTO_EMODULE,
                            "%s has no functions: define some with MAMUTO_FUNCTION or "
                            "MAMUTO_KERNEL",
                            path);
    return 0;
}

/* The chunk form knows items of one size alone. */
static int check_form(const mamuto_descriptor_t *f, const struct mm_signature *signature, mamuto_error_t *err)
{
    const char *text = f->text[0], *at = strpbrk(text, "*"), *bytes = strstr(text, "bytes");
    bool variable = signature->out.variable;
    for (int k = 0; k < signature->n_in; k++)
        variable |= signature->in[k].variable;
    if (f->form != MAMUTO_FORM_CHUNK || !variable)
        return 0;
    if (!at || (bytes && bytes < at))
        at = bytes;
    return mm_error_set(err, MAMUTO_ESIGNATURE,
                        "signature \"%s\", column %zu: an item of variable length, but a MAMUTO_KERNEL's are of fixed "
                        "size, in and out: make it a MAMUTO_FUNCTION",
                        text, at ? (size_t)(at - text) + 1 : 1);
}

static int check_function(const mamuto_descriptor_t *f, const char *path, mamuto_error_t *err)
{
    struct mm_signature signature;
    if (mm_is_identifier(f->name) && f->text && !f->text[0])
        return mm_error_set(err, MAMUTO_ESIGNATURE,
                            "%s, function %s has no signature: MAMUTO_FUNCTION(%s, \"f8 -> f8\")", path, f->name,
                            f->name);
    if (!mm_is_identifier(f->name) || !f->text || !f->run ||
        (f->form != MAMUTO_FORM_ITEM && f->form != MAMUTO_FORM_CHUNK))
        return mm_error_set(err, MAMUTO_EMODULE, "%s has a damaged table of functions: build it again", path);
    mamuto_error_t why = { 0 };
    if (mm_signature_parse(&signature, f->text[0], &why) == 0 && check_form(f, &signature, &why) == 0)
        return 0;
    int code = mm_error_set(err, why.code, "%s, function %s: %s", path, f->name, why.text);
    if (err) {
        err->line = (int)f->line;
        strncpy(err->file, f->file, sizeof err->file - 1);
    }
    return code;
}

static int collect(struct mm_loaded *loaded, const mamuto_module_t *module, const char *path, mamuto_error_t *err)
{
    size_t n = (size_t)(module->end - module->begin);
    loaded->functions = mm_alloc_array(n, sizeof *loaded->functions);
    if (!loaded->functions)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for the table of functions of %s", path);
    for (size_t i = 0; i < n; i++)
        loaded->functions[i] = module->begin[i];
    loaded->n = (uint32_t)n;
    qsort(loaded->functions, n, sizeof *loaded->functions, by_line);
    for (size_t i = 0; i < n; i++) {
        int code = check_function(loaded->functions[i], path, err);
        if (code)
            return code;
    }
    return 0;
}

int mm_load_module(struct mm_loaded *loaded, const char *path, const char *source, const mamuto_module_t *self,
                   mamuto_error_t *err)
{
    struct mm_loaded fresh = { 0 };
    const char *shown = *path ? source : "this program";
    const mamuto_module_t *module = self;
    if (*path) {
        fresh.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!fresh.handle)
            return mm_error_set(err, MAMUTO_EMODULE, "cannot load %s: %s", source, dlerror());
        module = dlsym(fresh.handle, "mamuto_module");
    }
    int code = check(module, shown, err);
    if (!code)
        code = collect(&fresh, module, shown, err);
    if (code) {
        mm_load_fini(&fresh);
        return code;
    }
    *loaded = fresh;
    return 0;
}

/* FNV-1a, with the end of each text. */
static uint64_t add_text(uint64_t mark, const char *text)
{
    do
        mark = (mark ^ (unsigned char)*text) * UINT64_C(1099511628211);
    while (*text++);
    return mark;
}

uint64_t mm_load_mark(const struct mm_loaded *loaded)
{
    uint64_t mark = UINT64_C(14695981039346656037);
    for (uint32_t i = 0; i < loaded->n; i++) {
        const mamuto_descriptor_t *f = loaded->functions[i];
        mark = add_text(add_text(mark, f->name), f->text[0]);
        mark = (mark ^ (uint64_t)f->form) * UINT64_C(1099511628211);
    }
    return mark;
}

int mm_load_marked(struct mm_loaded *loaded, const char *path, const mamuto_module_t *self, uint64_t mark,
                   mamuto_error_t *err)
{
    struct mm_loaded fresh = { 0 };
    int code = mm_load_module(&fresh, path, path, self, err);
    if (code)
        return code;
    if (mm_load_mark(&fresh) != mark) {
        mm_load_fini(&fresh);
        return mm_error_set(err, MAMUTO_EMODULE,
                            "%s has been replaced since it was loaded: load the new one under another "
                            "name, or open another mapper",
                            path);
    }
    *loaded = fresh;
    return 0;
}

void mm_load_fini(struct mm_loaded *loaded)
{
    mm_free(loaded->functions);
    if (loaded->handle)
        dlclose(loaded->handle);
    *loaded = (struct mm_loaded){ 0 };
}
