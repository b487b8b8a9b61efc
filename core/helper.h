/* The helper program mamuto-agent, as a file of this machine. Plain C11 + POSIX. */
#ifndef MM_CORE_HELPER_H
#define MM_CORE_HELPER_H

#include "core/mamuto.h"

#include <limits.h>

#define MM_HELPER "mamuto-agent"

/* agent: the config's; NULL: $MAMUTO_AGENT, beside libmamuto, ../libexec/mamuto from there, the install prefix. EHOST: it is
 * not there; the sentence lists what was tried. */
int mm_helper_find(const char *agent, char path[PATH_MAX], mamuto_error_t *err);

#endif
