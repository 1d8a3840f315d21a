/* What a server says, merged into a limiter: in virtual time, by a caller who means ill. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define SECOND RLM_SECOND_NS
#define MINUTE RLM_MINUTE_NS
#define DAY RLM_DAY_NS
#define MS (SECOND / 1000)
#define START (20000 * RLM_DAY_NS)

/* As CHECK, and says with which inputs. */
#define CHECK_SO(condition, ...)                                               \
    do {                                                                       \
        if (!(condition)) {                                                    \
            printf("# %s:%d: not so: %s: ", __FILE__, __LINE__, #condition);   \
            printf(__VA_ARGS__);                                               \
            printf("\n");                                                      \
            longjmp(check_failed, 1);                                          \
        }                                                                      \
    } while (0)

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

static int64_t left(size_t index, uint64_t now_ns) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, index, &usage, now_ns), RLM_OK);
    return usage.remaining;
}

static rlm_limit in_force(size_t index) {
    rlm_limit limit;
    CHECK_EQ(rlm_in_force(&limiter, index, &limit), RLM_OK);
    return limit;
}

static rlm_permit take(uint64_t requests, uint64_t now_ns) {
    rlm_cost cost = cost_of(requests, 0, 0);
    rlm_permit permit = {0};
    CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit), 0);
    return permit;
}

static uint64_t wait_for(uint64_t requests, uint64_t now_ns) {
    rlm_cost cost = cost_of(requests, 0, 0);
    return rlm_check(&limiter, &cost, now_ns, NULL);
}

static void settle(rlm_permit *permit, uint64_t now_ns) {
    rlm_cost cost = permit->cost;
    CHECK_EQ(rlm_settle(&limiter, permit, &cost, now_ns), RLM_OK);
}

/* ---- Feedback, made by hand ------------------------------------------------------------------ */

static rlm_feedback feedback_of(uint32_t outcome) {
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = outcome;
    feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
    return feedback;
}

static rlm_reading *read_of(rlm_feedback *feedback, uint32_t meter, uint64_t limit, uint64_t remaining,
    uint64_t period_ns) {
    rlm_reading *reading = &feedback->reading[feedback->count++];
    *reading = rlm_reading_none(meter);
    reading->limit = limit;
    reading->remaining = remaining;
    reading->period_ns = period_ns;
    return reading;
}

static void observe(const rlm_permit *permit, const rlm_feedback *feedback, uint64_t now_ns) {
    CHECK_EQ(rlm_observe(&limiter, permit, feedback, now_ns), RLM_OK);
}

/* A good answer with one reading, of requests. */
static void hear(const rlm_permit *permit, uint64_t limit, uint64_t remaining, uint64_t period_ns, uint64_t now_ns) {
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    read_of(&feedback, RLM_REQUESTS, limit, remaining, period_ns);
    observe(permit, &feedback, now_ns);
}

static void refuse(const rlm_permit *permit, uint32_t named, uint64_t retry_after_ns, uint64_t now_ns) {
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    feedback.named = named;
    feedback.retry_after_ns = retry_after_ns;
    observe(permit, &feedback, now_ns);
}

/* A server that gives no figures answers well. */
static void answer(const rlm_permit *permit, uint64_t now_ns) {
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    observe(permit, &feedback, now_ns);
}

/* ---- What remains ------------------------------------------------------------------------------- */

enum { A_BUCKET, AN_EXACT_WINDOW, A_SLOTTED_WINDOW, A_CALENDAR, KINDS };
static const char *const kind_name[KINDS] = {"bucket", "exact window", "slotted window", "calendar"};

static rlm_limit limit_of(int kind, uint64_t amount) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, amount);
    if (kind == AN_EXACT_WINDOW || kind == A_SLOTTED_WINDOW) {
        limit = rlm_sliding(RLM_REQUESTS, amount, MINUTE);
        limit.cells = kind == AN_EXACT_WINDOW ? (uint32_t)amount + 40 : 20;
    }
    if (kind == A_CALENDAR) limit = rlm_fixed(RLM_REQUESTS, amount, MINUTE, 0);
    return limit;
}

static void make_kind(int kind, uint64_t amount) {
    rlm_limit limit = limit_of(kind, amount);
    make(&limit, 1);
}

/* How much lower than said a limit may come out: a bucket keeps one and a half times what others were seen to take in hand,
   up to 1/8 of the burst, and a token for rounding. Others are exact. */
static int64_t in_hand(int kind, uint64_t amount) { return kind == A_BUCKET ? (int64_t)(amount / 8 + 1) : 0; }

static void what_remains_lowers_and_never_raises(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_permit permit;
        int64_t now;
        make_kind(kind, 100);
        permit = take(10, START);
        hear(&permit, 100, 95, MINUTE, START + 1);
        CHECK_SO(left(0, START + 1) == 90, "%s: left %" PRId64, kind_name[kind], left(0, START + 1));
        hear(&permit, 100, 50, MINUTE, START + 1);
        now = left(0, START + 1);
        CHECK_SO(now <= 50 && now >= 50 - in_hand(kind, 100), "%s: said 50, left %" PRId64, kind_name[kind], now);
        hear(&permit, 100, 90, MINUTE, START + 1);
        hear(&permit, 100, 51, MINUTE, START + 1);
        hear(NULL, 100, 100, MINUTE, START + 1);
        CHECK_SO(left(0, START + 1) == now, "%s: was %" PRId64 ", left %" PRId64, kind_name[kind], now, left(0, START + 1));
        hear(NULL, 100, 20, MINUTE, START + 1); /* of no request: what is left now */
        now = left(0, START + 1);
        CHECK_SO(now <= 20 && now >= 20 - in_hand(kind, 100), "%s: said 20, left %" PRId64, kind_name[kind], now);
        hear(NULL, 100, 0, MINUTE, START + 1);
        CHECK_SO(left(0, START + 1) <= 0 && wait_for(1, START + 1) != 0, "%s: left %" PRId64, kind_name[kind], left(0,
            START + 1));
        settle(&permit, START + 1);
    }
}

/* The server said 79 to the first of 21 that were sent: others took 20, or the 20 sent since overtook it. Not more is taken
   off than the one or the other; the last answer shows which it was. */
static void what_was_sent_since_is_shown_by_its_own_answers(void) {
    int kind, i, others;
    for (kind = 0; kind < KINDS; kind++)
        for (others = 0; others <= 20; others += 20) {
            rlm_permit permit[21];
            int64_t now;
            make_kind(kind, 100);
            for (i = 0; i < 21; i++) permit[i] = take(1, START);
            for (i = 0; i < 21; i++) {
                int arrived = others ? i + 1 + others : i == 0 ? 21 : i;
                hear(&permit[i], 100, (uint64_t)(100 - arrived), MINUTE, START);
                now = left(0, START);
                CHECK_SO(now <= 79 && now >= 79 - others - in_hand(kind, 100),
                    "%s, answer %d, %d by others: left %" PRId64, kind_name[kind], i, others, now);
            }
            CHECK_SO(now <= 79 - others, "%s, %d by others: the server has %d, left %" PRId64, kind_name[kind], others,
                79 - others, now);
        }
}

/* In time: what was refilled meanwhile is not missed. */
static void what_was_refilled_since_is_not_missed(void) {
    rlm_permit permit[2];
    make_kind(A_BUCKET, 60); /* one a second */
    permit[0] = take(1, START);
    permit[1] = take(30, START + 10 * SECOND);
    hear(&permit[0], 60, 29, MINUTE,
        START + 20 * SECOND); /* 30 by others: there 29 + 10 - 30 + 10 = 19, or 39 if overtaken */
    CHECK_SO(left(0, START + 20 * SECOND) <= 40 && left(0, START + 20 * SECOND) >= 19 - 8, "left %" PRId64, left(0,
        START + 20 * SECOND));
    hear(&permit[1], 60, 9, MINUTE, START + 20 * SECOND);
    CHECK_SO(left(0, START + 20 * SECOND) <= 19 && left(0, START + 20 * SECOND) >= 19 - 8 - 8, /* and a guard of 1/16, where it is new twice */
             "left %" PRId64, left(0,
        START + 20 * SECOND));
}

static void one_discrepancy_is_corrected_once(void) {
    int kind, i, round;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_permit permit[10];
        int64_t now;
        make_kind(kind, 100);
        for (i = 0; i < 10; i++) permit[i] = take(1, START);
        for (round = 0; round < 3; round++) /* each answer may come several times, too */
            for (i = 0; i < 10; i++) hear(&permit[i], 100, (uint64_t)(100 - 30 - 1 - i), MINUTE, START + 1);
        now = left(0, START + 1);
        CHECK_SO(now <= 60 && now >= 60 - in_hand(kind, 100), "%s: the server has 60, left %" PRId64, kind_name[kind], now);
        for (i = 0; i < 10; i++) settle(&permit[i], START + 1);
        CHECK_EQ(left(0, START + 1), now);
    }
}

/* The next of all orders of 5, in lexical order; false after the last. */
static bool next_order(int *order) {
    int i = 3, j = 4, swap;
    while (i >= 0 && order[i] > order[i + 1]) i--;
    if (i < 0) return false;
    while (order[j] < order[i]) j--;
    swap = order[i], order[i] = order[j], order[j] = swap;
    for (i++, j = 4; i < j; i++, j--) swap = order[i], order[i] = order[j], order[j] = swap;
    return true;
}

/* Five requests of 3, the server has lost 20 to others. Its answers come back in any order, and (in the second half) it took
   the requests in that order too. What is left at the end is at most what the server has, 65; and at least
   that less what is kept in hand, and less, if it took them in another order, the four others in flight. */
static void answers_in_any_order_correct_alike(void) {
    int kind, i, shuffled;
    for (kind = 0; kind < KINDS; kind++)
        for (shuffled = 0; shuffled < 2; shuffled++) {
            int order[5] = {0, 1, 2, 3, 4};
            do {
                rlm_permit permit[5];
                int64_t now, least = 65 - in_hand(kind, 100) - (shuffled ? 12 : 0);
                make_kind(kind, 100);
                for (i = 0; i < 5; i++) permit[i] = take(3, START);
                for (i = 0; i < 5; i++) {
                    int position = shuffled ? i : order[i];
                    hear(&permit[order[i]], 100, (uint64_t)(80 - 3 * (position + 1)), MINUTE, START + 1);
                }
                now = left(0, START + 1);
                CHECK_SO(now <= 65 && now >= least,
                    "%s, order %d%d%d%d%d, server %s: left %" PRId64 ", expected %" PRId64 " to 65",
                         kind_name[kind], order[0], order[1], order[2], order[3], order[4],
                             shuffled ? "so too" : "in order", now, least);
            } while (next_order(order));
        }
}

static void a_request_that_used_more_than_estimated_is_charged_once(void) {
    int kind, i;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_cost actual = cost_of(8, 0, 0);
        make_kind(kind, 400);
        for (i = 0; i < 20; i++) { /* the server charged 8 at once, and says so; then it is settled */
            rlm_permit permit = take(5, START);
            hear(&permit, 400, (uint64_t)(400 - 8 * (i + 1)), MINUTE, START);
            CHECK_EQ(rlm_settle(&limiter, &permit, &actual, START), RLM_OK);
        }
        CHECK_SO(left(0, START) <= 240 && left(0, START) >= 240 - 3 - in_hand(kind, 400),
                 "%s: 240 remain, at most one estimate's error of 3 less: left %" PRId64, kind_name[kind], left(0, START));
    }
}

static void a_rounded_reading_is_taken_for_the_worst(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_feedback feedback = feedback_of(RLM_ANSWERED);
        rlm_permit permit;
        int64_t now;
        make_kind(kind, 200);
        permit = take(20, START);
        read_of(&feedback, RLM_REQUESTS, 200, 100, MINUTE)->rounding = 5;
        observe(&permit, &feedback, START);
        now = left(0, START);
        CHECK_SO(now <= 95 && now >= 95 - in_hand(kind, 200), "%s: 100 give or take 5, left %" PRId64, kind_name[kind],
            now);
        make_kind(kind, 200);
        permit = take(20, START);
        feedback.reading[0].remaining = 185;
        observe(&permit, &feedback, START); /* nothing new: 180 or more remain, and 180 is the picture */
        CHECK_SO(left(0, START) == 180, "%s: 185 give or take 5, left %" PRId64, kind_name[kind], left(0, START));
        feedback.reading[0].rounding = UINT64_MAX; /* it may be anything: it says nothing, or that all is gone */
        feedback.reading[0].remaining = 10;
        observe(&permit, &feedback, START);
        now = left(0, START);
        CHECK_SO(now == 180 || now <= 10, "%s: give or take anything, left %" PRId64, kind_name[kind], now);
    }
}

/* 12,000 are less than 1000 of rounding away from what remains in fact, always: it must not drift away. */
static void rounding_does_not_add_up(void) {
    rlm_limit limit = rlm_per_minute(RLM_INPUT_TOKENS, 80000);
    int i;
    make(&limit, 1);
    for (i = 1; i <= 60; i++) {
        rlm_cost cost = cost_of(0, 1100, 0);
        rlm_permit permit;
        rlm_feedback feedback = feedback_of(RLM_ANSWERED);
        uint64_t there = 80000 - 1100 * (uint64_t)i;
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
        read_of(&feedback, RLM_INPUT_TOKENS, 80000, (there + 500) / 1000 * 1000, MINUTE)->rounding = 500;
        observe(&permit, &feedback, START);
        CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_OK);
        CHECK_SO(left(0, START) <= (int64_t)there && left(0, START) >= (int64_t)there - 1000 - 7501,
            "after %d: there %" PRIu64 ", left %" PRId64,
                 i, there, left(0, START));
    }
}

static void readings_of_something_else_leave_a_limit_alone(void) {
    static const uint64_t other[] = {SECOND, 10 * SECOND, RLM_HOUR_NS, DAY};
    int kind, i;
    for (kind = 0; kind < KINDS; kind++)
        for (i = 0; i < 8; i++) {
            rlm_feedback feedback = feedback_of(RLM_ANSWERED);
            rlm_permit permit;
            rlm_reading *reading;
            make_kind(kind, 100);
            permit = take(10, START);
            if (i < 4) reading = read_of(&feedback, RLM_REQUESTS, 3, 1, other[i]);
            else reading = read_of(&feedback, i == 4 ? RLM_INPUT_TOKENS : i == 5 ? RLM_CUSTOM : i == 6 ? 9 : UINT32_MAX,
                100, 1, MINUTE);
            if (i < 4 && kind % 2 == 0) reading->period_least_ns = reading->period_most_ns = other[i];
            observe(&permit, &feedback, START);
            CHECK_SO(left(0, START) == 90, "%s, meter %u, period %" PRIu64 ": left %" PRId64, kind_name[kind],
                     (unsigned)reading->meter, reading->period_ns, left(0, START));
            CHECK_EQ(in_force(0).amount, 100);
        }
}

static void minute_and_day_each_get_their_own_reading(void) {
    int swap, same_amount;
    for (swap = 0; swap < 2; swap++)
        for (same_amount = 0; same_amount < 2; same_amount++) {
            rlm_limit limits[2];
            rlm_feedback feedback = feedback_of(RLM_ANSWERED);
            size_t minute = swap ? 1 : 0, day = swap ? 0 : 1;
            uint64_t daily = same_amount ? 50 : 5000;
            rlm_permit permit;
            limits[minute] = rlm_per_minute(RLM_REQUESTS, 50);
            limits[day] = rlm_per_day(RLM_REQUESTS, daily);
            make(limits, 2);
            permit = take(1, START);
            read_of(&feedback, RLM_REQUESTS, daily, 30, DAY);
            observe(&permit, &feedback, START);
            CHECK_EQ(left(minute, START), 49);
            CHECK_SO(left(day, START) <= 30, "swap %d: left of the day %" PRId64, swap, left(day, START));
            feedback.count = 0;
            read_of(&feedback, RLM_REQUESTS, 50, 20, MINUTE);
            read_of(&feedback, RLM_REQUESTS, daily, 10, DAY);
            observe(&permit, &feedback, START);
            CHECK_SO(left(minute, START) <= 20 && left(minute, START) >= 20 - 6, "swap %d: left of the minute %" PRId64,
                swap, left(minute, START));
            CHECK_SO(left(day, START) <= 10 && left(day, START) >= 10 - in_hand(A_BUCKET, daily),
                "swap %d: left of the day %" PRId64, swap,
                     left(day, START));
        }
}

/* An account has a limit, and its project another: the tighter one holds, in whatever order they are told. */
static void of_two_readings_of_one_limit_the_tighter_holds(void) {
    uint32_t follow;
    int swap, kind;
    for (kind = 0; kind < KINDS; kind++)
        for (follow = RLM_SHRINK; follow <= RLM_LEARN; follow++)
            for (swap = 0; swap < 2; swap++) {
                rlm_limit limit = limit_of(kind, 100);
                rlm_feedback feedback = feedback_of(RLM_ANSWERED);
                rlm_permit permit;
                if (follow == RLM_FIXED) continue;
                limit.follow = follow;
                make(&limit, 1);
                permit = take(1, START);
                read_of(&feedback, RLM_REQUESTS, swap ? 50 : 100, swap ? 10 : 90, MINUTE);
                read_of(&feedback, RLM_REQUESTS, swap ? 100 : 50, swap ? 90 : 10, MINUTE);
                observe(&permit, &feedback, START);
                CHECK_SO(in_force(0).amount == 50 && left(0, START) <= 10 && left(0, START) >= 10 - in_hand(kind, 100),
                    "%s, follow %u, swap %d: amount %" PRIu64 ", left %" PRId64,
                         kind_name[kind], (unsigned)follow, swap, in_force(0).amount, left(0, START));
            }
}

/* All that is known is how much remains, and there is one limit that it can be of. */
static void a_bare_remaining_is_of_the_only_limit_there_is(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        make_kind(kind, 100);
        hear(NULL, RLM_UNSAID, 20, 0, START);
        CHECK_SO(left(0, START) <= 20 && left(0, START) >= 20 - in_hand(kind, 100), "%s: left %" PRId64, kind_name[kind],
            left(0, START));
    }
}

/* The same figures, told apart by 5,000 of 10,000 that come back in 43,200 s: a day. */
static void the_figures_tell_which_period_is_meant(void) {
    rlm_limit limits[2];
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_reading *reading;
    rlm_permit permit;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 10000);
    limits[1] = rlm_per_day(RLM_REQUESTS, 10000);
    make(limits, 2);
    permit = take(1, START);
    reading = read_of(&feedback, RLM_REQUESTS, 10000, 5000, 0);
    reading->reset_ns = 43200 * SECOND;
    reading->period_least_ns = 86390 * SECOND;
    reading->period_most_ns = 86420 * SECOND;
    observe(&permit, &feedback, START);
    CHECK_EQ(left(0, START), 9999);
    CHECK(left(1, START) <= 5000);
}

static void an_answer_of_the_last_period_says_nothing_of_this(void) {
    rlm_permit permit, fresh;
    make_kind(A_CALENDAR, 100);
    permit = take(10, START + 59 * SECOND);
    hear(&permit, 100, 3, MINUTE, START + 61 * SECOND);
    CHECK_EQ(left(0, START + 61 * SECOND), 100);
    fresh = take(1, START + 62 * SECOND);
    hear(&permit, 100, 3, MINUTE, START + 63 * SECOND);
    CHECK_EQ(left(0, START + 63 * SECOND), 99);
    hear(&fresh, 100, 33, MINUTE, START + 63 * SECOND);
    CHECK_EQ(left(0, START + 63 * SECOND), 33);
    CHECK_EQ(left(0, START + 121 * SECOND), 100); /* and what was corrected ends with the period */
}

/* What a window was told to have used leaves it, at the latest a period later. */
static void a_correction_leaves_a_window_again(void) {
    int kind;
    for (kind = AN_EXACT_WINDOW; kind <= A_SLOTTED_WINDOW; kind++) {
        rlm_permit permit;
        make_kind(kind, 100);
        permit = take(10, START);
        hear(&permit, 100, 0, MINUTE, START + SECOND);
        CHECK(wait_for(1, START + SECOND) != 0 && wait_for(1, START + SECOND) <= MINUTE + 4 * SECOND);
        CHECK_SO(left(0, START + 66 * SECOND) == 100, "%s: left %" PRId64, kind_name[kind], left(0, START + 66 * SECOND));
    }
}

/* A bucket takes figures that put the period within a tenth of its own; a window goes by the usual period alone. */
static void figures_of_another_period_are_not_of_this_limit(void) {
    static const struct { uint64_t least_s, most_s; int is_this; } tries[] = {
        {55, 57, 1}, {63, 65, 1}, {64, 64, 1}, {70, 70, 0}, {0, 10, 0}, {80, 90, 0}, {3600, 3700, 0}};
    size_t i;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (i = 0; i < sizeof tries / sizeof *tries; i++) {
            rlm_limit limit = limit_of(kind, 100);
            rlm_feedback feedback = feedback_of(RLM_ANSWERED);
            rlm_reading *reading = read_of(&feedback, RLM_REQUESTS, 90, 10, MINUTE);
            bool is_this = tries[i].is_this || (kind != A_BUCKET && tries[i].least_s != tries[i].most_s);
            limit.follow = RLM_FIXED;
            make(&limit, 1);
            reading->period_least_ns = tries[i].least_s * SECOND;
            reading->period_most_ns = tries[i].most_s * SECOND;
            observe(NULL, &feedback, START);
            CHECK_SO((left(0, START) < 100) == is_this, "%s, %" PRIu64 " to %" PRIu64 " s: left %" PRId64, kind_name[kind],
                tries[i].least_s, tries[i].most_s, left(0, START));
        }
}

/* Without a period, the amount tells; a limit that is not known yet takes only what is of no other. */
static void a_reading_is_of_the_limit_that_it_fits_best(void) {
    rlm_limit limits[2], unknown;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 50);
    limits[1] = rlm_per_day(RLM_REQUESTS, 5000);
    make(limits, 2);
    hear(NULL, 5000, 100, 0, START);
    CHECK_SO(left(0, START) == 50 && left(1, START) <= 100, "left %" PRId64 " of 50, %" PRId64 " of 5000", left(0, START),
        left(1, START));
    limits[1] = rlm_learned(RLM_REQUESTS, DAY);
    make(limits, 2);
    hear(NULL, 50, 30, MINUTE, START);
    CHECK_EQ(rlm_in_force(&limiter, 1, &unknown), RLM_E_UNKNOWN);
    CHECK_SO(left(0, START) <= 30, "left %" PRId64, left(0, START));
    hear(NULL, 4000, 3000, DAY, START);
    CHECK_EQ(in_force(0).amount, 50);
    CHECK_SO(in_force(1).amount == 4000 && in_force(1).period_ns == DAY, "%" PRIu64, in_force(1).amount);
}

static void a_month_is_about_thirty_days(void) {
    rlm_limit limit = rlm_calendar_month(RLM_REQUESTS, 5000, 0, 0);
    make(&limit, 1);
    hear(NULL, 4000, 100, 30 * DAY, START);
    CHECK_SO(in_force(0).amount == 4000 && left(0, START) <= 100, "%" PRIu64 ", left %" PRId64, in_force(0).amount,
        left(0, START));
}

static void no_reading_is_of_a_cap(void) {
    rlm_limit limit = rlm_concurrent(10);
    make(&limit, 1);
    hear(NULL, 10, 0, 0, START);
    hear(NULL, 5, 0, 1, START);
    CHECK_SO(in_force(0).amount == 10 && left(0, START) == 10,
        "%" PRIu64 ", left %" PRId64, in_force(0).amount, left(0, START));
}

/* The server counts to 50, here it is fixed at 100: 30 are used either way. */
static void what_is_used_of_a_smaller_limit_there_is_used_here(void) {
    int kind;
    for (kind = AN_EXACT_WINDOW; kind < KINDS; kind++) {
        rlm_limit limit = limit_of(kind, 100);
        limit.follow = RLM_FIXED;
        make(&limit, 1);
        hear(NULL, 50, 20, MINUTE, START);
        CHECK_SO(left(0, START) == 70, "%s: left %" PRId64, kind_name[kind], left(0, START));
    }
}

/* The server has room for more than the burst that is used here: so much less of the guard is to be kept in hand. */
static void what_remains_beyond_the_burst_takes_nothing(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    limit.burst = 60;
    limit.guard_ns = SECOND;
    make(&limit, 1);
    hear(NULL, 600, 600, MINUTE, START);
    CHECK_SO(left(0, START) == 60, "left %" PRId64, left(0, START));
    hear(NULL, 600, 63, MINUTE, START); /* the guard is ten */
    CHECK_SO(left(0, START) == 53, "left %" PRId64, left(0, START));
}

/* What was used before anything was heard is no measure of what others will use. */
static void what_was_used_before_the_first_answer_is_not_kept_in_hand(void) {
    rlm_permit permit;
    make_kind(A_BUCKET, 1000);
    permit = take(1, START);
    hear(&permit, 1000, 500, MINUTE, START + MS);
    CHECK_SO(left(0, START + MS) <= 500 && left(0, START + MS) >= 498, "500 remain: left %" PRId64, left(0, START + MS));
}

/* A hundred a second, each answered after a second; others took 50. It shows before the stream ends. */
static void others_are_noticed_in_a_dense_stream(void) {
    static rlm_permit permit[400];
    rlm_limit limit = rlm_per(RLM_REQUESTS, 1000, RLM_HOUR_NS);
    int64_t before = 0;
    uint64_t i;
    make(&limit, 1);
    for (i = 0; i < 300; i++) {
        uint64_t now_ns = START + i * 10 * MS;
        permit[i] = take(1, now_ns);
        if (i < 100) continue;
        hear(&permit[i - 100], 1000, 1000 - (i - 100) - 1 - (i >= 200 ? 50 : 0), RLM_HOUR_NS, now_ns);
        if (i == 199) before = left(0, now_ns);
    }
    CHECK_SO(left(0, START + 2990 * MS) <= before - 100 - 30,
        "was %" PRId64 ", then 100 more and 50 by others: left %" PRId64, before,
        left(0, START + 2990 * MS));
}

/* An answer that comes an hour late finds all refilled; and a clock that is then set back is not blocked for longer. */
static void a_late_answer_does_not_keep_a_clock_set_back_waiting(void) {
    rlm_permit permit;
    rlm_cost cost = cost_of(30, 0, 0);
    uint64_t now_ns = START + RLM_HOUR_NS, wait_ns = 0;
    int i;
    make_kind(A_BUCKET, 60);
    permit = take(1, START);
    hear(&permit, 60, 50, MINUTE, now_ns);
    settle(&permit, now_ns);
    CHECK_EQ(rlm_debit(&limiter, &cost, now_ns), RLM_OK);
    now_ns -= DAY;
    for (i = 0; i < 100 && (wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit)) != 0; i++) now_ns += wait_ns;
    CHECK_SO(wait_ns == 0 && now_ns <= START + RLM_HOUR_NS - DAY + 5 * MINUTE, "waited %" PRIu64 " s",
        (now_ns + DAY - START - RLM_HOUR_NS) / SECOND);
}

static void after_a_clock_was_set_back_readings_count_again(void) {
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit = {0};
    uint64_t now_ns = START, wait_ns = 0;
    int i;
    make_kind(A_BUCKET, 60);
    for (i = 0; i < 20; i++) { /* known up to here */
        permit = take(1, now_ns);
        hear(&permit, 60, 59, MINUTE, now_ns);
        settle(&permit, now_ns);
        now_ns += 10 * SECOND;
    }
    now_ns -= RLM_HOUR_NS;
    for (i = 0; i < 100 && (wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit)) != 0; i++) now_ns += wait_ns;
    CHECK_EQ(wait_ns, 0);
    settle(&permit, now_ns);
    now_ns += 5 * MINUTE;
    permit = take(1, now_ns);
    hear(&permit, 60, 10, MINUTE, now_ns + SECOND);
    CHECK_SO(left(0, now_ns + SECOND) <= 11, "10 remained: left %" PRId64, left(0, now_ns + SECOND));
}

/* What remained before the limit changed, however often it did, is not held against what remains since. */
static void an_answer_to_a_request_before_a_change_does_not_say_what_remains(void) {
    uint64_t changes, i;
    for (changes = 1; changes <= 9; changes++) {
        rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 100);
        rlm_permit permit;
        limit.follow = RLM_FOLLOW;
        make(&limit, 1);
        hear(NULL, 100, 100, MINUTE, START);
        permit = take(10, START);
        for (i = 1; i <= changes; i++) hear(NULL, 100 + i, 50, MINUTE, START + i * MS);
        hear(&permit, 100, 0, MINUTE, START + 10 * MS);
        CHECK_SO(left(0, START + 10 * MS) >= 48,
            "after %" PRIu64 " changes: left %" PRId64, changes, left(0, START + 10 * MS));
        settle(&permit, START + 10 * MS);
    }
}

/* A request without tokens brings figures of tokens too. */
static void an_answer_tells_of_meters_that_it_cost_nothing_of(void) {
    rlm_limit limit = rlm_per_minute(RLM_INPUT_TOKENS, 1000);
    rlm_cost free_of = cost_of(1, 0, 0), tokens = cost_of(0, 50, 0);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_permit permit = {0}, other = {0};
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &free_of, START + SECOND, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &tokens, START + SECOND, &other), 0);
    read_of(&feedback, RLM_INPUT_TOKENS, 1000, 100, MINUTE);
    observe(&permit, &feedback, START + SECOND);
    CHECK_SO(left(0, START + SECOND) <= 100, "100 remain: left %" PRId64, left(0, START + SECOND));
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    observe(NULL, &feedback, START); /* known; and in the beginning one is out at a time */
    CHECK_EQ(rlm_acquire(&limiter, &free_of, START + 2 * MINUTE, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &tokens, START + 2 * MINUTE, &other), 0);
    feedback.reading[0].limit = feedback.reading[0].remaining = 2000;
    observe(&permit, &feedback, START + 2 * MINUTE);
    CHECK_SO(in_force(0).amount == 2000 && left(0, START + 2 * MINUTE) <= 1950, "50 were sent since: left %" PRId64,
        left(0, START + 2 * MINUTE));
}

/* ---- A closed loop ------------------------------------------------------------------------------ */

/* A server's bucket, in units of a token / period, so that all is whole. What it holds stays when its limit changes, up to
   the new burst. */
typedef struct server {
    uint64_t amount, period_ns, burst, level, at_ns;
} server;

static void server_make(server *it, uint64_t amount, uint64_t period_ns, uint64_t now_ns) {
    it->amount = it->burst = amount;
    it->period_ns = period_ns;
    it->level = it->burst * period_ns;
    it->at_ns = now_ns;
}

static void server_refill(server *it, uint64_t now_ns) {
    it->level += it->amount * (now_ns - it->at_ns);
    if (it->level > it->burst * it->period_ns) it->level = it->burst * it->period_ns;
    it->at_ns = now_ns;
}

static void server_change(server *it, uint64_t amount, uint64_t now_ns) {
    server_refill(it, now_ns);
    it->amount = it->burst = amount;
    server_refill(it, now_ns);
}

/* 0, or how long until it would be admitted. */
static uint64_t server_take(server *it, uint64_t n, uint64_t now_ns) {
    server_refill(it, now_ns);
    if (n * it->period_ns <= it->level) {
        it->level -= n * it->period_ns;
        return 0;
    }
    return (n * it->period_ns - it->level - 1) / it->amount + 1;
}

static uint64_t server_left(const server *it) { return it->level / it->period_ns; }

typedef struct loop {
    const char *name;
    uint32_t follow;
    uint64_t told;              /* what the client is told the limit is; 80,000 is true */
    uint64_t guard_ns, shortest_ns, longest_ns; /* each way */
    uint32_t others;            /* per mille of the limit that another client uses */
    uint32_t changes;           /* whether the limit changes every two minutes */
    uint32_t refused_max;       /* in ten minutes */
    uint32_t used_min;          /* per mille of what the server would have given */
} loop;

enum { SLOTS = 48, TO_SEND = 0, TO_SERVER, TO_CLIENT };

typedef struct travelling {
    rlm_permit permit;
    rlm_feedback feedback;
    uint64_t n, at_ns;
    int state;
} travelling;

static void run_loop(const loop *how, uint64_t seed) {
    static travelling slot[SLOTS];
    static const uint64_t levels[] = {80000, 24000, 160000, 40000, 80000};
    rlm_limit limit = how->follow == RLM_LEARN ? rlm_learned(RLM_INPUT_TOKENS, MINUTE) : rlm_per_minute(RLM_INPUT_TOKENS,
        how->told);
    uint64_t random = seed * 7919 + 1, now_ns = START, end_ns = START + 10 * MINUTE, try_ns = START, next_n = 1000;
    uint64_t others_ns = START + SECOND, change_ns = START + 2 * MINUTE, admitted = 0, by_others = 0, refused = 0,
        capacity, last_ns = START, earned = 0;
    server there;
    size_t i;
    int change = 0;
    limit.follow = how->follow;
    limit.guard_ns = how->guard_ns;
    make(&limit, 1);
    server_make(&there, 80000, MINUTE, START);
    for (i = 0; i < SLOTS; i++) slot[i].state = TO_SEND;
    while (now_ns < end_ns) {
        uint64_t next_ns = end_ns;
        travelling *free_slot = NULL;
        for (i = 0; i < SLOTS; i++) {
            travelling *at = &slot[i];
            if (at->state == TO_SEND) {
                free_slot = at;
            } else if (at->at_ns <= now_ns && at->state == TO_SERVER) {
                uint64_t wait_ns = server_take(&there, at->n, now_ns);
                at->feedback = feedback_of(wait_ns == 0 ? RLM_ANSWERED : RLM_REFUSED);
                if (wait_ns != 0) {
                    at->feedback.named = 1u << RLM_INPUT_TOKENS;
                    at->feedback.retry_after_ns = wait_ns;
                    refused++;
                } else {
                    admitted += at->n;
                    last_ns = now_ns;
                }
                read_of(&at->feedback, RLM_INPUT_TOKENS, there.amount, server_left(&there), MINUTE);
                at->state = TO_CLIENT;
                at->at_ns = now_ns + how->shortest_ns + check_random(&random) % (how->longest_ns - how->shortest_ns + 1);
            } else if (at->at_ns <= now_ns) {
                observe(&at->permit, &at->feedback, now_ns);
                if (at->feedback.outcome == RLM_ANSWERED) settle(&at->permit, now_ns);
                else CHECK_EQ(rlm_cancel(&limiter, &at->permit, now_ns), RLM_OK);
                at->state = TO_SEND;
                free_slot = at;
                try_ns = now_ns; /* who waits asks again */
            }
        }
        if (how->others != 0 && now_ns >= others_ns) {
            uint64_t n = 500 + check_random(&random) % 1500;
            if (server_take(&there, n, now_ns) == 0) by_others += n;
            others_ns = now_ns + 1 + check_random(&random) % (2 * 1250 * 1000 / how->others * MINUTE / 80000);
        }
        if (how->changes && now_ns >= change_ns) {
            earned += there.amount * ((change_ns - START) % (2 * MINUTE) == 0 ? 2 : 0);
            server_change(&there, levels[++change % 5], now_ns);
            change_ns += 2 * MINUTE;
        }
        if (free_slot != NULL && now_ns >= try_ns) {
            rlm_cost cost = cost_of(1, next_n, 0);
            uint64_t wait_ns;
            free_slot->permit.state = 0;
            wait_ns = rlm_acquire(&limiter, &cost, now_ns, &free_slot->permit);
            CHECK_SO(wait_ns != RLM_NEVER, "%s, seed %" PRIu64 ": %" PRIu64 " is never admitted", how->name, seed, next_n);
            if (wait_ns == 0) {
                free_slot->state = TO_SERVER;
                free_slot->n = next_n;
                free_slot->at_ns = now_ns + how->shortest_ns;
                free_slot->at_ns += check_random(&random) % (how->longest_ns - how->shortest_ns + 1);
                next_n = 200 + check_random(&random) % 3000;
            }
            try_ns = wait_ns == RLM_ON_RELEASE ? end_ns : now_ns + wait_ns;
            if (wait_ns == 0) continue;
        }
        CHECK_SO(now_ns - last_ns < 3 * MINUTE, "%s, seed %" PRIu64 ": nothing since %" PRIu64 " s", how->name, seed,
            (last_ns - START) / SECOND);
        for (i = 0; i < SLOTS; i++) {
            if (slot[i].state == TO_SEND) { if (try_ns < next_ns) next_ns = try_ns; }
            else if (slot[i].at_ns < next_ns) next_ns = slot[i].at_ns;
        }
        if (how->others != 0 && others_ns < next_ns) next_ns = others_ns;
        if (how->changes && change_ns < next_ns) next_ns = change_ns;
        now_ns = next_ns > now_ns ? next_ns : now_ns + 1;
    }
    capacity = 80000 + (how->changes ? earned + 2 * there.amount : 10 * 80000);
    if (how->follow == RLM_SHRINK && how->changes) capacity = 80000 + 2 * (80000 + 24000 + 80000 + 40000 + 80000);
    if (getenv("LOUD") != NULL)
        printf("# %s, seed %" PRIu64 ": refused %" PRIu64 ", used %" PRIu64 " per mille\n", how->name, seed, refused,
            1000 * (admitted + by_others) / capacity);
    CHECK_SO(refused <= how->refused_max && 1000 * (admitted + by_others) / capacity >= how->used_min,
             "%s, seed %" PRIu64 ": refused %" PRIu64 " (at most %u), used %" PRIu64 " per mille (at least %u)",
                 how->name, seed, refused,
             (unsigned)how->refused_max, 1000 * (admitted + by_others) / capacity, (unsigned)how->used_min);
}

static void run_loops(const loop *loops, size_t count) {
    uint64_t seed = check_seed(), i;
    size_t k;
    for (k = 0; k < count; k++)
        for (i = 0; i < 6; i++) run_loop(&loops[k], seed + i);
}

static void a_right_picture_is_never_refused(void) {
    static const loop loops[] = {
        {"fixed, no delay", RLM_FIXED, 80000, 0, 0, 0, 0, 0, 0, 985},
        {"fixed, the same delay for all", RLM_FIXED, 80000, 0, SECOND, SECOND, 0, 0, 0, 970},
        {"fixed, delays to 2 s", RLM_FIXED, 80000, 2 * SECOND, 10 * MS, 2 * SECOND, 0, 0, 0, 940},
        {"shrink, delays to 2 s", RLM_SHRINK, 80000, 2 * SECOND, 10 * MS, 2 * SECOND, 0, 0, 0, 940},
        {"follow, delays to 2 s", RLM_FOLLOW, 80000, 2 * SECOND, 10 * MS, 2 * SECOND, 0, 0, 0, 940},
        {"shrink, delays to 100 ms", RLM_SHRINK, 80000, 100 * MS, 10 * MS, 100 * MS, 0, 0, 0, 970},
        {"follow, wider told", RLM_FOLLOW, 800000, 2 * SECOND, 10 * MS, 2 * SECOND, 0, 0, 0, 900},
        {"learned, delays to 2 s", RLM_LEARN, 0, 2 * SECOND, 10 * MS, 2 * SECOND, 0, 0, 0, 900},
    };
    run_loops(loops, sizeof loops / sizeof *loops);
}

static void another_client_costs_few_refusals(void) {
    static const loop loops[] = {
        {"a tenth by others", RLM_SHRINK, 80000, 500 * MS, 10 * MS, 500 * MS, 100, 0, 10, 900},
        {"three tenths by others", RLM_SHRINK, 80000, 500 * MS, 10 * MS, 500 * MS, 300, 0, 15, 880},
        {"six tenths by others", RLM_FOLLOW, 80000, 500 * MS, 10 * MS, 500 * MS, 600, 0, 20, 850},
        {"learned, three tenths by others", RLM_LEARN, 0, 0, 10 * MS, 500 * MS, 300, 0, 15, 850},
        {"delays to 4 s, three tenths by others", RLM_SHRINK, 80000, 0, 10 * MS, 4 * SECOND, 300, 0, 30, 800},
    };
    run_loops(loops, sizeof loops / sizeof *loops);
}

static void a_changing_limit_costs_few_refusals(void) {
    static const loop loops[] = {
        {"shrink, changes", RLM_SHRINK, 80000, 500 * MS, 10 * MS, 500 * MS, 0, 1, 8, 850},
        {"follow, changes", RLM_FOLLOW, 80000, 500 * MS, 10 * MS, 500 * MS, 0, 1, 8, 850},
        {"learned, changes", RLM_LEARN, 0, 500 * MS, 10 * MS, 500 * MS, 0, 1, 8, 850},
        {"follow, changes, others, slow", RLM_FOLLOW, 80000, 0, 10 * MS, 2 * SECOND, 200, 1, 40, 750},
        {"told too little, shrink stays", RLM_SHRINK, 20000, 500 * MS, 10 * MS, 500 * MS, 0, 0, 0, 200},
        {"told too much, shrink follows", RLM_SHRINK, 200000, 500 * MS, 10 * MS, 500 * MS, 0, 0, SLOTS, 900},
        {"told too much, fixed", RLM_FIXED, 200000, 500 * MS, 10 * MS, 500 * MS, 0, 0, 1000, 800},
    };
    run_loops(loops, sizeof loops / sizeof *loops);
}

/* Others took 50,000 of a million once. What is kept in hand for that is free again after some thousand answers. */
static void what_is_kept_in_hand_for_others_fades(void) {
    rlm_limit limit = rlm_per_minute(RLM_INPUT_TOKENS, 1000000);
    rlm_cost cost = cost_of(0, 10, 0);
    uint64_t now_ns = START;
    server there;
    int i;
    make(&limit, 1);
    server_make(&there, 1000000, MINUTE, START);
    for (i = 0; i < 30000; i++) {
        rlm_permit permit = {0};
        rlm_feedback feedback = feedback_of(RLM_ANSWERED);
        int64_t less;
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit), 0);
        CHECK_EQ(server_take(&there, i == 5 ? 50010 : 10, now_ns), 0);
        read_of(&feedback, RLM_INPUT_TOKENS, 1000000, server_left(&there), MINUTE);
        observe(&permit, &feedback, now_ns);
        settle(&permit, now_ns);
        less = (int64_t)server_left(&there) - left(0, now_ns);
        CHECK_SO(i != 10 || less >= 40000, "at once: %" PRId64 " less than there", less);
        CHECK_SO(i < 29000 || less <= 2000, "after %d answers: %" PRId64 " less than there", i, less);
        now_ns += MS;
    }
}

/* ---- Pauses --------------------------------------------------------------------------------------- */

static void make_pair(void) {
    rlm_limit limits[3];
    limits[0] = rlm_per_minute(RLM_REQUESTS, 600);
    limits[1] = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
    limits[2] = rlm_concurrent(100);
    make(limits, 3);
}

static uint64_t wait_for_cost(uint64_t requests, uint64_t input, uint64_t now_ns, int *binding) {
    rlm_cost cost = cost_of(requests, input, 0);
    return rlm_check(&limiter, &cost, now_ns, binding);
}

static void a_pause_is_of_what_it_names(void) {
    int binding;
    make_pair();
    refuse(NULL, 1u << RLM_INPUT_TOKENS, 10 * SECOND, START);
    CHECK_EQ(wait_for_cost(1, 0, START, &binding), 0);
    CHECK_EQ(binding, -1);
    CHECK_EQ(wait_for_cost(1, 1, START, &binding), 10 * SECOND);
    CHECK_EQ(binding, 1);
    CHECK_EQ(wait_for_cost(0, 1, START + 10 * SECOND - 1, &binding), 1);
    CHECK_EQ(wait_for_cost(0, 1, START + 10 * SECOND, &binding), 0);
    CHECK_EQ(wait_for_cost(0, 0, START, &binding), 0);
}

static void a_pause_that_names_nothing_is_of_all(void) {
    int binding, meter;
    for (meter = -1; meter < RLM_I_METER_COUNT; meter++) { /* nothing, or what is not here */
        if (meter == RLM_REQUESTS || meter == RLM_INPUT_TOKENS || meter == RLM_TOKENS ||
                meter == RLM_OUTPUT_TOKENS) continue;
        make_pair();
        refuse(NULL, meter < 0 ? 0 : 1u << meter, 10 * SECOND, START);
        CHECK_EQ(wait_for_cost(1, 0, START, &binding), 10 * SECOND);
        CHECK_EQ(wait_for_cost(0, 1, START, NULL), 10 * SECOND);
        CHECK_EQ(wait_for_cost(1, 1, START + 10 * SECOND, NULL), 0);
        CHECK_EQ(binding, 0);
    }
}

static void a_pause_ends_at_its_time_and_a_shorter_one_does_not_end_it(void) {
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit;
    make_pair();
    refuse(NULL, 0, 10 * SECOND, START);
    refuse(NULL, 0, 2 * SECOND, START + SECOND);
    CHECK_EQ(wait_for(1, START + 3 * SECOND), 7 * SECOND);
    refuse(NULL, 0, 20 * SECOND, START + 3 * SECOND);
    CHECK_EQ(wait_for(1, START + 10 * SECOND), 13 * SECOND);
    answer(NULL, START + 10 * SECOND); /* another request's good answer ends nothing */
    CHECK_EQ(wait_for(1, START + 23 * SECOND - 1), 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + 23 * SECOND - 1, &permit), 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + 23 * SECOND, &permit), 0);
}

static void other_outcomes_pause_too_and_end_no_pause(void) {
    uint32_t outcome;
    for (outcome = 0; outcome < 5; outcome++) {
        uint64_t retry;
        for (retry = 0; retry < 4; retry++) {
            rlm_feedback feedback = feedback_of(outcome);
            make_pair();
            refuse(NULL, 0, 10 * SECOND, START);
            feedback.retry_after_ns = retry == 0 ? 0 : retry == 1 ? SECOND : RLM_UNSAID - (retry == 2);
            observe(NULL, &feedback, START + SECOND);
            CHECK_SO(wait_for(1, START + 2 * SECOND) >= 8 * SECOND && wait_for(1, START + 2 * SECOND) < RLM_ON_RELEASE,
                     "outcome %u, retry_after_ns %" PRIu64 ": wait %" PRIu64 " ns, expected 8 s", (unsigned)outcome,
                         feedback.retry_after_ns,
                     wait_for(1, START + 2 * SECOND));
        }
    }
}

static void pause_by_hand(void) {
    int binding;
    make_pair();
    keep();
    CHECK_EQ(rlm_pause(NULL, 0, 1, START), RLM_E_NULL);
    CHECK_EQ(rlm_pause(&limiter, 3, 1, START), RLM_E_INDEX);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL - 1, 1, START), RLM_E_INDEX);
    CHECK_EQ(rlm_pause(&limiter, 0, (UINT64_C(1) << 55) + 1, START), RLM_E_PERIOD);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, UINT64_MAX, START), RLM_E_PERIOD);
    CHECK(same());
    CHECK_EQ(rlm_pause(&limiter, 1, 3 * SECOND, START), RLM_OK);
    CHECK_EQ(wait_for_cost(1, 0, START, NULL), 0);
    CHECK_EQ(wait_for_cost(1, 1, START, &binding), 3 * SECOND);
    CHECK_EQ(binding, 1);
    CHECK_EQ(rlm_pause(&limiter, 0, 0, START), RLM_OK); /* ends that one only */
    CHECK_EQ(wait_for_cost(1, 1, START, NULL), 3 * SECOND);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, UINT64_C(1) << 55, START), RLM_OK);
    CHECK_EQ(wait_for_cost(1, 1, START, NULL), UINT64_C(1) << 55);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, 0, START), RLM_OK);
    CHECK_EQ(wait_for_cost(1, 1, START, &binding), 0);
    CHECK_EQ(binding, -1);
    CHECK_EQ(rlm_pause(&limiter, 2, 3 * SECOND, START), RLM_OK); /* every cost has to have a connection */
    CHECK_EQ(wait_for_cost(0, 1, START, &binding), 3 * SECOND);
    CHECK_EQ(binding, 2);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, 0, START), RLM_OK);
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, UINT64_C(1) << 55, UINT64_MAX - 5), RLM_OK); /* the end of time */
    CHECK_EQ(rlm_pause(&limiter, RLM_ALL, 0, START), RLM_OK);
    CHECK_EQ(wait_for_cost(1, 1, START, NULL), 0);
}

static void a_stale_reading_does_not_get_through_a_pause(void) {
    uint64_t stale_ns;
    make_pair();
    refuse(NULL, 0, 10 * SECOND, START);
    for (stale_ns = 0; stale_ns <= SECOND; stale_ns += SECOND / 8)
        CHECK_SO(wait_for(1, START - stale_ns) >= 10 * SECOND, "late by %" PRIu64 " ns: wait %" PRIu64, stale_ns,
            wait_for(1, START - stale_ns));
}

/* Whatever it is set back by. */
static void a_clock_set_back_is_not_blocked_for_longer_than_the_pause(void) {
    static const uint64_t back_s[] = {1, 2, 5, 60, 600, 1800, 3600, 86400, 8640000};
    size_t i;
    int before;
    for (before = 0; before < 2; before++)
        for (i = 0; i < sizeof back_s / sizeof *back_s; i++) {
            uint64_t now_ns = START - back_s[i] * SECOND, wait_ns;
            rlm_limit limit = rlm_concurrent(10);
            make(&limit, 1);
            if (before) { /* long ago there was a pause of an hour */
                refuse(NULL, 0, RLM_HOUR_NS, START - 100 * DAY);
                CHECK_EQ(wait_for(1, START), 0);
            }
            refuse(NULL, 0, 5 * SECOND, START);
            wait_ns = wait_for(1, now_ns);
            CHECK_SO(wait_ns <= 6 * SECOND, "set back by %" PRIu64 " s%s: wait %" PRIu64 " s", back_s[i],
                before ? ", after a pause of an hour" : "",
                     wait_ns / SECOND);
            refuse(NULL, 0, 7 * SECOND, now_ns); /* and a pause of the time that is now is kept */
            wait_ns = wait_for(1, now_ns);
            CHECK_SO(wait_ns >= 7 * SECOND && wait_ns <= 8 * SECOND,
                "set back by %" PRIu64 " s%s, then paused for 7 s: wait %" PRIu64 " s", back_s[i],
                     before ? ", after a pause of an hour" : "", wait_ns / SECOND);
        }
}

static void without_a_time_it_is_5_10_20_40_40_seconds(void) {
    static const uint64_t expected_s[] = {5, 10, 20, 40, 40, 40};
    uint64_t now_ns = START;
    int round, i;
    make_pair();
    for (round = 0; round < 2; round++) {
        for (i = 0; i < 6; i++) {
            rlm_permit permit = take(1, now_ns);
            refuse(&permit, i % 2 ? 1u << RLM_REQUESTS : 0, i % 3 ? RLM_UNSAID : 0, now_ns);
            CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
            CHECK_SO(wait_for(1, now_ns) == expected_s[i] * SECOND,
                "refusal %d of round %d: wait %" PRIu64 " ms, expected %" PRIu64 " s", i + 1, round,
                     wait_for(1, now_ns) / MS, expected_s[i]);
            now_ns += expected_s[i] * SECOND;
            CHECK_EQ(wait_for(1, now_ns), 0);
        }
        answer(NULL, now_ns);
    }
}

/* Ten in flight are refused together: that is one refusal. */
static void refusals_of_one_moment_count_once(void) {
    rlm_permit permit[10];
    int i;
    make_pair();
    for (i = 0; i < 10; i++) permit[i] = take(1, START);
    for (i = 0; i < 10; i++) refuse(&permit[i], 0, RLM_UNSAID, START + SECOND);
    CHECK_SO(wait_for(1, START + SECOND) <= 10 * SECOND, "ten at once: wait %" PRIu64 " s, expected 5", wait_for(1,
        START + SECOND) / SECOND);
}

/* Some in flight are refused, each until 7 s later; in a batch: all are observed before the first is cancelled. */
static void check_after_refusal(int in_flight) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 60);
    rlm_permit permit[3];
    int i;
    make(&limit, 1);
    for (i = 0; i < in_flight; i++) permit[i] = take(5, START);
    for (i = 0; i < in_flight; i++) {
        refuse(&permit[i], 1u << RLM_REQUESTS, 7 * SECOND, START + SECOND);
        CHECK_EQ(rlm_cancel(&limiter, &permit[i], START + SECOND), RLM_OK);
    }
    CHECK_EQ(wait_for(1, START + SECOND), 7 * SECOND);
    CHECK_SO(wait_for(5, START + 8 * SECOND) == 0,
        "%d in flight: 5 wait for %" PRIu64 " ms after the server's time, left %" PRId64, in_flight,
             wait_for(5, START + 8 * SECOND) / MS, left(0, START + 8 * SECOND));
    CHECK_SO(wait_for(6, START + 8 * SECOND) != 0, "%d in flight: left %" PRId64, in_flight, left(0, START + 8 * SECOND));
    (void)take(5, START + 8 * SECOND);
    CHECK(wait_for(1, START + 9 * SECOND - MS) != 0);
    CHECK_SO(wait_for(1, START + 9 * SECOND + 200 * MS) == 0, /* an eighth less, as the server tells no limit */
             "%d in flight: refills at its rate", in_flight);
}

static void after_a_refusal_as_much_is_admitted_as_was_refused(void) {
    int in_flight;
    for (in_flight = 1; in_flight <= 3; in_flight++) check_after_refusal(in_flight);
}

/* A quota or window to be learned, of a server that says nothing for long, stays none. */
static void a_quota_that_is_never_told_stays_open(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_limit limit = limit_of(kind, 1 << 30);
        uint64_t now_ns;
        if (kind == AN_EXACT_WINDOW) continue;
        limit.follow = RLM_LEARN;
        make(&limit, 1);
        for (now_ns = START; now_ns < START + 10 * MINUTE; now_ns += 10 * SECOND) {
            rlm_permit permit = take(1, now_ns);
            answer(&permit, now_ns);
            settle(&permit, now_ns);
        }
        CHECK_SO(rlm_in_force(&limiter, 0, &limit) == RLM_E_UNKNOWN, "%s", kind_name[kind]);
    }
}

/* Refused for ten minutes; then an answer to another request tells of a hundredth of the limit. */
static void a_lower_limit_does_not_lengthen_a_refusal(void) {
    uint32_t follow;
    for (follow = RLM_SHRINK; follow <= RLM_FOLLOW; follow++) {
        rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 1000);
        rlm_permit permit;
        limit.follow = follow;
        make(&limit, 1);
        permit = take(1, START);
        refuse(&permit, 1u << RLM_REQUESTS, 10 * MINUTE, START);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
        hear(NULL, 10, RLM_UNSAID, MINUTE, START + SECOND);
        CHECK_SO(wait_for(1, START + SECOND) <= 10 * MINUTE + 6 * SECOND, "follow %u: wait %" PRIu64 " s", (unsigned)follow,
                 wait_for(1, START + SECOND) / SECOND);
    }
}

/* The server's own estimate of the request is larger: that much is there after the wait. */
static void what_the_server_says_was_requested_counts(void) {
    rlm_limit limit = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
    rlm_cost cost = cost_of(0, 1000, 0);
    rlm_permit permit = {0};
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    feedback.named = 1u << RLM_INPUT_TOKENS;
    feedback.retry_after_ns = 4 * SECOND;
    feedback.requested = 1500;
    observe(&permit, &feedback, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_SO(left(0, START + 4 * SECOND) == 1500, "left %" PRId64, left(0, START + 4 * SECOND));
}

/* A refusal by the minute, that names requests or nothing, does not cost the day's quota. */
static void a_refusal_of_the_minute_does_not_empty_the_day(void) {
    int named;
    for (named = 0; named < 2; named++) {
        rlm_limit limits[2];
        rlm_permit permit;
        limits[0] = rlm_per_minute(RLM_REQUESTS, 50);
        limits[1] = rlm_per_day(RLM_REQUESTS, 5000);
        make(limits, 2);
        permit = take(1, START);
        refuse(&permit, named ? 1u << RLM_REQUESTS : 0, 10 * SECOND, START);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
        CHECK_SO(left(1, START + 10 * SECOND) > 4000, "named %d: left of 5000 a day: %" PRId64, named, left(1,
            START + 10 * SECOND));
        CHECK_EQ(wait_for(1, START + 10 * SECOND), 0);
    }
}

static void a_refusal_pauses_windows_and_quotas_too(void) {
    int kind;
    for (kind = AN_EXACT_WINDOW; kind < KINDS; kind++) {
        rlm_permit permit;
        make_kind(kind, 100);
        permit = take(5, START);
        refuse(&permit, 1u << RLM_REQUESTS, 3 * SECOND, START + SECOND);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START + SECOND), RLM_OK);
        CHECK_SO(wait_for(5, START + SECOND) == 3 * SECOND, "%s: wait %" PRIu64, kind_name[kind], wait_for(5,
            START + SECOND));
        CHECK_EQ(wait_for(5, START + 4 * SECOND), 0);
    }
}

/* A refused request was not charged: the reading that comes with it is not less by its cost. */
static void a_refused_request_is_not_charged(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_feedback feedback = feedback_of(RLM_REFUSED);
        rlm_permit permit;
        make_kind(kind, 100);
        permit = take(30, START);
        feedback.named = 1u << RLM_REQUESTS;
        feedback.retry_after_ns = SECOND;
        read_of(&feedback, RLM_REQUESTS, 100, 25, MINUTE);
        observe(&permit, &feedback, START);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
        CHECK_SO(left(0, START) <= 25 && left(0, START) >= (kind == A_BUCKET ? 0 : 25),
            "%s: the server has 25, left %" PRId64, kind_name[kind], left(0, START));
    }
}

/* Half of the limit is used by others already. Requests leave one by one, faster than answers come back: when the
   picture says that nothing is left, the server refuses at most what was in flight then. */
static void a_steady_stream_stops_where_the_server_does(void) {
    int kind, i;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_permit permit[100];
        uint64_t said[100], there = 50;
        int sent = 0, answered = 0, refused = 0;
        rlm_limit limit = limit_of(kind, 100);
        if (kind == A_BUCKET) limit.period_ns = RLM_HOUR_NS;
        make(&limit, 1);
        for (i = 0; i < 200; i++) {
            uint64_t now_ns = START + (uint64_t)i * 100 * MS;
            rlm_cost cost = cost_of(1, 0, 0);
            if (sent >= answered + 10 || (answered < sent && i > 100)) {
                hear(&permit[answered], 100, said[answered], limit.period_ns, now_ns);
                answered++;
            }
            if (sent == 100 || rlm_acquire(&limiter, &cost, now_ns, &permit[sent]) != 0) continue;
            if (there > 0) there--;
            else refused++;
            said[sent++] = there;
        }
        CHECK_SO(refused <= 10 && sent >= 37, "%s: %d of %d sent were refused by a server that admits 50",
            kind_name[kind], refused, sent);
    }
}

static void a_good_answer_does_not_pause(void) {
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    make_pair();
    feedback.retry_after_ns = 10 * SECOND;
    observe(NULL, &feedback, START);
    CHECK_EQ(wait_for(1, START), 0);
}

/* Tokens are counted together here and named apart there, or the other way round. */
static void tokens_are_named_apart_or_together(void) {
    static const uint32_t meters[] = {RLM_INPUT_TOKENS, RLM_OUTPUT_TOKENS, RLM_TOKENS};
    rlm_cost request = cost_of(1, 0, 0), tokens = cost_of(0, 1, 1), output = cost_of(0, 0, 1);
    rlm_limit limits[2];
    size_t named, here;
    for (named = 0; named < 3; named++)
        for (here = 0; here < 3; here++) {
            limits[0] = rlm_per_minute(RLM_REQUESTS, 600);
            limits[1] = rlm_per_minute(meters[here], 60000);
            make(limits, 2);
            refuse(NULL, 1u << meters[named], 10 * SECOND, START);
            CHECK_SO(rlm_check(&limiter, &request, START, NULL) == 0, "%u named, %u here", (unsigned)meters[named],
                (unsigned)meters[here]);
            CHECK_EQ(rlm_check(&limiter, &tokens, START, NULL), 10 * SECOND);
        }
    limits[0] = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
    limits[1] = rlm_per_minute(RLM_OUTPUT_TOKENS, 60000);
    make(limits, 2);
    refuse(NULL, 1u << RLM_INPUT_TOKENS, 10 * SECOND, START);
    CHECK_EQ(rlm_check(&limiter, &output, START, NULL), 0); /* that was another */
}

/* Whoever has no permit to show is refused all the same. */
static void refusals_without_a_permit_count(void) {
    make_pair();
    refuse(NULL, 0, RLM_UNSAID, START);
    CHECK_EQ(wait_for(1, START), 5 * SECOND);
    refuse(NULL, 0, RLM_UNSAID, START + 5 * SECOND);
    CHECK_EQ(wait_for(1, START + 5 * SECOND), 10 * SECOND);
}

/* The figures tell how long: 1 of 600 a minute is back in a tenth of a second. */
static void with_figures_a_refusal_waits_until_enough_remains(void) {
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    rlm_permit permit;
    make_pair();
    permit = take(1, START);
    read_of(&feedback, RLM_REQUESTS, 600, 0, MINUTE);
    observe(&permit, &feedback, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_SO(wait_for(1, START) != 0 && wait_for(1, START) <= SECOND, "wait %" PRIu64 " ms", wait_for(1, START) / MS);
    make_pair(); /* of concurrent requests and something else: no figure tells */
    permit = take(1, START);
    refuse(&permit, RLM_NAMED_CONCURRENCY | 1u << RLM_REQUESTS, RLM_UNSAID, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_EQ(wait_for(1, START), 5 * SECOND);
}

/* How much of a limit is in force after a request for cost was refused, and it named no figures. */
static uint64_t refused_of(rlm_limit limit, uint64_t cost, uint32_t named, uint64_t retry_after_ns) {
    rlm_permit permit;
    make(&limit, 1);
    permit = take(cost, START);
    refuse(&permit, named, retry_after_ns, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    return in_force(0).amount;
}

static void a_refusal_without_figures_takes_an_eighth(void) {
    static const uint64_t asked[] = {RLM_UNSAID, 500 * MS, SECOND, MINUTE};
    rlm_limit limit;
    int kind;
    size_t i;
    for (kind = 0; kind < KINDS; kind++)
        for (i = 0; i < 4; i++)
            CHECK_SO(refused_of(limit_of(kind, 80), 1, 1u << RLM_REQUESTS, asked[i]) == 70,
                "%s, retry after %" PRIu64 " ns: %" PRIu64,
                kind_name[kind], asked[i], in_force(0).amount);
    CHECK_EQ(refused_of(rlm_per_minute(RLM_REQUESTS, 8000), 4000, 0, RLM_UNSAID), 7000);
    /* far too short to be a bucket's wait, but a window's may be */
    CHECK_EQ(refused_of(rlm_per_minute(RLM_REQUESTS, 80), 1, 1u << RLM_REQUESTS, MS), 80);
    CHECK_EQ(refused_of(limit_of(AN_EXACT_WINDOW, 80), 1, 1u << RLM_REQUESTS, MS), 70);
    limit = rlm_per_minute(RLM_REQUESTS, 80);
    limit.follow = RLM_FIXED;
    CHECK_EQ(refused_of(limit, 1, 1u << RLM_REQUESTS, SECOND), 80);
    CHECK_EQ(refused_of(rlm_per_minute(RLM_REQUESTS, 10), 10, 0, RLM_UNSAID), 10); /* it will be admitted, later */
    CHECK_EQ(wait_for(10, START + 2 * MINUTE), 0);
}

static void a_limit_that_was_told_is_not_guessed(void) {
    uint32_t follow;
    for (follow = RLM_FOLLOW; follow <= RLM_LEARN; follow++) {
        rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 60);
        rlm_permit permit;
        limit.follow = follow;
        make(&limit, 1);
        hear(NULL, 80, 80, MINUTE, START);
        permit = take(1, START);
        refuse(&permit, 1u << RLM_REQUESTS, SECOND, START + MS);
        CHECK_SO(in_force(0).amount == 80, "follow %u: %" PRIu64, (unsigned)follow, in_force(0).amount);
    }
}

/* Of requests a minute, tokens a minute or a day, and connections. */
static void a_refusal_lowers_only_what_it_can_mean(void) {
    static const struct { uint32_t named; uint64_t requests, tokens, daily; } tries[] = {
        {0, 560, 7000, 800000}, {1u << RLM_REQUESTS, 560, 8000, 800000}, {1u << RLM_INPUT_TOKENS, 640, 7000, 800000},
        {1u << RLM_OUTPUT_TOKENS, 640, 8000, 700000}};
    rlm_limit limits[4];
    rlm_cost cost = cost_of(1, 10, 10);
    size_t i;
    for (i = 0; i < sizeof tries / sizeof *tries; i++) {
        rlm_permit permit[2] = {{0}, {0}};
        limits[0] = rlm_per_minute(RLM_REQUESTS, 640);
        limits[1] = rlm_per_minute(RLM_INPUT_TOKENS, 8000);
        limits[2] = rlm_per_day(RLM_OUTPUT_TOKENS, 800000);
        limits[3] = rlm_concurrent(20);
        make(limits, 4);
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit[0]), 0);
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit[1]), 0);
        refuse(&permit[1], tries[i].named, 7 * SECOND, START);
        CHECK_SO(in_force(0).amount == tries[i].requests && in_force(1).amount == tries[i].tokens &&
                     in_force(2).amount == tries[i].daily && in_force(3).amount == 20,
            "named %x: %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64, (unsigned)tries[i].named, in_force(0).amount,
            in_force(1).amount, in_force(2).amount, in_force(3).amount);
        CHECK_SO((left(0, START) >= 630) == (tries[i].requests == 640), "named %x: left %" PRId64, (unsigned)tries[i].named,
            left(0, START));
    }
}

/* Two limits are told of: the one of which the smaller part is left was exceeded. If one is named, that. */
static void the_emptiest_limit_was_exceeded(void) {
    int named, swap, i;
    for (named = 0; named < 3; named++)
        for (swap = 0; swap < 2; swap++) {
            rlm_limit limits[2];
            rlm_cost cost = cost_of(10, 1000, 0);
            rlm_permit permit = {0};
            rlm_feedback feedback = feedback_of(RLM_REFUSED);
            limits[0] = rlm_per_minute(RLM_REQUESTS, 600);
            limits[1] = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
            make(limits, 2);
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
            for (i = 0; i < 2; i++)
                if (i == swap) read_of(&feedback, RLM_REQUESTS, 600, 300, MINUTE);
                else read_of(&feedback, RLM_INPUT_TOKENS, 60000, 5000, MINUTE); /* a twelfth */
            feedback.named = named == 0 ? 0 : named == 1 ? 1u << RLM_INPUT_TOKENS : 1u << RLM_REQUESTS;
            feedback.retry_after_ns = 10 * SECOND;
            observe(&permit, &feedback, START);
            CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
            CHECK_SO((left(0, START + 10 * SECOND) <= 10) == (named == 2) &&
                         (left(1, START + 10 * SECOND) <= 1000) == (named != 2),
                "named %x, swap %d: left %" PRId64 " and %" PRId64, (unsigned)feedback.named, swap, left(0,
                START + 10 * SECOND),
                left(1, START + 10 * SECOND));
            CHECK_SO(in_force(0).amount == 600 && in_force(1).amount == 60000, "named %x", (unsigned)feedback.named);
        }
}

/* Figures that do not tell how much of a limit is left do not tell that it was another. */
static void a_refusal_with_figures_that_say_nothing_takes_an_eighth(void) {
    static const uint64_t said[][2] = {{0, 0}, {RLM_UNSAID, 60}, {600, RLM_UNSAID}, {600, 700}};
    size_t i;
    for (i = 0; i < sizeof said / sizeof *said; i++) {
        rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
        rlm_feedback feedback = feedback_of(RLM_REFUSED);
        rlm_permit permit;
        make(&limit, 1);
        permit = take(1, START);
        read_of(&feedback, RLM_REQUESTS, said[i][0], said[i][1], MINUTE);
        feedback.retry_after_ns = SECOND;
        observe(&permit, &feedback, START);
        CHECK_SO(in_force(0).amount == 525, "limit %" PRIu64 ", remaining %" PRIu64 ": %" PRIu64, said[i][0], said[i][1],
            in_force(0).amount);
    }
}

/* An eighth less after a refusal; where it is used it comes back to what was configured, where it is idle it does not. */
static void a_guess_rises_where_it_is_used(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 56);
    uint64_t now_ns = START, minute, most = 0;
    rlm_permit permit;
    CHECK_EQ(refused_of(limit, 1, 1u << RLM_REQUESTS, SECOND), 49);
    CHECK_EQ(in_force(0).burst, 49);
    for (minute = 0; minute < 10; minute++) {
        permit = take(1, now_ns += MINUTE);
        answer(&permit, now_ns);
        settle(&permit, now_ns);
    }
    CHECK_EQ(in_force(0).amount, 49);
    while (now_ns < START + 60 * MINUTE) {
        rlm_cost cost = cost_of(1, 0, 0);
        uint64_t wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit);
        CHECK(wait_ns <= MINUTE);
        now_ns += wait_ns;
        if (wait_ns != 0) continue;
        answer(&permit, now_ns);
        settle(&permit, now_ns);
        most = in_force(0).amount > most ? in_force(0).amount : most;
    }
    CHECK_SO(in_force(0).amount == 56 && most == 56 && in_force(0).burst == 56,
        "%" PRIu64 ", at most %" PRIu64, in_force(0).amount, most);
}

/* A request that was admitted under a larger burst is refused: the guess leaves it room, within what is configured by now. */
static void a_guess_keeps_within_a_burst_that_shrank(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 1000);
    rlm_permit permit;
    make(&limit, 1);
    permit = take(600, START);
    limit.amount = 800;
    limit.burst = 200;
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, START + SECOND), RLM_OK);
    refuse(&permit, 1u << RLM_REQUESTS, RLM_UNSAID, START + 2 * SECOND);
    CHECK(in_force(0).burst <= 200);
    CHECK_EQ(wait_for(201, START + 10 * MINUTE), RLM_NEVER);
    CHECK_EQ(wait_for(150, START + 10 * MINUTE), 0);
}

/* ---- What the limit is ------------------------------------------------------------------------- */

static const char *const follow_name[RLM_I_FOLLOWS] = {"shrink", "fixed", "follow", "learn", "ramp", "adapt"};

static void a_limit_follows_as_far_as_it_may(void) {
    static const uint64_t said[] = {40, 70, 200, 100, 1, 99, 260, 30};
    uint32_t follow;
    int kind;
    size_t i;
    for (kind = 0; kind < KINDS; kind++)
        for (follow = RLM_SHRINK; follow <= RLM_LEARN; follow++) {
            rlm_limit limit = limit_of(kind, 100);
            limit.follow = follow;
            limit.burst = 50;
            if (kind == AN_EXACT_WINDOW) limit.cells = 400;
            make(&limit, 1);
            for (i = 0; i < sizeof said / sizeof *said; i++) {
                uint64_t now_ns = START + (uint64_t)i * SECOND, expected = said[i], most = limit_of(kind,
                    1).kind == RLM_WINDOW ? 200 : UINT64_MAX;
                rlm_limit now;
                if (follow == RLM_FIXED || (follow == RLM_SHRINK && expected > 100)) expected = 100;
                hear(NULL, said[i], RLM_UNSAID, MINUTE, now_ns);
                now = in_force(0);
                if (said[i] > most && now.amount != expected) continue; /* more than it can count: as it was */
                CHECK_SO(now.amount == expected, "%s, %s, said %" PRIu64 ": %" PRIu64 ", expected %" PRIu64,
                    kind_name[kind], follow_name[follow], said[i],
                         now.amount, expected);
                CHECK_EQ(now.period_ns, MINUTE);
                if (kind == A_BUCKET)
                    CHECK_SO(now.burst == (follow == RLM_LEARN ? expected : (expected + 1) / 2),
                        "%s, said %" PRIu64 ": burst %" PRIu64,
                             follow_name[follow], said[i], now.burst);
            }
        }
}

static void an_answer_to_an_older_request_does_not_bring_the_old_limit_back(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        rlm_limit limit = limit_of(kind, 100);
        rlm_permit old, young;
        limit.follow = RLM_FOLLOW;
        make(&limit, 1);
        limiter.probe = 0; /* one is out at a time otherwise, until the first answer */
        old = take(1, START);
        young = take(1, START + SECOND);
        hear(&young, 40, RLM_UNSAID, MINUTE, START + 2 * SECOND);
        hear(&old, 100, RLM_UNSAID, MINUTE, START + 3 * SECOND);
        CHECK_SO(in_force(0).amount == 40, "%s: %" PRIu64, kind_name[kind], in_force(0).amount);
        settle(&old, START + 3 * SECOND);
        settle(&young, START + 3 * SECOND);
    }
}

static void more_is_available_only_if_the_server_says_so(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 100);
    uint32_t follow;
    for (follow = RLM_FOLLOW; follow <= RLM_LEARN; follow++) {
        rlm_permit permit;
        limit.follow = follow;
        make(&limit, 1);
        hear(NULL, 100, 100, MINUTE, START);
        permit = take(100, START);
        hear(&permit, 1000, RLM_UNSAID, MINUTE, START);
        CHECK_EQ(in_force(0).amount, 1000);
        CHECK_SO(left(0, START) <= 0, "%s, 100 of 100 used, then 1000: left %" PRId64, follow_name[follow], left(0, START));
        CHECK_SO(left(0, START + 6 * SECOND) >= 99, "%s: refills at the new rate: left %" PRId64, follow_name[follow],
            left(0, START + 6 * SECOND));
        make(&limit, 1);
        hear(NULL, 100, 100, MINUTE, START);
        permit = take(100, START);
        hear(&permit, 1000, 500, MINUTE, START);
        CHECK_SO(left(0, START) <= 500 && left(0, START) >= 400, "%s, 100 of 100 used, then 500 of 1000: left %" PRId64,
            follow_name[follow],
                 left(0, START));
        hear(NULL, 30, RLM_UNSAID, MINUTE, START);
        CHECK_SO(left(0, START) <= 30, "%s: left %" PRId64 " of 30", follow_name[follow], left(0, START));
        hear(NULL, 1000, RLM_UNSAID, MINUTE, START); /* and back: no burst leaks */
        CHECK_SO(left(0, START) <= 30, "%s: left %" PRId64 ", was at most 30", follow_name[follow], left(0, START));
        (void)take(20, START);
        hear(NULL, 500, 0, MINUTE, START); /* with a change comes what remains, without a request */
        CHECK_SO(left(0, START) <= 0, "%s: 0 of 500 remain: left %" PRId64, follow_name[follow], left(0, START));
    }
}

static void a_window_or_quota_that_grows_has_as_much_as_is_said(void) {
    int kind;
    for (kind = AN_EXACT_WINDOW; kind < KINDS; kind++) {
        rlm_limit limit = limit_of(kind, 100);
        rlm_permit permit;
        limit.follow = RLM_FOLLOW;
        if (kind == AN_EXACT_WINDOW) limit.cells = 300;
        make(&limit, 1);
        permit = take(60, START);
        hear(&permit, 190, 20, MINUTE, START);
        CHECK_SO(in_force(0).amount == 190 && left(0, START) == 20, "%s: %" PRIu64 ", left %" PRId64, kind_name[kind],
            in_force(0).amount, left(0, START));
        hear(&permit, 50, RLM_UNSAID, MINUTE, START);
        CHECK_SO(left(0, START) <= 0, "%s: left %" PRId64, kind_name[kind], left(0, START));
    }
}

static void odd_amounts_do_no_harm(void) {
    static const uint64_t said[] = {0, 1, UINT64_C(1) << 40, (UINT64_C(1) << 40) + 1, UINT64_C(1) << 63, UINT64_MAX - 1,
        UINT64_MAX};
    uint32_t follow;
    int kind;
    size_t i, j;
    for (kind = 0; kind < KINDS; kind++)
        for (follow = RLM_SHRINK; follow <= RLM_LEARN; follow++)
            for (i = 0; i < sizeof said / sizeof *said; i++)
                for (j = 0; j < sizeof said / sizeof *said; j++) {
                    rlm_limit limit = limit_of(kind, 100);
                    rlm_permit permit;
                    limit.follow = follow;
                    make(&limit, 1);
                    permit = take(1, START);
                    hear(&permit, said[i], said[j], MINUTE, START);
                    hear(&permit, 60, RLM_UNSAID, MINUTE, START + SECOND);
                    CHECK_EQ(in_force(0).amount, follow == RLM_FIXED ? 100 : 60);
                    settle(&permit, START + SECOND);
                    CHECK_SO(wait_for(1, START + SECOND) <= 70 * SECOND,
                        "%s, %s, said %" PRIu64 " of %" PRIu64 ": wait %" PRIu64, kind_name[kind],
                             follow_name[follow], said[j], said[i], wait_for(1, START + SECOND));
                }
}

/* A server without delays whose limit flaps. Told of each change, the limiter admits nothing that the server
   would refuse; told by the next answer only, nothing but the first request after a change. */
static void a_flapping_limit_leaks_no_burst(void) {
    uint64_t seed = check_seed();
    uint32_t follow;
    int told;
    for (follow = RLM_SHRINK; follow <= RLM_LEARN; follow++)
        for (told = 0; told < 2; told++) {
            uint64_t random = seed, now_ns = START, admitted = 0, given = 0;
            rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 2000);
            server there;
            int flap;
            if (follow == RLM_FIXED) continue;
            limit.follow = follow;
            make(&limit, 1);
            server_make(&there, 2000, MINUTE, START);
            hear(NULL, 2000, 2000, MINUTE, START);
            for (flap = 0; flap < 10000; flap++) {
                uint64_t dt_ns = check_random(&random) % 200 * MS + check_random(&random) % 1000,
                    amount = 200 + check_random(&random) % 1800;
                bool news = true;
                int k;
                now_ns += dt_ns;
                given += there.amount * dt_ns / MS;
                server_change(&there, amount, now_ns);
                if (told) {
                    hear(NULL, amount, server_left(&there), MINUTE, now_ns);
                    news = false;
                }
                for (k = 0; k < 20; k++) {
                    rlm_cost cost = cost_of(1, 0, 0);
                    rlm_permit permit;
                    uint64_t wait_ns;
                    if (rlm_acquire(&limiter, &cost, now_ns, &permit) != 0) break;
                    wait_ns = server_take(&there, 1, now_ns);
                    CHECK_SO(wait_ns == 0 || news,
                        "%s, told %d, seed %" PRIu64 ", flap %d to %" PRIu64 ": %" PRIu64 " there, left here %" PRId64,
                             follow_name[follow], told, seed, flap, amount, server_left(&there), left(0, now_ns));
                    news = false;
                    if (wait_ns == 0) admitted++;
                    if (wait_ns == 0) hear(&permit, amount, server_left(&there), MINUTE, now_ns);
                    else refuse(&permit, 0, wait_ns, now_ns);
                    if (wait_ns == 0) settle(&permit, now_ns);
                    else CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
                }
            }
            given /= MINUTE / MS;
            CHECK_SO(admitted > given * (told ? 3 : 2) / 5,
                "%s, told %d, seed %" PRIu64 ": %" PRIu64 " admitted of %" PRIu64 " there were", follow_name[follow],
                told, seed,
                     admitted, given);
        }
}

/* Others take 20 now and then; then the limit changes a little, to a figure that is counted in other units. */
static void a_change_of_the_limit_does_not_change_what_others_took(void) {
    static const uint64_t amounts[] = {1009, 1000, 997, 1024, 960, 1009};
    size_t i, j;
    int k;
    for (i = 0; i < 6; i++)
        for (j = 0; j < 6; j++) {
            rlm_limit limit = rlm_per_minute(RLM_REQUESTS, amounts[i]);
            uint64_t now_ns = START;
            limit.follow = RLM_FOLLOW;
            make(&limit, 1);
            for (k = 0; k < 20; k++) {
                rlm_permit permit = take(1, now_ns);
                now_ns += SECOND;
                hear(&permit, amounts[i], amounts[i] - 21 * (uint64_t)(k + 1) + 16 * (uint64_t)k, MINUTE, now_ns);
                settle(&permit, now_ns);
            }
            hear(NULL, amounts[j], 800, MINUTE, now_ns);
            hear(NULL, amounts[j], 800, MINUTE, now_ns);
            CHECK_SO(left(0, now_ns) >= 600, "from %" PRIu64 " to %" PRIu64 ", 800 remain: left %" PRId64, amounts[i],
                amounts[j], left(0, now_ns));
        }
}

/* What the caller reconfigures is what is configured from then on. */
static void a_reconfigured_limit_is_the_one_configured(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 50);
    make(&limit, 1);
    limit = rlm_per_minute(RLM_REQUESTS, 100);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, START), RLM_OK);
    hear(NULL, 100, RLM_UNSAID, MINUTE, START);
    CHECK_EQ(in_force(0).amount, 100);
    limit = rlm_per_minute(RLM_REQUESTS, 20);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, START), RLM_OK);
    hear(NULL, 100, RLM_UNSAID, MINUTE, START);
    CHECK_EQ(in_force(0).amount, 20);
}

static void follow_is_checked_at_init(void) {
    rlm_limit limit = rlm_concurrent(5);
    limit.follow = RLM_LEARN;
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit = rlm_per_minute(RLM_REQUESTS, 5);
    limit.follow = RLM_I_FOLLOWS;
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit.follow = RLM_ADAPT;
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit = rlm_sliding(RLM_REQUESTS, 5, MINUTE);
    limit.follow = RLM_RAMP;
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit = rlm_per_minute(RLM_INPUT_TOKENS, 5);
    limit.follow = RLM_RAMP;
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit = rlm_adaptive(0, 5);
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit = rlm_adaptive(6, 5);
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_FOLLOW);
    limit = rlm_adaptive(5, 5);
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
    limit = rlm_ramp(0, MINUTE);
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_AMOUNT);
    limit = rlm_ramp(1, 0);
    CHECK_EQ(rlm_status_code(rlm_limiter_init(&limiter, &limit, 1, START)), RLM_E_PERIOD);
}

/* The limit was lowered below what is configured and comes back: what was available stays. */
static void a_limit_that_comes_back_brings_no_burst(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 100);
    rlm_permit permit;
    make(&limit, 1);
    hear(NULL, 40, 1, MINUTE, START);
    permit = take(1, START);
    hear(&permit, 100, 90, MINUTE, START);
    CHECK_SO(in_force(0).amount == 100 && left(0, START) <= 1,
        "%" PRIu64 ", left %" PRId64, in_force(0).amount, left(0, START));
    limit.follow = RLM_FOLLOW; /* of no request: what was sent since is not known */
    make(&limit, 1);
    hear(NULL, 100, 100, MINUTE, START);
    permit = take(100, START);
    hear(NULL, 1000, 900, MINUTE, START);
    CHECK_SO(in_force(0).amount == 1000 && left(0, START) <= 0,
        "%" PRIu64 ", left %" PRId64, in_force(0).amount, left(0, START));
}

static void a_burst_in_proportion_stays_in_bounds(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 10);
    limit.burst = 100;
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    hear(NULL, UINT64_C(1) << 39, RLM_UNSAID, MINUTE, START);
    CHECK_SO(in_force(0).amount == UINT64_C(1) << 39 && in_force(0).burst == RLM_AMOUNT_MAX, "%" PRIu64 ", burst %" PRIu64,
        in_force(0).amount, in_force(0).burst);
}

/* What is configured by hand is known. */
static void a_limit_to_be_learned_can_be_configured_instead(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    make(&limit, 1);
    limit = rlm_per_minute(RLM_REQUESTS, 50);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, START), RLM_OK);
    CHECK_EQ(in_force(0).amount, 50);
}

/* ---- Learning ----------------------------------------------------------------------------------- */

static void make_learned(void) {
    rlm_limit limits[2];
    limits[0] = rlm_learned(RLM_REQUESTS, MINUTE);
    limits[1] = rlm_learned(RLM_INPUT_TOKENS, MINUTE);
    make(limits, 2);
}

static void until_something_is_known_one_is_out(void) {
    rlm_cost cost = cost_of(1, 100, 0), nothing = cost_of(0, 0, 0), huge = cost_of(1, (UINT64_C(1) << 40) + 1, 0);
    rlm_permit first, second;
    rlm_limit limit;
    int binding = -2;
    make_learned();
    CHECK_EQ(rlm_check(&limiter, &cost, START, &binding), 0);
    CHECK_EQ(binding, -1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &first), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &second), RLM_ON_RELEASE);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + DAY, &second), RLM_ON_RELEASE);
    CHECK_EQ(rlm_acquire(&limiter, &nothing, START, &second), 0);
    CHECK_EQ(rlm_acquire(&limiter, &huge, START, &second), RLM_NEVER);
    CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), RLM_ON_RELEASE);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limit), RLM_E_UNKNOWN);
    CHECK(limit.amount == UINT64_C(1) << 30 && limit.follow == RLM_LEARN && limit.period_ns == MINUTE);
    hear(&first, 60, 59, MINUTE, START + SECOND);
    CHECK_EQ(in_force(0).amount, 60);
    CHECK_EQ(rlm_in_force(&limiter, 1, &limit), RLM_E_UNKNOWN);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + SECOND, &second), 0); /* open, though the first is not settled */
    CHECK_SO(left(0, START + SECOND) <= 58 && left(0, START + SECOND) >= 50, "left %" PRId64, left(0, START + SECOND));
    settle(&first, START + SECOND);
    settle(&second, START + SECOND);
}

/* Some servers tell what remains and never of what. */
static void a_learned_limit_is_not_merged_before_it_is_known(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    rlm_permit permit;
    uint64_t wait_ns, minute, i;
    make(&limit, 1);
    permit = take(1, START);
    hear(&permit, RLM_UNSAID, 5, MINUTE, START + SECOND);
    settle(&permit, START + SECOND);
    wait_ns = wait_for(1, START + SECOND);
    CHECK_SO(wait_ns <= MINUTE, "5 remain: wait %" PRIu64 " s", wait_ns / SECOND);
    hear(NULL, 60, 59, MINUTE, START + 2 * SECOND);
    CHECK_SO(wait_for(1, START + 2 * SECOND) == 0, "then 59 of 60: wait %" PRIu64 " s", wait_for(1,
        START + 2 * SECOND) / SECOND);
    make(&limit, 1);
    for (minute = 0; minute < 10; minute++) { /* the same for ten minutes; then it tells of what */
        permit = take(1, START + minute * MINUTE);
        hear(&permit, RLM_UNSAID, 5, MINUTE, START + minute * MINUTE + SECOND);
        settle(&permit, START + minute * MINUTE + SECOND);
    }
    for (i = 0; i < 3; i++) hear(NULL, 60, 59, MINUTE, START + 10 * MINUTE + i * SECOND);
    wait_ns = wait_for(1, START + 10 * MINUTE + 2 * SECOND);
    CHECK_SO(wait_ns <= SECOND, "after ten minutes 59 of 60: wait %" PRIu64 " s", wait_ns / SECOND);
}

static void whoever_waits_to_learn_is_told_which_limit_binds(void) {
    rlm_cost cost = cost_of(1, 100, 0);
    rlm_permit first;
    int binding = -2;
    make_learned();
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &first), 0);
    CHECK_EQ(rlm_check(&limiter, &cost, START, &binding), RLM_ON_RELEASE);
    CHECK_SO(binding == 0 || binding == 1, "binding %d", binding);
}

static void a_probe_that_fails_frees_its_place(void) {
    rlm_cost cost = cost_of(1, 100, 0);
    uint32_t outcome;
    for (outcome = RLM_SLOW_DOWN; outcome <= RLM_FAILED + 1; outcome++) { /* the last: cancelled without an answer */
        rlm_permit permit, second;
        rlm_feedback feedback = feedback_of(outcome);
        int i;
        make_learned();
        for (i = 0; i < 5; i++) {
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
            if (outcome <= RLM_FAILED) observe(&permit, &feedback, START);
            CHECK_EQ(rlm_acquire(&limiter, &cost, START, &second), RLM_ON_RELEASE);
            if (i % 2) CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
            else settle(&permit, START);
        }
    }
}

/* A probe refused by another limit takes no place; nor one that is larger than a limit. */
static void a_probe_that_is_not_admitted_takes_no_place(void) {
    rlm_limit limits[2];
    rlm_permit permit;
    rlm_cost cost = cost_of(1, 0, 0), much = cost_of(11, 0, 0);
    limits[0] = rlm_learned(RLM_REQUESTS, MINUTE);
    limits[1] = rlm_per_minute(RLM_REQUESTS, 10);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &much, START, &permit), RLM_NEVER);
    CHECK_EQ(rlm_debit(&limiter, &much, START), RLM_OK);
    CHECK(rlm_acquire(&limiter, &cost, START, &permit) > 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + MINUTE, &permit), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + MINUTE, &permit), RLM_ON_RELEASE);
}

static void without_figures_each_round_doubles(void) {
    static rlm_permit permit[4096];
    rlm_cost cost = cost_of(1, 10, 0);
    uint64_t round, i, out, now_ns = START;
    make_learned();
    for (round = 1; round <= 1024; round *= 2) {
        for (out = 0; out < 4096 && rlm_acquire(&limiter, &cost, now_ns, &permit[out]) == 0; out++) continue;
        CHECK_SO(out == round, "%" PRIu64 " out in the round of %" PRIu64, out, round);
        now_ns += SECOND;
        for (i = 0; i < out; i++) {
            answer(&permit[i], now_ns);
            settle(&permit[i], now_ns);
        }
    }
    for (out = 0; out < 4096 && rlm_acquire(&limiter, &cost, now_ns, &permit[out]) == 0; out++) continue;
    CHECK_EQ(out, 4096); /* free */
}

/* A server of 30 a minute that never says so. */
static void guess_a_limit(uint32_t kind) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE), guess;
    server there;
    uint64_t now_ns = START, refused = 0, late = 0, admitted = 0, end_ns = START + 60 * MINUTE;
    limit.kind = kind;
    make(&limit, 1);
    server_make(&there, 30, MINUTE, START);
    while (now_ns < end_ns) {
        rlm_cost cost = cost_of(1, 0, 0);
        rlm_permit permit;
        uint64_t wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit);
        CHECK(wait_ns < 2 * MINUTE);
        now_ns += wait_ns != 0 ? wait_ns : 50 * MS;
        if (wait_ns != 0) continue;
        if (server_take(&there, 1, now_ns) == 0) {
            admitted++;
            answer(&permit, now_ns);
            settle(&permit, now_ns);
        } else {
            refused++;
            late += now_ns > START + 30 * MINUTE;
            refuse(&permit, 0, RLM_UNSAID, now_ns);
            CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
            (void)rlm_in_force(&limiter, 0, &guess);
            CHECK_SO(refused > 1 || (guess.amount >= 15 && guess.amount <= 60),
                "30 admitted, then refused: the guess is %" PRIu64, guess.amount);
        }
    }
    CHECK_SO(refused <= 40 && late <= 20 && admitted >= 60 * 30 * 75 / 100,
        "an hour of 30 a minute: %" PRIu64 " admitted, %" PRIu64 " refused, %" PRIu64 " in the second half; in force %" PRIu64,
             admitted, refused, late, in_force(0).amount);
}

static void without_figures_a_refusal_is_a_guess(void) {
    guess_a_limit(RLM_BUCKET);
    guess_a_limit(RLM_WINDOW);
    guess_a_limit(RLM_CALENDAR);
}

/* What the server tells opens the way; what it does not tell of, it hardly has. */
static void a_limit_that_is_told_ends_the_probing(void) {
    rlm_limit limits[2];
    rlm_cost cost = cost_of(1, 100, 0);
    rlm_permit first, second, third;
    rlm_limit unknown;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 60);
    limits[1] = rlm_learned(RLM_INPUT_TOKENS, MINUTE);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &first), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &second), RLM_ON_RELEASE);
    hear(&first, 60, 59, MINUTE, START + SECOND);
    CHECK_EQ(rlm_in_force(&limiter, 1, &unknown), RLM_E_UNKNOWN);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + SECOND, &second), 0);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + SECOND, &third), 0);
}

/* Answers n probes one after the other. */
static void answer_probes(int n, uint64_t input, uint64_t now_ns) {
    rlm_cost cost = cost_of(1, input, 0);
    rlm_permit permit = {0};
    while (n-- > 0) {
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit), 0);
        answer(&permit, now_ns);
        settle(&permit, now_ns);
    }
}

/* How many are admitted at once, up to 100. */
static int admitted_at_once(uint64_t now_ns) {
    rlm_cost cost = cost_of(1, 1, 0);
    rlm_permit permit[100];
    int out = 0, i;
    while (out < 100 && rlm_acquire(&limiter, &cost, now_ns, &permit[out]) == 0) out++;
    for (i = 0; i < out; i++) CHECK_EQ(rlm_cancel(&limiter, &permit[i], now_ns), RLM_OK);
    return out;
}

static void while_nothing_is_known_a_refusal_halves_what_may_be_out(void) {
    uint32_t outcome;
    for (outcome = RLM_REFUSED; outcome <= RLM_FAILED; outcome++) {
        rlm_cost cost = cost_of(1, 0, 0);
        rlm_feedback feedback = feedback_of(outcome);
        rlm_permit permit = {0}, second = {0};
        int out, expected = outcome == RLM_REFUSED ? 4 : 8;
        make_learned();
        answer_probes(6, 0, START);
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
        answer(&permit, START); /* one that is answered is out until it is settled */
        for (out = 1; out < 100 && rlm_acquire(&limiter, &cost, START, &second) == 0; out++)
            if (out > 1) CHECK_EQ(rlm_check(&limiter, &cost, START, NULL) == 0, out < 7);
        CHECK_EQ(out, 8);
        make_learned();
        answer_probes(7, 0, START);
        CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
        feedback.retry_after_ns = SECOND;
        observe(&permit, &feedback, START);
        settle(&permit, START);
        out = admitted_at_once(START + SECOND);
        CHECK_SO(out == expected, "outcome %u: %d of 8", (unsigned)outcome, out);
    }
}

/* Two limits to be learned, of which one was guessed. */
static void a_guess_ends_the_probing(void) {
    rlm_cost cost = cost_of(1, 10, 0);
    rlm_permit permit = {0};
    rlm_limit unknown;
    make_learned();
    answer_probes(7, 100, START);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    refuse(&permit, 1u << RLM_INPUT_TOKENS, 30 * SECOND, START + SECOND);
    settle(&permit, START + SECOND);
    CHECK_EQ(rlm_in_force(&limiter, 0, &unknown), RLM_E_UNKNOWN);
    CHECK(in_force(1).amount >= 500);
    CHECK_EQ(admitted_at_once(START + 2 * MINUTE), 100);
}

/* Neither what is no limit here, nor what remains of nobody knows what. */
static void what_tells_no_limit_does_not_end_the_probing(void) {
    int i;
    for (i = 0; i < 2; i++) {
        rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
        rlm_feedback feedback = feedback_of(RLM_ANSWERED);
        rlm_permit permit;
        int out;
        make(&limit, 1);
        permit = take(1, START);
        read_of(&feedback, i == 0 ? RLM_CUSTOM : RLM_REQUESTS, i == 0 ? 100 : RLM_UNSAID, 99, MINUTE);
        observe(&permit, &feedback, START);
        settle(&permit, START);
        out = admitted_at_once(START);
        CHECK_SO(out == 2, "%s: %d at once", i == 0 ? "another meter" : "no limit", out);
    }
}

/* While one is out, a request larger than a limit is larger than it all the same. */
static void a_request_that_is_too_large_is_told_so_while_probing(void) {
    rlm_limit limits[2];
    rlm_cost much = cost_of(11, 0, 0);
    rlm_permit permit = {0};
    int binding = -2;
    limits[0] = rlm_learned(RLM_REQUESTS, MINUTE);
    limits[1] = rlm_per_minute(RLM_REQUESTS, 10);
    make(limits, 2);
    (void)take(1, START);
    CHECK_EQ(rlm_check(&limiter, &much, START, &binding), RLM_NEVER);
    CHECK_EQ(binding, 1);
    CHECK_EQ(rlm_acquire(&limiter, &much, START, &permit), RLM_NEVER);
}

/* Makes a limit to be learned and has one request answered every gap_ns, until span_ns after START. */
static void learn_slowly(uint32_t kind, uint64_t gap_ns, uint64_t span_ns) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    uint64_t now_ns;
    limit.kind = kind;
    make(&limit, 1);
    for (now_ns = START; now_ns < START + span_ns; now_ns += gap_ns) answer_probes(1, 0, now_ns);
}

/* What is in force after the next request is refused without a word; 0: nothing. */
static uint64_t guessed(uint64_t now_ns) {
    rlm_limit limit;
    rlm_permit permit = take(1, now_ns);
    refuse(&permit, 1u << RLM_REQUESTS, RLM_UNSAID, now_ns);
    CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
    if (rlm_in_force(&limiter, 0, &limit) != RLM_OK) return 0;
    CHECK_SO(limit.kind != RLM_BUCKET || limit.burst == limit.amount,
        "%" PRIu64 ", burst %" PRIu64, limit.amount, limit.burst);
    return limit.amount;
}

/* The first guess is what the server took, as a bucket with a burst of as much would have: 60 a minute in all these. */
static void the_first_guess_is_what_the_server_took(void) {
    uint64_t amount;
    learn_slowly(RLM_BUCKET, 400 * MS, 40 * SECOND); /* 60, and 40 in 40 s */
    amount = guessed(START + 40 * SECOND);
    CHECK_SO(amount >= 57 && amount <= 62, "100 in 40 s: %" PRIu64, amount);
    learn_slowly(RLM_BUCKET, 10 * SECOND, 1770 * SECOND); /* six a minute for half an hour, then 60 at once */
    answer_probes(60, 0, START + 1770 * SECOND);
    amount = guessed(START + 1770 * SECOND);
    CHECK_SO(amount >= 20 && amount <= 62, "6 a minute, then 60: %" PRIu64, amount);
    learn_slowly(RLM_BUCKET, MINUTE, 1); /* a hundred at once; later it refuses one of few */
    answer_probes(99, 0, START);
    answer_probes(1, 0, START + 130 * SECOND);
    amount = guessed(START + 140 * SECOND);
    CHECK_SO(amount >= 25 && amount <= 100, "100 at once, then few: %" PRIu64, amount);
    learn_slowly(RLM_WINDOW, MINUTE, 1); /* what these count is what was taken */
    answer_probes(99, 0, START);
    amount = guessed(START + 55 * SECOND);
    CHECK_SO(amount >= 95 && amount <= 100, "window: %" PRIu64, amount);
    learn_slowly(RLM_CALENDAR, MINUTE, 1);
    answer_probes(99, 0, START);
    amount = guessed(START + 55 * SECOND);
    CHECK_SO(amount >= 95 && amount <= 100, "quota: %" PRIu64, amount);
    learn_slowly(RLM_BUCKET, MINUTE, 1); /* too little to tell */
    CHECK_EQ(guessed(START + SECOND), 0);
}

/* Tokens are refused, which nobody counts here: the server's short waits do not end that. */
static void a_refusal_of_what_is_not_counted_here_waits_longer_each_time(void) {
    static const uint64_t longer_s[] = {5, 10, 20, 40, 40};
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    uint64_t now_ns = START, i, wait_ns;
    rlm_permit permit;
    make(&limit, 1);
    for (i = 0; i < 5; i++) {
        rlm_feedback feedback = feedback_of(RLM_REFUSED);
        permit = take(1, now_ns);
        feedback.named = 1u << RLM_INPUT_TOKENS;
        feedback.retry_after_ns = 50 * MS;
        read_of(&feedback, RLM_REQUESTS, 600, 599 - i, MINUTE);
        observe(&permit, &feedback, now_ns);
        settle(&permit, now_ns);
        wait_ns = wait_for(1, now_ns);
        CHECK_SO(wait_ns == longer_s[i] * SECOND, "refusal %" PRIu64 ": wait %" PRIu64 " ns", i, wait_ns);
        now_ns += wait_ns;
    }
    permit = take(1, now_ns);
    answer(&permit, now_ns);
    refuse(&permit, 1u << RLM_INPUT_TOKENS, 8 * SECOND, now_ns);
    CHECK_EQ(wait_for(1, now_ns), 8 * SECOND); /* after a good answer from 5 s again; the server's is longer */
}

static void read_period(uint64_t amount, uint64_t remaining, uint64_t reset_ns, uint64_t least_ns, uint64_t most_ns,
    uint64_t now_ns) {
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_reading *reading = read_of(&feedback, RLM_REQUESTS, amount, remaining, MINUTE);
    reading->reset_ns = reset_ns;
    reading->period_least_ns = least_ns;
    reading->period_most_ns = most_ns;
    observe(NULL, &feedback, now_ns);
}

static void a_period_is_inferred(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    uint64_t last = UINT64_MAX;
    int used;
    make(&limit, 1);
    read_period(10000, 9999, 8640 * MS, 86350 * SECOND, 86450 * SECOND, START);
    CHECK_EQ(in_force(0).period_ns, DAY);
    CHECK_EQ(in_force(0).amount, 10000);
    make(&limit, 1);
    for (used = 1; used <= 90; used++) { /* 100 in 5 s, told to the millisecond: known ever better */
        uint64_t reset_ms = (uint64_t)used * 50, least = (reset_ms * 1000 - 500) * 1000 * 100 / (uint64_t)used,
            most = (reset_ms * 1000 + 500) * 1000 * 100 / (uint64_t)used;
        read_period(100, (uint64_t)(100 - used), reset_ms * MS, least, most, START + (uint64_t)used * MS);
        CHECK_SO(in_force(0).period_ns <= last && in_force(0).period_ns >= 5 * SECOND, "after %d: %" PRIu64 " ns", used,
            in_force(0).period_ns);
        last = in_force(0).period_ns;
    }
    CHECK_SO(last <= 5 * SECOND + 5 * MS, "%" PRIu64 " ns", last);
    read_period(100, 50, 30 * SECOND, 59 * SECOND, 61 * SECOND, START + SECOND); /* it is another now */
    CHECK_EQ(in_force(0).period_ns, MINUTE);
    read_period(100, 50, 0, 61 * SECOND, 59 * SECOND, START + 2 * SECOND); /* nonsense */
    CHECK_SO(in_force(0).period_ns >= 58 * SECOND && in_force(0).period_ns <= 62 * SECOND, "%" PRIu64 " ns",
        in_force(0).period_ns);
    read_period(100, 50, 0, 0, 0, START + 3 * SECOND);
    read_period(100, 50, 0, RLM_UNSAID, RLM_UNSAID, START + 4 * SECOND);
    read_period(100, 50, 0, RLM_UNSAID, 0, START + 5 * SECOND);
    CHECK_SO(in_force(0).period_ns >= SECOND, "%" PRIu64 " ns", in_force(0).period_ns);
    read_period(100, 50, 30 * SECOND, 60 * SECOND, 60 * SECOND, START + 6 * SECOND); /* exact */
    CHECK_EQ(in_force(0).period_ns, MINUTE);
    CHECK_EQ(in_force(0).amount, 100);
}

/* A fixed minute of 1000 tells when it ends: read as a bucket's, its figures put the period anywhere. of_day: the reset
   is a time of day, which leaves the period without an upper bound. */
static void tell_fixed_minute(bool of_day, uint64_t since_ns, uint64_t now_ns) {
    uint64_t into_ns = (now_ns - since_ns) % MINUTE, used = into_ns / (75 * MS) + 1, reset_ns = MINUTE - into_ns;
    uint64_t slack_ns = of_day ? 2 * SECOND : MS, least = reset_ns > slack_ns ? (reset_ns - slack_ns) / used * 1000 : 0;
    uint64_t most = of_day || used < 2 ? RLM_UNSAID : (reset_ns + slack_ns) / (used - 1) * 1000;
    read_period(1000, 1000 - used, reset_ns, least, most, now_ns);
}

static void figures_that_are_not_a_bucket_s_are_not_believed(void) {
    int of_day;
    for (of_day = 0; of_day < 2; of_day++) {
        rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
        uint64_t i, right = 0, longest = 0;
        make(&limit, 1);
        for (i = 0; i < 4000; i++) { /* five minutes */
            uint64_t now_ns = START + i * 75 * MS, period_ns;
            tell_fixed_minute(of_day != 0, START, now_ns);
            period_ns = in_force(0).period_ns;
            CHECK_SO(period_ns >= MINUTE || i > 1, "answer %" PRIu64 ": %" PRIu64 " s", i, period_ns / SECOND);
            right += period_ns == MINUTE;
            longest = period_ns > longest ? period_ns : longest;
        }
        CHECK_SO(right > 3900 && longest <= DAY, "of day %d: right after %" PRIu64 " of 4000 answers, at most %" PRIu64 " s", of_day,
            right, longest / SECOND);
        limit = rlm_per_minute(RLM_REQUESTS, 1000); /* and of a limit that is known what remains is believed all the same */
        make(&limit, 1);
        for (i = 0; i < 100; i++) tell_fixed_minute(of_day != 0, START, START + i * 75 * MS);
        CHECK_SO(left(0, START + 100 * 75 * MS) <= 1000 - 100 + 1, "of day %d: left %" PRId64, of_day, left(0, START + 100 * 75 * MS));
    }
}

/* 1200 a minute were given, and the server gives them by the hundred in 5 s: as much, a smaller burst. A period
   that is longer is of another limit. */
static void a_limit_shrinks_to_a_shorter_period_too(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 1200);
    uint64_t rate;
    make(&limit, 1);
    read_period(100, 60, 2 * SECOND, 4990 * MS, 5010 * MS, START);
    limit = in_force(0);
    rate = limit.amount * MINUTE / limit.period_ns;
    CHECK_SO(limit.burst == 100 && rate >= 1190 && rate <= 1200, "burst %" PRIu64 ", %" PRIu64 " a minute", limit.burst, rate);
    read_period(50, 30, 2 * SECOND, 4990 * MS, 5010 * MS, START + SECOND);
    limit = in_force(0);
    rate = limit.amount * MINUTE / limit.period_ns;
    CHECK_SO(limit.burst == 50 && rate >= 595 && rate <= 602, "burst %" PRIu64 ", %" PRIu64 " a minute", limit.burst, rate);
    read_period(400, 390, 1 * SECOND, 4990 * MS, 5010 * MS, START + 2 * SECOND); /* faster than given: as given */
    limit = in_force(0);
    CHECK_SO(limit.burst == 400 && limit.amount == 1200 && limit.period_ns == MINUTE, "burst %" PRIu64, limit.burst);
    read_period(100, 99, 864 * SECOND, DAY - SECOND, DAY + SECOND, START + 3 * SECOND);
    CHECK_EQ(in_force(0).amount, 1200);
    CHECK_EQ(in_force(0).burst, 400);
}

static void a_period_of_years_is_not_inferred(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    make(&limit, 1);
    read_period(1000000000, 999999999, MINUTE, UINT64_C(1) << 54, RLM_UNSAID, START);
    CHECK_EQ(in_force(0).period_ns, MINUTE);
}

/* The reset of a time of day is told late; how far what is left was rounded is said,
   or it was to a whole. */
static void a_time_of_day_bounds_a_period_loosely(void) {
    static const struct { uint64_t limit, remaining, rounding, reset_s, least_s, period_s; } tries[] = {
        {1000, 500, 0, 1800, 3590, 3600}, {1000, 499, 0, 1603, 3200, 3600}, /* the second took 200 s */
        {20000, 19000, 500, 2592, 34500, 86400}, /* 600 are used */
        {10, 8, 0, 9072, 45300, 86400}, /* a little more than one is used */
        {1000, 999, 500, 4, 2600, 3600}, /* nothing may be used */
        {1000, 1100, 0, 1800, 3590, 3600}, /* nothing is */
        {100, 50, 0, UINT64_MAX / RLM_SECOND_NS, 3590, 3600}};
    size_t i;
    for (i = 0; i < sizeof tries / sizeof *tries; i++) {
        rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
        rlm_feedback feedback = feedback_of(RLM_ANSWERED);
        rlm_reading *reading = read_of(&feedback, RLM_REQUESTS, tries[i].limit, tries[i].remaining, MINUTE);
        if (i != 1) make(&limit, 1);
        reading->rounding = tries[i].rounding;
        reading->reset_ns = tries[i].reset_s < UINT64_MAX / SECOND ? tries[i].reset_s * SECOND : RLM_UNSAID;
        reading->period_least_ns = tries[i].least_s * SECOND;
        observe(NULL, &feedback, START);
        CHECK_SO(in_force(0).period_ns == tries[i].period_s * SECOND,
            "%d: %" PRIu64 " s", (int)i, in_force(0).period_ns / SECOND);
    }
}

/* A reset alone, of a window that ends with it, does not say how long the window is. */
static void a_bare_reset_does_not_tell_the_period(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    make(&limit, 1);
    read_of(&feedback, RLM_REQUESTS, 1000, 100, DAY)->reset_ns = MINUTE;
    observe(NULL, &feedback, START);
    CHECK_EQ(in_force(0).period_ns, DAY); /* the usual one there, not the usual one here */
}

/* 100 in 5 s, then 50 in 20 s, which is believed after 32 more of it that bound it on both sides. An exact one is at once. */
static void figures_that_contradict_those_before_are_believed_after_32(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    int i;
    make(&limit, 1);
    read_period(100, 50, 2500 * MS, 4900 * MS, 5100 * MS, START);
    CHECK_SO(in_force(0).period_ns <= 5100 * MS, "%" PRIu64, in_force(0).period_ns);
    read_period(50, 25, 10 * SECOND, 19900 * MS, 20100 * MS, START + SECOND);
    CHECK_EQ(in_force(0).amount, 50);
    for (i = 0; i < 40; i++) read_period(50, 49, 0, 0, RLM_HOUR_NS, START + SECOND); /* does not say much */
    for (i = 1; i <= 32; i++) {
        CHECK_SO(in_force(0).period_ns == MINUTE, "%d: %" PRIu64 " ms", i, in_force(0).period_ns / MS);
        read_period(50, 25, 10 * SECOND, 19900 * MS, 20100 * MS, START + 2 * SECOND);
    }
    CHECK_SO(in_force(0).period_ns >= 19900 * MS && in_force(0).period_ns <= 20100 * MS, "%" PRIu64 " ms",
        in_force(0).period_ns / MS);
    make(&limit, 1);
    read_period(100, 50, 30 * SECOND, MINUTE, MINUTE, START);
    read_period(100, 50, 31 * SECOND, 63 * SECOND, 63 * SECOND, START + SECOND);
    CHECK_EQ(in_force(0).period_ns, 63 * SECOND);
}

/* A period that was configured stays while the figures allow it; one they rule out gives way. */
static void a_configured_period_stays_while_the_figures_allow_it(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 100, 120 * SECOND);
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    read_period(90, 45, 40 * SECOND, 50 * SECOND, 130 * SECOND, START);
    CHECK_SO(in_force(0).amount == 90 && in_force(0).period_ns == 120 * SECOND,
        "%" PRIu64 " in %" PRIu64 " s", in_force(0).amount,
        in_force(0).period_ns / SECOND);
    read_period(80, 40, 15 * SECOND, 50 * SECOND, 70 * SECOND, START + SECOND);
    CHECK_SO(in_force(0).amount == 80 && in_force(0).period_ns == MINUTE, "%" PRIu64 " in %" PRIu64 " s", in_force(0).amount,
        in_force(0).period_ns / SECOND);
    limit = rlm_learned(RLM_REQUESTS, MINUTE); /* weeks are no usual period, but may be */
    make(&limit, 1);
    read_period(1000, 999, 1728 * SECOND, 20 * DAY, RLM_UNSAID, START);
    CHECK_EQ(in_force(0).period_ns, 20 * DAY);
    make(&limit, 1);
    read_period(1000, 1000, 0, 60 * DAY, 60 * DAY, START); /* nor is this inferred: it was said */
    CHECK_EQ(in_force(0).period_ns, 60 * DAY);
}

/* 1200 a minute were given; the server gives 100 in 5 s, and later 300 in 30 s. */
static void a_limit_that_shrank_is_found_again_at_another_period(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 1200);
    uint64_t rate;
    int i;
    make(&limit, 1);
    read_period(100, 60, 2 * SECOND, 4990 * MS, 5010 * MS, START);
    for (i = 0; i < 40; i++) read_period(300, 150, 15 * SECOND, 29900 * MS, 30100 * MS, START + SECOND);
    limit = in_force(0);
    rate = limit.amount * MINUTE / limit.period_ns;
    CHECK_SO(limit.burst == 300 && rate >= 590 && rate <= 602, "burst %" PRIu64 ", %" PRIu64 " a minute", limit.burst, rate);
}

/* ---- Ramp ------------------------------------------------------------------------------------------ */

static void make_ramp(uint64_t floor, uint64_t hold_ns) {
    rlm_limit limit = rlm_ramp(floor, hold_ns);
    make(&limit, 1);
}

static void slow_down(const rlm_permit *permit, uint64_t now_ns) {
    rlm_feedback feedback = feedback_of(RLM_SLOW_DOWN);
    observe(permit, &feedback, now_ns);
}

/* Sends as fast as it may, but not faster than one each gap_ns, and returns how many. */
static uint64_t send_for(uint64_t *now_ns, uint64_t span_ns, uint64_t gap_ns) {
    uint64_t end_ns = *now_ns + span_ns, sent = 0;
    while (*now_ns < end_ns) {
        rlm_cost cost = cost_of(1, 0, 0);
        rlm_permit permit;
        uint64_t wait_ns = rlm_acquire(&limiter, &cost, *now_ns, &permit);
        CHECK(wait_ns < DAY);
        *now_ns += wait_ns != 0 ? wait_ns : gap_ns;
        if (wait_ns != 0) continue;
        sent++;
        answer(&permit, *now_ns);
        settle(&permit, *now_ns);
    }
    return sent;
}

static void a_ramp_at_rest_admits_all(void) {
    rlm_limit limit;
    int i;
    make_ramp(10, RLM_RAMP_HOLD_NS);
    for (i = 0; i < 100000; i++) (void)take(1, START);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limit), RLM_E_UNKNOWN);
    CHECK_EQ(limit.amount, 10);
    hear(NULL, 5, 0, MINUTE, START); /* no reading is of a ramp, and no refusal */
    refuse(NULL, 1u << RLM_REQUESTS, MINUTE, START);
    CHECK_EQ(wait_for(1, START), 0);
}

static void a_ramp_goes_back_to_the_former_pace_and_climbs(void) {
    uint64_t now_ns = START, sent, rested_ns = 0, minute;
    rlm_limit limit;
    make_ramp(10, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 10 * MINUTE, SECOND);             /* 60 a minute, for long */
    CHECK(send_for(&now_ns, MINUTE, SECOND / 10) >= 590);     /* then 600 */
    slow_down(NULL, now_ns);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limit), RLM_OK);
    CHECK_SO(limit.amount >= 60 && limit.amount <= 240 && limit.period_ns == MINUTE,
        "%" PRIu64 " a minute after 60 and 600", limit.amount);
    sent = send_for(&now_ns, 14 * MINUTE, SECOND / 10);
    CHECK_SO(sent >= 14 * 60 - 10 && sent <= 14 * 240 + 20, "%" PRIu64 " in the 14 minutes of the hold", sent);
    for (minute = 0; minute < 40 && rested_ns == 0; minute++) {
        (void)send_for(&now_ns, MINUTE, SECOND / 10);
        if (rlm_in_force(&limiter, 0, &limit) == RLM_E_UNKNOWN) rested_ns = now_ns;
    }
    CHECK_SO(rested_ns != 0, "at %" PRIu64 " a minute 54 minutes after", limit.amount);
    CHECK(send_for(&now_ns, MINUTE, SECOND / 100) >= 5900);
}

static void however_often_it_is_told_a_ramp_keeps_its_floor(void) {
    static const struct { uint64_t floor, hold_ns; } tries[] = {{1, RLM_RAMP_HOLD_NS}, {10, RLM_RAMP_HOLD_NS}, {7,
        100 * SECOND}, {600, MINUTE}, {1, SECOND}};
    rlm_limit limit;
    size_t i;
    int k, busy;
    for (i = 0; i < sizeof tries / sizeof *tries; i++)
        for (busy = 0; busy < 2; busy++) {
            uint64_t now_ns = START, most_ns = (tries[i].hold_ns + tries[i].floor - 1) / tries[i].floor;
            make_ramp(tries[i].floor, tries[i].hold_ns);
            for (k = 0; k < 200; k++) (void)take(1, now_ns);
            for (k = 0; k < 1000; k++) {
                rlm_cost cost = cost_of(1, 0, 0);
                rlm_permit permit;
                now_ns += SECOND;
                slow_down(NULL, now_ns);
                CHECK_SO(wait_for(1, now_ns) <= most_ns,
                    "floor %" PRIu64 " in %" PRIu64 " s, told %d times, busy %d: wait %" PRIu64 " s", tries[i].floor,
                         tries[i].hold_ns / SECOND, k + 1, busy, wait_for(1, now_ns) / SECOND);
                if (busy && rlm_acquire(&limiter, &cost, now_ns, &permit) == 0) settle(&permit, now_ns);
            }
            /* and comes back from there, in an hour and a half after the hold */
            now_ns += tries[i].hold_ns;
            (void)send_for(&now_ns, 90 * MINUTE, SECOND / 4);
            CHECK_SO(rlm_in_force(&limiter, 0, &limit) == RLM_E_UNKNOWN,
                "floor %" PRIu64 " in %" PRIu64 " s: at %" PRIu64 " after 90 minutes", tries[i].floor,
                     tries[i].hold_ns / SECOND, in_force(0).amount);
        }
}

static void many_who_are_told_at_once_slow_down_once(void) {
    rlm_permit permit[50];
    uint64_t now_ns = START, pace;
    int i;
    make_ramp(1, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 5 * MINUTE, SECOND / 10);
    for (i = 0; i < 50; i++) permit[i] = take(1, now_ns);
    slow_down(&permit[0], now_ns + SECOND);
    pace = in_force(0).amount;
    for (i = 1; i < 50; i++) slow_down(&permit[i], now_ns + SECOND + (uint64_t)i * MS);
    CHECK_EQ(in_force(0).amount, pace);
    CHECK_SO(pace >= 150 && pace <= 500, "%" PRIu64 " a minute after 600", pace);
    now_ns += 10 * SECOND;
    permit[0] = take(1, now_ns);
    slow_down(&permit[0], now_ns + SECOND); /* one that was sent since counts */
    CHECK_SO(in_force(0).amount < pace || in_force(0).period_ns > MINUTE, "%" PRIu64 ", was %" PRIu64,
        in_force(0).amount, pace);
}

static void slow_down_soon_after_the_beginning_halves(void) {
    uint64_t now_ns = START, i;
    make_ramp(1, RLM_RAMP_HOLD_NS);
    for (i = 0; i < 5; i++) (void)take(1, START);
    slow_down(NULL, START + MS); /* 5 in less than a second: at most 300 a minute */
    CHECK_SO(in_force(0).amount >= 100 && in_force(0).amount <= 225, "%" PRIu64 " a minute", in_force(0).amount);
    make_ramp(1, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 30 * SECOND, SECOND / 10);
    slow_down(NULL, now_ns);
    CHECK_SO(in_force(0).amount >= 280 && in_force(0).amount <= 320,
        "%" PRIu64 " a minute after 30 s of 600", in_force(0).amount);
    now_ns += 10 * SECOND; /* what a second brings goes at once */
    for (i = 0; i < 50 && wait_for(1, now_ns) == 0; i++) (void)take(1, now_ns);
    CHECK_SO(i >= 5 && i <= 6, "%" PRIu64 " at once", i);
}

/* Not less than a quarter of what it is now, not more than three quarters; a second time of what it was held at. */
static void slow_down_goes_back_by_a_quarter_to_three_quarters(void) {
    uint64_t now_ns = START, held;
    rlm_permit permit;
    make_ramp(1, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 20 * MINUTE, 10 * SECOND); /* six a minute */
    (void)send_for(&now_ns, MINUTE, SECOND / 100);     /* then 6000 */
    slow_down(NULL, now_ns);
    CHECK_SO(in_force(0).amount >= 1400 && in_force(0).amount <= 4600,
        "%" PRIu64 " a minute after 6 and 6000", in_force(0).amount);
    make_ramp(1, RLM_RAMP_HOLD_NS);
    now_ns = START;
    (void)send_for(&now_ns, 10 * MINUTE, SECOND / 10);
    slow_down(NULL, now_ns);
    held = in_force(0).amount;
    CHECK_SO(held >= 430 && held <= 460, "%" PRIu64 " a minute after 600", held);
    now_ns += SECOND;
    permit = take(1, now_ns);
    slow_down(&permit, now_ns + SECOND);
    CHECK_SO(in_force(0).amount <= held * 3 / 4 + 1, "from %" PRIu64 " to %" PRIu64, held, in_force(0).amount);
}

static void a_ramp_works_with_a_clock_that_begins_at_zero(void) {
    rlm_limit limit = rlm_ramp(1, RLM_RAMP_HOLD_NS);
    uint64_t now_ns = 0;
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, 0), RLM_OK);
    (void)send_for(&now_ns, 2 * MINUTE, SECOND / 10);
    slow_down(NULL, now_ns);
    CHECK_SO(in_force(0).amount >= 400, "%" PRIu64 " a minute after 600", in_force(0).amount);
}

/* A quarter a minute, up to twice the pace that was too fast. */
static void a_ramp_climbs_a_quarter_a_minute(void) {
    uint64_t now_ns = START, was, most = 0, minute;
    rlm_limit limit;
    make_ramp(1, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 5 * MINUTE, SECOND / 10);
    slow_down(NULL, now_ns);
    was = in_force(0).amount;
    now_ns += RLM_RAMP_HOLD_NS - MINUTE;
    for (minute = 0; minute < 20; minute++) {
        (void)send_for(&now_ns, MINUTE, SECOND / 4);
        if (rlm_in_force(&limiter, 0, &limit) != RLM_OK) break;
        CHECK_SO(limit.amount <= was + was / 4 + 1, "from %" PRIu64 " to %" PRIu64 " in a minute", was, limit.amount);
        most = was = limit.amount;
    }
    CHECK_SO(most >= 900 && most <= 1200, "%" PRIu64 " before it rested, after 600 were too fast", most);
}

/* A pace that rounds to the floor, or is below it, becomes what was given: so many in so long. */
static void the_floor_of_a_ramp_is_what_was_given(void) {
    uint64_t now_ns = START;
    make_ramp(10, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 10 * MINUTE, MINUTE);
    slow_down(NULL, now_ns);
    CHECK_SO(in_force(0).amount == 10 && in_force(0).period_ns == RLM_RAMP_HOLD_NS,
        "%" PRIu64 " in %" PRIu64 " s", in_force(0).amount,
        in_force(0).period_ns / SECOND);
}

/* ---- Adaptive concurrency --------------------------------------------------------------------------- */

static uint64_t cap(void) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, 0, &usage, START), RLM_OK);
    return usage.limit;
}

/* A server that works on K requests at once, each for 80 to 120 ms, and lets others wait in line; a client that
   always has more to send. Returns the cap at the end. */
static uint64_t adapt_to(uint64_t workers, uint64_t least, uint64_t most, uint64_t seed, uint64_t answers) {
    static rlm_permit permit[2048];
    static uint64_t done_ns[2048], free_ns[2048];
    static bool busy[2048];
    rlm_limit limit = rlm_adaptive((uint32_t)least, (uint32_t)most);
    rlm_cost cost = cost_of(1, 0, 0);
    uint64_t random = seed, now_ns = START, i, k, got;
    limit.burst = least;
    make(&limit, 1);
    CHECK_EQ(cap(), least);
    for (i = 0; i < 2048; i++) {
        busy[i] = false;
        free_ns[i] = START;
    }
    for (got = 0; got < answers; got++) {
        uint64_t first = 2048;
        for (i = 0; i < 2048; i++) { /* fill */
            uint64_t worker = 0;
            if (busy[i]) continue;
            if (rlm_acquire(&limiter, &cost, now_ns, &permit[i]) != 0) break;
            busy[i] = true;
            for (k = 1; k < workers; k++)
                if (free_ns[k] < free_ns[worker]) worker = k;
            done_ns[i] = (free_ns[worker] > now_ns ? free_ns[worker] : now_ns) + 80 * MS + check_random(&random) % (40 * MS);
            free_ns[worker] = done_ns[i];
        }
        for (i = 0; i < 2048; i++)
            if (busy[i] && (first == 2048 || done_ns[i] < done_ns[first])) first = i;
        CHECK_SO(first < 2048, "%" PRIu64 " workers: nothing is out, and nothing is admitted", workers);
        now_ns = done_ns[first];
        answer(&permit[first], now_ns);
        settle(&permit[first], now_ns);
        busy[first] = false;
        CHECK_SO(cap() >= least && cap() <= most, "%" PRIu64 " workers: cap %" PRIu64, workers, cap());
    }
    return cap();
}

static void a_cap_finds_what_the_server_can_do(void) {
    static const uint64_t workers[] = {1, 10, 100};
    uint64_t seed = check_seed(), i, s, end;
    for (i = 0; i < 3; i++)
        for (s = 0; s < 4; s++) {
            end = adapt_to(workers[i], 1, 1000, seed + s, 10000 + 100 * workers[i]);
            CHECK_SO(end >= workers[i] && end <= 3 * workers[i],
                "%" PRIu64 " workers, seed %" PRIu64 ": ends at %" PRIu64, workers[i], seed + s, end);
        }
    CHECK_EQ(adapt_to(100, 5, 20, seed, 5000), 20);
    CHECK_EQ(adapt_to(1, 5, 20, seed, 5000) >= 5, 1);
}

static void a_cap_stays_in_its_bounds_under_anything(void) {
    uint64_t seed = check_seed(), random = seed, now_ns = START;
    rlm_limit limit = rlm_adaptive(3, 77);
    rlm_cost cost = cost_of(1, 0, 0);
    static rlm_permit permit[80];
    static bool out[80];
    int k, i;
    make(&limit, 1);
    memset(out, 0, sizeof out);
    for (k = 0; k < 50000; k++) {
        rlm_feedback feedback = feedback_of((uint32_t)(check_random(&random) % 5));
        if (check_random(&random) % 4 != 0) feedback.outcome = RLM_ANSWERED;
        if (feedback.outcome == RLM_REFUSED) feedback.named = RLM_NAMED_CONCURRENCY;
        now_ns += check_random(&random) % SECOND;
        i = (int)(check_random(&random) % 80);
        if (!out[i]) {
            out[i] = rlm_acquire(&limiter, &cost, now_ns, &permit[i]) == 0;
        } else {
            observe(&permit[i], &feedback,
                now_ns - (check_random(&random) % 8 == 0 ? check_random(&random) % (2 * SECOND) : 0));
            settle(&permit[i], now_ns);
            out[i] = false;
        }
        CHECK_SO(cap() >= 3 && cap() <= 77, "seed %" PRIu64 ", step %d: cap %" PRIu64, seed, k, cap());
    }
}

/* Sends as many as it may, waits for all, and so on; delays never rise. */
static void grow_in_batches(uint64_t *now_ns) {
    static rlm_permit permit[200];
    rlm_cost cost = cost_of(1, 0, 0);
    uint64_t round, out, i;
    for (round = 0; round < 400; round++) {
        for (out = 0; out < 200 && rlm_acquire(&limiter, &cost, *now_ns, &permit[out]) == 0; out++) continue;
        *now_ns += SECOND;
        for (i = 0; i < out; i++) {
            answer(&permit[i], *now_ns);
            settle(&permit[i], *now_ns);
        }
    }
}

/* As many as it may at any time; delays never rise. */
static void grow_in_a_stream(uint64_t *now_ns) {
    static rlm_permit permit[256];
    rlm_cost cost = cost_of(1, 0, 0);
    uint64_t first = 0, next = 0, step;
    for (step = 0; step < 20000; step++) {
        if (next - first < 256 && rlm_acquire(&limiter, &cost, *now_ns, &permit[next % 256]) == 0) {
            next++;
            *now_ns += MS;
            continue;
        }
        if (*now_ns < permit[first % 256].since_ns + SECOND) *now_ns = permit[first % 256].since_ns + SECOND;
        answer(&permit[first % 256], *now_ns);
        settle(&permit[first++ % 256], *now_ns);
    }
    while (first < next) {
        answer(&permit[first % 256], *now_ns);
        settle(&permit[first++ % 256], *now_ns);
    }
}

static void a_cap_grows_while_delays_do_not_rise(void) {
    uint64_t now_ns = START;
    rlm_limit limit = rlm_adaptive(2, 150);
    make(&limit, 1);
    grow_in_a_stream(&now_ns);
    CHECK_SO(cap() == 150, "cap %" PRIu64, cap());
}

static void a_cap_grows_under_batches(void) {
    uint64_t now_ns = START;
    rlm_limit limit = rlm_adaptive(2, 150);
    make(&limit, 1);
    grow_in_batches(&now_ns);
    CHECK_SO(cap() == 150, "cap %" PRIu64, cap());
}

static void overload_shrinks_a_cap_once_a_round_trip(void) {
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit[200];
    rlm_feedback feedback = feedback_of(RLM_OVERLOADED);
    rlm_limit limit = rlm_adaptive(2, 150);
    uint64_t now_ns = START, was, out = 0, i;
    make(&limit, 1);
    grow_in_a_stream(&now_ns);
    was = cap();
    CHECK_SO(was > 100, "cap %" PRIu64, was);
    for (out = 0; out < 200 && rlm_acquire(&limiter, &cost, now_ns, &permit[out]) == 0; out++) continue;
    now_ns += SECOND;
    for (i = 0; i < out; i++) {
        observe(&permit[i], &feedback, now_ns + i * MS);
        settle(&permit[i], now_ns + i * MS);
    }
    CHECK_SO(cap() >= was / 2 && cap() < was * 8 / 10,
        "%" PRIu64 " overloads of one moment: from %" PRIu64 " to %" PRIu64, out, was, cap());
    for (i = 0; i < 100; i++) { /* one round trip after the other: to the least, and not below */
        now_ns += SECOND;
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit[0]), 0);
        observe(&permit[0], &feedback, now_ns + MS);
        settle(&permit[0], now_ns + MS);
    }
    CHECK_EQ(cap(), 2);
}

static void a_cap_does_not_grow_when_idle(void) {
    rlm_limit limit = rlm_adaptive(8, 100);
    uint64_t now_ns = START;
    int i;
    make(&limit, 1);
    for (i = 0; i < 5000; i++) {
        rlm_permit permit = take(1, now_ns);
        now_ns += 10 * MS;
        answer(&permit, now_ns);
        settle(&permit, now_ns);
    }
    CHECK_EQ(cap(), 8);
}

/* A server that takes five at a time and refuses the sixth: it is found out once, and tried again after ten minutes. */
static void a_cap_stays_below_what_was_refused(void) {
    rlm_limit limit = rlm_adaptive(1, 64);
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit[64];
    uint64_t now_ns = START, end_ns = START + 9 * MINUTE;
    int i, out, refused = 0, rounds = 0;
    make(&limit, 1);
    for (; now_ns < end_ns; now_ns += SECOND, rounds++) {
        for (out = 0; out < 64 && rlm_acquire(&limiter, &cost, now_ns, &permit[out]) == 0;) out++;
        CHECK(out > 0);
        for (i = 0; i < out; i++) {
            if (i < 5) answer(&permit[i], now_ns + SECOND / 2);
            else refuse(&permit[i], RLM_NAMED_CONCURRENCY, RLM_UNSAID, now_ns + SECOND / 2);
            refused += i >= 5;
            CHECK_EQ(rlm_cancel(&limiter, &permit[i], now_ns + SECOND / 2), RLM_OK);
        }
    }
    CHECK_SO(refused <= 3 && cap() == 5, "%d refused in %d rounds, cap %" PRIu64, refused, rounds, cap());
}

static void a_fixed_cap_gives_way_to_a_refusal_that_names_it(void) {
    rlm_limit limit = rlm_concurrent(20);
    rlm_permit permit[20];
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    uint32_t follow;
    int i;
    for (follow = RLM_SHRINK; follow <= RLM_FIXED; follow++) {
        limit.follow = follow;
        make(&limit, 1);
        for (i = 0; i < 11; i++) permit[i] = take(1, START);
        feedback.named = RLM_NAMED_CONCURRENCY;
        observe(&permit[10], &feedback, START);
        CHECK_EQ(cap(), follow == RLM_FIXED ? 20 : 10);
        for (i = 0; i < 11; i++) settle(&permit[i], START);
        CHECK_SO(wait_for(1, START) == 0 || wait_for(1, START) < MINUTE, "wait %" PRIu64, wait_for(1, START));
    }
}

/* RLM_SHRINK: and back up to what was configured, once the server has room again. */
static void a_lowered_cap_comes_back(void) {
    rlm_limit limit = rlm_concurrent(20);
    rlm_permit permit[20];
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    uint64_t now_ns = START, minute, i, out;
    make(&limit, 1);
    feedback.named = RLM_NAMED_CONCURRENCY;
    for (i = 0; i < 11; i++) permit[i] = take(1, START);
    observe(&permit[10], &feedback, START);
    for (i = 0; i < 11; i++) settle(&permit[i], START);
    now_ns += MINUTE;
    for (minute = 0; minute < 240; minute++) { /* four hours of good answers, all that may be out is out */
        rlm_cost cost = cost_of(1, 0, 0);
        for (out = 0; out < 20 && rlm_acquire(&limiter, &cost, now_ns, &permit[out]) == 0; out++) continue;
        now_ns += MINUTE;
        for (i = 0; i < out; i++) {
            answer(&permit[i], now_ns);
            settle(&permit[i], now_ns);
        }
    }
    CHECK_SO(cap() > 12 && cap() <= 20, "of 20, lowered to 10, four hours later: %" PRIu64, cap());
}

/* Rounds of a cap: as many as it may at once, answered after delay_ns, and so on. */
static void run_rounds(int rounds, uint64_t delay_ns, uint64_t *now_ns) {
    static rlm_permit permit[2048];
    rlm_cost cost = cost_of(1, 0, 0);
    uint64_t out, i;
    while (rounds-- > 0) {
        for (out = 0; out < 2048 && rlm_acquire(&limiter, &cost, *now_ns, &permit[out]) == 0; out++) continue;
        *now_ns += delay_ns;
        for (i = 0; i < out; i++) answer(&permit[i], *now_ns);
        for (i = 0; i < out; i++) settle(&permit[i], *now_ns);
    }
}

/* As many as it may at any time, each answered after delay_ns, until end_ns. */
static void stream_until(uint64_t end_ns, uint64_t delay_ns, uint64_t *now_ns) {
    static rlm_permit permit[256];
    rlm_cost cost = cost_of(1, 0, 0);
    uint64_t first = 0, next = 0;
    while (*now_ns < end_ns || first < next) {
        while (*now_ns < end_ns && next - first < 256 &&
               rlm_acquire(&limiter, &cost, *now_ns, &permit[next % 256]) == 0) next++;
        CHECK(first < next);
        if (*now_ns < permit[first % 256].since_ns + delay_ns) *now_ns = permit[first % 256].since_ns + delay_ns;
        answer(&permit[first % 256], *now_ns);
        settle(&permit[first++ % 256], *now_ns);
    }
}

static void make_adaptive(uint32_t least, uint32_t most, uint64_t begin) {
    rlm_limit limit = rlm_adaptive(least, most);
    limit.burst = begin;
    make(&limit, 1);
}

static void a_cap_begins_and_ends_within_its_bounds(void) {
    uint64_t now_ns = START;
    rlm_limit limit = rlm_adaptive(20, 100);
    make(&limit, 1);
    CHECK_EQ(cap(), 20);
    run_rounds(40, 100 * MS, &now_ns);
    CHECK_EQ(cap(), 100);
    limit = rlm_adaptive(20, 50);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, now_ns), RLM_OK);
    CHECK_EQ(cap(), 50);
}

/* By half until it first did not help, or was too much; then by an eighth. */
static void a_cap_grows_by_half_until_it_does_not_help(void) {
    uint64_t now_ns = START, was;
    rlm_feedback feedback = feedback_of(RLM_OVERLOADED);
    make_adaptive(2, 2000, 16);
    run_rounds(1, 100 * MS, &now_ns);
    CHECK_EQ(cap(), 25);
    run_rounds(1, 200 * MS, &now_ns); /* twice as long: it stays */
    CHECK_EQ(cap(), 25);
    run_rounds(1, 100 * MS, &now_ns);
    CHECK_SO(cap() > 25 && cap() <= 29, "cap %" PRIu64, cap());
    make_adaptive(2, 2000, 16);
    run_rounds(2, 100 * MS, &now_ns);
    CHECK_EQ(cap(), 38);
    observe(NULL, &feedback, now_ns); /* of no request: it counts */
    was = cap();
    CHECK_SO(was >= 24 && was <= 28, "cap %" PRIu64, was);
    run_rounds(1, 100 * MS, &now_ns);
    CHECK_SO(cap() > was && cap() <= was + was / 8 + 1, "from %" PRIu64 " to %" PRIu64, was, cap());
    feedback.outcome = RLM_SLOW_DOWN;
    was = cap();
    observe(NULL, &feedback, now_ns);
    CHECK_SO(cap() < was * 8 / 10, "told to slow down at %" PRIu64 ": cap %" PRIu64, was, cap());
}

/* The shortest delays count, not the first: a server that was slow to wake is no measure. */
static void a_cap_compares_with_the_shortest_delays(void) {
    uint64_t now_ns = START;
    make_adaptive(2, 2000, 16);
    run_rounds(1, SECOND, &now_ns);
    run_rounds(1, 100 * MS, &now_ns);
    CHECK_EQ(cap(), 38);
    run_rounds(3, 200 * MS, &now_ns);
    CHECK_EQ(cap(), 38);
}

static void sixty_four_answers_are_a_round(void) {
    static rlm_permit permit[500];
    int i;
    make_adaptive(2, 2000, 500);
    for (i = 0; i < 500; i++) permit[i] = take(1, START);
    for (i = 499; i >= 436; i--) answer(&permit[i], START + 100 * MS);
    CHECK_SO(cap() == 751, "cap %" PRIu64, cap());
}

/* Requests become longer, little by little or at once: the cap does not stay down. */
static void a_cap_gets_used_to_longer_requests(void) {
    uint64_t now_ns = START, delay_ns = 100 * MS;
    int i;
    make_adaptive(2, 150, 8);
    for (i = 0; i < 600; i++, delay_ns += delay_ns / 200) run_rounds(1, delay_ns, &now_ns);
    CHECK_SO(cap() == 150, "twenty times as long in 600 rounds: cap %" PRIu64, cap());
    make_adaptive(2, 150, 8);
    now_ns = START;
    stream_until(START + MINUTE, 100 * MS, &now_ns);
    CHECK_EQ(cap(), 150);
    stream_until(START + 60 * MINUTE, SECOND, &now_ns);
    CHECK_SO(cap() >= 100, "ten times as long at once: cap %" PRIu64, cap());
}

/* Answers that were long on their way, to requests of before, are not of this round. */
static void answers_of_a_round_before_do_not_count(void) {
    rlm_permit slow[16];
    uint64_t now_ns = START, was, i;
    make_adaptive(2, 150, 64);
    for (i = 0; i < 16; i++) slow[i] = take(1, now_ns);
    run_rounds(10, 100 * MS, &now_ns);
    was = cap();
    now_ns += 10 * SECOND;
    for (i = 0; i < 16; i++) answer(&slow[i], now_ns);
    for (i = 0; i < 16; i++) answer(&slow[i], now_ns);
    for (i = 0; i < 16; i++) answer(&slow[i], now_ns);
    for (i = 0; i < 16; i++) answer(&slow[i], now_ns);
    CHECK_SO(cap() == was, "from %" PRIu64 " to %" PRIu64, was, cap());
}

/* What was sent before the last refusal does not count; it does not move that moment either. */
static void a_refusal_of_before_is_not_counted_again(void) {
    rlm_permit permit[100], since;
    uint64_t i;
    make_adaptive(2, 150, 100);
    for (i = 0; i < 100; i++) permit[i] = take(1, START);
    refuse(&permit[99], RLM_NAMED_CONCURRENCY, RLM_UNSAID, START + SECOND);
    CHECK_EQ(cap(), 70);
    for (i = 0; i < 50; i++) {
        answer(&permit[i], START + SECOND);
        settle(&permit[i], START + SECOND);
    }
    since = take(1, START + SECOND + 500 * MS);
    refuse(&permit[98], RLM_NAMED_CONCURRENCY, RLM_UNSAID, START + 2 * SECOND);
    CHECK_EQ(cap(), 70);
    refuse(&since, RLM_NAMED_CONCURRENCY, RLM_UNSAID, START + 3 * SECOND);
    CHECK_SO(cap() < 50, "sent since, and the 51st: cap %" PRIu64, cap());
}

/* Some at once to a server that takes so many at a time. Returns how many it refused. */
static int batch_of(int most, uint64_t *now_ns) {
    rlm_permit permit[64];
    rlm_cost cost = cost_of(1, 0, 0);
    int out, i;
    for (out = 0; out < 64 && rlm_acquire(&limiter, &cost, *now_ns, &permit[out]) == 0;) out++;
    *now_ns += 500 * MS;
    for (i = 0; i < out; i++) {
        if (i < most) answer(&permit[i], *now_ns);
        else refuse(&permit[i], RLM_NAMED_CONCURRENCY, RLM_UNSAID, *now_ns);
        CHECK_EQ(rlm_cancel(&limiter, &permit[i], *now_ns), RLM_OK);
    }
    *now_ns += 500 * MS;
    return out > most ? out - most : 0;
}

/* A number that was refused is passed after ten minutes, by 1, 2, 4 ..., even by a server that would take any number by then. */
static void a_cap_passes_what_was_refused_in_ten_minutes(void) {
    uint64_t now_ns = START, minutes, most = 5, step = 1;
    rlm_permit alone;
    make_adaptive(1, 60, 8);
    CHECK_EQ(batch_of(5, &now_ns), 3); /* the sixth to the eighth, in that order */
    CHECK_SO(cap() <= 5, "cap %" PRIu64, cap());
    alone = take(1, now_ns); /* refused alone: that tells no number */
    refuse(&alone, RLM_NAMED_CONCURRENCY, RLM_UNSAID, now_ns);
    settle(&alone, now_ns);
    for (minutes = 1; minutes <= 90; minutes++) {
        stream_until(START + minutes * MINUTE, 500 * MS, &now_ns);
        if ((minutes + 1) % 10 == 0) {
            most += step;
            step *= 2;
        }
        CHECK_SO(cap() <= most, "after %" PRIu64 " minutes: cap %" PRIu64, minutes, cap());
    }
    CHECK_SO(cap() == 60, "after 90 minutes: cap %" PRIu64, cap());
}

/* All leave at once, and arrive in any order: the number sent second may be refused, of a server that holds sixteen. */
static void a_wave_out_of_order_teaches_what_the_server_holds(void) {
    uint64_t seed = check_seed(), random = seed, run;
    for (run = 0; run < 20; run++) {
        rlm_permit permit[32];
        uint64_t now_ns = START + SECOND, i;
        bool held[32] = {false};
        make_adaptive(1, 64, 32);
        for (i = 0; i < 32; i++) permit[i] = take(1, START);
        for (i = 0; i < 16;) {
            uint64_t one = check_random(&random) % 32;
            if (!held[one]) held[one] = true, i++;
        }
        for (i = 0; i < 32; i++)
            if (!held[i]) {
                refuse(&permit[i], RLM_NAMED_CONCURRENCY, RLM_UNSAID, now_ns);
                settle(&permit[i], now_ns);
                now_ns += MS;
            }
        for (i = 0; i < 32; i++)
            if (held[i]) {
                answer(&permit[i], now_ns);
                settle(&permit[i], now_ns);
            }
        stream_until(now_ns + MINUTE, 200 * MS, &now_ns);
        CHECK_SO(cap() == 16, "run %" PRIu64 ", seed %" PRIu64 ": cap %" PRIu64, run, seed, cap());
    }
}

/* Others hold all places: one at a time tries, ever more seldom. */
static void a_cap_that_cannot_go_lower_waits(void) {
    int kind;
    for (kind = 0; kind < 3; kind++) {
        rlm_limit limit = kind == 0 ? rlm_adaptive(1, 64) : rlm_concurrent(kind == 1 ? 1 : 20);
        uint64_t now_ns = START, sent = 0;
        if (kind == 2) limit.follow = RLM_FIXED;
        make(&limit, 1);
        for (; now_ns < START + MINUTE; now_ns += 10 * MS) {
            rlm_cost cost = cost_of(1, 0, 0);
            rlm_permit permit;
            if (rlm_acquire(&limiter, &cost, now_ns, &permit) != 0) continue;
            sent++;
            refuse(&permit, RLM_NAMED_CONCURRENCY, RLM_UNSAID, now_ns + MS);
            settle(&permit, now_ns + MS);
        }
        CHECK_SO(sent <= 12, "%d: %" PRIu64 " sent in a minute", kind, sent);
    }
}

/* 599 of 600 remain, says a refusal: then it is something else that is spent. */
static void a_refusal_that_its_figures_do_not_explain_waits(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    uint64_t now_ns = START, sent = 0;
    make(&limit, 1);
    for (; now_ns < START + MINUTE; now_ns += 10 * MS) {
        rlm_feedback feedback = feedback_of(RLM_REFUSED);
        rlm_permit permit;
        if (wait_for(1, now_ns) != 0) continue;
        permit = take(1, now_ns);
        sent++;
        feedback.named = 1u << RLM_REQUESTS;
        read_of(&feedback, RLM_REQUESTS, 600, 599, MINUTE);
        observe(&permit, &feedback, now_ns + MS);
        settle(&permit, now_ns + MS);
    }
    CHECK_SO(sent <= 4, "%" PRIu64 " sent in a minute", sent);
}

static void a_limit_of_nothing_is_not_believed(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    rlm_permit permit;
    make(&limit, 1);
    permit = take(1, START);
    hear(&permit, 0, 0, MINUTE, START + SECOND);
    settle(&permit, START + SECOND);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limit), RLM_E_UNKNOWN);
    CHECK_EQ(wait_for(1, START + SECOND), 0);
}

/* Of 2 requests the first answer tells little: between one and four seconds. The longer, until more is known. */
static void a_period_that_may_be_several_is_the_longest(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    make(&limit, 1);
    read_period(2, 1, 500 * MS, 990 * MS, 4 * SECOND, START);
    CHECK_EQ(in_force(0).period_ns, 4 * SECOND);
    read_period(2, 1, 950 * MS, 1900 * MS, 4 * SECOND, START + SECOND);
    read_period(2, 1, 990 * MS, 1990 * MS, 2010 * MS, START + 2 * SECOND);
    CHECK_SO(in_force(0).period_ns >= 1990 * MS && in_force(0).period_ns <= 2010 * MS, "%" PRIu64 " ms", in_force(0).period_ns / MS);
}

/* That is not adaptive: lowered below what are out, and raised by one a minute, and only where it was full. */
static void a_lowered_cap_comes_back_where_it_is_used(void) {
    rlm_limit limit = rlm_concurrent(20), lower = rlm_concurrent(5);
    rlm_permit permit[20];
    uint64_t now_ns = START, i, minute;
    make(&limit, 1);
    for (i = 0; i < 11; i++) permit[i] = take(1, START);
    refuse(&permit[10], RLM_NAMED_CONCURRENCY, RLM_UNSAID, START);
    CHECK_EQ(cap(), 10);
    for (i = 0; i < 100; i++) answer(&permit[0], now_ns += 300 * MS); /* full, for half a minute */
    CHECK_EQ(cap(), 10);
    for (i = 0; i < 200; i++) answer(&permit[0], now_ns += 300 * MS);
    CHECK_EQ(cap(), 11);
    for (i = 1; i < 11; i++) settle(&permit[i], now_ns);
    for (minute = 0; minute < 30; minute++) answer(&permit[0], now_ns += MINUTE); /* one of eleven */
    CHECK_EQ(cap(), 11);
    for (i = 1; i < 11; i++) permit[i] = take(1, now_ns);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &lower, now_ns), RLM_OK);
    refuse(&permit[10], RLM_NAMED_CONCURRENCY, RLM_UNSAID, now_ns);
    CHECK_EQ(cap(), 5);
}

/* ---- Guards ------------------------------------------------------------------------------------------- */

static void answer_after(uint64_t delay_ns, int times, uint64_t *now_ns) {
    while (times-- > 0) {
        rlm_cost cost = cost_of(1, 0, 0);
        rlm_permit permit;
        uint64_t wait_ns = rlm_acquire(&limiter, &cost, *now_ns, &permit);
        CHECK(wait_ns <= MINUTE);
        if (wait_ns != 0) {
            *now_ns += wait_ns;
            CHECK_EQ(rlm_acquire(&limiter, &cost, *now_ns, &permit), 0);
        }
        *now_ns += delay_ns;
        answer(&permit, *now_ns);
        settle(&permit, *now_ns);
    }
}

static void a_guard_follows_the_delays(void) {
    uint64_t now_ns = START;
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    uint32_t follow;
    for (follow = RLM_SHRINK; follow <= RLM_FIXED; follow++) {
        limit.follow = follow;
        limit.guard_ns = 10 * MS;
        make(&limit, 1);
        answer_after(SECOND, 3, &now_ns);
        CHECK_SO(in_force(0).guard_ns == (follow == RLM_FIXED ? 10 * MS : SECOND),
            "%s: delays of 1 s: guard %" PRIu64 " ms", follow_name[follow], in_force(0).guard_ns / MS);
        answer_after(30 * SECOND, 3, &now_ns);
        CHECK_SO(in_force(0).guard_ns == (follow == RLM_FIXED ? 10 * MS : MINUTE / 16),
            "delays of 30 s: guard %" PRIu64 " ms", in_force(0).guard_ns / MS);
        answer_after(20 * MS, 1000, &now_ns);
        CHECK_SO(in_force(0).guard_ns <= 60 * MS && in_force(0).guard_ns >= 10 * MS,
            "then 1000 of 20 ms: guard %" PRIu64 " ms", in_force(0).guard_ns / MS);
        answer_after(MS, 2000, &now_ns);
        CHECK_SO(in_force(0).guard_ns >= 10 * MS && in_force(0).guard_ns <= 20 * MS,
            "then 2000 of 1 ms: guard %" PRIu64 " us", in_force(0).guard_ns / 1000);
        limit.guard_ns = 10 * SECOND;
        make(&limit, 1);
        answer_after(30 * SECOND, 3, &now_ns);
        answer_after(MS, 500, &now_ns);
        CHECK_EQ(in_force(0).guard_ns, 10 * SECOND);
    }
}

/* How long a refusal took says nothing of how long requests take. */
static void a_refusal_is_no_delay(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit permit;
    uint64_t now_ns = START + 30 * SECOND;
    make(&limit, 1);
    permit = take(1, START);
    refuse(&permit, 1u << RLM_REQUESTS, MS, now_ns);
    settle(&permit, now_ns);
    now_ns += SECOND;
    answer_after(SECOND, 1, &now_ns);
    CHECK_SO(in_force(0).guard_ns <= SECOND, "guard %" PRIu64 " ms", in_force(0).guard_ns / MS);
}

/* The guard has grown; a full burst after that is no fault of the clock. */
static void a_full_burst_is_admitted_after_the_guard_grew(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    uint64_t now_ns = START;
    make(&limit, 1);
    answer_after(30 * SECOND, 3, &now_ns);
    now_ns += RLM_HOUR_NS;
    (void)take(600, now_ns);
    CHECK_SO(wait_for(1, now_ns) <= 5 * SECOND,
        "wait %" PRIu64 " ms, of which the guard is %" PRIu64, wait_for(1, now_ns) / MS,
        in_force(0).guard_ns / MS);
}

/* ---- Debits, errors ------------------------------------------------------------------------------------ */

static void a_debit_is_all_or_nothing(void) {
    rlm_limit limits[4];
    rlm_cost cost = cost_of(5, 100, 0), none = cost_of(0, 0, 0);
    rlm_usage usage;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 10);
    limits[1] = rlm_concurrent(3);
    limits[2] = rlm_fixed(RLM_REQUESTS, 10, MINUTE, 0);
    limits[3] = rlm_sliding(RLM_INPUT_TOKENS, 1000, MINUTE);
    make(limits, 4);
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_OK);
    CHECK_EQ(left(0, START), 5);
    CHECK_EQ(left(2, START), 5);
    CHECK_EQ(left(3, START), 900);
    CHECK_EQ(rlm_status(&limiter, 1, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, 0);
    CHECK_EQ(rlm_debit(&limiter, &none, START), RLM_OK);
    cost = cost_of(7, 1000, 0); /* into debt */
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_OK);
    CHECK_EQ(left(0, START), -2);
    CHECK_EQ(left(2, START), -2);
    CHECK_EQ(left(3, START), -100);
    CHECK_EQ(wait_for(1, START) > 0, 1);
    cost.input_tokens = UINT64_C(1) << 40; /* more than that window can count */
    cost.requests = 1;
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_E_COST);
    CHECK_EQ(left(0, START), -2);
    CHECK_EQ(left(2, START), -2);
    CHECK_EQ(left(3, START), -100);
    keep();
    cost.input_tokens = (UINT64_C(1) << 40) + 1;
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_E_COST);
    cost.input_tokens = UINT64_MAX;
    CHECK_EQ(rlm_debit(&limiter, &cost, START), RLM_E_COST);
    CHECK_EQ(rlm_debit(NULL, &cost, START), RLM_E_NULL);
    CHECK_EQ(rlm_debit(&limiter, NULL, START), RLM_E_NULL);
    CHECK(same());
}

static void misuse_is_answered_and_changes_nothing(void) {
    rlm_limit limit;
    rlm_permit never = {0}, ended, out;
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    int status;
    make_pair();
    out = take(1, START);
    ended = take(1, START);
    settle(&ended, START);
    read_of(&feedback, RLM_REQUESTS, 10, 0, MINUTE);
    feedback.retry_after_ns = SECOND;
    keep();
    CHECK_EQ(rlm_observe(NULL, &out, &feedback, START), RLM_E_NULL);
    CHECK_EQ(rlm_observe(&limiter, &out, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_observe(&limiter, &never, &feedback, START), RLM_E_PERMIT);
    CHECK_EQ(rlm_observe(&limiter, &ended, &feedback, START), RLM_E_PERMIT);
    feedback.count = RLM_READINGS_MAX + 1;
    CHECK_EQ(rlm_observe(&limiter, &out, &feedback, START), RLM_E_FEEDBACK);
    feedback.count = UINT32_MAX;
    CHECK_EQ(rlm_observe(&limiter, &out, &feedback, START), RLM_E_FEEDBACK);
    feedback.count = 1;
    feedback.outcome = RLM_I_OUTCOMES;
    CHECK_EQ(rlm_observe(&limiter, &out, &feedback, START), RLM_E_FEEDBACK);
    CHECK_EQ(rlm_in_force(NULL, 0, &limit), RLM_E_NULL);
    CHECK_EQ(rlm_in_force(&limiter, 0, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_in_force(&limiter, 3, &limit), RLM_E_INDEX);
    CHECK_EQ(rlm_in_force(&limiter, SIZE_MAX, &limit), RLM_E_INDEX);
    CHECK(same());
    for (status = RLM_OK; status < RLM_I_STATUS_COUNT; status++) CHECK(rlm_strerror(status) != NULL &&
            strlen(rlm_strerror(status)) > 1);
    settle(&out, START);
}

/* Anything at all is said: the limiter stays a limiter. */
static void nonsense_does_no_lasting_harm(void) {
    static const uint64_t odd[] = {0, 1, 2, 100, 1000, 60 * 1000000000ull, 86400 * 1000000000ull, 1ull << 40, 1ull << 55,
        (1ull << 55) + 1, 1ull << 62, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
    uint64_t seed = check_seed(), run, random;
    for (run = 0; run < 1500; run++) {
        rlm_limit limits[6];
        rlm_permit permit[16];
        bool out[16] = {false};
        rlm_cost cost = cost_of(1, 1, 1);
        uint64_t now_ns = START, wait_ns, tries;
        size_t i, step;
        random = seed + 7919 * run;
        limits[0] = rlm_per_minute(RLM_REQUESTS, 100);
        limits[1] = rlm_fixed(RLM_INPUT_TOKENS, 5000, DAY, 0);
        limits[2] = rlm_sliding(RLM_OUTPUT_TOKENS, 700, MINUTE);
        limits[3] = rlm_learned(RLM_TOKENS, MINUTE);
        limits[4] = run % 2 ? rlm_adaptive(2, 9) : rlm_concurrent(9);
        limits[5] = rlm_ramp(3, RLM_RAMP_HOLD_NS);
        limits[run % 3].follow = (uint32_t)(check_random(&random) % 4);
        make(limits, 6);
        for (step = 0; step < 60; step++) {
            rlm_feedback feedback = feedback_of((uint32_t)(check_random(&random) % 5));
            uint64_t k;
#define ODD (check_random(&random) % 4 ? odd[check_random(&random) % (sizeof odd / sizeof *odd)] : check_random(&random))
            feedback.named = check_random(&random) % 2 ? 0 : (uint32_t)check_random(&random);
            feedback.retry_after_ns = ODD;
            if (feedback.retry_after_ns != RLM_UNSAID) feedback.retry_after_ns %= DAY; /* what it asks for is granted */
            feedback.requested = ODD;
            feedback.count = (uint32_t)(check_random(&random) % 9);
            for (k = 0; k < feedback.count; k++) {
                rlm_reading *at = &feedback.reading[k];
                *at = rlm_reading_none((uint32_t)(check_random(&random) % 7));
                at->limit = ODD, at->remaining = ODD, at->rounding = ODD, at->reset_ns = ODD, at->period_ns = ODD;
                if (check_random(&random) % 2) at->period_least_ns = ODD % (2 * DAY), at->period_most_ns = ODD % (2 * DAY);
                at->period_ns %= 2 * DAY; /* longer ones it may believe */
            }
            i = check_random(&random) % 16;
            if (!out[i]) out[i] = rlm_acquire(&limiter, &cost, now_ns, &permit[i]) == 0;
            observe(out[i] ? &permit[i] : NULL, &feedback, now_ns);
            if (out[i] && check_random(&random) % 2) {
                settle(&permit[i], now_ns);
                out[i] = false;
            }
            now_ns += check_random(&random) % (10 * SECOND);
            if (check_random(&random) % 20 == 0) CHECK_EQ(rlm_pause(&limiter, RLM_ALL, 0, now_ns), RLM_OK);
        }
        for (i = 0; i < 16; i++)
            if (out[i]) settle(&permit[i], now_ns);
        for (i = 0; i < 6; i++) {
            rlm_limit now;
            int status = rlm_in_force(&limiter, i, &now);
            CHECK_SO(status == RLM_OK || status == RLM_E_UNKNOWN,
                "run %" PRIu64 ", seed %" PRIu64 ", limit %d: status %d", run, seed, (int)i, status);
            CHECK_SO(now.amount >= 1 && now.guard_ns <= now.period_ns,
                "run %" PRIu64 ", seed %" PRIu64 ", limit %d: amount %" PRIu64, run, seed, (int)i, now.amount);
            if (limits[i].follow == RLM_SHRINK || limits[i].follow == RLM_FIXED)
                CHECK_SO(now.amount <= limits[i].amount,
                    "run %" PRIu64 ", seed %" PRIu64 ", limit %d: %" PRIu64 " above the %" PRIu64 " configured", run,
                    seed, (int)i,
                         now.amount, limits[i].amount);
        }
        CHECK_EQ(cap(), cap());
        CHECK_EQ(left(4, now_ns), in_force(4).amount); /* nobody is out */
        CHECK_EQ(rlm_pause(&limiter, RLM_ALL, 0, now_ns), RLM_OK);
        cost = run % 2 ? cost_of(1, 1, 0) : cost_of(1, 0, 1); /* one of each meter: a limit of 1 is not exceeded */
        for (tries = 0; (wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit[0])) != 0 && tries < 100; tries++) {
            CHECK_SO(wait_ns < RLM_ON_RELEASE && wait_ns < 400 * DAY,
                "run %" PRIu64 ", seed %" PRIu64 ": wait %" PRIu64 " ns in the end", run, seed, wait_ns);
            now_ns += wait_ns;
        }
        CHECK_SO(wait_ns == 0, "run %" PRIu64 ", seed %" PRIu64 ": never again, waited %" PRIu64 " days", run, seed,
            (now_ns - START) / DAY);
    }
}

/* An overload of an old request moves since_ns (no refused number known, so no early return): in a stream every
   request in flight is "before", and the cap shrinks once and never again. */
static void a_steady_overload_goes_on_shrinking_a_cap(void) {
    static rlm_permit permit[128];
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_feedback feedback = feedback_of(RLM_OVERLOADED);
    uint64_t now_ns = START, first = 0, next = 0;
    make_adaptive(2, 150, 100);
    while (now_ns < START + 60 * SECOND) { /* one a centisecond, each answered after a second: overloaded */
        while (first < next && permit[first % 128].since_ns + SECOND <= now_ns) {
            observe(&permit[first % 128], &feedback, now_ns);
            settle(&permit[first++ % 128], now_ns);
        }
        if (next - first < 128 && rlm_acquire(&limiter, &cost, now_ns, &permit[next % 128]) == 0) next++;
        now_ns += 10 * MS;
    }
    CHECK_SO(cap() <= 10, "a minute of nothing but overload at 1 s each: cap %" PRIu64, cap());
}

/* Half used is judged by the request alone whose answer ends the round: with 16 answers a round that is the first of a
   batch of 3, 5 or 15, and the cap never grows. */
static void a_cap_grows_under_batches_of_any_size(void) {
    uint64_t begin, now_ns, stuck = 0;
    for (begin = 2; begin <= 20; begin++) {
        now_ns = START;
        make_adaptive(1, 150, begin);
        run_rounds(1000, 100 * MS, &now_ns);
        if (cap() == begin) printf("# begun at %" PRIu64 ": cap %" PRIu64 " after 1000 rounds\n", begin, cap()), stuck++;
    }
    CHECK_EQ(stuck, 0);
}

/* TAT of an idle bucket lies before the request: what is pushed on from there is over before it begins. */
static void figures_of_an_idle_bucket_count_though_the_request_cost_nothing_of_it(void) {
    rlm_limit limit = rlm_per_minute(RLM_OUTPUT_TOKENS, 1000);
    rlm_cost cost = cost_of(1, 100, 0);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_permit permit = {0};
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + SECOND, &permit), 0);
    read_of(&feedback, RLM_OUTPUT_TOKENS, 1000, 100, MINUTE);
    observe(&permit, &feedback, START + SECOND);
    CHECK_SO(left(0, START + SECOND) <= 100, "100 remain: left %" PRId64, left(0, START + SECOND));
}

/* A guess keeps amount >= cost, but scales the burst below it: the request is never admitted again. */
static void a_refused_request_is_not_never_admitted(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit permit;
    limit.burst = 60;
    make(&limit, 1);
    permit = take(60, START);
    refuse(&permit, 1u << RLM_REQUESTS, 10 * SECOND, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_SO(wait_for(60, START + 10 * MINUTE) == 0, "burst %" PRIu64 ", wait %" PRIu64, in_force(0).burst, wait_for(60, START + 10 * MINUTE));
}

/* The reserve is pushed on again after each idle time, and counted as what others took: it keeps itself alive. */
static void what_is_kept_in_hand_fades_with_idle_times_too(void) {
    rlm_limit limit = rlm_per_minute(RLM_INPUT_TOKENS, 1000000);
    rlm_cost cost = cost_of(0, 10, 0);
    uint64_t now_ns = START;
    int i;
    make(&limit, 1);
    for (i = 0; i < 10000; i++) {
        rlm_permit permit = {0};
        rlm_feedback feedback = feedback_of(RLM_ANSWERED);
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &permit), 0);
        read_of(&feedback, RLM_INPUT_TOKENS, 1000000, i == 5 ? 949990 : 999990, MINUTE);
        observe(&permit, &feedback, now_ns + MS);
        settle(&permit, now_ns + MS);
        now_ns += 10 * SECOND;
    }
    now_ns -= 10 * SECOND;
    CHECK_SO(left(0, now_ns + MS) >= 999990 - 2000, "after 10,000 answers: left %" PRId64, left(0, now_ns + MS));
}

/* seen / 1024 is 0 below 1024: of requests nothing ever fades. */
static void what_is_kept_in_hand_of_few_requests_fades_too(void) {
    uint64_t now_ns = START;
    server there;
    int64_t less = 0;
    int i;
    make_kind(A_BUCKET, 6000);
    server_make(&there, 6000, MINUTE, START);
    for (i = 0; i < 20000; i++, now_ns += 20 * MS) {
        rlm_permit permit = take(1, now_ns);
        CHECK_EQ(server_take(&there, i == 5 ? 301 : 1, now_ns), 0);
        hear(&permit, 6000, server_left(&there), MINUTE, now_ns);
        settle(&permit, now_ns);
        less = (int64_t)server_left(&there) - left(0, now_ns);
    }
    CHECK_SO(less <= 30, "after 20,000 answers: %" PRId64 " less than there", less);
}

/* pace - pace / 4 is pace below 4: told again, a ramp at 3 a minute stays there, above its floor. */
static void a_slow_ramp_told_again_is_slower(void) {
    uint64_t now_ns = START;
    int i;
    make_ramp(10, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, MINUTE, SECOND);
    for (i = 0; i < 50; i++) slow_down(NULL, now_ns += SECOND);
    CHECK_SO(in_force(0).amount == 10 && in_force(0).period_ns == RLM_RAMP_HOLD_NS, "%" PRIu64 " in %" PRIu64 " s", in_force(0).amount,
        in_force(0).period_ns / SECOND);
}

/* A usual period that is another's, without figures: the amount of an hour becomes that of a minute. */
static void a_usual_period_is_not_ignored_where_a_limit_follows(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 100);
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    hear(NULL, 6000, 6000, RLM_HOUR_NS, START);
    limit = in_force(0);
    CHECK_SO(limit.amount == 100 || limit.period_ns == RLM_HOUR_NS, "%" PRIu64 " in %" PRIu64 " s", limit.amount, limit.period_ns / SECOND);
}

/* What was used when a request was sent, and has left the window since, is not what others used. */
static void what_has_left_a_window_since_is_not_missed(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, 10 * SECOND);
    rlm_permit permit;
    limit.follow = RLM_FIXED;
    make(&limit, 1);
    permit = take(6, START);
    settle(&permit, START);
    permit = take(1, START + 9900 * MS);
    hear(&permit, 10, 3, 10 * SECOND, START + 10100 * MS);
    CHECK_EQ(left(0, START + 10100 * MS), 9);
}

/* However close together answers come, the former pace is that of the last minutes. */
static void the_former_pace_is_known_among_many_answers(void) {
    uint64_t now_ns = START;
    rlm_limit limit;
    make_ramp(10, RLM_RAMP_HOLD_NS);
    (void)send_for(&now_ns, 2 * MINUTE, SECOND);        /* 60 a minute */
    (void)send_for(&now_ns, 10 * MINUTE, SECOND / 10);  /* 600 for long */
    (void)send_for(&now_ns, MINUTE, SECOND / 20);       /* 1200 */
    slow_down(NULL, now_ns);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limit), RLM_OK);
    CHECK_SO(limit.amount >= 550 && limit.amount <= 800, "%" PRIu64 " a minute after 600 and 1200", limit.amount);
}

/* What is to be learned is not opened by an answer that tells nothing, whatever other limits there are. */
static void a_limit_that_is_known_opens_no_other(void) {
    rlm_limit limits[2];
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 1000);
    limits[1] = rlm_learned(RLM_INPUT_TOKENS, MINUTE);
    make(limits, 2);
    permit = take(1, START);
    answer(&permit, START + SECOND);
    settle(&permit, START + SECOND);
    (void)take(1, START + SECOND);
    (void)take(1, START + SECOND);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START + SECOND, &permit), RLM_ON_RELEASE);
}

/* A limit that takes longer than the pause keeps its own time. */
static void a_pause_does_not_shorten_a_longer_wait(void) {
    rlm_limit limit = rlm_per_hour(RLM_REQUESTS, 1);
    make(&limit, 1);
    (void)take(1, START);
    CHECK_EQ(rlm_pause(&limiter, 0, 5 * SECOND, START), RLM_OK);
    CHECK_EQ(wait_for(1, START), RLM_HOUR_NS);
    CHECK_EQ(rlm_pause(&limiter, 0, 2 * RLM_HOUR_NS, START), RLM_OK);
    CHECK_EQ(wait_for(1, START), 2 * RLM_HOUR_NS);
}

/* What was used long ago is there again: figures count from now, not from then. */
static void figures_of_a_bucket_long_idle_count_from_now(void) {
    rlm_limit limit = rlm_per_minute(RLM_OUTPUT_TOKENS, 1000);
    rlm_cost cost = cost_of(1, 0, 100), nothing = cost_of(1, 0, 0);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    rlm_permit permit = {0};
    uint64_t now_ns = START + RLM_HOUR_NS;
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    CHECK_EQ(rlm_settle(&limiter, &permit, &cost, START), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &nothing, now_ns, &permit), 0);
    read_of(&feedback, RLM_OUTPUT_TOKENS, 1000, 100, MINUTE);
    observe(&permit, &feedback, now_ns);
    CHECK_SO(left(0, now_ns) <= 100, "100 remain: left %" PRId64, left(0, now_ns));
}

/* A limit that was raised, an hour after it began and again an hour later: what remains by then is available, and no more. */
static void a_limit_raised_later_has_what_is_said(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 60);
    uint64_t hour, now_ns;
    int64_t now_left;
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    for (hour = 1; hour <= 4; hour++) {
        uint64_t amount = 60 + 600 * hour;
        rlm_permit permit;
        now_ns = START + hour * RLM_HOUR_NS;
        permit = take(30, now_ns);
        hear(&permit, amount, amount - 30, MINUTE, now_ns);
        now_left = left(0, now_ns);
        CHECK_SO(now_left <= (int64_t)amount - 30 && now_left >= (int64_t)amount - 31, "hour %" PRIu64 ": %" PRId64 " of %" PRIu64, hour,
                 now_left, amount - 30);
        settle(&permit, now_ns);
    }
}

/* The same discrepancy told by an answer to no request, and by one that was out then, is corrected once. */
static void what_was_told_without_a_permit_is_not_taken_again(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit permit;
    int64_t before;
    make(&limit, 1);
    permit = take(1, START);
    hear(NULL, 600, 400, MINUTE, START);
    before = left(0, START);
    CHECK_EQ(before, 400);
    hear(&permit, 600, 400, MINUTE, START);
    CHECK_SO(left(0, START) >= before - 1, "left %" PRId64 " of %" PRId64, left(0, START), before);
}

/* A refusal holds the bucket; an answer to another request of the same moment that shows the same takes nothing more. */
static void what_a_refusal_held_is_not_taken_again(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit refused, answered;
    uint64_t wait_ns;
    make(&limit, 1);
    refused = take(1, START);
    answered = take(1, START);
    refuse(&refused, 1u << RLM_REQUESTS, 10 * SECOND, START);
    CHECK_EQ(rlm_cancel(&limiter, &refused, START), RLM_OK);
    wait_ns = wait_for(1, START);
    CHECK(wait_ns >= 10 * SECOND && wait_ns <= 11 * SECOND);
    hear(&answered, 600, 0, MINUTE, START);
    settle(&answered, START);
    CHECK_EQ(rlm_pause(&limiter, 0, 0, START), RLM_OK);
    CHECK_SO(wait_for(1, START) <= wait_ns, "wait %" PRIu64 " ms after %" PRIu64, wait_for(1, START) / MS, wait_ns / MS);
}

/* A reading of the clock that is a little older than the request's own: the answer counts. */
static void an_answer_by_a_reading_that_is_late_counts(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit permit;
    make(&limit, 1);
    permit = take(1, START + 500 * MS);
    hear(&permit, 600, 300, MINUTE, START);
    CHECK_SO(left(0, START + 500 * MS) <= 300, "left %" PRId64, left(0, START + 500 * MS));
}

/* A refused request will be given back here; what remains there is held against the rest. */
static void what_others_took_is_seen_at_a_refusal_too(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, MINUTE);
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    rlm_permit permit;
    make(&limit, 1);
    permit = take(5, START);
    feedback.named = 1u << RLM_REQUESTS;
    read_of(&feedback, RLM_REQUESTS, 10, 9, MINUTE);
    observe(&permit, &feedback, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_EQ(left(0, START), 9);
}

/* Two of the same moment, of which the second answer raises the limit: what was sent between is not admitted again. */
static void a_limit_raised_twice_forgets_nothing_that_was_sent(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 100);
    rlm_permit first, second, others;
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    hear(NULL, 100, 100, MINUTE, START);
    first = take(1, START);
    second = take(1, START);
    hear(&second, 200, 198, MINUTE, START);
    others = take(100, START);
    hear(&first, 300, 299, MINUTE, START);
    CHECK_SO(left(0, START) <= 198, "left %" PRId64 " of 198", left(0, START));
    settle(&first, START);
    settle(&second, START);
    settle(&others, START);
}

/* The limit is lowered during a pause: when that ends there is no burst. */
static void a_lower_limit_during_a_pause_brings_no_burst(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit permit;
    uint64_t rest_ns;
    limit.follow = RLM_FOLLOW;
    for (rest_ns = 30 * SECOND; rest_ns < 30 * SECOND + 3; rest_ns++) {
        make(&limit, 1);
        hear(NULL, 600, 600, MINUTE, START);
        permit = take(1, START);
        refuse(&permit, 1u << RLM_REQUESTS, rest_ns, START);
        CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
        hear(NULL, 300, RLM_UNSAID, MINUTE, START + SECOND);
        CHECK_SO(left(0, START + rest_ns) <= 1, "left %" PRId64 " at the end of the pause", left(0, START + rest_ns));
        CHECK_SO(wait_for(1, START + rest_ns) <= rest_ns / 8, "wait %" PRIu64 " ms", wait_for(1, START + rest_ns) / MS);
    }
}

/* What stands beyond count was not said. */
static void readings_beyond_the_count_are_not_read(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_feedback feedback = feedback_of(RLM_ANSWERED);
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    read_of(&feedback, RLM_REQUESTS, 500, 500, MINUTE);
    read_of(&feedback, RLM_REQUESTS, 5, 5, MINUTE);
    feedback.count = 1;
    observe(NULL, &feedback, START);
    CHECK_EQ(in_force(0).amount, 500);
}

/* The guards of all buckets follow the delay, and every cap moves, wherever they stand. */
static void what_answers_move_moves_wherever_it_stands(void) {
    rlm_limit limits[4];
    uint64_t k, now_ns = START;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 60000);
    limits[1] = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
    limits[2] = rlm_adaptive(1, 100);
    limits[3] = rlm_adaptive(1, 100);
    make(limits, 4);
    for (k = 0; k < 200; k++, now_ns += SECOND) {
        rlm_permit out[4];
        int i;
        for (i = 0; i < 4; i++) out[i] = take(1, now_ns);
        for (i = 0; i < 4; i++) {
            answer(&out[i], now_ns + SECOND / 2);
            settle(&out[i], now_ns + SECOND / 2);
        }
    }
    CHECK_EQ(in_force(0).guard_ns, SECOND / 2);
    CHECK_EQ(in_force(1).guard_ns, SECOND / 2);
    CHECK(in_force(2).amount > 8); /* of which four are half */
    CHECK_EQ(in_force(3).amount, in_force(2).amount);
}

/* Figures of whatever limit explain a refusal; a limit of nothing, and what is not counted here, do not. */
static void which_figures_explain_a_refusal(void) {
    rlm_limit limits[2];
    rlm_feedback feedback = feedback_of(RLM_REFUSED);
    rlm_cost cost = cost_of(1, 10, 0);
    rlm_permit permit;
    limits[0] = rlm_per_minute(RLM_REQUESTS, 600);
    limits[1] = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
    make(limits, 2);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    read_of(&feedback, RLM_REQUESTS, 600, 599, MINUTE);
    read_of(&feedback, RLM_INPUT_TOKENS, 60000, 0, MINUTE);
    observe(&permit, &feedback, START);
    CHECK_EQ(rlm_cancel(&limiter, &permit, START), RLM_OK);
    CHECK_EQ(wait_for(1, START), 0); /* of requests there are enough */
    make(limits, 2);
    permit = take(1, START);
    feedback = feedback_of(RLM_REFUSED);
    read_of(&feedback, RLM_REQUESTS, 0, 0, MINUTE);
    observe(&permit, &feedback, START);
    CHECK(wait_for(1, START) >= 5 * SECOND && wait_for(1, START) <= 6 * SECOND);
    make(limits, 2);
    permit = take(1, START);
    feedback = feedback_of(RLM_REFUSED);
    read_of(&feedback, RLM_OUTPUT_TOKENS, 100, 0, MINUTE);
    observe(&permit, &feedback, START);
    CHECK(wait_for(1, START) >= 5 * SECOND && wait_for(1, START) <= 6 * SECOND);
}

/* A guess keeps the period that was configured. */
static void a_guess_is_of_the_period_configured(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, RLM_HOUR_NS);
    uint64_t k, now_ns = START;
    rlm_permit permit;
    make(&limit, 1);
    for (k = 0; k < 100; k++, now_ns += SECOND) {
        permit = take(1, now_ns);
        answer(&permit, now_ns);
        settle(&permit, now_ns);
    }
    permit = take(1, now_ns);
    refuse(&permit, 1u << RLM_REQUESTS, RLM_UNSAID, now_ns);
    CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
    CHECK_EQ(in_force(0).period_ns, RLM_HOUR_NS);
    CHECK_SO(in_force(0).amount >= 85 && in_force(0).amount <= 101, "%" PRIu64 " an hour after 101", in_force(0).amount);
}

/* Two are out and one is refused: one is what the server holds. */
static void a_cap_of_two_becomes_one(void) {
    rlm_limit limit = rlm_concurrent(5);
    rlm_permit first, second;
    make(&limit, 1);
    first = take(1, START);
    second = take(1, START);
    refuse(&second, RLM_NAMED_CONCURRENCY, RLM_UNSAID, START);
    CHECK_EQ(in_force(0).amount, 1);
    settle(&first, START);
    settle(&second, START);
}

/* However long a server says to wait, it is waited for. */
static void a_very_long_wait_is_waited_for(void) {
    static const uint64_t waits_ns[] = {(UINT64_C(1) << 55) - 1, UINT64_C(1) << 55, (UINT64_C(1) << 55) + 1, UINT64_C(1) << 60, UINT64_MAX - 1};
    size_t i;
    for (i = 0; i < sizeof waits_ns / sizeof *waits_ns; i++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, MINUTE);
        rlm_permit permit;
        make(&limit, 1);
        permit = take(1, START);
        refuse(&permit, 1u << RLM_REQUESTS, waits_ns[i], START);
        CHECK_EQ(wait_for(1, START), waits_ns[i] < UINT64_C(1) << 55 ? waits_ns[i] : UINT64_C(1) << 55);
    }
}

/* While nothing is known one may always be out, and no more, however often the server refuses. */
static void refusals_at_the_beginning_leave_one(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    rlm_cost cost = cost_of(1, 0, 0);
    uint64_t k, now_ns = START;
    make(&limit, 1);
    for (k = 0; k < 5; k++, now_ns += 10 * MINUTE) {
        rlm_permit permit = take(1, now_ns), second = {0};
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &second), RLM_ON_RELEASE);
        refuse(&permit, 1u << RLM_REQUESTS, RLM_UNSAID, now_ns);
        CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
    }
}

/* A server with a bucket of 600 a minute, answers after a second; others take 100 at once. Once the answers to all that was
   out then are there the picture is right, but for what is kept in hand: up to an eighth, and the guard. */
static void others_who_take_at_once_are_counted_once(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    static rlm_permit out[400];
    static uint64_t told[400];
    uint64_t k, tat_ns = START, burst_ns = 60 * SECOND, token_ns = SECOND / 10;
    int64_t now_left, there;
    limit.guard_ns = SECOND / 5;
    make(&limit, 1);
    for (k = 0; k < 300; k++) {
        uint64_t now_ns = START + k * SECOND / 8, used_ns;
        rlm_cost cost = cost_of(1, 0, 0);
        if (tat_ns < now_ns) tat_ns = now_ns;
        if (k == 100) tat_ns += 100 * token_ns;
        CHECK_EQ(rlm_acquire(&limiter, &cost, now_ns, &out[k]), 0);
        tat_ns += token_ns;
        used_ns = tat_ns - now_ns;
        told[k] = (burst_ns - used_ns) / token_ns;
        if (k >= 8) {
            hear(&out[k - 8], 600, told[k - 8], MINUTE, now_ns);
            settle(&out[k - 8], now_ns);
        }
        if (k < 120) continue;
        now_left = left(0, now_ns);
        there = (int64_t)told[k];
        CHECK_SO(now_left <= there + 1 && now_left >= there - 75 - 40, "at %" PRIu64 ": left %" PRId64 " of %" PRId64, k, now_left, there);
    }
}

/* The limit that is waited for is named, also the first. */
static void the_limit_waited_for_is_named(void) {
    rlm_limit limits[3];
    int binding, first;
    for (first = 0; first < 3; first++) {
        rlm_cost cost = cost_of(1, 0, 0);
        rlm_permit permit;
        limits[0] = limits[1] = limits[2] = rlm_per_minute(RLM_REQUESTS, 1000);
        limits[first] = rlm_learned(RLM_REQUESTS, MINUTE);
        make(limits, 3);
        permit = take(1, START);
        CHECK_EQ(rlm_check(&limiter, &cost, START, &binding), RLM_ON_RELEASE);
        CHECK_EQ(binding, first);
        settle(&permit, START);
    }
}

/* Answers begin to take two seconds: what a server would see of two seconds is kept in hand at once. */
static void a_longer_guard_is_kept_in_hand_at_once(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 60000);
    rlm_permit permit;
    int64_t now_left;
    make(&limit, 1);
    permit = take(30000, START);
    answer(&permit, START + 2 * SECOND);
    now_left = left(0, START + 2 * SECOND);
    CHECK_SO(now_left >= 29900 && now_left <= 30000, "left %" PRId64 " of 30000 + 2000 refilled - 2000 kept", now_left);
}

/* The guard that was configured since is the least, however fast answers come. */
static void a_guard_configured_since_is_the_least(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 6000);
    uint64_t k;
    make(&limit, 1);
    limit.guard_ns = SECOND;
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, START), RLM_OK);
    for (k = 0; k < 10; k++) {
        rlm_permit permit = take(1, START + k * SECOND);
        answer(&permit, START + k * SECOND + MS);
        settle(&permit, START + k * SECOND + MS);
    }
    CHECK_EQ(in_force(0).guard_ns, SECOND);
}

/* A limiter that counts tokens only is refused for its requests: all wait, longer than the server says. */
static void requests_that_are_not_counted_are_foreign(void) {
    rlm_limit limit = rlm_per_minute(RLM_INPUT_TOKENS, 60000);
    rlm_cost cost = cost_of(1, 10, 0);
    rlm_permit permit;
    make(&limit, 1);
    CHECK_EQ(rlm_acquire(&limiter, &cost, START, &permit), 0);
    refuse(&permit, 1u << RLM_REQUESTS, SECOND, START);
    CHECK_EQ(rlm_check(&limiter, &cost, START, NULL), 5 * SECOND);
}

/* Where nothing is to be learned, only followed, the first answer opens, whether it has figures or not. */
static void a_limit_to_be_followed_is_opened_by_any_answer(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 600);
    rlm_permit permit;
    int i;
    limit.follow = RLM_FOLLOW;
    make(&limit, 1);
    permit = take(1, START);
    answer(&permit, START);
    settle(&permit, START);
    for (i = 0; i < 100; i++) (void)take(1, START);
}

/* A ramp at rest stays at rest when it is given other numbers: they count from the next time on. */
static void a_ramp_at_rest_is_configured_for_the_next_time(void) {
    rlm_limit limit = rlm_ramp(5, 10 * MINUTE);
    int i;
    make_ramp(10, RLM_RAMP_HOLD_NS);
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, START), RLM_OK);
    for (i = 0; i < 1000; i++) (void)take(1, START);
    CHECK_EQ(rlm_in_force(&limiter, 0, &limit), RLM_E_UNKNOWN);
    CHECK_EQ(limit.amount, 5);
}

/* A cap that may not go lower pauses half a second, and twice that each time in a row. */
static void a_cap_of_one_pauses_twice_as_long_each_time(void) {
    rlm_limit limit = rlm_concurrent(1);
    uint64_t now_ns = START, pause_ns = SECOND / 2;
    limit.follow = RLM_FIXED;
    make(&limit, 1);
    for (; pause_ns <= 32 * SECOND; pause_ns *= 2, now_ns += MINUTE) {
        rlm_permit permit = take(1, now_ns);
        refuse(&permit, RLM_NAMED_CONCURRENCY, RLM_UNSAID, now_ns);
        CHECK_EQ(rlm_cancel(&limiter, &permit, now_ns), RLM_OK);
        CHECK_EQ(wait_for(1, now_ns), pause_ns);
    }
}

/* What is out while nothing is known is not counted twice. */
static void recent_counts_what_is_out_once(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, MINUTE);
    rlm_cost cost = cost_of(1, 0, 0);
    rlm_permit permit;
    memset(&limiter, 0xa5, sizeof limiter);
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, 0), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, 10 * SECOND, &permit), 0);
    CHECK_EQ(rlm_recent(&limiter, 10 * SECOND), 1);
}

static const check_case cases[] = {
    CASE(what_remains_lowers_and_never_raises),
    CASE(what_was_sent_since_is_shown_by_its_own_answers),
    CASE(what_was_refilled_since_is_not_missed),
    CASE(one_discrepancy_is_corrected_once),
    CASE(answers_in_any_order_correct_alike),
    CASE(a_request_that_used_more_than_estimated_is_charged_once),
    CASE(a_rounded_reading_is_taken_for_the_worst),
    CASE(rounding_does_not_add_up),
    CASE(readings_of_something_else_leave_a_limit_alone),
    CASE(minute_and_day_each_get_their_own_reading),
    CASE(of_two_readings_of_one_limit_the_tighter_holds),
    CASE(a_bare_remaining_is_of_the_only_limit_there_is),
    CASE(the_figures_tell_which_period_is_meant),
    CASE(an_answer_of_the_last_period_says_nothing_of_this),
    CASE(a_correction_leaves_a_window_again),
    CASE(figures_of_another_period_are_not_of_this_limit),
    CASE(a_reading_is_of_the_limit_that_it_fits_best),
    CASE(a_month_is_about_thirty_days),
    CASE(no_reading_is_of_a_cap),
    CASE(what_is_used_of_a_smaller_limit_there_is_used_here),
    CASE(what_remains_beyond_the_burst_takes_nothing),
    CASE(what_was_used_before_the_first_answer_is_not_kept_in_hand),
    CASE(others_are_noticed_in_a_dense_stream),
    CASE(a_late_answer_does_not_keep_a_clock_set_back_waiting),
    CASE(after_a_clock_was_set_back_readings_count_again),
    CASE(an_answer_to_a_request_before_a_change_does_not_say_what_remains),
    CASE(an_answer_tells_of_meters_that_it_cost_nothing_of),
    CASE(a_right_picture_is_never_refused),
    CASE(another_client_costs_few_refusals),
    CASE(a_changing_limit_costs_few_refusals),
    CASE(what_is_kept_in_hand_for_others_fades),
    CASE(a_pause_is_of_what_it_names),
    CASE(a_pause_that_names_nothing_is_of_all),
    CASE(a_pause_ends_at_its_time_and_a_shorter_one_does_not_end_it),
    CASE(other_outcomes_pause_too_and_end_no_pause),
    CASE(pause_by_hand),
    CASE(a_stale_reading_does_not_get_through_a_pause),
    CASE(a_clock_set_back_is_not_blocked_for_longer_than_the_pause),
    CASE(without_a_time_it_is_5_10_20_40_40_seconds),
    CASE(refusals_of_one_moment_count_once),
    CASE(after_a_refusal_as_much_is_admitted_as_was_refused),
    CASE(a_lower_limit_does_not_lengthen_a_refusal),
    CASE(a_quota_that_is_never_told_stays_open),
    CASE(what_the_server_says_was_requested_counts),
    CASE(a_refusal_of_the_minute_does_not_empty_the_day),
    CASE(a_refusal_pauses_windows_and_quotas_too),
    CASE(a_refused_request_is_not_charged),
    CASE(a_steady_stream_stops_where_the_server_does),
    CASE(a_good_answer_does_not_pause),
    CASE(tokens_are_named_apart_or_together),
    CASE(refusals_without_a_permit_count),
    CASE(with_figures_a_refusal_waits_until_enough_remains),
    CASE(a_refusal_without_figures_takes_an_eighth),
    CASE(a_limit_that_was_told_is_not_guessed),
    CASE(a_refusal_lowers_only_what_it_can_mean),
    CASE(the_emptiest_limit_was_exceeded),
    CASE(a_refusal_with_figures_that_say_nothing_takes_an_eighth),
    CASE(a_guess_rises_where_it_is_used),
    CASE(a_guess_keeps_within_a_burst_that_shrank),
    CASE(a_limit_follows_as_far_as_it_may),
    CASE(an_answer_to_an_older_request_does_not_bring_the_old_limit_back),
    CASE(more_is_available_only_if_the_server_says_so),
    CASE(a_window_or_quota_that_grows_has_as_much_as_is_said),
    CASE(odd_amounts_do_no_harm),
    CASE(a_flapping_limit_leaks_no_burst),
    CASE(a_change_of_the_limit_does_not_change_what_others_took),
    CASE(a_reconfigured_limit_is_the_one_configured),
    CASE(follow_is_checked_at_init),
    CASE(a_limit_that_comes_back_brings_no_burst),
    CASE(a_burst_in_proportion_stays_in_bounds),
    CASE(a_limit_to_be_learned_can_be_configured_instead),
    CASE(until_something_is_known_one_is_out),
    CASE(a_learned_limit_is_not_merged_before_it_is_known),
    CASE(whoever_waits_to_learn_is_told_which_limit_binds),
    CASE(a_probe_that_fails_frees_its_place),
    CASE(a_probe_that_is_not_admitted_takes_no_place),
    CASE(without_figures_each_round_doubles),
    CASE(without_figures_a_refusal_is_a_guess),
    CASE(a_limit_that_is_told_ends_the_probing),
    CASE(while_nothing_is_known_a_refusal_halves_what_may_be_out),
    CASE(a_guess_ends_the_probing),
    CASE(what_tells_no_limit_does_not_end_the_probing),
    CASE(a_request_that_is_too_large_is_told_so_while_probing),
    CASE(the_first_guess_is_what_the_server_took),
    CASE(a_refusal_of_what_is_not_counted_here_waits_longer_each_time),
    CASE(a_period_is_inferred),
    CASE(figures_that_are_not_a_bucket_s_are_not_believed),
    CASE(a_limit_shrinks_to_a_shorter_period_too),
    CASE(a_period_of_years_is_not_inferred),
    CASE(a_time_of_day_bounds_a_period_loosely),
    CASE(a_bare_reset_does_not_tell_the_period),
    CASE(figures_that_contradict_those_before_are_believed_after_32),
    CASE(a_configured_period_stays_while_the_figures_allow_it),
    CASE(a_limit_that_shrank_is_found_again_at_another_period),
    CASE(a_ramp_at_rest_admits_all),
    CASE(a_ramp_goes_back_to_the_former_pace_and_climbs),
    CASE(however_often_it_is_told_a_ramp_keeps_its_floor),
    CASE(many_who_are_told_at_once_slow_down_once),
    CASE(slow_down_soon_after_the_beginning_halves),
    CASE(slow_down_goes_back_by_a_quarter_to_three_quarters),
    CASE(a_ramp_works_with_a_clock_that_begins_at_zero),
    CASE(a_ramp_climbs_a_quarter_a_minute),
    CASE(the_floor_of_a_ramp_is_what_was_given),
    CASE(a_cap_finds_what_the_server_can_do),
    CASE(a_cap_stays_in_its_bounds_under_anything),
    CASE(a_cap_grows_while_delays_do_not_rise),
    CASE(a_cap_grows_under_batches),
    CASE(overload_shrinks_a_cap_once_a_round_trip),
    CASE(a_cap_does_not_grow_when_idle),
    CASE(a_cap_stays_below_what_was_refused),
    CASE(a_fixed_cap_gives_way_to_a_refusal_that_names_it),
    CASE(a_lowered_cap_comes_back),
    CASE(a_cap_begins_and_ends_within_its_bounds),
    CASE(a_cap_grows_by_half_until_it_does_not_help),
    CASE(a_cap_compares_with_the_shortest_delays),
    CASE(sixty_four_answers_are_a_round),
    CASE(a_cap_gets_used_to_longer_requests),
    CASE(answers_of_a_round_before_do_not_count),
    CASE(a_refusal_of_before_is_not_counted_again),
    CASE(a_cap_passes_what_was_refused_in_ten_minutes),
    CASE(a_wave_out_of_order_teaches_what_the_server_holds),
    CASE(a_cap_that_cannot_go_lower_waits),
    CASE(a_refusal_that_its_figures_do_not_explain_waits),
    CASE(a_limit_of_nothing_is_not_believed),
    CASE(a_period_that_may_be_several_is_the_longest),
    CASE(a_lowered_cap_comes_back_where_it_is_used),
    CASE(a_guard_follows_the_delays),
    CASE(a_refusal_is_no_delay),
    CASE(a_full_burst_is_admitted_after_the_guard_grew),
    CASE(a_debit_is_all_or_nothing),
    CASE(misuse_is_answered_and_changes_nothing),
    CASE(nonsense_does_no_lasting_harm),
    CASE(a_steady_overload_goes_on_shrinking_a_cap),
    CASE(a_cap_grows_under_batches_of_any_size),
    CASE(figures_of_an_idle_bucket_count_though_the_request_cost_nothing_of_it),
    CASE(a_refused_request_is_not_never_admitted),
    CASE(what_is_kept_in_hand_fades_with_idle_times_too),
    CASE(what_is_kept_in_hand_of_few_requests_fades_too),
    CASE(a_slow_ramp_told_again_is_slower),
    CASE(a_usual_period_is_not_ignored_where_a_limit_follows),
    CASE(what_has_left_a_window_since_is_not_missed),
    CASE(the_former_pace_is_known_among_many_answers),
    CASE(a_limit_that_is_known_opens_no_other),
    CASE(a_pause_does_not_shorten_a_longer_wait),
    CASE(figures_of_a_bucket_long_idle_count_from_now),
    CASE(a_limit_raised_later_has_what_is_said),
    CASE(what_was_told_without_a_permit_is_not_taken_again),
    CASE(what_a_refusal_held_is_not_taken_again),
    CASE(an_answer_by_a_reading_that_is_late_counts),
    CASE(what_others_took_is_seen_at_a_refusal_too),
    CASE(a_limit_raised_twice_forgets_nothing_that_was_sent),
    CASE(a_lower_limit_during_a_pause_brings_no_burst),
    CASE(readings_beyond_the_count_are_not_read),
    CASE(what_answers_move_moves_wherever_it_stands),
    CASE(which_figures_explain_a_refusal),
    CASE(a_guess_is_of_the_period_configured),
    CASE(a_cap_of_two_becomes_one),
    CASE(a_very_long_wait_is_waited_for),
    CASE(refusals_at_the_beginning_leave_one),
    CASE(others_who_take_at_once_are_counted_once),
    CASE(the_limit_waited_for_is_named),
    CASE(a_longer_guard_is_kept_in_hand_at_once),
    CASE(a_guard_configured_since_is_the_least),
    CASE(requests_that_are_not_counted_are_foreign),
    CASE(a_limit_to_be_followed_is_opened_by_any_answer),
    CASE(a_ramp_at_rest_is_configured_for_the_next_time),
    CASE(a_cap_of_one_pauses_twice_as_long_each_time),
    CASE(recent_counts_what_is_out_once),
};

CHECK_MAIN(cases)
