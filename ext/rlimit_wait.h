/* rlimit_wait.h - a blocking, fair acquire for threads - part of rlimit - MIT licence

   One call that waits its turn: first come, first served within a priority, with a deadline, and
   another thread can end it. The order is rlm_queue's, the decision rlm_acquire's; this file adds a
   mutex and a condition variable for each waiter, and no thread, no polling, no allocation.

   INSTALL   Copy it beside rlimit.h; RLM_IMPLEMENTATION compiles both. POSIX threads or Windows.

   USE       rlm_wait   line;
             rlm_queue *queue = malloc(rlm_queue_bytes(RLM_QUEUE_DEFAULT));
             rlm_queue_init(queue, rlm_queue_bytes(RLM_QUEUE_DEFAULT), RLM_QUEUE_DEFAULT, RLM_AGEING_DEFAULT);
             rlm_wait_init(&line, &limiter, queue, NULL);

             // in each thread
             int status = rlm_wait_acquire(&line, &cost, RLM_NORMAL, 30 * RLM_SECOND_NS, &permit, NULL);
             if (status == RLM_OK) { ...; rlm_wait_settle(&line, &permit, &actual); }

   DOES NOT  wake those who wait for a permit when rlm_settle is called directly: settle through
             rlm_wait_settle or rlm_wait_refund, or call rlm_wait_wake. */

#ifndef RLM_RLIMIT_WAIT_H
#define RLM_RLIMIT_WAIT_H

#include "rlimit.h"

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h> /* SRWLOCK, CONDITION_VARIABLE */
#else
#include <pthread.h>
#include <time.h> /* struct timespec */
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define RLM_FOREVER UINT64_MAX /* a timeout that never comes */

#ifdef _WIN32
typedef SRWLOCK rlm_i_mutex;
typedef CONDITION_VARIABLE rlm_i_condition;
#else
typedef pthread_mutex_t rlm_i_mutex;
typedef pthread_cond_t rlm_i_condition;
#endif

/* A line of threads before one limiter. Must not move while in use. */
typedef struct rlm_wait {
    rlm_limiter *limiter;
    rlm_queue *queue;
    rlm_clock clock;
    rlm_i_mutex mutex;
    bool closed;
} rlm_wait;

/* By which another thread can end a wait. Zeroed is initialised; for one wait at a time. */
typedef struct rlm_ticket {
    rlm_i_condition *condition; /* of the thread that waits with it */
    bool cancelled;
} rlm_ticket;

/* rlm_wait_init makes a line before limiter, in the order of queue (initialised, empty, and used by
   nobody else). clock: null for rlm_now. All must outlive the line.
   Returns RLM_OK, RLM_E_NULL, or RLM_E_MEMORY if the system has no mutex left. */
RLM_I_DECL int rlm_wait_init(rlm_wait *line, rlm_limiter *limiter, rlm_queue *queue, const rlm_clock *clock);

/* rlm_wait_acquire blocks until cost is admitted. timeout_ns: the longest wait, 0 to try only,
   RLM_FOREVER; priority: RLM_CRITICAL to RLM_LOW; ticket may be null. Nothing is taken and no place
   is kept unless it returns RLM_OK. Otherwise: RLM_E_NEVER; RLM_E_TIMEOUT; RLM_E_CANCELLED, by
   rlm_wait_cancel or rlm_wait_close; RLM_E_FULL; RLM_E_PRIORITY; RLM_E_NULL; RLM_E_MEMORY if the system has no
   condition variable left. */
RLM_I_DECL int rlm_wait_acquire(rlm_wait *line, const rlm_cost *cost, uint32_t priority, uint64_t timeout_ns,
                                rlm_permit *permit, rlm_ticket *ticket);

/* rlm_wait_settle is rlm_settle, and wakes the next; rlm_wait_refund likewise rlm_cancel. They
   return what those return. They block only for the mutex. */
RLM_I_DECL int rlm_wait_settle(rlm_wait *line, rlm_permit *permit, const rlm_cost *actual);
RLM_I_DECL int rlm_wait_refund(rlm_wait *line, rlm_permit *permit);

/* rlm_wait_observe is rlm_observe, and lets the next ask again, as limits may have moved. Returns what
   that returns. */
RLM_I_DECL int rlm_wait_observe(rlm_wait *line, const rlm_permit *permit, const rlm_feedback *feedback);

/* rlm_wait_cancel ends the wait that has this ticket, or the next one that begins with it. A wait
   that was admitted first stays admitted. Returns RLM_OK or RLM_E_NULL. */
RLM_I_DECL int rlm_wait_cancel(rlm_wait *line, rlm_ticket *ticket);

/* rlm_wait_wake lets the head of the line ask again: after a change of limits, of the clock, or a
   permit settled elsewhere. */
RLM_I_DECL void rlm_wait_wake(rlm_wait *line);

/* rlm_wait_close ends all waits, and those to come, with RLM_E_CANCELLED. */
RLM_I_DECL void rlm_wait_close(rlm_wait *line);

/* rlm_wait_destroy frees what the system lent; nobody may be waiting. */
RLM_I_DECL void rlm_wait_destroy(rlm_wait *line);

/* rlm_wait_count returns how many threads wait. */
RLM_I_DECL size_t rlm_wait_count(rlm_wait *line);

#ifdef __cplusplus
}
#endif

#endif /* RLM_RLIMIT_WAIT_H */

#if defined(RLM_IMPLEMENTATION) && !defined(RLM_I_WAIT_IMPLEMENTED)
#define RLM_I_WAIT_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GLIBC__) && !defined(__USE_XOPEN2K)
#error "rlimit_wait.h: define _POSIX_C_SOURCE as 200809L before the first include of the implementation's file"
#endif

#define RLM_I_SLEEP_MAX_NS (UINT64_C(1) << 60)

#ifdef _WIN32
static bool rlm_i_mutex_init(rlm_i_mutex *mutex) { InitializeSRWLock(mutex); return true; }
static void rlm_i_mutex_destroy(rlm_i_mutex *mutex) { (void)mutex; }
static void rlm_i_lock(rlm_i_mutex *mutex) { AcquireSRWLockExclusive(mutex); }
static void rlm_i_unlock(rlm_i_mutex *mutex) { ReleaseSRWLockExclusive(mutex); }
static bool rlm_i_condition_init(rlm_i_condition *condition) { InitializeConditionVariable(condition); return true; }
static void rlm_i_condition_destroy(rlm_i_condition *condition) { (void)condition; }
static void rlm_i_signal(rlm_i_condition *condition) { WakeConditionVariable(condition); }
static void rlm_i_sleep(rlm_i_condition *condition, rlm_i_mutex *mutex, uint64_t ns) {
    uint64_t ms = ns / 1000000 + 1; /* rounded up, and INFINITE is not a number of them */
    SleepConditionVariableSRW(condition, mutex, ms < INFINITE ? (DWORD)ms : INFINITE - 1, 0);
}
#else
static bool rlm_i_mutex_init(rlm_i_mutex *mutex) { return pthread_mutex_init(mutex, NULL) == 0; }
static void rlm_i_mutex_destroy(rlm_i_mutex *mutex) { pthread_mutex_destroy(mutex); }
static void rlm_i_lock(rlm_i_mutex *mutex) { pthread_mutex_lock(mutex); }
static void rlm_i_unlock(rlm_i_mutex *mutex) { pthread_mutex_unlock(mutex); }
static void rlm_i_condition_destroy(rlm_i_condition *condition) { pthread_cond_destroy(condition); }
static void rlm_i_signal(rlm_i_condition *condition) { pthread_cond_signal(condition); }
#ifdef __APPLE__ /* has no pthread_condattr_setclock, but a relative wait */
static bool rlm_i_condition_init(rlm_i_condition *condition) { return pthread_cond_init(condition, NULL) == 0; }
static void rlm_i_sleep(rlm_i_condition *condition, rlm_i_mutex *mutex, uint64_t ns) {
    struct timespec span;
    span.tv_sec = (time_t)(ns / RLM_SECOND_NS);
    span.tv_nsec = (long)(ns % RLM_SECOND_NS);
    pthread_cond_timedwait_relative_np(condition, mutex, &span);
}
#else
static bool rlm_i_condition_init(rlm_i_condition *condition) {
    pthread_condattr_t monotonic;
    bool done;
    if (pthread_condattr_init(&monotonic) != 0) return false;
    done = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    return done;
}
static void rlm_i_sleep(rlm_i_condition *condition, rlm_i_mutex *mutex, uint64_t ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ns / RLM_SECOND_NS);
    until.tv_nsec += (long)(ns % RLM_SECOND_NS);
    if (until.tv_nsec >= (long)RLM_SECOND_NS) {
        until.tv_sec++;
        until.tv_nsec -= (long)RLM_SECOND_NS;
    }
    pthread_cond_timedwait(condition, mutex, &until);
}
#endif
#endif

#ifndef RLM_NO_CLOCK
static uint64_t rlm_i_wait_default_clock(void *context) {
    (void)context;
    return rlm_now();
}
#endif

/* Only under the mutex. The head sleeps on its own condition, whose address is its data in the queue. */
static void rlm_i_wake_head(rlm_wait *line) {
    uint64_t data;
    if (rlm_queue_head(line->queue, NULL, &data)) rlm_i_signal((rlm_i_condition *)(uintptr_t)data);
}

RLM_I_DEF int rlm_wait_init(rlm_wait *line, rlm_limiter *limiter, rlm_queue *queue, const rlm_clock *clock) {
    if (line == NULL || limiter == NULL || queue == NULL) return RLM_E_NULL;
    line->limiter = limiter;
    line->queue = queue;
    line->closed = false;
#ifdef RLM_NO_CLOCK
    if (clock == NULL) return RLM_E_NULL;
#else
    line->clock.read = rlm_i_wait_default_clock;
    line->clock.context = NULL;
#endif
    if (clock != NULL) line->clock = *clock;
    return rlm_i_mutex_init(&line->mutex) ? RLM_OK : RLM_E_MEMORY;
}

/* What a waiter does now: RLM_OK, an error to return, or -1 and how long to sleep. */
static int rlm_i_wait_turn(rlm_wait *line, const rlm_cost *cost, uint64_t handle, uint64_t since_ns, uint64_t timeout_ns,
                           rlm_permit *permit, const rlm_ticket *ticket, uint64_t *sleep_ns) {
    uint64_t now_ns = rlm_clock_now(&line->clock), head = 0, left_ns = RLM_I_SLEEP_MAX_NS, wait_ns;
    uint64_t waited_ns = now_ns > since_ns ? now_ns - since_ns : 0;
    if (line->closed || (ticket != NULL && ticket->cancelled)) return RLM_E_CANCELLED;
    *sleep_ns = RLM_I_SLEEP_MAX_NS;
    (void)rlm_queue_head(line->queue, &head, NULL); /* there is one: who asks stands in the queue */
    if (head == handle) {
        wait_ns = rlm_acquire(line->limiter, cost, now_ns, permit);
        if (wait_ns == 0) return RLM_OK;
        if (wait_ns == RLM_NEVER) return RLM_E_NEVER;
        if (wait_ns < *sleep_ns) *sleep_ns = wait_ns;
    }
    if (timeout_ns != RLM_FOREVER) {
        if (waited_ns >= timeout_ns) return RLM_E_TIMEOUT;
        left_ns = timeout_ns - waited_ns;
    }
    if (left_ns < *sleep_ns) *sleep_ns = left_ns;
    return -1;
}

RLM_I_DEF int rlm_wait_acquire(rlm_wait *line, const rlm_cost *cost, uint32_t priority, uint64_t timeout_ns,
                               rlm_permit *permit, rlm_ticket *ticket) {
    rlm_i_condition condition;
    uint64_t handle, since_ns, sleep_ns;
    int status;
    if (line == NULL || cost == NULL || permit == NULL) return RLM_E_NULL;
    if (!rlm_i_condition_init(&condition)) return RLM_E_MEMORY;
    rlm_i_lock(&line->mutex);
    since_ns = rlm_clock_now(&line->clock);
    status = rlm_check(line->limiter, cost, since_ns, NULL) == RLM_NEVER ? RLM_E_NEVER : RLM_OK;
    if (status == RLM_OK)
        status = rlm_queue_push(line->queue, (uint64_t)(uintptr_t)&condition, priority, RLM_NO_DEADLINE, since_ns, &handle);
    if (status == RLM_OK) {
        if (ticket != NULL) ticket->condition = &condition;
        while ((status = rlm_i_wait_turn(line, cost, handle, since_ns, timeout_ns, permit, ticket, &sleep_ns)) == -1)
            rlm_i_sleep(&condition, &line->mutex, sleep_ns);
        (void)rlm_queue_remove(line->queue, handle);
        rlm_i_wake_head(line);
        if (ticket != NULL) {
            ticket->condition = NULL;
            ticket->cancelled = false;
        }
    }
    rlm_i_unlock(&line->mutex);
    rlm_i_condition_destroy(&condition);
    return status;
}

RLM_I_DEF void rlm_wait_wake(rlm_wait *line) {
    rlm_i_lock(&line->mutex);
    rlm_i_wake_head(line);
    rlm_i_unlock(&line->mutex);
}

RLM_I_DEF int rlm_wait_settle(rlm_wait *line, rlm_permit *permit, const rlm_cost *actual) {
    int status;
    if (line == NULL) return RLM_E_NULL;
    status = rlm_settle(line->limiter, permit, actual, rlm_clock_now(&line->clock));
    rlm_wait_wake(line);
    return status;
}

RLM_I_DEF int rlm_wait_refund(rlm_wait *line, rlm_permit *permit) {
    int status;
    if (line == NULL) return RLM_E_NULL;
    status = rlm_cancel(line->limiter, permit, rlm_clock_now(&line->clock));
    rlm_wait_wake(line);
    return status;
}

RLM_I_DEF int rlm_wait_observe(rlm_wait *line, const rlm_permit *permit, const rlm_feedback *feedback) {
    int status;
    if (line == NULL) return RLM_E_NULL;
    status = rlm_observe(line->limiter, permit, feedback, rlm_clock_now(&line->clock));
    rlm_wait_wake(line);
    return status;
}

RLM_I_DEF int rlm_wait_cancel(rlm_wait *line, rlm_ticket *ticket) {
    if (line == NULL || ticket == NULL) return RLM_E_NULL;
    rlm_i_lock(&line->mutex);
    ticket->cancelled = true;
    if (ticket->condition != NULL) rlm_i_signal(ticket->condition);
    rlm_i_unlock(&line->mutex);
    return RLM_OK;
}

RLM_I_DEF void rlm_wait_close(rlm_wait *line) {
    rlm_i_lock(&line->mutex);
    line->closed = true;
    rlm_i_wake_head(line); /* each that leaves wakes the next */
    rlm_i_unlock(&line->mutex);
}

RLM_I_DEF void rlm_wait_destroy(rlm_wait *line) { rlm_i_mutex_destroy(&line->mutex); }

RLM_I_DEF size_t rlm_wait_count(rlm_wait *line) {
    size_t count;
    rlm_i_lock(&line->mutex);
    count = rlm_queue_count(line->queue);
    rlm_i_unlock(&line->mutex);
    return count;
}

#ifdef __cplusplus
}
#endif

#endif /* RLM_IMPLEMENTATION */

/* MIT License. Copyright (c) 2026 The rlimit authors. The terms stand at the end of rlimit.h. */
