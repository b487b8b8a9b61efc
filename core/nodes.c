/* The one table of node kinds. It names them and includes neither shm/ nor net/. */
#include "core/node.h"

const struct mm_node_ops *const mm_node_kinds[MM_N_KINDS] = { &mm_node_shm, &mm_node_remote };
