/* test_simulated.c - defects that the simulator found, each at its smallest. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define SECOND RLM_SECOND_NS
#define MINUTE RLM_MINUTE_NS
#define START (20000 * RLM_DAY_NS)

static uint64_t memory[24 * 1024];
static rlm_window *const window = (rlm_window *)(void *)memory;
static rlm_limiter limiter;

static rlm_cost one(void) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    return cost;
}

static rlm_feedback feedback_of(uint32_t outcome) {
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = outcome;
    feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
    return feedback;
}

/* A clock that is set back to before a slotted window was made: believed after a period, it admitted without end. */
static void a_window_holds_when_set_back_to_before_its_beginning(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 1000, MINUTE);
    uint64_t k, admitted = 0;
    CHECK_EQ(rlm_window_init(window, sizeof memory, &limit, START), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 1000, START, NULL), 0);
    for (k = 0; k < 7000; k++) admitted += rlm_window_take(window, 1, START - 600 * SECOND + k * SECOND / 60, NULL) == 0;
    CHECK(admitted <= 2000);
}

/* What was admitted while a clock that was set back was not yet believed counts on, in cells that were used before too. */
static void what_a_late_window_admits_counts_on(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 18, MINUTE);
    uint64_t now_ns = START, k, admitted = 0, mark = 0;
    limit.cells = 20;
    CHECK_EQ(rlm_window_init(window, sizeof memory, &limit, START), RLM_OK);
    for (k = 0; k < 40; k++) { /* all cells, twice */
        CHECK_EQ(rlm_window_take(window, 1, now_ns, NULL), 0);
        now_ns += 4 * SECOND;
    }
    now_ns -= RLM_HOUR_NS;
    CHECK(rlm_window_take(window, 18, now_ns, NULL) != 0); /* from here on it is behind */
    now_ns += 55 * SECOND;
    for (k = 0; k < 18; k++) admitted += rlm_window_take(window, 1, now_ns, &mark) == 0;
    now_ns += 10 * SECOND; /* believed */
    for (k = 0; k < 18; k++) admitted += rlm_window_take(window, 1, now_ns, NULL) == 0;
    CHECK_EQ(admitted, 18);
}

/* The same where no cell was left, and the operation joined a record of before. */
static void what_joins_a_late_record_counts_on(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 3, MINUTE);
    uint64_t now_ns = START, k, admitted = 0, mark = 0;
    limit.cells = 5;
    CHECK_EQ(rlm_window_init(window, sizeof memory, &limit, START), RLM_OK);
    for (k = 0; k < 7; k++) { /* given back: they hold nothing, but a cell each */
        CHECK_EQ(rlm_window_take(window, 1, now_ns, &mark), 0);
        CHECK_EQ(rlm_window_credit(window, 1, mark), RLM_OK);
    }
    CHECK_EQ(rlm_window_take(window, 1, now_ns, &mark), 0);
    now_ns -= RLM_HOUR_NS;
    CHECK(rlm_window_take(window, 3, now_ns, NULL) != 0);
    now_ns += 55 * SECOND;
    for (k = 0; k < 3; k++) admitted += rlm_window_take(window, 1, now_ns, NULL) == 0;
    now_ns += 10 * SECOND;
    for (k = 0; k < 3; k++) admitted += rlm_window_take(window, 1, now_ns, NULL) == 0;
    CHECK(admitted <= 3);
}

/* A limit that was guessed lower and found higher again ends with the burst that was configured, not a larger one. */
static void a_guess_that_comes_back_brings_no_burst(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 8), in_force;
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    rlm_cost cost = one();
    rlm_permit permit;
    uint64_t now_ns = START, k;
    limit.burst = 3;
    memset(&permit, 0, sizeof permit);
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, now_ns), RLM_OK);
    for (k = 0; k < 400; k++) {
        feedback.outcome = k % 8 == 0 ? RLM_REFUSED : RLM_ANSWERED;
        if (rlm_acquire(&limiter, &cost, now_ns, &permit) == 0) {
            CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, now_ns + SECOND / 10), RLM_OK);
            CHECK_EQ(rlm_settle(&limiter, &permit, &cost, now_ns + SECOND / 10), RLM_OK);
        }
        while (rlm_acquire(&limiter, &cost, now_ns + SECOND / 5, &permit) == 0)
            CHECK_EQ(rlm_settle(&limiter, &permit, &cost, now_ns + SECOND / 5), RLM_OK);
        now_ns += 17 * SECOND;
        CHECK_EQ(rlm_in_force(&limiter, 0, &in_force), RLM_OK);
        CHECK(in_force.burst <= limit.burst && in_force.amount <= limit.amount);
    }
}

/* A refusal of a request larger than the amount in a period (the burst is larger) does not raise the amount. */
static void a_guess_is_never_above_what_was_configured(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 5), in_force;
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    rlm_cost cost = {8, 0, 0, 0, 0};
    rlm_permit permit;
    limit.burst = 10;
    memset(&permit, 0, sizeof permit);
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START + SECOND), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &in_force), RLM_OK);
    CHECK(in_force.amount <= 5);
}

/* After a stale reading the newest record of an exact window does not leave last. */
static void reset_of_a_window_after_a_stale_reading(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, MINUTE);
    rlm_usage usage;
    CHECK_EQ(rlm_window_init(window, sizeof memory, &limit, START), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 1, START + SECOND, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + SECOND / 2, NULL), 0);
    CHECK_EQ(rlm_window_status(window, &usage, START + SECOND), RLM_OK);
    CHECK_EQ(usage.reset_ns, MINUTE);
}

/* An answer that is observed by a reading of just before its request: the time between was not sent. */
static void a_stale_observation_is_no_debt(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 10000000, 10 * SECOND);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_cost cost = {9000000, 0, 0, 0, 0};
    rlm_permit permit;
    uint64_t wait_ns;
    limit.follow = RLM_FOLLOW;
    memset(&permit, 0, sizeof permit);
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    feedback.count = 1;
    feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
    feedback.reading[0].limit = feedback.reading[0].remaining = 10;
    feedback.reading[0].period_ns = feedback.reading[0].period_least_ns = feedback.reading[0].period_most_ns = 10 * SECOND;
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START - SECOND / 10), RLM_OK);
    cost.requests = 1;
    wait_ns = rlm_check(&limiter, &cost, START, NULL);
    CHECK(wait_ns <= 20 * SECOND);
}

/* A request is out while the clock is set back by two hours; its answer comes when the new clock is believed. */
static void an_answer_from_before_a_clock_was_set_back(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 72);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_cost cost = one();
    rlm_permit early, permit;
    uint64_t now_ns = START, wait_ns = 0, k;
    memset(&early, 0, sizeof early);
    memset(&permit, 0, sizeof permit);
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &early), 0);
    now_ns -= 2 * RLM_HOUR_NS;
    for (k = 0; k < 10 && (wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit)) != 0; k++) now_ns += wait_ns;
    CHECK_EQ(wait_ns, 0);
    feedback.count = 1;
    feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
    feedback.reading[0].limit = 72;
    feedback.reading[0].remaining = 10;
    feedback.reading[0].period_ns = SECOND;
    CHECK_EQ(rlm_observe(&limiter, &early, &feedback, now_ns), RLM_OK);
    CHECK(rlm_check(&limiter, &cost, now_ns, NULL) <= MINUTE);
}

/* A larger burst fills at the rate; also where a nanosecond is no whole number of ticks, and asked at once. */
static void a_larger_burst_is_no_clock_set_back(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 16324, 29626684407808);
    rlm_bucket bucket;
    limit.burst = 1;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 0);
    limit.amount = UINT64_C(7883194368);
    limit.burst = UINT64_C(14966325248);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &limit, START), RLM_OK);
    CHECK(rlm_bucket_peek(&bucket, 1, START) <= SECOND);
}

/* However often it is taken and given back within a period, no more than the amount is out. */
static void what_is_given_back_often_does_not_overflow(void) {
    static const uint64_t amounts[] = {1, 5, 100, 1000, 1000000};
    size_t i;
    for (i = 0; i < 10; i++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, amounts[i / 2], MINUTE);
        uint64_t now_ns = START, mark = 0, k, wait_ns;
        limit.cells = i % 2 ? 12 : 0;
        CHECK_EQ(rlm_window_init(window, sizeof memory, &limit, START), RLM_OK);
        for (k = 0; k < 3000; k++) {
            while ((wait_ns = rlm_window_take(window, limit.amount, now_ns, &mark)) != 0) now_ns += wait_ns;
            CHECK(rlm_window_peek(window, 1, now_ns) != 0);
            CHECK_EQ(rlm_window_credit(window, limit.amount, mark), RLM_OK);
            now_ns += 1000000;
        }
        CHECK(now_ns < START + 1000 * MINUTE);
    }
}

static const check_case cases[] = {
    CASE(a_window_holds_when_set_back_to_before_its_beginning),
    CASE(what_a_late_window_admits_counts_on),
    CASE(what_joins_a_late_record_counts_on),
    CASE(a_guess_that_comes_back_brings_no_burst),
    CASE(a_guess_is_never_above_what_was_configured),
    CASE(reset_of_a_window_after_a_stale_reading),
    CASE(a_stale_observation_is_no_debt),
    CASE(an_answer_from_before_a_clock_was_set_back),
    CASE(a_larger_burst_is_no_clock_set_back),
    CASE(what_is_given_back_often_does_not_overflow),
};
CHECK_MAIN(cases)
