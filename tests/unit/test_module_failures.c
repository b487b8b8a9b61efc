/* Modules that do not build: what each mistake is called, with the real gcc and clang, and with compilers that lie, die or
 * are none. */
#include "core/alloc.h"
#include "tests/support/modules.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- Builds that fail -------------------------------------------------------------------------------------------- */

static void module_build_of_wrong_code_names_the_line(void **state)
{
    (void)state;
    static const char *const flags[] = { "-Wall", NULL };
    modules_make_file("model.c", "static int unused;\n\nint answer(void)\n{\n    return nothing;\n}\n");
    modules_make_file("wrong.h", "\nint x = ;\n");
    modules_make_file("other.c", "#include \"wrong.h\"\n");
    modules_make_file("missing.c", "\n\n#include \"nothing.h\"\n");
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = { .cc = clang ? "clang" : "gcc", .cflags = flags };
        char expected[PATH_MAX + 64];
        snprintf(expected, sizeof expected, "%s does not compile:\n%s:5:12: error: ", modules_in("model.c"),
                 modules_in("model.c"));
        mamuto_error_t err = modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, expected);
        assert_string_equal(err.file, modules_in("model.c"));
        assert_int_equal(err.line, 5);
        err = modules_refused(modules_in("other.c"), &build, MAMUTO_ECOMPILE, "error: expected expression");
        assert_string_equal(err.file, modules_in("wrong.h"));
        assert_int_equal(err.line, 2);
        err = modules_refused(modules_in("missing.c"), &build, MAMUTO_ECOMPILE, "fatal error: ");
        assert_string_equal(err.file, modules_in("missing.c"));
        assert_int_equal(err.line, 3);
    }
    assert_int_equal(modules_cached_files(), 0);
}

static void module_build_with_an_undefined_symbol_fails_at_once(void **state)
{
    (void)state;
    static const char *const flags[] = { "-O1", "-g", NULL };
    modules_make_file("model.c", "int nothing(void);\nint answer(void)\n{\n    return nothing();\n}\n");
    for (int clang = 0; clang < 2; clang++) {
        struct mm_build build = modules_build_with(clang ? "clang" : "gcc");
        mamuto_error_t err =
            modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "undefined reference to `nothing'");
        assert_string_equal(err.file, modules_in("model.c"));
        assert_int_equal(err.line, 0);
        build.cflags = flags;
        err = modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "undefined reference to `nothing'");
        assert_string_equal(err.file, modules_in("model.c"));
        assert_int_equal(err.line, 4);
    }
    assert_int_equal(modules_cached_files(), 0);
}

static void module_build_with_a_missing_library_says_so(void **state)
{
    (void)state;
    static const char *const flags[] = { "-Wall", NULL }, *const libs[] = { "-lmamuto_nothing", NULL };
    struct mm_build build = { .cc = "gcc", .cflags = flags, .libs = libs };
    modules_make_file("model.c", "static int unused;\nint answer(void) { return 1; }\n");
    mamuto_error_t err =
        modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "cannot find -lmamuto_nothing");
    assert_null(strstr(err.text, "warning"));
}

static void module_build_without_a_compiler_says_what_was_tried(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    modules_make_file("text", "no program\n");
    modules_make_file("notes", "no script either\n");
    assert_int_equal(chmod(modules_in("notes"), 0755), 0);
    char dangling[1100], notes[1100];
    snprintf(dangling, sizeof dangling, "%s cannot be run: No such file", modules_make_script("lost", "true"));
    modules_shell("sed -i '1s,.*,#!/nowhere/sh,' lost");
    snprintf(notes, sizeof notes, "%s cannot be run: Exec format error; set \"cc\"", modules_in("notes"));
    const char *const wrong[][2] = {
        { "no-such-cc", "there is no program \"no-such-cc\" in PATH; install a C compiler (gcc or clang), or set" },
        { "/nowhere/cc", "there is no program \"/nowhere/cc\"; install" },
        { "gcc -O2", "and \"cflags\" to its arguments" },
        { "", "there is no program \"\" in PATH" },
        { modules_in(""), "there is no program" },
        { modules_in("text"), "there is no program" },
        { modules_in("notes"), notes },
        { modules_in("lost"), dangling },
    };
    size_t n = sizeof wrong / sizeof wrong[0] - (modules_on_valgrind() ? 2 : 0);
    for (size_t i = 0; i < n; i++) {
        struct mm_build build = modules_build_with(wrong[i][0]);
        modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, wrong[i][1]);
    }
    struct mm_build build = { 0 };
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    setenv("PATH", modules_in("home"), 1);
    modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "there is no program \"cc\" in PATH");
    setenv("PATH", path, 1);
}

static void module_build_by_what_is_no_compiler_says_so(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
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
        struct mm_build build = modules_build_with(modules_make_script("cc", "%s", scripts[i][0]));
        modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, scripts[i][1]);
        assert_int_equal(modules_cached_files(), 0);
    }
    signal(SIGTERM, handler);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void module_build_with_endless_messages_keeps_whole_lines(void **state)
{
    (void)state; /* 10 MB in lines of 60 bytes; a dropped rest must not stop the compiler either */
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    struct mm_build build =
        modules_build_with(modules_make_script("cc", "test \"$1\" = --version && exec gcc \"$@\"\n"
                                                     "head -c 10000000 /dev/zero | tr '\\0' x | fold -w 59 >&2\n"
                                                     "echo >&2\necho done >> finished\nexit 1"));
    mamuto_error_t err = modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "does not compile:\nxxxx");
    size_t n = strlen(err.text), first = (size_t)(strchr(err.text, '\n') - err.text) + 1;
    assert_true(n > sizeof err.text - 62);
    assert_int_equal((n - first + 1) % 60, 0);
    assert_string_equal(modules_content("finished"),
                        "done\ndone\ndone\ndone\n"); /* -MM, and -MM for its messages; twice */
}

static void module_build_with_control_characters_in_messages_hides_them(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    struct mm_build build = modules_build_with(
        modules_make_script("cc", "test \"$1\" = --version && exec gcc \"$@\"\n"
                                  "printf 'm.c:7:1: error: \\033[31mred\\t\\000\\177 \\303\\266\\n'; exit 1"));
    mamuto_error_t err =
        modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE, "m.c:7:1: error: ?[31mred??? \xc3\xb6");
    assert_int_equal(err.line, 7);
    assert_string_equal(err.file, "m.c");
    for (int i = 0; i < 2; i++) { /* one long line: no half character at its end, at either parity */
        build.cc = modules_make_script("cc",
                                       "test \"$1\" = --version && exec gcc \"$@\"\n"
                                       "printf %s; head -c 1000 /dev/zero | sed 's/\\x00/\\xc3\\xb6/g'; exit 1",
                                       i ? "xy" : "x");
        err = modules_refused(modules_in("model.c"), &build, MAMUTO_ECOMPILE,
                              i ? "compile:\nxy\xc3\xb6" : "compile:\nx\xc3\xb6");
        assert_string_equal(err.text + strlen(err.text) - 2, "\xc3\xb6");
        assert_true(strlen(err.text) > sizeof err.text - 4);
    }
}

static int build_unreadable(void)
{
    mamuto_error_t err = { 0 };
    char out[PATH_MAX];
    if (mm_module_build(modules_in("model.c"), NULL, out, &err) != MAMUTO_EMODULE)
        return 1;
    return strstr(err.text, "model.c cannot be read: Permission denied") ? 0 : 2;
}

static void module_build_of_no_file_says_so(void **state)
{
    (void)state;
    modules_refused(modules_in("nothing.c"), NULL, MAMUTO_EMODULE, "there is no file \"");
    modules_refused(modules_in("nothing.so"), NULL, MAMUTO_EMODULE, "there is no file \"");
    modules_refused(modules_in("no-name.c"), NULL, MAMUTO_EMODULE, "gives no name");
    assert_int_equal(mkdir("folder.c", 0755), 0);
    modules_refused(modules_in("folder.c"), NULL, MAMUTO_EMODULE, "folder.c is a folder, not a file");
    assert_int_equal(mkfifo("fifo.c", 0600), 0);
    modules_refused(modules_in("fifo.c"), NULL, MAMUTO_EMODULE, "fifo.c is a device or pipe, not a file");
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    assert_int_equal(chmod(modules_in("model.c"), 0), 0);
    assert_int_equal(modules_in_child(modules_nobody, build_unreadable), 0);
}

static void module_build_without_a_cache_says_so(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    modules_make_file("cache/mamuto", "in the way");
    modules_make_file("home/.cache", "in the way");
    setenv("TMPDIR", modules_in("nowhere"), 1);
    modules_refused(modules_in("model.c"), NULL, MAMUTO_ESYSTEM, "no folder for built modules");
}

static void module_build_of_a_shared_object_gives_its_absolute_path(void **state)
{
    (void)state;
    modules_make_file("model.c", "int answer(void) { return 9; }\n");
    modules_shell("gcc -shared -fPIC -o libmodel.so model.c && ln -s libmodel.so link.so");
    const char *so = modules_built("./home/../libmodel.so", NULL);
    char expected[PATH_MAX];
    assert_non_null(realpath("libmodel.so", expected));
    assert_string_equal(so, expected);
    assert_int_equal(modules_answer_of(so), 9);
    assert_string_equal(modules_built("link.so", NULL), expected);
    assert_int_equal(modules_cached_files(), 0);
}

static void module_build_keeps_the_first_error(void **state)
{
    (void)state;
    mamuto_error_t err = { .code = MAMUTO_EITEM, .text = "earlier" };
    char out[PATH_MAX];
    modules_make_file("model.c", "wrong\n");
    assert_int_equal(mm_module_build(modules_in("model.c"), NULL, out, &err), MAMUTO_ECOMPILE);
    assert_string_equal(err.text, "earlier");
    assert_string_equal(err.file, "");
}

static void module_build_without_memory_says_so(void **state)
{
    (void)state;
    struct mm_build build = modules_build_with("gcc");
    modules_make_file("model.c", "int answer(void) { return 1; }\n");
    long n = 0;
    for (int rc = MAMUTO_ENOMEM; rc;) {
        char out[PATH_MAX] = "as it was";
        mamuto_error_t err = { 0 };
        mm_alloc_fail_at(++n);
        rc = mm_module_build(modules_in("model.c"), &build, out, &err);
        mm_alloc_fail_at(0);
        if (!rc)
            break;
        assert_int_equal(rc, MAMUTO_ENOMEM);
        assert_int_equal(err.code, MAMUTO_ENOMEM);
        assert_non_null(strstr(err.text, "there is no memory to compile "));
        assert_string_equal(out, "as it was");
        assert_int_equal(modules_cached_files(), 0);
    }
    assert_true(n > 4);
    assert_int_equal(modules_cached_files(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODULES_TEST(module_build_of_wrong_code_names_the_line),
        MODULES_TEST(module_build_with_an_undefined_symbol_fails_at_once),
        MODULES_TEST(module_build_with_a_missing_library_says_so),
        MODULES_TEST(module_build_without_a_compiler_says_what_was_tried),
        MODULES_TEST(module_build_by_what_is_no_compiler_says_so),
        MODULES_TEST(module_build_with_endless_messages_keeps_whole_lines),
        MODULES_TEST(module_build_with_control_characters_in_messages_hides_them),
        MODULES_TEST(module_build_of_no_file_says_so),
        MODULES_TEST(module_build_without_a_cache_says_so),
        MODULES_TEST(module_build_of_a_shared_object_gives_its_absolute_path),
        MODULES_TEST(module_build_keeps_the_first_error),
        MODULES_TEST(module_build_without_memory_says_so),
    };
    return modules_run("module_failures", tests, sizeof tests / sizeof *tests);
}
