"""How long to wait before a retry: by class of error, priority and jitter; what the server asks for wins.

    python backoff_delays.py
"""

from rlimit import Backoff

for jitter in ("none", "fraction", "full", "equal", "decorrelated"):
    delays = Backoff(base=1, factor=2, cap=60, jitter=jitter, attempts=6, seed=1)
    print("%-13s%s" % (jitter, "".join("%7.2f" % delay for delay in delays)))

for error_class in ("rate_limit", "server", "network", "fatal"):
    backoff = Backoff(jitter="none")
    print("%-13snormal %s, high %s, told to wait 17 s: %s" % (
        error_class, backoff.start().next(error_class), backoff.start().next(error_class, "high"),
        backoff.start().next(error_class, retry_after=17)))
