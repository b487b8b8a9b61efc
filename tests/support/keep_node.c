/* The node of a mapper, which core/ alone knows; what it is made of, shm/ alone. */
#include "core/mapper.h"
#include "tests/support/keep.h"

struct mm_node *keep_node(const mamuto_t *m) { return m->node; }
