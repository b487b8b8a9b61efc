/* How the two ends of a plain stream prove to each other that they have its key, without telling it. Pure: no
 * descriptor, no clock; randomness and HMAC-SHA256 alone. Plain C11 + POSIX, for the master and for the agent.
 *
 * Three PROVE frames, the first on the stream. C is a challenge of 16 random bytes of the one who sends it first;
 * HMAC is HMAC-SHA256 by the stream's key over 33 bytes: a letter, then the master's challenge, then the agent's.
 *
 *   master -> agent    challenge C(m),       proof of 32 zeros
 *   agent -> master    challenge C(a),       proof HMAC("A", C(m), C(a))
 *   master -> agent    challenge C(m) again, proof HMAC("M", C(m), C(a))
 *
 * The agent, who cannot choose who dials it, waits for the first; the master, who dialled, gets the first proof, and
 * sends its own, then BIND, only after that one was right. The letter tells the roles apart, so that nobody's proof can be
 * sent back to him; both challenges are in each proof, so that none of an earlier stream is of use. A frame out of turn or
 * with something else in it ends the stream. Only a right third frame may be followed by BIND, and BIND by anything else.
 *
 * This keeps out strangers who dial, and listeners that took the agent's place: they learn nothing and are sent nothing.
 * It does not keep out one who sits between and hands on every byte: who has to fear that uses TLS. */
#ifndef MM_NET_PROVE_H
#define MM_NET_PROVE_H

#include "net/message.h"

enum mm_proof_role { MM_PROOF_MASTER, MM_PROOF_AGENT };
enum mm_proof_state {
    MM_PROOF_CHALLENGE, /* agent: waits for the first frame */
    MM_PROOF_ANSWER,    /* master: waits for the second */
    MM_PROOF_CONFIRM,   /* agent: waits for the third */
    MM_PROOF_DONE,      /* the far side has the key */
    MM_PROOF_FAILED,
};

struct mm_proof {
    enum mm_proof_role role;
    enum mm_proof_state state;
    unsigned char key[MM_KEY_BYTES]; /* wiped when it is DONE or FAILED */
    unsigned char master[MM_CHALLENGE_BYTES], agent[MM_CHALLENGE_BYTES];
};

/* The key is copied. *sends: out is to be sent. EHOST: no libcrypto here (the stream goes into the channel); ESYSTEM: no
 * randomness. */
int mm_proof_begin(struct mm_proof *proof, enum mm_proof_role role, const unsigned char key[MM_KEY_BYTES],
                   struct mm_prove *out, bool *sends, mamuto_error_t *err);
/* A PROVE frame has come. *sends: out is to be sent, also when it is DONE by that. EHOST: the far side has not the key;
 * EPROTOCOL: a frame out of turn, or not as it must be; ENOMEM. Then nothing is to be sent, and it has FAILED. */
int mm_proof_take(struct mm_proof *proof, const struct mm_prove *in, struct mm_prove *out, bool *sends,
                  mamuto_error_t *err);
/* Forgets the key; at any time. */
void mm_proof_end(struct mm_proof *proof);

#endif
