/* The arena's book-keeping: extents cover the file without gaps or overlaps, what is freed is used again, and what
 * cannot be had is an error that says why. Arenas are real, but a few MiB of each are touched. */
#include "shm/arena.h"
#include "shm/clock.h"

#include "core/alloc.h"
#include "core/error.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, MOST_ARRAYS = 40, STEPS = 20000 };

static struct mm_arena arena;
static mamuto_error_t err;

static int set_up(void **state)
{
    (void)state;
    err = (mamuto_error_t){ 0 };
    return mm_arena_init(&arena, &err);
}

static int tear_down(void **state)
{
    (void)state;
    mm_arena_fini(&arena);
    mm_arena_fini(&arena); /* does no harm */
    return 0;
}

static char *take(uint64_t bytes)
{
    char *p = mm_arena_alloc(&arena, bytes, &err);
    if (!p)
        fail_msg("%s", err.text);
    return p;
}

static void give(void *p)
{
    struct mm_extent punch;
    assert_int_equal(mm_arena_free(&arena, p, &punch), 0);
    assert_int_equal(punch.bytes, 0);
}

static uint64_t pages_taken(void) /* bytes of the file that are there */
{
    struct stat st;
    assert_int_equal(fstat(arena.fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Extents in order, without gaps, none of them empty, no two neighbours that could be one. */
static void check_extents(void)
{
    uint64_t at = 0, warm = 0;
    for (size_t i = 0; i < arena.n_extents; i++) {
        const struct mm_extent *e = &arena.extents[i], *next = i + 1 < arena.n_extents ? e + 1 : NULL;
        assert_int_equal(e->offset, at);
        assert_true(e->bytes > 0 && e->bytes % PAGE == 0);
        at += e->bytes;
        warm += e->state == MM_EXTENT_FREE && e->warm ? e->bytes : 0;
        assert_false(next && e->state == MM_EXTENT_FREE && next->state == MM_EXTENT_FREE && e->warm == next->warm);
    }
    assert_int_equal(at, arena.bytes);
    assert_int_equal(warm, arena.warm_free);
}

static void arena_alloc_gives_whole_pages(void **state)
{
    (void)state;
    static const uint64_t sizes[] = { 0, 1, PAGE - 1, PAGE, PAGE + 1, 100000 };
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = take(sizes[i]);
        uint64_t whole = sizes[i] ? (sizes[i] + PAGE - 1) / PAGE * PAGE : PAGE;
        assert_int_equal((uintptr_t)p % PAGE, 0);
        assert_int_equal(mm_arena_size(&arena, p), whole);
        for (uint64_t k = 0; k < whole; k += 512)
            assert_int_equal(p[k], 0);
        memset(p, 0xff, whole);
    }
    check_extents();
}

static void arena_alloc_takes_the_pages_at_once(void **state)
{
    (void)state;
    uint64_t before = pages_taken();
    take(3 << 20);
    assert_int_equal(pages_taken() - before, 3 << 20);
}

static void arena_reserve_takes_them_later(void **state)
{
    (void)state;
    bool cold = false;
    uint64_t before = pages_taken(), size = 3 << 20;
    struct mm_extent punch;
    char *p = mm_arena_reserve(&arena, size, &cold, &err);
    assert_non_null(p);
    assert_true(cold);
    assert_int_equal(pages_taken(), before);
    assert_int_equal(arena.pageless, size);
    assert_int_equal(mm_arena_populate(&arena, p + PAGE + 5, 2 * PAGE), 0); /* touches three pages */
    assert_int_equal(pages_taken() - before, 3 * PAGE);
    assert_int_equal(mm_arena_populate(&arena, p, size), 0);
    mm_arena_settle(&arena, p);
    assert_int_equal(arena.pageless, 0);
    assert_int_equal(pages_taken() - before, size);
    give(p);
    assert_ptr_equal(mm_arena_reserve(&arena, size, &cold, &err), p);
    assert_false(cold);
    char *q = mm_arena_reserve(&arena, size, &cold, &err); /* given back half-way: punched out */
    assert_true(q && cold);
    assert_int_equal(mm_arena_free(&arena, q, &punch), 0);
    assert_int_equal(punch.bytes, size);
    assert_int_equal(arena.pageless, 0);
}

static void arena_freed_array_is_taken_first(void **state)
{
    (void)state;
    char *a = take(10 * PAGE), *b = take(10 * PAGE), *c = take(10 * PAGE), *d = take(PAGE);
    give(a);
    give(c);
    assert_ptr_equal(take(10 * PAGE), c); /* the last one that was freed */
    assert_ptr_equal(take(2 * PAGE), a);
    assert_ptr_equal(take(8 * PAGE), a + 2 * PAGE); /* the rest of it is warm, too */
    give(b);
    give(c);
    assert_ptr_equal(take(20 * PAGE), b); /* neighbours have become one */
    give(d);
    check_extents();
}

static void arena_free_of_what_it_does_not_have_is_refused(void **state)
{
    (void)state;
    struct mm_extent punch;
    char mine[8], *p = take(10 * PAGE);
    assert_int_equal(mm_arena_free(&arena, mine, &punch), -1);
    assert_int_equal(mm_arena_free(&arena, NULL, &punch), -1);
    assert_int_equal(mm_arena_free(&arena, p + PAGE, &punch), -1);
    assert_int_equal(mm_arena_free(&arena, p + 1, &punch), -1);
    assert_int_equal(mm_arena_free(&arena, p + 10 * PAGE, &punch), -1);
    assert_int_equal(mm_arena_free(&arena, arena.base + arena.bytes, &punch), -1);
    give(p);
    assert_int_equal(mm_arena_free(&arena, p, &punch), -1);
    assert_int_equal(mm_arena_size(&arena, p), 0);
}

static void arena_find_knows_what_lies_in_one_array(void **state)
{
    (void)state;
    uint64_t offset = 99;
    char mine[8], *a = take(2 * PAGE), *b = take(2 * PAGE);
    assert_true(mm_arena_find(&arena, a + 100, 2 * PAGE - 100, &offset));
    assert_int_equal(offset, a - arena.base + 100);
    assert_true(mm_arena_find(&arena, b, 0, &offset));
    assert_false(mm_arena_find(&arena, a + 100, 2 * PAGE - 99, &offset)); /* into its neighbour */
    assert_false(mm_arena_find(&arena, a + 1, UINT64_MAX, &offset));
    assert_false(mm_arena_find(&arena, mine, 1, &offset));
    assert_true(mm_arena_holds(&arena, b + 2 * PAGE) && !mm_arena_holds(&arena, mine));
    give(b);
    assert_false(mm_arena_find(&arena, b, 1, &offset));
}

static void arena_above_its_limit_gives_memory_back(void **state)
{
    (void)state;
    struct mm_extent punch;
    arena.warm_limit = 10 * PAGE;
    char *a = take(6 * PAGE), *b = take(6 * PAGE), *c = take(PAGE);
    give(a);
    assert_int_equal(mm_arena_free(&arena, b, &punch), 0);
    assert_int_equal(punch.offset, b - arena.base);
    assert_int_equal(punch.bytes, 6 * PAGE);
    assert_true(mm_arena_is_punching(&arena));
    char *d = take(7 * PAGE);
    assert_true(d > c);                            /* what is being punched out is nobody's */
    mm_arena_punched(&arena, punch.offset + PAGE); /* not its beginning */
    assert_true(mm_arena_is_punching(&arena));
    mm_arena_punched(&arena, punch.offset);
    assert_false(mm_arena_is_punching(&arena));
    mm_arena_punched(&arena, punch.offset); /* once more: nothing */
    check_extents();
    assert_int_equal(arena.warm_free, 6 * PAGE);
}

static void arena_alloc_of_too_much_is_an_error(void **state)
{
    (void)state;
    size_t n = arena.n_extents;
    assert_null(mm_arena_alloc(&arena, UINT64_MAX, &err));
    assert_int_equal(err.code, MAMUTO_ENOMEM);
    assert_non_null(strstr(err.text, "18446744073709551615 bytes"));
    err = (mamuto_error_t){ 0 };
    assert_null(mm_arena_alloc(&arena, arena.bytes + 1, &err));
    assert_int_equal(err.code, MAMUTO_ENOMEM);
    err = (mamuto_error_t){ 0 };
    assert_null(mm_arena_alloc(&arena, arena.bytes, &err)); /* all of the machine's memory: there is not so much */
    assert_int_equal(err.code, MAMUTO_ENOMEM);
    assert_non_null(strstr(err.text, "can be had"));
    assert_int_equal(arena.n_extents, n);
    check_extents();
}

static void arena_without_a_free_stretch_says_so(void **state)
{
    (void)state;
    uint64_t whole = arena.bytes;
    arena.extents[0].bytes = 10 * PAGE; /* a small one */
    arena.bytes = 10 * PAGE;
    char *a = take(4 * PAGE), *b = take(PAGE);
    take(5 * PAGE);
    give(a);
    assert_null(mm_arena_alloc(&arena, 5 * PAGE, &err));
    assert_int_equal(err.code, MAMUTO_ENOMEM);
    assert_non_null(strstr(err.text, "no free stretch"));
    give(b);
    assert_ptr_equal(take(5 * PAGE), a);
    check_extents();
    arena.bytes = whole; /* which is what was mapped */
}

/* A random life, against a plain list of what is in use. */
/* What was used and what never was lay side by side, each too short, and nothing joined them. */
static void arena_joins_warm_and_cold_before_it_gives_up(void **state)
{
    (void)state;
    uint64_t whole = arena.bytes;
    arena.extents[0].bytes = 10 * PAGE;
    arena.bytes = 10 * PAGE;
    char *a = take(4 * PAGE), *b = take(2 * PAGE); /* and four that nobody has had yet */
    give(a);
    give(b);
    assert_ptr_equal(take(9 * PAGE), a);
    give(a);
    assert_ptr_equal(take(10 * PAGE), a);
    check_extents();
    assert_int_equal(arena.n_extents, 1);
    arena.bytes = whole; /* which is what was mapped */
}

/* As if that were all there is. */
static char *reserve_sparse_of_64_mib(uint64_t *bytes)
{
    arena.budget = 64 << 20;
    arena.budget_ns = mm_now_ns();
    return mm_arena_reserve_sparse(&arena, bytes);
}

static void arena_sparse_stretches_leave_something_for_each(void **state)
{
    (void)state;
    uint64_t bytes[64], before = pages_taken(), sum = 0;
    char *p[64];
    for (int i = 0; i < 64; i++) {
        p[i] = reserve_sparse_of_64_mib(&bytes[i]);
        assert_true(!p[i] || (bytes[i] > 0 && bytes[i] % PAGE == 0));
        sum += p[i] ? bytes[i] : 0;
        assert_int_equal(arena.pageless, sum);
        check_extents();
    }
    assert_int_equal(bytes[0], 28 << 20);
    assert_true(bytes[20] > 200000 && bytes[20] < bytes[1]);
    assert_true(sum <= 56 << 20); /* an eighth is left */
    for (int i = 0; i < 64; i++)
        if (p[i])
            mm_arena_trim(&arena, p[i], 0);
    assert_int_equal(arena.pageless, 0);
    assert_int_equal(arena.n_extents, 1);
    assert_int_equal(pages_taken(), before);
    assert_non_null(reserve_sparse_of_64_mib(&bytes[0]));
    assert_int_equal(bytes[0], 28 << 20); /* they count no more */
    arena.budget = 0;
}

static void arena_trim_to_nothing_needs_no_memory(void **state)
{
    (void)state;
    bool cold;
    char *p = mm_arena_reserve(&arena, PAGE, &cold, &err), *last = p;
    while (last && arena.n_extents + 1 < arena.room)
        last = mm_arena_reserve(&arena, PAGE, &cold, &err);
    assert_non_null(last);
    mm_alloc_fail_at(1);
    mm_arena_trim(&arena, p, 0);
    mm_alloc_fail_at(0);
    assert_int_equal(mm_arena_size(&arena, p), 0);
    check_extents();
}

static void arena_trim_keeps_the_beginning(void **state)
{
    (void)state;
    bool cold;
    struct mm_extent punch;
    char *p = mm_arena_reserve(&arena, 100 * PAGE, &cold, &err);
    memset(p, 1, 5 * PAGE + 1);
    mm_arena_trim(&arena, p, 5 * PAGE + 1);
    assert_int_equal(mm_arena_size(&arena, p), 6 * PAGE);
    assert_int_equal(arena.pageless, 6 * PAGE);
    mm_arena_trim(&arena, p, 7 * PAGE); /* longer than it is: nothing */
    mm_arena_trim(&arena, p + PAGE, 0); /* not its beginning */
    assert_int_equal(mm_arena_size(&arena, p), 6 * PAGE);
    check_extents();
    mm_arena_settle(&arena, p);
    mm_arena_trim(&arena, p, 2 * PAGE); /* warm by now: so is what is freed */
    check_extents();
    assert_int_equal(arena.warm_free, 4 * PAGE);
    assert_int_equal(mm_arena_free(&arena, p, &punch), 0);
    assert_int_equal(punch.bytes, 0);
    check_extents();
    assert_int_equal(arena.warm_free, 6 * PAGE);
}

/* The last one freed, much longer, was cut: the next map of the same lengths found no extent long enough. */
static void arena_takes_one_that_is_just_as_long_first(void **state)
{
    (void)state;
    char *a = take(10 * PAGE), *x = take(PAGE), *b = take(30 * PAGE);
    take(PAGE);
    give(a);
    give(b);
    assert_ptr_equal(take(10 * PAGE), a);
    assert_ptr_equal(take(30 * PAGE), b);
    give(x);
    check_extents();
}

static void arena_at_random_never_gives_a_byte_twice(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    struct {
        char *p;
        uint64_t bytes;
    } arrays[MOST_ARRAYS] = { { NULL, 0 } };
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    uint64_t random = seed | 1;
    arena.warm_limit = 1 << 20;
    for (int step = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned i = (unsigned)(random >> 33) % MOST_ARRAYS;
        struct mm_extent punch = { 0 };
        if (arrays[i].p) {
            assert_int_equal((unsigned char)arrays[i].p[arrays[i].bytes - 1], i);
            assert_int_equal(mm_arena_free(&arena, arrays[i].p, &punch), 0);
            arrays[i].p = NULL;
        } else {
            arrays[i].bytes = 1 + (random >> 40) % 60000;
            arrays[i].p = take(arrays[i].bytes);
            arrays[i].p[0] = arrays[i].p[arrays[i].bytes - 1] = (char)i;
        }
        if (punch.bytes) {
            fallocate(arena.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)punch.offset, (off_t)punch.bytes);
            mm_arena_punched(&arena, punch.offset);
        }
        if (step % 16 == 0)
            check_extents();
    }
    for (unsigned i = 0; i < MOST_ARRAYS; i++)
        if (arrays[i].p)
            assert_int_equal((unsigned char)arrays[i].p[0], i);
}

static void arena_without_heap_is_an_error(void **state)
{
    (void)state;
    struct mm_arena other;
    for (long n = 1;; n++) {
        mm_alloc_fail_at(n);
        mamuto_error_t failure = { 0 };
        int code = mm_arena_init(&other, &failure);
        mm_alloc_fail_at(0);
        if (code == 0)
            break;
        assert_int_equal(code, MAMUTO_ENOMEM);
        assert_int_equal(failure.code, MAMUTO_ENOMEM);
        assert_int_equal(other.fd, -1);
        assert_true(n < 10);
    }
    mm_arena_fini(&other);
    for (int i = 0; i < 14; i++) /* until the table must grow */
        take(PAGE);
    mm_alloc_fail_at(1);
    assert_null(mm_arena_alloc(&arena, PAGE, &err));
    assert_int_equal(err.code, MAMUTO_ENOMEM);
    mm_alloc_fail_at(0);
    err = (mamuto_error_t){ 0 };
    take(PAGE);
    check_extents();
}

/* In a child, since a limit stays: the arena is as large as files may be, and nothing kills the process. */
static void arena_under_a_limit_of_file_sizes_keeps_to_it(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct mm_arena small;
        mamuto_error_t failure = { 0 };
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 4 << 20, 4 << 20 });
        if (mm_arena_init(&small, &failure) != 0)
            _exit(1);
        if (small.bytes > 4 << 20 || !mm_arena_alloc(&small, 1 << 20, &failure))
            _exit(2);
        if (mm_arena_alloc(&small, 5 << 20, &failure) || failure.code != MAMUTO_ESIZE)
            _exit(3);
        if (mm_shared_file("mamuto-test", 5 << 20) >= 0)
            _exit(4);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void shared_file_has_its_size_and_no_pages(void **state)
{
    (void)state;
    struct stat st;
    int fd = mm_shared_file("mamuto-test", 12345);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 12345);
    assert_int_equal(st.st_blocks, 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
}

static void memory_budget_is_below_what_the_machine_has(void **state)
{
    (void)state;
    uint64_t budget = mm_memory_budget();
    assert_true(budget > 1 << 20);
    assert_true(budget < (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arena_alloc_gives_whole_pages),
        TEST(arena_alloc_takes_the_pages_at_once),
        TEST(arena_reserve_takes_them_later),
        TEST(arena_freed_array_is_taken_first),
        TEST(arena_free_of_what_it_does_not_have_is_refused),
        TEST(arena_find_knows_what_lies_in_one_array),
        TEST(arena_above_its_limit_gives_memory_back),
        TEST(arena_alloc_of_too_much_is_an_error),
        TEST(arena_without_a_free_stretch_says_so),
        TEST(arena_joins_warm_and_cold_before_it_gives_up),
        TEST(arena_sparse_stretches_leave_something_for_each),
        TEST(arena_trim_to_nothing_needs_no_memory),
        TEST(arena_trim_keeps_the_beginning),
        TEST(arena_takes_one_that_is_just_as_long_first),
        TEST(arena_at_random_never_gives_a_byte_twice),
        TEST(arena_without_heap_is_an_error),
        TEST(arena_under_a_limit_of_file_sizes_keeps_to_it),
        TEST(shared_file_has_its_size_and_no_pages),
        TEST(memory_budget_is_below_what_the_machine_has),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
