/* Intervals of items that are alike, sorted, without gaps, no two neighbours alike. A change cuts at most two of them and
 * merges what has become alike, so there are never more than twice as many as there are pieces under way. Searched by
 * halving; moved by memmove, which at a hundred thousand intervals still costs less than the piece that it is about.
 * Called by nodes whose results may come twice, and by who gives runs to them.
 */
#include "core/claims.h"

#include "core/alloc.h"

struct interval {
    uint64_t first; /* it ends where the next one begins */
    enum mm_claim_of state;
    uint32_t source; /* 0 unless claimed */
};

struct mm_claims {
    struct interval *at;
    size_t n, room;
    uint64_t end; /* of the last */
    uint64_t settled;
};

enum { FIRST_ROOM = 4 };

struct mm_claims *mm_claims_new(uint64_t first, uint64_t n)
{
    struct mm_claims *claims = mm_alloc(sizeof *claims);
    struct interval *at = mm_alloc_array(FIRST_ROOM, sizeof *at);
    if (!claims || !at) {
        mm_free(claims);
        mm_free(at);
        return NULL;
    }
    at[0] = (struct interval){ .first = first, .state = MM_ITEM_OPEN };
    *claims = (struct mm_claims){ .at = at, .n = 1, .room = FIRST_ROOM, .end = first + n };
    return claims;
}

void mm_claims_free(struct mm_claims *claims)
{
    if (claims)
        mm_free(claims->at);
    mm_free(claims);
}

uint64_t mm_claims_settled(const struct mm_claims *claims) { return claims->settled; }

/* The interval that holds an item. */
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
    uint64_t alike = end_of(claims, i) - first;
    *state = claims->at[i].state;
    *source = claims->at[i].source;
    return alike < n ? alike : n;
}

static bool alike(const struct interval *a, const struct interval *b)
{
    return a->state == b->state && a->source == b->source;
}

static void insert(struct mm_claims *claims, size_t i, struct interval interval)
{
    memmove(&claims->at[i + 1], &claims->at[i], (claims->n - i) * sizeof *claims->at);
    claims->at[i] = interval;
    claims->n++;
}

/* Is it like the one before? Then they become one. */
static void merge(struct mm_claims *claims, size_t i)
{
    if (i == 0 || i >= claims->n || !alike(&claims->at[i - 1], &claims->at[i]))
        return;
    memmove(&claims->at[i], &claims->at[i + 1], (claims->n - i - 1) * sizeof *claims->at);
    claims->n--;
}

/* Cuts at an item, so that an interval begins there. Which. */
static size_t cut(struct mm_claims *claims, uint64_t item)
{
    size_t i = find(claims, item);
    if (claims->at[i].first == item)
        return i;
    struct interval rest = claims->at[i];
    rest.first = item;
    insert(claims, i + 1, rest);
    return i + 1;
}

/* A change cuts one interval in up to three. That of a whole one needs nothing. */
static bool make_room(struct mm_claims *claims, uint64_t first, uint64_t n)
{
    size_t i = find(claims, first), cuts = 0U + (claims->at[i].first != first) + (end_of(claims, i) != first + n);
    if (claims->n + cuts <= claims->room)
        return true;
    struct interval *more = mm_realloc(claims->at, 2 * claims->room * sizeof *more);
    if (!more)
        return false;
    claims->at = more;
    claims->room *= 2;
    return true;
}

/* [first, first + n), which lies in one interval, becomes another state. */
static int change(struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of state, uint32_t source)
{
    if (!make_room(claims, first, n))
        return MAMUTO_ENOMEM;
    if (first + n < claims->end)
        cut(claims, first + n);
    size_t i = cut(claims, first);
    claims->at[i].state = state;
    claims->at[i].source = source;
    merge(claims, i + 1);
    merge(claims, i);
    return 0;
}

int mm_claims_take(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
{
    return change(claims, first, n, MM_ITEM_CLAIMED, source);
}

int mm_claims_settle(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source)
{
    (void)source;
    int code = change(claims, first, n, MM_ITEM_SETTLED, 0);
    if (!code)
        claims->settled += n;
    return code;
}

void mm_claims_release(struct mm_claims *claims, uint32_t source)
{
    for (size_t i = 0; i < claims->n; i++)
        if (claims->at[i].state == MM_ITEM_CLAIMED && claims->at[i].source == source) {
            claims->at[i].state = MM_ITEM_OPEN;
            claims->at[i].source = 0;
        }
    size_t n = 1;
    for (size_t i = 1; i < claims->n; i++)
        if (!alike(&claims->at[n - 1], &claims->at[i]))
            claims->at[n++] = claims->at[i];
    claims->n = n;
}
