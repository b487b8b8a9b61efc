/* HMAC over both challenges: net/prove.h. */
#include "net/prove.h"

#include "core/error.h"
#include "net/tls_library.h"

#include <errno.h>
#include <sys/random.h>

static void make(const struct mm_proof *proof, enum mm_role role, unsigned char out[MM_PROOF_BYTES])
{
    const struct mm_tls_library *lib = mm_tls_library();
    unsigned char text[1 + 2 * MM_CHALLENGE_BYTES];
    bool master = proof->role == MM_ROLE_MASTER;
    unsigned n = MM_PROOF_BYTES;
    text[0] = role == MM_ROLE_MASTER ? 'M' : 'A';
    memcpy(text + 1, master ? proof->own : proof->other, MM_CHALLENGE_BYTES);
    memcpy(text + 1 + MM_CHALLENGE_BYTES, master ? proof->other : proof->own, MM_CHALLENGE_BYTES);
    memset(out, 0, MM_PROOF_BYTES);
    lib->HMAC(lib->EVP_sha256(), proof->key, MM_KEY_BYTES, text, sizeof text, out, &n);
}

int mm_proof_begin(struct mm_proof *proof, enum mm_role role, const unsigned char key[MM_KEY_BYTES],
                   mamuto_error_t *err)
{
    if (!mm_tls_library())
        return mm_error_set(err, MAMUTO_EHOST, "there is no libcrypto for the proof of the key");
    *proof = (struct mm_proof){ .role = role };
    memcpy(proof->key, key, sizeof proof->key);
    if (getrandom(proof->own, sizeof proof->own, 0) != (ssize_t)sizeof proof->own)
        return mm_error_system(err, errno, "no random numbers");
    return 0;
}

void mm_proof_hear(struct mm_proof *proof, const struct mm_prove *prove)
{
    memcpy(proof->other, prove->challenge, sizeof proof->other);
}

void mm_proof_fill(const struct mm_proof *proof, bool with_proof, struct mm_prove *prove)
{
    memcpy(prove->challenge, proof->own, sizeof proof->own);
    memset(prove->proof, 0, sizeof prove->proof);
    if (with_proof)
        make(proof, proof->role, prove->proof);
}

bool mm_proof_is_right(const struct mm_proof *proof, const struct mm_prove *prove)
{
    unsigned char right[MM_PROOF_BYTES];
    make(proof, proof->role == MM_ROLE_MASTER ? MM_ROLE_AGENT : MM_ROLE_MASTER, right);
    return mm_tls_library()->CRYPTO_memcmp(right, prove->proof, sizeof right) == 0;
}

void mm_proof_end(struct mm_proof *proof)
{
    if (mm_tls_library())
        mm_tls_library()->OPENSSL_cleanse(proof, sizeof *proof);
}
