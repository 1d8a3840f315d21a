/* rlm_observe and all that goes with it, from several threads at once. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"
#include "model.h"

#include <pthread.h>
#include <sched.h>

#define SECOND RLM_SECOND_NS
#define MINUTE RLM_MINUTE_NS
#define START (20000 * RLM_DAY_NS)
#define THREADS 4
#define ROUNDS 8000

static rlm_manual hand, gate, broken, done[THREADS];
static rlm_limiter limiter;
static rlm_route route;

/* A CHECK may not jump out of another thread: it counts what is wrong. */
#define HOLDS(condition) \
    ((condition) ? (void)0 : (void)(printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition), rlm_manual_advance(&broken, 1)))

static void (*body)(size_t thread, uint64_t random);

static void *begin(void *argument) {
    size_t thread = *(const size_t *)argument;
    rlm_manual_advance(&gate, 1);
    while (rlm_manual_now(&gate) < THREADS) sched_yield();
    body(thread, 0x9e3779b97f4a7c15u * (thread + 1));
    return NULL;
}

static void hammer(void (*run)(size_t thread, uint64_t random)) {
    static size_t indices[THREADS];
    pthread_t threads[THREADS];
    size_t i;
    rlm_manual_set(&hand, START);
    rlm_manual_set(&gate, 0);
    rlm_manual_set(&broken, 0);
    body = run;
    for (i = 0; i < THREADS; i++) {
        indices[i] = i;
        rlm_manual_set(&done[i], 0);
        CHECK(pthread_create(&threads[i], NULL, begin, &indices[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQ(rlm_manual_now(&broken), 0);
}

static uint64_t total_done(void) {
    uint64_t sum = 0;
    size_t i;
    for (i = 0; i < THREADS; i++) sum += rlm_manual_now(&done[i]);
    return sum;
}

static rlm_feedback any_feedback(uint64_t *random) {
    static const uint32_t outcomes[] = {RLM_ANSWERED, RLM_ANSWERED, RLM_ANSWERED, RLM_ANSWERED, RLM_REFUSED,
        RLM_SLOW_DOWN, RLM_OVERLOADED, RLM_FAILED};
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = outcomes[check_random(random) % 8];
    feedback.named = check_random(random) % 2 ? 0 : 1u << check_random(random) % 6;
    feedback.retry_after_ns = check_random(random) % 2 ? RLM_UNSAID : check_random(random) % SECOND;
    feedback.requested = RLM_UNSAID;
    for (feedback.count = 0; feedback.count < check_random(random) % 4; feedback.count++) {
        rlm_reading *reading = &feedback.reading[feedback.count];
        *reading = rlm_reading_none((uint32_t)(check_random(random) % 4));
        reading->limit = 500 + check_random(random) % 100000;
        reading->remaining = check_random(random) % reading->limit;
        reading->period_ns = MINUTE;
    }
    return feedback;
}

/* Everything that changes a limiter, against each other. */
static void do_anything(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        rlm_cost cost = {1, 20, 10, 0, 0}, actual = {1, 30, 5, 0, 0}, elsewhere = {0, 1, 1, 0, 0};
        uint64_t now_ns = rlm_manual_now(&hand);
        rlm_permit permit;
        rlm_limit limit;
        rlm_feedback feedback = any_feedback(&random);
        if (rlm_acquire(&limiter, &cost, now_ns, &permit) == 0) {
            rlm_manual_advance(&done[thread], 1);
            rlm_manual_advance(&hand, check_random(&random) % SECOND);
            now_ns = rlm_manual_now(&hand);
            HOLDS(rlm_observe(&limiter, &permit, &feedback, now_ns) == RLM_OK);
            if (check_random(&random) % 4 != 0) HOLDS(rlm_settle(&limiter, &permit, &actual, now_ns) == RLM_OK);
            else HOLDS(rlm_cancel(&limiter, &permit, now_ns) == RLM_OK);
            HOLDS(rlm_observe(&limiter, &permit, &feedback, now_ns) == RLM_E_PERMIT);
        } else {
            rlm_manual_advance(&hand, SECOND / 10);
        }
        if (check_random(&random) % 8 == 0) {
            int status;
            limit = rlm_per_minute(RLM_REQUESTS, 5000 + check_random(&random) % 50000);
            status = rlm_reconfigure(&limiter, 0, &limit, now_ns);
            HOLDS(status == RLM_OK || status == RLM_E_BUSY);
            status = rlm_in_force(&limiter, check_random(&random) % 7, &limit);
            HOLDS(status == RLM_OK || status == RLM_E_UNKNOWN);
            HOLDS(limit.amount > 0);
        }
        if (check_random(&random) % 64 == 0) HOLDS(rlm_pause(&limiter, check_random(&random) % 7,
                check_random(&random) % SECOND, now_ns) == RLM_OK);
        if (check_random(&random) % 64 == 0) HOLDS(rlm_pause(&limiter, RLM_ALL, 0, now_ns) == RLM_OK);
        if (check_random(&random) % 16 == 0) HOLDS(rlm_debit(&limiter, &elsewhere, now_ns) == RLM_OK);
        if (check_random(&random) % 16 == 0) (void)rlm_check(&limiter, &cost, now_ns, NULL);
        if (check_random(&random) % 16 == 0) HOLDS(rlm_route_learn(&route, &cost, &actual) == RLM_OK);
    }
}

static void nothing_is_lost_and_nothing_sticks(void) {
    rlm_limit limits[7];
    rlm_usage usage;
    rlm_cost cost = {1, 20, 10, 0, 0}, nothing = {0, 0, 0, 0, 0};
    rlm_permit permit;
    uint64_t now_ns, wait_ns = 0;
    int tries;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 50000);
    limits[0].follow = RLM_FOLLOW;
    limits[1] = rlm_learned(RLM_INPUT_TOKENS, MINUTE);
    limits[2] = rlm_sliding(RLM_OUTPUT_TOKENS, 500000, MINUTE);
    limits[3] = rlm_fixed(RLM_TOKENS, 1000000, MINUTE, 0);
    limits[4] = rlm_concurrent(50);
    limits[5] = rlm_adaptive(2, 20);
    limits[6] = rlm_ramp(100, MINUTE);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 7, START), RLM_OK);
    CHECK_EQ(rlm_route_init(&route, 900), RLM_OK);
    hammer(do_anything);
    CHECK(total_done() > 0); /* how many depends on what the servers said, and on who came first */
    now_ns = rlm_manual_now(&hand) + RLM_HOUR_NS;
    CHECK_EQ(rlm_status(&limiter, 4, &usage, now_ns), RLM_OK);
    CHECK_EQ(usage.used, 0);
    CHECK_EQ(rlm_status(&limiter, 5, &usage, now_ns), RLM_OK);
    CHECK_EQ(usage.used, 0);
    CHECK(usage.limit >= 2 && usage.limit <= 20);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, 0, now_ns), RLM_OK);
    for (tries = 0; tries < 100 && (wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit)) != 0; tries++) {
        CHECK(wait_ns < RLM_ON_RELEASE);
        now_ns += wait_ns;
    }
    CHECK_EQ(wait_ns, 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &nothing, now_ns), RLM_OK);
    limits[0].amount = limits[0].burst = 7; /* the claim was let go */
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limits[0], now_ns), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limits[0]), RLM_OK);
    CHECK_EQ(limits[0].amount, 7);
}

/* While nothing is known one is out: never two, whoever races. */
static rlm_concurrency alone;

static void probe(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        rlm_cost cost = {1, 20, 10, 0, 0};
        rlm_permit permit;
        rlm_feedback feedback = any_feedback(&random);
        feedback.outcome = RLM_FAILED;
        feedback.retry_after_ns = RLM_UNSAID;
        feedback.count = 0;
        if (rlm_acquire(&limiter, &cost, START, &permit) != 0) continue;
        HOLDS(rlm_concurrency_take(&alone, 1) == 0);
        rlm_manual_advance(&done[thread], 1);
        if (k % 16 == 0) sched_yield();
        HOLDS(rlm_observe(&limiter, &permit, &feedback, START) == RLM_OK);
        HOLDS(rlm_concurrency_release(&alone, 1) == RLM_OK);
        HOLDS(rlm_cancel(&limiter, &permit, START) == RLM_OK);
    }
}

static void one_probe_at_a_time(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE), one = rlm_concurrent(1);
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_permit permit;
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    CHECK_EQ(rlm_concurrency_init(&alone, &one), RLM_OK);
    hammer(probe);
    CHECK(total_done() > 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_ON_RELEASE);
}

/* On a frozen clock: what is admitted and what is corrected add up to the burst, whoever observes. */
static void drain(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        rlm_cost cost = {1, 0, 0, 0, 0};
        rlm_permit permit;
        rlm_feedback feedback;
        memset(&feedback, 0, sizeof feedback);
        feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
        feedback.count = 1;
        feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
        feedback.reading[0].limit = 10000;
        feedback.reading[0].remaining = 5000 + check_random(&random) % 5001; /* 5000 were used by others at most */
        feedback.reading[0].period_ns = RLM_DAY_NS;
        if (rlm_acquire(&limiter, &cost, START, &permit) != 0) continue;
        rlm_manual_advance(&done[thread], 1);
        HOLDS(rlm_observe(&limiter, &permit, &feedback, START) == RLM_OK);
        HOLDS(rlm_settle(&limiter, &permit, &cost, START) == RLM_OK);
    }
}

static void observers_correct_once_and_never_raise(void) {
    int kind;
    for (kind = 0; kind < 3; kind++) {
        rlm_limit limit = kind == 0 ? rlm_per_day(RLM_REQUESTS, 10000) : kind == 1 ? rlm_sliding(RLM_REQUESTS, 10000,
            RLM_DAY_NS) : rlm_fixed(RLM_REQUESTS, 10000, RLM_DAY_NS, 0);
        rlm_usage usage;
        CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
        hammer(drain);
        /* a bucket keeps 1/8 in hand; the others are exact but for what was in flight */
        if (total_done() > 10000 || total_done() < (kind == 0 ? 3700 : 4950))
            printf("# %s: %" PRIu64 " admitted, 5000 remained\n",
                kind == 0 ? "bucket" : kind == 1 ? "window" : "calendar", total_done());
        CHECK(total_done() <= 10000 && total_done() >= (kind == 0 ? 3700 : 4950));
        CHECK_EQ(rlm_status(&limiter, 0, &usage, START), RLM_OK);
        CHECK(usage.remaining <= (int64_t)(10000 - total_done()));
    }
}

/* Learners of one route: nothing is counted twice or lost. */
static void learn(size_t thread, uint64_t random) {
    int k;
    (void)thread;
    for (k = 0; k < 200; k++) {
        rlm_cost estimate = {1, 1000, 4000, 0, 0}, actual = {1, 1500, 0, 0, 0};
        actual.output_tokens = 100 + check_random(&random) % 10;
        HOLDS(rlm_route_learn(&route, &estimate, &actual) == RLM_OK);
        estimate = rlm_route_estimate(&route, &estimate);
        HOLDS(estimate.input_tokens >= 1000 && estimate.input_tokens <= 1800 && (estimate.output_tokens == 4000 ||
            estimate.output_tokens <= 130));
    }
}

static void a_route_learned_by_all(void) {
    uint64_t sum = 0;
    size_t i;
    rlm_cost estimate = {1, 1000, 4000, 0, 0};
    CHECK_EQ(rlm_route_init(&route, 900), RLM_OK);
    hammer(learn);
    for (i = 0; i < RLM_I_ROUTE_BINS; i++) sum += route.bin[i];
    CHECK_EQ(sum, THREADS * 200);
    estimate = rlm_route_estimate(&route, &estimate);
    CHECK(estimate.input_tokens >= 1480 && estimate.input_tokens <= 1600);
    CHECK(estimate.output_tokens >= 109 && estimate.output_tokens <= 130);
}

static const check_case cases[] = {
    CASE(nothing_is_lost_and_nothing_sticks),
    CASE(one_probe_at_a_time),
    CASE(observers_correct_once_and_never_raise),
    CASE(a_route_learned_by_all),
};

CHECK_MAIN(cases)
