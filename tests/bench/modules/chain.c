/* The module of the uneven rows: items of as many dependent steps as their input says, and a variant that tells which
 * process did how many steps. */
#include "core/mamuto.h"
#include "tests/bench/modules/lanes.h"
#include "tests/bench/work.h"

MAMUTO_FUNCTION(chain, "u4 -> u8")
{
    MAMUTO_OUT(uint64_t) = work_chain(MAMUTO_IN(uint32_t, 0));
    return 0;
}

MAMUTO_FUNCTION(chain_lanes, "u4, u1[64] -> u8")
{
    MAMUTO_OUT(uint64_t) = work_chain(MAMUTO_IN(uint32_t, 0));
    return lanes_add(MAMUTO_IN(char[64], 1), MAMUTO_IN(uint32_t, 0));
}
