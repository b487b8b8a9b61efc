/* The engine of this host as the agent drives it: its pool of workers, and the maps on its board, which are leases. What
 * shm/node_shm.c does on a loop is done here for poll(). All arrays are in the arena, so nothing is ever copied for a map.
 *
 * A fork server that dies takes the agent with it: the master launches another one, and gives its leases to others. Called
 * by net/agent.c.
 */
#include "core/alloc.h"
#include "core/cpus.h"
#include "core/error.h"
#include "net/agent.h"
#include "shm/clock.h"
#include "shm/park.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { TICK_MS = 20, STOPPING_TICK_MS = 2, FORCE_AFTER_MS = 500, GIVE_UP_AFTER_MS = 3000 };

/* --- what the pool tells ------------------------------------------------------------------------------------------ */

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    struct mm_agent *agent = owner;
    agent->jobs.up_ns = mm_now_ns();
    agent->up = true;
    if (status)
        mm_error_copy(&agent->up_error, err);
    mm_agent_tell_up(agent);
}

void mm_agent_tell_up(struct mm_agent *agent)
{
    unsigned char body[1024];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_up up = { .workers = agent->pool.board->n_workers };
    if (!agent->up || !agent->stream)
        return;
    mm_error_to_outcome(&agent->up_error, &up.outcome);
    mm_put_up(&w, &up);
    if (mm_stream_send(agent->stream, MM_FRAME_UP, 0, body, w.n))
        mm_agent_leave(agent, mm_stream_error(agent->stream));
}

static void on_function(void *owner, const struct mm_message *message) { mm_agent_on_function(owner, message); }
static void on_loaded(void *owner, const struct mm_message *message) { mm_agent_on_loaded(owner, message); }

static void on_death(void *owner, const struct mm_death *death)
{
    struct mm_agent *agent = owner;
    mm_agent_outputs_end_worker(agent, death->lane);
    mm_jobs_on_death(&agent->jobs, death);
}

static int on_output(void *owner, uint32_t lane, int fd, int pipe, mamuto_error_t *err)
{
    struct mm_agent *agent = owner;
    return mm_agent_outputs_add(&agent->outputs, lane, fd, pipe)
               ? mm_error_set(err, MAMUTO_ENOMEM, "no memory for what worker %u prints", lane)
               : 0;
}

static const struct mm_pool_events events = { on_up, on_function, on_loaded, on_death, on_output };

/* --- its life ----------------------------------------------------------------------------------------------------- */

static char **copy_env(const struct mm_strings *env)
{
    char **copy = mm_alloc_array((size_t)env->n + 1, sizeof *copy);
    const char *at = env->first;
    for (uint32_t i = 0; copy && i < env->n; i++) {
        copy[i] = mm_strdup(at);
        if (i + 1 < env->n)
            at = mm_strings_next(at);
    }
    return copy;
}

int mm_agent_start_engine(struct mm_agent *agent, const struct mm_start *start, mamuto_error_t *err)
{
    int allowed = mm_cpus_allowed(), workers = start->cores ? (int)start->cores : allowed;
    if (workers > MM_MAX_LANES - 1)
        workers = MM_MAX_LANES - 1;
    agent->env = copy_env(&start->env);
    snprintf(agent->workdir, sizeof agent->workdir, "%s", start->workdir);
    if (!agent->env || mm_agent_outputs_init(&agent->outputs, (uint32_t)workers))
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for %d workers", workers);
    struct mm_pool_config config = { .workers = workers,
                                     .pin = start->pin == 1 || (start->pin == 0 && workers == allowed),
                                     .core_dumps = start->core_dumps,
                                     .output = start->output,
                                     .nice = start->nice,
                                     .workdir = agent->workdir[0] ? agent->workdir : NULL,
                                     .env = agent->env,
                                     .agent = agent->self };
    int code = mm_pool_init(&agent->pool, &config, &events, agent, err);
    if (code)
        return code;
    agent->has_pool = true;
    mm_jobs_init(&agent->jobs, &agent->pool, NULL);
    return mm_pool_start(&agent->pool, err);
}

void mm_agent_stop_engine(struct mm_agent *agent)
{
    struct pollfd life = { .fd = agent->pool.life, .events = POLLIN };
    bool gone = !agent->has_pool || agent->pool.life < 0;
    uint64_t begun = mm_now_ns();
    if (!agent->has_pool)
        return;
    mm_pool_stop(&agent->pool, false);
    while (!gone) {
        uint64_t ms = (mm_now_ns() - begun) / 1000000;
        if (ms > FORCE_AFTER_MS)
            mm_pool_stop(&agent->pool, true);
        gone = ms > GIVE_UP_AFTER_MS && mm_pool_server_is_gone(&agent->pool);
        if (!gone && poll(&life, 1, TICK_MS) > 0)
            gone = mm_pool_on_life(&agent->pool);
    }
    mm_jobs_fini(&agent->jobs);
    mm_agent_outputs_fini(&agent->outputs);
    mm_pool_fini(&agent->pool);
    for (char **one = agent->env; one && *one; one++)
        mm_free(*one);
    mm_free(agent->env);
}

/* --- its turns ---------------------------------------------------------------------------------------------------- */

void mm_agent_engine_fds(const struct mm_agent *agent, struct pollfd fds[MM_AGENT_ENGINE_FDS])
{
    fds[0] = (struct pollfd){ .fd = agent->has_pool ? agent->pool.event : -1, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = agent->has_pool ? agent->pool.control : -1, .events = POLLIN };
    fds[2] = (struct pollfd){ .fd = agent->has_pool ? agent->pool.life : -1, .events = POLLIN };
}

/* Looks at every map, having said before that it is about to sleep. */
static void check_all(struct mm_agent *agent)
{
    mm_master_parks(agent->pool.board);
    for (uint64_t used = agent->jobs.used; used; used &= used - 1) {
        struct mm_job *job = &agent->jobs.slots[__builtin_ctzll(used)];
        if (job->run && mm_jobs_check(&agent->jobs, job) == MM_JOB_ENDED)
            mm_agent_finish(agent, (struct mm_agent_lease *)(void *)job->run);
    }
}

void mm_agent_on_engine(struct mm_agent *agent, const struct pollfd fds[MM_AGENT_ENGINE_FDS])
{
    mamuto_error_t err = { 0 };
    if (!agent->has_pool || agent->leaving)
        return;
    if (fds[0].revents)
        mm_pool_on_event(&agent->pool);
    bool lost = fds[1].revents && !mm_pool_on_control(&agent->pool);
    lost |= fds[2].revents != 0;
    if (lost) {
        mm_error_set(&err, MAMUTO_EHOST, "the process that forks the workers died");
        mm_agent_leave(agent, &err);
        return;
    }
    if (agent->jobs.n_later)
        mm_jobs_sweep_later(&agent->jobs);
    check_all(agent);
}

int mm_agent_engine_timeout_ms(const struct mm_agent *agent)
{
    for (uint64_t used = agent->jobs.used; used; used &= used - 1)
        if (agent->jobs.slots[__builtin_ctzll(used)].stopping)
            return STOPPING_TICK_MS;
    return agent->jobs.n_later ? TICK_MS : -1;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

void *mm_agent_take(struct mm_agent *agent, uint64_t bytes, mamuto_error_t *err)
{
    if (bytes > agent->memory - agent->held) {
        mm_error_set(err, MAMUTO_ENOMEM, "%llu bytes are wanted, and of the %llu that this host grants %llu are in use",
                     (unsigned long long)bytes, (unsigned long long)agent->memory, (unsigned long long)agent->held);
        return NULL;
    }
    void *p = mm_arena_alloc(&agent->pool.arena, bytes, err);
    if (p)
        agent->held += bytes;
    return p;
}

void mm_agent_give(struct mm_agent *agent, void *p, uint64_t bytes)
{
    if (!p)
        return;
    agent->held -= bytes;
    mm_pool_free(&agent->pool, p);
}
