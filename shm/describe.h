/* Building and describing a module, in a child of the fork server that may die of it. */
#ifndef MM_SHM_DESCRIBE_H
#define MM_SHM_DESCRIBE_H

#include "shm/control.h"
#include "core/mamuto.h"

/* Builds the module that a MM_MSG_LOAD names, loads it, and sends its functions and MM_MSG_LOADED to the master. */
void mm_describe_module(int control, const struct mm_message *request, const mamuto_module_t *own);

#endif
