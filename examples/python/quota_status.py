"""The state of every limit: used, remaining and when it is whole again; and what is going on.

    python quota_status.py
"""

import math

from rlimit import Limiter, per_day, per_minute

limiter = Limiter(requests=[per_minute(50), per_day(5_000)], tokens=per_minute(80_000), concurrency=10)

for _ in range(20):
    with limiter.acquire(input_tokens=1_000, output_tokens=200) as permit:
        permit.settle(output_tokens=150)
under_way = limiter.acquire(input_tokens=4_000).wait()

status = limiter.status()
for usage in status.limits:
    reset = "" if usage.reset == math.inf else ", all of it in %.1f s" % usage.reset
    print("%-11s %5d of %5d used, %5d remain%s" % (usage.meter, usage.used, usage.capacity, usage.remaining, reset))
print("%d active, %d queued, %d requests in the last minute" % (status.active, status.queued, status.requests_last_minute))
print("%d succeeded, %d failed, %d retried" % (status.succeeded, status.failed, status.retried))
under_way.settle()
