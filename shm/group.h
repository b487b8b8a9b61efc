/* Maps over groups: each of their items is a stretch of the call's items, mapped and folded into one. */
#ifndef MM_SHM_GROUP_H
#define MM_SHM_GROUP_H

#include "shm/run.h"

/* The fold of the map that the runner is being prepared for; its module is loaded. */
void mm_group_prepare(struct mm_runner *runner);
/* Maps and folds the items of one group, counted from the run's first; stores its one value. */
enum mm_outcome mm_group_run(struct mm_runner *runner, uint64_t group);
void mm_group_fini(struct mm_folder *folder);

#endif
