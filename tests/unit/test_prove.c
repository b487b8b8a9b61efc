/* Two ends that prove a key to each other, and everything that an end without it could try. */
#include "net/prove.h"

#include "net/tls_library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cmocka.h>

static unsigned char key[MM_KEY_BYTES], other_key[MM_KEY_BYTES];
static struct mm_proof master, agent;
static struct mm_prove first, second, third;
static mamuto_error_t err;
static bool sends;

static int begin(struct mm_proof *proof, enum mm_proof_role role, const unsigned char *its_key, struct mm_prove *out)
{
    return mm_proof_begin(proof, role, its_key, out, &sends, &err);
}

static int set_up(void **state)
{
    (void)state;
    for (int k = 0; k < MM_KEY_BYTES; k++)
        key[k] = (unsigned char)(7 * k + 1);
    memcpy(other_key, key, sizeof key);
    other_key[31] ^= 1;
    memset(&err, 0, sizeof err);
    memset(&third, 0xEE, sizeof third);
    assert_int_equal(begin(&agent, MM_PROOF_AGENT, key, &second), 0);
    assert_false(sends);
    assert_int_equal(begin(&master, MM_PROOF_MASTER, key, &first), 0);
    assert_true(sends);
    return 0;
}

static void assert_is_wiped(const struct mm_proof *proof)
{
    static const unsigned char zeros[MM_KEY_BYTES];
    assert_memory_equal(proof->key, zeros, sizeof zeros);
}

/* The end refuses the frame, sends nothing, forgets the key, and refuses everything from then on. */
static void assert_refuses(struct mm_proof *proof, const struct mm_prove *in, int code, const char *text)
{
    struct mm_prove out, untouched;
    memset(&out, 0x5A, sizeof out);
    untouched = out;
    assert_int_equal(mm_proof_take(proof, in, &out, &sends, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, text));
    assert_false(sends);
    assert_memory_equal(&out, &untouched, sizeof out);
    assert_int_equal(proof->state, MM_PROOF_FAILED);
    assert_is_wiped(proof);
    assert_int_equal(mm_proof_take(proof, &first, &out, &sends, NULL), MAMUTO_EPROTOCOL);
    assert_int_equal(mm_proof_take(proof, &third, &out, &sends, NULL), MAMUTO_EPROTOCOL);
    assert_false(sends);
}

static void take(struct mm_proof *proof, const struct mm_prove *in, struct mm_prove *out, bool and_sends)
{
    assert_int_equal(mm_proof_take(proof, in, out, &sends, &err), 0);
    assert_int_equal(sends, and_sends);
}

static void hmac(char letter, unsigned char out[MM_PROOF_BYTES])
{
    unsigned char text[33] = { (unsigned char)letter };
    unsigned n = 0;
    memcpy(text + 1, first.challenge, 16);
    memcpy(text + 17, second.challenge, 16);
    assert_non_null(HMAC(EVP_sha256(), key, sizeof key, text, sizeof text, out, &n));
    assert_int_equal(n, MM_PROOF_BYTES);
}

static void prove_with_the_key_ends_done_at_both_ends(void **state)
{
    (void)state;
    struct mm_prove nothing;
    take(&agent, &first, &second, true);
    take(&master, &second, &third, true);
    assert_int_equal(master.state, MM_PROOF_DONE);
    assert_is_wiped(&master);
    assert_int_equal(agent.state, MM_PROOF_CONFIRM);
    take(&agent, &third, &nothing, false);
    assert_int_equal(agent.state, MM_PROOF_DONE);
    assert_is_wiped(&agent);
}

static void prove_frames_hold_what_the_protocol_says(void **state)
{
    (void)state;
    unsigned char right[MM_PROOF_BYTES], zeros[MM_PROOF_BYTES] = { 0 };
    take(&agent, &first, &second, true);
    take(&master, &second, &third, true);
    assert_memory_equal(first.proof, zeros, sizeof zeros);
    assert_memory_not_equal(first.challenge, zeros, sizeof first.challenge);
    assert_memory_not_equal(first.challenge, second.challenge, sizeof first.challenge);
    assert_memory_equal(first.challenge, third.challenge, sizeof first.challenge);
    hmac('A', right);
    assert_memory_equal(second.proof, right, sizeof right);
    hmac('M', right);
    assert_memory_equal(third.proof, right, sizeof right);
}

static void prove_challenges_are_new_each_time(void **state)
{
    (void)state;
    unsigned char before[MM_CHALLENGE_BYTES];
    memcpy(before, first.challenge, sizeof before);
    assert_int_equal(begin(&master, MM_PROOF_MASTER, key, &first), 0);
    assert_memory_not_equal(before, first.challenge, sizeof before);
}

static void prove_a_master_with_another_key_is_refused_by_the_agent(void **state)
{
    (void)state;
    assert_int_equal(begin(&agent, MM_PROOF_AGENT, other_key, &second), 0);
    take(&agent, &first, &second, true);
    assert_refuses(&master, &second, MAMUTO_EHOST, "does not have this stream's key");
    memcpy(third.challenge, first.challenge, sizeof third.challenge); /* a guess */
    memset(&err, 0, sizeof err);
    assert_refuses(&agent, &third, MAMUTO_EHOST, "does not have this stream's key");
}

static void prove_each_wrong_bit_of_a_proof_is_seen(void **state)
{
    (void)state;
    struct mm_prove right, nothing;
    take(&agent, &first, &right, true);
    const struct mm_proof kept = master;
    for (unsigned bit = 0; bit < 8 * sizeof right; bit++) {
        second = right;
        unsigned char *byte = bit < 128 ? &second.challenge[bit / 8] : &second.proof[bit / 8 - 16];
        *byte ^= (unsigned char)(1u << bit % 8);
        master = kept;
        assert_int_equal(mm_proof_take(&master, &second, &nothing, &sends, NULL), MAMUTO_EHOST);
    }
    master = kept;
    take(&master, &right, &nothing, true);
}

static void prove_a_reflected_challenge_or_proof_is_refused(void **state)
{
    (void)state;
    struct mm_proof kept = master;
    assert_refuses(&master, &first, MAMUTO_EHOST, "key"); /* the master's own frame, sent back to him */
    /* A listener without the key, who uses an agent with it as oracle: what it answers to a challenge of his is of the
     * agent's role, and no third frame. */
    struct mm_prove answer;
    take(&agent, &first, &answer, true);
    memcpy(answer.challenge, first.challenge, sizeof answer.challenge);
    memset(&err, 0, sizeof err);
    assert_refuses(&agent, &answer, MAMUTO_EHOST, "key");
    /* A second stream of the same key is none either: its challenges are others. */
    memset(&err, 0, sizeof err);
    master = kept;
    assert_int_equal(begin(&agent, MM_PROOF_AGENT, key, &second), 0);
    assert_int_equal(begin(&kept, MM_PROOF_MASTER, key, &third), 0);
    take(&agent, &third, &second, true);
    assert_refuses(&master, &second, MAMUTO_EHOST, "key");
}

static void prove_a_replayed_stream_is_refused(void **state)
{
    (void)state;
    struct mm_prove again;
    take(&agent, &first, &second, true);
    take(&master, &second, &third, true);
    assert_int_equal(begin(&agent, MM_PROOF_AGENT, key, &again), 0);
    take(&agent, &first, &again, true);
    assert_refuses(&agent, &third, MAMUTO_EHOST, "key");
}

static void prove_frames_out_of_turn_are_refused(void **state)
{
    (void)state;
    struct mm_prove nothing;
    first.proof[31] = 1;
    assert_refuses(&agent, &first, MAMUTO_EPROTOCOL, "there is a proof in the first one");
    first.proof[31] = 0;
    memset(&err, 0, sizeof err);
    assert_int_equal(begin(&agent, MM_PROOF_AGENT, key, &second), 0);
    take(&agent, &first, &second, true);
    take(&master, &second, &third, true);
    third.challenge[0] ^= 1;
    assert_refuses(&agent, &third, MAMUTO_EPROTOCOL, "its challenge is not the one of the first");
    memset(&err, 0, sizeof err);
    assert_int_equal(mm_proof_take(&master, &second, &nothing, &sends, &err), MAMUTO_EPROTOCOL);
    assert_non_null(strstr(err.text, "nothing is left to be proved"));
}

static void prove_without_a_library_is_told(void **state)
{
    (void)state;
    struct mm_prove nothing;
    mm_tls_library_hide(true);
    int code = begin(&master, MM_PROOF_MASTER, key, &nothing);
    mm_tls_library_hide(false);
    assert_int_equal(code, MAMUTO_EHOST);
    assert_non_null(strstr(err.text, "there is no OpenSSL on this machine"));
}

static void prove_ended_early_forgets_the_key(void **state)
{
    (void)state;
    mm_proof_end(&agent);
    assert_refuses(&agent, &first, MAMUTO_EPROTOCOL, "nothing is left");
    mm_proof_end(&master);
    assert_is_wiped(&master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(prove_with_the_key_ends_done_at_both_ends, set_up),
        cmocka_unit_test_setup(prove_frames_hold_what_the_protocol_says, set_up),
        cmocka_unit_test_setup(prove_challenges_are_new_each_time, set_up),
        cmocka_unit_test_setup(prove_a_master_with_another_key_is_refused_by_the_agent, set_up),
        cmocka_unit_test_setup(prove_each_wrong_bit_of_a_proof_is_seen, set_up),
        cmocka_unit_test_setup(prove_a_reflected_challenge_or_proof_is_refused, set_up),
        cmocka_unit_test_setup(prove_a_replayed_stream_is_refused, set_up),
        cmocka_unit_test_setup(prove_frames_out_of_turn_are_refused, set_up),
        cmocka_unit_test_setup(prove_without_a_library_is_told, set_up),
        cmocka_unit_test_setup(prove_ended_early_forgets_the_key, set_up),
    };
    return cmocka_run_group_tests_name("prove", tests, NULL, NULL);
}
