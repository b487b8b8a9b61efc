/* config.c where memory fails: jansson's n-th allocation, and ours, for each n. It must not leak, not touch the
 * caller's config, and not give a config that is not what the text says. */
#include "core/alloc.h"
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

/* Strings of every length around those at which jansson's token buffer grows. A "-funroll-loops" (16 bytes with its
 * quotes) whose growth failed made jansson 2.14 read beyond the buffer; "/usr/bin/gcc-12" lost its last digit. */
static char *text_for_failures(void)
{
    char *text = malloc(20000);
    strcpy(text,
           "{\"cc\": \"/usr/bin/gcc-12\", \"hosts\": {\"localhost\": {\"cores\": 2, \"libs\": [], "
           "\"env\": {\"B\": \"2\", \"C\": \"3\"}}, \"n\": {\"launch\": [\"sh\", \"-c\"], \"data_address\": \"::1\"}}, "
           "\"modules\": [\"m.c\"], \"workdir\": \"/w\", \"env\": {\"A\": \"1\", \"B\": \"1\"}, "
           "\"cflags\": [\"-funroll-loops\"");
    size_t n = strlen(text);
    for (int i = 1; i < 70; i++)
        n += (size_t)sprintf(text + n, ", \"%0*d\"", i, 7);
    strcpy(text + n, "]}");
    return text;
}

static bool is_expected(const struct mm_config *config)
{
    size_t i = 0;
    if (strcmp(config->hosts[0].cc, "/usr/bin/gcc-12") != 0 || config->hosts[0].cores != 2 || config->hosts[0].libs[0])
        return false;
    if (config->n_hosts != 2 || strcmp(config->modules[0], "m.c") != 0 || strcmp(config->hosts[1].workdir, "/w") != 0 ||
        strcmp(config->hosts[0].env[1], "B=2") != 0 || strcmp(config->hosts[0].env[2], "C=3") != 0 ||
        strcmp(config->hosts[1].env[1], "B=1") != 0 || strcmp(config->hosts[1].launch[1], "-c") != 0)
        return false;
    for (; config->hosts[0].cflags[i]; i++)
        if (strlen(config->hosts[0].cflags[i]) != (i ? i : 14))
            return false;
    return i == 70;
}

static long json_made, json_alive, json_fail_at;
static bool json_fail_on;

static void *json_test_malloc(size_t size)
{
    json_made++;
    if (json_fail_at && (json_made == json_fail_at || (json_fail_on && json_made > json_fail_at)))
        return NULL;
    void *p = malloc(size);
    json_alive += p != NULL;
    return p;
}

static void json_test_free(void *p)
{
    json_alive -= p != NULL;
    free(p);
}

/* Parses with failing memory: ENOMEM or ECONFIG and nothing touched, or else the true config. */
static int parse_in_need(const char *text)
{
    struct mm_config config, before;
    mamuto_error_t err = { 0 };
    memset(&config, 0x5A, sizeof config);
    memset(&before, 0x5A, sizeof before);
    json_made = json_alive = 0;
    int code = mm_config_parse(&config, text, &err);
    assert_int_equal(json_alive, 0);
    assert_int_equal(err.code, code);
    if (code) {
        assert_memory_equal(&config, &before, sizeof config);
        assert_int_equal(code, MAMUTO_ENOMEM);
        assert_non_null(strstr(err.text, "not enough memory"));
    } else {
        assert_true(is_expected(&config));
        mm_config_fini(&config);
    }
    return code;
}

static void config_failing_allocations_of_jansson_are_enomem(void **state)
{
    (void)state;
    char *text = text_for_failures();
    json_set_alloc_funcs(json_test_malloc, json_test_free);
    for (int on = 0; on < 2; on++) { /* the n-th fails; all from the n-th on fail */
        long n = 1, failed = 0;
        json_fail_on = on;
        do {
            json_fail_at = n;
            failed += parse_in_need(text) != 0;
        } while (json_made >= n++);
        assert_true(failed > 100);
    }
    json_fail_at = 0;
    json_set_alloc_funcs(malloc, free);
    free(text);
}

static void config_failing_allocations_of_ours_are_enomem(void **state)
{
    (void)state;
    char *text = text_for_failures();
    long n = 1, made;
    do {
        mm_alloc_fail_at(n);
        int code = parse_in_need(text);
        made = mm_alloc_fail_at(0);
        assert_int_equal(code, made >= n ? MAMUTO_ENOMEM : 0);
    } while (made >= n++);
    assert_true(n > 75); /* 71 strings and what holds them */
    free(text);
}

static void config_failing_allocations_with_a_file_are_enomem(void **state)
{
    (void)state;
    struct mm_config config;
    static const char text[] = "{\"cc\": \"./cc\", \"libs\": [\"a.o\", \"-lm\"]}";
    char file[] = "/tmp/mamuto-config-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    long n = 1, made;
    do {
        mamuto_error_t err = { 0 };
        mm_alloc_fail_at(n);
        int code = mm_config_load(&config, file, &err);
        made = mm_alloc_fail_at(0);
        assert_int_equal(code, made >= n ? MAMUTO_ENOMEM : 0);
        assert_int_equal(err.code, code);
    } while (made >= n++);
    mm_config_fini(&config);
    unlink(file);
}

/* The top level's values were copied into each host: 600 kB of them for 300 hosts were 279 MB. */
static void config_top_level_values_are_made_once_for_all_hosts(void **state)
{
    (void)state;
    enum { FLAGS = 2000, VARIABLES = 500, HOSTS = 300 };
    struct mm_config config;
    char *text = malloc(200000), *at = text + sprintf(text, "{\"cflags\": [\"-O1\"");
    for (int i = 0; i < FLAGS; i++)
        at += sprintf(at, ", \"-DN%d\"", i);
    at += sprintf(at, "], \"env\": {\"A\": \"1\"");
    for (int i = 0; i < VARIABLES; i++)
        at += sprintf(at, ", \"V%d\": \"x\"", i);
    at += sprintf(at, "}, \"hosts\": {\"localhost\": 1");
    for (int i = 0; i < HOSTS; i++)
        at += sprintf(at, ", \"h%d\": {\"env\": {\"A\": \"2\"}}", i);
    strcpy(at, "}}");
    mm_alloc_fail_at(0);
    assert_int_equal(mm_config_parse(&config, text, NULL), 0);
    assert_in_range(mm_alloc_fail_at(0), FLAGS + VARIABLES + HOSTS, FLAGS + VARIABLES + 3 * HOSTS + 50);
    for (size_t i = 1; i < config.n_hosts; i++) {
        assert_ptr_equal(config.hosts[i].cflags, config.hosts[0].cflags);
        assert_string_equal(config.hosts[i].env[0], "A=2");
        assert_ptr_equal(config.hosts[i].env[VARIABLES], config.hosts[0].env[VARIABLES]);
    }
    assert_string_equal(config.hosts[0].env[0], "A=1");
    mm_config_fini(&config);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_top_level_values_are_made_once_for_all_hosts),
        cmocka_unit_test(config_failing_allocations_of_jansson_are_enomem),
        cmocka_unit_test(config_failing_allocations_of_ours_are_enomem),
        cmocka_unit_test(config_failing_allocations_with_a_file_are_enomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
