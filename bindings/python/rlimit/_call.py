"""What all integrations share: one call of an API, from the estimate to the settlement.

A `Gate` stands for one line of the user: a limiter and how to use it. Each attempt of a request is a `Call`:

    call = gate.open("POST", url, body)         the estimate, from the request
    call.wait()  or  await call.wait_async()    the limiter's queue
    call.answered(status, headers)              what the headers say goes to the limiter
    call.feed(chunk)                            decoded bytes of the body, as they pass by
    call.finish()                               the body has been read: settled with the usage it told
    call.close()                                nobody will read the rest
    call.failed(error, sent)                    no answer came

The permit is held from wait() to whichever of the last three comes first; each may be called again, and from any thread.

What is settled
    usage told                       as the provider charges for it (rlm_http_charge). Where it reserves the maximum of a
                                     request's output and gives nothing back, never below the estimate
    no usage in a good answer        the estimate; of a stream at least as many output tokens as deltas were counted
    a stream cut short, or given up  likewise; the input as far as it was told
    refused by a limit (429)         the request counts, its tokens and its price do not
    redirected                       likewise: the next hop pays for itself
    any other failure                the estimate: it may have been processed
    never sent (no connection)       nothing: the permit is cancelled

A request that was cancelled before its answer came counts as failed in status(), and so does one that was never sent.

With `prices` microdollars are taken and settled too: input at the input price, also what was read from a cache, which costs
less; what was written to one at twice that, the most that is asked for it; output at the output price. So it is an upper bound,
but for what is priced apart from tokens (searches, images), and for batches, which are not charged at all.

OpenAI tells the usage of a stream only if the request asks for it with `stream_options={"include_usage": True}`.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from fractions import Fraction
from importlib import import_module
from typing import (TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Type, TypedDict,
                    Union, cast)
from urllib.parse import SplitResult, unquote, urlsplit

from . import AcquireTimeout, NeverAdmitted, QueueFull, RequestCost, Route, _rlimit, parse
from ._estimate import price_of

if TYPE_CHECKING:
    from . import Acquire, Limiter, Permit
    from ._limit import Priority

log = logging.getLogger("rlimit")

JSON_MOST = 16 << 20  # bytes of a JSON answer that are kept to read its usage; of a longer one the estimate stands
ERROR_MOST = 64 << 10  # bytes of an error's body that are looked at
LINE_MOST = 64 << 10  # bytes of one line of a stream that are kept: of a longer one, its end
AMOUNT_MOST = 1 << 40
ROUTES_MOST = 256  # models whose real costs are learned
WRITE_PRICES = 2  # of the input: what Anthropic asks for writing to a cache for an hour; for five minutes 1.25


class Request(NamedTuple):
    """What a `cost` function is given. body: JSON if it is that, else bytes or text; None if there is none, Ellipsis if it
    can be read only once."""

    method: str
    url: str
    body: Any


Cost = Mapping[str, int]
CostFunction = Callable[[Request], Optional[Cost]]
Price = Tuple[float, float]
Prices = Union[Price, Mapping[str, Price]]


class Options(TypedDict, total=False):
    """The keywords that all integrations have."""

    provider: Optional[str]
    """Whose headers and charges, one of rlimit.PROVIDERS. Default: the limiter's, else known by the host, else the SDK's own,
    else "generic"."""
    priority: Priority
    """"critical", "high", "normal" (default), "low"."""
    queue_timeout: Optional[float]
    """Seconds in the limiter's queue, then AcquireTimeout. Default: no end."""
    cost: Optional[CostFunction]
    """A function of a `Request(method, url, body)` that returns its cost as a mapping of meters, for example
    {"input_tokens": 900, "output_tokens": 200} (requests is 1 if not in it), or None to let the request pass without the
    limiter. Default: RequestCost of a JSON body; one request otherwise."""
    tokenizer: Optional[Callable[[str], Any]]
    """As of estimate_tokens."""
    reserves_output: Optional[bool]
    """Whether the server charges the maximum of the output when it admits a request. Default: as the provider does."""
    prices: Optional[Prices]
    """(input, output): dollars for a million tokens; or a mapping of models to such pairs, "*" for all others: a request for a
    model that is not in it raises ValueError. For a limiter of microdollars, which needs it, or a `cost` that tells them."""


def split(options: Dict[str, Any]) -> Tuple[Options, Dict[str, Any]]:
    """Our keywords, and those of others."""
    ours = {name: value for name, value in options.items() if name in Options.__annotations__}
    return cast(Options, ours), {name: value for name, value in options.items() if name not in ours}


class Usage(NamedTuple):
    """Tokens as a response tells them; input without what came from a cache. None: not told."""

    input: Optional[int] = None
    cache_read: int = 0
    cache_write: int = 0
    output: Optional[int] = None


def _count(value: object) -> Optional[int]:
    return value if type(value) is int and 0 <= value <= AMOUNT_MOST else None


def _detail(usage: Mapping[str, Any], name: str) -> Optional[int]:
    details = usage.get(name)
    return _count(details.get("cached_tokens")) if isinstance(details, dict) else None


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """The usage object of OpenAI (chat, responses, embeddings), Anthropic, Gemini or Bedrock, and of those who copy them."""
    get = usage.get
    if "promptTokenCount" in usage or "candidatesTokenCount" in usage:  # Gemini
        cached, thoughts = _count(get("cachedContentTokenCount")) or 0, _count(get("thoughtsTokenCount")) or 0
        given, output = _count(get("promptTokenCount")), _count(get("candidatesTokenCount"))
        return Usage(None if given is None else max(given - cached, 0), cached, 0, None if output is None else output + thoughts)
    if "inputTokens" in usage or "outputTokens" in usage:  # Bedrock
        return Usage(_count(get("inputTokens")), _count(get("cacheReadInputTokens")) or 0,
                     _count(get("cacheWriteInputTokens")) or 0, _count(get("outputTokens")))
    prompt, output = _count(get("prompt_tokens")), _count(get("completion_tokens"))
    if prompt is not None or output is not None:
        cached = min(_detail(usage, "prompt_tokens_details") or 0, prompt or 0)
        return Usage(None if prompt is None else prompt - cached, cached, 0, 0 if output is None else output)
    given, output = _count(get("input_tokens")), _count(get("output_tokens"))
    inside = _detail(usage, "input_tokens_details")  # the Responses API counts what was cached among the input
    if inside is not None:
        inside = min(inside, given or 0)
        return Usage(None if given is None else given - inside, inside, 0, output)
    return Usage(given, _count(get("cache_read_input_tokens")) or 0, _count(get("cache_creation_input_tokens")) or 0, output)


def find_usage(value: Any) -> Dict[str, Any]:
    """The usage object in an answer or in one event of a stream; empty if there is none."""
    if isinstance(value, list) and value:  # Gemini streams a list
        value = value[-1]
    if not isinstance(value, dict):
        return {}
    for place in (value, value.get("response"), value.get("message"), value.get("metadata")):
        if isinstance(place, dict):
            found = place.get("usage") or place.get("usageMetadata")
            if isinstance(found, dict):
                return found
    return {}


# -- What passes by of a body --

class _Whole:
    """A JSON answer or an error: kept, for it is small and its reader keeps it too."""

    def __init__(self, most: int, truncate: bool) -> None:
        self._parts: List[bytes] = []
        self._room = most
        self._truncate = truncate

    def feed(self, chunk: bytes) -> None:
        if len(chunk) > self._room:
            if not self._truncate:
                self._parts.clear()
                self._room = -1
                return
            chunk = chunk[:self._room]
        if self._room > 0:
            self._parts.append(bytes(chunk))
            self._room -= len(chunk)

    def body(self) -> bytes:
        return b"".join(self._parts)


class _Events:
    """Server-sent events: lines are looked at as they pass, and only those parsed that tell usage, an error or the end."""

    _USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*(?=\{)')
    _ERROR = re.compile(rb'"error"\s*:\s*\{|"type"\s*:\s*"(?:error|response\.failed)"')
    _END = re.compile(rb'^data:\s*\[DONE\]|"type"\s*:\s*"(?:message_stop|response\.completed|response\.incomplete)"')

    def __init__(self, on_error: Callable[[bytes], None]) -> None:
        self._on_error = on_error
        self._line = b""  # begun, not ended
        self._cut = False  # whether its beginning was dropped
        self.usage: Dict[str, Any] = {}
        self.deltas = 0
        self.told = False  # whether the usage is that of the whole answer
        self.ended = False

    def feed(self, chunk: bytes) -> None:
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n")
        if end >= 0:
            lines = chunk[:end].split(b"\n")
            self._take(self._line + lines[0])
            for line in lines[1:]:
                self._take(line)
            self._line = b""
        self._line += chunk[end + 1:]
        if len(self._line) > LINE_MOST:
            self._line = self._line[-LINE_MOST // 2:]
            self._cut = True

    def finish(self) -> None:
        self._take(self._line)
        self._line = b""

    def _take(self, line: bytes) -> None:
        cut, self._cut = self._cut, False
        if not line or not (cut or line.startswith(b"data:")):
            return
        if b'"delta"' in line:
            self.deltas += 1
        if self._USAGE.search(line):
            self._take_usage(line, cut)
        if self._END.search(line):
            self.ended = True
        elif not cut and self._ERROR.search(line):
            self._take_error(line[5:].strip())

    def _take_usage(self, line: bytes, cut: bool) -> None:
        event: Any = None
        if cut:  # the end of a long event: usage is its last object of that name
            *_, last = self._USAGE.finditer(line)
            event = {"usage": _decode_first(line[last.end():])}
        else:
            event = _decode_first(line[5:])
        found = find_usage(event)
        if found:
            self.usage.update((name, value) for name, value in found.items() if value is not None)
            self.told = event.get("type") != "message_start"

    def _take_error(self, data: bytes) -> None:
        event = _decode_first(data)
        if not isinstance(event, dict):
            return
        if event.get("type") in ("error", "response.failed") or isinstance(event.get("error"), dict):
            self._on_error(data)


def _decode_first(data: bytes) -> Any:
    """The JSON value that begins data; None if there is none."""
    try:
        return json.JSONDecoder().raw_decode(data.decode("utf-8", "replace").lstrip())[0]
    except ValueError:
        return None


# -- Compressed bodies, where the hook lies below the library's own decoder --

def decoder(encoding: str) -> Optional[Callable[[bytes], bytes]]:
    """A function that decodes the chunks of a body with this Content-Encoding in turn; None if that is not possible."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return bytes
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflate().feed
    for name, make in _DECODERS.get(encoding, ()):
        try:
            return make(import_module(name))
        except ImportError:
            pass
    return None


# The libraries that httpx itself uses: where there is none of them, it does not ask for the encoding.
_DECODERS: Dict[str, Tuple[Tuple[str, Callable[[Any], Callable[[bytes], bytes]]], ...]] = {
    "br": (("brotli", lambda library: _Brotli(library.Decompressor()).feed),
           ("brotlicffi", lambda library: _Brotli(library.Decompressor()).feed)),
    "zstd": (("compression.zstd", lambda library: library.ZstdDecompressor().decompress),
             ("backports.zstd", lambda library: library.ZstdDecompressor().decompress),
             ("zstandard", lambda library: library.ZstdDecompressor().decompressobj().decompress)),
}


class _Brotli:
    def __init__(self, stream: Any) -> None:
        self.feed: Callable[[bytes], bytes] = getattr(stream, "process", None) or stream.decompress


class _Inflate:
    """gzip and deflate, which some servers send without its header."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._first = True

    def feed(self, chunk: bytes) -> bytes:
        try:
            decoded = self._stream.decompress(chunk)
        except zlib.error:
            if not self._first:
                raise
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
            decoded = self._stream.decompress(chunk)
        self._first = False
        return decoded


# -- Providers --

_HOSTS = (("api.openai.com", "openai"), (".openai.azure.com", "azure"), (".cognitiveservices.azure.com", "azure"),
          ("api.anthropic.com", "anthropic"), (".amazonaws.com", "bedrock"), ("generativelanguage.googleapis.com", "gemini"),
          ("api.groq.com", "groq"), ("api.cerebras.ai", "cerebras"), ("openrouter.ai", "openrouter"))
_FREE = ("/count_tokens", "/messages/batches", "/batches", "/files", "/models")  # no tokens are charged there


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def provider_of(url: str) -> Optional[str]:
    """The provider whose host this is; None if it is not known."""
    host = (_parts(url).hostname or "").lower()
    for end, provider in _HOSTS:
        if host == end.lstrip(".") or host.endswith(end if end[0] == "." else "." + end):
            return provider
    return None


def reserves(provider: str) -> bool:
    """Whether the maximum of a request's output is charged when it is admitted."""
    return bool(_rlimit.http_estimate(provider, output_max=2, output_expected=1)["output_tokens"] >= 2)


def keeps(provider: str) -> bool:
    """Whether what was reserved of it is kept, though less was used."""
    return reserves(provider) and bool(_rlimit.http_charge(provider, output_tokens=0, output_max=2)["output_tokens"] >= 2)


# -- The gate and its calls --

_NO_ESTIMATE = ("a request to %s cannot be estimated (%s): it counts as one request without tokens; cost= takes a function that "
                "knows better")


def _without_secrets(url: str) -> str:
    """A URL for a log: keys may stand in its query, passwords before its host."""
    parts = _parts(url)
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()


_NO_PRICE = "prices: a request to %s cannot be priced (%s): cost= takes a function that knows better"


def _pair(name: str, given: Any) -> Tuple[Fraction, Fraction]:
    if not isinstance(given, (tuple, list)):
        raise TypeError("%s: must be a pair of dollars for a million tokens, (input, output), not %r" % (name, given))
    if len(given) != 2:
        raise ValueError("%s: must be two prices, (input, output), not %d" % (name, len(given)))
    return price_of(name + "[0]", given[0]), price_of(name + "[1]", given[1])


def _prices_of(given: Any) -> Dict[str, Tuple[Fraction, Fraction]]:
    """Microdollars for a token of input and of output, by model."""
    if not isinstance(given, Mapping):
        return {"*": _pair("prices", given)}
    if not given:
        raise ValueError("prices: no model is in it")
    for model in given:
        if not isinstance(model, str):
            raise TypeError("prices: must be of names of models, not %r" % (model,))
    return {model: _pair("prices[%r]" % model, pair) for model, pair in given.items()}


_MODEL = re.compile(r"/(?:models?|deployments)/([^/]+?)(?::[A-Za-z]+)?(?:/|$)")  # of Gemini, Bedrock and Azure


def _model_of(url: str, body: Any) -> Optional[str]:
    """The model that a request names, in its body or else in its path."""
    model = body.get("model") if isinstance(body, dict) else None
    if isinstance(model, str):
        return model
    found = _MODEL.search(_parts(url).path)
    return unquote(found.group(1)) if found else None


class Gate:
    """One line of the user: a limiter, and how its calls are estimated and settled."""

    def __init__(self, limiter: Limiter, *, default: str = "generic", base: Optional[Type[Exception]] = None,
                 provider: Optional[str] = None, priority: Priority = "normal", queue_timeout: Optional[float] = None,
                 cost: Optional[CostFunction] = None, tokenizer: Optional[Callable[[str], Any]] = None,
                 reserves_output: Optional[bool] = None, prices: Optional[Prices] = None, **unknown: object) -> None:
        """default: the provider, if neither it nor the limiter's is given and the host tells none. base: a class that errors
        of waiting are to have too, so that the library passes them through."""
        for name in unknown:
            raise TypeError("%s: no such keyword; there are %s" % (name, ", ".join(Options.__annotations__)))
        if not hasattr(limiter, "acquire"):
            raise TypeError("limiter: an rlimit.Limiter, not %r" % (limiter,))
        for name, function in (("cost", cost), ("tokenizer", tokenizer)):
            if function is not None and not callable(function):
                raise TypeError("%s: a function, or None, not %r" % (name, function))
        if reserves_output not in (None, False, True):
            raise TypeError("reserves_output: True, False or None, not %r" % (reserves_output,))
        try:
            limiter.acquire(priority=priority, timeout=queue_timeout)  # not waited for
        except (TypeError, ValueError) as error:
            raise type(error)(re.sub("^timeout", "queue_timeout", str(error))) from None
        self.limiter = limiter
        self.priority: Priority = priority
        self.queue_timeout = queue_timeout
        self._provider = provider if provider is not None else limiter.provider
        self._default = default
        self._cost = cost
        self._tokenizer = tokenizer
        self._reserves = reserves_output
        self.base = base
        known = None if prices is None else _prices_of(prices)
        if cost is None and known is None and "microdollars" in limiter.meters:
            raise ValueError("prices: the limiter has a limit of microdollars: give (input, output), in dollars for a million tokens, "
                             "or a cost function")
        if cost is None and "custom" in limiter.meters:
            raise ValueError("cost: the limiter has a limit of custom: give a function that says what a request takes of it")
        self._prices = known if "microdollars" in limiter.meters else None
        self._errors: Dict[Type[Exception], Type[Exception]] = {
            kind: also(kind, base) for kind in (AcquireTimeout, QueueFull, NeverAdmitted)}
        self._routes: Dict[str, Route] = {}
        self._said: set[str] = set()
        if self._provider is not None:
            parse(200, (), provider=self._provider)  # ValueError for a name that is not known, now rather than later

    def open(self, method: str, url: str, body: Any) -> Optional[Call]:
        """A call, not admitted yet; None if the cost function lets this request pass. body: bytes or text; None if there is
        none, Ellipsis if it cannot be looked at without using it up."""
        provider = self._provider or provider_of(url) or self._default
        value = _json(body)
        if self._cost is not None:
            cost = self._costs(Request(method, url, value))
            return None if cost is None else self._priced(Call(self, provider, cost), url, value)
        if method.upper() not in ("POST", "PUT", "PATCH") or body is None or _parts(url).path.endswith(_FREE):
            return Call(self, provider, {"requests": 1})
        if not isinstance(value, dict):
            return self._unknown("body", provider, url, "its body is not a JSON object")
        try:
            raw = dict(RequestCost.of(value, provider=provider, tokenizer=self._tokenizer))
        except Exception as error:
            return self._unknown("estimate", provider, url, error)
        return self._priced(self._estimated(provider, raw, value), url, value)

    def _unknown(self, what: str, provider: str, url: str, why: object) -> Call:
        """A request without an estimate: a warning, but where there is a budget an error, for it is not to be passed silently."""
        if self._prices is not None:
            raise also(ValueError, self.base)(_NO_PRICE % (_without_secrets(url), why))
        self.say(what, _NO_ESTIMATE, _without_secrets(url), why)
        return Call(self, provider, {"requests": 1})

    def _priced(self, call: Call, url: str, value: Any) -> Call:
        """With its microdollars, unless the user's function told them, or says that it takes no tokens."""
        tokens = {meter: call.cost[meter] for meter in ("input_tokens", "output_tokens") if call.cost.get(meter)}
        if self._prices is None or "microdollars" in call.cost or (self._cost is not None and not tokens):
            return call
        model = _model_of(url, value)
        call.price = self._prices.get(str(model)) or self._prices.get("*")
        if call.price is None:
            raise also(ValueError, self.base)(_NO_PRICE % (_without_secrets(url), "there is none of %s" % (
                "a request that names no model" if model is None else "model %r" % model)))
        call.cost = dict(call.cost, microdollars=_microdollars(call.price, **tokens))
        return call

    def _costs(self, request: Request) -> Optional[Dict[str, int]]:
        """What the user's function says, looked at before anything is waited for."""
        assert self._cost is not None
        try:
            given = self._cost(request)
        except Exception as error:
            if self.base is None:
                raise
            raise also(RuntimeError, self.base)("cost: the function raised %r" % (error,)) from error
        if given is None:
            return None
        try:
            cost = dict({"requests": 1}, **given)
            self.limiter.acquire(priority=self.priority, **cost)  # not waited for
        except (TypeError, ValueError, OverflowError) as error:
            raise also(type(error), self.base)("cost: the function returned %r: %s" % (given, error)) from None
        return cost

    def _estimated(self, provider: str, raw: Dict[str, int], value: Dict[str, Any]) -> Call:
        """With what was learned of this model, unless the server keeps its own estimate whatever the answer costs."""
        if keeps(provider):
            return Call(self, provider, raw)
        model = str(value.get("model"))
        route = self._routes.get(model)
        if route is None and len(self._routes) < ROUTES_MOST:
            route = self._routes.setdefault(model, Route())
        if route is None:
            return Call(self, provider, raw)
        corrected = route.estimate(**raw)
        cost = dict(raw, input_tokens=corrected["input_tokens"])
        if not (reserves(provider) if self._reserves is None else self._reserves):
            cost["output_tokens"] = corrected["output_tokens"]
        return Call(self, provider, cost, raw, route)

    def retyped(self, error: Exception) -> Exception:
        """The same error, in a class that the library in between passes through."""
        wanted = self._errors.get(type(error))
        if wanted is None or wanted is type(error):
            return error
        other = wanted(*error.args)
        other.__dict__.update(error.__dict__)
        return other

    def say(self, what: str, text: str, *args: object) -> None:
        """Logs a warning, once for this gate."""
        if what not in self._said:
            self._said.add(what)
            log.warning(text, *args)


def also(kind: Type[Exception], base: Optional[Type[Exception]]) -> Type[Exception]:
    """The class, as one of base too."""
    if base is None:
        return kind
    return type(kind.__name__, (kind, base), {"__module__": "rlimit", "__doc__": kind.__doc__, "__reduce__": _as_plain})


def _as_plain(self: Any) -> Tuple[Any, ...]:
    """Pickled as the class that has a name: the one before this is made where it is needed."""
    return type(self).__mro__[1], self.args, self.__dict__


def _microdollars(price: Tuple[Fraction, Fraction], input_tokens: int = 0, output_tokens: int = 0) -> int:
    """Rounded up."""
    exact = input_tokens * price[0] + output_tokens * price[1]
    return min(-(-exact.numerator // exact.denominator), AMOUNT_MOST)


def _json(body: Any) -> Any:
    """A body as JSON if it is that, else as it was."""
    if isinstance(body, (bytes, bytearray, str)) and body[:1] in (b"{", b"[", "{", "[", b" ", " ", b"\n", "\n"):
        try:
            return json.loads(body)
        except ValueError:
            pass
    return body


class Call:
    """One attempt of a request: see the top of this file for its life."""

    def __init__(self, gate: Gate, provider: str, cost: Dict[str, int], raw: Optional[Dict[str, int]] = None,
                 route: Optional[Route] = None) -> None:
        """raw: the estimate before route corrected it."""
        self.gate = gate
        self.cost = cost
        self.price: Optional[Tuple[Fraction, Fraction]] = None  # microdollars for a token of input, and of output
        self.waited = 0.0
        self._provider = provider
        self._raw = raw
        self._route = route
        self._permits: List[Permit] = []  # one or none: taken from it by whoever ends the call first
        self._status = 0
        self._headers: List[Tuple[str, str]] = []
        self._reader: Union[_Whole, _Events, None] = None
        self._decode: Optional[Callable[[bytes], bytes]] = bytes

    def _acquire(self) -> Acquire:
        gate = self.gate
        return gate.limiter.acquire(priority=gate.priority, timeout=gate.queue_timeout, **self.cost)

    def wait(self) -> None:
        """Waits in the limiter's queue, in this thread. Raises AcquireTimeout, QueueFull or NeverAdmitted."""
        try:
            self._admitted(self._acquire().wait())
        except (AcquireTimeout, QueueFull, NeverAdmitted) as error:
            raise self.gate.retyped(error) from None
        except RuntimeError as error:  # it would block an event loop
            raise also(RuntimeError, self.gate.base)(*error.args) if type(error) is RuntimeError else error from None

    async def wait_async(self) -> None:
        """Waits in the limiter's queue, as a task."""
        try:
            self._admitted(await self._acquire())
        except (AcquireTimeout, QueueFull, NeverAdmitted) as error:
            raise self.gate.retyped(error) from None

    def _admitted(self, permit: Permit) -> None:
        self._permits.append(permit)
        self.waited = permit.waited

    def answered(self, status: int, headers: Iterable[Tuple[Any, Any]], encoding: str = "") -> None:
        """The head of a response is there. encoding: how the chunks are compressed that feed() will be given."""
        self._status = status
        self._headers = [(_text(name), _text(value)) for name, value in headers]
        if status >= 400:
            self._reader = _Whole(ERROR_MOST, True)
        else:
            self._observe(b"")
            kind = next((value for name, value in self._headers if name.lower() == "content-type"), "").lower()
            if "event-stream" in kind:
                self._reader = _Events(self._observe)
            elif "json" in kind:
                self._reader = _Whole(JSON_MOST, False)
        if self._reader is not None and encoding:
            self._decode = decoder(encoding)
            if self._decode is None:
                self._reader = None
                self.gate.say("encoding", "answers in content-encoding %s cannot be read here: they are settled with the "
                              "estimate", encoding)

    def feed(self, chunk: bytes) -> None:
        """Some of the body. Never raises: what cannot be understood is not looked at any more."""
        reader = self._reader
        if reader is None or self._decode is None:
            return
        try:
            reader.feed(self._decode(chunk))
        except Exception as error:
            self._reader = None
            self.gate.say("read", "an answer cannot be understood (%r): it is settled with the estimate", error)

    def finish(self) -> None:
        """The body has been read whole."""
        self._end(True)

    def close(self) -> None:
        """Nobody will read the rest of the body, or of a call that was finished: nothing."""
        self._end(False)

    def failed(self, error: BaseException, sent: bool = True) -> None:
        """No answer came, or its body broke off."""
        if isinstance(error, Exception) or not self._status:
            self._observe(b"", answered=False)
        if sent:
            self._end(False)
        for permit in self._take():
            permit.cancel()

    def _take(self) -> List[Permit]:
        try:
            return [self._permits.pop()]  # one bytecode takes it: two threads cannot both have it
        except IndexError:
            return []

    def _observe(self, body: bytes, answered: bool = True) -> None:
        """Tells the limiter what the server said, or that it said nothing."""
        for permit in self._permits[:1]:
            try:
                answer = parse(self._status if answered else 0, self._headers if answered else (), body, provider=self._provider)
                self.gate.limiter.observe(answer.feedback, permit)
            except Exception as error:
                self.gate.say("observe", "an answer's limits cannot be understood: %r", error)

    def _end(self, whole: bool) -> None:
        if not self._permits:
            return
        reader, self._reader = self._reader, None
        actual: Dict[str, int] = {}
        try:
            if self._status >= 400:
                self._observe(reader.body() if isinstance(reader, _Whole) else b"")
            if self._status == 429 or 300 <= self._status < 400:
                actual = {"input_tokens": 0, "output_tokens": 0}
                if "microdollars" in self.cost:
                    actual["microdollars"] = 0
            elif 200 <= self._status < 300:
                actual = self._actual(reader, whole)
        except Exception as error:
            self.gate.say("end", "an answer cannot be understood (%r): it is settled with the estimate", error)
        for permit in self._take():
            permit.settle(**actual)

    def _actual(self, reader: Union[_Whole, _Events, None], whole: bool) -> Dict[str, int]:
        """What to settle with; a meter that is not in it stays as estimated."""
        if isinstance(reader, _Events):
            if whole:
                reader.finish()
            if reader.told and (whole or reader.ended):
                return self._charge(read_usage(reader.usage))
            return self._cut_short(read_usage(reader.usage), reader.deltas)
        if isinstance(reader, _Whole) and whole:
            body = reader.body()
            if b'sage' in body:
                return self._charge(read_usage(find_usage(json.loads(body))))
        return {}

    def _charge(self, usage: Usage, learn: bool = True) -> Dict[str, int]:
        if usage.input is None and usage.output is None:
            return {}
        charge = _rlimit.http_charge(self._provider, input_tokens=usage.input or 0, cache_read=usage.cache_read,
                                     cache_write=usage.cache_write, output_tokens=usage.output or 0)
        actual = {}
        if usage.input is not None:
            actual["input_tokens"] = charge["input_tokens"]
        if usage.output is not None:
            actual["output_tokens"] = charge["output_tokens"]
        if learn and self._route is not None and self._raw is not None:
            self._route.learn(self._raw, dict(self._raw, **actual))
        if keeps(self._provider):
            actual = {meter: max(amount, self.cost.get(meter, 0)) for meter, amount in actual.items()}
        if self.price is not None:
            actual["microdollars"] = self._paid(self.price, usage)
        return actual

    def _paid(self, price: Tuple[Fraction, Fraction], usage: Usage) -> int:
        """Microdollars at most; of what is not told, as estimated."""
        given = self.cost.get("input_tokens", 0) if usage.input is None else usage.input + usage.cache_read + (
            WRITE_PRICES * usage.cache_write)
        return _microdollars(price, given, self.cost.get("output_tokens", 0) if usage.output is None else usage.output)

    def _cut_short(self, usage: Usage, deltas: int) -> Dict[str, int]:
        output = max(usage.output or 0, deltas)
        told = self._charge(usage._replace(output=output), learn=False)
        told["output_tokens"] = max(told["output_tokens"], self.cost.get("output_tokens", 0))
        if self.price is not None:
            told["microdollars"] = self._paid(self.price, usage._replace(output=max(output, self.cost.get("output_tokens", 0))))
        return told


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
