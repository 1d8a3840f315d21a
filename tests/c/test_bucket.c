#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"
#include "model.h"

#define SECOND RLM_SECOND_NS
#define END_OF_TIME (UINT64_MAX - (UINT64_C(1) << 59)) /* readings above are refused */
#define START (100 * RLM_DAY_NS)
#define YEAR (365 * RLM_DAY_NS)

static rlm_bucket bucket_of(const rlm_limit *limit, uint64_t now_ns) {
    rlm_bucket bucket;
    memset(&bucket, 0, sizeof bucket);
    CHECK_EQ(rlm_bucket_init(&bucket, limit, now_ns), RLM_OK);
    return bucket;
}

static void constructors(void) {
    rlm_limit limit = rlm_per(RLM_CUSTOM, 7, 11);
    CHECK_EQ(limit.kind, RLM_BUCKET);
    CHECK_EQ(limit.meter, RLM_CUSTOM);
    CHECK_EQ(limit.amount, 7);
    CHECK_EQ(limit.burst, 7);
    CHECK_EQ(limit.period_ns, 11);
    CHECK_EQ(limit.guard_ns, 0);
    CHECK_EQ(limit.cells, 0);
    CHECK_EQ(limit.utc_offset_s, 0);
    CHECK_EQ(limit.wall_offset_ns, 0);
    CHECK_EQ(limit.follow, RLM_SHRINK);
    CHECK_EQ(limit.least, 0);
    CHECK_EQ(rlm_per_second(RLM_REQUESTS, 1).period_ns, UINT64_C(1000000000));
    CHECK_EQ(rlm_per_minute(RLM_REQUESTS, 1).period_ns, UINT64_C(60000000000));
    CHECK_EQ(rlm_per_hour(RLM_REQUESTS, 1).period_ns, UINT64_C(3600000000000));
    CHECK_EQ(rlm_per_day(RLM_REQUESTS, 1).period_ns, UINT64_C(86400000000000));
}

/* Each bad limit, its status, and that neither init nor reconfigure changes anything. */
static void bad_limits_change_nothing(void) {
    rlm_limit good = rlm_per_second(RLM_REQUESTS, 10), bad[16];
    int status[16], count = 0, i;
    rlm_bucket bucket, before;
#define BAD(expected) bad[count] = good, status[count] = (expected), count++, bad[count - 1]
    BAD(RLM_E_KIND).kind = RLM_WINDOW;
    BAD(RLM_E_KIND).kind = 9;
    BAD(RLM_E_METER).meter = RLM_CUSTOM + 1;
    BAD(RLM_E_AMOUNT).amount = 0;
    BAD(RLM_E_AMOUNT).amount = RLM_AMOUNT_MAX + 1;
    BAD(RLM_E_PERIOD).period_ns = 0;
    BAD(RLM_E_PERIOD).period_ns = (UINT64_C(1) << 55) + 1;
    BAD(RLM_E_PERIOD).period_ns = RLM_MONTH;
    BAD(RLM_E_RATE).amount = 10 * SECOND + 1;
    BAD(RLM_E_BURST).burst = 0;
    BAD(RLM_E_BURST).burst = RLM_AMOUNT_MAX + 1;
    BAD(RLM_E_GUARD).guard_ns = SECOND + 1;
    bad[count] = rlm_per_day(RLM_REQUESTS, 1);
    bad[count].burst = RLM_AMOUNT_MAX;
    status[count++] = RLM_E_SPAN;
#undef BAD
    memset(&bucket, 0xa5, sizeof bucket);
    for (i = 0; i < count; i++) {
        before = bucket;
        CHECK_EQ(rlm_bucket_init(&bucket, &bad[i], START), status[i]);
        CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
    }
    CHECK_EQ(rlm_bucket_init(NULL, &good, START), RLM_E_NULL);
    CHECK_EQ(rlm_bucket_init(&bucket, NULL, START), RLM_E_NULL);
    bucket = bucket_of(&good, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 4, START), 0);
    for (i = 0; i < count; i++) {
        uint64_t k;
        rlm_bucket copy = bucket;
        CHECK_EQ(rlm_bucket_reconfigure(&copy, &bad[i], START), status[i]);
        for (k = 0; k < 6; k++) CHECK_EQ(rlm_bucket_take(&copy, 1, START), 0);
        CHECK_EQ(rlm_bucket_take(&copy, 1, START), SECOND / 10);
        CHECK_EQ(rlm_bucket_reconfigure(&copy, &good, START), RLM_OK);
    }
    CHECK_EQ(rlm_bucket_reconfigure(NULL, &good, START), RLM_E_NULL);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, NULL, START), RLM_E_NULL);
}

static void good_extremes(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, RLM_AMOUNT_MAX, UINT64_C(1) << 55);
    rlm_bucket bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, RLM_AMOUNT_MAX, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), UINT64_C(1) << 15);
    limit = rlm_per(RLM_REQUESTS, 10, 1);
    bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 1);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START + 1), 0);
    limit = rlm_per_day(RLM_REQUESTS, 1);
    bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 1), RLM_DAY_NS - 1);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + RLM_DAY_NS - 1), 1);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + RLM_DAY_NS), 0);
}

static void answers_and_refusals(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&limit, START), before;
    uint64_t k;
    limit.burst = 5;
    bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 0, START), 0);
    CHECK_EQ(rlm_bucket_peek(&bucket, 5, START), 0);
    for (k = 0; k < 5; k++) CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 0);
    before = bucket;
    CHECK_EQ(rlm_bucket_take(&bucket, 0, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 10);
    CHECK_EQ(rlm_bucket_take(&bucket, 5, START), SECOND / 2);
    CHECK_EQ(rlm_bucket_peek(&bucket, 5, START), SECOND / 2);
    CHECK_EQ(rlm_bucket_take(&bucket, 6, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_take(&bucket, RLM_AMOUNT_MAX, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_take(&bucket, RLM_AMOUNT_MAX + 1, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_take(&bucket, UINT64_MAX, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_peek(&bucket, UINT64_MAX, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_reserve(&bucket, 6, UINT64_MAX - 2, START), RLM_NEVER);
    CHECK_EQ(rlm_bucket_reserve(&bucket, UINT64_MAX, UINT64_MAX, START), RLM_NEVER);
    CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
}

/* What may go at once goes at once, one by one as well as together. */
static void a_full_bucket_holds_its_burst(void) {
    static const uint64_t amounts[] = {1, 2, 3, 7, 10, 19, 20, 23, 50, 123, 700, 997};
    size_t i;
    for (i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        rlm_limit limit = rlm_per_minute(RLM_REQUESTS, amounts[i]);
        rlm_bucket bucket = bucket_of(&limit, START + 17);
        uint64_t k, now_ns = START + 17, wait_ns;
        for (k = 0; k < amounts[i]; k++) {
            wait_ns = rlm_bucket_take(&bucket, 1, now_ns);
            if (wait_ns == 0) continue;
            /* at most one tick is lost for each operation, and all of it costs one nanosecond */
            CHECK_EQ(wait_ns, 1);
            CHECK_EQ(rlm_bucket_take(&bucket, 1, ++now_ns), 0);
        }
        CHECK(now_ns - START - 17 <= 1);
        CHECK(rlm_bucket_take(&bucket, 1, now_ns) != 0);
    }
}

/* Where a nanosecond is a whole number of ticks, a burst needs no second instant. */
static void a_full_bucket_holds_its_burst_exactly(void) {
    uint64_t k, rate, pause;
    for (rate = 1; rate <= 100; rate++) {
        rlm_limit limit = rlm_per(RLM_REQUESTS, rate, rate * 1000);
        rlm_bucket bucket = bucket_of(&limit, START);
        for (pause = 0; pause < 3; pause++) {
            uint64_t now_ns = START + pause * 7 * RLM_DAY_NS;
            for (k = 0; k < rate; k++) CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns), 0);
            CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns), 1000);
        }
    }
}

static uint64_t some(uint64_t *random, uint64_t low, uint64_t high) {
    return low + check_random(random) % (high - low + 1);
}

/* A number whose length in bits is uniform. */
static uint64_t some_size(uint64_t *random, uint64_t high) {
    uint64_t bits = 0, value;
    while (bits < 63 && high >> bits != 0) bits++;
    value = some(random, 1, (UINT64_C(1) << some(random, 1, bits)) - 1);
    return value <= high ? value : high;
}

static rlm_limit some_limit(uint64_t *random, uint64_t period) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1);
    static const uint64_t periods[] = {1000, 1000000000, UINT64_C(60000000000), UINT64_C(3600000000000), UINT64_C(86400000000000)};
    do {
        limit.period_ns = period != 0 ? period : some(random, 0, 1) ? periods[some(random, 0, 4)] : some_size(random, RLM_DAY_NS);
        limit.amount = some_size(random, limit.period_ns <= RLM_AMOUNT_MAX / 10 ? 10 * limit.period_ns : RLM_AMOUNT_MAX);
        limit.burst = some(random, 0, 1) ? limit.amount : some_size(random, 1000000);
    } while (limit.burst / limit.amount * limit.period_ns > YEAR);
    return limit;
}

/* About as long as it takes to earn n tokens, sometimes much less or more. */
static uint64_t some_pause(uint64_t *random, const rlm_limit *limit, uint64_t n) {
    uint64_t each_ns = limit->period_ns / limit->amount, full_ns = n * each_ns + n;
    if (full_ns > 30 * RLM_DAY_NS) full_ns = 30 * RLM_DAY_NS;
    switch (some(random, 0, 5)) {
    case 0: return 0;
    case 1: return some(random, 0, 3);
    case 2: return some(random, 0, each_ns + 1);
    case 3: return some(random, 0, 2 * full_ns);
    default: return some(random, 0, full_ns);
    }
}

/* A wait is the first nanosecond at which it would be admitted: exactly, for k tokens in m ns with
   k <= 19; else it may be one too long. */
static void waits_are_exact(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 400; round++) {
        rlm_limit limit = some_limit(&random, 0);
        uint64_t a = limit.amount, b = limit.period_ns, now_ns = START + some(&random, 0, RLM_DAY_NS);
        uint64_t slack;
        rlm_bucket bucket = bucket_of(&limit, now_ns);
        while (b != 0) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        slack = limit.amount / a <= 19 ? 0 : 1;
        for (step = 0; step < 50; step++) {
            uint64_t n = some(&random, 1, limit.burst), wait_ns;
            rlm_bucket before;
            now_ns += some_pause(&random, &limit, n);
            before = bucket;
            CHECK_EQ(rlm_bucket_peek(&bucket, n, now_ns), wait_ns = rlm_bucket_take(&bucket, n, now_ns));
            if (wait_ns == 0) continue;
            CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
            CHECK_EQ(rlm_bucket_peek(&bucket, n, now_ns + wait_ns), 0);
            if (wait_ns > 1 + slack) CHECK(rlm_bucket_peek(&bucket, n, now_ns + wait_ns - 1 - slack) != 0);
            now_ns += wait_ns;
            CHECK_EQ(rlm_bucket_take(&bucket, n, now_ns), 0);
        }
    }
}

/* Random takes, debits and credits in order of time: never more than burst + rate x span + credits in
   any span. A debit is not an admission, but it must not let more be admitted either. */
static void bound_of_takes_and_credits(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 600; round++) {
        rlm_limit limit = some_limit(&random, 0);
        uint64_t now_ns = START + some(&random, 0, RLM_DAY_NS), began_ns = now_ns;
        rlm_bucket bucket = bucket_of(&limit, now_ns);
        bool greedy = some(&random, 0, 1) != 0;
        audit judge;
        audit_start(&judge);
        for (step = 0; step < 120; step++) {
            uint64_t n = some(&random, 0, 3) ? some_size(&random, limit.burst) : limit.burst, wait_ns;
            wide earned;
            if (!greedy) now_ns += some_pause(&random, &limit, n);
            earned = wide_mul(limit.amount, now_ns - began_ns);
            switch (some(&random, 0, 9)) {
            case 0:
                CHECK_EQ(rlm_bucket_credit(&bucket, n, now_ns), RLM_OK);
                audit_give(&judge, n, limit.period_ns);
                break;
            case 1: CHECK_EQ(rlm_bucket_debit(&bucket, some(&random, 0, n), now_ns), RLM_OK); break;
            default:
                wait_ns = rlm_bucket_take(&bucket, n, now_ns);
                if (wait_ns == 0) CHECK(audit_take(&judge, n, earned, limit.burst, limit.period_ns));
                else if (greedy) now_ns += wait_ns;
            }
        }
    }
}

/* With places in line: what is reserved counts at the time it may be used. As that is rounded up to a
   nanosecond, two uses may be closer by less than one. */
static void bound_of_reservations(void) {
    uint64_t random = check_seed(), round, step;
    static admission log[200];
    for (round = 0; round < 400; round++) {
        rlm_limit limit = some_limit(&random, 0);
        uint64_t now_ns = START + some(&random, 0, RLM_DAY_NS);
        rlm_bucket bucket = bucket_of(&limit, now_ns), before;
        size_t count = 0;
        for (step = 0; step < 150; step++) {
            uint64_t n = some_size(&random, limit.burst), wait_ns, most_ns = some_pause(&random, &limit, limit.burst);
            now_ns += some_pause(&random, &limit, n);
            before = bucket;
            if (some(&random, 0, 2) == 0) {
                wait_ns = rlm_bucket_take(&bucket, n, now_ns);
                if (wait_ns != 0) continue;
            } else {
                wait_ns = rlm_bucket_reserve(&bucket, n, most_ns, now_ns);
                if (wait_ns > most_ns) {
                    CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
                    continue;
                }
            }
            log[count].at_ns = now_ns + wait_ns;
            log[count++].n = n;
        }
        CHECK(log_keeps_rate(log, count, limit.burst, limit.amount, limit.period_ns, 2)); /* a wait is rounded up */
    }
}

/* The rate and burst change at random moments; in a span, no more than the burst in force where it
   begins, what the rates in force earned, and the credits. */
static void bound_of_reconfigurations(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 600; round++) {
        rlm_limit limit = some_limit(&random, 0), next;
        uint64_t now_ns = START + some(&random, 0, RLM_DAY_NS), pause_ns;
        rlm_bucket bucket = bucket_of(&limit, now_ns);
        wide earned = wide_of(0);
        audit judge;
        audit_start(&judge);
        for (step = 0; step < 120; step++) {
            uint64_t n = some_size(&random, limit.burst);
            pause_ns = some_pause(&random, &limit, n);
            now_ns += pause_ns;
            earned = wide_add(earned, wide_mul(limit.amount, pause_ns));
            switch (some(&random, 0, 7)) {
            case 0:
                next = some_limit(&random, limit.period_ns);
                if (some(&random, 0, 1)) next.amount = limit.amount;
                if (next.burst / next.amount * next.period_ns > YEAR) break;
                if (rlm_bucket_reconfigure(&bucket, &next, now_ns) == RLM_OK) limit = next;
                break;
            case 1:
                CHECK_EQ(rlm_bucket_credit(&bucket, n, now_ns), RLM_OK);
                audit_give(&judge, n, limit.period_ns);
                break;
            default:
                if (rlm_bucket_take(&bucket, n, now_ns) == 0)
                    CHECK(audit_take(&judge, n, earned, limit.burst, limit.period_ns));
            }
        }
    }
}

/* Takes as much as it can for a long while. Above B + r x w never; below it by less than a chunk
   (nothing smaller is asked for), and a tick for each operation: a tick is a tenth of a nanosecond
   at most. */
static void greedy(uint64_t amount, uint64_t period_ns, uint64_t chunk, uint64_t operations) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, amount, period_ns);
    uint64_t now_ns = START, admitted = 0, done = 0, wait_ns;
    rlm_bucket bucket = bucket_of(&limit, now_ns);
    wide most, least;
    CHECK_EQ(rlm_bucket_take(&bucket, admitted = limit.burst, now_ns), 0);
    while (done < operations) {
        wait_ns = rlm_bucket_take(&bucket, chunk, now_ns);
        CHECK(wait_ns != RLM_NEVER);
        if (wait_ns != 0) {
            now_ns += wait_ns;
            continue;
        }
        admitted += chunk;
        done++;
    }
    most = wide_add(wide_mul(limit.burst, period_ns), wide_mul(amount, now_ns - START));
    CHECK(!wide_less(most, wide_mul(admitted, period_ns)));
    least = wide_add(wide_mul(admitted + chunk, 10 * period_ns), wide_mul(amount, done + 20));
    most = wide_add(wide_mul(10 * limit.burst, period_ns), wide_mul(amount, 10 * (now_ns - START)));
    CHECK(!wide_less(least, most));
}

static void rates_are_kept_over_a_long_run(void) {
    greedy(700000000, SECOND, 1, 2000000);
    greedy(700000000, SECOND, 7001, 1000000);
    greedy(UINT64_C(9999999967), SECOND, 1, 500000);
    greedy(UINT64_C(9999999967), SECOND, 99991, 1000000);
    greedy(123457, RLM_MINUTE_NS, 1, 1000000);
    greedy(3, SECOND, 1, 1000000);
    greedy(1, RLM_DAY_NS, 1, 1000);
    greedy(10 * SECOND, SECOND, 1, 500000);
    greedy(10 * SECOND, SECOND, 123457, 1000000);
    greedy(7, 11, 1, 500000);
    greedy(999999937, SECOND, 5, 500000);
    greedy(86399, RLM_DAY_NS, 1, 1000000);
}

static void reservations_stand_in_line(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&limit, START), before;
    uint64_t k;
    CHECK_EQ(rlm_bucket_reserve(&bucket, 10, 0, START), 0);
    for (k = 1; k <= 30; k++) CHECK_EQ(rlm_bucket_reserve(&bucket, 1, 10 * SECOND, START), k * SECOND / 10);
    before = bucket;
    CHECK_EQ(rlm_bucket_reserve(&bucket, 1, 3 * SECOND, START), 31 * SECOND / 10);
    CHECK_EQ(rlm_bucket_reserve(&bucket, 0, RLM_NEVER, START), 3 * SECOND);
    CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 31 * SECOND / 10);
    CHECK_EQ(rlm_bucket_credit(&bucket, 10, START), RLM_OK); /* ten give their places back */
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 21 * SECOND / 10);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 21 * SECOND / 10), 0);
}

/* However far the line reaches, an answer of at most max_wait_ns took the tokens: nobody gets a
   place that another has. */
static void a_place_is_given_once(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 1, UINT64_C(1) << 55);
    rlm_bucket bucket = bucket_of(&limit, START);
    uint64_t k, last_ns = 0, wait_ns;
    CHECK_EQ(rlm_bucket_reserve(&bucket, 1, 0, START), 0);
    for (k = 0; k < 100; k++) {
        wait_ns = rlm_bucket_reserve(&bucket, 1, RLM_NEVER - 1, START);
        if (wait_ns == RLM_NEVER) return;
        CHECK(wait_ns > last_ns);
        last_ns = wait_ns;
    }
}

static void credit_stops_at_the_burst(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&limit, START), before;
    rlm_usage usage;
    CHECK_EQ(rlm_bucket_credit(&bucket, 10, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 10);
    CHECK_EQ(rlm_bucket_credit(&bucket, 3, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 3, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 10);
    CHECK_EQ(rlm_bucket_credit(&bucket, RLM_AMOUNT_MAX, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 10);
    before = bucket;
    CHECK_EQ(rlm_bucket_credit(&bucket, 0, START), RLM_OK);
    CHECK_EQ(rlm_bucket_credit(&bucket, RLM_AMOUNT_MAX + 1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_credit(&bucket, UINT64_MAX, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_credit(NULL, 1, START), RLM_E_NULL);
    CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START), RLM_OK);
    CHECK_EQ(usage.remaining, 0);
}

/* Debts larger than the burst are given back whole. */
static void credit_clears_a_large_debt(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10), less = rlm_per_second(RLM_REQUESTS, 2);
    rlm_bucket bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_debit(&bucket, 1000, START), RLM_OK);
    CHECK_EQ(rlm_bucket_credit(&bucket, 995, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 5, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 10);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &less, START), RLM_OK); /* ten out of a burst of two */
    CHECK_EQ(rlm_bucket_credit(&bucket, 10, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 2, START), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 2);
}

static void debt_delays_and_is_not_lost(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10), slow = rlm_per(RLM_REQUESTS, 1, UINT64_C(1) << 55);
    rlm_bucket bucket = bucket_of(&limit, START), before;
    rlm_usage usage;
    CHECK_EQ(rlm_bucket_debit(&bucket, 25, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 0, START), 15 * SECOND / 10);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 16 * SECOND / 10);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START), RLM_OK);
    CHECK_EQ(usage.limit, 10);
    CHECK_EQ(usage.used, 25);
    CHECK(usage.remaining == -15);
    CHECK_EQ(usage.reset_ns, 25 * SECOND / 10);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 16 * SECOND / 10 - 1), 1);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 16 * SECOND / 10), 0);
    bucket = bucket_of(&slow, START);
    before = bucket;
    CHECK_EQ(rlm_bucket_debit(&bucket, 0, START), RLM_OK);
    CHECK_EQ(rlm_bucket_debit(&bucket, 1000, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_debit(&bucket, RLM_AMOUNT_MAX, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_debit(&bucket, RLM_AMOUNT_MAX + 1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_debit(&bucket, UINT64_MAX, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_debit(NULL, 1, START), RLM_E_NULL);
    CHECK(memcmp(&before, &bucket, sizeof bucket) == 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 0);
}

static void status_tells_what_take_answers(void) {
    uint64_t random = check_seed(), round, step;
    rlm_usage usage;
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_status(NULL, &usage, START), RLM_E_NULL);
    CHECK_EQ(rlm_bucket_status(&bucket, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START), RLM_OK);
    CHECK_EQ(usage.limit, 10);
    CHECK_EQ(usage.used, 0);
    CHECK_EQ(usage.remaining, 10);
    CHECK_EQ(usage.reset_ns, 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 4, START), 0);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START + SECOND / 20), RLM_OK); /* three and a half */
    CHECK_EQ(usage.used, 4);
    CHECK_EQ(usage.remaining, 6);
    CHECK_EQ(usage.reset_ns, 35 * SECOND / 100);
    for (round = 0; round < 200; round++) {
        uint64_t now_ns = START;
        limit = some_limit(&random, 0);
        bucket = bucket_of(&limit, now_ns);
        for (step = 0; step < 30; step++) {
            uint64_t n = some_size(&random, limit.burst);
            now_ns += some_pause(&random, &limit, n);
            (void)rlm_bucket_take(&bucket, n, now_ns);
            CHECK_EQ(rlm_bucket_status(&bucket, &usage, now_ns), RLM_OK);
            CHECK_EQ(usage.limit, limit.burst);
            CHECK(usage.remaining >= 0 || usage.used > usage.limit);
            CHECK(usage.remaining == (int64_t)usage.limit - (int64_t)usage.used);
            if (usage.remaining > 0) CHECK_EQ(rlm_bucket_peek(&bucket, (uint64_t)usage.remaining, now_ns), 0);
            CHECK_EQ(rlm_bucket_peek(&bucket, limit.burst, now_ns + usage.reset_ns), 0);
        }
    }
}

static void reconfiguring_grants_no_burst(void) {
    rlm_limit small = rlm_per_second(RLM_REQUESTS, 10), large = rlm_per_second(RLM_REQUESTS, 1000);
    rlm_bucket bucket = bucket_of(&small, START);
    uint64_t k, admitted = 0;
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &large, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0); /* what there was, there is */
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), SECOND / 1000);
    CHECK_EQ(rlm_bucket_take(&bucket, 500, START + SECOND / 2), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + SECOND / 2), SECOND / 1000);
    bucket = bucket_of(&small, START);
    for (k = 0; k < 1000; k++) { /* to and fro */
        CHECK_EQ(rlm_bucket_reconfigure(&bucket, k % 2 ? &small : &large, START), RLM_OK);
        while (rlm_bucket_take(&bucket, 1, START) == 0) admitted++;
    }
    CHECK_EQ(admitted, 10);
}

static void reconfiguring_keeps_debt_in_tokens(void) {
    rlm_limit fast = rlm_per_second(RLM_REQUESTS, 10), slow = rlm_per_minute(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&fast, START);
    CHECK_EQ(rlm_bucket_debit(&bucket, 15, START), RLM_OK); /* 5 below nothing */
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &slow, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 6 * RLM_MINUTE_NS / 10);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &fast, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 6 * SECOND / 10);
    fast.burst = 1;
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &fast, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 5 * SECOND), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 5 * SECOND), SECOND / 10);
}

/* A debt that is large at the new rate is refused, and nothing has changed. */
static void reconfiguring_into_years_of_debt(void) {
    rlm_limit fast = rlm_per_second(RLM_REQUESTS, 1000000), slow = rlm_per_day(RLM_REQUESTS, 1);
    rlm_bucket bucket = bucket_of(&fast, START);
    CHECK_EQ(rlm_bucket_debit(&bucket, 2000000, START), RLM_OK);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &slow, START), RLM_E_SPAN);
    CHECK_EQ(rlm_bucket_take(&bucket, 0, START), SECOND);
    CHECK_EQ(rlm_bucket_take(&bucket, 1000000, START + 2 * SECOND), 0);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &fast, START + 2 * SECOND), RLM_OK);
}

/* Requests take up to guard_ns to arrive, in the worst order: the server's bucket never overflows. */
static void guard_holds_at_the_server(void) {
    uint64_t random = check_seed(), round, step;
    static admission log[150];
    for (round = 0; round < 150; round++) {
        rlm_limit limit = some_limit(&random, 0);
        uint64_t now_ns = START;
        size_t count = 0, i, j;
        rlm_bucket bucket;
        limit.guard_ns = some(&random, 0, limit.period_ns);
        bucket = bucket_of(&limit, now_ns);
        for (step = 0; step < 150; step++) {
            uint64_t n = some_size(&random, limit.burst), wait_ns;
            now_ns += some_pause(&random, &limit, n);
            if (some(&random, 0, 9) == 0) {
                limit.guard_ns = some(&random, limit.guard_ns, limit.period_ns);
                CHECK_EQ(rlm_bucket_reconfigure(&bucket, &limit, now_ns), RLM_OK);
                count = 0; /* what went before had less guard */
            }
            wait_ns = rlm_bucket_take(&bucket, n, now_ns);
            if (wait_ns != 0 && some(&random, 0, 1)) { /* as told */
                now_ns += wait_ns;
                wait_ns = rlm_bucket_take(&bucket, n, now_ns);
                CHECK_EQ(wait_ns, 0);
            }
            if (wait_ns != 0) continue;
            log[count].at_ns = now_ns;
            log[count++].n = n;
        }
        for (i = 0; i < count; i++) {
            uint64_t sum = 0;
            for (j = i; j < count; j++) {
                uint64_t apart_ns = log[j].at_ns - log[i].at_ns;
                wide bound;
                sum += log[j].n;
                apart_ns = apart_ns > limit.guard_ns ? apart_ns - limit.guard_ns : 0;
                bound = wide_add(wide_mul(limit.burst, limit.period_ns), wide_mul(limit.amount, apart_ns));
                CHECK(!wide_less(bound, wide_mul(sum, limit.period_ns)));
            }
        }
    }
}

/* The guard costs nothing of the rate of a bucket that is busy. */
static void guard_costs_no_rate(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    uint64_t k, now_ns = START;
    rlm_bucket bucket;
    limit.guard_ns = SECOND / 2;
    bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, now_ns), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns), 6 * SECOND / 10);
    now_ns += 6 * SECOND / 10;
    for (k = 0; k < 1000; k++) {
        CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns), 0);
        CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns), SECOND / 10);
        now_ns += SECOND / 10;
    }
}

/* Readings that lag by less than it takes to fill the bucket, in any order. */
static void stale_readings_mint_nothing(void) {
    uint64_t random = check_seed(), round, step;
    static admission log[2000];
    for (round = 0; round < 200; round++) {
        rlm_limit limit = some_limit(&random, 0);
        uint64_t newest_ns = START, full_ns = limit.burst * (limit.period_ns / limit.amount), now_ns;
        rlm_bucket bucket = bucket_of(&limit, newest_ns);
        size_t count = 0;
        if (full_ns > RLM_DAY_NS) full_ns = RLM_DAY_NS;
        for (step = 0; step < 1000; step++) {
            uint64_t n = some_size(&random, limit.burst);
            newest_ns += some_pause(&random, &limit, n) / 4;
            now_ns = some(&random, 0, 1) ? newest_ns : newest_ns - some(&random, 0, full_ns);
            if (rlm_bucket_take(&bucket, n, now_ns) != 0) continue;
            log[count].at_ns = now_ns;
            log[count++].n = n;
        }
        CHECK(log_keeps_rate(log, count, limit.burst, limit.amount, limit.period_ns, 0));
    }
}

static void frozen_readings_mint_nothing(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1000);
    rlm_bucket bucket = bucket_of(&limit, START);
    uint64_t k, admitted = 0;
    for (k = 0; k < 100000; k++) {
        if (rlm_bucket_take(&bucket, 1, START) == 0) admitted++;
        if (k % 7 == 0) CHECK_EQ(rlm_bucket_credit(&bucket, 0, START), RLM_OK);
        if (k % 1000 == 0) CHECK_EQ(rlm_bucket_reconfigure(&bucket, &limit, START), RLM_OK);
    }
    CHECK_EQ(admitted, 1000);
}

/* Jumps ahead: each adds at most one burst to what the time that really went by earns. */
static void jumps_ahead_add_at_most_a_burst(void) {
    static const uint64_t jumps[] = {SECOND, 60 * SECOND, RLM_DAY_NS, YEAR, 10 * YEAR, UINT64_MAX - START - 2000 * SECOND};
    size_t i;
    for (i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
        rlm_bucket bucket = bucket_of(&limit, START);
        uint64_t k, admitted = 0;
        for (k = 0; k < 100; k++) admitted += rlm_bucket_take(&bucket, 1, START) == 0;
        CHECK_EQ(admitted, 10);
        for (k = 0; k < 100; k++) admitted += rlm_bucket_take(&bucket, 1, START + jumps[i]) == 0;
        CHECK_EQ(admitted, START + jumps[i] < END_OF_TIME ? 20 : 10);
        for (k = 0; k < 1000; k++) admitted += rlm_bucket_take(&bucket, 1, START + k * SECOND / 100) == 0;
        CHECK(admitted <= 20 + 100);
    }
}

/* The clock is set back for good: after one burst's refill all is as if the bucket had been empty. */
static void set_back(uint64_t by_ns, uint64_t debit, uint64_t reconfigure) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    uint64_t ahead_ns = START + by_ns, k, admitted = 0, first_ns = 0;
    rlm_bucket bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, ahead_ns), 0);
    CHECK(rlm_bucket_take(&bucket, 1, START) != 0);
    if (debit != 0) CHECK_EQ(rlm_bucket_debit(&bucket, debit, START), RLM_OK);
    if (reconfigure != 0) CHECK_EQ(rlm_bucket_reconfigure(&bucket, &limit, START), RLM_OK);
    for (k = 0; k <= 500 && admitted == 0; k++) {
        first_ns = START + k * SECOND / 100;
        if (rlm_bucket_take(&bucket, 1, first_ns) == 0) admitted++;
    }
    CHECK(admitted == 1);
    CHECK(first_ns <= START + SECOND + (debit + 1) * SECOND / 10);
    for (; k <= 1000; k++) admitted += rlm_bucket_take(&bucket, 1, START + k * SECOND / 100) == 0;
    CHECK(admitted <= 10 + 100);
}

static void a_clock_set_back_delays_by_a_burst(void) {
    set_back(2 * SECOND, 0, 0);
    set_back(3600 * SECOND, 0, 0);
    set_back(YEAR, 0, 0);
    set_back(10 * YEAR, 0, 0);
}

static void a_clock_set_back_and_a_debit(void) {
    set_back(2 * SECOND, 1, 0);
    set_back(3600 * SECOND, 1, 0);
    set_back(YEAR, 2, 0);
}

static void a_clock_set_back_and_a_reconfiguration(void) {
    set_back(2 * SECOND, 0, 1);
    set_back(3600 * SECOND, 0, 1);
    set_back(YEAR / 4, 0, 1);
}

/* A debt repaid long ago does not make a later clock fault last longer. */
static void a_clock_set_back_after_an_old_debt(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&limit, START);
    uint64_t k, now_ns = START + RLM_DAY_NS;
    CHECK_EQ(rlm_bucket_debit(&bucket, 36000, START), RLM_OK); /* an hour */
    for (k = 0; k < 3; k++) CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns + k * RLM_HOUR_NS), 0);
    now_ns += RLM_HOUR_NS + RLM_HOUR_NS / 2; /* half an hour back */
    CHECK(rlm_bucket_take(&bucket, 10, now_ns) != 0);
    for (k = 0; k <= 110; k++)
        if (rlm_bucket_take(&bucket, 1, now_ns + k * SECOND / 100) == 0) break;
    CHECK(k <= 100);
}

/* Every operation at the ends of time: nothing is minted, nothing overflows. */
static void ends_of_time(void) {
    static const uint64_t times[] = {0, 1, 1000, UINT64_C(1) << 32, UINT64_C(1) << 54, UINT64_C(1) << 63,
                                     UINT64_MAX / 20, UINT64_MAX - 1, UINT64_MAX};
    size_t count = sizeof times / sizeof times[0], i, j;
    for (i = 0; i < count; i++) {
        for (j = 0; j < count; j++) {
            rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
            rlm_bucket bucket = bucket_of(&limit, times[i]);
            rlm_usage usage;
            uint64_t k, admitted = 0;
            for (k = 0; k < 50; k++) admitted += rlm_bucket_take(&bucket, 1, times[j]) == 0;
            if (times[j] > END_OF_TIME) {
                CHECK_EQ(admitted, 0);
                continue;
            }
            CHECK_EQ(admitted, 10);
            CHECK_EQ(rlm_bucket_status(&bucket, &usage, times[j]), RLM_OK);
            CHECK_EQ(usage.used, 10);
            CHECK_EQ(usage.reset_ns, SECOND);
            CHECK_EQ(rlm_bucket_credit(&bucket, 1, times[j]), RLM_OK);
            CHECK_EQ(rlm_bucket_take(&bucket, 1, times[j]), 0);
            CHECK(rlm_bucket_take(&bucket, 1, times[j]) != 0);
            (void)rlm_bucket_reserve(&bucket, 1, RLM_NEVER, times[j]);
            (void)rlm_bucket_debit(&bucket, 1, times[j]);
            (void)rlm_bucket_reconfigure(&bucket, &limit, times[j]);
            CHECK(rlm_bucket_take(&bucket, 1, times[j]) != 0);
        }
    }
}

/* Slow and fast again, by a thread that read the clock long before: the time between is not lived twice. */
static void a_stale_reconfiguration_mints_nothing(void) {
    rlm_limit fast = rlm_per_second(RLM_REQUESTS, 1000), slow = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&fast, START);
    uint64_t k, admitted = 0, now_ns = START + 5 * SECOND;
    CHECK_EQ(rlm_bucket_take(&bucket, 1000, now_ns), 0);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &slow, now_ns), RLM_OK);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &fast, now_ns - SECOND / 2), RLM_OK);
    for (k = 0; k < 100; k++) admitted += rlm_bucket_take(&bucket, 1, now_ns) == 0;
    CHECK_EQ(admitted, 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1000, now_ns + SECOND), 0);
}

/* A bucket renews itself when its numbers near their end: nothing is minted and nothing is lost. */
static void life_of_a_bucket(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 7);
    uint64_t start_ns = UINT64_C(50) * YEAR, k, round, admitted;
    rlm_bucket bucket = bucket_of(&limit, start_ns);
    for (round = 1; round <= 50; round++) {
        uint64_t now_ns = start_ns + round * (3 * YEAR + round * RLM_DAY_NS);
        for (admitted = 0, k = 0; k < 100; k++) admitted += rlm_bucket_take(&bucket, 1, now_ns + k * SECOND / 10) == 0;
        CHECK(admitted >= 7 + 69 - 1 && admitted <= 7 + 70);
        CHECK_EQ(rlm_bucket_debit(&bucket, 7 * 60, now_ns + 10 * SECOND), RLM_OK);
        CHECK(rlm_bucket_take(&bucket, 1, now_ns + 69 * SECOND) != 0);
    }
}

/* A wait of most of a year is still the first nanosecond that will do. */
static void long_waits_are_exact(void) {
    uint64_t k;
    for (k = 1; k <= 19; k++) {
        rlm_limit limit = rlm_per(RLM_REQUESTS, k, (UINT64_C(1) << 51) / 3 * 2 + 1);
        rlm_bucket bucket = bucket_of(&limit, START);
        uint64_t n, wait_ns;
        CHECK_EQ(rlm_bucket_take(&bucket, k, START), 0);
        for (n = 1; n <= k; n++) {
            wait_ns = rlm_bucket_take(&bucket, n, START);
            CHECK_EQ(rlm_bucket_peek(&bucket, n, START + wait_ns), 0);
            CHECK_EQ(rlm_bucket_peek(&bucket, n, START + wait_ns - 1), 1);
        }
    }
}

/* Position independent: a copy of the bytes is the bucket. */
static void a_bucket_is_plain_memory(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_bucket bucket = bucket_of(&limit, START), copy;
    CHECK_EQ(sizeof bucket % 8, 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    memcpy(&copy, &bucket, sizeof copy);
    memset(&bucket, 0xff, sizeof bucket);
    CHECK_EQ(rlm_bucket_take(&copy, 1, START), SECOND / 10);
}

/* Found by proof (tests/proof): 64 bits were too few for these rates, and a wait could be a nanosecond short. */
static void rates_of_months_with_small_bursts(void) {
    rlm_limit limit = rlm_per(RLM_CUSTOM, 587, 364 * RLM_DAY_NS + 1);
    rlm_bucket bucket;
    uint64_t wait_ns;
    limit.burst = 8;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, 200 * RLM_DAY_NS), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 8, 200 * RLM_DAY_NS), 0);
    wait_ns = rlm_bucket_peek(&bucket, 1, 200 * RLM_DAY_NS);
    CHECK(wait_ns >= UINT64_C(53576831345826) && wait_ns <= UINT64_C(53576831345828)); /* 364 days / 587 */
    CHECK_EQ(rlm_bucket_take(&bucket, 1, 200 * RLM_DAY_NS + wait_ns), 0);
    limit = rlm_per(RLM_CUSTOM, 53454526, UINT64_C(9880498404795223));
    limit.burst = 550673718;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, 0), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, limit.burst, 0), 0);
    CHECK_EQ(rlm_bucket_peek(&bucket, 195361398, rlm_bucket_peek(&bucket, 195361398, 0)), 0);
}

/* The clock is set back, and others are seen to use tokens before that is believed: what they used when the bucket was full
   again is not paid from the time before. */
static void debts_of_a_clock_set_back(uint64_t by_ns) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 5); /* one in 12 s */
    uint64_t back_ns = START + RLM_HOUR_NS, k, taken = 0;
    rlm_bucket bucket;
    limit.burst = 2;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, back_ns + by_ns), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 2, back_ns + by_ns), 0);
    CHECK(rlm_bucket_take(&bucket, 1, back_ns) != 0); /* full again after 24 s */
    CHECK_EQ(rlm_bucket_debit(&bucket, 1, back_ns + 25 * SECOND), RLM_OK);
    CHECK_EQ(rlm_bucket_debit(&bucket, 1, back_ns + 51 * SECOND), RLM_OK);
    for (k = 0; k < 10; k++) taken += rlm_bucket_take(&bucket, 1, back_ns + 60 * SECOND) == 0;
    CHECK_EQ(taken, 1);
    CHECK(rlm_bucket_take(&bucket, 1, back_ns + 63 * SECOND - 1) != 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, back_ns + 63 * SECOND + 2), 0);
}

static void debts_of_a_clock_set_back_are_kept(void) {
    debts_of_a_clock_set_back(RLM_HOUR_NS);
    debts_of_a_clock_set_back(10 * YEAR); /* to before all that the bucket counts from */
}

/* The clock set back for good: who waits as long as he was told is admitted then, and not a nanosecond before. */
static void a_clock_set_back_is_believed_when_it_was_told(void) {
    static const uint64_t periods_ns[] = {10 * SECOND, SECOND / 10}; /* a burst's refill, at least a second */
    size_t i;
    for (i = 0; i < 2; i++) {
        rlm_limit limit = rlm_per(RLM_REQUESTS, 10, periods_ns[i]);
        rlm_bucket bucket;
        uint64_t wait_ns;
        CHECK_EQ(rlm_bucket_init(&bucket, &limit, START), RLM_OK);
        CHECK_EQ(rlm_bucket_take(&bucket, 10, START + 4000 * SECOND), 0);
        wait_ns = rlm_bucket_take(&bucket, 1, START);
        CHECK_EQ(wait_ns, i == 0 ? 10 * SECOND : SECOND);
        CHECK_EQ(rlm_bucket_take(&bucket, 1, START + wait_ns - 1), 1);
        CHECK_EQ(rlm_bucket_take(&bucket, 1, START + wait_ns), 0);
    }
}

/* k tokens in m ns, in lowest terms, with k up to 1024: nothing is rounded. The i-th after the burst is due i x m / k ns
   later, rounded up, to the nanosecond. */
static void rates_of_up_to_1024_tokens_are_exact(void) {
    static const struct { uint64_t amount, period_ns, burst; } rates[] = {
        {1, 999999937, 2}, {19, 999999937, 2}, {19, 1000003, RLM_AMOUNT_MAX}, {20, 999999937, 7}, {997, 999999937, 2}, {1024, 999999937, 3},
        {1023, 1000003, 1000000}};
    size_t i;
    for (i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        rlm_limit limit = rlm_per(RLM_REQUESTS, rates[i].amount, rates[i].period_ns);
        rlm_bucket bucket;
        uint64_t now_ns = START, k, due_ns;
        limit.burst = rates[i].burst;
        bucket = bucket_of(&limit, START);
        CHECK_EQ(rlm_bucket_take(&bucket, rates[i].burst, START), 0);
        for (k = 1; k <= 5000; k++) {
            uint64_t wait_ns = rlm_bucket_take(&bucket, 1, now_ns);
            due_ns = START + (k * rates[i].period_ns + rates[i].amount - 1) / rates[i].amount;
            CHECK_EQ(now_ns + wait_ns, due_ns);
            now_ns += wait_ns;
            if (wait_ns != 0) CHECK_EQ(rlm_bucket_take(&bucket, 1, now_ns), 0);
        }
    }
}

/* Used every hour for a year, at a rate whose ticks are used up in a month: nobody is refused, and nothing is forgotten. */
static void a_bucket_in_use_goes_on_for_ever(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 1024, 999999937);
    rlm_bucket bucket = bucket_of(&limit, START);
    rlm_usage usage;
    uint64_t hour, now_ns;
    for (hour = 0; hour < 366 * 24; hour++) {
        now_ns = START + hour * RLM_HOUR_NS;
        CHECK_EQ(rlm_bucket_take(&bucket, 1000, now_ns), 0);
        CHECK_EQ(rlm_bucket_status(&bucket, &usage, now_ns), RLM_OK);
        CHECK_EQ(usage.used, 1000);
        CHECK(rlm_bucket_take(&bucket, 25, now_ns) != 0);
    }
}

/* Nor does one go back to before the bucket was made: the time between would be lived through again. */
static void a_stale_reconfiguration_of_a_new_bucket_mints_nothing(void) {
    rlm_limit limit = rlm_per_hour(RLM_REQUESTS, 1000), more = rlm_per_hour(RLM_REQUESTS, 100000);
    rlm_bucket bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 1000, START), 0);
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &more, START - RLM_HOUR_NS), RLM_OK);
    CHECK(rlm_bucket_take(&bucket, 1, START) != 0);
}

/* A larger burst leaves what is owed as it was: it is refilled, and not taken for a clock that is behind. */
static void reconfiguring_a_burst_in_debt(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1);
    rlm_bucket bucket;
    limit.burst = 100;
    bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_take(&bucket, 100, START), 0);
    CHECK_EQ(rlm_bucket_debit(&bucket, 50, START), RLM_OK);
    limit.burst = 110;
    CHECK_EQ(rlm_bucket_reconfigure(&bucket, &limit, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START), 51 * SECOND);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 50 * SECOND), SECOND);
    CHECK_EQ(rlm_bucket_take(&bucket, 1, START + 51 * SECOND), 0);
    CHECK_EQ(rlm_bucket_take(&bucket, 110, START + 161 * SECOND - 1), 1);
}

static void a_debit_may_be_of_the_largest_amount(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, UINT64_C(1) << 30, UINT64_C(1) << 30);
    rlm_bucket bucket = bucket_of(&limit, START);
    CHECK_EQ(rlm_bucket_debit(&bucket, RLM_AMOUNT_MAX + 1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_debit(&bucket, RLM_AMOUNT_MAX, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, UINT64_C(1) << 30, START), RLM_AMOUNT_MAX);
    CHECK_EQ(rlm_bucket_credit(&bucket, RLM_AMOUNT_MAX + 1, START), RLM_E_COST);
    CHECK_EQ(rlm_bucket_credit(&bucket, RLM_AMOUNT_MAX, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, UINT64_C(1) << 30, START), 0);
}

/* The status of a bucket with as much debt as it can count, which nobody has asked meanwhile. */
static void a_debt_of_months_ends_in_status_too(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, UINT64_C(14747172864), UINT64_C(32868800600735744));
    rlm_usage usage;
    rlm_bucket bucket;
    uint64_t debt;
    limit.burst = 5043;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, START), RLM_OK);
    for (debt = UINT64_C(1) << 40; debt != 0; debt /= 2) (void)rlm_bucket_debit(&bucket, debt, START);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START), RLM_OK);
    CHECK(usage.used > 1000000 && usage.reset_ns > 30 * RLM_DAY_NS);
    CHECK_EQ(rlm_bucket_status(&bucket, &usage, START + usage.reset_ns), RLM_OK);
    CHECK_EQ(usage.used, 0);
}

static const check_case cases[] = {
    CASE(constructors),
    CASE(bad_limits_change_nothing),
    CASE(good_extremes),
    CASE(answers_and_refusals),
    CASE(a_full_bucket_holds_its_burst),
    CASE(a_full_bucket_holds_its_burst_exactly),
    CASE(waits_are_exact),
    CASE(bound_of_takes_and_credits),
    CASE(bound_of_reservations),
    CASE(bound_of_reconfigurations),
    CASE(rates_are_kept_over_a_long_run),
    CASE(reservations_stand_in_line),
    CASE(a_place_is_given_once),
    CASE(credit_stops_at_the_burst),
    CASE(credit_clears_a_large_debt),
    CASE(debt_delays_and_is_not_lost),
    CASE(status_tells_what_take_answers),
    CASE(reconfiguring_grants_no_burst),
    CASE(reconfiguring_keeps_debt_in_tokens),
    CASE(reconfiguring_into_years_of_debt),
    CASE(guard_holds_at_the_server),
    CASE(guard_costs_no_rate),
    CASE(stale_readings_mint_nothing),
    CASE(frozen_readings_mint_nothing),
    CASE(jumps_ahead_add_at_most_a_burst),
    CASE(a_clock_set_back_delays_by_a_burst),
    CASE(a_clock_set_back_and_a_debit),
    CASE(a_clock_set_back_and_a_reconfiguration),
    CASE(a_clock_set_back_after_an_old_debt),
    CASE(ends_of_time),
    CASE(a_stale_reconfiguration_mints_nothing),
    CASE(life_of_a_bucket),
    CASE(long_waits_are_exact),
    CASE(a_bucket_is_plain_memory),
    CASE(rates_of_months_with_small_bursts),
    CASE(debts_of_a_clock_set_back_are_kept),
    CASE(a_clock_set_back_is_believed_when_it_was_told),
    CASE(rates_of_up_to_1024_tokens_are_exact),
    CASE(a_bucket_in_use_goes_on_for_ever),
    CASE(a_stale_reconfiguration_of_a_new_bucket_mints_nothing),
    CASE(reconfiguring_a_burst_in_debt),
    CASE(a_debit_may_be_of_the_largest_amount),
    CASE(a_debt_of_months_ends_in_status_too),
};

CHECK_MAIN(cases)
