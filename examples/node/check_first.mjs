// Ask without taking: is there room, after how long, and which limit binds?
//
//     node check_first.mjs
import { Limiter, NeverAdmittedError, perMinute } from 'rlimit';

const limiter = new Limiter({
  requests: perMinute(50), inputTokens: perMinute(80_000), outputTokens: perMinute(16_000), concurrency: 10,
});
(await limiter.acquire({ inputTokens: 60_000, outputTokens: 5_000 })).settle();

for (const cost of [{ inputTokens: 1_000 }, { inputTokens: 30_000 }, { outputTokens: 15_500 }]) {
  const { available, wait, meter, limit } = limiter.check(cost);
  console.log(cost, available ? 'now' : `in ${(wait / 1000).toFixed(1)} s, because of ${meter} (${limit})`);
}

const permit = limiter.tryAcquire({ inputTokens: 1_000 }); // takes, or returns null: it never waits
console.log(`tryAcquire: ${permit ? 'admitted' : 'no room now'}`);
permit?.cancel(); // not needed after all: all of it is given back

try {
  limiter.tryAcquire({ inputTokens: 100_000 });
} catch (error) {
  if (!(error instanceof NeverAdmittedError)) throw error;
  console.log(`never: ${error.message}`);
}
