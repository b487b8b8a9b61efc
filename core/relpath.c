/* Relative paths of a config: from the config's folder.
 *
 * The readers of a config's values call it for what may be a path, of a config that is a file, so that a config means
 * the same from whatever folder a program is started in. The compiler's command line has its own rules on what is a
 * path: here is the part of them that people use. What is not recognised stays as it is, which is right for an option, and for a
 * path means: from the folder in which the compiler runs. Paths are not normalised, and not looked up. */
#include "core/relpath.h"

#include "core/alloc.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *mm_relpath_folder(const char *path)
{
    char here[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = slash ? (int)(slash - path) : 0;
    bool as_it_is = path[0] == '/' || !getcwd(here, sizeof here);
    size_t size = strlen(path) + sizeof here + 2;
    char *folder = mm_alloc(size);
    if (folder && as_it_is)
        snprintf(folder, size, "%.*s", slash ? n : 1, slash ? path : ".");
    else if (folder)
        snprintf(folder, size, "%s%s%.*s", strcmp(here, "/") != 0 ? here : "", slash ? "/" : "", n, path);
    return folder;
}

/* text with folder put in before the relative path that begins at offset. */
static char *join(const char *text, size_t offset, const char *folder)
{
    size_t size = strlen(text) + strlen(folder) + 2;
    char *joined = mm_alloc(size);
    if (joined)
        snprintf(joined, size, "%.*s%s/%s", (int)offset, text, folder, text + offset);
    return joined;
}

char *mm_relpath_path(const char *path, const char *folder)
{
    return folder && path[0] != '/' ? join(path, 0, folder) : mm_strdup(path);
}

char *mm_relpath_program(const char *program, const char *folder)
{
    bool relative = program[0] != '/' && strchr(program, '/');
    return folder && relative ? join(program, 0, folder) : mm_strdup(program);
}

/* The option that flag is, or begins with; NULL: none of them. */
static const char *option_of(const char *flag, const char *const *options)
{
    while (*options && strncmp(flag, *options, strlen(*options)) != 0)
        options++;
    return *options;
}

static bool is_one_of(const char *flag, const char *const *options)
{
    while (*options && strcmp(flag, *options) != 0)
        options++;
    return *options;
}

/* Where in flag a relative path begins; its length where there is none. */
static size_t find_path(const char *flag, const char *previous, bool is_lib)
{
    static const char *const folders[] = { "-I", "-L", "-isystem", "-iquote", "-idirafter", NULL };
    /* What follows these is no path, or one that is searched for in folders. */
    static const char *const others[] = { "-D",          "-U",       "-x",       "-u",       "-z",
                                          "-e",          "-include", "-imacros", "-Xlinker", "-Xpreprocessor",
                                          "-Xassembler", NULL };
    size_t length = strlen(flag), at = length;
    const char *option = option_of(flag, folders);
    bool is_folder = previous && is_one_of(previous, folders),
         is_file = flag[0] != '-' && (is_lib || strchr(flag, '/'));
    if (previous && is_one_of(previous, others))
        return length;
    if (is_folder || is_file)
        at = 0;
    else if (option)
        at = strlen(option);
    /* "=" stands for the sysroot, "$" for the linker's $ORIGIN, "@" for a file of arguments; "-I-" is an old option */
    return strchr("/=$@-", flag[at]) ? length : at;
}

char *mm_relpath_flag(const char *flag, const char *previous, bool is_lib, const char *folder)
{
    size_t at = find_path(flag, previous, is_lib);
    return folder && flag[at] ? join(flag, at, folder) : mm_strdup(flag);
}
