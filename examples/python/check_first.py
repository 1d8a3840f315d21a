"""Ask without taking: is there room, after how long, and which limit binds?

    python check_first.py
"""

from rlimit import Limiter, NeverAdmitted, per_minute

limiter = Limiter(requests=per_minute(50), input_tokens=per_minute(80_000), output_tokens=per_minute(16_000), concurrency=10)
limiter.acquire(input_tokens=60_000, output_tokens=5_000).wait().settle()

for cost in ({"input_tokens": 1_000}, {"input_tokens": 30_000}, {"output_tokens": 15_500}):
    check = limiter.check(**cost)
    if check.available:
        print("%s: now" % cost)
    else:
        print("%s: in %.1f s, because of %s (%r)" % (cost, check.wait, check.meter, check.binding))

permit = limiter.try_acquire(input_tokens=1_000)  # takes, or returns None: it never waits
print("try_acquire: %s" % ("admitted" if permit else "no room now"))
if permit:
    permit.cancel()  # not needed after all: all of it is given back

try:
    limiter.try_acquire(input_tokens=100_000)
except NeverAdmitted as error:
    print("never: %s" % error)
