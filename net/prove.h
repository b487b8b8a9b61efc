/* The plain stream's proof that both ends have the key, by HMAC-SHA256 over both challenges and a role:
 *   master: PROVE(challenge m, nothing)
 *   agent:  PROVE(challenge a, HMAC(key, "A" m a))   which the master checks
 *   master: PROVE(challenge m, HMAC(key, "M" m a))   which the agent checks
 * The key is never sent, and a proof of one role is none of the other. Pure but for random numbers; libcrypto by dlopen. */
#ifndef MM_NET_PROVE_H
#define MM_NET_PROVE_H

#include "net/message.h"

#include <stdbool.h>

enum mm_role { MM_ROLE_MASTER, MM_ROLE_AGENT };

struct mm_proof {
    unsigned char key[MM_KEY_BYTES], own[MM_CHALLENGE_BYTES], other[MM_CHALLENGE_BYTES];
    enum mm_role role;
};

/* EHOST: there is no libcrypto; ESYSTEM: no random numbers. */
int mm_proof_begin(struct mm_proof *proof, enum mm_role role, const unsigned char key[MM_KEY_BYTES],
                   mamuto_error_t *err);
/* The far side's challenge; before the own proof is made. */
void mm_proof_hear(struct mm_proof *proof, const struct mm_prove *prove);
/* The own challenge, and the own proof if the other one's challenge is known, else zeros. */
void mm_proof_fill(const struct mm_proof *proof, bool with_proof, struct mm_prove *prove);
/* Has the far side the key? In constant time. */
bool mm_proof_is_right(const struct mm_proof *proof, const struct mm_prove *prove);
void mm_proof_end(struct mm_proof *proof); /* wipes it */

#endif
