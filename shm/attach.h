/* Files that a pool's owner has attached: shown read-only to this process and to all workers. */
#ifndef MM_SHM_ATTACH_H
#define MM_SHM_ATTACH_H

#include "shm/pool.h"

/* Maps bytes of an open file; *p is where they are. */
int mm_attach_file(struct mm_pool *pool, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err);
/* Gives the file at p back. -1: there is none. */
int mm_attach_give_back(struct mm_pool *pool, const void *p);
/* The file that begins at p; that holds p. NULL: there is none. */
const struct mm_attachment *mm_attach_of(const struct mm_pool *pool, const void *p);
const struct mm_attachment *mm_attach_around(const struct mm_pool *pool, const void *p);

/* Tells of files that were given back; one that the socket has no room for is told of later, its place kept till then. */
void mm_attach_tell_detached(struct mm_pool *pool);
/* Tells a new fork server of all of them. 0 or -errno. */
int mm_attach_hand_over(struct mm_pool *pool);
void mm_attach_fini(struct mm_pool *pool);

#endif
