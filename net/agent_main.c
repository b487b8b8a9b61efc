/* mamuto-agent: the helper program of libmamuto, and what it launches on other hosts. Its roles: the fork server of a mapper
 * or of an agent, and the agent.
 */
#include "net/agent.h"
#include "shm/forkserver.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], MM_FORK_SERVER_ARGUMENT) == 0)
        mm_fork_server_main(MM_CONTROL_FD, NULL);
    if (argc == 2 && strcmp(argv[1], "--self-test") == 0) /* it runs here, that is all */
        return 0;
    if (argc == 3 && strcmp(argv[1], "agent") == 0)
        return mm_agent_main(STDIN_FILENO, STDOUT_FILENO, argv[2]);
    fprintf(stderr, "%s is started by libmamuto, not by hand (version %s)\n", argv[0], MAMUTO_VERSION);
    return 2;
}
