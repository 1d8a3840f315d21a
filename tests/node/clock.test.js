'use strict';

// ManualClock, and the clocks by name.

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { mock, test } = require('node:test');
const r = require('rlimit');

const { Limiter, ManualClock, perSecond } = r;
const tick = () => new Promise((resolve) => setImmediate(resolve));

test('it stands still until it is moved', () => {
  const clock = new ManualClock(1500.5);
  assert.equal(clock.now, 1500.5);
  assert.equal(clock.advance(0.25), 1500.75);
  clock.set(10);
  assert.equal(clock.now, 10);
  assert.equal(String(clock), 'ManualClock(10)');
  for (const [call, message] of [
    [() => clock.advance(-1), /must be 0 to/],
    [() => clock.set('1'), /must be a number/],
    [() => new ManualClock(NaN), /start: /],
    [() => clock.advance(4611686018427), /would pass/],
  ])
    assert.throws(call, message);
  assert.equal(clock.now, 10);
});

test('sleepers wake in order, and a signal ends a sleep', async () => {
  const clock = new ManualClock();
  const log = [];
  clock.sleep(200).then(() => log.push('200'));
  clock.sleep(100).then(() => log.push('100'));
  await clock.sleep(0);
  const controller = new AbortController();
  const aborted = clock.sleep(5, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await assert.rejects(aborted, /enough/);
  await assert.rejects(clock.sleep(5, { signal: controller.signal }), /enough/);
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  clock.advance(150);
  await tick();
  assert.deepEqual(log, ['100']);
  clock.set(200);
  await tick();
  assert.deepEqual(log, ['100', '200']);
  await assert.rejects(clock.sleep(-1), RangeError);
});

test('several limiters on one clock, with timers mocked away', async () => {
  const apis = ['setTimeout', 'setInterval'];
  mock.timers.enable(process.versions.node.startsWith('18.') ? apis : { apis: [...apis, 'Date'] });
  try {
    const clock = new ManualClock();
    const limiters = [1, 2, 3].map(() => new Limiter({ requests: perSecond(1), clock }));
    limiters.forEach((limiter) => limiter.tryAcquire());
    const waiting = limiters.map((limiter) => limiter.acquire());
    clock.advance(999);
    assert.deepEqual(
      limiters.map((limiter) => limiter.status().queued),
      [1, 1, 1],
    );
    clock.advance(1);
    await Promise.all(waiting);
    const real = new Limiter({ requests: r.per(1, 5) }); // timers of its own
    await real.acquire();
    await real.acquire();
  } finally {
    mock.timers.reset();
  }
});

test('set back, it gives nothing twice', () => {
  const clock = new ManualClock(60000);
  const limiter = new Limiter({ requests: perSecond(1), clock });
  assert.ok(limiter.tryAcquire());
  clock.set(0);
  assert.equal(limiter.tryAcquire(), null);
  clock.set(60000);
  assert.equal(limiter.tryAcquire(), null);
});

test('clocks by name', async () => {
  for (const clock of ['monotonic', 'coarse', 'tsc', performance.now.bind(performance), undefined]) {
    let limiter;
    try {
      limiter = new Limiter({ requests: r.per(2, 30), clock });
    } catch (error) {
      assert.deepEqual([clock, error.code], ['tsc', 'RLM_E_CLOCK']); // this processor has none that will do
      continue;
    }
    assert.equal(limiter.clock, clock);
    for (let i = 0; i < 4; i++) await limiter.acquire();
    assert.equal(limiter.status().queued, 0);
  }
  assert.throws(
    () => new Limiter({ requests: perSecond(1), clock: 'sundial' }),
    /clock: must be monotonic, coarse or tsc/,
  );
  assert.throws(() => new Limiter({ requests: perSecond(1), clock: {} }), /clock: must be a ManualClock/);
  assert.ok(r.now() <= r.now() && r.nowCoarse() > 0n);
  assert.ok(Math.abs(Number(r.wall()) / 1e6 - Date.now()) < 1000);
});

test(
  'a limiter that is dropped is not kept by its clock',
  { skip: global.gc === undefined && 'needs --expose-gc' },
  async () => {
    const clock = new ManualClock();
    const refs = Array.from({ length: 50 }, () => new WeakRef(new Limiter({ requests: perSecond(1), clock })));
    for (let i = 0; i < 5; i++) {
      await tick();
      global.gc();
    }
    clock.advance(1);
    assert.ok(refs.filter((ref) => ref.deref() !== undefined).length <= 1);
  },
);
