/* Inputs of variable length, in every place, give what a serial loop gives: empty items, items larger than a piece, none
 * at all, an array that begins behind its data's beginning, more than one such input beside fixed ones. Offsets that
 * decrease end the map and never make anybody read beyond the array. Ordinary arrays end at a page that nobody may touch.
 * The same tests run twice in one process, the second time where process_vm_readv is denied. MAMUTO_SEED replays a run. */
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum place { ARENA, ATTACHED, PRIVATE, PLACES };
enum { ROUNDS = 60 };

static bool denied;
static mamuto_t *m;
static uint64_t state_of_random;

static uint64_t below(uint64_t n)
{
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (state_of_random >> 33) % n;
}

static void seed(void)
{
    const char *given = getenv("MAMUTO_SEED");
    state_of_random = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 2654435761u + denied;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", state_of_random);
}

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("variable"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* ---- Arrays ------------------------------------------------------------------------------------------------------- */

struct block {
    enum place place;
    size_t bytes;
    char *p;
};

static char *attach(const void *from, size_t bytes)
{
    mamuto_error_t err = { 0 };
    union {
        const void *read;
        char *at;
    } u;
    int fd = memfd_create("variable", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, from, bytes) == (ssize_t)bytes);
    if (mamuto_attach(m, fd, 0, bytes, &u.read, &err) != 0)
        fail_msg("%s", err.text);
    close(fd);
    return u.at;
}

/* A copy of these bytes in that place. */
static struct block put(enum place place, const void *from, size_t bytes)
{
    mamuto_error_t err = { 0 };
    struct block block = { place, bytes, NULL };
    if (place == ATTACHED && bytes)
        block.p = attach(from, bytes);
    else if (place == PRIVATE || !bytes) {
        block.place = PRIVATE;
        block.p = private_array(bytes);
    } else
        block.p = mamuto_alloc(m, bytes, 1, &err);
    assert_non_null(block.p);
    if (place != ATTACHED)
        memcpy(block.p, from, bytes);
    return block;
}

static void drop(struct block *block)
{
    if (block->place == PRIVATE)
        private_free(block->p, block->bytes);
    else
        assert_int_equal(mamuto_free(m, block->p), 0);
}

/* An argument of variable length: offsets[0] is base. */
struct input {
    struct block data, offsets;
    size_t n, size;
};

static const int64_t *offsets_of(const struct input *in) { return (const int64_t *)(const void *)in->offsets.p; }

static void make(struct input *in, enum place data, enum place offsets, size_t size, const int64_t *at, size_t n)
{
    size_t bytes = (size_t)at[n] * size;
    char *random = malloc(bytes + 1);
    assert_non_null(random);
    for (size_t i = 0; i < bytes; i++)
        random[i] = (char)below(256);
    *in = (struct input){ put(data, random, bytes), put(offsets, at, (n + 1) * sizeof *at), n, size };
    free(random);
}

static void make_randomly(struct input *in, size_t size, size_t n)
{
    static const size_t most[] = { 1, 2, 10, 100, 3000 };
    size_t longest = most[below(5)];
    int64_t *at = malloc((n + 1) * sizeof *at);
    assert_non_null(at);
    at[0] = below(2) ? 0 : (int64_t)below(1000);
    for (size_t i = 0; i < n; i++)
        at[i + 1] = at[i] + (int64_t)(below(3) ? below(longest) : 0);
    if (below(4) == 0) { /* one that is larger than a piece */
        size_t i = below(n);
        for (int64_t more = (int64_t)(700000 / size + below(1000)); i < n; i++)
            at[i + 1] += more;
    }
    make(in, (enum place)below(PLACES), (enum place)below(PLACES), size, at, n);
    free(at);
}

static void unmake(struct input *in)
{
    drop(&in->data);
    drop(&in->offsets);
}

static mamuto_arg_t argument(const struct input *in) { return mamuto_scatter_var(in->data.p, offsets_of(in), in->n); }

/* ---- What is right ------------------------------------------------------------------------------------------------ */

static const void *item(const struct input *in, size_t i, size_t *len)
{
    const int64_t *at = offsets_of(in);
    *len = (size_t)(at[i + 1] - at[i]);
    return in->data.p + (size_t)at[i] * in->size;
}

static uint64_t sum_of(const uint8_t *p, size_t n)
{
    uint64_t sum = n;
    for (size_t k = 0; k < n; k++)
        sum = sum * 31 + p[k];
    return sum;
}

static uint64_t sum_of_item(const struct input *in, size_t i)
{
    size_t len;
    const uint8_t *p = item(in, i, &len);
    return sum_of(p, len);
}

static void must_map(const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(m, call, &err) != 0)
        fail_msg("%s: %s", call->function, err.text);
}

/* ---- Maps --------------------------------------------------------------------------------------------------------- */

static void map_text(size_t n)
{
    struct input in;
    make_randomly(&in, 1, n);
    uint64_t *out = private_array(n * 8);
    mamuto_call_t call = { .function = "text", .args = { argument(&in) }, .result = out, .help = below(4) == 0 };
    must_map(&call);
    for (size_t i = 0; i < n; i++)
        if (out[i] != sum_of_item(&in, i))
            fail_msg("text: item %zu of %zu is wrong, in places %d and %d", i, n, in.data.place, in.offsets.place);
    private_free(out, n * 8);
    unmake(&in);
}

static void map_numbers(size_t n)
{
    struct input in;
    mamuto_error_t err = { 0 };
    make_randomly(&in, 4, n);
    int64_t(*out)[3] = mamuto_alloc(m, n, sizeof *out, &err); /* strided */
    mamuto_call_t call = {
        .function = "numbers", .args = { argument(&in) }, .result = out, .result_stride = sizeof *out
    };
    must_map(&call);
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const int32_t *x = item(&in, i, &len);
        int64_t sum = 0;
        for (size_t k = 0; k < len; k++)
            sum += (int64_t)x[k] * (int64_t)(k + 1);
        assert_int_equal(out[i][0], len);
        assert_int_equal(out[i][1], sum);
    }
    mamuto_free(m, out);
    unmake(&in);
}

static void check_mixed(const struct input *x, int32_t (*fixed)[3], const struct input *text, bool broadcast,
                        uint64_t (*out)[2])
{
    for (size_t i = 0; i < x->n; i++) {
        size_t len;
        const int64_t *p = item(x, i, &len);
        uint64_t sum = (uint64_t)fixed[i][1];
        for (size_t k = 0; k < len; k++)
            sum = sum * 3 + (uint64_t)p[k];
        assert_int_equal(out[i][0], sum);
        assert_int_equal(out[i][1],
                         broadcast ? sum_of((const uint8_t *)text->data.p, text->data.bytes) : sum_of_item(text, i));
    }
}

static void map_mixed(size_t n)
{
    struct input x, text;
    make_randomly(&x, 8, n);
    make_randomly(&text, 1, n);
    bool broadcast = text.data.bytes < 20000;
    int32_t(*fixed)[3] = private_array(n * sizeof *fixed);
    uint64_t(*out)[2] = private_array(n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        fixed[i][1] = (int32_t)below(1000) - 500;
    mamuto_call_t call = { .function = "mixed",
                           .args = { argument(&x), mamuto_scatter_strided(&fixed[0][1], n, sizeof *fixed),
                                     broadcast ? mamuto_broadcast_var(text.data.p, text.data.bytes) : argument(&text) },
                           .result = out };
    must_map(&call);
    check_mixed(&x, fixed, &text, broadcast, out);
    private_free(fixed, n * sizeof *fixed);
    private_free(out, n * sizeof *out);
    unmake(&x);
    unmake(&text);
}

static void map_of_random_lengths_equals_the_serial_loop(void **state)
{
    (void)state;
    seed();
    for (int i = 0; i < ROUNDS; i++) {
        size_t n = below(4) ? 1 + below(4000) : 1 + below(4);
        i % 3 == 0 ? map_text(n) : i % 3 == 1 ? map_numbers(n) : map_mixed(n);
    }
}

static void no_items_and_empty_items_are_fine(void **state)
{
    (void)state;
    static const int64_t zeros[101];
    int64_t at[101];
    uint64_t out[100];
    for (int i = 0; i <= 100; i++)
        at[i] = 77;
    mamuto_call_t call = { .function = "text", .args = { mamuto_scatter_var(NULL, NULL, 0) }, .result = out };
    must_map(&call);
    call.args[0] = mamuto_scatter_var(NULL, zeros, 100);
    must_map(&call);
    for (int i = 0; i < 100; i++)
        assert_int_equal(out[i], 0);
    memset(out, 1, sizeof out);
    call.args[0] = mamuto_scatter_var("nothing of this is read", at, 100);
    must_map(&call);
    for (int i = 0; i < 100; i++)
        assert_int_equal(out[i], 0);
    call.args[0] = mamuto_broadcast_var(NULL, 0);
    call.count = 100;
    memset(out, 1, sizeof out);
    must_map(&call);
    for (int i = 0; i < 100; i++)
        assert_int_equal(out[i], 0);
    char *end = mamuto_alloc(m, 64, 1, NULL); /* all items empty, at the very end of an array */
    int64_t last[3] = { 64, 64, 64 };
    call = (mamuto_call_t){ .function = "text", .args = { mamuto_scatter_var(end, last, 2) }, .result = out };
    must_map(&call);
    mamuto_free(m, end);
}

static void broadcast_of_any_length_is_right(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, 100, 255, 256, 257, 4096, 4097, 1000000 };
    seed();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int place = 0; place < PLACES; place++) {
            struct input in;
            int64_t at[2] = { 0, (int64_t)lengths[i] };
            uint64_t out[50];
            make(&in, (enum place)place, PRIVATE, 1, at, 1);
            mamuto_call_t call = {
                .function = "text", .args = { mamuto_broadcast_var(in.data.p, lengths[i]) }, .count = 50, .result = out
            };
            must_map(&call);
            uint64_t right = sum_of_item(&in, 0);
            for (int k = 0; k < 50; k++)
                assert_int_equal(out[k], right);
            unmake(&in);
        }
}

/* Each item larger than the last; the largest far above a piece. */
static void items_larger_than_a_piece_are_right(void **state)
{
    (void)state;
    enum { N = 24 };
    int64_t at[N + 1] = { 5 };
    seed();
    for (int i = 0; i < N; i++)
        at[i + 1] = at[i] + ((int64_t)1 << i) / 4;
    for (int place = 0; place < PLACES; place++) {
        struct input in;
        uint64_t out[N];
        make(&in, (enum place)place, place == PRIVATE ? PRIVATE : ARENA, 1, at, N);
        mamuto_call_t call = { .function = "text", .args = { argument(&in) }, .result = out };
        must_map(&call);
        for (int i = 0; i < N; i++)
            assert_int_equal(out[i], sum_of_item(&in, (size_t)i));
        unmake(&in);
    }
}

/* ---- Reductions, and what is kept ------------------------------------------------------------------------------------ */

/* Once with nothing stored per item, once with the items' results, in windows. */
static void reductions_are_right(void **state)
{
    (void)state;
    enum { N = 200000 };
    static int64_t at[N + 1];
    seed();
    for (int i = 0; i < N; i++)
        at[i + 1] = at[i] + (int64_t)(i % 50000 == 7 ? 600000 : below(12));
    for (int k = 0; k < 2 * PLACES; k++) {
        struct input in;
        uint64_t sum = 0, right = 0, *out = k % 2 ? private_array((size_t)N * 8) : NULL;
        mamuto_error_t err = { 0 };
        make(&in, (enum place)(k / 2), (enum place)(k / 2), 1, at, N);
        mamuto_call_t call = {
            .function = "text", .fold = "add", .args = { argument(&in) }, .result = out, .value = &sum
        };
        if (mamuto_reduce_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        for (size_t i = 0; i < N; i++) {
            right += sum_of_item(&in, i);
            assert_true(!out || out[i] == sum_of_item(&in, i));
        }
        assert_true(sum == right);
        if (out)
            private_free(out, (size_t)N * 8);
        unmake(&in);
    }
}

static void kept_text_is_mapped_as_the_text_itself(void **state)
{
    (void)state;
    seed();
    for (int i = 0; i < 12; i++) {
        struct input in;
        size_t n = 1 + below(3000);
        mamuto_error_t err = { 0 };
        mamuto_kept_t *kept = NULL;
        make_randomly(&in, 1, n);
        mamuto_keep_t keep = { .type = "bytes", .arg = argument(&in) };
        uint64_t *right = malloc(n * 8), *out = private_array(n * 8);
        assert_non_null(right);
        for (size_t k = 0; k < n; k++)
            right[k] = sum_of_item(&in, k);
        if (mamuto_keep_wait(m, &keep, &kept, &err) != 0)
            fail_msg("%s", err.text);
        unmake(&in);
        mamuto_call_t call = { .function = "text", .args = { mamuto_resident(kept) }, .result = out };
        must_map(&call);
        assert_memory_equal(out, right, n * 8);
        assert_int_equal(mamuto_forget(kept), 0);
        private_free(out, n * 8);
        free(right);
    }
}

/* ---- Failures ----------------------------------------------------------------------------------------------------- */

enum { LINES = 2000 };

/* Lines "0", "1", …, but for those that are said. */
struct lines {
    struct input in;
    uint64_t out[LINES];
};

static void make_lines(struct lines *lines, enum place place, const char *const special[LINES])
{
    static char text[LINES * 8];
    int64_t at[LINES + 1] = { 0 };
    for (int i = 0; i < LINES; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        const char *line = special[i] ? special[i] : number;
        memcpy(text + at[i], line, strlen(line)); /* NOLINT(bugprone-not-null-terminated-result): offsets end it */
        at[i + 1] = at[i] + (int64_t)strlen(line);
    }
    lines->in = (struct input){ put(place, text, (size_t)at[LINES]), put(place, at, sizeof at), LINES, 1 };
    memset(lines->out, 1, sizeof lines->out);
}

static mamuto_call_t call_of(struct lines *lines, const char *function)
{
    return (mamuto_call_t){
        .function = function, .args = { argument(&lines->in) }, .result = lines->out, .on_error = MAMUTO_ON_ERROR_SKIP
    };
}

static void lines_are_right(const struct lines *lines, const char *const special[LINES])
{
    for (size_t i = 0; i < LINES; i++) {
        bool fails = special[i] && (!strcmp(special[i], "!crash") || !strcmp(special[i], "!fail"));
        assert_int_equal(lines->out[i], fails ? 0 : sum_of_item(&lines->in, i));
    }
}

static void failing_and_crashing_items_are_named_and_zeroed(void **state)
{
    (void)state;
    static const char *special[LINES];
    special[0] = special[1999] = special[800] = "!fail";
    special[801] = special[1300] = "!crash";
    for (int place = 0; place < PLACES; place++) {
        static struct lines lines;
        mamuto_error_t err = { 0 };
        make_lines(&lines, (enum place)place, special);
        mamuto_call_t call = call_of(&lines, "faulty");
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "5 of 2000 items failed");
        lines_are_right(&lines, special);
        unmake(&lines.in);
    }
}

static void killed_worker_costs_nothing(void **state)
{
    (void)state;
    static const char *special[LINES];
    special[1234] = "!kill";
    for (int place = 0; place < PLACES; place++) {
        static struct lines lines;
        make_lines(&lines, (enum place)place, special);
        mamuto_call_t call = call_of(&lines, "faulty");
        must_map(&call);
        assert_int_equal(unlink(e2e_path("killed")), 0);
        lines_are_right(&lines, special);
        unmake(&lines.in);
    }
}

/* Whatever stands there, the array's own bytes alone are read: all others are not there, or are protected. */
static void offsets_that_decrease_end_the_map(void **state)
{
    (void)state;
    static const struct {
        int item; /* whose end it is */
        int64_t value;
        const char *text;
    } wrong[] = {
        { 999, 0, "argument 0 has offsets that decrease: item 999 begins at element" },
        { 0, -1, "argument 0 has offsets that decrease: item " }, /* 0 or 1: whoever comes first */
        { 1500, INT64_MAX, "argument 0 has offsets that decrease: item 150" },
        { 700, INT64_MIN, "argument 0 has offsets that decrease: item 70" },
        { 1998, 1 << 20, "argument 0 has offsets that decrease: item 199" },
        { 3, 1 << 20, "argument 0 has offsets that decrease: item " },
    };
    static const char *special[LINES];
    for (int k = 0; k < 3 * (int)(sizeof wrong / sizeof *wrong); k++) {
        static struct lines lines;
        mamuto_error_t err = { 0 };
        enum place place = k % 3 == ATTACHED ? ARENA : (enum place)(k % 3);
        make_lines(&lines, place, special);
        int64_t *at = (int64_t *)(void *)lines.in.offsets.p;
        at[wrong[k / 3].item + 1] = wrong[k / 3].value;
        mamuto_call_t call = call_of(&lines, "text");
        call.help = k % 3 == ATTACHED;
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, wrong[k / 3].text);
        assert_int_equal(err.item, MAMUTO_NO_ITEM);
        unmake(&lines.in);
    }
}

static void data_that_ends_too_early_is_named(void **state)
{
    (void)state;
    static const char *special[LINES];
    static struct lines lines;
    mamuto_error_t err = { 0 };
    make_lines(&lines, PRIVATE, special);
    int64_t *at = (int64_t *)(void *)lines.in.offsets.p;
    at[LINES]++;
    mamuto_call_t call = call_of(&lines, "text");
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "argument 0 is not readable");
    unmake(&lines.in);
    make_lines(&lines, ARENA, special);
    at = (int64_t *)(void *)lines.in.offsets.p;
    at[LINES] += 1 << 30;
    err = (mamuto_error_t){ 0 };
    call = call_of(&lines, "text");
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "argument 0 begins in an array");
    unmake(&lines.in);
}

/* In flight, neither data nor offsets can be freed. */
static void arrays_of_a_map_in_flight_cannot_be_freed(void **state)
{
    (void)state;
    static const char *special[LINES];
    static struct lines lines;
    mamuto_error_t err = { 0 };
    uv_loop_t loop;
    mamuto_t *first = m;
    m = private_open(&loop, E2E_MODULE("variable"));
    make_lines(&lines, ARENA, special);
    mamuto_call_t call = call_of(&lines, "text");
    if (mamuto_map(m, &call, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(mamuto_free(m, lines.in.data.p), MAMUTO_EINVAL);
    assert_int_equal(mamuto_free(m, lines.in.offsets.p), MAMUTO_EINVAL);
    uv_run(&loop, UV_RUN_DEFAULT);
    lines_are_right(&lines, special);
    unmake(&lines.in);
    private_close(m, &loop);
    m = first;
}

/* The chunk form is of fixed size: said when the module is loaded. */
static void kernel_of_variable_length_is_refused(void **state)
{
    (void)state;
    static const char *const signatures[] = { "bytes -> f8", "f8, i4[*] -> f8", "f8 -> f8[*]" };
    static const char *const columns[] = { ", column 1:", ", column 8:", ", column 10:" };
    for (int i = 0; i < 3; i++) {
        char text[256];
        mamuto_error_t err = { 0 };
        const char *path = e2e_path("chunks.c");
        int n = snprintf(text, sizeof text, "#include <mamuto.h>\nMAMUTO_KERNEL(chunk, \"%s\")\n{\n    return 0;\n}\n",
                         signatures[i]);
        e2e_write(path, text, (size_t)n);
        e2e_is_error(mamuto_load_wait(m, path, &err), &err, MAMUTO_ESIGNATURE,
                     "an item of variable length, but a MAMUTO_KERNEL's are of fixed size");
        assert_int_equal(err.line, 2);
        assert_string_equal(err.file, path);
        assert_non_null(strstr(err.text, columns[i]));
    }
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(map_of_random_lengths_equals_the_serial_loop),
        TEST(no_items_and_empty_items_are_fine),
        TEST(broadcast_of_any_length_is_right),
        TEST(items_larger_than_a_piece_are_right),
        TEST(reductions_are_right),
        TEST(kept_text_is_mapped_as_the_text_itself),
        TEST(failing_and_crashing_items_are_named_and_zeroed),
        TEST(killed_worker_costs_nothing),
        TEST(offsets_that_decrease_end_the_map),
        TEST(data_that_ends_too_early_is_named),
        TEST(arrays_of_a_map_in_flight_cannot_be_freed),
        TEST(kernel_of_variable_length_is_refused),
    };
    int failed = cmocka_run_group_tests_name("variable", tests, NULL, NULL);
    private_deny();
    denied = true;
    return failed + cmocka_run_group_tests_name("variable_denied", tests, NULL, NULL);
}
