/* Bad modules, configs and helpers: each an error that says what is wrong, when it is loaded and when it is one of
 * mamuto_open; it leaves nothing behind, and a good map on the same mapper is right afterwards. */
#include "core/alloc.h"
#include "core/program.h"
#include "tests/support/e2e.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static mamuto_t *m;
static double a[64], out[64];

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("basic"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* ---- Modules ----------------------------------------------------------------------------------------------------- */

/* The module is refused when it is loaded, and when it is one of mamuto_open; both leave everything as it was. */
static void load_refused(const char *path, int code, const char *part)
{
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_load_wait(m, path, &err), &err, code, part);
    e2e_good_map(m);
    struct e2e_held before = e2e_hold();
    err = (mamuto_error_t){ 0 };
    mamuto_t *other = NULL;
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 1}}",
                                 .modules = (const char *[]){ E2E_MODULE("basic"), path, NULL } };
    e2e_is_error(mamuto_open_wait(&other, &options, &err), &err, code, part);
    assert_null(other);
    e2e_holds_as(&before);
}

static const char *source(const char *name, const char *text)
{
    const char *path = e2e_path(name);
    e2e_write(path, text, strlen(text));
    return path;
}

#define HEAD "#include <mamuto.h>\n"
#define GOOD(name_)                                                                                                    \
    HEAD "MAMUTO_FUNCTION(" name_ ", \"f8 -> f8\") { MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + 1; return 0; }\n"

/* basic.c as a shared object, made by the compiler itself; returns its size. */
static size_t shared_object(const char *name, char **bytes)
{
    char command[8192];
    snprintf(command, sizeof command, "cc -shared -fPIC -I'%s' -o '%s' '%s'", getenv("MAMUTO_INCLUDE"), e2e_path(name),
             E2E_MODULE("basic"));
    assert_int_equal(system(command), 0);
    size_t size = (size_t)e2e_size(name);
    *bytes = malloc(size);
    FILE *file = fopen(e2e_path(name), "re");
    assert_non_null(file);
    assert_int_equal(fread(*bytes, 1, size, file), size);
    fclose(file);
    return size;
}

static void module_that_is_missing_is_refused(void **state)
{
    (void)state;
    load_refused(e2e_path("missing.c"), MAMUTO_EMODULE, "there is no file");
    load_refused(e2e_path("missing.so"), MAMUTO_EMODULE, "there is no file");
    load_refused("", MAMUTO_EINVAL, "path is empty");
    load_refused(source("model.txt", GOOD("f")), MAMUTO_EMODULE, "ends in .c or .so");
    load_refused(source("two words.c", GOOD("f")), MAMUTO_EMODULE, "is an identifier");
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_load_wait(m, NULL, &err), &err, MAMUTO_EINVAL, "path is NULL");
}

static void module_that_is_truncated_is_refused(void **state)
{
    (void)state;
    char *bytes;
    size_t size = shared_object("whole.so", &bytes);
    static const int percent[] = { 0, 1, 25, 50, 75, 99 };
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++) {
        const char *path = e2e_path("cut.so");
        e2e_write(path, bytes, size * (size_t)percent[i] / 100);
        load_refused(path, MAMUTO_EMODULE, "cut.so");
    }
    e2e_write(e2e_path("cut.so"), bytes, 64 + 10);
    load_refused(e2e_path("cut.so"), MAMUTO_EMODULE, "truncated");
    free(bytes);
}

static void module_of_another_architecture_is_refused(void **state)
{
    (void)state;
    char *bytes;
    size_t size = shared_object("own.so", &bytes);
    Elf64_Ehdr head;
    memcpy(&head, bytes, sizeof head);
    head.e_machine = head.e_machine == EM_AARCH64 ? EM_X86_64 : EM_AARCH64;
    memcpy(bytes, &head, sizeof head);
    e2e_write(e2e_path("foreign.so"), bytes, size);
    load_refused(e2e_path("foreign.so"), MAMUTO_EMODULE, "foreign.so is built for ");
    free(bytes);
}

static void module_that_does_not_compile_gets_the_compilers_words(void **state)
{
    (void)state;
    const char *path = source("wrong.c", HEAD "MAMUTO_FUNCTION(f, \"f8 -> f8\")\n{\n    return nonsense;\n}\n");
    mamuto_error_t err = { 0 };
    load_refused(path, MAMUTO_ECOMPILE, "nonsense");
    e2e_is_error(mamuto_load_wait(m, path, &err), &err, MAMUTO_ECOMPILE, "wrong.c does not compile");
    assert_int_equal(err.line, 4);
    assert_non_null(strstr(err.file, "wrong.c"));
    /* mended, it loads under the same name */
    assert_int_equal(mamuto_load_wait(m, source("wrong.c", GOOD("f")), &err), MAMUTO_OK);
    e2e_good_map(m);
}

/* Compilers only warn of it, and C then takes the result for an int, or what is left in a register. */
static void module_that_compiles_to_something_else_is_refused(void **state)
{
    (void)state;
    load_refused(source("undeclared.c",
                        HEAD "MAMUTO_FUNCTION(f, \"f8 -> f8\")\n{\n"
                             "    MAMUTO_OUT(double) = cbrt(MAMUTO_IN(double, 0));\n    return 0;\n}\n"),
                 MAMUTO_ECOMPILE, "cbrt");
    load_refused(source("endless.c", HEAD "MAMUTO_FUNCTION(f, \"f8 -> f8\")\n{\n"
                                          "    MAMUTO_OUT(double) = MAMUTO_IN(double, 0);\n}\n"),
                 MAMUTO_ECOMPILE, "return-type");
    load_refused(source("pointer.c", HEAD "MAMUTO_FUNCTION(f, \"i8 -> f8\")\n{\n"
                                          "    const double *p = MAMUTO_IN(int64_t, 0);\n"
                                          "    MAMUTO_OUT(double) = *p;\n    return 0;\n}\n"),
                 MAMUTO_ECOMPILE, "int-conversion");
}

static void module_of_another_abi_is_refused(void **state)
{
    (void)state;
    load_refused(source("abi.c", "#define MAMUTO_NO_MODULE\n" HEAD "extern const mamuto_module_t mamuto_module;\n"
                                 "const mamuto_module_t mamuto_module = { MAMUTO_ABI + 41, 56, 0, 0 };\n"),
                 MAMUTO_EMODULE, "ABI 43");
}

static void module_without_functions_is_refused(void **state)
{
    (void)state;
    load_refused(source("none.c", HEAD "int none;\n"), MAMUTO_EMODULE, "has no functions");
    load_refused(source("plain.c", "int none;\n"), MAMUTO_EMODULE, "no symbol mamuto_module");
}

static void module_with_a_bad_signature_is_refused(void **state)
{
    (void)state;
    const char *path = source("sig.c", HEAD "MAMUTO_FUNCTION(good, \"f8 -> f8\") { return 0; }\n"
                                            "MAMUTO_FUNCTION(bad, \"f8[3], f9 -> f8\") { return 0; }\n");
    load_refused(path, MAMUTO_ESIGNATURE, "function bad: signature \"f8[3], f9 -> f8\", column 8");
    mamuto_error_t err = { 0 };
    mamuto_load_wait(m, path, &err);
    assert_int_equal(err.line, 3);
    assert_int_equal(mamuto_function(m, "sig.good", NULL, NULL), MAMUTO_EFUNCTION);
}

static void module_of_a_name_that_is_taken_is_refused(void **state)
{
    (void)state;
    load_refused(source("basic.c", GOOD("f")), MAMUTO_EMODULE, "the name \"basic\" is taken by");
    load_refused(E2E_MODULE("basic"), MAMUTO_EMODULE, "the name \"basic\" is taken");
}

static void functions_of_one_name_need_their_module(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    assert_int_equal(mamuto_load_wait(m, source("twin.c", GOOD("like3")), &err), 0);
    mamuto_call_t call = { .function = "like3", .args = { mamuto_scatter(a, 64) }, .result = out };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EFUNCTION,
                 "function like3 is in two modules: write basic.like3 or twin.like3");
    err.code = 0;
    call.function = "twin.like3";
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    assert_true(out[63] == a[63] + 1);
}

#define AT_LOAD(body_)                                                                                                 \
    GOOD("f")                                                                                                          \
    "#include <stdlib.h>\n#include <unistd.h>\n#include <signal.h>\n"                                                  \
    "__attribute__((constructor)) static void begin(void) { " body_ " }\n"

static void constructor_that_crashes_is_an_error_of_its_module(void **state)
{
    (void)state;
    load_refused(source("abort.c", AT_LOAD("abort();")), MAMUTO_ECRASH, "died of signal 6");
    load_refused(source("segv.c", AT_LOAD("raise(SIGSEGV);")), MAMUTO_ECRASH, "died of signal 11");
}

static void constructor_that_exits_is_an_error_of_its_module(void **state)
{
    (void)state;
    load_refused(source("exit5.c", AT_LOAD("_exit(5);")), MAMUTO_ECRASH, "exit code 5");
}

static void constructor_that_exits_with_success_is_an_error_of_its_module(void **state)
{
    (void)state;
    load_refused(source("exit0.c", AT_LOAD("_exit(0);")), MAMUTO_ECRASH, "exit code 0");
}

/* Good where the module is described, bad in the worker: an error of each map, and of no other. */
static void module_that_cannot_be_loaded_by_a_worker_fails_its_maps(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    const char *path =
        source("later.c", AT_LOAD("if (access(getenv(\"E2E_DIR\"), F_OK) == 0 && "
                                  "chdir(getenv(\"E2E_DIR\")) == 0 && access(\"later\", F_OK) == 0) abort();"));
    assert_int_equal(mamuto_load_wait(m, path, &err), 0);
    e2e_touch("later");
    mamuto_call_t call = { .function = "later.f", .args = { mamuto_scatter(a, 64) }, .result = out };
    int code = mamuto_map_wait(m, &call, &err);
    assert_true(code != 0);
    assert_int_equal(code, err.code);
    e2e_good_map(m);
}

/* There was room for 64 at a time; the others were said to have found too many processes, or no memory. */
static void hundred_modules_are_loaded_at_once(void **state)
{
    (void)state;
    enum { MODULES = 100 };
    static char paths[MODULES][4096];
    const char *modules[MODULES + 1] = { NULL };
    char *bytes;
    size_t size = shared_object("one.so", &bytes);
    for (int i = 0; i < MODULES; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%d.so", i);
        snprintf(paths[i], sizeof paths[i], "%s", e2e_path(name));
        e2e_write(paths[i], bytes, size);
        modules[i] = paths[i];
    }
    free(bytes);
    mamuto_error_t err = { 0 };
    mamuto_t *other = NULL;
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 1}}", .modules = modules };
    if (mamuto_open_wait(&other, &options, &err) != 0)
        fail_msg("%s", err.text);
    double x = 3, y = 4, z = 0;
    mamuto_call_t call = { .function = "many99.add",
                           .args = { mamuto_scatter(&x, 1), mamuto_scatter(&y, 1) },
                           .result = &z };
    assert_int_equal(mamuto_map_wait(other, &call, &err), 0);
    assert_true(z == 7);
    e2e_close(other);
}

/* Each allocation fails in turn: ENOMEM, or all is well. A function whose description had found no memory was kept
 * without a name, and the next one was compared with that. */
static void load_without_memory_says_so(void **state)
{
    (void)state;
    mamuto_t *other = e2e_open(1, NULL);
    long n = 0;
    int code;
    do {
        mamuto_error_t err = { 0 };
        mm_alloc_fail_at(++n);
        code = mamuto_load_wait(other, E2E_MODULE("basic"), &err);
        mm_alloc_fail_at(0);
        if (code)
            e2e_is_error(code, &err, MAMUTO_ENOMEM, NULL);
    } while (code && n < 1000);
    assert_int_equal(code, 0);
    assert_true(n > 20);
    e2e_good_map(other);
    e2e_close(other);
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------- */

static void open_refused(mamuto_options_t options, int code, const char *part)
{
    mamuto_error_t err = { 0 };
    mamuto_t *other = NULL;
    struct e2e_held before = e2e_hold();
    e2e_is_error(mamuto_open_wait(&other, &options, &err), &err, code, part);
    assert_null(other);
    e2e_holds_as(&before);
    e2e_good_map(m);
}

static void open_refuses_a_bad_config(void **state)
{
    (void)state;
    open_refused((mamuto_options_t){ .config = "a", .config_text = "b" }, MAMUTO_EINVAL, "both set");
    open_refused((mamuto_options_t){ .config_text = "" }, MAMUTO_ECONFIG, NULL);
    open_refused((mamuto_options_t){ .config_text = "{\"hosts\": {\"localhost\": 0}}" }, MAMUTO_ECONFIG, "localhost");
    open_refused((mamuto_options_t){ .config_text = "{\"coers\": 2}" }, MAMUTO_ECONFIG, "coers");
    open_refused((mamuto_options_t){ .config = "/nowhere/at/all.json" }, MAMUTO_ECONFIG, "/nowhere/at/all.json");
}

static void open_without_a_compiler_says_so(void **state)
{
    (void)state;
    mamuto_options_t options = { .config_text = "{\"cc\": \"no-such-compiler\"}",
                                 .modules = (const char *[]){ E2E_MODULE("basic"), NULL } };
    open_refused(options, MAMUTO_ECOMPILE, "no-such-compiler");
}

static void open_without_its_helper_says_so(void **state)
{
    (void)state;
    char agent[4096];
    snprintf(agent, sizeof agent, "%s", getenv("MAMUTO_AGENT"));
    setenv("MAMUTO_AGENT", "/nowhere/mamuto-agent", 1);
    open_refused((mamuto_options_t){ 0 }, MAMUTO_EHOST, "/nowhere/mamuto-agent");
    setenv("MAMUTO_AGENT", "/bin/false", 1); /* leaves at once */
    open_refused((mamuto_options_t){ 0 }, MAMUTO_EHOST, "died while it started");
    e2e_write(e2e_path("agent"), "", 0);
    setenv("MAMUTO_AGENT", e2e_path("agent"), 1); /* not executable */
    open_refused((mamuto_options_t){ 0 }, MAMUTO_EHOST, "cannot be run");
    setenv("MAMUTO_AGENT", agent, 1);
}

static void open_inside_a_worker_is_refused(void **state)
{
    (void)state;
    setenv(MM_WORKER_MARK, "1", 1);
    mamuto_error_t err = { 0 };
    mamuto_t *other = NULL;
    int code = mamuto_open_wait(&other, NULL, &err);
    unsetenv(MM_WORKER_MARK);
    e2e_is_error(code, &err, MAMUTO_ENESTED, "worker");
    assert_null(other);
}

static void close_of_nothing_is_an_error_or_nothing(void **state)
{
    (void)state;
    assert_int_equal(mamuto_close_wait(NULL), 0);
    assert_int_equal(mamuto_close(NULL, NULL), MAMUTO_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(module_that_is_missing_is_refused),
        cmocka_unit_test(module_that_is_truncated_is_refused),
        cmocka_unit_test(module_of_another_architecture_is_refused),
        cmocka_unit_test(module_that_does_not_compile_gets_the_compilers_words),
        cmocka_unit_test(module_that_compiles_to_something_else_is_refused),
        cmocka_unit_test(module_of_another_abi_is_refused),
        cmocka_unit_test(module_without_functions_is_refused),
        cmocka_unit_test(module_with_a_bad_signature_is_refused),
        cmocka_unit_test(module_of_a_name_that_is_taken_is_refused),
        cmocka_unit_test(functions_of_one_name_need_their_module),
        cmocka_unit_test(constructor_that_crashes_is_an_error_of_its_module),
        cmocka_unit_test(constructor_that_exits_is_an_error_of_its_module),
        cmocka_unit_test(constructor_that_exits_with_success_is_an_error_of_its_module),
        cmocka_unit_test(module_that_cannot_be_loaded_by_a_worker_fails_its_maps),
        cmocka_unit_test(hundred_modules_are_loaded_at_once),
        cmocka_unit_test(load_without_memory_says_so),
        cmocka_unit_test(open_refuses_a_bad_config),
        cmocka_unit_test(open_without_a_compiler_says_so),
        cmocka_unit_test(open_without_its_helper_says_so),
        cmocka_unit_test(open_inside_a_worker_is_refused),
        cmocka_unit_test(close_of_nothing_is_an_error_or_nothing),
    };
    return cmocka_run_group_tests_name("e2e_bad_modules", tests, set_up, tear_down);
}
