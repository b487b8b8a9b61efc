/* The proof of a plain stream's key: who sends what is in net/prove.h.
 *
 *   master:               ANSWER  ---> DONE        any ---> FAILED
 *   agent:   CHALLENGE -> CONFIRM ---> DONE
 *
 * Invariants: a proof is compared in a time that does not depend on it; nothing of ours but a random challenge is sent by
 * the master before the agent's proof was right; the key is wiped in DONE and FAILED. Called by both ends when a PROVE
 * frame has come; sends nothing itself.
 */
#include "net/prove.h"

#include "core/error.h"
#include "net/tls_library.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const unsigned char no_proof[MM_PROOF_BYTES];

static int make_proof(const struct mm_proof *p, char letter, unsigned char proof[MM_PROOF_BYTES], mamuto_error_t *err)
{
    const struct mm_tls_library *library = mm_tls_library();
    unsigned char text[1 + 2 * MM_CHALLENGE_BYTES];
    unsigned n = MM_PROOF_BYTES;
    if (!library)
        return mm_error_set(err, MAMUTO_EHOST, "there is no OpenSSL on this machine: %s", mm_tls_library_why());
    text[0] = (unsigned char)letter;
    memcpy(text + 1, p->master, MM_CHALLENGE_BYTES);
    memcpy(text + 1 + MM_CHALLENGE_BYTES, p->agent, MM_CHALLENGE_BYTES);
    if (!library->HMAC(library->EVP_sha256(), p->key, MM_KEY_BYTES, text, sizeof text, proof, &n))
        return mm_error_set(err, MAMUTO_ENOMEM, "not enough memory for a proof of the stream's key");
    return 0;
}

static int check_proof(const struct mm_proof *p, char letter, const unsigned char proof[MM_PROOF_BYTES],
                       mamuto_error_t *err)
{
    unsigned char right[MM_PROOF_BYTES];
    int code = make_proof(p, letter, right, err);
    if (code)
        return code;
    bool is_right = mm_tls_library()->CRYPTO_memcmp(proof, right, sizeof right) == 0;
    mm_tls_library()->OPENSSL_cleanse(right, sizeof right);
    return is_right ? 0 : mm_error_set(err, MAMUTO_EHOST, "the far side does not have this stream's key");
}

static int draw(unsigned char challenge[MM_CHALLENGE_BYTES], mamuto_error_t *err)
{
    ssize_t n;
    do
        n = getrandom(challenge, MM_CHALLENGE_BYTES, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return mm_error_system(err, errno, "this machine gives no random numbers");
    return 0; /* so few bytes come whole */
}

static int wrong_frame(mamuto_error_t *err, const char *what)
{
    return mm_error_set(err, MAMUTO_EPROTOCOL, "a PROVE frame is wrong: %s", what);
}

/* --- what each state does with a frame ----------------------------------------------------------------------------- */

static int take_challenge(struct mm_proof *p, const struct mm_prove *in, struct mm_prove *out, bool *sends,
                          mamuto_error_t *err)
{
    if (memcmp(in->proof, no_proof, sizeof no_proof) != 0)
        return wrong_frame(err, "there is a proof in the first one");
    struct mm_prove answer;
    memcpy(p->master, in->challenge, sizeof p->master);
    memcpy(answer.challenge, p->agent, sizeof p->agent);
    int code = make_proof(p, 'A', answer.proof, err);
    if (code)
        return code;
    *out = answer;
    *sends = true;
    p->state = MM_PROOF_CONFIRM;
    return 0;
}

static int take_answer(struct mm_proof *p, const struct mm_prove *in, struct mm_prove *out, bool *sends,
                       mamuto_error_t *err)
{
    struct mm_prove confirmation;
    memcpy(p->agent, in->challenge, sizeof p->agent);
    int code = check_proof(p, 'A', in->proof, err);
    if (!code)
        code = make_proof(p, 'M', confirmation.proof, err);
    if (code)
        return code;
    memcpy(confirmation.challenge, p->master, sizeof p->master);
    *out = confirmation;
    *sends = true;
    mm_proof_end(p);
    p->state = MM_PROOF_DONE;
    return 0;
}

static int take_confirmation(struct mm_proof *p, const struct mm_prove *in, mamuto_error_t *err)
{
    if (memcmp(in->challenge, p->master, sizeof p->master) != 0)
        return wrong_frame(err, "its challenge is not the one of the first");
    int code = check_proof(p, 'M', in->proof, err);
    if (code)
        return code;
    mm_proof_end(p);
    p->state = MM_PROOF_DONE;
    return 0;
}

static int take(struct mm_proof *p, const struct mm_prove *in, struct mm_prove *out, bool *sends, mamuto_error_t *err)
{
    switch (p->state) {
    case MM_PROOF_CHALLENGE:
        return take_challenge(p, in, out, sends, err);
    case MM_PROOF_ANSWER:
        return take_answer(p, in, out, sends, err);
    case MM_PROOF_CONFIRM:
        return take_confirmation(p, in, err);
    case MM_PROOF_DONE:
    case MM_PROOF_FAILED:
        break;
    }
    return wrong_frame(err, "nothing is left to be proved");
}

/* --- the calls ------------------------------------------------------------------------------------------------------ */

int mm_proof_begin(struct mm_proof *proof, enum mm_proof_role role, const unsigned char key[MM_KEY_BYTES],
                   struct mm_prove *out, bool *sends, mamuto_error_t *err)
{
    bool is_master = role == MM_PROOF_MASTER;
    struct mm_proof p = { .role = role, .state = is_master ? MM_PROOF_ANSWER : MM_PROOF_CHALLENGE };
    if (!mm_tls_library())
        return mm_error_set(err, MAMUTO_EHOST, "there is no OpenSSL on this machine: %s", mm_tls_library_why());
    int code = draw(is_master ? p.master : p.agent, err);
    if (code)
        return code;
    *proof = p;
    memcpy(proof->key, key, sizeof proof->key);
    *sends = is_master;
    if (is_master) {
        memset(out, 0, sizeof *out);
        memcpy(out->challenge, p.master, sizeof p.master);
    }
    return 0;
}

int mm_proof_take(struct mm_proof *proof, const struct mm_prove *in, struct mm_prove *out, bool *sends,
                  mamuto_error_t *err)
{
    *sends = false;
    int code = take(proof, in, out, sends, err);
    if (code)
        mm_proof_end(proof);
    return code;
}

void mm_proof_end(struct mm_proof *proof)
{
    explicit_bzero(proof->key, sizeof proof->key);
    if (proof->state != MM_PROOF_DONE)
        proof->state = MM_PROOF_FAILED;
}
