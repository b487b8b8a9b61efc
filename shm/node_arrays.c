/* What the node of this machine does with memory: arrays in place, files, and what is kept. Operations of core/node.h,
 * called on the loop's thread. What is kept is copied by shm/keep.c.
 */
#include "shm/attach.h"
#include "shm/node_shm.h"

void *mm_node_shm_alloc(struct mm_node *node, size_t bytes, mamuto_error_t *err)
{
    return mm_arena_alloc(&node->pool.arena, bytes, err);
}

/* Little is had with its pages at once: they cost less than finding out what can be had. */
void *mm_node_shm_reserve(struct mm_node *node, size_t bytes, mamuto_error_t *err)
{
    static const size_t at_once = 2 << 20;
    bool cold;
    return bytes <= at_once ? mm_arena_alloc(&node->pool.arena, bytes, err)
                            : mm_arena_reserve(&node->pool.arena, bytes, &cold, err);
}

void mm_node_shm_settle(struct mm_node *node, void *p) { mm_arena_settle(&node->pool.arena, p); }

void mm_node_shm_free(struct mm_node *node, void *p) { mm_pool_free(&node->pool, p); }

uint64_t mm_node_shm_array_bytes(const struct mm_node *node, const void *p) { return mm_pool_size(&node->pool, p); }

int mm_node_shm_attach(struct mm_node *node, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err)
{
    if (node->pool.control < 0)
        return mm_error_set(err, MAMUTO_EHOST, "mamuto_attach: the workers of this machine are gone");
    return mm_attach_file(&node->pool, fd, offset, bytes, p, err);
}

int mm_node_shm_keep(struct mm_node *node, struct mm_keep *keep, mamuto_error_t *err)
{
    if (node->state == LOST || node->state == CLOSING)
        return mm_error_set(err, MAMUTO_EHOST, "mamuto_keep: the workers of this machine are gone");
    return mm_keeper_begin(&node->keeper, keep, err);
}

void mm_node_shm_cancel_keep(struct mm_node *node, struct mm_keep *keep)
{
    if (node->state != CLOSING) /* which ends it anyway */
        mm_keeper_cancel(&node->keeper, keep);
}

void mm_node_shm_drop(struct mm_node *node, struct mm_keep *keep)
{
    if (node->state != CLOSING) /* then the arena goes as a whole */
        mm_keeper_drop(&node->keeper, keep);
}
