"""The referee in a thread of the test. What it counts is the verdict."""
import asyncio
import json
import threading
import urllib.request

import pytest

from relay.clock import RealClock
from relay.server import Options, Relay, start

DEADLINE_S = 60


class Referee:
    """A relay with its own loop and thread. Options are those of relay.server.Options."""

    def __init__(self, **options):
        self.options = Options(**options)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        ready = threading.Event()
        self.loop.call_soon(ready.set)
        self.thread.start()
        assert ready.wait(DEADLINE_S)
        self.relay = Relay(self.options, RealClock())
        self.runner, port = self.on_loop(start(self.relay))
        self.url = "http://127.0.0.1:%d" % port

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def on_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_S)

    def close(self):
        self.on_loop(self.runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_S)
        self.loop.close()

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    @property
    def total(self):
        return self.call("/_stats")["total"]

    def fault(self, kind, **fields):
        self.call("/_faults", dict(fields, kind=kind))

    def settled_in(self, wanted):
        """The totals, once nothing is in flight there (a client that has gone is noticed a moment later)."""
        async def quiet():
            while self.relay.in_flight:
                await asyncio.sleep(0)
        self.on_loop(asyncio.wait_for(quiet(), DEADLINE_S))
        total = self.total
        assert total["over_limit"] == 0
        return total[wanted] if wanted else total


@pytest.fixture
def referee():
    running = []

    def begin(**options):
        running.append(Referee(**options))
        return running[-1]
    yield begin
    for one in running:
        one.close()
