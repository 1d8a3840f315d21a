// A C++ unit without the implementation; and, with ALONE, one with it: C++11 to C++20.

#ifdef ALONE
#define RLM_IMPLEMENTATION
#endif
#include "two_units.h"

static const uint64_t start_ns = 20000 * RLM_DAY_NS;

extern "C" int unit_cxx(rlm_limiter *shared, rlm_permit *permit) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_bucket bucket;
    rlm_concurrency cap;
    rlm_manual hand = {5};
    rlm_backoff_state retry;
    rlm_backoff plan = rlm_backoff_default();
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 2), permits = rlm_concurrent(1);
    if (rlm_cancel(shared, permit, start_ns) != RLM_OK) return 1;
    if (rlm_cancel(shared, permit, start_ns) != RLM_E_PERMIT) return 2;
    if (rlm_check(shared, &cost, start_ns, nullptr) != 0) return 3;
    if (rlm_bucket_init(&bucket, &limit, start_ns) != RLM_OK) return 4;
    if (rlm_bucket_take(&bucket, 2, start_ns) != 0) return 5;
    if (rlm_bucket_take(&bucket, 1, start_ns) != RLM_MINUTE_NS / 2) return 6;
    if (rlm_bucket_peek(&bucket, 3, start_ns) != RLM_NEVER) return 7;
    if (rlm_concurrency_init(&cap, &permits) != RLM_OK) return 8;
    if (rlm_concurrency_take(&cap, 1) != 0 || rlm_concurrency_release(&cap, 1) != RLM_OK) return 9;
    if (rlm_manual_advance(&hand, 2) != 7) return 10;
    rlm_backoff_start(&retry, 1);
    if (rlm_backoff_next(&plan, &retry, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, 7 * RLM_SECOND_NS) != 7 * RLM_SECOND_NS) return 11;
    return 0;
}

#ifdef ALONE
#include <cstdio>

int main() {
    static rlm_limiter limiter;
    rlm_permit permit;
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_limit limit = rlm_concurrent(1);
    int failed = rlm_limiter_init(&limiter, &limit, 1, start_ns) != RLM_OK;
    failed |= rlm_acquire(&limiter, &cost, start_ns, &permit) != 0;
    failed |= unit_cxx(&limiter, &permit);
    std::printf("%s cxx\n", failed ? "not ok" : "ok");
    return failed;
}
#endif
