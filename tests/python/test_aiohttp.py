"""aiohttp, limited by its middleware: against the referee, and against answers in every dress."""

import asyncio
import logging

import pytest

aiohttp = pytest.importorskip("aiohttp", minversion="3.12")

import rlimit  # noqa: E402
import rlimit.aiohttp  # noqa: E402
from sdk_referee import (ACTUAL, BODY, ESTIMATE, agreed, answers, counting, limiter_of, nothing_held, referee, run,  # noqa: E402, F401
                         settled)

HEADERS = {"authorization": "Bearer k"}


def session_of(limiter, **options):
    return aiohttp.ClientSession(middlewares=[rlimit.aiohttp.Middleware(limiter, **options)])


async def by_read(response):
    return await response.read()


async def by_any(response):
    return b"".join([chunk async for chunk in response.content.iter_any()])


async def by_chunked(response):
    return b"".join([chunk async for chunk in response.content.iter_chunked(50)])


async def by_chunks(response):
    return b"".join([chunk async for chunk, _ in response.content.iter_chunks()])


async def by_lines(response):
    return b"".join([line async for line in response.content])


PATHS = ["plain", "gzip", "deflate", "br", "stream", "stream-crlf", "stream-gzip", "stream-br", "stream-long"]
WAYS = [by_read, by_any, by_chunked, by_chunks, by_lines]


@pytest.mark.parametrize("path, read", [(path, way) for path in PATHS for way in WAYS
                                        if (path, way) != ("stream-long", by_lines)])  # a line longer than aiohttp reads
def test_usage_is_read(answers, path, read):
    limiter = counting()

    async def main():
        async with session_of(limiter, provider="litellm") as session:
            async with session.post(answers.url + "/" + path, json=BODY) as response:
                assert limiter.status().active == 1
                data = await read(response)
                assert len(data) > 300 and b"usage" in data
                assert limiter.status().active == 0, "read to its end"
    run(main())
    assert {name: settled(limiter)[name] for name in ACTUAL} == ACTUAL and nothing_held(limiter)


@pytest.mark.parametrize("path", ["text", "broken", "strange"])
def test_answers_that_tell_no_usage(answers, path):
    limiter = counting()

    async def main():
        async with session_of(limiter, provider="litellm") as session:
            async with session.post(answers.url + "/" + path, json=BODY) as response:
                await response.read()
            async with session.post(answers.url + "/plain", json=BODY):
                pass  # not read at all
    run(main())
    assert settled(limiter) == {name: 2 * amount for name, amount in ESTIMATE.items()} and nothing_held(limiter)


def test_redirects_and_head(answers):
    limiter = counting()

    async def main():
        async with session_of(limiter, provider="litellm") as session:
            async with session.post(answers.url + "/redirect", json=BODY) as response:
                assert (await response.json())["usage"]
            assert settled(limiter) == dict(ACTUAL, requests=2)
            async with session.head(answers.url + "/plain") as response:
                assert await response.read() == b""
    run(main())
    assert settled(limiter) == dict(ACTUAL, requests=3) and nothing_held(limiter)


def test_uploads_are_never_read_twice(answers, caplog, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    limiter = counting()
    answers.seen.clear()

    async def chunks():
        yield b'{"messages": [], '
        yield b'"max_tokens": 5}'

    async def main():
        async with session_of(limiter) as session:
            with open(file, "rb") as source:
                form = aiohttp.FormData()
                form.add_field("file", source)
                await (await session.post(answers.url + "/text", data=form)).read()
            await (await session.post(answers.url + "/text", data=chunks())).read()
            with open(file, "rb") as source:
                await (await session.post(answers.url + "/text", data=source)).read()
            await (await session.get(answers.url + "/text")).read()
    with caplog.at_level(logging.WARNING, "rlimit"):
        run(main())
    assert [size for _, _, size in answers.seen][1:] == [33, 5000, 0] and answers.seen[0][2] > 5000
    assert settled(limiter)["requests"] == 4 and nothing_held(limiter)
    assert sum("cannot be estimated" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("charge, provider, stream", [
    ("estimate", None, False), ("actual", "litellm", False), ("actual", "litellm", True)])
def test_against_the_referee(referee, charge, provider, stream):
    relay = referee(rpm=1200, tpm=60000, period=2, concurrency=4, latency_ms=(5, 20), charge=charge)
    limiter = limiter_of(relay)

    async def main():
        async with session_of(limiter, provider=provider) as session:
            async def one(n):
                body = dict(BODY, max_tokens=16, messages=[{"role": "user", "content": "question %d" % n}])
                if stream:
                    body.update(stream=True, stream_options={"include_usage": True})
                async with session.post(relay.url + "/v1/chat/completions", json=body, headers=HEADERS) as response:
                    return await response.text()
            assert all("choices" in text for text in await asyncio.gather(*[one(n) for n in range(70)]))
    run(main())
    assert agreed(relay, limiter)["completed"] == 70


def test_cancelled_given_up_and_forgotten(referee):
    relay = referee(concurrency=1, latency_ms=(1000, 1000))
    limiter = limiter_of(relay)
    url, body = relay.url + "/v1/chat/completions", dict(BODY, stream=True)

    async def cancelled(session):
        begun = asyncio.Event()

        async def read():
            async with session.post(url, json=body, headers=HEADERS) as response:
                async for _ in response.content:
                    begun.set()
        task = asyncio.create_task(read())
        await begun.wait()
        assert limiter.status().active == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def closed(session):
        response = await session.post(url, json=body, headers=HEADERS)
        await response.content.readany()
        assert limiter.status().active == 1
        response.close()

    async def forgotten(session):
        """aiohttp itself keeps it until the server has sent it all."""
        response = await session.post(url, json=dict(BODY), headers=HEADERS)
        assert limiter.status().active == 1
        del response

        async def until_gone():
            while not nothing_held(limiter):
                await asyncio.sleep(0.01)
        await asyncio.wait_for(until_gone(), 60)

    async def timed_out(session):
        with pytest.raises(asyncio.TimeoutError):
            async with session.post(url, json=body, headers=HEADERS, timeout=aiohttp.ClientTimeout(sock_read=0.05)) as response:
                await response.read()

    async def main():
        async with session_of(limiter) as session:
            for way in (cancelled, closed, forgotten, timed_out):
                await way(session)
                assert nothing_held(limiter), way
                await asyncio.get_running_loop().run_in_executor(None, relay.settled_in, None)
    run(main())
    assert nothing_held(limiter) and settled(limiter)["requests"] == 4


def test_faults(referee):
    relay = referee()
    limiter = limiter_of(relay)
    url = relay.url + "/v1/chat/completions"

    async def main():
        async with session_of(limiter) as session:
            relay.fault("drop", count=1)
            with pytest.raises(aiohttp.ClientError):
                await session.post(url, json=BODY, headers=HEADERS)
            assert nothing_held(limiter) and settled(limiter)["requests"] == 1
            relay.fault("drop_mid", count=1)
            with pytest.raises(aiohttp.ClientError):
                async with session.post(url, json=BODY, headers=HEADERS) as response:
                    await response.json()
            assert nothing_held(limiter) and settled(limiter)["requests"] == 2
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("http://127.0.0.1:9/", json=BODY)
            assert nothing_held(limiter) and settled(limiter)["requests"] == 2, "what was not sent is given back"
            before = settled(limiter)
            async with session.post(url, json=BODY, headers=dict(HEADERS, **{"x-relay-fault": "429=0.3"})) as response:
                assert response.status == 429 and "error" in await response.json()
            assert settled(limiter) == dict(before, requests=3)
            assert 0 < limiter.check().wait <= 0.3
    run(main())
    assert nothing_held(limiter)


def test_time_outs_while_queued(referee, caplog):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    url = relay.url + "/v1/chat/completions"

    async def main():
        async with session_of(limiter, queue_timeout=0.05) as session:
            async with limiter.acquire():
                with pytest.raises(rlimit.AcquireTimeout):
                    await session.post(url, json=BODY, headers=HEADERS)
        async with session_of(limiter) as session:
            async with limiter.acquire():  # aiohttp's own total includes the wait
                with pytest.raises(asyncio.TimeoutError):
                    await session.post(url, json=BODY, headers=HEADERS, timeout=aiohttp.ClientTimeout(total=0.05))
                assert limiter.status().queued == 0
    run(main())
    assert relay.total["received"] == 0 and nothing_held(limiter)
