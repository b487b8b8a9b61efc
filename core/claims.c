/* Which items of a call are open, claimed or settled: intervals, in one sorted array, merged where they are alike. Pure. */
#include "core/claims.h"

#include "core/alloc.h"

struct interval {
    uint64_t first; /* to the next one's first */
    enum mm_claim_of state;
    uint32_t source; /* claimed: by whom */
};

struct mm_claims {
    uint64_t first, end, settled;
    struct interval *at;
    size_t n, room;
};

struct mm_claims *mm_claims_new(uint64_t first, uint64_t n)
{
    struct mm_claims *claims = mm_alloc(sizeof *claims);
    if (!claims)
        return NULL;
    *claims = (struct mm_claims){ .first = first, .end = first + n, .room = 8, .n = 1 };
    claims->at = mm_alloc_array(claims->room, sizeof *claims->at);
    if (!claims->at) {
        mm_free(claims);
        return NULL;
    }
    claims->at[0] = (struct interval){ first, MM_ITEM_OPEN, 0 };
    return claims;
}

void mm_claims_free(struct mm_claims *claims)
{
    mm_free(claims->at);
    mm_free(claims);
}

static size_t find(const struct mm_claims *claims, uint64_t item)
{
    size_t low = 0, high = claims->n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (claims->at[middle].first <= item)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint64_t end_of(const struct mm_claims *claims, size_t i)
{
    return i + 1 < claims->n ? claims->at[i + 1].first : claims->end;
}

uint64_t mm_claims_look(const struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of *state,
                        uint32_t *source)
{
    size_t i = find(claims, first);
    uint64_t left = end_of(claims, i) - first;
    *state = claims->at[i].state;
    *source = claims->at[i].source;
    return left < n ? left : n;
}

static int split(struct mm_claims *claims, uint64_t item)
{
    size_t i = find(claims, item);
    if (item >= claims->end || claims->at[i].first == item)
        return 0;
    if (claims->n == claims->room) {
        struct interval *more = mm_realloc(claims->at, 2 * claims->room * sizeof *more);
        if (!more)
            return MAMUTO_ENOMEM;
        claims->at = more;
        claims->room *= 2;
    }
    memmove(&claims->at[i + 2], &claims->at[i + 1], (claims->n - i - 1) * sizeof *claims->at);
    claims->at[i + 1] = claims->at[i];
    claims->at[i + 1].first = item;
    claims->n++;
    return 0;
}

static void merge(struct mm_claims *claims)
{
    size_t n = 1;
    for (size_t i = 1; i < claims->n; i++)
        if (claims->at[i].state != claims->at[n - 1].state || claims->at[i].source != claims->at[n - 1].source)
            claims->at[n++] = claims->at[i];
    claims->n = n;
}

static int set(struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of state, uint32_t source)
{
    int code = split(claims, first);
    if (!code)
        code = split(claims, first + n);
    for (size_t i = find(claims, first); !code && i < claims->n && claims->at[i].first < first + n; i++) {
        claims->at[i].state = state;
        claims->at[i].source = source;
    }
    merge(claims);
    return code;
}

int mm_claims_take(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
{
    return set(claims, first, n, MM_ITEM_CLAIMED, source);
}

int mm_claims_settle(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
{
    (void)source;
    int code = set(claims, first, n, MM_ITEM_SETTLED, 0);
    claims->settled += code ? 0 : n;
    return code;
}

void mm_claims_release(struct mm_claims *claims, uint32_t source)
{
    for (size_t i = 0; i < claims->n; i++)
        if (claims->at[i].state == MM_ITEM_CLAIMED && claims->at[i].source == source)
            claims->at[i] = (struct interval){ claims->at[i].first, MM_ITEM_OPEN, 0 };
    merge(claims);
}

uint64_t mm_claims_settled(const struct mm_claims *claims) { return claims->settled; }
