/* The bytes of an argument as a source of a stream: of a run's items, packed, from wherever they lie.
 *
 * What lies packed is written from its place; what lies apart is packed into the stream's scratch, slice by slice. Offsets
 * are counted anew from the first item, since the far side gets the elements of these items alone. An array is read only
 * inside mm_stream_write; a program's wrong pointer was found before (core/args.c), or is its own crash.
 */
#include "core/span.h"
#include "net/remote.h"

static struct mm_remote_input *input_of(struct mm_source *source) { return (struct mm_remote_input *)source; }

static size_t get_packed(const char *base, uint64_t offset, size_t n, const void **at)
{
    *at = base + offset;
    return n;
}

/* Items lie apart, or one behind the other backwards. */
static size_t get_strided(const char *first, ptrdiff_t stride, size_t size, uint64_t offset, size_t n, const void **at,
                          char *scratch)
{
    uint64_t item = offset / size;
    size_t within = (size_t)(offset % size), left = size - within;
    if (n <= left || size > n) { /* what there is of this item */
        *at = first + (ptrdiff_t)item * stride + within;
        return n < left ? n : left;
    }
    size_t done = 0;
    while (done < n) {
        size_t some = size - within < n - done ? size - within : n - done;
        memcpy(scratch + done, first + (ptrdiff_t)item * stride + within, some);
        done += some;
        item++;
        within = 0;
    }
    *at = scratch;
    return done;
}

static size_t get_offsets(const struct mm_run *run, int k, uint64_t offset, size_t n, const void **at, char *scratch)
{
    const int64_t *offsets = run->in[k].offsets + mm_run_first_item(run);
    size_t within = (size_t)(offset % sizeof(int64_t)), most = n < MM_FRAME_SMALL ? n : MM_FRAME_SMALL;
    uint64_t i = offset / sizeof(int64_t);
    size_t done = 0;
    while (done < most) {
        int64_t value = offsets[i++] - run->in[k].low;
        size_t some = sizeof value - within < most - done ? sizeof value - within : most - done;
        memcpy(scratch + done, (const char *)&value + within, some);
        done += some;
        within = 0;
    }
    *at = scratch;
    return done;
}

static size_t get(struct mm_source *source, uint64_t offset, size_t n, const void **at, void *scratch)
{
    const struct mm_remote_input *in = input_of(source);
    const struct mm_run *run = in->run;
    const struct mm_run_arg *arg = &run->in[in->k];
    if (in->what == MM_WHAT_ABSENT)
        return get_packed((const char *)run->groups->absent, offset, n, at);
    if (in->what == MM_WHAT_OFFSETS)
        return get_offsets(run, in->k, offset, n, at, scratch);
    const char *data = arg->data;
    if (arg->offsets)
        return get_packed(data + (uint64_t)arg->low * arg->size, offset, n, at);
    if (!arg->stride)
        return get_packed(data, offset, n, at);
    data += (ptrdiff_t)mm_run_first_item(run) * arg->stride;
    if (arg->stride == (ptrdiff_t)arg->size)
        return get_packed(data, offset, n, at);
    return get_strided(data, arg->stride, arg->size, offset, n < MM_FRAME_SMALL ? n : MM_FRAME_SMALL, at, scratch);
}

static void sent(struct mm_source *source)
{
    struct mm_remote_input *in = input_of(source);
    --*in->waiting;
}

uint64_t mm_remote_input(struct mm_remote_input *in, const struct mm_run *run, int k, enum mm_frame_what what,
                         uint64_t turn, unsigned *waiting)
{
    const struct mm_run_arg *arg = &run->in[k];
    uint64_t n = mm_run_n_items(run);
    *in = (struct mm_remote_input){
        .source = { turn, get, sent }, .run = run, .k = k, .what = (int)what, .waiting = waiting
    };
    if (what == MM_WHAT_ABSENT)
        return n;
    if (what == MM_WHAT_OFFSETS)
        return (n + 1) * sizeof(int64_t);
    if (arg->offsets)
        return (uint64_t)(arg->high - arg->low) * arg->size;
    return arg->stride ? n * arg->size : arg->size;
}
