/* mamuto-agent: the helper program that libmamuto starts. Its one role so far is the fork server. */
#include "shm/forkserver.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], MM_FORK_SERVER_ARGUMENT) == 0)
        mm_fork_server_main(MM_CONTROL_FD, NULL);
    fprintf(stderr, "%s is started by libmamuto, not by hand (version %s)\n", argv[0], MAMUTO_VERSION);
    return 2;
}
