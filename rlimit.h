/* rlimit.h - 0.1.0 - rate limiting for callers of metered APIs, in one C header - MIT licence

   Use all of a quota and never exceed it: token buckets, sliding windows, concurrency caps and
   calendar quotas, taken together as one decision; limits learned from the server's answers; a
   queue for those who wait; backoff for those who failed. C99 to C23, C++11 to C++20.

INSTALL   Copy this file. In exactly one C or C++ file, before including it (first of all, or under
          -std=c99 define _POSIX_C_SOURCE as 200809L):

              #define RLM_IMPLEMENTATION
              #include "rlimit.h"

BUCKET    One limit, any number of threads, one compare-and-swap for each decision:

              rlm_bucket bucket;
              rlm_limit  limit = rlm_per_second(RLM_REQUESTS, 100);       // burst 100
              if (rlm_bucket_init(&bucket, &limit, rlm_now()) != RLM_OK) ...

              uint64_t wait_ns = rlm_bucket_take(&bucket, 1, rlm_now());
              // 0: taken.  RLM_NEVER: more than the burst.  Otherwise: nothing was taken,
              // ask again after wait_ns.

LIMITER   Several limits, all or nothing. 20 kB: better static than on a small stack.

              static rlm_limiter claude;
              rlm_limit limits[] = {
                  rlm_per_minute(RLM_REQUESTS,         50),
                  rlm_per_minute(RLM_INPUT_TOKENS,  80000),
                  rlm_per_minute(RLM_OUTPUT_TOKENS, 16000),
                  rlm_concurrent(10),
              };
              int status = rlm_limiter_init(&claude, limits, 4, rlm_now());
              if (status != RLM_OK) puts(rlm_strerror(status));  // rlm_status_limit(status): which limit

              rlm_cost   estimate = { .requests = 1, .input_tokens = 1200, .output_tokens = 400 };
              rlm_permit permit;       // fields of rlm_cost, for C++: requests, input_tokens,
                                       // output_tokens, microdollars, custom
              uint64_t   wait_ns  = rlm_acquire(&claude, &estimate, rlm_now(), &permit);
              if (wait_ns == 0) {
                  ... send the request, read what it used ...
                  rlm_settle(&claude, &permit, &actual, rlm_now());       // or rlm_cancel
              }

              int binding;             // index of the limit with the longest wait, -1: none
              wait_ns = rlm_check(&claude, &estimate, rlm_now(), &binding);      // takes nothing
              rlm_usage usage;         // limit, used, remaining, reset_ns
              rlm_status(&claude, 0, &usage, rlm_now());                         // of limit 0

FEEDBACK  What the server says is believed: what remains, its limits, its pauses. A limit that is not
          known is learned. ext/rlimit_http.h makes feedback of status, headers and body.

              limits[0] = rlm_learned(RLM_REQUESTS, RLM_MINUTE_NS);  // limits[1].follow = RLM_FOLLOW
              rlm_observe(&claude, &permit, &feedback, rlm_now());   // before rlm_settle

BACKOFF   How long to wait before a retry:

              rlm_backoff       plan = rlm_backoff_default();             // 1 s, doubling, to 60 s
              rlm_backoff_state retry;
              rlm_backoff_start(&retry, 42);                              // seed: repeatable
              uint64_t delay_ns = rlm_backoff_next(&plan, &retry, RLM_CLASS_SERVER,
                                                   RLM_NORMAL, retry_after_ns);  // 0: none given
              // RLM_NEVER: give up.  RLM_CLASS_RATE_LIMIT, _SERVER, _NETWORK, _FATAL.

WHICH     It refills continuously (Anthropic, OpenAI)    rlm_per_minute(meter, n), rlm_per(meter, n, ns)
LIMIT     it counts the last minute                      rlm_sliding(meter, n, RLM_MINUTE_NS)
          it counts since the last full minute           rlm_fixed(meter, n, RLM_MINUTE_NS, offset)
          since midnight, since the first                rlm_calendar_day(meter, n, utc_offset_s, offset)
          you do not know                                rlm_sliding: right for all of these
          requests take a varying time to the server     limit.guard_ns = the largest
          where offset, wall clock less limiter's, is (int64_t)(rlm_wall() - rlm_now())

DOES NOT  allocate, sleep, start threads, do I/O, keep globals, read headers, or use floating
          point. It never calls a clock unless you do: time is an argument everywhere.

STATE     Plain memory that you own: no pointers, fixed width, position independent. All functions
          on a bucket, window, concurrency, calendar, limiter or retry budget may be called from
          any thread; each is lock-free. A queue and a backoff state belong to one thread at a time.

ANSWERS   uint64_t wait_ns      0 admitted; RLM_NEVER impossible as asked; RLM_ON_RELEASE only when
                                somebody settles; else nanoseconds, rounded up. A refusal changes
                                nothing. An amount of 0 is a peek.
          int status            RLM_OK, or an error that rlm_strerror explains; it changes nothing.
          Only functions that return a status accept null pointers, and answer RLM_E_NULL.

PROMISES  B = burst, r = rate, w = any span of time, as the callers' readings tell it:
          - bucket: admitted in w <= B + r*w + what was given back in w, in exact arithmetic
          - window: admitted in any period_ns <= amount; calendar: in any period <= amount
          - debt (settling above the estimate) is never lost; credit never lifts above capacity
          - a `now` that is stale or frozen never adds a token; one that jumps ahead adds at most one
            burst, window or period. A clock that was set back is believed when it has stayed behind,
            without one good reading, for a burst's refill (or debt) or a window, at least a second;
            a calendar's, when it is behind by whole periods for a minute. Till then all wait.

OPTIONS   Define before including; those marked * alike in every file of a program.
          RLM_IMPLEMENTATION    compile the functions that are not inline here
          RLM_STATIC            make every function static (then no other file is needed)
          RLM_API               decoration of the functions that are not inline, default extern
          RLM_NO_CLOCK          no <time.h>, no clocks but the manual and the caller's own
          RLM_NO_ATOMICS        plain loads and stores, for one thread (small microcontrollers)
          RLM_LIMITS_MAX    *   limits in one limiter, default 8
          RLM_WINDOW_CELLS  *   memory for the windows of one limiter, in cells of 24 bytes,
                                default 528: two windows. 0 if there are none.

   Algorithms: GCRA (ITU-T I.371; the state is one theoretical arrival time), in units of a token
   so that costs are exact and only clock readings are rounded. Rounding is always towards waiting. */

#ifndef RLM_RLIMIT_H
#define RLM_RLIMIT_H

#define RLM_VERSION "0.1.0"

/* ---- Configuration --------------------------------------------------------------------------- */

#if defined(RLM_STATIC) && !defined(RLM_IMPLEMENTATION)
#define RLM_IMPLEMENTATION
#endif

#if defined(RLM_IMPLEMENTATION) && !defined(RLM_NO_CLOCK) && defined(__STRICT_ANSI__) && \
    !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* -std=c99 hides clock_gettime otherwise */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef RLM_LIMITS_MAX
#define RLM_LIMITS_MAX 8
#endif
#ifndef RLM_WINDOW_CELLS
#define RLM_WINDOW_CELLS 528
#endif

#if defined(__GNUC__) || defined(__clang__)
#define RLM_I_UNUSED __attribute__((unused))
#define RLM_I_HOT __attribute__((always_inline)) /* a call costs as much as the rest of the decision */
#define RLM_I_COLD __attribute__((noinline, cold))
#define RLM_I_LIKELY(x) __builtin_expect(!!(x), 1)
#define RLM_I_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define RLM_I_UNUSED
#define RLM_I_HOT
#define RLM_I_COLD
#define RLM_I_LIKELY(x) (x)
#define RLM_I_UNLIKELY(x) (x)
#endif

#ifdef RLM_STATIC
#define RLM_I_DECL static RLM_I_UNUSED
#elif defined(RLM_API)
#define RLM_I_DECL RLM_API
#else
#define RLM_I_DECL extern
#endif
#define RLM_I_INLINE static inline RLM_I_UNUSED

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Types ----------------------------------------------------------------------------------- */

/* Answers that are not a number of nanoseconds. */
#define RLM_NEVER UINT64_MAX            /* larger than a limit: waiting does not help */
#define RLM_ON_RELEASE (UINT64_MAX - 1) /* all permits are out: ask again when one is settled */

/* Largest amount, burst, cost or credit: 2^40. */
#define RLM_AMOUNT_MAX (UINT64_C(1) << 40)

/* Errors. Where a limit of a limiter is meant, its index is in the same int: see rlm_status_limit. */
enum {
    RLM_OK = 0,
    RLM_E_NULL,         /* rlm_bucket_init(NULL, ...) */
    RLM_E_LIMITS,       /* no limits, or more than RLM_LIMITS_MAX */
    RLM_E_KIND,         /* limit.kind = 9, or not the kind this function is for */
    RLM_E_METER,        /* limit.meter = 9 */
    RLM_E_AMOUNT,       /* limit.amount = 0 */
    RLM_E_PERIOD,       /* limit.period_ns = 0 */
    RLM_E_RATE,         /* 20 tokens a nanosecond */
    RLM_E_BURST,        /* limit.burst = 0 */
    RLM_E_SPAN,         /* a burst of 2^40 at one token a day */
    RLM_E_GUARD,        /* limit.guard_ns > limit.period_ns */
    RLM_E_UTC_OFFSET,   /* limit.utc_offset_s = 100000 */
    RLM_E_CELLS,        /* more windows than RLM_WINDOW_CELLS has room for */
    RLM_E_MEMORY,       /* too few bytes for the queue or window */
    RLM_E_INDEX,        /* limit 7 of a limiter with 4 */
    RLM_E_COST,         /* a cost above 2^40 */
    RLM_E_PERMIT,       /* a permit settled twice, or never admitted */
    RLM_E_BUSY,         /* another thread is reconfiguring the same limit */
    RLM_E_CAPACITY,     /* limits in use cannot grow beyond the memory they began with */
    RLM_E_PRIORITY,     /* priority 4 */
    RLM_E_FULL,         /* the queue holds as many waiters as it can */
    RLM_E_HANDLE,       /* a waiter that has left the queue */
    RLM_E_BACKOFF,      /* backoff: factor below 1, cap below base, fraction above 1 ... */
    RLM_E_CLOCK,        /* no usable time stamp counter */
    RLM_E_NEVER,        /* for hosts that wait: larger than a limit */
    RLM_E_TIMEOUT,      /* for hosts that wait: the deadline passed first */
    RLM_E_CANCELLED,    /* for hosts that wait: given up by another thread */
    RLM_E_FOLLOW,       /* limit.follow = 9, or not for this kind; limit.least > limit.amount */
    RLM_E_FEEDBACK,     /* feedback.outcome = 9, feedback.count = 100 */
    RLM_E_UNKNOWN,      /* a limit that is to be learned, and was not yet */
    RLM_I_STATUS_COUNT
};

/* What a limit counts. RLM_TOKENS is input and output tokens together. */
enum {
    RLM_REQUESTS,
    RLM_INPUT_TOKENS,
    RLM_OUTPUT_TOKENS,
    RLM_TOKENS,
    RLM_MICRODOLLARS,
    RLM_CUSTOM,         /* anything the caller counts */
    RLM_I_METER_COUNT
};

/* How a limit counts. */
enum {
    RLM_BUCKET,         /* refills continuously: amount every period_ns, up to burst */
    RLM_WINDOW,         /* never more than amount in any period_ns */
    RLM_CONCURRENCY,    /* at most amount permits out at once */
    RLM_CALENDAR,       /* amount in each period, counted from a boundary of the wall clock */
    RLM_I_KIND_COUNT
};

/* What a limit does when the server says otherwise (rlm_observe). */
enum {
    RLM_SHRINK,         /* follows the server below what was configured, and back up to it */
    RLM_FIXED,          /* stays as configured; what remains of it and refusals are believed all the same */
    RLM_FOLLOW,         /* follows the server. Until the first answer one permit is out at a time, ... */
    RLM_LEARN,          /* ... and so here: not known, as good as none, until the server tells */
    RLM_RAMP,           /* a pace that is there only after the server said "slow down": rlm_ramp */
    RLM_ADAPT,          /* a cap that seeks its own height: rlm_adaptive */
    RLM_I_FOLLOWS
};

/* period_ns of a calendar quota that ends with the month. */
#define RLM_MONTH UINT64_MAX

#define RLM_SECOND_NS UINT64_C(1000000000)
#define RLM_MINUTE_NS (60 * RLM_SECOND_NS)
#define RLM_HOUR_NS (3600 * RLM_SECOND_NS)
#define RLM_DAY_NS (86400 * RLM_SECOND_NS)

/* One limit, as configured. Made by rlm_per_minute and its kin; every field may be changed before
   init. Amounts and bursts: 1 to 2^40. Rates: up to 10^10 a second. */
typedef struct rlm_limit {
    uint32_t kind;          /* RLM_BUCKET ... */
    uint32_t meter;         /* RLM_REQUESTS ... */
    uint64_t amount;        /* how much ... */
    uint64_t period_ns;     /* ... in how long, up to 2^55 (417 days); calendar also RLM_MONTH */
    uint64_t burst;         /* bucket: what may go at once after a pause. RLM_ADAPT: where it begins */
    uint64_t guard_ns;      /* the largest delay of a request on its way to the server, up to the
                               period. The limiter assumes the worst order of arrival within it:
                               a bucket that is busy keeps rate x guard in hand, a window is longer
                               by it, a calendar quota admits nothing in the last guard_ns of its
                               period. Loses guard/period of a window's rate; nothing of a bucket's. */
    uint32_t cells;         /* window: memory, in cells of 24 bytes, 3 to 65536; 0 = 258. With amount + 2
                               or more it is exact; with fewer it is divided into cells - 2 slots
                               and counts up to one slot too long. */
    int32_t utc_offset_s;   /* calendar: the boundary's zone, seconds east of UTC, within a day */
    int64_t wall_offset_ns; /* calendar: the wall clock (since 1970) less the limiter's clock */
    uint32_t follow;        /* what rlm_observe may change: RLM_SHRINK ... */
    uint32_t least;         /* RLM_ADAPT: the cap is at least this */
} rlm_limit;

/* What a request costs, each 0 to 2^40. */
typedef struct rlm_cost {
    uint64_t requests;
    uint64_t input_tokens;
    uint64_t output_tokens;
    uint64_t microdollars;
    uint64_t custom;
} rlm_cost;

/* A limit now. remaining and used may pass their bounds when in debt: remaining is then negative. */
typedef struct rlm_usage {
    uint64_t limit;     /* bucket: the burst; otherwise the amount */
    uint64_t used;      /* rounded up */
    int64_t remaining;  /* rounded down */
    uint64_t reset_ns;  /* from now until used is 0 if nobody comes; RLM_ON_RELEASE: concurrency */
} rlm_usage;

/* Atomically accessed words are plain memory, aligned so that one instruction reaches them. */
#if defined(__GNUC__) || defined(__clang__)
typedef uint64_t rlm_word __attribute__((aligned(8)));
#else
typedef uint64_t rlm_word;
#endif

/* rlm_strerror returns what a status means, with or without an index in it, naming the field at fault
   and its range. Never null. */
RLM_I_DECL const char *rlm_strerror(int status);

/* rlm_status_limit returns the index of the limit that rlm_limiter_init refused, or -1. */
RLM_I_INLINE int rlm_status_limit(int status) { return (status >> 8) - 1; }

/* rlm_status_code returns the RLM_E_ constant of a status, without the index. */
RLM_I_INLINE int rlm_status_code(int status) { return status & 0xff; }

/* rlm_per is a token bucket: amount every period_ns, and as much at once after a pause. */
RLM_I_INLINE rlm_limit rlm_per(uint32_t meter, uint64_t amount, uint64_t period_ns) {
    rlm_limit limit = {RLM_BUCKET, 0, 0, 0, 0, 0, 0, 0, 0, RLM_SHRINK, 0};
    limit.meter = meter;
    limit.amount = limit.burst = amount;
    limit.period_ns = period_ns;
    return limit;
}
RLM_I_INLINE rlm_limit rlm_per_second(uint32_t meter, uint64_t amount) { return rlm_per(meter, amount, RLM_SECOND_NS); }
RLM_I_INLINE rlm_limit rlm_per_minute(uint32_t meter, uint64_t amount) { return rlm_per(meter, amount, RLM_MINUTE_NS); }
RLM_I_INLINE rlm_limit rlm_per_hour(uint32_t meter, uint64_t amount) { return rlm_per(meter, amount, RLM_HOUR_NS); }
RLM_I_INLINE rlm_limit rlm_per_day(uint32_t meter, uint64_t amount) { return rlm_per(meter, amount, RLM_DAY_NS); }

/* rlm_sliding is a sliding window: never more than amount in any period_ns. It satisfies a server
   that keeps a bucket or a fixed window of the same size too. */
RLM_I_INLINE rlm_limit rlm_sliding(uint32_t meter, uint64_t amount, uint64_t period_ns) {
    rlm_limit limit = rlm_per(meter, amount, period_ns);
    limit.kind = RLM_WINDOW;
    return limit;
}

/* rlm_concurrent is a cap on permits out at once, 1 to 2^31. */
RLM_I_INLINE rlm_limit rlm_concurrent(uint64_t amount) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, amount, 1);
    limit.kind = RLM_CONCURRENCY;
    return limit;
}

/* rlm_fixed is a quota that starts anew at each multiple of period_ns of the wall clock.
   wall_offset_ns is the wall clock less the limiter's: rlm_wall() - rlm_now(), or 0 if the
   limiter's clock is the wall clock. */
RLM_I_INLINE rlm_limit rlm_fixed(uint32_t meter, uint64_t amount, uint64_t period_ns, int64_t wall_offset_ns) {
    rlm_limit limit = rlm_per(meter, amount, period_ns);
    limit.kind = RLM_CALENDAR;
    limit.wall_offset_ns = wall_offset_ns;
    return limit;
}

/* rlm_calendar_day and rlm_calendar_month start anew at midnight, or at the first of the month, of
   a zone utc_offset_s east of UTC (Pacific standard time: -28800). */
RLM_I_INLINE rlm_limit rlm_calendar_day(uint32_t meter, uint64_t amount, int32_t utc_offset_s, int64_t wall_offset_ns) {
    rlm_limit limit = rlm_fixed(meter, amount, RLM_DAY_NS, wall_offset_ns);
    limit.utc_offset_s = utc_offset_s;
    return limit;
}
RLM_I_INLINE rlm_limit rlm_calendar_month(uint32_t meter, uint64_t amount, int32_t utc_offset_s, int64_t wall_offset_ns) {
    rlm_limit limit = rlm_calendar_day(meter, amount, utc_offset_s, wall_offset_ns);
    limit.period_ns = RLM_MONTH;
    return limit;
}

/* rlm_learned is a bucket of which nothing is known but how long its period usually is: rlm_observe
   learns it from what the server says. Any other limit is learned likewise if its follow is set to
   RLM_LEARN; its amount then is only what it may count to, here 2^30 a minute (a sliding window and a calendar quota keep
   their period). Until the first answer was observed one permit is out at a time. */
RLM_I_INLINE rlm_limit rlm_learned(uint32_t meter, uint64_t period_ns) {
    rlm_limit limit = rlm_per(meter, period_ns < RLM_MINUTE_NS ? period_ns / 56 + 1 : UINT64_C(1) << 30, period_ns);
    limit.follow = RLM_LEARN;
    return limit;
}

/* rlm_adaptive is a cap on permits out at once that rlm_observe moves between least and most (1 to 2^31):
   it grows while answers take no longer for it and half of it was used, by half until that first did not help, then by an eighth;
   it shrinks by three tenths when the server is overloaded (so a server that fails a tenth of all requests whatever the load holds
   it near least). Above what the server was seen to hold when it refused more it goes after ten minutes, by 1, then 2, 4 ... It never
   goes below least: give 1, unless you know better. It begins at limit.burst: 8, which takes as
   unhurried how fast answers come to eight at a time; fewer if you do not know even that. */
RLM_I_INLINE rlm_limit rlm_adaptive(uint32_t least, uint32_t most) {
    rlm_limit limit = rlm_concurrent(most);
    limit.follow = RLM_ADAPT;
    limit.least = least;
    limit.burst = 8;
    return limit;
}

/* rlm_ramp is no limit until the server says that load was raised too fast. Then requests go back to
   the pace they had before that, are held there for hold_ns, and climb by a quarter a minute. However
   often the server says so, the pace stays at floor requests (1 or more) in hold_ns. */
RLM_I_INLINE rlm_limit rlm_ramp(uint64_t floor, uint64_t hold_ns) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, floor, hold_ns);
    limit.follow = RLM_RAMP;
    return limit;
}
#define RLM_RAMP_HOLD_NS (15 * RLM_MINUTE_NS) /* what OpenAI asks for */

/* ---- Clocks ---------------------------------------------------------------------------------- */

/* Every operation takes now_ns, nanoseconds of one clock that need not start at 0. Any clock will
   do; readings may be stale or out of order between threads. Buckets answer RLM_NEVER to readings
   above 2^64 - 2^59 (566 years). */

#ifndef RLM_NO_CLOCK
/* rlm_now returns nanoseconds of the system's monotonic clock, counting time spent suspended where
   the system can (CLOCK_BOOTTIME, QueryInterruptTime ...). Wait-free, about 20 ns. */
RLM_I_DECL uint64_t rlm_now(void);

/* rlm_now_coarse is several times faster, with a resolution of 1 to 16 ms. On Linux it does not count
   time spent suspended: do not mix it with rlm_now. */
RLM_I_DECL uint64_t rlm_now_coarse(void);

/* rlm_wall returns nanoseconds since 1970 UTC, of the wall clock: for wall_offset_ns only. */
RLM_I_DECL uint64_t rlm_wall(void);

/* A clock read from the processor's time stamp counter. */
typedef struct rlm_tsc {
    uint64_t base_ns, base_ticks, ns_per_tick_frac; /* nanoseconds a tick, in units of 2^-32 */
} rlm_tsc;

/* rlm_tsc_init verifies that the counter runs at one rate in all power states (x86-64, by CPUID;
   aarch64, by architecture) and measures it against rlm_now, spinning for about 20 ms. Returns
   RLM_OK, RLM_E_NULL, or RLM_E_CLOCK if the counter is absent, varies, or two measurements
   differ by more than 100 ppm. */
RLM_I_DECL int rlm_tsc_init(rlm_tsc *tsc);

/* rlm_tsc_now returns nanoseconds, near rlm_now at init and drifting from it by at most 100 ppm. */
RLM_I_DECL uint64_t rlm_tsc_now(const rlm_tsc *tsc);
#endif

/* A clock that is set by hand, for tests and simulation. Zeroed is initialised. */
typedef struct rlm_manual {
    rlm_word now_ns;
} rlm_manual;

/* A clock as a value: the library's own companions take one. read(context) returns nanoseconds and
   must be safe to call from the threads that use it. */
typedef struct rlm_clock {
    uint64_t (*read)(void *context);
    void *context;
} rlm_clock;

/* rlm_clock_now reads a clock, as fast as its function. */
RLM_I_INLINE uint64_t rlm_clock_now(const rlm_clock *clock) { return clock->read(clock->context); }

/* ---- Atomics --------------------------------------------------------------------------------- */

/* All orders are sequentially consistent: several protocols below span words, where acquire and
   release do not suffice, and on x86 and ARMv8.1 the order of a compare-and-swap costs nothing. */

#ifdef RLM_NO_ATOMICS
RLM_I_INLINE uint64_t rlm_i_load_seq_cst(const rlm_word *word) { return *word; }
RLM_I_INLINE void rlm_i_store_seq_cst(rlm_word *word, uint64_t value) { *word = value; }
RLM_I_INLINE bool rlm_i_cas_seq_cst(rlm_word *word, uint64_t *seen, uint64_t next) {
    if (*word != *seen) {
        *seen = *word;
        return false;
    }
    *word = next;
    return true;
}
#elif defined(__GNUC__) || defined(__clang__)
#if __GCC_ATOMIC_LLONG_LOCK_FREE != 2 && !defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8)
#error "rlimit.h: no lock-free 64-bit atomics here; define RLM_NO_ATOMICS and use one thread"
#endif
RLM_I_INLINE uint64_t rlm_i_load_seq_cst(const rlm_word *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
RLM_I_INLINE void rlm_i_store_seq_cst(rlm_word *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
RLM_I_INLINE bool rlm_i_cas_seq_cst(rlm_word *word, uint64_t *seen, uint64_t next) {
    return __atomic_compare_exchange_n(word, seen, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
#elif defined(_MSC_VER)
long long _InterlockedCompareExchange64(long long volatile *, long long, long long);
#pragma intrinsic(_InterlockedCompareExchange64)
RLM_I_INLINE uint64_t rlm_i_load_seq_cst(const rlm_word *word) {
    return (uint64_t)_InterlockedCompareExchange64((long long volatile *)word, 0, 0);
}
RLM_I_INLINE bool rlm_i_cas_seq_cst(rlm_word *word, uint64_t *seen, uint64_t next) {
    long long old = _InterlockedCompareExchange64((long long volatile *)word, (long long)next, (long long)*seen);
    bool done = (uint64_t)old == *seen;
    *seen = (uint64_t)old;
    return done;
}
RLM_I_INLINE void rlm_i_store_seq_cst(rlm_word *word, uint64_t value) {
    uint64_t seen = rlm_i_load_seq_cst(word);
    while (!rlm_i_cas_seq_cst(word, &seen, value)) {}
}
#else
#error "rlimit.h: unknown compiler; define RLM_NO_ATOMICS and use one thread"
#endif

/* Adds to a word. */
RLM_I_INLINE void rlm_i_add(rlm_word *word, uint64_t amount) {
    uint64_t seen = rlm_i_load_seq_cst(word);
    while (amount != 0 && !rlm_i_cas_seq_cst(word, &seen, seen + amount)) {}
}

/* Raises a word to at least value. */
RLM_I_INLINE void rlm_i_raise(rlm_word *word, uint64_t value) {
    uint64_t seen = rlm_i_load_seq_cst(word);
    while (seen < value && !rlm_i_cas_seq_cst(word, &seen, value)) {}
}

/* The high half of a 128-bit product. */
RLM_I_INLINE uint64_t rlm_i_mul_high(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 rlm_i_u128;
    return (uint64_t)(((rlm_i_u128)a * b) >> 64);
#else
    uint64_t al = a & 0xffffffffu, ah = a >> 32, bl = b & 0xffffffffu, bh = b >> 32;
    uint64_t middle = ah * bl + ((al * bl) >> 32), low = al * bh + (middle & 0xffffffffu);
    return ah * bh + (middle >> 32) + (low >> 32);
#endif
}

/* rlm_manual_now reads, rlm_manual_set sets (backwards too: that is what tests are for) and
   rlm_manual_advance moves a manual clock. The last returns the new time. */
RLM_I_INLINE uint64_t rlm_manual_now(const rlm_manual *clock) { return rlm_i_load_seq_cst(&clock->now_ns); }
RLM_I_INLINE void rlm_manual_set(rlm_manual *clock, uint64_t now_ns) { rlm_i_store_seq_cst(&clock->now_ns, now_ns); }
RLM_I_INLINE uint64_t rlm_manual_advance(rlm_manual *clock, uint64_t by_ns) {
    uint64_t seen = rlm_i_load_seq_cst(&clock->now_ns);
    while (!rlm_i_cas_seq_cst(&clock->now_ns, &seen, seen + by_ns)) {}
    return seen + by_ns;
}

/* One decision in the making: the word it hangs on, what was read there, what to put there. */
typedef struct rlm_i_step {
    rlm_word *word;
    uint64_t seen, next;
    uint64_t mark;   /* when it was taken, for the way back: window operation, calendar period */
    uint64_t oldest; /* exact window: where to begin looking next time */
    uint64_t used;   /* what is used then. Bucket: ticks that TAT is ahead of now << 2 | generation */
} rlm_i_step;

/* ---- Token bucket ---------------------------------------------------------------------------- */

/* GCRA: the state is the theoretical arrival time (TAT), the moment when the bucket will be full
   again. A cost of c is admitted if max(TAT, now) + c <= now + burst, and moves TAT to
   max(TAT, now) + c. Time is counted in ticks, of which a token has a whole number and a nanosecond
   at least 10: so a cost is exact, a burst is exact, and only the clock is rounded: down where it
   admits, up where TAT starts from it. At a rate of k tokens in m ns, in lowest terms, with k up to
   1024 (and a burst that refills within days), a nanosecond too is a whole number of ticks, and
   nothing is rounded.

   The word is TAT << 2 | generation. Two sets of rate words take turns: rlm_bucket_reconfigure
   fills the idle one and changes generation and TAT in one compare-and-swap, so an operation that
   read the old rate fails its own and starts again. */

/* A rate in use. Written before its generation is current, then read only, but for the last three, and for
   lag, reach and guard_ns, which rlm_i_bucket_guard may change. */
typedef struct rlm_i_rate {
    rlm_word epoch_ns;      /* tick 0 */
    rlm_word ticks_per_ns, ticks_per_ns_frac;
    rlm_word ns_per_tick_frac;
    rlm_word token;         /* ticks a token */
    rlm_word burst;         /* tokens */
    rlm_word burst_ticks;
    rlm_word lag;           /* where TAT starts after idling: the guard, and the rounding of now */
    rlm_word since_max_ns;  /* by then every TAT has passed */
    rlm_word amount, period_ns, guard_ns;
    rlm_word reach;         /* how far ahead TAT may rightly be: burst and lag */
    rlm_word owed, owed_reach; /* a TAT up to owed may be this far ahead: it was put there by a debt */
    rlm_word behind;        /* see rlm_i_set_back; in ns */
} rlm_i_rate;

/* Zeroed is not initialised: call rlm_bucket_init. */
typedef struct rlm_bucket {
    rlm_word word;
    uint64_t pad[7]; /* the rates stay in every core's cache while the word moves */
    rlm_i_rate rate[2];
    rlm_word claim;      /* 1 while a thread reconfigures */
    rlm_word changed_ns; /* when the rate in force began */
} rlm_bucket;

/* rlm_bucket_init makes a full bucket of limit (kind RLM_BUCKET; the meter is not used). Not for a
   bucket in use. Returns RLM_OK, or RLM_E_NULL, _KIND, _METER, _AMOUNT, _PERIOD, _RATE, _BURST,
   _SPAN (the burst takes years to refill), _GUARD. */
RLM_I_DECL int rlm_bucket_init(rlm_bucket *bucket, const rlm_limit *limit, uint64_t now_ns);

/* rlm_bucket_reconfigure changes rate, burst and guard while in use. What is available stays, up to the
   new burst (a larger one fills at the new rate), and so does what is owed. Takes go on
   meanwhile; lock-free among them, but of two reconfigurations at once one gets RLM_E_BUSY.
   Returns as rlm_bucket_init, and RLM_E_SPAN if the debt would take years at the new rate. */
RLM_I_DECL int rlm_bucket_reconfigure(rlm_bucket *bucket, const rlm_limit *limit, uint64_t now_ns);

/* rlm_bucket_reserve takes n tokens now to be used after the answer in ns, if that is at most
   max_wait_ns: a place in line. An answer above max_wait_ns, or RLM_NEVER, took nothing. Places are
   rounded up, so two may be closer by a nanosecond.
   rlm_bucket_credit gives a place back. Lock-free. */
RLM_I_DECL uint64_t rlm_bucket_reserve(rlm_bucket *bucket, uint64_t n, uint64_t max_wait_ns, uint64_t now_ns);

/* rlm_bucket_credit gives n tokens back, up to the burst. Lock-free.
   Returns RLM_OK, RLM_E_NULL, or RLM_E_COST for n above 2^40. */
RLM_I_DECL int rlm_bucket_credit(rlm_bucket *bucket, uint64_t n, uint64_t now_ns);

/* rlm_bucket_debit takes n tokens whether they are there or not; the debt delays those who come
   after. Lock-free. Returns RLM_OK, RLM_E_NULL, or RLM_E_COST if n is above 2^40 or the debt would
   take years. */
RLM_I_DECL int rlm_bucket_debit(rlm_bucket *bucket, uint64_t n, uint64_t now_ns);

/* rlm_bucket_status tells limit (the burst), used, remaining and reset. Wait-free unless it meets a
   reconfiguration. Returns RLM_OK or RLM_E_NULL. */
RLM_I_DECL int rlm_bucket_status(rlm_bucket *bucket, rlm_usage *usage, uint64_t now_ns);

#define RLM_I_TICKS_MAX (UINT64_C(1) << 61)               /* 3 weeks or more: then epoch_ns is moved */
#define RLM_I_END_NS (UINT64_MAX - (UINT64_C(1) << 62) / 10) /* later readings are refused */
#define RLM_I_RETRY (UINT64_MAX - 2)                      /* something changed underfoot: read it again */

/* Out of the hot path: a reading long after epoch_ns. Moves epoch_ns and returns RLM_I_RETRY, or 1 ns
   if another thread is reconfiguring, or RLM_NEVER at the end of time. */
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_bucket_renew(rlm_bucket *bucket, uint64_t now_ns);

/* Out of the hot path: TAT is further ahead than a burst, or was. Returns 0 to go on, RLM_I_RETRY, or a
   wait. */
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_bucket_behind(rlm_bucket *bucket, rlm_i_rate *rate, uint64_t seen, uint64_t now_ns);

/* ticks + since_ns x frac / 2^64: out of line because few rates need it, and inlined it is computed for all. */
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_add_frac(uint64_t ticks, uint64_t since_ns, uint64_t frac);

/* A clock reading in ticks, rounded down. */
RLM_I_INLINE RLM_I_HOT uint64_t rlm_i_ticks(const rlm_i_rate *rate, uint64_t now_ns) {
    uint64_t epoch_ns = rlm_i_load_seq_cst(&rate->epoch_ns), since_ns = now_ns - epoch_ns, ticks;
    uint64_t frac = rlm_i_load_seq_cst(&rate->ticks_per_ns_frac), max_ns = rlm_i_load_seq_cst(&rate->since_max_ns);
    if (RLM_I_UNLIKELY(since_ns > max_ns)) since_ns = now_ns < epoch_ns ? 0 : max_ns;
    ticks = since_ns * rlm_i_load_seq_cst(&rate->ticks_per_ns);
    return RLM_I_UNLIKELY(frac != 0) ? rlm_i_add_frac(ticks, since_ns, frac) : ticks;
}

/* Out of the hot path: many ticks in nanoseconds, rounded up. */
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_long_ns(const rlm_i_rate *rate, uint64_t ticks);

/* The time from now (in ticks) to a later tick, in nanoseconds, rounded up. */
RLM_I_INLINE RLM_I_HOT uint64_t rlm_i_ns_until(const rlm_i_rate *rate, uint64_t later, uint64_t now) {
    uint64_t less_1 = rlm_i_load_seq_cst(&rate->ticks_per_ns_frac) == 0;
    if (RLM_I_UNLIKELY((later - now) >> 53 != 0)) return rlm_i_long_ns(rate, later - now);
    return rlm_i_mul_high((later - less_1) - now, rlm_i_load_seq_cst(&rate->ns_per_tick_frac)) + 1;
}

/* Decides on n tokens: 0 and a step to take, or the wait. Grouped so that little is left to do once
   the clock has been read. */
RLM_I_INLINE RLM_I_HOT uint64_t rlm_i_bucket_plan(rlm_bucket *bucket, uint64_t n, uint64_t now_ns, rlm_i_step *step) {
    for (;;) {
        uint64_t seen = rlm_i_load_seq_cst(&bucket->word), tat = seen >> 2, wait_ns;
        rlm_i_rate *rate = &bucket->rate[seen & 1];
        uint64_t ticks = rlm_i_ticks(rate, now_ns), cost = n * rlm_i_load_seq_cst(&rate->token);
        uint64_t start = (rlm_i_load_seq_cst(&rate->lag) + cost) << 2 | (seen & 3); /* of a next word, from idle */
        uint64_t busy = (tat + cost) << 2 | (seen & 3);                             /* the next word if not idle */
        uint64_t free_at = tat + cost - rlm_i_load_seq_cst(&rate->burst_ticks); /* may be negative */
        step->word = &bucket->word;
        step->seen = step->next = seen;
        if (RLM_I_UNLIKELY(n > rlm_i_load_seq_cst(&rate->burst))) {
            wait_ns = RLM_NEVER;
        } else if (RLM_I_UNLIKELY(ticks > RLM_I_TICKS_MAX)) {
            wait_ns = rlm_i_bucket_renew(bucket, now_ns);
            if (wait_ns == RLM_I_RETRY) continue;
        } else if (RLM_I_UNLIKELY(tat > ticks + rlm_i_load_seq_cst(&rate->reach) ||
                                  rlm_i_load_seq_cst(&rate->behind) != 0) &&
                   (wait_ns = rlm_i_bucket_behind(bucket, rate, seen, now_ns)) != 0) {
            if (wait_ns == RLM_I_RETRY) continue;
        } else if ((int64_t)free_at <= (int64_t)ticks) {
            if (n != 0) step->next = (ticks << 2) + start > busy ? (ticks << 2) + start : busy;
            step->used = step->next - (ticks << 2);
            return 0;
        } else {
            wait_ns = rlm_i_ns_until(rate, free_at, ticks);
        }
        /* the numbers were one rate's only if its generation is still current */
        if (RLM_I_LIKELY(((rlm_i_load_seq_cst(&bucket->word) ^ seen) & 3) == 0)) return wait_ns;
    }
}

/* rlm_bucket_take takes n tokens (0 to the burst). Returns 0 if it did; RLM_NEVER for n above the
   burst; otherwise the ns after which it would have, if nobody else came: exact where nothing is
   rounded (see above), at most 1 ns too long at other rates. n = 0 takes
   nothing and tells how long the debt lasts. Lock-free; never blocks. bucket must not be null. */
RLM_I_INLINE RLM_I_HOT uint64_t rlm_bucket_take(rlm_bucket *bucket, uint64_t n, uint64_t now_ns) {
    for (;;) {
        rlm_i_step step;
        uint64_t wait_ns = rlm_i_bucket_plan(bucket, n, now_ns, &step), seen = step.seen; /* a copy: the step stays in registers */
        if (RLM_I_UNLIKELY(wait_ns != 0 || n == 0)) return wait_ns;
        if (RLM_I_LIKELY(rlm_i_cas_seq_cst(&bucket->word, &seen, step.next))) return 0;
    }
}

/* rlm_bucket_peek answers as rlm_bucket_take would, and takes nothing. */
RLM_I_INLINE uint64_t rlm_bucket_peek(rlm_bucket *bucket, uint64_t n, uint64_t now_ns) {
    rlm_i_step step;
    return rlm_i_bucket_plan(bucket, n, now_ns, &step);
}

/* ---- Sliding window -------------------------------------------------------------------------- */

/* The word is index << bits | total: how much was ever admitted, modulo 2^bits, and the index of the
   newest record; so much and no more may be taken in a period, also if it is given back again: from
   2^bits on, which is hundreds to millions of times the amount, a window refuses until some has left. A record (cell) holds the total before it, so what a window holds is the
   difference of two totals, less what was given back to its records. An exact window has a record
   for each operation; a slotted one has a record for each slot of period_ns / (cells - 2).

   A record is written before the compare-and-swap that makes it count, and every thread that saw
   the same word writes the same total into it (times only rise), so a thread that stops anywhere
   leaves nothing half-done. */

typedef struct rlm_i_cell {
    rlm_word total;  /* index << bits | total before this record */
    rlm_word credit; /* index << bits | given back to it */
    rlm_word time;   /* exact: when it was admitted, ns since epoch_ns */
} rlm_i_cell;

/* The head of a window; its cells follow it in memory. */
typedef struct rlm_window {
    rlm_word word;
    rlm_word oldest;   /* exact: a record before which all have left */
    rlm_word credited; /* 1 + the newest record that was given anything back */
    rlm_word behind;   /* see rlm_i_set_back */
    rlm_word total_then; /* the total when behind was set */
    rlm_word restamped;  /* slotted: how often the records were written anew, so that marks of before name nothing */
    uint64_t pad[2];
    rlm_word amount;
    uint64_t period_ns, guard_ns, epoch_ns;
    uint64_t span_ns;  /* period and guard */
    uint64_t width_ns; /* of a slot; 0: exact */
    rlm_word first;    /* the first slot: lower once a clock was set back to before it */
    uint32_t cells, bits;
} rlm_window;

/* rlm_window_bytes returns the memory a window of this limit needs, or 0 for a bad limit. */
RLM_I_DECL size_t rlm_window_bytes(const rlm_limit *limit);

/* rlm_window_init makes an empty window in bytes of memory at window (aligned to 8). It works for 16
   years, or for 11 months if it is slotted and admits more than 10^7 a second; then it refuses.
   Returns RLM_OK, or RLM_E_NULL, _KIND, _METER, _AMOUNT, _PERIOD, _RATE (above 10^10 a second),
   _SPAN (too large to count for a year: with 258 cells, above 5 x 10^8 a second), _GUARD, _CELLS (below 3, or above
   2^16), _MEMORY. */
RLM_I_DECL int rlm_window_init(rlm_window *window, size_t bytes, const rlm_limit *limit, uint64_t now_ns);

/* rlm_window_reconfigure changes the amount while in use; what the window holds stays. Wait-free.
   Returns RLM_OK, RLM_E_NULL, _KIND, _AMOUNT, _PERIOD (period and guard must be as before), or
   RLM_E_CAPACITY (exact: more than cells - 2; slotted: more than it can count, at least twice the
   first amount), or what rlm_window_init returns for the field. */
RLM_I_DECL int rlm_window_reconfigure(rlm_window *window, const rlm_limit *limit);

/* rlm_window_take takes n; *mark (may be null) then names the operation for rlm_window_credit.
   Returns 0, RLM_NEVER for n above the amount, or the ns until enough has left: exact, or in a
   slotted window up to a slot too long. Lock-free; O(1) and, where something was given back within
   the window, O(cells); a refusal is O(cells). */
RLM_I_DECL uint64_t rlm_window_take(rlm_window *window, uint64_t n, uint64_t now_ns, uint64_t *mark);

/* rlm_window_peek answers as rlm_window_take would, and takes nothing. */
RLM_I_DECL uint64_t rlm_window_peek(rlm_window *window, uint64_t n, uint64_t now_ns);

/* rlm_window_credit gives n back to the operation that mark names, which should have taken as much
   (in a slotted window: at most what its slot holds is given back). Once that operation has left the window, or its
   slot is of before the clock was set back, it does nothing. Lock-free. Returns RLM_OK, RLM_E_NULL or RLM_E_COST. */
RLM_I_DECL int rlm_window_credit(rlm_window *window, uint64_t n, uint64_t mark);

/* rlm_window_debit adds n whether there is room or not. Lock-free. Returns RLM_OK, RLM_E_NULL, or
   RLM_E_COST if n is above 2^40 or the window cannot count that much (twice its first amount it
   can, and mostly 200 times). */
RLM_I_DECL int rlm_window_debit(rlm_window *window, uint64_t n, uint64_t now_ns);

/* rlm_window_status tells limit, used, remaining and reset. Lock-free. Returns RLM_OK or RLM_E_NULL. */
RLM_I_DECL int rlm_window_status(rlm_window *window, rlm_usage *usage, uint64_t now_ns);

RLM_I_DECL uint64_t rlm_i_window_plan(rlm_window *window, uint64_t n, bool force, uint64_t now_ns, rlm_i_step *step);
RLM_I_DECL void rlm_i_window_record(rlm_window *window, const rlm_i_step *step, uint64_t now_ns);

/* ---- Concurrency ----------------------------------------------------------------------------- */

/* One word: limit << 32 | permits out. */
typedef struct rlm_concurrency {
    rlm_word word;
    uint64_t pad[7];
} rlm_concurrency;

/* rlm_concurrency_init allows limit->amount permits, 1 to 2^31. Returns RLM_OK, or RLM_E_NULL,
   _KIND, _METER, _AMOUNT. */
RLM_I_DECL int rlm_concurrency_init(rlm_concurrency *concurrency, const rlm_limit *limit);

/* rlm_concurrency_reconfigure changes the cap while in use. Below what is out, nobody enters until
   enough have left. Lock-free. Returns as rlm_concurrency_init. */
RLM_I_DECL int rlm_concurrency_reconfigure(rlm_concurrency *concurrency, const rlm_limit *limit);

/* rlm_concurrency_status tells limit, used, remaining. Wait-free. Returns RLM_OK or RLM_E_NULL. */
RLM_I_DECL int rlm_concurrency_status(const rlm_concurrency *concurrency, rlm_usage *usage);

RLM_I_INLINE uint64_t rlm_i_concurrency_plan(rlm_concurrency *concurrency, uint64_t n, rlm_i_step *step) {
    uint64_t seen = rlm_i_load_seq_cst(&concurrency->word), limit = seen >> 32, used = seen & 0xffffffffu;
    step->word = &concurrency->word;
    step->seen = seen;
    step->next = seen + n;
    step->used = used + n;
    if (n > limit) return RLM_NEVER;
    return used + n <= limit ? 0 : RLM_ON_RELEASE;
}

/* rlm_concurrency_take takes n permits. Returns 0; RLM_NEVER for n above the cap; RLM_ON_RELEASE if
   they are out: no time can be told. Lock-free. */
RLM_I_INLINE uint64_t rlm_concurrency_take(rlm_concurrency *concurrency, uint64_t n) {
    rlm_i_step step;
    uint64_t wait_ns;
    do {
        wait_ns = rlm_i_concurrency_plan(concurrency, n, &step);
        if (wait_ns != 0 || n == 0) return wait_ns;
    } while (!rlm_i_cas_seq_cst(step.word, &step.seen, step.next));
    return 0;
}

/* rlm_concurrency_peek answers as rlm_concurrency_take would, and takes nothing. Wait-free. */
RLM_I_INLINE uint64_t rlm_concurrency_peek(rlm_concurrency *concurrency, uint64_t n) {
    rlm_i_step step;
    return rlm_i_concurrency_plan(concurrency, n, &step);
}

/* rlm_concurrency_release gives n permits back. Lock-free. Returns RLM_OK, or RLM_E_PERMIT if fewer
   are out: then nothing was released. */
RLM_I_INLINE int rlm_concurrency_release(rlm_concurrency *concurrency, uint64_t n) {
    uint64_t seen = rlm_i_load_seq_cst(&concurrency->word);
    do {
        if ((seen & 0xffffffffu) < n) return RLM_E_PERMIT;
    } while (!rlm_i_cas_seq_cst(&concurrency->word, &seen, seen - n));
    return RLM_OK;
}

/* ---- Calendar quota -------------------------------------------------------------------------- */

/* One word: period << bits | used. Periods are counted on the wall clock, which is now_ns plus an
   offset, and do not go back by one: an hour repeated by the wall clock grants nothing anew. A clock
   set back by more is believed after a minute, and what was used counts on. What was used beyond the
   amount ends with its period, as it does at the provider. */
typedef struct rlm_calendar {
    rlm_word word;
    rlm_word behind; /* see rlm_i_set_back */
    uint64_t pad[6];
    rlm_word wall_offset_ns;
    rlm_word amount;
    uint64_t period_ns, guard_ns, first;
    int64_t utc_offset_ns;
    uint64_t bits;
} rlm_calendar;

/* What survives a restart. */
typedef struct rlm_calendar_saved {
    uint64_t period; /* counted from 1970 */
    uint64_t used;
} rlm_calendar_saved;

/* rlm_calendar_init makes an unused quota. Returns RLM_OK, or RLM_E_NULL, _KIND, _METER, _AMOUNT,
   _PERIOD, _SPAN (periods too short to count for a year beside such an amount), _GUARD,
   _UTC_OFFSET. */
RLM_I_DECL int rlm_calendar_init(rlm_calendar *calendar, const rlm_limit *limit, uint64_t now_ns);

/* rlm_calendar_reconfigure changes the amount while in use; what is used stays. Wait-free. Returns
   RLM_OK, RLM_E_NULL, _KIND, _AMOUNT, _PERIOD (period, guard and zone must be as before), or
   RLM_E_CAPACITY (more than it can count, at least twice the first amount), or what
   rlm_calendar_init returns for the field. */
RLM_I_DECL int rlm_calendar_reconfigure(rlm_calendar *calendar, const rlm_limit *limit);

/* rlm_calendar_sync corrects the offset of the wall clock: call it after the wall clock was set, or
   now and then. Wait-free. Returns RLM_OK or RLM_E_NULL. */
RLM_I_DECL int rlm_calendar_sync(rlm_calendar *calendar, uint64_t wall_ns, uint64_t now_ns);

/* rlm_calendar_take takes n. Returns 0, RLM_NEVER for n above the amount, or the ns to the next
   boundary. *mark (may be null) names the period for rlm_calendar_credit. Lock-free. */
RLM_I_DECL uint64_t rlm_calendar_take(rlm_calendar *calendar, uint64_t n, uint64_t now_ns, uint64_t *mark);

/* rlm_calendar_peek answers as rlm_calendar_take would, and takes nothing. */
RLM_I_DECL uint64_t rlm_calendar_peek(rlm_calendar *calendar, uint64_t n, uint64_t now_ns);

/* rlm_calendar_credit gives n back to the period mark, if it is still that period. Lock-free.
   Returns RLM_OK, RLM_E_NULL or RLM_E_COST. */
RLM_I_DECL int rlm_calendar_credit(rlm_calendar *calendar, uint64_t n, uint64_t mark);

/* rlm_calendar_debit adds n whether it fits or not. Lock-free. Returns RLM_OK, RLM_E_NULL, or
   RLM_E_COST if n is above 2^40 or the total more than can be counted (as for a window). */
RLM_I_DECL int rlm_calendar_debit(rlm_calendar *calendar, uint64_t n, uint64_t now_ns);

/* rlm_calendar_save tells what to keep over a restart, rlm_calendar_restore brings it back: used of
   the same period is added to what was used since init. A period that is over is ignored.
   Return RLM_OK, RLM_E_NULL, or RLM_E_COST if it does not fit. */
RLM_I_DECL int rlm_calendar_save(const rlm_calendar *calendar, rlm_calendar_saved *saved);
RLM_I_DECL int rlm_calendar_restore(rlm_calendar *calendar, const rlm_calendar_saved *saved, uint64_t now_ns);

/* rlm_calendar_status tells limit, used, remaining and reset. Returns RLM_OK or RLM_E_NULL. */
RLM_I_DECL int rlm_calendar_status(rlm_calendar *calendar, rlm_usage *usage, uint64_t now_ns);

RLM_I_DECL uint64_t rlm_i_calendar_plan(rlm_calendar *calendar, uint64_t n, bool force, uint64_t now_ns, rlm_i_step *step);

/* ---- Limiter --------------------------------------------------------------------------------- */

/* Limits of any kind as one decision. rlm_acquire first asks all of them and changes nothing unless
   all agree; then it takes from each, and gives back what it took if another thread was faster. In
   between, others may be refused for a moment what is given back: never the reverse. */

#define RLM_I_TRAIL 16

/* What rlm_observe knows of a limit. Hints that make a decision better; none is needed for a limit to
   hold. Words are read by any thread, plain fields by the one that has claimed rlm_limiter.learning. */
typedef struct rlm_i_heard {
    rlm_limit first;       /* as configured at first; of these fields what is configured now: */
    rlm_word amount, period_ns, burst, guard_ns;
    rlm_word known;        /* RLM_LEARN: whether the amount was told (1) or guessed (2). RLM_ADAPT: whether more ever did not help */
    rlm_word pause_ns;     /* how long the pause is */
    rlm_word pace_ns;      /* RLM_RAMP: when to move next; 0: at rest */
    uint64_t pace;         /* RLM_RAMP: the pace that was too fast */
    uint64_t since_ns;     /* when the request was sent whose answer moved the limit last */
    uint64_t period_least_ns, period_most_ns;
    uint64_t period_doubt; /* how many more answers must agree before these are believed */
    uint64_t others, others_ns; /* what answers of late showed others to have used; when */
    uint64_t surprise;     /* about the most that others was; 1024 to a token */
    uint64_t trails, trail_ns[RLM_I_TRAIL], trail[RLM_I_TRAIL]; /* where TAT was of late */
    uint64_t round_ns, round; /* RLM_ADAPT: the round begun, what it saw. RLM_LEARN: likewise. A cap lowered: when */
    uint64_t best_ns;      /* RLM_ADAPT: the shortest mean delay */
    uint64_t answers, peak; /* RLM_ADAPT: how many there were; the most that were out in this round */
    uint64_t ceiling, ceiling_ns; /* RLM_ADAPT: what the server was seen to hold when it refused one more, 0: nothing; since when */
    uint64_t ceiling_step; /* by how much it is to rise next */
} rlm_i_heard;

typedef struct rlm_i_entry {
    uint32_t kind, meter;
    uint64_t window; /* where its window is, in words of rlm_limiter.memory */
    rlm_word paused_ns; /* nothing is admitted before this */
    rlm_word corrected; /* how much rlm_observe ever took, in units of rlm_i_step.used */
    union {
        rlm_bucket bucket;
        rlm_concurrency concurrency;
        rlm_calendar calendar;
    } as;
} rlm_i_entry;

#define RLM_I_RECENT 32 /* slots of 2 s for rlm_recent */

typedef struct rlm_limiter {
    uint64_t count;
    uint64_t guarded; /* whether a calendar has a guard */
    uint64_t epoch_ns, began_ns;
    rlm_word recent[RLM_I_RECENT]; /* 2 s since epoch_ns << 32 | requests admitted */
    rlm_word probe;    /* while nothing was observed: how many may be out << 32 | how many are; 0: any number */
    rlm_word learning; /* 1 while a thread takes in an answer */
    uint64_t delay_ns; /* from a permit to its answer: about the longest of late */
    uint64_t refusals, refused_ns; /* in a row, of which the server did not say how long; the last */
    uint64_t former, former_ns; /* requests a minute x 16, averaged over five minutes; when */
    rlm_i_heard heard[RLM_LIMITS_MAX];
    rlm_i_entry entry[RLM_LIMITS_MAX];
    uint64_t memory[3 * RLM_WINDOW_CELLS + 1];
} rlm_limiter;

/* What was taken, to be settled or cancelled once, with the limiter that gave it. Zero it at first, so
   that one that was never admitted is known. Plain data: it may be moved; a copy must not be settled
   too, nor one that is out be given to rlm_acquire again. */
typedef struct rlm_permit {
    rlm_word state;
    rlm_cost cost;
    uint64_t since_ns;
    uint64_t mark[RLM_LIMITS_MAX];
    uint64_t used[RLM_LIMITS_MAX]; /* of each limit just after, less what was corrected until then */
} rlm_permit;

/* rlm_limiter_init makes a limiter of 1 to RLM_LIMITS_MAX limits, all unused. Returns RLM_OK or the
   error of the limit at fault with its index (rlm_status_limit); then the limiter is untouched.
   Not for a limiter in use. */
RLM_I_DECL int rlm_limiter_init(rlm_limiter *limiter, const rlm_limit *limits, size_t count, uint64_t now_ns);

/* rlm_acquire takes cost from every limit, or from none. Returns 0 and fills permit; RLM_NEVER if
   cost is larger than a limit; RLM_ON_RELEASE if only a settled permit can help; otherwise the ns
   after which it would have been admitted if nobody else came. A cost of all zeros is a peek: the
   permit is not filled. A limit whose meter is 0 in cost still delays while it is in debt. Each
   permit counts as one of a concurrency limit. Lock-free; no pointer may be null. */
RLM_I_INLINE uint64_t rlm_acquire(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, rlm_permit *permit);

/* rlm_check answers as rlm_acquire would and takes nothing; *binding (may be null) is the index of
   the limit with the longest wait, or -1 if there is no wait, or the cost is above 2^40. */
RLM_I_DECL uint64_t rlm_check(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, int *binding);

/* rlm_settle ends a permit with what was used in fact: the difference to its estimate is credited
   to or debited from each limit, and the connection is released. Buckets take a credit up to their
   burst; windows and calendars only while what they admitted still counts. Lock-free.
   Returns RLM_OK; RLM_E_NULL; RLM_E_PERMIT for a permit that is not out; RLM_E_COST if actual is
   above 2^40 or a limit cannot hold the debt (the permit then stays out). */
RLM_I_DECL int rlm_settle(rlm_limiter *limiter, rlm_permit *permit, const rlm_cost *actual, uint64_t now_ns);

/* rlm_cancel ends a permit of which nothing was used: the request was never sent. Lock-free.
   Returns RLM_OK, RLM_E_NULL or RLM_E_PERMIT. */
RLM_I_DECL int rlm_cancel(rlm_limiter *limiter, rlm_permit *permit, uint64_t now_ns);

/* rlm_reconfigure gives limit index new numbers while in use, as the function of its kind does;
   kind and meter must be as before, and follow stays as it was (of an adaptive cap the upper bound
   changes, of a ramp floor and hold from the next time on). Returns that function's errors, RLM_E_INDEX, _KIND or _METER. */
RLM_I_DECL int rlm_reconfigure(rlm_limiter *limiter, size_t index, const rlm_limit *limit, uint64_t now_ns);

/* rlm_status tells limit, used, remaining and reset of limit index. Returns RLM_OK, RLM_E_NULL or
   RLM_E_INDEX. rlm_check tells which limit binds. */
RLM_I_DECL int rlm_status(rlm_limiter *limiter, size_t index, rlm_usage *usage, uint64_t now_ns);

/* rlm_recent returns the requests admitted in the last minute (60 to 62 s), counting at most 2^32 - 1
   in each 2 s. Wait-free. */
RLM_I_DECL uint64_t rlm_recent(const rlm_limiter *limiter, uint64_t now_ns);

/* rlm_limiter_calendar returns the calendar quota at index, to save, restore or sync it; null if
   there is none. */
RLM_I_DECL rlm_calendar *rlm_limiter_calendar(rlm_limiter *limiter, size_t index);

/* Out of the hot path: the wait that a calendar's guard adds to one that would end in it. */
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_after_guards(rlm_limiter *limiter, const rlm_cost *cost, uint64_t wait_ns, uint64_t now_ns);
RLM_I_DECL void rlm_i_undo(rlm_limiter *limiter, size_t index, uint64_t n, uint64_t mark, uint64_t now_ns);

/* Out of the hot path: a limit that may be paused, and acquiring before anything was observed. */
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_paused(rlm_limiter *limiter, size_t index, uint64_t wait_ns, uint64_t now_ns);
RLM_I_DECL RLM_I_COLD uint64_t rlm_i_probe(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, rlm_permit *permit);
RLM_I_DECL void rlm_i_count(rlm_limiter *limiter, uint64_t requests, uint64_t now_ns);

#define RLM_I_PERMIT_OUT UINT64_C(0x9e3779b97f4a7c15)

/* A cost by meter. */
typedef struct rlm_i_amounts {
    uint64_t of[RLM_I_METER_COUNT];
} rlm_i_amounts;

RLM_I_INLINE void rlm_i_amounts_of(rlm_i_amounts *amounts, const rlm_cost *cost) {
    amounts->of[RLM_REQUESTS] = cost->requests;
    amounts->of[RLM_INPUT_TOKENS] = cost->input_tokens;
    amounts->of[RLM_OUTPUT_TOKENS] = cost->output_tokens;
    amounts->of[RLM_TOKENS] = cost->input_tokens + cost->output_tokens;
    amounts->of[RLM_MICRODOLLARS] = cost->microdollars;
    amounts->of[RLM_CUSTOM] = cost->custom;
}

/* Whether all amounts are at most 2^40: a larger one makes a difference negative. */
RLM_I_INLINE bool rlm_i_cost_is_sane(const rlm_cost *cost) {
    return (((RLM_AMOUNT_MAX - cost->requests) | (RLM_AMOUNT_MAX - cost->input_tokens) | (RLM_AMOUNT_MAX - cost->output_tokens) |
             (RLM_AMOUNT_MAX - cost->microdollars) | (RLM_AMOUNT_MAX - cost->custom)) >> 63) == 0 &&
           (cost->requests | cost->input_tokens | cost->output_tokens | cost->microdollars | cost->custom) >> 63 == 0;
}

RLM_I_INLINE bool rlm_i_cost_is_zero(const rlm_cost *cost) {
    return (cost->requests | cost->input_tokens | cost->output_tokens | cost->microdollars | cost->custom) == 0;
}

RLM_I_INLINE rlm_window *rlm_i_window(rlm_limiter *limiter, const rlm_i_entry *entry) {
    return (rlm_window *)(void *)&limiter->memory[entry->window];
}

RLM_I_INLINE uint64_t rlm_i_plan(rlm_limiter *limiter, rlm_i_entry *entry, uint64_t n, uint64_t now_ns, rlm_i_step *step) {
    step->mark = 0;
    if (RLM_I_LIKELY(entry->kind == RLM_BUCKET)) return rlm_i_bucket_plan(&entry->as.bucket, n, now_ns, step);
    if (entry->kind == RLM_CONCURRENCY) return rlm_i_concurrency_plan(&entry->as.concurrency, n, step);
    if (entry->kind == RLM_CALENDAR) return rlm_i_calendar_plan(&entry->as.calendar, n, false, now_ns, step);
    return rlm_i_window_plan(rlm_i_window(limiter, entry), n, false, now_ns, step);
}

RLM_I_INLINE bool rlm_i_commit(rlm_limiter *limiter, rlm_i_entry *entry, rlm_i_step *step, uint64_t now_ns) {
    if (entry->kind == RLM_WINDOW) rlm_i_window_record(rlm_i_window(limiter, entry), step, now_ns);
    return rlm_i_cas_seq_cst(step->word, &step->seen, step->next);
}

/* As rlm_i_plan, and not before a pause has ended. */
RLM_I_INLINE uint64_t rlm_i_ask(rlm_limiter *limiter, size_t index, uint64_t n, uint64_t now_ns, rlm_i_step *step) {
    rlm_i_entry *entry = &limiter->entry[index];
    uint64_t wait_ns = rlm_i_plan(limiter, entry, n, now_ns, step);
    bool paused = rlm_i_load_seq_cst(&entry->paused_ns) > now_ns;
    return RLM_I_UNLIKELY(paused) && n != 0 ? rlm_i_paused(limiter, index, wait_ns, now_ns) : wait_ns;
}

RLM_I_INLINE uint64_t rlm_i_acquire(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, rlm_permit *permit) {
    rlm_i_step step[RLM_LIMITS_MAX];
    rlm_i_amounts amounts;
    uint64_t wait_ns = 0;
    size_t i, taken, count = (size_t)limiter->count;
    bool peek = rlm_i_cost_is_zero(cost);
    if (RLM_I_UNLIKELY(count == 0 || !rlm_i_cost_is_sane(cost))) return RLM_NEVER; /* 0: its init failed */
    rlm_i_amounts_of(&amounts, cost);
    for (i = 0; i < count; i++) {
        rlm_i_entry *entry = &limiter->entry[i];
        uint64_t n = entry->kind == RLM_CONCURRENCY ? !peek : amounts.of[entry->meter];
        uint64_t this_ns = rlm_i_ask(limiter, i, n, now_ns, &step[i]);
        if (RLM_I_UNLIKELY(this_ns > wait_ns)) wait_ns = this_ns;
    }
    if (wait_ns != 0 && limiter->guarded != 0) return rlm_i_after_guards(limiter, cost, wait_ns, now_ns);
    if (wait_ns != 0 || peek) return wait_ns;
    for (taken = 0; taken < count; taken++) {
        rlm_i_entry *entry = &limiter->entry[taken];
        rlm_i_step *at = &step[taken];
        while (at->next != at->seen && RLM_I_UNLIKELY(!rlm_i_commit(limiter, entry, at, now_ns))) {
            uint64_t n = entry->kind == RLM_CONCURRENCY ? 1 : amounts.of[entry->meter];
            wait_ns = rlm_i_plan(limiter, entry, n, now_ns, at);
            if (wait_ns == 0) continue;
            while (taken-- > 0) {
                entry = &limiter->entry[taken];
                n = entry->kind == RLM_CONCURRENCY ? 1 : amounts.of[entry->meter];
                rlm_i_undo(limiter, taken, n, step[taken].mark, now_ns);
            }
            return wait_ns;
        }
    }
    for (i = 0; i < count; i++) {
        permit->mark[i] = step[i].mark;
        permit->used[i] = step[i].used - rlm_i_load_seq_cst(&limiter->entry[i].corrected);
    }
    permit->since_ns = now_ns;
    permit->cost = *cost;
    permit->state = RLM_I_PERMIT_OUT;
    rlm_i_count(limiter, cost->requests, now_ns);
    return 0;
}

RLM_I_INLINE uint64_t rlm_acquire(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, rlm_permit *permit) {
    if (RLM_I_UNLIKELY(rlm_i_load_seq_cst(&limiter->probe) != 0)) return rlm_i_probe(limiter, cost, now_ns, permit);
    return rlm_i_acquire(limiter, cost, now_ns, permit);
}

/* ---- Feedback: what a server says -------------------------------------------------------------- */

/* An answer of the server, as far as it concerns limits. ext/rlimit_http.h makes one of a response;
   any other transport may fill it by hand. Times are spans from the moment of the answer. */

#define RLM_UNSAID UINT64_MAX /* the server did not say */
#define RLM_READINGS_MAX 8

/* What the answer was. */
enum {
    RLM_ANSWERED,   /* a good answer */
    RLM_REFUSED,    /* 429: a limit was exceeded */
    RLM_SLOW_DOWN,  /* load was raised too fast: 503 Slow Down, an acceleration limit */
    RLM_OVERLOADED, /* the server has no room for anybody: 529, 503, 504 */
    RLM_FAILED,     /* any other failure: says nothing of limits */
    RLM_I_OUTCOMES
};

/* What the server says of one limit. Zeroed is not unsaid: see rlm_reading_none. */
typedef struct rlm_reading {
    uint32_t meter;            /* RLM_REQUESTS ... */
    uint32_t pad;
    uint64_t limit;            /* amount in a period; RLM_UNSAID */
    uint64_t remaining;        /* RLM_UNSAID */
    uint64_t rounding;         /* remaining may be more or less by this much */
    uint64_t reset_ns;         /* until nothing is used, or the period ends; RLM_UNSAID */
    uint64_t period_ns;        /* the period as said, or as usual there; 0 if neither */
    uint64_t period_least_ns;  /* the period is at least ... */
    uint64_t period_most_ns;   /* ... and at most this, as far as the figures tell: 0 and RLM_UNSAID if they do not */
} rlm_reading;

typedef struct rlm_feedback {
    uint32_t outcome;          /* RLM_ANSWERED ... */
    uint32_t named;            /* of RLM_REFUSED: 1 << meter of each limit it names; RLM_NAMED_CONCURRENCY; 0: none */
    uint64_t retry_after_ns;   /* RLM_UNSAID */
    uint64_t requested;        /* what the server says the refused request costs, of the meter named; RLM_UNSAID */
    uint32_t count;            /* readings */
    uint32_t pad;
    rlm_reading reading[RLM_READINGS_MAX];
} rlm_feedback;

#define RLM_NAMED_CONCURRENCY (UINT32_C(1) << 31)

/* rlm_reading_none returns a reading of meter that says nothing: fill in what is known. */
RLM_I_INLINE rlm_reading rlm_reading_none(uint32_t meter) {
    rlm_reading reading = {0, 0, RLM_UNSAID, RLM_UNSAID, 0, RLM_UNSAID, 0, 0, RLM_UNSAID};
    reading.meter = meter;
    return reading;
}

/* rlm_observe believes what the server said in answer to the request of permit, which must still be out:
   observe, then settle or cancel. permit may be null if the feedback belongs to no request.
   - What remains there lowers what is here, never raises it, so late and reordered answers do no harm.
     What was sent since the request counts as having arrived before it, as far as it can have: requests overtake
     each other, and to take a burst off twice costs a period. The answers to it show the rest.
   - A refusal pauses the limits it names, or all, for as long as the server says; if it does not
     say, until enough remains; or, where no figures explain it, 5 s and twice that each time in a row.
   - A refusal of concurrent requests lowers the cap to one less than are out (not RLM_FIXED); back by one in each minute that it was
     full. A cap that may not go lower pauses: 0.5 s, and twice that each time in a row.
   - The limit and its period are followed as far as limit.follow allows. What was available stays;
     more becomes available only if the server says that it remains.
   - Buckets keep in hand what may change between a request and its answer: their guard follows the
     delay seen, from the guard configured up to 1/16 of the period (not RLM_FIXED); and one and a half
     times what others were seen to take within such a delay, up to 1/8 of the burst.
   - A server that never tells its limits, but refuses: a bucket exceeded loses an eighth, and gains 1/64 a minute.
   - rlm_adaptive and rlm_ramp limits move. Limits to be learned are opened.
   Readings that fit no limit here (another meter, another period, a limit of 0) are ignored. A refusal that names only what
   is not counted here pauses all, ever longer: give every limit that the server has, if only as rlm_learned.
   What to settle: an answer with its usage; a refusal with what the server charges for it, mostly a request and no
   tokens; a request that was never sent: rlm_cancel; one without an answer: its estimate.
   Lock-free; of two threads that observe at once, one only pauses, and leaves the rest to the next
   answer. Those who wait in a queue should ask again afterwards (rlm_wait_wake). Returns RLM_OK, or without any effect RLM_E_NULL,
   RLM_E_PERMIT (not out), RLM_E_FEEDBACK. */
RLM_I_DECL int rlm_observe(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback, uint64_t now_ns);

/* rlm_in_force tells the limit at index as it is now: what was configured, followed or learned. The period is the usual one
   unless the server's figures told another (those of Anthropic bound it from below only). Returns RLM_OK, RLM_E_NULL, RLM_E_INDEX, or RLM_E_UNKNOWN for a limit of which nothing was learned, or a
   ramp at rest: *limit is then as configured. Lock-free. */
RLM_I_DECL int rlm_in_force(rlm_limiter *limiter, size_t index, rlm_limit *limit);

/* rlm_pause admits nothing that index (or any limit: RLM_ALL) would have to admit, for wait_ns, up to
   2^55; 0 ends a pause. Wait-free but for other pauses. Returns RLM_OK, RLM_E_NULL, RLM_E_INDEX or RLM_E_PERIOD. */
RLM_I_DECL int rlm_pause(rlm_limiter *limiter, size_t index, uint64_t wait_ns, uint64_t now_ns);
#define RLM_ALL SIZE_MAX

/* rlm_debit takes cost from every limit whether it is there or not, without a permit: what was used
   elsewhere, or before a restart. Lock-free. Returns RLM_OK, RLM_E_NULL, or RLM_E_COST: an amount is
   above 2^40 or more than a limit can owe; then nothing was taken. */
RLM_I_DECL int rlm_debit(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns);

/* ---- Estimates ------------------------------------------------------------------------------- */

/* What requests of one kind (a route: a model, a prompt template, an endpoint) turn out to cost. */

#define RLM_I_ROUTE_BINS 160 /* four to an octave, up to 2^40 */

typedef struct rlm_route {
    rlm_word input;     /* actual to estimated: ratio << 40 | mean deviation << 16 | count; 2^-16 each */
    rlm_word outputs;   /* how many are in the bins */
    uint64_t quantile_permille;
    rlm_word bin[RLM_I_ROUTE_BINS]; /* of actual output tokens: how many fell there, the older halved */
} rlm_route;

/* rlm_route_init forgets everything. quantile_permille (1 to 999; 900 is usual): that many of a
   thousand answers shall be no longer than what is reserved. Returns RLM_OK, RLM_E_NULL, or RLM_E_AMOUNT. */
RLM_I_DECL int rlm_route_init(rlm_route *route, uint32_t quantile_permille);

/* rlm_route_estimate corrects an estimate: its input tokens by the ratio seen and the mean deviation from
   it; its output tokens, taken as the most there can be, to the quantile of those seen. Until eight
   were seen it returns the estimate as it is, and never more than 2^40. Wait-free. */
RLM_I_DECL rlm_cost rlm_route_estimate(const rlm_route *route, const rlm_cost *estimate);

/* rlm_route_learn takes in what a request cost in fact (of its estimate as it was before correction): as
   settled, or as the server says of a request that it refuses (then output 0). Input is learned if neither
   is 0, output if it is not 0; an amount above 2^40 is RLM_E_COST. The ratio is averaged over about
   the last 32, its deviation likewise (as in RFC 6298); the quantile is over the last 500 to 1,000.
   Lock-free.
   Returns RLM_OK, RLM_E_NULL or RLM_E_COST. */
RLM_I_DECL int rlm_route_learn(rlm_route *route, const rlm_cost *estimate, const rlm_cost *actual);

/* ---- Queue ----------------------------------------------------------------------------------- */

/* Who is next. A bounded queue of waiters for one thread at a time: the host (an event loop, a
   condition variable, see ext/rlimit_wait.h) asks for the head, tries rlm_acquire for it, sleeps
   for the wait, and pops it when it is admitted. As only the head is ever tried, a large request
   keeps its place. Push, pop and cancel are O(log n) for waiters with a deadline, else O(1).

   A queue of those who sleep until a deadline is a timer queue: rlm_queue_expire wakes them in order.

   Order: FIFO within a priority. Each step of priority is worth ageing_ns of waiting, so a waiter
   is passed only by those of higher priority who come within ageing_ns (times the steps) after it,
   and nothing starves. */

enum { RLM_CRITICAL, RLM_HIGH, RLM_NORMAL, RLM_LOW, RLM_I_PRIORITIES };

#define RLM_QUEUE_DEFAULT 10000            /* waiters, if you have no better number */
#define RLM_AGEING_DEFAULT (30 * RLM_SECOND_NS)
#define RLM_STRICT (UINT64_C(1) << 60)     /* an ageing that never is: the lower wait for the higher */
#define RLM_NO_DEADLINE UINT64_MAX

typedef struct rlm_i_waiter {
    uint64_t data;
    uint64_t since_ns;
    uint64_t deadline_ns;
    uint32_t next, previous;
    uint32_t generation; /* odd while in the queue */
    uint32_t priority;
    uint32_t heap_at;    /* where its deadline is in the heap */
    uint32_t heap;       /* the heap's own array: the waiter at this place of it */
} rlm_i_waiter;

/* The head of a queue; its waiters follow it in memory. */
typedef struct rlm_queue {
    uint64_t ageing_ns;
    uint32_t capacity, count, free, deadlines;
    uint32_t first[RLM_I_PRIORITIES], last[RLM_I_PRIORITIES];
} rlm_queue;

/* rlm_queue_bytes returns the memory for capacity waiters (1 to 2^31), 0 if out of range: 48 bytes
   for each. */
RLM_I_DECL size_t rlm_queue_bytes(size_t capacity);

/* rlm_queue_init makes an empty queue in bytes of memory at queue (aligned to 8). ageing_ns: what a
   step of priority is worth, 0 (FIFO; priority decides between equal now_ns) to RLM_STRICT. Returns
   RLM_OK, RLM_E_NULL, or RLM_E_MEMORY if bytes is less than rlm_queue_bytes(capacity), or capacity or
   ageing_ns out of range. */
RLM_I_DECL int rlm_queue_init(rlm_queue *queue, size_t bytes, size_t capacity, uint64_t ageing_ns);

/* rlm_queue_push adds a waiter that stands for data, whatever that is to the caller. deadline_ns is
   a time of the same clock as now_ns, or RLM_NO_DEADLINE. *handle names the waiter. O(log n).
   Returns RLM_OK, RLM_E_NULL, RLM_E_PRIORITY, or RLM_E_FULL. */
RLM_I_DECL int rlm_queue_push(rlm_queue *queue, uint64_t data, uint32_t priority, uint64_t deadline_ns,
                              uint64_t now_ns, uint64_t *handle);

/* rlm_queue_head tells who is next without removing it. O(1). Returns false if there is nobody.
   handle and data may be null. */
RLM_I_DECL bool rlm_queue_head(const rlm_queue *queue, uint64_t *handle, uint64_t *data);

/* rlm_queue_remove takes a waiter out, admitted or cancelled. O(log n). Returns RLM_OK, RLM_E_NULL,
   or RLM_E_HANDLE if it has left already. */
RLM_I_DECL int rlm_queue_remove(rlm_queue *queue, uint64_t handle);

/* rlm_queue_expire takes out a waiter whose deadline is at or before now_ns, the earliest first.
   O(log n). Returns false if there is none. handle and data may be null. */
RLM_I_DECL bool rlm_queue_expire(rlm_queue *queue, uint64_t now_ns, uint64_t *handle, uint64_t *data);

/* rlm_queue_deadline returns the earliest deadline, or RLM_NO_DEADLINE. O(1). */
RLM_I_DECL uint64_t rlm_queue_deadline(const rlm_queue *queue);

/* rlm_queue_count returns how many wait. */
RLM_I_INLINE size_t rlm_queue_count(const rlm_queue *queue) { return queue->count; }

/* ---- Backoff --------------------------------------------------------------------------------- */

/* How the exponential delay d is spread. U is uniform. */
enum {
    RLM_JITTER_NONE,         /* d */
    RLM_JITTER_FRACTION,     /* d x U[1 - fraction, 1 + fraction] */
    RLM_JITTER_FULL,         /* U[0, d] */
    RLM_JITTER_EQUAL,        /* d/2 + U[0, d/2] */
    RLM_JITTER_DECORRELATED, /* U[base, 3 x the delay before], from base */
    RLM_I_JITTERS
};

/* What went wrong. */
enum {
    RLM_CLASS_RATE_LIMIT, /* 429 */
    RLM_CLASS_SERVER,     /* 5xx */
    RLM_CLASS_NETWORK,    /* no answer */
    RLM_CLASS_FATAL,      /* will not get better: authentication, a spent quota, a bad request */
    RLM_I_CLASSES
};

/* A schedule: d = base x factor^k for the k-th retry (from 0), at most cap; jitter; halved for
   RLM_CRITICAL and RLM_HIGH; at least floor and at least the class's own minimum; at most cap
   again. A delay that the server asked for replaces all of that, unless it is above
   retry_after_max_ns: then the schedule's own counts. */
typedef struct rlm_backoff {
    uint32_t jitter;             /* RLM_JITTER_ */
    uint32_t factor_permille;    /* 1000 to 100000: 2000 doubles */
    uint32_t fraction_permille;  /* 0 to 1000, for RLM_JITTER_FRACTION */
    uint32_t attempts_max;       /* retries; after that RLM_NEVER. 0: none */
    uint64_t base_ns;            /* by class where base_class_ns is 0 */
    uint64_t cap_ns;
    uint64_t floor_ns;
    uint64_t base_class_ns[RLM_I_CLASSES];  /* base for a class; 0: base_ns */
    uint64_t least_class_ns[RLM_I_CLASSES]; /* a delay of this class is at least this */
    uint64_t retry_after_max_ns;
} rlm_backoff;

/* One request's retries. */
typedef struct rlm_backoff_state {
    uint64_t random;
    uint64_t previous_ns;
    uint64_t attempts;
} rlm_backoff_state;

/* rlm_backoff_default returns: base 1 s (server errors 0.5 s, rate limits 6 s and at least 5 s),
   doubling, cap 60 s, floor 0.1 s, jitter 0.1 either way, 8 retries, Retry-After up to 1 h. */
RLM_I_DECL rlm_backoff rlm_backoff_default(void);

/* rlm_backoff_check returns RLM_OK, RLM_E_NULL, or RLM_E_BACKOFF for a schedule out of range: cap at
   most 2^50 ns (13 days), floor and base and least at most cap, factor and fraction as above. */
RLM_I_DECL int rlm_backoff_check(const rlm_backoff *plan);

/* rlm_backoff_start begins a request's retries. The same seed gives the same delays; give each
   request its own, or all of them retry together. */
RLM_I_INLINE void rlm_backoff_start(rlm_backoff_state *state, uint64_t seed) {
    state->random = seed;
    state->previous_ns = 0;
    state->attempts = 0;
}

/* rlm_backoff_next returns the ns to wait before the next retry, or RLM_NEVER: RLM_CLASS_FATAL, no
   attempts left, a bad plan, class or priority (the state is then as before). retry_after_ns is
   what the server asked for, 0 if it did not. Wait-free. */
RLM_I_DECL uint64_t rlm_backoff_next(const rlm_backoff *plan, rlm_backoff_state *state, uint32_t error_class,
                                     uint32_t priority, uint64_t retry_after_ns);

/* A retry budget: retries may be a share of requests, and some each second besides, so that an
   outage is not multiplied. After Finagle's RetryBudget. Shared by threads. */
typedef struct rlm_retry_budget {
    rlm_bucket bucket; /* in thousandths of a retry */
    uint64_t share_permille;
} rlm_retry_budget;

/* rlm_retry_budget_init: each request earns share_permille / 1000 of a retry (0 to 1000; 200 is
   usual), and each second per_second (1 to 10^6; 10 is usual); at most burst (1 to 10^6) are kept.
   It begins full. Returns RLM_OK, RLM_E_NULL, RLM_E_AMOUNT or RLM_E_BURST. */
RLM_I_DECL int rlm_retry_budget_init(rlm_retry_budget *budget, uint32_t share_permille, uint64_t per_second,
                                     uint64_t burst, uint64_t now_ns);

/* rlm_retry_budget_request earns for one first attempt. Lock-free. */
RLM_I_INLINE void rlm_retry_budget_request(rlm_retry_budget *budget, uint64_t now_ns) {
    (void)rlm_bucket_credit(&budget->bucket, budget->share_permille, now_ns);
}

/* rlm_retry_budget_retry spends one retry: 0, or the ns until there is one. Lock-free. */
RLM_I_INLINE uint64_t rlm_retry_budget_retry(rlm_retry_budget *budget, uint64_t now_ns) {
    return rlm_bucket_take(&budget->bucket, 1000, now_ns);
}

#ifdef __cplusplus
}
#endif

#endif /* RLM_RLIMIT_H */

/* ---- Implementation -------------------------------------------------------------------------- */

#if defined(RLM_IMPLEMENTATION) && !defined(RLM_I_IMPLEMENTED)
#define RLM_I_IMPLEMENTED

#ifndef RLM_NO_CLOCK
#include <time.h> /* clock_gettime */
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef RLM_STATIC
#define RLM_I_DEF static RLM_I_UNUSED
#else
#define RLM_I_DEF
#endif

/* -- errors -- */

RLM_I_DEF const char *rlm_strerror(int status) {
    switch (status < 0 ? RLM_I_STATUS_COUNT : status & 0xff) {
    case RLM_OK: return "ok";
    case RLM_E_NULL: return "null: a pointer that must point to something is null";
    case RLM_E_LIMITS: return "count: a limiter has 1 to RLM_LIMITS_MAX limits";
    case RLM_E_KIND: return "kind: must be RLM_BUCKET, RLM_WINDOW, RLM_CONCURRENCY or RLM_CALENDAR, and fit the function";
    case RLM_E_METER: return "meter: unknown, or not the one this limit began with";
    case RLM_E_AMOUNT: return "amount: must be 1 to 2^40 (concurrency: 2^31; a retry budget's share_permille 0 to 1000, per_second 1 to 10^6; a route's quantile_permille 1 to 999)";
    case RLM_E_PERIOD: return "period_ns: must be 1 to 2^55 (calendar: or RLM_MONTH), and stay what it was in a window or calendar; wait_ns of a pause: to 2^55";
    case RLM_E_RATE: return "amount, period_ns: the rate must not exceed 10^10 a second";
    case RLM_E_BURST: return "burst: must be 1 to 2^40 (retry budget: 10^6)";
    case RLM_E_SPAN: return "burst or amount: too large to be counted at this rate and period";
    case RLM_E_GUARD: return "guard_ns: must not exceed period_ns (calendar: must be less; a month: 0)";
    case RLM_E_UTC_OFFSET: return "utc_offset_s: must be -86400 to 86400";
    case RLM_E_CELLS: return "cells: must be 0 or 3 to 65536; or too many windows: define RLM_WINDOW_CELLS larger";
    case RLM_E_MEMORY: return "bytes, capacity, ageing_ns: not enough memory, or out of range";
    case RLM_E_INDEX: return "index: no such limit";
    case RLM_E_COST: return "cost: an amount is above 2^40, or more debt than the limit can hold";
    case RLM_E_PERMIT: return "permit: not out (settled twice, or never admitted)";
    case RLM_E_BUSY: return "busy: another thread is reconfiguring this limit";
    case RLM_E_CAPACITY: return "amount: above what the memory of this limit was made for";
    case RLM_E_PRIORITY: return "priority: must be RLM_CRITICAL, RLM_HIGH, RLM_NORMAL or RLM_LOW";
    case RLM_E_FULL: return "queue: full";
    case RLM_E_HANDLE: return "handle: this waiter has left the queue";
    case RLM_E_BACKOFF: return "backoff: jitter, factor_permille 1000 to 100000, fraction_permille to 1000, cap_ns to 2^50, others to cap_ns";
    case RLM_E_CLOCK: return "clock: no time stamp counter that runs at one rate";
    case RLM_E_NEVER: return "cost: larger than a limit, it can never be admitted";
    case RLM_E_TIMEOUT: return "timeout: not admitted before the deadline";
    case RLM_E_CANCELLED: return "cancelled: another thread ended the wait";
    case RLM_E_FOLLOW: return "follow: must be RLM_SHRINK to RLM_ADAPT, and fit the kind (concurrency: _SHRINK, _FIXED, _FOLLOW, _ADAPT; RLM_RAMP: a bucket of requests); least: must be 1 to amount";
    case RLM_E_FEEDBACK: return "feedback: outcome must be RLM_ANSWERED to RLM_FAILED, count at most RLM_READINGS_MAX";
    case RLM_E_UNKNOWN: return "limit: nothing was learned of it yet";
    default: return "unknown status";
    }
}

/* -- arithmetic -- */

/* (high:low) / divisor for high < divisor, by long division. Never on a hot path. */
static uint64_t rlm_i_divide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *remainder) {
    uint64_t quotient = 0;
    int bit;
    for (bit = 0; bit < 64; bit++) {
        uint64_t carry = high >> 63;
        high = (high << 1) | (low >> 63);
        low <<= 1;
        quotient <<= 1;
        if (carry != 0 || high >= divisor) {
            high -= divisor;
            quotient |= 1;
        }
    }
    *remainder = high;
    return quotient;
}

/* a * b / divisor rounded up, UINT64_MAX if it does not fit. */
static uint64_t rlm_i_scale_up(uint64_t a, uint64_t b, uint64_t divisor) {
    uint64_t high = rlm_i_mul_high(a, b), remainder, quotient;
    if (high >= divisor) return UINT64_MAX;
    quotient = rlm_i_divide(high, a * b, divisor, &remainder);
    return quotient == UINT64_MAX ? quotient : quotient + (remainder != 0);
}

static uint64_t rlm_i_gcd(uint64_t a, uint64_t b) {
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void rlm_i_clear(void *memory, size_t bytes) {
    unsigned char *at = (unsigned char *)memory;
    while (bytes-- > 0) *at++ = 0;
}

static uint64_t rlm_i_bit_length(uint64_t value) {
    uint64_t bits = 0;
    for (; value != 0; value >>= 1) bits++;
    return bits;
}

/* -- validation -- */

static uint32_t rlm_i_cells(const rlm_limit *limit) {
    return limit->cells != 0 ? limit->cells : 258;
}

static int rlm_i_check(const rlm_limit *limit, uint32_t kind) {
    bool concurrency = kind == RLM_CONCURRENCY, calendar = kind == RLM_CALENDAR;
    bool month = calendar && limit->period_ns == RLM_MONTH;
    if (limit->kind != kind) return RLM_E_KIND;
    if (limit->meter >= RLM_I_METER_COUNT) return RLM_E_METER;
    if (limit->amount == 0 || limit->amount > (concurrency ? UINT64_C(1) << 31 : RLM_AMOUNT_MAX)) return RLM_E_AMOUNT;
    if (concurrency) return RLM_OK;
    if (limit->period_ns == 0 || (limit->period_ns > (UINT64_C(1) << 55) && !month)) return RLM_E_PERIOD;
    if (!calendar && limit->amount > 10 * limit->period_ns) return RLM_E_RATE;
    if (kind == RLM_BUCKET && (limit->burst == 0 || limit->burst > RLM_AMOUNT_MAX)) return RLM_E_BURST;
    if (limit->guard_ns > (month ? 0 : limit->period_ns - calendar)) return RLM_E_GUARD;
    if (calendar && (limit->utc_offset_s > 86400 || limit->utc_offset_s < -86400)) return RLM_E_UTC_OFFSET;
    if (kind == RLM_WINDOW && (rlm_i_cells(limit) < 3 || rlm_i_cells(limit) > 65536)) return RLM_E_CELLS;
    return RLM_OK;
}

/* The state of a limit lies in the future of this reading. Either the reading is stale, or the clock
   was set back (or had run ahead before). A stale reading is followed by a good one, which clears
   *behind; a clock set back stays behind. Notes the first such reading and answers whether the clock
   has gone on for span since then: only now it is believed, and as everything was refused all that
   while, nothing is given away. A reading of less than a second before the first is one of a thread that is late:
   to count from it would be to believe too soon. first is what the caller has seen in *behind, and goes on with. */
static bool rlm_i_set_back(rlm_word *behind, uint64_t first, uint64_t at, uint64_t span) {
    if (first == 0 || at + 1 + RLM_SECOND_NS < first) {
        rlm_i_store_seq_cst(behind, at + 1);
        return false;
    }
    return at + 1 >= first && at + 1 - first >= span;
}

/* -- clocks -- */

#ifndef RLM_NO_CLOCK
#ifdef _WIN32
union _LARGE_INTEGER;
struct _FILETIME;
__declspec(dllimport) int __stdcall QueryPerformanceCounter(union _LARGE_INTEGER *);
__declspec(dllimport) int __stdcall QueryPerformanceFrequency(union _LARGE_INTEGER *);
__declspec(dllimport) unsigned long long __stdcall GetTickCount64(void);
__declspec(dllimport) void __stdcall GetSystemTimeAsFileTime(struct _FILETIME *);

RLM_I_DEF uint64_t rlm_now(void) {
    uint64_t ticks = 0, frequency = 1;
    QueryPerformanceCounter((union _LARGE_INTEGER *)(void *)&ticks);
    QueryPerformanceFrequency((union _LARGE_INTEGER *)(void *)&frequency);
    return ticks / frequency * RLM_SECOND_NS + ticks % frequency * RLM_SECOND_NS / frequency;
}
RLM_I_DEF uint64_t rlm_now_coarse(void) { return (uint64_t)GetTickCount64() * 1000000; }
RLM_I_DEF uint64_t rlm_wall(void) {
    uint32_t filetime[2] = {0, 0}; /* units of 100 ns since 1601 */
    GetSystemTimeAsFileTime((struct _FILETIME *)(void *)filetime);
    return ((((uint64_t)filetime[1] << 32) | filetime[0]) - UINT64_C(116444736000000000)) * 100;
}
#else
#ifndef CLOCK_MONOTONIC
#error "rlimit.h: define _POSIX_C_SOURCE as 200809L before the first include of the implementation's file, or RLM_NO_CLOCK"
#endif
#ifdef CLOCK_BOOTTIME
#define RLM_I_CLOCK CLOCK_BOOTTIME
#else
#define RLM_I_CLOCK CLOCK_MONOTONIC
#endif
#ifdef CLOCK_MONOTONIC_COARSE
#define RLM_I_CLOCK_COARSE CLOCK_MONOTONIC_COARSE
#else
#define RLM_I_CLOCK_COARSE RLM_I_CLOCK
#endif
#define RLM_I_READ(clock)                                                                   \
    struct timespec at = {0, 0};                                                            \
    clock_gettime(clock, &at);                                                              \
    return (uint64_t)at.tv_sec * RLM_SECOND_NS + (uint64_t)at.tv_nsec
RLM_I_DEF uint64_t rlm_now(void) { RLM_I_READ(RLM_I_CLOCK); }
RLM_I_DEF uint64_t rlm_now_coarse(void) { RLM_I_READ(RLM_I_CLOCK_COARSE); }
RLM_I_DEF uint64_t rlm_wall(void) { RLM_I_READ(CLOCK_REALTIME); }
#endif

/* The counter, and whether it is known to run at one rate. */
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
static uint64_t rlm_i_counter(void) { return __builtin_ia32_rdtsc(); }
static bool rlm_i_counter_is_steady(void) {
    uint32_t a = 0x80000000u, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if (a < 0x80000007u) return false;
    a = 0x80000007u;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return (d >> 8 & 1) != 0; /* invariant TSC */
}
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
static uint64_t rlm_i_counter(void) {
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}
static bool rlm_i_counter_is_steady(void) { return true; }
#else
static uint64_t rlm_i_counter(void) { return 0; }
static bool rlm_i_counter_is_steady(void) { return false; }
#endif

/* The rate over about 10 ms, as nanoseconds in 2^-32 a tick; 0 if it cannot be. */
static uint64_t rlm_i_counter_rate(void) {
    uint64_t from_ns = rlm_now(), from = rlm_i_counter(), ns, ticks, remainder;
    do ns = rlm_now() - from_ns;
    while (ns < 10000000);
    ticks = rlm_i_counter() - from;
    if (ticks == 0 || ns >> 32 != 0 || ticks >> 63 != 0) return 0;
    return rlm_i_divide(0, ns << 32, ticks, &remainder);
}

RLM_I_DEF int rlm_tsc_init(rlm_tsc *tsc) {
    uint64_t first, second, apart;
    if (tsc == NULL) return RLM_E_NULL;
    if (!rlm_i_counter_is_steady()) return RLM_E_CLOCK;
    first = rlm_i_counter_rate();
    second = rlm_i_counter_rate();
    apart = first > second ? first - second : second - first;
    if (first == 0 || second == 0 || apart > second / 10000) return RLM_E_CLOCK;
    tsc->ns_per_tick_frac = second;
    tsc->base_ns = rlm_now();
    tsc->base_ticks = rlm_i_counter();
    return RLM_OK;
}

RLM_I_DEF uint64_t rlm_tsc_now(const rlm_tsc *tsc) {
    uint64_t ticks = rlm_i_counter() - tsc->base_ticks, frac = tsc->ns_per_tick_frac;
    if (ticks >> 63 != 0) ticks = 0; /* another core's counter, just behind */
    return tsc->base_ns + (rlm_i_mul_high(ticks, frac) << 32 | (ticks * frac) >> 32);
}
#endif /* RLM_NO_CLOCK */

/* -- token bucket -- */

/* Chooses ticks for a token of p/q ns: the smallest number of at least 10 a nanosecond that makes both
   whole, if it is not too large to count with; else only the token is whole. Returns ticks a token. */
static uint64_t rlm_i_token(uint64_t p, uint64_t q, uint64_t burst, uint64_t guard_ns) {
    uint64_t ticks = q * ((9 + q) / q), token = p * ((9 + q) / q);
    bool fits = q <= 1024 && rlm_i_mul_high(p, ticks) == 0 && rlm_i_mul_high(burst, token) == 0 &&
                burst * token <= UINT64_C(1) << 58 && guard_ns <= (UINT64_C(1) << 58) / ticks;
    return fits || q <= 19 ? token : rlm_i_scale_up(10, p, q);
}

/* A guard in ticks, and the rounding of now. */
static uint64_t rlm_i_lag(uint64_t whole, uint64_t frac, bool inexact, uint64_t guard_ns) {
    uint64_t lag = guard_ns * whole + rlm_i_mul_high(guard_ns, frac);
    return inexact ? lag + (guard_ns == 0 ? 1 : 2) : lag;
}

/* Fills an idle rate. */
static int rlm_i_rate_set(rlm_i_rate *rate, const rlm_limit *limit, uint64_t now_ns) {
    uint64_t divisor = rlm_i_gcd(limit->period_ns, limit->amount), p = limit->period_ns / divisor, q = limit->amount / divisor;
    uint64_t token = rlm_i_token(p, q, limit->burst, limit->guard_ns), whole = token * q / p, remainder, frac, inverse, lag, back_ns;
    bool inexact = token * q % p != 0;
    if (rlm_i_mul_high(limit->burst, token) != 0 || limit->burst * token > UINT64_C(1) << 60) return RLM_E_SPAN;
    frac = rlm_i_divide(token * q % p, 0, p, &remainder);
    inverse = rlm_i_divide(p, 0, token * q, &remainder);
    lag = rlm_i_lag(whole, frac, inexact, limit->guard_ns);
    back_ns = (UINT64_C(1) << 58) / (whole + 1); /* half a year or so, that a clock may go back */
    if (now_ns > RLM_I_END_NS) now_ns = RLM_I_END_NS;
    rlm_i_store_seq_cst(&rate->epoch_ns, now_ns > back_ns ? now_ns - back_ns : 0);
    rlm_i_store_seq_cst(&rate->since_max_ns, (UINT64_C(1) << 62) / (whole + 1));
    rlm_i_store_seq_cst(&rate->ticks_per_ns, whole);
    rlm_i_store_seq_cst(&rate->ticks_per_ns_frac, frac);
    /* inexact: of the slope, which is just below the rate */
    rlm_i_store_seq_cst(&rate->ns_per_tick_frac, inverse + (inexact ? 2 : remainder != 0));
    rlm_i_store_seq_cst(&rate->token, token);
    rlm_i_store_seq_cst(&rate->burst, limit->burst);
    rlm_i_store_seq_cst(&rate->burst_ticks, limit->burst * token);
    rlm_i_store_seq_cst(&rate->lag, lag);
    rlm_i_store_seq_cst(&rate->amount, limit->amount);
    rlm_i_store_seq_cst(&rate->period_ns, limit->period_ns);
    rlm_i_store_seq_cst(&rate->guard_ns, limit->guard_ns);
    rlm_i_store_seq_cst(&rate->reach, limit->burst * token + lag);
    rlm_i_store_seq_cst(&rate->owed, 0);
    rlm_i_store_seq_cst(&rate->owed_reach, 0);
    rlm_i_store_seq_cst(&rate->behind, 0);
    return RLM_OK;
}

RLM_I_DEF int rlm_bucket_init(rlm_bucket *bucket, const rlm_limit *limit, uint64_t now_ns) {
    rlm_bucket made;
    int status;
    if (bucket == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_BUCKET)) != RLM_OK) return status;
    rlm_i_clear(&made, sizeof made);
    if ((status = rlm_i_rate_set(&made.rate[0], limit, now_ns)) != RLM_OK) return status;
    made.changed_ns = now_ns;
    *bucket = made;
    return RLM_OK;
}

RLM_I_DEF uint64_t rlm_i_long_ns(const rlm_i_rate *rate, uint64_t ticks) {
    uint64_t whole = rlm_i_load_seq_cst(&rate->ticks_per_ns);
    if (rlm_i_load_seq_cst(&rate->ticks_per_ns_frac) == 0) return (ticks - 1) / whole + 1;
    return rlm_i_mul_high(ticks, rlm_i_load_seq_cst(&rate->ns_per_tick_frac)) + 1;
}

RLM_I_DEF uint64_t rlm_i_add_frac(uint64_t ticks, uint64_t since_ns, uint64_t frac) {
    return ticks + rlm_i_mul_high(since_ns, frac);
}

/* How far ahead of now this TAT may rightly be. */
static uint64_t rlm_i_reach(const rlm_i_rate *rate, uint64_t tat) {
    uint64_t reach = rlm_i_load_seq_cst(&rate->reach), owed_reach = rlm_i_load_seq_cst(&rate->owed_reach);
    return tat <= rlm_i_load_seq_cst(&rate->owed) && owed_reach > reach ? owed_reach : reach;
}

/* Before TAT is moved on by cost without being asked: whoever reads it shall know that it may be there.
   Not further than it was entitled to, and cost: the clock may be behind. Where that is noted, TAT may come to lie
   so far after the first such reading: what was free by now is not what the debt was paid from. */
static void rlm_i_owe(rlm_i_rate *rate, uint64_t tat, uint64_t cost, uint64_t next, uint64_t ticks) {
    uint64_t behind = rlm_i_load_seq_cst(&rate->behind), first = behind != 0 ? rlm_i_ticks(rate, behind - 1) : ticks;
    uint64_t entitled = rlm_i_reach(rate, tat), ahead = next - ticks;
    if (ticks > first && ticks - first > entitled) entitled = ticks - first;
    entitled += cost;
    rlm_i_raise(&rate->owed_reach, ahead < entitled ? ahead : entitled);
    rlm_i_raise(&rate->owed, next);
}

/* What a reconfiguration makes of a TAT: how far it is ahead, in ticks of the new rate, so that as much
   is available as before; and how far of that it may be. UINT64_MAX: too far. */
static uint64_t rlm_i_debt_under(const rlm_i_rate *from, const rlm_i_rate *to, uint64_t tat, uint64_t now_ns, uint64_t *reach) {
    uint64_t ticks = rlm_i_ticks(from, now_ns), old = rlm_i_load_seq_cst(&from->token), token = rlm_i_load_seq_cst(&to->token);
    uint64_t burst = rlm_i_load_seq_cst(&from->burst), new_burst = rlm_i_load_seq_cst(&to->burst);
    uint64_t less = new_burst < burst ? (burst - new_burst) * old : 0, more = new_burst > burst ? (new_burst - burst) * token : 0;
    uint64_t ahead = tat > ticks ? tat - ticks : 0, may = rlm_i_reach(from, tat), debt;
    bool late = ahead > may; /* the clock's fault, not a debt */
    uint64_t inexact = rlm_i_load_seq_cst(&to->ticks_per_ns_frac) != 0;
    debt = rlm_i_scale_up(ahead > less ? ahead - less : 0, token, old);
    *reach = rlm_i_scale_up(may - less, token, old); /* less is short of a burst, and may is at least one */
    if (*reach > UINT64_C(1) << 60) *reach = UINT64_C(1) << 60;
    if (debt > UINT64_C(1) << 60) {
        if (!late) return UINT64_MAX;
        debt = *reach;
    }
    debt += more;
    *reach += more + inexact; /* or what is owed would look like a clock set back */
    return debt == 0 ? 0 : debt + inexact;
}

static rlm_limit rlm_i_limit_of(const rlm_i_rate *rate) {
    rlm_limit limit = rlm_per(RLM_CUSTOM, rlm_i_load_seq_cst(&rate->amount), rlm_i_load_seq_cst(&rate->period_ns));
    limit.burst = rlm_i_load_seq_cst(&rate->burst);
    limit.guard_ns = rlm_i_load_seq_cst(&rate->guard_ns);
    return limit;
}

/* What is owed still of a bucket that was empty when the clock was first seen to be set back, in ticks of the same
   rate with another epoch. */
static uint64_t rlm_i_debt_since(const rlm_i_rate *from, const rlm_i_rate *to, uint64_t tat, uint64_t now_ns, uint64_t *reach) {
    uint64_t first = rlm_i_load_seq_cst(&from->behind);
    uint64_t passed = first != 0 ? rlm_i_ticks(to, now_ns) - rlm_i_ticks(to, first - 1) : 0;
    *reach = rlm_i_reach(from, tat);
    return *reach > passed ? *reach - passed : 0;
}

/* Begins a new generation, with limit, or with the limit in force if that is null. The debt is kept;
   or, if forget points to a word, what the clock made of it is forgotten, but only if that is the word still. A rate never
   begins before the last one did: a stale reading would live through the time between again, at a
   higher rate. */
static int rlm_i_bucket_change(rlm_bucket *bucket, const rlm_limit *limit, const uint64_t *forget, uint64_t now_ns) {
    uint64_t seen, debt, reach = 0, ticks, idle, unclaimed = 0;
    int status;
    if (!rlm_i_cas_seq_cst(&bucket->claim, &unclaimed, 1)) return RLM_E_BUSY;
    if (forget == NULL && now_ns < rlm_i_load_seq_cst(&bucket->changed_ns)) now_ns = rlm_i_load_seq_cst(&bucket->changed_ns);
    seen = rlm_i_load_seq_cst(&bucket->word);
    do { /* only we change the generation, so the idle rate stays ours */
        rlm_i_rate *from = &bucket->rate[seen & 1], *to = &bucket->rate[(seen + 1) & 1];
        rlm_limit same = rlm_i_limit_of(from);
        status = RLM_OK;
        if (forget != NULL && seen != *forget) break;
        if ((status = rlm_i_rate_set(to, limit != NULL ? limit : &same, now_ns)) != RLM_OK) break;
        debt = (forget != NULL ? rlm_i_debt_since : rlm_i_debt_under)(from, to, seen >> 2, now_ns, &reach);
        ticks = rlm_i_ticks(to, now_ns);
        if (limit == NULL && debt == 0 && forget == NULL) { /* the same ticks: as long idle as before */
            idle = rlm_i_ticks(from, now_ns) - (seen >> 2);
            ticks = ticks > idle ? ticks - idle : 0;
        }
        if (debt == UINT64_MAX) {
            status = RLM_E_SPAN;
            break;
        }
        rlm_i_store_seq_cst(&to->owed, ticks + debt);
        rlm_i_store_seq_cst(&to->owed_reach, debt < reach ? debt : reach);
    } while (!rlm_i_cas_seq_cst(&bucket->word, &seen, (ticks + debt) << 2 | ((seen + 1) & 3)));
    if (status == RLM_OK) rlm_i_store_seq_cst(&bucket->changed_ns, now_ns);
    rlm_i_store_seq_cst(&bucket->claim, 0);
    return status;
}

RLM_I_DEF uint64_t rlm_i_bucket_renew(rlm_bucket *bucket, uint64_t now_ns) {
    if (now_ns > RLM_I_END_NS) return RLM_NEVER;
    return rlm_i_bucket_change(bucket, NULL, NULL, now_ns) == RLM_OK ? RLM_I_RETRY : 1;
}

RLM_I_DEF uint64_t rlm_i_bucket_behind(rlm_bucket *bucket, rlm_i_rate *rate, uint64_t seen, uint64_t now_ns) {
    uint64_t ticks = rlm_i_ticks(rate, now_ns), tat = seen >> 2, reach = rlm_i_reach(rate, tat);
    uint64_t reach_ns = rlm_i_ns_until(rate, rlm_i_load_seq_cst(&rate->reach), 0), first_ns; /* without what is owed */
    bool before = now_ns < rlm_i_load_seq_cst(&rate->epoch_ns); /* in ticks, time stands still there */
    bool set_back = false;
    if (reach_ns < RLM_SECOND_NS) reach_ns = RLM_SECOND_NS; /* a thread may be late by as much */
    if (tat > ticks + reach || before)
        set_back = rlm_i_set_back(&rate->behind, rlm_i_load_seq_cst(&rate->behind), now_ns, reach_ns);
    else rlm_i_store_seq_cst(&rate->behind, 0);
    first_ns = rlm_i_load_seq_cst(&rate->behind) - 1;
    if (first_ns == UINT64_MAX) return 0; /* a good reading, here or elsewhere */
    if (!set_back) return first_ns + reach_ns > now_ns ? first_ns + reach_ns - now_ns : RLM_I_RETRY;
    if (before) return rlm_i_bucket_change(bucket, NULL, &seen, now_ns) == RLM_OK ? RLM_I_RETRY : 1;
    rlm_i_store_seq_cst(&rate->behind, 0); /* go on as if it had been empty then */
    if (rlm_i_cas_seq_cst(&bucket->word, &seen, (rlm_i_ticks(rate, first_ns) + reach) << 2 | (seen & 3)))
        rlm_i_store_seq_cst(&bucket->changed_ns, now_ns);
    return RLM_I_RETRY;
}

/* Another guard, at once: whoever reads the old lag still has kept the old guard. No new generation, so what
   permits that are out know of the bucket stays true. What a longer guard keeps in hand is taken now; returns
   how many ticks that is. */
static uint64_t rlm_i_bucket_guard(rlm_bucket *bucket, uint64_t guard_ns, uint64_t now_ns) {
    uint64_t unclaimed = 0, seen, whole, frac, lag, was, burst, next, ticks, taken = 0;
    rlm_i_rate *rate;
    if (!rlm_i_cas_seq_cst(&bucket->claim, &unclaimed, 1)) return 0;
    seen = rlm_i_load_seq_cst(&bucket->word);
    rate = &bucket->rate[seen & 1];
    whole = rlm_i_load_seq_cst(&rate->ticks_per_ns);
    frac = rlm_i_load_seq_cst(&rate->ticks_per_ns_frac);
    burst = rlm_i_load_seq_cst(&rate->burst_ticks);
    was = rlm_i_load_seq_cst(&rate->lag);
    lag = rlm_i_lag(whole, frac, frac != 0, guard_ns);
    if (rlm_i_mul_high(guard_ns, whole + 1) == 0 && lag >> 59 == 0) {
        rlm_i_raise(&rate->reach, burst + lag);
        rlm_i_store_seq_cst(&rate->lag, lag);
        rlm_i_store_seq_cst(&rate->guard_ns, guard_ns);
        while (lag > was && taken == 0) {
            ticks = rlm_i_ticks(rate, now_ns);
            next = (seen >> 2 > ticks ? seen >> 2 : ticks) + (lag - was);
            if (next >> 62 != 0) break;
            rlm_i_owe(rate, seen >> 2, lag - was, next, ticks);
            if (rlm_i_cas_seq_cst(&bucket->word, &seen, next << 2 | (seen & 3))) taken = lag - was;
        }
    }
    rlm_i_store_seq_cst(&bucket->claim, 0);
    return taken;
}

RLM_I_DEF int rlm_bucket_reconfigure(rlm_bucket *bucket, const rlm_limit *limit, uint64_t now_ns) {
    int status;
    if (bucket == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_BUCKET)) != RLM_OK) return status;
    return rlm_i_bucket_change(bucket, limit, NULL, now_ns);
}

/* The word of a bucket, renewed if it has to be. */
static uint64_t rlm_i_bucket_word(rlm_bucket *bucket, uint64_t now_ns) {
    uint64_t seen = rlm_i_load_seq_cst(&bucket->word);
    rlm_i_rate *rate = &bucket->rate[seen & 1];
    if (rlm_i_ticks(rate, now_ns) > RLM_I_TICKS_MAX) (void)rlm_i_bucket_renew(bucket, now_ns);
    else if (rlm_i_load_seq_cst(&rate->behind) != 0) (void)rlm_i_bucket_behind(bucket, rate, seen, now_ns);
    else return seen;
    return rlm_i_load_seq_cst(&bucket->word);
}

RLM_I_DEF uint64_t rlm_bucket_reserve(rlm_bucket *bucket, uint64_t n, uint64_t max_wait_ns, uint64_t now_ns) {
    for (;;) {
        uint64_t seen = rlm_i_bucket_word(bucket, now_ns), tat = seen >> 2, wait_ns = RLM_NEVER;
        rlm_i_rate *rate = &bucket->rate[seen & 1];
        if (n <= rlm_i_load_seq_cst(&rate->burst)) {
            uint64_t ticks = rlm_i_ticks(rate, now_ns), cost = n * rlm_i_load_seq_cst(&rate->token);
            uint64_t start = ticks + rlm_i_load_seq_cst(&rate->lag), next = (tat > start ? tat : start) + cost;
            uint64_t free_at = tat + cost - rlm_i_load_seq_cst(&rate->burst_ticks);
            wait_ns = (int64_t)free_at <= (int64_t)ticks ? 0 : rlm_i_ns_until(rate, free_at, ticks);
            if (next >> 62 != 0) wait_ns = RLM_NEVER; /* the line is years long */
            if (n != 0 && wait_ns <= max_wait_ns && wait_ns != RLM_NEVER) {
                rlm_i_owe(rate, tat, cost, next, ticks);
                if (rlm_i_cas_seq_cst(&bucket->word, &seen, next << 2 | (seen & 3))) return wait_ns;
                continue;
            }
        }
        if (((rlm_i_load_seq_cst(&bucket->word) ^ seen) & 3) == 0) return wait_ns;
    }
}

RLM_I_DEF int rlm_bucket_credit(rlm_bucket *bucket, uint64_t n, uint64_t now_ns) {
    uint64_t seen, next;
    if (bucket == NULL) return RLM_E_NULL;
    if (n > RLM_AMOUNT_MAX) return RLM_E_COST;
    do { /* equal words are exchanged too: only then the rate read was the right one */
        uint64_t ticks, token, back;
        seen = rlm_i_bucket_word(bucket, now_ns);
        ticks = rlm_i_ticks(&bucket->rate[seen & 1], now_ns);
        token = rlm_i_load_seq_cst(&bucket->rate[seen & 1].token);
        back = rlm_i_mul_high(n, token) != 0 ? UINT64_MAX : n * token;
        next = seen >> 2;
        if (next > ticks) next = next - ticks > back ? next - back : ticks;
    } while (!rlm_i_cas_seq_cst(&bucket->word, &seen, next << 2 | (seen & 3)));
    return RLM_OK;
}

RLM_I_DEF int rlm_bucket_debit(rlm_bucket *bucket, uint64_t n, uint64_t now_ns) {
    uint64_t seen, next;
    bool fits;
    if (bucket == NULL) return RLM_E_NULL;
    if (n > RLM_AMOUNT_MAX) return RLM_E_COST;
    do {
        rlm_i_rate *rate;
        uint64_t ticks, start, cost, tat;
        seen = rlm_i_bucket_word(bucket, now_ns);
        rate = &bucket->rate[seen & 1];
        ticks = rlm_i_ticks(rate, now_ns);
        start = ticks + rlm_i_load_seq_cst(&rate->lag);
        cost = n * rlm_i_load_seq_cst(&rate->token);
        tat = seen >> 2;
        next = (tat > start ? tat : start) + cost;
        fits = rlm_i_mul_high(n, rlm_i_load_seq_cst(&rate->token)) == 0 && cost >> 62 == 0 && next >> 62 == 0;
        if (!fits || n == 0) next = tat;
        else rlm_i_owe(rate, tat, cost, next, ticks);
    } while (!rlm_i_cas_seq_cst(&bucket->word, &seen, next << 2 | (seen & 3)));
    return fits ? RLM_OK : RLM_E_COST;
}

RLM_I_DEF int rlm_bucket_status(rlm_bucket *bucket, rlm_usage *usage, uint64_t now_ns) {
    uint64_t seen, tat, ticks, token, epoch_ns;
    const rlm_i_rate *rate;
    if (bucket == NULL || usage == NULL) return RLM_E_NULL;
    do {
        seen = rlm_i_load_seq_cst(&bucket->word);
        tat = seen >> 2;
        rate = &bucket->rate[seen & 1];
        ticks = rlm_i_ticks(rate, now_ns);
        epoch_ns = rlm_i_load_seq_cst(&rate->epoch_ns);
        if (now_ns > epoch_ns && now_ns - epoch_ns > rlm_i_load_seq_cst(&rate->since_max_ns)) ticks = tat; /* no TAT lies beyond */
        token = rlm_i_load_seq_cst(&rate->token);
        usage->limit = rlm_i_load_seq_cst(&rate->burst);
        usage->used = tat > ticks ? (tat - ticks - 1) / token + 1 : 0;
        usage->remaining = (int64_t)usage->limit - (int64_t)usage->used;
        usage->reset_ns = tat > ticks ? rlm_i_ns_until(rate, tat, ticks) : 0;
    } while (((rlm_i_load_seq_cst(&bucket->word) ^ seen) & 3) != 0);
    return RLM_OK;
}

/* -- sliding window -- */

/* A window as one operation sees it: records [oldest, end) count, and hold so much. */
typedef struct rlm_i_view {
    uint64_t seen, index, total; /* the word and its halves */
    uint64_t at_ns;              /* now, since epoch_ns */
    uint64_t current;            /* the record that now falls in: a slot, or the next operation */
    uint64_t oldest, end;
    uint64_t held;
    uint64_t gross;              /* the same with what was given back: a total can count so much and no more */
    bool late;                   /* a record lies after now */
    bool unknown;                /* the records are being written anew: held is all there can be */
} rlm_i_view;

static uint64_t rlm_i_mask(uint64_t bits) { return (UINT64_C(1) << bits) - 1; }

static rlm_i_cell *rlm_i_cell_at(rlm_window *window, uint64_t index) {
    return (rlm_i_cell *)(void *)(window + 1) + index % window->cells;
}

static uint64_t rlm_i_slots(const rlm_window *window) { return window->cells - 2; }

/* Puts a record's total into its cell, unless the cell holds it or a later one already. */
static void rlm_i_install(rlm_word *word, uint64_t index, uint64_t total, uint64_t bits) {
    uint64_t mask = rlm_i_mask(bits), seen = rlm_i_load_seq_cst(word), made = index << bits | total;
    while (seen >> bits < index || (seen >> bits == index && ((made - seen) & mask) - 1 < mask >> 1))
        if (rlm_i_cas_seq_cst(word, &seen, made)) return;
}

/* The high bits of a mark: indices of slots repeat once a clock was set back, those of an exact window do not. */
static uint64_t rlm_i_era(rlm_window *window) {
    return window->width_ns == 0 ? 0 : rlm_i_load_seq_cst(&window->restamped) << (64 - window->bits);
}

/* When a record leaves, ns since epoch_ns. */
static uint64_t rlm_i_leaves(rlm_window *window, uint64_t index) {
    if (window->width_ns != 0) return (index + rlm_i_slots(window) + 1) * window->width_ns;
    return rlm_i_load_seq_cst(&rlm_i_cell_at(window, index)->time) + window->span_ns;
}

/* How much was admitted since a record began, or everything the window can hold if that is not known
   (after a clock was set back). */
static uint64_t rlm_i_since(rlm_window *window, const rlm_i_view *view, uint64_t index) {
    uint64_t cell = rlm_i_load_seq_cst(&rlm_i_cell_at(window, index)->total), mask = rlm_i_mask(window->bits);
    return cell >> window->bits == index ? (view->total - cell) & mask : mask >> 1;
}

/* What was given back to a record, at most what it holds. */
static uint64_t rlm_i_credit_of(rlm_window *window, const rlm_i_view *view, uint64_t index) {
    uint64_t credit = rlm_i_load_seq_cst(&rlm_i_cell_at(window, index)->credit), amount, rest, weight;
    if (credit >> window->bits != index) return 0;
    amount = credit & rlm_i_mask(window->bits);
    rest = index + 1 < view->end ? rlm_i_since(window, view, index + 1) : 0;
    weight = rlm_i_since(window, view, index);
    weight = weight > rest ? weight - rest : 0;
    return amount < weight ? amount : weight;
}

/* What was given back to the records that count. */
static uint64_t rlm_i_given_back(rlm_window *window, const rlm_i_view *view) {
    uint64_t i, back = 0;
    if (rlm_i_load_seq_cst(&window->credited) > view->oldest)
        for (i = view->oldest; i < view->end; i++) back += rlm_i_credit_of(window, view, i);
    return back;
}

/* A reading as windows keep it. */
static uint64_t rlm_i_window_time(const rlm_window *window, uint64_t now_ns) {
    uint64_t at_ns = now_ns < window->epoch_ns ? 0 : now_ns - window->epoch_ns;
    return at_ns < UINT64_MAX >> 1 ? at_ns : UINT64_MAX >> 1; /* 292 years */
}

static void rlm_i_look(rlm_window *window, uint64_t now_ns, rlm_i_view *view) {
    uint64_t top = rlm_i_mask(64 - window->bits) - window->cells, back;
    view->seen = rlm_i_load_seq_cst(&window->word);
    view->index = view->seen >> window->bits;
    view->total = view->seen & rlm_i_mask(window->bits);
    view->at_ns = rlm_i_window_time(window, now_ns);
    if (window->width_ns != 0) {
        view->current = view->at_ns / window->width_ns;
        if (view->current > top) view->current = top;
        view->late = view->current < view->index;
        if (view->late) view->current = view->index;
        view->oldest = view->current > rlm_i_slots(window) ? view->current - rlm_i_slots(window) : 0;
        if (view->oldest < rlm_i_load_seq_cst(&window->first)) view->oldest = rlm_i_load_seq_cst(&window->first);
        view->end = view->index + 1;
    } else {
        view->current = view->end = view->index;
        view->oldest = rlm_i_load_seq_cst(&window->oldest);
        if (view->oldest > view->index) view->oldest = view->index;
        if (view->index - view->oldest > window->cells) view->oldest = view->index - window->cells;
        while (view->oldest < view->end && rlm_i_leaves(window, view->oldest) <= view->at_ns) view->oldest++;
        view->late = view->oldest < view->end &&
                     (rlm_i_load_seq_cst(&rlm_i_cell_at(window, view->oldest)->time) > view->at_ns ||
                      rlm_i_load_seq_cst(&rlm_i_cell_at(window, view->end - 1)->time) > view->at_ns);
    }
    view->held = 0;
    view->unknown = false;
    for (; view->oldest < view->end; view->oldest++) {
        uint64_t cell = rlm_i_load_seq_cst(&rlm_i_cell_at(window, view->oldest)->total), mask = rlm_i_mask(window->bits);
        view->unknown = cell >> window->bits != view->oldest;
        view->held = view->unknown ? mask >> 1 : (view->total - cell) & mask;
        if (window->width_ns == 0 || cell >> window->bits <= view->oldest) break;
        view->held = 0; /* who wrote a later record over this one has read a time when it had left */
        view->unknown = false;
    }
    view->gross = view->held;
    back = rlm_i_given_back(window, view);
    view->held -= back < view->held ? back : view->held;
}

/* The clock was set back for good. What lies in its future is moved to first_ns, the first reading
   after, and has left by now; what was admitted since counts from now, where its own time is not known: in a slotted
   window, and in a cell that held a time of before. */
static void rlm_i_restamp(rlm_window *window, const rlm_i_view *view, uint64_t first_ns) {
    uint64_t i, slot, oldest, seen = view->seen, mask = rlm_i_mask(window->bits);
    uint64_t base = rlm_i_load_seq_cst(&window->total_then) & mask;
    if (window->width_ns == 0) {
        for (i = view->index > window->cells ? view->index - window->cells : 0; i < view->index; i++) {
            rlm_word *time = &rlm_i_cell_at(window, i)->time;
            uint64_t old = rlm_i_load_seq_cst(time), after = i + 1 < view->index ? rlm_i_since(window, view, i + 1) : 0;
            bool since = after < ((view->total - base) & mask); /* some of it */
            while (old > view->at_ns && !rlm_i_cas_seq_cst(time, &old, since ? view->at_ns : first_ns)) {}
        }
        return;
    }
    rlm_i_add(&window->restamped, 1); /* before the word: or a mark of before could name a record of after */
    slot = view->at_ns / window->width_ns;
    oldest = slot > rlm_i_slots(window) ? slot - rlm_i_slots(window) : 0;
    if (oldest < rlm_i_load_seq_cst(&window->first)) rlm_i_store_seq_cst(&window->first, oldest); /* before the word: or nothing counts */
    if (!rlm_i_cas_seq_cst(&window->word, &seen, slot << window->bits | view->total)) return;
    rlm_i_store_seq_cst(&window->credited, 0);
    for (i = 0; i < window->cells; i++) {
        rlm_i_store_seq_cst(&rlm_i_cell_at(window, i)->total, 0);
        rlm_i_store_seq_cst(&rlm_i_cell_at(window, i)->credit, 0);
    }
    for (i = oldest; i <= slot; i++)
        rlm_i_store_seq_cst(&rlm_i_cell_at(window, i)->total, i << window->bits | base);
}

/* How long a clock must have been behind to be believed: a thread may be late by as much as a second. */
static uint64_t rlm_i_believe_ns(const rlm_window *window) {
    return window->span_ns > RLM_SECOND_NS ? window->span_ns : RLM_SECOND_NS;
}

/* Notes that the clock may have been set back, or has come good, or makes the best of it: then the
   window is to be looked at again. */
static bool rlm_i_window_behind(rlm_window *window, const rlm_i_view *view) {
    uint64_t first = rlm_i_load_seq_cst(&window->behind);
    if (!view->late) {
        if (first != 0) rlm_i_store_seq_cst(&window->behind, 0);
        return false;
    }
    if (first == 0) rlm_i_store_seq_cst(&window->total_then, view->total);
    if (!rlm_i_set_back(&window->behind, first, view->at_ns, rlm_i_believe_ns(window))) return false;
    rlm_i_restamp(window, view, first - 1);
    rlm_i_store_seq_cst(&window->behind, 0);
    return true;
}

/* The wait for a window that must lose some of its records first. */
static uint64_t rlm_i_window_wait(rlm_window *window, const rlm_i_view *view, uint64_t n, uint64_t amount) {
    uint64_t i, at_ns = 0, held = view->held, gross = view->gross, back = rlm_i_given_back(window, view);
    for (i = view->oldest; i < view->end && (held + n > amount || gross + n > rlm_i_mask(window->bits)); i++) {
        uint64_t leaves_ns = rlm_i_leaves(window, i), rest = i + 1 < view->end ? rlm_i_since(window, view, i + 1) : 0;
        back -= back != 0 ? rlm_i_credit_of(window, view, i) : 0;
        held = rest - (back < rest ? back : rest);
        gross = rest;
        if (leaves_ns > at_ns) at_ns = leaves_ns;
    }
    return at_ns > view->at_ns ? at_ns - view->at_ns : 1;
}

RLM_I_DEF uint64_t rlm_i_window_plan(rlm_window *window, uint64_t n, bool force, uint64_t now_ns, rlm_i_step *step) {
    for (;;) {
        rlm_i_view view;
        uint64_t amount = rlm_i_load_seq_cst(&window->amount), mask = rlm_i_mask(window->bits), wait_ns, believed_ns;
        uint64_t longest_ns = window->span_ns + rlm_i_believe_ns(window) + window->width_ns; /* of a future that is none */
        if (n > amount && !force) return RLM_NEVER;
        rlm_i_look(window, now_ns, &view);
        if (rlm_i_window_behind(window, &view)) continue;
        step->word = &window->word;
        step->seen = step->next = view.seen;
        if (view.unknown && force) view.held = amount; /* a debt is taken all the same */
        if (view.held + n <= (force ? mask >> 1 : amount) && view.gross + n <= mask) {
            bool join = window->width_ns == 0 && view.index - view.oldest >= window->cells; /* no cell left */
            uint64_t index = window->width_ns != 0 || join ? view.current : view.index + 1;
            step->mark = window->width_ns != 0 ? rlm_i_era(window) | index : index - 1;
            step->oldest = view.oldest;
            if (n != 0) step->next = index << window->bits | ((view.total + n) & mask);
            step->used = view.held + n;
            return 0;
        }
        wait_ns = force ? RLM_NEVER : rlm_i_window_wait(window, &view, n, amount);
        believed_ns = rlm_i_load_seq_cst(&window->behind) - 1 + rlm_i_believe_ns(window);
        if (view.late && !force && believed_ns > view.at_ns && believed_ns - view.at_ns < wait_ns)
            wait_ns = believed_ns - view.at_ns;
        if (wait_ns > longest_ns && !force) wait_ns = longest_ns;
        if (rlm_i_load_seq_cst(&window->word) == view.seen) return wait_ns;
    }
}

/* Writes what must stand in the cells before the word of step is exchanged. */
RLM_I_DEF void rlm_i_window_record(rlm_window *window, const rlm_i_step *step, uint64_t now_ns) {
    uint64_t index = step->seen >> window->bits, next = step->next >> window->bits, i;
    uint64_t total = step->seen & rlm_i_mask(window->bits);
    if (window->width_ns == 0) {
        uint64_t at_ns = rlm_i_window_time(window, now_ns);
        if (next != index) rlm_i_install(&rlm_i_cell_at(window, index)->total, index, total, window->bits);
        rlm_i_raise(&rlm_i_cell_at(window, step->mark)->time, at_ns);
        rlm_i_raise(&window->oldest, step->oldest);
        return;
    }
    i = next > rlm_i_slots(window) && next - rlm_i_slots(window) > index ? next - rlm_i_slots(window) : index + 1;
    for (; i <= next; i++) rlm_i_install(&rlm_i_cell_at(window, i)->total, i, total, window->bits);
}

static uint64_t rlm_i_window_add(rlm_window *window, uint64_t n, bool force, uint64_t now_ns, uint64_t *mark) {
    rlm_i_step step;
    uint64_t wait_ns;
    do {
        wait_ns = rlm_i_window_plan(window, n, force, now_ns, &step);
        if (wait_ns != 0 || n == 0) break;
        rlm_i_window_record(window, &step, now_ns);
    } while (!rlm_i_cas_seq_cst(step.word, &step.seen, step.next));
    if (wait_ns == 0 && mark != NULL) *mark = step.mark;
    return wait_ns;
}

RLM_I_DEF uint64_t rlm_window_take(rlm_window *window, uint64_t n, uint64_t now_ns, uint64_t *mark) {
    return rlm_i_window_add(window, n, false, now_ns, mark);
}

RLM_I_DEF uint64_t rlm_window_peek(rlm_window *window, uint64_t n, uint64_t now_ns) {
    rlm_i_step step;
    return rlm_i_window_plan(window, n, false, now_ns, &step);
}

RLM_I_DEF int rlm_window_debit(rlm_window *window, uint64_t n, uint64_t now_ns) {
    if (window == NULL) return RLM_E_NULL;
    if (n > RLM_AMOUNT_MAX) return RLM_E_COST;
    return rlm_i_window_add(window, n, true, now_ns, NULL) == 0 ? RLM_OK : RLM_E_COST;
}

RLM_I_DEF int rlm_window_credit(rlm_window *window, uint64_t n, uint64_t mark) {
    rlm_word *word;
    uint64_t seen, next, mask;
    if (window == NULL) return RLM_E_NULL;
    if (n > RLM_AMOUNT_MAX) return RLM_E_COST;
    if ((mark ^ rlm_i_era(window)) >> (64 - window->bits) != 0) return RLM_OK; /* of before the clock was set back */
    mark &= rlm_i_mask(64 - window->bits);
    if (n == 0 || mark >= (rlm_i_load_seq_cst(&window->word) >> window->bits) + (window->width_ns != 0)) return RLM_OK;
    word = &rlm_i_cell_at(window, mark)->credit;
    mask = rlm_i_mask(window->bits);
    seen = rlm_i_load_seq_cst(word);
    do {
        uint64_t had = seen >> window->bits == mark ? seen & mask : 0;
        if (seen >> window->bits > mark) return RLM_OK; /* the cell belongs to a later record */
        next = mark << window->bits | (had + n < mask ? had + n : mask);
    } while (!rlm_i_cas_seq_cst(word, &seen, next));
    rlm_i_raise(&window->credited, mark + 1);
    return RLM_OK;
}

RLM_I_DEF int rlm_window_status(rlm_window *window, rlm_usage *usage, uint64_t now_ns) {
    rlm_i_view view;
    uint64_t leaves_ns = 0, i;
    if (window == NULL || usage == NULL) return RLM_E_NULL;
    do rlm_i_look(window, now_ns, &view);
    while (rlm_i_load_seq_cst(&window->word) != view.seen); /* records may have been written over meanwhile */
    usage->limit = rlm_i_load_seq_cst(&window->amount);
    usage->used = view.held;
    usage->remaining = (int64_t)usage->limit - (int64_t)usage->used;
    for (i = view.held != 0 ? view.oldest : view.end; i < view.end; i++) /* by a stale reading the newest does not leave last */
        if (rlm_i_leaves(window, i) > leaves_ns) leaves_ns = rlm_i_leaves(window, i);
    usage->reset_ns = leaves_ns > view.at_ns ? leaves_ns - view.at_ns : 0;
    return RLM_OK;
}

RLM_I_DEF size_t rlm_window_bytes(const rlm_limit *limit) {
    if (limit == NULL || rlm_i_check(limit, RLM_WINDOW) != RLM_OK) return 0;
    return sizeof(rlm_window) + (size_t)rlm_i_cells(limit) * sizeof(rlm_i_cell);
}

/* Splits a word between an index and an amount: `bits` for the amount if the index then lasts 64 years of
   units of unit_ns, less if not; 0 if it would not last one. */
static uint32_t rlm_i_split(uint64_t amount, uint64_t bits, uint64_t unit_ns) {
    uint64_t year = 365 * RLM_DAY_NS;
    while (bits > rlm_i_bit_length(amount) + 2 && (UINT64_C(1) << (64 - bits)) < 64 * year / unit_ns) bits--;
    return (UINT64_C(1) << (64 - bits)) < year / unit_ns ? 0 : (uint32_t)bits;
}

/* The head of an empty window. */
static int rlm_i_window_make(rlm_window *made, const rlm_limit *limit, uint64_t now_ns) {
    uint64_t slots;
    int status = rlm_i_check(limit, RLM_WINDOW);
    if (status != RLM_OK) return status;
    rlm_i_clear(made, sizeof *made);
    made->cells = rlm_i_cells(limit);
    made->amount = limit->amount;
    made->period_ns = limit->period_ns;
    made->guard_ns = limit->guard_ns;
    made->span_ns = limit->period_ns + limit->guard_ns;
    slots = rlm_i_slots(made);
    if (limit->amount > slots) made->width_ns = (made->span_ns - 1) / slots + 1;
    /* all bits that time leaves: what is taken and given back within a period adds to the total, too */
    made->bits = rlm_i_split(limit->amount, 56, made->width_ns != 0 ? made->width_ns : RLM_SECOND_NS / 2000);
    if (made->bits == 0) return RLM_E_SPAN;
    if (made->width_ns != 0) {
        uint64_t spare = UINT64_C(1) << (60 - made->bits); /* for a clock set back: a 16th of all slots, 3 weeks at least */
        made->first = now_ns / made->width_ns;
        if (made->first > spare) {
            made->first = spare;
            made->epoch_ns = now_ns - spare * made->width_ns;
        }
    }
    made->word = made->first << made->bits;
    return RLM_OK;
}

RLM_I_DEF int rlm_window_init(rlm_window *window, size_t bytes, const rlm_limit *limit, uint64_t now_ns) {
    rlm_window made;
    int status;
    if (window == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_window_make(&made, limit, now_ns)) != RLM_OK) return status;
    if (bytes < rlm_window_bytes(limit)) return RLM_E_MEMORY;
    rlm_i_clear(window, rlm_window_bytes(limit));
    *window = made;
    rlm_i_cell_at(window, made.first)->total = made.word;
    return RLM_OK;
}

RLM_I_DEF int rlm_window_reconfigure(rlm_window *window, const rlm_limit *limit) {
    int status;
    if (window == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_WINDOW)) != RLM_OK) return status;
    if (limit->period_ns != window->period_ns || limit->guard_ns != window->guard_ns) return RLM_E_PERIOD;
    if (window->width_ns == 0 ? limit->amount > rlm_i_slots(window) : limit->amount > rlm_i_mask(window->bits) >> 2)
        return RLM_E_CAPACITY;
    rlm_i_store_seq_cst(&window->amount, limit->amount);
    return RLM_OK;
}

/* -- concurrency -- */

RLM_I_DEF int rlm_concurrency_init(rlm_concurrency *concurrency, const rlm_limit *limit) {
    int status;
    if (concurrency == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_CONCURRENCY)) != RLM_OK) return status;
    rlm_i_clear(concurrency, sizeof *concurrency);
    concurrency->word = limit->amount << 32;
    return RLM_OK;
}

RLM_I_DEF int rlm_concurrency_reconfigure(rlm_concurrency *concurrency, const rlm_limit *limit) {
    uint64_t seen;
    int status;
    if (concurrency == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_CONCURRENCY)) != RLM_OK) return status;
    seen = rlm_i_load_seq_cst(&concurrency->word);
    while (!rlm_i_cas_seq_cst(&concurrency->word, &seen, limit->amount << 32 | (seen & 0xffffffffu))) {}
    return RLM_OK;
}

RLM_I_DEF int rlm_concurrency_status(const rlm_concurrency *concurrency, rlm_usage *usage) {
    uint64_t word;
    if (concurrency == NULL || usage == NULL) return RLM_E_NULL;
    word = rlm_i_load_seq_cst(&concurrency->word);
    usage->limit = word >> 32;
    usage->used = word & 0xffffffffu;
    usage->remaining = (int64_t)usage->limit - (int64_t)usage->used;
    usage->reset_ns = usage->used != 0 ? RLM_ON_RELEASE : 0;
    return RLM_OK;
}

/* -- calendar quota -- */

/* The month that a day since 1970 falls in, counted from January 1970, and the other way about.
   After Howard Hinnant, chrono-compatible low-level date algorithms; years begin in March. */
static uint64_t rlm_i_month_of_day(uint64_t day) {
    uint64_t z = day + 719468, era = z / 146097, of_era = z % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100), march = (5 * of_year + 2) / 153;
    return (year + era * 400) * 12 + march + 2 - UINT64_C(1970) * 12;
}

static uint64_t rlm_i_day_of_month(uint64_t month) {
    uint64_t m = month + UINT64_C(1970) * 12 - 2, year = m / 12, march = m % 12, of_era = year % 400;
    return year / 400 * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * march + 2) / 5 - 719468;
}

/* The wall clock in the quota's zone, ns since 1970; not before. */
static uint64_t rlm_i_wall(const rlm_calendar *calendar, uint64_t now_ns) {
    uint64_t wall = now_ns + rlm_i_load_seq_cst(&calendar->wall_offset_ns) + (uint64_t)calendar->utc_offset_ns;
    return wall >> 63 != 0 ? 0 : wall;
}

/* The period of a wall time, since 1970, and where it ends. */
static uint64_t rlm_i_period(const rlm_calendar *calendar, uint64_t wall_ns, uint64_t *end_ns) {
    uint64_t period;
    if (calendar->period_ns != RLM_MONTH) {
        period = wall_ns / calendar->period_ns;
        *end_ns = (period + 1) * calendar->period_ns;
    } else {
        period = rlm_i_month_of_day(wall_ns / RLM_DAY_NS);
        *end_ns = rlm_i_day_of_month(period + 1) * RLM_DAY_NS;
    }
    return period;
}

/* A period as the word holds it. */
static uint64_t rlm_i_period_index(const rlm_calendar *calendar, uint64_t period) {
    uint64_t top = rlm_i_mask(64 - calendar->bits), index = period < calendar->first ? 0 : period - calendar->first;
    return index < top ? index : top;
}

RLM_I_DEF uint64_t rlm_i_calendar_plan(rlm_calendar *calendar, uint64_t n, bool force, uint64_t now_ns, rlm_i_step *step) {
    uint64_t amount = rlm_i_load_seq_cst(&calendar->amount), wall_ns = rlm_i_wall(calendar, now_ns), end_ns;
    uint64_t index = rlm_i_period_index(calendar, rlm_i_period(calendar, wall_ns, &end_ns)), bits = calendar->bits;
    uint64_t seen = rlm_i_load_seq_cst(&calendar->word), stored = seen >> bits, used = seen & rlm_i_mask(bits);
    if (n > amount && !force) return RLM_NEVER;
    if (index + 1 < stored &&
        rlm_i_set_back(&calendar->behind, rlm_i_load_seq_cst(&calendar->behind), now_ns, RLM_MINUTE_NS)) {
        rlm_i_store_seq_cst(&calendar->behind, 0); /* set back by whole periods: this one, and as much used */
        if (rlm_i_cas_seq_cst(&calendar->word, &seen, index << bits | used)) seen = index << bits | used;
        stored = seen >> bits;
        used = seen & rlm_i_mask(bits);
    } else if (index + 1 >= stored && rlm_i_load_seq_cst(&calendar->behind) != 0) {
        rlm_i_store_seq_cst(&calendar->behind, 0);
    }
    if (index > stored) used = 0;
    if (index < stored) index = stored;
    step->word = &calendar->word;
    step->seen = step->next = seen;
    step->mark = index;
    if (used + n > (force ? rlm_i_mask(bits) : amount)) return force ? RLM_NEVER : end_ns - wall_ns;
    if (n != 0 && !force && end_ns - wall_ns <= calendar->guard_ns) return end_ns - wall_ns;
    if (n != 0) step->next = index << bits | (used + n);
    step->used = used + n;
    return 0;
}

static uint64_t rlm_i_calendar_add(rlm_calendar *calendar, uint64_t n, bool force, uint64_t now_ns, uint64_t *mark) {
    rlm_i_step step;
    uint64_t wait_ns;
    do {
        wait_ns = rlm_i_calendar_plan(calendar, n, force, now_ns, &step);
        if (wait_ns != 0 || n == 0) break;
    } while (!rlm_i_cas_seq_cst(step.word, &step.seen, step.next));
    if (wait_ns == 0 && mark != NULL) *mark = step.mark;
    return wait_ns;
}

RLM_I_DEF uint64_t rlm_calendar_take(rlm_calendar *calendar, uint64_t n, uint64_t now_ns, uint64_t *mark) {
    return rlm_i_calendar_add(calendar, n, false, now_ns, mark);
}

RLM_I_DEF uint64_t rlm_calendar_peek(rlm_calendar *calendar, uint64_t n, uint64_t now_ns) {
    rlm_i_step step;
    return rlm_i_calendar_plan(calendar, n, false, now_ns, &step);
}

RLM_I_DEF int rlm_calendar_debit(rlm_calendar *calendar, uint64_t n, uint64_t now_ns) {
    if (calendar == NULL) return RLM_E_NULL;
    if (n > RLM_AMOUNT_MAX) return RLM_E_COST;
    return rlm_i_calendar_add(calendar, n, true, now_ns, NULL) == 0 ? RLM_OK : RLM_E_COST;
}

RLM_I_DEF int rlm_calendar_credit(rlm_calendar *calendar, uint64_t n, uint64_t mark) {
    uint64_t seen, used;
    if (calendar == NULL) return RLM_E_NULL;
    if (n > RLM_AMOUNT_MAX) return RLM_E_COST;
    seen = rlm_i_load_seq_cst(&calendar->word);
    do {
        if (seen >> calendar->bits != mark) return RLM_OK;
        used = seen & rlm_i_mask(calendar->bits);
    } while (!rlm_i_cas_seq_cst(&calendar->word, &seen, seen - (n < used ? n : used)));
    return RLM_OK;
}

RLM_I_DEF int rlm_calendar_init(rlm_calendar *calendar, const rlm_limit *limit, uint64_t now_ns) {
    rlm_calendar made;
    uint64_t period, end_ns;
    int status;
    if (calendar == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_CALENDAR)) != RLM_OK) return status;
    rlm_i_clear(&made, sizeof made);
    made.wall_offset_ns = (uint64_t)limit->wall_offset_ns;
    made.utc_offset_ns = (int64_t)limit->utc_offset_s * (int64_t)RLM_SECOND_NS;
    made.amount = limit->amount;
    made.period_ns = limit->period_ns;
    made.guard_ns = limit->guard_ns;
    made.bits = rlm_i_split(limit->amount, rlm_i_bit_length(limit->amount) + 8, limit->period_ns == RLM_MONTH ? 28 * RLM_DAY_NS : limit->period_ns);
    if (made.bits == 0) return RLM_E_SPAN;
    period = rlm_i_period(&made, rlm_i_wall(&made, now_ns), &end_ns);
    made.first = rlm_i_mask(64 - made.bits) / 8; /* a clock may go back */
    made.first = period > made.first ? period - made.first : 0;
    made.word = (period - made.first) << made.bits;
    *calendar = made;
    return RLM_OK;
}

RLM_I_DEF int rlm_calendar_reconfigure(rlm_calendar *calendar, const rlm_limit *limit) {
    int status;
    if (calendar == NULL || limit == NULL) return RLM_E_NULL;
    if ((status = rlm_i_check(limit, RLM_CALENDAR)) != RLM_OK) return status;
    if (limit->period_ns != calendar->period_ns || limit->guard_ns != calendar->guard_ns ||
        (int64_t)limit->utc_offset_s * (int64_t)RLM_SECOND_NS != calendar->utc_offset_ns)
        return RLM_E_PERIOD;
    if (limit->amount > rlm_i_mask(calendar->bits) >> 1) return RLM_E_CAPACITY;
    rlm_i_store_seq_cst(&calendar->amount, limit->amount);
    return RLM_OK;
}

RLM_I_DEF int rlm_calendar_sync(rlm_calendar *calendar, uint64_t wall_ns, uint64_t now_ns) {
    if (calendar == NULL) return RLM_E_NULL;
    rlm_i_store_seq_cst(&calendar->wall_offset_ns, wall_ns - now_ns);
    return RLM_OK;
}

RLM_I_DEF int rlm_calendar_save(const rlm_calendar *calendar, rlm_calendar_saved *saved) {
    uint64_t word;
    if (calendar == NULL || saved == NULL) return RLM_E_NULL;
    word = rlm_i_load_seq_cst(&calendar->word);
    saved->period = calendar->first + (word >> calendar->bits);
    saved->used = word & rlm_i_mask(calendar->bits);
    return RLM_OK;
}

RLM_I_DEF int rlm_calendar_restore(rlm_calendar *calendar, const rlm_calendar_saved *saved, uint64_t now_ns) {
    uint64_t seen, next, end_ns, period, index, mask;
    if (calendar == NULL || saved == NULL) return RLM_E_NULL;
    mask = rlm_i_mask(calendar->bits);
    period = rlm_i_period(calendar, rlm_i_wall(calendar, now_ns), &end_ns);
    if (saved->used > mask >> 1) return RLM_E_COST;
    if (saved->period < period) return RLM_OK;
    index = rlm_i_period_index(calendar, saved->period);
    seen = rlm_i_load_seq_cst(&calendar->word);
    do {
        uint64_t used = (seen & mask) + saved->used, stored = seen >> calendar->bits;
        if (used > mask) return RLM_E_COST;
        next = (index > stored ? index : stored) << calendar->bits | used;
    } while (!rlm_i_cas_seq_cst(&calendar->word, &seen, next));
    return RLM_OK;
}

RLM_I_DEF int rlm_calendar_status(rlm_calendar *calendar, rlm_usage *usage, uint64_t now_ns) {
    uint64_t wall_ns, end_ns, index, word;
    if (calendar == NULL || usage == NULL) return RLM_E_NULL;
    wall_ns = rlm_i_wall(calendar, now_ns);
    index = rlm_i_period_index(calendar, rlm_i_period(calendar, wall_ns, &end_ns));
    word = rlm_i_load_seq_cst(&calendar->word);
    usage->limit = rlm_i_load_seq_cst(&calendar->amount);
    usage->used = index > word >> calendar->bits ? 0 : word & rlm_i_mask(calendar->bits);
    usage->remaining = (int64_t)usage->limit - (int64_t)usage->used;
    usage->reset_ns = usage->used != 0 ? end_ns - wall_ns : 0;
    return RLM_OK;
}

/* -- limiter -- */

#define RLM_I_PACE_MAX (UINT64_C(1) << 30) /* a minute: as good as no limit */

/* A limit as it is made: one that is not there yet admits everything. A bucket to be learned has a burst that
   is hardly refilled, so that it counts what was used in all. */
static rlm_limit rlm_i_begin(const rlm_limit *given) {
    rlm_limit limit = *given;
    if (given->follow == RLM_LEARN && given->kind == RLM_BUCKET) {
        bool few = given->meter == RLM_REQUESTS;
        limit = rlm_per(given->meter, few ? 1 : 1024, RLM_MINUTE_NS);
        limit.burst = few ? UINT64_C(1) << 20 : UINT64_C(1) << 30;
        limit.follow = RLM_LEARN;
    }
    if (given->follow == RLM_RAMP) {
        limit = rlm_per(given->meter, RLM_I_PACE_MAX, RLM_MINUTE_NS);
        limit.follow = RLM_RAMP;
    }
    if (given->follow == RLM_ADAPT && limit.amount > given->burst) limit.amount = given->burst;
    if (given->follow == RLM_ADAPT && limit.amount < given->least) limit.amount = given->least;
    return limit;
}

static void rlm_i_heard_init(rlm_i_heard *heard, const rlm_limit *given, uint64_t now_ns) {
    rlm_i_clear(heard, sizeof *heard);
    heard->first = *given;
    heard->amount = given->amount;
    heard->period_ns = given->period_ns;
    heard->burst = given->burst;
    heard->guard_ns = given->guard_ns;
    heard->round_ns = now_ns;
    heard->period_most_ns = RLM_UNSAID;
}

/* Whether the limit can follow the server as it says. */
static int rlm_i_check_follow(const rlm_limit *limit) {
    bool bucket = limit->kind == RLM_BUCKET, concurrency = limit->kind == RLM_CONCURRENCY;
    if (limit->follow >= RLM_I_FOLLOWS || (limit->follow == RLM_LEARN && concurrency)) return RLM_E_FOLLOW;
    if (limit->follow == RLM_RAMP && (!bucket || limit->meter != RLM_REQUESTS)) return RLM_E_FOLLOW;
    if (limit->follow == RLM_ADAPT && (!concurrency || limit->least == 0 || limit->least > limit->amount)) return RLM_E_FOLLOW;
    return RLM_OK;
}

/* A limit of any kind, made to see whether it can be. */
typedef union rlm_i_trial {
    rlm_bucket bucket;
    rlm_window window;
    rlm_concurrency concurrency;
    rlm_calendar calendar;
} rlm_i_trial;

static int rlm_i_try_limit(rlm_i_trial *trial, const rlm_limit *limit, uint64_t now_ns) {
    switch (limit->kind) {
    case RLM_BUCKET: return rlm_bucket_init(&trial->bucket, limit, now_ns);
    case RLM_WINDOW: return rlm_i_window_make(&trial->window, limit, now_ns);
    case RLM_CONCURRENCY: return rlm_concurrency_init(&trial->concurrency, limit);
    case RLM_CALENDAR: return rlm_calendar_init(&trial->calendar, limit, now_ns);
    default: return RLM_E_KIND;
    }
}

RLM_I_DEF int rlm_limiter_init(rlm_limiter *limiter, const rlm_limit *limits, size_t count, uint64_t now_ns) {
    size_t i, words = 0, bytes;
    int status = RLM_OK;
    if (limiter == NULL || limits == NULL) return RLM_E_NULL;
    if (count == 0 || count > RLM_LIMITS_MAX) return RLM_E_LIMITS;
    for (i = 0; i < count; i++) { /* first looks only, so that an error changes nothing */
        rlm_i_trial trial;
        if ((status = rlm_i_check_follow(&limits[i])) != RLM_OK) return status | (int)(i + 1) << 8;
        if (limits[i].kind == RLM_WINDOW && RLM_WINDOW_CELLS == 0) return RLM_E_CELLS | (int)(i + 1) << 8;
        if (limits[i].kind == RLM_WINDOW) words += rlm_window_bytes(&limits[i]) / sizeof(uint64_t);
        status = rlm_i_try_limit(&trial, &limits[i], now_ns);
        if (status == RLM_OK && words > sizeof limiter->memory / sizeof(uint64_t)) status = RLM_E_CELLS;
        if (status != RLM_OK) return status | (int)(i + 1) << 8;
    }
    for (i = 0, words = 0; i < count; i++) {
        rlm_i_entry *entry = &limiter->entry[i];
        rlm_limit limit = rlm_i_begin(&limits[i]);
        entry->kind = limit.kind;
        entry->meter = limit.meter;
        entry->window = words;
        entry->paused_ns = entry->corrected = 0;
        rlm_i_heard_init(&limiter->heard[i], &limits[i], now_ns);
        switch (entry->kind) {
        case RLM_BUCKET: (void)rlm_bucket_init(&entry->as.bucket, &limit, now_ns); break;
        case RLM_CONCURRENCY: (void)rlm_concurrency_init(&entry->as.concurrency, &limit); break;
        case RLM_CALENDAR: (void)rlm_calendar_init(&entry->as.calendar, &limit, now_ns); break;
        default:
            if (RLM_WINDOW_CELLS == 0) break;
            bytes = rlm_window_bytes(&limit);
            (void)rlm_window_init(rlm_i_window(limiter, entry), bytes, &limit, now_ns);
            words += bytes / sizeof(uint64_t);
        }
    }
    for (i = 0; i < RLM_I_RECENT; i++) limiter->recent[i] = 0;
    limiter->epoch_ns = now_ns > UINT64_C(1) << 56 ? now_ns - (UINT64_C(1) << 56) : 0;
    limiter->began_ns = now_ns;
    limiter->count = count;
    limiter->guarded = 0;
    limiter->probe = limiter->learning = limiter->delay_ns = limiter->refusals = limiter->refused_ns = 0;
    limiter->former = limiter->former_ns = 0;
    for (i = 0; i < count; i++) {
        limiter->guarded |= limits[i].kind == RLM_CALENDAR && limits[i].guard_ns != 0;
        if (limits[i].follow == RLM_FOLLOW || limits[i].follow == RLM_LEARN) limiter->probe = UINT64_C(1) << 32;
    }
    return RLM_OK;
}

/* How much longer a calendar's guard holds at a time. Changes nothing: the time is not one that a clock has shown. */
static uint64_t rlm_i_calendar_guarded(const rlm_calendar *calendar, uint64_t at_ns) {
    uint64_t wall_ns = rlm_i_wall(calendar, at_ns), end_ns;
    (void)rlm_i_period(calendar, wall_ns, &end_ns);
    return end_ns - wall_ns <= calendar->guard_ns ? end_ns - wall_ns : 0;
}

RLM_I_DEF uint64_t rlm_i_after_guards(rlm_limiter *limiter, const rlm_cost *cost, uint64_t wait_ns, uint64_t now_ns) {
    rlm_i_amounts amounts;
    size_t i;
    int round;
    rlm_i_amounts_of(&amounts, cost);
    for (round = 0; round < RLM_LIMITS_MAX; round++) { /* one boundary may lie in another's guard */
        uint64_t more_ns = 0;
        if (wait_ns >= RLM_ON_RELEASE) return wait_ns;
        for (i = 0; i < limiter->count; i++) {
            const rlm_i_entry *entry = &limiter->entry[i];
            uint64_t this_ns = entry->kind != RLM_CALENDAR || amounts.of[entry->meter] == 0 ? 0
                : rlm_i_calendar_guarded(&entry->as.calendar, now_ns + wait_ns);
            if (this_ns > more_ns) more_ns = this_ns;
        }
        if (more_ns == 0) break;
        wait_ns += more_ns;
    }
    return wait_ns;
}

RLM_I_DEF void rlm_i_undo(rlm_limiter *limiter, size_t index, uint64_t n, uint64_t mark, uint64_t now_ns) {
    rlm_i_entry *entry = &limiter->entry[index];
    if (n == 0) return;
    switch (entry->kind) {
    case RLM_BUCKET: (void)rlm_bucket_credit(&entry->as.bucket, n, now_ns); break;
    case RLM_CONCURRENCY: (void)rlm_concurrency_release(&entry->as.concurrency, n); break;
    case RLM_CALENDAR: (void)rlm_calendar_credit(&entry->as.calendar, n, mark); break;
    default: (void)rlm_window_credit(rlm_i_window(limiter, entry), n, mark);
    }
}

/* Debits n whether it is there or not; *mark is the way back. False: it does not fit. */
static bool rlm_i_force(rlm_limiter *limiter, size_t index, uint64_t n, uint64_t now_ns, uint64_t *mark) {
    rlm_i_entry *entry = &limiter->entry[index];
    switch (entry->kind) {
    case RLM_BUCKET: return rlm_bucket_debit(&entry->as.bucket, n, now_ns) == RLM_OK;
    case RLM_CALENDAR: return rlm_i_calendar_add(&entry->as.calendar, n, true, now_ns, mark) == 0;
    default: return rlm_i_window_add(rlm_i_window(limiter, entry), n, true, now_ns, mark) == 0;
    }
}

RLM_I_DEF void rlm_i_count(rlm_limiter *limiter, uint64_t requests, uint64_t now_ns) {
    uint64_t slot = now_ns < limiter->epoch_ns ? 0 : (now_ns - limiter->epoch_ns) / (2 * RLM_SECOND_NS), seen, next;
    rlm_word *word = &limiter->recent[slot % RLM_I_RECENT];
    seen = rlm_i_load_seq_cst(word);
    do {
        if (seen >> 32 > slot) return;
        next = seen >> 32 == slot ? seen & UINT32_MAX : 0;
        next = slot << 32 | (next + requests < UINT32_MAX ? next + requests : UINT32_MAX);
    } while (!rlm_i_cas_seq_cst(word, &seen, next));
}

RLM_I_DEF uint64_t rlm_recent(const rlm_limiter *limiter, uint64_t now_ns) {
    uint64_t slot = now_ns < limiter->epoch_ns ? 0 : (now_ns - limiter->epoch_ns) / (2 * RLM_SECOND_NS), sum = 0;
    int i;
    for (i = 0; i < RLM_I_RECENT; i++) {
        uint64_t seen = rlm_i_load_seq_cst(&limiter->recent[i]);
        if (seen >> 32 <= slot && seen >> 32 >= (slot > 30 ? slot - 30 : 0)) sum += seen & 0xffffffffu;
    }
    return sum;
}

/* The first limit of which an answer is waited for in the beginning. */
static int rlm_i_awaited(const rlm_limiter *limiter) {
    int i;
    for (i = 0; i < (int)limiter->count; i++)
        if (limiter->heard[i].first.follow == RLM_LEARN || limiter->heard[i].first.follow == RLM_FOLLOW) return i;
    return -1;
}

RLM_I_DEF uint64_t rlm_check(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, int *binding) {
    rlm_i_amounts amounts;
    uint64_t wait_ns = 0, probe;
    size_t i;
    bool peek = rlm_i_cost_is_zero(cost);
    if (binding != NULL) *binding = -1;
    if (limiter->count == 0 || !rlm_i_cost_is_sane(cost)) return RLM_NEVER;
    rlm_i_amounts_of(&amounts, cost);
    for (i = 0; i < limiter->count; i++) {
        rlm_i_entry *entry = &limiter->entry[i];
        rlm_i_step step;
        uint64_t n = entry->kind == RLM_CONCURRENCY ? !peek : amounts.of[entry->meter];
        uint64_t this_ns = rlm_i_ask(limiter, i, n, now_ns, &step);
        if (this_ns <= wait_ns) continue;
        wait_ns = this_ns;
        if (binding != NULL) *binding = (int)i;
    }
    probe = rlm_i_load_seq_cst(&limiter->probe);
    if (probe != 0 && (probe & UINT32_MAX) >= probe >> 32 && wait_ns < RLM_ON_RELEASE && !peek) {
        if (binding != NULL) *binding = rlm_i_awaited(limiter);
        return RLM_ON_RELEASE;
    }
    return wait_ns != 0 && limiter->guarded != 0 ? rlm_i_after_guards(limiter, cost, wait_ns, now_ns) : wait_ns;
}

/* One that was let out in the beginning has come back. */
static void rlm_i_probe_ended(rlm_limiter *limiter) {
    uint64_t seen = rlm_i_load_seq_cst(&limiter->probe);
    while ((seen & UINT32_MAX) != 0 && !rlm_i_cas_seq_cst(&limiter->probe, &seen, seen - 1)) {}
}

/* Ends a permit: debits first, as only they can fail; then credits and the connection. */
static int rlm_i_end(rlm_limiter *limiter, rlm_permit *permit, const rlm_cost *actual, uint64_t now_ns) {
    rlm_i_amounts had, used;
    uint64_t out = RLM_I_PERMIT_OUT, mark[RLM_LIMITS_MAX];
    size_t i, count = (size_t)limiter->count;
    if (!rlm_i_cost_is_sane(actual)) return RLM_E_COST;
    if (!rlm_i_cas_seq_cst(&permit->state, &out, 0)) return RLM_E_PERMIT;
    rlm_i_amounts_of(&had, &permit->cost);
    rlm_i_amounts_of(&used, actual);
    for (i = 0; i < count; i++) {
        uint32_t meter = limiter->entry[i].meter;
        if (limiter->entry[i].kind == RLM_CONCURRENCY || used.of[meter] <= had.of[meter]) continue;
        mark[i] = 0;
        if (RLM_I_LIKELY(rlm_i_force(limiter, i, used.of[meter] - had.of[meter], now_ns, &mark[i]))) continue;
        while (i-- > 0) {
            meter = limiter->entry[i].meter;
            if (limiter->entry[i].kind != RLM_CONCURRENCY && used.of[meter] > had.of[meter])
                rlm_i_undo(limiter, i, used.of[meter] - had.of[meter], mark[i], now_ns);
        }
        rlm_i_store_seq_cst(&permit->state, RLM_I_PERMIT_OUT);
        return RLM_E_COST;
    }
    for (i = 0; i < count; i++) {
        uint32_t meter = limiter->entry[i].meter;
        if (limiter->entry[i].kind == RLM_CONCURRENCY) rlm_i_undo(limiter, i, 1, 0, now_ns);
        else if (used.of[meter] < had.of[meter])
            rlm_i_undo(limiter, i, had.of[meter] - used.of[meter], permit->mark[i], now_ns);
    }
    if (rlm_i_load_seq_cst(&limiter->probe) != 0) rlm_i_probe_ended(limiter);
    return RLM_OK;
}

RLM_I_DEF int rlm_settle(rlm_limiter *limiter, rlm_permit *permit, const rlm_cost *actual, uint64_t now_ns) {
    if (limiter == NULL || permit == NULL || actual == NULL) return RLM_E_NULL;
    return rlm_i_end(limiter, permit, actual, now_ns);
}

RLM_I_DEF int rlm_cancel(rlm_limiter *limiter, rlm_permit *permit, uint64_t now_ns) {
    rlm_cost nothing = {0, 0, 0, 0, 0};
    if (limiter == NULL || permit == NULL) return RLM_E_NULL;
    return rlm_i_end(limiter, permit, &nothing, now_ns);
}

/* Gives a limit numbers that were not configured. */
static int rlm_i_set(rlm_limiter *limiter, size_t index, const rlm_limit *limit, uint64_t now_ns) {
    rlm_i_entry *entry = &limiter->entry[index];
    switch (entry->kind) {
    case RLM_BUCKET: return rlm_bucket_reconfigure(&entry->as.bucket, limit, now_ns);
    case RLM_CONCURRENCY: return rlm_concurrency_reconfigure(&entry->as.concurrency, limit);
    case RLM_CALENDAR: return rlm_calendar_reconfigure(&entry->as.calendar, limit);
    default: return rlm_window_reconfigure(rlm_i_window(limiter, entry), limit);
    }
}

/* What else is kept of a limit as configured: a ramp and an adaptive cap move by it. */
static void rlm_i_configured(rlm_limiter *limiter, size_t index, const rlm_limit *limit) {
    rlm_i_heard *heard = &limiter->heard[index];
    rlm_i_store_seq_cst(&heard->amount, limit->amount);
    rlm_i_store_seq_cst(&heard->period_ns, limit->period_ns);
    rlm_i_store_seq_cst(&heard->burst, limit->burst);
    rlm_i_store_seq_cst(&heard->guard_ns, limit->guard_ns);
    if (heard->first.follow <= RLM_LEARN) rlm_i_store_seq_cst(&heard->known, heard->first.follow == RLM_LEARN);
}

RLM_I_DEF int rlm_reconfigure(rlm_limiter *limiter, size_t index, const rlm_limit *limit, uint64_t now_ns) {
    rlm_limit cap;
    uint32_t follow;
    int status;
    if (limiter == NULL || limit == NULL) return RLM_E_NULL;
    if (index >= limiter->count) return RLM_E_INDEX;
    if (limit->kind != limiter->entry[index].kind) return RLM_E_KIND;
    if (limit->meter != limiter->entry[index].meter) return RLM_E_METER;
    follow = limiter->heard[index].first.follow;
    status = rlm_i_check(limit, limit->kind);
    cap = *limit;
    if (follow == RLM_ADAPT && status == RLM_OK && limit->amount >= limiter->heard[index].first.least) {
        cap.amount = rlm_i_load_seq_cst(&limiter->entry[index].as.concurrency.word) >> 32;
        if (cap.amount > limit->amount) cap.amount = limit->amount;
    } else if (follow == RLM_ADAPT && status == RLM_OK) {
        return RLM_E_FOLLOW;
    }
    if (follow != RLM_RAMP && status == RLM_OK) status = rlm_i_set(limiter, index, &cap, now_ns);
    if (status == RLM_OK) rlm_i_configured(limiter, index, limit);
    return status;
}

RLM_I_DEF int rlm_status(rlm_limiter *limiter, size_t index, rlm_usage *usage, uint64_t now_ns) {
    rlm_i_entry *entry;
    if (limiter == NULL || usage == NULL) return RLM_E_NULL;
    if (index >= limiter->count) return RLM_E_INDEX;
    entry = &limiter->entry[index];
    switch (entry->kind) {
    case RLM_BUCKET: return rlm_bucket_status(&entry->as.bucket, usage, now_ns);
    case RLM_CONCURRENCY: return rlm_concurrency_status(&entry->as.concurrency, usage);
    case RLM_CALENDAR: return rlm_calendar_status(&entry->as.calendar, usage, now_ns);
    default: return rlm_window_status(rlm_i_window(limiter, entry), usage, now_ns);
    }
}

RLM_I_DEF rlm_calendar *rlm_limiter_calendar(rlm_limiter *limiter, size_t index) {
    if (limiter == NULL || index >= limiter->count || limiter->entry[index].kind != RLM_CALENDAR) return NULL;
    return &limiter->entry[index].as.calendar;
}

/* -- feedback -- */

/* The limit at index as configured. */
static rlm_limit rlm_i_given(const rlm_limiter *limiter, size_t index) {
    const rlm_i_heard *heard = &limiter->heard[index];
    rlm_limit limit = heard->first;
    limit.amount = rlm_i_load_seq_cst(&heard->amount);
    limit.period_ns = rlm_i_load_seq_cst(&heard->period_ns);
    limit.burst = rlm_i_load_seq_cst(&heard->burst);
    limit.guard_ns = rlm_i_load_seq_cst(&heard->guard_ns);
    return limit;
}

/* Whether a limit is to be learned, and was not yet. */
static bool rlm_i_is_unknown(const rlm_limiter *limiter, size_t index) {
    return limiter->heard[index].first.follow == RLM_LEARN && rlm_i_load_seq_cst(&limiter->heard[index].known) == 0;
}

/* The limit at index as it is. */
static rlm_limit rlm_i_limit_now(rlm_limiter *limiter, size_t index) {
    rlm_i_entry *entry = &limiter->entry[index];
    rlm_limit limit = rlm_i_given(limiter, index), in_force;
    uint64_t seen;
    switch (entry->kind) {
    case RLM_BUCKET:
        do {
            seen = rlm_i_load_seq_cst(&entry->as.bucket.word);
            in_force = rlm_i_limit_of(&entry->as.bucket.rate[seen & 1]);
        } while (((rlm_i_load_seq_cst(&entry->as.bucket.word) ^ seen) & 3) != 0);
        limit.amount = in_force.amount;
        limit.period_ns = in_force.period_ns;
        limit.burst = in_force.burst;
        limit.guard_ns = in_force.guard_ns;
        break;
    case RLM_CONCURRENCY: limit.amount = rlm_i_load_seq_cst(&entry->as.concurrency.word) >> 32; break;
    case RLM_CALENDAR: limit.amount = rlm_i_load_seq_cst(&entry->as.calendar.amount); break;
    default: limit.amount = rlm_i_load_seq_cst(&rlm_i_window(limiter, entry)->amount);
    }
    return limit;
}

RLM_I_DEF int rlm_in_force(rlm_limiter *limiter, size_t index, rlm_limit *limit) {
    bool unknown;
    if (limiter == NULL || limit == NULL) return RLM_E_NULL;
    if (index >= limiter->count) return RLM_E_INDEX;
    unknown = rlm_i_is_unknown(limiter, index) ||
              (limiter->heard[index].first.follow == RLM_RAMP && rlm_i_load_seq_cst(&limiter->heard[index].pace_ns) == 0);
    *limit = unknown ? rlm_i_given(limiter, index) : rlm_i_limit_now(limiter, index);
    return unknown ? RLM_E_UNKNOWN : RLM_OK;
}

/* A pause with more of it left than it ever had is the fault of a clock that was set back: it is over. */
RLM_I_DEF uint64_t rlm_i_paused(rlm_limiter *limiter, size_t index, uint64_t wait_ns, uint64_t now_ns) {
    uint64_t until_ns = rlm_i_load_seq_cst(&limiter->entry[index].paused_ns);
    uint64_t longest_ns = rlm_i_load_seq_cst(&limiter->heard[index].pause_ns) + RLM_SECOND_NS;
    if (until_ns <= now_ns || until_ns - now_ns > longest_ns || until_ns - now_ns <= wait_ns) return wait_ns;
    return until_ns - now_ns;
}

/* A pause in force becomes no shorter; one that is over, or the fault of a clock since set back, counts no more. */
static void rlm_i_pause(rlm_limiter *limiter, size_t index, uint64_t wait_ns, uint64_t now_ns) {
    rlm_word *paused = &limiter->entry[index].paused_ns, *length = &limiter->heard[index].pause_ns;
    uint64_t until_ns = rlm_i_load_seq_cst(paused), next_ns = now_ns < UINT64_MAX - wait_ns ? now_ns + wait_ns : UINT64_MAX;
    if (until_ns <= now_ns || until_ns - now_ns > rlm_i_load_seq_cst(length) + RLM_SECOND_NS) {
        rlm_i_store_seq_cst(length, wait_ns);
        if (rlm_i_cas_seq_cst(paused, &until_ns, next_ns)) return;
    }
    rlm_i_raise(length, wait_ns);
    rlm_i_raise(paused, next_ns);
}

RLM_I_DEF int rlm_pause(rlm_limiter *limiter, size_t index, uint64_t wait_ns, uint64_t now_ns) {
    size_t i;
    if (limiter == NULL) return RLM_E_NULL;
    if (index >= limiter->count && index != RLM_ALL) return RLM_E_INDEX;
    if (wait_ns > UINT64_C(1) << 55) return RLM_E_PERIOD;
    for (i = 0; i < limiter->count; i++) {
        if (i != index && index != RLM_ALL) continue;
        if (wait_ns == 0) rlm_i_store_seq_cst(&limiter->entry[i].paused_ns, 0);
        else rlm_i_pause(limiter, i, wait_ns, now_ns);
    }
    return RLM_OK;
}

RLM_I_DEF int rlm_debit(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns) {
    rlm_i_amounts amounts;
    uint64_t mark[RLM_LIMITS_MAX];
    size_t i;
    if (limiter == NULL || cost == NULL) return RLM_E_NULL;
    if (!rlm_i_cost_is_sane(cost)) return RLM_E_COST;
    rlm_i_amounts_of(&amounts, cost);
    for (i = 0; i < limiter->count; i++) {
        uint64_t n = limiter->entry[i].kind == RLM_CONCURRENCY ? 0 : amounts.of[limiter->entry[i].meter];
        mark[i] = 0;
        if (n == 0 || rlm_i_force(limiter, i, n, now_ns, &mark[i])) continue;
        while (i-- > 0)
            if (limiter->entry[i].kind != RLM_CONCURRENCY)
                rlm_i_undo(limiter, i, amounts.of[limiter->entry[i].meter], mark[i], now_ns);
        return RLM_E_COST;
    }
    return RLM_OK;
}

/* Before anything was observed few are out. */
RLM_I_DEF uint64_t rlm_i_probe(rlm_limiter *limiter, const rlm_cost *cost, uint64_t now_ns, rlm_permit *permit) {
    uint64_t seen = rlm_i_load_seq_cst(&limiter->probe), wait_ns;
    if (rlm_i_cost_is_zero(cost)) return rlm_i_acquire(limiter, cost, now_ns, permit);
    for (;;) {
        if (seen == 0) return rlm_i_acquire(limiter, cost, now_ns, permit);
        if ((seen & UINT32_MAX) < seen >> 32) {
            if (rlm_i_cas_seq_cst(&limiter->probe, &seen, seen + 1)) break;
            continue;
        }
        wait_ns = rlm_check(limiter, cost, now_ns, NULL);
        if (wait_ns == RLM_NEVER) return wait_ns;
        if (rlm_i_load_seq_cst(&limiter->probe) == seen) return RLM_ON_RELEASE;
        seen = rlm_i_load_seq_cst(&limiter->probe);
    }
    wait_ns = rlm_i_acquire(limiter, cost, now_ns, permit);
    if (wait_ns != 0) rlm_i_probe_ended(limiter);
    return wait_ns;
}

/* -- feedback: which limit a reading is of -- */

static bool rlm_i_near(uint64_t a, uint64_t b) {
    uint64_t apart = a > b ? a - b : b - a;
    return apart <= (a > b ? a : b) / 10;
}

static bool rlm_i_is_exact(const rlm_reading *reading) {
    return reading->period_least_ns != 0 && reading->period_least_ns == reading->period_most_ns;
}

/* How well a reading fits a limit: 0, not at all, to 5. */
static int rlm_i_fit(rlm_limiter *limiter, size_t index, const rlm_reading *reading) {
    const rlm_limit *given = &limiter->heard[index].first;
    rlm_limit limit;
    uint64_t least = reading->period_least_ns, most = reading->period_most_ns, period;
    bool moves = given->kind == RLM_BUCKET && (given->follow == RLM_LEARN || given->follow == RLM_FOLLOW), shrinks;
    if (given->kind == RLM_CONCURRENCY || given->follow == RLM_RAMP || given->meter != reading->meter) return 0;
    if (rlm_i_is_unknown(limiter, index)) return 1;
    limit = rlm_i_limit_now(limiter, index);
    period = limit.period_ns == RLM_MONTH ? 30 * RLM_DAY_NS : limit.period_ns;
    if (rlm_i_is_exact(reading)) return rlm_i_near(period, least) ? 5 : 0;
    if (given->kind == RLM_BUCKET && (least != 0 || most != RLM_UNSAID)) { /* the figures are those of a bucket */
        if (period + period / 10 >= least && period - period / 10 <= most) return 4;
        shrinks = given->follow == RLM_SHRINK && most < rlm_i_load_seq_cst(&limiter->heard[index].period_ns);
        return limit.amount == reading->limit ? 2 : moves || shrinks ? 1 : 0;
    }
    if (rlm_i_near(period, reading->period_ns)) return 3;
    if (limit.amount == reading->limit) return 2;
    return reading->period_ns == 0 ? 1 : 0;
}

/* The index of the limit that a reading fits best, or count. */
static size_t rlm_i_limit_read(rlm_limiter *limiter, const rlm_reading *reading) {
    size_t i, best = (size_t)limiter->count;
    int fit, best_fit = 0;
    for (i = 0; i < limiter->count; i++) {
        fit = rlm_i_fit(limiter, i, reading);
        if (fit <= best_fit) continue;
        best = i;
        best_fit = fit;
    }
    return best;
}

/* -- feedback: what remains -- */

/* What remains at least. */
static uint64_t rlm_i_remaining(const rlm_reading *reading) {
    return reading->remaining > reading->rounding ? reading->remaining - reading->rounding : 0;
}

/* How far ahead of now TAT should be if so much remains, with the guard in hand. */
static uint64_t rlm_i_ahead_if(const rlm_i_rate *rate, uint64_t remaining, uint64_t less) {
    uint64_t burst = rlm_i_load_seq_cst(&rate->burst), token = rlm_i_load_seq_cst(&rate->token);
    uint64_t lag = rlm_i_load_seq_cst(&rate->lag), short_of, over;
    if (remaining < burst + less) {
        short_of = burst + less - remaining;
        if (rlm_i_mul_high(short_of, token) != 0 || short_of * token > UINT64_C(1) << 60) return UINT64_C(1) << 60;
        return short_of * token + lag;
    }
    over = remaining - burst - less;
    return rlm_i_mul_high(over, token) != 0 || over * token > lag ? 0 : lag - over * token;
}

/* Moves TAT on to need ticks ahead of now, if it is less; nothing if the bucket has another rate by now.
   Returns by how much. */
static uint64_t rlm_i_bucket_hold(rlm_bucket *bucket, uint64_t generation, uint64_t need, uint64_t now_ns) {
    uint64_t seen, next, ticks, ahead;
    do {
        rlm_i_rate *rate;
        seen = rlm_i_bucket_word(bucket, now_ns);
        rate = &bucket->rate[seen & 1];
        ticks = rlm_i_ticks(rate, now_ns);
        ahead = seen >> 2 > ticks ? (seen >> 2) - ticks : 0;
        next = ticks + need;
        if (((seen ^ generation) & 3) != 0 || ahead >= need || next >> 62 != 0) return 0;
        rlm_i_owe(rate, seen >> 2, need - ahead, next, ticks);
    } while (!rlm_i_cas_seq_cst(&bucket->word, &seen, next << 2 | (seen & 3)));
    return need - ahead;
}

/* Moves TAT on by more, from then if it lies before that, unless it has passed even so. Returns by how much. */
static uint64_t rlm_i_bucket_push(rlm_bucket *bucket, uint64_t generation, uint64_t more, uint64_t then, uint64_t now_ns) {
    uint64_t seen, next, ticks;
    do {
        rlm_i_rate *rate;
        seen = rlm_i_bucket_word(bucket, now_ns);
        rate = &bucket->rate[seen & 1];
        ticks = rlm_i_ticks(rate, now_ns);
        next = (seen >> 2 > then ? seen >> 2 : then) + more;
        if (((seen ^ generation) & 3) != 0 || more == 0 || next <= ticks || next >> 62 != 0) return 0;
        rlm_i_owe(rate, seen >> 2, next - (seen >> 2 > ticks ? seen >> 2 : ticks), next, ticks);
    } while (!rlm_i_cas_seq_cst(&bucket->word, &seen, next << 2 | (seen & 3)));
    return more;
}

/* Brings TAT nearer, to need ticks ahead, where it is further. */
static void rlm_i_bucket_ease(rlm_bucket *bucket, uint64_t need, uint64_t now_ns) {
    uint64_t seen, ticks;
    do {
        seen = rlm_i_bucket_word(bucket, now_ns);
        ticks = rlm_i_ticks(&bucket->rate[seen & 1], now_ns);
        if (seen >> 2 <= ticks + need) return;
    } while (!rlm_i_cas_seq_cst(&bucket->word, &seen, (ticks + need) << 2 | (seen & 3)));
}

/* What was used of the limit when permit was admitted, as it would be with all corrections made since. */
static uint64_t rlm_i_used_then(const rlm_limiter *limiter, size_t index, const rlm_permit *permit) {
    return permit->used[index] + rlm_i_load_seq_cst(&limiter->entry[index].corrected);
}

/* What others took between a request and its answer they may take again before the next: so much is kept in
   hand, up to most. Takes in what one answer showed; returns by how much more is to be kept. */
static uint64_t rlm_i_surprised(rlm_limiter *limiter, size_t index, uint64_t more, uint64_t most, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t delay_ns = limiter->delay_ns / 1024 + 1, others = heard->others;
    uint64_t then_ns = heard->others_ns, past, seen = heard->surprise, next;
    if (then_ns == 0) more = 0; /* what was used before anything was heard says nothing of what will be */
    past = now_ns > then_ns ? (now_ns - then_ns) / delay_ns : 0; /* of 1024 */
    others = (past < 1024 ? others - rlm_i_mul_high(others, past << 54) : 0) + more;
    if (others > most) others = most;
    heard->others = others;
    heard->others_ns = now_ns;
    next = (others + others / 2 < most ? others + others / 2 : most) * 1024;
    if (next < seen - seen / 1024) next = seen - seen / 1024 - 1; /* it fades */
    heard->surprise = next;
    return next > seen ? next / 1024 - seen / 1024 : 0;
}

/* Where TAT was of late, less what was corrected; of a cap, how many answers there were: a note every eighth of the delay. */
static void rlm_i_note_trail(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    rlm_i_entry *entry = &limiter->entry[index];
    uint64_t last = (heard->trails - 1) % RLM_I_TRAIL, note = heard->answers;
    if (entry->kind != RLM_BUCKET && entry->kind != RLM_CONCURRENCY) return;
    if (heard->trails != 0 && now_ns < heard->trail_ns[last] + limiter->delay_ns / 8) return;
    if (entry->kind == RLM_BUCKET)
        note = (rlm_i_bucket_word(&entry->as.bucket, now_ns) >> 2) - (rlm_i_load_seq_cst(&entry->corrected) >> 2);
    last = heard->trails++ % RLM_I_TRAIL;
    heard->trail_ns[last] = now_ns;
    heard->trail[last] = note;
}

/* TAT when all that can have overtaken a request sent at since_ns had been sent, with all corrections made since. */
static uint64_t rlm_i_overtaken(rlm_limiter *limiter, size_t index, uint64_t since_ns, uint64_t now_ns) {
    const rlm_i_heard *heard = &limiter->heard[index];
    uint64_t corrected = rlm_i_load_seq_cst(&limiter->entry[index].corrected) >> 2;
    uint64_t tat = rlm_i_bucket_word(&limiter->entry[index].as.bucket, now_ns) >> 2, best_ns = UINT64_MAX, i;
    since_ns += rlm_i_load_seq_cst(&heard->guard_ns);
    for (i = 0; i < RLM_I_TRAIL && i < heard->trails; i++) {
        if (heard->trail_ns[i] < since_ns || heard->trail_ns[i] >= best_ns || heard->trail_ns[i] >= now_ns) continue;
        best_ns = heard->trail_ns[i];
        tat = heard->trail[i] + corrected;
    }
    return tat;
}

/* Merges what remains of a bucket; back: what will be given back. The picture is held against it as it was when
   the request was sent, or when all that can have overtaken it had been sent. */
static void rlm_i_merge_bucket(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t remaining,
                               uint64_t back, uint64_t now_ns) {
    rlm_i_entry *entry = &limiter->entry[index];
    rlm_bucket *bucket = &entry->as.bucket;
    uint64_t seen = rlm_i_bucket_word(bucket, now_ns), reserve = limiter->heard[index].surprise / 1024, then, tat, used, ahead, more = 0;
    const rlm_i_rate *rate = &bucket->rate[seen & 1];
    uint64_t token = rlm_i_load_seq_cst(&rate->token), most = rlm_i_load_seq_cst(&rate->burst) / 8;
    uint64_t need = rlm_i_ahead_if(rate, remaining, back), others;
    rlm_i_amounts amounts;
    if (permit == NULL) {
        rlm_i_add(&entry->corrected, rlm_i_bucket_hold(bucket, seen, need, now_ns) << 2);
        return;
    }
    used = rlm_i_used_then(limiter, index, permit);
    if (((used ^ seen) & 3) != 0 || permit->since_ns < rlm_i_load_seq_cst(&bucket->changed_ns)) return; /* of another rate */
    if (permit->since_ns > now_ns && permit->since_ns - now_ns > RLM_SECOND_NS) return; /* the clock was set back since */
    then = rlm_i_ticks(rate, permit->since_ns);
    tat = rlm_i_overtaken(limiter, index, permit->since_ns, now_ns);
    ahead = tat > then && tat - then < UINT64_C(1) << 61 ? tat - then : 0;
    if (used >> 63 == 0 && used >> 2 > ahead) ahead = used >> 2;
    reserve = (reserve < most ? reserve : most) * token;
    if (need + reserve > ahead) more = rlm_i_bucket_push(bucket, seen, need + reserve - ahead, then, now_ns);
    rlm_i_amounts_of(&amounts, &permit->cost);
    others = more;
    if (ahead <= amounts.of[entry->meter] * token + rlm_i_load_seq_cst(&rate->lag)) /* it was idle: nothing was in hand */
        others = more > reserve ? more - reserve : 0;
    more += rlm_i_bucket_push(bucket, seen, rlm_i_surprised(limiter, index, others / token, most, now_ns) * token, then, now_ns);
    rlm_i_add(&entry->corrected, more << 2);
}

/* Merges what remains of a window or a calendar quota. */
static void rlm_i_merge_count(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t remaining,
                              uint64_t back, uint64_t now_ns) {
    rlm_i_entry *entry = &limiter->entry[index];
    rlm_usage usage;
    uint64_t used, then, more, mark;
    if (rlm_status(limiter, index, &usage, now_ns) != RLM_OK || remaining >= usage.limit + back) return;
    used = usage.used;
    if (permit != NULL) {
        rlm_i_step step;
        bool calendar = entry->kind == RLM_CALENDAR;
        if (calendar && rlm_i_calendar_plan(&entry->as.calendar, 0, false, now_ns, &step) != 0) return;
        if (calendar && step.mark != permit->mark[index]) return; /* an answer of another period */
        then = rlm_i_used_then(limiter, index, permit);
        if (then > used) used = then;
    }
    if (used >= usage.limit + back - remaining) return;
    more = usage.limit + back - remaining - used;
    if (rlm_i_force(limiter, index, more, now_ns, &mark)) rlm_i_add(&entry->corrected, more);
}

static void rlm_i_merge(rlm_limiter *limiter, size_t index, const rlm_permit *permit, const rlm_reading *reading,
                        uint64_t back, uint64_t now_ns) {
    uint64_t remaining = rlm_i_remaining(reading), amount = rlm_i_limit_now(limiter, index).amount;
    if (limiter->entry[index].kind == RLM_BUCKET) {
        rlm_i_merge_bucket(limiter, index, permit, remaining, back, now_ns);
        return;
    }
    /* what is used counts, of whatever limit was in force then */
    if (reading->limit < amount && remaining < RLM_UNSAID - amount) remaining += amount - reading->limit;
    rlm_i_merge_count(limiter, index, permit, remaining, back, now_ns);
}

/* -- feedback: what the limit is -- */

#define RLM_I_PERIOD_MAX (31 * RLM_DAY_NS) /* the longest that is inferred */

/* What the period is at most. Where a reset was a time of day, it is too short by as long as the answer took: ten minutes at most. */
static uint64_t rlm_i_period_most(const rlm_reading *reading) {
    uint64_t spare = 1 + reading->rounding, late_ns = 10 * RLM_MINUTE_NS;
    if (reading->period_most_ns != RLM_UNSAID || reading->period_least_ns == 0) return reading->period_most_ns;
    if (reading->reset_ns >= RLM_I_PERIOD_MAX || reading->remaining >= reading->limit) return RLM_UNSAID;
    if (reading->limit - reading->remaining <= spare) return RLM_UNSAID;
    return rlm_i_scale_up(reading->reset_ns + late_ns, reading->limit, reading->limit - reading->remaining - spare);
}

/* Takes in between what the figures of an answer put the period. Figures that contradict those before are not a
   bucket's (a fixed window tells when it ends, not when all is back), or the period has changed: they are believed
   again when 32 in a row agree that bound it on both sides. */
static void rlm_i_bound_period(rlm_i_heard *heard, const rlm_reading *reading) {
    uint64_t least = reading->period_least_ns, most = rlm_i_period_most(reading);
    if (least > heard->period_most_ns || most < heard->period_least_ns) {
        heard->period_least_ns = least;
        heard->period_most_ns = most;
        heard->period_doubt = rlm_i_is_exact(reading) ? 0 : 32;
        return;
    }
    if (least > heard->period_least_ns) heard->period_least_ns = least;
    if (most < heard->period_most_ns) heard->period_most_ns = most;
    heard->period_doubt -= least != 0 && reading->period_most_ns != RLM_UNSAID && heard->period_doubt != 0;
}

/* The period, as far as the figures of all answers tell; the usual one where they make no sense. */
static uint64_t rlm_i_period_heard(rlm_i_heard *heard, const rlm_reading *reading, uint64_t now_is_ns) {
    static const uint64_t common[] = {RLM_SECOND_NS, RLM_MINUTE_NS, RLM_HOUR_NS, RLM_DAY_NS};
    uint64_t usual = reading->period_ns != 0 ? reading->period_ns : heard->first.period_ns, least, most;
    bool unknown = heard->first.follow == RLM_LEARN && rlm_i_load_seq_cst(&heard->known) == 0;
    uint64_t guess = unknown ? usual : now_is_ns;
    size_t i;
    rlm_i_bound_period(heard, reading);
    least = heard->period_least_ns;
    most = heard->period_most_ns;
    if (guess >= least && guess <= most) return guess;
    if (heard->period_doubt != 0 || (least > RLM_I_PERIOD_MAX && !rlm_i_is_exact(reading))) return usual;
    if (usual >= least && usual <= most) return usual;
    for (i = 0; i < sizeof common / sizeof *common; i++) {
        bool close = reading->period_most_ns == RLM_UNSAID || most <= least + least / 4;
        if (close && common[i] >= least && common[i] <= most) return common[i];
    }
    return most < RLM_I_PERIOD_MAX ? most : least; /* the longer, the slower: more figures will tell */
}

/* The guard a bucket should have: as configured, or as long as answers take, up to a share of the period. */
static uint64_t rlm_i_guard_heard(const rlm_limiter *limiter, const rlm_limit *given, uint64_t period_ns) {
    uint64_t guard_ns = limiter->delay_ns;
    if (guard_ns > period_ns / 16) guard_ns = period_ns / 16;
    if (guard_ns < given->guard_ns) guard_ns = given->guard_ns;
    return guard_ns < period_ns ? guard_ns : period_ns;
}

/* A bucket as the server says, but no faster than given, and with no larger a burst. A longer period is another limit's. */
static void rlm_i_shrink(rlm_limit *limit, const rlm_limit *given) {
    uint64_t said = limit->amount, in_given;
    if (limit->period_ns > given->period_ns) limit->period_ns = given->period_ns;
    in_given = rlm_i_scale_up(said, given->period_ns, limit->period_ns);
    if (in_given >= given->amount) {
        limit->amount = in_given = given->amount;
        limit->period_ns = given->period_ns;
    }
    limit->burst = rlm_i_scale_up(given->burst, in_given, given->amount);
    if (limit->burst > said) limit->burst = said;
}

/* What a limit becomes by a reading. */
static rlm_limit rlm_i_limit_heard(rlm_limiter *limiter, size_t index, const rlm_reading *reading) {
    rlm_limit given = rlm_i_given(limiter, index), limit = rlm_i_limit_now(limiter, index);
    if (given.follow == RLM_FIXED || reading->limit == RLM_UNSAID) return limit;
    limit.amount = reading->limit < RLM_AMOUNT_MAX ? reading->limit : RLM_AMOUNT_MAX;
    if (given.kind != RLM_BUCKET) {
        if (given.follow == RLM_SHRINK && limit.amount > given.amount) limit.amount = given.amount;
        return limit;
    }
    limit.period_ns = rlm_i_period_heard(&limiter->heard[index], reading, limit.period_ns);
    limit.burst = given.follow == RLM_LEARN ? limit.amount : rlm_i_scale_up(given.burst, limit.amount, given.amount);
    if (given.follow == RLM_SHRINK) rlm_i_shrink(&limit, &given);
    if (limit.burst > RLM_AMOUNT_MAX) limit.burst = RLM_AMOUNT_MAX;
    limit.guard_ns = rlm_i_guard_heard(limiter, &given, limit.period_ns);
    return limit;
}

/* Tokens of a bucket, whose word is seen, that were used since permit was admitted beyond what was refilled; UINT64_MAX:
   it cannot be told. */
static uint64_t rlm_i_sent_since(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t seen, uint64_t now_ns) {
    rlm_bucket *bucket = &limiter->entry[index].as.bucket;
    uint64_t ticks, token, ahead, used;
    if (permit == NULL) return UINT64_MAX;
    if (now_ns < permit->since_ns) now_ns = permit->since_ns; /* stale: the time between was not sent */
    used = rlm_i_used_then(limiter, index, permit);
    ticks = rlm_i_ticks(&bucket->rate[seen & 1], now_ns);
    token = rlm_i_load_seq_cst(&bucket->rate[seen & 1].token);
    if (((seen ^ used) & 3) != 0) return UINT64_MAX;
    ahead = seen >> 2 > ticks ? (seen >> 2) - ticks : 0;
    if (used >> 63 != 0) used = 0;
    return ahead > used >> 2 ? (ahead - (used >> 2) - 1) / token + 1 : 0;
}

/* A refusal held a bucket for a time, not for an amount: at another rate for what is left of that time. */
static void rlm_i_hold_anew(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_bucket *bucket = &limiter->entry[index].as.bucket;
    const rlm_i_rate *rate = &bucket->rate[rlm_i_load_seq_cst(&bucket->word) & 1];
    uint64_t until_ns = rlm_i_load_seq_cst(&limiter->entry[index].paused_ns), rest_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    uint64_t each = rlm_i_load_seq_cst(&rate->ticks_per_ns) + (rlm_i_load_seq_cst(&rate->ticks_per_ns_frac) != 0);
    if (rest_ns == 0 || rlm_i_mul_high(rest_ns, each) != 0 || rest_ns * each >> 60 != 0) return;
    rlm_i_bucket_ease(bucket, rest_ns * each + rlm_i_load_seq_cst(&rate->reach), now_ns);
}

/* Ticks that were taken from a bucket while it was given another rate: between the word of before and that of after, whose
   TAT would be what the change alone makes of the first. */
static uint64_t rlm_i_taken_since(rlm_bucket *bucket, uint64_t before, uint64_t after) {
    const rlm_i_rate *from = &bucket->rate[before & 1], *to = &bucket->rate[after & 1];
    uint64_t at_ns = rlm_i_load_seq_cst(&bucket->changed_ns), reach, debt;
    if (((before + 1) ^ after) & 3) return 0; /* not one change: then it is only held */
    debt = rlm_i_debt_under(from, to, before >> 2, at_ns, &reach);
    debt += rlm_i_ticks(to, at_ns); /* no more than was in the word that was changed: it fits */
    return after >> 2 > debt ? (after >> 2) - debt : 0;
}

/* Brings TAT nearer by what it was more than need ticks ahead when its word was seen: what was taken since stays taken. */
static void rlm_i_bucket_lower(rlm_bucket *bucket, uint64_t seen, uint64_t need, uint64_t now_ns) {
    uint64_t ticks = rlm_i_ticks(&bucket->rate[seen & 1], now_ns), tat = seen >> 2, now = seen;
    uint64_t less = tat > ticks + need ? tat - (ticks + need) : 0;
    while (((now ^ seen) & 3) == 0 && now >> 2 >= less && !rlm_i_cas_seq_cst(&bucket->word, &now, now - (less << 2))) {}
}

/* Moves a limit to what a reading says of it. Returns whether it moved: then what remains was seen to. */
static bool rlm_i_follow(rlm_limiter *limiter, size_t index, const rlm_permit *permit, const rlm_reading *reading,
                         uint64_t back, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    rlm_limit was = rlm_i_limit_now(limiter, index), is = rlm_i_limit_heard(limiter, index, reading);
    bool first = heard->first.follow == RLM_LEARN && rlm_i_load_seq_cst(&heard->known) != 1 && reading->limit != RLM_UNSAID;
    bool more = first || (is.amount > was.amount && heard->first.follow != RLM_SHRINK);
    uint64_t sent, then, seen, need;
    rlm_bucket *bucket = &limiter->entry[index].as.bucket;
    if (!first && is.amount == was.amount && is.burst == was.burst && is.period_ns == was.period_ns) return false;
    if (is.kind != RLM_BUCKET) {
        if (rlm_i_set(limiter, index, &is, now_ns) == RLM_OK) rlm_i_store_seq_cst(&heard->known, 1);
        return false;
    }
    then = rlm_i_bucket_word(bucket, now_ns);
    sent = rlm_i_sent_since(limiter, index, permit, then, now_ns);
    if (rlm_i_set(limiter, index, &is, now_ns) != RLM_OK) return false;
    rlm_i_store_seq_cst(&heard->known, 1);
    rlm_i_hold_anew(limiter, index, now_ns);
    if (reading->remaining == RLM_UNSAID) return true;
    if (sent == UINT64_MAX) { /* not known: then only downwards */
        more = first;
        sent = 0;
    }
    seen = rlm_i_load_seq_cst(&bucket->word);
    if (sent > RLM_AMOUNT_MAX) sent = RLM_AMOUNT_MAX;
    need = rlm_i_ahead_if(&bucket->rate[seen & 1], rlm_i_remaining(reading), sent + back);
    need += rlm_i_taken_since(bucket, then, seen);
    if (rlm_i_bucket_hold(bucket, seen, need, now_ns) == 0 && more) rlm_i_bucket_lower(bucket, seen, need, now_ns);
    return true;
}

/* Whether no other reading of the same limit is tighter: an account may have a limit, and its project another. */
static bool rlm_i_is_tightest(rlm_limiter *limiter, size_t index, const rlm_feedback *feedback, const rlm_reading *reading) {
    const rlm_reading *other = feedback->reading;
    for (; other < feedback->reading + feedback->count; other++)
        if (other != reading && other->limit != 0 && rlm_i_limit_read(limiter, other) == index &&
            (other->limit < reading->limit || (other->limit == reading->limit && other < reading)))
            return false;
    return true;
}

/* Takes in one reading. */
static void rlm_i_hear(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback, const rlm_reading *reading,
                       uint64_t now_ns) {
    size_t index = rlm_i_limit_read(limiter, reading);
    uint64_t since_ns = permit != NULL ? permit->since_ns : now_ns, back = 0;
    rlm_i_amounts amounts;
    bool moved = false;
    if (index == limiter->count || reading->limit == 0) return;
    if (permit != NULL && feedback->outcome == RLM_REFUSED) { /* it was not charged there, and will be given back here */
        rlm_i_amounts_of(&amounts, &permit->cost);
        back = amounts.of[reading->meter];
    }
    if (since_ns >= limiter->heard[index].since_ns && rlm_i_is_tightest(limiter, index, feedback, reading)) {
        moved = rlm_i_follow(limiter, index, permit, reading, back, now_ns);
        limiter->heard[index].since_ns = since_ns;
    }
    if (reading->remaining != RLM_UNSAID && !moved && !rlm_i_is_unknown(limiter, index))
        rlm_i_merge(limiter, index, permit, reading, back, now_ns);
}

/* Lets the guards follow the delays seen. */
static void rlm_i_follow_delay(rlm_limiter *limiter, uint64_t now_ns) {
    size_t i;
    for (i = 0; i < limiter->count; i++) {
        rlm_limit given = rlm_i_given(limiter, i), limit;
        uint64_t was_ns;
        if (given.kind != RLM_BUCKET || given.follow == RLM_FIXED || given.follow == RLM_RAMP) continue;
        if (rlm_i_is_unknown(limiter, i)) continue;
        limit = rlm_i_limit_now(limiter, i);
        was_ns = limit.guard_ns;
        limit.guard_ns = rlm_i_guard_heard(limiter, &given, limit.period_ns);
        if (limit.guard_ns > was_ns + was_ns / 4 + limit.period_ns / 1024 || limit.guard_ns < was_ns / 2)
            rlm_i_add(&limiter->entry[i].corrected,
                      rlm_i_bucket_guard(&limiter->entry[i].as.bucket, limit.guard_ns, now_ns) << 2);
    }
}

/* -- feedback: refusals -- */

#define RLM_I_TOKEN_METERS (1u << RLM_INPUT_TOKENS | 1u << RLM_OUTPUT_TOKENS | 1u << RLM_TOKENS)

/* What a limit counts, as refusals name it. */
static uint32_t rlm_i_name(const rlm_limiter *limiter, size_t index) {
    const rlm_i_entry *entry = &limiter->entry[index];
    if (limiter->heard[index].first.follow == RLM_RAMP) return 0;
    return entry->kind == RLM_CONCURRENCY ? RLM_NAMED_CONCURRENCY : UINT32_C(1) << entry->meter;
}

/* What a refusal names, of what is counted here; 0: nothing of that. */
static uint32_t rlm_i_named_here(const rlm_limiter *limiter, uint32_t named) {
    uint32_t all = 0;
    size_t i;
    for (i = 0; i < limiter->count; i++) all |= rlm_i_name(limiter, i);
    if ((named & RLM_I_TOKEN_METERS & ~all) != 0) named |= RLM_I_TOKEN_METERS; /* apart there, together here, or so */
    return named & all;
}

/* Whether a refusal means this limit; one that names nothing that is counted here may mean any. */
static bool rlm_i_is_named(const rlm_limiter *limiter, size_t index, uint32_t named) {
    uint32_t mine = rlm_i_name(limiter, index), here = rlm_i_named_here(limiter, named);
    return mine != 0 && (here == 0 || (here & mine) != 0);
}

/* The server admits this request after wait_ns, and not before: so much the bucket holds, and no more. */
static void rlm_i_hold_until(rlm_limiter *limiter, size_t index, const rlm_permit *permit, const rlm_feedback *feedback,
                             uint64_t wait_ns, uint64_t now_ns) {
    rlm_bucket *bucket = &limiter->entry[index].as.bucket;
    uint64_t seen = rlm_i_bucket_word(bucket, now_ns), wait_ticks, tokens, token, mine = 0, theirs, need;
    const rlm_i_rate *rate = &bucket->rate[seen & 1];
    rlm_i_amounts amounts;
    if (permit == NULL || rlm_i_is_unknown(limiter, index)) return;
    rlm_i_amounts_of(&amounts, &permit->cost);
    mine = amounts.of[limiter->entry[index].meter];
    theirs = feedback->requested != RLM_UNSAID && feedback->requested <= RLM_AMOUNT_MAX ? feedback->requested : mine;
    token = rlm_i_load_seq_cst(&rate->token);
    tokens = rlm_i_load_seq_cst(&rate->burst) + mine; /* mine will be given back */
    tokens = tokens > theirs ? tokens - theirs : 0;
    wait_ticks = wait_ns * rlm_i_load_seq_cst(&rate->ticks_per_ns);
    if (rlm_i_mul_high(wait_ns, rlm_i_load_seq_cst(&rate->ticks_per_ns)) != 0 || rlm_i_mul_high(tokens, token) != 0) return;
    if (wait_ticks > UINT64_C(1) << 60 || tokens * token > UINT64_C(1) << 60) return;
    need = wait_ticks + tokens * token;
    rlm_i_add(&limiter->entry[index].corrected, rlm_i_bucket_hold(bucket, seen, need, now_ns) << 2);
}

/* Another amount in the same period, the burst in proportion to what was configured, but no less than a request where
   that may be. */
static void rlm_i_set_amount(rlm_limiter *limiter, size_t index, uint64_t amount, uint64_t request, uint64_t now_ns) {
    rlm_limit limit = rlm_i_limit_now(limiter, index), given = rlm_i_given(limiter, index);
    if (given.follow == RLM_SHRINK && amount > given.amount) amount = given.amount;
    limit.burst = given.follow == RLM_LEARN ? amount : rlm_i_scale_up(given.burst, amount, given.amount);
    limit.amount = amount;
    if (limit.burst < request) limit.burst = request;
    if (given.follow == RLM_SHRINK && limit.burst > given.burst) limit.burst = given.burst; /* less is configured by now */
    if (limit.burst > RLM_AMOUNT_MAX) limit.burst = RLM_AMOUNT_MAX;
    (void)rlm_i_set(limiter, index, &limit, now_ns);
    rlm_i_store_seq_cst(&limiter->heard[index].known, 2);
    limiter->heard[index].round_ns = now_ns;
}

/* What a server that tells nothing has taken in a period, as a bucket with a burst of as much would. Counted
   anew after two periods. */
static uint64_t rlm_i_taken(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t began_ns = heard->round_ns, elapsed_ns = now_ns > began_ns ? now_ns - began_ns : 0;
    uint64_t period_ns = rlm_i_load_seq_cst(&heard->period_ns), before = heard->round, taken;
    rlm_usage usage;
    if (rlm_status(limiter, index, &usage, now_ns) != RLM_OK) return before;
    if (limiter->entry[index].kind != RLM_BUCKET) return usage.used; /* what it counts is this */
    taken = rlm_i_scale_up(usage.used, period_ns, period_ns + elapsed_ns);
    if (elapsed_ns > 2 * period_ns) {
        heard->round = taken;
        heard->round_ns = now_ns;
        rlm_i_bucket_ease(&limiter->entry[index].as.bucket, 0, now_ns);
    }
    return taken > before ? taken : before;
}

/* A limit that was exceeded, of a server that never tells its limits: an eighth less, once for all requests
   sent before that. Where nothing at all is known, what the server took before. Not if the wait that the server
   names (0: none) is far too short for such a bucket: then it was not this that refused. */
static void rlm_i_guess(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t wait_ns, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t amount, cost, known = rlm_i_load_seq_cst(&heard->known);
    bool nothing = rlm_i_is_unknown(limiter, index);
    rlm_i_amounts amounts;
    if (heard->first.follow == RLM_FIXED || known == 1) return;
    if (permit == NULL || permit->since_ns < heard->since_ns) return;
    rlm_i_amounts_of(&amounts, &permit->cost);
    amount = nothing ? rlm_i_taken(limiter, index, now_ns) : rlm_i_limit_now(limiter, index).amount;
    cost = amounts.of[heard->first.meter];
    if (nothing && amount < 8 * cost + 8) return; /* too little to tell */
    if (heard->first.kind == RLM_BUCKET && wait_ns != 0 && wait_ns < rlm_i_scale_up(cost, rlm_i_load_seq_cst(&heard->period_ns) / 4, amount)) return;
    if (nothing) {
        rlm_limit limit = rlm_i_given(limiter, index);
        limit.amount = limit.burst = amount;
        (void)rlm_i_set(limiter, index, &limit, now_ns);
    }
    amount -= amount / (nothing ? 32 : 8);
    if (amount < cost) amount = cost; /* it will be admitted, later */
    rlm_i_set_amount(limiter, index, amount, cost, now_ns);
    if (now_ns > heard->since_ns) heard->since_ns = now_ns;
}

/* A guess that was tried for a minute and held rises by 1/64. */
static void rlm_i_guess_higher(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    rlm_usage usage;
    uint64_t amount;
    if (rlm_i_is_unknown(limiter, index)) (void)rlm_i_taken(limiter, index, now_ns);
    if (rlm_i_load_seq_cst(&heard->known) != 2 || now_ns < heard->round_ns + RLM_MINUTE_NS) return;
    if (rlm_status(limiter, index, &usage, now_ns) != RLM_OK || 2 * usage.used < usage.limit) return;
    amount = rlm_i_limit_now(limiter, index).amount;
    amount += amount / 64 + 1;
    rlm_i_set_amount(limiter, index, amount, 1, now_ns);
}

/* A cap that is not adaptive but too high: one less than are out. */
static void rlm_i_lower_cap(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_limit limit = rlm_i_limit_now(limiter, index);
    uint64_t out = rlm_i_load_seq_cst(&limiter->entry[index].as.concurrency.word) & UINT32_MAX;
    if (limit.follow == RLM_FIXED || limit.follow == RLM_ADAPT || out < 2 || out > limit.amount) return;
    limit.amount = out - 1;
    (void)rlm_i_set(limiter, index, &limit, now_ns);
    limiter->heard[index].round_ns = now_ns;
}

/* Where it was full for a minute without a refusal it comes back by one. */
static void rlm_i_raise_cap(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_limit limit = rlm_i_limit_now(limiter, index);
    uint64_t out = rlm_i_load_seq_cst(&limiter->entry[index].as.concurrency.word) & UINT32_MAX;
    if (limit.follow == RLM_ADAPT || out < limit.amount || limit.amount >= rlm_i_given(limiter, index).amount) return;
    if (now_ns < limiter->heard[index].round_ns + RLM_MINUTE_NS) return;
    limit.amount++;
    (void)rlm_i_set(limiter, index, &limit, now_ns);
    limiter->heard[index].round_ns = now_ns;
}

/* The wait that an answer names, 0: none. */
static uint64_t rlm_i_wait_asked(const rlm_feedback *feedback) {
    uint64_t wait_ns = feedback->retry_after_ns == RLM_UNSAID ? 0 : feedback->retry_after_ns;
    return wait_ns < UINT64_C(1) << 55 ? wait_ns : UINT64_C(1) << 55;
}

/* Refusals in a row without a word of how long: 5 s, and twice that each time up to 40. Those of requests
   sent before the last one count with it. */
static uint64_t rlm_i_wait_unasked(rlm_limiter *limiter, const rlm_permit *permit, uint64_t now_ns) {
    uint64_t times = limiter->refusals, last_ns = limiter->refused_ns;
    if (times == 0 || permit == NULL || permit->since_ns >= last_ns) {
        limiter->refusals = ++times;
        limiter->refused_ns = now_ns;
    }
    return 5 * RLM_SECOND_NS << (times < 4 ? times - 1 : 3);
}

/* A cap that can go no lower, or may not: others hold the places. Half a second, and twice that each time up to 32. */
static void rlm_i_brake_cap(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t now_ns) {
    rlm_limit limit = rlm_i_limit_now(limiter, index);
    uint64_t out = rlm_i_load_seq_cst(&limiter->entry[index].as.concurrency.word) & UINT32_MAX, times;
    uint64_t floor = limit.follow == RLM_ADAPT ? limit.least : limit.follow == RLM_FIXED ? limit.amount : 1;
    if (out > floor || (limit.follow == RLM_ADAPT && limit.amount > floor)) return;
    (void)rlm_i_wait_unasked(limiter, permit, now_ns);
    times = limiter->refusals;
    rlm_i_pause(limiter, index, RLM_SECOND_NS / 2 << (times < 7 ? times - 1 : 6), now_ns);
}

/* The limit of which an answer leaves the smallest part, among those it names. count if it tells of none. */
static size_t rlm_i_emptiest(rlm_limiter *limiter, const rlm_feedback *feedback) {
    uint64_t least = UINT64_MAX;
    size_t i, emptiest = (size_t)limiter->count;
    for (i = 0; i < feedback->count; i++) {
        const rlm_reading *reading = &feedback->reading[i];
        size_t index = rlm_i_limit_read(limiter, reading);
        uint64_t part;
        if (reading->limit == 0 || reading->limit == RLM_UNSAID || reading->remaining > reading->limit) continue;
        if (index == limiter->count || !rlm_i_is_named(limiter, index, feedback->named)) continue;
        part = rlm_i_scale_up(reading->remaining, 1000, reading->limit);
        if (part >= least) continue;
        least = part;
        emptiest = index;
    }
    return emptiest;
}

/* The shortest period of the limits that a refusal names: a day's is hardly what a minute's client exceeds. */
static uint64_t rlm_i_shortest(rlm_limiter *limiter, uint32_t named) {
    uint64_t shortest_ns = UINT64_MAX;
    size_t i;
    for (i = 0; i < limiter->count; i++) {
        uint64_t period_ns = rlm_i_limit_now(limiter, i).period_ns;
        if (limiter->entry[i].kind == RLM_CONCURRENCY || !rlm_i_is_named(limiter, i, named)) continue;
        if (period_ns < shortest_ns) shortest_ns = period_ns;
    }
    return shortest_ns;
}

/* Whether a refusal names what is not counted here. */
static bool rlm_i_is_foreign(const rlm_limiter *limiter, const rlm_feedback *feedback) {
    return feedback->named != 0 && rlm_i_named_here(limiter, feedback->named) == 0;
}

/* Whether the figures of a refusal explain it: of something that is counted here, less remains than twice the request,
   as estimates err. */
static bool rlm_i_is_explained(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback) {
    rlm_i_amounts amounts;
    size_t i;
    for (i = 0; permit != NULL && i < feedback->count; i++) {
        const rlm_reading *reading = &feedback->reading[i];
        size_t index = rlm_i_limit_read(limiter, reading);
        rlm_i_amounts_of(&amounts, &permit->cost);
        if (reading->remaining == RLM_UNSAID || reading->limit == 0 || index == limiter->count) continue;
        if (!rlm_i_is_named(limiter, index, feedback->named)) continue;
        if (rlm_i_remaining(reading) < 2 * amounts.of[reading->meter]) return true;
    }
    return false;
}

/* How long all are to wait. As the server says; if it does not, and no figures explain it, or it names what is not counted
   here, ever longer. */
static uint64_t rlm_i_wait_refused(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback, uint64_t now_ns) {
    uint64_t wait_ns = rlm_i_wait_asked(feedback), unasked_ns;
    bool foreign = rlm_i_is_foreign(limiter, feedback), cap = feedback->named == RLM_NAMED_CONCURRENCY;
    if (!foreign && (wait_ns != 0 || cap || rlm_i_is_explained(limiter, permit, feedback))) return wait_ns;
    unasked_ns = rlm_i_wait_unasked(limiter, permit, now_ns);
    if (unasked_ns <= wait_ns) return wait_ns;
    (void)rlm_pause(limiter, RLM_ALL, unasked_ns, now_ns);
    return unasked_ns;
}

static void rlm_i_refused(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback, uint64_t now_ns) {
    uint64_t wait_ns = rlm_i_wait_refused(limiter, permit, feedback, now_ns), shortest_ns = rlm_i_shortest(limiter, feedback->named);
    size_t i, emptiest = rlm_i_emptiest(limiter, feedback);
    bool told = emptiest < limiter->count;
    if (rlm_i_is_foreign(limiter, feedback)) return;
    for (i = 0; i < limiter->count; i++) {
        bool meant = told ? i == emptiest : rlm_i_near(rlm_i_limit_now(limiter, i).period_ns, shortest_ns);
        if (!rlm_i_is_named(limiter, i, feedback->named)) continue;
        if (limiter->entry[i].kind == RLM_CONCURRENCY) {
            if (feedback->named == 0) continue;
            rlm_i_lower_cap(limiter, i, now_ns);
            rlm_i_brake_cap(limiter, i, permit, now_ns);
            continue;
        }
        if (meant && !told) rlm_i_guess(limiter, i, permit, rlm_i_wait_asked(feedback), now_ns);
        if (meant && wait_ns != 0 && limiter->entry[i].kind == RLM_BUCKET)
            rlm_i_hold_until(limiter, i, permit, feedback, wait_ns, now_ns);
    }
}

/* -- feedback: adaptive concurrency -- */

/* A round is 16 to 64 answers to requests sent since it began. While their mean delay is near the
   shortest mean there was, more at a time do no harm, and the cap grows: by half until it first did
   not help, then by an eighth. A cap of twice what the server works on makes delays twice as long; beyond 2.5 times
   it shrinks. Delays are means over a round, not compared one by one: answers of a language model differ
   tenfold. On overload it loses three tenths, once for all that were sent before. After TCP's slow start
   and the gradient limit of Netflix's concurrency-limits. */
static void rlm_i_set_cap(rlm_limiter *limiter, size_t index, uint64_t cap, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    rlm_limit limit = rlm_i_given(limiter, index);
    if (heard->ceiling != 0 && cap > heard->ceiling && now_ns > heard->ceiling_ns + 10 * RLM_MINUTE_NS) {
        heard->ceiling += heard->ceiling_step; /* faster and faster, until it is refused again */
        heard->ceiling_step *= 2;
        heard->ceiling_ns = now_ns;
    }
    if (heard->ceiling != 0 && cap > heard->ceiling) cap = heard->ceiling;
    if (cap < limit.least) cap = limit.least;
    if (cap < limit.amount) limit.amount = cap;
    (void)rlm_concurrency_reconfigure(&limiter->entry[index].as.concurrency, &limit);
    heard->round = heard->peak = 0;
    heard->round_ns = now_ns;
}

/* How many the server holds at most, by a refusal: those out now, but for this one, and those that were answered since it
   was sent. That is too many while other refusals are on their way; the last of them tells. */
static uint64_t rlm_i_held(rlm_limiter *limiter, size_t index, const rlm_permit *permit) {
    const rlm_i_heard *heard = &limiter->heard[index];
    uint64_t out = rlm_i_load_seq_cst(&limiter->entry[index].as.concurrency.word) & UINT32_MAX, since_ns = permit->since_ns;
    uint64_t before = heard->answers, earliest_ns = UINT64_MAX, i;
    for (i = 0; i < RLM_I_TRAIL && i < heard->trails; i++) { /* the last note before it was sent, or the first of all */
        uint64_t at_ns = heard->trail_ns[i], best_ns = earliest_ns;
        bool better = best_ns > since_ns ? at_ns < best_ns : at_ns <= since_ns && at_ns > best_ns;
        if (!better) continue;
        earliest_ns = at_ns;
        before = heard->trail[i];
    }
    return (out != 0 ? out - 1 : 0) + (heard->answers - before);
}

static void rlm_i_overloaded(rlm_limiter *limiter, size_t index, const rlm_permit *permit, bool refused, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t cap = rlm_i_limit_now(limiter, index).amount, held;
    bool anew = permit == NULL || permit->since_ns >= heard->since_ns, lower = false;
    if (heard->first.follow != RLM_ADAPT) return;
    if (refused && permit != NULL) {
        held = rlm_i_held(limiter, index, permit);
        if (anew && held >= cap) held = cap - 1; /* with this one it was too many */
        lower = held != 0 && (heard->ceiling == 0 || held <= heard->ceiling);
        if (lower) {
            heard->ceiling = held;
            heard->ceiling_ns = now_ns;
            heard->ceiling_step = 1;
        }
    }
    if (!anew && !(lower && cap > heard->ceiling)) return;
    if (anew) {
        cap -= (3 * cap + 9) / 10;
        heard->since_ns = now_ns;
    }
    rlm_i_store_seq_cst(&heard->known, 1);
    rlm_i_set_cap(limiter, index, cap, now_ns);
}

static void rlm_i_adapt(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t cap = rlm_i_load_seq_cst(&limiter->entry[index].as.concurrency.word) >> 32;
    uint64_t wanted = cap < 16 ? 16 : cap < 64 ? cap : 64, round = heard->round, best = heard->best_ns, mean;
    if (heard->first.follow != RLM_ADAPT || permit == NULL || now_ns <= permit->since_ns) return;
    heard->answers++;
    if (permit->since_ns < heard->round_ns) return;
    if (permit->used[index] > heard->peak) heard->peak = permit->used[index];
    round += (UINT64_C(1) << 48) + ((now_ns - permit->since_ns) / 1000 & ((UINT64_C(1) << 40) - 1));
    heard->round = round;
    if (round >> 48 < wanted) return;
    mean = (round & ((UINT64_C(1) << 48) - 1)) / (round >> 48) + 1;
    if (best == 0 || mean < best) best = mean;
    if (mean > 2 * best + best / 2 && cap <= heard->first.least) best = mean; /* requests have become longer */
    if (mean <= best + best / 2) {
        if (2 * heard->peak >= cap) cap += rlm_i_load_seq_cst(&heard->known) == 0 ? cap / 2 + 1 : cap / 8 + 1;
        best += best / 50; /* they do, little by little */
    } else {
        rlm_i_store_seq_cst(&heard->known, 1);
        if (mean > 2 * best + best / 2) cap -= (cap + 9) / 10;
    }
    heard->best_ns = best;
    rlm_i_set_cap(limiter, index, cap, now_ns);
}

/* -- feedback: ramp -- */

/* The pace of a ramp, and what may go at once: what a second brings, so that it is a pace. */
static void rlm_i_set_pace(rlm_limiter *limiter, size_t index, uint64_t per_minute, uint64_t now_ns) {
    rlm_limit given = rlm_i_given(limiter, index), limit = rlm_per_minute(RLM_REQUESTS, per_minute);
    rlm_limit least = rlm_per(RLM_REQUESTS, given.amount, given.period_ns);
    uint64_t floor = rlm_i_scale_up(given.amount, RLM_MINUTE_NS, given.period_ns);
    if (per_minute <= floor) limit = least;
    limit.burst = per_minute < RLM_I_PACE_MAX ? per_minute / 60 + 1 : per_minute;
    (void)rlm_i_set(limiter, index, &limit, now_ns);
}

/* Requests a minute, over the last minute or since the limiter began. */
static uint64_t rlm_i_pace_now(const rlm_limiter *limiter, uint64_t now_ns) {
    uint64_t age_ns = now_ns > limiter->began_ns ? now_ns - limiter->began_ns : 0;
    if (age_ns < RLM_SECOND_NS) age_ns = RLM_SECOND_NS;
    return rlm_i_scale_up(rlm_recent(limiter, now_ns), RLM_MINUTE_NS, age_ns < RLM_MINUTE_NS ? age_ns : RLM_MINUTE_NS);
}

/* Back to the former pace: the average of the last minutes, between a quarter and three quarters of
   what it is now; half where there is none yet. */
static void rlm_i_slow_down(rlm_limiter *limiter, size_t index, const rlm_permit *permit, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t pace = rlm_i_pace_now(limiter, now_ns), former = limiter->former / 16;
    if (heard->first.follow != RLM_RAMP || (permit != NULL && permit->since_ns < heard->since_ns)) return;
    heard->since_ns = now_ns;
    if (rlm_i_load_seq_cst(&heard->pace_ns) == 0) {
        heard->pace = pace;
    } else { /* a second time: less than what was too much */
        rlm_limit limit = rlm_i_limit_now(limiter, index);
        uint64_t held = rlm_i_scale_up(limit.amount, RLM_MINUTE_NS, limit.period_ns);
        if (pace > held) pace = held;
    }
    if (limiter->former_ns == 0) former = pace / 2;
    if (former > pace - (pace + 3) / 4) former = pace - (pace + 3) / 4;
    if (former < pace / 4) former = pace / 4;
    rlm_i_set_pace(limiter, index, former, now_ns);
    rlm_i_store_seq_cst(&heard->pace_ns, now_ns + rlm_i_load_seq_cst(&heard->period_ns));
}

/* A quarter more each minute, until twice the pace that was too fast; then the ramp is at rest. */
static void rlm_i_climb(rlm_limiter *limiter, size_t index, uint64_t now_ns) {
    rlm_i_heard *heard = &limiter->heard[index];
    uint64_t at_ns = rlm_i_load_seq_cst(&heard->pace_ns), pace;
    rlm_limit limit;
    if (heard->first.follow != RLM_RAMP || at_ns == 0 || now_ns < at_ns) return;
    limit = rlm_i_limit_now(limiter, index);
    pace = limit.period_ns == RLM_MINUTE_NS ? limit.amount : rlm_i_scale_up(limit.amount, RLM_MINUTE_NS, limit.period_ns);
    pace += pace / 4 + 1;
    if (pace > 2 * heard->pace) {
        rlm_i_set_pace(limiter, index, RLM_I_PACE_MAX, now_ns);
        rlm_i_store_seq_cst(&heard->pace_ns, 0);
    } else {
        rlm_i_set_pace(limiter, index, pace, now_ns);
        rlm_i_store_seq_cst(&heard->pace_ns, now_ns + RLM_MINUTE_NS);
    }
}

/* The pace of the last five minutes, for a ramp to go back to. */
static void rlm_i_note_pace(rlm_limiter *limiter, uint64_t now_ns) {
    uint64_t then_ns = limiter->former_ns, former = limiter->former, span = 300, elapsed;
    if (now_ns < limiter->began_ns + RLM_MINUTE_NS || now_ns < then_ns || now_ns - then_ns < 10 * RLM_SECOND_NS) return;
    elapsed = (now_ns - then_ns) / RLM_SECOND_NS;
    if (elapsed > span || then_ns == 0) elapsed = span;
    former = (former * (span - elapsed) + 16 * rlm_recent(limiter, now_ns) * elapsed) / span;
    limiter->former = former;
    limiter->former_ns = now_ns;
}

/* -- feedback: all together -- */

/* How many more may be out. Any number once the server told a limit, one was guessed, or none is to be
   learned; else one more for each good answer, which doubles them with each round. */
static void rlm_i_probe_answered(rlm_limiter *limiter, const rlm_feedback *feedback) {
    uint64_t seen = rlm_i_load_seq_cst(&limiter->probe), next, most;
    uint32_t outcome = feedback->outcome;
    bool open = true;
    size_t i;
    if (seen == 0) return;
    for (i = 0; i < limiter->count; i++) {
        if (limiter->heard[i].first.follow != RLM_LEARN) continue;
        open = !rlm_i_is_unknown(limiter, i);
        if (open) break;
    }
    for (i = 0; i < feedback->count; i++)
        open |= feedback->reading[i].limit - 1 < RLM_UNSAID - 1 && rlm_i_limit_read(limiter, &feedback->reading[i]) < limiter->count;
    if (outcome != RLM_ANSWERED && outcome != RLM_REFUSED) return;
    do {
        most = seen >> 32;
        if (outcome == RLM_ANSWERED) most++;
        else if (most > 1) most /= 2;
        next = open || most > 1024 ? 0 : most << 32 | (seen & UINT32_MAX);
    } while (seen != 0 && !rlm_i_cas_seq_cst(&limiter->probe, &seen, next));
}

/* About the longest delay of late: up at once, down by a sixty-fourth of the difference. */
static void rlm_i_note_delay(rlm_limiter *limiter, const rlm_permit *permit, uint64_t now_ns) {
    uint64_t delay_ns;
    if (permit == NULL || now_ns < permit->since_ns) return;
    delay_ns = now_ns - permit->since_ns;
    if (delay_ns > limiter->delay_ns) limiter->delay_ns = delay_ns;
    else limiter->delay_ns -= (limiter->delay_ns - delay_ns) / 64;
}

/* The pause that an answer asks for: of the limits that a refusal names, else of all. */
static void rlm_i_pause_asked(rlm_limiter *limiter, const rlm_feedback *feedback, uint64_t now_ns) {
    uint64_t wait_ns = rlm_i_wait_asked(feedback);
    size_t i;
    if (wait_ns == 0 || feedback->outcome == RLM_ANSWERED) return;
    for (i = 0; i < limiter->count; i++)
        if (feedback->outcome != RLM_REFUSED || rlm_i_is_named(limiter, i, feedback->named)) (void)rlm_pause(limiter, i, wait_ns, now_ns);
}

static void rlm_i_answered(rlm_limiter *limiter, const rlm_permit *permit, uint64_t now_ns) {
    size_t i;
    limiter->refusals = 0;
    rlm_i_follow_delay(limiter, now_ns);
    for (i = 0; i < limiter->count; i++) {
        if (limiter->entry[i].kind != RLM_CONCURRENCY) continue;
        rlm_i_adapt(limiter, i, permit, now_ns);
        rlm_i_raise_cap(limiter, i, now_ns);
    }
}

/* What only one thread at a time does. */
static void rlm_i_learn(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback, uint64_t now_ns) {
    uint32_t outcome = feedback->outcome;
    bool refused = outcome == RLM_REFUSED && (feedback->named & RLM_NAMED_CONCURRENCY) != 0;
    bool overload = refused || outcome == RLM_OVERLOADED || outcome == RLM_SLOW_DOWN;
    size_t i;
    rlm_i_note_pace(limiter, now_ns);
    if (outcome == RLM_ANSWERED) rlm_i_note_delay(limiter, permit, now_ns);
    for (i = 0; i < limiter->count; i++) rlm_i_note_trail(limiter, i, now_ns);
    for (i = 0; i < feedback->count; i++) rlm_i_hear(limiter, permit, feedback, &feedback->reading[i], now_ns);
    if (outcome == RLM_ANSWERED) rlm_i_answered(limiter, permit, now_ns);
    if (outcome == RLM_REFUSED) rlm_i_refused(limiter, permit, feedback, now_ns);
    for (i = 0; i < limiter->count; i++) {
        if (overload) rlm_i_overloaded(limiter, i, permit, refused, now_ns);
        if (outcome == RLM_SLOW_DOWN) rlm_i_slow_down(limiter, i, permit, now_ns);
        rlm_i_climb(limiter, i, now_ns);
        rlm_i_guess_higher(limiter, i, now_ns);
    }
}

RLM_I_DEF int rlm_observe(rlm_limiter *limiter, const rlm_permit *permit, const rlm_feedback *feedback, uint64_t now_ns) {
    uint64_t unclaimed = 0;
    if (limiter == NULL || feedback == NULL) return RLM_E_NULL;
    if (feedback->outcome >= RLM_I_OUTCOMES || feedback->count > RLM_READINGS_MAX) return RLM_E_FEEDBACK;
    if (permit != NULL && rlm_i_load_seq_cst(&permit->state) != RLM_I_PERMIT_OUT) return RLM_E_PERMIT;
    rlm_i_pause_asked(limiter, feedback, now_ns);
    if (rlm_i_cas_seq_cst(&limiter->learning, &unclaimed, 1)) {
        rlm_i_learn(limiter, permit, feedback, now_ns);
        rlm_i_store_seq_cst(&limiter->learning, 0);
    }
    rlm_i_probe_answered(limiter, feedback);
    return RLM_OK;
}

/* -- estimates -- */

#define RLM_I_ONE UINT64_C(65536) /* a ratio of 1 */

RLM_I_DEF int rlm_route_init(rlm_route *route, uint32_t quantile_permille) {
    if (route == NULL) return RLM_E_NULL;
    if (quantile_permille == 0 || quantile_permille > 999) return RLM_E_AMOUNT;
    rlm_i_clear(route, sizeof *route);
    route->quantile_permille = quantile_permille;
    return RLM_OK;
}

/* The bin of an amount of 1 or more, and the largest amount in a bin. */
static uint32_t rlm_i_bin(uint64_t amount) {
    uint64_t octave = rlm_i_bit_length(amount) - 1;
    uint64_t quarter = octave >= 2 ? amount >> (octave - 2) & 3 : (amount << (2 - octave)) & 3;
    return (uint32_t)(4 * octave + quarter < RLM_I_ROUTE_BINS ? 4 * octave + quarter : RLM_I_ROUTE_BINS - 1);
}

static uint64_t rlm_i_bin_top(uint32_t bin) {
    uint64_t octave = bin / 4, next = 5 + bin % 4; /* of the bin after it: next / 4 x 2^octave */
    return bin + 1 < RLM_I_ROUTE_BINS ? ((next << octave) - 1) / 4 : RLM_AMOUNT_MAX;
}

/* The quantile of the outputs seen; 0 until there are enough. */
static uint64_t rlm_i_output_heard(const rlm_route *route) {
    uint64_t count[RLM_I_ROUTE_BINS], total = 0, sum = 0;
    uint32_t i;
    for (i = 0; i < RLM_I_ROUTE_BINS; i++) total += count[i] = rlm_i_load_seq_cst(&route->bin[i]);
    if (total < 8) return 0;
    for (i = 0; i + 1 < RLM_I_ROUTE_BINS; i++) { /* if in none before, in the last */
        sum += count[i];
        if (1000 * sum >= route->quantile_permille * total) break;
    }
    return rlm_i_bin_top(i);
}

RLM_I_DEF rlm_cost rlm_route_estimate(const rlm_route *route, const rlm_cost *estimate) {
    rlm_cost cost = *estimate;
    uint64_t input = rlm_i_load_seq_cst(&route->input), output = rlm_i_output_heard(route);
    uint64_t ratio = (input >> 40) + (input >> 16 & 0xffffff);
    if ((input & 0xffff) >= 8) cost.input_tokens = rlm_i_scale_up(cost.input_tokens, ratio, RLM_I_ONE);
    if (cost.input_tokens > RLM_AMOUNT_MAX) cost.input_tokens = RLM_AMOUNT_MAX;
    if (cost.output_tokens > RLM_AMOUNT_MAX) cost.output_tokens = RLM_AMOUNT_MAX;
    if (output != 0 && output < cost.output_tokens) cost.output_tokens = output;
    return cost;
}

static void rlm_i_learn_input(rlm_route *route, uint64_t estimated, uint64_t actual) {
    uint64_t seen = rlm_i_load_seq_cst(&route->input), next, seen_ratio = rlm_i_scale_up(actual, RLM_I_ONE, estimated);
    if (seen_ratio > 0xffffff) seen_ratio = 0xffffff; /* 256 times as much */
    do {
        uint64_t ratio = seen >> 40, spread = seen >> 16 & 0xffffff, count = seen & 0xffff;
        uint64_t over = count < 31 ? count + 1 : 32;
        uint64_t apart = seen_ratio > ratio ? seen_ratio - ratio : ratio - seen_ratio;
        if (count == 0) apart = seen_ratio / 8;
        ratio = (ratio * (over - 1) + seen_ratio + over / 2) / over;
        spread = (spread * (over - 1) + apart + over / 2) / over;
        next = ratio << 40 | spread << 16 | (count < 0xffff ? count + 1 : count);
    } while (!rlm_i_cas_seq_cst(&route->input, &seen, next));
}

static void rlm_i_learn_output(rlm_route *route, uint64_t actual) {
    uint64_t seen = rlm_i_load_seq_cst(&route->outputs);
    uint32_t i;
    rlm_i_add(&route->bin[rlm_i_bin(actual)], 1);
    while (!rlm_i_cas_seq_cst(&route->outputs, &seen, seen + 1 < 1000 ? seen + 1 : 500)) {}
    if (seen + 1 < 1000) return;
    for (i = 0; i < RLM_I_ROUTE_BINS; i++) { /* the older count for half */
        uint64_t count = rlm_i_load_seq_cst(&route->bin[i]);
        while (!rlm_i_cas_seq_cst(&route->bin[i], &count, count / 2)) {}
    }
}

RLM_I_DEF int rlm_route_learn(rlm_route *route, const rlm_cost *estimate, const rlm_cost *actual) {
    if (route == NULL || estimate == NULL || actual == NULL) return RLM_E_NULL;
    if (!rlm_i_cost_is_sane(estimate) || !rlm_i_cost_is_sane(actual)) return RLM_E_COST;
    if (estimate->input_tokens != 0 && actual->input_tokens != 0)
        rlm_i_learn_input(route, estimate->input_tokens, actual->input_tokens);
    if (actual->output_tokens != 0) rlm_i_learn_output(route, actual->output_tokens);
    return RLM_OK;
}

/* -- queue -- */

#define RLM_I_NOBODY UINT32_MAX

static rlm_i_waiter *rlm_i_waiter_at(const rlm_queue *queue, uint32_t index) {
    return (rlm_i_waiter *)(void *)(uintptr_t)(queue + 1) + index;
}

static uint64_t rlm_i_handle(const rlm_queue *queue, uint32_t index) {
    return (uint64_t)rlm_i_waiter_at(queue, index)->generation << 32 | index;
}

/* The deadlines form a binary heap of waiters' indices, kept in the waiters' own records. */
static void rlm_i_heap_put(rlm_queue *queue, uint32_t place, uint32_t index) {
    rlm_i_waiter_at(queue, place)->heap = index;
    rlm_i_waiter_at(queue, index)->heap_at = place;
}

static uint64_t rlm_i_heap_key(const rlm_queue *queue, uint32_t place) {
    return rlm_i_waiter_at(queue, rlm_i_waiter_at(queue, place)->heap)->deadline_ns;
}

/* Lets a waiter rise from an empty place, then sink. */
static void rlm_i_heap_settle(rlm_queue *queue, uint32_t place, uint32_t index) {
    uint64_t key = rlm_i_waiter_at(queue, index)->deadline_ns;
    while (place > 0 && rlm_i_heap_key(queue, (place - 1) / 2) > key) {
        rlm_i_heap_put(queue, place, rlm_i_waiter_at(queue, (place - 1) / 2)->heap);
        place = (place - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= queue->deadlines) break;
        if (child + 1 < queue->deadlines && rlm_i_heap_key(queue, child + 1) < rlm_i_heap_key(queue, child)) child++;
        if (rlm_i_heap_key(queue, child) >= key) break;
        rlm_i_heap_put(queue, place, rlm_i_waiter_at(queue, child)->heap);
        place = child;
    }
    rlm_i_heap_put(queue, place, index);
}

static void rlm_i_heap_remove(rlm_queue *queue, uint32_t index) {
    uint32_t place = rlm_i_waiter_at(queue, index)->heap_at, last;
    queue->deadlines--;
    last = rlm_i_waiter_at(queue, queue->deadlines)->heap;
    if (last != index) rlm_i_heap_settle(queue, place, last);
}

RLM_I_DEF size_t rlm_queue_bytes(size_t capacity) {
    if (capacity == 0 || capacity > UINT32_C(1) << 31 || capacity > (SIZE_MAX - sizeof(rlm_queue)) / sizeof(rlm_i_waiter)) return 0;
    return sizeof(rlm_queue) + capacity * sizeof(rlm_i_waiter);
}

RLM_I_DEF int rlm_queue_init(rlm_queue *queue, size_t bytes, size_t capacity, uint64_t ageing_ns) {
    uint32_t i;
    if (queue == NULL) return RLM_E_NULL;
    if (rlm_queue_bytes(capacity) == 0 || bytes < rlm_queue_bytes(capacity) || ageing_ns > RLM_STRICT) return RLM_E_MEMORY;
    rlm_i_clear(queue, rlm_queue_bytes(capacity));
    queue->ageing_ns = ageing_ns;
    queue->capacity = (uint32_t)capacity;
    for (i = 0; i < queue->capacity; i++) rlm_i_waiter_at(queue, i)->next = i + 1 < queue->capacity ? i + 1 : RLM_I_NOBODY;
    for (i = 0; i < RLM_I_PRIORITIES; i++) queue->first[i] = queue->last[i] = RLM_I_NOBODY;
    return RLM_OK;
}

/* Whoever came by a reading of the future came now: or a clock that ran ahead for a moment would keep
   a waiter behind all others. Each list is in order of since_ns, so only its end is looked at. */
static void rlm_i_queue_rejuvenate(rlm_queue *queue, uint64_t now_ns) {
    uint32_t priority, index;
    for (priority = 0; priority < RLM_I_PRIORITIES; priority++) {
        for (index = queue->last[priority]; index != RLM_I_NOBODY; index = rlm_i_waiter_at(queue, index)->previous) {
            if (rlm_i_waiter_at(queue, index)->since_ns <= now_ns) break;
            rlm_i_waiter_at(queue, index)->since_ns = now_ns;
        }
    }
}

RLM_I_DEF int rlm_queue_push(rlm_queue *queue, uint64_t data, uint32_t priority, uint64_t deadline_ns,
                             uint64_t now_ns, uint64_t *handle) {
    rlm_i_waiter *waiter;
    uint32_t index, last;
    if (queue == NULL || handle == NULL) return RLM_E_NULL;
    if (priority >= RLM_I_PRIORITIES) return RLM_E_PRIORITY;
    if (queue->count == queue->capacity) return RLM_E_FULL;
    rlm_i_queue_rejuvenate(queue, now_ns);
    index = queue->free;
    waiter = rlm_i_waiter_at(queue, index);
    queue->free = waiter->next;
    queue->count++;
    last = queue->last[priority];
    waiter->data = data;
    waiter->since_ns = now_ns;
    waiter->deadline_ns = deadline_ns;
    waiter->priority = priority;
    waiter->generation++;
    waiter->previous = last;
    waiter->next = RLM_I_NOBODY;
    if (last == RLM_I_NOBODY) {
        queue->first[priority] = index;
    } else {
        rlm_i_waiter_at(queue, last)->next = index;
    }
    queue->last[priority] = index;
    if (deadline_ns != RLM_NO_DEADLINE) {
        queue->deadlines++;
        rlm_i_heap_settle(queue, queue->deadlines - 1, index);
    }
    *handle = rlm_i_handle(queue, index);
    return RLM_OK;
}

RLM_I_DEF bool rlm_queue_head(const rlm_queue *queue, uint64_t *handle, uint64_t *data) {
    uint32_t priority, best = RLM_I_NOBODY;
    uint64_t best_key = 0;
    for (priority = 0; priority < RLM_I_PRIORITIES; priority++) {
        uint64_t key, late = priority * queue->ageing_ns;
        if (queue->first[priority] == RLM_I_NOBODY) continue;
        key = rlm_i_waiter_at(queue, queue->first[priority])->since_ns;
        key = key > UINT64_MAX - late ? UINT64_MAX : key + late;
        if (best != RLM_I_NOBODY && key >= best_key) continue;
        best = queue->first[priority];
        best_key = key;
    }
    if (best == RLM_I_NOBODY) return false;
    if (handle != NULL) *handle = rlm_i_handle(queue, best);
    if (data != NULL) *data = rlm_i_waiter_at(queue, best)->data;
    return true;
}

RLM_I_DEF int rlm_queue_remove(rlm_queue *queue, uint64_t handle) {
    uint32_t index = (uint32_t)(handle & UINT32_MAX), generation = (uint32_t)(handle >> 32);
    rlm_i_waiter *waiter;
    if (queue == NULL) return RLM_E_NULL;
    if (index >= queue->capacity || (generation & 1) == 0) return RLM_E_HANDLE;
    waiter = rlm_i_waiter_at(queue, index);
    if (waiter->generation != generation) return RLM_E_HANDLE;
    if (waiter->previous != RLM_I_NOBODY) rlm_i_waiter_at(queue, waiter->previous)->next = waiter->next;
    else queue->first[waiter->priority] = waiter->next;
    if (waiter->next != RLM_I_NOBODY) rlm_i_waiter_at(queue, waiter->next)->previous = waiter->previous;
    else queue->last[waiter->priority] = waiter->previous;
    if (waiter->deadline_ns != RLM_NO_DEADLINE) rlm_i_heap_remove(queue, index);
    waiter->generation++;
    waiter->next = queue->free;
    queue->free = index;
    queue->count--;
    return RLM_OK;
}

RLM_I_DEF bool rlm_queue_expire(rlm_queue *queue, uint64_t now_ns, uint64_t *handle, uint64_t *data) {
    uint32_t index;
    uint64_t gone;
    if (queue->deadlines == 0 || rlm_i_heap_key(queue, 0) > now_ns) return false;
    index = rlm_i_waiter_at(queue, 0)->heap;
    gone = rlm_i_handle(queue, index);
    if (handle != NULL) *handle = gone;
    if (data != NULL) *data = rlm_i_waiter_at(queue, index)->data;
    return rlm_queue_remove(queue, gone) == RLM_OK;
}

RLM_I_DEF uint64_t rlm_queue_deadline(const rlm_queue *queue) {
    return queue->deadlines == 0 ? RLM_NO_DEADLINE : rlm_i_heap_key(queue, 0);
}

/* -- backoff -- */

RLM_I_DEF rlm_backoff rlm_backoff_default(void) {
    rlm_backoff plan;
    rlm_i_clear(&plan, sizeof plan);
    plan.jitter = RLM_JITTER_FRACTION;
    plan.factor_permille = 2000;
    plan.fraction_permille = 100;
    plan.attempts_max = 8;
    plan.base_ns = RLM_SECOND_NS;
    plan.cap_ns = RLM_MINUTE_NS;
    plan.floor_ns = RLM_SECOND_NS / 10;
    plan.base_class_ns[RLM_CLASS_RATE_LIMIT] = 6 * RLM_SECOND_NS; /* so that the jitter stays above 5 s */
    plan.base_class_ns[RLM_CLASS_SERVER] = RLM_SECOND_NS / 2;
    plan.least_class_ns[RLM_CLASS_RATE_LIMIT] = 5 * RLM_SECOND_NS;
    plan.retry_after_max_ns = RLM_HOUR_NS;
    return plan;
}

RLM_I_DEF int rlm_backoff_check(const rlm_backoff *plan) {
    int i;
    if (plan == NULL) return RLM_E_NULL;
    if (plan->jitter >= RLM_I_JITTERS || plan->factor_permille < 1000 || plan->factor_permille > 100000 ||
        plan->fraction_permille > 1000 || plan->cap_ns > UINT64_C(1) << 50 || plan->base_ns == 0 ||
        plan->base_ns > plan->cap_ns || plan->floor_ns > plan->cap_ns)
        return RLM_E_BACKOFF;
    for (i = 0; i < RLM_I_CLASSES; i++)
        if (plan->base_class_ns[i] > plan->cap_ns || plan->least_class_ns[i] > plan->cap_ns) return RLM_E_BACKOFF;
    return RLM_OK;
}

/* A uniform draw from [low, high], by the generator splitmix64 (Steele, Lea and Flood 2014). */
static uint64_t rlm_i_uniform(uint64_t *random, uint64_t low, uint64_t high) {
    uint64_t z = (*random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return low + rlm_i_mul_high(z ^ z >> 31, high - low + 1);
}

RLM_I_DEF uint64_t rlm_backoff_next(const rlm_backoff *plan, rlm_backoff_state *state, uint32_t error_class,
                                    uint32_t priority, uint64_t retry_after_ns) {
    uint64_t base, delay, i, spread, upper;
    if (state == NULL || rlm_backoff_check(plan) != RLM_OK || error_class >= RLM_CLASS_FATAL || priority >= RLM_I_PRIORITIES)
        return RLM_NEVER;
    if (state->attempts >= plan->attempts_max) return RLM_NEVER;
    base = plan->base_class_ns[error_class] != 0 ? plan->base_class_ns[error_class] : plan->base_ns;
    for (delay = base, i = 0; i < state->attempts && delay < plan->cap_ns; i++)
        delay = rlm_i_mul_high(delay, plan->factor_permille) != 0 ? plan->cap_ns : delay * plan->factor_permille / 1000;
    if (delay > plan->cap_ns) delay = plan->cap_ns;
    switch (plan->jitter) {
    case RLM_JITTER_FRACTION:
        spread = delay * plan->fraction_permille / 1000;
        delay = rlm_i_uniform(&state->random, delay - spread, delay + spread);
        break;
    case RLM_JITTER_FULL: delay = rlm_i_uniform(&state->random, 0, delay); break;
    case RLM_JITTER_EQUAL: delay = rlm_i_uniform(&state->random, delay - delay / 2, delay); break;
    case RLM_JITTER_DECORRELATED: /* Brooker, "Exponential Backoff And Jitter" (AWS, 2015) */
        upper = 3 * (state->previous_ns != 0 ? state->previous_ns : base);
        if (upper > plan->cap_ns) upper = plan->cap_ns;
        delay = rlm_i_uniform(&state->random, base, upper > base ? upper : base);
        break;
    default: break;
    }
    state->previous_ns = delay;
    state->attempts++;
    if (priority <= RLM_HIGH) delay /= 2;
    if (delay < plan->floor_ns) delay = plan->floor_ns;
    if (delay < plan->least_class_ns[error_class]) delay = plan->least_class_ns[error_class];
    if (delay > plan->cap_ns) delay = plan->cap_ns;
    return retry_after_ns != 0 && retry_after_ns <= plan->retry_after_max_ns ? retry_after_ns : delay;
}

RLM_I_DEF int rlm_retry_budget_init(rlm_retry_budget *budget, uint32_t share_permille, uint64_t per_second,
                                    uint64_t burst, uint64_t now_ns) {
    rlm_limit limit = rlm_per_second(RLM_CUSTOM, per_second * 1000);
    if (budget == NULL) return RLM_E_NULL;
    if (share_permille > 1000 || per_second == 0 || per_second > 1000000) return RLM_E_AMOUNT;
    if (burst == 0 || burst > 1000000) return RLM_E_BURST;
    limit.burst = burst * 1000;
    budget->share_permille = share_permille;
    return rlm_bucket_init(&budget->bucket, &limit, now_ns); /* every such bucket can be */
}

#ifdef __cplusplus
}
#endif

#endif /* RLM_IMPLEMENTATION */

/*
   MIT License

   Copyright (c) 2026 The rlimit authors

   Permission is hereby granted, free of charge, to any person obtaining a copy
   of this software and associated documentation files (the "Software"), to deal
   in the Software without restriction, including without limitation the rights
   to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
   copies of the Software, and to permit persons to whom the Software is
   furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all
   copies or substantial portions of the Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
   LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
   SOFTWARE.
*/
