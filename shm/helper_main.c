/* mamuto-agent: the helper program that libmamuto starts. Its one role so far is the fork server. */
#include "shm/forkserver.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], MM_FORK_SERVER_ARGUMENT) == 0)
        mm_fork_server_main(atoi(argv[2]), NULL);
    fprintf(stderr, "%s is started by libmamuto, not by hand (version %s)\n", argv[0], MAMUTO_VERSION);
    return 2;
}
