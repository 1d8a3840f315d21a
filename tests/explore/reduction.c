/* reduction.c - whether the explorer's reduction loses nothing: small random programs of loads, stores and
   exchanges on a few words, each explored with the reduction and, with as many preemptions as there are steps,
   without. Both must reach the same ends: what every thread read, and what the words hold.

   ./reduction [SEED]    prints the seed and the program that differs */

#include "explore.h"

#define WORDS 3
#define LENGTH 4
#define PROGRAMS 300
#define ENDS 65536 /* a power of 2 */

typedef struct instruction {
    int kind, word;
} instruction;

static struct memory {
    uint64_t word[WORDS];
} memory, image;

static instruction program[3][LENGTH];
static uint64_t ends[2][ENDS];
static size_t counts[2];
static int search;

static const char *explore_name_of(const uint64_t *address) {
    static char name[16];
    snprintf(name, sizeof name, "word %d", (int)(address - memory.word));
    return name;
}

static void explore_forget(void *shared) { (void)shared; }
static void begin(void) {}

/* What a thread read is in what it writes later, and in its result. */
static uint64_t run_program(int thread, int at) {
    uint64_t read = 1, i;
    (void)at;
    for (i = 0; i < LENGTH; i++) {
        uint64_t *word = &memory.word[program[thread][i].word];
        uint64_t seen = (uint64_t)program[thread][i].word, mine = read * 7 + (uint64_t)thread * 3 + i;
        if (program[thread][i].kind == EXPLORE_LOAD) read = read * 31 + explore_load(word);
        else if (program[thread][i].kind == EXPLORE_STORE) explore_store(word, mine & 7);
        else if (i != 0) read = read * 31 + (explore_cas(word, &seen, mine & 7) ? 0 : seen + 1);
        else read = read * 31 + explore_load(word);
    }
    explore_note(read);
    return 0;
}

static void finish(void) {
    uint64_t end = 1;
    size_t i;
    int t;
    if (x.sequential) return;
    for (t = 0; t < x.plan->threads; t++) end = (end ^ x.thread[t].note[0]) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (i = 0; i < WORDS; i++) end = (end ^ memory.word[i]) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    end |= 1;
    for (i = end >> 40; ends[search][i & (ENDS - 1)] != 0; i++)
        if (ends[search][i & (ENDS - 1)] == end) return;
    ends[search][i & (ENDS - 1)] = end;
    counts[search]++;
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Whether both searches reach the same ends. All that the reduced one reaches, the full one does. */
static bool agrees(const explore_plan *plan, uint64_t *executions) {
    explore_report report;
    memset(ends, 0, sizeof ends);
    counts[0] = counts[1] = 0;
    for (search = 0; search < 2; search++) {
        explore_prepare(plan, &memory, &image, sizeof memory);
        if (!explore_run(false, search == 0 ? EXPLORE_ALL : 100, 60, &report) || !report.exhausted) return false;
        executions[search] += report.executions;
    }
    return counts[0] == counts[1];
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, state = seed, executions[2] = {0, 0};
    explore_plan plan = {"reduction", 3, EXPLORE_FREE, 0, 0, 0, begin, run_program, {1, 1, 1}, finish, NULL, -1};
    int n, t, i;
    printf("# seed %" PRIu64 "\n", seed);
    for (n = 0; n < PROGRAMS; n++) {
        plan.threads = 2 + n % 2;
        for (t = 0; t < 3; t++)
            for (i = 0; i < LENGTH; i++) {
                program[t][i].kind = (int)(next_random(&state) % 3);
                program[t][i].word = (int)(next_random(&state) % WORDS);
            }
        if (agrees(&plan, executions)) continue;
        printf("# program %d: %zu ends with the reduction, %zu without\n", n, counts[0], counts[1]);
        for (t = 0; t < plan.threads; t++)
            for (i = 0; i < LENGTH; i++) printf("# thread %d: %c %d\n", t, "LSC"[program[t][i].kind], program[t][i].word);
        return 1;
    }
    printf("ok: %" PRIu64 " executions with the reduction, %" PRIu64 " without\n", executions[0], executions[1]);
    return 0;
}
