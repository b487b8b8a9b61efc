/* The fork server: a small, single-threaded process that forks, reaps and re-forks the workers of one mapper. */
#ifndef MM_SHM_FORKSERVER_H
#define MM_SHM_FORKSERVER_H

#include "core/mamuto.h"

#define MM_FORK_SERVER_ARGUMENT "--mamuto-fork-server"
enum { MM_CONTROL_FD = 3 }; /* where a fork server is handed its socket */

/* Serves until the socket, MM_CONTROL_FD, ends; takes all of its workers with it. own: the program's functions, or NULL. */
_Noreturn void mm_fork_server_main(int control, const mamuto_module_t *own);

#endif
