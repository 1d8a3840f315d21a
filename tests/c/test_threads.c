#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"
#include "model.h"

#include <pthread.h>
#include <sched.h>

#define SECOND RLM_SECOND_NS
#define START (20000 * RLM_DAY_NS)
#define THREADS 4
#define ROUNDS 30000

static rlm_manual hand, gate, broken;

/* What one thread admitted: the reading it passed, and one taken after. The operation happened
   between the two. */
typedef struct event {
    uint64_t before_ns, after_ns, n;
} event;

static event events[THREADS][ROUNDS], merged[THREADS * ROUNDS];
static size_t event_counts[THREADS], merged_count;

static void note(size_t thread, uint64_t before_ns, uint64_t after_ns, uint64_t n) {
    event *at = &events[thread][event_counts[thread]++];
    at->before_ns = before_ns;
    at->after_ns = after_ns;
    at->n = n;
}

/* A CHECK may not jump out of another thread: it counts what is wrong. */
#define HOLDS(condition) ((condition) ? (void)0 : (void)rlm_manual_advance(&broken, 1))

static void *(*body)(size_t thread, uint64_t random);

static void *begin(void *argument) {
    size_t thread = *(const size_t *)argument;
    rlm_manual_advance(&gate, 1);
    while (rlm_manual_now(&gate) < THREADS) sched_yield();
    return body(thread, 0x9e3779b97f4a7c15u * (thread + 1));
}

static int event_order(const void *a, const void *b) {
    uint64_t left = ((const event *)a)->before_ns, right = ((const event *)b)->before_ns;
    return (left > right) - (left < right);
}

static void hammer(void *(*run)(size_t thread, uint64_t random)) {
    static size_t indices[THREADS];
    pthread_t threads[THREADS];
    size_t i;
    rlm_manual_set(&hand, START);
    rlm_manual_set(&gate, 0);
    rlm_manual_set(&broken, 0);
    body = run;
    merged_count = 0;
    for (i = 0; i < THREADS; i++) {
        indices[i] = i;
        event_counts[i] = 0;
        CHECK(pthread_create(&threads[i], NULL, begin, &indices[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (i = 0; i < THREADS; i++) {
        memcpy(merged + merged_count, events[i], event_counts[i] * sizeof(event));
        merged_count += event_counts[i];
    }
    qsort(merged, merged_count, sizeof(event), event_order);
    CHECK_EQ(rlm_manual_now(&broken), 0);
}

static admission admissions[THREADS * ROUNDS];

static bool keeps_rate_within(uint64_t burst, uint64_t amount, uint64_t period_ns, uint64_t slack_ns) {
    size_t i;
    for (i = 0; i < merged_count; i++) {
        admissions[i].at_ns = merged[i].before_ns;
        admissions[i].n = merged[i].n;
    }
    return log_keeps_rate(admissions, merged_count, burst, amount, period_ns, slack_ns) != 0;
}

static bool keeps_rate(uint64_t burst, uint64_t amount, uint64_t period_ns) {
    return keeps_rate_within(burst, amount, period_ns, 0);
}

/* The longest time between the reading an operation passed and its end. */
static uint64_t longest(void) {
    uint64_t most_ns = 0;
    size_t i;
    for (i = 0; i < merged_count; i++)
        if (merged[i].after_ns - merged[i].before_ns > most_ns) most_ns = merged[i].after_ns - merged[i].before_ns;
    return most_ns;
}

/* No period holds more than amount of what happened wholly within it. */
static bool keeps_window(uint64_t amount, uint64_t period_ns) {
    size_t i, j;
    for (i = 0; i < merged_count; i++) {
        uint64_t sum = 0, end_ns = merged[i].before_ns + period_ns;
        for (j = i; j < merged_count && merged[j].before_ns < end_ns; j++)
            if (merged[j].after_ns < end_ns) sum += merged[j].n;
        if (sum > amount) return false;
    }
    return true;
}

/* ---- Token bucket ---------------------------------------------------------------------------- */

static rlm_bucket bucket;
static rlm_limit fast, slow;

static void *take_from_bucket(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t n = 1 + check_random(&random) % 20, now_ns = rlm_manual_now(&hand);
        uint64_t wait_ns = rlm_bucket_take(&bucket, n, now_ns);
        if (wait_ns == 0) note(thread, now_ns, rlm_manual_now(&hand), n);
        else HOLDS(wait_ns != RLM_NEVER);
        rlm_manual_advance(&hand, check_random(&random) % 3000);
    }
    return NULL;
}

static void bucket_on_a_virtual_clock(void) {
    fast = rlm_per(RLM_REQUESTS, 7001, SECOND / 7);
    fast.burst = 49000;
    CHECK_EQ(rlm_bucket_init(&bucket, &fast, START), RLM_OK);
    hammer(take_from_bucket);
    CHECK(merged_count > 1000);
    CHECK(keeps_rate(fast.burst, fast.amount, fast.period_ns));
}

static void *take_on_the_real_clock(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t now_ns = rlm_now();
        (void)random;
        if (rlm_bucket_take(&bucket, 1000, now_ns) == 0) note(thread, now_ns, rlm_now(), 1000);
    }
    return NULL;
}

static void bucket_on_the_real_clock(void) {
    fast = rlm_per_second(RLM_REQUESTS, 1000003);
    CHECK_EQ(rlm_bucket_init(&bucket, &fast, rlm_now()), RLM_OK);
    hammer(take_on_the_real_clock);
    CHECK(merged_count >= 1000);
    CHECK(keeps_rate(fast.burst, fast.amount, fast.period_ns));
}

/* Two threads change the rate all the while; the larger bounds both. An operation that was overtaken by
   a change takes what was there after it, which its own reading may not have known. */
static void *take_and_reconfigure(size_t thread, uint64_t random) {
    int k;
    if (thread > 1) return take_from_bucket(thread, random);
    for (k = 0; k < ROUNDS / 4; k++) {
        int status = rlm_bucket_reconfigure(&bucket, check_random(&random) % 2 ? &fast : &slow, rlm_manual_now(&hand));
        rlm_usage usage;
        HOLDS(status == RLM_OK || status == RLM_E_BUSY);
        HOLDS(rlm_bucket_status(&bucket, &usage, rlm_manual_now(&hand)) == RLM_OK);
        HOLDS(usage.limit == fast.burst || usage.limit == slow.burst);
        rlm_manual_advance(&hand, check_random(&random) % 1000);
    }
    return NULL;
}

static void bucket_while_reconfigured(void) {
    fast = rlm_per_second(RLM_REQUESTS, 49007);
    slow = rlm_per_second(RLM_REQUESTS, 101);
    CHECK_EQ(rlm_bucket_init(&bucket, &fast, START), RLM_OK);
    hammer(take_and_reconfigure);
    CHECK(keeps_rate_within(fast.burst, fast.amount, fast.period_ns, longest()));
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &fast, rlm_manual_now(&hand)), RLM_OK); /* the claim was let go */
}

/* Half of what is taken is given back. Over the whole run: net, at most burst + rate x span. */
static void *take_and_give_back(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t n = 1 + check_random(&random) % 20, now_ns = rlm_manual_now(&hand), back = check_random(&random) % (n + 1);
        if (rlm_bucket_take(&bucket, n, now_ns) == 0) {
            HOLDS(rlm_bucket_credit(&bucket, back, rlm_manual_now(&hand)) == RLM_OK);
            note(thread, now_ns, now_ns, n - back);
        }
        rlm_manual_advance(&hand, check_random(&random) % 2000);
    }
    return NULL;
}

static void bucket_with_credits(void) {
    uint64_t sum = 0, span_ns;
    size_t i;
    fast = rlm_per_second(RLM_REQUESTS, 40009);
    CHECK_EQ(rlm_bucket_init(&bucket, &fast, START), RLM_OK);
    hammer(take_and_give_back);
    for (i = 0; i < merged_count; i++) sum += merged[i].n;
    span_ns = rlm_manual_now(&hand) - START;
    CHECK(!wide_less(wide_add(wide_mul(fast.burst, SECOND), wide_mul(fast.amount, span_ns)), wide_mul(sum, SECOND)));
}

/* Without time: exactly the burst, whoever gets it; and every token given back can be had once. */
static void *drain(size_t thread, uint64_t random) {
    int k;
    (void)random;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t now_ns = rlm_manual_now(&hand);
        if (rlm_bucket_take(&bucket, 1, now_ns) == 0) note(thread, now_ns, now_ns, 1);
    }
    return NULL;
}

static void bucket_on_a_frozen_clock(void) {
    fast = rlm_per_second(RLM_REQUESTS, 50000);
    CHECK_EQ(rlm_bucket_init(&bucket, &fast, START), RLM_OK);
    hammer(drain);
    CHECK_EQ(merged_count, 50000);
}

/* Places in line: no two alike. */
static void *reserve(size_t thread, uint64_t random) {
    int k;
    (void)random;
    for (k = 0; k < 3000; k++) {
        uint64_t wait_ns = rlm_bucket_reserve(&bucket, 1, 100000 * SECOND, START);
        note(thread, wait_ns, wait_ns, 1);
    }
    return NULL;
}

static void places_in_line(void) {
    size_t i;
    fast = rlm_per_second(RLM_REQUESTS, 10);
    fast.burst = 1;
    CHECK_EQ(rlm_bucket_init(&bucket, &fast, START), RLM_OK);
    hammer(reserve);
    CHECK_EQ(merged_count, THREADS * 3000);
    for (i = 0; i < merged_count; i++) CHECK_EQ(merged[i].before_ns, i * SECOND / 10);
}

/* ---- Sliding window -------------------------------------------------------------------------- */

static uint64_t memory[3 * 300 + 100];
static rlm_window *const window = (rlm_window *)(void *)memory;

static void *take_from_window(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t n = 1 + check_random(&random) % 3, now_ns = rlm_manual_now(&hand), wait_ns, mark = 0;
        rlm_usage usage;
        wait_ns = rlm_window_take(window, n, now_ns, &mark);
        HOLDS(wait_ns != RLM_NEVER);
        if (wait_ns == 0) {
            uint64_t back = check_random(&random) % 8 == 0 ? check_random(&random) % (n + 1) : 0;
            note(thread, now_ns, rlm_manual_now(&hand), n - back);
            if (back != 0) HOLDS(rlm_window_credit(window, back, mark) == RLM_OK);
        }
        if (k % 16 == 0) HOLDS(rlm_window_status(window, &usage, now_ns) == RLM_OK);
        rlm_manual_advance(&hand, check_random(&random) % 100000);
    }
    return NULL;
}

static void exact_window(void) {
    fast = rlm_sliding(RLM_REQUESTS, 200, SECOND / 10);
    CHECK_EQ(rlm_window_init(window, sizeof memory, &fast, START), RLM_OK);
    hammer(take_from_window);
    CHECK(merged_count > 1000);
    CHECK(keeps_window(200, SECOND / 10));
}

static void slotted_window(void) {
    fast = rlm_sliding(RLM_REQUESTS, 200, SECOND / 10);
    fast.cells = 22;
    CHECK_EQ(rlm_window_init(window, sizeof memory, &fast, START), RLM_OK);
    hammer(take_from_window);
    CHECK(merged_count > 1000);
    CHECK(keeps_window(200, SECOND / 10));
}

static void *take_on_the_real_clock_window(size_t thread, uint64_t random) {
    int k;
    (void)random;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t now_ns = rlm_now();
        if (rlm_window_take(window, 1, now_ns, NULL) == 0) note(thread, now_ns, rlm_now(), 1);
    }
    return NULL;
}

static void windows_on_the_real_clock(void) {
    for (fast = rlm_sliding(RLM_REQUESTS, 100, SECOND / 50), fast.cells = 12; fast.cells <= 102; fast.cells += 90) {
        CHECK_EQ(rlm_window_init(window, sizeof memory, &fast, rlm_now()), RLM_OK);
        hammer(take_on_the_real_clock_window);
        CHECK(merged_count >= 100);
        CHECK(keeps_window(100, SECOND / 50));
    }
}

static void *drain_window(size_t thread, uint64_t random) {
    int k;
    (void)random;
    for (k = 0; k < 2000; k++)
        if (rlm_window_take(window, 1, START, NULL) == 0) note(thread, START, START, 1);
    return NULL;
}

static void windows_on_a_frozen_clock(void) {
    for (fast = rlm_sliding(RLM_REQUESTS, 250, SECOND), fast.cells = 12; fast.cells <= 252; fast.cells += 240) {
        CHECK_EQ(rlm_window_init(window, sizeof memory, &fast, START), RLM_OK);
        hammer(drain_window);
        CHECK_EQ(merged_count, 250);
    }
}

/* ---- Concurrency ----------------------------------------------------------------------------- */

static rlm_concurrency cap;
static rlm_manual inside;

static void *enter_and_leave(size_t thread, uint64_t random) {
    int k;
    (void)thread;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t n = 1 + check_random(&random) % 3;
        rlm_limit limit = rlm_concurrent(3 + check_random(&random) % 3);
        if (rlm_concurrency_take(&cap, n) == 0) {
            HOLDS(rlm_manual_advance(&inside, n) <= 5);
            rlm_manual_advance(&inside, 0 - n);
            HOLDS(rlm_concurrency_release(&cap, n) == RLM_OK);
        }
        if (k % 8 == 0) HOLDS(rlm_concurrency_reconfigure(&cap, &limit) == RLM_OK);
    }
    return NULL;
}

static void concurrency(void) {
    rlm_limit limit = rlm_concurrent(5);
    rlm_usage usage;
    CHECK_EQ(rlm_concurrency_init(&cap, &limit), RLM_OK);
    rlm_manual_set(&inside, 0);
    hammer(enter_and_leave);
    CHECK_EQ(rlm_concurrency_status(&cap, &usage), RLM_OK);
    CHECK_EQ(usage.used, 0);
}

/* ---- Calendar quota -------------------------------------------------------------------------- */

static rlm_calendar quota;

static void *take_from_calendar(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS; k++) {
        uint64_t n = 1 + check_random(&random) % 3, now_ns = rlm_manual_now(&hand), mark = 0;
        if (rlm_calendar_take(&quota, n, now_ns, &mark) == 0) {
            uint64_t back = check_random(&random) % (n + 1);
            note(thread, now_ns, rlm_manual_now(&hand), n - back);
            HOLDS(rlm_calendar_credit(&quota, back, mark) == RLM_OK);
        }
        rlm_manual_advance(&hand, check_random(&random) % 4000);
    }
    return NULL;
}

static void calendar(void) {
    uint64_t period_ns = SECOND / 50, period = 0, sum = 0;
    size_t i;
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, 500, period_ns, 0);
    CHECK_EQ(rlm_calendar_init(&quota, &limit, START), RLM_OK);
    hammer(take_from_calendar);
    CHECK(merged_count > 1000);
    for (i = 0; i < merged_count; i++) {
        if (merged[i].before_ns / period_ns != merged[i].after_ns / period_ns) continue;
        if (merged[i].before_ns / period_ns != period) sum = 0;
        period = merged[i].before_ns / period_ns;
        sum += merged[i].n;
        CHECK(sum <= 500);
    }
}

/* ---- Limiter --------------------------------------------------------------------------------- */

static rlm_limiter limiter;
static rlm_limit limits[7];
static rlm_manual spent[3];

static void *acquire_and_settle(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS / 2; k++) {
        rlm_cost cost = {0, 0, 0, 0, 0}, actual;
        rlm_permit permit;
        uint64_t now_ns = rlm_manual_now(&hand), wait_ns;
        cost.requests = 1;
        cost.input_tokens = check_random(&random) % 50;
        cost.output_tokens = check_random(&random) % 50;
        actual = cost;
        wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit);
        HOLDS(wait_ns != RLM_NEVER);
        if (wait_ns == 0) {
            HOLDS(rlm_manual_advance(&inside, 1) <= 3);
            note(thread, now_ns, rlm_manual_now(&hand), 1);
            actual.output_tokens = check_random(&random) % 60;
            rlm_manual_advance(&inside, UINT64_MAX);
            if (check_random(&random) % 8 == 0) {
                actual.requests = actual.input_tokens = actual.output_tokens = 0;
                event_counts[thread]--;
                HOLDS(rlm_cancel(&limiter, &permit, rlm_manual_now(&hand)) == RLM_OK);
            } else {
                HOLDS(rlm_settle(&limiter, &permit, &actual, rlm_manual_now(&hand)) == RLM_OK);
            }
            HOLDS(rlm_settle(&limiter, &permit, &actual, now_ns) == RLM_E_PERMIT);
            rlm_manual_advance(&spent[0], actual.requests);
            rlm_manual_advance(&spent[1], actual.input_tokens);
            rlm_manual_advance(&spent[2], actual.output_tokens);
        }
        if (k % 8 == 0) {
            int binding;
            rlm_usage usage;
            wait_ns = rlm_check(&limiter, &cost, now_ns, &binding);
            HOLDS((wait_ns == 0) == (binding == -1));
            HOLDS(rlm_status(&limiter, (size_t)(k / 8 % 7), &usage, now_ns) == RLM_OK);
            (void)rlm_recent(&limiter, now_ns);
        }
        if (k % 64 == 0) {
            int status = rlm_reconfigure(&limiter, (size_t)(k / 64 % 7), &limits[k / 64 % 7], now_ns);
            HOLDS(status == RLM_OK || status == RLM_E_BUSY);
        }
        rlm_manual_advance(&hand, check_random(&random) % 5000);
    }
    return NULL;
}

/* All kinds under one limiter: afterwards the calendars hold exactly what was spent, nothing is out,
   and each limit kept its own bound. */
static void all_or_nothing(void) {
    rlm_usage usage;
    uint64_t now_ns;
    size_t i;
    limits[0] = rlm_per_second(RLM_REQUESTS, 30000);
    limits[1] = rlm_sliding(RLM_REQUESTS, 2500, SECOND / 10);
    limits[1].cells = 22;
    limits[2] = rlm_calendar_day(RLM_REQUESTS, RLM_AMOUNT_MAX, 0, 0);
    limits[3] = rlm_calendar_day(RLM_INPUT_TOKENS, RLM_AMOUNT_MAX, 0, 0);
    limits[4] = rlm_calendar_day(RLM_OUTPUT_TOKENS, RLM_AMOUNT_MAX, 0, 0);
    limits[5] = rlm_concurrent(3);
    limits[6] = rlm_per_second(RLM_TOKENS, 1500000);
    for (i = 0; i < 3; i++) rlm_manual_set(&spent[i], 0);
    rlm_manual_set(&inside, 0);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 7, START), RLM_OK);
    hammer(acquire_and_settle);
    CHECK(merged_count > 1000);
    now_ns = rlm_manual_now(&hand);
    CHECK(now_ns - START < RLM_DAY_NS);
    for (i = 0; i < 3; i++) {
        CHECK_EQ(rlm_status(&limiter, 2 + i, &usage, now_ns), RLM_OK);
        CHECK_EQ(usage.used, rlm_manual_now(&spent[i]));
    }
    CHECK_EQ(rlm_status(&limiter, 5, &usage, now_ns), RLM_OK);
    CHECK_EQ(usage.used, 0);
    CHECK(keeps_window(2500, SECOND / 10));
}

/* A permit that all threads settle or cancel at once ends once. */
#define PERMITS 20000
static rlm_permit permits[PERMITS];
static rlm_manual ended[PERMITS];

static void *settle_all(size_t thread, uint64_t random) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    size_t i;
    for (i = 0; i < PERMITS; i++) {
        int status = check_random(&random) % 2 ? rlm_settle(&limiter, &permits[i], &cost, START) : rlm_cancel(&limiter, &permits[i], START);
        HOLDS(status == RLM_OK || status == RLM_E_PERMIT);
        if (status == RLM_OK) rlm_manual_advance(&ended[i], 1);
    }
    (void)thread;
    return NULL;
}

static void a_permit_ends_once(void) {
    rlm_limit cap_of_all = rlm_concurrent(PERMITS);
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_usage usage;
    size_t i;
    CHECK_EQ(rlm_limiter_init(&limiter, &cap_of_all, 1, START), RLM_OK);
    for (i = 0; i < PERMITS; i++) {
        rlm_manual_set(&ended[i], 0);
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permits[i]), 0);
    }
    hammer(settle_all);
    for (i = 0; i < PERMITS; i++) CHECK_EQ(rlm_manual_now(&ended[i]), 1);
    CHECK_EQ(rlm_status(&limiter, 0, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, 0);
}

/* Two limits of which the second is short: what the first gave is given back, each time. */
static void *acquire_what_is_short(size_t thread, uint64_t random) {
    int k;
    for (k = 0; k < ROUNDS / 2; k++) {
        rlm_cost cost = {1, 0, 0, 0, 0};
        rlm_permit permit;
        if (rlm_acquire(&limiter, &cost, START, &permit) != 0) continue;
        note(thread, START, START, 1);
        if (check_random(&random) % 4 != 0) {
            HOLDS(rlm_cancel(&limiter, &permit, START) == RLM_OK);
            event_counts[thread]--;
        }
    }
    return NULL;
}

static void what_is_rolled_back_is_not_lost(void) {
    rlm_usage usage;
    size_t i;
    limits[0] = rlm_per_day(RLM_REQUESTS, 5000);
    limits[1] = rlm_sliding(RLM_REQUESTS, 5000, RLM_HOUR_NS);
    limits[2] = rlm_calendar_day(RLM_REQUESTS, 5000, 0, 0);
    limits[3] = rlm_fixed(RLM_REQUESTS, 3000, RLM_HOUR_NS, 0);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 4, START), RLM_OK);
    hammer(acquire_what_is_short);
    CHECK_EQ(merged_count, 3000);
    for (i = 0; i < 4; i++) {
        CHECK_EQ(rlm_status(&limiter, i, &usage, START), RLM_OK);
        CHECK_EQ(usage.used, 3000);
    }
}

static rlm_retry_budget budget;

static void *spend_retries(size_t thread, uint64_t random) {
    int k;
    (void)random;
    for (k = 0; k < ROUNDS; k++) {
        rlm_retry_budget_request(&budget, START);
        if (rlm_retry_budget_retry(&budget, START) == 0) note(thread, START, START, 1);
    }
    return NULL;
}

static void a_retry_budget(void) {
    CHECK_EQ(rlm_retry_budget_init(&budget, 100, 10, 1000, START), RLM_OK);
    hammer(spend_retries);
    CHECK(merged_count <= 1000 + THREADS * ROUNDS / 10);
    CHECK(merged_count >= THREADS * ROUNDS / 10);
}

static void *advance(size_t thread, uint64_t random) {
    int k;
    (void)thread;
    (void)random;
    for (k = 0; k < ROUNDS; k++) rlm_manual_advance(&hand, 3);
    return NULL;
}

static void a_manual_clock_loses_nothing(void) {
    hammer(advance);
    CHECK_EQ(rlm_manual_now(&hand), START + 3 * THREADS * ROUNDS);
}

/* Whoever loses the race for the only permit has taken a request already, and gives it back. */
static void *race_for_one_permit(size_t thread, uint64_t random) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    int k;
    (void)random;
    for (k = 0; k < ROUNDS; k++) {
        rlm_permit permit;
        if (rlm_acquire(&limiter, &cost, START, &permit) != 0) continue;
        note(thread, START, START, 1);
        HOLDS(rlm_settle(&limiter, &permit, &cost, START) == RLM_OK);
    }
    return NULL;
}

static void what_a_race_took_is_given_back(void) {
    rlm_limit limits[2];
    rlm_usage usage;
    limits[0] = rlm_per_day(RLM_REQUESTS, 1000000);
    limits[1] = rlm_concurrent(1);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 2, START), RLM_OK);
    hammer(race_for_one_permit);
    CHECK(merged_count > 0);
    CHECK_EQ(rlm_status(&limiter, 0, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, merged_count);
    CHECK_EQ(rlm_status(&limiter, 1, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, 0);
}

static const check_case cases[] = {
    CASE(bucket_on_a_virtual_clock),
    CASE(bucket_on_the_real_clock),
    CASE(bucket_while_reconfigured),
    CASE(bucket_with_credits),
    CASE(bucket_on_a_frozen_clock),
    CASE(places_in_line),
    CASE(exact_window),
    CASE(slotted_window),
    CASE(windows_on_the_real_clock),
    CASE(windows_on_a_frozen_clock),
    CASE(concurrency),
    CASE(calendar),
    CASE(all_or_nothing),
    CASE(a_permit_ends_once),
    CASE(what_is_rolled_back_is_not_lost),
    CASE(a_retry_budget),
    CASE(a_manual_clock_loses_nothing),
    CASE(what_a_race_took_is_given_back),
};

CHECK_MAIN(cases)
