/* test_clock_system.c - the clocks of rlimit.h over a system that is played: which of its clocks are read, and which
   time stamp counters are refused. */

#define _POSIX_C_SOURCE 200809L
#include <time.h>
#include <unistd.h>

#include "check.h"

#ifdef _WIN32
#error "this plays the calls of POSIX"
#endif

#define SECOND UINT64_C(1000000000)
#define MS UINT64_C(1000000)

/* Each reading of a clock takes some time, in which the counter goes on. */
static struct played {
    clockid_t clock; /* the last that was read */
    uint64_t now_ns, ticks;
    uint64_t readings, ns_each;
    uint64_t ticks_each[2]; /* in the first measurement, which reads the clock 11 times, and after */
} played;

static int play_time(clockid_t clock, struct timespec *at) {
    played.clock = clock;
    played.now_ns += played.ns_each;
    played.ticks += played.ticks_each[played.readings++ >= 11];
    at->tv_sec = (time_t)(played.now_ns / SECOND);
    at->tv_nsec = (long)(played.now_ns % SECOND);
    return 0;
}

#define clock_gettime play_time

#ifdef __x86_64__
static uint64_t play_counter(void) { return played.ticks; }
#define __builtin_ia32_rdtsc() play_counter()
#endif

#define RLM_IMPLEMENTATION
#include "rlimit.h"

static void each_clock_is_read_where_it_should_be(void) {
    memset(&played, 0, sizeof played);
    played.now_ns = 5 * SECOND + 7;
    CHECK_EQ(rlm_now(), 5 * SECOND + 7);
#ifdef CLOCK_BOOTTIME
    CHECK(played.clock == CLOCK_BOOTTIME); /* which goes on while the machine sleeps */
#else
    CHECK(played.clock == CLOCK_MONOTONIC);
#endif
    CHECK_EQ(rlm_now_coarse(), 5 * SECOND + 7);
#ifdef CLOCK_MONOTONIC_COARSE
    CHECK(played.clock == CLOCK_MONOTONIC_COARSE);
#endif
    CHECK_EQ(rlm_wall(), 5 * SECOND + 7);
    CHECK(played.clock == CLOCK_REALTIME);
}

#ifdef __x86_64__
/* Measures a counter twice for 10 ms, a reading each ms. */
static int measure(uint64_t first, uint64_t second, uint64_t ns_each, rlm_tsc *tsc) {
    memset(&played, 0, sizeof played);
    played.now_ns = 1000 * SECOND;
    played.ticks = UINT64_C(1) << 40;
    played.ns_each = ns_each;
    played.ticks_each[0] = first;
    played.ticks_each[1] = second;
    return rlm_tsc_init(tsc);
}

static void a_counter_without_one_rate_is_refused(void) {
    static const struct { uint64_t first, second, ns_each; } bad[] = {
        {0, 3000000, MS}, {3000000, 0, MS}, {0, 0, MS},             /* it stands still */
        {(uint64_t)0 - 3000000, 3000000, MS},                       /* it runs backwards, */
        {3000000, (uint64_t)0 - 3000000, MS},                       /* or another core's is behind */
        {3000000, 3000000, 5 * SECOND},                             /* the thread was stopped meanwhile */
        {3000000, 3000600, MS}, {3000600, 3000000, MS},             /* twice as far apart as may be */
        {3000000, 6000000, MS}, {6000000, 3000000, MS}};
    rlm_tsc tsc, before;
    size_t i;
    memset(&tsc, 0xa5, sizeof tsc);
    before = tsc;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(measure(bad[i].first, bad[i].second, bad[i].ns_each, &tsc), RLM_E_CLOCK);
        CHECK(memcmp(&before, &tsc, sizeof tsc) == 0);
    }
}

static void a_steady_counter_tells_the_time(void) {
    static const uint64_t good[][2] = {{3000000, 3000000}, {3000000, 3000150}, {3000150, 3000000}, {1000, 1000},
                                       {40000000, 40000000}};
    rlm_tsc tsc;
    size_t i;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t per_ms = good[i][1], at_ns;
        int status = measure(good[i][0], per_ms, MS, &tsc);
        if (!rlm_i_counter_is_steady()) { /* this processor's is not, and that decides */
            CHECK_EQ(status, RLM_E_CLOCK);
            continue;
        }
        CHECK_EQ(status, RLM_OK);
        CHECK_EQ(rlm_tsc_now(&tsc), played.now_ns);
        played.ticks += 1000 * per_ms;
        at_ns = rlm_tsc_now(&tsc);
        CHECK(at_ns <= played.now_ns + SECOND && at_ns + 20 >= played.now_ns + SECOND); /* 2^-32 of a tick lost with each */
        played.ticks -= 1000 * per_ms + 1;
        CHECK_EQ(rlm_tsc_now(&tsc), played.now_ns); /* just behind: it waits */
    }
}
#endif

static const check_case cases[] = {
    CASE(each_clock_is_read_where_it_should_be),
#ifdef __x86_64__
    CASE(a_counter_without_one_rate_is_refused),
    CASE(a_steady_counter_tells_the_time),
#endif
};

CHECK_MAIN(cases)
