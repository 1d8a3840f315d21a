/* rlm_route against plain models: doubles and sorted arrays. */

#define RLM_IMPLEMENTATION
#include "rlimit.h"
#include "check.h"

#define AMOUNT_MAX (UINT64_C(1) << 40)

#define CHECK_SO(condition, ...)                                               \
    do {                                                                       \
        if (!(condition)) {                                                    \
            printf("# %s:%d: not so: %s: ", __FILE__, __LINE__, #condition);   \
            printf(__VA_ARGS__);                                               \
            printf("\n");                                                      \
            longjmp(check_failed, 1);                                          \
        }                                                                      \
    } while (0)

static rlm_route route, kept;

static void make(uint32_t permille) {
    memset(&route, 0xa5, sizeof route);
    CHECK_EQ(rlm_route_init(&route, permille), RLM_OK);
}

static rlm_cost tokens(uint64_t input, uint64_t output) {
    rlm_cost cost = {0, 0, 0, 0, 0};
    cost.requests = 1;
    cost.input_tokens = input;
    cost.output_tokens = output;
    return cost;
}

static void learn(uint64_t estimated, uint64_t input, uint64_t output) {
    rlm_cost estimate = tokens(estimated, 0), actual = tokens(input, output);
    CHECK_EQ(rlm_route_learn(&route, &estimate, &actual), RLM_OK);
}

static rlm_cost estimate(uint64_t input, uint64_t output_max) {
    rlm_cost cost = tokens(input, output_max);
    return rlm_route_estimate(&route, &cost);
}

/* Between 0 and 1. */
static double unit(uint64_t *random) { return (double)(check_random(random) >> 11) / 9007199254740992.0; }

static void misuse_is_answered(void) {
    rlm_cost cost = tokens(1, 1), huge = tokens(AMOUNT_MAX + 1, 1), also = tokens(1, UINT64_MAX);
    CHECK_EQ(rlm_route_init(NULL, 900), RLM_E_NULL);
    make(900);
    kept = route;
    CHECK_EQ(rlm_route_init(&route, 0), RLM_E_AMOUNT);
    CHECK_EQ(rlm_route_init(&route, 1000), RLM_E_AMOUNT);
    CHECK_EQ(rlm_route_init(&route, UINT32_MAX), RLM_E_AMOUNT);
    CHECK_EQ(rlm_route_learn(NULL, &cost, &cost), RLM_E_NULL);
    CHECK_EQ(rlm_route_learn(&route, NULL, &cost), RLM_E_NULL);
    CHECK_EQ(rlm_route_learn(&route, &cost, NULL), RLM_E_NULL);
    CHECK_EQ(rlm_route_learn(&route, &huge, &cost), RLM_E_COST);
    CHECK_EQ(rlm_route_learn(&route, &cost, &huge), RLM_E_COST);
    CHECK_EQ(rlm_route_learn(&route, &cost, &also), RLM_E_COST);
    CHECK(memcmp(&kept, &route, sizeof route) == 0);
    cost = tokens(0, 0);
    CHECK_EQ(rlm_route_learn(&route, &cost, &cost), RLM_OK); /* nothing to be learned */
    CHECK(memcmp(&kept, &route, sizeof route) == 0);
    CHECK_EQ(rlm_route_init(&route, 1), RLM_OK);
    CHECK_EQ(rlm_route_init(&route, 999), RLM_OK);
}

static void until_eight_were_seen_nothing_changes(void) {
    int i;
    make(900);
    for (i = 0; i < 7; i++) {
        CHECK_EQ(estimate(1000, 4096).input_tokens, 1000);
        CHECK_EQ(estimate(1000, 4096).output_tokens, 4096);
        learn(1000, 2000, 100);
    }
    CHECK_EQ(estimate(1000, 4096).input_tokens, 1000);
    CHECK_EQ(estimate(1000, 4096).output_tokens, 4096);
    learn(1000, 2000, 0); /* a refusal: the server's estimate of the input only */
    CHECK(estimate(1000, 4096).input_tokens >= 2000);
    CHECK_EQ(estimate(1000, 4096).output_tokens, 4096);
    learn(0, 0, 100);
    CHECK_SO(estimate(1000, 4096).output_tokens >= 100 && estimate(1000, 4096).output_tokens <= 125, "output %" PRIu64,
        estimate(1000, 4096).output_tokens);
    CHECK_EQ(estimate(1000, 4096).requests, 1);
    CHECK_EQ(estimate(0, 50).output_tokens, 50); /* never more than the most there can be */
    CHECK_EQ(estimate(0, 0).output_tokens, 0);
    CHECK_EQ(estimate(0, 0).input_tokens, 0);
}

/* As documented: averages over the last 32 or so, in doubles. */
static void ratio_and_spread_are_those_of_a_plain_model(void) {
    static const double truth[] = {0.05, 0.3, 1, 1.7, 4, 40};
    uint64_t seed = check_seed(), random;
    size_t t;
    int i;
    for (t = 0; t < sizeof truth / sizeof *truth; t++) {
        double ratio = 0, spread = 0;
        random = seed + t;
        make(900);
        for (i = 0; i < 3000; i++) {
            uint64_t estimated = 100 + check_random(&random) % 100000,
                actual = (uint64_t)((double)estimated * truth[t] * (0.7 + 0.6 * unit(&random))) + 1;
            double seen = (double)actual / (double)estimated, over = i < 31 ? i + 1 : 32;
            double apart = seen > ratio ? seen - ratio : ratio - seen, expected, got;
            if (i == 0) apart = seen / 8;
            ratio += (seen - ratio) / over;
            spread += (apart - spread) / over;
            learn(estimated, actual, 0);
            if (i < 8) continue;
            expected = 1000000 * (ratio + spread);
            got = (double)estimate(1000000, 0).input_tokens;
            CHECK_SO(got >= expected * 0.99 - 8500 && got <= expected * 1.01 + 8500,
                "truth %g, seed %" PRIu64 ", after %d: of 1000000 made %.0f, expected %.0f", truth[t], seed,
                     i, got, expected);
        }
    }
}

static void a_change_is_followed(void) {
    int i;
    make(900);
    for (i = 0; i < 1000; i++) learn(1000, 1000, 0);
    CHECK_SO(estimate(10000, 0).input_tokens >= 10000 && estimate(10000, 0).input_tokens <= 10100, "%" PRIu64,
        estimate(10000, 0).input_tokens);
    for (i = 0; i < 32; i++) learn(1000, 3000, 0);
    CHECK_SO(estimate(10000, 0).input_tokens >= 25000, "after 32: %" PRIu64, estimate(10000, 0).input_tokens);
    for (i = 0; i < 300; i++) learn(1000, 3000, 0);
    CHECK_SO(estimate(10000, 0).input_tokens >= 29900 && estimate(10000, 0).input_tokens <= 30300, "after 332: %" PRIu64,
        estimate(10000, 0).input_tokens);
    for (i = 0; i < 400; i++) learn(1000, 500, 0);
    CHECK_SO(estimate(10000, 0).input_tokens >= 5000 && estimate(10000, 0).input_tokens <= 5150, "and back: %" PRIu64,
        estimate(10000, 0).input_tokens);
}

/* Estimates a hundred times too large: small ratios are learned as closely as large ones. */
static void small_ratios_are_learned_too(void) {
    int i;
    make(900);
    for (i = 0; i < 100; i++) learn(100000, 1000, 0);
    for (i = 0; i < 400; i++) learn(100000, 1300, 0);
    CHECK_SO(estimate(100000, 0).input_tokens >= 1300 && estimate(100000, 0).input_tokens <= 1800, "%" PRIu64 " of 1300",
        estimate(100000, 0).input_tokens);
}

static void too_much_is_cut_from_the_first(void) {
    rlm_cost made;
    make(500);
    made = estimate(UINT64_MAX, UINT64_MAX);
    CHECK_EQ(made.input_tokens, AMOUNT_MAX);
    CHECK_EQ(made.output_tokens, AMOUNT_MAX);
    CHECK_EQ(rlm_status_code(rlm_route_init(NULL, 500)), RLM_E_NULL);
    CHECK(strstr(rlm_strerror(RLM_E_AMOUNT), "quantile_permille 1 to 999") != NULL);
}

static void extremes(void) {
    static const uint64_t odd[] = {0, 1, 2, 3, 4, 5, 7, 8, 1000, UINT64_C(1) << 39, AMOUNT_MAX - 1, AMOUNT_MAX};
    uint64_t seed = check_seed(), random = seed, last;
    size_t i, j;
    int k;
    for (i = 0; i < sizeof odd / sizeof *odd; i++)
        for (j = 0; j < sizeof odd / sizeof *odd; j++) {
            make(500);
            for (k = 0; k < 50; k++) learn(odd[i], odd[j], odd[j]);
            for (k = 0; k < 12; k++) {
                rlm_cost made = estimate(odd[k], odd[k]);
                CHECK_SO(made.input_tokens <= AMOUNT_MAX && made.output_tokens <= odd[k],
                    "estimated %" PRIu64 ", was %" PRIu64 ": of %" PRIu64 " made %" PRIu64 " and %" PRIu64, odd[i],
                         odd[j], odd[k], made.input_tokens, made.output_tokens);
                CHECK(made.input_tokens > 0 || odd[k] == 0 || odd[j] * 4096 < odd[i]);
            }
            if (odd[j] != 0) {
                last = estimate(1, AMOUNT_MAX).output_tokens;
                CHECK_SO(last >= odd[j] && last <= odd[j] + odd[j] / 4, "all were %" PRIu64 ": reserved %" PRIu64,
                    odd[j], last);
            }
        }
    make(500);
    for (k = 0; k < 20000; k++) learn(odd[check_random(&random) % 12], odd[check_random(&random) % 12],
            odd[check_random(&random) % 12]);
    CHECK(estimate(AMOUNT_MAX, AMOUNT_MAX).input_tokens <= AMOUNT_MAX);
    CHECK(estimate(AMOUNT_MAX, AMOUNT_MAX).output_tokens <= AMOUNT_MAX);
}

static int order(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void quantiles_are_those_of_a_sorted_array(void) {
    static const uint32_t permilles[] = {1, 100, 500, 750, 900, 950, 990, 999};
    static uint64_t seen[990], sorted[990];
    uint64_t seed = check_seed(), random;
    size_t p, shape;
    for (p = 0; p < 8; p++)
        for (shape = 0; shape < 4; shape++) {
            size_t n;
            random = seed + shape;
            make(permilles[p]);
            for (n = 0; n < 990; n++) {
                uint64_t rank, value, got;
                seen[n] = shape == 0 ? 1 + check_random(&random) % 20 : shape == 1 ? 1 + check_random(&random) % 100000
                        : shape == 2 ? UINT64_C(1) << check_random(&random) % 41
                        : 100 + (check_random(&random) % 40) * (check_random(&random) % 200);
                learn(0, 0, seen[n]);
                if (n + 1 < 8 || n % 37 != 0) continue;
                memcpy(sorted, seen, (n + 1) * sizeof *seen);
                qsort(sorted, n + 1, sizeof *sorted, order);
                rank = (permilles[p] * (n + 1) + 999) / 1000;
                value = sorted[rank - 1];
                got = estimate(0, AMOUNT_MAX).output_tokens;
                CHECK_SO(got >= value && got <= value + value / 4,
                    "seed %" PRIu64 ", shape %d, %u permille of %d: %" PRIu64 ", reserved %" PRIu64, seed, (int)shape,
                         (unsigned)permilles[p], (int)n + 1, value, got);
            }
        }
}

static void older_outputs_fade(void) {
    int i, after;
    make(900);
    for (i = 0; i < 100000; i++) learn(0, 0, 100);
    CHECK(estimate(0, 100000).output_tokens <= 125);
    for (after = 0; after < 1000 && estimate(0, 100000).output_tokens < 5000; after++) learn(0, 0, 5000);
    CHECK_SO(after >= 10 && after <= 250, "a tenth of the last 500 to 1000 is longer after %d", after);
    for (i = 0; i < 20000; i++) learn(0, 0, 5000);
    for (after = 0; after < 10000 && estimate(0, 100000).output_tokens >= 5000; after++) learn(0, 0, 100);
    CHECK_SO(after <= 4000, "nine tenths are shorter after %d", after);
}

static void coverage_is_the_quantile(void) {
    static const uint32_t permilles[] = {500, 800, 900, 990};
    uint64_t seed = check_seed(), random = seed;
    size_t p;
    int i, covered;
    for (p = 0; p < 4; p++) {
        make(permilles[p]);
        for (i = 0, covered = 0; i < 20000; i++) {
            uint64_t output = (uint64_t)(200 / (0.02 + unit(&random))); /* heavy tail */
            if (i >= 1000) covered += output <= estimate(0, AMOUNT_MAX).output_tokens;
            learn(0, 0, output);
        }
        CHECK_SO(covered >= 19 * (int)permilles[p] - 190 &&
            covered <= 19 * (int)permilles[p] + 19 * (1000 - (int)permilles[p]) / 2,
                 "seed %" PRIu64 ", %u permille: %d of 19000 covered", seed, (unsigned)permilles[p], covered);
    }
}

static void larger_is_never_made_smaller_than_less(void) {
    uint64_t seed = check_seed(), random = seed, i, last_input = 0, last_output = 0;
    uint32_t permille;
    make(900);
    for (i = 0; i < 500; i++) learn(1 + check_random(&random) % 1000, 1 + check_random(&random) % 3000,
            1 + check_random(&random) % 5000);
    for (i = 0; i < 100000; i += 1 + i / 50) {
        rlm_cost made = estimate(i, i);
        CHECK(made.input_tokens >= last_input && made.output_tokens >= last_output && made.output_tokens <= i);
        last_input = made.input_tokens;
        last_output = made.output_tokens;
    }
    for (permille = 1, last_output = 0; permille <= 999; permille++) { /* the same outputs, more of them to be covered */
        uint64_t made;
        random = seed;
        make(permille);
        for (i = 0; i < 300; i++) learn(0, 0, 1 + check_random(&random) % 5000);
        made = estimate(0, AMOUNT_MAX).output_tokens;
        CHECK_SO(made >= last_output, "%u permille: %" PRIu64 " after %" PRIu64, (unsigned)permille, made, last_output);
        last_output = made;
    }
}

/* Estimates off by up to a fifth either way: the sum of 30 is covered in 99 of 100 draws, and is
   15 % too much at most on average. */
static void the_margin_covers_and_does_not_waste(void) {
    uint64_t seed = check_seed(), random = seed;
    static const double bias[] = {0.5, 1, 3};
    size_t b;
    int draw, i, covered;
    for (b = 0; b < 3; b++) {
        double all_made = 0, all_true = 0;
        make(900);
        for (draw = 0, covered = 0; draw < 2000; draw++) {
            double made = 0, truth = 0;
            for (i = 0; i < 30; i++) {
                uint64_t actual = 500 + check_random(&random) % 4000;
                uint64_t estimated = (uint64_t)((double)actual * bias[b] * (0.8 + 0.4 * unit(&random)));
                made += (double)estimate(estimated, 0).input_tokens;
                truth += (double)actual;
                learn(estimated, actual, 0);
            }
            if (draw == 0) continue; /* it learns */
            covered += made >= truth;
            all_made += made;
            all_true += truth;
        }
        CHECK_SO(covered >= 1999 * 99 / 100, "seed %" PRIu64 ", bias %g: %d of 1999 covered", seed, bias[b], covered);
        CHECK_SO(all_made < 1.15 * all_true, "seed %" PRIu64 ", bias %g: %g of the truth", seed, bias[b],
            all_made / all_true);
    }
}

/* An estimate of 2^64 / 1.015625 and a little less: corrected it is 2^64 - 1 and a fraction, which rounded up would be 0. */
static void what_does_not_fit_is_the_most(void) {
    int k;
    make(900);
    for (k = 0; k < 8; k++) learn(65536, 65536, 0);
    CHECK_EQ(estimate(65536, 0).input_tokens, 66560); /* 1, and 1/64 for what it may vary */
    CHECK_EQ(estimate(UINT64_C(18162948011037096975), 0).input_tokens, AMOUNT_MAX);
    CHECK_EQ(estimate(UINT64_C(18162948011037096976), 0).input_tokens, AMOUNT_MAX);
    CHECK_EQ(estimate(UINT64_MAX, 0).input_tokens, AMOUNT_MAX);
}

/* What was learned does not begin anew after the 65,535th time. */
static void a_hundred_thousand_are_not_forgotten(void) {
    uint64_t k;
    make(900);
    for (k = 0; k < 100000; k++) {
        learn(1000, 2000, 0);
        if (k > 1000) CHECK(estimate(1000, 0).input_tokens == 2000 || estimate(1000, 0).input_tokens == 2001);
    }
    for (k = 0; k < 1000; k++) learn(1000, 500, 0); /* and goes on to follow */
    CHECK(estimate(1000, 0).input_tokens >= 500 && estimate(1000, 0).input_tokens <= 510);
}

static const check_case cases[] = {
    CASE(misuse_is_answered),
    CASE(until_eight_were_seen_nothing_changes),
    CASE(ratio_and_spread_are_those_of_a_plain_model),
    CASE(a_change_is_followed),
    CASE(small_ratios_are_learned_too),
    CASE(too_much_is_cut_from_the_first),
    CASE(extremes),
    CASE(quantiles_are_those_of_a_sorted_array),
    CASE(older_outputs_fade),
    CASE(coverage_is_the_quantile),
    CASE(larger_is_never_made_smaller_than_less),
    CASE(the_margin_covers_and_does_not_waste),
    CASE(what_does_not_fit_is_the_most),
    CASE(a_hundred_thousand_are_not_forgotten),
};

CHECK_MAIN(cases)
