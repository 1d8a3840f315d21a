"""An ordered list of models: the next one when the first is out of quota; wait for the first that has room when all are.

    python fallback_models.py
"""

import os
import pathlib
from typing import Any, Tuple

from rlimit import Limiter, NeverAdmitted, Permit, load, per_minute

limiters = {"large": Limiter(requests=per_minute(3), tokens=per_minute(20_000)),
            "medium": Limiter(requests=per_minute(5), tokens=per_minute(50_000)),
            "small": Limiter(requests=per_minute(600), tokens=per_minute(200_000))}


def route(**cost: Any) -> Tuple[str, Permit]:
    """The first model with room, and a permit of it."""
    waits = {}
    for name, limiter in limiters.items():
        try:
            permit = limiter.try_acquire(**cost)
        except NeverAdmitted:  # larger than this model's limit, now and ever
            continue
        if permit is not None:
            return name, permit
        waits[name] = limiter.check(**cost).wait
    if not waits:
        raise NeverAdmitted("%s: larger than every model's limit" % cost)
    name = min(waits, key=lambda each: waits[each])
    return name, limiters[name].acquire(**cost).wait()


for number in range(12):
    model, permit = route(input_tokens=30_000 if number == 1 else 3_000)
    permit.settle()
    print("request %2d: %s" % (number, model))

# The same from a file: models name their fallback.
os.environ.setdefault("RELAY_API_KEY", "demo")
config = load(pathlib.Path(__file__).with_name("limits.toml"))
print("large, then %s" % ", ".join(config.models["large"].fallback))
