/* Modules at the agent: their files are put into a folder of the cache, built and loaded as a module of this machine is.
 *
 * The folder is named by a hash over everything that goes into the build, so that the same module is found built next time;
 * each file is written anew all the same, to a temporary name and renamed, for a name alone is not trusted. Files that do not
 * fit what MODULE said end the agent; what cannot be written or built fails the module. Called by net/agent.c.
 */
#include "core/alloc.h"
#include "core/cache.h"
#include "core/cpus.h"
#include "core/error.h"
#include "core/hash.h"
#include "net/agent.h"
#include "net/module_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    char *name, *bytes;
    uint64_t n, got;
};

struct mm_agent_build {
    char *main, *cc;
    char **cflags, **libs;
    struct file *files;
    uint32_t n, missing;
};

static char **copy_list(const struct mm_strings *list)
{
    char **copy = mm_alloc_array((size_t)list->n + 1, sizeof *copy);
    const char *at = list->first;
    for (uint32_t i = 0; copy && i < list->n; i++) {
        copy[i] = mm_strdup(at);
        if (i + 1 < list->n)
            at = mm_strings_next(at);
    }
    return copy;
}

static void free_list(char **list)
{
    for (char **one = list; one && *one; one++)
        mm_free(*one);
    mm_free(list);
}

static void free_build(struct mm_agent_module *m)
{
    struct mm_agent_build *b = m->build;
    m->build = NULL;
    for (uint32_t i = 0; b && b->files && i < b->n; i++) {
        mm_free(b->files[i].name);
        mm_free(b->files[i].bytes);
    }
    if (b) {
        mm_free(b->files);
        mm_free(b->main);
        mm_free(b->cc);
        free_list(b->cflags);
        free_list(b->libs);
    }
    mm_free(b);
}

/* --- what comes --------------------------------------------------------------------------------------------------- */

static bool fill_build(struct mm_agent_build *b, const struct mm_module_body *body)
{
    b->main = mm_strdup(body->main);
    b->cc = mm_strdup(body->cc);
    b->cflags = copy_list(&body->cflags);
    b->libs = copy_list(&body->libs);
    b->files = mm_alloc_array(body->files.n, sizeof *b->files);
    b->n = body->files.n;
    const char *name = body->files.first;
    uint64_t total = 0;
    for (uint32_t i = 0; b->files && i < b->n; i++) {
        uint64_t n = mm_module_size(body, i);
        if (n > MM_MODULE_BYTES || (total += n) > MM_MODULE_BYTES)
            return false;
        b->files[i] = (struct file){ .name = mm_strdup(name), .bytes = mm_alloc((size_t)n + 1), .n = n };
        if (!b->files[i].name || !b->files[i].bytes)
            return false;
        b->missing += n != 0;
        if (i + 1 < b->n)
            name = mm_strings_next(name);
    }
    return b->main && b->cc && b->cflags && b->libs && b->files;
}

static int build(struct mm_agent *agent, uint32_t module);

int mm_agent_on_module(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *bytes, size_t n)
{
    struct mm_module_body body;
    const char *why = "";
    if (mm_get_module(&body, bytes, n, &why))
        return mm_agent_wrong(agent, "MODULE: %s", why);
    if (frame->id >= MM_MAX_MODULES || agent->modules[frame->id].there || agent->modules[frame->id].loading)
        return mm_agent_wrong(agent, "MODULE of a number that is taken, or too large");
    struct mm_agent_module *m = &agent->modules[frame->id];
    m->loading = true;
    m->n = 0;
    m->error[0] = '\0';
    m->build = mm_alloc(sizeof *m->build);
    if (!m->build || !fill_build(m->build, &body))
        return mm_agent_wrong(agent, "there is no memory for module %s", body.name);
    return m->build->missing ? 0 : build(agent, (uint32_t)frame->id);
}

static struct file *file_of(struct mm_agent *agent, const struct mm_frame *frame)
{
    if (frame->id >= MM_MAX_MODULES || !agent->modules[frame->id].build)
        return NULL;
    struct mm_agent_build *b = agent->modules[frame->id].build;
    return frame->part < b->n ? &b->files[frame->part] : NULL;
}

int mm_agent_on_file(struct mm_agent *agent, const struct mm_frame *frame, size_t done, void **to)
{
    struct file *file = file_of(agent, frame);
    uint64_t n = frame->length - mm_frame_prefix(frame->type);
    if (!file || (!done && (frame->offset != file->got || n > file->n - file->got || !n)))
        return mm_agent_wrong(agent, "FILE of no module, or not the next piece of it");
    *to = file->bytes + frame->offset + done;
    return 0;
}

int mm_agent_on_file_end(struct mm_agent *agent, const struct mm_frame *frame)
{
    struct file *file = file_of(agent, frame);
    file->got += frame->length - mm_frame_prefix(frame->type);
    if (file->got < file->n || --agent->modules[frame->id].build->missing)
        return 0;
    return build(agent, (uint32_t)frame->id);
}

/* --- building ----------------------------------------------------------------------------------------------------- */

static void hash_list(struct mm_hash *hash, char *const *list)
{
    for (; *list; list++)
        mm_hash_add_text(hash, *list);
    mm_hash_add_text(hash, "");
}

static void name_folder(const struct mm_agent_build *b, char hex[33])
{
    struct mm_hash hash;
    mm_hash_init(&hash);
    mm_hash_add_text(&hash, b->cc);
    hash_list(&hash, b->cflags);
    hash_list(&hash, b->libs);
    for (uint32_t i = 0; i < b->n; i++) {
        mm_hash_add_text(&hash, b->files[i].name);
        mm_hash_add(&hash, &b->files[i].n, sizeof b->files[i].n);
        mm_hash_add(&hash, b->files[i].bytes, (size_t)b->files[i].n);
    }
    mm_hash_hex(&hash, hex);
}

/* The folders of a path below a folder, which is there. */
static bool make_folders(char *path, size_t below)
{
    for (char *slash = strchr(path + below, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

static bool write_all(int fd, const char *bytes, uint64_t n)
{
    while (n) {
        ssize_t some = write(fd, bytes, n);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return false;
        bytes += some;
        n -= (uint64_t)some;
    }
    return true;
}

static bool write_file(char *path, size_t below, const struct file *file)
{
    char temporary[PATH_MAX + 32];
    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    if (!make_folders(path, below))
        return false;
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write_all(fd, file->bytes, file->n);
    good = close(fd) == 0 && good;
    good = good && rename(temporary, path) == 0;
    if (!good)
        unlink(temporary);
    return good;
}

static int write_files(const struct mm_agent_build *b, char *folder, mamuto_error_t *err)
{
    char path[PATH_MAX], hex[33];
    int code = mm_cache_dir(folder, err);
    if (code)
        return code;
    size_t cache = strlen(folder) + 1;
    name_folder(b, hex);
    if (cache + sizeof hex + 8 > PATH_MAX)
        return mm_error_set(err, MAMUTO_EMODULE, "the path of the cache, %s, is too long", folder);
    snprintf(folder + cache - 1, PATH_MAX - cache, "/src-%s", hex);
    for (uint32_t i = 0; i < b->n; i++) {
        int n = snprintf(path, sizeof path, "%s/%s", folder, b->files[i].name);
        if (n < 0 || n >= PATH_MAX - 32)
            return mm_error_set(err, MAMUTO_EMODULE, "the path of %s is too long", b->files[i].name);
        if (!write_file(path, cache, &b->files[i]))
            return mm_error_system(err, errno, "module file %s cannot be written", path);
    }
    return 0;
}

/* The config's flags for this host: folders that were sent are here. */
static char **flags_here(const struct mm_agent_build *b, const char *folder)
{
    size_t n = 0, mark = strlen(MM_MODULE_FOLDER);
    char text[2 * PATH_MAX];
    while (b->cflags[n])
        n++;
    char **flags = mm_alloc_array(n + 2, sizeof *flags);
    if (!flags)
        return NULL;
    snprintf(text, sizeof text, "-I%s/%.*s", folder, (int)(strchr(MM_MODULE_HEADER, '/') - MM_MODULE_HEADER),
             MM_MODULE_HEADER);
    flags[0] = mm_strdup(text);
    for (size_t i = 0; i < n; i++) {
        const char *at = strstr(b->cflags[i], MM_MODULE_FOLDER);
        if (at)
            snprintf(text, sizeof text, "%.*s%s/%s", (int)(at - b->cflags[i]), b->cflags[i], folder, at + mark);
        flags[i + 1] = mm_strdup(at ? text : b->cflags[i]);
    }
    return flags;
}

static int send_loaded(struct mm_agent *agent, uint32_t module, const mamuto_error_t *err, const char *fingerprint)
{
    unsigned char body[2048];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_loaded_body loaded = { .fingerprint = fingerprint };
    mm_error_to_outcome(err, &loaded.outcome);
    mm_put_loaded(&w, &loaded);
    agent->modules[module].loading = false;
    agent->modules[module].there = !err->code;
    return mm_stream_send(agent->channel, MM_FRAME_LOADED, module, body, w.n);
}

static int build(struct mm_agent *agent, uint32_t module)
{
    struct mm_agent_module *m = &agent->modules[module];
    char folder[PATH_MAX], path[2 * PATH_MAX];
    mamuto_error_t err = { 0 };
    int code = write_files(m->build, folder, &err);
    if (!code) {
        char **flags = flags_here(m->build, folder);
        int n = snprintf(path, sizeof path, "%s/%s", folder, m->build->main); /* it was written there, so it fits */
        code = flags && n > 0 ? mm_pool_load(&agent->pool, module, path, m->build->cc, flags, m->build->libs, &err)
                              : mm_error_set(&err, MAMUTO_ENOMEM, "no memory to build a module");
        free_list(flags);
    }
    free_build(m);
    return code ? send_loaded(agent, module, &err, "") : 0;
}

/* --- what the fork server says of it ------------------------------------------------------------------------------ */

static struct mm_agent_module *module_of(struct mm_agent *agent, const struct mm_message *message)
{
    bool known = message->id < MM_MAX_MODULES && agent->modules[message->id].loading;
    return known ? &agent->modules[message->id] : NULL;
}

static bool add_function(struct mm_agent_module *m, uint32_t module, const char *signature)
{
    if (m->n == m->room) {
        uint32_t room = m->room ? 2 * m->room : 8;
        struct mm_function *more = mm_realloc(m->functions, room * sizeof *more);
        if (!more)
            return false;
        m->functions = more;
        m->room = room;
    }
    m->functions[m->n] = (struct mm_function){ .module = module, .index = m->n };
    return mm_signature_parse(&m->functions[m->n++].signature, signature, NULL) == 0;
}

void mm_agent_on_function(struct mm_agent *agent, const struct mm_message *message)
{
    struct mm_agent_module *m = module_of(agent, message);
    unsigned char body[8192];
    struct mm_writer w = { .at = body, .room = sizeof body };
    size_t at = 0;
    const char *name = mm_message_next(message, &at), *signature = mm_message_next(message, &at);
    const char *doc = mm_message_next(message, &at);
    if (!m || !doc)
        return;
    if (!add_function(m, message->id, signature))
        snprintf(m->error, sizeof m->error, "%s: its signature is not understood, or there is no memory", name);
    mm_put_function(&w, &(struct mm_function_body){ .form = (uint32_t)message->a,
                                                    .line = (int32_t)message->b,
                                                    .name = name,
                                                    .signature = signature,
                                                    .doc = doc });
    if (w.full)
        snprintf(m->error, sizeof m->error, "%s: its description is too long", name);
    else if (mm_stream_send(agent->channel, MM_FRAME_FUNCTION, message->id, body, w.n))
        mm_agent_leave(agent, mm_stream_error(agent->channel));
}

/* What was built, and for which CPU: hosts with the same one compute the same bits. */
static void fingerprint_of(const char *path, char hex[33])
{
    static char bytes[64 << 10];
    char cpu[4096];
    struct mm_hash hash;
    mm_hash_init(&hash);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    while (fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0)
        mm_hash_add(&hash, bytes, (size_t)n);
    if (fd >= 0)
        close(fd);
    if (mm_cpu_identity(cpu, sizeof cpu) == 0)
        mm_hash_add_text(&hash, cpu);
    mm_hash_hex(&hash, hex);
}

void mm_agent_on_loaded(struct mm_agent *agent, const struct mm_message *message)
{
    struct mm_agent_module *m = module_of(agent, message);
    mamuto_error_t err = { 0 };
    char hex[33] = "";
    size_t at = 0;
    const char *text = mm_message_next(message, &at), *file = mm_message_next(message, &at);
    if (!m || !file)
        return;
    if (message->a) {
        mm_error_set(&err, (int)message->a, "%s", text);
        err.line = (int)message->b;
        snprintf(err.file, sizeof err.file, "%s", file);
    } else if (m->error[0])
        mm_error_set(&err, MAMUTO_EMODULE, "%s", m->error);
    else if (mm_jobs_add_module(&agent->jobs, message->id, m->n, text, (uint64_t)message->b, &err) == 0)
        fingerprint_of(text, hex);
    if (send_loaded(agent, message->id, &err, hex))
        mm_agent_leave(agent, mm_stream_error(agent->channel));
}

void mm_agent_free_modules(struct mm_agent *agent)
{
    for (uint32_t i = 0; i < MM_MAX_MODULES; i++) {
        free_build(&agent->modules[i]);
        mm_free(agent->modules[i].functions);
    }
}
