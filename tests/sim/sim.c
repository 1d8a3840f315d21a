/* sim.c - whole clients on virtual time: limiter, queue, timer queue, backoff and feedback against simulated servers.

   sim [--seed N] [--ops M] [--without FEATURE,...] [--json FILE]

   Runs worlds of seed N, N + 1, ... until the library was called M times. A world is a client with its limits, a server,
   and what goes wrong: delays, lost and late answers, failures, others, limits that change, clocks that jump, drift or
   are read late, cancellations, reconfiguration, pauses, restarts. What must hold is checked after each step; of what
   fails, the seed and the number of calls are printed that repeat it, with as few features as it fails with. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "judge.h"
#include "server.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MS UINT64_C(1000000)
#define SECOND RLM_SECOND_NS
#define MINUTE RLM_MINUTE_NS
#define NEVER_NS UINT64_MAX

enum { SLOTS = 256, WAITERS = 64, METERS = RLM_I_METER_COUNT, WORLD_OPS = 20000, EVENTS = 16384 };

/* ---- Features --------------------------------------------------------------------------------- */

#define FEATURES(X) \
    X(JUMPS, jumps) X(DRIFT, drift) X(STALE, stale) X(FAULTS, faults) X(LOST, lost) X(LATE, late) X(OTHERS, others) \
    X(CHANGES, changes) X(CANCELS, cancels) X(RECONFIGURE, reconfigure) X(PAUSES, pauses) X(RESTARTS, restarts) \
    X(DEBTS, debts) X(READINGS, readings) X(LEARN, learn) X(ADAPT, adapt) X(GUARD, guard)
enum {
#define X(upper, lower) F_##upper,
    FEATURES(X)
#undef X
    FEATURE_COUNT
};
static const char *const feature_name[] = {
#define X(upper, lower) #lower,
    FEATURES(X)
#undef X
};

/* ---- The world -------------------------------------------------------------------------------- */

enum { FREE, QUEUED, TO_SERVER, AT_SERVER, TO_CLIENT, GONE, SLEEPING };
enum { DONE, CANCELLED, FAILED, EXPIRED, NEVER, TURNED_AWAY, ENDS };
static const char *const end_name[ENDS] = {"done", "cancelled", "failed", "expired", "never", "turned_away"};

typedef struct request {
    int state;
    bool answered_late;        /* the client gave up on it: its answer is ignored */
    uint32_t priority;
    uint64_t serial;           /* tells events of this request from those of the slot's last one */
    rlm_cost cost, actual;
    rlm_permit permit;
    uint64_t mark[RLM_LIMITS_MAX];
    rlm_backoff_state retry;
    rlm_feedback feedback;
    uint64_t handle, since_ns, deadline_ns, order; /* in the queue, as the model has it */
} request;

enum { EV_ARRIVAL, EV_SERVER, EV_SERVED, EV_ANSWER, EV_TIMEOUT, EV_PUMP, EV_TIMER, EV_CANCEL, EV_JUMP, EV_OTHER, EV_CHANGE,
       EV_RECONFIGURE, EV_PAUSE, EV_RESTART, EV_DEBT };
typedef struct event {
    uint64_t at_ns, sequence, serial;
    uint32_t kind, slot;
} event;

typedef struct world {
    uint64_t seed, random, features;
    uint64_t now_ns, calls, calls_max;                    /* true time; calls of the library */
    int64_t drift_ppm;
    uint64_t clock_base_ns, clock_from_ns;                /* the client's clock: base + drifted time since from */
    uint64_t old_base_ns, old_from_ns, jumped_ns;         /* before the last jump */
    bool jumped_back;
    uint64_t removed_ns, ahead_ns;                        /* backward jumps in all; the next */
    uint64_t newest_ns[RLM_LIMITS_MAX];                   /* the newest reading by which a limit admitted */
    size_t count;
    rlm_limit limit[RLM_LIMITS_MAX];
    judge judges[RLM_LIMITS_MAX];
    uint64_t delay_ns, guard_ns, gap_ns, stale_ns;
    bool told;                                            /* the true limits, an honest clock: no refusal */
    bool true_feedback;
    uint64_t others_gap_ns, sent, refused, faulted;
    uint64_t head_order, head_since_ns, head_bound_ns, wait_bound_ns;
    uint64_t in_flight, out, waiting, sleeping, debts;
    uint64_t serial, sequence, order;
    uint64_t arrivals, arrivals_max, end[ENDS];
    uint64_t events, pump_at_ns, timer_at_ns;
    event heap[EVENTS];
    request slot[SLOTS];
    rlm_backoff plan;
    server there;
} world;

static world w;
static rlm_limiter limiters[2];
static rlm_limiter *limiter = &limiters[0];
static uint64_t queue_memory[(sizeof(rlm_queue) + WAITERS * sizeof(rlm_i_waiter)) / 8 + 1];
static uint64_t timer_memory[(sizeof(rlm_queue) + SLOTS * sizeof(rlm_i_waiter)) / 8 + 1];
static rlm_queue *const queue = (rlm_queue *)(void *)queue_memory, *const timers = (rlm_queue *)(void *)timer_memory;
static jmp_buf failed;
static char reason[512];
static bool out_of_calls;
static bool loud; /* LOUD in the environment: each admission and fault is printed */

static void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(reason, sizeof reason, format, list);
    va_end(list);
    longjmp(failed, 1);
}
#define MUST(condition, ...) do { if (!(condition)) fail(__VA_ARGS__); } while (0)

static void say(const char *format, ...) {
    va_list list;
    if (!loud) return;
    printf("%12.6f ", (double)(w.now_ns % (RLM_DAY_NS * 100)) / 1e9);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
}

/* splitmix64 over a seed of its own */
static uint64_t draw(void) {
    uint64_t z = (w.random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static uint64_t some(uint64_t low, uint64_t high) { return low + draw() % (high - low + 1); }
static bool one_in(uint64_t n) { return draw() % n == 0; }
static bool has(int feature) { return w.features >> feature & 1; }

/* A call of the library. The world ends when there were as many as it may make. */
static void call(void) {
    w.calls++;
    if (w.calls >= w.calls_max) out_of_calls = true;
}

/* ---- The client's clock ----------------------------------------------------------------------- */

static uint64_t drifted(uint64_t span_ns) {
    return span_ns + (uint64_t)((int64_t)(span_ns / 1000) * w.drift_ppm / 1000);
}

static uint64_t clock_now(void) { return w.clock_base_ns + drifted(w.now_ns - w.clock_from_ns); }

/* A reading, in some worlds up to stale_ns old; not one of before a jump ahead. */
static uint64_t reading(void) {
    uint64_t then_ns, read_ns;
    w.removed_ns += w.ahead_ns;
    w.ahead_ns = 0;
    if (w.stale_ns == 0 || !one_in(4)) return clock_now();
    then_ns = w.now_ns - some(0, w.stale_ns);
    if (then_ns >= w.jumped_ns) return w.clock_base_ns + drifted(then_ns - w.clock_from_ns);
    if (!w.jumped_back || then_ns < w.old_from_ns) return clock_now();
    read_ns = w.old_base_ns + drifted(then_ns - w.old_from_ns);
    if (read_ns > clock_now()) w.ahead_ns = read_ns - clock_now(); /* as if the clock had jumped ahead, and will jump back */
    return read_ns;
}

/* A reading with the backward jumps taken out. */
static uint64_t unjumped(uint64_t read_ns) { return read_ns + w.removed_ns; }

/* ---- Events ----------------------------------------------------------------------------------- */

static bool before(const event *a, const event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void at(uint64_t at_ns, uint32_t kind, uint32_t slot, uint64_t serial) {
    uint64_t place = w.events++;
    event made;
    MUST(w.events <= EVENTS, "simulator: too many events");
    made.at_ns = at_ns;
    made.sequence = w.sequence++;
    made.serial = serial;
    made.kind = kind;
    made.slot = slot;
    while (place > 0 && before(&made, &w.heap[(place - 1) / 2])) {
        w.heap[place] = w.heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    w.heap[place] = made;
}

static event next_event(void) {
    event first = w.heap[0], last = w.heap[--w.events];
    uint64_t place = 0;
    for (;;) {
        uint64_t child = 2 * place + 1;
        if (child >= w.events) break;
        if (child + 1 < w.events && before(&w.heap[child + 1], &w.heap[child])) child++;
        if (!before(&w.heap[child], &last)) break;
        w.heap[place] = w.heap[child];
        place = child;
    }
    w.heap[place] = last;
    return first;
}

static void pump_at(uint64_t at_ns) {
    if (at_ns >= w.pump_at_ns) return;
    w.pump_at_ns = at_ns;
    at(at_ns, EV_PUMP, 0, 0);
}

static uint32_t slot_of(const request *it) { return (uint32_t)(it - w.slot); }

/* ---- What the judges say ---------------------------------------------------------------------- */

static void amounts_of(const rlm_cost *cost, uint64_t amounts[METERS]) {
    amounts[RLM_REQUESTS] = cost->requests;
    amounts[RLM_INPUT_TOKENS] = cost->input_tokens;
    amounts[RLM_OUTPUT_TOKENS] = cost->output_tokens;
    amounts[RLM_TOKENS] = cost->input_tokens + cost->output_tokens;
    amounts[RLM_MICRODOLLARS] = cost->microdollars;
    amounts[RLM_CUSTOM] = cost->custom;
}

/* How much of a limit a cost is. */
static uint64_t part(size_t i, const rlm_cost *cost) {
    uint64_t amounts[METERS];
    if (w.limit[i].kind == RLM_CONCURRENCY) return 1;
    amounts_of(cost, amounts);
    return amounts[w.limit[i].meter];
}

static uint64_t wall_period(size_t i, uint64_t read_ns) {
    return (read_ns + (uint64_t)w.limit[i].wall_offset_ns) / w.limit[i].period_ns;
}

/* When something happens to limit i, by this reading, as its judge sees it. */
static uint64_t judge_time(size_t i, uint64_t read_ns, uint64_t at_ns, bool takes) {
    judge *it = &w.judges[i];
    if (it->kind == JUDGE_CALENDAR && it->period > wall_period(i, clock_now()) + 1) it->period = wall_period(i, clock_now()); /* set back */
    if (takes && it->kind == JUDGE_CALENDAR && wall_period(i, read_ns) > it->period) {
        it->period = wall_period(i, read_ns);
        it->next++; /* the quota begins anew: what is given back of before counts no more */
        it->used = 0;
    }
    if (it->kind == JUDGE_BUCKET) return at_ns > clock_now() + w.removed_ns ? at_ns : clock_now() + w.removed_ns;
    if (!takes) return at_ns;
    if (at_ns > w.newest_ns[i]) w.newest_ns[i] = at_ns;
    return w.newest_ns[i];
}

static void judge_admission(request *it, uint64_t read_ns) {
    uint64_t at_ns = unjumped(read_ns);
    size_t i;
    say("admit %u: %" PRIu64 " + %" PRIu64 " tokens at %" PRIu64 " = %" PRIu64, slot_of(it), it->cost.input_tokens,
        it->cost.output_tokens, read_ns, at_ns);
    for (i = 0; i < w.count; i++) {
        uint64_t n = part(i, &it->cost), then_ns = judge_time(i, read_ns, at_ns, n != 0);
        MUST(judge_allows(&w.judges[i], n, then_ns), "limit %zu admitted %" PRIu64 " too many: kind %u, %" PRIu64 " in %" PRIu64
             " ns, used %" PRIu64 ", level %" PRId64 " ms", i, n, w.limit[i].kind, w.judges[i].amount, w.judges[i].period_ns,
             w.judges[i].used, w.judges[i].amount != 0 ? (int64_t)(w.judges[i].level / (i128)w.judges[i].amount / 1000000) : 0);
        judge_note(&w.judges[i], n, then_ns, &it->mark[i]);
    }
}

/* What a settlement gives back or takes. */
static void judge_end(request *it, const rlm_cost *actual, uint64_t read_ns) {
    uint64_t at_ns = unjumped(read_ns), mark;
    size_t i;
    say("end %u: %" PRIu64 " + %" PRIu64 " tokens at %" PRIu64 " = %" PRIu64, slot_of(it), actual->input_tokens,
        actual->output_tokens, read_ns, at_ns);
    for (i = 0; i < w.count; i++) {
        uint64_t had = part(i, &it->cost), used = w.limit[i].kind == RLM_CONCURRENCY ? 0 : part(i, actual);
        uint64_t then_ns = judge_time(i, read_ns, at_ns, used > had);
        if (used < had) judge_give(&w.judges[i], had - used, then_ns, it->mark[i]);
        if (used > had) judge_note(&w.judges[i], used - had, then_ns, &mark);
    }
}

/* ---- The queue and its model ------------------------------------------------------------------ */

/* Whoever came by a reading of the future came now. */
static void model_rejuvenate(uint64_t read_ns) {
    int i;
    for (i = 0; i < SLOTS; i++)
        if (w.slot[i].state == QUEUED && w.slot[i].since_ns > read_ns) w.slot[i].since_ns = read_ns;
}

/* Of each priority the one that came first; of these the one with the least since + ageing, the higher priority first. */
static request *model_head(void) {
    request *first[RLM_I_PRIORITIES] = {NULL, NULL, NULL, NULL}, *best = NULL;
    uint64_t key, best_key = 0;
    uint32_t p;
    int i;
    for (i = 0; i < SLOTS; i++) {
        request *it = &w.slot[i];
        if (it->state == QUEUED && (first[it->priority] == NULL || it->order < first[it->priority]->order)) first[it->priority] = it;
    }
    for (p = 0; p < RLM_I_PRIORITIES; p++) {
        if (first[p] == NULL) continue;
        key = first[p]->since_ns + p * queue->ageing_ns;
        if (best != NULL && key >= best_key) continue;
        best = first[p];
        best_key = key;
    }
    return best;
}

static void end_request(request *it, int how) {
    it->state = FREE;
    w.end[how]++;
}

static void enqueue(request *it) {
    uint64_t now_ns = reading();
    int status;
    it->deadline_ns = one_in(4) ? now_ns + some(1, 120) * SECOND : RLM_NO_DEADLINE;
    call();
    status = rlm_queue_push(queue, slot_of(it), it->priority, it->deadline_ns, now_ns, &it->handle);
    if (w.waiting == WAITERS) {
        MUST(status == RLM_E_FULL, "a full queue said %d", status);
        end_request(it, TURNED_AWAY);
        return;
    }
    MUST(status == RLM_OK, "push: %s", rlm_strerror(status));
    model_rejuvenate(now_ns);
    it->since_ns = now_ns;
    it->order = ++w.order;
    it->state = QUEUED;
    w.waiting++;
    pump_at(w.now_ns);
}

static void leave_queue(request *it) {
    call();
    MUST(rlm_queue_remove(queue, it->handle) == RLM_OK, "a waiter was lost");
    if (one_in(16)) MUST(rlm_queue_remove(queue, it->handle) == RLM_E_HANDLE, "a waiter left twice");
    w.waiting--;
}

static void expire(uint64_t now_ns) {
    uint64_t data, handle, earliest_ns;
    int i;
    for (;;) {
        bool gone;
        for (earliest_ns = NEVER_NS, i = 0; i < SLOTS; i++)
            if (w.slot[i].state == QUEUED && w.slot[i].deadline_ns < earliest_ns) earliest_ns = w.slot[i].deadline_ns;
        MUST(rlm_queue_deadline(queue) == earliest_ns, "deadline %" PRIu64 ", not %" PRIu64, rlm_queue_deadline(queue), earliest_ns);
        call();
        gone = rlm_queue_expire(queue, now_ns, &handle, &data);
        MUST(gone == (earliest_ns <= now_ns && earliest_ns != NEVER_NS), "expire said %d", gone);
        if (!gone) return;
        MUST(data < SLOTS && w.slot[data].state == QUEUED && w.slot[data].handle == handle && w.slot[data].deadline_ns == earliest_ns,
             "another than the first to expire expired");
        w.waiting--;
        end_request(&w.slot[data], EXPIRED);
    }
}

/* ---- Answers ---------------------------------------------------------------------------------- */

static void settle(request *it, const rlm_cost *actual) {
    uint64_t now_ns = reading();
    int status;
    call();
    status = rlm_settle(limiter, &it->permit, actual, now_ns);
    MUST(status == RLM_OK, "settle: %s", rlm_strerror(status));
    if (one_in(16)) MUST(rlm_settle(limiter, &it->permit, actual, now_ns) == RLM_E_PERMIT, "a permit was settled twice");
    judge_end(it, actual, now_ns);
    w.out--;
}

static void cancel(request *it) {
    rlm_cost nothing = {0, 0, 0, 0, 0};
    uint64_t now_ns = reading();
    call();
    MUST(rlm_cancel(limiter, &it->permit, now_ns) == RLM_OK, "a permit could not be cancelled");
    judge_end(it, &nothing, now_ns);
    w.out--;
}

/* The next attempt, after backoff; or none. */
static void retry(request *it, uint32_t error_class, uint64_t retry_after_ns) {
    uint64_t delay_ns, handle;
    rlm_backoff_state was = it->retry;
    call();
    delay_ns = rlm_backoff_next(&w.plan, &it->retry, error_class, it->priority, retry_after_ns);
    if (one_in(64)) MUST(rlm_backoff_next(&w.plan, &was, error_class, it->priority, retry_after_ns) == delay_ns, "backoff differs");
    if (delay_ns == RLM_NEVER) {
        MUST(it->retry.attempts >= w.plan.attempts_max || error_class == RLM_CLASS_FATAL, "backoff gave up early");
        end_request(it, FAILED);
        return;
    }
    MUST(delay_ns <= (retry_after_ns > w.plan.cap_ns ? retry_after_ns : w.plan.cap_ns), "backoff of %" PRIu64 " ns", delay_ns);
    it->state = SLEEPING;
    w.sleeping++;
    call();
    MUST(rlm_queue_push(timers, slot_of(it), RLM_NORMAL, w.now_ns + delay_ns, w.now_ns, &handle) == RLM_OK, "no timer");
    it->handle = handle;
    if (w.now_ns + delay_ns < w.timer_at_ns) {
        w.timer_at_ns = w.now_ns + delay_ns;
        at(w.timer_at_ns, EV_TIMER, 0, 0);
    }
}

static uint32_t class_of(uint32_t outcome) {
    return outcome == RLM_REFUSED ? RLM_CLASS_RATE_LIMIT : RLM_CLASS_SERVER;
}

static void check_permits(void);

static void answered(request *it) {
    const rlm_feedback *feedback = &it->feedback;
    uint64_t now_ns = reading();
    size_t i;
    call();
    for (i = 0; feedback->count != 0 && i < w.count; i++) /* what a reading is merged into is moved to its time */
        if (w.judges[i].kind == JUDGE_WINDOW) judge_advance(&w.judges[i], unjumped(now_ns));
    MUST(rlm_observe(limiter, &it->permit, feedback, now_ns) == RLM_OK, "observe failed");
    w.in_flight--;
    if (feedback->outcome == RLM_ANSWERED) {
        settle(it, &it->actual);
        end_request(it, DONE);
    } else {
        if (feedback->outcome == RLM_REFUSED) cancel(it);
        else settle(it, &it->cost);
        retry(it, class_of(feedback->outcome), feedback->retry_after_ns == RLM_UNSAID ? 0 : feedback->retry_after_ns);
    }
    check_permits();
    pump_at(w.now_ns);
}

/* ---- The server ------------------------------------------------------------------------------- */

static void read_limits(rlm_feedback *feedback) {
    uint64_t i;
    for (i = 0; i < w.there.count; i++) {
        const policy *limit = &w.there.limit[i];
        rlm_reading *reading = &feedback->reading[feedback->count++];
        policy_advance(&w.there.limit[i], w.now_ns);
        *reading = rlm_reading_none(w.there.meter[i]);
        reading->limit = limit->limit;
        reading->remaining = policy_left(limit);
        reading->reset_ns = policy_reset_ns(limit, w.now_ns);
        if (one_in(2)) reading->period_ns = limit->period_ns;
        if (limit->kind == CONTINUOUS && one_in(4)) reading->period_least_ns = reading->period_most_ns = limit->period_ns;
    }
}

static rlm_feedback feedback_of(uint32_t outcome) {
    rlm_feedback feedback;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = outcome;
    feedback.retry_after_ns = feedback.requested = RLM_UNSAID;
    return feedback;
}

/* A failure that has nothing to do with the limits: 429 without a word or with one, 500, 503, 529. */
static rlm_feedback fault(void) {
    static const uint32_t outcomes[] = {RLM_REFUSED, RLM_FAILED, RLM_OVERLOADED, RLM_SLOW_DOWN, RLM_OVERLOADED};
    rlm_feedback feedback = feedback_of(outcomes[some(0, 4)]);
    if (one_in(3)) feedback.retry_after_ns = some(1, 20000) * MS;
    w.faulted++;
    return feedback;
}

/* Sends what the server says on its way. Lost answers never come; the client gives up in the end. */
static void send_answer(request *it) {
    it->state = TO_CLIENT;
    if (has(F_LOST) && one_in(50)) return;
    at(w.now_ns + some(w.delay_ns / 8, w.delay_ns) + (has(F_LATE) && one_in(10) ? some(0, 5 * SECOND) : 0), EV_ANSWER, slot_of(it),
       it->serial);
}

static void at_server(request *it) {
    uint64_t amounts[METERS], by = 0, wait_ns;
    if (has(F_FAULTS) && one_in(20)) {
        it->feedback = fault();
        send_answer(it);
        return;
    }
    amounts_of(&it->cost, amounts);
    wait_ns = server_offer(&w.there, amounts, w.now_ns, &by);
    w.sent++;
    if (wait_ns == 0) {
        it->state = AT_SERVER;
        at(w.now_ns + some(1 * MS, 2 * SECOND), EV_SERVED, slot_of(it), it->serial);
        return;
    }
    w.refused++;
    if (w.told) fail("the server refused, with the true limits told: %s %" PRIu64 ", wait %" PRIu64 " ns",
                     by == w.there.count ? "cap" : "limit", by, wait_ns);
    it->feedback = feedback_of(RLM_REFUSED);
    if (by == w.there.count) it->feedback.named = RLM_NAMED_CONCURRENCY;
    else if (one_in(2)) it->feedback.named = UINT32_C(1) << w.there.meter[by];
    if (by != w.there.count && wait_ns != UINT64_MAX && !one_in(3)) it->feedback.retry_after_ns = wait_ns;
    if (has(F_READINGS)) read_limits(&it->feedback);
    send_answer(it);
}

static void served(request *it) {
    w.there.out--;
    it->feedback = feedback_of(RLM_ANSWERED);
    if (has(F_READINGS)) read_limits(&it->feedback);
    if (it->state == GONE) it->state = FREE; /* the client has given up */
    else send_answer(it);
}

/* ---- The client ------------------------------------------------------------------------------- */

static void send(request *it) {
    it->serial = ++w.serial;
    it->state = TO_SERVER;
    w.in_flight++;
    w.out++;
    if (has(F_CANCELS) && one_in(32)) { /* never sent */
        w.in_flight--;
        cancel(it);
        end_request(it, CANCELLED);
        return;
    }
    at(w.now_ns + some(w.delay_ns / 8, w.delay_ns), EV_SERVER, slot_of(it), it->serial);
    at(w.now_ns + 30 * SECOND, EV_TIMEOUT, slot_of(it), it->serial);
}

/* No answer within 30 s: the server may have charged it. */
static void timed_out(request *it) {
    if (it->state != TO_CLIENT) return; /* 30 s are longer than anything but a lost answer takes */
    w.in_flight--;
    settle(it, &it->cost);
    it->serial = ++w.serial;
    retry(it, RLM_CLASS_NETWORK, 0);
    pump_at(w.now_ns);
}

static void check_permits(void) {
    size_t i;
    rlm_usage usage;
    for (i = 0; i < w.count; i++) {
        if (w.limit[i].kind != RLM_CONCURRENCY) continue;
        call();
        MUST(rlm_status(limiter, i, &usage, clock_now()) == RLM_OK && usage.used == w.out, "%" PRIu64 " permits are out, not %" PRIu64,
             usage.used, w.out);
    }
}

/* Asking again after the wait, if nobody else came, is admitted; and with an honest clock not before. */
static void check_wait(const request *it, uint64_t wait_ns, uint64_t now_ns) {
    static rlm_limiter copy;
    rlm_permit permit;
    uint64_t again_ns;
    size_t i;
    bool exact = true;
    if (has(F_JUMPS) || w.stale_ns != 0) return;
    copy = *limiter;
    memset(&permit, 0, sizeof permit);
    call();
    again_ns = rlm_acquire(&copy, &it->cost, now_ns + wait_ns, &permit);
    MUST(again_ns == 0, "told to wait %" PRIu64 " ns, then %" PRIu64 " more", wait_ns, again_ns);
    for (i = 0; i < w.count; i++) exact &= w.limit[i].kind != RLM_WINDOW || limiter->entry[i].window == UINT64_MAX;
    for (i = 0; i < w.count; i++)
        if (w.limit[i].kind == RLM_WINDOW && (w.limit[i].cells == 0 ? 258 : w.limit[i].cells) >= w.limit[i].amount + 2) exact = true;
    if (!exact || wait_ns < 3) return;
    copy = *limiter;
    again_ns = rlm_acquire(&copy, &it->cost, now_ns + wait_ns - 2, &permit);
    MUST(again_ns != 0, "a wait of %" PRIu64 " ns was too long", wait_ns);
}

static void admit_or_wait(request *it, bool *more) {
    uint64_t now_ns = reading(), wait_ns, late_ns;
    it->permit.state = 0;
    call();
    wait_ns = rlm_acquire(limiter, &it->cost, now_ns, &it->permit);
    *more = wait_ns == 0 || wait_ns == RLM_NEVER;
    if (wait_ns == 0) {
        judge_admission(it, now_ns);
        leave_queue(it);
        send(it);
        check_permits();
        return;
    }
    if (wait_ns == RLM_NEVER) {
        leave_queue(it);
        end_request(it, NEVER);
        return;
    }
    if (wait_ns == RLM_ON_RELEASE) {
        MUST(w.out != 0, "told to wait for a release, and nothing is out");
    } else {
        if (loud || wait_ns > w.wait_bound_ns) {
            int binding;
            uint64_t told_ns = rlm_check(limiter, &it->cost, now_ns, &binding);
            rlm_usage u;
            if (binding >= 0) (void)rlm_status(limiter, (size_t)binding, &u, now_ns);
            say("wait %u: %" PRIu64 " at %" PRIu64 " limit %d of kind %u (%" PRIu64 " in %" PRIu64 ", used %" PRIu64 ")", slot_of(it), told_ns, now_ns, binding,
                binding >= 0 ? w.limit[binding].kind : 9, binding >= 0 ? w.limit[binding].amount : 0, binding >= 0 ? w.limit[binding].period_ns : 0, binding >= 0 ? u.used : 0);
        }
        /* a limit that is being learned takes a clock set back by days for tokens used: it is hardly refilled */
        MUST(wait_ns <= w.wait_bound_ns || (has(F_JUMPS) && has(F_LEARN)), "a wait of %" PRIu64 " ms", wait_ns / MS);
        if (one_in(8)) check_wait(it, wait_ns, now_ns);
        late_ns = w.drift_ppm != 0 ? wait_ns / 1000 + 1 : 0;
        pump_at(w.now_ns + wait_ns + late_ns);
    }
    if (it->order != w.head_order) {
        w.head_order = it->order;
        w.head_since_ns = w.now_ns;
    }
    MUST(w.now_ns - w.head_since_ns <= w.head_bound_ns, "the first in the queue waits since %" PRIu64 " ms, now for %" PRIu64 " ms",
         (w.now_ns - w.head_since_ns) / MS, wait_ns / MS);
}

static void pump(void) {
    uint64_t handle, data;
    bool more = true;
    w.pump_at_ns = NEVER_NS;
    expire(reading());
    while (more && !out_of_calls) {
        request *first = model_head();
        bool any;
        call();
        any = rlm_queue_head(queue, &handle, &data);
        MUST(any == (first != NULL) && rlm_queue_count(queue) == w.waiting, "the queue is empty for one of two");
        if (!any) return;
        MUST(data == slot_of(first) && handle == first->handle, "another is first in the queue: %" PRIu64 ", not %u", data, slot_of(first));
        admit_or_wait(first, &more);
    }
    if (w.pump_at_ns == NEVER_NS) pump_at(w.now_ns + 120 * SECOND); /* deadlines; a host sleeps no longer */
}

static void wake_sleepers(void) {
    uint64_t data, due_ns;
    w.timer_at_ns = NEVER_NS;
    for (;;) {
        call();
        if (!rlm_queue_expire(timers, w.now_ns, NULL, &data)) break;
        MUST(data < SLOTS && w.slot[data].state == SLEEPING, "a timer woke somebody else");
        w.sleeping--;
        enqueue(&w.slot[data]);
    }
    due_ns = rlm_queue_deadline(timers);
    MUST(due_ns > w.now_ns, "a timer is late");
    if (due_ns != RLM_NO_DEADLINE) {
        w.timer_at_ns = due_ns;
        at(due_ns, EV_TIMER, 0, 0);
    }
}

/* A cost below what the limits admit at once, mostly; now and then one that is above. */
static rlm_cost draw_cost(void) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    uint64_t tokens = UINT64_MAX, n;
    size_t i;
    for (i = 0; i < w.count; i++) {
        if (w.limit[i].kind == RLM_CONCURRENCY || w.limit[i].meter == RLM_REQUESTS) continue;
        n = w.limit[i].kind == RLM_BUCKET ? w.limit[i].burst : w.limit[i].amount;
        if (n < tokens) tokens = n;
    }
    for (i = 0; i < w.there.count; i++)
        if (w.there.meter[i] != RLM_REQUESTS && w.there.limit[i].limit < tokens) tokens = w.there.limit[i].limit;
    if (tokens == UINT64_MAX) return cost;
    n = one_in(200) ? 2 * tokens : one_in(10) ? tokens : some(tokens / 400 + 1, tokens / 12 + 2);
    cost.input_tokens = n - n / 3;
    cost.output_tokens = n / 3;
    return cost;
}

static void arrival(void) {
    request *it = NULL;
    int i;
    if (++w.arrivals < w.arrivals_max) at(w.now_ns + some(0, 2 * w.gap_ns), EV_ARRIVAL, 0, 0);
    for (i = 0; i < SLOTS && it == NULL; i++)
        if (w.slot[i].state == FREE) it = &w.slot[i];
    if (it == NULL) {
        w.end[TURNED_AWAY]++;
        return;
    }
    it->serial = ++w.serial;
    it->priority = (uint32_t)some(0, 3);
    it->cost = it->actual = draw_cost();
    if (!w.told && one_in(2)) { /* what it will have used differs from the estimate */
        it->actual.output_tokens = some(0, it->cost.output_tokens + it->cost.output_tokens / 4);
        it->actual.input_tokens = some(it->cost.input_tokens / 2, it->cost.input_tokens + it->cost.input_tokens / 8);
    }
    rlm_backoff_start(&it->retry, w.serial);
    enqueue(it);
    if (has(F_CANCELS) && one_in(8) && it->state == QUEUED) at(w.now_ns + some(0, 20 * SECOND), EV_CANCEL, slot_of(it), it->serial);
}

/* Cancelled where it happens to be. What was sent may have been charged. */
static void cancelled(request *it) {
    uint64_t serial = it->serial;
    switch (it->state) {
    case QUEUED: leave_queue(it); break;
    case SLEEPING:
        call();
        MUST(rlm_queue_remove(timers, it->handle) == RLM_OK, "a sleeper was lost");
        w.sleeping--;
        break;
    case TO_SERVER:
    case TO_CLIENT:
    case AT_SERVER:
        if (it->state == AT_SERVER && w.told && w.there.cap != 0) return; /* its place there stays taken */
        w.in_flight--;
        settle(it, &it->cost);
        w.end[CANCELLED]++;
        it->state = it->state == AT_SERVER ? GONE : FREE; /* the server works on */
        it->serial = it->state == GONE ? serial : ++w.serial;
        pump_at(w.now_ns);
        return;
    default: return;
    }
    it->serial = ++w.serial;
    end_request(it, CANCELLED);
    pump_at(w.now_ns);
}

/* ---- What else happens ------------------------------------------------------------------------ */

static void restart_head_bound(void) { w.head_order = 0; }

static void jump(void) {
    static const uint64_t by[] = {MS, 300 * MS, 3 * SECOND, 40 * SECOND, 10 * MINUTE, 2 * RLM_HOUR_NS, 40 * RLM_DAY_NS};
    uint64_t span_ns = by[some(0, 6)] + some(0, 1000), clock_ns = clock_now();
    size_t i;
    w.old_base_ns = w.clock_base_ns;
    w.old_from_ns = w.clock_from_ns;
    w.jumped_back = one_in(2) && clock_ns > span_ns + RLM_DAY_NS;
    w.jumped_ns = w.clock_from_ns = w.now_ns;
    w.clock_base_ns = w.jumped_back ? clock_ns - span_ns : clock_ns + span_ns;
    if (w.jumped_back) w.removed_ns += span_ns;
    for (i = 0; i < w.count && w.jumped_back; i++)
        if (w.judges[i].kind == JUDGE_CALENDAR && wall_period(i, w.clock_base_ns) < w.judges[i].period)
            w.judges[i].period = wall_period(i, w.clock_base_ns);
    say("jump from %" PRIu64 " to %" PRIu64, clock_ns, w.clock_base_ns);
    restart_head_bound();
    pump_at(w.now_ns);
    at(w.now_ns + some(1, 60 * 1000) * MS, EV_JUMP, 0, 0);
}

static void other_client(void) {
    rlm_cost cost = draw_cost();
    uint64_t amounts[METERS], by;
    amounts_of(&cost, amounts);
    if (server_offer(&w.there, amounts, w.now_ns, &by) == 0) w.there.out--;
    at(w.now_ns + some(1, 2 * w.others_gap_ns), EV_OTHER, 0, 0);
}

static void change_server(void) {
    uint64_t i = some(0, w.there.count - 1), limit = w.there.limit[i].limit;
    policy_change(&w.there.limit[i], one_in(2) ? limit / 2 + 1 : limit * 2 < 20000000 ? limit * 2 : limit, w.now_ns);
    at(w.now_ns + some(10, 120) * SECOND, EV_CHANGE, 0, 0);
}

static void reconfigure(void) {
    size_t i = (size_t)some(0, w.count - 1);
    rlm_limit limit = w.limit[i];
    uint64_t now_ns = reading(), at_ns = unjumped(now_ns);
    int status;
    if (i < w.there.count && has(F_LEARN)) limit.amount = w.there.limit[i].limit; /* learned by other means */
    limit.amount = some(limit.amount / 2 + 1, limit.amount + limit.amount / 2 + 1);
    if (limit.amount > 20000000) limit.amount = 20000000;
    if (limit.kind == RLM_BUCKET) limit.burst = some(limit.amount / 4 + 1, limit.amount);
    call();
    status = rlm_reconfigure(limiter, i, &limit, now_ns);
    if (status == RLM_OK) {
        judge_change(&w.judges[i], limit.amount, limit.burst, judge_time(i, now_ns, at_ns, false));
        w.limit[i] = limit;
    } else if (status != RLM_E_SPAN || !has(F_JUMPS) || !has(F_LEARN)) /* see admit_or_wait: such a debt may be of years */
        MUST(status == RLM_E_CAPACITY && (limit.kind == RLM_WINDOW || limit.kind == RLM_CALENDAR), "reconfigure: %s", rlm_strerror(status));
    restart_head_bound();
    pump_at(w.now_ns);
    at(w.now_ns + some(1, 60) * SECOND, EV_RECONFIGURE, 0, 0);
}

static void pause_some(void) {
    size_t i = one_in(2) ? RLM_ALL : (size_t)some(0, w.count - 1);
    call();
    MUST(rlm_pause(limiter, i, one_in(4) ? 0 : some(1, 20000) * MS, reading()) == RLM_OK, "pause failed");
    restart_head_bound();
    pump_at(w.now_ns);
    at(w.now_ns + some(1, 60) * SECOND, EV_PAUSE, 0, 0);
}

/* Used elsewhere: not so often that nothing is left. */
static void debt(void) {
    rlm_cost cost = draw_cost();
    uint64_t now_ns = reading(), at_ns, mark;
    size_t i;
    call();
    MUST(rlm_debit(limiter, &cost, now_ns) == RLM_OK, "debit failed");
    at_ns = unjumped(now_ns);
    for (i = 0; i < w.count; i++)
        if (w.limit[i].kind != RLM_CONCURRENCY && part(i, &cost) != 0)
            judge_note(&w.judges[i], part(i, &cost), judge_time(i, now_ns, at_ns, true), &mark);
    if (w.debts-- > 0) at(w.now_ns + some(1, 60) * SECOND, EV_DEBT, 0, 0);
}

/* What a larger limit had used is a debt of a smaller one of the same meter, which takes its time. */
static void allow_debt(const rlm_cost *used) {
    uint64_t longest_ns = 0, ns;
    size_t i;
    for (i = 0; i < w.count; i++) {
        if (w.limit[i].kind != RLM_BUCKET) continue;
        ns = part(i, used) * (w.limit[i].period_ns / w.limit[i].amount + 1);
        if (ns > longest_ns) longest_ns = ns;
    }
    w.head_bound_ns += longest_ns;
    w.wait_bound_ns += longest_ns;
}

/* The state is moved in memory; with nothing out, sometimes the program begins anew and tells what was used. */
static void restart(void) {
    rlm_limiter *other = limiter == &limiters[0] ? &limiters[1] : &limiters[0];
    rlm_calendar_saved saved[RLM_LIMITS_MAX];
    rlm_usage usage;
    rlm_cost used = {0, 0, 0, 0, 0};
    uint64_t now_ns = clock_now();
    size_t i;
    say("restart");
    at(w.now_ns + some(1, 60) * SECOND, EV_RESTART, 0, 0);
    if (w.out != 0 || has(F_LEARN) || has(F_ADAPT) || one_in(2)) {
        *other = *limiter;
        memset(limiter, 0xa5, sizeof *limiter);
        limiter = other;
        return;
    }
    for (i = 0; i < w.count; i++) {
        call();
        MUST(rlm_status(limiter, i, &usage, now_ns) == RLM_OK, "no status");
        usage.limit = w.limit[i].kind == RLM_BUCKET ? w.limit[i].burst : w.limit[i].amount; /* feedback may have made it less */
        usage.used = usage.limit - (usage.remaining > 0 ? (uint64_t)usage.remaining : 0); /* a debt is forgiven: it may be the clock's */
        if (w.limit[i].kind == RLM_CALENDAR) MUST(rlm_calendar_save(rlm_limiter_calendar(limiter, i), &saved[i]) == RLM_OK, "no save");
        else if (w.limit[i].meter == RLM_REQUESTS && usage.used > used.requests) used.requests = usage.used;
        else if (w.limit[i].meter != RLM_REQUESTS && usage.used > used.input_tokens) used.input_tokens = usage.used;
    }
    MUST(rlm_limiter_init(limiter, w.limit, w.count, now_ns) == RLM_OK, "no restart");
    for (i = 0; i < w.count; i++) /* a window begins now, whatever is read later */
        if (w.judges[i].kind == JUDGE_WINDOW) judge_advance(&w.judges[i], unjumped(now_ns));
    for (i = 0; i < w.count; i++)
        if (w.limit[i].kind == RLM_CALENDAR)
            MUST(rlm_calendar_restore(rlm_limiter_calendar(limiter, i), &saved[i], now_ns) == RLM_OK, "no restore");
    call();
    MUST(rlm_debit(limiter, &used, now_ns) == RLM_OK, "what was used does not fit");
    allow_debt(&used);
    for (i = 0; i < w.count; i++) judge_forgive(&w.judges[i], judge_time(i, now_ns, unjumped(now_ns), part(i, &used) != 0 || w.limit[i].kind == RLM_CALENDAR));
    restart_head_bound();
    pump_at(w.now_ns);
}

/* ---- Making a world --------------------------------------------------------------------------- */

static const uint64_t periods[] = {SECOND, 10 * SECOND, 60 * SECOND, 60 * SECOND};

/* The client's limit for a server's. A sliding window satisfies all three. */
static rlm_limit limit_for(const policy *there, uint32_t meter) {
    uint64_t base_ns = w.clock_base_ns;
    rlm_limit limit = rlm_sliding(meter, there->limit, there->period_ns);
    limit.cells = one_in(2) ? 130 : (uint32_t)some(6, 60);
    if (there->kind == SLIDING || one_in(4)) return limit;
    if (there->kind == FIXED) return rlm_fixed(meter, there->limit, there->period_ns, (int64_t)(w.now_ns - base_ns));
    limit = rlm_per(meter, there->limit, there->period_ns);
    if (one_in(3)) limit.burst = some(limit.amount / 4 + 1, limit.amount);
    return limit;
}

static void make_limits(void) {
    uint64_t i, least_ns = NEVER_NS, stale_ns = w.stale_ns;
    w.there.count = some(1, 2);
    w.there.cap = one_in(2) ? some(1, 40) : 0;
    w.there.out = 0;
    for (i = 0; i < w.there.count; i++) {
        uint64_t period_ns = periods[some(w.stale_ns != 0 ? 1 : 0, 3)];
        w.there.meter[i] = i == 0 ? RLM_REQUESTS : one_in(2) ? RLM_TOKENS : RLM_INPUT_TOKENS;
        policy_make(&w.there.limit[i], (int)some(0, 2), i == 0 ? some(1, 20) * some(1, 20) : some(100, 200000), period_ns, w.now_ns);
        w.limit[i] = limit_for(&w.there.limit[i], w.there.meter[i]);
        if (period_ns < least_ns) least_ns = period_ns;
    }
    w.count = (size_t)w.there.count;
    if (w.there.cap != 0) w.limit[w.count++] = rlm_concurrent(w.there.cap);
    w.delay_ns = some(1, least_ns / MS / 4 < 2000 ? least_ns / MS / 4 : 2000) * MS;
    w.guard_ns = w.delay_ns + (stale_ns != 0 ? stale_ns : 0);
    for (i = 0; i < w.count; i++)
        if (w.limit[i].kind != RLM_CONCURRENCY && (w.told || has(F_GUARD))) w.limit[i].guard_ns = w.guard_ns;
}

/* How each limit follows. */
static void make_follows(void) {
    size_t i;
    for (i = 0; i < w.count; i++) {
        rlm_limit *limit = &w.limit[i];
        limit->follow = one_in(2) ? RLM_FIXED : RLM_SHRINK;
        if (limit->kind == RLM_CONCURRENCY) {
            if (has(F_ADAPT)) *limit = rlm_adaptive(1, (uint32_t)some(8, 64));
            continue;
        }
        if (!has(F_LEARN)) continue;
        limit->follow = one_in(2) ? RLM_LEARN : RLM_FOLLOW;
        if (limit->follow == RLM_LEARN) limit->amount = limit->burst = UINT64_C(1) << 24;
        if (limit->follow == RLM_FOLLOW && one_in(2)) limit->amount = limit->burst = limit->amount / 2 + 1;
    }
    if (has(F_ADAPT) && w.count < RLM_LIMITS_MAX) w.limit[w.count++] = rlm_ramp(some(1, 100), MINUTE);
}

static void make_judges(void) {
    size_t i;
    for (i = 0; i < w.count; i++) {
        const rlm_limit *limit = &w.limit[i];
        int kind = limit->kind == RLM_BUCKET ? JUDGE_BUCKET : limit->kind == RLM_WINDOW ? JUDGE_WINDOW
                 : limit->kind == RLM_CALENDAR ? JUDGE_CALENDAR : JUDGE_CAP;
        if (limit->follow == RLM_LEARN || limit->follow == RLM_FOLLOW || limit->follow == RLM_RAMP) kind = JUDGE_NOTHING;
        judge_make(&w.judges[i], kind, limit->amount, limit->period_ns, limit->burst, w.stale_ns, clock_now());
        if (kind == JUDGE_CALENDAR) w.judges[i].period = wall_period(i, clock_now());
    }
}

/* How long the first in the queue may have to wait, and how long a wait may be told. */
static void make_bounds(void) {
    uint64_t longest_ns = 0;
    size_t i;
    for (i = 0; i < w.count; i++) {
        uint64_t full_ns = w.limit[i].period_ns;
        if (w.limit[i].kind == RLM_CONCURRENCY) continue;
        if (w.limit[i].kind == RLM_BUCKET && w.limit[i].burst > w.limit[i].amount)
            full_ns = full_ns * (w.limit[i].burst / w.limit[i].amount + 1);
        if (full_ns > longest_ns) longest_ns = full_ns;
    }
    w.head_bound_ns = 4 * longest_ns + 2 * w.guard_ns + 40 * SECOND; /* a permit is out for 37 s at most */
    if (has(F_FAULTS) || has(F_OTHERS) || has(F_CHANGES) || has(F_LEARN) || has(F_ADAPT) || has(F_DEBTS) || has(F_RECONFIGURE) ||
        has(F_PAUSES) || has(F_JUMPS) || has(F_LATE))
        w.head_bound_ns += 15 * MINUTE;
    w.wait_bound_ns = w.head_bound_ns;
}

static void schedule(void) {
    at(w.now_ns, EV_ARRIVAL, 0, 0);
    if (has(F_JUMPS)) at(w.now_ns + some(1, 60) * SECOND, EV_JUMP, 0, 0);
    if (has(F_OTHERS)) at(w.now_ns, EV_OTHER, 0, 0);
    if (has(F_CHANGES)) at(w.now_ns + some(10, 120) * SECOND, EV_CHANGE, 0, 0);
    if (has(F_RECONFIGURE)) at(w.now_ns + some(1, 60) * SECOND, EV_RECONFIGURE, 0, 0);
    if (has(F_PAUSES)) at(w.now_ns + some(1, 60) * SECOND, EV_PAUSE, 0, 0);
    if (has(F_RESTARTS)) at(w.now_ns + some(1, 60) * SECOND, EV_RESTART, 0, 0);
    if (has(F_DEBTS)) at(w.now_ns + some(1, 60) * SECOND, EV_DEBT, 0, 0);
}

/* One world in three is told the true limits by an honest clock. */
static uint64_t draw_features(uint64_t without) {
    uint64_t features = 0;
    int i;
    w.told = one_in(3);
    for (i = 0; i < FEATURE_COUNT; i++) features |= (uint64_t)one_in(i == F_LEARN || i == F_ADAPT ? 6 : 3) << i;
    if (w.told)
        features &= ~(1u << F_JUMPS | 1u << F_DRIFT | 1u << F_OTHERS | 1u << F_CHANGES | 1u << F_RECONFIGURE | 1u << F_LEARN | 1u << F_ADAPT);
    return features & ~without;
}

static void make_world(uint64_t seed, uint64_t calls_max, uint64_t without) {
    uint64_t start_ns, i;
    w.seed = w.random = seed;
    w.calls = 0;
    w.calls_max = calls_max;
    w.features = draw_features(without);
    w.now_ns = UINT64_C(1790000000) * SECOND + some(0, 3600) * SECOND + some(0, SECOND);
    w.drift_ppm = has(F_DRIFT) ? (int64_t)some(0, 400) - 200 : 0;
    start_ns = one_in(4) ? some(0, SECOND) + 60 * RLM_DAY_NS : w.now_ns;
    w.clock_base_ns = w.old_base_ns = start_ns;
    w.clock_from_ns = w.old_from_ns = w.jumped_ns = w.now_ns;
    w.jumped_back = false;
    w.removed_ns = w.ahead_ns = 0;
    memset(w.newest_ns, 0, sizeof w.newest_ns);
    w.stale_ns = has(F_STALE) ? some(1, 900) * MS : 0;
    w.sent = w.refused = w.faulted = w.head_order = w.head_since_ns = w.in_flight = w.out = w.waiting = w.sleeping = 0;
    w.serial = w.sequence = w.order = w.arrivals = w.events = 0;
    w.pump_at_ns = w.timer_at_ns = NEVER_NS;
    for (i = 0; i < ENDS; i++) w.end[i] = 0;
    for (i = 0; i < SLOTS; i++) w.slot[i].state = FREE;
    make_limits();
    make_follows();
    make_judges();
    make_bounds();
    w.arrivals_max = some(200, 1200);
    w.gap_ns = w.there.limit[0].period_ns / w.there.limit[0].limit * some(4, 30) / 10 + 1;
    w.debts = 5;
    w.others_gap_ns = w.gap_ns * some(2, 10);
    w.plan = rlm_backoff_default();
    w.plan.jitter = (uint32_t)some(0, RLM_I_JITTERS - 1);
    limiter = &limiters[0];
    MUST(rlm_limiter_init(limiter, w.limit, w.count, clock_now()) == RLM_OK, "no limiter");
    MUST(rlm_queue_init(queue, sizeof queue_memory, WAITERS, one_in(3) ? 0 : some(0, 30) * SECOND) == RLM_OK, "no queue");
    MUST(rlm_queue_init(timers, sizeof timer_memory, SLOTS, 0) == RLM_OK, "no timers");
    schedule();
}

/* ---- Running ---------------------------------------------------------------------------------- */

static void happen(const event *what) {
    request *it = &w.slot[what->slot];
    bool mine = it->serial == what->serial;
    switch (what->kind) {
    case EV_ARRIVAL: arrival(); break;
    case EV_SERVER: if (mine && it->state == TO_SERVER) at_server(it); break;
    case EV_SERVED: if (mine) served(it); break;
    case EV_ANSWER: if (mine && it->state == TO_CLIENT) answered(it); break;
    case EV_TIMEOUT: if (mine) timed_out(it); break;
    case EV_PUMP: if (what->at_ns == w.pump_at_ns) pump(); break;
    case EV_TIMER: if (what->at_ns == w.timer_at_ns) wake_sleepers(); break;
    case EV_CANCEL: if (it->state != FREE && it->state != GONE) cancelled(it); break;
    case EV_JUMP: jump(); break;
    case EV_OTHER: other_client(); break;
    case EV_CHANGE: change_server(); break;
    case EV_RECONFIGURE: reconfigure(); break;
    case EV_PAUSE: pause_some(); break;
    case EV_RESTART: restart(); break;
    case EV_DEBT: debt(); break;
    default: break;
    }
}

static bool over(void) { return w.arrivals == w.arrivals_max && w.waiting + w.sleeping + w.in_flight == 0; }

/* Nothing is lost, nothing is out, and once all has come back all is as in the beginning. */
static void check_end(void) {
    uint64_t ended = 0, now_ns, i, longest_ns = 0;
    rlm_usage usage;
    for (i = 0; i < ENDS; i++) ended += w.end[i];
    MUST(ended == w.arrivals, "%" PRIu64 " requests came, %" PRIu64 " ended", w.arrivals, ended);
    MUST(w.out == 0 && rlm_queue_count(queue) == 0 && rlm_queue_count(timers) == 0, "something is left");
    now_ns = clock_now();
    for (i = 0; i < w.count; i++) {
        call();
        MUST(rlm_status(limiter, (size_t)i, &usage, now_ns) == RLM_OK, "no status");
        MUST(w.limit[i].kind != RLM_CONCURRENCY || usage.used == 0, "%" PRIu64 " permits are out at the end", usage.used);
        if (w.limit[i].kind != RLM_CONCURRENCY && usage.reset_ns > longest_ns) longest_ns = usage.reset_ns;
    }
    MUST(has(F_JUMPS) || has(F_LEARN) || has(F_ADAPT) || longest_ns <= w.wait_bound_ns, "idle only after %" PRIu64 " ms", longest_ns / MS);
    for (i = 0; i < w.count; i++) {
        call();
        MUST(rlm_status(limiter, (size_t)i, &usage, now_ns + longest_ns) == RLM_OK && (usage.used == 0 || has(F_JUMPS)),
             "limit %" PRIu64 " is not idle: %" PRIu64 " used", i, usage.used);
    }
}

typedef struct totals {
    uint64_t worlds, told, calls, sent, refused, refused_told, faulted, arrivals, end[ENDS], by_feature[FEATURE_COUNT];
} totals;

/* Runs one world. Returns whether all held. */
static bool run_world(uint64_t seed, uint64_t calls_max, uint64_t without, totals *sum) {
    uint64_t i;
    out_of_calls = false;
    if (setjmp(failed) != 0) return false;
    make_world(seed, calls_max, without);
    while (!over() && !out_of_calls) {
        event what = next_event();
        w.now_ns = what.at_ns;
        happen(&what);
    }
    if (!out_of_calls) check_end();
    sum->worlds++;
    sum->told += w.told;
    sum->calls += w.calls;
    sum->sent += w.sent;
    sum->refused += w.refused;
    sum->refused_told += w.told ? w.refused : 0;
    sum->faulted += w.faulted;
    sum->arrivals += w.arrivals;
    for (i = 0; i < ENDS; i++) sum->end[i] += w.end[i];
    for (i = 0; i < FEATURE_COUNT; i++) sum->by_feature[i] += w.features >> i & 1;
    return true;
}

/* ---- Telling ---------------------------------------------------------------------------------- */

static void print_features(FILE *to, uint64_t mask) {
    int i, any = 0;
    for (i = 0; i < FEATURE_COUNT; i++)
        if (mask >> i & 1) fprintf(to, "%s%s", any++ ? "," : "", feature_name[i]);
}

static void print_repeat(uint64_t seed, uint64_t calls, uint64_t without) {
    printf("sim --seed %" PRIu64 " --ops %" PRIu64, seed, calls);
    if (without != 0) printf(" --without ");
    print_features(stdout, without);
    printf("\n");
}

/* What failed, how to repeat it, and with how little else it fails too. */
static void tell_failure(uint64_t seed, uint64_t without) {
    uint64_t calls = w.calls, best = without, tried, features = w.features;
    totals ignored;
    int i;
    memset(&ignored, 0, sizeof ignored);
    printf("seed %" PRIu64 ", call %" PRIu64 ": %s\nfeatures: ", seed, calls, reason);
    print_features(stdout, features);
    printf("\nrepeat: ");
    print_repeat(seed, calls, without);
    for (i = 0; i < FEATURE_COUNT; i++) {
        tried = best | UINT64_C(1) << i;
        if ((features >> i & 1) == 0 || run_world(seed, WORLD_OPS, tried, &ignored)) continue;
        best = tried;
        calls = w.calls;
    }
    if (best == without) return;
    printf("smaller: ");
    print_repeat(seed, calls, best);
    (void)run_world(seed, calls, best, &ignored);
    printf("   there: %s\n", reason);
}

static void write_json(const char *path, uint64_t seed, const totals *sum, double seconds, bool ok) {
    FILE *to = fopen(path, "w");
    int i;
    if (to == NULL) return;
    fprintf(to, "{\"tool\": \"sim\", \"ok\": %s, \"seed\": %" PRIu64 ", \"operations\": %" PRIu64 ", \"worlds\": %" PRIu64
            ", \"worlds_told\": %" PRIu64 ", \"seconds\": %.1f,\n \"sent\": %" PRIu64 ", \"refused\": %" PRIu64
            ", \"refused_with_true_limits\": %" PRIu64 ", \"faults\": %" PRIu64 ", \"requests\": %" PRIu64, ok ? "true" : "false", seed,
            sum->calls, sum->worlds, sum->told, seconds, sum->sent, sum->refused, sum->refused_told, sum->faulted, sum->arrivals);
    for (i = 0; i < ENDS; i++) fprintf(to, ", \"%s\": %" PRIu64, end_name[i], sum->end[i]);
    fprintf(to, ",\n \"worlds_with\": {");
    for (i = 0; i < FEATURE_COUNT; i++) fprintf(to, "%s\"%s\": %" PRIu64, i != 0 ? ", " : "", feature_name[i], sum->by_feature[i]);
    fprintf(to, "}}\n");
    fclose(to);
}

static uint64_t features_named(const char *names) {
    uint64_t mask = 0;
    int i;
    for (i = 0; i < FEATURE_COUNT; i++) {
        const char *found = strstr(names, feature_name[i]);
        if (found != NULL) mask |= UINT64_C(1) << i;
    }
    return mask;
}

int main(int argc, char **argv) {
    uint64_t seed = 1, ops = 1000000, without = 0, next;
    const char *json = NULL;
    clock_t began = clock();
    totals sum;
    bool ok = true;
    int i;
    loud = getenv("LOUD") != NULL;
    memset(&sum, 0, sizeof sum);
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--ops") == 0) ops = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--without") == 0) without = features_named(argv[i + 1]);
        else if (strcmp(argv[i], "--json") == 0) json = argv[i + 1];
        else break;
    }
    if (i < argc) {
        fprintf(stderr, "sim [--seed N] [--ops M] [--without FEATURE,...] [--json FILE]\n");
        return 2;
    }
    for (next = seed; ok && sum.calls < ops; next++) {
        uint64_t most = ops - sum.calls < WORLD_OPS ? ops - sum.calls : WORLD_OPS;
        ok = run_world(next, most, without, &sum);
        if (!ok) tell_failure(next, without);
    }
    if (json != NULL) write_json(json, seed, &sum, (double)(clock() - began) / CLOCKS_PER_SEC, ok);
    printf("%s: seed %" PRIu64 ", %" PRIu64 " operations, %" PRIu64 " worlds (%" PRIu64 " told), %" PRIu64 " requests, %" PRIu64
           " sent, %" PRIu64 " refused\n", ok ? "ok" : "FAILED", seed, sum.calls, sum.worlds, sum.told, sum.arrivals, sum.sent, sum.refused);
    return ok ? 0 : 1;
}
