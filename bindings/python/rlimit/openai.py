"""The openai package: every attempt of every request waits for a limiter, and tells it what the server said.

    from openai import OpenAI
    import rlimit

    client = rlimit.openai.limit(OpenAI(), rlimit.Limiter(provider="openai"))       # AsyncOpenAI, AzureOpenAI, ... too

Why the client and not its http client: OpenAI(http_client=rlimit.httpx2.Client(limiter)) works as well, but replaces the SDK's
own defaults (time-out 10 minutes, 1000 connections, redirects), and which of httpx and httpx2 it must be depends on the SDK's
version. limit() keeps the http client that is there, whichever it is, aiohttp's included, proxies and all.

Estimate    from the body: input by its characters (or tokenizer), output by max_tokens or max_completion_tokens
Wait        in the limiter's queue, outside all time-outs of the SDK
Settle      with the usage of the response. A stream has one only if asked for: stream_options={"include_usage": True}; else the
            estimate stands, or the number of deltas if that is more
Hold        the permit counts as in flight until the body has been read, or the stream closed, exhausted or dropped: `break` and a
            cancelled task drop it, unless something else still refers to it
Retries     The SDK retries twice (408, 409, 429, 5xx, connection errors). Each of its attempts passes here, waits, and pays;
            those after the first are `retried` in status(). If you retry yourself (@rlimit.retry), let one own them:
            limit(client, limiter, retries=0) switches the SDK's off
Errors      AcquireTimeout, QueueFull and NeverAdmitted pass through the SDK; they are OpenAIErrors too, and are not retried
            (versions before 2 wrap them in APIConnectionError, and do)
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Optional, TypeVar

import openai

from ._call import Gate, Options, Request
from ._httpx import Body, is_of, limit_sdk

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import Limiter

__all__ = ["limit", "Request"]

AnyClient = TypeVar("AnyClient")


def limit(client: AnyClient, limiter: Limiter, *, retries: Optional[int] = None, **options: Unpack[Options]) -> AnyClient:
    """Limits a client of the SDK, and those made of it by with_options() afterwards. Returns the same client.

    retries         how often the SDK retries; None: as the client has it (2), 0: never
    provider        whose headers and charges; default: the limiter's, else known by the host, else "openai" ("azure" and
                    "bedrock" for their clients). For a relay that gives back what was not used of max_tokens: "litellm"
    priority        "critical", "high", "normal", "low"
    queue_timeout   seconds in the limiter's queue, then AcquireTimeout; None: no end
    cost            a function of a Request(method, url, body) that returns meters, for example {"input_tokens": 900}, or None to
                    let it pass without the limiter. Default: RequestCost of the body; one request where there is none
    tokenizer       as of estimate_tokens
    reserves_output whether the server charges the maximum of the output at admission; None: as the provider does
    prices          (input, output), dollars for a million tokens; or a mapping of models to such pairs, "*" for all others: a
                    request for a model that is not in it raises ValueError. A limiter of microdollars needs it, or a cost that
                    tells them. Tokens read from a cache count in full: a budget is never passed, and may end early

    Calling it again changes the limiter. Raises TypeError for what is not a client of this SDK.

        client = rlimit.openai.limit(OpenAI(), limiter)
        urgent = rlimit.openai.limit(client.with_options(), limiter, priority="high")
    """
    name = type(client).__name__.lower()
    default = "azure" if "azure" in name else "bedrock" if "bedrock" in name else "openai"
    if not is_of("openai", client) or not hasattr(client, "_client") or not hasattr(client, "max_retries"):
        raise TypeError("client: an OpenAI or AsyncOpenAI, not %s" % type(client).__name__)
    limit_sdk(client, Gate(limiter, default=default, base=openai.OpenAIError, **options), retries)
    for kind in (openai.Stream, openai.AsyncStream):
        if not hasattr(kind, "_rlimit"):
            _end_when_dropped(kind)
    return client


def _end_when_dropped(kind: Any) -> None:
    """Lets limited streams of this class of the SDK end at once when they are dropped.

    A Stream keeps a generator that keeps the Stream: without this, one that was left early would hold its connection, and its
    permit, until the garbage collector comes by. With concurrency=1 the next request would wait for that. Here the generator is
    that of a copy.
    """
    init = kind.__init__

    def __init__(self: Any, **options: Any) -> None:
        init(self, **options)
        if isinstance(getattr(self.response, "stream", None), Body) and "_iterator" in self.__dict__:
            del self._iterator
            self._iterator = copy(self).__stream__()

    kind._rlimit = True
    kind.__init__ = __init__
