/* The words by which master, script and agent know each other before there are frames. */
#ifndef MM_NET_LAUNCH_WORDS_H
#define MM_NET_LAUNCH_WORDS_H

/* Two halves, so that a command that is echoed does not look like an answer. */
#define MM_LAUNCH_MAGIC_A "mamu"
#define MM_LAUNCH_MAGIC_B "to-7d1e"

#endif
