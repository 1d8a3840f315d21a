/* bench.c - what a decision costs, beside its floor measured in the same run.

   Each figure is run in turn with its floor, ROUNDS times; printed are the medians, and the median of
   the ratios of the pairs:

       bench NAME value=V unit=U floor=F ratio=R

   The floor of a decision is what it cannot do without: one reading of the clock and a bare
   compare-and-swap for each word that must change. */

#define RLM_IMPLEMENTATION
#include "rlimit_http.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 21, OPERATIONS = 200000, WAITERS = 10000, WORDS = 8 };

typedef double (*measure)(void); /* returns ns an operation, or millions of operations a second */

static volatile uint64_t sink;
static struct { rlm_word word; uint64_t pad[15]; } words[WORDS];
static rlm_bucket bucket, drained;
static rlm_limiter limiter;
static union { rlm_window window; uint64_t memory[1024]; } exact, slotted;
static rlm_queue *queue;
static rlm_tsc tsc;
static rlm_manual manual;

#define MEASURE(operation)                                                  \
    do {                                                                    \
        uint64_t from_ns = rlm_now(), sum = 0, i;                           \
        for (i = 0; i < OPERATIONS; i++) sum += (operation);                \
        sink = sum;                                                         \
        return (double)(rlm_now() - from_ns) / OPERATIONS;                  \
    } while (0)

/* -- floors -- */

static uint64_t clock_and_swaps(unsigned swaps) {
    uint64_t seen[WORDS], now_ns;
    unsigned i;
    for (i = 0; i < swaps; i++) seen[i] = rlm_i_load_seq_cst(&words[i].word);
    now_ns = rlm_now();
    for (i = 0; i < swaps; i++) (void)rlm_i_cas_seq_cst(&words[i].word, &seen[i], now_ns);
    return now_ns;
}
static uint64_t system_clock(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * RLM_SECOND_NS + (uint64_t)at.tv_nsec;
}
static double floor_clock(void) { MEASURE(rlm_now()); }
static double floor_system_clock(void) { MEASURE(system_clock()); }
static double floor_one_swap(void) { MEASURE(clock_and_swaps(1)); }
static double floor_seven_swaps(void) { MEASURE(clock_and_swaps(7)); }
static uint64_t ring[WAITERS], ring_at;
static uint64_t ring_push_pop(uint64_t value) {
    uint64_t old = ring[ring_at];
    ring[ring_at] = value;
    ring_at = ring_at + 1 == WAITERS ? 0 : ring_at + 1;
    return old;
}
static double floor_ring(void) { MEASURE(ring_push_pop(i)); }

/* -- figures -- */

static double bucket_take(void) { MEASURE(rlm_bucket_take(&bucket, 1, rlm_now())); }
static double bucket_refusal(void) { MEASURE(rlm_bucket_take(&drained, 1, rlm_now())); }

/* An own clock that lets about half of what the window holds leave as fast as it is filled. */
static double window_take(rlm_window *window, uint64_t step_ns) {
    static uint64_t at_ns;
    MEASURE((at_ns += step_ns, (void)rlm_now(), rlm_window_take(window, 1, at_ns, NULL)));
}
static double window_exact_take(void) { return window_take(&exact.window, RLM_MINUTE_NS / 100); }
static double window_slotted_take(void) { return window_take(&slotted.window, RLM_MINUTE_NS / 1000000); }

static uint64_t acquire_and_settle(void) {
    rlm_cost cost = {1, 100, 20, 0, 0};
    rlm_permit permit;
    uint64_t now_ns = rlm_now(), wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit);
    return wait_ns == 0 ? (uint64_t)rlm_settle(&limiter, &permit, &cost, now_ns) : wait_ns;
}
static double limiter_four(void) { MEASURE(acquire_and_settle()); }

static uint64_t push_pop(uint64_t now_ns) {
    uint64_t handle, data;
    if (rlm_queue_push(queue, now_ns, (uint32_t)(now_ns & 3), now_ns * 7919 % 1000003, now_ns, &handle) != RLM_OK) abort();
    if (!rlm_queue_head(queue, &handle, &data) || rlm_queue_remove(queue, handle) != RLM_OK) abort();
    return data;
}
static double queue_push_pop(void) {
    static uint64_t now_ns = 1000;
    MEASURE(push_pop(++now_ns));
}

/* A full set of headers as Anthropic sends it, and what an observer makes of it. */
static const char *const headers[][2] = {
    {"anthropic-ratelimit-requests-limit", "4000"}, {"anthropic-ratelimit-requests-remaining", "3999"},
    {"anthropic-ratelimit-requests-reset", "2026-11-20T10:00:01Z"}, {"anthropic-ratelimit-input-tokens-limit", "2000000"},
    {"anthropic-ratelimit-input-tokens-remaining", "1998000"}, {"anthropic-ratelimit-input-tokens-reset", "2026-11-20T10:00:01Z"},
    {"anthropic-ratelimit-output-tokens-limit", "400000"}, {"anthropic-ratelimit-output-tokens-remaining", "398000"},
    {"anthropic-ratelimit-output-tokens-reset", "2026-11-20T10:00:01Z"}, {"anthropic-ratelimit-tokens-limit", "2400000"},
    {"anthropic-ratelimit-tokens-remaining", "2396000"}, {"anthropic-ratelimit-tokens-reset", "2026-11-20T10:00:01Z"},
    {"retry-after", "16"}, {"date", "Fri, 20 Nov 2026 10:00:00 GMT"}, {"content-type", "application/json"},
    {"request-id", "req_011CTest"}};
enum { HEADERS = sizeof headers / sizeof *headers };
static size_t header_bytes[HEADERS][2];
static rlm_http_profile profile;
static rlm_limiter observed;
static rlm_permit observed_permit;
static rlm_http http;

static uint64_t read_headers(uint64_t wall_ns) {
    size_t i;
    rlm_http_begin(&http, &profile, wall_ns);
    for (i = 0; i < HEADERS; i++) rlm_http_header(&http, headers[i][0], header_bytes[i][0], headers[i][1], header_bytes[i][1]);
    rlm_http_end(&http, 200, "", 0);
    return http.feedback.count;
}
static uint64_t pass_over_headers(void) {
    uint64_t sum = 0;
    size_t i, j, k;
    for (i = 0; i < HEADERS; i++)
        for (j = 0; j < 2; j++)
            for (k = 0; k < header_bytes[i][j]; k++) sum = sum * 31 + (unsigned char)headers[i][j][k];
    return sum;
}
static double http_anthropic_headers(void) { MEASURE(read_headers(UINT64_C(1795168800000000000) + i)); }
static double floor_pass(void) { MEASURE(pass_over_headers()); }
static double observe(void) { MEASURE((uint64_t)rlm_observe(&observed, &observed_permit, &http.feedback, rlm_now())); }

static void set_up_feedback(void) {
    rlm_limit limits[RLM_LIMITS_MAX];
    rlm_cost cost = {1, 100, 20, 0, 0};
    size_t i, j;
    if (!rlm_http_profile_of("anthropic", &profile)) abort();
    if (rlm_limiter_init(&observed, limits, rlm_http_limits(&profile, limits, RLM_LIMITS_MAX, 0), rlm_now()) != RLM_OK) abort();
    if (rlm_acquire(&observed, &cost, rlm_now(), &observed_permit) != 0) abort();
    for (i = 0; i < HEADERS; i++)
        for (j = 0; j < 2; j++) header_bytes[i][j] = strlen(headers[i][j]);
    if (read_headers(UINT64_C(1795168800000000000)) != 3) abort();
}

static double clock_now(void) { MEASURE(rlm_now()); }
static double clock_coarse(void) { MEASURE(rlm_now_coarse()); }
static double clock_tsc(void) { MEASURE(rlm_tsc_now(&tsc)); }
static double clock_manual(void) { MEASURE(rlm_manual_now(&manual)); }

/* -- two threads -- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;

static uint64_t locked_take(void) { /* the same arithmetic, and a plain store */
    rlm_i_step step;
    uint64_t now_ns = rlm_now(), wait_ns;
    pthread_mutex_lock(&mutex);
    wait_ns = rlm_i_bucket_plan(&bucket, 1, now_ns, &step);
    if (wait_ns == 0) bucket.word = step.next;
    pthread_mutex_unlock(&mutex);
    return wait_ns;
}
static uint64_t bare_swap(void) { /* what the machine allows: no arithmetic at all */
    uint64_t seen = rlm_i_load_seq_cst(&words[0].word), now_ns = rlm_now();
    while (!rlm_i_cas_seq_cst(&words[0].word, &seen, now_ns)) {}
    return seen;
}
static uint64_t free_take(void) { return rlm_bucket_take(&bucket, 1, rlm_now()); }

static void *hammer(void *operation) {
    uint64_t (*take)(void), sum = 0;
    int i;
    memcpy(&take, operation, sizeof take);
    pthread_barrier_wait(&barrier);
    for (i = 0; i < OPERATIONS; i++) sum += take();
    sink = sum;
    return NULL;
}

static double two_threads(uint64_t (*take)(void)) {
    pthread_t other;
    uint64_t from_ns;
    if (pthread_barrier_init(&barrier, NULL, 2) != 0 || pthread_create(&other, NULL, hammer, &take) != 0) abort();
    from_ns = rlm_now();
    hammer(&take);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&barrier);
    return 2.0 * OPERATIONS * 1e3 / (double)(rlm_now() - from_ns);
}
static double two_threads_free(void) { return two_threads(free_take); }
static double two_threads_bare(void) { return two_threads(bare_swap); }
static double two_threads_mutex(void) { return two_threads(locked_take); }

/* -- the report -- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, ROUNDS, sizeof *values, by_size);
    return values[ROUNDS / 2];
}

static void report(const char *name, const char *unit, measure figure, measure least) {
    double value[ROUNDS], least_value[ROUNDS], ratio[ROUNDS];
    int i;
    figure(); /* warm */
    for (i = 0; i < ROUNDS; i++) {
        least_value[i] = least();
        value[i] = figure();
        ratio[i] = value[i] / least_value[i];
    }
    printf("bench %s value=%.2f unit=%s floor=%.2f ratio=%.3f\n", name, median(value), unit, median(least_value), median(ratio));
    fflush(stdout);
}

static void set_up(void) {
    uint64_t now_ns = rlm_now(), handle, i;
    rlm_limit plenty = rlm_per_second(RLM_REQUESTS, 1000000000), few = rlm_per_day(RLM_REQUESTS, 1), limits[4];
    rlm_limit small = rlm_sliding(RLM_REQUESTS, 200, RLM_MINUTE_NS), large = rlm_sliding(RLM_TOKENS, 2000000, RLM_MINUTE_NS);
    limits[0] = rlm_per_second(RLM_REQUESTS, 1000000000);
    limits[1] = rlm_per_second(RLM_INPUT_TOKENS, 10000000000);
    limits[2] = rlm_per_second(RLM_OUTPUT_TOKENS, 10000000000);
    limits[3] = rlm_concurrent(10);
    queue = malloc(rlm_queue_bytes(WAITERS + 1));
    if (queue == NULL || rlm_bucket_init(&bucket, &plenty, now_ns) != RLM_OK || rlm_bucket_init(&drained, &few, now_ns) != RLM_OK ||
        rlm_bucket_take(&drained, 1, now_ns) != 0 || rlm_limiter_init(&limiter, limits, 4, now_ns) != RLM_OK ||
        rlm_window_init(&exact.window, sizeof exact, &small, 0) != RLM_OK ||
        rlm_window_init(&slotted.window, sizeof slotted, &large, 0) != RLM_OK ||
        rlm_queue_init(queue, rlm_queue_bytes(WAITERS + 1), WAITERS + 1, RLM_AGEING_DEFAULT) != RLM_OK)
        abort();
    for (i = 0; i < WAITERS; i++)
        if (rlm_queue_push(queue, i, (uint32_t)(i & 3), i * 7919 % 1000003, i, &handle) != RLM_OK) abort();
}

int main(void) {
    set_up();
    set_up_feedback();
    report("bucket_take", "ns", bucket_take, floor_one_swap);
    report("bucket_refusal", "ns", bucket_refusal, floor_clock);
    report("window_exact_take", "ns", window_exact_take, floor_one_swap);
    report("window_slotted_take", "ns", window_slotted_take, floor_one_swap);
    report("limiter_4_acquire_settle", "ns", limiter_four, floor_seven_swaps);
    report("queue_push_pop_10000", "ns", queue_push_pop, floor_ring);
    report("http_anthropic_headers", "ns", http_anthropic_headers, floor_pass);
    report("observe_3_readings", "ns", observe, floor_clock);
    report("two_threads_one_bucket", "M/s", two_threads_free, two_threads_mutex);
    report("two_threads_bare_swap", "M/s", two_threads_bare, two_threads_mutex);
    report("clock_now", "ns", clock_now, floor_system_clock);
    report("clock_coarse", "ns", clock_coarse, floor_system_clock);
    if (rlm_tsc_init(&tsc) == RLM_OK) report("clock_tsc", "ns", clock_tsc, floor_system_clock);
    else printf("bench clock_tsc skipped: %s\n", rlm_strerror(RLM_E_CLOCK));
    report("clock_manual", "ns", clock_manual, floor_system_clock);
    free(queue);
    return 0;
}
