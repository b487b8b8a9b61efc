/* Each field of each body at the ends of its range, and just beyond: what is beyond is refused with a code and a reason. Bodies
 * are made from structures, which take any value; fields that cannot be made so are overwritten in the bytes. */
#include "net/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 8192 };
#define RANGE "a field of it is out of its range"

static unsigned char bytes[BYTES];
static struct mm_writer w;

static struct mm_writer *begin(void)
{
    w = (struct mm_writer){ .at = bytes, .room = sizeof bytes };
    return &w;
}

static void is(int code, const char *why, const char *expected, int line)
{
    int expected_code = expected ? MAMUTO_EPROTOCOL : 0;
    if (code != expected_code || (expected && strcmp(why, expected) != 0))
        fail_msg("line %d: code %d, %s", line, code, why);
}

/* What is in the bytes, as a body of a kind: taken where expected is NULL, else refused so. */
#define IS(kind_, type_, expected_)                                                                                    \
    do {                                                                                                               \
        type_ body_;                                                                                                   \
        const char *why_ = "";                                                                                         \
        assert_false(w.full);                                                                                          \
        int code_ = mm_get_##kind_(&body_, bytes, w.n, &why_);                                                         \
        is(code_, why_, (expected_), __LINE__);                                                                        \
    } while (0)

/* A good body but for one field. */
#define WITH(kind_, type_, good_, field_, value_, expected_)                                                           \
    do {                                                                                                               \
        type_ with_ = (good_);                                                                                         \
        with_.field_ = (value_);                                                                                       \
        mm_put_##kind_(begin(), &with_);                                                                               \
        IS(kind_, type_, expected_);                                                                                   \
    } while (0)

static void overwrite(size_t at, uint64_t value, int n)
{
    for (int i = 0; i < n; i++)
        bytes[at + (size_t)i] = (unsigned char)(value >> 8 * i);
}

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

/* --- calls and leases --------------------------------------------------------------------------------------------- */

static struct mm_call_body call_of(uint32_t flags)
{
    struct mm_call_body call = { .flags = flags, .n_in = 1, .n_dims = 1, .out_size = 8, .out_len = 1 };
    call.in[0] = (struct mm_call_argument){ .kind = MM_ARGUMENT_SCATTER, .size = 24, .len = 3 };
    call.dims[0] = call.fold_dims[0] = 3;
    call.n_fold_dims = 1;
    call.leaf_items = 64;
    call.group_items = 128;
    call.n_items = 1000;
    return call;
}

#define CALL(flags_, field_, value_, expected_)                                                                        \
    WITH(call, struct mm_call_body, call_of(flags_), field_, value_, expected_)

static void a_call_is_held_against_its_ranges(void **state)
{
    (void)state;
    CALL(0, module, UINT32_MAX, NULL); /* the agent knows which there are */
    CALL(0, flags, MM_CALL_FAIL_FAST | MM_CALL_ONCE | MM_CALL_MARKS, NULL);
    CALL(0, flags, MM_CALL_ALL_FLAGS, NULL);
    CALL(0, flags, MM_CALL_ALL_FLAGS + 1, RANGE);
    CALL(0, flags, MM_CALL_VALUES, RANGE);
    CALL(0, flags, MM_CALL_FOLD_ONLY, RANGE);
    CALL(0, flags, MM_CALL_ABSENT, RANGE);
    CALL(0, n_in, 0, NULL);
    CALL(0, n_in, MAMUTO_MAX_ARGS + 1, RANGE);
    CALL(0, n_dims, 0, NULL);
    CALL(0, n_dims, MAMUTO_MAX_DIMS + 1, RANGE);
    CALL(0, dims[0], UINT64_MAX, NULL); /* held against the signature */
    CALL(0, dims[0], 0, RANGE);
    CALL(0, out_size, INT64_MAX, NULL);
    CALL(0, out_size, (uint64_t)INT64_MAX + 1, RANGE);
    CALL(0, out_size, 0, RANGE);
    CALL(0, out_len, INT64_MAX, NULL);
    CALL(0, out_len, (uint64_t)INT64_MAX + 1, RANGE);
    CALL(0, out_len, 0, RANGE);
    CALL(0, seed, UINT64_MAX, NULL);
    CALL(0, item_timeout_ms, INT32_MAX, NULL);
    CALL(0, item_timeout_ms, -1, RANGE);
    CALL(0, retries, INT32_MAX, NULL);
    CALL(0, retries, -1, RANGE);
    CALL(0, priority, 100, NULL);
    CALL(0, priority, 101, RANGE);
    CALL(0, priority, -100, NULL);
    CALL(0, priority, -101, RANGE);
}

static void a_reduction_is_held_against_its_ranges(void **state)
{
    (void)state;
    CALL(MM_CALL_GROUPS, n_fold_dims, MAMUTO_MAX_DIMS + 1, RANGE);
    CALL(MM_CALL_GROUPS, fold_dims[0], 0, RANGE);
    CALL(MM_CALL_GROUPS, leaf_items, 1, NULL);
    CALL(MM_CALL_GROUPS, leaf_items, 0, RANGE);
    CALL(MM_CALL_GROUPS, leaf_items, (1 << 20) + 1, RANGE);
    CALL(MM_CALL_GROUPS, n_items, MAMUTO_MAX_ITEMS, NULL);
    CALL(MM_CALL_GROUPS, n_items, MAMUTO_MAX_ITEMS + 1, RANGE);
    CALL(MM_CALL_GROUPS, n_items, 0, RANGE);
    CALL(MM_CALL_GROUPS, group_items, 64, NULL);
    CALL(MM_CALL_GROUPS, group_items, 8192, NULL);
    CALL(MM_CALL_GROUPS, group_items, MAMUTO_MAX_ITEMS, NULL);
    CALL(MM_CALL_GROUPS, group_items, 0, RANGE);
    CALL(MM_CALL_GROUPS, group_items, 32, RANGE);  /* less than a leaf */
    CALL(MM_CALL_GROUPS, group_items, 129, RANGE); /* not of leaves */
    CALL(MM_CALL_GROUPS, group_items, 192, RANGE); /* of three */
    CALL(MM_CALL_GROUPS, group_items, 2 * MAMUTO_MAX_ITEMS, RANGE);
}

static void argument(enum mm_argument_kind kind, bool variable, bool one, uint64_t size, uint64_t object,
                     const char *expected)
{
    struct mm_call_argument in = {
        .kind = kind, .variable = variable, .one = one, .size = size, .len = 1, .object = object
    };
    CALL(0, in[0], in, expected);
}

static void the_arguments_of_a_call_are_held_against_their_ranges(void **state)
{
    (void)state;
    const enum mm_argument_kind SCATTER = MM_ARGUMENT_SCATTER, BROADCAST = MM_ARGUMENT_BROADCAST;
    const enum mm_argument_kind KEPT = MM_ARGUMENT_KEPT;
    argument(SCATTER, false, false, 24, 0, NULL);
    argument(SCATTER, true, false, 24, 0, NULL);
    argument(SCATTER, false, true, 24, 0, RANGE);
    argument(SCATTER, false, false, 0, 0, RANGE);
    argument(SCATTER, false, false, 24, 5, RANGE); /* an object, and not kept */
    argument(BROADCAST, false, true, 24, 0, NULL);
    argument(BROADCAST, false, true, 0, 0, NULL); /* of variable length, and empty */
    argument(BROADCAST, false, false, 24, 0, RANGE);
    argument(BROADCAST, true, false, 24, 0, RANGE);
    argument(BROADCAST, false, true, 24, 5, RANGE);
    argument(KEPT, false, false, 24, 5, NULL);
    argument(KEPT, true, false, 24, 5, NULL);
    argument(KEPT, false, true, 0, 5, NULL);
    argument(KEPT, true, true, 24, 5, RANGE);
    argument(KEPT, false, false, 0, 5, RANGE);
    argument(KEPT, false, false, 24, 0, RANGE);
    argument((enum mm_argument_kind)3, false, false, 24, 0, RANGE);
    CALL(0, in[0].size, INT64_MAX, NULL);
    CALL(0, in[0].size, (uint64_t)INT64_MAX + 1, RANGE);
    CALL(0, in[0].len, INT64_MAX, NULL);
    CALL(0, in[0].len, (uint64_t)INT64_MAX + 1, RANGE);
    struct mm_call_body bits = call_of(0);
    mm_put_call(begin(), &bits);
    overwrite(4 + 4 + 4 + 4 + 8 + 4 + 4, 4, 4); /* a bit that there is not */
    IS(call, struct mm_call_body, RANGE);
}

static void run(uint64_t lo, uint64_t hi, uint32_t n_in, uint64_t bytes_of_last, const char *expected)
{
    struct mm_run_body body = { .call = 5, .lo = lo, .hi = hi };
    body.bytes[MAMUTO_MAX_ARGS - 1] = bytes_of_last;
    mm_put_run(begin(), &body, n_in);
    IS(run, struct mm_run_body, expected);
}

static void a_run_is_held_against_its_ranges(void **state)
{
    (void)state;
    run(0, 1, 8, 0, NULL);
    run(MAMUTO_MAX_ITEMS - 1, MAMUTO_MAX_ITEMS, 8, INT64_MAX, NULL);
    run(0, MAMUTO_MAX_ITEMS + 1, 8, 0, RANGE);
    run(1, 1, 8, 0, RANGE);
    run(2, 1, 8, 0, RANGE);
    run(0, 0, 8, 0, RANGE);
    run(0, 1, 9, 0, RANGE);
    run(0, 1, 0, 0, NULL);
    run(0, 1, 8, (uint64_t)INT64_MAX + 1, RANGE);
    struct mm_run_body got;
    const char *why = "";
    mm_put_run(begin(), &(struct mm_run_body){ .call = 5, .hi = 1, .bytes = { 1, 2, 3 } }, 2);
    assert_int_equal(mm_get_run(&got, bytes, w.n, &why), 0);
    assert_int_equal(got.n_in, 2);
    assert_int_equal(got.bytes[1], 2);
    assert_int_equal(got.bytes[2], 0);
}

static void a_line_of_a_worker_is_held_against_its_ranges(void **state)
{
    (void)state;
    static const struct mm_out_body out = { 0, 1, "line", 4 };
#define OUT(field_, value_, expected_) WITH(out, struct mm_out_body, out, field_, value_, expected_)
    OUT(worker, MM_MOST_WORKERS - 1, NULL);
    OUT(worker, MM_MOST_WORKERS, RANGE);
    OUT(fd, 2, NULL);
    OUT(fd, 0, RANGE);
    OUT(fd, 3, RANGE);
    OUT(n, 0, NULL);
#undef OUT
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
        cmocka_unit_test(a_call_is_held_against_its_ranges),
        cmocka_unit_test(a_reduction_is_held_against_its_ranges),
        cmocka_unit_test(the_arguments_of_a_call_are_held_against_their_ranges),
        cmocka_unit_test(a_run_is_held_against_its_ranges),
        cmocka_unit_test(a_line_of_a_worker_is_held_against_its_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
