"""What a request will cost, before it is sent: tokens of a text, and the cost of a whole request body.

Rules are coarse on purpose; the response's usage settles the account, and a Route learns what the rules get wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sized
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, Union

from . import _rlimit
from ._limit import _number, _whole

if TYPE_CHECKING:
    from typing import Protocol

    from . import Route

    class Encoder(Protocol):
        def encode(self, text: str) -> Any: ...

    Tokenizer = Union[Encoder, Callable[[str], Any]]

__all__ = ["RequestCost", "estimate_tokens"]

AMOUNT_MAX = 1 << 40
CHARACTERS_A_TOKEN = 4
TOKENS_A_WORD = (13, 10)  # a token is 1/1.3 words
TOKENS_A_MESSAGE = 3  # what separates messages, and begins the reply: counted with a tokenizer only
OUTPUT_EXPECTED = 256  # where a request names no maximum, and nobody knows better
IMAGE_TOKENS = 1600  # about the most that a provider counts for an image
IMAGE_TOKENS_LOW = 85  # detail: low
AUDIO_BYTES_A_TOKEN = 1600  # ten tokens a second, 16 kB a second
FILE_BYTES_A_TOKEN = 50  # a page of 100 kB: 2,000 tokens

_METERS = ("requests", "input_tokens", "output_tokens", "microdollars", "custom")


# -- Texts --

def estimate_tokens(text: str, tokenizer: "Optional[Tokenizer]" = None, method: str = "characters") -> int:
    """About how many tokens a text has; 0 for an empty one.

    text:       a str
    tokenizer:  counts exactly: a function that returns a number or the tokens, or an object with `.encode(text)`, such as
                `tiktoken.get_encoding("o200k_base")`. method is not used then. Text that looks like a special token
                ("<|endoftext|>") is counted as text.
    method:     "characters": four characters a token, "words": 1.3 tokens a word; both rounded up

    Raises TypeError for a text or tokenizer of another kind, ValueError for another method.

    >>> estimate_tokens("How do I reset my password?")
    7
    >>> estimate_tokens("How do I reset my password?", method="words")
    8
    """
    if not isinstance(text, str):
        raise TypeError("text: must be a str, not %s" % type(text).__name__)
    return _Counter(tokenizer, method).total([text])


class _Counter:
    """Counts the tokens of texts by one rule."""

    def __init__(self, tokenizer: "Optional[Tokenizer]", method: str) -> None:
        if method not in ("characters", "words"):
            raise ValueError('method: must be "characters" or "words", not %r' % (method,))
        self.words = method == "words"
        # A method encode goes first: some tokenizers can also be called, and then return something else.
        self.encode: Optional[Callable[[str], Any]] = None
        if tokenizer is not None:
            encode = getattr(tokenizer, "encode_ordinary", None) or getattr(tokenizer, "encode", None)
            self.encode = encode if callable(encode) else tokenizer if callable(tokenizer) else None
            if self.encode is None or isinstance(tokenizer, (str, bytes)):
                raise TypeError("tokenizer: must be a function of a text or have a method encode, not %r" % (tokenizer,))

    def total(self, texts: List[str]) -> int:
        if self.encode is not None:
            return min(sum(self._tokens(self.encode, text) for text in texts), AMOUNT_MAX)
        if self.words:
            tokens, a_word = TOKENS_A_WORD
            return min(-(-sum(len(text.split()) for text in texts) * tokens // a_word), AMOUNT_MAX)
        return min(-(-sum(len(text) for text in texts) // CHARACTERS_A_TOKEN), AMOUNT_MAX)

    @staticmethod
    def _tokens(encode: Callable[[str], Any], text: str) -> int:
        tokens = encode(text)
        if isinstance(tokens, int) and not isinstance(tokens, bool):
            if tokens < 0:
                raise ValueError("tokenizer: returned %d for a text of %d characters" % (tokens, len(text)))
            return tokens
        if isinstance(tokens, Sized):
            return len(tokens)
        raise TypeError("tokenizer: must return a number or the tokens, not %s" % type(tokens).__name__)


# -- Bodies --

# Keys whose values are not part of the prompt, or are counted elsewhere.
_NOT_TEXT = frozenset((
    "type", "role", "id", "index", "status", "cache_control", "cachePoint", "signature", "thoughtSignature", "tool_use_id",
    "toolUseId",
    "tool_call_id", "call_id", "encrypted_content", "file_id", "container", "citations", "annotations", "logprobs", "detail",
    "media_type", "mime_type", "mimeType", "format"))
_IMAGES = frozenset(("image", "image_url", "input_image"))
_FILES = frozenset(("input_audio", "audio", "input_file", "file", "document", "video", "inlineData", "inline_data",
                    "fileData", "file_data"))
# Members of the body that are sent as JSON, or as good as.
_SCHEMAS = ("tools", "functions", "response_format", "toolConfig", "output_config", "output_format")
_PROMPTS = ("messages", "input", "prompt", "contents", "system", "instructions", "systemInstruction", "system_instruction")


class _Prompt:
    """Gathers what a body holds: texts, messages, and tokens of what is not text."""

    def __init__(self) -> None:
        self.texts: List[str] = []
        self.messages = 0
        self.tokens = 0

    def add(self, value: Any) -> None:
        """A text, a part, or a list of them. Numbers in a list are tokens."""
        if isinstance(value, str):
            self._add_text(value)
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, int):
                    self.tokens += 1
                else:
                    self.add(item)
        elif isinstance(value, Mapping):
            self._add_part(value)

    def add_json(self, value: Any) -> None:
        if value:
            self.texts.append(json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str))

    def _add_text(self, text: str) -> None:
        if text.startswith("data:") and ";base64," in text[:128]:
            kind, _, data = text[5:].partition(";")
            self._add_data(kind, len(data))
        else:
            self.texts.append(text)

    def _add_part(self, part: Mapping[str, Any]) -> None:
        kind = part.get("type")
        kind = kind if isinstance(kind, str) else ""
        if "role" in part:
            self.messages += 1
        if kind in _IMAGES or (not kind and "image" in part):
            self._add_image(part)
        elif kind in _FILES:
            self._add_file(part)
        else:
            for key, value in part.items():
                if key in _FILES and isinstance(value, Mapping):
                    self._add_file({key: value})
                elif key in ("input", "args", "arguments", "parameters", "json", "response") and not isinstance(value, str):
                    self.add_json(value)
                elif key not in _NOT_TEXT:
                    self.add(value)

    def _add_image(self, part: Mapping[str, Any]) -> None:
        image = part.get("image_url")
        detail = part.get("detail") or (image.get("detail") if isinstance(image, Mapping) else None)
        self.tokens += IMAGE_TOKENS_LOW if detail == "low" else IMAGE_TOKENS

    def _add_file(self, part: Mapping[str, Any]) -> None:
        """A file in one of many forms: its text where there is one, else by its size, else as one image."""
        before = self.tokens, len(self.texts)
        kind = ""
        places = [part]
        while places:
            place = places.pop()
            named = place.get("media_type") or place.get("mime_type") or place.get("mimeType") or place.get("format")
            kind = named if isinstance(named, str) else kind
            is_text = place.get("type") == "text"
            for key, value in place.items():
                if isinstance(value, Mapping):
                    kind = key if not kind and key != "source" else kind
                    places.append(value)
                elif key == "content" or (key in ("text", "title", "context") or (is_text and key == "data")):
                    self.add(value)
                elif key in ("data", "bytes", "file_data") and isinstance(value, (str, bytes)):
                    self._add_data(kind, len(value))
        if before == (self.tokens, len(self.texts)):
            self.tokens += IMAGE_TOKENS

    def _add_data(self, kind: str, base64_characters: int) -> None:
        size = base64_characters * 3 // 4
        if kind.startswith("image"):
            self.tokens += IMAGE_TOKENS
        elif "audio" in kind or kind in ("wav", "mp3", "pcm16"):
            self.tokens += -(-size // AUDIO_BYTES_A_TOKEN)
        else:
            self.tokens += max(-(-size // FILE_BYTES_A_TOKEN), IMAGE_TOKENS)


def _read_prompt(body: Mapping[str, Any]) -> _Prompt:
    if not any(body.get(name) is not None for name in _PROMPTS[:4]):
        raise ValueError("body: has none of messages, input, prompt, contents: not a request whose cost is known")
    prompt = _Prompt()
    for name in _PROMPTS:
        prompt.add(body.get(name))
    for name in _SCHEMAS:
        prompt.add_json(body.get(name))
    text = body.get("text")
    if isinstance(text, Mapping):  # of the responses API: the format of the answer
        prompt.add_json(text.get("format"))
    return prompt


def _sane(value: Any) -> int:
    """A number of at least 1, else 0: a server answers for what makes no sense."""
    return min(value, AMOUNT_MAX) if type(value) is int and value > 0 else 0


def _read_maximum(body: Mapping[str, Any]) -> int:
    """The most output tokens that the body asks for, of all its answers; 0 if it names none."""
    maximum = 0
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        maximum = maximum or _sane(body.get(name))
    answers = max(_sane(body.get("n")), _sane(body.get("best_of")), 1)
    for place, name in (("inferenceConfig", "maxTokens"), ("generationConfig", "maxOutputTokens"),
                        ("generation_config", "max_output_tokens")):
        config = body.get(place)
        if isinstance(config, Mapping):
            maximum = maximum or _sane(config.get(name))
            answers = max(answers, _sane(config.get("candidateCount")))
    return min(maximum * answers, AMOUNT_MAX)


def _is_embedding(body: Mapping[str, Any]) -> bool:
    given = body.get("input")
    if "embed" in str(body.get("model", "")).lower() or "encoding_format" in body or "dimensions" in body:
        return given is not None
    return isinstance(given, list) and bool(given) and all(isinstance(item, (str, int, list)) for item in given)


class RequestCost(Mapping[str, Any]):  # Any, so that checkers let it be spread over keywords of several types
    """What a request costs, by meter: a read-only mapping, to be spread over acquire().

    Holds `requests` always, and of input_tokens, output_tokens, microdollars and custom those that are not 0.
    As attributes all five can be read.

    Raises TypeError for what is not an int, ValueError for one below 0 or above 2^40.

    >>> cost = RequestCost.of({"messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 100})
    >>> dict(cost)
    {'requests': 1, 'input_tokens': 5, 'output_tokens': 100}
    >>> permit = limiter.acquire(**cost).wait()                                             # doctest: +SKIP
    """

    __slots__ = ("_amounts",)
    _amounts: Dict[str, int]

    def __init__(self, *, requests: int = 1, input_tokens: int = 0, output_tokens: int = 0, microdollars: int = 0,
                 custom: int = 0) -> None:
        amounts = {}
        for name, amount in zip(_METERS, (requests, input_tokens, output_tokens, microdollars, custom)):
            amount = _whole(name, amount, 0)
            if amount or name == "requests":
                amounts[name] = amount
        self._amounts = amounts

    @classmethod
    def of(cls, body: Any, *, provider: Optional[str] = None, tokenizer: "Optional[Tokenizer]" = None,
           route: "Optional[Route]" = None, method: str = "characters",
           expected_output: Optional[int] = None) -> "RequestCost":
        """The cost of a request body as the server counts it at admission.

        body:       a mapping, or JSON as str or bytes: chat completions, responses, completions and embeddings of OpenAI and
                    its likes, Anthropic messages, Gemini contents, Bedrock converse
        provider:   whose rules apply: "openai", "anthropic" ...; None: "generic", which reserves the maximum of the output
        tokenizer, method:  how texts are counted, see estimate_tokens
        route:      a Route that has learned what such requests cost: corrects the estimate
        expected_output:    tokens of an answer, where the provider does not reserve the maximum or none is named. None: the
                    maximum; where none is named, 256

        Counted as input: all texts of messages, system and instructions, calls of tools and their results; tools and
        schemas of answers as JSON. A tokenizer adds 3 tokens a message and 3 for the reply. An image is 1,600 tokens (85
        with detail "low"), audio a token for 1,600 bytes, other files one for 50 bytes but at least 1,600; a file named by
        URL or id is 1,600. What the server adds by itself (an earlier response, a stored prompt) is not known here.
        As output: max_completion_tokens, max_output_tokens or max_tokens, times `n`.

        Raises ValueError for a body that is none of these, JSON that is none, or a provider that is not known; TypeError for
        a body of another type.

        >>> RequestCost.of('{"model": "m", "input": "Hello", "max_output_tokens": 50}').output_tokens
        50
        """
        if expected_output is not None:
            expected_output = _whole("expected_output", expected_output)
        if route is not None and not isinstance(route, _rlimit.Route):
            raise TypeError("route: must be a Route or None, not %s" % type(route).__name__)
        body = _decode(body)
        prompt = _read_prompt(body)
        counter = _Counter(tokenizer, method)
        given = counter.total(prompt.texts) + prompt.tokens
        if counter.encode is not None and prompt.messages:
            given += TOKENS_A_MESSAGE * (prompt.messages + 1)
        given, maximum = min(given, AMOUNT_MAX), _read_maximum(body)
        if _is_embedding(body):
            expected = 0
        else:
            expected = expected_output or maximum or OUTPUT_EXPECTED
        if route is not None:
            corrected = route.estimate(input_tokens=given, output_tokens=expected)
            given, expected = corrected["input_tokens"], corrected["output_tokens"]
        return cls(**_rlimit.http_estimate("generic" if provider is None else provider, input_tokens=given, output_max=maximum,
                                           output_expected=expected))

    def priced(self, input_price: float, output_price: float) -> "RequestCost":
        """The same with its microdollars, rounded up. Prices in dollars for a million tokens, as price lists have them.

        Raises ValueError for a price that is negative or not a number.

        >>> RequestCost(input_tokens=1000, output_tokens=100).priced(3.0, 15.0).microdollars
        4500
        """
        dollars = [price_of(name, price) for name, price in (("input_price", input_price), ("output_price", output_price))]
        exact = self.input_tokens * dollars[0] + self.output_tokens * dollars[1]
        return type(self)(**dict(self._amounts, microdollars=min(-(-exact.numerator // exact.denominator), AMOUNT_MAX)))

    @property
    def requests(self) -> int:
        return self._amounts["requests"]

    @property
    def input_tokens(self) -> int:
        return self._amounts.get("input_tokens", 0)

    @property
    def output_tokens(self) -> int:
        return self._amounts.get("output_tokens", 0)

    @property
    def microdollars(self) -> int:
        return self._amounts.get("microdollars", 0)

    @property
    def custom(self) -> int:
        return self._amounts.get("custom", 0)

    def __getitem__(self, meter: str) -> Any:
        return self._amounts[meter]

    def __iter__(self) -> Iterator[str]:
        return iter(self._amounts)

    def __len__(self) -> int:
        return len(self._amounts)

    def __hash__(self) -> int:
        return hash(tuple(self._amounts.items()))

    def __repr__(self) -> str:
        return "RequestCost(%s)" % ", ".join("%s=%d" % item for item in self._amounts.items())


def price_of(name: str, price: Any) -> Fraction:
    """A price in dollars for a million tokens, which is microdollars a token, exactly as it is written."""
    if not 0 <= _number(name, price, "a number of dollars for a million tokens") <= 1e9:
        raise ValueError("%s: must be 0 to 10^9 dollars for a million tokens, not %r" % (name, price))
    return Fraction(repr(price))


def _decode(body: Any) -> Mapping[str, Any]:
    if isinstance(body, (str, bytes, bytearray)):
        try:
            body = json.loads(body)
        except ValueError as error:
            raise ValueError("body: not JSON: %s" % error) from None
        if not isinstance(body, dict):
            raise ValueError("body: a JSON %s, not an object" % type(body).__name__)
    if not isinstance(body, Mapping):
        raise TypeError("body: must be a mapping, or JSON as str or bytes, not %s" % type(body).__name__)
    return body
