/* A login by ssh, and a command that runs there: in a thread of its own, for as long as the command runs. */
#ifndef MM_NET_LOGIN_H
#define MM_NET_LOGIN_H

#include "core/config.h"
#include "net/wire.h"

#include <sys/socket.h>
#include <uv.h>

enum { MM_LOGIN_TAIL = 4096 };

struct mm_login;

struct mm_login_events {
    /* Logged in, and the command runs: its stdin and stdout are the wire, the callee's from now on. peer: the address that the
     * connection goes to; n 0: it goes through something else. */
    void (*on_open)(void *owner, struct mm_wire *wire, const struct sockaddr_storage *peer, socklen_t n);
    /* It could not: err names the stage. Once, instead of on_open. */
    void (*on_failed)(void *owner, const mamuto_error_t *err);
};

/* host is borrowed until this returns. Within connect_timeout_ms one of the events comes, from the loop, whatever libssh waits
 * for. ENOMEM, ESYSTEM. */
int mm_login_begin(struct mm_login **login, uv_loop_t *loop, const struct mm_config_host *host, const char *command,
                   const struct mm_login_events *events, void *owner, mamuto_error_t *err);
/* What the command has said on stderr, the last of it; copied, at most size - 1 bytes. Returns how many. */
size_t mm_login_tail(struct mm_login *login, char *text, size_t size);
/* How it ended, a piece of a sentence: copied. false: it has not, or nothing is known. */
bool mm_login_end(struct mm_login *login, char *text, size_t size);
/* Gives it up: the thread ends by itself, when it can. Legal in its events; none comes after. The login is no more the
 * caller's. */
void mm_login_stop(struct mm_login *login);

#endif
