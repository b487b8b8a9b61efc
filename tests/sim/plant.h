/* What tests/sim/plant.c wraps of core/team_node.h. */
#ifndef MM_TESTS_SIM_PLANT_H
#define MM_TESTS_SIM_PLANT_H

#include "core/team_node.h"
#include "tests/sim/sim.h"

int real_mm_call_open(struct mm_call *call, struct mm_range range) SIM_REAL(mm_call_open);
int wrap_mm_call_open(struct mm_call *call, struct mm_range range) SIM_WRAP(mm_call_open);
void real_mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
    SIM_REAL(mm_team_on_ran);
void wrap_mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
    SIM_WRAP(mm_team_on_ran);

#endif
