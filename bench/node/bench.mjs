// What the Node package costs, beside its floor measured in the same run, and beside its peers.
//
//     node --expose-gc bench/node/bench.mjs
//
// Each figure is run in turn with its floor, ROUNDS times; printed are the medians, and the median of the ratios of the pairs:
//
//     bench NAME value=V unit=U floor=F ratio=R
//
// The floor of tryAcquire is a token bucket in plain JavaScript on Date.now(); that of acquire is awaiting an async function
// that only calls tryAcquire; that of the waiters is a semaphore of promises. Peers do the same work: one request that is
// admitted.
import { Limiter, perDay, perSecond } from 'rlimit';

const [ROUNDS, OPERATIONS, AWAITS, WAITERS, SCHEDULED] = [15, 300_000, 100_000, 10_000, 2_000];
const PLENTY = 1e9;

/** One word of state would do; this is how it is usually written. */
class Bucket {
  constructor(rate, burst) {
    this.rate = rate / 1000;
    this.burst = burst;
    this.tokens = burst;
    this.last = Date.now();
  }

  take(n) {
    const now = Date.now();
    this.tokens = Math.min(this.burst, this.tokens + (now - this.last) * this.rate);
    this.last = now;
    if (this.tokens < n) return false;
    this.tokens -= n;
    return true;
  }
}

class Semaphore {
  #free;
  #waiting = [];

  constructor(free) { this.#free = free; }

  async acquire() {
    if (this.#free > 0) this.#free--;
    else await new Promise((resolve) => this.#waiting.push(resolve));
  }

  release() {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

function median(values) { return values.sort((a, b) => a - b)[values.length >> 1]; }

/** Runs both in turn, and prints their medians. */
async function figure(name, value, floor, unit = 'ns', rounds = ROUNDS) {
  await value();
  await floor();
  const pairs = [];
  for (let round = 0; round < rounds; round++) {
    globalThis.gc?.();
    pairs.push([await value(), await floor()]);
  }
  const shown = (number) => Number(number.toPrecision(4));
  console.log(`bench ${name} value=${shown(median(pairs.map(([v]) => v)))} unit=${unit} ` +
    `floor=${shown(median(pairs.map(([, f]) => f)))} ratio=${median(pairs.map(([v, f]) => v / f)).toFixed(2)}`);
}

/** Nanoseconds of a call; body is compiled anew for each, so that one does not spoil the other's caches. */
function loop(body, names) {
  const run = new Function('count', ...Object.keys(names), `for (let i = 0; i < count; i++) { ${body} }`);
  return () => {
    const start = process.hrtime.bigint();
    run(OPERATIONS, ...Object.values(names));
    return Number(process.hrtime.bigint() - start) / OPERATIONS;
  };
}

function awaits(body, names, operations = AWAITS) {
  const AsyncFunction = (async () => {}).constructor;
  const run = new AsyncFunction('count', ...Object.keys(names), `for (let i = 0; i < count; i++) { ${body} }`);
  return async () => {
    const start = process.hrtime.bigint();
    await run(operations, ...Object.values(names));
    return Number(process.hrtime.bigint() - start) / operations;
  };
}

/** Microseconds for each of many that all have to wait their turn at a cap. */
function waiting(acquire) {
  return async () => {
    const one = async () => {
      const release = await acquire();
      await null;
      release();
    };
    const start = process.hrtime.bigint();
    await Promise.all(Array.from({ length: WAITERS }, one));
    return Number(process.hrtime.bigint() - start) / WAITERS / 1000;
  };
}

async function ours() {
  const one = new Limiter({ requests: perSecond(PLENTY) });
  const three = new Limiter({
    requests: perSecond(PLENTY), inputTokens: perSecond(10 * PLENTY), outputTokens: perSecond(10 * PLENTY),
  });
  const capped = new Limiter({ requests: perSecond(PLENTY), concurrency: 10 });
  const spent = new Limiter({ requests: perDay(1) });
  spent.tryAcquire();
  const bucket = new Bucket(PLENTY, PLENTY);
  const empty = new Bucket(0, 0);
  const take = loop('bucket.take(1)', { bucket });
  const cost = '{ inputTokens: 1200, outputTokens: 400 }';
  await figure('node_try_acquire', loop('it.tryAcquire()', { it: one }), take);
  await figure('node_try_acquire_three_limits', loop(`it.tryAcquire(${cost})`, { it: three }), take);
  await figure('node_refusal', loop('it.tryAcquire()', { it: spent }), loop('bucket.take(1)', { bucket: empty }));
  await figure('node_acquire_and_settle', loop(`it.tryAcquire(${cost}).settle({ inputTokens: 900 })`, { it: capped }), take);
  const trivial = async () => three.tryAcquire({ inputTokens: 1200, outputTokens: 400 });
  await figure('node_await_acquire', awaits(`await it.acquire(${cost})`, { it: three }), awaits('await trivial()', { trivial }));
  const line = new Limiter({ concurrency: 10, queue: WAITERS });
  const semaphore = new Semaphore(10);
  await figure('node_10000_waiters', waiting(async () => {
    const permit = await line.acquire();
    return () => permit.settle();
  }), waiting(async () => {
    await semaphore.acquire();
    return () => semaphore.release();
  }), 'us', 5);
}

const PEERS = {
  async limiter() {
    const { RateLimiter } = await import('limiter');
    return loop('it.tryRemoveTokens(1)', { it: new RateLimiter({ tokensPerInterval: PLENTY, interval: 'second' }) });
  },
  async rate_limiter_flexible() {
    const { RateLimiterMemory } = (await import('rate-limiter-flexible')).default;
    return awaits('await it.consume("key")', { it: new RateLimiterMemory({ points: PLENTY, duration: 1 }) });
  },
  async bottleneck() {
    const { default: Bottleneck } = await import('bottleneck');
    return awaits('await it.schedule(nothing)', { it: new Bottleneck({ reservoir: PLENTY }), nothing: async () => {} }, SCHEDULED);
  },
  async p_queue() {
    const { default: PQueue } = await import('p-queue');
    const it = new PQueue({ intervalCap: PLENTY, interval: 1000 });
    return awaits('await it.add(nothing)', { it, nothing: async () => {} }, SCHEDULED);
  },
};

/** The same work through others: value is theirs, floor ours, ratio how many times ours. */
async function peers() {
  const it = new Limiter({ requests: perSecond(PLENTY) });
  for (const [name, make] of Object.entries(PEERS)) {
    let measure;
    try {
      measure = await make();
    } catch (error) {
      console.log(`bench node_peer_${name} skipped: ${error.message.split('\n')[0]}`);
      continue;
    }
    const own = name === 'limiter' ? loop('it.tryAcquire()', { it }) : awaits('(await it.acquire()).settle()', { it });
    await figure(`node_peer_${name}`, measure, own, 'ns', 5);
  }
}

await ours();
await peers();
