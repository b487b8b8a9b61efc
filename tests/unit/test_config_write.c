/* mamuto_config_write: what it writes is what the loader reads; what would be refused, or is there, is not written. */
#include "core/alloc.h"
#include "core/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static char folder[64], file[128];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/mamuto-write-XXXXXX");
    if (!mkdtemp(folder))
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

static struct mm_config written(const mamuto_config_t *config)
{
    struct mm_config read = { 0 };
    mamuto_error_t err = { 0 };
    if (mamuto_config_write(file, config, &err) || mm_config_load(&read, file, &err))
        fail_msg("%s", err.text);
    assert_int_equal(unlink(file), 0);
    return read;
}

/* Refused with that code and part, and nothing is there. */
static void assert_refused(const char *path, const mamuto_config_t *config, int code, const char *part)
{
    mamuto_error_t err = { 0 };
    int got = mamuto_config_write(path, config, &err);
    if (got != code || err.code != code || !strstr(err.text, part) ||
        strncmp(err.text, "mamuto_config_write: ", 21) != 0)
        fail_msg("wanted %d: %s\ngot %d: %s", code, part, got, err.text);
    assert_int_equal(access(file, F_OK), -1);
}

static void write_config_is_what_the_loader_reads(void **state)
{
    (void)state;
    static const char *const hosts[] = { "localhost", "node1", "n\"\\ö€" };
    static const int cores[] = { 0, 255, 1 };
    struct mm_config config = written(
        &(mamuto_config_t){ .hosts = hosts, .cores = cores, .n_hosts = 3, .workdir = "/a b\n\"\\\x01/ü", .nice = 19 });
    assert_int_equal(config.n_hosts, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(config.hosts[i].label, hosts[i]);
        assert_int_equal(config.hosts[i].cores, cores[i]);
        assert_int_equal(config.hosts[i].nice, 19);
        assert_string_equal(config.hosts[i].workdir, "/a b\n\"\\\x01/ü");
    }
    mm_config_fini(&config);
}

static void write_config_of_zeroes_is_this_machine(void **state)
{
    (void)state;
    static const char *const hosts[] = { "localhost" };
    const mamuto_config_t configs[] = { { 0 }, { .workdir = "" }, { .hosts = hosts, .n_hosts = 1 } };
    for (size_t i = 0; i < COUNT(configs); i++) {
        struct mm_config config = written(&configs[i]);
        assert_int_equal(config.n_hosts, 1);
        assert_true(config.hosts[0].local);
        assert_int_equal(config.hosts[0].cores, 0);
        assert_int_equal(config.hosts[0].nice, 0);
        assert_null(config.hosts[0].workdir);
        mm_config_fini(&config);
    }
}

static void write_config_file_is_the_users_alone_whatever_the_umask(void **state)
{
    (void)state;
    static const mode_t masks[] = { 0, 022, 0277 };
    struct stat status;
    for (size_t i = 0; i < COUNT(masks); i++) {
        mode_t before = umask(masks[i]);
        int code = mamuto_config_write(file, &(mamuto_config_t){ .nice = 1 }, NULL);
        umask(before);
        assert_int_equal(code, 0);
        assert_int_equal(stat(file, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        assert_int_equal(unlink(file), 0);
    }
}

static void write_config_what_is_there_is_kept(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    char text[8] = "";
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    assert_int_equal(mamuto_config_write(file, &(mamuto_config_t){ .nice = 1 }, &err), MAMUTO_ECONFIG);
    assert_non_null(strstr(err.text, "is there already, and is kept"));
    assert_int_equal(pread(fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "mine");
    close(fd);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink("/nonexistent/x", file), 0); /* not followed */
    assert_int_equal(mamuto_config_write(file, &(mamuto_config_t){ .nice = 1 }, NULL), MAMUTO_ECONFIG);
}

static void write_config_bad_arguments_are_refused(void **state)
{
    (void)state;
    static const char *const one[] = { "localhost" }, *const null[] = { NULL }, *const twice[] = { "a", "b", "a" };
    static const char *const bad[] = { "\xFF", "", "me@node", "a b", "-x", "a\nb" };
    static const int too_many[] = { 256 }, negative[] = { -1 };
    const mamuto_config_t none = { 0 };
    assert_refused(NULL, &none, MAMUTO_EINVAL, "path is NULL");
    assert_refused("", &none, MAMUTO_EINVAL, "path is empty");
    assert_refused(file, NULL, MAMUTO_EINVAL, "config is NULL");
    assert_refused(file, &(mamuto_config_t){ .nice = -1 }, MAMUTO_EINVAL, "nice is -1; it must be 0 to 19");
    assert_refused(file, &(mamuto_config_t){ .nice = 20 }, MAMUTO_EINVAL, "nice is 20");
    assert_refused(file, &(mamuto_config_t){ .reserved = { 0, 1 } }, MAMUTO_EINVAL, "reserved field 1");
    assert_refused(file, &(mamuto_config_t){ .n_hosts = 2 }, MAMUTO_EINVAL, "n_hosts is 2, and hosts is NULL");
    assert_refused(file, &(mamuto_config_t){ .hosts = null, .n_hosts = 1 }, MAMUTO_EINVAL, "hosts[0] is NULL");
    assert_refused(file, &(mamuto_config_t){ .hosts = twice, .n_hosts = 3 }, MAMUTO_EINVAL,
                   "host \"a\" is there twice");
    assert_refused(file, &(mamuto_config_t){ .hosts = one, .cores = too_many, .n_hosts = 1 }, MAMUTO_EINVAL,
                   "cores[0] is 256; it must be 1 to 255, or 0 for all of them");
    assert_refused(file, &(mamuto_config_t){ .hosts = one, .cores = negative, .n_hosts = 1 }, MAMUTO_EINVAL, "is -1");
    assert_refused(file, &(mamuto_config_t){ .workdir = "\xC3" }, MAMUTO_EINVAL, "workdir is not UTF-8");
    assert_refused(file, &(mamuto_config_t){ .workdir = "~/x" }, MAMUTO_EINVAL, "\"~\" is not expanded");
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_refused(file, &(mamuto_config_t){ .hosts = &bad[i], .n_hosts = 1 }, MAMUTO_EINVAL,
                       i ? "what it would write, cannot be read: config:" : "a host's label is not UTF-8");
}

static void write_config_where_nothing_can_be_made_is_an_error(void **state)
{
    (void)state;
    char path[160];
    snprintf(path, sizeof path, "%s/missing/cluster.json", folder);
    assert_refused(path, &(mamuto_config_t){ 0 }, MAMUTO_ESYSTEM, "cannot be made: No such file or directory");
    if (access("/dev/full", W_OK) == 0)
        assert_refused("/dev/full", &(mamuto_config_t){ 0 }, MAMUTO_ECONFIG, "is there already");
}

static void write_config_half_written_is_taken_away(void **state)
{
    (void)state;
    struct rlimit before, few = { 3, 3 };
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    few.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
    assert_refused(file, &(mamuto_config_t){ .nice = 4 }, MAMUTO_ESYSTEM, "cannot be written: File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
}

static void write_config_failing_allocations_write_nothing(void **state)
{
    (void)state;
    static const char *const hosts[] = { "localhost", "node1" };
    const mamuto_config_t config = { .hosts = hosts, .n_hosts = 2, .workdir = "/tmp", .nice = 3 };
    long n = 1, made;
    do {
        mamuto_error_t err = { 0 };
        mm_alloc_fail_at(n);
        int code = mamuto_config_write(file, &config, &err);
        made = mm_alloc_fail_at(0);
        assert_int_equal(code, made >= n ? MAMUTO_ENOMEM : 0);
        assert_int_equal(err.code, code);
        assert_int_equal(access(file, F_OK), code ? -1 : 0);
    } while (made >= n++);
    assert_true(n > 5);
}

/* Random labels and folders, of bytes that JSON has to escape and of others: written, read, the same. */
static void write_config_random_names_come_back(void **state)
{
    (void)state;
    static const char *const pieces[] = { "a", "\"", "\\", "\x7F", "é", "€", "\U0001D11E", "\\u0041",
                                          "{", "]",  ":",  ",",    "'", "%", "\x80",       "\xED\xA0\x80" };
    const char *given = getenv("MAMUTO_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    size_t good = 0;
    print_message("MAMUTO_SEED=%u\n", seed);
    srandom(seed);
    for (int round = 0; round < 300; round++) {
        char label[64] = "n", workdir[64] = "/";
        bool utf8 = true;
        for (long i = random() % 8; i > 0; i--) {
            size_t k = (size_t)random() % (COUNT(pieces) + 12) % COUNT(pieces);
            utf8 = utf8 && k < COUNT(pieces) - 2;
            strcat(strcmp(pieces[k], "\x7F") == 0 ? workdir : label, pieces[k]);
            strcat(workdir, pieces[k]);
        }
        const char *const hosts[] = { label };
        const mamuto_config_t config = { .hosts = hosts, .n_hosts = 1, .workdir = workdir };
        if (!utf8) {
            assert_refused(file, &config, MAMUTO_EINVAL, "is not UTF-8");
            continue;
        }
        struct mm_config read = written(&config);
        assert_string_equal(read.hosts[0].label, label);
        assert_string_equal(read.hosts[0].workdir, workdir);
        mm_config_fini(&read);
        good++;
    }
    assert_true(good > 30);
}

#define IN_FOLDER(test_) cmocka_unit_test_setup_teardown(test_, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(write_config_is_what_the_loader_reads),
        IN_FOLDER(write_config_of_zeroes_is_this_machine),
        IN_FOLDER(write_config_file_is_the_users_alone_whatever_the_umask),
        IN_FOLDER(write_config_what_is_there_is_kept),
        IN_FOLDER(write_config_bad_arguments_are_refused),
        IN_FOLDER(write_config_where_nothing_can_be_made_is_an_error),
        IN_FOLDER(write_config_half_written_is_taken_away),
        IN_FOLDER(write_config_failing_allocations_write_nothing),
        IN_FOLDER(write_config_random_names_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
