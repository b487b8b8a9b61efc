/* sshds of a test. Each has its folder; all processes are stopped by their ids. */
#include "tests/support/sshd.h"

#include "tests/support/e2e.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

bool sshd_can_run(void) { return geteuid() == 0 && access("/usr/sbin/sshd", X_OK) == 0; }

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) /* NOLINT(cert-env33-c): commands of this file */
        fail_msg("failed: %s", command);
}

const char *sshd_path(const struct sshd *sshd, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", sshd->folder, name);
    return path;
}

const char *sshd_settings(const struct sshd *sshd, const char *key, const char *hosts)
{
    static char text[4096];
    snprintf(
        text, sizeof text,
        "\"address\": \"%s\", \"port\": %d, \"user\": \"root\", \"identity\": \"%s\", \"known_hosts_file\": \"%s\", "
        "\"ssh_config\": \"%s\", \"agent\": \"%s\"",
        sshd->address, sshd->port, sshd_path(sshd, key), sshd_path(sshd, hosts), sshd_path(sshd, "ssh_config"),
        getenv("MAMUTO_AGENT"));
    return text;
}

static int free_port(const char *address)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t n = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &name.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &n), 0);
    close(fd);
    return ntohs(name.sin_port);
}

static void make_keys(const struct sshd *s)
{
    shell("cd %s && for key in host_key user_key other_key wrong_host_key; do ssh-keygen -q -t ed25519 -N '' -f $key; "
          "done && "
          "ssh-keygen -q -t ed25519 -N secret -f locked_key",
          s->folder);
    shell("cd %s && cat user_key.pub locked_key.pub > authorized_keys && : > no_hosts && : > ssh_config && "
          "{ printf '[%s]:%d '; cat host_key.pub; } > known_hosts && "
          "{ printf '[%s]:%d '; cat wrong_host_key.pub; } > wrong_hosts",
          s->folder, s->address, s->port, s->address, s->port);
}

static void write_config(const struct sshd *s, const char *more)
{
    FILE *file = fopen(sshd_path(s, "sshd_config"), "w");
    assert_non_null(file);
    fprintf(file,
            "ListenAddress %s\nPort %d\nHostKey %s\nPidFile %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPermitRootLogin yes\n%s%s\n",
            s->address, s->port, sshd_path(s, "host_key"), sshd_path(s, "pid"), sshd_path(s, "authorized_keys"),
            strstr(more, "MaxStartups") ? "" : "MaxStartups 100:30:200\n", more);
    fclose(file);
}

static bool is_there(void *path) { return access(path, R_OK) == 0; }

void sshd_start(struct sshd *s, const char *address, const char *more)
{
    char log[300], config[300], pid[300];
    snprintf(s->address, sizeof s->address, "%s", address);
    s->port = free_port(address);
    snprintf(s->folder, sizeof s->folder, "%s", e2e_path(address));
    mkdir("/run/sshd", 0755);
    assert_int_equal(mkdir(s->folder, 0700), 0);
    make_keys(s);
    write_config(s, more);
    snprintf(log, sizeof log, "%s", sshd_path(s, "log"));
    snprintf(config, sizeof config, "%s", sshd_path(s, "sshd_config"));
    s->pid = fork();
    if (s->pid == 0) {
        execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-E", log, "-f", config, (char *)NULL);
        _exit(127);
    }
    assert_true(s->pid > 0);
    snprintf(pid, sizeof pid, "%s", sshd_path(s, "pid"));
    assert_true(e2e_until(is_there, pid, E2E_PATIENCE_MS));
}

void sshd_stop(struct sshd *s)
{
    pid_t pids[E2E_MAX_PIDS];
    if (s->pid <= 0)
        return;
    int n = e2e_descendants(s->pid, NULL, pids, E2E_MAX_PIDS);
    kill(s->pid, SIGTERM);
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGTERM);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}
