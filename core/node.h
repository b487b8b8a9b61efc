/* What core/ knows of a host: a node, behind one table of operations. shm/ implements it for this machine; a node for
 * other hosts implements the same contract, and the same tests run on each kind.
 *
 * A map is the items [0, n). A node is given a range of them (run), settles every item of it exactly once, as a value in
 * the result array or as a failure, and then says so (on_ran). Ranges that a node has not begun can be taken back
 * (give_back) for another node.
 *
 * THREADS AND RE-ENTRY. All operations are called on the loop's thread. None calls an event back before it returns. Events
 * come from the loop. In an event any operation may be called but close of the node that reports it, which is legal from
 * the loop at any other time.
 * KEEPING. A node is given data to keep (keep), says that it has it (on_kept), and has it until drop; runs name it in
 * their arguments (mm_run_arg.keep), whose data is the copy. The first copy is the master's: it is made by the node whose
 * host has memory in common with the program, lies in that memory, and stays where it is until drop. A node of another
 * host is given the keep when that copy is there: it may read it at any time until drop, so that it can send it again to
 * a host that comes back.
 * MEMORY. A run, and all that it points to, is the caller's and stays until on_ran. Argument arrays are read, and the
 * result is written, only between run and on_ran: when on_ran comes, no process and no socket touches them any more.
 * A keep is the caller's and stays until drop, or until an on_kept with a code. The caller's array is read only between
 * keep and on_kept.
 * SHARING. A call may be given to several nodes, as runs of parts of it; an item even to two, where one is slow. A run with
 * claims (core/claims.h) asks there before it writes an item's result, and settles it there; an item that it may not
 * write it leaves alone. When such a run ends, what it has not settled is somebody else's; or nobody's, if who was writing it is
 * gone.
 * LOSS. A node may lose its host for a while: each run ends with EHOST, on_state comes, workers() is 0 and run says EHOST
 * until on_state says that it is back, with modules and kept data as before.
 * FAILURE. An operation that returns non-zero did nothing. After on_lost the node is of no use: every run that it had has
 * been reported by on_ran before, with a code, every keep in flight by on_kept. It is closed like any other.
 */
#ifndef MM_CORE_NODE_H
#define MM_CORE_NODE_H

#include "core/config.h"
#include "core/run.h"

#include <stdbool.h>
#include <uv.h>

struct mm_node;

struct mm_node_events {
    /* The node is up (0), or has failed to come up. Once, after open. */
    void (*on_up)(void *owner, int status, const mamuto_error_t *err);
    /* A function of a module that is being loaded; index counts from 0. Strings are borrowed. */
    void (*on_function)(void *owner, uint32_t module, const char *name, const char *signature, const char *doc,
                        int form, int line);
    /* The module is loaded, or is not. Once a load. */
    void (*on_loaded)(void *owner, uint32_t module, int status, const mamuto_error_t *err);
    /* An item has failed: all of them before on_ran, at most 1,000 a run, in order of items. */
    void (*on_item_error)(void *owner, struct mm_run *run, const mamuto_error_t *err);
    /* All items of the run are settled, or it has ended early with a code. failed: items that failed. Once a run. */
    void (*on_ran)(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err);
    /* What describe says of the node's state has changed, after on_up: it was lost, or is back. */
    void (*on_state)(void *owner);
    /* The node is gone. */
    void (*on_lost)(void *owner, const mamuto_error_t *err);
    /* A line that a worker has printed (fd 1 or 2), without its end; may come until on_closed. Those that the items of a run
     * have printed come before its on_ran. NULL: not wanted; workers print where the program does. */
    void (*on_output)(void *owner, int worker, int fd, const char *line, size_t n);
    /* Nothing of the node is left: process, socket, handle; its memory goes when this returns, so that maps in flight are told
     * while their arrays are still there. Once, after close. */
    void (*on_closed)(void *owner);
    /* Of a node made of nodes (core/team.h), instead of on_state and on_output where they are not NULL: which of its hosts
     * it was; of none, but of this machine all the same: SIZE_MAX. */
    void (*on_host_state)(void *owner, size_t host);
    void (*on_host_output)(void *owner, size_t host, int worker, int fd, const char *line, size_t n);
    /* The data is kept, and keep->in says where; or it is not, and the node knows nothing of it any more. Once a keep. */
    void (*on_kept)(void *owner, struct mm_keep *keep, int status, const mamuto_error_t *err);
};

/* What a program is told of a node's host. Strings belong to the node, until its next event. */
struct mm_node_state {
    const char *state, *reason; /* of mamuto_host_t */
    int workers;
    uint64_t items;               /* settled there */
    uint64_t bytes_out, bytes_in; /* of a host that is not this machine */
    double rtt_us;                /* 0: not known */
    const char *transport;        /* of mamuto_host_t; NULL: it is not up */
    double login_ms;
    double busy;
};

struct mm_node_ops {
    const char *kind;
    /* Begins to bring a node up; config is borrowed until on_closed. ENOMEM, ESYSTEM, EHOST. Where *node is set in spite of
     * a failure, it is to be closed. */
    int (*open)(struct mm_node **node, const struct mm_config_host *config, uv_loop_t *loop,
                const struct mm_node_events *events, void *owner, mamuto_error_t *err);
    /* Ends all runs and keeps with ECANCELED (on_ran and on_kept are not called any more), takes everything down. */
    void (*close)(struct mm_node *node);
    /* Makes a module known under a number. path: a .c or .so file; "": the program's own functions. config: compiler. */
    int (*load)(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                mamuto_error_t *err);
    /* Begins to run. MM_NODE_FULL: no room for another run now; there is after one of its on_ran. EHOST: it is gone. */
    int (*run)(struct mm_node *node, struct mm_run *run, mamuto_error_t *err);
    /* Ends a run early: on_ran comes with ECANCELED, unless it has ended before. */
    void (*cancel)(struct mm_node *node, struct mm_run *run);
    /* Takes back up to `want` items that the node has not begun: a contiguous range, from *first on. Returns how many,
     * 0: none. The node settles them no more. NULL: nothing can be taken back from nodes of this kind. */
    uint64_t (*give_back)(struct mm_node *node, struct mm_run *run, uint64_t want, uint64_t *first);
    /* No other run of this call will come. NULL: it makes no difference. */
    void (*end_call)(struct mm_node *node, uint64_t call);
    /* For a caller that waits: works on the run (run->help), or spins for it while that pays, then looks whether it has
     * ended: on_ran may come from inside. NULL: the node has nothing of the kind. true: the run has not ended, and there
     * is more to do; the loop is to turn in between (run->ticks). */
    bool (*assist)(struct mm_node *node, struct mm_run *run);
    /* Before the first run with help: the functions of a module in this process. NULL: no help here. */
    int (*prepare_help)(struct mm_node *node, uint32_t module, mamuto_error_t *err);
    /* Arrays in place. NULL: this node's host has no memory in common with the program. */
    void *(*alloc)(struct mm_node *node, size_t bytes, mamuto_error_t *err);
    void (*free)(struct mm_node *node, void *p); /* an array or file of this node, in use by no run */
    /* Bytes of the array or file that begins at p; 0: it is none of this node's. */
    uint64_t (*array_bytes)(const struct mm_node *node, const void *p);
    int (*attach)(struct mm_node *node, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err);
    /* The same, where pages may come by first touch: for what a run will write all over, or nobody will miss. settle: all
     * of it has been written, it is as good as an array of alloc. */
    void *(*reserve)(struct mm_node *node, size_t bytes, mamuto_error_t *err);
    void (*settle)(struct mm_node *node, void *p);
    /* Begins to copy data to where the node's workers are. EHOST: it is gone; ENOMEM, ESYSTEM. By on_kept: also EARGS, the
     * array is not readable. */
    int (*keep)(struct mm_node *node, struct mm_keep *keep, mamuto_error_t *err);
    /* Gives a keep in flight up: on_kept comes with ECANCELED, unless it has been kept, or has failed, before. */
    void (*cancel_keep)(struct mm_node *node, struct mm_keep *keep);
    /* What was kept is needed no more, and is in no run. Its memory goes when this returns. A node of another host may be
     * at sending it: it stops, and no on_kept comes. */
    void (*drop)(struct mm_node *node, struct mm_keep *keep);
    /* Workers that the node has; 0 before on_up. */
    int (*workers)(const struct mm_node *node);
    /* Items of a run that are settled, and those of them that failed; unchanged where that cannot be told now. */
    void (*progress)(struct mm_node *node, const struct mm_run *run, uint64_t *done, uint64_t *failed);
    /* Puts into run->log what has landed since the last time. false: results do not land before the run has ended. The
     * last of it is in the log when on_ran comes. */
    bool (*spans)(struct mm_node *node, const struct mm_run *run);
    void (*describe)(struct mm_node *node, struct mm_node_state *state);
    /* Of a node made of nodes: its hosts, in the order of the config; one of them. NULL: it is one host. */
    size_t (*hosts)(const struct mm_node *node);
    void (*describe_host)(struct mm_node *node, size_t host, struct mm_node_state *state);
};

extern const struct mm_node_ops mm_node_shm, mm_node_remote;
/* The kinds of node there are: of this machine; of another host (NULL: this build has none). */
enum { MM_KIND_LOCAL, MM_KIND_REMOTE, MM_N_KINDS };
extern const struct mm_node_ops *const mm_node_kinds[MM_N_KINDS];

#endif
