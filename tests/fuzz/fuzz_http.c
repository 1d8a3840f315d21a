/* fuzz_http.c - any headers and any body, to ext/rlimit_http.h, for libFuzzer; see README.md.

   An input is a response as text: a line with the status and the profile, "name: value" lines, an empty line, the body. So
   the corpus is readable, and whatever is mutated remains an input. */

#define RLM_IMPLEMENTATION
#include "rlimit_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_NS (UINT64_C(1795240800) * RLM_SECOND_NS)
#define SPAN_MAX_NS (UINT64_C(1) << 55)

#define ASSERT(condition)                                                           \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of exactly the bytes, so that the address sanitizer sees one too many. */
static char *boxed(const char *bytes, size_t count) {
    char *box = (char *)malloc(count != 0 ? count : 1);
    ASSERT(box != NULL);
    if (count != 0) memcpy(box, bytes, count);
    return box;
}

typedef struct line {
    const char *at;
    size_t bytes;
} line;

static line next_line(const char **at, const char *end) {
    line found = {*at, 0};
    while (*at < end && **at != '\n') (*at)++;
    found.bytes = (size_t)(*at - found.at);
    if (*at < end) (*at)++;
    return found;
}

static void give_header(rlm_http *http, line text) {
    const char *colon = (const char *)memchr(text.at, ':', text.bytes);
    size_t name_bytes = colon != NULL ? (size_t)(colon - text.at) : text.bytes;
    size_t value_bytes = colon != NULL ? text.bytes - name_bytes - 1 : 0;
    char *name = boxed(text.at, name_bytes), *value = boxed(text.at + text.bytes - value_bytes, value_bytes);
    rlm_http_header(http, name, name_bytes, value, value_bytes);
    free(name);
    free(value);
}

static void give_body(rlm_http *http, int status, const char *at, size_t bytes) {
    char *body = boxed(at, bytes);
    rlm_http_end(http, status, body, bytes);
    free(body);
}

static void check_reading(const rlm_reading *reading) {
    ASSERT(reading->meter < RLM_I_METER_COUNT);
    ASSERT(reading->limit != RLM_UNSAID || reading->remaining != RLM_UNSAID);
    ASSERT(reading->limit <= RLM_AMOUNT_MAX || reading->limit == RLM_UNSAID);
    ASSERT(reading->remaining <= RLM_AMOUNT_MAX || reading->remaining == RLM_UNSAID);
    ASSERT(reading->remaining <= reading->limit || reading->remaining == RLM_UNSAID);
    ASSERT(reading->reset_ns <= SPAN_MAX_NS || reading->reset_ns == RLM_UNSAID);
    ASSERT(reading->period_ns != 0 && reading->period_ns <= SPAN_MAX_NS && reading->period_least_ns <= SPAN_MAX_NS);
    ASSERT(reading->period_most_ns <= SPAN_MAX_NS || reading->period_most_ns == RLM_UNSAID);
    ASSERT(reading->period_least_ns < reading->period_most_ns || reading->period_least_ns == reading->period_ns);
}

static void check(const rlm_http *http, bool good) {
    const rlm_feedback *feedback = &http->feedback;
    uint32_t i;
    ASSERT(http->verdict <= RLM_HTTP_NEVER && http->reason <= RLM_HTTP_TOLD && http->error_class <= RLM_CLASS_FATAL);
    ASSERT(http->verdict != RLM_HTTP_OK || good);
    ASSERT((http->verdict == RLM_HTTP_OK) == (feedback->outcome == RLM_ANSWERED));
    ASSERT((http->verdict == RLM_HTTP_NEVER) == (http->error_class == RLM_CLASS_FATAL));
    ASSERT(http->verdict != RLM_HTTP_WAIT || http->wait_ns != 0);
    ASSERT(http->verdict != RLM_HTTP_RETRY || http->wait_ns == 0);
    ASSERT(http->wait_ns <= RLM_HOUR_NS || http->reason == RLM_HTTP_QUOTA_DAY || http->reason == RLM_HTTP_TOLD);
    ASSERT(http->wait_ns <= SPAN_MAX_NS && http->capped <= 1 && (http->capped == 0 || http->wait_ns == RLM_HOUR_NS));
    ASSERT(feedback->retry_after_ns == (http->wait_ns != 0 ? http->wait_ns : RLM_UNSAID));
    ASSERT(feedback->requested <= RLM_AMOUNT_MAX || feedback->requested == RLM_UNSAID);
    ASSERT(feedback->count <= RLM_READINGS_MAX);
    for (i = 0; i < feedback->count; i++) check_reading(&feedback->reading[i]);
}

/* What the feedback does to a limiter with the limits of the profile. */
static void observe(const rlm_http_profile *profile, const rlm_feedback *feedback) {
    static rlm_limiter limiter;
    rlm_limit limits[RLM_LIMITS_MAX];
    rlm_cost cost = {1, 10, 10, 0, 0};
    rlm_permit permit;
    size_t count = rlm_http_limits(profile, limits, RLM_LIMITS_MAX, 0);
    ASSERT(rlm_limiter_init(&limiter, limits, count, NOW_NS) == RLM_OK);
    ASSERT(rlm_acquire(&limiter, &cost, NOW_NS, &permit) == 0);
    ASSERT(rlm_observe(&limiter, &permit, feedback, NOW_NS + 1000) == RLM_OK);
    ASSERT(rlm_settle(&limiter, &permit, &cost, NOW_NS + 1000) == RLM_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"anthropic", "openai", "azure", "bedrock", "gemini", "groq", "cerebras",
        "openrouter", "litellm", "generic"};
    const char *at = (const char *)data, *end = at + size;
    line first, text;
    rlm_http_profile profile;
    rlm_http http;
    int status = 0;
    size_t i;
    if (size == 0) return 0;
    first = next_line(&at, end);
    for (i = 0; i < first.bytes && i < 3 && first.at[i] >= '0' && first.at[i] <= '9';
        i++) status = status * 10 + (first.at[i] - '0');
    ASSERT(rlm_http_profile_of("generic", &profile));
    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (first.bytes == 4 + strlen(names[i]) && memcmp(first.at + 4, names[i], first.bytes - 4) == 0)
            ASSERT(rlm_http_profile_of(names[i], &profile));
    rlm_http_begin(&http, &profile, (first.bytes & 1) != 0 || first.bytes > 4 ? NOW_NS : 0);
    while (at < end) {
        text = next_line(&at, end);
        if (text.bytes == 0) break;
        give_header(&http, text);
    }
    give_body(&http, status, at, (size_t)(end - at));
    check(&http, status >= 200 && status <= 299);
    observe(&profile, &http.feedback);
    return 0;
}
