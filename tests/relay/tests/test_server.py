"""The server over HTTP, in virtual time."""

import asyncio
import json

import pytest

from relay.policies import POLICIES
from relay.wire import answer

from .conftest import CHAT, MESSAGES

pytestmark = pytest.mark.asyncio
BOTH = pytest.mark.parametrize("path", [CHAT, MESSAGES])


async def test_openai_answer_and_headers(bench):
    b = await bench(rpm=60, tpm=6000)
    status, headers, body = await b.ask()
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "%s %s" % answer("m", ["abcdefgh"])
    usage = body["usage"]
    assert usage["prompt_tokens"] == 2 and 1 <= usage["completion_tokens"] <= 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert headers["x-request-id"].startswith("req_")
    expected = {"limit-requests": "60", "remaining-requests": "59", "reset-requests": "1s",
                "limit-tokens": "6000", "remaining-tokens": "5990", "reset-tokens": "100ms"}
    assert {name: headers["x-ratelimit-" + name] for name in expected} == expected
    assert (await b.ask())[2]["usage"] == usage


async def test_anthropic_answer_and_headers(bench):
    b = await bench(rpm=60, tpm=6000)
    status, headers, body = await b.ask(MESSAGES, max_tokens=998)
    assert status == 200
    assert body["content"] == [{"type": "text", "text": "%s %s" % answer("m", ["abcdefgh"])}]
    assert body["usage"]["input_tokens"] == 2 and 1 <= body["usage"]["output_tokens"] <= 998
    assert headers["request-id"].startswith("req_")
    prefix = "anthropic-ratelimit-"
    assert headers[prefix + "requests-remaining"] == "59"
    assert headers[prefix + "requests-reset"] == "2027-01-15T08:00:01Z"
    for kind in ("tokens", "input-tokens", "output-tokens"):
        assert headers[prefix + kind + "-limit"] == "6000"
        assert headers[prefix + kind + "-remaining"] == "5000"
        assert headers[prefix + kind + "-reset"] == "2027-01-15T08:00:10Z"


async def test_anthropic_tokens_show_the_tightest_limit(bench):
    b = await bench(itpm=100000, otpm=2000)
    _, headers, _ = await b.ask(MESSAGES, max_tokens=1500)
    prefix = "anthropic-ratelimit-"
    assert (headers[prefix + "tokens-limit"], headers[prefix + "tokens-remaining"]) == ("2000", "1000")
    assert headers[prefix + "input-tokens-remaining"] == "100000"
    status, _, body = await b.ask(MESSAGES, max_tokens=1500)
    assert status == 429 and "2,000 output tokens per minute" in body["error"]["message"]
    assert (await b.stats())["total"]["refused"]["output_tokens"] == 1


@BOTH
async def test_stream(bench, path):
    b = await bench(rpm=60, latency_ms=(100, 100))
    (status, headers, text), (_, _, plain) = await b.finish(
        b.ask(path, stream=True, stream_options={"include_usage": True}), b.ask(path))
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    if path == CHAT:
        assert events.pop() == "[DONE]"
        chunks = [json.loads(event) for event in events]
        assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == plain["usage"]
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
        said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
        assert said == plain["choices"][0]["message"]["content"]
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    else:
        chunks = [json.loads(event) for event in events]
        kinds = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
        assert kinds == [chunk["type"] for chunk in chunks]
        assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
        assert chunks[0]["message"]["usage"]["input_tokens"] == plain["usage"]["input_tokens"]
        assert chunks[-2]["usage"]["output_tokens"] == plain["usage"]["output_tokens"]
        said = "".join(chunk["delta"]["text"] for chunk in chunks if chunk["type"] == "content_block_delta")
        assert said == plain["content"][0]["text"]


async def test_stream_without_usage(bench):
    b = await bench(rpm=60)
    _, _, text = await b.ask(stream=True)
    assert "usage" not in text and text.endswith("data: [DONE]\n\n")


async def test_keys(bench):
    b = await bench(rpm=1, keys=("k1", "k2"))
    assert [(await b.ask(key=key))[0] for key in ("k1", "k2", "k1", "k2")] == [200, 200, 429, 429]
    status, headers, body = await b.ask(key="k3")
    assert status == 401 and body["error"]["code"] == "invalid_api_key" and "x-ratelimit-limit-requests" not in headers
    status, _, body = await b.ask(MESSAGES, headers={"authorization": "", "x-api-key": "k3"})
    assert status == 401 and body["error"]["type"] == "authentication_error"
    status, _, _ = await b.ask(MESSAGES, headers={"authorization": "", "x-api-key": "k2"})
    assert status == 429
    stats = await b.stats()
    assert stats["total"]["unauthorized"] == 2 and stats["total"]["refused"]["requests"] == 3
    assert stats["keys"]["k2"]["refused"]["requests"] == 2


async def test_without_keys_each_is_its_own_account(bench):
    b = await bench(rpm=1)
    assert [(await b.ask(key=key))[0] for key in ("a", "b", "a")] == [200, 200, 429]
    assert (await b.ask(headers={"authorization": ""}))[0] == 401


@BOTH
async def test_malformed(bench, path):
    b = await bench(rpm=60)
    status, _, body = await b.ask(path, raw="{")
    assert status == 400 and body["error"]["type"] == "invalid_request_error"
    status, _, body = await b.ask(path, messages=[])
    assert status == 400 and "messages" in body["error"]["message"]
    stats = (await b.stats())["total"]
    assert (stats["received"], stats["invalid"], stats["admitted"]) == (2, 2, 0)


async def test_larger_than_the_limit(bench):
    b = await bench(tpm=100)
    status, headers, body = await b.ask(max_tokens=99)
    assert status == 400 and body["error"]["code"] == "request_too_large"
    assert "Limit 100, Requested 101" in body["error"]["message"] and "retry-after" not in headers
    status, _, body = await b.ask(MESSAGES, max_tokens=99)
    assert status == 413 and body["error"]["type"] == "request_too_large"
    assert (await b.ask(max_tokens=98))[0] == 200
    assert (await b.stats())["total"]["too_large"] == 2


async def test_openai_429(bench):
    b = await bench(rpm=60, tpm=100)
    assert (await b.ask(max_tokens=93))[0] == 200
    status, headers, body = await b.ask()
    error = body["error"]
    assert status == 429 and error["code"] == "rate_limit_exceeded" and error["type"] == "tokens"
    assert "tokens per min (TPM): Limit 100, Used 95, Requested 10. Please try again in 3s." in error["message"]
    assert headers["retry-after"] == "3" and headers["retry-after-ms"] == "3000"
    assert headers["x-ratelimit-remaining-tokens"] == "5"
    b.clock.advance(2.9999)
    status, headers, body = await b.ask()
    assert status == 429 and headers["retry-after"] == "1" and headers["retry-after-ms"] == "1"
    b.clock.advance(0.0001)
    assert (await b.ask())[0] == 200


async def test_anthropic_429(bench):
    b = await bench(rpm=1, policy="sliding")
    assert (await b.ask(MESSAGES))[0] == 200
    b.clock.advance(15.5)
    status, headers, body = await b.ask(MESSAGES)
    assert status == 429 and body["type"] == "error" and body["error"]["type"] == "rate_limit_error"
    assert body["request_id"] == headers["request-id"]
    assert headers["retry-after"] == "45" and headers["retry-after-ms"] == "44500"


@pytest.mark.parametrize("policy", sorted(POLICIES))
async def test_a_period_shorter_than_a_minute(bench, policy):
    b = await bench(policy=policy, rpm=120, period=5)
    statuses = [(await b.ask())[0] for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    _, headers, body = await b.ask()
    assert headers["x-ratelimit-limit-requests"] == "10"
    assert float(headers["retry-after-ms"]) == (500 if policy == "bucket" else 5000)
    b.clock.advance(5)
    assert [(await b.ask())[0] for _ in range(11)] == statuses


async def test_nominal_limits_advertised(bench):
    b = await bench(rpm=120, period=5, advertise="nominal")
    _, headers, _ = await b.ask()
    assert headers["x-ratelimit-limit-requests"] == "120"
    assert headers["x-ratelimit-remaining-requests"] == "119"
    assert headers["x-ratelimit-reset-requests"] == "500ms"


async def test_charge_actual(bench):
    b = await bench(tpm=1000, charge="actual")
    _, _, body = await b.ask(max_tokens=500)
    used = body["usage"]["total_tokens"]
    assert used < 502
    stats = (await b.stats())["keys"]["k1"]
    assert stats["charged"]["tokens"] == used
    _, headers, _ = await b.ask(max_tokens=500)
    assert headers["x-ratelimit-remaining-tokens"] == str(1000 - used - 502)
    assert (await b.stats())["total"]["over_limit"] == 0


async def test_charge_estimate(bench):
    b = await bench(tpm=1000)
    await b.ask(max_tokens=500)
    assert (await b.stats())["keys"]["k1"]["charged"]["tokens"] == 502


async def test_default_output(bench):
    b = await bench(tpm=1000, default_output=300)
    _, headers, body = await b.ask(max_tokens=None)
    assert headers["x-ratelimit-remaining-tokens"] == "698" and body["usage"]["completion_tokens"] <= 300


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_concurrency(bench, path, stream):
    b = await bench(concurrency=2, rpm=100, latency_ms=(1000, 1000))
    tasks = [asyncio.ensure_future(b.ask(path, stream=stream)) for _ in range(2)]
    await b.sleeping(2)
    status, headers, body = await b.ask(path, stream=stream)
    assert status == 429 and "concurrent" in body["error"]["message"] and "retry-after" not in headers
    stats = (await b.stats())["total"]
    assert (stats["in_flight"], stats["refused"]["concurrency"]) == (2, 1)
    assert [status for status, _, _ in await b.finish(*tasks)] == [200, 200]
    stats = (await b.stats())["total"]
    assert (stats["in_flight"], stats["max_in_flight"], stats["over_limit"]) == (0, 2, 0)
    assert stats["charged"]["requests"] == 2


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_place(bench, path, stream):
    b = await bench(concurrency=1, latency_ms=(1000, 1000), charge="actual", tpm=100)
    task = asyncio.ensure_future(b.ask(path, stream=stream))
    await b.sleeping(1)
    task.cancel()
    await b.sleeping(0)
    stats = (await b.stats())["total"]
    assert (stats["in_flight"], stats["client_gone"], stats["completed"]) == (0, 1, 0)
    assert stats["charged"]["tokens"] == 10
    assert (await b.finish(b.ask(path, stream=stream)))[0][0] == 200


async def test_network_delay_comes_before_the_decision(bench):
    b = await bench(rpm=1, policy="fixed", network_ms=(500, 500))
    statuses = []
    for before in (0, 58.9, 0):
        b.clock.advance(before)
        task = asyncio.ensure_future(b.ask())
        await b.sleeping(1)
        assert (await b.stats())["total"]["received"] == len(statuses)
        b.clock.advance(0.5)
        statuses.append((await task)[0])
    # Decided at 0.5, 59.9 and 60.4 seconds: the last two were sent in the same minute.
    assert statuses == [200, 429, 200]


async def test_utilization(bench):
    b = await bench(rpm=60, tpm=6000)
    for _ in range(60):
        assert (await b.ask())[0] == 200
    for _ in range(30):
        b.clock.advance(1)
        assert (await b.ask())[0] == 200
    assert (await b.ask())[0] == 429
    stats = await b.stats()
    for part in (stats["total"], stats["keys"]["k1"]):
        assert part["available"] == {"requests": 90, "tokens": 9000}
        assert part["utilization_by"] == {"requests": 1.0, "tokens": 0.1} and part["utilization"] == 1.0
        assert part["last_ns"] - part["first_ns"] == 30 * 10 ** 9
        assert part["over_limit"] == 0


async def test_utilization_of_several_keys(bench):
    b = await bench(rpm=2, policy="sliding")
    await b.ask(key="a")
    await b.ask(key="b")
    b.clock.advance(60)
    await b.ask(key="a")
    assert (await b.stats())["total"]["available"] == {"requests": 8}


async def test_client_ids(bench):
    b = await bench(rpm=100)
    for name, value in (("x-client-id", "1"), ("x-request-id", "2"), ("x-client-id", "1"), ("x-client-id", "1")):
        await b.ask(headers={name: value})
    await b.ask(headers={"x-client-id": "3", "x-relay-fault": "500"})
    stats = await b.stats()
    assert stats["seen_client_ids"] == 3
    assert stats["completed_by_client_id"] == {"distinct": 2, "max": 3, "duplicates": 2}


async def test_reset(bench):
    b = await bench(rpm=1, keys=("k1",))
    assert [(await b.ask())[0] for _ in range(2)] == [200, 429]
    assert await b.control("POST", "/_reset") == (200, {"status": "ok"})
    stats = await b.stats()
    assert stats["total"]["received"] == 0 and stats["total"]["utilization"] is None
    assert (await b.ask())[0] == 200


async def test_reset_with_a_request_in_flight(bench):
    b = await bench(concurrency=1, latency_ms=(1000, 1000))
    task = asyncio.ensure_future(b.ask(headers={"x-client-id": "1"}))
    await b.sleeping(1)
    await b.control("POST", "/_reset")
    b.clock.advance(1)
    assert (await task)[0] == 200
    stats = await b.stats()
    assert stats["total"]["in_flight"] == 0 and stats["completed_by_client_id"]["distinct"] == 0


async def test_limits(bench):
    b = await bench(rpm=1, concurrency=5)
    assert [(await b.ask())[0] for _ in range(2)] == [200, 429]
    assert (await b.control("POST", "/_limits", {"rpm": 60, "concurrency": 3}))[0] == 200
    assert (await b.ask())[0] == 429
    b.clock.advance(1)
    assert (await b.ask())[0] == 200
    await b.ask(key="new")
    stats = await b.stats()
    assert stats["keys"]["new"]["limits"] == stats["keys"]["k1"]["limits"] == {"requests": 60, "concurrency": 3}
    assert stats["total"]["over_limit"] == 0
    await b.control("POST", "/_limits", {"rpm": 7, "key": "new"})
    stats = await b.stats()
    assert (stats["keys"]["new"]["limits"]["requests"], stats["keys"]["k1"]["limits"]["requests"]) == (7, 60)


@pytest.mark.parametrize("body, message", [
    ({"rpm": 0}, "rpm: 0"), ({"rpm": "5"}, "rpm: '5'"), ({"tpm": 5}, "tpm: not limited"), ({"x": 1}, "x: unknown"),
    ({"rpm": 5, "key": "none"}, "unknown key"), ([], "JSON object"),
    ({"rpm": 30, "concurrency": -1}, "concurrency: -1"),
])
async def test_bad_limits_change_nothing(bench, body, message):
    b = await bench(rpm=60, concurrency=5, keys=("k1",))
    status, answered = await b.control("POST", "/_limits", body)
    assert status == 400 and message in answered["error"]
    assert (await b.stats())["keys"]["k1"]["limits"] == {"requests": 60, "concurrency": 5}


async def test_health(bench):
    b = await bench()
    assert await b.control("GET", "/_health") == (200, {"status": "ok"})


async def test_unlimited(bench):
    b = await bench()
    status, headers, _ = await b.ask()
    assert status == 200 and not any("ratelimit" in name for name in headers)


async def test_audit_sees_a_wrong_admission(bench):
    b = await bench(rpm=1)
    await b.ask()
    b.relay.accounts["k1"].gate.limits["requests"].wait = lambda n, now_ns: 0
    b.relay.accounts["k1"].gate.limits["requests"].take = lambda n, now_ns: None
    assert (await b.ask())[0] == 200
    stats = (await b.stats())["total"]
    assert stats["over_limit"] == 1 and stats["over_limit_by"]["requests"] == 1
    assert stats["utilization"] == 2.0
