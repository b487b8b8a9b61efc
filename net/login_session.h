/* What a login's thread does with libssh. Blocking: called on that thread alone. */
#ifndef MM_NET_LOGIN_SESSION_H
#define MM_NET_LOGIN_SESSION_H

#include "core/config.h"

#include <libssh/libssh.h>
#include <sys/socket.h>

/* What is needed of a host's config: copies, since the thread may outlive it. NULL: as ssh has it. */
struct mm_login_target {
    char *label, *address, *user, *identity, *known_hosts_file, *ssh_config, *command;
    int port, timeout_ms; /* port 0: as ssh has it */
    bool accept_new;
    const char *_Atomic stage; /* where it is: for who gives it up */
};

int mm_login_target_copy(struct mm_login_target *target, const struct mm_config_host *host, const char *command);
void mm_login_target_fini(struct mm_login_target *target);

/* Resolves, connects, checks the host's key, proves who we are, and starts the command. EHOST with a sentence that names
 * the stage and what would be right; ENOMEM. Both are there when it returns 0. */
int mm_login_session(struct mm_login_target *target, ssh_session *session, ssh_channel *channel, mamuto_error_t *err);
/* The address of the far end. 0: it is reached through something else. */
socklen_t mm_login_peer(ssh_session session, struct sockaddr_storage *peer);

#endif
