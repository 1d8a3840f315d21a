#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

static rlm_concurrency of(uint64_t amount) {
    rlm_concurrency made;
    rlm_limit limit = rlm_concurrent(amount);
    memset(&made, 0xa5, sizeof made);
    CHECK_EQ(rlm_concurrency_init(&made, &limit), RLM_OK);
    return made;
}

static void bad_limits_change_nothing(void) {
    rlm_limit good = rlm_concurrent(10), bad[8];
    int status[8], count = 0, i;
    rlm_concurrency cap = of(10), before;
#define BAD(expected) bad[count] = good, status[count] = (expected), count++, bad[count - 1]
    BAD(RLM_E_KIND).kind = RLM_BUCKET;
    BAD(RLM_E_KIND).kind = 9;
    BAD(RLM_E_METER).meter = RLM_CUSTOM + 1;
    BAD(RLM_E_AMOUNT).amount = 0;
    BAD(RLM_E_AMOUNT).amount = (UINT64_C(1) << 31) + 1;
    BAD(RLM_E_AMOUNT).amount = UINT64_MAX;
#undef BAD
    CHECK_EQ(good.kind, RLM_CONCURRENCY);
    CHECK_EQ(rlm_concurrency_take(&cap, 3), 0);
    before = cap;
    for (i = 0; i < count; i++) {
        CHECK_EQ(rlm_concurrency_init(&cap, &bad[i]), status[i]);
        CHECK_EQ(rlm_concurrency_reconfigure(&cap, &bad[i]), status[i]);
        CHECK(memcmp(&before, &cap, sizeof cap) == 0);
    }
    CHECK_EQ(rlm_concurrency_init(NULL, &good), RLM_E_NULL);
    CHECK_EQ(rlm_concurrency_init(&cap, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_concurrency_reconfigure(NULL, &good), RLM_E_NULL);
    CHECK_EQ(rlm_concurrency_reconfigure(&cap, NULL), RLM_E_NULL);
    CHECK(memcmp(&before, &cap, sizeof cap) == 0);
}

static void take_and_release(void) {
    rlm_concurrency cap = of(3), before;
    CHECK_EQ(rlm_concurrency_take(&cap, 0), 0);
    CHECK_EQ(rlm_concurrency_take(&cap, 4), RLM_NEVER);
    CHECK_EQ(rlm_concurrency_take(&cap, UINT64_MAX), RLM_NEVER);
    CHECK_EQ(rlm_concurrency_release(&cap, 1), RLM_E_PERMIT);
    CHECK_EQ(rlm_concurrency_release(&cap, 0), RLM_OK);
    CHECK_EQ(rlm_concurrency_take(&cap, 2), 0);
    before = cap;
    CHECK_EQ(rlm_concurrency_take(&cap, 2), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_take(&cap, 4), RLM_NEVER);
    CHECK_EQ(rlm_concurrency_release(&cap, 3), RLM_E_PERMIT);
    CHECK_EQ(rlm_concurrency_release(&cap, UINT64_MAX), RLM_E_PERMIT);
    CHECK_EQ(rlm_concurrency_release(&cap, UINT64_C(1) << 32), RLM_E_PERMIT);
    CHECK(memcmp(&before, &cap, sizeof cap) == 0);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), 0);
    CHECK_EQ(rlm_concurrency_take(&cap, 0), 0);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_release(&cap, 3), RLM_OK);
    CHECK_EQ(rlm_concurrency_release(&cap, 1), RLM_E_PERMIT);
    CHECK_EQ(rlm_concurrency_take(&cap, 3), 0);
}

static void status_tells_what_is_out(void) {
    rlm_concurrency cap = of(3);
    rlm_usage usage;
    CHECK_EQ(rlm_concurrency_status(NULL, &usage), RLM_E_NULL);
    CHECK_EQ(rlm_concurrency_status(&cap, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_concurrency_status(&cap, &usage), RLM_OK);
    CHECK_EQ(usage.limit, 3);
    CHECK_EQ(usage.used, 0);
    CHECK_EQ(usage.remaining, 3);
    CHECK_EQ(usage.reset_ns, 0);
    CHECK_EQ(rlm_concurrency_take(&cap, 2), 0);
    CHECK_EQ(rlm_concurrency_status(&cap, &usage), RLM_OK);
    CHECK_EQ(usage.used, 2);
    CHECK_EQ(usage.remaining, 1);
    CHECK_EQ(usage.reset_ns, RLM_ON_RELEASE);
}

static void reconfiguring_below_what_is_out(void) {
    rlm_concurrency cap = of(10);
    rlm_limit limit = rlm_concurrent(4);
    rlm_usage usage;
    CHECK_EQ(rlm_concurrency_take(&cap, 8), 0);
    CHECK_EQ(rlm_concurrency_reconfigure(&cap, &limit), RLM_OK);
    CHECK_EQ(rlm_concurrency_status(&cap, &usage), RLM_OK);
    CHECK_EQ(usage.limit, 4);
    CHECK_EQ(usage.used, 8);
    CHECK(usage.remaining == -4);
    CHECK_EQ(rlm_concurrency_take(&cap, 5), RLM_NEVER);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_release(&cap, 4), RLM_OK);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_release(&cap, 1), RLM_OK);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), 0);
    CHECK_EQ(rlm_concurrency_release(&cap, 4), RLM_OK);
}

static void the_largest_cap(void) {
    const uint64_t most = UINT64_C(1) << 31;
    rlm_concurrency cap = of(most);
    rlm_limit one = rlm_concurrent(1), all = rlm_concurrent(most);
    CHECK_EQ(rlm_concurrency_take(&cap, most), 0);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_take(&cap, most), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_reconfigure(&cap, &one), RLM_OK);
    CHECK_EQ(rlm_concurrency_take(&cap, 1), RLM_ON_RELEASE);
    CHECK_EQ(rlm_concurrency_reconfigure(&cap, &all), RLM_OK);
    CHECK_EQ(rlm_concurrency_release(&cap, most), RLM_OK);
    CHECK_EQ(rlm_concurrency_release(&cap, 1), RLM_E_PERMIT);
}

static void random_against_a_count(void) {
    uint64_t random = check_seed(), cap = 5, out = 0, step;
    rlm_concurrency under_test = of(cap);
    for (step = 0; step < 200000; step++) {
        uint64_t n = check_random(&random) % 8;
        if (check_random(&random) % 2) {
            uint64_t expected = n > cap ? RLM_NEVER : out + n > cap ? RLM_ON_RELEASE : 0;
            CHECK_EQ(rlm_concurrency_take(&under_test, n), expected);
            if (expected == 0) out += n;
        } else {
            CHECK_EQ(rlm_concurrency_release(&under_test, n), n <= out ? RLM_OK : RLM_E_PERMIT);
            if (n <= out) out -= n;
        }
        if (check_random(&random) % 16 == 0) {
            rlm_limit limit = rlm_concurrent(cap = 1 + check_random(&random) % 9);
            CHECK_EQ(rlm_concurrency_reconfigure(&under_test, &limit), RLM_OK);
        }
    }
}

static const check_case cases[] = {
    CASE(bad_limits_change_nothing),
    CASE(take_and_release),
    CASE(status_tells_what_is_out),
    CASE(reconfiguring_below_what_is_out),
    CASE(the_largest_cap),
    CASE(random_against_a_count),
};

CHECK_MAIN(cases)
