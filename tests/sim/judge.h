/* judge.h - an independent log of what one limit admitted, that says at each admission whether it was too much.

   Times are those of the client's clock with its backward jumps taken out, so they never go back but by stale readings.
   Debts count as admitted; what was given back does not. */

#ifndef SIM_JUDGE_H
#define SIM_JUDGE_H

#include <stdint.h>

__extension__ typedef __int128 i128;

enum { JUDGE_BUCKET, JUDGE_WINDOW, JUDGE_CALENDAR, JUDGE_CAP, JUDGE_NOTHING };
enum { JUDGE_LOG = 8192 };

typedef struct judge {
    int kind;
    uint64_t amount, period_ns, burst;
    uint64_t stale_ns;             /* readings lag by as much: a bucket's may then hold so much more */
    i128 level;                    /* JUDGE_BUCKET: what is there, in 1 / period_ns of a token */
    uint64_t at_ns;
    uint64_t period;               /* JUDGE_CALENDAR: the period that counts, and what it holds */
    uint64_t used;                 /* also JUDGE_CAP and JUDGE_WINDOW */
    uint64_t first, next;          /* JUDGE_WINDOW: the log; JUDGE_CALENDAR: next is the number of the period */
    uint64_t log_ns[JUDGE_LOG], log_n[JUDGE_LOG];
} judge;

static inline i128 judge_full(const judge *it) {
    return (i128)it->burst * (i128)it->period_ns + (i128)it->amount * (i128)it->stale_ns;
}

static inline void judge_make(judge *it, int kind, uint64_t amount, uint64_t period_ns, uint64_t burst, uint64_t stale_ns, uint64_t now_ns) {
    it->kind = kind;
    it->amount = amount;
    it->period_ns = period_ns;
    it->burst = burst;
    it->stale_ns = stale_ns;
    it->level = judge_full(it);
    it->at_ns = now_ns;
    it->period = it->used = it->first = it->next = 0;
}

static inline void judge_advance(judge *it, uint64_t now_ns) {
    if (now_ns > it->at_ns) {
        it->level += (i128)it->amount * (i128)(now_ns - it->at_ns);
        if (it->level > judge_full(it)) it->level = judge_full(it);
        it->at_ns = now_ns;
    }
    if (it->kind != JUDGE_WINDOW) return;
    while (it->first < it->next && it->log_ns[it->first % JUDGE_LOG] + it->period_ns <= it->at_ns)
        it->used -= it->log_n[it->first++ % JUDGE_LOG];
}

/* Notes n, asked for or forced upon it. */
static inline void judge_note(judge *it, uint64_t n, uint64_t now_ns, uint64_t *mark) {
    judge_advance(it, now_ns);
    *mark = it->next;
    if (it->kind == JUDGE_BUCKET) it->level -= (i128)n * (i128)it->period_ns;
    else it->used += n;
    if (it->kind != JUDGE_WINDOW) return;
    if (it->next - it->first == JUDGE_LOG) { /* full: the oldest leaves early, which only makes the judge milder */
        it->used -= it->log_n[it->first++ % JUDGE_LOG];
    }
    it->log_ns[it->next % JUDGE_LOG] = now_ns; /* by a stale reading less than at_ns */
    it->log_n[it->next++ % JUDGE_LOG] = n;
}

/* Whether n more would have been right. now_ns: of a window, the newest reading that was admitted so far. */
static inline int judge_allows(judge *it, uint64_t n, uint64_t now_ns) {
    judge_advance(it, now_ns);
    if (n == 0 || it->kind == JUDGE_NOTHING) return 1;
    if (it->kind == JUDGE_BUCKET) return n <= it->burst && it->level >= (i128)n * (i128)it->period_ns;
    return it->used + n <= it->amount;
}

/* n of what mark stands for was given back. */
static inline void judge_give(judge *it, uint64_t n, uint64_t now_ns, uint64_t mark) {
    if (it->kind == JUDGE_CAP) it->used -= n;
    if (it->kind == JUDGE_CALENDAR && mark == it->next) it->used -= n < it->used ? n : it->used;
    if (it->kind == JUDGE_BUCKET) {
        judge_advance(it, now_ns);
        it->level += (i128)n * (i128)it->period_ns;
        if (it->level > judge_full(it)) it->level = judge_full(it);
    }
    if (it->kind == JUDGE_WINDOW && mark >= it->first && mark < it->next) {
        uint64_t *had = &it->log_n[mark % JUDGE_LOG];
        if (n > *had) n = *had;
        *had -= n;
        it->used -= n;
    }
}

/* What was used beyond the limit is forgotten, the oldest first. */
static inline void judge_forgive(judge *it, uint64_t now_ns) {
    if (it->kind == JUDGE_BUCKET) judge_advance(it, now_ns);
    if (it->kind == JUDGE_BUCKET && it->level < 0) it->level = 0;
    while (it->kind == JUDGE_WINDOW && it->used > it->amount) {
        uint64_t *oldest = &it->log_n[it->first % JUDGE_LOG], over = it->used - it->amount, less = over < *oldest ? over : *oldest;
        *oldest -= less;
        it->used -= less;
        if (*oldest == 0) it->first++;
    }
}

/* Other numbers from now on; what is there stays, up to the new burst. */
static inline void judge_change(judge *it, uint64_t amount, uint64_t burst, uint64_t now_ns) {
    if (it->kind == JUDGE_BUCKET) judge_advance(it, now_ns);
    if (amount > it->amount) it->level += (i128)(amount - it->amount) * (i128)it->stale_ns;
    it->amount = amount;
    it->burst = burst;
    if (it->level > judge_full(it)) it->level = judge_full(it);
}

#endif
