/* A worker is killed, or stopped for a while, between every two stores that it makes to the job board: whatever it was
 * about to do, the map ends right, and so does the next one on the same mapper.
 *
 * The points are MM_POINT(name) in shm/; their list is read from the sources, so none is forgotten. Each is tried in each
 * kind of map (own parts, steals, returned ranges, single mode, failures, private arrays, small maps, help, once, spans), for
 * its first, second and fifth passing; and pairs of points at once. shm/testpoint.c does it, in the workers.
 * $MAMUTO_POINTS, a part of "kind point action", runs only those cases.
 */
#include "shm/testpoint.h"
#include "tests/support/e2e.h"
#include "tests/support/faults.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    WORKERS = 3,
    MAX_POINTS = 96,
    MAX_ITEMS = 4096,
    DEADLINE_MS = 20000,
    STOPPED_MS = 4,
    GOOD_ITEMS = 200,
    CHANCES = 20,
    PAIRS = 500,
    LOST_BLOCK = 70 /* items of a once map that a death may cost: 20 µs of what an item is thought to cost at first */
};

static const unsigned passings[] = { 1, 2, 5 };
enum { N_PASSINGS = sizeof passings / sizeof *passings };

/* What happens to the worker at its point. */
enum action { KILL, STOP_CONTINUE, STOP_KILL, N_ACTIONS };
static const char *const action_names[] = { "kill", "stop, continue", "stop, kill" };

static char point_names[MAX_POINTS][FAULTS_POINT_NAME];
static unsigned n_points, reached[MAX_POINTS][N_ACTIONS];
static uint64_t seed, random_state; /* of the pairs */

static uint64_t below(uint64_t n)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

/* ---- Kinds of maps ------------------------------------------------------------------------------------------------- */

enum arrays { SHARED, PRIVATE, UNREADABLE };

struct kind {
    const char *name;
    uint64_t knobs[FAULTS_KNOBS];
    size_t n;
    int retries, on_error, maps;
    enum arrays arrays;
    bool singly; /* items are run one by one in it: a kill may cost the one that runs, if there are no retries */
    bool crashes, help, once, spans;
};

static const struct kind kinds[] = {
    { .name = "own parts", .n = 600, .knobs = { 2000 }, .maps = 1 },
    { .name = "steals",
      .n = 600,
      .knobs = { 300, 15000, 70 },
      .maps = 1,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "crash",
      .n = 600,
      .knobs = { 1000, [FAULTS_CRASH_ITEM] = 137 },
      .maps = 1,
      .singly = true,
      .crashes = true,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "crash, retries",
      .n = 600,
      .knobs = { 1000, [FAULTS_CRASH_ITEM] = 311 },
      .maps = 1,
      .singly = true,
      .crashes = true,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_FAIL },
    { .name = "failures",
      .n = 600,
      .knobs = { 500, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 7 },
      .maps = 1,
      .singly = true,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "failures, retries",
      .n = 600,
      .knobs = { 500, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 49 },
      .maps = 1,
      .singly = true,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "large grains",
      .n = 4000,
      .knobs = { 0, [FAULTS_FAIL_MODULUS] = 97, [FAULTS_FAIL_REST] = 5 },
      .maps = 1,
      .singly = true,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "large grains, retries",
      .n = 4000,
      .knobs = { 0, [FAULTS_FAIL_MODULUS] = 97, [FAULTS_FAIL_REST] = 5 },
      .maps = 1,
      .singly = true,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "every third fails, retries",
      .n = 300,
      .knobs = { 300, [FAULTS_FAIL_MODULUS] = 3, [FAULTS_FAIL_REST] = 1 },
      .maps = 1,
      .singly = true,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_SKIP },
    { .name = "fails",
      .n = 600,
      .knobs = { 1000, [FAULTS_FAIL_MODULUS] = 500, [FAULTS_FAIL_REST] = 431 },
      .maps = 1,
      .singly = true,
      .on_error = MAMUTO_ON_ERROR_FAIL },
    { .name = "private arrays",
      .n = 600,
      .knobs = { 500, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 7 },
      .maps = 1,
      .singly = true,
      .on_error = MAMUTO_ON_ERROR_SKIP,
      .arrays = PRIVATE },
    { .name = "small maps", .n = 6, .knobs = { 200 }, .maps = 40 },
    { .name = "help",
      .n = 600,
      .knobs = { 1000, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 7 },
      .maps = 1,
      .singly = true,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_SKIP,
      .help = true },
    { .name = "once",
      .n = 600,
      .knobs = { 3000, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 7, [FAULTS_CRASH_ITEM] = 137 },
      .maps = 1,
      .singly = true,
      .crashes = true,
      .on_error = MAMUTO_ON_ERROR_SKIP,
      .once = true },
    { .name = "once, private arrays",
      .n = 200,
      .knobs = { 30000, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 7 },
      .maps = 1,
      .singly = true,
      .on_error = MAMUTO_ON_ERROR_SKIP,
      .arrays = PRIVATE,
      .once = true },
    { .name = "spans",
      .n = 600,
      .knobs = { 2000, [FAULTS_FAIL_MODULUS] = 50, [FAULTS_FAIL_REST] = 7 },
      .maps = 1,
      .singly = true,
      .retries = 2,
      .on_error = MAMUTO_ON_ERROR_SKIP,
      .spans = true },
    { .name = "unreadable", .n = 600, .knobs = { 500 }, .maps = 1, .arrays = UNREADABLE },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- The mapper under test ----------------------------------------------------------------------------------------- */

static mamuto_t *mapper;
static uint64_t (*private_out)[2], (*shared_out)[2], *private_x, *shared_x;
static const uint64_t *unreadable_x;
static uint64_t crash_mark;

static struct mm_test_orders *orders;

/* From the next point on that a worker passes. text NULL: nothing happens any more. */
static void give_orders(const char *text)
{
    atomic_fetch_or(&orders->version, 1);
    if (!text)
        return;
    snprintf(orders->text, sizeof orders->text, "%s", text);
    atomic_fetch_add(&orders->version, 1);
}

static void map_orders(void)
{
    const char *path = e2e_path("orders");
    char place[512];
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, sizeof *orders) == 0);
    orders = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(orders != MAP_FAILED);
    snprintf(place, sizeof place, "@%s", path);
    setenv("MAMUTO_TEST_POINT", place, 1);
}

static void open_mapper(void)
{
    mamuto_error_t err = { 0 };
    map_orders();
    mapper = e2e_open(WORKERS, E2E_MODULE("faults"));
    shared_x = mamuto_alloc(mapper, MAX_ITEMS, sizeof *shared_x, &err);
    shared_out = mamuto_alloc(mapper, MAX_ITEMS, sizeof *shared_out, &err);
    assert_true(shared_x && shared_out);
    for (size_t i = 0; i < MAX_ITEMS; i++)
        shared_x[i] = private_x[i] = i;
}

/* ---- One case ------------------------------------------------------------------------------------------------------ */

struct trial {
    const struct kind *kind;
    enum action action;
    unsigned point, passing;
    int second; /* another point where a worker is killed; -1: none */
    char token[512];
    pthread_t thread;
    _Atomic bool over;
    bool acted;
    struct timespec begun;
};

static double ms_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) * 1e3 + (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

static void describe(const struct trial *trial, FILE *to)
{
    fprintf(to, "case \"%s %s %s\", passing %u%s%s; MAMUTO_SEED=%" PRIu64 "\n", trial->kind->name,
            point_names[trial->point], action_names[trial->action], passings[trial->passing],
            trial->second < 0 ? "" : ", and another killed at ", trial->second < 0 ? "" : point_names[trial->second],
            seed);
}

static _Noreturn void give_up(const struct trial *trial, const char *why)
{
    fprintf(stderr, "%s\n", why);
    describe(trial, stderr);
    faults_print_board(stderr, faults_board());
    _exit(1);
}

/* The worker that has acted; 0: one was too late; -1: it is still writing, or there is none. */
static pid_t token_pid(const struct trial *trial)
{
    FILE *file = fopen(trial->token, "re");
    int pid = -1;
    if (file && fscanf(file, "%d\n", &pid) != 1)
        pid = -1;
    if (file)
        fclose(file);
    return pid;
}

/* The others have had a while to take everything: then the stopped worker goes on, or dies. true: it is over. */
static bool see_to(struct trial *trial)
{
    pid_t pid = token_pid(trial);
    if (pid < 0)
        return false;
    char state = faults_worker_state(pid);
    trial->acted = pid > 0;
    if (!pid || trial->action == KILL || !state || state == 'Z')
        return true; /* also one that a map killed at its end, since it held an item of it */
    if (state != 'T')
        return false;
    for (int i = 0; i < STOPPED_MS; i++)
        e2e_nap();
    kill(pid, trial->action == STOP_KILL ? SIGKILL : SIGCONT);
    return true;
}

/* Beside the map: continues or kills who stops, and sees that the map ends. Ends when nobody can stop any more. */
static void *watch(void *trial_)
{
    struct trial *trial = trial_;
    bool disarmed = false, seen = false;
    while (!disarmed || (!seen && access(trial->token, F_OK) == 0)) {
        if (ms_since(&trial->begun) > DEADLINE_MS)
            give_up(trial, "the map does not end");
        seen = seen || see_to(trial);
        if (trial->over && !disarmed) {
            give_orders(NULL);
            disarmed = true;
        } else
            nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
    }
    return NULL;
}

static unsigned char told[MAX_ITEMS]; /* by on_spans, of the map that runs */

static void on_spans(mamuto_map_t *map, const mamuto_span_t *spans, size_t n)
{
    (void)map;
    for (size_t k = 0; k < n; k++)
        for (uint64_t i = spans[k].first; i < spans[k].first + spans[k].count && i < MAX_ITEMS; i++)
            told[i]++;
}

static bool all_are_told(size_t n)
{
    size_t once = 0;
    for (size_t i = 0; i < MAX_ITEMS; i++)
        once += told[i] == (i < n);
    return once == MAX_ITEMS;
}

static void run_map(const struct trial *trial, const struct kind *kind, const struct faults_loss *loss)
{
    static struct faults_map map;
    mamuto_call_t call;
    char text[640];
    memcpy(map.knobs, kind->knobs, sizeof map.knobs);
    map.knobs[FAULTS_CRASH_MARK] = kind->crashes ? ++crash_mark : 0;
    map.n = kind->n;
    map.retries = kind->retries;
    map.on_error = kind->on_error;
    map.x = kind->arrays == PRIVATE ? private_x : kind->arrays == UNREADABLE ? unreadable_x : shared_x;
    map.out = kind->arrays == SHARED ? shared_out : private_out;
    faults_prepare(&map, &call);
    call.help = kind->help;
    call.once = kind->once;
    call.on_spans = kind->spans ? on_spans : NULL;
    memset(told, 0, sizeof told);
    map.status = mamuto_map_wait(mapper, &call, &map.err);
    bool right =
        kind->arrays == UNREADABLE
            ? map.status == MAMUTO_EARGS || (loss->items && map.status == MAMUTO_ECRASH) /* an item was lost before */
            : faults_is_right(&map, loss, text, sizeof text);
    if (right && kind->spans && !all_are_told(kind->n))
        give_up(trial, "an item was not told by on_spans, or twice");
    if (right)
        return;
    if (kind->arrays == UNREADABLE)
        snprintf(text, sizeof text, "status %d, expected MAMUTO_EARGS: %s", map.status, map.err.text);
    give_up(trial, text);
}

/* The orders stand while the maps run; then a map to which nothing happens. */
static void run_trial(struct trial *trial, const char *text, const struct faults_loss *loss)
{
    static const struct kind good = { .name = "good", .n = GOOD_ITEMS, .knobs = { 200 } };
    clock_gettime(CLOCK_MONOTONIC, &trial->begun);
    give_orders(text);
    assert_int_equal(pthread_create(&trial->thread, NULL, watch, trial), 0);
    for (int i = 0; i < trial->kind->maps; i++)
        run_map(trial, trial->kind, loss);
    trial->over = true;
    pthread_join(trial->thread, NULL);
    unlink(trial->token);
    run_map(trial, &good, &(struct faults_loss){ 0 });
}

static void name_token(struct trial *trial)
{
    static unsigned n_tokens;
    snprintf(trial->token, sizeof trial->token, "%s-%u", e2e_path("token"), ++n_tokens);
}

static const char *verb(enum action action) { return action == KILL ? "kill" : "stop"; }

/* false: the point was not passed so often. */
static bool try_point(const struct kind *kind, enum action action, unsigned point, unsigned passing)
{
    char text[640];
    struct trial trial = { .kind = kind, .action = action, .point = point, .passing = passing, .second = -1 };
    bool kills = action != STOP_CONTINUE;
    const struct faults_loss loss = { .items = kind->once ? LOST_BLOCK * (unsigned)(kills + kind->crashes)
                                                          : kills && kind->singly && !kind->retries,
                                      .blamed = kind->once ? LOST_BLOCK : kills,
                                      .crash_item = kills && !kind->retries };
    name_token(&trial);
    snprintf(text, sizeof text, "%s:%u:%s:%s", point_names[point], passings[passing], verb(action), trial.token);
    run_trial(&trial, text, &loss);
    reached[point][action] += trial.acted;
    return trial.acted;
}

/* Something happens to one worker, and another one (or its successor) is killed at the same time or later. */
static void try_pair(const struct kind *kind, enum action action, unsigned point, unsigned second)
{
    char text[1280], other[520];
    struct trial trial = { .kind = kind, .action = action, .point = point, .second = (int)second };
    unsigned kills = action == STOP_CONTINUE ? 1 : 2;
    /* After one death items run singly, so the next one may cost one. */
    const struct faults_loss loss = { .items = kind->once      ? LOST_BLOCK * (kills + 1)
                                               : kind->retries ? 0
                                                               : kills,
                                      .blamed = kind->once ? LOST_BLOCK : kills,
                                      .crash_item = !kind->retries };
    name_token(&trial);
    snprintf(other, sizeof other, "%s-b", trial.token);
    snprintf(text, sizeof text, "%s:1:%s:%s;%s:%u:kill:%s", point_names[point], verb(action), trial.token,
             point_names[second], passings[below(N_PASSINGS)], other);
    run_trial(&trial, text, &loss);
    unlink(other);
}

static bool is_wanted(const struct kind *kind, enum action action, unsigned point)
{
    char name[128];
    const char *wanted = getenv("MAMUTO_POINTS");
    snprintf(name, sizeof name, "%s %s %s", kind->name, point_names[point], action_names[action]);
    return !wanted || strstr(name, wanted);
}

static void try_kinds(enum action action)
{
    for (unsigned k = 0; k < N_KINDS; k++) {
        const struct trial warm = { .kind = &kinds[k], .action = action, .second = -1 };
        unsigned n = 0;
        give_orders(NULL);
        if (kinds[k].arrays != UNREADABLE) /* from now on an item's cost is known, so grains are as large as they get */
            run_map(&warm, &kinds[k],
                    &(struct faults_loss){ .items = kinds[k].once ? LOST_BLOCK : 0, .crash_item = true });
        for (unsigned i = 0; i < n_points; i++)
            for (unsigned j = 0; j < N_PASSINGS && is_wanted(&kinds[k], action, i); j++) {
                if (!try_point(&kinds[k], action, i, j))
                    break;
                n++;
            }
        print_message("%s: %s, %u times\n", action_names[action], kinds[k].name, n);
    }
}

/* ---- Tests --------------------------------------------------------------------------------------------------------- */

static void points_any_worker_is_killed_map_ends_right(void **state)
{
    (void)state;
    try_kinds(KILL);
}

static void points_any_worker_is_stopped_map_ends_right(void **state)
{
    (void)state;
    try_kinds(STOP_CONTINUE);
}

static void points_any_stopped_worker_is_killed_map_ends_right(void **state)
{
    (void)state;
    try_kinds(STOP_KILL);
}

static void points_two_workers_at_once_map_ends_right(void **state)
{
    (void)state;
    give_orders(NULL);
    for (unsigned i = 0; i < PAIRS && !getenv("MAMUTO_POINTS"); i++) {
        const struct kind *kind = &kinds[below(N_KINDS)];
        try_pair(kind, (enum action)below(N_ACTIONS), (unsigned)below(n_points), (unsigned)below(n_points));
    }
}

/* Whether a worker comes by depends on timing in some places (who wakes whom): those get more chances. */
static bool is_reached(unsigned point, enum action action)
{
    for (unsigned i = 0; i < CHANCES * N_KINDS && !reached[point][action]; i++)
        try_point(&kinds[i % N_KINDS], action, point, 0);
    return reached[point][action] > 0;
}

/* The other tests have come by every point that the sources have. */
static void points_of_the_sources_each_was_tried(void **state)
{
    (void)state;
    unsigned missed = 0;
    for (unsigned i = 0; i < n_points && !getenv("MAMUTO_POINTS"); i++)
        for (int action = 0; action < N_ACTIONS; action++)
            if (!is_reached(i, (enum action)action)) {
                print_error("never: %s at %s\n", action_names[action], point_names[i]);
                missed++;
            }
    assert_int_equal(missed, 0);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    random_state = seed;
    n_points = faults_points(MM_TEST_DIR "/../../shm/*.c", point_names, MAX_POINTS);
    assert_true(n_points > 20);
    e2e_scratch_begin();
    private_out = calloc(MAX_ITEMS, sizeof *private_out);
    private_x = calloc(MAX_ITEMS, sizeof *private_x);
    assert_true(private_out && private_x);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0);
    unreadable_x = (const uint64_t *)(void *)pages; /* 512 items, and a map of 600 */
    open_mapper();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(mapper);
    unsetenv("MAMUTO_TEST_POINT");
    free(private_out);
    free(private_x);
    e2e_scratch_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_any_worker_is_killed_map_ends_right),
        cmocka_unit_test(points_any_worker_is_stopped_map_ends_right),
        cmocka_unit_test(points_any_stopped_worker_is_killed_map_ends_right),
        cmocka_unit_test(points_two_workers_at_once_map_ends_right),
        cmocka_unit_test(points_of_the_sources_each_was_tried),
    };
    return cmocka_run_group_tests_name("points", tests, set_up, tear_down);
}
