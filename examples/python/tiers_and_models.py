"""Tiers and models from limits.toml, several side by side, each with its own limiter.

    python tiers_and_models.py
"""

import os
import pathlib

from rlimit import ConfigError, load

os.environ.setdefault("RELAY_API_KEY", "demo")
FILE = pathlib.Path(__file__).with_name("limits.toml")

config = load(FILE)  # a key that is missing, a bad URL, a limit of zero: all said here, before any call
for name, tier in config.tiers.items():
    print("%-12s %s" % (name, ", ".join("%s=%r" % option for option in tier.options.items())))

body = {"messages": [{"role": "user", "content": "Summarise this ticket: ..."}], "max_tokens": 300}
for name, model in config.models.items():
    limiter = config.limiter(name)
    with limiter.acquire(**model.cost(body)) as permit:
        print("%-12s %s at %s costs about %s" % (name, model.provider, model.base_url, dict(permit.cost)))

try:
    load(FILE.with_name("limits_wrong.toml"))
except ConfigError as error:
    print("\nof a file with mistakes it says:\n%s" % str(error).replace(str(FILE.parent) + os.sep, ""))
