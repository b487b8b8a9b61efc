/* The folder of built modules: which candidate is taken, what is refused and why, and how files come into it. Each test
 * has a folder of its own below $TMPDIR or /tmp, and sets the environment so that no other is looked at. What root may
 * always do is tried as nobody, in a child. */
#include "core/alloc.h"
#include "core/cache.h"
#include "core/error.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SKIP = 77 };

static const uid_t nobody = 65534;
static char base[1024], old_tmp[900]; /* the folder of the running test; $TMPDIR as it was */

static const char *in(const char *name) /* of the last eight results, each is its own */
{
    static char paths[8][PATH_MAX / 2];
    static int n;
    char *path = paths[n++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "%s/mamuto-test-XXXXXX", old_tmp);
    if (!mkdtemp(base) || chmod(base, 0755))
        return -1;
    setenv("XDG_CACHE_HOME", in("xdg"), 1);
    setenv("HOME", in("home"), 1);
    setenv("TMPDIR", in("tmp"), 1);
    return mkdir(in("xdg"), 0755) || mkdir(in("home"), 0755) || mkdir(in("tmp"), 01777) || chmod(in("tmp"), 01777);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *tmp_candidate(uid_t uid)
{
    char name[64];
    snprintf(name, sizeof name, "tmp/mamuto-%lu", (unsigned long)uid);
    return in(name);
}

/* The result of a check in a child with another user id (as root), or with our own. -1: it did not exit. */
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

static void make_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void assert_mode(const char *path, unsigned mode)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static void assert_dir(const char *expected)
{
    char dir[PATH_MAX] = "";
    mamuto_error_t err = { 0 };
    int rc = mm_cache_dir(dir, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, 0);
    assert_string_equal(dir, expected);
    assert_mode(dir, 0700);
}

/* All candidates are bad: the sentence, and an untouched output. */
static mamuto_error_t refusal(void)
{
    char dir[PATH_MAX] = "as it was";
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_cache_dir(dir, &err), MAMUTO_ESYSTEM);
    assert_int_equal(err.code, MAMUTO_ESYSTEM);
    assert_string_equal(dir, "as it was");
    return err;
}

static void cache_dir_with_xdg_makes_it_and_its_parents(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", in("xdg/a/b"), 1);
    assert_dir(in("xdg/a/b/mamuto"));
    assert_mode(in("xdg/a"), 0700);
    assert_mode(in("xdg/a/b"), 0700);
    assert_dir(in("xdg/a/b/mamuto")); /* and finds it again */
}

static void cache_dir_with_relative_xdg_takes_home(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", "relative/path", 1);
    assert_dir(in("home/.cache/mamuto"));
    assert_mode(in("home/.cache"), 0700);
    assert_int_equal(access("relative", F_OK), -1);
}

static void cache_dir_with_empty_xdg_takes_home(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", "", 1);
    assert_dir(in("home/.cache/mamuto"));
}

static void cache_dir_without_home_folder_takes_tmp(void **state)
{
    (void)state;
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", in("nowhere"), 1);
    assert_dir(tmp_candidate(geteuid()));
    assert_int_equal(access(in("nowhere"), F_OK), -1); /* a home folder is not ours to make */
}

static void cache_dir_with_slash_at_the_end_is_found(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", in("xdg/new/"), 1);
    assert_dir(in("xdg/new//mamuto"));
}

static void cache_dir_behind_linked_parent_is_taken(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("scratch"), 0755), 0);
    assert_int_equal(symlink(in("scratch"), in("xdg/link")), 0);
    setenv("XDG_CACHE_HOME", in("xdg/link"), 1);
    assert_dir(in("xdg/link/mamuto")); /* a link of the user's own, as from ~/.cache to a bigger disk */
}

static void cache_dir_that_is_a_symlink_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("elsewhere"), 0700), 0);
    assert_int_equal(symlink(in("elsewhere"), in("xdg/mamuto")), 0);
    assert_dir(in("home/.cache/mamuto"));
}

static void cache_dir_that_dangles_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(symlink(in("nothing"), in("xdg/mamuto")), 0);
    assert_dir(in("home/.cache/mamuto"));
    assert_int_equal(access(in("nothing"), F_OK), -1);
}

static void cache_dir_that_is_a_file_is_passed_over(void **state)
{
    (void)state;
    make_file(in("xdg/mamuto"), "");
    assert_dir(in("home/.cache/mamuto"));
}

static void cache_dir_open_to_others_is_passed_over(void **state)
{
    (void)state;
    static const mode_t modes[] = { 0755, 0770, 0701, 0720, 01777 };
    assert_int_equal(mkdir(in("xdg/mamuto"), 0700), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(in("xdg/mamuto"), modes[i]), 0);
        assert_dir(in("home/.cache/mamuto"));
        assert_mode(in("xdg/mamuto"), modes[i]); /* and left as it is */
    }
}

static void cache_dir_of_another_user_is_passed_over(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(in("xdg/mamuto"), 0700), 0);
    assert_int_equal(chown(in("xdg/mamuto"), nobody, (gid_t)-1), 0);
    assert_dir(in("home/.cache/mamuto"));
}

static int check_not_writable(void)
{
    char dir[PATH_MAX];
    mamuto_error_t err = { 0 };
    if (mm_cache_dir(dir, &err) || strcmp(dir, tmp_candidate(geteuid())))
        return 1;
    rmdir(dir);
    setenv("TMPDIR", in("nowhere"), 1);
    if (mm_cache_dir(dir, &err) != MAMUTO_ESYSTEM)
        return 2;
    if (!strstr(err.text, "xdg/mamuto is not writable: Permission denied"))
        return 3;
    return strstr(err.text, "home/.cache/mamuto cannot be made: Permission denied") ? 0 : 4;
}

static void cache_dir_that_is_not_writable_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("xdg/mamuto"), 0500), 0);
    assert_int_equal(chmod(in("home"), 0555), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(in("xdg/mamuto"), nobody, (gid_t)-1), 0);
    assert_int_equal(in_child(nobody, check_not_writable), 0);
    assert_int_equal(chmod(in("home"), 0755), 0);
}

static int check_noexec(void)
{
    char dir[PATH_MAX];
    if (unshare(CLONE_NEWNS) || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
        mount("none", in("xdg"), "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, "size=64k"))
        return SKIP;
    return mm_cache_dir(dir, NULL) == 0 && strcmp(dir, in("home/.cache/mamuto")) == 0 ? 0 : 1;
}

static void cache_dir_mounted_noexec_is_passed_over(void **state)
{
    (void)state;
    int rc = in_child(0, check_noexec);
    if (rc == SKIP)
        skip(); /* only root may mount */
    assert_int_equal(rc, 0);
}

static void cache_dir_with_all_bad_lists_each(void **state)
{
    (void)state;
    assert_int_equal(symlink(in("tmp"), in("xdg/mamuto")), 0);
    make_file(in("home/.cache"), "");
    assert_int_equal(mkdir(tmp_candidate(geteuid()), 0700), 0);
    assert_int_equal(chmod(tmp_candidate(geteuid()), 0755), 0);
    mamuto_error_t err = refusal();
    assert_non_null(strstr(err.text, "set XDG_CACHE_HOME to a folder of your own"));
    assert_non_null(strstr(err.text, "xdg/mamuto is a symbolic link"));
    assert_non_null(strstr(err.text, "home/.cache/mamuto cannot be made: Not a directory"));
    assert_non_null(strstr(err.text, "has mode 0755, not 0700"));
    assert_int_equal(mm_cache_dir((char[PATH_MAX]){ "" }, NULL), MAMUTO_ESYSTEM);
}

static void cache_dir_with_all_relative_lists_each(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", "x", 1);
    setenv("HOME", "h", 1);
    setenv("TMPDIR", "t", 1);
    mamuto_error_t err = refusal();
    assert_non_null(strstr(err.text, "tried: x is not an absolute path; h is not an absolute path; t is not an abs"));
}

static void cache_dir_with_long_paths_is_refused(void **state)
{
    (void)state;
    char path[PATH_MAX + 10]; /* has room for itself, but not for a file in it */
    memset(path, 'x', sizeof path - 1);
    path[PATH_MAX - 200] = '\0';
    for (size_t i = 0; i < strlen(path); i += 100)
        path[i] = '/';
    setenv("XDG_CACHE_HOME", path, 1);
    setenv("HOME", path, 1);
    setenv("TMPDIR", path, 1);
    mamuto_error_t err = refusal();
    const char *third = strstr(err.text, "is too long a path; ");
    assert_non_null(third);
    assert_non_null(strstr(third + 1, "is too long a path; "));
    assert_string_equal(err.text + strlen(err.text) - 18, "is too long a path");
}

static int check_no_passwd(void)
{
    char dir[PATH_MAX];
    mamuto_error_t err = { 0 };
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    setenv("TMPDIR", in("nowhere"), 1);
    if (mm_cache_dir(dir, &err) != MAMUTO_ESYSTEM)
        return 1;
    return strstr(err.text, "$HOME is not set, and user 54321 has no entry in passwd; ") ? 0 : 2;
}

static void cache_dir_without_home_and_passwd_says_so(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(in_child(54321, check_no_passwd), 0);
}

static int check_passwd(void)
{
    char dir[PATH_MAX];
    mamuto_error_t err = { 0 };
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    setenv("TMPDIR", in("nowhere"), 1);
    if (mm_cache_dir(dir, &err) != MAMUTO_ESYSTEM)
        return 1;
    return strstr(err.text, "/nonexistent/.cache/mamuto cannot be made: ") ? 0 : 2;
}

static void cache_dir_without_home_takes_that_of_passwd(void **state)
{
    (void)state;
    if (geteuid() != 0 || access("/nonexistent", F_OK) == 0)
        skip();
    assert_int_equal(in_child(nobody, check_passwd), 0); /* Debian's nobody has this home, and must not have one */
}

static int check_no_memory(void)
{
    char dir[PATH_MAX] = "";
    mamuto_error_t err = { 0 };
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    mm_alloc_fail_at(1);
    return mm_cache_dir(dir, &err) == MAMUTO_ENOMEM && err.code == MAMUTO_ENOMEM && !dir[0] ? 0 : 1;
}

static void cache_dir_without_memory_says_so(void **state)
{
    (void)state;
    assert_int_equal(in_child(0, check_no_memory), 0);
}

static void cache_temporary_is_a_private_file_of_its_own(void **state)
{
    (void)state;
    char first[PATH_MAX], second[PATH_MAX], start[PATH_MAX];
    int fd = mm_cache_temporary(base, first, NULL), other = mm_cache_temporary(base, second, NULL);
    assert_true(fd >= 0 && other >= 0);
    assert_string_not_equal(first, second);
    snprintf(start, sizeof start, "%s/.tmp-%ld-", base, (long)getpid());
    assert_memory_equal(first, start, strlen(start));
    assert_mode(first, 0600);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    close(other);
}

static void cache_temporary_in_missing_folder_says_so(void **state)
{
    (void)state;
    char path[PATH_MAX] = "as it was";
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_cache_temporary(in("nowhere"), path, &err), MAMUTO_ESYSTEM);
    assert_non_null(strstr(err.text, "nowhere: No such file or directory"));
    assert_string_equal(path, "as it was");
}

static void cache_publish_replaces_the_file_whole(void **state)
{
    (void)state;
    char path[PATH_MAX], text[16] = "";
    make_file(in("model.so"), "an old one");
    int fd = mm_cache_temporary(base, path, NULL);
    assert_int_equal(write(fd, "new", 3), 3);
    close(fd);
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_cache_publish(base, path, "model.so", &err), 0);
    assert_int_equal(err.code, 0);
    assert_int_equal(access(path, F_OK), -1);
    fd = open(in("model.so"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof text - 1), 3);
    assert_string_equal(text, "new");
    close(fd);
}

static void cache_publish_onto_a_folder_removes_the_temporary(void **state)
{
    (void)state;
    char path[PATH_MAX];
    assert_int_equal(mkdir(in("model.so"), 0700), 0);
    int fd = mm_cache_temporary(base, path, NULL);
    close(fd);
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_cache_publish(base, path, "model.so", &err), MAMUTO_ESYSTEM);
    assert_non_null(strstr(err.text, "cannot put model.so into "));
    assert_non_null(strstr(err.text, "Is a directory"));
    assert_int_equal(access(path, F_OK), -1);
}

static void cache_publish_of_nothing_says_so(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_cache_publish(base, in(".tmp-1-1"), "model.so", &err), MAMUTO_ESYSTEM);
    assert_non_null(strstr(err.text, "No such file or directory"));
}

/* Leaves a file as a program with this process id would have, hours ago. */
static const char *leftover(const char *format, long pid, int hours)
{
    char name[64];
    snprintf(name, sizeof name, format, pid);
    const char *path = in(name);
    make_file(path, "");
    struct timespec times[2] = { { .tv_sec = time(NULL) - hours * 3600L }, { 0 } };
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    return path;
}

static void cache_publish_sweeps_what_the_dead_left(void **state)
{
    (void)state;
    char path[PATH_MAX];
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    assert_int_equal(waitpid(dead, NULL, 0), dead);
    const char *stale = leftover(".tmp-%ld-1", dead, 25), *young = leftover(".tmp-%ld-2", dead, 23);
    const char *alive = leftover(".tmp-%ld-3", (long)getpid(), 25), *other = leftover(".tmp-x%ld-4", dead, 25);
    const char *module = leftover("model-%ld.so", dead, 25);
    int fd = mm_cache_temporary(base, path, NULL);
    close(fd);
    assert_int_equal(mm_cache_publish(base, path, "new.so", NULL), 0);
    assert_int_equal(access(stale, F_OK), -1);
    assert_int_equal(access(young, F_OK), 0);
    assert_int_equal(access(alive, F_OK), 0);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(access(module, F_OK), 0);
    assert_int_equal(access(in("new.so"), F_OK), 0);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(old_tmp, sizeof old_tmp, "%s", tmp && tmp[0] == '/' ? tmp : "/tmp");
    const struct CMUnitTest tests[] = {
        TEST(cache_dir_with_xdg_makes_it_and_its_parents),
        TEST(cache_dir_with_relative_xdg_takes_home),
        TEST(cache_dir_with_empty_xdg_takes_home),
        TEST(cache_dir_without_home_folder_takes_tmp),
        TEST(cache_dir_with_slash_at_the_end_is_found),
        TEST(cache_dir_behind_linked_parent_is_taken),
        TEST(cache_dir_that_is_a_symlink_is_passed_over),
        TEST(cache_dir_that_dangles_is_passed_over),
        TEST(cache_dir_that_is_a_file_is_passed_over),
        TEST(cache_dir_open_to_others_is_passed_over),
        TEST(cache_dir_of_another_user_is_passed_over),
        TEST(cache_dir_that_is_not_writable_is_passed_over),
        TEST(cache_dir_mounted_noexec_is_passed_over),
        TEST(cache_dir_with_all_bad_lists_each),
        TEST(cache_dir_with_all_relative_lists_each),
        TEST(cache_dir_with_long_paths_is_refused),
        TEST(cache_dir_without_home_and_passwd_says_so),
        TEST(cache_dir_without_home_takes_that_of_passwd),
        TEST(cache_dir_without_memory_says_so),
        TEST(cache_temporary_is_a_private_file_of_its_own),
        TEST(cache_temporary_in_missing_folder_says_so),
        TEST(cache_publish_replaces_the_file_whole),
        TEST(cache_publish_onto_a_folder_removes_the_temporary),
        TEST(cache_publish_of_nothing_says_so),
        TEST(cache_publish_sweeps_what_the_dead_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
