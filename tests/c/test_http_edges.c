/* test_http_edges.c - ext/rlimit_http.h where one character, one second or one byte decides: every date of four centuries,
   midnight on either side of a change of the clocks, names and figures that are nearly right, figures that are too large. */

#define RLM_IMPLEMENTATION
#include "rlimit_http.h"

#include "check.h"
#include "model.h"

#define SECOND RLM_SECOND_NS
#define MINUTE RLM_MINUTE_NS
#define HOUR RLM_HOUR_NS
#define DAY RLM_DAY_NS
#define NOW (UINT64_C(1795240800) * SECOND) /* Sat, 21 Nov 2026 06:00:00 GMT */
#define BIT(meter) (UINT32_C(1) << (meter))

static rlm_http http;

/* ---- Helpers --------------------------------------------------------------------------------- */

/* Text in a block of exactly its size, so that the address sanitizer sees a byte too many. */
static char *boxed(const char *text, size_t bytes) {
    char *box = (char *)malloc(bytes != 0 ? bytes : 1);
    if (bytes != 0) memcpy(box, text, bytes);
    return box;
}

static void begin_at(const char *provider, uint64_t wall_ns) {
    rlm_http_profile profile;
    CHECK(rlm_http_profile_of(provider, &profile));
    memset(&http, 0xa5, sizeof http);
    rlm_http_begin(&http, &profile, wall_ns);
}

static void header(const char *name, const char *value) {
    char *name_box = boxed(name, strlen(name)), *value_box = boxed(value, strlen(value));
    rlm_http_header(&http, name_box, strlen(name), value_box, strlen(value));
    free(name_box);
    free(value_box);
}

static void end_bytes(int status, const char *body, size_t bytes) {
    char *box = boxed(body, bytes);
    rlm_http_end(&http, status, box, bytes);
    free(box);
}

static void end(int status, const char *body) { end_bytes(status, body, strlen(body)); }

/* A response: "name: value" lines. */
static void respond(const char *provider, const char *lines, int status, const char *body) {
    char line[256];
    begin_at(provider, NOW);
    while (*lines != 0) {
        size_t bytes = strcspn(lines, "\n"), colon;
        CHECK(bytes < sizeof line);
        memcpy(line, lines, bytes);
        line[bytes] = 0;
        colon = (size_t)(strstr(line, ": ") - line);
        line[colon] = 0;
        header(line, line + colon + 2);
        lines += bytes + (lines[bytes] != 0);
    }
    end(status, body);
}

static void check_reading(size_t index, uint32_t meter, uint64_t limit, uint64_t remaining, uint64_t reset_ns,
                          uint64_t period_ns) {
    CHECK(index < http.feedback.count);
    CHECK_EQ(http.feedback.reading[index].meter, meter);
    CHECK_EQ(http.feedback.reading[index].limit, limit);
    CHECK_EQ(http.feedback.reading[index].remaining, remaining);
    CHECK_EQ(http.feedback.reading[index].reset_ns, reset_ns);
    CHECK_EQ(http.feedback.reading[index].period_ns, period_ns);
}

/* The wait that a refusal's message leads to. */
static uint64_t message(const char *text) {
    static char body[8192];
    snprintf(body, sizeof body, "{\"error\":{\"message\":\"%s\"}}", text);
    respond("openai", "", 429, body);
    return http.wait_ns;
}

/* ---- Dates ----------------------------------------------------------------------------------- */

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const weekdays[] = {"Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"};

static uint64_t days_of(uint64_t year, uint64_t month) {
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 1 ? 28 + (uint64_t)leap : month == 3 || month == 5 || month == 8 || month == 10 ? 30 : 31;
}

/* The wait for a Retry-After by the clock given. */
static uint64_t retry_after(const char *value, uint64_t wall_ns) {
    begin_at("generic", wall_ns);
    header("Retry-After", value);
    end(429, "");
    return http.wait_ns;
}

/* What a reset by RFC 3339 is from now, RLM_UNSAID if it was not read. */
static uint64_t reset(const char *value, uint64_t wall_ns) {
    begin_at("anthropic", wall_ns);
    header("anthropic-ratelimit-requests-limit", "50");
    header("anthropic-ratelimit-requests-reset", value);
    end(200, "");
    CHECK_EQ(http.feedback.count, 1);
    return http.feedback.reading[0].reset_ns;
}

/* The first days and the last of each month, counted one by one; the day after the last is none. */
static void dates_are_those_of_the_calendar(void) {
    uint64_t year, month, day, count = 0;
    char text[64];
    for (year = 1970; year <= 2401; year++) {
        for (month = 0; month < 12; month++) {
            uint64_t last = days_of(year, month), days[4];
            size_t i;
            days[0] = 1, days[1] = 2, days[2] = last, days[3] = last + 1;
            for (i = 0; i < 4; i++) {
                uint64_t at_ns = ((count + days[i] - 1) * 86400 + 8 * 3600 + 49 * 60 + 37) * SECOND,
                    wait_ns = i < 3 ? 5 * SECOND : 0;
                const char *weekday = weekdays[(count + days[i] - 1) % 7];
                day = days[i];
                snprintf(text, sizeof text, "%.3s, %02u %s %04u 08:49:37 GMT", weekday, (unsigned)day, months[month],
                    (unsigned)year);
                CHECK_EQ(retry_after(text, at_ns - 5 * SECOND), wait_ns);
                snprintf(text, sizeof text, "%.3s %s %2u 08:49:37 %04u", weekday, months[month], (unsigned)day,
                    (unsigned)year);
                CHECK_EQ(retry_after(text, at_ns - 5 * SECOND), wait_ns);
                snprintf(text, sizeof text, "%s, %02u-%s-%02u 08:49:37 GMT", weekday, (unsigned)day, months[month],
                    (unsigned)(year % 100));
                if (year < 2070) CHECK_EQ(retry_after(text, at_ns - 5 * SECOND), wait_ns);
                snprintf(text, sizeof text, "%04u-%02u-%02uT08:49:37Z", (unsigned)year, (unsigned)month + 1, (unsigned)day);
                CHECK_EQ(reset(text, at_ns - 5 * SECOND), i < 3 ? wait_ns : RLM_UNSAID);
            }
            count += last;
        }
    }
    CHECK_EQ(reset("2026-00-01T00:00:00Z", NOW), RLM_UNSAID);
    CHECK_EQ(reset("2026-13-01T00:00:00Z", NOW), RLM_UNSAID);
    CHECK_EQ(reset("2026-01-00T00:00:00Z", NOW), RLM_UNSAID);
}

/* With any one character changed it is no date, and what the one before it said is not taken for it. */
static void a_date_with_a_wrong_character_is_none(void) {
    static const char *const forms[] = {"Sat, 21 Nov 2026 06:00:05 GMT", "Saturday, 21-Nov-26 06:00:05 GMT",
                                        "Sat Nov 21 06:00:05 2026",
                                        "2026-11-21T06:00:05Z"};
    static const char others[] = {'_', '?', 'x', ' ', '\0'};
    size_t form, at, i;
    for (form = 0; form < 4; form++) {
        const char *name = form == 3 ? "anthropic-ratelimit-requests-reset" : "retry-after";
        char text[40];
        for (at = 0; at < strlen(forms[form]); at++) {
            for (i = 0; i < sizeof others; i++) {
                size_t bytes = strlen(forms[form]);
                bool space = forms[form][at] == ' ' || (form == 3 && at == 10 && others[i] == ' ') || (form == 2 && at == 8) ||
                             at + 1 == bytes;
                if (others[i] == ' ' && space) continue; /* as it was, or shorter */
                memcpy(text, forms[form], bytes);
                begin_at("anthropic", NOW);
                rlm_http_header(&http, name, strlen(name), text, bytes);
                rlm_http_begin(&http, &http.profile, NOW);
                text[at] = others[i];
                rlm_http_header(&http, name, strlen(name), text, bytes);
                rlm_http_header(&http, "anthropic-ratelimit-requests-limit", 34, "50", 2);
                rlm_http_end(&http, 429, NULL, 0);
                CHECK_EQ(http.wait_ns, 0);
                CHECK_EQ(http.feedback.reading[0].reset_ns, RLM_UNSAID);
            }
        }
        memcpy(text, forms[form], strlen(forms[form]));
        begin_at("anthropic", NOW);
        rlm_http_header(&http, name, strlen(name), text, strlen(forms[form]));
        rlm_http_header(&http, "anthropic-ratelimit-requests-limit", 34, "50", 2);
        rlm_http_end(&http, 429, NULL, 0);
        CHECK_EQ(form == 3 ? http.feedback.reading[0].reset_ns : http.wait_ns, 5 * SECOND);
    }
    CHECK_EQ(retry_after("Sundax, 06-Nov-94 08:49:37 GMT", UINT64_C(784111770) * SECOND), 0);
    CHECK_EQ(retry_after("Sunday, 06-Nov-94 08:49:37 UTC", UINT64_C(784111770) * SECOND), 0);
    CHECK_EQ(retry_after("Sunday, 06-Nov-94 08:49:37 GMT", UINT64_C(784111770) * SECOND), 7 * SECOND);
}

static void any_offset_of_the_day_is_read(void) {
    CHECK_EQ(reset("2026-11-22T05:00:05+23:00", NOW), 5 * SECOND);
    CHECK_EQ(reset("2026-11-21T06:59:05+00:59", NOW), 5 * SECOND);
    CHECK_EQ(reset("2026-11-20T06:01:05-23:59", NOW), 5 * SECOND);
    CHECK_EQ(reset("2026-11-21T06:59:05+24:00", NOW), RLM_UNSAID);
    CHECK_EQ(reset("2026-11-21T06:59:05+00:60", NOW), RLM_UNSAID);
}

/* Before 1970, and later than ns since 1970 can be counted in 64 bits. */
static void dates_far_away(void) {
    CHECK_EQ(reset("0000-01-01T00:00:00Z", NOW), 0);
    CHECK_EQ(reset("0001-12-31T00:00:00Z", NOW), 0);
    CHECK_EQ(reset("1969-12-31T23:59:59Z", 1), 0);
    CHECK_EQ(reset("1970-01-01T00:00:00.75Z", SECOND / 4), SECOND / 2);
    CHECK_EQ(reset("2554-07-21T23:34:33.9Z", NOW), UINT64_C(1) << 55);
    CHECK_EQ(reset("2554-07-22T00:00:00Z", NOW), UINT64_C(1) << 55);
    CHECK_EQ(reset("9999-12-31T23:59:59Z", NOW), UINT64_C(1) << 55);
}

/* A day of the quotas of Google ends at midnight in California: on each day round the changes of the clocks, second Sunday
   of March and first of November at two o'clock there. */
static void google_s_day(void) {
    static const char body[] = "{\"error\":{\"code\":429,\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\","
                               "\"violations\":[{\"quotaId\":\"RequestsPerDay\"}]}]}}";
    uint64_t year, month, day, count = 0;
    for (year = 1970; year <= 2150; year++) {
        uint64_t sundays = 0;
        bool daylight = false;
        for (month = 0; month < 12; month++) {
            for (day = 1; day <= days_of(year, month); day++, count++) {
                uint64_t midnight, times[4];
                size_t i;
                if (day == 1) sundays = 0;
                sundays += (count + 4) % 7 == 0; /* 1970 began with a Thursday */
                midnight = count * 86400 + (daylight ? 7u : 8u) * 3600; /* with which this day begins */
                times[0] = midnight - 1, times[1] = midnight - 12 * 3600, times[2] = midnight - 22 * 3600,
                    times[3] = midnight - 17 * 3600;
                for (i = 0; year >= 2007 && (month == 2 || month == 9 || month == 10) && i < 4; i++) {
                    begin_at("gemini", times[i] * SECOND);
                    end(429, body);
                    CHECK_EQ(http.verdict, RLM_HTTP_WAIT);
                    CHECK_EQ(http.reason, RLM_HTTP_QUOTA_DAY);
                    CHECK_EQ(http.wait_ns, (midnight - times[i]) * SECOND);
                }
                if ((count + 4) % 7 != 0) continue;
                if (month == 2 && sundays == 2) daylight = true;
                if (month == 10 && sundays == 1) daylight = false;
            }
        }
    }
    begin_at("gemini", 0);
    end(429, body);
    CHECK_EQ(http.wait_ns, DAY); /* the time is not known */
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void names_that_are_nearly_right_are_unknown(void) {
    static const char *const values[] = {
        "anthropix-ratelimit-requests-limit", "anthropic-ratelimix-requests-limit", "x-ratelimix-limit-requests",
        "x-ratelimit-limix-requests",
        "x-ratelimit-available-tokens", "x-ratelimit-remaininx-tokens", "x-ratelimit-remaining_tokens", "ratelimix-limit",
        "ratelimit-limix",
        "ratelimit-remaininx", "xllm_provider-x-ratelimit-limit", "llm_providex-x-ratelimit-limit",
        "x-ratelimit-limit-project-input-tokens",
        "anthropic-ratelimit-requests-limix", "anthropic-ratelimit-output-tokenx-limit", "x-ratelimit-limit-requests-dax",
        "x-ratelimit-limit-requests-minutx", "x-ratelimit-limit-requests-houx", "x-ratelimit-limit-requests-seconx"};
    size_t i;
    for (i = 0; i < sizeof values / sizeof *values; i++) {
        begin_at("generic", NOW);
        header(values[i], "5");
        end(200, "");
        if (http.feedback.count != 0) printf("# %s\n", values[i]);
        CHECK_EQ(http.feedback.count, 0);
    }
    begin_at("generic", NOW);
    header("retry-aftex", "5");
    header("retry-after-mx", "5");
    header("x-should-retrx", "true");
    end(400, "");
    CHECK_EQ(http.verdict, RLM_HTTP_NEVER);
    CHECK_EQ(http.wait_ns, 0);
}

/* A limit under no name is another than that of requests. */
static void the_limit_without_a_name_is_another(void) {
    respond("generic", "x-ratelimit-limit: 10\nx-ratelimit-remaining: 5\nx-ratelimit-limit-requests: 100\nx-ratelimit-remaining-requests: 90",
            200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 10, 5, RLM_UNSAID, MINUTE);
    check_reading(1, RLM_REQUESTS, 100, 90, RLM_UNSAID, MINUTE);
}

/* ---- Spans ----------------------------------------------------------------------------------- */

static uint64_t x_reset(const char *value) {
    begin_at("openai", NOW);
    header("x-ratelimit-limit-tokens", "10");
    header("x-ratelimit-remaining-tokens", "5");
    header("x-ratelimit-reset-tokens", value);
    end(200, "");
    CHECK_EQ(http.feedback.count, 1);
    return http.feedback.reading[0].reset_ns;
}

static void a_span_is_as_long_as_it_says(void) {
    CHECK_EQ(x_reset("36028797"), UINT64_C(36028797) * SECOND); /* the last below 2^55 ns */
    CHECK_EQ(x_reset("36028798"), UINT64_C(1) << 55);
    CHECK_EQ(x_reset(" "), RLM_UNSAID);
    CHECK_EQ(x_reset("5sz"), RLM_UNSAID);
    CHECK_EQ(x_reset("5sa"), RLM_UNSAID);
    CHECK_EQ(x_reset("5s\t6s"), RLM_UNSAID);
    CHECK_EQ(x_reset("99999999999999999999999"), UINT64_C(1) << 55);
    CHECK_EQ(x_reset("99999999999999999"), UINT64_C(1) << 55);
}

/* However fine the units: the same reset tells as much of the period. */
static void finer_digits_tell_no_less(void) {
    rlm_reading coarse;
    CHECK_EQ(x_reset("60.000000000s"), MINUTE);
    coarse = http.feedback.reading[0];
    CHECK_EQ(x_reset("1.000000000000m"), MINUTE);
    CHECK_EQ(http.feedback.reading[0].period_least_ns, coarse.period_least_ns);
    CHECK_EQ(http.feedback.reading[0].period_most_ns, coarse.period_most_ns);
}

static void a_subscription_far_in_the_future(void) {
    respond("anthropic", "anthropic-ratelimit-unified-5h-utilization: 0.25\nanthropic-ratelimit-unified-5h-reset: 99999999999999999999", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_CUSTOM, 1000000, 750000, UINT64_C(1) << 55, 5 * HOUR);
}

/* Of the limits of a subscription only one that rejects makes wait, and only if the time is known. */
static void only_the_limit_that_rejects_makes_wait(void) {
    static const char *const lines[] = {
        "anthropic-ratelimit-unified-5h-reset: 1795255200\nanthropic-ratelimit-unified-7d-reset: 1795244400\n"
        "anthropic-ratelimit-unified-7d-status: rejected\nanthropic-ratelimit-requests-reset: 2026-11-22T06:00:00Z",
        "anthropic-ratelimit-unified-7d-reset: 1795255200\nanthropic-ratelimit-unified-5h-reset: 1795244400\n"
        "anthropic-ratelimit-unified-5h-status: rejected\nanthropic-ratelimit-requests-reset: 2026-11-22T06:00:00Z"};
    size_t i;
    for (i = 0; i < 2; i++) {
        respond("anthropic", lines[i], 429, "");
        CHECK_EQ(http.verdict, RLM_HTTP_WAIT);
        CHECK_EQ(http.reason, RLM_HTTP_QUOTA_DAY);
        CHECK_EQ(http.wait_ns, HOUR);
    }
    respond("anthropic", "anthropic-ratelimit-unified-7d-status: rejected", 429, "");
    CHECK_EQ(http.wait_ns, 0);
    begin_at("anthropic", 0);
    header("anthropic-ratelimit-unified-7d-status", "rejected");
    header("anthropic-ratelimit-unified-7d-reset", "1795244400");
    end(429, "");
    CHECK_EQ(http.wait_ns, 0);
}

/* ---- The period that figures tell ------------------------------------------------------------ */

/* least and most are the period that reset and what is used bound,
    rounded outwards: least <= (reset - unit) x limit / most that
   can be used, most >= (reset + unit) x limit / least that can be used, and neither by 1 ns too much. */
static void check_bounds(uint64_t limit, uint64_t remaining, uint64_t reset_ns, uint64_t unit_ns, uint64_t slack) {
    const rlm_reading *reading = &http.feedback.reading[0];
    uint64_t used = limit - remaining;
    wide least = wide_mul(reset_ns - unit_ns, limit), most = wide_mul(reset_ns + unit_ns, limit);
    CHECK_EQ(http.feedback.count, 1);
    CHECK_EQ(reading->limit, limit);
    CHECK_EQ(reading->remaining, remaining);
    CHECK_EQ(reading->reset_ns, reset_ns);
    CHECK_EQ(reading->rounding, slack);
    CHECK(!wide_less(least, wide_mul(reading->period_least_ns, used + slack)));
    CHECK(wide_less(least, wide_mul(reading->period_least_ns + 1, used + slack)));
    CHECK(!wide_less(wide_mul(reading->period_most_ns, used - 1 - slack), most));
    CHECK(wide_less(wide_mul(reading->period_most_ns - 1, used - 1 - slack), most));
}

static void tokens_told(uint64_t rounding, uint64_t limit, uint64_t remaining, const char *reset_text) {
    char text[32];
    rlm_http_profile profile;
    CHECK(rlm_http_profile_of("openai", &profile));
    profile.rounding[RLM_TOKENS] = rounding;
    rlm_http_begin(&http, &profile, NOW);
    snprintf(text, sizeof text, "%" PRIu64, limit);
    header("x-ratelimit-limit-tokens", text);
    snprintf(text, sizeof text, "%" PRIu64, remaining);
    header("x-ratelimit-remaining-tokens", text);
    header("x-ratelimit-reset-tokens", reset_text);
    end(200, "");
}

static void figures_bound_the_period(void) {
    tokens_told(0, 200000, 100000, "30s");
    check_bounds(200000, 100000, 30 * SECOND, SECOND, 0);
    tokens_told(0, 10000, 9481, "3.114s");
    check_bounds(10000, 9481, 3114000000, 1000000, 0);
    tokens_told(0, UINT64_C(4000000000), UINT64_C(1999999999), "30.5s"); /* products beyond 64 bits */
    check_bounds(UINT64_C(4000000000), UINT64_C(1999999999), 30500000000, 100000000, 0);
    tokens_told(0, UINT64_C(4000000000), 2000000000, "30s");
    check_bounds(UINT64_C(4000000000), 2000000000, 30 * SECOND, SECOND, 0);
    tokens_told(0, UINT64_C(1) << 40, (UINT64_C(1) << 40) - UINT64_C(999999999999), "55s");
    check_bounds(UINT64_C(1) << 40, (UINT64_C(1) << 40) - UINT64_C(999999999999), 55 * SECOND, SECOND, 0);
    tokens_told(1000, 200000, 100000, "30s");
    check_bounds(200000, 100000, 30 * SECOND, SECOND, 500);
    tokens_told(5, 200, 100, "30s");
    check_bounds(200, 100, 30 * SECOND, SECOND, 3);
}

/* Where hardly anything is used the period may be as long as one likes. */
static void figures_that_say_too_little_do_not_bound(void) {
    tokens_told(0, UINT64_C(1) << 40, (UINT64_C(1) << 40) - 2, "1h0m0s");
    CHECK_EQ(http.feedback.reading[0].period_most_ns, RLM_UNSAID);
    tokens_told(0, 1000000, 999998, "1h0m0s"); /* a hundred years */
    CHECK_EQ(http.feedback.reading[0].period_most_ns, RLM_UNSAID);
    tokens_told(0, 1000, 999, "60ms");
    CHECK_EQ(http.feedback.reading[0].period_most_ns, RLM_UNSAID);
    tokens_told(1000, 200000, 199500, "1s");
    CHECK_EQ(http.feedback.reading[0].period_most_ns, RLM_UNSAID);
    tokens_told(1000, 200000, 199499, "1s");
    CHECK_EQ(http.feedback.reading[0].period_most_ns, RLM_UNSAID);
    tokens_told(1000, 200000, 199498, "1s");
    CHECK_EQ(http.feedback.reading[0].period_most_ns, 2 * 200000 * SECOND);
}

/* ---- The headers of the IETF ----------------------------------------------------------------- */

static void policies_said_twice(void) {
    respond("generic", "RateLimit-Policy: \"a\";q=10;w=1, \"b\";q=20;w=60, \"b\";q=15;w=30", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 10, RLM_UNSAID, RLM_UNSAID, SECOND);
    check_reading(1, RLM_REQUESTS, 15, RLM_UNSAID, RLM_UNSAID, MINUTE);
    respond("generic", "RateLimit-Policy: 100;w=60, 100;w=60", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    respond("generic", "RateLimit-Policy: 100;w=60, 100;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    respond("generic", "RateLimit-Policy: 100;w=60, 50;w=60", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    respond("generic", "RateLimit-Policy: 100;w=60, 100;w=60;qu=\"tokens\"", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(1, RLM_TOKENS, 100, RLM_UNSAID, RLM_UNSAID, MINUTE);
    respond("generic", "RateLimit-Policy: \"a\";q=100;w=60, \"a\";q=100;w=60;qu=\"tokens\"", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_TOKENS, 100, RLM_UNSAID, RLM_UNSAID, MINUTE);
}

static void items_said_twice(void) {
    respond("generic", "RateLimit: \"a\";r=5;t=10, \"a\";r=3;t=20", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 3, 20 * SECOND, MINUTE);
    respond("generic", "RateLimit: \"a\";r=3;t=20, \"a\";r=5;t=10", 200, "");
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 3, 20 * SECOND, MINUTE);
    respond("generic", "RateLimit: \"a\";r=3, \"a\";r=5;t=10", 200, "");
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 3, 10 * SECOND, MINUTE);
    respond("generic", "RateLimit: \"a\";r=5;t=10, \"a\";r=3", 200, "");
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 3, 10 * SECOND, MINUTE);
    respond("generic", "RateLimit: \"a\";r=5;t=10;t=20", 200, "");
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 5, 20 * SECOND, MINUTE);
}

static void malformed_items_are_ignored(void) {
    static const char *const lines[] = {
        "RateLimit: \"a\";r:5", "RateLimit: a\"b;r=5", "RateLimit: \"a;r=5", "RateLimit: a b;r=5", "RateLimit: \"a\"b;r=5",
        "RateLimit: a\"b\"c;r=5", "RateLimit: ;r=5",
        "RateLimit-Policy: 100;w=60\"", "RateLimit-Policy: -5;w=60", "RateLimit-Policy: \"a\";q=-5;w=60",
        "RateLimit-Policy: \"a\";w=60",
        "RateLimit-Policy: \"a\";q=10;qu=\"bytes\"", "RateLimit-Policy: \"a\";q=10;qu=b", "RateLimit-Limit: -5",
        "RateLimit-Limit: 5x",
        "RateLimit: \"a\\", "RateLimit: \"a\";r", "RateLimit: \"a\";r=", "RateLimit: =5", "RateLimit: \"a\";qx5"};
    size_t i;
    for (i = 0; i < sizeof lines / sizeof *lines; i++) {
        respond("generic", lines[i], 200, "");
        if (http.feedback.count != 0) printf("# %s\n", lines[i]);
        CHECK_EQ(http.feedback.count, 0);
    }
    respond("generic", "RateLimit: \"\";r=5", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    respond("generic", "RateLimit: \"a\\\"b,c\";r=5;t=6", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 5, 6 * SECOND, MINUTE);
    respond("generic", "RateLimit-Policy: \"a\";q=10;qu=", 200, "");
    check_reading(0, RLM_REQUESTS, 10, RLM_UNSAID, RLM_UNSAID, MINUTE);
    respond("generic", "RateLimit-Policy: \"a\";q=10;qu=\"ai-token\"", 200, "");
    check_reading(0, RLM_TOKENS, 10, RLM_UNSAID, RLM_UNSAID, MINUTE);
}

/* An older form belongs to the policy of its limit, if unit and period are the same. */
static void older_forms_and_policies(void) {
    respond("generic", "RateLimit-Limit: 100;w=60\nRateLimit-Policy: 100;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 100, RLM_UNSAID, RLM_UNSAID, MINUTE);
    check_reading(1, RLM_REQUESTS, 100, RLM_UNSAID, RLM_UNSAID, HOUR);
    respond("generic", "RateLimit-Limit: 50\nRateLimit-Policy: 100;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 50, RLM_UNSAID, RLM_UNSAID, MINUTE);
    respond("generic", "RateLimit-Limit: 100;w=60\nRateLimit-Policy: \"a\";q=100", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    respond("generic", "RateLimit-Limit: 100\nRateLimit-Remaining: 7\nRateLimit-Policy: 100;w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 100, 7, RLM_UNSAID, HOUR);
    respond("generic", "RateLimit-Limit: 100\nRateLimit-Policy: 100;w=3600;qu=\"tokens\"", 200, "");
    CHECK_EQ(http.feedback.count, 2);
    check_reading(0, RLM_REQUESTS, 100, RLM_UNSAID, RLM_UNSAID, MINUTE);
    check_reading(1, RLM_TOKENS, 100, RLM_UNSAID, RLM_UNSAID, HOUR);
    respond("generic", "RateLimit-Remaining: 7\nRateLimit-Policy: \"a\";w=3600", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, RLM_UNSAID, 7, RLM_UNSAID, MINUTE);
    respond("generic", "RateLimit-Limit: 100\nRateLimit-Limit: 100;w=3600", 200, "");
    check_reading(0, RLM_REQUESTS, 100, RLM_UNSAID, RLM_UNSAID, HOUR);
}

/* A struct that is used for one response after the other. */
static void a_response_before_says_nothing_of_this_one(void) {
    rlm_http_profile profile;
    CHECK(rlm_http_profile_of("litellm", &profile));
    rlm_http_begin(&http, &profile, NOW);
    header("anthropic-ratelimit-unified-5h-utilization", "0.5");
    end(200, "");
    rlm_http_begin(&http, &profile, NOW);
    header("RateLimit-Policy", "\"a\";q=100;w=60");
    header("RateLimit", "\"a\";r=50");
    end(200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_REQUESTS, 100, 50, RLM_UNSAID, MINUTE);
}

static void the_total_of_tokens_says_nothing_new(void) {
    respond("anthropic", "anthropic-ratelimit-input-tokens-limit: 5000\nanthropic-ratelimit-tokens-limit: 6000", 200, "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_INPUT_TOKENS, 5000, RLM_UNSAID, RLM_UNSAID, MINUTE);
    respond("anthropic", "anthropic-ratelimit-output-tokens-remaining: 5000\nanthropic-ratelimit-tokens-limit: 6000", 200,
        "");
    CHECK_EQ(http.feedback.count, 1);
    check_reading(0, RLM_OUTPUT_TOKENS, RLM_UNSAID, 5000, RLM_UNSAID, MINUTE);
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

static void escapes_in_strings(void) {
    CHECK_EQ(message("try again in\\u00205s"), 5 * SECOND);
    CHECK_EQ(message("tr\\u0079 again in 5s"), 5 * SECOND);
    CHECK_EQ(message("tr\\u0059 again in 5s"), 5 * SECOND);
    CHECK_EQ(message("limit\\u003a 10, used\\u003A 8, requested 5"), 18 * SECOND);
    CHECK_EQ(message("limit 10, used 8, requested \\u0035"), 18 * SECOND);
    CHECK_EQ(message("\\nlimit 10,\\rused 8,\\trequested 5"), 18 * SECOND); /* no letter before the words */
    CHECK_EQ(message("\\rlimit 10,\\tused 8,\\nrequested 5"), 18 * SECOND);
    CHECK_EQ(message("tr\\u007 again in 5s"), 0);
    CHECK_EQ(message("\\u006ger day"), 0);
    CHECK_EQ(http.reason, RLM_HTTP_RATE_LIMIT);
    CHECK_EQ(message("\\u1070er day"), 0);
    CHECK_EQ(http.reason, RLM_HTTP_RATE_LIMIT);
    CHECK_EQ(message("\\u0070er day"), 0);
    CHECK_EQ(http.reason, RLM_HTTP_QUOTA_DAY);
    CHECK_EQ(message("per day\\u0000"), 0);
    CHECK_EQ(http.reason, RLM_HTTP_QUOTA_DAY);
    respond("openai", "", 400, "{\"error\":{\"code\":\"insufficient_quota\"}}");
    CHECK_EQ(http.reason, RLM_HTTP_SPENT);
    respond("openai", "", 400, " { \"x\" : 1 , \"y\" : [ 2 ] , \"error\" : { \"z\" : null , \"code\" : \"insufficient_quota\" } } ");
    CHECK_EQ(http.reason, RLM_HTTP_SPENT);
    respond("openai", "", 400, "{\"error\":{\"code\":\"insufficient_quota\\u0000\"}}");
    CHECK_EQ(http.reason, RLM_HTTP_BAD_REQUEST);
    respond("openai", "", 429, "{\"error\":\"x\\u12\"");
    CHECK_EQ(http.verdict, RLM_HTTP_RETRY);
}

/* Figures stand behind their words, and thousands may be set off by commas. Whoever has used 8 of 10 a minute and asks for 5
   waits 18 s. */
static void figures_in_messages(void) {
    CHECK_EQ(message("Limit 10, Used 8, Requested 5"), 18 * SECOND);
    CHECK_EQ(message("rate limit: 10 bill used: 8 has requested: 5"), 18 * SECOND);
    CHECK_EQ(message("alimit 3, zlimit 3, unused 3, preused 3, limit 10, zused 1, used 8, arequested 1, requested 5"),
        18 * SECOND);
    CHECK_EQ(message("limit5, limit 10, used9, used 8, requested9, requested 5"), 18 * SECOND);
    CHECK_EQ(message("limit of, limit: , limit 10, used 8, requested 5"), 18 * SECOND);
    CHECK_EQ(message("limit 10,000, used 8,000, requested 5,000"), 18 * SECOND);
    CHECK_EQ(message("limit 10,2026 used 8, requested 5"), 18 * SECOND);
    CHECK_EQ(message("limit 10,20, used 8, requested 5"), 18 * SECOND);
    CHECK_EQ(message("limit 10, used 8,"), 0);
    CHECK_EQ(message("limit 3, used 5"), 0);
    CHECK_EQ(message("used 8, requested 5"), 0);
    CHECK_EQ(message("limit 0, used 5, requested 0"), 0);
    CHECK_EQ(message("limit 0, used 5, requested 5"), 0);
    CHECK_EQ(http.reason, RLM_HTTP_TOO_LARGE);
    CHECK_EQ(message("limit 10, used 5, requested 5"), 0);
    CHECK_EQ(http.verdict, RLM_HTTP_RETRY);
    CHECK_EQ(message("30 s of patience, please"), 0);
    CHECK_EQ(message("try again in 30 s"), 30 * SECOND);
    CHECK_EQ(message("try again in 5"), 0);
    CHECK_EQ(message("try again in 5sz"), 0);
    CHECK_EQ(message("try again in 5sa"), 0);
}

static void meters_in_messages(void) {
    static const struct { const char *text; uint32_t named; } said[] = {
        {"Tokens per minute", BIT(RLM_TOKENS)}, {"requests per day", BIT(RLM_REQUESTS)}, {"requests per-day",
        BIT(RLM_REQUESTS)},
        {"requests per ", BIT(RLM_REQUESTS)}, {"requests per", 0}, {"requests percent", 0}, {"requests personal", 0},
        {"requests and more", 0},
        {"requests has exceeded", BIT(RLM_REQUESTS)}, {"tokens have exceeded", BIT(RLM_TOKENS)}, {"requests have exceedes",
        0},
        {"requests has exceedes", 0}, {"tokens have exceeded the limit", BIT(RLM_TOKENS)}, {"too many requests", 0},
        {"the tokens", 0},
        {"limit (RPM) reached", BIT(RLM_REQUESTS)}, {"limit (RPD) reached", BIT(RLM_REQUESTS)}, {"limit (TPM) reached",
        BIT(RLM_TOKENS)},
        {"limit (TPD) reached", BIT(RLM_TOKENS)}, {"tokens per minute (RPM)", BIT(RLM_TOKENS)}, {"requests per minute (TPM)",
        BIT(RLM_REQUESTS)},
        {"input tokens per minute", BIT(RLM_INPUT_TOKENS)}, {"output tokens per minute", BIT(RLM_OUTPUT_TOKENS)},
        {"concurrent requests has exceeded", RLM_NAMED_CONCURRENCY}};
    static const char *const days[] = {"per day", "per-day", "(RPD)", "(TPD)"};
    size_t i;
    for (i = 0; i < sizeof said / sizeof *said; i++) {
        (void)message(said[i].text);
        if (http.feedback.named != said[i].named) printf("# %s\n", said[i].text);
        CHECK_EQ(http.feedback.named, said[i].named);
    }
    for (i = 0; i < 4; i++) {
        (void)message(days[i]);
        CHECK_EQ(http.reason, RLM_HTTP_QUOTA_DAY);
    }
    (void)message("per minute (RPM) (TPM)");
    CHECK_EQ(http.reason, RLM_HTTP_RATE_LIMIT);
}

/* A message longer than is looked at ends there, in the middle of whatever it says. */
static void long_messages_end_where_they_are_cut(void) {
    static const char *const tails[] = {"per da", "limit 10", "limit 1,12", "limit 1,234", "tokens", "requests per",
                                        "tokens has exceede",
                                        "try again in 5", "try again in 5s", "concurren", "requests", "tokens per "};
    static char text[2049 + 32];
    size_t i;
    for (i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t bytes = strlen(tails[i]);
        memset(text, '.', sizeof text);
        memcpy(text + 2048 - bytes, tails[i], bytes);
        memcpy(text + 2048, "yt5 234 minute", 15);
        text[2048] = 0;
        (void)message(text);
        CHECK_EQ(http.reason, RLM_HTTP_RATE_LIMIT);
        CHECK_EQ(http.wait_ns, strcmp(tails[i], "try again in 5s") == 0 ? 5 * SECOND : 0);
        text[2048] = 'y';
        (void)message(text);
        CHECK_EQ(http.reason, RLM_HTTP_RATE_LIMIT);
        CHECK_EQ(http.wait_ns, strcmp(tails[i], "try again in 5s") == 0 ? 5 * SECOND : 0);
    }
}

/* A refusal of Google's with these details. */
static void google(const char *details) {
    static char body[4096];
    snprintf(body, sizeof body, "{\"error\":{\"code\":429,\"details\":[%s]}}", details);
    respond("gemini", "", 429, body);
}

static void delay(const char *text) {
    static char detail[256];
    snprintf(detail, sizeof detail, "{\"@type\":\"google.rpc.Help\"} , {\"@type\":\"google.rpc.RetryInfo\",\"retryDelay\":\"%s\"}", text);
    google(detail);
}

static void google_s_delays(void) {
    static const char *const malformed[] = {"5s!", "5s6", "5 seconds", "5 s", "", "s", "5", "-5s", "5s ", "5x"};
    size_t i;
    delay("5s");
    CHECK_EQ(http.wait_ns, 5 * SECOND);
    for (i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        delay(malformed[i]);
        if (http.wait_ns != 0) printf("# %s\n", malformed[i]);
        CHECK_EQ(http.wait_ns, 0);
    }
}

static void violation(const char *members) {
    static char detail[1024];
    snprintf(detail, sizeof detail, "{\"@type\":\"google.rpc.QuotaFailure\",\"violations\":[{%s}]}", members);
    google(detail);
}

static void google_s_violations(void) {
    static const char *const malformed[] = {"\"-5\"", "-5", "5.5.5", "\"5x\"",
                                            "\"55555555555555555555555555555555555555555555555555555555\"", "[5]",
                                            "true", "\"\""};
    char members[256];
    size_t i;
    for (i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        snprintf(members, sizeof members, "\"quotaId\":\"RequestsPerMinute\",\"quotaValue\":%s", malformed[i]);
        violation(members);
        if (http.feedback.count != 0) printf("# %s\n", members);
        CHECK_EQ(http.feedback.count, 0);
        CHECK_EQ(http.feedback.named, BIT(RLM_REQUESTS));
    }
    google("{\"@type\":\"google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":\"RequestsPerMinute\",\"quotaValue\":[");
    CHECK_EQ(http.feedback.count, 0);
    respond("gemini", "", 429, "{\"error\":{\"details\":[{\"@type\":\"google.rpc.QuotaFailure\",\"violations\":[{\"quotaValue\":[5");
    CHECK_EQ(http.feedback.count, 0);
    violation("\"quotaId\":\"RequestsOfAll\",\"quotaValue\":\"7\"");
    check_reading(0, RLM_REQUESTS, 7, 0, RLM_UNSAID, MINUTE);
    CHECK_EQ(http.feedback.reading[0].period_least_ns, 0); /* of what is not said only the usual is known */
    violation("\"quotaId\":\"PerMinuteRequests\",\"quotaValue\":7");
    check_reading(0, RLM_REQUESTS, 7, 0, RLM_UNSAID, MINUTE);
    CHECK_EQ(http.feedback.reading[0].period_least_ns, MINUTE);
    violation("\"quotaId\":\"PerDayRequests\",\"quotaValue\":7");
    check_reading(0, RLM_REQUESTS, 7, 0, RLM_UNSAID, DAY);
    violation("\"quotaMetric\":\"token_count\",\"quotaValue\":7");
    check_reading(0, RLM_TOKENS, 7, 0, RLM_UNSAID, MINUTE);
    violation("\"quotaMetric\":\"input_token_count\",\"quotaValue\":7");
    check_reading(0, RLM_INPUT_TOKENS, 7, 0, RLM_UNSAID, MINUTE);
    violation("\"quotaId\":\"InputTokensPerModel\",\"quotaValue\":7");
    check_reading(0, RLM_INPUT_TOKENS, 7, 0, RLM_UNSAID, MINUTE);
}

/* In a stream an error is in a line that begins with data: and nowhere else. */
static void errors_in_streams(void) {
#define ERROR_OF_RATE "{\"error\":{\"code\":\"rate_limit_exceeded\"}}"
    static const char *const none[] = {"junk:" ERROR_OF_RATE, "id: 7" ERROR_OF_RATE, "data:\n" ERROR_OF_RATE,
                                       "date:" ERROR_OF_RATE,
                                       "dat" ERROR_OF_RATE, "data" ERROR_OF_RATE, "event: error\nid: 5\n\n",
                                       "data: {}\n\ndata: [DONE]\n\n"};
    static const char *const some[] = {"data:" ERROR_OF_RATE, "data: " ERROR_OF_RATE,
                                       "event: error\ndata: " ERROR_OF_RATE "\n\n",
                                       "data: {\"id\":5}\r\n\r\ndata: " ERROR_OF_RATE "\r\n\r\n",
                                       "id: 5\rdata: " ERROR_OF_RATE "\r"};
    size_t i;
    for (i = 0; i < sizeof none / sizeof *none; i++) {
        respond("openai", "", 200, none[i]);
        if (http.verdict != RLM_HTTP_OK) printf("# %s\n", none[i]);
        CHECK_EQ(http.verdict, RLM_HTTP_OK);
    }
    for (i = 0; i < sizeof some / sizeof *some; i++) {
        respond("openai", "", 200, some[i]);
        CHECK_EQ(http.verdict, RLM_HTTP_RETRY);
        CHECK_EQ(http.reason, RLM_HTTP_RATE_LIMIT);
        CHECK_EQ(http.feedback.outcome, RLM_REFUSED);
    }
}

static void statuses_at_the_edges_of_good(void) {
    static const int good[] = {200, 299}, bad[] = {199, 300};
    size_t i;
    for (i = 0; i < 2; i++) {
        respond("openai", "x-ratelimit-limit-requests: 7", good[i], "{}");
        CHECK_EQ(http.verdict, RLM_HTTP_OK);
        CHECK_EQ(http.feedback.outcome, RLM_ANSWERED);
        CHECK_EQ(http.feedback.count, 1);
        begin_at("openai", NOW);
        header("x-ratelimit-limit-requests", "7");
        rlm_http_end(&http, good[i], NULL, 0);
        CHECK_EQ(http.verdict, RLM_HTTP_OK);
        CHECK_EQ(http.feedback.count, 1);
        respond("openai", "", bad[i], "{}");
        CHECK_EQ(http.verdict, RLM_HTTP_NEVER);
        CHECK_EQ(http.reason, RLM_HTTP_BAD_REQUEST);
        begin_at("openai", NOW);
        rlm_http_end(&http, bad[i], NULL, 0);
        CHECK_EQ(http.verdict, RLM_HTTP_NEVER);
    }
    begin_at("openai", NOW);
    rlm_http_end(&http, 429, NULL, 5); /* a body that is not there has no bytes */
    CHECK_EQ(http.verdict, RLM_HTTP_RETRY);
}

/* Texts cut at any byte, of which none beyond the end may be read. */
static void bodies_cut_anywhere(void) {
    static const char *const bodies[] = {
        "{ \"type\" : \"error\" , \"error\" : { \"type\" : \"rate_limit_error\" , \"message\" : \"Limit 1,000 tokens per minute\\u0021\" } }",
        ("[ { \"error\" : { \"code\" : 429 , \"details\" : [ { \"@type\" : \"x.RetryInfo\" , \"retryDelay\" : \"5.5s\" } , { \"@type\" : "
        "\"x.QuotaFailure\" , \"violations\" : [ { \"quotaId\" : \"PerDay\" , \"quotaValue\" : \"5\" } , { \"quotaValue\" : 5 } ] } ] } } ]"),
        "event: error\r\ndata: { \"response\" : { \"error\" : { \"message\" : \"try again in 5.5s or \\\"later\\\"\" } } }\r\n\r\n",
        "{\"error\":\"\\u12"};
    size_t i, bytes;
    for (i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (bytes = 0; bytes <= strlen(bodies[i]); bytes++) {
            begin_at("generic", NOW);
            end_bytes(429, bodies[i], bytes);
            CHECK(http.verdict == RLM_HTTP_RETRY || http.verdict == RLM_HTTP_WAIT);
            CHECK(http.feedback.outcome == RLM_REFUSED);
            begin_at("generic", NOW);
            end_bytes(200, bodies[i], bytes);
            CHECK(http.verdict != RLM_HTTP_NEVER);
        }
    }
}

/* ---- Costs ----------------------------------------------------------------------------------- */

/* So many thousandths of each meter, rounded up, and no more than 2^40 whatever the numbers. */
static void weighted_tokens(void) {
    rlm_http_profile profile;
    rlm_http_usage usage = {0, 0, 0, 0, 0};
    CHECK(rlm_http_profile_of("bedrock", &profile)); /* five for each token of output */
    usage.output_tokens = 123456789;
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, 617283945);
    CHECK_EQ(rlm_http_charge(&profile, &usage).input_tokens, 0);
    usage.output_tokens = UINT64_C(3689348814741910323) + 1000; /* times 5 a little more than 2^64 */
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, RLM_AMOUNT_MAX);
    usage.output_tokens = UINT64_MAX;
    CHECK_EQ(rlm_http_charge(&profile, &usage).output_tokens, RLM_AMOUNT_MAX);
    profile.cache_write_permille = 1250;
    usage.output_tokens = 0;
    usage.cache_write_tokens = 1999;
    CHECK_EQ(rlm_http_charge(&profile, &usage).input_tokens, 2499);
    usage.input_tokens = usage.cache_write_tokens = usage.cache_read_tokens = UINT64_MAX;
    CHECK_EQ(rlm_http_estimate(&profile, &usage, 0).input_tokens, RLM_AMOUNT_MAX);
}

static const check_case cases[] = {
    CASE(dates_are_those_of_the_calendar), CASE(a_date_with_a_wrong_character_is_none), CASE(any_offset_of_the_day_is_read),
    CASE(dates_far_away), CASE(google_s_day), CASE(names_that_are_nearly_right_are_unknown),
    CASE(the_limit_without_a_name_is_another),
    CASE(a_span_is_as_long_as_it_says), CASE(finer_digits_tell_no_less), CASE(a_subscription_far_in_the_future),
    CASE(only_the_limit_that_rejects_makes_wait), CASE(figures_bound_the_period),
    CASE(figures_that_say_too_little_do_not_bound),
    CASE(policies_said_twice), CASE(items_said_twice), CASE(malformed_items_are_ignored), CASE(older_forms_and_policies),
    CASE(a_response_before_says_nothing_of_this_one), CASE(the_total_of_tokens_says_nothing_new), CASE(escapes_in_strings),
    CASE(figures_in_messages), CASE(meters_in_messages), CASE(long_messages_end_where_they_are_cut), CASE(google_s_delays),
    CASE(google_s_violations), CASE(errors_in_streams), CASE(statuses_at_the_edges_of_good), CASE(bodies_cut_anywhere),
    CASE(weighted_tokens)};

CHECK_MAIN(cases)
