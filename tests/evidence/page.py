"""docs/evidence.md as text, from the records of evidence.py: every figure in it stands in a record."""
import json
from pathlib import Path

GROUPS = json.loads((Path(__file__).resolve().parent.parent / "proof" / "groups.json").read_text())

# What is aimed at: text, goal, names of `make bench`, and whether figures meet it.
GOALS = [
    ("bucket: take, over one reading of the clock and one compare-and-swap", "at most 1.10", ["bucket_take"], lambda it: it["ratio"] <= 1.10),
    ("bucket: refusal, over one reading of the clock", "at most 2 ns more", ["bucket_refusal"], lambda it: it["value"] - it["floor"] <= 2),
    ("limiter of 4 limits: acquire and settle, over the clock and the compare-and-swaps that it needs", "at most 1.5",
     ["limiter_4_acquire_settle"], lambda it: it["ratio"] <= 1.5),
    ("two threads on one bucket, decisions over those of a mutex around the same arithmetic", "at least 2", ["two_threads_one_bucket"],
     lambda it: it["ratio"] >= 2),
    ("Python `try_acquire`, over an empty C call and the clock", "at most 1.3", ["python_try_acquire"], lambda it: it["ratio"] <= 1.3),
    ("Python `await acquire()`, over awaiting a coroutine that calls `try_acquire`", "at most 1.5", ["python_await_acquire"],
     lambda it: it["ratio"] <= 1.5),
    ("Python `import rlimit`", "less than 15 ms", ["python_import"], lambda it: it["value"] < 15),
    ("Node `tryAcquire`, over a token bucket in JavaScript on Date.now()", "at most 1.0", ["node_try_acquire"], lambda it: it["ratio"] <= 1.0),
    ("the headers of an Anthropic answer, read", "less than 1,000 ns", ["http_anthropic_headers"], lambda it: it["value"] < 1000),
    ("shared file, over own memory", "at most 1.05", ["shared_take"], lambda it: it["ratio"] <= 1.05),
    ("quota used on the real trace, told the policy: bucket, fixed minute, sliding minute", "at least 0.99, no 429",
     ["trace_bucket_rlimit_told", "trace_fixed_rlimit_told", "trace_sliding_rlimit_told"], lambda it: it["value"] >= 0.99 and it["rejected"] == 0),
    ("the same with estimates wrong by 20 %, output unknown, answers as late as in life", "at least 0.99, no 429",
     ["feedback_g_estimates", "feedback_g_estimates_fixed_window", "feedback_g_estimates_sliding"],
     lambda it: it["value"] >= 0.99 and it["rejected"] == 0),
]


def count(n):
    return format(n, ",")


def share(part, whole):
    return "%.2f %%" % (100 * part / whole) if whole else "none"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows])


# -- a section each: text from a result

def bounded(number, bounds):
    """How many programs were run through everything, and how many within a bound."""
    parts = ["%d through all" % (number - sum(n for _, n in bounds))]
    return ", ".join(parts + ["%d with at most %d preemption%s" % (n, bound, "s" * (bound > 1)) for bound, n in bounds])


def explore(it):
    return (
        "A scheduler runs programs of two or three threads on the header itself, whose atomic operations yield to it, through their interleavings "
        "(sequentially consistent; orders that differ only in operations that commute are run once). Each end is checked: never more than the "
        "limit, all or nothing, a refusal changes nothing, waits are right.\n\n%s" % table(("", "Programs", "Executions"), [
            ("interleavings", bounded(it["scenarios"], it["bounds"]), count(it["executions"])),
            ("and a thread stopped for good at each of its steps", bounded(it["kill_scenarios"], it["kill_bounds"]), count(it["kill_executions"])),
            ("faults put into the header, each to be found", it["faults"], "%d found" % it["faults_found"])]))


def sim(it):
    ends = ", ".join("%s %s" % (count(it[key]), text) for key, text in (
        ("done", "done"), ("failed", "failed"), ("cancelled", "cancelled"), ("expired", "expired in the queue"), ("never", "never admitted")) if key in it)
    return (
        "Whole clients (limiter, queue, backoff, feedback) on virtual time against simulated servers, with clocks that jump, drift or are read late, "
        "lost and late answers, failing servers, other clients, cancellations, reconfiguration, pauses, restarts. An independent log judges each "
        "admission. %s operations in %s worlds: %s requests, %s. Seed %d; a failure prints the seed that repeats it." % (
            count(it["operations"]), count(it["worlds"]), count(it["requests"]), ends, it["seed"]))


def proofs(it):
    asked = {name for group in GROUPS.values() for name in group.get("functions", ())}
    return (
        "Frama-C WP proves for all inputs that the arithmetic of these functions neither overflows where it must not nor admits above the rate, and "
        "that TAT stays bounded: %s. %d of %d goals are proved; of %d faults put into the header all but %d leave goals unproved. %s." % (
            ", ".join("`%s`" % name for name in it["functions"] if name in asked), it["proved"], it["goals"], it["faults"], it["faults"] - it["faults_found"],
            ", ".join(it["versions"])))


def vectors(it):
    return (
        "%d fixed cases (%s), and random ones of a new seed in each run, have their answers from oracles of exact rational arithmetic that share no code "
        "with the header. They run natively, with 32 bits, under sanitizers, on emulated big-endian and ARM processors, and through both bindings.\n\n%s" % (
            sum(it["cases"].values()), ", ".join("%s %d" % pair for pair in sorted(it["cases"].items())),
            table(("Language", "Tests passed", "Failed", "Skipped"), [(name, *counted) for name, counted in it["languages"].items()])))


def bindings(it):
    return (
        "Allocations that fail one after the other in every call, callbacks that throw or call back, and interpreters, workers and processes that end "
        "with waiters queued: %d tests of the Python extension passed (%d skipped), %d files of tests of the Node add-on (%d skipped)." % (
            it["python"], it["python_skipped"], it["node"], it["node_skipped"]))


def fuzz(it):
    rows = []
    for target, told in it["targets"].items():
        for tool in ("libFuzzer", "AFL++"):
            one = told[tool]
            rows.append((target, tool, one["absent"], "", "") if "absent" in one else
                        (target, tool, count(one["executions"]), count(one["edges"]), "none" if one["ok"] else "found"))
    corpora = ", ".join("%s of `tests/fuzz/%s/` (%s bytes)" % (count(told["corpus"]), target, count(told["corpus_bytes"]))
                        for target, told in it["targets"].items())
    return (
        "`http` gives any headers and bodies to `ext/rlimit_http.h`, `ops` any sequence of operations to limiters, queues and backoffs, judged by the "
        "simulator's log; both under AddressSanitizer and UndefinedBehaviorSanitizer, from the inputs that are kept: %s. %d seconds each.\n\n%s" % (
            corpora, it["seconds_each"], table(("Target", "Tool", "Executions", "Edges", "Crashes"), rows)))


def coverage(it):
    rows = [(name, "%s of %s (%s)" % (count(of["covered"]), count(of["branch_sides"]), share(of["covered"], of["branch_sides"])), of["explained"],
             len(of["unexplained"]), "" if of["mcdc_conditions"] is None else "%s of %s (%s)" % (
                 count(of["mcdc_covered"]), count(of["mcdc_conditions"]), share(of["mcdc_covered"], of["mcdc_conditions"])))
            for name, of in it["files"].items()]
    return (
        "By the C tests, the shared cases, the fuzzers' inputs, the simulator and the explorer. Goal: every side of every branch taken, or the reason in "
        "`tests/evidence/coverage.txt`. %s.\n\n%s" % (
            it["compiler"], table(("File", "Sides of branches taken", "Not taken, explained", "Not explained", "Conditions by MC/DC"), rows)))


def mutation(it):
    return (
        "%s of the %s mutants that the tool can make of `rlimit.h` and `ext/rlimit_http.h` were drawn by seed %d and each run against the tests in C: "
        "%s were killed, %d survive with a reason (in `tests/evidence/mutants.txt`, or because they only move a bound to a value that is as good), %d survive "
        "without, %d do not compile. Score %.1f %%; %.1f %% of those that are not explained (goal 95 %%)." % (
            count(it["drawn"]), count(it["mutants_in_all"]), it["seed"], count(it["killed"]), it["explained"], it["survived"], it["not_compiled"],
            it["score_percent"], it["score_without_equivalent_percent"]))


def value(it):
    unit = {"utilisation": ""}.get(it["unit"], " " + it["unit"])
    shown = "%.4f" % it["value"] if it["unit"] == "utilisation" else "%.4g" % it["value"]
    return shown + unit + ("; %d" % it["rejected"] if "rejected" in it else "")


def goals(it):
    rows = []
    for text, goal, names, meets in GOALS:
        found = [it["figures"][name] for name in names if name in it["figures"]]
        if len(found) < len(names):
            rows.append((text, goal, "not measured: there is none yet" if not found else "not measured in full", ""))
            continue
        one = found[0]
        shown = "%.4g %s over %.4g: %.2f" % (one["value"], one["unit"], one["floor"], one["ratio"])
        if one["unit"] == "utilisation":
            shown = ", ".join("%.4f with %d" % (one["value"], one["rejected"]) for one in found)
        rows.append((text, goal, shown, "yes" if all(map(meets, found)) else "**no**"))
    return table(("Figure", "Goal", "Measured", "Met"), rows)


def bench(it):
    def rows(begins, other=False):
        chosen = [(name, one) for name, one in it["figures"].items() if (not any(map(name.startswith, OTHERS))) == other and
                  (other or name.startswith(begins))]
        return [("`%s`" % name, value(one), "%.4g" % one["floor"], "%.3f" % one["ratio"]) for name, one in chosen]
    parts = []
    for title, begins in (("C", None), ("Python", "python_"), ("Node", "node_")):
        found = rows(begins, begins is None)
        if found:
            parts.append("### %s\n\n%s" % (title, table(("`make bench`", "Value", "Floor", "Ratio"), found)))
    for title, begins in (("The trace", "trace_"), ("Following the server", "feedback_")):
        found = [("`%s`" % name, "%.4f" % one["value"], "%d" % one["rejected"], "%d" % one["late"] if "late" in one else "")
                 for name, one in it["figures"].items() if name.startswith(begins)]
        if found:
            parts.append("### %s\n\n%s\n\n%s" % (title, ABOUT[begins], table(("`make bench`", "Quota used", "429s", "Avoidable"), found)))
    if it["skipped"]:
        parts.append("Skipped: " + "; ".join(it["skipped"]) + ".")
    return "\n\n".join(parts)


OTHERS = ("python_", "node_", "trace_", "feedback_")
ABOUT = {
    "trace_": "An hour of a production service (Azure, 2023) through 1,000 requests and 1,000,000 tokens a minute, all waiting at the start, each up to "
              "200 ms on its way. Quota used is the ideal time to the last admission over the real one. Beside rlimit stand the recipes that people copy.",
    "feedback_": "In closed loop against the referee (`bench/feedback.py` has what each name means): requests like those of the trace, each up to 200 ms on "
                 "its way there and back, answered within 0.5 to 4 s, without end; the worst of three seeds. Avoidable are 429s of requests that were sent "
                 "when the client had news of the last change of limits.",
}
SECTIONS = [
    ("explore", "Every interleaving, and stopped anywhere", explore, "make test"),
    ("proofs", "Arithmetic proved", proofs, "make check-long"),
    ("sim", "Simulation", sim, "make check-long"),
    ("vectors", "The same answers everywhere", vectors, "make test"),
    ("bindings", "Faults in the bindings", bindings, "make test"),
    ("fuzz", "Fuzzing", fuzz, "tests/fuzz/README.md has the commands"),
    ("coverage", "Coverage", coverage, "build/venv/bin/python tests/evidence/coverage.py"),
    ("mutation", "Mutation", mutation, "build/venv/bin/python tests/evidence/mutate.py"),
]

PAGE = """# Evidence

What was run to show that rlimit is right and how fast it is: made by `make evidence`, from what the tools printed. Nothing here is typed by
hand. The same work through other libraries: [peers.md](peers.md).

{machine}

## Goals

{goals}

{shortfall}

{sections}

## Speed

One line a figure: the value, its floor measured in the same run (for a decision a reading of the clock, and a bare compare-and-swap for each
word that must change), and the ratio. In rows of peers the value is theirs, the floor that of rlimit. {bench_note}

{bench}
"""


def shortfall(result):
    missed = [text for text, _, names, meets in GOALS
              if all(name in result["figures"] for name in names) and not all(meets(result["figures"][name]) for name in names)]
    return "Missed: %s." % "; ".join(missed) if missed else "None that was measured is missed."


def note_of(record, command):
    by = command if " " in command and not command.startswith(("make", "build")) else "`%s`" % command
    step = "" if "seconds" not in record else " %.0f s." % record["seconds"]
    return "Repeat: %s.%s" % (by, step)


def section(title, record, text, command):
    if "result" not in record:
        return "## %s\n\nNot run: %s." % (title, record["absent"])
    failed = "" if record["result"]["ok"] else "**Failed.** "
    return "## %s\n\n%s%s\n\n%s" % (title, failed, text(record["result"]), note_of(record, command))


def machine_of(records):
    seen = {}
    for name, record in records.items():
        if "machine" in record:
            it = record["machine"]
            seen.setdefault("%s, %s cores, %s (kernel %s)" % (it["processor"], it["cores"], it["system"], it["kernel"]), []).append(name)
    if len(seen) < 2:
        return "".join(seen) + "."
    return "\n".join("- %s: %s" % (text, ", ".join(names)) for text, names in seen.items())


def page_of(records):
    """The page. records: by step, {"result": what it found} or {"absent": why not}, with machine and seconds."""
    speed = records.get("bench", {"absent": "left out"})
    measured = "result" in speed
    return PAGE.format(
        machine=machine_of(records),
        goals=goals(speed["result"]) if measured else "Not measured: %s." % speed["absent"],
        shortfall=shortfall(speed["result"]) if measured else "",
        sections="\n\n".join(section(title, records.get(name, {"absent": "left out"}), text, command) for name, title, text, command in SECTIONS),
        bench_note="Repeat: `make bench`. The load when it began was %.1f." % speed["load"] if measured else "",
        bench=bench(speed["result"]) if measured else "Not measured: %s." % speed["absent"])
