/* test_wait.c - ext/rlimit_wait.h: order, deadlines, cancellation, and that nothing is left behind.
   Threads are lined up by waiting until the line is as long as it should be; the clock is set by hand. */

#define _POSIX_C_SOURCE 200809L
#define RLM_IMPLEMENTATION
#include "rlimit_wait.h"

#include "check.h"

#include <sched.h>

enum { WAITERS = 8, CAPACITY = 16 };

static rlm_limiter limiter;
static rlm_wait line;
static rlm_manual manual;
static uint64_t queue_memory[4096];

static uint64_t read_manual(void *context) { return rlm_manual_now((const rlm_manual *)context); }

static void open_line(const rlm_limit *limits, size_t count, size_t capacity) {
    rlm_queue *queue = (rlm_queue *)(void *)queue_memory;
    rlm_clock clock;
    clock.read = read_manual;
    clock.context = &manual;
    rlm_manual_set(&manual, RLM_HOUR_NS);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, count, RLM_HOUR_NS), RLM_OK);
    CHECK_EQ(rlm_queue_init(queue, sizeof queue_memory, capacity, RLM_AGEING_DEFAULT), RLM_OK);
    CHECK_EQ(rlm_wait_init(&line, &limiter, queue, &clock), RLM_OK);
}

typedef struct waiter {
    pthread_t thread;
    rlm_cost cost;
    rlm_permit permit;
    rlm_ticket ticket;
    uint64_t timeout_ns;
    uint32_t priority;
    int status;
    rlm_word order; /* 1 + the place in which it was admitted */
} waiter;

static rlm_word admitted;
static waiter waiters[WAITERS];

static void *run(void *argument) {
    waiter *self = (waiter *)argument;
    uint64_t order = 0;
    self->status = rlm_wait_acquire(&line, &self->cost, self->priority, self->timeout_ns, &self->permit, &self->ticket);
    if (self->status == RLM_OK) {
        while (!rlm_i_cas_seq_cst(&admitted, &order, order + 1)) {}
        rlm_i_store_seq_cst(&self->order, order + 1);
    }
    return NULL;
}

/* Starts a waiter and returns when it stands in line behind `before` others. */
static void start(int index, uint64_t requests, uint32_t priority, uint64_t timeout_ns, size_t before) {
    waiter *self = &waiters[index];
    memset(self, 0, sizeof *self);
    self->cost.requests = requests;
    self->priority = priority;
    self->timeout_ns = timeout_ns;
    CHECK(pthread_create(&self->thread, NULL, run, self) == 0);
    while (rlm_wait_count(&line) <= before) sched_yield();
}

static void join(int index, int status) {
    pthread_join(waiters[index].thread, NULL);
    CHECK_EQ(waiters[index].status, status);
}

static void advance(uint64_t ns) {
    rlm_manual_advance(&manual, ns);
    rlm_wait_wake(&line);
}

static rlm_permit hold(uint64_t requests) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    rlm_permit permit;
    memset(&permit, 0, sizeof permit);
    cost.requests = requests;
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, 0, &permit, NULL), RLM_OK);
    return permit;
}

static void first_come_first_served_within_a_priority(void) {
    rlm_limit limit = rlm_concurrent(1);
    rlm_permit permit;
    int i;
    open_line(&limit, 1, CAPACITY);
    rlm_i_store_seq_cst(&admitted, 0);
    permit = hold(1);
    for (i = 0; i < WAITERS; i++) start(i, 1, i < 4 ? RLM_LOW : RLM_HIGH, RLM_FOREVER, (size_t)i);
    for (i = 0; i < WAITERS; i++) { /* 4 to 7 have high priority and go first, each when the one before has left */
        int next = i < 4 ? i + 4 : i - 4;
        CHECK_EQ(rlm_wait_settle(&line, &permit, &permit.cost), RLM_OK);
        join(next, RLM_OK);
        CHECK_EQ(waiters[next].order, (uint64_t)i + 1);
        permit = waiters[next].permit;
    }
    CHECK_EQ(rlm_wait_refund(&line, &permit), RLM_OK);
    CHECK_EQ(rlm_wait_count(&line), 0);
    rlm_wait_destroy(&line);
}

static void a_large_request_keeps_its_place(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    open_line(&limit, 1, CAPACITY);
    rlm_i_store_seq_cst(&admitted, 0);
    (void)hold(10);
    start(0, 10, RLM_NORMAL, RLM_FOREVER, 0);
    start(1, 1, RLM_NORMAL, RLM_FOREVER, 1);
    advance(RLM_SECOND_NS / 2); /* enough for the small one, which comes second */
    CHECK_EQ(rlm_wait_count(&line), 2);
    advance(RLM_SECOND_NS / 2);
    join(0, RLM_OK);
    advance(RLM_SECOND_NS / 10);
    join(1, RLM_OK);
    CHECK_EQ(waiters[0].order, 1);
    rlm_wait_destroy(&line);
}

static void a_deadline_ends_the_wait_and_takes_nothing(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_usage usage;
    rlm_cost cost = {10, 0, 0, 0, 0};
    rlm_permit permit;
    open_line(&limit, 1, CAPACITY);
    (void)hold(5);
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, 0, &permit, NULL), RLM_E_TIMEOUT);
    start(0, 10, RLM_NORMAL, RLM_SECOND_NS / 4, 0);
    advance(RLM_SECOND_NS / 4);
    join(0, RLM_E_TIMEOUT);
    CHECK_EQ(rlm_status(&limiter, 0, &usage, rlm_manual_now(&manual)), RLM_OK);
    CHECK_EQ(usage.used, 3); /* 2.5 of the 5, rounded up */
    CHECK_EQ(rlm_wait_count(&line), 0);
    rlm_wait_destroy(&line);
}

static void another_thread_can_cancel(void) {
    rlm_limit limit = rlm_concurrent(1);
    rlm_permit permit;
    open_line(&limit, 1, CAPACITY);
    permit = hold(1);
    start(0, 1, RLM_NORMAL, RLM_FOREVER, 0);
    start(1, 1, RLM_NORMAL, RLM_FOREVER, 1);
    start(2, 1, RLM_NORMAL, RLM_FOREVER, 2);
    CHECK_EQ(rlm_wait_cancel(&line, &waiters[1].ticket), RLM_OK); /* in the middle */
    join(1, RLM_E_CANCELLED);
    CHECK_EQ(rlm_wait_cancel(&line, &waiters[0].ticket), RLM_OK); /* the head: the next moves up */
    join(0, RLM_E_CANCELLED);
    CHECK_EQ(rlm_wait_settle(&line, &permit, &permit.cost), RLM_OK);
    join(2, RLM_OK);
    CHECK_EQ(rlm_wait_count(&line), 0);
    rlm_wait_destroy(&line);
}

static void a_ticket_cancelled_before_ends_the_next_wait_once(void) {
    rlm_limit limit = rlm_concurrent(1);
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_permit permit;
    rlm_ticket ticket;
    memset(&ticket, 0, sizeof ticket);
    open_line(&limit, 1, CAPACITY);
    CHECK_EQ(rlm_wait_cancel(&line, &ticket), RLM_OK);
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, RLM_FOREVER, &permit, &ticket), RLM_E_CANCELLED);
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, RLM_FOREVER, &permit, &ticket), RLM_OK);
    rlm_wait_destroy(&line);
}

static void closing_ends_every_wait(void) {
    rlm_limit limit = rlm_concurrent(1);
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_permit permit;
    int i;
    open_line(&limit, 1, CAPACITY);
    (void)hold(1);
    for (i = 0; i < WAITERS; i++) start(i, 1, RLM_NORMAL, RLM_FOREVER, (size_t)i);
    rlm_wait_close(&line);
    for (i = 0; i < WAITERS; i++) join(i, RLM_E_CANCELLED);
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, RLM_FOREVER, &permit, NULL), RLM_E_CANCELLED);
    rlm_wait_destroy(&line);
}

/* While limits are being learned one permit is out; who waits goes when the answer has come, before it is settled. */
static void an_answer_lets_the_next_go(void) {
    rlm_limit limit = rlm_learned(RLM_REQUESTS, RLM_MINUTE_NS);
    rlm_feedback feedback = {RLM_ANSWERED, 0, RLM_UNSAID, RLM_UNSAID, 1, 0, {{0, 0, 0, 0, 0, 0, 0, 0, 0}}};
    rlm_permit first;
    open_line(&limit, 1, CAPACITY);
    first = hold(1);
    start(0, 1, RLM_NORMAL, RLM_FOREVER, 0);
    feedback.reading[0] = rlm_reading_none(RLM_REQUESTS);
    feedback.reading[0].limit = 60;
    feedback.reading[0].remaining = 59;
    CHECK_EQ(rlm_wait_observe(&line, &first, &feedback), RLM_OK);
    join(0, RLM_OK);
    CHECK_EQ(rlm_wait_refund(&line, &waiters[0].permit), RLM_OK);
    CHECK_EQ(rlm_wait_refund(&line, &first), RLM_OK);
    CHECK_EQ(rlm_wait_observe(&line, &first, &feedback), RLM_E_PERMIT);
    CHECK_EQ(rlm_wait_observe(NULL, &first, &feedback), RLM_E_NULL);
    rlm_wait_destroy(&line);
}

static void bad_input_is_answered(void) {
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 10);
    rlm_cost cost = {11, 0, 0, 0, 0}, one = {1, 0, 0, 0, 0};
    rlm_permit permit;
    int i;
    open_line(&limit, 1, 2);
    CHECK_EQ(rlm_wait_acquire(&line, &cost, RLM_NORMAL, RLM_FOREVER, &permit, NULL), RLM_E_NEVER);
    CHECK_EQ(rlm_wait_acquire(&line, &one, 4, RLM_FOREVER, &permit, NULL), RLM_E_PRIORITY);
    CHECK_EQ(rlm_wait_acquire(&line, NULL, RLM_NORMAL, RLM_FOREVER, &permit, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_acquire(NULL, &one, RLM_NORMAL, RLM_FOREVER, &permit, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_wait_settle(&line, NULL, &one), RLM_E_NULL);
    (void)hold(10);
    for (i = 0; i < 2; i++) start(i, 1, RLM_NORMAL, RLM_FOREVER, (size_t)i);
    CHECK_EQ(rlm_wait_acquire(&line, &one, RLM_NORMAL, RLM_FOREVER, &permit, NULL), RLM_E_FULL);
    advance(RLM_SECOND_NS);
    for (i = 0; i < 2; i++) join(i, RLM_OK);
    rlm_wait_destroy(&line);
}

static const check_case cases[] = {
    CASE(first_come_first_served_within_a_priority),
    CASE(a_large_request_keeps_its_place),
    CASE(a_deadline_ends_the_wait_and_takes_nothing),
    CASE(another_thread_can_cancel),
    CASE(a_ticket_cancelled_before_ends_the_next_wait_once),
    CASE(closing_ends_every_wait),
    CASE(an_answer_lets_the_next_go),
    CASE(bad_input_is_answered),
};

CHECK_MAIN(cases)
