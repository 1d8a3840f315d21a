/* threads.c - eight threads share one limiter.

   Each makes five requests through rlm_wait_acquire, which blocks until it is that request's turn.
   Threads 0 and 1 have high priority. A ninth then asks for all that a second allows, and main ends
   its wait.

   cc -O2 -pthread -I.. -I../ext threads.c -o threads */

#define RLM_IMPLEMENTATION
#include "rlimit_wait.h"

#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, REQUESTS = 5 };

static rlm_limiter limiter;
static rlm_wait line;
static rlm_ticket ticket;
static uint64_t began_ns;

static void *work(void *argument) {
    int id = *(const int *)argument, i;
    for (i = 0; i < REQUESTS; i++) {
        rlm_cost cost = {1, 90, 10, 0, 0};
        rlm_permit permit;
        int status = rlm_wait_acquire(&line, &cost, id < 2 ? RLM_HIGH : RLM_NORMAL, 10 * RLM_SECOND_NS, &permit, NULL);
        if (status != RLM_OK) {
            fprintf(stderr, "thread %d: %s\n", id, rlm_strerror(status));
            return argument;
        }
        printf("%4u ms  thread %d  request %d\n", (unsigned)((rlm_now() - began_ns) / 1000000), id, i);
        cost.output_tokens = 20; /* it used more than was thought: the difference is debt */
        rlm_wait_settle(&line, &permit, &cost);
    }
    return NULL;
}

static void *give_up(void *result) {
    rlm_cost everything = {20, 0, 0, 0, 0};
    rlm_permit permit;
    *(int *)result = rlm_wait_acquire(&line, &everything, RLM_LOW, RLM_FOREVER, &permit, &ticket);
    return NULL;
}

int main(void) {
    rlm_limit limits[3];
    rlm_queue *queue = malloc(rlm_queue_bytes(RLM_QUEUE_DEFAULT));
    pthread_t threads[THREADS], ninth;
    int ids[THREADS], i, failed = 0, cancelled = RLM_OK;
    if (queue == NULL) return 1;
    limits[0] = rlm_per_second(RLM_REQUESTS, 20);
    limits[1] = rlm_per_second(RLM_TOKENS, 10000);
    limits[2] = rlm_concurrent(4);
    began_ns = rlm_now();
    if (rlm_limiter_init(&limiter, limits, 3, began_ns) != RLM_OK) return 1;
    if (rlm_queue_init(queue, rlm_queue_bytes(RLM_QUEUE_DEFAULT), RLM_QUEUE_DEFAULT, RLM_AGEING_DEFAULT) != RLM_OK) return 1;
    if (rlm_wait_init(&line, &limiter, queue, NULL) != RLM_OK) return 1;

    for (i = 0; i < THREADS; i++) {
        ids[i] = i;
        if (pthread_create(&threads[i], NULL, work, &ids[i]) != 0) return 1;
    }
    for (i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed += result != NULL;
    }
    if (pthread_create(&ninth, NULL, give_up, &cancelled) != 0) return 1;
    rlm_wait_cancel(&line, &ticket);
    pthread_join(ninth, NULL);
    printf("%d requests in %u ms, the ninth thread: %s\n", THREADS * REQUESTS,
           (unsigned)((rlm_now() - began_ns) / 1000000), rlm_strerror(cancelled));
    rlm_wait_destroy(&line);
    free(queue);
    return failed != 0 || cancelled != RLM_E_CANCELLED;
}
