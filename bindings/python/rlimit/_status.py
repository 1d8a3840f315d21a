"""What Limiter.status() returns: imported with the first call."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from ._limit import Limit


class Usage(NamedTuple):
    """One limit now.

    meter:      what it counts: "requests" ... "custom", "concurrency", "ramp"
    limit:      as configured
    in_force:   as it is now, configured, followed or learned; None: nothing was learned yet, or a ramp at rest
    capacity:   of a bucket the burst, otherwise the amount
    used:       rounded up
    remaining:  rounded down; negative in debt
    reset:      seconds until nothing is used, if nobody comes; infinity for concurrency
    """

    meter: str
    limit: Limit
    used: int
    remaining: int
    reset: float
    in_force: Optional[Limit]
    capacity: int


class Status(NamedTuple):
    """A limiter now.

    limits:                 a Usage for each limit
    active:                 permits out
    queued:                 how many wait
    requests_last_minute:   admitted in the last 60 to 62 s
    succeeded, failed, retried, refused:    requests since the beginning: with a good answer, without, tried again (by @retry, or by
                                            an SDK that says so), and of those that failed the ones that the server refused (429), which are not counted as failed
    """

    limits: Tuple[Usage, ...]
    active: int
    queued: int
    requests_last_minute: int
    succeeded: int
    failed: int
    retried: int
    refused: int
