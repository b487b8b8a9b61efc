/* Bugs, planted at the places where files of the library call each other (--wrap of the linker), so that the library
 * itself knows nothing of them; those of claims and of this machine's node are where those are simulated. Each must
 * be found. */
#include "core/team_node.h"
#include "tests/sim/plant.h"
#include "tests/sim/sim.h"

int wrap_mm_call_open(struct mm_call *call, struct mm_range range)
{
    if (sim_plant == SIM_PLANT_range_forgotten && call->n_sources > 1)
        return 0;
    if (sim_plant == SIM_PLANT_range_twice && real_mm_call_open(call, range))
        return MAMUTO_ENOMEM;
    if (sim_plant == SIM_PLANT_deaths_forgotten)
        range.deaths = 0;
    return real_mm_call_open(call, range);
}

/* All items that an agent had when it died are taken for the culprit. */
void wrap_mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct mm_lease *lease = run->call ? mm_lease_of(run) : NULL;
    if (sim_plant == SIM_PLANT_deaths_blame_all && lease && run->died && !lease->alone) {
        lease->alone = true;
        lease->child->n_alone++;
    }
    real_mm_team_on_ran(owner, run, status, failed, err);
}
