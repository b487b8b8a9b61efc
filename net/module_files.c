/* Which files a module is made of, found by reading them: every #include "…" that leads to a file, whether or not the
 * preprocessor would come there, so that no compiler has to run here. One that leads nowhere is left to the far side's
 * compiler, which has headers of its own. Files keep their places relative to each other: they are named from the folder
 * that holds them all, so that equal compilers build equal bytes on every host. Called when a module is loaded.
 */
#include "net/module_files.h"

#include "core/alloc.h"
#include "core/compiler.h"
#include "core/error.h"
#include "core/regular.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct search {
    struct mm_module_files *files;
    char *paths[MM_MODULE_FILES]; /* absolute, by file */
    char *const *cflags;
    uint64_t bytes;
    mamuto_error_t *err;
};

static int no_memory(mamuto_error_t *err) { return mm_error_set(err, MAMUTO_ENOMEM, "no memory to send a module"); }

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int read_whole(int fd, char *bytes, uint64_t n)
{
    for (uint64_t done = 0; done < n;) {
        ssize_t got = read(fd, bytes + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : ENODATA;
        done += (uint64_t)got;
    }
    return 0;
}

static int read_file(struct search *s, const char *path, struct mm_module_file *file)
{
    uint64_t bytes = 0;
    int fd = mm_regular_open(path, &bytes, s->err), code = 0;
    if (fd < 0)
        return fd;
    s->bytes += bytes;
    if (s->bytes > MM_MODULE_BYTES)
        code = mm_error_set(s->err, MAMUTO_ESIZE, "%s and what it includes are more than %llu MiB",
                            mm_regular_shown(s->paths[0]), (unsigned long long)(MM_MODULE_BYTES >> 20));
    else if (!(file->bytes = mm_alloc((size_t)bytes + 1)))
        code = no_memory(s->err);
    else if ((errno = read_whole(fd, file->bytes, bytes)) != 0)
        code = mm_error_set(s->err, MAMUTO_EMODULE, "%s cannot be read: %s", mm_regular_shown(path), strerror(errno));
    file->n = bytes;
    close(fd);
    return code;
}

static bool is_known(const struct search *s, const char *path)
{
    for (uint32_t i = 0; i < s->files->n; i++)
        if (strcmp(s->paths[i], path) == 0)
            return true;
    return false;
}

/* Adds a file that is there. */
static int add(struct search *s, const char *path)
{
    char real[PATH_MAX];
    uint32_t i = s->files->n;
    if (!realpath(path, real))
        return mm_error_set(s->err, MAMUTO_EMODULE, "there is no file \"%s\"", mm_regular_shown(path));
    if (is_known(s, real))
        return 0;
    if (i == MM_MODULE_FILES - 1) /* one is mamuto.h's */
        return mm_error_set(s->err, MAMUTO_ESIZE, "%s includes more than %d files of its own",
                            mm_regular_shown(s->paths[0]), MM_MODULE_FILES - 2);
    if (!(s->paths[i] = mm_strdup(real)))
        return no_memory(s->err);
    s->files->n++;
    return read_file(s, real, &s->files->at[i]);
}

/* --- includes ----------------------------------------------------------------------------------------------------- */

static bool try_folder(struct search *s, const char *folder, int n_folder, const char *name, int n_name, int *code)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%.*s/%.*s", n_folder, folder, n_name, name);
    if (n < 0 || n >= PATH_MAX || access(path, R_OK) != 0)
        return false;
    *code = add(s, path);
    return true;
}

/* The folder that a flag names to look for headers in, or NULL; it may be the next argument. */
static const char *folder_of(char *const *flag)
{
    static const char *const options[] = { "-I", "-iquote" };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        size_t n = strlen(options[i]);
        if (strncmp(*flag, options[i], n) == 0)
            return (*flag)[n] ? *flag + n : flag[1];
    }
    return NULL;
}

static int find_include(struct search *s, const char *from, const char *name, int n_name)
{
    const char *slash = strrchr(from, '/');
    int code = 0;
    if (n_name > 0 && name[0] == '/')
        return 0; /* there or not there on the far side, too */
    if (try_folder(s, from, (int)(slash - from), name, n_name, &code))
        return code;
    for (char *const *flag = s->cflags; flag && *flag; flag++) {
        const char *folder = folder_of(flag);
        if (folder && try_folder(s, folder, (int)strlen(folder), name, n_name, &code))
            return code;
    }
    return 0;
}

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* The name in quotes of an #include in this line, or NULL. */
static const char *quoted(const char *line, int *n)
{
    const char *p = skip_blanks(line);
    if (*p++ != '#')
        return NULL;
    p = skip_blanks(p);
    if (strncmp(p, "include", 7) != 0)
        return NULL;
    p = skip_blanks(p + 7);
    if (*p++ != '"')
        return NULL;
    *n = (int)strcspn(p, "\"\n");
    return p[*n] == '"' ? p : NULL;
}

static int find_includes(struct search *s, uint32_t file)
{
    int code = 0, n = 0;
    for (const char *line = s->files->at[file].bytes; line && !code; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *name = quoted(line, &n);
        if (name)
            code = find_include(s, s->paths[file], name, n);
    }
    return code;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

/* Of the folder that holds all files, the length with its slash. */
static size_t common_folder(const struct search *s)
{
    size_t n = (size_t)(strrchr(s->paths[0], '/') - s->paths[0]) + 1;
    for (uint32_t i = 1; i < s->files->n; i++)
        while (strncmp(s->paths[i], s->paths[0], n) != 0)
            for (n--; s->paths[0][n - 1] != '/'; n--)
                ;
    return n;
}

static int name_all(struct search *s, size_t folder)
{
    for (uint32_t i = 0; i < s->files->n; i++)
        if (!(s->files->at[i].name = mm_strdup(s->paths[i] + folder)))
            return no_memory(s->err);
    return 0;
}

/* A flag as the far side needs it: a folder that was sent is named there otherwise. */
static char *sent_flag(const struct search *s, char *const *flag, char *const *begin, size_t folder)
{
    char real[PATH_MAX], text[PATH_MAX + 16];
    const char *named = folder_of(flag);
    bool alone = flag > begin && folder_of(flag - 1) == *flag; /* the argument of the flag before */
    if (alone)
        named = *flag;
    if (!named || (!alone && named == flag[1]) || !realpath(named, real))
        return mm_strdup(*flag);
    size_t n = strlen(real);
    if (n + 1 < folder || strncmp(real, s->paths[0], folder - 1) != 0 || (n >= folder && real[folder - 1] != '/'))
        return mm_strdup(*flag);
    snprintf(text, sizeof text, "%.*s%s%s", alone ? 0 : (int)(named - *flag), *flag, MM_MODULE_FOLDER,
             n < folder ? "." : real + folder);
    return mm_strdup(text);
}

static int copy_flags(struct search *s, size_t folder)
{
    size_t n = 0;
    while (s->cflags && s->cflags[n])
        n++;
    s->files->cflags = mm_alloc_array(n + 1, sizeof *s->files->cflags);
    if (!s->files->cflags)
        return no_memory(s->err);
    for (size_t i = 0; i < n; i++)
        if (!(s->files->cflags[i] = sent_flag(s, s->cflags + i, s->cflags, folder)))
            return no_memory(s->err);
    return 0;
}

/* The public header, which lies elsewhere. Without one the far side's compiler says so. */
static int add_header(struct search *s)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    struct mm_module_file *file = &s->files->at[s->files->n];
    if (!mm_compiler_header_folder(folder))
        return 0;
    snprintf(path, sizeof path, "%s/mamuto.h", folder);
    if (access(path, R_OK) != 0)
        return 0;
    s->files->n++;
    int code = read_file(s, path, file);
    if (!code && !(file->name = mm_strdup(MM_MODULE_HEADER)))
        code = no_memory(s->err);
    return code;
}

static int read_all(struct search *s, const char *path)
{
    size_t n = strlen(path);
    bool source = n > 2 && strcmp(path + n - 2, ".c") == 0;
    int code = mm_module_name(s->files->stem, path, s->err);
    if (!code)
        code = add(s, path);
    for (uint32_t i = 0; source && !code && i < s->files->n; i++)
        code = find_includes(s, i);
    if (code)
        return code;
    size_t folder = common_folder(s);
    code = name_all(s, folder);
    if (!code)
        code = copy_flags(s, folder);
    return code || !source ? code : add_header(s);
}

int mm_module_files_read(struct mm_module_files **out, const char *path, char *const *cflags, mamuto_error_t *err)
{
    struct search *s = mm_alloc(sizeof *s);
    struct mm_module_files *files = mm_alloc(sizeof *files);
    if (!s || !files) {
        mm_free(s);
        mm_free(files);
        return no_memory(err);
    }
    s->files = files;
    s->cflags = cflags;
    s->err = err;
    int code = read_all(s, path);
    for (uint32_t i = 0; i < MM_MODULE_FILES; i++)
        mm_free(s->paths[i]);
    mm_free(s);
    if (code)
        mm_module_files_free(files);
    else
        *out = files;
    return code;
}

void mm_module_files_free(struct mm_module_files *files)
{
    if (!files)
        return;
    for (uint32_t i = 0; i < files->n; i++) {
        mm_free(files->at[i].name);
        mm_free(files->at[i].bytes);
    }
    for (char **flag = files->cflags; flag && *flag; flag++)
        mm_free(*flag);
    mm_free(files->cflags);
    mm_free(files);
}
