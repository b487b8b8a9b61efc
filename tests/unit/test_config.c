/* config.c on texts: this machine, precedence, broken JSON, and hostile texts. Each key's values and sentences are
 * test_config_keys.c's matter, files test_config_file.c's, failing memory test_config_memory.c's. */
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

/* Helpers ---------------------------------------------------------------------------------------------------------- */

static void assert_list(char **list, const char *joined)
{
    char text[4096] = "";
    for (; *list; list++) {
        strcat(text, *list);
        strcat(text, list[1] ? " " : "");
    }
    assert_string_equal(text, joined);
}

static struct mm_config parsed(const char *text)
{
    struct mm_config config;
    mamuto_error_t err = { 0 };
    int code = mm_config_parse(&config, text, &err);
    if (code)
        fail_msg("%s\n%s", text, err.text);
    return config;
}

/* The text is refused, at this line, with this in the sentence, and the config is not touched. */
static void assert_refused(const char *text, int line, const char *part)
{
    struct mm_config config, before;
    mamuto_error_t err = { 0 };
    char start[32];
    memset(&config, 0x5A, sizeof config);
    memset(&before, 0x5A, sizeof before);
    int code = mm_config_parse(&config, text, &err);
    snprintf(start, sizeof start, "config:%d: ", line);
    if (code != MAMUTO_ECONFIG || err.code != code || err.line != line || !strstr(err.text, part) ||
        strncmp(err.text, start, strlen(start)) != 0 || err.file[0])
        fail_msg("for %.200s\nwanted %d: line %d: %s\ngot    %d: line %d: %s", text, MAMUTO_ECONFIG, line, part, code,
                 err.line, err.text);
    assert_memory_equal(&config, &before, sizeof config);
}

struct refused {
    const char *text;
    int line;
    const char *part;
};

static void assert_all_refused(const struct refused *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_refused(cases[i].text, cases[i].line, cases[i].part);
}

/* Values ----------------------------------------------------------------------------------------------------------- */

static void assert_defaults(const struct mm_config *config)
{
    assert_int_equal(config->n_hosts, 1);
    assert_string_equal(config->hosts[0].label, "localhost");
    assert_true(config->hosts[0].local);
    assert_null(config->modules);
    assert_int_equal(config->other_line, 0);
    assert_int_equal(config->hosts[0].cores, 0);
    assert_int_equal(config->hosts[0].pin, MM_PIN_AUTO);
    assert_false(config->hosts[0].core_dumps);
    assert_string_equal(config->hosts[0].cc, "cc");
    assert_list(config->hosts[0].cflags, "-O3 -march=native -ffp-contract=off");
    assert_list(config->hosts[0].libs, "-lm");
    assert_int_equal(config->hosts[0].transport, MM_TRANSPORT_SHM);
    assert_int_equal(config->hosts[0].nice, 0);
    assert_null(config->hosts[0].workdir);
    assert_null(config->hosts[0].env);
    assert_null(config->hosts[0].agent);
}

static void config_default_is_this_machine(void **state)
{
    (void)state;
    struct mm_config config;
    assert_int_equal(mm_config_default(&config, NULL), 0);
    assert_defaults(&config);
    mm_config_fini(&config);
    assert_null(config.hosts);
    mm_config_fini(&config); /* of a zeroed one */
}

static void config_empty_object_gives_the_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        " \t\r\n{ \n }\n",
        "\xEF\xBB\xBF{}",
        "{\"$schema\": \"https://example.org/mamuto.json\"}",
        "{\"hosts\": {\"localhost\": \"all\"}}",
        "{\"hosts\": {\"localhost\": {}}}",
        "{\"hosts\": {\"localhost\": {\"cores\": \"all\", \"pin\": \"auto\", \"core_dumps\": false}}}",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct mm_config config = parsed(texts[i]);
        assert_defaults(&config);
        mm_config_fini(&config);
    }
}

static void config_cores_are_read_in_both_forms(void **state)
{
    (void)state;
    struct {
        const char *text;
        int cores;
    } cases[] = {
        { "{\"hosts\": {\"localhost\": 1}}", 1 },
        { "{\"hosts\": {\"localhost\": 255}}", 255 },
        { "{\"hosts\": {\"localhost\": {\"cores\": 3}}}", 3 },
        { "{\"h\\u006Fsts\": {\"\\u006cocalhost\": {\"\\u0063ores\": 17}}}", 17 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mm_config config = parsed(cases[i].text);
        assert_int_equal(config.hosts[0].cores, cases[i].cores);
        mm_config_fini(&config);
    }
}

static void config_top_level_values_are_read(void **state)
{
    (void)state;
    struct mm_config config = parsed("{\"pin\": true, \"core_dumps\": true, \"cc\": \"./cc\", \"cflags\": [], "
                                     "\"libs\": [\"-lblas\", \"Grüße/x.o\"]}");
    assert_int_equal(config.hosts[0].pin, MM_PIN_ON);
    assert_true(config.hosts[0].core_dumps);
    assert_string_equal(config.hosts[0].cc, "./cc"); /* a text has no folder */
    assert_null(config.hosts[0].cflags[0]);
    assert_list(config.hosts[0].libs, "-lblas Grüße/x.o");
    mm_config_fini(&config);
}

static void config_host_value_wins_over_top_level_in_any_order(void **state)
{
    (void)state;
#define HOST "\"hosts\": {\"localhost\": {\"pin\": false, \"cc\": \"gcc\", \"cflags\": [\"-O1\"]}}"
#define TOP "\"pin\": true, \"core_dumps\": true, \"cc\": \"clang\", \"cflags\": [\"-O2\"], \"libs\": [\"-la\"]"
    static const char *const texts[] = { "{" HOST "," TOP "}", "{" TOP "," HOST "}" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct mm_config config = parsed(texts[i]);
        assert_int_equal(config.hosts[0].pin, MM_PIN_OFF);
        assert_string_equal(config.hosts[0].cc, "gcc");
        assert_list(config.hosts[0].cflags, "-O1");
        assert_true(config.hosts[0].core_dumps); /* the host says nothing of these two */
        assert_list(config.hosts[0].libs, "-la");
        mm_config_fini(&config);
    }
}

/* What is refused -------------------------------------------------------------------------------------------------- */

static void config_wrong_cores_name_line_key_and_range(void **state)
{
    (void)state;
    static const char *const wrong[] = { "0",    "-1",   "256",      "9223372036854775807",
                                         "4.0",  "1e3",  "\"four\"", "\"All\"",
                                         "true", "null", "[4]",      "{}" };
    char text[256], host[256];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        snprintf(text, sizeof text, "{\n \"hosts\": {\n  \"localhost\": {\n   \"pin\": true,\n   \"cores\":\n %s}}}",
                 wrong[i]);
        assert_refused(text, 5, "hosts.localhost.cores: must be a number of cores from 1 to 255, or \"all\", not ");
        snprintf(host, sizeof host, "{\n \"hosts\": {\"localhost\": %s}}", wrong[i]);
        if (wrong[i][0] != '{')
            assert_refused(host, 2, "hosts.localhost: must be a number of cores from 1 to 255, \"all\", or an object");
    }
    assert_refused("{\"hosts\": {\"localhost\": 5000}}", 1, "not 5000");
    assert_refused("{\"hosts\": {\"localhost\": \"four\"}}", 1, "not \"four\"");
}

static void config_wrong_types_name_what_is_right(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        { "{\"hosts\": [\"localhost\"]}", 1, "hosts: must be an object, such as {\"localhost\": \"all\"}, not a list" },
        { "{\"hosts\":\n{}}", 1, "hosts: names no host" },
        { "{\"hosts\": null}", 1, "hosts: must be an object" },
        { "{\n\"pin\": \"on\"}", 2, "pin: must be \"auto\", true or false, not \"on\"" },
        { "{\"pin\": 1}", 1, "not 1" },
        { "{\"core_dumps\": \"true\"}", 1, "core_dumps: must be true or false, not \"true\"" },
        { "{\"core_dumps\": null}", 1, "not null" },
        { "{\"cc\": \"\"}", 1, "cc: must be the name or path of a C compiler" },
        { "{\"cc\": [\"gcc\"]}", 1, "not a list" },
        { "{\"cc\": 1.5}", 1, "not the real number 1.5" },
        { "{\"cflags\": \"-O2\"}", 1, "cflags: must be a list of strings, such as [\"-O2\"], not \"-O2\"" },
        { "{\"libs\": {}}", 1, "libs: must be a list of strings, such as [\"-lm\"], not an object" },
        { "{\"cflags\": [\"-O2\",\n\"-g\",\n3]}", 3, "cflags[2]: must be a string that is not empty, not 3" },
        { "{\"libs\": [\"\"]}", 1, "libs[0]: must be a string that is not empty" },
        { "{\"hosts\": {\"localhost\": {\"libs\": [\n\"-lm\",\n[]]}}}", 3, "hosts.localhost.libs[1]: must be a" },
        { "{\"$schema\": 7}", 1, "$schema: must be a string" },
    };
    assert_all_refused(cases, COUNT(cases));
}

static void config_unknown_key_names_the_nearest_and_the_allowed(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        { "{\n\"host\": 1}", 2, "config:2: host: unknown key; did you mean \"hosts\"?" },
        { "{\"hsots\": {}}", 1, "did you mean \"hosts\"?" },
        { "{\"hosts\": {\"localhost\":\n{\"pin\": true,\n\"croes\": 1}}}", 3,
          "hosts.localhost.croes: unknown key; did you mean \"cores\"?" },
        { "{\"hosts\": {\"localhost\": {\"x\": 1}}}", 1,
          "hosts.localhost.x: unknown key; allowed here: cores, workdir, nice, env, pin, core_dumps, cc, cflags, libs, "
          "agent, required, transport" },
        { "{\"hosts\": {\"node1\": {\"adress\": 1}}}", 1, "did you mean \"address\"?" },
        { "{\"hosts\": {\"localhost\": {\"adress\": 1}}}", 1,
          "hosts.localhost.adress: unknown key; did you mean \"address\"?" },
        { "{\"coredumps\": true}", 1, "did you mean \"core_dumps\"?" },
        { "{\"CFLAGS\": []}", 1, "did you mean \"cflags\"?" },
        { "{\"wrkdir\": \"/tmp\"}", 1, "wrkdir: unknown key; did you mean \"workdir\"?" },
        { "{\"x\": 1}", 1,
          "config:1: x: unknown key; allowed here: hosts, modules, workdir, nice, env, pin, core_dumps, cc, cflags, "
          "libs, "
          "required, transport, encrypt, known_hosts, known_hosts_file, ssh_config, connect_timeout_ms, "
          "inflight_bytes, same_code, $schema" },
        { "{\"\": 1}", 1, "unknown key; allowed" },
        { "{\"cores\": 4}", 1, "cores: belongs to a host, within \"hosts\"; not allowed here" },
        { "{\"launch\": [\"sh\"]}", 1, "launch: belongs to a host" },
        { "{\"hosts\": {\"localhost\": {\"modules\": []}}}", 1, "hosts.localhost.modules: belongs to the top level" },
        { "{\"hosts\": {\"localhost\": {\"hosts\": {}}}}", 1, "hosts.localhost.hosts: belongs to the top level" },
        { "{\"hosts\": {\"localhost\": {\"$schema\": \"\"}}}", 1, "belongs to the top level" },
    };
    assert_all_refused(cases, COUNT(cases));
}

static void config_knows_where_the_first_other_host_stands(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
    } cases[] = {
        { "{\"hosts\": {\n\"localhost\": 2,\n\"node1\": 4}}", 3 },
        { "{\"hosts\": {\"Localhost\":\n{\"cores\": 2}}}", 1 },
        { "{\"hosts\": {\n\"n\": {\"launch\": [\"sh\"]}, \"m\": 3}}", 2 },
        { "{\"hosts\": {\n\"localhost\": 3}}", 0 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mm_config config = parsed(cases[i].text);
        assert_int_equal(config.other_line, cases[i].line);
        mm_config_fini(&config);
    }
}

static void config_doubled_keys_are_refused(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        { "{\"pin\": true,\n\"pin\": true}", 2, "duplicate object key near '\"pin\"'" },
        { "{\"pin\": true,\n\"p\\u0069n\": true}", 2, "duplicate object key" },
        { "{\"hosts\": {\"localhost\": 1,\n\n\"localhost\": 1}}", 3, "duplicate object key" },
        { "{\"hosts\": {\"localhost\": {\"cores\": 1, \"cores\": 2}}}", 1,
          "duplicate object key near '\"cores\"': each key may be there once" },
    };
    assert_all_refused(cases, COUNT(cases));
}

static void config_broken_json_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        { "", 1, "is empty; a config is a JSON object" },
        { " \n\n ", 1, "is empty" },
        { "\xEF\xBB\xBF", 1, "is empty" },
        { "\n[1]", 2, "must be a JSON object, such as {\"hosts\"" },
        { "hosts: 4", 1, "must be a JSON object" },
        { "\"-funroll-loops\"", 1, "must be a JSON object" },
        { "{", 1, "string or '}' expected near end of file: a closing \"}\" is missing" },
        { "{\n\"pin\": true,\n}", 3, "the comma before it has nothing behind it; remove it" },
        { "{\"cflags\": [\"-O2\",]}", 1, "near ']': the comma before it has nothing behind it; remove it" },
        { "{,}", 1, "string or '}' expected near ','" },
        { "{}\n{}", 2, "end of file expected near '{': nothing may follow the closing \"}\"" },
        { "{} funroll_loops_and_more", 1, "end of file expected" },
        { "{\n'pin': true}", 2, "near ''': strings are written in double quotes" },
        { "{\"pin\"\n\"auto\"}", 2, "':' expected near '\"auto\"': a key is followed by \":\" and its value" },
        { "{\"pin\": \"auto\"\n\"cc\": \"cc\"}", 2, "'}' expected near '\"cc\"': members are set apart by commas" },
        { "{\"pin\": \"auto", 1, "premature end of input near '\"auto': a string is not closed" },
        { "{\"cc\": \"a\nb\"}", 1, "unexpected newline" },
        { "{\"pin\": tru}", 1, "invalid token near 'tru': a value is a \"string\", a number, true, false" },
        { "{\"pin\": true // yes\n}", 1, "near '/': JSON has no comments; remove it" },
        { "{\"hosts\": {\"localhost\":\n1e999}}", 2, "real number overflow" },
        { "{\"hosts\": {\"localhost\":\n-1e999}}", 2, "real number overflow" },
        { "{\"hosts\": {\"localhost\": 99999999999999999999}}", 1, "too big integer" },
        { "{\"hosts\": {\"localhost\": 010}}", 1, "near '0'" },
        { "{\"cc\":\n\"\xFF\"}", 2, "unable to decode byte 0xff" },
        { "{\"cc\": \"\xFF\"}", 1, "it must be UTF-8" },
        { "{\"cc\": \"\xC0\xAF\"}", 1, "unable to decode byte" },
        { "{\"cc\": \"\xED\xA0\x80\"}", 1, "unable to decode byte" },
        { "{\"cc\": \"g\\u0000cc\"}", 1, "\\u0000 is not allowed" },
        { "{\"a\\u0000\": 1}", 1, "NUL byte in object key" },
        { "{\"cc\": \"\\uD800\"}", 1, "invalid Unicode '\\uD800'" },
    };
    assert_all_refused(cases, COUNT(cases));
}

static void config_nesting_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    char *text = malloc(DEPTH + 16);
    strcpy(text, "{\"cflags\":\n");
    memset(text + 11, '[', DEPTH);
    text[11 + DEPTH] = '\0';
    assert_refused(text, 2, "maximum parsing depth reached");
    free(text);
}

static void config_hostile_names_do_not_spoil_the_sentence(void **state)
{
    (void)state;
    enum { LONG = 300000 };
    static const char arrow[] = { '\xE2', '\x86', '\x92' };
    char *text = malloc(LONG + 32);
    strcpy(text, "{\"");
    for (size_t i = 0; i < LONG; i += 3)
        memcpy(text + 2 + i, arrow, sizeof arrow);
    strcpy(text + 2 + LONG, "\": 1}");
    assert_refused(text, 1, "→…: unknown key; allowed here: hosts");
    free(text);
    assert_refused("{\"a\\nb\\u001b[31m\": 1}", 1, "config:1: a?b?[31m: unknown key");
    assert_refused("{\"hosts\": {\"x\\ny\": 1}}", 1, "hosts.x?y: a host's label must have no control characters");
    assert_refused("{\"a.b\": 1}", 1, "a.b: unknown key");
}

static void config_text_too_large_is_refused(void **state)
{
    (void)state;
    char *text = malloc(MM_CONFIG_MAX_BYTES + 2);
    mamuto_error_t err = { 0 };
    struct mm_config config;
    memset(text, ' ', MM_CONFIG_MAX_BYTES + 1);
    text[0] = '{';
    text[1] = '}';
    text[MM_CONFIG_MAX_BYTES + 1] = '\0';
    assert_int_equal(mm_config_parse(&config, text, &err), MAMUTO_ECONFIG);
    assert_non_null(strstr(err.text, "has 1048577 bytes; at most 1048576 are read"));
    text[MM_CONFIG_MAX_BYTES] = '\0';
    assert_int_equal(mm_config_parse(&config, text, NULL), 0);
    mm_config_fini(&config);
    free(text);
}

static void config_first_error_and_null_are_respected(void **state)
{
    (void)state;
    struct mm_config config;
    mamuto_error_t err = { .code = MAMUTO_EHOST, .line = 7, .file = "before", .text = "before" };
    assert_int_equal(mm_config_parse(&config, "{\n\"x\": 1}", &err), MAMUTO_ECONFIG);
    assert_int_equal(mm_config_load(&config, "/nonexistent", &err), MAMUTO_ECONFIG);
    assert_int_equal(err.code, MAMUTO_EHOST);
    assert_int_equal(err.line, 7);
    assert_string_equal(err.file, "before");
    assert_string_equal(err.text, "before");
    assert_int_equal(mm_config_parse(&config, "{\"pin\": 3}", NULL), MAMUTO_ECONFIG);
    assert_int_equal(mm_config_load(&config, "/nonexistent", NULL), MAMUTO_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_default_is_this_machine),
        cmocka_unit_test(config_empty_object_gives_the_defaults),
        cmocka_unit_test(config_cores_are_read_in_both_forms),
        cmocka_unit_test(config_top_level_values_are_read),
        cmocka_unit_test(config_host_value_wins_over_top_level_in_any_order),
        cmocka_unit_test(config_wrong_cores_name_line_key_and_range),
        cmocka_unit_test(config_wrong_types_name_what_is_right),
        cmocka_unit_test(config_unknown_key_names_the_nearest_and_the_allowed),
        cmocka_unit_test(config_knows_where_the_first_other_host_stands),
        cmocka_unit_test(config_doubled_keys_are_refused),
        cmocka_unit_test(config_broken_json_is_refused_with_its_line),
        cmocka_unit_test(config_nesting_beyond_the_limit_is_refused),
        cmocka_unit_test(config_hostile_names_do_not_spoil_the_sentence),
        cmocka_unit_test(config_text_too_large_is_refused),
        cmocka_unit_test(config_first_error_and_null_are_respected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
