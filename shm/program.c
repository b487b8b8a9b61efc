/* mamuto_main: a program whose functions are in itself serves as its own fork server when it is started as one. */
#include "core/program.h"
#include "shm/forkserver.h"

#include <string.h>

void mamuto_main_with(const mamuto_module_t *module, int argc, char **argv)
{
    mm_program_register(module);
    if (argc == 2 && strcmp(argv[1], MM_FORK_SERVER_ARGUMENT) == 0)
        mm_fork_server_main(MM_CONTROL_FD, module);
}
