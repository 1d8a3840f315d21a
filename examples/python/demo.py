"""Support tickets through the openai and anthropic packages against the referee: the usual way, and with one more line.

    python demo.py      needs rlimit, openai, anthropic, tests/relay/requirements.txt

Half of 400 tickets of examples/tickets.jsonl goes to an OpenAI endpoint, half to an Anthropic one, at the same time. The
referee charges max_tokens when it admits a request, and gives back what was not used. Exits with 1 unless the limited run
completes every ticket without a single 429.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

import anthropic
import openai
import rlimit
from rlimit import per

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.join(HERE, "..", "..", "tests")
TICKETS = os.path.join(HERE, "..", "tickets.jsonl")
MAX_TOKENS = 256
PERIOD_S = 3
REFILLS = 2  # how often the quota is refilled until it suffices
AT_ONCE = 64


class Referee:
    """A relay, in a process of its own, with limits for each period."""

    def __init__(self, folder, name, **limits):
        port_file = os.path.join(folder, name)
        words = [word for option, limit in limits.items() for word in ("--" + option, str(limit * 60 // PERIOD_S))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "--port", "0", "--port-file", port_file, "--policy", "bucket", "--charge",
             "actual", "--period", str(PERIOD_S), "--latency-ms", "20:200", "--network-ms", "0:10", *words],
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


def quota(prompts):
    """Limits a period, of requests, input and output tokens, so that the output binds."""
    given = sum((len(prompt) + 3) // 4 for prompt in prompts)
    return len(prompts), given, max(len(prompts) * MAX_TOKENS // 2 // (1 + REFILLS), MAX_TOKENS)


async def by_openai(client, prompt):
    await client.chat.completions.create(model="demo", max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}])


async def by_anthropic(client, prompt):
    await client.messages.create(model="demo", max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}])


async def send(client, ask, prompts, gate, errors):
    async def one(prompt):
        async with gate:
            try:
                await ask(client, prompt)
                return 1
            except errors:
                return 0
    async with client:
        return sum(await asyncio.gather(*[one(prompt) for prompt in prompts]))


async def both(relays, prompts, limited):
    """How many each package completed."""
    chat = openai.AsyncOpenAI(base_url=relays["openai"].url + "/v1", api_key="demo")
    claude = anthropic.AsyncAnthropic(base_url=relays["anthropic"].url, api_key="demo")
    if limited:
        relay = rlimit.Limiter(provider="litellm")  # a relay that gives back what was not used; its limits are learned
        rlimit.openai.limit(chat, relay)
        requests, given, output = [per(amount, PERIOD_S, guard=0.1) for amount in quota(prompts["anthropic"])]
        tier = rlimit.Limiter(requests=requests, input_tokens=given, output_tokens=output)
        rlimit.anthropic.limit(claude, tier, reserves_output=True)
    return await asyncio.gather(
        send(chat, by_openai, prompts["openai"], asyncio.Semaphore(AT_ONCE), openai.RateLimitError),
        send(claude, by_anthropic, prompts["anthropic"], asyncio.Semaphore(AT_ONCE), anthropic.RateLimitError))


def run(relays, prompts, limited):
    """The figures of a run, by package; the number of 429s is the referee's."""
    for relay in relays.values():
        relay.reset()
    began = time.monotonic()
    completed = dict(zip(("openai", "anthropic"), asyncio.run(both(relays, prompts, limited))))
    seconds = time.monotonic() - began
    figures = {}
    for name, relay in relays.items():
        seen = relay.stats()
        figures[name] = {"completed": completed[name], "of": len(prompts[name]), "refused": sum(seen["refused"].values()),
                         "sent": seen["received"], "seconds": seconds}
    return figures


ROWS = (("tickets completed", "%(completed)d of %(of)d"), ("429s", "%(refused)d"), ("requests sent", "%(sent)d"))


def show(usual, limited):
    print("\n%-34s%14s%14s" % ("", "usual way", "rlimit"))
    for name in usual:
        for label, text in ROWS:
            print("%-34s%14s%14s" % (name + ": " + label, text % usual[name], text % limited[name]))
    print("%-34s%14s%14s\n" % ("seconds", "%.1f" % usual[name]["seconds"], "%.1f" % limited[name]["seconds"]))


def demo():
    """Runs both ways and returns the figures of the limited one."""
    with open(TICKETS, encoding="utf-8") as file:
        texts = [json.loads(line)["prompt"] for line in file][:400]
    prompts = {"openai": texts[0::2], "anthropic": texts[1::2]}
    relays = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in prompts:
                requests, given, output = quota(prompts[name])
                limits = {"tpm": given // (1 + REFILLS) + output} if name == "openai" else {"itpm": given, "otpm": output}
                relays[name] = Referee(folder, name, rpm=requests, **limits)
                words = {"tpm": "%d tokens", "itpm": "%d tokens of input", "otpm": "%d of output"}
                allowed = ", ".join(words[option] % limit for option, limit in limits.items())
                print("%d tickets by the %s package; in %d s the server allows %s" % (
                    len(prompts[name]), name, PERIOD_S, allowed))
            print("\nthe usual way: %d at a time, the packages retry twice" % AT_ONCE, flush=True)
            usual = run(relays, prompts, False)
            print("rlimit: one more line; the limits of the first server are not told", flush=True)
            limited = run(relays, prompts, True)
        finally:
            for relay in relays.values():
                relay.close()
    show(usual, limited)
    print("result usual_429s=%d limited_429s=%d" % tuple(
        sum(figures["refused"] for figures in way.values()) for way in (usual, limited)))
    return limited


if __name__ == "__main__":
    figures = demo().values()
    sys.exit(0 if all(one["refused"] == 0 and one["completed"] == one["of"] == one["sent"] for one in figures) else 1)
