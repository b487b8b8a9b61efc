/* Where the items of an array lie: the bytes from the lowest to the highest, whichever way its stride goes. Pure. */
#ifndef MM_CORE_SPAN_H
#define MM_CORE_SPAN_H

#include "core/run.h"

/* Non-empty: items of size bytes, step bytes apart (0: one item, or one for all). */
struct mm_span {
    const char *low; /* the lowest byte of an item */
    uint64_t bytes;  /* from there to the end of the highest */
    uint64_t back;   /* where item 0 is: so far from low */
    uint64_t size, step;
};

static inline uint64_t mm_stride_abs(ptrdiff_t stride) { return stride < 0 ? 0 - (uint64_t)stride : (uint64_t)stride; }

/* n >= 1 items, the first of them at item; their span is known not to overflow. */
static inline struct mm_span mm_span_of(const void *item, ptrdiff_t stride, size_t size, uint64_t n)
{
    uint64_t step = n > 1 ? mm_stride_abs(stride) : 0, reach = (n - 1) * step, back = stride < 0 ? reach : 0;
    return (struct mm_span){ (const char *)item - back, reach + size, back, size, step };
}

/* The same of a run's input: the items that it covers. */
static inline struct mm_span mm_span_of_input(const struct mm_run *run, int k)
{
    const struct mm_run_arg *in = &run->in[k];
    const char *data = in->data;
    if (in->offsets) {
        uint64_t bytes = (uint64_t)(in->high - in->low) * in->size;
        return (struct mm_span){ bytes ? data + (uint64_t)in->low * in->size : data, bytes, 0, bytes, 0 };
    }
    if (!in->size || !data) /* one value of no elements, or an array of no items, may be at NULL */
        return (struct mm_span){ data, 0, 0, 0, 0 };
    return mm_span_of(data + (ptrdiff_t)mm_run_first_item(run) * in->stride, in->stride, in->size, mm_run_n_items(run));
}

static inline struct mm_span mm_span_of_offsets(const struct mm_run *run, int k)
{
    uint64_t bytes = (mm_run_n_items(run) + 1) * sizeof(int64_t);
    return (struct mm_span){ (const char *)(run->in[k].offsets + mm_run_first_item(run)), bytes, 0, bytes, 0 };
}

/* Do the items lie apart? Then they are packed where they are copied; those that touch or overlap, as the places of a
 * window that slides do, stay as they lie. */
static inline bool mm_span_is_apart(const struct mm_run_arg *in)
{
    return !in->offsets && mm_stride_abs(in->stride) > in->size;
}

/* The array that begins so far before p, of which there is no byte but from p on: where items are numbered from the
 * first of the whole call. */
static inline void *mm_span_array(char *p, uint64_t before)
{
    union {
        char *at;
        uintptr_t number;
    } u = { .at = p };
    u.number -= (uintptr_t)before;
    return u.at;
}

/* After a run was given a part of the items: its inputs' low and high are those of that part. Offsets that make no sense
 * leave them as they were: the workers will see it. */
static inline void mm_span_narrow(struct mm_run *run)
{
    for (int k = 0; k < run->n_in; k++) {
        struct mm_run_arg *in = &run->in[k];
        if (!in->offsets)
            continue;
        int64_t from = in->offsets[mm_run_first_item(run)];
        int64_t to = in->offsets[mm_run_first_item(run) + mm_run_n_items(run)];
        if (from >= in->low && to >= from && to <= in->high) {
            in->low = from;
            in->high = to;
        }
    }
}

static inline struct mm_span mm_span_of_result(const struct mm_run *run)
{
    const char *result = run->result;
    if (!result) /* a reduction may keep none */
        return (struct mm_span){ NULL, 0, 0, 0, 0 };
    return mm_span_of(result + (ptrdiff_t)run->first * run->result_stride, run->result_stride, run->out_size, run->n);
}

/* Do two arrays share a byte? Their items may lie between each other's, as the fields of a struct do: that is seen where
 * one step is a multiple of the other; where it is not, what lies between is taken for shared. */
static inline bool mm_span_overlap(const struct mm_span *a, const struct mm_span *b)
{
    uintptr_t x = (uintptr_t)a->low, y = (uintptr_t)b->low;
    if (!a->bytes || !b->bytes || (x < y ? y - x >= a->bytes : x - y >= b->bytes))
        return false;
    uint64_t period = a->step, rest = b->step;
    while (rest) {
        uint64_t next = period % rest;
        period = rest;
        rest = next;
    }
    if (!period)
        return true;
    uint64_t at = x >= y ? (x - y) % period : (period - (y - x) % period) % period; /* of a's items behind b's */
    return at < b->size || a->size > period - at;
}

#endif
