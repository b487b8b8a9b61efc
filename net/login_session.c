/* The stages of a login by libssh: RESOLVE, CONNECT, HOSTKEY, AUTH, EXEC.
 *
 * Everything that can wait without end has a time limit (SSH_OPTIONS_TIMEOUT), but for an ssh-agent that does not answer:
 * that is the caller's to give up. Settings of the config win over ssh_config's. The named key is tried first, since a server
 * that has seen six wrong ones of an ssh-agent hangs up. A server that drops connections (MaxStartups) is tried again; no
 * more than eight logins to one server are before their key at a time. Half of a login is the server's Nagle against our
 * delayed ACK, so TCP_QUICKACK is set anew before each answer that is waited for. Called on the login's own thread.
 */
#include "net/login_session.h"

#include "core/alloc.h"
#include "core/error.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 8, SERVERS = 64, RETRY_MS = 200 };

int mm_login_target_copy(struct mm_login_target *t, const struct mm_config_host *host, const char *command)
{
    const char *from[] = { host->label,
                           host->address ? host->address : host->label,
                           host->user,
                           host->identity,
                           host->known_hosts_file,
                           host->ssh_config,
                           command };
    char **to[] = { &t->label, &t->address, &t->user, &t->identity, &t->known_hosts_file, &t->ssh_config, &t->command };
    bool all = true;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        *to[i] = from[i] ? mm_strdup(from[i]) : NULL;
        all &= !from[i] || *to[i];
    }
    t->port = host->port;
    t->timeout_ms = host->connect_timeout_ms;
    t->accept_new = host->known_hosts == MM_KNOWN_HOSTS_ACCEPT_NEW;
    return all ? 0 : MAMUTO_ENOMEM;
}

void mm_login_target_fini(struct mm_login_target *t)
{
    char *all[] = { t->label, t->address, t->user, t->identity, t->known_hosts_file, t->ssh_config, t->command };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mm_free(all[i]);
    *t = (struct mm_login_target){ 0 };
}

/* --- eight at a time ---------------------------------------------------------------------------------------------- */

static struct server {
    char name[300];
    int logins, users;
} servers[SERVERS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct server *find_server(const char *name)
{
    struct server *unused = NULL;
    for (int i = 0; i < SERVERS; i++) {
        if (servers[i].users && strcmp(servers[i].name, name) == 0)
            return &servers[i];
        if (!servers[i].users)
            unused = &servers[i];
    }
    if (unused)
        snprintf(unused->name, sizeof unused->name, "%s", name);
    return unused;
}

/* NULL: too many servers are logged in to at once for this to be counted. */
static struct server *enter(const struct mm_login_target *t)
{
    char name[300];
    snprintf(name, sizeof name, "%s:%d", t->address, t->port);
    pthread_mutex_lock(&lock);
    struct server *server = find_server(name);
    if (server) {
        server->users++;
        while (server->logins >= AT_ONCE)
            pthread_cond_wait(&changed, &lock);
        server->logins++;
    }
    pthread_mutex_unlock(&lock);
    return server;
}

static void leave(struct server *server)
{
    if (!server)
        return;
    pthread_mutex_lock(&lock);
    server->logins--;
    server->users--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* --- stages ------------------------------------------------------------------------------------------------------- */

static int fail(const struct mm_login_target *t, const char *stage, const char *text, mamuto_error_t *err)
{
    return mm_error_set(err, MAMUTO_EHOST, "host %s: %s: %.400s", t->label, stage, text);
}

static int set_options(const struct mm_login_target *t, ssh_session session, mamuto_error_t *err)
{
    bool no = false;
    long seconds = t->timeout_ms / 1000 + 1;
    int verbosity = SSH_LOG_NOLOG;
    ssh_options_set(session, SSH_OPTIONS_LOG_VERBOSITY, &verbosity);
    ssh_options_set(session, SSH_OPTIONS_HOST, t->address);
    ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no); /* it is read here, and once */
    if (ssh_options_parse_config(session, t->ssh_config) != 0 && t->ssh_config)
        return fail(t, "CONFIG", "the file that ssh_config names cannot be read", err);
    if (t->user)
        ssh_options_set(session, SSH_OPTIONS_USER, t->user);
    if (t->port) {
        unsigned port = (unsigned)t->port;
        ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    }
    if (t->known_hosts_file) {
        ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, t->known_hosts_file);
        ssh_options_set(session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, t->known_hosts_file);
    }
    ssh_options_set(session, SSH_OPTIONS_TIMEOUT, &seconds);
    return 0;
}

static bool has_proxy(ssh_session session)
{
    char *proxy = NULL;
    bool has = ssh_options_get(session, SSH_OPTIONS_PROXYCOMMAND, &proxy) == SSH_OK && proxy && *proxy;
    ssh_string_free_char(proxy);
    return has;
}

/* For its error alone: libssh looks the name up again. */
static int resolve(const struct mm_login_target *t, ssh_session session, mamuto_error_t *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    char *name = NULL, text[400];
    if (has_proxy(session) || ssh_options_get(session, SSH_OPTIONS_HOST, &name) != SSH_OK || !name)
        return 0;
    int failed = getaddrinfo(name, NULL, &hints, &found);
    if (!failed)
        freeaddrinfo(found);
    else
        snprintf(text, sizeof text, "%.200s: %s; correct the label, or give \"address\"", name, gai_strerror(failed));
    ssh_string_free_char(name);
    return failed ? fail(t, "RESOLVE", text, err) : 0;
}

static void quick_ack(ssh_session session)
{
    int one = 1;
    setsockopt(ssh_get_fd(session), IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

static void fingerprint(ssh_session session, char *text, size_t size)
{
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t n = 0;
    char *shown = NULL;
    snprintf(text, size, "?");
    if (ssh_get_server_publickey(session, &key) == SSH_OK &&
        ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) == 0 &&
        (shown = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n)) != NULL)
        snprintf(text, size, "%s %s", ssh_key_type_to_char(ssh_key_type(key)), shown);
    ssh_string_free_char(shown);
    ssh_clean_pubkey_hash(&hash);
    ssh_key_free(key);
}

static int check_host_key(const struct mm_login_target *t, ssh_session session, mamuto_error_t *err)
{
    char shown[160], text[400];
    enum ssh_known_hosts_e known = ssh_session_is_known_server(session);
    fingerprint(session, shown, sizeof shown);
    switch (known) {
    case SSH_KNOWN_HOSTS_OK:
        return 0;
    case SSH_KNOWN_HOSTS_CHANGED:
    case SSH_KNOWN_HOSTS_OTHER:
        snprintf(
            text, sizeof text,
            "its key has changed: it shows %s, and known_hosts has another one; somebody may be in between. Where the "
            "host was set up anew, remove the old key (ssh-keygen -R)",
            shown);
        return fail(t, "HOSTKEY", text, err);
    case SSH_KNOWN_HOSTS_ERROR:
        return fail(t, "HOSTKEY", ssh_get_error(session), err);
    default:
        break;
    }
    if (t->accept_new)
        return ssh_session_update_known_hosts(session) == SSH_OK ? 0 : fail(t, "HOSTKEY", ssh_get_error(session), err);
    snprintf(text, sizeof text,
             "its key is not in known_hosts: it shows %s; compare, then log in once by ssh, or set \"known_hosts\": "
             "\"accept-new\"",
             shown);
    return fail(t, "HOSTKEY", text, err);
}

/* By the key in this file. *why: what there is to say of the file, else "". */
static int try_file(ssh_session session, const char *path, char *why, size_t size)
{
    ssh_key key = NULL;
    why[0] = '\0';
    if (access(path, R_OK) != 0) {
        snprintf(why, size, "the key %.200s cannot be read: %s", path, strerror(errno));
        return SSH_AUTH_DENIED;
    }
    if (ssh_pki_import_privkey_file(path, "", NULL, NULL, &key) != SSH_OK) {
        snprintf(why, size, "the key %.200s has a passphrase, or is no key: add it to your ssh-agent (ssh-add)", path);
        return SSH_AUTH_DENIED;
    }
    int auth = ssh_userauth_publickey(session, NULL, key);
    ssh_key_free(key);
    return auth;
}

static int authenticate(const struct mm_login_target *t, ssh_session session, mamuto_error_t *err)
{
    char why[300] = "", text[520];
    int auth = ssh_userauth_none(session, NULL);
    quick_ack(session);
    if (auth == SSH_AUTH_DENIED || auth == SSH_AUTH_PARTIAL)
        auth = t->identity ? try_file(session, t->identity, why, sizeof why) : SSH_AUTH_DENIED;
    quick_ack(session);
    if (auth == SSH_AUTH_DENIED && getenv("SSH_AUTH_SOCK"))
        auth = ssh_userauth_agent(session, NULL);
    quick_ack(session);
    if (auth == SSH_AUTH_DENIED && !t->identity)
        auth = ssh_userauth_publickey_auto(session, NULL, "");
    if (auth == SSH_AUTH_SUCCESS)
        return 0;
    if (auth == SSH_AUTH_ERROR && ssh_get_error(session)[0])
        snprintf(text, sizeof text, "%s%s%.200s", why, why[0] ? "; " : "", ssh_get_error(session));
    else
        snprintf(text, sizeof text, "%s",
                 why[0] ? why
                        : "it accepts none of the keys: give \"identity\", or add the right one to your ssh-agent");
    return fail(t, "AUTH", text, err);
}

static int execute(const struct mm_login_target *t, ssh_session session, ssh_channel *channel, mamuto_error_t *err)
{
    *channel = ssh_channel_new(session);
    if (!*channel)
        return mm_error_set(err, MAMUTO_ENOMEM, "host %s: no memory for a channel", t->label);
    quick_ack(session);
    if (ssh_channel_open_session(*channel) != SSH_OK)
        return fail(t, "EXEC", ssh_get_error(session), err);
    quick_ack(session);
    if (ssh_channel_request_exec(*channel, t->command) != SSH_OK)
        return fail(t, "EXEC", ssh_get_error(session), err);
    return 0;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void free_all(ssh_session *session, ssh_channel *channel)
{
    if (*channel)
        ssh_channel_free(*channel);
    if (*session) {
        ssh_disconnect(*session);
        ssh_free(*session);
    }
    *channel = NULL;
    *session = NULL;
}

/* Connects, up to the keys' exchange. again: it was dropped, as a server does that has too many logins. */
static int connect_to(const struct mm_login_target *t, ssh_session session, bool *again, mamuto_error_t *err)
{
    *again = false;
    if (ssh_connect(session) == SSH_OK)
        return 0;
    const char *text = ssh_get_error(session);
    *again = strstr(text, "disconnect") || strstr(text, "reset") || strstr(text, "kex") || strstr(text, "banner");
    return fail(t, "CONNECT", text, err);
}

static int try_once(struct mm_login_target *t, ssh_session *session, ssh_channel *channel, bool *again,
                    mamuto_error_t *err)
{
    *again = false;
    *channel = NULL;
    *session = ssh_new();
    if (!*session)
        return mm_error_set(err, MAMUTO_ENOMEM, "host %s: no memory for a session", t->label);
    int code = set_options(t, *session, err);
    t->stage = "RESOLVE";
    if (!code)
        code = resolve(t, *session, err);
    t->stage = "CONNECT";
    if (!code)
        code = connect_to(t, *session, again, err);
    t->stage = "HOSTKEY";
    if (!code)
        code = check_host_key(t, *session, err);
    t->stage = "AUTH";
    if (!code)
        code = authenticate(t, *session, err);
    t->stage = "EXEC";
    if (!code)
        code = execute(t, *session, channel, err);
    if (code)
        free_all(session, channel);
    return code;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int mm_login_session(struct mm_login_target *t, ssh_session *session, ssh_channel *channel, mamuto_error_t *err)
{
    struct server *server = enter(t);
    long begun = now_ms();
    bool again = true;
    int code = 0;
    for (unsigned round = 0; again; round++) {
        mamuto_error_t why = { 0 };
        code = try_once(t, session, channel, &again, &why);
        long wait = RETRY_MS + (long)(round * 137 % 200); /* not all at the same moment */
        if (code && again && now_ms() - begun + wait < t->timeout_ms)
            nanosleep(&(struct timespec){ .tv_nsec = wait * 1000000 }, NULL);
        else
            again = false;
        if (code && !again)
            mm_error_copy(err, &why);
    }
    leave(server);
    return code;
}

socklen_t mm_login_peer(ssh_session session, struct sockaddr_storage *peer)
{
    socklen_t n = sizeof *peer;
    memset(peer, 0, sizeof *peer);
    bool direct = !has_proxy(session) && getpeername(ssh_get_fd(session), (struct sockaddr *)peer, &n) == 0 &&
                  (peer->ss_family == AF_INET || peer->ss_family == AF_INET6);
    return direct ? n : 0;
}
