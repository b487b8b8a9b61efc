/* Modules before they are loaded: the name of one, the building of a .c file, the soundness of a .so.
 *
 * A .c file is compiled into the folder of core/cache.h, as NAME-KEY.so, where KEY is a hash of all that the result
 * depends on: compiler, flags, CPU, the source and each header that the compiler itself names. So a built module is
 * never checked for its age, only looked for; and one is published only if the key is still the same after compiling.
 * No shell runs: programs are spawned with argument lists, and what they print is kept up to a limit, the rest read
 * and dropped. Nothing here loads or runs a module: ELF headers are read by pread, for a truncated file that is mapped
 * is a SIGBUS.
 *
 * Called in a child process or a thread, for it blocks; several at once, also for one module, are fine. It installs no
 * signal handler, and works where the application ignores SIGCHLD or reaps every child: then the exit status is lost,
 * and the output is the judge. */
#include "core/module.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/cache.h"
#include "core/cpus.h"
#include "core/error.h"
#include "core/hash.h"

#ifndef MM_INCLUDE_DIRS
#define MM_INCLUDE_DIRS "" /* folders that may hold mamuto.h, ':' between them */
#endif

enum { KEY_FORMAT = 1, ATTEMPTS = 3, MESSAGE_BYTES = 64 * 1024, HEADERS_BYTES = 1024 * 1024, SHOWN_BYTES = 120 };

extern char **environ;

/* The end of a long path: a sentence of 512 bytes must have room for more than a path. */
static const char *shown(const char *path)
{
    size_t bytes = strlen(path);
    return bytes > SHOWN_BYTES ? path + bytes - SHOWN_BYTES : path;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* By ASCII alone, whatever the application's locale is. */
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

int mm_module_name(char name[MM_MAX_MODULE_NAME + 1], const char *path, mamuto_error_t *err)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path, *dot = strrchr(file, '.');
    if (!dot || (strcmp(dot, ".c") && strcmp(dot, ".so")))
        return mm_error_set(err, MAMUTO_EMODULE, "\"%s\" is no module: a module is a file whose name ends in .c or .so",
                            shown(path));
    size_t bytes = (size_t)(dot - file);
    bool good = bytes > 0 && bytes <= MM_MAX_MODULE_NAME && is_letter(file[0]);
    for (size_t i = 0; i < bytes && good; i++)
        good = is_letter(file[i]) || is_digit(file[i]);
    if (!good)
        return mm_error_set(err, MAMUTO_EMODULE,
                            "\"%s\" gives no name to a module: rename the file, so that what stands before %s is an "
                            "identifier (1 to %d letters, digits and _, no digit first), as \"my_model%s\"",
                            shown(path), dot, MM_MAX_MODULE_NAME, dot);
    memcpy(name, file, bytes);
    name[bytes] = '\0';
    return 0;
}

/* ---- Shared objects ---------------------------------------------------------------------------------------------- */

/* The ELF header of the program or library that this code is in, given by the linker: what "this machine" is. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

struct elf {
    const char *path;
    int fd;
    uint64_t bytes;
    ElfW(Ehdr) head;
};

/* Opens a regular file for reading; the fd, or EMODULE. */
static int open_file(const char *path, uint64_t *bytes, mamuto_error_t *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0; /* a FIFO must not hold us */
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        rc = mm_error_set(err, MAMUTO_EMODULE, "there is no file \"%s\"", shown(path));
    else if (fd < 0 || fstat(fd, &st))
        rc = mm_error_set(err, MAMUTO_EMODULE, "%s cannot be read: %s", shown(path), strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = mm_error_set(err, MAMUTO_EMODULE, "%s is %s, not a file", shown(path),
                          S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    else
        *bytes = (uint64_t)st.st_size;
    if (rc && fd >= 0)
        close(fd);
    return rc ? rc : fd;
}

static const char *machine_name(unsigned machine, char buffer[32])
{
    static const struct {
        unsigned machine;
        const char *name;
    } known[] = { { EM_X86_64, "x86-64" },   { EM_AARCH64, "AArch64" }, { EM_386, "32-bit x86" },
                  { EM_ARM, "32-bit ARM" }, { EM_PPC64, "POWER" },     { EM_RISCV, "RISC-V" },
                  { EM_S390, "IBM Z" },     { EM_MIPS, "MIPS" } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].machine == machine)
            return known[i].name;
    snprintf(buffer, 32, "ELF machine %u", machine);
    return buffer;
}

static int truncated(const struct elf *elf, mamuto_error_t *err)
{
    return mm_error_set(err, MAMUTO_EMODULE, "%s: truncated: it has only %llu bytes, and its headers tell of more",
                        shown(elf->path), (unsigned long long)elf->bytes);
}

static int unsuited(const struct elf *elf, const char *what, mamuto_error_t *err)
{
    return mm_error_set(err, MAMUTO_EMODULE, "%s is not a shared object for this machine: %s", shown(elf->path), what);
}

static bool is_inside(const struct elf *elf, uint64_t offset, uint64_t bytes)
{
    return offset <= elf->bytes && bytes <= elf->bytes - offset;
}

static bool read_at(const struct elf *elf, uint64_t offset, void *to, size_t bytes)
{
    return is_inside(elf, offset, bytes) && pread(elf->fd, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

static int check_head(struct elf *elf, mamuto_error_t *err)
{
    const ElfW(Ehdr) *own = &__ehdr_start, *head = &elf->head;
    size_t n = elf->bytes < sizeof *head ? (size_t)elf->bytes : sizeof *head;
    if (!read_at(elf, 0, &elf->head, n))
        return mm_error_set(err, MAMUTO_EMODULE, "%s cannot be read: %s", shown(elf->path), strerror(errno));
    if (memcmp(head->e_ident, ELFMAG, n < SELFMAG ? n : SELFMAG))
        return unsuited(elf, "it is no ELF file", err);
    if (n < sizeof *head)
        return truncated(elf, err);
    if (head->e_ident[EI_DATA] != own->e_ident[EI_DATA])
        return unsuited(elf, "it has the other byte order", err);
    if (head->e_machine != own->e_machine) {
        char theirs[32], ours[32];
        return mm_error_set(err, MAMUTO_EMODULE, "%s is built for %s, this machine is %s", shown(elf->path),
                            machine_name(head->e_machine, theirs), machine_name(own->e_machine, ours));
    }
    if (head->e_ident[EI_CLASS] != own->e_ident[EI_CLASS])
        return unsuited(elf, sizeof(void *) == 8 ? "it has 32-bit pointers" : "it has 64-bit pointers", err);
    if (head->e_ident[EI_OSABI] != ELFOSABI_SYSV && head->e_ident[EI_OSABI] != ELFOSABI_GNU)
        return unsuited(elf, "it is of another operating system", err);
    if (head->e_type == ET_REL)
        return unsuited(elf, "it is an object file, to be linked with -shared", err);
    if (head->e_type != ET_DYN || head->e_phentsize != sizeof(ElfW(Phdr)))
        return unsuited(elf, head->e_type == ET_EXEC ? "it is a program" : "it is an ELF file of another kind", err);
    return 0;
}

/* Position-independent programs are ET_DYN too; a flag of their dynamic segment tells, and dlopen refuses them. */
static bool is_program(const struct elf *elf, const ElfW(Phdr) *segment)
{
    ElfW(Dyn) entry;
    for (uint64_t at = 0; at + sizeof entry <= segment->p_filesz; at += sizeof entry) {
        if (!read_at(elf, segment->p_offset + at, &entry, sizeof entry) || entry.d_tag == DT_NULL)
            return false;
        if (entry.d_tag == DT_FLAGS_1)
            return (entry.d_un.d_val & DF_1_PIE) != 0;
    }
    return false;
}

static int check_segments(const struct elf *elf, mamuto_error_t *err)
{
    bool loads = false, dynamic = false;
    for (unsigned i = 0; i < elf->head.e_phnum; i++) {
        ElfW(Phdr) segment;
        uint64_t at;
        if (__builtin_add_overflow((uint64_t)elf->head.e_phoff, i * sizeof segment, &at) ||
            !read_at(elf, at, &segment, sizeof segment))
            return truncated(elf, err);
        if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC)
            continue;
        if (!is_inside(elf, segment.p_offset, segment.p_filesz))
            return truncated(elf, err);
        if (segment.p_type == PT_DYNAMIC && is_program(elf, &segment))
            return unsuited(elf, "it is a program", err);
        loads |= segment.p_type == PT_LOAD;
        dynamic |= segment.p_type == PT_DYNAMIC;
    }
    return loads && dynamic ? 0 : unsuited(elf, "it holds nothing to load", err);
}

int mm_module_check(const char *so_path, mamuto_error_t *err)
{
    struct elf elf = { .path = so_path };
    elf.fd = open_file(so_path, &elf.bytes, err);
    if (elf.fd < 0)
        return elf.fd;
    int rc = check_head(&elf, err);
    if (!rc)
        rc = check_segments(&elf, err);
    /* Linkers write the section headers last, so a file that is cut lacks them. A stripped one may have none. */
    uint64_t n = elf.head.e_shnum ? elf.head.e_shnum : 1; /* 0: their number is in the first of them */
    if (!rc && elf.head.e_shoff && !is_inside(&elf, elf.head.e_shoff, n * elf.head.e_shentsize))
        rc = truncated(&elf, err);
    close(elf.fd);
    return rc;
}

/* ---- Running the compiler ---------------------------------------------------------------------------------------- */

/* One build. Paths are whole: the compiler's cc is what was found in PATH. */
struct job {
    char name[MM_MAX_MODULE_NAME + 1];
    char source[PATH_MAX + 2], cc[PATH_MAX], include[PATH_MAX + 2]; /* include: -I and a folder, or "" */
    char dir[PATH_MAX], file[PATH_MAX];                             /* the cache, and the built module in it */
    const char *const *cflags, *const *libs;
    const char **argv; /* of the next program, with room for each that is run */
    char **env;
    char *text; /* what the last one printed, up to HEADERS_BYTES */
    size_t n_text;
    struct mm_hash base; /* the part of the key that does not come from files */
};

/* 0 or an errno. The pipe's ends may be any fds, also 0 to 2 where the application has closed those. */
static int spawn(pid_t *pid, const struct job *job, int to, bool with_errors)
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
        rc = posix_spawn(pid, job->cc, &actions, &attr, (char *const *)job->argv, job->env);
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
static int drain(struct job *job, int fd, pid_t pid, size_t limit)
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
        size_t room = limit - job->n_text;
        ssize_t n = read(fd, room ? job->text + job->n_text : dropped, room ? room : sizeof dropped);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        if (room && n > 0)
            job->n_text += (size_t)n;
    }
    if (!ended)
        reap(pid, 0, &status);
    return status;
}

/* Runs job->argv. headers: its stdout is a list of headers, of which all is needed; else both outputs are kept. */
static int run(struct job *job, bool headers, int *status, mamuto_error_t *err)
{
    int fd[2];
    pid_t pid;
    if (pipe2(fd, O_CLOEXEC))
        return mm_error_system(err, errno, "cannot make a pipe to run %s", shown(job->cc));
    int rc = spawn(&pid, job, fd[1], !headers);
    close(fd[1]);
    job->n_text = 0;
    if (!rc)
        *status = drain(job, fd[0], pid, headers ? HEADERS_BYTES : MESSAGE_BYTES);
    close(fd[0]);
    for (size_t i = 0; i < job->n_text; i++)
        if (!job->text[i])
            job->text[i] = '?';
    job->text[job->n_text] = '\0';
    return rc ? mm_error_set(err, MAMUTO_ECOMPILE, "%s cannot be run: %s; set \"cc\" in the config to a C compiler",
                             shown(job->cc), strerror(rc)) : 0;
}

/* output: of the shared object; NULL: asks for the headers instead, without the warnings that -Werror makes errors. */
static void set_command(struct job *job, const char *output)
{
    const char **argv = job->argv;
    bool sanitized = false;
    *argv++ = job->cc;
    for (const char *const *flag = job->cflags; *flag; flag++) {
        sanitized |= strncmp(*flag, "-fsanitize=", 11) == 0;
        *argv++ = *flag;
    }
    if (output)
        *argv++ = "-shared";
    *argv++ = "-fPIC";
    if (job->include[0])
        *argv++ = job->include;
    *argv++ = output ? "-o" : "-w";
    *argv++ = output ? output : "-MM";
    *argv++ = job->source;
    for (const char *const *lib = job->libs; *lib && output; lib++)
        *argv++ = *lib;
    if (output && !sanitized) /* a sanitizer's own symbols may come from the program */
        *argv++ = "-Wl,-z,defs";
    *argv = NULL;
}

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

/* Fills err with what the compiler said, or how it ended. */
static int complain(const struct job *job, int status, mamuto_error_t *err)
{
    const char *text = first_error(job->text), *source = shown(job->source);
    if (!err || err->code)
        return MAMUTO_ECOMPILE;
    if (status != -1 && WIFSIGNALED(status))
        mm_error_set(err, MAMUTO_ECOMPILE, "%s could not be compiled: %s was killed by signal %d (%s)%s", source,
                     shown(job->cc), WTERMSIG(status), strsignal(WTERMSIG(status)),
                     WTERMSIG(status) == SIGKILL ? ", perhaps for lack of memory" : "");
    else if (!text[0] && status > 0)
        mm_error_set(err, MAMUTO_ECOMPILE, "%s could not be compiled: %s exited with status %d and no message; is it a "
                     "C compiler?", source, shown(job->cc), WEXITSTATUS(status));
    else if (!text[0])
        mm_error_set(err, MAMUTO_ECOMPILE, "%s could not be compiled: %s wrote no shared object and no message; is it "
                     "a C compiler?", source, shown(job->cc));
    else
        mm_error_set(err, MAMUTO_ECOMPILE, "%s does not compile%s:\n", source,
                     strstr(text, "mamuto.h: No such") || strstr(text, "'mamuto.h' file not found")
                         ? " (set MAMUTO_INCLUDE to the folder of mamuto.h)" : "");
    size_t used = strlen(err->text);
    if (used && err->text[used - 1] == '\n')
        quote(err->text + used, sizeof err->text - used, text);
    snprintf(err->file, sizeof err->file, "%.*s", (int)sizeof err->file - 1, job->source);
    for (size_t n; *text; text += n + (text[n] != '\0')) {
        n = strcspn(text, "\n");
        if (take_position(text, n, err))
            break;
    }
    return MAMUTO_ECOMPILE;
}

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
    set_command(job, NULL);
    int rc = run(job, true, &status, err);
    if (rc)
        return rc;
    if (job->n_text == HEADERS_BYTES)
        return mm_error_set(err, MAMUTO_ECOMPILE, "%s includes too many headers: their names take more than %d bytes",
                            shown(job->source), HEADERS_BYTES);
    if ((status && status != -1) || !split_rule(job->text)) {
        rc = run(job, false, &status, err); /* again, for its messages */
        return rc ? rc : complain(job, status, err);
    }
    for (const char *name = job->text; *name && !rc; name += strlen(name) + 1) {
        rc = add_file(&hash, name);
        if (rc)
            return mm_error_set(err, MAMUTO_EMODULE, "%s, which %s includes, cannot be read: %s", shown(name),
                                shown(job->source), strerror(rc));
    }
    add_arguments(&hash, job->cflags);
    add_arguments(&hash, job->libs);
    snprintf(path, sizeof path, "%s/mamuto.h", job->include[0] ? job->include + 2 : "");
    if (job->include[0])
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
    for (int i = 0; i < 2 && ((status && status != -1) || !job->n_text); i++) {
        memcpy(job->argv, (const char *[]){ job->cc, options[i], NULL }, 3 * sizeof *job->argv);
        int rc = run(job, false, &status, err);
        if (rc)
            return rc;
    }
    if ((status && status != -1) || !job->n_text)
        return complain(job, status, err);
    mm_hash_init(&job->base);
    snprintf(text, sizeof text, "module %d, ABI %d", KEY_FORMAT, MAMUTO_ABI);
    mm_hash_add_text(&job->base, text);
    mm_hash_add_text(&job->base, job->name);
    mm_hash_add_text(&job->base, job->cc);
    mm_hash_add_text(&job->base, job->text);
    mm_hash_add_text(&job->base, job->include);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        mm_hash_add_text(&job->base, getenv(variables[i]) ? getenv(variables[i]) : "");
    struct utsname host; /* a cache on a shared disk, and a CPU that does not tell what it is: then one for each host */
    if (mm_cpu_identity(text, sizeof text))
        snprintf(text, sizeof text, "host %s", uname(&host) ? "" : host.nodename);
    mm_hash_add_text(&job->base, text);
    return 0;
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

static int find_compiler(struct job *job, const char *cc, mamuto_error_t *err)
{
    bool is_path = strchr(cc, '/') != NULL;
    const char *path = getenv("PATH");
    path = is_path ? "" : path ? path : "/usr/local/bin:/usr/bin:/bin";
    for (;; path++) {
        size_t n = strcspn(path, ":");
        int bytes = snprintf(job->cc, sizeof job->cc, "%.*s%s%s", (int)n, path, is_path ? "" : n ? "/" : "./", cc);
        struct stat st;
        if (bytes > 0 && (size_t)bytes < sizeof job->cc && stat(job->cc, &st) == 0 && S_ISREG(st.st_mode) &&
            faccessat(AT_FDCWD, job->cc, X_OK, AT_EACCESS) == 0)
            return 0;
        path += n;
        if (!*path)
            break;
    }
    return mm_error_set(err, MAMUTO_ECOMPILE,
                        "%s cannot be compiled: there is no program \"%s\"%s; install a C compiler (gcc or clang), or "
                        "set \"cc\" in the config to the one that is there%s",
                        shown(job->source), shown(cc), is_path ? "" : " in PATH",
                        strchr(cc, ' ') ? ", and \"cflags\" to its arguments" : "");
}

/* -I and the folder of mamuto.h; "" where none is known: then the compiler says so if the module needs it. */
static void find_include(struct job *job)
{
    const char *given = getenv("MAMUTO_INCLUDE");
    char path[PATH_MAX];
    if (given && given[0]) {
        snprintf(job->include, sizeof job->include, "-I%s", given);
        return;
    }
    for (const char *dir = MM_INCLUDE_DIRS; *dir;) {
        int n = (int)strcspn(dir, ":");
        int bytes = snprintf(path, sizeof path, "%.*s/mamuto.h", n, dir);
        if (n && bytes < PATH_MAX && access(path, R_OK) == 0) {
            snprintf(job->include, sizeof job->include, "-I%.*s", n, dir);
            return;
        }
        dir += n + (dir[n] == ':');
    }
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* Everything that stays the same over the attempts. */
static int prepare(struct job *job, const char *path, const struct mm_build *build, mamuto_error_t *err)
{
    static const char *const cflags[] = { "-O3", "-march=native", "-ffp-contract=off", NULL };
    static const char *const libs[] = { "-lm", NULL };
    static char locale[] = "LC_ALL=C"; /* messages that complain() understands */
    job->cflags = build && build->cflags ? build->cflags : cflags;
    job->libs = build && build->libs ? build->libs : libs;
    int bytes = snprintf(job->source, sizeof job->source, "%s%s", path[0] == '-' || path[0] == '@' ? "./" : "", path);
    if (bytes < 0 || (size_t)bytes >= sizeof job->source)
        return mm_error_set(err, MAMUTO_EMODULE, "the path of the module %s is too long", job->name);
    job->argv = mm_alloc_array(count(job->cflags) + count(job->libs) + 12, sizeof *job->argv);
    job->env = mm_alloc_array(count((const char *const *)environ) + 2, sizeof *job->env);
    job->text = mm_alloc(HEADERS_BYTES + 1);
    if (!job->argv || !job->env || !job->text)
        return mm_error_set(err, MAMUTO_ENOMEM, "there is no memory to compile %s", shown(path));
    size_t n = 0;
    for (char **variable = environ; variable && *variable; variable++)
        if (strncmp(*variable, "LC_ALL=", 7))
            job->env[n++] = *variable;
    job->env[n] = locale;
    int rc = find_compiler(job, build && build->cc ? build->cc : "cc", err);
    if (rc)
        return rc;
    find_include(job);
    rc = mm_cache_dir(job->dir, err);
    return rc ? rc : make_base(job, err);
}

static int compile(struct job *job, const char *output, mamuto_error_t *err)
{
    int status;
    set_command(job, output);
    int rc = run(job, false, &status, err);
    if (rc)
        return rc;
    return (status == 0 || status == -1) && mm_module_check(output, NULL) == 0 ? 0 : complain(job, status, err);
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
        return mm_error_set(err, MAMUTO_ESYSTEM, "the path of the folder %s is too long", shown(job->dir));
    *done = true;
    if (mm_module_check(job->file, NULL) == 0)
        return 0;
    int fd = mm_cache_temporary(job->dir, temporary, err);
    if (fd < 0)
        return fd;
    close(fd);
    rc = compile(job, temporary, &failed);
    int again = make_key(job, after, &failed);
    *done = again || strcmp(before, after) == 0;
    rc = rc ? rc : again;
    if (*done && !rc && mm_module_check(job->file, NULL)) /* else another program was faster */
        return mm_cache_publish(job->dir, temporary, job->file + strlen(job->dir) + 1, err);
    unlink(temporary);
    return *done && rc ? mm_error_copy(err, &failed) : 0;
}

static int build_source(const char *name, const char *path, const struct mm_build *build, char *out,
                        mamuto_error_t *err)
{
    uint64_t bytes;
    int fd = open_file(path, &bytes, err);
    if (fd < 0)
        return fd;
    close(fd);
    struct job *job = mm_alloc(sizeof *job);
    if (!job)
        return mm_error_set(err, MAMUTO_ENOMEM, "there is no memory to compile %s", shown(path));
    strcpy(job->name, name);
    bool done = false;
    int rc = prepare(job, path, build, err);
    for (int i = 0; i < ATTEMPTS && !rc && !done; i++)
        rc = attempt(job, &done, err);
    if (!rc && !done)
        rc = mm_error_set(err, MAMUTO_ECOMPILE, "%s or a header of it was changed each of the %d times that it was "
                          "compiled; leave it alone for a moment", shown(path), ATTEMPTS);
    if (!rc)
        strcpy(out, job->file);
    mm_free(job->argv);
    mm_free(job->env);
    mm_free(job->text);
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
    rc = mm_module_check(path, err);
    if (rc)
        return rc;
    if (!realpath(path, absolute))
        return mm_error_system(err, errno, "cannot find the absolute path of %s", shown(path));
    strcpy(out, absolute);
    return 0;
}
