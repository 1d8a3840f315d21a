/* rlimit_http.h - what a response says of limits - part of rlimit - MIT licence

   Reads status, headers and body of an HTTP response and tells whether to try again, when, and what
   rlm_observe should know: Anthropic, OpenAI, Azure, Bedrock, Gemini, Groq, Cerebras, OpenRouter,
   LiteLLM, and whatever speaks x-ratelimit or the IETF's RateLimit. Any HTTP client will do.

   INSTALL   Copy it beside rlimit.h; RLM_IMPLEMENTATION compiles both.

   USE       rlm_http_profile anthropic;
             rlm_http_profile_of("anthropic", &anthropic);          // plain data: change what you like
             rlm_limit limits[4];                                   // to begin with: all to be learned
             size_t count = rlm_http_limits(&anthropic, limits, 4, (int64_t)(rlm_wall() - rlm_now()));

             rlm_http http;                                         // for each response
             rlm_http_begin(&http, &anthropic, rlm_wall());
             for (each header) rlm_http_header(&http, name, name_bytes, value, value_bytes);
             rlm_http_end(&http, status, body, body_bytes);         // body: of a good answer not needed
             rlm_observe(&limiter, &permit, &http.feedback, rlm_now());

             switch (http.verdict) {
             case RLM_HTTP_OK:    ...                               // rlm_http_charge, rlm_settle
             case RLM_HTTP_RETRY:                                   // the server did not say when
             case RLM_HTTP_WAIT:                                    // it did: that wins, up to plan.retry_after_max_ns
                 delay_ns = rlm_backoff_next(&plan, &retry, http.error_class, RLM_NORMAL, http.wait_ns); ...
             case RLM_HTTP_NEVER: ...                               // http.reason says why
             }

   DOES NOT  allocate, read a clock, use floating point or the locale, or keep a pointer to what it is
             given. What is malformed is ignored; a remaining below 0 is 0. Nothing outside the bytes given is read. */

#ifndef RLM_RLIMIT_HTTP_H
#define RLM_RLIMIT_HTTP_H

#include "rlimit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Profiles -------------------------------------------------------------------------------- */

/* Which headers are read. Retry-After, retry-after-ms, x-should-retry and Date always are. */
enum {
    RLM_HTTP_ANTHROPIC = 1,    /* anthropic-ratelimit-* */
    RLM_HTTP_X = 2,            /* x-ratelimit-* */
    RLM_HTTP_IETF = 4          /* RateLimit, RateLimit-Policy, RateLimit-Limit ... */
};

/* Whose midnight ends a day. */
enum {
    RLM_HTTP_UTC,
    RLM_HTTP_PACIFIC           /* of the United States, with daylight saving time as since 2007 */
};

/* A provider's rules, as plain data: change what you like. */
typedef struct rlm_http_profile {
    const char *name;                          /* "anthropic" */
    uint32_t headers;                          /* RLM_HTTP_ANTHROPIC | ... */
    uint32_t kind;                             /* RLM_BUCKET, RLM_CALENDAR (fixed periods), RLM_WINDOW (not known) */
    uint32_t meters;                           /* 1 << meter of each limit it has */
    uint32_t zone;                             /* where daily quotas begin: RLM_HTTP_UTC ... */
    uint64_t period_ns[RLM_I_METER_COUNT];     /* of the limit of a meter where the headers do not tell; 0: a minute */
    uint64_t rounding[RLM_I_METER_COUNT];      /* remaining is rounded to multiples of this; 0: it is not */
    uint32_t reserves_output;                  /* 1: max_tokens is charged when a request is admitted */
    uint32_t refunds_output;                   /* 1: what was not used of it is given back */
    uint32_t cache_read_permille;              /* of tokens read from a cache, how many count as input at admission */
    uint32_t cache_read_settled_permille;      /* ... and once the answer is there */
    uint32_t cache_write_permille;             /* of tokens written to a cache */
    uint32_t output_permille;                  /* what a token of output counts once it is there: 1000; Bedrock 5000 */
    uint64_t output_default;                   /* reserved where a request names no maximum; 0: what is expected */
    uint64_t retry_after_max_ns;               /* longer waits that a server asks for are cut to this; 0: an hour */
    uint64_t periods_known;                    /* 1: the periods are as above, whatever the figures seem to tell */
} rlm_http_profile;

/* rlm_http_profile_of fills *profile with the profile of that name and returns true; false, and leaves it,
   if there is none. Names (exact): anthropic, openai, azure, bedrock, gemini, groq, cerebras,
   openrouter, litellm, generic (any header, no assumption). For Bedrock set output_default to the model's
   maximum and output_permille to its burndown. Either pointer may be null. Wait-free. */
RLM_I_DECL bool rlm_http_profile_of(const char *name, rlm_http_profile *profile);

/* rlm_http_limits writes the limits of a profile, all to be learned, in the order of meters, at most max.
   wall_offset_ns is the wall clock less the limiter's clock, for those that begin with the minute or
   the day. Returns how many were written. Wait-free. */
RLM_I_DECL size_t rlm_http_limits(const rlm_http_profile *profile, rlm_limit *limits, size_t max, int64_t wall_offset_ns);

/* ---- Responses ------------------------------------------------------------------------------- */

/* What became of a request. */
enum {
    RLM_HTTP_OK,
    RLM_HTTP_RETRY,            /* try again, when is not said: rlm_backoff_next */
    RLM_HTTP_WAIT,             /* try again after wait_ns */
    RLM_HTTP_NEVER             /* as it is it will not succeed */
};

/* Why. */
enum {
    RLM_HTTP_NO_REASON,
    RLM_HTTP_RATE_LIMIT,
    RLM_HTTP_QUOTA_DAY,        /* a quota of a day or several */
    RLM_HTTP_OVERLOAD,
    RLM_HTTP_SERVER,
    RLM_HTTP_NETWORK,
    RLM_HTTP_SPENT,            /* money, not time, helps */
    RLM_HTTP_AUTH,
    RLM_HTTP_TOO_LARGE,        /* more than a limit or the context */
    RLM_HTTP_BAD_REQUEST,
    RLM_HTTP_TOLD              /* x-should-retry: false */
};

#define RLM_I_HTTP_SLOTS 24
#define RLM_I_HTTP_HEADER_SLOTS 12
#define RLM_I_HTTP_POLICIES 4

/* What is gathered of one limit. What is not said is RLM_UNSAID, a period 0. */
typedef struct rlm_i_http_slot {
    uint32_t key;
    uint32_t meter;
    uint64_t limit;
    uint64_t remaining;
    uint64_t reset_ns;         /* a span */
    uint64_t reset_at_ns;      /* a time, ns since 1970 */
    uint64_t resolution_ns;    /* of either */
    uint64_t period_ns;
} rlm_i_http_slot;

/* An item of RateLimit-Policy. */
typedef struct rlm_i_http_policy {
    uint64_t name;             /* hashed; 0: it has none */
    uint64_t limit;
    uint64_t period_ns;
    uint32_t meter;
    uint32_t joined;
} rlm_i_http_policy;

/* An item of RateLimit. */
typedef struct rlm_i_http_item {
    uint64_t name;
    uint64_t remaining;
    uint64_t reset_ns;
} rlm_i_http_item;

/* A response being read, and what it says once rlm_http_end was called. Plain memory, 2.5 kB, for one thread. */
typedef struct rlm_http {
    uint32_t verdict;          /* RLM_HTTP_OK ... */
    uint32_t reason;           /* RLM_HTTP_NO_REASON ... */
    uint32_t error_class;      /* for rlm_backoff_next: RLM_CLASS_; of too many concurrent requests RLM_CLASS_SERVER, as it is soon over */
    uint32_t capped;           /* 1: the server asked for more than retry_after_max_ns */
    uint64_t wait_ns;          /* how long the server asks to wait, also of RLM_HTTP_NEVER; 0: it did not say */
    rlm_feedback feedback;     /* for rlm_observe */
    /* private */
    rlm_http_profile profile;
    uint64_t wall_ns;
    uint64_t date_ns;          /* RLM_UNSAID */
    uint64_t retry_ms_ns;      /* retry-after-ms; 0 */
    uint64_t retry_ns;         /* Retry-After, a span; 0 */
    uint64_t retry_at_ns;      /* ... a time; 0 */
    uint32_t should_retry;     /* bit 0: true was said; bit 1: false */
    uint32_t rejected;         /* unified limits with status rejected: bit 0: 5h; bit 1: 7d */
    uint32_t slots;
    uint32_t policies;
    uint32_t items;
    uint32_t pad;
    rlm_i_http_policy policy[RLM_I_HTTP_POLICIES];
    rlm_i_http_item item[RLM_I_HTTP_POLICIES];
    rlm_i_http_slot slot[RLM_I_HTTP_SLOTS];
} rlm_http;

/* rlm_http_begin begins a response. wall_ns: the time it arrived, ns since 1970 (rlm_wall); it is used where
   the response has no Date; 0: not known. The profile is copied. Wait-free. */
RLM_I_DECL void rlm_http_begin(rlm_http *http, const rlm_http_profile *profile, uint64_t wall_ns);

/* rlm_http_header takes in one header, in any order; unknown ones cost next to nothing. Neither name nor
   value need end with a NUL, and they are not kept. value without folding; it is trimmed. Wait-free. */
RLM_I_DECL void rlm_http_header(rlm_http *http, const char *name, size_t name_bytes, const char *value, size_t value_bytes);

/* rlm_http_end makes up what the response says: the fields verdict to feedback. Call it once. status: of the
   response, 0 if there was none. body: JSON or an event of a stream (data: {...}), of which 64 KiB are
   looked at; null if it is not there, and for a 2xx not needed unless errors come inside streams. Wait-free. */
RLM_I_DECL void rlm_http_end(rlm_http *http, int status, const char *body, size_t body_bytes);

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* Tokens as a provider's usage tells them; those of the cache are not among input_tokens. */
typedef struct rlm_http_usage {
    uint64_t input_tokens;
    uint64_t cache_read_tokens;
    uint64_t cache_write_tokens;
    uint64_t output_tokens;    /* rlm_http_charge */
    uint64_t output_max;       /* max_tokens of the request; 0: it has none */
} rlm_http_usage;

/* rlm_http_estimate returns what to acquire for a request, as the server counts it at admission: 1 request,
   input, and of output its maximum where the server reserves that, else output_expected (tokens, as
   learned), at most the maximum. rlm_http_charge returns what to settle with once usage is known. Both
   are rounded up and at most RLM_AMOUNT_MAX. Wait-free. */
RLM_I_DECL rlm_cost rlm_http_estimate(const rlm_http_profile *profile, const rlm_http_usage *usage, uint64_t output_expected);
RLM_I_DECL rlm_cost rlm_http_charge(const rlm_http_profile *profile, const rlm_http_usage *usage);

#ifdef __cplusplus
}
#endif

#endif /* RLM_RLIMIT_HTTP_H */

#if defined(RLM_IMPLEMENTATION) && !defined(RLM_I_HTTP_IMPLEMENTED)
#define RLM_I_HTTP_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

#define RLM_I_HTTP_SPAN_MAX (UINT64_C(1) << 55)   /* spans saturate here */
#define RLM_I_HTTP_BODY_MAX 65536
#define RLM_I_HTTP_MESSAGE_MAX 2048
#define RLM_I_HTTP_NESTING_MAX 32
#define RLM_I_HTTP_NAME_MAX 48                    /* longer names are not known */
#define RLM_I_HTTP_2020_NS (UINT64_C(1577836800) * RLM_SECOND_NS)

/* -- profiles -- */

#define RLM_I_HTTP_BIT(meter) (UINT32_C(1) << (meter))
#define RLM_I_HTTP_TPM (RLM_I_HTTP_BIT(RLM_REQUESTS) | RLM_I_HTTP_BIT(RLM_TOKENS))
#define RLM_I_HTTP_ITPM (RLM_I_HTTP_BIT(RLM_REQUESTS) | RLM_I_HTTP_BIT(RLM_INPUT_TOKENS))
#define RLM_I_HTTP_IOTPM (RLM_I_HTTP_ITPM | RLM_I_HTTP_BIT(RLM_OUTPUT_TOKENS))
#define RLM_I_HTTP_ALL (RLM_HTTP_ANTHROPIC | RLM_HTTP_X | RLM_HTTP_IETF)
#define RLM_I_HTTP_OTHER (RLM_HTTP_X | RLM_HTTP_IETF)

/* By requests, input, output, tokens, microdollars, custom. */
#define RLM_I_HTTP_MINUTES {0, 0, 0, 0, 0, 0}
#define RLM_I_HTTP_RPD {RLM_DAY_NS, 0, 0, 0, 0, 0}
#define RLM_I_HTTP_EXACT {0, 0, 0, 0, 0, 0}
#define RLM_I_HTTP_THOUSANDS {0, 1000, 1000, 1000, 0, 0}

/* Columns: name, headers, kind, meters, zone, | periods, rounding, | output reserved at admission, given back, | permille of
   cache read, of it when settled, of cache write, of output, | output by default, longest wait, whether periods are certain.
   Sources: "doc" the provider's documentation, "seen" fitted to answers, "careful" not known, so the dearer. */
static const rlm_http_profile rlm_i_http_profiles[] = {
    /* kind doc: continuous refill; rounding doc: nearest thousand; max_tokens not counted, doc 2026; cache read not counted, doc */
    {"anthropic", RLM_HTTP_ANTHROPIC, RLM_BUCKET, RLM_I_HTTP_IOTPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_THOUSANDS, 0, 0, 0, 0, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* kind seen: reset = used / limit x period; max_tokens charged, doc; no refund documented; cached tokens count, doc */
    {"openai", RLM_HTTP_X, RLM_BUCKET, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 1, 0, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* kind doc: a counter reset each minute; prompt + max_tokens, doc; cache careful */
    {"azure", RLM_HTTP_X, RLM_CALENDAR, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 1, 0, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* kind careful; reserve, settling and burndown of 5 (newer models 10, 15) doc; cache read is charged first, then not, doc */
    {"bedrock", RLM_I_HTTP_OTHER, RLM_WINDOW, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 1, 1, 1000, 0, 1000, 5000, 0, RLM_HOUR_NS, 0},
    /* no headers found; kind careful; limits on requests and input tokens doc; midnight Pacific doc; cache careful */
    {"gemini", RLM_I_HTTP_OTHER, RLM_WINDOW, RLM_I_HTTP_ITPM, RLM_HTTP_PACIFIC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 0, 0, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* requests per day, tokens per minute doc; cached tokens free doc; kind seen; reserve careful */
    {"groq", RLM_HTTP_X, RLM_BUCKET, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_RPD, RLM_I_HTTP_EXACT, 1, 0, 0, 0, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* input + max_completion_tokens doc; kind doc: continuous refill; refund and cache careful */
    {"cerebras", RLM_HTTP_X, RLM_BUCKET, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 1, 0, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* unsuffixed headers doc; kind careful; tokens are not limited */
    {"openrouter", RLM_HTTP_X, RLM_WINDOW, RLM_I_HTTP_BIT(RLM_REQUESTS), RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 0, 0, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* upstream headers with a prefix doc; reserves and settles, as its source does; cache careful */
    {"litellm", RLM_I_HTTP_ALL, RLM_BUCKET, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 1, 1, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
    /* careful in everything */
    {"generic", RLM_I_HTTP_ALL, RLM_WINDOW, RLM_I_HTTP_TPM, RLM_HTTP_UTC,
     RLM_I_HTTP_MINUTES, RLM_I_HTTP_EXACT, 1, 0, 1000, 1000, 1000, 1000, 0, RLM_HOUR_NS, 0},
};

RLM_I_DEF bool rlm_http_profile_of(const char *name, rlm_http_profile *profile) {
    size_t i, j;
    if (name == NULL || profile == NULL) return false;
    for (i = 0; i < sizeof rlm_i_http_profiles / sizeof *rlm_i_http_profiles; i++) {
        const char *known = rlm_i_http_profiles[i].name;
        for (j = 0; known[j] == name[j] && known[j] != 0; j++) {}
        if (known[j] != name[j]) continue;
        *profile = rlm_i_http_profiles[i];
        return true;
    }
    return false;
}

RLM_I_DEF size_t rlm_http_limits(const rlm_http_profile *profile, rlm_limit *limits, size_t max, int64_t wall_offset_ns) {
    uint32_t meter;
    size_t count = 0;
    for (meter = 0; meter < RLM_I_METER_COUNT && count < max; meter++) {
        uint64_t period_ns = profile->period_ns[meter];
        if ((profile->meters >> meter & 1) == 0) continue;
        limits[count] = rlm_learned(meter, period_ns != 0 ? period_ns : RLM_MINUTE_NS);
        limits[count].kind = profile->kind;
        limits[count].wall_offset_ns = wall_offset_ns;
        count++;
    }
    return count;
}

/* -- tokens -- */

static uint64_t rlm_i_http_amount(uint64_t amount) { return amount < RLM_AMOUNT_MAX ? amount : RLM_AMOUNT_MAX; }

/* So many thousandths, rounded up. */
static uint64_t rlm_i_http_permille(uint64_t amount, uint64_t permille) {
    amount = rlm_i_http_amount(amount);
    return rlm_i_http_amount(amount / 1000 * permille + (amount % 1000 * permille + 999) / 1000);
}

static rlm_cost rlm_i_http_cost(const rlm_http_profile *profile, const rlm_http_usage *usage, uint64_t read_permille) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    cost.input_tokens = rlm_i_http_amount(rlm_i_http_amount(usage->input_tokens) +
                                          rlm_i_http_permille(usage->cache_read_tokens, read_permille) +
                                          rlm_i_http_permille(usage->cache_write_tokens, profile->cache_write_permille));
    return cost;
}

/* What the server reserves of output; 0 if nothing, or it is not known how much. */
static uint64_t rlm_i_http_reserved(const rlm_http_profile *profile, const rlm_http_usage *usage) {
    if (profile->reserves_output == 0) return 0;
    return rlm_i_http_amount(usage->output_max != 0 ? usage->output_max : profile->output_default);
}

RLM_I_DEF rlm_cost rlm_http_estimate(const rlm_http_profile *profile, const rlm_http_usage *usage, uint64_t output_expected) {
    rlm_cost cost = rlm_i_http_cost(profile, usage, profile->cache_read_permille);
    cost.output_tokens = rlm_i_http_reserved(profile, usage);
    if (cost.output_tokens != 0) return cost;
    if (usage->output_max != 0 && output_expected > usage->output_max) output_expected = usage->output_max;
    cost.output_tokens = rlm_i_http_permille(output_expected, profile->output_permille);
    return cost;
}

RLM_I_DEF rlm_cost rlm_http_charge(const rlm_http_profile *profile, const rlm_http_usage *usage) {
    rlm_cost cost = rlm_i_http_cost(profile, usage, profile->cache_read_settled_permille);
    uint64_t reserved = rlm_i_http_reserved(profile, usage);
    cost.output_tokens = rlm_i_http_permille(usage->output_tokens, profile->output_permille);
    if (profile->refunds_output == 0 && reserved > cost.output_tokens) cost.output_tokens = reserved;
    return cost;
}

/* -- text -- */

/* Bytes from at up to end. */
typedef struct rlm_i_text {
    const char *at;
    const char *end;
} rlm_i_text;

static size_t rlm_i_bytes(rlm_i_text text) { return (size_t)(text.end - text.at); }
static bool rlm_i_is_digit(char c) { return c >= '0' && c <= '9'; }
static bool rlm_i_is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static bool rlm_i_is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static char rlm_i_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static rlm_i_text rlm_i_trim(rlm_i_text text) {
    while (text.at < text.end && rlm_i_is_space(*text.at)) text.at++;
    while (text.at < text.end && rlm_i_is_space(text.end[-1])) text.end--;
    return text;
}

/* Eight bytes at once, in the same order everywhere: compilers make one load of it. */
RLM_I_INLINE RLM_I_HOT uint64_t rlm_i_load_8(const char *at) {
    const unsigned char *byte = (const unsigned char *)at;
    return (uint64_t)byte[0] | (uint64_t)byte[1] << 8 | (uint64_t)byte[2] << 16 | (uint64_t)byte[3] << 24 |
           (uint64_t)byte[4] << 32 | (uint64_t)byte[5] << 40 | (uint64_t)byte[6] << 48 | (uint64_t)byte[7] << 56;
}

RLM_I_INLINE RLM_I_HOT void rlm_i_store_8(char *at, uint64_t value) {
    at[0] = (char)(value & 0xff), at[1] = (char)(value >> 8 & 0xff), at[2] = (char)(value >> 16 & 0xff);
    at[3] = (char)(value >> 24 & 0xff), at[4] = (char)(value >> 32 & 0xff), at[5] = (char)(value >> 40 & 0xff);
    at[6] = (char)(value >> 48 & 0xff), at[7] = (char)(value >> 56 & 0xff);
}

/* A to Z become a to z in each of eight bytes: bit 7 of the sums tells whether a byte is at least A, above Z. */
RLM_I_INLINE RLM_I_HOT uint64_t rlm_i_lower_8(uint64_t bytes) {
    uint64_t low = bytes & UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t from_a = low + UINT64_C(0x3f3f3f3f3f3f3f3f), after_z = low + UINT64_C(0x2525252525252525);
    return bytes | ((from_a ^ after_z) & ~bytes & UINT64_C(0x8080808080808080)) >> 2;
}

static void rlm_i_lower_all(char *to, const char *from, size_t bytes) {
    size_t i;
    for (i = 0; i + 8 <= bytes; i += 8) rlm_i_store_8(to + i, rlm_i_lower_8(rlm_i_load_8(from + i)));
    if (bytes < 8) for (; i < bytes; i++) to[i] = rlm_i_lower(from[i]);
    else if (i < bytes) rlm_i_store_8(to + bytes - 8, rlm_i_lower_8(rlm_i_load_8(from + bytes - 8)));
}

/* Whether so many bytes are the same; with a literal and its length, a few comparisons of words. */
RLM_I_INLINE RLM_I_HOT bool rlm_i_same(const char *a, const char *b, size_t bytes) {
    size_t i;
    for (i = 0; i + 8 <= bytes; i += 8)
        if (rlm_i_load_8(a + i) != rlm_i_load_8(b + i)) return false;
    if (bytes >= 8) return i == bytes || rlm_i_load_8(a + bytes - 8) == rlm_i_load_8(b + bytes - 8);
    for (; i < bytes; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* Whether a text is a literal. */
#define RLM_I_TEXT_IS(at, count, literal) ((count) == sizeof(literal) - 1 && rlm_i_same(at, literal, sizeof(literal) - 1))

static bool rlm_i_text_is(rlm_i_text text, const char *word) {
    while (text.at < text.end && *word != 0 && *text.at == *word) text.at++, word++;
    return text.at == text.end && *word == 0;
}

/* -- numbers -- */

/* A decimal as written. */
typedef struct rlm_i_decimal {
    uint64_t whole;            /* UINT64_MAX if it is more */
    const char *fraction;      /* its digits */
    size_t digits;
} rlm_i_decimal;

/* Reads digits, and a point with digits; moves text on. */
static bool rlm_i_read_decimal(rlm_i_text *text, rlm_i_decimal *decimal) {
    const char *at = text->at;
    uint64_t whole = 0;
    if (at == text->end || !rlm_i_is_digit(*at)) return false;
    for (; at < text->end && rlm_i_is_digit(*at); at++)
        whole = whole < UINT64_MAX / 10 ? whole * 10 + (uint64_t)(*at - '0') : UINT64_MAX;
    decimal->whole = whole;
    decimal->fraction = at;
    decimal->digits = 0;
    if (text->end - at >= 2 && *at == '.' && rlm_i_is_digit(at[1])) {
        decimal->fraction = ++at;
        while (at < text->end && rlm_i_is_digit(*at)) at++;
        decimal->digits = (size_t)(at - decimal->fraction);
    }
    text->at = at;
    return true;
}

/* unit_ns times the decimal, rounded up, at most most. The fraction is divided from its last digit on: floors of
   floors are exact, and what remained anywhere remains in all. */
static uint64_t rlm_i_decimal_ns(const rlm_i_decimal *decimal, uint64_t unit_ns, uint64_t most) {
    uint64_t part = 0, digit;
    bool more = false;
    size_t i;
    if (decimal->whole > most / unit_ns) return most;
    for (i = decimal->digits; i-- > 0;) {
        digit = (uint64_t)(decimal->fraction[i] - '0') * unit_ns + part;
        more |= digit % 10 != 0;
        part = digit / 10;
    }
    part += more;
    return decimal->whole * unit_ns > most - part ? most : decimal->whole * unit_ns + part;
}

/* One unit of its last digit, at least 1 ns. */
static uint64_t rlm_i_decimal_unit(const rlm_i_decimal *decimal, uint64_t unit_ns) {
    size_t i;
    for (i = 0; i < decimal->digits && unit_ns > 1; i++) unit_ns /= 10;
    return unit_ns != 0 ? unit_ns : 1;
}

static uint64_t rlm_i_add_span(uint64_t a, uint64_t b) {
    return a + b < RLM_I_HTTP_SPAN_MAX ? a + b : RLM_I_HTTP_SPAN_MAX;
}

/* A span given as a decimal of units, and nothing else; false if it is not that. */
static bool rlm_i_read_span(rlm_i_text text, uint64_t unit_ns, uint64_t *span_ns) {
    rlm_i_decimal decimal;
    if (!rlm_i_read_decimal(&text, &decimal) || text.at != text.end) return false;
    *span_ns = rlm_i_decimal_ns(&decimal, unit_ns, RLM_I_HTTP_SPAN_MAX);
    return true;
}

/* An amount, and nothing else; below: whether a negative one is read, as 0. */
static bool rlm_i_read_amount(rlm_i_text text, bool below, uint64_t *amount) {
    rlm_i_decimal decimal;
    bool negative = below && text.at < text.end && *text.at == '-';
    if (negative) text.at++;
    if (!rlm_i_read_decimal(&text, &decimal) || text.at != text.end) return false;
    *amount = negative ? 0 : rlm_i_http_amount(decimal.whole);
    return true;
}

/* -- durations as Go prints them -- */

typedef struct rlm_i_unit {
    const char *name;
    uint64_t ns;
} rlm_i_unit;

#define RLM_I_UNITS_OF_GO 9
static const rlm_i_unit rlm_i_units[] = {
    {"s", RLM_SECOND_NS}, {"ms", 1000000}, {"m", RLM_MINUTE_NS}, {"h", RLM_HOUR_NS}, {"d", RLM_DAY_NS},
    {"ns", 1}, {"us", 1000}, {"\302\265s", 1000}, {"\316\274s", 1000}, /* both letters that look like a mu */
    /* and as people write them */
    {"second", RLM_SECOND_NS}, {"seconds", RLM_SECOND_NS}, {"sec", RLM_SECOND_NS}, {"secs", RLM_SECOND_NS},
    {"minute", RLM_MINUTE_NS}, {"minutes", RLM_MINUTE_NS}, {"min", RLM_MINUTE_NS}, {"mins", RLM_MINUTE_NS},
    {"hour", RLM_HOUR_NS}, {"hours", RLM_HOUR_NS}, {"day", RLM_DAY_NS}, {"days", RLM_DAY_NS},
    {"millisecond", 1000000}, {"milliseconds", 1000000}
};

/* Reads a unit, known by its first so many names, and moves text on; 0 if there is none. */
static uint64_t rlm_i_read_unit(rlm_i_text *text, size_t names) {
    rlm_i_text word = *text;
    size_t i;
    while (word.at < text->end && (rlm_i_is_letter(*word.at) || ((unsigned char)*word.at & 0x80) != 0)) word.at++;
    word.end = word.at;
    word.at = text->at;
    for (i = 0; i < names; i++) {
        if (!rlm_i_text_is(word, rlm_i_units[i].name)) continue;
        text->at = word.end;
        return rlm_i_units[i].ns;
    }
    return 0;
}

/* Reads 2m59.56s; with words also "26 seconds". Each part is rounded up. Moves text on. */
static bool rlm_i_read_duration(rlm_i_text *text, bool words, uint64_t *span_ns, uint64_t *resolution_ns) {
    rlm_i_decimal decimal;
    uint64_t unit_ns;
    *span_ns = 0;
    do {
        if (!rlm_i_read_decimal(text, &decimal)) return false;
        if (words && text->at < text->end && *text->at == ' ') text->at++;
        unit_ns = rlm_i_read_unit(text, words ? sizeof rlm_i_units / sizeof *rlm_i_units : RLM_I_UNITS_OF_GO);
        if (unit_ns == 0) return false;
        *span_ns = rlm_i_add_span(*span_ns, rlm_i_decimal_ns(&decimal, unit_ns, RLM_I_HTTP_SPAN_MAX));
    } while (text->at < text->end && rlm_i_is_digit(*text->at));
    *resolution_ns = rlm_i_decimal_unit(&decimal, unit_ns);
    if (decimal.digits == 0 && unit_ns > RLM_SECOND_NS) *resolution_ns = RLM_SECOND_NS;
    return true;
}

/* -- dates -- */

/* Days since 1970 of a day of the Gregorian calendar, year 0 or later. */
static int64_t rlm_i_days(int64_t year, int64_t month, int64_t day) {
    int64_t of_era, era, from_march = month > 2 ? month - 3 : month + 9;
    year -= month <= 2; /* the year begins in March, so that its leap day is its last */
    era = (year >= 0 ? year : year - 399) / 400;
    of_era = year - era * 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

/* What a date and a time of day consist of; -1 is no number. */
typedef struct rlm_i_date {
    int year, month, day, hour, minute, second, offset_minutes;
    uint64_t fraction_ns;
} rlm_i_date;

/* Nanoseconds since 1970, as far as they fit; false if there is no such date. A leap second is the one before. */
static bool rlm_i_date_ns(const rlm_i_date *date, uint64_t *ns) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = date->year % 4 == 0 && (date->year % 100 != 0 || date->year % 400 == 0);
    int64_t seconds;
    if (date->year < 0 || date->month < 1 || date->month > 12 || date->day < 1) return false;
    if (date->day > days[date->month - 1] + (leap && date->month == 2)) return false;
    if (date->hour < 0 || date->hour > 23 || date->minute < 0 || date->minute > 59) return false;
    if (date->second < 0 || date->second > 60) return false;
    seconds = rlm_i_days(date->year, date->month, date->day) * 86400 + date->hour * 3600 +
              (date->minute - date->offset_minutes) * 60 + (date->second < 60 ? date->second : 59);
    if (seconds < 0) *ns = 0;
    else if ((uint64_t)seconds >= UINT64_MAX / RLM_SECOND_NS) *ns = UINT64_MAX - 1;
    else *ns = (uint64_t)seconds * RLM_SECOND_NS + date->fraction_ns;
    return true;
}

/* A number of exactly so many digits, or -1. */
static int rlm_i_digits(const char *at, int count) {
    int number = 0, i;
    for (i = 0; i < count; i++) {
        if (!rlm_i_is_digit(at[i])) return -1;
        number = number * 10 + (at[i] - '0');
    }
    return number;
}

/* 08:49:37 */
static bool rlm_i_read_time(const char *at, rlm_i_date *date) {
    date->hour = rlm_i_digits(at, 2);
    date->minute = rlm_i_digits(at + 3, 2);
    date->second = rlm_i_digits(at + 6, 2);
    return at[2] == ':' && at[5] == ':';
}

/* 2026-11-21T05:42:48.5Z or +01:00 at the end. */
static bool rlm_i_read_rfc3339(rlm_i_text text, uint64_t *ns) {
    rlm_i_date date = {0, 0, 0, 0, 0, 0, 0, 0};
    rlm_i_decimal fraction = {0, NULL, 0};
    const char *at = text.at + 19;
    int hours, minutes;
    if (rlm_i_bytes(text) < 20) return false;
    date.year = rlm_i_digits(text.at, 4);
    date.month = rlm_i_digits(text.at + 5, 2);
    date.day = rlm_i_digits(text.at + 8, 2);
    if (text.at[4] != '-' || text.at[7] != '-' || (rlm_i_lower(text.at[10]) != 't' && text.at[10] != ' ')) return false;
    if (!rlm_i_read_time(text.at + 11, &date)) return false;
    if (*at == '.') {
        fraction.fraction = ++at;
        while (at < text.end && rlm_i_is_digit(*at)) at++;
        fraction.digits = (size_t)(at - fraction.fraction);
        if (fraction.digits == 0) return false;
        date.fraction_ns = rlm_i_decimal_ns(&fraction, RLM_SECOND_NS, RLM_SECOND_NS);
    }
    if (text.end - at == 6 && (*at == '+' || *at == '-') && at[3] == ':') {
        hours = rlm_i_digits(at + 1, 2);
        minutes = rlm_i_digits(at + 4, 2);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return false;
        date.offset_minutes = *at == '+' ? hours * 60 + minutes : -(hours * 60 + minutes);
    } else if (text.end - at != 1 || (*at != 'Z' && *at != 'z')) return false;
    return rlm_i_date_ns(&date, ns);
}

/* 1 to 12 of three lower case letters, or 0. */
static int rlm_i_month(const char *at) {
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    int i;
    for (i = 0; i < 12; i++)
        if (rlm_i_same(at, names + 3 * i, 3)) return i + 1;
    return 0;
}

static const char *const rlm_i_weekdays[] = {"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};

static bool rlm_i_is_weekday(rlm_i_text text, bool whole) {
    size_t i;
    for (i = 0; i < 7; i++)
        if (whole ? rlm_i_text_is(text, rlm_i_weekdays[i]) : rlm_i_same(text.at, rlm_i_weekdays[i], 3)) return true;
    return false;
}

/* Sunday, 06-Nov-94 08:49:37 GMT, in lower case. */
static bool rlm_i_read_rfc850(rlm_i_text text, rlm_i_date *date) {
    rlm_i_text name = text;
    const char *at = text.end - 22;
    if (rlm_i_bytes(text) < 22 + 2 + 6) return false;
    name.end = at - 2;
    if (!rlm_i_is_weekday(name, true) || at[-2] != ',' || at[-1] != ' ') return false;
    date->day = rlm_i_digits(at, 2);
    date->month = rlm_i_month(at + 3);
    date->year = rlm_i_digits(at + 7, 2);
    if (date->year >= 0) date->year += date->year >= 70 ? 1900 : 2000;
    return at[2] == '-' && at[6] == '-' && at[9] == ' ' && rlm_i_read_time(at + 10, date) && rlm_i_same(at + 18, " gmt", 4);
}

/* One of the three forms of a date in HTTP, ns since 1970: Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT;
   Sun Nov  6 08:49:37 1994. */
static bool rlm_i_read_http_date(rlm_i_text value, uint64_t *ns) {
    char lower[40];
    rlm_i_text text;
    rlm_i_date date = {0, 0, 0, 0, 0, 0, 0, 0};
    size_t bytes = rlm_i_bytes(value);
    if (bytes < 24 || bytes > sizeof lower) return false;
    rlm_i_lower_all(lower, value.at, bytes);
    text.at = lower;
    text.end = lower + bytes;
    if (bytes == 29 && lower[3] == ',') {
        date.day = rlm_i_digits(lower + 5, 2);
        date.month = rlm_i_month(lower + 8);
        date.year = rlm_i_digits(lower + 12, 4);
        if (!rlm_i_is_weekday(text, false) || lower[4] != ' ' || lower[7] != ' ' || lower[11] != ' ') return false;
        if (lower[16] != ' ') return false;
        if (!rlm_i_read_time(lower + 17, &date) || !rlm_i_same(lower + 25, " gmt", 4)) return false;
    } else if (bytes == 24) {
        date.day = lower[8] == ' ' ? rlm_i_digits(lower + 9, 1) : rlm_i_digits(lower + 8, 2);
        date.month = rlm_i_month(lower + 4);
        date.year = rlm_i_digits(lower + 20, 4);
        if (!rlm_i_is_weekday(text, false) || lower[3] != ' ' || lower[7] != ' ' || lower[10] != ' ') return false;
        if (lower[19] != ' ') return false;
        if (!rlm_i_read_time(lower + 11, &date)) return false;
    } else if (!rlm_i_read_rfc850(text, &date)) return false;
    return rlm_i_date_ns(&date, ns);
}

/* Seconds that Pacific time is behind UTC: daylight saving time from the second Sunday of March, 10:00 UTC, to the first
   of November, 9:00 UTC. */
static int64_t rlm_i_pacific_behind(int64_t seconds) {
    int64_t year = 1970 + seconds / 31556952, march, november; /* in the last day of one perhaps the next: winter all the same */
    march = rlm_i_days(year, 3, 8);                     /* a Sunday is 3 modulo 7 */
    november = rlm_i_days(year, 11, 1);
    march += (10 - march % 7) % 7;
    november += (10 - november % 7) % 7;
    return seconds >= march * 86400 + 36000 && seconds < november * 86400 + 32400 ? 25200 : 28800;
}

/* How long it is until the next midnight there; a day if the time is not known. */
static uint64_t rlm_i_until_midnight(uint32_t zone, uint64_t at_ns) {
    int64_t now = (int64_t)(at_ns / RLM_SECOND_NS), midnight;
    if (at_ns == 0) return RLM_DAY_NS;
    if (zone != RLM_HTTP_PACIFIC) return RLM_DAY_NS - at_ns % RLM_DAY_NS;
    midnight = ((now + 86400 - rlm_i_pacific_behind(now)) / 86400) * 86400; /* there; a day is added lest it be negative */
    midnight += rlm_i_pacific_behind(midnight + rlm_i_pacific_behind(now));
    return (uint64_t)midnight * RLM_SECOND_NS - at_ns;
}

/* -- headers -- */

enum { RLM_I_FIELD_LIMIT, RLM_I_FIELD_REMAINING, RLM_I_FIELD_RESET, RLM_I_FIELD_NONE };

/* Who says it: the high half of a slot's key, which with meter and period tells one limit from another. */
enum { RLM_I_OF_ANTHROPIC = 1, RLM_I_OF_UNIFIED, RLM_I_OF_X, RLM_I_OF_X_NAMED, RLM_I_OF_X_PROJECT, RLM_I_OF_IETF, RLM_I_OF_BODY };

/* What a header says of a limit. */
typedef struct rlm_i_datum {
    uint32_t field;
    uint32_t is_time;          /* whether value is a time instead of a span */
    uint64_t value;
    uint64_t resolution_ns;
} rlm_i_datum;

/* The slot of a limit; a new one while there are fewer than most; or null. */
static rlm_i_http_slot *rlm_i_slot(rlm_http *http, uint32_t family, uint32_t meter, uint64_t period_ns, uint32_t most) {
    uint32_t key = family << 8 | meter, i;
    rlm_i_http_slot *slot;
    for (i = 0; i < http->slots; i++)
        if (http->slot[i].key == key && (family == RLM_I_OF_IETF || http->slot[i].period_ns == period_ns)) return &http->slot[i];
    if (http->slots >= most) return NULL;
    slot = &http->slot[http->slots++];
    slot->key = key;
    slot->meter = meter;
    slot->limit = slot->remaining = slot->reset_ns = slot->reset_at_ns = RLM_UNSAID;
    slot->resolution_ns = 1;
    slot->period_ns = period_ns;
    return slot;
}

/* Of what is said twice: the smaller limit, the smaller rest, the later reset. */
static void rlm_i_note(rlm_i_http_slot *slot, const rlm_i_datum *datum) {
    uint64_t *reset = datum->is_time != 0 ? &slot->reset_at_ns : &slot->reset_ns;
    if (datum->field == RLM_I_FIELD_LIMIT && datum->value < slot->limit) slot->limit = datum->value;
    if (datum->field == RLM_I_FIELD_REMAINING && datum->value < slot->remaining) slot->remaining = datum->value;
    if (datum->field != RLM_I_FIELD_RESET) return;
    if (*reset == RLM_UNSAID || datum->value > *reset) *reset = datum->value;
    if (datum->resolution_ns > slot->resolution_ns) slot->resolution_ns = datum->resolution_ns;
}

static void rlm_i_note_header(rlm_http *http, uint32_t family, uint32_t meter, uint64_t period_ns, const rlm_i_datum *datum) {
    rlm_i_http_slot *slot = rlm_i_slot(http, family, meter, period_ns, RLM_I_HTTP_HEADER_SLOTS);
    if (slot != NULL) rlm_i_note(slot, datum);
}

/* Seconds below 10^9, then seconds since 1970, from 10^11 milliseconds since 1970. */
static bool rlm_i_read_x_reset(rlm_i_text text, rlm_i_datum *datum) {
    rlm_i_decimal decimal;
    rlm_i_text rest = text;
    uint64_t unit_ns;
    datum->resolution_ns = RLM_SECOND_NS; /* of times, as a Date has no better */
    datum->is_time = 1;
    if (rlm_i_read_decimal(&rest, &decimal) && rest.at == rest.end) {
        if (decimal.whole < 1000000000) {
            datum->is_time = 0;
            datum->value = rlm_i_decimal_ns(&decimal, RLM_SECOND_NS, RLM_I_HTTP_SPAN_MAX);
            datum->resolution_ns = rlm_i_decimal_unit(&decimal, RLM_SECOND_NS);
            return true;
        }
        unit_ns = decimal.whole < UINT64_C(100000000000) ? RLM_SECOND_NS : 1000000;
        datum->value = rlm_i_decimal_ns(&decimal, unit_ns, UINT64_MAX - 1);
        return true;
    }
    if (rlm_i_read_rfc3339(text, &datum->value)) return true;
    datum->is_time = 0;
    return rlm_i_read_duration(&text, false, &datum->value, &datum->resolution_ns) && text.at == text.end;
}

/* The value of a field of an anthropic- or x- header. */
static bool rlm_i_read_datum(rlm_i_text text, bool is_x, rlm_i_datum *datum) {
    if (datum->field == RLM_I_FIELD_LIMIT) return rlm_i_read_amount(text, false, &datum->value);
    if (datum->field == RLM_I_FIELD_REMAINING) return rlm_i_read_amount(text, true, &datum->value);
    if (is_x) return rlm_i_read_x_reset(text, datum);
    datum->is_time = 1;
    datum->resolution_ns = RLM_SECOND_NS;
    return rlm_i_read_rfc3339(text, &datum->value);
}

/* requests, tokens, input-tokens, output-tokens; RLM_I_METER_COUNT: none of them. */
static uint32_t rlm_i_meter_named(const char *at, size_t bytes) {
    if (RLM_I_TEXT_IS(at, bytes, "requests")) return RLM_REQUESTS;
    if (RLM_I_TEXT_IS(at, bytes, "tokens")) return RLM_TOKENS;
    if (RLM_I_TEXT_IS(at, bytes, "input-tokens")) return RLM_INPUT_TOKENS;
    if (RLM_I_TEXT_IS(at, bytes, "output-tokens")) return RLM_OUTPUT_TOKENS;
    return RLM_I_METER_COUNT;
}

/* After "anthropic-ratelimit-unified-": 5h-reset, 7d-utilization ... */
static void rlm_i_read_unified(rlm_http *http, const char *at, size_t bytes, rlm_i_text value) {
    rlm_i_datum datum = {RLM_I_FIELD_REMAINING, 1, 0, RLM_SECOND_NS};
    rlm_i_decimal decimal;
    uint32_t which = *at == '5' ? 1 : 2;
    uint64_t period_ns = which == 1 ? 5 * RLM_HOUR_NS : 7 * RLM_DAY_NS;
    char lower[8];
    if (bytes < 8 || (!rlm_i_same(at, "5h-", 3) && !rlm_i_same(at, "7d-", 3))) return;
    at += 3;
    bytes -= 3;
    if (RLM_I_TEXT_IS(at, bytes, "status")) {
        if (rlm_i_bytes(value) != 8) return;
        rlm_i_lower_all(lower, value.at, 8);
        if (rlm_i_same(lower, "rejected", 8)) http->rejected |= which;
        return;
    }
    if (!rlm_i_read_decimal(&value, &decimal) || value.at != value.end) return;
    if (RLM_I_TEXT_IS(at, bytes, "utilization")) {
        datum.value = rlm_i_decimal_ns(&decimal, 1000000, 1000000); /* millionths, rounded up */
        datum.value = 1000000 - datum.value;
    } else if (RLM_I_TEXT_IS(at, bytes, "reset")) {
        datum.field = RLM_I_FIELD_RESET;
        datum.value = rlm_i_decimal_ns(&decimal, RLM_SECOND_NS, UINT64_MAX - 1);
    } else return;
    rlm_i_note_header(http, RLM_I_OF_UNIFIED, RLM_CUSTOM, period_ns, &datum);
}

/* After "anthropic-ratelimit-": requests-limit, input-tokens-remaining ... */
static void rlm_i_read_anthropic(rlm_http *http, const char *at, size_t bytes, rlm_i_text value) {
    rlm_i_datum datum = {RLM_I_FIELD_NONE, 0, 0, 1};
    uint32_t meter;
    if (bytes > 8 && rlm_i_same(at, "unified-", 8)) {
        rlm_i_read_unified(http, at + 8, bytes - 8, value);
        return;
    }
    if (bytes < 12) return;
    if (rlm_i_same(at + bytes - 6, "-limit", 6)) datum.field = RLM_I_FIELD_LIMIT, bytes -= 6;
    else if (rlm_i_same(at + bytes - 6, "-reset", 6)) datum.field = RLM_I_FIELD_RESET, bytes -= 6;
    else if (rlm_i_same(at + bytes - 10, "-remaining", 10)) datum.field = RLM_I_FIELD_REMAINING, bytes -= 10;
    else return;
    meter = rlm_i_meter_named(at, bytes);
    if (meter == RLM_I_METER_COUNT || !rlm_i_read_datum(value, false, &datum)) return;
    rlm_i_note_header(http, RLM_I_OF_ANTHROPIC, meter, 0, &datum);
}

/* Takes -second, -minute, -hour or -day off the end and returns how long that is; 0: none. */
static uint64_t rlm_i_period_named(const char *at, size_t *bytes) {
    if (*bytes >= 4 && rlm_i_same(at + *bytes - 4, "-day", 4)) { *bytes -= 4; return RLM_DAY_NS; }
    if (*bytes >= 5 && rlm_i_same(at + *bytes - 5, "-hour", 5)) { *bytes -= 5; return RLM_HOUR_NS; }
    if (*bytes >= 7 && rlm_i_same(at + *bytes - 7, "-minute", 7)) { *bytes -= 7; return RLM_MINUTE_NS; }
    if (*bytes >= 7 && rlm_i_same(at + *bytes - 7, "-second", 7)) { *bytes -= 7; return RLM_SECOND_NS; }
    return 0;
}

/* After "x-ratelimit-": limit, remaining-tokens, reset-project-requests-minute ... */
static void rlm_i_read_x(rlm_http *http, const char *at, size_t bytes, rlm_i_text value) {
    rlm_i_datum datum = {RLM_I_FIELD_NONE, 0, 0, 1};
    uint32_t family = RLM_I_OF_X, meter = RLM_REQUESTS;
    uint64_t period_ns;
    size_t field = 5;
    if (bytes >= 5 && rlm_i_same(at, "limit", 5)) datum.field = RLM_I_FIELD_LIMIT;
    else if (bytes >= 5 && rlm_i_same(at, "reset", 5)) datum.field = RLM_I_FIELD_RESET;
    else if (bytes >= 9 && rlm_i_same(at, "remaining", 9)) datum.field = RLM_I_FIELD_REMAINING, field = 9;
    else return;
    at += field;
    bytes -= field;
    period_ns = rlm_i_period_named(at, &bytes);
    if (bytes != 0) {
        if (*at != '-') return;
        family = RLM_I_OF_X_NAMED;
        at++, bytes--;
        if (bytes > 8 && rlm_i_same(at, "project-", 8)) {
            family = RLM_I_OF_X_PROJECT;
            at += 8, bytes -= 8;
        }
        meter = rlm_i_meter_named(at, bytes);
        if (family == RLM_I_OF_X_PROJECT && meter != RLM_TOKENS && meter != RLM_REQUESTS) return;
    }
    if (meter == RLM_I_METER_COUNT || !rlm_i_read_datum(value, true, &datum)) return;
    rlm_i_note_header(http, family, meter, period_ns, &datum);
}

/* -- headers of the IETF -- */

#define RLM_I_HTTP_DROPPED UINT32_C(255) /* a meter that nobody has: bytes, say */

/* Cuts text at the first mark outside of quotes and returns what is before it, trimmed; *closed: no quote is left open. */
static rlm_i_text rlm_i_cut(rlm_i_text *text, char mark, bool *closed) {
    rlm_i_text part = *text;
    const char *at = text->at;
    bool quoted = false;
    for (; at < text->end && (quoted || *at != mark); at++) {
        if (*at == '"') quoted = !quoted;
        else if (quoted && *at == '\\' && at + 1 < text->end) at++;
    }
    part.end = at;
    text->at = at < text->end ? at + 1 : at;
    *closed = !quoted;
    return rlm_i_trim(part);
}

/* Takes the quotes off a string, which is not empty; false if it is neither that nor a token. */
static bool rlm_i_unquote(rlm_i_text *text) {
    const char *at;
    if (*text->at == '"') {
        for (at = text->at + 1; at < text->end && *at != '"'; at++)
            if (*at == '\\') at++;
        if (at != text->end - 1) return false;
        text->at++, text->end--;
        return true;
    }
    for (at = text->at; at < text->end; at++)
        if (rlm_i_is_space(*at) || *at == '"' || *at == '=') return false;
    return true;
}

/* FNV-1a; never 0. */
static uint64_t rlm_i_hash(rlm_i_text text) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; text.at < text.end; text.at++) hash = (hash ^ (unsigned char)*text.at) * UINT64_C(1099511628211);
    return hash != 0 ? hash : 1;
}

/* The meter of a unit: requests, tokens, or none of ours. */
static uint32_t rlm_i_meter_of_unit(rlm_i_text text) {
    char lower[64];
    size_t bytes = rlm_i_bytes(text), i;
    if (bytes > sizeof lower) return RLM_I_HTTP_DROPPED;
    rlm_i_lower_all(lower, text.at, bytes);
    if (RLM_I_TEXT_IS(lower, bytes, "requests")) return RLM_REQUESTS;
    for (i = 0; i + 5 <= bytes; i++)
        if (rlm_i_same(lower + i, "token", 5)) return RLM_TOKENS;
    return RLM_I_HTTP_DROPPED;
}

/* The parameters of an item: those that are well formed and known. */
typedef struct rlm_i_parameters {
    uint64_t q, w, r, t;
    uint32_t meter;
} rlm_i_parameters;

static void rlm_i_read_parameter(rlm_i_text text, rlm_i_parameters *to) {
    rlm_i_text value = text;
    uint64_t number;
    uint32_t meter;
    char first = text.at < text.end ? rlm_i_lower(*text.at) : ' ';
    if (rlm_i_bytes(text) > 3 && first == 'q' && rlm_i_lower(text.at[1]) == 'u' && text.at[2] == '=') {
        value.at += 3;
        meter = rlm_i_unquote(&value) ? rlm_i_meter_of_unit(value) : RLM_I_HTTP_DROPPED;
        if (meter > to->meter) to->meter = meter;
        return;
    }
    if (rlm_i_bytes(text) < 3 || text.at[1] != '=') return;
    value.at += 2;
    if (first == 'q' && rlm_i_read_amount(value, false, &number) && number < to->q) to->q = number;
    if (first == 'r' && rlm_i_read_amount(value, true, &number) && number < to->r) to->r = number;
    if (first == 'w' && rlm_i_read_span(value, RLM_SECOND_NS, &number) && number > to->w) to->w = number;
    if (first == 't' && rlm_i_read_span(value, RLM_SECOND_NS, &number) && (to->t == RLM_UNSAID || number > to->t)) to->t = number;
}

/* Reads an item: its first part and its parameters; false if it is malformed. */
static bool rlm_i_read_item(rlm_i_text *items, rlm_i_text *first, rlm_i_parameters *parameters) {
    bool closed, parts_closed;
    rlm_i_text item = rlm_i_cut(items, ',', &closed);
    parameters->q = parameters->r = parameters->t = RLM_UNSAID;
    parameters->w = 0;
    parameters->meter = RLM_REQUESTS;
    *first = rlm_i_cut(&item, ';', &parts_closed);
    while (closed && item.at < item.end) rlm_i_read_parameter(rlm_i_cut(&item, ';', &parts_closed), parameters);
    return closed && first->at < first->end;
}

static void rlm_i_note_policy(rlm_http *http, uint64_t name, const rlm_i_parameters *said) {
    uint32_t i;
    rlm_i_http_policy *policy;
    for (i = 0; i < http->policies; i++) {
        policy = &http->policy[i];
        if (policy->name != name) continue;
        if (name == 0 && (policy->limit != said->q || policy->period_ns != said->w || policy->meter != said->meter)) continue;
        if (said->q < policy->limit) policy->limit = said->q;
        if (said->w > policy->period_ns) policy->period_ns = said->w;
        if (said->meter > policy->meter) policy->meter = said->meter;
        return;
    }
    if (http->policies == RLM_I_HTTP_POLICIES) return;
    policy = &http->policy[http->policies++];
    policy->name = name;
    policy->limit = said->q;
    policy->period_ns = said->w;
    policy->meter = said->meter;
    policy->joined = 0;
}

/* RateLimit-Policy: "burst";q=100;w=60, 1000;w=3600 */
static void rlm_i_read_policies(rlm_http *http, rlm_i_text value) {
    rlm_i_text first;
    rlm_i_parameters said;
    uint64_t number;
    while (value.at < value.end) {
        if (!rlm_i_read_item(&value, &first, &said)) continue;
        if (rlm_i_read_amount(first, false, &number)) {
            if (number < said.q) said.q = number;
            rlm_i_note_policy(http, 0, &said);
        } else if (rlm_i_unquote(&first)) rlm_i_note_policy(http, rlm_i_hash(first), &said);
    }
}

static void rlm_i_note_item(rlm_http *http, uint64_t name, const rlm_i_parameters *said) {
    rlm_i_http_item *item;
    uint32_t i;
    for (i = 0; i < http->items && http->item[i].name != name; i++) {}
    if (i == RLM_I_HTTP_POLICIES) return;
    item = &http->item[i];
    if (i == http->items) {
        http->items++;
        item->name = name;
        item->remaining = said->r;
        item->reset_ns = said->t;
        return;
    }
    if (said->r < item->remaining) item->remaining = said->r;
    if (said->t != RLM_UNSAID && (item->reset_ns == RLM_UNSAID || said->t > item->reset_ns)) item->reset_ns = said->t;
}

/* A field of the older headers; period_ns is said with the limit, and is that of the smallest. */
static void rlm_i_note_older(rlm_http *http, const rlm_i_datum *datum, uint64_t period_ns) {
    rlm_i_http_slot *slot = rlm_i_slot(http, RLM_I_OF_IETF, RLM_REQUESTS, 0, RLM_I_HTTP_HEADER_SLOTS);
    if (slot == NULL) return;
    if (datum->field == RLM_I_FIELD_LIMIT &&
        (datum->value < slot->limit || (datum->value == slot->limit && period_ns > slot->period_ns)))
        slot->period_ns = period_ns;
    rlm_i_note(slot, datum);
}

static void rlm_i_read_older(rlm_http *http, uint32_t field, rlm_i_text value) {
    rlm_i_datum datum = {RLM_I_FIELD_NONE, 0, 0, 1};
    datum.field = field;
    if (field == RLM_I_FIELD_RESET ? rlm_i_read_span(value, RLM_SECOND_NS, &datum.value)
                                   : rlm_i_read_amount(value, field == RLM_I_FIELD_REMAINING, &datum.value))
        rlm_i_note_older(http, &datum, 0);
}

/* limit=100 and its like, of the older RateLimit. */
static bool rlm_i_read_pair(rlm_http *http, rlm_i_text text) {
    char lower[16];
    size_t bytes = 0;
    rlm_i_text value = text;
    if (*text.at == '"') return false;
    while (text.at + bytes < text.end && text.at[bytes] != '=') bytes++;
    if (text.at + bytes == text.end) return false;
    value.at += bytes + 1;
    if (bytes > sizeof lower) return true;
    rlm_i_lower_all(lower, text.at, bytes);
    if (RLM_I_TEXT_IS(lower, bytes, "limit")) rlm_i_read_older(http, RLM_I_FIELD_LIMIT, value);
    if (RLM_I_TEXT_IS(lower, bytes, "remaining")) rlm_i_read_older(http, RLM_I_FIELD_REMAINING, value);
    if (RLM_I_TEXT_IS(lower, bytes, "reset")) rlm_i_read_older(http, RLM_I_FIELD_RESET, value);
    return true;
}

/* RateLimit: "burst";r=50;t=30, or limit=100, remaining=50, reset=30 */
static void rlm_i_read_items(rlm_http *http, rlm_i_text value) {
    rlm_i_text first;
    rlm_i_parameters said;
    while (value.at < value.end) {
        if (!rlm_i_read_item(&value, &first, &said) || rlm_i_read_pair(http, first)) continue;
        if (rlm_i_unquote(&first)) rlm_i_note_item(http, rlm_i_hash(first), &said);
    }
}

/* RateLimit-Limit: 100, 100;w=60 */
static void rlm_i_read_older_limit(rlm_http *http, rlm_i_text value) {
    rlm_i_datum datum = {RLM_I_FIELD_LIMIT, 0, RLM_UNSAID, 1};
    rlm_i_text first;
    rlm_i_parameters said;
    uint64_t number, period_ns = 0;
    while (value.at < value.end) {
        if (!rlm_i_read_item(&value, &first, &said) || !rlm_i_read_amount(first, false, &number)) continue;
        if (datum.value == RLM_UNSAID) datum.value = number;
        if (number == datum.value && period_ns == 0) period_ns = said.w;
    }
    if (datum.value != RLM_UNSAID) rlm_i_note_older(http, &datum, period_ns);
}

static void rlm_i_read_ietf(rlm_http *http, const char *at, size_t bytes, rlm_i_text value) {
    if (bytes == 0) rlm_i_read_items(http, value);
    else if (RLM_I_TEXT_IS(at, bytes, "-policy")) rlm_i_read_policies(http, value);
    else if (RLM_I_TEXT_IS(at, bytes, "-limit")) rlm_i_read_older_limit(http, value);
    else if (RLM_I_TEXT_IS(at, bytes, "-remaining")) rlm_i_read_older(http, RLM_I_FIELD_REMAINING, value);
    else if (RLM_I_TEXT_IS(at, bytes, "-reset")) rlm_i_read_older(http, RLM_I_FIELD_RESET, value);
}

/* -- headers of all -- */

static void rlm_i_read_retry_after(rlm_http *http, rlm_i_text value) {
    uint64_t at;
    if (rlm_i_read_span(value, RLM_SECOND_NS, &at)) {
        if (at > http->retry_ns) http->retry_ns = at;
    } else if (rlm_i_read_http_date(value, &at)) {
        if (at > http->retry_at_ns) http->retry_at_ns = at;
    }
}

static void rlm_i_read_retry_after_ms(rlm_http *http, rlm_i_text value) {
    uint64_t span_ns;
    if (rlm_i_read_span(value, 1000000, &span_ns) && span_ns > http->retry_ms_ns) http->retry_ms_ns = span_ns;
}

static void rlm_i_read_should_retry(rlm_http *http, rlm_i_text value) {
    char lower[8];
    size_t bytes = rlm_i_bytes(value);
    if (bytes > sizeof lower) return;
    rlm_i_lower_all(lower, value.at, bytes);
    if (RLM_I_TEXT_IS(lower, bytes, "true")) http->should_retry |= 1;
    if (RLM_I_TEXT_IS(lower, bytes, "false")) http->should_retry |= 2;
}

/* A date that is out of date is of no use, or a test's. */
static void rlm_i_read_date(rlm_http *http, rlm_i_text value) {
    uint64_t at_ns, apart_ns;
    if (!rlm_i_read_http_date(value, &at_ns) || at_ns < RLM_I_HTTP_2020_NS) return;
    apart_ns = at_ns > http->wall_ns ? at_ns - http->wall_ns : http->wall_ns - at_ns;
    if (http->wall_ns != 0 && apart_ns > 365 * RLM_DAY_NS) return;
    if (at_ns < http->date_ns) http->date_ns = at_ns;
}

RLM_I_DEF void rlm_http_begin(rlm_http *http, const rlm_http_profile *profile, uint64_t wall_ns) {
    http->profile = *profile;
    http->wall_ns = wall_ns;
    http->date_ns = RLM_UNSAID;
    http->retry_ms_ns = http->retry_ns = http->retry_at_ns = 0;
    http->should_retry = http->rejected = 0;
    http->slots = http->policies = http->items = http->pad = 0;
    http->verdict = RLM_HTTP_OK;
    http->reason = RLM_HTTP_NO_REASON;
    http->error_class = RLM_CLASS_SERVER;
    http->capped = 0;
    http->wait_ns = 0;
    http->feedback.outcome = RLM_ANSWERED;
    http->feedback.named = 0;
    http->feedback.retry_after_ns = http->feedback.requested = RLM_UNSAID;
    http->feedback.count = http->feedback.pad = 0;
}

/* The headers whose names begin with r. */
static void rlm_i_read_r(rlm_http *http, const char *lower, size_t bytes, rlm_i_text value) {
    if (RLM_I_TEXT_IS(lower, bytes, "retry-after")) rlm_i_read_retry_after(http, value);
    else if (RLM_I_TEXT_IS(lower, bytes, "retry-after-ms")) rlm_i_read_retry_after_ms(http, value);
    else if (bytes >= 9 && rlm_i_same(lower, "ratelimit", 9) && (http->profile.headers & RLM_HTTP_IETF) != 0)
        rlm_i_read_ietf(http, lower + 9, bytes - 9, value);
}

RLM_I_DEF void rlm_http_header(rlm_http *http, const char *name, size_t name_bytes, const char *value, size_t value_bytes) {
    char lower[RLM_I_HTTP_NAME_MAX];
    rlm_i_text text;
    if (name_bytes > 13 && rlm_i_lower(*name) == 'l') {
        rlm_i_lower_all(lower, name, 13);
        if (!rlm_i_same(lower, "llm_provider-", 13)) return;
        name += 13;
        name_bytes -= 13;
    }
    if (name_bytes < 4 || name_bytes > RLM_I_HTTP_NAME_MAX) return;
    if (value_bytes == 0) return;
    lower[0] = rlm_i_lower(*name);
    if (lower[0] != 'a' && lower[0] != 'x' && lower[0] != 'r' && lower[0] != 'd') return;
    rlm_i_lower_all(lower, name, name_bytes);
    text.at = value;
    text.end = value + value_bytes;
    text = rlm_i_trim(text);
    if (lower[0] == 'a') {
        if (name_bytes > 20 && rlm_i_same(lower, "anthropic-ratelimit-", 20) && (http->profile.headers & RLM_HTTP_ANTHROPIC) != 0)
            rlm_i_read_anthropic(http, lower + 20, name_bytes - 20, text);
    } else if (lower[0] == 'x') {
        if (RLM_I_TEXT_IS(lower, name_bytes, "x-should-retry")) rlm_i_read_should_retry(http, text);
        else if (name_bytes > 12 && rlm_i_same(lower, "x-ratelimit-", 12) && (http->profile.headers & RLM_HTTP_X) != 0)
            rlm_i_read_x(http, lower + 12, name_bytes - 12, text);
    } else if (lower[0] == 'r') rlm_i_read_r(http, lower, name_bytes, text);
    else if (RLM_I_TEXT_IS(lower, name_bytes, "date")) rlm_i_read_date(http, text);
}

/* -- readings -- */

/* The time from which resets count; 0: not known. */
static uint64_t rlm_i_reference(const rlm_http *http) { return http->date_ns != RLM_UNSAID ? http->date_ns : http->wall_ns; }

static uint64_t rlm_i_until(uint64_t at_ns, uint64_t from_ns) {
    uint64_t span_ns = at_ns > from_ns ? at_ns - from_ns : 0;
    return span_ns < RLM_I_HTTP_SPAN_MAX ? span_ns : RLM_I_HTTP_SPAN_MAX;
}

static void rlm_i_set_period(rlm_i_http_slot *slot, const rlm_i_http_policy *policy) {
    if (policy->period_ns > slot->period_ns) slot->period_ns = policy->period_ns;
}

/* An older form with a limit belongs to the first policy of that limit; without, to the only one. */
static void rlm_i_join_older(rlm_http *http) {
    rlm_i_http_slot *slot = NULL;
    uint32_t i;
    for (i = 0; i < http->slots; i++)
        if (http->slot[i].key == (RLM_I_OF_IETF << 8 | RLM_REQUESTS)) slot = &http->slot[i];
    if (slot == NULL || http->items != 0) return;
    for (i = 0; i < http->policies; i++) {
        rlm_i_http_policy *policy = &http->policy[i];
        bool whole = slot->limit == RLM_UNSAID && http->policies == 1;
        if (policy->meter != RLM_REQUESTS || policy->limit == RLM_UNSAID || (!whole && policy->limit != slot->limit)) continue;
        if (slot->period_ns != 0 && policy->period_ns != 0 && slot->period_ns != policy->period_ns) continue;
        slot->limit = policy->limit;
        rlm_i_set_period(slot, policy);
        policy->joined = 1;
        return;
    }
}

/* Makes a slot of a policy (or null) and an item (or null). */
static void rlm_i_join(rlm_http *http, const rlm_i_http_policy *policy, const rlm_i_http_item *item) {
    rlm_i_http_slot *slot;
    uint32_t meter = policy != NULL ? policy->meter : (uint32_t)RLM_REQUESTS;
    if (meter == RLM_I_HTTP_DROPPED || http->slots == RLM_I_HTTP_SLOTS) return;
    slot = &http->slot[http->slots++];
    slot->key = RLM_I_OF_IETF << 8 | RLM_I_HTTP_DROPPED; /* nobody looks for it */
    slot->meter = meter;
    slot->limit = policy != NULL ? policy->limit : RLM_UNSAID;
    slot->period_ns = policy != NULL ? policy->period_ns : 0;
    slot->remaining = item != NULL ? item->remaining : RLM_UNSAID;
    slot->reset_ns = item != NULL ? item->reset_ns : RLM_UNSAID;
    slot->reset_at_ns = RLM_UNSAID;
    slot->resolution_ns = 1;
}

/* Joins RateLimit-Policy and RateLimit by name; the only one of each also without. */
static void rlm_i_join_policies(rlm_http *http) {
    bool alone = http->policies == 1 && http->items == 1;
    uint32_t i, j;
    rlm_i_join_older(http);
    for (i = 0; i < http->policies; i++) {
        const rlm_i_http_policy *policy = &http->policy[i];
        for (j = 0; j < http->items && http->item[j].name != policy->name; j++) {}
        if (alone) j = 0;
        if (policy->joined == 0) rlm_i_join(http, policy, j < http->items ? &http->item[j] : NULL);
    }
    for (j = 0; j < http->items && !alone; j++) {
        for (i = 0; i < http->policies && http->policy[i].name != http->item[j].name; i++) {}
        if (i == http->policies) rlm_i_join(http, NULL, &http->item[j]);
    }
}

/* a * b / divisor, rounded up or down; UINT64_MAX if it does not fit. */
static uint64_t rlm_i_scale(uint64_t a, uint64_t b, uint64_t divisor, bool up) {
    uint64_t high = rlm_i_mul_high(a, b), remainder, quotient;
    if (high == 0) return a * b / divisor + (up && a * b % divisor != 0);
    if (high >= divisor) return UINT64_MAX;
    quotient = rlm_i_divide(high, a * b, divisor, &remainder);
    return quotient + (up && remainder != 0 && quotient != UINT64_MAX);
}

/* The period of a bucket that is full again after reset: what is used comes back in reset, the limit in a period. What
   remains was rounded, and so was the reset; a debt does not show. A reset told as a time of day is held against Date,
   which is cut to a second, and may be later than the figures by as long as the answer took. */
static void rlm_i_infer(rlm_reading *reading, uint64_t resolution_ns, bool of_day) {
    uint64_t used, slack = reading->rounding, reset_ns = reading->reset_ns;
    if (reading->limit == RLM_UNSAID || reading->remaining == RLM_UNSAID || reset_ns == RLM_UNSAID || reset_ns == 0) return;
    used = reading->limit - reading->remaining;
    if (used == 0) return;
    if (of_day) resolution_ns += RLM_SECOND_NS;
    if (reset_ns > resolution_ns && reading->remaining != 0)
        reading->period_least_ns = rlm_i_scale(reset_ns - resolution_ns, reading->limit, used + slack, false);
    if (reading->period_least_ns > RLM_I_HTTP_SPAN_MAX) reading->period_least_ns = RLM_I_HTTP_SPAN_MAX;
    if (used > 1 + slack && !of_day)
        reading->period_most_ns = rlm_i_scale(reset_ns + resolution_ns, reading->limit, used - 1 - slack, true);
    if (reading->period_most_ns > RLM_I_HTTP_SPAN_MAX) reading->period_most_ns = RLM_UNSAID;
}

/* Fills a reading; false if it says neither a limit nor what remains. */
static bool rlm_i_make_reading(const rlm_http *http, const rlm_i_http_slot *slot, rlm_reading *reading) {
    uint32_t family = slot->key >> 8;
    uint64_t usual_ns = http->profile.period_ns[slot->meter], reset_ns, from_ns = rlm_i_reference(http);
    *reading = rlm_reading_none(slot->meter);
    reading->limit = slot->limit;
    reading->remaining = slot->remaining;
    if (family == RLM_I_OF_UNIFIED && slot->remaining != RLM_UNSAID) reading->limit = 1000000;
    if (reading->limit == RLM_UNSAID && reading->remaining == RLM_UNSAID) return false;
    if (reading->remaining != RLM_UNSAID && reading->remaining > reading->limit) reading->remaining = reading->limit;
    reading->rounding = (rlm_i_http_amount(http->profile.rounding[slot->meter]) + 1) / 2;
    reading->reset_ns = slot->reset_ns;
    if (slot->reset_at_ns != RLM_UNSAID && from_ns != 0) {
        reset_ns = rlm_i_until(slot->reset_at_ns, from_ns);
        if (reading->reset_ns == RLM_UNSAID || reset_ns > reading->reset_ns) reading->reset_ns = reset_ns;
    }
    reading->period_ns = slot->period_ns != 0 ? slot->period_ns : usual_ns != 0 ? usual_ns : RLM_MINUTE_NS;
    if (slot->period_ns != 0) reading->period_least_ns = reading->period_most_ns = slot->period_ns;
    else if (http->profile.kind == RLM_BUCKET && http->profile.periods_known == 0 && (family == RLM_I_OF_ANTHROPIC || family == RLM_I_OF_X ||
                                                  family == RLM_I_OF_X_NAMED || family == RLM_I_OF_X_PROJECT))
        rlm_i_infer(reading, slot->resolution_ns, slot->reset_at_ns != RLM_UNSAID);
    return true;
}

/* Whether the limits on input and output are told, so that their most restrictive under the name tokens says nothing new. */
static bool rlm_i_has_both_tokens(const rlm_http *http) {
    uint32_t i;
    for (i = 0; i < http->slots; i++) {
        const rlm_i_http_slot *slot = &http->slot[i];
        if (slot->key >> 8 != RLM_I_OF_ANTHROPIC || (slot->meter != RLM_INPUT_TOKENS && slot->meter != RLM_OUTPUT_TOKENS)) continue;
        if (slot->limit != RLM_UNSAID || slot->remaining != RLM_UNSAID) return true;
    }
    return false;
}

/* Makes the readings, in the order of meters. */
static void rlm_i_make_readings(rlm_http *http) {
    rlm_feedback *feedback = &http->feedback;
    uint32_t skipped = rlm_i_has_both_tokens(http) ? (uint32_t)(RLM_I_OF_ANTHROPIC << 8 | RLM_TOKENS) : 0;
    uint32_t meter, i, present = 0;
    for (i = 0; i < http->slots; i++) present |= RLM_I_HTTP_BIT(http->slot[i].meter);
    for (meter = 0; meter < RLM_I_METER_COUNT; meter++) {
        if ((present & RLM_I_HTTP_BIT(meter)) == 0) continue;
        for (i = 0; i < http->slots && feedback->count < RLM_READINGS_MAX; i++) {
            if (http->slot[i].meter != meter || http->slot[i].key == skipped) continue;
            if (rlm_i_make_reading(http, &http->slot[i], &feedback->reading[feedback->count])) feedback->count++;
        }
    }
}

/* -- JSON -- */

/* A value is a text that begins with it; its end is found when needed. Absent is empty. */
static const rlm_i_text rlm_i_absent = {NULL, NULL};

static const char *rlm_i_skip_space(rlm_i_text text) {
    while (text.at < text.end && rlm_i_is_space(*text.at)) text.at++;
    return text.at;
}

/* Behind a string; null if it does not end. */
static const char *rlm_i_string_end(rlm_i_text text) {
    for (text.at++; text.at < text.end && *text.at != '"'; text.at++)
        if (*text.at == '\\' && ++text.at == text.end) return NULL;
    return text.at < text.end ? text.at + 1 : NULL;
}

/* Behind a value; null if it does not end or is nested too deep. */
static const char *rlm_i_value_end(rlm_i_text text) {
    uint32_t depth = 0;
    do {
        char c;
        text.at = rlm_i_skip_space(text);
        if (text.at >= text.end) return NULL;
        c = *text.at;
        if (c == '"') {
            text.at = rlm_i_string_end(text);
            if (text.at == NULL) return NULL;
        } else if (c == '{' || c == '[') {
            if (depth++ == RLM_I_HTTP_NESTING_MAX) return NULL;
            text.at++;
        } else if (c == '}' || c == ']' || c == ',' || c == ':') {
            if (depth == 0) return NULL;
            depth -= c == '}' || c == ']';
            text.at++;
        } else {
            while (text.at < text.end && !rlm_i_is_space(*text.at) && *text.at != ',' && *text.at != '}' && *text.at != ']' &&
                   *text.at != ':' && *text.at != '"' && *text.at != '{' && *text.at != '[')
                text.at++;
        }
    } while (depth != 0);
    return text.at;
}

/* \u0041, of which ASCII is told and the rest is a byte that no text has. */
static char rlm_i_unescape_u(const char *at) {
    uint32_t code = 0;
    int i;
    for (i = 0; i < 4; i++) {
        char c = rlm_i_lower(at[i]);
        if (!rlm_i_is_digit(c) && !(c >= 'a' && c <= 'f')) return (char)0x7f;
        code = code << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return code < 0x7f ? (char)code : (char)0x7f;
}

/* Copies what a string says, at most most bytes; returns how many, or SIZE_MAX if it is no string. */
static size_t rlm_i_unescape(rlm_i_text text, char *to, size_t most) {
    const char *at = text.at, *end;
    size_t count = 0;
    if (at >= text.end || *at != '"' || (end = rlm_i_string_end(text)) == NULL) return SIZE_MAX;
    for (at++; at < end - 1 && count < most; at++) {
        char c = *at;
        if (c == '\\') {
            c = *++at;
            if (c == 'n' || c == 'r' || c == 't') c = c == 'n' ? '\n' : c == 'r' ? '\r' : '\t';
            else if (c == 'u' && end - 1 - at > 4) {
                c = rlm_i_unescape_u(at + 1);
                at += 4;
            }
        }
        to[count++] = c;
    }
    return count;
}

/* Whether a string is a word of at most 63 bytes. */
static bool rlm_i_string_is(rlm_i_text text, const char *word) {
    char said[64];
    rlm_i_text whole;
    size_t bytes = rlm_i_unescape(text, said, sizeof said);
    if (bytes >= sizeof said) return false;
    whole.at = said;
    whole.end = said + bytes;
    return rlm_i_text_is(whole, word);
}

/* The value of a member of an object; absent if it has none, or what is before it is malformed. */
static rlm_i_text rlm_i_member(rlm_i_text object, const char *name) {
    rlm_i_text key;
    object.at = rlm_i_skip_space(object);
    if (object.at >= object.end || *object.at != '{') return rlm_i_absent;
    object.at++;
    for (;;) {
        key = object;
        key.at = rlm_i_skip_space(key);
        if (key.at >= key.end || *key.at != '"' || (object.at = rlm_i_string_end(key)) == NULL) return rlm_i_absent;
        object.at = rlm_i_skip_space(object);
        if (object.at >= object.end || *object.at != ':') return rlm_i_absent;
        object.at++;
        object.at = rlm_i_skip_space(object);
        if (rlm_i_string_is(key, name)) return object;
        object.at = rlm_i_value_end(object);
        if (object.at == NULL) return rlm_i_absent;
        object.at = rlm_i_skip_space(object);
        if (object.at >= object.end || *object.at != ',') return rlm_i_absent;
        object.at++;
    }
}

static bool rlm_i_begins(rlm_i_text text, char c) { return text.at < text.end && *text.at == c; }

/* The next element of an array, into which rest was entered behind [; absent at its end. */
static rlm_i_text rlm_i_next(rlm_i_text *rest) {
    rlm_i_text element = *rest;
    if (rest->at == NULL) return rlm_i_absent;
    element.at = rlm_i_skip_space(element);
    if (element.at >= element.end || *element.at == ']') return rlm_i_absent;
    rest->at = rlm_i_value_end(element);
    if (rest->at != NULL) {
        rest->at = rlm_i_skip_space(*rest);
        rest->at = rlm_i_begins(*rest, ',') ? rest->at + 1 : NULL;
    }
    return element;
}

/* -- bodies -- */

/* Words by which errors are known. */
enum {
    RLM_I_WORD_SPENT = 1, RLM_I_WORD_RATE = 2, RLM_I_WORD_OVERLOADED = 4, RLM_I_WORD_SLOW_DOWN = 8, RLM_I_WORD_TOO_LARGE = 16,
    RLM_I_WORD_UNAVAILABLE = 32
};

static const struct { const char *text; uint32_t word; } rlm_i_words[] = {
    {"insufficient_quota", RLM_I_WORD_SPENT}, {"enforced_spend_limit_reached", RLM_I_WORD_SPENT},
    {"billing_hard_limit_reached", RLM_I_WORD_SPENT}, {"rate_limit_exceeded", RLM_I_WORD_RATE},
    {"rate_limit_error", RLM_I_WORD_RATE}, {"RESOURCE_EXHAUSTED", RLM_I_WORD_RATE},
    {"overloaded_error", RLM_I_WORD_OVERLOADED}, {"server_is_overloaded", RLM_I_WORD_OVERLOADED},
    {"slow_down", RLM_I_WORD_SLOW_DOWN}, {"UNAVAILABLE", RLM_I_WORD_UNAVAILABLE},
    {"context_length_exceeded", RLM_I_WORD_TOO_LARGE}, {"request_too_large", RLM_I_WORD_TOO_LARGE},
    {"string_above_max_length", RLM_I_WORD_TOO_LARGE}
};

/* What a body says. */
typedef struct rlm_i_body {
    uint32_t is_error;
    uint32_t words;
    uint32_t named;
    uint32_t per_day;          /* a quota of Google's of a day */
    uint64_t code;             /* a number */
    uint64_t delay_ns;         /* retryDelay; 0 */
    size_t bytes;              /* of message, in lower case */
    char message[RLM_I_HTTP_MESSAGE_MAX];
} rlm_i_body;

/* Where a phrase, in lower case, ends at or after from; 0: nowhere. */
static size_t rlm_i_find(const char *text, size_t bytes, size_t from, const char *phrase) {
    size_t i, j;
    for (i = from; i < bytes; i++) {
        for (j = 0; phrase[j] != 0 && i + j < bytes && text[i + j] == phrase[j]; j++) {}
        if (phrase[j] == 0) return i + j;
    }
    return 0;
}

static bool rlm_i_says(const rlm_i_body *body, const char *phrase) {
    return rlm_i_find(body->message, body->bytes, 0, phrase) != 0;
}

/* Whether text, up to bytes, ends with a literal. */
#define RLM_I_ENDS(text, bytes, literal) \
    ((bytes) >= sizeof(literal) - 1 && rlm_i_same((text) + (bytes) - (sizeof(literal) - 1), literal, sizeof(literal) - 1))

static uint32_t rlm_i_word_of(rlm_i_text string) {
    size_t i;
    for (i = 0; i < sizeof rlm_i_words / sizeof *rlm_i_words; i++)
        if (rlm_i_string_is(string, rlm_i_words[i].text)) return rlm_i_words[i].word;
    return 0;
}

/* A number, or a string of one. */
static bool rlm_i_read_number(rlm_i_text value, uint64_t *number) {
    char said[40];
    rlm_i_text text;
    size_t bytes;
    const char *end;
    if (rlm_i_begins(value, '"')) {
        bytes = rlm_i_unescape(value, said, sizeof said);
        if (bytes >= sizeof said) return false;
        text.at = said;
        text.end = said + bytes;
        return rlm_i_read_amount(rlm_i_trim(text), false, number);
    }
    end = value.at < value.end ? rlm_i_value_end(value) : NULL;
    if (end == NULL) return false;
    value.end = end;
    return rlm_i_read_amount(value, false, number);
}

/* Copies what a string says in lower case. */
static size_t rlm_i_unescape_lower(rlm_i_text string, char *to, size_t most) {
    size_t bytes = rlm_i_unescape(string, to, most);
    if (bytes == SIZE_MAX) return 0;
    rlm_i_lower_all(to, to, bytes);
    return bytes;
}

static bool rlm_i_has(const char *a, size_t a_bytes, const char *b, size_t b_bytes, const char *phrase) {
    return rlm_i_find(a, a_bytes, 0, phrase) != 0 || rlm_i_find(b, b_bytes, 0, phrase) != 0;
}

/* One violation of a QuotaFailure. */
static void rlm_i_read_violation(rlm_http *http, rlm_i_body *body, rlm_i_text violation) {
    char id[256], metric[256];
    size_t id_bytes = rlm_i_unescape_lower(rlm_i_member(violation, "quotaId"), id, sizeof id);
    size_t metric_bytes = rlm_i_unescape_lower(rlm_i_member(violation, "quotaMetric"), metric, sizeof metric);
    uint32_t meter = RLM_REQUESTS;
    uint64_t period_ns = 0;
    rlm_i_datum datum = {RLM_I_FIELD_REMAINING, 0, 0, 1};
    rlm_i_http_slot *slot;
    if (!rlm_i_begins(violation, '{')) return;
    if (rlm_i_has(id, id_bytes, metric, metric_bytes, "token")) meter = RLM_TOKENS;
    if (rlm_i_has(id, id_bytes, metric, metric_bytes, "inputtoken")) meter = RLM_INPUT_TOKENS;
    if (rlm_i_has(id, id_bytes, metric, metric_bytes, "input_token")) meter = RLM_INPUT_TOKENS;
    if (rlm_i_find(id, id_bytes, 0, "perminute") != 0) period_ns = RLM_MINUTE_NS;
    if (rlm_i_find(id, id_bytes, 0, "perday") != 0) {
        period_ns = RLM_DAY_NS;
        body->per_day = 1;
    }
    body->named |= RLM_I_HTTP_BIT(meter);
    if (!rlm_i_read_number(rlm_i_member(violation, "quotaValue"), &datum.value)) return;
    slot = rlm_i_slot(http, RLM_I_OF_BODY, meter, period_ns, RLM_I_HTTP_SLOTS);
    if (slot == NULL) return;
    if (datum.value < slot->limit) slot->limit = datum.value;
    slot->remaining = 0;
}

/* An item of Google's details: a RetryInfo, a QuotaFailure or something else. */
static void rlm_i_read_detail(rlm_http *http, rlm_i_body *body, rlm_i_text detail) {
    char said[128];
    size_t bytes = rlm_i_unescape(rlm_i_member(detail, "@type"), said, sizeof said);
    uint64_t resolution_ns, delay_ns;
    rlm_i_text text, rest;
    if (bytes >= sizeof said) return;
    if (RLM_I_ENDS(said, bytes, "RetryInfo")) {
        bytes = rlm_i_unescape(rlm_i_member(detail, "retryDelay"), said, sizeof said);
        if (bytes >= sizeof said) return;
        text.at = said;
        text.end = said + bytes;
        if (rlm_i_read_duration(&text, false, &delay_ns, &resolution_ns) && text.at == text.end && delay_ns > body->delay_ns)
            body->delay_ns = delay_ns;
    } else if (RLM_I_ENDS(said, bytes, "QuotaFailure")) {
        rest = rlm_i_member(detail, "violations");
        if (!rlm_i_begins(rest, '[')) return;
        rest.at++;
        for (text = rlm_i_next(&rest); text.at != NULL; text = rlm_i_next(&rest)) rlm_i_read_violation(http, body, text);
    }
}

static void rlm_i_read_message(rlm_i_body *body, rlm_i_text string) {
    body->bytes = rlm_i_unescape_lower(string, body->message, sizeof body->message);
}

/* An error: an object, or a string that is its message. */
static void rlm_i_read_error(rlm_http *http, rlm_i_body *body, rlm_i_text error) {
    rlm_i_text code, details, item;
    if (rlm_i_begins(error, '"')) {
        rlm_i_read_message(body, error);
        return;
    }
    code = rlm_i_member(error, "code");
    details = rlm_i_member(error, "details");
    rlm_i_read_message(body, rlm_i_member(error, "message"));
    body->words = rlm_i_word_of(code) | rlm_i_word_of(rlm_i_member(error, "type")) | rlm_i_word_of(rlm_i_member(error, "status")) |
                  rlm_i_word_of(rlm_i_member(details, "error_code"));
    if (code.at < code.end && rlm_i_is_digit(*code.at)) (void)rlm_i_read_number(code, &body->code);
    if (!rlm_i_begins(details, '[')) return;
    details.at++;
    for (item = rlm_i_next(&details); item.at != NULL; item = rlm_i_next(&details)) rlm_i_read_detail(http, body, item);
}

/* The error in a document: its own, that of its response, or itself if its type says so. */
static rlm_i_text rlm_i_error_in(rlm_i_text document) {
    rlm_i_text error = rlm_i_member(document, "error");
    if (rlm_i_begins(error, '{') || rlm_i_begins(error, '"')) return error;
    error = rlm_i_member(rlm_i_member(document, "response"), "error");
    if (rlm_i_begins(error, '{') || rlm_i_begins(error, '"')) return error;
    return rlm_i_string_is(rlm_i_member(document, "type"), "error") ? document : rlm_i_absent;
}

/* An object, or the first element of an array if that is one. */
static rlm_i_text rlm_i_document(rlm_i_text text) {
    text.at = rlm_i_skip_space(text);
    if (rlm_i_begins(text, '[')) {
        text.at++;
        text.at = rlm_i_skip_space(text);
    }
    return rlm_i_begins(text, '{') ? text : rlm_i_absent;
}

/* The first error in the lines "data: {...}" of a stream; *first: the first object there. */
static rlm_i_text rlm_i_error_in_stream(rlm_i_text text, rlm_i_text *first) {
    rlm_i_text line = text, document, error;
    while (text.at < text.end) {
        for (line = text; text.at < text.end && *text.at != '\n' && *text.at != '\r'; text.at++) {}
        line.end = text.at;
        if (text.at < text.end) text.at++;
        line = rlm_i_trim(line);
        if (rlm_i_bytes(line) < 5 || !rlm_i_same(line.at, "data:", 5)) continue;
        line.at += 5;
        document = rlm_i_document(line);
        if (first->at == NULL) *first = document;
        error = rlm_i_error_in(document);
        if (error.at != NULL) return error;
    }
    return rlm_i_absent;
}

/* Reads a body. Without an error in it, a failed one is the error itself. */
static void rlm_i_read_body(rlm_http *http, rlm_i_body *body, bool good, rlm_i_text text) {
    rlm_i_text first = rlm_i_absent, error;
    body->is_error = body->words = body->named = body->per_day = 0;
    body->code = body->delay_ns = 0;
    body->bytes = 0;
    text.at = rlm_i_skip_space(text);
    if (rlm_i_begins(text, '{') || rlm_i_begins(text, '[')) {
        first = rlm_i_document(text);
        error = rlm_i_error_in(first);
    } else error = rlm_i_error_in_stream(text, &first);
    if (good && !rlm_i_begins(error, '{')) return;
    if (error.at == NULL) error = first;
    if (error.at == NULL) return;
    body->is_error = 1;
    rlm_i_read_error(http, body, error);
}

/* -- what the message of a refusal says -- */

typedef struct rlm_i_told {
    uint64_t limit;            /* RLM_UNSAID */
    uint64_t used;
    uint64_t requested;
    uint64_t wait_ns;          /* 0 */
    uint64_t period_ns;
    uint32_t named;
    uint32_t per_day;
} rlm_i_told;

/* The number behind a word of that length: "Limit 10000," or "Used: 9,481" */
static uint64_t rlm_i_figure(const rlm_i_body *body, const char *word, size_t length) {
    const char *text = body->message;
    size_t at = 0, begin;
    uint64_t number;
    while ((at = rlm_i_find(text, body->bytes, at, word)) != 0) {
        if (at > length && rlm_i_is_letter(text[at - length - 1])) continue;
        begin = at;
        while (at < body->bytes && (text[at] == ' ' || text[at] == ':')) at++;
        if (at == begin || at == body->bytes || !rlm_i_is_digit(text[at])) continue;
        for (number = 0; at < body->bytes; at++) {
            if (text[at] == ',' && body->bytes - at > 3 && rlm_i_digits(text + at + 1, 3) >= 0 &&
                (body->bytes - at == 4 || !rlm_i_is_digit(text[at + 4]))) continue;
            if (!rlm_i_is_digit(text[at])) break;
            if (number <= RLM_AMOUNT_MAX) number = number * 10 + (uint64_t)(text[at] - '0');
        }
        return rlm_i_http_amount(number);
    }
    return RLM_UNSAID;
}

/* Whether what is counted is followed by how: "tokens per minute", "requests has exceeded". */
static bool rlm_i_is_counted(const rlm_i_body *body, size_t at) {
    rlm_i_text rest;
    rest.at = body->message + at;
    rest.end = body->message + body->bytes;
    if (rlm_i_bytes(rest) >= 5 && rlm_i_same(rest.at, " per", 4)) return rest.at[4] == ' ' || rest.at[4] == '-';
    return (rlm_i_bytes(rest) >= 13 && rlm_i_same(rest.at, " has exceeded", 13)) ||
           (rlm_i_bytes(rest) >= 14 && rlm_i_same(rest.at, " have exceeded", 14));
}

/* The meters that a message names. */
static uint32_t rlm_i_meters_told(const rlm_i_body *body) {
    const char *text = body->message;
    uint32_t named = 0;
    size_t at = 0;
    while ((at = rlm_i_find(text, body->bytes, at, "tokens")) != 0) {
        if (!rlm_i_is_counted(body, at)) continue;
        if (RLM_I_ENDS(text, at, "input tokens")) named |= RLM_I_HTTP_BIT(RLM_INPUT_TOKENS);
        else if (RLM_I_ENDS(text, at, "output tokens")) named |= RLM_I_HTTP_BIT(RLM_OUTPUT_TOKENS);
        else named |= RLM_I_HTTP_BIT(RLM_TOKENS);
    }
    while ((at = rlm_i_find(text, body->bytes, at, "requests")) != 0)
        if (rlm_i_is_counted(body, at) && !RLM_I_ENDS(text, at, "concurrent requests")) named |= RLM_I_HTTP_BIT(RLM_REQUESTS);
    if (named == 0 && (rlm_i_says(body, "(rpm)") || rlm_i_says(body, "(rpd)"))) named |= RLM_I_HTTP_BIT(RLM_REQUESTS);
    if (named == 0 && (rlm_i_says(body, "(tpm)") || rlm_i_says(body, "(tpd)"))) named |= RLM_I_HTTP_BIT(RLM_TOKENS);
    if (rlm_i_says(body, "concurrent")) named |= RLM_NAMED_CONCURRENCY;
    return named;
}

/* How long a phrase like "try again in 1.2s" says. */
static uint64_t rlm_i_wait_told(const rlm_i_body *body, const char *phrase) {
    size_t at = rlm_i_find(body->message, body->bytes, 0, phrase);
    uint64_t span_ns, resolution_ns;
    rlm_i_text text;
    text.at = body->message + at;
    text.end = body->message + body->bytes;
    return at != 0 && rlm_i_read_duration(&text, true, &span_ns, &resolution_ns) ? span_ns : 0;
}

static void rlm_i_read_told(const rlm_i_body *body, rlm_i_told *told) {
    told->limit = rlm_i_figure(body, "limit", 5);
    told->used = rlm_i_figure(body, "used", 4);
    told->requested = rlm_i_figure(body, "requested", 9);
    told->named = rlm_i_meters_told(body) | body->named;
    told->per_day = rlm_i_says(body, "per day") || rlm_i_says(body, "per-day") || rlm_i_says(body, "(rpd)") ||
                    rlm_i_says(body, "(tpd)");
    told->period_ns = told->per_day != 0 ? RLM_DAY_NS : rlm_i_says(body, "per hour") ? RLM_HOUR_NS : RLM_MINUTE_NS;
    told->wait_ns = rlm_i_wait_told(body, "try again in ");
    if (told->wait_ns == 0) told->wait_ns = rlm_i_wait_told(body, "retry after ");
    if (told->wait_ns != 0 || told->limit == RLM_UNSAID || told->limit == 0) return;
    if (told->used == RLM_UNSAID || told->requested == RLM_UNSAID) return;
    if ((told->named & RLM_NAMED_CONCURRENCY) != 0) return; /* a place comes with an answer, not with time */
    if (told->used + told->requested > told->limit)
        told->wait_ns = rlm_i_scale(told->used + told->requested - told->limit, told->period_ns, told->limit, true);
}

/* -- verdicts -- */

static void rlm_i_judge(rlm_http *http, uint32_t verdict, uint32_t reason, uint32_t error_class, uint32_t outcome) {
    http->verdict = verdict;
    http->reason = reason;
    http->error_class = error_class;
    http->feedback.outcome = outcome;
}

static void rlm_i_never(rlm_http *http, uint32_t reason) {
    rlm_i_judge(http, RLM_HTTP_NEVER, reason, RLM_CLASS_FATAL, RLM_FAILED);
}

/* Takes a wait that was asked for, unless another was before. */
static void rlm_i_wait(rlm_http *http, uint64_t wait_ns) {
    uint64_t most_ns = http->profile.retry_after_max_ns != 0 ? http->profile.retry_after_max_ns : RLM_HOUR_NS;
    if (http->wait_ns != 0 || wait_ns == 0) return;
    http->capped = wait_ns > most_ns;
    http->wait_ns = wait_ns < most_ns ? wait_ns : most_ns;
}

static void rlm_i_wait_uncut(rlm_http *http, uint64_t wait_ns) {
    http->capped = 0;
    http->wait_ns = wait_ns;
}

/* What Retry-After and retry-after-ms ask for. */
static void rlm_i_wait_for_headers(rlm_http *http) {
    uint64_t at_ns = rlm_i_until(http->retry_at_ns, rlm_i_reference(http));
    rlm_i_wait(http, http->retry_ms_ns);
    rlm_i_wait(http, http->retry_ns > at_ns ? http->retry_ns : at_ns);
}

/* Until when the limits of a subscription reject; 0: they do not, or it is not told. */
static uint64_t rlm_i_rejected_ns(const rlm_http *http) {
    uint64_t longest_ns = 0, from_ns = rlm_i_reference(http), reset_ns;
    uint32_t i;
    for (i = 0; i < http->slots && from_ns != 0; i++) {
        const rlm_i_http_slot *slot = &http->slot[i];
        uint32_t which = slot->period_ns == 5 * RLM_HOUR_NS ? 1 : 2;
        if (slot->key >> 8 != RLM_I_OF_UNIFIED || (http->rejected & which) == 0 || slot->reset_at_ns == RLM_UNSAID) continue;
        reset_ns = rlm_i_until(slot->reset_at_ns, from_ns);
        if (reset_ns > longest_ns) longest_ns = reset_ns;
    }
    return longest_ns;
}

/* The meters of which nothing remains, and the longest of their resets. */
static uint32_t rlm_i_exhausted(const rlm_http *http, uint64_t *reset_ns) {
    const rlm_reading *reading = http->feedback.reading;
    uint32_t named = 0;
    *reset_ns = 0;
    for (; reading < http->feedback.reading + http->feedback.count; reading++) {
        if (reading->remaining != 0) continue;
        named |= RLM_I_HTTP_BIT(reading->meter);
        if (reading->reset_ns != RLM_UNSAID && reading->reset_ns > *reset_ns) *reset_ns = reading->reset_ns;
    }
    return named;
}

/* 429 that will pass. */
static void rlm_i_judge_limited(rlm_http *http, const rlm_i_body *body, const rlm_i_told *told) {
    uint32_t outcome = rlm_i_says(body, "acceleration") ? RLM_SLOW_DOWN : RLM_REFUSED;
    uint64_t rejected_ns = rlm_i_rejected_ns(http), reset_ns;
    uint32_t exhausted = rlm_i_exhausted(http, &reset_ns);
    rlm_i_judge(http, RLM_HTTP_RETRY, RLM_HTTP_RATE_LIMIT, RLM_CLASS_RATE_LIMIT, outcome);
    http->feedback.requested = told->requested;
    http->feedback.named = told->named != 0 ? told->named : exhausted;
    if (body->per_day != 0 || told->per_day != 0) http->reason = RLM_HTTP_QUOTA_DAY;
    if (body->per_day != 0) rlm_i_wait_uncut(http, rlm_i_until_midnight(http->profile.zone, rlm_i_reference(http)));
    else if (told->per_day == 0 && rejected_ns != 0) {
        http->reason = RLM_HTTP_QUOTA_DAY;
        http->feedback.named = 0; /* all of them */
        rlm_i_wait_uncut(http, rejected_ns);
    } else {
        rlm_i_wait(http, body->delay_ns);
        rlm_i_wait(http, told->wait_ns);
        if (http->profile.kind != RLM_BUCKET) rlm_i_wait(http, reset_ns);
    }
    if (http->feedback.named == RLM_NAMED_CONCURRENCY) http->error_class = RLM_CLASS_SERVER; /* soon there is a place */
}

static void rlm_i_judge_429(rlm_http *http, const rlm_i_body *body) {
    rlm_i_told told;
    rlm_i_read_told(body, &told);
    if ((body->words & RLM_I_WORD_SPENT) != 0 || rlm_i_says(body, "usage limits")) rlm_i_never(http, RLM_HTTP_SPENT);
    else if (told.requested != RLM_UNSAID && told.requested > told.limit) rlm_i_never(http, RLM_HTTP_TOO_LARGE);
    else rlm_i_judge_limited(http, body, &told);
}

static void rlm_i_judge_400(rlm_http *http, const rlm_i_body *body) {
    if ((body->words & RLM_I_WORD_SPENT) != 0 || rlm_i_says(body, "usage limits") || rlm_i_says(body, "credit balance"))
        rlm_i_never(http, RLM_HTTP_SPENT);
    else if ((body->words & RLM_I_WORD_TOO_LARGE) != 0 || rlm_i_says(body, "prompt is too long") ||
             rlm_i_says(body, "request too large"))
        rlm_i_never(http, RLM_HTTP_TOO_LARGE);
    else rlm_i_never(http, RLM_HTTP_BAD_REQUEST);
}

static void rlm_i_judge_5xx(rlm_http *http, int status, const rlm_i_body *body) {
    bool overloaded = (body->words & RLM_I_WORD_OVERLOADED) != 0 || rlm_i_says(body, "overloaded");
    rlm_i_wait(http, body->delay_ns);
    rlm_i_judge(http, RLM_HTTP_RETRY, RLM_HTTP_OVERLOAD, RLM_CLASS_SERVER, RLM_OVERLOADED);
    if (status == 503 && ((body->words & RLM_I_WORD_SLOW_DOWN) != 0 || rlm_i_says(body, "slow down")))
        http->feedback.outcome = RLM_SLOW_DOWN;
    else if (status != 498 && status != 529 && status != 503 && status != 504 && !overloaded)
        rlm_i_judge(http, RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED);
}

/* The status that an error inside a 2xx stands for. */
static int rlm_i_status_of(const rlm_i_body *body) {
    if ((body->words & (RLM_I_WORD_SPENT | RLM_I_WORD_RATE)) != 0) return 429;
    if ((body->words & RLM_I_WORD_OVERLOADED) != 0) return 529;
    if ((body->words & (RLM_I_WORD_SLOW_DOWN | RLM_I_WORD_UNAVAILABLE)) != 0) return 503;
    return body->code >= 400 && body->code <= 599 ? (int)body->code : 500;
}

static void rlm_i_judge_status(rlm_http *http, int status, const rlm_i_body *body) {
    rlm_i_wait_for_headers(http);
    if (status == 429) rlm_i_judge_429(http, body);
    else if (status == 0 || status == 408) rlm_i_judge(http, RLM_HTTP_RETRY, RLM_HTTP_NETWORK, RLM_CLASS_NETWORK, RLM_FAILED);
    else if (status == 409 || status == 425) rlm_i_judge(http, RLM_HTTP_RETRY, RLM_HTTP_SERVER, RLM_CLASS_SERVER, RLM_FAILED);
    else if (status == 401 || status == 403) rlm_i_never(http, RLM_HTTP_AUTH);
    else if (status == 402) rlm_i_never(http, RLM_HTTP_SPENT);
    else if (status == 413) rlm_i_never(http, RLM_HTTP_TOO_LARGE);
    else if (status == 400) rlm_i_judge_400(http, body);
    else if (status == 498 || status >= 500) rlm_i_judge_5xx(http, status, body);
    else rlm_i_never(http, RLM_HTTP_BAD_REQUEST);
    if (http->should_retry == 1 && http->verdict == RLM_HTTP_NEVER) {
        http->verdict = RLM_HTTP_RETRY;
        http->error_class = status == 429 ? RLM_CLASS_RATE_LIMIT : RLM_CLASS_SERVER;
    }
    if (http->verdict == RLM_HTTP_RETRY && http->wait_ns != 0) http->verdict = RLM_HTTP_WAIT;
    if ((http->should_retry & 2) != 0 && http->verdict != RLM_HTTP_NEVER) {
        http->verdict = RLM_HTTP_NEVER;
        http->reason = RLM_HTTP_TOLD;
        http->error_class = RLM_CLASS_FATAL;
    }
    if (http->wait_ns != 0) http->feedback.retry_after_ns = http->wait_ns;
}

/* A response with a body, or none that is good. */
static void rlm_i_end_with_body(rlm_http *http, int status, rlm_i_text text) {
    bool good = status >= 200 && status <= 299;
    rlm_i_body body;
    rlm_i_read_body(http, &body, good, text);
    rlm_i_make_readings(http);
    if (good && body.is_error == 0) return;
    rlm_i_judge_status(http, good ? rlm_i_status_of(&body) : status, &body);
}

RLM_I_DEF void rlm_http_end(rlm_http *http, int status, const char *body, size_t body_bytes) {
    rlm_i_text text = rlm_i_absent;
    rlm_i_join_policies(http);
    if (body != NULL && body_bytes != 0) {
        text.at = body;
        text.end = body + (body_bytes < RLM_I_HTTP_BODY_MAX ? body_bytes : RLM_I_HTTP_BODY_MAX);
    }
    if (status >= 200 && status <= 299 && text.at == NULL) rlm_i_make_readings(http);
    else rlm_i_end_with_body(http, status, text);
}

#ifdef __cplusplus
}
#endif

#endif /* RLM_IMPLEMENTATION */

/* MIT License. Copyright (c) 2026 The rlimit authors. The terms stand at the end of rlimit.h. */
