'use strict';

// Every wrong argument is told by name and value, with a code; nothing is changed by it.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const r = require('rlimit');
const native = require('../../bindings/node/load.js');

const { Limiter, perMinute } = r;

/** A call and what is thrown: a class, a code and the message. */
function throws(call, kind, code, message) {
  assert.throws(call, (error) => {
    assert.ok(error instanceof kind, `${error.name} is no ${kind.name}: ${error.message}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

test('wrong limits', () => {
  const cases = [
    [() => perMinute('50'), TypeError, 'RLIMIT_ARGUMENT', /^amount: must be a whole number, not string/],
    [() => perMinute(1.5), RangeError, 'RLIMIT_ARGUMENT', /^amount: must be 1 to 2\^40, not 1\.5/],
    [() => perMinute(-1), RangeError, 'RLIMIT_ARGUMENT', /^amount: .*-1/],
    [() => perMinute(5, { brust: 1 }), TypeError, 'RLIMIT_ARGUMENT', /^brust: unknown option/],
    [() => r.per(5, '60'), TypeError, 'RLIMIT_ARGUMENT', /^ms: must be a number of milliseconds/],
    [() => r.per(5, 1e12), RangeError, 'RLIMIT_ARGUMENT', /^ms: must be 0 to/],
    [() => r.sliding(5, 1000, { cells: 70000 }), RangeError, 'RLIMIT_ARGUMENT', /^cells: .*70000/],
    [() => r.calendarDay(5, { utcOffset: 1.5 }), RangeError, 'RLIMIT_ARGUMENT', /^utcOffset: /],
    [() => r.adaptive({ least: 5, most: 4 }), RangeError, 'RLIMIT_ARGUMENT', /^least: .*5 and 4/],
    [() => perMinute(5).replace({ follow: 'me' }), RangeError, 'RLIMIT_ARGUMENT', /^follow: /],
    [() => new r.Limit([]), TypeError, 'RLIMIT_ARGUMENT', /^Limit: made by/],
  ];
  for (const one of cases) throws(...one);
});

test('limits that cannot be are refused where they are made', () => {
  const cases = [
    [() => perMinute(0), 'RLM_E_AMOUNT', /^amount: must be 1 to 2\^40, not 0$/],
    [() => perMinute(2 ** 41), 'RLM_E_AMOUNT', /not 2199023255552$/],
    [() => r.per(5, 0), 'RLM_E_PERIOD', /^period: .*not 0$/],
    [() => perMinute(5, { burst: 0 }), 'RLM_E_BURST', /^burst: /],
    [() => r.per(100, 0.000001), 'RLM_E_RATE', /^amount, period: the rate/],
    [() => perMinute(5, { guard: 70000 }), 'RLM_E_GUARD', /^guard: .*70000$/],
    [() => r.sliding(5, 1000, { cells: 2 }), 'RLM_E_CELLS', /^cells: .*not 2$/],
    [() => r.concurrent(2 ** 32), 'RLM_E_AMOUNT', /^amount: must be 1 to 2\^31/],
    [() => r.ramp({ floor: 0 }), 'RLM_E_AMOUNT', /^floor: must be 1 to 2\^40, not 0$/],
    [() => r.ramp({ hold: 0 }), 'RLM_E_PERIOD', /^hold: /],
    [() => perMinute(5).replace({ amount: 0 }), 'RLM_E_AMOUNT', /^amount: /],
  ];
  for (const [make, code, message] of cases) throws(make, r.LimitError, code, message);
  throws(cases[0][0], RangeError, 'RLM_E_AMOUNT', /./);
});

test('limits that a limiter refuses, by the name of their meter', () => {
  const wide = r.sliding(5, 1000, { cells: 1000 });
  throws(() => new Limiter({ requests: wide, custom: wide }), r.LimitError, 'RLM_E_CELLS', /^custom: cells: .*1056, not 1000$/);
});

test('wrong options of a limiter', () => {
  const requests = perMinute(5);
  const cases = [
    [{}, RangeError, /^limits: none given/],
    [undefined, RangeError, /^limits: none/],
    [null, TypeError, /^options: /],
    [{ requests, request: requests }, TypeError, /^request: unknown option/],
    [{ requests: 50 }, TypeError, /^requests: must be a Limit/],
    [{ requests: r.concurrent(5) }, RangeError, /^requests: concurrent\(5\) counts connections/],
    [{ requests: r.ramp() }, RangeError, /give it as ramp/],
    [{ requests, concurrency: 0 }, RangeError, /^concurrency: /],
    [{ requests, concurrency: requests }, RangeError, /^concurrency: /],
    [{ requests, concurrency: 'x' }, TypeError, /^concurrency: /],
    [{ requests, ramp: requests }, RangeError, /^ramp: /],
    [{ requests, ramp: 5 }, TypeError, /^ramp: /],
    [{ provider: 'oracle' }, RangeError, /^provider: must be one of anthropic/],
    [{ requests, queue: -1 }, RangeError, /^queue: /],
    [{ requests, queue: 'x' }, TypeError, /^queue: /],
    [{ requests, ageing: -1 }, RangeError, /^ageing: /],
    [{ requests, name: 5 }, TypeError, /^name: /],
    [{ requests, unref: 'false' }, TypeError, /^unref: must be true, false or undefined, not 'false'/],
    [{ requests: Array(13).fill(requests) }, RangeError, /^limits: at most 12, not 13/],
  ];
  for (const [options, kind, message] of cases) throws(() => new Limiter(options), kind, 'RLIMIT_ARGUMENT', message);
  assert.throws(() => Limiter({ requests }), TypeError);
});

test('wrong costs and options of requests: thrown, or rejected', async () => {
  const limiter = new Limiter({ requests: perMinute(50), inputTokens: perMinute(1000) });
  const costs = [
    [{ inputTokens: -1 }, RangeError, /^inputTokens: must be a whole number, 0 to 2\^40, not -1/],
    [{ inputTokens: 1.5 }, RangeError, /not 1\.5/],
    [{ inputTokens: NaN }, RangeError, /not NaN/],
    [{ inputTokens: 2 ** 40 + 1 }, RangeError, /2\^40/],
    [{ inputTokens: '5' }, TypeError, /^inputTokens: must be a whole number, not string/],
    [{ inputTokens: 5n }, TypeError, /bigint/],
    [{ input_tokens: 5 }, TypeError, /^input_tokens: unknown meter/],
    [{ tokens: undefined }, TypeError, /^tokens: unknown meter/],
    [5, TypeError, /^cost: must be an object/],
    [null, TypeError, /^cost: .*null/],
    ['x', TypeError, /^cost: /],
  ];
  for (const [cost, kind, message] of costs) {
    for (const name of ['tryAcquire', 'check', 'debit'])
      throws(() => limiter[name](cost), kind, 'RLIMIT_ARGUMENT', message);
    await assert.rejects(limiter.acquire(cost), { code: 'RLIMIT_ARGUMENT', message });
    const permit = limiter.tryAcquire();
    throws(() => permit.settle(cost), kind, 'RLIMIT_ARGUMENT', message);
    assert.equal(permit.state, 'out');
    permit.cancel();
  }
  const options = [
    [{ timeout: -1 }, /^timeout: /],
    [{ timeout: '5' }, /^timeout: /],
    [{ priority: 'urgent' }, /^priority: /],
    [{ priority: 1 }, /^priority: /],
    [{ signal: {} }, /^signal: /],
    [{ abort: 1 }, /^abort: unknown option/],
    [null, /^options: /],
  ];
  for (const [given, message] of options)
    await assert.rejects(limiter.acquire({}, given), { code: 'RLIMIT_ARGUMENT', message });
  assert.equal(limiter.status().active, 0);
  assert.equal(limiter.status().limits[0].used, 0);
});

test('wrong arguments of the rest', () => {
  const limiter = new Limiter({ requests: perMinute(50) });
  const cases = [
    [() => limiter.observe('x'), TypeError, /^feedback: /],
    [() => limiter.observe({ outcome: 'x' }), RangeError, /^outcome: /],
    [() => limiter.observe({ outcomes: 'x' }), TypeError, /^outcomes: unknown/],
    [() => limiter.observe({}, {}), TypeError, /^permit: /],
    [() => limiter.observe({ readings: [{ meter: 'x' }] }), RangeError, /^meter: /],
    [() => limiter.observe({ readings: [{ meter: 'requests', limit: -1 }] }), RangeError, /^limit: .*-1/],
    [
      () => limiter.observe({ readings: Array(9).fill({ meter: 'requests' }) }),
      RangeError,
      /^readings: must be at most 8, not 9/,
    ],
    [
      () => limiter.observe({}, new Limiter({ requests: perMinute(1) }).tryAcquire()),
      TypeError,
      /^permit: .*this limiter/,
    ],
    [() => limiter.pause(-1), RangeError, /^ms: /],
    [() => limiter.pause(1, 'x'), RangeError, /^meter: no limit 'x'/],
    [() => limiter.reconfigure({}, perMinute(1)), TypeError, /^which: /],
    [() => limiter.reconfigure(0, 'x'), TypeError, /^limit: /],
    [() => limiter.restore({}), TypeError, /^saved: /],
    [() => limiter.syncWallClock('x'), TypeError, /^wall: /],
    [() => r.parse('200', {}), TypeError, /^status: /],
    [() => r.parse(200.5, {}), RangeError, /^status: /],
    [() => r.parse(200, 'x'), TypeError, /^headers: /],
    [() => r.parse(200, [['a']]), TypeError, /^headers: /],
    [() => r.parse(200, { a: {} }), TypeError, /^headers: names and values/],
    [() => r.parse(200, {}, 5), TypeError, /^body: /],
    [() => r.parse(200, {}, '', { provider: 'x' }), RangeError, /^provider: /],
    [() => r.parse(200, {}, '', { provder: 'x' }), TypeError, /^provder/],
    [() => new r.Route(1), RangeError, /^quantile: .*1$/],
    [() => new r.Route().learn({}, { x: 1 }), TypeError, /^x: unknown meter/],
  ];
  for (const [call, kind, message] of cases) throws(call, kind, 'RLIMIT_ARGUMENT', message);
});

test('the add-on checks what it is given: no crash, whatever it is', () => {
  const things = [
    undefined,
    null,
    0,
    -1,
    1.5,
    NaN,
    Infinity,
    2 ** 53,
    5n,
    -5n,
    2n ** 70n,
    '',
    'x',
    true,
    Symbol.iterator,
    [],
    {},
    [1],
    () => 5,
    new Float64Array(3),
    new Uint8Array(5),
    new ArrayBuffer(8),
    perMinute(5),
    [0, 5, 5n, 5, 0, 0, 0, null, 0, 0],
  ];
  const subjects = () => [
    new native.Bucket(perMinute(5)),
    new native.Window(r.sliding(5, 10)),
    new native.Concurrency(r.concurrent(5)),
    new native.Calendar(r.calendarDay(5)),
    new native.Queue(5, 0),
    new native.BackoffPlan(),
    new native.BackoffPlan().start(5),
    new native.RetryBudget(200, 10, 10),
    new native.RouteCore(900),
    new native.Limiter(),
    new Limiter({ requests: perMinute(5) })._core,
  ];
  const attempt = (call) => {
    try {
      call();
    } catch (error) {
      assert.ok(error instanceof Error, String(error));
    }
  };
  const everything = [...subjects(), native];
  for (const subject of everything) {
    const names = [
      ...Object.getOwnPropertyNames(subject),
      ...Object.getOwnPropertyNames(Object.getPrototypeOf(subject)),
    ];
    for (const name of names.filter((key) => typeof subject[key] === 'function' && key !== 'useErrors')) {
      for (const one of things) {
        for (const two of things) {
          const parameters = [one, two, two, one, two];
          if (name[0] === name[0].toUpperCase()) {
            if (typeof one !== 'number' && typeof one !== 'bigint') attempt(() => new subject[name](...parameters));
          } else attempt(() => subject[name](...parameters));
        }
        for (const other of everything) attempt(() => subject[name].call(other, one));
        attempt(() => subject[name].call(one, one));
      }
    }
  }
});

test('classes are called with new, and pieces tell what is wrong', () => {
  for (const name of [
    'Bucket',
    'Window',
    'Concurrency',
    'Calendar',
    'Queue',
    'BackoffPlan',
    'RetryBudget',
    'RouteCore',
    'Limiter',
  ]) {
    assert.throws(() => native[name](), TypeError);
    assert.throws(() => native[name].call({}), TypeError);
  }
  throws(() => new r.Bucket(perMinute(0)), r.LimitError, 'RLM_E_AMOUNT', /^amount: /);
  throws(() => new r.Bucket(5), TypeError, 'RLIMIT_ARGUMENT', /^limit: must be a Limit/);
  throws(() => new r.Bucket(perMinute(5)).take('x'), TypeError, 'RLIMIT_ARGUMENT', /^n: /);
  throws(() => new r.Concurrency(r.concurrent(1)).release(), r.LimitError, 'RLM_E_PERMIT', /./);
  throws(() => new r.BackoffPlan({ factorPermille: 5 }), r.LimitError, 'RLM_E_BACKOFF', /./);
  const bucket = new r.Bucket(r.perSecond(2), 0n);
  assert.deepEqual([bucket.take(2, 0), bucket.take(1, 0n), bucket.take(3, 0) === r.NEVER], [0n, 500000000n, true]);
});
