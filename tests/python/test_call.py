"""What all integrations share: usage in every form, streams cut anywhere, and calls that are ended twice."""

import gc
import gzip
import json
import threading
import zlib

import pytest

import rlimit
from rlimit._call import (LINE_MOST, Call, Gate, Usage, _Events, decoder, find_usage, keeps, provider_of, read_usage, reserves)
from sdk_referee import EVENTS, LONG, USAGE, counting, nothing_held, settled


@pytest.mark.parametrize("usage, expected", [
    (USAGE, Usage(11, 0, 0, 22)),
    ({"prompt_tokens": 11, "completion_tokens": 22, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(7, 4, 0, 22)),
    ({"prompt_tokens": 11, "completion_tokens": 22, "prompt_tokens_details": {"cached_tokens": 400}}, Usage(0, 11, 0, 22)),
    ({"prompt_tokens": 11, "total_tokens": 11}, Usage(11, 0, 0, 0)),  # embeddings
    ({"input_tokens": 11, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 22}, Usage(7, 4, 0, 22)),
    ({"input_tokens": 11, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5, "output_tokens": 22}, Usage(11, 4, 5, 22)),
    ({"promptTokenCount": 11, "cachedContentTokenCount": 4, "candidatesTokenCount": 20, "thoughtsTokenCount": 2}, Usage(7, 4, 0, 22)),
    ({"inputTokens": 11, "outputTokens": 22, "cacheReadInputTokens": 4}, Usage(11, 4, 0, 22)),
    ({}, Usage()),
    ({"prompt_tokens": -1, "completion_tokens": 2**41, "input_tokens": True, "output_tokens": 1.5}, Usage()),
    ({"input_tokens": None, "output_tokens": "22", "input_tokens_details": 5}, Usage()),
])
def test_read_usage(usage, expected):
    assert read_usage(usage) == expected


def test_find_usage():
    for value in ({"usage": USAGE}, {"response": {"usage": USAGE}}, {"message": {"usage": USAGE}}, [{}, {"usageMetadata": USAGE}]):
        assert find_usage(value) == USAGE
    for value in (None, 5, [], [5], {}, {"usage": None}, {"usage": 5}, {"response": []}):
        assert find_usage(value) == {}


def scan(data, size):
    errors = []
    events = _Events(errors.append)
    for start in range(0, len(data), size):
        events.feed(data[start:start + size])
    events.finish()
    return events, errors


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 10**9])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_streams_cut_anywhere(size, end):
    events, errors = scan(b"".join(EVENTS).replace(b"\n", end), size)
    assert events.usage == USAGE and events.told and events.ended and events.deltas == 30 and errors == []


@pytest.mark.parametrize("size", [1000, 65536, 10**9])
def test_a_line_that_is_too_long_to_keep(size):
    events, _ = scan(LONG, size)
    assert read_usage(events.usage) == Usage(11, 0, 0, 22) and events.told and len(events._line) <= LINE_MOST


def test_usage_in_the_text_of_an_answer_is_not_believed():
    text = json.dumps({"choices": [{"delta": {"content": '"usage": {"prompt_tokens": 1}, "error": {}, "type": "message_stop"'}}]})
    events, errors = scan(("data: %s\n\n" % text).encode(), 50)
    assert events.usage == {} and not events.ended and errors == []


def test_anthropic_events():
    data = b"""event: message_start
data: {"type":"message_start","message":{"usage":{"input_tokens":11,"cache_read_input_tokens":4,"output_tokens":1}}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}

"""
    events, _ = scan(data, 9)
    assert read_usage(events.usage) == Usage(11, 4, 0, 1) and not events.told
    events, _ = scan(data + b"""data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":22}}

data: {"type":"message_stop"}

""", 9)
    assert read_usage(events.usage) == Usage(11, 4, 0, 22) and events.told and events.ended


@pytest.mark.parametrize("data", [
    b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    b'{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}',
    b'{"error": {"message": "Overloaded", "code": 529}}'])
def test_errors_inside_streams(data):
    _, errors = scan(b": comment\n\ndata: " + data + b"\n\n", 5)
    assert errors == [data]


@pytest.mark.parametrize("name, squeeze", [("gzip", gzip.compress), ("deflate", zlib.compress), (" GZip ", gzip.compress),
                                           ("deflate", lambda data: zlib.compress(data)[2:-4]), ("identity", bytes), ("", bytes)])
@pytest.mark.parametrize("size", [3, 1000])
def test_decoder(name, squeeze, size):
    plain = b"".join(EVENTS)
    squeezed, decode = squeeze(plain), decoder(name)
    assert b"".join(decode(squeezed[start:start + size]) for start in range(0, len(squeezed), size)) == plain


def test_decoder_of_what_is_not_known():
    assert decoder("rot13") is None and decoder("gzip, br") is None


def test_provider_of():
    hosts = {"https://api.openai.com/v1": "openai", "https://eu.api.openai.com/v1": "openai", "https://x.openai.azure.com/": "azure",
             "https://api.anthropic.com/v1/messages": "anthropic", "https://bedrock-runtime.us-east-1.amazonaws.com/": "bedrock",
             "https://api.openai.com.example.com/": None, "https://notapi.openai.com.example/": None, "http://127.0.0.1:80/": None,
             "/v1/messages": None, "": None}
    assert {url: provider_of(url) for url in hosts} == hosts


def test_rules_of_providers():
    assert {name: (reserves(name), keeps(name)) for name in ("openai", "anthropic", "litellm", "generic")} == {
        "openai": (True, True), "anthropic": (False, False), "litellm": (True, False), "generic": (True, True)}


BODY = json.dumps({"messages": [{"role": "user", "content": "x" * 40}], "max_tokens": 50}).encode()


def call_of(limiter, **options):
    call = Gate(limiter, **options).open("POST", "http://relay/v1/chat/completions", BODY)
    call.wait()
    return call


JSON = [("content-type", "application/json")]
STREAM = [("Content-Type", b"text/event-stream")]


@pytest.mark.parametrize("ends", [("finish", "close", "finish"), ("close", "finish"), ("failed", "close"), ("failed", "failed")])
def test_a_call_ends_once(ends):
    limiter = counting()
    call = call_of(limiter)
    for end in ends:
        getattr(call, end)(*[ValueError()] if end == "failed" else [])
    assert nothing_held(limiter) and settled(limiter) == {"requests": 1, "input_tokens": 10, "output_tokens": 50}


def test_a_call_that_is_ended_by_many_threads_ends_once():
    limiter = counting()
    for _ in range(20):
        call = call_of(limiter)
        begin = threading.Barrier(4)
        threads = [threading.Thread(target=lambda: (begin.wait(), call.close())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert nothing_held(limiter) and settled(limiter)["requests"] == 20


def test_cut_short():
    limiter = counting()
    call = call_of(limiter, provider="anthropic")
    call.answered(200, STREAM)
    call.feed(b'data: {"type":"message_start","message":{"usage":{"input_tokens":12,"output_tokens":1}}}\n\n')
    for _ in range(60):
        call.feed(b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n')
    call.close()
    assert settled(limiter) == {"requests": 1, "input_tokens": 12, "output_tokens": 60}, "the deltas, as they are more"


def test_the_server_keeps_its_estimate():
    limiter = counting()
    call = call_of(limiter, provider="openai")
    call.answered(200, JSON)
    call.feed(json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode())
    call.finish()
    assert settled(limiter) == {"requests": 1, "input_tokens": 10, "output_tokens": 50}


def test_anthropic_learns_the_length_of_answers():
    """max_tokens is not charged there: after some answers it is no longer reserved, unless it is said that it is."""
    for reserved in (None, True):
        limiter = counting()
        gate = Gate(limiter, provider="anthropic", reserves_output=reserved)
        for _ in range(20):
            call = gate.open("POST", "/v1/messages", BODY)
            call.wait()
            call.answered(200, JSON)
            call.feed(json.dumps({"usage": {"input_tokens": 20, "output_tokens": 5}}).encode())
            call.finish()
        call = gate.open("POST", "/v1/messages", BODY)
        assert 18 <= call.cost["input_tokens"] <= 30
        assert call.cost["output_tokens"] == 50 if reserved else 5 <= call.cost["output_tokens"] < 10
        assert settled(limiter) == {"requests": 20, "input_tokens": 400, "output_tokens": 100}


def test_nothing_that_is_odd_breaks_a_request():
    limiter = counting()
    for feed in (b"\xff\xfe", b"{" * 100_000, b'{"usage": [[]]}', b'{"usage": {"prompt_tokens": 1e999}}'):
        for headers in (JSON, STREAM, JSON + [("content-encoding", "gzip")], [("retry-after", "\x00"), ("date", "\xff" * 5000)]):
            call = call_of(limiter)
            call.answered(200, headers, dict(headers).get("content-encoding", ""))
            call.feed(feed)
            call.feed(memoryview(feed)[1:].tobytes())
            call.finish()
    assert nothing_held(limiter) and settled(limiter)["output_tokens"] == 16 * 50


def test_forgotten():
    limiter = counting()
    gate = Gate(limiter)
    for value in ("GET", "HEAD", "DELETE"):
        assert gate.open(value, "http://relay/", None).cost == {"requests": 1}
    call = call_of(limiter)
    call.answered(200, JSON)
    assert isinstance(call, Call) and limiter.status().active == 1
    call.close()
    del call
    gc.collect()
    assert nothing_held(limiter)


def test_errors_keep_what_they_are():
    limiter = counting(concurrency=1)

    class Library(Exception):
        pass
    gate = Gate(limiter, queue_timeout=0.01, base=Library)
    with limiter.acquire():
        with pytest.raises(Library) as error:
            gate.open("POST", "http://relay/", BODY).wait()
    assert isinstance(error.value, rlimit.AcquireTimeout) and type(error.value).__name__ == "AcquireTimeout" and str(error.value)


# Prices.

PRICES = (3.0, 15.0)


def dollars(limiter):
    return settled(limiter)["microdollars"]


def budget(**more):
    return counting(microdollars=rlimit.calendar_month(10 ** 12), **more)


def paid(usage, status=200, headers=JSON, end="finish", provider="openai", prices=PRICES):
    limiter = budget()
    call = call_of(limiter, provider=provider, prices=prices)
    assert call.cost["microdollars"] == 10 * 3 + 50 * 15, "the estimate"
    call.answered(status, headers)
    call.feed(usage)
    getattr(call, end)()
    assert nothing_held(limiter)
    return dollars(limiter)


@pytest.mark.parametrize("usage, expected", [
    ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, 3 * 3 + 4 * 15),  # also where the tokens stay as estimated
    ({"usage": {"prompt_tokens": 30, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 20}}}, 30 * 3 + 4 * 15),
    ({"usage": {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7, "output_tokens": 4}},
     (3 + 5 + 2 * 7) * 3 + 4 * 15),
    ({"usage": {"completion_tokens": 4}}, 10 * 3 + 4 * 15),  # what is not told is as estimated
    ({"answer": 42}, 10 * 3 + 50 * 15)])
def test_a_budget_is_settled_with_the_usage(usage, expected):
    for provider in ("openai", "anthropic", "bedrock"):
        assert paid(json.dumps(usage).encode(), provider=provider) == expected


def test_a_budget_where_there_is_no_good_answer():
    assert paid(b"{}", status=429) == paid(b"", status=302) == 0
    assert paid(b"{}", status=500) == 780, "it may have been processed"
    start = b'data: {"type":"message_start","message":{"usage":{"input_tokens":12,"cache_read_input_tokens":8,"output_tokens":1}}}\n\n'
    delta = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n'
    assert paid(start + delta * 60, headers=STREAM, end="close") == 20 * 3 + 60 * 15
    assert paid(start + delta, headers=STREAM, end="close") == 20 * 3 + 50 * 15
    assert paid(b"", headers=STREAM, end="close") == 780


def test_a_budget_holds_requests_back():
    limiter = budget()
    gate = Gate(rlimit.Limiter(microdollars=rlimit.calendar_month(1000)), prices=PRICES, queue_timeout=0)
    gate.open("POST", "/v1/chat/completions", BODY).wait()
    with pytest.raises(rlimit.AcquireTimeout):
        gate.open("POST", "/v1/chat/completions", BODY).wait()
    assert dollars(limiter) == 0


def test_prices_by_model():
    class Library(Exception):
        pass
    gate = Gate(budget(), prices={"a": (1, 2), "b": (0, 0)}, base=Library)

    def cost(path="/v1/chat/completions", **body):
        return gate.open("POST", "https://relay" + path, json.dumps(dict(json.loads(BODY), **body))).cost.get("microdollars")
    assert cost(model="a") == 110 and cost(model="b") == 0
    assert cost("/v1beta/models/a:generateContent") == cost("/model/a/invoke") == cost("/openai/deployments/a/chat/completions") == 110
    for body, named in (({"model": "c"}, "model 'c'"), ({}, "names no model")):
        with pytest.raises(ValueError, match="^prices: a request to https://relay/.*%s" % named) as error:
            cost(**body)
        assert isinstance(error.value, Library)
    gate = Gate(budget(), prices={"a": (1, 2), "*": (2, 4)})
    assert cost(model="a") == 110 and cost(model="c") == cost() == 220


def test_a_budget_is_not_passed_silently():
    for limit in ("microdollars", "custom"):
        limiter = counting(**{limit: rlimit.calendar_month(5)})
        with pytest.raises(ValueError, match="^%s: the limiter has a limit of %s" % (
                "prices" if limit == "microdollars" else "cost", limit)):
            Gate(limiter)
    gate = Gate(budget(), prices=PRICES)
    for body in (b"audio", Ellipsis, b"{}", b"[]"):
        with pytest.raises(ValueError, match="^prices: a request to http://relay/v1/audio cannot be priced"):
            gate.open("POST", "http://relay/v1/audio?key=secret", body)
    for method, path, body in (("GET", "/v1/models", None), ("POST", "/v1/messages/count_tokens", BODY), ("POST", "/v1/files", Ellipsis)):
        assert gate.open(method, path, body).cost == {"requests": 1}, "free"


def test_prices_of_what_the_user_estimates():
    """A cost function's tokens are priced, unless it tells microdollars, or takes no tokens."""
    costs = iter([{"input_tokens": 100}, {"input_tokens": 100, "microdollars": 5}, {"requests": 1}, None])
    gate = Gate(budget(), prices=PRICES, cost=lambda request: next(costs))
    assert [call and call.cost.get("microdollars") for call in (gate.open("POST", "/", Ellipsis) for _ in range(4))] == [300, 5, None, None]
    limiter = budget(custom=rlimit.calendar_month(10 ** 6))
    call = call_of(limiter, cost=lambda request: {"microdollars": 5, "custom": 2})
    call.answered(429, JSON)
    call.finish()
    assert dollars(limiter) == 0 and settled(limiter)["custom"] == 2


@pytest.mark.parametrize("prices, error, text", [
    (3, TypeError, "prices: must be a pair"), ((3,), ValueError, "prices: must be two prices"),
    ((3, -1), ValueError, r"prices\[1\]: must be 0 to"), (("3", 1), TypeError, r"prices\[0\]: must be"), ({}, ValueError, "prices: no model"),
    ({"m": 3}, TypeError, r"prices\['m'\]: must be a pair"), ({"m": (1, float("nan"))}, ValueError, r"prices\['m'\]\[1\]: must be"),
    ({5: (1, 2)}, TypeError, "prices: must be of names of models")])
def test_prices_that_will_not_do(prices, error, text):
    for limiter in (budget(), counting()):
        with pytest.raises(error, match="^" + text):
            Gate(limiter, prices=prices)
