/* vectors.c - runs the shared cases of tests/vectors/ against rlimit.h and ext/rlimit_http.h.

   vectors FILE

   FILE is what tests/test_vectors.py makes of the JSON: one word at the head of each line says what
   it is, the rest are its arguments, and the answer expected stands last. Written so that it needs
   no JSON library and runs on any processor. Prints "ok NAME" or "not ok NAME" for each case, after
   a line "# ..." with the first answer that was wrong; exit 1 if one was. */

#define RLM_WINDOW_CELLS 2112 /* the eight limits may all be windows */
#define RLM_IMPLEMENTATION
#include "../../rlimit.h"
#include "rlimit_http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 24, LINE_MAX_BYTES = 1 << 16, WINDOW_BYTES = 2 << 20 };

/* The names of the errors, as RLM_E_ has them. */
static const char *const result_names[] = {
    "ok",    "null",  "limits", "kind",     "meter",    "amount", "period", "rate",   "burst",   "span",  "guard",  "utc_offset", "cells", "memory",
    "index", "cost",  "permit", "busy",     "capacity", "priority", "full", "handle", "backoff", "clock", "never", "timeout",    "cancelled",
};
static const char *const kind_names[] = {"bucket", "window", "concurrency", "calendar"};
static const char *const meter_names[] = {"requests", "input_tokens", "output_tokens", "tokens", "microdollars", "custom"};

/* The case at hand. */
static char name[LINE_MAX_BYTES];
static char kind[LINE_MAX_BYTES];
static uint64_t start_ns;
static rlm_limit limits[RLM_LIMITS_MAX];
static size_t limit_count;
static size_t op; /* index of the operation */
static int wrong, bad_file;

static rlm_bucket bucket;
static rlm_window *window;
static rlm_concurrency concurrency;
static rlm_calendar calendar;
static rlm_limiter limiter;
static rlm_queue *queue;
static rlm_backoff plan;
static rlm_backoff_state retry;
static rlm_http http;
static rlm_permit *permits;
static uint64_t *marks, *handles; /* by operation; by id */
static size_t permit_count, mark_count, handle_count;

/* The line at hand. */
static char *words[WORDS_MAX];
static size_t word_count, word;

static const char *next_word(void) {
    if (word < word_count) return words[word++];
    bad_file = 1;
    return "";
}

/* A number; "never", "release" and "unsaid" are what rlm_ answers for them. */
static uint64_t number_of(const char *text) {
    char *end;
    uint64_t value;
    if (strcmp(text, "never") == 0) return RLM_NEVER;
    if (strcmp(text, "release") == 0) return RLM_ON_RELEASE;
    if (strcmp(text, "unsaid") == 0) return RLM_UNSAID;
    value = strtoull(text, &end, 10);
    if (*text == 0 || *end != 0) bad_file = 1;
    return value;
}

static uint64_t next_number(void) { return number_of(next_word()); }

static uint32_t next_name(const char *const *names, size_t count) {
    const char *text = next_word();
    uint32_t i;
    for (i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) return i;
    return 99;
}

static rlm_limit next_limit(void) {
    rlm_limit limit = rlm_per(RLM_REQUESTS, 1, 1); /* fields that no case has as they usually are */
    limit.kind = next_name(kind_names, sizeof kind_names / sizeof *kind_names);
    limit.meter = next_name(meter_names, sizeof meter_names / sizeof *meter_names);
    limit.amount = next_number();
    limit.period_ns = next_number();
    limit.burst = next_number();
    limit.guard_ns = next_number();
    limit.cells = (uint32_t)next_number();
    limit.utc_offset_s = (int32_t)next_number();
    limit.wall_offset_ns = (int64_t)next_number();
    return limit;
}

static rlm_cost next_cost(void) {
    rlm_cost cost;
    cost.requests = next_number();
    cost.input_tokens = next_number();
    cost.output_tokens = next_number();
    cost.microdollars = next_number();
    cost.custom = next_number();
    return cost;
}

static size_t next_index(size_t count) {
    uint64_t index = next_number();
    if (index < count) return (size_t)index;
    bad_file = 1;
    return 0;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void print_number(uint64_t value) {
    if (value == RLM_NEVER) printf("never");
    else if (value == RLM_ON_RELEASE) printf("release");
    else printf("%" PRIu64, value);
}

static void begin_complaint(const char *field) {
    size_t i;
    wrong = 1;
    printf("# %s: op %lu:", name, (unsigned long)op);
    for (i = 0; i < word_count; i++) printf(" %s", words[i]);
    printf(": %s is ", field);
}

/* Compares with the next word: a number, a wait, or "-" for what is not compared. */
static void expect_number(const char *field, uint64_t actual) {
    const char *text = next_word();
    if (strcmp(text, "-") == 0 || wrong) return;
    if (strcmp(text, "positive") == 0 ? actual != 0 && actual != RLM_NEVER : actual == number_of(text)) return;
    begin_complaint(field);
    print_number(actual);
    printf(", expected %s\n", text);
}

static void expect_signed(const char *field, int64_t actual) {
    const char *text = next_word();
    if (strcmp(text, "-") == 0 || wrong || actual == (int64_t)number_of(text)) return;
    begin_complaint(field);
    printf("%" PRId64 ", expected %s\n", actual, text);
}

static void expect_result(const char *field, int status) {
    const char *text = next_word();
    int code = rlm_status_code(status);
    const char *actual = code < (int)(sizeof result_names / sizeof *result_names) ? result_names[code] : "unknown";
    if (strcmp(text, actual) == 0 || wrong) return;
    begin_complaint(field);
    printf("%s, expected %s\n", actual, text);
}

static void expect_usage(int status, const rlm_usage *usage) {
    if (status != RLM_OK && !wrong) {
        begin_complaint("status");
        printf("%s\n", rlm_strerror(status));
    }
    expect_number("limit", usage->limit);
    expect_number("used", usage->used);
    expect_signed("remaining", usage->remaining);
    expect_number("reset_ns", usage->reset_ns);
}

/* ---- A case begins --------------------------------------------------------------------------- */

static void *grown(void *memory, size_t count, size_t size) {
    void *fresh = calloc(count != 0 ? count : 1, size);
    free(memory);
    if (fresh == NULL) exit(2);
    return fresh;
}

static void init_or_complain(int status) {
    if (status == RLM_OK) return;
    wrong = 1;
    printf("# %s: init: limit %d: %s\n", name, rlm_status_limit(status), rlm_strerror(status));
}

static int kind_is(const char *text) { return strcmp(kind, text) == 0; }

static void begin_case(void) {
    rlm_limit *limit = &limits[0];
    op = 0;
    if (kind_is("bucket")) {
        init_or_complain(rlm_bucket_init(&bucket, limit, start_ns));
    } else if (kind_is("window")) {
        window = (rlm_window *)grown(window, rlm_window_bytes(limit), 1);
        init_or_complain(rlm_window_init(window, rlm_window_bytes(limit), limit, start_ns));
    } else if (kind_is("concurrency")) {
        init_or_complain(rlm_concurrency_init(&concurrency, limit));
    } else if (kind_is("calendar")) {
        init_or_complain(rlm_calendar_init(&calendar, limit, start_ns));
    } else if (kind_is("limiter")) {
        init_or_complain(rlm_limiter_init(&limiter, limits, limit_count, start_ns));
    } else if (kind_is("queue")) {
        size_t bytes, capacity = (size_t)next_number();
        uint64_t ageing_ns = next_number();
        bytes = rlm_queue_bytes(capacity);
        queue = (rlm_queue *)grown(queue, bytes, 1);
        init_or_complain(rlm_queue_init(queue, bytes, capacity, ageing_ns));
    } else if (kind_is("backoff")) {
        static const char *const jitter_names[] = {"none", "fraction", "full", "equal", "decorrelated"};
        size_t i;
        uint64_t seed;
        memset(&plan, 0, sizeof plan);
        plan.jitter = next_name(jitter_names, sizeof jitter_names / sizeof *jitter_names);
        plan.factor_permille = (uint32_t)next_number();
        plan.fraction_permille = (uint32_t)next_number();
        plan.attempts_max = (uint32_t)next_number();
        plan.base_ns = next_number();
        plan.cap_ns = next_number();
        plan.floor_ns = next_number();
        for (i = 0; i < 4; i++) plan.base_class_ns[i] = next_number();
        for (i = 0; i < 4; i++) plan.least_class_ns[i] = next_number();
        plan.retry_after_max_ns = next_number();
        seed = next_number();
        init_or_complain(rlm_backoff_check(&plan));
        rlm_backoff_start(&retry, seed);
    } else if (kind_is("http")) {
        rlm_http_profile profile;
        if (!rlm_http_profile_of(next_word(), &profile)) bad_file = 1;
        else rlm_http_begin(&http, &profile, next_number());
    } else {
        bad_file = 1;
    }
}

/* init LIMIT ERROR: the function of its kind and rlm_limiter_init name the same error. */
static void run_init(void) {
    rlm_limit limit = next_limit();
    size_t answer = word;
    int status;
    window = (rlm_window *)grown(window, WINDOW_BYTES, 1);
    switch (limit.kind) {
    case RLM_WINDOW: status = rlm_window_init(window, WINDOW_BYTES, &limit, 0); break;
    case RLM_CONCURRENCY: status = rlm_concurrency_init(&concurrency, &limit); break;
    case RLM_CALENDAR: status = rlm_calendar_init(&calendar, &limit, 0); break;
    default: status = rlm_bucket_init(&bucket, &limit, 0); break;
    }
    expect_result("init", status);
    if (limit.kind == RLM_WINDOW && status == RLM_OK) return; /* a limiter may not have the room */
    word = answer;
    status = rlm_limiter_init(&limiter, &limit, 1, 0);
    expect_result("rlm_limiter_init", status);
    if (status != RLM_OK && rlm_status_limit(status) != 0) {
        begin_complaint("rlm_status_limit");
        printf("%d, expected 0\n", rlm_status_limit(status));
    }
}

/* ---- Operations ------------------------------------------------------------------------------ */

static void run_take(int peek) {
    uint64_t n = next_number(), now_ns = next_number(), *mark = &marks[op], wait_ns = 0;
    if (kind_is("bucket")) wait_ns = peek ? rlm_bucket_peek(&bucket, n, now_ns) : rlm_bucket_take(&bucket, n, now_ns);
    else if (kind_is("window")) wait_ns = peek ? rlm_window_peek(window, n, now_ns) : rlm_window_take(window, n, now_ns, mark);
    else if (kind_is("calendar")) wait_ns = peek ? rlm_calendar_peek(&calendar, n, now_ns) : rlm_calendar_take(&calendar, n, now_ns, mark);
    else { /* which has no function to peek */
        wait_ns = peek ? rlm_concurrency_peek(&concurrency, n) : rlm_concurrency_take(&concurrency, n);
    }
    expect_number("wait", wait_ns);
}

static void run_credit(void) {
    uint64_t n = next_number(), now_ns = next_number();
    const char *of = next_word();
    uint64_t mark = 0;
    if (strcmp(of, "-") != 0) {
        word--;
        mark = marks[next_index(mark_count)];
    }
    if (kind_is("bucket")) expect_result("result", rlm_bucket_credit(&bucket, n, now_ns));
    else if (kind_is("window")) expect_result("result", rlm_window_credit(window, n, mark));
    else expect_result("result", rlm_calendar_credit(&calendar, n, mark));
}

static void run_debit(void) {
    uint64_t n = next_number(), now_ns = next_number();
    if (kind_is("bucket")) expect_result("result", rlm_bucket_debit(&bucket, n, now_ns));
    else if (kind_is("window")) expect_result("result", rlm_window_debit(window, n, now_ns));
    else expect_result("result", rlm_calendar_debit(&calendar, n, now_ns));
}

static void run_reconfigure(void) {
    rlm_limit limit = next_limit();
    uint64_t now_ns = next_number();
    if (kind_is("bucket")) expect_result("result", rlm_bucket_reconfigure(&bucket, &limit, now_ns));
    else if (kind_is("window")) expect_result("result", rlm_window_reconfigure(window, &limit));
    else if (kind_is("calendar")) expect_result("result", rlm_calendar_reconfigure(&calendar, &limit));
    else expect_result("result", rlm_concurrency_reconfigure(&concurrency, &limit));
}

static void run_status(void) {
    rlm_usage usage = {0, 0, 0, 0};
    size_t index = next_index(RLM_LIMITS_MAX);
    uint64_t now_ns = next_number();
    int status;
    if (kind_is("bucket")) status = rlm_bucket_status(&bucket, &usage, now_ns);
    else if (kind_is("window")) status = rlm_window_status(window, &usage, now_ns);
    else if (kind_is("calendar")) status = rlm_calendar_status(&calendar, &usage, now_ns);
    else if (kind_is("limiter")) status = rlm_status(&limiter, index, &usage, now_ns);
    else status = rlm_concurrency_status(&concurrency, &usage);
    expect_usage(status, &usage);
}

static void run_limiter(const char *what) {
    size_t index = strcmp(what, "check") == 0 ? 0 : next_index(permit_count);
    rlm_permit *permit = &permits[index];
    rlm_cost cost = {0, 0, 0, 0, 0};
    uint64_t now_ns, wait_ns;
    if (strcmp(what, "cancel") != 0) cost = next_cost();
    now_ns = next_number();
    if (strcmp(what, "acquire") == 0) {
        expect_number("wait", rlm_acquire(&limiter, &cost, now_ns, permit));
    } else if (strcmp(what, "check") == 0) {
        int binding = -2;
        wait_ns = rlm_check(&limiter, &cost, now_ns, &binding);
        expect_number("wait", wait_ns);
        expect_signed("binding", binding);
    } else if (strcmp(what, "settle") == 0) {
        expect_result("result", rlm_settle(&limiter, permit, &cost, now_ns));
    } else {
        expect_result("result", rlm_cancel(&limiter, permit, now_ns));
    }
}

static void run_queue(const char *what) {
    uint64_t data = 0, handle = 0;
    if (strcmp(what, "push") == 0) {
        size_t id = next_index(handle_count);
        uint32_t priority = (uint32_t)next_number();
        const char *deadline = next_word();
        uint64_t deadline_ns = strcmp(deadline, "none") == 0 ? RLM_NO_DEADLINE : number_of(deadline), now_ns = next_number();
        expect_result("result", rlm_queue_push(queue, id, priority, deadline_ns, now_ns, &handles[id]));
    } else if (strcmp(what, "head") == 0) {
        expect_number("id", rlm_queue_head(queue, &handle, &data) ? data : RLM_NEVER);
    } else if (strcmp(what, "expire") == 0) {
        uint64_t now_ns = next_number();
        expect_number("id", rlm_queue_expire(queue, now_ns, &handle, &data) ? data : RLM_NEVER);
    } else if (strcmp(what, "remove") == 0) {
        expect_result("result", rlm_queue_remove(queue, handles[next_index(handle_count)]));
    } else if (strcmp(what, "deadline") == 0) {
        expect_number("deadline", rlm_queue_deadline(queue));
    } else {
        expect_number("count", rlm_queue_count(queue));
    }
}

static void run_next(void) {
    uint32_t error_class = (uint32_t)next_number(), priority = (uint32_t)next_number();
    uint64_t retry_after_ns = next_number();
    expect_number("delay", rlm_backoff_next(&plan, &retry, error_class, priority, retry_after_ns));
}

/* call NOW N: no answer is expected; it is written down for check.py. */
static void run_call(void) {
    uint64_t now_ns = next_number(), n = next_number(), wait_ns = rlm_bucket_take(&bucket, n, now_ns);
    printf("log %" PRIu64 " %" PRIu64 " ", now_ns, n);
    print_number(wait_ns);
    printf("\n");
}

/* ---- Responses ------------------------------------------------------------------------------- */

/* The bytes of a word in hex, after pad spaces, in memory of just their size: free it. */
static char *next_bytes(size_t pad, size_t *bytes) {
    const char *text = next_word();
    char *made;
    size_t i, count = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    *bytes = pad + count;
    made = (char *)grown(NULL, *bytes, 1);
    memset(made, ' ', pad);
    for (i = 0; i < count; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        made[pad + i] = (char)strtoul(pair, NULL, 16);
    }
    return made;
}

static void run_header(void) {
    size_t header_bytes, value_bytes;
    char *header = next_bytes(0, &header_bytes), *value = next_bytes(0, &value_bytes);
    rlm_http_header(&http, header, header_bytes, value, value_bytes);
    free(header);
    free(value);
}

/* body STATUS PAD TEXT */
static void run_body(void) {
    int status = (int)next_number();
    size_t bytes, pad = (size_t)next_number();
    char *body = next_bytes(pad, &bytes);
    rlm_http_end(&http, status, body, bytes);
    free(body);
}

static void expect_name(const char *field, const char *const *names, size_t count, uint32_t actual) {
    const char *text = next_word();
    if (strcmp(text, "-") == 0 || wrong || (actual < count && strcmp(text, names[actual]) == 0)) return;
    begin_complaint(field);
    printf("%s\n", actual < count ? names[actual] : "unknown");
}

/* The meters named, joined by "+"; "concurrency" and "none" too. */
static void expect_named(uint32_t actual) {
    const char *text = next_word(), *at = text;
    uint32_t expected = 0;
    if (strcmp(text, "-") == 0 || wrong) return;
    while (*at != 0 && strcmp(text, "none") != 0) {
        size_t i, length = strcspn(at, "+");
        if (strncmp(at, "concurrency", length) == 0) expected |= RLM_NAMED_CONCURRENCY;
        for (i = 0; i < RLM_I_METER_COUNT; i++)
            if (strlen(meter_names[i]) == length && strncmp(at, meter_names[i], length) == 0) expected |= UINT32_C(1) << i;
        at += length + (at[length] == '+');
    }
    if (actual == expected) return;
    begin_complaint("named");
    printf("0x%lx, expected 0x%lx\n", (unsigned long)actual, (unsigned long)expected);
}

/* reading INDEX METER LIMIT REMAINING ... */
static void run_reading(void) {
    const rlm_reading *reading = &http.feedback.reading[next_index(RLM_READINGS_MAX)];
    expect_name("meter", meter_names, sizeof meter_names / sizeof *meter_names, reading->meter);
    expect_number("limit", reading->limit);
    expect_number("remaining", reading->remaining);
    expect_number("rounding", reading->rounding);
    expect_number("reset_ns", reading->reset_ns);
    expect_number("period_ns", reading->period_ns);
    expect_number("period_least_ns", reading->period_least_ns);
    expect_number("period_most_ns", reading->period_most_ns);
}

static int run_response(const char *what) {
    static const char *const verdicts[] = {"ok", "retry", "wait", "never"};
    static const char *const reasons[] = {"none", "rate_limit", "quota_day", "overload",    "server", "network",
                                          "spent", "auth",      "too_large", "bad_request", "told"};
    static const char *const classes[] = {"rate_limit", "server", "network", "fatal"};
    static const char *const outcomes[] = {"answered", "refused", "slow_down", "overloaded", "failed"};
    if (strcmp(what, "header") == 0) run_header();
    else if (strcmp(what, "body") == 0) run_body();
    else if (strcmp(what, "verdict") == 0) expect_name(what, verdicts, sizeof verdicts / sizeof *verdicts, http.verdict);
    else if (strcmp(what, "reason") == 0) expect_name(what, reasons, sizeof reasons / sizeof *reasons, http.reason);
    else if (strcmp(what, "class") == 0) expect_name(what, classes, sizeof classes / sizeof *classes, http.error_class);
    else if (strcmp(what, "outcome") == 0)
        expect_name(what, outcomes, sizeof outcomes / sizeof *outcomes, http.feedback.outcome);
    else if (strcmp(what, "named") == 0) expect_named(http.feedback.named);
    else if (strcmp(what, "readings") == 0) expect_number("count of readings", http.feedback.count);
    else if (strcmp(what, "reading") == 0) run_reading();
    else if (strcmp(what, "waits") == 0) {
        expect_number("capped", http.capped);
        expect_number("wait_ns", http.wait_ns);
        expect_number("retry_after_ns", http.feedback.retry_after_ns);
        expect_number("requested", http.feedback.requested);
    } else {
        return 0;
    }
    return 1;
}

static void run_op(const char *what) {
    if (kind_is("http")) {
        if (!run_response(what)) bad_file = 1;
    } else if (strcmp(what, "init") == 0) run_init();
    else if (strcmp(what, "take") == 0) run_take(0);
    else if (strcmp(what, "peek") == 0) run_take(1);
    else if (strcmp(what, "credit") == 0) run_credit();
    else if (strcmp(what, "debit") == 0) run_debit();
    else if (strcmp(what, "reconfigure") == 0) run_reconfigure();
    else if (strcmp(what, "status") == 0) run_status();
    else if (strcmp(what, "next") == 0) run_next();
    else if (strcmp(what, "call") == 0) run_call();
    else if (strcmp(what, "release") == 0) {
        uint64_t n = next_number();
        expect_result("result", rlm_concurrency_release(&concurrency, n));
    } else if (strcmp(what, "reserve") == 0) {
        uint64_t n = next_number(), max_wait_ns = next_number(), now_ns = next_number();
        expect_number("wait", rlm_bucket_reserve(&bucket, n, max_wait_ns, now_ns));
    } else if (strcmp(what, "acquire") == 0 || strcmp(what, "check") == 0 || strcmp(what, "settle") == 0 || strcmp(what, "cancel") == 0) {
        run_limiter(what);
    } else if (strcmp(what, "push") == 0 || strcmp(what, "head") == 0 || strcmp(what, "expire") == 0 ||
               strcmp(what, "remove") == 0 || strcmp(what, "deadline") == 0 || strcmp(what, "count") == 0) {
        run_queue(what);
    } else {
        bad_file = 1;
    }
    if (word != word_count) bad_file = 1;
    op++;
}

/* ---- The file -------------------------------------------------------------------------------- */

static void split(char *line) {
    char *at = strtok(line, " \t\r\n");
    for (word = word_count = 0; at != NULL && word_count < WORDS_MAX; at = strtok(NULL, " \t\r\n")) words[word_count++] = at;
}

/* Lines before "begin" describe the case. */
static int run_line(void) {
    const char *what = next_word();
    if (strcmp(what, "start") == 0) {
        start_ns = next_number();
    } else if (strcmp(what, "limit") == 0) {
        if (limit_count < RLM_LIMITS_MAX) limits[limit_count++] = next_limit();
        else bad_file = 1;
    } else if (strcmp(what, "sizes") == 0) { /* how many operations, permits and ids there are */
        mark_count = (size_t)next_number();
        permit_count = (size_t)next_number();
        handle_count = (size_t)next_number();
        marks = (uint64_t *)grown(marks, mark_count, sizeof *marks);
        permits = (rlm_permit *)grown(permits, permit_count, sizeof *permits);
        handles = (uint64_t *)grown(handles, handle_count, sizeof *handles);
    } else if (strcmp(what, "begin") == 0) {
        begin_case();
    } else if (strcmp(what, "end") == 0) {
        printf("%s %s\n", wrong ? "not ok" : "ok", name);
        return wrong;
    } else if (!wrong) {
        run_op(what);
    }
    return 0;
}

int main(int argc, char **argv) {
    static char line[LINE_MAX_BYTES];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    unsigned long number = 0;
    int failed = 0;
    if (file == NULL) {
        fprintf(stderr, "usage: vectors FILE\n");
        return 2;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        number++;
        if (strncmp(line, "case ", 5) == 0) { /* case KIND NAME */
            size_t length = strcspn(line + 5, " \r\n");
            memcpy(kind, line + 5, length);
            kind[length] = 0;
            strcpy(name, line[5 + length] == ' ' ? line + 6 + length : "");
            name[strcspn(name, "\r\n")] = 0;
            limit_count = 0;
            wrong = 0;
            start_ns = 0;
            continue;
        }
        split(line);
        if (word_count == 0) continue;
        failed |= run_line();
        if (bad_file) {
            printf("# line %lu of %s is not understood\n", number, argv[1]);
            return 2;
        }
    }
    fclose(file);
    free(window);
    free(queue);
    free(marks);
    free(permits);
    free(handles);
    return failed;
}
