/* The codec: what is encoded is found again, and nothing else is believed. Random bodies print their seed; MAMUTO_SEED replays. */
#include "net/frame.h"
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
            if (!open_ended && (code != MAMUTO_EPROTOCOL || !why))
                fail_msg("%s cut to %zu of %zu bytes: %d", mm_frame_name(type), cut, n, code);
        }
        const char *why = NULL;
        body[n] = 0;
        if (type != MM_FRAME_OUT)
            assert_int_equal(bodies_take(type, body, n + 1, again, &n_again, &why), MAMUTO_EPROTOCOL);
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
    static const char *const bad[] = { "/etc/passwd", "../x.c", "a/../../x.c", "", "a/.." };
    static const char *const none[] = { NULL };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char body[BODIES_BYTES];
        const char *files[] = { bad[i], NULL };
        struct mm_writer w = { .at = body, .room = sizeof body };
        struct mm_module_body module;
        const char *why = "";
        mm_put_module(&w, "x", bad[i], "cc", none, none, files, (const uint64_t[]){ 1 });
        assert_int_equal(mm_get_module(&module, body, w.n, &why), MAMUTO_EPROTOCOL);
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
    memset(err.text, 'x', sizeof err.text - 1); /* a character is not cut in two */
    memcpy(err.text + sizeof err.text - 3, "\xc3\xa9", 3);
    mm_outcome_to_error(&body, &out);
    assert_true(strlen(out.text) < sizeof out.text);
    assert_int_equal(out.text[strlen(out.text) - 1] & 0xc0, strlen(out.text) == sizeof out.text - 1 ? 0x80 : 0x40);
}

/* --- headers ------------------------------------------------------------------------------------------------------ */

static int get_header(unsigned char *at, int by, int on, const char **why)
{
    struct mm_frame frame;
    return mm_frame_get_header(&frame, at, by, on, why);
}

static void headers_are_held_against_the_table(void **state)
{
    (void)state;
    unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
    const char *why = "";
    mm_frame_put(&(struct mm_frame){ .type = MM_FRAME_START, .length = 10 }, at);
    assert_int_equal(get_header(at, MM_BY_MASTER, MM_ON_CHANNEL, &why), 0);
    assert_int_equal(get_header(at, MM_BY_AGENT, MM_ON_CHANNEL, &why), MAMUTO_EPROTOCOL);
    assert_string_equal(why, "this side does not send it");
    assert_int_equal(get_header(at, MM_BY_MASTER, MM_ON_STREAM, &why), MAMUTO_EPROTOCOL);
    assert_string_equal(why, "it does not go this way");
    mm_frame_put(&(struct mm_frame){ .type = MM_FRAME_START, .length = MM_FRAME_SMALL + 1 }, at);
    assert_int_equal(get_header(at, MM_BY_MASTER, MM_ON_CHANNEL, &why), MAMUTO_EPROTOCOL);
    assert_string_equal(why, "it is too long");
    mm_frame_put(&(struct mm_frame){ .type = MM_FRAME_RESULT, .length = 31 }, at);
    assert_int_equal(get_header(at, MM_BY_AGENT, MM_ON_STREAM, &why), MAMUTO_EPROTOCOL);
    assert_string_equal(why, "it is too short");
    mm_frame_put(&(struct mm_frame){ .type = MM_FRAME_PING }, at);
    at[5] = 1;
    assert_int_equal(get_header(at, MM_BY_AGENT, MM_ON_STREAM, &why), MAMUTO_EPROTOCOL);
    assert_string_equal(why, "reserved bits are set");
    at[5] = 0;
    at[4] = 200;
    assert_int_equal(get_header(at, MM_BY_AGENT, MM_ON_STREAM, &why), MAMUTO_EPROTOCOL);
    assert_string_equal(why, "there is no such type");
}

static void prefixes_are_found_as_they_were_put(void **state)
{
    (void)state;
    static const struct mm_frame frames[] = {
        { .type = MM_FRAME_FILE, .length = 20, .id = 5, .part = 3, .offset = 70 },
        { .type = MM_FRAME_BCAST, .length = 20, .id = 5, .part = 3, .offset = 70 },
        { .type = MM_FRAME_IN, .length = 20, .id = 5, .part = 3 | MM_WHAT_OFFSETS << 8, .offset = 70 },
        { .type = MM_FRAME_KEEP, .length = 40, .id = UINT64_MAX, .part = 1, .offset = 70, .total = 90 },
        { .type = MM_FRAME_RESULT, .length = 40, .id = 5, .part = 3, .offset = 70, .lo = 9, .hi = 10 },
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
        struct mm_frame got;
        const char *why = "";
        size_t n = mm_frame_put(&frames[i], at);
        assert_int_equal(n, MM_FRAME_HEADER + mm_frame_prefix(frames[i].type));
        assert_int_equal(mm_frame_get_header(&got, at, MM_BY_BOTH, MM_ON_BOTH, &why), 0);
        assert_int_equal(mm_frame_get_prefix(&got, at + MM_FRAME_HEADER, &why), 0);
        assert_true(got.length == frames[i].length && got.id == frames[i].id && got.part == frames[i].part &&
                    got.offset == frames[i].offset && got.total == frames[i].total && got.lo == frames[i].lo &&
                    got.hi == frames[i].hi);
    }
}

static void prefixes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct mm_frame frame;
        const char *why;
    } bad[] = {
        { { .type = MM_FRAME_IN, .length = 20, .part = 8 }, "it is of no argument" },
        { { .type = MM_FRAME_IN, .length = 20, .part = MM_WHAT_MARKS << 8 }, "it is of no argument" },
        { { .type = MM_FRAME_BCAST, .length = 20, .part = 1 << 8 }, "it is of no argument" },
        { { .type = MM_FRAME_BCAST, .length = 20, .offset = INT64_MAX }, "its offset is too large" },
        { { .type = MM_FRAME_KEEP, .length = 40, .offset = 70, .total = 77 }, "it is beyond the whole" },
        { { .type = MM_FRAME_KEEP, .length = 40, .part = 2, .total = 77 }, "it is of no known kind" },
        { { .type = MM_FRAME_RESULT, .length = 40, .part = 1, .hi = 1 }, "it is of no known kind" },
        { { .type = MM_FRAME_RESULT, .length = 40, .lo = 7, .hi = 7 }, "it has no items" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
        struct mm_frame got;
        const char *why = "";
        mm_frame_put(&bad[i].frame, at);
        assert_int_equal(mm_frame_get_header(&got, at, MM_BY_BOTH, MM_ON_BOTH, &why), 0);
        assert_int_equal(mm_frame_get_prefix(&got, at + MM_FRAME_HEADER, &why), MAMUTO_EPROTOCOL);
        assert_string_equal(why, bad[i].why);
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
        cmocka_unit_test(headers_are_held_against_the_table),
        cmocka_unit_test(prefixes_are_found_as_they_were_put),
        cmocka_unit_test(prefixes_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
