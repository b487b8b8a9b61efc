/* What became of a map: its records, sorted and made into errors with whole sentences. Records come from workers, so
 * they are checked before they are believed. Called by the owner when a map has ended, before it leaves the board. */
#include "shm/jobs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int by_item(const void *a, const void *b)
{
    const struct mm_record *x = *(const struct mm_record *const *)a, *y = *(const struct mm_record *const *)b;
    return x->item < y->item ? -1 : x->item > y->item;
}

static void take(struct mm_record_list *list, const struct mm_board_map *map, uint64_t gen,
                 const struct mm_record *record)
{
    bool ready = atomic_load_explicit(&record->ready, memory_order_acquire) == mm_map_tag(gen);
    if (ready && (record->item == MAMUTO_NO_ITEM || record->item - map->first < map->n))
        list->at[list->n++] = record;
}

static void collect(struct mm_board_map *map, uint64_t gen, struct mm_record_list *list)
{
    uint32_t n = atomic_load(&map->n_records);
    list->n = 0;
    for (uint32_t i = 0; i < n && i < MM_MAX_RECORDS; i++)
        take(list, map, gen, &map->records[i]);
    for (uint32_t i = 0; i < map->n_lanes; i++)
        take(list, map, gen, &map->ended[i]);
    qsort(list->at, list->n, sizeof *list->at, by_item);
}

/* No item may be run twice, and this one was lost with its worker. */
static void say_lost(mamuto_error_t *err, const struct mm_record *record, uint32_t timeout_ms, const char *text)
{
    unsigned long long item = record->item;
    static const char why[] = "and is not run again (once)";
    if (record->code == MAMUTO_ETIMEOUT)
        mm_error_set(err, MAMUTO_ETIMEOUT,
                     "item %llu may have run, %s: what worker %d ran took longer than %u ms, and it was killed", item,
                     why, record->worker, timeout_ms);
    else if (record->signal)
        mm_error_set(err, MAMUTO_ECRASH, "item %llu may have run, %s: worker %d died of signal %d (%s)", item, why,
                     record->worker, record->signal, strsignal(record->signal));
    else
        mm_error_set(err, MAMUTO_ECRASH, "item %llu may have run, %s: worker %d %s", item, why, record->worker,
                     text[0] ? text : "ended");
}

/* What failed, as a sentence names it. */
static void name(const struct mm_board_map *map, const struct mm_record *record, char *what, size_t size)
{
    if (map->flags & MM_MAP_GROUPS)
        snprintf(what, size, "a fold");
    else
        snprintf(what, size, "item %llu", (unsigned long long)record->item);
}

/* Of a map over groups: the first item of the node, or of the group where that is not known. */
static uint64_t item_of(const struct mm_board_map *map, const struct mm_record *record)
{
    if (!(map->flags & MM_MAP_GROUPS) || record->item == MAMUTO_NO_ITEM)
        return record->item;
    return record->node_item ? record->node_item : record->item * map->groups.group_items;
}

static void say(mamuto_error_t *err, const struct mm_record *record, const struct mm_board_map *map)
{
    uint32_t timeout_ms = map->timeout_ms;
    char text[MM_RECORD_TEXT], what[32];
    memcpy(text, record->text, sizeof text);
    text[sizeof text - 1] = '\0';
    const char *colon = text[0] ? ": " : "";
    name(map, record, what, sizeof what);
    if (record->item == MAMUTO_NO_ITEM)
        mm_error_set(err, record->code, "%s", text);
    else if (map->flags & MM_MAP_ONCE && record->code != MAMUTO_EITEM)
        say_lost(err, record, timeout_ms, text);
    else if (record->code == MAMUTO_ETIMEOUT)
        mm_error_set(err, MAMUTO_ETIMEOUT, "%s took longer than %u ms; worker %d, which ran it, was killed", what,
                     map->timeout_ms, record->worker);
    else if (record->code == MAMUTO_ECRASH && record->signal)
        mm_error_set(err, MAMUTO_ECRASH, "%s: worker %d died of signal %d (%s)", what, record->worker, record->signal,
                     strsignal(record->signal));
    else if (record->code == MAMUTO_ECRASH)
        mm_error_set(err, MAMUTO_ECRASH, "%s: worker %d %s", what, record->worker, text[0] ? text : "ended");
    else
        mm_error_set(err, MAMUTO_EITEM, "%s failed with code %d%s%s", what, record->item_code, colon, text);
    err->item = item_of(map, record);
    err->item_code = record->item_code;
    err->signal = record->signal;
    err->worker = record->worker;
    snprintf(err->host, sizeof err->host, "localhost");
}

static int stopped_because(const struct mm_job *job, mamuto_error_t *err)
{
    if (job->status == MAMUTO_ECANCELED)
        return mm_error_set(err, MAMUTO_ECANCELED, "the map was cancelled");
    return mm_error_set(err, job->status,
                        "the workers of this host die without getting anything done: the last %u deaths "
                        "settled no item",
                        job->deaths);
}

static int skipped(const struct mm_job *job, uint64_t failed, const mamuto_error_t *first, mamuto_error_t *err)
{
    mamuto_error_t all = *first;
    all.code = MAMUTO_EITEM;
    snprintf(all.text, sizeof all.text, "%llu of %llu items failed; the first: %.400s", (unsigned long long)failed,
             (unsigned long long)(job->run->n - job->given), first->text);
    return mm_error_copy(err, &all);
}

int mm_jobs_result(struct mm_jobs *jobs, struct mm_job *job, uint64_t *failed, mamuto_error_t *err,
                   void (*each)(void *context, const mamuto_error_t *err), void *context)
{
    struct mm_board_map *map = mm_job_map(jobs, job);
    *failed = 0;
    if (!job->status && !job->stopping && !atomic_load(&map->n_records) && !job->saw_death)
        return 0;
    struct mm_record_list *list = &jobs->records;
    mamuto_error_t first = { 0 };
    collect(map, job->gen, list);
    bool whole = mm_map_all_done(map, job->gen, failed);
    if (list->n &&
        list->at[list->n - 1]->item == MAMUTO_NO_ITEM) /* sorted last: it ended the map, whatever items failed */
        say(&first, list->at[list->n - 1], map);
    const struct mm_record *last = NULL;
    for (uint32_t i = 0; i < list->n; i++) {
        mamuto_error_t one = { 0 };
        if (last && last->item == list->at[i]->item && last->item != MAMUTO_NO_ITEM)
            continue;
        last = list->at[i];
        say(&one, last, map);
        mm_error_copy(&first, &one);
        *failed += !whole && one.item != MAMUTO_NO_ITEM;
        if (each && one.item != MAMUTO_NO_ITEM)
            each(context, &one);
    }
    if (job->status)
        return stopped_because(job, err);
    if (!first.code && !whole) /* whoever stopped it died before it could say why */
        return mm_error_set(err, MAMUTO_EHOST, "a worker stopped the map and died before it could say why");
    if (!first.code)
        return *failed ? mm_error_set(err, MAMUTO_EITEM, "%llu items failed", (unsigned long long)*failed) : 0;
    return (map->flags & MM_MAP_FAIL_FAST) || first.item == MAMUTO_NO_ITEM ? mm_error_copy(err, &first)
                                                                           : skipped(job, *failed, &first, err);
}
