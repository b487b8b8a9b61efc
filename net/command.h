/* A launch command: a program of this machine whose stdio reaches an agent. */
#ifndef MM_NET_COMMAND_H
#define MM_NET_COMMAND_H

#include "core/error.h"
#include "net/wire.h"

#include <uv.h>

enum { MM_COMMAND_TAIL = 4096 };

struct mm_command;

/* Starts argv (ended by NULL) with one more argument behind it, in a process group of its own. Its stdin and stdout are
 * *wire, the caller's from now on; what it says on stderr is kept, the last of it. ENOMEM, ESYSTEM; EHOST: it cannot be
 * started. */
int mm_command_start(struct mm_command **command, uv_loop_t *loop, char *const *argv, const char *last,
                     struct mm_wire **wire, mamuto_error_t *err);
/* What it has said on stderr, at most MM_COMMAND_TAIL bytes; *n: how many. */
const char *mm_command_tail(struct mm_command *command, size_t *n);
/* Has it ended? How, as a piece of a sentence: "it exited with status 127". NULL: it has not. */
const char *mm_command_end(struct mm_command *command);
/* Its wire is closed, or will be at once: where it does not end by itself within a second it is terminated, within two
 * killed; it is reaped. on_gone: nothing of it is left; the command is freed. */
void mm_command_stop(struct mm_command *command, void (*on_gone)(void *owner), void *owner);

#endif
