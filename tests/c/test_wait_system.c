/* test_wait_system.c - ext/rlimit_wait.h against a system that is played: calls of it fail when told, and a sleep only moves
   the clock, and does what another thread would do meanwhile. So one thread tests whole waits, to the nanosecond. */

#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <time.h>

#include "check.h"

#ifdef _WIN32
#error "this plays the calls of POSIX"
#endif

#define SECOND UINT64_C(1000000000)
#define BOOT (1000 * SECOND + 750000000) /* so that sleeps carry into seconds */

/* ---- The system ------------------------------------------------------------------------------- */

typedef enum call { NO_CALL, MUTEX_INIT, ATTRIBUTES_INIT, ATTRIBUTES_CLOCK, CONDITION_INIT } call;

static struct system_state {
    call failing;
    int lent;                    /* mutexes, attributes and conditions that were not given back */
    uint64_t now_ns;
    uint64_t slept_ns[16];       /* how long each sleep was to be */
    size_t sleeps, wakes;
    void (*meanwhile)(size_t sleep); /* what others do during a sleep, from 0; it ends when that returns */
} played;

static int lend(call which, int status) {
    if (played.failing == which) return 1;
    played.lent += status == 0;
    return status;
}

static int give_back(int status) {
    played.lent--;
    return status;
}

static int play_time(clockid_t clock, struct timespec *at) {
    (void)clock;
    at->tv_sec = (time_t)(played.now_ns / SECOND);
    at->tv_nsec = (long)(played.now_ns % SECOND);
    return 0;
}

static void sleep_for(pthread_mutex_t *mutex, uint64_t ns) {
    if (played.sleeps == 16) abort(); /* for ever */
    played.slept_ns[played.sleeps++] = ns;
    if (played.meanwhile == NULL) {
        played.now_ns += ns;
        return;
    }
    pthread_mutex_unlock(mutex);
    played.meanwhile(played.sleeps - 1);
    pthread_mutex_lock(mutex);
}

static int play_sleep_until(pthread_mutex_t *mutex, const struct timespec *until) {
    uint64_t until_ns = (uint64_t)until->tv_sec * SECOND + (uint64_t)until->tv_nsec;
    if (until->tv_nsec < 0 || until->tv_nsec >= (long)SECOND) abort(); /* the system would not sleep at all */
    sleep_for(mutex, until_ns - played.now_ns);
    return 1;
}

#ifdef __APPLE__
static int play_sleep(pthread_mutex_t *mutex, const struct timespec *span) {
    sleep_for(mutex, (uint64_t)span->tv_sec * SECOND + (uint64_t)span->tv_nsec);
    return 1;
}
#endif

static int play_signal(pthread_cond_t *condition) {
    played.wakes++;
    return pthread_cond_signal(condition);
}

#define clock_gettime play_time
#define TRY(which, done) lend(which, played.failing == (which) ? 0 : (done))
#define pthread_mutex_init(mutex, with) TRY(MUTEX_INIT, pthread_mutex_init(mutex, with))
#define pthread_mutex_destroy(mutex) give_back(pthread_mutex_destroy(mutex))
#define pthread_condattr_init(with) TRY(ATTRIBUTES_INIT, pthread_condattr_init(with))
#define pthread_condattr_destroy(with) give_back(pthread_condattr_destroy(with))
#define pthread_condattr_setclock(with, clock) \
    (played.failing == ATTRIBUTES_CLOCK ? 1 : pthread_condattr_setclock(with, clock))
#define pthread_cond_init(condition, with) TRY(CONDITION_INIT, pthread_cond_init(condition, with))
#define pthread_cond_destroy(condition) give_back(pthread_cond_destroy(condition))
#define pthread_cond_signal(condition) play_signal(condition)
#define pthread_cond_timedwait(condition, mutex, until) ((void)(condition), play_sleep_until(mutex, until))
#define pthread_cond_timedwait_relative_np(condition, mutex, span) ((void)(condition), play_sleep(mutex, span))

#define RLM_IMPLEMENTATION
#include "rlimit_wait.h"

/* ---- Helpers ---------------------------------------------------------------------------------- */

static rlm_limiter limiter;
static rlm_wait line;
static rlm_ticket ticket;
static rlm_permit permit, other;
static uint64_t queue_memory[1024];

static void play(void) {
    memset(&played, 0, sizeof played);
    played.now_ns = BOOT;
    memset(&ticket, 0, sizeof ticket);
    memset(&permit, 0, sizeof permit);
}

static rlm_queue *empty_queue(void) {
    rlm_queue *queue = (rlm_queue *)(void *)queue_memory;
    CHECK_EQ(rlm_queue_init(queue, sizeof queue_memory, 8, RLM_AGEING_DEFAULT), RLM_OK);
    return queue;
}

/* A line on the clock of the system. */
static void open_line(rlm_limit limit) {
    play();
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, rlm_now()), RLM_OK);
    CHECK_EQ(rlm_wait_init(&line, &limiter, empty_queue(), NULL), RLM_OK);
    CHECK_EQ(played.lent, 1);
}

static int acquire_for(uint64_t requests, uint64_t timeout_ns, rlm_permit *to) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    cost.requests = requests;
    return rlm_wait_acquire(&line, &cost, RLM_NORMAL, timeout_ns, to, &ticket);
}

static int acquire(uint64_t requests, uint64_t timeout_ns) { return acquire_for(requests, timeout_ns, &permit); }

static uint64_t used(void) {
    rlm_usage usage;
    CHECK_EQ(rlm_status(&limiter, 0, &usage, rlm_now()), RLM_OK);
    return usage.used;
}

/* Nobody waits, and only the mutex of the line is still lent. */
static void check_nothing_left(void) {
    CHECK_EQ(rlm_wait_count(&line), 0);
    CHECK(ticket.condition == NULL);
    CHECK_EQ(played.lent, 1);
    rlm_wait_destroy(&line);
    CHECK_EQ(played.lent, 0);
}

/* ---- What the system refuses ------------------------------------------------------------------ */

static void without_a_mutex_there_is_no_line(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    play();
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, rlm_now()), RLM_OK);
    played.failing = MUTEX_INIT;
    CHECK_EQ(rlm_wait_init(&line, &limiter, empty_queue(), NULL), RLM_E_MEMORY);
    CHECK_EQ(played.lent, 0);
}

/* Whatever the system refuses, nothing is taken, no place is kept, and what it lent before is given back. */
static void without_a_condition_nothing_is_taken(void) {
    static const call calls[] = {ATTRIBUTES_INIT, ATTRIBUTES_CLOCK, CONDITION_INIT};
    size_t i;
    open_line(rlm_per_second(RLM_REQUESTS, 10));
    for (i = 0; i < sizeof calls / sizeof *calls; i++) {
#ifdef __APPLE__ /* conditions have no attributes there */
        if (calls[i] != CONDITION_INIT) continue;
#endif
        played.failing = calls[i];
        CHECK_EQ(acquire(1, RLM_FOREVER), RLM_E_MEMORY);
        CHECK_EQ(played.lent, 1);
        CHECK_EQ(rlm_wait_count(&line), 0);
        CHECK_EQ(used(), 0);
    }
    played.failing = NO_CALL;
    CHECK_EQ(acquire(1, RLM_FOREVER), RLM_OK);
    CHECK_EQ(used(), 1);
    check_nothing_left();
}

/* A wait that does not begin leaves the cancellation to the next that does. */
static void a_refused_wait_does_not_use_up_a_cancellation(void) {
    open_line(rlm_per_second(RLM_REQUESTS, 10));
    CHECK_EQ(rlm_wait_cancel(&line, &ticket), RLM_OK);
    played.failing = CONDITION_INIT;
    CHECK_EQ(acquire(1, RLM_FOREVER), RLM_E_MEMORY);
    played.failing = NO_CALL;
    CHECK_EQ(acquire(11, RLM_FOREVER), RLM_E_NEVER);
    CHECK_EQ(acquire(1, RLM_FOREVER), RLM_E_CANCELLED);
    CHECK_EQ(acquire(1, RLM_FOREVER), RLM_OK);
    check_nothing_left();
}

static void null_pointers_are_answered(void) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_queue *queue = empty_queue();
    rlm_wait unmade;
    open_line(rlm_per_second(RLM_REQUESTS, 10));
    CHECK_EQ(rlm_wait_init(NULL, &limiter, queue, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_init(&unmade, NULL, queue, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_init(&unmade, &limiter, NULL, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_acquire(NULL, &cost, RLM_NORMAL, 0, &permit, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_acquire(&line, NULL, RLM_NORMAL, 0, &permit, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, 0, NULL, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_settle(NULL, &permit, &cost), RLM_E_NULL);
    CHECK_EQ(rlm_wait_refund(NULL, &permit), RLM_E_NULL);
    CHECK_EQ(rlm_wait_observe(NULL, &permit, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_cancel(NULL, &ticket), RLM_E_NULL);
    CHECK_EQ(rlm_wait_cancel(&line, NULL), RLM_E_NULL);
    CHECK_EQ(played.lent, 1);
    CHECK_EQ(used(), 0);
    check_nothing_left();
}

/* ---- How long is slept ------------------------------------------------------------------------ */

static void sleeps_until_it_is_admitted(void) {
    open_line(rlm_per_second(RLM_REQUESTS, 10));
    CHECK_EQ(acquire_for(10, 0, &other), RLM_OK);
    CHECK_EQ(played.sleeps, 0);
    CHECK_EQ(acquire(1, RLM_FOREVER), RLM_OK); /* within the second: 0.75 + 0.1 */
    CHECK_EQ(acquire(3, RLM_FOREVER), RLM_OK); /* and over its end */
    CHECK_EQ(acquire(10, 5 * SECOND), RLM_OK);
    CHECK_EQ(played.sleeps, 3);
    CHECK_EQ(played.slept_ns[0], SECOND / 10);
    CHECK_EQ(played.slept_ns[1], 3 * (SECOND / 10));
    CHECK_EQ(played.slept_ns[2], SECOND);
    CHECK_EQ(played.now_ns, BOOT + 14 * (SECOND / 10));
    check_nothing_left();
}

static void sleeps_no_longer_than_its_timeout(void) {
    open_line(rlm_per(RLM_REQUESTS, 1, 60 * SECOND));
    CHECK_EQ(acquire_for(1, 0, &other), RLM_OK);
    CHECK_EQ(acquire(1, 60 * SECOND - 1), RLM_E_TIMEOUT);
    CHECK_EQ(played.sleeps, 1);
    CHECK_EQ(played.slept_ns[0], 60 * SECOND - 1);
    CHECK_EQ(acquire(1, 0), RLM_E_TIMEOUT); /* tries, and does not sleep */
    CHECK_EQ(played.sleeps, 1);
    CHECK_EQ(acquire(1, 1), RLM_OK);
    CHECK_EQ(played.slept_ns[1], 1);
    check_nothing_left();
}

static void wake_early(size_t sleep) { played.now_ns += sleep < 3 ? played.slept_ns[sleep] / 4 : played.slept_ns[sleep]; }

/* Systems wake a thread for no reason: it sleeps on for the rest. */
static void sleeps_on_when_woken_for_nothing(void) {
    open_line(rlm_per_second(RLM_REQUESTS, 1));
    CHECK_EQ(acquire_for(1, 0, &other), RLM_OK);
    played.meanwhile = wake_early;
    CHECK_EQ(acquire(1, RLM_FOREVER), RLM_OK);
    CHECK_EQ(played.sleeps, 4);
    CHECK_EQ(played.slept_ns[1], played.slept_ns[0] - played.slept_ns[0] / 4);
    CHECK_EQ(played.now_ns, BOOT + SECOND);
    check_nothing_left();
}

/* ---- What others do meanwhile ----------------------------------------------------------------- */

static void settle_other(size_t sleep) {
    if (sleep == 1) CHECK_EQ(rlm_wait_settle(&line, &other, &other.cost), RLM_OK);
}

static void refund_other(size_t sleep) {
    if (sleep == 1) CHECK_EQ(rlm_wait_refund(&line, &other), RLM_OK);
}

/* Where only a settled permit helps it sleeps for ever, that is 36 years, and whoever settles wakes it. */
static void a_permit_that_comes_back_wakes_the_head(void) {
    void (*const ways[])(size_t) = {settle_other, refund_other};
    size_t i;
    for (i = 0; i < 2; i++) {
        open_line(rlm_concurrent(1));
        CHECK_EQ(acquire_for(1, 0, &other), RLM_OK);
        played.meanwhile = ways[i];
        played.wakes = 0;
        CHECK_EQ(acquire(1, RLM_FOREVER), RLM_OK);
        CHECK_EQ(played.sleeps, 2);
        CHECK_EQ(played.slept_ns[0], UINT64_C(1) << 60);
        CHECK_EQ(played.wakes, 1);
        check_nothing_left();
    }
}

static void cancel_it(size_t sleep) {
    (void)sleep;
    CHECK_EQ(rlm_wait_count(&line), 1);
    CHECK(ticket.condition != NULL);
    CHECK_EQ(rlm_wait_cancel(&line, &ticket), RLM_OK);
}

static void close_it(size_t sleep) {
    (void)sleep;
    rlm_wait_close(&line);
}

static void cancelled_and_closed_waits_take_nothing(void) {
    void (*const ways[])(size_t) = {cancel_it, close_it};
    size_t i;
    for (i = 0; i < 2; i++) {
        open_line(rlm_concurrent(2));
        CHECK_EQ(acquire_for(1, 0, &other), RLM_OK);
        CHECK_EQ(acquire_for(1, 0, &permit), RLM_OK);
        played.meanwhile = ways[i];
        CHECK_EQ(acquire(1, RLM_FOREVER), RLM_E_CANCELLED);
        CHECK_EQ(played.sleeps, 1);
        CHECK_EQ(played.wakes, 1);
        CHECK(!ticket.cancelled);
        CHECK_EQ(used(), 2);
        check_nothing_left();
    }
}

static void shrink(size_t sleep) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 7);
    (void)sleep;
    CHECK_EQ(rlm_reconfigure(&limiter, 0, &limit, rlm_now()), RLM_OK);
    rlm_wait_wake(&line);
}

/* Who has become too large for its limit while it waited does not wait for ever. */
static void a_limit_that_shrinks_below_the_request_ends_its_wait(void) {
    open_line(rlm_per_second(RLM_REQUESTS, 10));
    CHECK_EQ(acquire_for(10, 0, &other), RLM_OK);
    played.meanwhile = shrink;
    CHECK_EQ(acquire(8, RLM_FOREVER), RLM_E_NEVER);
    CHECK_EQ(played.sleeps, 1);
    CHECK_EQ(used(), 7); /* of the 10, what the burst lost is forgotten; none of the 8 */
    check_nothing_left();
}

static uint64_t hand_ns;
static uint64_t read_hand(void *context) { return *(const uint64_t *)context; }

static void go_back(size_t sleep) {
    static const uint64_t at_ns[] = {95, 60, 99, 101}; /* of the second that it may wait from 100 on: never as long */
    if (sleep < 4) hand_ns = at_ns[sleep] * SECOND;
}

/* By a clock that was set back nobody has waited for a negative time. */
static void a_clock_set_back_does_not_time_out(void) {
    rlm_limit limit = rlm_concurrent(1);
    rlm_clock clock;
    clock.read = read_hand;
    clock.context = &hand_ns;
    play();
    hand_ns = 100 * SECOND;
    CHECK_EQ(rlm_limiter_init(&limiter, &limit, 1, hand_ns), RLM_OK);
    CHECK_EQ(rlm_wait_init(&line, &limiter, empty_queue(), &clock), RLM_OK);
    CHECK_EQ(acquire_for(1, 0, &other), RLM_OK);
    played.meanwhile = go_back;
    CHECK_EQ(acquire(1, SECOND), RLM_E_TIMEOUT);
    CHECK_EQ(played.sleeps, 4);
    CHECK_EQ(played.slept_ns[1], SECOND);
    CHECK_EQ(played.slept_ns[3], SECOND);
    check_nothing_left();
}

static const check_case cases[] = {
    CASE(without_a_mutex_there_is_no_line),
    CASE(without_a_condition_nothing_is_taken),
    CASE(a_refused_wait_does_not_use_up_a_cancellation),
    CASE(null_pointers_are_answered),
    CASE(sleeps_until_it_is_admitted),
    CASE(sleeps_no_longer_than_its_timeout),
    CASE(sleeps_on_when_woken_for_nothing),
    CASE(a_permit_that_comes_back_wakes_the_head),
    CASE(cancelled_and_closed_waits_take_nothing),
    CASE(a_limit_that_shrinks_below_the_request_ends_its_wait),
    CASE(a_clock_set_back_does_not_time_out),
};

CHECK_MAIN(cases)
