/* Modules and functions of a mapper: asked for, described by the node, found by name.
 *
 * A module has a number from the moment it is asked for; the node's events name it by that. A module that could not be
 * loaded keeps its number, but its name is free again. Functions are never moved: calls in flight point to them.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/mapper.h"
#include "core/nearest.h"
#include "core/program.h"

#include <stdio.h>

static int check_name(const mamuto_t *m, const char *name, const char *path, mamuto_error_t *err)
{
    for (uint32_t i = 0; i < m->n_modules; i++)
        if ((m->modules[i]->loaded || m->modules[i]->pending) && strcmp(m->modules[i]->name, name) == 0)
            return mm_error_set(err, MAMUTO_EMODULE,
                                "module %s: the name \"%s\" is taken by %s; rename one of the files", path, name,
                                m->modules[i]->path[0] ? m->modules[i]->path : "the program itself");
    return 0;
}

static void free_module(struct mm_mapper_module *module)
{
    for (size_t i = 0; module && i < module->n_functions; i++) {
        struct mm_function *f = module->functions[i];
        mm_free((char *)(uintptr_t)f->info.name);
        mm_free((char *)(uintptr_t)f->info.signature);
        mm_free((char *)(uintptr_t)f->info.doc);
        mm_free(f);
    }
    if (module) {
        mm_free(module->functions);
        mm_free(module->path);
    }
    mm_free(module);
}

static struct mm_mapper_module *new_module(const char *name, const char *path)
{
    struct mm_mapper_module *module = mm_alloc(sizeof *module);
    if (!module)
        return NULL;
    snprintf(module->name, sizeof module->name, "%s", name);
    module->path = mm_strdup(path);
    if (module->path)
        return module;
    mm_free(module);
    return NULL;
}

static int add(mamuto_t *m, const char *name, const char *path, bool initial, struct mm_mapper_module **out,
               mamuto_error_t *err)
{
    int code = check_name(m, name, path, err);
    if (code)
        return code;
    if (m->n_modules == MM_MOST_MODULES)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: %d modules were loaded, no more can be", path,
                            MM_MOST_MODULES);
    struct mm_mapper_module *module = new_module(name, path);
    if (!module)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: no memory", path);
    code = m->ops->load(m->node, m->n_modules, path, &m->config.hosts[0], err);
    if (code) {
        free_module(module);
        return code;
    }
    module->pending = true;
    module->initial = initial;
    m->modules[m->n_modules++] = module;
    m->n_loading += initial;
    mm_mapper_hold(m);
    if (out)
        *out = module;
    return 0;
}

int mm_mapper_load(mamuto_t *m, const char *path, bool initial, struct mm_mapper_module **out, mamuto_error_t *err)
{
    char name[MM_MAX_MODULE_NAME + 1];
    if (!path || !*path)
        return mm_error_set(err, MAMUTO_EINVAL, "a module's path is %s: name a .c or .so file",
                            path ? "empty" : "NULL");
    int code = mm_module_name(name, path, err);
    return code ? code : add(m, name, path, initial, out, err);
}

int mm_mapper_load_program(mamuto_t *m, mamuto_error_t *err)
{
    return mm_program_functions() ? add(m, MM_PROGRAM_MODULE, "", true, NULL, err) : 0;
}

static int load_more(mamuto_t *m, const char *path, struct mm_mapper_module **module, mamuto_error_t *err)
{
    int code = mm_mapper_check_process(m, "mamuto_load", err);
    if (code)
        return code;
    if (m->state != MM_OPEN)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_load: the mapper is not open");
    return mm_mapper_load(m, path, false, module, err);
}

int mamuto_load(mamuto_t *m, const char *path, void (*on_loaded)(mamuto_t *, int, const mamuto_error_t *),
                mamuto_error_t *err)
{
    struct mm_mapper_module *module = NULL;
    int code = load_more(m, path, &module, err);
    if (module)
        module->on_loaded = on_loaded;
    return code;
}

int mamuto_load_wait(mamuto_t *m, const char *path, mamuto_error_t *err)
{
    struct mm_mapper_module *module = NULL;
    struct mm_waited waited = { .err = err };
    int code = mm_mapper_may_wait(m, "mamuto_load_wait", err);
    if (!code)
        code = load_more(m, path, &module, err);
    if (code || !module)
        return code;
    module->waited = &waited;
    while (!waited.over)
        uv_run(&m->own_loop, UV_RUN_ONCE);
    return waited.status;
}

/* --- what the node tells ---------------------------------------------------------------------------------------- */

static int make_room(struct mm_mapper_module *module)
{
    if (module->n_functions < module->room)
        return 0;
    size_t room = module->room ? module->room * 2 : 8;
    struct mm_function **more = mm_realloc(module->functions, room * sizeof(struct mm_function *));
    if (!more)
        return MAMUTO_ENOMEM;
    module->functions = more;
    module->room = room;
    return 0;
}

static int describe(struct mm_function *f, struct mm_mapper_module *module, const char *name, const char *signature,
                    const char *doc, mamuto_error_t *err)
{
    int code = mm_signature_parse(&f->signature, signature, err);
    if (code)
        return code;
    f->info = (mamuto_function_t){ .name = mm_strdup(name),
                                   .module = module->name,
                                   .signature = mm_strdup(signature),
                                   .doc = doc ? mm_strdup(doc) : NULL,
                                   .n_in = (size_t)f->signature.n_in,
                                   .n_dims = (size_t)f->signature.n_dims };
    for (int j = 0; j < f->signature.n_dims; j++)
        f->info.dims[j] = f->signature.dims[j];
    if (!f->info.name || !f->info.signature || (doc && !f->info.doc))
        return mm_error_set(err, MAMUTO_ENOMEM, "function %s.%s: no memory", module->name, name);
    return 0;
}

void mm_mapper_on_function(void *owner, uint32_t number, const char *name, const char *signature, const char *doc,
                           int form, int line)
{
    mamuto_t *m = owner;
    (void)line;
    if (number >= m->n_modules || !m->modules[number]->pending)
        return;
    struct mm_mapper_module *module = m->modules[number];
    if (module->error.code) /* it cannot be loaded any more */
        return;
    struct mm_function *f = mm_alloc(sizeof *f);
    if (!f || make_room(module)) {
        mm_free(f);
        mm_error_set(&module->error, MAMUTO_ENOMEM, "function %s.%s: no memory", module->name, name);
        return;
    }
    for (size_t i = 0; i < module->n_functions; i++)
        if (strcmp(module->functions[i]->info.name, name) == 0)
            mm_error_set(&module->error, MAMUTO_EMODULE, "module %s has two functions %s", module->path, name);
    f->module = number;
    f->index = (uint32_t)module->n_functions;
    describe(f, module, name, signature, doc, &module->error);
    f->info.form = form;
    module->functions[module->n_functions++] = f;
}

/* Whoever asked for the module is told what became of it. */
static void tell(mamuto_t *m, struct mm_mapper_module *module)
{
    int code = module->error.code;
    if (module->waited) {
        module->waited->over = true;
        module->waited->status = code;
        if (code)
            mm_error_copy(module->waited->err, &module->error);
        module->waited = NULL;
    }
    m->depth++;
    if (module->on_loaded)
        module->on_loaded(m, code, code ? &module->error : NULL);
    m->depth--;
    mm_mapper_release(m);
}

void mm_mapper_on_loaded(void *owner, uint32_t number, int status, const mamuto_error_t *err)
{
    mamuto_t *m = owner;
    if (number >= m->n_modules || !m->modules[number]->pending)
        return;
    struct mm_mapper_module *module = m->modules[number];
    if (status == MAMUTO_ECRASH || status == MAMUTO_EHOST ||
        status == MAMUTO_ESYSTEM) /* told by who does not know it */
        mm_error_set(&module->error, status, "module %s: %s", module->path, err->text);
    else if (status)
        mm_error_copy(&module->error, err);
    module->pending = false;
    module->loaded = module->error.code == 0;
    m->last_function = NULL;
    if (module->initial) {
        m->n_loading--;
        if (module->error.code)
            mm_error_copy(&m->open_error, &module->error);
        mm_mapper_look(m);
    }
    tell(m, module);
}

void mm_mapper_cancel_loads(mamuto_t *m)
{
    for (uint32_t i = 0; i < m->n_modules; i++) {
        struct mm_mapper_module *module = m->modules[i];
        if (!module->pending)
            continue;
        mm_error_set(&module->error, MAMUTO_ECANCELED, "module %s: the mapper was closed", module->path);
        module->pending = false;
        tell(m, module);
    }
}

void mm_mapper_free_modules(mamuto_t *m)
{
    for (uint32_t i = 0; i < m->n_modules; i++)
        free_module(m->modules[i]);
    m->n_modules = 0;
}

/* --- by name ---------------------------------------------------------------------------------------------------- */

static const struct mm_function *find_in(const struct mm_mapper_module *module, const char *name)
{
    for (size_t i = 0; module->loaded && i < module->n_functions; i++)
        if (strcmp(module->functions[i]->info.name, name) == 0)
            return module->functions[i];
    return NULL;
}

static const struct mm_function *find_plain(mamuto_t *m, const char *name, mamuto_error_t *err)
{
    const struct mm_function *found = NULL;
    for (uint32_t i = 0; i < m->n_modules; i++) {
        const struct mm_function *f = find_in(m->modules[i], name);
        if (f && found) {
            mm_error_set(err, MAMUTO_EFUNCTION, "function %s is in two modules: write %s.%s or %s.%s", name,
                         found->info.module, name, f->info.module, name);
            return NULL;
        }
        found = f ? f : found;
    }
    return found;
}

static const struct mm_function *find_full(mamuto_t *m, const char *name, const char *dot)
{
    size_t length = (size_t)(dot - name);
    for (uint32_t i = 0; i < m->n_modules; i++)
        if (strlen(m->modules[i]->name) == length && memcmp(m->modules[i]->name, name, length) == 0) {
            const struct mm_function *f = find_in(m->modules[i], dot + 1);
            if (f)
                return f;
        }
    return NULL;
}

/* The name of a loaded function as the mistyped one is written: with its module, or plain. */
static const char *as_written(const struct mm_mapper_module *module, size_t j, bool plain, char *room, size_t size)
{
    snprintf(room, size, "%s%s%s", plain ? "" : module->name, plain ? "" : ".", module->functions[j]->info.name);
    return room;
}

static void say_what_is_near(mamuto_t *m, const char *name, mamuto_error_t *err)
{
    bool plain = strchr(name, '.') == NULL;
    char room[2 * MM_MAX_MODULE_NAME + 2], best[sizeof room] = "";
    int distance = MM_NEAREST_MAX;
    for (uint32_t i = 0; i < m->n_modules; i++)
        for (size_t j = 0; m->modules[i]->loaded && j < m->modules[i]->n_functions; j++) {
            struct mm_nearest nearest = { 0 };
            mm_nearest_offer(&nearest, name, as_written(m->modules[i], j, plain, room, sizeof room));
            if (!nearest.name || nearest.distance >= distance)
                continue;
            distance = nearest.distance;
            memcpy(best, room, sizeof best);
        }
    if (*best)
        mm_error_set(err, MAMUTO_EFUNCTION, "there is no function \"%s\"; did you mean %s?", name, best);
    else if (m->n_modules == 0)
        mm_error_set(
            err, MAMUTO_EFUNCTION,
            "there is no function \"%s\": no module is loaded. Name modules in options.modules; functions in the "
            "program itself need mamuto_main(argc, argv) as the first line of main()",
            name);
    else
        mm_error_set(err, MAMUTO_EFUNCTION, "there is no function \"%s\" in the modules that are loaded", name);
}

const struct mm_function *mm_mapper_find(mamuto_t *m, const char *name, mamuto_error_t *err)
{
    if (!name) {
        mm_error_set(err, MAMUTO_EFUNCTION, "the function's name is NULL");
        return NULL;
    }
    if (m->last_function && strcmp(m->last_name, name) == 0)
        return m->last_function;
    mamuto_error_t why = { 0 };
    const char *dot = strchr(name, '.');
    const struct mm_function *f = dot ? find_full(m, name, dot) : find_plain(m, name, &why);
    if (!f) {
        if (!why.code)
            say_what_is_near(m, name, &why);
        mm_error_copy(err, &why);
        return NULL;
    }
    if (strlen(name) < sizeof m->last_name) {
        memcpy(m->last_name, name, strlen(name) + 1);
        m->last_function = f;
    }
    return f;
}

int mamuto_function(mamuto_t *m, const char *name, mamuto_function_t *info, mamuto_error_t *err)
{
    int code = mm_mapper_check_process(m, "mamuto_function", err);
    if (code)
        return code;
    const struct mm_function *f = mm_mapper_find(m, name, err);
    if (!f)
        return MAMUTO_EFUNCTION;
    if (info)
        *info = f->info;
    return 0;
}

size_t mamuto_functions(mamuto_t *m, mamuto_function_t *infos, size_t max)
{
    size_t n = 0;
    if (mm_mapper_check_process(m, "mamuto_functions", NULL))
        return 0;
    for (uint32_t i = 0; i < m->n_modules; i++) {
        const struct mm_mapper_module *module = m->modules[i];
        for (size_t j = 0; module->loaded && j < module->n_functions; j++, n++)
            if (infos && n < max)
                infos[n] = module->functions[j]->info;
    }
    return n;
}
