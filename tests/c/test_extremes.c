/* test_extremes.c - amounts, times and clocks at the ends of what there is: where a product no longer fits its word, a
   line is years long, or a clock is before everything. What must hold: nothing is given away, nothing wraps around, and
   what is refused changes nothing. Two limits at most, so that loops over limits also end by their number. */

#define RLM_IMPLEMENTATION
#define RLM_LIMITS_MAX 2
#include "rlimit.h"

#include "check.h"

#define SECOND RLM_SECOND_NS
#define START (20000 * RLM_DAY_NS)
#define YEAR (365 * RLM_DAY_NS)
#define FINE 1021                        /* a prime: 1,021 ticks to a nanosecond where that can be counted with */
#define AGES ((UINT64_C(1) << 54) + 1)   /* 208 days, in lowest terms with it */

static rlm_bucket bucket;
static rlm_limiter limiter;
static rlm_permit permit;

static rlm_cost requests(uint64_t n) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    cost.requests = n;
    return cost;
}

static rlm_limit bucket_of(uint64_t amount, uint64_t period_ns, uint64_t burst) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, amount, period_ns);
    limit.burst = burst;
    return limit;
}

static void make_bucket(rlm_limit limit) { CHECK_EQ(rlm_bucket_init(&bucket, &limit, START), RLM_OK); }

static void make_limiter(const rlm_limit *limits, size_t count) {
    memset(&permit, 0, sizeof permit);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, count, START), RLM_OK);
}

static uint64_t acquire(uint64_t n, uint64_t now_ns) {
    rlm_cost cost = requests(n);
    return rlm_acquire(&limiter, &cost, now_ns, &permit);
}

static uint64_t used_of(size_t index, uint64_t now_ns) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, index, &usage, now_ns), RLM_OK);
    return usage.used;
}

/* An answer that says nothing, and one that tells a limit of requests, its period to the nanosecond. */
static rlm_feedback silent(uint32_t outcome) {
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = outcome;
    feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
    return feedback;
}

static rlm_feedback telling(uint32_t outcome, uint64_t limit, uint64_t remaining, uint64_t period_ns) {
    rlm_feedback feedback = silent(outcome);
    feedback.count = 1;
    feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
    feedback.reading[0].limit = limit;
    feedback.reading[0].remaining = remaining;
    feedback.reading[0].period_ns = feedback.reading[0].period_least_ns = feedback.reading[0].period_most_ns = period_ns;
    return feedback;
}

/* ---- Buckets ---------------------------------------------------------------------------------- */

/* A guard that cannot be counted in ticks so fine: they are coarser then, and rounded towards waiting. */
static void a_guard_too_long_for_fine_ticks(void) {
    rlm_limit limit = bucket_of(FINE, AGES, 8);
    uint64_t wait_ns, exact_ns;
    limit.guard_ns = UINT64_C(1) << 50;
    make_bucket(limit);
    CHECK_EQ(rlm_bucket_take(&bucket, 8, START), 0);
    wait_ns = rlm_bucket_take(&bucket, 1, START);
    exact_ns = limit.guard_ns + AGES / FINE + 1;
    CHECK(wait_ns >= exact_ns && wait_ns <= exact_ns + 2);
    CHECK(rlm_bucket_take(&bucket, 1, START + exact_ns - 2) != 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + wait_ns), 0);
}

/* Debits as much as there can be: one token more does not fit. */
static void debit_all(uint64_t now_ns) {
    uint64_t n;
    for (n = RLM_AMOUNT_MAX; n != 0; n /= 2)
        while (rlm_bucket_debit(&bucket, n, now_ns) == RLM_OK) {}
}

static void no_place_in_a_line_that_is_years_long(void) {
    rlm_usage before, after;
    uint64_t n;
    make_bucket(bucket_of(1000, SECOND, 1000));
    debit_all(START);
    CHECK_EQ(rlm_bucket_status(&bucket, &before, START), RLM_OK);
    CHECK(before.reset_ns > 10 * YEAR);
    for (n = 1; n <= 1000; n += 333) CHECK_EQ(rlm_bucket_reserve(&bucket, n, UINT64_MAX, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_debit(&bucket, 1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_status(&bucket, &after, START), RLM_OK);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK_EQ(rlm_bucket_credit(&bucket, 1000, START), RLM_OK);
    CHECK(rlm_bucket_reserve(&bucket, 1000, UINT64_MAX, START) < RLM_NEVER);
}

/* A clock that ran ahead leaves a debt of its own: at a rate so slow that it could not be counted it is a burst, no more. */
static void what_a_clock_owes_is_forgotten_at_another_rate(void) {
    rlm_limit slow = bucket_of(1, UINT64_C(1) << 55, 1);
    make_bucket(bucket_of(SECOND, SECOND, 10));
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START + RLM_HOUR_NS), 0);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &slow, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), UINT64_C(1) << 55); /* empty, since it was */
    make_bucket(bucket_of(SECOND, SECOND, 10)); /* where it is owed in truth it is not forgotten */
    CHECK_EQ(rlm_bucket_debit(&bucket, RLM_AMOUNT_MAX, START), RLM_OK);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &slow, START), RLM_E_SPAN);
}

/* A clock set back by years, to before anything that the bucket can count, and a debt made there: nobody waits for ever,
   and then a burst is there, no more. */
static void a_debt_before_the_beginning(void) {
    uint64_t now_ns, wait_ns, rounds = 0, long_ago_ns = START - 2 * YEAR;
    make_bucket(bucket_of(100, SECOND, 10));
    CHECK_EQ(rlm_bucket_debit(&bucket, 1000, long_ago_ns), RLM_OK);
    now_ns = long_ago_ns;
    for (; (wait_ns = rlm_bucket_take(&bucket, 1, now_ns)) != 0 && rounds < 100; rounds++) now_ns += wait_ns;
    CHECK(rounds < 100);
    CHECK(now_ns >= long_ago_ns + SECOND); /* as long as a thread may be late */
    CHECK(now_ns <= long_ago_ns + 30 * SECOND);
    CHECK(rlm_bucket_take(&bucket, 10, now_ns) != 0);
}

/* A debt that is made while the clock is not believed yet is paid from then on. */
static void a_debt_while_the_clock_is_doubted(void) {
    uint64_t back_ns = START - RLM_HOUR_NS, now_ns, wait_ns, rounds = 0;
    make_bucket(bucket_of(100, SECOND, 10));
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK(rlm_bucket_take(&bucket, 1, back_ns) != 0);
    CHECK_EQ(rlm_bucket_debit(&bucket, 200, back_ns + SECOND / 2), RLM_OK);
    now_ns = back_ns + SECOND;
    for (; (wait_ns = rlm_bucket_take(&bucket, 1, now_ns)) != 0 && rounds < 100; rounds++) now_ns += wait_ns;
    CHECK(rounds < 100);
    CHECK(now_ns >= back_ns + 2 * SECOND);
    CHECK(now_ns <= back_ns + 10 * SECOND);
}

/* ---- Windows and calendar quotas -------------------------------------------------------------- */

static union {
    uint64_t bytes[400];
    rlm_window window;
} memory;

static void a_window_refuses_a_debt_also_by_a_clock_set_back(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, SECOND);
    rlm_usage usage;
    limit.cells = 12;
    CHECK_EQ(rlm_window_init(&memory.window, sizeof memory, &limit, START), RLM_OK);
    CHECK_EQ(rlm_window_take(&memory.window, 4, START, NULL), 0);
    CHECK_EQ(rlm_window_debit(&memory.window, RLM_AMOUNT_MAX, START - SECOND / 2), RLM_E_COST);
    CHECK_EQ(rlm_window_status(&memory.window, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, 4);
    CHECK_EQ(rlm_window_take(&memory.window, 6, START, NULL), 0);
    CHECK(rlm_window_take(&memory.window, 1, START, NULL) != 0);
}

/* What is given back counts up to what was taken, however much and often. */
static void a_credit_without_measure_gives_only_what_was_taken(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, SECOND);
    uint64_t mark, others;
    int k;
    limit.cells = 12;
    CHECK_EQ(rlm_window_init(&memory.window, sizeof memory, &limit, START), RLM_OK);
    CHECK_EQ(rlm_window_take(&memory.window, 4, START, &mark), 0);
    CHECK_EQ(rlm_window_take(&memory.window, 5, START, &others), 0);
    for (k = 0; k < 10; k++) CHECK_EQ(rlm_window_credit(&memory.window, RLM_AMOUNT_MAX, mark), RLM_OK);
    CHECK(rlm_window_take(&memory.window, 6, START, NULL) != 0);
    CHECK_EQ(rlm_window_take(&memory.window, 5, START, NULL), 0);
    CHECK(rlm_window_take(&memory.window, 1, START, NULL) != 0);
}

/* A mark that names nothing gives nothing, now and when there is something of that number. */
static void a_mark_of_what_is_yet_to_come(void) {
    static const uint32_t cells[] = {12, 5}; /* exact; slotted */
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, SECOND);
    uint64_t mark, k;
    size_t i;
    for (i = 0; i < 2; i++) {
        limit.cells = cells[i];
        CHECK_EQ(rlm_window_init(&memory.window, sizeof memory, &limit, START), RLM_OK);
        CHECK_EQ(rlm_window_take(&memory.window, 1, START, &mark), 0);
        for (k = 1; k < 4; k++) CHECK_EQ(rlm_window_credit(&memory.window, 10, mark + k), RLM_OK);
        CHECK_EQ(rlm_window_credit(&memory.window, 10, UINT64_MAX), RLM_OK);
        CHECK_EQ(rlm_window_take(&memory.window, 3, START, NULL), 0);
        CHECK_EQ(rlm_window_take(&memory.window, 3, START + SECOND / 3 + 1, NULL), 0);
        CHECK_EQ(rlm_window_take(&memory.window, 3, START + 2 * (SECOND / 3) + 2, NULL), 0);
        CHECK(rlm_window_take(&memory.window, 1, START + 2 * (SECOND / 3) + 2, NULL) != 0);
    }
}

/* Set back by as much as a window can count, to its very beginning. */
static void a_window_at_the_beginning_of_its_time(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 100, 8 * SECOND);
    uint64_t before_ns;
    limit.cells = 10;
    CHECK_EQ(rlm_window_init(&memory.window, sizeof memory, &limit, START), RLM_OK);
    before_ns = memory.window.epoch_ns;
    CHECK(before_ns < START - RLM_DAY_NS);
    CHECK_EQ(rlm_window_take(&memory.window, 100, START, NULL), 0);
    CHECK(rlm_window_take(&memory.window, 1, before_ns, NULL) != 0);
    CHECK(rlm_window_take(&memory.window, 1, before_ns + 8 * SECOND - 1, NULL) != 0);
    CHECK_EQ(rlm_window_take(&memory.window, 100, before_ns + 8 * SECOND, NULL), 0); /* it was behind for a whole window */
    CHECK(rlm_window_take(&memory.window, 1, before_ns + 8 * SECOND, NULL) != 0);
    CHECK(rlm_window_take(&memory.window, 1, before_ns + 16 * SECOND - 1, NULL) != 0);
    CHECK_EQ(rlm_window_take(&memory.window, 100, before_ns + 17 * SECOND, NULL), 0);
}

/* Beside so large an amount hours are counted for a hundred years: by a clock before or after them no hour grants more. */
static void a_quota_outside_of_its_years(void) {
    static const int64_t years[] = {-20, 200};
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, RLM_AMOUNT_MAX, RLM_HOUR_NS, 0);
    rlm_calendar quota;
    uint64_t now_ns, wait_ns, k;
    size_t i;
    for (i = 0; i < 2; i++) {
        CHECK_EQ(rlm_calendar_init(&quota, &limit, START), RLM_OK);
        CHECK_EQ(rlm_calendar_take(&quota, RLM_AMOUNT_MAX, START, NULL), 0);
        now_ns = START + (uint64_t)(years[i] * (int64_t)YEAR);
        if (years[i] < 0) CHECK(rlm_calendar_take(&quota, 1, now_ns, NULL) != 0); /* not believed at once */
        for (k = 0; k < 100; k++, now_ns += RLM_HOUR_NS) {
            (void)rlm_calendar_take(&quota, RLM_AMOUNT_MAX, now_ns, NULL);
            wait_ns = rlm_calendar_take(&quota, 1, now_ns + RLM_MINUTE_NS, NULL);
            CHECK(wait_ns != 0 && wait_ns <= RLM_HOUR_NS - RLM_MINUTE_NS);
        }
    }
}

static void a_restored_quota_must_fit(void) {
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
    rlm_calendar quota;
    rlm_calendar_saved saved, after;
    uint64_t most;
    CHECK_EQ(rlm_calendar_init(&quota, &limit, START), RLM_OK);
    CHECK_EQ(rlm_calendar_save(&quota, &saved), RLM_OK);
    for (most = 0; rlm_calendar_debit(&quota, 1, START) == RLM_OK; most++) {} /* all that it can count */
    CHECK(most >= 20);
    saved.used = most / 2;
    CHECK_EQ(rlm_calendar_restore(&quota, &saved, START), RLM_E_COST);
    CHECK_EQ(rlm_calendar_save(&quota, &after), RLM_OK);
    CHECK_EQ(after.used, most);
    CHECK_EQ(rlm_calendar_init(&quota, &limit, START), RLM_OK);
    CHECK_EQ(rlm_calendar_restore(&quota, &saved, START), RLM_OK);
    CHECK_EQ(rlm_calendar_restore(&quota, &saved, START), RLM_OK);
    CHECK_EQ(rlm_calendar_save(&quota, &after), RLM_OK);
    CHECK_EQ(after.used, most / 2 * 2);
}

/* ---- Limiters --------------------------------------------------------------------------------- */

/* Two quotas that admit in the first second of every ten, and of every seven: both do so every seventy. */
static void the_end_of_one_guard_lies_in_another(void) {
    rlm_limit limits[2];
    uint64_t begin_ns = 70 * SECOND * (START / (70 * SECOND)), now_ns = begin_ns + SECOND, wait_ns;
    int asked = 0;
    limits[0] = rlm_fixed(RLM_REQUESTS, 1000, 10 * SECOND, 0);
    limits[1] = rlm_fixed(RLM_REQUESTS, 1000, 7 * SECOND, 0);
    limits[0].guard_ns = 9 * SECOND;
    limits[1].guard_ns = 6 * SECOND;
    make_limiter(limits, 2);
    while ((wait_ns = acquire(1, now_ns)) != 0 && asked++ < 100) {
        CHECK(now_ns + wait_ns <= begin_ns + 70 * SECOND); /* never longer than it takes */
        now_ns += wait_ns;
    }
    CHECK_EQ(now_ns, begin_ns + 70 * SECOND);
    CHECK(asked > 1); /* each answer looks as many rounds ahead as there may be limits */
}

/* A debt that one limit cannot hold is taken back from the others, of which it was nothing or something. */
static void a_debt_that_one_limit_cannot_hold(void) {
    rlm_limit limits[2];
    rlm_cost cost = requests(RLM_AMOUNT_MAX);
    limits[0] = rlm_per_second(RLM_OUTPUT_TOKENS, 1000);
    limits[1] = rlm_per_minute(RLM_REQUESTS, 1);
    make_limiter(limits, 2);
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_E_COST);
    CHECK_EQ(used_of(0, START), 0);
    CHECK_EQ(used_of(1, START), 0);
    cost.output_tokens = 500;
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_E_COST);
    CHECK_EQ(used_of(0, START), 0);
    CHECK_EQ(used_of(1, START), 0);
}

static void recent_requests_of_a_clock_set_back_by_years(void) {
    rlm_limit limit = rlm_concurrent(10);
    uint64_t before_ns = START - 3 * YEAR;
    int k;
    make_limiter(&limit, 1);
    for (k = 0; k < 3; k++) CHECK_EQ(acquire(2, before_ns), 0);
    CHECK_EQ(rlm_recent(&limiter, before_ns), 6);
    CHECK_EQ(rlm_recent(&limiter, START), 0);
    CHECK_EQ(acquire(1, START), 0);
    CHECK_EQ(rlm_recent(&limiter, START), 1);
}

/* While a limit is to be learned the one that is waited for is told, and a peek is told nothing. */
static void the_limit_that_is_waited_for(void) {
    rlm_limit limits[2];
    rlm_cost one = requests(1), nothing = requests(0);
    int binding = 7;
    limits[0] = rlm_per_second(RLM_REQUESTS, 1000);
    limits[1] = rlm_per_minute(RLM_REQUESTS, 1000);
    limits[1].follow = RLM_FOLLOW;
    make_limiter(limits, 2);
    CHECK_EQ(acquire(1, START), 0);
    CHECK_EQ(rlm_check(&limiter, &one, START, &binding), RLM_ON_RELEASE);
    CHECK_EQ(binding, 1);
    CHECK_EQ(rlm_check(&limiter, &nothing, START, &binding), 0);
    CHECK_EQ(binding, -1);
}

static void an_adaptive_cap_is_reconfigured_within_reason(void) {
    rlm_limit limit = rlm_adaptive(4, 100), other = limit, now;
    make_limiter(&limit, 1);
    other.amount = 3; /* below its least */
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &other, START), RLM_E_FOLLOW);
    other.amount = 0;
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &other, START), RLM_E_AMOUNT);
    other.amount = (UINT64_C(1) << 31) + 1;
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &other, START), RLM_E_AMOUNT);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.amount, 8);
    other.amount = 4;
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &other, START), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.amount, 4);
}

/* ---- Feedback --------------------------------------------------------------------------------- */

/* An answer after two weeks: a guard as long cannot be counted in ticks so fine, and is left as it was. */
static void an_answer_that_took_weeks(void) {
    rlm_limit limit = bucket_of(FINE, AGES, 8), now;
    rlm_feedback feedback = silent(RLM_ANSWERED);
    uint64_t later_ns = START + (UINT64_C(1) << 50), wait_ns;
    make_limiter(&limit, 1);
    CHECK_EQ(acquire(1, START), 0);
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, later_ns), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.guard_ns, 0);
    CHECK_EQ(acquire(8, later_ns), 0);
    wait_ns = acquire(1, later_ns);
    CHECK_EQ(wait_ns, AGES / FINE + 1);
}

/* A debt that fills the word: a longer guard adds nothing to it. */
static void a_guard_on_top_of_a_debt_of_years(void) {
    rlm_limit limit = bucket_of(1000, SECOND, 1000), now;
    rlm_feedback feedback = silent(RLM_ANSWERED);
    rlm_cost cost;
    uint64_t n, used;
    make_limiter(&limit, 1);
    CHECK_EQ(acquire(1, START), 0);
    for (n = RLM_AMOUNT_MAX; n != 0; n /= 2)
        for (cost = requests(n); rlm_debit(&limiter, &cost, START + 10000000) == RLM_OK;) {}
    used = used_of(0, START + 10000000);
    CHECK(used > UINT64_C(100000000000));
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START + 10000000), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.guard_ns, 10000000);
    CHECK_EQ(used_of(0, START + 10000000), used);
}

/* Waits that do not fit into ticks so fine: the pause holds them, and the bucket is as it was. */
static void a_wait_too_long_for_fine_ticks(void) {
    static const uint64_t waits_ns[] = {UINT64_C(1) << 55, UINT64_C(1) << 53};
    rlm_limit limit = bucket_of(FINE, AGES, 8);
    rlm_feedback feedback = silent(RLM_REFUSED);
    size_t i;
    for (i = 0; i < 2; i++) {
        make_limiter(&limit, 1);
        CHECK_EQ(acquire(1, START), 0);
        feedback.retry_after_ns = waits_ns[i];
        CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START + 1), RLM_OK);
        CHECK_EQ(acquire(1, START + 1), waits_ns[i]);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START + 1), RLM_OK);
        CHECK_EQ(used_of(0, START + 1), 0);
        CHECK_EQ(acquire(8, START + 1 + waits_ns[i]), 0);
    }
}

/* What the server would have to hold of such tokens does not fit either: they were admitted at another rate, or are
   twice a burst that fills the word. */
static void a_refusal_of_more_than_can_be_counted(void) {
    rlm_limit limit = bucket_of(RLM_AMOUNT_MAX, RLM_DAY_NS, RLM_AMOUNT_MAX), slow = bucket_of(1, UINT64_C(1) << 54, 6);
    rlm_feedback feedback = silent(RLM_REFUSED);
    uint64_t used;
    feedback.retry_after_ns = SECOND;
    feedback.requested = 0;
    make_limiter(&limit, 1);
    CHECK_EQ(acquire(RLM_AMOUNT_MAX, START), 0);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &slow, START), RLM_OK);
    used = used_of(0, START);
    CHECK(used == 6 || used == 7); /* rounded up */
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START), RLM_OK);
    CHECK_EQ(used_of(0, START), used);
    make_limiter(&slow, 1);
    CHECK_EQ(acquire(6, START), 0);
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START), RLM_OK);
    CHECK_EQ(used_of(0, START), 6);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_EQ(acquire(1, START), SECOND); /* what holds is the pause alone */
    CHECK_EQ(acquire(6, START + SECOND), 0);
}

/* A pause of months, and then a rate at which it cannot be counted: it goes on. */
static void a_pause_outlives_a_finer_rate(void) {
    static const uint64_t waits_ns[] = {UINT64_C(1) << 55, UINT64_C(1) << 53};
    rlm_limit limit = bucket_of(1000, AGES, 8), now;
    rlm_feedback answer = telling(RLM_ANSWERED, FINE, FINE - 1, AGES);
    size_t i;
    limit.follow = RLM_FOLLOW;
    for (i = 0; i < 2; i++) {
        make_limiter(&limit, 1);
        CHECK_EQ(acquire(1, START), 0);
        CHECK_EQ(rlm_pause(&limiter, 0, waits_ns[i], START + 1), RLM_OK);
        CHECK_EQ(rlm_observe(&limiter, &permit, &answer, START + 2), RLM_OK);
        CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
        CHECK_EQ(now.period_ns, AGES);
        CHECK_EQ(now.amount, FINE);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START + 2), RLM_OK);
        CHECK_EQ(acquire(1, START + 2), waits_ns[i] - 1);
    }
}

/* More was sent since than any amount may be, when the server tells another limit: it is still owed. */
static void more_sent_than_an_amount_can_be(void) {
    rlm_limit limit = bucket_of(10, 1, 10), now;
    rlm_feedback feedback = telling(RLM_ANSWERED, 5, 0, 1);
    rlm_cost cost = requests(RLM_AMOUNT_MAX);
    int k;
    limit.follow = RLM_FOLLOW;
    make_limiter(&limit, 1);
    CHECK_EQ(acquire(1, START), 0);
    for (k = 0; k < 4; k++) CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_OK);
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.amount, 5);
    CHECK_EQ(used_of(0, START), 4 * RLM_AMOUNT_MAX + 1 - 5); /* as much is available as before, of a burst of 5 less */
}

/* A refusal of 2^40 requests tells a limit of which a token takes 208 days: more than can be counted is held. */
static void a_slow_limit_told_to_a_large_request(void) {
    rlm_limit limit = bucket_of(RLM_AMOUNT_MAX, RLM_DAY_NS, RLM_AMOUNT_MAX), now;
    rlm_feedback feedback = telling(RLM_REFUSED, 1, 0, UINT64_C(1) << 54);
    limit.follow = RLM_FOLLOW;
    make_limiter(&limit, 1);
    CHECK_EQ(acquire(RLM_AMOUNT_MAX, START), 0);
    feedback.reading[0].period_most_ns += SECOND; /* about, so that it is of this limit whatever its period */
    CHECK_EQ(rlm_observe(&limiter, &permit, &feedback, START + RLM_DAY_NS), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.amount, 1);
    CHECK_EQ(now.period_ns, UINT64_C(1) << 54);
    CHECK(used_of(0, START + RLM_DAY_NS) >= 1);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START + RLM_DAY_NS), RLM_OK);
    CHECK_EQ(used_of(0, START + RLM_DAY_NS), 0);
}

/* What was taken and given back counts too, and a window counts so far and no further: what remains is not believed then. */
static void an_answer_to_a_window_that_can_count_no_more(void) {
    uint64_t amount = UINT64_C(1) << 31;
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, amount, SECOND);
    rlm_feedback feedback = telling(RLM_ANSWERED, amount, 0, SECOND);
    int k;
    limit.cells = 3;
    make_limiter(&limit, 1);
    for (k = 0; k < 1000 && acquire(amount, START) == 0; k++) CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK(k >= 4 && k < 1000);
    CHECK_EQ(used_of(0, START), 0);
    CHECK_EQ(rlm_observe(&limiter, NULL, &feedback, START), RLM_OK);
    CHECK_EQ(used_of(0, START), 0);
    CHECK_EQ(acquire(amount, START + 2 * SECOND), 0); /* a slot longer than its period */
    CHECK_EQ(rlm_observe(&limiter, NULL, &feedback, START + 2 * SECOND), RLM_OK);
    CHECK(acquire(1, START + 2 * SECOND) != 0);
}

/* A guess that rises above what was configured takes its burst with it, up to the largest there is. */
static void a_guess_takes_its_burst_to_the_most(void) {
    rlm_limit limit = bucket_of(60000000, RLM_MINUTE_NS, RLM_AMOUNT_MAX), now;
    rlm_feedback refusal = silent(RLM_REFUSED), good = silent(RLM_ANSWERED);
    rlm_cost cost = requests(RLM_AMOUNT_MAX);
    uint64_t now_ns = START, k;
    limit.follow = RLM_FOLLOW;
    refusal.named = 1u << RLM_REQUESTS;
    make_limiter(&limit, 1);
    CHECK_EQ(acquire(1, now_ns), 0);
    CHECK_EQ(rlm_observe(&limiter, &permit, &refusal, now_ns), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.amount, 60000000 / 8 * 7);
    CHECK_EQ(now.burst, RLM_AMOUNT_MAX / 8 * 7);
    CHECK_EQ(rlm_debit(&limiter, &cost, now_ns), RLM_OK); /* so that it is tried */
    for (k = 0; k < 20; k++) CHECK_EQ(rlm_observe(&limiter, NULL, &good, now_ns += 61 * SECOND), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK(now.amount > 60000000 && now.amount < 75000000);
    CHECK_EQ(now.burst, RLM_AMOUNT_MAX);
}

static const check_case cases[] = {
    CASE(a_guard_too_long_for_fine_ticks),
    CASE(no_place_in_a_line_that_is_years_long),
    CASE(what_a_clock_owes_is_forgotten_at_another_rate),
    CASE(a_debt_before_the_beginning),
    CASE(a_debt_while_the_clock_is_doubted),
    CASE(a_window_refuses_a_debt_also_by_a_clock_set_back),
    CASE(a_credit_without_measure_gives_only_what_was_taken),
    CASE(a_mark_of_what_is_yet_to_come),
    CASE(a_window_at_the_beginning_of_its_time),
    CASE(a_quota_outside_of_its_years),
    CASE(a_restored_quota_must_fit),
    CASE(the_end_of_one_guard_lies_in_another),
    CASE(a_debt_that_one_limit_cannot_hold),
    CASE(recent_requests_of_a_clock_set_back_by_years),
    CASE(the_limit_that_is_waited_for),
    CASE(an_adaptive_cap_is_reconfigured_within_reason),
    CASE(an_answer_that_took_weeks),
    CASE(a_guard_on_top_of_a_debt_of_years),
    CASE(a_wait_too_long_for_fine_ticks),
    CASE(a_refusal_of_more_than_can_be_counted),
    CASE(a_pause_outlives_a_finer_rate),
    CASE(more_sent_than_an_amount_can_be),
    CASE(a_slow_limit_told_to_a_large_request),
    CASE(an_answer_to_a_window_that_can_count_no_more),
    CASE(a_guess_takes_its_burst_to_the_most),
};

CHECK_MAIN(cases)
