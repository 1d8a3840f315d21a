/* batch_options.h - the command line of batch.c */

#ifndef BATCH_OPTIONS_H
#define BATCH_OPTIONS_H

#include <curl/curl.h>
#include <getopt.h>
#include <strings.h>

#include "batch_files.h"

#define CONCURRENCY_MAX 4096
#define LEAST_IN_FLIGHT 1  /* if --concurrency is not given */
#define MOST_IN_FLIGHT 64

enum policy { POLICY_BUCKET, POLICY_WINDOW, POLICY_FIXED, POLICY_UNKNOWN, POLICY_USUAL };
enum charge { CHARGE_ESTIMATE, CHARGE_ACTUAL, CHARGE_USUAL };
enum start { START_AUTO, START_FULL, START_EMPTY };

struct options {
    const char *input, *output, *url, *key, *model, *stats;
    uint64_t rpm, tpm, concurrency, most_in_flight, period_ms, guard_ms, max_tokens, timeout_ms, retry_after_max_ms, ramp_ms, retries, seed;
    int policy, start, charge, follow;
    rlm_http_profile profile;
    bool no_limit, retry_failed, quiet;
};

static const char usage[] =
    "usage: batch [options] INPUT OUTPUT\n"
    "\n"
    "INPUT (a file, or - for standard input) has a request on each line:\n"
    "  {\"custom_id\": \"...\", \"prompt\": \"...\"}            or\n"
    "  {\"custom_id\": \"...\", \"body\": {\"messages\": ...}}   custom_id may be left out\n"
    "OUTPUT gets a line for each as it completes. If it has some already, the run goes on from there.\n"
    "\n"
    "  --url URL             base of the API; URL/v1/chat/completions is called\n"
    "                        (default https://api.openai.com)\n"
    "  --key-env NAME        environment variable with the key (default OPENAI_API_KEY)\n"
    "  --model NAME          for requests that name none\n"
    "  --max-tokens N        sent with a prompt, reserved for a body that names none (default 256)\n"
    "limits (those of the provider that you do not give are learned from the answers)\n"
    "  --provider NAME       whose rules hold: openai (default), azure, bedrock, gemini, groq, cerebras,\n"
    "                        openrouter, litellm, anthropic, generic\n"
    "  --rpm N               requests a minute\n"
    "  --tpm N               tokens a minute, input and output together\n"
    "  --concurrency N       requests in flight (default: found by trying, 1 to 64)\n"
    "  --follow HOW          where the server says otherwise than --rpm and --tpm: shrink below them,\n"
    "                        fixed as given, or follow (default shrink)\n"
    "  --period SECONDS      the server counts in periods of this length (default: as the provider, mostly\n"
    "                        60). --rpm and --tpm are still by the minute\n"
    "  --policy NAME         how it counts: bucket, window, fixed or unknown (default: as the provider)\n"
    "  --guard-ms N          the most by which the time to reach the server varies (default 200)\n"
    "  --charge WHAT         what stays charged for an answer: estimate or actual (default: as the provider)\n"
    "  --estimate chars      how tokens are estimated: 4 characters each, and the maximum of output\n"
    "  --start HOW           the quota at the start: full, empty, or auto: empty if an earlier run\n"
    "                        has just used it (default auto)\n"
    "  --ramp SECONDS        after \"slow down\" (503, an acceleration limit) the pace goes back to what it was, is held\n"
    "                        so long, and climbs by a quarter a minute: \"binding: ramp\" (default 900, 0: never)\n"
    "  --no-limit            only --concurrency and retries, for comparison\n"
    "failures\n"
    "  --timeout SECONDS     for each attempt (default 600)\n"
    "  --retries N           for each request (default 8)\n"
    "  --retry-after-max SECONDS  a longer wait that a header asks for is cut to this (default 3600)\n"
    "  --retry-failed        send again those whose result is an error\n"
    "  --seed N              of the random part of retry delays (default 1)\n"
    "report\n"
    "  --stats-json FILE     final counts\n"
    "  --quiet               no progress\n"
    "  --version, --help\n"
    "\n"
    "exit status: 0 all succeeded, 1 some failed, 2 malformed input or options, 3 the API does not\n"
    "permit the run (key, spent quota) or cannot be reached, 4 stopped by a signal, 5 a file cannot\n"
    "be read or written\n";

static uint64_t read_count(const char *name, const char *text, uint64_t least, uint64_t most) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < least || value > most)
        die(EXIT_INPUT, "--%s %s: not a whole number from %" PRIu64 " to %" PRIu64, name, text, least, most);
    return value;
}

static uint64_t read_seconds(const char *name, const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0.001 && value <= 86400))
        die(EXIT_INPUT, "--%s %s: not a number of seconds from 0.001 to 86400", name, text);
    return (uint64_t)(value * 1000 + 0.5);
}

/* The index of text in a list of words that ends with a null. */
static int read_word(const char *name, const char *text, const char *const *words) {
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(text, words[i]) == 0) return i;
    fprintf(stderr, "batch: --%s %s: not one of", name, text);
    for (int i = 0; words[i] != NULL; i++) fprintf(stderr, " %s", words[i]);
    fputc('\n', stderr);
    exit(EXIT_INPUT);
}

static const char *read_url(const char *text) {
    size_t length = strlen(text);
    CURLU *parts = must(curl_url());
    bool http = strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0;
    if (!http || curl_url_set(parts, CURLUPART_URL, text, 0) != CURLUE_OK || strpbrk(text, "?#") != NULL)
        die(EXIT_INPUT, "--url %s: not an http:// or https:// address without query", text);
    curl_url_cleanup(parts);
    while (length > 0 && text[length - 1] == '/') length--;
    if (length > 3 && strncmp(text + length - 3, "/v1", 3) == 0) length -= 3;
    char *url = must(malloc(length + sizeof "/v1/chat/completions"));
    memcpy(url, text, length);
    strcpy(url + length, "/v1/chat/completions");
    return url;
}

static const char *read_key(const char *name) {
    const char *key = getenv(name);
    if (key == NULL || *key == '\0') die(EXIT_INPUT, "--key-env %s: this environment variable is not set", name);
    for (const char *c = key; *c != '\0'; c++)
        if ((unsigned char)*c <= 0x20 || *c == 0x7f)
            die(EXIT_INPUT, "--key-env %s: the key has a space or control character", name);
    return key;
}

static const struct option long_options[] = {
    {"url", 1, NULL, 'u'},       {"key-env", 1, NULL, 'k'},  {"model", 1, NULL, 'm'},       {"max-tokens", 1, NULL, 'x'},
    {"rpm", 1, NULL, 'r'},       {"tpm", 1, NULL, 't'},      {"concurrency", 1, NULL, 'c'}, {"period", 1, NULL, 'p'},
    {"policy", 1, NULL, 'P'},    {"guard-ms", 1, NULL, 'g'}, {"charge", 1, NULL, 'C'},      {"estimate", 1, NULL, 'e'},
    {"start", 1, NULL, 'S'},     {"no-limit", 0, NULL, 'n'}, {"timeout", 1, NULL, 'T'},     {"retries", 1, NULL, 'R'},
    {"retry-failed", 0, NULL, 'f'}, {"seed", 1, NULL, 's'},  {"stats-json", 1, NULL, 'j'},  {"quiet", 0, NULL, 'q'},
    {"provider", 1, NULL, 'o'},  {"follow", 1, NULL, 'w'},   {"retry-after-max", 1, NULL, 'a'}, {"ramp", 1, NULL, 'A'},
    {"version", 0, NULL, 'V'},   {"help", 0, NULL, 'h'},     {NULL, 0, NULL, 0}};

static void read_provider(struct options *options, const char *name, const char *text) {
    if (rlm_http_profile_of(text, &options->profile)) return;
    die(EXIT_INPUT, "--%s %s: not one of openai azure bedrock gemini groq cerebras openrouter litellm anthropic generic", name, text);
}

/* What the provider's rules say where the command line says nothing, and the other way about. */
static void complete_options(struct options *options) {
    static const int policy_of_kind[] = {POLICY_BUCKET, POLICY_UNKNOWN, POLICY_UNKNOWN, POLICY_FIXED};
    static const uint32_t kind_of_policy[] = {RLM_BUCKET, RLM_WINDOW, RLM_CALENDAR, RLM_WINDOW};
    rlm_http_profile *profile = &options->profile;
    if (options->policy == POLICY_USUAL) options->policy = policy_of_kind[profile->kind];
    profile->kind = kind_of_policy[options->policy];
    if (options->charge == CHARGE_ACTUAL) profile->refunds_output = 1;
    if (options->charge == CHARGE_ESTIMATE) profile->refunds_output = 0;
    for (size_t i = 0; options->period_ms != 0 && i < sizeof profile->period_ns / sizeof *profile->period_ns; i++)
        profile->period_ns[i] = options->period_ms * 1000000;
    profile->periods_known = options->period_ms != 0;
    profile->output_default = options->max_tokens;
    profile->retry_after_max_ns = options->retry_after_max_ms * 1000000;
    options->most_in_flight = options->concurrency != 0 ? options->concurrency : MOST_IN_FLIGHT;
}

static void read_option(struct options *options, int letter, const char *name, const char *value, const char **key_env) {
    static const char *const policies[] = {"bucket", "window", "fixed", "unknown", NULL};
    static const char *const follows[] = {"shrink", "fixed", "follow", NULL};
    static const char *const starts[] = {"auto", "full", "empty", NULL};
    static const char *const charges[] = {"estimate", "actual", NULL};
    static const char *const estimates[] = {"chars", NULL};
    switch (letter) {
    case 'u': options->url = value; break;
    case 'k': *key_env = value; break;
    case 'm': options->model = value; break;
    case 'x': options->max_tokens = read_count(name, value, 1, UINT64_C(1) << 30); break;
    case 'r': options->rpm = read_count(name, value, 1, UINT64_C(1000000000)); break;
    case 't': options->tpm = read_count(name, value, 1, UINT64_C(1000000000000)); break;
    case 'c': options->concurrency = read_count(name, value, 1, CONCURRENCY_MAX); break;
    case 'p': options->period_ms = read_seconds(name, value); break;
    case 'P': options->policy = read_word(name, value, policies); break;
    case 'g': options->guard_ms = read_count(name, value, 0, 86400000); break;
    case 'C': options->charge = read_word(name, value, charges); break;
    case 'o': read_provider(options, name, value); break;
    case 'w': options->follow = read_word(name, value, follows); break;
    case 'a': options->retry_after_max_ms = read_seconds(name, value); break;
    case 'A': options->ramp_ms = strcmp(value, "0") == 0 ? 0 : read_seconds(name, value); break;
    case 'e': (void)read_word(name, value, estimates); break;
    case 'S': options->start = read_word(name, value, starts); break;
    case 'n': options->no_limit = true; break;
    case 'T': options->timeout_ms = read_seconds(name, value); break;
    case 'R': options->retries = read_count(name, value, 0, 1000); break;
    case 'f': options->retry_failed = true; break;
    case 's': options->seed = read_count(name, value, 0, UINT64_MAX); break;
    case 'j': options->stats = value; break;
    case 'q': options->quiet = true; break;
    case 'V': puts("batch " RLM_VERSION); exit(EXIT_DONE);
    case 'h': fputs(usage, stdout); exit(EXIT_DONE);
    default: fputs("batch --help tells the options\n", stderr); exit(EXIT_INPUT);
    }
}

static void read_options(struct options *options, int count, char **words) {
    const char *key_env = "OPENAI_API_KEY";
    int letter, index = 0;
    *options = (struct options){.url = "https://api.openai.com", .guard_ms = 200, .max_tokens = 256,
                                .timeout_ms = 600000, .retry_after_max_ms = 3600000, .ramp_ms = RLM_RAMP_HOLD_NS / 1000000, .retries = 8, .seed = 1,
                                .policy = POLICY_USUAL, .charge = CHARGE_USUAL, .follow = RLM_SHRINK};
    (void)rlm_http_profile_of("openai", &options->profile);
    while ((letter = getopt_long(count, words, "", long_options, &index)) != -1)
        read_option(options, letter, letter == '?' ? "" : long_options[index].name, optarg, &key_env);
    if (count - optind != 2) die(EXIT_INPUT, "%d file names given; two are needed, INPUT and OUTPUT", count - optind);
    options->input = words[optind];
    options->output = words[optind + 1];
    complete_options(options);
    options->url = read_url(options->url);
    options->key = read_key(key_env);
    if (options->guard_ms > (options->period_ms != 0 ? options->period_ms : 60000))
        die(EXIT_INPUT, "--guard-ms %" PRIu64 ": longer than the period", options->guard_ms);
}

#endif
