// A consumer in strict mode: what must compile, and below what must not.

import { AcquireTimeoutError, BackoffPlan, Bucket, Feedback, LIMITS_MAX, Limit, LimitError, Limiter, ManualClock, NEVER,
  NeverAdmittedError, PROVIDERS, Permit, QueueFullError, Reading, Route, VERSION, adaptive, calendarDay, calendarMonth,
  concurrent, fixed, learned, limitFetch, parse, per, perMinute, perSecond, ramp, sliding } from 'rlimit';
import type { Cost, FullCost, LimiterOptions, Priority, SavedQuota, Status } from 'rlimit';
import rlimit = require('rlimit');

function same<T>(value: T): T { return value; }

const claude = new Limiter({ requests: perMinute(50),
  inputTokens: [perMinute(80_000), sliding(500, 1000, { cells: 0 })], outputTokens: null,
  concurrency: adaptive({ least: 1 }), ramp: true, provider: 'anthropic', queue: 10, ageing: Infinity,
  clock: () => performance.now(), name: 'claude', unref: true });
const prices = { inputPrice: 3, outputPrice: 15 };
limitFetch(claude, { prices });
limitFetch(claude, { prices: { 'claude-sonnet': prices, '*': prices } });
// @ts-expect-error: both prices, in dollars
limitFetch(claude, { prices: { inputPrice: 3 } });

export async function use(signal: AbortSignal, reply?: { usage: { input_tokens: number } }): Promise<void> {
  const permit: Permit = await claude.acquire({ inputTokens: 1200 }, { signal, priority: 'high', timeout: 30_000 });
  permit.settle({ inputTokens: reply?.usage.input_tokens });
  const maybe = claude.tryAcquire();
  if (maybe !== null) maybe.cancel();
  same<'out' | 'settled' | 'cancelled'>(permit.state);
  same<number>(permit.cost.outputTokens);
  same<Limiter>(permit.limiter);
  same<typeof globalThis.fetch>(claude.fetch);
  await using other = await claude.acquire();
  using third = await claude.acquire();
  same<FullCost>(other.cost);
  same<number>(third.waited);
}

export function tell(): void {
  const { available, wait, limit, meter } = claude.check({ requests: 2 });
  same<boolean>(available);
  same<number>(wait);
  same<Limit | null>(limit);
  if (meter === 'concurrency') return;
  const status: Status = claude.status();
  same<number | null | undefined>(status.limits[0]?.inForce?.amount);
  const saved: SavedQuota[] = claude.save();
  claude.restore(saved);
  claude.reconfigure('requests', perMinute(5).replace({ burst: 2, follow: 'fixed' }));
  claude.reconfigure('concurrency', 5);
  claude.pause(1000, 'inputTokens');
  claude.debit({ microdollars: 5 });
  claude.syncWallClock();
  const answer = parse(429, new Headers(), 'body', { provider: 'openai', wall: 0 });
  parse(200, new Map([['a', 'b']]));
  parse(200, { a: 'b', c: ['d'] }, new Uint8Array(1));
  parse(200, [Buffer.from('a'), Buffer.from('b')]);
  claude.observe(answer.feedback);
  claude.observe({ outcome: 'refused', named: ['requests', 'concurrency'],
    readings: [new Reading('tokens', { limit: 5 }), { meter: 'custom' }] });
  same<number | null>(answer.wait);
  same<number | undefined>(answer.usage?.input);
  new Feedback().named.includes('requests');
  claude.close();
}

export function fail(error: unknown): number | string | undefined {
  if (error instanceof AcquireTimeoutError || error instanceof QueueFullError || error instanceof NeverAdmittedError) {
    same<'RLIMIT_TIMEOUT' | 'RLIMIT_QUEUE_FULL' | 'RLIMIT_NEVER'>(error.code);
    return error.waited;
  }
  return error instanceof LimitError ? error.code : undefined;
}

const clock = new ManualClock(5);
same<number>(clock.advance(5));
same<bigint>(new Bucket(perSecond(5), 0n).take(1, 5));
same<boolean>(new Bucket(perSecond(5)).take() === NEVER);
same<bigint>(new BackoffPlan({ baseNs: 5n }).start(5).next(0, 1));
same<FullCost>(new Route(0.9).estimate({ inputTokens: 5 }));
same<string>(VERSION + PROVIDERS[0] + LIMITS_MAX);
const custom = [fixed(5, 5), calendarDay(5, { utcOffset: 0 }), calendarMonth(5)];
const options: LimiterOptions = { tokens: learned(), custom, clock };
const cost: Cost = { requests: undefined };
const priority: Priority = 'low';
new Limiter({ ...options, concurrency: concurrent(5), ramp: ramp({ floor: 5 }) }).tryAcquire(cost);
same<Priority>(priority);
same<typeof Limiter>(rlimit.Limiter);
per(5, 5, { burst: 5, guard: 0 });

// -- What must not compile --

// @ts-expect-error a limit is no number
new Limiter({ requests: 50 });
// @ts-expect-error a typing error
new Limiter({ request: perMinute(50) });
// @ts-expect-error no options
new Limiter();
// @ts-expect-error no such provider
new Limiter({ provider: 'oracle' });
// @ts-expect-error no such clock
new Limiter({ requests: perMinute(5), clock: 'sundial' });
// @ts-expect-error no such meter in a cost
claude.tryAcquire({ tokens: 5 });
// @ts-expect-error names of Python
claude.acquire({ input_tokens: 5 });
// @ts-expect-error an amount is no string
claude.acquire({ inputTokens: '5' });
// @ts-expect-error no such priority
claude.acquire({}, { priority: 'urgent' });
// @ts-expect-error the signal, not the controller
claude.acquire({}, { signal: new AbortController() });
// @ts-expect-error it may be null
claude.tryAcquire().settle();
// @ts-expect-error a limit cannot be changed
perMinute(5).amount = 6;
// @ts-expect-error permits are made by a limiter
new Permit();
// @ts-expect-error limits are made by perMinute and its kin
new Limit();
// @ts-expect-error what is told cannot be set
claude.closed = true;
// @ts-expect-error no such follow
perMinute(5).replace({ follow: 'ramp' });
// @ts-expect-error no such outcome
claude.observe({ outcome: 'fine' });
// @ts-expect-error a promise is no permit
claude.acquire().settle();
// @ts-expect-error nanoseconds are bigints
same<number>(new Bucket(perMinute(5)).take());
