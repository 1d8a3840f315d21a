"""report.py - docs/peers.md and its plots, from the results of run.py.

    python bench/peers/report.py [build/peers/results.json [docs]]

The page needs nothing but Python; the plots need bench/peers/requirements.txt. Both are the same, to the byte, for the same results.
"""
import json
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LANGUAGES = {"cpp": "C and C++", "rust": "Rust", "go": "Go", "java": "Java", "python": "Python", "node": "Node"}
POLICIES = {"bucket": "token bucket", "fixed": "fixed minute", "sliding": "sliding minute"}

NAMES = {
    "clock": "(reading the clock only)", "plain": "plain bucket, no lock", "mutex": "bucket under a mutex", "folly": "Folly's algorithm",
    "rlimit": "**rlimit**", "rlimit_tsc": "**rlimit**, time stamp counter", "rlimit_coarse": "**rlimit**, coarse clock",
    "rlimit_limiter": "**rlimit** limiter, acquire and settle", "aio_rlimit": "**rlimit**, `await acquire()`", "governor": "governor",
    "governor_std_clock": "governor, std clock", "x_time_rate": "x/time/rate", "uber_ratelimit": "uber-go/ratelimit", "bucket4j": "Bucket4j",
    "bucket4j_nanoseconds": "Bucket4j, nanosecond clock", "guava": "Guava RateLimiter", "resilience4j": "Resilience4j",
    "limits_moving_window": "limits, moving window", "limits_sliding_counter": "limits, sliding counter",
    "limits_fixed_window": "limits, fixed window", "pyrate_limiter": "pyrate-limiter", "pyrate_limiter_gcra": "pyrate-limiter, GCRA",
    "throttled": "throttled-py, GCRA", "litellm_router": "LiteLLM router check", "aiolimiter": "aiolimiter, `await acquire()`",
    "limiter": "limiter", "rate_limiter_flexible": "rate-limiter-flexible", "bottleneck": "Bottleneck", "p_queue": "p-queue",
    "p_throttle": "p-throttle", "p_throttle_strict": "p-throttle, strict",
}
RECIPES = {
    "retry_only": "retry only, as the SDKs do", "semaphore_sleep": "semaphore and sleep, for the average request",
    "sliding_deque": "deque of the last period", "cookbook": "OpenAI cookbook's method, whole limit",
    "cookbook_half": "OpenAI cookbook's method, half, as advised", "aiolimiter": "aiolimiter", "limits": "limits, sliding counter",
    "pyrate_limiter": "pyrate-limiter, GCRA", "throttled": "throttled-py, GCRA", "rlimit": "**rlimit**, told limits and policy",
    "rlimit_sliding": "**rlimit**, told limits only", "rlimit_nothing": "**rlimit**, told nothing",
}
SCENARIOS = {
    "burst": "1,000 at once, of 100 a minute", "idle": "the same, and again after 30 days", "steady": "one each thousandth of a minute, for 3 minutes",
    "edge": "one, then 1,000 at 57 s and at 63 s", "day": "1 a day, three days", "e9": "10^9 a second", "7e8": "7 x 10^8 a second",
    "stale": "every second reading 5 minutes old", "ahead": "a day ahead, and back",
}
CASES = (("granted", 1), ("granted", 2), ("refused", 1), ("refused", 2))


# -- text

def figure(ns):
    """Three figures: nanoseconds without a unit, else microseconds or milliseconds."""
    unit, size = (" ms", 1e6) if ns >= 999_500 else (" us", 1e3) if ns >= 999.5 else ("", 1)
    return "%.3g%s" % (ns / size, unit)


def count(n):
    return format(n, ",")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def name_of(peer):
    return NAMES.get(peer, peer)


def is_ours(peer):
    return "rlimit" in peer and peer != "pyrate_limiter"


def plain_name(peer):
    return name_of(peer).replace("**", "").replace("`", "")


# -- machine and versions

def versions(results):
    rows = []
    for language, listed in results.get("languages", {}).items():
        seen = {}
        for peer, says in listed["peers"].items():
            if says.get("version") and not is_ours(peer):
                seen.setdefault(plain_name(peer).split(",")[0], says["version"])
        if language == "java":
            seen = results.get("java_versions", {"Bucket4j": "8.19.0", "Guava": "33.8.0", "Resilience4j": "2.4.0"})
        rows.append((LANGUAGES[language], listed.get("toolchain", ""), ", ".join("%s %s" % pair for pair in sorted(seen.items())) or "none"))
    return table(("Language", "Toolchain", "Peers"), rows)


def machine(results):
    it = results.get("machine", {})
    load = "" if "load" not in it else " The load was %.1f when it began: others' work disturbs what is timed when it is not near 0." % it["load"]
    return "%s, %s cores, %s (kernel %s); rlimit %s.%s" % (
        it.get("processor", "?"), it.get("cores", "?"), it.get("system", "?"), it.get("kernel", "?"), results.get("rlimit", "?"), load)


# -- (1) decisions

def by_case(rows):
    """{(language, peer): {(case, threads): row}}"""
    found = {}
    for row in rows:
        found.setdefault((row["language"], row["peer"]), {})[row["case"], row["threads"]] = row
    return found


def cell(row):
    if row is None:
        return ""
    if "error" in row:
        return "failed"
    mark = " (*)" if row.get("wrong") else ""
    return "%s (%s to %s)%s" % (figure(row["ns"]), figure(row["low_ns"]), figure(row["high_ns"]), mark)


def clock_of(cases):
    return next((row["clock"] for row in cases.values() if row.get("clock")), "")


def decisions(results):
    found, parts = by_case(results["decide"]), []
    for language in LANGUAGES:
        rows = [(peer, cases) for (of, peer), cases in found.items() if of == language]
        if not rows:
            continue
        rows.sort(key=lambda row: row[1].get(("granted", 1), {}).get("ns", 1e18))
        threads = any(("granted", 2) in cases for _, cases in rows)
        columns = [case for case in CASES if threads or case[1] == 1]
        head = ["Nanoseconds a decision"] + ["%s, %d thread%s" % (case, n, "s" * (n > 1)) for case, n in columns] + ["Clock"]
        parts.append("### %s\n\n%s" % (LANGUAGES[language], table(
            head, [[name_of(peer)] + [cell(cases.get(case)) for case in columns] + [clock_of(cases)] for peer, cases in rows])))
    failed = sorted({"%s (%s, %s): %s" % (plain_name(row["peer"]), LANGUAGES[row["language"]], row["case"], row["error"])
                     for row in results["decide"] if "error" in row})
    wrong = sorted({(plain_name(row["peer"]), row["case"], row["threads"]) for row in results["decide"] if row.get("wrong")})
    if wrong:
        parts.append("(*) refused some that the limit allows, or the reverse: %s." % "; ".join("%s, %s, %d threads" % one for one in wrong))
    if failed:
        parts.append("Failed: " + "; ".join(failed) + ".")
    return "\n\n".join(parts)


# -- (2) accuracy

def excess_cell(row):
    if row is None or "left_out" in row:
        return "-"
    if "error" in row:
        return "failed"
    if row["scenario"] == "ahead":
        late = "silent %g s" % row["silent_s"] if row.get("silent_s") is not None else "silent > %.0f s" % row["watched_s"]
        return late if not row["excess"] else "+%s, %s" % (count(row["excess"]), late)
    text = "+" + count(row["excess"]) if row["excess"] else "0"
    return text if row["queue"] else "%s; %s" % (text, share(row))


def share(row):
    return "%.4g %%" % (100 * row["granted"] / row["ideal"]) if row.get("ideal") else "?"


def by_peer(rows):
    found = {}
    for row in rows:
        found.setdefault((row["language"], row["peer"]), {})[row["scenario"]] = row
    return found


def accuracy(results):
    rows = []
    for (language, peer), of in by_peer(results["accuracy"]).items():
        one = next(iter(of.values()))
        rows.append(["%s (%s)" % (name_of(peer), LANGUAGES[language]), one["time"] + (", queued" if one["queue"] else "")] +
                    [excess_cell(of.get(scenario)) for scenario in SCENARIOS])
    return table(["", "time"] + list(SCENARIOS), rows)


# -- (3) the real job

def spread(row, key, text):
    low, high = row.get(key + "_span", (row[key], row[key]))
    return text % row[key] if low == high else "%s (%s to %s)" % (text % row[key], text % low, text % high)


def hour_table(part):
    rows = []
    for recipe, name in RECIPES.items():
        of = {row["policy"]: row for row in part["rows"] if row["recipe"] == recipe}
        if of:
            rows.append([name] + [job_cell(of.get(policy)) for policy in POLICIES])
    return table(["quota used; 429s"] + list(POLICIES.values()), rows)


def job_cell(row):
    if row is None:
        return ""
    if "error" in row:
        return "failed: " + row["error"]
    return "%s; %s" % (spread(row, "used", "%.4f"), spread(row, "refused", "%d"))


def batch_table(part):
    rows = []
    for recipe, name in RECIPES.items():
        of = {row["policy"]: row for row in part["rows"] if row["recipe"] == recipe}
        good = [row for row in of.values() if "error" not in row]
        if of:
            rows.append([name] + [batch_cell(of.get(policy)) for policy in POLICIES] +
                        (["%.2f" % statistics.median(row["cpu_s"] for row in good), "%.0f" % max(row["peak_mb"] for row in good)] if good
                         else ["", ""]))
    return table(["makespan / ideal, s; 429s"] + list(POLICIES.values()) + ["CPU s", "peak MB"], rows)


def batch_cell(row):
    if row is None:
        return "-"
    if "error" in row:
        return "failed: " + row["error"]
    return "%s / %.2f; %s" % (spread(row, "makespan_s", "%.2f"), row["ideal_s"], spread(row, "refused", "%d"))


# -- where a peer is better

MARGIN = 1.02  # nearer than that is the same


def faster(results):
    """Lines: who needs less for a decision than rlimit of the same language, else of C."""
    found, lines = by_case(results.get("decide", [])), []
    for case in CASES:
        for language in LANGUAGES:
            ours = found.get((language, "rlimit")) or found.get(("cpp", "rlimit"), {})
            own = ours.get(case)
            if own is None or "ns" not in own:
                continue
            better = [(row["ns"], plain_name(peer)) for (of, peer), cases in found.items() for row in [cases.get(case)]
                      if of == language and row and "ns" in row and not is_ours(peer) and peer != "clock" and row["ns"] * MARGIN < own["ns"]]
            if better:
                whose = "" if (language, "rlimit") in found else " in C"
                stamp = found.get(("cpp", "rlimit_tsc"), {}).get(case, {})
                also = ", with the time stamp counter that governor reads too %s" % figure(stamp["ns"]) if language == "rust" and "ns" in stamp else ""
                lines.append("- %s, %s, %d thread%s: %s; rlimit%s %s%s." % (
                    LANGUAGES[language], case[0], case[1], "s" * (case[1] > 1),
                    ", ".join("%s %s" % (name, figure(ns)) for ns, name in sorted(better)), whose, figure(own["ns"]), also))
    return lines


def as_exact(results):
    """Lines: who never exceeds the limit and uses as much of it; whose clock heals sooner."""
    found, lines = by_peer(results.get("accuracy", [])), []
    ours = found.get(("cpp", "rlimit"), {})
    clean = []
    for (language, peer), of in found.items():
        if is_ours(peer) or not ours:
            continue
        done = {name: row for name, row in of.items() if name != "ahead" and "granted" in row and not row["queue"]}
        if done and all(row["excess"] == 0 and row["granted"] >= ours[name]["granted"] for name, row in done.items() if row["time"] == "virtual") \
                and all(row["time"] == "virtual" for row in done.values()):
            clean.append("%s (%s)" % (plain_name(peer), LANGUAGES[language]))
    if clean:
        lines.append("- As exact as rlimit in all that they were asked but the jump: %s." % ", ".join(clean))
    own = ours.get("ahead", {}).get("silent_s")
    sooner = [("%s (%s)" % (plain_name(peer), LANGUAGES[language]), of["ahead"]["silent_s"]) for (language, peer), of in found.items()
              if not is_ours(peer) and of.get("ahead", {}).get("silent_s") is not None and (own is None or of["ahead"]["silent_s"] < own)]
    if sooner:
        lines.append("- After a clock that ran ahead and came back they grant again sooner than rlimit (%s): %s." % (
            "%g s" % own if own is not None else "not within the time watched", ", ".join("%s %g s" % one for one in sooner)))
    return lines


def job_better(part, title):
    lines = []
    for policy, name in POLICIES.items():
        of = {row["recipe"]: row for row in part["rows"] if row["policy"] == policy and "error" not in row}
        own = of.get("rlimit")
        if own is None:
            continue
        better = [(row["used"], RECIPES[recipe], row["refused"]) for recipe, row in of.items()
                  if not is_ours(recipe) and row["used"] > own["used"] + 0.0005]
        if better:
            lines.append("- %s, %s: more of the quota used than rlimit told the policy (%.4f, %d 429s): %s." % (
                title, name, own["used"], own["refused"],
                ", ".join("%s %.4f with %d" % (recipe, used, refused) for used, recipe, refused in sorted(better, reverse=True))))
    return lines


def cheaper(part):
    """Lines: who needs less CPU time or memory for the batch."""
    lines = []
    for key, text, unit in (("cpu_s", "less CPU time", "%.2f s"), ("peak_mb", "less memory", "%.0f MB")):
        means = {recipe: statistics.median(row[key] for row in part["rows"] if row["recipe"] == recipe and key in row)
                 for recipe in RECIPES if any(row["recipe"] == recipe and key in row for row in part["rows"])}
        own = means.get("rlimit")
        better = [(value, RECIPES[recipe]) for recipe, value in means.items() if own and not is_ours(recipe) and value * 1.05 < own]
        if better:
            lines.append("- The batch, %s than rlimit (%s): %s." % (
                text, unit % own, ", ".join("%s %s" % (name, unit % value) for value, name in sorted(better))))
    return lines


def better(results):
    lines = faster(results) + as_exact(results)
    for key, title in (("hour", "The hour"), ("batch", "The batch")):
        if results.get(key, {}).get("rows"):
            lines += job_better(results[key], title)
    if results.get("batch", {}).get("rows"):
        lines += cheaper(results["batch"])
    return "\n".join(lines) or "Nowhere in these results."


# -- the page

def absent(results):
    lines = ["- %s%s: %s" % (LANGUAGES[one["language"]], ", " + one["peer"] if "peer" in one else "", one["why"]) for one in results.get("absent", [])]
    why = {}
    for language, listed in results.get("languages", {}).items():
        for peer, says in listed["peers"].items():
            if says.get("why"):
                why.setdefault(says["why"], []).append("%s (%s)" % (plain_name(peer), LANGUAGES[language]))
    lines += ["- Not every case: %s: %s" % (", ".join(peers), text) for text, peers in sorted(why.items())]
    lines += sorted({"- %s (%s), `%s`: %s" % (plain_name(row["peer"]), LANGUAGES[row["language"]], row["scenario"], row["left_out"])
                     for row in results.get("accuracy", []) if row.get("left_out") and not row["queue"]})
    lines += ["- rlimit told nothing, of a fixed and a sliding minute: such a server's headers do not tell the period, which is taken for a minute; "
              "a minute is scaled here.",
              "- Node: two threads. Its limiters are objects of one thread, and the real job is done in Python."]
    for key in ("hour", "batch"):
        if results.get(key, {}).get("skipped"):
            lines.append("- The %s: %s" % (key, results[key]["skipped"]))
    return "\n".join(lines)


PAGE = """# Side by side

rlimit and the libraries that one would take instead, doing the same work on the same machine in one run. All of this page, the plots
too, is made by `make bench-peers`, which installs its peers at pinned versions into folders of their own under `build/peers`.

{machine}

{versions}

## Where a peer is better

Worked out from the figures below: any peer whose median is more than 2 % below rlimit's, or that uses more of a quota.

{better}

## Cost of a decision

One request asked of a limit of 10^9 a second (granted), or of one a day that is spent (refused). Each figure is the median of {rounds} rounds
of about {round_ms} ms, after a warm-up of a quarter of a second, with the middle half of the rounds in brackets; the rounds go round all rows of
all languages in turn. With two threads both ask the same limiter, and the figure is the time that passed for each decision of either.
Each peer reads its own default clock, named in the last column: in C the clock is most of the price. Figures are comparable within a
language; between languages the loop and its runtime differ (Go and Java call theirs through a function value). "rlimit in C" stands beside
languages that rlimit has no binding for.

![Nanoseconds a decision]({decide_svg})

{decisions}

Bottleneck, p-queue and p-throttle run tasks rather than answer: theirs is the time for a task that does nothing, of a thousand given to them together.
aiolimiter has no refusal: its is `has_capacity`. pyrate-limiter asked without blocking answers no while another thread holds its lock.

## Accuracy

Every limiter is given a quota and asked at stated times; its grants are held against exact arithmetic. The limit is that of a token
bucket, *burst + rate x span* for every span, which a sliding window satisfies too. A cell has what was granted above it in the worst span (0:
never above), then the share of what an exact bucket would have granted. Time is virtual where a peer takes a clock, or reads one that can be
replaced; otherwise real, and a minute is then a second. Peers that queue are given the same tasks, and have no share. A window grants its amount
in any period and no burst above it, so 75 % in `steady` and 91 % in the two rates are all that it may; Guava begins empty, and lets one
request of any size go ahead of its time.

{scenarios}

{accuracy}

`stale` and `ahead` put wrong readings to all whose clock could be replaced. Those that read a monotonic clock themselves (limiter,
aiolimiter, throttled-py, pyrate-limiter) do not meet them in one process; those who take the time as an argument or read the
wall clock do. `ahead` has how long nothing was granted after the clock was back.

## The real job

{hour}

{batch}

## Not measured

{absent}
"""

HOUR = """### An hour of a production service

{requests} requests, {tokens} tokens (Azure, 2023), all waiting at the start, {workers} workers, {rpm} requests and {tpm} tokens a minute; each takes up
to 200 ms to the server, which answers after 2 s. Virtual time: the code of each client is the real one, on an event loop whose clock jumps. Each cell is
the share of the quota that was used (ideal time to the last admission over the real one; the ideal is what the policy admits with no delay)
and the number of 429s: the median of {seeds} seeds, with their span.

![The hour: quota used and 429s]({svg})

{table}"""

BATCH = """### A batch of support messages over HTTP

{requests} messages of BANKING77, {tokens} tokens, through [the referee](../tests/relay/README.md), {workers} workers. Scaled so that it is done in seconds: what the
limits allow in a minute is {per_period} requests and tokens in {period_s:g} s, and every time of a recipe (pauses, backoff) is scaled likewise; the way there
takes up to 20 ms, the answer 20 to 100 ms. Time to the last admission, beside the ideal (of a fixed minute it depends on the moment at which a
run begins), and 429s; {repeats}. CPU seconds (median of the
policies) and peak memory are those of the client's process, Python, HTTP client and the {requests} bodies included.

![The batch: quota used and 429s]({svg})

{table}"""


def job_part(results, key, template, svg, make):
    part = results.get(key, {})
    if not part.get("rows"):
        return "The %s was not run: %s." % (key, part.get("skipped", "left out"))
    repeats = part.get("repeats", 1)
    return template.format(**dict(
        part, svg=svg, table=make(part), requests=count(part["requests"]), tokens=count(part["tokens"]), rpm=count(part.get("rpm", 0)),
        tpm=count(part.get("tpm", 0)), seeds=part.get("seeds", 0), period_s=part.get("period_s", 0),
        per_period=" and ".join(map(count, part.get("per_period", []))),
        repeats="one run" if repeats == 1 else "the median of %d runs, with their span" % repeats))


def page(results):
    return PAGE.format(
        machine=machine(results), versions=versions(results), better=better(results), rounds=results.get("rounds", "?"),
        round_ms=results.get("round_ms", "?"), decide_svg="peers-decide.svg",
        decisions=decisions(results) if results.get("decide") else "Not run.",
        scenarios=table(("", "What is asked"), [("`%s`" % name, text) for name, text in SCENARIOS.items()]),
        accuracy=accuracy(results) if results.get("accuracy") else "Not run.",
        hour=job_part(results, "hour", HOUR, "peers-hour.svg", hour_table),
        batch=job_part(results, "batch", BATCH, "peers-batch.svg", batch_table), absent=absent(results))


# -- plots: legible on white and on black

INK, OURS, THEIRS = "#808080", "#e8590c", "#4c8dd6"


def pyplot():
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({
        "svg.hashsalt": "rlimit", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif", "font.sans-serif": ["Helvetica", "Arial"],
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlecolor": INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "legend.frameon": False})
    import logging
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font that is not here is the reader's to find
    from matplotlib import pyplot as plot
    return plot


def save(figure_, path):
    figure_.savefig(path, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})


def plot_decisions(results, path):
    plot = pyplot()
    found = by_case(results["decide"])
    rows = []
    for language in reversed(list(LANGUAGES)):
        of = [(peer, cases) for (where, peer), cases in found.items() if where == language and peer != "clock"]
        of.sort(key=lambda row: -row[1].get(("granted", 1), {}).get("ns", 0))
        rows += [("%s   %s" % (plain_name(peer), LANGUAGES[language]), peer, cases) for peer, cases in of]
    drawing, axes = plot.subplots(figsize=(8, 0.19 * len(rows) + 1))
    for case, threads, marker in (("granted", 1, "o"), ("refused", 1, "x"), ("granted", 2, "^")):
        points = [(cases[case, threads]["ns"], i, peer) for i, (_, peer, cases) in enumerate(rows) if "ns" in cases.get((case, threads), {})]
        axes.scatter([p[0] for p in points], [p[1] for p in points], marker=marker, s=22, linewidths=1.2,
                     c=[OURS if is_ours(p[2]) else THEIRS for p in points], label="%s, %d thread%s" % (case, threads, "s" * (threads > 1)))
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    axes.set_ylim(-1, len(rows))
    axes.set_xlabel("nanoseconds a decision, median (log)")
    axes.grid(axis="x", color=INK, alpha=0.25, linewidth=0.5)
    axes.legend(fontsize=8, loc="upper right")
    save(drawing, path)
    plot.close(drawing)


def plot_job(part, path):
    """Quota used, a bar for each client; its 429s beside it."""
    plot = pyplot()
    names = [recipe for recipe in RECIPES if any(row["recipe"] == recipe for row in part["rows"])][::-1]
    drawing, panels = plot.subplots(1, len(POLICIES), sharey=True, figsize=(9, 0.3 * len(names) + 1))
    for axes, (policy, title) in zip(panels, POLICIES.items()):
        of = {row["recipe"]: row for row in part["rows"] if row["policy"] == policy and "used" in row}
        axes.barh(range(len(names)), [of[name]["used"] if name in of else 0 for name in names], height=0.6,
                  color=[OURS if is_ours(name) else THEIRS for name in names])
        for i, name in enumerate(names):
            if name in of:
                refused = of[name]["refused"]
                axes.text(1.04, i, "429s: %s" % count(refused), va="center", fontsize=7)
        axes.set_xlim(0, 1)
        axes.set_title(title)
        axes.set_xlabel("quota used")
    panels[0].set_yticks(range(len(names)), [RECIPES[name].replace("**", "") for name in names], fontsize=7)
    drawing.subplots_adjust(wspace=0.42)
    save(drawing, path)
    plot.close(drawing)


def plots(results, folder):
    """Writes those that the results suffice for; returns their paths."""
    made = []
    if results.get("decide"):
        made.append(folder / "peers-decide.svg")
        plot_decisions(results, made[-1])
    for key in ("hour", "batch"):
        if results.get(key, {}).get("rows"):
            made.append(folder / ("peers-%s.svg" % key))
            plot_job(results[key], made[-1])
    return made


def main():
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "peers" / "results.json"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs"
    results = json.loads(source.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.md").write_text(page(results))
    for path in plots(results, folder):
        print("peers: %s, %d bytes" % (path.name, path.stat().st_size))


if __name__ == "__main__":
    main()
