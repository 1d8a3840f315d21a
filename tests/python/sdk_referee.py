"""What tests of the integrations share beside the referee."""

import asyncio
import gc
import gzip
import json
import sys
import threading
import zlib

import brotli
import pytest
from aiohttp import web

from relay.thread import DEADLINE_S, Referee, referee  # noqa: F401
from rlimit import Limiter, calendar_month, per

ROOM = 10 ** 9


def limiter_of(relay, guard=0.25, **more):
    """A limiter told the limits of a referee; and two that never bind, whose use is what was settled in all."""
    options = relay.options
    limits = {}
    for name, per_minute in (("requests", options.rpm), ("tokens", options.tpm)):
        if per_minute is not None:
            limits[name] = [per(options.per_period(name, per_minute), options.period, guard=guard)]
    limits.setdefault("requests", []).append(calendar_month(ROOM))
    limits["input_tokens"] = [calendar_month(ROOM)]
    limits["output_tokens"] = [calendar_month(ROOM)]
    if options.concurrency is not None:
        limits["concurrency"] = options.concurrency
    limits.update(more)
    return Limiter(**limits)


def settled(limiter):
    """What a limiter of limiter_of has settled in all."""
    used = {}
    for usage in limiter.status().limits:
        if usage.limit.kind == "calendar":
            used[usage.meter] = usage.used
    return used


def nothing_held(limiter):
    gc.collect()
    status = limiter.status()
    return status.active == 0 and status.queued == 0


def agreed(relay, limiter):
    """Whether the limiter settled what the referee charged, and holds nothing. Returns the referee's totals."""
    total = relay.settled_in(None)
    assert sum(total["refused"].values()) == 0, total["refused"]
    assert nothing_held(limiter), limiter.status()
    charged = total["charged"]
    assert settled(limiter) == {name: charged[name] for name in ("requests", "input_tokens", "output_tokens")}
    return total


if sys.version_info < (3, 10):  # asyncio.run with a loop that is closed in the end, everywhere
    run = asyncio.get_event_loop_policy().new_event_loop().run_until_complete
else:
    run = asyncio.run


# Answers that the referee does not give: compressed, redirected, not JSON.

USAGE = {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}
BODY = {"model": "m", "messages": [{"role": "user", "content": "x" * 40}], "max_tokens": 50}
ESTIMATE = {"requests": 1, "input_tokens": 10, "output_tokens": 50}
ACTUAL = {"requests": 1, "input_tokens": 11, "output_tokens": 22}
ANSWER = json.dumps({"choices": [], "usage": USAGE, "text": "usage " * 50}).encode()


def _event(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


EVENTS = [_event(choices=[{"delta": {"content": 'a "usage": {"prompt_tokens": 9} b'}}], usage=None) for _ in range(30)] + [
    _event(choices=[], usage=USAGE), b"data: [DONE]\n\n"]
LONG = b'data: {"type": "response.completed", "response": {"output": "' + b"x" * 300_000 + (
    b'", "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 22}}}\n\n')


def _compressed(name, data):
    if name == "gzip":
        return gzip.compress(data)
    if name == "deflate":
        return zlib.compress(data)
    if name == "raw-deflate":
        return zlib.compress(data)[2:-4]
    return brotli.compress(data)


class Answers:
    """A server in a thread, with an answer for each path; `seen` has what came."""

    def __init__(self):
        self.seen = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        app = web.Application()
        app.router.add_route("*", "/{name:.*}", self._answer)
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

        async def begin():
            await self.runner.setup()
            await web.TCPSite(self.runner, "127.0.0.1", 0).start()
            return self.runner.addresses[0][1]
        self.url = "http://127.0.0.1:%d" % asyncio.run_coroutine_threadsafe(begin(), self.loop).result(DEADLINE_S)

    def close(self):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(DEADLINE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_S)
        self.loop.close()

    async def _answer(self, request):
        name = request.match_info["name"]
        data = await request.read()
        self.seen.append((request.method, name, len(data)))
        if name == "redirect":
            raise web.HTTPTemporaryRedirect("/plain")
        if name in ("gzip", "deflate", "raw-deflate", "br"):
            return web.Response(body=_compressed(name, ANSWER), content_type="application/json",
                                headers={"content-encoding": name.replace("raw-", "")})
        if name == "text":
            return web.Response(text='"usage": nothing')
        if name == "broken":
            return web.Response(body=b'{"usage": {', content_type="application/json")
        if name == "strange":
            return web.Response(body=b'[1, {"usage": 5}, {"usage": {"prompt_tokens": -3, "completion_tokens": "many"}}]',
                                content_type="application/json")
        if name.endswith(("files", "models")):
            return web.json_response({"id": "1", "data": []})
        if name.startswith("stream"):
            return await self._stream(request, name)
        return web.Response(body=ANSWER, content_type="application/json")

    async def _stream(self, request, name):
        data = LONG if name == "stream-long" else b"".join(EVENTS)
        data = data.replace(b"\n", b"\r\n") if name == "stream-crlf" else data
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        if name in ("stream-gzip", "stream-br"):
            response.headers["content-encoding"] = name[7:]
            data = _compressed(name[7:], data)
        await response.prepare(request)
        size = 997 if name == "stream-long" else 7
        for start in range(0, len(data), size):
            await response.write(data[start:start + size])
        if name == "stream-error":
            await response.write(_event(type="error", error={"type": "overloaded_error", "message": "Overloaded"}))
        await response.write_eof()
        return response


@pytest.fixture(scope="module")
def answers():
    server = Answers()
    yield server
    server.close()


def counting(**more):
    """A limiter that never binds and counts what is settled."""
    return Limiter(requests=calendar_month(ROOM), input_tokens=calendar_month(ROOM), output_tokens=calendar_month(ROOM), **more)
