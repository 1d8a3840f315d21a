/* batch.c - sends a file of requests to an OpenAI-compatible API, within its limits.

   Reads requests as JSON lines, sends each when the limiter admits it, learns limits that were not
   given from the answers, retries what may succeed later, and writes one result line for each as it completes. Started again with the same files,
   it goes on where it was stopped, or killed. One thread; memory does not depend on the length of
   the files. `batch --help` tells the options.

   cc -std=c11 -O2 -I. -Iext examples/batch.c -lcurl -ljansson -o batch

   Sections: statistics, tasks, limits, HTTP, verdicts, results, scheduling, progress, main. The
   command line is in batch_options.h, the files in batch_files.h. */

#define _DEFAULT_SOURCE /* flock, strdup, getc_unlocked */
#define RLM_IMPLEMENTATION
#define RLM_STATIC
#include "rlimit_http.h"

#include <curl/curl.h>
#include <signal.h>
#include <strings.h>

#include "batch_files.h"
#include "batch_options.h"

#define MS_NS UINT64_C(1000000)
#define READ_AHEAD 256                      /* requests read beyond those in flight ... */
#define HELD_BYTES ((size_t)64 << 20)       /* ... while their bodies have less than this */
#define RETRY_AFTER_MAX_NS (2 * RLM_DAY_NS) /* of a daily quota; that of a header is cut to --retry-after-max */

/* ---- Statistics ------------------------------------------------------------------------------ */

struct statistics {
    uint64_t requests;              /* valid ones in INPUT, as far as known */
    uint64_t completed, failed;     /* results in OUTPUT, of earlier runs too */
    uint64_t earlier;               /* of these, by earlier runs */
    uint64_t attempts, answered;    /* by this run; attempts that brought a good answer */
    uint64_t retried, rejected;     /* attempts sent again; answers with status 429 */
    uint64_t tokens, charged;       /* used as answers tell; estimated */
    double seconds;
};

/* learned: an array of the limits in force that were not configured so; it is given away. */
static void write_statistics(const struct statistics *s, json_t *learned, const char *name) {
    json_t *object = must(json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:I,s:I,s:o}", "requests", (json_int_t)s->requests, "completed",
        (json_int_t)s->completed, "failed", (json_int_t)s->failed, "earlier", (json_int_t)s->earlier, "attempts",
        (json_int_t)s->attempts, "rejected", (json_int_t)s->rejected, "retried", (json_int_t)s->retried, "wasted",
        (json_int_t)(s->attempts - s->answered), "seconds", s->seconds, "tokens", (json_int_t)s->tokens,
        "tokens_estimated", (json_int_t)s->charged, "learned", learned));
    if (json_dump_file(object, name, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0)
        die(EXIT_IO, "--stats-json %s: %s", name, strerror(errno));
    json_decref(object);
}

static void print_statistics(const struct statistics *s) {
    printf("earlier=%" PRIu64 " attempts=%" PRIu64 " retried=%" PRIu64 " wasted=%" PRIu64 " tokens=%" PRIu64
           " tokens_estimated=%" PRIu64 "\n",
           s->earlier, s->attempts, s->retried, s->attempts - s->answered, s->tokens, s->charged);
    printf("result requests=%" PRIu64 " completed=%" PRIu64 " failed=%" PRIu64 " rejected=%" PRIu64 " seconds=%.1f\n",
           s->requests, s->completed, s->failed, s->rejected, s->seconds);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

struct transfer;

/* A request that was read and is not finished: in the queue, in flight or asleep. */
struct task {
    struct request request;
    rlm_cost estimate, cost;        /* by itself; as corrected by what was learned, and acquired */
    rlm_permit permit;
    bool permit_out, finished;
    uint64_t attempts;
    rlm_backoff_state backoff;
    uint64_t retry_at_ns;
    struct task *next_free;
};

/* An easy handle, with the connection it keeps, and the exchange on it. */
struct transfer {
    CURL *easy;
    struct task *task;
    struct curl_slist *headers;
    struct buffer answer;
    bool too_large;
    size_t sent;
    const rlm_http_profile *profile;
    rlm_http http;          /* what the answer says of limits */
    struct transfer *next_free;
};

struct run {
    struct options options;
    struct source source;
    struct output output;
    struct statistics statistics;
    rlm_limiter limiter;
    rlm_limit limits[RLM_LIMITS_MAX];
    size_t limit_count;
    rlm_route route;                /* what requests turn out to cost */
    rlm_backoff plan;
    rlm_queue *queue, *asleep;      /* of tasks: who is next, and who waits for its retry */
    struct task *tasks, *free_task;
    struct transfer *transfers, *free_transfer;
    size_t task_count, in_flight, active; /* active: begun and not finished */
    size_t held_bytes;
    CURLM *multi;
    bool open[WINDOW];              /* lines read and not finished */
    uint64_t low;                   /* all lines before this are finished */
    bool input_ended, total_known;
    int stopped;                    /* exit status of a run that starts nothing more; 0: it runs */
    uint64_t started_ns, last_sync_ns, last_report_ns, sample_at_ns;
    uint64_t sample[10];            /* results there were at each of the last ten seconds */
    size_t samples;
    int binding;                    /* index of the limit that is waited for; -1: none */
    uint64_t wait_ns;
    bool bar_drawn, said_unreachable, said_cut; /* what is said once */
};

/* A queue of tasks, each of which always finds room. */
static rlm_queue *make_queue(size_t capacity) {
    size_t bytes = rlm_queue_bytes(capacity);
    rlm_queue *queue = must(malloc(bytes));
    /* strict priority: a request is retried so often and no more, so nothing starves */
    int status = rlm_queue_init(queue, bytes, capacity, RLM_STRICT);
    if (status != RLM_OK) die(EXIT_INPUT, "%s", rlm_strerror(status));
    return queue;
}

static void push_task(const struct run *run, rlm_queue *queue, const struct task *task, uint64_t due_ns, uint64_t now_ns) {
    uint64_t handle;
    int status = rlm_queue_push(queue, (uint64_t)(task - run->tasks), task->attempts == 0 ? RLM_NORMAL : RLM_HIGH, due_ns,
                                now_ns, &handle);
    if (status != RLM_OK) die(EXIT_IO, "queue: %s", rlm_strerror(status));
}

static struct task *make_task(struct run *run, const struct request *request) {
    struct task *task = run->free_task;
    run->free_task = task->next_free;
    memset(task, 0, sizeof *task);
    task->request = *request;
    task->estimate.requests = 1;
    task->estimate.input_tokens = request->input_tokens;
    task->estimate.output_tokens = request->output_tokens;
    rlm_backoff_start(&task->backoff, run->options.seed ^ request->line * UINT64_C(0x9e3779b97f4a7c15));
    run->held_bytes += request->body_bytes;
    run->task_count++;
    return task;
}

static void free_task(struct run *run, struct task *task) {
    run->held_bytes -= task->request.body_bytes;
    run->task_count--;
    request_free(&task->request);
    task->next_free = run->free_task;
    run->free_task = task;
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static const char *binding_name(const struct run *run, int index) {
    static const char *const names[] = {"requests", "input tokens", "output tokens", "tokens", "cost", "custom"};
    if (index < 0 || index >= (int)run->limit_count) return "none";
    if (run->limits[index].kind == RLM_CONCURRENCY) return "concurrency";
    return run->limits[index].follow == RLM_RAMP ? "ramp" : names[run->limits[index].meter];
}

static void add_limit(struct run *run, uint32_t meter, const char *name, uint64_t per_minute) {
    const struct options *options = &run->options;
    uint64_t period_ns = options->period_ms != 0 ? options->period_ms * MS_NS : RLM_MINUTE_NS;
    uint64_t amount = per_minute * (period_ns / MS_NS) / 60000;
    rlm_limit limit = rlm_per(meter, amount, period_ns);
    if (per_minute == 0) return;
    if (amount == 0) die(EXIT_INPUT, "--%s %" PRIu64 ": less than 1 in a period", name, per_minute);
    if (options->profile.kind == RLM_WINDOW) limit = rlm_sliding(meter, amount, period_ns);
    if (options->profile.kind == RLM_CALENDAR) limit = rlm_fixed(meter, amount, period_ns, (int64_t)rlm_wall() - (int64_t)rlm_now());
    limit.follow = (uint32_t)options->follow;
    limit.guard_ns = options->guard_ms * MS_NS;
    run->limits[run->limit_count++] = limit;
}

/* Those that the provider has and nobody gave, to be learned. */
static void add_unknown_limits(struct run *run) {
    const struct options *options = &run->options;
    rlm_http_profile profile = options->profile;
    for (size_t i = 0; i < run->limit_count; i++) profile.meters &= ~(1u << run->limits[i].meter);
    rlm_limit *first = run->limits + run->limit_count;
    size_t count = rlm_http_limits(&profile, first, RLM_LIMITS_MAX - 2 - run->limit_count, (int64_t)(rlm_wall() - rlm_now()));
    for (rlm_limit *limit = first; limit < first + count; limit++) limit->guard_ns = options->guard_ms * MS_NS;
    run->limit_count += count;
}

static void make_limiter(struct run *run) {
    const struct options *options = &run->options;
    add_limit(run, RLM_REQUESTS, "rpm", options->rpm);
    add_limit(run, RLM_TOKENS, "tpm", options->tpm);
    add_unknown_limits(run);
    if (options->ramp_ms != 0) /* at least one a minute */
        run->limits[run->limit_count++] = rlm_ramp(options->ramp_ms / 60000 + 1, options->ramp_ms * MS_NS);
    run->limits[run->limit_count++] = options->concurrency != 0 ? rlm_concurrent(options->concurrency)
                                                                : rlm_adaptive(LEAST_IN_FLIGHT, MOST_IN_FLIGHT);
    int status = rlm_limiter_init(&run->limiter, run->limits, run->limit_count, rlm_now());
    if (status != RLM_OK)
        die(EXIT_INPUT, "limit on %s: %s", binding_name(run, rlm_status_limit(status)), rlm_strerror(rlm_status_code(status)));
    (void)rlm_route_init(&run->route, 900);
}

/* Begins with a used quota if an earlier run may have used it. What is to be learned, the server tells. */
static void use_up_quota(struct run *run) {
    const struct options *options = &run->options;
    uint64_t period_ms = options->period_ms != 0 ? options->period_ms : 60000;
    uint64_t recent_s = (period_ms + options->timeout_ms + options->guard_ms) / 1000 + 1;
    bool recent = run->output.age_s >= 0 && (uint64_t)run->output.age_s <= recent_s;
    rlm_cost all = {0, 0, 0, 0, 0};
    if (options->no_limit || options->start == START_FULL || (options->start == START_AUTO && !recent)) return;
    for (size_t i = 0; i < run->limit_count; i++) {
        if (run->limits[i].follow >= RLM_LEARN || run->limits[i].kind == RLM_CONCURRENCY) continue;
        if (run->limits[i].meter == RLM_REQUESTS) all.requests = run->limits[i].amount;
        else all.input_tokens = run->limits[i].amount;
    }
    rlm_debit(&run->limiter, &all, rlm_now());
}

/* The limits that are not as configured, or were never configured. */
static json_t *learned_limits(struct run *run) {
    json_t *list = must(json_array());
    for (size_t i = 0; i < run->limit_count && !run->options.no_limit; i++) {
        rlm_limit limit;
        bool adaptive = run->limits[i].follow == RLM_ADAPT;
        uint64_t at_first = adaptive ? run->limits[i].burst : run->limits[i].amount;
        if (rlm_in_force(&run->limiter, i, &limit) != RLM_OK) continue;
        if (limit.amount == at_first && limit.period_ns == run->limits[i].period_ns) continue;
        double period_s = limit.kind == RLM_CONCURRENCY ? 0 : (double)limit.period_ns / 1e9;
        json_array_append_new(list, must(json_pack("{s:s,s:I,s:f}", "limit", binding_name(run, (int)i), "amount",
                                                   (json_int_t)limit.amount, "period_s", period_s)));
    }
    return list;
}

static void print_limits(const json_t *learned) {
    size_t i;
    const json_t *limit;
    json_array_foreach(learned, i, limit) {
        double period_s = json_real_value(json_object_get(limit, "period_s"));
        printf("%s%s=%" JSON_INTEGER_FORMAT, i == 0 ? "learned " : ", ", json_string_value(json_object_get(limit, "limit")),
               json_integer_value(json_object_get(limit, "amount")));
        if (period_s > 0) printf(" in %.3g s", period_s);
    }
    if (json_array_size(learned) > 0) putchar('\n');
}

static void make_plan(struct run *run) {
    run->plan = rlm_backoff_default();
    run->plan.attempts_max = (uint32_t)run->options.retries;
    run->plan.retry_after_max_ns = RETRY_AFTER_MAX_NS;
    if (!run->options.no_limit) return;
    run->plan.jitter = RLM_JITTER_FRACTION; /* near what the providers' own libraries do */
    run->plan.fraction_permille = 125;
    run->plan.base_ns = RLM_SECOND_NS / 2;
    run->plan.cap_ns = 8 * RLM_SECOND_NS;
    run->plan.floor_ns = 0;
    memset(run->plan.base_class_ns, 0, sizeof run->plan.base_class_ns);
    memset(run->plan.least_class_ns, 0, sizeof run->plan.least_class_ns);
}

/* What to acquire: output as it turns out to be where the provider does not reserve the most there can be. */
static rlm_cost estimate(const struct run *run, const struct task *task) {
    rlm_cost cost = rlm_route_estimate(&run->route, &task->estimate);
    if (run->options.profile.reserves_output) cost.output_tokens = task->estimate.output_tokens;
    return cost;
}

/* A limit that was learned is not known to be that of one request: whoever is larger takes all of it, and the server decides. */
static void fit_to_learned(struct run *run, rlm_cost *cost) {
    for (size_t i = 0; i < run->limit_count; i++) {
        rlm_limit limit;
        uint64_t most;
        if (run->limits[i].follow != RLM_LEARN || rlm_in_force(&run->limiter, i, &limit) != RLM_OK) continue;
        most = limit.kind == RLM_BUCKET ? limit.burst : limit.amount;
        bool input = limit.meter != RLM_OUTPUT_TOKENS, output = limit.meter != RLM_INPUT_TOKENS;
        if (limit.meter == RLM_REQUESTS) continue;
        if (input && cost->input_tokens > most) cost->input_tokens = most;
        if (input && output) most -= cost->input_tokens;
        if (output && cost->output_tokens > most) cost->output_tokens = most;
    }
}

/* As rlm_acquire. Without limits a retry has the place that its first attempt took. */
static uint64_t admit(struct run *run, struct task *task, uint64_t now_ns) {
    task->cost = estimate(run, task);
    if (run->options.no_limit) return task->attempts > 0 || run->active < run->options.most_in_flight ? 0 : RLM_ON_RELEASE;
    uint64_t wait_ns = rlm_acquire(&run->limiter, &task->cost, now_ns, &task->permit);
    if (wait_ns == RLM_NEVER) {
        fit_to_learned(run, &task->cost);
        wait_ns = rlm_acquire(&run->limiter, &task->cost, now_ns, &task->permit);
    }
    task->permit_out = wait_ns == 0;
    return wait_ns;
}

/* What the server made of the request is charged. Unknown and failed outcomes keep the estimate: the
   server may have counted them. */
static void settle(struct run *run, struct task *task, const rlm_cost *actual) {
    if (!task->permit_out) return;
    int status = rlm_settle(&run->limiter, &task->permit, actual, rlm_now());
    if (status == RLM_E_COST) status = rlm_settle(&run->limiter, &task->permit, &task->cost, rlm_now());
    if (status != RLM_OK) die(EXIT_IO, "settle: %s", rlm_strerror(status));
    task->permit_out = false;
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static size_t on_answer(char *data, size_t one, size_t bytes, void *context) {
    struct transfer *transfer = context;
    (void)one;
    transfer->too_large = bytes > LINE_BYTES - transfer->answer.length;
    if (transfer->too_large) return 0;
    buffer_add(&transfer->answer, data, bytes);
    return bytes;
}

static size_t on_send(char *room, size_t one, size_t bytes, void *context) {
    struct transfer *transfer = context;
    const struct request *request = &transfer->task->request;
    size_t left = request->body_bytes - transfer->sent, now = left < bytes * one ? left : bytes * one;
    memcpy(room, request->body + transfer->sent, now);
    transfer->sent += now;
    return now;
}

/* libcurl would send again by itself what was lost with a kept connection; that would be an attempt
   without a permit. */
static int on_rewind(void *context, curl_off_t offset, int origin) {
    (void)context, (void)offset, (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

static size_t on_header(char *data, size_t one, size_t bytes, void *context) {
    struct transfer *transfer = context;
    size_t length = bytes * one;
    const char *colon = memchr(data, ':', length);
    if (length > 5 && memcmp(data, "HTTP/", 5) == 0) rlm_http_begin(&transfer->http, transfer->profile, rlm_wall());
    else if (colon != NULL)
        rlm_http_header(&transfer->http, data, (size_t)(colon - data), colon + 1, length - (size_t)(colon + 1 - data));
    return length;
}

static void set_options(const struct run *run, struct transfer *transfer) {
    CURL *easy = transfer->easy;
    long timeout_ms = (long)run->options.timeout_ms;
    curl_easy_setopt(easy, CURLOPT_URL, run->options.url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < 10000 ? timeout_ms : 10000L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* one exchange, one connection */
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "rlimit-batch/" RLM_VERSION);
}

static void make_transfers(struct run *run) {
    run->multi = must(curl_multi_init());
    /* connections for all in flight are kept; the number in use is the limiter's business, so that
       no admitted request ever waits here */
    curl_multi_setopt(run->multi, CURLMOPT_MAXCONNECTS, (long)run->options.most_in_flight);
    run->transfers = must(calloc(run->options.most_in_flight, sizeof *run->transfers));
    for (size_t i = 0; i < run->options.most_in_flight; i++) {
        struct transfer *transfer = &run->transfers[i];
        transfer->easy = must(curl_easy_init());
        transfer->profile = &run->options.profile;
        set_options(run, transfer);
        transfer->next_free = run->free_transfer;
        run->free_transfer = transfer;
    }
}

static void add_header(struct transfer *transfer, const char *name, const char *value) {
    struct buffer line = {0};
    buffer_puts(&line, name);
    buffer_puts(&line, value);
    buffer_add(&line, "", 1);
    transfer->headers = must(curl_slist_append(transfer->headers, line.data));
    free(line.data);
}

static void send_task(struct run *run, struct task *task) {
    struct transfer *transfer = run->free_transfer;
    run->free_transfer = transfer->next_free;
    transfer->task = task;
    transfer->answer.length = transfer->sent = 0;
    rlm_http_begin(&transfer->http, transfer->profile, rlm_wall());
    transfer->too_large = false;
    transfer->headers = NULL;
    add_header(transfer, "Authorization: Bearer ", run->options.key);
    add_header(transfer, "x-client-id: ", task->request.custom_id);
    add_header(transfer, "Content-Type: application/json", "");
    add_header(transfer, "Expect:", "");
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)task->request.body_bytes);
    CURLMcode status = curl_multi_add_handle(run->multi, transfer->easy);
    if (status != CURLM_OK) die(EXIT_IO, "libcurl: %s", curl_multi_strerror(status));
    if (task->attempts++ == 0) run->active++;
    run->in_flight++;
    run->statistics.attempts++;
    run->statistics.charged += task->cost.input_tokens + task->cost.output_tokens;
}

static void free_transfer(struct run *run, struct transfer *transfer) {
    curl_multi_remove_handle(run->multi, transfer->easy);
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
    transfer->task = NULL;
    transfer->next_free = run->free_transfer;
    run->free_transfer = transfer;
    run->in_flight--;
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

enum what { ANSWERED, RETRY, FAILED, STOP };

struct verdict {
    enum what what;
    uint32_t error_class;   /* of RETRY */
    long status;            /* 0: no answer */
    json_t *body;           /* null: not JSON */
    char code[32];          /* of the error */
    const char *message;    /* lives as long as body */
};

/* An attempt without a complete answer. */
static void judge_failure(struct verdict *verdict, const struct transfer *transfer, CURLcode code) {
    bool certificate = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
    verdict->what = certificate ? STOP : transfer->too_large ? FAILED : RETRY;
    verdict->error_class = RLM_CLASS_NETWORK;
    verdict->status = 0;
    verdict->message = transfer->too_large ? "the answer is too large" : curl_easy_strerror(code);
    snprintf(verdict->code, sizeof verdict->code, "%s",
             transfer->too_large ? "answer_too_large" : code == CURLE_OPERATION_TIMEDOUT ? "timeout" : "connection");
}

static void judge_status(struct verdict *verdict, const struct transfer *transfer) {
    const json_t *error = json_object_get(verdict->body, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const rlm_http *http = &transfer->http;
    bool stop = http->reason == RLM_HTTP_AUTH || http->reason == RLM_HTTP_SPENT;
    verdict->what = http->verdict != RLM_HTTP_NEVER ? RETRY : stop ? STOP : FAILED;
    verdict->error_class = http->error_class;
    verdict->message = message != NULL ? message : json_is_string(error) ? json_string_value(error) : "no message";
    snprintf(verdict->code, sizeof verdict->code, "http_%ld", verdict->status);
}

static struct verdict judge(struct transfer *transfer, CURLcode code) {
    struct verdict verdict = {ANSWERED, RLM_CLASS_SERVER, 0, NULL, "", NULL};
    const char *text = transfer->answer.length != 0 ? transfer->answer.data : "";
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &verdict.status);
    rlm_http_end(&transfer->http, code == CURLE_OK ? (int)verdict.status : 0, text, transfer->answer.length);
    if (code != CURLE_OK) {
        judge_failure(&verdict, transfer, code);
        return verdict;
    }
    verdict.body = json_loadb(text, transfer->answer.length, JSON_ALLOW_NUL, NULL);
    if (transfer->http.verdict != RLM_HTTP_OK) {
        judge_status(&verdict, transfer);
    } else if (!json_is_object(verdict.body)) {
        verdict.what = RETRY;
        verdict.message = "the answer is not a JSON object";
        strcpy(verdict.code, "bad_answer");
    }
    return verdict;
}

/* ---- Results --------------------------------------------------------------------------------- */

/* Lines are finished in any order; low follows. */
static void finish_line(struct run *run, uint64_t line) {
    run->open[line % WINDOW] = false;
    while (run->low <= run->source.line && !run->open[run->low % WINDOW]) run->low++;
}

static void write_result(struct run *run, const struct task *task, const struct verdict *verdict, const struct buffer *answer) {
    struct buffer line = {0};
    json_t *head = must(json_pack("{s:s,s:I,s:I,s:I}", "custom_id", task->request.custom_id, "line",
                                  (json_int_t)task->request.line, "status", (json_int_t)verdict->status, "attempts",
                                  (json_int_t)task->attempts));
    buffer_json(&line, head);
    line.length--; /* the closing brace */
    buffer_puts(&line, ",\"response\":");
    if (verdict->body != NULL) buffer_compact(&line, answer->data, answer->length);
    else buffer_puts(&line, "null");
    buffer_puts(&line, ",\"error\":");
    if (verdict->what == ANSWERED) {
        buffer_puts(&line, "null");
    } else {
        json_t *error = must(json_pack("{s:s,s:s}", "code", verdict->code, "message", verdict->message));
        buffer_json(&line, error);
        json_decref(error);
    }
    buffer_puts(&line, "}\n");
    output_write(&run->output, line.data, line.length);
    json_decref(head);
    free(line.data);
}

/* The task is finished. While its permit is out it stays, asleep. */
static void finish_task(struct run *run, struct task *task, const struct verdict *verdict, const struct buffer *answer) {
    write_result(run, task, verdict, answer);
    finish_line(run, task->request.line);
    if (verdict->what == ANSWERED) run->statistics.completed++;
    else if (run->statistics.failed++ == 0) /* the others are in OUTPUT */
        fprintf(stderr, "%sbatch: first failure: line %" PRIu64 ": %s: %s\n", run->bar_drawn ? "\n" : "",
                (uint64_t)task->request.line, verdict->code, verdict->message != NULL ? verdict->message : "no message");
    if (task->attempts > 0) run->active--;
    task->finished = true;
    if (!task->permit_out) free_task(run, task);
}

static void finish_impossible(struct run *run, struct task *task) {
    struct verdict verdict = {FAILED, RLM_CLASS_FATAL, 0, NULL, "larger_than_limit", NULL};
    char message[160];
    int binding = -1;
    rlm_check(&run->limiter, &task->cost, rlm_now(), &binding);
    snprintf(message, sizeof message, "%" PRIu64 " input and %" PRIu64 " output tokens are more than the limit on %s ever admits",
             task->cost.input_tokens, task->cost.output_tokens, binding_name(run, binding));
    verdict.message = message;
    finish_task(run, task, &verdict, NULL);
}

static uint64_t read_tokens(const json_t *usage, const char *name) {
    json_int_t tokens = json_integer_value(json_object_get(usage, name));
    return tokens > 0 && tokens <= TOKENS_MAX ? (uint64_t)tokens : 0;
}

/* What an answer stays charged, by its usage and the provider's rules. */
static rlm_cost read_usage(struct run *run, const struct task *task, const json_t *body) {
    const json_t *object = json_object_get(body, "usage");
    const rlm_http_profile *profile = &run->options.profile;
    rlm_http_usage usage = {0, 0, 0, 0, 0};
    usage.input_tokens = read_tokens(object, "prompt_tokens");
    usage.cache_read_tokens = read_tokens(json_object_get(object, "prompt_tokens_details"), "cached_tokens");
    usage.output_tokens = read_tokens(object, "completion_tokens");
    usage.output_max = task->estimate.output_tokens;
    if (usage.cache_read_tokens > usage.input_tokens) usage.cache_read_tokens = usage.input_tokens;
    usage.input_tokens -= usage.cache_read_tokens;
    if (usage.input_tokens + usage.cache_read_tokens + usage.output_tokens == 0) return task->cost;
    run->statistics.tokens += usage.input_tokens + usage.cache_read_tokens + usage.output_tokens;
    if (profile->reserves_output && !profile->refunds_output) return task->cost; /* the server keeps its own estimate */
    rlm_cost actual = rlm_http_charge(profile, &usage);
    rlm_route_learn(&run->route, &task->estimate, &actual);
    return actual;
}

/* What is charged for a request that a limit refused: it counts, its tokens do not. If the server says how
   many they are, that is learned. */
static rlm_cost refused_cost(struct run *run, const struct task *task, const rlm_feedback *feedback) {
    rlm_cost nothing = {1, 0, 0, 0, 0}, told = nothing;
    uint64_t output = task->cost.output_tokens;
    if (feedback->named == 1u << RLM_TOKENS && feedback->requested <= TOKENS_MAX && feedback->requested > output) {
        told.input_tokens = feedback->requested - output;
        rlm_route_learn(&run->route, &task->estimate, &told);
    }
    return nothing;
}

/* Says something once. */
static void note(struct run *run, bool *said, const char *what, const char *detail) {
    if (*said) return;
    *said = true;
    fprintf(stderr, "%sbatch: %s%s\n", run->bar_drawn ? "\n" : "", what, detail);
    run->bar_drawn = false;
}

static void stop(struct run *run, int code, const char *why, const char *detail) {
    if (run->stopped != 0) return;
    run->stopped = code;
    fprintf(stderr, "%sbatch: %s%s%s\n", run->bar_drawn ? "\n" : "", why, detail ? ": " : "", detail ? detail : "");
    run->bar_drawn = false;
}

/* Sends it again later, unless that was the last attempt. If none could even be sent, the others
   fare no better: the run stops rather than fail them all. */
static void retry_or_fail(struct run *run, struct task *task, struct verdict *verdict, const struct transfer *transfer,
                          bool sent, uint64_t now_ns) {
    uint64_t delay_ns = rlm_backoff_next(&run->plan, &task->backoff, verdict->error_class, RLM_NORMAL, transfer->http.wait_ns);
    if (delay_ns == RLM_NEVER && !sent) {
        fprintf(stderr, "%sbatch: --url %s\n", run->bar_drawn ? "\n" : "", run->options.url);
        stop(run, EXIT_REFUSED, "the API cannot be reached", verdict->message);
    }
    if (run->stopped != 0) return; /* it is not finished: the next run sends it */
    if (!sent) note(run, &run->said_unreachable, "not reached, trying again: ", verdict->message);
    if (transfer->http.capped != 0)
        note(run, &run->said_cut, "the server asks for a longer wait than --retry-after-max: it is cut", "");
    if (delay_ns == RLM_NEVER) {
        verdict->what = FAILED;
        finish_task(run, task, verdict, &transfer->answer);
        return;
    }
    run->statistics.retried++;
    task->retry_at_ns = now_ns + delay_ns;
    if (!task->permit_out) push_task(run, run->asleep, task, task->retry_at_ns, now_ns);
}

/* An exchange has ended. Where the server may not know that yet, as after a timeout, its place among
   those in flight is kept for the guard time longer. */
static void complete(struct run *run, struct transfer *transfer, CURLcode code) {
    struct task *task = transfer->task;
    struct verdict verdict = judge(transfer, code);
    uint64_t now_ns = rlm_now();
    rlm_cost actual = task->cost;
    long request_bytes = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    if (task->permit_out) rlm_observe(&run->limiter, &task->permit, &transfer->http.feedback, now_ns);
    if (verdict.what == ANSWERED) actual = read_usage(run, task, verdict.body);
    if (transfer->http.feedback.outcome == RLM_REFUSED) actual = refused_cost(run, task, &transfer->http.feedback);
    if (verdict.status == 429) run->statistics.rejected++;
    bool sent = code == CURLE_OK || request_bytes != 0;
    if (!sent && task->permit_out) {
        rlm_cancel(&run->limiter, &task->permit, now_ns);
        task->permit_out = false;
    } else if (code == CURLE_OK) {
        settle(run, task, &actual);
    }
    if (task->permit_out) push_task(run, run->asleep, task, now_ns + run->options.guard_ms * MS_NS, now_ns);
    if (verdict.what == ANSWERED) run->statistics.answered++;
    if (verdict.what == RETRY) retry_or_fail(run, task, &verdict, transfer, sent, now_ns);
    else if (verdict.what == STOP) stop(run, EXIT_REFUSED, "the API does not permit this run", verdict.message);
    else finish_task(run, task, &verdict, &transfer->answer);
    json_decref(verdict.body);
    free_transfer(run, transfer);
}

/* ---- Scheduling ------------------------------------------------------------------------------ */

static volatile sig_atomic_t signals;

static void on_signal(int number) {
    (void)number;
    if (++signals > 2) _exit(EXIT_STOPPED);
}

static void count_earlier(struct run *run, const struct result *result) {
    run->statistics.earlier++;
    if (result->failed) run->statistics.failed++;
    else run->statistics.completed++;
}

/* Reads requests while there is room for them. */
static void load(struct run *run, uint64_t now_ns) {
    struct request request;
    const struct result *result = NULL;
    while (!run->input_ended && run->stopped == 0 && run->free_task != NULL && run->held_bytes < HELD_BYTES &&
           run->source.line + 1 < run->low + WINDOW) {
        enum next next = source_next(&run->source, &request, &result);
        if (next == NEXT_END) run->input_ended = true;
        if (next == NEXT_COPY) output_copy(&run->output, result);
        if (next == NEXT_COPY || next == NEXT_EARLIER) count_earlier(run, result);
        bool request_seen = next == NEXT_NEW || next == NEXT_COPY || next == NEXT_EARLIER;
        if (!run->total_known && request_seen) run->statistics.requests++;
        if (next == NEXT_NEW) {
            run->open[request.line % WINDOW] = true;
            push_task(run, run->queue, make_task(run, &request), RLM_NO_DEADLINE, now_ns);
        }
        while (run->low <= run->source.line && !run->open[run->low % WINDOW]) run->low++;
    }
}

/* Those asleep whose time has come give back their permit, or join the queue. */
static void wake(struct run *run, uint64_t now_ns) {
    uint64_t index;
    while (rlm_queue_expire(run->asleep, now_ns, NULL, &index)) {
        struct task *task = &run->tasks[index];
        settle(run, task, &task->cost);
        if (task->finished) free_task(run, task);
        else if (task->retry_at_ns > now_ns) push_task(run, run->asleep, task, task->retry_at_ns, now_ns);
        else push_task(run, run->queue, task, RLM_NO_DEADLINE, now_ns);
    }
}

/* Sends what is admitted, in order. Returns the ns until the next may be. */
static uint64_t send_ready(struct run *run) {
    uint64_t handle, index;
    run->wait_ns = 0;
    run->binding = -1;
    while (run->stopped == 0 && rlm_queue_head(run->queue, &handle, &index)) {
        struct task *task = &run->tasks[index];
        uint64_t now_ns = rlm_now(), wait_ns = run->free_transfer == NULL ? RLM_ON_RELEASE : admit(run, task, now_ns);
        if (wait_ns != 0 && wait_ns != RLM_NEVER) {
            run->wait_ns = wait_ns;
            run->binding = (int)run->limit_count - 1;
            if (wait_ns != RLM_ON_RELEASE) rlm_check(&run->limiter, &task->cost, now_ns, &run->binding);
            return wait_ns;
        }
        rlm_queue_remove(run->queue, handle);
        if (wait_ns == 0) send_task(run, task);
        else finish_impossible(run, task);
    }
    return RLM_ON_RELEASE;
}

/* Takes in the exchanges that ended. Returns how many. */
static size_t receive(struct run *run) {
    size_t count = 0;
    int running, left;
    CURLMsg *message;
    CURLMcode status = curl_multi_perform(run->multi, &running);
    if (status != CURLM_OK) die(EXIT_IO, "libcurl: %s", curl_multi_strerror(status));
    while ((message = curl_multi_info_read(run->multi, &left)) != NULL) {
        void *transfer = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        complete(run, transfer, code);
        count++;
    }
    return count;
}

static void heed_signals(struct run *run) {
    if (signals > 0) stop(run, EXIT_STOPPED, "stopping when the answers in flight are here; a second signal does not wait for them", NULL);
    if (signals < 2) return;
    for (size_t i = 0; i < run->options.most_in_flight; i++)
        if (run->transfers[i].task != NULL) free_transfer(run, &run->transfers[i]);
}

static bool is_over(const struct run *run) {
    if (run->in_flight > 0) return false;
    return run->stopped != 0 || (run->input_ended && run->active == 0 && rlm_queue_count(run->queue) == 0);
}

/* ---- Progress -------------------------------------------------------------------------------- */

static uint64_t results_now(const struct run *run) { return run->statistics.completed + run->statistics.failed; }

#define SAMPLES (sizeof((struct run *)0)->sample / sizeof(uint64_t))

static void take_sample(struct run *run, uint64_t now_ns) {
    for (; now_ns >= run->sample_at_ns; run->sample_at_ns += RLM_SECOND_NS)
        run->sample[run->samples++ % SAMPLES] = results_now(run);
}

/* Results a second, over the last ten seconds at most. */
static double recent_rate(const struct run *run, uint64_t now_ns) {
    size_t kept = SAMPLES, span = run->samples < kept ? run->samples : kept;
    uint64_t since = run->sample[(run->samples - span) % kept];
    double seconds = (double)(now_ns + span * RLM_SECOND_NS - run->sample_at_ns) / 1e9;
    return seconds > 0.1 ? (double)(results_now(run) - since) / seconds : 0;
}

static void report_line(struct run *run, char *text, size_t room, uint64_t now_ns) {
    uint64_t now = results_now(run), total = run->statistics.requests;
    double rate = recent_rate(run, now_ns), eta = rate > 0 ? (double)(total - now) / rate : 0;
    char until[24] = "?", wait[32] = "";
    if (run->total_known && rate > 0 && eta < 3600000)
        snprintf(until, sizeof until, "%u:%02u", (unsigned)eta / 60, (unsigned)eta % 60);
    if (run->wait_ns >= RLM_SECOND_NS && run->wait_ns < RLM_ON_RELEASE)
        snprintf(wait, sizeof wait, " %.0f s", (double)run->wait_ns / 1e9);
    snprintf(text, room, "%" PRIu64 "/%" PRIu64 "%s  %.1f/s  ETA %s  binding: %s%s  429s: %" PRIu64, now, total,
             run->total_known ? "" : "+", rate, until, binding_name(run, run->binding), wait, run->statistics.rejected);
}

static void report(struct run *run, uint64_t now_ns, bool terminal, bool last) {
    char text[160], bar[41] = "";
    uint64_t every_ns = terminal ? RLM_SECOND_NS / 10 : 5 * RLM_SECOND_NS, total = run->statistics.requests;
    if (run->options.quiet || (!last && now_ns - run->last_report_ns < every_ns) || (last && !run->bar_drawn)) return;
    run->last_report_ns = now_ns;
    report_line(run, text, sizeof text, now_ns);
    if (!terminal) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    size_t filled = total > 0 ? (size_t)(results_now(run) * 20 / total) : 0;
    for (size_t i = 0; i < 20; i++) bar[i] = i < filled ? '#' : '.';
    fprintf(stderr, "\r[%s] %s\033[K%s", bar, text, last ? "\n" : "");
    fflush(stderr);
    run->bar_drawn = !last;
}

/* ---- Main ------------------------------------------------------------------------------------ */

static void open_input(struct run *run) {
    struct source *source = &run->source;
    struct stat in, out;
    source->name = strcmp(run->options.input, "-") == 0 ? "(standard input)" : run->options.input;
    source->file = strcmp(run->options.input, "-") == 0 ? stdin : fopen(run->options.input, "r");
    source->defaults = (struct defaults){run->options.model, run->options.max_tokens};
    if (source->file == NULL || fstat(fileno(source->file), &in) != 0) die(EXIT_IO, "%s: %s", source->name, strerror(errno));
    if (S_ISDIR(in.st_mode)) die(EXIT_IO, "%s: a directory", source->name);
    if (stat(run->options.output, &out) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
        die(EXIT_INPUT, "%s: INPUT and OUTPUT are the same file", source->name);
    run->total_known = S_ISREG(in.st_mode) && source->file != stdin;
}

/* Says what is wrong in INPUT before anything is sent, and counts. */
static void check_input(struct run *run) {
    struct request request;
    const struct result *result = NULL;
    enum next next;
    while ((next = source_next(&run->source, &request, &result)) != NEXT_END) {
        if (next != NEXT_MALFORMED && next != NEXT_BLANK) run->statistics.requests++;
        if (next == NEXT_NEW) request_free(&request);
    }
    source_rewind(&run->source);
    run->source.quiet = true;
}

static void prepare(struct run *run) {
    struct sigaction action;
    size_t capacity = run->options.most_in_flight + READ_AHEAD;
    make_limiter(run);
    make_plan(run);
    open_input(run);
    output_open(&run->output, &run->source, run->options.output, run->options.retry_failed);
    if (run->total_known) check_input(run);
    use_up_quota(run);
    make_transfers(run);
    run->queue = make_queue(capacity);
    run->asleep = make_queue(capacity);
    run->tasks = must(calloc(capacity, sizeof *run->tasks));
    for (size_t i = capacity; i > 0; i--) {
        run->tasks[i - 1].next_free = run->free_task;
        run->free_task = &run->tasks[i - 1];
    }
    run->low = 1;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

/* How long nothing needs doing, in ms, rounded up: at least 1, so that waiting never spins. */
static int pause_ms(const struct run *run, uint64_t wait_ns, uint64_t now_ns) {
    uint64_t wake_ns = rlm_queue_deadline(run->asleep), longest_ns = RLM_SECOND_NS / 10;
    if (wake_ns != RLM_NO_DEADLINE) {
        uint64_t sleep_ns = wake_ns > now_ns ? wake_ns - now_ns : 1;
        if (sleep_ns < wait_ns) wait_ns = sleep_ns;
    }
    if (wait_ns > longest_ns) wait_ns = longest_ns;
    return (int)((wait_ns + MS_NS - 1) / MS_NS) + (wait_ns == 0);
}

static void work(struct run *run, bool terminal) {
    run->started_ns = run->last_sync_ns = run->last_report_ns = run->sample_at_ns = rlm_now();
    for (;;) {
        uint64_t now_ns = rlm_now();
        heed_signals(run);
        wake(run, now_ns);
        load(run, now_ns);
        uint64_t wait_ns = send_ready(run);
        size_t ended = receive(run);
        if (is_over(run)) break;
        now_ns = rlm_now();
        if (now_ns - run->last_sync_ns >= RLM_SECOND_NS) {
            output_sync(&run->output);
            run->last_sync_ns = now_ns;
        }
        take_sample(run, now_ns);
        report(run, now_ns, terminal, false);
        if (ended == 0 && run->in_flight + run->task_count > 0)
            curl_multi_poll(run->multi, NULL, 0, pause_ms(run, wait_ns, now_ns), NULL);
    }
    run->statistics.seconds = (double)(rlm_now() - run->started_ns) / 1e9;
    report(run, rlm_now(), terminal, true);
}

int main(int count, char **words) {
    static struct run run;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    read_options(&run.options, count, words);
    if (run.options.stats != NULL) write_statistics(&run.statistics, json_array(), run.options.stats); /* better now than after hours */
    prepare(&run);
    work(&run, isatty(STDERR_FILENO) != 0);
    output_finish(&run.output, run.stopped == 0);
    json_t *learned = learned_limits(&run);
    print_limits(learned);
    if (run.options.stats != NULL) write_statistics(&run.statistics, learned, run.options.stats);
    else json_decref(learned);
    if (run.stopped != 0)
        fprintf(stderr, "batch: stopped with %" PRIu64 " of %" PRIu64 "%s finished; the same command goes on from here\n",
                results_now(&run), run.statistics.requests, run.total_known ? "" : " or more");
    print_statistics(&run.statistics);
    if (run.stopped != 0) return run.stopped;
    return run.source.malformed > 0 ? EXIT_INPUT : run.statistics.failed > 0 ? EXIT_FAILED : EXIT_DONE;
}
