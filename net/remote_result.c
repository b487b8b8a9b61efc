/* What comes of a lease: values and failures, each settled once, written only where it is this lease's to write.
 *
 * A piece of a result names its items. Those that are open in the call's claims are claimed by it and read straight to where
 * they belong; those of a result that lies apart, and pieces of which only some items are open, by way of a scratch; all
 * else is thrown away, as is everything of a lease that was revoked. An item that comes in several slices is claimed with
 * the first and settled with the last. Marks come before the items that they are about. What does not fit the lease ends the agent. Called from the stream.
 */
#include "core/alloc.h"
#include "core/claims.h"
#include "core/error.h"
#include "net/remote.h"

#include <stdio.h>

struct mm_remote_lease *mm_remote_find_lease(struct mm_node *node, uint64_t id)
{
    struct mm_remote_lease *lease = node->leases;
    while (lease && lease->id != id)
        lease = lease->next;
    return lease;
}

static bool is_live(const struct mm_remote_lease *lease) { return lease->run && !lease->over; }

static char *place_of(const struct mm_run *run, uint64_t item)
{
    return (char *)run->result + (ptrdiff_t)item * run->result_stride;
}

static uint64_t payload_of(const struct mm_frame *frame) { return frame->length - mm_frame_prefix(frame->type); }

/* Is it a piece of this lease, whole or the next slice of one item? */
static int check_piece(struct mm_node *node, const struct mm_remote_lease *lease, const struct mm_frame *frame)
{
    uint64_t end = lease->first + lease->n, n = payload_of(frame), size = frame->part ? 1 : lease->out_size;
    if (lease->closed)
        return mm_remote_wrong(node, "RESULT of a lease that is done");
    if (frame->lo < lease->first || frame->hi > end || frame->lo >= frame->hi)
        return mm_remote_wrong(node, "RESULT of items that are not of its lease");
    if (frame->hi - frame->lo > 1 || frame->part)
        return frame->offset || n % size || n / size != frame->hi - frame->lo
                   ? mm_remote_wrong(node, "RESULT of %llu items with %llu bytes",
                                     (unsigned long long)(frame->hi - frame->lo), (unsigned long long)n)
                   : 0;
    bool next = frame->offset == lease->next_offset && (!frame->offset || frame->lo == lease->lo);
    if (!next || !n || n > size - (frame->offset < size ? frame->offset : size))
        return mm_remote_wrong(node, "RESULT: %llu bytes at %llu of an item of %llu", (unsigned long long)n,
                               (unsigned long long)frame->offset, (unsigned long long)size);
    return 0;
}

static bool needs_scratch(const struct mm_run *run, uint64_t n)
{
    return n > 1 && run->result_stride != (ptrdiff_t)run->out_size;
}

/* A piece begins: where it goes. */
static int choose_place(struct mm_node *node, struct mm_remote_lease *lease, const struct mm_frame *frame)
{
    uint64_t n = frame->hi - frame->lo;
    enum mm_claim_of state;
    uint32_t source;
    uint64_t alike = mm_claims_look(lease->claims, frame->lo, n, &state, &source);
    if (alike == n && state == MM_ITEM_CLAIMED && source == lease->source)
        return 0; /* asked again before its first byte is there */
    lease->lo = frame->lo;
    lease->place = MM_REMOTE_AWAY_WITH_IT;
    lease->lacks |= state == MM_ITEM_CLAIMED;
    if (alike == n && state != MM_ITEM_OPEN)
        return 0;
    if (alike < n || needs_scratch(lease->run, n)) {
        if (!node->scratch && !(node->scratch = mm_alloc(MM_FRAME_MOST)))
            return mm_stream_fail(mm_link_stream(node->stream), "no memory for a piece of a result");
        lease->place = MM_REMOTE_IN_SCRATCH;
        return 0;
    }
    lease->place = MM_REMOTE_IN_PLACE;
    return mm_claims_take(lease->claims, frame->lo, n, lease->source)
               ? mm_stream_fail(mm_link_stream(node->stream), "no memory for a piece of a result")
               : 0;
}

int mm_remote_on_result(struct mm_node *node, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_remote_lease *lease = mm_remote_find_lease(node, frame->id);
    if (!lease)
        return mm_remote_wrong(node, "RESULT of a lease that it does not have");
    int code = done ? 0 : check_piece(node, lease, frame);
    *to = NULL;
    if (code || !is_live(lease))
        return code;
    struct mm_run *run = lease->run;
    if (frame->part == MM_WHAT_ABSENT)
        *to = run->groups && run->groups->absent ? run->groups->absent_out + (frame->lo - lease->first) + done : NULL;
    else if (frame->part == MM_WHAT_MARKS && run->marks) {
        if (!lease->marks && !(lease->marks = mm_alloc(lease->n)))
            return mm_stream_fail(mm_link_stream(node->stream), "no memory for the marks of a result");
        *to = lease->marks + (frame->lo - lease->first) + done;
    }
    if (frame->part)
        return *to ? 0 : mm_remote_wrong(node, "RESULT of a kind that was not asked for");
    if (!done && !frame->offset)
        code = choose_place(node, lease, frame);
    if (code)
        return code;
    if (lease->place == MM_REMOTE_IN_SCRATCH)
        *to = node->scratch + done;
    else if (lease->place == MM_REMOTE_IN_PLACE && run->result)
        *to = place_of(run, frame->lo) + frame->offset + done;
    return 0;
}

static void log_span(const struct mm_node *node, const struct mm_remote_lease *lease, uint64_t first, uint64_t n)
{
    struct mm_span_log *log = lease->run->log;
    if (!log)
        return;
    if (log->n == log->room)
        log->flush(log->run);
    if (log->n == log->room)
        return;
    uint64_t begun = lease->begun_ns < log->begun_ns ? log->begun_ns : lease->begun_ns;
    log->at[log->n++] = (mamuto_span_t){
        .first = first, .count = n, .host = node->host->label, .worker = -1, .start_ns = begun, .end_ns = uv_hrtime()
    };
}

/* Marks go with the values that they are about: of what somebody else settles, he says what has failed. */
static int settle(struct mm_node *node, struct mm_remote_lease *lease, uint64_t first, uint64_t n)
{
    if (mm_claims_settle(lease->claims, first, n, lease->source))
        return mm_stream_fail(mm_link_stream(node->stream), "no memory for a piece of a result");
    if (lease->marks && lease->run->marks)
        memcpy(lease->run->marks + (first - lease->first), lease->marks + (first - lease->first), n);
    log_span(node, lease, first, n);
    lease->settled += n;
    node->items += n;
    return 0;
}

/* Of a piece in the scratch, the items that are open. */
static int place_scratch(struct mm_node *node, struct mm_remote_lease *lease, const struct mm_frame *frame)
{
    size_t size = lease->out_size;
    enum mm_claim_of state;
    uint32_t source;
    for (uint64_t at = frame->lo, n; at < frame->hi; at += n) {
        n = mm_claims_look(lease->claims, at, frame->hi - at, &state, &source);
        lease->lacks |= state == MM_ITEM_CLAIMED;
        if (state != MM_ITEM_OPEN)
            continue;
        if (mm_claims_take(lease->claims, at, n, lease->source))
            return mm_stream_fail(mm_link_stream(node->stream), "no memory for a piece of a result");
        for (uint64_t i = at; lease->run->result && i < at + n; i++)
            memcpy(place_of(lease->run, i), node->scratch + (i - frame->lo) * size, size);
        int code = settle(node, lease, at, n);
        if (code)
            return code;
    }
    return 0;
}

int mm_remote_on_result_end(struct mm_node *node, const struct mm_frame *frame)
{
    struct mm_remote_lease *lease = mm_remote_find_lease(node, frame->id);
    if (!lease || frame->part)
        return 0;
    uint64_t end = frame->offset + payload_of(frame);
    bool whole = frame->hi - frame->lo > 1 || end == lease->out_size;
    lease->lo = frame->lo;
    lease->next_offset = whole ? 0 : end;
    if (!whole || !is_live(lease) || lease->place == MM_REMOTE_AWAY_WITH_IT)
        return 0;
    if (lease->place == MM_REMOTE_IN_SCRATCH)
        return place_scratch(node, lease, frame);
    return settle(node, lease, frame->lo, frame->hi - frame->lo);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

static mamuto_error_t *next_error(struct mm_remote_lease *lease)
{
    if (lease->n_errors == MM_REMOTE_ERRORS)
        return NULL;
    if (lease->n_errors == lease->room) {
        uint32_t room = lease->room ? 2 * lease->room : 4;
        mamuto_error_t *more = mm_realloc(lease->errors, room * sizeof *more);
        if (!more)
            return NULL; /* it is counted, and not told */
        lease->errors = more;
        lease->room = room;
    }
    return &lease->errors[lease->n_errors++];
}

int mm_remote_on_fail(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_remote_lease *lease = mm_remote_find_lease(node, frame->id);
    struct mm_outcome_body outcome;
    enum mm_claim_of state;
    uint32_t source;
    const char *why = "";
    if (!lease || lease->closed)
        return mm_remote_wrong(node, "FAIL of a lease that it does not have");
    if (mm_get_outcome(&outcome, body, n, &why) || !outcome.code)
        return mm_remote_wrong(node, "FAIL: %s", outcome.code ? why : "the code is 0");
    if (!is_live(lease))
        return 0;
    uint64_t item = lease->run->groups ? outcome.item / lease->run->groups->group_items : outcome.item;
    if (item < lease->first || item - lease->first >= lease->n)
        return mm_remote_wrong(node, "FAIL of an item that is not of its lease");
    mm_claims_look(lease->claims, item, 1, &state, &source);
    lease->lacks |= state == MM_ITEM_CLAIMED;
    if (state != MM_ITEM_OPEN)
        return 0; /* somebody else was first; or it failed in a group that has failed */
    if (mm_claims_take(lease->claims, item, 1, lease->source))
        return mm_stream_fail(mm_link_stream(node->stream), "no memory for a failure");
    if (lease->run->result)
        memset(place_of(lease->run, item), 0, lease->out_size);
    if (lease->run->marks)
        lease->run->marks[item - lease->first] = 1;
    mamuto_error_t *err = next_error(lease);
    if (err) {
        memset(err, 0, sizeof *err);
        mm_outcome_to_error(&outcome, err);
        snprintf(err->host, sizeof err->host, "%s", node->host->label);
    }
    lease->failed++;
    if (lease->marks && lease->run->marks)
        lease->marks[item - lease->first] = 1;
    return settle(node, lease, item, 1);
}
