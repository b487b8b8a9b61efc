/* Headers and prefixes of frames, against a table of the protocol that is written down here once more: who sends what where
 * and how long it may be. Random ones come back as they were; what is out of its range is refused, with a reason. The seed is
 * printed; MAMUTO_SEED replays it. */
#include "core/mamuto.h"
#include "net/frame.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { M = MM_BY_MASTER, A = MM_BY_AGENT, B = MM_BY_BOTH, TRIES = 20000 };
enum { CHANNEL = MM_ON_CHANNEL, STREAM = MM_ON_STREAM, BOTH = MM_ON_BOTH };
enum { AT_LENGTH = 0, AT_TYPE = 4, AT_FLAGS = 5, AT_ZERO = 6, AT_ID = 8 };

static const struct row {
    const char *name;
    unsigned number;
    int by, on;
    uint32_t most, prefix;
} rows[] = {
    { "HELLO", 1, A, CHANNEL, 65536, 0 },  { "START", 2, M, CHANNEL, 65536, 0 },
    { "LISTEN", 3, A, CHANNEL, 65536, 0 }, { "PROVE", 4, B, STREAM, 64, 0 },
    { "BIND", 5, M, BOTH, 0, 0 },          { "UP", 6, A, BOTH, 65536, 0 },
    { "MODULE", 7, M, CHANNEL, 65536, 0 }, { "FILE", 8, M, CHANNEL, 1048576, 16 },
    { "FUNCTION", 9, A, BOTH, 65536, 0 },  { "LOADED", 10, A, BOTH, 65536, 0 },
    { "KEEP", 11, M, BOTH, 1048576, 32 },  { "KEPT", 12, A, BOTH, 65536, 0 },
    { "FORGET", 13, M, BOTH, 0, 0 },       { "CALL", 14, M, BOTH, 65536, 0 },
    { "BCAST", 15, M, BOTH, 1048576, 16 }, { "RUN", 16, M, BOTH, 65536, 0 },
    { "IN", 17, M, BOTH, 1048576, 16 },    { "RESULT", 18, A, BOTH, 1048576, 32 },
    { "FAIL", 19, A, BOTH, 65536, 0 },     { "DONE", 20, A, BOTH, 65536, 0 },
    { "CANCEL", 21, M, BOTH, 0, 0 },       { "END", 22, M, BOTH, 0, 0 },
    { "CREDIT", 23, M, BOTH, 8, 0 },       { "OUT", 24, A, BOTH, 16384, 0 },
    { "PING", 25, B, BOTH, 0, 0 },         { "PONG", 26, B, BOTH, 0, 0 },
    { "BYE", 27, B, BOTH, 65536, 0 },
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static const struct row *row_of(unsigned type) { return type >= 1 && type <= N_ROWS ? &rows[type - 1] : NULL; }

static uint64_t chance;

static uint64_t draw(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

/* From a small one to one of all bits. */
static uint64_t draw_size(void) { return draw() >> draw() % 64; }

static void seed(void)
{
    const char *text = getenv("MAMUTO_SEED");
    uint64_t of = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", of);
    chance = of * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static void put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

static void header(unsigned char at[MM_FRAME_HEADER], uint32_t length, unsigned type, uint64_t id)
{
    memset(at, 0, MM_FRAME_HEADER);
    put(at + AT_LENGTH, length, 4);
    put(at + AT_TYPE, type, 1);
    put(at + AT_ID, id, 8);
}

/* NULL: it is right. */
static const char *refused(const unsigned char *at, int by, int on)
{
    struct mm_frame frame;
    const char *why = NULL;
    int code = mm_frame_get_header(&frame, at, by, on, &why);
    assert_int_equal(code, why ? MAMUTO_EPROTOCOL : 0);
    return why;
}

static void frame_types_are_those_of_the_protocol(void **state)
{
    (void)state;
    assert_int_equal(MM_FRAME_END_OF_TYPES, N_ROWS + 1);
    for (unsigned type = 0; type < 300; type++) {
        const struct row *row = row_of(type);
        const char *name = mm_frame_name(type);
        assert_int_equal(mm_frame_prefix(type), row ? row->prefix : 0);
        if (!row) {
            assert_null(name);
            continue;
        }
        assert_int_equal(row->number, type);
        assert_string_equal(name, row->name);
    }
}

static void frame_header_of_each_type_is_taken_from_its_side_and_place_alone(void **state)
{
    (void)state;
    unsigned char at[MM_FRAME_HEADER];
    for (unsigned type = 0; type < 256; type++)
        for (int by = M; by <= A; by++)
            for (int on = CHANNEL; on <= BOTH; on++) {
                const struct row *row = row_of(type);
                header(at, row ? row->prefix : 0, type, 7);
                const char *why = refused(at, by, on);
                if (!row)
                    assert_string_equal(why, "there is no such type");
                else if (!(row->by & by))
                    assert_string_equal(why, "this side does not send it");
                else if (!(row->on & on))
                    assert_string_equal(why, "it does not go this way");
                else
                    assert_null(why);
            }
}

static void frame_header_with_a_length_beyond_its_type_is_refused(void **state)
{
    (void)state;
    unsigned char at[MM_FRAME_HEADER];
    for (unsigned i = 0; i < N_ROWS; i++) {
        const uint32_t beyond[] = { rows[i].most + 1, rows[i].most + 65536, UINT32_C(1) << 31, UINT32_MAX };
        header(at, rows[i].most, rows[i].number, 1);
        assert_null(refused(at, rows[i].by, rows[i].on));
        for (size_t k = 0; k < sizeof beyond / sizeof *beyond; k++) {
            header(at, beyond[k], rows[i].number, 1);
            assert_string_equal(refused(at, rows[i].by, rows[i].on), "it is too long");
        }
        for (uint32_t n = 0; n < rows[i].prefix; n++) {
            header(at, n, rows[i].number, 1);
            assert_string_equal(refused(at, rows[i].by, rows[i].on), "it is too short");
        }
    }
}

static void frame_header_with_a_reserved_bit_is_refused(void **state)
{
    (void)state;
    unsigned char at[MM_FRAME_HEADER];
    for (unsigned i = 0; i < N_ROWS; i++)
        for (int bit = 0; bit < 24; bit++) {
            header(at, rows[i].prefix, rows[i].number, 1);
            at[AT_FLAGS + bit / 8] = (unsigned char)(1U << bit % 8);
            assert_string_equal(refused(at, rows[i].by, rows[i].on), "reserved bits are set");
        }
}

static void frame_header_is_laid_out_as_the_protocol_says(void **state)
{
    (void)state;
    static const unsigned char expected[] = { 8, 0, 0, 0, 23, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 };
    unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
    struct mm_frame frame = { .length = 8, .type = MM_FRAME_CREDIT, .id = UINT64_C(0x1122334455667788) };
    assert_int_equal(mm_frame_put(&frame, at), sizeof expected);
    assert_memory_equal(at, expected, sizeof expected);
}

static void frame_prefixes_are_laid_out_as_the_protocol_says(void **state)
{
    (void)state;
    static const unsigned char file[] = { 3, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0 };
    static const unsigned char keep[] = { 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0,
                                          9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const unsigned char result[] = { 3, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0,
                                            7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0, 0 };
    unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
    struct mm_frame frame = { .length = 100, .type = MM_FRAME_FILE, .part = 3, .offset = 0x105 };
    assert_int_equal(mm_frame_put(&frame, at), 16 + sizeof file);
    assert_memory_equal(at + 16, file, sizeof file);
    frame = (struct mm_frame){ .length = 100, .type = MM_FRAME_KEEP, .part = 1, .offset = 0x105, .total = 0x209 };
    assert_int_equal(mm_frame_put(&frame, at), 16 + sizeof keep);
    assert_memory_equal(at + 16, keep, sizeof keep);
    frame = (struct mm_frame){
        .length = 100, .type = MM_FRAME_RESULT, .part = 3, .offset = 0x105, .lo = 7, .hi = UINT64_C(0x010000000008)
    };
    assert_int_equal(mm_frame_put(&frame, at), 16 + sizeof result);
    assert_memory_equal(at + 16, result, sizeof result);
}

static struct mm_frame draw_frame(const struct row *row)
{
    struct mm_frame frame = { .type = (uint8_t)row->number, .id = draw_size() };
    frame.length = row->prefix ? row->prefix + 1 + (uint32_t)(draw_size() % (row->most - row->prefix))
                               : (uint32_t)(draw_size() % ((uint64_t)row->most + 1));
    uint64_t payload = frame.length - row->prefix;
    if (row->prefix)
        frame.offset = draw_size() % (INT64_MAX - payload);
    switch (row->number) {
    case MM_FRAME_FILE:
        frame.part = (uint32_t)draw();
        break;
    case MM_FRAME_KEEP:
        frame.part = draw() % 2;
        frame.total = frame.offset + payload + draw_size() % INT64_MAX;
        break;
    case MM_FRAME_BCAST:
        frame.part = draw() % MAMUTO_MAX_ARGS;
        break;
    case MM_FRAME_IN:
        frame.part = draw() % 3 ? (uint32_t)(draw() % MAMUTO_MAX_ARGS | (draw() % 2) << 8) : MM_WHAT_ABSENT << 8;
        break;
    case MM_FRAME_RESULT:
        frame.part = draw() % 3 ? MM_WHAT_ITEMS : (uint32_t)(MM_WHAT_ABSENT + draw() % 2);
        frame.hi = 1 + draw_size() % MAMUTO_MAX_ITEMS;
        frame.lo = draw_size() % frame.hi;
        break;
    default:
        break;
    }
    return frame;
}

static void frame_of_each_type_comes_back_as_it_was_put(void **state)
{
    (void)state;
    seed();
    for (int i = 0; i < TRIES; i++) {
        const struct row *row = &rows[draw() % N_ROWS];
        unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
        struct mm_frame frame = draw_frame(row), back;
        const char *why = "";
        assert_int_equal(mm_frame_put(&frame, at), MM_FRAME_HEADER + row->prefix);
        if (mm_frame_get_header(&back, at, row->by, row->on, &why) ||
            (row->prefix && mm_frame_get_prefix(&back, at + MM_FRAME_HEADER, &why)))
            fail_msg("%s: %s", row->name, why);
        if (back.length != frame.length || back.type != frame.type || back.flags || back.id != frame.id ||
            back.part != frame.part || back.offset != frame.offset || back.total != frame.total ||
            back.lo != frame.lo || back.hi != frame.hi)
            fail_msg("%s comes back as another", row->name);
    }
}

/* A prefix that is right, but for one field. */
struct wrong {
    struct mm_frame frame; /* length: of the payload */
    const char *why;
};

static const char *refused_prefix(const struct wrong *wrong, int reserved)
{
    unsigned char at[MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX];
    struct mm_frame frame = wrong->frame, back;
    const char *why = "";
    frame.length += mm_frame_prefix(frame.type);
    mm_frame_put(&frame, at);
    if (reserved)
        at[MM_FRAME_HEADER + reserved] = 1;
    if (mm_frame_get_header(&back, at, rows[frame.type - 1].by, BOTH, &why))
        fail_msg("%s: %s", rows[frame.type - 1].name, why);
    return mm_frame_get_prefix(&back, at + MM_FRAME_HEADER, &why) == MAMUTO_EPROTOCOL ? why : NULL;
}

static void frame_prefix_out_of_its_range_is_refused(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        { { .type = MM_FRAME_FILE }, "it is empty" },
        { { .type = MM_FRAME_BCAST }, "it is empty" },
        { { .type = MM_FRAME_IN }, "it is empty" },
        { { .type = MM_FRAME_RESULT, .hi = 1 }, "it is empty" },
        { { .type = MM_FRAME_KEEP, .total = 1 }, "it is empty" },
        { { .type = MM_FRAME_KEEP }, NULL }, /* data of no items is kept */
        { { .type = MM_FRAME_FILE, .length = 8, .offset = INT64_MAX - 8 }, NULL },
        { { .type = MM_FRAME_FILE, .length = 8, .offset = INT64_MAX - 7 }, "its offset is too large" },
        { { .type = MM_FRAME_IN, .length = 8, .offset = UINT64_MAX }, "its offset is too large" },
        { { .type = MM_FRAME_BCAST, .length = 8, .part = 7 }, NULL },
        { { .type = MM_FRAME_BCAST, .length = 8, .part = 8 }, "it is of no argument" },
        { { .type = MM_FRAME_BCAST, .length = 8, .part = 1 << 8 }, "it is of no argument" },
        { { .type = MM_FRAME_BCAST, .length = 8, .part = UINT32_MAX }, "it is of no argument" },
        { { .type = MM_FRAME_IN, .length = 8, .part = 7 | MM_WHAT_OFFSETS << 8 }, NULL },
        { { .type = MM_FRAME_IN, .length = 8, .part = 8 }, "it is of no argument" },
        { { .type = MM_FRAME_IN, .length = 8, .part = MM_WHAT_ABSENT << 8 }, NULL },
        { { .type = MM_FRAME_IN, .length = 8, .part = 1 | MM_WHAT_ABSENT << 8 }, "it is of no argument" },
        { { .type = MM_FRAME_IN, .length = 8, .part = MM_WHAT_MARKS << 8 }, "it is of no argument" },
        { { .type = MM_FRAME_IN, .length = 8, .part = UINT32_C(1) << 31 }, "it is of no argument" },
        { { .type = MM_FRAME_KEEP, .length = 8, .total = 8 }, NULL },
        { { .type = MM_FRAME_KEEP, .length = 8, .total = 7 }, "it is beyond the whole" },
        { { .type = MM_FRAME_KEEP, .length = 8, .offset = 1, .total = 8 }, "it is beyond the whole" },
        { { .type = MM_FRAME_KEEP, .length = 8, .total = 8, .part = 2 }, "it is of no known kind" },
        { { .type = MM_FRAME_RESULT, .length = 8, .hi = 1, .part = MM_WHAT_MARKS }, NULL },
        { { .type = MM_FRAME_RESULT, .length = 8, .hi = 1, .part = MM_WHAT_OFFSETS }, "it is of no known kind" },
        { { .type = MM_FRAME_RESULT, .length = 8, .hi = 1, .part = MM_N_WHATS }, "it is of no known kind" },
        { { .type = MM_FRAME_RESULT, .length = 8 }, "it has no items" },
        { { .type = MM_FRAME_RESULT, .length = 8, .lo = 3, .hi = 3 }, "it has no items" },
        { { .type = MM_FRAME_RESULT, .length = 8, .lo = 4, .hi = 3 }, "it has no items" },
        { { .type = MM_FRAME_RESULT, .length = 8, .hi = MAMUTO_MAX_ITEMS }, NULL },
        { { .type = MM_FRAME_RESULT, .length = 8, .hi = MAMUTO_MAX_ITEMS + 1 }, "its items are more than a map has" },
        { { .type = MM_FRAME_RESULT, .length = 8, .lo = 1, .hi = UINT64_MAX }, "its items are more than a map has" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = refused_prefix(&cases[i], 0);
        if (!why != !cases[i].why || (why && strcmp(why, cases[i].why) != 0))
            fail_msg("case %zu, %s: %s", i, rows[cases[i].frame.type - 1].name, why ? why : "taken");
    }
}

static void frame_prefix_with_a_reserved_byte_is_refused(void **state)
{
    (void)state;
    static const struct wrong right[] = {
        { { .type = MM_FRAME_FILE, .length = 8 }, NULL },
        { { .type = MM_FRAME_BCAST, .length = 8 }, NULL },
        { { .type = MM_FRAME_IN, .length = 8 }, NULL },
        { { .type = MM_FRAME_KEEP, .length = 8, .total = 8 }, NULL },
        { { .type = MM_FRAME_RESULT, .length = 8, .hi = 8 }, NULL },
    };
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_null(refused_prefix(&right[i], 0));
        for (int at = 4; at < 8; at++)
            assert_string_equal(refused_prefix(&right[i], at), "reserved bits are set");
        for (int at = 24; right[i].frame.type == MM_FRAME_KEEP && at < 32; at++)
            assert_string_equal(refused_prefix(&right[i], at), "reserved bits are set");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_types_are_those_of_the_protocol),
        cmocka_unit_test(frame_header_of_each_type_is_taken_from_its_side_and_place_alone),
        cmocka_unit_test(frame_header_with_a_length_beyond_its_type_is_refused),
        cmocka_unit_test(frame_header_with_a_reserved_bit_is_refused),
        cmocka_unit_test(frame_header_is_laid_out_as_the_protocol_says),
        cmocka_unit_test(frame_prefixes_are_laid_out_as_the_protocol_says),
        cmocka_unit_test(frame_of_each_type_comes_back_as_it_was_put),
        cmocka_unit_test(frame_prefix_out_of_its_range_is_refused),
        cmocka_unit_test(frame_prefix_with_a_reserved_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
