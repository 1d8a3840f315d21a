// Node's limiters behind the line protocol of bench/peers/run.py. The folder of rlimit's add-on is the first argument, if it is built.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import Bottleneck from 'bottleneck';
import { RateLimiter } from 'limiter';
import PQueue from 'p-queue';
import pThrottle from 'p-throttle';
import { RateLimiterMemory } from 'rate-limiter-flexible';

const require = createRequire(import.meta.url);
const PLENTY = 1e9;
const DAY_MS = 86_400_000;
const quotaOf = (refused) => (refused ? [1, DAY_MS] : [PLENTY, 1000]);
const elapsed = (from) => Number(process.hrtime.bigint() - from);

let rlimit = null;
let absent = 'bindings/node is not built';
if (process.argv[2]) {
  try {
    rlimit = require(process.argv[2]);
  } catch (error) {
    absent = String(error.message).split('\n')[0];
  }
}

// A limiter that answers at once: take(cost) says whether it was granted.
function loop(take) {
  return (ops) => {
    let granted = 0;
    const from = process.hrtime.bigint();
    for (let i = 0; i < ops; i++) if (take(1)) granted++;
    return [elapsed(from), granted];
  };
}

// One that gives a promise: take(cost) resolves to whether it was granted.
function awaited(take) {
  return async (ops) => {
    let granted = 0;
    const from = process.hrtime.bigint();
    for (let i = 0; i < ops; i++) if (await take(1)) granted++;
    return [elapsed(from), granted];
  };
}

// One that runs tasks, each by a timer of its own: they are given to it together, as its manual has it, a thousand at a time.
function together(take) {
  return async (ops) => {
    let granted = 0;
    const from = process.hrtime.bigint();
    for (let left = ops; left > 0; left -= 1000) {
      const all = [];
      for (let i = Math.min(left, 1000); i > 0; i--) all.push(take(1));
      for (const one of await Promise.all(all)) if (one) granted++;
    }
    return [elapsed(from), granted];
  };
}

const nothing = () => true;

const makers = {
  // The bucket on Date.now() that one writes oneself.
  plain(amount, periodMs) {
    let tokens = amount;
    let at = Date.now();
    const rate = amount / periodMs;
    return {
      take(cost) {
        const now = Date.now();
        if (now > at) {
          tokens = Math.min(amount, tokens + (now - at) * rate);
          at = now;
        }
        if (tokens < cost) return false;
        tokens -= cost;
        return true;
      },
    };
  },
  rlimit(amount, periodMs, drop, clock) {
    const limiter = new rlimit.Limiter({ requests: rlimit.per(amount, periodMs), clock });
    const one = { requests: 1 };
    return clock ? { take: (cost) => limiter.tryAcquire(cost === 1 ? one : { requests: cost }) !== null } :
      { take: () => limiter.tryAcquire() !== null };
  },
  limiter(amount, periodMs) {
    const limiter = new RateLimiter({ tokensPerInterval: amount, interval: periodMs });
    return { take: (cost) => limiter.tryRemoveTokens(cost) };
  },
  rate_limiter_flexible(amount, periodMs) {
    const limiter = new RateLimiterMemory({ points: amount, duration: periodMs / 1000 });
    return { later: (cost) => limiter.consume('key', cost).then(nothing, () => false), clear: () => limiter.delete('key') };
  },
  // As its manual has it: a reservoir that is refilled at intervals. Dropped, not queued, when it is empty and nothing may wait.
  bottleneck(amount, periodMs, drop) {
    const limits = { reservoir: amount, reservoirRefreshAmount: amount, reservoirRefreshInterval: periodMs };
    const limiter = new Bottleneck(drop ? { ...limits, highWater: 0, strategy: Bottleneck.strategy.LEAK } : limits);
    return {
      later: (cost) => limiter.schedule({ weight: cost }, async () => true).catch(() => false),
      queue: (job) => limiter.schedule(async () => job()),
      clear: () => limiter.disconnect(),
    };
  },
  p_queue(amount, periodMs) {
    const queue = new PQueue({ intervalCap: amount, interval: periodMs });
    return { later: () => queue.add(nothing), queue: (job) => queue.add(job), clear: () => queue.clear() };
  },
  p_throttle(amount, periodMs, drop, strict = false) {
    const throttle = pThrottle({ limit: amount, interval: periodMs, strict });
    const limited = throttle((job) => job());
    return { later: () => limited(nothing), queue: (job) => limited(job), clear: nothing };
  },
  p_throttle_strict: (amount, periodMs) => makers.p_throttle(amount, periodMs, false, true),
};

async function decide(name, given) {
  const refused = given.case === 'refused';
  const made = makers[name](...quotaOf(refused), refused);
  const run = made.take ? loop(made.take) : made.queue ? together(made.later) : awaited(made.later);
  if (refused) await run(1);
  const [ns, granted] = await run(Number(given.ops));
  if (made.clear) await made.clear();
  return { elapsed_ns: ns, operations: Number(given.ops), granted, clock: says[name].clock };
}

function stepsOf(given) {
  return given.steps.split(',').map((step) => step.split(':').map(Number));
}

// With Date.now and performance.now replaced: these peers read nothing else.
async function virtual(name, given) {
  const real = [Date.now, performance.now];
  const baseMs = Number(BigInt(given.base_ns) / 1_000_000n);
  let nowMs = baseMs;
  Date.now = () => Math.floor(nowMs);
  performance.now = () => nowMs;
  try {
    const made = makers[name](Number(given.amount), Number(given.period_ns) / 1e6, false, () => nowMs);
    const grants = [];
    for (const [at, tries, cost] of stepsOf(given)) {
      let granted = 0;
      nowMs = baseMs + at / 1e6;
      for (let i = 0; i < tries; i++) if (made.take ? made.take(cost) : await made.later(cost)) granted += cost;
      grants.push([at, at, granted]);
    }
    if (made.clear) await made.clear();
    return { clock: 'virtual', grants };
  } finally {
    [Date.now, performance.now] = real;
  }
}

// The tries of each step are queued when its time comes; noted is when each was let go.
async function queued(name, given) {
  const made = makers[name](Number(given.amount), Number(given.period_ns) / 1e6);
  const grants = [];
  const all = [];
  const from = process.hrtime.bigint();
  const job = () => {
    const at = elapsed(from);
    grants.push([at, at, 1]);
  };
  for (const [at, tries] of stepsOf(given)) {
    const waitMs = at / 1e6 - elapsed(from) / 1e6;
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    for (let i = 0; i < tries; i++) all.push(made.queue(job));
  }
  await Promise.all(all);
  await made.clear();
  return { clock: 'real', grants };
}

const packaged = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;
const granted = { decide: ['granted 1'] };
const both = { decide: ['granted 1', 'refused 1'] };
const says = {
  plain: { jobs: { ...both, accuracy: 'virtual' }, weights: true, clock: 'Date.now' },
  limiter: { version: packaged('limiter'), jobs: { ...both, accuracy: 'virtual' }, weights: true, clock: 'performance.now' },
  rate_limiter_flexible: {
    version: packaged('rate-limiter-flexible'), jobs: { ...both, accuracy: 'virtual' }, weights: true, clock: 'Date.now',
  },
  bottleneck: { version: packaged('bottleneck'), jobs: { ...both, accuracy: 'real queue' }, clock: 'Date.now' },
  p_queue: { version: packaged('p-queue'), jobs: { ...granted, accuracy: 'real queue' }, clock: 'Date.now', why: 'queues, never refuses' },
  p_throttle: { version: packaged('p-throttle'), jobs: { ...granted, accuracy: 'real queue' }, clock: 'Date.now', why: 'queues, never refuses' },
  p_throttle_strict: { version: packaged('p-throttle'), jobs: { accuracy: 'real queue' }, clock: 'Date.now' },
};
if (rlimit) says.rlimit = { version: rlimit.VERSION, jobs: { ...both, accuracy: 'virtual' }, weights: true, clock: 'clock_gettime(CLOCK_MONOTONIC)' };

async function answer(line) {
  const [name, ...words] = line.trim().split(/\s+/);
  if (name === 'list') return { version: process.version, peers: says, absent: rlimit ? {} : { rlimit: absent } };
  const given = Object.fromEntries(words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
  try {
    const job = given.job === 'decide' ? decide : says[name].jobs.accuracy === 'virtual' ? virtual : queued;
    return { peer: name, ...(await job(name, given)) };
  } catch (error) {
    return { peer: name, error: String(error.message).split('\n')[0] };
  }
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(JSON.stringify(await answer(line)) + '\n');
process.exit(0);
