"""LangChain: a model's requests wait for a limiter.

    model = rlimit.langchain.limit(ChatOpenAI(model=...), limiter)          # ChatAnthropic, AzureChatOpenAI, OpenAIEmbeddings ...

limits the SDK clients inside the model (see rlimit.openai, rlimit.anthropic): estimates from the request, settles with the usage,
holds concurrency until the answer is there, feeds the server's headers back; each retry of the SDK (max_retries of the model)
waits and pays. ChatOpenAI asks for the usage of its streams only with stream_usage=True where a base_url is set.

    model = ChatOpenAI(model=..., rate_limiter=rlimit.langchain.RateLimiter(limiter))

is LangChain's own hook, for models of any other kind. It carries neither the size of a request nor its end: a fixed cost is
taken, nothing is settled or fed back, concurrency is not held, and the SDK's retries do not pass it (max_retries=0 and
model.with_retry() do). Use one of the two, not both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, TypeVar

from langchain_core.rate_limiters import BaseRateLimiter

from ._httpx import is_of

if TYPE_CHECKING:
    from . import Acquire, Limiter
    from ._limit import Priority

__all__ = ["limit", "RateLimiter"]

AnyModel = TypeVar("AnyModel")

_PLACES = ("root_client", "root_async_client", "_client", "_async_client", "client", "async_client")


def limit(model: AnyModel, limiter: Limiter, **options: Any) -> AnyModel:
    """Limits the openai and anthropic clients of a model from now on; returns the same model.

    options     as of rlimit.openai.limit: retries, provider, priority, queue_timeout, cost, tokenizer, reserves_output, prices

    Raises TypeError for a model that is not built upon these SDKs: give it a RateLimiter.

        model = rlimit.langchain.limit(ChatAnthropic(model=..., max_tokens=400), limiter)
        replies = model.batch(prompts)
    """
    clients = _clients(model)
    if not clients:
        raise TypeError("model: %s has no client of openai or anthropic inside: rate_limiter=rlimit.langchain.RateLimiter("
                        "limiter)" % type(model).__name__)
    for client in clients:
        if is_of("anthropic", client):
            from . import anthropic
            anthropic.limit(client, limiter, **options)
        else:
            from . import openai
            openai.limit(client, limiter, **options)
    return model


def _clients(model: Any) -> List[Any]:
    """The SDK's clients of a model, each once. A place may hold a resource of a client, such as client.chat.completions."""
    found: List[Any] = []
    for place in _PLACES:
        client = getattr(model, place, None)
        if client is not None and not hasattr(client, "max_retries"):
            client = getattr(client, "_client", None)
        if client is None or not (is_of("openai", client) or is_of("anthropic", client)):
            continue
        if not any(client is other for other in found):
            found.append(client)
    return found


class RateLimiter(BaseRateLimiter):
    """A limiter for LangChain's `rate_limiter=`. Each call of the model takes the cost given here, at once and for good.

    input_tokens, output_tokens, microdollars, custom   what a request costs, about; ValueError without one of the latter two where the
                    limiter has a limit of it
    priority        "critical", "high", "normal", "low"
    queue_timeout   seconds in the limiter's queue, then AcquireTimeout; None: no end

        model = ChatOpenAI(model=..., rate_limiter=RateLimiter(limiter, input_tokens=900, output_tokens=200))
    """

    def __init__(self, limiter: Limiter, *, requests: int = 1, input_tokens: int = 0, output_tokens: int = 0,
                 microdollars: int = 0, custom: int = 0, priority: Priority = "normal", queue_timeout: Optional[float] = None) -> None:
        self._limiter = limiter
        self._cost: Dict[str, int] = {"requests": requests, "input_tokens": input_tokens, "output_tokens": output_tokens,
                                      "microdollars": microdollars, "custom": custom}
        for meter in ("microdollars", "custom"):
            if meter in limiter.meters and not self._cost[meter]:
                raise ValueError("%s: the limiter has a limit of it: say what a request takes" % meter)
        self._priority: Priority = priority
        self._timeout = queue_timeout

    def acquire(self, *, blocking: bool = True) -> bool:
        """Waits until the cost was taken, and returns True; with blocking=False returns at once whether it was."""
        if blocking:
            self._acquire().wait().settle()
            return True
        return self._try()

    async def aacquire(self, *, blocking: bool = True) -> bool:
        """As acquire, in a task."""
        if blocking:
            (await self._acquire()).settle()
            return True
        return self._try()

    def _acquire(self) -> Acquire:
        return self._limiter.acquire(priority=self._priority, timeout=self._timeout, **self._cost)

    def _try(self) -> bool:
        permit = self._limiter.try_acquire(**self._cost)
        if permit is None:
            return False
        permit.settle()
        return True
