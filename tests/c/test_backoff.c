#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define SECOND RLM_SECOND_NS

static rlm_backoff plain(uint32_t jitter) {
    rlm_backoff plan;
    memset(&plan, 0, sizeof plan);
    plan.jitter = jitter;
    plan.factor_permille = 2000;
    plan.attempts_max = 100;
    plan.base_ns = 1000;
    plan.cap_ns = 50000;
    plan.retry_after_max_ns = 1000000;
    return plan;
}

static rlm_backoff_state seeded(uint64_t seed) {
    rlm_backoff_state state;
    memset(&state, 0xa5, sizeof state);
    rlm_backoff_start(&state, seed);
    return state;
}

static uint64_t next(const rlm_backoff *plan, rlm_backoff_state *state) {
    return rlm_backoff_next(plan, state, RLM_CLASS_NETWORK, RLM_NORMAL, 0);
}

static void the_default(void) {
    rlm_backoff plan = rlm_backoff_default();
    rlm_backoff_state state;
    uint64_t seed, k, delay_ns, d;
    CHECK_EQ(rlm_backoff_check(&plan), RLM_OK);
    for (seed = 0; seed < 300; seed++) {
        state = seeded(seed);
        for (k = 0, d = SECOND; k < 8; k++, d = 2 * d < 60 * SECOND ? 2 * d : 60 * SECOND) {
            delay_ns = rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_NORMAL, 0);
            CHECK(delay_ns >= d / 10 * 9 && delay_ns <= d / 10 * 11 && delay_ns <= 60 * SECOND);
        }
        CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_NORMAL, 0), RLM_NEVER);
        state = seeded(seed);
        delay_ns = rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_NORMAL, 0);
        CHECK(delay_ns >= SECOND / 20 * 9 && delay_ns <= SECOND / 20 * 11);
        state = seeded(seed);
        delay_ns = rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, 0);
        CHECK(delay_ns >= SECOND / 10 * 54 && delay_ns <= SECOND / 10 * 66); /* spread, and above 5 s */
        CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, RLM_HOUR_NS), RLM_HOUR_NS);
        delay_ns = rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, RLM_HOUR_NS + 1);
        CHECK(delay_ns >= 10 * SECOND && delay_ns <= 60 * SECOND); /* its own schedule instead */
    }
}

static void bad_plans(void) {
    rlm_backoff bad[24];
    int count = 0, i;
    rlm_backoff good = plain(RLM_JITTER_NONE);
    CHECK_EQ(rlm_backoff_check(&good), RLM_OK);
    CHECK_EQ(rlm_backoff_check(NULL), RLM_E_NULL);
#define BAD bad[count] = good, count++, bad[count - 1]
    BAD.jitter = RLM_JITTER_DECORRELATED + 1;
    BAD.factor_permille = 999;
    BAD.factor_permille = 100001;
    BAD.fraction_permille = 1001;
    BAD.base_ns = 50001;
    BAD.base_ns = 0;
    BAD.floor_ns = 50001;
    BAD.cap_ns = (UINT64_C(1) << 50) + 1;
    BAD.cap_ns = 999;
    for (i = 0; i < 4; i++) {
        BAD.base_class_ns[i] = 50001;
        BAD.least_class_ns[i] = 50001;
    }
#undef BAD
    for (i = 0; i < count; i++) {
        rlm_backoff_state state = seeded(5), before = state;
        CHECK_EQ(rlm_backoff_check(&bad[i]), RLM_E_BACKOFF);
        CHECK_EQ(next(&bad[i], &state), RLM_NEVER);
        CHECK(memcmp(&before, &state, sizeof state) == 0);
    }
}

static void giving_up_leaves_the_state(void) {
    rlm_backoff plan = plain(RLM_JITTER_FULL);
    rlm_backoff_state state = seeded(5), before = state;
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_FATAL, RLM_NORMAL, 0), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_FATAL, RLM_NORMAL, 1000), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, &state, 4, RLM_NORMAL, 0), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, &state, UINT32_MAX, RLM_NORMAL, 0), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_LOW + 1, 0), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, NULL, RLM_CLASS_SERVER, RLM_LOW, 0), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(NULL, &state, RLM_CLASS_SERVER, RLM_LOW, 0), RLM_NEVER);
    plan.attempts_max = 0;
    CHECK_EQ(next(&plan, &state), RLM_NEVER);
    CHECK(memcmp(&before, &state, sizeof state) == 0);
    plan.attempts_max = 3;
    CHECK(next(&plan, &state) != RLM_NEVER);
    CHECK(next(&plan, &state) != RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_LOW, 77), 77);
    before = state;
    CHECK_EQ(next(&plan, &state), RLM_NEVER);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_LOW, 77), RLM_NEVER);
    CHECK(memcmp(&before, &state, sizeof state) == 0);
}

/* Each schedule keeps its bounds and comes near both of them. */
static void jitter_keeps_its_bounds(void) {
    uint32_t jitter;
    for (jitter = RLM_JITTER_NONE; jitter <= RLM_JITTER_DECORRELATED; jitter++) {
        rlm_backoff plan = plain(jitter);
        uint64_t least[10], most[10], seed, k;
        plan.fraction_permille = 250;
        memset(least, 0xff, sizeof least);
        memset(most, 0, sizeof most);
        for (seed = 0; seed < 3000; seed++) {
            rlm_backoff_state state = seeded(seed * 0x10001);
            uint64_t d = 1000, previous = 1000, low = 0, high = 0, delay_ns;
            for (k = 0; k < 10; k++, d = 2 * d < 50000 ? 2 * d : 50000) {
                delay_ns = next(&plan, &state);
                switch (jitter) {
                case RLM_JITTER_NONE: low = high = d; break;
                case RLM_JITTER_FRACTION: low = d / 4 * 3, high = d + d / 4; break;
                case RLM_JITTER_FULL: low = 0, high = d; break;
                case RLM_JITTER_EQUAL: low = d / 2, high = d; break;
                default: low = 1000, high = 3 * previous;
                }
                if (high > 50000) high = 50000;
                CHECK(delay_ns >= low && delay_ns <= high);
                previous = delay_ns;
                if (delay_ns < least[k]) least[k] = delay_ns;
                if (delay_ns > most[k]) most[k] = delay_ns;
                if (jitter != RLM_JITTER_DECORRELATED && seed == 2999) {
                    CHECK(least[k] <= low + d / 50);
                    CHECK(most[k] + d / 50 >= high);
                }
            }
        }
        if (jitter == RLM_JITTER_DECORRELATED) CHECK(least[0] < 1050 && most[0] > 2950 && most[9] > 45000);
    }
}

/* Uniform: each tenth of the range gets its tenth. */
static void jitter_is_uniform(void) {
    rlm_backoff plan = plain(RLM_JITTER_FULL);
    uint64_t counts[10] = {0}, k;
    plan.base_ns = plan.cap_ns = 9999;
    plan.attempts_max = UINT32_MAX;
    for (k = 0; k < 100000; k++) {
        rlm_backoff_state state = seeded(k);
        counts[next(&plan, &state) / 1000]++;
    }
    for (k = 0; k < 10; k++) CHECK(counts[k] > 9500 && counts[k] < 10500);
}

static void a_seed_repeats(void) {
    rlm_backoff plan = rlm_backoff_default();
    uint64_t seed, k, same = 0;
    for (seed = 0; seed < 100; seed++) {
        rlm_backoff_state a = seeded(seed), b = seeded(seed), c = seeded(seed + 1);
        for (k = 0; k < 8; k++) {
            uint64_t delay_ns = next(&plan, &a);
            CHECK_EQ(next(&plan, &b), delay_ns);
            same += next(&plan, &c) == delay_ns;
        }
    }
    CHECK(same < 100);
}

static void priority_floor_class_and_cap(void) {
    rlm_backoff plan = plain(RLM_JITTER_NONE);
    rlm_backoff_state state = seeded(1);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_CRITICAL, 0), 500);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_HIGH, 0), 1000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_NORMAL, 0), 4000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_LOW, 0), 8000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_LOW, 0), 16000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_LOW, 0), 32000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_LOW, 0), 50000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_HIGH, 0), 25000);
    plan.floor_ns = 700; /* the floor and the least of a class are not halved */
    plan.base_class_ns[RLM_CLASS_SERVER] = 100;
    plan.least_class_ns[RLM_CLASS_RATE_LIMIT] = 9000;
    state = seeded(1);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_NETWORK, RLM_CRITICAL, 0), 700);
    state = seeded(1);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_CRITICAL, 0), 9000);
    state = seeded(1);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_NORMAL, 0), 700);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_NORMAL, 0), 700);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_NORMAL, 0), 700);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_SERVER, RLM_NORMAL, 0), 800);
}

static void the_server_is_obeyed_up_to_a_bound(void) {
    rlm_backoff plan = plain(RLM_JITTER_NONE);
    rlm_backoff_state state = seeded(1);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, 3), 3);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_CRITICAL, 1000000), 1000000); /* above the cap */
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, 1000001), 4000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, UINT64_MAX), 8000);
    CHECK_EQ(rlm_backoff_next(&plan, &state, RLM_CLASS_RATE_LIMIT, RLM_NORMAL, 0), 16000);
}

/* The largest factor and cap: the delay rises to the cap and never falls. */
static void large_factors_do_not_overflow(void) {
    uint64_t base_bits, cap_bits, k;
    uint32_t factor;
    for (factor = 1000; factor <= 100000; factor += 33000) {
        for (cap_bits = 10; cap_bits <= 50; cap_bits++) {
            for (base_bits = 0; base_bits <= cap_bits; base_bits++) {
                rlm_backoff plan = plain(RLM_JITTER_NONE);
                rlm_backoff_state state = seeded(1);
                uint64_t last = 0, delay_ns;
                plan.factor_permille = factor;
                plan.base_ns = UINT64_C(1) << base_bits;
                plan.cap_ns = UINT64_C(1) << cap_bits;
                for (k = 0; k < 60; k++) {
                    delay_ns = next(&plan, &state);
                    CHECK(delay_ns >= last && delay_ns <= plan.cap_ns);
                    last = delay_ns;
                }
                CHECK(factor == 1000 ? last == plan.base_ns : last == plan.cap_ns);
            }
        }
    }
}

static void budgets(void) {
    rlm_retry_budget budget, before;
    uint64_t k, granted, start_ns = 100 * SECOND;
    memset(&budget, 0xa5, sizeof budget);
    before = budget;
    CHECK_EQ(rlm_retry_budget_init(NULL, 200, 10, 100, start_ns), RLM_E_NULL);
    CHECK_EQ(rlm_retry_budget_init(&budget, 1001, 10, 100, start_ns), RLM_E_AMOUNT);
    CHECK_EQ(rlm_retry_budget_init(&budget, 200, 0, 100, start_ns), RLM_E_AMOUNT);
    CHECK_EQ(rlm_retry_budget_init(&budget, 200, 1000001, 100, start_ns), RLM_E_AMOUNT);
    CHECK_EQ(rlm_retry_budget_init(&budget, 200, UINT64_MAX, 100, start_ns), RLM_E_AMOUNT);
    CHECK_EQ(rlm_retry_budget_init(&budget, 200, 10, 0, start_ns), RLM_E_BURST);
    CHECK_EQ(rlm_retry_budget_init(&budget, 200, 10, 1000000001, start_ns), RLM_E_BURST);
    CHECK(memcmp(&before, &budget, sizeof budget) == 0);
    CHECK_EQ(rlm_retry_budget_init(&budget, 200, 10, 100, start_ns), RLM_OK);
    for (granted = 0, k = 0; k < 1000; k++) granted += rlm_retry_budget_retry(&budget, start_ns) == 0;
    CHECK_EQ(granted, 100);
    CHECK_EQ(rlm_retry_budget_retry(&budget, start_ns), SECOND / 10);
    for (k = 0; k < 4; k++) rlm_retry_budget_request(&budget, start_ns);
    CHECK(rlm_retry_budget_retry(&budget, start_ns) != 0);
    rlm_retry_budget_request(&budget, start_ns); /* the fifth pays for one */
    CHECK_EQ(rlm_retry_budget_retry(&budget, start_ns), 0);
    CHECK(rlm_retry_budget_retry(&budget, start_ns) != 0);
    for (k = 0; k < 100000; k++) rlm_retry_budget_request(&budget, start_ns); /* kept up to the burst */
    for (granted = 0, k = 0; k < 1000; k++) granted += rlm_retry_budget_retry(&budget, start_ns) == 0;
    CHECK_EQ(granted, 100);
    for (granted = 0, k = 0; k < 1000; k++) granted += rlm_retry_budget_retry(&budget, start_ns + k * SECOND / 100) == 0;
    CHECK_EQ(granted, 99);
    CHECK_EQ(rlm_retry_budget_init(&budget, 0, 1, 1, start_ns), RLM_OK); /* no share */
    CHECK_EQ(rlm_retry_budget_retry(&budget, start_ns), 0);
    for (k = 0; k < 1000; k++) rlm_retry_budget_request(&budget, start_ns);
    CHECK_EQ(rlm_retry_budget_retry(&budget, start_ns), SECOND);
}

/* Every combination in the documented range is accepted, or refused without a trace. */
static void budgets_at_their_bounds(void) {
    static const uint64_t rates[] = {1, 1000, 1000000}, bursts[] = {1, 1000, 1000000};
    size_t i, j;
    for (i = 0; i < 3; i++) {
        for (j = 0; j < 3; j++) {
            rlm_retry_budget budget, before;
            int status;
            memset(&budget, 0xa5, sizeof budget);
            before = budget;
            status = rlm_retry_budget_init(&budget, 1000, rates[i], bursts[j], 100 * SECOND);
            if (status != RLM_OK) CHECK(memcmp(&before, &budget, sizeof budget) == 0);
            CHECK_EQ(status, RLM_OK);
            CHECK_EQ(rlm_retry_budget_retry(&budget, 100 * SECOND), 0);
        }
    }
}

static const check_case cases[] = {
    CASE(the_default),
    CASE(bad_plans),
    CASE(giving_up_leaves_the_state),
    CASE(jitter_keeps_its_bounds),
    CASE(jitter_is_uniform),
    CASE(a_seed_repeats),
    CASE(priority_floor_class_and_cap),
    CASE(the_server_is_obeyed_up_to_a_bound),
    CASE(large_factors_do_not_overflow),
    CASE(budgets),
    CASE(budgets_at_their_bounds),
};

CHECK_MAIN(cases)
