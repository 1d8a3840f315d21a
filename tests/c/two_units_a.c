/* The unit with the implementation, and main. */

#define RLM_IMPLEMENTATION
#include "two_units.h"
#include "check.h"

#define START (20000 * RLM_DAY_NS)

static rlm_limiter limiter;
static rlm_permit permit;

int unit_a(rlm_limiter *shared, rlm_permit *out) {
    rlm_limit limits[3];
    rlm_cost cost = {1, 0, 0, 0, 0};
    limits[0] = rlm_per_second(RLM_REQUESTS, 10);
    limits[1] = rlm_concurrent(1);
    limits[2] = rlm_sliding(RLM_REQUESTS, 10, RLM_SECOND_NS);
    if (rlm_limiter_init(shared, limits, 3, START) != RLM_OK) return 1;
    if (rlm_acquire(shared, &cost, START, out) != 0) return 2;
    return 0;
}

/* What one unit acquired, another sees and settles. */
static void units_share_their_state(void) {
    CHECK_EQ(unit_a(&limiter, &permit), 0);
    CHECK_EQ(unit_b(&limiter, &permit), 0);
#ifdef WITH_CXX
    CHECK_EQ(unit_a(&limiter, &permit), 0);
    CHECK_EQ(unit_cxx(&limiter, &permit), 0);
#endif
    CHECK_EQ(rlm_recent(&limiter, START), 1);
    CHECK(strcmp(rlm_strerror(RLM_OK), "ok") == 0);
}

static const check_case cases[] = {
    CASE(units_share_their_state),
};

CHECK_MAIN(cases)
