/* The peers as processes: start, ask, stop; and what a tree of processes uses. */
#ifndef BENCH_PROCS_H
#define BENCH_PROCS_H

#include <stddef.h>
#include <sys/types.h>

enum { REPLY_MAX = 80, FIGURE_NAME = 32, FIGURE_UNIT = 8 };

struct figure {
    char name[FIGURE_NAME], unit[FIGURE_UNIT];
    double value;
};

struct reply {
    size_t n;
    struct figure figures[REPLY_MAX];
};

struct proc {
    pid_t pid; /* 0: not started */
    int to, from;
};

/* Starts dir/WORDS[0] WORDS[1] … (words separated by blanks; a program that ends in .py is run by /usr/bin/python3) and
 * waits until it is ready. All return 0, or -1 with a sentence in error. */
int proc_start(struct proc *proc, const char *dir, const char *command, char error[256]);
/* Sends a line without waiting, and reads the answer to it. */
int proc_tell(struct proc *proc, const char *line, char error[256]);
int proc_hear(struct proc *proc, double seconds, struct reply *reply, char error[256]);
void proc_stop(struct proc *proc);

/* Of root and all its descendants: CPU time used so far (schedstat), and proportional set size (smaps_rollup). */
double tree_cpu_ms(pid_t root);
double tree_pss_bytes(pid_t root);
double memory_available_bytes(void);

#endif
