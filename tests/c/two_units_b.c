/* A unit without the implementation. */

#include "two_units.h"

#define START (20000 * RLM_DAY_NS)

int unit_b(rlm_limiter *shared, rlm_permit *permit) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_permit other;
    rlm_usage usage;
    if (rlm_acquire(shared, &cost, START, &other) != RLM_ON_RELEASE) return 1;
    if (rlm_settle(shared, permit, &cost, START) != RLM_OK) return 2;
    if (rlm_settle(shared, permit, &cost, START) != RLM_E_PERMIT) return 3;
    if (rlm_status(shared, 0, &usage, START) != RLM_OK || usage.used != 1) return 4;
    if (rlm_status(shared, 2, &usage, START) != RLM_OK || usage.used != 1) return 5;
    return 0;
}
