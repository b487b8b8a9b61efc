/* The ready agent that is sent to other hosts: this machine's mamuto-agent, read once a process. */
#ifndef MM_NET_PAYLOAD_H
#define MM_NET_PAYLOAD_H

#include "core/mamuto.h"

#include <stdbool.h>

struct mm_payload {
    const char *bytes;
    size_t n;
    char sha256[65]; /* "-": there is no OpenSSL to compute it by */
    char name[33];   /* what it is known by in a cache */
};

/* Thread-safe; blocks, the first time, to read the file. EHOST: it is not there; ESYSTEM, ENOMEM. */
int mm_payload(const struct mm_payload **payload, mamuto_error_t *err);
/* May it run on a host of this system, machine and libc? It is tried there anyway. */
bool mm_payload_fits(const char *system, const char *machine, const char *libc);

#endif
