/* Which items of a call are open, claimed by one that writes them, or settled: kept as intervals. Pure: no descriptor, no
 * clock. Items are those of the call's range [first, first + n). */
#ifndef MM_CORE_CLAIMS_H
#define MM_CORE_CLAIMS_H

#include "core/mamuto.h"

#include <stdbool.h>

enum mm_claim_of { MM_ITEM_OPEN, MM_ITEM_CLAIMED, MM_ITEM_SETTLED };

struct mm_claims; /* intervals, by their first item, merged where they are alike */

struct mm_claims *mm_claims_new(uint64_t first, uint64_t n); /* all open; NULL: no memory */
void mm_claims_free(struct mm_claims *claims);

/* Of [first, first + n), the longest beginning whose items are all in one state (and, claimed, by one source): how many,
 * 1 at least. source: who has claimed them. */
uint64_t mm_claims_look(const struct mm_claims *claims, uint64_t first, uint64_t n, enum mm_claim_of *state,
                        uint32_t *source);
/* Claims [first, first + n), all of it open, for a source. ENOMEM: nothing has changed. */
int mm_claims_take(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source);
/* Items that a source has claimed, side by side, have their value, or have failed. ENOMEM: nothing has
 * changed; never where it is all that the source has claimed there, as when it is settled right after. */
int mm_claims_settle(struct mm_claims *claims, uint64_t first, uint64_t n, uint32_t source);
/* A source is gone: what it has claimed and not settled is open again. */
void mm_claims_release(struct mm_claims *claims, uint32_t source);
uint64_t mm_claims_settled(const struct mm_claims *claims); /* how many items */

#endif
