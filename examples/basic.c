/* basic.c - admits five requests, two at once and then twenty a second, and prints when.

   cc -std=c11 -I. examples/basic.c -o basic */

#define _POSIX_C_SOURCE 200809L /* nanosleep */
#define RLM_IMPLEMENTATION
#define RLM_STATIC
#include "rlimit.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

int main(void) {
    rlm_bucket bucket;
    rlm_limit  limit = rlm_per_second(RLM_REQUESTS, 20);
    limit.burst = 2;
    int status = rlm_bucket_init(&bucket, &limit, rlm_now());
    if (status != RLM_OK) return puts(rlm_strerror(status)), 1;

    uint64_t start_ns = rlm_now(), wait_ns;
    for (int request = 1; request <= 5; request++) {
        while ((wait_ns = rlm_bucket_take(&bucket, 1, rlm_now())) != 0)
            nanosleep(&(struct timespec){.tv_nsec = (long)wait_ns}, NULL); /* below a second here */
        printf("request %d admitted after %3" PRIu64 " ms\n", request, (rlm_now() - start_ns) / 1000000);
    }
    return 0;
}
