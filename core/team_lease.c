/* Leases: who gets which range of a call, and how much of it.
 *
 * This machine's workers take what they like of what is theirs; what another host gets is taken back from there (give_back)
 * or is open. Sizes: of the work that is left, a part by the host's measured share, half of it at most, as long as some
 * round trips, and no more bytes than the host may have in flight; two leases a host, so that it is never idle. Where this
 * machine will be done before a message is answered, nobody else is asked. What is open goes to other hosts first, and to
 * this machine when its own part is done.
 * At the end, what a host is late with is copied to one that is idle; who lands an item first has settled it
 * (core/claims.h). Not with `once`. A copy on this machine runs into scratch memory.
 * What two agents died of, perhaps, is given item by item, to hosts that have nothing else: the third death names the item.
 * Calls are served by priority, but each MM_PLAIN_TURN-th time the oldest one first.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/span.h"
#include "core/team_node.h"

enum { LEASES_PER_CALL = 2, LEASES_PER_CHILD = 16, FIRST_PART = 16, TICK_MS = 20 };
static const double LEASE_NS = 20e6, TRIPS = 4, LATE = 2, LATE_NS = 20e6, UNKNOWN_LATE_NS = 1e9;

struct mm_lease *mm_lease_of(struct mm_run *run) { return (struct mm_lease *)(void *)run; }

bool mm_child_can(const struct mm_child *child, const struct mm_call *call)
{
    return child->state == MM_CHILD_UP && mm_child_computes(child) &&
           !call->parts[child - child->team->children].refused && mm_team_has_modules(child, call->run) &&
           mm_team_has_keeps(child, call->run);
}

/* Whatever it still lacks is on its way. */
bool mm_child_will(const struct mm_child *child, const struct mm_call *call)
{
    return child->state == MM_CHILD_UP && mm_child_computes(child) &&
           !call->parts[child - child->team->children].refused && mm_team_will_have_modules(child, call->run) &&
           mm_team_will_have_keeps(child, call->run);
}

static bool is_suspect(const struct mm_range *range) { return range->deaths >= MM_DEATHS_OF_SUSPECTS; }

/* Opens a range again: behind the one that it adjoins, if that is the last. */
int mm_call_open(struct mm_call *call, struct mm_range range)
{
    struct mm_range *last = call->n_open ? &call->open[call->n_open - 1] : NULL;
    if (last && last->first + last->n == range.first && last->deaths == range.deaths) {
        last->n += range.n;
        return 0;
    }
    if (call->n_open == call->open_room) {
        size_t room = call->open_room ? 2 * call->open_room : 4;
        struct mm_range *more = mm_realloc(call->open, room * sizeof *more);
        if (!more)
            return MAMUTO_ENOMEM;
        call->open = more;
        call->open_room = room;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is room */
    call->open[call->n_open++] = range;
    call->team->suspects |= is_suspect(&range);
    return 0;
}

/* --- one lease ---------------------------------------------------------------------------------------------------------- */

/* The part of a call's run that is this range; arrays and numbers are the whole's. */
static void fill(struct mm_lease *lease, struct mm_range range)
{
    const struct mm_run *whole = lease->call->run;
    struct mm_run *run = &lease->run;
    uint64_t skip = range.first - whole->first;
    *run = *whole;
    run->first = range.first;
    run->n = range.n;
    run->job = NULL;
    run->died = false;
    run->call = lease->call->number;
    run->source = ++lease->call->n_sources;
    run->claims = lease->kind == MM_LEASE_OWN || mm_child_is_local(lease->child) ? NULL : lease->call->claims;
    run->wait = run->help = false;
    run->marks = whole->marks ? whole->marks + skip : NULL;
    if (whole->groups) {
        lease->groups = *whole->groups;
        if (whole->groups->absent)
            lease->groups.absent += skip * whole->groups->group_items;
        if (whole->groups->absent_out)
            lease->groups.absent_out += skip;
        run->groups = &lease->groups;
    }
    if (range.n < whole->n)
        mm_span_narrow(run);
    mm_lease_begin_log(lease);
}

/* Results of its own, packed, and marks behind them. */
static int take_scratch(struct mm_lease *lease, mamuto_error_t *err)
{
    struct mm_run *run = &lease->run;
    const struct mm_child *local = lease->child;
    uint64_t bytes;
    if (__builtin_mul_overflow(run->n, run->out_size + 1, &bytes))
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a copy of %llu items", (unsigned long long)run->n);
    lease->scratch = local->ops->alloc(local->node, bytes, err);
    if (!lease->scratch)
        return MAMUTO_ENOMEM;
    run->copy = true;
    run->log = NULL; /* what lands of it is told when it does */
    run->fail_fast = false;
    run->result = mm_span_array(lease->scratch, run->first * run->out_size);
    run->result_stride = (ptrdiff_t)run->out_size;
    run->marks = (uint8_t *)lease->scratch + run->n * run->out_size;
    memset(run->marks, 0, run->n);
    return 0;
}

void mm_lease_free(struct mm_lease *lease)
{
    struct mm_node *team = lease->call->team;
    const struct mm_child *local = mm_team_local(team);
    if (lease->scratch && !team->closing) /* else it goes with the node */
        local->ops->free(local->node, lease->scratch);
    mm_free(lease->log.at);
    mm_free(lease->log.reported);
    mm_free(lease->errors.at);
    mm_free(lease);
}

static void link_lease(struct mm_lease *lease)
{
    struct mm_call *call = lease->call;
    struct mm_team_part *part = &call->parts[lease->child - call->team->children];
    lease->next = call->leases;
    if (call->leases)
        call->leases->previous = lease;
    call->leases = lease;
    lease->child->n_leases++;
    lease->child->n_alone += lease->alone;
    if (part->n_leases++ == 0)
        part->since_ns = lease->begun_ns;
    part->in_leases += lease->run.n;
    lease->ahead = part->in_leases;
    part->had = true;
}

int mm_lease_begin(struct mm_call *call, struct mm_child *child, enum mm_lease_kind kind, struct mm_range range,
                   mamuto_error_t *err)
{
    struct mm_lease *lease = mm_alloc(sizeof *lease);
    if (!lease)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a range of a map");
    lease->call = call;
    lease->child = child;
    lease->kind = kind;
    lease->begun_ns = uv_hrtime();
    lease->deaths = range.deaths;
    lease->alone = is_suspect(&range) && !mm_child_is_local(child);
    fill(lease, range);
    if (kind == MM_LEASE_OWN && range.n == call->run->n) { /* the caller works on that, and waits for it */
        lease->run.wait = call->run->wait;
        lease->run.help = call->run->help;
    }
    int code = kind == MM_LEASE_COPY && mm_child_is_local(child) ? take_scratch(lease, err) : 0;
    if (!code)
        code = child->ops->run(child->node, &lease->run, err);
    if (code)
        mm_lease_free(lease);
    else
        link_lease(lease);
    return code;
}

/* --- how much ----------------------------------------------------------------------------------------------------------- */

/* What a call has left to give, and how fast it is worked on. */
struct left {
    uint64_t items, own; /* own: of these, this machine's */
    double own_rate;     /* of this machine, in items a ns; 0: not known */
    double all, each;    /* of all who compute; of a worker */
};

static void look_at_own(const struct mm_call *call, struct left *left)
{
    const struct mm_child *local = mm_team_local(call->team);
    uint64_t done = call->done;
    for (struct mm_lease *lease = call->leases; lease; lease = lease->next) {
        uint64_t landed = 0, failed = 0, n = lease->run.n - lease->given;
        if (lease->kind != MM_LEASE_OWN)
            continue;
        local->ops->progress(local->node, &lease->run, &landed, &failed);
        done += landed;
        left->own += n - (landed < n ? landed : n);
    }
    left->own_rate = (double)done / (double)(uv_hrtime() - call->begun_ns + 1);
}

/* Those who are not measured yet count as their workers would. */
static void look_at_rates(const struct mm_call *call, struct left *left)
{
    const struct mm_child *local = mm_team_local(call->team);
    int known = left->own_rate > 0 ? local->ops->workers(local->node) : 0, others = 0;
    double rates = left->own_rate;
    for (size_t i = 1; i < call->team->n_children; i++) {
        const struct mm_child *child = &call->team->children[i];
        if (!mm_child_can(child, call))
            continue;
        int n = child->ops->workers(child->node);
        rates += call->parts[i].rate;
        known += call->parts[i].rate > 0 ? n : 0;
        others += call->parts[i].rate > 0 ? 0 : n;
    }
    left->each = known > 0 ? rates / known : 0;
    left->all = rates + left->each * others;
}

static struct left look(const struct mm_call *call)
{
    struct left left = { 0 };
    look_at_own(call, &left);
    look_at_rates(call, &left);
    left.items = left.own;
    for (size_t i = 0; i < call->n_open; i++)
        left.items += call->open[i].n;
    return left;
}

static double bytes_of_item(const struct mm_run *run)
{
    double bytes = (double)run->out_size, n = (double)mm_run_n_items(run), units = (double)run->n;
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_run_arg *in = &run->in[k];
        if (in->offsets)
            bytes += (double)(in->high - in->low) * (double)in->size / units;
        else if (in->stride && !in->keep)
            bytes += (double)in->size * n / units;
    }
    return bytes;
}

static uint64_t at_least_one(double items)
{
    return items < 1 ? 1 : items < 0x1p62 ? (uint64_t)items : UINT64_C(1) << 62;
}

/* Items of the next lease; 0: it is not worth a message. */
static uint64_t size_of(const struct mm_call *call, const struct mm_child *child, const struct left *left)
{
    const struct mm_team_part *part = &call->parts[child - call->team->children];
    struct mm_node_state state = { 0 };
    double items = (double)left->items;
    child->ops->describe(child->node, &state);
    double trip = state.rtt_us * 1000, rate = part->rate > 0 ? part->rate : left->each * state.workers;
    if (!left->items || (left->own == left->items && left->own_rate > 0 && items / left->own_rate < 2 * trip))
        return 0;
    double fair = rate > 0 ? items * rate / left->all / 2 : items / FIRST_PART;
    double long_enough = rate * (trip * TRIPS > LEASE_NS ? trip * TRIPS : LEASE_NS);
    double size = rate > 0 && long_enough < fair ? long_enough : fair;
    if (part->rate <= 0 && size > items / FIRST_PART) /* nothing is known of it yet */
        size = items / FIRST_PART;
    double most = child->config->inflight_bytes / bytes_of_item(call->run) / LEASES_PER_CALL;
    return at_least_one(child->config->inflight_bytes && most < size ? most : size);
}

static struct mm_range *last_open(const struct mm_call *call, bool suspect)
{
    for (size_t i = call->n_open; i-- > 0;)
        if (is_suspect(&call->open[i]) == suspect)
            return &call->open[i];
    return NULL;
}

/* What is open: suspects go to hosts that have nothing else, one item; this machine, where only the worker dies, takes any. */
static bool take_open(struct mm_call *call, const struct mm_child *child, uint64_t want, struct mm_range *range)
{
    bool here = mm_child_is_local(child);
    struct mm_range *open = here || !child->n_leases ? last_open(call, true) : NULL;
    bool alone = open && !here;
    if (!open)
        open = last_open(call, false);
    if (!open)
        return false;
    *range = *open;
    range->n = alone ? 1 : want < open->n ? want : open->n;
    range->first = open->first + open->n - range->n;
    open->n -= range->n;
    if (!open->n)
        *open = call->open[--call->n_open];
    return true;
}

/* Takes a range of at most so many items for a child: what is open, or of this machine's. */
static bool take(struct mm_call *call, const struct mm_child *child, uint64_t want, struct mm_range *range)
{
    const struct mm_child *local = mm_team_local(call->team);
    if (take_open(call, child, want, range))
        return true;
    for (struct mm_lease *lease = call->leases; lease && local->ops->give_back; lease = lease->next) {
        if (lease->kind != MM_LEASE_OWN || lease->deaths >= MM_DEATHS_OF_SUSPECTS)
            continue;
        range->deaths = lease->deaths;
        range->n = local->ops->give_back(local->node, &lease->run, want, &range->first);
        lease->given += range->n;
        if (range->n)
            return true;
    }
    return false;
}

/* --- handing out -------------------------------------------------------------------------------------------------------- */

/* What becomes of a range that was taken, and that the child does not take. */
static void put_back(struct mm_call *call, struct mm_child *child, struct mm_range range, int code,
                     const mamuto_error_t *err)
{
    mamuto_error_t why = { 0 };
    if (code == MM_NODE_FULL)
        child->full = true;
    else if (code == MAMUTO_EHOST) { /* on_state or on_lost is on its way */
        child->full = true;
        mm_team_wake(call->team, TICK_MS);
    } else {
        call->parts[child - call->team->children].refused = true;
        mm_error_copy(&call->refusal, err);
        mm_team_wake(call->team, 0); /* nobody may be left */
    }
    if (mm_call_open(call, range)) {
        mm_error_set(&why, MAMUTO_ENOMEM, "no memory for a map that hosts share");
        mm_call_stop(call, &why);
    }
}

/* false: there is nothing for it, or it takes nothing. */
static bool give_one(struct mm_call *call, struct mm_child *child, struct left *left)
{
    struct mm_range range;
    mamuto_error_t err;
    uint64_t want = size_of(call, child, left);
    err.code = 0; /* large: its code alone says whether it is filled */
    if (!want || !take(call, child, want, &range))
        return false;
    left->items -= range.n < left->items ? range.n : left->items;
    left->own -= range.n < left->own ? range.n : left->own;
    int code = mm_lease_begin(call, child, MM_LEASE_RANGE, range, &err);
    if (code)
        put_back(call, child, range, code, &err);
    return code == 0;
}

/* Is there a suspect that the child could run, but not beside others? */
static bool is_awaited(const struct mm_child *child)
{
    const struct mm_node *team = child->team;
    for (struct mm_call *call = team->suspects ? team->first : NULL; call; call = call->next)
        if (last_open(call, true) && mm_child_can(child, call))
            return true;
    return false;
}

static bool has_room(const struct mm_child *child, const struct mm_call *call)
{
    return !child->full && !child->n_alone && child->n_leases < LEASES_PER_CHILD &&
           call->parts[child - call->team->children].n_leases < LEASES_PER_CALL && mm_child_can(child, call) &&
           (!is_awaited(child) || (!child->n_leases && last_open(call, true)));
}

static void serve_others(struct mm_call *call)
{
    struct left left;
    bool looked = false, more = true;
    for (int round = 0; round < LEASES_PER_CALL && more; round++) {
        more = false;
        for (size_t i = 1; i < call->team->n_children && !call->ending; i++) {
            struct mm_child *child = &call->team->children[i];
            if (!has_room(child, call))
                continue;
            if (!looked)
                left = look(call);
            looked = true;
            more |= give_one(call, child, &left);
        }
    }
}

/* What is open still, when this machine has nothing else of the call to do. */
static void serve_local(struct mm_call *call)
{
    struct mm_child *local = mm_team_local(call->team);
    mamuto_error_t err = { 0 };
    struct mm_range range;
    if (call->ending || !call->n_open || local->full || !mm_child_can(local, call) || call->parts[0].n_leases)
        return;
    (void)take(call, local, UINT64_MAX, &range);
    int code = mm_lease_begin(call, local, MM_LEASE_OWN, range, &err);
    if (code)
        put_back(call, local, range, code, &err);
}

/* --- copies ------------------------------------------------------------------------------------------------------------- */

static bool is_late(const struct mm_lease *lease)
{
    double rate = lease->call->parts[lease->child - lease->call->team->children].rate;
    double late = rate > 0 ? LATE * (double)lease->ahead / rate + LATE_NS : UNKNOWN_LATE_NS;
    return (double)(uv_hrtime() - lease->begun_ns) > late;
}

static bool has_copy(const struct mm_lease *of)
{
    for (const struct mm_lease *lease = of->call->leases; lease; lease = lease->next)
        if (lease->kind == MM_LEASE_COPY && lease->run.first == of->run.first && lease->run.n == of->run.n)
            return true;
    return false;
}

static struct mm_lease *next_late(struct mm_call *call, const struct mm_child *idle)
{
    for (struct mm_lease *lease = call->leases; lease; lease = lease->next)
        if (lease->kind == MM_LEASE_RANGE && lease->child != idle && !lease->revoked && !lease->copied &&
            lease->deaths < MM_DEATHS_OF_SUSPECTS && is_late(lease) && !has_copy(lease))
            return lease;
    return NULL;
}

static void copy_late(struct mm_call *call)
{
    if (call->ending || call->run->once || call->n_open || !call->leases)
        return;
    for (size_t i = 0; i < call->team->n_children; i++) {
        struct mm_child *child = &call->team->children[i];
        mamuto_error_t err = { 0 };
        bool idle = !call->parts[i].n_leases && !child->full && !child->n_alone && mm_child_can(child, call);
        struct mm_lease *late = idle ? next_late(call, child) : NULL;
        if (!late)
            continue;
        struct mm_range range = { late->run.first, late->run.n, late->deaths };
        child->full |= mm_lease_begin(call, child, MM_LEASE_COPY, range, &err) == MM_NODE_FULL;
    }
}

static void serve(struct mm_call *call)
{
    if (call->ending)
        return;
    serve_others(call);
    serve_local(call);
    copy_late(call);
    for (struct mm_lease *lease = call->leases; lease && !call->ending; lease = lease->next)
        if (lease->kind != MM_LEASE_OWN) {
            mm_team_wake(call->team, TICK_MS);
            return;
        }
}

static struct mm_call *oldest(const struct mm_node *team)
{
    struct mm_call *found = team->first;
    for (struct mm_call *call = team->first; call; call = call->next)
        found = call->arrival < found->arrival ? call : found;
    return found;
}

void mm_team_hand_out(struct mm_node *team)
{
    if (team->n_children == 1 && !team->first)
        return;
    if (team->first && ++team->turns % MM_PLAIN_TURN == 0)
        serve(oldest(team));
    for (struct mm_call *call = team->first; call; call = call->next)
        serve(call);
}
