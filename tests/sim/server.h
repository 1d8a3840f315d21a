/* server.h - servers for the simulator: three rate policies and a cap, all or nothing, in exact integers, and none
   of it from the header under test. The rules are those of tests/relay/policies.py. */

#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { CONTINUOUS, FIXED, SLIDING, POLICIES };
enum { SERVER_LIMITS = 3, SERVER_LOG = 8192 };

typedef struct policy {
    int kind;
    uint64_t limit, period_ns;
    u128 used_parts;           /* CONTINUOUS: 1 / period_ns of a unit, so that a nanosecond refills a whole number */
    uint64_t at_ns;            /* ... as of then */
    uint64_t used, window;     /* FIXED: in this window, counted from 0 of the wall clock; SLIDING: in the log */
    uint64_t first, next;      /* SLIDING: the log */
    uint64_t log_ns[SERVER_LOG], log_n[SERVER_LOG];
} policy;

static void policy_make(policy *it, int kind, uint64_t limit, uint64_t period_ns, uint64_t now_ns) {
    it->kind = kind;
    it->limit = limit;
    it->period_ns = period_ns;
    it->used_parts = 0;
    it->at_ns = now_ns;
    it->used = it->first = it->next = 0;
    it->window = now_ns / period_ns;
}

static void policy_advance(policy *it, uint64_t now_ns) {
    if (it->kind == CONTINUOUS) {
        u128 back = (u128)it->limit * (now_ns - it->at_ns);
        it->used_parts = it->used_parts > back ? it->used_parts - back : 0;
        it->at_ns = now_ns;
    } else if (it->kind == FIXED) {
        if (now_ns / it->period_ns != it->window) it->used = 0;
        it->window = now_ns / it->period_ns;
    } else {
        while (it->first < it->next && it->log_ns[it->first % SERVER_LOG] + it->period_ns <= now_ns)
            it->used -= it->log_n[it->first++ % SERVER_LOG];
    }
}

/* The wait in ns, 0: admitted, UINT64_MAX: never. The policy is advanced to now. */
static uint64_t policy_wait(const policy *it, uint64_t n, uint64_t now_ns) {
    uint64_t i, excess;
    if (n > it->limit) return UINT64_MAX;
    if (n == 0) return 0;
    if (it->kind == CONTINUOUS) {
        u128 full = (u128)it->limit * it->period_ns, wanted = it->used_parts + (u128)n * it->period_ns;
        return wanted <= full ? 0 : (uint64_t)((wanted - full - 1) / it->limit) + 1;
    }
    if (it->used + n <= it->limit) return 0;
    if (it->kind == FIXED) return (it->window + 1) * it->period_ns - now_ns;
    excess = it->used + n - it->limit;
    for (i = it->first; i < it->next; i++) {
        if (it->log_n[i % SERVER_LOG] >= excess) return it->log_ns[i % SERVER_LOG] + it->period_ns - now_ns;
        excess -= it->log_n[i % SERVER_LOG];
    }
    return UINT64_MAX;
}

static void policy_take(policy *it, uint64_t n, uint64_t now_ns) {
    if (it->kind == CONTINUOUS) it->used_parts += (u128)n * it->period_ns;
    else it->used += n;
    if (it->kind != SLIDING || n == 0) return;
    if (it->next - it->first == SERVER_LOG) { /* full: the newest two become one, at the later time: a little stricter */
        it->log_n[(it->next - 1) % SERVER_LOG] += n;
        it->log_ns[(it->next - 1) % SERVER_LOG] = now_ns;
        return;
    }
    it->log_ns[it->next % SERVER_LOG] = now_ns;
    it->log_n[it->next++ % SERVER_LOG] = n;
}

/* What is left, 0 if less. */
static uint64_t policy_left(const policy *it) {
    uint64_t used = it->kind == CONTINUOUS ? (uint64_t)((it->used_parts + it->period_ns - 1) / it->period_ns) : it->used;
    return used < it->limit ? it->limit - used : 0;
}

/* Until nothing is used; FIXED: until the window ends. */
static uint64_t policy_reset_ns(const policy *it, uint64_t now_ns) {
    if (it->kind == CONTINUOUS) return (uint64_t)((it->used_parts + it->limit - 1) / it->limit);
    if (it->kind == FIXED) return (it->window + 1) * it->period_ns - now_ns;
    return it->first < it->next ? it->log_ns[(it->next - 1) % SERVER_LOG] + it->period_ns - now_ns : 0;
}

/* What was used counts on; of a bucket, what is left, up to the new limit: raising it is no burst. */
static void policy_change(policy *it, uint64_t limit, uint64_t now_ns) {
    policy_advance(it, now_ns);
    if (it->kind == CONTINUOUS) {
        u128 was = (u128)it->limit * it->period_ns, full = (u128)limit * it->period_ns;
        u128 left = was > it->used_parts ? was - it->used_parts : 0;
        it->used_parts = full - (left < full ? left : full);
    }
    it->limit = limit;
}

/* Several limits and a cap as one decision. */
typedef struct server {
    uint64_t count, cap, out; /* cap 0: none */
    uint32_t meter[SERVER_LIMITS];
    policy limit[SERVER_LIMITS];
} server;

/* 0 and all is taken; else nothing: the longest wait, UINT64_MAX for never, 1 with *by = count for the cap. */
static uint64_t server_offer(server *it, const uint64_t *amounts, uint64_t now_ns, uint64_t *by) {
    uint64_t i, longest_ns = 0;
    for (i = 0; i < it->count; i++) {
        uint64_t wait_ns;
        policy_advance(&it->limit[i], now_ns);
        wait_ns = policy_wait(&it->limit[i], amounts[it->meter[i]], now_ns);
        if (wait_ns <= longest_ns) continue;
        longest_ns = wait_ns;
        *by = i;
    }
    if (longest_ns != 0) return longest_ns;
    *by = it->count;
    if (it->cap != 0 && it->out >= it->cap) return 1;
    it->out++;
    for (i = 0; i < it->count; i++) policy_take(&it->limit[i], amounts[it->meter[i]], now_ns);
    return 0;
}

#endif
