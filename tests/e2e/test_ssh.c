/* Hosts that are logged in to by ssh: real sshds on addresses of this machine, real keys, and what goes wrong with them. Each
 * error names host, stage, and what would be right; the map goes on without. */
#include "tests/support/cluster.h"
#include "tests/support/e2e.h"
#include "tests/support/sshd.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct sshd hosts[3];
static const char *const modules[] = { E2E_MODULE("cluster"), NULL };

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    unsetenv("SSH_AUTH_SOCK");
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.3", "127.0.0.4" };
    for (int i = 0; i < 3; i++)
        sshd_start(&hosts[i], addresses[i], "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        sshd_stop(&hosts[i]);
    e2e_scratch_end();
    return 0;
}

static void good_map(mamuto_t *m)
{
    enum { N = 6000 };
    static double x[N], out[2 * N];
    static const double values[4] = { 1.25, -3, 7, 20 };
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "cluster.busy",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(values) },
                           .result = out };
    for (int i = 0; i < N; i++)
        x[i] = i;
    memset(out, 0, sizeof out);
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < N; i++)
        assert_true(out[2 * i] == i * 1.25 - 3 && out[2 * i + 1] == i * 7.0);
}

static void three_hosts_compute_beside_this_machine(void **state)
{
    (void)state;
    static const char *const ways[] = { "", ", \"transport\": \"ssh\"", ", \"transport\": \"tcp\"",
                                        ", \"transport\": \"tcp\", \"encrypt\": false" };
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        char config[16384] = "{\"hosts\": {\"localhost\": 1";
        for (int i = 0; i < 3; i++) {
            size_t n = strlen(config);
            snprintf(config + n, sizeof config - n, ", \"node%d\": {\"cores\": 1, %s%s}", i,
                     sshd_settings(&hosts[i], "user_key", "known_hosts"), ways[way]);
        }
        strcat(config, "}}");
        mamuto_t *m = cluster_open(config, modules);
        for (int i = 0; i < 2; i++)
            good_map(m);
        for (int i = 0; i < 3; i++) {
            char name[16];
            snprintf(name, sizeof name, "node%d", i);
            mamuto_host_t host = cluster_host(m, name);
            assert_string_equal(host.state, "up");
            assert_true(host.items > 0);
        }
        e2e_close(m);
    }
}

/* The one host of a config cannot be had: why. */
static void refused(const char *settings, const char *more, const char *part)
{
    char config[8192];
    mamuto_error_t err = { 0 };
    mamuto_t *m = NULL;
    snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": 1, \"node\": {\"required\": true, %s%s}}}", settings,
             more);
    mamuto_options_t options = { .config_text = config };
    e2e_is_error(mamuto_open_wait(&m, &options, &err), &err, MAMUTO_EHOST, part);
}

/* The same, not required: the map goes on with the others. */
static void done_without(const char *settings, const char *more, const char *part)
{
    char config[8192];
    snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": 1, \"node\": {%s%s}}}", settings, more);
    mamuto_t *m = cluster_open(config, modules);
    mamuto_host_t host = cluster_host(m, "node");
    assert_string_equal(host.state, "lost");
    if (!strstr(host.reason, part))
        fail_msg("\"%s\" has no \"%s\"", host.reason, part);
    good_map(m);
    e2e_close(m);
}

static void a_host_key_that_is_not_known_is_refused(void **state)
{
    (void)state;
    refused(sshd_settings(&hosts[0], "user_key", "no_hosts"), "",
            "HOSTKEY: its key is not in known_hosts: it shows ssh-ed25519 SHA256:");
    done_without(sshd_settings(&hosts[0], "user_key", "no_hosts"), "", "\"accept-new\"");
}

static void a_host_key_that_is_new_is_accepted_where_that_is_asked_for(void **state)
{
    (void)state;
    char config[8192];
    snprintf(config, sizeof config, "{\"hosts\": {\"node\": {%s, \"known_hosts\": \"accept-new\"}}}",
             sshd_settings(&hosts[1], "user_key", "no_hosts"));
    e2e_close(cluster_open(config, NULL));
    assert_true(access(sshd_path(&hosts[1], "no_hosts"), R_OK) == 0);
    snprintf(config, sizeof config, "{\"hosts\": {\"node\": {%s}}}", sshd_settings(&hosts[1], "user_key", "no_hosts"));
    e2e_close(cluster_open(config, NULL)); /* it was written down */
}

static void a_host_key_that_has_changed_is_refused(void **state)
{
    (void)state;
    refused(sshd_settings(&hosts[0], "user_key", "wrong_hosts"), "", "HOSTKEY: its key has changed");
    refused(sshd_settings(&hosts[0], "user_key", "wrong_hosts"), ", \"known_hosts\": \"accept-new\"",
            "its key has changed");
}

static void a_key_that_is_not_accepted_is_told(void **state)
{
    (void)state;
    done_without(sshd_settings(&hosts[0], "other_key", "known_hosts"), "", "AUTH: ");
    done_without(sshd_settings(&hosts[0], "missing_key", "known_hosts"), "",
                 "missing_key cannot be read: No such file");
}

static void a_key_with_a_passphrase_is_told(void **state)
{
    (void)state;
    done_without(sshd_settings(&hosts[0], "locked_key", "known_hosts"), "",
                 "has a passphrase, or is no key: add it to your ssh-agent");
}

static void names_and_ports_that_lead_nowhere_are_told(void **state)
{
    (void)state;
    done_without("\"address\": \"no.such.host.invalid\", \"agent\": \"x\"", "", "RESOLVE: no.such.host.invalid: ");
    done_without("\"address\": \"127.0.0.2\", \"port\": 9, \"agent\": \"x\"", "", "CONNECT: ");
}

static void a_port_that_never_answers_is_given_up(void **state)
{
    (void)state;
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t n = sizeof name;
    char settings[256];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.5", &name.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &n), 0);
    snprintf(settings, sizeof settings,
             "\"address\": \"127.0.0.5\", \"port\": %d, \"agent\": \"x\", \"connect_timeout_ms\": 700",
             ntohs(name.sin_port));
    done_without(settings, "", "CONNECT: nothing within 700 ms");
    close(fd);
}

static void an_agent_that_is_not_there_is_told(void **state)
{
    (void)state;
    char settings[4096];
    snprintf(settings, sizeof settings, "%s", sshd_settings(&hosts[0], "user_key", "known_hosts"));
    char *agent = strstr(settings, ", \"agent\"");
    assert_non_null(agent);
    *agent = '\0';
    done_without(settings, ", \"agent\": \"/no/such/agent\"", "EXEC: ");
    done_without(settings, ", \"agent\": \"/no/such/agent\"", "/no/such/agent");
}

/* An ssh-agent that was stopped never answers: the login is given up, and nobody is held up. */
static void an_ssh_agent_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    const char *socket_path = e2e_path("agent.sock");
    pid_t pid = fork();
    if (pid == 0) {
        execlp("ssh-agent", "ssh-agent", "-D", "-a", socket_path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < E2E_PATIENCE_MS && access(socket_path, F_OK) != 0; i++)
        e2e_nap();
    kill(pid, SIGSTOP);
    setenv("SSH_AUTH_SOCK", socket_path, 1);
    done_without(sshd_settings(&hosts[0], "other_key", "known_hosts"), ", \"connect_timeout_ms\": 1500",
                 "AUTH: nothing within 1500 ms (connect_timeout_ms); does the ssh-agent answer?");
    char config[8192]; /* a key that is named is tried before the ssh-agent is asked */
    snprintf(config, sizeof config, "{\"hosts\": {\"node\": {%s}}}",
             sshd_settings(&hosts[0], "user_key", "known_hosts"));
    e2e_close(cluster_open(config, NULL));
    unsetenv("SSH_AUTH_SOCK");
    kill(pid, SIGCONT);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void an_sshd_that_is_killed_loses_nothing(void **state)
{
    (void)state;
    char config[8192];
    snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": 1, \"node\": {%s}}}",
             sshd_settings(&hosts[2], "user_key", "known_hosts"));
    mamuto_t *m = cluster_open(config, modules);
    good_map(m);
    sshd_stop(&hosts[2]);
    good_map(m);
    good_map(m);
    e2e_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_hosts_compute_beside_this_machine),
        cmocka_unit_test(a_host_key_that_is_not_known_is_refused),
        cmocka_unit_test(a_host_key_that_is_new_is_accepted_where_that_is_asked_for),
        cmocka_unit_test(a_host_key_that_has_changed_is_refused),
        cmocka_unit_test(a_key_that_is_not_accepted_is_told),
        cmocka_unit_test(a_key_with_a_passphrase_is_told),
        cmocka_unit_test(names_and_ports_that_lead_nowhere_are_told),
        cmocka_unit_test(a_port_that_never_answers_is_given_up),
        cmocka_unit_test(an_agent_that_is_not_there_is_told),
        cmocka_unit_test(an_ssh_agent_that_does_not_answer_is_given_up),
        cmocka_unit_test(an_sshd_that_is_killed_loses_nothing),
    };
    if (!sshd_can_run()) {
        fprintf(stderr, "no sshd, or not root\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
