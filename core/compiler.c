/* The compiler as a program that is run: where it is, what it is told, and what its messages mean.
 *
 * No shell runs: programs are spawned with argument lists, stdin from /dev/null, default signals and LC_ALL=C. What
 * they print is kept up to a limit, the rest read and dropped, so that nobody waits for a full pipe. It installs no
 * signal handler, and works where the application ignores SIGCHLD or reaps every child: then the exit status is lost
 * (-1), and the caller judges by the output. Called by core/module.c alone, which says what to compile. */
#include "core/compiler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/error.h"
#include "core/regular.h"

#ifndef MM_INCLUDE_DIRS
#define MM_INCLUDE_DIRS "" /* folders that may hold mamuto.h, ':' between them */
#endif

enum { N_ERRORS = 4 };

extern char **environ;

/* ---- Its command ------------------------------------------------------------------------------------------------- */

static int find(struct mm_compiler *compiler, const char *cc, mamuto_error_t *err)
{
    bool is_path = strchr(cc, '/') != NULL;
    const char *path = getenv("PATH");
    path = is_path ? "" : path ? path : "/usr/local/bin:/usr/bin:/bin";
    for (;; path++) {
        size_t n = strcspn(path, ":");
        int bytes = snprintf(compiler->cc, sizeof compiler->cc, "%.*s%s%s", (int)n, path,
                             is_path ? ""
                             : n     ? "/"
                                     : "./",
                             cc);
        struct stat st;
        if (bytes > 0 && (size_t)bytes < sizeof compiler->cc && stat(compiler->cc, &st) == 0 && S_ISREG(st.st_mode) &&
            faccessat(AT_FDCWD, compiler->cc, X_OK, AT_EACCESS) == 0)
            return 0;
        path += n;
        if (!*path)
            break;
    }
    return mm_error_set(err, MAMUTO_ECOMPILE,
                        "%s cannot be compiled: there is no program \"%s\"%s; install a C compiler (gcc or clang), or "
                        "set \"cc\" in the config to the one that is there%s",
                        mm_regular_shown(compiler->source), mm_regular_shown(cc), is_path ? "" : " in PATH",
                        strchr(cc, ' ') ? ", and \"cflags\" to its arguments" : "");
}

bool mm_compiler_header_folder(char folder[PATH_MAX])
{
    const char *given = getenv("MAMUTO_INCLUDE");
    char path[PATH_MAX];
    if (given && given[0])
        return snprintf(folder, PATH_MAX, "%s", given) < PATH_MAX;
    for (const char *dir = MM_INCLUDE_DIRS; *dir;) {
        int n = (int)strcspn(dir, ":");
        int bytes = snprintf(path, sizeof path, "%.*s/mamuto.h", n, dir);
        if (n && bytes < PATH_MAX && access(path, R_OK) == 0)
            return snprintf(folder, PATH_MAX, "%.*s", n, dir) < PATH_MAX;
        dir += n + (dir[n] == ':');
    }
    return false;
}

/* -I and the folder of mamuto.h; "" where none is known: then the compiler says so if the module needs it. */
static void find_include(struct mm_compiler *compiler)
{
    char folder[PATH_MAX];
    if (mm_compiler_header_folder(folder))
        snprintf(compiler->include, sizeof compiler->include, "-I%s", folder);
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

int mm_compiler_init(struct mm_compiler *compiler, const char *path, const struct mm_build *build, mamuto_error_t *err)
{
    static const char *const cflags[] = { "-O3", "-march=native", "-ffp-contract=off", NULL };
    static const char *const libs[] = { "-lm", NULL };
    static char locale[] = "LC_ALL=C"; /* messages that complain() understands */
    compiler->cflags = build && build->cflags ? build->cflags : cflags;
    compiler->libs = build && build->libs ? build->libs : libs;
    int bytes = snprintf(compiler->source, sizeof compiler->source, "%s%s",
                         path[0] == '-' || path[0] == '@' ? "./" : "", path); /* else it would be an option */
    if (bytes < 0 || (size_t)bytes >= sizeof compiler->source)
        return mm_error_set(err, MAMUTO_EMODULE, "the path %s is too long", mm_regular_shown(path));
    compiler->argv =
        mm_alloc_array(count(compiler->cflags) + count(compiler->libs) + N_ERRORS + 12, sizeof *compiler->argv);
    compiler->env = mm_alloc_array(count((const char *const *)environ) + 2, sizeof *compiler->env);
    compiler->text = mm_alloc(MM_COMPILER_HEADERS_BYTES + 1);
    if (!compiler->argv || !compiler->env || !compiler->text)
        return mm_error_set(err, MAMUTO_ENOMEM, "there is no memory to compile %s", mm_regular_shown(path));
    size_t n = 0;
    for (char **variable = environ; variable && *variable; variable++)
        if (strncmp(*variable, "LC_ALL=", 7))
            compiler->env[n++] = *variable;
    compiler->env[n] = locale;
    int rc = find(compiler, build && build->cc ? build->cc : "cc", err);
    if (rc)
        return rc;
    find_include(compiler);
    return 0;
}

void mm_compiler_fini(struct mm_compiler *compiler)
{
    mm_free(compiler->argv);
    mm_free(compiler->env);
    mm_free(compiler->text);
}

void mm_compiler_command(struct mm_compiler *compiler, const char *output)
{
    /* What compiles, but computes something else: an undeclared function of another type, a missing return. Before the
     * user's flags, which may take it back. */
    static const char *const errors[N_ERRORS] = { "-Werror=implicit-function-declaration", "-Werror=return-type",
                                                  "-Werror=int-conversion", "-Werror=incompatible-pointer-types" };
    const char **argv = compiler->argv;
    bool sanitized = false;
    *argv++ = compiler->cc;
    for (size_t i = 0; i < N_ERRORS; i++)
        *argv++ = errors[i];
    for (const char *const *flag = compiler->cflags; *flag; flag++) {
        sanitized |= strncmp(*flag, "-fsanitize=", 11) == 0;
        *argv++ = *flag;
    }
    if (output)
        *argv++ = "-shared";
    *argv++ = "-fPIC";
    if (compiler->include[0])
        *argv++ = compiler->include;
    *argv++ = output ? "-o" : "-w";
    *argv++ = output ? output : "-MM";
    *argv++ = compiler->source;
    for (const char *const *lib = compiler->libs; *lib && output; lib++)
        *argv++ = *lib;
    if (output && !sanitized) /* a sanitizer's own symbols may come from the program */
        *argv++ = "-Wl,-z,defs";
    *argv = NULL;
}

/* ---- Running it -------------------------------------------------------------------------------------------------- */

/* 0 or an errno. The pipe's ends may be any fds, also 0 to 2 where the application has closed those. */
static int spawn(pid_t *pid, const struct mm_compiler *compiler, int to, bool with_errors)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t signals;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attr);
    if (rc) {
        posix_spawn_file_actions_destroy(&actions);
        return rc;
    }
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attr, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attr, &signals); /* an ignored SIGCHLD would break cc itself */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn_file_actions_adddup2(&actions, to, 1);
    if (!rc)
        rc = with_errors ? posix_spawn_file_actions_adddup2(&actions, to, 2)
                         : posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!rc)
        rc = posix_spawn(pid, compiler->cc, &actions, &attr, (char *const *)compiler->argv, compiler->env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Whether it has ended. status: -1 where somebody else has taken it. */
static bool reap(pid_t pid, int flags, int *status)
{
    pid_t rc;
    do
        rc = waitpid(pid, status, flags);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        *status = -1;
    return rc != 0;
}

/* Reads all that it prints, and waits for it. The exit status, -1: lost. */
static int drain(struct mm_compiler *compiler, int fd, pid_t pid, size_t limit)
{
    int status = -1;
    bool ended = false;
    char dropped[4096];
    for (;;) {
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        int rc = poll(&readable, 1, 100);
        if (rc == 0 && ended)
            break; /* a program that it left behind holds the pipe */
        if (rc == 0)
            ended = reap(pid, WNOHANG, &status);
        if (rc <= 0)
            continue;
        size_t room = limit - compiler->n_text;
        ssize_t n = read(fd, room ? compiler->text + compiler->n_text : dropped, room ? room : sizeof dropped);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        if (room && n > 0)
            compiler->n_text += (size_t)n;
    }
    if (!ended)
        reap(pid, 0, &status);
    return status;
}

int mm_compiler_run(struct mm_compiler *compiler, bool headers, int *status, mamuto_error_t *err)
{
    int fd[2];
    pid_t pid;
    if (pipe2(fd, O_CLOEXEC))
        return mm_error_system(err, errno, "cannot make a pipe to run %s", mm_regular_shown(compiler->cc));
    int rc = spawn(&pid, compiler, fd[1], !headers);
    close(fd[1]);
    compiler->n_text = 0;
    if (!rc)
        *status = drain(compiler, fd[0], pid, headers ? MM_COMPILER_HEADERS_BYTES : MM_COMPILER_MESSAGE_BYTES);
    close(fd[0]);
    for (size_t i = 0; i < compiler->n_text; i++)
        if (!compiler->text[i])
            compiler->text[i] = '?';
    compiler->text[compiler->n_text] = '\0';
    bool scarce = rc == EAGAIN || rc == ENOMEM || rc == EMFILE || rc == ENFILE;
    return rc ? mm_error_set(err, MAMUTO_ECOMPILE, "%s cannot be run: %s%s", mm_regular_shown(compiler->cc),
                             strerror(rc), scarce ? "" : "; set \"cc\" in the config to a C compiler")
              : 0;
}

/* By ASCII alone, whatever the application's locale is. */
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* ---- What it complains about ------------------------------------------------------------------------------------- */

static bool has(const char *line, size_t bytes, const char *what) { return memmem(line, bytes, what, strlen(what)); }

/* The line of the first error: a compiler's, else a linker's, else just the first. */
static const char *first_error(const char *text)
{
    const char *linker = NULL;
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n"), colon = strcspn(line, ":\n");
        if (has(line, n, "error:") && strncmp(line, "collect2:", 9) && !has(line, n, "linker command failed"))
            return line;
        if (!linker && colon >= 2 && strncmp(line + colon - 2, "ld", 2) == 0)
            linker = line;
        line += n + (line[n] != '\0');
    }
    return linker ? linker : text;
}

/* Takes FILE:LINE: or FILE:LINE:COLUMN: off a line with an error. */
static bool take_position(const char *line, size_t bytes, mamuto_error_t *err)
{
    static const char *const marks[] = { ": error:", ": fatal error:", ": undefined reference" };
    const char *end = NULL;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0] && !end; i++)
        end = memmem(line, bytes, marks[i], strlen(marks[i]));
    long number = 0;
    for (int i = 0; i < 2 && end; i++) {
        const char *digits = end;
        while (digits > line && is_digit(digits[-1]))
            digits--;
        if (digits == end || digits - line < 2 || digits[-1] != ':')
            break;
        number = strtol(digits, NULL, 10);
        end = digits - 1;
    }
    if (number <= 0 || number > INT_MAX)
        return false;
    err->line = (int)number;
    snprintf(err->file, sizeof err->file, "%.*s", (int)(end - line), line);
    return true;
}

/* Copies as many whole lines as there is room for, or part of the first. */
static void quote(char *to, size_t size, const char *from)
{
    size_t n = 0, end = 0;
    for (; from[n] && n + 1 < size; n++) {
        unsigned char c = (unsigned char)from[n];
        to[n] = c == '\n' || (c >= ' ' && c != 127) ? from[n] : '?';
        if (c == '\n')
            end = n;
    }
    if (!from[n] || !end)
        end = n;
    while (end > 0 && (to[end - 1] == '\n' || (from[end] & 0xC0) == 0x80))
        end--; /* nor part of a character */
    to[end] = '\0';
}

int mm_compiler_complain(const struct mm_compiler *compiler, int status, mamuto_error_t *err)
{
    const char *text = first_error(compiler->text), *source = mm_regular_shown(compiler->source);
    if (!err || err->code)
        return MAMUTO_ECOMPILE;
    if (status != -1 && WIFSIGNALED(status))
        mm_error_set(err, MAMUTO_ECOMPILE, "%s could not be compiled: %s was killed by signal %d (%s)%s", source,
                     mm_regular_shown(compiler->cc), WTERMSIG(status), strsignal(WTERMSIG(status)),
                     WTERMSIG(status) == SIGKILL ? ", perhaps for lack of memory" : "");
    else if (!text[0] && status > 0)
        mm_error_set(err, MAMUTO_ECOMPILE,
                     "%s could not be compiled: %s exited with status %d and no message; is it a "
                     "C compiler?",
                     source, mm_regular_shown(compiler->cc), WEXITSTATUS(status));
    else if (!text[0])
        mm_error_set(err, MAMUTO_ECOMPILE,
                     "%s could not be compiled: %s wrote no shared object and no message; is it "
                     "a C compiler?",
                     source, mm_regular_shown(compiler->cc));
    else
        mm_error_set(err, MAMUTO_ECOMPILE, "%s does not compile%s:\n", source,
                     strstr(text, "mamuto.h: No such") || strstr(text, "'mamuto.h' file not found")
                         ? " (set MAMUTO_INCLUDE to the folder of mamuto.h)"
                         : "");
    size_t used = strlen(err->text);
    if (used && err->text[used - 1] == '\n')
        quote(err->text + used, sizeof err->text - used, text);
    snprintf(err->file, sizeof err->file, "%.*s", (int)sizeof err->file - 1, compiler->source);
    for (size_t n; *text; text += n + (text[n] != '\0')) {
        n = strcspn(text, "\n");
        if (take_position(text, n, err))
            break;
    }
    return MAMUTO_ECOMPILE;
}
