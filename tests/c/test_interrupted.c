/* test_interrupted.c - one operation of rlimit.h interrupted by another, before each of its atomic accesses in turn. The
   other runs to its end there, as on another core. What comes of it is held against what the two orders make of them
   (tests/explore does so with every order of three threads; here are pairs whose states are many steps away). */

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- In place of the compiler's atomics ------------------------------------------------------- */

static struct interruption {
    void (*other)(void); /* null: none, or it is over */
    uint64_t before, accesses;
} interruption;

static void access_word(void) {
    void (*other)(void) = interruption.other;
    if (other == NULL || interruption.accesses++ != interruption.before) return;
    interruption.other = NULL;
    other();
}

static uint64_t load_word(const uint64_t *word) {
    access_word();
    return *word;
}

static void store_word(uint64_t *word, uint64_t value) {
    access_word();
    *word = value;
}

static bool exchange_word(uint64_t *word, uint64_t *seen, uint64_t next) {
    access_word();
    if (*word == *seen) {
        *word = next;
        return true;
    }
    *seen = *word;
    return false;
}

#define __atomic_load_n(word, order) load_word(word)
#define __atomic_store_n(word, value, order) store_word(word, value)
#define __atomic_compare_exchange_n(word, seen, next, weak, order, failed) exchange_word(word, seen, next)

#define RLM_IMPLEMENTATION
#include "rlimit.h"

#include "check.h"

#define SECOND RLM_SECOND_NS
#define START (20000 * RLM_DAY_NS)
#define NOW (START + SECOND)
#define YEAR (365 * RLM_DAY_NS)

/* ---- Pairs ------------------------------------------------------------------------------------ */

enum { VALUES = 4 };

/* What an outcome must be. */
typedef enum relation {
    AS_EITHER,  /* that of one of the orders, in all its values */
    BETWEEN,    /* each value between those of the orders */
    AT_LEAST,   /* each value at least the smaller of theirs */
    AS_CHECKED  /* only what it checks itself */
} relation;

typedef struct pair {
    void (*begin)(void);
    void (*one)(void), (*other)(void);
    void (*outcome)(uint64_t *values);
    relation is;
} pair;

static void run_pair(const pair *of, bool other_first, uint64_t *values) {
    of->begin();
    (other_first ? of->other : of->one)();
    (other_first ? of->one : of->other)();
    of->outcome(values);
}

static bool is_right(relation is, const uint64_t *a, const uint64_t *b, const uint64_t *values) {
    int i;
    if (is == AS_EITHER) return memcmp(values, a, VALUES * sizeof *a) == 0 || memcmp(values, b, VALUES * sizeof *b) == 0;
    for (i = 0; i < VALUES && is != AS_CHECKED; i++) {
        uint64_t least = a[i] < b[i] ? a[i] : b[i], most = a[i] < b[i] ? b[i] : a[i];
        if (values[i] < least || (is == BETWEEN && values[i] > most)) return false;
    }
    return true;
}

static void check_pair(const pair *of) {
    uint64_t first[VALUES] = {0}, second[VALUES] = {0}, values[VALUES], before;
    bool allowed;
    int i;
    interruption.other = NULL;
    run_pair(of, false, first);
    run_pair(of, true, second);
    for (before = 0;; before++) {
        memset(values, 0, sizeof values);
        of->begin();
        interruption.accesses = 0;
        interruption.before = before;
        interruption.other = of->other;
        of->one();
        if (interruption.other != NULL) break; /* it has fewer accesses than that */
        of->outcome(values);
        allowed = is_right(of->is, first, second, values);
        for (i = 0; i < VALUES && !allowed; i++)
            printf("# interrupted before access %" PRIu64 ": %" PRIu64 ", in order %" PRIu64 " or %" PRIu64 "\n", before,
                   values[i], first[i], second[i]);
        CHECK(allowed);
    }
    interruption.other = NULL;
    CHECK(before > 1);
}

/* ---- What they work on ------------------------------------------------------------------------ */

static rlm_bucket bucket;
static rlm_limiter limiter;
static rlm_permit permit, other_permit;
static rlm_route route;
static rlm_limit limit_read;
static uint64_t answer, other_answer;

static rlm_cost requests(uint64_t n) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    cost.requests = n;
    return cost;
}

static void make_limiter(rlm_limit limit) {
    memset(&permit, 0, sizeof permit);
    memset(&other_permit, 0, sizeof other_permit);
    answer = other_answer = 0;
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, START), RLM_OK);
}

static uint64_t acquire(uint64_t n, uint64_t now_ns, rlm_permit *to) {
    rlm_cost cost = requests(n);
    return rlm_acquire(&limiter, &cost, now_ns, to);
}

static uint64_t used(void) {
    rlm_usage usage;
    (void)rlm_status(&limiter, 0, &usage, NOW);
    return usage.used;
}

static rlm_feedback silent(void) {
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = RLM_ANSWERED;
    feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
    return feedback;
}

static int observe(const rlm_permit *of, uint64_t limit, uint64_t remaining) {
    rlm_feedback feedback = silent();
    feedback.count = 1;
    feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
    feedback.reading[0].limit = limit;
    feedback.reading[0].remaining = remaining;
    feedback.reading[0].period_ns = RLM_MINUTE_NS;
    return rlm_observe(&limiter, of, &feedback, NOW);
}

/* ---- Two requests, of which one fits ----------------------------------------------------------- */

/* In each order of kinds: what was taken of the first limit is given back when the second is gone. */
static bool concurrency_first;

static void begin_three_left(void) {
    rlm_limit limits[2];
    memset(&permit, 0, sizeof permit);
    memset(&other_permit, 0, sizeof other_permit);
    limits[concurrency_first ? 0 : 1] = rlm_concurrent(concurrency_first ? 5 : 1);
    limits[concurrency_first ? 1 : 0] = rlm_per_second(RLM_REQUESTS, concurrency_first ? 3 : 5);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 2, START), RLM_OK);
}

static void acquire_two(void) { answer = acquire(2, START, &permit) != 0; }
static void other_acquires_two(void) { other_answer = acquire(2, START, &other_permit) != 0; }

static void outcome_of_two(uint64_t *values) {
    rlm_usage usage[2];
    size_t i;
    for (i = 0; i < 2; i++) CHECK_EQ(rlm_status(&limiter, i, &usage[i], START), RLM_OK);
    values[0] = answer;
    values[1] = other_answer;
    values[2] = usage[0].used;
    values[3] = usage[1].used;
}

static void of_two_requests_one_fits(void) {
    static const pair requests_of_two = {begin_three_left, acquire_two, other_acquires_two, outcome_of_two, AS_EITHER};
    concurrency_first = true;
    check_pair(&requests_of_two);
    concurrency_first = false;
    check_pair(&requests_of_two);
}

/* ---- Reading while another reconfigures ------------------------------------------------------- */

static void begin_minute(void) {
    make_limiter(rlm_per_minute(RLM_REQUESTS, 60));
    CHECK_EQ(acquire(20, START, &permit), 0);
}

static void read_limit(void) { (void)rlm_in_force(&limiter, 0, &limit_read); }

static void reconfigure(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 100, 10 * RLM_MINUTE_NS);
    limit.burst = 30;
    limit.guard_ns = SECOND;
    other_answer = (uint64_t)rlm_reconfigure(&limiter, 0, &limit, NOW);
}

static void outcome_limit(uint64_t *values) {
    values[0] = limit_read.amount;
    values[1] = limit_read.period_ns;
    values[2] = limit_read.burst;
    values[3] = limit_read.guard_ns;
}

static void a_limit_is_read_as_a_whole(void) {
    static const pair reading = {begin_minute, read_limit, reconfigure, outcome_limit, AS_EITHER};
    check_pair(&reading);
}

/* ---- A clock set by hand ----------------------------------------------------------------------- */

static rlm_manual hand;

static void begin_hand(void) { rlm_manual_set(&hand, 100); }
static void advance_by_five(void) { answer = rlm_manual_advance(&hand, 5); }
static void advance_by_seven(void) { other_answer = rlm_manual_advance(&hand, 7); }

static void outcome_hand(uint64_t *values) {
    values[0] = answer;
    values[1] = other_answer;
    values[2] = rlm_manual_now(&hand);
}

static void a_clock_is_advanced_by_both(void) {
    static const pair advances = {begin_hand, advance_by_five, advance_by_seven, outcome_hand, AS_EITHER};
    check_pair(&advances);
}

/* ---- Pauses ----------------------------------------------------------------------------------- */

static void begin_paused(void) {
    make_limiter(rlm_per_minute(RLM_REQUESTS, 60));
    CHECK_EQ(rlm_pause(&limiter, 0, 10 * SECOND, START), RLM_OK);
}

static void acquire_one(void) { answer = acquire(1, NOW, &permit); }
static void end_pause(void) { (void)rlm_pause(&limiter, 0, 0, NOW); }

static void outcome_answer(uint64_t *values) {
    values[0] = answer;
    values[1] = used();
}

static void a_pause_is_there_or_it_is_not(void) {
    static const pair pausing = {begin_paused, acquire_one, end_pause, outcome_answer, AS_EITHER};
    check_pair(&pausing);
}

/* ---- A clock set back to before the beginning of a bucket -------------------------------------- */

#define LONG_AGO (START - 2 * YEAR)

/* It has stayed behind long enough: who comes next may believe it. */
static void begin_set_back(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 100);
    uint64_t wait_ns;
    limit.burst = 10;
    other_answer = 0;
    CHECK_EQ(rlm_bucket_init(&bucket, &limit, START), RLM_OK);
    CHECK_EQ(rlm_bucket_take(&bucket, 10, START), 0);
    wait_ns = rlm_bucket_take(&bucket, 1, LONG_AGO);
    CHECK(wait_ns != 0 && wait_ns <= SECOND);
}

static void take_long_ago(void) { (void)rlm_bucket_take(&bucket, 1, LONG_AGO + SECOND); }
static void debit_long_ago(void) { other_answer = (uint64_t)rlm_bucket_debit(&bucket, 5, LONG_AGO + SECOND); }

/* A good reading after all says that the clock was right. */
static void take_by_a_good_reading(void) { (void)rlm_bucket_take(&bucket, 1, START); }

static void reconfigure_long_ago(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 100);
    limit.burst = 8;
    (void)rlm_bucket_reconfigure(&bucket, &limit, LONG_AGO + SECOND);
}


/* It is believed soon, if not by whom was interrupted, and then there is at most a burst. */
static void outcome_long_ago(uint64_t *values) {
    uint64_t now_ns = LONG_AGO + SECOND, admitted = 0, rounds = 0, wait_ns;
    while ((wait_ns = rlm_bucket_take(&bucket, 1, now_ns)) != 0 && rounds++ < 10) now_ns += wait_ns;
    CHECK(rounds < 10);
    for (admitted = 1; rlm_bucket_take(&bucket, 1, now_ns) == 0; admitted++) {}
    CHECK(admitted <= 10);
    CHECK_EQ(other_answer, 0);
    (void)values;
}

static void who_finds_that_a_clock_was_set_back_is_interrupted(void) {
    static const pair debt = {begin_set_back, take_long_ago, debit_long_ago, outcome_long_ago, AS_CHECKED};
    static const pair good = {begin_set_back, take_long_ago, take_by_a_good_reading, outcome_long_ago, AS_CHECKED};
    static const pair busy = {begin_set_back, reconfigure_long_ago, take_long_ago, outcome_long_ago, AS_CHECKED};
    check_pair(&debt);
    check_pair(&good);
    check_pair(&busy);
}

/* ---- Answers ---------------------------------------------------------------------------------- */

static void observe_less(void) { answer = (uint64_t)observe(&permit, 60, 10); }   /* 30 that others took */
static void observe_nobodys(void) { answer = (uint64_t)observe(NULL, 60, 10); }
static void debit_three(void) {
    rlm_cost cost = requests(3);
    other_answer = (uint64_t)rlm_debit(&limiter, &cost, NOW);
}

/* What an answer takes, and what others take meanwhile, is all taken. */
static void outcome_used(uint64_t *values) {
    CHECK_EQ(answer, RLM_OK);
    CHECK(other_answer == RLM_OK || other_answer == RLM_E_BUSY); /* while the answer changes a guard */
    values[0] = used();
}

static void an_answer_is_interrupted_by_a_debit(void) {
    static const pair own = {begin_minute, observe_less, debit_three, outcome_used, BETWEEN};
    static const pair nobodys = {begin_minute, observe_nobodys, debit_three, outcome_used, BETWEEN};
    check_pair(&own);
    check_pair(&nobodys);
}

/* What remained of a limit that is no longer there gives nothing of the new one. */
static void answers_and_reconfigurations_interrupt_each_other(void) {
    static const pair own = {begin_minute, observe_less, reconfigure, outcome_used, AT_LEAST};
    static const pair nobodys = {begin_minute, observe_nobodys, reconfigure, outcome_used, AT_LEAST};
    static const pair amid = {begin_minute, reconfigure, observe_less, outcome_used, AT_LEAST};
    check_pair(&own);
    check_pair(&nobodys);
    check_pair(&amid);
}

static void begin_follower(void) {
    rlm_limit limit = rlm_per_minute(RLM_REQUESTS, 60);
    limit.follow = RLM_FOLLOW;
    make_limiter(limit);
    CHECK_EQ(acquire(20, START, &permit), 0);
}

static void observe_more(void) { answer = (uint64_t)observe(&permit, 600, 580); }

static void a_limit_that_rises_is_interrupted_by_a_debit(void) {
    static const pair rises = {begin_follower, observe_more, debit_three, outcome_used, BETWEEN};
    check_pair(&rises);
}

/* Whoever follows the server upwards while another changes the limit gives nothing of the one limit to the other. */
static void a_limit_that_rises_is_interrupted_by_another_change(void) {
    static const pair configured = {begin_follower, observe_more, reconfigure, outcome_used, AT_LEAST};
    static const pair followed = {begin_follower, observe_more, observe_more, outcome_used, BETWEEN};
    check_pair(&configured);
    check_pair(&followed);
}

static void observe_nothing(void) {
    rlm_feedback feedback = silent();
    answer = (uint64_t)rlm_observe(&limiter, &permit, &feedback, NOW);
}

/* ---- What cannot be counted, for a moment ------------------------------------------------------- */

/* A guard of a year, and a rate so fine that such a guard does not fit into its ticks: the one is configured before, the
   other after. */
static rlm_limit fine_rate(uint64_t guard_ns) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, UINT64_C(1021) << 30, UINT64_C(1) << 55);
    limit.burst = 1;
    limit.guard_ns = guard_ns;
    return limit;
}

static void begin_guarded(void) { make_limiter(fine_rate(UINT64_C(1) << 55)); }

static void observe_nobodys_nothing(void) {
    rlm_feedback feedback = silent();
    CHECK_EQ(rlm_observe(&limiter, NULL, &feedback, NOW), RLM_OK);
}

static void reconfigure_without_guard(void) {
    rlm_limit limit = fine_rate(0);
    other_answer = (uint64_t)rlm_reconfigure(&limiter, 0, &limit, NOW);
}

static void outcome_guard(uint64_t *values) {
    rlm_limit now;
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(other_answer, RLM_OK);
    values[0] = now.guard_ns;
}

static void a_guard_of_another_rate_is_not_taken_over(void) {
    static const pair guards = {begin_guarded, observe_nobodys_nothing, reconfigure_without_guard, outcome_guard, AS_EITHER};
    check_pair(&guards);
}

/* Fourteen years after a bucket began its ticks are to begin anew, which has to wait while another reconfigures it: an
   answer that comes just then takes nothing. */
#define LATER (START + 14 * YEAR)
#define LARGE_BURST UINT64_C(115000000)

static rlm_limit large_bucket(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1);
    limit.burst = LARGE_BURST;
    limit.follow = RLM_FIXED;
    return limit;
}

static void begin_large(void) { make_limiter(large_bucket()); }

static void reconfigure_later(void) {
    rlm_limit limit = large_bucket();
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, LATER), RLM_OK);
}

static void observe_none_left_later(void) {
    rlm_feedback feedback = silent();
    feedback.count = 1;
    feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
    feedback.reading[0].limit = LARGE_BURST;
    feedback.reading[0].remaining = 0;
    CHECK_EQ(rlm_observe(&limiter, NULL, &feedback, LATER), RLM_OK);
}

/* All of it is there, or none. */
static void outcome_later(uint64_t *values) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, 0, &usage, LATER), RLM_OK);
    values[0] = usage.used;
    CHECK(usage.used == 0 || usage.used == LARGE_BURST);
    CHECK(acquire(1, LATER + 3 * SECOND, &permit) == 0);
    CHECK(acquire(LARGE_BURST, LATER + 3 * SECOND, &other_permit) != 0);
}

static void an_answer_comes_while_a_bucket_must_begin_anew(void) {
    static const pair anew = {begin_large, reconfigure_later, observe_none_left_later, outcome_later, AS_CHECKED};
    check_pair(&anew);
}

/* ---- Learning --------------------------------------------------------------------------------- */

static void begin_learner(void) {
    make_limiter(rlm_learned(RLM_REQUESTS, RLM_MINUTE_NS));
    CHECK_EQ(acquire(1, START, &permit), 0);
}

static void observe_a_limit(void) { other_answer = (uint64_t)observe(NULL, 60, 59); }

/* Any number may be out once a limit was told, or, where the other was busy, as many as before and one. */
static void outcome_open(uint64_t *values) {
    CHECK_EQ(answer, RLM_OK);
    CHECK_EQ(other_answer, RLM_OK);
    values[0] = limiter.probe == 0;
    CHECK(acquire(1, NOW, &other_permit) == 0 || limiter.probe != 0);
}

static void what_was_opened_stays_open(void) {
    static const pair opening = {begin_learner, observe_nothing, observe_a_limit, outcome_open, AS_EITHER};
    check_pair(&opening);
}

/* ---- Estimates -------------------------------------------------------------------------------- */

static void learn_output(uint64_t output) {
    rlm_cost estimate = {1, 0, 0, 0, 0}, actual = {1, 0, 0, 0, 0};
    actual.output_tokens = output;
    (void)rlm_route_learn(&route, &estimate, &actual);
}

static void begin_route(void) {
    int k;
    CHECK_EQ(rlm_route_init(&route, 900), RLM_OK);
    for (k = 0; k < 999; k++) learn_output(k % 2 == 0 ? 10 : 1000);
}

static void learn_the_last(void) { learn_output(10); } /* the thousandth: all are halved */
static void learn_another(void) { learn_output(1000); }

static void outcome_route(uint64_t *values) {
    rlm_cost most = {1, 0, 5000, 0, 0};
    int i;
    for (i = 0; i < RLM_I_ROUTE_BINS; i++) values[0] += route.bin[i];
    values[1] = route.outputs;
    values[2] = rlm_route_estimate(&route, &most).output_tokens;
    CHECK(values[0] >= 499 && values[0] <= 502); /* none is halved twice */
    values[0] = 0;
}

static void outputs_are_halved_once(void) {
    static const pair halving = {begin_route, learn_the_last, learn_another, outcome_route, AS_EITHER};
    check_pair(&halving);
}

static const check_case cases[] = {
    CASE(of_two_requests_one_fits),
    CASE(a_limit_is_read_as_a_whole),
    CASE(a_clock_is_advanced_by_both),
    CASE(a_pause_is_there_or_it_is_not),
    CASE(who_finds_that_a_clock_was_set_back_is_interrupted),
    CASE(an_answer_is_interrupted_by_a_debit),
    CASE(answers_and_reconfigurations_interrupt_each_other),
    CASE(a_limit_that_rises_is_interrupted_by_a_debit),
    CASE(a_limit_that_rises_is_interrupted_by_another_change),
    CASE(a_guard_of_another_rate_is_not_taken_over),
    CASE(an_answer_comes_while_a_bucket_must_begin_anew),
    CASE(what_was_opened_stays_open),
    CASE(outputs_are_halved_once),
};

CHECK_MAIN(cases)
