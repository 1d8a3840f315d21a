#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"
#include "model.h"

#define SECOND RLM_SECOND_NS
#define START (100 * RLM_DAY_NS)

/* Memory of the window under test, and of a copy. */
static uint64_t memory[24 * 1024], kept[24 * 1024];
static rlm_window *const window = (rlm_window *)(void *)memory;
static size_t bytes;

static void make(const rlm_limit *limit, uint64_t now_ns) {
    bytes = rlm_window_bytes(limit);
    CHECK(bytes != 0 && bytes <= sizeof memory);
    memset(memory, 0xa5, sizeof memory);
    CHECK_EQ(rlm_window_init(window, bytes, limit, now_ns), RLM_OK);
}

static void keep(void) { memcpy(kept, memory, sizeof memory); }
static bool same(void) { return memcmp(kept, memory, sizeof memory) == 0; }

static uint64_t some(uint64_t *random, uint64_t low, uint64_t high) {
    return low + check_random(random) % (high - low + 1);
}

/* What was admitted, by the naive way. mark is that of the operation. */
typedef struct entry {
    uint64_t at_ns, n, mark;
} entry;

static entry entries[60000];
static size_t entry_count, entry_first;

static void forget(void) { entry_count = entry_first = 0; }

static void note(uint64_t at_ns, uint64_t n, uint64_t mark) {
    CHECK(entry_count < sizeof entries / sizeof entries[0]);
    entries[entry_count].at_ns = at_ns;
    entries[entry_count].n = n;
    entries[entry_count++].mark = mark;
}

/* The sum of what was admitted in the last span_ns. For calls in order of time. */
static uint64_t held(uint64_t now_ns, uint64_t span_ns) {
    uint64_t sum = 0;
    size_t i;
    while (entry_first < entry_count && entries[entry_first].at_ns + 4 * span_ns < now_ns) entry_first++;
    for (i = entry_first; i < entry_count; i++)
        if (entries[i].at_ns + span_ns > now_ns) sum += entries[i].n;
    return sum;
}

/* The ns until n fit. */
static uint64_t wait_for(uint64_t n, uint64_t amount, uint64_t now_ns, uint64_t span_ns) {
    uint64_t sum = held(now_ns, span_ns);
    size_t i;
    if (sum + n <= amount) return 0;
    for (i = entry_first; i < entry_count; i++) {
        if (entries[i].at_ns + span_ns <= now_ns) continue;
        sum -= entries[i].n;
        if (sum + n <= amount) return entries[i].at_ns + span_ns - now_ns;
    }
    CHECK(sum == 0); /* it fits an empty window */
    return 0;
}

static void bad_limits_change_nothing(void) {
    rlm_limit good = rlm_sliding(RLM_REQUESTS, 10, SECOND), bad[16];
    int status[16], count = 0, i;
#define BAD(expected) bad[count] = good, status[count] = (expected), count++, bad[count - 1]
    BAD(RLM_E_KIND).kind = RLM_BUCKET;
    BAD(RLM_E_KIND).kind = 9;
    BAD(RLM_E_METER).meter = RLM_CUSTOM + 1;
    BAD(RLM_E_AMOUNT).amount = 0;
    BAD(RLM_E_AMOUNT).amount = RLM_AMOUNT_MAX + 1;
    BAD(RLM_E_PERIOD).period_ns = 0;
    BAD(RLM_E_PERIOD).period_ns = (UINT64_C(1) << 55) + 1;
    BAD(RLM_E_RATE).amount = 10 * SECOND + 1;
    BAD(RLM_E_GUARD).guard_ns = SECOND + 1;
    BAD(RLM_E_CELLS).cells = 1;
    BAD(RLM_E_CELLS).cells = 2;
    BAD(RLM_E_CELLS).cells = 65537;
    bad[count] = rlm_sliding(RLM_REQUESTS, RLM_AMOUNT_MAX, RLM_AMOUNT_MAX / 10 + 1);
    bad[count].cells = 65536;
    status[count++] = RLM_E_SPAN;
#undef BAD
    memset(memory, 0xa5, sizeof memory);
    keep();
    for (i = 0; i < count; i++) {
        CHECK_EQ(rlm_window_init(window, sizeof memory, &bad[i], START), status[i]);
        if (status[i] != RLM_E_SPAN) CHECK_EQ(rlm_window_bytes(&bad[i]), 0);
    }
    CHECK_EQ(rlm_window_bytes(NULL), 0);
    CHECK_EQ(rlm_window_init(NULL, sizeof memory, &good, START), RLM_E_NULL);
    CHECK_EQ(rlm_window_init(window, sizeof memory, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_window_init(window, rlm_window_bytes(&good) - 1, &good, START), RLM_E_MEMORY);
    CHECK_EQ(rlm_window_init(window, 0, &good, START), RLM_E_MEMORY);
    CHECK(same());
    CHECK_EQ(rlm_window_bytes(&good), sizeof(rlm_window) + 24 * 258);
    good.cells = 3;
    CHECK_EQ(rlm_window_bytes(&good), sizeof(rlm_window) + 24 * 3);
}

static void init_stays_in_its_memory(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, SECOND);
    uint64_t k;
    make(&limit, START);
    for (k = 0; k < 1000; k++) (void)rlm_window_take(window, 1 + k % 3, START + k * SECOND / 20, NULL);
    for (k = bytes / sizeof(uint64_t); k < sizeof memory / sizeof memory[0]; k++) CHECK_EQ(memory[k], UINT64_C(0xa5a5a5a5a5a5a5a5));
}

static void answers_and_refusals(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 5, 10 * SECOND);
    rlm_usage usage;
    uint64_t mark = 77, k;
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 0, START, NULL), 0);
    CHECK_EQ(rlm_window_peek(window, 5, START), 0);
    for (k = 0; k < 5; k++) CHECK_EQ(rlm_window_take(window, 1, START + k * SECOND, &mark), 0);
    keep();
    mark = 77;
    CHECK_EQ(rlm_window_take(window, 0, START + 5 * SECOND, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + 5 * SECOND, &mark), 5 * SECOND);
    CHECK_EQ(rlm_window_take(window, 3, START + 5 * SECOND, &mark), 7 * SECOND);
    CHECK_EQ(rlm_window_peek(window, 5, START + 5 * SECOND), 9 * SECOND);
    CHECK_EQ(rlm_window_take(window, 6, START + 5 * SECOND, &mark), RLM_NEVER);
    CHECK_EQ(rlm_window_take(window, UINT64_MAX, START + 5 * SECOND, &mark), RLM_NEVER);
    CHECK_EQ(rlm_window_peek(window, RLM_AMOUNT_MAX, START + 5 * SECOND), RLM_NEVER);
    CHECK_EQ(mark, 77);
    CHECK_EQ(rlm_window_status(window, &usage, START + 5 * SECOND), RLM_OK);
    CHECK_EQ(usage.limit, 5);
    CHECK_EQ(usage.used, 5);
    CHECK_EQ(usage.remaining, 0);
    CHECK_EQ(usage.reset_ns, 9 * SECOND);
    CHECK_EQ(rlm_window_status(window, &usage, START + 12 * SECOND), RLM_OK);
    CHECK_EQ(usage.used, 2);
    CHECK_EQ(usage.remaining, 3);
    CHECK_EQ(usage.reset_ns, 2 * SECOND);
    CHECK_EQ(rlm_window_status(window, &usage, START + 14 * SECOND), RLM_OK);
    CHECK_EQ(usage.used, 0);
    CHECK_EQ(usage.reset_ns, 0);
    CHECK(same());
    CHECK_EQ(rlm_window_status(NULL, &usage, START), RLM_E_NULL);
    CHECK_EQ(rlm_window_status(window, NULL, START), RLM_E_NULL);
    CHECK_EQ(rlm_window_credit(NULL, 1, 0), RLM_E_NULL);
    CHECK_EQ(rlm_window_credit(window, RLM_AMOUNT_MAX + 1, 0), RLM_E_COST);
    CHECK_EQ(rlm_window_credit(window, UINT64_MAX, 0), RLM_E_COST);
    CHECK_EQ(rlm_window_credit(window, 0, 0), RLM_OK);
    CHECK_EQ(rlm_window_debit(NULL, 1, START), RLM_E_NULL);
    CHECK_EQ(rlm_window_debit(window, RLM_AMOUNT_MAX + 1, START + 5 * SECOND), RLM_E_COST);
    CHECK_EQ(rlm_window_debit(window, RLM_AMOUNT_MAX, START + 5 * SECOND), RLM_E_COST);
    CHECK_EQ(rlm_window_debit(window, 0, START + 5 * SECOND), RLM_OK);
    CHECK(same());
    CHECK_EQ(rlm_window_take(window, 1, START + 10 * SECOND - 1, NULL), 1);
    CHECK_EQ(rlm_window_take(window, 1, START + 10 * SECOND, NULL), 0);
}

/* An exact window against the naive list: the same answer to every call, many times round the ring. */
static void exact_windows_answer_as_a_list_would(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 120; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 1, 40), some(&random, 4, 2000));
        uint64_t now_ns = START + some(&random, 0, 1000), span_ns, most;
        if (some(&random, 0, 3) == 0) limit.guard_ns = some(&random, 0, limit.period_ns);
        if (some(&random, 0, 3) == 0) limit.cells = (uint32_t)(limit.amount + 2 + some(&random, 0, 5));
        span_ns = limit.period_ns + limit.guard_ns;
        most = some(&random, 0, 1) ? 1 : limit.amount;
        make(&limit, now_ns);
        forget();
        for (step = 0; step < 400; step++) {
            uint64_t n = some(&random, 1, most), wait_ns, mark = 0;
            rlm_usage usage;
            now_ns += some(&random, 0, 3) ? some(&random, 0, 2 * span_ns / limit.amount + 1) : some(&random, 0, span_ns);
            CHECK_EQ(rlm_window_status(window, &usage, now_ns), RLM_OK);
            CHECK_EQ(usage.used, held(now_ns, span_ns));
            CHECK(usage.remaining == (int64_t)(limit.amount - usage.used));
            CHECK_EQ(usage.reset_ns, wait_for(limit.amount, limit.amount, now_ns, span_ns));
            wait_ns = wait_for(n, limit.amount, now_ns, span_ns);
            CHECK_EQ(rlm_window_peek(window, n, now_ns), wait_ns);
            keep();
            CHECK_EQ(rlm_window_take(window, n, now_ns, &mark), wait_ns);
            if (wait_ns == 0) note(now_ns, n, mark);
            else CHECK(same());
        }
    }
}

/* The same with credits: each to its own operation, and of no effect once that has left. With cells
   to spare, it is exact. */
static void credit_goes_to_its_own_operation(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 120; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 1, 20), some(&random, 4, 1000));
        uint64_t now_ns = START;
        limit.cells = 900;
        make(&limit, now_ns);
        forget();
        for (step = 0; step < 300; step++) {
            uint64_t n = some(&random, 1, limit.amount), wait_ns, mark = 0;
            now_ns += some(&random, 0, 2 * limit.period_ns / limit.amount + 1);
            wait_ns = wait_for(n, limit.amount, now_ns, limit.period_ns);
            CHECK_EQ(rlm_window_take(window, n, now_ns, &mark), wait_ns);
            if (wait_ns == 0) note(now_ns, n, mark);
            if (entry_count != 0 && some(&random, 0, 1)) {
                size_t back = (size_t)some(&random, 0, 12);
                entry *given = &entries[entry_count > back ? entry_count - 1 - back : 0];
                n = some(&random, 0, given->n);
                CHECK_EQ(rlm_window_credit(window, n, given->mark), RLM_OK);
                given->n -= n;
            }
        }
    }
}

/* Little memory and everything cancelled at once: operations join, nobody is admitted too early, and
   none is held longer than a window. */
static void cancelled_operations_fill_the_ring(void) {
    uint64_t random = check_seed(), round, step, k;
    for (round = 0; round < 100; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 1, 6), 1000);
        uint64_t now_ns = START;
        limit.cells = (uint32_t)limit.amount + 2;
        make(&limit, now_ns);
        forget();
        for (step = 0; step < 500; step++) {
            uint64_t n = some(&random, 1, limit.amount), mark = 0, wait_ns;
            now_ns += some(&random, 0, 60);
            wait_ns = rlm_window_take(window, n, now_ns, &mark);
            CHECK(wait_ns <= 1000);
            if (wait_ns != 0) continue;
            CHECK(held(now_ns, 1000) + n <= limit.amount);
            note(now_ns, n, mark);
            if (some(&random, 0, 3) == 0) continue;
            k = some(&random, 0, n);
            CHECK_EQ(rlm_window_credit(window, k, mark), RLM_OK);
            entries[entry_count - 1].n -= k;
        }
        CHECK_EQ(rlm_window_peek(window, limit.amount, now_ns + 1000), 0);
    }
}

/* Slots: never more than the amount in any period, and refused only where a window longer by one
   slot would be full. */
static void slots_are_conservative_by_at_most_one(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 150; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 50, 2000), some(&random, 1000, 100000));
        uint64_t now_ns = START + some(&random, 0, 100000), span_ns, slot_ns, most_ns;
        limit.cells = (uint32_t)some(&random, 3, 40);
        if (some(&random, 0, 2) == 0) limit.guard_ns = some(&random, 0, limit.period_ns);
        span_ns = limit.period_ns + limit.guard_ns;
        slot_ns = (span_ns - 1) / (limit.cells - 2) + 1;
        most_ns = slot_ns * (limit.cells - 1) - span_ns; /* a slot, and what rounding slots up adds */
        make(&limit, now_ns);
        forget();
        for (step = 0; step < 400; step++) {
            uint64_t n = some(&random, 1, limit.amount / some(&random, 1, 20)), wait_ns, mark = 0, least_ns;
            rlm_usage usage;
            now_ns += some(&random, 0, 9) ? some(&random, 0, span_ns / 8) : some(&random, 0, 3 * span_ns);
            CHECK_EQ(rlm_window_status(window, &usage, now_ns), RLM_OK);
            CHECK(usage.used >= held(now_ns, span_ns) && usage.used <= held(now_ns, span_ns + most_ns));
            keep();
            wait_ns = rlm_window_peek(window, n, now_ns);
            CHECK(same());
            CHECK_EQ(rlm_window_take(window, n, now_ns, &mark), wait_ns);
            least_ns = wait_for(n, limit.amount, now_ns, span_ns);
            CHECK(wait_ns >= least_ns && wait_ns <= least_ns + most_ns);
            if (wait_ns == 0) {
                note(now_ns, n, mark);
            } else {
                CHECK(same());
                CHECK(held(now_ns, span_ns + most_ns) + n > limit.amount);
                CHECK_EQ(rlm_window_peek(window, n, now_ns + wait_ns), 0);
                CHECK(rlm_window_peek(window, n, now_ns + wait_ns - 1) != 0);
            }
        }
    }
}

static void credit_goes_to_its_own_slot(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 100; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 50, 500), some(&random, 1000, 100000));
        uint64_t now_ns = START, most_ns;
        limit.cells = (uint32_t)some(&random, 3, 20);
        most_ns = ((limit.period_ns - 1) / (limit.cells - 2) + 1) * (limit.cells - 1) - limit.period_ns;
        make(&limit, now_ns);
        forget();
        for (step = 0; step < 400; step++) {
            uint64_t n = some(&random, 1, limit.amount / 3), mark = 0;
            now_ns += some(&random, 0, 9) ? some(&random, 0, limit.period_ns / 8) : some(&random, 0, 3 * limit.period_ns);
            if (rlm_window_take(window, n, now_ns, &mark) == 0) {
                CHECK(held(now_ns, limit.period_ns) + n <= limit.amount);
                note(now_ns, n, mark);
            } else {
                CHECK(held(now_ns, limit.period_ns + most_ns) + n > limit.amount);
            }
            if (entry_count != 0 && some(&random, 0, 1)) {
                size_t back = (size_t)some(&random, 0, 20);
                entry *given = &entries[entry_count > back ? entry_count - 1 - back : 0];
                n = some(&random, 0, given->n);
                CHECK_EQ(rlm_window_credit(window, n, given->mark), RLM_OK);
                given->n -= n;
            }
        }
    }
}

/* 2^40 in one window: totals wrap many times. */
static void large_amounts_wrap(void) {
    static const uint64_t amounts[] = {UINT64_C(1) << 40, (UINT64_C(1) << 40) - 1, 1000003, 256, 7};
    size_t i;
    for (i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        rlm_limit limit = rlm_sliding(RLM_INPUT_TOKENS, amounts[i], RLM_DAY_NS);
        uint64_t k, now_ns = START, slot_ns = amounts[i] <= 256 ? 0 : (RLM_DAY_NS - 1) / 256 + 1;
        make(&limit, now_ns);
        for (k = 0; k < 1400; k++) { /* nearly four years */
            uint64_t half = amounts[i] / 2, wait_ns;
            CHECK_EQ(rlm_window_take(window, half, now_ns, NULL), 0);
            CHECK_EQ(rlm_window_take(window, amounts[i] - half, now_ns + 1, NULL), 0);
            wait_ns = rlm_window_take(window, amounts[i], now_ns + 1, NULL);
            CHECK(wait_ns >= RLM_DAY_NS && wait_ns <= RLM_DAY_NS + slot_ns);
            now_ns += 1 + wait_ns;
        }
    }
}

/* What is debited counts, from then on and for one window: no less and no more. */
static void debits_count_for_one_window(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, 10 * SECOND);
    rlm_usage usage;
    make(&limit, START);
    CHECK_EQ(rlm_window_debit(window, 12, START), RLM_OK); /* into an empty window, beyond the amount */
    CHECK_EQ(rlm_window_status(window, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, 12);
    CHECK(usage.remaining == -2);
    CHECK_EQ(rlm_window_take(window, 1, START, NULL), 10 * SECOND);
    CHECK_EQ(rlm_window_take(window, 0, START, NULL), 10 * SECOND);
    CHECK_EQ(rlm_window_take(window, 5, START + 10 * SECOND, NULL), 0);
    CHECK_EQ(rlm_window_debit(window, 1, START + 100 * SECOND), RLM_OK); /* after all has left */
    CHECK_EQ(rlm_window_status(window, &usage, START + 100 * SECOND), RLM_OK);
    CHECK_EQ(usage.used, 1);
    CHECK_EQ(rlm_window_take(window, 9, START + 100 * SECOND, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + 100 * SECOND, NULL), 10 * SECOND);
    CHECK_EQ(rlm_window_take(window, 4, START + 120 * SECOND, NULL), 0);
    CHECK_EQ(rlm_window_debit(window, 3, START + 125 * SECOND), RLM_OK);
    CHECK_EQ(rlm_window_status(window, &usage, START + 130 * SECOND), RLM_OK);
    CHECK_EQ(usage.used, 3); /* the four have left, the three have not */
}

/* Takes and debits at random: a debit is never lost. */
static void debits_are_never_lost(void) {
    uint64_t random = check_seed(), round, step;
    for (round = 0; round < 200; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 2, 300), some(&random, 1000, 100000));
        uint64_t now_ns = START;
        if (some(&random, 0, 1)) limit.cells = (uint32_t)some(&random, 3, 20);
        make(&limit, now_ns);
        forget();
        for (step = 0; step < 200; step++) {
            uint64_t n = some(&random, 1, limit.amount / 2), h;
            now_ns += some(&random, 0, 9) ? some(&random, 0, limit.period_ns / 8) : some(&random, 0, 3 * limit.period_ns);
            h = held(now_ns, limit.period_ns);
            if (h + n <= 2 * limit.amount && some(&random, 0, 2) == 0) {
                if (rlm_window_debit(window, n, now_ns) == RLM_OK) note(now_ns, n, 0);
            } else if (rlm_window_take(window, n, now_ns, NULL) == 0) {
                CHECK(h + n <= limit.amount);
                note(now_ns, n, 0);
            }
        }
    }
}

static void debits_fill_up_to_twice_the_amount(void) {
    static const uint64_t amounts[] = {1, 10, 256, 257, 80000, UINT64_C(1) << 39, UINT64_C(1) << 40};
    size_t i;
    for (i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, amounts[i], RLM_MINUTE_NS);
        rlm_usage usage;
        uint64_t k, n = amounts[i];
        if (amounts[i] > 1000000) limit.period_ns = RLM_DAY_NS;
        make(&limit, START);
        CHECK_EQ(rlm_window_take(window, amounts[i], START, NULL), 0);
        CHECK_EQ(rlm_window_debit(window, amounts[i], START), RLM_OK);
        CHECK_EQ(rlm_window_status(window, &usage, START), RLM_OK);
        CHECK_EQ(usage.used, 2 * amounts[i]);
        CHECK(usage.remaining == -(int64_t)amounts[i]);
        for (k = 0; k < 2000; k++) { /* until it is full: then an error, and nothing has changed */
            keep();
            if (rlm_window_debit(window, n, START) == RLM_OK) n = n < RLM_AMOUNT_MAX / 2 ? 2 * n : RLM_AMOUNT_MAX;
            else if (n == amounts[i]) break;
            else n = n / 2 > amounts[i] ? n / 2 : amounts[i];
        }
        CHECK(k < 2000);
        CHECK(same());
        CHECK_EQ(rlm_window_debit(window, amounts[i], START), RLM_E_COST);
        CHECK(rlm_window_take(window, 1, START, NULL) != 0);
        CHECK_EQ(rlm_window_take(window, amounts[i], START + 2 * limit.period_ns, NULL), 0);
    }
}

static void reconfiguring_keeps_what_is_held(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, 10 * SECOND), next;
    limit.cells = 12;
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 6, START, NULL), 0);
    next = limit;
    next.amount = 4;
    CHECK_EQ(rlm_window_reconfigure(window, &next), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 5, START + SECOND, NULL), RLM_NEVER);
    CHECK_EQ(rlm_window_take(window, 1, START + SECOND, NULL), 9 * SECOND);
    CHECK_EQ(rlm_window_take(window, 0, START + SECOND, NULL), 9 * SECOND);
    CHECK_EQ(rlm_window_reconfigure(window, &limit), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 4, START + SECOND, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + SECOND, NULL), 9 * SECOND);
    keep();
    next.amount = 11;
    CHECK_EQ(rlm_window_reconfigure(window, &next), RLM_E_CAPACITY);
    next = limit;
    next.period_ns++;
    CHECK_EQ(rlm_window_reconfigure(window, &next), RLM_E_PERIOD);
    next = limit;
    next.guard_ns = 1;
    CHECK_EQ(rlm_window_reconfigure(window, &next), RLM_E_PERIOD);
    next = limit;
    next.amount = 0;
    CHECK_EQ(rlm_window_reconfigure(window, &next), RLM_E_AMOUNT);
    next = limit;
    next.kind = RLM_BUCKET;
    CHECK_EQ(rlm_window_reconfigure(window, &next), RLM_E_KIND);
    CHECK_EQ(rlm_window_reconfigure(NULL, &limit), RLM_E_NULL);
    CHECK_EQ(rlm_window_reconfigure(window, NULL), RLM_E_NULL);
    CHECK(same());
    limit = rlm_sliding(RLM_REQUESTS, 1000, 10 * SECOND); /* slots: up to twice */
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 1000, START, NULL), 0);
    limit.amount = 2000;
    CHECK_EQ(rlm_window_reconfigure(window, &limit), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 1000, START, NULL), 0);
    CHECK(rlm_window_take(window, 1, START, NULL) >= 10 * SECOND);
    keep();
    limit.amount = RLM_AMOUNT_MAX / 1000;
    CHECK_EQ(rlm_window_reconfigure(window, &limit), RLM_E_CAPACITY);
    CHECK(same());
}

/* Readings that lag by less than a period, in any order. An operation with a stale reading happens
   after those that were admitted with newer ones, so its time is the newest of these: by that,
   never more than the amount in any period. */
static void stale_readings_admit_nothing_more(void) {
    uint64_t random = check_seed(), round, step;
    static admission log[1000];
    for (round = 0; round < 200; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 1, 300), some(&random, 1000, 100000));
        uint64_t newest_ns = START, newest_admitted_ns = 0;
        size_t count = 0;
        if (some(&random, 0, 1)) limit.cells = (uint32_t)some(&random, 3, 20);
        make(&limit, newest_ns);
        for (step = 0; step < 700; step++) {
            uint64_t n = some(&random, 1, 1 + limit.amount / 4), now_ns;
            newest_ns += some(&random, 0, limit.period_ns / 16);
            now_ns = some(&random, 0, 1) ? newest_ns : newest_ns - some(&random, 0, limit.period_ns - 1);
            if (rlm_window_take(window, n, now_ns, NULL) != 0) continue;
            if (now_ns > newest_admitted_ns) newest_admitted_ns = now_ns;
            log[count].at_ns = newest_admitted_ns;
            log[count++].n = n;
        }
        CHECK(log_keeps_window(log, count, limit.amount, limit.period_ns));
    }
}

static void frozen_readings_admit_nothing_more(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 100, SECOND);
    uint64_t k, admitted = 0;
    for (limit.cells = 12; limit.cells <= 102; limit.cells += 90) {
        make(&limit, START);
        for (admitted = 0, k = 0; k < 10000; k++) admitted += rlm_window_take(window, 1, START, NULL) == 0;
        CHECK_EQ(admitted, 100);
    }
}

/* Set back for good: after a period (and a slot), and not before, all is as usual. born_ns: of the window. */
static void set_back_of(uint64_t amount, uint32_t cells, uint64_t by_ns, uint64_t taken, uint64_t born_ns) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, amount, 10 * SECOND);
    uint64_t k, step_ns = SECOND / 10, slot_ns = 0, admitted = 0, last_ns = START, now_ns;
    limit.cells = cells;
    if (cells != 0 && cells - 2 < amount) slot_ns = (10 * SECOND - 1) / (cells - 2) + 1;
    make(&limit, born_ns);
    CHECK_EQ(rlm_window_take(window, taken, START + by_ns, NULL), 0);
    for (k = 0; k < 1000; k++) {
        now_ns = START + k * step_ns;
        if (rlm_window_take(window, 1, now_ns, NULL) == 0) {
            admitted++;
            last_ns = now_ns;
        }
        CHECK(now_ns - last_ns <= 10 * SECOND + slot_ns + 2 * step_ns);
    }
    CHECK(admitted >= 5 * amount && admitted <= 11 * amount);
}

static void set_back(uint64_t amount, uint32_t cells, uint64_t by_ns, uint64_t taken) {
    set_back_of(amount, cells, by_ns, taken, START);
    set_back_of(amount, cells, by_ns, taken, START + by_ns); /* to before it was made */
}

static void a_clock_set_back_exact(void) {
    set_back(10, 0, 15 * SECOND, 10);
    set_back(10, 0, 4000 * SECOND, 10);
    set_back(10, 0, 1000 * RLM_DAY_NS, 10);
}

/* One operation of many lies in the future. */
static void a_clock_set_back_exact_and_partly_used(void) {
    set_back(10, 0, 15 * SECOND, 1);
    set_back(10, 0, 4000 * SECOND, 9);
    set_back(10, 0, 1000 * RLM_DAY_NS, 5);
}

static void a_clock_set_back_slotted(void) {
    set_back(50, 12, 15 * SECOND, 50);
    set_back(50, 12, 4000 * SECOND, 50);
    set_back(50, 12, 4000 * SECOND, 1);
    set_back(50, 12, 1000 * RLM_DAY_NS, 50);
}

/* The clock is set back. A thread whose reading is of before takes, a second is seen late by the clock of after, and a third
   one a little later, which had read it earlier: what the first took is not gone too soon. */
static void a_late_reading_does_not_hasten_belief(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 100, 10 * SECOND);
    uint64_t ahead_ns = START + RLM_HOUR_NS, k;
    for (limit.cells = 12; limit.cells <= 140; limit.cells += 128) {
        make(&limit, START);
        CHECK_EQ(rlm_window_take(window, 40, ahead_ns, NULL), 0);
        CHECK_EQ(rlm_window_take(window, 20, ahead_ns + 1, NULL), 0);
        CHECK(rlm_window_take(window, 50, START + SECOND, NULL) != 0);
        CHECK(rlm_window_take(window, 50, START + SECOND / 4, NULL) != 0);
        for (k = 2; k <= 10; k++) CHECK(rlm_window_peek(window, 50, START + k * SECOND) != 0);
        CHECK(rlm_window_take(window, 100, START + 10 * SECOND + SECOND / 2, NULL) != 0);
        CHECK_EQ(rlm_window_take(window, 100, START + 13 * SECOND, NULL), 0);
    }
}

/* A thread reads the clock, which is then set back by hours, and takes: whoever waits is not told to wait until then. */
static void a_wait_is_bounded_though_a_record_lies_far_ahead(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 3, 10 * SECOND);
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 1, START, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + 7200 * SECOND, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + SECOND, NULL), 0);
    CHECK(rlm_window_peek(window, 3, START + SECOND) <= 20 * SECOND);
}

/* The clock is set back by three seconds, and comes to a slot for the second time: what is given back to an operation of the
   first time is not taken for a part of one of the second. */
static void a_mark_of_before_the_clock_was_set_back_names_nothing(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 1000, SECOND);
    uint64_t before, after, now_ns = START + 3 * SECOND, again_ns = now_ns;
    limit.cells = 12;
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 500, now_ns, &before), 0);
    for (now_ns = START; now_ns < again_ns; now_ns += SECOND / 10) (void)rlm_window_peek(window, 1, now_ns);
    CHECK_EQ(rlm_window_take(window, 400, again_ns, &after), 0);
    CHECK_EQ(rlm_window_credit(window, 500, before), RLM_OK);
    CHECK(rlm_window_take(window, 700, again_ns, NULL) != 0);
    CHECK_EQ(rlm_window_credit(window, 300, after), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 700, again_ns, NULL), 0);
}

/* What was admitted by a clock that ran ahead is not given back to an operation of later. */
static void credit_after_a_clock_was_set_back(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 100, 10 * SECOND);
    uint64_t mark = 0, k;
    static admission log[40000];
    size_t count = 0;
    limit.cells = 12;
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 100, START + 1000 * SECOND, &mark), 0);
    for (k = 0; k < 4000; k++) (void)rlm_window_take(window, 1, START + k * SECOND / 100, NULL);
    CHECK_EQ(rlm_window_credit(window, 100, mark), RLM_OK);
    for (k = 4000; k < 105000; k += 4) {
        if (rlm_window_take(window, 10, START + k * SECOND / 100, NULL) != 0) continue;
        log[count].at_ns = START + k * SECOND / 100;
        log[count++].n = 10;
    }
    CHECK(log_keeps_window(log, count, 100, 10 * SECOND));
}

static void jumps_ahead_admit_a_window_each(void) {
    static const uint64_t jumps[] = {SECOND, 60 * SECOND, RLM_DAY_NS, 400 * RLM_DAY_NS, UINT64_MAX - START - 2000 * SECOND};
    size_t i, cells;
    for (i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        for (cells = 0; cells <= 5; cells += 5) {
            rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, SECOND);
            uint64_t k, admitted = 0;
            limit.cells = (uint32_t)cells;
            make(&limit, START);
            for (k = 0; k < 100; k++) admitted += rlm_window_take(window, 1, START, NULL) == 0;
            CHECK_EQ(admitted, 10);
            for (k = 0; k < 100; k++) admitted += rlm_window_take(window, 1, START + jumps[i], NULL) == 0;
            CHECK(admitted <= 20);
            for (k = 0; k < 1000; k++) admitted += rlm_window_take(window, 1, START + k * SECOND / 100, NULL) == 0;
            CHECK(admitted <= 20 + 110);
        }
    }
}

static void ends_of_time(void) {
    static const uint64_t times[] = {0, 1, 1000, UINT64_C(1) << 32, UINT64_C(1) << 54, UINT64_C(1) << 60, UINT64_C(1) << 63,
                                     UINT64_MAX - 1, UINT64_MAX};
    size_t count = sizeof times / sizeof times[0], i, j, cells;
    for (i = 0; i < count; i++) {
        for (j = 0; j < count; j++) {
            for (cells = 0; cells <= 5; cells += 5) {
                rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, SECOND);
                rlm_usage usage;
                uint64_t k, admitted = 0;
                limit.cells = (uint32_t)cells;
                make(&limit, times[i]);
                for (k = 0; k < 50; k++) admitted += rlm_window_take(window, 1, times[j], NULL) == 0;
                CHECK_EQ(admitted, 10);
                CHECK_EQ(rlm_window_status(window, &usage, times[j]), RLM_OK);
                CHECK_EQ(usage.used, 10);
            }
        }
    }
}

/* Slots count for four years at least, and then refuse rather than admit too much. */
static void life_of_a_window(void) {
    uint64_t k, admitted = 0, day, j;
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 100, 1000000);
    limit.cells = 52; /* slots of 20 us */
    make(&limit, START);
    for (day = 1; day <= 1459; day += 27)
        for (k = 0; k < 100; k++)
            CHECK_EQ(rlm_window_take(window, 100, START + day * RLM_DAY_NS - SECOND + k * 1020000, NULL), 0);
    for (day = 1460; day < 100000; day += day / 3) {
        for (admitted = 0, k = 0; k < 1000; k++) admitted += rlm_window_take(window, 10, START + day * RLM_DAY_NS, NULL) == 0;
        CHECK(admitted <= 10);
        for (j = 0; j < 10; j++) /* a window later */
            for (k = 0; k < 20; k++)
                admitted += rlm_window_take(window, 10, START + day * RLM_DAY_NS + j * 1000000, NULL) == 0;
        CHECK(admitted <= 100);
    }
}

/* Who waits as long as he was told while the clock is behind is admitted then, and not a nanosecond before. */
static void a_clock_set_back_is_believed_when_it_was_told(void) {
    uint32_t cells;
    for (cells = 12; cells <= 22; cells += 10) { /* slots, exact */
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, 20, 10 * SECOND);
        uint64_t wait_ns;
        limit.cells = cells;
        make(&limit, START);
        CHECK_EQ(rlm_window_take(window, 20, START + 4000 * SECOND, NULL), 0);
        wait_ns = rlm_window_take(window, 1, START, NULL);
        CHECK_EQ(wait_ns, 10 * SECOND);
        CHECK_EQ(rlm_window_take(window, 1, START + wait_ns - 1, NULL), 1);
        CHECK_EQ(rlm_window_take(window, 1, START + wait_ns, NULL), 0);
    }
}

/* A window of slots that are short beside the years it lasts counts up to some number, and refuses to be made larger. */
static void a_window_is_not_made_larger_than_it_counts(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 1000, SECOND);
    uint64_t most = 1000;
    make(&limit, START);
    while (rlm_window_reconfigure(window, &limit) == RLM_OK) limit.amount *= 2;
    most = limit.amount / 2;
    CHECK(most >= 2000 && most < UINT64_C(10000000000)); /* which would be too high a rate */
    CHECK_EQ(rlm_window_reconfigure(window, &limit), RLM_E_CAPACITY);
    limit.amount = most;
    CHECK_EQ(rlm_window_reconfigure(window, &limit), RLM_OK);
    CHECK_EQ(rlm_window_take(window, most, START, NULL), 0);
    CHECK(rlm_window_take(window, 1, START, NULL) != 0);
    CHECK_EQ(rlm_window_debit(window, most, START), RLM_OK); /* and it owes as much again */
    CHECK(rlm_window_take(window, 1, START, NULL) != 0);
    CHECK_EQ(rlm_window_take(window, most, START + 2 * SECOND, NULL), 0);
}

/* After a clock was set back: by the readings since, never more than the amount in any period, whatever lay ahead. */
static void a_clock_set_back_admits_no_more_than_the_amount(void) {
    uint64_t random = check_seed(), round, step;
    static admission log[400];
    for (round = 0; round < 400; round++) {
        rlm_limit limit = rlm_sliding(RLM_REQUESTS, some(&random, 2, 60), 10 * SECOND);
        uint64_t ahead_ns = some(&random, 20, 100) * SECOND, now_ns = START, most;
        size_t count = 0;
        limit.cells = some(&random, 0, 1) ? (uint32_t)some(&random, 3, 12) : (uint32_t)limit.amount + 2;
        make(&limit, START);
        for (step = 0; step < 2u * limit.cells; step++) /* the ring is full of times that are to come */
            (void)rlm_window_take(window, 1, START + ahead_ns + step * (11 * SECOND), NULL);
        most = some(&random, 1, limit.amount);
        for (step = 0; step < 300; step++) {
            uint64_t n = some(&random, 1, most);
            now_ns += some(&random, 0, 3) ? some(&random, 0, SECOND / 2) : some(&random, 0, 3 * SECOND);
            if (now_ns >= START + ahead_ns - 10 * SECOND) break;
            if (rlm_window_take(window, n, now_ns, NULL) != 0) continue;
            log[count].at_ns = now_ns;
            log[count++].n = n;
        }
        CHECK(log_keeps_window(log, count, limit.amount, 10 * SECOND));
    }
}

/* What is admitted while the clock is behind, into a record that held a time to come, counts from when the clock is believed. */
static void what_is_admitted_while_the_clock_is_behind_counts(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 2, 10 * SECOND);
    uint64_t k;
    limit.cells = 4;
    make(&limit, START);
    for (k = 0; k < 4; k++) CHECK_EQ(rlm_window_take(window, 1, START + 1000 * SECOND + k * 10 * SECOND, NULL), 0);
    CHECK(rlm_window_peek(window, 2, START) != 0);
    CHECK_EQ(rlm_window_take(window, 1, START + 9 * SECOND, NULL), 0);
    CHECK_EQ(rlm_window_take(window, 1, START + 10 * SECOND, NULL), 0);
    CHECK(rlm_window_take(window, 1, START + 10 * SECOND, NULL) != 0);
    CHECK(rlm_window_take(window, 1, START + 19 * SECOND - 1, NULL) != 0);
}

/* A mark that no operation was given yet names none, also later. */
static void a_mark_of_nothing_gives_nothing_back(void) {
    rlm_limit limit = rlm_sliding(RLM_REQUESTS, 10, 10 * SECOND);
    uint64_t mark, next;
    rlm_usage usage;
    make(&limit, START);
    CHECK_EQ(rlm_window_take(window, 3, START, &mark), 0);
    CHECK_EQ(rlm_window_credit(window, 3, mark + 1), RLM_OK);
    CHECK_EQ(rlm_window_take(window, 7, START, &next), 0);
    CHECK_EQ(next, mark + 1);
    CHECK_EQ(rlm_window_status(window, &usage, START), RLM_OK);
    CHECK_EQ(usage.used, 10);
}

static const check_case cases[] = {
    CASE(bad_limits_change_nothing),
    CASE(init_stays_in_its_memory),
    CASE(answers_and_refusals),
    CASE(exact_windows_answer_as_a_list_would),
    CASE(credit_goes_to_its_own_operation),
    CASE(cancelled_operations_fill_the_ring),
    CASE(slots_are_conservative_by_at_most_one),
    CASE(credit_goes_to_its_own_slot),
    CASE(large_amounts_wrap),
    CASE(debits_count_for_one_window),
    CASE(debits_are_never_lost),
    CASE(debits_fill_up_to_twice_the_amount),
    CASE(reconfiguring_keeps_what_is_held),
    CASE(stale_readings_admit_nothing_more),
    CASE(frozen_readings_admit_nothing_more),
    CASE(a_clock_set_back_exact),
    CASE(a_clock_set_back_exact_and_partly_used),
    CASE(a_late_reading_does_not_hasten_belief),
    CASE(a_wait_is_bounded_though_a_record_lies_far_ahead),
    CASE(a_mark_of_before_the_clock_was_set_back_names_nothing),
    CASE(a_clock_set_back_slotted),
    CASE(credit_after_a_clock_was_set_back),
    CASE(jumps_ahead_admit_a_window_each),
    CASE(ends_of_time),
    CASE(life_of_a_window),
    CASE(a_clock_set_back_is_believed_when_it_was_told),
    CASE(a_window_is_not_made_larger_than_it_counts),
    CASE(a_clock_set_back_admits_no_more_than_the_amount),
    CASE(what_is_admitted_while_the_clock_is_behind_counts),
    CASE(a_mark_of_nothing_gives_nothing_back),
};

CHECK_MAIN(cases)
