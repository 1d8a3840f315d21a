"""The openai package, limited, against the referee."""

import asyncio
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

openai = pytest.importorskip("openai")

import rlimit  # noqa: E402
import rlimit.openai  # noqa: E402
from sdk_referee import (BODY, ESTIMATE, agreed, answers, counting, limiter_of, nothing_held, referee, run,  # noqa: E402, F401
                         settled)

TIGHT = {"rpm": 1200, "tpm": 60000, "period": 2, "concurrency": 4, "latency_ms": (5, 20)}  # 40 requests, 2000 tokens in 2 s


def sync_client(relay, limiter, **options):
    return rlimit.openai.limit(openai.OpenAI(base_url=relay.url + "/v1", api_key="k"), limiter, **options)


def async_client(relay, limiter, **options):
    return rlimit.openai.limit(openai.AsyncOpenAI(base_url=relay.url + "/v1", api_key="k"), limiter, **options)


def body(n, **more):
    return dict({"model": "m", "messages": [{"role": "user", "content": "question %d" % n}], "max_tokens": 16}, **more)


# Plain and streamed, in threads and tasks.

def test_plain_in_threads(referee):
    relay = referee(**TIGHT)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda n: client.chat.completions.create(**body(n)), range(70)))
    assert len({reply.choices[0].message.content for reply in replies}) == 70
    total = agreed(relay, limiter)
    assert total["received"] == total["completed"] == 70 and total["max_in_flight"] <= 4


def test_plain_in_tasks(referee):
    relay = referee(**TIGHT)
    limiter = limiter_of(relay)

    async def main():
        async with async_client(relay, limiter) as client:
            await asyncio.gather(*[client.chat.completions.create(**body(n)) for n in range(70)])
    run(main())
    total = agreed(relay, limiter)
    assert total["received"] == total["completed"] == 70 and total["max_in_flight"] <= 4


@pytest.mark.parametrize("charge, provider", [("estimate", "openai"), ("actual", "litellm")])
def test_streams(referee, charge, provider):
    """With usage asked for: settled as charged. The stream holds its place among those in flight until it ends."""
    relay = referee(charge=charge, **TIGHT)
    limiter = limiter_of(relay)

    def one(n):
        text = ""
        for chunk in client.chat.completions.create(**body(n, stream=True, stream_options={"include_usage": True})):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        return text
    client = sync_client(relay, limiter, provider=provider)
    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(one, range(60)))) == 60
    total = agreed(relay, limiter)
    assert total["completed"] == 60 and total["max_in_flight"] <= 4


def test_streams_in_tasks(referee):
    relay = referee(charge="actual", **TIGHT)
    limiter = limiter_of(relay)

    async def one(client, n):
        stream = await client.chat.completions.create(**body(n, stream=True, stream_options={"include_usage": True}))
        return [chunk async for chunk in stream][-1].usage.completion_tokens

    async def main():
        async with async_client(relay, limiter, provider="litellm") as client:
            return await asyncio.gather(*[one(client, n) for n in range(60)])
    assert sum(run(main())) == settled(limiter)["output_tokens"]
    assert agreed(relay, limiter)["completed"] == 60


def test_stream_without_usage_keeps_the_estimate(referee):
    relay = referee()
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter, provider="litellm")
    list(client.chat.completions.create(**body(1, stream=True)))
    assert settled(limiter)["output_tokens"] == 16
    list(client.chat.completions.create(**body(1, stream=True, max_tokens=1)))  # 5 deltas of content, and first and last
    assert 16 + 3 <= settled(limiter)["output_tokens"] <= 16 + 8
    assert nothing_held(limiter)


def test_told_only_the_provider(referee):
    relay = referee(rpm=2400, tpm=120000, period=2, concurrency=64, latency_ms=(5, 20))
    limiter = rlimit.Limiter(provider="openai")

    async def main():
        async with async_client(relay, limiter) as client:
            await asyncio.gather(*[client.chat.completions.create(**body(n)) for n in range(100)])
    run(main())
    total = relay.settled_in(None)
    assert sum(total["refused"].values()) == 0 and total["completed"] == total["received"] == 100
    assert nothing_held(limiter)
    assert limiter.status().limits[0].in_force.amount == 80


# Faults: the SDK retries, each attempt waits and pays.

@pytest.mark.parametrize("fault", ["500", "503", "529", "429", "408", "drop", "500_after"])
def test_faults_are_retried_by_the_sdk(referee, fault):
    relay = referee(concurrency=4)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    relay.fault(fault, count=1, **({"value": 0.05} if fault == "429" else {}))
    assert client.chat.completions.create(**body(1)).choices
    total = relay.settled_in(None)
    assert total["received"] == 2 == settled(limiter)["requests"]
    assert nothing_held(limiter)


@pytest.mark.parametrize("headers", [{}, {"x-relay-fault": "429=0.3"}, {"x-relay-fault": "429; no-retry-after"}])
def test_a_refusal_pauses_everybody(referee, headers):
    """retries=0: the caller owns them. A refused request counts, its tokens do not; the limiter waits as long as it was told."""
    relay = referee()
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter, retries=0)
    assert client.max_retries == 0
    if not headers:
        client.chat.completions.create(**body(1))
        assert limiter.check().available
        return
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**body(1), extra_headers=headers)
    assert relay.total["received"] == 1
    assert settled(limiter) == {"requests": 1, "input_tokens": 0, "output_tokens": 0}
    check = limiter.check()
    assert not check.available and 0 < check.wait <= (0.3 if "=" in headers["x-relay-fault"] else 60)
    assert nothing_held(limiter)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer(referee, stream):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter, retries=0)
    relay.fault("drop_mid", count=1)
    with pytest.raises(Exception) as error:
        list(client.chat.completions.create(**body(1, stream=stream)))
    assert "rlimit" not in type(error.value).__module__
    assert settled(limiter) == {"requests": 1, "input_tokens": 3, "output_tokens": 16}, "a response cut short keeps its estimate"
    client.chat.completions.create(**body(2))
    agreed(relay, limiter)


def test_nobody_listens(referee):
    relay = referee()
    limiter = limiter_of(relay)
    client = rlimit.openai.limit(openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k"), limiter, retries=0)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**body(1))
    assert settled(limiter)["requests"] == 0, "what was not sent is given back"
    assert nothing_held(limiter)


def test_errors_of_the_api_are_as_ever(referee):
    relay = referee(keys=("good",))
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client.chat.completions.create(**body(1))
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client.chat.completions.create(**body(1, stream=True))
    with pytest.raises(openai.NotFoundError):
        client.models.list()
    assert nothing_held(limiter)


# Streams that are not read to their end.

def test_a_stream_closed_early(referee):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    with client.chat.completions.create(**body(1, stream=True)) as stream:
        next(iter(stream))
        assert limiter.status().active == 1
    assert nothing_held(limiter)
    assert settled(limiter)["output_tokens"] == 16


def test_a_stream_forgotten(referee):
    relay = referee(concurrency=1, latency_ms=(200, 200))
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    gc.disable()  # a Stream that is in a cycle would be held until the collector runs
    try:
        stream = client.chat.completions.create(**body(1, stream=True))
        next(stream)
        assert limiter.status().active == 1
        del stream
        assert limiter.status().active == 0
        for n in range(3):
            for _ in client.chat.completions.create(**body(n, stream=True)):
                break
            assert limiter.status().active == 0
    finally:
        gc.enable()
    assert nothing_held(limiter)
    relay.settled_in(None)


def test_a_stream_left_and_taken_up_again(referee):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    stream = client.chat.completions.create(**body(1, stream=True, stream_options={"include_usage": True}))
    for first in stream:
        break
    assert limiter.status().active == 1, "who still has it may go on"
    rest = list(stream)
    assert rest and rest[-1].usage.total_tokens > 0
    assert nothing_held(limiter)
    agreed(relay, limiter)


def test_a_task_cancelled_between_two_chunks(referee):
    """The stream is dropped with the task that read it, while it was busy elsewhere."""
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)

    async def read(client, begun):
        async for _ in await client.chat.completions.create(**body(1, stream=True)):
            begun.set()
            await asyncio.Event().wait()

    async def main():
        async with async_client(relay, limiter) as client:
            gc.disable()
            try:
                for _ in range(3):
                    begun = asyncio.Event()
                    task = asyncio.create_task(read(client, begun))
                    await begun.wait()
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    del task
                    async with limiter.acquire(timeout=30):
                        pass
            finally:
                gc.enable()
            await client.chat.completions.create(**body(2))
    run(main())
    assert nothing_held(limiter)


def test_no_answer_is_no_success(referee):
    """Cancelled before an answer, or never sent: counted as failed, and an adaptive cap does not grow by it."""
    relay = referee(latency_ms=(60_000, 60_000))
    limiter = limiter_of(relay)

    async def main():
        async with async_client(relay, limiter) as client:
            task = asyncio.create_task(client.chat.completions.create(**body(1)))
            while relay.total["in_flight"] == 0:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    run(main())
    nobody = rlimit.openai.limit(openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k"), limiter, retries=0)
    with pytest.raises(openai.APIConnectionError):
        nobody.chat.completions.create(**body(2))
    status = limiter.status()
    assert (status.succeeded, status.failed, status.refused) == (0, 2, 0)
    assert settled(limiter)["requests"] == 1, "what was sent stays charged, what was not is given back"


def test_cancelled_in_mid_stream(referee):
    relay = referee(concurrency=2, latency_ms=(2000, 2000))
    limiter = limiter_of(relay)

    async def read(client, n, begun):
        stream = await client.chat.completions.create(**body(n, stream=True))
        async for _ in stream:
            begun.set()

    async def main():
        async with async_client(relay, limiter) as client:
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
                await asyncio.get_running_loop().run_in_executor(None, relay.settled_in, None)  # until it has noticed too
    run(main())
    total = relay.settled_in(None)
    assert total["client_gone"] == 6 and sum(total["refused"].values()) == 0
    assert nothing_held(limiter)
    assert settled(limiter)["requests"] == 6


def test_cancelled_while_queued(referee):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)

    async def main():
        async with async_client(relay, limiter) as client:
            async with limiter.acquire():
                task = asyncio.create_task(client.chat.completions.create(**body(1)))
                while limiter.status().queued == 0:
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert limiter.status().queued == 0
            await client.chat.completions.create(**body(2))
    run(main())
    assert relay.total["received"] == 1 and nothing_held(limiter)


# Waiting.

def test_time_outs_while_queued(referee):
    """The queue's own time-out is an error of rlimit, a TimeoutError and one of the SDK, and is not retried by it."""
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter, queue_timeout=0.05)
    with limiter.acquire():
        for kind in (rlimit.AcquireTimeout, TimeoutError, openai.OpenAIError):
            with pytest.raises(kind):
                client.chat.completions.create(**body(1))
        assert limiter.status().queued == 0

        async def main():
            async with async_client(relay, limiter, queue_timeout=0.05) as other:
                with pytest.raises(rlimit.AcquireTimeout):
                    await other.chat.completions.create(**body(1))
        run(main())
    assert relay.total["received"] == 0 and nothing_held(limiter)
    assert client.chat.completions.create(**body(1)).choices


def test_the_wait_is_in_no_time_out_of_the_sdk(referee):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter).with_options(timeout=1, max_retries=0)
    permit = limiter.acquire().wait()
    timer = threading.Timer(1.5, permit.settle)
    timer.start()
    assert client.chat.completions.create(**body(1)).choices
    timer.join()
    assert relay.total["received"] == 1


def test_larger_than_a_limit(referee):
    relay = referee(tpm=6000, period=1)  # 100
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter)
    for kind in (rlimit.NeverAdmitted, ValueError, openai.OpenAIError):
        with pytest.raises(kind, match="tokens"):
            client.chat.completions.create(**body(1, max_tokens=200))
    assert relay.total["received"] == 0 and nothing_held(limiter)


def test_queue_full(referee):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay, queue=1)
    client = sync_client(relay, limiter)

    async def main():
        async with async_client(relay, limiter) as other:
            async with limiter.acquire():
                task = asyncio.create_task(other.chat.completions.create(**body(1)))
                while limiter.status().queued == 0:
                    await asyncio.sleep(0)
                with pytest.raises(rlimit.QueueFull):
                    await other.chat.completions.create(**body(2))
            await task
    run(main())
    assert nothing_held(limiter)


# The line itself.

def test_copies_share_the_limiter_and_a_second_line_changes_it(referee):
    relay = referee()
    first, second = limiter_of(relay), limiter_of(relay)
    client = sync_client(relay, first)
    client.with_options(max_retries=5).chat.completions.create(**body(1))
    assert settled(first)["requests"] == 1
    other = rlimit.openai.limit(client.with_options(), second)
    other.chat.completions.create(**body(2))
    client.chat.completions.create(**body(3))
    assert (settled(first)["requests"], settled(second)["requests"]) == (2, 1)
    rlimit.openai.limit(client, second)
    client.chat.completions.create(**body(4))
    assert (settled(first)["requests"], settled(second)["requests"]) == (2, 2)


def test_the_http_client_of_others_stays_as_it_was(referee):
    relay = referee()
    limiter = limiter_of(relay)
    first = openai.OpenAI(base_url=relay.url + "/v1", api_key="k")
    http = first._client
    second = openai.OpenAI(base_url=relay.url + "/v1", api_key="k", http_client=http)
    rlimit.openai.limit(second, limiter)
    first.chat.completions.create(**body(1))
    assert settled(limiter)["requests"] == 0
    second.chat.completions.create(**body(1))
    del second
    gc.collect()
    assert not http.is_closed
    first.chat.completions.create(**body(1))
    first.close()


def test_closing(referee):
    relay = referee()
    client = sync_client(relay, limiter_of(relay))
    http = client._client
    client.close()
    assert client.is_closed() and http.is_closed


def test_raw_and_streaming_responses(referee):
    relay = referee(charge="actual")
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter, provider="litellm")
    raw = client.chat.completions.with_raw_response.create(**body(1))
    assert raw.headers["x-request-id"] and raw.parse().choices
    with client.chat.completions.with_streaming_response.create(**body(2)) as response:
        assert limiter.status().active == 1
        assert b"choices" in b"".join(response.iter_bytes())
    agreed(relay, limiter)


def test_cost_function(referee):
    relay = referee()
    limiter = limiter_of(relay)
    seen = []

    def cost(request):
        seen.append((request.method, request.url.rpartition("/v1")[2], request.body["model"]))
        return {"input_tokens": 7} if request.body["max_tokens"] == 16 else None
    client = sync_client(relay, limiter, cost=cost, retries=0)
    client.chat.completions.create(**body(1, max_tokens=8))
    assert settled(limiter)["requests"] == 0, "None: it passes without the limiter"
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**body(1), extra_headers={"x-relay-fault": "500"})
    assert settled(limiter) == {"requests": 1, "input_tokens": 7, "output_tokens": 0}
    assert seen == [("POST", "/chat/completions", "m")] * 2


def test_other_endpoints(answers, tmp_path):
    """What cannot be estimated is one request, and works as ever; uploads are read once."""
    file = tmp_path / "batch.jsonl"
    file.write_bytes(b"x" * 5000)
    limiter = counting()
    client = rlimit.openai.limit(openai.OpenAI(base_url=answers.url + "/v1", api_key="k"), limiter, provider="litellm")
    answers.seen.clear()
    with open(file, "rb") as source:
        client.files.create(file=source, purpose="batch")
    assert answers.seen[0][2] > 5000
    client.models.with_raw_response.list()
    assert settled(limiter) == {"requests": 2, "input_tokens": 0, "output_tokens": 0}
    client.embeddings.with_raw_response.create(model="m", input=["x" * 20, "x" * 20])
    assert settled(limiter) == {"requests": 3, "input_tokens": 11, "output_tokens": 22}, "the usage of the answer"
    client.responses.create(model="m", input="x" * 40, max_output_tokens=50)
    assert settled(limiter)["requests"] == 4 and nothing_held(limiter)


@pytest.mark.parametrize("kind", [openai.AzureOpenAI, openai.AsyncAzureOpenAI])
def test_azure(answers, kind):
    limiter = counting()
    client = rlimit.openai.limit(kind(azure_endpoint=answers.url, api_key="k", api_version="1"), limiter)

    async def main():
        await client.chat.completions.create(**BODY)
        await client.close()
    if kind is openai.AzureOpenAI:
        client.chat.completions.create(**BODY)
    else:
        run(main())
    assert answers.seen[-1][1] == "openai/deployments/m/chat/completions"
    assert settled(limiter) == dict(ESTIMATE, input_tokens=11) and nothing_held(limiter), "Azure keeps its estimate"


def test_wrong_arguments(referee):
    limiter = rlimit.Limiter(provider="openai")
    client = openai.OpenAI(api_key="k")
    with pytest.raises(TypeError, match="client"):
        rlimit.openai.limit(object(), limiter)
    with pytest.raises(TypeError, match="limiter"):
        rlimit.openai.limit(client, 5)
    with pytest.raises(ValueError, match="priority"):
        rlimit.openai.limit(client, limiter, priority="urgent")
    with pytest.raises(ValueError, match="nobody"):
        rlimit.openai.limit(client, limiter, provider="nobody")
    for keywords, kind, text in (({"cost": 5}, TypeError, "cost: .*5"), ({"tokenizer": 5}, TypeError, "tokenizer: .*5"),
                                 ({"queue_timeout": -1}, ValueError, "^queue_timeout: .*-1"),
                                 ({"queue_timeout": "x"}, TypeError, "^queue_timeout: "),
                                 ({"retries": -1}, ValueError, "retries: .*-1"), ({"retries": 1.5}, TypeError, "retries: .*1.5"),
                                 ({"reserves_output": "no"}, TypeError, "reserves_output: .*'no'"),
                                 ({"prioriti": "high"}, TypeError, "^prioriti: no such keyword")):
        with pytest.raises(kind, match=text):
            rlimit.openai.limit(client, limiter, **keywords)
    assert client.max_retries == 2 and not hasattr(type(client._client), "_rlimit_inner"), "nothing is half done"


@pytest.mark.parametrize("function, text", [(lambda request: 5, "returned 5"), (lambda request: {"bogus": 1}, "bogus"),
                                            (lambda request: {"requests": -1}, "requests"), (lambda request: 1 / 0, "ZeroDivisionError")])
def test_wrong_cost_functions(referee, function, text):
    """Told as they are: not as a connection that failed, and not tried again."""
    relay = referee()
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter, cost=function)
    with pytest.raises(openai.OpenAIError, match="cost: .*" + text) as caught:
        client.chat.completions.create(**body(1))
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert relay.total["received"] == 0 and nothing_held(limiter)


def test_a_budget_in_dollars(referee):
    """The second request would pass the budget: it is never sent. A model without a price is refused, and not retried."""
    relay = referee()
    limiter = limiter_of(relay, microdollars=rlimit.calendar_month(1000))
    with pytest.raises(ValueError, match="^prices: "):
        sync_client(relay, limiter)
    client = sync_client(relay, limiter, prices={"m": (0, 60)}, queue_timeout=0.01)
    reply = client.chat.completions.create(**body(1))
    assert settled(limiter)["microdollars"] == 60 * reply.usage.completion_tokens
    with pytest.raises(ValueError, match="there is none of model 'other'") as error:
        client.chat.completions.create(**body(2, model="other"))
    assert isinstance(error.value, openai.OpenAIError)
    with pytest.raises(rlimit.AcquireTimeout, match="microdollars"):
        client.chat.completions.create(**body(2))
    assert relay.settled_in(None)["received"] == 1 and nothing_held(limiter)


def test_only_its_own_clients():
    anthropic = pytest.importorskip("anthropic")

    class Mine(openai.OpenAI):
        pass
    limiter = counting()
    assert rlimit.openai.limit(Mine(api_key="k"), limiter) and rlimit.openai.limit(openai.AzureOpenAI(
        api_key="k", azure_endpoint="https://x.openai.azure.com", api_version="1"), limiter)
    with pytest.raises(TypeError, match="^client: an OpenAI or AsyncOpenAI, not Anthropic"):
        rlimit.openai.limit(anthropic.Anthropic(api_key="k"), limiter)
    with pytest.raises(TypeError, match="^client: an Anthropic or AsyncAnthropic, not OpenAI"):
        rlimit.anthropic.limit(openai.OpenAI(api_key="k"), limiter)


def test_retries_of_the_sdk_are_counted(referee):
    relay = referee()
    limiter = limiter_of(relay)
    client = sync_client(relay, limiter).with_options(max_retries=2)
    relay.fault("500", count=2)
    assert client.chat.completions.create(**body(1)).choices
    status = limiter.status()
    assert (status.retried, status.succeeded, status.failed) == (2, 1, 2)


def test_errors_of_waiting_can_be_pickled(referee):
    relay = referee()
    limiter = limiter_of(relay, concurrency=1)
    client = sync_client(relay, limiter, queue_timeout=0.01)
    with limiter.acquire(), pytest.raises(openai.OpenAIError) as error:
        client.chat.completions.create(**body(1))
    copied = pickle.loads(pickle.dumps(error.value))
    assert type(copied) is rlimit.AcquireTimeout
    assert str(copied) == str(error.value) and copied.__dict__ == error.value.__dict__ and copied.waited > 0


def test_a_plain_client_in_a_coroutine(referee):
    """It would block the event loop: that passes through the SDK, and is not retried."""
    relay = referee()
    limiter = limiter_of(relay, concurrency=1)
    client = sync_client(relay, limiter)

    async def main():
        client.chat.completions.create(**body(1))
        async with limiter.acquire():
            with pytest.raises(RuntimeError, match="async client") as error:
                client.chat.completions.create(**body(1))
            assert isinstance(error.value, openai.OpenAIError)
    run(main())
    assert relay.settled_in(None)["received"] == 1 and nothing_held(limiter)
