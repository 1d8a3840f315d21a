"""What the body of an answer tells of tokens: imported by Response.usage."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Optional


class Usage(NamedTuple):
    """Tokens as the server counted them; those of the cache are not among the input. None: not told.

    input, cache_read, cache_write, output: ints
    """

    input: Optional[int]
    cache_read: int
    cache_write: int
    output: Optional[int]


def usage_of(body: Any) -> Optional[Usage]:
    """The usage in a JSON body; None if there is none, or the body is not JSON."""
    from ._call import find_usage, read_usage
    try:
        found = find_usage(json.loads(body if isinstance(body, str) else bytes(body))) if body else None
    except (TypeError, ValueError, RecursionError):
        return None
    return Usage(*read_usage(found)) if found else None
