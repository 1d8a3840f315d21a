"""Rate limiting for callers of metered APIs: use all of a quota and never exceed it.

    from rlimit import Limiter, per_minute

    claude = Limiter(requests=per_minute(50), input_tokens=per_minute(80_000), output_tokens=per_minute(16_000), concurrency=10)

    async with claude.acquire(input_tokens=1_200, output_tokens=400) as permit:      # also plain `with`
        reply = await client.messages.create(...)
        permit.settle(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens)

One line for an SDK: rlimit.openai.limit(client, limiter), rlimit.anthropic.limit(client, limiter); httpx, aiohttp, requests and
langchain likewise. What is not needed is not imported: the modules, and all but the limiter itself, come with their first use.
"""

from . import _rlimit
from ._limit import (Limit, adaptive, calendar_day, calendar_month, concurrent, fixed, learned, per, per_day, per_hour, per_minute,
                     per_second, ramp, sliding)
from ._limiter import Limiter
from ._rlimit import (NEVER, ON_RELEASE, PROVIDERS, Acquire, AcquireCancelled, AcquireTimeout, Bucket, Calendar, Check, Concurrency,
                      Feedback, LimitError, NeverAdmitted, Permit, QueueFull, Reading, Response, Route, Window, now, now_coarse,
                     parse, tsc_clock, wall)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import (aiohttp as aiohttp, anthropic as anthropic, httpx as httpx, httpx2 as httpx2, langchain as langchain,
                   openai as openai, requests as requests)
    from ._clock import ManualClock as ManualClock
    from ._config import Config as Config, ConfigError as ConfigError, Model as Model, Tier as Tier, load as load
    from ._estimate import RequestCost as RequestCost, estimate_tokens as estimate_tokens
    from ._map import Outcome as Outcome, amap as amap, map as map
    from ._retry import (Backoff as Backoff, Classified as Classified, Delays as Delays, RetryBudget as RetryBudget,
                         classify as classify, retry as retry)
    from ._status import Status as Status, Usage as Usage

__version__ = _rlimit.VERSION

_LATER = {"ManualClock": "_clock", "Config": "_config", "ConfigError": "_config", "Model": "_config", "Tier": "_config", "load": "_config",
          "RequestCost": "_estimate", "estimate_tokens": "_estimate", "Outcome": "_map", "amap": "_map", "map": "_map",
          "Backoff": "_retry", "Classified": "_retry", "Delays": "_retry", "RetryBudget": "_retry", "classify": "_retry",
          "retry": "_retry", "Status": "_status", "Usage": "_status"}
_MODULES = {"openai": "openai", "anthropic": "anthropic", "httpx": "httpx", "httpx2": "httpx2", "aiohttp": "aiohttp",
            "requests": "requests", "langchain": "langchain_core"}  # each with the library that it needs

__all__ = [
    "NEVER", "ON_RELEASE", "PROVIDERS", "Acquire", "AcquireCancelled", "AcquireTimeout", "Backoff", "Bucket", "Calendar", "Check",
    "Classified", "Concurrency", "Config", "ConfigError", "Delays", "Feedback", "Limit", "LimitError", "Limiter", "ManualClock", "Model",
    "NeverAdmitted", "Outcome", "Permit", "QueueFull", "Reading", "RequestCost", "Response", "RetryBudget", "Route", "Status", "Tier",
    "Usage", "Window", "__version__", "adaptive", "amap", "calendar_day", "calendar_month", "classify", "concurrent", "estimate_tokens",
    "fixed", "learned", "load", "map", "now", "now_coarse", "parse", "per", "per_day", "per_hour", "per_minute", "per_second", "ramp", "retry", "sliding", "tsc_clock",
    "wall"]


def __getattr__(name: str) -> object:
    from importlib import import_module
    if name in _LATER:
        value = getattr(import_module("." + _LATER[name], __name__), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module("." + name, __name__)
    raise AttributeError("module %r has no attribute %r" % (__name__, name))


def __dir__() -> "list[str]":
    from importlib.util import find_spec
    return sorted(set(globals()) | set(_LATER) | {name for name, library in _MODULES.items() if find_spec(library) is not None})
