/* What tests/sim/plant.c wraps of core/team_node.h. */
#ifndef MM_TESTS_SIM_PLANT_H
#define MM_TESTS_SIM_PLANT_H

#include "core/team_node.h"

int __real_mm_call_open(struct mm_call *call, struct mm_range range);
int __wrap_mm_call_open(struct mm_call *call, struct mm_range range);
void __real_mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err);
void __wrap_mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err);

#endif
