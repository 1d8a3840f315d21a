"""A sliding window: never more than 3 requests in any 10 seconds, and the wait is exactly until the oldest leaves.

    python sliding_window.py

A ManualClock shows ten seconds without waiting for them; leave it out to use the system's clock.
"""

from rlimit import Limiter, ManualClock, sliding

clock = ManualClock()
limiter = Limiter(requests=sliding(3, 10), tokens=sliding(1000, 10), clock=clock)

for at in (0, 1, 2, 3):
    clock.set(at)
    check = limiter.check(input_tokens=100)
    if check.available:
        limiter.try_acquire(input_tokens=100)
    print("at %2d s: %s" % (at, "admitted" if check.available else "wait %g s" % check.wait))

clock.set(10)
print("at 10 s: %s" % ("admitted" if limiter.try_acquire(input_tokens=100) else "refused"))
