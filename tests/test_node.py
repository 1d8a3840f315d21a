"""The Node package: its own tests, by Node's test runner, and its examples, against the referee."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import toolchain as t

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "python"))
from python.test_examples import CHAT, LAST_ANSWER, MESSAGES, PER_SECOND, STREAMS, cap_held, completes, no_429, referee, says  # noqa: E402, F401

EXAMPLES = t.ROOT / "examples" / "node"
TESTS = t.ROOT / "tests" / "node"
TIMEOUT_S = 600


@pytest.fixture(scope="session")
def node():
    """Node, if it is here and what its tests need was installed by tests/setup.sh."""
    path = shutil.which("node")
    if path is None:
        t.absent("node is not installed")
    if not (TESTS / "node_modules" / "rlimit").exists():
        t.absent("tests/node/node_modules is not there: tests/setup.sh test")
    return path


def run(command, **options):
    environment = dict(os.environ, PYTHON=sys.executable, **options.pop("environment", {}))
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
                          timeout=TIMEOUT_S, env=environment, **options)


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.test.*js")), ids=lambda path: path.name)
def test_file(path, node):
    done = run([node, "--expose-gc", "--test", "--test-reporter=tap", path], cwd=t.ROOT)
    assert done.returncode == 0, done.stdout[-20000:]
    assert int(re.search(r"^# pass (\d+)$", done.stdout, re.M).group(1)) > 0, done.stdout


# -- The examples --

FAULTS = [r"^%s +3 attempts, answered$" % fault for fault in ("500", "529", "429=0.2", "drop")]
EXAMPLES_BY_NAME = {  # what each is to say; the referee's options, if it needs one; its arguments
    "requests_and_tokens.mjs": (completes(40, r"^ticket .* waited [1-9]"), dict(PER_SECOND, rpm=600, tpm=120_000)),
    "sliding_window.mjs": (says(r"^at  2 s: admitted\nat  3 s: wait 7 s\nat 10 s: admitted$"),),
    "concurrency_cap.mjs": (cap_held, {"concurrency": 4, "latency_ms": (5, 50)}),
    "daily_and_monthly.mjs": (says(r"^requests: 1 of 1000 used, anew in [\d.]+ hours$", r"^microdollars: 9500 of 50000000 used"),
                              None, "state.json"),
    "tiers_and_models.mjs": (says(
        r"^free +requests: perMinute\(5\), tokens: perMinute\(10000\), concurrency: 1$", r"^enterprise ",
        r"^large +anthropic at https://relay",
        r"limits_wrong.toml:\d+: tiers.standard.tokens_per_minut = 80000: unknown key; did you mean 'tokens_per_minute'\?$",
        r"limits_wrong.toml:\d+: tiers.standard.requests_per_minute = 0: must be a whole number, 1 to 2\^40$",
        r"limits_wrong.toml:\d+: models.large.api_key = \(not shown\): a secret does not belong in the file",
        r"limits_wrong.toml:\d+: models.large.base_url = \"relay.example.com\": must be a URL"),),
    "estimate_then_settle.mjs": (completes(12, r"^20 tokens by characters, \d+ by words$", r"^estimated 21 \+ 200 tokens, used 21 \+ "),
                                 dict(PER_SECOND, rpm=1200, tpm=60_000, charge="actual")),
    "check_first.mjs": (says(r"^\{ inputTokens: 1000 \} now$", r"because of inputTokens", r"because of outputTokens",
                             r"^tryAcquire: admitted$", r"^never: .*inputTokens"),),
    "priority_queue.mjs": (says(r"queue is full", r"^alarm", r"^chat", r"^ticket 1", r"^ticket 2", r"^report 1", r"^report 2"),),
    "backoff_delays.mjs": (says(r"^none +1.00   2.00   4.00   8.00  16.00  32.00$",
                                r"^rate_limit +normal 6000 high 5000 told to wait 17 s: 17000$",
                                r"^server +normal 500 high 250", r"^fatal +normal null"),),
    "retry_faults.mjs": (completes(4, *FAULTS, r"^quota +1 attempts, failed", r"^401 +1 attempts, failed"), {}),
    "quota_status.mjs": (says(r"^requests +(1\d|2[01]) of 50 used", r"^requests +21 of 5000 used", r"^tokens +\d+ of 80000 used",
                              r"^concurrency +1 of 10 used, 9 remain$", r"^1 active, 0 queued, 21 requests in the last minute$"),),
    "budget_guard.mjs": (says(r"^large: 0.0840 dollars, 0.0840 of 1.00 spent$", r"large: 0.1650 dollars is more than a tenth",
                              r"^small: ", r"^warning: 80 % of the budget is spent$", r"more than is left\nsmall: "),),
    "health_alerts.mjs": (says(r"^warning: tokens, 75 % used$", r"^critical: tokens, 94 % used$", r"^ok: tokens, 44 % used$"),),
    "fallback_models.mjs": (says(r"^request  0: large$", r"^request  1: medium$", r"^request  2: large$", r"medium",
                                 r"^request 11: small$"),),
    "batch.mjs": (completes(300, r"^300 done, 0 failed$"), dict(PER_SECOND, rpm=6000, tpm=600_000, concurrency=20), "results.jsonl"),
    "openai_plain.mjs": (completes(40, LAST_ANSWER), CHAT),
    "openai_streaming.mjs": (completes(40, LAST_ANSWER), STREAMS),
    "anthropic_plain.mjs": (completes(40, LAST_ANSWER), MESSAGES),
    "anthropic_streaming.mjs": (completes(40, LAST_ANSWER), MESSAGES),
    "fetch_requests.mjs": (completes(40, LAST_ANSWER), CHAT),
    "undici_requests.mjs": (completes(40, LAST_ANSWER), CHAT),
    "vercel_ai.mjs": (completes(40, LAST_ANSWER), CHAT),
    "demo.mjs": (says(r"^result usual_429s=[1-9]\d* limited_429s=0$"),),
}


def run_example(node, name, folder, url=None):
    if not (EXAMPLES / "node_modules" / "rlimit").exists():
        t.absent("examples/node/node_modules is not there: tests/setup.sh test")
    options = (EXAMPLES_BY_NAME[name] + (None, None))[2]
    environment = {} if url is None else {"OPENAI_BASE_URL": url + "/v1", "ANTHROPIC_BASE_URL": url, "OPENAI_API_KEY": "k",
                                          "ANTHROPIC_API_KEY": "k"}
    done = run([node, "--unhandled-rejections=strict", EXAMPLES / name] + ([folder / options] if options else []), cwd=folder,
               environment=environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES_BY_NAME)
def test_an_example_runs(name, node, tmp_path, referee):  # noqa: F811
    check, options = (EXAMPLES_BY_NAME[name] + (None,))[:2]
    if options is None:
        check(run_example(node, name, tmp_path), None)
        return
    relay = referee(**options)
    output = run_example(node, name, tmp_path, relay.url)
    check(output, no_429(relay))


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.mjs")} == set(EXAMPLES_BY_NAME)


@pytest.mark.parametrize("name", EXAMPLES_BY_NAME)
def test_an_example_says_what_it_shows(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    head = text[:text.index("\nimport ")]
    assert text.startswith("// ") and "node " + name in head
    assert max(map(len, text.splitlines())) <= 130


def test_the_day_goes_on_after_a_restart(node, tmp_path):
    run_example(node, "daily_and_monthly.mjs", tmp_path)
    says(r"^requests: 2 of 1000 used", r"^microdollars: 19000 of ")(run_example(node, "daily_and_monthly.mjs", tmp_path), None)


# -- README.md --

BLOCKS = re.findall(r"^```js\n(.*?)^```", (t.ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_readme_block(index, node, tmp_path, referee):  # noqa: F811
    """Runs as it stands, against the limits that it names."""
    relay = referee(rpm=50, itpm=80_000, otpm=16_000, concurrency=10)
    (tmp_path / "node_modules").symlink_to(TESTS / "node_modules")
    (tmp_path / "block.mjs").write_text(BLOCKS[index], encoding="utf-8")
    environment = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": relay.url}
    done = run([node, tmp_path / "block.mjs"], cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout
    total = relay.total
    assert sum(total["refused"].values()) == 0
    assert total["completed"] == total["received"] == (40 if "Promise.all" in BLOCKS[index] else 0)


def test_readme_has_blocks():
    assert len(BLOCKS) >= 2
