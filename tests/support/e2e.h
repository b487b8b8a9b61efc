/* What the end-to-end tests share: opening a mapper on a module, counting what a process holds, waiting for a
 * condition, scratch folders, and child programs. */
#ifndef MM_TESTS_SUPPORT_E2E_H
#define MM_TESTS_SUPPORT_E2E_H

#include "core/mamuto.h"

#include <stdbool.h>
#include <sys/types.h>

#define E2E_MODULE(name_) MM_TEST_DIR "/modules/" name_ ".c"

enum { E2E_PATIENCE_MS = 20000, E2E_MAX_PIDS = 600 };

/* A mapper with so many workers (0: all cores) and the modules (NULL: none); the test fails if there is an error. */
mamuto_t *e2e_open(int workers, const char *module);
void e2e_close(mamuto_t *m);

/* A small map of the module "basic" that must be right: after something that was not. */
void e2e_good_map(mamuto_t *m);

/* Fails the test unless code and err are this error and its text has this part (NULL: any). */
void e2e_is_error(int code, const mamuto_error_t *err, int expected, const char *part);

/* The live descendants of a process (no zombies), at most max; comm: only those of that name, NULL: all. */
int e2e_descendants(pid_t of, const char *comm, pid_t *pids, int max);
/* Workers and the fork server of this process's only mapper. */
int e2e_workers(pid_t *pids, int max);
pid_t e2e_server(void); /* 0: it is not seen now: never to be handed to kill(), which would take all of this group */
void e2e_kill_server(void);   /* with SIGKILL; looks for it until it is there */
bool e2e_is_alive(pid_t pid); /* there, and no zombie */

/* What this process holds. */
struct e2e_held {
    int fds, processes, mappings; /* mappings: of mamuto's shared memory */
    int zombies;
};
struct e2e_held e2e_hold(void);
/* Waits until this process holds what it did, and fails the test if it does not come to that. Processes may be fewer:
 * one of before may have been about to end. */
void e2e_holds_as(const struct e2e_held *before);

/* true as soon as the condition is; false when the time is over. */
bool e2e_until(bool (*condition)(void *context), void *context, int ms);
void e2e_nap(void); /* a millisecond: between two looks */

/* A scratch folder of this test, removed by e2e_scratch_end; $E2E_DIR names it to the modules. */
const char *e2e_scratch_begin(void);
void e2e_scratch_end(void);
const char *e2e_path(const char *name); /* in it; each of the last 16 results is its own */
void e2e_write(const char *path, const void *data, size_t bytes);
void e2e_touch(const char *name);
long e2e_size(const char *name);                    /* of a file in the scratch folder; -1: there is none */
bool e2e_has_size(const char *name, long at_least); /* waits for it */
int e2e_files(const char *folder);                  /* files in it and in its folders */

/* Runs body in a child process and returns its wait status; the child ends with what body returns. */
int e2e_child(int (*body)(void *context), void *context);
/* The same without waiting. */
pid_t e2e_start(int (*body)(void *context), void *context);
int e2e_end(pid_t child); /* its wait status; killed after a while */

/* In a child there is no test to fail: says what is wrong, and ends the child. */
#define E2E_CHECK(what_) ((what_) ? (void)0 : e2e_child_failed(__FILE__, __LINE__, #what_, NULL))
#define E2E_CHECK_OK(code_, err_) ((code_) == 0 ? (void)0 : e2e_child_failed(__FILE__, __LINE__, #code_, (err_)))
_Noreturn void e2e_child_failed(const char *file, int line, const char *what, const mamuto_error_t *err);

bool e2e_is_sanitized(void); /* built with AddressSanitizer or ThreadSanitizer */

#endif
