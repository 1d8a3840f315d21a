'use strict';

// map: order, bounds, errors by item, and nothing left running however it ends.

const assert = require('node:assert/strict');
const { AsyncLocalStorage } = require('node:async_hooks');
const { execFileSync } = require('node:child_process');
const events = require('node:events');
const { after, before, test } = require('node:test');
const fc = require('fast-check');
const { Limiter, ManualClock, map, perMinute, retry } = require('rlimit');

const tick = () => new Promise((resolve) => setImmediate(resolve));
const double = (x) => 2 * x;
const doubleLater = async (x) => {
  await null;
  return 2 * x;
};
const isArgument = (field) => ({ code: 'RLIMIT_ARGUMENT', message: new RegExp(`^${field}: `) });

const stray = [];
const keep = (reason) => stray.push(reason);
before(() => process.on('unhandledRejection', keep));
after(async () => {
  await tick();
  process.off('unhandledRejection', keep);
  assert.deepEqual(stray, []);
});

/** Something that is opened when it is wanted. */
function gate() {
  let open;
  const promise = new Promise((resolve) => { open = resolve; });
  return { open, promise };
}

function* range(n = Infinity) {
  for (let i = 0; i < n; i++) yield i;
}

async function* later(items) {
  for (const item of items) {
    await null;
    yield item;
  }
}

async function collect(outcomes) {
  const found = [];
  for await (const { item, index, ok, value } of outcomes) found.push([item, index, ok, value]);
  return found;
}

const expected = (n) => Array.from({ length: n }, (_, i) => [i, i, true, 2 * i]);
const byIndex = (found) => found.sort((a, b) => a[1] - b[1]);

// -- Order --

test('every item once, and in order', async () => {
  for (const fn of [double, doubleLater]) {
    for (const [concurrency, buffer] of [[1, undefined], [1, 0], [3, 0], [8, 5], [64, undefined]]) {
      for (const n of [0, 1, 7, 500]) {
        const options = { concurrency, buffer };
        assert.deepEqual(await collect(map(range(n), fn, options)), expected(n));
        assert.deepEqual(await collect(map(later(range(n)), fn, options)), expected(n));
        assert.deepEqual(byIndex(await collect(map(later(range(n)), fn, { ...options, ordered: false }))), expected(n));
        assert.deepEqual(byIndex(await collect(map(range(n), fn, { ...options, ordered: false }))), expected(n));
      }
    }
  }
});

test('every item once, whatever takes how long', async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.nat(6), { maxLength: 40 }), fc.integer({ min: 1, max: 6 }), fc.nat(4), fc.boolean(), fc.nat(3),
    async (turns, concurrency, buffer, ordered, sourceTurns) => {
      let running = 0;
      let most = 0;
      const wait = async (n) => {
        for (let i = 0; i < n; i++) await null;
      };
      async function* source() {
        for (const item of turns.keys()) {
          await wait(sourceTurns);
          yield item;
        }
      }
      const found = await collect(map(source(), async (item) => {
        running += 1;
        most = Math.max(most, running);
        await wait(turns[item]);
        running -= 1;
        if (turns[item] === 6) throw new Error('six');
        return 2 * item;
      }, { concurrency, buffer, ordered }));
      assert.ok(most <= concurrency);
      assert.deepEqual(ordered ? found : byIndex(found),
        turns.map((n, i) => [i, i, n !== 6, n === 6 ? undefined : 2 * i]));
    }));
});

test('as completed does not wait for the slow', async () => {
  const slow = gate();
  const outcomes = map(range(5), async (x) => {
    if (x === 0) await slow.promise;
    return x;
  }, { concurrency: 2, ordered: false });
  const first = [];
  for (let i = 0; i < 4; i++) first.push((await outcomes.next()).value.value);
  assert.deepEqual(first.sort(), [1, 2, 3, 4]);
  slow.open();
  assert.deepEqual((await collect(outcomes)).map(([item]) => item), [0]);
});

test('several may ask at once', async () => {
  const outcomes = map(range(5), doubleLater, { concurrency: 2 });
  const results = await Promise.all(Array.from({ length: 8 }, () => outcomes.next()));
  assert.deepEqual(results.map(({ done, value }) => done || value.index), [0, 1, 2, 3, 4, true, true, true]);
});

test('any iterable will do', async () => {
  for (const items of [[0, 1], new Set([0, 1]), new Map([[0, 1]]).keys(), { * [Symbol.iterator]() { yield* [0, 1]; } },
    [Promise.resolve(0), Promise.resolve(1)], ReadableStream.from?.([0, 1]) ?? [0, 1]]) {
    const found = await collect(map(items, double));
    assert.deepEqual(found, expected(found.length));
    assert.ok(found.length > 0);
  }
  assert.deepEqual((await collect(map('ab', (x) => x))).map(([item]) => item), ['a', 'b']);
});

// -- Bounds --

test('a slow reader holds the items back', async () => {
  for (const kind of [(items) => items, later]) {
    let taken = 0;
    function* source() {
      while (true) {
        taken += 1;
        yield taken;
      }
    }
    const outcomes = map(kind(source()), double, { concurrency: 3, buffer: 2 });
    await tick();
    assert.equal(taken, 0); // nothing is taken before it is asked for
    for (let i = 0; i < 50; i++) {
      assert.equal((await outcomes.next()).value.index, i);
      await tick();
      assert.ok(taken <= i + 1 + 3 + 2 + 1, `${taken} at ${i}`); // an async one may have one more in hand
    }
    await outcomes.return();
  }
});

test('no more calls at a time than it was told', async () => {
  let [now, most] = [0, 0];
  const four = gate();
  await collect(map(range(200), async (x) => {
    now += 1;
    most = Math.max(most, now);
    if (now === 4) four.open();
    if (x < 4) await four.promise; // all four do run at once
    now -= 1;
  }, { concurrency: 4 }));
  assert.equal(most, 4);
});

test('memory is bounded over a million items', () => {
  const script = `
    const { map } = require('rlimit');
    async function main() {
      let least = Infinity, most = 0, sum = 0;
      function* items() { for (let i = 0; i < 1e6; i++) yield { i, ballast: new Array(10) }; }
      const options = { concurrency: 8, ordered: process.argv[1] === 'true' };
      for await (const { index, value } of map(items(), ({ i }) => i, options)) {
        sum += value;
        if (index % 100000 !== 0) continue;
        global.gc();
        const used = process.memoryUsage().heapUsed;
        if (index > 0) least = Math.min(least, used), most = Math.max(most, used);
      }
      console.log(JSON.stringify({ sum, growth: most - least }));
    }
    main();`;
  for (const ordered of ['true', 'false']) {
    const { sum, growth } = JSON.parse(execFileSync(process.execPath, ['--expose-gc', '-e', script, ordered],
      { cwd: __dirname, encoding: 'utf8' }));
    assert.equal(sum, 1e6 * (1e6 - 1) / 2);
    assert.ok(growth < 2e6, `${growth} bytes`);
  }
});

// -- Errors --

const fails = (x) => {
  if (x % 3 === 0) throw new RangeError(String(x));
  return x;
};

test('errors are the items\'', async () => {
  for (const fn of [fails, async (x) => fails(x)]) {
    const outcomes = [];
    for await (const outcome of map(range(10), fn, { concurrency: 3 })) outcomes.push(outcome);
    assert.deepEqual(outcomes.map(({ ok }) => ok), [...range(10)].map((i) => i % 3 !== 0));
    assert.equal(outcomes[1].result(), 1);
    assert.equal(outcomes[3].error.message, '3');
    assert.throws(() => outcomes[3].result(), RangeError);
  }
  const { value: thrown } = await map([1], () => Promise.reject(undefined)).next(); // it need not be an Error
  assert.deepEqual([thrown.ok, thrown.error], [false, undefined]);
});

test('or the first ends the whole', async () => {
  for (const ordered of [true, false]) {
    const signals = [];
    let closed = 0;
    function* items() {
      try {
        yield* range();
      } finally {
        closed += 1;
      }
    }
    const seen = [];
    const reading = (async () => {
      for await (const { index } of map(items(), async (x, { signal }) => {
        signals.push(signal);
        if (x > 5) await new Promise((resolve) => { signal.addEventListener('abort', resolve); });
        if (x === 5) throw new RangeError('five');
      }, { concurrency: 3, ordered, errors: 'throw' })) seen.push(index);
    })();
    await assert.rejects(reading, { name: 'RangeError', message: 'five' });
    assert.deepEqual([seen, closed], [[0, 1, 2, 3, 4], 1]);
    assert.ok(signals.length < 10 && signals[0].aborted);
  }
});

test('an error of the items comes after what went before', async () => {
  for (const n of [0, 1, 30]) {
    for (const ordered of [true, false]) {
      for (const kind of [(items) => items, later]) {
        function* broken() {
          yield* range(n);
          throw new SyntaxError('broken');
        }
        const outcomes = map(kind(broken()), doubleLater, { concurrency: 4, ordered });
        const seen = [];
        await assert.rejects((async () => {
          for await (const { index } of outcomes) seen.push(index);
        })(), SyntaxError);
        assert.deepEqual(seen.sort((a, b) => a - b), [...range(n)]);
        assert.deepEqual(await outcomes.next(), { done: true, value: undefined });
      }
    }
  }
});

test('items that cannot be read are an error', async () => {
  for (const result of [null, 5]) {
    for (const next of [() => result, async () => result]) {
      const items = { [Symbol.asyncIterator]: () => ({ next }) };
      await assert.rejects(collect(map(items, double)), TypeError);
    }
  }
  const rejected = [Promise.reject(new RangeError('item'))];
  await assert.rejects(collect(map(rejected, double)), { message: 'item' });
});

test('bad options are named, before anything runs', () => {
  for (const [option, value] of [['concurrency', 0], ['concurrency', 1.5], ['concurrency', '2'], ['buffer', -1],
    ['limiter', 3],
    ['cost', 3], ['actual', 3], ['priority', 'urgent'], ['timeout', -1], ['progress', 'bar'], ['progress', {}],
      ['onProgress', 3],
    ['errors', 'ignore'], ['signal', {}], ['total', -1], ['workers', 3]]) {
    assert.throws(() => map([1], double, { [option]: value }), isArgument(option));
  }
  assert.throws(() => map(3, double), isArgument('items'));
  assert.throws(() => map(null, double), isArgument('items'));
  assert.throws(() => map([1]), isArgument('fn'));
  assert.throws(() => map([1], double, 3), isArgument('options'));
});

// -- The limiter --

test('each call pays and settles', async () => {
  const limiter = new Limiter({ requests: perMinute(100), inputTokens: perMinute(10000), concurrency: 3,
    clock: new ManualClock() });
  const running = [];
  const found = await collect(map([10, 20, 30, 40], async (x) => {
    running.push(limiter.status().active);
    await tick();
    return { tokens: x };
  }, { limiter, cost: (x) => ({ inputTokens: 10 * x }), actual: ({ tokens }) => ({ inputTokens: tokens }) }));
  assert.deepEqual(found.map(([, , ok]) => ok), [true, true, true, true]);
  const used = Object.fromEntries(limiter.status().limits.filter(({ limit }) => limit.kind !== 'concurrency')
    .map((limit) => [limit.meter, limit.used]));
  assert.deepEqual(used, { requests: 4, inputTokens: 100 });
  assert.deepEqual([Math.max(...running), limiter.status().active], [3, 0]);
});

test('what the limiter refuses is the item\'s error', async () => {
  const limiter = new Limiter({ inputTokens: perMinute(100), clock: new ManualClock() });
  const codes = [];
  for await (const { error } of map([1, 2, 3], double, { limiter, cost: (x) => ({ inputTokens: x === 2 ?
    101 : 10 }) })) {
    codes.push(error?.code);
  }
  assert.deepEqual(codes, [undefined, 'RLIMIT_NEVER', undefined]);
});

test('errors of cost and actual are the items\', and leave nothing held', async () => {
  const limiter = new Limiter({ requests: perMinute(100), concurrency: 1, clock: new ManualClock() });
  const fail = () => {
    throw new RangeError('x');
  };
  const found = await collect(map([0, 1, 2, 3], double, { limiter,
    cost: (x) => (x === 0 ? fail() : x === 1 ? { unknown: 1 } : undefined),
    actual: (value) => (value === 6 ? { unknown: 1 } : fail()) }));
  assert.deepEqual(found.map(([, , ok]) => ok), [false, false, false, false]);
  assert.equal(limiter.status().active, 0);
});

test('a call that throws has paid and counts as failed; a value whose actual is refused is kept', async () => {
  const limiter = new Limiter({ requests: perMinute(100), clock: new ManualClock() });
  const fn = (x) => {
    if (x === 1) throw new Error('no answer');
    return x;
  };
  const outcomes = [];
  for await (const outcome of map([0, 1, 2], fn, { limiter, actual: (x) => (x === 2 ? { unknown: 1 } : {}) })) {
    outcomes.push(outcome);
  }
  assert.deepEqual(outcomes.map(({ ok, value }) => [ok, value]), [[true, 0], [false, undefined], [false, 2]]);
  assert.match(outcomes[2].error.message, /^unknown: /);
  const { succeeded, failed, active, limits } = limiter.status();
  assert.deepEqual([succeeded, failed, active, limits[0].used], [1, 2, 0, 3]);
});

test('many runs on one signal are no leak of listeners', async () => {
  const warnings = [];
  const warn = (warning) => warnings.push(warning.message);
  process.on('warning', warn);
  const many = new AbortController();
  const any = new AbortController();
  events.setMaxListeners(0, any.signal);
  for (const { signal } of [many, any]) {
    const clock = new ManualClock();
    const limiter = new Limiter({ requests: perMinute(1), clock });
    await limiter.acquire();
    const waiting = [];
    for (let i = 0; i < 40; i++) {
      waiting.push(map([1], double, { signal, limiter }).next(), clock.sleep(1000, { signal }));
      waiting.push(retry(() => Promise.reject(new TypeError('fetch failed', { cause: { code: 'EPIPE' } })), { signal, clock }));
    }
    await tick();
    const ended = Promise.allSettled(waiting);
    (signal === many.signal ? many : any).abort();
    assert.ok((await ended).every(({ status }) => status === 'rejected'));
  }
  await tick();
  process.off('warning', warn);
  assert.deepEqual(warnings, []);
});

test('who leaves does not stay in the queue', async () => {
  for (const how of ['return', 'abort']) {
    const limiter = new Limiter({ requests: perMinute(1), concurrency: 10, clock: new ManualClock() });
    const controller = new AbortController();
    const outcomes = map(range(), doubleLater, { limiter, concurrency: 6, signal: controller.signal });
    assert.ok((await outcomes.next()).value.ok);
    await tick();
    assert.equal(limiter.status().queued, 6);
    if (how === 'return') await outcomes.return();
    else {
      const reason = new Error('enough');
      controller.abort(reason);
      await assert.rejects(outcomes.next(), (error) => error === reason);
    }
    assert.deepEqual([limiter.status().queued, limiter.status().active], [0, 0]);
    assert.deepEqual(await outcomes.next(), { done: true, value: undefined });
  }
});

test('two on one limiter', async () => {
  const limiter = new Limiter({ requests: perMinute(100000), concurrency: 2 });
  const both = await Promise.all([1, 2].map(() => collect(map(range(100), doubleLater, { limiter, concurrency: 5 }))));
  assert.deepEqual(both, [expected(100), expected(100)]);
  assert.equal(limiter.status().active, 0);
  limiter.close();
});

// -- The end --

test('the end waits for calls, and begins no more', async () => {
  for (const how of ['return', 'break', 'throw', 'dispose', 'abort', 'pending']) {
    if (how === 'dispose' && !Symbol.asyncDispose) continue;
    let [running, calls, closed] = [0, 0, 0];
    async function* items() {
      try {
        yield* range();
      } finally {
        closed += 1;
      }
    }
    const fn = async (x, { signal }) => {
      calls += 1;
      running += 1;
      if (x > 0) await new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }); });
      await tick(); // it takes its time to end
      running -= 1;
      if (x > 0) throw signal.reason;
    };
    const controller = new AbortController();
    const outcomes = map(items(), fn, { concurrency: 4, signal: controller.signal });
    if (how === 'break') {
      for await (const outcome of outcomes) if (outcome.ok) break;
    } else {
      await outcomes.next();
      const next = how === 'pending' ? outcomes.next() : null;
      await tick();
      if (how === 'return' || how === 'pending') assert.deepEqual(await outcomes.return(7), { done: true, value: 7 });
      if (how === 'throw') await assert.rejects(outcomes.throw(new SyntaxError('x')), SyntaxError);
      if (how === 'dispose') await outcomes[Symbol.asyncDispose]();
      if (how === 'abort') {
        controller.abort(new SyntaxError('x'));
        await assert.rejects(outcomes.next(), SyntaxError);
      }
      if (next) assert.deepEqual(await next, { done: true, value: undefined });
    }
    assert.deepEqual([running, closed], [0, 1], how);
    const before = calls;
    await tick();
    assert.equal(calls, before);
    assert.deepEqual(await outcomes.next(), { done: true, value: undefined });
    assert.deepEqual(await outcomes.return(), { done: true, value: undefined });
    assert.equal(events.getEventListeners(controller.signal, 'abort').length, 0);
  }
});

test('an item that never comes does not keep the end', async () => {
  const items = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}), return: () =>
    new Promise(() => {}) }) };
  const outcomes = map(items, double);
  const next = outcomes.next();
  await outcomes.return();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test('an item that comes too late is not called', async () => {
  const [late, calls] = [gate(), []];
  async function* items() {
    yield 1;
    await late.promise;
    yield 2;
  }
  const outcomes = map(items(), (x) => calls.push(x));
  await outcomes.next();
  await outcomes.return();
  late.open();
  await tick();
  assert.deepEqual(calls, [1]);
});

test('an abort while nobody asks is told to who asks next, once', async () => {
  const reason = new Error('enough');
  const controller = new AbortController();
  const outcomes = map(range(), doubleLater, { signal: controller.signal });
  await outcomes.next();
  controller.abort(reason);
  await tick();
  await assert.rejects(outcomes.next(), (error) => error === reason);
  assert.deepEqual(await outcomes.next(), { done: true, value: undefined });
  const never = map(range(), () => assert.fail('called'), { signal: controller.signal });
  await assert.rejects(never.next(), (error) => error === reason);
});

test('an error of closing the items is told', async () => {
  function* items() {
    try {
      yield* range();
    } finally {
      throw new SyntaxError('closing'); // eslint-disable-line no-unsafe-finally
    }
  }
  const outcomes = map(items(), double);
  await outcomes.next();
  await assert.rejects(outcomes.return(), SyntaxError);
});

test('one that never began costs nothing', async () => {
  const controller = new AbortController();
  const outcomes = map(range(), () => assert.fail('called'), { signal: controller.signal });
  assert.equal(events.getEventListeners(controller.signal, 'abort').length, 0);
  await outcomes.return();
  assert.deepEqual(await outcomes.next(), { done: true, value: undefined });
});

test('maps in maps', async () => {
  const inner = async (n) => (await collect(map(range(n), double, { concurrency: 2 }))).reduce((sum, found) => sum +
    found[3], 0);
  const found = await collect(map(range(20), inner, { concurrency: 4 }));
  assert.deepEqual(found.map(([, , , value]) => value), [...range(20)].map((n) => n * n - n));
});

// -- Progress and context --

test('progress by a function', async () => {
  for (const [items, total, given] of [[[0, 1, 2, 3], 4], [new Set([0, 1, 2, 3]), 4], [range(4), null], [range(4), 4, {
    total: 4 }]]) {
    const seen = [];
    await collect(map(items, fails, { onProgress: (progress) => seen.push(progress), ...given }));
    assert.deepEqual(seen, [1, 2, 3, 4].map((done) => ({ done, failed: done === 4 ? 2 : 1, total })));
  }
  const stop = { onProgress: () => { throw new SyntaxError('stop'); } };
  await assert.rejects(collect(map(range(), double, stop)), SyntaxError);
});

test('progress by a bar', async () => {
  for (const total of [3, null]) {
    const calls = [];
    const bar = Object.fromEntries(['start', 'update', 'setTotal', 'stop'].map((name) =>
      [name, (...args) => calls.push([name, ...args])]));
    for await (const { index } of map(total === null ? range(3) : [...range(3)], double, {
      progress: bar })) if (index === 1) break;
    assert.deepEqual(calls.filter(([name]) => name !== 'setTotal'), [['start', total ?? 0, 0, { failed: 0 }],
      ['update', 1, { failed: 0 }], ['update', 2, { failed: 0 }], ['stop']]);
    assert.equal(calls.length, total === null ? 6 : 4);
  }
});

const installed = (name) => {
  try {
    return require.resolve(name) !== '';
  } catch {
    return false;
  }
};

test('progress by cli-progress', { skip: !installed('cli-progress') && 'cli-progress is not installed' }, async () => {
  for (const progress of [true, 'cli-progress']) {
    assert.deepEqual(await collect(map(range(30), double, { progress })), expected(30));
    assert.deepEqual(await collect(map([...range(30)], double, { progress })), expected(30));
  }
});

test('progress where nothing is installed', () => {
  const script = `
    const { map } = require('rlimit');
    const Module = require('module'), resolve = Module._resolveFilename;
    Module._resolveFilename = function (name, ...more) {
      if (name === 'cli-progress') throw Object.assign(new Error('no'), { code: 'MODULE_NOT_FOUND' });
      return resolve.call(this, name, ...more);
    };
    process.on('warning', ({ code, message }) => console.log(code, message));
    try { map([1], String, { progress: 'cli-progress' }); } catch (error) { console.log(error.code); }
    (async () => { for await (const { value } of map([1], String, { progress: true })) console.log(value); })();`;
  const out = execFileSync(process.execPath, ['-e', script], { cwd: __dirname, encoding: 'utf8', stdio: ['ignore',
    'pipe', 'ignore'] });
  assert.deepEqual(out.trim().split('\n').sort(), ['1', 'RLIMIT_NOT_INSTALLED',
    'RLIMIT_NOT_INSTALLED progress: cli-progress is not installed: npm install cli-progress']);
});

test('the context is that of map(), not of the call before', async () => {
  const storage = new AsyncLocalStorage();
  const outcomes = storage.run(7, () => map(range(20), async (x) => {
    const seen = storage.getStore();
    storage.enterWith(x + 100);
    await null;
    return seen;
  }, { concurrency: 2 }));
  const found = await storage.run(8, () => collect(outcomes));
  assert.deepEqual(found.map(([, , , value]) => value), Array.from({ length: 20 }, () => 7));
});
