"""The same requests twice against the referee: the usual way, and with limits that are learned from its answers.

    python examples/demo.py [INPUT]         needs build/batch and tests/relay/requirements.txt

INPUT (or the environment variable INPUT) is a file of JSON lines as batch reads them, or a CSV (.csv, .csv.gz) with a
column of texts, named text unless --column says otherwise; examples/tickets.jsonl if absent. The referee's quota is chosen so that the requests need a quarter of a minute, or a minute if there are more
than 500; then the usual way is left out. Exits with 1 unless every request was completed without a single 429.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

import convert_csv

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.join(HERE, "..", "tests")
PERIOD_S = 5
MAX_TOKENS = 128
SMALL = 500
SDK_RETRIES = 2
CONCURRENCY = 64


def characters(content):
    """Of a message's content: a string, or blocks of which those with a text count."""
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list):
        return 0
    return sum(characters(block["text"] if isinstance(block.get("text"), str) else block.get("content"))
               for block in content if isinstance(block, dict))


def cost(line):
    """What the referee charges for a line of INPUT; None if it is not a request."""
    try:
        request = json.loads(line)
        if "prompt" in request:
            return (len(request["prompt"]) + 3) // 4 + MAX_TOKENS
        body = request["body"]
        count = sum(characters(message.get("content")) for message in body["messages"])
        return (count + 3) // 4 + (body.get("max_completion_tokens") or body.get("max_tokens") or MAX_TOKENS)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def quota(costs):
    """Limits a minute so that tokens bind, and the requests take the time wanted: a full bucket and its refill. Four requests
    and three of the largest fit into a period, as no API sells less; few requests are done sooner."""
    large = len(costs) > SMALL
    periods = 1 + (55 if large else 14) / PERIOD_S
    per_minute = 60 / PERIOD_S
    tokens = max(sum(costs) / periods, 3 * max(costs))
    return {"rpm": int(max(2 * len(costs) / periods, 4) * per_minute + 1), "tpm": int(tokens * per_minute + 1),
            "concurrency": CONCURRENCY, "period": PERIOD_S}


def words(options):
    return [word for name, value in options.items() for word in ("--" + name, str(value))]


class Referee:
    def __init__(self, folder, limits):
        port_file = os.path.join(folder, "port")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "--port", "0", "--port-file", port_file, "--policy", "bucket",
             "--latency-ms", "50:250", "--network-ms", "0:20", "--default-output", str(MAX_TOKENS), *words(limits)],
            cwd=TESTS, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 20
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.process.kill()
                raise SystemExit("demo: the referee did not start")
            time.sleep(0.02)
        with open(port_file) as file:
            self.url = "http://127.0.0.1:%d" % int(file.read())

    def stats(self):
        with urllib.request.urlopen(self.url + "/_stats", timeout=30) as answer:
            return json.load(answer)["total"]

    def reset(self):
        urllib.request.urlopen(urllib.request.Request(self.url + "/_reset", method="POST"), timeout=30).close()

    def close(self):
        self.process.terminate()
        self.process.wait()


def run(referee, folder, name, source, options):
    """Runs batch; returns the figures of the run. The number of 429s is the referee's."""
    output, stats = os.path.join(folder, name + ".jsonl"), os.path.join(folder, name + ".json")
    batch = os.environ.get("BATCH") or os.path.join(HERE, "..", "build", "batch")
    try:
        done = subprocess.run([batch, "--url", referee.url, "--model", "demo", "--max-tokens", str(MAX_TOKENS), "--stats-json",
                               stats, *options, source, output], stdout=subprocess.DEVNULL,
                              env=dict(os.environ, OPENAI_API_KEY="demo"))
    except OSError as error:
        raise SystemExit("demo: %s: %s" % (batch, error.strerror))
    if not os.path.exists(stats):
        raise SystemExit("demo: batch ended with status %d" % done.returncode)
    with open(stats) as file:
        figures = json.load(file)
    seen = referee.stats()
    figures["refused"] = sum(seen["refused"].values())
    figures["status"] = done.returncode
    figures["utilization"] = seen["utilization"] or 0.0
    with open(output, encoding="utf-8") as file:
        figures["given_up"] = sum(json.loads(line)["attempts"] > 1 + SDK_RETRIES for line in file)
    return figures


ROWS = [("requests completed", lambda f: "%d of %d" % (f["completed"], f["requests"])),
        ("429s", lambda f: "%d" % f["refused"]),
        ("wasted requests", lambda f: "%d" % f["wasted"]),
        ("needed more than %d retries" % SDK_RETRIES, lambda f: "%d" % f["given_up"]),
        ("seconds", lambda f: "%.1f" % f["seconds"]),
        ("quota used", lambda f: "%.1f %%" % (100 * f["utilization"]))]


def learned(figures):
    """The limits that batch found, in words."""
    return ", ".join("%s %d%s" % (found["limit"], found["amount"], " in %.3g s" % found["period_s"] if found["period_s"] else "")
                     for found in figures["learned"])


def show(columns):
    print("\n%-28s" % "" + "".join("%14s" % name for name, _ in columns))
    for label, text in ROWS:
        print("%-28s" % label + "".join("%14s" % text(figures) for _, figures in columns))
    print()


def compare(source, folder):
    try:
        with open(source, encoding="utf-8-sig") as file:
            costs = [n for n in map(cost, file) if n is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit("demo: %s: %s" % (source, error)) from None
    if not costs:
        raise SystemExit("demo: %s: no requests" % source)
    limits = quota(costs)
    columns = []
    print("%d requests, %d tokens; the server allows %d requests and %d tokens a minute, counted over %d s, and %d in flight" % (
        len(costs), sum(costs), limits["rpm"], limits["tpm"], PERIOD_S, limits["concurrency"]), flush=True)
    referee = Referee(folder, limits)
    try:
        if len(costs) <= SMALL:
            print("\nthe usual way: %d at a time, retried without end after the delay that the server names" % limits["concurrency"], flush=True)
            usual = ["--no-limit", "--concurrency", str(limits["concurrency"]), "--retries", "1000"]
            columns.append(("usual way", run(referee, folder, "usual", source, usual)))
            referee.reset()
        print("\nrlimit, told nothing of the limits", flush=True)
        columns.append(("rlimit", run(referee, folder, "limited", source, ["--guard-ms", "100"])))
    finally:
        referee.close()
    show(columns)
    print("learned from the answers: %s" % learned(columns[-1][1]))
    return columns[-1][1]


def main():
    parser = argparse.ArgumentParser(description="The usual way and the limiter, side by side.")
    parser.add_argument("input", nargs="?", default=os.environ.get("INPUT") or os.path.join(HERE, "tickets.jsonl"))
    parser.add_argument("--column", default="text", help="of a CSV (default text)")
    args = parser.parse_args()
    if not os.path.isfile(args.input):
        raise SystemExit("demo: %s: %s" % (args.input, "a directory" if os.path.isdir(args.input) else "no such file"))
    with tempfile.TemporaryDirectory() as folder:
        source = args.input
        if source.endswith((".csv", ".csv.gz")):
            source = os.path.join(folder, "input.jsonl")
            with open(source, "w", encoding="utf-8", newline="\n") as file:
                convert_csv.convert(args.input, args.column, None, file)
        figures = compare(source, folder)
    print("result requests=%d completed=%d rejected=%d utilization=%.3f" % (
        figures["requests"], figures["completed"], figures["refused"], figures["utilization"]))
    if figures["status"] != 0:
        print("batch ended with status %d: see above" % figures["status"])
    return 0 if figures["refused"] == figures["rejected"] == figures["status"] == 0 and figures["completed"] == figures["requests"] else 1


if __name__ == "__main__":
    sys.exit(main())
