/* Modules of other hosts, in place of net/remote_module.c: each is there at once, with one function. */
#include "net/remote.h"
#include "tests/sim/sim.h"

int mm_remote_load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                   mamuto_error_t *err)
{
    (void)path, (void)config, (void)err;
    if (node->state != MM_REMOTE_UP)
        return MAMUTO_EHOST;
    node->modules[module].loading = true;
    mm_remote_soon(node);
    return 0;
}

void mm_remote_report_modules(struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_REMOTE_MODULES; i++) {
        struct mm_remote_module *m = &node->modules[i];
        mamuto_error_t err = { .code = MAMUTO_EHOST };
        if (!m->loading)
            continue;
        m->loading = false;
        m->loaded |= !m->lost;
        if (!m->lost)
            node->events->on_function(node->owner, i, "f", "u64 -> u64", "", 0, 1);
        node->events->on_loaded(node->owner, i, m->lost ? err.code : 0, m->lost ? &err : NULL);
        m->lost = false;
    }
}

void mm_remote_modules_lost(struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_REMOTE_MODULES; i++)
        node->modules[i].lost = node->modules[i].loading;
}

int mm_remote_send_modules(struct mm_node *node)
{
    (void)node;
    return 0;
}

bool mm_remote_modules_there(const struct mm_node *node)
{
    (void)node;
    return true;
}

void mm_remote_free_modules(struct mm_node *node) { (void)node; }

int mm_remote_on_function(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    (void)body, (void)n;
    return mm_remote_wrong(node, "%s", mm_frame_name(frame->type));
}

int mm_remote_on_loaded(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    return mm_remote_on_function(node, frame, body, n);
}
