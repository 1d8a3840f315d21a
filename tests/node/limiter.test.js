'use strict';

// Limits as values, and the limiter without waiting: taking, settling, asking, telling.

const assert = require('node:assert/strict');
const { inspect } = require('node:util');
const { test } = require('node:test');
const r = require('rlimit');

const { Limiter, ManualClock, perMinute, perSecond } = r;

function clocked(options, start = 0) {
  const clock = new ManualClock(start);
  return { clock, limiter: new Limiter({ clock, ...options }) };
}

// -- Limits --

test('a limit tells what it is, and the call that makes it makes the same', () => {
  const calls = [
    'perSecond(5)',
    'perMinute(50)',
    'perHour(50)',
    'perDay(5000)',
    'per(100, 10000, { burst: 20 })',
    'perMinute(50, { burst: 5 })',
    'perMinute(50, { guard: 500 })',
    'sliding(100, 60000)',
    'sliding(100, 60000, { cells: 10, guard: 1.5 })',
    'fixed(100, 60000)',
    'calendarDay(1000, { utcOffset: 3600000 })',
    'calendarMonth(50000000)',
    'learned(60000)',
    'concurrent(10)',
    'adaptive({ least: 4, most: 64 })',
    'adaptive({ least: 1, most: 8, begin: 2 })',
    'ramp({ floor: 15, hold: 900000 })',
    "perMinute(50).replace({ follow: 'fixed' })",
    'fixed(10, 0.000001)',
  ];
  for (const call of calls) {
    const limit = new Function('r', `with (r) { return ${call}; }`)(r);
    assert.equal(String(limit), call);
    assert.equal(inspect(limit), call);
    assert.ok(limit.equals(limit.replace({})));
    assert.ok(Object.isFrozen(limit));
    assert.throws(() => {
      limit.amount = 1;
    }, TypeError);
  }
  assert.equal(perMinute(50).replace({ burst: 5 }).burst, 5);
  assert.equal(perMinute(50).replace({ amount: 5 }).burst, 5);
  assert.equal(r.learned().amount, null);
  assert.equal(r.calendarMonth(1).period, null);
  assert.deepEqual(
    [r.ramp().kind, r.ramp().follow, r.adaptive().kind, r.adaptive().follow],
    ['bucket', 'ramp', 'concurrency', 'adapt'],
  );
});

// -- Taking --

test('a cost is taken from every limit, or from none', () => {
  const { limiter, clock } = clocked({ requests: perMinute(2), inputTokens: perMinute(100) });
  assert.ok(limiter.tryAcquire({ inputTokens: 60 }));
  assert.equal(limiter.tryAcquire({ inputTokens: 60 }), null);
  assert.deepEqual(
    limiter.status().limits.map(({ remaining }) => remaining),
    [1, 40],
  );
  assert.ok(limiter.tryAcquire({ inputTokens: 40 }));
  assert.equal(limiter.tryAcquire(), null);
  clock.advance(60000);
  assert.ok(limiter.tryAcquire({ requests: 2, inputTokens: 100, outputTokens: 7 }));
});

test('a permit tells, and ends once', () => {
  const { limiter } = clocked({ requests: perMinute(3), concurrency: 2 });
  const permit = limiter.tryAcquire({ inputTokens: 7, custom: undefined });
  assert.deepEqual(permit.cost, { requests: 1, inputTokens: 7, outputTokens: 0, microdollars: 0, custom: 0 });
  assert.deepEqual([permit.state, permit.waited, permit.limiter], ['out', 0, limiter]);
  permit.settle();
  assert.equal(permit.state, 'settled');
  for (const end of [() => permit.settle(), () => permit.cancel(), () => limiter.observe({}, permit)]) {
    assert.throws(end, { code: 'RLIMIT_SETTLED' });
  }
  const other = limiter.tryAcquire();
  other.cancel();
  assert.equal(other.state, 'cancelled');
  assert.deepEqual(permit.cost.inputTokens, 7);
  assert.throws(() => other.settle(), /cancelled already/);
  assert.throws(() => new r.Permit(), TypeError);
  assert.equal(limiter.status().active, 0);
});

test('the difference to the estimate is given back or owed', () => {
  const { limiter } = clocked({ inputTokens: perMinute(100), outputTokens: perMinute(100) });
  limiter.tryAcquire({ inputTokens: 60, outputTokens: 60 }).settle({ inputTokens: 10, outputTokens: undefined });
  assert.deepEqual(
    limiter.status().limits.map(({ remaining }) => remaining),
    [90, 40],
  );
  limiter.tryAcquire({ inputTokens: 90 }).settle({ inputTokens: 150 });
  assert.equal(limiter.status().limits[0].remaining, -60);
  assert.equal(limiter.check({ inputTokens: 1 }).wait, 36600);
  limiter.tryAcquire({ inputTokens: 0, outputTokens: 40 })?.cancel();
});

test('permits of many pages end on their own', () => {
  const { limiter } = clocked({ requests: r.per(5000, 1000), concurrency: 5000 });
  const permits = Array.from({ length: 3000 }, () => limiter.tryAcquire());
  assert.ok(permits.every((permit) => permit !== null));
  for (let i = 0; i < permits.length; i += 2) permits[i].cancel();
  assert.equal(limiter.status().active, 1500);
  assert.equal(limiter.status().limits[0].used, 1500);
  for (let i = 1; i < permits.length; i += 2) permits[i].settle({ requests: 2 });
  assert.deepEqual(
    [limiter.status().active, limiter.status().limits[0].used, limiter.status().limits[1].used],
    [0, 3000, 0],
  );
});

test('a cost of nothing is a peek, and its permit holds nothing', () => {
  const { limiter } = clocked({ requests: perMinute(1), concurrency: 1 });
  const permit = limiter.tryAcquire({ requests: 0 });
  assert.equal(permit.state, 'out');
  assert.equal(limiter.status().active, 0);
  permit.settle();
  assert.throws(() => permit.settle(), { code: 'RLIMIT_SETTLED' });
  limiter.tryAcquire({ requests: 0 }).cancel();
});

test('check names the limit that binds', () => {
  const { limiter } = clocked({ requests: perMinute(10), inputTokens: perMinute(100), concurrency: 1 });
  assert.deepEqual(limiter.check(), { available: true, wait: 0, limit: null, meter: null });
  const permit = limiter.tryAcquire({ inputTokens: 100 });
  assert.deepEqual(limiter.check({ inputTokens: 50 }), {
    available: false,
    wait: Infinity,
    limit: r.concurrent(1),
    meter: 'concurrency',
  });
  permit.settle();
  const found = limiter.check({ inputTokens: 50 });
  assert.deepEqual(
    [found.available, found.wait, found.meter, String(found.limit)],
    [false, 30000, 'inputTokens', 'perMinute(100)'],
  );
});

test('what is larger than a limit never comes in', () => {
  const limiter = new Limiter({ requests: perMinute(10), tokens: perMinute(100) });
  for (const [cost, meter, amount] of [
    [{ requests: 11 }, 'requests', 11],
    [{ inputTokens: 60, outputTokens: 41 }, 'tokens', 101],
  ]) {
    assert.throws(
      () => limiter.tryAcquire(cost),
      (error) => {
        assert.ok(error instanceof r.NeverAdmittedError && error instanceof RangeError);
        assert.deepEqual([error.code, error.meter, error.waited], ['RLIMIT_NEVER', meter, 0]);
        assert.match(error.message, new RegExp(`^${meter}: ${amount} is more than perMinute`));
        return error.limit === limiter.limits[limiter.meters.indexOf(meter)];
      },
    );
  }
});

// -- The server's word --

test('the server is believed, and outcomes are counted', () => {
  const { limiter, clock } = clocked({ requests: perMinute(50) });
  const permit = limiter.tryAcquire();
  const { feedback } = r.parse(429, { 'Retry-After': '7' }, '', { provider: 'openai' });
  limiter.observe(feedback, permit);
  permit.settle();
  const { wait } = limiter.check();
  assert.ok(wait >= 7000 && wait < 10000, String(wait));
  assert.equal(limiter.tryAcquire(), null);
  clock.advance(wait);
  const second = limiter.tryAcquire();
  limiter.observe({ outcome: 'failed' }, second);
  second.cancel(); // it counts all the same: its answer was seen
  limiter.observe({ outcome: 'answered', readings: [{ meter: 'requests', limit: 50, remaining: 3 }] });
  limiter._countRetry();
  const { succeeded, failed, refused, retried, limits, requestsLastMinute } = limiter.status();
  assert.deepEqual({ succeeded, failed, refused, retried }, { succeeded: 1, failed: 1, refused: 1, retried: 1 });
  assert.ok(limits[0].remaining <= 3, String(limits[0].remaining));
  assert.equal(requestsLastMinute, 2);
});

test('limits are learned from a provider', () => {
  const limiter = new Limiter({ provider: 'openai' });
  assert.deepEqual(limiter.meters, ['requests', 'tokens', 'concurrency', 'ramp']);
  assert.deepEqual(
    limiter.status().limits.map(({ inForce }) => inForce === null),
    [true, true, false, true],
  );
  const permit = limiter.tryAcquire();
  assert.equal(limiter.tryAcquire(), null); // one at a time till the first answer
  const headers = {
    'x-ratelimit-limit-requests': '500',
    'x-ratelimit-remaining-requests': '499',
    'x-ratelimit-reset-requests': '120ms',
  };
  limiter.observe(r.parse(200, headers, '', { provider: 'openai' }).feedback, permit);
  permit.settle();
  assert.equal(limiter.status().limits[0].inForce.amount, 500);
  assert.ok(limiter.tryAcquire());
  assert.deepEqual(new Limiter({ provider: 'anthropic', requests: perMinute(5), ramp: false }).meters, [
    'requests',
    'inputTokens',
    'outputTokens',
  ]);
});

test('a feedback is what it was made of', () => {
  const values = {
    outcome: 'refused',
    named: ['requests', 'custom', 'concurrency'],
    retryAfter: 1500.5,
    requested: 12,
    readings: [
      {
        meter: 'tokens',
        limit: 10,
        remaining: 0,
        rounding: 1,
        reset: 1000,
        period: 60000,
        periodLeast: 1,
        periodMost: 2,
      },
      {
        meter: 'requests',
        limit: null,
        remaining: null,
        rounding: 0,
        reset: null,
        period: null,
        periodLeast: 0,
        periodMost: null,
      },
    ],
  };
  const feedback = new r.Feedback(values);
  assert.deepEqual(JSON.parse(JSON.stringify(feedback)), values);
  assert.deepEqual(JSON.parse(JSON.stringify(new r.Feedback(feedback.toJSON()))), values);
  assert.deepEqual(JSON.parse(JSON.stringify(new r.Feedback())), {
    outcome: 'answered',
    named: [],
    retryAfter: null,
    requested: null,
    readings: [],
  });
});

test('headers in any form say the same', () => {
  const pairs = [
    ['retry-after', '7'],
    ['x-request-id', 'abc'],
  ];
  const object = Object.fromEntries(pairs);
  const forms = [
    pairs,
    object,
    new Map(pairs),
    new Headers(object),
    pairs.flat(),
    pairs.flat().map((text) => Buffer.from(text)),
    { 'retry-after': ['7'] },
    { 'retry-after': 7, other: undefined },
  ];
  for (const headers of forms) assert.equal(r.parse(429, headers).wait, 7000, inspect(headers));
  assert.equal(r.parse(0, null).errorClass, 'network');
  assert.equal(r.parse(200, {}, JSON.stringify({ usage: { prompt_tokens: 5, completion_tokens: 2 } })).usage.input, 5);
  assert.equal(r.parse(429, [], new Uint8Array(3)).usage, null);
  assert.equal(r.parse(429, [['retry-after', '7'.padEnd(9000)]]).wait, 7000); // longer than the room in C
});

test('as JSON, for logs', async () => {
  const { limiter } = clocked({ inputTokens: perMinute(50) });
  const permit = await limiter.acquire({ inputTokens: 5 });
  assert.deepEqual(JSON.parse(JSON.stringify({ limiter, permit })), { limiter: String(limiter), permit: { state: 'out', waited: 0,
    cost: { requests: 1, inputTokens: 5, outputTokens: 0, microdollars: 0, custom: 0 } } });
});

// -- While in use --

test('reconfigured, what is used stays', () => {
  const { limiter } = clocked({ requests: [perMinute(50), r.perDay(1000)], concurrency: 2 });
  limiter.tryAcquire({ requests: 20 });
  limiter.reconfigure(0, perMinute(100));
  limiter.reconfigure('requests', r.perDay(2000));
  limiter.reconfigure('concurrency', 5);
  assert.deepEqual(limiter.limits.map(String), ['perMinute(100)', 'perDay(2000)', 'concurrent(5)']);
  assert.equal(limiter.status().limits[0].remaining, 30);
  assert.throws(() => limiter.reconfigure('tokens', perMinute(1)), /which: no limit 'tokens'/);
  assert.throws(() => limiter.reconfigure('requests', perMinute(0)), { code: 'RLM_E_AMOUNT' });
  assert.throws(() => limiter.reconfigure('requests', r.sliding(1, 2)), /give the index/);
  assert.throws(() => limiter.reconfigure(0, r.sliding(1, 2)), { name: 'TypeError',
    message: 'limit: requests is perMinute(100) and cannot become sliding(1, 2)' });
  assert.throws(() => limiter.reconfigure(0, 5), /cannot become concurrent\(5\)$/);
});

test('a pause, of all or of a meter', () => {
  const { limiter, clock } = clocked({ requests: perMinute(50), inputTokens: perMinute(50) });
  limiter.pause(5000, 'inputTokens');
  assert.ok(limiter.tryAcquire());
  assert.equal(limiter.tryAcquire({ inputTokens: 1 }), null);
  limiter.pause(1000);
  assert.equal(limiter.check().wait, 1000);
  clock.advance(1000);
  assert.ok(limiter.tryAcquire());
  limiter.pause(0);
  assert.ok(limiter.tryAcquire({ inputTokens: 1 }));
});

test('a debt is owed, and too much is refused whole', () => {
  const { limiter } = clocked({ requests: perMinute(50) });
  limiter.debit({ requests: 60 });
  assert.equal(limiter.status().limits[0].remaining, -10);
  assert.throws(() => limiter.debit({ requests: 2 ** 40 }), { code: 'RLM_E_COST', name: 'LimitError' });
  assert.equal(limiter.status().limits[0].remaining, -10);
});

test('quotas are saved and restored', () => {
  const start = Date.UTC(2026, 2, 5);
  const options = { microdollars: [r.calendarMonth(1000), r.calendarDay(100)], requests: perMinute(5) };
  const { limiter } = clocked(options, start);
  limiter.debit({ microdollars: 30 });
  const saved = JSON.parse(JSON.stringify(limiter.save()));
  assert.deepEqual(
    saved.map(({ meter, length, used }) => [meter, length, used]),
    [
      ['microdollars', null, 30],
      ['microdollars', 86400000, 30],
    ],
  );
  const other = clocked(options, start + 86400000);
  other.limiter.restore(saved);
  assert.deepEqual(
    other.limiter
      .status()
      .limits.slice(1)
      .map(({ used }) => used),
    [30, 0],
  ); // the day is over
  assert.throws(() => limiter.restore([{ used: 1 }]), /what save\(\) returned/);
  limiter.syncWallClock(start);
});

test('a calendar begins anew at midnight', () => {
  const { limiter, clock } = clocked(
    { requests: r.calendarDay(1, { utcOffset: -8 * 3600000 }) },
    Date.UTC(2026, 0, 1, 7, 59, 59),
  );
  assert.ok(limiter.tryAcquire());
  assert.equal(limiter.check().wait, 1000);
  clock.advance(1000);
  assert.ok(limiter.tryAcquire());
});

test('a limiter shows how it was made', () => {
  const limiter = new Limiter({
    requests: [perMinute(50), r.perDay(1000)],
    concurrency: 10,
    name: 'x',
    provider: undefined,
  });
  assert.equal(String(limiter), "new Limiter({ requests: [perMinute(50), perDay(1000)], concurrency: 10, name: 'x' })");
  assert.equal(inspect(limiter), String(limiter));
  assert.equal(inspect({ limiter }).includes('perDay'), true);
});

test('disposing settles and closes', async () => {
  const { limiter } = clocked({ requests: perSecond(10), concurrency: 3 });
  if (Symbol.asyncDispose === undefined) return;
  const [one, two, three] = [limiter.tryAcquire(), limiter.tryAcquire(), limiter.tryAcquire()];
  one[Symbol.dispose]();
  await two[Symbol.asyncDispose]();
  three.cancel();
  three[Symbol.dispose]();
  assert.deepEqual([one.state, two.state, three.state], ['settled', 'settled', 'cancelled']);
  await limiter[Symbol.asyncDispose]();
  assert.equal(limiter.closed, true);
});

test('limits are values to assert and JSON', () => {
  assert.deepStrictEqual(perMinute(5), perMinute(5));
  assert.notDeepStrictEqual(perMinute(5), perMinute(6));
  assert.notDeepStrictEqual(perMinute(5), r.perHour(5));
  assert.deepStrictEqual(JSON.parse(JSON.stringify(perMinute(5, { burst: 2 }))), { kind: 'bucket', amount: 5, period: 60_000, burst: 2,
    guard: 0, cells: 0, utcOffset: 0, follow: 'shrink', least: 0 });
  assert.strictEqual(JSON.parse(JSON.stringify(new Limiter({ requests: perMinute(5) }).status())).limits[0].limit.amount, 5);
});
