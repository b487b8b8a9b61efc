/* Configs of several hosts, all of this machine: each is an agent of its own, reached by a launch command. */
#ifndef MM_TESTS_SUPPORT_CLUSTER_H
#define MM_TESTS_SUPPORT_CLUSTER_H

#include "core/mamuto.h"

/* The text of a config: local cores (0: this machine is not among the hosts), and far1, far2, … with two each. settings: of each
 * of these, as JSON behind its others (", \"transport\": \"tcp\""), or "". Static: until the next call. */
const char *cluster_config(int local, int far, const char *settings);
/* A mapper on it, with modules (ended by NULL; NULL: none); the test fails if it does not open. */
mamuto_t *cluster_open(const char *config, const char *const *modules);
/* Kills every agent that this process has launched, with SIGKILL; how many. */
int cluster_kill_agents(void);
/* The host of this name as mamuto_hosts has it; the test fails if there is none. */
mamuto_host_t cluster_host(mamuto_t *m, const char *name);

#endif
