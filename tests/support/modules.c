/* What the tests of module builds share; see modules.h. Each test has a folder of its own, with its own cache, which it
 * leaves as it was but for the cache: no descriptor, no temporary file of a compiler. */
#include "tests/support/modules.h"

#include <dirent.h>
#include <dlfcn.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const uid_t modules_nobody = 65534;
static char base[512], start[PATH_MAX], old_tmp[400];
static int open_before;           /* fds */
static const char *include_given; /* $MAMUTO_INCLUDE as it was */

const char *const modules_plain_flags[] = { "-O1", NULL }; /* what valgrind understands */
const char *const modules_no_libs[] = { NULL };

const char *modules_in(const char *name) /* of the last 64 results, each is its own */
{
    static char paths[64][1024];
    static int n;
    char *path = paths[n++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

static int count_files(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    if (!dir)
        return 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(dir);
    return n;
}

int modules_set_up(void **state)
{
    (void)state;
    open_before = count_files("/proc/self/fd");
    snprintf(base, sizeof base, "%s/mamuto-test-XXXXXX", old_tmp);
    if (!mkdtemp(base) || chmod(base, 0755))
        return -1;
    setenv("XDG_CACHE_HOME", modules_in("cache"), 1);
    setenv("HOME", modules_in("home"), 1);
    setenv("TMPDIR", modules_in("tmp"), 1);
    if (include_given)
        setenv("MAMUTO_INCLUDE", include_given, 1);
    return mkdir(modules_in("cache"), 0755) || mkdir(modules_in("home"), 0755) || mkdir(modules_in("tmp"), 0700) ||
           chdir(base);
}

int modules_tear_down(void **state)
{
    (void)state;
    unsetenv("CPATH");
    if (count_files("/proc/self/fd") != open_before || count_files(modules_in("tmp")))
        return -1; /* an fd, or a file of the compiler, was left */
    return chdir(start) || nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void modules_make_file(const char *name, const char *format, ...)
{
    FILE *file = fopen(modules_in(name), "we");
    assert_non_null(file);
    va_list args;
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    assert_int_equal(fclose(file), 0);
}

/* A compiler of our own: a script in the test's folder, with its name in $0's folder; its path. */
const char *modules_make_script(const char *name, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    modules_make_file(name, "#!/bin/sh\n%s\n", text);
    assert_int_equal(chmod(modules_in(name), 0755), 0);
    return modules_in(name);
}

/* gcc behind a script that notes each compilation, not the other runs, in the file "count". */
const char *modules_counting_cc(void)
{
    return modules_make_script("cc-count",
                               "case \" $* \" in *' -shared '*) echo \"$LC_ALL $*\" >> '%s';; esac\nexec gcc \"$@\"",
                               modules_in("count"));
}

const char *modules_content(const char *name)
{
    static char text[8192];
    FILE *file = fopen(modules_in(name), "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
    return text;
}

int modules_compilations(void)
{
    int n = 0;
    for (const char *p = modules_content("count"); *p; p++)
        n += *p == '\n';
    return n;
}

void modules_shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

/* Files in the cache, of any kind. */
int modules_cached_files(void) { return count_files(modules_in("cache/mamuto")); }

struct mm_build modules_build_with(const char *cc)
{
    return (struct mm_build){ .cc = cc, .cflags = modules_plain_flags, .libs = modules_no_libs };
}

/* valgrind has execs of its own ideas: of a text, and of a script whose interpreter is missing. */
bool modules_on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

/* Builds what must build; the path of the result, valid until the next call but one. */
const char *modules_built(const char *path, const struct mm_build *build)
{
    static char results[2][PATH_MAX];
    static int n;
    char *out = results[n++ % 2];
    mamuto_error_t err = { 0 };
    int rc = mm_module_build(path, build, out, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, 0);
    assert_int_equal(mm_module_check(out, NULL), 0);
    return out;
}

/* Builds what must fail with that code, and with that in the text. */
mamuto_error_t modules_refused(const char *path, const struct mm_build *build, int code, const char *text)
{
    char out[PATH_MAX] = "as it was";
    mamuto_error_t err = { 0 };
    int rc = mm_module_build(path, build, out, &err);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_int_equal(rc, code);
    assert_int_equal(err.code, code);
    assert_string_equal(out, "as it was");
    assert_int_equal(mm_module_build(path, build, out, NULL), code); /* also where nobody wants to know */
    return err;
}

/* Loads it and calls its int answer(void). */
int modules_answer_of(const char *so)
{
    void *handle = dlopen(so, RTLD_NOW | RTLD_LOCAL), *symbol;
    if (!handle)
        fail_msg("%s", dlerror());
    symbol = dlsym(handle, "answer");
    assert_non_null(symbol);
    int (*answer)(void);
    memcpy(&answer, &symbol, sizeof answer);
    int value = answer();
    dlclose(handle);
    return value;
}

/* What check() returns in a child, as another user (if we are root and uid is not 0). */
int modules_in_child(uid_t uid, int (*check)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && uid && (setegid((gid_t)uid) || seteuid(uid)))
            _exit(100);
        _exit(check());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int modules_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(old_tmp, sizeof old_tmp, "%s", tmp && tmp[0] == '/' ? tmp : "/tmp");
    const char *include = getenv("MAMUTO_INCLUDE");
    char *copy = include ? strdup(include) : NULL; /* which the tests change */
    include_given = copy;
    if (!getcwd(start, sizeof start))
        return 1;
    int rc = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    free(copy);
    return rc;
}
