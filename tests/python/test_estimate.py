"""estimate_tokens and RequestCost: the rules as stated, and the referee's own count for the same bodies."""

import base64
import json
import math
import pathlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlimit import RequestCost, Route, estimate_tokens

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


# -- Texts --

@given(st.text())
def test_a_token_is_four_characters_rounded_up(text):
    assert estimate_tokens(text) == math.ceil(len(text) / 4)


@given(st.lists(st.text(alphabet="abc", min_size=1)))
def test_a_word_is_1_3_tokens_rounded_up(words):
    assert estimate_tokens(" \n".join(words), method="words") == -(-len(words) * 13 // 10)


def test_empty_texts_cost_nothing():
    assert estimate_tokens("") == estimate_tokens("  ", method="words") == estimate_tokens("", len) == 0


class Encoder:
    """Callable with another meaning, as the tokenizers of one library are."""

    def __call__(self, text):
        return {"input_ids": [], "attention_mask": []}

    def encode(self, text):
        return text.split()


class Careful(Encoder):
    """Refuses special tokens, unless asked to take them as text, as tiktoken does."""

    def encode(self, text):
        raise ValueError("disallowed special token")

    def encode_ordinary(self, text):
        return list(text)


@pytest.mark.parametrize("tokenizer, tokens", [
    (len, 11), (str.split, 2), (Encoder(), 2), (Careful(), 11), (lambda text: 7, 7)])
def test_a_tokenizer_counts_exactly(tokenizer, tokens):
    assert estimate_tokens("hello world", tokenizer) == tokens


@pytest.mark.parametrize("tokenizer", ["gpt-4o", b"x", 3, object(), lambda text: None, lambda text: 1.5, lambda text: True])
def test_a_bad_tokenizer_is_named(tokenizer):
    with pytest.raises(TypeError, match="^tokenizer: "):
        estimate_tokens("hello", tokenizer)


def test_a_tokenizer_cannot_count_below_nothing():
    with pytest.raises(ValueError, match="^tokenizer: returned -1"):
        estimate_tokens("hello", lambda text: -1)


@pytest.mark.parametrize("text", [None, b"hello", 5, ["hello"]])
def test_only_a_text_has_tokens(text):
    with pytest.raises(TypeError, match="^text: must be a str, not "):
        estimate_tokens(text)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="^method: .*'letters'"):
        estimate_tokens("hello", method="letters")


def test_tiktoken():
    tiktoken = pytest.importorskip("tiktoken")
    encoding = tiktoken.Encoding("bytes", pat_str=r".", mergeable_ranks={bytes([i]): i for i in range(256)},
                                 special_tokens={"<|end|>": 256})
    assert estimate_tokens("ab<|end|>", encoding) == 9


# -- Bodies: text --

def chat(*contents, **more):
    return dict({"model": "m", "messages": [{"role": "user", "content": content} for content in contents]}, **more)


TEXT = "x" * 41
BODIES = [
    chat(TEXT),
    chat("x" * 20, "x" * 21),  # of all texts together, not rounded up each
    chat([{"type": "text", "text": TEXT}]),
    chat([{"type": "text", "text": "x" * 40, "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "x"}]),
    {"system": "x" * 40, "messages": [{"role": "user", "content": "x"}]},
    {"system": [{"type": "text", "text": "x" * 40}], "messages": [{"role": "user", "content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1234", "content": TEXT}]}]},
    {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
                                                "content": [{"type": "text", "text": TEXT}]}]}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "x", "arguments": "x" * 40}}]}]},
    {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x" * 39, "input": {}},
                                                    {"type": "text", "text": "xx"}]}]},
    {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": TEXT, "signature": "s" * 400}]}]},
    {"input": TEXT},
    {"input": [{"role": "user", "content": "x" * 40}], "instructions": "x"},
    {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}]},
    {"input": [{"type": "function_call_output", "call_id": "c", "output": TEXT}]},
    {"prompt": TEXT},
    {"prompt": ["x" * 40, "x"]},
    {"input": ["x" * 40, "x"], "model": "e"},
    {"contents": [{"role": "user", "parts": [{"text": "x" * 40}]}], "systemInstruction": {"parts": [{"text": "x"}]}},
    {"messages": [{"role": "user", "content": [{"text": "x" * 40}]}], "system": [{"text": "x"}],
     "inferenceConfig": {"maxTokens": 9}},
    {"messages": [{"role": "user", "content": [{"type": "document",
                                                "source": {"type": "text", "media_type": "text/plain", "data": TEXT}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "document",
                                                "source": {"type": "content", "content": [{"type": "text",
                                                                                           "text": TEXT}]}}]}]},
    {"messages": ({"role": "user", "content": ({"type": "text", "text": TEXT},)},)},
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: json.dumps(body)[:60])
def test_all_texts_of_a_body_are_counted_and_nothing_else(body):
    assert RequestCost.of(body).input_tokens == 11
    assert RequestCost.of(json.dumps(body)) == RequestCost.of(json.dumps(body).encode()) == RequestCost.of(body)


def test_tokens_given_as_numbers():
    assert RequestCost.of({"prompt": [1, 2, 3]}).input_tokens == 3
    assert RequestCost.of({"input": [[1, 2], [3]], "model": "m"}).input_tokens == 3


def as_json(value):
    """Tokens of a value as compact JSON."""
    return math.ceil(len(json.dumps(value, separators=(",", ":"))) / 4)


def test_tools_and_schemas_are_counted_as_json():
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    bare = RequestCost.of(chat("")).input_tokens
    for name in ("tools", "functions", "response_format", "output_config"):
        assert RequestCost.of(chat("", **{name: tools})).input_tokens == bare + as_json(tools)
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    assert RequestCost.of({"input": "", "text": {"format": schema}}).input_tokens == as_json(schema)


def test_a_tokenizer_counts_each_text_and_three_a_message():
    body = chat("one two", "three", tools=[{"name": "a b"}])
    assert RequestCost.of(body, tokenizer=str.split).input_tokens == 2 + 1 + 2 + 3 * 2 + 3
    assert RequestCost.of({"prompt": "one two"}, tokenizer=str.split).input_tokens == 2
    assert RequestCost.of(chat("one two"), method="words").input_tokens == 3


@given(st.lists(st.text(), min_size=1, max_size=5), st.integers(1, 10**6))
def test_the_referee_charges_the_same(texts, most):
    from relay.wire import FAMILIES
    body = chat(*texts, max_tokens=most)
    for family in FAMILIES:
        call = family.parse(json.dumps(body).encode(), 256)
        cost = RequestCost.of(body, provider="generic")
        assert (cost.input_tokens, cost.output_tokens) == (call.input_tokens, call.max_output)


# -- Bodies: what is not text --

DATA = base64.b64encode(bytes(48000)).decode()
PARTS = [
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + DATA}}, 1600),
    ({"type": "image_url", "image_url": {"url": "https://example.com/x.png", "detail": "low"}}, 85),
    ({"type": "input_image", "image_url": "data:image/png;base64," + DATA, "detail": "auto"}, 1600),
    ({"type": "input_image", "image_url": "data:image/png;base64," + DATA, "detail": "low"}, 85),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}, 1600),
    ({"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}, 1600),
    ({"image": {"format": "png", "source": {"bytes": DATA}}}, 1600),
    ({"inlineData": {"mimeType": "image/png", "data": DATA}}, 1600),
    ({"inline_data": {"mime_type": "audio/mp3", "data": DATA}}, 30),
    ({"type": "input_audio", "input_audio": {"format": "wav", "data": DATA}}, 30),
    ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}}, 1600),
    ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA * 10}}, 9600),
    ({"type": "document", "source": {"type": "url", "url": "https://example.com/" + "x" * 1000}}, 1600),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64," + DATA * 10}}, 9601),
    ({"type": "input_file", "file_id": "file-123"}, 1600),
    ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x"}}, 1600),
    ({"type": "text", "text": "data:image/png;base64," + DATA}, 1600),
    ({"type": "something_new", "words": "x" * 40, "inner": {"list": ["x"]}}, 11),
    ({}, 0),
]


@pytest.mark.parametrize("part, tokens", PARTS, ids=lambda value: json.dumps(value)[:50])
def test_what_is_not_text_is_counted_by_rule(part, tokens):
    assert RequestCost.of(chat([part])).input_tokens == tokens
    assert RequestCost.of({"contents": [{"parts": [part]}]}).input_tokens == tokens


# -- Bodies: output --

@pytest.mark.parametrize("more, tokens", [
    ({"max_tokens": 50}, 50), ({"max_completion_tokens": 50}, 50), ({"max_output_tokens": 50}, 50),
    ({"max_completion_tokens": 50, "max_tokens": 70}, 50), ({"max_tokens": None}, 256), ({"max_tokens": 0}, 256),
    ({"max_tokens": -5}, 256), ({"max_tokens": True}, 256), ({"max_tokens": "9"}, 256), ({"max_tokens": 50, "n": 3}, 150),
    ({"max_tokens": 50, "best_of": 2, "n": 1}, 100), ({"max_tokens": 1 << 50}, 1 << 40),
    ({"max_tokens": 1 << 39, "n": 1 << 39}, 1 << 40), ({"inferenceConfig": {"maxTokens": 7}}, 7),
    ({"generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}, 14), ({}, 256)])
def test_output_is_the_maximum_named(more, tokens):
    assert RequestCost.of(chat("hello", **more)).output_tokens == tokens


def test_output_expected_counts_where_nothing_is_reserved():
    body = chat("hello", max_tokens=1000)
    assert RequestCost.of(body, provider="anthropic").output_tokens == 1000  # nobody knows better
    assert RequestCost.of(body, provider="anthropic", expected_output=300).output_tokens == 300
    assert RequestCost.of(body, provider="anthropic", expected_output=3000).output_tokens == 1000
    assert RequestCost.of(body, provider="openai", expected_output=300).output_tokens == 1000  # reserved by the server
    assert RequestCost.of(chat("hello"), provider="openai", expected_output=300).output_tokens == 300
    for bad in (0, -1, 1 << 41, 1.5, "many", True):
        with pytest.raises((ValueError, TypeError), match="^expected_output: must be (an int|1 to 2\\^40), not "):
            RequestCost.of(body, expected_output=bad)


@pytest.mark.parametrize("body", [
    {"input": "x", "model": "text-embedding-3"}, {"input": ["x"]}, {"input": [1, 2]}, {"input": "x", "dimensions": 8}])
def test_embeddings_have_no_output(body):
    assert "output_tokens" not in RequestCost.of(body)


def test_a_route_corrects_the_estimate():
    route = Route()
    body = chat("x" * 4000, max_tokens=4000)
    for _ in range(40):
        route.learn({"input_tokens": 1000, "output_tokens": 4000}, {"input_tokens": 1500, "output_tokens": 100})
    bare, learned = (RequestCost.of(body, provider="anthropic", route=route_or_none) for route_or_none in (None, route))
    assert bare == {"requests": 1, "input_tokens": 1000, "output_tokens": 4000}
    assert 1400 <= learned.input_tokens <= 1700 and 80 <= learned.output_tokens <= 130
    assert RequestCost.of(body, provider="openai", route=route).output_tokens == 4000


@pytest.mark.parametrize("body, error", [
    ({}, ValueError), ({"model": "m"}, ValueError), ({"messages": None}, ValueError), ("{", ValueError),
    ("[1]", ValueError), (b"\xff", ValueError), (None, TypeError), (5, TypeError), ([], TypeError)])
def test_what_is_no_request_is_refused(body, error):
    with pytest.raises(error, match="^body: "):
        RequestCost.of(body)


def test_an_unknown_provider_is_named():
    with pytest.raises(ValueError, match="nobody"):
        RequestCost.of(chat("x"), provider="nobody")


JUNK = st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["type", "text", "content", "image", "image_url", "source", "data", "file", "input",
                                         "role", "parts", "arguments"])
                        | st.text(max_size=3), inner, max_size=4), max_leaves=12)


@given(st.dictionaries(st.sampled_from(["messages", "input", "prompt", "contents", "system", "tools", "max_tokens", "n",
                                        "text", "model"]), JUNK))
def test_no_body_breaks_it(body):
    """A server answers for what makes no sense."""
    if all(body.get(name) is None for name in ("messages", "input", "prompt", "contents")):
        with pytest.raises(ValueError):
            RequestCost.of(body)
    else:
        assert all(0 <= amount <= 1 << 40 for amount in RequestCost.of(body).values())


# -- RequestCost itself --

def test_a_cost_is_a_mapping_of_what_is_not_nothing():
    cost = RequestCost(input_tokens=5)
    assert dict(cost) == {"requests": 1, "input_tokens": 5} == dict(**cost)
    assert cost == RequestCost(requests=1, input_tokens=5) and hash(cost) == hash(RequestCost(input_tokens=5))
    assert (cost.requests, cost.input_tokens, cost.output_tokens, cost.microdollars, cost.custom) == (1, 5, 0, 0, 0)
    assert repr(cost) == "RequestCost(requests=1, input_tokens=5)" and eval(repr(cost)) == cost
    assert RequestCost(requests=0)["requests"] == 0
    with pytest.raises(TypeError):
        cost["requests"] = 2
    with pytest.raises(AttributeError):
        cost.input_tokens = 2


@pytest.mark.parametrize("field", ["requests", "input_tokens", "output_tokens", "microdollars", "custom"])
def test_bad_amounts_are_named(field):
    for bad in (-1, (1 << 40) + 1):
        with pytest.raises(ValueError, match="^%s: must be 0 to 2\\^40, not %d" % (field, bad)):
            RequestCost(**{field: bad})
    for bad in (1.0, "1", None, True):
        with pytest.raises(TypeError, match="^%s: must be an int, not " % field):
            RequestCost(**{field: bad})


@pytest.mark.parametrize("given_price, taken, microdollars", [
    (3, 15, 4500), (0.25, 1.25, 375), (0.1, 0, 100), (0.0001, 0, 1), (0, 0, 0)])
def test_prices_are_exact_and_rounded_up(given_price, taken, microdollars):
    assert RequestCost(input_tokens=1000, output_tokens=100).priced(given_price, taken).microdollars == microdollars


@pytest.mark.parametrize("price, error", [
    (-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("3", TypeError), (True, TypeError)])
def test_bad_prices_are_named(price, error):
    with pytest.raises(error, match="^output_price: "):
        RequestCost().priced(1, price)
