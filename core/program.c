/* Remembers the program's own functions between mamuto_main(), the first line of main(), and mamuto_open(). Plain. */
#include "core/program.h"

static const mamuto_module_t *functions;

const mamuto_module_t *mm_program_functions(void) { return functions; }

void mm_program_register(const mamuto_module_t *module)
{
    functions = module && module->end > module->begin ? module : NULL;
}
