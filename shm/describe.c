/* The child that makes a module known: compile if need be, dlopen, send one message a function, then the verdict.
 * It is forked for one module, so that a constructor that crashes, exits or starts threads is an error of that module
 * and of nothing else. Blocks as long as the compiler does. */
#include "shm/describe.h"

#include "core/error.h"
#include "core/module.h"
#include "shm/load.h"

#include <limits.h>
#include <stdlib.h>

enum { MAX_WORDS = 512 };

static int read_words(const struct mm_message *request, size_t *at, int64_t n, const char **words)
{
    if (n < 0 || n >= MAX_WORDS)
        return -1;
    for (int64_t i = 0; i < n; i++)
        if (!(words[i] = mm_message_next(request, at)))
            return -1;
    words[n] = NULL;
    return 0;
}

static int build(const struct mm_message *request, char *so_path, mamuto_error_t *err)
{
    const char *cflags[MAX_WORDS], *libs[MAX_WORDS];
    size_t at = 0;
    const char *path = mm_message_next(request, &at), *cc = mm_message_next(request, &at);
    if (!path || !cc || read_words(request, &at, request->a, cflags) || read_words(request, &at, request->b, libs))
        return mm_error_set(err, MAMUTO_EPROTOCOL, "the fork server was sent a damaged request to load a module");
    so_path[0] = '\0';
    return *path ? mm_module_build(path, &(struct mm_build){ cc, cflags, libs }, so_path, err) : 0;
}

static void send_function(int control, uint32_t module, const mamuto_descriptor_t *f, mamuto_error_t *err)
{
    static struct mm_message message;
    message = (struct mm_message){ .type = MM_MSG_FUNCTION, .id = module, .a = f->form, .b = f->line };
    if (mm_message_add(&message, f->name) || mm_message_add(&message, f->text[0]) ||
        mm_message_add(&message, f->text[1] ? f->text[1] : "") || mm_control_send(control, &message, -1))
        mm_error_set(err, MAMUTO_EMODULE, "function %s: its signature and description are too long to be sent",
                     f->name);
}

static void send_verdict(int control, uint32_t module, const char *so_path, uint64_t mark, const mamuto_error_t *err)
{
    static struct mm_message message;
    message = (struct mm_message){
        .type = MM_MSG_LOADED, .id = module, .a = err->code, .b = err->code ? err->line : (int64_t)mark
    };
    mm_message_add(&message, err->code ? err->text : so_path);
    mm_message_add(&message, err->file);
    mm_control_send(control, &message, -1);
}

void mm_describe_module(int control, const struct mm_message *request, const mamuto_module_t *own)
{
    char so_path[PATH_MAX];
    mamuto_error_t err = { 0 };
    struct mm_loaded loaded = { 0 };
    if (build(request, so_path, &err) == 0)
        mm_load_module(&loaded, so_path, request->text, own, &err); /* its text begins with the source's path */
    for (uint32_t i = 0; !err.code && i < loaded.n; i++)
        send_function(control, request->id, loaded.functions[i], &err);
    send_verdict(control, request->id, so_path, mm_load_mark(&loaded), &err);
    mm_load_fini(&loaded);
}
