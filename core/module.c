/* Modules before they are loaded: the name of one, the building of a .c file, the soundness of a .so.
 *
 * A .c file is compiled into the folder of core/cache.h, as NAME-KEY.so, where KEY is a hash of all that the result
 * depends on: compiler, flags, CPU, the source and each header that the compiler itself names. So a built module is
 * never checked for its age, only looked for; and one is published only if the key is still the same after compiling.
 * Nothing here loads or runs a module.
 *
 * Called in a child process or a thread, for it blocks; several at once, also for one module, are fine. How a
 * compiler is run is in core/compiler.c, what a sound shared object is in core/elf.c. */
#include "core/module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/cache.h"
#include "core/compiler.h"
#include "core/cpus.h"
#include "core/elf.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/regular.h"

enum { KEY_FORMAT = 2, ATTEMPTS = 3 };

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* By ASCII alone, whatever the application's locale is. */
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

int mm_module_name(char name[MM_MAX_MODULE_NAME + 1], const char *path, mamuto_error_t *err)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path, *dot = strrchr(file, '.');
    if (!dot || (strcmp(dot, ".c") && strcmp(dot, ".so")))
        return mm_error_set(err, MAMUTO_EMODULE, "\"%s\" is no module: a module is a file whose name ends in .c or .so",
                            mm_regular_shown(path));
    size_t bytes = (size_t)(dot - file);
    bool good = bytes > 0 && bytes <= MM_MAX_MODULE_NAME && is_letter(file[0]);
    for (size_t i = 0; i < bytes && good; i++)
        good = is_letter(file[i]) || is_digit(file[i]);
    if (!good)
        return mm_error_set(err, MAMUTO_EMODULE,
                            "\"%s\" gives no name to a module: rename the file, so that what stands before %s is an "
                            "identifier (1 to %d letters, digits and _, no digit first), as \"my_model%s\"",
                            mm_regular_shown(path), dot, MM_MAX_MODULE_NAME, dot);
    memcpy(name, file, bytes);
    name[bytes] = '\0';
    return 0;
}

int mm_module_check(const char *so_path, mamuto_error_t *err) { return mm_elf_check(so_path, err); }

/* One build. */
struct job {
    char name[MM_MAX_MODULE_NAME + 1];
    char dir[PATH_MAX], file[PATH_MAX]; /* the cache, and the built module in it */
    struct mm_compiler compiler;
    struct mm_hash base; /* the part of the key that does not come from files */
};

/* ---- The key ----------------------------------------------------------------------------------------------------- */

/* Adds a file's name and contents. 0 or an errno. */
static int add_file(struct mm_hash *hash, const char *path)
{
    char buffer[16384];
    ssize_t n = -1;
    uint64_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    mm_hash_add_text(hash, path);
    while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR)) {
        mm_hash_add(hash, buffer, n > 0 ? (size_t)n : 0);
        bytes += n > 0 ? (uint64_t)n : 0;
    }
    int rc = n < 0 ? errno : 0;
    mm_hash_add(hash, &bytes, sizeof bytes);
    close(fd);
    return rc;
}

/* Adds a list of arguments, and the contents of those that are files: libhelp.a, @options. */
static void add_arguments(struct mm_hash *hash, const char *const *list)
{
    struct stat st;
    for (; *list; list++) {
        const char *file = *list + (**list == '@');
        mm_hash_add_text(hash, *list);
        if (*file != '-' && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            add_file(hash, file);
    }
    mm_hash_add_text(hash, "");
}

/* Turns a make rule, "model.o: model.c my\ header.h", into the names after its colon, each with its end, and an empty
 * one after the last. Blanks and # have a backslash before them, and the backslashes before a blank's are doubled; $ is
 * $$; a backslash at the end of a line continues it. False: there are none. */
static bool split_rule(char *text)
{
    char *from = strchr(text, ':'), *to = text;
    if (!from)
        return false;
    for (from++; *from && *from != '\n';) {
        size_t slashes = strspn(from, "\\");
        char after = from[slashes];
        bool ends = slashes ? after == '\n' : after == ' ' || after == '\t';
        if (slashes && (after == ' ' || after == '\t')) {
            for (size_t i = 0; i < slashes / 2; i++)
                *to++ = '\\';
            if (slashes % 2)
                *to++ = after;
            from += slashes + slashes % 2;
        } else if (ends && slashes < 2) {
            if (to > text && to[-1])
                *to++ = '\0';
            from += slashes + 1;
        } else {
            from += (from[0] == '\\' && from[1] == '#') || (from[0] == '$' && from[1] == '$');
            *to++ = *from++;
        }
    }
    if (to > text && to[-1])
        *to++ = '\0';
    *to = '\0';
    return to > text;
}

/* Asks the compiler for the headers, and hashes all that the result depends on. */
static int make_key(struct job *job, char hex[33], mamuto_error_t *err)
{
    struct mm_hash hash = job->base;
    char path[PATH_MAX + 16];
    int status;
    mm_compiler_command(&job->compiler, NULL);
    int rc = mm_compiler_run(&job->compiler, true, &status, err);
    if (rc)
        return rc;
    if (job->compiler.n_text == MM_COMPILER_HEADERS_BYTES)
        return mm_error_set(err, MAMUTO_ECOMPILE, "%s includes too many headers: their names take more than %d bytes",
                            mm_regular_shown(job->compiler.source), MM_COMPILER_HEADERS_BYTES);
    if ((status && status != -1) || !split_rule(job->compiler.text)) {
        rc = mm_compiler_run(&job->compiler, false, &status, err); /* again, for its messages */
        return rc ? rc : mm_compiler_complain(&job->compiler, status, err);
    }
    for (const char *name = job->compiler.text; *name && !rc; name += strlen(name) + 1) {
        rc = add_file(&hash, name);
        if (rc)
            return mm_error_set(err, MAMUTO_EMODULE, "%s, which %s includes, cannot be read: %s",
                                mm_regular_shown(name), mm_regular_shown(job->compiler.source), strerror(rc));
    }
    add_arguments(&hash, job->compiler.cflags);
    add_arguments(&hash, job->compiler.libs);
    snprintf(path, sizeof path, "%s/mamuto.h", job->compiler.include[0] ? job->compiler.include + 2 : "");
    if (job->compiler.include[0])
        add_file(&hash, path); /* the compiler does not name it where that folder is one of the system's */
    mm_hash_hex(&hash, hex);
    return 0;
}

/* What the compiler is, and on what, in job->base. */
static int make_base(struct job *job, mamuto_error_t *err)
{
    static const char *const options[] = { "--version", "-v" };
    static const char *const variables[] = { "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH",
                                             "GCC_EXEC_PREFIX" }; /* they change what gcc and clang find */
    char text[4096];
    int status = 1;
    for (int i = 0; i < 2 && ((status && status != -1) || !job->compiler.n_text); i++) {
        memcpy(job->compiler.argv, (const char *[]){ job->compiler.cc, options[i], NULL }, 3 * sizeof(char *));
        int rc = mm_compiler_run(&job->compiler, false, &status, err);
        if (rc)
            return rc;
    }
    if ((status && status != -1) || !job->compiler.n_text)
        return mm_compiler_complain(&job->compiler, status, err);
    mm_hash_init(&job->base);
    snprintf(text, sizeof text, "module %d, ABI %d", KEY_FORMAT, MAMUTO_ABI);
    mm_hash_add_text(&job->base, text);
    mm_hash_add_text(&job->base, job->name);
    mm_hash_add_text(&job->base, job->compiler.cc);
    mm_hash_add_text(&job->base, job->compiler.text);
    mm_hash_add_text(&job->base, job->compiler.include);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        mm_hash_add_text(&job->base, getenv(variables[i]) ? getenv(variables[i]) : "");
    struct utsname host; /* a cache on a shared disk, and a CPU that does not tell what it is: then one for each host */
    if (mm_cpu_identity(text, sizeof text))
        snprintf(text, sizeof text, "host %s", uname(&host) ? "" : host.nodename);
    mm_hash_add_text(&job->base, text);
    return 0;
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

static int compile(struct job *job, const char *output, mamuto_error_t *err)
{
    int status;
    mm_compiler_command(&job->compiler, output);
    int rc = mm_compiler_run(&job->compiler, false, &status, err);
    if (rc)
        return rc;
    if ((status == 0 || status == -1) && mm_elf_check(output, NULL) == 0)
        return 0;
    return mm_compiler_complain(&job->compiler, status, err);
}

/* One attempt: job->file is there when it is done; it is not if a file has changed in the meantime. */
static int attempt(struct job *job, bool *done, mamuto_error_t *err)
{
    char before[33], after[33] = "", temporary[PATH_MAX];
    mamuto_error_t failed = { 0 };
    int rc = make_key(job, before, err);
    if (rc)
        return rc;
    int bytes = snprintf(job->file, sizeof job->file, "%s/%s-%s.so", job->dir, job->name, before);
    if (bytes < 0 || (size_t)bytes >= sizeof job->file)
        return mm_error_set(err, MAMUTO_ESYSTEM, "the path of the folder %s is too long", mm_regular_shown(job->dir));
    *done = true;
    if (mm_elf_check(job->file, NULL) == 0)
        return 0;
    int fd = mm_cache_temporary(job->dir, temporary, err);
    if (fd < 0)
        return fd;
    close(fd);
    rc = compile(job, temporary, &failed);
    int again = make_key(job, after, &failed);
    *done = again || strcmp(before, after) == 0;
    rc = rc ? rc : again;
    if (*done && !rc && mm_elf_check(job->file, NULL)) /* else another program was faster */
        return mm_cache_publish(job->dir, temporary, job->file + strlen(job->dir) + 1, err);
    unlink(temporary);
    return *done && rc ? mm_error_copy(err, &failed) : 0;
}

static int build_source(const char *name, const char *path, const struct mm_build *build, char *out,
                        mamuto_error_t *err)
{
    uint64_t bytes;
    int fd = mm_regular_open(path, &bytes, err);
    if (fd < 0)
        return fd;
    close(fd);
    struct job *job = mm_alloc(sizeof *job);
    if (!job)
        return mm_error_set(err, MAMUTO_ENOMEM, "there is no memory to compile %s", mm_regular_shown(path));
    strcpy(job->name, name);
    bool done = false;
    int rc = mm_compiler_init(&job->compiler, path, build, err);
    if (!rc)
        rc = mm_cache_dir(job->dir, err);
    if (!rc)
        rc = make_base(job, err);
    for (int i = 0; i < ATTEMPTS && !rc && !done; i++)
        rc = attempt(job, &done, err);
    if (!rc && !done)
        rc = mm_error_set(err, MAMUTO_ECOMPILE,
                          "%s or a header of it was changed each of the %d times that it was "
                          "compiled; leave it alone for a moment",
                          mm_regular_shown(path), ATTEMPTS);
    if (!rc)
        strcpy(out, job->file);
    mm_compiler_fini(&job->compiler);
    mm_free(job);
    return rc;
}

int mm_module_build(const char *path, const struct mm_build *build, char *out, mamuto_error_t *err)
{
    char name[MM_MAX_MODULE_NAME + 1], absolute[PATH_MAX];
    int rc = mm_module_name(name, path, err);
    if (rc)
        return rc;
    if (strcmp(strrchr(path, '.'), ".c") == 0)
        return build_source(name, path, build, out, err);
    rc = mm_elf_check(path, err);
    if (rc)
        return rc;
    if (!realpath(path, absolute))
        return mm_error_system(err, errno, "cannot find the absolute path of %s", mm_regular_shown(path));
    strcpy(out, absolute);
    return 0;
}
