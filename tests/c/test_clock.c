#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define SECOND RLM_SECOND_NS

static void now_does_not_go_back(void) {
    uint64_t k, last_ns = rlm_now();
    CHECK(last_ns != 0);
    for (k = 0; k < 200000; k++) {
        uint64_t now_ns = rlm_now();
        CHECK(now_ns >= last_ns);
        last_ns = now_ns;
    }
}

static void now_goes_on(void) {
    uint64_t from_ns = rlm_now(), k = 0;
    while (rlm_now() == from_ns) CHECK(++k < UINT64_C(1000000000));
}

/* The coarse clock lags behind the fine one by its resolution, and never leads. */
static void coarse_is_now_with_less_resolution(void) {
    uint64_t k, last_ns = 0;
    for (k = 0; k < 200000; k++) {
        uint64_t coarse_ns = rlm_now_coarse();
        CHECK(coarse_ns >= last_ns);
        CHECK(coarse_ns <= rlm_now());
        last_ns = coarse_ns;
    }
    CHECK(rlm_now() - last_ns < 3600 * SECOND); /* of the same clock: it counts the time suspended too */
}

static void wall_is_since_1970(void) {
    uint64_t wall_ns = rlm_wall();
    CHECK(wall_ns > UINT64_C(1577836800) * SECOND); /* 2020 */
    CHECK(wall_ns < UINT64_C(7258118400) * SECOND); /* 2200 */
}

/* Where there is a counter, it stays with the clock: an hour apart would be another clock. */
static void counter(void) {
    rlm_tsc tsc, before;
    uint64_t k, last_ns = 0;
    int status;
    memset(&tsc, 0xa5, sizeof tsc);
    before = tsc;
    CHECK_EQ(rlm_tsc_init(NULL), RLM_E_NULL);
    status = rlm_tsc_init(&tsc);
    if (status != RLM_OK) { /* unusable here, and said so */
        CHECK_EQ(status, RLM_E_CLOCK);
        CHECK(memcmp(&before, &tsc, sizeof tsc) == 0);
        return;
    }
    for (k = 0; k < 1000000; k++) {
        uint64_t from_ns, ns, to_ns;
        ns = rlm_tsc_now(&tsc);
        CHECK(ns + 1000000 >= last_ns); /* this thread may have changed cores */
        last_ns = ns;
        if (k % 1000 != 0) continue;
        from_ns = rlm_now();
        ns = rlm_tsc_now(&tsc);
        to_ns = rlm_now();
        CHECK(ns + 3600 * SECOND > from_ns && ns < to_ns + 3600 * SECOND);
    }
    CHECK(rlm_tsc_now(&tsc) >= tsc.base_ns);
}

/* The base may be moved by hand: what is read moves with it. */
static void a_counter_counts_from_its_base(void) {
    rlm_tsc tsc;
    uint64_t at_ns;
    if (rlm_tsc_init(&tsc) != RLM_OK) return;
    tsc.base_ns = UINT64_C(1) << 62;
    at_ns = rlm_tsc_now(&tsc);
    CHECK(at_ns >= UINT64_C(1) << 62 && at_ns < (UINT64_C(1) << 62) + 3600 * SECOND);
    tsc.base_ticks += UINT64_C(1) << 62; /* a counter that is behind stands still */
    CHECK_EQ(rlm_tsc_now(&tsc), UINT64_C(1) << 62);
}

static uint64_t manual_read(void *context) { return rlm_manual_now((const rlm_manual *)context); }

static void manual(void) {
    rlm_manual hand = {0};
    rlm_clock clock;
    clock.read = manual_read;
    clock.context = &hand;
    CHECK_EQ(rlm_manual_now(&hand), 0);
    CHECK_EQ(rlm_manual_advance(&hand, 5), 5);
    CHECK_EQ(rlm_clock_now(&clock), 5);
    rlm_manual_set(&hand, 3);
    CHECK_EQ(rlm_clock_now(&clock), 3);
    CHECK_EQ(rlm_manual_advance(&hand, 0), 3);
    rlm_manual_set(&hand, UINT64_MAX);
    CHECK_EQ(rlm_manual_now(&hand), UINT64_MAX);
}

/* With the real clock: greedy for some 50 ms, and never more than burst + rate x span. */
static void a_bucket_on_the_real_clock(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 100000);
    uint64_t start_ns = rlm_now(), now_ns = start_ns, admitted = 0, wait_ns;
    rlm_bucket bucket;
    limit.burst = 50;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, start_ns), RLM_OK);
    while (now_ns - start_ns < SECOND / 20) {
        now_ns = rlm_now();
        wait_ns = rlm_bucket_take(&bucket, 1, now_ns);
        CHECK(wait_ns <= 10000);
        admitted += wait_ns == 0;
    }
    CHECK(admitted <= 50 + (now_ns - start_ns) / 10000);
    CHECK(admitted >= 50);
}

static void a_window_on_the_real_clock(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 20, 5000000);
    static uint64_t memory[2000], log[100000];
    rlm_window *window = (rlm_window *)(void *)memory;
    uint64_t start_ns = rlm_now(), now_ns = start_ns;
    size_t count = 0, i;
    CHECK_EQ(rlm_window_init(window, sizeof memory, &limit, start_ns), RLM_OK);
    while (now_ns - start_ns < SECOND / 20) {
        now_ns = rlm_now();
        if (rlm_window_take(window, 1, now_ns, NULL) == 0) log[count++] = now_ns;
    }
    CHECK(count >= 20);
    for (i = 20; i < count; i++) CHECK(log[i] - log[i - 20] >= 5000000);
}

static void a_day_on_the_wall_clock(void) {
    uint64_t now_ns = rlm_now(), wall_ns = rlm_wall(), wait_ns;
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 1, 0, (int64_t)(wall_ns - now_ns));
    rlm_calendar quota;
    CHECK_EQ(rlm_calendar_init(&quota, &limit, now_ns), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns, NULL), 0);
    wait_ns = rlm_calendar_take(&quota, 1, now_ns, NULL);
    CHECK_EQ(wait_ns, RLM_DAY_NS - wall_ns % RLM_DAY_NS);
}

static const check_case cases[] = {
    CASE(now_does_not_go_back),
    CASE(now_goes_on),
    CASE(coarse_is_now_with_less_resolution),
    CASE(wall_is_since_1970),
    CASE(counter),
    CASE(a_counter_counts_from_its_base),
    CASE(manual),
    CASE(a_bucket_on_the_real_clock),
    CASE(a_window_on_the_real_clock),
    CASE(a_day_on_the_wall_clock),
};

CHECK_MAIN(cases)
