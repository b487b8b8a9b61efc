/* The functions of the program itself, if it called mamuto_main(). One value a process, set before any mapper. */
#ifndef MM_CORE_PROGRAM_H
#define MM_CORE_PROGRAM_H

#include "core/mamuto.h"

#define MM_PROGRAM_MODULE "main"       /* name of the module of the program's own functions */
#define MM_WORKER_MARK "MAMUTO_WORKER" /* set in the environment of workers */

const mamuto_module_t *mm_program_functions(void); /* NULL: none, or mamuto_main() was not called */
void mm_program_register(const mamuto_module_t *module);

#endif
