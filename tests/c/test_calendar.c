#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define SECOND RLM_SECOND_NS
#define DAY RLM_DAY_NS
#define HOUR RLM_HOUR_NS

static rlm_calendar of(const rlm_limit *limit, uint64_t now_ns) {
    rlm_calendar made;
    memset(&made, 0, sizeof made);
    CHECK_EQ(rlm_calendar_init(&made, limit, now_ns), RLM_OK);
    return made;
}

static void bad_limits_change_nothing(void) {
    rlm_limit good = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0), bad[16];
    int status[16], count = 0, i;
    rlm_calendar quota, before;
#define BAD(expected) bad[count] = good, status[count] = (expected), count++, bad[count - 1]
    BAD(RLM_E_KIND).kind = RLM_BUCKET;
    BAD(RLM_E_KIND).kind = 9;
    BAD(RLM_E_METER).meter = RLM_CUSTOM + 1;
    BAD(RLM_E_AMOUNT).amount = 0;
    BAD(RLM_E_AMOUNT).amount = RLM_AMOUNT_MAX + 1;
    BAD(RLM_E_PERIOD).period_ns = 0;
    BAD(RLM_E_PERIOD).period_ns = (UINT64_C(1) << 55) + 1;
    BAD(RLM_E_GUARD).guard_ns = DAY + 1;
    BAD(RLM_E_UTC_OFFSET).utc_offset_s = 86401;
    BAD(RLM_E_UTC_OFFSET).utc_offset_s = -86401;
    bad[count] = rlm_calendar_month(RLM_REQUESTS, 10, 0, 0);
    bad[count].guard_ns = 1;
    status[count++] = RLM_E_GUARD;
    bad[count] = rlm_fixed(RLM_REQUESTS, RLM_AMOUNT_MAX, 1000, 0);
    status[count++] = RLM_E_SPAN;
#undef BAD
    memset(&quota, 0xa5, sizeof quota);
    before = quota;
    for (i = 0; i < count; i++) CHECK_EQ(rlm_calendar_init(&quota, &bad[i], 20000 * DAY), status[i]);
    CHECK_EQ(rlm_calendar_init(NULL, &good, 0), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_init(&quota, NULL, 0), RLM_E_NULL);
    CHECK(memcmp(&before, &quota, sizeof quota) == 0);
    quota = of(&good, 20000 * DAY);
    CHECK_EQ(rlm_calendar_take(&quota, 3, 20000 * DAY, NULL), 0);
    before = quota;
    for (i = 0; i < count; i++) CHECK(rlm_calendar_reconfigure(&quota, &bad[i]) != RLM_OK);
    CHECK_EQ(rlm_calendar_reconfigure(NULL, &good), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_reconfigure(&quota, NULL), RLM_E_NULL);
    bad[0] = good;
    bad[0].period_ns++;
    CHECK_EQ(rlm_calendar_reconfigure(&quota, &bad[0]), RLM_E_PERIOD);
    bad[0] = good;
    bad[0].guard_ns++;
    CHECK_EQ(rlm_calendar_reconfigure(&quota, &bad[0]), RLM_E_PERIOD);
    bad[0] = good;
    bad[0].utc_offset_s++;
    CHECK_EQ(rlm_calendar_reconfigure(&quota, &bad[0]), RLM_E_PERIOD);
    bad[0] = good;
    bad[0].amount = RLM_AMOUNT_MAX;
    CHECK_EQ(rlm_calendar_reconfigure(&quota, &bad[0]), RLM_E_CAPACITY);
    CHECK(memcmp(&before, &quota, sizeof quota) == 0);
}

static void answers_and_refusals(void) {
    rlm_limit limit = rlm_fixed(RLM_MICRODOLLARS, 10, RLM_MINUTE_NS, 0);
    uint64_t now_ns = 20000 * DAY + 12 * SECOND, mark = 77;
    rlm_calendar quota = of(&limit, now_ns), before;
    rlm_usage usage;
    CHECK_EQ(rlm_calendar_take(&quota, 0, now_ns, NULL), 0);
    CHECK_EQ(rlm_calendar_peek(&quota, 10, now_ns), 0);
    CHECK_EQ(rlm_calendar_status(&quota, &usage, now_ns), RLM_OK);
    CHECK_EQ(usage.limit, 10);
    CHECK_EQ(usage.used, 0);
    CHECK_EQ(usage.remaining, 10);
    CHECK_EQ(usage.reset_ns, 0);
    CHECK_EQ(rlm_calendar_take(&quota, 8, now_ns, &mark), 0);
    before = quota;
    CHECK_EQ(rlm_calendar_take(&quota, 3, now_ns, NULL), 48 * SECOND);
    CHECK_EQ(rlm_calendar_peek(&quota, 3, now_ns + 1), 48 * SECOND - 1);
    CHECK_EQ(rlm_calendar_take(&quota, 11, now_ns, NULL), RLM_NEVER);
    CHECK_EQ(rlm_calendar_take(&quota, UINT64_MAX, now_ns, NULL), RLM_NEVER);
    CHECK_EQ(rlm_calendar_status(&quota, &usage, now_ns), RLM_OK);
    CHECK_EQ(usage.used, 8);
    CHECK_EQ(usage.remaining, 2);
    CHECK_EQ(usage.reset_ns, 48 * SECOND);
    CHECK_EQ(rlm_calendar_status(NULL, &usage, now_ns), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_status(&quota, NULL, now_ns), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_credit(NULL, 1, mark), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_credit(&quota, RLM_AMOUNT_MAX + 1, mark), RLM_E_COST);
    CHECK_EQ(rlm_calendar_debit(NULL, 1, now_ns), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_debit(&quota, RLM_AMOUNT_MAX + 1, now_ns), RLM_E_COST);
    CHECK_EQ(rlm_calendar_debit(&quota, RLM_AMOUNT_MAX, now_ns), RLM_E_COST);
    CHECK_EQ(rlm_calendar_debit(&quota, 0, now_ns), RLM_OK);
    CHECK(memcmp(&before, &quota, sizeof quota) == 0);
    CHECK_EQ(rlm_calendar_take(&quota, 2, now_ns + 48 * SECOND - 1, NULL), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns + 48 * SECOND - 1, NULL), 1);
    CHECK_EQ(rlm_calendar_take(&quota, 10, now_ns + 48 * SECOND, NULL), 0);
}

/* The days since 1970 of each first of the month, by counting days one after another. */
static const int days_in[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static int leap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

static void months_end_where_a_calendar_says(void) {
    static const int32_t zones[] = {0, -28800, 19800, 50400, -43200, 86400, -86400};
    uint64_t first_day = 0;
    int year, month, hit = 0;
    for (year = 1970; year < 2250; year++) {
        for (month = 0; month < 12; month++) {
            uint64_t length = (uint64_t)days_in[month] + (month == 1 && leap(year)), zone;
            for (zone = 0; zone < sizeof zones / sizeof zones[0]; zone++) {
                rlm_limit limit = rlm_calendar_month(RLM_REQUESTS, 5, zones[zone], 0);
                /* midnight local is midnight UTC less the offset */
                uint64_t begin_ns = first_day * DAY - (uint64_t)((int64_t)zones[zone] * (int64_t)SECOND);
                rlm_calendar quota;
                if (first_day < 2) continue;
                quota = of(&limit, begin_ns - 1);
                CHECK_EQ(rlm_calendar_take(&quota, 5, begin_ns - 1, NULL), 0);
                CHECK_EQ(rlm_calendar_take(&quota, 1, begin_ns - 1, NULL), 1);
                CHECK_EQ(rlm_calendar_take(&quota, 5, begin_ns, NULL), 0);
                CHECK_EQ(rlm_calendar_take(&quota, 1, begin_ns, NULL), length * DAY);
                CHECK_EQ(rlm_calendar_take(&quota, 1, begin_ns + length * DAY - 1, NULL), 1);
                hit++;
            }
            first_day += length;
        }
    }
    CHECK(hit > 20000);
}

static void days_end_at_midnight_of_the_zone(void) {
    static const int32_t zones[] = {0, -28800, 19800, 45900, 50400, -43200, 86400, -86400, 1, -1};
    size_t zone;
    for (zone = 0; zone < sizeof zones / sizeof zones[0]; zone++) {
        rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 5, zones[zone], 0);
        uint64_t midnight_ns = 20000 * DAY - (uint64_t)((int64_t)zones[zone] * (int64_t)SECOND), k;
        rlm_calendar quota = of(&limit, midnight_ns);
        for (k = 0; k < 50; k++) {
            CHECK_EQ(rlm_calendar_take(&quota, 5, midnight_ns + k * DAY, NULL), 0);
            CHECK_EQ(rlm_calendar_take(&quota, 1, midnight_ns + k * DAY, NULL), DAY);
            CHECK_EQ(rlm_calendar_take(&quota, 1, midnight_ns + (k + 1) * DAY - 1, NULL), 1);
        }
    }
}

/* The limiter's clock starts anywhere; the offset says where the wall clock is. */
static void the_wall_clock_is_an_offset_away(void) {
    uint64_t wall_ns = 20000 * DAY + 5 * HOUR, now_ns = 77 * SECOND;
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 5, 0, (int64_t)(wall_ns - now_ns));
    rlm_calendar quota = of(&limit, now_ns);
    CHECK_EQ(rlm_calendar_take(&quota, 5, now_ns, NULL), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns, NULL), 19 * HOUR);
    limit.wall_offset_ns = -(int64_t)(20000 * DAY);
    now_ns = 40000 * DAY + 5 * HOUR; /* and the limiter's clock may be ahead of the wall clock */
    quota = of(&limit, now_ns);
    CHECK_EQ(rlm_calendar_take(&quota, 5, now_ns, NULL), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns, NULL), 19 * HOUR);
    CHECK_EQ(rlm_calendar_sync(NULL, 0, 0), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_sync(&quota, 20000 * DAY + 4 * HOUR, now_ns), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns, NULL), 20 * HOUR);
    CHECK_EQ(rlm_calendar_take(&quota, 5, now_ns + 20 * HOUR, NULL), 0);
}

static void random_against_a_count(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 300; round++) {
        uint64_t period_ns = 1 + check_random(&random) % (UINT64_C(1) << (check_random(&random) % 40 + 10));
        rlm_limit limit = rlm_fixed(RLM_REQUESTS, 1 + check_random(&random) % 100, period_ns, 0);
        uint64_t now_ns = 20000 * DAY + check_random(&random) % DAY, used = 0, period = now_ns / period_ns;
        rlm_calendar quota;
        if (check_random(&random) % 2) limit.guard_ns = check_random(&random) % period_ns;
        quota = of(&limit, now_ns);
        for (step = 0; step < 300; step++) {
            uint64_t n = 1 + check_random(&random) % limit.amount, mark = 0, left_ns, k, expected;
            rlm_usage usage;
            now_ns += check_random(&random) % (period_ns / 4 + 2);
            if (now_ns / period_ns != period) used = 0;
            period = now_ns / period_ns;
            left_ns = (period + 1) * period_ns - now_ns;
            expected = used + n > limit.amount || left_ns <= limit.guard_ns ? left_ns : 0;
            CHECK_EQ(rlm_calendar_peek(&quota, n, now_ns), expected);
            CHECK_EQ(rlm_calendar_take(&quota, n, now_ns, &mark), expected);
            if (expected == 0) used += n;
            CHECK_EQ(rlm_calendar_status(&quota, &usage, now_ns), RLM_OK);
            CHECK_EQ(usage.used, used);
            CHECK_EQ(usage.reset_ns, used != 0 ? left_ns : 0);
            if (expected == 0 && check_random(&random) % 2) {
                k = check_random(&random) % (n + 1);
                CHECK_EQ(rlm_calendar_credit(&quota, k, mark), RLM_OK);
                used -= k;
            }
        }
    }
}

static void credit_goes_to_its_own_period(void) {
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, 10, RLM_MINUTE_NS, 0);
    uint64_t now_ns = 20000 * DAY, first = 0, second = 0;
    rlm_calendar quota = of(&limit, now_ns);
    CHECK_EQ(rlm_calendar_take(&quota, 10, now_ns, &first), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 10, now_ns + RLM_MINUTE_NS, &second), 0);
    CHECK(first != second);
    CHECK_EQ(rlm_calendar_credit(&quota, 10, first), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns + RLM_MINUTE_NS, NULL), RLM_MINUTE_NS);
    CHECK_EQ(rlm_calendar_credit(&quota, 4, second), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&quota, 4, now_ns + RLM_MINUTE_NS, NULL), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns + RLM_MINUTE_NS, NULL), RLM_MINUTE_NS);
}

static void debts_end_with_their_period(void) {
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, 10, RLM_MINUTE_NS, 0);
    uint64_t now_ns = 20000 * DAY, k;
    rlm_calendar quota = of(&limit, now_ns), before;
    rlm_usage usage;
    CHECK_EQ(rlm_calendar_take(&quota, 10, now_ns, NULL), 0);
    CHECK_EQ(rlm_calendar_debit(&quota, 10, now_ns), RLM_OK);
    CHECK_EQ(rlm_calendar_status(&quota, &usage, now_ns), RLM_OK);
    CHECK_EQ(usage.used, 20);
    CHECK(usage.remaining == -10);
    CHECK_EQ(rlm_calendar_take(&quota, 0, now_ns, NULL), RLM_MINUTE_NS);
    for (k = 0; k < 100000 && rlm_calendar_debit(&quota, 10, now_ns) == RLM_OK; k++) {}
    CHECK(k < 100000);
    before = quota;
    CHECK_EQ(rlm_calendar_debit(&quota, 10, now_ns), RLM_E_COST);
    CHECK(memcmp(&before, &quota, sizeof quota) == 0);
    CHECK_EQ(rlm_calendar_take(&quota, 10, now_ns + RLM_MINUTE_NS, NULL), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns + RLM_MINUTE_NS, NULL), RLM_MINUTE_NS);
}

static void reconfiguring_keeps_what_is_used(void) {
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
    uint64_t now_ns = 20000 * DAY;
    rlm_calendar quota = of(&limit, now_ns);
    CHECK_EQ(rlm_calendar_take(&quota, 8, now_ns, NULL), 0);
    limit.amount = 5;
    CHECK_EQ(rlm_calendar_reconfigure(&quota, &limit), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns, NULL), DAY);
    CHECK_EQ(rlm_calendar_take(&quota, 6, now_ns, NULL), RLM_NEVER);
    limit.amount = 20;
    CHECK_EQ(rlm_calendar_reconfigure(&quota, &limit), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&quota, 12, now_ns, NULL), 0);
    CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns, NULL), DAY);
}

/* The wall clock is set back over midnight and repeats an hour: nothing is granted anew, however it
   is asked meanwhile. In the whole of the new day, no more than the amount. */
static void a_repeated_hour_grants_nothing_anew(void) {
    static const uint64_t every_s[] = {1, 10, 61, 70, 400, 3000};
    uint64_t taken, by_sync, which;
    for (taken = 1; taken <= 10; taken++) {
        for (by_sync = 0; by_sync < 2; by_sync++) {
            for (which = 0; which < sizeof every_s / sizeof every_s[0]; which++) {
                rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
                uint64_t midnight_ns = 20000 * DAY, k, used = taken, shift_ns = 0;
                rlm_calendar quota = of(&limit, midnight_ns - 2 * HOUR);
                CHECK_EQ(rlm_calendar_take(&quota, taken, midnight_ns + 300 * SECOND, NULL), 0);
                if (by_sync) {
                    shift_ns = HOUR;
                    CHECK_EQ(rlm_calendar_sync(&quota, midnight_ns - 3300 * SECOND, midnight_ns + 300 * SECOND), RLM_OK);
                }
                for (k = 0; k < 10800; k += every_s[which])
                    used += rlm_calendar_take(&quota, 1, midnight_ns + k * SECOND + shift_ns - 3300 * SECOND, NULL) == 0;
                CHECK(used <= 10);
            }
        }
    }
}

/* Stale readings from before midnight count to the new day and do not bring the old one back. */
static void stale_readings_grant_nothing_anew(void) {
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
    uint64_t midnight_ns = 20000 * DAY, k, used = 0, random = check_seed();
    rlm_calendar quota = of(&limit, midnight_ns - 2 * HOUR);
    for (k = 0; k < 20000; k++) {
        uint64_t stale_ns = k != 0 && check_random(&random) % 2 ? check_random(&random) % (30 * SECOND) : 0;
        used += rlm_calendar_take(&quota, 1, midnight_ns + k * 1000000 - stale_ns, NULL) == 0;
    }
    CHECK_EQ(used, 10);
}

static void a_clock_set_back_for_good(void) {
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
    uint64_t start_ns = 20000 * DAY, k, used;
    rlm_calendar quota = of(&limit, start_ns);
    CHECK_EQ(rlm_calendar_take(&quota, 10, start_ns + 400 * DAY, NULL), 0);
    for (used = 0, k = 0; k < 3 * 1440; k++) used += rlm_calendar_take(&quota, 1, start_ns + k * RLM_MINUTE_NS, NULL) == 0;
    CHECK(used >= 20 && used <= 30); /* from the next day on at the latest */
    quota = of(&limit, start_ns + 400 * DAY); /* before it was made */
    for (used = 0, k = 0; k < 3 * 1440; k++) used += rlm_calendar_take(&quota, 1, start_ns + k * RLM_MINUTE_NS, NULL) == 0;
    CHECK(used >= 10 && used <= 30);
}

static void jumps_ahead_grant_one_period_each(void) {
    static const uint64_t jumps[] = {DAY, 40 * DAY, 30000 * DAY, UINT64_MAX - 20000 * DAY - 300 * SECOND};
    size_t i;
    for (i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
        uint64_t start_ns = 20000 * DAY, k, used = 0;
        rlm_calendar quota = of(&limit, start_ns);
        for (k = 0; k < 100; k++) used += rlm_calendar_take(&quota, 1, start_ns, NULL) == 0;
        for (k = 0; k < 200; k++) used += rlm_calendar_take(&quota, 1, start_ns + jumps[i] + k * SECOND, NULL) == 0;
        CHECK(used <= 20);
        for (k = 0; k < 20000; k++) used += rlm_calendar_take(&quota, 1, start_ns + k * SECOND, NULL) == 0;
        CHECK(used <= 20);
    }
}

static void save_and_restore(void) {
    rlm_limit limit = rlm_calendar_month(RLM_MICRODOLLARS, 100, -28800, 0);
    uint64_t now_ns = 20000 * DAY;
    rlm_calendar quota = of(&limit, now_ns), again, before;
    rlm_calendar_saved saved, none = {7, 9};
    rlm_usage usage;
    CHECK_EQ(rlm_calendar_take(&quota, 60, now_ns, NULL), 0);
    CHECK_EQ(rlm_calendar_save(NULL, &saved), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_save(&quota, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_restore(NULL, &none, now_ns), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_restore(&quota, NULL, now_ns), RLM_E_NULL);
    CHECK_EQ(rlm_calendar_save(&quota, &saved), RLM_OK);
    CHECK_EQ(saved.period, 2024 * 12 + 9 - 1970 * 12); /* 20000 days: October 2024 */
    CHECK_EQ(saved.used, 60);
    again = of(&limit, now_ns + DAY);
    CHECK_EQ(rlm_calendar_take(&again, 10, now_ns + DAY, NULL), 0);
    CHECK_EQ(rlm_calendar_restore(&again, &saved, now_ns + DAY), RLM_OK);
    CHECK_EQ(rlm_calendar_status(&again, &usage, now_ns + DAY), RLM_OK);
    CHECK_EQ(usage.used, 70);
    CHECK(rlm_calendar_take(&again, 31, now_ns + DAY, NULL) != 0);
    CHECK_EQ(rlm_calendar_take(&again, 30, now_ns + DAY, NULL), 0);
    again = of(&limit, now_ns + 31 * DAY); /* over */
    CHECK_EQ(rlm_calendar_restore(&again, &saved, now_ns + 31 * DAY), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&again, 100, now_ns + 31 * DAY, NULL), 0);
    before = again;
    saved.period += 1;
    saved.used = UINT64_MAX;
    CHECK_EQ(rlm_calendar_restore(&again, &saved, now_ns + 31 * DAY), RLM_E_COST);
    CHECK(memcmp(&before, &again, sizeof again) == 0);
}

/* A quota that was saved on the last day of a period says so when it is brought back later. */
static void save_across_a_boundary(void) {
    rlm_limit limit = rlm_calendar_day(RLM_REQUESTS, 10, 3600, 0);
    uint64_t midnight_ns = 20000 * DAY - 3600 * SECOND;
    rlm_calendar quota = of(&limit, midnight_ns - 1), again;
    rlm_calendar_saved saved;
    CHECK_EQ(rlm_calendar_take(&quota, 10, midnight_ns - 1, NULL), 0);
    CHECK_EQ(rlm_calendar_save(&quota, &saved), RLM_OK);
    again = of(&limit, midnight_ns - 1);
    CHECK_EQ(rlm_calendar_restore(&again, &saved, midnight_ns - 1), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&again, 1, midnight_ns - 1, NULL), 1);
    again = of(&limit, midnight_ns);
    CHECK_EQ(rlm_calendar_restore(&again, &saved, midnight_ns), RLM_OK);
    CHECK_EQ(rlm_calendar_take(&again, 10, midnight_ns, NULL), 0);
}

static void the_largest_quota(void) {
    rlm_limit limit = rlm_calendar_day(RLM_MICRODOLLARS, RLM_AMOUNT_MAX, 0, 0);
    uint64_t now_ns = 20000 * DAY, k;
    rlm_calendar quota = of(&limit, now_ns);
    for (k = 0; k < 400; k++) {
        CHECK_EQ(rlm_calendar_take(&quota, RLM_AMOUNT_MAX, now_ns + k * DAY, NULL), 0);
        CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns + k * DAY, NULL), DAY);
        CHECK_EQ(rlm_calendar_debit(&quota, RLM_AMOUNT_MAX, now_ns + k * DAY), RLM_OK);
        CHECK_EQ(rlm_calendar_take(&quota, 1, now_ns + k * DAY, NULL), DAY);
    }
}

static void ends_of_time(void) {
    static const uint64_t times[] = {0, 1, DAY, UINT64_C(1) << 54, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    size_t count = sizeof times / sizeof times[0], i, j, k;
    for (i = 0; i < count; i++) {
        for (j = 0; j < count; j++) {
            rlm_limit limits[2];
            limits[0] = rlm_calendar_day(RLM_REQUESTS, 10, -28800, 0);
            limits[1] = rlm_calendar_month(RLM_REQUESTS, 10, 28800, INT64_MIN);
            for (k = 0; k < 2; k++) {
                rlm_calendar quota = of(&limits[k], times[i]);
                uint64_t used = 0, m;
                for (m = 0; m < 50; m++) used += rlm_calendar_take(&quota, 1, times[j], NULL) == 0;
                CHECK_EQ(used, 10);
            }
        }
    }
}

/* A clock behind by whole periods is believed after a minute, not before; then the next period counts anew. */
static void a_clock_set_back_is_believed_after_a_minute(void) {
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, 10, RLM_HOUR_NS, 0);
    uint64_t late_ns;
    for (late_ns = 0; late_ns < 2; late_ns++) {
        rlm_calendar calendar;
        uint64_t start_ns = 1000 * RLM_DAY_NS;
        CHECK_EQ(rlm_calendar_init(&calendar, &limit, start_ns), RLM_OK);
        CHECK_EQ(rlm_calendar_take(&calendar, 10, start_ns + 10 * RLM_HOUR_NS, NULL), 0);
        CHECK(rlm_calendar_take(&calendar, 1, start_ns, NULL) != 0);
        CHECK(rlm_calendar_take(&calendar, 1, start_ns + RLM_MINUTE_NS - 1 + late_ns, NULL) != 0);
        CHECK((rlm_calendar_take(&calendar, 1, start_ns + RLM_HOUR_NS, NULL) == 0) == (late_ns == 1));
    }
}

/* However far ahead: a period is granted once. */
static void periods_of_the_far_future_are_granted_once(void) {
    uint64_t years;
    for (years = 1; years <= 230; years += 3) {
        rlm_limit limit = rlm_fixed(RLM_REQUESTS, UINT64_C(1) << 20, SECOND / 100, 0);
        rlm_calendar quota = of(&limit, 20000 * DAY);
        uint64_t now_ns = 20000 * DAY + years * 365 * DAY, first, second;
        first = rlm_calendar_take(&quota, UINT64_C(1) << 20, now_ns, NULL);
        second = rlm_calendar_take(&quota, 1, now_ns, NULL);
        CHECK(years > 60 || first == 0);
        CHECK(second != 0);
    }
}

/* Whatever the amount and the period, the quota can be made twice as large. */
static void any_quota_can_be_doubled(void) {
    static const uint64_t periods_ns[] = {1000, 1000000, SECOND, HOUR, DAY, RLM_MONTH};
    uint64_t bits;
    size_t i;
    for (i = 0; i < sizeof periods_ns / sizeof periods_ns[0]; i++) {
        for (bits = 0; bits < 40; bits++) {
            rlm_limit limit = rlm_fixed(RLM_REQUESTS, UINT64_C(1) << bits, periods_ns[i], 0);
            rlm_calendar quota;
            int status = rlm_calendar_init(&quota, &limit, 20000 * DAY);
            if (status != RLM_OK) CHECK(status == RLM_E_SPAN || status == RLM_E_RATE);
            if (status != RLM_OK) continue;
            CHECK_EQ(rlm_calendar_take(&quota, limit.amount, 20000 * DAY, NULL), 0);
            limit.amount *= 2;
            CHECK_EQ(rlm_calendar_reconfigure(&quota, &limit), RLM_OK);
            CHECK_EQ(rlm_calendar_take(&quota, limit.amount / 2, 20000 * DAY, NULL), 0);
            CHECK(rlm_calendar_take(&quota, 1, 20000 * DAY, NULL) != 0);
        }
    }
}

static const check_case cases[] = {
    CASE(bad_limits_change_nothing),
    CASE(answers_and_refusals),
    CASE(months_end_where_a_calendar_says),
    CASE(days_end_at_midnight_of_the_zone),
    CASE(the_wall_clock_is_an_offset_away),
    CASE(random_against_a_count),
    CASE(credit_goes_to_its_own_period),
    CASE(debts_end_with_their_period),
    CASE(reconfiguring_keeps_what_is_used),
    CASE(a_repeated_hour_grants_nothing_anew),
    CASE(stale_readings_grant_nothing_anew),
    CASE(a_clock_set_back_for_good),
    CASE(jumps_ahead_grant_one_period_each),
    CASE(save_and_restore),
    CASE(save_across_a_boundary),
    CASE(the_largest_quota),
    CASE(ends_of_time),
    CASE(a_clock_set_back_is_believed_after_a_minute),
    CASE(periods_of_the_far_future_are_granted_once),
    CASE(any_quota_can_be_doubled),
};

CHECK_MAIN(cases)
