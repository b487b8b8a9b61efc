/* A call's arrays against its function's signature: what is right is resolved as it should be, and each kind of wrong is
 * refused with its code and a sentence that says what, before anything is read. */
#include "core/alloc.h"
#include "core/error.h"
#include "core/mapper.h"
#include "core/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static _Alignas(64) char room[4096], results[4096];
static const int64_t offsets[5] = { 2, 5, 5, 9, 10 };

/* A pointer to nowhere: it is never looked through. */
static void *nowhere(uintptr_t address)
{
    union {
        uintptr_t number;
        void *at;
    } u = { address };
    return u.at;
}

static int check(const char *signature, const mamuto_call_t *call, struct mm_run *run, mamuto_error_t *err)
{
    struct mm_function function = { .info = { .name = "f", .module = "m", .signature = signature } };
    assert_int_equal(mm_signature_parse(&function.signature, signature, NULL), 0);
    memset(run, 0, sizeof *run);
    return mm_args_check(&function, call, run, err);
}

static void refused(const char *signature, mamuto_call_t call, int code, const char *text)
{
    struct mm_run run;
    mamuto_error_t err = { 0 };
    if (!call.result)
        call.result = results;
    assert_int_equal(check(signature, &call, &run, &err), code);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" has no \"%s\"", err.text, text);
}

static struct mm_run accepted(const char *signature, mamuto_call_t call)
{
    struct mm_run run;
    mamuto_error_t err = { 0 };
    if (!call.result)
        call.result = results;
    if (check(signature, &call, &run, &err) != 0)
        fail_msg("%s: %s", signature, err.text);
    return run;
}

#define CALL(...) ((mamuto_call_t){ .args = { __VA_ARGS__ } })

/* ---- Strides ------------------------------------------------------------------------------------------------------ */

static void args_strided_are_resolved(void **state)
{
    (void)state;
    static const ptrdiff_t strides[] = { 8, 64, 16, 0, -8, -24 };
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        struct mm_run run = accepted("f8 -> f8", CALL(mamuto_scatter_strided(room + 1024, 10, strides[i])));
        assert_int_equal(run.in[0].stride, strides[i]);
        assert_int_equal(run.in[0].size, 8);
        assert_ptr_equal(run.in[0].data, room + 1024);
        assert_null(run.in[0].offsets);
        assert_int_equal(run.result_stride, 8);
        struct mm_span span = mm_span_of_input(&run, 0);
        ptrdiff_t reach = 9 * strides[i];
        assert_ptr_equal(span.low, room + 1024 + (reach < 0 ? reach : 0));
        assert_int_equal(span.bytes, (reach < 0 ? -reach : reach) + 8);
        assert_int_equal(span.back, reach < 0 ? -reach : 0);
    }
}

static void args_unaligned_stride_is_refused(void **state)
{
    (void)state;
    refused("f8 -> f8", CALL(mamuto_scatter_strided(room, 10, 12)), MAMUTO_EALIGN,
            "argument 0 has a stride of 12 bytes, which is no multiple of 8");
    refused("i2, f8 -> f8", CALL(mamuto_scatter_strided(room, 10, 12), mamuto_scatter_strided(room + 999, 10, -8)),
            MAMUTO_EALIGN, "argument 1 begins at an address that is no multiple of 8");
    refused("i2 -> f8", CALL(mamuto_scatter_strided(room + 512, 10, -3)), MAMUTO_EALIGN,
            "argument 0 has a stride of -3 bytes");
    accepted("u1[3] -> f8", CALL(mamuto_scatter_strided(room + 1, 10, 7)));
}

static void args_span_beyond_memory_is_refused(void **state)
{
    (void)state;
    refused("f8 -> f8", CALL(mamuto_scatter_strided(room, 1000, (ptrdiff_t)1 << 60)), MAMUTO_ESIZE,
            "argument 0 of 1000 items of 8 bytes, 1152921504606846976 bytes apart, does not fit into memory");
    refused("f8 -> f8", CALL(mamuto_scatter_strided(room, 3, PTRDIFF_MIN)), MAMUTO_ESIZE, "does not fit into memory");
    refused("f8 -> f8", CALL(mamuto_scatter_strided(nowhere(4096), 100, -64)), MAMUTO_ESIZE,
            "argument 0 of 100 items of 8 bytes, -64 bytes apart");
    refused("f8 -> f8", CALL(mamuto_scatter_strided(nowhere(UINTPTR_MAX - 4095), 100, 64)), MAMUTO_ESIZE,
            "argument 0 of 100 items");
    accepted("f8 -> f8", CALL(mamuto_scatter_strided(nowhere(UINTPTR_MAX - 4095), 63, 64)));
    refused("f8 -> f8", CALL(mamuto_scatter_strided(nowhere(64 * 99 - 8), 100, -64)), MAMUTO_ESIZE,
            "argument 0 of 100 items");
    accepted("f8 -> f8", CALL(mamuto_scatter_strided(nowhere(64 * 99 + 8), 100, -64)));
    refused("f8 -> f8", CALL(mamuto_scatter_strided(NULL, 10, 64)), MAMUTO_EARGS, "argument 0 is NULL");
}

static void args_stride_where_none_belongs_is_refused(void **state)
{
    (void)state;
    mamuto_call_t call = CALL(mamuto_scatter(room, 10));
    call.args[0].stride = 16;
    refused("f8 -> f8", call, MAMUTO_EARGS,
            "argument 0 has a stride of 16 bytes, but is not of mamuto_scatter_strided");
    call.args[0] = mamuto_scatter_var(room, offsets, 4);
    call.args[0].stride = 16;
    refused("f8[*] -> f8", call, MAMUTO_EARGS, "argument 0 is of variable length and has a stride of 16 bytes");
}

static void args_strided_counts_as_scattered(void **state)
{
    (void)state;
    refused("f8, f8 -> f8", CALL(mamuto_scatter(room, 10), mamuto_scatter_strided(room, 11, 0)), MAMUTO_ELENGTH,
            "argument 0 has 10 items, argument 1 has 11");
    refused("f8, f8[*] -> f8", CALL(mamuto_scatter(room, 3), mamuto_scatter_var(room, offsets, 4)), MAMUTO_ELENGTH,
            "argument 0 has 3 items, argument 1 has 4");
    refused("f8[*] -> f8", CALL(mamuto_broadcast_var(room, 4)), MAMUTO_ELENGTH, "nothing is scattered");
    mamuto_call_t call = CALL(mamuto_scatter_strided(room, 10, 0));
    call.count = 9;
    refused("f8 -> f8", call, MAMUTO_ELENGTH, "argument 0 has 10 items, call.count says 9");
}

/* ---- The result's stride ------------------------------------------------------------------------------------------ */

static mamuto_call_t result_with(ptrdiff_t stride)
{
    mamuto_call_t call = CALL(mamuto_scatter(room, 10));
    call.result = results + 2048;
    call.result_stride = stride;
    return call;
}

static void args_result_stride_is_resolved(void **state)
{
    (void)state;
    static const ptrdiff_t strides[] = { 16, 24, 128, -16, -128 };
    assert_int_equal(accepted("f8 -> f8[2]", result_with(0)).result_stride, 16);
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++)
        assert_int_equal(accepted("f8 -> f8[2]", result_with(strides[i])).result_stride, strides[i]);
}

static void args_result_stride_that_overlaps_items_is_refused(void **state)
{
    (void)state;
    refused("f8 -> f8[2]", result_with(8), MAMUTO_EARGS,
            "the result has a stride of 8 bytes, so its items of 16 bytes would overlap");
    refused("f8 -> f8[2]", result_with(-8), MAMUTO_EARGS, "the result has a stride of -8 bytes");
    refused("f8 -> f8[2]", result_with(20), MAMUTO_EALIGN, "the result has a stride of 20 bytes");
    refused("f8 -> f8[2]", result_with((ptrdiff_t)1 << 61), MAMUTO_ESIZE, "the result of 10 items of 16 bytes");
    refused("f8 -> f8[2]", result_with(PTRDIFF_MIN), MAMUTO_ESIZE, "the result of 10 items of 16 bytes");
}

/* ---- Overlap ------------------------------------------------------------------------------------------------------ */

static void args_overlap_is_of_bytes_not_of_spans(void **state)
{
    (void)state;
    mamuto_call_t call = CALL(mamuto_scatter_strided(room, 10, 32));
    call.result_stride = 32;
    for (ptrdiff_t at = -320; at <= 320; at += 8) { /* results of 16 bytes beside inputs of 8, 32 apart */
        call.args[0].data = room + 1024 + 32;
        call.result = room + 1024 + 32 + at;
        bool apart = at <= -304 || at >= 296 || ((at % 32 + 32) % 32 >= 8 && (at % 32 + 32) % 32 <= 16);
        if (apart)
            accepted("f8 -> f8[2]", call);
        else
            refused("f8 -> f8[2]", call, MAMUTO_EOVERLAP, "the result overlaps argument 0");
    }
    call.args[0] = mamuto_scatter_strided(room + 288, 10, -32); /* the same items, from the other end */
    call.result = room + 8;
    accepted("f8 -> f8[2]", call);
    call.result = room + 24;
    refused("f8 -> f8[2]", call, MAMUTO_EOVERLAP, "the result overlaps argument 0");
    call.args[0] = mamuto_scatter_strided(room, 10, 24); /* no common period: what lies between counts */
    call.result = room + 64;
    refused("f8 -> f8[2]", call, MAMUTO_EOVERLAP, "the result overlaps argument 0");
    call = CALL(mamuto_scatter(results + 512, 10), mamuto_broadcast(room + 24));
    call.result = room;
    call.result_stride = 32;
    accepted("f8, f8 -> f8[2]", call);
    call.args[1].data = room + 40;
    refused("f8, f8 -> f8[2]", call, MAMUTO_EOVERLAP, "the result overlaps argument 1");
}

static void args_result_over_data_or_offsets_is_refused(void **state)
{
    (void)state;
    int64_t *at = (int64_t *)(void *)(room + 1024);
    memcpy(at, offsets, sizeof offsets);
    mamuto_call_t call = CALL(mamuto_scatter_var(room, at, 4));
    call.result = room + 72; /* the last element that is read is the tenth */
    refused("f8[*] -> f8", call, MAMUTO_EOVERLAP, "the result overlaps argument 0: give");
    call.result = room + 80;
    accepted("f8[*] -> f8", call);
    call.result = room + 1024 + 32;
    refused("f8[*] -> f8", call, MAMUTO_EOVERLAP, "the result overlaps the offsets of argument 0");
    call.result = room + 1024 + 40;
    accepted("f8[*] -> f8", call);
}

/* ---- Variable length ---------------------------------------------------------------------------------------------- */

static void args_variable_are_resolved(void **state)
{
    (void)state;
    struct mm_run run =
        accepted("f4[*], bytes -> f8", CALL(mamuto_scatter_var(room, offsets, 4), mamuto_broadcast_var("text", 4)));
    assert_int_equal(run.n, 4);
    assert_ptr_equal(run.in[0].offsets, offsets);
    assert_int_equal(run.in[0].size, 4);
    assert_int_equal(run.in[0].low, 2);
    assert_int_equal(run.in[0].high, 10);
    struct mm_span span = mm_span_of_input(&run, 0);
    assert_ptr_equal(span.low, room + 8);
    assert_int_equal(span.bytes, 32);
    assert_null(run.in[1].offsets);
    assert_int_equal(run.in[1].stride, 0);
    assert_int_equal(run.in[1].size, 4);
    assert_int_equal(run.in[1].len, 4);
}

static void args_of_the_wrong_kind_are_refused(void **state)
{
    (void)state;
    refused("f8[*] -> f8", CALL(mamuto_scatter(room, 4)), MAMUTO_EARGS,
            "argument 0 is of variable length (\"f8[*] -> f8\"): make it with mamuto_scatter_var");
    refused("bytes -> f8", CALL(mamuto_broadcast(room)), MAMUTO_EARGS, "argument 0 is of variable length");
    refused("f8 -> f8", CALL(mamuto_scatter_var(room, offsets, 4)), MAMUTO_EARGS,
            "argument 0 is of fixed size (\"f8 -> f8\"): make it with mamuto_scatter,");
    refused("f8, f8[3] -> f8", CALL(mamuto_scatter(room, 4), mamuto_broadcast_var(room, 3)), MAMUTO_EARGS,
            "argument 1 is of fixed size");
    mamuto_call_t call = CALL(mamuto_scatter(room, 4));
    call.args[0].kind = 99;
    refused("f8 -> f8", call, MAMUTO_EARGS, "argument 0 is of no known kind (99)");
}

static void refused_offsets(int64_t first, int64_t last, int code, const char *text)
{
    int64_t at[3] = { first, 5, last };
    refused("f8[*] -> f8", CALL(mamuto_scatter_var(room, at, 2)), code, text);
}

static void args_wrong_offsets_are_refused(void **state)
{
    (void)state;
    refused_offsets(-1, 9, MAMUTO_EARGS, "argument 0 has -1 as its first offset; none may be negative");
    refused_offsets(7, 6, MAMUTO_EARGS, "argument 0 has offsets that decrease: the first is 7, the last 6");
    refused_offsets(0, INT64_MIN, MAMUTO_EARGS, "the first is 0, the last -9223372036854775808");
    refused_offsets(0, INT64_MAX, MAMUTO_ESIZE, "argument 0 of 9223372036854775807 elements of 8 bytes");
    refused_offsets(0, INT64_MAX / 8 + 1, MAMUTO_ESIZE, "argument 0 of 1152921504606846976 elements");
}

static void args_variable_without_arrays_are_refused(void **state)
{
    (void)state;
    union {
        const char *at;
        const int64_t *offsets;
    } odd = { room + 4 };
    refused("f8[*] -> f8", CALL(mamuto_scatter_var(room, NULL, 4)), MAMUTO_EARGS,
            "argument 0 has no offsets (NULL): 5 of them are expected");
    refused("f8[*] -> f8", CALL(mamuto_scatter_var(room, odd.offsets, 4)), MAMUTO_EALIGN,
            "argument 0 has offsets at an address that is no multiple of 8");
    refused("f8[*] -> f8", CALL(mamuto_scatter_var(NULL, offsets, 4)), MAMUTO_EARGS, "argument 0 is NULL");
    refused("f8[*] -> f8", CALL(mamuto_scatter_var(room + 4, offsets, 4)), MAMUTO_EALIGN,
            "argument 0 begins at an address that is no multiple of 8");
    mamuto_call_t call = CALL(mamuto_broadcast_var(NULL, 3));
    call.count = 2;
    refused("f8[*] -> f8", call, MAMUTO_EARGS, "argument 0 is NULL, and 24 bytes are expected there");
    call.args[0] = mamuto_broadcast_var(room, SIZE_MAX / 4);
    refused("f8[*] -> f8", call, MAMUTO_ESIZE, "argument 0 of 4611686018427387903 elements of 8 bytes");
    call.args[0] = mamuto_broadcast_var(room + 4, 3);
    refused("f8[*] -> f8", call, MAMUTO_EALIGN, "argument 0 begins at an address");
}

static void args_of_nothing_need_no_array(void **state)
{
    (void)state;
    static const int64_t equal[3] = { 7, 7, 7 };
    mamuto_call_t call = CALL(mamuto_scatter_var(NULL, equal, 2));
    assert_int_equal(accepted("f8[*] -> f8", call).n, 2);
    call.args[0] = mamuto_scatter_var(NULL, NULL, 0);
    assert_int_equal(accepted("f8[*] -> f8", call).n, 0);
    call.args[0] = mamuto_broadcast_var(NULL, 0);
    call.count = 2;
    assert_int_equal(accepted("f8[*] -> f8", call).in[0].size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(args_strided_are_resolved),
        cmocka_unit_test(args_unaligned_stride_is_refused),
        cmocka_unit_test(args_span_beyond_memory_is_refused),
        cmocka_unit_test(args_stride_where_none_belongs_is_refused),
        cmocka_unit_test(args_strided_counts_as_scattered),
        cmocka_unit_test(args_result_stride_is_resolved),
        cmocka_unit_test(args_result_stride_that_overlaps_items_is_refused),
        cmocka_unit_test(args_overlap_is_of_bytes_not_of_spans),
        cmocka_unit_test(args_result_over_data_or_offsets_is_refused),
        cmocka_unit_test(args_variable_are_resolved),
        cmocka_unit_test(args_of_the_wrong_kind_are_refused),
        cmocka_unit_test(args_wrong_offsets_are_refused),
        cmocka_unit_test(args_variable_without_arrays_are_refused),
        cmocka_unit_test(args_of_nothing_need_no_array),
    };
    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
