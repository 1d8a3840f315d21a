"""1,000 requests a day and 50 dollars a month, counted from midnight and from the first, and kept over a restart.

    python daily_and_monthly.py [STATE.json]

Each run spends a little; the next goes on where it ended.
"""

import json
import os
import sys

from rlimit import Limiter, calendar_day, calendar_month

STATE = sys.argv[1] if len(sys.argv) > 1 else "daily_and_monthly.json"
PACIFIC = -8 * 3600  # utc_offset: whose midnight counts

limiter = Limiter(requests=calendar_day(1000, utc_offset=PACIFIC), microdollars=calendar_month(50_000_000))
if os.path.exists(STATE):
    with open(STATE) as file:
        limiter.restore(json.load(file))

with limiter.acquire(microdollars=12_000) as permit:  # an estimate
    permit.settle(microdollars=9_500)  # what the call has cost

with open(STATE + ".new", "w") as file:
    json.dump(limiter.save(), file)
os.replace(STATE + ".new", STATE)  # whole or not at all, also in a crash

for usage in limiter.status().limits:
    print("%s: %d of %d used, anew in %.1f hours" % (usage.meter, usage.used, usage.capacity, usage.reset / 3600))
