/* What a worker prints, on its way out of it: two pipes for each lane, for stdout and stderr. */
#ifndef MM_SHM_OUTPUT_H
#define MM_SHM_OUTPUT_H

#include <stdint.h>

/* The write ends of a lane's pipes, in the fork server; 0: there are none yet. */
struct mm_output {
    int stdout_end, stderr_end;
};

/* Makes a lane's pipes, unless it has them, and hands their read ends over (MM_MSG_OUTPUT). 0, or -errno. */
int mm_output_make(struct mm_output *output, int control, uint32_t lane);
/* In the worker of that lane: stdout and stderr are its pipes from now on; the other lanes' are closed. */
void mm_output_use(struct mm_output *outputs, uint32_t n, uint32_t lane);

#endif
