"""Those who find no room wait in a bounded queue: by priority, first come first served within one, and nothing starves.

    python priority_queue.py

timeout= is for the queue alone, not for the request. A full queue says so at once.
"""

import asyncio

from rlimit import AcquireTimeout, Limiter, QueueFull, per_second

limiter = Limiter(requests=per_second(20).replace(burst=1), queue=10)  # 10,000 if not said


async def work(name: str, priority: str, timeout: float = 30) -> None:
    try:
        async with limiter.acquire(priority=priority, timeout=timeout) as permit:
            print("%-10s %-8s after %.2f s" % (name, priority, permit.waited))
    except AcquireTimeout:
        print("%-10s %-8s gave up" % (name, priority))
    except QueueFull:
        print("%-10s %-8s the queue is full" % (name, priority))


async def main() -> None:
    jobs = [("first", "normal"), ("report 1", "low"), ("report 2", "low"), ("ticket 1", "normal"), ("ticket 2", "normal"),
            ("chat", "high"), ("alarm", "critical")]
    tasks = [asyncio.ensure_future(work(name, priority)) for name, priority in jobs]
    tasks.append(asyncio.ensure_future(work("impatient", "low", timeout=0.06)))
    tasks += [asyncio.ensure_future(work("crowd %d" % number, "normal")) for number in range(5)]
    await asyncio.gather(*tasks)


asyncio.run(main())
