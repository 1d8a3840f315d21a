"""The anthropic package: every attempt of every request waits for a limiter, and tells it what the server said.

    from anthropic import Anthropic
    import rlimit

    client = rlimit.anthropic.limit(Anthropic(), rlimit.Limiter(provider="anthropic"))      # AsyncAnthropic, ... too

or, where the SDK has middleware (0.108 and later), by it:

    client = Anthropic(middleware=[rlimit.anthropic.Middleware(limiter)])                   # AsyncAnthropic, ... too

Both do the same; limit() also works with older versions and with a client that somebody else made (LangChain).

Estimate    from the body: input by its characters (or tokenizer); output as learned, since Anthropic counts what was generated,
            not max_tokens. Where max_tokens is reserved (older accounts, many relays): reserves_output=True
Wait        in the limiter's queue, outside all time-outs of the SDK
Settle      with the usage of the response, of a stream with its last event's; what was read from a cache does not count
Hold        the permit counts as in flight until the body has been read, or the stream closed, exhausted or dropped
Retries     The SDK retries twice (408, 409, 429, 5xx, connection errors). Each of its attempts passes here, waits, and pays;
            those after the first are `retried` in status(). If you retry yourself (@rlimit.retry), let one own them:
            limit(client, limiter, retries=0) or Anthropic(max_retries=0)
Errors      AcquireTimeout, QueueFull and NeverAdmitted pass through the SDK; they are AnthropicErrors too, and are not retried
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

import anthropic

from ._call import Call, Gate, Options, Request
from ._httpx import count_retry, in_middleware, is_of, limit_sdk, send, send_async

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import Limiter

__all__ = ["limit", "Middleware", "Request"]

AnyClient = TypeVar("AnyClient")


def limit(client: AnyClient, limiter: Limiter, *, retries: Optional[int] = None, **options: Unpack[Options]) -> AnyClient:
    """Limits a client of the SDK, and those made of it by with_options() afterwards. Returns the same client.

    retries         how often the SDK retries; None: as the client has it (2), 0: never
    provider        whose headers and charges; default: the limiter's, else known by the host, else "anthropic" ("bedrock" for its
                    client)
    priority        "critical", "high", "normal", "low"
    queue_timeout   seconds in the limiter's queue, then AcquireTimeout; None: no end
    cost            a function of a Request(method, url, body) that returns meters, for example {"input_tokens": 900}, or None to
                    let it pass without the limiter. Default: RequestCost of the body; one request where there is none
    tokenizer       as of estimate_tokens
    reserves_output whether the server charges the maximum of the output at admission; None: as the provider does
    prices          (input, output), dollars for a million tokens; or a mapping of models to such pairs, "*" for all others: a
                    request for a model that is not in it raises ValueError. A limiter of microdollars needs it, or a cost that
                    tells them. Tokens read from a cache count in full: a budget is never passed, and may end early

    Calling it again changes the limiter. Raises TypeError for what is not a client of this SDK, ValueError for one whose middleware
    has a limiter already; where a copy gets such middleware later, its first request raises that.

        client = rlimit.anthropic.limit(Anthropic(), limiter)
        reply = client.messages.create(model=..., max_tokens=400, messages=[...])
    """
    default = "bedrock" if "bedrock" in type(client).__name__.lower() else "anthropic"
    if not is_of("anthropic", client) or not hasattr(client, "_client") or not hasattr(client, "max_retries"):
        raise TypeError("client: an Anthropic or AsyncAnthropic, not %s" % type(client).__name__)
    limit_sdk(client, Gate(limiter, default=default, base=anthropic.AnthropicError, **options), retries)
    return client


if TYPE_CHECKING:
    _Base = anthropic.Middleware
else:
    _Base = getattr(anthropic, "Middleware", object)  # 0.108 and later


class Middleware(_Base):
    """A limiter as middleware of the SDK; keywords as of limit(). It runs once for each attempt, retries included.

    Raises TypeError where the SDK has no middleware yet.

        client = AsyncAnthropic(middleware=[rlimit.anthropic.Middleware(limiter)])
    """

    def __init__(self, limiter: Limiter, **options: Unpack[Options]) -> None:
        if _Base is object:
            raise TypeError("anthropic %s has no middleware: use rlimit.anthropic.limit(client, limiter)" % anthropic.__version__)
        self._gate = Gate(limiter, default="anthropic", base=anthropic.AnthropicError, **options)

    _rlimit_middleware = True

    def _open(self, request: Any) -> Optional[Call]:
        call = self._gate.open(request.method, request.url, request.json)
        count_retry(call, getattr(request, "retries_taken", 0) > 0)
        return call

    def handle(self, request: Any, call_next: Callable[[Any], Any]) -> Any:
        def inner() -> Any:
            token = in_middleware.set(request.json if isinstance(request.json, dict) else {})
            try:
                return call_next(request)
            finally:
                in_middleware.reset(token)
        return send(self._open(request), inner, True, _response_of)

    async def handle_async(self, request: Any, call_next: Callable[[Any], Any]) -> Any:
        async def inner() -> Any:
            token = in_middleware.set(request.json if isinstance(request.json, dict) else {})
            try:
                return await call_next(request)
            finally:
                in_middleware.reset(token)
        return await send_async(self._open(request), inner, True, _response_of)


def _response_of(result: Any) -> Any:
    return result.http_response

