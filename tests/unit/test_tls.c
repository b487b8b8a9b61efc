/* Two ends of TLS over real sockets, in one thread and in two: all bytes come, however they are cut; keys change and are
 * forgotten; a failed allocation is an error. What is refused: test_tls_refusals.c. */
#include "net/tls.h"

#include "net/tls_library.h"
#include "core/alloc.h"
#include "tests/support/wires.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t MiB = 1 << 20;
static unsigned char key[MM_TLS_KEY];
static struct wires_end ends[2];
static mamuto_error_t err;

static int set_up(void **state)
{
    (void)state;
    const char *seed = getenv("MAMUTO_SEED");
    uint64_t number = seed ? (uint64_t)strtoull(seed, NULL, 10) : (uint64_t)(unsigned)getpid();
    print_message("MAMUTO_SEED=%llu\n", (unsigned long long)number);
    wires_seed(number);
    for (int k = 0; k < MM_TLS_KEY; k++)
        key[k] = (unsigned char)wires_random();
    return 0;
}

static void make_ends(const int fds[2], uint64_t to_client, uint64_t to_server)
{
    memset(ends, 0, sizeof ends);
    memset(&err, 0, sizeof err);
    ends[0] = (struct wires_end){ .to_write = to_server, .to_read = to_client, .offset_out = 3, .offset_in = 1000 };
    ends[1] = (struct wires_end){ .to_write = to_client, .to_read = to_server, .offset_out = 1000, .offset_in = 3 };
    ends[0].wire = mm_tls_client(fds[0], key, "0123456789abcdef", &err);
    ends[1].wire = mm_tls_server(fds[1], key, "0123456789abcdef", &err);
    assert_non_null(ends[0].wire);
    assert_non_null(ends[1].wire);
}

static void close_ends(void)
{
    for (int k = 0; k < 2; k++)
        ends[k].wire->ops->close(ends[k].wire);
}

static void pump(uint64_t to_client, uint64_t to_server)
{
    ends[0].to_write += to_server;
    ends[1].to_read += to_server;
    ends[1].to_write += to_client;
    ends[0].to_read += to_client;
    assert_true(wires_pump(ends));
    for (int k = 0; k < 2; k++) {
        assert_int_equal(ends[k].read, ends[k].to_read);
        assert_int_equal(ends[k].written, ends[k].to_write);
    }
}

static void tls_with_the_key_moves_bytes_both_ways_at_once(void **state)
{
    (void)state;
    int fds[2];
    uint64_t n = wires_is_slow() ? 4 * MiB : 64 * MiB;
    wires_tcp(fds, 0);
    make_ends(fds, 0, 0);
    pump(n, n);
    assert_int_equal(mm_tls_rekeys(ends[0].wire) + mm_tls_rekeys(ends[1].wire), 0);
    close_ends();
}

static void tls_over_small_buffers_moves_bytes_both_ways_at_once(void **state)
{
    (void)state;
    int fds[2];
    uint64_t n = wires_is_slow() ? MiB : 16 * MiB;
    wires_tcp(fds, 64 << 10);
    make_ends(fds, 0, 0);
    pump(n, n + 12345);
    close_ends();
    wires_socketpair(fds, 4096);
    make_ends(fds, 0, 0);
    pump(n, n + 12345);
    pump(0, 1);
    pump(1, 0);
    close_ends();
}

static void tls_by_single_bytes_moves_them(void **state)
{
    (void)state;
    int fds[2];
    wires_socketpair(fds, 4096);
    make_ends(fds, 0, 0);
    ends[0].most = ends[1].most = 1;
    pump(3000, 20000);
    close_ends();
}

/* Carries on both handshakes until nothing is left of them. */
static void shake_hands(struct mm_wire *client, struct mm_wire *server)
{
    int c = 1, s = 1;
    for (int k = 0; k < 100 && (c || s); k++) {
        c = mm_tls_handshake(client);
        s = mm_tls_handshake(server);
        assert_true(c >= 0 && s >= 0);
    }
    assert_int_equal(c, 0);
    assert_int_equal(s, 0);
}

static void write_whole(struct mm_wire *wire, const void *from, size_t n)
{
    struct iovec iov = { (void *)(uintptr_t)from, n };
    assert_int_equal(wire->ops->writev(wire, &iov, 1), n);
}

static ssize_t read_at_most(struct mm_wire *wire, void *to, size_t n)
{
    struct iovec iov = { to, n };
    return wire->ops->readv(wire, &iov, 1);
}

static void tls_bytes_that_poll_knows_nothing_of_are_told(void **state)
{
    (void)state;
    int fds[2];
    char got[8];
    wires_socketpair(fds, 0);
    make_ends(fds, 0, 0);
    struct mm_wire *client = ends[0].wire, *server = ends[1].wire;
    shake_hands(client, server);
    assert_false(server->ops->has_more(server));
    write_whole(client, "ab", 2);
    write_whole(client, "cde", 3);
    assert_int_equal(read_at_most(server, got, 1), 1);
    struct pollfd p = { server->fd_in, POLLIN, 0 };
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_true(server->ops->has_more(server)); /* the rest of a record */
    assert_int_equal(read_at_most(server, got, 1), 1);
    assert_true(server->ops->has_more(server)); /* a record that is not decrypted yet */
    assert_int_equal(read_at_most(server, got, 8), 3);
    assert_memory_equal(got, "cde", 3);
    assert_false(server->ops->has_more(server));
    assert_int_equal(read_at_most(server, got, 8), -EAGAIN);
    close_ends();
}

/* Part of a record has come, the rest is on its way: that is nothing that can be read. */
static void tls_part_of_a_record_is_not_more(void **state)
{
    (void)state;
    int fds[2];
    unsigned char raw[256], got[64];
    wires_socketpair(fds, 0);
    make_ends(fds, 0, 0);
    struct mm_wire *client = ends[0].wire, *server = ends[1].wire;
    shake_hands(client, server);
    write_whole(client, "0123456789", 10);
    write_whole(client, "abc", 3);
    ssize_t n = recv(server->fd_in, raw, sizeof raw, 0); /* in its place */
    int sender = client->fd_out;
    assert_in_range(n, 40, 200);
    assert_int_equal(send(sender, raw, 20, 0), 20);
    assert_int_equal(read_at_most(server, got, sizeof got), -EAGAIN);
    assert_false(server->ops->has_more(server));
    assert_int_equal(send(sender, raw + 20, (size_t)n - 25, 0), n - 25);
    assert_int_equal(read_at_most(server, got, 4), 4);
    assert_true(server->ops->has_more(server));
    assert_int_equal(read_at_most(server, got + 4, 60), 6);
    assert_memory_equal(got, "0123456789", 10);
    assert_false(server->ops->has_more(server));
    assert_int_equal(send(sender, raw + n - 5, 5, 0), 5);
    assert_int_equal(read_at_most(server, got, 60), 3);
    assert_memory_equal(got, "abc", 3);
    close_ends();
}

static void tls_end_is_told_in_order(void **state)
{
    (void)state;
    int fds[2];
    char got[8];
    wires_tcp(fds, 0);
    make_ends(fds, 0, 0);
    struct mm_wire *client = ends[0].wire, *server = ends[1].wire;
    shake_hands(client, server);
    write_whole(client, "last", 4);
    client->ops->close(client);
    struct pollfd p = { server->fd_in, POLLIN, 0 };
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(read_at_most(server, got, 4), 4);
    assert_memory_equal(got, "last", 4);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(read_at_most(server, got, 8), 0);
    assert_int_equal(read_at_most(server, got, 8), 0);
    assert_string_equal(server->ops->reason(server), "the far side has ended it");
    server->ops->close(server);
}

/* --- new keys ---------------------------------------------------------------------------------------------------- */

static void tls_after_so_many_records_has_new_keys(void **state)
{
    (void)state;
    int fds[2];
    enum { RECORD = 16384, RECORDS = 64 }; /* 1 MiB */
    static unsigned char bytes[RECORD];
    uint64_t n = 20 * MiB;
    wires_socketpair(fds, 0);
    make_ends(fds, 0, 0);
    mm_tls_set_rekey(ends[0].wire, RECORDS);
    mm_tls_set_rekey(ends[1].wire, RECORDS / 2);
    pump(n, n);
    assert_true(mm_tls_rekeys(ends[0].wire) >= (n / RECORD - 1) / RECORDS); /* more where records are not full */
    assert_true(mm_tls_rekeys(ends[1].wire) >= 2 * mm_tls_rekeys(ends[0].wire) - 40);
    close_ends();
    wires_socketpair(fds, 1 << 20);
    make_ends(fds, 0, 0);
    shake_hands(ends[0].wire, ends[1].wire);
    mm_tls_set_rekey(ends[0].wire, RECORDS);
    for (unsigned k = 0; k < n / RECORD; k++) { /* all full: the number is known */
        write_whole(ends[0].wire, bytes, RECORD);
        assert_int_equal(read_at_most(ends[1].wire, bytes, RECORD), RECORD);
    }
    assert_int_equal(mm_tls_rekeys(ends[0].wire), (n / RECORD - 1) / RECORDS);
    assert_int_equal(mm_tls_rekeys(ends[1].wire), 0);
    close_ends();
}

/* --- the key is forgotten ---------------------------------------------------------------------------------------- */

/* How often the key, given with all bits turned round, lies in this process's writable memory; -1: not looked at, because
 * a sanitizer's or valgrind's own is too large, and keeps what was freed. */
static int count_in_memory(const unsigned char turned[MM_TLS_KEY])
{
    int found = 0;
    char line[512];
    if (wires_is_slow())
        return -1;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long lo, hi;
        if (sscanf(line, "%lx-%lx rw", &lo, &hi) != 2 || !strstr(line, " rw") || strstr(line, "[v"))
            continue;
        for (const volatile unsigned char *p = (void *)lo; p + MM_TLS_KEY <= (const unsigned char *)hi; p++) {
            unsigned k = 0;
            while (k < MM_TLS_KEY && (p[k] ^ turned[k]) == 0xFF)
                k++;
            found += k == MM_TLS_KEY;
        }
    }
    fclose(maps);
    return found;
}

static void tls_key_is_forgotten_when_hands_are_shaken(void **state)
{
    (void)state;
    int fds[2];
    unsigned char turned[MM_TLS_KEY];
    for (int k = 0; k < MM_TLS_KEY; k++)
        turned[k] = (unsigned char)~key[k];
    wires_tcp(fds, 0);
    make_ends(fds, 0, 0);
    explicit_bzero(key, sizeof key);
    int before = count_in_memory(turned);
    assert_true(before == 2 || before == -1); /* the client's and the server's */
    shake_hands(ends[0].wire, ends[1].wire);
    assert_true(count_in_memory(turned) <= 0);
    pump(1000, 1000);
    close_ends();
}

/* --- failures ---------------------------------------------------------------------------------------------------- */

static void tls_with_a_name_of_wrong_length_is_refused(void **state)
{
    (void)state;
    char name[MM_TLS_IDENTITY + 2] = { 0 };
    memset(&err, 0, sizeof err);
    assert_null(mm_tls_client(0, key, name, &err));
    assert_int_equal(err.code, MAMUTO_EINVAL);
    memset(name, 'x', MM_TLS_IDENTITY + 1);
    memset(&err, 0, sizeof err);
    assert_null(mm_tls_server(0, key, name, &err));
    assert_int_equal(err.code, MAMUTO_EINVAL);
    assert_non_null(strstr(err.text, "the name of a key has 65 bytes; it may have 1 to 64"));
}

static void tls_without_a_library_is_told(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    mm_tls_library_hide(true);
    assert_null(mm_tls_client(0, key, "name", &err));
    mm_tls_library_hide(false);
    assert_int_equal(err.code, MAMUTO_EHOST);
    assert_non_null(strstr(err.text, "there is no TLS on this machine"));
}

static void on_sigpipe(int number) { _exit(100 + number); }

static void tls_to_a_far_side_that_is_gone_is_an_error_and_no_signal(void **state)
{
    (void)state;
    int fds[2];
    static unsigned char bytes[100000];
    signal(SIGPIPE, on_sigpipe);
    wires_socketpair(fds, 0);
    make_ends(fds, 0, 0);
    struct mm_wire *client = ends[0].wire, *server = ends[1].wire;
    shake_hands(client, server);
    write_whole(server, "why", 3);
    server->ops->close(server);
    struct iovec iov = { bytes, sizeof bytes };
    ssize_t n = client->ops->writev(client, &iov, 1);
    if (n > 0)
        n = client->ops->writev(client, &iov, 1);
    assert_int_equal(n, -EPIPE);
    assert_string_equal(client->ops->reason(client), "the connection broke: Broken pipe");
    char got[8]; /* what it said before can still be read */
    assert_int_equal(read_at_most(client, got, sizeof got), 3);
    assert_memory_equal(got, "why", 3);
    assert_int_equal(read_at_most(client, got, sizeof got), 0);
    client->ops->close(client);
    signal(SIGPIPE, SIG_DFL);
}

static bool try_all(void)
{
    int fds[2];
    wires_socketpair(fds, 0);
    memset(&err, 0, sizeof err);
    memset(ends, 0, sizeof ends);
    ends[0].wire = mm_tls_client(fds[0], key, "name", &err);
    if (ends[0].wire)
        ends[1].wire = mm_tls_server(fds[1], key, "name", &err);
    bool made = ends[0].wire && ends[1].wire;
    bool done = made;
    if (made) {
        ends[0].to_write = ends[1].to_read = 100000;
        done = wires_pump(ends) && ends[0].written == 100000 && ends[1].read == 100000;
    } else {
        assert_int_equal(err.code, MAMUTO_ENOMEM);
    }
    for (int k = 0; k < 2; k++) {
        const struct wires_end *e = &ends[k];
        if (made && e->read_result == -ENOMEM)
            assert_int_equal(mm_tls_handshake(e->wire), MAMUTO_ENOMEM);
        if (e->wire)
            e->wire->ops->close(e->wire);
        else
            close(fds[k]);
    }
    return done;
}

static void tls_without_memory_is_an_error(void **state)
{
    (void)state;
    assert_true(try_all());
    mm_alloc_fail_at(0);
    assert_true(try_all());
    long n = mm_alloc_fail_at(0);
    unsigned failed = 0;
    assert_in_range(n, 4, 10000);
    for (long k = 1; k <= n && k < 200; k++) {
        mm_alloc_fail_at(k);
        failed += !try_all();
        mm_alloc_fail_at(0);
    }
    assert_in_range(failed, 4, 200);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

static void *pump_in_thread(void *p)
{
    struct wires_end *end = p;
    end->read_result = end->write_result = 1;
    for (;;) {
        short in = 0, out = 0;
        bool moved = wires_turn(end);
        const struct mm_wire *w = end->wire;
        w->ops->wants(w, end->read < end->to_read, end->written < end->to_write, &in, &out);
        if (end->read_result != 1 || end->write_result != 1)
            return "an end has failed";
        if (!out && end->read == end->to_read && end->written == end->to_write)
            return NULL;
        struct pollfd poll_for = { w->fd_in, (short)(in | out), 0 };
        if (!moved && !w->ops->has_more(w))
            poll(&poll_for, 1, 100);
    }
}

static void tls_in_several_threads_moves_bytes(void **state)
{
    (void)state;
    enum { PAIRS = 2 };
    static struct wires_end all[PAIRS][2];
    pthread_t threads[2 * PAIRS];
    for (int k = 0; k < PAIRS; k++) {
        int fds[2];
        wires_tcp(fds, 0);
        make_ends(fds, 2 * MiB, 3 * MiB);
        memcpy(all[k], ends, sizeof ends);
        for (int e = 0; e < 2; e++)
            mm_tls_set_rekey(all[k][e].wire, 20);
    }
    for (int k = 0; k < 2 * PAIRS; k++)
        assert_int_equal(pthread_create(&threads[k], NULL, pump_in_thread, &all[k / 2][k % 2]), 0);
    for (int k = 0; k < 2 * PAIRS; k++) {
        void *result;
        assert_int_equal(pthread_join(threads[k], &result), 0);
        assert_null(result);
        all[k / 2][k % 2].wire->ops->close(all[k / 2][k % 2].wire);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_with_the_key_moves_bytes_both_ways_at_once),
        cmocka_unit_test(tls_over_small_buffers_moves_bytes_both_ways_at_once),
        cmocka_unit_test(tls_by_single_bytes_moves_them),
        cmocka_unit_test(tls_bytes_that_poll_knows_nothing_of_are_told),
        cmocka_unit_test(tls_part_of_a_record_is_not_more),
        cmocka_unit_test(tls_end_is_told_in_order),
        cmocka_unit_test(tls_after_so_many_records_has_new_keys),
        cmocka_unit_test(tls_in_several_threads_moves_bytes),
        cmocka_unit_test(tls_key_is_forgotten_when_hands_are_shaken),
        cmocka_unit_test(tls_with_a_name_of_wrong_length_is_refused),
        cmocka_unit_test(tls_without_a_library_is_told),
        cmocka_unit_test(tls_to_a_far_side_that_is_gone_is_an_error_and_no_signal),
        cmocka_unit_test(tls_without_memory_is_an_error),
    };
    return cmocka_run_group_tests_name("tls", tests, set_up, NULL);
}
