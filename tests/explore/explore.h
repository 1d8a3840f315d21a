/* explore.h - runs a few threads through every order in which their atomic operations can happen.

   Include it before rlimit.h: it defines the names of the compiler's atomic builtins that rlimit.h uses, so
   that each of them first asks here whose turn it is, and then is a plain operation. Threads are coroutines
   of one process, so an order is a list of choices, and running that list again gives the same result.

   A scenario is a plan: what is there at first, what each thread does, and what must hold at the end. It is
   run again and again from the beginning, each time with another list of choices:

   - EXPLORE_ALL: until every order was run, but for orders that differ only in operations that do not touch
     the same word, or only read it (source sets and sleep sets: Abdulla, Aronis, Jonsson and Sagonas,
     "Optimal dynamic partial order reduction", POPL 2014). Failed exchanges count as reads.
   - a bound: until every order was run in which no more than so many times a thread is interrupted that could
     have gone on. Interrupted before an operation on a word that another thread touches too, and one of them
     writes: an interruption elsewhere gives nothing new.

   Memory is sequentially consistent here, as all operations of rlimit.h are. Memory that is not atomic must be
   free of races (ThreadSanitizer is for that). Loops end: an exchange fails only if another thread's succeeded
   since, so in a bounded program there are boundedly many. An execution of EXPLORE_STEPS steps is a failure.

   With a victim, a thread stops for good before its k-th operation, and all this is done for each k. */

#ifndef EXPLORE_H
#define EXPLORE_H

#undef _FORTIFY_SOURCE /* its longjmp does not leave a stack */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>     /* clock */
#include <ucontext.h> /* a stack for each thread */

#define EXPLORE_THREADS 4
#define EXPLORE_STEPS 8192
#define EXPLORE_WORDS 4096     /* a power of 2 */
#define EXPLORE_OPERATIONS 8   /* of all threads */
#define EXPLORE_FINAL 32
#define EXPLORE_OUTCOMES 65536 /* of all sequential orders */
#define EXPLORE_ALL (-1)

/* What the end of a scenario is held against. An operation that returns 0 was done; otherwise it was refused. */
enum {
    EXPLORE_FREE,    /* only what the scenario itself checks; a refusal may change something */
    EXPLORE_REFUSES, /* as in some sequential order of the operations without some of those that were refused */
    EXPLORE_SERIAL,  /* as in some sequential order: results, notes, final state */
    EXPLORE_LINEAR   /* and in that order no operation precedes one that had ended when it began */
};

typedef struct explore_plan {
    const char *name;
    int threads, order;
    int bound, bound_kill, bound_long;             /* EXPLORE_ALL, or so many preemptions: usually; with kills; --long */
    void (*begin)(void);                           /* fills *shared, once */
    uint64_t (*operation)(int thread, int at);     /* 0: done, otherwise refused */
    int operations[EXPLORE_THREADS];
    void (*finish)(void);                          /* checks, and notes the final state; may change it */
    void (*always)(void);                          /* checks what must hold after each step; may be null */
    int victim;                                    /* a thread that is killed everywhere, or -1 */
} explore_plan;

typedef enum explore_kind { EXPLORE_LOAD, EXPLORE_STORE, EXPLORE_CAS } explore_kind;

/* A step of an execution, and the choice that led to it. */
typedef struct explore_step {
    const uint64_t *address;
    uint32_t nth;                      /* of its thread, from 1 */
    uint32_t clock[EXPLORE_THREADS];   /* how many steps of each thread happened before it, or are it */
    uint32_t knows[EXPLORE_THREADS];   /* likewise, but only steps whose effect was read */
    uint32_t before[EXPLORE_THREADS];  /* how many steps of each thread there were when it was chosen */
    uint8_t thread, kind, write;
    uint8_t enabled, sleep, todo;      /* sets of threads: that could go; that need not; that are still to be chosen */
    uint8_t preemptions;
} explore_step;

/* A word that was touched. */
typedef struct explore_word {
    const uint64_t *address;
    uint64_t execution;               /* the rest is of this execution */
    int last_write, last_read[EXPLORE_THREADS]; /* steps, -1: none; reads since the last write */
    uint8_t readers, writers;         /* in all executions */
} explore_word;

typedef struct explore_thread {
    jmp_buf base, at;                 /* where it begins; where it is */
    char *stack;
    ucontext_t context;
    bool started, alive;
    explore_kind kind;                /* what it is about to do */
    const uint64_t *address;
    uint64_t expected;
    uint32_t count;                   /* steps done */
    uint32_t clock[EXPLORE_THREADS], knows[EXPLORE_THREADS];
    int done;                         /* operations */
    uint32_t first[EXPLORE_OPERATIONS], last[EXPLORE_OPERATIONS]; /* their steps, from 1; last < first: none */
    uint64_t result[EXPLORE_OPERATIONS], note[EXPLORE_OPERATIONS];
    uint64_t reading[EXPLORE_OPERATIONS]; /* of the clock, see explore_reads */
} explore_thread;

/* What came of a sequential order, or of an execution. Operations are numbered through all threads. */
typedef struct explore_outcome {
    uint64_t precedes;                /* bit 8i + j: i precedes j */
    uint64_t result[EXPLORE_OPERATIONS], note[EXPLORE_OPERATIONS], final[EXPLORE_FINAL];
    int finals;
    int victims;                      /* how many operations the victim did */
    uint8_t left_out, unfinished;     /* sets of operations */
} explore_outcome;

static struct explore_state {
    const explore_plan *plan;
    explore_thread thread[EXPLORE_THREADS];
    explore_step step[EXPLORE_STEPS];
    int of[EXPLORE_THREADS][EXPLORE_STEPS]; /* the steps of each thread */
    int steps, prefix;                /* in this execution; of them chosen before */
    explore_word words[EXPLORE_WORDS];
    jmp_buf home;
    int current, last;                /* the thread that runs, -1: none; that ran last */
    bool in_turn;                     /* operations wait for their turn; else they are plain */
    bool starting, ended, redundant, failed, grew, verbose;
    uint64_t execution;
    int bound;
    uint32_t kill_at;                 /* the victim does so many steps */
    bool killed, kills;               /* in this execution; in any with this kill_at */
    bool sequential;                  /* this is a sequential order, perhaps with operations left out */
    char message[512];
    uint64_t final[EXPLORE_FINAL];
    int finals;
    uint64_t newest_ns;               /* reading in a sequential order */
    explore_outcome *outcome;         /* of the sequential orders */
    int outcomes;
    void *shared, *image;             /* what the threads share, and as it is at first */
    size_t shared_bytes;
} x = {.current = -1};

/* -- what scenarios call -- */

static inline void explore_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(x.message, sizeof x.message, format, arguments);
    va_end(arguments);
    x.failed = true;
    _longjmp(x.home, 1);
}

#define MUST(condition) ((condition) ? (void)0 : explore_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition))

#define MUST_EQ(actual, expected)                                                                             \
    do {                                                                                                      \
        uint64_t must_actual = (uint64_t)(actual), must_expected = (uint64_t)(expected);                      \
        if (must_actual != must_expected)                                                                     \
            explore_fail("%s:%d: %s is %" PRIu64 ", expected %" PRIu64 " (%s)", __FILE__, __LINE__, #actual,  \
                         must_actual, must_expected, #expected);                                              \
    } while (0)

/* Adds to what is compared with sequential orders: of the operation that runs, or of the end. */
static inline void explore_note(uint64_t value) {
    if (x.current >= 0) {
        x.thread[x.current].note[x.thread[x.current].done] = value;
    } else if (x.finals < EXPLORE_FINAL) {
        x.final[x.finals++] = value;
    } else {
        explore_fail("more than %d notes", EXPLORE_FINAL);
    }
}

/* Whether an operation ended, and with 0. */
static inline bool explore_ended(int thread, int at) { return x.thread[thread].done > at; }
static inline bool explore_done(int thread, int at) { return explore_ended(thread, at) && x.thread[thread].result[at] == 0; }

/* An operation tells which reading of the clock it goes by. */
static inline void explore_reads(uint64_t now_ns) {
    x.thread[x.current].reading[x.thread[x.current].done] = now_ns;
    if (x.sequential && now_ns > x.newest_ns) x.newest_ns = now_ns;
}

/* When the operation that runs was, as the readings tell: the latest of those that had a part in it. One that goes
   by a reading that is late happens after what it saw happen. */
static inline uint64_t explore_time(void) {
    const explore_thread *me = &x.thread[x.current], *thread;
    uint64_t time_ns = x.sequential ? x.newest_ns : 0;
    int t, i;
    for (t = 0; t < x.plan->threads && !x.sequential; t++) {
        thread = &x.thread[t];
        for (i = 0; i <= thread->done && i < x.plan->operations[t]; i++)
            if (thread->first[i] <= me->knows[t] && thread->reading[i] > time_ns) time_ns = thread->reading[i];
    }
    return time_ns;
}

/* -- vector clocks, and what depends on what -- */

static explore_word *explore_word_at(const uint64_t *address) {
    uintptr_t hash = ((uintptr_t)address >> 3) * 0x9e3779b1u;
    explore_word *word;
    for (;; hash++) {
        word = &x.words[hash & (EXPLORE_WORDS - 1)];
        if (word->address == address) break;
        if (word->address != NULL) continue;
        word->address = address;
        break;
    }
    if (word->execution != x.execution) {
        word->execution = x.execution;
        word->last_write = -1;
        memset(word->last_read, 0xff, sizeof word->last_read);
    }
    return word;
}

/* Whether what a thread is about to do would write. */
static bool explore_writes(const explore_thread *thread) {
    return thread->kind == EXPLORE_STORE || (thread->kind == EXPLORE_CAS && *thread->address == thread->expected);
}

/* Whether more than one thread touched a word in any execution, and one wrote it. */
static bool explore_is_shared(const explore_word *word) {
    unsigned all = word->readers | word->writers;
    return word->writers != 0 && (all & (all - 1)) != 0;
}

static void explore_join(uint32_t *clock, const uint32_t *other) {
    int t;
    for (t = 0; t < EXPLORE_THREADS; t++)
        if (other[t] > clock[t]) clock[t] = other[t];
}

static bool explore_before(const explore_step *earlier, const uint32_t *clock) {
    return clock[earlier->thread] >= earlier->nth;
}

/* Threads that could begin what happened after an earlier step, up to a later one, without what depends on it. */
static unsigned explore_initials(int earlier, int later) {
    const explore_step *at = &x.step[earlier];
    int first[EXPLORE_THREADS], t, other;
    unsigned initials = 0;
    for (t = 0; t < x.plan->threads; t++) {
        first[t] = at->before[t] < x.thread[t].count ? x.of[t][at->before[t]] : -1;
        if (first[t] < 0 || first[t] == later) continue;
        if (t == at->thread || explore_before(at, x.step[first[t]].clock)) first[t] = -1;
    }
    for (t = 0; t < x.plan->threads; t++) {
        bool initial = first[t] >= 0;
        for (other = 0; other < x.plan->threads && initial; other++)
            initial = other == t || first[other] < 0 || !explore_before(&x.step[first[other]], x.step[first[t]].clock);
        initials |= (unsigned)initial << t;
    }
    return initials;
}

/* Two steps that could happen the other way about: the state before the earlier one gets another choice. */
static void explore_reverse(int earlier, int later) {
    explore_step *at = &x.step[earlier];
    unsigned initials = explore_initials(earlier, later), thread = x.step[later].thread;
    if ((initials & (at->todo | at->sleep | 1u << at->thread)) != 0) return;
    at->todo |= (uint8_t)((initials & 1u << thread) != 0 ? 1u << thread : initials & -initials);
}

/* Finds what the newest step races with: dependent, and nothing in between that orders the two. */
static void explore_races(const explore_word *word, const explore_step *newest, const uint32_t *clock) {
    int candidates[EXPLORE_THREADS + 1], count = 0, i, j;
    for (i = 0; i < x.plan->threads && newest->write; i++)
        if (word->last_read[i] >= 0) candidates[count++] = word->last_read[i];
    if (word->last_write >= 0) candidates[count++] = word->last_write;
    for (i = 0; i < count; i++) {
        const explore_step *step = &x.step[candidates[i]];
        bool races = step->thread != newest->thread && !explore_before(step, clock);
        for (j = 0; j < count && races; j++) races = j == i || !explore_before(step, x.step[candidates[j]].clock);
        if (races) explore_reverse(candidates[i], (int)(newest - x.step));
    }
}

/* Notes who touches a word, for preemptions. */
static void explore_touched(explore_word *word, const explore_step *step) {
    bool was = explore_is_shared(word);
    if (step->kind == EXPLORE_LOAD) word->readers |= (uint8_t)(1u << step->thread);
    else word->writers |= (uint8_t)(1u << step->thread);
    x.grew |= explore_is_shared(word) != was;
}

/* Enters the step that a thread is about to do. */
static void explore_enter(int t) {
    explore_thread *thread = &x.thread[t];
    explore_step *step = &x.step[x.steps];
    explore_word *word = explore_word_at(thread->address);
    uint32_t clock[EXPLORE_THREADS];
    int i;
    memcpy(clock, thread->clock, sizeof clock);
    for (i = 0; i < EXPLORE_THREADS; i++) step->before[i] = x.thread[i].count;
    step->thread = (uint8_t)t;
    step->kind = (uint8_t)thread->kind;
    step->write = explore_writes(thread);
    step->address = thread->address;
    step->nth = ++thread->count;
    x.of[t][step->nth - 1] = x.steps;
    if (word->last_write >= 0) explore_join(thread->clock, x.step[word->last_write].clock);
    if (word->last_write >= 0 && thread->kind != EXPLORE_STORE) explore_join(thread->knows, x.step[word->last_write].knows);
    for (i = 0; i < x.plan->threads && step->write; i++)
        if (word->last_read[i] >= 0) explore_join(thread->clock, x.step[word->last_read[i]].clock);
    thread->clock[t] = thread->knows[t] = step->nth;
    memcpy(step->knows, thread->knows, sizeof clock);
    memcpy(step->clock, thread->clock, sizeof clock);
    if (x.bound == EXPLORE_ALL && x.steps + 1 >= x.prefix) explore_races(word, step, clock);
    explore_touched(word, step);
    if (step->write) {
        memset(word->last_read, 0xff, sizeof word->last_read);
        word->last_write = x.steps;
    } else {
        word->last_read[t] = x.steps;
    }
    x.steps++;
}

/* -- whose turn it is -- */

static unsigned explore_enabled(void) {
    unsigned enabled = 0;
    int t;
    for (t = 0; t < x.plan->threads; t++) {
        bool stopped = t == x.plan->victim && x.thread[t].count >= x.kill_at;
        if (x.thread[t].alive && stopped) x.killed = x.kills = true;
        enabled |= (unsigned)(x.thread[t].alive && !stopped) << t;
    }
    return enabled;
}

/* Threads that were explored from an earlier state, and have met nothing since that could change what they do. */
static unsigned explore_asleep(void) {
    const explore_step *last = &x.step[x.steps - 1];
    unsigned asleep = 0;
    int t;
    if (x.steps == 0 || x.bound != EXPLORE_ALL) return 0;
    for (t = 0; t < x.plan->threads; t++) {
        bool sleeps = (last->sleep >> t & 1) != 0 && t != last->thread;
        if (sleeps && x.thread[t].address == last->address && (last->write || explore_writes(&x.thread[t]))) sleeps = false;
        asleep |= (unsigned)sleeps << t;
    }
    return asleep;
}

/* A choice in a state that was never reached: to go on, if that may be. -1: every choice was explored elsewhere. */
static int explore_choose_new(unsigned enabled, unsigned asleep) {
    explore_step *step = &x.step[x.steps];
    unsigned awake = enabled & ~asleep;
    bool goes_on = x.last >= 0 && (awake >> x.last & 1) != 0;
    int choice = goes_on ? x.last : 0;
    if (awake == 0) return -1;
    while ((awake >> choice & 1) == 0) choice++;
    step->sleep = (uint8_t)asleep;
    step->todo = 0;
    step->enabled = (uint8_t)enabled;
    if (x.bound == EXPLORE_ALL) return choice;
    step->preemptions = x.steps == 0 ? 0 : x.step[x.steps - 1].preemptions;
    if (!goes_on || (step->preemptions < x.bound && explore_is_shared(explore_word_at(x.thread[choice].address))))
        step->todo = (uint8_t)(enabled & ~(1u << choice));
    return choice;
}

/* Defined by whoever includes this. */
static const char *explore_name_of(const uint64_t *address);

static void explore_tell(int t) {
    static const char *const kinds[] = {"load ", "store", "cas  "};
    const explore_thread *thread = &x.thread[t];
    printf("# step %d, thread %d: %s %s, now %" PRIx64, x.steps, t, kinds[thread->kind], explore_name_of(thread->address),
           *thread->address);
    if (thread->kind == EXPLORE_CAS) printf("%s", explore_writes(thread) ? ", succeeds" : ", fails");
    printf("\n");
}

/* The thread that takes the next step; -1 if the execution is over. */
static __attribute__((noinline)) int explore_choose(void) { /* apart from setjmp */
    unsigned enabled = explore_enabled();
    int choice;
    if (x.plan->always != NULL) {
        x.in_turn = false;
        x.plan->always();
        x.in_turn = true;
    }
    x.ended = enabled == 0;
    if (x.ended) return -1;
    if (x.steps == EXPLORE_STEPS - 1) explore_fail("does not end");
    if (x.steps < x.prefix) choice = x.step[x.steps].thread;
    else choice = explore_choose_new(enabled, explore_asleep());
    x.redundant = choice < 0;
    if (choice < 0) return -1;
    if ((enabled >> choice & 1) == 0) explore_fail("the schedule does not fit: step %d is of a thread that has ended", x.steps);
    if (x.verbose) explore_tell(choice);
    x.last = choice;
    explore_enter(choice);
    return choice;
}

static void explore_resume(int t) {
    x.current = t;
    if (!x.thread[t].started) {
        x.thread[t].started = true;
        _longjmp(x.thread[t].base, 1);
    }
    _longjmp(x.thread[t].at, 1);
}

/* Leaves the thread that runs for the one whose turn it is, or for home. */
static void explore_switch(void) {
    int next = x.starting ? -1 : explore_choose();
    if (next >= 0 && next == x.current && x.thread[next].alive) return;
    if (x.current >= 0 && x.thread[x.current].alive && _setjmp(x.thread[x.current].at) != 0) return;
    if (next >= 0) explore_resume(next);
    _longjmp(x.home, 1);
}

static void explore_at(explore_kind kind, const uint64_t *address, uint64_t expected) {
    explore_thread *thread = &x.thread[x.current];
    thread->kind = kind;
    thread->address = address;
    thread->expected = expected;
    explore_switch();
}

/* -- in place of the builtins -- */

static inline uint64_t explore_load(const uint64_t *word) {
    if (x.in_turn) explore_at(EXPLORE_LOAD, word, 0);
    return *word;
}

static inline void explore_store(uint64_t *word, uint64_t value) {
    if (x.in_turn) explore_at(EXPLORE_STORE, word, 0);
    *word = value;
}

static inline bool explore_cas(uint64_t *word, uint64_t *seen, uint64_t next) {
    if (x.in_turn) explore_at(EXPLORE_CAS, word, *seen);
    if (*word != *seen) {
        *seen = *word;
        return false;
    }
    *word = next;
    return true;
}

/* The additions that faulty copies of the header do. */
static inline uint64_t explore_add(uint64_t *word, uint64_t more) {
    if (x.in_turn) explore_at(EXPLORE_STORE, word, 0);
    *word += more;
    return *word - more;
}

#define __atomic_load_n(word, order) explore_load(word)
#define __atomic_store_n(word, value, order) explore_store(word, value)
#define __atomic_compare_exchange_n(word, seen, next, weak, order, failure_order) explore_cas(word, seen, next)

/* -- an execution -- */

static void explore_operations(int t) {
    explore_thread *thread = &x.thread[t];
    while (thread->done < x.plan->operations[t]) {
        uint64_t result;
        thread->note[thread->done] = 0;
        thread->first[thread->done] = thread->count + 1;
        result = x.plan->operation(t, thread->done);
        thread->result[thread->done] = result;
        thread->last[thread->done] = thread->count;
        thread->done++;
    }
}

/* What runs on a thread's stack: it is begun anew by a jump to base. */
static void explore_body(void) {
    if (_setjmp(x.thread[x.current].base) == 0) _longjmp(x.home, 1);
    explore_operations(x.current);
    x.thread[x.current].alive = false;
    explore_switch();
    abort(); /* a thread that has ended is not resumed */
}

static void explore_make_threads(void) {
    const size_t bytes = 128 * 1024;
    static int t;
    for (t = 0; t < EXPLORE_THREADS; t++) {
        explore_thread *thread = &x.thread[t];
        if ((thread->stack = malloc(bytes)) == NULL) abort();
        getcontext(&thread->context);
        thread->context.uc_stack.ss_sp = thread->stack;
        thread->context.uc_stack.ss_size = bytes;
        thread->context.uc_link = NULL;
        makecontext(&thread->context, explore_body, 0);
        x.current = t;
        if (_setjmp(x.home) == 0) setcontext(&thread->context);
    }
    x.current = -1;
}

static void explore_restore(void) {
    int t;
    memcpy(x.shared, x.image, x.shared_bytes);
    for (t = 0; t < EXPLORE_THREADS; t++) {
        explore_thread *thread = &x.thread[t];
        thread->started = false;
        thread->alive = t < x.plan->threads;
        thread->count = 0;
        thread->done = 0;
        memset(thread->clock, 0, sizeof thread->clock);
        memset(thread->knows, 0, sizeof thread->knows);
        memset(thread->note, 0, sizeof thread->note);
        memset(thread->result, 0, sizeof thread->result);
        memset(thread->first, 0xff, sizeof thread->first);
        memset(thread->reading, 0, sizeof thread->reading);
    }
    x.current = x.last = -1;
    x.steps = x.finals = 0;
    x.newest_ns = 0;
    x.ended = x.redundant = x.failed = x.killed = false;
    x.execution++;
}

static void explore_compare(void);

/* Runs the threads once, by the choices in the prefix and then by default. */
static void explore_execute(void) {
    static int t;
    explore_restore();
    x.sequential = false;
    x.starting = x.in_turn = true;
    for (t = 0; t < x.plan->threads && !x.failed; t++)
        if (_setjmp(x.home) == 0) explore_resume(t);
    x.starting = false;
    x.current = -1;
    if (!x.failed && _setjmp(x.home) == 0) explore_switch();
    x.current = -1;
    x.in_turn = false;
    if (x.failed || !x.ended) return;
    if (_setjmp(x.home) != 0) return;
    x.plan->finish();
    explore_compare();
}

/* -- sequential orders -- */

static int explore_number(int thread, int at) {
    int t;
    for (t = 0; t < thread; t++) at += x.plan->operations[t];
    return at;
}

static uint64_t explore_pair(int before, int after) { return UINT64_C(1) << (8 * before + after); }

/* Defined by whoever includes this: forgets, in a copy of what is shared, what a refusal may change. */
static void explore_forget(void *shared);

/* One operation of a sequential order, from the state before it. A refusal must change nothing. */
static void explore_do(int t, explore_outcome *outcome) {
    static uint64_t before[1 << 12], after[1 << 12];
    explore_thread *thread = &x.thread[t];
    int at = thread->done, number = explore_number(t, at);
    memcpy(before, x.shared, x.shared_bytes);
    x.current = t;
    thread->note[at] = 0;
    outcome->result[number] = x.plan->operation(t, at);
    x.current = -1;
    outcome->note[number] = thread->note[at];
    thread->result[at] = outcome->result[number];
    thread->done++;
    if (outcome->result[number] == 0 || x.plan->order == EXPLORE_FREE) return;
    memcpy(after, x.shared, x.shared_bytes);
    explore_forget(before);
    explore_forget(after);
    if (memcmp(before, after, x.shared_bytes) != 0)
        explore_fail("thread %d, operation %d was refused (%" PRIu64 "), and changed something", t, at,
                     outcome->result[number]);
}

static void explore_order_done(const explore_outcome *made) {
    explore_outcome *outcome = &x.outcome[x.outcomes];
    int same = 0;
    if (x.outcomes == EXPLORE_OUTCOMES) explore_fail("more than %d sequential orders", EXPLORE_OUTCOMES);
    *outcome = *made;
    if (x.plan->order != EXPLORE_LINEAR) outcome->precedes = 0;
    x.finals = 0;
    if (made->unfinished != 0) x.thread[x.plan->victim].done--;
    x.plan->finish();
    memcpy(outcome->final, x.final, sizeof *x.final * (size_t)x.finals);
    outcome->finals = x.finals;
    while (same < x.outcomes && memcmp(outcome, &x.outcome[same], sizeof *outcome) != 0) same++;
    if (same == x.outcomes) x.outcomes++;
}

typedef struct explore_saved {
    unsigned char *shared;
    int done[EXPLORE_THREADS];
    uint64_t result[EXPLORE_THREADS][EXPLORE_OPERATIONS], newest_ns;
} explore_saved;

static void explore_save(explore_saved *saved) {
    int t;
    if ((saved->shared = malloc(x.shared_bytes)) == NULL) abort();
    memcpy(saved->shared, x.shared, x.shared_bytes);
    saved->newest_ns = x.newest_ns;
    for (t = 0; t < EXPLORE_THREADS; t++) {
        saved->done[t] = x.thread[t].done;
        memcpy(saved->result[t], x.thread[t].result, sizeof saved->result[t]);
    }
}

static void explore_load_saved(const explore_saved *saved) {
    int t;
    memcpy(x.shared, saved->shared, x.shared_bytes);
    x.newest_ns = saved->newest_ns;
    for (t = 0; t < EXPLORE_THREADS; t++) {
        x.thread[t].done = saved->done[t];
        memcpy(x.thread[t].result, saved->result[t], sizeof saved->result[t]);
    }
}

static void explore_orders(explore_outcome *made, unsigned ended, const int *most);

/* Does the next operation of a thread, or leaves it out, and goes on. */
static void explore_orders_by(int t, explore_outcome made, unsigned ended, const int *most, bool left_out) {
    int number = explore_number(t, x.thread[t].done), other;
    for (other = 0; other < EXPLORE_OPERATIONS; other++)
        if ((ended >> other & 1) != 0) made.precedes |= explore_pair(other, number);
    if (left_out) {
        made.left_out |= (uint8_t)(1u << number);
        made.result[number] = 1;
        x.thread[t].result[x.thread[t].done++] = 1;
    } else {
        explore_do(t, &made);
        if (t == x.plan->victim && x.thread[t].done == made.victims && made.unfinished != 0)
            made.unfinished = (uint8_t)(1u << number);
    }
    explore_orders(&made, ended | 1u << number, most);
}

/* Every order of the operations that are left. */
static void explore_orders(explore_outcome *made, unsigned ended, const int *most) {
    explore_saved saved;
    bool any = false;
    int t;
    explore_save(&saved);
    for (t = 0; t < x.plan->threads; t++) {
        if (x.thread[t].done == most[t]) continue;
        any = true;
        explore_orders_by(t, *made, ended, most, false);
        explore_load_saved(&saved);
        if (x.plan->order != EXPLORE_REFUSES) continue;
        explore_orders_by(t, *made, ended, most, true);
        explore_load_saved(&saved);
    }
    free(saved.shared);
    if (!any) explore_order_done(made);
}

/* All sequential orders; with a victim, of so many of its operations as it may have done, the last perhaps unfinished. */
static void explore_all_orders(bool kills) {
    explore_outcome none;
    int most[EXPLORE_THREADS], victim = x.plan->victim, whole;
    x.outcomes = 0;
    x.sequential = true;
    memset(&none, 0, sizeof none);
    memcpy(most, x.plan->operations, sizeof most);
    explore_restore();
    if (_setjmp(x.home) != 0) return;
    if (!kills) {
        none.victims = -1;
        explore_orders(&none, 0, most);
        return;
    }
    for (most[victim] = 0; most[victim] <= x.plan->operations[victim]; most[victim]++) {
        for (whole = 0; whole < 2; whole++) { /* unfinished: which one is known when it is done */
            none.victims = most[victim];
            none.unfinished = whole ? 0 : 0xff;
            explore_restore();
            if (whole || most[victim] != 0) explore_orders(&none, 0, most);
        }
    }
}

/* Whether what an execution returned and left is what a sequential order did. */
static bool explore_matches(const explore_outcome *outcome, bool kills) {
    bool refuses = x.plan->order == EXPLORE_REFUSES;
    int t, at, number = 0;
    if (kills) {
        const explore_thread *victim = &x.thread[x.plan->victim];
        if (outcome->victims != victim->done + (outcome->unfinished != 0)) return false;
        if (outcome->unfinished != 0 && !x.killed) return false;
    }
    for (t = 0; t < x.plan->threads; t++) {
        for (at = 0; at < x.plan->operations[t]; at++, number++) {
            const explore_thread *thread = &x.thread[t];
            if (at >= thread->done) continue;
            if ((outcome->result[number] == 0) != (thread->result[at] == 0)) return false;
            if (!refuses && outcome->result[number] != thread->result[at]) return false;
            if ((outcome->left_out >> number & 1) == 0 && outcome->note[number] != thread->note[at]) return false;
        }
    }
    return outcome->finals == x.finals && memcmp(outcome->final, x.final, sizeof *x.final * (size_t)x.finals) == 0;
}

/* Which operations ended before which began in this execution; or could have, in one that differs only in the
   order of independent steps. */
static uint64_t explore_precedence(bool could) {
    uint64_t pairs = 0;
    int a, b, i, j;
    for (a = 0; a < x.plan->threads; a++)
        for (b = 0; b < x.plan->threads; b++)
            for (i = 0; i < x.thread[a].done; i++)
                for (j = 0; j < x.thread[b].done; j++) {
                    const explore_thread *left = &x.thread[a], *right = &x.thread[b];
                    int last, first;
                    if (a == b ? i >= j : left->last[i] < left->first[i] || right->last[j] < right->first[j]) continue;
                    last = a == b ? 0 : x.of[a][left->last[i] - 1];
                    first = a == b ? 1 : x.of[b][right->first[j] - 1];
                    if (could && a != b ? !explore_before(&x.step[first], x.step[last].clock) : last < first)
                        pairs |= explore_pair(explore_number(a, i), explore_number(b, j));
                }
    return pairs;
}

/* Holds the end of an execution against the sequential orders. */
static void explore_compare(void) {
    bool kills = x.kill_at != UINT32_MAX, linear = x.plan->order == EXPLORE_LINEAR, any = false, in_time = false;
    uint64_t was = linear ? explore_precedence(false) : 0, could = linear ? explore_precedence(true) : 0, of_some = 0;
    int i;
    if (x.plan->order == EXPLORE_FREE || (kills && !linear)) return;
    for (i = 0; i < x.outcomes && !(in_time && (could & ~of_some) == 0); i++) {
        if (!explore_matches(&x.outcome[i], kills)) continue;
        any = true;
        of_some |= x.outcome[i].precedes;
        in_time |= (was & ~x.outcome[i].precedes) == 0;
    }
    if (!any) explore_fail("no sequential order gives these results and this end");
    if (!in_time || (could & ~of_some) != 0) explore_fail("only in an order that puts an operation before one that had ended");
}

/* -- all executions -- */

/* Sets the prefix for the next execution: the deepest state with a choice left. False: none. */
static bool explore_backtrack(void) {
    int at = x.steps;
    while (at-- > 0) {
        explore_step *step = &x.step[at];
        unsigned left;
        int next = 0;
        if (x.bound == EXPLORE_ALL) step->sleep |= (uint8_t)(1u << step->thread);
        left = step->todo & ~(x.bound == EXPLORE_ALL ? step->sleep : 0u);
        if (left == 0) continue;
        while ((left >> next & 1) == 0) next++;
        if (x.bound != EXPLORE_ALL && at > 0 && step->preemptions == x.step[at - 1].preemptions &&
            (step->enabled >> x.step[at - 1].thread & 1) != 0) step->preemptions++;
        step->todo = (uint8_t)(left & ~(1u << next));
        step->thread = (uint8_t)next;
        x.prefix = at + 1;
        return true;
    }
    return false;
}

typedef struct explore_report {
    uint64_t executions, redundant, steps, longest;
    bool exhausted;
    double seconds;
} explore_report;

/* Every execution, or until the time is over. False: one failed. */
static bool explore_search(explore_report *report, double until_s) {
    x.prefix = 0;
    do {
        explore_execute();
        report->steps += (uint64_t)x.steps;
        if ((uint64_t)x.steps > report->longest) report->longest = (uint64_t)x.steps;
        if (x.failed) return false;
        if (x.redundant) report->redundant++;
        else report->executions++;
        if ((x.execution & 255) == 0 && (double)clock() / CLOCKS_PER_SEC > until_s) {
            report->exhausted = false;
            return true;
        }
    } while (explore_backtrack());
    return true;
}

/* With a bound again and again, until no word turns out to be shared that was not before. */
static bool explore_search_all(explore_report *report, double until_s) {
    bool good;
    do {
        explore_report once = *report;
        x.grew = x.kills = false;
        good = explore_search(&once, until_s);
        if (x.bound != EXPLORE_ALL && x.grew && good && once.exhausted) continue;
        *report = once;
        break;
    } while (true);
    return good;
}

/* The choices of an execution, as --replay takes them: thread:steps. */
static void explore_print_schedule(void) {
    int at, run = 0;
    printf("# --replay '");
    for (at = 0; at < x.steps; at++) {
        run++;
        if (at + 1 < x.steps && x.step[at + 1].thread == x.step[at].thread) continue;
        printf("%s%d:%d", at + 1 == run ? "" : " ", x.step[at].thread, run);
        run = 0;
    }
    printf("'");
    if (x.kill_at != UINT32_MAX) printf(" --kill %" PRIu32, x.kill_at);
    printf("\n");
}

static bool explore_failed(const char *what) {
    printf("# %s: %s%s\n", x.plan->name, what, x.message);
    explore_print_schedule();
    return false;
}

static void explore_prepare(const explore_plan *plan, void *shared, void *image, size_t bytes) {
    static bool made;
    if (!made) {
        if ((x.outcome = malloc(EXPLORE_OUTCOMES * sizeof *x.outcome)) == NULL) abort();
        explore_make_threads();
        made = true;
    }
    x.plan = plan;
    x.shared = shared;
    x.image = image;
    x.shared_bytes = bytes;
    x.kill_at = UINT32_MAX;
    x.steps = x.prefix = 0;
    x.failed = x.in_turn = false;
    memset(x.words, 0, sizeof x.words);
    memset(shared, 0, bytes);
    if (_setjmp(x.home) == 0) plan->begin();
    memcpy(image, shared, bytes);
}

/* Explores a plan; with kills, its victim killed everywhere. */
static bool explore_run(bool kills, int bound, double seconds, explore_report *report) {
    double began = (double)clock() / CLOCKS_PER_SEC;
    bool good = true;
    x.bound = bound;
    memset(report, 0, sizeof *report);
    report->exhausted = true;
    if (!x.failed) explore_all_orders(kills);
    if (x.failed) return explore_failed("in sequence: ");
    for (x.kill_at = kills ? 0 : UINT32_MAX; good; x.kill_at++) {
        good = explore_search_all(report, began + seconds);
        if (!good || !report->exhausted || !x.kills) break;
    }
    report->seconds = (double)clock() / CLOCKS_PER_SEC - began;
    return good ? true : explore_failed("");
}

/* Runs one schedule and tells what it does. False: it fails, or is none. */
static inline bool explore_replay(bool kills, const char *schedule, uint32_t kill_at) {
    x.bound = 0; /* a bound of 0: by default nobody is interrupted */
    if (!x.failed) explore_all_orders(kills);
    if (x.failed) return explore_failed("in sequence: ");
    x.kill_at = kills ? kill_at : UINT32_MAX;
    for (x.prefix = 0; *schedule != '\0';) {
        char *end;
        unsigned long thread = strtoul(schedule, &end, 10), count;
        if (*end != ':' || thread >= (unsigned long)x.plan->threads) break;
        count = strtoul(end + 1, &end, 10);
        for (; count > 0 && x.prefix < EXPLORE_STEPS - 1; count--) x.step[x.prefix++].thread = (uint8_t)thread;
        for (schedule = end; *schedule == ' ';) schedule++;
    }
    x.verbose = true;
    explore_execute();
    x.verbose = false;
    return x.failed ? explore_failed("") : true;
}

#endif
