"""A relay on a free port with a clock that the test moves."""

import asyncio
import json

import aiohttp
import pytest_asyncio

from relay.clock import ManualClock
from relay.server import Options, Relay, start

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


class Bench:
    def __init__(self, relay, clock, session, base):
        self.relay, self.clock, self.session, self.base = relay, clock, session, base

    async def ask(self, path=CHAT, headers=None, key="k1", text="abcdefgh", raw=None, **fields):
        """(status, headers, body): the body as JSON where it is JSON. 2 input tokens and 8 for the output."""
        body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": text}], **fields}
        headers = {"authorization": "Bearer " + key, **(headers or {})}
        data = raw if raw is not None else json.dumps(body)
        async with self.session.post(self.base + path, data=data, headers=headers) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, response.headers, json.loads(text) if is_json else text

    async def sleeping(self, count):
        """Returns once exactly `count` requests wait for the clock. The timeout only ends a test that hangs."""
        await asyncio.wait_for(self.clock.until_sleeping(count), 60)

    async def finish(self, *asked, step=0.01):
        """Moves the clock until all have been answered."""
        tasks = [asyncio.ensure_future(one) for one in asked]
        while not all(task.done() for task in tasks):
            self.clock.advance(step)
            await asyncio.sleep(0)
        return [task.result() for task in tasks]

    async def control(self, method, path, body=None):
        async with self.session.request(method, self.base + path, json=body) as response:
            return response.status, await response.json()

    async def stats(self):
        return (await self.control("GET", "/_stats"))[1]


@pytest_asyncio.fixture
async def bench():
    """A function that starts a relay with the options given."""
    started = []

    async def begin(**options):
        clock = ManualClock()
        relay = Relay(Options(**options), clock)
        runner, port = await start(relay)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        started.append((session, runner))
        return Bench(relay, clock, session, "http://127.0.0.1:%d" % port)

    yield begin
    for session, runner in started:
        await session.close()
        await runner.cleanup()
