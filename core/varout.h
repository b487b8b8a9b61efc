/* Maps whose output is of variable length. */
#ifndef MM_CORE_VAROUT_H
#define MM_CORE_VAROUT_H

#include "core/mapper.h"

/* The call is checked and in map->run: makes it the first run of a plan that ends with call->result_var. ENOMEM. */
int mm_varout_plan(struct mamuto_map_s *map, const mamuto_call_t *call, mamuto_error_t *err);

#endif
