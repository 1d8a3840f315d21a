"""Faults on demand, and what each charges."""

import asyncio

import aiohttp
import pytest

from relay.faults import BadFault, Rule, parse_header

from .conftest import CHAT, MESSAGES

BOTH = pytest.mark.parametrize("path", [CHAT, MESSAGES])


def fault(text):
    return {"x-relay-fault": text}


async def charged(b):
    stats = (await b.stats())["total"]
    assert stats["in_flight"] == 0 and stats["over_limit"] == 0
    return stats["charged"]["requests"]


@pytest.mark.asyncio
@BOTH
@pytest.mark.parametrize("kind", ["400", "401", "403", "408", "409", "500", "502", "503", "504", "529"])
async def test_statuses_before_admission(bench, path, kind):
    b = await bench(rpm=60)
    status, headers, body = await b.ask(path, headers=fault(kind))
    assert status == int(kind) and body["error"]["message"] and "retry-after" not in headers
    assert await charged(b) == 0
    assert (await b.stats())["total"]["faults"] == {kind: 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["500_after", "502-after", "503_after", "504_after", "529_after"])
async def test_statuses_after_admission(bench, kind):
    b = await bench(rpm=60, charge="actual", tpm=100)
    status, headers, _ = await b.ask(MESSAGES, headers=fault(kind), stream=True)
    assert status == int(kind[:3]) and headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert await charged(b) == 1
    stats = (await b.stats())["total"]
    assert stats["completed"] == 0 and stats["charged"]["tokens"] == 10


@pytest.mark.asyncio
async def test_bodies(bench):
    b = await bench(rpm=60)
    assert "Slow Down" in (await b.ask(headers=fault("503")))[2]["error"]["message"]
    assert (await b.ask(MESSAGES, headers=fault("529")))[2]["error"]["type"] == "overloaded_error"
    _, headers, body = await b.ask(headers=fault("quota"))
    assert body["error"]["code"] == "insufficient_quota" and "retry-after" not in headers
    status, _, body = await b.ask(MESSAGES, headers=fault("quota"))
    assert status == 429 and body["error"]["details"]["error_code"] == "enforced_spend_limit_reached"


@pytest.mark.asyncio
@BOTH
async def test_forced_429(bench, path):
    b = await bench(rpm=60)
    status, headers, _ = await b.ask(path, headers=fault("429"))
    assert (status, headers["retry-after"], headers["retry-after-ms"]) == (429, "1", "1000")
    _, headers, _ = await b.ask(path, headers=fault("429=2.5"))
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("3", "2500")
    assert await charged(b) == 0
    assert (await b.stats())["total"]["refused"]["requests"] == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("text, retry_after", [
    ("429;no-retry-after", None), ("429;retry_after_missing", None), ("429;retry-after=-5", "-5"),
    ("429;retry_after_absurd", "86400"), ("429;retry-after=soon", "soon"), ("503; retry-after=7", "7"),
    ("429;retry-after=Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
])
async def test_retry_after(bench, text, retry_after):
    b = await bench(rpm=60)
    _, headers, _ = await b.ask(headers=fault(text))
    assert headers.get("retry-after") == retry_after and "retry-after-ms" not in headers


@pytest.mark.asyncio
async def test_retry_after_on_a_true_refusal(bench):
    b = await bench(rpm=1)
    await b.control("POST", "/_faults", {"kind": "retry_after_missing", "count": 1})
    assert (await b.ask())[0] == 200
    status, headers, _ = await b.ask()
    assert status == 429 and "retry-after" not in headers
    _, headers, _ = await b.ask()
    assert headers["retry-after"] == "60"


@pytest.mark.asyncio
@BOTH
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind, cost", [("drop", 0), ("drop_after", 1), ("drop_mid", 1)])
async def test_drops(bench, path, stream, kind, cost, caplog):
    b = await bench(rpm=60, concurrency=1)
    with pytest.raises(aiohttp.ClientError) as caught:
        await b.ask(path, headers=fault(kind), stream=stream)
    assert isinstance(caught.value, aiohttp.ClientPayloadError) == (kind == "drop_mid")
    assert await charged(b) == cost
    stats = (await b.stats())["total"]
    assert (stats["completed"], stats["client_gone"], stats["faults"]) == (0, 0, {kind: 1})
    assert (await b.ask(path))[0] == 200
    assert not caplog.records


@pytest.mark.asyncio
async def test_half_a_stream_arrives(bench):
    b = await bench(rpm=60)
    body = {"model": "m", "max_tokens": 8, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    headers = {"x-api-key": "k1", **fault("drop_mid")}
    async with b.session.post(b.base + MESSAGES, json=body, headers=headers) as response:
        first = await response.content.readuntil(b"\n\n")
        assert response.status == 200 and b"message_start" in first
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.asyncio
async def test_delay(bench):
    b = await bench(rpm=60)
    task = asyncio.ensure_future(b.ask(headers=fault("delay=30;500_after")))
    await b.sleeping(1)
    assert (await b.stats())["total"]["in_flight"] == 1
    b.clock.advance(30)
    assert (await task)[0] == 500
    assert (await b.stats())["total"]["faults"] == {"delay": 1, "500_after": 1}


@pytest.mark.asyncio
async def test_rules(bench):
    b = await bench(rpm=600)
    status, rule = await b.control("POST", "/_faults", {"kind": "529", "every": 3, "skip": 1, "count": 2})
    assert status == 201 and rule["kind"] == "529"
    assert [(await b.ask())[0] for _ in range(12)] == [200] * 3 + [529] + [200] * 2 + [529] + [200] * 5
    assert (await b.control("GET", "/_faults"))[1][0]["fired"] == 2
    assert await b.control("DELETE", "/_faults") == (200, [])
    await b.control("POST", "/_faults", {"kind": "500", "key": "k2"})
    assert [(await b.ask(key=key))[0] for key in ("k1", "k2", "k1")] == [200, 500, 200]


@pytest.mark.asyncio
async def test_rate_is_repeatable(bench):
    runs = []
    for _ in range(2):
        b = await bench(rpm=600, seed=5)
        await b.control("POST", "/_faults", {"kind": "500", "rate": 0.3})
        runs.append([(await b.ask())[0] for _ in range(50)])
    assert runs[0] == runs[1] and 0 < runs[0].count(500) < 50


@pytest.mark.asyncio
async def test_what_a_request_asks_for_comes_first(bench):
    b = await bench(rpm=60)
    await b.control("POST", "/_faults", {"kind": "500", "count": 1})
    assert [(await b.ask(headers=headers))[0] for headers in (fault("503"), None, None)] == [503, 500, 200]


@pytest.mark.asyncio
async def test_unknown_fault_in_a_header(bench):
    b = await bench(rpm=60)
    status, _, body = await b.ask(headers=fault("explode"))
    assert status == 400 and "explode" in body["error"]["message"]


@pytest.mark.parametrize("text", ["", "600", "delay", "delay=x", "delay=-1", "delay=nan", "500=3", "429=x"])
def test_bad_headers(text):
    with pytest.raises(BadFault):
        parse_header(text)


@pytest.mark.parametrize("fields, name", [
    ({}, "kind"), ({"kind": "x"}, "kind"), ({"kind": "500", "count": 0}, "count"),
    ({"kind": "500", "every": 0}, "every"), ({"kind": "500", "every": 1.5}, "every"),
    ({"kind": "500", "rate": 2}, "rate"), ({"kind": "500", "rate": "x"}, "rate"),
    ({"kind": "500", "skip": -1}, "skip"), ({"kind": "500", "often": 1}, "often"), ({"kind": "delay"}, "value"),
    ({"kind": "500", "value": 1}, "value"), ([], "object"), ({"kind": "retry_after_absurd", "value": "a\nb"}, "value"),
])
def test_bad_rules(fields, name):
    with pytest.raises(BadFault, match=name):
        Rule(fields)
