/* The team: a node that is made of the nodes of all hosts. Its life, and the events of its nodes, which each get an owner
 * of their own (struct mm_child), so that an event says whose it is.
 *
 *   open ── every node has come up, or failed ──► on_up ── … ── the last one that computes is lost for good ──► on_lost
 *   close ── other hosts' nodes are closed ──► timer ──► this machine's, whose memory goes last ──► on_closed
 *
 * The first child is always this machine's. Where the config does not list it, it has one worker and no items of ordinary
 * maps: it is there for memory, for folds, and for what emits. It cannot be done without: where it fails to come up, the
 * team does.
 * What must not happen inside an operation, or in an event of the very node, is brought to the loop's next turn by a timer
 * (mm_team_wake). Whoever has changed something calls mm_team_go_on, or wakes it. Called on the loop's thread.
 */
#include "core/team_node.h"

#include "core/alloc.h"
#include "core/error.h"

#include <stdio.h>

static const uint64_t NS_PER_MS = 1000000;

const char *mm_child_label(const struct mm_child *child)
{
    return mm_child_computes(child) ? child->config->label : MM_CONFIG_LOCAL;
}

/* --- what nodes tell ------------------------------------------------------------------------------------------------ */

static void tell_state(struct mm_child *child)
{
    struct mm_node *team = child->team;
    if (!mm_child_computes(child))
        return;
    if (team->events->on_host_state)
        team->events->on_host_state(team->owner, child->host);
    else if (team->up && team->events->on_state)
        team->events->on_state(team->owner);
}

static void set_reason(struct mm_child *child, const mamuto_error_t *why)
{
    child->code = why->code;
    snprintf(child->reason, sizeof child->reason, "%s", why->text);
}

static void come_up(struct mm_child *child)
{
    child->state = MM_CHILD_UP;
    child->full = false;
    mm_team_load_all(child);
    mm_team_keep_all(child);
}

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    struct mm_child *child = owner;
    if (child->state != MM_CHILD_STARTING || child->team->closing)
        return;
    if (status) {
        child->state = MM_CHILD_AWAY;
        set_reason(child, err);
    } else
        come_up(child);
    tell_state(child);
    mm_team_go_on(child->team);
}

static void on_state(void *owner)
{
    struct mm_child *child = owner;
    struct mm_node_state state = { 0 };
    if (child->team->closing)
        return;
    child->ops->describe(child->node, &state);
    bool up = child->ops->workers(child->node) > 0 && strcmp(state.state, "up") == 0;
    if (child->state == MM_CHILD_UP && !up &&
        !mm_child_is_local(child)) { /* this one's workers are only started anew */
        child->state = MM_CHILD_AWAY;
        child->code = MAMUTO_EHOST;
        snprintf(child->reason, sizeof child->reason, "%s", state.reason ? state.reason : "the host was lost");
    } else if (child->state == MM_CHILD_AWAY && up)
        come_up(child);
    tell_state(child);
    mm_team_go_on(child->team);
}

static void on_lost(void *owner, const mamuto_error_t *err)
{
    struct mm_child *child = owner;
    if (child->team->closing)
        return;
    bool told = child->state == MM_CHILD_AWAY || mm_child_is_local(child); /* by on_state */
    child->state = MM_CHILD_OUT;
    set_reason(child, err);
    mm_team_forget_child(child);
    if (!told)
        tell_state(child);
    mm_team_go_on(child->team);
}

static void on_output(void *owner, int worker, int fd, const char *line, size_t n)
{
    const struct mm_child *child = owner;
    const struct mm_node_events *events = child->team->events;
    if (events->on_host_output)
        events->on_host_output(child->team->owner, child->host, worker, fd, line, n);
    else
        events->on_output(child->team->owner, worker, fd, line, n);
}

/* --- going on --------------------------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct mm_node *team = timer->data;
    team->due_ns = 0;
    for (size_t i = 0; i < team->n_children; i++) /* one that said so with nothing in flight is asked again */
        team->children[i].full &= team->children[i].n_leases > 0;
    mm_team_go_on(team);
}

void mm_team_wake(struct mm_node *team, uint64_t ms)
{
    uint64_t due = uv_hrtime() + ms * NS_PER_MS;
    if (team->closing || (team->due_ns && team->due_ns <= due))
        return;
    team->due_ns = due;
    uv_update_time(team->loop); /* which may be old: the caller has not been in its loop for a while */
    uv_timer_start(&team->timer, on_timer, ms, 0);
}

void mm_team_expel(struct mm_child *child, const mamuto_error_t *why)
{
    if (child->state == MM_CHILD_OUT)
        return;
    child->state = MM_CHILD_OUT;
    child->expelled = true;
    set_reason(child, why);
    mm_team_wake(child->team, 0);
}

static void close_expelled(struct mm_node *team)
{
    for (size_t i = 1; i < team->n_children; i++) {
        struct mm_child *child = &team->children[i];
        if (!child->expelled)
            continue;
        child->expelled = false;
        child->closing = true;
        mm_team_forget_child(child);
        tell_state(child);
        child->ops->close(child->node);
    }
}

void mm_team_say_why(struct mm_node *team, char *text, size_t size)
{
    size_t used = 0;
    *text = '\0';
    for (size_t i = 0; i < team->n_children && used < size; i++) {
        const struct mm_child *child = &team->children[i];
        if (!mm_child_computes(child) || child->state == MM_CHILD_UP)
            continue;
        int n = snprintf(text + used, size - used, "%s%s: %.150s", used ? "; " : "", mm_child_label(child),
                         child->state == MM_CHILD_STARTING ? "it is being started" : child->reason);
        used += n > 0 ? (size_t)n : 0;
    }
}

static int set_no_host(struct mm_node *team, mamuto_error_t *err)
{
    char why[400];
    mm_team_say_why(team, why, sizeof why);
    return mm_error_set(err, MAMUTO_ENOHOST, "no host is left: %s", why);
}

/* How the opening ends; false: it has not yet. */
static bool is_opened(struct mm_node *team, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    bool starting = false, computes = false;
    if (local->state > MM_CHILD_UP)
        return mm_error_set(err, local->code, "%s", local->reason);
    for (size_t i = 0; i < team->n_children; i++) {
        const struct mm_child *child = &team->children[i];
        if (child->state > MM_CHILD_UP && child->config->required && mm_child_computes(child))
            return mm_error_set(err, child->code, "%s, which is required: %.450s", mm_child_label(child),
                                child->reason);
        starting |= child->state == MM_CHILD_STARTING;
        computes |= child->state == MM_CHILD_UP && mm_child_computes(child);
    }
    if (!starting && !computes)
        set_no_host(team, err);
    return !starting;
}

static void look_whether_up(struct mm_node *team)
{
    mamuto_error_t err = { 0 };
    if (team->up || team->lost || !is_opened(team, &err))
        return;
    team->up = err.code == 0;
    team->lost = !team->up;
    if (team->lost)
        team->why_lost = err;
    team->events->on_up(team->owner, err.code, &err);
}

/* Nobody is left who computes, for good. */
static void look_whether_lost(struct mm_node *team)
{
    if (!team->up || team->lost || team->first)
        return;
    for (size_t i = 0; i < team->n_children; i++)
        if (mm_child_computes(&team->children[i]) && team->children[i].state != MM_CHILD_OUT)
            return;
    team->lost = true;
    if (mm_child_computes(mm_team_local(team)) && team->n_children == 1)
        mm_error_set(&team->why_lost, MAMUTO_EHOST, "%s", mm_team_local(team)->reason);
    else
        set_no_host(team, &team->why_lost);
    team->events->on_lost(team->owner, &team->why_lost);
}

void mm_team_go_on(struct mm_node *team)
{
    if (team->closing)
        return;
    close_expelled(team);
    mm_team_settle_modules(team);
    mm_team_settle_keeps(team);
    look_whether_up(team);
    mm_team_hand_out(team);
    mm_team_end_calls(team);
    look_whether_lost(team);
}

/* --- close ---------------------------------------------------------------------------------------------------------- */

static void free_team(struct mm_node *team)
{
    for (struct mm_call *call; (call = team->first) != NULL;) {
        team->first = call->next;
        mm_call_free(call);
    }
    mm_team_free_keeps(team);
    mm_team_free_modules(team);
    for (size_t i = 0; i < team->n_children; i++)
        mm_team_free_texts(&team->children[i]);
    mm_free(team->children);
    mm_free(team);
}

static void finish(struct mm_node *team)
{
    team->events->on_closed(team->owner);
    free_team(team);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct mm_node *team = timer->data;
    struct mm_child *local = mm_team_local(team);
    if (local->node)
        local->ops->close(local->node);
    else
        finish(team);
}

static void on_closed(void *owner)
{
    struct mm_child *child = owner;
    struct mm_node *team = child->team;
    child->node = NULL;
    child->closing = false;
    team->n_open--;
    if (!team->closing) { /* it was expelled */
        mm_team_end_leases(child);
        mm_team_go_on(team);
    } else if (mm_child_is_local(child))
        finish(team);
    else if (team->n_open == (mm_team_local(team)->node != NULL))
        uv_close((uv_handle_t *)&team->timer, on_timer_closed);
}

/* This machine's node goes last, with the memory: until then nothing is to run there. */
static void stop_local(struct mm_node *team)
{
    struct mm_child *local = mm_team_local(team);
    for (struct mm_call *call = team->first; call; call = call->next)
        for (struct mm_lease *lease = call->leases; lease; lease = lease->next)
            if (lease->child == local && local->node)
                local->ops->cancel(local->node, &lease->run);
}

static void close_team(struct mm_node *team)
{
    team->closing = true;
    uv_timer_stop(&team->timer);
    stop_local(team);
    if (team->n_open == (mm_team_local(team)->node != NULL)) {
        uv_close((uv_handle_t *)&team->timer, on_timer_closed);
        return;
    }
    for (size_t i = 1; i < team->n_children; i++) {
        struct mm_child *child = &team->children[i];
        if (child->node && !child->closing)
            child->ops->close(child->node);
    }
}

/* --- open ----------------------------------------------------------------------------------------------------------- */

static const struct mm_node_events child_events = { .on_up = on_up,
                                                    .on_function = mm_team_on_function,
                                                    .on_loaded = mm_team_on_loaded,
                                                    .on_item_error = mm_team_on_item_error,
                                                    .on_ran = mm_team_on_ran,
                                                    .on_state = on_state,
                                                    .on_lost = on_lost,
                                                    .on_output = on_output,
                                                    .on_closed = on_closed,
                                                    .on_kept = mm_team_on_kept };

/* Builds as the first host does: the modules are the same. */
static void describe_own(struct mm_config_host *own, const struct mm_config_host *first)
{
    static char label[] = MM_CONFIG_LOCAL;
    *own = (struct mm_config_host){ .label = label,
                                    .local = true,
                                    .cores = 1,
                                    .pin = MM_PIN_OFF,
                                    .cc = first->cc,
                                    .cflags = first->cflags,
                                    .libs = first->libs,
                                    .env = first->env,
                                    .required = true,
                                    .transport = MM_TRANSPORT_SHM };
}

/* This machine's child first, then the others in the order of the config. */
static int make_children(struct mm_node *team, const struct mm_team_hosts *hosts, mamuto_error_t *err)
{
    size_t n = 1;
    team->children = mm_alloc_array(hosts->n + 1, sizeof *team->children);
    if (!team->children)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for the nodes of %zu hosts", hosts->n);
    describe_own(&team->own, &hosts->hosts[0]);
    team->children[0] = (struct mm_child){ .ops = hosts->local, .config = &team->own, .host = SIZE_MAX };
    for (size_t i = 0; i < hosts->n; i++) {
        const struct mm_config_host *config = &hosts->hosts[i];
        struct mm_child *child = config->local ? &team->children[0] : &team->children[n++];
        child->ops = config->local ? hosts->local : hosts->remote;
        child->config = config;
        child->host = i;
    }
    team->n_children = n;
    for (size_t i = 0; i < n; i++)
        team->children[i].team = team;
    return 0;
}

/* A node of another host that cannot even begin is lost, which on_up says if nobody is left; this machine's is needed. */
static int open_children(struct mm_node *team, mamuto_error_t *err)
{
    int local_code = 0;
    for (size_t i = 0; i < team->n_children; i++) {
        struct mm_child *child = &team->children[i];
        mamuto_error_t why = { 0 };
        int code = child->ops->open(&child->node, child->config, team->loop, &team->child_events, child, &why);
        team->n_open += child->node != NULL;
        if (!code)
            continue;
        child->state = MM_CHILD_OUT;
        set_reason(child, &why);
        if (i == 0)
            local_code = mm_error_copy(err, &why);
        mm_team_wake(team, 0);
    }
    return local_code;
}

int mm_team_open(struct mm_node **out, const struct mm_team_hosts *hosts, uv_loop_t *loop,
                 const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_node *team = mm_alloc(sizeof *team);
    if (!team)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a node of %zu hosts", hosts->n);
    int code = make_children(team, hosts, err);
    if (code) {
        mm_free(team);
        return code;
    }
    team->loop = loop;
    team->events = events;
    team->owner = owner;
    team->child_events = child_events;
    if (!events->on_output && !events->on_host_output)
        team->child_events.on_output = NULL;
    uv_timer_init(loop, &team->timer); /* cannot fail */
    uv_unref((uv_handle_t *)&team->timer);
    team->timer.data = team;
    *out = team;
    return open_children(team, err);
}

static int open_one(struct mm_node **out, const struct mm_config_host *config, uv_loop_t *loop,
                    const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_team_hosts hosts = { config, 1, mm_node_kinds[MM_KIND_LOCAL], mm_node_kinds[MM_KIND_REMOTE] };
    return mm_team_open(out, &hosts, loop, events, owner, err);
}

/* --- operations that are this machine's alone --------------------------------------------------------------------------- */

static int prepare_help(struct mm_node *team, uint32_t module, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    return local->ops->prepare_help(local->node, module, err);
}

static void *alloc(struct mm_node *team, size_t bytes, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    if (local->node)
        return local->ops->alloc(local->node, bytes, err);
    mm_error_set(err, MAMUTO_EHOST, "%s", local->reason);
    return NULL;
}

static void free_array(struct mm_node *team, void *p)
{
    struct mm_child *local = mm_team_local(team);
    local->ops->free(local->node, p);
}

static uint64_t array_bytes(const struct mm_node *team, const void *p)
{
    const struct mm_child *local = &team->children[0];
    return local->node ? local->ops->array_bytes(local->node, p) : 0;
}

static int attach(struct mm_node *team, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    return local->node ? local->ops->attach(local->node, fd, offset, bytes, p, err)
                       : mm_error_set(err, MAMUTO_EHOST, "%s", local->reason);
}

static void *reserve(struct mm_node *team, size_t bytes, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    return local->ops->reserve(local->node, bytes, err);
}

static void settle(struct mm_node *team, void *p)
{
    struct mm_child *local = mm_team_local(team);
    local->ops->settle(local->node, p);
}

const struct mm_node_ops mm_node_team = { .kind = "team",
                                          .open = open_one,
                                          .close = close_team,
                                          .load = mm_team_load,
                                          .run = mm_team_run,
                                          .cancel = mm_team_cancel,
                                          .assist = mm_team_assist,
                                          .prepare_help = prepare_help,
                                          .alloc = alloc,
                                          .free = free_array,
                                          .array_bytes = array_bytes,
                                          .attach = attach,
                                          .reserve = reserve,
                                          .settle = settle,
                                          .keep = mm_team_keep,
                                          .cancel_keep = mm_team_cancel_keep,
                                          .drop = mm_team_drop,
                                          .workers = mm_team_workers,
                                          .progress = mm_team_progress,
                                          .spans = mm_team_spans,
                                          .describe = mm_team_describe,
                                          .hosts = mm_team_hosts,
                                          .describe_host = mm_team_describe_host };
