/* Dialling addresses that answer, refuse, or stay silent; the clock is the test's. */
#include "net/dial.h"

#include "core/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t MS = 1000000, START = 77000000000;
static mamuto_error_t err;
static int fd; /* what was connected */

/* Listens on a port of its own. */
static int listen_on(const char *host, int backlog, struct mm_dial_address *address)
{
    assert_true(mm_dial_parse(address, host, 1));
    ((struct sockaddr_in *)&address->at)->sin_port = 0; /* at the same place in IPv6's */
    int listener = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address->at, address->n), 0);
    if (backlog >= 0)
        assert_int_equal(listen(listener, backlog), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address->at, &address->n), 0);
    return listener;
}

enum { FILLERS = 4 };
struct silent {
    int listener, fillers[FILLERS];
    struct mm_dial_address address;
};

/* A port whose queue is full: the kernel lets further callers wait. */
static void make_silent(struct silent *s)
{
    s->listener = listen_on("127.0.0.1", 0, &s->address);
    for (int k = 0; k < FILLERS; k++) {
        s->fillers[k] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(s->fillers[k], (struct sockaddr *)&s->address.at, s->address.n);
    }
}

static void close_silent(struct silent *s)
{
    close(s->listener);
    for (int k = 0; k < FILLERS; k++)
        close(s->fillers[k]);
}

static struct mm_dial *dial(const struct mm_dial_address *addresses, unsigned n)
{
    memset(&err, 0, sizeof err);
    fd = -1;
    struct mm_dial *d = mm_dial_new(addresses, n, START, &err);
    assert_non_null(d);
    return d;
}

static int step(struct mm_dial *d, uint64_t ms) { return mm_dial_step(d, START + ms * MS, &fd, &err); }

/* At a time that stands still: until something has happened. */
static int wait_for(struct mm_dial *d, uint64_t ms)
{
    int code = step(d, ms);
    for (int k = 0; k < 100 && code == 1; k++) {
        struct pollfd polls[MM_DIAL_MOST];
        poll(polls, mm_dial_polls(d, polls), 100);
        code = step(d, ms);
    }
    return code;
}

static void assert_connected_to(int listener)
{
    char byte = 0;
    int there = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(there >= 0);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    assert_int_equal(recv(there, &byte, 1, 0), 1);
    assert_int_equal(byte, 'x');
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(there);
    close(fd);
}

static void dial_where_one_answers_connects(void **state)
{
    (void)state;
    static const char *const hosts[] = { "127.0.0.1", "::1" };
    for (int k = 0; k < 2; k++) {
        struct mm_dial_address address;
        int listener = listen_on(hosts[k], 5, &address);
        struct mm_dial *d = dial(&address, 1);
        assert_int_equal(wait_for(d, 0), 0);
        assert_connected_to(listener);
        mm_dial_free(d);
        close(listener);
    }
}

static void dial_where_the_first_refuses_takes_the_next_at_once(void **state)
{
    (void)state;
    struct mm_dial_address addresses[3];
    int deaf[2] = { listen_on("127.0.0.1", -1, &addresses[0]), listen_on("127.0.0.1", -1, &addresses[1]) };
    int listener = listen_on("127.0.0.1", 5, &addresses[2]);
    struct mm_dial *d = dial(addresses, 3);
    assert_int_equal(wait_for(d, 0), 0);
    assert_connected_to(listener);
    mm_dial_free(d);
    close(deaf[0]);
    close(deaf[1]);
    close(listener);
}

static void dial_where_the_first_is_silent_takes_the_next_in_time(void **state)
{
    (void)state;
    struct silent silent;
    struct mm_dial_address addresses[2];
    struct pollfd polls[MM_DIAL_MOST];
    make_silent(&silent);
    addresses[0] = silent.address;
    int listener = listen_on("127.0.0.1", 5, &addresses[1]);
    struct mm_dial *d = dial(addresses, 2);
    assert_int_equal(step(d, 0), 1);
    assert_int_equal(mm_dial_polls(d, polls), 1);
    assert_int_equal(mm_dial_wake_ns(d), START + 250 * MS);
    assert_int_equal(step(d, 249), 1);
    assert_int_equal(mm_dial_polls(d, polls), 1);
    assert_int_equal(wait_for(d, 250), 0);
    assert_connected_to(listener);
    assert_int_equal(mm_dial_polls(d, polls), 1); /* the silent one goes on */
    assert_int_equal(mm_dial_wake_ns(d), START + 2000 * MS);
    mm_dial_free(d);
    close(listener);
    close_silent(&silent);
}

static void dial_where_none_answers_says_why_of_each(void **state)
{
    (void)state;
    struct silent silent;
    struct mm_dial_address addresses[2];
    char expected[200];
    make_silent(&silent);
    int deaf = listen_on("127.0.0.1", -1, &addresses[0]);
    addresses[1] = silent.address;
    struct mm_dial *d = dial(addresses, 2);
    assert_int_equal(step(d, 0), 1);
    assert_int_equal(step(d, 1999), 1);
    assert_int_equal(step(d, 2000), MAMUTO_EHOST);
    snprintf(expected, sizeof expected,
             "no connection in 2000 ms: 127.0.0.1 port %u: Connection refused; 127.0.0.1 port %u: no answer",
             ntohs(((struct sockaddr_in *)&addresses[0].at)->sin_port),
             ntohs(((struct sockaddr_in *)&addresses[1].at)->sin_port));
    assert_string_equal(err.text, expected);
    assert_int_equal(step(d, 3000), MAMUTO_EHOST);
    assert_int_equal(fd, -1);
    mm_dial_free(d);
    close(deaf);
    close_silent(&silent);
}

static void dial_where_all_refuse_fails_before_its_time(void **state)
{
    (void)state;
    struct mm_dial_address addresses[2];
    int deaf = listen_on("127.0.0.1", -1, &addresses[0]);
    addresses[1] = addresses[0];
    struct mm_dial *d = dial(addresses, 2);
    assert_int_equal(wait_for(d, 0), MAMUTO_EHOST);
    assert_non_null(strstr(err.text, "Connection refused; 127.0.0.1"));
    mm_dial_free(d);
    close(deaf);
}

static void dial_goes_on_after_a_stranger_answered(void **state)
{
    (void)state;
    struct mm_dial_address addresses[2];
    int one = listen_on("127.0.0.1", 5, &addresses[0]), two = listen_on("127.0.0.1", 5, &addresses[1]);
    struct mm_dial *d = dial(addresses, 2);
    assert_int_equal(wait_for(d, 0), 0);
    assert_connected_to(one);
    assert_int_equal(wait_for(d, 10), 0);
    assert_connected_to(two);
    assert_int_equal(step(d, 20), MAMUTO_EHOST);
    assert_non_null(strstr(err.text, "answered, but was not taken"));
    mm_dial_free(d);
    close(one);
    close(two);
}

static void dial_of_many_gives_each_its_turn(void **state)
{
    (void)state;
    struct silent silent;
    struct mm_dial_address addresses[MM_DIAL_MOST];
    struct pollfd polls[MM_DIAL_MOST];
    make_silent(&silent);
    for (int k = 0; k < MM_DIAL_MOST; k++)
        addresses[k] = silent.address;
    struct mm_dial *d = dial(addresses, MM_DIAL_MOST);
    for (unsigned ms = 0; ms < 1900; ms += 10)
        assert_int_equal(step(d, ms), 1);
    assert_int_equal(mm_dial_polls(d, polls), MM_DIAL_MOST);
    assert_int_equal(step(d, 2000), MAMUTO_EHOST);
    mm_dial_free(d);
    close_silent(&silent);
}

static void dial_parses_numbers_alone(void **state)
{
    (void)state;
    struct mm_dial_address address;
    assert_true(mm_dial_parse(&address, "192.0.2.7", 65535));
    assert_int_equal(address.at.ss_family, AF_INET);
    assert_true(mm_dial_parse(&address, "fe80::1%lo", 22));
    assert_int_equal(address.at.ss_family, AF_INET6);
    assert_int_equal(((struct sockaddr_in6 *)&address.at)->sin6_scope_id, 1);
    assert_false(mm_dial_parse(&address, "localhost", 22));
    assert_false(mm_dial_parse(&address, "", 22));
    assert_false(mm_dial_parse(&address, "192.0.2.7", 0));
    assert_false(mm_dial_parse(&address, "192.0.2.700", 22));
    assert_false(mm_dial_parse(&address, "fe80::1%mamuto-no-such", 22));
}

static void dial_of_nothing_too_much_or_without_memory_is_refused(void **state)
{
    (void)state;
    struct mm_dial_address address = { .n = 0 };
    memset(&err, 0, sizeof err);
    assert_null(mm_dial_new(&address, 0, 0, &err));
    assert_int_equal(err.code, MAMUTO_EINVAL);
    assert_null(mm_dial_new(&address, MM_DIAL_MOST + 1, 0, NULL));
    memset(&err, 0, sizeof err);
    mm_alloc_fail_at(1);
    assert_null(mm_dial_new(&address, 1, 0, &err));
    mm_alloc_fail_at(0);
    assert_int_equal(err.code, MAMUTO_ENOMEM);
    mm_dial_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dial_where_one_answers_connects),
        cmocka_unit_test(dial_where_the_first_refuses_takes_the_next_at_once),
        cmocka_unit_test(dial_where_the_first_is_silent_takes_the_next_in_time),
        cmocka_unit_test(dial_where_none_answers_says_why_of_each),
        cmocka_unit_test(dial_where_all_refuse_fails_before_its_time),
        cmocka_unit_test(dial_goes_on_after_a_stranger_answered),
        cmocka_unit_test(dial_of_many_gives_each_its_turn),
        cmocka_unit_test(dial_parses_numbers_alone),
        cmocka_unit_test(dial_of_nothing_too_much_or_without_memory_is_refused),
    };
    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
