/* Reading a small file, if nobody but this user or root could have written it. Plain C11 + POSIX. Blocks. */
#ifndef MM_CORE_OWNFILE_H
#define MM_CORE_OWNFILE_H

#include "core/mamuto.h"

/* Reads path whole into *text (to be freed with mm_free), with a NUL behind it that *length does not count.
 * Refused, with code and "name: what is wrong and what to do": what is missing, unreadable, no regular file, longer
 * than max_bytes, of another owner than this user or root, or writable by group or others. Also MAMUTO_ENOMEM. */
int mm_ownfile_read(const char *path, const char *name, size_t max_bytes, char **text, size_t *length, int code,
                    mamuto_error_t *err);

#endif
