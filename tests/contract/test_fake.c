/* The fake node keeps the contract, over many seeds; and where it is broken on purpose, the cases find it out. The seed is
 * printed; MAMUTO_SEED replays it. */
#include "tests/contract/contract.h"
#include "tests/contract/fake.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 10, PATIENCE_MS = 20000, BROKEN_PATIENCE_MS = 500 };

static const struct contract_kind fake = {
    .ops = &fake_node, .module = FAKE_MODULE, .no_module = "none", .lose = fake_lose
};

static uint64_t seed(void)
{
    const char *text = getenv("MAMUTO_SEED");
    return text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
}

/* ---- Broken on purpose ----------------------------------------------------------------------------------------------- */

struct planted {
    enum fake_break how;
    const char *found_by, *as; /* the case, and a part of what it says */
};

static const struct planted planted[] = {
    { FAKE_RAN_FROM_INSIDE, "node_runs_a_map", "on_ran was called from inside an operation" },
    { FAKE_RAN_TWICE, "node_runs_a_map", "on_ran was called twice" },
    { FAKE_RAN_AFTER_CLOSE, "node_closes_with_runs_in_flight", "on_ran was called after close" },
    { FAKE_ITEM_TWICE, "node_reports_failed_items_and_runs_all_others", "was reported twice" },
    { FAKE_ITEMS_SHUFFLED, "node_reports_failed_items_and_runs_all_others", "was reported after a later one" },
    { FAKE_ITEM_AFTER_RAN, "node_reports_failed_items_and_runs_all_others", "on_item_error came after on_ran" },
    { FAKE_ITEMS_ALL_REPORTED, "node_reports_a_thousand_failed_items_at_most", "more than 1000 failed items" },
    { FAKE_ITEM_LOST, "node_runs_a_map", "is -1, not" },
    { FAKE_RANGE_FROM_ZERO, "node_runs_a_range_of_a_map", "the result of item" },
    { FAKE_RUNS_WHAT_IT_GAVE, "node_gives_ranges_back", "given back twice" },
    { FAKE_CANCEL_UNHEARD, "node_cancels_an_item_that_never_ends", "waited in vain for: r->ran" },
    { FAKE_FULL_FOR_EVER, "node_says_when_it_is_full_and_has_room_again", "though there must be room" },
    { FAKE_LOST_BEFORE_RAN, "node_is_lost_after_its_runs_have_ended", "on_lost came before the on_ran" },
    { FAKE_CLOSED_TWICE, "node_comes_up_once_and_closes", "on_closed was called" },
};
enum { N_PLANTED = sizeof planted / sizeof *planted };
_Static_assert(N_PLANTED + 1 == FAKE_N_BREAKS, "each of them is looked for");

static const struct contract_case *case_of(const char *name)
{
    const struct contract_case *one = NULL;
    for (size_t i = 0; (one = contract_case_at(i)); i++)
        if (strcmp(one->name, name) == 0)
            return one;
    fail_msg("there is no case %s", name);
    return NULL;
}

static void contract_cases_find_a_node_that_is_broken(void **state)
{
    (void)state;
    char wrong[CONTRACT_TEXT];
    for (int i = 0; i < N_PLANTED; i++) {
        fake_settings.broken = planted[i].how;
        bool kept = contract_try(&fake, case_of(planted[i].found_by), BROKEN_PATIENCE_MS, wrong);
        fake_settings.broken = FAKE_KEEPS_IT;
        if (kept || !strstr(wrong, planted[i].as))
            fail_msg("%s: \"%s\", not \"…%s…\"", planted[i].found_by, wrong, planted[i].as);
    }
}

/* ---- Many orders ----------------------------------------------------------------------------------------------------- */

static void contract_cases_hold_in_whatever_order_things_come(void **state)
{
    uint64_t first = fake_settings.seed;
    char wrong[CONTRACT_TEXT];
    const struct contract_case *one;
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        fake_settings.seed = first + round;
        for (size_t i = 0; (one = contract_case_at(i)); i++)
            if (!contract_try(&fake, one, PATIENCE_MS, wrong))
                fail_msg("%s: %s; MAMUTO_SEED=%" PRIu64 " replays it", one->name, wrong, first + round);
    }
    fake_settings.seed = first;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_cases_find_a_node_that_is_broken),
        cmocka_unit_test(contract_cases_hold_in_whatever_order_things_come),
    };
    fake_settings.functions = fake_functions;
    fake_settings.seed = seed();
    print_message("MAMUTO_SEED=%" PRIu64 "\n", fake_settings.seed);
    int failed = contract_run_all(&fake);
    return failed + cmocka_run_group_tests_name("contract", tests, NULL, NULL);
}
