"""Durations, times, parsing and answers."""

import json

import pytest

from relay.wire import Anthropic, BadRequest, OpenAI, answer, go_duration, rfc3339


@pytest.mark.parametrize("ns, text", [
    (0, "0s"), (1, "1ms"), (6_000_000, "6ms"), (5_000_001, "6ms"), (999_000_001, "1s"), (3_114_000_000, "3.114s"),
    (8_640_000_000, "8.64s"), (179_560_000_000, "2m59.56s"), (360_000_000_000, "6m0s"),
    (59_999_999_999, "1m0s"), (3_600_000_000_000, "1h0m0s"), (3_723_500_000_000, "1h2m3.5s"),
])
def test_go_duration(ns, text):
    assert go_duration(ns) == text


def test_rfc3339_rounds_up():
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1) == "1970-01-01T00:00:01Z"
    assert rfc3339(1_800_000_000 * 10 ** 9) == "2027-01-15T08:00:00Z"


def call(family, **fields):
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "abcde"}], **fields}
    return family.parse(json.dumps(body).encode(), 256)


@pytest.mark.parametrize("family", [OpenAI, Anthropic])
def test_cost_and_answer(family):
    first = call(family)
    assert first.input_tokens == 2 and first.max_output == 10 and 1 <= first.output_used <= 10
    assert first.text == "%s %s" % answer("m", ["abcde"])
    blocks = [{"type": "text", "text": "abc"}, {"type": "image"}, {"type": "tool_result", "content": "defgh"},
              {"type": "tool_result", "content": [{"type": "text", "text": "i"}]}]
    assert call(family, messages=[{"role": "user", "content": blocks}]).input_tokens == 3
    assert call(family, messages=[{"role": "user", "content": "\u20ac" * 8}]).input_tokens == 2
    assert call(family, messages=[{"role": "user", "content": ""}]).input_tokens == 0
    assert call(family, model="n").text != first.text


def test_output_reservation():
    assert call(OpenAI, max_tokens=None).max_output == 256
    assert call(OpenAI, max_completion_tokens=7).max_output == 7
    assert call(Anthropic, system="abcdef").input_tokens == 3
    with pytest.raises(BadRequest, match="max_tokens: Field required"):
        call(Anthropic, max_tokens=None)


@pytest.mark.parametrize("family", [OpenAI, Anthropic])
@pytest.mark.parametrize("fields", [
    {"model": None}, {"model": ""}, {"model": 5}, {"messages": None}, {"messages": []}, {"messages": "hi"},
    {"messages": [5]}, {"messages": [{"content": "no role"}]}, {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "user", "content": [5]}]}, {"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": "9"},
    {"max_tokens": True}, {"max_tokens": 1.5}, {"stream": "yes"},
])
def test_bad_requests(family, fields):
    with pytest.raises(BadRequest):
        call(family, **fields)


@pytest.mark.parametrize("family", [OpenAI, Anthropic])
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"5"])
def test_bad_bodies(family, raw):
    with pytest.raises(BadRequest):
        family.parse(raw, 1)
