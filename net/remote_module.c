/* Modules of one host: read here when they are loaded, sent to each of its agents, described by them.
 *
 * What was read stays, so that a new agent gets the same bytes as the one before, whatever has become of the files since.
 * Code travels by the launch channel alone. Called on the loop's thread.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "net/remote.h"

#include <stdio.h>

static size_t get(struct mm_source *source, uint64_t offset, size_t n, const void **at, void *scratch)
{
    const struct mm_remote_file *file = (const struct mm_remote_file *)source;
    (void)scratch;
    *at = file->files->at[file->file].bytes + offset;
    return n;
}

static void sent(struct mm_source *source) { (void)source; }

static int send_body(struct mm_node *node, uint32_t module)
{
    struct mm_remote_module *m = &node->modules[module];
    const char *names[MM_MODULE_FILES + 1] = { NULL };
    uint64_t sizes[MM_MODULE_FILES];
    unsigned char *bytes = mm_alloc(MM_FRAME_SMALL);
    struct mm_writer w = { .at = bytes, .room = MM_FRAME_SMALL };
    struct mm_stream *stream = mm_link_stream(node->channel);
    for (uint32_t i = 0; i < m->files->n; i++) {
        names[i] = m->files->at[i].name;
        sizes[i] = m->files->at[i].n;
    }
    if (!bytes)
        return MAMUTO_ENOMEM;
    mm_put_module(&w, m->files->stem, names[0], m->cc, (const char *const *)m->files->cflags,
                  (const char *const *)m->libs, names, sizes);
    int code = w.full ? MAMUTO_ESIZE : mm_stream_send(stream, MM_FRAME_MODULE, module, bytes, w.n);
    mm_free(bytes);
    return code;
}

static int send_module(struct mm_node *node, uint32_t module)
{
    struct mm_remote_module *m = &node->modules[module];
    int code = send_body(node, module);
    for (uint32_t i = 0; !code && i < m->files->n; i++) {
        struct mm_frame frame = { .type = MM_FRAME_FILE, .id = module, .part = i };
        m->sources[i] = (struct mm_remote_file){ { module, get, sent }, m->files, i };
        if (m->files->at[i].n)
            code = mm_stream_send_source(mm_link_stream(node->channel), &frame, &m->sources[i].source, 0,
                                         m->files->at[i].n);
    }
    mm_link_wake(node->channel);
    return code;
}

static void forget(struct mm_node *node, struct mm_remote_module *m)
{
    for (uint32_t i = 0; node->channel && m->sources && i < m->files->n; i++)
        mm_stream_drop_source(mm_link_stream(node->channel), &m->sources[i].source);
    mm_module_files_free(m->files);
    mm_free(m->sources);
    mm_free(m->refused);
    *m = (struct mm_remote_module){ 0 };
}

/* What is wrong with it is told by on_loaded, as everything is that its compiler finds. */
static int refuse(struct mm_node *node, struct mm_remote_module *m, const mamuto_error_t *why, mamuto_error_t *err)
{
    forget(node, m);
    m->refused = mm_alloc(sizeof *m->refused);
    if (!m->refused)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory to load a module");
    *m->refused = *why;
    m->loading = true;
    mm_remote_soon(node);
    return 0;
}

static int read_files(struct mm_remote_module *m, const char *path, const struct mm_config_host *config,
                      mamuto_error_t *err)
{
    int code = mm_module_files_read(&m->files, path, config->cflags, err);
    if (!code && !(m->sources = mm_alloc_array(m->files->n, sizeof *m->sources)))
        code = mm_error_set(err, MAMUTO_ENOMEM, "module %s: no memory to send it", path);
    m->cc = config->cc;
    m->libs = config->libs;
    return code;
}

int mm_remote_load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                   mamuto_error_t *err)
{
    mamuto_error_t why = { 0 };
    if (module >= MM_REMOTE_MODULES)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: %d modules are loaded, no more can be", path,
                            MM_REMOTE_MODULES);
    if (node->state != MM_REMOTE_UP)
        return mm_error_set(err, MAMUTO_EHOST, "host %s: it is not up", node->host->label);
    struct mm_remote_module *m = &node->modules[module];
    if (m->loading)
        return mm_error_set(err, MAMUTO_EINVAL, "module %s is being loaded", path);
    forget(node, m);
    int code = *path ? read_files(m, path, config, &why)
                     : mm_error_set(&why, MAMUTO_EMODULE,
                                    "host %s cannot run the functions of the program itself: put them in a module",
                                    node->host->label);
    if (!code && (code = send_module(node, module)) == MAMUTO_ESIZE)
        mm_error_set(&why, code, "module %s: its file names and flags together are more than 64 KiB", path);
    if (code == MAMUTO_ENOMEM)
        mm_remote_lose_agent(node, mm_stream_error(mm_link_stream(node->channel)));
    if (code)
        return refuse(node, m, &why, err);
    m->loading = true;
    return 0;
}

int mm_remote_on_function(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_function_body function;
    const char *why = "";
    if (mm_get_function(&function, body, n, &why))
        return mm_remote_wrong(node, "FUNCTION: %s", why);
    if (frame->id >= MM_REMOTE_MODULES || !node->modules[frame->id].files || node->modules[frame->id].there)
        return mm_remote_wrong(node, "FUNCTION of a module that is not being loaded");
    if (node->modules[frame->id].loading)
        node->events->on_function(node->owner, (uint32_t)frame->id, function.name, function.signature,
                                  *function.doc ? function.doc : NULL, (int)function.form, function.line);
    return 0;
}

static void tell_loaded(struct mm_node *node, uint32_t module, const mamuto_error_t *err)
{
    struct mm_remote_module *m = &node->modules[module];
    m->loading = m->lost = false;
    m->loaded = !err->code;
    if (err->code)
        forget(node, m);
    node->events->on_loaded(node->owner, module, err->code, err);
}

int mm_remote_on_loaded(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_loaded_body loaded;
    mamuto_error_t err = { 0 };
    const char *why = "";
    if (mm_get_loaded(&loaded, body, n, &why))
        return mm_remote_wrong(node, "LOADED: %s", why);
    if (frame->id >= MM_REMOTE_MODULES || !node->modules[frame->id].files || node->modules[frame->id].there)
        return mm_remote_wrong(node, "LOADED of a module that is not being loaded");
    struct mm_remote_module *m = &node->modules[frame->id];
    if (loaded.outcome.code) {
        mm_outcome_to_error(&loaded.outcome, &err);
        snprintf(err.host, sizeof err.host, "%s", node->host->label);
    } else
        m->there = true;
    if (m->loading)
        tell_loaded(node, (uint32_t)frame->id, &err);
    else if (err.code) /* it could be, on the agent before */
        mm_remote_lose_agent(node, &err);
    else
        mm_remote_soon(node);
    return 0;
}

int mm_remote_send_modules(struct mm_node *node)
{
    int code = 0;
    for (uint32_t i = 0; i < MM_REMOTE_MODULES && !code; i++)
        if (node->modules[i].loaded)
            code = send_module(node, i);
    return code;
}

void mm_remote_modules_lost(struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_REMOTE_MODULES; i++) {
        struct mm_remote_module *m = &node->modules[i];
        for (uint32_t k = 0; m->files && m->sources && k < m->files->n; k++)
            mm_stream_drop_source(mm_link_stream(node->channel), &m->sources[k].source);
        m->there = false;
        m->lost = m->loading;
    }
}

void mm_remote_report_modules(struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_REMOTE_MODULES; i++) {
        mamuto_error_t err = { 0 };
        if (!node->modules[i].lost && !node->modules[i].refused)
            continue;
        if (node->modules[i].refused)
            err = *node->modules[i].refused;
        mm_error_set(&err, MAMUTO_EHOST, "%s", node->reason);
        tell_loaded(node, i, &err);
    }
}

bool mm_remote_modules_there(const struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_REMOTE_MODULES; i++)
        if (node->modules[i].loaded && !node->modules[i].there)
            return false;
    return true;
}

void mm_remote_free_modules(struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_REMOTE_MODULES; i++)
        forget(node, &node->modules[i]);
}
