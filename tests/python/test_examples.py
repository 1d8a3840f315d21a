"""Every example under examples/python runs as it stands; where one talks to a server, the referee counts what it refused."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from relay.thread import referee  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "python"
TIMEOUT_S = 240


# -- What each is to say --

def says(*patterns):
    """A check: the output has a match of each, in this order."""
    def check(output, total):
        at = 0
        for pattern in patterns:
            found = re.compile(pattern, re.M).search(output, at)
            assert found, "%r is not in, or not in this order:\n%s" % (pattern, output)
            at = found.end()
    return check


def completes(n, *patterns):
    """A check: the referee completed n requests, and the output is as says() wants it."""
    def check(output, total):
        assert total["completed"] == n, total
        says(*patterns)(output, total)
    return check


def cap_held(output, total):
    assert total["max_in_flight"] <= 4 and total["completed"] + total["client_gone"] == 40, total
    says(r"^answered: 32$", r"^given up: 8$", r"^in flight at the end: 0$")(output, total)


class Example:
    """referee: the options it needs, None if it needs none. arguments may name files of a scratch folder."""

    def __init__(self, check, referee=None, arguments=(), environment=None, needs=()):
        self.check, self.referee, self.arguments, self.needs = check, referee, arguments, needs
        self.environment = environment or {}


PER_SECOND = {"period": 1, "network_ms": (0, 20), "latency_ms": (5, 50)}
CHAT = dict(PER_SECOND, rpm=1800, tpm=300_000)  # 30 and 5000 a second: told by the headers only
STREAMS = {"rpm": 500, "tpm": 30_000, "concurrency": 20, "latency_ms": (5, 50), "charge": "actual"}  # as the example says
MESSAGES = {"rpm": 600, "latency_ms": (5, 50), "charge": "actual"}
LAST_ANSWER = r"^What is 39 times 40\? \w+ [0-9a-f]{16}$"

EXAMPLES_BY_NAME = {
    "requests_and_tokens.py": Example(completes(40, r"^ticket .* waited [1-9]"), dict(PER_SECOND, rpm=600, tpm=120_000),
                                      needs=["aiohttp"]),
    "sliding_window.py": Example(says(r"^at  2 s: admitted\nat  3 s: wait 7 s\nat 10 s: admitted$")),
    "concurrency_cap.py": Example(cap_held, {"concurrency": 4, "latency_ms": (5, 50)}, needs=["httpx"]),
    "daily_and_monthly.py": Example(says(r"^requests: 1 of 1000 used, anew in [\d.]+ hours$",
                                         r"^microdollars: 9500 of 50000000 used"), arguments=["state.json"]),
    "tiers_and_models.py": Example(says(
        r"^free +requests=per_minute\(5\), tokens=per_minute\(10000\), concurrency=1$", r"^enterprise ",
        r"^large +anthropic at https://relay",
        r"^limits_wrong.toml:\d+: tiers.standard.tokens_per_minut = 80000: unknown key; did you mean 'tokens_per_minute'\?$",
        r"^limits_wrong.toml:\d+: tiers.standard.requests_per_minute = 0: must be a whole number, 1 to 2\^40$",
        r"^limits_wrong.toml:\d+: models.large.api_key = \(not shown\): a secret does not belong in the file",
        r"^limits_wrong.toml:\d+: models.large.base_url = \"relay.example.com\": must be a URL")),
    "estimate_then_settle.py": Example(completes(12, r"^20 tokens by characters, \d+ by words$",
                                                 r"^estimated 21 \+ 200 tokens, used 21 \+ "),
                                       dict(PER_SECOND, rpm=1200, tpm=60_000, charge="actual"), needs=["httpx"]),
    "check_first.py": Example(says(r"^\{'input_tokens': 1000\}: now$", r"because of input_tokens",
                                   r"because of output_tokens", r"^try_acquire: admitted$", r"^never: .*input_tokens")),
    "priority_queue.py": Example(says(r"queue is full", r"^alarm", r"^chat", r"^ticket 1", r"^ticket 2", r"^report 1",
                                      r"^report 2")),
    "backoff_delays.py": Example(says(r"^none +1.00   2.00   4.00   8.00  16.00  32.00$",
                                      r"^rate_limit +normal 6.0, high 5.0, told to wait 17 s: 17.0$",
                                      r"^server +normal 0.5, high 0.25", r"^fatal +normal None")),
    "retry_faults.py": Example(completes(4,
                                         *[r"^%s +3 attempts, answered$" % fault
                                           for fault in ("500", "529", "429=0.2", "drop")],
                                         r"^quota +1 attempts, failed", r"^401 +1 attempts, failed"), {}, needs=["httpx"]),
    "quota_status.py": Example(says(r"^requests +(1\d|2[01]) of +50 used", r"^requests +21 of +5000 used",
                                    r"^tokens +\d+ of +80000 used", r"^concurrency +1 of +10 used, +9 remain$",
                                    r"^1 active, 0 queued, 21 requests in the last minute$")),
    "budget_guard.py": Example(says(r"^large: 0.0840 dollars, 0.0840 of 1.00 spent$",
                                    r"large: 0.1650 dollars is more than a tenth", r"^small: ",
                                    r"^warning: 80 % of the budget is spent$", r"more than is left\nsmall: ")),
    "health_alerts.py": Example(says(r"^WARNING warning: tokens, 75 % used$", r"^CRITICAL critical: tokens, 94 % used$",
                                     r"^WARNING ok: tokens, 44 % used$")),
    "fallback_models.py": Example(says(r"^request  0: large$", r"^request  1: medium$", r"^request  2: large$", r"medium",
                                       r"^request 11: small$", r"^large, then small$")),
    "batch.py": Example(completes(300, r"^300 done, 0 failed$"), dict(PER_SECOND, rpm=6000, tpm=600_000, concurrency=20),
                        arguments=["results.jsonl"], needs=["httpx"]),
    "openai_plain.py": Example(completes(40, LAST_ANSWER), CHAT, needs=["openai"]),
    "openai_streaming.py": Example(completes(40, LAST_ANSWER), STREAMS, needs=["openai"]),
    "anthropic_plain.py": Example(completes(40, LAST_ANSWER), MESSAGES, needs=["anthropic"]),
    "anthropic_streaming.py": Example(completes(40, LAST_ANSWER), MESSAGES, needs=["anthropic"]),
    "langchain_batch.py": Example(completes(40, LAST_ANSWER), CHAT, needs=["langchain_openai"]),
    "aiohttp_requests.py": Example(completes(40, LAST_ANSWER), CHAT, needs=["aiohttp"]),
    "requests_session.py": Example(completes(20, r"^What is 19 times 20\? \w+ [0-9a-f]{16}$"), CHAT, needs=["requests"]),
    "demo.py": Example(says(r"^result usual_429s=[1-9]\d* limited_429s=0$"), needs=["openai", "anthropic", "aiohttp"]),
}


# -- Running them --

def run(name, folder, url=None):
    example = EXAMPLES_BY_NAME[name]
    for library in example.needs:
        pytest.importorskip(library)
    environment = dict(os.environ, **example.environment)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None,
                                                       [str(ROOT / "bindings" / "python"), environment.get("PYTHONPATH")]))
    if url is not None:
        environment.update(OPENAI_BASE_URL=url + "/v1", ANTHROPIC_BASE_URL=url, OPENAI_API_KEY="k",
                           ANTHROPIC_API_KEY="k")
    arguments = [str(folder / argument) for argument in example.arguments]
    done = subprocess.run([sys.executable, "-W", "error::ResourceWarning", str(EXAMPLES / name), *arguments], cwd=folder,
                          env=environment, timeout=TIMEOUT_S,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def no_429(relay):
    total = relay.settled_in(None)
    assert sum(total["refused"].values()) == 0, total
    return total


@pytest.mark.parametrize("name", EXAMPLES_BY_NAME)
def test_an_example_runs(name, tmp_path, referee):
    example = EXAMPLES_BY_NAME[name]
    if example.referee is None:
        example.check(run(name, tmp_path), None)
        return
    relay = referee(**example.referee)
    output = run(name, tmp_path, relay.url)
    example.check(output, no_429(relay))


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXAMPLES_BY_NAME)


@pytest.mark.parametrize("name", EXAMPLES_BY_NAME)
def test_an_example_says_what_it_shows(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert text.startswith('"""') and "python " + name in text.split('"""')[1]
    assert max(map(len, text.splitlines())) <= 125


def test_the_day_goes_on_after_a_restart(tmp_path):
    run("daily_and_monthly.py", tmp_path)
    says(r"^requests: 2 of 1000 used", r"^microdollars: 19000 of ")(run("daily_and_monthly.py", tmp_path), None)


def test_a_batch_goes_on_after_a_crash(tmp_path, referee):
    """Of a run that ended in the middle of a line, only what is missing is sent again."""
    example = EXAMPLES_BY_NAME["batch.py"]
    relay = referee(**example.referee)
    run("batch.py", tmp_path, relay.url)
    results = tmp_path / "results.jsonl"
    lines = results.read_text().splitlines()
    results.write_text("\n".join(lines[:100]) + "\n" + lines[100][:20])
    relay.call("/_reset", {})
    output = run("batch.py", tmp_path, relay.url)
    completes(200, r"^300 done, 0 failed$")(output, no_429(relay))
    numbers = []
    for line in results.read_text().splitlines():
        try:
            numbers.append(json.loads(line)["number"])
        except ValueError:
            pass
    assert sorted(numbers) == list(range(300))
