'use strict';

// Waiting: order, deadlines, signals, closing; nothing is left behind.

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { after, before, mock, test } = require('node:test');
const fc = require('fast-check');
const r = require('rlimit');

const { Limiter, ManualClock, perMinute, perSecond } = r;
const tick = () => new Promise((resolve) => setImmediate(resolve));
const stray = [];
const keep = (reason) => stray.push(reason);

before(() => process.on('unhandledRejection', keep));
after(async () => {
  await tick();
  process.off('unhandledRejection', keep);
  assert.deepEqual(stray, []);
});

function clocked(options) {
  const clock = new ManualClock();
  return { clock, limiter: new Limiter({ clock, ...options }) };
}

/** Who was admitted, in order; and why others were not. */
function watch(log, name, promise) {
  promise.then(
    (permit) => log.push(name) && permit,
    (error) => log.push(`${name}: ${error.code ?? error.name}`),
  );
  return promise;
}

/** How many listeners a signal has. */
const listeners = (signal) => getEventListeners(signal, 'abort').length;

/** What a limiter that nobody waits for holds. */
function assertIdle(limiter) {
  assert.equal(limiter.status().queued, 0);
  assert.equal(limiter._core.queued(), 0);
  assert.equal(limiter._signals.size, 0);
  assert.equal(limiter._timer, undefined);
  assert.ok(limiter._waiters.every((waiter) => waiter === undefined));
}

test('where there is room nobody queues, and no timer is set', async () => {
  const limiter = new Limiter({ requests: perSecond(1000), concurrency: 100 });
  for (let i = 0; i < 50; i++) {
    const permit = await limiter.acquire({ inputTokens: 5 });
    assert.equal(permit.waited, 0);
    permit.settle();
  }
  assertIdle(limiter);
  assert.equal(limiter._core.queued(), 0);
});

test('first come, first served', async () => {
  const { limiter, clock } = clocked({ requests: perSecond(1) });
  const log = [];
  for (const name of 'abcde') watch(log, name, limiter.acquire());
  await tick();
  assert.deepEqual(log, ['a']);
  assert.equal(limiter.tryAcquire(), null); // it does not overtake
  for (let i = 0; i < 4; i++) {
    clock.advance(1000);
    await tick();
    assert.equal(log.length, i + 2);
  }
  assert.deepEqual(log, [...'abcde']);
  assertIdle(limiter);
});

test('priorities, and ageing', async () => {
  const { limiter, clock } = clocked({ requests: perSecond(1), ageing: 1000 });
  const log = [];
  limiter.tryAcquire();
  watch(log, 'low', limiter.acquire({}, { priority: 'low' }));
  watch(log, 'normal', limiter.acquire());
  watch(log, 'critical', limiter.acquire({}, { priority: 'critical' }));
  for (let i = 0; i < 2; i++) {
    clock.advance(1000);
    await tick();
  }
  watch(log, 'late', limiter.acquire({}, { priority: 'high' })); // came 2 s later: two steps
  for (let i = 0; i < 3; i++) {
    clock.advance(1000);
    await tick();
  }
  assert.deepEqual(log, ['critical', 'normal', 'late', 'low']);
});

test('a large one keeps its place', async () => {
  const { limiter, clock } = clocked({ requests: perSecond(10) });
  const log = [];
  limiter.tryAcquire({ requests: 10 });
  watch(log, 'large', limiter.acquire({ requests: 10 }));
  watch(log, 'small', limiter.acquire());
  clock.advance(900);
  await tick();
  assert.deepEqual(log, []);
  clock.advance(100);
  await tick();
  assert.deepEqual(log, ['large']);
  clock.advance(100);
  await tick();
  assert.deepEqual(log, ['large', 'small']);
});

test('whoever settles, cancels, observes, reconfigures or ends a pause wakes the head', async () => {
  const ways = [
    [{ concurrency: 1 }, ({ permit }) => permit.settle()],
    [{ concurrency: 1 }, ({ permit }) => permit.cancel()],
    [{ concurrency: 1 }, ({ limiter }) => limiter.reconfigure('concurrency', 2)],
    [{ requests: perMinute(1) }, ({ permit }) => permit.cancel()],
    [{ requests: perMinute(1) }, ({ limiter }) => limiter.reconfigure('requests', r.per(1, 0.000001))],
    [{ requests: perMinute(1) }, ({ clock }) => clock.set(60000)],
    [
      { requests: r.learned() },
      ({ limiter, permit }) =>
        limiter.observe(
          { readings: [{ meter: 'requests', limit: 500, remaining: 499, reset: 120, period: 60000 }] },
          permit,
        ),
    ],
  ];
  for (const [options, wake] of ways) {
    const { limiter, clock } = clocked(options);
    const permit = limiter.tryAcquire();
    const log = [];
    const second = watch(log, 'second', limiter.acquire());
    await tick();
    assert.deepEqual(log, [], String(limiter));
    wake({ limiter, clock, permit });
    if (options.requests?.toString() === 'perMinute(1)' && limiter.status().queued > 0) clock.advance(1);
    await second;
    assertIdle(limiter);
  }
  const { limiter } = clocked({ requests: perMinute(10) });
  limiter.pause(5000);
  const paused = limiter.acquire();
  limiter.pause(0);
  await paused;
});

test('a pause ends by itself', async () => {
  const limiter = new Limiter({ requests: perSecond(100) });
  limiter.pause(30);
  const permit = await limiter.acquire();
  assert.ok(permit.waited > 0);
  assertIdle(limiter);
});

test('by the real clock: the rate is used and not exceeded, with one timer', async () => {
  const limiter = new Limiter({ requests: r.per(10, 100) });
  const [set, begun] = [mock.method(globalThis, 'setTimeout'), performance.now()];
  const permits = await Promise.all(Array.from({ length: 30 }, () => limiter.acquire()));
  assert.ok(performance.now() - begun >= 199, String(performance.now() - begun)); // 10 at once, 20 at 100/s
  assert.equal(set.mock.callCount(), 0); // its timers are its own: tests that mock timers do not stop it
  mock.restoreAll();
  assert.ok(permits.slice(10).every(({ waited }) => waited > 0));
  assertIdle(limiter);
});

test('a timeout counts the queue only', async () => {
  const { limiter, clock } = clocked({ requests: perMinute(1), concurrency: 5 });
  limiter.tryAcquire();
  await assert.rejects(limiter.acquire({}, { timeout: 0 }), { code: 'RLIMIT_TIMEOUT', waited: 0, meter: 'requests' });
  const [first, second] = [limiter.acquire({}, { timeout: 3000 }), limiter.acquire({}, { timeout: 1500 })];
  clock.advance(1499);
  await tick();
  assert.equal(limiter.status().queued, 2);
  clock.advance(1);
  await assert.rejects(second, (error) => {
    assert.ok(error instanceof r.AcquireTimeoutError);
    assert.deepEqual(
      [error.code, error.waited, error.meter, String(error.limit)],
      ['RLIMIT_TIMEOUT', 1500, 'requests', 'perMinute(1)'],
    );
    return /not admitted within 1500 ms: requests, perMinute\(1\); 1 others wait/.test(error.message);
  });
  clock.advance(1500);
  await assert.rejects(first, { code: 'RLIMIT_TIMEOUT', waited: 3000 });
  assertIdle(limiter);
  const real = new Limiter({ requests: perMinute(1) });
  real.tryAcquire();
  await assert.rejects(real.acquire({}, { timeout: 5 }), { code: 'RLIMIT_TIMEOUT' });
  assertIdle(real);
});

test('whose time is up as its turn comes is admitted', async () => {
  const { limiter, clock } = clocked({ requests: perSecond(1) });
  limiter.tryAcquire();
  const waiting = limiter.acquire({}, { timeout: 1000 });
  clock.advance(1000);
  await waiting;
});

test('an earlier deadline behind the head is kept', async () => {
  const limiter = new Limiter({ requests: r.per(1, 3600000) });
  limiter.tryAcquire();
  const head = limiter.acquire({}, { timeout: 3600000 });
  await assert.rejects(limiter.acquire({}, { timeout: 10 }), { code: 'RLIMIT_TIMEOUT' });
  limiter.close();
  await assert.rejects(head, r.ClosedError);
});

test('a full queue, and a queue of none', async () => {
  const { limiter, clock } = clocked({ requests: perSecond(1), queue: 2 });
  await limiter.acquire();
  const waiting = [limiter.acquire(), limiter.acquire()];
  await assert.rejects(
    limiter.acquire(),
    (error) =>
      error instanceof r.QueueFullError &&
      error.code === 'RLIMIT_QUEUE_FULL' &&
      error.message === 'queue: full: 2 wait already',
  );
  clock.advance(1000);
  clock.advance(1000);
  await Promise.all(waiting);
  const none = clocked({ requests: perSecond(1), queue: 0 }).limiter;
  await none.acquire();
  await assert.rejects(none.acquire(), r.QueueFullError);
});

test('what never fits is told at once, and when it comes to be so', async () => {
  const { limiter } = clocked({ requests: perSecond(5), queue: 10 });
  limiter.tryAcquire({ requests: 5 });
  const waiting = limiter.acquire({ requests: 5 });
  await assert.rejects(limiter.acquire({ requests: 6 }), { code: 'RLIMIT_NEVER', meter: 'requests' });
  assert.throws(() => limiter.tryAcquire({ requests: 6 }), { code: 'RLIMIT_NEVER' });
  limiter.reconfigure('requests', perSecond(3));
  await assert.rejects(waiting, { code: 'RLIMIT_NEVER' });
  assertIdle(limiter);
});

// -- Signals --

test('aborted: signal.reason, at once, and no listener stays', async () => {
  const { limiter, clock } = clocked({ requests: perSecond(1) });
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error('enough');
  await limiter.acquire({}, { signal });
  assert.equal(listeners(signal), 0);
  const [one, two, three] = [limiter.acquire({}, { signal }), limiter.acquire({}, { signal }), limiter.acquire()];
  assert.equal(listeners(signal), 1); // one for all who wait with it
  controller.abort(reason);
  assert.equal(limiter.status().queued, 1);
  for (const promise of [one, two]) await assert.rejects(promise, (error) => error === reason);
  assert.equal(listeners(signal), 0);
  await assert.rejects(limiter.acquire({}, { signal }), (error) => error === reason);
  await assert.rejects(limiter.acquire({}, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  clock.advance(1000);
  await three;
  assertIdle(limiter);
});

test('a head that gives up lets the next ask', async () => {
  const { limiter } = clocked({ requests: perSecond(10), concurrency: 10 });
  limiter.tryAcquire({ requests: 8 });
  const controller = new AbortController();
  const large = limiter.acquire({ requests: 10 }, { signal: controller.signal });
  const small = limiter.acquire();
  controller.abort();
  await assert.rejects(large, { name: 'AbortError' });
  assert.equal((await small).waited, 0);
});

test('one signal of many limiters, and a reason that is no error', async () => {
  const controller = new AbortController();
  const limiters = Array.from({ length: 20 }, () => new Limiter({ concurrency: 1 }));
  const permits = limiters.map((limiter) => limiter.tryAcquire());
  const promises = limiters.map((limiter) => limiter.acquire({}, { signal: controller.signal }));
  controller.abort('later');
  for (const promise of promises) await assert.rejects(promise, (reason) => reason === 'later');
  limiters.forEach(assertIdle);
  permits.forEach((permit) => permit.settle());
});

test('a timeout and a signal leave nothing of each other', async () => {
  const { limiter, clock } = clocked({ requests: perMinute(1) });
  limiter.tryAcquire();
  const { signal } = new AbortController();
  const promise = limiter.acquire({}, { signal, timeout: 100 });
  clock.advance(100);
  await assert.rejects(promise, { code: 'RLIMIT_TIMEOUT' });
  assert.equal(listeners(signal), 0);
  assertIdle(limiter);
});

// -- Closing --

test('closed: all who wait and all who come', async () => {
  const limiter = new Limiter({ requests: perMinute(2), concurrency: 2 });
  const permits = [limiter.tryAcquire(), limiter.tryAcquire()];
  const { signal } = new AbortController();
  const waiting = [limiter.acquire(), limiter.acquire({}, { signal, timeout: 1000 })];
  limiter.close();
  for (const promise of [...waiting, limiter.acquire()]) {
    await assert.rejects(promise, (error) => error instanceof r.ClosedError && error.code === 'RLIMIT_CLOSED');
  }
  assert.throws(() => limiter.tryAcquire(), r.ClosedError);
  assert.equal(listeners(signal), 0);
  assertIdle(limiter);
  permits[0].settle({ requests: 0 });
  permits[1].cancel();
  limiter.close();
});

// -- A clock that is code --

test("a clock of one's own, and one that throws", async () => {
  let [now, failing] = [0, false];
  const clock = () => {
    if (failing) throw new Error('no time');
    return now;
  };
  const limiter = new Limiter({ requests: r.per(1, 20), concurrency: 5, clock });
  const permit = limiter.tryAcquire();
  failing = true;
  for (const use of [
    () => limiter.tryAcquire(),
    () => limiter.check(),
    () => limiter.status(),
    () => permit.settle(),
    () => limiter.debit({}),
    () => limiter.pause(5),
  ])
    assert.throws(use, /no time/);
  await assert.rejects(limiter.acquire(), /no time/);
  assert.equal(permit.state, 'out');
  failing = false;
  const waiting = [limiter.acquire(), limiter.acquire()];
  failing = true;
  for (const { reason } of await Promise.allSettled(waiting)) assert.match(reason.message, /no time/);
  failing = false;
  assertIdle(limiter);
  now = 20;
  permit.settle();
  (await limiter.acquire()).settle();
  for (const wrong of [() => NaN, () => -1, () => 'x', () => 1e300, () => undefined]) {
    assert.throws(() => new Limiter({ requests: perSecond(1), clock: wrong }), /clock: must return milliseconds/);
  }
});

test('a clock that calls the limiter back', async () => {
  let limiter;
  let deep = 0;
  let [now, calls] = [0, 0];
  const clock = () => {
    calls += 1;
    now += 0.5;
    if (limiter !== undefined && deep === 0 && calls < 1000) {
      deep = 1;
      limiter.tryAcquire({ inputTokens: 3 })?.settle({ inputTokens: 1 });
      if (calls % 7 === 0) limiter.acquire({ inputTokens: 2 }).then((permit) => permit.cancel());
      limiter.check({ inputTokens: 9 });
      deep = 0;
    }
    return now;
  };
  const made = new Limiter({ requests: r.per(2000, 1000), inputTokens: r.per(100000, 1000), concurrency: 300, clock });
  limiter = made;
  const permits = [];
  for (let i = 0; i < 300; i++) {
    permits.push(made.acquire({ inputTokens: 5 }));
    now += 4;
  }
  for (const promise of permits) {
    const permit = await promise;
    assert.deepEqual(permit.cost.inputTokens, 5);
    permit.settle({ inputTokens: 4 });
  }
  await tick();
  limiter = undefined;
  assert.equal(made.status().active, 0);
  assertIdle(made);
});

// -- Many --

test('10,000 waiters: each once, in order, none left', async () => {
  const { limiter, clock } = clocked({ requests: r.per(100, 1000), concurrency: 10000 });
  limiter.debit({ requests: 100 });
  const order = [];
  const waiting = Array.from({ length: 10000 }, (_, i) => limiter.acquire().then((permit) => order.push(i) && permit));
  await assert.rejects(limiter.acquire(), r.QueueFullError);
  for (let i = 0; i < 100; i++) clock.advance(1000);
  const permits = await Promise.all(waiting);
  assert.deepEqual(
    order,
    Array.from({ length: 10000 }, (_, i) => i),
  );
  permits.forEach((permit) => permit.settle());
  assertIdle(limiter);
});

test('an abort storm leaves nothing', async () => {
  const { limiter } = clocked({ requests: r.perHour(1), concurrency: 20000 });
  limiter.tryAcquire();
  const controllers = Array.from({ length: 5000 }, () => new AbortController());
  const shared = new AbortController();
  const waiting = controllers.flatMap(({ signal }) => [
    limiter.acquire({}, { signal }),
    limiter.acquire({}, { signal: shared.signal }),
  ]);
  controllers.reverse().forEach((controller, i) => (i % 2 ? controller.abort() : undefined));
  shared.abort();
  controllers.forEach((controller) => controller.abort());
  const settled = await Promise.allSettled(waiting);
  assert.ok(settled.every(({ status, reason }) => status === 'rejected' && reason.name === 'AbortError'));
  assert.ok([...controllers, shared].every(({ signal }) => listeners(signal) === 0));
  assertIdle(limiter);
});

test('whatever happens, each wait ends once and nothing leaks', async () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('acquire'),
      requests: fc.integer({ min: 0, max: 7 }),
      priority: fc.constantFrom('critical', 'high', 'normal', 'low'),
      timeout: fc.option(fc.integer({ min: 0, max: 3000 }), { nil: undefined }),
      signal: fc.integer({ min: 0, max: 3 }),
    }),
    fc.record({ do: fc.constantFrom('settle', 'cancel', 'try'), pick: fc.nat(99) }),
    fc.record({ do: fc.constant('advance'), ms: fc.integer({ min: 0, max: 2000 }) }),
    fc.record({ do: fc.constant('abort'), signal: fc.integer({ min: 0, max: 2 }) }),
    fc.record({ do: fc.constantFrom('pause', 'cap'), n: fc.integer({ min: 1, max: 5 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, closes) => {
      const { limiter, clock } = clocked({ requests: perSecond(5), concurrency: 3, queue: 8 });
      const controllers = Array.from({ length: 3 }, () => new AbortController());
      const [permits, waits] = [[], []];
      let ended = 0;
      const actions = {
        acquire({ requests, priority, timeout, signal }) {
          waits.push(
            limiter
              .acquire({ requests }, { priority, timeout, signal: controllers[signal]?.signal })
              .then(
                (permit) => permits.push(permit),
                (error) => assert.ok(error.code !== undefined),
              )
              .finally(() => {
                ended += 1;
              }),
          );
        },
        settle: ({ pick }) => permits.splice(pick % (permits.length || 1), 1)[0]?.settle({ requests: pick % 4 }),
        cancel: ({ pick }) => permits.splice(pick % (permits.length || 1), 1)[0]?.cancel(),
        try() {
          const permit = limiter.tryAcquire();
          if (permit !== null) permits.push(permit);
        },
        advance: ({ ms }) => clock.advance(ms),
        abort: ({ signal }) => controllers[signal].abort(),
        pause: ({ n }) => limiter.pause(n * 100),
        cap: ({ n }) => limiter.reconfigure('concurrency', n),
      };
      for (const one of steps) {
        actions[one.do](one);
        if (one.do === 'advance') await tick();
      }
      if (closes) limiter.close();
      for (let i = 0; i < 200 && ended < waits.length; i++) {
        while (permits.length > 0) permits.pop().settle();
        clock.advance(1000);
        await tick();
      }
      assert.equal(ended, waits.length);
      while (permits.length > 0) permits.pop().settle();
      assert.equal(limiter.status().active, 0);
      assertIdle(limiter);
      assert.ok(controllers.every(({ signal }) => listeners(signal) === 0));
    }),
    { numRuns: 200 },
  );
});
