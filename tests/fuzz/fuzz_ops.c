/* fuzz_ops.c - any sequence of operations on any valid limit, judged by simple models, for libFuzzer; see README.md.

   The first byte chooses what is under test: limiter (with one limit: that kind alone), queue or backoff. The following bytes are
   configuration, then operations; a missing byte is 0. The models are those of the simulator (tests/sim/judge.h), which know nothing of
   the header. Time only goes on here, by anything between nothing and years; clocks that go back are the simulator's. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "../sim/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASSERT(condition)                                                           \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

enum { PERMITS = 32, LIMITS = 4, WAITERS = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- Reading an input ------------------------------------------------------------------------- */

static const uint8_t *at, *end;

static uint64_t byte(void) { return at < end ? *at++ : 0; }

/* 1 to 2^bits, small and large alike: a shift and 16 bits. */
static uint64_t number(uint64_t bits) {
    uint64_t shift = byte() % bits, value = byte();
    value = (value << 8 | byte()) << 48 >> 48;
    value = shift >= 16 ? value << (shift - 16) | (value & 1) : value >> (16 - shift);
    return value != 0 ? value : 1;
}

/* ---- Limiter ---------------------------------------------------------------------------------- */

static rlm_limiter limiter, copy;
static rlm_limit limits[LIMITS];
static judge judges[LIMITS];
static size_t count;
static uint64_t now_ns;

typedef struct held {
    rlm_permit permit;
    uint64_t mark[LIMITS];
    bool out;
} held;
static held permits[PERMITS];

static rlm_limit draw_limit(void) {
    uint64_t kind = byte() % RLM_I_KIND_COUNT;
    uint32_t meter = (uint32_t)(byte() % RLM_I_METER_COUNT);
    uint64_t amount = number(41), period_ns = number(56); /* one after the other: arguments are evaluated in any order */
    rlm_limit limit = rlm_per(meter, amount, period_ns);
    if (kind == RLM_CONCURRENCY) return rlm_concurrent(limit.amount > 1000 ? 1 + limit.amount % 40 : limit.amount);
    limit.kind = (uint32_t)kind;
    if (kind == RLM_CALENDAR) limit.wall_offset_ns = (int64_t)number(40);
    if (kind == RLM_WINDOW) limit.cells = (uint32_t)(3 + byte() % 120);
    if (kind == RLM_BUCKET && byte() % 2) limit.burst = number(41);
    if (byte() % 4 == 0) limit.guard_ns = limit.period_ns / (2 + byte());
    limit.follow = RLM_FIXED;
    return limit;
}

static uint64_t part_of(size_t i, const rlm_cost *cost) {
    const uint64_t amounts[] = {cost->requests, cost->input_tokens, cost->output_tokens, cost->input_tokens + cost->output_tokens,
                                cost->microdollars, cost->custom};
    return limits[i].kind == RLM_CONCURRENCY ? 1 : amounts[limits[i].meter];
}

/* Near one of the limits, or anything. */
static rlm_cost draw_cost(void) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    uint64_t how = byte(), of = limits[how % count].kind == RLM_BUCKET ? limits[how % count].burst : limits[how % count].amount, n;
    n = how % 8 == 7 ? number(41) : of / (1 + byte() % 16) + how % 3 - 1;
    if (n > RLM_AMOUNT_MAX) n = 0;
    cost.requests = how % 5 ? 1 : n;
    cost.input_tokens = n - n / 3;
    cost.output_tokens = n / 3;
    cost.microdollars = n;
    cost.custom = n / (1 + how % 4);
    return cost;
}

static void roll(size_t i) {
    uint64_t period = (now_ns + (uint64_t)limits[i].wall_offset_ns) / limits[i].period_ns;
    if (judges[i].kind != JUDGE_CALENDAR || period == judges[i].period) return;
    judges[i].period = period;
    judges[i].next++;
    judges[i].used = 0;
}

static void make_judge(size_t i) {
    const rlm_limit *limit = &limits[i];
    int kind = limit->kind == RLM_BUCKET ? JUDGE_BUCKET : limit->kind == RLM_WINDOW ? JUDGE_WINDOW
             : limit->kind == RLM_CALENDAR ? JUDGE_CALENDAR : JUDGE_CAP;
    judge_make(&judges[i], kind, limit->amount, limit->period_ns, limit->burst, 0, now_ns);
    judges[i].period = 0;
    roll(i);
}

static bool is_slotted(const rlm_limit *limit) { return limit->kind == RLM_WINDOW && limit->cells < limit->amount + 2; }

/* A refusal changes nothing, and is right: later it is admitted, and, where nothing is divided into slots, not sooner. */
static void check_refusal(const rlm_cost *cost, uint64_t wait_ns) {
    rlm_permit permit;
    rlm_usage usage;
    bool exact = true;
    uint64_t sooner_ns;
    size_t i;
    for (i = 0; i < count; i++) exact &= !is_slotted(&limits[i]);
    for (i = 0; i < count; i++) { /* debts of weeks: their end is told roughly */
        ASSERT(rlm_status(&limiter, i, &usage, now_ns) == RLM_OK);
        if (limits[i].kind == RLM_BUCKET && usage.reset_ns > UINT64_C(1) << 50) return;
    }
    if (wait_ns < RLM_ON_RELEASE && wait_ns > UINT64_C(1) << 50) return; /* debts of weeks: their end is told roughly */
    if (wait_ns == RLM_NEVER) return;
    if (wait_ns == RLM_ON_RELEASE) {
        for (i = 0; i < count; i++) if (limits[i].kind == RLM_CONCURRENCY && judges[i].used >= limits[i].amount) return;
        ASSERT(!"told to wait for a release, and there are places");
    }
    copy = limiter;
    memset(&permit, 0, sizeof permit);
    ASSERT(rlm_acquire(&copy, cost, now_ns + wait_ns, &permit) == 0);
    if (!exact || wait_ns < 3) return;
    copy = limiter;
    sooner_ns = rlm_acquire(&copy, cost, now_ns + wait_ns - 2, &permit);
    ASSERT(sooner_ns != 0);
}

static void acquire(held *it) {
    rlm_cost cost = draw_cost();
    uint64_t wait_ns, checked_ns;
    size_t i;
    int binding;
    bool nothing = (cost.requests | cost.input_tokens | cost.output_tokens | cost.microdollars | cost.custom) == 0;
    checked_ns = rlm_check(&limiter, &cost, now_ns, &binding);
    wait_ns = rlm_acquire(&limiter, &cost, now_ns, &it->permit);
    ASSERT(checked_ns == wait_ns && (wait_ns == 0 || (binding >= 0 && binding < (int)count)));
    if (nothing) return;
    if (wait_ns != 0) {
        check_refusal(&cost, wait_ns);
        return;
    }
    it->out = true;
    for (i = 0; i < count; i++) {
        roll(i);
        ASSERT(judge_allows(&judges[i], part_of(i, &cost), now_ns));
        judge_note(&judges[i], part_of(i, &cost), now_ns, &it->mark[i]);
    }
}

static void settle(held *it, bool cancels) {
    rlm_cost actual = {0, 0, 0, 0, 0};
    uint64_t mark;
    int status;
    size_t i;
    if (!cancels) actual = draw_cost();
    status = cancels ? rlm_cancel(&limiter, &it->permit, now_ns) : rlm_settle(&limiter, &it->permit, &actual, now_ns);
    ASSERT(status == (it->out ? RLM_OK : RLM_E_PERMIT) || (it->out && status == RLM_E_COST));
    if (status != RLM_OK) return;
    it->out = false;
    for (i = 0; i < count; i++) {
        uint64_t had = part_of(i, &it->permit.cost), used = limits[i].kind == RLM_CONCURRENCY ? 0 : part_of(i, &actual);
        if (used > had) roll(i);
        if (used < had) judge_give(&judges[i], had - used, now_ns, it->mark[i]);
        if (used > had) judge_note(&judges[i], used - had, now_ns, &mark);
    }
}

static void debit(void) {
    rlm_cost cost = draw_cost();
    uint64_t mark;
    size_t i;
    if (rlm_debit(&limiter, &cost, now_ns) != RLM_OK) return;
    for (i = 0; i < count; i++) {
        if (limits[i].kind == RLM_CONCURRENCY || part_of(i, &cost) == 0) continue;
        roll(i);
        judge_note(&judges[i], part_of(i, &cost), now_ns, &mark);
    }
}

static void reconfigure(void) {
    size_t i = byte() % count;
    rlm_limit limit = limits[i];
    limit.amount = limit.kind == RLM_CONCURRENCY ? 1 + byte() : number(41);
    if (limit.kind == RLM_BUCKET) limit.burst = number(41);
    if (rlm_reconfigure(&limiter, i, &limit, now_ns) != RLM_OK) return;
    limits[i] = limit;
    judge_change(&judges[i], limit.amount, limit.burst, now_ns);
}

/* With RLM_FIXED whatever the server says only ever takes. */
static void observe(held *it) {
    rlm_feedback feedback;
    uint64_t i;
    memset(&feedback, 0, sizeof feedback);
    feedback.outcome = (uint32_t)(byte() % RLM_I_OUTCOMES);
    feedback.named = (uint32_t)byte();
    feedback.retry_after_ns = byte() % 2 ? number(50) : RLM_UNSAID;
    feedback.requested = RLM_UNSAID;
    feedback.count = (uint32_t)(byte() % 3);
    for (i = 0; i < feedback.count; i++) {
        feedback.reading[i] = rlm_reading_none((uint32_t)(byte() % RLM_I_METER_COUNT));
        feedback.reading[i].limit = byte() % 2 ? number(64) : limits[0].amount;
        feedback.reading[i].remaining = byte() % 2 ? number(64) : limits[0].amount / (1 + byte());
        feedback.reading[i].reset_ns = number(64);
        feedback.reading[i].period_ns = byte() % 2 ? limits[0].period_ns : 0;
    }
    ASSERT(rlm_observe(&limiter, it->out ? &it->permit : NULL, &feedback, now_ns) == RLM_OK);
}

static void check_status(void) {
    rlm_usage usage;
    size_t i;
    for (i = 0; i < count; i++) {
        ASSERT(rlm_status(&limiter, i, &usage, now_ns) == RLM_OK);
        ASSERT((int64_t)usage.limit - (int64_t)usage.used == usage.remaining);
        if (limits[i].kind == RLM_CONCURRENCY) ASSERT(usage.used == judges[i].used);
        if (usage.reset_ns < UINT64_C(1) << 50 && limits[i].kind != RLM_CONCURRENCY) {
            ASSERT(rlm_status(&limiter, i, &usage, now_ns + usage.reset_ns) == RLM_OK);
            ASSERT(usage.used == 0);
        }
    }
}

static void fuzz_limiter(void) {
    uint64_t start_ns;
    size_t i;
    count = 1 + byte() % LIMITS;
    now_ns = start_ns = number(62);
    for (i = 0; i < count; i++) limits[i] = draw_limit();
    if (rlm_limiter_init(&limiter, limits, count, now_ns) != RLM_OK) return;
    for (i = 0; i < count; i++) make_judge(i);
    memset(permits, 0, sizeof permits);
    for (i = 0; i < 600 && at < end; i++) {
        uint64_t what = byte();
        held *it = &permits[what / 8 % PERMITS];
        switch (what % 8) {
        case 0: now_ns += number(50); break;
        case 1: now_ns += limits[0].period_ns / (1 + byte()); break;
        case 2: settle(it, false); break;
        case 3: settle(it, true); break;
        case 4:
            if (what & 8) reconfigure();
            else if (what & 16) debit();
            else if (what & 32) observe(it);
            else if (what & 64) ASSERT(rlm_pause(&limiter, what & 128 ? RLM_ALL : 0, byte() % 3 ? number(40) : 0, now_ns) == RLM_OK);
            else check_status();
            break;
        default: if (!it->out) acquire(it);
        }
        if ((now_ns - start_ns) >> 54 != 0) return; /* some windows end after 11 months */
    }
    check_status();
}

/* ---- Queue ------------------------------------------------------------------------------------ */

typedef struct waiter {
    uint64_t handle, since_ns, deadline_ns, order;
    uint32_t priority;
    bool waits;
} waiter;
static waiter waiters[WAITERS];
static uint64_t memory[(sizeof(rlm_queue) + WAITERS * sizeof(rlm_i_waiter)) / 8 + 1];

static waiter *model_head(uint64_t ageing_ns) {
    waiter *first[RLM_I_PRIORITIES] = {NULL, NULL, NULL, NULL}, *best = NULL;
    i128 key, best_key = 0;
    int i, p;
    for (i = 0; i < WAITERS; i++) {
        waiter *it = &waiters[i];
        if (it->waits && (first[it->priority] == NULL || it->order < first[it->priority]->order)) first[it->priority] = it;
    }
    for (p = 0; p < RLM_I_PRIORITIES; p++) {
        if (first[p] == NULL) continue;
        key = (i128)first[p]->since_ns + (i128)p * (i128)ageing_ns;
        if (best != NULL && key >= best_key) continue;
        best = first[p];
        best_key = key;
    }
    return best;
}

static void push(rlm_queue *queue, waiter *it, size_t capacity, size_t waiting, uint64_t order) {
    uint32_t priority = (uint32_t)(byte() % 5);
    uint64_t deadline_ns = byte() % 2 ? now_ns + number(40) : RLM_NO_DEADLINE;
    int status = rlm_queue_push(queue, (uint64_t)(it - waiters), priority, deadline_ns, now_ns, &it->handle), i;
    ASSERT(status == (priority > RLM_LOW ? RLM_E_PRIORITY : waiting == capacity ? RLM_E_FULL : RLM_OK));
    if (status != RLM_OK) return;
    for (i = 0; i < WAITERS; i++)
        if (waiters[i].waits && waiters[i].since_ns > now_ns) waiters[i].since_ns = now_ns;
    it->priority = priority;
    it->deadline_ns = deadline_ns;
    it->since_ns = now_ns;
    it->order = order;
    it->waits = true;
}

static void check_queue(rlm_queue *queue, size_t waiting) {
    waiter *head = model_head(queue->ageing_ns);
    uint64_t earliest_ns = RLM_NO_DEADLINE, handle = 0, data = 0;
    int i;
    for (i = 0; i < WAITERS; i++)
        if (waiters[i].waits && waiters[i].deadline_ns < earliest_ns) earliest_ns = waiters[i].deadline_ns;
    ASSERT(rlm_queue_count(queue) == waiting && rlm_queue_deadline(queue) == earliest_ns);
    ASSERT(rlm_queue_head(queue, &handle, &data) == (head != NULL));
    if (head != NULL) ASSERT(data == (uint64_t)(head - waiters) && handle == head->handle);
}

static void fuzz_queue(void) {
    rlm_queue *queue = (rlm_queue *)(void *)memory;
    size_t capacity = 1 + byte() % WAITERS, waiting = 0;
    uint64_t order, data, handle, ageing_ns, gone = 0;
    memset(waiters, 0, sizeof waiters);
    now_ns = number(62);
    ageing_ns = byte() % 3 ? number(40) : byte() % 2 ? 0 : RLM_STRICT;
    ASSERT(rlm_queue_init(queue, sizeof memory, capacity, ageing_ns) == RLM_OK);
    for (order = 1; order < 600 && at < end; order++) {
        uint64_t what = byte();
        waiter *it = &waiters[what / 8 % WAITERS];
        switch (what % 8) {
        case 0: now_ns += number(40); break;
        case 1: now_ns -= now_ns > 1000 ? number(40) % 1000 : 0; break;
        case 2:
        case 3:
            gone = it->handle;
            ASSERT(rlm_queue_remove(queue, gone) == (it->waits ? RLM_OK : RLM_E_HANDLE));
            waiting -= it->waits;
            it->waits = false;
            break;
        case 4:
            if (!rlm_queue_expire(queue, now_ns, &handle, &data)) {
                ASSERT(rlm_queue_deadline(queue) > now_ns || rlm_queue_deadline(queue) == RLM_NO_DEADLINE);
                break;
            }
            ASSERT(data < WAITERS && waiters[data].waits && waiters[data].handle == handle && waiters[data].deadline_ns <= now_ns);
            waiters[data].waits = false;
            waiting--;
            break;
        default:
            if (it->waits) break;
            push(queue, it, capacity, waiting, order);
            waiting += it->waits;
        }
        check_queue(queue, waiting);
    }
}

/* ---- Backoff ---------------------------------------------------------------------------------- */

static rlm_backoff draw_plan(void) {
    rlm_backoff plan;
    int i;
    memset(&plan, 0, sizeof plan);
    plan.jitter = (uint32_t)(byte() % 6);
    plan.factor_permille = (uint32_t)number(18) + 900;
    plan.fraction_permille = (uint32_t)(number(11));
    plan.attempts_max = (uint32_t)byte();
    plan.cap_ns = number(51);
    plan.base_ns = number(51);
    plan.floor_ns = byte() % 2 ? number(51) : 0;
    for (i = 0; i < RLM_I_CLASSES; i++) plan.base_class_ns[i] = byte() % 2 ? number(51) : 0;
    for (i = 0; i < RLM_I_CLASSES; i++) plan.least_class_ns[i] = byte() % 2 ? number(51) : 0;
    plan.retry_after_max_ns = number(50);
    return plan;
}

static void fuzz_backoff(void) {
    rlm_backoff plan = draw_plan();
    rlm_backoff_state state, before, again;
    bool good = rlm_backoff_check(&plan) == RLM_OK;
    uint64_t attempts = 0;
    int i;
    rlm_backoff_start(&state, number(64));
    for (i = 0; i < 300 && at < end; i++) {
        uint32_t class_of = (uint32_t)(byte() % 5), priority = (uint32_t)(byte() % 5);
        uint64_t asked_ns = byte() % 4 == 0 ? number(51) : 0, delay_ns, least_ns;
        bool may = good && class_of < RLM_CLASS_FATAL && priority <= RLM_LOW && attempts < plan.attempts_max;
        before = again = state;
        delay_ns = rlm_backoff_next(&plan, &state, class_of, priority, asked_ns);
        ASSERT(rlm_backoff_next(&plan, &again, class_of, priority, asked_ns) == delay_ns);
        ASSERT(memcmp(&state, &again, sizeof state) == 0);
        ASSERT((delay_ns != RLM_NEVER) == may);
        if (!may) {
            ASSERT(memcmp(&state, &before, sizeof state) == 0);
            continue;
        }
        attempts++;
        if (asked_ns != 0 && asked_ns <= plan.retry_after_max_ns) {
            ASSERT(delay_ns == asked_ns);
            continue;
        }
        least_ns = plan.floor_ns > plan.least_class_ns[class_of] ? plan.floor_ns : plan.least_class_ns[class_of];
        ASSERT(delay_ns <= plan.cap_ns && delay_ns >= least_ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t what;
    at = data;
    end = data + size;
    what = byte() % 8;
    if (what == 6) fuzz_queue();
    else if (what == 7) fuzz_backoff();
    else fuzz_limiter();
    return 0;
}
