// The state of every limit: used, remaining and when it is whole again; and what is going on.
//
//     node quota_status.mjs
import { Limiter, perDay, perMinute } from 'rlimit';

const limiter = new Limiter({ requests: [perMinute(50), perDay(5_000)], tokens: perMinute(80_000), concurrency: 10 });

for (let n = 0; n < 20; n++) {
  const permit = await limiter.acquire({ inputTokens: 1_000, outputTokens: 200 });
  permit.settle({ outputTokens: 150 });
}
const underWay = await limiter.acquire({ inputTokens: 4_000 });

const status = limiter.status();
for (const { meter, used, capacity, remaining, reset } of status.limits) {
  const whole = reset === Infinity ? '' : `, all of it in ${(reset / 1000).toFixed(1)} s`;
  console.log(`${meter.padEnd(11)} ${used} of ${capacity} used, ${remaining} remain${whole}`);
}
console.log(`${status.active} active, ${status.queued} queued, ${status.requestsLastMinute} requests in the last minute`);
console.log(`${status.succeeded} succeeded, ${status.failed} failed, ${status.retried} retried`);
underWay.settle();
