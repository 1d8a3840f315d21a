/* addon.c - the Node-API add-on: rlimit.h and rlimit_http.h for Node.js - part of rlimit - MIT licence

   Decisions are made by rlimit.h; promises, timers and signals are JavaScript's (lib/limiter.js). Here are functions and objects
   around the decisions, and the line of those who wait: only its head asks rlm_acquire, so whoever gives up holds no permit.

   NUMBERS   The functions of a limiter take and leave their numbers in a Float64Array that both sides see (`io`): that costs a
             tenth of reading properties. Its places are named IO_... below. Amounts are at most 2^40, so a double is exact.
             Elsewhere nanoseconds are bigints.

   SPEED     take and end are functions that carry their limiter as data; methods, which look at `this`, cost four times as much.

   PERMITS   live in pages: ArrayBuffers of PAGE_PERMITS places, kept by the JavaScript objects of those permits and so collected
             with them, whether they were settled or not. C only knows the page that is being filled.

   STATE     None is static. An environment (a worker thread) has an Env; a limiter belongs to the environment that made it, and to
             its one thread: so loads and stores are plain. Each object is freed by its finalizer, which runs at the latest when
             the environment ends, and touches nothing else. */

#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* clock_gettime, under -std=c11 */
#endif
#define NAPI_VERSION 8
#include <math.h>
#include <node_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RLM_STATIC
#define RLM_IMPLEMENTATION
#define RLM_NO_ATOMICS        /* one thread; a worker has limiters of its own */
#define RLM_LIMITS_MAX 12     /* two for each meter, and the connections */
#define RLM_WINDOW_CELLS 1056 /* four sliding windows */
#include "rlimit_http.h"

enum { METERS = 5, ARGUMENTS_MAX = 8, TEXT_MAX = 512, PAGE_PERMITS = 256 };

/* ---- Environment ------------------------------------------------------------------------------ */

typedef struct Env {
    napi_ref limit_error; /* the class, given by errors.js */
    rlm_tsc tsc;
    bool tsc_measured;
} Env;

static const char *const status_names[RLM_I_STATUS_COUNT] = {
    "OK",    "NULL",       "LIMITS",  "KIND",   "METER", "AMOUNT",  "PERIOD",    "RATE",   "BURST",    "SPAN",
    "GUARD", "UTC_OFFSET", "CELLS",   "MEMORY", "INDEX", "COST",    "PERMIT",    "BUSY",   "CAPACITY", "PRIORITY",
    "FULL",  "HANDLE",     "BACKOFF", "CLOCK",  "NEVER", "TIMEOUT", "CANCELLED", "FOLLOW", "FEEDBACK", "UNKNOWN"};

static void env_free(napi_env env, void *data, void *hint) {
    Env *state = (Env *)data;
    (void)hint;
    if (state->limit_error != NULL) (void)napi_delete_reference(env, state->limit_error);
    free(state);
}

static Env *env_state(napi_env env) {
    void *state = NULL;
    (void)napi_get_instance_data(env, &state);
    return (Env *)state;
}

/* ---- Errors ----------------------------------------------------------------------------------- */

enum { TYPE_ERROR, RANGE_ERROR, PLAIN_ERROR };

/* Throws, and returns null, which a function then returns. */
static napi_value fail(napi_env env, int kind, const char *format, ...) {
    char text[TEXT_MAX];
    const char *code = kind == PLAIN_ERROR ? "RLIMIT_MEMORY" : "RLIMIT_ARGUMENT";
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (kind == TYPE_ERROR) (void)napi_throw_type_error(env, code, text);
    else if (kind == RANGE_ERROR) (void)napi_throw_range_error(env, code, text);
    else (void)napi_throw_error(env, code, text);
    return NULL;
}

static napi_value no_memory(napi_env env) { return fail(env, PLAIN_ERROR, "out of memory"); }

/* Each function that makes a value throws if it cannot, and returns null. What takes effect comes after it or is undone, so that
   who is told of an error holds nothing. */
static napi_value text_value(napi_env env, const char *text) {
    napi_value value = NULL;
    return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok ? value : no_memory(env);
}

static void status_code_name(int status, char *name, size_t bytes) {
    int code = rlm_status_code(status);
    (void)snprintf(name, bytes, "RLM_E_%s", code < RLM_I_STATUS_COUNT ? status_names[code] : "UNKNOWN");
}

/* Throws a LimitError of what a status means. RLM_OK: returns undefined. */
static napi_value undefined_or_error(napi_env env, int status) {
    Env *state = env_state(env);
    napi_value maker = NULL, arguments[2], error = NULL;
    char name[32];
    if (status == RLM_OK) return NULL;
    status_code_name(status, name, sizeof name);
    arguments[0] = text_value(env, rlm_strerror(status));
    arguments[1] = text_value(env, name);
    if (state->limit_error != NULL) (void)napi_get_reference_value(env, state->limit_error, &maker);
    if (arguments[0] == NULL || arguments[1] == NULL) return NULL;
    if (maker != NULL && napi_new_instance(env, maker, 2, arguments, &error) == napi_ok) (void)napi_throw(env, error);
    else (void)napi_throw_range_error(env, name, rlm_strerror(status));
    return NULL;
}

/* ---- Arguments -------------------------------------------------------------------------------- */

typedef struct Call {
    napi_env env;
    napi_value self;
    napi_value given[ARGUMENTS_MAX]; /* those that were not given are undefined */
    size_t count;
    void *data;
} Call;

static Call call_of(napi_env env, napi_callback_info info) {
    Call call;
    memset(&call, 0, sizeof call);
    call.env = env;
    call.count = ARGUMENTS_MAX;
    (void)napi_get_cb_info(env, info, &call.count, call.given, &call.self, &call.data);
    return call;
}

static napi_valuetype type_of(napi_env env, napi_value value) {
    napi_valuetype type = napi_undefined;
    if (value != NULL) (void)napi_typeof(env, value, &type);
    return type;
}

static bool is_absent(napi_env env, napi_value value) {
    napi_valuetype type = type_of(env, value);
    return type == napi_undefined || type == napi_null;
}

/* A whole number of 0 to 2^64 - 1, as a bigint or, up to 2^53, as a number. */
static bool get_u64(napi_env env, napi_value value, const char *field, uint64_t *number) {
    napi_valuetype type = type_of(env, value);
    double real = -1;
    bool exact = false;
    if (type == napi_bigint) {
        (void)napi_get_value_bigint_uint64(env, value, number, &exact);
        if (exact) return true;
    } else if (type == napi_number) {
        (void)napi_get_value_double(env, value, &real);
        if (real >= 0 && real <= 9007199254740992.0 && (double)(uint64_t)real == real) {
            *number = (uint64_t)real;
            return true;
        }
    } else {
        (void)fail(env, TYPE_ERROR, "%s: must be a bigint or a whole number", field);
        return false;
    }
    (void)fail(env, RANGE_ERROR, "%s: must be a whole number, 0 to 2^53 as a number, to 2^64 - 1 as a bigint", field);
    return false;
}

/* The same; `absent` is what undefined and null mean. */
static bool get_u64_or(napi_env env, napi_value value, const char *field, uint64_t absent, uint64_t *number) {
    *number = absent;
    return is_absent(env, value) || get_u64(env, value, field, number);
}

static bool get_u32(napi_env env, napi_value value, const char *field, uint32_t *number) {
    uint64_t wide = 0;
    if (!get_u64(env, value, field, &wide)) return false;
    if (wide > UINT32_MAX) {
        (void)fail(env, RANGE_ERROR, "%s: must be below 2^32", field);
        return false;
    }
    *number = (uint32_t)wide;
    return true;
}

static bool get_i64(napi_env env, napi_value value, const char *field, int64_t *number) {
    bool exact = false;
    double real = 0.5;
    if (type_of(env, value) == napi_bigint) (void)napi_get_value_bigint_int64(env, value, number, &exact);
    else if (type_of(env, value) == napi_number) {
        (void)napi_get_value_double(env, value, &real);
        exact = real >= -9007199254740992.0 && real <= 9007199254740992.0 && (double)(int64_t)real == real;
        if (exact) *number = (int64_t)real;
    }
    if (!exact) (void)fail(env, RANGE_ERROR, "%s: must be a whole number of 64 bits with a sign", field);
    return exact;
}

static napi_value element(napi_env env, napi_value array, uint32_t index) {
    napi_value value = NULL;
    (void)napi_get_element(env, array, index, &value);
    return value;
}

static bool is_array(napi_env env, napi_value value) {
    bool yes = false;
    if (value != NULL) (void)napi_is_array(env, value, &yes);
    return yes;
}

static napi_value property(napi_env env, napi_value object, const char *name) {
    napi_value value = NULL;
    if (type_of(env, object) == napi_object) (void)napi_get_named_property(env, object, name, &value);
    return value;
}

static napi_value number_value(napi_env env, double number) {
    napi_value value = NULL;
    return napi_create_double(env, number, &value) == napi_ok ? value : no_memory(env);
}

static napi_value u64_value(napi_env env, uint64_t number) {
    napi_value value = NULL;
    return napi_create_bigint_uint64(env, number, &value) == napi_ok ? value : no_memory(env);
}

static napi_value null_value(napi_env env) {
    napi_value value = NULL;
    (void)napi_get_null(env, &value);
    return value;
}

static napi_value array_of(napi_env env, const napi_value *items, uint32_t count) {
    napi_value array = NULL;
    uint32_t i;
    if (napi_create_array_with_length(env, count, &array) != napi_ok) return no_memory(env);
    for (i = 0; i < count; i++)
        if (napi_set_element(env, array, i, items[i]) != napi_ok) return no_memory(env); /* or an item is null */
    return array;
}

static void set(napi_env env, napi_value object, const char *name, napi_value value) {
    if (napi_set_named_property(env, object, name, value) != napi_ok) (void)no_memory(env);
}

/* The bytes of a Uint8Array, or of any other array over bytes; false: it is none. */
static bool bytes_of(napi_env env, napi_value value, void **bytes, size_t *count) {
    napi_typedarray_type type;
    bool typed = false;
    if (value == NULL || napi_is_typedarray(env, value, &typed) != napi_ok || !typed) return false;
    if (napi_get_typedarray_info(env, value, &type, count, bytes, NULL, NULL) != napi_ok) return false;
    if (type == napi_float64_array || type == napi_bigint64_array || type == napi_biguint64_array) *count *= 8;
    else if (type != napi_uint8_array && type != napi_int8_array && type != napi_uint8_clamped_array) return false;
    return true;
}

static napi_value new_bytes(napi_env env, size_t count, void **bytes) {
    napi_value buffer = NULL, array = NULL;
    if (napi_create_arraybuffer(env, count, bytes, &buffer) != napi_ok) return no_memory(env);
    if (napi_create_typedarray(env, napi_uint8_array, count, buffer, 0, &array) != napi_ok) return no_memory(env);
    return array;
}

/* ---- Objects ---------------------------------------------------------------------------------- */

/* Each class has a tag, so that a method of one is never run on the memory of another. */
#define TAG(number) {UINT64_C(0x9c1fe0a6d7b34e51), UINT64_C(0x8d24b91c03f7a600) + (number)}
static const napi_type_tag bucket_tag = TAG(1), window_tag = TAG(2), concurrency_tag = TAG(3), calendar_tag = TAG(4),
                           queue_tag = TAG(5), plan_tag = TAG(6), delays_tag = TAG(7), budget_tag = TAG(8), route_tag = TAG(9),
                           limiter_tag = TAG(10);

static void *unwrap(const Call *call, const napi_type_tag *tag) {
    void *core = NULL;
    bool same = false;
    if (type_of(call->env, call->self) == napi_object &&
        napi_check_object_type_tag(call->env, call->self, tag, &same) == napi_ok && same &&
        napi_unwrap(call->env, call->self, &core) == napi_ok && core != NULL)
        return core;
    (void)fail(call->env, TYPE_ERROR, "this method was called on something else");
    return NULL;
}

/* The arguments of a constructor; false if it was called without new. */
static bool constructed(napi_env env, napi_callback_info info, Call *call) {
    napi_value target = NULL;
    *call = call_of(env, info);
    (void)napi_get_new_target(env, info, &target);
    if (target == NULL) (void)fail(env, TYPE_ERROR, "made with new");
    return target != NULL;
}

/* Hands core over to the object; it is freed if that fails. */
static napi_value wrap(const Call *call, void *core, napi_finalize finalize, const napi_type_tag *tag) {
    if (napi_type_tag_object(call->env, call->self, tag) == napi_ok &&
        napi_wrap(call->env, call->self, core, finalize, NULL, NULL) == napi_ok)
        return call->self;
    finalize(call->env, core, NULL);
    return no_memory(call->env);
}

static void free_core(napi_env env, void *core, void *hint) {
    (void)env, (void)hint;
    free(core);
}

typedef struct Method {
    const char *name;
    napi_callback call;
} Method;

static void define_class(napi_env env, napi_value exports, const char *name, napi_callback maker, const Method *methods,
                         size_t count) {
    napi_property_descriptor all[24];
    napi_value made = NULL;
    size_t i;
    memset(all, 0, sizeof all);
    for (i = 0; i < count; i++) {
        all[i].utf8name = methods[i].name;
        all[i].method = methods[i].call;
        all[i].attributes = napi_default_method;
    }
    if (napi_define_class(env, name, NAPI_AUTO_LENGTH, maker, NULL, count, all, &made) != napi_ok) (void)no_memory(env);
    else set(env, exports, name, made);
}
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ---- Limits ----------------------------------------------------------------------------------- */

/* A limit is an array: kind, amount, period_ns, burst, guard_ns, cells, utc_offset_s, wall_offset_ns (null: the one given here),
   follow, least; or an object whose _spec is one. The class Limit is in lib/limit.js. */
static bool get_limit(napi_env env, napi_value given, uint32_t meter, int64_t wall_offset_ns, rlm_limit *limit) {
    napi_value spec = is_array(env, given) ? given : property(env, given, "_spec"), offset;
    int64_t utc_offset_s = 0;
    if (!is_array(env, spec)) {
        (void)fail(env, TYPE_ERROR, "limit: must be a Limit, such as perMinute(50)");
        return false;
    }
    memset(limit, 0, sizeof *limit);
    limit->meter = meter;
    limit->wall_offset_ns = wall_offset_ns;
    offset = element(env, spec, 7);
    if (!get_u32(env, element(env, spec, 0), "kind", &limit->kind) ||
        !get_u64(env, element(env, spec, 1), "amount", &limit->amount) ||
        !get_u64(env, element(env, spec, 2), "period", &limit->period_ns) ||
        !get_u64(env, element(env, spec, 3), "burst", &limit->burst) ||
        !get_u64(env, element(env, spec, 4), "guard", &limit->guard_ns) ||
        !get_u32(env, element(env, spec, 5), "cells", &limit->cells) ||
        !get_i64(env, element(env, spec, 6), "utcOffset", &utc_offset_s) ||
        (!is_absent(env, offset) && !get_i64(env, offset, "wallOffset", &limit->wall_offset_ns)) ||
        !get_u32(env, element(env, spec, 8), "follow", &limit->follow) ||
        !get_u32(env, element(env, spec, 9), "least", &limit->least))
        return false;
    if (utc_offset_s > INT32_MAX || utc_offset_s < INT32_MIN) utc_offset_s = INT32_MAX; /* refused by the limiter */
    limit->utc_offset_s = (int32_t)utc_offset_s;
    return true;
}

/* checkLimit(limit) -> status: whether a limiter could have it, alone and with room enough */
static napi_value addon_check_limit(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    rlm_limit limit;
    rlm_i_trial trial;
    int status;
    if (!get_limit(env, call.given[0], RLM_REQUESTS, 0, &limit)) return NULL;
    status = rlm_i_check_follow(&limit);
    return number_value(env, status != RLM_OK ? status : rlm_i_try_limit(&trial, &limit, 0));
}

static napi_value spec_value(napi_env env, const rlm_limit *limit) {
    napi_value item[10];
    item[0] = number_value(env, limit->kind);
    item[1] = number_value(env, (double)limit->amount);
    item[2] = u64_value(env, limit->period_ns);
    item[3] = number_value(env, (double)limit->burst);
    item[4] = u64_value(env, limit->guard_ns);
    item[5] = number_value(env, limit->cells);
    item[6] = number_value(env, limit->utc_offset_s);
    item[7] = null_value(env);
    item[8] = number_value(env, limit->follow);
    item[9] = number_value(env, limit->least);
    return array_of(env, item, 10);
}

/* [limit, used, remaining, reset_ns]: what is used may be in debt, and then more than a double holds exactly */
static void usage_items(napi_env env, const rlm_usage *usage, napi_value *item) {
    item[0] = number_value(env, (double)usage->limit);
    item[1] = number_value(env, (double)usage->used);
    item[2] = number_value(env, (double)usage->remaining);
    item[3] = u64_value(env, usage->reset_ns);
}

static napi_value usage_value(napi_env env, const rlm_usage *usage) {
    napi_value item[4];
    usage_items(env, usage, item);
    return array_of(env, item, 4);
}

/* ---- Clocks ----------------------------------------------------------------------------------- */

enum { CLOCK_SYSTEM, CLOCK_COARSE, CLOCK_TSC, CLOCK_MANUAL, CLOCK_FUNCTION };

/* Where a limiter or a retry budget has the time from. */
typedef struct Clock {
    int kind;
    const rlm_tsc *tsc;      /* of the Env, which outlives calls */
    const uint64_t *manual;  /* a BigUint64Array of one */
    napi_ref kept;           /* that array; or the function: weakly, for it may know the limiter, and the owner keeps it */
} Clock;

static void clock_free(napi_env env, Clock *clock) {
    if (clock->kept != NULL) (void)napi_delete_reference(env, clock->kept);
    clock->kept = NULL;
}

static bool clock_named(napi_env env, Clock *clock, napi_value given) {
    char name[16] = "";
    Env *state = env_state(env);
    int status;
    (void)napi_get_value_string_utf8(env, given, name, sizeof name, NULL);
    if (strcmp(name, "monotonic") == 0) return true;
    if (strcmp(name, "coarse") == 0) {
        clock->kind = CLOCK_COARSE;
        return true;
    }
    if (strcmp(name, "tsc") != 0) {
        (void)fail(env, RANGE_ERROR, "clock: must be monotonic, coarse or tsc, a ManualClock or a function, not '%s'", name);
        return false;
    }
    status = state->tsc_measured ? RLM_OK : rlm_tsc_init(&state->tsc);
    if (status != RLM_OK) return undefined_or_error(env, status), false;
    state->tsc_measured = true;
    clock->tsc = &state->tsc;
    clock->kind = CLOCK_TSC;
    return true;
}

/* undefined, a name, a ManualClock (its _cell is a BigUint64Array of one), or a function that returns milliseconds. */
static bool clock_begin(napi_env env, Clock *clock, napi_value given, napi_value owner) {
    napi_valuetype type = type_of(env, given);
    napi_value cell = type == napi_object ? property(env, given, "_cell") : NULL;
    void *bytes = NULL;
    size_t count = 0;
    clock_free(env, clock);
    clock->kind = CLOCK_SYSTEM;
    if (is_absent(env, given)) return true;
    if (type == napi_string) return clock_named(env, clock, given);
    if (type == napi_function) {
        clock->kind = CLOCK_FUNCTION;
        set(env, owner, "clock", given);
        if (napi_create_reference(env, given, 0, &clock->kept) != napi_ok) return no_memory(env), false;
        return true;
    }
    if (cell != NULL && bytes_of(env, cell, &bytes, &count) && count == 8) {
        clock->kind = CLOCK_MANUAL;
        clock->manual = (const uint64_t *)bytes;
        if (napi_create_reference(env, cell, 1, &clock->kept) != napi_ok) return no_memory(env), false;
        return true;
    }
    (void)fail(env, TYPE_ERROR, "clock: must be a ManualClock, a function that returns milliseconds, or the name of a clock");
    return false;
}

/* Calls the function: user code, that may throw and may call anything here. */
static RLM_I_COLD bool clock_call(napi_env env, const Clock *clock, uint64_t *now_ns) {
    napi_value function = NULL, self = NULL, answer = NULL;
    double ms = -1, whole;
    (void)napi_get_reference_value(env, clock->kept, &function);
    (void)napi_get_undefined(env, &self);
    if (function == NULL) return fail(env, TYPE_ERROR, "clock: is gone"), false;
    if (napi_call_function(env, self, function, 0, NULL, &answer) != napi_ok) return false;
    if (type_of(env, answer) == napi_number) (void)napi_get_value_double(env, answer, &ms);
    if (!(ms >= 0 && ms <= 4611686018427.0)) {
        (void)fail(env, RANGE_ERROR, "clock: must return milliseconds, a number of 0 to 4611686018427");
        return false;
    }
    whole = (double)(uint64_t)ms;
    *now_ns = (uint64_t)whole * 1000000 + (uint64_t)((ms - whole) * 1e6);
    return true;
}

RLM_I_INLINE bool clock_read(napi_env env, const Clock *clock, uint64_t *now_ns) {
    if (RLM_I_LIKELY(clock->kind == CLOCK_SYSTEM)) *now_ns = rlm_now();
    else if (clock->kind == CLOCK_COARSE) *now_ns = rlm_now_coarse();
    else if (clock->kind == CLOCK_TSC) *now_ns = rlm_tsc_now(clock->tsc);
    else if (clock->kind == CLOCK_MANUAL) *now_ns = *clock->manual;
    else return clock_call(env, clock, now_ns);
    return true;
}

static napi_value addon_now(napi_env env, napi_callback_info info) { return (void)info, u64_value(env, rlm_now()); }
static napi_value addon_now_coarse(napi_env env, napi_callback_info info) { return (void)info, u64_value(env, rlm_now_coarse()); }
static napi_value addon_wall(napi_env env, napi_callback_info info) { return (void)info, u64_value(env, rlm_wall()); }

/* ---- The single pieces ------------------------------------------------------------------------ */

/* Amounts and nanoseconds in, nanoseconds out. Each takes the time as its last argument; without it, the monotonic clock's. */

static bool get_n_and_now(const Call *call, uint64_t *n, uint64_t *now_ns) {
    return get_u64_or(call->env, call->given[0], "n", 1, n) && get_u64_or(call->env, call->given[1], "now", rlm_now(), now_ns);
}

/* The arguments (limit, now). Without a time, calendars are those of the system's wall clock. */
static bool get_limit_and_now(const Call *call, rlm_limit *limit, uint64_t *now_ns) {
    bool absent = is_absent(call->env, call->given[1]);
    if (!get_u64_or(call->env, call->given[1], "now", rlm_now(), now_ns)) return false;
    return get_limit(call->env, call->given[0], RLM_REQUESTS, absent ? (int64_t)(rlm_wall() - *now_ns) : 0, limit);
}

#define SELF(Type, tag)                             \
    Call call = call_of(env, info);                 \
    Type *self = (Type *)unwrap(&call, tag);        \
    if (self == NULL) return NULL

/* function(n, now) that answers with a wait, changes something, or is about a mark; status(now); reconfigure(limit, now) */
#define DEFINE_WAIT(name, Type, tag, answer)                      \
    static napi_value name(napi_env env, napi_callback_info info) { \
        uint64_t n, now_ns, wait_ns;                              \
        napi_value none;                                          \
        SELF(Type, tag);                                          \
        if (!get_n_and_now(&call, &n, &now_ns)) return NULL;      \
        if ((none = u64_value(env, 0)) == NULL) return NULL;      \
        wait_ns = (answer);                                       \
        return wait_ns == 0 ? none : u64_value(env, wait_ns);     \
    }
#define DEFINE_CHANGE(name, Type, tag, status)                    \
    static napi_value name(napi_env env, napi_callback_info info) { \
        uint64_t n, now_ns;                                       \
        SELF(Type, tag);                                          \
        if (!get_n_and_now(&call, &n, &now_ns)) return NULL;      \
        return undefined_or_error(env, status);                   \
    }
/* A take that can be given back to: [wait, mark]. */
#define DEFINE_MARKED(name, Type, tag, answer, credit)            \
    static napi_value name(napi_env env, napi_callback_info info) { \
        uint64_t n, now_ns, wait_ns, mark = 0;                    \
        napi_value pair[2], both;                                 \
        SELF(Type, tag);                                          \
        if (!get_n_and_now(&call, &n, &now_ns)) return NULL;      \
        wait_ns = (answer);                                       \
        pair[0] = u64_value(env, wait_ns);                        \
        pair[1] = u64_value(env, mark);                           \
        both = array_of(env, pair, 2);                            \
        if (both == NULL && wait_ns == 0) (void)credit(self, n, mark); \
        return both;                                              \
    }
#define DEFINE_MARK_CREDIT(name, Type, tag, status)               \
    static napi_value name(napi_env env, napi_callback_info info) { \
        uint64_t n, mark;                                         \
        SELF(Type, tag);                                          \
        if (!get_u64(env, call.given[0], "n", &n) || !get_u64(env, call.given[1], "mark", &mark)) return NULL; \
        return undefined_or_error(env, status);                   \
    }
#define DEFINE_STATUS(name, Type, tag, answer)                    \
    static napi_value name(napi_env env, napi_callback_info info) { \
        uint64_t now_ns;                                          \
        rlm_usage usage = {0, 0, 0, 0};                           \
        int status;                                               \
        SELF(Type, tag);                                          \
        if (!get_u64_or(env, call.given[0], "now", rlm_now(), &now_ns)) return NULL; \
        status = (answer);                                        \
        return status == RLM_OK ? usage_value(env, &usage) : undefined_or_error(env, status); \
    }
#define DEFINE_RECONFIGURE(name, Type, tag, status)               \
    static napi_value name(napi_env env, napi_callback_info info) { \
        uint64_t now_ns;                                          \
        rlm_limit limit;                                          \
        SELF(Type, tag);                                          \
        if (!get_limit_and_now(&call, &limit, &now_ns)) return NULL; \
        return undefined_or_error(env, status);                   \
    }
#define DEFINE_MAKER(name, Type, tag, status)                     \
    static napi_value name(napi_env env, napi_callback_info info) { \
        Call call;                                                \
        rlm_limit limit;                                          \
        uint64_t now_ns;                                          \
        int answer;                                               \
        Type *self;                                               \
        if (!constructed(env, info, &call) || !get_limit_and_now(&call, &limit, &now_ns)) return NULL; \
        self = (Type *)calloc(1, sizeof *self);                   \
        if (self == NULL) return no_memory(env);                  \
        answer = (status);                                        \
        if (answer == RLM_OK) return wrap(&call, self, free_core, tag); \
        free(self);                                               \
        return undefined_or_error(env, answer);                   \
    }

/* -- token bucket -- */

DEFINE_MAKER(bucket_new, rlm_bucket, &bucket_tag, rlm_bucket_init(self, &limit, now_ns))
DEFINE_WAIT(bucket_take, rlm_bucket, &bucket_tag, rlm_bucket_take(self, n, now_ns))
DEFINE_WAIT(bucket_peek, rlm_bucket, &bucket_tag, rlm_bucket_peek(self, n, now_ns))
DEFINE_CHANGE(bucket_credit, rlm_bucket, &bucket_tag, rlm_bucket_credit(self, n, now_ns))
DEFINE_CHANGE(bucket_debit, rlm_bucket, &bucket_tag, rlm_bucket_debit(self, n, now_ns))
DEFINE_STATUS(bucket_status, rlm_bucket, &bucket_tag, rlm_bucket_status(self, &usage, now_ns))
DEFINE_RECONFIGURE(bucket_reconfigure, rlm_bucket, &bucket_tag, rlm_bucket_reconfigure(self, &limit, now_ns))

static napi_value bucket_reserve(napi_env env, napi_callback_info info) {
    uint64_t n, most_ns, now_ns, wait_ns;
    napi_value answer;
    SELF(rlm_bucket, &bucket_tag);
    if (!get_u64_or(env, call.given[0], "n", 1, &n) || !get_u64_or(env, call.given[1], "maxWait", RLM_NEVER - 1, &most_ns) ||
        !get_u64_or(env, call.given[2], "now", rlm_now(), &now_ns))
        return NULL;
    wait_ns = rlm_bucket_reserve(self, n, most_ns, now_ns);
    answer = u64_value(env, wait_ns);
    if (answer == NULL && wait_ns != RLM_NEVER) (void)rlm_bucket_credit(self, n, now_ns);
    return answer;
}

static const Method bucket_methods[] = {{"take", bucket_take},     {"peek", bucket_peek},     {"reserve", bucket_reserve},
                                        {"credit", bucket_credit}, {"debit", bucket_debit},   {"status", bucket_status},
                                        {"reconfigure", bucket_reconfigure}};

/* -- sliding window -- */

static napi_value window_new(napi_env env, napi_callback_info info) {
    Call call;
    rlm_limit limit;
    uint64_t now_ns;
    size_t bytes;
    rlm_window scratch, *self;
    int status;
    if (!constructed(env, info, &call) || !get_limit_and_now(&call, &limit, &now_ns)) return NULL;
    bytes = rlm_window_bytes(&limit);
    if (bytes == 0) return undefined_or_error(env, rlm_window_init(&scratch, sizeof scratch, &limit, now_ns));
    self = (rlm_window *)calloc(1, bytes);
    if (self == NULL) return no_memory(env);
    status = rlm_window_init(self, bytes, &limit, now_ns);
    if (status == RLM_OK) return wrap(&call, self, free_core, &window_tag);
    free(self);
    return undefined_or_error(env, status);
}
DEFINE_MARKED(window_take, rlm_window, &window_tag, rlm_window_take(self, n, now_ns, &mark), rlm_window_credit)
DEFINE_WAIT(window_peek, rlm_window, &window_tag, rlm_window_peek(self, n, now_ns))
DEFINE_MARK_CREDIT(window_credit, rlm_window, &window_tag, rlm_window_credit(self, n, mark))
DEFINE_CHANGE(window_debit, rlm_window, &window_tag, rlm_window_debit(self, n, now_ns))
DEFINE_STATUS(window_status, rlm_window, &window_tag, rlm_window_status(self, &usage, now_ns))
DEFINE_RECONFIGURE(window_reconfigure, rlm_window, &window_tag, ((void)now_ns, rlm_window_reconfigure(self, &limit)))

static const Method window_methods[] = {{"take", window_take},   {"peek", window_peek},     {"credit", window_credit},
                                        {"debit", window_debit}, {"status", window_status}, {"reconfigure", window_reconfigure}};

/* -- concurrency -- */

DEFINE_MAKER(concurrency_new, rlm_concurrency, &concurrency_tag, ((void)now_ns, rlm_concurrency_init(self, &limit)))
DEFINE_WAIT(concurrency_take, rlm_concurrency, &concurrency_tag, ((void)now_ns, rlm_concurrency_take(self, n)))
DEFINE_WAIT(concurrency_peek, rlm_concurrency, &concurrency_tag, ((void)now_ns, rlm_concurrency_peek(self, n)))
DEFINE_CHANGE(concurrency_release, rlm_concurrency, &concurrency_tag, ((void)now_ns, rlm_concurrency_release(self, n)))
DEFINE_STATUS(concurrency_status, rlm_concurrency, &concurrency_tag, ((void)now_ns, rlm_concurrency_status(self, &usage)))
DEFINE_RECONFIGURE(concurrency_reconfigure, rlm_concurrency, &concurrency_tag,
                   ((void)now_ns, rlm_concurrency_reconfigure(self, &limit)))

static const Method concurrency_methods[] = {{"take", concurrency_take},
                                             {"peek", concurrency_peek},
                                             {"release", concurrency_release},
                                             {"status", concurrency_status},
                                             {"reconfigure", concurrency_reconfigure}};

/* -- calendar quota -- */

DEFINE_MAKER(calendar_new, rlm_calendar, &calendar_tag, rlm_calendar_init(self, &limit, now_ns))
DEFINE_MARKED(calendar_take, rlm_calendar, &calendar_tag, rlm_calendar_take(self, n, now_ns, &mark), rlm_calendar_credit)
DEFINE_WAIT(calendar_peek, rlm_calendar, &calendar_tag, rlm_calendar_peek(self, n, now_ns))
DEFINE_MARK_CREDIT(calendar_credit, rlm_calendar, &calendar_tag, rlm_calendar_credit(self, n, mark))
DEFINE_CHANGE(calendar_debit, rlm_calendar, &calendar_tag, rlm_calendar_debit(self, n, now_ns))
DEFINE_STATUS(calendar_status, rlm_calendar, &calendar_tag, rlm_calendar_status(self, &usage, now_ns))
DEFINE_RECONFIGURE(calendar_reconfigure, rlm_calendar, &calendar_tag, ((void)now_ns, rlm_calendar_reconfigure(self, &limit)))

static napi_value saved_value(napi_env env, const rlm_calendar_saved *saved) {
    napi_value pair[2];
    pair[0] = u64_value(env, saved->period);
    pair[1] = u64_value(env, saved->used);
    return array_of(env, pair, 2);
}

static bool get_saved(napi_env env, napi_value pair, rlm_calendar_saved *saved) {
    if (!is_array(env, pair)) return fail(env, TYPE_ERROR, "saved: must be what save() returned"), false;
    return get_u64(env, element(env, pair, 0), "saved.period", &saved->period) &&
           get_u64(env, element(env, pair, 1), "saved.used", &saved->used);
}

static napi_value calendar_save(napi_env env, napi_callback_info info) {
    rlm_calendar_saved saved = {0, 0};
    SELF(rlm_calendar, &calendar_tag);
    (void)rlm_calendar_save(self, &saved);
    return saved_value(env, &saved);
}

static napi_value calendar_restore(napi_env env, napi_callback_info info) {
    rlm_calendar_saved saved;
    uint64_t now_ns;
    SELF(rlm_calendar, &calendar_tag);
    if (!get_saved(env, call.given[0], &saved) || !get_u64_or(env, call.given[1], "now", rlm_now(), &now_ns)) return NULL;
    return undefined_or_error(env, rlm_calendar_restore(self, &saved, now_ns));
}

static napi_value calendar_sync(napi_env env, napi_callback_info info) {
    uint64_t wall_ns, now_ns;
    SELF(rlm_calendar, &calendar_tag);
    if (!get_u64(env, call.given[0], "wall", &wall_ns) || !get_u64_or(env, call.given[1], "now", rlm_now(), &now_ns)) return NULL;
    return undefined_or_error(env, rlm_calendar_sync(self, wall_ns, now_ns));
}

static const Method calendar_methods[] = {{"take", calendar_take},     {"peek", calendar_peek},
                                          {"credit", calendar_credit}, {"debit", calendar_debit},
                                          {"status", calendar_status}, {"reconfigure", calendar_reconfigure},
                                          {"save", calendar_save},     {"restore", calendar_restore},
                                          {"sync", calendar_sync}};

/* ---- Limiter ---------------------------------------------------------------------------------- */

/* Places of io. What goes in: a cost, then what the function takes; what comes out overwrites it. */
enum {
    IO_COST,                 /* five amounts; of end, NaN: as estimated */
    IO_INDEX = METERS,       /* of a permit in its page; take: or TAKE_... */
    IO_MODE,                 /* end: END_... */
    IO_PRIORITY = IO_INDEX,  /* join */
    IO_TIMEOUT = IO_MODE,    /* join: ms */
    IO_EVENT = 0,            /* pump: EVENT_... */
    IO_WAITER,               /* ... of this waiter; of join, leave and drop too */
    IO_PLACE,                /* ... its permit's index */
    IO_WAITED,               /* ... ms */
    IO_SLEEP = 1,            /* pump, EVENT_NONE: ms until something may happen */
    IO_ESTIMATE = 8,         /* end, observe: the cost that the permit was given for */
    IO_PLACES = IO_ESTIMATE + METERS
};
enum { END_SETTLE, END_CANCEL, END_AS_ESTIMATED };
enum { EVENT_NONE, EVENT_ADMITTED, EVENT_TIMEOUT, EVENT_NEVER, EVENT_PAGE };

/* Answers of take that are not the index of a permit. Like those of join and drop they are in io: nothing can fail there. */
enum { TAKE_NO = -1, TAKE_NEVER = -2, TAKE_PAGE = -3, TAKE_NOTHING = -4 };
/* Answers of join that are not a waiter. */
enum { JOIN_FULL = -1, JOIN_MEMORY = -2, JOIN_PRIORITY = -3 };
/* The index of a permit that took nothing. */
enum { INDEX_NOTHING = -1 };

#define NO_WAITER UINT32_MAX

/* One that waits. */
typedef struct Waiter {
    rlm_cost cost;
    uint64_t since_ns, handle;
    uint32_t next_free;
    bool queued;
} Waiter;

typedef struct Limiter {
    unsigned references;     /* the object, and the functions that carry this */
    double *io;
    napi_ref io_kept;
    rlm_limiter *core;       /* in memory, at a multiple of 64 */
    void *memory;
    Clock clock;
    uint64_t asked_ns;       /* when take asked last */
    uint64_t *page;          /* being filled */
    napi_ref page_kept;
    uint32_t page_filled, page_out;
    rlm_queue *queue;        /* null until somebody waits */
    size_t capacity;
    uint64_t ageing_ns;
    uint64_t timer_ns;       /* when the head will ask again by itself */
    Waiter *waiter;
    uint32_t waiters, free_waiter;
} Limiter;

/* The amounts that JavaScript checked to be whole numbers of 0 to 2^40. */
RLM_I_INLINE void read_cost(const double *amounts, rlm_cost *cost) {
    cost->requests = (uint64_t)(int64_t)amounts[0]; /* through int64_t, which is one instruction */
    cost->input_tokens = (uint64_t)(int64_t)amounts[1];
    cost->output_tokens = (uint64_t)(int64_t)amounts[2];
    cost->microdollars = (uint64_t)(int64_t)amounts[3];
    cost->custom = (uint64_t)(int64_t)amounts[4];
}

/* A permit in a page: rlm_permit without its cost, which JavaScript has, and without the places of limits that there are not. */
enum { PACKED_STATE, PACKED_SINCE, PACKED_MARKS };
static size_t packed_words(const Limiter *limiter) { return PACKED_MARKS + 2 * (size_t)limiter->core->count; }

static void pack(const Limiter *limiter, const rlm_permit *permit, uint64_t *to) {
    size_t i, count = (size_t)limiter->core->count;
    to[PACKED_STATE] = permit->state;
    to[PACKED_SINCE] = permit->since_ns;
    for (i = 0; i < count; i++) {
        to[PACKED_MARKS + i] = permit->mark[i];
        to[PACKED_MARKS + count + i] = permit->used[i];
    }
}

static void unpack(const Limiter *limiter, const uint64_t *from, const double *estimate, rlm_permit *permit) {
    size_t i, count = (size_t)limiter->core->count;
    permit->state = from[PACKED_STATE];
    read_cost(estimate, &permit->cost);
    permit->since_ns = from[PACKED_SINCE];
    for (i = 0; i < count; i++) {
        permit->mark[i] = from[PACKED_MARKS + i];
        permit->used[i] = from[PACKED_MARKS + count + i];
    }
}

static void limiter_release(napi_env env, void *data, void *hint) {
    Limiter *self = (Limiter *)data;
    int64_t left;
    (void)hint;
    if (--self->references != 0) return;
    clock_free(env, &self->clock);
    if (self->io_kept != NULL) (void)napi_delete_reference(env, self->io_kept);
    if (self->page_kept != NULL) (void)napi_delete_reference(env, self->page_kept);
    (void)napi_adjust_external_memory(env, -(int64_t)sizeof(rlm_limiter), &left);
    free(self->queue);
    free(self->waiter);
    free(self->memory);
    free(self);
}

/* A function that carries the limiter. */
static bool add_function(napi_env env, napi_value object, const char *name, napi_callback call, Limiter *limiter) {
    napi_value function = NULL;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, limiter, &function) != napi_ok ||
        napi_add_finalizer(env, function, limiter, limiter_release, NULL, NULL) != napi_ok)
        return false;
    limiter->references++;
    set(env, object, name, function);
    return true;
}

static napi_value limiter_take(napi_env env, napi_callback_info info);
static napi_value limiter_end(napi_env env, napi_callback_info info);

static bool add_io(napi_env env, napi_value object, Limiter *limiter) {
    void *bytes = NULL;
    napi_value buffer = NULL, io = NULL;
    if (napi_create_arraybuffer(env, IO_PLACES * sizeof(double), &bytes, &buffer) != napi_ok ||
        napi_create_typedarray(env, napi_float64_array, IO_PLACES, buffer, 0, &io) != napi_ok ||
        napi_create_reference(env, buffer, 1, &limiter->io_kept) != napi_ok)
        return false;
    limiter->io = (double *)bytes;
    set(env, object, "io", io);
    return true;
}

/* new Limiter(): begin() gives it its limits. */
static napi_value limiter_new(napi_env env, napi_callback_info info) {
    Call call;
    Limiter *self;
    int64_t held;
    if (!constructed(env, info, &call)) return NULL;
    self = (Limiter *)calloc(1, sizeof *self);
    if (self == NULL) return no_memory(env);
    self->references = 1;
    self->memory = calloc(1, sizeof(rlm_limiter) + 63);
    if (self->memory == NULL) {
        free(self);
        return no_memory(env);
    }
    (void)napi_adjust_external_memory(env, (int64_t)sizeof(rlm_limiter), &held);
    self->core = (rlm_limiter *)(void *)(((uintptr_t)self->memory + 63) & ~(uintptr_t)63);
    self->timer_ns = RLM_NO_DEADLINE;
    self->free_waiter = NO_WAITER;
    self->page_filled = PAGE_PERMITS;
    if (wrap(&call, self, limiter_release, &limiter_tag) == NULL) return NULL;
    if (!add_io(env, call.self, self) || !add_function(env, call.self, "take", limiter_take, self) ||
        !add_function(env, call.self, "end", limiter_end, self))
        return no_memory(env);
    return call.self;
}

/* begin(limits, meters, capacity, ageing_ns, clock, wall_offset_ns or undefined) -> status of rlm_limiter_init */
static napi_value limiter_begin(napi_env env, napi_callback_info info) {
    rlm_limit limit[RLM_LIMITS_MAX];
    uint32_t count = 0, meter, i;
    uint64_t now_ns, capacity;
    int64_t wall_offset_ns;
    SELF(Limiter, &limiter_tag);
    if (!is_array(env, call.given[0]) || napi_get_array_length(env, call.given[0], &count) != napi_ok || count > RLM_LIMITS_MAX)
        return fail(env, RANGE_ERROR, "limits: must be an array of at most %d", RLM_LIMITS_MAX);
    if (!get_u64(env, call.given[2], "queue", &capacity) || !get_u64(env, call.given[3], "ageing", &self->ageing_ns) ||
        !clock_begin(env, &self->clock, call.given[4], call.self) || !clock_read(env, &self->clock, &now_ns))
        return NULL;
    wall_offset_ns = self->clock.kind == CLOCK_MANUAL ? 0 : (int64_t)(rlm_wall() - now_ns);
    if (!is_absent(env, call.given[5]) && !get_i64(env, call.given[5], "wallOffset", &wall_offset_ns)) return NULL;
    for (i = 0; i < count; i++)
        if (!get_u32(env, element(env, call.given[1], i), "meter", &meter) ||
            !get_limit(env, element(env, call.given[0], i), meter, wall_offset_ns, &limit[i]))
            return NULL;
    if (self->core->count != 0) return fail(env, TYPE_ERROR, "begun already"); /* now, for the clock may be code */
    self->capacity = (size_t)capacity;
    return number_value(env, rlm_limiter_init(self->core, limit, count, now_ns));
}

/* page(buffer) -> how many permits of the page before are out. From now on permits go into this one. */
static napi_value limiter_page(napi_env env, napi_callback_info info) {
    void *bytes = NULL;
    size_t count = 0;
    napi_ref kept = NULL;
    napi_value out;
    SELF(Limiter, &limiter_tag);
    if (self->core->count == 0) return fail(env, TYPE_ERROR, "not begun");
    if (!bytes_of(env, call.given[0], &bytes, &count) || count < PAGE_PERMITS * packed_words(self) * sizeof(uint64_t))
        return fail(env, TYPE_ERROR, "page: must be a BigUint64Array for %d permits", PAGE_PERMITS);
    out = number_value(env, self->page_out);
    if (out == NULL || napi_create_reference(env, call.given[0], 1, &kept) != napi_ok) return no_memory(env);
    if (self->page_kept != NULL) (void)napi_delete_reference(env, self->page_kept);
    self->page_kept = kept;
    self->page = (uint64_t *)bytes;
    self->page_filled = self->page_out = 0;
    return out;
}

/* pageWords() -> how many words of 8 bytes a page has */
static napi_value limiter_page_words(napi_env env, napi_callback_info info) {
    SELF(Limiter, &limiter_tag);
    return number_value(env, (double)(PAGE_PERMITS * packed_words(self)));
}

RLM_I_INLINE uint64_t *permit_at(const Limiter *limiter, uint64_t *page, uint32_t index) {
    return page + index * packed_words(limiter);
}

RLM_I_INLINE bool anybody_waits(const Limiter *limiter) {
    return limiter->queue != NULL && rlm_queue_count(limiter->queue) != 0;
}

/* Asks for a permit and puts it into the page: its index, or TAKE_... */
RLM_I_INLINE int take_now(Limiter *self, const rlm_cost *cost, uint64_t now_ns, uint64_t *wait_ns) {
    rlm_permit permit;
    uint32_t index = self->page_filled;
    if (RLM_I_UNLIKELY(index == PAGE_PERMITS)) return TAKE_PAGE;
    permit.state = 0;
    *wait_ns = rlm_acquire(self->core, cost, now_ns, &permit);
    if (RLM_I_UNLIKELY(*wait_ns != 0)) return *wait_ns == RLM_NEVER ? TAKE_NEVER : TAKE_NO;
    if (RLM_I_UNLIKELY(permit.state == 0)) return TAKE_NOTHING;
    pack(self, &permit, permit_at(self, self->page, index));
    self->page_filled++;
    self->page_out++;
    return (int)index;
}

/* take(): IO_INDEX: of a permit in the page, or TAKE_... */
static napi_value limiter_take(napi_env env, napi_callback_info info) {
    void *data = NULL;
    Limiter *self;
    rlm_cost cost;
    uint64_t now_ns, wait_ns;
    int index;
    (void)napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
    self = (Limiter *)data;
    read_cost(self->io, &cost);
    if (RLM_I_UNLIKELY(!clock_read(env, &self->clock, &now_ns))) return NULL;
    self->asked_ns = now_ns;
    if (RLM_I_LIKELY(!anybody_waits(self))) index = take_now(self, &cost, now_ns, &wait_ns);
    else index = rlm_check(self->core, &cost, now_ns, NULL) == RLM_NEVER ? TAKE_NEVER : TAKE_NO;
    self->io[IO_INDEX] = index;
    return NULL;
}

/* The permit at this index of the page given, or of `filled`, which was being filled; null and an error if it is not in it. */
static uint64_t *permit_of(napi_env env, const Limiter *self, napi_value page, uint64_t *filled, double index) {
    void *bytes = filled;
    size_t count = PAGE_PERMITS * packed_words(self) * sizeof(uint64_t);
    if (page != NULL && !is_absent(env, page) && !bytes_of(env, page, &bytes, &count)) bytes = NULL;
    if (bytes == NULL || count < PAGE_PERMITS * packed_words(self) * sizeof(uint64_t) || !(index >= 0 && index < PAGE_PERMITS))
        return fail(env, TYPE_ERROR, "permit: is none"), NULL;
    return permit_at(self, (uint64_t *)bytes, (uint32_t)index);
}

/* end(page or nothing: the one being filled) -> status. Ends the permit at IO_INDEX once, as IO_MODE says. */
static napi_value limiter_end(napi_env env, napi_callback_info info) {
    size_t count = 1, i;
    napi_value page = NULL, answer = NULL;
    void *data = NULL;
    double io[IO_PLACES];
    uint64_t now_ns, *filled, *packed;
    rlm_permit permit;
    rlm_cost actual;
    Limiter *self;
    int status;
    (void)napi_get_cb_info(env, info, &count, &page, NULL, &data);
    self = (Limiter *)data;
    memcpy(io, self->io, sizeof io);
    filled = self->page; /* now, for a clock that is code may turn the page */
    if (RLM_I_UNLIKELY(!clock_read(env, &self->clock, &now_ns))) return NULL;
    packed = permit_of(env, self, count == 0 ? NULL : page, filled, io[IO_INDEX]);
    if (packed == NULL) return NULL;
    if (RLM_I_UNLIKELY(napi_create_int32(env, RLM_OK, &answer) != napi_ok)) return no_memory(env);
    unpack(self, packed, io + IO_ESTIMATE, &permit);
    actual = permit.cost;
    if (io[IO_MODE] == END_SETTLE)
        for (i = 0; i < METERS; i++)
            if (io[IO_COST + i] >= 0) (&actual.requests)[i] = (uint64_t)(int64_t)io[IO_COST + i];
    status = io[IO_MODE] == END_CANCEL ? rlm_cancel(self->core, &permit, now_ns) : rlm_settle(self->core, &permit, &actual, now_ns);
    if (status != RLM_OK) return number_value(env, status);
    packed[PACKED_STATE] = 0;
    if (packed == permit_at(self, self->page, (uint32_t)io[IO_INDEX]) && --self->page_out == 0) self->page_filled = 0;
    return answer;
}

/* -- the queue -- */

/* The queue's memory, 48 bytes for each that may wait, once somebody has to. */
static int make_queue(Limiter *self) {
    size_t bytes = rlm_queue_bytes(self->capacity);
    if (self->queue != NULL) return 0;
    if (bytes == 0) return JOIN_FULL;
    self->queue = (rlm_queue *)malloc(bytes);
    if (self->queue == NULL) return JOIN_MEMORY;
    (void)rlm_queue_init(self->queue, bytes, self->capacity, self->ageing_ns);
    return 0;
}

static uint32_t new_waiter(Limiter *self) {
    uint32_t id = self->free_waiter, i, more;
    Waiter *grown;
    if (id == NO_WAITER) {
        more = self->waiters == 0 ? 16 : self->waiters * 2;
        grown = (Waiter *)realloc(self->waiter, more * sizeof *grown);
        if (grown == NULL) return NO_WAITER;
        memset(grown + self->waiters, 0, (more - self->waiters) * sizeof *grown);
        for (i = self->waiters; i < more; i++) grown[i].next_free = i + 1 < more ? i + 1 : NO_WAITER;
        id = self->waiters;
        self->waiter = grown;
        self->waiters = more;
    }
    self->free_waiter = self->waiter[id].next_free;
    return id;
}

static void free_waiter(Limiter *self, uint32_t id) {
    self->waiter[id].queued = false;
    self->waiter[id].next_free = self->free_waiter;
    self->free_waiter = id;
}

static uint32_t head_of(const Limiter *self) {
    uint64_t id = NO_WAITER;
    return self->queue != NULL && rlm_queue_head(self->queue, NULL, &id) ? (uint32_t)id : NO_WAITER;
}

/* Milliseconds, rounded up to nanoseconds. */
static uint64_t ns_of_ms(double ms) {
    double whole;
    if (!(ms < 36028797018.0)) return UINT64_MAX; /* 2^55 ns */
    whole = (double)(uint64_t)ms;
    ms = (ms - whole) * 1e6;
    return (uint64_t)whole * 1000000 + (uint64_t)ms + ((double)(uint64_t)ms < ms);
}

/* join(): the one that take just refused queues up. IO_WAITER: its number, or JOIN_...; IO_EVENT: 1 if pump must be called. */
static napi_value limiter_join(napi_env env, napi_callback_info info) {
    uint64_t timeout_ns, deadline_ns = RLM_NO_DEADLINE;
    Waiter *waiter;
    rlm_cost cost;
    uint32_t id;
    int status;
    SELF(Limiter, &limiter_tag);
    read_cost(self->io, &cost);
    status = make_queue(self);
    id = status == 0 ? new_waiter(self) : NO_WAITER;
    self->io[IO_WAITER] = status == 0 ? JOIN_MEMORY : status;
    if (id == NO_WAITER) return NULL;
    waiter = &self->waiter[id];
    waiter->cost = cost;
    waiter->since_ns = self->asked_ns;
    timeout_ns = ns_of_ms(self->io[IO_TIMEOUT]);
    if (timeout_ns <= RLM_NO_DEADLINE - 1 - waiter->since_ns) deadline_ns = waiter->since_ns + timeout_ns;
    status = rlm_queue_push(self->queue, id, (uint32_t)self->io[IO_PRIORITY], deadline_ns, waiter->since_ns, &waiter->handle);
    if (status != RLM_OK) {
        free_waiter(self, id);
        self->io[IO_WAITER] = status == RLM_E_FULL ? JOIN_FULL : JOIN_PRIORITY;
        return NULL;
    }
    waiter->queued = true;
    self->io[IO_EVENT] = head_of(self) == id || deadline_ns < self->timer_ns;
    self->io[IO_WAITER] = id;
    return NULL;
}

static void remove_waiter(Limiter *self, uint32_t id) {
    (void)rlm_queue_remove(self->queue, self->waiter[id].handle);
    free_waiter(self, id);
}

/* leave(): the waiter IO_WAITER leaves; IO_EVENT: 1 if it was the head. Does nothing if it has left. */
static napi_value limiter_leave(napi_env env, napi_callback_info info) {
    double id;
    SELF(Limiter, &limiter_tag);
    id = self->io[IO_WAITER];
    self->io[IO_EVENT] = 0;
    if (!(id >= 0 && id < self->waiters) || !self->waiter[(uint32_t)id].queued) return NULL;
    self->io[IO_EVENT] = head_of(self) == (uint32_t)id;
    remove_waiter(self, (uint32_t)id);
    return NULL;
}

/* drop(): the head leaves; IO_WAITER: its number, or -1 */
static napi_value limiter_drop(napi_env env, napi_callback_info info) {
    uint32_t id;
    SELF(Limiter, &limiter_tag);
    id = head_of(self);
    self->io[IO_WAITER] = id == NO_WAITER ? -1 : (double)id;
    if (id != NO_WAITER) remove_waiter(self, id);
    return NULL;
}

static napi_value limiter_queued(napi_env env, napi_callback_info info) {
    SELF(Limiter, &limiter_tag);
    return number_value(env, self->queue == NULL ? 0 : (double)rlm_queue_count(self->queue));
}

/* What becomes of the head now: EVENT_..., and then it has left; EVENT_NONE and *wait_ns. */
static int ask_head(Limiter *self, uint32_t id, uint64_t now_ns, uint64_t *wait_ns) {
    Waiter *waiter = &self->waiter[id];
    int index = take_now(self, &waiter->cost, now_ns, wait_ns);
    if (index == TAKE_PAGE) return EVENT_PAGE;
    if (index == TAKE_NO) return EVENT_NONE;
    self->io[IO_WAITER] = id;
    self->io[IO_PLACE] = index == TAKE_NOTHING ? INDEX_NOTHING : index;
    self->io[IO_WAITED] = now_ns > waiter->since_ns ? (double)(now_ns - waiter->since_ns) / 1e6 : 0;
    remove_waiter(self, id);
    return index == TAKE_NEVER ? EVENT_NEVER : EVENT_ADMITTED;
}

/* pump(): one thing that happens now, to the head or to one whose deadline has passed: IO_EVENT, IO_WAITER, IO_PLACE, IO_WAITED.
   EVENT_NONE: nothing before IO_SLEEP ms have passed, infinite if no time can be told or the clock is set by hand. */
static napi_value limiter_pump(napi_env env, napi_callback_info info) {
    uint64_t now_ns, wait_ns = RLM_ON_RELEASE, until_ns = RLM_NO_DEADLINE, id;
    int event = EVENT_NONE;
    bool asks;
    SELF(Limiter, &limiter_tag);
    self->timer_ns = RLM_NO_DEADLINE;
    asks = anybody_waits(self) && clock_read(env, &self->clock, &now_ns) && anybody_waits(self);
    self->io[IO_EVENT] = EVENT_NONE; /* now, for a clock that is code may call what writes there */
    self->io[IO_SLEEP] = HUGE_VAL;
    if (!asks) return NULL;
    event = ask_head(self, head_of(self), now_ns, &wait_ns);
    if (event == EVENT_NONE && rlm_queue_expire(self->queue, now_ns, NULL, &id)) {
        Waiter *waiter = &self->waiter[id];
        event = EVENT_TIMEOUT;
        self->io[IO_WAITER] = (double)id;
        self->io[IO_WAITED] = now_ns > waiter->since_ns ? (double)(now_ns - waiter->since_ns) / 1e6 : 0;
        free_waiter(self, (uint32_t)id);
    }
    self->io[IO_EVENT] = event;
    if (event != EVENT_NONE || self->clock.kind == CLOCK_MANUAL) return NULL;
    if (wait_ns < RLM_ON_RELEASE - now_ns) until_ns = now_ns + wait_ns;
    if (rlm_queue_deadline(self->queue) < until_ns) until_ns = rlm_queue_deadline(self->queue);
    self->timer_ns = until_ns;
    if (until_ns != RLM_NO_DEADLINE) self->io[IO_SLEEP] = until_ns > now_ns ? (double)(until_ns - now_ns) / 1e6 : 0;
    return NULL;
}

/* -- the rest -- */

/* check() -> wait_ns; IO_INDEX: which limit binds, or -1 */
static napi_value limiter_check(napi_env env, napi_callback_info info) {
    rlm_cost cost;
    uint64_t now_ns, wait_ns;
    int binding = -1;
    SELF(Limiter, &limiter_tag);
    read_cost(self->io, &cost);
    if (!clock_read(env, &self->clock, &now_ns)) return NULL;
    wait_ns = rlm_check(self->core, &cost, now_ns, &binding);
    self->io[IO_INDEX] = binding;
    return u64_value(env, wait_ns);
}

static napi_value limiter_debit(napi_env env, napi_callback_info info) {
    rlm_cost cost;
    uint64_t now_ns;
    SELF(Limiter, &limiter_tag);
    read_cost(self->io, &cost);
    if (!clock_read(env, &self->clock, &now_ns)) return NULL;
    return undefined_or_error(env, rlm_debit(self->core, &cost, now_ns));
}

/* status(index) -> [limit, used, remaining, reset_ns, spec in force or null] */
static napi_value limiter_status(napi_env env, napi_callback_info info) {
    uint32_t index;
    uint64_t now_ns;
    rlm_usage usage;
    rlm_limit limit;
    napi_value item[5];
    int status;
    SELF(Limiter, &limiter_tag);
    if (!get_u32(env, call.given[0], "index", &index) || !clock_read(env, &self->clock, &now_ns)) return NULL;
    status = rlm_status(self->core, index, &usage, now_ns);
    if (status != RLM_OK) return undefined_or_error(env, status);
    usage_items(env, &usage, item);
    item[4] = rlm_in_force(self->core, index, &limit) == RLM_OK ? spec_value(env, &limit) : null_value(env);
    return array_of(env, item, 5);
}

/* recent() -> requests admitted in the last minute */
static napi_value limiter_recent(napi_env env, napi_callback_info info) {
    uint64_t now_ns;
    SELF(Limiter, &limiter_tag);
    if (!clock_read(env, &self->clock, &now_ns)) return NULL;
    return number_value(env, (double)rlm_recent(self->core, now_ns));
}

/* reconfigure(index, meter, limit) -> status */
static napi_value limiter_reconfigure(napi_env env, napi_callback_info info) {
    uint32_t index, meter;
    rlm_limit limit;
    uint64_t now_ns;
    napi_value ok;
    int status;
    SELF(Limiter, &limiter_tag);
    if (!get_u32(env, call.given[0], "index", &index) || !get_u32(env, call.given[1], "meter", &meter) ||
        !get_limit(env, call.given[2], meter, 0, &limit) || !clock_read(env, &self->clock, &now_ns) ||
        (ok = number_value(env, RLM_OK)) == NULL)
        return NULL;
    status = rlm_reconfigure(self->core, index, &limit, now_ns);
    return status == RLM_OK ? ok : number_value(env, status);
}

/* pause(index or -1 for all, ms) */
static napi_value limiter_pause(napi_env env, napi_callback_info info) {
    int64_t index;
    uint64_t wait_ns, now_ns;
    double ms = 0;
    SELF(Limiter, &limiter_tag);
    if (!get_i64(env, call.given[0], "index", &index)) return NULL;
    if (napi_get_value_double(env, call.given[1], &ms) != napi_ok) return fail(env, TYPE_ERROR, "ms: must be a number");
    if (!clock_read(env, &self->clock, &now_ns)) return NULL;
    wait_ns = ns_of_ms(ms);
    if (wait_ns > UINT64_C(1) << 55) wait_ns = UINT64_C(1) << 55;
    return undefined_or_error(env, rlm_pause(self->core, index < 0 ? RLM_ALL : (size_t)index, wait_ns, now_ns));
}

/* save(index) -> [period, used], or null if it is no calendar quota */
static napi_value limiter_save(napi_env env, napi_callback_info info) {
    uint32_t index;
    rlm_calendar *calendar;
    rlm_calendar_saved saved = {0, 0};
    SELF(Limiter, &limiter_tag);
    if (!get_u32(env, call.given[0], "index", &index)) return NULL;
    calendar = rlm_limiter_calendar(self->core, index);
    if (calendar == NULL) return null_value(env);
    (void)rlm_calendar_save(calendar, &saved);
    return saved_value(env, &saved);
}

/* restore(index, [period, used]) */
static napi_value limiter_restore(napi_env env, napi_callback_info info) {
    uint32_t index;
    uint64_t now_ns;
    rlm_calendar_saved saved;
    SELF(Limiter, &limiter_tag);
    if (!get_u32(env, call.given[0], "index", &index) || !get_saved(env, call.given[1], &saved) ||
        !clock_read(env, &self->clock, &now_ns))
        return NULL;
    return undefined_or_error(env, rlm_calendar_restore(rlm_limiter_calendar(self->core, index), &saved, now_ns));
}

/* sync(wall_ns or undefined: the system's) */
static napi_value limiter_sync(napi_env env, napi_callback_info info) {
    uint64_t wall_ns, now_ns;
    size_t i;
    SELF(Limiter, &limiter_tag);
    if (!get_u64_or(env, call.given[0], "wall", rlm_wall(), &wall_ns) || !clock_read(env, &self->clock, &now_ns)) return NULL;
    for (i = 0; i < self->core->count; i++) {
        rlm_calendar *calendar = rlm_limiter_calendar(self->core, i);
        if (calendar != NULL) (void)rlm_calendar_sync(calendar, wall_ns, now_ns);
    }
    return NULL;
}

/* observe(feedback's bytes, index of a permit or -1, its page or undefined) -> status */
static napi_value limiter_observe(napi_env env, napi_callback_info info) {
    rlm_feedback feedback;
    rlm_permit permit;
    void *bytes = NULL;
    size_t count = 0;
    double index = -1, estimate[METERS];
    uint64_t now_ns, *packed = NULL;
    napi_value ok;
    int status;
    SELF(Limiter, &limiter_tag);
    if (!bytes_of(env, call.given[0], &bytes, &count) || count != sizeof feedback)
        return fail(env, TYPE_ERROR, "feedback: must be a Feedback");
    memcpy(&feedback, bytes, sizeof feedback);
    memcpy(estimate, self->io + IO_ESTIMATE, sizeof estimate);
    if (napi_get_value_double(env, call.given[1], &index) != napi_ok)
        return fail(env, TYPE_ERROR, "permit: must be an index or -1");
    if (!clock_read(env, &self->clock, &now_ns) || (ok = number_value(env, RLM_OK)) == NULL) return NULL;
    if (index >= 0) {
        packed = permit_of(env, self, call.given[2], self->page, index);
        if (packed == NULL) return NULL;
        unpack(self, packed, estimate, &permit);
    }
    status = rlm_observe(self->core, packed == NULL ? NULL : &permit, &feedback, now_ns);
    return status == RLM_OK ? ok : number_value(env, status);
}

/* probing() -> whether only few may be out until the first answer */
static napi_value limiter_probing(napi_env env, napi_callback_info info) {
    napi_value answer = NULL;
    SELF(Limiter, &limiter_tag);
    (void)napi_get_boolean(env, self->core->probe != 0, &answer);
    return answer;
}

static const Method limiter_methods[] = {{"begin", limiter_begin},     {"page", limiter_page},       {"pageWords", limiter_page_words},
                                         {"join", limiter_join},       {"leave", limiter_leave},     {"drop", limiter_drop},
                                         {"queued", limiter_queued},   {"pump", limiter_pump},       {"check", limiter_check},
                                         {"debit", limiter_debit},     {"status", limiter_status},   {"recent", limiter_recent},
                                         {"pause", limiter_pause},     {"save", limiter_save},       {"reconfigure", limiter_reconfigure},
                                         {"restore", limiter_restore}, {"sync", limiter_sync},       {"observe", limiter_observe},
                                         {"probing", limiter_probing}};

/* ---- Queue ------------------------------------------------------------------------------------ */

/* The bare queue: data is a number that stands for a waiter. */
static napi_value queue_new(napi_env env, napi_callback_info info) {
    Call call;
    uint64_t capacity, ageing_ns;
    size_t bytes;
    rlm_queue *self;
    int status;
    if (!constructed(env, info, &call) || !get_u64(env, call.given[0], "capacity", &capacity) ||
        !get_u64(env, call.given[1], "ageing", &ageing_ns))
        return NULL;
    bytes = rlm_queue_bytes((size_t)capacity);
    self = (rlm_queue *)malloc(bytes == 0 ? sizeof *self : bytes);
    if (self == NULL) return no_memory(env);
    status = rlm_queue_init(self, bytes, (size_t)capacity, ageing_ns);
    if (status == RLM_OK) return wrap(&call, self, free_core, &queue_tag);
    free(self);
    return undefined_or_error(env, status);
}

/* push(data, priority, deadline or null, now) -> handle */
static napi_value queue_push(napi_env env, napi_callback_info info) {
    uint64_t data, deadline_ns, now_ns, handle = 0;
    uint32_t priority;
    napi_value answer;
    int status;
    SELF(rlm_queue, &queue_tag);
    if (!get_u64(env, call.given[0], "data", &data) || !get_u32(env, call.given[1], "priority", &priority) ||
        !get_u64_or(env, call.given[2], "deadline", RLM_NO_DEADLINE, &deadline_ns) ||
        !get_u64_or(env, call.given[3], "now", rlm_now(), &now_ns))
        return NULL;
    status = rlm_queue_push(self, data, priority, deadline_ns, now_ns, &handle);
    if (status != RLM_OK) return undefined_or_error(env, status);
    answer = u64_value(env, handle);
    if (answer == NULL) (void)rlm_queue_remove(self, handle);
    return answer;
}

static napi_value queue_head(napi_env env, napi_callback_info info) {
    uint64_t data = 0;
    SELF(rlm_queue, &queue_tag);
    return rlm_queue_head(self, NULL, &data) ? u64_value(env, data) : null_value(env);
}

static napi_value queue_expire(napi_env env, napi_callback_info info) {
    uint64_t data = 0, now_ns;
    SELF(rlm_queue, &queue_tag);
    if (!get_u64_or(env, call.given[0], "now", rlm_now(), &now_ns)) return NULL;
    return rlm_queue_expire(self, now_ns, NULL, &data) ? u64_value(env, data) : null_value(env);
}

static napi_value queue_remove(napi_env env, napi_callback_info info) {
    uint64_t handle;
    SELF(rlm_queue, &queue_tag);
    if (!get_u64(env, call.given[0], "handle", &handle)) return NULL;
    return undefined_or_error(env, rlm_queue_remove(self, handle));
}

static napi_value queue_deadline(napi_env env, napi_callback_info info) {
    SELF(rlm_queue, &queue_tag);
    return rlm_queue_deadline(self) == RLM_NO_DEADLINE ? null_value(env) : u64_value(env, rlm_queue_deadline(self));
}

static napi_value queue_count(napi_env env, napi_callback_info info) {
    SELF(rlm_queue, &queue_tag);
    return number_value(env, (double)rlm_queue_count(self));
}

static const Method queue_methods[] = {{"push", queue_push},     {"head", queue_head},         {"expire", queue_expire},
                                       {"remove", queue_remove}, {"deadline", queue_deadline}, {"count", queue_count}};

/* ---- Backoff ---------------------------------------------------------------------------------- */

/* The classes that users see are in lib/retry.js. */

static bool get_four(napi_env env, napi_value given, const char *field, uint64_t *four) {
    uint32_t i;
    if (is_absent(env, given)) return true;
    if (!is_array(env, given)) return fail(env, TYPE_ERROR, "%s: must be an array of four", field), false;
    for (i = 0; i < RLM_I_CLASSES; i++)
        if (!get_u64(env, element(env, given, i), field, &four[i])) return false;
    return true;
}

/* new BackoffPlan({ baseNs, factorPermille, capNs, floorNs, jitter, fractionPermille, attemptsMax, baseClassNs, leastClassNs,
   retryAfterMaxNs }): what is absent is as usual. */
static napi_value plan_new(napi_env env, napi_callback_info info) {
    Call call;
    rlm_backoff plan = rlm_backoff_default(), *self;
    uint64_t factor, jitter, fraction, attempts;
    napi_value given;
    int status;
    if (!constructed(env, info, &call)) return NULL;
    given = call.given[0];
    if (!get_u64_or(env, property(env, given, "baseNs"), "baseNs", plan.base_ns, &plan.base_ns) ||
        !get_u64_or(env, property(env, given, "capNs"), "capNs", plan.cap_ns, &plan.cap_ns) ||
        !get_u64_or(env, property(env, given, "floorNs"), "floorNs", plan.floor_ns, &plan.floor_ns) ||
        !get_u64_or(env, property(env, given, "retryAfterMaxNs"), "retryAfterMaxNs", plan.retry_after_max_ns,
                    &plan.retry_after_max_ns) ||
        !get_u64_or(env, property(env, given, "factorPermille"), "factorPermille", plan.factor_permille, &factor) ||
        !get_u64_or(env, property(env, given, "jitter"), "jitter", plan.jitter, &jitter) ||
        !get_u64_or(env, property(env, given, "fractionPermille"), "fractionPermille", plan.fraction_permille, &fraction) ||
        !get_u64_or(env, property(env, given, "attemptsMax"), "attemptsMax", plan.attempts_max, &attempts) ||
        !get_four(env, property(env, given, "baseClassNs"), "baseClassNs", plan.base_class_ns) ||
        !get_four(env, property(env, given, "leastClassNs"), "leastClassNs", plan.least_class_ns))
        return NULL;
    if (factor > UINT32_MAX || jitter > UINT32_MAX || fraction > UINT32_MAX || attempts > UINT32_MAX)
        return undefined_or_error(env, RLM_E_BACKOFF);
    plan.factor_permille = (uint32_t)factor;
    plan.jitter = (uint32_t)jitter;
    plan.fraction_permille = (uint32_t)fraction;
    plan.attempts_max = (uint32_t)attempts;
    status = rlm_backoff_check(&plan);
    if (status != RLM_OK) return undefined_or_error(env, status);
    self = (rlm_backoff *)malloc(sizeof *self);
    if (self == NULL) return no_memory(env);
    *self = plan;
    return wrap(&call, self, free_core, &plan_tag);
}

typedef struct Delays {
    rlm_backoff plan;
    rlm_backoff_state state;
} Delays;

/* next(error_class, priority, retry_after_ns = 0) -> ns, or NEVER */
static napi_value delays_next(napi_env env, napi_callback_info info) {
    uint32_t error_class, priority;
    uint64_t retry_after_ns;
    rlm_backoff_state before;
    napi_value answer;
    SELF(Delays, &delays_tag);
    if (!get_u32(env, call.given[0], "errorClass", &error_class) || !get_u32(env, call.given[1], "priority", &priority) ||
        !get_u64_or(env, call.given[2], "retryAfter", 0, &retry_after_ns))
        return NULL;
    before = self->state;
    answer = u64_value(env, rlm_backoff_next(&self->plan, &self->state, error_class, priority, retry_after_ns));
    if (answer == NULL) self->state = before;
    return answer;
}

/* start(seed) -> the delays of one request: an object with next() */
static napi_value plan_start(napi_env env, napi_callback_info info) {
    uint64_t seed;
    Delays *delays;
    napi_value object = NULL, function = NULL;
    SELF(rlm_backoff, &plan_tag);
    if (!get_u64(env, call.given[0], "seed", &seed)) return NULL;
    if (napi_create_object(env, &object) != napi_ok ||
        napi_create_function(env, "next", NAPI_AUTO_LENGTH, delays_next, NULL, &function) != napi_ok)
        return no_memory(env);
    delays = (Delays *)malloc(sizeof *delays);
    if (delays == NULL) return no_memory(env);
    delays->plan = *self;
    rlm_backoff_start(&delays->state, seed);
    set(env, object, "next", function);
    call.self = object;
    return wrap(&call, delays, free_core, &delays_tag);
}

static const Method plan_methods[] = {{"start", plan_start}};

typedef struct Budget {
    rlm_retry_budget core;
    Clock clock;
} Budget;

static void budget_free(napi_env env, void *data, void *hint) {
    Budget *self = (Budget *)data;
    (void)hint;
    clock_free(env, &self->clock);
    free(self);
}

/* new RetryBudget(sharePermille, perSecond, burst, clock) */
static napi_value budget_new(napi_env env, napi_callback_info info) {
    Call call;
    uint32_t share;
    uint64_t per_second, burst, now_ns = 0;
    Budget *self;
    int status = RLM_OK;
    if (!constructed(env, info, &call) || !get_u32(env, call.given[0], "share", &share) ||
        !get_u64(env, call.given[1], "perSecond", &per_second) || !get_u64(env, call.given[2], "burst", &burst))
        return NULL;
    self = (Budget *)calloc(1, sizeof *self);
    if (self == NULL) return no_memory(env);
    if (clock_begin(env, &self->clock, call.given[3], call.self) && clock_read(env, &self->clock, &now_ns)) {
        status = rlm_retry_budget_init(&self->core, share, per_second, burst, now_ns);
        if (status == RLM_OK) return wrap(&call, self, budget_free, &budget_tag);
    }
    budget_free(env, self, NULL);
    return undefined_or_error(env, status);
}

static napi_value budget_request(napi_env env, napi_callback_info info) {
    uint64_t now_ns;
    SELF(Budget, &budget_tag);
    if (clock_read(env, &self->clock, &now_ns)) rlm_retry_budget_request(&self->core, now_ns);
    return NULL;
}

static napi_value budget_retry(napi_env env, napi_callback_info info) {
    uint64_t now_ns, wait_ns;
    napi_value none;
    SELF(Budget, &budget_tag);
    if (!clock_read(env, &self->clock, &now_ns) || (none = u64_value(env, 0)) == NULL) return NULL;
    wait_ns = rlm_retry_budget_retry(&self->core, now_ns);
    return wait_ns == 0 ? none : u64_value(env, wait_ns);
}

static const Method budget_methods[] = {{"request", budget_request}, {"retry", budget_retry}};

/* ---- Estimates -------------------------------------------------------------------------------- */

/* A cost is an array of five amounts here. */
static bool get_cost(napi_env env, napi_value given, rlm_cost *cost) {
    uint32_t i;
    if (!is_array(env, given)) return fail(env, TYPE_ERROR, "cost: must be an array of five amounts"), false;
    for (i = 0; i < METERS; i++)
        if (!get_u64(env, element(env, given, i), "cost", &(&cost->requests)[i])) return false;
    return true;
}

static napi_value cost_items(napi_env env, const rlm_cost *cost) {
    napi_value item[METERS];
    int i;
    for (i = 0; i < METERS; i++) item[i] = number_value(env, (double)(&cost->requests)[i]);
    return array_of(env, item, METERS);
}

static napi_value route_new(napi_env env, napi_callback_info info) {
    Call call;
    uint32_t quantile;
    rlm_route *self;
    int status;
    if (!constructed(env, info, &call) || !get_u32(env, call.given[0], "quantile", &quantile)) return NULL;
    self = (rlm_route *)calloc(1, sizeof *self);
    if (self == NULL) return no_memory(env);
    status = rlm_route_init(self, quantile);
    if (status == RLM_OK) return wrap(&call, self, free_core, &route_tag);
    free(self);
    return undefined_or_error(env, status);
}

static napi_value route_estimate(napi_env env, napi_callback_info info) {
    rlm_cost cost;
    SELF(rlm_route, &route_tag);
    if (!get_cost(env, call.given[0], &cost)) return NULL;
    cost = rlm_route_estimate(self, &cost);
    return cost_items(env, &cost);
}

static napi_value route_learn(napi_env env, napi_callback_info info) {
    rlm_cost estimate, actual;
    SELF(rlm_route, &route_tag);
    if (!get_cost(env, call.given[0], &estimate) || !get_cost(env, call.given[1], &actual)) return NULL;
    return undefined_or_error(env, rlm_route_learn(self, &estimate, &actual));
}

static const Method route_methods[] = {{"estimate", route_estimate}, {"learn", route_learn}};

/* ---- HTTP ------------------------------------------------------------------------------------- */

static const char *const provider_names[] = {"anthropic", "openai",   "azure",      "bedrock", "gemini",
                                             "groq",      "cerebras", "openrouter", "litellm", "generic"};

static bool get_profile(napi_env env, napi_value given, rlm_http_profile *profile) {
    char name[32] = "";
    if (type_of(env, given) != napi_string) return fail(env, TYPE_ERROR, "provider: must be a string"), false;
    (void)napi_get_value_string_utf8(env, given, name, sizeof name, NULL);
    if (rlm_http_profile_of(name, profile)) return true;
    (void)fail(env, RANGE_ERROR,
               "provider: must be anthropic, openai, azure, bedrock, gemini, groq, cerebras, openrouter, litellm or generic, not '%s'",
               name);
    return false;
}

/* httpLimits(provider) -> [[meter, spec], ...]: what it limits, all to be learned */
static napi_value http_limits(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    rlm_http_profile profile;
    rlm_limit limits[RLM_I_METER_COUNT];
    napi_value item[RLM_I_METER_COUNT], pair[2];
    size_t i, count;
    if (!get_profile(env, call.given[0], &profile)) return NULL;
    count = rlm_http_limits(&profile, limits, RLM_I_METER_COUNT, 0);
    for (i = 0; i < count; i++) {
        pair[0] = number_value(env, limits[i].meter);
        pair[1] = spec_value(env, &limits[i]);
        item[i] = array_of(env, pair, 2);
    }
    return array_of(env, item, (uint32_t)count);
}

/* The arguments (provider, { inputTokens, cacheRead, cacheWrite, outputTokens, outputMax, outputExpected }). */
static bool get_usage(const Call *call, rlm_http_profile *profile, rlm_http_usage *usage, uint64_t *expected) {
    static const char *const names[] = {"inputTokens", "cacheRead", "cacheWrite", "outputTokens", "outputMax", "outputExpected"};
    uint64_t amount[COUNT_OF(names)];
    size_t i;
    if (!get_profile(call->env, call->given[0], profile)) return false;
    for (i = 0; i < COUNT_OF(names); i++) {
        if (!get_u64_or(call->env, property(call->env, call->given[1], names[i]), names[i], 0, &amount[i])) return false;
        if (amount[i] > RLM_AMOUNT_MAX)
            return fail(call->env, RANGE_ERROR, "%s: must be 0 to 2^40, not %.0f", names[i], (double)amount[i]), false;
    }
    usage->input_tokens = amount[0];
    usage->cache_read_tokens = amount[1];
    usage->cache_write_tokens = amount[2];
    usage->output_tokens = amount[3];
    usage->output_max = amount[4];
    *expected = amount[5];
    return true;
}

static napi_value cost_value(napi_env env, const rlm_cost *cost) {
    static const char *const names[METERS] = {"requests", "inputTokens", "outputTokens", "microdollars", "custom"};
    napi_value object = NULL;
    int i;
    if (napi_create_object(env, &object) != napi_ok) return no_memory(env);
    for (i = 0; i < METERS; i++) set(env, object, names[i], number_value(env, (double)(&cost->requests)[i]));
    return object;
}

static napi_value http_estimate(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    rlm_http_profile profile;
    rlm_http_usage usage;
    uint64_t expected;
    rlm_cost cost;
    if (!get_usage(&call, &profile, &usage, &expected)) return NULL;
    cost = rlm_http_estimate(&profile, &usage, expected);
    return cost_value(env, &cost);
}

static napi_value http_charge(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    rlm_http_profile profile;
    rlm_http_usage usage;
    uint64_t expected;
    rlm_cost cost;
    if (!get_usage(&call, &profile, &usage, &expected)) return NULL;
    cost = rlm_http_charge(&profile, &usage);
    return cost_value(env, &cost);
}

/* A string's bytes as UTF-8: in the room given, or in memory that *allocated then is. null: no string; or no memory, which it
   throws. */
static char *utf8_of(napi_env env, napi_value value, char *room, size_t bytes, size_t *count, char **allocated) {
    char *text = room;
    size_t needed = 0;
    *allocated = NULL;
    if (napi_get_value_string_utf8(env, value, room, bytes, count) != napi_ok) return NULL;
    if (*count + 4 < bytes) return text; /* it ends before the room does, so it is whole */
    if (napi_get_value_string_utf8(env, value, NULL, 0, &needed) != napi_ok) return NULL;
    text = (char *)malloc(needed + 1);
    *allocated = text;
    if (text != NULL && napi_get_value_string_utf8(env, value, text, needed + 1, count) == napi_ok) return text;
    (void)no_memory(env);
    return NULL;
}

static bool take_headers(napi_env env, rlm_http *http, napi_value pairs) {
    char name_room[128], value_room[1024], *name, *value, *long_name = NULL, *long_value = NULL;
    size_t name_bytes, value_bytes;
    uint32_t i, count = 0;
    bool done = true;
    napi_handle_scope scope;
    if (napi_get_array_length(env, pairs, &count) != napi_ok) return fail(env, TYPE_ERROR, "headers: must be an array"), false;
    for (i = 0; done && i + 1 < count; i += 2) {
        if (napi_open_handle_scope(env, &scope) != napi_ok) return no_memory(env), false;
        name = utf8_of(env, element(env, pairs, i), name_room, sizeof name_room, &name_bytes, &long_name);
        value = name == NULL ? NULL
                             : utf8_of(env, element(env, pairs, i + 1), value_room, sizeof value_room, &value_bytes, &long_value);
        done = name != NULL && value != NULL;
        if (done) rlm_http_header(http, name, name_bytes, value, value_bytes);
        free(long_name);
        free(long_value);
        long_name = long_value = NULL;
        (void)napi_close_handle_scope(env, scope);
    }
    if (!done) (void)fail(env, TYPE_ERROR, "headers: names and values must be strings");
    return done;
}

/* parseRaw(status, [name, value, ...], bytes of the body or undefined, provider, wall_ns or undefined: now)
   -> [verdict, reason, error_class, capped, wait_ns, bytes of the feedback] */
static napi_value http_parse(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    rlm_http_profile profile;
    rlm_http http;
    int32_t status = 0;
    uint64_t wall_ns;
    void *body = NULL, *bytes = NULL;
    size_t body_bytes = 0;
    napi_value item[6];
    if (napi_get_value_int32(env, call.given[0], &status) != napi_ok) return fail(env, TYPE_ERROR, "status: must be a number");
    if (!get_profile(env, call.given[3], &profile) || !get_u64_or(env, call.given[4], "wall", rlm_wall(), &wall_ns)) return NULL;
    if (!is_absent(env, call.given[2]) && !bytes_of(env, call.given[2], &body, &body_bytes))
        return fail(env, TYPE_ERROR, "body: must be a string or bytes");
    rlm_http_begin(&http, &profile, wall_ns);
    if (!take_headers(env, &http, call.given[1])) return NULL;
    rlm_http_end(&http, status, (const char *)body, body_bytes);
    item[0] = number_value(env, http.verdict);
    item[1] = number_value(env, http.reason);
    item[2] = number_value(env, http.error_class);
    item[3] = number_value(env, http.capped);
    item[4] = u64_value(env, http.wait_ns);
    item[5] = new_bytes(env, sizeof http.feedback, &bytes);
    if (item[5] == NULL) return NULL;
    memcpy(bytes, &http.feedback, sizeof http.feedback);
    return array_of(env, item, 6);
}

/* ---- Module ----------------------------------------------------------------------------------- */

/* strerror(status) -> [text, index of the limit or -1, name] */
static napi_value addon_strerror(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    int32_t status = 0;
    char name[32];
    napi_value item[3];
    if (napi_get_value_int32(env, call.given[0], &status) != napi_ok) return fail(env, TYPE_ERROR, "status: must be a number");
    status_code_name(status, name, sizeof name);
    item[0] = text_value(env, rlm_strerror(status));
    item[1] = number_value(env, rlm_status_limit(status));
    item[2] = text_value(env, name);
    return array_of(env, item, 3);
}

/* useErrors(LimitError): what to throw */
static napi_value addon_use_errors(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    Env *state = env_state(env);
    if (type_of(env, call.given[0]) != napi_function) return fail(env, TYPE_ERROR, "LimitError: must be a class");
    if (state->limit_error != NULL) (void)napi_delete_reference(env, state->limit_error);
    state->limit_error = NULL;
    if (napi_create_reference(env, call.given[0], 1, &state->limit_error) != napi_ok) return no_memory(env);
    return NULL;
}

static void add_functions(napi_env env, napi_value exports) {
    static const Method functions[] = {
        {"now", addon_now},           {"nowCoarse", addon_now_coarse},  {"wall", addon_wall},
        {"strerror", addon_strerror}, {"useErrors", addon_use_errors},  {"parseRaw", http_parse},
        {"httpLimits", http_limits},  {"httpEstimate", http_estimate},  {"httpCharge", http_charge},
        {"checkLimit", addon_check_limit}};
    size_t i;
    for (i = 0; i < COUNT_OF(functions); i++) {
        const Method *one = &functions[i];
        napi_value function = NULL;
        if (napi_create_function(env, one->name, NAPI_AUTO_LENGTH, one->call, NULL, &function) != napi_ok) (void)no_memory(env);
        else set(env, exports, one->name, function);
    }
}

static void add_constants(napi_env env, napi_value exports) {
    napi_value names[COUNT_OF(provider_names)];
    size_t i;
    for (i = 0; i < COUNT_OF(provider_names); i++) names[i] = text_value(env, provider_names[i]);
    set(env, exports, "PROVIDERS", array_of(env, names, COUNT_OF(provider_names)));
    set(env, exports, "NEVER", u64_value(env, RLM_NEVER));
    set(env, exports, "ON_RELEASE", u64_value(env, RLM_ON_RELEASE));
    set(env, exports, "VERSION", text_value(env, RLM_VERSION));
    set(env, exports, "LIMITS_MAX", number_value(env, RLM_LIMITS_MAX));
    set(env, exports, "READINGS_MAX", number_value(env, RLM_READINGS_MAX));
    set(env, exports, "FEEDBACK_BYTES", number_value(env, (double)sizeof(rlm_feedback)));
}

NAPI_MODULE_INIT() {
    Env *state = (Env *)calloc(1, sizeof *state);
    if (state == NULL || napi_set_instance_data(env, state, env_free, NULL) != napi_ok) {
        free(state);
        return no_memory(env);
    }
    add_constants(env, exports);
    add_functions(env, exports);
    define_class(env, exports, "Bucket", bucket_new, bucket_methods, COUNT_OF(bucket_methods));
    define_class(env, exports, "Window", window_new, window_methods, COUNT_OF(window_methods));
    define_class(env, exports, "Concurrency", concurrency_new, concurrency_methods, COUNT_OF(concurrency_methods));
    define_class(env, exports, "Calendar", calendar_new, calendar_methods, COUNT_OF(calendar_methods));
    define_class(env, exports, "Queue", queue_new, queue_methods, COUNT_OF(queue_methods));
    define_class(env, exports, "BackoffPlan", plan_new, plan_methods, COUNT_OF(plan_methods));
    define_class(env, exports, "RetryBudget", budget_new, budget_methods, COUNT_OF(budget_methods));
    define_class(env, exports, "RouteCore", route_new, route_methods, COUNT_OF(route_methods));
    define_class(env, exports, "Limiter", limiter_new, limiter_methods, COUNT_OF(limiter_methods));
    return exports;
}

/* MIT License. Copyright (c) 2026 The rlimit authors. The terms stand at the end of rlimit.h. */
