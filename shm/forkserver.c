/* The fork server. It is exec'd, so it starts clean: one thread, no inherited handles of the program's; it runs no module
 * code, so nothing can damage it. It forks workers and the children that describe modules, reaps them, tells the master
 * of each death, and re-forks a lane only when the master has swept (MM_MSG_RESPAWN).
 *
 *   start ── BOARD ARENA EVENT LIFE START ──► serving ── socket ends ──► leave: kills its process group
 *
 * Messages are read before children are reaped: a worker that asks to be forked anew (MM_EXIT_RENEW) does so because of
 * a message that was sent before. Lifelines: the socket from the master; PR_SET_PDEATHSIG from here to every child; and
 * the life pipe, whose write end only this process and its children hold, so that the master sees when all are gone.
 */
#include "shm/forkserver.h"

#include "core/cpus.h"
#include "core/error.h"
#include "core/program.h"
#include "shm/clock.h"
#include "shm/control.h"
#include "shm/describe.h"
#include "shm/output.h"
#include "shm/peer.h"
#include "shm/watch.h"
#include "shm/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct server {
    int control, signals, event, life, arena;
    int home; /* the folder that it was started in, where it has left that; 0: it has not */
    int nice;
    const mamuto_module_t *own;
    struct mm_board *board;
    struct mm_view view;
    uint32_t n_workers;
    uint32_t serial; /* of the attached files that the view has */
    bool pin, core_dumps, output;
    struct mm_output outputs[MM_MAX_LANES]; /* with options.on_output */
    pid_t pids[MM_MAX_LANES];
    struct mm_watched watched[MM_MAX_LANES];
    pid_t builders[MM_MAX_MODULES]; /* by module */
    struct mm_message message;      /* the one that is being read or sent */
};

static struct server server; /* one a process */

static void end_child(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Reaps what it has forked, so that no zombie is left to an init that may not care. */
_Noreturn static void leave(void)
{
    for (uint32_t i = 0; i < server.n_workers; i++)
        if (server.pids[i] > 0)
            kill(server.pids[i], SIGKILL); /* all at once; then one by one */
    for (uint32_t i = 0; i < server.n_workers; i++)
        end_child(server.pids[i]);
    for (uint32_t i = 0; i < MM_MAX_MODULES; i++)
        end_child(server.builders[i]);
    if (getpgrp() == getpid())
        kill(0, SIGKILL); /* compilers, and what module code has started */
    _exit(0);
}

static void send_message(void)
{
    if (mm_control_send(server.control, &server.message, -1) != 0)
        leave();
}

static void tell(enum mm_message_type type, uint32_t id, int64_t a, int64_t b)
{
    server.message.type = type;
    server.message.id = id;
    server.message.a = a;
    server.message.b = b;
    server.message.text_bytes = 0;
    send_message();
}

/* --- children ------------------------------------------------------------------------------------------------ */

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        errno = 0; /* only a preference */
    close(fd);
}

static void pin_to(uint32_t index)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    size_t cpu = 0;
    for (uint32_t seen = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && seen++ == index)
            break;
    if (cpu == CPU_SETSIZE)
        return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0)
        atomic_store(&server.board->lanes[index].cpu, (int32_t)cpu);
}

/* The first thing that any child does. */
static void become_child(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close(server.signals);
    write_text("/proc/self/oom_score_adj", "500");
    if (!server.core_dumps)
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
}

static void fork_worker(uint32_t index)
{
    struct mm_lane *lane = &server.board->lanes[index]; /* reset by the master, or never used */
    atomic_store(&lane->cpu, -1);
    int code = server.output ? mm_output_make(&server.outputs[index], server.control, index) : 0;
    pid_t parent = getpid(), pid = code ? -1 : fork();
    if (pid == 0) {
        become_child(parent);
        close(server.control);
        if (nice(server.nice) == -1)
            errno = 0; /* the value may be -1; and less than asked for is no failure */
        if (server.output)
            mm_output_use(server.outputs, server.n_workers, index);
        if (server.pin)
            pin_to(index);
        if (server.n_workers >
            (uint32_t)mm_cpus_allowed()) /* a crowd of woken workers must not push the caller aside */
            sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
        prctl(PR_SET_NAME, "mamuto-worker");
        mm_worker_run(
            &(struct mm_worker){ server.board, index, server.serial, &server.view, server.own, server.event });
    }
    if (pid < 0) {
        tell(MM_MSG_DIED, index, code ? code : -errno, 0);
        return;
    }
    server.pids[index] = pid;
    atomic_store(&lane->pid, pid);
    tell(MM_MSG_UP, index, pid, 0);
}

static void load_failed(uint32_t module, int code, const char *text)
{
    server.message = (struct mm_message){ .type = MM_MSG_LOADED, .id = module, .a = code };
    mm_message_add(&server.message, text);
    mm_message_add(&server.message, "");
    send_message();
}

static void fork_builder(void)
{
    uint32_t module = server.message.id;
    pid_t parent = getpid(), pid = module < MM_MAX_MODULES ? fork() : -1;
    if (pid == 0) {
        become_child(parent);
        if (server.home && fchdir(server.home) != 0) /* flags may name paths from there */
            _exit(1);
        mm_describe_module(server.control, &server.message, server.own);
        _exit(0);
    }
    if (pid < 0)
        load_failed(module, MAMUTO_ESYSTEM, "no process could be started to load it: too many, or no memory");
    else
        server.builders[module] = pid;
}

/* Sent in any case: it comes behind what the child has sent itself, and counts only if that was no verdict. */
static void builder_ended(uint32_t module, int status)
{
    char text[160];
    server.builders[module] = 0;
    if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "the process that loaded it died of signal %d (%s): see to its constructors",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof text, "the process that loaded it ended with exit code %d: see to its constructors",
                 WEXITSTATUS(status));
    load_failed(module, MAMUTO_ECRASH, text);
}

static void worker_ended(uint32_t index, int status)
{
    struct mm_lane *lane = &server.board->lanes[index];
    server.pids[index] = 0;
    atomic_store(&lane->pid, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == MM_EXIT_RENEW && atomic_load(&lane->claim) == 0) {
        atomic_store(&lane->spinning, 0); /* it held nothing, so there is nothing to sweep */
        atomic_store(&lane->verdict, MM_VERDICT_NONE);
        atomic_store(&lane->in, 0);
        fork_worker(index);
    } else
        tell(MM_MSG_DIED, index, status, 0);
}

static void reap(void)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (uint32_t i = 0; i < MM_MAX_MODULES; i++)
            if (server.builders[i] == pid)
                builder_ended(i, status);
        for (uint32_t i = 0; i < server.n_workers; i++)
            if (server.pids[i] == pid)
                worker_ended(i, status);
    }
}

/* --- messages ------------------------------------------------------------------------------------------------ */

static void *map_fd(int fd, uint64_t bytes, int64_t offset, int protection)
{
    void *p = mmap(NULL, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, offset);
    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_DONTDUMP);
    return p;
}

static void map_arena(int fd, uint64_t bytes)
{
    server.arena = fd;
    server.view.arena_write = map_fd(fd, bytes, 0, PROT_READ | PROT_WRITE);
    server.view.arena_read = map_fd(fd, bytes, 0, PROT_READ);
    if (!server.view.arena_read) /* RLIMIT_AS: do without the protection */
        server.view.arena_read = server.view.arena_write;
    if (!server.view.arena_write)
        leave();
}

static void attach(uint32_t region, int fd, int64_t offset, int64_t bytes)
{
    if (region < MM_MAX_ATTACHED && fd >= 0 && server.board) {
        server.view.attached[region].base = map_fd(fd, (uint64_t)bytes, offset, PROT_READ);
        server.view.attached[region].bytes = (uint64_t)bytes;
        server.view.attached[region].serial = server.message.serial;
    }
    if (fd >= 0)
        close(fd);
}

static void detach(uint32_t region)
{
    server.view.attached[region].serial = 0;
    union {
        const char *read;
        void *write;
    } base = { server.view.attached[region].base };
    if (base.read)
        munmap(base.write, server.view.attached[region].bytes);
    server.view.attached[region].base = NULL;
}

static void punch(int64_t offset, int64_t bytes)
{
    if (fallocate(server.arena, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes) != 0)
        errno = 0; /* the pages stay: told all the same, so that they are used again */
    tell(MM_MSG_PUNCHED, 0, offset, bytes);
}

/* Where workers are to be: they are forked there, so that none can fail to get there. */
static void move_to(int workdir)
{
    server.home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (server.home < 0 || fchdir(workdir) != 0)
        leave();
    close(workdir);
}

static void start(uint32_t n_workers, bool pin, int64_t flags)
{
    server.n_workers = n_workers;
    server.pin = pin;
    server.core_dumps = flags & MM_START_CORE_DUMPS;
    server.output = flags & MM_START_OUTPUT;
    if (!server.board || !server.view.arena_write || server.n_workers > MM_MAX_LANES)
        leave();
    struct mm_board *board = server.board;
    bool allowed = mm_peer_allowed(board->master_pid, board->probe_address, board->probe_value);
    atomic_store(&board->peer_denied, !allowed);
    for (uint32_t i = 0; i < server.n_workers; i++)
        fork_worker(i);
}

/* Only if it is in that map still: it may have left meanwhile, and what it does now is not to suffer for it. */
static void kill_lane(const struct mm_message *message)
{
    uint32_t i = message->id;
    if (i >= server.n_workers || server.pids[i] <= 0 || server.pids[i] != message->a)
        return;
    struct mm_lane *lane = &server.board->lanes[i];
    if (atomic_load(&lane->in) != (uint64_t)message->b)
        return;
    atomic_store(&lane->verdict, MM_VERDICT_CANCELED);
    kill(server.pids[i], SIGKILL);
}

static void handle(int fd)
{
    struct mm_message *message = &server.message;
    switch ((enum mm_message_type)message->type) {
    case MM_MSG_BOARD:
        server.board = map_fd(fd, (uint64_t)message->a, 0, PROT_READ | PROT_WRITE);
        close(fd);
        break;
    case MM_MSG_ARENA:
        map_arena(fd, (uint64_t)message->a);
        break;
    case MM_MSG_EVENT:
        server.event = fd;
        break;
    case MM_MSG_LIFE:
        server.life = fd;
        break;
    case MM_MSG_PLACE:
        server.nice = (int)message->a;
        if (fd >= 0)
            move_to(fd);
        break;
    case MM_MSG_START:
        server.serial = message->serial;
        start(message->id, message->a != 0, message->b);
        break;
    case MM_MSG_LOAD:
        fork_builder();
        break;
    case MM_MSG_ATTACH:
        attach(message->id, fd, message->a, message->b);
        server.serial = message->serial;
        break;
    case MM_MSG_DETACH:
        if (message->id < MM_MAX_ATTACHED)
            detach(message->id);
        server.serial = message->serial;
        break;
    case MM_MSG_RESPAWN:
        if (message->id < server.n_workers && server.pids[message->id] == 0)
            fork_worker(message->id);
        break;
    case MM_MSG_KILL:
        kill_lane(message);
        break;
    case MM_MSG_PUNCH:
        punch(message->a, message->b);
        break;
    case MM_MSG_WATCH: /* the loop looks at the board each time it is woken */
        break;
    case MM_MSG_HELLO:
    case MM_MSG_UP:
    case MM_MSG_DIED:
    case MM_MSG_FUNCTION:
    case MM_MSG_LOADED:
    case MM_MSG_PUNCHED:
    case MM_MSG_OUTPUT:
        leave(); /* the master never sends these */
    }
}

static void read_messages(void)
{
    struct pollfd one = { server.control, POLLIN, 0 };
    while (poll(&one, 1, 0) > 0) {
        int fd, got = mm_control_receive(server.control, &server.message, &fd);
        if (got <= 0)
            leave();
        handle(fd);
    }
}

/* --- the process --------------------------------------------------------------------------------------------- */

/* One thread inside a worker, which has one core, unless the user says otherwise. The libraries look at a name of their
 * own first, then at OpenMP's: who sets that one alone means them all. */
static void limit_inner_threads(void)
{
    static const char *const names[] = { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                                         "BLIS_NUM_THREADS" };
    if (getenv("OMP_NUM_THREADS"))
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], "1", 0);
}

static void clean_process(void)
{
    setpgid(0, 0); /* a terminal's Ctrl-C reaches the program alone */
    int null;
    do /* standard streams that the program has closed stay free for nothing else */
        null = open("/dev/null", O_RDWR);
    while (null >= 0 && null < MM_CONTROL_FD);
    if (null >= 0)
        dup2(null, 0);
    close_range(MM_CONTROL_FD + 1, ~0u, 0);
    prctl(PR_SET_NAME, "mamuto-server");
    limit_inner_threads();
    setenv(MM_WORKER_MARK, "1", 1);
}

static void watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    server.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void mm_fork_server_main(int control, const mamuto_module_t *own)
{
    clean_process();
    fcntl(control, F_SETFD, FD_CLOEXEC);
    watch_signals();
    server.control = control;
    server.own = own;
    server.message = (struct mm_message){ .type = MM_MSG_HELLO };
    mm_message_add(&server.message, MM_BUILD_ID);
    send_message();
    for (;;) {
        int wait_ms = server.n_workers ? mm_watch_lanes(server.board, server.pids, server.watched, mm_now_ns()) : -1;
        struct pollfd fds[] = { { server.control, POLLIN, 0 }, { server.signals, POLLIN, 0 } };
        if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
            leave();
        struct signalfd_siginfo info;
        while (read(server.signals, &info, sizeof info) > 0)
            ;
        read_messages();
        reap();
    }
}
