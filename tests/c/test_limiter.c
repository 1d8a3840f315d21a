#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"
#include "model.h"

#define SECOND RLM_SECOND_NS
#define START (20000 * RLM_DAY_NS)

static rlm_limiter limiter, kept;

static void make(const rlm_limit *limits, size_t count) {
    memset(&limiter, 0xa5, sizeof limiter);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, count, START), RLM_OK);
}

static void keep(void) { kept = limiter; }
static bool same(void) { return memcmp(&kept, &limiter, sizeof limiter) == 0; }

static rlm_cost cost_of(uint64_t requests, uint64_t input, uint64_t output) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    cost.requests = requests;
    cost.input_tokens = input;
    cost.output_tokens = output;
    return cost;
}

static uint64_t used(uint64_t index, uint64_t now_ns) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, (size_t)index, &usage, now_ns), RLM_OK);
    return usage.used;
}

static void bad_limits_change_nothing(void) {
    rlm_limit limits[RLM_LIMITS_MAX + 1];
    int status, i, bad;
    memset(&limiter, 0xa5, sizeof limiter);
    keep();
    for (i = 0; i <= RLM_LIMITS_MAX; i++) limits[i] = rlm_per_second(RLM_REQUESTS, 10);
    CHECK_EQ(rlm_limiter_init(NULL, limits, 1, START), RLM_E_NULL);
    CHECK_EQ(rlm_limiter_init(&limiter, NULL, 1, START), RLM_E_NULL);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 0, START), RLM_E_LIMITS);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, RLM_LIMITS_MAX + 1, START), RLM_E_LIMITS);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, SIZE_MAX, START), RLM_E_LIMITS);
    for (bad = 0; bad < RLM_LIMITS_MAX; bad++) {
        rlm_limit good = limits[bad];
        limits[bad].burst = 0;
        status = rlm_limiter_init(&limiter, limits, RLM_LIMITS_MAX, START);
        CHECK_EQ(rlm_status_code(status), RLM_E_BURST);
        CHECK_EQ(rlm_status_limit(status), bad);
        CHECK(strncmp(rlm_strerror(status), "burst", 5) == 0);
        limits[bad] = rlm_concurrent(0);
        status = rlm_limiter_init(&limiter, limits, RLM_LIMITS_MAX, START);
        CHECK_EQ(rlm_status_code(status), RLM_E_AMOUNT);
        CHECK_EQ(rlm_status_limit(status), bad);
        limits[bad] = rlm_calendar_day(RLM_REQUESTS, 1, 90000, 0);
        status = rlm_limiter_init(&limiter, limits, RLM_LIMITS_MAX, START);
        CHECK_EQ(rlm_status_code(status), RLM_E_UTC_OFFSET);
        CHECK_EQ(rlm_status_limit(status), bad);
        limits[bad] = rlm_sliding(RLM_REQUESTS, 1, 0);
        status = rlm_limiter_init(&limiter, limits, RLM_LIMITS_MAX, START);
        CHECK_EQ(rlm_status_code(status), RLM_E_PERIOD);
        CHECK_EQ(rlm_status_limit(status), bad);
        limits[bad] = good;
        limits[bad].kind = 9;
        status = rlm_limiter_init(&limiter, limits, RLM_LIMITS_MAX, START);
        CHECK_EQ(rlm_status_code(status), RLM_E_KIND);
        CHECK_EQ(rlm_status_limit(status), bad);
        limits[bad] = good;
    }
    limits[0] = limits[1] = limits[2] = rlm_sliding(RLM_REQUESTS, 1000, SECOND);
    limits[0].cells = limits[1].cells = limits[2].cells = RLM_WINDOW_CELLS / 2 - 10;
    status = rlm_limiter_init(&limiter, limits, 3, START);
    CHECK_EQ(rlm_status_code(status), RLM_E_CELLS);
    CHECK_EQ(rlm_status_limit(status), 2);
    CHECK(same());
    limits[0].cells = limits[1].cells = 0; /* two of the default size fit */
    make(limits, 2);
    CHECK_EQ(rlm_status_limit(RLM_OK), (uint64_t)-1);
    CHECK_EQ(rlm_status_limit(RLM_E_NULL), (uint64_t)-1);
}

static void every_status_has_its_message(void) {
    int status, other;
    for (status = 0; status <= RLM_E_CLOCK; status++) {
        CHECK(rlm_strerror(status) != NULL && rlm_strerror(status)[0] != 0);
        CHECK(strcmp(rlm_strerror(status), rlm_strerror(255)) != 0);
        CHECK(rlm_strerror(status) == rlm_strerror(status | 3 << 8));
        for (other = 0; other < status; other++) CHECK(strcmp(rlm_strerror(status), rlm_strerror(other)) != 0);
    }
    CHECK(rlm_strerror(-1) != NULL);
    CHECK(rlm_strerror(INT32_MIN) != NULL);
    CHECK(rlm_strerror(INT32_MAX) != NULL);
}

/* One limit of each kind, and of each meter. */
static const uint32_t meters[] = {RLM_REQUESTS, RLM_INPUT_TOKENS, RLM_OUTPUT_TOKENS, RLM_TOKENS, RLM_MICRODOLLARS, RLM_CUSTOM};

static void each_meter_is_counted(void) {
    rlm_limit limits[6];
    rlm_cost cost = {1, 20, 300, 4000, 50000};
    rlm_permit permit;
    static const uint64_t expected[] = {1, 20, 300, 320, 4000, 50000};
    size_t i;
    for (i = 0; i < 6; i++) limits[i] = i % 2 ? rlm_per_day(meters[i], 1000000) : rlm_calendar_day(meters[i], 1000000, 0, 0);
    make(limits, 6);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    for (i = 0; i < 6; i++) CHECK_EQ(used(i, START), expected[i]);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    for (i = 0; i < 6; i++) CHECK_EQ(used(i, START), 0);
}

static size_t every_kind(rlm_limit *limits) {
    limits[0] = rlm_per_second(RLM_REQUESTS, 100);
    limits[1] = rlm_sliding(RLM_INPUT_TOKENS, 5000, RLM_MINUTE_NS);
    limits[2] = rlm_sliding(RLM_REQUESTS, 30, RLM_MINUTE_NS);
    limits[3] = rlm_calendar_day(RLM_OUTPUT_TOKENS, 700, 0, 0);
    limits[4] = rlm_concurrent(3);
    limits[5] = rlm_per_minute(RLM_TOKENS, 6000);
    limits[1].cells = 20;
    return 6;
}

/* Each limit in turn is the one without room: nothing is taken from any, and it is the one that binds. */
static void a_refusal_changes_nothing(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits), last;
    for (last = 0; last < count; last++) {
        rlm_cost cost = cost_of(1, 10, 10);
        rlm_permit permit, before;
        uint64_t wait_ns = 0, k;
        int binding = 77;
        limits[last].amount = limits[last].burst = last == 1 ? 20 : last == 5 ? 40 : last == 3 ? 20 : 2;
        make(limits, count);
        for (k = 0; k < 2; k++) CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
        memset(&permit, 0x5a, sizeof permit);
        before = permit;
        keep();
        wait_ns = rlm_acquire(&limiter, &cost, START, &permit);
        CHECK(wait_ns != 0);
        CHECK_EQ(rlm_check(&limiter, &cost, START, &binding), wait_ns);
        CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), wait_ns);
        CHECK_EQ(binding, last);
        CHECK(same());
        CHECK(memcmp(&before, &permit, sizeof permit) == 0);
        CHECK(last == 4 ? wait_ns == RLM_ON_RELEASE : wait_ns < RLM_ON_RELEASE);
        if (last != 4) {
            CHECK(rlm_check(&limiter, &cost, START + wait_ns - 1, NULL) != 0);
            CHECK_EQ(rlm_acquire(&limiter, &cost, START + wait_ns, &permit), 0);
        }
        count = every_kind(limits);
    }
}

static void never_and_on_release(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits), k;
    rlm_cost cost = cost_of(101, 0, 0);
    rlm_permit permit;
    int binding = 77;
    make(limits, count);
    keep();
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_check(&limiter, &cost, START, &binding), RLM_NEVER);
    CHECK_EQ(binding, 0);
    cost = cost_of(1, RLM_AMOUNT_MAX, RLM_AMOUNT_MAX);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
    cost = cost_of(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), RLM_NEVER);
    CHECK(same());
    cost = cost_of(1, 1, 1);
    for (k = 0; k < 3; k++) CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_ON_RELEASE);
    cost = cost_of(101, 1, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
}

/* A cost above 2^40 is refused even where no limit counts it. */
static void a_cost_has_its_range(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_cost cost = cost_of(1, RLM_AMOUNT_MAX, 0), actual = cost_of(1, RLM_AMOUNT_MAX + 1, 0);
    rlm_permit permit;
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_E_COST);
    actual.input_tokens = RLM_AMOUNT_MAX;
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    actual.input_tokens = 0;
    actual.requests = RLM_AMOUNT_MAX + 1;
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_E_COST);
    actual.requests = 1;
    actual.custom = UINT64_MAX;
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_E_COST);
    actual.custom = 0;
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_OK);
    cost.microdollars = RLM_AMOUNT_MAX + 1;
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), RLM_NEVER);
}

static void a_zero_cost_is_a_peek(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits), k;
    rlm_cost nothing = cost_of(0, 0, 0), one = cost_of(1, 1, 1);
    rlm_permit permit, before;
    make(limits, count);
    memset(&permit, 0, sizeof permit);
    before = permit;
    keep();
    CHECK_EQ(rlm_acquire(&limiter, &nothing, START, &permit), 0);
    CHECK_EQ(rlm_check(&limiter, &nothing, START, NULL), 0);
    CHECK(same());
    CHECK(memcmp(&before, &permit, sizeof permit) == 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &nothing, START), RLM_E_PERMIT);
    for (k = 0; k < 3; k++) CHECK_EQ(rlm_acquire(&limiter, &one, START, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &nothing, START, &before), 0); /* no permit is needed for it */
}

static void permits_end_once(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits), i;
    rlm_cost cost = cost_of(2, 30, 40), less = cost_of(1, 10, 20);
    rlm_permit permit, never;
    memset(&never, 0, sizeof never);
    make(limits, count);
    CHECK_EQ(rlm_settle(&limiter, &never, &cost, START), RLM_E_PERMIT);
    CHECK_EQ(rlm_cancel(&limiter, &never, START), RLM_E_PERMIT);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_settle(NULL, &permit, &cost, START), RLM_E_NULL);
    CHECK_EQ(rlm_settle(&limiter, NULL, &cost, START), RLM_E_NULL);
    CHECK_EQ(rlm_settle(&limiter, &permit, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_cancel(NULL, &permit, START), RLM_E_NULL);
    CHECK_EQ(rlm_cancel(&limiter, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_settle(&limiter, &permit, &less, START), RLM_OK);
    keep();
    CHECK_EQ(rlm_settle(&limiter, &permit, &less, START), RLM_E_PERMIT);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_E_PERMIT);
    CHECK(same());
    CHECK_EQ(used(0, START), 1);
    CHECK_EQ(used(1, START), 10);
    CHECK_EQ(used(2, START), 1);
    CHECK_EQ(used(3, START), 20);
    CHECK_EQ(used(4, START), 0);
    CHECK_EQ(used(5, START), 30);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(used(4, START), 1);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    keep();
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_E_PERMIT);
    CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_E_PERMIT);
    CHECK(same());
    for (i = 0; i < count; i++) CHECK_EQ(used(i, START), i == 0 || i == 2 ? 1 : i == 1 ? 10 : i == 3 ? 20 : i == 4 ? 0 : 30);
}

/* Settling above the estimate is a debt; while a limit is in debt it delays those who do not count
   on its meter, and no longer. */
static void debt_delays_zero_cost_meters(void) {
    rlm_limit limits[2];
    rlm_cost estimate = cost_of(1, 0, 100), actual = cost_of(1, 0, 1600), other = cost_of(1, 50, 0);
    rlm_permit permit;
    int binding = 77;
    limits[0] = rlm_per_second(RLM_REQUESTS, 100);
    limits[1] = rlm_per_minute(RLM_OUTPUT_TOKENS, 1000);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &estimate, START, &permit), 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_OK);
    CHECK_EQ(used(1, START), 1600);
    CHECK_EQ(rlm_check(&limiter, &other, START, &binding), 36 * SECOND);
    CHECK_EQ(binding, 1);
    CHECK_EQ(rlm_acquire(&limiter, &other, START + 36 * SECOND - 1, &permit), 1);
    CHECK_EQ(rlm_acquire(&limiter, &other, START + 36 * SECOND, &permit), 0);
    CHECK_EQ(rlm_check(&limiter, &estimate, START + 36 * SECOND, &binding), 6 * SECOND);
    limits[1] = rlm_calendar_day(RLM_OUTPUT_TOKENS, 1000, 0, 0);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &estimate, START, &permit), 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &other, START, &permit), RLM_DAY_NS);
    limits[1] = rlm_sliding(RLM_OUTPUT_TOKENS, 1000, RLM_MINUTE_NS);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &estimate, START, &permit), 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_OK);
    CHECK_EQ(used(1, START), 1600);
    CHECK(rlm_acquire(&limiter, &other, START, &permit) >= RLM_MINUTE_NS);
}

/* A settlement that some limit cannot hold changes no other, and the permit stays out. */
static void a_settlement_that_does_not_fit(void) {
    static const uint64_t extra[] = {1, 999, 1000, 1001, 50000};
    size_t i, order;
    for (order = 0; order < 2; order++) {
        for (i = 0; i < sizeof extra / sizeof extra[0]; i++) {
            rlm_limit limits[5];
            rlm_cost cost = cost_of(1, 10, 10), actual = cost_of(1 + extra[i], 10 + extra[i], RLM_AMOUNT_MAX);
            rlm_permit permit, other;
            uint64_t k;
            limits[order ? 4 : 0] = rlm_per_minute(RLM_REQUESTS, 1000);
            limits[1] = rlm_sliding(RLM_INPUT_TOKENS, 100000, RLM_MINUTE_NS);
            limits[2] = rlm_calendar_day(RLM_INPUT_TOKENS, 100000, 0, 0);
            limits[3] = rlm_concurrent(2);
            limits[order ? 0 : 4] = rlm_fixed(RLM_OUTPUT_TOKENS, 100, RLM_MINUTE_NS, 0); /* too small for 2^40 */
            make(limits, 5);
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
            CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_E_COST);
            for (k = 0; k < 5; k++) {
                uint64_t expected = k == 3 || limits[k].meter == RLM_REQUESTS ? 1 : 10;
                CHECK_EQ(used(k, START), expected);
            }
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &other), 0);
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &other), RLM_ON_RELEASE);
            CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_OK);
            CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_E_PERMIT);
            CHECK_EQ(used(3, START), 1);
        }
    }
}

/* A permit outlives a limit made smaller: all of it comes back. */
static void cancelling_after_the_limit_shrank(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 100), less = rlm_per_minute(RLM_REQUESTS, 10);
    rlm_cost cost = cost_of(100, 0, 0);
    rlm_permit permit;
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &less, START), RLM_OK);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_EQ(used(0, START), 0);
}

static void a_late_credit_is_not_a_later_ones(void) {
    rlm_limit limits[2];
    rlm_cost cost = cost_of(10, 10, 0), nothing = cost_of(0, 0, 0);
    rlm_permit first, second;
    limits[0] = rlm_sliding(RLM_REQUESTS, 10, RLM_MINUTE_NS);
    limits[1] = rlm_fixed(RLM_INPUT_TOKENS, 10, RLM_MINUTE_NS, 0);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &first), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + RLM_MINUTE_NS, &second), 0);
    CHECK_EQ(rlm_settle(&limiter, &first, &nothing, START + RLM_MINUTE_NS), RLM_OK);
    CHECK_EQ(used(0, START + RLM_MINUTE_NS), 10);
    CHECK_EQ(used(1, START + RLM_MINUTE_NS), 10);
    CHECK_EQ(rlm_settle(&limiter, &second, &nothing, START + RLM_MINUTE_NS), RLM_OK);
    CHECK_EQ(used(0, START + RLM_MINUTE_NS), 0);
    CHECK_EQ(used(1, START + RLM_MINUTE_NS), 0);
}

static void status_and_index(void) {
    rlm_limit limits[RLM_LIMITS_MAX], next;
    size_t count = every_kind(limits), i;
    rlm_usage usage;
    make(limits, count);
    keep();
    CHECK_EQ(rlm_status(NULL, 0, &usage, START), RLM_E_NULL);
    CHECK_EQ(rlm_status(&limiter, 0, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_status(&limiter, count, &usage, START), RLM_E_INDEX);
    CHECK_EQ(rlm_status(&limiter, SIZE_MAX, &usage, START), RLM_E_INDEX);
    for (i = 0; i < count; i++) {
        CHECK_EQ(rlm_status(&limiter, i, &usage, START), RLM_OK);
        CHECK_EQ(usage.limit, limits[i].amount);
        CHECK_EQ(usage.used, 0);
        CHECK(usage.remaining == (int64_t)limits[i].amount);
        CHECK_EQ(usage.reset_ns, 0);
        CHECK((rlm_limiter_calendar(&limiter, i) != NULL) == (i == 3));
        next = limits[i];
        next.kind = (next.kind + 1) % 4;
        CHECK_EQ(rlm_reconfigure(&limiter, i, &next, START), RLM_E_KIND);
        next = limits[i];
        next.meter = (next.meter + 1) % 6;
        CHECK_EQ(rlm_reconfigure(&limiter, i, &next, START), RLM_E_METER);
        next = limits[i];
        next.amount = 0;
        CHECK_EQ(rlm_reconfigure(&limiter, i, &next, START), RLM_E_AMOUNT);
    }
    CHECK_EQ(rlm_reconfigure(NULL, 0, &next, START), RLM_E_NULL);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_reconfigure(&limiter, count, &next, START), RLM_E_INDEX);
    CHECK(rlm_limiter_calendar(NULL, 0) == NULL);
    CHECK(rlm_limiter_calendar(&limiter, count) == NULL);
    CHECK(same());
    for (i = 0; i < count; i++) {
        next = limits[i];
        next.amount = next.burst = next.amount / 2;
        CHECK_EQ(rlm_reconfigure(&limiter, i, &next, START), RLM_OK);
        CHECK_EQ(rlm_status(&limiter, i, &usage, START), RLM_OK);
        CHECK_EQ(usage.limit, limits[i].amount / 2);
    }
}

static void a_calendar_inside_is_saved(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits);
    rlm_cost cost = cost_of(1, 1, 123);
    rlm_calendar_saved saved;
    rlm_permit permit;
    make(limits, count);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_calendar_save(rlm_limiter_calendar(&limiter, 3), &saved), RLM_OK);
    make(limits, count);
    CHECK_EQ(rlm_calendar_restore(rlm_limiter_calendar(&limiter, 3), &saved, START), RLM_OK);
    CHECK_EQ(used(3, START), 123);
}

static void recent_counts_the_last_minute(void) {
    rlm_limit limit = rlm_per(RLM_CUSTOM, RLM_AMOUNT_MAX, UINT64_C(1) << 40);
    static admission log[4000];
    uint64_t random = check_seed(), step, now_ns = START;
    size_t count = 0, i;
    rlm_permit permit;
    make(&limit, 1);
    CHECK_EQ(rlm_recent(&limiter, START), 0);
    for (step = 0; step < 4000; step++) {
        rlm_cost cost = cost_of(check_random(&random) % 100, 0, 0);
        uint64_t least = 0, most = 0, got;
        cost.custom = 1;
        now_ns += check_random(&random) % 50 ? check_random(&random) % SECOND : check_random(&random) % (100 * SECOND);
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit), 0);
        log[count].at_ns = now_ns;
        log[count++].n = cost.requests;
        for (i = count > 300 ? count - 300 : 0; i < count; i++) {
            if (log[i].at_ns + 60 * SECOND > now_ns) least += log[i].n;
            if (log[i].at_ns + 62 * SECOND > now_ns) most += log[i].n;
        }
        got = rlm_recent(&limiter, now_ns);
        CHECK(got >= least && got <= most);
    }
    CHECK_EQ(rlm_recent(&limiter, now_ns + 62 * SECOND), 0);
}

static void recent_counts_large_numbers(void) {
    static const uint64_t numbers[] = {UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 33, RLM_AMOUNT_MAX};
    size_t i;
    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        rlm_limit limit = rlm_per(RLM_CUSTOM, RLM_AMOUNT_MAX, UINT64_C(1) << 40);
        rlm_cost cost = cost_of(numbers[i], 0, 0), one = cost_of(1, 0, 0);
        rlm_permit permit;
        make(&limit, 1);
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
        CHECK_EQ(rlm_recent(&limiter, START), numbers[i] < UINT32_MAX ? numbers[i] : UINT32_MAX);
        CHECK_EQ(rlm_acquire(&limiter, &one, START + 70 * SECOND, &permit), 0);
        CHECK_EQ(rlm_recent(&limiter, START + 70 * SECOND), 1);
    }
}

/* Random acquire, settle and cancel against plain sums, calendars and concurrency only: these have no
   rounding, so each answer is known. */
static void random_against_sums(void) {
    uint64_t random = check_seed(), step, now_ns = START, out = 0, sums[2] = {0, 0}, period = now_ns / RLM_HOUR_NS;
    static rlm_permit permits[64];
    static rlm_cost costs[64];
    static uint64_t periods[64];
    static bool live[64];
    rlm_limit limits[3];
    limits[0] = rlm_fixed(RLM_REQUESTS, 40, RLM_HOUR_NS, 0);
    limits[1] = rlm_fixed(RLM_TOKENS, 3000, RLM_HOUR_NS, 0);
    limits[2] = rlm_concurrent(6);
    make(limits, 3);
    memset(live, 0, sizeof live);
    for (step = 0; step < 100000; step++) {
        size_t at = check_random(&random) % 64;
        rlm_cost cost = cost_of(check_random(&random) % 4, check_random(&random) % 200, check_random(&random) % 200);
        uint64_t tokens = cost.input_tokens + cost.output_tokens, left_ns, expected;
        bool zero = cost.requests == 0 && tokens == 0;
        now_ns += check_random(&random) % (100 * SECOND);
        if (now_ns / RLM_HOUR_NS != period) sums[0] = sums[1] = 0;
        period = now_ns / RLM_HOUR_NS;
        left_ns = (period + 1) * RLM_HOUR_NS - now_ns;
        if (!live[at]) {
            expected = sums[0] + cost.requests > 40 || sums[1] + tokens > 3000 ? left_ns : 0;
            if (!zero && out == 6) expected = RLM_ON_RELEASE;
            CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permits[at]), expected);
            if (expected != 0 || zero) continue;
            sums[0] += cost.requests;
            sums[1] += tokens;
            out++;
            costs[at] = cost;
            periods[at] = period;
            live[at] = true;
        } else {
            uint64_t had = costs[at].input_tokens + costs[at].output_tokens;
            bool cancel = check_random(&random) % 4 == 0;
            if (cancel) {
                cost = cost_of(0, 0, 0);
                tokens = 0;
                CHECK_EQ(rlm_cancel(&limiter, &permits[at], now_ns), RLM_OK);
            } else {
                CHECK_EQ(rlm_settle(&limiter, &permits[at], &cost, now_ns), RLM_OK);
            }
            if (cost.requests > costs[at].requests) sums[0] += cost.requests - costs[at].requests;
            else if (periods[at] == period) sums[0] -= costs[at].requests - cost.requests;
            if (tokens > had) sums[1] += tokens - had;
            else if (periods[at] == period) sums[1] -= had - tokens;
            out--;
            live[at] = false;
        }
        CHECK_EQ(used(0, now_ns), sums[0]);
        CHECK_EQ(used(1, now_ns), sums[1]);
        CHECK_EQ(used(2, now_ns), out);
    }
}

/* The wait of several limits together is where it is admitted, if nobody else comes. */
static void the_wait_is_where_it_is_admitted(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 100; round++) {
        rlm_limit limits[4];
        uint64_t now_ns = START;
        limits[0] = rlm_per_minute(RLM_REQUESTS, 1 + check_random(&random) % 60);
        limits[1] = rlm_sliding(RLM_INPUT_TOKENS, 100 + check_random(&random) % 1000, 30 * SECOND);
        limits[2] = rlm_sliding(RLM_REQUESTS, 1 + check_random(&random) % 20, 45 * SECOND);
        limits[3] = rlm_fixed(RLM_OUTPUT_TOKENS, 100 + check_random(&random) % 1000, RLM_MINUTE_NS, 0);
        limits[1].cells = 30;
        limits[2].cells = 30;
        make(limits, 4);
        for (step = 0; step < 200; step++) {
            rlm_cost cost = cost_of(1, check_random(&random) % 100, check_random(&random) % 100);
            rlm_permit permit;
            uint64_t wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit);
            if (wait_ns != 0) {
                CHECK(wait_ns < RLM_ON_RELEASE);
                now_ns += wait_ns;
                CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit), 0);
            }
            now_ns += check_random(&random) % (3 * SECOND);
        }
    }
}

/* The same where another limit's wait ends in the guard of a calendar. */
static void the_wait_does_not_end_in_a_guard(void) {
    rlm_limit limits[2];
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit;
    uint64_t wait_ns;
    limits[0] = rlm_per(RLM_REQUESTS, 1, 10 * SECOND);
    limits[1] = rlm_fixed(RLM_REQUESTS, 1000, RLM_MINUTE_NS, 0);
    limits[1].guard_ns = 15 * SECOND;
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + 40 * SECOND, &permit), 0);
    wait_ns = rlm_acquire(&limiter, &cost, START + 40 * SECOND, &permit);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + 40 * SECOND + wait_ns, &permit), 0);
}

/* One whose init failed, or that was never made, admits nothing. */
static void a_limiter_of_nothing_admits_nothing(void) {
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit;
    memset(&limiter, 0, sizeof limiter);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), RLM_NEVER);
}

static void a_limiter_is_plain_memory(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits);
    rlm_cost cost = cost_of(1, 100, 100);
    rlm_permit permit, moved;
    make(limits, count);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    memcpy(&kept, &limiter, sizeof limiter);
    memcpy(&moved, &permit, sizeof permit);
    memset(&limiter, 0, sizeof limiter);
    CHECK_EQ(rlm_cancel(&kept, &moved, START), RLM_OK);
    memcpy(&limiter, &kept, sizeof limiter);
    CHECK_EQ(used(1, START), 0);
    CHECK_EQ(used(4, START), 0);
}

/* A wait is asked for the guards at its end. That time has not come: a clock that seems set back is no more believed for it. */
static void a_look_ahead_changes_nothing(void) {
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, 10, 60 * SECOND, 0);
    rlm_cost cost = cost_of(10, 0, 0);
    rlm_permit permit;
    limit.guard_ns = SECOND;
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + 2 * SECOND, &permit), 0);
    cost = cost_of(1, 0, 0);
    CHECK_EQ(rlm_pause(&limiter, 0, 120 * SECOND, START - 590 * SECOND), RLM_OK);
    CHECK(rlm_acquire(&limiter, &cost, START - 590 * SECOND, &permit) >= 120 * SECOND); /* stale, or set back */
    CHECK_EQ(used(0, START + 3 * SECOND), 10);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + 3 * SECOND, &permit), 57 * SECOND);
}

/* An amount out of range in any meter, however large, is refused: it would make a difference negative. */
static void any_amount_out_of_range_is_refused(void) {
    static const uint64_t amounts[] = {RLM_AMOUNT_MAX + 1, UINT64_C(1) << 63, (UINT64_C(1) << 63) + RLM_AMOUNT_MAX,
                                       (UINT64_C(1) << 63) + 2 * RLM_AMOUNT_MAX, UINT64_MAX - RLM_AMOUNT_MAX, UINT64_MAX};
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t count = every_kind(limits), i, meter;
    rlm_cost one = cost_of(1, 0, 0);
    rlm_permit permit, out;
    make(limits, count);
    CHECK_EQ(rlm_acquire(&limiter, &one, START, &out), 0);
    keep();
    for (i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        for (meter = 0; meter < 5; meter++) {
            rlm_cost cost = cost_of(meter == 0 ? amounts[i] : 1, meter == 1 ? amounts[i] : 0, meter == 2 ? amounts[i] : 0);
            if (meter == 3) cost.microdollars = amounts[i];
            if (meter == 4) cost.custom = amounts[i];
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), RLM_NEVER);
            CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), RLM_NEVER);
            CHECK_EQ(rlm_settle(&limiter, &out, &cost, START), RLM_E_COST);
            CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_E_COST);
            CHECK(same());
        }
    }
    CHECK_EQ(rlm_settle(&limiter, &out, &one, START), RLM_OK);
}

/* Made anew with fewer limits, it has no more than these. */
static void a_limiter_made_anew_forgets_the_old_one(void) {
    rlm_limit limits[2];
    rlm_usage usage;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 10);
    limits[1] = rlm_calendar_day(RLM_REQUESTS, 10, 0, 0);
    make(limits, 2);
    CHECK(rlm_limiter_calendar(&limiter, 1) != NULL);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 1, START), RLM_OK);
    CHECK(rlm_limiter_calendar(&limiter, 1) == NULL);
    CHECK_EQ(rlm_status(&limiter, 1, &usage, START), RLM_E_INDEX);
    CHECK_EQ(rlm_reconfigure(&limiter, 1, &limits[1], START), RLM_E_INDEX);
}

static const check_case cases[] = {
    CASE(bad_limits_change_nothing),
    CASE(every_status_has_its_message),
    CASE(each_meter_is_counted),
    CASE(a_refusal_changes_nothing),
    CASE(never_and_on_release),
    CASE(a_cost_has_its_range),
    CASE(a_zero_cost_is_a_peek),
    CASE(permits_end_once),
    CASE(debt_delays_zero_cost_meters),
    CASE(a_settlement_that_does_not_fit),
    CASE(cancelling_after_the_limit_shrank),
    CASE(a_late_credit_is_not_a_later_ones),
    CASE(status_and_index),
    CASE(a_calendar_inside_is_saved),
    CASE(recent_counts_the_last_minute),
    CASE(recent_counts_large_numbers),
    CASE(random_against_sums),
    CASE(the_wait_is_where_it_is_admitted),
    CASE(the_wait_does_not_end_in_a_guard),
    CASE(a_look_ahead_changes_nothing),
    CASE(a_limiter_of_nothing_admits_nothing),
    CASE(a_limiter_is_plain_memory),
    CASE(any_amount_out_of_range_is_refused),
    CASE(a_limiter_made_anew_forgets_the_old_one),
};

CHECK_MAIN(cases)
