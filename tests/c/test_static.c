/* Everything static, in a unit of its own, with no clock, no windows and two limits: the options work
   together, and functions that are not used raise no warning. */

#ifndef RLM_STATIC
#define RLM_STATIC
#endif
#define RLM_NO_CLOCK
#define RLM_LIMITS_MAX 2
#define RLM_WINDOW_CELLS 0
#include "rlimit.h"
#include "rlimit.h"
#include "check.h"

#define START (20000 * RLM_DAY_NS)

static void a_small_limiter(void) {
    static rlm_limiter limiter;
    rlm_limit limits[3];
    rlm_cost cost = {3, 0, 0, 0, 0};
    rlm_permit permit;
    limits[0] = rlm_per_second(RLM_REQUESTS, 3);
    limits[1] = limits[2] = rlm_concurrent(1);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 3, START), RLM_E_LIMITS);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 2, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_ON_RELEASE);
    CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_SECOND_NS);
    limits[0] = rlm_sliding(RLM_REQUESTS, 3, RLM_SECOND_NS);
    limits[0].cells = 3;
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, limits, 2, START)), RLM_E_CELLS);
    CHECK(sizeof limiter < 2300);
}

static const check_case cases[] = {
    CASE(a_small_limiter),
};

CHECK_MAIN(cases)
