/* What tests/sim/plant.c wraps of core/team_node.h. */
#ifndef MM_TESTS_SIM_PLANT_H
#define MM_TESTS_SIM_PLANT_H

#include "core/team_node.h"

int __real_mm_call_open(struct mm_call *call, struct mm_range range);
int __wrap_mm_call_open(struct mm_call *call, struct mm_range range);

#endif
