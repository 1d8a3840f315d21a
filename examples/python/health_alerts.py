"""A warning when a limit is 70 % used and an alarm at 90 %, by a hook of your own: a log line here, a webhook or more
workers elsewhere.

    python health_alerts.py
"""

import logging
from typing import Callable, Dict

from rlimit import Limiter, ManualClock, per_minute

logging.basicConfig(format="%(levelname)s %(message)s")
Hook = Callable[[str, str, float], None]


class Health:
    """Calls hook(level, meter, share) when the level of a limit changes: "ok", "warning", "critical"."""

    def __init__(self, limiter: Limiter, hook: Hook, warning: float = 0.7, critical: float = 0.9) -> None:
        self.limiter, self.hook, self.warning, self.critical = limiter, hook, warning, critical
        self.levels: Dict[int, str] = {}

    def look(self) -> None:
        """After each call, or now and then."""
        for index, usage in enumerate(self.limiter.status().limits):
            share = usage.used / usage.capacity
            level = "critical" if share >= self.critical else "warning" if share >= self.warning else "ok"
            if level != self.levels.get(index, "ok"):
                self.hook(level, usage.meter, share)
            self.levels[index] = level


def log(level: str, meter: str, share: float) -> None:
    logging.log({"ok": logging.WARNING, "warning": logging.WARNING, "critical": logging.CRITICAL}[level],
                "%s: %s, %.0f %% used", level, meter, 100 * share)


clock = ManualClock()  # time by hand, so that this ends at once
limiter = Limiter(requests=per_minute(50), tokens=per_minute(80_000), clock=clock)
health = Health(limiter, log)
for _ in range(10):
    limiter.acquire(input_tokens=7_500).wait().settle()
    health.look()
clock.advance(30)
health.look()
