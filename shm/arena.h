/* The arena: one sparse shared-memory file, mapped once; extents of it are handed out, kept warm, punched out. */
#ifndef MM_SHM_ARENA_H
#define MM_SHM_ARENA_H

#include "core/mamuto.h"

#include <stdbool.h>

enum mm_extent_state { MM_EXTENT_FREE, MM_EXTENT_USED, MM_EXTENT_PUNCHING };

struct mm_extent {
    uint64_t offset, bytes;
    enum mm_extent_state state;
    bool warm;         /* has pages; in use without: they are being taken */
    bool sparse;       /* in use, of mm_arena_reserve_sparse */
    uint64_t released; /* when it became free: most recently used first */
};

struct mm_arena {
    int fd;
    char *base;
    uint64_t bytes;
    struct mm_extent *extents; /* by offset, without gaps */
    size_t n_extents, room;
    uint64_t clock, warm_free, warm_limit;
    uint64_t pageless; /* bytes in use whose pages are still to be taken */
    uint64_t budget;   /* for mm_arena_reserve_sparse, which is called too often to read it each time */
    uint64_t budget_ns;
};

/* Makes the file (memfd, else shm_open + shm_unlink) and maps it, as large as this machine's memory or the largest that
 * RLIMIT_AS and RLIMIT_FSIZE allow. No page is taken. ESYSTEM, ENOMEM. */
int mm_arena_init(struct mm_arena *arena, mamuto_error_t *err);
void mm_arena_fini(struct mm_arena *arena);

/* Bytes on a page boundary, all of its pages taken. ESIZE: beyond RLIMIT_FSIZE or the arena; ENOMEM: with what there
 * is. Blocks for as long as the kernel clears pages (0.7 s a GB), not at all for warm ones. */
void *mm_arena_alloc(struct mm_arena *arena, uint64_t bytes, mamuto_error_t *err);
/* The same at once, without pages where the extent has none yet (*cold): then mm_arena_populate takes them, piece by
 * piece and from any thread, and mm_arena_settle says that all are there. */
void *mm_arena_reserve(struct mm_arena *arena, uint64_t bytes, bool *cold, mamuto_error_t *err);
int mm_arena_populate(const struct mm_arena *arena, char *p, uint64_t bytes); /* 0, or errno */
void mm_arena_settle(struct mm_arena *arena, const void *p);
/* A long stretch without pages, for what comes by first touch and may be much or little: half of what can be had, an
 * eighth of what is left while there are others, and never the last eighth of it all; *bytes: how long it is. All of it
 * counts as used until it is trimmed or freed. NULL: there is nothing to be had. */
void *mm_arena_reserve_sparse(struct mm_arena *arena, uint64_t *bytes);
/* Only the first bytes of it are kept (none: p is free); the rest has never been touched. */
void mm_arena_trim(struct mm_arena *arena, const void *p, uint64_t bytes);
/* Is memory on its way back to the kernel? */
bool mm_arena_is_punching(const struct mm_arena *arena);
/* Gives it back. punch: what to give back to the kernel, since more is warm than the limit; bytes 0: nothing. The caller
 * has it punched out, then calls mm_arena_punched. -1: p is not the beginning of an extent in use. */
int mm_arena_free(struct mm_arena *arena, const void *p, struct mm_extent *punch);
void mm_arena_punch(struct mm_arena *arena, const struct mm_extent *punch); /* does it here */
void mm_arena_punched(struct mm_arena *arena, uint64_t offset);
bool mm_arena_holds(const struct mm_arena *arena, const void *p); /* is p an address of the arena, used or not? */
/* Does [p, p + bytes) lie in one extent in use? *offset: where. */
bool mm_arena_find(const struct mm_arena *arena, const void *p, uint64_t bytes, uint64_t *offset);

/* Bytes of the extent in use that begins at p; 0: there is none. */
uint64_t mm_arena_size(const struct mm_arena *arena, const void *p);

/* A new shared-memory file of this size, close-on-exec, no page taken; -1 with errno. */
int mm_shared_file(const char *name, uint64_t bytes);
/* Memory that can be taken without harm: the least of MemAvailable, the cgroups' and RLIMIT_FSIZE, less 5 %. */
uint64_t mm_memory_budget(void);

#endif
