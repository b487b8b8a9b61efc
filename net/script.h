/* What the far side's shell is told: to run an agent, from its cache, or as it is sent. net/PROTOCOL.md, Launch. */
#ifndef MM_NET_SCRIPT_H
#define MM_NET_SCRIPT_H

#include <stddef.h>

enum { MM_SCRIPT_BYTES = 8192 };

/* The one argument of the ssh exec, or the last one of the launch command. agent: a path there, which is run at once; NULL: by
 * the cache, under a name made of hash. -1: it does not fit, or the path has characters that a shell might take for its own. */
int mm_script_make(char *text, size_t size, const char *agent, const char *nonce, const char *hash);

#endif
