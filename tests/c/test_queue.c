#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define SECOND RLM_SECOND_NS
#define MOST 10000

static uint64_t memory[(64 + 48 * (MOST + 1)) / 8];
static rlm_queue *const queue = (rlm_queue *)(void *)memory;

static void make(size_t capacity, uint64_t ageing_ns) {
    memset(memory, 0xa5, sizeof memory);
    CHECK_EQ(rlm_queue_init(queue, rlm_queue_bytes(capacity), capacity, ageing_ns), RLM_OK);
}

static uint64_t push(uint64_t data, uint32_t priority, uint64_t deadline_ns, uint64_t now_ns) {
    uint64_t handle = 0;
    CHECK_EQ(rlm_queue_push(queue, data, priority, deadline_ns, now_ns, &handle), RLM_OK);
    return handle;
}

/* The data of the head, which leaves; UINT64_MAX if there is none. */
static uint64_t pop(void) {
    uint64_t handle, data;
    if (!rlm_queue_head(queue, &handle, &data)) return UINT64_MAX;
    CHECK_EQ(rlm_queue_remove(queue, handle), RLM_OK);
    return data;
}

static void errors_change_nothing(void) {
    static uint64_t kept[sizeof memory / sizeof memory[0]];
    uint64_t handle, gone;
    CHECK_EQ(rlm_queue_bytes(0), 0);
    CHECK_EQ(rlm_queue_bytes(SIZE_MAX), 0);
    CHECK_EQ(rlm_queue_bytes(1), sizeof(rlm_queue) + 48);
    CHECK_EQ(rlm_queue_bytes(10000), sizeof(rlm_queue) + 480000);
    memset(memory, 0xa5, sizeof memory);
    memcpy(kept, memory, sizeof memory);
    CHECK_EQ(rlm_queue_init(NULL, sizeof memory, 10, 0), RLM_E_NULL);
    CHECK_EQ(rlm_queue_init(queue, rlm_queue_bytes(10) - 1, 10, 0), RLM_E_MEMORY);
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, 0, 0), RLM_E_MEMORY);
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, SIZE_MAX, 0), RLM_E_MEMORY);
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, 10, (UINT64_C(1) << 60) + 1), RLM_E_MEMORY);
    CHECK(memcmp(kept, memory, sizeof memory) == 0);
    make(2, 0);
    gone = push(1, RLM_NORMAL, RLM_NO_DEADLINE, 5);
    CHECK_EQ(pop(), 1);
    handle = push(2, RLM_NORMAL, 100, 5);
    (void)push(3, RLM_LOW, 100, 5);
    memcpy(kept, memory, sizeof memory);
    CHECK_EQ(rlm_queue_push(NULL, 0, 0, 0, 0, &handle), RLM_E_NULL);
    CHECK_EQ(rlm_queue_push(queue, 0, 0, 0, 0, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_queue_push(queue, 0, RLM_LOW + 1, 0, 0, &handle), RLM_E_PRIORITY);
    CHECK_EQ(rlm_queue_push(queue, 0, UINT32_MAX, 0, 0, &handle), RLM_E_PRIORITY);
    CHECK_EQ(rlm_queue_push(queue, 0, RLM_NORMAL, 0, 0, &handle), RLM_E_FULL);
    CHECK_EQ(rlm_queue_remove(NULL, handle), RLM_E_NULL);
    CHECK_EQ(rlm_queue_remove(queue, gone), RLM_E_HANDLE);
    CHECK_EQ(rlm_queue_remove(queue, 0), RLM_E_HANDLE);
    CHECK_EQ(rlm_queue_remove(queue, UINT64_MAX), RLM_E_HANDLE);
    CHECK_EQ(rlm_queue_remove(queue, handle + 2), RLM_E_HANDLE);
    CHECK(!rlm_queue_expire(queue, 99, NULL, NULL));
    CHECK(memcmp(kept, memory, sizeof memory) == 0);
    CHECK_EQ(rlm_queue_count(queue), 2);
}

static void an_empty_queue(void) {
    uint64_t handle = 7, data = 8;
    make(3, SECOND);
    CHECK_EQ(rlm_queue_count(queue), 0);
    CHECK(!rlm_queue_head(queue, &handle, &data));
    CHECK(!rlm_queue_head(queue, NULL, NULL));
    CHECK(!rlm_queue_expire(queue, UINT64_MAX, &handle, &data));
    CHECK_EQ(rlm_queue_deadline(queue), RLM_NO_DEADLINE);
    CHECK_EQ(handle, 7);
    CHECK_EQ(data, 8);
}

static void first_in_first_out(void) {
    uint64_t k;
    make(MOST, RLM_AGEING_DEFAULT);
    for (k = 0; k < MOST; k++) (void)push(k, RLM_NORMAL, k % 3 ? RLM_NO_DEADLINE : SECOND * MOST, k % 7 * SECOND); /* readings out of order */
    CHECK_EQ(rlm_queue_count(queue), MOST);
    for (k = 0; k < MOST; k++) CHECK_EQ(pop(), k);
    CHECK_EQ(rlm_queue_count(queue), 0);
}

/* Without ageing it is one queue, whatever the priorities. */
static void plain_fifo_without_ageing(void) {
    uint64_t k, random = check_seed();
    make(1000, 0);
    for (k = 0; k < 1000; k++) (void)push(k, (uint32_t)(check_random(&random) % 4), RLM_NO_DEADLINE, k);
    for (k = 0; k < 1000; k++) CHECK_EQ(pop(), k);
}

static void a_step_of_priority_is_worth_its_ageing(void) {
    uint32_t low, high;
    for (low = RLM_HIGH; low <= RLM_LOW; low++) {
        for (high = RLM_CRITICAL; high < low; high++) {
            uint64_t worth_ns = (low - high) * 30 * SECOND;
            make(2, 30 * SECOND);
            (void)push(1, low, RLM_NO_DEADLINE, 1000 * SECOND);
            (void)push(2, high, RLM_NO_DEADLINE, 1000 * SECOND + worth_ns - 1);
            CHECK_EQ(pop(), 2);
            CHECK_EQ(pop(), 1);
            (void)push(1, low, RLM_NO_DEADLINE, 1000 * SECOND);
            (void)push(2, high, RLM_NO_DEADLINE, 1000 * SECOND + worth_ns + 1);
            CHECK_EQ(pop(), 1);
            CHECK_EQ(pop(), 2);
        }
    }
}

/* A waiter of low priority, and one of each higher every millisecond for ever: it is passed only by
   those who come within its ageing. */
static void nothing_starves(void) {
    uint64_t k, passed = 0, data;
    make(200, 50 * 1000000);
    (void)push(999999, RLM_LOW, RLM_NO_DEADLINE, 0);
    for (k = 1; k < 10000; k++) {
        (void)push(k, (uint32_t)(k % 3), RLM_NO_DEADLINE, k * 1000000);
        data = pop();
        if (data == 999999) break;
        passed++;
    }
    CHECK(k < 10000);
    CHECK(passed <= 3 * 50);
}

/* A reading that was ahead for one moment does not put its waiter behind all who come after. */
static void a_jump_ahead_starves_nobody(void) {
    uint64_t k, now_ns = 100 * SECOND, data = 0;
    make(200, SECOND);
    (void)push(999999, RLM_NORMAL, RLM_NO_DEADLINE, 1000000 * SECOND);
    for (k = 0; k < 1000 && data != 999999; k++, now_ns += SECOND) {
        (void)push(k, k % 2 ? RLM_LOW : RLM_HIGH, RLM_NO_DEADLINE, now_ns);
        data = pop();
    }
    CHECK_EQ(data, 999999);
}

/* The naive queue: a list, searched. */
typedef struct naive {
    uint64_t data, since_ns, deadline_ns, handle, order;
    uint32_t priority;
} naive;

static naive list[MOST];
static size_t listed;

static size_t naive_head(uint64_t ageing_ns) {
    size_t i, best = 0;
    for (i = 1; i < listed; i++) {
        uint64_t a = list[i].since_ns + list[i].priority * ageing_ns, b = list[best].since_ns + list[best].priority * ageing_ns;
        if (a < b || (a == b && (list[i].priority < list[best].priority ||
                                 (list[i].priority == list[best].priority && list[i].order < list[best].order))))
            best = i;
    }
    return best;
}

static void random_against_a_list(void) {
    uint64_t random = check_seed(), round, step, order = 0;
    for (round = 0; round < 20; round++) {
        size_t capacity = (size_t)(1 + check_random(&random) % 60), i;
        uint64_t ageing_ns = 1 + check_random(&random) % 1000, now_ns = 1000, handle, data;
        static uint64_t gone[100];
        size_t gone_count = 0;
        make(capacity, ageing_ns);
        listed = 0;
        for (step = 0; step < 5000; step++) {
            uint64_t what = check_random(&random) % 16, earliest = RLM_NO_DEADLINE;
            now_ns += check_random(&random) % 50;
            if (what < 8) {
                uint32_t priority = (uint32_t)(check_random(&random) % 4);
                uint64_t deadline_ns = check_random(&random) % 2 ? now_ns + check_random(&random) % 2000 : RLM_NO_DEADLINE;
                int status = rlm_queue_push(queue, step, priority, deadline_ns, now_ns, &handle);
                CHECK_EQ(status, listed == capacity ? RLM_E_FULL : RLM_OK);
                if (status != RLM_OK) continue;
                list[listed].data = step;
                list[listed].since_ns = now_ns;
                list[listed].deadline_ns = deadline_ns;
                list[listed].handle = handle;
                list[listed].order = order++;
                list[listed++].priority = priority;
            } else if (what < 11 && listed != 0) {
                i = (size_t)(check_random(&random) % listed); /* cancelled */
                CHECK_EQ(rlm_queue_remove(queue, list[i].handle), RLM_OK);
                gone[gone_count++ % 100] = list[i].handle;
                list[i] = list[--listed];
            } else if (what < 13) {
                for (i = 0; i < listed; i++)
                    if (list[i].deadline_ns < earliest) earliest = list[i].deadline_ns;
                CHECK_EQ(rlm_queue_deadline(queue), earliest);
                if (rlm_queue_expire(queue, now_ns, &handle, &data)) {
                    CHECK(earliest <= now_ns);
                    for (i = 0; i < listed && list[i].handle != handle; i++) {}
                    CHECK(i < listed && list[i].data == data && list[i].deadline_ns == earliest);
                    gone[gone_count++ % 100] = handle;
                    list[i] = list[--listed];
                } else {
                    CHECK(earliest > now_ns || earliest == RLM_NO_DEADLINE);
                }
            } else if (listed != 0) {
                i = naive_head(ageing_ns);
                CHECK(rlm_queue_head(queue, &handle, &data));
                CHECK_EQ(data, list[i].data);
                CHECK_EQ(handle, list[i].handle);
                CHECK_EQ(rlm_queue_remove(queue, handle), RLM_OK);
                gone[gone_count++ % 100] = handle;
                list[i] = list[--listed];
            }
            CHECK_EQ(rlm_queue_count(queue), listed);
            if (gone_count != 0) /* a handle is never of use again */
                CHECK_EQ(rlm_queue_remove(queue, gone[check_random(&random) % (gone_count < 100 ? gone_count : 100)]), RLM_E_HANDLE);
        }
    }
}

/* Ten thousand, in and out of every order, twenty times over. */
static void ten_thousand_waiters(void) {
    uint64_t random = check_seed(), round, k, handle, data, last;
    static uint64_t handles[MOST];
    CHECK_EQ(RLM_QUEUE_DEFAULT, MOST);
    make(MOST, RLM_AGEING_DEFAULT);
    for (round = 0; round < 20; round++) {
        for (k = 0; k < MOST; k++) handles[k] = push(k, (uint32_t)(k % 4), round * 1000 + check_random(&random) % 1000000, round * SECOND);
        CHECK_EQ(rlm_queue_push(queue, 0, 0, 0, 0, &handle), RLM_E_FULL);
        for (k = 0; k < MOST / 2; k++) { /* cancel half, from anywhere */
            size_t at = (size_t)(check_random(&random) % (MOST - k));
            CHECK_EQ(rlm_queue_remove(queue, handles[at]), RLM_OK);
            CHECK_EQ(rlm_queue_remove(queue, handles[at]), RLM_E_HANDLE);
            handles[at] = handles[MOST - k - 1];
        }
        for (last = 0, k = 0; k < MOST / 2; k++) { /* the others expire in order of their deadlines */
            CHECK(rlm_queue_deadline(queue) >= last);
            last = rlm_queue_deadline(queue);
            if (last != 0) CHECK(!rlm_queue_expire(queue, last - 1, NULL, NULL));
            CHECK(rlm_queue_expire(queue, last, NULL, &data));
        }
        CHECK_EQ(rlm_queue_count(queue), 0);
        CHECK_EQ(rlm_queue_deadline(queue), RLM_NO_DEADLINE);
    }
}

static void queue_stays_in_its_memory(void) {
    uint64_t k, at = rlm_queue_bytes(100) / 8;
    make(100, 1);
    for (k = 0; k < 1000; k++) {
        uint64_t handle;
        if (rlm_queue_push(queue, k, (uint32_t)(k % 4), k, k, &handle) != RLM_OK) (void)pop();
    }
    for (; at < sizeof memory / 8; at++) CHECK_EQ(memory[at], UINT64_C(0xa5a5a5a5a5a5a5a5));
}

static void ends_of_time(void) {
    make(8, UINT64_C(1) << 60);
    (void)push(1, RLM_LOW, 0, UINT64_MAX);
    (void)push(2, RLM_CRITICAL, UINT64_MAX - 1, UINT64_MAX);
    (void)push(3, RLM_NORMAL, RLM_NO_DEADLINE, 0);
    CHECK_EQ(rlm_queue_deadline(queue), 0);
    CHECK(rlm_queue_expire(queue, 0, NULL, NULL));
    CHECK_EQ(rlm_queue_deadline(queue), UINT64_MAX - 1);
    CHECK_EQ(pop(), 2); /* a reading of the future is one of now */
    CHECK_EQ(pop(), 3);
    CHECK_EQ(pop(), UINT64_MAX);
}

/* A place in line that lies beyond the end of time is the last; it does not begin again at 0. */
static void beyond_the_end_of_time_is_last(void) {
    uint64_t since_ns;
    for (since_ns = UINT64_MAX - 3 * SECOND - 1; since_ns >= UINT64_MAX - 3 * SECOND - 1; since_ns += SECOND / 2) {
        make(8, SECOND);
        (void)push(1, RLM_LOW, RLM_NO_DEADLINE, since_ns);
        (void)push(2, RLM_NORMAL, RLM_NO_DEADLINE, since_ns);
        (void)push(3, RLM_CRITICAL, RLM_NO_DEADLINE, since_ns);
        CHECK_EQ(pop(), 3);
        CHECK_EQ(pop(), 2);
        CHECK_EQ(pop(), 1);
    }
    make(8, RLM_STRICT);
    (void)push(1, RLM_LOW, RLM_NO_DEADLINE, UINT64_MAX);
    (void)push(2, RLM_CRITICAL, RLM_NO_DEADLINE, UINT64_MAX);
    CHECK_EQ(pop(), 2);
    CHECK_EQ(pop(), 1);
}

/* 2^31 waiters, or as many as there are bytes for where size_t has 32 bits. */
static void no_more_waiters_than_memory_can_hold(void) {
    size_t most = (SIZE_MAX - sizeof(rlm_queue)) / sizeof(rlm_i_waiter);
    if (most > UINT32_C(1) << 31) most = UINT32_C(1) << 31;
    CHECK_EQ(rlm_queue_bytes(most), sizeof(rlm_queue) + most * sizeof(rlm_i_waiter));
    CHECK(rlm_queue_bytes(most) > most);
    CHECK_EQ(rlm_queue_bytes(most + 1), 0);
    CHECK_EQ(rlm_queue_init(queue, sizeof memory, most + 1, 0), RLM_E_MEMORY);
}

static const check_case cases[] = {
    CASE(errors_change_nothing),
    CASE(an_empty_queue),
    CASE(first_in_first_out),
    CASE(plain_fifo_without_ageing),
    CASE(a_step_of_priority_is_worth_its_ageing),
    CASE(nothing_starves),
    CASE(a_jump_ahead_starves_nobody),
    CASE(random_against_a_list),
    CASE(ten_thousand_waiters),
    CASE(queue_stays_in_its_memory),
    CASE(ends_of_time),
    CASE(beyond_the_end_of_time_is_last),
    CASE(no_more_waiters_than_memory_can_hold),
};

CHECK_MAIN(cases)
