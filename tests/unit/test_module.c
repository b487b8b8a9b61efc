/* Modules before they are loaded, with the real gcc and clang: what is built and found again, what each mistake is
 * called, and which files are no shared object for this machine. Each test has a folder of its own, with its own cache.
 * Compilers that count, lie, die or meddle are small shell scripts. */
#include "core/alloc.h"
#include "core/module.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static const uid_t nobody = 65534;
static char base[512], start[PATH_MAX], old_tmp[400];
static int open_before;           /* fds */
static const char *include_given; /* $MAMUTO_INCLUDE as it was */

static const char *const plain_flags[] = { "-O1", NULL }; /* what valgrind understands */
static const char *const no_libs[] = { NULL };

static const char *in(const char *name) /* of the last 64 results, each is its own */
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

static int set_up(void **state)
{
    (void)state;
    open_before = count_files("/proc/self/fd");
    snprintf(base, sizeof base, "%s/mamuto-test-XXXXXX", old_tmp);
    if (!mkdtemp(base) || chmod(base, 0755))
        return -1;
    setenv("XDG_CACHE_HOME", in("cache"), 1);
    setenv("HOME", in("home"), 1);
    setenv("TMPDIR", in("tmp"), 1);
    if (include_given)
        setenv("MAMUTO_INCLUDE", include_given, 1);
    return mkdir(in("cache"), 0755) || mkdir(in("home"), 0755) || mkdir(in("tmp"), 0700) || chdir(base);
}

static int tear_down(void **state)
{
    (void)state;
    unsetenv("CPATH");
    if (count_files("/proc/self/fd") != open_before || count_files(in("tmp")))
        return -1; /* an fd, or a file of the compiler, was left */
    return chdir(start) || nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((format(printf, 2, 3))) static void make_file(const char *name, const char *format, ...)
{
    FILE *file = fopen(in(name), "we");
    assert_non_null(file);
    va_list args;
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    assert_int_equal(fclose(file), 0);
}

/* A compiler of our own: a script in the test's folder, with its name in $0's folder; its path. */
__attribute__((format(printf, 2, 3))) static const char *make_script(const char *name, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    make_file(name, "#!/bin/sh\n%s\n", text);
    assert_int_equal(chmod(in(name), 0755), 0);
    return in(name);
}

/* gcc behind a script that notes each compilation, not the other runs, in the file "count". */
static const char *counting_cc(void)
{
    return make_script(
        "cc-count", "case \" $* \" in *' -shared '*) echo \"$LC_ALL $*\" >> '%s';; esac\nexec gcc \"$@\"", in("count"));
}

static const char *content(const char *name)
{
    static char text[8192];
    FILE *file = fopen(in(name), "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
    return text;
}

static int compilations(void)
{
    int n = 0;
    for (const char *p = content("count"); *p; p++)
        n += *p == '\n';
    return n;
}

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

/* Files in the cache, of any kind. */
static int cached_files(void) { return count_files(in("cache/mamuto")); }

static struct mm_build build_with(const char *cc)
{
    return (struct mm_build){ .cc = cc, .cflags = plain_flags, .libs = no_libs };
}

/* valgrind has execs of its own ideas: of a text, and of a script whose interpreter is missing. */
static bool on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

/* Builds what must build; the path of the result, valid until the next call but one. */
static const char *built(const char *path, const struct mm_build *build)
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
static mamuto_error_t refused(const char *path, const struct mm_build *build, int code, const char *text)
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
static int answer_of(const char *so)
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
static int in_child(uid_t uid, int (*check)(void))
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

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static void module_name_of_good_paths_is_the_stem(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        { "model.c", "model" },
        { "/a/b.c/model_2.so", "model_2" },
        { "../libmodel.so", "libmodel" },
        { "_.c", "_" },
        { "X9.c", "X9" },
        { "-d/a.c", "a" },
        { "a23456789_123456789_123456789_123456789_123456789_123456789_123.c",
          "a23456789_123456789_123456789_123456789_123456789_123456789_123" },
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char name[MM_MAX_MODULE_NAME + 1];
        assert_int_equal(mm_module_name(name, good[i][0], NULL), 0);
        assert_string_equal(name, good[i][1]);
    }
}

static void module_name_of_bad_paths_says_what_would_be_right(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "my-model.c", "\"my-model.c\" gives no name to a module: rename the file" },
        { "dir/2x.so", "an identifier (1 to 63 letters, digits and _, no digit first), as \"my_model.so\"" },
        { ".c", "gives no name" },
        { "dir/.so", "gives no name" },
        { "a b.c", "gives no name" },
        { "m\xc3\xb6.c", "gives no name" },
        { "a.b.c", "gives no name" },
        { "a23456789_123456789_123456789_123456789_123456789_123456789_1234.c", "gives no name" },
        { "model", "\"model\" is no module: a module is a file whose name ends in .c or .so" },
        { "model.cpp", "ends in .c or .so" },
        { "libm.so.6", "ends in .c or .so" },
        { "model.C", "ends in .c or .so" },
        { "x.c/model", "ends in .c or .so" },
        { "model.c/", "ends in .c or .so" },
        { "", "\"\" is no module" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char name[MM_MAX_MODULE_NAME + 1] = "as it was";
        mamuto_error_t err = { 0 };
        assert_int_equal(mm_module_name(name, bad[i][0], &err), MAMUTO_EMODULE);
        if (!strstr(err.text, bad[i][1]))
            fail_msg("\"%s\" is not in \"%s\"", bad[i][1], err.text);
        assert_string_equal(name, "as it was");
    }
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

static const char functions[] = "#include <mamuto.h>\n"
                                "MAMUTO_FUNCTION(twice, \"f8 -> f8\") { MAMUTO_OUT(double) = 2 * MAMUTO_IN(double, 0); "
                                "return 0; }\n"
                                "int answer(void) { return 42; }\n";

static void module_build_with_each_compiler_can_be_loaded(void **state)
{
    (void)state;
    static const char *const compilers[] = { "cc", "gcc", "clang" };
    make_file("model.c", "%s", functions);
    for (size_t i = 0; i < sizeof compilers / sizeof compilers[0]; i++) {
        struct mm_build build = build_with(compilers[i]);
        const char *so = built(in("model.c"), &build), *name = strrchr(so, '/') + 1;
        assert_memory_equal(so, in("cache/mamuto/model-"), strlen(in("cache/mamuto/model-")));
        assert_int_equal(strspn(name + 6, "0123456789abcdef"), 32);
        assert_string_equal(name + 38, ".so");
        assert_int_equal(answer_of(so), 42);
        void *handle = dlopen(so, RTLD_NOW | RTLD_LOCAL);
        const mamuto_module_t *module = dlsym(handle, "mamuto_module");
        assert_non_null(module);
        assert_int_equal(module->abi, MAMUTO_ABI);
        assert_int_equal(module->end - module->begin, 1);
        assert_string_equal(module->begin[0]->name, "twice");
        dlclose(handle);
        assert_int_equal(cached_files(), i + 1); /* a key for each compiler, and no temporary file left */
    }
}

static void module_build_by_default_uses_the_documented_flags(void **state)
{
    (void)state;
    make_file("model.c", "%s", functions);
    struct mm_build build = { .cc = counting_cc() };
    built(in("model.c"), NULL);
    built(in("model.c"), &build);
    assert_non_null(strstr(content("count"), " -O3 -march=native -ffp-contract=off -shared -fPIC -I"));
    assert_non_null(strstr(content("count"), "model.c -lm -Wl,-z,defs\n"));
}

static void module_build_of_what_computes_something_else_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *code, *text;
    } cases[] = {
        { "double answer(void) { return strtod(\"3.5\", 0); }\n", "strtod" },
        { "int answer(int x) { x++; }\n", "return" },
        { "char *answer(void) { return 42; }\n", "42" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < 2; j++) {
            struct mm_build build = { .cc = j ? "clang" : "gcc" };
            mamuto_error_t err = { 0 };
            char out[PATH_MAX];
            make_file("model.c", "%s", cases[i].code);
            assert_int_equal(mm_module_build(in("model.c"), &build, out, &err), MAMUTO_ECOMPILE);
            assert_int_equal(err.line, 1);
            assert_true(strstr(err.text, cases[i].text) || strstr(err.text, "Werror"));
        }
}

static void module_build_with_a_sanitizer_allows_undefined_symbols(void **state)
{
    (void)state; /* clang links no sanitizer into a shared object: the program has it */
    static const char *const flags[] = { "-fsanitize=address", NULL };
    struct mm_build build = { .cc = "clang", .cflags = flags };
    make_file("model.c", "int answer(int *p) { return *p; }\n");
    built(in("model.c"), &build);
}

static void module_build_with_linker_flags_and_werror_works(void **state)
{
    (void)state; /* clang warns of the linker's flags where it only lists headers */
    static const char *const flags[] = { "-Wall", "-Werror", "-Wl,-O1", "-L.", NULL };
    struct mm_build build = { .cc = "clang", .cflags = flags };
    make_file("model.c", "%s", functions);
    assert_int_equal(answer_of(built(in("model.c"), &build)), 42);
    build.cc = "gcc";
    assert_int_equal(answer_of(built(in("model.c"), &build)), 42);
}

static void module_build_twice_compiles_once(void **state)
{
    (void)state;
    struct mm_build build = build_with(counting_cc());
    make_file("model.c", "%s", functions);
    char first[PATH_MAX];
    strcpy(first, built(in("model.c"), &build));
    assert_int_equal(compilations(), 1);
    assert_string_equal(built(in("model.c"), &build), first);
    assert_int_equal(compilations(), 1);
}

/* Each of these changes makes another file; undone, the old one is found again. */
static void module_build_after_a_change_compiles_again(void **state)
{
    (void)state;
    static const char *const other_flags[] = { "-O1", "-DX", NULL }, *const other_libs[] = { "-lm", NULL };
    struct mm_build build = build_with(counting_cc());
    make_file("model.h", "enum { A = 1 };\n");
    make_file("model.c", "#include \"model.h\"\nint answer(void) { return A; }\n");
    char first[PATH_MAX];
    strcpy(first, built(in("model.c"), &build));
    assert_int_equal(answer_of(first), 1);
    make_file("model.h", "enum { A = 2 };\n");
    assert_int_equal(answer_of(built(in("model.c"), &build)), 2);
    make_file("model.h", "enum { A = 1 };\n");
    assert_string_equal(built(in("model.c"), &build), first);
    assert_int_equal(compilations(), 2);
    build.cflags = other_flags;
    assert_string_not_equal(built(in("model.c"), &build), first);
    build.cflags = plain_flags;
    build.libs = other_libs;
    assert_string_not_equal(built(in("model.c"), &build), first);
    build.libs = no_libs;
    setenv("CPATH", in("tmp"), 1);
    assert_string_not_equal(built(in("model.c"), &build), first);
    unsetenv("CPATH");
    shell("cp cc-count cc-other");
    build.cc = in("cc-other");
    assert_string_not_equal(built(in("model.c"), &build), first);
    assert_int_equal(compilations(), 6);
    build.cc = in("cc-count");
    assert_string_equal(built(in("model.c"), &build), first);
    assert_int_equal(compilations(), 6);
}

static void module_build_with_another_compiler_version_compiles_again(void **state)
{
    (void)state;
    struct mm_build build =
        build_with(make_script("cc", "test \"$1\" = --version && exec cat version; exec gcc \"$@\""));
    make_file("model.c", "int answer(void) { return 1; }\n");
    make_file("version", "a compiler 1.0\n");
    char first[PATH_MAX];
    strcpy(first, built(in("model.c"), &build));
    make_file("version", "a compiler 1.1\n");
    assert_string_not_equal(built(in("model.c"), &build), first);
}

static void module_build_with_a_compiler_that_knows_only_v_works(void **state)
{
    (void)state;
    struct mm_build build = build_with(make_script("cc", "test \"$1\" = --version && exit 1; exec gcc \"$@\""));
    make_file("model.c", "int answer(void) { return 7; }\n");
    assert_int_equal(answer_of(built(in("model.c"), &build)), 7);
}

static void module_build_after_a_static_library_changed_links_again(void **state)
{
    (void)state;
    const char *const libs[] = { in("libhelp.a"), NULL };
    struct mm_build build = { .cc = "gcc", .cflags = plain_flags, .libs = libs };
    make_file("model.c", "int help(void);\nint answer(void) { return help(); }\n");
    for (int i = 1; i <= 2; i++) {
        make_file("help.c", "int help(void) { return %d; }\n", i);
        shell("gcc -fPIC -c help.c && ar rc libhelp.a help.o");
        assert_int_equal(answer_of(built(in("model.c"), &build)), i);
    }
}

static void module_build_of_a_relative_path_works(void **state)
{
    (void)state;
    struct mm_build build = build_with("gcc");
    assert_int_equal(mkdir("-d", 0755) || mkdir("@d", 0755), 0);
    make_file("-d/model.c", "int answer(void) { return 1; }\n");
    make_file("@d/model.c", "int answer(void) { return 2; }\n");
    make_file("model.c", "int answer(void) { return 3; }\n");
    assert_int_equal(answer_of(built("-d/model.c", &build)), 1);
    assert_int_equal(answer_of(built("@d/model.c", &build)), 2);
    assert_int_equal(answer_of(built("model.c", &build)), 3);
}

static void module_build_with_odd_header_names_sees_their_changes(void **state)
{
    (void)state; /* gcc's escapes in make rules; clang turns a backslash into a slash, so it gets the others */
    static const char *const names[] = { "b c.h",  "  two.h", "$x$$.h",   "#h#.h",    "a:b.h",
                                         "\\ x.h", "a\\b.h",  "end\\#.h", "a\\\\ b.h" };
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = build_with(clang ? "clang" : "gcc");
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (clang && strchr(names[i], '\\'))
                continue;
            make_file("model.c", "#include \"%s\"\n#include \"other.h\"\nint answer(void) { return A + B; }\n",
                      names[i]);
            make_file("other.h", "#define B 10\n");
            make_file(names[i], "#define A 1\n");
            assert_int_equal(answer_of(built(in("model.c"), &build)), 11);
            make_file(names[i], "#define A 2\n");
            assert_int_equal(answer_of(built(in("model.c"), &build)), 12);
            make_file("other.h", "#define B 20\n");
            assert_int_equal(answer_of(built(in("model.c"), &build)), 22);
        }
    }
}

static void module_build_with_many_headers_sees_the_last(void **state)
{
    (void)state; /* the list is longer than what is kept of a message, and has many continued lines */
    struct mm_build build = build_with("gcc");
    FILE *file = fopen(in("model.c"), "we");
    char name[200];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "a_header_with_a_long_name_so_that_the_list_is_long_as_well_%0100d.h", i);
        make_file(name, "enum { A%d = %d };\n", i, i);
        fprintf(file, "#include \"%s\"\n", name);
    }
    fprintf(file, "int answer(void) { return A999; }\n");
    assert_int_equal(fclose(file), 0);
    assert_int_equal(answer_of(built(in("model.c"), &build)), 999);
    make_file(name, "enum { A999 = 5 };\n");
    assert_int_equal(answer_of(built(in("model.c"), &build)), 5);
}

static void module_build_without_the_variable_knows_the_header(void **state)
{
    (void)state;
    struct mm_build build = build_with("gcc");
    unsetenv("MAMUTO_INCLUDE");
    make_file("model.c", "%s", functions);
    assert_int_equal(answer_of(built(in("model.c"), &build)), 42);
    make_file("model.c", "#include \"mamuto.h\"\nint answer(void) { return MAMUTO_ABI; }\n");
    assert_int_equal(answer_of(built(in("model.c"), &build)), MAMUTO_ABI);
}

static void module_build_takes_the_header_of_the_variable(void **state)
{
    (void)state;
    struct mm_build build = build_with("gcc");
    make_file("model.c", "#include <mamuto.h>\nint answer(void) { return OURS; }\n");
    make_file("home/mamuto.h", "#define OURS 77\n");
    setenv("MAMUTO_INCLUDE", in("home"), 1);
    assert_int_equal(answer_of(built(in("model.c"), &build)), 77);
    make_file("home/mamuto.h", "#define OURS 78\n");
    assert_int_equal(answer_of(built(in("model.c"), &build)), 78);
}

static void module_build_without_the_header_says_what_to_set(void **state)
{
    (void)state;
    static const char *const flags[] = { "-nostdinc", NULL };
    make_file("model.c", "%s", functions);
    setenv("MAMUTO_INCLUDE", in("home"), 1);
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = { .cc = clang ? "clang" : "gcc", .cflags = flags };
        mamuto_error_t err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, "(set MAMUTO_INCLUDE to the folder of");
        assert_int_equal(err.line, 1);
    }
}

static void module_build_of_a_cut_cached_file_compiles_again(void **state)
{
    (void)state;
    struct mm_build build = build_with(counting_cc());
    make_file("model.c", "int answer(void) { return 5; }\n");
    const char *so = built(in("model.c"), &build);
    struct stat st;
    assert_int_equal(stat(so, &st), 0);
    const off_t lengths[] = { 0, 3, 64, st.st_size / 2, st.st_size - 1 };
    for (int i = 0; i < 5; i++) {
        assert_int_equal(truncate(so, lengths[i]), 0);
        assert_string_equal(built(in("model.c"), &build), so);
        assert_int_equal(compilations(), i + 2);
        assert_int_equal(answer_of(so), 5);
    }
    assert_int_equal(cached_files(), 1);
}

static void module_build_of_a_file_that_changes_once_has_its_last_form(void **state)
{
    (void)state; /* the header is changed between our look at it and the end of the compilation */
    struct mm_build build = build_with(
        make_script("cc", "gcc \"$@\" || exit 1\n"
                          "case \" $* \" in *' -shared '*) echo x >> count; echo '#define A 2' > model.h;; esac"));
    make_file("model.h", "#define A 1\n");
    make_file("model.c", "#include \"model.h\"\nint answer(void) { return A; }\n");
    assert_int_equal(answer_of(built(in("model.c"), &build)), 2);
    assert_int_equal(compilations(), 2);
    assert_int_equal(cached_files(), 1);
}

static void module_build_of_a_file_that_always_changes_gives_up(void **state)
{
    (void)state;
    struct mm_build build = build_with(make_script(
        "cc", "gcc \"$@\" || exit 1\ncase \" $* \" in *' -shared '*) echo x >> count; echo >> model.h;; esac"));
    make_file("model.h", "#define A 1\n");
    make_file("model.c", "#include \"model.h\"\nint answer(void) { return A; }\n");
    refused(in("model.c"), &build, MAMUTO_ECOMPILE, "was changed each of the 3 times");
    assert_int_equal(compilations(), 6); /* refused() builds twice */
    assert_int_equal(cached_files(), 0);
}

static int build_here(void)
{
    char out[PATH_MAX];
    struct mm_build build = build_with("gcc");
    return mm_module_build(in("model.c"), &build, out, NULL) ? 1 : answer_of(out);
}

static void module_build_by_eight_programs_at_once_works_for_each(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 42; }\n");
    pid_t children[8];
    fflush(NULL);
    for (int i = 0; i < 8; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(build_here());
    }
    for (int i = 0; i < 8; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
    }
    assert_int_equal(cached_files(), 1);
}

static int build_without_children(void)
{
    mamuto_error_t err = { 0 };
    char out[PATH_MAX];
    struct mm_build build = build_with("gcc");
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps, and waitpid knows nothing */
    if (build_here() != 42)
        return 1;
    if (mm_module_build(in("bad.c"), &build, out, &err) != MAMUTO_ECOMPILE)
        return 2;
    return err.line == 1 && strstr(err.text, "error: ") ? 0 : 3;
}

static void module_build_where_children_are_reaped_by_others_works(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 42; }\n");
    make_file("bad.c", "int answer(void) { return nothing; }\n");
    assert_int_equal(in_child(0, build_without_children), 0);
}

static int build_without_stdio(void)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    return build_here() == 42 ? 0 : 1;
}

static void module_build_with_closed_stdio_works(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 42; }\n");
    assert_int_equal(in_child(0, build_without_stdio), 0);
}

static void module_build_by_a_compiler_that_leaves_a_program_behind_ends(void **state)
{
    (void)state; /* what it left has our pipe open, until this test lets it go */
    assert_int_equal(mkfifo("wait", 0600), 0);
    struct mm_build build =
        build_with(make_script("cc", "case \" $* \" in *' -shared '*) (read line < wait) & esac; exec gcc \"$@\""));
    make_file("model.c", "int answer(void) { return 42; }\n");
    alarm(120); /* the end of a test that would wait for ever */
    assert_int_equal(answer_of(built(in("model.c"), &build)), 42);
    alarm(0);
    int fd = open("wait", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
}

/* ---- Builds that fail -------------------------------------------------------------------------------------------- */

static void module_build_of_wrong_code_names_the_line(void **state)
{
    (void)state;
    static const char *const flags[] = { "-Wall", NULL };
    make_file("model.c", "static int unused;\n\nint answer(void)\n{\n    return nothing;\n}\n");
    make_file("wrong.h", "\nint x = ;\n");
    make_file("other.c", "#include \"wrong.h\"\n");
    make_file("missing.c", "\n\n#include \"nothing.h\"\n");
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = { .cc = clang ? "clang" : "gcc", .cflags = flags };
        char expected[PATH_MAX + 64];
        snprintf(expected, sizeof expected, "%s does not compile:\n%s:5:12: error: ", in("model.c"), in("model.c"));
        mamuto_error_t err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, expected);
        assert_string_equal(err.file, in("model.c"));
        assert_int_equal(err.line, 5);
        err = refused(in("other.c"), &build, MAMUTO_ECOMPILE, "error: expected expression");
        assert_string_equal(err.file, in("wrong.h"));
        assert_int_equal(err.line, 2);
        err = refused(in("missing.c"), &build, MAMUTO_ECOMPILE, "fatal error: ");
        assert_string_equal(err.file, in("missing.c"));
        assert_int_equal(err.line, 3);
    }
    assert_int_equal(cached_files(), 0);
}

static void module_build_with_an_undefined_symbol_fails_at_once(void **state)
{
    (void)state;
    static const char *const flags[] = { "-O1", "-g", NULL };
    make_file("model.c", "int nothing(void);\nint answer(void)\n{\n    return nothing();\n}\n");
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = build_with(clang ? "clang" : "gcc");
        mamuto_error_t err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, "undefined reference to `nothing'");
        assert_string_equal(err.file, in("model.c"));
        assert_int_equal(err.line, 0);
        build.cflags = flags;
        err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, "undefined reference to `nothing'");
        assert_string_equal(err.file, in("model.c"));
        assert_int_equal(err.line, 4);
    }
    assert_int_equal(cached_files(), 0);
}

static void module_build_with_a_missing_library_says_so(void **state)
{
    (void)state;
    static const char *const flags[] = { "-Wall", NULL }, *const libs[] = { "-lmamuto_nothing", NULL };
    struct mm_build build = { .cc = "gcc", .cflags = flags, .libs = libs };
    make_file("model.c", "static int unused;\nint answer(void) { return 1; }\n");
    mamuto_error_t err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, "cannot find -lmamuto_nothing");
    assert_null(strstr(err.text, "warning"));
}

static void module_build_without_a_compiler_says_what_was_tried(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 1; }\n");
    make_file("text", "no program\n");
    make_file("notes", "no script either\n");
    assert_int_equal(chmod(in("notes"), 0755), 0);
    char dangling[1100], notes[1100];
    snprintf(dangling, sizeof dangling, "%s cannot be run: No such file", make_script("lost", "true"));
    shell("sed -i '1s,.*,#!/nowhere/sh,' lost");
    snprintf(notes, sizeof notes, "%s cannot be run: Exec format error; set \"cc\"", in("notes"));
    const char *const wrong[][2] = {
        { "no-such-cc", "there is no program \"no-such-cc\" in PATH; install a C compiler (gcc or clang), or set" },
        { "/nowhere/cc", "there is no program \"/nowhere/cc\"; install" },
        { "gcc -O2", "and \"cflags\" to its arguments" },
        { "", "there is no program \"\" in PATH" },
        { base, "there is no program" },
        { in("text"), "there is no program" },
        { in("notes"), notes },
        { in("lost"), dangling },
    };
    size_t n = sizeof wrong / sizeof wrong[0] - (on_valgrind() ? 2 : 0);
    for (size_t i = 0; i < n; i++) {
        struct mm_build build = build_with(wrong[i][0]);
        refused(in("model.c"), &build, MAMUTO_ECOMPILE, wrong[i][1]);
    }
    struct mm_build build = { 0 };
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    setenv("PATH", in("home"), 1);
    refused(in("model.c"), &build, MAMUTO_ECOMPILE, "there is no program \"cc\" in PATH");
    setenv("PATH", path, 1);
}

static void module_build_by_what_is_no_compiler_says_so(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 1; }\n");
    static const char *const scripts[][2] = {
        { "true", "wrote no shared object and no message; is it a C compiler?" },
        { "exit 3", "exited with status 3 and no message; is it a C compiler?" },
        { "kill -9 $$", "was killed by signal 9 (Killed), perhaps for lack of memory" },
        { "test \"$1\" = --version || kill -15 $$; echo 1", "was killed by signal 15 (Terminated)" },
        { "case \" $* \" in *' -shared '*) kill -11 $$; esac; exec gcc \"$@\"",
          "was killed by signal 11 (Segmentation fault)" },
        { "case \" $* \" in *' -shared '*) exit; esac; exec gcc \"$@\"", "wrote no shared object and no message" },
    };
    sigset_t term, before; /* what the application does with its signals must not reach the compiler */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    void (*handler)(int) = signal(SIGTERM, SIG_IGN);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct mm_build build = build_with(make_script("cc", "%s", scripts[i][0]));
        refused(in("model.c"), &build, MAMUTO_ECOMPILE, scripts[i][1]);
        assert_int_equal(cached_files(), 0);
    }
    signal(SIGTERM, handler);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void module_build_with_endless_messages_keeps_whole_lines(void **state)
{
    (void)state; /* 10 MB in lines of 60 bytes; a dropped rest must not stop the compiler either */
    make_file("model.c", "int answer(void) { return 1; }\n");
    struct mm_build build = build_with(make_script("cc", "test \"$1\" = --version && exec gcc \"$@\"\n"
                                                         "head -c 10000000 /dev/zero | tr '\\0' x | fold -w 59 >&2\n"
                                                         "echo >&2\necho done >> finished\nexit 1"));
    mamuto_error_t err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, "does not compile:\nxxxx");
    size_t n = strlen(err.text), first = (size_t)(strchr(err.text, '\n') - err.text) + 1;
    assert_true(n > sizeof err.text - 62);
    assert_int_equal((n - first + 1) % 60, 0);
    assert_string_equal(content("finished"), "done\ndone\ndone\ndone\n"); /* -MM, and -MM for its messages; twice */
}

static void module_build_with_control_characters_in_messages_hides_them(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 1; }\n");
    struct mm_build build =
        build_with(make_script("cc", "test \"$1\" = --version && exec gcc \"$@\"\n"
                                     "printf 'm.c:7:1: error: \\033[31mred\\t\\000\\177 \\303\\266\\n'; exit 1"));
    mamuto_error_t err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, "m.c:7:1: error: ?[31mred??? \xc3\xb6");
    assert_int_equal(err.line, 7);
    assert_string_equal(err.file, "m.c");
    for (int i = 0; i < 2; i++) { /* one long line: no half character at its end, at either parity */
        build.cc = make_script("cc",
                               "test \"$1\" = --version && exec gcc \"$@\"\n"
                               "printf %s; head -c 1000 /dev/zero | sed 's/\\x00/\\xc3\\xb6/g'; exit 1",
                               i ? "xy" : "x");
        err = refused(in("model.c"), &build, MAMUTO_ECOMPILE, i ? "compile:\nxy\xc3\xb6" : "compile:\nx\xc3\xb6");
        assert_string_equal(err.text + strlen(err.text) - 2, "\xc3\xb6");
        assert_true(strlen(err.text) > sizeof err.text - 4);
    }
}

static int build_unreadable(void)
{
    mamuto_error_t err = { 0 };
    char out[PATH_MAX];
    if (mm_module_build(in("model.c"), NULL, out, &err) != MAMUTO_EMODULE)
        return 1;
    return strstr(err.text, "model.c cannot be read: Permission denied") ? 0 : 2;
}

static void module_build_of_no_file_says_so(void **state)
{
    (void)state;
    refused(in("nothing.c"), NULL, MAMUTO_EMODULE, "there is no file \"");
    refused(in("nothing.so"), NULL, MAMUTO_EMODULE, "there is no file \"");
    refused(in("no-name.c"), NULL, MAMUTO_EMODULE, "gives no name");
    assert_int_equal(mkdir("folder.c", 0755), 0);
    refused(in("folder.c"), NULL, MAMUTO_EMODULE, "folder.c is a folder, not a file");
    assert_int_equal(mkfifo("fifo.c", 0600), 0);
    refused(in("fifo.c"), NULL, MAMUTO_EMODULE, "fifo.c is a device or pipe, not a file");
    make_file("model.c", "int answer(void) { return 1; }\n");
    assert_int_equal(chmod(in("model.c"), 0), 0);
    assert_int_equal(in_child(nobody, build_unreadable), 0);
}

static void module_build_without_a_cache_says_so(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 1; }\n");
    make_file("cache/mamuto", "in the way");
    make_file("home/.cache", "in the way");
    setenv("TMPDIR", in("nowhere"), 1);
    refused(in("model.c"), NULL, MAMUTO_ESYSTEM, "no folder for built modules");
}

static void module_build_of_a_shared_object_gives_its_absolute_path(void **state)
{
    (void)state;
    make_file("model.c", "int answer(void) { return 9; }\n");
    shell("gcc -shared -fPIC -o libmodel.so model.c && ln -s libmodel.so link.so");
    const char *so = built("./home/../libmodel.so", NULL);
    char expected[PATH_MAX];
    assert_non_null(realpath("libmodel.so", expected));
    assert_string_equal(so, expected);
    assert_int_equal(answer_of(so), 9);
    assert_string_equal(built("link.so", NULL), expected);
    assert_int_equal(cached_files(), 0);
}

static void module_build_keeps_the_first_error(void **state)
{
    (void)state;
    mamuto_error_t err = { .code = MAMUTO_EITEM, .text = "earlier" };
    char out[PATH_MAX];
    make_file("model.c", "wrong\n");
    assert_int_equal(mm_module_build(in("model.c"), NULL, out, &err), MAMUTO_ECOMPILE);
    assert_string_equal(err.text, "earlier");
    assert_string_equal(err.file, "");
}

static void module_build_without_memory_says_so(void **state)
{
    (void)state;
    struct mm_build build = build_with("gcc");
    make_file("model.c", "int answer(void) { return 1; }\n");
    long n = 0;
    for (int rc = MAMUTO_ENOMEM; rc;) {
        char out[PATH_MAX] = "as it was";
        mamuto_error_t err = { 0 };
        mm_alloc_fail_at(++n);
        rc = mm_module_build(in("model.c"), &build, out, &err);
        mm_alloc_fail_at(0);
        if (!rc)
            break;
        assert_int_equal(rc, MAMUTO_ENOMEM);
        assert_int_equal(err.code, MAMUTO_ENOMEM);
        assert_non_null(strstr(err.text, "there is no memory to compile "));
        assert_string_equal(out, "as it was");
        assert_int_equal(cached_files(), 0);
    }
    assert_true(n > 4);
    assert_int_equal(cached_files(), 1);
}

/* ---- Shared objects ---------------------------------------------------------------------------------------------- */

static void assert_bad(const char *name, const char *text)
{
    mamuto_error_t err = { 0 };
    int rc = mm_module_check(in(name), &err);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_int_equal(rc, MAMUTO_EMODULE);
    assert_int_equal(mm_module_check(in(name), NULL), MAMUTO_EMODULE);
}

static void make_good(void)
{
    make_file("good.c", "int answer(void) { return 9; }\n");
    shell("gcc -shared -fPIC -o good.so good.c");
    assert_int_equal(mm_module_check(in("good.so"), NULL), 0);
}

static void module_check_of_sound_files_accepts_them(void **state)
{
    (void)state;
    make_good();
    shell("cp good.so stripped.so && strip stripped.so && clang -shared -fPIC -g -o clang.so good.c");
    assert_int_equal(mm_module_check(in("stripped.so"), NULL), 0);
    assert_int_equal(mm_module_check(in("clang.so"), NULL), 0);
    ElfW(Ehdr) head;
    int fd = open("stripped.so", O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
    assert_int_equal(ftruncate(fd, (off_t)head.e_shoff), 0);
    assert_bad("stripped.so", "stripped.so: truncated: ");
    head.e_shoff = 0; /* without section headers, as sstrip leaves it */
    head.e_shnum = head.e_shstrndx = 0;
    assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
    close(fd);
    assert_int_equal(mm_module_check(in("stripped.so"), NULL), 0);
    assert_int_equal(answer_of(in("stripped.so")), 9);
}

static void module_check_of_each_shorter_length_says_truncated(void **state)
{
    (void)state;
    make_good();
    struct stat st;
    assert_int_equal(stat("good.so", &st), 0);
    for (off_t length = st.st_size - 1; length > 0; length -= length > 4096 ? 37 : 1) {
        assert_int_equal(truncate("good.so", length), 0);
        assert_bad("good.so", "good.so: truncated: it has only ");
    }
}

static void patch(const char *name, off_t offset, const void *bytes, size_t n)
{
    shell("cp good.so %s", name);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, n, offset), n);
    close(fd);
}

static void module_check_of_another_machine_names_both(void **state)
{
    (void)state;
    make_good();
    static const struct {
        uint16_t machine;
        const char *text;
    } machines[] = { { EM_AARCH64, "other.so is built for AArch64, this machine is " },
                     { EM_X86_64, "other.so is built for x86-64, this machine is " },
                     { EM_386, "other.so is built for 32-bit x86, this machine is " },
                     { 9999, "other.so is built for ELF machine 9999, this machine is " } };
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        ElfW(Ehdr) head;
        int fd = open("good.so", O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, &head, sizeof head), sizeof head);
        close(fd);
        patch("other.so", offsetof(ElfW(Ehdr), e_machine), &machines[i].machine, sizeof machines[i].machine);
        if (head.e_machine != machines[i].machine)
            assert_bad("other.so", machines[i].text);
        else
            assert_int_equal(mm_module_check(in("other.so"), NULL), 0);
    }
}

static void module_check_of_another_kind_says_which(void **state)
{
    (void)state;
    make_good();
    unsigned char other_class = sizeof(void *) == 8 ? ELFCLASS32 : ELFCLASS64, abi = ELFOSABI_FREEBSD;
    unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2MSB : ELFDATA2LSB;
    uint16_t core = ET_CORE, none = 0;
    patch("class.so", EI_CLASS, &other_class, 1);
    assert_bad("class.so", sizeof(void *) == 8 ? "it has 32-bit pointers" : "it has 64-bit pointers");
    patch("order.so", EI_DATA, &order, 1);
    assert_bad("order.so", "it has the other byte order");
    patch("abi.so", EI_OSABI, &abi, 1);
    assert_bad("abi.so", "it is of another operating system");
    patch("core.so", offsetof(ElfW(Ehdr), e_type), &core, sizeof core);
    assert_bad("core.so", "it is an ELF file of another kind");
    patch("none.so", offsetof(ElfW(Ehdr), e_phnum), &none, sizeof none);
    assert_bad("none.so", "it holds nothing to load");
    make_file("text.so", "/* GNU ld script */\nINPUT(good.so)\n");
    assert_bad("text.so", "text.so is not a shared object for this machine: it is no ELF file");
    make_file("short.so", "E");
    assert_bad("short.so", "it is no ELF file");
    make_file("empty.so", "%s", "");
    assert_bad("empty.so", "empty.so: truncated: it has only 0 bytes");
    make_file("main.c", "int main(void) { return 0; }\n");
    shell("gcc -c -o object.so main.c && gcc -pie -fPIE -o pie.so main.c && gcc -no-pie -o program.so main.c");
    assert_bad("object.so", "it is an object file, to be linked with -shared");
    assert_bad("pie.so", "it is a program");
    assert_bad("program.so", "it is a program");
}

static int check_unreadable(void)
{
    mamuto_error_t err = { 0 };
    if (mm_module_check(in("good.so"), &err) != MAMUTO_EMODULE)
        return 1;
    return strstr(err.text, "good.so cannot be read: Permission denied") ? 0 : 2;
}

static void module_check_of_no_file_says_so(void **state)
{
    (void)state;
    make_good();
    assert_bad("nothing.so", "there is no file \"");
    assert_bad("good.so/x.so", "there is no file \"");
    assert_int_equal(mkdir("folder.so", 0755), 0);
    assert_bad("folder.so", "folder.so is a folder, not a file");
    assert_int_equal(mkfifo("fifo.so", 0600), 0);
    assert_bad("fifo.so", "fifo.so is a device or pipe, not a file");
    assert_int_equal(chmod("good.so", 0), 0);
    assert_int_equal(in_child(nobody, check_unreadable), 0);
}

/* Whatever stands in the headers: an answer, and no byte read that is not there (under ASan and valgrind). */
static void module_check_of_random_headers_gives_an_answer(void **state)
{
    (void)state;
    make_good();
    const char *given = getenv("MAMUTO_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    print_message("%s: MAMUTO_SEED=%u\n", __func__, seed);
    unsigned char good[2048], bad[2048];
    int fd = open("good.so", O_RDWR | O_CLOEXEC), refusals = 0;
    assert_int_equal(pread(fd, good, sizeof good, 0), sizeof good);
    for (int round = 0; round < 3000; round++) {
        memcpy(bad, good, sizeof good);
        for (int i = rand_r(&seed) % 4; i >= 0; i--)
            bad[16 + rand_r(&seed) % 600] = rand_r(&seed) % 2 ? 0xFF : (unsigned char)rand_r(&seed);
        assert_int_equal(pwrite(fd, bad, sizeof bad, 0), sizeof bad);
        mamuto_error_t err = { 0 };
        int rc = mm_module_check(in("good.so"), &err);
        assert_true(rc == 0 || rc == MAMUTO_EMODULE);
        assert_int_equal(err.code, rc);
        refusals += rc != 0;
    }
    close(fd);
    assert_true(refusals > 300);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(old_tmp, sizeof old_tmp, "%s", tmp && tmp[0] == '/' ? tmp : "/tmp");
    include_given = getenv("MAMUTO_INCLUDE");
    include_given = include_given ? strdup(include_given) : NULL;
    if (!getcwd(start, sizeof start))
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(module_name_of_good_paths_is_the_stem),
        TEST(module_name_of_bad_paths_says_what_would_be_right),
        TEST(module_build_with_each_compiler_can_be_loaded),
        TEST(module_build_by_default_uses_the_documented_flags),
        TEST(module_build_of_what_computes_something_else_is_refused),
        TEST(module_build_with_a_sanitizer_allows_undefined_symbols),
        TEST(module_build_with_linker_flags_and_werror_works),
        TEST(module_build_twice_compiles_once),
        TEST(module_build_after_a_change_compiles_again),
        TEST(module_build_with_another_compiler_version_compiles_again),
        TEST(module_build_with_a_compiler_that_knows_only_v_works),
        TEST(module_build_after_a_static_library_changed_links_again),
        TEST(module_build_of_a_relative_path_works),
        TEST(module_build_with_odd_header_names_sees_their_changes),
        TEST(module_build_with_many_headers_sees_the_last),
        TEST(module_build_without_the_variable_knows_the_header),
        TEST(module_build_takes_the_header_of_the_variable),
        TEST(module_build_without_the_header_says_what_to_set),
        TEST(module_build_of_a_cut_cached_file_compiles_again),
        TEST(module_build_of_a_file_that_changes_once_has_its_last_form),
        TEST(module_build_of_a_file_that_always_changes_gives_up),
        TEST(module_build_by_eight_programs_at_once_works_for_each),
        TEST(module_build_where_children_are_reaped_by_others_works),
        TEST(module_build_with_closed_stdio_works),
        TEST(module_build_by_a_compiler_that_leaves_a_program_behind_ends),
        TEST(module_build_of_wrong_code_names_the_line),
        TEST(module_build_with_an_undefined_symbol_fails_at_once),
        TEST(module_build_with_a_missing_library_says_so),
        TEST(module_build_without_a_compiler_says_what_was_tried),
        TEST(module_build_by_what_is_no_compiler_says_so),
        TEST(module_build_with_endless_messages_keeps_whole_lines),
        TEST(module_build_with_control_characters_in_messages_hides_them),
        TEST(module_build_of_no_file_says_so),
        TEST(module_build_without_a_cache_says_so),
        TEST(module_build_of_a_shared_object_gives_its_absolute_path),
        TEST(module_build_keeps_the_first_error),
        TEST(module_build_without_memory_says_so),
        TEST(module_check_of_sound_files_accepts_them),
        TEST(module_check_of_each_shorter_length_says_truncated),
        TEST(module_check_of_another_machine_names_both),
        TEST(module_check_of_another_kind_says_which),
        TEST(module_check_of_no_file_says_so),
        TEST(module_check_of_random_headers_gives_an_answer),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    free((char *)(uintptr_t)include_given);
    return rc;
}
