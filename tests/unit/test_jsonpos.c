/* jsonpos.c: the line of a key path. Fixed texts, and random values that are written in random ways while the line of
 * each key and element is noted; then the scanner has to find each. MAMUTO_SEED replays a run. */
#include "core/jsonpos.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#define KEY(key_) ((struct mm_jsonpos_step){ (key_), 0 })
#define AT(index_) ((struct mm_jsonpos_step){ NULL, (index_) })
#define LINE(text_, ...)                                                                                               \
    mm_jsonpos_line(text_, strlen(text_), (const struct mm_jsonpos_step[]){ __VA_ARGS__ },                             \
                    sizeof(const struct mm_jsonpos_step[]){ __VA_ARGS__ } / sizeof(struct mm_jsonpos_step))

/* Fixed texts ---------------------------------------------------------------------------------------------------- */

static void jsonpos_member_gives_the_line_of_its_key(void **state)
{
    (void)state;
    static const char text[] = "{\n\"hosts\":\n{ \"localhost\" : {\"pin\": [{\"cores\": 1}],\n"
                               "\n\"cores\"\n:\n4}},\"cc\":\"x\"}";
    assert_int_equal(LINE(text, KEY("hosts")), 2);
    assert_int_equal(LINE(text, KEY("hosts"), KEY("localhost")), 3);
    assert_int_equal(LINE(text, KEY("hosts"), KEY("localhost"), KEY("cores")), 5);
    assert_int_equal(LINE(text, KEY("cc")), 7);
    assert_int_equal(mm_jsonpos_line(text, strlen(text), NULL, 0), 1);
    assert_int_equal(mm_jsonpos_line("\n\r\n 1", 5, NULL, 0), 3);
}

static void jsonpos_element_gives_the_line_of_its_first_byte(void **state)
{
    (void)state;
    static const char text[] = "[\n1,\n[2,\n{\"a\"\n:\n3}],\"]\"\n,4]";
    assert_int_equal(LINE(text, AT(0)), 2);
    assert_int_equal(LINE(text, AT(1)), 3);
    assert_int_equal(LINE(text, AT(1), AT(1)), 4);
    assert_int_equal(LINE(text, AT(1), AT(1), KEY("a")), 4);
    assert_int_equal(LINE(text, AT(2)), 6);
    assert_int_equal(LINE(text, AT(3)), 7);
}

static void jsonpos_what_is_not_there_gives_zero(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [1, 2], \"b\": {}, \"c\": 3}";
    assert_int_equal(LINE(text, KEY("d")), 0);
    assert_int_equal(LINE(text, KEY("")), 0);
    assert_int_equal(LINE(text, AT(0)), 0);
    assert_int_equal(LINE(text, KEY("a"), AT(2)), 0);
    assert_int_equal(LINE(text, KEY("a"), KEY("a")), 0);
    assert_int_equal(LINE(text, KEY("b"), KEY("c")), 0);
    assert_int_equal(LINE(text, KEY("c"), AT(0)), 0);
    assert_int_equal(LINE("[]", AT(0)), 0);
    assert_int_equal(mm_jsonpos_line(" \n", 2, NULL, 0), 0);
    assert_int_equal(mm_jsonpos_line("", 0, NULL, 0), 0);
}

static void jsonpos_keys_are_compared_decoded(void **state)
{
    (void)state;
    static const char text[] = "{\"ab\":1,\"a\":1,\n\"\\u0061\\/\\n\":2,\n\"\\u20AC\\ud834\\uDD1e\\u00e9\":3,\n"
                               "\"\":4,\n\"\\\"}\":5}";
    assert_int_equal(LINE(text, KEY("a")), 1);
    assert_int_equal(LINE(text, KEY("a/\n")), 2);
    assert_int_equal(LINE(text, KEY("€\U0001D11Eé")), 3);
    assert_int_equal(LINE(text, KEY("")), 4);
    assert_int_equal(LINE(text, KEY("\"}")), 5);
    assert_int_equal(LINE("{\"a\\u0000\":1,\n\"a\":2}", KEY("a")), 2);
    assert_int_equal(LINE("{\"a\":1,\n\"a\":2}", KEY("a")), 1); /* doubled: the first */
}

static void jsonpos_broken_text_gives_zero(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a",
        "{\"a\\",
        "{\"a\\u00",
        "{\"a\\q\":1,\"x\":2}",
        "{\"\\ud800\":1,\"x\":2}",
        "{\"\\ud800\\u0041\":1,\"x\":2}",
        "{\"\\udc00\":1,\"x\":2}",
        "{\"a\" 1,\"x\":2}",
        "{\"a\":1 \"x\":2}",
        "{\"a\":,\"x\":2}",
        "{\"a\":[,\"x\":2}",
        "{,\"x\":2}",
        "{\"a\n\":1,\"x\":2}",
        "{1:1,\"x\":2}",
        "[\"x\"]",
        "x",
        "{\"a\":}",
        "{\"a\":]",
        "{",
        "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (LINE(texts[i], KEY("x")) != 0)
            fail_msg("found in %s", texts[i]);
}

/* The scanner once gave up at the NUL byte that jansson 2.14 overlooks after a number or literal. */
static void jsonpos_nul_byte_after_a_number_is_passed_over(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1\0,true\0],\n\"x\":2}";
    assert_int_equal(mm_jsonpos_line(text, sizeof text - 1, &KEY("x"), 1), 2);
}

/* Each beginning of a text, in a block of just its size: the sanitizer sees any step beyond the end. */
static void jsonpos_every_beginning_is_scanned_within_its_bounds(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\u0041\\ud834\\udd1e\": [1, {\"b\": \"\\n\"}, true],\n"
                               "\"x\": [[], [-1.5e3, null]]}";
    const struct mm_jsonpos_step path[] = { KEY("x"), AT(1), AT(1) };
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        bool there = n > (size_t)(strstr(text, "null") - text);
        assert_int_equal(mm_jsonpos_line(copy, n, path, 3), there ? 2 : 0);
        free(copy);
    }
}

/* Random values -------------------------------------------------------------------------------------------------- */

enum { MAX_STEPS = 6, MAX_PATHS = 4000, MAX_TEXT = 1 << 20, MAX_SIBLINGS = 5, ROUNDS = 2000 };

struct noted {
    struct mm_jsonpos_step steps[MAX_STEPS];
    size_t n_steps;
    int line;
};

struct writer {
    uint64_t random;
    char *text;
    size_t length;
    int line;
    struct mm_jsonpos_step at[MAX_STEPS];
    struct noted *noted;
    size_t n_noted;
    char *keys[MAX_PATHS]; /* owned; steps borrow them */
    size_t n_keys;
};

static uint32_t draw(struct writer *w, uint32_t below)
{
    w->random += 0x9E3779B97F4A7C15u; /* splitmix64 */
    uint64_t z = w->random;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) % below);
}

static void put(struct writer *w, const char *bytes)
{
    for (; *bytes; bytes++) {
        w->text[w->length++] = *bytes;
        w->line += *bytes == '\n';
    }
}

static void put_blanks(struct writer *w)
{
    static const char *const blanks[] = { " ", "\t", "\n", "\r\n", "\n\n", "\r" };
    while (draw(w, 3) == 0)
        put(w, blanks[draw(w, 6)]);
}

/* A character in the forms that JSON has for it; the first is the decoded one. */
static const char *const characters[][4] = {
    { "a", "a", "\\u0061", NULL },
    { "b", "b", "\\u0062", NULL },
    { "\"", "\\\"", "\\u0022", NULL },
    { "\\", "\\\\", "\\u005c", "\\u005C" },
    { "/", "/", "\\/", "\\u002F" },
    { "\n", "\\n", "\\u000a", "\\u000A" },
    { "\t", "\\t", "\\u0009", NULL },
    { "\x7F", "\x7F", "\\u007f", NULL },
    { "é", "é", "\\u00e9", "\\u00E9" },
    { "\u0800", "\u0800", "\\u0800", NULL },
    { "€", "€", "\\u20ac", "\\u20Ac" },
    { "\uFFFF", "\uFFFF", "\\uffff", "\\uFfFf" },
    { "\U0001D11E", "\U0001D11E", "\\ud834\\udd1e", "\\uD834\\uDD1E" },
    { "\U0010FFFF", "\U0010FFFF", "\\udbff\\udfff", NULL },
    { "{", "{", "\\u007b", NULL },
    { "]", "]", "\\u005d", NULL },
    { ":", ":", "\\u003a", NULL },
    { ",", ",", "\\u002c", NULL },
    { ".", ".", "\\u002e", NULL },
};
enum { N_CHARACTERS = sizeof characters / sizeof *characters };

/* Writes a random string, and into decoded what it means. */
static void put_string(struct writer *w, char decoded[64])
{
    uint32_t n = draw(w, 6);
    decoded[0] = '\0';
    put(w, "\"");
    for (uint32_t i = 0; i < n; i++) {
        const char *const *forms = characters[draw(w, N_CHARACTERS)];
        strcat(decoded, forms[0]);
        put(w, forms[1 + draw(w, forms[3] ? 3 : 2)]);
    }
    put(w, "\"");
}

static void note(struct writer *w, size_t n_steps, int line)
{
    struct noted *noted = &w->noted[w->n_noted++];
    memcpy(noted->steps, w->at, sizeof w->at);
    noted->n_steps = n_steps;
    noted->line = line;
}

static bool is_taken(char **keys, size_t n, const char *key)
{
    while (n > 0 && strcmp(keys[n - 1], key) != 0)
        n--;
    return n > 0;
}

static void put_value(struct writer *w, size_t depth);

/* A member with a key that no sibling has. */
static void put_member(struct writer *w, size_t depth, char **siblings, size_t n_siblings)
{
    char key[64];
    size_t start;
    do {
        start = w->length;
        put_string(w, key);
        if (is_taken(siblings, n_siblings, key))
            w->length = start;
    } while (w->length == start);
    siblings[n_siblings] = w->keys[w->n_keys++] = strdup(key);
    w->at[depth] = (struct mm_jsonpos_step){ siblings[n_siblings], 0 };
    note(w, depth + 1, w->line); /* a key has no line break */
    put_blanks(w);
    put(w, ":");
    put_blanks(w);
    put_value(w, depth + 1);
}

static void put_collection(struct writer *w, size_t depth, bool object)
{
    uint32_t n = draw(w, MAX_SIBLINGS);
    char *siblings[MAX_SIBLINGS];
    put(w, object ? "{" : "[");
    put_blanks(w);
    for (uint32_t i = 0; i < n; i++) {
        if (object) {
            put_member(w, depth, siblings, i);
        } else {
            w->at[depth] = (struct mm_jsonpos_step){ NULL, i };
            note(w, depth + 1, w->line);
            put_value(w, depth + 1);
        }
        put_blanks(w);
        put(w, i + 1 < n ? "," : "");
        put_blanks(w);
    }
    put(w, object ? "}" : "]");
}

static void put_value(struct writer *w, size_t depth)
{
    static const char *const scalars[] = { "0", "-1", "12.5e-3", "1E+2", "true", "false", "null", "\"\"" };
    char ignored[64];
    uint32_t kind = draw(w, 8);
    if (depth < MAX_STEPS && (kind < 5 || depth == 0))
        put_collection(w, depth, kind < 3);
    else if (kind < 7)
        put(w, scalars[draw(w, 8)]);
    else
        put_string(w, ignored);
}

static void check_noted(struct writer *w, uint64_t seed)
{
    for (size_t i = 0; i < w->n_noted; i++) {
        struct noted *noted = &w->noted[i];
        int line = mm_jsonpos_line(w->text, w->length, noted->steps, noted->n_steps);
        if (line != noted->line)
            fail_msg("MAMUTO_SEED=%llu: path %zu of %zu steps: line %d, not %d, in\n%.*s", (unsigned long long)seed, i,
                     noted->n_steps, line, noted->line, (int)w->length, w->text);
    }
}

static void one_round(struct writer *w, uint64_t seed)
{
    w->random = seed;
    w->length = w->n_noted = w->n_keys = 0;
    w->line = 1;
    put_blanks(w);
    note(w, 0, w->line);
    put_value(w, 0);
    put_blanks(w);
    json_error_t error;
    json_t *json = json_loadb(w->text, w->length, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("MAMUTO_SEED=%llu: this test wrote bad JSON: %s", (unsigned long long)seed, error.text);
    json_decref(json);
    check_noted(w, seed);
    for (size_t i = 0; i < w->n_keys; i++)
        free(w->keys[i]);
}

static void jsonpos_random_values_are_found_at_their_lines(void **state)
{
    (void)state;
    const char *given = getenv("MAMUTO_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20;
    struct writer *w = calloc(1, sizeof *w);
    size_t checked = 0;
    w->text = malloc(MAX_TEXT);
    w->noted = calloc(MAX_PATHS, sizeof *w->noted);
    print_message("MAMUTO_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < (given ? 1 : ROUNDS); i++) {
        one_round(w, seed + i);
        checked += w->n_noted;
    }
    assert_true(given || checked > (size_t)10 * ROUNDS);
    free(w->noted);
    free(w->text);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonpos_member_gives_the_line_of_its_key),
        cmocka_unit_test(jsonpos_element_gives_the_line_of_its_first_byte),
        cmocka_unit_test(jsonpos_what_is_not_there_gives_zero),
        cmocka_unit_test(jsonpos_keys_are_compared_decoded),
        cmocka_unit_test(jsonpos_broken_text_gives_zero),
        cmocka_unit_test(jsonpos_nul_byte_after_a_number_is_passed_over),
        cmocka_unit_test(jsonpos_every_beginning_is_scanned_within_its_bounds),
        cmocka_unit_test(jsonpos_random_values_are_found_at_their_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
