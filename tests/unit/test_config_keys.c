/* Each key of a config: where it may stand, what its values mean, and the sentence, line and key of each kind of bad
 * one. Then random configs with one fault in them, which must be told at its line. MAMUTO_SEED replays a run. */
#include "core/config.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static struct mm_config parsed(const char *text)
{
    struct mm_config config;
    mamuto_error_t err = { 0 };
    if (mm_config_parse(&config, text, &err))
        fail_msg("%s\n%s", text, err.text);
    return config;
}

static void assert_refused(const char *text, int line, const char *sentence)
{
    struct mm_config config;
    mamuto_error_t err = { 0 };
    char start[256];
    snprintf(start, sizeof start, "config:%d: %s", line, sentence);
    int code = mm_config_parse(&config, text, &err);
    if (code != MAMUTO_ECONFIG || err.code != code || err.line != line || strncmp(err.text, start, strlen(start)) != 0)
        fail_msg("for %s\nwanted %s\ngot    %d: %s", text, start, code, err.text);
}

/* The config with this member on its third line: at the top, of this machine, of another host. */
enum place { TOP, LOCAL, OTHER };
static const char *const prefixes[] = { "", "hosts.localhost.", "hosts.node1." };

static const char *in_place(enum place place, const char *member)
{
    static char text[4096];
    static const char *const formats[] = { "{\n\n%s}", "{\"hosts\":\n{\"localhost\": {\n%s}}}",
                                           "{\"hosts\":\n{\"node1\": {\n%s}}}" };
    snprintf(text, sizeof text, formats[place], member);
    return text;
}

static void assert_refused_in(enum place place, const char *key, const char *value, const char *sentence)
{
    char member[1024], whole[256];
    snprintf(member, sizeof member, "\"%s\": %s", key, value);
    snprintf(whole, sizeof whole, "%s%s%s", prefixes[place], key, sentence);
    assert_refused(in_place(place, member), 3, whole);
}

/* Bad values ------------------------------------------------------------------------------------------------------- */

enum { T = 1 << TOP, L = 1 << LOCAL, O = 1 << OTHER, ANYWHERE = T | L | O };

#define WRONG_TYPES "null", "[1]", "{}", "true", "1.5"
#define A_PATH "a path, as a string that is not empty"
#define A_FLAG "true or false"

/* clang-format off */
static const struct spec {
    const char *key;
    int where;
    const char *good, *right; /* right: what bad values are told */
    const char *bad[12];
} specs[] = {
    { "cores", L | O, "3", "a number of cores from 1 to 255, or \"all\"",
      { WRONG_TYPES, "0", "256", "-1", "\"3\"", "\"\"" } },
    { "workdir", ANYWHERE, "\"/tmp\"", "a folder's path, or \"\" to stay", { "null", "[1]", "{}", "true", "7" } },
    { "nice", ANYWHERE, "19", "an integer from 0 to 19", { WRONG_TYPES, "-1", "20", "\"5\"", "5.0" } },
    { "env", ANYWHERE, "{\"A\": \"b\"}", "an object of strings, such as", { "null", "[\"A=b\"]", "\"A=b\"", "1" } },
    { "pin", ANYWHERE, "true", "\"auto\", true or false", { "null", "[true]", "{}", "1", "\"true\"", "\"Auto\"" } },
    { "core_dumps", ANYWHERE, "true", A_FLAG, { "null", "[true]", "{}", "1", "\"true\"" } },
    { "cc", ANYWHERE, "\"gcc\"", "the name or path of a C compiler", { WRONG_TYPES, "\"\"" } },
    { "cflags", ANYWHERE, "[\"-O1\"]", "a list of strings, such as [\"-O2\"]", { "null", "{}", "\"-O1\"", "1" } },
    { "libs", ANYWHERE, "[\"-lm\"]", "a list of strings, such as [\"-lm\"]", { "null", "{}", "\"-lm\"", "1" } },
    { "agent", L | O, "\"/bin/agent\"", "the path of mamuto-agent", { WRONG_TYPES, "\"\"" } },
    { "required", ANYWHERE, "true", A_FLAG, { "null", "0", "\"yes\"", "[]" } },
    { "transport", L, "\"shm\"", "\"shm\", or left out, for this machine", { WRONG_TYPES, "\"tcp\"", "\"ssh\"" } },
    { "transport", T | O, "\"tcp\"", "\"tcp\" or \"ssh\", or left out", { WRONG_TYPES, "\"shm\"", "\"udp\"" } },
    { "encrypt", T | O, "false", A_FLAG, { "null", "1", "\"no\"", "[]" } },
    { "known_hosts", T | O, "\"accept-new\"", "\"strict\" or \"accept-new\"", { WRONG_TYPES, "\"yes\"", "\"\"" } },
    { "known_hosts_file", T | O, "\"/etc/known\"", A_PATH, { WRONG_TYPES, "\"\"" } },
    { "ssh_config", T | O, "\"/etc/ssh\"", A_PATH, { WRONG_TYPES, "\"\"" } },
    { "address", O, "\"10.0.0.7\"", "a host's name or address",
      { WRONG_TYPES, "\"\"", "\"a b\"", "\"-oX\"", "\"me@node\"", "\"a/b\"" } },
    { "user", O, "\"me\"", "a user's name, as a string", { WRONG_TYPES, "\"\"", "\"a b\"", "\"-l\"" } },
    { "port", O, "2222", "a port, an integer from 1 to 65535", { WRONG_TYPES, "0", "65536", "\"22\"" } },
    { "identity", O, "\"/k\"", "the path of a private key", { WRONG_TYPES, "\"\"" } },
    { "data_address", O, "\"::1\"", "a host's name or address", { WRONG_TYPES, "\"\"", "\"a\\tb\"" } },
    { "data_port", O, "\"40000-40100\"", "a port from 1 to 65535, or a range of them",
      { WRONG_TYPES, "0", "65536", "\"\"", "\"1-\"", "\"-1\"", "\"1-70000\"" } },
    { "data_port", O, "1", "a port from 1 to 65535, or a range of them",
      { "-1", "\"a\"", "\"1 - 2\"", "\"1-2-3\"", "\"99999999999\"", "\"0-5\"" } },
    { "launch", O, "[\"sh\", \"-c\"]", "a command as a list of strings", { "null", "{}", "\"sh\"", "[]", "1" } },
    { "connect_timeout_ms", T | O, "1", "milliseconds, an integer from 1 to 3600000",
      { WRONG_TYPES, "0", "3600001", "\"1s\"" } },
    { "inflight_bytes", T | O, "65536", "bytes, an integer from 65536 to 1073741824",
      { WRONG_TYPES, "65535", "1073741825" } },
    { "same_code", T | O, "\"require\"", "\"require\" or \"warn\"", { WRONG_TYPES, "\"ignore\"" } },
    { "modules", T, "[\"m.c\"]", "a list of paths of .c and .so files", { "null", "{}", "\"m.c\"", "1" } },
    { "$schema", T, "\"\"", "a string, the address of a JSON schema", { WRONG_TYPES } },
};
/* clang-format on */

static void config_keys_bad_values_name_line_key_and_what_is_right(void **state)
{
    (void)state;
    char sentence[256];
    for (const struct spec *s = specs; s < specs + COUNT(specs); s++) {
        snprintf(sentence, sizeof sentence, ": must be %s", s->right);
        for (int place = TOP; place <= OTHER; place++)
            for (size_t i = 0; (s->where & 1 << place) && i < COUNT(s->bad) && s->bad[i]; i++)
                assert_refused_in((enum place)place, s->key, s->bad[i], sentence);
    }
}

static void config_keys_good_values_are_read_where_they_may_stand(void **state)
{
    (void)state;
    char member[256];
    for (const struct spec *s = specs; s < specs + COUNT(specs); s++) {
        snprintf(member, sizeof member, "\"%s\": %s", s->key, s->good);
        for (int place = TOP; place <= OTHER; place++)
            if (s->where & 1 << place) {
                struct mm_config config = parsed(in_place((enum place)place, member));
                mm_config_fini(&config);
            }
    }
}

static void config_keys_of_other_hosts_are_refused_for_this_machine(void **state)
{
    (void)state;
    static const char *const keys[] = { "encrypt",      "known_hosts",   "known_hosts_file",
                                        "ssh_config",   "address",       "user",
                                        "port",         "identity",      "data_port",
                                        "data_address", "launch",        "connect_timeout_ms",
                                        "same_code",    "inflight_bytes" };
    for (size_t i = 0; i < COUNT(keys); i++)
        assert_refused_in(LOCAL, keys[i], "1", ": concerns other hosts alone");
    static const char *const of_hosts[] = { "cores",    "agent",        "address",   "user",  "port",
                                            "identity", "data_address", "data_port", "launch" };
    for (size_t i = 0; i < COUNT(of_hosts); i++)
        assert_refused_in(TOP, of_hosts[i], "1", ": belongs to a host");
    for (int place = LOCAL; place <= OTHER; place++) {
        assert_refused_in((enum place)place, "modules", "[]", ": belongs to the top level");
        assert_refused_in((enum place)place, "hosts", "{}", ": belongs to the top level");
        assert_refused_in((enum place)place, "$schema", "\"\"", ": belongs to the top level");
    }
}

static void config_keys_elements_and_variables_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *sentence;
    } cases[] = {
        { "{\"modules\": [\"a.c\",\n\"\"]}", 2, "modules[1]: must be a string that is not empty, not \"\"" },
        { "{\"modules\": [\n\"~/a.c\"]}", 2, "modules[0]: \"~\" is not expanded here, as in \"~/a.c\"" },
        { "{\"workdir\": \"~me\"}", 1, "workdir: \"~\" is not expanded here, as in \"~me\"; write the path out" },
        { "{\"env\": {\n\"A\": \"\",\n\"B\": 4}}", 3, "env.B: must be a string, such as \"4\", not 4" },
        { "{\"env\": {\n\"\": \"x\"}}", 2, "env.: a variable's name must not be empty, nor have a \"=\"" },
        { "{\"env\": {\"A=B\": \"x\"}}", 1, "env.A=B: a variable's name must not be empty" },
        { "{\"env\": {\"MAMUTO_WORKER\": \"\"}}", 1, "env.MAMUTO_WORKER: is how the library marks its workers" },
        { "{\"hosts\": {\"n\": {\"launch\": [\"sh\",\n1]}}}", 2,
          "hosts.n.launch[1]: must be a string that is not empty" },
        { "{\"hosts\": {\"n\": {\"launch\": []}}}", 1, "hosts.n.launch: must be a command" },
        { "{\"hosts\": {\"n\": {\"data_port\": \"9-8\"}}}", 1,
          "hosts.n.data_port: the range must not end before it begins, as \"9-8\" does" },
        { "{\"hosts\": {\n\"\": 1}}", 2, "hosts.: a host's label must have 1 to 63 bytes" },
        { "{\"hosts\": {\"0123456789012345678901234567890123456789012345678901234567890123\": 1}}", 1,
          "hosts.01234567890123456789012345678901234567890123456789012345…: a host's label must have 1 to 63 bytes" },
        { "{\"hosts\": {\"me@n\": 1}}", 1,
          "hosts.me@n: is the host's address, too, where it has no \"address\": it must "
          "be without \"@\": \"user\" is a key of its own" },
        { "{\"hosts\": {\"a b\": {}}}", 1, "hosts.a b: is the host's address, too" },
        { "{\"hosts\": {\"-x\": {}}}", 1, "hosts.-x: is the host's address, too" },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refused(cases[i].text, cases[i].line, cases[i].sentence);
}

static void config_keys_without_meaning_beside_others_are_refused(void **state)
{
    (void)state;
    static const char *const of_login[] = { "known_hosts", "known_hosts_file", "ssh_config", "address", "user",
                                            "port",        "identity" };
    static const char *const of_stream[] = { "encrypt", "data_address", "data_port" };
    char text[512], sentence[256];
    for (const struct spec *s = specs; s < specs + COUNT(specs); s++) {
        bool login = false, stream = false;
        for (size_t i = 0; i < COUNT(of_login); i++)
            login |= strcmp(of_login[i], s->key) == 0;
        for (size_t i = 0; i < COUNT(of_stream); i++)
            stream |= strcmp(of_stream[i], s->key) == 0;
        snprintf(text, sizeof text, "{\"hosts\": {\"n\": {\n\"%s\": %s,\n\"launch\": [\"x\"]}}}", s->key, s->good);
        snprintf(sentence, sizeof sentence, "hosts.n.%s: concerns a login by ssh", s->key);
        if (login)
            assert_refused(text, 2, sentence);
        snprintf(text, sizeof text, "{\"hosts\": {\"n\": {\n\"%s\": %s}},\n\"transport\": \"ssh\"}", s->key, s->good);
        snprintf(sentence, sizeof sentence, "hosts.n.%s: concerns the stream of transport \"tcp\"", s->key);
        if (stream)
            assert_refused(text, 2, sentence);
    }
    /* as defaults they concern those hosts that they concern */
    struct mm_config config = parsed("{\"encrypt\": false, \"known_hosts\": \"accept-new\", \"transport\": \"ssh\", "
                                     "\"hosts\": {\"a b\": {\"launch\": [\"x\"]}, \"localhost\": 1}}");
    assert_int_equal(config.n_hosts, 2);
    mm_config_fini(&config);
}

/* Good values ------------------------------------------------------------------------------------------------------ */

static void assert_list(char **list, const char *joined)
{
    char text[512] = "";
    for (; list && *list; list++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", *text ? "|" : "", *list);
    assert_string_equal(text, joined);
}

static void config_keys_of_another_host_are_read(void **state)
{
    (void)state;
    struct mm_config config = parsed(
        "{\"hosts\": {\"n\": {\"cores\": 9, \"transport\": \"tcp\", \"encrypt\": false, \"known_hosts\": "
        "\"accept-new\", \"known_hosts_file\": \"k\", \"ssh_config\": \"s\", \"address\": \"a\", \"user\": \"u\", "
        "\"port\": 65535, \"identity\": \"i\", \"data_address\": \"d\", \"data_port\": \"40000-40100\", "
        "\"agent\": \"g\", \"required\": true, \"connect_timeout_ms\": 7, \"inflight_bytes\": 70000, "
        "\"same_code\": \"require\", \"workdir\": \"w\", \"nice\": 4}, \"l\": {\"launch\": [\"docker\", \"exec\"], "
        "\"data_port\": 80, \"transport\": \"tcp\"}}}");
    const struct mm_config_host *n = &config.hosts[0], *l = &config.hosts[1];
    assert_int_equal(config.n_hosts, 2);
    assert_string_equal(n->label, "n");
    assert_false(n->local || n->encrypt || n->core_dumps);
    assert_true(n->required && !l->required && l->encrypt);
    assert_int_equal(n->cores, 9);
    assert_int_equal(n->transport, MM_TRANSPORT_TCP);
    assert_int_equal(n->known_hosts, MM_KNOWN_HOSTS_ACCEPT_NEW);
    assert_int_equal(n->same_code, MM_SAME_CODE_REQUIRE);
    const char *const strings[][2] = { { n->known_hosts_file, "k" },
                                       { n->ssh_config, "s" },
                                       { n->address, "a" },
                                       { n->user, "u" },
                                       { n->identity, "i" },
                                       { n->agent, "g" },
                                       { n->data_address, "d" },
                                       { n->workdir, "w" },
                                       { l->label, "l" } };
    for (size_t i = 0; i < COUNT(strings); i++)
        assert_string_equal(strings[i][0], strings[i][1]);
    const int integers[][2] = { { n->port, 65535 },
                                { n->data_port_first, 40000 },
                                { n->data_port_last, 40100 },
                                { n->connect_timeout_ms, 7 },
                                { n->inflight_bytes, 70000 },
                                { n->nice, 4 },
                                { l->port, 0 },
                                { l->data_port_first, 80 },
                                { l->data_port_last, 80 },
                                { l->cores, 0 },
                                { (int)l->known_hosts, 0 },
                                { (int)l->same_code, 0 },
                                { l->connect_timeout_ms, 10000 },
                                { l->inflight_bytes, 67108864 } };
    for (size_t i = 0; i < COUNT(integers); i++)
        assert_int_equal(integers[i][0], integers[i][1]);
    assert_list(l->launch, "docker|exec");
    assert_null(n->launch);
    mm_config_fini(&config);
}

static void config_keys_of_the_top_level_are_every_hosts_defaults(void **state)
{
    (void)state;
    struct mm_config config =
        parsed("{\"hosts\": {\"localhost\": {\"env\": {\"B\": \"2\", \"C\": \"\"}, \"workdir\": \"\"}, \"n\": 3, "
               "\"m\": {\"transport\": \"tcp\", \"nice\": 0, \"env\": {}}}, \"modules\": [\"a.c\", \"b/c.so\"], "
               "\"nice\": 7, \"workdir\": \"/w\", \"env\": {\"A\": \"1\", \"B\": \"x=y\"}, \"transport\": \"ssh\", "
               "\"connect_timeout_ms\": 5, \"required\": true, \"known_hosts_file\": \"k\"}");
    const struct mm_config_host *local = &config.hosts[0], *n = &config.hosts[1], *m = &config.hosts[2];
    assert_list(config.modules, "a.c|b/c.so");
    assert_list(local->env, "A=1|B=2|C=");
    assert_list(n->env, "A=1|B=x=y");
    assert_list(m->env, "A=1|B=x=y");
    assert_null(local->workdir);
    assert_string_equal(n->workdir, "/w");
    assert_int_equal(local->nice, 7);
    assert_int_equal(n->nice, 7);
    assert_int_equal(m->nice, 0);
    assert_int_equal(local->transport, MM_TRANSPORT_SHM); /* whatever the top level says */
    assert_int_equal(n->transport, MM_TRANSPORT_SSH);
    assert_int_equal(m->transport, MM_TRANSPORT_TCP);
    assert_int_equal(n->connect_timeout_ms, 5);
    assert_true(local->required && n->required);
    assert_string_equal(n->known_hosts_file, "k");
    assert_string_equal(m->known_hosts_file, "k");
    mm_config_fini(&config);
}

static void config_env_too_large_is_refused(void **state)
{
    (void)state;
    char *text = malloc(40000);
    size_t n = (size_t)sprintf(text, "{\"env\": {");
    for (int i = 0; i < 1001; i++)
        n += (size_t)sprintf(text + n, "\"V%d\": \"%d\"%s", i, i, i < 1000 ? ", " : "}}");
    assert_refused(text, 1, "env: has 1001 variables; at most 1000 are allowed");
    free(text);
}

static void config_too_many_hosts_are_refused(void **state)
{
    (void)state;
    char *text = malloc(40000);
    size_t n = (size_t)sprintf(text, "{\"hosts\": {");
    for (int i = 0; i < MM_CONFIG_MAX_HOSTS; i++)
        n += (size_t)sprintf(text + n, "\"n%d\": 1, ", i);
    strcpy(text + n - 2, "}}");
    struct mm_config config = parsed(text);
    assert_int_equal(config.n_hosts, MM_CONFIG_MAX_HOSTS);
    mm_config_fini(&config);
    strcpy(text + n - 2, ", \"one_more\": 1}}");
    assert_refused(text, 1, "hosts: names 1001 hosts; at most 1000 can be used");
    free(text);
}

/* Random configs --------------------------------------------------------------------------------------------------- */

struct writer {
    uint64_t random;
    char text[65536];
    size_t length;
    int line, fault_line; /* fault_line: 0: none is written yet */
    char fault[128];
};

static uint32_t draw(struct writer *w, size_t below)
{
    assert(below > 0);
    w->random += 0x9E3779B97F4A7C15u; /* splitmix64 */
    uint64_t z = w->random;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) % below);
}

static void put(struct writer *w, const char *text)
{
    for (; *text; text++) {
        w->text[w->length++] = *text;
        w->line += *text == '\n';
    }
    for (; draw(w, 3) == 0; w->line++)
        w->text[w->length++] = '\n';
    w->text[w->length] = '\0';
}

/* Members of that place, each key once, in an order that begins anywhere; one of them may be the fault. */
static void put_members(struct writer *w, enum place place)
{
    size_t begin = draw(w, COUNT(specs)), written = 0;
    char used[4096] = " ", key[64];
    for (size_t k = 0; k < COUNT(specs); k++) {
        const struct spec *s = &specs[(begin + k) % COUNT(specs)];
        snprintf(key, sizeof key, " %s ", s->key);
        bool beside = strcmp(s->key, "launch") == 0; /* with others it is a fault of another kind */
        if (!(s->where & 1 << place) || strstr(used, key) || beside || draw(w, 3) == 0)
            continue;
        strcat(used, key + 1);
        put(w, written++ ? "," : "");
        bool fault = !w->fault_line && draw(w, 8) == 0;
        size_t n_bad = 0;
        while (n_bad < COUNT(s->bad) && s->bad[n_bad])
            n_bad++;
        if (fault) {
            w->fault_line = w->line;
            snprintf(w->fault, sizeof w->fault, "%s%s: must be %s", prefixes[place], s->key, s->right);
        }
        snprintf(key, sizeof key, "\"%s\"", s->key);
        put(w, key);
        put(w, ":");
        put(w, fault ? s->bad[draw(w, n_bad)] : s->good);
    }
}

static void one_round(struct writer *w, uint64_t seed)
{
    char start[256];
    struct mm_config config;
    mamuto_error_t err = { 0 };
    w->random = seed;
    w->length = 0;
    w->line = 1;
    w->fault_line = 0;
    put(w, "{");
    put_members(w, TOP);
    put(w, w->text[strspn(w->text, "{\n")] ? ",\"hosts\":{" : "\"hosts\":{");
    put(w, "\"localhost\":{");
    put_members(w, LOCAL);
    put(w, "},\"node1\":{");
    put_members(w, OTHER);
    put(w, "}}}");
    int code = mm_config_parse(&config, w->text, &err);
    if (!code)
        mm_config_fini(&config);
    snprintf(start, sizeof start, "config:%d: %s", w->fault_line, w->fault);
    bool right = w->fault_line ? code == MAMUTO_ECONFIG && err.line == w->fault_line &&
                                     strncmp(err.text, start, strlen(start)) == 0
                               : code == 0;
    if (!right)
        fail_msg("MAMUTO_SEED=%llu: wanted %s\ngot %d: %s\n%s", (unsigned long long)seed, w->fault_line ? start : "0",
                 code, err.text, w->text);
}

static void config_random_fault_is_told_at_its_line(void **state)
{
    (void)state;
    const char *given = getenv("MAMUTO_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20;
    struct writer *w = malloc(sizeof *w);
    size_t faults = 0;
    print_message("MAMUTO_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < (given ? 1 : 3000); i++) {
        one_round(w, seed + i);
        faults += w->fault_line != 0;
    }
    assert_true(given || (faults > 1500 && faults < 3000));
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_keys_bad_values_name_line_key_and_what_is_right),
        cmocka_unit_test(config_keys_good_values_are_read_where_they_may_stand),
        cmocka_unit_test(config_keys_of_other_hosts_are_refused_for_this_machine),
        cmocka_unit_test(config_keys_elements_and_variables_are_named),
        cmocka_unit_test(config_keys_without_meaning_beside_others_are_refused),
        cmocka_unit_test(config_keys_of_another_host_are_read),
        cmocka_unit_test(config_keys_of_the_top_level_are_every_hosts_defaults),
        cmocka_unit_test(config_env_too_large_is_refused),
        cmocka_unit_test(config_too_many_hosts_are_refused),
        cmocka_unit_test(config_random_fault_is_told_at_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
