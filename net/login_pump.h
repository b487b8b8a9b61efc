/* Bytes between an ssh channel and a socket. Called on a login's own thread. */
#ifndef MM_NET_LOGIN_PUMP_H
#define MM_NET_LOGIN_PUMP_H

#include <libssh/libssh.h>
#include <stddef.h>

/* Pumps until one of both has ended: the channel, by the command's end; the socket, by its other end: then the command gets
 * the end of its stdin, and a moment to end. on_stderr is told what the command says there. The exit status, or -1: not
 * known. Non-blocking towards both; waits in poll(). */
int mm_login_pump(ssh_session session, ssh_channel channel, int socket,
                  void (*on_stderr)(void *owner, const char *bytes, size_t n), void *owner);

#endif
