/* feedback.c - a client that follows what the server says, for bench/feedback.py: a shared library, in virtual time.

   As a program would use rlimit.h and ext/rlimit_http.h: acquire, send, hand over what came back, settle. A slot holds
   one request from its first acquire to its settle, retries included. Times are those of the caller's clock. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "rlimit_http.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 4096 };

typedef struct feedback_slot {
    rlm_permit permit;
    rlm_cost raw; /* as the caller estimates it */
    rlm_backoff_state retry;
} feedback_slot;

typedef struct feedback_client {
    rlm_limiter limiter;
    rlm_http_profile profile;
    rlm_route route;
    uint64_t learns_route; /* whether estimates are corrected by what came before */
    uint64_t count;        /* limits */
    rlm_backoff plan;
    rlm_http http;
    feedback_slot slot[SLOTS];
} feedback_client;

/* A limit as bench/feedback.py tells it. */
typedef struct feedback_limit {
    uint64_t kind, meter, amount, period_ns;
} feedback_limit;

feedback_client *feedback_make(const char *profile, const feedback_limit *told, uint64_t count, uint32_t follow,
                               uint64_t guard_ns, uint32_t quantile_permille, uint64_t wall_ns, uint64_t now_ns);
uint64_t feedback_acquire(feedback_client *client, uint64_t slot, uint64_t input, uint64_t output_max, uint64_t now_ns);
uint64_t feedback_answer(feedback_client *client, uint64_t slot, int status, const char *headers, const char *body,
                         uint64_t wall_ns, uint64_t now_ns);
int feedback_settle(feedback_client *client, uint64_t slot, uint64_t input, uint64_t output, uint64_t now_ns);
int feedback_cancel(feedback_client *client, uint64_t slot, uint64_t now_ns);
int feedback_in_force(feedback_client *client, uint64_t index, uint64_t out[4]);
int64_t feedback_remaining(feedback_client *client, uint64_t index, uint64_t now_ns);
void feedback_free(feedback_client *client);

static rlm_limit limit_of(const feedback_limit *told) {
    uint32_t meter = (uint32_t)told->meter;
    if (told->kind == RLM_WINDOW) return rlm_sliding(meter, told->amount, told->period_ns);
    if (told->kind == RLM_CALENDAR) return rlm_fixed(meter, told->amount, told->period_ns, 0);
    return rlm_per(meter, told->amount, told->period_ns);
}

/* feedback_make returns a client with the limits told, or with those that the profile learns if count is 0. Null: a
   name or limit that the library does not take. quantile_permille is rlm_route's, 0: the estimates are taken as they are. */
feedback_client *feedback_make(const char *profile, const feedback_limit *told, uint64_t count, uint32_t follow,
                               uint64_t guard_ns, uint32_t quantile_permille, uint64_t wall_ns, uint64_t now_ns) {
    feedback_client *client = (feedback_client *)calloc(1, sizeof *client);
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t i;
    if (client == NULL || count > RLM_LIMITS_MAX || !rlm_http_profile_of(profile, &client->profile)) goto fail;
    client->count = count != 0 ? count : rlm_http_limits(&client->profile, limits, RLM_LIMITS_MAX, (int64_t)(wall_ns - now_ns));
    for (i = 0; i < client->count; i++) {
        if (count != 0) {
            limits[i] = limit_of(&told[i]);
            limits[i].follow = follow;
            limits[i].wall_offset_ns = (int64_t)(wall_ns - now_ns);
        }
        limits[i].guard_ns = guard_ns;
    }
    client->learns_route = quantile_permille;
    client->plan = rlm_backoff_default();
    for (i = 0; i < SLOTS; i++) rlm_backoff_start(&client->slot[i].retry, i);
    if (rlm_limiter_init(&client->limiter, limits, (size_t)client->count, now_ns) != RLM_OK) goto fail;
    if (quantile_permille != 0 && rlm_route_init(&client->route, quantile_permille) != RLM_OK) goto fail;
    return client;
fail:
    free(client);
    return NULL;
}

/* feedback_acquire answers as rlm_acquire does. */
uint64_t feedback_acquire(feedback_client *client, uint64_t slot, uint64_t input, uint64_t output_max, uint64_t now_ns) {
    feedback_slot *at = &client->slot[slot];
    rlm_cost cost = {1, 0, 0, 0, 0};
    cost.input_tokens = input;
    cost.output_tokens = output_max;
    at->raw = cost;
    if (client->learns_route) cost = rlm_route_estimate(&client->route, &at->raw);
    return rlm_acquire(&client->limiter, &cost, now_ns, &at->permit);
}

static void read_headers(rlm_http *http, const char *text) {
    while (*text != '\0') {
        const char *end = strstr(text, "\r\n");
        const char *colon = end == NULL ? NULL : (const char *)memchr(text, ':', (size_t)(end - text));
        if (colon == NULL) return;
        rlm_http_header(http, text, (size_t)(colon - text), colon + 1, (size_t)(end - colon - 1));
        text = end + 2;
    }
}

/* feedback_answer lets the limiter observe a response of which headers are lines "name: value\r\n". Returns 0 for a good
   answer, else the ns to wait before the retry, or RLM_NEVER; then the permit is still to be cancelled. */
uint64_t feedback_answer(feedback_client *client, uint64_t slot, int status, const char *headers, const char *body,
                         uint64_t wall_ns, uint64_t now_ns) {
    feedback_slot *at = &client->slot[slot];
    rlm_http *http = &client->http;
    uint64_t wait_ns;
    rlm_http_begin(http, &client->profile, wall_ns);
    read_headers(http, headers);
    rlm_http_end(http, status, body, strlen(body));
    (void)rlm_observe(&client->limiter, &at->permit, &http->feedback, now_ns);
    if (http->verdict == RLM_HTTP_OK) return 0;
    if (http->verdict == RLM_HTTP_WAIT) return http->wait_ns;
    wait_ns = rlm_backoff_next(&client->plan, &at->retry, http->error_class, RLM_NORMAL, 0);
    if (wait_ns == RLM_NEVER) rlm_backoff_start(&at->retry, at->retry.random + 1); /* the slot's next is another request */
    return wait_ns;
}

/* feedback_settle ends a request with what it used. */
int feedback_settle(feedback_client *client, uint64_t slot, uint64_t input, uint64_t output, uint64_t now_ns) {
    feedback_slot *at = &client->slot[slot];
    rlm_cost actual = {1, 0, 0, 0, 0};
    actual.input_tokens = input;
    actual.output_tokens = output;
    if (client->learns_route) (void)rlm_route_learn(&client->route, &at->raw, &actual);
    rlm_backoff_start(&at->retry, at->retry.random + 1);
    return rlm_settle(&client->limiter, &at->permit, &actual, now_ns);
}

/* feedback_cancel ends an attempt that the server refused. */
int feedback_cancel(feedback_client *client, uint64_t slot, uint64_t now_ns) {
    return rlm_cancel(&client->limiter, &client->slot[slot].permit, now_ns);
}

/* feedback_in_force tells meter, amount (0: not learned), period and guard of a limit as it is now; not RLM_OK: there
   is none. */
int feedback_in_force(feedback_client *client, uint64_t index, uint64_t out[4]) {
    rlm_limit limit;
    int status = index < client->count ? rlm_in_force(&client->limiter, (size_t)index, &limit) : RLM_E_INDEX;
    if (status != RLM_OK && status != RLM_E_UNKNOWN) return status;
    out[0] = limit.meter;
    out[1] = status == RLM_OK ? limit.amount : 0;
    out[2] = limit.period_ns;
    out[3] = limit.guard_ns;
    return RLM_OK;
}

/* feedback_remaining tells what the limiter believes to be left. */
int64_t feedback_remaining(feedback_client *client, uint64_t index, uint64_t now_ns) {
    rlm_usage usage;
    return rlm_status(&client->limiter, (size_t)index, &usage, now_ns) == RLM_OK ? usage.remaining : INT64_MIN;
}

void feedback_free(feedback_client *client) { free(client); }
