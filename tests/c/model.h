/* model.h - what the tests of buckets share: exact sums of 128 bits, and the bound that a bucket
   must keep, computed from a list of what it admitted and nothing else. */

#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

/* A sum modulo 2^128, read as signed. */
typedef struct wide {
    uint64_t high, low;
} wide;

static inline wide wide_of(uint64_t value) {
    wide made = {0, 0};
    made.low = value;
    return made;
}

static inline wide wide_add(wide a, wide b) {
    wide sum;
    sum.low = a.low + b.low;
    sum.high = a.high + b.high + (sum.low < a.low);
    return sum;
}

static inline wide wide_sub(wide a, wide b) {
    wide rest;
    rest.low = a.low - b.low;
    rest.high = a.high - b.high - (a.low < b.low);
    return rest;
}

/* By four products of 32 bits, each added where it belongs. */
static inline wide wide_mul(uint64_t a, uint64_t b) {
    wide product = wide_of((a & 0xffffffffu) * (b & 0xffffffffu)), part;
    uint64_t cross[2];
    int i;
    cross[0] = (a >> 32) * (b & 0xffffffffu);
    cross[1] = (a & 0xffffffffu) * (b >> 32);
    for (i = 0; i < 2; i++) {
        part.high = cross[i] >> 32;
        part.low = cross[i] << 32;
        product = wide_add(product, part);
    }
    part.high = (a >> 32) * (b >> 32);
    part.low = 0;
    return wide_add(product, part);
}

static inline int wide_less(wide a, wide b) {
    const uint64_t sign = UINT64_C(1) << 63;
    if (a.high != b.high) return (a.high ^ sign) < (b.high ^ sign);
    return a.low < b.low;
}

/* A judge of a bucket: told of everything admitted and given back, in order of time, it says whether
   some span of time held more than burst + rate x span + what was given back in it. Amounts are
   multiplied by period, so that nothing is rounded. earned is amount x time, summed over the rates
   that were in force. */
typedef struct audit {
    wide sum;   /* admitted less given back, x period */
    wide bound; /* the least sum that no later one may pass, less what was earned by then */
    int begun;
} audit;

static inline void audit_start(audit *judge) {
    judge->sum = judge->bound = wide_of(0);
    judge->begun = 0;
}

static inline int audit_take(audit *judge, uint64_t n, wide earned, uint64_t burst, uint64_t period) {
    wide from = wide_sub(wide_add(judge->sum, wide_mul(burst, period)), earned);
    if (!judge->begun || wide_less(from, judge->bound)) judge->bound = from;
    judge->begun = 1;
    judge->sum = wide_add(judge->sum, wide_mul(n, period));
    return !wide_less(judge->bound, wide_sub(judge->sum, earned));
}

static inline void audit_give(audit *judge, uint64_t n, uint64_t period) {
    judge->sum = wide_sub(judge->sum, wide_mul(n, period));
}

/* Something admitted at a time, in a log that is put in order of time before it is judged. */
typedef struct admission {
    uint64_t at_ns, n;
} admission;

static int admission_order(const void *a, const void *b) {
    uint64_t left = ((const admission *)a)->at_ns, right = ((const admission *)b)->at_ns;
    return (left > right) - (left < right);
}

/* Whether a log keeps burst + rate x (span + slack_ns). Sorts it. */
static inline int log_keeps_rate(admission *log, size_t count, uint64_t burst, uint64_t amount, uint64_t period,
                                 uint64_t slack_ns) {
    audit judge;
    size_t i;
    wide slack = wide_mul(amount, slack_ns);
    audit_start(&judge);
    qsort(log, count, sizeof *log, admission_order);
    for (i = 0; i < count; i++) {
        wide earned = wide_mul(amount, log[i].at_ns - log[0].at_ns);
        audit_take(&judge, log[i].n, earned, burst, period);
        if (wide_less(wide_add(judge.bound, slack), wide_sub(judge.sum, earned))) return 0;
    }
    return 1;
}

/* Whether no span of less than period holds more than amount. Sorts it. */
static inline int log_keeps_window(admission *log, size_t count, uint64_t amount, uint64_t period) {
    uint64_t held = 0;
    size_t i, oldest = 0;
    qsort(log, count, sizeof *log, admission_order);
    for (i = 0; i < count; i++) {
        held += log[i].n;
        while (log[i].at_ns - log[oldest].at_ns >= period) held -= log[oldest++].n;
        if (held > amount) return 0;
    }
    return 1;
}

#endif
