/* Kept data of one host: sent to each of its agents from the master's copy, which stays until it is dropped.
 *
 * A keep that is given up, or dropped, while it is being sent ends with zeros there, and is forgotten. Called on the loop's
 * thread; reports come from the loop.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "net/remote.h"

static struct mm_remote_keep *find(const struct mm_node *node, const struct mm_keep *keep)
{
    struct mm_remote_keep *k = node->keeps;
    while (k && k->keep != keep)
        k = k->next;
    return k;
}

static uint64_t bytes_of(const struct mm_remote_keep *k)
{
    const struct mm_run_arg *in = &k->run.in[0];
    if (in->offsets)
        return (k->run.n + 1) * sizeof(int64_t) + (uint64_t)(in->high - in->low) * in->size;
    return in->stride ? k->run.n * in->size : in->size;
}

static int send_part(struct mm_node *node, struct mm_remote_keep *k, enum mm_frame_what what)
{
    struct mm_remote_input *in = &k->in[what];
    uint64_t n = mm_remote_input(in, &k->run, 0, what, k->id, &k->sending);
    struct mm_frame frame = { .type = MM_FRAME_KEEP, .id = k->id, .part = (uint32_t)what, .total = n };
    k->sending++;
    int code = mm_stream_send_source(mm_link_stream(node->stream), &frame, &in->source, 0, n);
    mm_link_wake(node->stream);
    return code;
}

static int send_keep(struct mm_node *node, struct mm_remote_keep *k)
{
    int code = k->run.in[0].offsets ? send_part(node, k, MM_WHAT_OFFSETS) : 0;
    return code ? code : send_part(node, k, MM_WHAT_ITEMS);
}

static void drop_sources(struct mm_node *node, struct mm_remote_keep *k)
{
    for (size_t i = 0; k->sending && node->stream && i < sizeof k->in / sizeof *k->in; i++)
        if (k->in[i].run)
            mm_stream_drop_source(mm_link_stream(node->stream), &k->in[i].source);
    k->sending = 0;
}

static void remove_keep(struct mm_node *node, struct mm_remote_keep *k)
{
    struct mm_remote_keep **at = &node->keeps;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    node->kept_bytes -= bytes_of(k);
    mm_free(k);
}

int mm_remote_keep(struct mm_node *node, struct mm_keep *keep, mamuto_error_t *err)
{
    if (node->state != MM_REMOTE_UP)
        return mm_error_set(err, MAMUTO_EHOST, "host %s: it is not up", node->host->label);
    struct mm_remote_keep *k = mm_alloc(sizeof *k);
    if (!k)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory to keep data on host %s", node->host->label);
    k->keep = keep;
    k->id = ++node->last_id;
    k->owed = true;
    k->run = (struct mm_run){ .n = keep->n, .n_in = 1, .in = { keep->in } };
    k->next = node->keeps;
    node->keeps = k;
    node->kept_bytes += bytes_of(k);
    if (send_keep(node, k)) /* half of it may be queued; on_kept is told from the loop */
        mm_remote_lose_agent(node, mm_stream_error(mm_link_stream(node->stream)));
    return 0;
}

static void end_keep(struct mm_node *node, struct mm_remote_keep *k, int status, const char *text)
{
    drop_sources(node, k);
    k->over = true;
    k->status = mm_error_set(&k->err, status, "%s", text);
    mm_remote_soon(node);
}

/* Nobody asks for it any more. */
static void forget(struct mm_node *node, struct mm_remote_keep *k)
{
    drop_sources(node, k);
    if (node->stream) {
        mm_stream_send(mm_link_stream(node->stream), MM_FRAME_FORGET, k->id, NULL, 0);
        mm_link_wake(node->stream);
    }
    remove_keep(node, k);
}

void mm_remote_cancel_keep(struct mm_node *node, struct mm_keep *keep)
{
    struct mm_remote_keep *k = find(node, keep);
    if (k && k->owed && !k->over)
        end_keep(node, k, MAMUTO_ECANCELED, "the keep was given up");
}

void mm_remote_drop(struct mm_node *node, struct mm_keep *keep)
{
    struct mm_remote_keep *k = find(node, keep);
    if (k)
        forget(node, k);
}

uint64_t mm_remote_object(const struct mm_node *node, const struct mm_keep *keep)
{
    const struct mm_remote_keep *k = find(node, keep);
    return k && k->there ? k->id : 0;
}

int mm_remote_on_kept(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_outcome_body outcome;
    const char *why = "";
    struct mm_remote_keep *k = node->keeps;
    if (mm_get_outcome(&outcome, body, n, &why))
        return mm_remote_wrong(node, "KEPT: %s", why);
    while (k && k->id != frame->id)
        k = k->next;
    if (!k || k->over)
        return 0; /* it was forgotten, or given up, meanwhile */
    if (!outcome.code && (k->sending || k->there))
        return mm_remote_wrong(node, "KEPT before all of it was sent, or again");
    k->there = !outcome.code;
    if (outcome.code)
        mm_outcome_to_error(&outcome, &k->err);
    k->over = k->owed;
    k->status = outcome.code;
    if (!k->owed && outcome.code) /* it was, by the agent before */
        mm_remote_lose_agent(node, &k->err);
    else
        mm_remote_soon(node);
    return 0;
}

int mm_remote_send_keeps(struct mm_node *node)
{
    int code = 0;
    for (struct mm_remote_keep *k = node->keeps; k && !code; k = k->next)
        code = send_keep(node, k);
    return code;
}

static struct mm_remote_keep *next_over(const struct mm_node *node)
{
    struct mm_remote_keep *k = node->keeps;
    while (k && !k->over)
        k = k->next;
    return k;
}

void mm_remote_report_keeps(struct mm_node *node)
{
    for (struct mm_remote_keep *k; (k = next_over(node)) != NULL;) {
        struct mm_keep *keep = k->keep;
        mamuto_error_t err = k->err;
        int status = k->status;
        k->owed = k->over = false;
        if (status)
            forget(node, k);
        node->events->on_kept(node->owner, keep, status, status ? &err : NULL);
    }
}

void mm_remote_keeps_lost(struct mm_node *node)
{
    for (struct mm_remote_keep *k = node->keeps; k; k = k->next) {
        drop_sources(node, k);
        k->there = false;
        if (k->owed && !k->over)
            end_keep(node, k, MAMUTO_EHOST, node->reason);
    }
}

bool mm_remote_keeps_there(const struct mm_node *node)
{
    for (const struct mm_remote_keep *k = node->keeps; k; k = k->next)
        if (!k->there && !k->owed)
            return false;
    return true;
}

void mm_remote_free_keeps(struct mm_node *node)
{
    while (node->keeps)
        remove_keep(node, node->keeps);
}
