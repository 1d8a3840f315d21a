"""examples/batch.c against the referee. BATCH names the binary, build/batch if it is not set."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

TESTS = os.path.dirname(os.path.abspath(__file__))
BATCH = os.path.abspath(os.environ.get("BATCH") or os.path.join(TESTS, "..", "build", "batch"))
DEADLINE_S = 60

pytestmark = pytest.mark.skipif(not os.path.exists(BATCH), reason="%s is not built" % BATCH)

FAST = ["--model", "m", "--max-tokens", "16", "--guard-ms", "50", "--quiet"]


def until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "waited %d s for %s" % (DEADLINE_S, what)
        time.sleep(0.005)


class Referee:
    def __init__(self, folder, *options):
        port_file = folder / ("port%d" % len(list(folder.iterdir())))
        self.process = subprocess.Popen([sys.executable, "-m", "relay", "--port", "0", "--port-file", str(port_file),
                                         *map(str, options)], cwd=TESTS, stdout=subprocess.DEVNULL)
        until(lambda: port_file.exists() or self.process.poll() is not None, "the referee")
        assert self.process.poll() is None, "the referee did not start"
        self.url = "http://127.0.0.1:%d" % int(port_file.read_text())

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def stats(self):
        return self.call("/_stats")

    def fault(self, kind, **fields):
        self.call("/_faults", dict(fields, kind=kind))

    def limits(self, **limits):
        self.call("/_limits", limits)

    def clear_faults(self):
        self.call("/_faults", method="DELETE")

    def reset(self):
        self.call("/_reset", {}, "POST")


@pytest.fixture
def referee(tmp_path):
    started = []

    def start(*options):
        started.append(Referee(tmp_path, *options))
        return started[-1]
    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


class Files:
    """INPUT, OUTPUT and the runs between them."""

    def __init__(self, folder):
        self.input, self.output, self.stats = folder / "in.jsonl", folder / "out.jsonl", folder / "stats.json"
        self.piped = False

    def write(self, lines):
        self.input.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))

    def prompts(self, count):
        self.write({"custom_id": "id-%d" % n, "prompt": "question %d" % n} for n in range(1, count + 1))

    def command(self, url, *options):
        return [BATCH, *FAST, "--url", url, "--stats-json", str(self.stats), *map(str, options), str(self.input),
                str(self.output)]

    def start(self, url, *options, key="k"):
        command = self.command(url, *options)
        if self.piped:
            command[-2] = "-"
        with open(self.input if self.piped else os.devnull) as file:
            return subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=dict(os.environ, OPENAI_API_KEY=key))

    def run(self, url, *options, key="k"):
        self.stats.unlink(missing_ok=True)
        process = self.start(url, *options, key=key)
        out, err = process.communicate(timeout=DEADLINE_S)
        counts = json.loads(self.stats.read_text()) if self.stats.exists() else None
        return Run(process.returncode, out, err, counts)

    def lines(self):
        """How many whole results there are now."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def results(self):
        text = self.output.read_text()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


class Run:
    def __init__(self, code, out, err, counts):
        self.code, self.out, self.err, self.counts = code, out, err, counts

    def __repr__(self):
        return "exit %s\n%s\n%s" % (self.code, self.out, self.err)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def each_once(results, count):
    assert sorted(result["line"] for result in results) == list(range(1, count + 1))
    assert {result["custom_id"] for result in results} == {"id-%d" % n for n in range(1, count + 1)}


# What is sent and what is written.

def test_result_lines_and_summary(referee, files):
    files.write([{"custom_id": "a", "prompt": "hé \"x\" \u0000"},
                 "",
                 {"prompt": "no id"},
                 {"custom_id": "body", "method": "POST", "url": "/v1/chat/completions",
                  "body": {"model": "other", "max_tokens": 5, "temperature": 0.7,
                           "messages": [{"role": "user", "content": [{"type": "text", "text": "12345"}]}]}}])
    relay = referee()
    run = files.run(relay.url)
    assert run.code == 0, run
    results = {result["custom_id"]: result for result in files.results()}
    assert sorted(results) == ["a", "body", "line-3"]
    assert {name: result["line"] for name, result in results.items()} == {"a": 1, "line-3": 3, "body": 4}
    for result in results.values():
        assert list(result) == ["custom_id", "line", "status", "attempts", "response", "error"]
        assert (result["status"], result["attempts"], result["error"]) == (200, 1, None)
    assert results["body"]["response"]["model"] == "other"
    assert results["body"]["response"]["usage"]["prompt_tokens"] == 2
    assert run.out.splitlines()[-1].startswith("result requests=3 completed=3 failed=0 rejected=0 seconds=")
    assert run.counts["tokens"] == sum(result["response"]["usage"]["total_tokens"] for result in results.values())
    assert run.counts["tokens_estimated"] == relay.stats()["total"]["charged"]["tokens"]


def test_standard_input(referee, files):
    relay = referee()
    command = files.command(relay.url)
    command[-2] = "-"
    done = subprocess.run(command, input='{"prompt": "a"}\n\n{"prompt": "b"}', capture_output=True, text=True,
                          env=dict(os.environ, OPENAI_API_KEY="k"), timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert sorted(result["line"] for result in files.results()) == [1, 3]


# Limits.

@pytest.mark.parametrize("server, policy", [
    ("bucket", "bucket"), ("sliding", "window"), ("fixed", "fixed"),
    ("bucket", "unknown"), ("sliding", "unknown"), ("fixed", "unknown")])
def test_no_429(referee, files, server, policy):
    files.prompts(90)
    limits = ["--rpm", 1200, "--tpm", 36000, "--period", 2, "--concurrency", 8]  # 40 and 1200 in 2 s
    relay = referee("--policy", server, *limits, "--latency-ms", "5:50", "--network-ms", "0:40")
    run = files.run(relay.url, *limits, "--policy", policy, "--guard-ms", 400)
    assert run.code == 0, run
    total = relay.stats()["total"]
    assert run.counts["rejected"] == 0 and sum(total["refused"].values()) == 0
    assert total["received"] == run.counts["attempts"] == 90
    assert total["over_limit"] == 0 and total["max_in_flight"] <= 8
    each_once(files.results(), 90)


def test_charge_actual(referee, files):
    files.prompts(60)
    limits = ["--tpm", 30000, "--period", 1, "--concurrency", 8, "--charge", "actual"]
    relay = referee(*limits, "--latency-ms", "5:20")
    run = files.run(relay.url, *limits)
    assert run.code == 0 and run.counts["rejected"] == 0, run
    assert relay.stats()["total"]["charged"]["tokens"] == run.counts["tokens"] < run.counts["tokens_estimated"]


def test_request_larger_than_a_limit(referee, files):
    files.write([{"prompt": "a"}, {"custom_id": "big", "prompt": "x" * 4000}, {"prompt": "b"}])
    relay = referee("--tpm", 900)
    run = files.run(relay.url, "--tpm", 900)
    assert run.code == 1, run
    (big,) = [result for result in files.results() if result["error"]]
    assert (big["custom_id"], big["attempts"], big["error"]["code"]) == ("big", 0, "larger_than_limit")
    assert "tokens" in big["error"]["message"]
    assert relay.stats()["total"]["received"] == 2


def test_without_limits_it_is_refused_and_retried(referee, files):
    files.prompts(40)
    relay = referee("--rpm", 1200, "--period", 1)
    run = files.run(relay.url, "--no-limit", "--retries", 100)
    assert run.code == 0, run
    assert run.counts["rejected"] == sum(relay.stats()["total"]["refused"].values()) > 0
    assert run.counts["wasted"] == run.counts["attempts"] - 40 == run.counts["rejected"]


# Failures.

def test_faults_are_retried_and_nothing_is_sent_unseen(referee, files):
    files.prompts(120)
    relay = referee("--concurrency", 8, "--latency-ms", "1:5")
    for kind in ("500", "502", "529", "408", "drop", "drop_after", "drop_mid", "529_after"):
        relay.fault(kind, rate=0.04)
    relay.fault("429", value=0.01, every=17)
    run = files.run(relay.url, "--concurrency", 8, "--seed", 7)
    assert run.code == 0, run
    each_once(files.results(), 120)
    total = relay.stats()["total"]
    assert total["received"] == run.counts["attempts"], "libcurl must not send again by itself"
    assert run.counts["retried"] == run.counts["wasted"] == run.counts["attempts"] - 120 > 0
    assert total["faults"]["drop"] > 0 and run.counts["rejected"] == total["faults"]["429"]
    assert total["refused"]["concurrency"] == 0
    assert relay.stats()["completed_by_client_id"]["duplicates"] == 0
    assert sum(result["attempts"] for result in files.results()) == run.counts["attempts"]


def test_timeout(referee, files):
    files.prompts(3)
    relay = referee("--concurrency", 2)
    relay.fault("delay", value=30, count=1)
    run = files.run(relay.url, "--concurrency", 2, "--timeout", 0.5)
    assert run.code == 0, run
    assert run.counts["retried"] == 1
    assert relay.stats()["total"]["refused"]["concurrency"] == 0


def test_retry_after_is_kept(referee, files):
    files.prompts(1)
    relay = referee()
    relay.fault("429", value=0.7, count=2)
    run = files.run(relay.url)
    assert run.code == 0 and run.counts["rejected"] == 2, run
    assert 1.4 <= run.counts["seconds"] < 5  # the schedule's own would be 5 s and more


def test_absurd_retry_after_is_cut(referee, files):
    files.prompts(1)
    relay = referee()
    relay.fault("429", count=1)
    relay.fault("retry_after_absurd", value="86400")
    run = files.run(relay.url, "--retry-after-max", 0.6)
    assert run.code == 0 and run.counts["rejected"] == 1 and 0.6 <= run.counts["seconds"] < 5, run


# Limits that are not given.

def learned(run):
    return {found["limit"]: (found["amount"], found["period_s"]) for found in run.counts["learned"]}


def test_limits_are_learned(referee, files):
    files.prompts(100)
    relay = referee("--rpm", 1200, "--tpm", 36000, "--period", 2, "--latency-ms", "5:50", "--network-ms", "0:40")
    run = files.run(relay.url)
    assert run.code == 0 and run.counts["rejected"] == 0, run
    found = learned(run)
    assert found["requests"][0] == 40 and found["requests"][1] == pytest.approx(2, rel=0.1)
    assert found["tokens"][0] == 1200 and found["tokens"][1] == pytest.approx(2, rel=0.1)
    assert "learned requests=40 in 2" in run.out


@pytest.mark.parametrize("given, other", [("--rpm", "tokens"), ("--tpm", "requests")])
def test_a_limit_that_is_not_given_is_learned(referee, files, given, other):
    files.prompts(100)
    limits = {"--rpm": 1200, "--tpm": 36000}
    relay = referee(*[word for name in limits for word in (name, limits[name])], "--period", 2, "--latency-ms", "5:50")
    run = files.run(relay.url, given, limits[given], "--period", 2)
    assert run.code == 0 and run.counts["rejected"] == 0, run
    assert set(learned(run)) - {"concurrency"} == {other}, run


@pytest.mark.parametrize("provider", ["gemini", "openrouter"])
def test_a_refusal_that_names_what_the_provider_should_not_have(referee, files, provider):
    files.prompts(100)
    relay = referee("--rpm", 6000, "--tpm", 36000, "--period", 2, "--latency-ms", "5:50")
    run = files.run(relay.url, "--provider", provider, "--period", 2)
    assert run.code == 0 and run.counts["rejected"] <= 64, run      # those in flight when it begins, not each that follows


@pytest.mark.parametrize("policy", ["window", "fixed"])
def test_the_period_given_is_that_of_learned_limits(referee, files, policy):
    files.prompts(30)
    relay = referee("--rpm", 600, "--period", 2, "--policy", "sliding" if policy == "window" else "fixed")
    run = files.run(relay.url, "--policy", policy, "--period", 2)
    assert run.code == 0 and run.counts["rejected"] == 0, run
    assert learned(run)["requests"] == (20, 2), run


def test_nothing_learned_is_said_of_what_did_not_move(referee, files):
    files.prompts(3)
    run = files.run(referee().url)
    assert run.code == 0 and learned(run) == {} and "learned" not in run.out, run


def test_a_cap_that_is_not_known_costs_no_minute(referee, files):
    files.prompts(12)
    relay = referee("--concurrency", 1)
    run = files.run(relay.url)
    assert run.code == 0 and run.counts["rejected"] <= 8, run
    assert all(result["attempts"] < 8 for result in files.results())


def test_places_that_others_hold_cost_few_attempts(referee, files):
    """A request of somebody else holds the only place for some seconds: the retries of one's own are not burnt on it."""
    files.prompts(6)
    relay = referee("--concurrency", 1)
    relay.fault("delay", value=6, count=1)
    body = {"model": "m", "messages": [{"role": "user", "content": "long"}]}
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    other = threading.Thread(target=lambda: urllib.request.urlopen(urllib.request.Request(
        relay.url + "/v1/chat/completions", json.dumps(body).encode(), headers), timeout=DEADLINE_S).read())
    other.start()
    until(lambda: relay.stats()["total"]["in_flight"] == 1, "the other request")
    run = files.run(relay.url, "--concurrency", 1)
    other.join()
    assert run.code == 0 and run.counts["rejected"] <= 10, run


@pytest.mark.parametrize("mode, amount", [("shrink", 40), ("follow", 40), ("fixed", None)])
def test_a_limit_given_too_high(referee, files, mode, amount):
    files.prompts(90)
    relay = referee("--rpm", 1200, "--period", 2, "--concurrency", 4, "--latency-ms", "5:50")
    run = files.run(relay.url, "--rpm", 2400, "--period", 2, "--concurrency", 4, "--follow", mode)
    assert run.code == 0, run
    each_once(files.results(), 90)
    assert run.counts["rejected"] <= 1, run
    assert learned(run).get("requests", (None,))[0] == amount


def test_a_limit_given_too_low_is_followed_only_if_told(referee, files):
    files.prompts(60)
    relay = referee("--rpm", 1200, "--period", 2)
    run = files.run(relay.url, "--rpm", 600, "--period", 2, "--follow", "follow")
    assert run.code == 0 and run.counts["rejected"] == 0 and learned(run)["requests"][0] == 40, run
    files.output.unlink()
    relay.reset()
    run = files.run(relay.url, "--rpm", 600, "--period", 2)
    assert run.code == 0 and run.counts["rejected"] == 0 and "requests" not in learned(run), run


def test_limits_that_change(referee, files):
    files.prompts(400)
    relay = referee("--rpm", 2400, "--period", 2, "--latency-ms", "5:50")
    process = files.start(relay.url)
    until(lambda: relay.stats()["total"]["completed"] > 120, "120 completed")
    relay.limits(rpm=4800)
    until(lambda: relay.stats()["total"]["completed"] > 240, "240 completed")
    relay.limits(rpm=1200)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    total = relay.stats()["total"]
    assert total["completed"] == 400 and sum(total["refused"].values()) <= 2, total


def test_slow_down(referee, files):
    files.prompts(40)
    relay = referee("--latency-ms", "5:50")
    relay.fault("503", skip=10, count=1)
    run = files.run(relay.url, "--concurrency", 4)
    assert run.code == 0 and run.counts["retried"] == 1, run
    assert "ramp" in learned(run), run
    files.output.unlink()
    relay.reset()
    relay.fault("503", skip=10, count=1)
    run = files.run(relay.url, "--concurrency", 4, "--ramp", 0)
    assert run.code == 0 and "ramp" not in learned(run), run


def test_retries_exhausted(referee, files):
    files.prompts(2)
    relay = referee()
    relay.fault("500")
    run = files.run(relay.url, "--retries", 1)
    assert run.code == 1, run
    for result in files.results():
        assert (result["status"], result["attempts"], result["error"]["code"]) == (500, 2, "http_500")
        assert result["response"]["error"]["type"] == "server_error"


def test_not_retried(referee, files):
    files.prompts(5)
    relay = referee()
    relay.fault("400", count=2)
    run = files.run(relay.url)
    assert run.code == 1, run
    assert relay.stats()["total"]["received"] == run.counts["attempts"] == 5
    assert (run.counts["completed"], run.counts["failed"]) == (3, 2)


def test_nobody_listens(referee, files):
    files.prompts(2)
    relay = referee()
    relay.process.kill()
    relay.process.wait()
    run = files.run(relay.url, "--retries", 1)
    assert run.code == 3 and "cannot be reached" in run.err, run
    assert run.err.count("not reached, trying again: ") == 1, run
    assert files.results() == [], "they are sent by the next run"


# Runs that are not permitted.

def test_wrong_key_stops_the_run(referee, files):
    files.prompts(200)
    relay = referee("--keys", "good", "--latency-ms", "5:10")
    run = files.run(relay.url, "--concurrency", 4, key="bad")
    assert run.code == 3, run
    assert "Incorrect API key" in run.err and "0 of 200 finished" in run.err
    assert files.results() == [] and relay.stats()["total"]["unauthorized"] <= 4
    run = files.run(relay.url, key="good")
    assert run.code == 0, run
    each_once(files.results(), 200)


@pytest.mark.parametrize("kind", ["quota", "403"])
def test_spent_quota_stops_the_run(referee, files, kind):
    files.prompts(100)
    relay = referee("--latency-ms", "1:5")
    relay.fault(kind, skip=30)
    run = files.run(relay.url, "--concurrency", 4)
    assert run.code == 3, run
    assert 30 <= len(files.results()) < 100 and all(result["error"] is None for result in files.results())
    assert relay.stats()["total"]["received"] <= 34
    relay.clear_faults()
    assert files.run(relay.url).code == 0
    each_once(files.results(), 100)


# Going on.

@pytest.mark.parametrize("piped", [False, True])
def test_kill_and_go_on(referee, files, piped):
    files.piped = piped
    files.prompts(300)
    relay = referee("--concurrency", 8, "--latency-ms", "5:30")
    finished = 0
    for least in (60, 150):
        process = files.start(relay.url, "--concurrency", 8)
        until(lambda: files.lines() >= least or process.poll() is not None, "%d results" % least)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        total = relay.stats()
        assert total["seen_client_ids"] <= 300 - finished
        finished = files.lines()
        relay.reset()  # from here on the referee sees only what is sent from here on
    run = files.run(relay.url, "--concurrency", 8)
    assert run.code == 0, run
    each_once(files.results(), 300)
    seen = relay.stats()
    assert seen["seen_client_ids"] == 300 - finished, "what was finished is not sent again"
    assert seen["total"]["received"] == run.counts["attempts"] == 300 - finished
    assert (run.counts["completed"], run.counts["earlier"]) == (300, finished)


def test_killed_run_leaves_no_429(referee, files):
    files.prompts(150)
    limits = ["--tpm", 90000, "--period", 1, "--concurrency", 8]
    relay = referee(*limits, "--latency-ms", "5:30")
    process = files.start(relay.url, *limits)
    until(lambda: files.lines() >= 80, "80 results")
    process.kill()
    process.communicate()
    until(lambda: relay.stats()["total"]["in_flight"] == 0, "the referee to see the connections close")
    run = files.run(relay.url, *limits)
    assert run.code == 0, run
    assert relay.stats()["total"]["refused"]["tokens"] == 0, "the quota that the killed run used is not used again"


@pytest.mark.parametrize("torn", [b'{"custom_id":"id-9","li', b"{", b"\0" * 5000, b'{"custom_id":"id-9","line":9,"error":null}'],
                         ids=["in the middle", "one byte", "never written", "no newline"])
def test_torn_last_line(referee, files, torn):
    files.prompts(12)
    relay = referee()
    assert files.run(relay.url).code == 0
    kept = [line for line in files.output.read_bytes().splitlines(True) if json.loads(line)["line"] <= 5]
    files.output.write_bytes(b"".join(kept) + torn)
    relay.reset()
    run = files.run(relay.url, "--start", "full")
    assert run.code == 0, run
    each_once(files.results(), 12)
    assert relay.stats()["seen_client_ids"] == 7


@pytest.mark.parametrize("text", ['{"my":"own"}', "line one\nline two", '{"custom_id":"a","prompt":"b"}\n{"custom_id":"c","pr'])
def test_a_file_of_somebody_else_is_left_alone(referee, files, text):
    files.prompts(2)
    files.output.write_text(text)
    run = files.run(referee().url)
    assert run.code == 2, run
    assert files.output.read_text() == text


def test_parameters_beside_a_prompt_are_refused(referee, files):
    files.input.write_text('{"prompt":"x","max_tokens":3}\n')
    run = files.run(referee().url)
    assert run.code == 2 and '"max_tokens" beside "prompt"' in run.err, run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_waits_for_what_is_in_flight(referee, files, number):
    files.prompts(300)
    relay = referee("--latency-ms", "20:60")
    process = files.start(relay.url, "--concurrency", 6)
    until(lambda: files.lines() >= 20, "20 results")
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4, err
    assert "the same command goes on" in err and out.splitlines()[-1].startswith("result requests=300 completed=")
    assert relay.stats()["total"]["received"] == relay.stats()["total"]["completed"] == files.lines() < 300
    assert files.run(relay.url).code == 0
    each_once(files.results(), 300)
    assert relay.stats()["completed_by_client_id"]["max"] == 1


def test_second_signal_does_not_wait(referee, files):
    files.prompts(20)
    relay = referee()
    relay.fault("delay", value=1000)
    process = files.start(relay.url, "--rpm", 60000, "--tpm", 10**9, "--concurrency", 4)
    until(lambda: relay.stats()["total"]["in_flight"] == 4, "4 in flight")
    process.send_signal(signal.SIGTERM)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4 and files.results() == []


def test_failed_are_sent_again_when_asked(referee, files):
    files.prompts(30)
    relay = referee()
    relay.fault("400", every=6)
    run = files.run(relay.url)
    assert run.code == 1 and run.counts["failed"] == 5, run
    relay.clear_faults()
    relay.reset()
    run = files.run(relay.url)
    assert run.code == 1 and run.counts["attempts"] == 0, "an error is a result"
    run = files.run(relay.url, "--retry-failed")
    assert run.code == 0, run
    each_once(files.results(), 30)
    assert relay.stats()["seen_client_ids"] == 5
    assert not os.path.exists(str(files.output) + ".previous")


def test_kill_while_failed_are_sent_again(referee, files):
    files.prompts(100)
    relay = referee("--latency-ms", "10:20")
    relay.fault("400", every=2)
    assert files.run(relay.url).counts["failed"] == 50
    good = {result["line"] for result in files.results() if result["error"] is None}
    relay.clear_faults()
    process = files.start(relay.url, "--retry-failed", "--concurrency", 2)
    until(lambda: files.lines() >= 20 and os.path.exists(str(files.output) + ".previous"), "20 results")
    process.kill()
    process.communicate()
    present = {result["line"] for result in map(json.loads, files.output.read_text().split("\n")[:-1])}
    relay.reset()
    run = files.run(relay.url)  # goes on with it, asked or not
    assert run.code == 0, run
    each_once(files.results(), 100)
    assert relay.stats()["seen_client_ids"] == 100 - len(present | good)
    assert not os.path.exists(str(files.output) + ".previous")


def test_changed_input_is_noticed(referee, files):
    relay = referee()
    files.prompts(10)
    assert files.run(relay.url).code == 0
    files.write({"custom_id": "id-%d" % n, "prompt": "q"} for n in (1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11))
    run = files.run(relay.url)
    assert run.code == 2 and "INPUT was changed: line 2" in run.err, run
    files.prompts(9)
    run = files.run(relay.url)
    assert run.code == 2 and "line 10" in run.err, run
    assert relay.stats()["total"]["received"] == 10


def test_output_of_another_program_is_left_alone(referee, files):
    files.prompts(2)
    files.output.write_text("hello\n")
    run = files.run(referee().url)
    assert run.code == 2 and "out.jsonl:1: not a result" in run.err, run
    assert files.output.read_text() == "hello\n"


def test_two_runs_cannot_share_an_output(referee, files):
    files.prompts(4)
    relay = referee()
    relay.fault("delay", value=1000)
    first = files.start(relay.url, "--rpm", 60000, "--tpm", 10**9)      # limits that are given are not found out one by one
    until(lambda: relay.stats()["total"]["in_flight"] == 4, "4 in flight")
    second = files.run(relay.url)
    first.kill()
    first.communicate()
    assert second.code == 5 and "in use by another run" in second.err, second


# What is said about bad input and options.

def test_malformed_lines_are_named_and_the_rest_is_sent(referee, files):
    files.write([{"custom_id": "ok", "prompt": "a"}, '{"prompt": "b"', "[]", {"custom_id": "x"}, {"prompt": 7},
                 {"custom_id": 7, "prompt": "c"}, {"prompt": "d", "body": {}}, {"body": {"messages": []}}, {"body": 1},
                 {"body": {"messages": [{"role": "user", "content": "e"}], "max_tokens": 0}},
                 {"body": {"messages": [{"role": "user", "content": "e"}], "stream": True}},
                 {"custom_id": "a\nb", "prompt": "f"}, {"custom_id": "last", "prompt": "g"}])
    relay = referee()
    run = files.run(relay.url)
    assert run.code == 2, run
    said = run.err.splitlines()
    name = str(files.input)
    assert said[0].startswith(name + ":2:14: ")
    expected = ["3: not a JSON object", '4: neither "prompt" nor "body"', '5: "prompt" is not a string',
                '6: "custom_id" is not a string', '7: both "prompt" and "body"', '8: "messages" of the body',
                '9: "body" is not an object', '10: "max_tokens" is not a positive', '11: "stream" is true',
                '12: "custom_id" has a control character']
    for line, text in zip(said[1:], expected):
        assert line.startswith("%s:%s" % (name, text))
    assert len(said) == 11
    assert {result["custom_id"] for result in files.results()} == {"ok", "last"}
    files.write([{"custom_id": "ok", "prompt": "a"}, {"custom_id": "mended", "prompt": "b"}] + [""] * 10 +
                [{"custom_id": "last", "prompt": "g"}])
    run = files.run(relay.url, "--retry-failed")
    assert run.code == 0, run
    assert sorted(result["line"] for result in files.results()) == [1, 2, 13]
    assert relay.stats()["total"]["received"] == 3


@pytest.mark.parametrize("options, said", [
    (["--rpm", "0"], "--rpm 0:"), (["--tpm", "-5"], "--tpm -5:"), (["--concurrency", "many"], "--concurrency many:"),
    (["--period", "0"], "--period 0:"), (["--policy", "leaky"], "--policy leaky:"), (["--guard-ms", "61000"], "--guard-ms 61000:"),
    (["--url", "ftp://x"], "--url ftp://x:"), (["--url", "api.openai.com"], "--url api.openai.com:"),
    (["--key-env", "NOT_SET_ANYWHERE"], "--key-env NOT_SET_ANYWHERE:"), (["--charge", "all"], "--charge all:"),
    (["--estimate", "words"], "--estimate words:"), (["--timeout", "x"], "--timeout x:"), (["--retries", "1.5"], "--retries 1.5:"),
    (["--rpm", "5", "--period", "1"], "--rpm 5: less than 1 in a period"),
    (["--ramp", "x"], "--ramp x:"), (["--provider", "claude"], "--provider claude: not one of openai azure"), (["--bogus"], "bogus")])
def test_options_are_named_with_their_value(files, options, said):
    files.prompts(1)
    run = files.run("http://127.0.0.1:1", *options)
    assert run.code == 2 and said in run.err, run
    assert not files.output.exists()


def test_missing_files(files):
    done = subprocess.run(files.command("http://127.0.0.1:1"), capture_output=True, text=True,
                          env=dict(os.environ, OPENAI_API_KEY="k"))
    run = Run(done.returncode, done.stdout, done.stderr, None)
    assert run.code == 5 and "in.jsonl: No such file" in run.err, run
    files.prompts(1)
    files.output.mkdir()
    assert files.run("http://127.0.0.1:1").code == 5


def test_version_and_help():
    header = open(os.path.join(TESTS, "..", "rlimit.h")).read()
    version = subprocess.run([BATCH, "--version"], capture_output=True, text=True)
    assert '#define RLM_VERSION "%s"' % version.stdout.split()[1] in header
    assert "--retry-failed" in subprocess.run([BATCH, "--help"], capture_output=True, text=True).stdout
