/* Tests that build modules with real compilers: a folder and a cache for each test, compilers that are shell scripts. */
#ifndef MM_TESTS_SUPPORT_MODULES_H
#define MM_TESTS_SUPPORT_MODULES_H

#include "core/module.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct CMUnitTest;

extern const uid_t modules_nobody;
extern const char *const modules_plain_flags[], *const modules_no_libs[];

/* Of each test: its folder is the working directory, and $HOME, $TMPDIR and the cache are in it. */
int modules_set_up(void **state);
int modules_tear_down(void **state);
#define MODULES_TEST(name_) cmocka_unit_test_setup_teardown(name_, modules_set_up, modules_tear_down)
int modules_run(const char *name, const struct CMUnitTest *tests, size_t n);

/* The path of a file in the test's folder; of the last 64 results, each is its own. */
const char *modules_in(const char *name);
void modules_make_file(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A compiler of our own: a script in the test's folder, with its name in $0's folder; its path. */
const char *modules_make_script(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* gcc behind a script that notes each compilation, not the other runs, in the file "count". */
const char *modules_counting_cc(void);
int modules_compilations(void); /* that it has noted */
const char *modules_content(const char *name);
void modules_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
int modules_cached_files(void); /* files in the cache, of any kind */
bool modules_on_valgrind(void);

struct mm_build modules_build_with(const char *cc);
/* Builds what must build; the path of the result, valid until the next call but one. */
const char *modules_built(const char *path, const struct mm_build *build);
/* Builds what must fail with that code, and with that in the text. */
mamuto_error_t modules_refused(const char *path, const struct mm_build *build, int code, const char *text);
/* Loads it and calls its int answer(void). */
int modules_answer_of(const char *so);
/* What check() returns in a child, as another user (if we are root and uid is not 0). */
int modules_in_child(uid_t uid, int (*check)(void));

#endif
