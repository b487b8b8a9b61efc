/* The owner's side: makes board and arena, starts the fork server, keeps its socket, frees everything at the end.
 *
 * Maps on the board are shm/jobs.c's, attached files shm/attach.c's. The board outlives a fork server that dies: a new one is started on it, its lanes
 * having been swept like any dead worker's, so nothing is lost but time. The life pipe's read end is here, its write end
 * with the fork server and its children alone: it ends when the last of them is gone.
 * Called from the owner's thread; blocks only to vfork and for pages in mm_arena_alloc.
 */
#include "shm/pool.h"

#include "core/alloc.h"
#include "shm/attach.h"
#include "shm/clock.h"
#include "shm/park.h"
#include "shm/spawn.h"
#include "shm/workdir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint64_t CALIBRATION_NS = 50000;

static double calibrate(void)
{
    uint64_t ns = mm_now_ns(), ticks = mm_ticks(), now;
    while ((now = mm_now_ns()) - ns < CALIBRATION_NS)
        ;
    return (double)(mm_ticks() - ticks) / ((double)(now - ns) / 1000);
}

static int make_board(struct mm_pool *pool, mamuto_error_t *err)
{
    size_t bytes = sizeof *pool->board;
    pool->board_fd = mm_shared_file("mamuto-board", bytes);
    if (pool->board_fd < 0)
        return mm_error_system(err, errno,
                               "cannot make the shared memory of the job board (%zu bytes, nearly all of "
                               "them never used; RLIMIT_FSIZE must allow them)",
                               bytes);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, pool->board_fd, 0);
    if (p == MAP_FAILED)
        return mm_error_set(err, MAMUTO_ENOMEM, "no room for the job board of %zu bytes: raise RLIMIT_AS", bytes);
    madvise(p, bytes, MADV_DONTDUMP);
    pool->board = p;
    pool->board->magic = MM_BOARD_MAGIC;
    pool->board->layout = MM_BOARD_LAYOUT;
    pool->board->n_workers = (uint32_t)pool->config.workers;
    pool->board->ticks_per_us = calibrate();
    pool->board->master_pid = getpid();
    atomic_store(&pool->board->caller_cpu, -1);
    pool->probe = mm_ticks() ^ (uint64_t)(uintptr_t)pool;
    pool->board->probe_value = pool->probe;
    pool->board->probe_address = (uint64_t)(uintptr_t)&pool->probe;
    return 0;
}

int mm_pool_init(struct mm_pool *pool, const struct mm_pool_config *config, const struct mm_pool_events *events,
                 void *owner, mamuto_error_t *err)
{
    *pool = (struct mm_pool){ .control = -1,
                              .life = -1,
                              .board_fd = -1,
                              .workdir_fd = -1,
                              .config = *config,
                              .events = events,
                              .owner = owner,
                              .arena.fd = -1 };
    pool->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = pool->event < 0 ? mm_error_system(err, errno, "cannot make an eventfd") : make_board(pool, err);
    if (!code && config->workdir)
        code = mm_workdir_open(config->workdir, &pool->workdir_fd, err);
    if (!code)
        code = mm_arena_init(&pool->arena, err);
    if (code)
        mm_pool_fini(pool);
    return code;
}

int mm_pool_hand_over(struct mm_pool *pool, enum mm_message_type type, uint32_t id, int64_t a, int64_t b, int fd)
{
    struct mm_message *message = &pool->message;
    message->type = type;
    message->id = id;
    message->a = a;
    message->b = b;
    message->text_bytes = 0;
    return mm_control_send(pool->control, message, fd);
}

int mm_pool_tell(struct mm_pool *pool, enum mm_message_type type, uint32_t id, int64_t a, int64_t b)
{
    return mm_pool_hand_over(pool, type, id, a, b, -1) ? MAMUTO_ESYSTEM : 0;
}

static int send_set_up(struct mm_pool *pool, int life_write)
{
    int code = mm_pool_hand_over(pool, MM_MSG_BOARD, 0, (int64_t)sizeof *pool->board, 0, pool->board_fd);
    if (!code)
        code = mm_pool_hand_over(pool, MM_MSG_ARENA, 0, (int64_t)pool->arena.bytes, 0, pool->arena.fd);
    if (!code)
        code = mm_pool_hand_over(pool, MM_MSG_EVENT, 0, 0, 0, pool->event);
    if (!code)
        code = mm_pool_hand_over(pool, MM_MSG_LIFE, 0, 0, 0, life_write);
    if (!code)
        code = mm_attach_hand_over(pool);
    if (!code)
        code = mm_pool_hand_over(pool, MM_MSG_PLACE, 0, pool->config.nice, 0, pool->workdir_fd);
    pool->message.serial = atomic_load(&pool->board->attach_serial);
    if (!code)
        code = mm_pool_hand_over(
            pool, MM_MSG_START, (uint32_t)pool->config.workers, pool->config.pin,
            (pool->config.core_dumps ? MM_START_CORE_DUMPS : 0) | (pool->config.output ? MM_START_OUTPUT : 0), -1);
    for (size_t i = 0; !code && i < pool->arena.n_extents; i++) /* asked for, and not answered by the one before */
        if (pool->arena.extents[i].state == MM_EXTENT_PUNCHING)
            code = mm_pool_hand_over(pool, MM_MSG_PUNCH, 0, (int64_t)pool->arena.extents[i].offset,
                                     (int64_t)pool->arena.extents[i].bytes, -1);
    return code;
}

int mm_pool_start(struct mm_pool *pool, mamuto_error_t *err)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return mm_error_system(err, errno, "cannot make the life pipe");
    int code = mm_spawn_fork_server(pool->config.agent, pool->config.env, &pool->server, &pool->control, err);
    if (!code) {
        pool->life = pipe_ends[0];
        int sent = send_set_up(pool, pipe_ends[1]);
        if (sent && sent != -EPIPE && sent != -ECONNRESET) /* dead already: its pipe and socket will say so */
            code = mm_error_system(err, -sent, "cannot set the fork server up");
    } else
        close(pipe_ends[0]);
    close(pipe_ends[1]);
    pool->n_up = 0;
    memset(pool->lane_up, 0, sizeof pool->lane_up);
    pool->detaching = 0; /* a new fork server has never heard of them */
    return code;
}

/* --- what the fork server sends -------------------------------------------------------------------------------- */

static void on_hello(struct mm_pool *pool)
{
    mamuto_error_t err = { 0 };
    size_t at = 0;
    const char *id = mm_message_next(&pool->message, &at);
    if (id && strcmp(id, MM_BUILD_ID) == 0)
        return;
    if (pool->up) { /* started anew, from a file that was replaced: it must not touch this board */
        mm_pool_stop(pool, true);
        return;
    }
    mm_error_set(&err, MAMUTO_EVERSION,
                 "the helper program is of build %s, this library of build %s: install both from "
                 "the same build, or name the right one in $MAMUTO_AGENT",
                 id ? id : "?", MM_BUILD_ID);
    pool->up = true;
    pool->events->on_up(pool->owner, err.code, &err);
}

static void on_worker_up(struct mm_pool *pool)
{
    if (pool->message.id >= (uint32_t)pool->config.workers || pool->lane_up[pool->message.id])
        return; /* one that was forked anew by itself */
    pool->lane_up[pool->message.id] = true;
    pool->n_up++;
    if (pool->up || pool->n_up < (uint32_t)pool->config.workers)
        return;
    pool->up = true;
    pool->events->on_up(pool->owner, 0, NULL);
}

static void on_died(struct mm_pool *pool)
{
    uint32_t lane = pool->message.id;
    if (lane >= (uint32_t)pool->config.workers)
        return;
    int status = (int)pool->message.a;
    const struct mm_lane *dead = &pool->board->lanes[lane];
    struct mm_death death = { lane, status, (enum mm_verdict)atomic_load(&dead->verdict),
                              atomic_load(&dead->verdict_at), status < 0 ? -status : 0 };
    if (status < 0 && !pool->up) {
        mamuto_error_t err = { 0 };
        mm_error_system(&err, -status, "cannot start worker %u of %d", lane, pool->config.workers);
        pool->up = true;
        pool->events->on_up(pool->owner, err.code, &err);
        return;
    }
    pool->n_up -= pool->lane_up[lane];
    pool->lane_up[lane] = false;
    pool->events->on_death(pool->owner, &death);
}

static void on_output(struct mm_pool *pool, int pipe)
{
    mamuto_error_t err = { 0 };
    uint32_t lane = pool->message.id;
    int64_t fd = pool->message.a;
    bool known = lane < (uint32_t)pool->config.workers && (fd == STDOUT_FILENO || fd == STDERR_FILENO);
    if (!known || !pool->config.output) {
        if (pipe >= 0)
            close(pipe);
        return;
    }
    int code = pipe < 0 ? mm_error_system(&err, EMFILE, "cannot take what worker %u prints: RLIMIT_NOFILE", lane)
                        : pool->events->on_output(pool->owner, lane, (int)fd, pipe, &err);
    if (code && pool->up) /* started anew: without readers its workers would die of SIGPIPE */
        mm_pool_stop(pool, true);
    else if (code) {
        pool->up = true;
        pool->events->on_up(pool->owner, code, &err);
    }
}

/* fd came with the message: it is closed here, if not kept. */
static void handle(struct mm_pool *pool, int fd)
{
    if (pool->message.type == MM_MSG_OUTPUT) {
        on_output(pool, fd);
        return;
    }
    if (fd >= 0)
        close(fd);
    switch (pool->message.type) {
    case MM_MSG_HELLO:
        on_hello(pool);
        break;
    case MM_MSG_UP:
        on_worker_up(pool);
        break;
    case MM_MSG_DIED:
        on_died(pool);
        break;
    case MM_MSG_FUNCTION:
        pool->events->on_function(pool->owner, &pool->message);
        break;
    case MM_MSG_LOADED:
        pool->events->on_loaded(pool->owner, &pool->message);
        break;
    case MM_MSG_PUNCHED:
        mm_arena_punched(&pool->arena, (uint64_t)pool->message.a);
        break;
    default: /* a module's child can write here: what is not known is passed over */
        break;
    }
}

bool mm_pool_on_control(struct mm_pool *pool)
{
    int got = 1, fd;
    mm_attach_tell_detached(pool);
    while (pool->control >= 0 && (got = mm_control_receive(pool->control, &pool->message, &fd)) > 0)
        handle(pool, fd);
    return got == -EAGAIN;
}

void mm_pool_on_event(struct mm_pool *pool)
{
    uint64_t count;
    if (read(pool->event, &count, sizeof count) < 0)
        return; /* empty already */
}

bool mm_pool_on_life(struct mm_pool *pool)
{
    char byte;
    ssize_t got = read(pool->life, &byte, 1);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return false;
    while (waitpid(pool->server, NULL, 0) < 0 && errno == EINTR)
        ; /* ECHILD: the program has reaped it */
    pool->server = 0;
    return true;
}

bool mm_pool_server_is_gone(struct mm_pool *pool)
{
    if (pool->server <= 0)
        return true;
    pid_t pid = waitpid(pool->server, NULL, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR))
        return false;
    pool->server = 0;
    return true;
}

void mm_pool_close_life(struct mm_pool *pool)
{
    if (pool->life >= 0)
        close(pool->life);
    pool->life = -1;
}

void mm_pool_stop(struct mm_pool *pool, bool force)
{
    if (pool->control >= 0) {
        shutdown(pool->control, SHUT_RDWR); /* a child of the program may have it, too */
        close(pool->control);
    }
    pool->control = -1;
    if (force && pool->server > 0) {
        kill(-pool->server, SIGKILL);
        kill(pool->server, SIGKILL);
    }
}

void mm_pool_end_server(struct mm_pool *pool)
{
    mm_pool_stop(pool, true);
    while (waitpid(pool->server, NULL, 0) < 0 && errno == EINTR)
        ; /* killed: this does not take long */
    pool->server = 0;
}

void mm_pool_fini(struct mm_pool *pool)
{
    mm_pool_stop(pool, false);
    mm_pool_close_life(pool);
    if (pool->event >= 0)
        close(pool->event);
    mm_attach_fini(pool);
    mm_arena_fini(&pool->arena);
    if (pool->board)
        munmap(pool->board, sizeof *pool->board);
    if (pool->board_fd >= 0)
        close(pool->board_fd);
    if (pool->workdir_fd >= 0)
        close(pool->workdir_fd);
    *pool =
        (struct mm_pool){ .control = -1, .event = -1, .life = -1, .board_fd = -1, .workdir_fd = -1, .arena.fd = -1 };
}

void mm_pool_reset_lane(struct mm_pool *pool, uint32_t index)
{
    struct mm_lane *lane = &pool->board->lanes[index];
    atomic_store(&lane->claim, 0);
    atomic_store(&lane->moves, 0);
    atomic_store(&lane->parked, 0);
    atomic_store(&lane->spinning, 0);
    atomic_store(&lane->verdict, MM_VERDICT_NONE);
    atomic_store(&lane->in, 0);
}

bool mm_pool_respawn(struct mm_pool *pool, uint32_t lane)
{
    mm_pool_reset_lane(pool, lane);
    bool asked = pool->control >= 0 && mm_pool_tell(pool, MM_MSG_RESPAWN, lane, 0, 0) == 0;
    mm_wake_all(pool->board);
    return asked;
}

/* --- modules and arrays ------------------------------------------------------------------------------------ */

int mm_pool_load(struct mm_pool *pool, uint32_t module, const char *path, const char *cc, char *const *cflags,
                 char *const *libs, mamuto_error_t *err)
{
    struct mm_message *message = &pool->message;
    char here[PATH_MAX] = "", whole[2 * PATH_MAX];
    if (*path && *path != '/') { /* of this folder, not of the one in which the fork server was started */
        if (!getcwd(here, sizeof here))
            return mm_error_system(err, errno, "module %s: cannot tell the working directory", path);
        snprintf(whole, sizeof whole, "%s/%s", here, path);
        path = whole;
    }
    *message = (struct mm_message){ .type = MM_MSG_LOAD, .id = module };
    bool fits = mm_message_add(message, path) == 0 && mm_message_add(message, cc) == 0;
    for (; fits && cflags[message->a]; message->a++)
        fits = mm_message_add(message, cflags[message->a]) == 0;
    for (; fits && libs[message->b]; message->b++)
        fits = mm_message_add(message, libs[message->b]) == 0;
    if (!fits)
        return mm_error_set(err, MAMUTO_ESIZE, "module %s: its path and the config's cflags and libs are over %d bytes",
                            path, MM_MESSAGE_TEXT);
    int code = mm_control_send(pool->control, message, -1);
    return code ? mm_error_system(err, -code, "module %s: cannot ask the fork server to load it", path) : 0;
}

uint64_t mm_pool_size(const struct mm_pool *pool, const void *p)
{
    const struct mm_attachment *file = mm_attach_of(pool, p);
    return file ? file->bytes : mm_arena_size(&pool->arena, p);
}

int mm_pool_free(struct mm_pool *pool, const void *p)
{
    struct mm_extent punch;
    mm_attach_tell_detached(pool);
    if (mm_arena_free(&pool->arena, p, &punch) != 0)
        return mm_attach_give_back(pool, p);
    if (punch.bytes &&
        (pool->control < 0 || mm_pool_tell(pool, MM_MSG_PUNCH, 0, (int64_t)punch.offset, (int64_t)punch.bytes) != 0))
        mm_arena_punch(&pool->arena, &punch); /* there is nobody to do it */
    return 0;
}

enum mm_where mm_pool_locate(const struct mm_pool *pool, const void *p, uint64_t bytes, uint32_t *region,
                             uint64_t *offset)
{
    *region = 0;
    if (mm_arena_holds(&pool->arena, p))
        return mm_arena_find(&pool->arena, p, bytes, offset) ? MM_WHERE_ARENA : MM_WHERE_NONE;
    const struct mm_attachment *file = mm_attach_around(pool, p);
    if (file) {
        *region = (uint32_t)(file - pool->attached);
        *offset = (uint64_t)(uintptr_t)p - (uintptr_t)file->base;
        return bytes <= file->bytes - *offset ? MM_WHERE_ATTACHED : MM_WHERE_NONE;
    }
    *offset = (uint64_t)(uintptr_t)p;
    return MM_WHERE_PRIVATE;
}
