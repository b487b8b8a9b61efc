/* Real sshds on addresses of 127/8, with keys, configs and known_hosts of their own in the test's scratch folder: the tester's
 * ~/.ssh is never looked at. */
#ifndef MM_TESTS_SUPPORT_SSHD_H
#define MM_TESTS_SUPPORT_SSHD_H

#include <stdbool.h>
#include <sys/types.h>

struct sshd {
    pid_t pid;
    char address[32];
    int port;
    char folder[256];
};

/* Is there an sshd, and are we root? Else tests are skipped. */
bool sshd_can_run(void);
/* Starts one on an address ("127.0.0.2"), in a folder of the scratch one; more: lines for its config, or "". In the folder:
 * user_key (accepted), other_key (not), locked_key (with a passphrase; accepted), known_hosts (with its key), no_hosts (empty),
 * wrong_hosts (with another key), ssh_config (empty). The test fails if it does not come up. */
void sshd_start(struct sshd *sshd, const char *address, const char *more);
void sshd_stop(struct sshd *sshd); /* by its pid; with its sessions */
/* A file in its folder; static, 8 at a time. */
const char *sshd_path(const struct sshd *sshd, const char *name);
/* The settings of a host of a config that logs in there, as JSON without braces; key and hosts: names of its files. Static. */
const char *sshd_settings(const struct sshd *sshd, const char *key, const char *hosts);

#endif
