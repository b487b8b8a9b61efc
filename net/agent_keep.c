/* Kept data of an agent: received straight into the arena, whole when all of it has come, there until it is forgotten and no
 * lease uses it. One that there is no memory for is thrown away as it comes, and told when its last byte is there.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "net/agent.h"

#include <inttypes.h>

static struct mm_agent_object *find(struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_object *o = agent->objects;
    while (o && o->id != id)
        o = o->next;
    return o;
}

struct mm_agent_object *mm_agent_object(struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_object *o = find(agent, id);
    return o && o->kept && !o->forgotten ? o : NULL;
}

static struct mm_agent_object *find_or_make(struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_object *o = find(agent, id);
    if (o || !(o = mm_alloc(sizeof *o)))
        return o;
    o->id = id;
    o->next = agent->objects;
    agent->objects = o;
    return o;
}

static void free_object(struct mm_agent *agent, struct mm_agent_object *o)
{
    struct mm_agent_object **at = &agent->objects;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    for (int i = 0; i < 2; i++)
        mm_agent_give(agent, o->bytes[i], o->total[i] ? o->total[i] : 1);
    mm_free(o);
}

static int send_kept(struct mm_agent *agent, const struct mm_agent_object *o, const mamuto_error_t *err)
{
    unsigned char body[1024];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_outcome_body outcome;
    mm_error_to_outcome(err, &outcome);
    mm_put_outcome(&w, &outcome);
    return mm_stream_send(mm_agent_stream(agent), MM_FRAME_KEPT, o->id, body, w.n);
}

int mm_agent_on_keep(struct mm_agent *agent, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_agent_object *o = find_or_make(agent, frame->id);
    unsigned what = frame->part;
    *to = NULL;
    if (!o)
        return mm_agent_wrong(agent, "no memory to keep data");
    if (!done && (o->kept || frame->offset != o->got[what] || (o->began[what] && frame->total != o->total[what])))
        return mm_agent_wrong(agent, "KEEP of what is kept, or not the next piece of it");
    if (!o->began[what]) {
        mamuto_error_t err = { 0 };
        o->began[what] = true;
        o->bytes[what] = mm_agent_take(agent, frame->total ? frame->total : 1, &err);
        o->total[what] = frame->total;
    }
    if (o->bytes[what])
        *to = o->bytes[what] + frame->offset + done;
    return 0;
}

int mm_agent_on_keep_end(struct mm_agent *agent, const struct mm_frame *frame)
{
    mamuto_error_t err = { 0 };
    void *nowhere;
    int begun = frame->length > mm_frame_prefix(frame->type) ? 0 : mm_agent_on_keep(agent, frame, 0, &nowhere);
    if (begun) /* of no bytes: nobody has asked where they go */
        return begun;
    struct mm_agent_object *o = find(agent, frame->id);
    o->got[frame->part] = frame->offset + frame->length - mm_frame_prefix(frame->type);
    bool whole = o->began[MM_WHAT_ITEMS] && o->got[MM_WHAT_ITEMS] == o->total[MM_WHAT_ITEMS] &&
                 o->got[MM_WHAT_OFFSETS] == o->total[MM_WHAT_OFFSETS];
    if (!whole)
        return 0;
    o->kept = o->bytes[MM_WHAT_ITEMS] && (o->bytes[MM_WHAT_OFFSETS] || !o->began[MM_WHAT_OFFSETS]);
    if (!o->kept)
        mm_error_set(&err, MAMUTO_ENOMEM, "there is no memory to keep %" PRIu64 " bytes",
                     o->total[MM_WHAT_ITEMS] + o->total[MM_WHAT_OFFSETS]);
    int code = send_kept(agent, o, &err);
    if (!o->kept)
        free_object(agent, o);
    return code;
}

static void free_if_unused(struct mm_agent *agent, struct mm_agent_object *o)
{
    if (o->forgotten && !o->users)
        free_object(agent, o);
}

void mm_agent_release(struct mm_agent *agent, struct mm_agent_object *o)
{
    o->users--;
    free_if_unused(agent, o);
}

int mm_agent_on_forget(struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_object *o = find(agent, id);
    if (!o) /* it could not be kept */
        return 0;
    o->forgotten = true;
    free_if_unused(agent, o);
    return 0;
}

void mm_agent_free_objects(struct mm_agent *agent)
{
    while (agent->objects)
        free_object(agent, agent->objects);
}
