/* Strangers and the master. Whoever connects gets one of 16 places for 5 seconds and 2 KiB; with all taken, the oldest that
 * has proven nothing goes. The first that proves the key and says BIND is the master; then sockets and strangers are closed,
 * and the key is wiped. Of a connection that is not proven nothing is believed, and nothing is said to it that is of use to
 * who has not the key. Called by net/agent.c.
 */
#include "net/agent_listen.h"

#include "core/error.h"
#include "net/agent.h"
#include "net/tls.h"
#include "shm/clock.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_BYTES = 2048, MOST_ADDRESSES = 16, ADDRESS = 64, BACKLOG = 64 };
static const uint64_t MOST_NS = UINT64_C(5000000000);

/* --- where -------------------------------------------------------------------------------------------------------- */

/* The third word of $SSH_CONNECTION: the address by which the master came here. */
static bool ssh_address(char address[ADDRESS])
{
    const char *connection = getenv("SSH_CONNECTION");
    return connection && sscanf(connection, "%*63s %*63s %63s", address) == 1;
}

/* Addresses of this host that others can reach; its loopback where it has no other. */
static int own_addresses(char at[MOST_ADDRESSES][ADDRESS])
{
    struct ifaddrs *all = NULL;
    int n = 0;
    if (getifaddrs(&all) != 0)
        all = NULL;
    for (int loopback = 0; loopback < 2 && n == 0; loopback++)
        for (struct ifaddrs *one = all; one && n < MOST_ADDRESSES; one = one->ifa_next) {
            int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
            socklen_t bytes = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
            bool is_loopback = one->ifa_flags & IFF_LOOPBACK;
            if ((family == AF_INET || family == AF_INET6) && (one->ifa_flags & IFF_UP) && is_loopback == loopback &&
                getnameinfo(one->ifa_addr, bytes, at[n], ADDRESS, NULL, 0, NI_NUMERICHOST) == 0)
                n++;
        }
    freeifaddrs(all);
    return n;
}

static int bind_one(const char *address, int family, uint16_t port)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_family = family,
                              .ai_socktype = SOCK_STREAM },
                    *found = NULL;
    char service[8];
    int one = 1;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(address, service, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && found->ai_family == AF_INET6 && !address)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (fd >= 0 && (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = { 0 };
    socklen_t n = sizeof name;
    if (getsockname(fd, &name.any, &n) != 0)
        return 0;
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

/* On one port, for IPv4 and IPv6 alike where no address is given. */
static bool try_port(struct mm_agent_listener *l, const char *address, uint16_t port)
{
    int first = bind_one(address, address ? AF_UNSPEC : AF_INET, port);
    if (first >= 0)
        l->fds[l->n++] = first;
    int second = address ? -1 : bind_one(NULL, AF_INET6, first >= 0 ? port_of(first) : port);
    if (second >= 0)
        l->fds[l->n++] = second;
    return l->n > 0;
}

static int say_where(struct mm_agent *agent, const char *address)
{
    char own[MOST_ADDRESSES][ADDRESS];
    const char *list[MOST_ADDRESSES + 1] = { address };
    unsigned char body[4096];
    struct mm_writer w = { .at = body, .room = sizeof body };
    int n = address ? 1 : own_addresses(own);
    for (int i = 0; i < n && !address; i++)
        list[i] = own[i];
    list[n] = NULL;
    mm_put_listen(&w, port_of(agent->listener.fds[0]), list);
    return mm_stream_send(agent->channel, MM_FRAME_LISTEN, 0, body, w.n);
}

int mm_agent_listen(struct mm_agent *agent, const struct mm_start *start, mamuto_error_t *err)
{
    struct mm_agent_listener *l = &agent->listener;
    char address[ADDRESS];
    bool by_ssh = ssh_address(address);
    l->kind = start->kind;
    memcpy(l->key, start->key, sizeof l->key);
    for (unsigned port = start->port_first; !l->n && port <= start->port_last; port++)
        try_port(l, by_ssh ? address : NULL, (uint16_t)port);
    if (!l->n)
        return mm_error_set(err, MAMUTO_EHOST, "no port from %u to %u is free on it (data_port): %s", start->port_first,
                            start->port_last, strerror(errno));
    return say_where(agent, by_ssh ? address : NULL);
}

/* --- who ---------------------------------------------------------------------------------------------------------- */

static void send_away(struct mm_agent_stranger *s)
{
    if (s->stream)
        mm_stream_free(s->stream);
    else if (s->wire)
        s->wire->ops->close(s->wire);
    mm_proof_end(&s->proof);
    *s = (struct mm_agent_stranger){ .agent = s->agent };
}

static int on_prove(struct mm_agent_stranger *s, const unsigned char *body, size_t n)
{
    unsigned char answer[MM_CHALLENGE_BYTES + MM_PROOF_BYTES];
    struct mm_writer w = { .at = answer, .room = sizeof answer };
    struct mm_prove in, out;
    mamuto_error_t err = { 0 };
    const char *why = "";
    bool sends = false;
    if (mm_get_prove(&in, body, n, &why))
        return mm_stream_fail(s->stream, "PROVE: %s", why);
    if (mm_proof_take(&s->proof, &in, &out, &sends, &err))
        return mm_stream_fail(s->stream, "%s", err.text);
    s->proven = s->proof.state == MM_PROOF_DONE;
    if (!sends)
        return 0;
    mm_put_prove(&w, &out);
    return mm_stream_send(s->stream, MM_FRAME_PROVE, 0, answer, w.n);
}

static int on_frame(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_agent_stranger *s = owner;
    if (frame->type == MM_FRAME_PROVE && s->agent->listener.kind == MM_STREAM_PLAIN)
        return on_prove(s, body, n);
    if (frame->type != MM_FRAME_BIND || !s->proven)
        return mm_stream_fail(s->stream, "%s is not expected", mm_frame_name(frame->type));
    s->bound = true;
    mm_agent_take_stream(s->agent, s->stream); /* what follows in the same bytes is the master's already */
    return 0;
}

static int on_payload(void *owner, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_agent_stranger *s = owner;
    (void)done, (void)to;
    return mm_stream_fail(s->stream, "%s is not expected", mm_frame_name(frame->type));
}

static int on_payload_end(void *owner, const struct mm_frame *frame) { return on_payload(owner, frame, 0, NULL); }

static const struct mm_stream_events events = { on_frame, on_payload, on_payload_end, NULL };

static bool make_stream(struct mm_agent_stranger *s)
{
    s->stream = mm_stream_new(s->wire, MM_BY_MASTER, MM_ON_STREAM, &events, s);
    if (s->stream)
        s->wire = NULL;
    return s->stream != NULL;
}

static void accept_one(struct mm_agent *agent, int fd)
{
    struct mm_agent_listener *l = &agent->listener;
    struct mm_agent_stranger *place = &l->strangers[0];
    mamuto_error_t err = { 0 };
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int i = 0; i < MM_AGENT_STRANGERS && place->since_ns; i++)
        if (!l->strangers[i].since_ns || (!l->strangers[i].proven && l->strangers[i].since_ns < place->since_ns))
            place = &l->strangers[i];
    send_away(place);
    *place = (struct mm_agent_stranger){ .agent = agent, .since_ns = mm_now_ns() };
    struct mm_prove none;
    bool sends;
    if (l->kind == MM_STREAM_TLS)
        place->wire = mm_tls_server(fd, l->key, agent->nonce, &err);
    else if (mm_proof_begin(&place->proof, MM_PROOF_AGENT, l->key, &none, &sends, &err) == 0)
        place->wire = mm_wire_of_fds(fd, fd);
    bool good = place->wire != NULL;
    if (!good)
        close(fd);
    if (!good || (l->kind == MM_STREAM_PLAIN && !make_stream(place)))
        send_away(place);
}

static void turn(struct mm_agent_stranger *s)
{
    bool more = false;
    if (s->wire) {
        int code = mm_tls_handshake(s->wire);
        if (code == 1)
            return;
        s->proven = code == 0;
        if (code || !make_stream(s)) {
            send_away(s);
            return;
        }
    }
    int code = mm_stream_read(s->stream, &more);
    if (s->bound)
        return;
    if (!code)
        code = mm_stream_write(s->stream, &more);
    if (code || mm_stream_received(s->stream) > MOST_BYTES)
        send_away(s);
}

nfds_t mm_agent_listen_fds(struct mm_agent *agent, struct pollfd *fds)
{
    struct mm_agent_listener *l = &agent->listener;
    nfds_t n = 0;
    for (int i = 0; i < l->n; i++)
        fds[n++] = (struct pollfd){ .fd = l->fds[i], .events = POLLIN };
    for (int i = 0; l->n && i < MM_AGENT_STRANGERS; i++) {
        struct mm_agent_stranger *s = &l->strangers[i];
        short in = POLLIN, out = 0;
        if (!s->since_ns)
            continue;
        const struct mm_wire *wire = s->wire ? s->wire : mm_stream_wire(s->stream);
        if (s->stream)
            mm_stream_wants(s->stream, &in, &out);
        else
            wire->ops->wants(wire, true, false, &in, &out);
        fds[n++] = (struct pollfd){ .fd = wire->fd_in, .events = (short)(in | out) };
    }
    return n;
}

void mm_agent_on_listen(struct mm_agent *agent)
{
    struct mm_agent_listener *l = &agent->listener;
    for (int i = 0; i < l->n; i++) {
        int fd = accept4(l->fds[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            accept_one(agent, fd);
    }
    uint64_t now = mm_now_ns();
    for (int i = 0; l->n && i < MM_AGENT_STRANGERS && !agent->stream; i++) {
        struct mm_agent_stranger *s = &l->strangers[i];
        if (s->since_ns && now - s->since_ns > MOST_NS)
            send_away(s);
        else if (s->since_ns)
            turn(s);
    }
    if (agent->stream)
        mm_agent_end_listening(agent);
}

void mm_agent_end_listening(struct mm_agent *agent)
{
    struct mm_agent_listener *l = &agent->listener;
    for (int i = 0; i < l->n; i++)
        close(l->fds[i]);
    l->n = 0;
    for (int i = 0; i < MM_AGENT_STRANGERS; i++) {
        if (l->strangers[i].bound)
            l->strangers[i].stream = NULL; /* the agent's */
        send_away(&l->strangers[i]);
    }
    explicit_bzero(l->key, sizeof l->key);
}
