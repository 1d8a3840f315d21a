"""LangChain's models, limited: by the SDK clients inside them, and by its own rate limiter."""

import asyncio

import pytest

pytest.importorskip("langchain_core")

import rlimit  # noqa: E402
import rlimit.langchain  # noqa: E402
from sdk_referee import agreed, limiter_of, nothing_held, referee, run, settled  # noqa: E402, F401

TIGHT = {"rpm": 1200, "tpm": 60000, "period": 2, "concurrency": 4, "latency_ms": (5, 20), "charge": "actual"}


def openai_model(relay, **more):
    return pytest.importorskip("langchain_openai").ChatOpenAI(model="m", base_url=relay.url + "/v1", api_key="k", max_tokens=16,
                                                              stream_usage=True, **more)


def anthropic_model(relay, **more):
    return pytest.importorskip("langchain_anthropic").ChatAnthropic(model="m", base_url=relay.url, api_key="k", max_tokens=16, **more)


MODELS = pytest.mark.parametrize("model_of", [openai_model, anthropic_model])
PROMPTS = ["question %d" % n for n in range(60)]


@MODELS
def test_batch(referee, model_of):
    relay = referee(**TIGHT)
    limiter = limiter_of(relay)
    model = rlimit.langchain.limit(model_of(relay), limiter, provider="litellm")
    assert len(model.batch(PROMPTS, {"max_concurrency": 12})) == 60
    assert agreed(relay, limiter)["completed"] == 60


@MODELS
def test_streams_and_tasks(referee, model_of):
    relay = referee(**TIGHT)
    limiter = limiter_of(relay)
    model = rlimit.langchain.limit(model_of(relay), limiter, provider="litellm")

    async def one(n):
        return [chunk async for chunk in model.astream("question %d" % n)]

    async def main():
        await asyncio.gather(*[one(n) for n in range(30)], *[model.ainvoke(prompt) for prompt in PROMPTS[30:]])
    run(main())
    assert agreed(relay, limiter)["completed"] == 60


@MODELS
def test_other_models_are_not_limited(referee, model_of):
    """Models share an http client in LangChain's cache: only the one that was asked for is limited."""
    relay = referee()
    limiter = limiter_of(relay)
    first, second = model_of(relay), model_of(relay)
    rlimit.langchain.limit(first, limiter)
    second.invoke("question")
    assert settled(limiter)["requests"] == 0
    first.invoke("question")
    assert settled(limiter)["requests"] == 1


@MODELS
def test_retries(referee, model_of):
    relay = referee()
    limiter = limiter_of(relay)
    model = rlimit.langchain.limit(model_of(relay, max_retries=1), limiter)
    relay.fault("500", count=1)
    model.invoke("question")
    assert relay.total["received"] == 2 == settled(limiter)["requests"]
    model = rlimit.langchain.limit(model_of(relay), limiter, retries=0)
    relay.fault("500", count=1)
    with pytest.raises(Exception, match="500|server"):
        model.invoke("question")
    assert relay.total["received"] == 3 == settled(limiter)["requests"] and nothing_held(limiter)


@MODELS
def test_rate_limiter(referee, model_of):
    """Each call takes the cost given."""
    relay = referee(rpm=1200, period=2, latency_ms=(5, 20))
    limiter = limiter_of(relay)
    model = model_of(relay, rate_limiter=rlimit.langchain.RateLimiter(limiter, input_tokens=3, output_tokens=16))
    assert len(model.batch(PROMPTS, {"max_concurrency": 12})) == 60

    async def main():
        return await asyncio.gather(*[model.ainvoke(prompt) for prompt in PROMPTS[:20]])
    run(main())
    total = relay.settled_in(None)
    assert sum(total["refused"].values()) == 0 and total["completed"] == 80
    assert settled(limiter) == {"requests": 80, "input_tokens": 240, "output_tokens": 1280} and nothing_held(limiter)


def test_rate_limiter_without_blocking():
    limiter = rlimit.Limiter(requests=rlimit.per(1, 3600))
    hook = rlimit.langchain.RateLimiter(limiter)
    assert hook.acquire(blocking=False) is True
    assert hook.acquire(blocking=False) is False
    assert run(hook.aacquire(blocking=False)) is False
    with pytest.raises(rlimit.AcquireTimeout):
        rlimit.langchain.RateLimiter(limiter, queue_timeout=0.01).acquire()
    assert nothing_held(limiter)


def test_not_a_model():
    with pytest.raises(TypeError, match="RateLimiter"):
        rlimit.langchain.limit(object(), rlimit.Limiter(provider="openai"))


def test_a_budget_is_not_passed_silently():
    limiter = rlimit.Limiter(microdollars=rlimit.calendar_month(100))
    with pytest.raises(ValueError, match="^microdollars: the limiter has a limit of it"):
        rlimit.langchain.RateLimiter(limiter)
    hook = rlimit.langchain.RateLimiter(limiter, microdollars=60)
    assert hook.acquire() and not hook.acquire(blocking=False)
