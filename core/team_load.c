/* Modules of a team: each node loads them, and all must have the same functions, in the same order.
 *
 *   asked for ── this machine has loaded it, and every host that is up, or is being started, has answered ──► on_loaded
 *
 * What a module has is told by this machine's node. Another host's description is kept as a text, and held against this
 * machine's when both are there; so what this machine cannot load either (no such file) is held against nobody. A host
 * that cannot load what this machine can, or has other functions, is of no use for the mapper: it is expelled, with that
 * reason; where it is required, the load fails. One that comes later is asked for all that is loaded. One that was lost
 * while it loaded is asked again when it is back.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/team_node.h"

#include <stdio.h>

enum { LINE = 1024 };

/* --- texts ---------------------------------------------------------------------------------------------------------- */

static void set_text(struct mm_child *child, uint32_t module, char *text)
{
    mm_free(child->texts[module]);
    child->texts[module] = text;
}

static bool has_texts(struct mm_child *child)
{
    if (!child->texts)
        child->texts = mm_alloc_array(MM_TEAM_MODULES, sizeof *child->texts);
    return child->texts != NULL;
}

/* One line a function. Without memory for it there is no text, which is then unlike any. */
static void add_line(struct mm_child *child, uint32_t module, const char *line)
{
    char *old = child->texts[module];
    size_t used = old ? strlen(old) : 0, bytes = strlen(line) + 1;
    char *text = mm_realloc(old, used + bytes);
    if (!text) {
        set_text(child, module, NULL);
        return;
    }
    memcpy(text + used, line, bytes);
    child->texts[module] = text;
}

void mm_team_free_texts(struct mm_child *child)
{
    for (uint32_t i = 0; child->texts && i < MM_TEAM_MODULES; i++)
        mm_free(child->texts[i]);
    mm_free(child->texts);
    child->texts = NULL;
}

/* The first line in which they differ, without its end. */
static void other_line(const char *mine, const char *theirs, char *here, char *there, size_t size)
{
    const char *a = mine ? mine : "", *b = theirs ? theirs : "";
    size_t same = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        same = a[i] == '\n' ? i + 1 : same;
    snprintf(here, size, "%.*s", (int)strcspn(a + same, "\n"), a + same);
    snprintf(there, size, "%.*s", (int)strcspn(b + same, "\n"), b + same);
}

/* --- asking ----------------------------------------------------------------------------------------------------------- */

/* A host that cannot load what this machine has loaded. */
static void refuse(struct mm_child *child, uint32_t module, const mamuto_error_t *why)
{
    struct mm_team_module *it = &child->team->modules[module];
    child->modules[module] = MM_MODULE_NOT_THERE;
    if (child->config->required && it->state == MM_TEAM_LOADING && !it->failed) {
        it->failed = child;
        it->code = why->code;
    }
    mm_team_expel(child, why);
}

static void ask(struct mm_child *child, uint32_t module)
{
    mamuto_error_t err = { 0 };
    const char *path = child->team->modules[module].path;
    if (!has_texts(child)) {
        mm_error_set(&err, MAMUTO_ENOMEM, "module %s: no memory for its functions", path);
        refuse(child, module, &err);
        return;
    }
    set_text(child, module, NULL);
    int code = child->ops->load(child->node, module, path, child->config, &err);
    if (!code)
        child->modules[module] = MM_MODULE_ASKED;
    else if (code != MAMUTO_EHOST) /* else it is about to be lost */
        refuse(child, module, &err);
}

void mm_team_load_all(struct mm_child *child)
{
    for (uint32_t i = 0; i < MM_TEAM_MODULES && child->state == MM_CHILD_UP && !mm_child_is_local(child); i++)
        if (child->team->modules[i].path && child->team->modules[i].state != MM_TEAM_FAILED &&
            child->modules[i] == MM_MODULE_NOT_THERE)
            ask(child, i);
}

int mm_team_load(struct mm_node *team, uint32_t module, const char *path, const struct mm_config_host *config,
                 mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    (void)config; /* each host has its own */
    if (module >= MM_TEAM_MODULES)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: %d modules are loaded, no more can be", path,
                            MM_TEAM_MODULES);
    char *copy = has_texts(local) ? mm_strdup(path) : NULL;
    if (!copy)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: no memory", path);
    int code = local->node ? local->ops->load(local->node, module, path, local->config, err)
                           : mm_error_set(err, MAMUTO_EHOST, "module %s: %s", path, local->reason);
    if (code) {
        mm_free(copy);
        return code;
    }
    set_text(local, module, NULL);
    local->modules[module] = MM_MODULE_ASKED;
    mm_free(team->modules[module].path);
    team->modules[module] = (struct mm_team_module){ .path = copy };
    team->n_loading++;
    for (size_t i = 1; i < team->n_children; i++)
        if (team->children[i].state == MM_CHILD_UP)
            ask(&team->children[i], module);
    return 0;
}

void mm_team_free_modules(struct mm_node *team)
{
    for (uint32_t i = 0; i < MM_TEAM_MODULES; i++)
        mm_free(team->modules[i].path);
}

/* Of this machine, a mapper knows no other functions than there are. */
bool mm_team_has_modules(const struct mm_child *child, const struct mm_run *run)
{
    const struct mm_function *fold = run->groups ? run->groups->fold : NULL;
    return mm_child_is_local(child) || ((!run->function || child->modules[run->function->module] == MM_MODULE_THERE) &&
                                        (!fold || child->modules[fold->module] == MM_MODULE_THERE));
}

bool mm_team_will_have_modules(const struct mm_child *child, const struct mm_run *run)
{
    const struct mm_function *fold = run->groups ? run->groups->fold : NULL;
    return mm_child_is_local(child) ||
           ((!run->function || child->modules[run->function->module] != MM_MODULE_NOT_THERE) &&
            (!fold || child->modules[fold->module] != MM_MODULE_NOT_THERE));
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

void mm_team_on_function(void *owner, uint32_t module, const char *name, const char *signature, const char *doc,
                         int form, int line)
{
    struct mm_child *child = owner;
    struct mm_node *team = child->team;
    char text[LINE];
    if (team->closing || module >= MM_TEAM_MODULES || child->modules[module] != MM_MODULE_ASKED)
        return;
    snprintf(text, sizeof text - 1, "%s \"%s\"%s", name, signature, form == MAMUTO_FORM_CHUNK ? ", a kernel" : "");
    strcat(text, "\n");
    add_line(child, module, text);
    if (mm_child_is_local(child))
        team->events->on_function(team->owner, module, name, signature, doc, form, line);
}

static void compare(struct mm_child *child, uint32_t module)
{
    const char *mine = mm_team_local(child->team)->texts[module], *theirs = child->texts[module];
    const char *path = child->team->modules[module].path;
    mamuto_error_t why = { 0 };
    if (mine && theirs && strcmp(mine, theirs) == 0) {
        child->modules[module] = MM_MODULE_THERE;
        set_text(child, module, NULL); /* as this machine's */
        return;
    }
    char here[LINE], there[LINE];
    other_line(mine, theirs, here, there, LINE);
    mm_error_set(&why, MAMUTO_EMODULE,
                 "module %.150s is another one there: it has %.100s, where this machine's has %.100s",
                 *path ? path : "(the program itself)", *there ? there : "no more functions",
                 *here ? here : "no more functions");
    refuse(child, module, &why);
}

static void judge(struct mm_child *child, uint32_t module)
{
    if (child->modules[module] == MM_MODULE_ANSWERED)
        compare(child, module);
    else if (child->modules[module] == MM_MODULE_REFUSED) {
        mamuto_error_t why = { 0 };
        const char *text = child->texts[module];
        mm_error_set(&why, MAMUTO_EMODULE, "%s", text ? text : "it cannot load a module");
        refuse(child, module, &why);
    }
}

/* This machine's verdict: what others have said can be judged now. */
static void on_local(struct mm_node *team, uint32_t module, int status, const mamuto_error_t *err)
{
    mm_team_local(team)->modules[module] = status ? MM_MODULE_NOT_THERE : MM_MODULE_THERE;
    if (status && team->modules[module].state == MM_TEAM_LOADING) {
        team->modules[module].state = MM_TEAM_FAILED;
        team->n_loading--;
    }
    for (size_t i = 1; i < team->n_children; i++)
        if (!status)
            judge(&team->children[i], module);
    if (status)
        team->events->on_loaded(team->owner, module, status, err);
}

void mm_team_on_loaded(void *owner, uint32_t module, int status, const mamuto_error_t *err)
{
    struct mm_child *child = owner;
    struct mm_node *team = child->team;
    if (team->closing || module >= MM_TEAM_MODULES || child->modules[module] != MM_MODULE_ASKED)
        return;
    if (mm_child_is_local(child))
        on_local(team, module, status, err);
    else if (status == MAMUTO_EHOST || team->modules[module].state == MM_TEAM_FAILED)
        child->modules[module] = MM_MODULE_NOT_THERE;
    else {
        child->modules[module] = status ? MM_MODULE_REFUSED : MM_MODULE_ANSWERED;
        if (status)
            set_text(child, module, mm_strdup(err->text)); /* NULL: a plain sentence does */
        if (mm_team_local(team)->modules[module] == MM_MODULE_THERE)
            judge(child, module);
    }
    mm_team_go_on(team);
}

/* --- on_loaded ---------------------------------------------------------------------------------------------------------- */

static bool is_awaited(const struct mm_child *child, uint32_t module)
{
    return (child->state == MM_CHILD_STARTING && !child->team->up) ||
           (child->state == MM_CHILD_UP && child->modules[module] == MM_MODULE_ASKED);
}

static void settle(struct mm_node *team, uint32_t module)
{
    struct mm_team_module *it = &team->modules[module];
    mamuto_error_t err = { 0 };
    bool waits = mm_team_local(team)->modules[module] != MM_MODULE_THERE;
    for (size_t i = 1; i < team->n_children; i++)
        waits |= is_awaited(&team->children[i], module);
    if (it->failed) {
        mm_error_set(&err, it->code, "%s, which is required: %.450s", mm_child_label(it->failed), it->failed->reason);
        snprintf(err.host, sizeof err.host, "%s", mm_child_label(it->failed));
    } else if (waits)
        return;
    it->state = err.code ? MM_TEAM_FAILED : MM_TEAM_LOADED;
    team->n_loading--;
    team->events->on_loaded(team->owner, module, err.code, &err);
}

void mm_team_settle_modules(struct mm_node *team)
{
    for (uint32_t i = 0; i < MM_TEAM_MODULES && team->n_loading && !team->closing; i++)
        if (team->modules[i].path && team->modules[i].state == MM_TEAM_LOADING)
            settle(team, i);
}
