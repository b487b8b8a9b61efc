/* Maps under fault injection, checked item by item; and the board as a diagnosis shows it. The board is found in
 * /proc/self/maps, so that nothing in the library is there for tests alone. */
#include "tests/support/faults.h"

#include "shm/board.h"

#include <glob.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- Maps --------------------------------------------------------------------------------------------------------- */

static const uint64_t UNTOUCHED = UINT64_C(0xa5a5a5a5a5a5a5a5);

void faults_take_down(struct faults_map *map, const mamuto_error_t *err)
{
    if (map->n_failures < sizeof map->failures / sizeof *map->failures)
        map->failures[map->n_failures++] = (struct faults_failure){ err->item, err->code };
}

static void on_item_error(mamuto_map_t *handle, const mamuto_error_t *err)
{
    faults_take_down(mamuto_map_data(handle), err);
}

void faults_prepare(struct faults_map *map, mamuto_call_t *call)
{
    for (size_t i = 0; i < map->n; i++)
        map->out[i][0] = map->out[i][1] = UNTOUCHED;
    map->n_failures = 0;
    map->status = 0;
    memset(&map->err, 0, sizeof map->err);
    *call = (mamuto_call_t){ .function = "faults.work",
                             .result = map->out,
                             .retries = map->retries,
                             .on_error = map->on_error,
                             .data = map,
                             .on_item_error = on_item_error };
    call->args[0] = mamuto_scatter(map->x, map->n);
    call->args[1] = mamuto_broadcast(map->knobs);
}

static bool say(char *text, size_t bytes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, bytes, format, args);
    va_end(args);
    return false;
}

static bool must_fail(const struct faults_map *map, uint64_t i)
{
    const uint64_t *knobs = map->knobs;
    return knobs[FAULTS_FAIL_MODULUS] && i % knobs[FAULTS_FAIL_MODULUS] == knobs[FAULTS_FAIL_REST];
}

static uint64_t mixed(uint64_t x)
{
    uint64_t mix = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return mix ^ mix >> 29;
}

/* Failures come in order of items, each once, and only those that must or may be. */
static bool failures_are_right(const struct faults_map *map, const struct faults_loss *loss, char *text, size_t bytes)
{
    unsigned lost = 0, blamed = 0;
    for (unsigned f = 0; f < map->n_failures; f++) {
        const struct faults_failure *failure = &map->failures[f];
        uint64_t i = failure->item;
        if (i >= map->n || (f && i <= map->failures[f - 1].item))
            return say(text, bytes, "failure %u is item %" PRIu64 ", out of order or range", f, i);
        bool crashed = failure->code == MAMUTO_ECRASH, must = must_fail(map, i);
        if (crashed && loss->crash_item && map->knobs[FAULTS_CRASH_MARK] && i == map->knobs[FAULTS_CRASH_ITEM])
            continue;
        if (!crashed && !(failure->code == MAMUTO_EITEM && must))
            return say(text, bytes, "item %" PRIu64 " failed with %d", i, failure->code);
        lost += crashed && !must;
        blamed += crashed && must;
        if (lost > loss->items || blamed > loss->blamed)
            return say(text, bytes,
                       "item %" PRIu64 " was lost to a killed worker: %u lost, %u may be; %u blamed, %u may be", i,
                       lost, loss->items, blamed, loss->blamed);
    }
    return true;
}

static bool results_are_right(const struct faults_map *map, char *text, size_t bytes)
{
    bool whole = map->on_error == MAMUTO_ON_ERROR_SKIP || map->status == 0;
    unsigned f = 0;
    for (uint64_t i = 0; i < map->n; i++) {
        bool failed = f < map->n_failures && map->failures[f].item == i;
        uint64_t a = map->out[i][0], b = map->out[i][1];
        f += failed;
        if (whole && failed != (a == 0 && b == 0))
            return say(text, bytes, "item %" PRIu64 " %s, and its result is %" PRIx64, i, failed ? "failed" : "is well",
                       a);
        if (whole && !failed && must_fail(map, i))
            return say(text, bytes, "item %" PRIu64 " should have failed", i);
        bool unsettled = !whole && (a == UNTOUCHED || a == 0) && (b == UNTOUCHED || b == 0);
        if (!failed && !unsettled && (a != mixed(i) || b != ~a) && whole)
            return say(text, bytes, "item %" PRIu64 " has result %" PRIx64 " %" PRIx64, i, a, b);
        if (!whole && a != UNTOUCHED && a != 0 && a != mixed(i))
            return say(text, bytes, "item %" PRIu64 " has result %" PRIx64, i, a);
    }
    return true;
}

static bool status_is_right(const struct faults_map *map, char *text, size_t bytes)
{
    bool any = map->n_failures > 0, fails = false;
    for (uint64_t i = 0; i < map->n && !fails; i++)
        fails = must_fail(map, i);
    if (map->on_error == MAMUTO_ON_ERROR_SKIP && map->status != (any ? MAMUTO_EITEM : 0))
        return say(text, bytes, "status %d with %u failures: %s", map->status, map->n_failures, map->err.text);
    if (map->on_error == MAMUTO_ON_ERROR_FAIL &&
        (any || fails ? map->status != MAMUTO_EITEM && map->status != MAMUTO_ECRASH : map->status != 0))
        return say(text, bytes, "status %d with %u failures: %s", map->status, map->n_failures, map->err.text);
    if (map->on_error == MAMUTO_ON_ERROR_FAIL && map->status && !any)
        return say(text, bytes, "status %d, and no item is named: %s", map->status, map->err.text);
    return true;
}

bool faults_is_right(const struct faults_map *map, const struct faults_loss *loss, char *text, size_t bytes)
{
    return status_is_right(map, text, bytes) && failures_are_right(map, loss, text, bytes) &&
           results_are_right(map, text, bytes);
}

/* ---- Points ------------------------------------------------------------------------------------------------------- */

static unsigned note_point(char names[][FAULTS_POINT_NAME], unsigned n, unsigned max, const char *name, size_t length)
{
    for (unsigned i = 0; i < n; i++)
        if (strlen(names[i]) == length && strncmp(names[i], name, length) == 0)
            return n;
    assert_true(n < max && length < FAULTS_POINT_NAME);
    snprintf(names[n], FAULTS_POINT_NAME, "%.*s", (int)length, name);
    return n + 1;
}

static unsigned read_points(const char *path, char names[][FAULTS_POINT_NAME], unsigned n, unsigned max)
{
    static const char begin[] = "MM_POINT(\"", end[] = "\")";
    char line[512];
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        const char *name = strstr(line, begin);
        name = name ? name + strlen(begin) : NULL;
        const char *stop = name ? strstr(name, end) : NULL;
        if (stop)
            n = note_point(names, n, max, name, (size_t)(stop - name));
    }
    fclose(file);
    return n;
}

unsigned faults_points(const char *pattern, char names[][FAULTS_POINT_NAME], unsigned max)
{
    glob_t sources;
    unsigned n = 0;
    assert_int_equal(glob(pattern, 0, NULL, &sources), 0);
    for (size_t i = 0; i < sources.gl_pathc; i++)
        n = read_points(sources.gl_pathv[i], names, n, max);
    globfree(&sources);
    return n;
}

/* ---- The board ---------------------------------------------------------------------------------------------------- */

struct mm_board *faults_board(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    char line[512];
    uintptr_t at = 0;
    while (file && !at && fgets(line, sizeof line, file))
        if (strstr(line, "mamuto-board"))
            at = (uintptr_t)strtoull(line, NULL, 16);
    if (file)
        fclose(file);
    return (struct mm_board *)at; /* NOLINT(performance-no-int-to-ptr): what /proc says is a number */
}

char faults_worker_state(pid_t pid)
{
    char path[64], comm[32], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    if (fscanf(file, "%*d (%31[^)]) %c", comm, &state) != 2 || strcmp(comm, "mamuto-worker") != 0)
        state = 0;
    fclose(file);
    return state;
}

pid_t faults_parent(pid_t pid)
{
    char path[64];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1)
        parent = 0;
    if (file)
        fclose(file);
    return parent;
}

static void print_lane(FILE *to, struct mm_board *board, uint32_t i)
{
    static const char *const states[] = { "none", "intent", "owned", "?" };
    struct mm_lane *lane = &board->lanes[i];
    uint64_t claim = lane->claim;
    char state = faults_worker_state(lane->pid);
    fprintf(to,
            "  lane %u: pid %d (%c) parked %u spinning %u in %#" PRIx64 " claim %s%s slot %u [%u, %u) moves %" PRIu64
            " cursor %" PRIu64 "\n",
            i, lane->pid, state ? state : '-', lane->parked, lane->spinning, lane->in, states[mm_claim_state(claim)],
            mm_claim_singly(claim) ? " singly" : "", mm_claim_slot(claim), mm_claim_begin(claim), mm_claim_end(claim),
            lane->moves, lane->cursor);
}

static void print_map(FILE *to, struct mm_board_map *map, unsigned slot)
{
    uint32_t done = 0, first_missing = UINT32_MAX;
    for (uint32_t i = 0; i < map->n_grains && i < MM_MAX_GRAINS; i++) {
        bool is = mm_map_done(map)[i] >> 32 == mm_map_tag(map->gen);
        done += is;
        if (!is && first_missing == UINT32_MAX)
            first_missing = i;
    }
    fprintf(to,
            "  map in slot %u: gen %#" PRIx64 " n %" PRIu64 " grains %u of %" PRIu64 " items, n_done %u, done %u "
            "(first missing: %d), stop %u, ready %u, records %u, retries %u\n",
            slot, map->gen, map->n, map->n_grains, map->grain_items, map->n_done, done, (int)first_missing, map->stop,
            map->ready, map->n_records, map->retries);
    for (uint32_t i = 0; i < map->n_lanes && i < MM_MAX_LANES; i++) {
        uint64_t word = mm_map_words(map)[i];
        fprintf(to, "    word %u: %s[%u, %u)\n", i, mm_word_is_of(word, map->gen) ? "" : "old ", mm_word_begin(word),
                mm_word_end(word));
    }
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++) {
        struct mm_returned *entry = &map->returned[i];
        if ((entry->state & 0xff) != MM_ENTRY_FREE)
            fprintf(to, "    entry %u: %s lane %u [%u, %u) from item %" PRIu64 "%s\n", i,
                    (entry->state & 0xff) == MM_ENTRY_READY ? "ready" : "taken", (unsigned)(entry->state >> 8 & 0xff),
                    entry->begin, entry->end, entry->first_item, entry->singly ? " singly" : "");
    }
}

void faults_print_board(FILE *to, struct mm_board *board)
{
    if (!board)
        return;
    fprintf(to, "board: %u workers, active %#" PRIx64 ", polling %u\n", board->n_workers, board->active,
            board->polling);
    for (uint32_t i = 0; i <= board->n_workers; i++)
        print_lane(to, board, i);
    for (unsigned slot = 0; slot < MM_MAX_MAPS; slot++)
        if (board->maps[slot].gen)
            print_map(to, &board->maps[slot], slot);
    fflush(to);
}
