/* trace.c - when a limiter and a queue would send each request of a trace, in virtual time.

   trace KIND REQUESTS TOKENS PERIOD_NS GUARD_NS START_NS < costs > times

   KIND is bucket, window or fixed. Reads a line "tokens" for each request, all of them waiting at
   START_NS; writes the ns at which each is sent, in order. bench/trace.py holds them against the
   referee. */

#define RLM_IMPLEMENTATION
#include "../rlimit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rlm_limiter limiter;

static rlm_limit limit_of(const char *kind, uint32_t meter, uint64_t amount, uint64_t period_ns, uint64_t guard_ns) {
    rlm_limit limit = strcmp(kind, "window") == 0  ? rlm_sliding(meter, amount, period_ns)
                      : strcmp(kind, "fixed") == 0 ? rlm_fixed(meter, amount, period_ns, 0)
                                                   : rlm_per(meter, amount, period_ns);
    limit.guard_ns = guard_ns;
    return limit;
}

int main(int argc, char **argv) {
    enum { WAITERS = 100000 };
    rlm_queue *queue = malloc(rlm_queue_bytes(WAITERS));
    rlm_limit limits[2];
    uint64_t now_ns, handle, tokens;
    int status;
    if (argc != 7 || queue == NULL) return 2;
    now_ns = strtoull(argv[6], NULL, 10);
    limits[0] = limit_of(argv[1], RLM_REQUESTS, strtoull(argv[2], NULL, 10), strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    limits[1] = limit_of(argv[1], RLM_TOKENS, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    status = rlm_limiter_init(&limiter, limits, 2, now_ns);
    if (status != RLM_OK) {
        fprintf(stderr, "trace: limit %d: %s\n", rlm_status_limit(status), rlm_strerror(status));
        return 2;
    }
    if (rlm_queue_init(queue, rlm_queue_bytes(WAITERS), WAITERS, RLM_AGEING_DEFAULT) != RLM_OK) return 2;
    while (scanf("%" SCNu64, &tokens) == 1)
        if (rlm_queue_push(queue, tokens, RLM_NORMAL, RLM_NO_DEADLINE, now_ns, &handle) != RLM_OK) return 2;
    while (rlm_queue_head(queue, &handle, &tokens)) {
        rlm_cost cost = {1, 0, 0, 0, 0};
        rlm_permit permit;
        uint64_t wait_ns;
        cost.input_tokens = tokens;
        wait_ns = rlm_acquire(&limiter, &cost, now_ns, &permit);
        if (wait_ns >= RLM_ON_RELEASE) return 2;
        now_ns += wait_ns;
        if (wait_ns != 0) continue;
        printf("%" PRIu64 "\n", now_ns);
        if (rlm_queue_remove(queue, handle) != RLM_OK) return 2;
    }
    free(queue);
    return 0;
}
