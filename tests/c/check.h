/* check.h - the least that tests in C need, so that they also run on foreign processors and Windows,
   where no test library is installed. A test is a function in the list that check_main is given.

   ./test_bucket             run all: a line "ok NAME" or "not ok NAME" for each, exit 1 if one failed
   ./test_bucket --list      the names
   ./test_bucket NAME ...    run these */

#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct check_case {
    const char *name;
    void (*run)(void);
} check_case;

#define CASE(function) {#function, function}

static jmp_buf check_failed;

/* Seeds of randomised tests: printed, and taken from the environment to repeat a failure. */
static inline uint64_t check_seed(void) {
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1;
    printf("# seed %" PRIu64 "\n", seed);
    return seed;
}

/* xorshift64*: not the generator of the code under test. */
static inline uint64_t check_random(uint64_t *state) {
    uint64_t x = *state != 0 ? *state : 88172645463325252u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);       \
            longjmp(check_failed, 1);                                              \
        }                                                                          \
    } while (0)

#define CHECK_EQ(actual, expected)                                                            \
    do {                                                                                      \
        uint64_t check_actual = (uint64_t)(actual), check_expected = (uint64_t)(expected);    \
        if (check_actual != check_expected) {                                                 \
            printf("# %s:%d: %s is %" PRIu64 ", expected %" PRIu64 " (%s)\n", __FILE__, __LINE__, \
                   #actual, check_actual, check_expected, #expected);                         \
            longjmp(check_failed, 1);                                                         \
        }                                                                                     \
    } while (0)

static int check_one(const check_case *test) {
    int failed = setjmp(check_failed);
    if (failed == 0) test->run();
    printf("%s %s\n", failed == 0 ? "ok" : "not ok", test->name);
    fflush(stdout);
    return failed != 0;
}

static int check_main(const check_case *cases, size_t count, int argc, char **argv) {
    size_t i;
    int failed = 0, j;
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (i = 0; i < count; i++) printf("%s\n", cases[i].name);
        return 0;
    }
    for (i = 0; i < count; i++) {
        int wanted = argc == 1;
        for (j = 1; j < argc; j++) wanted |= strcmp(argv[j], cases[i].name) == 0;
        if (wanted) failed += check_one(&cases[i]);
    }
    return failed != 0;
}

#define CHECK_MAIN(cases) \
    int main(int argc, char **argv) { return check_main(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv); }

#endif
