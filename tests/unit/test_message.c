/* The codec: what is encoded is found again, and nothing else is believed. Random bodies print their seed; MAMUTO_SEED replays. */
#include "tests/support/bodies.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { ROUNDS = 300, GUARD = 0xa5 };

static uint64_t seed(void)
{
    const char *given = getenv("MAMUTO_SEED");
    return given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
}

static void bodies_are_found_as_they_were_put(void **state)
{
    (void)state;
    uint64_t first = seed();
    printf("MAMUTO_SEED=%" PRIu64 "\n", first);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        unsigned char body[BODIES_BYTES], again[BODIES_BYTES];
        enum mm_frame_type type;
        for (unsigned i = 0; bodies_make(i, first + round, &type, body); i++) {
            size_t n = bodies_make(i, first + round, &type, body), n_again = 0;
            const char *why = "";
            int code = bodies_take(type, body, n, again, &n_again, &why);
            if (code || n != n_again || memcmp(body, again, n) != 0)
                fail_msg("%s: code %d, %s, %zu bytes, then %zu", mm_frame_name(type), code, why, n, n_again);
        }
    }
}

/* In memory that ends where the body does, so that a sanitizer sees each byte too many. */
static void bodies_that_are_cut_short_or_too_long_are_refused(void **state)
{
    (void)state;
    unsigned char body[BODIES_BYTES], again[BODIES_BYTES];
    enum mm_frame_type type;
    for (unsigned i = 0; bodies_make(i, 7, &type, body); i++) {
        size_t n = bodies_make(i, 7, &type, body), n_again;
        for (size_t cut = 0; cut < n; cut++) {
            const char *why = NULL;
            unsigned char *copy = malloc(cut + 1);
            assert_non_null(copy);
            memcpy(copy, body, cut);
            int code = bodies_take(type, copy, cut, again, &n_again, &why);
            free(copy);
            bool open_ended = type == MM_FRAME_OUT && cut >= 8; /* its text has no length */
            bool told = why && strcmp(why, "it ends before its last field does") == 0;
            if (!open_ended && (code != MAMUTO_EPROTOCOL || !told))
                fail_msg("%s cut to %zu of %zu bytes: %d, %s", mm_frame_name(type), cut, n, code, why ? why : "-");
        }
        const char *why = NULL;
        body[n] = 0;
        if (type == MM_FRAME_OUT)
            continue;
        assert_int_equal(bodies_take(type, body, n + 1, again, &n_again, &why), MAMUTO_EPROTOCOL);
        assert_string_equal(why, "something follows its last field");
    }
}

/* Each byte turned over: whatever is found, it is found within the body, and is put again as it was. */
static void bodies_that_are_damaged_do_no_harm(void **state)
{
    (void)state;
    unsigned char body[BODIES_BYTES], again[BODIES_BYTES];
    enum mm_frame_type type;
    for (unsigned i = 0; bodies_make(i, 11, &type, body); i++) {
        size_t n = bodies_make(i, 11, &type, body), n_again;
        for (size_t at = 0; at < n; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                const char *why = "";
                body[at] ^= (unsigned char)(1U << bit);
                int code = bodies_take(type, body, n, again, &n_again, &why);
                if (!code && (n_again != n || memcmp(again, body, n) != 0))
                    fail_msg("%s, byte %zu, bit %u: another body comes out", mm_frame_name(type), at, bit);
                body[at] ^= (unsigned char)(1U << bit);
            }
    }
}

static void another_byte_order_and_another_version_are_told(void **state)
{
    (void)state;
    unsigned char body[BODIES_BYTES];
    enum mm_frame_type type;
    struct mm_hello hello;
    const char *why = "";
    size_t n = bodies_make(0, 3, &type, body);
    unsigned char first = body[0];
    body[0] = body[1];
    body[1] = first;
    assert_int_equal(mm_get_hello(&hello, body, n, &why), MAMUTO_EVERSION);
    assert_string_equal(why, "its byte order is not that of this machine");
    n = bodies_make(0, 3, &type, body);
    body[2] = MM_PROTOCOL + 1; /* the least that it speaks */
    body[6] = MM_PROTOCOL + 9;
    assert_int_equal(mm_get_hello(&hello, body, n, &why), MAMUTO_EVERSION);
    assert_string_equal(why, "it speaks another version of the protocol");
}

static void a_module_cannot_lead_out_of_its_folder(void **state)
{
    (void)state;
    static const char *const bad[] = { "/etc/passwd", "../x.c", "a/../../x.c", "",   "a/..", "..",
                                       "a//x.c",      "./x.c",  "a/./x.c",     "a/", "/" };
    static const char *const good[] = { "x.c", "..x.c", "a/...", ".a/x.c", "a/b/x.c" };
    static const char *const none[] = { NULL };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char body[BODIES_BYTES];
        const char *files[] = { bad[i], NULL };
        struct mm_writer w = { .at = body, .room = sizeof body };
        struct mm_module_body module;
        const char *why = "";
        mm_put_module(&w, "x", bad[i], "cc", none, none, files, (const uint64_t[]){ 1 });
        assert_int_equal(mm_get_module(&module, body, w.n, &why), MAMUTO_EPROTOCOL);
        assert_string_equal(why, "a field of it is out of its range");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        unsigned char body[BODIES_BYTES];
        const char *files[] = { good[i], NULL };
        struct mm_writer w = { .at = body, .room = sizeof body };
        struct mm_module_body module;
        const char *why = "";
        mm_put_module(&w, "x", good[i], "cc", none, none, files, (const uint64_t[]){ 1 });
        if (mm_get_module(&module, body, w.n, &why))
            fail_msg("%s: %s", good[i], why);
    }
}

static void a_body_that_does_not_fit_is_not_written(void **state)
{
    (void)state;
    unsigned char small[20];
    struct mm_writer w = { .at = small, .room = sizeof small - 4 };
    memset(small, GUARD, sizeof small);
    mm_put_bye(&w, MAMUTO_EHOST, "this is longer than sixteen bytes");
    assert_true(w.full);
    for (size_t i = sizeof small - 4; i < sizeof small; i++)
        assert_int_equal(small[i], GUARD);
}

static void errors_cross_with_their_control_characters_escaped(void **state)
{
    (void)state;
    mamuto_error_t err = { .code = MAMUTO_EITEM, .item = 4711, .item_code = 7, .signal = 11, .worker = 3, .line = 12 },
                   out = { 0 };
    snprintf(err.text, sizeof err.text, "a\x1b[31mred\x07");
    snprintf(err.file, sizeof err.file, "model.c");
    struct mm_outcome_body body;
    mm_error_to_outcome(&err, &body);
    mm_outcome_to_error(&body, &out);
    assert_string_equal(out.text, "a\\x1b[31mred\\x07");
    assert_string_equal(out.file, "model.c");
    assert_int_equal(out.item, 4711);
    assert_int_equal(out.signal, 11);
}

static void is_shown_as(const char *text, const char *shown, const char *shown_as_file)
{
    mamuto_error_t out = { .host = "node1" };
    struct mm_outcome_body body = { .code = MAMUTO_EITEM, .file = text, .text = text };
    mm_outcome_to_error(&body, &out);
    assert_string_equal(out.text, shown);
    assert_string_equal(out.file, shown_as_file);
    assert_string_equal(out.host, "node1"); /* the master's own */
}

static void texts_are_utf8_without_control_characters(void **state)
{
    (void)state;
    is_shown_as("a\nb", "a\nb", "a\\x0ab"); /* a compiler's lines */
    is_shown_as("\t\r\x01\x7f", "\\x09\\x0d\\x01\\x7f", "\\x09\\x0d\\x01\\x7f");
    is_shown_as("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98",
                "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98");
    is_shown_as("\xc2\x9b"
                "31m",
                "\\xc2\\x9b31m", "\\xc2\\x9b31m"); /* CSI, as terminals of today read it */
    is_shown_as("\x9b"
                "31m",
                "\\x9b31m", "\\x9b31m");                       /* and as old ones do */
    is_shown_as("\xe2\x1b[m", "\\xe2\\x1b[m", "\\xe2\\x1b[m"); /* nothing hides behind a first byte */
    is_shown_as("\xc1\x9b", "\\xc1\\x9b", "\\xc1\\x9b");       /* longer than it must be */
    is_shown_as("\xe0\x80\x9b", "\\xe0\\x80\\x9b", "\\xe0\\x80\\x9b");
    is_shown_as("\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80");               /* half a pair */
    is_shown_as("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80"); /* beyond the last one */
    is_shown_as("\xff\xf8", "\\xff\\xf8", "\\xff\\xf8");
    is_shown_as("\xe2\x82", "\\xe2\\x82", "\\xe2\\x82");
}

static void texts_are_cut_where_a_character_begins(void **state)
{
    (void)state;
    char text[1000];
    for (size_t before = 500; before < 515; before++) {
        mamuto_error_t out = { 0 };
        struct mm_outcome_body body = { .file = text, .text = text };
        memset(text, 'x', before);
        strcpy(text + before, "\xe2\x82\xac\x1b\xe2\x82\xac");
        mm_outcome_to_error(&body, &out);
        size_t room = sizeof out.text - 1 - (before < sizeof out.text - 1 ? before : sizeof out.text - 1);
        size_t n = room < 3 ? before < sizeof out.text ? before : sizeof out.text - 1
                            : before + (room < 7    ? 3
                                        : room < 10 ? 7
                                                    : 10);
        assert_int_equal(strlen(out.text), n);
        assert_memory_equal(out.text, "xxxxxxxxxx", 10);
        assert_int_equal(strlen(out.file), sizeof out.file - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_found_as_they_were_put),
        cmocka_unit_test(bodies_that_are_cut_short_or_too_long_are_refused),
        cmocka_unit_test(bodies_that_are_damaged_do_no_harm),
        cmocka_unit_test(another_byte_order_and_another_version_are_told),
        cmocka_unit_test(a_module_cannot_lead_out_of_its_folder),
        cmocka_unit_test(a_body_that_does_not_fit_is_not_written),
        cmocka_unit_test(errors_cross_with_their_control_characters_escaped),
        cmocka_unit_test(texts_are_utf8_without_control_characters),
        cmocka_unit_test(texts_are_cut_where_a_character_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
