/* Each field of each body at the ends of its range, and just beyond: what is beyond is refused with a code and a
 * reason. Those of calls and leases: test_message_calls.c. */
#include "tests/support/fields.h"

#include <stdlib.h>

/* --- texts and lists ---------------------------------------------------------------------------------------------- */

static void a_text_without_its_end_or_with_one_inside_is_refused(void **state)
{
    (void)state;
    enum { LENGTH = 4, TEXT = 8 }; /* of BYE */
    mm_put_bye(begin(), 0, "left");
    IS(bye, struct mm_bye, NULL);
    overwrite(TEXT + 4, 'x', 1);
    IS(bye, struct mm_bye, RANGE);
    mm_put_bye(begin(), 0, "left");
    overwrite(TEXT + 2, 0, 1);
    IS(bye, struct mm_bye, RANGE);
    static const uint32_t lengths[] = { 6, 0x80000000, 0xfffffff8, 0xffffffff };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        mm_put_bye(begin(), 0, "left");
        overwrite(LENGTH, lengths[i], 4);
        IS(bye, struct mm_bye, "it ends before its last field does");
    }
    mm_put_bye(begin(), 0, "left");
    overwrite(LENGTH, 0, 4);
    IS(bye, struct mm_bye, RANGE);
    mm_put_bye(begin(), 0, "left");
    overwrite(LENGTH, 4, 4);
    IS(bye, struct mm_bye, RANGE);
    mm_put_bye(begin(), 0, "");
    IS(bye, struct mm_bye, NULL);
    mm_put_bye(begin(), 0, NULL); /* as "" */
    IS(bye, struct mm_bye, NULL);
}

static void a_list_of_more_than_it_may_have_is_refused(void **state)
{
    (void)state;
    enum { N = 4 }; /* of LISTEN */
    const char *many[258] = { NULL };
    for (int i = 0; i < 256; i++)
        many[i] = "::1";
    mm_put_listen(begin(), 7000, many);
    IS(listen, struct mm_listen, NULL);
    many[256] = "::1";
    mm_put_listen(begin(), 7000, many);
    IS(listen, struct mm_listen, RANGE);
    mm_put_listen(begin(), 7000, NULL);
    IS(listen, struct mm_listen, NULL);
    static const uint32_t counts[] = { 257, 0x80000000, 0xffffffff };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        mm_put_listen(begin(), 7000, NULL);
        overwrite(N, counts[i], 4);
        IS(listen, struct mm_listen, RANGE);
    }
    mm_put_listen(begin(), 7000, NULL);
    overwrite(N, 1, 4);
    IS(listen, struct mm_listen, "it ends before its last field does");
}

static void a_list_is_walked_from_text_to_text(void **state)
{
    (void)state;
    static const char *const three[] = { "10.0.0.7", "", "fe80::1%eth0", NULL };
    struct mm_listen listen;
    const char *why = "";
    mm_put_listen(begin(), 7000, three);
    assert_int_equal(mm_get_listen(&listen, bytes, w.n, &why), 0);
    assert_int_equal(listen.port, 7000);
    assert_int_equal(listen.addresses.n, 3);
    const char *at = listen.addresses.first;
    assert_string_equal(at, three[0]);
    assert_string_equal(at = mm_strings_next(at), three[1]);
    assert_string_equal(mm_strings_next(at), three[2]);
}

/* --- the launch --------------------------------------------------------------------------------------------------- */

static const struct mm_hello hello = { 1, 1, 8, 1 << 20, "build", "Linux", "x86_64", "cpu", "glibc-2.36", "", "" };

static void hello_is_held_against_its_ranges(void **state)
{
    (void)state;
    struct mm_hello got;
    const char *why = "";
#define HELLO(field_, value_, expected_) WITH(hello, struct mm_hello, hello, field_, value_, expected_)
    HELLO(cores, 1, NULL);
    HELLO(cores, 1 << 20, NULL);
    HELLO(cores, 0, RANGE);
    HELLO(cores, (1 << 20) + 1, RANGE);
    HELLO(memory, UINT64_MAX, NULL);
    HELLO(protocol_most, 9, NULL);
    HELLO(protocol_least, 0, NULL);
#undef HELLO
    static const struct {
        uint32_t least, most;
    } others[] = { { 2, 2 }, { 0, 0 }, { 2, 1 }, { UINT32_MAX, UINT32_MAX } };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct mm_hello other = hello;
        other.protocol_least = others[i].least;
        other.protocol_most = others[i].most;
        mm_put_hello(begin(), &other);
        assert_int_equal(mm_get_hello(&got, bytes, w.n, &why), MAMUTO_EVERSION);
        assert_string_equal(why, "it speaks another version of the protocol");
    }
    mm_put_hello(begin(), &hello);
    bytes[0] ^= 0x40; /* no order at all */
    IS(hello, struct mm_hello, RANGE);
}

static const struct mm_start start = { .protocol = 1, .kind = MM_STREAM_TLS, .nonce = "0123", .deadline_ms = 60000 };

static void put_start(const struct mm_start *body, const char *setting)
{
    const char *const env[] = { setting, NULL };
    mm_put_start(begin(), body, env);
}

#define START(field_, value_, expected_)                                                                               \
    do {                                                                                                               \
        struct mm_start with_ = start;                                                                                 \
        with_.field_ = (value_);                                                                                       \
        put_start(&with_, NULL);                                                                                       \
        IS(start, struct mm_start, expected_);                                                                         \
    } while (0)

static void start_is_held_against_its_ranges(void **state)
{
    (void)state;
    START(protocol, 0, RANGE);
    START(protocol, 2, RANGE);
    START(kind, MM_STREAM_CHANNEL, NULL);
    START(kind, (enum mm_stream_kind)3, RANGE);
    START(cores, MM_MOST_WORKERS, NULL);
    START(cores, MM_MOST_WORKERS + 1, RANGE);
    START(nice, 19, NULL);
    START(nice, 20, RANGE);
    START(nice, -1, RANGE);
    START(pin, 2, NULL);
    START(pin, 3, RANGE);
    START(pin, -1, RANGE);
    START(memory, UINT64_MAX, NULL);
    START(deadline_ms, 1, NULL);
    START(deadline_ms, 0, RANGE);
    START(deadline_ms, INT32_MAX, NULL);
    START(deadline_ms, (uint32_t)INT32_MAX + 1, RANGE);
    START(port_last, 1, RANGE); /* from any to 1? */
    START(port_first, 1, RANGE);
}

static void start_s_ports_flags_and_settings_are_checked(void **state)
{
    (void)state;
    enum { FIRST = 4 + 4 + MM_KEY_BYTES + 4 + 5, LAST = FIRST + 4, DUMPS = LAST + 16, OUTPUT = DUMPS + 4 };
    struct mm_start ports = start;
    ports.port_first = 7000;
    ports.port_last = 7000;
    put_start(&ports, NULL);
    IS(start, struct mm_start, NULL);
    overwrite(LAST, 6999, 4);
    IS(start, struct mm_start, RANGE);
    overwrite(LAST, 65535, 4);
    IS(start, struct mm_start, NULL);
    overwrite(LAST, 65536 + 7000, 4);
    IS(start, struct mm_start, RANGE);
    for (size_t at = DUMPS; at <= OUTPUT; at += OUTPUT - DUMPS) {
        put_start(&start, NULL);
        overwrite(at, 1, 4);
        IS(start, struct mm_start, NULL);
        overwrite(at, 2, 4);
        IS(start, struct mm_start, RANGE);
    }
    static const char *const settings[] = { "A=b", "A=", "A==b" }, *const not_settings[] = { "", "A", "=b" };
    for (int i = 0; i < 3; i++) {
        put_start(&start, settings[i]);
        IS(start, struct mm_start, NULL);
        put_start(&start, not_settings[i]);
        IS(start, struct mm_start, RANGE);
    }
}

static void listen_s_port_is_checked(void **state)
{
    (void)state;
    mm_put_listen(begin(), 65535, NULL);
    IS(listen, struct mm_listen, NULL);
    overwrite(0, 65536, 4);
    IS(listen, struct mm_listen, RANGE);
    overwrite(0, 0, 4);
    IS(listen, struct mm_listen, RANGE);
}

/* --- outcomes ----------------------------------------------------------------------------------------------------- */

static const struct mm_outcome_body outcome = { .worker = -1, .item = UINT64_MAX, .file = "", .text = "" };

static void an_outcome_is_held_against_its_ranges(void **state)
{
    (void)state;
#define OUTCOME(field_, value_, expected_) WITH(outcome, struct mm_outcome_body, outcome, field_, value_, expected_)
#define TAKEN(name_, number_, text_) OUTCOME(code, number_, NULL);
    MAMUTO_ERRORS(TAKEN)
#undef TAKEN
    OUTCOME(code, 1, RANGE);
    OUTCOME(code, -1, RANGE);
    OUTCOME(code, MAMUTO_EINVAL + 1, RANGE);
    OUTCOME(code, MAMUTO_ESYSTEM - 1, RANGE);
    OUTCOME(code, INT32_MIN, RANGE);
    OUTCOME(item_code, INT32_MIN, NULL);
    OUTCOME(signal, 1024, NULL);
    OUTCOME(signal, 1025, RANGE);
    OUTCOME(signal, -1, RANGE);
    OUTCOME(worker, MM_MOST_WORKERS - 1, NULL);
    OUTCOME(worker, MM_MOST_WORKERS, RANGE);
    OUTCOME(worker, -2, RANGE);
    OUTCOME(line, INT32_MAX, NULL);
    OUTCOME(line, -1, RANGE);
    OUTCOME(item, 0, NULL);
#undef OUTCOME
}

static void the_frames_with_an_outcome_are_held_against_their_ranges(void **state)
{
    (void)state;
    const struct mm_up up = { outcome, 8 };
    const struct mm_done_body done = { .outcome = outcome };
    const struct mm_loaded_body loaded = { outcome, "fingerprint" };
#define UP(field_, value_, expected_) WITH(up, struct mm_up, up, field_, value_, expected_)
    UP(workers, MM_MOST_WORKERS, NULL);
    UP(workers, MM_MOST_WORKERS + 1, RANGE);
    UP(workers, 0, RANGE);
    UP(outcome.code, 1, RANGE);
#undef UP
    struct mm_up none = { outcome, 0 };
    none.outcome.code = MAMUTO_EHOST; /* they could not be started */
    mm_put_up(begin(), &none);
    IS(up, struct mm_up, NULL);
#define DONE(field_, value_, expected_) WITH(done, struct mm_done_body, done, field_, value_, expected_)
    DONE(failed, MAMUTO_MAX_ITEMS, NULL);
    DONE(failed, MAMUTO_MAX_ITEMS + 1, RANGE);
    DONE(busy_ns, UINT64_MAX, NULL);
    DONE(outcome.code, 1, RANGE);
#undef DONE
    WITH(loaded, struct mm_loaded_body, loaded, outcome.code, 0, NULL);
    WITH(loaded, struct mm_loaded_body, loaded, outcome.code, 1, RANGE);
    mm_put_bye(begin(), MAMUTO_EHOST, "");
    IS(bye, struct mm_bye, NULL);
    mm_put_bye(begin(), 1, "");
    IS(bye, struct mm_bye, RANGE);
}

/* --- modules ------------------------------------------------------------------------------------------------------ */

static void module(const char *name, const char *main_file, const char *cc, const char *expected)
{
    static const char *const flags[] = { "-O3", NULL }, *const files[] = { "model.c", "model.h", NULL };
    static const uint64_t sizes[] = { 100, UINT64_MAX };
    mm_put_module(begin(), name, main_file, cc, flags, NULL, files, sizes);
    IS(module, struct mm_module_body, expected);
}

static void a_module_is_held_against_its_ranges(void **state)
{
    (void)state;
    module("model", "model.c", "cc", NULL);
    module("", "model.c", "cc", RANGE);
    module("a-b", "model.c", "cc", RANGE);
    module("../model", "model.c", "cc", RANGE);
    module("model", "other.c", "cc", RANGE); /* none of the files */
    module("model", "", "cc", RANGE);
    module("model", "model.c", "", RANGE);
    static const char *const none[] = { NULL };
    mm_put_module(begin(), "model", "", "cc", NULL, NULL, none, NULL); /* of no files */
    IS(module, struct mm_module_body, RANGE);
}

static void a_module_s_sizes_are_as_many_as_its_files(void **state)
{
    (void)state;
    struct mm_module_body got;
    const char *why = "";
    module("model", "model.c", "cc", NULL);
    assert_int_equal(mm_get_module(&got, bytes, w.n, &why), 0);
    assert_int_equal(mm_module_size(&got, 0), 100);
    assert_true(mm_module_size(&got, 1) == UINT64_MAX);
    overwrite(w.n - 20, 1, 4);
    w.n -= 8;
    IS(module, struct mm_module_body, RANGE);
    module("model", "model.c", "cc", NULL);
    overwrite(w.n - 20, 3, 4);
    w.n += 8;
    IS(module, struct mm_module_body, RANGE);
}

static void a_function_is_held_against_its_ranges(void **state)
{
    (void)state;
    static const struct mm_function_body function = { MAMUTO_FORM_ITEM, 7, "like3", "f8[3] -> f8", "" };
#define FUNCTION(field_, value_, expected_) WITH(function, struct mm_function_body, function, field_, value_, expected_)
    FUNCTION(form, MAMUTO_FORM_CHUNK, NULL);
    FUNCTION(form, 0, RANGE);
    FUNCTION(form, 3, RANGE);
    FUNCTION(line, INT32_MAX, NULL);
    FUNCTION(line, -1, RANGE);
    FUNCTION(name, "", RANGE);
    FUNCTION(name, "a.b", RANGE);
    FUNCTION(name, "a\x1b[m", RANGE);
#undef FUNCTION
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_without_its_end_or_with_one_inside_is_refused),
        cmocka_unit_test(a_list_of_more_than_it_may_have_is_refused),
        cmocka_unit_test(a_list_is_walked_from_text_to_text),
        cmocka_unit_test(hello_is_held_against_its_ranges),
        cmocka_unit_test(start_is_held_against_its_ranges),
        cmocka_unit_test(start_s_ports_flags_and_settings_are_checked),
        cmocka_unit_test(listen_s_port_is_checked),
        cmocka_unit_test(an_outcome_is_held_against_its_ranges),
        cmocka_unit_test(the_frames_with_an_outcome_are_held_against_their_ranges),
        cmocka_unit_test(a_module_is_held_against_its_ranges),
        cmocka_unit_test(a_module_s_sizes_are_as_many_as_its_files),
        cmocka_unit_test(a_function_is_held_against_its_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
