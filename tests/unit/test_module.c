/* Modules before they are loaded, with the real gcc and clang: what is built and found again. Compilers that count or
 * meddle are small shell scripts. */
#include "tests/support/modules.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

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
    modules_make_file("model.c", "%s", functions);
    for (size_t i = 0; i < sizeof compilers / sizeof compilers[0]; i++) {
        struct mm_build build = modules_build_with(compilers[i]);
        const char *so = modules_built(modules_in("model.c"), &build), *name = strrchr(so, '/') + 1;
        assert_memory_equal(so, modules_in("cache/mamuto/model-"), strlen(modules_in("cache/mamuto/model-")));
        assert_int_equal(strspn(name + 6, "0123456789abcdef"), 32);
        assert_string_equal(name + 38, ".so");
        assert_int_equal(modules_answer_of(so), 42);
        void *handle = dlopen(so, RTLD_NOW | RTLD_LOCAL);
        const mamuto_module_t *module = dlsym(handle, "mamuto_module");
        assert_non_null(module);
        assert_int_equal(module->abi, MAMUTO_ABI);
        assert_int_equal(module->end - module->begin, 1);
        assert_string_equal(module->begin[0]->name, "twice");
        dlclose(handle);
        assert_int_equal(modules_cached_files(), i + 1); /* a key for each compiler, and no temporary file left */
    }
}

static void module_build_by_default_uses_the_documented_flags(void **state)
{
    (void)state;
    modules_make_file("model.c", "%s", functions);
    struct mm_build build = { .cc = modules_counting_cc() };
    modules_built(modules_in("model.c"), NULL);
    modules_built(modules_in("model.c"), &build);
    assert_non_null(strstr(modules_content("count"), " -O3 -march=native -ffp-contract=off -shared -fPIC -I"));
    assert_non_null(strstr(modules_content("count"), "model.c -lm -Wl,-z,defs\n"));
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
            modules_make_file("model.c", "%s", cases[i].code);
            assert_int_equal(mm_module_build(modules_in("model.c"), &build, out, &err), MAMUTO_ECOMPILE);
            assert_int_equal(err.line, 1);
            assert_true(strstr(err.text, cases[i].text) || strstr(err.text, "Werror"));
        }
}

static void module_build_with_a_sanitizer_allows_undefined_symbols(void **state)
{
    (void)state; /* clang links no sanitizer into a shared object: the program has it */
    static const char *const flags[] = { "-fsanitize=address", NULL };
    struct mm_build build = { .cc = "clang", .cflags = flags };
    modules_make_file("model.c", "int answer(int *p) { return *p; }\n");
    modules_built(modules_in("model.c"), &build);
}

static void module_build_with_linker_flags_and_werror_works(void **state)
{
    (void)state; /* clang warns of the linker's flags where it only lists headers */
    static const char *const flags[] = { "-Wall", "-Werror", "-Wl,-O1", "-L.", NULL };
    struct mm_build build = { .cc = "clang", .cflags = flags };
    modules_make_file("model.c", "%s", functions);
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 42);
    build.cc = "gcc";
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 42);
}

static void module_build_twice_compiles_once(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with(modules_counting_cc());
    modules_make_file("model.c", "%s", functions);
    char first[PATH_MAX];
    strcpy(first, modules_built(modules_in("model.c"), &build));
    assert_int_equal(modules_compilations(), 1);
    assert_string_equal(modules_built(modules_in("model.c"), &build), first);
    assert_int_equal(modules_compilations(), 1);
}

/* Each of these changes makes another file; undone, the old one is found again. */
static void module_build_after_a_change_compiles_again(void **state)
{
    (void)state;
    static const char *const other_flags[] = { "-O1", "-DX", NULL }, *const other_libs[] = { "-lm", NULL };
    struct mm_build build = modules_build_with(modules_counting_cc());
    modules_make_file("model.h", "enum { A = 1 };\n");
    modules_make_file("model.c", "#include \"model.h\"\nint answer(void) { return A; }\n");
    char first[PATH_MAX];
    strcpy(first, modules_built(modules_in("model.c"), &build));
    assert_int_equal(modules_answer_of(first), 1);
    modules_make_file("model.h", "enum { A = 2 };\n");
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 2);
    modules_make_file("model.h", "enum { A = 1 };\n");
    assert_string_equal(modules_built(modules_in("model.c"), &build), first);
    assert_int_equal(modules_compilations(), 2);
    build.cflags = other_flags;
    assert_string_not_equal(modules_built(modules_in("model.c"), &build), first);
    build.cflags = modules_plain_flags;
    build.libs = other_libs;
    assert_string_not_equal(modules_built(modules_in("model.c"), &build), first);
    build.libs = modules_no_libs;
    setenv("CPATH", modules_in("tmp"), 1);
    assert_string_not_equal(modules_built(modules_in("model.c"), &build), first);
    unsetenv("CPATH");
    modules_shell("cp cc-count cc-other");
    build.cc = modules_in("cc-other");
    assert_string_not_equal(modules_built(modules_in("model.c"), &build), first);
    assert_int_equal(modules_compilations(), 6);
    build.cc = modules_in("cc-count");
    assert_string_equal(modules_built(modules_in("model.c"), &build), first);
    assert_int_equal(modules_compilations(), 6);
}

static void module_build_with_another_compiler_version_compiles_again(void **state)
{
    (void)state;
    struct mm_build build =
        modules_build_with(modules_make_script("cc", "test \"$1\" = --version && exec cat version; exec gcc \"$@\""));
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    modules_make_file("version", "a compiler 1.0\n");
    char first[PATH_MAX];
    strcpy(first, modules_built(modules_in("model.c"), &build));
    modules_make_file("version", "a compiler 1.1\n");
    assert_string_not_equal(modules_built(modules_in("model.c"), &build), first);
}

static void module_build_with_a_compiler_that_knows_only_v_works(void **state)
{
    (void)state;
    struct mm_build build =
        modules_build_with(modules_make_script("cc", "test \"$1\" = --version && exit 1; exec gcc \"$@\""));
    modules_make_file("model.c", "int answer(void) { return 7; }\n");
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 7);
}

static void module_build_after_a_static_library_changed_links_again(void **state)
{
    (void)state;
    const char *const libs[] = { modules_in("libhelp.a"), NULL };
    struct mm_build build = { .cc = "gcc", .cflags = modules_plain_flags, .libs = libs };
    modules_make_file("model.c", "int help(void);\nint answer(void) { return help(); }\n");
    for (int i = 1; i <= 2; i++) {
        modules_make_file("help.c", "int help(void) { return %d; }\n", i);
        modules_shell("gcc -fPIC -c help.c && ar rc libhelp.a help.o");
        assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), i);
    }
}

static void module_build_of_a_relative_path_works(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with("gcc");
    assert_int_equal(mkdir("-d", 0755) || mkdir("@d", 0755), 0);
    modules_make_file("-d/model.c", "int answer(void) { return 1; }\n");
    modules_make_file("@d/model.c", "int answer(void) { return 2; }\n");
    modules_make_file("model.c", "int answer(void) { return 3; }\n");
    assert_int_equal(modules_answer_of(modules_built("-d/model.c", &build)), 1);
    assert_int_equal(modules_answer_of(modules_built("@d/model.c", &build)), 2);
    assert_int_equal(modules_answer_of(modules_built("model.c", &build)), 3);
}

static void module_build_with_odd_header_names_sees_their_changes(void **state)
{
    (void)state; /* gcc's escapes in make rules; clang turns a backslash into a slash, so it gets the others */
    static const char *const names[] = { "b c.h",  "  two.h", "$x$$.h",   "#h#.h",    "a:b.h",
                                         "\\ x.h", "a\\b.h",  "end\\#.h", "a\\\\ b.h" };
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = modules_build_with(clang ? "clang" : "gcc");
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (clang && strchr(names[i], '\\'))
                continue;
            modules_make_file("model.c", "#include \"%s\"\n#include \"other.h\"\nint answer(void) { return A + B; }\n",
                              names[i]);
            modules_make_file("other.h", "#define B 10\n");
            modules_make_file(names[i], "#define A 1\n");
            assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 11);
            modules_make_file(names[i], "#define A 2\n");
            assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 12);
            modules_make_file("other.h", "#define B 20\n");
            assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 22);
        }
    }
}

static void module_build_with_many_headers_sees_the_last(void **state)
{
    (void)state; /* the list is longer than what is kept of a message, and has many continued lines */
    struct mm_build build = modules_build_with("gcc");
    FILE *file = fopen(modules_in("model.c"), "we");
    char name[200];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "a_header_with_a_long_name_so_that_the_list_is_long_as_well_%0100d.h", i);
        modules_make_file(name, "enum { A%d = %d };\n", i, i);
        fprintf(file, "#include \"%s\"\n", name);
    }
    fprintf(file, "int answer(void) { return A999; }\n");
    assert_int_equal(fclose(file), 0);
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 999);
    modules_make_file(name, "enum { A999 = 5 };\n");
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 5);
}

static void module_build_without_the_variable_knows_the_header(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with("gcc");
    unsetenv("MAMUTO_INCLUDE");
    modules_make_file("model.c", "%s", functions);
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 42);
    modules_make_file("model.c", "#include \"mamuto.h\"\nint answer(void) { return MAMUTO_ABI; }\n");
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), MAMUTO_ABI);
}

static void module_build_takes_the_header_of_the_variable(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with("gcc");
    modules_make_file("model.c", "#include <mamuto.h>\nint answer(void) { return OURS; }\n");
    modules_make_file("home/mamuto.h", "#define OURS 77\n");
    setenv("MAMUTO_INCLUDE", modules_in("home"), 1);
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 77);
    modules_make_file("home/mamuto.h", "#define OURS 78\n");
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 78);
}

static void module_build_without_the_header_says_what_to_set(void **state)
{
    (void)state;
    static const char *const flags[] = { "-nostdinc", NULL };
    modules_make_file("model.c", "%s", functions);
    setenv("MAMUTO_INCLUDE", modules_in("home"), 1);
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = { .cc = clang ? "clang" : "gcc", .cflags = flags };
        mamuto_error_t err =
            modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "(set MAMUTO_INCLUDE to the folder of");
        assert_int_equal(err.line, 1);
    }
}

static void module_build_of_a_cut_cached_file_compiles_again(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with(modules_counting_cc());
    modules_make_file("model.c", "int answer(void) { return 5; }\n");
    const char *so = modules_built(modules_in("model.c"), &build);
    struct stat st;
    assert_int_equal(stat(so, &st), 0);
    const off_t lengths[] = { 0, 3, 64, st.st_size / 2, st.st_size - 1 };
    for (int i = 0; i < 5; i++) {
        assert_int_equal(truncate(so, lengths[i]), 0);
        assert_string_equal(modules_built(modules_in("model.c"), &build), so);
        assert_int_equal(modules_compilations(), i + 2);
        assert_int_equal(modules_answer_of(so), 5);
    }
    assert_int_equal(modules_cached_files(), 1);
}

static void module_build_of_a_file_that_changes_once_has_its_last_form(void **state)
{
    (void)state; /* the header is changed between our look at it and the end of the compilation */
    struct mm_build build = modules_build_with(modules_make_script(
        "cc", "gcc \"$@\" || exit 1\n"
              "case \" $* \" in *' -shared '*) echo x >> count; echo '#define A 2' > model.h;; esac"));
    modules_make_file("model.h", "#define A 1\n");
    modules_make_file("model.c", "#include \"model.h\"\nint answer(void) { return A; }\n");
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 2);
    assert_int_equal(modules_compilations(), 2);
    assert_int_equal(modules_cached_files(), 1);
}

static void module_build_of_a_file_that_always_changes_gives_up(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with(modules_make_script(
        "cc", "gcc \"$@\" || exit 1\ncase \" $* \" in *' -shared '*) echo x >> count; echo >> model.h;; esac"));
    modules_make_file("model.h", "#define A 1\n");
    modules_make_file("model.c", "#include \"model.h\"\nint answer(void) { return A; }\n");
    modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "was changed each of the 3 times");
    assert_int_equal(modules_compilations(), 6); /* modules_refused() builds twice */
    assert_int_equal(modules_cached_files(), 0);
}

static int build_here(void)
{
    char out[PATH_MAX];
    struct mm_build build = modules_build_with("gcc");
    return mm_module_build(modules_in("model.c"), &build, out, NULL) ? 1 : modules_answer_of(out);
}

static void module_build_by_eight_programs_at_once_works_for_each(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 42; }\n");
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
    assert_int_equal(modules_cached_files(), 1);
}

static int build_without_children(void)
{
    mamuto_error_t err = { 0 };
    char out[PATH_MAX];
    struct mm_build build = modules_build_with("gcc");
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps, and waitpid knows nothing */
    if (build_here() != 42)
        return 1;
    if (mm_module_build(modules_in("bad.c"), &build, out, &err) != MAMUTO_ECOMPILE)
        return 2;
    return err.line == 1 && strstr(err.text, "error: ") ? 0 : 3;
}

static void module_build_where_children_are_reaped_by_others_works(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 42; }\n");
    modules_make_file("bad.c", "int answer(void) { return nothing; }\n");
    assert_int_equal(modules_in_child(0, build_without_children), 0);
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
    modules_make_file("model.c", "int answer(void) { return 42; }\n");
    assert_int_equal(modules_in_child(0, build_without_stdio), 0);
}

static void module_build_by_a_compiler_that_leaves_a_program_behind_ends(void **state)
{
    (void)state; /* what it left has our pipe open, until this test lets it go */
    assert_int_equal(mkfifo("wait", 0600), 0);
    struct mm_build build = modules_build_with(
        modules_make_script("cc", "case \" $* \" in *' -shared '*) (read line < wait) & esac; exec gcc \"$@\""));
    modules_make_file("model.c", "int answer(void) { return 42; }\n");
    alarm(120); /* the end of a test that would wait for ever */
    assert_int_equal(modules_answer_of(modules_built(modules_in("model.c"), &build)), 42);
    alarm(0);
    int fd = open("wait", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODULES_TEST(module_name_of_good_paths_is_the_stem),
        MODULES_TEST(module_name_of_bad_paths_says_what_would_be_right),
        MODULES_TEST(module_build_with_each_compiler_can_be_loaded),
        MODULES_TEST(module_build_by_default_uses_the_documented_flags),
        MODULES_TEST(module_build_of_what_computes_something_else_is_refused),
        MODULES_TEST(module_build_with_a_sanitizer_allows_undefined_symbols),
        MODULES_TEST(module_build_with_linker_flags_and_werror_works),
        MODULES_TEST(module_build_twice_compiles_once),
        MODULES_TEST(module_build_after_a_change_compiles_again),
        MODULES_TEST(module_build_with_another_compiler_version_compiles_again),
        MODULES_TEST(module_build_with_a_compiler_that_knows_only_v_works),
        MODULES_TEST(module_build_after_a_static_library_changed_links_again),
        MODULES_TEST(module_build_of_a_relative_path_works),
        MODULES_TEST(module_build_with_odd_header_names_sees_their_changes),
        MODULES_TEST(module_build_with_many_headers_sees_the_last),
        MODULES_TEST(module_build_without_the_variable_knows_the_header),
        MODULES_TEST(module_build_takes_the_header_of_the_variable),
        MODULES_TEST(module_build_without_the_header_says_what_to_set),
        MODULES_TEST(module_build_of_a_cut_cached_file_compiles_again),
        MODULES_TEST(module_build_of_a_file_that_changes_once_has_its_last_form),
        MODULES_TEST(module_build_of_a_file_that_always_changes_gives_up),
        MODULES_TEST(module_build_by_eight_programs_at_once_works_for_each),
        MODULES_TEST(module_build_where_children_are_reaped_by_others_works),
        MODULES_TEST(module_build_with_closed_stdio_works),
        MODULES_TEST(module_build_by_a_compiler_that_leaves_a_program_behind_ends),
    };
    return modules_run("module", tests, sizeof tests / sizeof *tests);
}
