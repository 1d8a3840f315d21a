/* test_http.c - ext/rlimit_http.h: every format of the providers, each rule for what is malformed, doubled or missing, and
   properties that hold for any bytes. What is read lies at the end of a block of exactly its size, so that the address
   sanitizer sees a byte too many. */

#define RLM_IMPLEMENTATION
#include "rlimit_http.h"

#include "check.h"

#define SECOND RLM_SECOND_NS
#define MINUTE RLM_MINUTE_NS
#define NOW (UINT64_C(1795240800) * SECOND) /* Sat, 21 Nov 2026 06:00:00 GMT */

static rlm_http http;
static rlm_http_profile profile;

/* ---- Helpers --------------------------------------------------------------------------------- */

static char *boxed(const char *bytes, size_t count) {
    char *box = (char *)malloc(count != 0 ? count : 1);
    if (count != 0) memcpy(box, bytes, count);
    return box;
}

static void header_bytes(rlm_http *to, const char *name, size_t name_bytes, const char *value, size_t value_bytes) {
    char *name_box = boxed(name, name_bytes), *value_box = boxed(value, value_bytes);
    rlm_http_header(to, name_box, name_bytes, value_box, value_bytes);
    free(name_box);
    free(value_box);
}

static void header(const char *name, const char *value) { header_bytes(&http, name, strlen(name), value, strlen(value)); }

static void begin(const char *name) {
    CHECK(rlm_http_profile_of(name, &profile));
    memset(&http, 0xa5, sizeof http);
    rlm_http_begin(&http, &profile, NOW);
}

static void end_bytes(rlm_http *to, int status, const char *body, size_t bytes) {
    char *box = boxed(body, bytes);
    rlm_http_end(to, status, bytes != 0 ? box : NULL, bytes);
    free(box);
}

static void end(int status, const char *body) { end_bytes(&http, status, body, strlen(body)); }

/* One header in a response, and its end. */
static void one(const char *provider, const char *name, const char *value, int status) {
    begin(provider);
    header(name, value);
    end(status, "");
}

/* The whole of a response: "name: value" lines. */
static void respond(const char *provider, const char *lines, int status, const char *body) {
    begin(provider);
    while (*lines != 0) {
        const char *colon = strstr(lines, ": "), *line_end = strchr(lines, '\n');
        if (line_end == NULL) line_end = lines + strlen(lines);
        CHECK(colon != NULL && colon < line_end);
        header_bytes(&http, lines, (size_t)(colon - lines), colon + 2, (size_t)(line_end - colon - 2));
        lines = *line_end != 0 ? line_end + 1 : line_end;
    }
    end(status, body);
}

static const rlm_reading *reading(size_t index) {
    CHECK(index < http.feedback.count);
    return &http.feedback.reading[index];
}

static void check_reading(size_t index, uint32_t meter, uint64_t limit, uint64_t remaining, uint64_t reset_ns) {
    CHECK_EQ(reading(index)->meter, meter);
    CHECK_EQ(reading(index)->limit, limit);
    CHECK_EQ(reading(index)->remaining, remaining);
    CHECK_EQ(reading(index)->reset_ns, reset_ns);
}

static void check_period(size_t index, uint64_t period_ns, uint64_t least_ns, uint64_t most_ns) {
    CHECK_EQ(reading(index)->period_ns, period_ns);
    CHECK_EQ(reading(index)->period_least_ns, least_ns);
    CHECK_EQ(reading(index)->period_most_ns, most_ns);
}

static void check_verdict(uint32_t verdict, uint32_t reason, uint32_t error_class, uint32_t outcome, uint64_t wait_ns) {
    CHECK_EQ(http.verdict, verdict);
    CHECK_EQ(http.reason, reason);
    CHECK_EQ(http.error_class, error_class);
    CHECK_EQ(http.feedback.outcome, outcome);
    CHECK_EQ(http.wait_ns, wait_ns);
    CHECK_EQ(http.feedback.retry_after_ns, wait_ns != 0 ? wait_ns : RLM_UNSAID);
}

static void check_limited(uint64_t wait_ns) {
    bool place = http.feedback.named == RLM_NAMED_CONCURRENCY; /* that there is soon */
    check_verdict(wait_ns != 0 ? RLM_HTTP_WAIT : RLM_HTTP_RETRY, RLM_HTTP_RATE_LIMIT, place ? RLM_CLASS_SERVER : RLM_CLASS_RATE_LIMIT,
        RLM_REFUSED, wait_ns);
}

static void check_never(uint32_t reason) { check_verdict(RLM_HTTP_NEVER, reason, RLM_CLASS_FATAL, RLM_FAILED, 0); }

static uint64_t retry_after(const char *value) {
    one("generic", "Retry-After", value, 429);
    return http.wait_ns;
}

#define BIT(meter) (1u << (meter))

/* ---- Profiles -------------------------------------------------------------------------------- */

static const char *const names[] = {"anthropic", "openai", "azure", "bedrock", "gemini", "groq", "cerebras", "openrouter",
    "litellm", "generic"};

static void profiles(void) {
    size_t i, j, count;
    rlm_limit limits[RLM_LIMITS_MAX];
    static rlm_limiter limiter;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t meters = 0;
        CHECK(rlm_http_profile_of(names[i], &profile));
        CHECK(strcmp(profile.name, names[i]) == 0);
        CHECK_EQ(profile.retry_after_max_ns, RLM_HOUR_NS);
        CHECK(profile.headers != 0);
        count = rlm_http_limits(&profile, limits, RLM_LIMITS_MAX, 7);
        CHECK(count >= 1);
        for (j = 0; j < count; j++) {
            CHECK_EQ(limits[j].kind, profile.kind);
            CHECK_EQ(limits[j].follow, RLM_LEARN);
            CHECK_EQ(limits[j].wall_offset_ns, 7);
            CHECK(j == 0 || limits[j].meter > limits[j - 1].meter);
            meters |= BIT(limits[j].meter);
        }
        CHECK_EQ(meters, profile.meters);
        CHECK_EQ(rlm_limiter_init(&limiter, limits, count, 0), RLM_OK);
        CHECK_EQ(rlm_http_limits(&profile, limits, 1, 7), 1);
        CHECK_EQ(rlm_http_limits(&profile, limits, 0, 7), 0);
    }
    CHECK(!rlm_http_profile_of("Anthropic", &profile));
    CHECK(!rlm_http_profile_of("anthropi", &profile));
    CHECK(!rlm_http_profile_of("anthropics", &profile));
    CHECK(!rlm_http_profile_of("", &profile));
    CHECK(!rlm_http_profile_of(NULL, &profile));
    CHECK(!rlm_http_profile_of("openai", NULL));
    CHECK(rlm_http_profile_of("groq", &profile));
    CHECK_EQ(rlm_http_limits(&profile, limits, 8, 7), 2);
    CHECK_EQ(limits[0].period_ns, RLM_DAY_NS);
    CHECK_EQ(limits[1].period_ns, MINUTE);
}

/* What the limiter learns from the first answer of each provider. */
static void limits_are_learned(void) {
    static rlm_limiter limiter;
    rlm_limit limits[4], now;
    rlm_cost cost = {1, 0, 0, 0, 0};
    rlm_permit permit;
    respond("anthropic", "anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 49\n"
            "anthropic-ratelimit-requests-reset: 2026-11-21T06:00:02Z\nanthropic-ratelimit-input-tokens-limit: 80000\n"
            "anthropic-ratelimit-input-tokens-remaining: 80000\nanthropic-ratelimit-output-tokens-limit: 16000\n"
            "anthropic-ratelimit-output-tokens-remaining: 16000", 200, "");
    CHECK_EQ(rlm_http_limits(&profile, limits, 4, 7), 3);
    CHECK_EQ(rlm_limiter_init(&limiter, limits, 3, 0), RLM_OK);
    CHECK_EQ(rlm_acquire(&limiter, &cost, 0, &permit), 0);
    CHECK_EQ(rlm_observe(&limiter, &permit, &http.feedback, SECOND), RLM_OK);
    CHECK_EQ(rlm_settle(&limiter, &permit, &cost, SECOND), RLM_OK);
    CHECK_EQ(rlm_in_force(&limiter, 0, &now), RLM_OK);
    CHECK_EQ(now.amount, 50);
    CHECK_EQ(now.period_ns, MINUTE);
    CHECK_EQ(rlm_in_force(&limiter, 1, &now), RLM_OK);
    CHECK_EQ(now.amount, 80000);
    CHECK_EQ(rlm_in_force(&limiter, 2, &now), RLM_OK);
    CHECK_EQ(now.amount, 16000);
}

/* ---- Anthropic ------------------------------------------------------------------------------- */

static void anthropic_readings(void) {
    respond("anthropic",
            "anthropic-ratelimit-output-tokens-limit: 16000\nanthropic-ratelimit-output-tokens-remaining: 15000\n"
            "anthropic-ratelimit-output-tokens-reset: 2026-11-21T06:00:04Z\n"
            "anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 49\n"
            "anthropic-ratelimit-requests-reset: 2026-11-21T06:00:02Z\n"
            "anthropic-ratelimit-tokens-limit: 96000\nanthropic-ratelimit-tokens-remaining: 90000\n"
            "anthropic-ratelimit-tokens-reset: 2026-11-21T06:00:04Z\n"
            "anthropic-ratelimit-input-tokens-limit: 80000\nanthropic-ratelimit-input-tokens-remaining: 60000\n"
            "anthropic-ratelimit-input-tokens-reset: 2026-11-21T06:00:15Z\n"
            "anthropic-priority-input-tokens-limit: 7\nanthropic-fast-output-tokens-remaining: 7\nserver: cloudflare",
             200, "");
    CHECK_EQ(http.feedback.count, 3);
    check_reading(0, RLM_REQUESTS, 50, 49, 2 * SECOND);
    check_period(0, MINUTE, 0, RLM_UNSAID);
    CHECK_EQ(reading(0)->rounding, 0);
    check_reading(1, RLM_INPUT_TOKENS, 80000, 60000, 15 * SECOND);
    CHECK_EQ(reading(1)->rounding, 500);
    check_period(1, MINUTE, UINT64_C(50731707317), RLM_UNSAID); /* (15 s - 2 s) x 80000 / 20500 */
    check_reading(2, RLM_OUTPUT_TOKENS, 16000, 15000, 4 * SECOND);
    check_verdict(RLM_HTTP_OK, RLM_HTTP_NO_REASON, RLM_CLASS_SERVER, RLM_ANSWERED, 0);
}

static void anthropic_tokens_alone(void) {
    respond("anthropic", "anthropic-ratelimit-tokens-limit: 40000\nanthropic-ratelimit-tokens-remaining: 30000\n"
            "anthropic-ratelimit-input-tokens-reset: 2026-11-21T06:00:04Z", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_TOKENS, 40000, 30000, RLM_UNSAID);
    CHECK_EQ(reading(0)->rounding, 500);
}

/* The refusal that was captured: the bucket was below zero. */
static void anthropic_in_debt(void) {
    respond("anthropic", "anthropic-ratelimit-input-tokens-limit: 200000\nanthropic-ratelimit-input-tokens-remaining: 0\n"
            "anthropic-ratelimit-input-tokens-reset: 2026-11-21T06:01:03Z\nretry-after: 16\nx-should-retry: true", 429,
            "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"This request would exceed "
             "your organization's rate "
            "limit of 200,000 input tokens per minute. Please reduce the prompt length or the maximum tokens "
             "requested, or try again "
            "later.\"},\"request_id\":\"req_1\"}");
    check_limited(16 * SECOND);
    CHECK_EQ(http.feedback.named, BIT(RLM_INPUT_TOKENS));
    CHECK_EQ(http.feedback.requested, RLM_UNSAID);
    check_reading(0, RLM_INPUT_TOKENS, 200000, 0, 63 * SECOND);
    check_period(0, MINUTE, 0, RLM_UNSAID);
}

static void anthropic_resets(void) {
    static const struct { const char *text; uint64_t ns; } good[] = {
        {"2026-11-21T06:00:10Z", 10 * SECOND}, {"2026-11-21t06:00:10z", 10 * SECOND}, {"2026-11-21 06:00:10Z", 10 * SECOND},
        {"2026-11-21T07:00:10+01:00", 10 * SECOND}, {"2026-11-21T00:30:10-05:30", 10 * SECOND}, {"2026-11-21T06:00:10.5Z",
         10 * SECOND + SECOND / 2},
        {"2026-11-21T06:00:10.000000001Z", 10 * SECOND + 1}, {"2026-11-21T06:00:10.0000000001Z", 10 * SECOND + 1},
        {"2026-11-21T06:00:60Z", 59 * SECOND}, {"2026-11-21T05:59:00Z", 0}, {"1960-01-01T00:00:00Z", 0},
         {"0001-01-01T00:00:00Z", 0}, {"0000-01-01T00:00:00Z", 0}, {"2400-02-29T00:00:00Z", UINT64_C(1) << 55},
        {"2028-02-29T00:00:00Z", UINT64_C(1) << 55}, {"9999-12-31T23:59:59Z", UINT64_C(1) << 55},
        {"  2026-11-21T06:00:10Z\t", 10 * SECOND}};
    static const char *const bad[] = {
        "", "Z", "2026-11-21T06:00:10", "2026-11-21T06:00:10.Z", "2026-11-21X06:00:10Z", "2026-13-21T06:00:10Z",
         "2026-11-31T06:00:10Z",
        "2027-02-29T06:00:10Z", "2100-02-29T06:00:10Z", "2300-02-29T06:00:10Z", "2026-11-21T24:00:10Z", "2026-11-21T06:60:10Z",
         "2026-11-21T06:00:61Z",
        "2026-11-21T06:00:10+24:00", "2026-11-21T06:00:10+01:60", "2026-11-21T06:00:10+0100", "2026-11-21T06:00:10ZZ",
         "2026-00-21T06:00:10Z",
        "2026-11-00T06:00:10Z", "1795240810", "10", "nan", "-2026-11-21T06:00:10Z", "2026-11-21T06:00:1aZ",
         "2026-11-21T06-00:10Z"};
    size_t i;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        begin("anthropic");
        header("anthropic-ratelimit-requests-limit", "50");
        header("Anthropic-RateLimit-Requests-Reset", good[i].text);
        end(200, "");
        check_reading(0, RLM_REQUESTS, 50, RLM_UNSAID, good[i].ns);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin("anthropic");
        header("anthropic-ratelimit-requests-limit", "50");
        header("anthropic-ratelimit-requests-reset", bad[i]);
        end(200, "");
        if (reading(0)->reset_ns != RLM_UNSAID) printf("# accepted: %s\n", bad[i]);
        check_reading(0, RLM_REQUESTS, 50, RLM_UNSAID, RLM_UNSAID);
    }
}

static void anthropic_unified(void) {
    static const char lines[] =
        "anthropic-ratelimit-unified-5h-utilization: 0.25\nanthropic-ratelimit-unified-5h-reset: 1795248000\n"
        "anthropic-ratelimit-unified-5h-status: allowed\nanthropic-ratelimit-unified-7d-utilization: 1.01\n"
        "anthropic-ratelimit-unified-7d-reset: 1795327200\nanthropic-ratelimit-unified-7d-status: Rejected\n"
        "anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1795327200";
    respond("anthropic", lines, 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_CUSTOM, 1000000, 750000, 7200 * SECOND);
    check_period(0, 5 * RLM_HOUR_NS, 5 * RLM_HOUR_NS, 5 * RLM_HOUR_NS);
    check_reading(1, RLM_CUSTOM, 1000000, 0, RLM_DAY_NS);
    check_period(1, 7 * RLM_DAY_NS, 7 * RLM_DAY_NS, 7 * RLM_DAY_NS);
    CHECK_EQ(http.verdict, RLM_HTTP_OK);
    respond("anthropic", lines, 429, "");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_QUOTA_DAY, RLM_CLASS_RATE_LIMIT, RLM_REFUSED, RLM_DAY_NS);
    CHECK_EQ(http.capped, 0);
    CHECK_EQ(http.feedback.named, 0);
    respond("anthropic", "anthropic-ratelimit-unified-5h-status: rejected\n"
            "anthropic-ratelimit-unified-5h-utilization: 1", 429, "");
    check_limited(0); /* until when is not said */
    CHECK_EQ(http.feedback.named, BIT(RLM_CUSTOM));
    respond("anthropic", "anthropic-ratelimit-unified-5h-status: rejected\nretry-after: 9", 429, "");
    check_limited(9 * SECOND);
    CHECK_EQ(http.feedback.count, 0);
    one("anthropic", "anthropic-ratelimit-unified-5h-utilization", "0.1234561", 200);
    CHECK_EQ(reading(0)->remaining, 876543); /* rounded down */
    one("anthropic", "anthropic-ratelimit-unified-5h-utilization", "-0.5", 200);
    CHECK_EQ(http.feedback.count, 0);
    one("anthropic", "anthropic-ratelimit-unified-5m-utilization", "0.5", 200);
    CHECK_EQ(http.feedback.count, 0);
}

static void anthropic_refusals(void) {
    static const struct { const char *message; uint32_t named; } samples[] = {
        {"This request would exceed your organization's rate limit of 80,000 input tokens per minute (org: a).",
         BIT(RLM_INPUT_TOKENS)},
        {"This request would exceed the rate limit of 16,000 output tokens per minute.", BIT(RLM_OUTPUT_TOKENS)},
        {"This request would exceed your organization\\u2019s rate limit of 50 requests per minute", BIT(RLM_REQUESTS)},
        {"Number of request tokens has exceeded your per-minute rate limit", BIT(RLM_TOKENS)},
        {"Number of requests has exceeded your rate limit", BIT(RLM_REQUESTS)},
        {"The requests have exceeded your rate limit", BIT(RLM_REQUESTS)},
        {"The requests have exceeded", BIT(RLM_REQUESTS)},
        {"Too many: 5 tokens per-minute", BIT(RLM_TOKENS)},
        {"Too many: 5 tokens perhaps", 0},
        {"Number of concurrent connections has exceeded your rate limit", RLM_NAMED_CONCURRENCY},
        {"Number of concurrent requests has exceeded your rate limit", RLM_NAMED_CONCURRENCY},
        {"Please reduce the maximum tokens requested, or try again later", 0}};
    char body[512];
    size_t i;
    for (i = 0; i < sizeof samples / sizeof *samples; i++) {
        sprintf(body, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"%s\"}}",
            samples[i].message);
        respond("anthropic", "", 429, body);
        check_limited(0);
        CHECK_EQ(http.feedback.named, samples[i].named);
    }
    respond("anthropic", "retry-after: 5", 429, "{\"error\":{\"message\":\"...due to acceleration limits\"}}");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_RATE_LIMIT, RLM_CLASS_RATE_LIMIT, RLM_SLOW_DOWN, 5 * SECOND);
    respond("anthropic", "x-should-retry: true", 529, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
        "\"message\":\"Overloaded\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED, 0);
    respond("anthropic", "", 429, "{\"error\":{\"type\":\"rate_limit_error\","
        "\"details\":{\"error_code\":\"enforced_spend_limit_reached\"}}}");
    check_never(RLM_HTTP_SPENT);
    respond("anthropic", "", 400, "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"You have reached your "
        "specified API usage limits.\"}}");
    check_never(RLM_HTTP_SPENT);
    respond("anthropic", "", 400, "{\"error\":{\"message\":\"Your credit balance is too low\"}}");
    check_never(RLM_HTTP_SPENT);
    respond("anthropic", "", 400, "{\"error\":{\"message\":\"prompt is too long: 210000 tokens > 200000 maximum\"}}");
    check_never(RLM_HTTP_TOO_LARGE);
    /* inside a stream that began well */
    respond("anthropic", "", 200, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
        "\"message\":\"Overloaded\"}}\n\n");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED, 0);
}

/* ---- x-ratelimit ----------------------------------------------------------------------------- */

static void openai_readings(void) {
    respond("openai",
            "x-ratelimit-limit-requests: 10000\nx-ratelimit-remaining-requests: 9999\nx-ratelimit-reset-requests: 8.64s\n"
            "x-ratelimit-limit-tokens: 200000\nx-ratelimit-remaining-tokens: 199978\nx-ratelimit-reset-tokens: 6ms\n"
            "x-ratelimit-limit-project-tokens: 100000\nx-ratelimit-remaining-project-tokens: 99000", 200, "");
    CHECK_EQ(http.feedback.count, 3);
    check_reading(0, RLM_REQUESTS, 10000, 9999, UINT64_C(8640000000));
    check_period(0, MINUTE, UINT64_C(86300000000000), RLM_UNSAID); /* a day is near */
    check_reading(1, RLM_TOKENS, 200000, 199978, 6000000);
    check_period(1, MINUTE, UINT64_C(45454545454), UINT64_C(66666666667));
    check_reading(2, RLM_TOKENS, 100000, 99000, RLM_UNSAID);
    check_period(2, MINUTE, 0, RLM_UNSAID);
    respond("openai", "x-ratelimit-limit-tokens: 10000\nx-ratelimit-remaining-tokens: 9481\nx-ratelimit-reset-tokens: "
        "3.114s", 200, "");
    check_period(0, MINUTE, UINT64_C(59980732177), UINT64_C(60135135136));
    /* not those of another family */
    one("openai", "anthropic-ratelimit-requests-limit", "5", 200);
    CHECK_EQ(http.feedback.count, 0);
    one("openai", "ratelimit-limit", "5", 200);
    CHECK_EQ(http.feedback.count, 0);
    one("anthropic", "x-ratelimit-limit", "5", 200);
    CHECK_EQ(http.feedback.count, 0);
}

static void x_resets(void) {
    static const struct { const char *text; uint64_t ns; } good[] = {
        {"6ms", 6000000}, {"3.114s", UINT64_C(3114000000)}, {"2m59.56s", UINT64_C(179560000000)}, {"6m0s", 360 * SECOND},
        {"1h2m3s", 3723 * SECOND}, {"1d", RLM_DAY_NS}, {"7us", 7000}, {"7\302\265s", 7000}, {"7\316\274s", 7000}, {"7ns",
         7}, {"0.5ns", 1},
        {"0.5ns0.5ns", 2}, {"1.5h", 5400 * SECOND}, {"0s", 0}, {"0", 0}, {"12", 12 * SECOND}, {"12.25",
         12 * SECOND + SECOND / 4},
        {"33011.382867", UINT64_C(33011382867000)}, {"0.0000000001", 1}, {"999999999", (UINT64_C(1) << 55)},
         {"1795240805", 5 * SECOND},
        {"1795240805.5", 5 * SECOND + SECOND / 2}, {"1795240805500", 5 * SECOND + SECOND / 2}, {"1000000000", 0},
         {"99999999999", UINT64_C(1) << 55},
        {"100000000000", 0}, {"2026-11-21T06:00:05Z", 5 * SECOND}, {"99999999999999999999999999", UINT64_C(1) << 55},
         {"999999h", UINT64_C(1) << 55},
        {"99999999999999999999h1h", UINT64_C(1) << 55}};
    static const char *const bad[] = {"", "s", "6", "6 ms", "6msx", "ms6", "1.s", ".5s", "-5s", "+5s", "1e3", "0x10",
        "nan", "inf", "6MS", "1w", "1m-3s", "5 ", "1,000", "1s1"};
    size_t i;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        begin("openai");
        header("x-ratelimit-limit-tokens", "100");
        header("X-RateLimit-Reset-Tokens", good[i].text);
        end(200, "");
        if (reading(0)->reset_ns != good[i].ns) printf("# of %s\n", good[i].text);
        check_reading(0, RLM_TOKENS, 100, RLM_UNSAID, good[i].ns);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (strcmp(bad[i], "6") == 0 || strcmp(bad[i], "5 ") == 0) continue; /* seconds, trimmed */
        begin("openai");
        header("x-ratelimit-limit-tokens", "100");
        header("x-ratelimit-reset-tokens", bad[i]);
        end(200, "");
        if (reading(0)->reset_ns != RLM_UNSAID) printf("# accepted: %s\n", bad[i]);
        CHECK_EQ(reading(0)->reset_ns, RLM_UNSAID);
    }
}

/* least = (reset - resolution) x limit / used tells what the resolution was taken for. Of times it is a second, and one more as
   Date is cut to seconds; they bound the period on one side only. */
static void resolutions(void) {
    static const struct { const char *text; uint64_t resolution_ns; } samples[] = {
        {"600ms", 1000000}, {"30.114s", 1000000}, {"2m59.56s", 10000000}, {"6m0s", SECOND}, {"6m", SECOND}, {"2h",
         SECOND}, {"30s", SECOND}, {"30.5s", SECOND / 10},
        {"30", SECOND}, {"30.25", SECOND / 100}, {"1795240830", 2 * SECOND}, {"1795240830000", 2 * SECOND},
         {"2026-11-21T06:00:30Z", 2 * SECOND},
        {"2026-11-21T06:00:30.123Z", 2 * SECOND}, {"1.5h", 360 * SECOND}, {"30.0000000000000s", 1},
        {"0.50000000000m", 1}}; /* of 0.6 ns, as far as that can be told */
    size_t i;
    for (i = 0; i < sizeof samples / sizeof *samples; i++) {
        begin("openai");
        header("x-ratelimit-limit-tokens", "100");
        header("x-ratelimit-remaining-tokens", "90");
        header("x-ratelimit-reset-tokens", samples[i].text);
        end(200, "");
        CHECK_EQ(reading(0)->period_least_ns, (reading(0)->reset_ns > samples[i].resolution_ns ? reading(0)->reset_ns - samples[i].resolution_ns : 0) * 10);
        CHECK_EQ(reading(0)->period_most_ns,
                 samples[i].resolution_ns == 2 * SECOND ? RLM_UNSAID : ((reading(0)->reset_ns + samples[i].resolution_ns) * 100 + 8) / 9);
    }
}

static void no_period_is_inferred(void) {
    static const char *const lines[] = {
        "x-ratelimit-limit-tokens: 100\nx-ratelimit-remaining-tokens: 90",                                     /* no reset */
        "x-ratelimit-limit-tokens: 100\nx-ratelimit-reset-tokens: 6s",                                         /* no rest */
        "x-ratelimit-remaining-tokens: 90\nx-ratelimit-reset-tokens: 6s",                                      /* no limit */
        "x-ratelimit-limit-tokens: 100\nx-ratelimit-remaining-tokens: 100\nx-ratelimit-reset-tokens: 6s",
         /* nothing used */
        "x-ratelimit-limit-tokens: 100\nx-ratelimit-remaining-tokens: 200\nx-ratelimit-reset-tokens: 6s",      /* cut */
        "x-ratelimit-limit-tokens: 100\nx-ratelimit-remaining-tokens: 90\nx-ratelimit-reset-tokens: 0s"};      /* no time */
    size_t i;
    for (i = 0; i < sizeof lines / sizeof *lines; i++) {
        respond("openai", lines[i], 200, "");
        check_period(0, MINUTE, 0, RLM_UNSAID);
    }
    respond("azure", "x-ratelimit-limit-tokens: 100\nx-ratelimit-remaining-tokens: 90\nx-ratelimit-reset-tokens: 6s", 200,
        "");
    check_period(0, MINUTE, 0, RLM_UNSAID);
    /* so far away that the bounds would meet where spans end */
    respond("openai", "x-ratelimit-limit-tokens: 1099511627776\nx-ratelimit-remaining-tokens: "
        "1099511627770\nx-ratelimit-reset-tokens: 400d", 200, "");
    check_period(0, MINUTE, UINT64_C(1) << 55, RLM_UNSAID);
    one("openai", "x-ratelimit-reset-tokens", "6s", 200);
    CHECK_EQ(http.feedback.count, 0);
}

/* Where the product does not fit 64 bits, it is still exact, and rounded the right way. */
static void inferred_of_large_figures(void) {
    respond("openai", "x-ratelimit-limit-tokens: 1000000000000\nx-ratelimit-remaining-tokens: 500000000000\n"
        "x-ratelimit-reset-tokens: 10000s", 200, "");
    check_period(0, MINUTE, UINT64_C(19998000000000), UINT64_C(20002000000041));
    respond("openai", "x-ratelimit-limit-tokens: 1000000000000\nx-ratelimit-remaining-tokens: 499999999999\n"
        "x-ratelimit-reset-tokens: 10000s", 200, "");
    check_period(0, MINUTE, UINT64_C(19997999999960), UINT64_C(20002000000000)); /* most: to the point */
    /* 2^64 - 1 and a fraction: rounded up it would be 0 */
    respond("openai", "x-ratelimit-limit-tokens: 1099410973697\nx-ratelimit-remaining-tokens: 1097263686638\n"
        "x-ratelimit-reset-tokens: 36028797.018931196", 200, "");
    check_period(0, MINUTE, UINT64_C(1) << 55, RLM_UNSAID);
}

static void periods_that_are_known_are_not_inferred(void) {
    begin("openai");
    profile.periods_known = 1;
    rlm_http_begin(&http, &profile, NOW);
    header("x-ratelimit-limit-tokens", "100"), header("x-ratelimit-remaining-tokens", "90"), header("x-ratelimit-reset-tokens", "6s");
    end(200, "");
    check_reading(0, RLM_TOKENS, 100, 90, 6 * SECOND);
    check_period(0, MINUTE, 0, RLM_UNSAID);
}

static void x_periods(void) {
    respond("cerebras",
            "x-ratelimit-limit-requests-day: 14400\nx-ratelimit-limit-tokens-minute: "
             "60000\nx-ratelimit-remaining-requests-day: 14399\n"
            "x-ratelimit-remaining-tokens-minute: 59000\nx-ratelimit-reset-requests-day: "
             "33011.382867\nx-ratelimit-reset-tokens-minute: 11.38\n"
            "x-ratelimit-limit-tokens-hour: 1000000\nx-ratelimit-limit-requests-second: 2", 200, "");
    CHECK_EQ(http.feedback.count, 4);
    check_reading(0, RLM_REQUESTS, 14400, 14399, UINT64_C(33011382867000));
    check_period(0, RLM_DAY_NS, RLM_DAY_NS, RLM_DAY_NS);
    check_reading(1, RLM_REQUESTS, 2, RLM_UNSAID, RLM_UNSAID);
    check_period(1, SECOND, SECOND, SECOND);
    check_reading(2, RLM_TOKENS, 60000, 59000, UINT64_C(11380000000));
    check_period(2, MINUTE, MINUTE, MINUTE);
    check_period(3, RLM_HOUR_NS, RLM_HOUR_NS, RLM_HOUR_NS);
    respond("groq", "x-ratelimit-limit-requests: 1000\nx-ratelimit-remaining-requests: "
        "999\nx-ratelimit-reset-requests: 1m26.4s\n"
            "x-ratelimit-limit-tokens: 6000", 200, "");
    CHECK_EQ(reading(0)->period_ns, RLM_DAY_NS);
    CHECK_EQ(reading(0)->period_least_ns, UINT64_C(86300000000000));
    CHECK_EQ(reading(1)->period_ns, MINUTE);
    respond("openrouter", "X-RateLimit-Limit: 20\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: "
        "1795240830000\nx-ratelimit-limit-minute: 30", 429, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 20, 0, 30 * SECOND);
    check_reading(1, RLM_REQUESTS, 30, RLM_UNSAID, RLM_UNSAID);
    check_limited(30 * SECOND); /* its period ends then */
    respond("litellm", "llm_provider-x-ratelimit-limit-requests: 7\nLLM_Provider-Retry-After: 3", 429, "");
    check_reading(0, RLM_REQUESTS, 7, RLM_UNSAID, RLM_UNSAID);
    check_limited(3 * SECOND);
}

static void unknown_names(void) {
    static const char *const unknown[] = {
        "x-ratelimit-", "x-ratelimit-limit-", "x-ratelimit-limits", "x-ratelimit-limit-request",
         "x-ratelimit-limit-project-", "x-ratelimit-limit-project-input-tokens",
        "x-ratelimit-limit-project", "x-ratelimit-limit-tokens-week", "x-ratelimit-limit-tokens-minute-minute",
         "x-ratelimit-limit-requests ", "x-ratelimit-limit--minute",
        "anthropic-ratelimit-limit", "anthropic-ratelimit--limit", "anthropic-ratelimit-request-limit",
         "anthropic-ratelimit-requests", "anthropic-ratelimit-requests-limit-day",
        "anthropic-ratelimit-requests\rlimit", "anthropic\rratelimit-requests-limit", "llm_provider-",
         "llm_provider-llm_provider-x-ratelimit-limit", "ratelimit-limits",
        "ratelimits", "ratelimit-", "x-ratelimi", "xx-ratelimit-limit",
         "x-ratelimit-limit-requests-requests-requests-requests-requests-day", "a", "x", "", "limit"};
    size_t i;
    for (i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        one("generic", unknown[i], "5", 200);
        if (http.feedback.count != 0) printf("# known: %s\n", unknown[i]);
        CHECK_EQ(http.feedback.count, 0);
    }
}

static void amounts(void) {
    static const struct { const char *text; uint64_t limit, remaining; } samples[] = {
        {"99", 99, 99}, {"99.5", 99, 99}, {"0", 0, 0}, {"007", 7, 7}, {" 99\t", 99, 99}, {"1099511627777", RLM_AMOUNT_MAX,
         RLM_AMOUNT_MAX},
        {"99999999999999999999999999999999", RLM_AMOUNT_MAX, RLM_AMOUNT_MAX}, {"-5", RLM_UNSAID, 0}, {"-0.5", RLM_UNSAID,
         0}, {"-x", RLM_UNSAID, RLM_UNSAID},
        {"-", RLM_UNSAID, RLM_UNSAID}, {"--5", RLM_UNSAID, RLM_UNSAID}, {"+5", RLM_UNSAID, RLM_UNSAID}, {"1e3",
         RLM_UNSAID, RLM_UNSAID},
        {"0x10", RLM_UNSAID, RLM_UNSAID}, {"nan", RLM_UNSAID, RLM_UNSAID}, {"inf", RLM_UNSAID, RLM_UNSAID}, {"",
         RLM_UNSAID, RLM_UNSAID},
        {"5 5", RLM_UNSAID, RLM_UNSAID}, {"1,000", RLM_UNSAID, RLM_UNSAID}, {"1.", RLM_UNSAID, RLM_UNSAID}, {".5",
         RLM_UNSAID, RLM_UNSAID}};
    size_t i;
    for (i = 0; i < sizeof samples / sizeof *samples; i++) {
        one("openai", "x-ratelimit-limit-tokens", samples[i].text, 200);
        CHECK_EQ(http.feedback.count, samples[i].limit != RLM_UNSAID);
        if (http.feedback.count != 0) check_reading(0, RLM_TOKENS, samples[i].limit, RLM_UNSAID, RLM_UNSAID);
        one("openai", "x-ratelimit-remaining-tokens", samples[i].text, 200);
        CHECK_EQ(http.feedback.count, samples[i].remaining != RLM_UNSAID);
        if (http.feedback.count != 0) check_reading(0, RLM_TOKENS, RLM_UNSAID, samples[i].remaining, RLM_UNSAID);
    }
    begin("openai");
    header_bytes(&http, "x-ratelimit-limit", 17, "5\0", 2);
    header_bytes(&http, "x-ratelimit-limit\0", 18, "5", 1);
    rlm_http_header(&http, "x-ratelimit-limit", 17, NULL, 0);
    end(200, "");
    CHECK_EQ(http.feedback.count, 0);
}

static void said_twice(void) {
    static const char *const pairs[][2] = {{"100", "90"}, {"90", "100"}};
    static const char *const resets[][2] = {{"6s", "1795240810"}, {"1795240810", "6s"}};
    size_t i;
    for (i = 0; i < 2; i++) {
        begin("openai");
        header("x-ratelimit-limit-tokens", pairs[i][0]), header("x-ratelimit-limit-tokens", pairs[i][1]);
        header("x-ratelimit-remaining-tokens", pairs[i][0]), header("x-ratelimit-remaining-tokens", pairs[i][1]);
        header("x-ratelimit-reset-tokens", resets[i][0]), header("x-ratelimit-reset-tokens", resets[i][1]);
        header("retry-after", pairs[i][0]), header("retry-after", pairs[i][1]), header("retry-after", "x");
        header("retry-after-ms", pairs[i][0]), header("retry-after-ms", pairs[i][1]), header("retry-after-ms", "-1");
        end(429, "");
        check_reading(0, RLM_TOKENS, 90, 90, 10 * SECOND);
        check_limited(100 * 1000000);
        begin("openai");
        header("x-should-retry", i != 0 ? "true" : "FALSE"), header("x-should-retry", i != 0 ? "False" : "true");
        end(500, "");
        check_verdict(RLM_HTTP_NEVER, RLM_HTTP_TOLD, RLM_CLASS_FATAL, RLM_FAILED, 0);
        begin("openai");
        header("date", i != 0 ? "Sat, 21 Nov 2026 05:00:00 GMT" : "Sat, 21 Nov 2026 05:30:00 GMT");
        header("date", i != 0 ? "Sat, 21 Nov 2026 05:30:00 GMT" : "Sat, 21 Nov 2026 05:00:00 GMT");
        header("retry-after", "Sat, 21 Nov 2026 05:59:00 GMT"), header("retry-after", "60");
        end(429, "");
        check_limited(59 * MINUTE);
    }
}

static void many_readings(void) {
    static const char *const periods[] = {"-second", "-minute", "-hour", "-day", ""};
    static const char *const meters[] = {"output-tokens", "requests", "tokens"};
    char name[64];
    size_t i, j;
    begin("generic");
    for (i = 0; i < 3; i++)
        for (j = 0; j < 5; j++) {
            sprintf(name, "x-ratelimit-limit-%s%s", meters[i], periods[j]);
            header(name, "5");
        }
    end(200, "");
    CHECK_EQ(http.feedback.count, RLM_READINGS_MAX);
    for (i = 0; i < 8; i++) CHECK_EQ(reading(i)->meter, i < 5 ? RLM_REQUESTS : RLM_OUTPUT_TOKENS);
}

#define VIOLATION(id, value) "{\"quotaMetric\":\"m\",\"quotaId\":\"" id "\",\"quotaValue\":\"" value "\"}"
#define FAILURE(violations) \
    "{\"error\":{\"details\":[{\"@type\":\"x/google.rpc.QuotaFailure\",\"violations\":[" violations "]}]}}"

/* Headers take half of the room, policies and items have theirs, and what is left is the body's. */
static void readings_without_room(void) {
    static const char *const periods[] = {"-second", "-minute", "-hour", "-day"};
    static const char *const meters[] = {"output-tokens", "tokens", "input-tokens"};
    char name[64];
    size_t i, j;
    begin("generic");
    for (i = 0; i < 3; i++)
        for (j = 0; j < 4; j++) {
            sprintf(name, "x-ratelimit-limit-%s%s", meters[i], periods[j]);
            header(name, "5");
        }
    header("ratelimit-limit", "3"), header("ratelimit-remaining", "2"); /* the thirteenth */
    header("ratelimit-policy",
        "\"a\";q=1;qu=tokens, \"b\";q=2;qu=tokens, \"c\";q=3;qu=tokens, \"d\";q=4;qu=tokens, \"e\";q=9");
    header("ratelimit", "\"f\";r=1, \"g\";r=2, \"h\";r=3, \"i\";r=4, \"j\";r=9");
    end(429, FAILURE(VIOLATION("Tokens", "1") "," VIOLATION("TokensPerMinute", "2") "," VIOLATION("TokensPerDay", "3") ","
                     VIOLATION("InputTokens", "4") "," VIOLATION("Requests", "15")));
    CHECK_EQ(http.feedback.count, RLM_READINGS_MAX);
    for (i = 0; i < 4; i++) check_reading(i, RLM_REQUESTS, RLM_UNSAID, i + 1, RLM_UNSAID); /* neither of 3 nor of 15 */
    for (; i < 8; i++) CHECK_EQ(reading(i)->meter, RLM_INPUT_TOKENS);
    CHECK_EQ(http.feedback.named, BIT(RLM_REQUESTS) | BIT(RLM_TOKENS) | BIT(RLM_INPUT_TOKENS)); /* though there is no room */
    CHECK_EQ(http.reason, RLM_HTTP_QUOTA_DAY);
}

/* ---- RateLimit ------------------------------------------------------------------------------- */

static void ietf_structured(void) {
    respond("generic", "RateLimit: \"burst\";r=50;t=30\nRateLimit-Policy: \"burst\";q=100;w=60,\"daily\";q=1000;w=86400",
        200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 100, 50, 30 * SECOND);
    check_period(0, MINUTE, MINUTE, MINUTE);
    check_reading(1, RLM_REQUESTS, 1000, RLM_UNSAID, RLM_UNSAID);
    check_period(1, RLM_DAY_NS, RLM_DAY_NS, RLM_DAY_NS);
    /* order of parameters, spaces, case, parameters unknown, malformed or twice, a token as name */
    respond("generic", "ratelimit-policy: burst ; W=60; pk=:abc: ;q=100 ;q=99; w=x, "
        "\"t\";qu=\"Input-Tokens\";q=7\nratelimit: \"burst\" ; t=30;x;r=-3, t;r=6", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 99, 0, 30 * SECOND);
    check_period(0, MINUTE, MINUTE, MINUTE);
    check_reading(1, RLM_TOKENS, 7, 6, RLM_UNSAID);
    check_period(1, MINUTE, 0, RLM_UNSAID);
    /* joined though the names differ */
    respond("generic", "RateLimit-Policy: 100;w=60\nRateLimit: \"default\";r=50;t=30", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 100, 50, 30 * SECOND);
    check_period(0, MINUTE, MINUTE, MINUTE);
    /* not joined: two of one */
    respond("generic", "RateLimit-Policy: \"a\";q=100;w=60\nRateLimit: \"a\";r=50, \"b\";r=40;t=0.5", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 100, 50, RLM_UNSAID);
    check_reading(1, RLM_REQUESTS, RLM_UNSAID, 40, SECOND / 2);
    /* of bytes, and what belongs to it */
    respond("generic", "RateLimit-Policy: \"a\";q=100;qu=\"content-bytes\",\"b\";q=5;qu=requests\nRateLimit: "
        "\"a\";r=50, \"b\";r=1", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 5, 1, RLM_UNSAID);
    respond("generic", "RateLimit-Policy: \"a\";q=1, \"b\";q=2\nRateLimit-Policy: \"c\";q=3,\"d\";q=4,\"e\";q=5, "
        "\"a\";q=0;w=0", 200, "");
    CHECK_EQ(http.feedback.count, 4);
    CHECK_EQ(reading(0)->limit, 0);
    CHECK_EQ(reading(0)->period_least_ns, 0);
    CHECK_EQ(reading(3)->limit, 4);
}

/* Parameters, items and policies that are there twice: the smaller amount, the longer time, the dearer unit. */
static void ietf_said_twice(void) {
    static const char *const policies[] = {"\"a\";q=100;q=200;w=60;w=30", "\"a\";q=200;q=100;w=30;w=60"};
    static const char *const items[] = {"\"a\";r=5;r=9;t=3;t=7", "\"a\";r=9;r=5;t=7;t=3", "\"a\";r=5;t=3, \"a\";r=9;t=7",
        "\"a\";r=9;t=7, \"a\";r=5;t=3", "\"a\";r=5, \"a\";t=7", "\"a\";t=7, \"a\";r=5"};
    size_t i, j;
    for (i = 0; i < 2; i++)
        for (j = 0; j < 6; j++) {
            begin("generic");
            header("RateLimit-Policy", policies[i]), header("RateLimit", items[j]);
            end(200, "");
            CHECK_EQ(http.feedback.count, 1);
            check_reading(0, RLM_REQUESTS, 100, 5, 7 * SECOND);
            check_period(0, MINUTE, MINUTE, MINUTE);
        }
    one("generic", "RateLimit-Policy", "100;q=50;w=60, 70;q=80;w=60", 200);
    CHECK_EQ(http.feedback.count, 2);
    CHECK_EQ(reading(0)->limit, 50);
    CHECK_EQ(reading(1)->limit, 70);
    one("generic", "RateLimit-Policy", "100;w=60, 100;w=60, 100;w=60;qu=tokens", 200); /* without a name: the same, and another */
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 100, RLM_UNSAID, RLM_UNSAID);
    check_reading(1, RLM_TOKENS, 100, RLM_UNSAID, RLM_UNSAID);
    for (i = 0; i < 2; i++) { /* with one: the same */
        one("generic", "RateLimit-Policy",
            i == 0 ? "\"a\";q=5, \"a\";q=5;qu=tokens" : "\"a\";q=5;qu=tokens, \"a\";q=5", 200);
        CHECK_EQ(http.feedback.count, 1);
        check_reading(0, RLM_TOKENS, 5, RLM_UNSAID, RLM_UNSAID);
    }
}

/* A unit is looked at up to 64 bytes. */
static void ietf_units(void) {
    char value[200];
    one("generic", "RateLimit-Policy", "\"a\";q=5;qu=\"x-tokens-of-a-model\"", 200);
    check_reading(0, RLM_TOKENS, 5, RLM_UNSAID, RLM_UNSAID);
    sprintf(value, "\"a\";q=5;qu=\"%059d%s\"", 0, "token");
    one("generic", "RateLimit-Policy", value, 200);
    check_reading(0, RLM_TOKENS, 5, RLM_UNSAID, RLM_UNSAID);
    sprintf(value, "\"a\";q=5;qu=\"%060d%s\"", 0, "token");
    one("generic", "RateLimit-Policy", value, 200);
    CHECK_EQ(http.feedback.count, 0);
    one("generic", "RateLimit-Policy", "\"a\";q=5;qu=a b", 200);
    CHECK_EQ(http.feedback.count, 0);
}

static void ietf_malformed(void) {
    static const char *const bad[] = {"", ",", ";", ",,;;,", "\"a", "\"a;r=5", "\"a\"b;r=5", "a b;r=5", ";r=5", "\"a\";r",
        "\"a\";r=", "\"a\";=5", "\"a\";r =5", "\"a\";t=5",
                                      "\"a\\\";r=5", "\"", "\\", "a\";r=5", "=5", "foo=5", "limit=", "limit=x", "limit"};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        one("generic", "RateLimit", bad[i], 200);
        if (http.feedback.count != 0) printf("# accepted: %s\n", bad[i]);
        CHECK_EQ(http.feedback.count, 0);
    }
    one("generic", "RateLimit", "\"a\\\"b,;c\";r=5, \"broken, \"x\";r=1", 200);
    CHECK_EQ(http.feedback.count, 1);
    CHECK_EQ(reading(0)->remaining, 5);
}

static void ietf_older(void) {
    respond("generic", "RateLimit: limit=100, remaining=50, reset=30", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 100, 50, 30 * SECOND);
    check_period(0, MINUTE, 0, RLM_UNSAID);
    respond("generic", "RateLimit: limit=100, remaining=50, reset=30\nRateLimit-Policy: 10;w=1, 100;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 100, 50, 30 * SECOND);
    check_period(0, RLM_HOUR_NS, RLM_HOUR_NS, RLM_HOUR_NS);
    check_reading(1, RLM_REQUESTS, 10, RLM_UNSAID, RLM_UNSAID);
    check_period(1, SECOND, SECOND, SECOND);
    respond("generic", "RateLimit-Limit: 100, 100;w=60\nRateLimit-Remaining: -1\nRateLimit-Reset: 7", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 100, 0, 7 * SECOND);
    check_period(0, MINUTE, MINUTE, MINUTE);
    respond("generic", "RateLimit-Limit: 100, 50;w=60", 200, "");
    check_period(0, MINUTE, 0, RLM_UNSAID);
    respond("generic", "RateLimit-Remaining: 4\nRateLimit-Policy: \"x\";q=5;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 5, 4, RLM_UNSAID);
    check_period(0, RLM_HOUR_NS, RLM_HOUR_NS, RLM_HOUR_NS);
    /* the period of the smaller limit, in either order */
    respond("generic", "RateLimit-Limit: 200;w=60\nRateLimit: limit=100", 200, "");
    check_period(0, MINUTE, 0, RLM_UNSAID);
    respond("generic", "RateLimit: limit=100\nRateLimit-Limit: 200;w=60", 200, "");
    check_period(0, MINUTE, 0, RLM_UNSAID);
    /* of the same limit the longer, but the first of those in a line */
    respond("generic", "RateLimit-Limit: 100;w=60\nRateLimit-Limit: 100;w=3600", 200, "");
    check_period(0, RLM_HOUR_NS, RLM_HOUR_NS, RLM_HOUR_NS);
    respond("generic", "RateLimit-Limit: 100;w=3600\nRateLimit-Limit: 100;w=60", 200, "");
    check_period(0, RLM_HOUR_NS, RLM_HOUR_NS, RLM_HOUR_NS);
    respond("generic", "RateLimit-Limit: 100, 100;w=60, 100;w=3600", 200, "");
    check_period(0, MINUTE, MINUTE, MINUTE);
    /* a policy of the same limit is another where their periods differ */
    respond("generic", "RateLimit-Limit: 100;w=60\nRateLimit-Policy: \"a\";q=100;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_period(0, MINUTE, MINUTE, MINUTE);
    check_period(1, RLM_HOUR_NS, RLM_HOUR_NS, RLM_HOUR_NS);
    respond("generic", "RateLimit-Limit: 100;w=60\nRateLimit-Policy: \"a\";q=100;w=60", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    respond("generic", "RateLimit-Limit: 100;w=60\nRateLimit-Policy: \"a\";q=100", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_period(0, MINUTE, MINUTE, MINUTE);
}

/* ---- How long -------------------------------------------------------------------------------- */

static void retry_after_forms(void) {
    static const struct { const char *text; uint64_t ns; } good[] = {
        {"16", 16 * SECOND}, {"0.5", SECOND / 2}, {"1.0000000001", SECOND + 1}, {"0.000", 0}, {"0", 0}, {" 7 ", 7 * SECOND},
        {"Sat, 21 Nov 2026 06:00:30 GMT", 30 * SECOND}, {"Saturday, 21-Nov-26 06:00:30 GMT", 30 * SECOND},
         {"Sat Nov 21 06:00:30 2026", 30 * SECOND},
        {"sun, 21 nov 2026 06:00:30 gmt", 30 * SECOND}, {"Sat, 21 Nov 2026 05:00:00 GMT", 0}, {"Sun Nov  6 08:49:37 1994",
         0}, {"Sunday, 06-Nov-94 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0}, {"Sat, 21 Nov 2026 06:00:60 GMT", 59 * SECOND},
         {"Sat, 21 Nov 2026 06:00:00 GMT", 0}};
    static const char *const bad[] = {
        "", "-5", "+5", "nan", "inf", "1e3", "0x10", "5s", "1 2", "Sat, 21 Nov 2026 06:00:30",
         "Sat, 21 Nov 2026 06:00:30 UTC", "Sat, 21 Nov 2026 6:00:30 GMT",
        "Sat, 31 Nov 2026 06:00:30 GMT", "Sat, 21 Nox 2026 06:00:30 GMT", "Xat, 21 Nov 2026 06:00:30 GMT",
         "Sat, 21 Nov 2026 24:00:30 GMT", "Sat 21 Nov 2026 06:00:30 GMT ",
        "Caturday, 21-Nov-26 06:00:30 GMT", "Saturday, 21-Nov-2026 06:00:30 GMT", "Saturday, 21 Nov 26 06:00:30 GMT",
         "Sat Nov 21 06:00:30 26", "2026-11-21T06:00:30Z",
        "Sat Nov x1 06:00:30 2026", "Sat, 21 Nov 2026 06:00:30 GMT+1", "Monday, 29-Feb-27 06:00:30 GMT",
        "Saturday,x21-Nov-26 06:00:30 GMT", "Saturday; 21-Nov-26 06:00:30 GMT", "Saturday, 21-Nov 26 06:00:30 GMT",
        "Saturday, 21-Nov-26x06:00:30 GMT", "Saturday, 21-Nov-26 06:00:30xGMT", "Saturday, 21-Nov-26 06-00:30 GMT"};
    size_t i;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        if (retry_after(good[i].text) != good[i].ns) printf("# of %s\n", good[i].text);
        check_limited(good[i].ns);
        CHECK_EQ(http.capped, 0);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (retry_after(bad[i]) != 0) printf("# accepted: %s\n", bad[i]);
        check_limited(0);
    }
    CHECK_EQ(retry_after("3600"), RLM_HOUR_NS);
    CHECK_EQ(http.capped, 0);
    CHECK_EQ(retry_after("3600.1"), RLM_HOUR_NS);
    CHECK_EQ(http.capped, 1);
    CHECK_EQ(retry_after("99999999999999999999999999999"), RLM_HOUR_NS);
    CHECK_EQ(retry_after("Fri, 31 Dec 9999 23:59:59 GMT"), RLM_HOUR_NS);
    CHECK_EQ(http.capped, 1);
    begin("azure");
    http.profile.retry_after_max_ns = 0; /* an hour */
    header("retry-after", "5000");
    end(429, "");
    check_limited(RLM_HOUR_NS);
}

static void retry_after_ms(void) {
    respond("azure", "retry-after: 7\nretry-after-ms: 1500.5", 429, "");
    check_limited(UINT64_C(1500500000));
    respond("azure", "retry-after-ms: 0\nretry-after: 7", 429, "");
    check_limited(7 * SECOND);
    respond("azure", "retry-after-ms: x\nretry-after: 7", 429, "");
    check_limited(7 * SECOND);
    respond("azure", "retry-after-ms: 7200000", 429, "");
    check_limited(RLM_HOUR_NS);
    CHECK_EQ(http.capped, 1);
}

static void reference_time(void) {
    respond("openai", "retry-after: Sat, 21 Nov 2026 05:00:30 GMT\nx-ratelimit-limit: 5\nx-ratelimit-reset: "
        "1795237210\nDate: Sat, 21 Nov 2026 05:00:00 GMT", 429, "");
    check_limited(30 * SECOND);
    check_reading(0, RLM_REQUESTS, 5, RLM_UNSAID, 10 * SECOND);
    respond("openai", "Date: Sat, 21 Nov 2020 05:00:00 GMT\nretry-after: Sat, 21 Nov 2026 06:00:30 GMT", 429, "");
        /* years ago */
    check_limited(30 * SECOND);
    respond("openai", "Date: nonsense\nretry-after: Sat, 21 Nov 2026 06:00:30 GMT", 429, "");
    check_limited(30 * SECOND);
    rlm_http_begin(&http, &profile, 0);
    header("date", "Tue, 31 Dec 2019 23:59:59 GMT");
    header("x-ratelimit-limit", "5"), header("x-ratelimit-remaining", "4"), header("x-ratelimit-reset", "1795237210");
    header("retry-after", "Sat, 21 Nov 2026 06:00:30 GMT");
    end(429, "");
    check_reading(0, RLM_REQUESTS, 5, 4, RLM_UNSAID);
    check_period(0, MINUTE, 0, RLM_UNSAID);
    check_limited(RLM_HOUR_NS);
    rlm_http_begin(&http, &profile, 0);
    header("date", "Wed, 01 Jan 2020 00:00:00 GMT");
    header("retry-after", "Wed, 01 Jan 2020 00:00:09 GMT");
    end(429, "");
    check_limited(9 * SECOND);
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

static void openai_refusals(void) {
    respond("openai", "", 429,
            "{\"error\": {\"message\": \"Rate limit reached for gpt-4 in organization org-x on tokens per min (TPM): "
             "Limit 10,000, Used 9481, Requested 1000. "
            "Please try again in 2.886s. Visit https://platform.openai.com/account/rate-limits to learn more.\", "
             "\"type\": \"tokens\", \"param\": null, "
            "\"code\": \"rate_limit_exceeded\"}}");
    check_limited(UINT64_C(2886000000));
    CHECK_EQ(http.feedback.named, BIT(RLM_TOKENS));
    CHECK_EQ(http.feedback.requested, 1000);
    respond("openai", "", 429, "{\"error\":{\"message\":\"on tokens per min (TPM): Requested 1000, Limit 10000, Used "
        "9481.\"}}");
    check_limited(UINT64_C(2886000000)); /* (9481 + 1000 - 10000) / 10000 x 60 s */
    respond("openai", "", 429, "{\"error\":{\"message\":\"on requests per min (RPM): Limit: 3 / min. Please try again "
        "in 20s.\"}}");
    check_limited(20 * SECOND);
    CHECK_EQ(http.feedback.named, BIT(RLM_REQUESTS));
    respond("openai", "", 429, "{\"error\":{\"message\":\"(TPM): Limit 3, Used 3, Requested 1. Please try again in "
        "6ms.\"}}");
    check_limited(6000000);
    CHECK_EQ(http.feedback.named, BIT(RLM_TOKENS));
    respond("openai", "retry-after: 4", 429, "{\"error\":{\"message\":\"Please try again in 1m3s.\"}}");
    check_limited(4 * SECOND);
    respond("openai", "", 429, "{\"error\":{\"message\":\"Request too large for gpt-4o on tokens per min (TPM): Limit "
        "30000, Requested 46000.\",\"code\":\"rate_limit_exceeded\"}}");
    check_never(RLM_HTTP_TOO_LARGE);
    respond("groq", "", 429, "{\"error\":{\"message\":\"on tokens per day (TPD): Limit 100000, Used 99600, Requested "
        "700. Please try again in 4m19.2s.\"}}");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_QUOTA_DAY, RLM_CLASS_RATE_LIMIT, RLM_REFUSED, UINT64_C(259200000000));
    respond("openai", "", 429, "{\"error\":{\"message\":\"on requests per day (RPD): Limit 200, Used 200, Requested 1.\"}}");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_QUOTA_DAY, RLM_CLASS_RATE_LIMIT, RLM_REFUSED, 432 * SECOND);
    respond("openai", "", 429, "{\"error\":{\"message\":\"You exceeded your current quota\","
        "\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}");
    check_never(RLM_HTTP_SPENT);
    respond("openai", "x-ratelimit-remaining-tokens: 0\nx-ratelimit-remaining-requests: 7", 429, "");
    check_limited(0);
    CHECK_EQ(http.feedback.named, BIT(RLM_TOKENS));
    respond("openai", "", 503, "{\"error\":{\"message\":\"Slow Down\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_SLOW_DOWN, 0);
    respond("openai", "", 503, "{\"error\":{\"code\":\"slow_down\",\"message\":\"overloaded\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_SLOW_DOWN, 0);
    respond("openai", "", 400, "{\"error\":{\"code\":\"context_length_exceeded\"}}");
    check_never(RLM_HTTP_TOO_LARGE);
    respond("openai", "", 400, "{\"error\":{\"code\":\"billing_hard_limit_reached\"}}");
    check_never(RLM_HTTP_SPENT);
    respond("azure", "", 429, "{ \"statusCode\": 429, \"message\": \"Rate limit is exceeded. Try again in 7 seconds.\" }");
    check_limited(7 * SECOND);
    respond("azure", "", 429, "{\"error\":{\"code\":\"429\",\"message\":\"Please retry after 1 minute.\"}}");
    check_limited(MINUTE);
    respond("azure", "", 429, "{\"error\":\"Please retry after 5 parsecs.\"}");
    check_limited(0);
    respond("azure", "", 429, "{\"error\":\"Please retry after 5\"}");
    check_limited(0);
    respond("azure", "", 429, "{\"error\":\"Please retry after 5 \"}");
    check_limited(0);
}

/* What a message names only by its abbreviation, or by the day. */
static void abbreviations(void) {
    static const struct { const char *message; uint32_t named; bool day; uint64_t wait_ns; } samples[] = {
        {"Limit reached (RPM).", BIT(RLM_REQUESTS), false, 0}, {"Limit reached (TPM).", BIT(RLM_TOKENS), false, 0},
        {"(RPD): Limit 200, Used 200, Requested 1.", BIT(RLM_REQUESTS), true, 432 * SECOND},
        {"(TPD): Limit 200, Used 200, Requested 1.", BIT(RLM_TOKENS), true, 432 * SECOND},
        {"Limit reached on tokens per min (RPM).", BIT(RLM_TOKENS), false, 0},
        {"Limit reached on requests per min (TPM).", BIT(RLM_REQUESTS), false, 0},
        {"Number of requests has exceeded your per-day limit", BIT(RLM_REQUESTS), true, 0},
        {"Limit reached (RPX).", 0, false, 0}};
    char body[200];
    size_t i;
    for (i = 0; i < sizeof samples / sizeof *samples; i++) {
        sprintf(body, "{\"error\":{\"message\":\"%s\"}}", samples[i].message);
        respond("openai", "", 429, body);
        check_verdict(samples[i].wait_ns != 0 ? RLM_HTTP_WAIT : RLM_HTTP_RETRY,
            samples[i].day ? RLM_HTTP_QUOTA_DAY : RLM_HTTP_RATE_LIMIT, RLM_CLASS_RATE_LIMIT, RLM_REFUSED, samples[i].wait_ns);
        CHECK_EQ(http.feedback.named, samples[i].named);
    }
}

/* Figures with commas, without end, of 0: what they make of (used + requested - limit) / limit x 60 s. */
static void figures_told(void) {
    static const struct { const char *message; uint64_t requested, wait_ns; } samples[] = {
        {"Requested 46, Used 1200, Limit 1,234", 46, 583468396},
        {"Requested 46, Used 1,200, Limit 1,234, please", 46, 583468396},
        {"Used 1, Requested 1, Limit 1,2345", 1, 60 * SECOND}, {"Used 1, Requested 1, Limit 1,23", 1, 60 * SECOND},
        {"Limit 99999999999999999999999, Used 5, Requested 3", 3, 0},
        {"Limit 1000, Used 18446744073709551621, Requested 5", 5, RLM_HOUR_NS}, /* 2^64 + 5 is not 5 */
        {"Limit 0, Used 0, Requested 0", 0, 0}, {"Limit 5, Used 3, Requested 2", 2, 0}, {"Limit 5, Used 3", RLM_UNSAID, 0},
        {"Limit 5, Requested 3", 3, 0}};
    char body[200];
    size_t i;
    for (i = 0; i < sizeof samples / sizeof *samples; i++) {
        sprintf(body, "{\"error\":{\"message\":\"%s\"}}", samples[i].message);
        respond("openai", "", 429, body);
        check_limited(samples[i].wait_ns);
        CHECK_EQ(http.feedback.requested, samples[i].requested);
        CHECK_EQ(http.capped, samples[i].wait_ns == RLM_HOUR_NS);
    }
}

static void errors_in_good_responses(void) {
    static const char failed[] = "{\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\","
        "\"error\":{\"code\":\"rate_limit_exceeded\","
                                 "\"message\":\"Rate limit reached on tokens per min (TPM): Limit 100, Used 99, "
                                  "Requested 7. Please try again in 3.6s.\"}}}";
    char stream[1024];
    respond("openai", "", 200, failed);
    check_limited(UINT64_C(3600000000));
    CHECK_EQ(http.feedback.requested, 7);
    sprintf(stream, "event: response.created\r\ndata: {\"type\":\"response.created\",\"error\":null}\r\n\r\nevent: "
        "response.failed\r\ndata: %s\r\n\r\n", failed);
    respond("openai", "", 200, stream);
    check_limited(UINT64_C(3600000000));
    respond("openai", "", 200, "{\"error\":{\"code\":\"server_is_overloaded\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED, 0);
    respond("openai", "", 200, "{\"error\":{\"code\":\"insufficient_quota\"}}");
    check_never(RLM_HTTP_SPENT);
    respond("openai", "", 200, "{\"error\":{\"code\":\"whatever\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED, 0);
    respond("openai", "", 200, "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"Please try again "
        "in 2s\"}");
    check_limited(2 * SECOND);
    respond("openrouter", "", 200, "{\"error\":{\"code\":429,\"message\":\"Rate limited\"}}");
    check_limited(0);
    respond("openrouter", "", 200, "{\"error\":{\"code\":402}}");
    check_never(RLM_HTTP_SPENT);
    respond("openrouter", "", 200, "{\"error\":{\"code\":599}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED, 0);
    respond("openrouter", "", 200, "{\"error\":{\"code\":399}}"); /* no status of an error, so an error of the server */
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED, 0);
    respond("openrouter", "", 200, "{\"error\":{\"code\":600}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED, 0);
    respond("openai", "", 200, "{\"id\":\"x\",\"error\":null,\"choices\":[{\"error\":{\"code\":\"rate_limit_exceeded\"}}],\"usage\":{}}");
    CHECK_EQ(http.verdict, RLM_HTTP_OK);
    respond("openai", "x-should-retry: false", 200, "{\"error\":\"\"}");
    CHECK_EQ(http.verdict, RLM_HTTP_OK);
    respond("openai", "retry-after: 5", 200, "");
    check_verdict(RLM_HTTP_OK, RLM_HTTP_NO_REASON, RLM_CLASS_SERVER, RLM_ANSWERED, 0);
}

#define GEMINI(id, metric, value, delay)                                                                                       \
    "{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota.\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[" \
    "{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":[{\"quotaMetric\":\"" metric "\",\"quotaId\":\"" id \
    "\",\"quotaDimensions\":{\"model\":\"gemini\"},\"quotaValue\":" value "}]},{\"@type\":\"type.googleapis.com/google.rpc.Help\"},"    \
    "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"" delay "\"}]}}"

static void gemini_refusals(void) {
    respond("gemini", "", 429, GEMINI("GenerateRequestsPerMinutePerProjectPerModel", "generate_content_requests",
        "\"15\"", "57.238747106s"));
    check_limited(UINT64_C(57238747106));
    CHECK_EQ(http.feedback.named, BIT(RLM_REQUESTS));
    check_reading(0, RLM_REQUESTS, 15, 0, RLM_UNSAID);
    check_period(0, MINUTE, MINUTE, MINUTE);
    respond("gemini", "", 429, GEMINI("GenerateContentInputTokensPerModelPerMinute-FreeTier",
        "x/generate_content_free_tier_input_token_count", "250000", "3s"));
    check_limited(3 * SECOND);
    check_reading(0, RLM_INPUT_TOKENS, 250000, 0, RLM_UNSAID);
    respond("gemini", "", 429, GEMINI("TokensPerMinute", "x", "\"7\"", "3s"));
    check_reading(0, RLM_TOKENS, 7, 0, RLM_UNSAID);
    /* the day ends at midnight Pacific, 8:00 UTC, whatever else is said */
    respond("gemini", "retry-after: 5", 429, GEMINI("GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "generate_content_free_tier_requests", "\"250\"", "38s"));
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_QUOTA_DAY, RLM_CLASS_RATE_LIMIT, RLM_REFUSED, 2 * RLM_HOUR_NS);
    CHECK_EQ(http.capped, 0);
    check_reading(0, RLM_REQUESTS, 250, 0, RLM_UNSAID);
    check_period(0, RLM_DAY_NS, RLM_DAY_NS, RLM_DAY_NS);
    respond("gemini", "", 200, "[" GEMINI("RequestsPerDay", "x", "1e3", "x") "]");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_QUOTA_DAY, RLM_CLASS_RATE_LIMIT, RLM_REFUSED, 2 * RLM_HOUR_NS);
    CHECK_EQ(http.feedback.count, 0);
    CHECK_EQ(http.feedback.named, BIT(RLM_REQUESTS));
    respond("gemini", "", 503, "{\"error\":{\"status\":\"UNAVAILABLE\","
        "\"details\":[{\"@type\":\"a/google.rpc.RetryInfo\",\"retryDelay\":\"9s\"}]}}");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED, 9 * SECOND);
    /* the longest delay, and of one quota the smallest value */
    respond("gemini", "", 503, "{\"error\":{\"details\":[{\"@type\":\"RetryInfo\",\"retryDelay\":\"3s\"},"
        "{\"@type\":\"RetryInfo\",\"retryDelay\":\"9s\"},{\"@type\":\"RetryInfo\",\"retryDelay\":\"5s\"},"
        "{\"@type\":\"RetryInfo\",\"retryDelay\":\"50 s\"},{\"@type\":\"RetryInfo\",\"retryDelay\":\"50sx\"}]}}");
    check_verdict(RLM_HTTP_WAIT, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED, 9 * SECOND);
    respond("gemini", "", 429, FAILURE(VIOLATION("RequestsPerMinute", "15") "," VIOLATION("RequestsPerMinute", "10") ","
        VIOLATION("RequestsPerMinute", "12")));
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 10, 0, RLM_UNSAID);
}

static void midnight_pacific(void) {
    static const struct { uint64_t at, hours; } samples[] = { /* UTC: seconds since 1970, hours until midnight */
        {1795240800, 2},             /* 2026-11-21 06:00: standard time */
        {1784613600, 1},             /* 2026-07-21 06:00: daylight saving time */
        {1772956800, 23},            /* 2026-03-08 08:00, midnight: the day on which clocks are put forward */
        {1772964000, 21},            /* 10:00: that very moment */
        {1793516400, 25},            /* 2026-11-01 07:00, midnight: the day on which they are put back */
        {1793523600, 23},            /* 09:00 */
        {1798703999, 0},             /* 2026-12-31 07:59:59 */
        {1861905600, 12},            /* 2028-12-31 20:00: by years of 365.2425 days it would be 2029 */
        {1830301200, 7},             /* 2028-01-01 01:00: and here 2027 */
        {1709971200, 24}, {1710057600, 23}}; /* 2024-03-09 08:00 and the day after */
    size_t i;
    for (i = 0; i < sizeof samples / sizeof *samples; i++) {
        uint64_t expected = samples[i].hours != 0 ? samples[i].hours * RLM_HOUR_NS : SECOND;
        begin("gemini");
        rlm_http_begin(&http, &profile, samples[i].at * SECOND);
        end(429, GEMINI("PerDay", "x", "1", "1s"));
        CHECK_EQ(http.wait_ns, expected);
    }
    begin("generic");
    rlm_http_begin(&http, &profile, NOW + 1);
    end(429, GEMINI("PerDay", "x", "1", "1s"));
    CHECK_EQ(http.wait_ns, 18 * RLM_HOUR_NS - 1);
    rlm_http_begin(&http, &profile, 0);
    end(429, GEMINI("PerDay", "x", "1", "1s"));
    CHECK_EQ(http.wait_ns, RLM_DAY_NS);
}

static void bodies_malformed(void) {
    static const char *const nothing[] = {
        "", " ", "{", "[", "[]", "{}", "null", "\"", "{\"error\"", "{\"error\":", "{\"error\":}",
         "{\"error\":{\"message\":\"try again in 5s}}", "{\"error\":null}", "{\"error\":[]}",
        "{error:{\"message\":\"try again in 5s\"}}", "{\"x\":}{\"error\":\"try again in 5s\"}",
         "[[{\"error\":\"try again in 5s\"}]]", "<html>try again in 5s</html>",
        "{\"x\" 1,\"error\":\"try again in 5s\"}", "{\"message\":\"try again in\"}", "data:", "data: {\"error\":",
         "{\"error\":{\"message\":5}}", "{\"error\":\"tr\\u00:9 again in 5s\"}", "{\"error\":\"tr\\u007g again in 5s\"}"};
    static const char *const five[] = {
        "{\"error\":\"try again in 5s\"}", " \n{ \"error\" : { \"message\" : \"TRY AGAIN IN 5s\" } }",
         "{\"error\":{\"message\":\"try\\u0020again\\u0020in 5s\"}}",
        "{\"\\u0065rror\":{\"message\":\"try again in 5s\"}}",
         "{\"a\":[1,{\"b\":[]}],\"c\":\"}\",\"d\":-1.5e3,\"error\":{\"message\":\"\\\"try again in 5s\"}",
        "[{\"error\":{\"message\":\"try again in 5 s\"}}, 5]", "data:{\"error\":{\"message\":\"try again in 5s\"}}",
         ": x\n\ndata: [DONE]\ndata: {\"error\":\"try again in 5s\"}",
        "{\"error\":{\"message\":\"\xc3\xa9 try again in 5s\"", "{\"error\":\"\\u00:9try again in 5s\"}", "{\"error\":null,\"message\":\"try again in 5s\"}",
         "{\"error\":\"try again in 5s\",\"error\":\"try again in 9s\"}"};
    char deep[200];
    size_t i;
    for (i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        respond("generic", "", 429, nothing[i]);
        if (http.wait_ns != 0) printf("# accepted: %s\n", nothing[i]);
        check_limited(0);
    }
    for (i = 0; i < sizeof five / sizeof *five; i++) {
        respond("generic", "", 429, five[i]);
        if (http.wait_ns == 0) printf("# not read: %s\n", five[i]);
        check_limited(5 * SECOND);
    }
    for (i = 31; i < 34; i++) { /* as deep as may be, and deeper */
        sprintf(deep, "{\"x\":%.*s%.*s,\"error\":\"try again in 5s\"}", (int)i,
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", (int)i,
                "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        respond("generic", "", 429, deep);
        check_limited(i <= 32 ? 5 * SECOND : 0);
    }
}

static void long_bodies(void) {
    size_t bytes = 70000, i, at;
    char *body = (char *)malloc(bytes);
    static const size_t places[] = {0, 2020, 2100, 65536 - 40, 65536};
    for (i = 0; i < sizeof places / sizeof *places; i++) {
        memset(body, ' ', bytes);
        memcpy(body, "{\"error\":{\"message\":\"", 21);
        at = 21 + places[i];
        memcpy(body + at, "try again in 5s\"}}", 18);
        begin("generic");
        end_bytes(&http, 429, body, bytes);
        CHECK_EQ(http.wait_ns, places[i] + 15 <= 2048 ? 5 * SECOND : 0);
        memset(body, ' ', bytes);
        memcpy(body + places[i], "{\"error\":\"try again in 5s\"}", 27);
        begin("generic");
        end_bytes(&http, 429, body, bytes);
        CHECK_EQ(http.wait_ns, places[i] + 27 <= 65536 ? 5 * SECOND : 0);
    }
    free(body);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

static void verdicts(void) {
    static const struct { int status; uint32_t verdict, reason, error_class, outcome; } table[] = {
        {0, RLM_HTTP_RETRY, RLM_HTTP_NETWORK, RLM_CLASS_NETWORK, RLM_FAILED}, {200, RLM_HTTP_OK, RLM_HTTP_NO_REASON,
         RLM_CLASS_SERVER, RLM_ANSWERED},
        {299, RLM_HTTP_OK, RLM_HTTP_NO_REASON, RLM_CLASS_SERVER, RLM_ANSWERED}, {100, RLM_HTTP_NEVER,
         RLM_HTTP_BAD_REQUEST, RLM_CLASS_FATAL, RLM_FAILED},
        {302, RLM_HTTP_NEVER, RLM_HTTP_BAD_REQUEST, RLM_CLASS_FATAL, RLM_FAILED}, {400, RLM_HTTP_NEVER,
         RLM_HTTP_BAD_REQUEST, RLM_CLASS_FATAL, RLM_FAILED},
        {401, RLM_HTTP_NEVER, RLM_HTTP_AUTH, RLM_CLASS_FATAL, RLM_FAILED}, {402, RLM_HTTP_NEVER, RLM_HTTP_SPENT,
         RLM_CLASS_FATAL, RLM_FAILED},
        {403, RLM_HTTP_NEVER, RLM_HTTP_AUTH, RLM_CLASS_FATAL, RLM_FAILED}, {404, RLM_HTTP_NEVER, RLM_HTTP_BAD_REQUEST,
         RLM_CLASS_FATAL, RLM_FAILED},
        {408, RLM_HTTP_RETRY, RLM_HTTP_NETWORK, RLM_CLASS_NETWORK, RLM_FAILED}, {409, RLM_HTTP_RETRY, RLM_HTTP_SERVER,
         RLM_CLASS_SERVER, RLM_FAILED},
        {413, RLM_HTTP_NEVER, RLM_HTTP_TOO_LARGE, RLM_CLASS_FATAL, RLM_FAILED}, {425, RLM_HTTP_RETRY, RLM_HTTP_SERVER,
         RLM_CLASS_SERVER, RLM_FAILED},
        {422, RLM_HTTP_NEVER, RLM_HTTP_BAD_REQUEST, RLM_CLASS_FATAL, RLM_FAILED}, {429, RLM_HTTP_RETRY,
         RLM_HTTP_RATE_LIMIT, RLM_CLASS_RATE_LIMIT, RLM_REFUSED},
        {498, RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED}, {500, RLM_HTTP_RETRY, RLM_HTTP_SERVER,
         RLM_CLASS_SERVER, RLM_FAILED},
        {502, RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED}, {503, RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD,
         RLM_CLASS_SERVER, RLM_OVERLOADED},
        {504, RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED}, {529, RLM_HTTP_RETRY,
         RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED},
        {-1, RLM_HTTP_NEVER, RLM_HTTP_BAD_REQUEST, RLM_CLASS_FATAL, RLM_FAILED}, {999, RLM_HTTP_RETRY, RLM_HTTP_SERVER,
         RLM_CLASS_SERVER, RLM_FAILED}};
    size_t i;
    for (i = 0; i < sizeof table / sizeof *table; i++) {
        bool ok = table[i].verdict == RLM_HTTP_OK, never = table[i].verdict == RLM_HTTP_NEVER;
        respond("generic", "ratelimit-limit: 5", table[i].status, "");
        check_verdict(table[i].verdict, table[i].reason, table[i].error_class, table[i].outcome, 0);
        CHECK_EQ(http.feedback.count, 1); /* whatever happened */
        respond("generic", "retry-after: 5", table[i].status, "");
        check_verdict(ok || never ? table[i].verdict : (uint32_t)RLM_HTTP_WAIT, table[i].reason, table[i].error_class,
            table[i].outcome, ok ? 0 : 5 * SECOND);
        respond("generic", "x-should-retry: TRUE", table[i].status, "");
        check_verdict(never ? (uint32_t)RLM_HTTP_RETRY : table[i].verdict, table[i].reason,
            never ? (uint32_t)RLM_CLASS_SERVER : table[i].error_class, table[i].outcome, 0);
        respond("generic", "x-should-retry: false\nretry-after: 5", table[i].status, "");
        check_verdict(ok ? RLM_HTTP_OK : RLM_HTTP_NEVER, ok || never ? table[i].reason : (uint32_t)RLM_HTTP_TOLD,
            ok ? table[i].error_class : (uint32_t)RLM_CLASS_FATAL,
                      table[i].outcome, ok ? 0 : 5 * SECOND);
        respond("generic", "x-should-retry: maybe", table[i].status, "");
        CHECK_EQ(http.verdict, table[i].verdict);
    }
    respond("generic", "x-should-retry: true", 429, "{\"error\":{\"code\":\"insufficient_quota\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_SPENT, RLM_CLASS_RATE_LIMIT, RLM_FAILED, 0);
    respond("generic", "", 500, "{\"error\":{\"message\":\"The server is overloaded\"}}");
    check_verdict(RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED, 0);
    rlm_http_begin(&http, &profile, NOW); /* no body at all */
    rlm_http_end(&http, 429, NULL, 0);
    check_limited(0);
    rlm_http_begin(&http, &profile, NOW);
    rlm_http_end(&http, 200, NULL, 100);
    CHECK_EQ(http.verdict, RLM_HTTP_OK);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static void costs(void) {
    rlm_http_usage usage = {1000, 501, 300, 200, 400};
    rlm_cost cost;
    size_t i;
    CHECK(rlm_http_profile_of("anthropic", &profile));
    cost = rlm_http_estimate(&profile, &usage, 150);
    CHECK_EQ(cost.requests, 1);
    CHECK_EQ(cost.input_tokens, 1300);
    CHECK_EQ(cost.output_tokens, 150);
    CHECK_EQ(cost.microdollars + cost.custom, 0);
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 4000).output_tokens, 400);
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, 200);
    CHECK_EQ(rlm_http_charge(&profile, &usage).input_tokens, 1300);
    CHECK(rlm_http_profile_of("openai", &profile));
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).input_tokens, 1801);
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).output_tokens, 400);
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, 400);
    CHECK(rlm_http_profile_of("bedrock", &profile));
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).input_tokens, 1801);
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).output_tokens, 400);
    CHECK_EQ(rlm_http_charge(&profile, &usage).input_tokens, 1300);
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, 1000);
    usage.output_max = 0;
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).output_tokens, 750);
    profile.output_default = 4096;
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).output_tokens, 4096);
    CHECK(rlm_http_profile_of("groq", &profile));
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 150).input_tokens, 1300);
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, 200); /* how much was reserved is not known */
    profile.cache_read_permille = 999;
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 0).input_tokens, 1301 + 500); /* 500.499 rounded up */
    memset(&usage, 0xff, sizeof usage);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK(rlm_http_profile_of(names[i], &profile));
        profile.output_permille = profile.cache_read_permille = UINT32_MAX;
        cost = rlm_http_estimate(&profile, &usage, UINT64_MAX);
        CHECK_EQ(cost.input_tokens, RLM_AMOUNT_MAX);
        CHECK_EQ(cost.output_tokens, RLM_AMOUNT_MAX);
        cost = rlm_http_charge(&profile, &usage);
        CHECK_EQ(cost.input_tokens, RLM_AMOUNT_MAX);
        CHECK_EQ(cost.output_tokens, RLM_AMOUNT_MAX);
    }
}

/* ---- Properties ------------------------------------------------------------------------------ */

static const char *const known_names[] = {
    "retry-after", "retry-after-ms", "x-should-retry", "date", "anthropic-ratelimit-requests-limit",
     "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-output-tokens-reset",
     "anthropic-ratelimit-unified-5h-utilization",
    "anthropic-ratelimit-unified-7d-reset", "anthropic-ratelimit-unified-7d-status", "x-ratelimit-limit",
     "x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens",
    "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-limit-project-tokens-day",
     "x-ratelimit-reset-requests-minute", "ratelimit", "ratelimit-policy",
    "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "llm_provider-x-ratelimit-remaining-tokens"};
static const char *const some_values[] = {
    "0", "1", "5", "99", "1000", "80000", "1099511627777", "-1", "0.5", "1795240830", "1795240830000", "6ms", "2m59.56s",
     "2026-11-21T06:00:30Z", "2026-11-21T06:00:30.5+01:00", "true",
    "false", "Sat, 21 Nov 2026 06:00:30 GMT", "Saturday, 21-Nov-26 06:01:30 GMT", "Sat Nov 21 06:02:30 2026",
     "limit=100, remaining=50, reset=30", "\"a\";q=100;w=60",
    "\"a\";q=90;w=3600, \"b\";q=7;qu=\"tokens\"", "\"a\";r=50;t=30", "100, 100;w=60", "100;w=60", "rejected", "nan", ""};
static const char *const some_bodies[] = {
    "", "{\"error\":{\"message\":\"on tokens per min (TPM): Limit 100, Used 99, Requested 7. Please try again in "
     "6ms\",\"code\":\"rate_limit_exceeded\"}}",
    GEMINI("PerDay", "input_token", "\"5\"", "57.2s"), "[" GEMINI("PerMinute", "x", "5", "57.2s") "]",
        "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
    "{\"response\":{\"error\":{\"code\":\"insufficient_quota\"}}}", "{\"message\":\"Limit 1 Used 5 Requested 1\"}"};

#define PICK(array) (array)[check_random(random) % (sizeof(array) / sizeof *(array))]

/* Copies a text with up to three bytes changed, taken out or put in. */
static size_t mutate(uint64_t *random, char *to, const char *text, size_t most) {
    size_t bytes = strlen(text), at;
    uint64_t changes = check_random(random) % 8;
    if (bytes > most - 4) bytes = most - 4;
    memcpy(to, text, bytes);
    for (changes = changes < 4 ? changes : 0; changes > 0 && bytes > 0; changes--) {
        static const char marks[] = "0123456789-.:;,=\"\\{}[] \tsmhTZ+";
        char c = (check_random(random) & 1) != 0 ? marks[check_random(random) % (sizeof marks - 1)] : (char)(check_random(random) & 0xff);
        at = check_random(random) % bytes;
        switch (check_random(random) % 3) {
        case 0: to[at] = c; break;
        case 1: memmove(to + at, to + at + 1, bytes - at - 1), bytes--; break;
        default: memmove(to + at + 1, to + at, bytes - at), to[at] = c, bytes++;
        }
    }
    return bytes;
}

static void check_bounds(const rlm_http *of) {
    const rlm_feedback *said = &of->feedback;
    uint32_t i;
    CHECK(of->verdict <= RLM_HTTP_NEVER && of->reason <= RLM_HTTP_TOLD && of->error_class <= RLM_CLASS_FATAL &&
        of->capped <= 1);
    CHECK(of->wait_ns <= RLM_HOUR_NS || of->reason == RLM_HTTP_QUOTA_DAY || of->reason == RLM_HTTP_TOLD);
    CHECK(of->wait_ns <= UINT64_C(1) << 55);
    CHECK((of->verdict == RLM_HTTP_WAIT) <= (of->wait_ns != 0) && (of->verdict == RLM_HTTP_RETRY) <= (of->wait_ns == 0));
    CHECK((of->error_class == RLM_CLASS_FATAL) == (of->verdict == RLM_HTTP_NEVER));
    CHECK((of->verdict == RLM_HTTP_OK) == (said->outcome == RLM_ANSWERED));
    CHECK_EQ(said->retry_after_ns, of->wait_ns != 0 ? of->wait_ns : RLM_UNSAID);
    CHECK(said->outcome < RLM_I_OUTCOMES && said->count <= RLM_READINGS_MAX);
    CHECK(said->requested <= RLM_AMOUNT_MAX || said->requested == RLM_UNSAID);
    for (i = 0; i < said->count; i++) {
        const rlm_reading *r = &said->reading[i];
        CHECK(r->meter < RLM_I_METER_COUNT && (i == 0 || r->meter >= r[-1].meter));
        CHECK(r->limit != RLM_UNSAID || r->remaining != RLM_UNSAID);
        CHECK(r->limit <= RLM_AMOUNT_MAX || r->limit == RLM_UNSAID);
        CHECK(r->remaining == RLM_UNSAID || (r->remaining <= RLM_AMOUNT_MAX && r->remaining <= r->limit));
        CHECK(r->reset_ns <= UINT64_C(1) << 55 || r->reset_ns == RLM_UNSAID);
        CHECK(r->period_ns != 0 && r->period_ns <= UINT64_C(1) << 55 && r->period_least_ns <= UINT64_C(1) << 55);
        CHECK(r->period_most_ns <= UINT64_C(1) << 55 || r->period_most_ns == RLM_UNSAID);
        CHECK(r->period_least_ns < r->period_most_ns || r->period_least_ns == r->period_ns);
    }
}

static bool same_reading(const rlm_reading *a, const rlm_reading *b) { return memcmp(a, b, sizeof *a) == 0; }

/* Whether two responses say the same; of readings the order within a meter does not count. */
static void check_same(const rlm_http *a, const rlm_http *b) {
    uint32_t i, j, here, there;
    CHECK(a->verdict == b->verdict && a->reason == b->reason && a->error_class == b->error_class && a->capped == b->capped);
    CHECK_EQ(a->wait_ns, b->wait_ns);
    CHECK(a->feedback.outcome == b->feedback.outcome && a->feedback.named == b->feedback.named &&
        a->feedback.requested == b->feedback.requested);
    CHECK_EQ(a->feedback.count, b->feedback.count);
    for (i = 0; i < a->feedback.count; i++) {
        CHECK_EQ(a->feedback.reading[i].meter, b->feedback.reading[i].meter);
        for (j = here = there = 0; j < a->feedback.count; j++) {
            here += same_reading(&a->feedback.reading[i], &a->feedback.reading[j]);
            there += same_reading(&a->feedback.reading[i], &b->feedback.reading[j]);
        }
        CHECK_EQ(here, there);
    }
}

static const int statuses[] = {0, 200, 200, 200, 400, 401, 408, 413, 429, 429, 429, 429, 500, 503, 529};

/* Mutated headers and bodies, in one order and another, with unknown headers in between. */
static void any_order_says_the_same(void) {
    enum { HEADERS = 9 };
    static char name[HEADERS][64], value[HEADERS][96], body[1024];
    static rlm_http other;
    size_t name_bytes[HEADERS], value_bytes[HEADERS], body_bytes, i, j, round, order[HEADERS];
    uint64_t state = check_seed(), *random = &state;
    for (round = 0; round < 20000; round++) {
        uint64_t wall_ns = check_random(random) % 8 != 0 ? NOW : 0;
        int status = PICK(statuses);
        begin(PICK(names));
        other = http;
        rlm_http_begin(&http, &profile, wall_ns);
        rlm_http_begin(&other, &profile, wall_ns);
        for (i = 0; i < HEADERS; i++) {
            name_bytes[i] = mutate(random, name[i], PICK(known_names), sizeof name[i]);
            value_bytes[i] = mutate(random, value[i], PICK(some_values), sizeof value[i]);
            order[i] = i;
        }
        body_bytes = mutate(random, body, PICK(some_bodies), sizeof body);
        for (i = HEADERS; i > 1; i--) {
            size_t k = check_random(random) % i, swapped = order[k];
            order[k] = order[i - 1];
            order[i - 1] = swapped;
        }
        for (i = 0; i < HEADERS; i++) header_bytes(&http, name[i], name_bytes[i], value[i], value_bytes[i]);
        for (i = 0; i < HEADERS; i++) {
            j = order[i];
            header_bytes(&other, name[j], name_bytes[j], value[j], value_bytes[j]);
            if ((check_random(random) & 1) != 0) header_bytes(&other, "x-request-id", 12, value[j], value_bytes[j]);
            if ((check_random(random) & 1) != 0) header_bytes(&other, "anthropic-priority-input-tokens-limit", 37,
                value[j], value_bytes[j]);
        }
        if (http.policies == RLM_I_HTTP_POLICIES || http.items == RLM_I_HTTP_POLICIES) continue; /* as first seen */
        end_bytes(&http, status, body, body_bytes);
        end_bytes(&other, status, body, body_bytes);
        check_bounds(&http);
        check_same(&http, &other);
    }
}

/* Bytes at random. */
static void any_bytes_are_read(void) {
    static char bytes[300];
    uint64_t state = check_seed() + 1, *random = &state;
    size_t round, i, count;
    for (round = 0; round < 20000; round++) {
        begin(PICK(names));
        count = check_random(random) % sizeof bytes;
        for (i = 0; i < count; i++) {
            static const char marks[] = "{}[]\":,\\ -.0123456789eart;=";
            bytes[i] = check_random(random) % 4 != 0 ? marks[check_random(random) % (sizeof marks - 1)] : (char)(check_random(random) & 0xff);
        }
        for (i = 0; i < 4; i++) {
            const char *name = PICK(known_names);
            header_bytes(&http, name, strlen(name), bytes, check_random(random) % (count + 1));
        }
        header_bytes(&http, bytes, count, bytes, count);
        end_bytes(&http, PICK(statuses), bytes, count);
        check_bounds(&http);
    }
}

/* Every number of bytes of a name, value or body that is cut short. */
static void any_prefix_is_read(void) {
    size_t i, j, k;
    for (i = 0; i < sizeof known_names / sizeof *known_names; i++)
        for (j = 0; j <= strlen(known_names[i]); j++) {
            begin("generic");
            header_bytes(&http, known_names[i], j, "5", 1);
            end(200, "");
            check_bounds(&http);
        }
    for (i = 0; i < sizeof known_names / sizeof *known_names; i++)
        for (j = 0; j < sizeof some_values / sizeof *some_values; j++)
            for (k = 0; k <= strlen(some_values[j]); k++) {
                begin("generic");
                header_bytes(&http, known_names[i], strlen(known_names[i]), some_values[j], k);
                end(429, "");
                check_bounds(&http);
            }
    for (i = 0; i < sizeof some_bodies / sizeof *some_bodies; i++)
        for (k = 0; k <= strlen(some_bodies[i]); k++) {
            begin("gemini");
            end_bytes(&http, (k & 1) != 0 ? 429 : 200, some_bodies[i], k);
            check_bounds(&http);
        }
}

static const check_case cases[] = {
    CASE(profiles), CASE(limits_are_learned), CASE(anthropic_readings), CASE(anthropic_tokens_alone),
        CASE(anthropic_in_debt), CASE(anthropic_resets),
    CASE(anthropic_unified), CASE(anthropic_refusals), CASE(openai_readings), CASE(x_resets), CASE(resolutions),
        CASE(no_period_is_inferred), CASE(inferred_of_large_figures), CASE(periods_that_are_known_are_not_inferred),
    CASE(x_periods),
    CASE(unknown_names), CASE(amounts), CASE(said_twice), CASE(many_readings), CASE(readings_without_room),
    CASE(ietf_structured), CASE(ietf_said_twice), CASE(ietf_units),
        CASE(ietf_malformed), CASE(ietf_older), CASE(retry_after_forms),
    CASE(retry_after_ms), CASE(reference_time), CASE(openai_refusals), CASE(abbreviations), CASE(figures_told),
    CASE(errors_in_good_responses),
        CASE(gemini_refusals), CASE(midnight_pacific),
    CASE(bodies_malformed), CASE(long_bodies), CASE(verdicts), CASE(costs), CASE(any_order_says_the_same),
        CASE(any_bytes_are_read), CASE(any_prefix_is_read)};

CHECK_MAIN(cases)
