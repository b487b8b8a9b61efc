/* The outcome of a random call against the serial loop that it stands for: every byte of the result's block, which items
 * failed and how that was told, the status, a reduction's value. A killed worker may cost what mamuto.h says: an item that
 * ran alone, or, with once, all that may have run. */
#include "tests/support/random_call.h"
#include "tests/support/reference.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct check {
    struct random_call *c;
    char *text;
    size_t bytes;
    const struct random_told **told; /* by item, NULL: not told */
    char *expected;                  /* packed, of all items */
    uint8_t *absent;                 /* items that failed */
    bool whole;                      /* all items were run */
    bool unclear;                    /* more failed than were told, and not all by their own fault */
    unsigned deadly;                 /* items of this call that kill their worker */
};

static bool say(const struct check *k, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(k->text, k->bytes, format, args);
    va_end(args);
    return false;
}

/* ---- The serial loop ----------------------------------------------------------------------------------------------- */

/* The elements that it has: 1, unless the result is of variable length. */
static size_t compute(const struct random_call *c, size_t i, void *out)
{
    const struct random_function *f = c->function;
    struct random_item item = { .dims = c->call.dims, .seed = c->call.seed, .index = i };
    for (unsigned k = 0; k < f->n_in; k++) {
        const struct random_arg *arg = &c->args[k];
        item.in[k] = arg->at ? arg->base + arg->at[i] * (int64_t)f->in[k].elem : arg->base + (ptrdiff_t)i * arg->stride;
        item.len[k] = arg->at ? (size_t)(arg->at[i + 1] - arg->at[i]) : arg->len;
    }
    if (f->emit)
        return f->emit(&item, out);
    if (c->folds_alone)
        memcpy(out, item.in[0], c->out_size);
    else
        f->compute(&item, out);
    return 1;
}

static bool is_deadly(enum random_fault fault)
{
    return fault == RANDOM_CRASH || fault == RANDOM_EXIT || fault == RANDOM_HANG;
}

static enum random_fault fault_of(const struct random_call *c, size_t i) { return random_fault(c->call.seed, i); }

static void run_serially(struct check *k)
{
    struct random_call *c = k->c;
    k->expected = malloc(c->n * c->out_size + 1);
    k->told = calloc(c->n + 1, sizeof *k->told);
    k->absent = calloc(c->n + 1, 1);
    assert_true(k->expected && k->told && k->absent);
    for (size_t i = 0; i < c->n; i++) {
        if (!c->function->emit)
            compute(c, i, k->expected + i * c->out_size);
        k->deadly += is_deadly(fault_of(c, i));
    }
}

/* ---- Failures ------------------------------------------------------------------------------------------------------ */

/* Must this item fail, whatever happens? */
static bool must_fail(const struct random_call *c, size_t i)
{
    enum random_fault fault = fault_of(c, i);
    return fault != RANDOM_FINE && fault != RANDOM_AT_FIRST;
}

static bool is_told_rightly(const struct random_told *told, enum random_fault fault)
{
    int code = told->code, item_code = told->item_code;
    switch (fault) {
    case RANDOM_CODE:
    case RANDOM_AT_FIRST:
    case RANDOM_TEXT:
        return code == MAMUTO_EITEM && item_code == random_code(told->item) && told->text == (fault == RANDOM_TEXT);
    case RANDOM_CRASH:
        return code == MAMUTO_ECRASH && told->signal == SIGSEGV;
    case RANDOM_EXIT:
        return code == MAMUTO_ECRASH && told->signal == 0;
    case RANDOM_HANG:
        return code == MAMUTO_ETIMEOUT && told->signal == SIGKILL;
    default:
        return false;
    }
}

/* May an item have failed so, which has nothing to do with itself? */
static bool is_a_loss(const struct check *k, const struct random_told *told)
{
    const struct random_call *c = k->c;
    if (c->call.once && (c->kills || k->deadly))
        return told->code == MAMUTO_ECRASH || told->code == MAMUTO_ETIMEOUT;
    return c->kills > 0 && told->code == MAMUTO_ECRASH && told->signal == SIGKILL;
}

/* As many are told as can be; a lane that was killed between counting and telling has used one of them up. */
static bool is_full(const struct random_call *c) { return c->n_told + c->kills >= RANDOM_MOST_TOLD; }

static bool one_told(struct check *k, const struct random_told *told, const struct random_told *before)
{
    struct random_call *c = k->c;
    uint64_t i = told->item;
    if (i >= c->n || (before && i <= before->item))
        return say(k, "failure of item %" PRIu64 " is out of order or range", i);
    enum random_fault fault = fault_of(c, (size_t)i);
    if (fault == RANDOM_AT_FIRST && c->call.retries > 0 && !c->call.once && told->code == MAMUTO_EITEM)
        return say(k, "item %" PRIu64 " fails the first time alone, and there are retries", i);
    if (!is_told_rightly(told, fault) && !is_a_loss(k, told))
        return say(k, "item %" PRIu64 " failed with %d, item_code %d, signal %d%s; its fault is %d", i, told->code,
                   told->item_code, told->signal, told->text ? ", with its text" : "", (int)fault);
    k->told[i] = told;
    return true;
}

static bool failures_are_right(struct check *k)
{
    struct random_call *c = k->c;
    unsigned lost = 0;
    if (c->told_bad)
        return say(k, "%u on_item_error after on_done, or more than 1,000", c->told_bad);
    for (unsigned t = 0; t < c->n_told; t++) {
        if (!one_told(k, &c->told[t], t ? &c->told[t - 1] : NULL))
            return false;
        lost += !is_told_rightly(&c->told[t], fault_of(c, (size_t)c->told[t].item));
    }
    k->unclear = is_full(c) && (c->kills || (c->call.once && k->deadly));
    if (lost > c->kills && !c->call.once)
        return say(k, "%u items were lost to %u kills", lost, c->kills);
    return true;
}

/* What failed: told, or beyond what is told, by its fault. */
static bool is_failed(const struct check *k, size_t i) { return k->told[i] || (is_full(k->c) && must_fail(k->c, i)); }

/* ---- Results ------------------------------------------------------------------------------------------------------- */

static bool is_all(const char *p, size_t n, int byte)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (char)byte)
            return false;
    return true;
}

/* The map ended early: an item may not have been run; one that failed, but was not the first, is not told, and what it
 * left behind may be there. */
static bool may_be_left(const struct check *k, size_t i, const char *got)
{
    const struct random_call *c = k->c;
    bool fails = fault_of(c, i) || c->kills || (c->call.once && k->deadly);
    return is_all(got, c->out_size, 0xa5) || (fails && is_all(got, c->out_size, 0)) ||
           (fault_of(c, i) && is_all(got, c->out_size, 0xee));
}

static bool one_result(struct check *k, size_t i)
{
    struct random_call *c = k->c;
    const char *got = c->first + (ptrdiff_t)i * c->result_stride, *right = k->expected + i * c->out_size;
    bool zero = is_all(got, c->out_size, 0), failed = is_failed(k, i);
    if (memcmp(got, right, c->out_size) == 0 && !must_fail(c, i) && (!failed || zero))
        return true;
    if ((failed || k->unclear) && zero)
        return true;
    if (!k->whole && may_be_left(k, i, got))
        return true;
    return say(k, "item %zu %s, and its result begins with %02x %02x %02x %02x, not %02x %02x %02x %02x", i,
               failed ? "failed" : "did not fail", got[0] & 255, got[c->out_size > 1] & 255,
               got[c->out_size > 2 ? 2 : 0] & 255, got[c->out_size > 3 ? 3 : 0] & 255, right[0] & 255,
               right[c->out_size > 1] & 255, right[c->out_size > 2 ? 2 : 0] & 255,
               right[c->out_size > 3 ? 3 : 0] & 255);
}

static bool gaps_are_untouched(const struct check *k)
{
    const struct random_call *c = k->c;
    const char *block = c->result.block;
    size_t step = (size_t)(c->result_stride < 0 ? -c->result_stride : c->result_stride);
    if (!is_all(block, (size_t)(c->result.p - block), 0xa5))
        return say(k, "bytes before the result were written");
    if (!c->first)
        return is_all(c->result.p, c->result.bytes, 0xa5) || say(k, "there is no result, and it was written");
    for (size_t i = 0; i + 1 < c->n && step > c->out_size; i++)
        if (!is_all(c->result.p + i * step + c->out_size, step - c->out_size, 0xa5))
            return say(k, "the gap behind place %zu of the result was written", i);
    return true;
}

bool random_var_is_untouched(const struct random_call *c) { return is_all((const char *)&c->var, sizeof c->var, 0xa5); }

static bool one_emitted(struct check *k, size_t i)
{
    static char right[RANDOM_MOST_EMITTED];
    const struct random_call *c = k->c;
    const mamuto_var_t *var = &c->var;
    int64_t begin = var->offsets[i], n = var->offsets[i + 1] - begin, expected = (int64_t)compute(c, i, right);
    if ((is_failed(k, i) || k->unclear) && n == 0)
        return true;
    if (is_failed(k, i) || n != expected)
        return say(k, "item %zu%s has %" PRId64 " elements, not %" PRId64, i, is_failed(k, i) ? ", which failed," : "",
                   n, expected);
    if (memcmp((const char *)var->data + begin * (int64_t)c->out_size, right, (size_t)n * c->out_size) == 0)
        return true;
    return say(k, "the elements of item %zu are wrong", i);
}

static bool emitted_is_right(struct check *k)
{
    const mamuto_var_t *var = &k->c->var;
    if (!k->whole)
        return random_var_is_untouched(k->c) || say(k, "result_var was written, and the map ended early");
    if (var->count != k->c->n || var->offsets[0] != 0)
        return say(k, "result_var has %zu items, the first at %" PRId64, var->count, var->offsets[0]);
    for (size_t i = 0; i < k->c->n; i++)
        if (!one_emitted(k, i))
            return false;
    return true;
}

static bool results_are_right(struct check *k)
{
    if (!gaps_are_untouched(k) || (k->c->function->emit && !emitted_is_right(k)))
        return false;
    for (size_t i = 0; k->c->first && i < k->c->n; i++)
        if (!one_result(k, i))
            return false;
    for (size_t i = 0; k->whole && i < k->c->n; i++)
        if (must_fail(k->c, i) && !is_failed(k, i))
            return say(k, "item %zu should have failed", i);
    return true;
}

static bool value_is_right(struct check *k)
{
    struct random_call *c = k->c;
    char expected[256];
    memset(expected, 0xa5, sizeof expected);
    struct reference reference = {
        .size = c->out_size, .dim = c->out_size / sizeof(double), .fold = c->function->join, .absent = k->absent
    };
    for (size_t i = 0; i < c->n; i++)
        k->absent[i] = is_failed(k, i);
    if (k->unclear)
        return true;
    bool has = k->whole && reference_reduce(&reference, k->expected, c->n, expected);
    if (!has && k->whole && c->call.if_empty)
        memcpy(expected, c->if_empty, c->out_size);
    if (memcmp(expected, c->value.p, sizeof expected) == 0)
        return true;
    return say(k, "the value is wrong: it begins with %02x %02x, not %02x %02x", c->value.p[0] & 255,
               c->value.p[1] & 255, expected[0] & 255, expected[1] & 255);
}

/* ---- Status -------------------------------------------------------------------------------------------------------- */

static bool names_its_item(struct check *k, bool skip)
{
    struct random_call *c = k->c;
    const mamuto_error_t *err = &c->err;
    if (c->n_told == 0)
        return say(k, "status %d, and no item was told: %s", c->status, err->text);
    /* Of more than 1,000, those that are told may not be the first ones. */
    for (unsigned t = 0; t < c->n_told && (t == 0 || is_full(c)); t++) {
        const struct random_told *told = &c->told[t];
        if (told->item != err->item)
            continue;
        if ((!skip && told->code != err->code) || told->item_code != err->item_code || told->signal != err->signal)
            return say(k, "the map's error and that of its item differ: %s", err->text);
        return true;
    }
    return say(k, "item %" PRIu64 " is named as the first one, %" PRIu64 " was told first: %s", err->item,
               c->told[0].item, err->text);
}

static bool count_is_right(struct check *k)
{
    char part[64];
    uint64_t failed = 0;
    for (size_t i = 0; i < k->c->n; i++)
        failed += is_failed(k, i);
    snprintf(part, sizeof part, "%" PRIu64 " of %zu items failed", failed, k->c->n);
    if (k->unclear)
        return true;
    return strstr(k->c->err.text, part) ? true : say(k, "\"%s\" has no \"%s\"", k->c->err.text, part);
}

static bool status_is_right(struct check *k)
{
    struct random_call *c = k->c;
    bool skip = c->call.on_error == MAMUTO_ON_ERROR_SKIP, any = c->n_told > 0;
    k->whole = c->status == 0 || (skip && c->status == MAMUTO_EITEM);
    if (c->status != c->err.code)
        return say(k, "status %d and error %d: %s", c->status, c->err.code, c->err.text);
    if (c->status == MAMUTO_ECANCELED)
        return c->cancelled ? true : say(k, "cancelled by nobody");
    if (c->reduces && c->kills && c->status == MAMUTO_ECRASH && strstr(c->err.text, "a fold: worker "))
        return true; /* the fold ran alone when its worker was killed */
    if (!any)
        return c->status == 0 ? true : say(k, "status %d, and no item failed: %s", c->status, c->err.text);
    if (skip && c->status != MAMUTO_EITEM)
        return say(k, "status %d with SKIP: %s", c->status, c->err.text);
    if (!skip && c->status != c->told[0].code)
        return say(k, "status %d with FAIL, and the first failure is %d: %s", c->status, c->told[0].code, c->err.text);
    return names_its_item(k, skip) && (!skip || count_is_right(k));
}

static bool callbacks_are_right(struct check *k)
{
    const struct random_call *c = k->c;
    if (c->n_done != 1)
        return say(k, "on_done came %u times", c->n_done);
    if (c->spans_bad)
        return say(k, "%u spans are wrong: out of range, twice, after on_done, or without time", c->spans_bad);
    if (c->progress_bad)
        return say(k, "%u reports of progress are wrong", c->progress_bad);
    for (size_t i = 0; c->spanned && k->whole && i < c->n; i++)
        if (!c->spanned[i])
            return say(k, "item %zu is in no span", i);
    return true;
}

bool random_call_is_right(struct random_call *c, char *text, size_t bytes)
{
    struct check k = { .c = c, .text = text, .bytes = bytes };
    run_serially(&k);
    bool right = failures_are_right(&k) && status_is_right(&k) && callbacks_are_right(&k) && results_are_right(&k) &&
                 (!c->reduces || value_is_right(&k));
    free(k.expected);
    free(k.told);
    free(k.absent);
    return right;
}

bool random_call_is_untouched(const struct random_call *c, char *text, size_t bytes)
{
    bool block = is_all(c->result.block, (size_t)(c->result.p - (char *)c->result.block) + c->result.bytes, 0xa5);
    if (!block || !is_all(c->value.p, c->value.bytes, 0xa5) || c->n_done || c->n_told || !random_var_is_untouched(c))
        snprintf(text, bytes, "a refused call wrote something, or called back");
    return block && is_all(c->value.p, c->value.bytes, 0xa5) && !c->n_done && !c->n_told && random_var_is_untouched(c);
}
