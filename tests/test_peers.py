"""bench/peers: the line protocol, the arithmetic that judges, and the page made of a small stored sample. Nothing is installed or timed."""
import importlib.util
import json
import sys
from fractions import Fraction

import pytest

import toolchain as t

PEERS = t.ROOT / "bench" / "peers"


def load(name):
    spec = importlib.util.spec_from_file_location("peers_" + name, PEERS / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run, report, recipes = load("run"), load("report"), load("recipes")

DECISION = {"language": "cpp", "case": "granted", "threads": 1, "low_ns": 20.0, "high_ns": 30.0, "least_ns": 19.0, "operations": 1000,
            "rounds": 3, "clock": "a clock", "wrong": 0}
BATCH = {"policy": "bucket", "ideal_s": 8.0, "runs": 1, "cpu_s": 1.5, "peak_mb": 40.0}
SAMPLE = {
    "machine": {"processor": "A processor", "cores": 2, "system": "Linux x86_64", "kernel": "6.1"},
    "rlimit": "0.1.0", "rounds": 3, "round_ms": 10,
    "languages": {
        "cpp": {"version": "0.1.0", "toolchain": "g++ 12", "peers": {"rlimit": {"jobs": {"decide": True}}, "mutex": {"jobs": {"decide": True}}}},
        "go": {"toolchain": "go 1.26", "peers": {"uber_ratelimit": {"version": "v0.3.1", "jobs": {}, "why": "Take waits, it never refuses"}}}},
    "absent": [{"language": "java", "why": "mvn is not installed"}],
    "decide": [dict(DECISION, peer="rlimit", ns=25.0), dict(DECISION, peer="mutex", ns=22.0), dict(DECISION, peer="folly", ns=80.0),
               {"language": "node", "peer": "limiter", "case": "refused", "threads": 1, "error": "no answer"}],
    "accuracy": [
        {"language": "cpp", "peer": "rlimit", "scenario": "burst", "time": "virtual", "queue": False, "granted": 100, "ideal": 100, "excess": 0},
        {"language": "cpp", "peer": "rlimit", "scenario": "ahead", "time": "virtual", "queue": False, "granted": 698, "excess": 0,
         "silent_s": 61.0, "watched_s": 299.9},
        {"language": "node", "peer": "p_queue", "scenario": "edge", "time": "real", "queue": True, "granted": 301, "excess": 94, "took_ns": 1},
        {"language": "python", "peer": "pyrate_limiter", "scenario": "e9", "time": "virtual", "queue": False, "left_out": "too many entries"}],
    "hour": {"skipped": "no azure_llm_conv.csv.gz"},
    "batch": {"requests": 1540, "tokens": 120000, "per_period": [616, 24000], "period_s": 2.0, "repeats": 1, "workers": 128, "rows": [
        dict(BATCH, recipe="rlimit", refused=0, makespan_s=8.1, used=0.9877),
        dict(BATCH, recipe="retry_only", refused=900, makespan_s=8.05, used=0.9938, peak_mb=30.0),
        {"policy": "bucket", "recipe": "limits", "error": "not done after 120 s"}]},
}


# -- the line protocol

def test_lines():
    assert run.line_of("mutex", "decide", case="granted", threads=2, ops=10) == "mutex job=decide case=granted threads=2 ops=10"


@pytest.mark.parametrize("text", ["", "not json\n", "[1]\n", "{\"peer\": \n"])
def test_answers_that_are_none(text):
    assert set(run.parse_answer(text)) == {"error"}


def test_answers():
    assert run.parse_answer("{\"peer\": \"mutex\", \"elapsed_ns\": 5}\n") == {"peer": "mutex", "elapsed_ns": 5}


def test_cases():
    assert len(run.cases_of({"jobs": {"decide": True}})) == 4
    assert run.cases_of({"jobs": {"decide": ["granted 1", "refused 2"]}}) == [("granted", 1), ("refused", 2)]
    assert run.cases_of({"jobs": {}}) == []


def test_program_that_answers_and_one_that_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "BUILD", tmp_path)
    (tmp_path / "echo").mkdir()
    said = "import sys, json\nfor line in sys.stdin:\n    print(json.dumps({'line': line.split()}), flush=True)\n    sys.exit(0) if 'end' in line else None\n"
    program = run.Program("echo", [sys.executable, "-c", said])
    assert program.ask("list") == {"line": ["list"]}
    assert program.ask("end") == {"line": ["end"]}
    program.process.wait()
    assert program.ask("again") == {"line": ["again"]}, "started anew"
    program.close()
    silent = run.Program("echo", [sys.executable, "-c", "pass"])
    assert "error" in silent.ask("list")
    program.errors.close()
    silent.errors.close()


# -- what judges

def test_worst_excess():
    assert run.worst_excess(100, 1000, [(0, 0, 100)]) == 0
    assert run.worst_excess(100, 1000, [(0, 0, 100), (10, 10, 1)]) == 0
    assert run.worst_excess(100, 1000, [(0, 0, 100), (9, 9, 1)]) == 1
    assert run.worst_excess(100, 1000, [(950, 950, 100), (1050, 1050, 100)]) == 90, "a window's edge"
    assert run.worst_excess(100, 1000, [(0, 10, 101)]) == 0, "what was granted over a span may have been spread over it"


@pytest.mark.parametrize("seed", range(20))
def test_worst_excess_is_that_of_the_worst_span(seed):
    draw = __import__("random").Random(seed)
    amount, period, at, grants = 5, 100, 0, []
    for _ in range(30):
        at += draw.randrange(20)
        grants.append((at, at + draw.randrange(3), draw.randrange(4)))
        at = grants[-1][1]
    worst = 0
    for i in range(len(grants)):
        for j in range(i, len(grants)):
            if grants[i][2] and grants[j][2]:
                span = grants[j][1] - grants[i][0]
                worst = max(worst, sum(n for _, _, n in grants[i:j + 1]) - amount - Fraction(amount, period) * span)
    assert run.worst_excess(amount, period, grants) == -(-worst // 1), grants


def test_ideal():
    assert run.ideal_grants(100, 1000, [(0, 1000, 1), (10, 3, 1), (20, 3, 1)]) == 102
    assert run.ideal_grants(10 ** 9, 10 ** 9, [(0, 1, 10 ** 9), (10 ** 6, 2000, 1000)]) == 10 ** 9 + 10 ** 6


def test_judge():
    scenario = (100, 1000, [(0, 200, 1), (9, 5, 1)], False)
    assert run.judge(scenario, {"clock": "virtual", "grants": [[0, 0, 100], [9, 9, 1]]}) == {"granted": 101, "excess": 1, "ideal": 100}
    queued = run.judge(scenario, {"clock": "real", "grants": [[500, 500, 1], [400, 400, 1]]}, queue=True)
    assert queued == {"granted": 2, "excess": 0, "took_ns": 500}


def test_judge_counts_no_time_for_stale_readings():
    scenario = (1, 1000, [(1000, 1, 1), (0, 1, 1), (1000, 1, 1)], True)
    assert run.judge(scenario, {"clock": "virtual", "grants": [[1000, 1000, 1], [0, 0, 1], [1000, 1000, 1]]})["excess"] == 2


def test_judge_ahead():
    scenario = run.scenarios(False)["ahead"]
    silent = [[at, at, 100 if i < 2 else 0] for i, (at, _, _) in enumerate(scenario[2])]
    assert run.judge_ahead(scenario, {"grants": silent}) == {"granted": 200, "excess": 0, "silent_s": None, "watched_s": 299.9}
    busy = [[at, at, tries] for at, tries, _ in scenario[2]]
    assert run.judge_ahead(scenario, {"grants": busy})["excess"] > 1000


def test_scenarios_go_forward_in_time():
    for real in (False, True):
        for name, (amount, period, asked, back) in run.scenarios(real).items():
            assert amount > 0 and period > 0 and (back or asked == sorted(asked, key=lambda step: step[0])), name


# -- recipes

@pytest.mark.parametrize("policy", run.POLICIES)
@pytest.mark.parametrize("name", ["retry_only", "semaphore_sleep", "sliding_deque", "cookbook"])
def test_recipes_in_virtual_time(name, policy, monkeypatch):
    """A small hour: every request is admitted, not before the policy could, and twice the same."""
    costs = [50 + i % 7 for i in range(300)]

    def once():
        monkeypatch.setattr(sys, "stdin", map("{}\n".format, costs))
        return recipes.virtual(name, policy, 1, 100, 5000, 60)
    figures = once()
    assert figures == once()
    best = run.ideal_ns(policy, 100, 5000, run.MINUTE_NS, costs, recipes.START_NS) / 1e9
    assert figures["makespan_s"] >= best - 1e-3 and figures["refused"] >= 0


# -- the page

def test_page():
    text = report.page(json.loads(json.dumps(SAMPLE)))
    assert text == report.page(SAMPLE), "the same for the same results"
    for part in ("bucket under a mutex 22; rlimit 25", "mvn is not installed", "Take waits, it never refuses", "no azure_llm_conv.csv.gz",
                 "silent 61 s", "+94", "not done after 120 s", "8.10 / 8.00; 0", "less memory than rlimit (40 MB)", "A processor, 2 cores"):
        assert part in text, part
    assert "{" not in text and "None" not in text


def test_page_of_nothing():
    assert "Nowhere in these results." in report.page({})


def test_names():
    assert set(recipes.RECIPES) == set(report.RECIPES)


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    paths = report.plots(SAMPLE, tmp_path)
    assert [path.name for path in paths] == ["peers-decide.svg", "peers-batch.svg"]
    first = [path.read_bytes() for path in paths]
    report.plots(SAMPLE, tmp_path)
    assert first == [path.read_bytes() for path in paths], "the same for the same results"
    for text in first:
        assert len(text) < 100_000 and b"#808080" in text
