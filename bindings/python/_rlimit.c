/* _rlimit.c - the extension rlimit._rlimit: rlimit.h and rlimit_http.h for Python - part of rlimit - MIT licence

   Decisions are made by rlimit.h; here are objects around them, and the line of those who wait. Sections are in the order of
   rlimit.h. The classes that users see are subclasses or names of these, in the package beside.

   WAITING   A limiter has one rlm_queue of Acquire objects, of threads and tasks alike. Only its head asks rlm_acquire,
   itself: so whoever gives up holds no permit. The head has a timer for its admission, each for its own deadline. Who
             leaves the queue wakes the new head, and so does whoever settles, cancels, observes, reconfigures, pauses, or
             moves a clock that is set by hand.
             A thread sleeps on a lock of its own; a task is woken by a callable that its event loop's side (_waiting.py)
             gave: it is called outside the lock, from any thread.

   LOCKING   With the GIL, whatever calls no Python code is not interrupted: LOCK is nothing, and the words of the decisions
             are plain memory (8 ns less for each of their swaps). Without, LOCK is a mutex of the limiter, held for the queue
             and the list of permits, and never while Python code runs or anybody sleeps; the decisions are lock-free. A
             waiter in the queue is a borrowed reference: it leaves before it is freed.

   STATE     None is static: types, names and exceptions are in the module's state, one for each interpreter. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h> /* T_OBJECT, PyMemberDef before 3.12 */
#include <pythread.h>
#if PY_VERSION_HEX < 0x030B0000
#include <longintrepr.h> /* ob_digit */
#endif

#ifndef Py_GIL_DISABLED
#define RLM_NO_ATOMICS
#endif
#define RLM_STATIC
#define RLM_IMPLEMENTATION
#define RLM_LIMITS_MAX 12     /* two for each meter, and the connections */
#define RLM_WINDOW_CELLS 1056 /* four sliding windows */
#include "rlimit_http.h"

#ifdef Py_GIL_DISABLED
#define LOCK(limiter) PyMutex_Lock(&(limiter)->mutex)
#define UNLOCK(limiter) PyMutex_Unlock(&(limiter)->mutex)
#else
#define LOCK(limiter) ((void)(limiter))
#define UNLOCK(limiter) ((void)(limiter))
#endif

#ifdef Py_GIL_DISABLED
enum { FREE_MAX = 0 }; /* a list that threads would have to share is no gain */
#else
enum { FREE_MAX = 64 };
#endif

enum { METERS = 5, SLEEP_MAX_S = 86400 };
enum { VERDICT_NONE, VERDICT_TIMEOUT, VERDICT_CANCELLED, VERDICT_CLOSED, VERDICT_FORKED, VERDICT_NEVER };
static const uint64_t NO_TIMER = UINT64_MAX;

/* ---- Module state ---------------------------------------------------------------------------- */

struct Permit;
struct Acquire;

typedef struct State {
    PyTypeObject *limiter_type, *permit_type, *acquire_type, *done_type, *manual_type, *bucket_type, *window_type,
        *concurrency_type, *calendar_type, *queue_type, *reading_type, *feedback_type, *route_type, *plan_type, *delays_type,
        *budget_type, *response_type;
    PyTypeObject *check_type;                   /* named tuple */
    PyObject *timeout_error, *full_error, *never_error, *cancelled_error, *limit_error;
    PyObject *meter[METERS + 2];                /* what a cost has, in the order of rlm_cost; "priority", "timeout" */
    PyObject *meter_name[RLM_I_METER_COUNT];    /* names of what a limit counts */
    PyObject *feedback, *permit;                /* keywords */
    PyObject *priority_name[RLM_I_PRIORITIES];
    PyObject *spec;                             /* "_spec" */
    PyObject *done;                             /* an awaitable that is there already */
    PyObject *wait_async, *note;                /* of rlimit._waiting, once somebody waited */
    PyObject *error_of;                         /* of rlimit._limit, once a limit was refused */
    uint64_t forks;                             /* how often this process is a child of itself */
    struct Permit *free_permit[FREE_MAX + 1];
    struct Acquire *free_acquire[FREE_MAX + 1];
    int free_permits, free_acquires, free_max;
} State;

static struct PyModuleDef definition;

static State *state_of(PyObject *module) { return (State *)PyModule_GetState(module); }

/* The state by the class of self, or by one that it inherits: for what is not called often. */
static State *state_by(PyObject *self) {
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(self), &definition);
    return module == NULL ? NULL : state_of(module);
#else
    PyObject *mro = Py_TYPE(self)->tp_mro;
    Py_ssize_t i;
    for (i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        PyObject *module = (type->tp_flags & Py_TPFLAGS_HEAPTYPE) != 0 ? ((PyHeapTypeObject *)type)->ht_module : NULL;
        if (module != NULL && PyModule_GetDef(module) == &definition) return state_of(module);
    }
    PyErr_SetString(PyExc_SystemError, "not a type of this module");
    return NULL;
#endif
}

/* One of a list of free objects: they keep the reference to their type. */
RLM_I_INLINE void revive(PyObject *object) {
#ifdef Py_TRACE_REFS
    _Py_NewReference(object);
#else
    Py_SET_REFCNT(object, 1);
#endif
}

static PyObject *new_object(PyTypeObject *type) { return type->tp_alloc(type, 0); }

static PyObject *not_made(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    PyErr_Format(PyExc_TypeError, "%s: made by a limiter, not by calling it", type->tp_name);
    return NULL;
}

PyDoc_STRVAR(no_pickle_doc, "Raises TypeError: what a limiter knows belongs to its process.");
static PyObject *no_pickle(PyObject *self, PyObject *unused) {
    (void)unused;
    PyErr_Format(PyExc_TypeError,
                 "cannot pickle or copy %s: its state belongs to this process; make another one from the same limits",
                 Py_TYPE(self)->tp_name);
    return NULL;
}
#define NO_PICKLE {"__reduce__", no_pickle, METH_NOARGS, no_pickle_doc}

static void free_object(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- Arguments and errors -------------------------------------------------------------------- */

static const char *const status_names[RLM_I_STATUS_COUNT] = {
    "ok",    "null",       "limits",  "kind",   "meter", "amount",  "period",    "rate",   "burst",    "span",
    "guard", "utc_offset", "cells",   "memory", "index", "cost",    "permit",    "busy",   "capacity", "priority",
    "full",  "handle",     "backoff", "clock",  "never", "timeout", "cancelled", "follow", "feedback", "unknown"};
static const char *const outcome_names[RLM_I_OUTCOMES] = {"answered", "refused", "slow_down", "overloaded", "failed"};
static const char *const verdict_names[] = {"ok", "retry", "wait", "never"};
static const char *const class_names[RLM_I_CLASSES] = {"rate_limit", "server", "network", "fatal"};
static const char *const reason_names[] = {"",      "rate_limit", "quota_day", "overload",    "server", "network",
                                           "spent", "auth",       "too_large", "bad_request", "told"};

/* Raises LimitError(text) with .code, and returns NULL. Takes the text; null: an error that is set already. */
static PyObject *raise_text(State *state, int status, PyObject *text) {
    int code = rlm_status_code(status);
    PyObject *error = text == NULL ? NULL : PyObject_CallOneArg(state->limit_error, text), *name;
    Py_XDECREF(text);
    if (error == NULL) return NULL;
    name = PyUnicode_FromString(code < RLM_I_STATUS_COUNT ? status_names[code] : "unknown");
    if (name != NULL && PyObject_SetAttrString(error, "code", name) == 0) PyErr_SetObject(state->limit_error, error);
    Py_XDECREF(name);
    Py_DECREF(error);
    return NULL;
}

static PyObject *raise_status(State *state, int status) {
    return raise_text(state, status, PyUnicode_FromString(rlm_strerror(status)));
}

static PyObject *not_begun(void) {
    PyErr_SetString(PyExc_RuntimeError, "__init__ was not called, or failed");
    return NULL;
}

static PyObject *none_or_error(PyObject *self, int status) {
    State *state;
    if (status == RLM_OK) Py_RETURN_NONE;
    if (status == RLM_E_NULL) return not_begun();
    state = state_by(self);
    return state == NULL ? NULL : raise_status(state, status);
}

/* The same for what returns an int: 0, or -1 and an error. */
static int zero_or_error(PyObject *self, int status) {
    PyObject *none = none_or_error(self, status);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* What is wrong with n where one of the pieces is changed by it: what it owes has a bound too. */
static PyObject *none_or_error_of(PyObject *self, int status, uint64_t n) {
    State *state;
    if (status != RLM_E_COST && status != RLM_E_PERMIT) return none_or_error(self, status);
    state = state_by(self);
    if (state == NULL) return NULL;
    if (status == RLM_E_PERMIT)
        return raise_text(state, status, PyUnicode_FromFormat("n: must be at most what is out, not %llu", (unsigned long long)n));
    return raise_text(state, status, PyUnicode_FromFormat("n: must be 0 to 2^40, and no more than can be owed, not %llu",
                                                          (unsigned long long)n));
}

/* TypeError "field: must be what, not the type of value", in place of one that does not say which field; others are kept. */
static void must_be(const char *field, const char *what, PyObject *value) {
    if (PyErr_Occurred() != NULL && !PyErr_ExceptionMatches(PyExc_TypeError)) return;
    PyErr_Format(PyExc_TypeError, "%s: must be %s, not %s", field, what, Py_TYPE(value)->tp_name);
}

/* A whole number of 0 to most, or an error that says which field. */
static int whole_number(PyObject *value, const char *field, uint64_t most, uint64_t *number) {
    PyObject *index = PyBool_Check(value) ? NULL : PyNumber_Index(value);
    if (index == NULL) return must_be(field, "an int", value), -1;
    *number = PyLong_AsUnsignedLongLong(index);
    if (*number == UINT64_MAX && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s: must be 0 to %llu, not %S", field, (unsigned long long)most, index);
        Py_DECREF(index);
        return -1;
    }
    Py_DECREF(index);
    if (*number <= most) return 0;
    PyErr_Format(PyExc_ValueError, "%s: must be 0 to %llu, not %llu", field, (unsigned long long)most,
                 (unsigned long long)*number);
    return -1;
}

/* An int of one digit (below 2^30) without a call, as most amounts are. */
RLM_I_INLINE bool small_amount(PyObject *value, uint64_t *amount) {
    Py_ssize_t number;
    if (!PyLong_CheckExact(value)) return false;
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)value)) return false;
    number = PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    if ((size_t)Py_SIZE(value) > 1) return false;
    number = Py_SIZE(value) == 0 ? 0 : (Py_ssize_t)((PyLongObject *)value)->ob_digit[0];
#endif
    *amount = (uint64_t)number;
    return number >= 0;
}

/* An amount of a meter, 0 to 2^40. */
static int amount_of(PyObject *value, PyObject *field, uint64_t *amount) {
    PyObject *index = NULL;
    int overflow = 0;
    long long number;
    if (!PyLong_Check(value)) {
        index = PyNumber_Index(value);
        if (index == NULL) return must_be(PyUnicode_AsUTF8(field), "an int", value), -1;
        value = index;
    }
    number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0 || number < 0 || (uint64_t)number > RLM_AMOUNT_MAX) {
        PyErr_Format(PyExc_ValueError, "%U: must be 0 to 2^40, not %S", field, value);
        Py_XDECREF(index);
        return -1;
    }
    Py_XDECREF(index);
    *amount = (uint64_t)number;
    return 0;
}

/* A number; one beyond all doubles is infinite. */
static int number_of(PyObject *value, const char *field, const char *what, double *number) {
    int overflow = 0;
    *number = PyBool_Check(value) ? -1.0 : PyFloat_AsDouble(value);
    if (*number != -1.0) return 0;
    if (PyErr_Occurred() != NULL && PyErr_ExceptionMatches(PyExc_OverflowError) && PyLong_Check(value)) {
        PyErr_Clear();
        (void)PyLong_AsLongLongAndOverflow(value, &overflow);
        *number = overflow < 0 ? -Py_HUGE_VAL : Py_HUGE_VAL;
        return 0;
    }
    if (!PyBool_Check(value) && PyErr_Occurred() == NULL) return 0;
    return must_be(field, what, value), -1;
}

/* Seconds, rounded up to nanoseconds; None: `none`. most: what is said of more than 2^55 ns (417 days), or null: that counts as
   so many, and what nobody lives to see as `none`. */
static int seconds_of(PyObject *value, const char *field, uint64_t none, const char *most, uint64_t *ns) {
    double seconds, whole;
    if (value == Py_None) {
        *ns = none;
        return 0;
    }
    if (number_of(value, field, "a number of seconds or None", &seconds) < 0) return -1;
    if (!(seconds >= 0) || (seconds >= 36028797.0 && most != NULL)) {
        PyErr_Format(PyExc_ValueError, "%s: must be 0 %s seconds, not %S", field, most != NULL ? most : "or more", value);
        return -1;
    }
    if (seconds >= 36028797.0) {
        *ns = seconds > 1e300 ? none : UINT64_C(1) << 55;
        return 0;
    }
    whole = (double)(uint64_t)seconds;
    seconds = (seconds - whole) * 1e9;
    *ns = (uint64_t)whole * RLM_SECOND_NS + (uint64_t)seconds + ((double)(uint64_t)seconds < seconds);
    return 0;
}

static double seconds_from(uint64_t ns) { return (double)ns / 1e9; }

/* A wait in seconds; no time that could be told: infinity. */
static double wait_from(uint64_t wait_ns) { return wait_ns >= RLM_ON_RELEASE ? Py_HUGE_VAL : seconds_from(wait_ns); }

static int priority_of(State *state, PyObject *value, uint32_t *priority) {
    uint32_t i;
    for (i = 0; i < RLM_I_PRIORITIES; i++)
        if (value == state->priority_name[i]) return (void)(*priority = i), 0;
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "priority: must be a str, not %s", Py_TYPE(value)->tp_name);
        return -1;
    }
    for (i = 0; i < RLM_I_PRIORITIES; i++)
        if (PyUnicode_Compare(value, state->priority_name[i]) == 0) return (void)(*priority = i), 0;
    PyErr_Format(PyExc_ValueError, "priority: must be critical, high, normal or low, not %R", value);
    return -1;
}

/* Which of count names this keyword is: by identity, as names in source text are interned; else by their text. */
static int keyword_index(PyObject *const *names, int count, PyObject *keyword) {
    int i;
    for (i = 0; i < count; i++)
        if (RLM_I_LIKELY(keyword == names[i])) return i;
    for (i = 0; i < count; i++)
        if (PyUnicode_Compare(keyword, names[i]) == 0) return i;
    return -1;
}

static int no_positional(const char *function, Py_ssize_t given) {
    PyErr_Format(PyExc_TypeError, "%s() takes keyword arguments only (%zd positional given): requests=, input_tokens=, ...",
                 function, given);
    return -1;
}

static int unexpected(const char *function, PyObject *keyword) {
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, keyword);
    return -1;
}

/* A cost of keyword arguments, over what is in it already. */
static int cost_of(State *state, const char *function, PyObject *const *args, Py_ssize_t given, PyObject *keywords,
                   rlm_cost *cost) {
    uint64_t *amounts = &cost->requests;
    Py_ssize_t i, count = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    if (given != 0) return no_positional(function, given);
    for (i = 0; i < count; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        int meter = keyword_index(state->meter, METERS, keyword);
        if (meter < 0) return unexpected(function, keyword);
        if (RLM_I_UNLIKELY(!small_amount(args[i], &amounts[meter])) &&
            amount_of(args[i], state->meter[meter], &amounts[meter]) < 0)
            return -1;
    }
    return 0;
}

static PyObject *cost_dict(State *state, const rlm_cost *cost) {
    const uint64_t *amounts = &cost->requests;
    PyObject *dict = PyDict_New();
    int i;
    for (i = 0; dict != NULL && i < METERS; i++) {
        PyObject *amount = PyLong_FromUnsignedLongLong(amounts[i]);
        if (amount == NULL || PyDict_SetItem(dict, state->meter[i], amount) < 0) Py_CLEAR(dict);
        Py_XDECREF(amount);
    }
    return dict;
}

/* Amounts that are more debt than a limit can hold: those that are not 0, by name, and what became of it. */
static PyObject *raise_debt(State *state, int status, const char *function, const rlm_cost *cost, const char *result) {
    const uint64_t *amounts = &cost->requests;
    PyObject *text = PyUnicode_FromFormat("%s: more debt than a limit can hold:", function), *more;
    int i;
    for (i = 0; text != NULL && i < METERS; i++) {
        if (amounts[i] == 0) continue;
        more = PyUnicode_FromFormat("%U %U=%llu", text, state->meter[i], (unsigned long long)amounts[i]);
        Py_DECREF(text);
        text = more;
    }
    more = text == NULL ? NULL : PyUnicode_FromFormat("%U; %s", text, result);
    Py_XDECREF(text);
    return raise_text(state, status, more);
}

/* Whether it has a method items; -1 and an error where that cannot be told. */
static int has_items(PyObject *object) {
    PyObject *items = PyObject_GetAttrString(object, "items");
    if (items == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
    if (items == NULL) return PyErr_Clear(), 0;
    Py_DECREF(items);
    return 1;
}

/* One amount of a mapping: item is a pair. */
static int take_amount(State *state, PyObject *item, const char *field, rlm_cost *cost) {
    uint64_t *amounts = &cost->requests;
    PyObject *key;
    int meter;
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) return must_be(field, "a mapping: items() in pairs", item), -1;
    key = PyTuple_GET_ITEM(item, 0);
    meter = PyUnicode_Check(key) ? keyword_index(state->meter, METERS, key) : -1;
    if (meter >= 0) return amount_of(PyTuple_GET_ITEM(item, 1), state->meter[meter], &amounts[meter]);
    PyErr_Format(PyExc_ValueError, "%s: %R: must be requests, input_tokens, output_tokens, microdollars or custom", field, key);
    return -1;
}

/* A cost of a mapping, as RequestCost or a dict. */
static int cost_of_mapping(State *state, PyObject *mapping, const char *field, rlm_cost *cost) {
    PyObject *items = has_items(mapping) > 0 ? PyMapping_Items(mapping) : NULL;
    Py_ssize_t i;
    int status = 0;
    if (items == NULL) return must_be(field, "a mapping of meters to ints", mapping), -1;
    for (i = 0; i < PyList_GET_SIZE(items) && status == 0; i++)
        status = take_amount(state, PyList_GET_ITEM(items, i), field, cost);
    Py_DECREF(items);
    return status;
}

static PyObject *text_of(const char *text) { return PyUnicode_FromString(text); }

static int outcome_of(PyObject *value) {
    int i;
    if (!PyUnicode_Check(value)) return must_be("outcome", "a str", value), -1;
    for (i = 0; i < RLM_I_OUTCOMES; i++)
        if (PyUnicode_CompareWithASCIIString(value, outcome_names[i]) == 0) return i;
    PyErr_Format(PyExc_ValueError, "outcome: must be answered, refused, slow_down, overloaded or failed, not %R", value);
    return -1;
}

/* ---- Limits ---------------------------------------------------------------------------------- */

/* A limit is a tuple: kind, amount, period_ns, burst, guard_ns, cells, utc_offset_s, wall_offset_ns (None: the one given
   here), follow, least; or an object whose _spec is one. The class Limit is in _limit.py. */
static int limit_of(State *state, PyObject *object, uint32_t meter, int64_t wall_offset_ns, rlm_limit *limit) {
    PyObject *spec = PyTuple_Check(object) ? (Py_INCREF(object), object) : PyObject_GetAttr(object, state->spec), *offset;
    unsigned int kind, cells, follow, least;
    unsigned long long amount, period_ns, burst, guard_ns;
    int utc_offset_s, done;
    if (spec == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
    done = spec != NULL && PyTuple_Check(spec) &&
           PyArg_ParseTuple(spec, "IKKKKIiOII", &kind, &amount, &period_ns, &burst, &guard_ns, &cells, &utc_offset_s, &offset,
                            &follow, &least);
    if (done && offset != Py_None) {
        wall_offset_ns = PyLong_AsLongLong(offset);
        done = !(wall_offset_ns == -1 && PyErr_Occurred());
    }
    Py_XDECREF(spec);
    if (!done) return must_be("limit", "a Limit such as per_minute(50)", object), -1;
    limit->kind = kind;
    limit->meter = meter;
    limit->amount = amount;
    limit->period_ns = period_ns;
    limit->burst = burst;
    limit->guard_ns = guard_ns;
    limit->cells = cells;
    limit->utc_offset_s = utc_offset_s;
    limit->wall_offset_ns = wall_offset_ns;
    limit->follow = follow;
    limit->least = least;
    return 0;
}

/* Raises what error_of of rlimit._limit says of a limit that was refused: it has the words for users. */
static PyObject *raise_limit(State *state, int status, PyObject *limit, const char *kind) {
    PyObject *module, *error;
    if (status == RLM_E_NULL) return not_begun();
    if (status == RLM_E_MEMORY) return PyErr_NoMemory(); /* of a window */
    if (PyTuple_Check(limit)) return raise_status(state, status);
    if (state->error_of == NULL) {
        module = PyImport_ImportModule("rlimit._limit");
        if (module != NULL) state->error_of = PyObject_GetAttrString(module, "error_of");
        Py_XDECREF(module);
        if (state->error_of == NULL) return NULL;
    }
    error = PyObject_CallFunction(state->error_of, "isOs", status, "limit", limit, kind);
    if (error != NULL) PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

PyDoc_STRVAR(check_limit_doc, "check_limit(limit) -> status: whether a limiter could have it, alone and with room enough.");
static PyObject *check_limit(PyObject *module, PyObject *object) {
    rlm_limit limit;
    rlm_i_trial trial;
    int status;
    if (limit_of(state_of(module), object, RLM_REQUESTS, 0, &limit) < 0) return NULL;
    status = rlm_i_check_follow(&limit);
    return PyLong_FromLong(status != RLM_OK ? status : rlm_i_try_limit(&trial, &limit, 0));
}

static PyObject *spec_from(const rlm_limit *limit) {
    return Py_BuildValue("IKKKKIiLII", limit->kind, (unsigned long long)limit->amount, (unsigned long long)limit->period_ns,
                         (unsigned long long)limit->burst, (unsigned long long)limit->guard_ns, limit->cells,
                         limit->utc_offset_s, (long long)limit->wall_offset_ns, limit->follow, limit->least);
}

static PyObject *usage_from(const rlm_usage *usage) {
    return Py_BuildValue("KKLK", (unsigned long long)usage->limit, (unsigned long long)usage->used,
                         (long long)usage->remaining, (unsigned long long)usage->reset_ns);
}

/* ---- Clocks ---------------------------------------------------------------------------------- */

typedef struct ManualClock {
    PyObject_HEAD
    rlm_manual core;
} ManualClock;

static PyObject *manual_get(ManualClock *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(rlm_manual_now(&self->core));
}

static int manual_set(ManualClock *self, PyObject *value, void *unused) {
    uint64_t now_ns;
    (void)unused;
    if (value == NULL) return PyErr_SetString(PyExc_AttributeError, "now_ns: cannot be deleted"), -1;
    if (whole_number(value, "now_ns", UINT64_C(1) << 62, &now_ns) < 0) return -1;
    rlm_manual_set(&self->core, now_ns);
    return 0;
}

static PyGetSetDef manual_getset[] = {
    {"_now_ns", (getter)manual_get, (setter)manual_set, "The time in nanoseconds; setting it wakes nobody.", NULL}, {0}};
static PyMethodDef manual_methods[] = {NO_PICKLE, {0}};
static PyType_Slot manual_slots[] = {{Py_tp_dealloc, free_object},
                                     {Py_tp_getset, manual_getset},
                                     {Py_tp_methods, manual_methods},
                                     {Py_tp_doc, "The time of a clock that is set by hand; see rlimit.ManualClock."},
                                     {0, NULL}};
static PyType_Spec manual_spec = {"rlimit._rlimit.ManualClock", sizeof(ManualClock), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, manual_slots};

/* Where a limiter or a retry budget has the time from: null is the system's monotonic clock. */
typedef struct Clock {
    ManualClock *manual;
    PyObject *callable;
} Clock;

static int clock_begin(State *state, Clock *clock, PyObject *given) {
    clock->manual = NULL;
    clock->callable = NULL;
    if (given == Py_None) return 0;
    if (PyObject_TypeCheck(given, state->manual_type)) clock->manual = (ManualClock *)given;
    else if (PyCallable_Check(given)) clock->callable = given;
    else {
        PyErr_Format(PyExc_TypeError, "clock: must be a ManualClock, a callable that returns nanoseconds, or None, not %s",
                     Py_TYPE(given)->tp_name);
        return -1;
    }
    Py_INCREF(given);
    return 0;
}

static void clock_clear(Clock *clock) {
    Py_CLEAR(clock->manual);
    Py_CLEAR(clock->callable);
}

static int clock_call(const Clock *clock, uint64_t *now_ns) {
    PyObject *callable = clock->callable, *answer;
    int status = -1;
    Py_INCREF(callable); /* it may begin its limiter anew, with another clock */
    answer = PyObject_CallNoArgs(callable);
    Py_DECREF(callable);
    if (answer != NULL && (PyBool_Check(answer) || !PyIndex_Check(answer)))
        PyErr_Format(PyExc_TypeError, "clock: must return nanoseconds as an int, not %s", Py_TYPE(answer)->tp_name);
    else if (answer != NULL) status = whole_number(answer, "clock", UINT64_MAX, now_ns);
    Py_XDECREF(answer);
    return status;
}

RLM_I_INLINE int clock_read(const Clock *clock, uint64_t *now_ns) {
    if (RLM_I_UNLIKELY(clock->callable != NULL)) return clock_call(clock, now_ns);
    *now_ns = clock->manual != NULL ? rlm_manual_now(&clock->manual->core) : rlm_now();
    return 0;
}

/* The time given, or the system's. */
static int now_of(PyObject *given, uint64_t *now_ns) {
    if (given == NULL || given == Py_None) return (void)(*now_ns = rlm_now()), 0;
    return whole_number(given, "now", UINT64_MAX, now_ns);
}

PyDoc_STRVAR(
    now_doc,
    "now() -> int\n\nThe monotonic clock in nanoseconds, from no particular moment; it counts time spent suspended where\n"
    "the system can tell. Never blocks.\n\n>>> now() <= now()\nTrue");
static PyObject *module_now(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLongLong(rlm_now());
}

PyDoc_STRVAR(now_coarse_doc,
             "now_coarse() -> int\n\nAs now(), several times faster, with a resolution of 1 to 16 ms. Do not mix the two.");
static PyObject *module_now_coarse(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLongLong(rlm_now_coarse());
}

PyDoc_STRVAR(wall_doc, "wall() -> int\n\nNanoseconds since 1970 UTC, of the wall clock.");
static PyObject *module_wall(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLongLong(rlm_wall());
}

/* ---- Token bucket ---------------------------------------------------------------------------- */

/* The single pieces: amounts and nanoseconds in, nanoseconds out. Each takes the time as `now`; without it, the monotonic
   clock's. */

#define PIECE_DOC(what) \
    what "\n\nTimes are ints of nanoseconds; now=None is the monotonic clock. Waits are ints: 0 admitted, NEVER larger " \
         "than\n" \
         "the limit, ON_RELEASE only when something is released, else nanoseconds after which it would be admitted.\n" \
         "Never blocks; safe in threads. Raises LimitError (a ValueError, its .code names the field) for bad limits and " \
         "amounts."

typedef struct Bucket {
    PyObject_HEAD
    rlm_bucket core;
} Bucket;

/* The arguments (n=1, now=None). */
static int n_and_now(PyObject *args, PyObject *kwargs, uint64_t *n, uint64_t *now_ns) {
    static char *names[] = {"n", "now", NULL};
    PyObject *amount = NULL, *now = NULL;
    *n = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO", names, &amount, &now)) return -1;
    if (amount != NULL && whole_number(amount, "n", UINT64_MAX, n) < 0) return -1;
    return now_of(now, now_ns);
}

/* The arguments (limit, now=None). */
typedef struct LimitNow {
    PyObject *given;
    rlm_limit limit;
    uint64_t now_ns;
} LimitNow;

static int limit_and_now(State *state, PyObject *args, PyObject *kwargs, LimitNow *to) {
    static char *names[] = {"limit", "now", NULL};
    PyObject *now = NULL;
    bool is_now;
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &to->given, &now)) return -1;
    if (now_of(now, &to->now_ns) < 0) return -1;
    is_now = now == NULL || now == Py_None;
    return limit_of(state, to->given, RLM_REQUESTS, is_now ? (int64_t)(rlm_wall() - to->now_ns) : 0, &to->limit);
}

#define DEFINE_INIT(name, Type, kind, init)                                            \
    static int name(Type *self, PyObject *args, PyObject *kwargs) {                    \
        State *state = state_by((PyObject *)self);                                     \
        LimitNow to;                                                                   \
        int status;                                                                    \
        if (limit_and_now(state, args, kwargs, &to) < 0) return -1;                    \
        status = (init);                                                               \
        return status == RLM_OK ? 0 : (raise_limit(state, status, to.given, kind), -1); \
    }
#define DEFINE_RECONFIGURE(name, Type, kind, call)                                     \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) {              \
        State *state = state_by((PyObject *)self);                                     \
        LimitNow to;                                                                   \
        int status;                                                                    \
        if (limit_and_now(state, args, kwargs, &to) < 0) return NULL;                  \
        status = (call);                                                               \
        if (status == RLM_OK) Py_RETURN_NONE;                                          \
        return raise_limit(state, status, to.given, kind);                             \
    }
#define DEFINE_WAIT(name, Type, call)                                                  \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) {              \
        uint64_t n, now_ns;                                                            \
        if (n_and_now(args, kwargs, &n, &now_ns) < 0) return NULL;                     \
        return PyLong_FromUnsignedLongLong(call);                                      \
    }
#define DEFINE_CHANGE(name, Type, call)                                                \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) {              \
        uint64_t n, now_ns;                                                            \
        if (n_and_now(args, kwargs, &n, &now_ns) < 0) return NULL;                     \
        return none_or_error_of((PyObject *)self, call, n);                            \
    }
#define DEFINE_STATUS(name, Type, call)                                                \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) {              \
        static char *names[] = {"now", NULL};                                          \
        PyObject *now = NULL;                                                          \
        uint64_t now_ns;                                                               \
        rlm_usage usage = {0, 0, 0, 0};                                                \
        int status;                                                                    \
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &now) || now_of(now, &now_ns) < 0) return NULL; \
        status = (call);                                                               \
        return status == RLM_OK ? usage_from(&usage) : none_or_error((PyObject *)self, status); \
    }
#define METHOD(name, function, doc) {name, (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS, doc}
#define TAKE_DOC \
    "take(n=1, now=None) -> int\n\nTakes n, or nothing: 0, NEVER, ON_RELEASE or the nanoseconds after which it would."
#define PEEK_DOC "peek(n=1, now=None) -> int\n\nAnswers as take would, and takes nothing."
#define CREDIT_DOC "credit(n=1, now=None)\n\nGives n back, never above what there was at first."
#define DEBIT_DOC "debit(n=1, now=None)\n\nTakes n whether it is there or not: the debt delays those who come after."
#define STATUS_DOC "status(now=None) -> (limit, used, remaining, reset_ns)\n\nremaining is negative in debt."
#define RECONFIGURE_DOC "reconfigure(limit, now=None)\n\nGives it new numbers; what is used stays."

DEFINE_INIT(bucket_init, Bucket, "bucket", rlm_bucket_init(&self->core, &to.limit, to.now_ns))
DEFINE_RECONFIGURE(bucket_reconfigure, Bucket, "bucket", rlm_bucket_reconfigure(&self->core, &to.limit, to.now_ns))
DEFINE_WAIT(bucket_take, Bucket, rlm_bucket_take(&self->core, n, now_ns))
DEFINE_WAIT(bucket_peek, Bucket, rlm_bucket_peek(&self->core, n, now_ns))
DEFINE_CHANGE(bucket_credit, Bucket, rlm_bucket_credit(&self->core, n, now_ns))
DEFINE_CHANGE(bucket_debit, Bucket, rlm_bucket_debit(&self->core, n, now_ns))
DEFINE_STATUS(bucket_status, Bucket, rlm_bucket_status(&self->core, &usage, now_ns))

PyDoc_STRVAR(
    reserve_doc,
    "reserve(n=1, max_wait=NEVER, now=None) -> int\n\nTakes n now, to be used after the answer in nanoseconds: a place in\n"
    "line. An answer above max_wait, or NEVER, took nothing.");
static PyObject *bucket_reserve(Bucket *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", "max_wait", "now", NULL};
    PyObject *amount = NULL, *max_wait = NULL, *now = NULL;
    uint64_t n = 1, max_wait_ns = RLM_NEVER - 1, now_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOO", names, &amount, &max_wait, &now)) return NULL;
    if (amount != NULL && whole_number(amount, "n", UINT64_MAX, &n) < 0) return NULL;
    if (max_wait != NULL && whole_number(max_wait, "max_wait", UINT64_MAX, &max_wait_ns) < 0) return NULL;
    if (now_of(now, &now_ns) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(rlm_bucket_reserve(&self->core, n, max_wait_ns, now_ns));
}

static PyMethodDef bucket_methods[] = {METHOD("take", bucket_take, TAKE_DOC),
                                       METHOD("peek", bucket_peek, PEEK_DOC),
                                       METHOD("reserve", bucket_reserve, reserve_doc),
                                       METHOD("credit", bucket_credit, CREDIT_DOC),
                                       METHOD("debit", bucket_debit, DEBIT_DOC),
                                       METHOD("status", bucket_status, STATUS_DOC),
                                       METHOD("reconfigure", bucket_reconfigure, RECONFIGURE_DOC),
                                       NO_PICKLE,
                                       {0}};
PyDoc_STRVAR(
    bucket_doc,
    PIECE_DOC(
        "Bucket(limit, now=None)\n\nOne token bucket: limit is per(amount, seconds) or its kin.\n\n"
        ">>> bucket = Bucket(per_second(2), now=0)\n>>> bucket.take(2, now=0), bucket.take(1, now=0)\n(0, 500000000)"));
static PyType_Slot bucket_slots[] = {{Py_tp_dealloc, free_object},
                                     {Py_tp_init, bucket_init},
                                     {Py_tp_methods, bucket_methods},
                                     {Py_tp_doc, (void *)bucket_doc},
                                     {0, NULL}};
static PyType_Spec bucket_spec = {"rlimit.Bucket", sizeof(Bucket), 0, Py_TPFLAGS_DEFAULT, bucket_slots};

/* ---- Sliding window -------------------------------------------------------------------------- */

typedef struct Window {
    PyObject_HEAD
    rlm_window *core;
} Window;

static int window_begin(Window *self, const rlm_limit *limit, uint64_t now_ns) {
    size_t bytes = rlm_window_bytes(limit);
    rlm_window scratch, *core = bytes == 0 ? &scratch : (rlm_window *)PyMem_Calloc(1, bytes);
    int status;
    if (core == NULL) return RLM_E_MEMORY;
    status = rlm_window_init(core, bytes, limit, now_ns);
    if (status == RLM_OK) {
        PyMem_Free(self->core);
        self->core = core;
    } else if (bytes != 0) PyMem_Free(core);
    return status;
}

static void window_free(Window *self) {
    PyMem_Free(self->core);
    free_object((PyObject *)self);
}

static bool has_begun(const void *core) {
    return core != NULL || (not_begun(), false);
}

DEFINE_INIT(window_init, Window, "window", window_begin(self, &to.limit, to.now_ns))
DEFINE_RECONFIGURE(window_reconfigure, Window, "window", (rlm_window_reconfigure(self->core, &to.limit)))
DEFINE_CHANGE(window_debit, Window, rlm_window_debit(self->core, n, now_ns))
DEFINE_STATUS(window_status, Window, rlm_window_status(self->core, &usage, now_ns))

#define DEFINE_PEEK(name, Type, call)                                                  \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) {              \
        uint64_t n, now_ns;                                                            \
        if (!has_begun(self->core) || n_and_now(args, kwargs, &n, &now_ns) < 0) return NULL; \
        return PyLong_FromUnsignedLongLong(call);                                      \
    }
DEFINE_PEEK(window_peek, Window, rlm_window_peek(self->core, n, now_ns))

/* A take that can be given back to: (wait_ns, mark). */
#define DEFINE_MARKED(name, Type, call)                                                \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) {              \
        uint64_t n, now_ns, mark = 0, wait_ns;                                         \
        if (!has_begun(self->core) || n_and_now(args, kwargs, &n, &now_ns) < 0) return NULL; \
        wait_ns = (call);                                                              \
        return Py_BuildValue("KK", (unsigned long long)wait_ns, (unsigned long long)mark); \
    }
#define DEFINE_MARK_CREDIT(name, Type, call) \
    static PyObject *name(Type *self, PyObject *args, PyObject *kwargs) { \
        static char *names[] = {"n", "mark", NULL}; \
        PyObject *amount, *given; \
        uint64_t n, mark; \
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO", names, &amount, &given)) return NULL; \
        if (whole_number(amount, "n", UINT64_MAX, &n) < 0 || whole_number(given, "mark", UINT64_MAX, &mark) < 0) \
            return NULL; \
        return none_or_error_of((PyObject *)self, call, n); \
    }
#define MARKED_DOC "take(n=1, now=None) -> (wait, mark)\n\nTakes n if wait is 0; credit(n, mark) gives some of it back."
#define MARK_CREDIT_DOC "credit(n, mark)\n\nGives n back to the take that this mark is of, while it still counts."
DEFINE_MARKED(window_take, Window, rlm_window_take(self->core, n, now_ns, &mark))
DEFINE_MARK_CREDIT(window_credit, Window, rlm_window_credit(self->core, n, mark))

static PyMethodDef window_methods[] = {METHOD("take", window_take, MARKED_DOC),
                                       METHOD("peek", window_peek, PEEK_DOC),
                                       METHOD("credit", window_credit, MARK_CREDIT_DOC),
                                       METHOD("debit", window_debit, DEBIT_DOC),
                                       METHOD("status", window_status, STATUS_DOC),
                                       METHOD("reconfigure", window_reconfigure, RECONFIGURE_DOC),
                                       NO_PICKLE,
                                       {0}};
PyDoc_STRVAR(
    window_doc,
    PIECE_DOC(
        "Window(limit, now=None)\n\nOne sliding window: limit is sliding(amount, seconds).\n\n"
        ">>> window = Window(sliding(1, 60), now=0)\n>>> window.take(now=0)[0], window.take(now=0)[0]\n(0, 60000000000)"));
static PyType_Slot window_slots[] = {{Py_tp_dealloc, window_free},
                                     {Py_tp_init, window_init},
                                     {Py_tp_methods, window_methods},
                                     {Py_tp_doc, (void *)window_doc},
                                     {0, NULL}};
static PyType_Spec window_spec = {"rlimit.Window", sizeof(Window), 0, Py_TPFLAGS_DEFAULT, window_slots};

/* ---- Concurrency ----------------------------------------------------------------------------- */

typedef struct Concurrency {
    PyObject_HEAD
    rlm_concurrency core;
} Concurrency;

DEFINE_INIT(concurrency_init, Concurrency, "concurrency", (rlm_concurrency_init(&self->core, &to.limit)))
DEFINE_RECONFIGURE(concurrency_reconfigure, Concurrency, "concurrency", (rlm_concurrency_reconfigure(&self->core, &to.limit)))
DEFINE_WAIT(concurrency_take, Concurrency, ((void)now_ns, rlm_concurrency_take(&self->core, n)))
DEFINE_WAIT(concurrency_peek, Concurrency, ((void)now_ns, rlm_concurrency_peek(&self->core, n)))
DEFINE_CHANGE(concurrency_release, Concurrency, ((void)now_ns, rlm_concurrency_release(&self->core, n)))
DEFINE_STATUS(concurrency_status, Concurrency, ((void)now_ns, rlm_concurrency_status(&self->core, &usage)))

static PyMethodDef concurrency_methods[] = {
    METHOD("take", concurrency_take, TAKE_DOC),
    METHOD("peek", concurrency_peek, PEEK_DOC),
    METHOD("release", concurrency_release,
           "release(n=1)\n\nGives n back. Raises LimitError if fewer are out: then none was."),
    METHOD("status", concurrency_status, STATUS_DOC),
    METHOD("reconfigure", concurrency_reconfigure, RECONFIGURE_DOC),
    NO_PICKLE,
    {0}};
PyDoc_STRVAR(concurrency_doc,
             PIECE_DOC("Concurrency(limit)\n\nA cap on how many are out at once: limit is concurrent(amount).\n\n"
                       ">>> slots = Concurrency(concurrent(1))\n>>> slots.take(), slots.take() == ON_RELEASE\n(0, True)"));
static PyType_Slot concurrency_slots[] = {{Py_tp_dealloc, free_object},
                                          {Py_tp_init, concurrency_init},
                                          {Py_tp_methods, concurrency_methods},
                                          {Py_tp_doc, (void *)concurrency_doc},
                                          {0, NULL}};
static PyType_Spec concurrency_spec = {"rlimit.Concurrency", sizeof(Concurrency), 0, Py_TPFLAGS_DEFAULT, concurrency_slots};

/* ---- Calendar quota -------------------------------------------------------------------------- */

typedef struct Calendar {
    PyObject_HEAD
    rlm_calendar data;
    rlm_calendar *core; /* null before init */
} Calendar;

static int calendar_begin(Calendar *self, const rlm_limit *limit, uint64_t now_ns) {
    int status = rlm_calendar_init(&self->data, limit, now_ns);
    if (status == RLM_OK) self->core = &self->data;
    return status;
}

DEFINE_INIT(calendar_init, Calendar, "calendar", calendar_begin(self, &to.limit, to.now_ns))
DEFINE_RECONFIGURE(calendar_reconfigure, Calendar, "calendar", (rlm_calendar_reconfigure(self->core, &to.limit)))
DEFINE_MARKED(calendar_take, Calendar, rlm_calendar_take(self->core, n, now_ns, &mark))
DEFINE_PEEK(calendar_peek, Calendar, rlm_calendar_peek(self->core, n, now_ns))
DEFINE_MARK_CREDIT(calendar_credit, Calendar, rlm_calendar_credit(self->core, n, mark))
DEFINE_CHANGE(calendar_debit, Calendar, rlm_calendar_debit(self->core, n, now_ns))
DEFINE_STATUS(calendar_status, Calendar, rlm_calendar_status(self->core, &usage, now_ns))

PyDoc_STRVAR(calendar_save_doc, "save() -> (period, used)\n\nWhat to keep over a restart.");
static PyObject *calendar_save(Calendar *self, PyObject *unused) {
    rlm_calendar_saved saved = {0, 0};
    int status = rlm_calendar_save(self->core, &saved);
    (void)unused;
    if (status != RLM_OK) return none_or_error((PyObject *)self, status);
    return Py_BuildValue("KK", (unsigned long long)saved.period, (unsigned long long)saved.used);
}

static int saved_of(PyObject *given, rlm_calendar_saved *saved) {
    PyObject *pair = PyTuple_Check(given) || PyList_Check(given) ? PySequence_Tuple(given) : NULL;
    int done = 0;
    if (pair == NULL || PyTuple_GET_SIZE(pair) != 2) must_be("saved", "what save() returned, a period and an amount", given);
    else
        done = whole_number(PyTuple_GET_ITEM(pair, 0), "saved: period", UINT64_MAX, &saved->period) == 0 &&
               whole_number(PyTuple_GET_ITEM(pair, 1), "saved: used", UINT64_MAX, &saved->used) == 0;
    Py_XDECREF(pair);
    return done ? 0 : -1;
}

PyDoc_STRVAR(calendar_restore_doc, "restore(saved, now=None)\n\nAdds what save() told, if its period is not over.");
static PyObject *calendar_restore(Calendar *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"saved", "now", NULL};
    PyObject *given, *now = NULL;
    rlm_calendar_saved saved;
    uint64_t now_ns;
    State *state;
    int status;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &given, &now)) return NULL;
    if (saved_of(given, &saved) < 0 || now_of(now, &now_ns) < 0) return NULL;
    status = rlm_calendar_restore(self->core, &saved, now_ns);
    if (status != RLM_E_COST) return none_or_error((PyObject *)self, status);
    state = state_by((PyObject *)self);
    return state == NULL ? NULL
                         : raise_text(state, status, PyUnicode_FromFormat("saved: used: more than can be counted, %llu",
                                                                          (unsigned long long)saved.used));
}

PyDoc_STRVAR(
    calendar_sync_doc,
    "sync(wall, now=None)\n\nThe wall clock (ns since 1970) was set: corrects its distance to the limiter's clock.");
static PyObject *calendar_sync(Calendar *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"wall", "now", NULL};
    PyObject *given, *now = NULL;
    uint64_t wall_ns, now_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &given, &now)) return NULL;
    if (whole_number(given, "wall", UINT64_MAX, &wall_ns) < 0 || now_of(now, &now_ns) < 0) return NULL;
    return none_or_error((PyObject *)self, rlm_calendar_sync(self->core, wall_ns, now_ns));
}

static PyMethodDef calendar_methods[] = {METHOD("take", calendar_take, MARKED_DOC),
                                         METHOD("peek", calendar_peek, PEEK_DOC),
                                         METHOD("credit", calendar_credit, MARK_CREDIT_DOC),
                                         METHOD("debit", calendar_debit, DEBIT_DOC),
                                         METHOD("status", calendar_status, STATUS_DOC),
                                         METHOD("reconfigure", calendar_reconfigure, RECONFIGURE_DOC),
                                         {"save", (PyCFunction)calendar_save, METH_NOARGS, calendar_save_doc},
                                         METHOD("restore", calendar_restore, calendar_restore_doc),
                                         METHOD("sync", calendar_sync, calendar_sync_doc),
                                         NO_PICKLE,
                                         {0}};
PyDoc_STRVAR(
    calendar_doc,
    PIECE_DOC("Calendar(limit, now=None)\n\nA quota that begins anew with the minute, day or month: limit is fixed(...),\n"
              "calendar_day(...) or calendar_month(...).\n\n"
              ">>> day = Calendar(calendar_day(1), now=0)\n>>> day.take(now=0)[0], day.take(now=0)[0] > 0\n(0, True)"));
static PyType_Slot calendar_slots[] = {{Py_tp_dealloc, free_object},
                                       {Py_tp_init, calendar_init},
                                       {Py_tp_methods, calendar_methods},
                                       {Py_tp_doc, (void *)calendar_doc},
                                       {0, NULL}};
static PyType_Spec calendar_spec = {"rlimit.Calendar", sizeof(Calendar), 0, Py_TPFLAGS_DEFAULT, calendar_slots};

/* ---- Limiter --------------------------------------------------------------------------------- */

enum { TOTAL_SUCCEEDED, TOTAL_FAILED, TOTAL_REFUSED, TOTAL_RETRIED, TOTALS };

typedef struct Limiter {
    PyObject_HEAD
    State *state;               /* lives as long as this object's type */
    rlm_limiter *core;          /* count 0: not initialised, or closed to be */
    rlm_queue *queue;           /* null until somebody waits */
    Clock clock;
    PyObject *limits, *meters;  /* tuples: as configured, and the names of what they count */
    PyObject *name, *provider;
    PyObject *weak;
    struct Permit *permits;     /* that are out */
    uint64_t active;
    uint64_t total[TOTALS];
    uint64_t forks;             /* state->forks when it was looked at last */
    uint64_t ageing_ns;
    size_t capacity;
    bool closed, capped;        /* capped: it has a concurrency limit */
    bool untold;                /* waking the head failed: whoever comes next tries again */
    void *memory;               /* of core */
#ifdef Py_GIL_DISABLED
    PyMutex mutex;
#endif
} Limiter;

enum { PERMIT_NEW, PERMIT_OUT, PERMIT_SETTLED, PERMIT_CANCELLED, PERMIT_FORKED };
enum { OUTCOME_UNSEEN = RLM_I_OUTCOMES };
static const char *const permit_states[] = {"new", "out", "settled", "cancelled", "of the parent process"};

/* What was taken. It has no cycles to be collected: nothing that it refers to refers to it. */
typedef struct Permit {
    PyObject_HEAD
    Limiter *limiter;
    struct Permit *next, *previous; /* of those out */
    uint64_t waited_ns;
    uint32_t state, outcome;
    rlm_permit core;
} Permit;

enum { ACQUIRE_NEW, ACQUIRE_WAITS, ACQUIRE_ADMITTED, ACQUIRE_TAKEN, ACQUIRE_FAILED };

/* One that waits, or is about to. */
typedef struct Acquire {
    PyObject_HEAD
    Limiter *limiter;
    Permit *permit;             /* admitted; kept for leaving a with block */
    PyObject *waker;            /* a task's: called to wake it */
    PyThread_type_lock lock;    /* a thread's: released to wake it */
    rlm_cost cost;
    uint64_t timeout_ns, since_ns, deadline_ns, handle, forks;
    uint32_t priority, state, verdict;
    bool queued, signalled, entered, logged;
} Acquire;

/* -- permits -- */

static Permit *permit_new(Limiter *limiter) {
    State *state = limiter->state;
    Permit *permit;
    if (RLM_I_LIKELY(state->free_permits > 0)) {
        permit = state->free_permit[--state->free_permits];
        revive((PyObject *)permit);
    } else {
        permit = PyObject_New(Permit, state->permit_type);
        if (permit == NULL) return NULL;
    }
    Py_INCREF(limiter);
    permit->limiter = limiter;
    permit->state = PERMIT_NEW;
    permit->outcome = OUTCOME_UNSEEN;
    permit->waited_ns = 0;
    permit->core.state = 0;
    return permit;
}

/* A cost of all zeros: rlm_acquire has not filled it. */
static void permit_for_nothing(Permit *permit, uint64_t now_ns) {
    memset(&permit->core.cost, 0, sizeof permit->core.cost);
    permit->core.since_ns = now_ns;
    permit->state = PERMIT_NEW;
}

/* Under the lock: this permit was filled by rlm_acquire. */
RLM_I_INLINE void permit_out(Limiter *limiter, Permit *permit) {
    permit->state = PERMIT_OUT;
    permit->previous = NULL;
    permit->next = limiter->permits;
    if (permit->next != NULL) permit->next->previous = permit;
    limiter->permits = permit;
    limiter->active++;
}

/* Under the lock. */
static void permit_gone(Limiter *limiter, Permit *permit, uint32_t state) {
    if (permit->next != NULL) permit->next->previous = permit->previous;
    if (permit->previous != NULL) permit->previous->next = permit->next;
    else limiter->permits = permit->next;
    permit->state = state;
    limiter->active--;
}

static void count_outcome(Limiter *limiter, uint32_t outcome) {
    limiter->total[outcome == RLM_ANSWERED || outcome == OUTCOME_UNSEEN ? TOTAL_SUCCEEDED
                   : outcome == RLM_REFUSED                             ? TOTAL_REFUSED
                                                                        : TOTAL_FAILED]++;
}

/* In a child process: it has a copy of what was left, and neither the waiters nor the requests of its parent. */
static RLM_I_COLD void after_fork(Limiter *limiter) {
    limiter->forks = limiter->state->forks;
    if (limiter->queue != NULL)
        (void)rlm_queue_init(limiter->queue, rlm_queue_bytes(limiter->capacity), limiter->capacity, limiter->ageing_ns);
    while (limiter->permits != NULL) {
        Permit *permit = limiter->permits;
        (void)rlm_settle(limiter->core, &permit->core, &permit->core.cost, permit->core.since_ns);
        permit_gone(limiter, permit, PERMIT_FORKED);
    }
}

RLM_I_INLINE void notice_fork(Limiter *limiter) {
    if (RLM_I_UNLIKELY(limiter->forks != limiter->state->forks)) after_fork(limiter);
}

/* -- the queue -- */

RLM_I_INLINE bool anybody_waits(const Limiter *limiter) {
    return limiter->queue != NULL && rlm_queue_count(limiter->queue) != 0;
}

/* Under the lock. */
static Acquire *head_of(const Limiter *limiter) {
    uint64_t data = 0;
    if (limiter->queue == NULL || !rlm_queue_head(limiter->queue, NULL, &data)) return NULL;
    return (Acquire *)(uintptr_t)data;
}

/* Under the lock: wakes a thread, or returns what wakes the task, to be called outside of it; null: nothing to call. */
static PyObject *signal_to(Acquire *waiter) {
    if (waiter->lock != NULL) {
        if (!waiter->signalled) PyThread_release_lock(waiter->lock);
        waiter->signalled = true;
        return NULL;
    }
    Py_XINCREF(waiter->waker);
    return waiter->waker;
}

enum { WOKEN, GONE, UNTOLD };

#if PY_VERSION_HEX >= 0x030D0000
#define IS_FINALIZING() Py_IsFinalizing()
#else
#define IS_FINALIZING() _Py_IsFinalizing()
#endif

/* Whether an error would not come again somewhere else: what it kept from being done is what matters. */
static bool is_passing(void) {
    return PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_RecursionError);
}

/* Whether the error is that the loop of a waker is closed: RuntimeError, but a signal's handler may raise that too. */
static bool is_gone(PyObject *waker) {
    PyObject *type, *value, *trace, *answer;
    bool gone;
    if (IS_FINALIZING()) return true;
    if (!PyErr_ExceptionMatches(PyExc_RuntimeError) || is_passing()) return false;
    PyErr_Fetch(&type, &value, &trace);
    answer = PyObject_CallMethod(waker, "gone", NULL);
    gone = answer == Py_True;
    if (answer != NULL) PyErr_Restore(type, value, trace);
    else Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(trace); /* it is not known: what gone() raised takes its place */
    Py_XDECREF(answer);
    return gone;
}

/* Calls a waker, twice if need be: who is not woken may sleep for ever. GONE: its loop is closed. What else it raised is raised
   here too, such as what a signal's handler did; written to stderr, if there is an error already. UNTOLD: neither call did it. */
static int call_waker(PyObject *waker) {
    PyObject *type, *value, *trace, *error = NULL, *error_value = NULL, *error_trace = NULL;
    int found = UNTOLD, tries;
    PyErr_Fetch(&type, &value, &trace);
    for (tries = 0; tries < 2 && found == UNTOLD; tries++) {
        PyObject *answer = PyObject_CallNoArgs(waker);
        if (answer != NULL) found = WOKEN;
        else if (is_gone(waker)) found = GONE;
        if (found == GONE || (answer == NULL && error != NULL && is_passing())) PyErr_Clear();
        else if (answer == NULL) {
            Py_XDECREF(error), Py_XDECREF(error_value), Py_XDECREF(error_trace);
            PyErr_Fetch(&error, &error_value, &error_trace);
        }
        Py_XDECREF(answer);
    }
    PyErr_Restore(error, error_value, error_trace);
    if (found != UNTOLD && error != NULL && is_passing()) PyErr_Clear();
    if (type == NULL) return found;
    if (PyErr_Occurred()) PyErr_WriteUnraisable(waker);
    PyErr_Restore(type, value, trace);
    return found;
}

static int raised(void) { return PyErr_Occurred() != NULL ? -1 : 0; }
static PyObject *none_unless_raised(void) {
    if (PyErr_Occurred() != NULL) return NULL;
    Py_RETURN_NONE;
}

/* Under the lock: takes this one out of the queue, if it is there still. */
static void dismiss_head(Limiter *limiter, uint64_t handle, uint32_t verdict) {
    Acquire *head = head_of(limiter);
    if (head == NULL || head->handle != handle) return;
    (void)rlm_queue_remove(limiter->queue, handle);
    head->queued = false;
    if (head->verdict == VERDICT_NONE) head->verdict = verdict;
}

/* Lets the head ask again. One whose loop is gone leaves, and the next is the head. -1: there is an error. */
static int wake_head(Limiter *limiter) {
    int found = GONE;
    while (found == GONE) {
        Acquire *head;
        PyObject *waker;
        uint64_t handle;
        LOCK(limiter);
        notice_fork(limiter);
        head = head_of(limiter);
        handle = head != NULL ? head->handle : 0;
        waker = head != NULL ? signal_to(head) : NULL;
        UNLOCK(limiter);
        found = waker != NULL ? call_waker(waker) : WOKEN;
        LOCK(limiter);
        limiter->untold = found == UNTOLD;
        if (found == GONE) dismiss_head(limiter, handle, VERDICT_CANCELLED);
        UNLOCK(limiter);
        Py_XDECREF(waker);
    }
    return raised();
}

/* 0, or -1 and an error. */
RLM_I_INLINE int wake_if_anybody(Limiter *limiter) {
#ifndef Py_GIL_DISABLED
    if (RLM_I_LIKELY(!anybody_waits(limiter))) return 0;
#endif
    return wake_head(limiter);
}

/* Takes a waiter out of the queue, for whatever reason, and lets the next ask. Does nothing if it has left. -1: an error. */
static int leave(Acquire *waiter) {
    Limiter *limiter = waiter->limiter;
    bool was_head = false;
    LOCK(limiter);
    notice_fork(limiter);
    if (waiter->queued && waiter->forks == limiter->forks) {
        was_head = head_of(limiter) == waiter;
        (void)rlm_queue_remove(limiter->queue, waiter->handle);
    }
    waiter->queued = false;
    UNLOCK(limiter);
    return was_head ? wake_head(limiter) : 0;
}

/* Wakes those whose deadline has passed, with that verdict; and the new head, if there is one. -1: an error. */
static int expire(Limiter *limiter, const Acquire *asking, uint64_t now_ns) {
    Acquire *before, *after;
    LOCK(limiter);
    before = head_of(limiter);
    for (;;) {
        uint64_t data;
        Acquire *waiter;
        PyObject *waker;
        if (limiter->queue == NULL || !rlm_queue_expire(limiter->queue, now_ns, NULL, &data)) break;
        waiter = (Acquire *)(uintptr_t)data;
        waiter->queued = false;
        waiter->verdict = VERDICT_TIMEOUT;
        if (waiter == asking) continue;
        waker = signal_to(waiter);
        UNLOCK(limiter);
        if (waker != NULL) (void)call_waker(waker); /* has a timer besides */
        Py_XDECREF(waker);
        LOCK(limiter);
    }
    after = head_of(limiter);
    UNLOCK(limiter);
    return after != before && after != asking && after != NULL ? wake_head(limiter) : raised();
}

static void set_error(PyObject *type, PyObject *text, const Limiter *limiter, int binding, double waited) {
    PyObject *error = text == NULL ? NULL : PyObject_CallOneArg(type, text), *seconds = PyFloat_FromDouble(waited);
    bool known = binding >= 0 && binding < PyTuple_GET_SIZE(limiter->limits);
    if (error != NULL && seconds != NULL &&
        PyObject_SetAttrString(error, "limit", known ? PyTuple_GET_ITEM(limiter->limits, binding) : Py_None) == 0 &&
        PyObject_SetAttrString(error, "meter", known ? PyTuple_GET_ITEM(limiter->meters, binding) : Py_None) == 0 &&
        PyObject_SetAttrString(error, "waited", seconds) == 0)
        PyErr_SetObject(type, error);
    Py_XDECREF(seconds);
    Py_XDECREF(error);
    Py_XDECREF(text);
}

/* What a limit counts of a cost. */
static uint64_t amount_at(const Limiter *limiter, int index, const rlm_cost *cost) {
    rlm_i_amounts amounts;
    rlm_i_amounts_of(&amounts, cost);
    return limiter->core->entry[index].kind == RLM_CONCURRENCY ? 1 : amounts.of[limiter->core->entry[index].meter];
}

/* A subclass may have an __init__ that does not call ours. */
static bool limiter_begun(const Limiter *limiter) {
    if (RLM_I_LIKELY(limiter->core->count != 0)) return true;
    PyErr_SetString(PyExc_RuntimeError, "Limiter: __init__ was not called, or failed");
    return false;
}

static int raise_never(Limiter *limiter, const rlm_cost *cost, uint64_t now_ns) {
    int binding = -1;
    if (!limiter_begun(limiter)) return -1;
    (void)rlm_check(limiter->core, cost, now_ns, &binding);
    if (binding < 0) {
        PyErr_SetString(limiter->state->never_error, "the cost is larger than a limit: waiting does not help");
        return -1;
    }
    set_error(limiter->state->never_error,
              PyUnicode_FromFormat("%U: %llu is more than %R admits at once: waiting does not help",
                                   PyTuple_GET_ITEM(limiter->meters, binding),
                                   (unsigned long long)amount_at(limiter, binding, cost),
                                   PyTuple_GET_ITEM(limiter->limits, binding)),
              limiter, binding, 0.0);
    return -1;
}

static int raise_timeout(Acquire *waiter, uint64_t now_ns) {
    Limiter *limiter = waiter->limiter;
    double timeout = seconds_from(waiter->timeout_ns),
           waited = now_ns > waiter->since_ns ? seconds_from(now_ns - waiter->since_ns) : 0.0;
    size_t others = limiter->queue == NULL ? 0 : rlm_queue_count(limiter->queue);
    int binding = -1;
    PyObject *seconds = PyFloat_FromDouble(timeout), *text = NULL;
    (void)rlm_check(limiter->core, &waiter->cost, now_ns, &binding);
    if (seconds != NULL && binding >= 0)
        text = PyUnicode_FromFormat("timeout: not admitted within %S s: %U, %R%s; %zu others wait", seconds,
                                    PyTuple_GET_ITEM(limiter->meters, binding), PyTuple_GET_ITEM(limiter->limits, binding),
                                    limiter->closed ? " (closed)" : "", others);
    else if (seconds != NULL)
        text = PyUnicode_FromFormat("timeout: not admitted within %S s: %zu others wait", seconds, others);
    Py_XDECREF(seconds);
    set_error(limiter->state->timeout_error, text, limiter, binding, waited);
    return -1;
}

static int raise_verdict(Acquire *waiter, uint64_t now_ns) {
    State *state = waiter->limiter->state;
    waiter->state = ACQUIRE_FAILED;
    switch (waiter->verdict) {
    case VERDICT_TIMEOUT: return raise_timeout(waiter, now_ns);
    case VERDICT_NEVER: return raise_never(waiter->limiter, &waiter->cost, now_ns);
    case VERDICT_CLOSED: PyErr_SetString(state->cancelled_error, "the limiter is closed"); return -1;
    case VERDICT_FORKED: PyErr_SetString(state->cancelled_error, "this wait began in the parent process"); return -1;
    default: PyErr_SetString(state->cancelled_error, "the wait was cancelled"); return -1;
    }
}

/* Under the lock: asks for one that may. */
static uint64_t ask_core(Acquire *waiter, uint64_t now_ns) {
    uint64_t wait_ns = rlm_acquire(waiter->limiter->core, &waiter->cost, now_ns, &waiter->permit->core);
    if (wait_ns != 0) return wait_ns;
    if (RLM_I_UNLIKELY(waiter->permit->core.state == 0)) { /* a cost of all zeros */
        permit_for_nothing(waiter->permit, now_ns);
    } else permit_out(waiter->limiter, waiter->permit);
    waiter->permit->waited_ns = waiter->queued && now_ns > waiter->since_ns ? now_ns - waiter->since_ns : 0;
    waiter->state = ACQUIRE_ADMITTED;
    return 0;
}

/* The first attempt: 1 admitted, 0 it has to wait, -1 an error. */
static int acquire_now(Acquire *waiter) {
    Limiter *limiter = waiter->limiter;
    uint64_t now_ns, wait_ns = 1;
    if (RLM_I_UNLIKELY(waiter->state != ACQUIRE_NEW)) {
        PyErr_SetString(PyExc_RuntimeError, "acquire: used already; call limiter.acquire() for each request");
        return -1;
    }
    waiter->state = ACQUIRE_WAITS;
    if ((waiter->permit == NULL && (waiter->permit = permit_new(limiter)) == NULL) || clock_read(&limiter->clock, &now_ns) < 0)
        return (void)(waiter->state = ACQUIRE_FAILED), -1;
    waiter->since_ns = now_ns;
    LOCK(limiter);
    notice_fork(limiter);
    if (RLM_I_UNLIKELY(limiter->closed)) waiter->verdict = VERDICT_CLOSED;
    if (RLM_I_LIKELY(waiter->verdict == VERDICT_NONE))
        wait_ns = !anybody_waits(limiter)                                              ? ask_core(waiter, now_ns)
                  : rlm_check(limiter->core, &waiter->cost, now_ns, NULL) == RLM_NEVER ? RLM_NEVER
                                                                                       : 1;
    UNLOCK(limiter);
    if (RLM_I_LIKELY(wait_ns == 0)) return 1;
    if (wait_ns == RLM_NEVER) waiter->verdict = VERDICT_NEVER;
    else if (waiter->timeout_ns == 0 && waiter->verdict == VERDICT_NONE) waiter->verdict = VERDICT_TIMEOUT;
    return waiter->verdict == VERDICT_NONE ? 0 : raise_verdict(waiter, now_ns);
}

/* The queue's memory, 48 bytes for each that may wait, once somebody has to. */
static int make_queue(Limiter *limiter) {
    size_t bytes = rlm_queue_bytes(limiter->capacity);
    if (limiter->queue != NULL || bytes == 0) return 0;
    limiter->queue = (rlm_queue *)PyMem_RawMalloc(bytes);
    if (limiter->queue == NULL) return PyErr_NoMemory(), -1;
    (void)rlm_queue_init(limiter->queue, bytes, limiter->capacity, limiter->ageing_ns);
    return 0;
}

/* Whether the loop of the task at the head is closed: then it leaves, and the next asks. Only looked at when somebody comes. */
static int drop_dead_head(Limiter *limiter, const Acquire *comer) {
    Acquire *head;
    PyObject *waker = NULL, *gone;
    int dead;
    LOCK(limiter);
    head = head_of(limiter);
    if (head != NULL && head != comer && head->lock == NULL) waker = head->waker;
    Py_XINCREF(waker);
    UNLOCK(limiter);
    if (waker == NULL) return 0;
    gone = PyObject_CallMethod(waker, "gone", NULL);
    dead = gone == NULL ? -1 : PyObject_IsTrue(gone);
    Py_XDECREF(gone);
    Py_DECREF(waker);
    if (dead > 0 || (dead == 0 && limiter->untold)) return wake_head(limiter);
    return dead;
}

/* Joins the queue. */
static int enter(Acquire *waiter) {
    Limiter *limiter = waiter->limiter;
    uint64_t now_ns;
    int status;
    if (make_queue(limiter) < 0 || clock_read(&limiter->clock, &now_ns) < 0) return -1;
    waiter->deadline_ns = waiter->timeout_ns > RLM_NO_DEADLINE - 1 - waiter->since_ns
                              ? RLM_NO_DEADLINE
                              : waiter->since_ns + waiter->timeout_ns;
    LOCK(limiter);
    notice_fork(limiter);
    status = limiter->queue == NULL ? RLM_E_FULL
                                    : rlm_queue_push(limiter->queue, (uint64_t)(uintptr_t)waiter, waiter->priority,
                                                     waiter->deadline_ns, now_ns, &waiter->handle);
    if (status == RLM_OK) {
        waiter->queued = true;
        waiter->forks = limiter->forks;
    }
    UNLOCK(limiter);
    if (status == RLM_OK) return drop_dead_head(limiter, waiter);
    waiter->state = ACQUIRE_FAILED;
    set_error(limiter->state->full_error, PyUnicode_FromFormat("queue: full: %zu wait already", limiter->capacity), limiter,
              -1, 0.0);
    return -1;
}

/* How long to sleep: until its deadline, or the head until it can be admitted. The head does not look at the deadlines of others:
   its loop may stand still. Nobody's sleep on a clock that is set by hand ends by itself. */
static uint64_t sleep_of(Acquire *waiter, bool is_head, uint64_t wait_ns, uint64_t now_ns) {
    Limiter *limiter = waiter->limiter;
    uint64_t until_ns = waiter->deadline_ns;
    if (limiter->clock.manual != NULL) return NO_TIMER;
    if (is_head && wait_ns < RLM_ON_RELEASE - now_ns && now_ns + wait_ns < until_ns) until_ns = now_ns + wait_ns;
    return until_ns == RLM_NO_DEADLINE ? NO_TIMER : until_ns > now_ns ? until_ns - now_ns : 0;
}

/* What one that has been woken, or has just come, does: 1 it is admitted, 0 it sleeps for *sleep_ns, -1 an error. */
static int ask(Acquire *waiter, uint64_t *sleep_ns) {
    Limiter *limiter = waiter->limiter;
    for (;;) {
        uint64_t now_ns, wait_ns = RLM_ON_RELEASE;
        bool is_head;
        if (clock_read(&limiter->clock, &now_ns) < 0) return (void)leave(waiter), -1;
        LOCK(limiter);
        notice_fork(limiter);
        if (waiter->queued && waiter->forks != limiter->forks) waiter->verdict = VERDICT_FORKED;
        if (limiter->closed && waiter->verdict == VERDICT_NONE) waiter->verdict = VERDICT_CLOSED;
        is_head = waiter->verdict == VERDICT_NONE && head_of(limiter) == waiter;
        if (is_head) wait_ns = ask_core(waiter, now_ns);
        UNLOCK(limiter);
        if (is_head && wait_ns == 0) return leave(waiter) < 0 ? -1 : 1;
        if (is_head && wait_ns == RLM_NEVER) waiter->verdict = VERDICT_NEVER;
        if (expire(limiter, waiter, now_ns) < 0) return (void)leave(waiter), -1;
        if (waiter->verdict != VERDICT_NONE) return leave(waiter) < 0 ? -1 : raise_verdict(waiter, now_ns);
        LOCK(limiter);
        if (is_head == (head_of(limiter) == waiter)) {
            *sleep_ns = sleep_of(waiter, is_head, wait_ns, now_ns);
            UNLOCK(limiter);
            return 0;
        }
        UNLOCK(limiter); /* it became the head just now */
    }
}

/* -- ending a permit -- */

static PyObject *used_up(Permit *permit, const char *what) {
    if (permit->state == PERMIT_FORKED) Py_RETURN_NONE; /* its parent will end it */
    PyErr_Format(PyExc_RuntimeError, "%s: this permit is %s already", what, permit_states[permit->state]);
    return NULL;
}

/* Ends a permit that is out, once. Returns RLM_OK, or what rlm_settle says: then it is out still; or RAISED: it was ended, but
   waking the next raised an error. */
enum { RAISED = -1 };
static int end_permit(Permit *permit, const rlm_cost *actual, uint64_t now_ns, uint32_t state) {
    Limiter *limiter = permit->limiter;
    int status = state == PERMIT_CANCELLED ? rlm_cancel(limiter->core, &permit->core, now_ns)
                                           : rlm_settle(limiter->core, &permit->core, actual, now_ns);
    if (status != RLM_OK) return status;
    LOCK(limiter);
    permit_gone(limiter, permit, state);
    if (state == PERMIT_SETTLED || permit->outcome != OUTCOME_UNSEEN) count_outcome(limiter, permit->outcome);
    UNLOCK(limiter);
    return wake_if_anybody(limiter) < 0 ? RAISED : RLM_OK;
}

/* Whether there is anything to end; a permit for nothing just changes its state. */
static bool is_out(Permit *permit, uint32_t state) {
    notice_fork(permit->limiter);
    if (permit->state == PERMIT_OUT) return true;
    if (permit->state == PERMIT_NEW) permit->state = state;
    return false;
}

/* Ends a permit as estimated. -1: an error. */
static int settle_as_estimated(Permit *permit) {
    if (!is_out(permit, PERMIT_SETTLED)) return 0;
    return end_permit(permit, &permit->core.cost, permit->core.since_ns, PERMIT_SETTLED) == RAISED ? -1 : 0;
}

static int give_back(Permit *permit) {
    uint64_t now_ns = permit->core.since_ns;
    if (!is_out(permit, PERMIT_CANCELLED)) return 0;
    if (permit->limiter->clock.callable == NULL) (void)clock_read(&permit->limiter->clock, &now_ns);
    return end_permit(permit, NULL, now_ns, PERMIT_CANCELLED) == RAISED ? -1 : 0;
}

PyDoc_STRVAR(settle_doc,
             "settle(*, requests=None, input_tokens=None, output_tokens=None, microdollars=None, custom=None)\n\n"
             "Ends the permit with what was used in fact; a meter that is not named was used as estimated. The difference "
             "is given back or\n"
             "charged, and the connection is free. More than estimated is a debt, which delays others.\n\n"
             "Amounts are ints of 0 to 2^40. Never blocks; from any thread. Raises RuntimeError if the permit was settled "
             "or cancelled\n"
             "before, ValueError or TypeError naming the field.\n\n"
             ">>> permit = Limiter(input_tokens=per_minute(1000)).try_acquire(input_tokens=600)\n>>> "
             "permit.settle(input_tokens=512)");
static PyObject *permit_settle(Permit *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    rlm_cost actual = self->core.cost;
    uint64_t now_ns;
    int status;
    if (cost_of(self->limiter->state, "settle", args, given, keywords, &actual) < 0) return NULL;
    if (self->state == PERMIT_NEW && is_out(self, PERMIT_SETTLED) == false) Py_RETURN_NONE;
    if (!is_out(self, self->state)) return used_up(self, "settle");
    if (clock_read(&self->limiter->clock, &now_ns) < 0) return NULL;
    if (!is_out(self, self->state)) return used_up(self, "settle"); /* the clock was Python code */
    status = end_permit(self, &actual, now_ns, PERMIT_SETTLED);
    if (status == RLM_OK) Py_RETURN_NONE;
    if (status == RAISED) return NULL;
    if (status == RLM_E_PERMIT) return used_up(self, "settle");
    return raise_debt(self->limiter->state, status, "settle", &actual, "the permit is still out");
}

PyDoc_STRVAR(cancel_doc,
    "cancel()\n\nEnds the permit and gives everything back: the request was never sent. Never blocks; from any thread.\n"
    "Raises RuntimeError if the permit was settled or cancelled before.\n\n"
    ">>> Limiter(requests=per_minute(50)).try_acquire().cancel()");
static PyObject *permit_cancel(Permit *self, PyObject *unused) {
    (void)unused;
    if (self->state != PERMIT_NEW && !is_out(self, self->state)) return used_up(self, "cancel");
    if (give_back(self) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *permit_enter(PyObject *self, PyObject *unused) {
    (void)unused;
    Py_INCREF(self);
    return self;
}

/* A block that raised may have sent its request: the charge is kept, and counts as failed unless the server's answer is
 * known. */
static int leave_block(Permit *permit, PyObject *error_type) {
    if (permit->outcome == OUTCOME_UNSEEN && error_type != Py_None) permit->outcome = RLM_FAILED;
    return settle_as_estimated(permit);
}

static PyObject *permit_exit(Permit *self, PyObject *const *args, Py_ssize_t given) {
    if (leave_block(self, given > 0 ? args[0] : Py_None) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *permit_cost(Permit *self, void *unused) {
    (void)unused;
    return cost_dict(self->limiter->state, &self->core.cost);
}
static PyObject *permit_state(Permit *self, void *unused) {
    (void)unused;
    notice_fork(self->limiter);
    return text_of(permit_states[self->state]);
}
static PyObject *permit_waited(Permit *self, void *unused) {
    (void)unused;
    return PyFloat_FromDouble(seconds_from(self->waited_ns));
}
static PyObject *permit_limiter(Permit *self, void *unused) {
    (void)unused;
    Py_INCREF(self->limiter);
    return (PyObject *)self->limiter;
}

static PyObject *permit_repr(Permit *self) {
    PyObject *cost = permit_cost(self, NULL), *text;
    notice_fork(self->limiter);
    text = cost == NULL ? NULL : PyUnicode_FromFormat("<rlimit.Permit %s, cost %R>", permit_states[self->state], cost);
    Py_XDECREF(cost);
    return text;
}

/* A permit that nobody kept: as estimated. That changes nothing, unless it holds a connection, or is one of the few that are
   let out until the first answer. Under a cap it was meant to be kept. */
static void permit_lost(Permit *permit) {
    PyObject *type, *value, *trace;
    bool warn = permit->limiter->capped;
    notice_fork(permit->limiter);
    if (RLM_I_UNLIKELY(permit->state != PERMIT_OUT)) return;
    if (RLM_I_LIKELY(!warn && rlm_i_load_seq_cst(&permit->limiter->core->probe) == 0)) {
        LOCK(permit->limiter);
        permit_gone(permit->limiter, permit, PERMIT_SETTLED);
        count_outcome(permit->limiter, permit->outcome);
        UNLOCK(permit->limiter);
        return;
    }
    PyErr_Fetch(&type, &value, &trace);
    if (settle_as_estimated(permit) < 0) PyErr_WriteUnraisable(NULL);
    if (warn && PyErr_WarnEx(PyExc_ResourceWarning,
                             "a permit was dropped without settle() or cancel(): its connection counted as "
                             "closed at that moment; keep it, or use a with block",
                             1) < 0)
        PyErr_WriteUnraisable(NULL);
    PyErr_Restore(type, value, trace);
}

static void permit_free(Permit *self) {
    Limiter *limiter = self->limiter;
    State *state = limiter->state;
    PyTypeObject *type = Py_TYPE(self);
    if (self->state == PERMIT_OUT) permit_lost(self);
    if (RLM_I_LIKELY(state->free_permits < state->free_max)) state->free_permit[state->free_permits++] = self;
    else {
        PyObject_Free(self);
        Py_DECREF(type);
    }
    Py_DECREF(limiter);
}

static PyGetSetDef permit_getset[] = {
    {"cost", (getter)permit_cost, NULL, "What was estimated: a dict of all five meters.", NULL},
    {"state", (getter)permit_state, NULL, "\"out\", \"settled\" or \"cancelled\".", NULL},
    {"waited", (getter)permit_waited, NULL, "Seconds in the queue.", NULL},
    {"limiter", (getter)permit_limiter, NULL, "The limiter that gave it.", NULL}, {0}};
static PyMethodDef permit_methods[] = {
    {"settle", (PyCFunction)(void (*)(void))permit_settle, METH_FASTCALL | METH_KEYWORDS, settle_doc},
    {"cancel", (PyCFunction)permit_cancel, METH_NOARGS, cancel_doc},
    {"__enter__", permit_enter, METH_NOARGS, "Returns the permit."},
    {"__exit__", (PyCFunction)(void (*)(void))permit_exit, METH_FASTCALL,
     "Settles with the estimate, unless it was settled or cancelled."},
    NO_PICKLE,
    {0}};
PyDoc_STRVAR(permit_doc, "What was taken from a limiter, to be settled or cancelled once.\n\nWhat is dropped is settled "
                         "with the estimate. Safe in threads.");
static PyType_Slot permit_slots[] = {{Py_tp_dealloc, permit_free},
                                     {Py_tp_new, not_made},
                                     {Py_tp_getset, permit_getset},
                                     {Py_tp_methods, permit_methods},
                                     {Py_tp_repr, permit_repr},
                                     {Py_tp_doc, (void *)permit_doc},
                                     {0, NULL}};
static PyType_Spec permit_spec = {"rlimit.Permit", sizeof(Permit), 0, Py_TPFLAGS_DEFAULT, permit_slots};

/* -- what waits -- */

static Acquire *acquire_new(Limiter *limiter) {
    State *state = limiter->state;
    Acquire *waiter;
    if (state->free_acquires > 0) {
        waiter = state->free_acquire[--state->free_acquires];
        revive((PyObject *)waiter);
    } else {
        waiter = PyObject_GC_New(Acquire, state->acquire_type);
        if (waiter == NULL) return NULL;
    }
    Py_INCREF(limiter);
    waiter->limiter = limiter;
    waiter->permit = NULL;
    waiter->waker = NULL;
    waiter->lock = NULL;
    memset(&waiter->cost, 0, (size_t)((char *)(waiter + 1) - (char *)&waiter->cost));
    waiter->cost.requests = 1;
    waiter->timeout_ns = UINT64_MAX;
    waiter->priority = RLM_NORMAL;
    return waiter;
}

static int acquire_traverse(Acquire *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->limiter);
    Py_VISIT(self->permit);
    Py_VISIT(self->waker);
    return 0;
}

/* Nobody will fetch what it holds. */
static void abandon(Acquire *self) {
    PyObject *type, *value, *trace;
    Permit *permit = self->permit;
    PyErr_Fetch(&type, &value, &trace);
    if (leave(self) < 0) PyErr_WriteUnraisable(NULL);
    self->permit = NULL;
    if (permit != NULL && self->state == ACQUIRE_ADMITTED && give_back(permit) < 0) PyErr_WriteUnraisable(NULL);
    if (self->state != ACQUIRE_TAKEN) self->state = ACQUIRE_FAILED;
    Py_XDECREF(permit);
    PyErr_Restore(type, value, trace);
}

static int acquire_clear(Acquire *self) {
    abandon(self);
    Py_CLEAR(self->waker);
    return 0;
}

static void acquire_free(Acquire *self) {
    State *state = self->limiter->state;
    Limiter *limiter = self->limiter;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->queued || self->permit != NULL) abandon(self);
    Py_CLEAR(self->waker);
    if (self->lock != NULL) PyThread_free_lock(self->lock);
    if (state->free_acquires < state->free_max) state->free_acquire[state->free_acquires++] = self;
    else {
        PyObject_GC_Del(self);
        Py_DECREF(type);
    }
    Py_DECREF(limiter);
}

/* The permit, to whoever asked for it: once. A with block keeps it here too. */
static PyObject *collect(Acquire *self) {
    Permit *permit = self->permit;
    if (self->state != ACQUIRE_ADMITTED || permit == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "acquire: not admitted");
        return NULL;
    }
    if (RLM_I_UNLIKELY(self->verdict == VERDICT_CANCELLED)) { /* by another thread, just now */
        abandon(self);
        return raise_verdict(self, 0), NULL;
    }
    self->state = ACQUIRE_TAKEN;
    if (self->entered) Py_INCREF(permit);
    else self->permit = NULL;
    return (PyObject *)permit;
}

/* A thread sleeps: 0 when it was woken or ns have passed, -1 if a signal's handler raised. */
static int sleep_on(Acquire *self, uint64_t ns) {
    uint64_t most_us = (uint64_t)SLEEP_MAX_S * 1000000;
    uint64_t us = ns / 1000 + (ns % 1000 != 0);
    PyLockStatus status;
    Py_BEGIN_ALLOW_THREADS
    status = PyThread_acquire_lock_timed(self->lock, (PY_TIMEOUT_T)(us < most_us ? us : most_us), 1);
    Py_END_ALLOW_THREADS
    if (status == PY_LOCK_ACQUIRED) {
        LOCK(self->limiter);
        self->signalled = false;
        UNLOCK(self->limiter);
    }
    return PyErr_CheckSignals();
}

/* rlimit._waiting, imported when the first has to wait. */
static int import_waiting(State *state) {
    PyObject *module;
    if (state->wait_async != NULL && state->note != NULL) return 0;
    module = PyImport_ImportModule("rlimit._waiting");
    if (module == NULL) return -1;
    if (state->wait_async == NULL) state->wait_async = PyObject_GetAttrString(module, "wait_async");
    if (state->note == NULL) state->note = PyObject_GetAttrString(module, "note");
    Py_DECREF(module);
    return state->wait_async != NULL && state->note != NULL ? 0 : -1;
}

/* Logs that it waits, once it is known how long. */
static int log_wait(Acquire *self, uint64_t sleep_ns) {
    PyObject *answer;
    if (self->logged) return 0;
    self->logged = true;
    answer = PyObject_CallFunction(self->limiter->state->note, "Od", self,
                                   sleep_ns == NO_TIMER ? Py_HUGE_VAL : seconds_from(sleep_ns));
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* -1 and an error where an event loop runs in this thread: it would stand still. */
static int refuse_in_loop(void) {
    PyObject *module = PyImport_ImportModule("rlimit._waiting");
    PyObject *answer = module == NULL ? NULL : PyObject_CallMethod(module, "refuse_in_loop", NULL);
    Py_XDECREF(module);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* Waits in this thread: 0 admitted, -1 an error. */
static int wait_in_thread(Acquire *self) {
    int status = acquire_now(self);
    uint64_t sleep_ns;
    if (status != 0) return status < 0 ? -1 : 0;
    if (import_waiting(self->limiter->state) < 0 || refuse_in_loop() < 0) return abandon(self), -1;
    self->lock = PyThread_allocate_lock();
    if (self->lock == NULL) return abandon(self), PyErr_NoMemory(), -1;
    PyThread_acquire_lock(self->lock, NOWAIT_LOCK);
    status = enter(self);
    while (status == 0) {
        status = ask(self, &sleep_ns);
        if (status == 0 && (log_wait(self, sleep_ns) < 0 || sleep_on(self, sleep_ns) < 0)) status = -1;
    }
    if (leave(self) < 0) status = -1;
    if (status < 0) abandon(self);
    return status < 0 ? -1 : 0;
}

PyDoc_STRVAR(
    wait_doc,
    "wait() -> Permit\n\nWaits in the queue, in this thread, and returns the permit. The interpreter is free meanwhile; a "
    "signal's\n"
    "handler that raises (KeyboardInterrupt) ends the wait. Not in a coroutine: await the object instead.\n\n"
    "Raises AcquireTimeout, QueueFull, NeverAdmitted, AcquireCancelled; RuntimeError if it was waited for already, or an event "
    "loop of\n"
    "this thread would have to stand still.\n\n"
    ">>> permit = Limiter(requests=per_minute(50)).acquire(timeout=30).wait()");
static PyObject *acquire_wait(Acquire *self, PyObject *unused) {
    (void)unused;
    return wait_in_thread(self) < 0 ? NULL : collect(self);
}

static PyObject *acquire_enter(Acquire *self, PyObject *unused) {
    self->entered = true;
    return acquire_wait(self, unused);
}

static int leave_acquire(Acquire *self, PyObject *error_type) {
    Permit *permit = self->permit;
    int status;
    self->permit = NULL;
    status = permit != NULL ? leave_block(permit, error_type) : 0;
    Py_XDECREF(permit);
    return status;
}

static PyObject *acquire_exit(Acquire *self, PyObject *const *args, Py_ssize_t given) {
    if (leave_acquire(self, given > 0 ? args[0] : Py_None) < 0) return NULL;
    Py_RETURN_NONE;
}

/* Awaiting: what is admitted at once is returned at once; else a coroutine of rlimit._waiting goes on. */
static PyObject *acquire_await(Acquire *self) {
    int status = acquire_now(self);
    PyObject *coroutine, *iterator, *type, *value, *trace;
    if (status < 0) return NULL;
    if (RLM_I_LIKELY(status > 0)) {
        Py_INCREF(self);
        return (PyObject *)self;
    }
    if (import_waiting(self->limiter->state) < 0) return abandon(self), NULL;
    coroutine = PyObject_CallOneArg(self->limiter->state->wait_async, (PyObject *)self);
    iterator = coroutine == NULL ? NULL : PyObject_CallMethod(coroutine, "__await__", NULL);
    if (iterator == NULL) {
        PyErr_Fetch(&type, &value, &trace);
        if (coroutine != NULL) Py_XDECREF(PyObject_CallMethod(coroutine, "close", NULL)); /* lest Python warn of it */
        PyErr_Restore(type, value, trace);
        abandon(self);
    }
    Py_XDECREF(coroutine);
    return iterator;
}

static PyObject *acquire_next(Acquire *self) {
    PyObject *permit = collect(self), *type, *value, *trace;
    if (permit != NULL) PyErr_SetObject(PyExc_StopIteration, permit);
    if (permit != NULL && !PyErr_ExceptionMatches(PyExc_StopIteration)) { /* no memory: it was not told */
        PyErr_Fetch(&type, &value, &trace);
        if (give_back((Permit *)permit) < 0) PyErr_WriteUnraisable(NULL);
        PyErr_Restore(type, value, trace);
    }
    Py_XDECREF(permit);
    return NULL;
}

#if PY_VERSION_HEX >= 0x030A0000
static PySendResult acquire_send(Acquire *self, PyObject *value, PyObject **result) {
    (void)value;
    *result = collect(self);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}
#endif

static PyObject *acquire_aenter(Acquire *self, PyObject *unused) {
    (void)unused;
    self->entered = true;
    Py_INCREF(self);
    return (PyObject *)self;
}

static PyObject *acquire_aexit(Acquire *self, PyObject *const *args, Py_ssize_t given) {
    PyObject *done = self->limiter->state->done;
    if (leave_acquire(self, given > 0 ? args[0] : Py_None) < 0) return NULL;
    Py_INCREF(done);
    return done;
}

PyDoc_STRVAR(acquire_cancel_doc, "cancel()\n\nEnds the wait, from any thread: it leaves the queue and raises "
                                 "AcquireCancelled there; so does one that begins later. One\n"
                                 "whose permit was fetched stays admitted. Never blocks.");
static PyObject *acquire_cancel(Acquire *self, PyObject *unused) {
    PyObject *waker = NULL;
    bool waits, untold;
    (void)unused;
    LOCK(self->limiter);
    waits = self->state <= ACQUIRE_ADMITTED && self->verdict == VERDICT_NONE;
    if (waits) self->verdict = VERDICT_CANCELLED;
    if (waits) waker = signal_to(self);
    UNLOCK(self->limiter);
    untold = waker != NULL && call_waker(waker) == UNTOLD;
    Py_XDECREF(waker);
    if (!untold) return (void)leave(self), none_unless_raised();
    LOCK(self->limiter);
    self->verdict = VERDICT_NONE; /* it waits on */
    UNLOCK(self->limiter);
    return NULL;
}

/* For rlimit._waiting. */
static PyObject *acquire_join(Acquire *self, PyObject *waker) {
    if (self->state != ACQUIRE_WAITS || self->queued)
        return PyErr_SetString(PyExc_RuntimeError, "acquire: used already"), NULL;
    if (self->waker == NULL) PyObject_GC_Track(self);
    Py_INCREF(waker);
    Py_XSETREF(self->waker, waker);
    if (enter(self) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *acquire_ask(Acquire *self, PyObject *unused) {
    uint64_t sleep_ns;
    int status = ask(self, &sleep_ns);
    (void)unused;
    if (status < 0 || (status == 0 && log_wait(self, sleep_ns) < 0)) return NULL;
    if (status > 0) Py_RETURN_NONE;
    return PyFloat_FromDouble(sleep_ns == NO_TIMER ? Py_HUGE_VAL : seconds_from(sleep_ns));
}

static PyObject *acquire_collect(Acquire *self, PyObject *unused) {
    (void)unused;
    return collect(self);
}

static PyObject *acquire_leave(Acquire *self, PyObject *unused) {
    (void)unused;
    (void)leave(self);
    if (self->state <= ACQUIRE_ADMITTED) abandon(self);
    return none_unless_raised();
}

static PyObject *acquire_cost(Acquire *self, void *unused) {
    (void)unused;
    return cost_dict(self->limiter->state, &self->cost);
}
static PyObject *acquire_limiter(Acquire *self, void *unused) {
    (void)unused;
    Py_INCREF(self->limiter);
    return (PyObject *)self->limiter;
}
static PyObject *acquire_priority(Acquire *self, void *unused) {
    (void)unused;
    Py_INCREF(self->limiter->state->priority_name[self->priority]);
    return self->limiter->state->priority_name[self->priority];
}
static PyObject *acquire_timeout(Acquire *self, void *unused) {
    (void)unused;
    if (self->timeout_ns == UINT64_MAX) Py_RETURN_NONE;
    return PyFloat_FromDouble(seconds_from(self->timeout_ns));
}
static PyObject *acquire_repr(Acquire *self) {
    static const char *const states[] = {"not waited for yet", "waits", "admitted", "done", "given up"};
    PyObject *cost = acquire_cost(self, NULL), *text = NULL;
    if (cost != NULL) text = PyUnicode_FromFormat("<rlimit.Acquire %s, cost %R>", states[self->state], cost);
    Py_XDECREF(cost);
    return text;
}

static PyGetSetDef acquire_getset[] = {
    {"cost", (getter)acquire_cost, NULL, "What it asks for: a dict of all five meters.", NULL},
    {"limiter", (getter)acquire_limiter, NULL, "The limiter that it waits for.", NULL},
    {"priority", (getter)acquire_priority, NULL, "\"critical\", \"high\", \"normal\" or \"low\".", NULL},
    {"timeout", (getter)acquire_timeout, NULL, "Seconds, or None.", NULL}, {0}};
static PyMethodDef acquire_methods[] = {
    {"wait", (PyCFunction)acquire_wait, METH_NOARGS, wait_doc},
    {"cancel", (PyCFunction)acquire_cancel, METH_NOARGS, acquire_cancel_doc},
    {"__enter__", (PyCFunction)acquire_enter, METH_NOARGS, "As wait()."},
    {"__exit__", (PyCFunction)(void (*)(void))acquire_exit, METH_FASTCALL,
     "Settles with the estimate what was not settled."},
    {"__aenter__", (PyCFunction)acquire_aenter, METH_NOARGS, "Awaits the permit."},
    {"__aexit__", (PyCFunction)(void (*)(void))acquire_aexit, METH_FASTCALL,
     "Settles with the estimate what was not settled."},
    {"_join", (PyCFunction)acquire_join, METH_O, "Joins the queue; the argument is called to wake it."},
    {"_ask", (PyCFunction)acquire_ask, METH_NOARGS, "None: admitted; else seconds to sleep unless woken."},
    {"_collect", (PyCFunction)acquire_collect, METH_NOARGS, "The permit, once."},
    {"_leave", (PyCFunction)acquire_leave, METH_NOARGS, "Leaves the queue; gives back what was not collected."},
    NO_PICKLE,
    {0}};
PyDoc_STRVAR(acquire_doc,
    "One request's place before a limiter, made by Limiter.acquire; for one use.\n\n"
    "    async with limiter.acquire(input_tokens=1200) as permit: ...     # asyncio, trio, anyio\n"
    "    with limiter.acquire(input_tokens=1200) as permit: ...           # threads\n"
    "    permit = await limiter.acquire()                                 # settle or cancel it yourself\n"
    "    permit = limiter.acquire().wait()");
static PyType_Slot acquire_slots[] = {{Py_tp_dealloc, acquire_free},
                                      {Py_tp_new, not_made},
                                      {Py_tp_traverse, acquire_traverse},
                                      {Py_tp_clear, acquire_clear},
                                      {Py_tp_getset, acquire_getset},
                                      {Py_tp_methods, acquire_methods},
                                      {Py_tp_repr, acquire_repr},
                                      {Py_tp_doc, (void *)acquire_doc},
                                      {Py_am_await, acquire_await},
                                      {Py_tp_iter, PyObject_SelfIter},
                                      {Py_tp_iternext, acquire_next},
#if PY_VERSION_HEX >= 0x030A0000
                                      {Py_am_send, acquire_send},
#endif
                                      {0, NULL}};
static PyType_Spec acquire_spec = {"rlimit.Acquire", sizeof(Acquire), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                   acquire_slots};

/* An awaitable that is there already: what leaving an `async with` block awaits. */
static PyObject *done_next(PyObject *self) {
    (void)self;
    return NULL; /* without an exception: the end, with the value None */
}
#if PY_VERSION_HEX >= 0x030A0000
static PySendResult done_send(PyObject *self, PyObject *value, PyObject **result) {
    (void)self, (void)value;
    Py_INCREF(Py_None);
    *result = Py_None;
    return PYGEN_RETURN;
}
#endif
static PyType_Slot done_slots[] = {{Py_tp_dealloc, free_object},
                                   {Py_tp_new, not_made},
                                   {Py_am_await, PyObject_SelfIter},
                                   {Py_tp_iter, PyObject_SelfIter},
                                   {Py_tp_iternext, done_next},
#if PY_VERSION_HEX >= 0x030A0000
                                   {Py_am_send, done_send},
#endif
                                   {0, NULL}};
static PyType_Spec done_spec = {"rlimit._rlimit.Done", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, done_slots};

/* -- limiters -- */

static void replace(PyObject **to, PyObject *object) {
    PyObject *old = *to;
    Py_INCREF(object);
    *to = object;
    Py_XDECREF(old);
}

static PyObject *limiter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    Limiter *self = (Limiter *)new_object(type);
    (void)args, (void)kwargs;
    if (self == NULL) return NULL;
    self->state = state_by((PyObject *)self);
    self->memory = PyMem_Calloc(1, sizeof(rlm_limiter) + 63);
    if (self->state == NULL || self->memory == NULL) {
        if (self->state != NULL) PyErr_NoMemory();
        Py_DECREF(self);
        return NULL;
    }
    self->core = (rlm_limiter *)(((uintptr_t)self->memory + 63) & ~(uintptr_t)63);
    self->forks = self->state->forks;
    return (PyObject *)self;
}

/* _begin(limits, meters, names, queue, ageing_ns, clock, provider, name, wall_offset_ns or None) -> status of
 * rlm_limiter_init. */
static PyObject *limiter_begin(Limiter *self, PyObject *args) {
    State *state = self->state;
    PyObject *limits, *meters, *names, *clock, *provider, *name, *offset;
    unsigned long long capacity, ageing_ns;
    uint64_t now_ns;
    int64_t wall_offset_ns;
    rlm_limit limit[RLM_LIMITS_MAX];
    Py_ssize_t i, count;
    int status;
    if (!PyArg_ParseTuple(args, "O!O!O!KKOOOO", &PyTuple_Type, &limits, &PyTuple_Type, &meters, &PyTuple_Type, &names,
                          &capacity, &ageing_ns, &clock, &provider, &name, &offset))
        return NULL;
    if (self->core->count != 0) return PyErr_SetString(PyExc_RuntimeError, "Limiter: __init__ was called already"), NULL;
    count = PyTuple_GET_SIZE(limits);
    if (count > RLM_LIMITS_MAX)
        return PyErr_Format(PyExc_ValueError, "limits: at most %d, not %zd", RLM_LIMITS_MAX, count), NULL;
    clock_clear(&self->clock);
    if (clock_begin(state, &self->clock, clock) < 0 || clock_read(&self->clock, &now_ns) < 0) return NULL;
    if (self->core->count != 0) return PyErr_SetString(PyExc_RuntimeError, "Limiter: its clock called __init__"), NULL;
    wall_offset_ns = offset == Py_None ? (self->clock.manual != NULL ? 0 : (int64_t)(rlm_wall() - now_ns))
                                       : PyLong_AsLongLong(offset);
    if (wall_offset_ns == -1 && PyErr_Occurred()) return NULL;
    for (i = 0; i < count; i++) {
        unsigned long meter = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(meters, i));
        if (meter == (unsigned long)-1 && PyErr_Occurred()) return NULL;
        if (limit_of(state, PyTuple_GET_ITEM(limits, i), (uint32_t)meter, wall_offset_ns, &limit[i]) < 0) return NULL;
        self->capped = self->capped || limit[i].kind == RLM_CONCURRENCY;
    }
    status = rlm_limiter_init(self->core, limit, (size_t)count, now_ns);
    if (status != RLM_OK) return PyLong_FromLong(status);
    self->capacity = (size_t)capacity;
    self->ageing_ns = ageing_ns;
    replace(&self->limits, limits);
    replace(&self->meters, names);
    replace(&self->provider, provider);
    replace(&self->name, name);
    return PyLong_FromLong(RLM_OK);
}

static int limiter_traverse(Limiter *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->clock.manual);
    Py_VISIT(self->clock.callable);
    Py_VISIT(self->limits);
    Py_VISIT(self->meters);
    Py_VISIT(self->name);
    Py_VISIT(self->provider);
    return 0;
}

static int limiter_clear(Limiter *self) {
    clock_clear(&self->clock);
    return 0;
}

static void limiter_free(Limiter *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    limiter_clear(self);
    Py_CLEAR(self->limits);
    Py_CLEAR(self->meters);
    Py_CLEAR(self->name);
    Py_CLEAR(self->provider);
    PyMem_RawFree(self->queue);
    PyMem_Free(self->memory);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(try_acquire_doc,
             "try_acquire(*, requests=1, input_tokens=0, output_tokens=0, microdollars=0, custom=0) -> Permit or None\n\n"
             "Takes the cost from every limit, or from none: then, or if anybody waits in the queue, None. Amounts are ints "
             "of 0 to 2^40.\n"
             "Never blocks, safe in threads. Raises NeverAdmitted if the cost is larger than a limit, ValueError or "
             "TypeError naming the\n"
             "field, AcquireCancelled once the limiter is closed.\n\n"
             ">>> limiter = Limiter(requests=per_minute(1))\n>>> limiter.try_acquire() is None, limiter.try_acquire() is "
             "None\n(False, True)");
static PyObject *limiter_try(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    uint64_t now_ns, wait_ns;
    Permit *permit;
    if (cost_of(self->state, "try_acquire", args, given, keywords, &cost) < 0) return NULL;
    permit = permit_new(self); /* first: making it may run a collector, and that Python code */
    if (permit == NULL || RLM_I_UNLIKELY(clock_read(&self->clock, &now_ns) < 0)) return Py_XDECREF(permit), NULL;
    LOCK(self);
    notice_fork(self);
    wait_ns = RLM_I_UNLIKELY(self->closed || anybody_waits(self)) ? 1
                                                                  : rlm_acquire(self->core, &cost, now_ns, &permit->core);
    if (wait_ns == 0 && RLM_I_LIKELY(permit->core.state != 0)) permit_out(self, permit);
    UNLOCK(self);
    if (RLM_I_UNLIKELY(wait_ns == 0 && permit->core.state == 0)) permit_for_nothing(permit, now_ns);
    if (RLM_I_LIKELY(wait_ns == 0)) return (PyObject *)permit;
    Py_DECREF(permit);
    if (self->closed) return PyErr_SetString(self->state->cancelled_error, "the limiter is closed"), NULL;
    if (wait_ns == RLM_NEVER || (wait_ns == 1 && rlm_check(self->core, &cost, now_ns, NULL) == RLM_NEVER))
        return raise_never(self, &cost, now_ns), NULL;
    if (RLM_I_UNLIKELY(self->untold) && wake_head(self) < 0) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    acquire_method_doc,
    "acquire(*, requests=1, input_tokens=0, output_tokens=0, microdollars=0, custom=0, priority=\"normal\", timeout=None) "
    "-> Acquire\n\n"
    "An object to wait with: `with` it, `async with` it, `await` it, or call its .wait(). Waiting begins then, not here, in "
    "the order\n"
    "of priorities (\"critical\", \"high\", \"normal\", \"low\") and of coming. timeout: seconds in the queue at most; 0 "
    "does not wait. What\n"
    "the request itself takes does not count.\n\n"
    "In a coroutine write `async with` or `await`: `with` and .wait() raise RuntimeError where they would block asyncio's event "
    "loop until\n"
    "there is room (but in a notebook, whose own loop may well stand still). It is awaitable,\n"
    "but no coroutine, which asyncio.create_task wants: write asyncio.ensure_future(limiter.acquire()), or give "
    "create_task a\n"
    "coroutine of your own that awaits it; asyncio.gather and asyncio.wait_for take it as it is.\n\n"
    "Amounts are ints of 0 to 2^40. Raises ValueError or TypeError naming the field. Waiting raises AcquireTimeout (a "
    "TimeoutError),\n"
    "QueueFull, NeverAdmitted (a ValueError) naming the limit, AcquireCancelled. Cancelled at any point, it leaves nothing "
    "behind.\n\n"
    ">>> with Limiter(requests=per_minute(50)).acquire(timeout=30) as permit:\n...     permit.cost[\"requests\"]\n1");
static PyObject *limiter_acquire(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    State *state = self->state;
    Py_ssize_t i, count = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    Acquire *waiter;
    int status = 0;
    if (given != 0) return no_positional("acquire", given), NULL;
    if (!limiter_begun(self)) return NULL;
    waiter = acquire_new(self);
    if (waiter == NULL) return NULL;
    for (i = 0; i < count && status == 0; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        int meter = keyword_index(state->meter, METERS + 2, keyword);
        if (meter < 0) status = unexpected("acquire", keyword);
        else if (meter == METERS) status = priority_of(state, args[i], &waiter->priority);
        else if (meter > METERS) status = seconds_of(args[i], "timeout", UINT64_MAX, NULL, &waiter->timeout_ns);
        else status = amount_of(args[i], keyword, &(&waiter->cost.requests)[meter]);
    }
    if (status < 0) Py_CLEAR(waiter);
    return (PyObject *)waiter;
}

PyDoc_STRVAR(
    check_doc,
    "check(*, requests=1, input_tokens=0, output_tokens=0, microdollars=0, custom=0) -> Check(available, wait, binding, "
    "meter)\n\n"
    "What try_acquire would answer, taking nothing: whether there is room and nobody waits; the seconds until there is, if "
    "nobody else\n"
    "came (infinity: only when a permit is settled, or never); and which limit has the longest wait, with the name of what "
    "it counts.\n"
    "Never blocks. Raises ValueError or TypeError naming the field.\n\n"
    ">>> Limiter(requests=per_minute(1)).check()\nrlimit.Check(available=True, wait=0.0, binding=None, meter=None)");
static PyObject *check_cost(Limiter *self, const rlm_cost *cost) {
    uint64_t now_ns, wait_ns;
    int binding = -1;
    bool known;
    PyObject *check, *items[4];
    Py_ssize_t i;
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    notice_fork(self);
    wait_ns = rlm_check(self->core, cost, now_ns, &binding);
    known = binding >= 0 && self->limits != NULL;
    items[0] = wait_ns == 0 && !anybody_waits(self) ? Py_True : Py_False;
    items[1] = PyFloat_FromDouble(wait_from(wait_ns));
    items[2] = known ? PyTuple_GET_ITEM(self->limits, binding) : Py_None;
    items[3] = known ? PyTuple_GET_ITEM(self->meters, binding) : Py_None;
    Py_INCREF(items[0]), Py_INCREF(items[2]), Py_INCREF(items[3]); /* first: a collector may run Python code that reconfigures */
    check = items[1] == NULL ? NULL : PyStructSequence_New(self->state->check_type);
    for (i = 0; i < 4; i++) {
        if (check != NULL) PyStructSequence_SetItem(check, i, items[i]);
        else Py_XDECREF(items[i]);
    }
    return check;
}
static PyObject *limiter_check(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    if (!limiter_begun(self) || cost_of(self->state, "check", args, given, keywords, &cost) < 0) return NULL;
    return check_cost(self, &cost);
}

/* _check_ns(**cost) -> (wait_ns, index of the binding limit or -1) */
static PyObject *limiter_check_ns(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    uint64_t now_ns, wait_ns;
    int binding = -1;
    if (cost_of(self->state, "check", args, given, keywords, &cost) < 0 || clock_read(&self->clock, &now_ns) < 0)
        return NULL;
    wait_ns = rlm_check(self->core, &cost, now_ns, &binding);
    return Py_BuildValue("Ki", (unsigned long long)wait_ns, binding);
}

PyDoc_STRVAR(debit_doc, "debit(*, requests=0, input_tokens=0, output_tokens=0, microdollars=0, custom=0)\n\n"
                        "Takes from every limit what was used without a permit: elsewhere, or before a restart, whether it "
                        "is there or not. The debt delays\n"
                        "others. Never blocks. Raises ValueError or TypeError naming the field, or if a limit cannot owe "
                        "that much: then nothing is taken.\n\n"
                        ">>> limiter = Limiter(requests=per_minute(50))\n>>> limiter.debit(requests=50)\n>>> "
                        "limiter.try_acquire() is None\nTrue");
static PyObject *limiter_debit(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    uint64_t now_ns;
    int status;
    if (!limiter_begun(self) || cost_of(self->state, "debit", args, given, keywords, &cost) < 0 ||
        clock_read(&self->clock, &now_ns) < 0)
        return NULL;
    status = rlm_debit(self->core, &cost, now_ns);
    if (status == RLM_OK) Py_RETURN_NONE;
    return raise_debt(self->state, status, "debit", &cost, "nothing was taken");
}

/* _status() -> ((limit, used, remaining, reset_ns, spec in force or None), ...), active, queued, recent, succeeded, failed,
 * retried, refused */
static PyObject *limiter_status(Limiter *self, PyObject *unused) {
    PyObject *limits;
    uint64_t now_ns;
    size_t i, count = (size_t)self->core->count;
    (void)unused;
    if (!limiter_begun(self) || clock_read(&self->clock, &now_ns) < 0) return NULL;
    notice_fork(self);
    limits = PyTuple_New((Py_ssize_t)count);
    for (i = 0; limits != NULL && i < count; i++) {
        rlm_usage usage;
        rlm_limit limit;
        PyObject *spec, *item;
        (void)rlm_status(self->core, i, &usage, now_ns);
        if (rlm_in_force(self->core, i, &limit) == RLM_OK) spec = spec_from(&limit);
        else Py_INCREF(Py_None), spec = Py_None;
        item = spec == NULL ? NULL
                            : Py_BuildValue("KKLKN", (unsigned long long)usage.limit, (unsigned long long)usage.used,
                                            (long long)usage.remaining, (unsigned long long)usage.reset_ns, spec);
        if (item == NULL) Py_CLEAR(limits);
        else PyTuple_SET_ITEM(limits, (Py_ssize_t)i, item);
    }
    if (limits == NULL) return NULL;
    return Py_BuildValue("NKnKKKKK", limits, (unsigned long long)self->active,
                         (Py_ssize_t)(anybody_waits(self) ? rlm_queue_count(self->queue) : 0),
                         (unsigned long long)rlm_recent(self->core, now_ns),
                         (unsigned long long)self->total[TOTAL_SUCCEEDED], (unsigned long long)self->total[TOTAL_FAILED],
                         (unsigned long long)self->total[TOTAL_RETRIED], (unsigned long long)self->total[TOTAL_REFUSED]);
}

/* The limits with another one at index; null and an error: there is no memory. */
static PyObject *limits_with(PyObject *limits, Py_ssize_t index, PyObject *limit) {
    Py_ssize_t i, count = PyTuple_GET_SIZE(limits);
    PyObject *changed = PyTuple_New(count);
    for (i = 0; changed != NULL && i < count; i++) {
        PyObject *item = i == index ? limit : PyTuple_GET_ITEM(limits, i);
        Py_INCREF(item);
        PyTuple_SET_ITEM(changed, i, item);
    }
    return changed;
}

/* _reconfigure(index, meter, limit) -> status */
static PyObject *limiter_reconfigure(Limiter *self, PyObject *args) {
    PyObject *object, *before = NULL, *limits = NULL;
    Py_ssize_t index;
    unsigned int meter;
    rlm_limit limit;
    uint64_t now_ns;
    int status;
    if (!PyArg_ParseTuple(args, "nIO", &index, &meter, &object)) return NULL;
    if (limit_of(self->state, object, meter, 0, &limit) < 0 || clock_read(&self->clock, &now_ns) < 0) return NULL;
    if (!limiter_begun(self)) return NULL;
    while (before != self->limits) { /* a collector may have run Python code that reconfigures */
        Py_XDECREF(before), Py_XDECREF(limits);
        before = self->limits;
        Py_INCREF(before);
        limits = limits_with(before, index, object);
        if (limits == NULL) return Py_DECREF(before), NULL;
    }
    status = index < 0 ? RLM_E_INDEX : rlm_reconfigure(self->core, (size_t)index, &limit, now_ns);
    if (status == RLM_OK) self->limits = limits; /* its reference; that of the one before is let go of here */
    Py_DECREF(status == RLM_OK ? before : limits);
    Py_DECREF(before);
    if (status == RLM_OK && wake_if_anybody(self) < 0) return NULL;
    return PyLong_FromLong(status);
}

/* _pause(index or -1 for all, seconds) */
static PyObject *limiter_pause(Limiter *self, PyObject *args) {
    PyObject *seconds;
    Py_ssize_t index;
    uint64_t wait_ns, now_ns;
    int status;
    if (!PyArg_ParseTuple(args, "nO", &index, &seconds)) return NULL;
    if (seconds == Py_None) return must_be("seconds", "a number of seconds", seconds), NULL;
    if (!limiter_begun(self)) return NULL;
    if (seconds_of(seconds, "seconds", UINT64_C(1) << 55, NULL, &wait_ns) < 0 || clock_read(&self->clock, &now_ns) < 0)
        return NULL;
    status = rlm_pause(self->core, index < 0 ? RLM_ALL : (size_t)index, wait_ns, now_ns);
    return wake_if_anybody(self) < 0 ? NULL : none_or_error((PyObject *)self, status);
}

/* _save() -> ((index, period, used), ...) of the calendar quotas */
static PyObject *limiter_save(Limiter *self, PyObject *unused) {
    PyObject *list = PyList_New(0);
    size_t i;
    (void)unused;
    for (i = 0; list != NULL && i < self->core->count; i++) {
        rlm_calendar *calendar = rlm_limiter_calendar(self->core, i);
        rlm_calendar_saved saved = {0, 0};
        PyObject *item;
        if (calendar == NULL) continue;
        (void)rlm_calendar_save(calendar, &saved);
        item = Py_BuildValue("nKK", (Py_ssize_t)i, (unsigned long long)saved.period, (unsigned long long)saved.used);
        if (item == NULL || PyList_Append(list, item) < 0) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* _restore([(index, period, used), ...]), at most one of each: first tried on copies, so that an error adds nothing. */
static PyObject *limiter_restore(Limiter *self, PyObject *list) {
    rlm_calendar *calendar[RLM_LIMITS_MAX], copy;
    rlm_calendar_saved saved[RLM_LIMITS_MAX];
    Py_ssize_t i, index, count = PyList_Check(list) ? PyList_GET_SIZE(list) : RLM_LIMITS_MAX + 1;
    uint64_t now_ns;
    if (count > RLM_LIMITS_MAX) return PyErr_SetString(PyExc_TypeError, "_restore: a list"), NULL;
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    for (i = 0; i < count; i++) {
        unsigned long long period, used;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "nKK", &index, &period, &used)) return NULL;
        calendar[i] = rlm_limiter_calendar(self->core, (size_t)index);
        if (calendar[i] == NULL) return PyErr_SetString(PyExc_IndexError, "_restore: no calendar"), NULL;
        saved[i].period = period;
        saved[i].used = used;
        copy = *calendar[i];
        if (rlm_calendar_restore(&copy, &saved[i], now_ns) == RLM_OK) continue;
        return raise_text(self->state, RLM_E_COST,
                          PyUnicode_FromFormat("saved: used: more than %R can count, %llu", PyTuple_GET_ITEM(self->limits, index),
                                               used));
    }
    for (i = 0; i < count; i++) (void)rlm_calendar_restore(calendar[i], &saved[i], now_ns);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sync_doc,
             "sync_wall_clock(wall_ns=None)\n\nThe wall clock was set: limits that begin with the minute, day or month "
             "follow it. wall_ns: nanoseconds since 1970;\n"
             "None: what the system says. Never blocks.\n\n>>> Limiter(requests=calendar_day(1000)).sync_wall_clock()");
static PyObject *limiter_sync(Limiter *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"wall_ns", NULL};
    PyObject *given = Py_None;
    uint64_t wall_ns = rlm_wall(), now_ns;
    size_t i;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &given)) return NULL;
    if (given != Py_None && whole_number(given, "wall_ns", UINT64_C(1) << 62, &wall_ns) < 0) return NULL;
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    for (i = 0; i < self->core->count; i++) {
        rlm_calendar *calendar = rlm_limiter_calendar(self->core, i);
        if (calendar != NULL) (void)rlm_calendar_sync(calendar, wall_ns, now_ns);
    }
    if (wake_if_anybody(self) < 0) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc, "close()\n\nEnds all waits, and those to come, with AcquireCancelled. Permits that are out may "
                        "still be settled. Never blocks; from any thread.\n\n"
                        ">>> Limiter(requests=per_minute(50)).close()");
static PyObject *limiter_close(Limiter *self, PyObject *unused) {
    int found = WOKEN;
    (void)unused;
    while (found != UNTOLD) { /* all, not one by the other: the loop of a head may stand still */
        Acquire *head;
        PyObject *waker = NULL;
        uint64_t handle = 0;
        LOCK(self);
        self->closed = true;
        notice_fork(self);
        head = head_of(self);
        if (head != NULL) handle = head->handle, waker = signal_to(head);
        UNLOCK(self);
        if (head == NULL) break;
        found = waker != NULL ? call_waker(waker) : WOKEN;
        LOCK(self);
        if (found != UNTOLD) dismiss_head(self, handle, VERDICT_CLOSED);
        UNLOCK(self);
        Py_XDECREF(waker);
    }
    return none_unless_raised();
}

/* Its clock was moved. */
static PyObject *limiter_wake(Limiter *self, PyObject *unused) {
    uint64_t now_ns;
    (void)unused;
    if (!anybody_waits(self)) Py_RETURN_NONE;
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    notice_fork(self);
    (void)expire(self, NULL, now_ns);
    (void)wake_head(self);
    return none_unless_raised();
}

static PyObject *limiter_count_retry(Limiter *self, PyObject *unused) {
    (void)unused;
    LOCK(self);
    self->total[TOTAL_RETRIED]++;
    UNLOCK(self);
    Py_RETURN_NONE;
}

static PyObject *or_none(PyObject *object) {
    if (object == NULL) object = Py_None;
    Py_INCREF(object);
    return object;
}
static PyObject *limiter_limits(Limiter *self, void *unused) {
    return (void)unused, self->limits == NULL ? PyTuple_New(0) : or_none(self->limits);
}
static PyObject *limiter_meters(Limiter *self, void *unused) {
    return (void)unused, self->meters == NULL ? PyTuple_New(0) : or_none(self->meters);
}
static PyObject *limiter_name(Limiter *self, void *unused) { return (void)unused, or_none(self->name); }
static PyObject *limiter_provider(Limiter *self, void *unused) { return (void)unused, or_none(self->provider); }
static PyObject *limiter_closed(Limiter *self, void *unused) { return (void)unused, PyBool_FromLong(self->closed); }
static PyObject *limiter_clock(Limiter *self, void *unused) {
    return (void)unused, or_none(self->clock.manual != NULL ? (PyObject *)self->clock.manual : self->clock.callable);
}

static PyObject *limiter_observe(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords);
PyDoc_STRVAR(
    observe_doc,
    "observe(feedback, permit=None)\n\n"
    "Believes what the server said: what remains there, its limits, its pauses. feedback is that of parse(), or a Feedback "
    "made by hand;\n"
    "permit is that of the request it answers, not settled yet. What it says of the request's success is counted when the "
    "permit ends,\n"
    "or now without one. Never blocks; from any thread. Raises TypeError, or RuntimeError if the permit is not out.\n\n"
    ">>> limiter = Limiter(requests=per_minute(50))\n>>> permit = limiter.try_acquire()\n"
    ">>> limiter.observe(parse(429, {\"retry-after\": \"7\"}).feedback, permit)\n>>> permit.settle()\n>>> "
    "limiter.check().wait > 6\nTrue");

static PyGetSetDef limiter_getset[] = {
    {"limits", (getter)limiter_limits, NULL, "Tuple of the limits as configured.", NULL},
    {"meters", (getter)limiter_meters, NULL, "Tuple of what each of them counts, by name.", NULL},
    {"name", (getter)limiter_name, NULL, "The name given, or None.", NULL},
    {"provider", (getter)limiter_provider, NULL, "The provider given, or None.", NULL},
    {"clock", (getter)limiter_clock, NULL, "The clock given, or None: the system's.", NULL},
    {"closed", (getter)limiter_closed, NULL, "Whether close() was called.", NULL}, {0}};
#define FAST(name, function, doc) {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc}
static PyMethodDef limiter_methods[] = {FAST("try_acquire", limiter_try, try_acquire_doc),
                                        FAST("acquire", limiter_acquire, acquire_method_doc),
                                        FAST("check", limiter_check, check_doc),
                                        FAST("observe", limiter_observe, observe_doc),
                                        FAST("debit", limiter_debit, debit_doc),
                                        METHOD("sync_wall_clock", limiter_sync, sync_doc),
                                        {"close", (PyCFunction)limiter_close, METH_NOARGS, close_doc},
                                        FAST("_check_ns", limiter_check_ns, NULL),
                                        {"_begin", (PyCFunction)limiter_begin, METH_VARARGS, NULL},
                                        {"_status", (PyCFunction)limiter_status, METH_NOARGS, NULL},
                                        {"_reconfigure", (PyCFunction)limiter_reconfigure, METH_VARARGS, NULL},
                                        {"_pause", (PyCFunction)limiter_pause, METH_VARARGS, NULL},
                                        {"_save", (PyCFunction)limiter_save, METH_NOARGS, NULL},
                                        {"_restore", (PyCFunction)limiter_restore, METH_O, NULL},
                                        {"_wake", (PyCFunction)limiter_wake, METH_NOARGS, NULL},
                                        {"_count_retry", (PyCFunction)limiter_count_retry, METH_NOARGS, NULL},
                                        NO_PICKLE,
                                        {0}};
static PyMemberDef limiter_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(Limiter, weak), READONLY, NULL}, {0}};
static PyType_Slot limiter_slots[] = {{Py_tp_new, limiter_new},
                                      {Py_tp_dealloc, limiter_free},
                                      {Py_tp_traverse, limiter_traverse},
                                      {Py_tp_clear, limiter_clear},
                                      {Py_tp_getset, limiter_getset},
                                      {Py_tp_methods, limiter_methods},
                                      {Py_tp_members, limiter_members},
                                      {Py_tp_doc, "The limiter without its manners; see rlimit.Limiter."},
                                      {0, NULL}};
static PyType_Spec limiter_spec = {"rlimit._rlimit.Limiter", sizeof(Limiter), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, limiter_slots};

/* ---- Feedback: what a server says -------------------------------------------------------------- */

typedef struct Reading {
    PyObject_HEAD
    rlm_reading core;
} Reading;

typedef struct Feedback {
    PyObject_HEAD
    rlm_feedback core;
} Feedback;

static PyObject *said(uint64_t value) {
    if (value == RLM_UNSAID) Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(value);
}
static PyObject *said_seconds(uint64_t ns) {
    if (ns == RLM_UNSAID) Py_RETURN_NONE;
    return PyFloat_FromDouble(seconds_from(ns));
}
static int unless_none(PyObject *given, const char *field, uint64_t *value) {
    return given == NULL || given == Py_None ? 0 : whole_number(given, field, UINT64_MAX - 1, value);
}
static int unless_none_s(PyObject *given, const char *field, uint64_t *ns) {
    return given == NULL || given == Py_None ? 0 : seconds_of(given, field, RLM_UNSAID, "to 36028797", ns);
}

/* The meter of this name, or -1 and an error. */
static int meter_of(State *state, PyObject *name) {
    int meter;
    if (!PyUnicode_Check(name)) return must_be("meter", "a str", name), -1;
    meter = keyword_index(state->meter_name, RLM_I_METER_COUNT, name);
    if (meter < 0)
        PyErr_Format(PyExc_ValueError,
                     "meter: must be requests, input_tokens, output_tokens, tokens, microdollars or custom, not %R", name);
    return meter;
}

static int reading_init(Reading *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"meter",  "limit",        "remaining",   "rounding", "reset",
                            "period", "period_least", "period_most", NULL};
    PyObject *meter, *given[7] = {NULL};
    State *state = state_by((PyObject *)self);
    rlm_reading core;
    int index;
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOOOOO", names, &meter, &given[0], &given[1],
                                                      &given[2], &given[3], &given[4], &given[5], &given[6]))
        return -1;
    if ((index = meter_of(state, meter)) < 0) return -1;
    core = rlm_reading_none((uint32_t)index);
    if (unless_none(given[0], "limit", &core.limit) < 0 ||
        unless_none(given[1], "remaining", &core.remaining) < 0 ||
        unless_none(given[2], "rounding", &core.rounding) < 0 ||
        unless_none_s(given[3], "reset", &core.reset_ns) < 0 ||
        unless_none_s(given[4], "period", &core.period_ns) < 0 ||
        unless_none_s(given[5], "period_least", &core.period_least_ns) < 0 ||
        unless_none_s(given[6], "period_most", &core.period_most_ns) < 0)
        return -1;
    self->core = core;
    return 0;
}

static PyObject *reading_meter(Reading *self, void *unused) {
    State *state = state_by((PyObject *)self);
    (void)unused;
    return state == NULL ? NULL : or_none(state->meter_name[self->core.meter]);
}
#define READING_GET(name, make) static PyObject *reading_##name(Reading *self, void *unused) { return (void)unused, make; }
READING_GET(limit, said(self->core.limit))
READING_GET(remaining, said(self->core.remaining))
READING_GET(rounding, said(self->core.rounding))
READING_GET(reset, said_seconds(self->core.reset_ns))
READING_GET(period, self->core.period_ns == 0 ? said(RLM_UNSAID) : said_seconds(self->core.period_ns))
READING_GET(period_least, said_seconds(self->core.period_least_ns))
READING_GET(period_most, said_seconds(self->core.period_most_ns))
/* For tests: limit, remaining, rounding, reset_ns, period_ns, period_least_ns, period_most_ns as they are in C. */
READING_GET(raw, Py_BuildValue("KKKKKKK", (unsigned long long)self->core.limit, (unsigned long long)self->core.remaining,
                               (unsigned long long)self->core.rounding, (unsigned long long)self->core.reset_ns,
                               (unsigned long long)self->core.period_ns, (unsigned long long)self->core.period_least_ns,
                               (unsigned long long)self->core.period_most_ns))

static PyObject *reading_repr(Reading *self) {
    PyObject *meter = reading_meter(self, NULL), *limit = said(self->core.limit), *remaining = said(self->core.remaining);
    PyObject *reset = said_seconds(self->core.reset_ns), *text = NULL;
    if (meter != NULL && limit != NULL && remaining != NULL && reset != NULL)
        text = PyUnicode_FromFormat("Reading(%R, limit=%R, remaining=%R, reset=%R)", meter, limit, remaining, reset);
    Py_XDECREF(meter), Py_XDECREF(limit), Py_XDECREF(remaining), Py_XDECREF(reset);
    return text;
}

#define GET(type, name, doc) {#name, (getter)type##_##name, NULL, doc, NULL}
static PyGetSetDef reading_getset[] = {GET(reading, meter, "What it counts: \"requests\" ..."),
                                       GET(reading, limit, "The amount in a period, or None."),
                                       GET(reading, remaining, "What remains, or None."),
                                       GET(reading, rounding, "remaining may be more or less by this much."),
                                       GET(reading, reset, "Seconds until nothing is used, or the period ends; None."),
                                       GET(reading, period, "Seconds, as said or as usual there; None."),
                                       GET(reading, period_least, "The period is at least this many seconds."),
                                       GET(reading, period_most, "... and at most this many, or None."),
                                       {"_raw", (getter)reading_raw, NULL, NULL, NULL},
                                       {0}};
static PyMethodDef reading_methods[] = {NO_PICKLE, {0}};
PyDoc_STRVAR(
    reading_doc,
    "Reading(meter, *, limit=None, remaining=None, rounding=0, reset=None, period=None, period_least=0, "
    "period_most=None)\n\n"
    "What a server says of one limit: amounts are ints, times seconds from the moment of the answer; None is not said.\n\n"
    ">>> Reading(\"requests\", limit=50, remaining=49)\nReading('requests', limit=50, remaining=49, reset=None)");
static PyType_Slot reading_slots[] = {{Py_tp_dealloc, free_object},
                                      {Py_tp_init, reading_init},
                                      {Py_tp_getset, reading_getset},
                                      {Py_tp_repr, reading_repr},
                                      {Py_tp_methods, reading_methods},
                                      {Py_tp_doc, (void *)reading_doc},
                                      {0, NULL}};
static PyType_Spec reading_spec = {"rlimit.Reading", sizeof(Reading), 0, Py_TPFLAGS_DEFAULT, reading_slots};

/* Which limits a refusal names, of a sequence of meters and "concurrency". */
static int named_of(State *state, PyObject *given, uint32_t *named) {
    PyObject *names = given == NULL ? PyTuple_New(0) : PyUnicode_Check(given) ? NULL : PySequence_Tuple(given);
    Py_ssize_t i;
    *named = 0;
    if (names == NULL) return must_be("named", "a sequence of meters, such as [\"requests\"]", given), -1;
    for (i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int meter;
        if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "concurrency") == 0) {
            *named |= RLM_NAMED_CONCURRENCY;
            continue;
        }
        meter = PyUnicode_Check(name) ? keyword_index(state->meter_name, RLM_I_METER_COUNT, name) : -1;
        if (meter < 0) {
            PyErr_Format(PyUnicode_Check(name) ? PyExc_ValueError : PyExc_TypeError,
                         "named: must be of requests, input_tokens, output_tokens, tokens, microdollars, custom and "
                         "concurrency, not %R",
                         name);
            Py_CLEAR(names);
            break;
        }
        *named |= UINT32_C(1) << meter;
    }
    Py_XDECREF(names);
    return names == NULL ? -1 : 0;
}

static int feedback_init(Feedback *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"outcome", "named", "retry_after", "requested", "readings", NULL};
    PyObject *outcome = NULL, *named = NULL, *retry_after = NULL, *requested = NULL, *given = NULL, *readings;
    State *state = state_by((PyObject *)self);
    rlm_feedback core; /* not in place: the arguments may run Python code, which may call this again */
    Py_ssize_t i;
    int index = RLM_ANSWERED;
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OOOO", names, &outcome, &named, &retry_after, &requested, &given))
        return -1;
    memset(&core, 0, sizeof core);
    core.retry_after_ns = core.requested = RLM_UNSAID;
    if (outcome != NULL && (index = outcome_of(outcome)) < 0) return -1;
    core.outcome = (uint32_t)index;
    if (named_of(state, named, &core.named) < 0 ||
        unless_none_s(retry_after, "retry_after", &core.retry_after_ns) < 0 ||
        unless_none(requested, "requested", &core.requested) < 0)
        return -1;
    readings = given == NULL ? PyTuple_New(0) : PySequence_Tuple(given);
    if (readings == NULL) return must_be("readings", "a sequence of Reading", given), -1;
    for (i = 0; i < PyTuple_GET_SIZE(readings); i++) {
        PyObject *reading = PyTuple_GET_ITEM(readings, i);
        if (i == RLM_READINGS_MAX || Py_TYPE(reading) != state->reading_type) {
            PyErr_Format(PyExc_TypeError, "readings: must be at most %d of Reading, not %R", RLM_READINGS_MAX, given);
            break;
        }
        core.reading[core.count++] = ((Reading *)reading)->core;
    }
    Py_DECREF(readings);
    if (PyErr_Occurred()) return -1;
    self->core = core;
    return 0;
}

#define FEEDBACK_GET(name, make) \
    static PyObject *feedback_##name(Feedback *self, void *unused) { return (void)unused, make; }
FEEDBACK_GET(outcome, text_of(outcome_names[self->core.outcome]))
FEEDBACK_GET(retry_after, said_seconds(self->core.retry_after_ns))
FEEDBACK_GET(requested, said(self->core.requested))
FEEDBACK_GET(retry_after_ns, PyLong_FromUnsignedLongLong(self->core.retry_after_ns))

static PyObject *feedback_named(Feedback *self, void *unused) {
    State *state = state_by((PyObject *)self);
    PyObject *list = state == NULL ? NULL : PyList_New(0), *tuple, *name;
    int i;
    (void)unused;
    for (i = 0; list != NULL && i < RLM_I_METER_COUNT; i++)
        if ((self->core.named >> i & 1) != 0 && PyList_Append(list, state->meter_name[i]) < 0) Py_CLEAR(list);
    if (list != NULL && (self->core.named & RLM_NAMED_CONCURRENCY) != 0) {
        name = text_of("concurrency");
        if (name == NULL || PyList_Append(list, name) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    tuple = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return tuple;
}

static PyObject *feedback_readings(Feedback *self, void *unused) {
    State *state = state_by((PyObject *)self);
    PyObject *tuple = state == NULL ? NULL : PyTuple_New((Py_ssize_t)self->core.count);
    uint32_t i;
    (void)unused;
    for (i = 0; tuple != NULL && i < self->core.count; i++) {
        Reading *reading = (Reading *)new_object(state->reading_type);
        if (reading == NULL) Py_CLEAR(tuple);
        else {
            reading->core = self->core.reading[i];
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, (PyObject *)reading);
        }
    }
    return tuple;
}

static PyObject *feedback_repr(Feedback *self) {
    PyObject *named = feedback_named(self, NULL), *retry_after = feedback_retry_after(self, NULL),
             *readings = feedback_readings(self, NULL), *text = NULL;
    if (named != NULL && retry_after != NULL && readings != NULL)
        text = PyUnicode_FromFormat("Feedback('%s', named=%R, retry_after=%R, readings=%R)",
                                    outcome_names[self->core.outcome], named, retry_after, readings);
    Py_XDECREF(named), Py_XDECREF(retry_after), Py_XDECREF(readings);
    return text;
}

static PyGetSetDef feedback_getset[] = {
    GET(feedback, outcome, "\"answered\", \"refused\", \"slow_down\", \"overloaded\" or \"failed\"."),
    GET(feedback, named, "Tuple of the meters that a refusal names, and \"concurrency\"."),
    GET(feedback, retry_after, "Seconds, or None."),
    GET(feedback, requested, "What the server says the refused request costs, of the meter named; None."),
    GET(feedback, readings, "Tuple of Reading."),
    {"_retry_after_ns", (getter)feedback_retry_after_ns, NULL, NULL, NULL},
    {0}};
static PyMethodDef feedback_methods[] = {NO_PICKLE, {0}};
PyDoc_STRVAR(feedback_doc, "Feedback(outcome=\"answered\", *, named=(), retry_after=None, requested=None, readings=())\n\n"
                           "What an answer says of limits, for Limiter.observe. parse() makes one of a response; of other "
                           "transports, make it yourself.\n"
                           "Raises ValueError or TypeError naming the field.\n\n"
                           ">>> Feedback(\"refused\", named=[\"requests\"], retry_after=5)\nFeedback('refused', "
                           "named=('requests',), retry_after=5.0, readings=())");
static PyType_Slot feedback_slots[] = {{Py_tp_dealloc, free_object},
                                       {Py_tp_init, feedback_init},
                                       {Py_tp_getset, feedback_getset},
                                       {Py_tp_repr, feedback_repr},
                                       {Py_tp_methods, feedback_methods},
                                       {Py_tp_doc, (void *)feedback_doc},
                                       {0, NULL}};
static PyType_Spec feedback_spec = {"rlimit.Feedback", sizeof(Feedback), 0, Py_TPFLAGS_DEFAULT, feedback_slots};

static int observe_core(Limiter *self, Permit *permit, const rlm_feedback *feedback, uint64_t now_ns) {
    int status = RLM_OK;
    if (permit != NULL && permit->state == PERMIT_FORKED) return RLM_OK;
    if (permit == NULL || permit->core.state != 0)
        status = rlm_observe(self->core, permit == NULL ? NULL : &permit->core, feedback, now_ns);
    else if (permit->state != PERMIT_NEW) status = RLM_E_PERMIT;
    if (status == RLM_OK && permit != NULL) permit->outcome = feedback->outcome;
    if (status == RLM_OK && permit == NULL) {
        LOCK(self);
        count_outcome(self, feedback->outcome);
        UNLOCK(self);
    }
    return status;
}

static PyObject *limiter_observe(Limiter *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    State *state = self->state;
    PyObject *feedback = given > 0 ? args[0] : NULL, *permit = given > 1 ? args[1] : Py_None;
    Py_ssize_t i, count = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    uint64_t now_ns;
    int status;
    for (i = 0; i < count; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        if (keyword_index(&state->feedback, 1, keyword) == 0) feedback = args[given + i];
        else if (keyword_index(&state->permit, 1, keyword) == 0) permit = args[given + i];
        else return unexpected("observe", keyword), NULL;
    }
    if (given > 2 || feedback == NULL) return PyErr_SetString(PyExc_TypeError, "observe() takes feedback and permit"), NULL;
    if (Py_TYPE(feedback) != state->feedback_type)
        return PyErr_Format(PyExc_TypeError, "feedback: must be a Feedback, such as parse(...).feedback, not %s",
                            Py_TYPE(feedback)->tp_name);
    if (permit != Py_None && (Py_TYPE(permit) != state->permit_type || ((Permit *)permit)->limiter != self))
        return PyErr_Format(PyExc_TypeError, "permit: must be a Permit of this limiter or None, not %R", permit);
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    notice_fork(self);
    status = observe_core(self, permit == Py_None ? NULL : (Permit *)permit, &((Feedback *)feedback)->core, now_ns);
    if (wake_if_anybody(self) < 0) return NULL;
    if (status == RLM_E_PERMIT) return used_up((Permit *)permit, "observe");
    return none_or_error((PyObject *)self, status);
}

/* ---- Estimates ------------------------------------------------------------------------------- */

typedef struct Route {
    PyObject_HEAD
    rlm_route core;
} Route;

static int route_init(Route *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"quantile", NULL};
    PyObject *given = NULL;
    double quantile = 0.9;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &given)) return -1;
    if (given != NULL && number_of(given, "quantile", "a number", &quantile) < 0) return -1;
    if (!(quantile >= 0.001 && quantile <= 0.999))
        return PyErr_Format(PyExc_ValueError, "quantile: must be 0.001 to 0.999, not %R", given), -1;
    return zero_or_error((PyObject *)self, rlm_route_init(&self->core, (uint32_t)(quantile * 1000 + 0.5)));
}

PyDoc_STRVAR(
    route_estimate_doc,
    "estimate(*, requests=1, input_tokens=0, output_tokens=0, microdollars=0, custom=0) -> dict of the five meters\n\n"
    "Corrects an estimate by what was learned: input tokens by their ratio, output tokens, given as the most there can be, "
    "to the\n"
    "quantile of those seen. Until eight were seen it is returned as it is. Never blocks.");
static PyObject *route_estimate(Route *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    rlm_cost cost = {1, 0, 0, 0, 0};
    State *state = state_by((PyObject *)self);
    if (state == NULL || cost_of(state, "estimate", args, given, keywords, &cost) < 0) return NULL;
    cost = rlm_route_estimate(&self->core, &cost);
    return cost_dict(state, &cost);
}

PyDoc_STRVAR(route_learn_doc, "learn(estimate, actual)\n\nTakes in what a request cost in fact, of its estimate before it "
                              "was corrected: both are mappings of meters.\n"
                              "Raises ValueError or TypeError naming the field.");
static PyObject *route_learn(Route *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"estimate", "actual", NULL};
    PyObject *estimate, *actual;
    rlm_cost was = {0, 0, 0, 0, 0}, is = {0, 0, 0, 0, 0};
    State *state = state_by((PyObject *)self);
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "OO", names, &estimate, &actual)) return NULL;
    if (cost_of_mapping(state, estimate, "estimate", &was) < 0 || cost_of_mapping(state, actual, "actual", &is) < 0)
        return NULL;
    return none_or_error((PyObject *)self, rlm_route_learn(&self->core, &was, &is));
}

static PyMethodDef route_methods[] = {
    FAST("estimate", route_estimate, route_estimate_doc), METHOD("learn", route_learn, route_learn_doc), NO_PICKLE, {0}};
PyDoc_STRVAR(
    route_doc,
    "Route(quantile=0.9)\n\nWhat requests of one kind (a model, a prompt template) turn out to cost. quantile, 0.001 to "
    "0.999: that share of answers\n"
    "shall be no longer than what is reserved. Safe in threads. Raises ValueError naming the field.\n\n"
    ">>> route = Route()\n>>> for _ in range(20): route.learn({\"output_tokens\": 4000}, {\"output_tokens\": 200})\n"
    ">>> route.estimate(output_tokens=4000)[\"output_tokens\"] < 300\nTrue");
static PyType_Slot route_slots[] = {{Py_tp_dealloc, free_object},
                                    {Py_tp_init, route_init},
                                    {Py_tp_methods, route_methods},
                                    {Py_tp_doc, (void *)route_doc},
                                    {0, NULL}};
static PyType_Spec route_spec = {"rlimit.Route", sizeof(Route), 0, Py_TPFLAGS_DEFAULT, route_slots};

/* ---- Queue ----------------------------------------------------------------------------------- */

/* The bare queue, for tests against the shared vectors: users have it inside a Limiter. data stands for a waiter. */
typedef struct Queue {
    PyObject_HEAD
    rlm_queue *core;
} Queue;

static int queue_init(Queue *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"capacity", "ageing_ns", NULL};
    unsigned long long capacity, ageing_ns;
    rlm_queue *core;
    size_t bytes;
    int status;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KK", names, &capacity, &ageing_ns)) return -1;
    bytes = rlm_queue_bytes((size_t)capacity);
    core = (rlm_queue *)PyMem_RawMalloc(bytes == 0 ? 1 : bytes);
    if (core == NULL) return PyErr_NoMemory(), -1;
    status = rlm_queue_init(core, bytes, (size_t)capacity, ageing_ns);
    if (status == RLM_OK) {
        PyMem_RawFree(self->core);
        self->core = core;
    } else PyMem_RawFree(core);
    return zero_or_error((PyObject *)self, status);
}

static void queue_free(Queue *self) {
    PyMem_RawFree(self->core);
    free_object((PyObject *)self);
}

static PyObject *queue_push(Queue *self, PyObject *args) {
    unsigned long long data, deadline_ns, now_ns;
    unsigned int priority;
    uint64_t handle;
    int status;
    if (!PyArg_ParseTuple(args, "KIKK", &data, &priority, &deadline_ns, &now_ns)) return NULL;
    status = rlm_queue_push(self->core, data, priority, deadline_ns, now_ns, &handle);
    return status == RLM_OK ? PyLong_FromUnsignedLongLong(handle) : none_or_error((PyObject *)self, status);
}
static PyObject *queue_head(Queue *self, PyObject *unused) {
    uint64_t data;
    (void)unused;
    if (!rlm_queue_head(self->core, NULL, &data)) Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(data);
}
static PyObject *queue_expire(Queue *self, PyObject *now) {
    uint64_t data, now_ns;
    if (now_of(now, &now_ns) < 0) return NULL;
    if (!rlm_queue_expire(self->core, now_ns, NULL, &data)) Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(data);
}
static PyObject *queue_remove(Queue *self, PyObject *given) {
    uint64_t handle;
    if (whole_number(given, "handle", UINT64_MAX, &handle) < 0) return NULL;
    return none_or_error((PyObject *)self, rlm_queue_remove(self->core, handle));
}
static PyObject *queue_deadline(Queue *self, PyObject *unused) {
    return (void)unused, PyLong_FromUnsignedLongLong(rlm_queue_deadline(self->core));
}
static PyObject *queue_count(Queue *self, PyObject *unused) {
    return (void)unused, PyLong_FromSize_t(rlm_queue_count(self->core));
}

static PyMethodDef queue_methods[] = {
    {"push", (PyCFunction)queue_push, METH_VARARGS, "push(data, priority, deadline_ns, now_ns) -> handle"},
    {"head", (PyCFunction)queue_head, METH_NOARGS, "data of the head, or None"},
    {"expire", (PyCFunction)queue_expire, METH_O, "data of one that expired, or None"},
    {"remove", (PyCFunction)queue_remove, METH_O, "remove(handle)"},
    {"deadline", (PyCFunction)queue_deadline, METH_NOARGS, "the earliest"},
    {"count", (PyCFunction)queue_count, METH_NOARGS, "how many wait"},
    NO_PICKLE,
    {0}};
static PyType_Slot queue_slots[] = {
    {Py_tp_dealloc, queue_free}, {Py_tp_init, queue_init}, {Py_tp_methods, queue_methods}, {0, NULL}};
static PyType_Spec queue_spec = {"rlimit._rlimit.Queue", sizeof(Queue), 0, Py_TPFLAGS_DEFAULT, queue_slots};

/* ---- Backoff --------------------------------------------------------------------------------- */

/* The classes that users see are in _retry.py. */
typedef struct Plan {
    PyObject_HEAD
    rlm_backoff core;
} Plan;

typedef struct Delays {
    PyObject_HEAD
    rlm_backoff plan;
    rlm_backoff_state core;
} Delays;

static int plan_init(Plan *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {
        "base_ns",      "factor_permille", "cap_ns",         "floor_ns",           "jitter", "fraction_permille",
        "attempts_max", "base_class_ns",   "least_class_ns", "retry_after_max_ns", NULL};
    rlm_backoff plan = rlm_backoff_default();
    unsigned long long base = plan.base_ns, cap = plan.cap_ns, floor = plan.floor_ns, most = plan.retry_after_max_ns, by[8];
    int i;
    for (i = 0; i < 4; i++) by[i] = plan.base_class_ns[i], by[4 + i] = plan.least_class_ns[i];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$KIKKIII(KKKK)(KKKK)K", names, &base, &plan.factor_permille, &cap,
                                     &floor, &plan.jitter, &plan.fraction_permille, &plan.attempts_max, &by[0], &by[1],
                                     &by[2], &by[3], &by[4], &by[5], &by[6], &by[7], &most))
        return -1;
    plan.base_ns = base, plan.cap_ns = cap, plan.floor_ns = floor, plan.retry_after_max_ns = most;
    for (i = 0; i < 4; i++) plan.base_class_ns[i] = by[i], plan.least_class_ns[i] = by[4 + i];
    self->core = plan;
    return zero_or_error((PyObject *)self, rlm_backoff_check(&plan));
}

static PyObject *plan_start(Plan *self, PyObject *given) {
    State *state = state_by((PyObject *)self);
    uint64_t seed;
    Delays *delays;
    if (state == NULL || whole_number(given, "seed", UINT64_MAX, &seed) < 0) return NULL;
    delays = (Delays *)new_object(state->delays_type);
    if (delays == NULL) return NULL;
    delays->plan = self->core;
    rlm_backoff_start(&delays->core, seed);
    return (PyObject *)delays;
}

static PyObject *delays_next(Delays *self, PyObject *args) {
    unsigned int error_class, priority;
    unsigned long long retry_after_ns = 0;
    if (!PyArg_ParseTuple(args, "II|K", &error_class, &priority, &retry_after_ns)) return NULL;
    return PyLong_FromUnsignedLongLong(rlm_backoff_next(&self->plan, &self->core, error_class, priority, retry_after_ns));
}

static PyMethodDef plan_methods[] = {
    {"start", (PyCFunction)plan_start, METH_O, "start(seed) -> the delays of one request"}, NO_PICKLE, {0}};
static PyMethodDef delays_methods[] = {
    {"next", (PyCFunction)delays_next, METH_VARARGS, "next(error_class, priority, retry_after_ns=0) -> ns, or NEVER"},
    NO_PICKLE,
    {0}};
static PyType_Slot plan_slots[] = {
    {Py_tp_dealloc, free_object}, {Py_tp_init, plan_init}, {Py_tp_methods, plan_methods}, {0, NULL}};
static PyType_Slot delays_slots[] = {
    {Py_tp_dealloc, free_object}, {Py_tp_new, not_made}, {Py_tp_methods, delays_methods}, {0, NULL}};
static PyType_Spec plan_spec = {"rlimit._rlimit.BackoffPlan", sizeof(Plan), 0, Py_TPFLAGS_DEFAULT, plan_slots};
static PyType_Spec delays_spec = {"rlimit._rlimit.Delays", sizeof(Delays), 0, Py_TPFLAGS_DEFAULT, delays_slots};

typedef struct Budget {
    PyObject_HEAD
    rlm_retry_budget core;
    Clock clock;
} Budget;

static int budget_init(Budget *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"share_permille", "per_second", "burst", "clock", NULL};
    unsigned int share;
    unsigned long long per_second, burst;
    PyObject *clock = Py_None;
    uint64_t now_ns;
    State *state = state_by((PyObject *)self);
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "IKK|O", names, &share, &per_second, &burst, &clock))
        return -1;
    clock_clear(&self->clock);
    if (clock_begin(state, &self->clock, clock) < 0 || clock_read(&self->clock, &now_ns) < 0) return -1;
    return zero_or_error((PyObject *)self, rlm_retry_budget_init(&self->core, share, per_second, burst, now_ns));
}

static void budget_free(Budget *self) {
    clock_clear(&self->clock);
    free_object((PyObject *)self);
}

static PyObject *budget_request(Budget *self, PyObject *unused) {
    uint64_t now_ns;
    (void)unused;
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    rlm_retry_budget_request(&self->core, now_ns);
    Py_RETURN_NONE;
}

static PyObject *budget_retry(Budget *self, PyObject *unused) {
    uint64_t now_ns;
    (void)unused;
    if (clock_read(&self->clock, &now_ns) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(rlm_retry_budget_retry(&self->core, now_ns));
}

static PyMethodDef budget_methods[] = {
    {"request", (PyCFunction)budget_request, METH_NOARGS, "Earns for one first attempt."},
    {"retry", (PyCFunction)budget_retry, METH_NOARGS, "Spends one retry: 0, or the ns until there is one."},
    NO_PICKLE,
    {0}};
static PyType_Slot budget_slots[] = {
    {Py_tp_dealloc, budget_free}, {Py_tp_init, budget_init}, {Py_tp_methods, budget_methods}, {0, NULL}};
static PyType_Spec budget_spec = {"rlimit._rlimit.RetryBudget", sizeof(Budget), 0, Py_TPFLAGS_DEFAULT, budget_slots};

/* ---- HTTP: what a response says of limits ------------------------------------------------------ */

/* Whether an error is that a str cannot be UTF-8; it is cleared then. */
static bool is_no_utf8(void) {
    bool is = PyErr_ExceptionMatches(PyExc_UnicodeError);
    if (is) PyErr_Clear();
    return is;
}

static int profile_of(PyObject *name, rlm_http_profile *profile) {
    const char *text;
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "provider: must be a str, not %s", Py_TYPE(name)->tp_name);
        return -1;
    }
    text = PyUnicode_AsUTF8(name);
    if (text != NULL && rlm_http_profile_of(text, profile)) return 0;
    if (text == NULL && !is_no_utf8()) return -1;
    PyErr_Format(PyExc_ValueError,
                 "provider: must be anthropic, openai, azure, bedrock, gemini, groq, cerebras, openrouter, litellm or "
                 "generic, not %R",
                 name);
    return -1;
}

/* http_limits(provider) -> [(meter, spec), ...]: what it limits, to be learned. */
static PyObject *http_limits(PyObject *module, PyObject *name) {
    rlm_http_profile profile;
    rlm_limit limits[RLM_I_METER_COUNT];
    PyObject *list;
    size_t i, count;
    (void)module;
    if (profile_of(name, &profile) < 0) return NULL;
    count = rlm_http_limits(&profile, limits, RLM_I_METER_COUNT, 0);
    list = PyList_New((Py_ssize_t)count);
    for (i = 0; list != NULL && i < count; i++) {
        const rlm_limit *limit = &limits[i]; /* its wall clock's offset is the limiter's: None */
        PyObject *item = Py_BuildValue("I(IKKKKIiOII)", limit->meter, limit->kind, (unsigned long long)limit->amount,
                                       (unsigned long long)limit->period_ns, (unsigned long long)limit->burst,
                                       (unsigned long long)limit->guard_ns, limit->cells, limit->utc_offset_s, Py_None,
                                       limit->follow, limit->least);
        if (item == NULL) Py_CLEAR(list);
        else PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

/* Amounts of usage: any may be absent. */
static int usage_of(PyObject *args, PyObject *kwargs, rlm_http_profile *profile, rlm_http_usage *usage, uint64_t *expected) {
    static char *names[] = {"provider",      "input_tokens", "cache_read",      "cache_write",
                            "output_tokens", "output_max",   "output_expected", NULL};
    PyObject *name, *given[6] = {NULL};
    uint64_t *to[6] = {&usage->input_tokens,  &usage->cache_read_tokens, &usage->cache_write_tokens,
                       &usage->output_tokens, &usage->output_max,        expected};
    int i;
    memset(usage, 0, sizeof *usage);
    *expected = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOOOO", names, &name, &given[0], &given[1], &given[2], &given[3],
                                     &given[4], &given[5]))
        return -1;
    for (i = 0; i < 6; i++)
        if (given[i] != NULL && whole_number(given[i], names[i + 1], RLM_AMOUNT_MAX, to[i]) < 0) return -1;
    return profile_of(name, profile);
}

PyDoc_STRVAR(
    http_estimate_doc,
    "http_estimate(provider, *, input_tokens=0, cache_read=0, cache_write=0, output_max=0, output_expected=0) -> dict\n\n"
    "What to acquire, as this provider counts it when it admits a request.");
static PyObject *http_estimate(PyObject *module, PyObject *args, PyObject *kwargs) {
    rlm_http_profile profile;
    rlm_http_usage usage;
    uint64_t expected;
    rlm_cost cost;
    if (usage_of(args, kwargs, &profile, &usage, &expected) < 0) return NULL;
    cost = rlm_http_estimate(&profile, &usage, expected);
    return cost_dict(state_of(module), &cost);
}

PyDoc_STRVAR(
    http_charge_doc,
    "http_charge(provider, *, input_tokens=0, cache_read=0, cache_write=0, output_tokens=0, output_max=0) -> dict\n\n"
    "What to settle with, once the usage is known.");
static PyObject *http_charge(PyObject *module, PyObject *args, PyObject *kwargs) {
    rlm_http_profile profile;
    rlm_http_usage usage;
    uint64_t expected;
    rlm_cost cost;
    if (usage_of(args, kwargs, &profile, &usage, &expected) < 0) return NULL;
    cost = rlm_http_charge(&profile, &usage);
    return cost_dict(state_of(module), &cost);
}

typedef struct Response {
    PyObject_HEAD
    uint32_t verdict, reason, error_class, capped;
    uint64_t wait_ns;
    PyObject *feedback, *body;
} Response;

/* The bytes of a header's name or value: str as UTF-8, or else as Latin-1. A new reference keeps them. */
static PyObject *header_bytes(PyObject *object, const char **bytes, Py_ssize_t *count) {
    if (PyBytes_Check(object)) {
        *bytes = PyBytes_AS_STRING(object);
        *count = PyBytes_GET_SIZE(object);
        Py_INCREF(object);
        return object;
    }
    if (!PyUnicode_Check(object))
        return PyErr_Format(PyExc_TypeError, "headers: names and values must be str or bytes, not %s",
                            Py_TYPE(object)->tp_name);
    *bytes = PyUnicode_AsUTF8AndSize(object, count);
    if (*bytes != NULL) {
        Py_INCREF(object);
        return object;
    }
    if (!is_no_utf8()) return NULL;
    object = PyUnicode_AsEncodedString(object, "latin-1", "replace");
    if (object != NULL) *bytes = PyBytes_AS_STRING(object), *count = PyBytes_GET_SIZE(object);
    return object;
}

static int take_header(rlm_http *http, PyObject *item) {
    PyObject *pair = PyUnicode_Check(item) || PyBytes_Check(item) ? NULL : PySequence_Fast(item, ""), *name = NULL,
             *value = NULL;
    const char *name_bytes, *value_bytes;
    Py_ssize_t name_count, value_count;
    int status = -1;
    if (pair == NULL) return must_be("headers", "a mapping, or pairs of name and value", item), -1;
    if (PySequence_Fast_GET_SIZE(pair) != 2)
        PyErr_Format(PyExc_ValueError, "headers: must be a mapping, or pairs of name and value, not %zd in a row",
                     PySequence_Fast_GET_SIZE(pair));
    else if ((name = header_bytes(PySequence_Fast_GET_ITEM(pair, 0), &name_bytes, &name_count)) != NULL &&
             (value = header_bytes(PySequence_Fast_GET_ITEM(pair, 1), &value_bytes, &value_count)) != NULL) {
        rlm_http_header(http, name_bytes, (size_t)name_count, value_bytes, (size_t)value_count);
        status = 0;
    }
    Py_XDECREF(name);
    Py_XDECREF(value);
    Py_DECREF(pair);
    return status;
}

static int take_headers(rlm_http *http, PyObject *headers) {
    PyObject *items, *iterator, *item;
    int mapping = headers == Py_None ? 0 : has_items(headers);
    if (headers == Py_None) return 0;
    if (mapping < 0) return -1;
    items = mapping ? PyObject_CallMethod(headers, "items", NULL) : (Py_INCREF(headers), headers);
    iterator = items == NULL ? NULL : PyObject_GetIter(items);
    if (iterator == NULL) must_be("headers", "a mapping, pairs of name and value, or None", headers);
    Py_XDECREF(items);
    while (iterator != NULL && (item = PyIter_Next(iterator)) != NULL) {
        int status = take_header(http, item);
        Py_DECREF(item);
        if (status < 0) break;
    }
    Py_XDECREF(iterator);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *response_from(State *state, const rlm_http *http, PyObject *body) {
    Response *self = (Response *)new_object(state->response_type);
    Feedback *feedback = (Feedback *)new_object(state->feedback_type);
    if (self == NULL || feedback == NULL) {
        Py_XDECREF(self);
        Py_XDECREF(feedback);
        return NULL;
    }
    self->verdict = http->verdict;
    self->reason = http->reason;
    self->error_class = http->error_class;
    self->capped = http->capped;
    self->wait_ns = http->wait_ns;
    feedback->core = http->feedback;
    self->feedback = (PyObject *)feedback;
    Py_INCREF(body);
    self->body = body;
    return (PyObject *)self;
}

PyDoc_STRVAR(parse_doc, "parse(status, headers, body=b\"\", *, provider=\"generic\", wall_ns=None) -> Response\n\n"
                        "What a response says: whether to try again, when, and what Limiter.observe should know.\n\n"
                        "status: an int of 0 to 999, 0 if no answer came. headers: a mapping, or pairs of name and value, str or bytes. "
                        "body: bytes or str; of a good\n"
                        "answer only needed for .usage. provider: anthropic, openai, azure, bedrock, gemini, groq, "
                        "cerebras, openrouter, litellm or generic.\n"
                        "wall_ns: when it came, nanoseconds since 1970; None: now; 0: not known. What is malformed is "
                        "ignored. Never blocks. Raises\n"
                        "ValueError or TypeError naming the argument.\n\n"
                        ">>> answer = parse(429, {\"Retry-After\": \"7\"}, provider=\"openai\")\n>>> answer.verdict, "
                        "answer.wait, answer.reason\n('wait', 7.0, 'rate_limit')");
/* The bytes of a body: of a str as UTF-8, with a question mark where that cannot be. *kept is what keeps them. */
static int body_bytes(PyObject *body, Py_buffer *view, PyObject **kept, const char **bytes, Py_ssize_t *count) {
    *kept = NULL;
    if (body == NULL || body == Py_None) return 0;
    if (PyUnicode_Check(body)) {
        *bytes = PyUnicode_AsUTF8AndSize(body, count);
        if (*bytes != NULL) return 0;
        if (!is_no_utf8()) return -1;
        *kept = PyUnicode_AsEncodedString(body, "utf-8", "replace");
        if (*kept != NULL) *bytes = PyBytes_AS_STRING(*kept), *count = PyBytes_GET_SIZE(*kept);
        return *kept == NULL ? -1 : 0;
    }
    if (PyObject_GetBuffer(body, view, PyBUF_SIMPLE) < 0) return must_be("body", "bytes, str or None", body), -1;
    *bytes = (const char *)view->buf;
    *count = view->len;
    return 0;
}

static PyObject *http_parse(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"status", "headers", "body", "provider", "wall_ns", NULL};
    PyObject *headers, *body = NULL, *provider = NULL, *wall = Py_None, *code, *kept, *response = NULL;
    uint64_t wall_ns = 0, status;
    const char *bytes = NULL;
    Py_ssize_t count = 0;
    Py_buffer view = {0};
    rlm_http_profile profile;
    rlm_http http;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$OO", names, &code, &headers, &body, &provider, &wall)) return NULL;
    if (whole_number(code, "status", 999, &status) < 0) return NULL;
    if (provider != NULL ? profile_of(provider, &profile) < 0 : !rlm_http_profile_of("generic", &profile)) return NULL;
    if (wall == Py_None) wall_ns = rlm_wall();
    else if (whole_number(wall, "wall_ns", UINT64_MAX, &wall_ns) < 0) return NULL;
    rlm_http_begin(&http, &profile, wall_ns);
    if (take_headers(&http, headers) < 0) return NULL;
    if (body_bytes(body, &view, &kept, &bytes, &count) < 0) return NULL;
    rlm_http_end(&http, (int)status, bytes, (size_t)count);
    response = response_from(state_of(module), &http, body == NULL ? Py_None : body);
    if (view.obj != NULL) PyBuffer_Release(&view);
    Py_XDECREF(kept);
    return response;
}

static void response_free(Response *self) {
    Py_CLEAR(self->feedback);
    Py_CLEAR(self->body);
    free_object((PyObject *)self);
}

#define RESPONSE_GET(name, make) \
    static PyObject *response_##name(Response *self, void *unused) { return (void)unused, make; }
RESPONSE_GET(verdict, text_of(verdict_names[self->verdict]))
RESPONSE_GET(reason, text_of(reason_names[self->reason]))
RESPONSE_GET(error_class, text_of(class_names[self->error_class]))
RESPONSE_GET(capped, PyBool_FromLong(self->capped != 0))
RESPONSE_GET(wait, said_seconds(self->wait_ns == 0 ? RLM_UNSAID : self->wait_ns))
RESPONSE_GET(wait_ns, PyLong_FromUnsignedLongLong(self->wait_ns))
RESPONSE_GET(feedback, or_none(self->feedback))

static PyObject *response_usage(Response *self, void *unused) {
    PyObject *module = PyImport_ImportModule("rlimit._usage"), *usage = NULL;
    (void)unused;
    if (module != NULL) usage = PyObject_CallMethod(module, "usage_of", "O", self->body);
    Py_XDECREF(module);
    return usage;
}

static PyObject *response_repr(Response *self) {
    PyObject *wait = response_wait(self, NULL),
             *text = wait == NULL ? NULL
                                  : PyUnicode_FromFormat("<rlimit.Response %s, reason '%s', wait %R>",
                                                         verdict_names[self->verdict], reason_names[self->reason], wait);
    Py_XDECREF(wait);
    return text;
}

static PyGetSetDef response_getset[] = {
    GET(response, verdict,
        "\"ok\"; \"retry\", when is not said; \"wait\", for .wait seconds; \"never\": as it is it will not succeed."),
    GET(response, reason,
        "Why: \"\", \"rate_limit\", \"quota_day\", \"overload\", \"server\", \"network\", \"spent\", \"auth\", "
        "\"too_large\", \"bad_request\", \"told\"."),
    GET(response, error_class, "\"rate_limit\", \"server\", \"network\" or \"fatal\": for Backoff.next."),
    GET(response, capped, "Whether the server asked for a longer wait than is followed."),
    GET(response, wait, "Seconds that the server asks to wait, or None."),
    GET(response, feedback, "For Limiter.observe."),
    GET(response, usage, "Tokens that the body tells of, or None: input, cache_read, cache_write, output."),
    {"_wait_ns", (getter)response_wait_ns, NULL, NULL, NULL},
    {0}};
static PyMethodDef response_methods[] = {NO_PICKLE, {0}};
static PyType_Slot response_slots[] = {{Py_tp_dealloc, response_free},
                                       {Py_tp_new, not_made},
                                       {Py_tp_getset, response_getset},
                                       {Py_tp_repr, response_repr},
                                       {Py_tp_methods, response_methods},
                                       {Py_tp_doc, "What a response says, made by parse()."},
                                       {0, NULL}};
static PyType_Spec response_spec = {"rlimit.Response", sizeof(Response), 0, Py_TPFLAGS_DEFAULT, response_slots};

/* ---- Module ---------------------------------------------------------------------------------- */

static PyObject *module_strerror(PyObject *module, PyObject *status) {
    long code = PyLong_AsLong(status);
    (void)module;
    return code == -1 && PyErr_Occurred() ? NULL
                                          : Py_BuildValue("sis", rlm_strerror((int)code), rlm_status_limit((int)code),
                                                          status_names[rlm_status_code((int)code) % RLM_I_STATUS_COUNT]);
}

static PyObject *module_after_fork(PyObject *module, PyObject *unused) {
    (void)unused;
    state_of(module)->forks++;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(tsc_now_doc, "tsc_clock() -> a callable that returns nanoseconds of the processor's time stamp "
                          "counter\n\nMeasures it for about 20 ms. Raises LimitError "
                          "if it does not run at one rate.");
static PyObject *tsc_read(PyObject *capsule, PyObject *unused) {
    rlm_tsc *tsc = (rlm_tsc *)PyCapsule_GetPointer(capsule, "rlimit.tsc");
    (void)unused;
    return tsc == NULL ? NULL : PyLong_FromUnsignedLongLong(rlm_tsc_now(tsc));
}
static void tsc_free(PyObject *capsule) { PyMem_Free(PyCapsule_GetPointer(capsule, "rlimit.tsc")); }
static PyMethodDef tsc_method = {"tsc_now", tsc_read, METH_NOARGS, "Nanoseconds."};
static PyObject *module_tsc_clock(PyObject *module, PyObject *unused) {
    rlm_tsc *tsc = (rlm_tsc *)PyMem_Malloc(sizeof *tsc);
    PyObject *capsule, *clock;
    int status;
    (void)unused;
    if (tsc == NULL) return PyErr_NoMemory();
    status = rlm_tsc_init(tsc);
    if (status != RLM_OK) {
        PyMem_Free(tsc);
        return raise_status(state_of(module), status);
    }
    capsule = PyCapsule_New(tsc, "rlimit.tsc", tsc_free);
    if (capsule == NULL) return PyMem_Free(tsc), NULL;
    clock = PyCFunction_New(&tsc_method, capsule);
    Py_DECREF(capsule);
    return clock;
}

static PyMethodDef module_methods[] = {
    METHOD("parse", http_parse, parse_doc),
    METHOD("http_estimate", http_estimate, http_estimate_doc),
    METHOD("http_charge", http_charge, http_charge_doc),
    {"http_limits", http_limits, METH_O, "http_limits(provider) -> [(meter, spec), ...], all to be learned."},
    {"now", module_now, METH_NOARGS, now_doc},
    {"now_coarse", module_now_coarse, METH_NOARGS, now_coarse_doc},
    {"wall", module_wall, METH_NOARGS, wall_doc},
    {"tsc_clock", module_tsc_clock, METH_NOARGS, tsc_now_doc},
    {"check_limit", check_limit, METH_O, check_limit_doc},
    {"strerror", module_strerror, METH_O, "strerror(status) -> (text, index of the limit or -1, name)"},
    {"_after_fork", module_after_fork, METH_NOARGS, "Called in a child process."},
    {0}};

static int intern_all(PyObject **to, const char *const *names, int count) {
    int i;
    for (i = 0; i < count; i++)
        if ((to[i] = PyUnicode_InternFromString(names[i])) == NULL) return -1;
    return 0;
}

static int make_names(State *state) {
    static const char *const costs[] = {"requests", "input_tokens", "output_tokens", "microdollars",
                                        "custom",   "priority",     "timeout"};
    static const char *const meters[] = {"requests", "input_tokens", "output_tokens", "tokens", "microdollars", "custom"};
    static const char *const priorities[] = {"critical", "high", "normal", "low"};
    static const char *const others[] = {"feedback", "permit", "_spec"};
    return intern_all(state->meter, costs, METERS + 2) < 0 || intern_all(state->meter_name, meters, RLM_I_METER_COUNT) < 0 ||
                   intern_all(state->priority_name, priorities, RLM_I_PRIORITIES) < 0 ||
                   intern_all(&state->feedback, others, 1) < 0 || intern_all(&state->permit, others + 1, 1) < 0 ||
                   intern_all(&state->spec, others + 2, 1) < 0
               ? -1
               : 0;
}

static int add(PyObject *module, const char *name, PyObject *object) {
    if (object == NULL && PyErr_Occurred() == NULL) PyErr_NoMemory(); /* Python 3.11 forgets to say so of a type's name */
    Py_XINCREF(object);
    if (object == NULL || PyModule_AddObject(module, name, object) < 0) return Py_XDECREF(object), -1;
    return 0;
}

static int make_types(PyObject *module, State *state) {
    struct { PyTypeObject **type; PyType_Spec *spec;
    } all[] = {{&state->limiter_type, &limiter_spec},   {&state->permit_type, &permit_spec},
               {&state->acquire_type, &acquire_spec},   {&state->done_type, &done_spec},
               {&state->manual_type, &manual_spec},     {&state->bucket_type, &bucket_spec},
               {&state->window_type, &window_spec},     {&state->concurrency_type, &concurrency_spec},
               {&state->calendar_type, &calendar_spec}, {&state->queue_type, &queue_spec},
               {&state->reading_type, &reading_spec},   {&state->feedback_type, &feedback_spec},
               {&state->route_type, &route_spec},       {&state->plan_type, &plan_spec},
               {&state->delays_type, &delays_spec},     {&state->budget_type, &budget_spec},
               {&state->response_type, &response_spec}};
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].type = (PyTypeObject *)PyType_FromModuleAndSpec(module, all[i].spec, NULL);
        if (add(module, strrchr(all[i].spec->name, '.') + 1, (PyObject *)*all[i].type) < 0) return -1;
    }
    state->done = new_object(state->done_type);
    return state->done == NULL ? -1 : 0;
}

static PyStructSequence_Field check_fields[] = {
    {"available", "Whether try_acquire would succeed."},
    {"wait", "Seconds until there is room; infinity: no time can be told, or never."},
    {"binding", "The limit with the longest wait, or None."},
    {"meter", "What it counts, or None."},
    {NULL, NULL}};
static PyStructSequence_Desc check_desc = {"rlimit.Check", "What try_acquire would answer; made by Limiter.check.",
                                           check_fields, 4};

static int make_errors(PyObject *module, State *state) {
    struct { PyObject **error; const char *name, *doc; PyObject *base;
    } all[] = {{&state->timeout_error, "rlimit.AcquireTimeout",
                "The timeout of acquire() passed in the queue; nothing was taken. .limit and .meter: the limit that binds, "
                "or None; .waited: seconds.",
                PyExc_TimeoutError},
               {&state->full_error, "rlimit.QueueFull", "As many wait as the limiter's queue= allows.", PyExc_RuntimeError},
               {&state->never_error, "rlimit.NeverAdmitted",
                "The cost is larger than a limit: .limit, and .meter, what it counts. Waiting does not help.",
                PyExc_ValueError},
               {&state->cancelled_error, "rlimit.AcquireCancelled",
                "The wait was ended by Acquire.cancel() or Limiter.close(); nothing was taken.", PyExc_RuntimeError},
               {&state->limit_error, "rlimit.LimitError",
                "A limit, an amount or an argument is out of range: .code names the field.", PyExc_ValueError}};
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].error = PyErr_NewExceptionWithDoc(all[i].name, all[i].doc, all[i].base, NULL);
        if (add(module, strrchr(all[i].name, '.') + 1, *all[i].error) < 0) return -1;
    }
    return 0;
}

static int make_constants(PyObject *module) {
    static const char *const providers[] = {"anthropic", "openai",   "azure",      "bedrock", "gemini",
                                            "groq",      "cerebras", "openrouter", "litellm", "generic"};
    size_t i, count = sizeof providers / sizeof *providers;
    PyObject *names = PyTuple_New((Py_ssize_t)count), *never = PyLong_FromUnsignedLongLong(RLM_NEVER),
             *release = PyLong_FromUnsignedLongLong(RLM_ON_RELEASE);
    int status;
    for (i = 0; names != NULL && i < count; i++) {
        PyObject *name = PyUnicode_InternFromString(providers[i]);
        if (name == NULL) Py_CLEAR(names);
        else PyTuple_SET_ITEM(names, (Py_ssize_t)i, name);
    }
    status = add(module, "PROVIDERS", names) < 0 || add(module, "NEVER", never) < 0 || add(module, "ON_RELEASE", release) < 0
                 ? -1
                 : 0;
    Py_XDECREF(names), Py_XDECREF(never), Py_XDECREF(release);
    if (status < 0 || PyModule_AddStringConstant(module, "VERSION", RLM_VERSION) < 0) return -1;
    return PyModule_AddIntConstant(module, "LIMITS_MAX", RLM_LIMITS_MAX);
}

/* Children of this process begin with nobody waiting. */
static int watch_forks(PyObject *module) {
    PyObject *posix = PyImport_ImportModule("os"), *function, *hook = NULL, *args = NULL, *kwargs = NULL, *answer = NULL;
    function = posix == NULL ? NULL : PyObject_GetAttrString(posix, "register_at_fork");
    Py_XDECREF(posix);
    if (function == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) return PyErr_Clear(), 0; /* Windows */
    if (function != NULL) hook = PyObject_GetAttrString(module, "_after_fork");
    if (hook != NULL) kwargs = Py_BuildValue("{sO}", "after_in_child", hook);
    if (kwargs != NULL) args = PyTuple_New(0);
    if (args != NULL) answer = PyObject_Call(function, args, kwargs);
    Py_XDECREF(function), Py_XDECREF(hook), Py_XDECREF(args), Py_XDECREF(kwargs), Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

static int module_exec(PyObject *module) {
    State *state = state_of(module);
    state->free_max = FREE_MAX;
    if (make_names(state) < 0 || make_types(module, state) < 0 || make_errors(module, state) < 0 ||
        make_constants(module) < 0)
        return -1;
    state->check_type = PyStructSequence_NewType(&check_desc);
    if (add(module, "Check", (PyObject *)state->check_type) < 0) return -1;
    return watch_forks(module);
}

/* Every reference of the state; visit is Py_VISIT's or a clearing. */
static int each_reference(State *state, visitproc visit, void *arg) {
    PyObject **at = (PyObject **)(void *)&state->limiter_type, **end = (PyObject **)(void *)&state->forks;
    int i;
    for (; at < end; at++) Py_VISIT(*at);
    for (i = 0; i < state->free_permits; i++) Py_VISIT(state->permit_type);
    for (i = 0; i < state->free_acquires; i++) Py_VISIT(state->acquire_type);
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    return each_reference(state_of(module), visit, arg);
}

static int module_clear(PyObject *module) {
    State *state = state_of(module);
    PyObject **at = (PyObject **)(void *)&state->limiter_type, **end = (PyObject **)(void *)&state->forks;
    state->free_max = 0; /* their memory goes while their types are there */
    for (; state->free_permits > 0; Py_DECREF(state->permit_type)) PyObject_Free(state->free_permit[--state->free_permits]);
    for (; state->free_acquires > 0; Py_DECREF(state->acquire_type))
        PyObject_GC_Del(state->free_acquire[--state->free_acquires]);
    for (; at < end; at++) Py_CLEAR(*at);
    return 0;
}

static void module_free(void *module) {
    if (state_of((PyObject *)module) != NULL) (void)module_clear((PyObject *)module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_USED}, /* LOCK is there, but was not tried without the GIL: until then Python turns it on */
#endif
    {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "rlimit._rlimit", "rlimit.h and rlimit_http.h; see the package rlimit.",
    sizeof(State),         module_methods,   module_slots,
    module_traverse,       module_clear,     module_free};

PyMODINIT_FUNC PyInit__rlimit(void);
PyMODINIT_FUNC PyInit__rlimit(void) { return PyModuleDef_Init(&definition); }

/* MIT License. Copyright (c) 2026 The rlimit authors. The terms stand at the end of rlimit.h. */
