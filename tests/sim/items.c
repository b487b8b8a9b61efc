/* What becomes of each item, kept by somebody who sees everything: who runs it, claims it, has settled it. The
 * functions of core/claims.h are wrapped (--wrap of the linker), so that each claim of the real ones is held against
 * this; so is each byte that is written into a result. The planted bugs of claims are here, too. */
#include "core/claims.h"
#include "tests/sim/sim.h"

#include <string.h>

struct sim_call sim_calls[SIM_CALLS];

static int acting = SIM_TEAM;
static bool acting_fails;

static const uint64_t FIRST_OF_CALL = UINT64_C(1) << 32; /* items of call k begin somewhere behind (k + 1) times this */

int sim_act_for(int host, bool failing)
{
    int before = acting;
    acting = host;
    acting_fails = failing;
    return before;
}

struct sim_item *sim_item(uint64_t item, struct sim_call **call)
{
    uint64_t k = item / FIRST_OF_CALL - 1;
    if (k >= SIM_CALLS || !sim_calls[k].begun || item - sim_calls[k].run.first >= sim_calls[k].run.n)
        sim_broken("item %llu is of no call", (unsigned long long)item);
    if (call)
        *call = &sim_calls[k];
    return &sim_calls[k].items[item - sim_calls[k].run.first];
}

static unsigned long long number(uint64_t item) { return item % FIRST_OF_CALL; }

/* ---- what items come to ------------------------------------------------------------------------------------------ */

extern unsigned sim_fail_percent, sim_flaky_percent, sim_kill_permille;

bool sim_kills(uint64_t item) { return sim_hash(item, 1) % 1000 < sim_kill_permille; }

/* Those that kill an agent are failures here, where only the worker dies. Some fail on one host alone. */
bool sim_fails(uint64_t item, int host)
{
    return sim_kills(item) || sim_hash(item, 2) % 100 < sim_fail_percent ||
           (sim_hash(item, 3) % 100 < sim_flaky_percent && sim_hash(item, 4) % SIM_HOSTS == (unsigned)(host + 1));
}

void sim_value(uint64_t item, uint64_t in, void *out, size_t n)
{
    uint64_t value = sim_hash(item, in);
    for (size_t i = 0; i < n; i += sizeof value, value = value * 5 + 1)
        memcpy((char *)out + i, &value, n - i < sizeof value ? n - i : sizeof value);
}

/* ---- what happens to them ---------------------------------------------------------------------------------------- */

void sim_item_begins(uint64_t at, int host, bool copy)
{
    struct sim_call *call;
    struct sim_item *item = sim_item(at, &call);
    if (call->ended && host == SIM_LOCAL) /* an agent that was cut off does not know */
        sim_broken("item %llu begins on host %d, though its call has ended", number(at), host);
    item->begun++;
    if (call->once && item->begun > 1)
        sim_broken("item %llu, which is to run once, begins again on host %d", number(at), host);
    if (host != SIM_LOCAL || copy)
        return;
    if (item->state != SIM_OPEN)
        sim_broken("item %llu begins here, but is %s by host %d", number(at),
                   item->state == SIM_SETTLED ? "settled" : "claimed", item->host);
    item->state = SIM_RUNNING;
    item->host = host;
}

/* Two of them without a lease of its own, one with; and each time perhaps somebody else, who copies it. */
void sim_item_kills(uint64_t at)
{
    enum { MOST_DEATHS = 6 };
    struct sim_item *item = sim_item(at, NULL);
    if (++item->deaths > MOST_DEATHS)
        sim_broken("item %llu kills a %uth agent", number(at), item->deaths);
}

void sim_item_stored_here(uint64_t at, bool failed)
{
    struct sim_item *item = sim_item(at, NULL);
    if (item->state != SIM_RUNNING)
        sim_broken("item %llu is stored here, where it does not run", number(at));
    item->state = SIM_SETTLED;
    item->failed = failed;
}

void sim_check_write(const void *to, size_t n, int host)
{
    const unsigned char *at = to;
    for (int k = 0; k < SIM_CALLS; k++) {
        const struct sim_call *call = &sim_calls[k];
        if (!call->begun || at + n <= call->result || at >= call->result + call->result_bytes)
            continue;
        if (call->ended)
            sim_broken("host %d writes into the result of a call that has ended", host);
        size_t stride = (size_t)call->run.result_stride, begin = (size_t)(at - call->result);
        for (size_t i = begin / stride; i * stride < begin + n; i++)
            if (call->items[i].state != SIM_CLAIMED || call->items[i].host != host)
                sim_broken("host %d writes item %zu, which is not its to write (state %d, of %d)", host, i,
                           call->items[i].state, call->items[i].host);
    }
}

void sim_check_read(const void *from)
{
    const unsigned char *at = from;
    for (int k = 0; k < SIM_CALLS; k++) {
        const struct sim_call *call = &sim_calls[k];
        if (call->ended && ((at >= call->in && at < call->in + call->run.n * sizeof(uint64_t)) || at == call->value))
            sim_broken("arguments of a call that has ended are read");
    }
}

/* ---- claims, wrapped --------------------------------------------------------------------------------------------- */

struct mm_claims *real_mm_claims_new(uint64_t first, uint64_t n) SIM_REAL(mm_claims_new);
struct mm_claims *wrap_mm_claims_new(uint64_t first, uint64_t n) SIM_WRAP(mm_claims_new);
uint64_t real_mm_claims_look(const struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of *state,
                             uint32_t *source) SIM_REAL(mm_claims_look);
int real_mm_claims_take(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source) SIM_REAL(mm_claims_take);
int real_mm_claims_settle(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
    SIM_REAL(mm_claims_settle);
void real_mm_claims_release(struct mm_claims *claims, uint32_t source) SIM_REAL(mm_claims_release);
uint64_t wrap_mm_claims_look(const struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of *state,
                             uint32_t *source) SIM_WRAP(mm_claims_look);
int wrap_mm_claims_take(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source) SIM_WRAP(mm_claims_take);
int wrap_mm_claims_settle(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
    SIM_WRAP(mm_claims_settle);
void wrap_mm_claims_release(struct mm_claims *claims, uint32_t source) SIM_WRAP(mm_claims_release);

uint64_t wrap_mm_claims_look(const struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of *state,
                             uint32_t *source)
{
    uint64_t alike = real_mm_claims_look(claims, first, n, state, source);
    if (alike < 1 || alike > n)
        sim_broken("look says that %llu of %llu items are alike", (unsigned long long)alike, (unsigned long long)n);
    if ((sim_plant == SIM_PLANT_claims_twice && *state == MM_ITEM_CLAIMED && acting >= 0) ||
        (sim_plant == SIM_PLANT_settled_looks_open && *state == MM_ITEM_SETTLED && acting >= 0))
        *state = MM_ITEM_OPEN;
    return alike;
}

int wrap_mm_claims_take(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
{
    int code = real_mm_claims_take(claims, first, n, source);
    for (uint64_t i = first; i < first + n && !code; i++) {
        struct sim_item *item = sim_item(i, NULL);
        if (item->state != SIM_OPEN)
            sim_broken("host %d claims item %llu, which is %s, by host %d", acting, number(i),
                       item->state == SIM_SETTLED ? "settled" : "not open", item->host);
        item->state = SIM_CLAIMED;
        item->host = acting;
        item->source = source;
    }
    return code;
}

int wrap_mm_claims_settle(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
{
    n -= sim_plant == SIM_PLANT_settle_less && n > 1;
    int code = real_mm_claims_settle(claims, first, n, source);
    for (uint64_t i = first; i < first + n && !code; i++) {
        struct sim_item *item = sim_item(i, NULL);
        if (item->state != SIM_CLAIMED || item->source != source)
            sim_broken("item %llu is settled by source %u, which has not claimed it", number(i), source);
        item->state = SIM_SETTLED;
        item->host = acting;
        item->failed = acting_fails || acting == SIM_TEAM || (acting == SIM_LOCAL && sim_fails(i, SIM_LOCAL));
    }
    return code;
}

static void open_again(struct sim_call *call, uint32_t source)
{
    for (uint64_t i = 0; i < call->run.n; i++)
        if (call->items[i].state == SIM_CLAIMED && call->items[i].source == source)
            call->items[i].state = SIM_OPEN;
}

struct mm_claims *wrap_mm_claims_new(uint64_t first, uint64_t n)
{
    struct sim_call *call;
    sim_item(first, &call);
    call->claims = real_mm_claims_new(first, n);
    return call->claims;
}

static struct sim_call *call_of(const struct mm_claims *claims)
{
    for (int k = 0; k < SIM_CALLS; k++)
        if (sim_calls[k].begun && !sim_calls[k].ended && sim_calls[k].claims == claims)
            return &sim_calls[k];
    sim_broken("claims of a call that has ended are used");
}

void wrap_mm_claims_release(struct mm_claims *claims, uint32_t source)
{
    struct sim_call *call = call_of(claims);
    if (sim_plant == SIM_PLANT_release_nothing)
        return;
    open_again(call, source);
    real_mm_claims_release(claims, source);
    for (uint32_t other = 1; sim_plant == SIM_PLANT_release_opens_all && other < 100; other++)
        real_mm_claims_release(claims, other);
}
