/* config.c with ownfile.c and relpath.c on files: who may have written one, what is no file, what its paths become.
 * A folder of its own for each test. What concerns other users runs where the tester is root. */
#include "core/config.h"
#include "core/ownfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static void assert_list(char **list, const char *joined)
{
    char text[4096] = "";
    for (; *list; list++) {
        strcat(text, *list);
        strcat(text, list[1] ? " " : "");
    }
    assert_string_equal(text, joined);
}

static char folder[64], file[128];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/mamuto-config-XXXXXX");
    if (!mkdtemp(folder) || chmod(folder, 0755))
        return -1;
    snprintf(file, sizeof file, "%s/cluster.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

static void write_file(const char *text, size_t length, mode_t mode)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), (ssize_t)length);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void assert_file_refused(const char *path, const char *part)
{
    struct mm_config config, before;
    mamuto_error_t err = { 0 };
    memset(&config, 0x5A, sizeof config);
    memset(&before, 0x5A, sizeof before);
    int code = mm_config_load(&config, path, &err);
    if (code != MAMUTO_ECONFIG || !strstr(err.text, part))
        fail_msg("wanted %s\ngot %d: %s", part, code, err.text);
    assert_memory_equal(&config, &before, sizeof config);
    assert_string_equal(err.file, path);
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
}

static void config_file_is_read_and_its_errors_name_it(void **state)
{
    (void)state;
    static const char good[] = "{\"hosts\": {\"localhost\": 7}}\n";
    static const char bad[] = "{\n\n\"hosts\": {\n\"localhost\": {\n\n\n\"cores\": 0}}}";
    struct mm_config config;
    mamuto_error_t err = { 0 };
    char part[256];
    write_file(good, sizeof good - 1, 0644);
    assert_int_equal(mm_config_load(&config, file, &err), 0);
    assert_int_equal(config.hosts[0].cores, 7);
    mm_config_fini(&config);
    write_file(bad, sizeof bad - 1, 0600);
    snprintf(part, sizeof part, "%s:7: hosts.localhost.cores: must be", file);
    assert_file_refused(file, part);
    assert_int_equal(mm_config_load(&config, file, &err), MAMUTO_ECONFIG);
    assert_int_equal(err.line, 7);
}

static void config_file_with_nul_bytes_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\n\"cc\": \"g\0cc\"}";
    write_file(text, sizeof text - 1, 0600);
    assert_file_refused(file, ":2: has a NUL byte");
    write_file("\0", 1, 0600);
    assert_file_refused(file, ":1: has a NUL byte");
    write_file("", 0, 0600);
    assert_file_refused(file, ":1: is empty");
}

static void config_file_that_others_can_write_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = { 0620, 0602, 0666 };
    char advice[256];
    snprintf(advice, sizeof advice, "run: chmod go-w %s", file);
    for (size_t i = 0; i < COUNT(modes); i++) {
        write_file("{}", 2, modes[i]);
        assert_file_refused(file, "others can write it");
        assert_file_refused(file, advice);
    }
}

static void config_file_of_another_user_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    write_file("{}", 2, 0644);
    assert_int_equal(chown(file, 65534, 65534), 0);
    assert_file_refused(file, "belongs to user 65534");
}

/* As user 65534: a file of root's is good, if readable. Exit status 0: as it should be. */
static int try_as_nobody(void)
{
    struct mm_config config;
    mamuto_error_t err = { 0 };
    if (setresuid(65534, 65534, 65534))
        return 2;
    int code = mm_config_load(&config, file, &err);
    if (!code)
        mm_config_fini(&config);
    return code == MAMUTO_ECONFIG && strstr(err.text, "cannot be opened: Permission denied") ? 1 : code ? 3 : 0;
}

static int status_as_nobody(void)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(try_as_nobody());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void config_file_of_root_is_read_by_others_if_readable(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    write_file("{}", 2, 0644);
    assert_int_equal(status_as_nobody(), 0);
    write_file("{}", 2, 0600);
    assert_int_equal(status_as_nobody(), 1);
}

static void config_what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    assert_file_refused(folder, "is a folder");
    assert_file_refused("/dev/null", "is not a regular file");
    assert_int_equal(mkfifo(file, 0600), 0); /* nobody writes: it must not wait */
    assert_file_refused(file, "is not a regular file");
}

static void config_missing_file_is_refused(void **state)
{
    (void)state;
    assert_file_refused(file, "cannot be opened: No such file or directory");
    assert_file_refused("", "No such file or directory");
}

static void config_file_too_large_is_refused(void **state)
{
    (void)state;
    char *text = malloc(MM_CONFIG_MAX_BYTES + 1);
    struct mm_config config;
    memset(text, '\n', MM_CONFIG_MAX_BYTES + 1);
    text[0] = '{';
    text[1] = '}';
    write_file(text, MM_CONFIG_MAX_BYTES + 1, 0600);
    assert_file_refused(file, "has 1048577 bytes; at most 1048576 are read");
    write_file(text, MM_CONFIG_MAX_BYTES, 0600);
    assert_int_equal(mm_config_load(&config, file, NULL), 0);
    mm_config_fini(&config);
    free(text);
}

/* Files of /proc have no size that could be looked at first, and memory at address 0 cannot be read. */
static void ownfile_what_fails_only_when_read_is_refused(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length = 0;
    mamuto_error_t err = { 0 }, other = { 0 };
    assert_int_equal(mm_ownfile_read("/proc/self/maps", "maps", 10, &text, &length, MAMUTO_EMODULE, &err),
                     MAMUTO_EMODULE);
    assert_string_equal(err.text, "maps: has more than the 10 bytes that are read");
    assert_int_equal(mm_ownfile_read("/proc/self/mem", "mem", 10, &text, &length, MAMUTO_ECONFIG, &other),
                     MAMUTO_ECONFIG);
    assert_string_equal(other.text, "mem: cannot be read: Input/output error");
    assert_null(text);
    assert_int_equal(length, 0);
}

static void config_long_path_keeps_line_and_key_in_the_sentence(void **state)
{
    (void)state;
    char path[1024];
    struct mm_config config;
    mamuto_error_t err = { 0 };
    write_file("{\n\"pin\": 3}", 11, 0600);
    int n = snprintf(path, sizeof path, "%s", folder);
    for (int i = 0; i < 200; i++)
        n += snprintf(path + n, sizeof path - (size_t)n, "/.");
    snprintf(path + n, sizeof path - (size_t)n, "/cluster.json");
    assert_int_equal(mm_config_load(&config, path, &err), MAMUTO_ECONFIG);
    assert_non_null(strstr(err.text, "/./cluster.json:2: pin: must be \"auto\", true or false, not 3"));
    assert_int_equal(strlen(err.file), sizeof err.file - 1);
}

/* What the paths in a file become; "@" stands for its folder. */
static void assert_paths(const char *path, const char *cc, const char *cflags, const char *libs)
{
    struct mm_config config;
    mamuto_error_t err = { 0 };
    if (mm_config_load(&config, path, &err))
        fail_msg("%s", err.text);
    const char *const wanted[] = { cc, cflags, libs };
    for (size_t i = 0; i < 3; i++) {
        char text[4096] = "";
        for (const char *p = wanted[i]; *p; p++)
            strncat(text, *p == '@' ? folder : p, *p == '@' ? sizeof folder : 1);
        char *one[] = { config.hosts[0].cc, NULL };
        assert_list(i == 0 ? one : i == 1 ? config.hosts[0].cflags : config.hosts[0].libs, text);
    }
    mm_config_fini(&config);
}

static void config_relative_paths_are_from_the_files_folder(void **state)
{
    (void)state;
    char here[PATH_MAX];
    static const char text[] =
        "{\"cc\": \"bin/my cc\", \"cflags\": [\"-O2\", \"-Iinclude\", \"-I\", \"more\", \"-I/usr/x\", \"-I-\", "
        "\"-isystem=/y\", \"-D\", \"A=b/c\", \"-include\", \"sys/types.h\", \"x\", \"gen/a.o\", \"-DP=a/b\"], "
        "\"libs\": [\"-L../lib\", \"-lm\", \"a.o\", \"/usr/lib/b.a\", \"-Xlinker\", \"now\", \"-L$X\"]}";
    static const char cflags[] = "-O2 -I@/include -I @/more -I/usr/x -I- -isystem=/y -D A=b/c -include sys/types.h "
                                 "x @/gen/a.o -DP=a/b",
                      libs[] = "-L@/../lib -lm @/a.o /usr/lib/b.a -Xlinker now -L$X";
    write_file(text, sizeof text - 1, 0600);
    assert_paths(file, "@/bin/my cc", cflags, libs);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    assert_paths("cluster.json", "@/bin/my cc", cflags, libs);
    assert_paths("./cluster.json", "@/./bin/my cc",
                 "-O2 -I@/./include -I @/./more -I/usr/x -I- -isystem=/y -D A=b/c "
                 "-include sys/types.h x @/./gen/a.o -DP=a/b",
                 "-L@/./../lib -lm @/./a.o /usr/lib/b.a -Xlinker now -L$X");
    assert_int_equal(chdir(here), 0);
    write_file("{\"cc\": \"gcc-12\"}", 16, 0600);
    assert_paths(file, "gcc-12", "-O3 -march=native -ffp-contract=off", "-lm");
    write_file("{\"cc\": \"/usr/bin/gcc\"}", 22, 0600);
    assert_paths(file, "/usr/bin/gcc", "-O3 -march=native -ffp-contract=off", "-lm");
}

/* Those that are paths and nothing else need no slash to be one. */
static void config_relative_paths_of_all_keys_are_from_the_files_folder(void **state)
{
    (void)state;
    static const char text[] =
        "{\"modules\": [\"m.c\", \"/abs/n.so\"], \"workdir\": \"w\", \"known_hosts_file\": \"k\", \"ssh_config\": "
        "\"s\", "
        "\"hosts\": {\"localhost\": {\"agent\": \"a\"}, \"n\": {\"identity\": \"../i\", \"workdir\": \"/w\"}, "
        "\"l\": {\"launch\": [\"bin/run\", \"x/y\"]}, \"p\": {\"launch\": [\"docker\", \"exec\"]}}}";
    struct mm_config config;
    mamuto_error_t err = { 0 };
    char wanted[256];
    write_file(text, sizeof text - 1, 0600);
    if (mm_config_load(&config, file, &err))
        fail_msg("%s", err.text);
    const struct mm_config_host *h = config.hosts;
    const char *const paths[][2] = { { config.modules[0], "m.c" }, { h[0].workdir, "w" },
                                     { h[0].agent, "a" },          { h[1].known_hosts_file, "k" },
                                     { h[1].ssh_config, "s" },     { h[1].identity, "../i" },
                                     { h[2].launch[0], "bin/run" } };
    for (size_t i = 0; i < COUNT(paths); i++) {
        snprintf(wanted, sizeof wanted, "%s/%s", folder, paths[i][1]);
        assert_string_equal(paths[i][0], wanted);
    }
    assert_string_equal(config.modules[1], "/abs/n.so");
    assert_string_equal(h[1].workdir, "/w");
    assert_string_equal(h[2].launch[1], "x/y");
    assert_string_equal(h[3].launch[0], "docker");
    assert_string_equal(config.path, file);
    mm_config_fini(&config);
}

#define IN_FOLDER(test_) cmocka_unit_test_setup_teardown(test_, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(config_file_is_read_and_its_errors_name_it),
        IN_FOLDER(config_file_with_nul_bytes_is_refused),
        IN_FOLDER(config_file_that_others_can_write_is_refused),
        IN_FOLDER(config_file_of_another_user_is_refused),
        IN_FOLDER(config_file_of_root_is_read_by_others_if_readable),
        IN_FOLDER(config_what_is_no_regular_file_is_refused),
        IN_FOLDER(config_missing_file_is_refused),
        IN_FOLDER(config_file_too_large_is_refused),
        cmocka_unit_test(ownfile_what_fails_only_when_read_is_refused),
        IN_FOLDER(config_long_path_keeps_line_and_key_in_the_sentence),
        IN_FOLDER(config_relative_paths_are_from_the_files_folder),
        IN_FOLDER(config_relative_paths_of_all_keys_are_from_the_files_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
