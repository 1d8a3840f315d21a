// An ordered list of models: the next one when the first is out of quota; wait for the first that has room when all are.
//
//     node fallback_models.mjs
import { Limiter, NeverAdmittedError, perMinute } from 'rlimit';

const limiters = {
  large: new Limiter({ requests: perMinute(3), tokens: perMinute(20_000) }),
  medium: new Limiter({ requests: perMinute(5), tokens: perMinute(50_000) }),
  small: new Limiter({ requests: perMinute(600), tokens: perMinute(200_000) }),
};

/** The first model with room, and a permit of it. */
async function route(cost) {
  const waits = [];
  for (const [model, limiter] of Object.entries(limiters)) {
    try {
      const permit = limiter.tryAcquire(cost);
      if (permit) return { model, permit };
    } catch (error) {
      if (!(error instanceof NeverAdmittedError)) throw error;
      continue; // larger than this model's limit, now and ever
    }
    waits.push({ model, wait: limiter.check(cost).wait });
  }
  if (waits.length === 0) throw new RangeError('larger than every model\'s limit');
  const { model } = waits.reduce((least, each) => (each.wait < least.wait ? each : least));
  return { model, permit: await limiters[model].acquire(cost) };
}

for (let number = 0; number < 12; number++) {
  const { model, permit } = await route({ inputTokens: number === 1 ? 30_000 : 3_000 });
  permit.settle();
  console.log(`request ${String(number).padStart(2)}: ${model}`);
}
