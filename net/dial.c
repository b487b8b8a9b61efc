/* Dialling the addresses of one host.
 *
 *   each address:  WAITING ---> CONNECTING ---> GIVEN
 *                     '-------------+---------> FAILED
 *
 * Invariants: never blocks; an address is begun when the one before has had its 250 ms (less where there are so many that
 * the last would not have its turn), or when none is under way any more; after 2 s in all, those that have not answered
 * have failed. Called by the master's launch from its loop. Says nothing about who answered: that is to be proved.
 */
#include "net/dial.h"

#include "core/alloc.h"
#include "core/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum state { WAITING, CONNECTING, GIVEN, FAILED };

struct attempt {
    struct mm_dial_address address;
    enum state state;
    int fd;    /* of CONNECTING */
    int error; /* of FAILED; 0: it has not answered */
};

struct mm_dial {
    unsigned n, begun; /* those from `begun` on are WAITING */
    uint64_t stagger_ns, next_ns, end_ns;
    struct attempt attempts[MM_DIAL_MOST];
};

static const uint64_t ns_per_ms = 1000000;

bool mm_dial_parse(struct mm_dial_address *address, const char *text, uint16_t port)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    if (!*text || !port || getaddrinfo(text, service, &hints, &found) != 0)
        return false;
    memset(address, 0, sizeof *address);
    memcpy(&address->at, found->ai_addr, found->ai_addrlen);
    address->n = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

struct mm_dial *mm_dial_new(const struct mm_dial_address *addresses, unsigned n, uint64_t now_ns, mamuto_error_t *err)
{
    if (!n || n > MM_DIAL_MOST) {
        mm_error_set(err, MAMUTO_EINVAL, "there are %u addresses to dial; there may be 1 to %d", n, MM_DIAL_MOST);
        return NULL;
    }
    struct mm_dial *dial = mm_alloc(sizeof *dial);
    if (!dial) {
        mm_error_set(err, MAMUTO_ENOMEM, "not enough memory to dial");
        return NULL;
    }
    uint64_t spread_ms = MM_DIAL_TOTAL_MS * 3 / 4 / n;
    dial->stagger_ns = (spread_ms < MM_DIAL_STAGGER_MS ? spread_ms : MM_DIAL_STAGGER_MS) * ns_per_ms;
    dial->n = n;
    dial->next_ns = now_ns;
    dial->end_ns = now_ns + MM_DIAL_TOTAL_MS * ns_per_ms;
    for (unsigned k = 0; k < n; k++)
        dial->attempts[k] = (struct attempt){ .address = addresses[k], .fd = -1 };
    return dial;
}

/* --- one address --------------------------------------------------------------------------------------------------- */

static void fail(struct attempt *a, int error)
{
    if (a->fd >= 0)
        close(a->fd);
    a->fd = -1;
    a->error = error;
    a->state = FAILED;
}

static void begin(struct attempt *a)
{
    int one = 1;
    a->state = CONNECTING;
    a->fd = socket(a->address.at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0) {
        fail(a, errno);
        return;
    }
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(a->fd, (const struct sockaddr *)&a->address.at, a->address.n) != 0 && errno != EINPROGRESS &&
        errno != EINTR)
        fail(a, errno);
}

/* Where nobody listens, a socket can meet itself: its own port, by chance, is the one that it dials. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t n_here = sizeof here, n_there = sizeof there;
    return getsockname(fd, (struct sockaddr *)&here, &n_here) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &n_there) == 0 && n_here == n_there &&
           memcmp(&here, &there, n_here) == 0;
}

/* Has it been answered? If it was refused, it has failed. */
static bool is_connected(struct attempt *a)
{
    struct pollfd p = { a->fd, POLLOUT, 0 };
    int error = 0;
    socklen_t n = sizeof error;
    if (a->state != CONNECTING || poll(&p, 1, 0) != 1)
        return false;
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
        error = errno;
    if (!error && is_connected_to_itself(a->fd))
        error = ECONNREFUSED;
    if (error)
        fail(a, error);
    return !error;
}

/* --- all ----------------------------------------------------------------------------------------------------------- */

static void append_reason(const struct attempt *a, char *text, size_t size)
{
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    size_t used = strlen(text);
    getnameinfo((const struct sockaddr *)&a->address.at, a->address.n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text + used, size - used, "%s%s port %s: %s", used ? "; " : "", host, port,
             a->state == GIVEN ? "answered, but was not taken"
             : a->error        ? strerror(a->error)
                               : "no answer");
}

static int none_left(const struct mm_dial *dial, mamuto_error_t *err)
{
    char text[384] = "";
    for (unsigned k = 0; k < dial->n; k++)
        append_reason(&dial->attempts[k], text, sizeof text);
    return mm_error_set(err, MAMUTO_EHOST, "no connection in %d ms: %s", MM_DIAL_TOTAL_MS, text);
}

static unsigned count(const struct mm_dial *dial, enum state state)
{
    unsigned n = 0;
    for (unsigned k = 0; k < dial->n; k++)
        n += dial->attempts[k].state == state;
    return n;
}

static bool take_connected(struct mm_dial *dial, int *fd)
{
    for (unsigned k = 0; k < dial->begun; k++) {
        struct attempt *a = &dial->attempts[k];
        if (is_connected(a)) {
            *fd = a->fd;
            a->fd = -1;
            a->state = GIVEN;
            return true;
        }
    }
    return false;
}

static void begin_due(struct mm_dial *dial, uint64_t now_ns)
{
    while (dial->begun < dial->n && (now_ns >= dial->next_ns || !count(dial, CONNECTING))) {
        begin(&dial->attempts[dial->begun++]);
        dial->next_ns = now_ns + dial->stagger_ns;
    }
}

int mm_dial_step(struct mm_dial *dial, uint64_t now_ns, int *fd, mamuto_error_t *err)
{
    unsigned begun;
    do { /* until nothing new is begun: what was begun may be connected, or have failed, already */
        if (take_connected(dial, fd))
            return 0;
        begun = dial->begun;
        if (now_ns < dial->end_ns)
            begin_due(dial, now_ns);
    } while (dial->begun != begun);
    if (now_ns >= dial->end_ns)
        for (unsigned k = 0; k < dial->n; k++)
            if (dial->attempts[k].state <= CONNECTING)
                fail(&dial->attempts[k], 0);
    return count(dial, WAITING) || count(dial, CONNECTING) ? 1 : none_left(dial, err);
}

unsigned mm_dial_polls(const struct mm_dial *dial, struct pollfd polls[MM_DIAL_MOST])
{
    unsigned n = 0;
    for (unsigned k = 0; k < dial->begun; k++)
        if (dial->attempts[k].state == CONNECTING)
            polls[n++] = (struct pollfd){ dial->attempts[k].fd, POLLOUT, 0 };
    return n;
}

uint64_t mm_dial_wake_ns(const struct mm_dial *dial)
{
    return dial->begun < dial->n && dial->next_ns < dial->end_ns ? dial->next_ns : dial->end_ns;
}

void mm_dial_free(struct mm_dial *dial)
{
    for (unsigned k = 0; dial && k < dial->n; k++)
        if (dial->attempts[k].fd >= 0)
            close(dial->attempts[k].fd);
    mm_free(dial);
}
