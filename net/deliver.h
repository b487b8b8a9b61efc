/* What the far side's shell answers, before there are frames: bytes to words. Pure. */
#ifndef MM_NET_DELIVER_H
#define MM_NET_DELIVER_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MM_DELIVER_FOREIGN = 64 << 10, /* most bytes of others before the first word: start-up files print */
    MM_DELIVER_LINE = 1024,
};

enum mm_delivered {
    MM_DELIVERED_NOTHING, /* more must come */
    MM_DELIVERED_NEED,    /* it has no agent: system, machine, libc */
    MM_DELIVERED_GOT,     /* what was sent runs, and will speak */
    MM_DELIVERED_BAD,     /* why */
    MM_DELIVERED_AGENT,   /* an agent speaks: frames follow */
    MM_DELIVERED_WRONG,   /* it does not make sense; why */
};

struct mm_deliver {
    char key[96]; /* magic and nonce, with a blank behind */
    size_t foreign;
    bool spoken; /* the first word has come: nothing foreign may come any more */
    char why[MM_DELIVER_LINE];
    char system[64], machine[64], libc[64];
};

void mm_deliver_begin(struct mm_deliver *deliver, const char *nonce);
/* Bytes that have come; *used: so many are done with. */
enum mm_delivered mm_deliver_take(struct mm_deliver *deliver, const void *bytes, size_t n, size_t *used);

#endif
