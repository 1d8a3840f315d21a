// A sliding window: never more than 3 requests in any 10 seconds, and the wait is exactly until the oldest leaves.
//
//     node sliding_window.mjs
//
// A ManualClock shows ten seconds without waiting for them; leave it out to use the system's clock.
import { Limiter, ManualClock, sliding } from 'rlimit';

const clock = new ManualClock();
const limiter = new Limiter({ requests: sliding(3, 10_000), tokens: sliding(1000, 10_000), clock });

for (const at of [0, 1, 2, 3]) {
  clock.set(at * 1000);
  const check = limiter.check({ inputTokens: 100 });
  if (check.available) limiter.tryAcquire({ inputTokens: 100 });
  console.log(`at  ${at} s: ${check.available ? 'admitted' : `wait ${check.wait / 1000} s`}`);
}

clock.set(10_000);
console.log(`at 10 s: ${limiter.tryAcquire({ inputTokens: 100 }) ? 'admitted' : 'refused'}`);
