/* Private arrays under a kernel that moves less than it was asked for, as Linux does above 2 GiB a call: everything
 * arrives all the same, and an argument that is not readable is still told from it and named. */
#include "shm/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                         unsigned long n_remote, unsigned long flags);
ssize_t process_vm_writev(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                          unsigned long n_remote, unsigned long flags);

enum { PAGE = 4096, A_BYTES = 1000, B_BYTES = 3 * PAGE };

static size_t most_bytes; /* a call */
static int calls;

/* In place of the C library's: the local parts are cut to most_bytes, which is what the kernel does. */
static ssize_t move(long number, pid_t pid, const struct iovec *local, unsigned long n_local,
                    const struct iovec *remote, unsigned long n_remote, unsigned long flags)
{
    struct iovec parts[MAMUTO_MAX_ARGS];
    size_t left = most_bytes;
    unsigned long n = 0;
    for (; n < n_local && left; n++) {
        parts[n] = local[n];
        if (parts[n].iov_len > left)
            parts[n].iov_len = left;
        left -= parts[n].iov_len;
    }
    calls++;
    return syscall(number, pid, parts, n, remote, n_remote, flags);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                         unsigned long n_remote, unsigned long flags)
{
    return move(SYS_process_vm_readv, pid, local, n_local, remote, n_remote, flags);
}

ssize_t process_vm_writev(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                          unsigned long n_remote, unsigned long flags)
{
    return move(SYS_process_vm_writev, pid, local, n_local, remote, n_remote, flags);
}

static struct mm_board_map *map;
static struct mm_peer peer;
static char *a, *b; /* b: nothing lies behind it */

static struct mm_board_arg private_array(const char *at, size_t size)
{
    return (struct mm_board_arg){
        .where = MM_WHERE_PRIVATE, .offset = (uintptr_t)at, .stride = (int64_t)size, .size = size
    };
}

static int set_up(void **state)
{
    (void)state;
    map = mmap(NULL, sizeof *map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    b = mmap(NULL, B_BYTES + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    a = malloc(A_BYTES);
    assert_true(map != MAP_FAILED && (void *)b != MAP_FAILED && a);
    assert_int_equal(munmap(b + B_BYTES, PAGE), 0);
    for (int i = 0; i < A_BYTES; i++)
        a[i] = (char)(i * 7);
    for (int i = 0; i < B_BYTES; i++)
        b[i] = (char)(i * 13 + i / 256);
    peer = (struct mm_peer){ .pid = getpid() };
    map->n_in = 2;
    map->in[0] = private_array(a, A_BYTES / 4);
    map->in[1] = private_array(b, B_BYTES / 4);
    map->out = private_array(b, B_BYTES / 4);
    calls = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_peer_fini(&peer);
    free(a);
    munmap(b, B_BYTES);
    return munmap(map, sizeof *map);
}

static void peer_fetches_in_as_many_calls_as_it_takes(void **state)
{
    (void)state;
    static const size_t most[] = { 1, 100, 249, 250, 251, 999, A_BYTES, A_BYTES + 1, PAGE, 1 << 20 };
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        int bad = -1;
        most_bytes = most[i];
        calls = 0;
        assert_int_equal(mm_peer_fetch(&peer, map, 0, 4, NULL, &bad), MM_PEER_OK);
        assert_memory_equal(peer.in[0].data, a, A_BYTES);
        assert_memory_equal(peer.in[1].data, b, B_BYTES);
        assert_int_equal(calls, (A_BYTES + B_BYTES + most_bytes - 1) / most_bytes);
        memset(peer.in[0].data, 0, A_BYTES);
        memset(peer.in[1].data, 0, B_BYTES);
    }
}

/* A broadcast value of 2.2 GB was "not readable: its array ends before its last item". */
static void peer_fetches_a_value_that_is_larger_than_a_call(void **state)
{
    (void)state;
    int bad = -1;
    most_bytes = PAGE - 1;
    map->in[1].size = B_BYTES;
    map->in[1].stride = 0;
    assert_int_equal(mm_peer_fetch_values(&peer, map, &bad), MM_PEER_OK);
    assert_memory_equal(peer.in[1].data, b, B_BYTES);
    assert_int_equal(calls, 4);
}

static void peer_stores_in_as_many_calls_as_it_takes(void **state)
{
    (void)state;
    int bad = -1;
    most_bytes = 700;
    map->n_in = 0;
    assert_int_equal(mm_peer_fetch(&peer, map, 1, 4, NULL, &bad), MM_PEER_OK); /* room for the result */
    memset(peer.out.data, 'r', B_BYTES / 4 * 3);
    char first = b[B_BYTES / 4 - 1];
    assert_int_equal(mm_peer_store(&peer, map, 1, 4), MM_PEER_OK);
    for (int i = B_BYTES / 4; i < B_BYTES; i++)
        assert_int_equal(b[i], 'r');
    assert_int_equal(b[B_BYTES / 4 - 1], first);
}

static void peer_that_cannot_read_names_the_argument(void **state)
{
    (void)state;
    static const size_t most[] = { 100, PAGE, 1 << 20 };
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        int bad = -1;
        most_bytes = most[i];
        map->in[1].offset = (uintptr_t)b + 1; /* its last byte is not there */
        assert_int_equal(mm_peer_fetch(&peer, map, 0, 4, NULL, &bad), MM_PEER_UNREADABLE);
        assert_int_equal(bad, 1);
        map->out.offset = (uintptr_t)b + 1;
        assert_int_equal(mm_peer_store(&peer, map, 0, 4), MM_PEER_UNWRITABLE);
    }
}

static void peer_zeroes_what_is_there_and_says_what_is_not(void **state)
{
    (void)state;
    most_bytes = 1000;
    assert_int_equal(mm_peer_zero(b + 1, B_BYTES - 1), MM_PEER_OK);
    for (int i = 1; i < B_BYTES; i++)
        assert_int_equal(b[i], 0);
    assert_int_equal(mm_peer_zero(b + 1, B_BYTES), MM_PEER_UNWRITABLE);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(peer_fetches_in_as_many_calls_as_it_takes),      TEST(peer_fetches_a_value_that_is_larger_than_a_call),
        TEST(peer_stores_in_as_many_calls_as_it_takes),       TEST(peer_that_cannot_read_names_the_argument),
        TEST(peer_zeroes_what_is_there_and_says_what_is_not),
    };
    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
