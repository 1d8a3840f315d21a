"""The anthropic package, limited, against the referee: by limit() and as middleware.

The referee reserves max_tokens and gives the rest back (charge="actual"), so the provider is "litellm" where limits are tight.
"""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

anthropic = pytest.importorskip("anthropic")

import rlimit  # noqa: E402
import rlimit.anthropic  # noqa: E402
from sdk_referee import agreed, limiter_of, nothing_held, referee, run, settled  # noqa: E402, F401

TIGHT = {"rpm": 1200, "tpm": 60000, "period": 2, "concurrency": 4, "latency_ms": (5, 20), "charge": "actual"}
WAYS = ["limit", "middleware"] if hasattr(anthropic, "Middleware") else ["limit"]


def client_of(kind, way, relay, limiter, retries=None, **options):
    more = {} if retries is None else {"max_retries": retries}
    if way == "middleware":
        return kind(base_url=relay.url, api_key="k", middleware=[rlimit.anthropic.Middleware(limiter, **options)], **more)
    return rlimit.anthropic.limit(kind(base_url=relay.url, api_key="k"), limiter, retries=retries, **options)


def sync_client(*args, **options):
    return client_of(anthropic.Anthropic, *args, **options)


def async_client(*args, **options):
    return client_of(anthropic.AsyncAnthropic, *args, **options)


def body(n, **more):
    return dict({"model": "m", "messages": [{"role": "user", "content": "question %d" % n}], "max_tokens": 16}, **more)


pytestmark = pytest.mark.parametrize("way", WAYS)


def test_plain_in_threads(referee, way):
    relay = referee(**TIGHT)
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter, provider="litellm")
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda n: client.messages.create(**body(n)), range(70)))
    assert len({reply.content[0].text for reply in replies}) == 70
    total = agreed(relay, limiter)
    assert total["received"] == total["completed"] == 70 and total["max_in_flight"] <= 4


def test_streams_in_tasks(referee, way):
    relay = referee(**TIGHT)
    limiter = limiter_of(relay)

    async def one(client, n):
        if n % 2:
            async with client.messages.stream(**body(n)) as stream:
                return (await stream.get_final_message()).usage.output_tokens
        output = 0
        async for event in await client.messages.create(stream=True, **body(n)):
            if event.type == "message_delta":
                output = event.usage.output_tokens
        return output

    async def main():
        async with async_client(way, relay, limiter, provider="litellm") as client:
            return await asyncio.gather(*[one(client, n) for n in range(60)])
    assert sum(run(main())) == settled(limiter)["output_tokens"]
    total = agreed(relay, limiter)
    assert total["completed"] == 60 and total["max_in_flight"] <= 4


def test_told_only_the_provider(referee, way):
    """The provider does not count max_tokens, the referee does: only requests are limited here."""
    relay = referee(rpm=2400, period=2, latency_ms=(5, 20), charge="actual")
    limiter = rlimit.Limiter(provider="anthropic")

    async def main():
        async with async_client(way, relay, limiter) as client:
            await asyncio.gather(*[client.messages.create(**body(n)) for n in range(83)])
    run(main())
    total = relay.settled_in(None)
    assert sum(total["refused"].values()) == 0 and total["completed"] == total["received"] == 83
    assert nothing_held(limiter)


def test_settles_with_usage(referee, way):
    relay = referee(charge="actual")
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter)
    reply = client.messages.create(system="You are brief.", **body(1))
    assert settled(limiter) == {"requests": 1, "input_tokens": reply.usage.input_tokens, "output_tokens": reply.usage.output_tokens}
    agreed(relay, limiter)


@pytest.mark.parametrize("fault", ["500", "503", "529", "429", "drop", "529_after"])
def test_faults_are_retried_by_the_sdk(referee, way, fault):
    relay = referee(concurrency=4)
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter)
    relay.fault(fault, count=1, **({"value": 0.05} if fault == "429" else {}))
    assert client.messages.create(**body(1)).content
    total = relay.settled_in(None)
    assert total["received"] == 2 == settled(limiter)["requests"]
    assert nothing_held(limiter)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["429=0.3", "429; no-retry-after"])
def test_a_refusal_pauses_everybody(referee, way, fault, stream):
    relay = referee()
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter, retries=0)
    with pytest.raises(anthropic.RateLimitError, match="rate limit"):
        client.messages.create(stream=stream, **body(1), extra_headers={"x-relay-fault": fault})
    assert relay.total["received"] == 1
    assert settled(limiter) == {"requests": 1, "input_tokens": 0, "output_tokens": 0}
    check = limiter.check()
    assert not check.available and 0 < check.wait <= (0.3 if "=" in fault else 60)
    assert nothing_held(limiter)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer(referee, way, stream):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter, retries=0)
    relay.fault("drop_mid", count=1)
    with pytest.raises(Exception) as error:
        list(client.messages.create(**body(1, stream=stream)))
    assert "rlimit" not in type(error.value).__module__
    assert settled(limiter) == {"requests": 1, "input_tokens": 3, "output_tokens": 16}, "a response cut short keeps its estimate"
    assert nothing_held(limiter)
    client.messages.create(**body(2))
    assert sum(relay.settled_in("refused").values()) == 0


def test_a_stream_closed_early_or_forgotten(referee, way):
    relay = referee(concurrency=1, latency_ms=(100, 100))
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter)
    with client.messages.create(stream=True, **body(1)) as stream:
        next(iter(stream))
        assert limiter.status().active == 1
    assert nothing_held(limiter)
    relay.settled_in(None)
    stream = client.messages.create(stream=True, **body(2))
    next(iter(stream))
    assert limiter.status().active == 1
    del stream
    gc.collect()
    assert nothing_held(limiter)


def test_cancelled_in_mid_stream(referee, way):
    relay = referee(concurrency=2, latency_ms=(2000, 2000))
    limiter = limiter_of(relay)

    async def read(client, n, begun):
        async for _ in await client.messages.create(stream=True, **body(n)):
            begun.set()

    async def main():
        async with async_client(way, relay, limiter) as client:
            for n in range(3):
                begun = [asyncio.Event(), asyncio.Event()]
                tasks = [asyncio.create_task(read(client, 2 * n + i, begun[i])) for i in range(2)]
                for event in begun:
                    await event.wait()
                assert limiter.status().active == 2
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(result, asyncio.CancelledError) for result in results)
                assert limiter.status().active == 0
                await asyncio.get_running_loop().run_in_executor(None, relay.settled_in, None)
    run(main())
    total = relay.settled_in(None)
    assert total["client_gone"] == 6 and sum(total["refused"].values()) == 0
    assert nothing_held(limiter) and settled(limiter)["requests"] == 6


def test_time_outs_while_queued(referee, way):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter, queue_timeout=0.05)
    with limiter.acquire():
        for kind in (rlimit.AcquireTimeout, TimeoutError, anthropic.AnthropicError):
            with pytest.raises(kind):
                client.messages.create(**body(1))

        async def main():
            async with async_client(way, relay, limiter, queue_timeout=0.05) as other:
                with pytest.raises(rlimit.AcquireTimeout):
                    await other.messages.create(**body(1))
        run(main())
        assert limiter.status().queued == 0
    assert relay.total["received"] == 0 and nothing_held(limiter)
    assert client.messages.create(**body(1)).content


def test_the_wait_is_in_no_time_out_of_the_sdk(referee, way):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter).with_options(timeout=1, max_retries=0)
    permit = limiter.acquire().wait()
    timer = threading.Timer(1.5, permit.settle)
    timer.start()
    assert client.messages.create(**body(1)).content
    timer.join()
    assert relay.total["received"] == 1


def test_larger_than_a_limit(referee, way):
    relay = referee(tpm=6000, period=1)  # 100
    limiter = limiter_of(relay)
    client = sync_client(way, relay, limiter)
    with pytest.raises(rlimit.NeverAdmitted, match="tokens"):
        client.messages.create(**body(1, max_tokens=200))
    assert relay.total["received"] == 0 and nothing_held(limiter)


def test_retries_of_the_sdk_are_counted(referee, way):
    relay = referee()
    limiter = limiter_of(relay)
    relay.fault("500", count=2)
    assert sync_client(way, relay, limiter).messages.create(**body(1)).content
    status = limiter.status()
    assert (status.retried, status.succeeded, status.failed) == (2, 1, 2)


@pytest.mark.skipif(len(WAYS) < 2, reason="no middleware")
def test_two_limiters_on_one_client(referee, way):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    if way == "middleware":
        client = sync_client(way, relay, limiter)
        for copy in (client, client.with_options(max_retries=0)):
            with pytest.raises(ValueError, match="has a limiter already"):
                rlimit.anthropic.limit(copy, limiter)
        assert client.messages.create(**body(1)).content
        return
    more = [rlimit.anthropic.Middleware(limiter_of(relay))]
    with pytest.raises(ValueError, match="has a limiter already") as error:
        sync_client(way, relay, limiter).with_options(middleware=more).messages.create(**body(1))
    assert isinstance(error.value, anthropic.AnthropicError)

    async def main():
        async with async_client(way, relay, limiter) as client:
            await client.with_options(middleware=more).messages.create(**body(1))
    with pytest.raises(ValueError, match="has a limiter already"):
        run(main())
    assert relay.total["received"] == 0 and nothing_held(limiter) and settled(limiter)["requests"] == 0


@pytest.mark.skipif(len(WAYS) < 2, reason="no middleware")
def test_another_client_is_asked_from_middleware(referee, way):
    relay = referee(charge="actual")
    limiter = limiter_of(relay)
    guard = sync_client("limit", relay, limiter)

    def ask_first(request, call_next):
        guard.messages.create(**body(2))
        return call_next(request)
    client = sync_client("middleware", relay, limiter)
    client = client.with_options(middleware=[*client.middleware, ask_first])
    assert client.messages.create(**body(1)).content
    agreed(relay, limiter)
