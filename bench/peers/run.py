"""run.py - the same work through rlimit and its peers, interleaved in one run; `make bench-peers`.

    python bench/peers/run.py [--jobs decide,accuracy,hour,batch] [--only cpp,go,...] [--output build/peers/results.json]

Each language has one small program that is started once and takes a line for each measurement, so that rounds go round all peers:

    NAME job=decide case=granted|refused threads=1 ops=N
        -> {"peer": NAME, "elapsed_ns": N, "operations": N, "granted": N, "clock": "what was read"}
    NAME job=accuracy amount=N period_ns=N base_ns=N steps=AT:TRIES:COST,...
        -> {"peer": NAME, "clock": "virtual" | "real", "grants": [[FROM_NS, TO_NS, AMOUNT], ...]}
    list
        -> {"version": of the language, "peers": {NAME: {"version": ..., "jobs": {"decide": true | ["granted 1", ...],
           "accuracy": "virtual" | "real" | "virtual queue" | "real queue"}, "weights": true, "why": ...}}}

or {"error": "..."}. Peers are installed, at the versions pinned here, into folders of their own under build/peers. A language
whose tools are absent is left out, and the results say so. recipes.py does the real job, as asyncio clients.
"""
import argparse
import csv
import gzip
import hashlib
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "peers"
SECOND_NS = 10 ** 9
MINUTE_NS, DAY_NS = 60 * SECOND_NS, 86_400 * SECOND_NS
ROUNDS, ROUND_MS, WARM_MS = 31, 10, 250
JOBS = ("decide", "accuracy", "hour", "batch")
POLICIES = ("bucket", "fixed", "sliding")


def say(text):
    print("peers: " + text, flush=True)


# -- languages: how each is built, and started

class Missing(Exception):
    """A language cannot be measured, and why."""


def run(command, folder, **environment):
    done = subprocess.run(list(map(str, command)), cwd=folder, env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise Missing("%s: %s" % (command[0], " ".join(done.stdout.split())[-300:]))


def tool(name, *places):
    found = shutil.which(name) or next((str(place) for place in places if Path(place).exists()), None)
    if found is None:
        raise Missing("%s is not installed" % name)
    return found


def version_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def build_cpp(source, folder):
    compiler = tool(os.environ.get("CXX", "g++"))
    run([compiler, "-O2", "-std=c++20", "-Wall", "-Wextra", "-pthread", "-I", ROOT, source / "peer.cpp", "-o", folder / "peer"], folder)
    return [folder / "peer"], version_of([compiler, "--version"]) + " -O2"


def build_rust(source, folder):
    cargo = tool("cargo", Path.home() / ".cargo" / "bin" / "cargo")
    run([cargo, "build", "--release", "--locked", "--quiet"], folder)
    return [folder / "target" / "release" / "peer"], version_of([Path(cargo).with_name("rustc"), "--version"]) + ", release, lto"


def build_go(source, folder):
    go = tool("go", "/usr/local/go/bin/go")
    run([go, "build", "-mod=readonly", "-o", "peer", "."], folder)
    return [folder / "peer"], version_of([go, "version"])


def build_java(source, folder):
    java, maven = tool("java"), tool("mvn")
    run([maven, "-q", "-B", "package", "dependency:copy-dependencies"], folder)
    return [java, "-cp", "target/classes" + os.pathsep + "target/dependency/*", "Peer"], version_of([java, "-version"])


def build_node(source, folder):
    node, npm = tool("node"), tool("npm")
    run([npm, "install", "--no-audit", "--no-fund", "--package-lock=false"], folder)
    addon = ROOT / "bindings" / "node"
    return [node, "peer.js"] + ([addon / "index.js"] if (addon / "index.js").exists() else []), "Node " + version_of([node, "--version"])


def build_python(source, folder):
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", folder / "venv"], folder)
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", source / "requirements.txt"], folder)
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
         "--force-reinstall", ROOT], folder)
    return [python, "peer.py"], "CPython " + platform.python_version()


LANGUAGES = {"cpp": ("C and C++", build_cpp), "rust": ("Rust", build_rust), "go": ("Go", build_go), "java": ("Java", build_java),
             "python": ("Python", build_python), "node": ("Node", build_node)}


def newest_of(folders):
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so":
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


USES = {"cpp": ["rlimit.h"], "python": ["rlimit.h", "ext", "bindings/python/_rlimit.c", "bindings/python/rlimit", "setup.py", "pyproject.toml"],
        "node": ["bindings/node/index.js"]}


def prepare(name):
    """The command and the version of a language's program, built if what it is made of has changed."""
    source, folder = HERE / name, BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    made_of = newest_of([source] + [ROOT / path for path in USES.get(name, ()) if (ROOT / path).exists()])
    stamp = folder / ".built.json"
    if stamp.exists():
        built = json.loads(stamp.read_text())
        if built["of"] == made_of:
            return built["command"], built["version"]
    say("building %s" % name)
    shutil.copytree(source, folder, dirs_exist_ok=True)
    command, version = LANGUAGES[name][1](source, folder)
    stamp.write_text(json.dumps({"of": made_of, "command": list(map(str, command)), "version": version}))
    return list(map(str, command)), version


# -- programs

class Program:
    """A language's program, and its answers."""

    def __init__(self, name, command):
        self.name, self.command, self.process = name, command, None
        self.errors = open(BUILD / name / "stderr.txt", "w")

    def start(self):
        self.process = subprocess.Popen(self.command, cwd=BUILD / self.name, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)

    def ask(self, line, timeout_s=120):
        """The answer to a line; an error is an answer too."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        timer = threading.Timer(timeout_s, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            text = self.process.stdout.readline()
        except BrokenPipeError:
            text = ""
        finally:
            timer.cancel()
        if not text:
            self.process.kill()
            self.process.wait()
            return {"error": "no answer within %d s, or it ended" % timeout_s}
        return parse_answer(text)

    def restart(self):
        self.close()
        self.start()

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def parse_answer(text):
    try:
        answer = json.loads(text)
    except ValueError:
        return {"error": "not JSON: %s" % text.strip()[:100]}
    return answer if isinstance(answer, dict) else {"error": "not an object: %s" % text.strip()[:100]}


def line_of(name, job, **fields):
    return " ".join([name, "job=" + job] + ["%s=%s" % (key, value) for key, value in fields.items()])


# -- (1) what a decision costs

def cases_of(says):
    """[(case, threads)] that a peer says it can do."""
    can = says.get("jobs", {}).get("decide")
    if can is True:
        can = ["granted 1", "granted 2", "refused 1", "refused 2"]
    return [(case.split()[0], int(case.split()[1])) for case in can or ()]


def right(answer):
    """Whether what was to be granted was, and nothing else."""
    return answer["granted"] == (answer["operations"] if answer["case"] == "granted" else 0)


class Decision:
    """One row: a peer, a case, a number of threads."""

    def __init__(self, program, peer, case, threads):
        self.program, self.peer, self.case, self.threads = program, peer, case, threads
        self.ops, self.values, self.clock, self.error, self.wrong = 8, [], "", "", 0

    def once(self):
        answer = self.program.ask(line_of(self.peer, "decide", case=self.case, threads=self.threads, ops=self.ops))
        if "error" in answer:
            self.error = answer["error"]
            return None
        self.clock = answer["clock"]
        self.wrong += not right(dict(answer, case=self.case))
        return answer["elapsed_ns"]

    def calibrate(self):
        """Warms it up, and finds how many decisions take ROUND_MS when it is warm."""
        spent_ns, best_ns = 0, None
        while spent_ns < WARM_MS * 10 ** 6:
            took_ns = self.once()
            if took_ns is None:
                return
            spent_ns += max(took_ns, 1)
            if took_ns < ROUND_MS * 10 ** 6 / 10:  # too short to tell
                self.ops *= 4
                continue
            each_ns = took_ns / self.ops
            best_ns = each_ns if best_ns is None else min(best_ns, each_ns)
            self.ops = max(min(self.ops * 4, int(ROUND_MS * 10 ** 6 / best_ns)), 1)
        self.wrong = 0

    def round(self):
        took_ns = None if self.error else self.once()
        if took_ns is not None:
            self.values.append(took_ns / (self.ops * self.threads))

    def row(self):
        row = {"language": self.program.name, "peer": self.peer, "case": self.case, "threads": self.threads}
        if self.error or not self.values:
            return dict(row, error=self.error or "no values")
        low, middle, high = statistics.quantiles(self.values, n=4, method="inclusive") if len(self.values) > 1 else self.values * 3
        return dict(row, ns=round(middle, 3), low_ns=round(low, 3), high_ns=round(high, 3), least_ns=round(min(self.values), 3),
                    operations=self.ops, rounds=len(self.values), clock=self.clock, wrong=self.wrong)


def decide(programs, listed, rounds):
    rows = [Decision(program, peer, case, threads) for name, program in programs.items()
            for peer, says in listed[name]["peers"].items() for case, threads in cases_of(says)]
    for row in rows:
        row.calibrate()
    for i in range(rounds):
        order = rows[i % len(rows):] + rows[:i % len(rows)]
        if i % 2:
            order.reverse()
        for row in order:
            row.round()
        say("decisions: round %d of %d" % (i + 1, rounds))
    return [row.row() for row in rows]


# -- (2) accuracy: grants against the exact limit

def steps(start_ns, end_ns, every_ns, tries=1, cost=1):
    return [(at, tries, cost) for at in range(start_ns, end_ns, every_ns)]


def scenarios(real):
    """{name: (amount, period_ns, steps, back)}: steps are (at_ns, tries, cost); back: the clock goes back in it. In real time the
    period is a second, and what would take days is left out."""
    period, ms = (SECOND_NS, SECOND_NS // 1000) if real else (MINUTE_NS, MINUTE_NS // 1000)
    made = {
        "burst": (100, period, [(0, 1000, 1)], False),
        "idle": (100, period, [(0, 1000, 1), (period * 5 // 2 if real else 30 * DAY_NS + 1000 * SECOND_NS, 1000, 1)], False),
        "steady": (100, period, steps(0, 3 * period, ms), False),
        "edge": (100, period, [(0, 1, 1), (period * 95 // 100, 1000, 1), (period * 105 // 100, 1000, 1)], False),
        "e9": (10 ** 9, SECOND_NS, [(0, 1, 10 ** 9)] + steps(SECOND_NS // 1000, SECOND_NS // 10, SECOND_NS // 1000, 2000, 1000), False),
        "7e8": (7 * 10 ** 8, SECOND_NS, [(0, 1, 7 * 10 ** 8)] + steps(SECOND_NS // 1000, SECOND_NS // 10, SECOND_NS // 1000, 2000, 1000), False),
    }
    if not real:
        second = SECOND_NS
        made["day"] = (1, DAY_NS, [(at, 3, 1) for n in range(3) for at in
                                   (n * DAY_NS + n * second, n * DAY_NS + DAY_NS // 2, (n + 1) * DAY_NS - second)], False)
        at = 600 * second
        made["stale"] = (100, MINUTE_NS, [(at, 1000, 1)] + [(at + i * second // 100 - (i % 2) * 300 * second, 1, 1) for i in range(2000)], True)
        made["ahead"] = (100, MINUTE_NS, [(0, 1000, 1), (DAY_NS + 1000 * second, 1000, 1)] + steps(second, 300 * second, second // 10), True)
    return made


def worst_excess(amount, period_ns, grants):
    """The most that was granted in any span above amount + amount/period * span: exactly. grants: [from_ns, to_ns, n] in order.

    With S the sum before a grant, the excess of i..j is (S_j + n_j - r*to_j) - (S_i - r*from_i) - amount."""
    rate, total, least, worst = Fraction(amount, period_ns), 0, None, Fraction(0)
    for from_ns, to_ns, n in grants:
        if n == 0:
            continue
        here = total - rate * from_ns
        least = here if least is None or here < least else least
        total += n
        worst = max(worst, total - rate * to_ns - least - amount)
    return int(worst) if worst == int(worst) else int(worst) + 1


def ideal_grants(amount, period_ns, asked):
    """What an exact bucket of the whole limit grants at these times. asked: [(at_ns, tries, cost)] in order of time."""
    level, at, granted = Fraction(amount), None, 0
    for at_ns, tries, cost in asked:
        if at is not None and at_ns > at:
            level = min(Fraction(amount), level + Fraction(amount, period_ns) * (at_ns - at))
        at = at_ns if at is None else max(at, at_ns)
        n = min(tries, int(level // cost))
        level -= n * cost
        granted += n * cost
    return granted


def judge(scenario, answer, queue=False):
    """The figures of one scenario: granted, what an exact bucket grants, and the worst excess.

    Where the clock goes back the time that really passed is the newest reading: nothing may be granted for the rest. A queue runs all of
    what it is given, later: only its excess counts, and how long it took."""
    amount, period_ns, asked, back = scenario
    grants = answer["grants"]
    figures = {"granted": sum(n for _, _, n in grants)}
    if back:
        newest, seen = 0, []
        for from_ns, _, n in grants:
            newest = max(newest, from_ns)
            seen.append([newest, newest, n])
        figures["excess"] = worst_excess(amount, period_ns, seen)
    else:
        figures["excess"] = worst_excess(amount, period_ns, sorted(grants))
    if queue:
        last_ns = max((to for _, to, _ in grants), default=0)
        figures["took_ns"] = last_ns
    elif answer["clock"] == "real":  # the tries of a step spread over its time
        figures["ideal"] = ideal_grants(amount, period_ns, [(to, tries, cost) for (_, to, _), (_, tries, cost) in zip(grants, asked)])
    else:
        figures["ideal"] = ideal_grants(amount, period_ns, asked)
    return figures


def judge_ahead(scenario, answer):
    """A clock that jumped a day ahead and came back: what it granted above a burst for the jump and the quota of the time that really
    passed, and how long it granted nothing after the clock was back."""
    amount, period_ns, asked, _ = scenario
    grants = answer["grants"]
    later = [(at, n) for (at, _, _), (_, _, n) in zip(asked[2:], grants[2:])]
    first = next((at for at, n in later if n), None)
    total = sum(n for _, _, n in grants)
    return {"granted": total, "excess": max(total - 2 * amount - amount * asked[-1][0] // period_ns, 0),
            "silent_s": None if first is None else first / 1e9, "watched_s": later[-1][0] / 1e9}


BASE_NS = 10 * DAY_NS  # of the virtual clock: as of a machine that has been up for ten days
UNIX_NS = 1_700_000_000 * SECOND_NS + 11 * SECOND_NS


def scenario_fits(name, says):
    if name in ("e9", "7e8"):
        if not says.get("weights"):
            return "no weights"
        if says.get("entries"):
            return "keeps an entry for each token: 10^9 do not fit into memory"
    if name == "day" and says.get("minute"):
        return "minutes only"
    return ""


def accuracy_of(program, peer, says):
    kind = says["jobs"]["accuracy"].split()
    rows = []
    for name, scenario in scenarios(kind[0] == "real").items():
        queue = "queue" in kind
        row = {"language": program.name, "peer": peer, "scenario": name, "time": kind[0], "queue": queue}
        why = scenario_fits(name, says)
        if queue and name not in ("burst", "steady", "edge", "idle"):
            why = "it queues: no clock of ours, no weights"
        if why:
            rows.append(dict(row, left_out=why))
            continue
        amount, period_ns, asked, _ = scenario
        if queue:  # all that is asked is run: less of it
            asked = [(at, min(tries, 150), cost) for at, tries, cost in asked]
            if name == "steady":
                asked = [(0, 350, 1)]
            scenario = (amount, period_ns, asked, False)
        base = UNIX_NS if says.get("clock") == "Date.now" or peer.startswith(("limits", "litellm")) else BASE_NS
        answer = program.ask(line_of(peer, "accuracy", amount=amount, period_ns=period_ns, base_ns=base,
                                     steps=",".join("%d:%d:%d" % step for step in asked)), timeout_s=180)
        if "error" in answer:
            rows.append(dict(row, error=answer["error"]))
        elif name == "ahead":
            rows.append(dict(row, **judge_ahead(scenario, answer)))
        else:
            rows.append(dict(row, **judge(scenario, answer, queue)))
    return rows


def accuracy(programs, listed):
    rows = []
    for name, program in programs.items():
        program.restart()
        for peer, says in listed[name]["peers"].items():
            if says.get("jobs", {}).get("accuracy"):
                say("accuracy: %s %s" % (name, peer))
                rows += accuracy_of(program, peer, says)
        program.restart()  # clocks were replaced
    return rows


# -- (3) the real job

def recipes_run(name, arguments, text, timeout_s):
    """recipes.py in a process of its own, in the Python of the peers."""
    python = BUILD / "python" / "venv" / "bin" / "python"
    try:
        done = subprocess.run([str(python), str(HERE / "recipes.py"), name, *map(str, arguments)], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"error": "not done after %d s" % timeout_s}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["ended with status %d" % done.returncode])[-1][:200]}
    return parse_answer(lines[-1])


def recipe_names():
    sys.path.insert(0, str(HERE))
    import recipes
    return recipes


def ideal_ns(policy, requests, tokens, period_ns, costs, start_ns):
    """When the last is admitted if each is sent, in order, the moment the server would take it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from relay.policies import POLICIES as ALL, Gate
    gate, now_ns = Gate({"requests": ALL[policy](requests, period_ns), "tokens": ALL[policy](tokens, period_ns)}), start_ns
    for n in costs:
        while True:
            permit, _, wait_ns = gate.offer((1, n), now_ns)
            if permit:
                break
            now_ns += wait_ns
    return now_ns - start_ns


HOUR_REQUESTS, HOUR_TOKENS, HOUR_SEEDS = 1_000, 1_000_000, (1, 2, 3)


def hour(data):
    """The hour of a production service, all of it waiting at the start, in virtual time."""
    path = data / "azure_llm_conv.csv.gz"
    if not path.exists():
        return {"skipped": "no azure_llm_conv.csv.gz"}
    with gzip.open(path, "rt", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        costs = [int(row[1]) + int(row[2]) for row in rows if row]
    text, recipes, results = "\n".join(map(str, costs)), recipe_names(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # nothing is timed here
        for policy in POLICIES:
            best = ideal_ns(policy, HOUR_REQUESTS, HOUR_TOKENS, MINUTE_NS, costs, recipes.START_NS) / 1e9
            runs = {name: [pool.submit(recipes_run, name, ["virtual", policy, seed, HOUR_REQUESTS, HOUR_TOKENS, 60], text, 300)
                           for seed in HOUR_SEEDS] for name in recipes.RECIPES if name not in recipes.REAL_ONLY}
            for name, waiting in runs.items():
                results.append(dict(summary([one.result() for one in waiting], best), recipe=name, policy=policy))
                say("hour: %s %s %s" % (policy, name, results[-1].get("refused")))
    return {"requests": len(costs), "tokens": sum(costs), "rpm": HOUR_REQUESTS, "tpm": HOUR_TOKENS, "seeds": len(HOUR_SEEDS),
            "workers": recipes.WORKERS["virtual"], "rows": results}


def summary(runs, best_s):
    """Medians, and the span of the runs."""
    bad = [run["error"] for run in runs if "error" in run]
    if bad:
        return {"error": bad[0]}
    made = {"ideal_s": round(best_s, 3), "runs": len(runs)}
    for key, digits in (("refused", 0), ("makespan_s", 3), ("used", 4), ("cpu_s", 3), ("peak_mb", 1)):
        for one in runs:
            if key == "used":
                one.setdefault("used", best_s / one["makespan_s"])
        values = [one[key] for one in runs if key in one]
        if values:
            made[key] = round(statistics.median(values), digits) if digits else int(statistics.median(values))
            made[key + "_span"] = [round(min(values), digits), round(max(values), digits)]
    return made


BATCH_PERIOD_S, BATCH_PERIODS, BATCH_MAX_TOKENS, BATCH_GIVE_UP_S = 4.0, 3, 64, 60


def batch_requests(data):
    """Every second message of BANKING77's test set, as chat completions with what the referee charges for each."""
    with gzip.open(data / "banking77_test.csv.gz", "rt", newline="", encoding="utf-8") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)][::2]
    return [{"body": {"model": "m", "max_tokens": BATCH_MAX_TOKENS, "messages": [{"role": "user", "content": text}]},
             "tokens": (len(text) + 3) // 4 + BATCH_MAX_TOKENS} for text in texts]


class Referee:
    """tests/relay, in a process of its own."""

    def __init__(self, folder, policy, requests, tokens):
        port_file = Path(folder) / ("port-" + policy)
        per_minute = 60 / BATCH_PERIOD_S
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "--port", "0", "--port-file", str(port_file), "--policy", policy, "--rpm",
             str(int(requests * per_minute)), "--tpm", str(int(tokens * per_minute)), "--period", str(BATCH_PERIOD_S),
             "--latency-ms", "20:100", "--network-ms", "0:20", "--default-output", str(BATCH_MAX_TOKENS)],
            cwd=ROOT / "tests", stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 20
        while not port_file.exists():
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.process.kill()
                raise SystemExit("peers: the referee did not start")
            time.sleep(0.02)
        self.url = "http://127.0.0.1:" + port_file.read_text().strip()

    def stats(self):
        with urllib.request.urlopen(self.url + "/_stats", timeout=30) as answer:
            return json.load(answer)["total"]

    def reset(self):
        urllib.request.urlopen(urllib.request.Request(self.url + "/_reset", method="POST"), timeout=30).close()

    def close(self):
        self.process.terminate()
        self.process.wait()


def batch_once(referee, name, policy, requests, tokens, items, text):
    referee.reset()
    figures = recipes_run(name, ["real", policy, requests, tokens, BATCH_PERIOD_S, referee.url], text, BATCH_GIVE_UP_S)
    if "error" in figures:
        return figures
    seen = referee.stats()
    best = ideal_ns(policy, requests, tokens, round(BATCH_PERIOD_S * 1e9), [item["tokens"] for item in items], figures["began_ns"]) / 1e9
    makespan = (seen["last_ns"] - figures["began_ns"]) / 1e9
    if seen["completed"] != len(items):
        return {"error": "completed %d of %d" % (seen["completed"], len(items))}
    return {"refused": sum(seen["refused"].values()), "makespan_s": makespan, "used": best / makespan, "ideal_s": best,
            "cpu_s": figures["cpu_s"], "peak_mb": figures["peak_kb"] / 1024}


def batch(data, repeats):
    """A batch of real support messages over HTTP against the referee; a minute of the limits is BATCH_PERIOD_S of the run."""
    if not (data / "banking77_test.csv.gz").exists():
        return {"skipped": "no banking77_test.csv.gz"}
    items, recipes, results = batch_requests(data), recipe_names(), []
    total = sum(item["tokens"] for item in items)
    tokens, requests = total // BATCH_PERIODS, 2 * len(items) // BATCH_PERIODS
    text = "\n".join(map(json.dumps, items))
    with tempfile.TemporaryDirectory() as folder:
        for policy in POLICIES:
            referee = Referee(folder, policy, requests, tokens)
            runs = {name: [] for name in recipes.RECIPES if policy == "bucket" or name not in recipes.BUCKET_ONLY}
            try:
                for i in range(repeats):
                    for name in random.Random(i).sample(sorted(runs), len(runs)):
                        runs[name].append(batch_once(referee, name, policy, requests, tokens, items, text))
                        say("batch: %s %s %s" % (policy, name, runs[name][-1].get("refused", runs[name][-1])))
            finally:
                referee.close()
            for name, all_runs in runs.items():
                best = statistics.median([one.get("ideal_s", 0) for one in all_runs])
                results.append(dict(summary(all_runs, best), recipe=name, policy=policy))
    return {"requests": len(items), "tokens": total, "per_period": [requests, tokens], "period_s": BATCH_PERIOD_S, "repeats": repeats,
            "workers": recipes.WORKERS["real"], "rows": results}


# -- the whole

def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor()) \
        if os.path.exists("/proc/cpuinfo") else platform.processor()
    return {"processor": model, "cores": os.cpu_count(), "system": "%s %s" % (platform.system(), platform.machine()),
            "kernel": platform.release().split("-")[0], "load": os.getloadavg()[0]}


def header_version():
    for line in open(ROOT / "rlimit.h"):
        if line.startswith("#define RLM_VERSION"):
            return line.split('"')[1]
    return ""


def set_up(only):
    """Programs that answer, what they list, and why others do not."""
    programs, listed, absent = {}, {}, []
    for name in LANGUAGES:
        if only and name not in only:
            continue
        try:
            command, version = prepare(name)
        except Missing as error:
            absent.append({"language": name, "why": str(error)})
            say("%s is not measured: %s" % (name, error))
            continue
        program = Program(name, command)
        answer = program.ask("list")
        if "error" in answer:
            absent.append({"language": name, "why": answer["error"]})
            continue
        for peer, why in answer.get("absent", {}).items():
            absent.append({"language": name, "peer": peer, "why": why})
        answer["toolchain"] = version
        programs[name], listed[name] = program, answer
    return programs, listed, absent


def report(results):
    """By a Python of its own: it alone needs what the plots are made with."""
    folder = BUILD / "report"
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", folder / "venv"], BUILD)
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"], folder)
    subprocess.run([str(python), str(HERE / "report.py"), str(results)], check=True)


def store(results, path):
    path.write_text(json.dumps(results, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description="rlimit and its peers, side by side.")
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--only", default="", help="languages: " + ",".join(LANGUAGES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--repeats", type=int, default=1, help="of the batch")
    parser.add_argument("--report", action="store_true", help="write docs/peers.md and its plots too")
    parser.add_argument("--output", type=Path, default=BUILD / "results.json")
    args = parser.parse_args()
    jobs, only = args.jobs.split(","), [name for name in args.only.split(",") if name]
    if set(jobs) - set(JOBS) or set(only) - set(LANGUAGES):
        parser.error("jobs: %s; languages: %s" % (",".join(JOBS), ",".join(LANGUAGES)))
    data = Path(os.environ.get("DATA") or ROOT / ".." / "shared" / "data")
    began = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    results = json.loads(args.output.read_text()) if args.output.exists() else {}  # jobs that are not run again stay
    programs, listed, absent = set_up(only)
    try:
        results.update(machine=machine(), rlimit=header_version(), rounds=args.rounds, round_ms=ROUND_MS)
        results["languages"] = {**(results.get("languages", {}) if only else {}), **listed}
        results["absent"] = absent
        if "decide" in jobs:
            results["decide"] = decide(programs, listed, args.rounds)
            store(results, args.output)
        if "accuracy" in jobs:
            results["accuracy"] = accuracy(programs, listed)
            store(results, args.output)
    finally:
        for program in programs.values():
            program.close()
    if "python" in programs or not only:
        if "hour" in jobs:
            results["hour"] = hour(data)
            store(results, args.output)
        if "batch" in jobs:
            results["batch"] = batch(data, args.repeats)
    results.setdefault("minutes", {}).update({args.jobs: round((time.monotonic() - began) / 60, 1)})
    store(results, args.output)
    say("%s, after %.1f minutes" % (os.path.relpath(args.output), (time.monotonic() - began) / 60))
    if args.report:
        report(args.output)


if __name__ == "__main__":
    main()
