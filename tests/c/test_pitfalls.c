/* One test for each defect of released limiters that a limiter in one process can have. Each is
   written so that the defect would make it fail. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"
#include "model.h"

#define SECOND RLM_SECOND_NS
#define START (20000 * RLM_DAY_NS)

static rlm_limiter limiter;
static uint64_t memory[4096];

static rlm_bucket bucket_of(rlm_limit limit, uint64_t now_ns) {
    rlm_bucket made;
    memset(&made, 0, sizeof made);
    CHECK_EQ(rlm_bucket_init(&made, &limit, now_ns), RLM_OK);
    return made;
}

static rlm_window *window_of(rlm_limit limit, uint64_t now_ns) {
    rlm_window *made = (rlm_window *)(void *)memory;
    CHECK_EQ(rlm_window_init(made, sizeof memory, &limit, now_ns), RLM_OK);
    return made;
}

static uint64_t takes(rlm_bucket *bucket, uint64_t n, uint64_t calls, uint64_t now_ns) {
    uint64_t admitted = 0;
    while (calls-- > 0)
        if (rlm_bucket_take(bucket, n, now_ns) == 0) admitted += n;
    return admitted;
}

static rlm_cost requests(uint64_t n) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    cost.requests = n;
    return cost;
}

static uint64_t used(uint64_t index, uint64_t now_ns) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, (size_t)index, &usage, now_ns), RLM_OK);
    return usage.used;
}

/* 1. Tokens and time stamp in two words: a state between two updates spends twice. Every prefix of
   the calls must leave one word from which the rest follows. */
static void pitfall_01_one_word(void) {
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START), before;
    const unsigned char *a = (const unsigned char *)&bucket, *b = (const unsigned char *)&before;
    uint64_t k;
    size_t i;
    for (k = 0; k < 10; k++) {
        before = bucket;
        CHECK_EQ(rlm_bucket_take(&bucket, 1, START + k), 0);
        for (i = sizeof(uint64_t); i < sizeof bucket; i++) CHECK(a[i] == b[i]); /* only the first word moved */
    }
}

/* 2. A stale reading rewinds the stored time. A million calls, half of them stale. */
static void pitfall_02_stale_now(void) {
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 100), START);
    uint64_t k, admitted = 0, now_ns = START;
    for (k = 0; k < 1000000; k++) {
        now_ns += 100000; /* 100 s in all */
        admitted += rlm_bucket_take(&bucket, 1, k % 2 ? now_ns : now_ns - 900000000) == 0;
        if (k % 1000 == 0) CHECK_EQ(rlm_bucket_credit(&bucket, 0, now_ns - 5 * SECOND), RLM_OK);
    }
    CHECK(admitted <= 100 + 100 * 100);
    CHECK(admitted >= 100 * 100);
}

/* 2, with readings that lag by many times the burst's refill, as of threads that were preempted:
   each is in order of its own thread. */
static void pitfall_02_stale_by_several_bursts(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1000);
    uint64_t random = check_seed(), newest_ns = START, k;
    static admission log[20000];
    size_t count = 0;
    rlm_bucket bucket;
    limit.burst = 1;
    bucket = bucket_of(limit, START);
    for (k = 0; k < 20000; k++) {
        uint64_t now_ns;
        newest_ns += check_random(&random) % 500000;
        now_ns = check_random(&random) % 4 ? newest_ns : newest_ns - check_random(&random) % 8000000;
        if (rlm_bucket_take(&bucket, 1, now_ns) != 0) continue;
        log[count].at_ns = now_ns;
        log[count++].n = 1;
    }
    CHECK(log_keeps_rate(log, count, 1, 1000, SECOND, 0));
}

/* The same of windows. An operation with a stale reading happens after those that were admitted with
   newer ones, so its time is the newest of these. */
static void pitfall_02_stale_by_several_windows(void) {
    uint64_t random = check_seed(), k, n;
    static admission log[20000];
    for (n = 1; n <= 20; n += 19) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, n, 1000000);
        uint64_t newest_ns = START, newest_admitted_ns = 0;
        size_t count = 0;
        rlm_window *window;
        limit.cells = 12; /* exact for 1, slots for 20 */
        window = window_of(limit, START);
        for (k = 0; k < 20000; k++) {
            uint64_t now_ns;
            newest_ns += check_random(&random) % (500000 / n);
            now_ns = check_random(&random) % 4 ? newest_ns : newest_ns - check_random(&random) % 8000000;
            if (rlm_window_take(window, 1, now_ns, NULL) != 0) continue;
            if (now_ns > newest_admitted_ns) newest_admitted_ns = now_ns;
            log[count].at_ns = newest_admitted_ns;
            log[count++].n = 1;
        }
        CHECK(log_keeps_window(log, count, n, 1000000));
    }
}

/* 2, in set-rate and remove: these read the clock too. */
static void pitfall_02_stale_reconfiguration(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(limit, START);
    uint64_t k, admitted = takes(&bucket, 1, 100, START);
    for (k = 0; k < 100; k++) {
        CHECK_EQ(rlm_bucket_reconfigure(&bucket, &limit, START - (k % 5) * SECOND / 10), RLM_OK);
        CHECK_EQ(rlm_bucket_credit(&bucket, 0, START - SECOND / 2), RLM_OK);
        admitted += takes(&bucket, 1, 10, START);
    }
    CHECK_EQ(admitted, 10);
}

/* 3. A clock that once ran ahead blocks everyone until real time catches up; and healing must not
   fill the bucket. */
static void pitfall_03_clock_ran_ahead(void) {
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START);
    uint64_t k, admitted = 0, first = 0;
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 3600 * SECOND), 0);
    for (k = 0; k <= 300; k++) {
        if (rlm_bucket_take(&bucket, 1, START + k * SECOND / 100) == 0) {
            if (admitted++ == 0) first = k;
        }
    }
    CHECK(admitted != 0 && first <= 100);
    CHECK(admitted <= 30); /* what the three seconds earned */
}

/* 4. Doubles in the state: at large clock values a token rounds away, or the first is refused. */
static void pitfall_04_large_clock_values(void) {
    static const uint64_t starts[] = {0, 1, UINT64_C(1) << 53, (UINT64_C(1) << 53) + 1, UINT64_C(1700000000) * UINT64_C(1000000000),
                                      UINT64_C(1) << 63, UINT64_C(550) * 365 * RLM_DAY_NS};
    size_t i;
    for (i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 1000000000), starts[i]);
        uint64_t k;
        CHECK_EQ(rlm_bucket_take(&bucket, 1000000000, starts[i]), 0);
        CHECK_EQ(rlm_bucket_take(&bucket, 1, starts[i]), 1);
        for (k = 1; k < 1000; k++) {
            CHECK_EQ(rlm_bucket_take(&bucket, 1, starts[i] + k), 0);
            CHECK_EQ(rlm_bucket_take(&bucket, 1, starts[i] + k), 1);
        }
    }
}

/* 5. Whole nanoseconds a token: 7e8 a second became 43 % wrong. */
static void pitfall_05_fractions_of_a_nanosecond(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 700000000);
    uint64_t k, admitted = 0;
    rlm_bucket bucket;
    limit.burst = 10;
    bucket = bucket_of(limit, START);
    for (k = 0; k <= 1000000; k++) /* a millisecond, polled at each nanosecond */
        while (rlm_bucket_take(&bucket, 1, START + k) == 0) admitted++;
    CHECK_EQ(admitted, 700010);
}

/* 6. An unchecked product overflows after a long idle time or with large limits. */
static void pitfall_06_overflow_after_idling(void) {
    static const uint64_t idle[] = {SECOND, RLM_DAY_NS, 365 * RLM_DAY_NS, 1000 * RLM_DAY_NS, 20000 * RLM_DAY_NS, UINT64_MAX - START};
    size_t i;
    for (i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        rlm_bucket bucket = bucket_of(rlm_per(RLM_REQUESTS, RLM_AMOUNT_MAX, RLM_AMOUNT_MAX / 8), START);
        CHECK_EQ(takes(&bucket, RLM_AMOUNT_MAX / 4, 100, START), RLM_AMOUNT_MAX);
        CHECK(takes(&bucket, RLM_AMOUNT_MAX / 4, 100, START + idle[i]) <= RLM_AMOUNT_MAX);
        CHECK(rlm_bucket_take(&bucket, RLM_AMOUNT_MAX / 4, START + idle[i]) != 0);
    }
}

/* 7. Burst 1 meant unlimited; idling gave more than the burst. Fresh, idle, and just before. */
static void pitfall_07_burst_of_one_and_idle(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket;
    uint64_t burst;
    for (burst = 1; burst <= 10; burst++) {
        limit.burst = burst;
        bucket = bucket_of(limit, START);
        CHECK_EQ(takes(&bucket, 1, 100, START), burst);
        CHECK_EQ(takes(&bucket, 1, 100, START + burst * SECOND / 10 - 1), burst - 1);
        CHECK_EQ(takes(&bucket, 1, 100, START + 100 * SECOND), burst);
        CHECK_EQ(takes(&bucket, 1, 100, START + 200 * SECOND), burst);
        CHECK_EQ(takes(&bucket, 1, 100, START + 200 * SECOND + 99999999), 0);
        CHECK_EQ(takes(&bucket, 1, 100, START + 200 * SECOND + 100000000), 1);
    }
}

/* 8. A state that expires before its debt is paid forgives it. Here nothing expires. */
static void pitfall_08_debt_outlives_the_period(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1);
    rlm_bucket bucket;
    limit.burst = 1000; /* drains far longer than its period */
    bucket = bucket_of(limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 1000, START), 0);
    CHECK_EQ(rlm_bucket_debit(&bucket, 500, START), RLM_OK);
    CHECK_EQ(takes(&bucket, 1, 10, START + 500 * SECOND), 0);
    CHECK_EQ(takes(&bucket, 1, 10, START + 501 * SECOND), 1);
    CHECK_EQ(takes(&bucket, 1000, 1, START + 1499 * SECOND), 0);
}

/* 9. The wait is rounded up, admission is not rounded: at the wait it is admitted, and not before. */
static void pitfall_09_wait_rounds_up(void) {
    uint64_t rate;
    for (rate = 1; rate < 3000; rate += 1 + rate / 40) {
        rlm_limit limit = rlm_per_second(RLM_REQUESTS, rate);
        rlm_bucket bucket;
        uint64_t wait_ns, exact = SECOND / rate + (SECOND % rate != 0), k;
        limit.burst = 1;
        bucket = bucket_of(limit, START);
        CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 0);
        for (k = 1; k <= 3; k++) {
            wait_ns = rlm_bucket_peek(&bucket, 1, START);
            CHECK(wait_ns >= exact && wait_ns <= exact + 1);
            CHECK_EQ(rlm_bucket_peek(&bucket, 1, START + wait_ns), 0);
            CHECK(rlm_bucket_peek(&bucket, 1, START + exact - 1) != 0);
        }
    }
}

/* 10. Denied calls that still debit: a lock-out of months. */
static void pitfall_10_a_denial_changes_nothing(void) {
    rlm_limit limits[4];
    rlm_cost one = requests(1);
    rlm_permit permit;
    uint64_t k;
    limits[0] = rlm_per_second(RLM_REQUESTS, 10);
    limits[1] = rlm_sliding(RLM_REQUESTS, 10, SECOND);
    limits[2] = rlm_fixed(RLM_REQUESTS, 10, SECOND, 0);
    limits[3] = rlm_concurrent(100);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 4, START), RLM_OK);
    for (k = 0; k < 10; k++) CHECK_EQ(rlm_acquire(&limiter, &one, START, &permit), 0);
    for (k = 0; k < 100000; k++) CHECK(rlm_acquire(&limiter, &one, START + k, &permit) != 0);
    for (k = 0; k < 4; k++) CHECK_EQ(used(k, START), 10);
    CHECK_EQ(rlm_acquire(&limiter, &one, START + SECOND, &permit), 0);
    CHECK_EQ(rlm_recent(&limiter, START + SECOND), 11);
}

/* 11. "Too big ever" was reported as "retry later". */
static void pitfall_11_never_is_not_later(void) {
    rlm_limit limits[2];
    rlm_window *window = window_of(rlm_sliding(RLM_REQUESTS, 10, SECOND), START);
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START);
    rlm_cost eleven = requests(11), ten = requests(10);
    rlm_permit permit;
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 11, START), RLM_NEVER);
    CHECK(rlm_bucket_take(&bucket, 10, START) != RLM_NEVER);
    CHECK_EQ(rlm_window_take(window, 11, START, NULL), RLM_NEVER);
    limits[0] = rlm_per_second(RLM_REQUESTS, 100);
    limits[1] = rlm_fixed(RLM_REQUESTS, 10, SECOND, 0);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 2, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &eleven, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_acquire(&limiter, &ten, START, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &eleven, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_acquire(&limiter, &ten, START, &permit), SECOND);
}

/* 12. n = 0, negative n, zero rate, infinite rate: each has its answer. */
static void pitfall_12_degenerate_numbers(void) {
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START);
    rlm_limit zero = rlm_per_second(RLM_REQUESTS, 0), endless = rlm_per_second(RLM_REQUESTS, RLM_AMOUNT_MAX);
    rlm_limit no_time = rlm_per(RLM_REQUESTS, 1, 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 0, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, (uint64_t)-1, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_credit(&bucket, (uint64_t)-1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_debit(&bucket, (uint64_t)-1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK_EQ(rlm_bucket_init(&bucket, &zero, START), RLM_E_AMOUNT);
    CHECK_EQ(rlm_bucket_init(&bucket, &endless, START), RLM_E_RATE);
    CHECK_EQ(rlm_bucket_init(&bucket, &no_time, START), RLM_E_PERIOD);
    CHECK(rlm_bucket_take(&bucket, 1, START) != 0);
}

/* 13. Taking as much as there is while in debt added tokens: a negative remainder is no amount. */
static void pitfall_13_remaining_below_zero(void) {
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START);
    rlm_usage usage;
    CHECK_EQ(rlm_bucket_debit(&bucket, 15, START), RLM_OK);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START), RLM_OK);
    CHECK(usage.remaining == -5);
    CHECK_EQ(rlm_bucket_take(&bucket, (uint64_t)usage.remaining, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_take(&bucket, 0, START), SECOND / 2);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 6 * SECOND / 10);
}

/* 14. Off by one in the burst, and rates that drift: limit + 1, 130.7 for 100 a second, 1r/m as one
   in 62.5 s. */
static void pitfall_14_burst_and_rate_are_exact(void) {
    static const uint64_t rates[] = {1, 2, 3, 10, 50, 100, 1000};
    size_t i;
    for (i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        rlm_bucket bucket = bucket_of(rlm_per_minute(RLM_REQUESTS, rates[i]), START);
        uint64_t k, admitted = takes(&bucket, 1, 2 * rates[i], START);
        CHECK_EQ(admitted, rates[i]);
        for (k = 1; k <= 10 * 60 * 100; k++) /* ten minutes, polled each 10 ms */
            while (rlm_bucket_take(&bucket, 1, START + k * SECOND / 100) == 0) admitted++;
        CHECK_EQ(admitted, 11 * rates[i]);
    }
}

/* 15. A read and then a take is two steps: what a peek promised, a take at the same time keeps. */
static void pitfall_15_peek_is_take(void) {
    uint64_t random = check_seed(), k, now_ns = START;
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 97), START);
    for (k = 0; k < 100000; k++) {
        uint64_t n = check_random(&random) % 100, wait_ns = rlm_bucket_peek(&bucket, n, now_ns);
        CHECK_EQ(rlm_bucket_take(&bucket, n, now_ns), wait_ns);
        now_ns += check_random(&random) % SECOND;
    }
}

/* 16. Cycles allow twice the limit across their boundary. */
static void pitfall_16_no_double_at_the_boundary(void) {
    uint64_t offset;
    for (offset = 0; offset < SECOND; offset += SECOND / 97) {
        rlm_window *window = window_of(rlm_sliding(RLM_REQUESTS, 10, SECOND), START);
        uint64_t k, admitted = 0;
        for (k = 0; k < 20; k++) admitted += rlm_window_take(window, 1, START + offset + SECOND - 1, NULL) == 0;
        for (k = 0; k < 20; k++) admitted += rlm_window_take(window, 1, START + offset + SECOND + 1, NULL) == 0;
        CHECK_EQ(admitted, 10);
    }
}

/* 17. Cancelling gave back too much or too little. */
static void pitfall_17_a_cancel_gives_back_what_it_took(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_cost three = requests(3);
    rlm_permit permit, other;
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &three, START, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &three, START, &other), 0);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_EQ(used(0, START), 3);
    CHECK_EQ(rlm_cancel(&limiter, &other, START + 100 * SECOND), RLM_OK); /* long refilled: never above the burst */
    CHECK_EQ(used(0, START + 100 * SECOND), 0);
    {
        uint64_t k, admitted = 0;
        rlm_cost one = requests(1);
        for (k = 0; k < 100; k++) admitted += rlm_acquire(&limiter, &one, START + 100 * SECOND, &permit) == 0;
        CHECK_EQ(admitted, 10);
    }
}

/* 18. One error path without its roll-back: a refusal by the concurrency limit still burnt requests. */
static void pitfall_18_all_is_rolled_back(void) {
    rlm_limit limits[4];
    rlm_cost one = requests(1);
    rlm_permit first, permit;
    uint64_t order, k;
    for (order = 0; order < 4; order++) {
        limits[order] = rlm_concurrent(1);
        limits[(order + 1) % 4] = rlm_per_minute(RLM_REQUESTS, 100);
        limits[(order + 2) % 4] = rlm_sliding(RLM_REQUESTS, 100, RLM_MINUTE_NS);
        limits[(order + 3) % 4] = rlm_calendar_day(RLM_REQUESTS, 100, 0, 0);
        CHECK_EQ(rlm_limiter_init(&limiter, limits, 4, START), RLM_OK);
        CHECK_EQ(rlm_acquire(&limiter, &one, START, &first), 0);
        for (k = 0; k < 1000; k++) CHECK_EQ(rlm_acquire(&limiter, &one, START, &permit), RLM_ON_RELEASE);
        for (k = 0; k < 4; k++) CHECK_EQ(used(k, START), 1);
        CHECK_EQ(rlm_settle(&limiter, &first, &one, START), RLM_OK);
        CHECK_EQ(rlm_acquire(&limiter, &one, START, &permit), 0);
    }
}

/* 20. A reserve of output tokens above the limit refused the first call: it is said to be impossible,
   and an estimate within the limit is let in. */
static void pitfall_20_the_first_call(void) {
    rlm_limit limit = rlm_per_minute(RLM_OUTPUT_TOKENS, 1000);
    rlm_cost cost = requests(1);
    rlm_permit permit;
    int binding = -1;
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    cost.output_tokens = 1024;
    CHECK_EQ(rlm_check(&limiter, &cost, START, &binding), RLM_NEVER);
    CHECK_EQ(binding, 0);
    cost.output_tokens = 1000;
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    cost.output_tokens = 1024; /* and it may turn out to be more */
    CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_OK);
    CHECK_EQ(used(0, START), 1024);
}

/* 22. Changing the limit at run time stopped the refill or granted a burst. */
static void pitfall_22_reconfiguration(void) {
    rlm_limit low = rlm_per_second(RLM_REQUESTS, 10), high = rlm_per_second(RLM_REQUESTS, 20);
    rlm_bucket bucket = bucket_of(low, START);
    uint64_t k, admitted = takes(&bucket, 1, 100, START);
    for (k = 1; k <= 1000; k++) { /* ten seconds, a change each 10 ms, half the time at each rate */
        admitted += takes(&bucket, 1, 10, START + k * SECOND / 100);
        CHECK_EQ(rlm_bucket_reconfigure(&bucket, k % 2 ? &high : &low, START + k * SECOND / 100), RLM_OK);
    }
    CHECK(admitted <= 10 + 150);
    CHECK(admitted >= 10 + 145);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &high, START + 11 * SECOND), RLM_OK);
    CHECK_EQ(takes(&bucket, 20, 10, START + 13 * SECOND), 20); /* it still fills */
}

/* 23. Cancelled waiters leak their place. */
static void pitfall_23_cancelled_waiters_leave(void) {
    rlm_queue *queue = (rlm_queue *)(void *)memory;
    uint64_t handles[16], k, i;
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, 16, SECOND), RLM_OK);
    for (k = 0; k < 10000; k++) {
        for (i = 0; i < 16; i++) CHECK_EQ(rlm_queue_push(queue, i, (uint32_t)(i % 4), START + i, START, &handles[i]), RLM_OK);
        for (i = 0; i < 16; i++) CHECK_EQ(rlm_queue_remove(queue, handles[(i * 5 + k) % 16]), RLM_OK);
        CHECK_EQ(rlm_queue_count(queue), 0);
        CHECK_EQ(rlm_queue_deadline(queue), RLM_NO_DEADLINE);
    }
}

/* 23, of permits: a cancelled or failed request gives its connection and tokens back. */
static void pitfall_23_cancelled_permits_come_back(void) {
    rlm_limit limits[2];
    rlm_cost one = requests(1);
    rlm_permit permit;
    uint64_t k;
    limits[0] = rlm_concurrent(1);
    limits[1] = rlm_sliding(RLM_REQUESTS, 3, RLM_MINUTE_NS);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 2, START), RLM_OK);
    for (k = 0; k < 10000; k++) {
        CHECK_EQ(rlm_acquire(&limiter, &one, START + k, &permit), 0);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START + k), RLM_OK);
    }
}

/* 24. Large requests starve behind small ones, or one too large blocks the queue for ever. The head
   alone is tried; small ones that come later wait behind it. */
static void pitfall_24_large_requests_keep_their_place(void) {
    rlm_queue *queue = (rlm_queue *)(void *)memory;
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START);
    uint64_t now_ns = START, handle, n, pushed = 0, large_at_ns = 0;
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, 50, 30 * SECOND), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK_EQ(rlm_queue_push(queue, 10, RLM_NORMAL, RLM_NO_DEADLINE, START, &handle), RLM_OK);
    while (large_at_ns == 0 && now_ns < START + 100 * SECOND) { /* a small one each 50 ms: twice the rate */
        if (rlm_queue_push(queue, 1, RLM_NORMAL, RLM_NO_DEADLINE, now_ns, &handle) == RLM_OK) pushed++;
        while (rlm_queue_head(queue, &handle, &n) && rlm_bucket_take(&bucket, n, now_ns) == 0) {
            if (n == 10) large_at_ns = now_ns;
            CHECK_EQ(rlm_queue_remove(queue, handle), RLM_OK);
        }
        now_ns += SECOND / 20;
    }
    CHECK_EQ(large_at_ns, START + SECOND);
    CHECK(pushed > 10);
    CHECK_EQ(rlm_bucket_take(&bucket, 11, now_ns), RLM_NEVER); /* too large for ever is told, not queued */
}

/* 28. First in, first out, that is not: ten thousand of one priority with equal and stale times. */
static void pitfall_28_first_in_first_out(void) {
    static uint64_t room[(64 + 48 * 1000) / 8];
    rlm_queue *queue = (rlm_queue *)(void *)room;
    uint64_t random = check_seed(), k, handle, data;
    CHECK_EQ(rlm_queue_init(queue, sizeof room, 1000, RLM_AGEING_DEFAULT), RLM_OK);
    for (k = 0; k < 10000; k++) {
        CHECK_EQ(rlm_queue_push(queue, k, RLM_NORMAL, RLM_NO_DEADLINE, START + k / 10 - check_random(&random) % 50, &handle), RLM_OK);
        if (k < 500) continue;
        CHECK(rlm_queue_head(queue, &handle, &data));
        CHECK_EQ(data, k - 500);
        CHECK_EQ(rlm_queue_remove(queue, handle), RLM_OK);
    }
}

/* 29. Ten million queued jobs: a queue is bounded, and says that it is full. */
static void pitfall_29_queues_are_bounded(void) {
    rlm_queue *queue = (rlm_queue *)(void *)memory;
    uint64_t k, handle, refused = 0;
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, 100, 0), RLM_OK);
    for (k = 0; k < 100000; k++) refused += rlm_queue_push(queue, k, RLM_NORMAL, RLM_NO_DEADLINE, START, &handle) == RLM_E_FULL;
    CHECK_EQ(refused, 100000 - 100);
    CHECK_EQ(rlm_queue_count(queue), 100);
}

/* 30. Silent waits: which limit binds, and until when. */
static void pitfall_30_which_limit_binds(void) {
    rlm_limit limits[3];
    rlm_cost one = requests(1);
    rlm_permit permit;
    uint64_t k;
    int binding = 77;
    limits[0] = rlm_per_second(RLM_REQUESTS, 2);
    limits[1] = rlm_sliding(RLM_REQUESTS, 4, RLM_MINUTE_NS);
    limits[2] = rlm_calendar_day(RLM_REQUESTS, 6, 0, 0);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 3, START), RLM_OK);
    CHECK_EQ(rlm_check(&limiter, &one, START, &binding), 0);
    CHECK_EQ(binding, (uint64_t)-1);
    for (k = 0; k < 2; k++) CHECK_EQ(rlm_acquire(&limiter, &one, START, &permit), 0);
    CHECK_EQ(rlm_check(&limiter, &one, START, &binding), SECOND / 2);
    CHECK_EQ(binding, 0);
    for (k = 0; k < 2; k++) CHECK_EQ(rlm_acquire(&limiter, &one, START + 10 * SECOND, &permit), 0);
    CHECK_EQ(rlm_check(&limiter, &one, START + 20 * SECOND, &binding), 40 * SECOND);
    CHECK_EQ(binding, 1);
    for (k = 0; k < 2; k++) CHECK_EQ(rlm_acquire(&limiter, &one, START + 80 * SECOND, &permit), 0);
    CHECK_EQ(rlm_check(&limiter, &one, START + 200 * SECOND, &binding), RLM_DAY_NS - 200 * SECOND);
    CHECK_EQ(binding, 2);
}

/* 37. A counter that is not monotonic, as a clock: readings that tremble mint nothing. */
static void pitfall_37_a_clock_that_is_not_monotonic(void) {
    rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 1000), START);
    uint64_t random = check_seed(), k, admitted = 0;
    for (k = 0; k < 1000000; k++) /* one second */
        admitted += rlm_bucket_take(&bucket, 1, START + SECOND + k * 1000 - check_random(&random) % 2000000) == 0;
    CHECK(admitted <= 2002 && admitted >= 1990); /* the readings span 2 ms more */
}

/* 39. A wall clock set back refilled the bucket, by the absolute value of a difference. */
static void pitfall_39_a_clock_set_back_fills_nothing(void) {
    uint64_t back;
    for (back = 1; back < RLM_DAY_NS; back *= 7) {
        rlm_bucket bucket = bucket_of(rlm_per_second(RLM_REQUESTS, 10), START);
        rlm_window *window = window_of(rlm_sliding(RLM_REQUESTS, 10, SECOND), START);
        uint64_t k;
        CHECK_EQ(takes(&bucket, 1, 100, START), 10);
        CHECK_EQ(takes(&bucket, 1, 100, START - back), 0);
        CHECK_EQ(takes(&bucket, 1, 100, START), 0);
        CHECK_EQ(rlm_window_take(window, 10, START, NULL), 0);
        for (k = 0; k < 10; k++) CHECK(rlm_window_take(window, 1, START - back, NULL) != 0);
        CHECK(rlm_window_take(window, 1, START, NULL) != 0);
    }
}

static const check_case cases[] = {
    CASE(pitfall_01_one_word),
    CASE(pitfall_02_stale_now),
    CASE(pitfall_02_stale_by_several_bursts),
    CASE(pitfall_02_stale_by_several_windows),
    CASE(pitfall_02_stale_reconfiguration),
    CASE(pitfall_03_clock_ran_ahead),
    CASE(pitfall_04_large_clock_values),
    CASE(pitfall_05_fractions_of_a_nanosecond),
    CASE(pitfall_06_overflow_after_idling),
    CASE(pitfall_07_burst_of_one_and_idle),
    CASE(pitfall_08_debt_outlives_the_period),
    CASE(pitfall_09_wait_rounds_up),
    CASE(pitfall_10_a_denial_changes_nothing),
    CASE(pitfall_11_never_is_not_later),
    CASE(pitfall_12_degenerate_numbers),
    CASE(pitfall_13_remaining_below_zero),
    CASE(pitfall_14_burst_and_rate_are_exact),
    CASE(pitfall_15_peek_is_take),
    CASE(pitfall_16_no_double_at_the_boundary),
    CASE(pitfall_17_a_cancel_gives_back_what_it_took),
    CASE(pitfall_18_all_is_rolled_back),
    CASE(pitfall_20_the_first_call),
    CASE(pitfall_22_reconfiguration),
    CASE(pitfall_23_cancelled_waiters_leave),
    CASE(pitfall_23_cancelled_permits_come_back),
    CASE(pitfall_24_large_requests_keep_their_place),
    CASE(pitfall_28_first_in_first_out),
    CASE(pitfall_29_queues_are_bounded),
    CASE(pitfall_30_which_limit_binds),
    CASE(pitfall_37_a_clock_that_is_not_monotonic),
    CASE(pitfall_39_a_clock_set_back_fills_nothing),
};

CHECK_MAIN(cases)
