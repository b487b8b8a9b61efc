/* Kept data of a team: this machine's node makes the copy; then the others are given it.
 *
 *   COPYING ── this machine has it ──► SPREADING ── every host that is up has it, or lost it, or refuses it ──► KEPT
 *
 * A host that comes, or comes back without it, is given it then. One that has no room for it is left out of the calls that
 * use it; where it is required, the keep fails. Runs go to hosts that have all that they name. A kind of node that cannot
 * keep reads the copy whenever it runs something.
 * One that was given up on its way (canceled) is dropped everywhere when all have answered.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/team_node.h"

#include <stdio.h>

static struct mm_team_keep *find(const struct mm_node *team, const struct mm_keep *keep)
{
    struct mm_team_keep *it = team->keeps;
    while (it && it->keep != keep)
        it = it->next;
    return it;
}

static void take_out(struct mm_node *team, struct mm_team_keep *it)
{
    struct mm_team_keep **at = &team->keeps;
    while (*at != it)
        at = &(*at)->next;
    *at = it->next;
}

static void free_keep(struct mm_team_keep *it)
{
    mm_free(it->why);
    mm_free(it);
}

void mm_team_free_keeps(struct mm_node *team)
{
    for (struct mm_team_keep *it; (it = team->keeps) != NULL;) {
        team->keeps = it->next;
        free_keep(it);
    }
}

static void refuse(struct mm_team_keep *it, struct mm_child *child, const mamuto_error_t *err)
{
    it->at[child - child->team->children] = MM_KEPT_REFUSED;
    if (!child->config->required || it->failed || (it->why = mm_alloc(sizeof *it->why)) == NULL)
        return;
    it->failed = child;
    *it->why = *err;
}

static void give(struct mm_team_keep *it, struct mm_child *child)
{
    uint8_t *at = &it->at[child - child->team->children];
    mamuto_error_t err = { 0 };
    if (!child->ops->keep) {
        *at = MM_KEPT_THERE;
        return;
    }
    int code = child->ops->keep(child->node, it->keep, &err);
    *at = code ? MM_KEPT_NOT_THERE : MM_KEPT_ASKED;
    if (code && code != MAMUTO_EHOST)
        refuse(it, child, &err);
}

/* The child is up: all that it lacks. */
void mm_team_keep_all(struct mm_child *child)
{
    size_t index = (size_t)(child - child->team->children);
    for (struct mm_team_keep *it = child->team->keeps; it && !mm_child_is_local(child); it = it->next)
        if (it->state != MM_TEAM_COPYING && !it->canceled && it->at[index] == MM_KEPT_NOT_THERE)
            give(it, child);
}

int mm_team_keep(struct mm_node *team, struct mm_keep *keep, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    struct mm_team_keep *it = mm_alloc(sizeof *it + team->n_children);
    if (!it)
        return mm_error_set(err, MAMUTO_ENOMEM, "mamuto_keep: no memory for a list of hosts");
    int code = local->ops->keep(local->node, keep, err);
    if (code) {
        mm_free(it);
        return code;
    }
    it->keep = keep;
    it->at[0] = MM_KEPT_ASKED;
    it->next = team->keeps;
    team->keeps = it;
    return 0;
}

void mm_team_cancel_keep(struct mm_node *team, struct mm_keep *keep)
{
    struct mm_team_keep *it = find(team, keep);
    if (!it || it->state == MM_TEAM_KEPT || team->closing)
        return;
    it->canceled = true;
    for (size_t i = 0; i < team->n_children; i++)
        if (it->at[i] == MM_KEPT_ASKED)
            team->children[i].ops->cancel_keep(team->children[i].node, keep);
    mm_team_wake(team, 0);
}

/* Everywhere; this machine's copy last, which others may be reading. */
static void drop_all(struct mm_node *team, struct mm_team_keep *it)
{
    for (size_t i = team->n_children; i-- > 0;) {
        struct mm_child *child = &team->children[i];
        bool there = it->at[i] == MM_KEPT_THERE || it->at[i] == MM_KEPT_ASKED;
        if (there && child->ops->drop && child->node && !child->closing)
            child->ops->drop(child->node, it->keep);
    }
    take_out(team, it);
    free_keep(it);
}

void mm_team_drop(struct mm_node *team, struct mm_keep *keep)
{
    struct mm_team_keep *it = find(team, keep);
    if (it && !team->closing)
        drop_all(team, it);
}

/* The child is gone, and so is what it had. */
void mm_team_forget_child(struct mm_child *child)
{
    size_t index = (size_t)(child - child->team->children);
    for (struct mm_team_keep *it = child->team->keeps; it && index; it = it->next)
        it->at[index] = MM_KEPT_NOT_THERE;
}

/* Is all that the run names at least so far there? */
static bool has_keeps(const struct mm_child *child, const struct mm_run *run, bool on_its_way)
{
    size_t index = (size_t)(child - child->team->children);
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_team_keep *it = run->in[k].keep ? find(child->team, run->in[k].keep) : NULL;
        if (it && it->at[index] != MM_KEPT_THERE && !(on_its_way && it->at[index] == MM_KEPT_ASKED))
            return false;
    }
    return true;
}

bool mm_team_has_keeps(const struct mm_child *child, const struct mm_run *run) { return has_keeps(child, run, false); }

bool mm_team_will_have_keeps(const struct mm_child *child, const struct mm_run *run)
{
    return has_keeps(child, run, true);
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

static void on_local(struct mm_node *team, struct mm_team_keep *it, int status, const mamuto_error_t *err)
{
    if (status) {
        struct mm_keep *keep = it->keep;
        take_out(team, it);
        free_keep(it);
        team->events->on_kept(team->owner, keep, status, err);
        return;
    }
    it->at[0] = MM_KEPT_THERE;
    it->state = MM_TEAM_SPREADING;
    for (size_t i = 1; i < team->n_children && !it->canceled; i++)
        if (team->children[i].state == MM_CHILD_UP)
            give(it, &team->children[i]);
}

void mm_team_on_kept(void *owner, struct mm_keep *keep, int status, const mamuto_error_t *err)
{
    struct mm_child *child = owner;
    struct mm_node *team = child->team;
    struct mm_team_keep *it = find(team, keep);
    if (!it || team->closing)
        return;
    size_t index = (size_t)(child - team->children);
    if (mm_child_is_local(child))
        on_local(team, it, status, err);
    else if (!status)
        it->at[index] = MM_KEPT_THERE;
    else if (status == MAMUTO_EHOST || status == MAMUTO_ECANCELED)
        it->at[index] = MM_KEPT_NOT_THERE;
    else
        refuse(it, child, err);
    mm_team_go_on(team);
}

/* All have answered. */
static void tell(struct mm_node *team, struct mm_team_keep *it)
{
    struct mm_keep *keep = it->keep;
    mamuto_error_t err = { 0 };
    if (it->canceled)
        mm_error_set(&err, MAMUTO_ECANCELED, "it was given up");
    else if (it->failed) {
        mm_error_set(&err, it->why->code, "%s, which is required: %.450s", mm_child_label(it->failed), it->why->text);
        snprintf(err.host, sizeof err.host, "%s", mm_child_label(it->failed));
    }
    it->state = MM_TEAM_KEPT;
    if (err.code)
        drop_all(team, it);
    team->events->on_kept(team->owner, keep, err.code, &err);
}

static struct mm_team_keep *next_settled(const struct mm_node *team)
{
    for (struct mm_team_keep *it = team->keeps; it; it = it->next) {
        bool waits = it->state != MM_TEAM_SPREADING;
        for (size_t i = 1; i < team->n_children && !waits; i++)
            waits |= it->at[i] == MM_KEPT_ASKED;
        if (!waits)
            return it;
    }
    return NULL;
}

void mm_team_settle_keeps(struct mm_node *team)
{
    for (struct mm_team_keep *it; !team->closing && (it = next_settled(team)) != NULL;)
        tell(team, it);
}
