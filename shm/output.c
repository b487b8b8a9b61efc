/* The workers' side of options.on_output: what they print goes into pipes, whose read ends the master has.
 *
 * The fork server makes a lane's two pipes before it forks the first worker of the lane, and keeps the write ends for
 * those that are forked after it: nothing is handed over, and nothing can leak, when a worker dies. So a pipe ends when
 * the fork server and all of its children are gone. The master is told of each death, and by then has all that the dead
 * one had written in the pipe. A full pipe blocks the worker that prints, and nobody else.
 * Called by the fork server, and by a worker before it serves. Without on_output nothing of this is called.
 */
#include "shm/output.h"

#include "shm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int make_one(int *write_end, int control, uint32_t lane, int fd)
{
    struct mm_message head; /* of its text nothing is looked at, nor sent */
    int ends[2];
    if (*write_end)
        return 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    head.type = MM_MSG_OUTPUT;
    head.id = lane;
    head.a = fd;
    head.b = 0;
    head.text_bytes = 0;
    head.serial = 0;
    int code = mm_control_send(control, &head, ends[0]);
    close(ends[0]);
    if (code)
        close(ends[1]);
    else
        *write_end = ends[1];
    return code;
}

int mm_output_make(struct mm_output *output, int control, uint32_t lane)
{
    int code = make_one(&output->stdout_end, control, lane, STDOUT_FILENO);
    return code ? code : make_one(&output->stderr_end, control, lane, STDERR_FILENO);
}

void mm_output_use(struct mm_output *outputs, uint32_t n, uint32_t lane)
{
    dup2(outputs[lane].stdout_end, STDOUT_FILENO);
    dup2(outputs[lane].stderr_end, STDERR_FILENO);
    for (uint32_t i = 0; i < n; i++) {
        if (outputs[i].stdout_end)
            close(outputs[i].stdout_end);
        if (outputs[i].stderr_end)
            close(outputs[i].stderr_end);
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}
