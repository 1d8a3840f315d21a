/* scenarios.c - the decisions of rlimit.h under every interleaving of two or three threads, and with a thread
   killed at each atomic operation. How: explore.h.

   ./scenarios                     all of them, a line each
   ./scenarios NAME ...            these
   ./scenarios --list              the names; of those with a victim a second one that ends in +kill
   ./scenarios --json              the lines as JSON
   ./scenarios --long              with the longer bounds
   ./scenarios --seconds 10        at most so long for each (60; --long 3600)
   ./scenarios --bound 2           another bound of preemptions; -1: none
   ./scenarios NAME --replay '0:3 1:7' [--kill 5]
                                   one schedule, told step by step: thread 0 does 3 operations, thread 1 does 7 ...

   What is checked at the end of every execution:

   - results and final state are those of some sequential order of the operations (EXPLORE_ in each plan says how
     strictly), computed by running all of them
   - a refusal that ran alone left every word as it was
   - what was admitted keeps the limit over every span (I1); time does not go back, and a reading that is stale or
     in the future mints nothing (I2, I3)
   - when everything is given back, nothing is lost */

#include "explore.h"

#define RLM_STATIC
#define RLM_NO_CLOCK
#define RLM_LIMITS_MAX 3
#define RLM_WINDOW_CELLS 16
#include "rlimit.h"
#include "model.h"

#define SECOND RLM_SECOND_NS
#define MS UINT64_C(1000000)
#define START (20000 * RLM_DAY_NS)
#define CELLS 5

/* What the threads share. */
static struct world {
    rlm_bucket bucket;
    uint64_t window[sizeof(rlm_window) / 8 + 3 * CELLS];
    rlm_concurrency concurrency;
    rlm_calendar calendar;
    rlm_limiter limiter;
    rlm_permit permit[EXPLORE_THREADS];
    rlm_route route;
    uint64_t mark[EXPLORE_THREADS];
    admission log[EXPLORE_OPERATIONS + 1]; /* what was admitted, in that order */
    uint64_t seen_ns[EXPLORE_OPERATIONS + 1]; /* and what the clock was known to be then: see explore_time */
    size_t logged;
} world, image;

#define HOUR_AHEAD (START + RLM_HOUR_NS + 50 * MS)
#define THE_WINDOW ((rlm_window *)(void *)world.window)

static const struct region {
    const char *name;
    const void *at;
    size_t bytes;
} regions[] = {
    {"bucket", &world.bucket, sizeof world.bucket},
    {"window", world.window, sizeof world.window},
    {"concurrency", &world.concurrency, sizeof world.concurrency},
    {"calendar", &world.calendar, sizeof world.calendar},
    {"limiter.entry[0]", &world.limiter.entry[0], sizeof world.limiter.entry[0]},
    {"limiter.entry[1]", &world.limiter.entry[1], sizeof world.limiter.entry[1]},
    {"limiter.entry[2]", &world.limiter.entry[2], sizeof world.limiter.entry[2]},
    {"limiter.memory", world.limiter.memory, sizeof world.limiter.memory},
    {"limiter", &world.limiter, sizeof world.limiter},
    {"permit", world.permit, sizeof world.permit},
    {"route", &world.route, sizeof world.route},
};

static const char *explore_name_of(const uint64_t *address) {
    static char name[64];
    size_t i;
    for (i = 0; i < sizeof regions / sizeof *regions; i++) {
        size_t offset = (size_t)((const char *)address - (const char *)regions[i].at);
        if ((uintptr_t)address < (uintptr_t)regions[i].at || offset >= regions[i].bytes) continue;
        snprintf(name, sizeof name, "%s+%zu", regions[i].name, offset);
        return name;
    }
    return "?";
}

/* A refusal may leave a note that the clock seems to be behind. */
static void explore_forget(void *shared) {
    struct world *copy = (struct world *)shared;
    rlm_window *windows[2];
    size_t i;
    windows[0] = (rlm_window *)(void *)copy->window;
    windows[1] = (rlm_window *)(void *)copy->limiter.memory;
    for (i = 0; i < 2; i++) {
        copy->bucket.rate[i].behind = 0;
        windows[i]->behind = windows[i]->total_then = 0;
    }
    for (i = 0; i < copy->limiter.count; i++) {
        if (copy->limiter.entry[i].kind != RLM_BUCKET) continue;
        copy->limiter.entry[i].as.bucket.rate[0].behind = copy->limiter.entry[i].as.bucket.rate[1].behind = 0;
    }
    copy->calendar.behind = 0;
}

/* The operation at of a thread, for a switch. */
#define OP(thread, at) (10 * (thread) + (at))

/* -- what was admitted -- */

/* Notes what was admitted just now. */
static uint64_t admit(uint64_t wait_ns, uint64_t n, uint64_t now_ns) {
    if (wait_ns != 0) return wait_ns;
    world.log[world.logged].n = n;
    world.log[world.logged].at_ns = now_ns;
    world.seen_ns[world.logged++] = x.current < 0 ? now_ns : explore_time();
    return 0;
}

static void must_keep_rate(uint64_t burst, uint64_t amount) {
    if (world.logged != 0) MUST(log_keeps_rate(world.log, world.logged, burst, amount, SECOND, 0));
}

/* That no second holds more than amount. What goes by a reading that is late happened between that reading and the
   latest that it met: there must be some such times. */
static void must_keep_window(uint64_t amount) {
    unsigned late, all = 1u << world.logged;
    size_t i;
    for (late = 0; late < all; late++) {
        admission log[EXPLORE_OPERATIONS + 1];
        for (i = 0; i < world.logged; i++) {
            log[i] = world.log[i];
            if ((late >> i & 1) != 0) log[i].at_ns = world.seen_ns[i];
        }
        if (world.logged == 0 || log_keeps_window(log, world.logged, amount, SECOND)) return;
    }
    explore_fail("a second holds more than %" PRIu64, amount);
}

/* -- bucket: 10 a second, at most 3 at once, 1 of them taken -- */

static rlm_limit rate(uint64_t amount, uint64_t burst) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, amount);
    limit.burst = burst;
    return limit;
}

static uint64_t take(uint64_t n, uint64_t now_ns) {
    return admit(rlm_bucket_take(&world.bucket, n, now_ns), n, now_ns);
}

static uint64_t reserve(uint64_t n, uint64_t max_wait_ns, uint64_t now_ns) {
    uint64_t wait_ns = rlm_bucket_reserve(&world.bucket, n, max_wait_ns, now_ns);
    explore_note(wait_ns);
    return wait_ns > max_wait_ns;
}

static uint64_t credit(uint64_t n, uint64_t now_ns) { return (uint64_t)rlm_bucket_credit(&world.bucket, n, now_ns); }
static uint64_t debit(uint64_t n, uint64_t now_ns) { return (uint64_t)rlm_bucket_debit(&world.bucket, n, now_ns); }

static uint64_t reconfigure(uint64_t amount, uint64_t burst, uint64_t now_ns) {
    rlm_limit limit = rate(amount, burst);
    return (uint64_t)rlm_bucket_reconfigure(&world.bucket, &limit, now_ns);
}

static void bucket(void) {
    rlm_limit limit = rate(10, 3);
    MUST_EQ(rlm_bucket_init(&world.bucket, &limit, START), RLM_OK);
    MUST_EQ(admit(rlm_bucket_take(&world.bucket, 1, START), 1, START), 0);
}

/* The end of a bucket: what is told of it, and what can be taken of it, now and later. */
static void bucket_end_at(uint64_t now_ns) {
    rlm_usage usage;
    int i, taken;
    MUST_EQ(rlm_bucket_status(&world.bucket, &usage, now_ns), RLM_OK);
    explore_note(usage.limit << 32 | usage.used);
    explore_note(usage.reset_ns);
    for (i = 0; i < 3; i++, now_ns += 200 * MS) {
        explore_note(rlm_bucket_take(&world.bucket, 1, now_ns));
        for (taken = 0; rlm_bucket_take(&world.bucket, 1, now_ns) == 0 && taken < 100;) taken++;
        explore_note((uint64_t)taken);
    }
    now_ns += RLM_HOUR_NS; /* whatever happened to it, it refills */
    MUST_EQ(rlm_bucket_status(&world.bucket, &usage, now_ns), RLM_OK);
    MUST_EQ(usage.used, 0);
    MUST_EQ(rlm_bucket_take(&world.bucket, usage.limit, now_ns), 0);
    MUST(rlm_bucket_take(&world.bucket, 1, now_ns) != 0);
}

/* I2: TAT is at most a burst ahead of the newest reading. */
static void must_not_be_beyond(uint64_t now_ns, uint64_t burst) {
    const rlm_i_rate *in_force = &world.bucket.rate[world.bucket.word & 1];
    MUST(world.bucket.word >> 2 <= rlm_i_ticks(in_force, now_ns) + burst * in_force->token);
}

static void bucket_end(void) { bucket_end_at(START + 10 * MS); }

static void bucket_end_kept(void) {
    must_keep_rate(3, 10);
    bucket_end();
}

static uint64_t last_word;

/* Takes never move the state back. */
static void word_rises(void) {
    if (x.steps == 0) last_word = 0;
    MUST(world.bucket.word >= last_word);
    last_word = world.bucket.word;
}

static uint64_t take_take(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(1, START);
    case OP(0, 1): return take(1, START + MS);
    case OP(1, 0): return take(2, START);
    default: return take(1, START + 110 * MS);
    }
}

static uint64_t take_credit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(2, START);
    case OP(0, 1): return take(1, START);
    case OP(1, 0): return credit(1, START);
    default: return take(1, START);
    }
}

static uint64_t take_debit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(1, START);
    case OP(0, 1): return take(1, START + MS);
    case OP(1, 0): return debit(8, START);
    default: return credit(2, START);
    }
}

static uint64_t debit_debit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return debit(8, START);
    case OP(1, 0): return debit(20, START);
    default: return take(1, START + (uint64_t)at * MS);
    }
}

static uint64_t reserve_take(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return reserve(2, 300 * MS, START);
    case OP(0, 1): return reserve(1, 100 * MS, START);
    case OP(1, 0): return take(1, START);
    case OP(1, 1): return credit(1, START);
    default: return reserve(3, 200 * MS, START);
    }
}

static uint64_t reconfigure_up(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(2, START);
    case OP(0, 1): return take(1, START);
    case OP(1, 0): return reconfigure(30, 6, START);
    default: return credit(1, START);
    }
}

static uint64_t reconfigure_down(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(2, START);
    case OP(0, 1): return take(1, START);
    case OP(1, 0): return reconfigure(7, 2, START);
    default: return debit(1, START);
    }
}

/* A refusal that read numbers of two rates would name a wrong wait. */
static uint64_t reconfigure_refused(int thread, int at) {
    if (thread == 1) return reconfigure(1000, 4, START);
    return take(3, START + (uint64_t)at * MS);
}

static uint64_t reconfigure_reserve(int thread, int at) {
    (void)at;
    return thread == 0 ? reserve(2, SECOND, START) : thread == 1 ? reconfigure(30, 6, START) : reserve(1, 0, START);
}

static uint64_t reconfigure_two(int thread, int at) {
    (void)at;
    return thread == 0 ? reconfigure(30, 6, START) : thread == 1 ? reconfigure(7, 2, START) : take(2, START);
}

static uint64_t reconfigure_twice(int thread, int at) {
    if (thread == 0) return take(2, START);
    return reconfigure(10 + (uint64_t)at, (uint64_t)at + 2, START);
}

/* The two bits of the generation come back after four changes: where these leave TAT as it was, an operation that
   began before the first of them takes the word for the one that it saw, and goes by the limit in force when it
   began. No order of whole operations gives that; it is at most one operation, of at most the former burst. */
static void bucket_idle(void) {
    bucket();
    MUST_EQ(reconfigure(10, 7, START + SECOND), RLM_OK);
}

static uint64_t reconfigure_four(int thread, int at) {
    if (thread == 0) return take(3, START + SECOND);
    return reconfigure(10, 6 - (uint64_t)at - (at == 3), START + SECOND);
}

static void reconfigure_four_end(void) {
    must_not_be_beyond(START + SECOND, 7);
    bucket_end_at(START + SECOND);
}

static uint64_t status_of_bucket(int thread, int at) {
    rlm_usage usage;
    if (thread == 1) return at == 0 ? reconfigure(1000, 5, START) : take(2, START);
    if (thread == 2) return take(1, START);
    if (rlm_bucket_status(&world.bucket, &usage, START) != RLM_OK) return 1;
    explore_note(usage.limit << 48 | usage.used << 40 | usage.reset_ns);
    return 0;
}

/* Readings that are late, and one that is ahead. */
static uint64_t stale_takes(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(2, START + SECOND);
    case OP(0, 1): return take(1, START + 100 * MS);
    case OP(1, 0): return take(2, START + 150 * MS);
    default: return take(3, START + 2 * SECOND);
    }
}

static void stale_end(void) {
    must_keep_rate(3, 10);
    must_not_be_beyond(START + 2 * SECOND, 3);
    bucket_end_at(START + 2 * SECOND);
}

/* A bucket emptied by a clock that was an hour ahead. */
static void bucket_ahead(void) {
    bucket();
    MUST_EQ(rlm_bucket_take(&world.bucket, 3, START + RLM_HOUR_NS), 0);
}

/* One that reads the clock as it was set back, one that reads it later, and one with a good reading. */
static uint64_t set_back(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(1, START);
    case OP(0, 1): return take(3, START + 2 * SECOND);
    case OP(1, 0): return take(3, START + 2 * SECOND);
    default: return take(1, HOUR_AHEAD);
    }
}

/* One burst for those that believe the clock, and one for the reading that is ahead. */
static void set_back_end(void) {
    must_keep_rate(3, 10);
    must_not_be_beyond(HOUR_AHEAD, 3);
    MUST_EQ(rlm_bucket_take(&world.bucket, 3, START + 2 * RLM_HOUR_NS), 0);
    MUST(rlm_bucket_take(&world.bucket, 1, START + 2 * RLM_HOUR_NS) != 0);
}

#define LONG_AFTER (START + 10 * 365 * RLM_DAY_NS)

/* So long after that ticks must be counted anew. */
static uint64_t renew(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return take(2, LONG_AFTER);
    case OP(0, 1): return take(1, LONG_AFTER);
    case OP(1, 0): return take(2, LONG_AFTER + MS);
    default: return credit(1, LONG_AFTER);
    }
}

static void renew_end(void) {
    uint64_t taken = 2u * explore_done(0, 0) + explore_done(0, 1) + 2u * explore_done(1, 0);
    MUST(taken <= 3u + (x.plan->threads > 2)); /* and what was given back */
    if (x.killed) return; /* it may have kept the claim: then nobody can renew */
    bucket_end_at(LONG_AFTER + MS);
}

/* -- sliding window: 3 a second, one taken at START -- */

static uint64_t window_take(uint64_t n, uint64_t now_ns) {
    uint64_t wait_ns;
    explore_reads(now_ns);
    wait_ns = rlm_window_take(THE_WINDOW, n, now_ns, &world.mark[x.current]);
    return admit(wait_ns, n, now_ns);
}

static uint64_t window_debit(uint64_t n, uint64_t now_ns) { return (uint64_t)rlm_window_debit(THE_WINDOW, n, now_ns); }
static uint64_t window_credit(uint64_t n, uint64_t mark) { return (uint64_t)rlm_window_credit(THE_WINDOW, n, mark); }

static rlm_limit sliding(uint64_t amount) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, amount, SECOND);
    limit.cells = CELLS;
    return limit;
}

static uint64_t window_reconfigure(uint64_t amount) {
    rlm_limit limit = sliding(amount);
    return (uint64_t)rlm_window_reconfigure(THE_WINDOW, &limit);
}

static void window_of(uint64_t amount, uint64_t taken) {
    rlm_limit limit = sliding(amount);
    MUST_EQ(rlm_window_init(THE_WINDOW, sizeof world.window, &limit, START), RLM_OK);
    MUST_EQ(admit(rlm_window_take(THE_WINDOW, taken, START, &world.mark[3]), taken, START), 0);
}

static void exact(void) { window_of(3, 1); }

/* Three records, of which two will have left, and a ring that begins anew. */
static void exact_to_roll(void) {
    exact();
    MUST_EQ(admit(rlm_window_take(THE_WINDOW, 1, START + 10 * MS, NULL), 1, START + 10 * MS), 0);
    MUST_EQ(admit(rlm_window_take(THE_WINDOW, 1, START + 500 * MS, NULL), 1, START + 500 * MS), 0);
}

/* As many records as there are cells. */
static void exact_full(void) {
    int i;
    exact();
    for (i = 1; i < CELLS - 1; i++) MUST_EQ(rlm_window_debit(THE_WINDOW, 1, START + (uint64_t)i * MS), RLM_OK);
}

/* What a window tells, and admits, from then on. */
static void window_end_at(uint64_t now_ns, uint64_t amount) {
    rlm_usage usage;
    uint64_t n;
    int i;
    for (i = 0; i < 4; i++, now_ns += 340 * MS) {
        MUST_EQ(rlm_window_status(THE_WINDOW, &usage, now_ns), RLM_OK);
        explore_note(usage.limit << 32 | usage.used);
        explore_note(usage.reset_ns);
        for (n = 1; n <= amount; n += amount / 3) explore_note(rlm_window_peek(THE_WINDOW, n, now_ns));
    }
    now_ns += RLM_HOUR_NS;
    MUST_EQ(rlm_window_take(THE_WINDOW, usage.limit, now_ns, NULL), 0);
    MUST(rlm_window_take(THE_WINDOW, 1, now_ns, NULL) != 0);
    MUST_EQ(rlm_window_take(THE_WINDOW, usage.limit, now_ns + 2 * SECOND, NULL), 0);
}

static void exact_end(void) { window_end_at(START + 10 * MS, 3); }

static void exact_end_kept(void) {
    must_keep_window(3);
    exact_end();
}

static uint64_t exact_takes(int thread, int at) {
    (void)at;
    return window_take(thread == 1 ? 2 : 1, START + MS);
}

/* A record may be stamped with the later time of another thread that tried to write it: it then leaves later. */
static uint64_t exact_times(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(1, START);
    case OP(0, 1): return window_take(1, START + 999 * MS);
    case OP(1, 0): return window_take(2, START + 500 * MS);
    default: return window_take(2, START + 1001 * MS);
    }
}

static uint64_t exact_credit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(2, START + MS);
    case OP(0, 1): return window_take(1, START + MS);
    case OP(1, 0): return window_credit(1, world.mark[3]);
    default: return window_take(1, START + MS);
    }
}

static uint64_t exact_debit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(1, START + MS);
    case OP(0, 1): return window_take(1, START + MS);
    case OP(1, 0): return window_debit(4, START + MS);
    default: return window_credit(1, world.mark[3]);
    }
}

static uint64_t exact_roll(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(1, START + 1015 * MS);
    case OP(0, 1): return window_take(1, START + 1015 * MS);
    case OP(1, 0): return window_take(2, START + 1015 * MS);
    default: return window_take(1, START + 1015 * MS);
    }
}

static uint64_t exact_roll_times(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(1, START + 1005 * MS);
    case OP(0, 1): return window_take(1, START + 1600 * MS);
    case OP(1, 0): return window_take(2, START + 1015 * MS);
    default: return window_take(1, START + 1510 * MS);
    }
}

static void exact_roll_end(void) {
    must_keep_window(3);
    window_end_at(START + 1700 * MS, 3);
}

static uint64_t exact_join(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_debit(1, START + 5 * MS);
    case OP(0, 1): return window_take(1, START + 1002 * MS);
    case OP(1, 0): return window_debit(1, START + 6 * MS);
    default: return window_take(1, START + 1004 * MS);
    }
}

static uint64_t exact_reconfigure(int thread, int at) {
    rlm_usage usage;
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(1, START);
    case OP(0, 1): return window_take(1, START);
    case OP(1, 0): return window_reconfigure(2);
    default:
        MUST_EQ(rlm_window_status(THE_WINDOW, &usage, START), RLM_OK);
        explore_note(usage.used);
        return 0;
    }
}

static void exact_ahead(void) {
    exact();
    MUST_EQ(rlm_window_take(THE_WINDOW, 3, START + RLM_HOUR_NS, NULL), 0);
}

static uint64_t window_set_back(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(1, START + 2 * SECOND);
    case OP(0, 1): return window_take(2, START + 4 * SECOND);
    case OP(1, 0): return window_take(2, START + 4 * SECOND);
    default: return window_take(1, HOUR_AHEAD);
    }
}

static uint64_t slots_set_back(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(40, START + 2 * SECOND);
    case OP(0, 1): return window_take(60, START + 4 * SECOND);
    case OP(1, 0): return window_take(60, START + 4 * SECOND);
    default: return window_take(30, HOUR_AHEAD);
    }
}

/* One window for those that believe the clock, and one for the reading that is ahead. */
static void window_set_back_end(void) {
    uint64_t amount = THE_WINDOW->amount, after = START + 2 * RLM_HOUR_NS, sum = 0;
    bool ahead = explore_done(2, 0);
    size_t i;
    for (i = 1; i < world.logged; i++) { /* the first was before */
        sum += world.log[i].n;
        ahead |= world.seen_ns[i] > START + RLM_HOUR_NS; /* it had a part in it, though it was refused then */
    }
    MUST(sum <= amount * (ahead ? 2 : 1));
    MUST_EQ(rlm_window_take(THE_WINDOW, amount, after, NULL), 0);
    MUST(rlm_window_take(THE_WINDOW, 1, after, NULL) != 0);
}

/* -- the same with slots: 100 a second in 3 slots of 334 ms, 50 of it taken -- */

static void slots(void) { window_of(100, 50); }
static void slots_ahead(void) {
    slots();
    MUST_EQ(rlm_window_take(THE_WINDOW, 100, START + RLM_HOUR_NS, NULL), 0);
}

static void slots_end(void) { window_end_at(START + 10 * MS, 100); }
static void slots_end_kept(void) {
    must_keep_window(100);
    slots_end();
}

static uint64_t slots_takes(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(20, START);
    case OP(0, 1): return window_take(20, START + MS);
    case OP(1, 0): return window_take(30, START + MS);
    default: return window_take(10, START + 2 * MS);
    }
}

static uint64_t slots_credit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(60, START);
    case OP(0, 1): return window_take(20, START + MS);
    case OP(1, 0): return window_credit(20, world.mark[3]);
    default: return window_take(30, START + 400 * MS);
    }
}

/* The next slot is begun by three at once. */
static uint64_t slots_roll(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(30, START + 400 * MS);
    case OP(0, 1): return window_take(10, START + 400 * MS);
    case OP(1, 0): return window_take(20, START + 400 * MS);
    default: return window_credit(20, world.mark[3]);
    }
}

/* The next slot is begun by two at once; the third is a slot further, and then it is late. */
static uint64_t slots_times(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(30, START + 400 * MS);
    case OP(0, 1): return window_take(40, START + 1400 * MS);
    case OP(1, 0): return window_take(20, START + 400 * MS);
    default: return window_take(40, START + 800 * MS);
    }
}

static void slots_times_end(void) {
    must_keep_window(100);
    window_end_at(START + 1500 * MS, 100);
}

/* All slots are over. */
static uint64_t slots_skip(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(60, START + 5 * SECOND);
    case OP(0, 1): return window_take(40, START + 5 * SECOND);
    case OP(1, 0): return window_take(60, START + 5 * SECOND + 400 * MS);
    default: return window_credit(10, world.mark[3]);
    }
}

static void slots_skip_end(void) {
    must_keep_window(100);
    window_end_at(START + 5 * SECOND + 410 * MS, 100);
}

static uint64_t slots_debit(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return window_take(50, START);
    case OP(0, 1): return window_take(10, START + 400 * MS);
    case OP(1, 0): return window_debit(120, START + 400 * MS);
    default: return window_reconfigure(150);
    }
}

/* -- concurrency: 2, of which 1 is out -- */

static void concurrency(void) {
    rlm_limit limit = rlm_concurrent(2);
    MUST_EQ(rlm_concurrency_init(&world.concurrency, &limit), RLM_OK);
    MUST_EQ(rlm_concurrency_take(&world.concurrency, 1), 0);
}

static void concurrency_held(void) {
    uint64_t word = world.concurrency.word;
    MUST((word >> 32) - 1 < 4);
    MUST((word & UINT32_MAX) <= 4);
}

static void concurrency_kept(void) { MUST((world.concurrency.word & UINT32_MAX) <= world.concurrency.word >> 32); }

static void concurrency_end(void) {
    explore_note(world.concurrency.word);
    while (rlm_concurrency_release(&world.concurrency, 1) == RLM_OK) continue;
    MUST_EQ(world.concurrency.word & UINT32_MAX, 0);
    MUST_EQ(rlm_concurrency_take(&world.concurrency, world.concurrency.word >> 32), 0);
}

static uint64_t permits(uint64_t n) { return rlm_concurrency_take(&world.concurrency, n); }
static uint64_t release(uint64_t n) { return (uint64_t)rlm_concurrency_release(&world.concurrency, n); }

static uint64_t concurrency_takes(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return permits(1);
    case OP(0, 1): return release(1);
    case OP(1, 0): return permits(2);
    default: return permits(1);
    }
}

static uint64_t concurrency_releases(int thread, int at) {
    (void)at;
    return thread == 2 ? permits(1) : release(1);
}

static uint64_t concurrency_reconfigure(int thread, int at) {
    rlm_limit limit = rlm_concurrent(at == 0 ? 3 : 1);
    if (thread == 1) return (uint64_t)rlm_concurrency_reconfigure(&world.concurrency, &limit);
    if (thread == 0) return permits(1 + (uint64_t)at);
    return release(1);
}

/* -- calendar: 5 a minute, 3 of them used -- */

static uint64_t calendar_take(uint64_t n, uint64_t now_ns) {
    return rlm_calendar_take(&world.calendar, n, now_ns, &world.mark[x.current]);
}

static uint64_t calendar_credit(uint64_t n, uint64_t mark) { return (uint64_t)rlm_calendar_credit(&world.calendar, n, mark); }

static void calendar(void) {
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, 5, RLM_MINUTE_NS, 0);
    MUST_EQ(rlm_calendar_init(&world.calendar, &limit, START), RLM_OK);
    MUST_EQ(rlm_calendar_take(&world.calendar, 3, START, &world.mark[3]), 0);
}

static void calendar_ahead(void) {
    calendar();
    MUST_EQ(rlm_calendar_take(&world.calendar, 5, START + RLM_HOUR_NS, NULL), 0);
}

static void calendar_end_at(uint64_t now_ns) {
    rlm_usage usage;
    int i;
    explore_note(world.calendar.word);
    for (i = 0; i < 2; i++, now_ns += RLM_MINUTE_NS) {
        uint64_t n;
        MUST_EQ(rlm_calendar_status(&world.calendar, &usage, now_ns), RLM_OK);
        explore_note(usage.limit << 32 | usage.used);
        for (n = 1; n <= 5; n += 2) explore_note(rlm_calendar_peek(&world.calendar, n, now_ns));
    }
    now_ns += 2 * RLM_HOUR_NS;
    MUST_EQ(rlm_calendar_take(&world.calendar, usage.limit, now_ns, NULL), 0);
    MUST(rlm_calendar_take(&world.calendar, 1, now_ns, NULL) != 0);
}

static void calendar_end(void) { calendar_end_at(START); }

static uint64_t calendar_takes(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return calendar_take(1, START);
    case OP(0, 1): return calendar_take(1, START);
    case OP(1, 0): return calendar_take(2, START);
    default: return calendar_credit(1, world.mark[3]);
    }
}

/* The next period is begun by two at once, while something is given back to the last one. */
static uint64_t calendar_roll(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return calendar_take(3, START + RLM_MINUTE_NS);
    case OP(0, 1): return calendar_take(1, START + 30 * SECOND);
    case OP(1, 0): return calendar_take(3, START + RLM_MINUTE_NS);
    default: return calendar_credit(2, world.mark[3]);
    }
}

static void calendar_roll_end(void) {
    uint64_t taken = 3u * explore_done(0, 0) + explore_done(0, 1) + 3u * explore_done(1, 0);
    MUST(taken <= 5 + 2 && 3u * explore_done(0, 0) + 3u * explore_done(1, 0) <= 5);
    calendar_end_at(START + RLM_MINUTE_NS);
}

static uint64_t calendar_changes(int thread, int at) {
    rlm_limit limit = rlm_fixed(RLM_REQUESTS, at == 0 ? 4 : 8, RLM_MINUTE_NS, 0);
    rlm_calendar_saved saved = {START / RLM_MINUTE_NS, 1};
    if (thread == 0) return calendar_take(1, START);
    if (thread == 1) return (uint64_t)rlm_calendar_reconfigure(&world.calendar, &limit);
    return (uint64_t)rlm_calendar_restore(&world.calendar, &saved, START);
}

static uint64_t calendar_set_back(int thread, int at) {
    switch (OP(thread, at)) {
    case OP(0, 0): return calendar_take(1, START);
    case OP(0, 1): return calendar_take(1, START + 61 * SECOND);
    case OP(1, 0): return calendar_take(1, START + 61 * SECOND);
    default: return calendar_take(1, START + RLM_HOUR_NS);
    }
}

/* What was used counts on: the quota of that period was used up, unless another has begun. */
static void calendar_set_back_end(void) {
    MUST(explore_done(2, 0) || (!explore_done(0, 0) && !explore_done(0, 1) && !explore_done(1, 0)));
    MUST_EQ(rlm_calendar_take(&world.calendar, 5, START + 2 * RLM_HOUR_NS, NULL), 0);
    MUST(rlm_calendar_take(&world.calendar, 1, START + 2 * RLM_HOUR_NS, NULL) != 0);
}

/* -- limiter: 3 requests at once, 10 a second; 100 input tokens a second; 2 at a time -- */

static const rlm_cost large = {1, 60, 0, 0, 0}, small = {1, 30, 0, 0, 0};

static rlm_limit tokens(uint64_t amount) {
    rlm_limit limit = rlm_sliding(RLM_INPUT_TOKENS, amount, SECOND);
    limit.cells = CELLS;
    return limit;
}

static void limiter(void) {
    rlm_limit limits[3];
    limits[0] = rate(10, 3);
    limits[1] = tokens(100);
    limits[2] = rlm_concurrent(2);
    MUST_EQ(rlm_limiter_init(&world.limiter, limits, 3, START), RLM_OK);
}

/* Permit 3 is out. */
static void limiter_in_use(void) {
    limiter();
    MUST_EQ(rlm_acquire(&world.limiter, &small, START, &world.permit[3]), 0);
}

/* Permit 2 too. */
static void limiter_full(void) {
    limiter_in_use();
    MUST_EQ(rlm_acquire(&world.limiter, &small, START, &world.permit[2]), 0);
}

/* The bucket last, so that what fails is found when two others were taken from. */
static void limiter_bucket_last(void) {
    rlm_limit limits[3];
    limits[0] = tokens(100);
    limits[1] = rlm_fixed(RLM_REQUESTS, 9, RLM_HOUR_NS, 0);
    limits[2] = rate(10, 1);
    MUST_EQ(rlm_limiter_init(&world.limiter, limits, 3, START), RLM_OK);
}

static uint64_t acquire(const rlm_cost *cost, uint64_t now_ns) {
    return rlm_acquire(&world.limiter, cost, now_ns, &world.permit[x.current]);
}

static uint64_t settle(int permit, uint64_t input_tokens, uint64_t now_ns) {
    rlm_cost actual = {1, 0, 0, 0, 0};
    actual.input_tokens = input_tokens;
    return (uint64_t)rlm_settle(&world.limiter, &world.permit[permit], &actual, now_ns);
}

static uint64_t cancel(int permit, uint64_t now_ns) { return (uint64_t)rlm_cancel(&world.limiter, &world.permit[permit], now_ns); }

static void note_limiter(uint64_t now_ns) {
    rlm_usage usage;
    size_t i;
    for (i = 0; i < world.limiter.count; i++) {
        MUST_EQ(rlm_status(&world.limiter, i, &usage, now_ns), RLM_OK);
        explore_note(usage.limit << 32 | usage.used);
    }
}

/* What is used; after all that is out was given back, nothing. */
static void limiter_end(void) {
    uint64_t now_ns = START + 10 * MS;
    rlm_usage usage;
    size_t i;
    note_limiter(now_ns);
    explore_note(rlm_recent(&world.limiter, now_ns));
    for (i = 0; i < EXPLORE_THREADS; i++) (void)rlm_cancel(&world.limiter, &world.permit[i], now_ns);
    for (i = 0; i < world.limiter.count; i++) {
        MUST_EQ(rlm_status(&world.limiter, i, &usage, now_ns), RLM_OK);
        explore_note(usage.limit << 32 | usage.used);
    }
}

static void limiter_end_unused(void) {
    rlm_usage usage;
    size_t i;
    limiter_end();
    for (i = 0; i < world.limiter.count && !x.killed; i++) {
        MUST_EQ(rlm_status(&world.limiter, i, &usage, START + 10 * MS), RLM_OK);
        MUST_EQ(usage.used, 0);
    }
}

/* With a thread killed at it: what it took may be lost, but no more than it asked for, and others get through. */
static void limiter_works(void) {
    rlm_usage usage;
    uint64_t now_ns = START + RLM_HOUR_NS;
    size_t i;
    for (i = 0; i < world.limiter.count; i++) {
        MUST_EQ(rlm_status(&world.limiter, i, &usage, START + 10 * MS), RLM_OK);
        if (world.limiter.entry[i].kind == RLM_CONCURRENCY) MUST(usage.used <= usage.limit);
    }
    for (i = 0; i < EXPLORE_THREADS; i++) (void)rlm_cancel(&world.limiter, &world.permit[i], START + 10 * MS);
    MUST_EQ(rlm_acquire(&world.limiter, &large, now_ns, &world.permit[0]), 0);
    MUST_EQ(rlm_settle(&world.limiter, &world.permit[0], &small, now_ns), RLM_OK);
    now_ns += SECOND;
    MUST_EQ(rlm_acquire(&world.limiter, &large, now_ns, &world.permit[0]), 0);
    MUST_EQ(rlm_cancel(&world.limiter, &world.permit[0], now_ns), RLM_OK);
}

static void limiter_end_or_works(void) {
    if (x.killed) limiter_works();
    else limiter_end_unused();
}

static void limiter_end_used_or_works(void) {
    if (x.killed) limiter_works();
    else limiter_end();
}

/* At no moment is more out than may be. */
static void limiter_kept(void) {
    size_t i;
    for (i = 0; i < world.limiter.count; i++) {
        const rlm_i_entry *entry = &world.limiter.entry[i];
        if (entry->kind == RLM_CONCURRENCY) MUST((entry->as.concurrency.word & UINT32_MAX) <= entry->as.concurrency.word >> 32);
    }
}

/* How many of the threads' first operations were done. */
static int how_many_first(void) {
    int t, count = 0;
    for (t = 0; t < x.plan->threads; t++) count += explore_done(t, 0);
    return count;
}

static uint64_t acquire_one(int thread, int at) {
    (void)at;
    return acquire(&large, START + (uint64_t)thread * MS);
}

static void acquire_one_end(void) {
    MUST(how_many_first() <= 1);
    if (!x.killed && !x.sequential) MUST(x.plan->threads > 2 || explore_done(0, 0) + explore_done(1, 0) == 1);
    limiter_end_or_works();
}

/* The bucket has one: a thread that loses it has taken tokens and a quota by then. */
static uint64_t acquire_last(int thread, int at) {
    (void)at;
    return acquire(&small, START + (uint64_t)thread * MS);
}

static void acquire_last_end(void) {
    MUST(how_many_first() <= 1);
    limiter_end_or_works();
}

static uint64_t acquire_settle(int thread, int at) {
    (void)at;
    if (thread == 0) return acquire(&large, START);
    if (thread == 1) return settle(3, 20, START);
    return acquire(&small, START);
}

static uint64_t acquire_cancel(int thread, int at) {
    (void)at;
    if (thread == 0) return acquire(&large, START);
    return cancel(thread == 1 ? 3 : 2, START);
}

static uint64_t acquire_own(int thread, int at) {
    return at == 0 ? acquire(&large, START) : settle(thread, 60, START);
}

static uint64_t settle_twice(int thread, int at) {
    (void)at;
    return thread == 2 ? cancel(3, START) : settle(3, thread == 0 ? 70 : 10, START);
}

static void settle_twice_end(void) {
    MUST(how_many_first() <= 1);
    if (!x.killed && !x.sequential) MUST(how_many_first() == 1);
    limiter_end_used_or_works();
}

/* More than the window can count: the debit is refused when the bucket's was made, and that one given back. */
static uint64_t settle_too_much(int thread, int at) {
    rlm_cost actual = {3, RLM_AMOUNT_MAX, 0, 0, 0};
    (void)at;
    if (thread == 0) explore_note((uint64_t)rlm_settle(&world.limiter, &world.permit[3], &actual, START));
    if (thread == 0) return 0;
    return thread == 1 ? acquire(&small, START) : cancel(2, START);
}

static uint64_t debit_all(int thread, int at) {
    rlm_cost much = {2, RLM_AMOUNT_MAX, 0, 0, 0}, some = {1, 20, 0, 0, 0};
    (void)at;
    if (thread == 0) explore_note((uint64_t)rlm_debit(&world.limiter, &much, START));
    if (thread == 0) return 0;
    return thread == 1 ? (uint64_t)rlm_debit(&world.limiter, &some, START) : acquire(&small, START);
}

static uint64_t acquire_reconfigure(int thread, int at) {
    rlm_limit limit = at == 0 ? rate(30, 6) : rlm_concurrent(1);
    if (thread == 0) return acquire(&large, START);
    if (thread == 1) return (uint64_t)rlm_reconfigure(&world.limiter, at == 0 ? 0 : 2, &limit, START);
    return settle(3, 30, START);
}

static uint64_t acquire_window_reconfigure(int thread, int at) {
    rlm_limit limit = tokens(at == 0 ? 50 : 200);
    if (thread == 0) return acquire(&large, START);
    if (thread == 1) return (uint64_t)rlm_reconfigure(&world.limiter, 1, &limit, START);
    return settle(3, 30, START);
}

static uint64_t acquire_pause(int thread, int at) {
    if (thread == 0) return acquire(&small, START);
    if (thread == 1) return (uint64_t)rlm_pause(&world.limiter, 0, 300 * MS, START);
    return (uint64_t)rlm_pause(&world.limiter, RLM_ALL, at == 0 ? 500 * MS : 0, START);
}

static void pause_end(void) {
    rlm_cost one = {1, 1, 0, 0, 0};
    explore_note(rlm_check(&world.limiter, &one, START + 10 * MS, NULL));
    limiter_end();
}

/* The longer of two pauses holds, whichever came first. */
static uint64_t pause_pause(int thread, int at) {
    (void)at;
    return (uint64_t)rlm_pause(&world.limiter, 0, (uint64_t)(thread + 1) * 300 * MS, START + (uint64_t)thread * MS);
}

static void pause_pause_end(void) {
    rlm_cost one = {1, 1, 0, 0, 0};
    uint64_t longest = 0, wait_ns;
    int t;
    for (t = 0; t < x.plan->threads; t++)
        if (explore_done(t, 0)) longest = (uint64_t)(t + 1) * 300 * MS + (uint64_t)t * MS;
    wait_ns = rlm_check(&world.limiter, &one, START, NULL);
    MUST(wait_ns >= longest && wait_ns <= (uint64_t)x.plan->threads * 301 * MS);
    MUST_EQ(rlm_check(&world.limiter, &one, START + 2 * SECOND, NULL), 0);
}

static uint64_t count_three(int thread, int at) {
    rlm_i_count(&world.limiter, 1, START + (uint64_t)(thread == 2 ? 2 * SECOND : 0) + (uint64_t)at);
    return 0;
}

static void count_end(void) {
    explore_note(rlm_recent(&world.limiter, START + 4 * SECOND));
    explore_note(rlm_recent(&world.limiter, START + 61 * SECOND));
}

/* -- answers of a server -- */

static rlm_feedback answer(uint32_t outcome, uint64_t limit, uint64_t remaining) {
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = outcome;
    feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
    feedback.count = 1;
    feedback.reading[0] = rlm_reading_none(RLM_INPUT_TOKENS);
    feedback.reading[0].limit = limit;
    feedback.reading[0].remaining = remaining;
    feedback.reading[0].period_ns = SECOND;
    return feedback;
}

static uint64_t observe(int permit, uint64_t limit, uint64_t remaining) {
    rlm_feedback feedback = answer(RLM_ANSWERED, limit, remaining);
    return (uint64_t)rlm_observe(&world.limiter, &world.permit[permit], &feedback, START + 5 * MS);
}

/* The server says that 25 of 100 remain, of which at most 10 or so are believed by its own account. */
static uint64_t observe_acquire(int thread, int at) {
    (void)at;
    if (thread == 0) return observe(3, 100, 25);
    if (thread == 1) return acquire(&small, START + MS);
    return settle(2, 30, START + 5 * MS);
}

/* What remains is at most what the server said, and what came later: here none. */
static void observe_acquire_end(void) {
    rlm_usage usage;
    MUST_EQ(rlm_status(&world.limiter, 1, &usage, START + 10 * MS), RLM_OK);
    if (explore_done(0, 0)) MUST(usage.used >= 75 && usage.used <= 75 + 30 + 30);
    limiter_end_used_or_works();
}

static uint64_t observe_settle(int thread, int at) {
    (void)at;
    if (thread == 0) return observe(3, 100, 25);
    return thread == 1 ? settle(3, 30, START + 5 * MS) : acquire(&small, START + 5 * MS);
}

/* Two answers at once: one is taken in, or both, one after the other. */
static uint64_t observe_observe(int thread, int at) {
    (void)at;
    if (thread == 2) return acquire(&small, START + MS);
    return observe(3 - thread, thread == 0 ? 90 : 80, thread == 0 ? 20 : 10);
}

static void observe_observe_end(void) {
    rlm_usage usage;
    MUST_EQ(rlm_status(&world.limiter, 1, &usage, START + 10 * MS), RLM_OK);
    if (!x.killed) {
        MUST(usage.limit == 90 || usage.limit == 80);
        MUST(usage.used >= 70 && usage.used <= 70 + 60);
        MUST_EQ(world.limiter.learning, 0);
    }
    limiter_end_used_or_works();
}

/* A refusal that names the tokens, and how long to wait: nothing is admitted meanwhile. */
static uint64_t observe_refusal(int thread, int at) {
    rlm_feedback feedback = answer(RLM_REFUSED, RLM_UNSAID, RLM_UNSAID);
    (void)at;
    feedback.count = 0;
    feedback.named = UINT32_C(1) << (thread == 0 ? RLM_INPUT_TOKENS : RLM_REQUESTS);
    feedback.retry_after_ns = 700 * MS;
    if (thread == 2) return acquire(&small, START + 6 * MS);
    return (uint64_t)rlm_observe(&world.limiter, &world.permit[3 - thread], &feedback, START + 5 * MS);
}

static void observe_refusal_end(void) {
    rlm_cost one = {1, 1, 0, 0, 0};
    if (explore_done(0, 0)) MUST(rlm_check(&world.limiter, &one, START + 6 * MS, NULL) >= 699 * MS);
    if (!x.killed) {
        MUST_EQ(world.limiter.learning, 0);
        MUST(rlm_check(&world.limiter, &one, START + 5 * SECOND, NULL) <= RLM_ON_RELEASE);
    }
    limiter_end_used_or_works();
}

/* A bucket whose rate the server changes while it is taken from. */
static void follower(void) {
    rlm_limit limits[2];
    limits[0] = rlm_per_minute(RLM_INPUT_TOKENS, 100);
    limits[0].follow = RLM_FOLLOW;
    limits[1] = rlm_concurrent(3);
    MUST_EQ(rlm_limiter_init(&world.limiter, limits, 2, START), RLM_OK);
    MUST_EQ(rlm_acquire(&world.limiter, &small, START, &world.permit[3]), 0);
}

static uint64_t observe_rate(int thread, int at) {
    rlm_feedback feedback = answer(RLM_ANSWERED, 50, 10);
    (void)at;
    feedback.reading[0].period_ns = RLM_MINUTE_NS;
    if (thread == 0) return (uint64_t)rlm_observe(&world.limiter, &world.permit[3], &feedback, START + 5 * MS);
    return thread == 1 ? acquire(&small, START + 5 * MS) : settle(3, 30, START + 5 * MS);
}

/* What is known of the server is believed: 10 remained, less what went out. */
static void observe_rate_end(void) {
    rlm_usage usage;
    size_t i;
    MUST_EQ(rlm_status(&world.limiter, 0, &usage, START + 5 * MS), RLM_OK);
    if (explore_done(0, 0)) MUST(usage.limit == 50 && usage.remaining <= 10);
    if (!x.killed) MUST_EQ(world.limiter.learning, 0);
    explore_note(usage.limit);
    for (i = 0; i < EXPLORE_THREADS; i++) (void)rlm_settle(&world.limiter, &world.permit[i], &small, START + 6 * MS);
    MUST_EQ(rlm_acquire(&world.limiter, &small, START + RLM_HOUR_NS, &world.permit[0]), 0);
}

/* Nothing is known: one at a time, until the first answer. */
static void learner(void) {
    rlm_limit limits[2];
    limits[0] = rlm_learned(RLM_REQUESTS, SECOND);
    limits[1] = rlm_per_second(RLM_OUTPUT_TOKENS, 10);
    MUST_EQ(rlm_limiter_init(&world.limiter, limits, 2, START), RLM_OK);
}

static void learner_in_use(void) {
    learner();
    MUST_EQ(rlm_acquire(&world.limiter, &small, START, &world.permit[3]), 0);
}

/* The third asks for too much: its place is free again. */
static uint64_t probe_acquire(int thread, int at) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    cost.output_tokens = thread == 2 ? 11 : 1;
    return at == 0 ? acquire(&cost, START) : cancel(thread, START);
}

static void one_is_out(void) {
    int t, out = 0;
    for (t = 0; t < EXPLORE_THREADS; t++) out += world.permit[t].state == RLM_I_PERMIT_OUT;
    MUST(out <= 1);
    MUST((world.limiter.probe & UINT32_MAX) <= 1);
}

static void probe_end(void) {
    if (!x.killed) MUST_EQ(world.limiter.probe & UINT32_MAX, 0);
    explore_note(world.limiter.probe);
}

static uint64_t probe_answer(int thread, int at) {
    rlm_feedback feedback = answer(RLM_ANSWERED, 7, 5);
    feedback.reading[0].meter = RLM_REQUESTS;
    if (thread == 1) return acquire(&small, START + 5 * MS);
    if (thread == 2) return acquire(&small, START + 6 * MS);
    if (at == 0) return (uint64_t)rlm_observe(&world.limiter, &world.permit[3], &feedback, START + 5 * MS);
    return settle(3, 30, START + 5 * MS);
}

/* After the first answer any number may be out, and at most what the server said. */
static void probe_answer_end(void) {
    rlm_usage usage;
    uint64_t later = (uint64_t)explore_done(1, 0) + (uint64_t)(x.plan->threads > 2 && explore_done(2, 0));
    if (x.killed) return;
    MUST_EQ(world.limiter.probe, 0);
    MUST_EQ(rlm_status(&world.limiter, 0, &usage, START + 6 * MS), RLM_OK);
    MUST(usage.limit == 7 && usage.used >= 2 && usage.used <= 3 + 2 * later);
}

/* -- estimates -- */

static void route(void) { MUST_EQ(rlm_route_init(&world.route, 900), RLM_OK); }

static uint64_t route_learn(int thread, int at) {
    rlm_cost estimate = {1, 100, 1000, 0, 0}, actual = {1, 120, 10, 0, 0};
    actual.output_tokens += (uint64_t)(100 * thread + at);
    return (uint64_t)rlm_route_learn(&world.route, &estimate, &actual);
}

static void route_end(void) {
    uint64_t sum = 0;
    int i;
    for (i = 0; i < RLM_I_ROUTE_BINS; i++) sum += world.route.bin[i];
    explore_note(sum);
    explore_note(world.route.outputs);
    explore_note(world.route.input & UINT16_MAX);
}

/* -- the list -- */

#define ALL EXPLORE_ALL

static const explore_plan plans[] = {
    {"bucket-take", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     bucket, take_take, {2, 1, 1}, bucket_end_kept, word_rises, 0},
    {"bucket-credit", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     bucket, take_credit, {2, 1, 1}, bucket_end, NULL, 1},
    {"bucket-debit", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     bucket, take_debit, {2, 1, 1}, bucket_end, NULL, 1},
    {"bucket-debit-debit", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     bucket, debit_debit, {1, 1, 1}, bucket_end, NULL, 0},
    {"bucket-reserve", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     bucket, reserve_take, {2, 1, 1}, bucket_end, NULL, 0},
    {"bucket-reconfigure-up", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     bucket, reconfigure_up, {2, 1, 1}, bucket_end, NULL, 1},
    {"bucket-reconfigure-down", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     bucket, reconfigure_down, {2, 1, 1}, bucket_end, NULL, 1},
    {"bucket-reconfigure-refused", 2, EXPLORE_LINEAR, ALL, ALL, ALL,
     bucket, reconfigure_refused, {2, 1}, bucket_end, NULL, 0},
    {"bucket-reconfigure-reserve", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     bucket, reconfigure_reserve, {1, 1, 1}, bucket_end, NULL, 0},
    {"bucket-reconfigure-two", 3, EXPLORE_REFUSES, ALL, 1, ALL,
     bucket, reconfigure_two, {1, 1, 1}, bucket_end, NULL, 0},
    {"bucket-reconfigure-twice", 2, EXPLORE_LINEAR, 3, 1, ALL,
     bucket, reconfigure_twice, {1, 3}, bucket_end, NULL, 0},
    {"bucket-reconfigure-four", 2, EXPLORE_FREE, 2, 2, ALL,
     bucket_idle, reconfigure_four, {1, 4}, reconfigure_four_end, NULL, -1},
    {"bucket-status", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     bucket, status_of_bucket, {1, 2, 1}, bucket_end, NULL, -1},
    {"bucket-stale", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     bucket, stale_takes, {2, 1, 1}, stale_end, NULL, 0},
    {"bucket-set-back", 3, EXPLORE_FREE, ALL, 1, ALL,
     bucket_ahead, set_back, {2, 1, 1}, set_back_end, NULL, 0},
    {"bucket-renew", 3, EXPLORE_REFUSES, 2, 1, 3,
     bucket, renew, {2, 1, 1}, renew_end, NULL, 0},
    {"window-exact-take", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     exact, exact_takes, {2, 1, 1}, exact_end_kept, NULL, 0},
    {"window-exact-times", 3, EXPLORE_FREE, 3, 1, ALL,
     exact, exact_times, {2, 1, 1}, exact_end_kept, NULL, 0},
    {"window-exact-credit", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     exact, exact_credit, {2, 1, 1}, exact_end, NULL, 1},
    {"window-exact-debit", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     exact, exact_debit, {2, 1, 1}, exact_end, NULL, 1},
    {"window-exact-roll", 3, EXPLORE_LINEAR, ALL, 1, ALL,
     exact_to_roll, exact_roll, {2, 1, 1}, exact_roll_end, NULL, 0},
    {"window-exact-roll-times", 3, EXPLORE_FREE, 3, 1, ALL,
     exact_to_roll, exact_roll_times, {2, 1, 1}, exact_roll_end, NULL, 0},
    {"window-exact-full", 3, EXPLORE_FREE, 3, 1, ALL,
     exact_full, exact_join, {2, 1, 1}, exact_end, NULL, 0},
    {"window-exact-reconfigure", 3, EXPLORE_SERIAL, ALL, 1, ALL,
     exact, exact_reconfigure, {2, 1, 1}, exact_end, NULL, 1},
    {"window-exact-set-back", 3, EXPLORE_FREE, 3, 1, ALL,
     exact_ahead, window_set_back, {2, 1, 1}, window_set_back_end, NULL, 0},
    {"window-slots-take", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     slots, slots_takes, {2, 1, 1}, slots_end_kept, NULL, 0},
    {"window-slots-credit", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     slots, slots_credit, {2, 1, 1}, slots_end, NULL, 1},
    {"window-slots-roll", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     slots, slots_roll, {2, 1, 1}, slots_end, NULL, 0},
    {"window-slots-times", 3, EXPLORE_FREE, 3, 1, ALL,
     slots, slots_times, {2, 1, 1}, slots_times_end, NULL, 0},
    {"window-slots-skip", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     slots, slots_skip, {2, 1, 1}, slots_skip_end, NULL, 0},
    {"window-slots-debit", 3, EXPLORE_SERIAL, ALL, ALL, ALL,
     slots, slots_debit, {2, 1, 1}, slots_end, NULL, 1},
    {"window-slots-set-back", 3, EXPLORE_FREE, 3, 1, ALL,
     slots_ahead, slots_set_back, {2, 1, 1}, window_set_back_end, NULL, 0},
    {"concurrency-take", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     concurrency, concurrency_takes, {2, 1, 1}, concurrency_end, concurrency_kept, 0},
    {"concurrency-release", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     concurrency, concurrency_releases, {1, 1, 1}, concurrency_end, concurrency_kept, 0},
    {"concurrency-reconfigure", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     concurrency, concurrency_reconfigure, {2, 2, 1}, concurrency_end, concurrency_held, 1},
    {"calendar-take", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     calendar, calendar_takes, {2, 1, 1}, calendar_end, NULL, 0},
    {"calendar-roll", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     calendar, calendar_roll, {2, 1, 1}, calendar_roll_end, NULL, 0},
    {"calendar-changes", 3, EXPLORE_SERIAL, ALL, ALL, ALL,
     calendar, calendar_changes, {2, 2, 1}, calendar_end, NULL, 1},
    {"calendar-set-back", 3, EXPLORE_FREE, ALL, ALL, ALL,
     calendar_ahead, calendar_set_back, {2, 1, 1}, calendar_set_back_end, NULL, 0},
    {"limiter-acquire-two", 2, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter, acquire_one, {1, 1}, acquire_one_end, limiter_kept, 0},
    {"limiter-acquire-three", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter, acquire_one, {1, 1, 1}, acquire_one_end, limiter_kept, -1},
    {"limiter-roll-back", 2, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter_bucket_last, acquire_last, {1, 1}, acquire_last_end, NULL, 0},
    {"limiter-roll-back-three", 3, EXPLORE_REFUSES, 3, 1, ALL,
     limiter_bucket_last, acquire_last, {1, 1, 1}, acquire_last_end, NULL, -1},
    {"limiter-settle", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter_in_use, acquire_settle, {1, 1, 1}, limiter_end_used_or_works, limiter_kept, 1},
    {"limiter-cancel", 3, EXPLORE_REFUSES, ALL, 1, ALL,
     limiter_full, acquire_cancel, {1, 1, 1}, limiter_end_or_works, limiter_kept, 1},
    {"limiter-own", 2, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter, acquire_own, {2, 2}, limiter_end_used_or_works, limiter_kept, 0},
    {"limiter-settle-twice", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter_in_use, settle_twice, {1, 1, 1}, settle_twice_end, limiter_kept, 0},
    {"limiter-settle-too-much", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter_full, settle_too_much, {1, 1, 1}, limiter_end_or_works, limiter_kept, 0},
    {"limiter-debit", 3, EXPLORE_REFUSES, ALL, 1, ALL,
     limiter_in_use, debit_all, {1, 1, 1}, limiter_end_used_or_works, limiter_kept, 0},
    {"limiter-reconfigure", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter_in_use, acquire_reconfigure, {1, 2, 1}, limiter_end, NULL, -1},
    {"limiter-reconfigure-window", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter_in_use, acquire_window_reconfigure, {1, 2, 1}, limiter_end, NULL, -1},
    {"limiter-pause", 3, EXPLORE_REFUSES, ALL, ALL, ALL,
     limiter, acquire_pause, {1, 1, 1}, pause_end, NULL, -1},
    {"limiter-pause-pause", 3, EXPLORE_FREE, ALL, ALL, ALL,
     limiter, pause_pause, {1, 1, 1}, pause_pause_end, NULL, 0},
    {"limiter-count", 3, EXPLORE_LINEAR, ALL, ALL, ALL,
     limiter, count_three, {2, 2, 1}, count_end, NULL, 0},
    {"observe-acquire", 2, EXPLORE_FREE, ALL, ALL, ALL,
     limiter_full, observe_acquire, {1, 1}, observe_acquire_end, limiter_kept, 0},
    {"observe-acquire-settle", 3, EXPLORE_FREE, 2, 2, 3,
     limiter_full, observe_acquire, {1, 1, 1}, observe_acquire_end, limiter_kept, -1},
    {"observe-settle", 2, EXPLORE_FREE, ALL, ALL, ALL,
     limiter_in_use, observe_settle, {1, 1}, limiter_end_used_or_works, limiter_kept, 0},
    {"observe-settle-acquire", 3, EXPLORE_FREE, 2, 2, 3,
     limiter_in_use, observe_settle, {1, 1, 1}, limiter_end_used_or_works, limiter_kept, -1},
    {"observe-observe", 3, EXPLORE_FREE, 2, 2, 3,
     limiter_full, observe_observe, {1, 1, 1}, observe_observe_end, NULL, -1},
    {"observe-refusal", 3, EXPLORE_FREE, 2, 2, 3,
     limiter_full, observe_refusal, {1, 1, 1}, observe_refusal_end, NULL, -1},
    {"observe-rate", 2, EXPLORE_FREE, ALL, ALL, ALL,
     follower, observe_rate, {1, 1}, observe_rate_end, NULL, 0},
    {"observe-rate-settle", 3, EXPLORE_FREE, 2, 2, 3,
     follower, observe_rate, {1, 1, 1}, observe_rate_end, NULL, -1},
    {"probe-acquire", 3, EXPLORE_FREE, 3, 1, ALL,
     learner, probe_acquire, {2, 2, 2}, probe_end, one_is_out, -1},
    {"probe-answer", 2, EXPLORE_FREE, ALL, ALL, ALL,
     learner_in_use, probe_answer, {2, 1}, probe_answer_end, NULL, -1},
    {"probe-answer-two", 3, EXPLORE_FREE, 2, 2, 3,
     learner_in_use, probe_answer, {2, 1, 1}, probe_answer_end, NULL, -1},
    {"route-learn", 3, EXPLORE_SERIAL, ALL, ALL, ALL,
     route, route_learn, {2, 1, 1}, route_end, NULL, 0},
};

#define PLANS (sizeof plans / sizeof *plans)

/* -- the program -- */

static struct options {
    bool json, longer, bound_given;
    int bound;
    double seconds;
    const char *replay;
    uint32_t kill_at;
} options;

static void print_report(const explore_plan *plan, bool kills, int bound, bool good, const explore_report *report) {
    const char *format = options.json
        ? "{\"scenario\": \"%s%s\", \"ok\": %s, \"threads\": %d, \"executions\": %" PRIu64 ", \"redundant\": %" PRIu64 ", \"steps\": %" PRIu64
          ", \"longest\": %" PRIu64 ", \"exhausted\": %s, \"bound\": %s, \"seconds\": %.2f}\n"
        : "%s%s: ok %s, threads %d, executions %" PRIu64 " (and %" PRIu64 " cut short), steps %" PRIu64 " (at most %" PRIu64
          "), exhausted %s, bound %s, %.2f s\n";
    char number[16] = "null";
    if (bound != EXPLORE_ALL) snprintf(number, sizeof number, "%d", bound);
    printf(format, plan->name, kills ? "+kill" : "", good ? "true" : "false", plan->threads, report->executions, report->redundant,
           report->steps, report->longest, report->exhausted && good ? "true" : "false", number, report->seconds);
    fflush(stdout);
}

static bool run(const explore_plan *plan, bool kills) {
    explore_report report;
    int bound = options.bound_given ? options.bound : options.longer ? plan->bound_long : kills ? plan->bound_kill : plan->bound;
    bool good;
    explore_prepare(plan, &world, &image, sizeof world);
    if (options.replay != NULL) return explore_replay(kills, options.replay, options.kill_at);
    good = explore_run(kills, bound, options.seconds, &report);
    print_report(plan, kills, bound, good, &report);
    return good;
}

/* Takes an option; returns how many arguments it is. */
static int take_option(char **argv) {
    if (strcmp(argv[0], "--json") == 0) return options.json = true, 1;
    if (strcmp(argv[0], "--long") == 0) return options.longer = true, options.seconds = 3600, 1;
    if (argv[1] == NULL) return 0;
    if (strcmp(argv[0], "--seconds") == 0) return options.seconds = strtod(argv[1], NULL), 2;
    if (strcmp(argv[0], "--bound") == 0) return options.bound_given = true, options.bound = atoi(argv[1]), 2;
    if (strcmp(argv[0], "--replay") == 0) return options.replay = argv[1], 2;
    if (strcmp(argv[0], "--kill") == 0) return options.kill_at = (uint32_t)strtoul(argv[1], NULL, 10), 2;
    return 0;
}

static bool is_named(const char *plan, bool kills, char **names, int count) {
    char name[80];
    int i;
    snprintf(name, sizeof name, "%s%s", plan, kills ? "+kill" : "");
    for (i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return count == 0;
}

int main(int argc, char **argv) {
    char **names = calloc((size_t)argc, sizeof *names);
    int count = 0, i, used;
    size_t p, ran = 0, failed = 0;
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    options.seconds = 60;
    options.kill_at = UINT32_MAX;
    if (names == NULL) return 2;
    for (i = 1; i < argc && !list; i += used) {
        if ((used = take_option(&argv[i])) == 0 && argv[i][0] == '-') return fprintf(stderr, "%s: unknown option\n", argv[i]), 2;
        if (used == 0) names[count++] = argv[i], used = 1;
    }
    for (p = 0; p < 2 * PLANS; p++) {
        const explore_plan *plan = &plans[p / 2];
        bool kills = p % 2 != 0;
        if ((kills && plan->victim < 0) || !is_named(plan->name, kills, names, count)) continue;
        ran++;
        if (list) printf("%s%s\n", plan->name, kills ? "+kill" : "");
        else failed += !run(plan, kills);
    }
    free(names);
    return failed != 0 || ran == 0;
}
