'use strict';

// The user's code, called from here, that throws, answers nonsense, or calls back: whoever asked is told, nothing is held
// afterwards, and the limiter goes on.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { getEventListeners } = require('node:events');
const { after, before, test } = require('node:test');
const r = require('rlimit');

const { Limiter, ManualClock } = r;
const tick = () => new Promise((resolve) => setImmediate(resolve));
const MANY = 1000; // calls of the user's code in one go at most

const stray = [];
const keep = (reason) => stray.push(reason);
before(() => process.on('unhandledRejection', keep));
after(async () => {
  await tick();
  process.off('unhandledRejection', keep);
  assert.deepEqual(stray, []);
});

class Fault extends Error {}

/** That an error is of the user's code, or one of ours: not of a state that nobody thought of. */
function checkError(error) {
  assert.ok(error instanceof Error, String(error));
  assert.ok(error.stack); // written now, so that it does not keep what was called
  const ours = /^(RLIMIT|RLM_E)_/.test(String(error.code));
  assert.ok(error instanceof Fault || ours || error.name === 'AbortError', error.stack);
}

/** What a limiter holds that is not in use. */
function checkIdle(limiter, told) {
  const { active, queued, limits } = limiter.status();
  const inside = [limiter._core.queued(), limiter._signals.size, limiter._waiters.filter((one) => one !== undefined).length];
  assert.deepEqual([active, queued, ...inside], [0, 0, 0, 0, 0], told);
  assert.equal(limiter._timer, undefined, told);
  for (const { meter, capacity, used, remaining } of limits) {
    assert.equal(used + remaining, capacity, told);
    if (meter === 'concurrency') assert.equal(used, 0, told);
  }
  if (limiter.closed) return;
  const permit = limiter.tryAcquire();
  assert.equal(permit.state, 'out', told);
  permit.cancel();
}

/** Once the collector has found the permits that were dropped. */
async function collected(limiter) {
  for (let i = 0; i < 50 && limiter._active > 0; i++) {
    limiter._watch();
    await tick();
    global.gc();
  }
}

// -- A clock that is code --

/** A limiter and all that was done with it. Its clock does something else at one call. */
class World {
  constructor(n, misbehave, options) {
    this.calls = 0;
    this.permits = [];
    this.waiting = 0;
    this.errors = [];
    this.controller = new AbortController();
    this.healthy = false;
    this.now = 1000;
    const clock = () => {
      this.calls++;
      this.now += 10;
      return !this.healthy && this.calls === n ? misbehave(this) ?? this.now : this.now;
    };
    this.attempt(() => { this.limiter = new Limiter({ ...options, clock }); });
  }

  attempt(call) {
    try {
      return call();
    } catch (error) {
      checkError(error);
      this.errors.push(error);
      return undefined;
    }
  }

  /** A permit, of whatever way. */
  keep(permit) {
    if (permit !== null && permit !== undefined) this.permits.push(permit);
    return permit;
  }

  take(cost) {
    return this.attempt(() => this.keep(this.limiter?.tryAcquire(cost)));
  }

  wait(cost, options) {
    if (this.limiter === undefined) return;
    this.waiting++;
    this.limiter.acquire(cost, options).then((permit) => this.keep(permit), (error) => {
      checkError(error);
      this.errors.push(error);
    }).finally(() => { this.waiting--; });
  }

  /** Ends what is held, until nobody waits. */
  async end() {
    this.healthy = true;
    for (let i = 0; i < 100 && (this.waiting > 0 || this.permits.length > 0); i++) {
      for (const permit of this.permits.splice(0)) if (permit.state === 'out') permit.settle();
      await tick();
    }
    assert.equal(this.waiting, 0);
  }
}

/** Everything that a limiter can do, once. */
async function live(world) {
  const { limiter, controller: { signal } } = world;
  if (limiter === undefined) return;
  const [first, second] = [world.take(), world.take({ inputTokens: 5 })];
  world.take();
  world.wait({ inputTokens: 7 }, { signal });
  world.wait({}, { timeout: 35, priority: 'low' });
  world.wait({ requests: 2 }, { signal, priority: 'high' });
  world.attempt(() => limiter.check({ inputTokens: 5 }));
  world.attempt(() => limiter.status());
  world.attempt(() => limiter.observe({ outcome: 'overloaded' }, first));
  world.attempt(() => limiter.observe({ readings: [{ meter: 'requests', limit: 1e6 }] }));
  world.attempt(() => limiter.debit({ inputTokens: 3 }));
  world.attempt(() => first?.settle({ inputTokens: 1 }));
  await tick();
  world.attempt(() => limiter.reconfigure('concurrency', 2));
  world.attempt(() => limiter.pause(0));
  world.wait({ inputTokens: 1e9 });
  world.wait({}, { timeout: 0 });
  world.attempt(() => second?.cancel());
  await tick();
  world.attempt(() => limiter.syncWallClock());
  world.attempt(() => limiter.restore(limiter.save()));
}

const MISBEHAVIOURS = {
  'throws': () => { throw new Fault('no time'); },
  'returns NaN': () => NaN,
  'returns a string': () => '1000',
  'returns a bigint': () => 1000n,
  'returns an object': () => ({ valueOf() { throw new Fault('asked'); } }),
  'returns a time before': () => 1,
  'closes': ({ limiter }) => { limiter?.close(); },
  'aborts': ({ controller }) => { controller.abort(); },
  'asks and aborts': ({ controller, limiter }) => {
    limiter?.check({ requests: 1, inputTokens: 3 }); // writes where C reads
    controller.abort();
  },
  'asks and closes': ({ limiter }) => {
    limiter?.check({ requests: 1, inputTokens: 3 });
    limiter?.close();
  },
  'reconfigures': ({ limiter }) => { limiter?.reconfigure('concurrency', 3); },
  'takes': (world) => { world.take({ inputTokens: 11 }); },
  'takes and gives back': (world) => { world.attempt(() => world.limiter?.tryAcquire({ inputTokens: 11 })?.cancel()); },
  'waits': (world) => { world.wait({ inputTokens: 11 }); },
  'settles': (world) => {
    for (const permit of world.permits) world.attempt(() => permit.settle());
  },
  'looks': ({ limiter }) => {
    limiter?.check({ requests: 4, inputTokens: 3, outputTokens: 2 });
    limiter?.status();
  },
  'turns the page': ({ limiter }) => { if (limiter?._page) limiter._turnPage(); },
  'takes many': (world) => {
    for (let i = 0; i < 300; i++) world.take({ inputTokens: 1 });
  },
  'pauses': ({ limiter }) => {
    limiter?.pause(1e6);
    limiter?.pause(0);
  },
};

const requests = () => r.per(1e6, 1);
const LIMITERS = {
  'a cap': { concurrency: 2, requests: requests(), inputTokens: r.sliding(1e6, 1000) },
  'no cap': { requests: requests(), concurrency: 2 ** 20 },
  'one at a time': { concurrency: 1, inputTokens: r.calendarDay(1e6) },
};

for (const [name, misbehave] of Object.entries(MISBEHAVIOURS)) {
  test(`a clock that ${name} at the nth call`, async () => {
    for (const [kind, options] of Object.entries(LIMITERS)) {
      for (let n = 1; ; n++) {
        assert.ok(n < MANY);
        const world = new World(n, misbehave, options);
        await live(world);
        const reached = world.calls >= n;
        await world.end();
        if (world.limiter !== undefined) checkIdle(world.limiter, `${kind}, call ${n}`);
        assert.deepEqual(getEventListeners(world.controller.signal, 'abort'), []);
        if (!reached) break;
        if (name === 'throws' || name.startsWith('returns ') && !name.endsWith('before')) {
          assert.ok(world.errors.some(({ message }) => /no time|clock: must return/.test(message)), `${kind}, call ${n}`);
        }
      }
    }
  });
}

test('a clock that turns the page while a permit of it is ended: that one is ended', () => {
  let turn = () => 0;
  let now = 1;
  const limiter = new Limiter({ requests: requests(), clock: () => turn() || ++now });
  for (const how of ['settle', 'cancel']) {
    const [mine, held] = [limiter.tryAcquire(), []];
    turn = () => {
      turn = () => 0;
      for (let i = 0; i < 300; i++) held.push(limiter.tryAcquire());
      return 0;
    };
    mine[how]();
    assert.equal(limiter.status().active, 300);
    for (const permit of held) permit.settle();
    assert.equal(limiter.status().active, 0);
  }
});

test('a clock that throws when the timer asks: told to who waits, and the next is admitted', async () => {
  let [now, failing] = [0, false];
  const limiter = new Limiter({ requests: r.per(1, 5), clock: () => {
    if (!failing) return now;
    failing = false;
    throw new Fault('no time');
  } });
  limiter.tryAcquire();
  const waiting = [limiter.acquire({ requests: 1 }), limiter.acquire()];
  [now, failing] = [5, true];
  const [first, second] = await Promise.allSettled(waiting);
  assert.ok(first.reason instanceof Fault);
  second.value.settle();
  assert.equal(limiter.status().queued, 0);
});

test('a clock that throws when dropped permits are ended: they are ended later', async () => {
  let failing = 0;
  const limiter = new Limiter({ concurrency: 3, clock: () => {
    if (failing > 0 && failing-- > 0) throw new Fault('no time');
    return 5;
  } });
  for (let i = 0; i < 3; i++) limiter.tryAcquire();
  const waiting = limiter.acquire();
  failing = 1;
  await collected(limiter);
  (await waiting).settle();
  assert.equal(failing, 0);
  await collected(limiter);
  checkIdle(limiter);
});

test('a clock that closes or aborts while somebody asks: nobody is left in the queue', async () => {
  for (const how of ['close', 'abort']) {
    const controller = new AbortController();
    let act = () => 0;
    const limiter = new Limiter({ concurrency: 1, clock: () => {
      act();
      return 5;
    } });
    const permit = limiter.tryAcquire();
    act = () => (how === 'close' ? limiter.close() : controller.abort());
    const asked = limiter.acquire({}, { signal: controller.signal });
    act = () => 0;
    await assert.rejects(asked, how === 'close' ? r.ClosedError : { name: 'AbortError' });
    permit.settle();
    checkIdle(limiter);
  }
});

test('a clock that asks a limiter which is not made yet', () => {
  let early;
  class Early extends Limiter {
    set clock(clock) {
      early = this;
      this._clock = clock;
    }

    get clock() { return this._clock; }
  }
  const errors = [];
  let made = false;
  const limiter = new Early({ concurrency: 300, requests: requests(), inputTokens: r.sliding(1e6, 5), clock: () => {
    if (made) return 5;
    made = true;
    for (const use of [() => early.tryAcquire(), () => early._core.page(new BigUint64Array(early._core.pageWords()))]) {
      try {
        use();
      } catch (error) {
        checkError(error);
        errors.push(error);
      }
    }
    return 5;
  } });
  assert.equal(errors.length, 2);
  const permits = Array.from({ length: 300 }, () => limiter.tryAcquire());
  for (const permit of permits) permit.settle();
  checkIdle(limiter);
});

test('a clock that throws, of a retry budget', () => {
  let failing = false;
  const budget = new r.RetryBudget({ share: 0, perSecond: 1, burst: 1, clock: () => {
    if (failing) throw new Fault('no time');
    return 5;
  } });
  failing = true;
  assert.throws(() => budget.request(), Fault);
  assert.throws(() => budget.retry(), Fault);
  failing = false;
  assert.deepEqual([budget.retry(), budget.retry()], [true, false]);
  assert.throws(() => new r.RetryBudget({ clock: () => { throw new Fault('no time'); } }), Fault);
});

// -- Arguments --

/** An object with a getter that does something. */
function withGetter(name, act, value = 1) {
  return Object.defineProperty({}, name, { enumerable: true, get() {
    act();
    return value;
  } });
}

const thrown = () => { throw new Fault('got'); };

test('getters that throw: nothing is taken, nobody queues', async () => {
  const limiter = new Limiter({ concurrency: 2, inputTokens: r.perMinute(100), requests: r.calendarDay(50) });
  const permit = limiter.tryAcquire({ inputTokens: 5 });
  const hostile = withGetter('inputTokens', thrown);
  const { signal } = new AbortController();
  for (const use of [
    () => limiter.tryAcquire(hostile),
    () => limiter.check(hostile),
    () => limiter.debit(hostile),
    () => permit.settle(hostile),
    () => limiter.observe(withGetter('outcome', thrown), permit),
    () => limiter.observe({ readings: [withGetter('meter', thrown)] }),
    () => limiter.observe({ readings: { *[Symbol.iterator]() { yield thrown(); } } }),
    () => limiter.observe({ named: { [Symbol.iterator]: thrown } }),
    () => limiter.restore([withGetter('period', thrown)]),
    () => new Limiter(withGetter('requests', thrown)),
    () => new Limiter({ concurrency: 5, ...{ get queue() { return thrown(); } } }),
    () => r.parse(200, withGetter('retry-after', thrown)),
    () => r.parse(200, { [Symbol.iterator]: thrown }),
    () => r.parse(200, {}, '', withGetter('provider', thrown)),
    () => r.perMinute(5, withGetter('burst', thrown)),
    () => new r.Backoff(withGetter('base', thrown)),
    () => new r.BackoffPlan(withGetter('baseNs', thrown)),
    () => new r.Bucket(withGetter('_spec', thrown)),
    () => new r.Route().estimate(hostile),
    () => new r.Route().learn({}, hostile),
    () => r.requestCost(withGetter('messages', thrown)),
    () => r.classify(withGetter('status', thrown)),
  ]) assert.throws(use, Fault, use.toString());
  for (const options of [{ get signal() { return thrown(); } }, { signal, get timeout() { return thrown(); } },
    { get priority() { return thrown(); } }]) await assert.rejects(limiter.acquire({}, options), Fault);
  await assert.rejects(limiter.acquire(hostile, { signal }), Fault);
  assert.equal(permit.state, 'out');
  permit.cancel();
  checkIdle(limiter);
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});

test('a getter of the actual cost that ends the permit itself: what came into its place stays', () => {
  for (const options of [{ concurrency: 5 }, { requests: r.calendarDay(100) }]) {
    const limiter = new Limiter({ ...options, inputTokens: r.calendarDay(1000) });
    const permit = limiter.tryAcquire({ inputTokens: 10 });
    let other;
    const actual = withGetter('inputTokens', () => {
      permit.settle();
      other = limiter.tryAcquire({ inputTokens: 100 });
    });
    assert.throws(() => permit.settle(actual), { code: 'RLIMIT_SETTLED' });
    assert.deepEqual([permit.state, other.state, limiter.status().active], ['settled', 'out', 1]);
    const used = () => limiter.status().limits.find(({ meter }) => meter === 'inputTokens').used;
    assert.equal(used(), 110);
    other.settle({ inputTokens: 40 });
    assert.equal(used(), 50);
    checkIdle(limiter);
  }
});

test('getters that call back', async () => {
  const acts = {
    takes: (limiter, kept) => kept.push(limiter.tryAcquire({ inputTokens: 3 })),
    closes: (limiter) => limiter.close(),
    looks: (limiter) => limiter.check({ inputTokens: 50, requests: 7 }),
    settles: (limiter, kept) => kept.shift()?.settle({ inputTokens: 2 }),
  };
  for (const [name, act] of Object.entries(acts)) {
    const limiter = new Limiter({ concurrency: 10, inputTokens: r.calendarDay(1000), requests: r.calendarDay(100) });
    const kept = [limiter.tryAcquire(), limiter.tryAcquire()];
    const cost = withGetter('inputTokens', () => act(limiter, kept), 20);
    const done = await Promise.allSettled([
      limiter.acquire(cost), limiter.acquire({ inputTokens: 20 }, withGetter('timeout', () => act(limiter, kept), 1000)),
      (async () => limiter.tryAcquire(cost))(), (async () => limiter.check(cost))(),
      (async () => limiter.debit(withGetter('inputTokens', () => act(limiter, kept), 0)))(),
    ]);
    for (const { reason } of done) if (reason !== undefined) checkError(reason);
    for (const { value } of done) {
      if (!(value instanceof r.Permit)) continue;
      assert.equal(value.cost.inputTokens, 20, name);
      value.cancel();
    }
    for (const permit of kept) permit?.cancel();
    checkIdle(limiter, name);
  }
});

test('nothing is asked to convert itself', async () => {
  const asked = () => { throw new Fault('converted'); };
  const hostile = { valueOf: asked, toString: asked, [Symbol.toPrimitive]: asked, toJSON: asked };
  const limiter = new Limiter({ requests: r.perMinute(5), concurrency: 1 });
  const permit = limiter.tryAcquire();
  const uses = [
    () => limiter.tryAcquire({ requests: hostile }), () => limiter.check({ inputTokens: hostile }),
    () => permit.settle({ inputTokens: hostile }), () => limiter.debit({ custom: hostile }), () => limiter.debit(hostile),
    () => limiter.pause(hostile), () => limiter.pause(5, hostile), () => limiter.reconfigure(hostile, r.perMinute(6)),
    () => limiter.reconfigure('requests', hostile), () => limiter.syncWallClock(hostile), () => limiter.restore(hostile),
    () => limiter.observe({ retryAfter: hostile }), () => limiter.observe({ outcome: hostile }),
    () => limiter.observe({}, hostile), () => new Limiter({ requests: hostile }),
    () => new Limiter({ concurrency: hostile }), () => new Limiter({ concurrency: 1, queue: hostile }),
    () => new Limiter({ concurrency: 1, clock: hostile }), () => new Limiter({ concurrency: 1, name: hostile }),
    () => r.perMinute(hostile), () => r.sliding(5, hostile), () => r.parse(hostile), () => r.parse(200, {}, hostile),
    () => r.parse(200, { a: hostile }), () => r.parse(200, {}, '', { provider: hostile }),
    () => new r.Backoff({ base: hostile }), () => new r.Backoff().start(hostile), () => new r.Route(hostile),
    () => new r.Bucket(r.perMinute(5)).take(hostile), () => new r.Queue(hostile, 0), () => r.estimateTokens(hostile),
    () => new r.RetryBudget({ clock: hostile }), () => new ManualClock(hostile), () => r.perMinute(5, { burst: hostile }),
  ];
  for (const use of uses) {
    assert.throws(use, (error) => error instanceof TypeError && error.code === 'RLIMIT_ARGUMENT', use.toString());
  }
  for (const options of [{ timeout: hostile }, { priority: hostile }, { signal: hostile }, hostile]) {
    await assert.rejects(limiter.acquire({}, options), { code: 'RLIMIT_ARGUMENT' });
  }
  permit.cancel();
  checkIdle(limiter);
});

// -- Signals --

/** What is used like a signal, and does something when it is. */
function oddSignal(does) {
  const { signal } = new AbortController();
  return Object.assign(Object.create(null), {
    aborted: false, reason: new Fault('reason'), addEventListener: (...given) => signal.addEventListener(...given),
    removeEventListener: (...given) => signal.removeEventListener(...given), throwIfAborted() {}, ...does(signal),
  });
}

test('signals that are not of Node: what they throw is told, and nobody stays in the queue', async () => {
  const oddities = {
    'cannot be listened to': [() => ({ addEventListener: thrown }), 'rejected'],
    'cannot be left': [() => ({ removeEventListener: thrown }), 'fulfilled'],
    'listened to, and thrown then': [(signal) => ({ addEventListener(...given) {
      signal.addEventListener(...given);
      thrown();
    } }), 'rejected'],
    'call at once': [() => ({ addEventListener(name, listener) { listener(); } }), 'rejected'],
    'call at once, and throw': [() => ({ addEventListener(name, listener) {
      listener();
      thrown();
    } }), 'rejected'],
    'have no removeEventListener': [() => ({ removeEventListener: undefined }), 'rejected'],
  };
  for (const [name, [does, status]] of Object.entries(oddities)) {
    const limiter = new Limiter({ concurrency: 1 });
    const permit = limiter.tryAcquire();
    const [odd, plain] = [limiter.acquire({}, { signal: oddSignal(does) }), limiter.acquire()];
    const ended = odd.then((one) => one.settle(), () => 0);
    permit.settle();
    (await plain).settle();
    await ended;
    const outcome = (await Promise.allSettled([odd]))[0];
    assert.equal(outcome.status, status, name);
    if (outcome.reason !== undefined) checkError(outcome.reason);
    checkIdle(limiter, name);
  }
});

test('signals that are not of Node, of map and retry', async () => {
  for (const does of [() => ({ addEventListener: thrown }), () => ({ removeEventListener: thrown })]) {
    const limiter = new Limiter({ concurrency: 1 });
    const signal = oddSignal(does);
    const run = r.map([1, 2], () => 5, { limiter, signal });
    await assert.rejects((async () => { for await (const outcome of run) outcome.result(); })(), Fault);
    await assert.rejects(r.retry(() => {
      throw Object.assign(new Fault('busy'), { status: 503, headers: {} });
    }, { limiter, signal, sleep: async () => 0, attempts: 2 }), Fault);
    checkIdle(limiter);
  }
});

test('a signal that closes or asks while it is listened to', async () => {
  for (const act of [(limiter) => limiter.close(), (limiter) => limiter.acquire({}, { timeout: 0 }).catch(() => 0)]) {
    const limiter = new Limiter({ concurrency: 1 });
    const permit = limiter.tryAcquire();
    const signal = oddSignal(() => ({ addEventListener: () => act(limiter) }));
    const asked = limiter.acquire({}, { signal }).then((one) => one.settle(), checkError);
    permit.settle();
    await asked;
    checkIdle(limiter);
  }
});

test('an abort listener that asks, settles or closes', async () => {
  for (const act of [
    (limiter, signal) => limiter.acquire({}, { signal }).catch(() => 0),
    (limiter, signal, permit) => permit.settle(),
    (limiter) => limiter.close(),
    (limiter) => limiter.acquire().then((one) => one.settle(), () => 0),
  ]) {
    for (const first of [true, false]) {
      const limiter = new Limiter({ concurrency: 1 });
      const permit = limiter.tryAcquire();
      const controller = new AbortController();
      const { signal } = controller;
      const listener = () => act(limiter, signal, permit);
      if (first) signal.addEventListener('abort', listener);
      const waiting = [1, 2, 3].map(() => limiter.acquire({}, { signal }).then((one) => one.settle(), checkError));
      if (!first) signal.addEventListener('abort', listener);
      controller.abort();
      if (permit.state === 'out') permit.settle();
      await Promise.all(waiting);
      await tick();
      checkIdle(limiter);
      assert.equal(getEventListeners(signal, 'abort').length, 1);
    }
  }
});

// -- Reactions --

test('what the own code throws in listeners and reactions is that, and nothing else', () => {
  const done = spawnSync(process.execPath, ['-e', `
    const r = require(${JSON.stringify(require.resolve('rlimit'))});
    const seen = [];
    for (const name of ['uncaughtException', 'unhandledRejection']) {
      process.on(name, (error) => seen.push(name + ' ' + error.message));
    }
    const clock = new r.ManualClock();
    const limiter = new r.Limiter({ concurrency: 1, clock });
    const permit = limiter.tryAcquire();
    const controller = new AbortController();
    controller.signal.addEventListener('abort', () => { throw new Error('listener'); });
    const aborted = limiter.acquire({}, { signal: controller.signal }).catch((error) => seen.push(error.name));
    limiter.acquire().then((one) => { one.settle(); throw new Error('reaction'); });
    limiter.acquire({}, { timeout: 5 }).catch(() => { throw new Error('rejection'); });
    const last = limiter.acquire();
    controller.abort();
    clock.advance(10);
    permit.settle();
    last.then((one) => one.settle());
    process.on('exit', () => {
      const { active, queued } = limiter.status();
      console.log(JSON.stringify([active, queued, seen.sort()]));
    });
  `], { encoding: 'utf8' });
  assert.deepEqual([done.status, done.stderr], [0, '']);
  assert.deepEqual(JSON.parse(done.stdout), [0, 0, ['AbortError', 'uncaughtException listener',
    'unhandledRejection reaction', 'unhandledRejection rejection']]);
});

// -- The stack --

test('no room on the stack: a permit that was not ended is out, and who waits is admitted once there is', async () => {
  const limiter = new Limiter({ concurrency: 1 });
  const full = () => { throw new RangeError('Maximum call stack size exceeded'); };
  const [permit, waiting] = [limiter.tryAcquire(), limiter.acquire()];
  const io = limiter._io;
  Object.defineProperty(limiter, '_io', { configurable: true, get: full });
  assert.throws(() => permit.settle(), RangeError);
  assert.deepEqual([permit.state, limiter._active], ['out', 1]);
  Object.defineProperty(limiter, '_io', { value: io, writable: true });
  limiter._pump = () => {
    delete limiter._pump;
    full();
  };
  permit.settle();
  (await waiting).settle();
  checkIdle(limiter);
});

test('the stack is full somewhere in an operation: no permit is lost', async () => {
  const limiter = new Limiter({ concurrency: 2 ** 20, clock: () => 5 });
  for (let size = 0; size < 256; size++) {
    const permits = [];
    let done = 0;
    const use = () => {
      permits.push(limiter.tryAcquire());
      permits[0].settle();
      permits.shift();
      done++;
    };
    const deeper = (...room) => {
      try {
        deeper(...room);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
      if (done < 3) use(); // throws where there is no room, to the one that has more
    };
    deeper(...Array(size).fill(0));
    assert.equal(done, 3);
    for (const permit of permits) if (permit.state === 'out') permit.settle();
    checkIdle(limiter, `${size}`);
  }
});

// -- retry, map, fetch --

/** Lets the nth call of the user's code throw, whichever function that is. */
class Faults {
  constructor(n) {
    this.n = n;
    this.calls = 0;
    this.failed = null;
  }

  in(name, call = () => undefined) {
    const faults = this;
    return function faulty(...given) {
      if (++faults.calls === faults.n) {
        faults.failed = name;
        throw new Fault(name);
      }
      return call.apply(this, given);
    };
  }
}

const OPERATIONS = {
  retry(faults, limiter) {
    let tries = 0;
    return r.retry(faults.in('fn', () => {
      if (++tries < 3) throw Object.assign(new Error('busy'), { status: 503, headers: {} });
      return 'done';
    }), {
      limiter, cost: faults.in('cost', () => ({ inputTokens: 5 })), actual: faults.in('actual', () => ({ inputTokens: 2 })),
      onRetry: faults.in('onRetry'), sleep: faults.in('sleep'), retryOn: faults.in('retryOn'),
      budget: new r.RetryBudget({ clock: faults.in('budget', () => 5) }),
    });
  },
  retryable(faults, limiter) {
    const call = r.retryable(faults.in('fn', async (word) => word), { limiter, cost: faults.in('cost', () => ({})) });
    return call('done');
  },
  async map(faults, limiter) {
    const next = faults.in('next', () => (left-- > 0 ? { done: false, value: left } : { done: true }));
    let left = 4;
    const items = { [Symbol.iterator]: faults.in('items', () => ({ next, return: faults.in('return', () => ({})) })) };
    const progress = Object.fromEntries(['start', 'update', 'setTotal', 'stop'].map((name) => [name, faults.in(name)]));
    const run = r.map(items, faults.in('fn', async (item) => item), {
      limiter, cost: faults.in('cost', () => ({ inputTokens: 5 })), actual: faults.in('actual', () => ({ inputTokens: 2 })),
      concurrency: 2, progress, onProgress: faults.in('onProgress'), errors: 'throw',
    });
    let done = 0;
    for await (const outcome of run) done += outcome.ok ? 1 : 0;
    return done === 4 ? 'done' : done;
  },
  async 'map that is left'(faults, limiter) {
    const items = { async *[Symbol.asyncIterator]() {
      try {
        for (let i = 0; ; i++) yield faults.in('next', () => i)();
      } finally {
        faults.in('end')();
      }
    } };
    const run = r.map(items, faults.in('fn', async (item) => item), { limiter, concurrency: 2, errors: 'throw',
      onProgress: faults.in('onProgress') });
    for await (const outcome of run) if (outcome.index === 2) break;
    return 'done';
  },
  async fetch(faults, limiter) {
    const json = JSON.stringify({ usage: { prompt_tokens: 7, completion_tokens: 3 } });
    const body = () => new ReadableStream({ pull: faults.in('pull', (controller) => {
      controller.enqueue(Buffer.from(json));
      controller.close();
    }) }, { highWaterMark: 0 });
    const fetch = r.limitFetch(limiter, { provider: 'openai', fetch: faults.in('fetch', async () => new Response(body(),
      { headers: { 'content-type': 'application/json' } })), cost: faults.in('cost', () => ({ inputTokens: 5 })) });
    const answer = await fetch('http://localhost/v1/chat/completions', { method: 'POST', body: '{"messages":[]}' });
    return (await answer.text()) === json ? 'done' : '';
  },
  async 'fetch, with hostile arguments'(faults, limiter) {
    const fetch = r.limitFetch(limiter, { fetch: async (input, init) => new Response(init.method) });
    const url = { toString: faults.in('toString', () => 'http://localhost/v1/chat/completions') };
    const init = Object.defineProperties({}, Object.fromEntries(Object.entries({ method: 'POST', body: '{"messages":[]}',
      headers: { a: 'b' }, signal: new AbortController().signal }).map(([name, value]) =>
      [name, { enumerable: true, get: faults.in(name, () => value) }])));
    return (await (await fetch(url, init)).text()) === 'POST' ? 'done' : '';
  },
  async middleware(faults, limiter) {
    const body = JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], max_tokens: 5 });
    const middleware = r.anthropicMiddleware(limiter, { cost: faults.in('cost', () => ({ inputTokens: 5 })) });
    const request = { method: 'POST', url: 'http://localhost/v1/messages', headers: {}, body,
      get signal() { return faults.in('signal', () => undefined)(); } };
    const answer = await middleware(request, faults.in('next', async () => Response.json({ usage: { input_tokens: 3 } })));
    return (await answer.json()).usage.input_tokens === 3 ? 'done' : '';
  },
  async undici(faults, limiter) {
    let over;
    const ended = new Promise((resolve, reject) => { over = { resolve, reject }; });
    const controller = { abort() {}, pause() {}, resume() {}, aborted: false, paused: false, reason: null };
    const dispatch = faults.in('dispatch', (request, handler) => {
      try {
        handler.onRequestStart(controller, null);
        handler.onResponseStart(controller, 200, { 'content-type': 'application/json' }, '');
        handler.onResponseData(controller, Buffer.from('{"usage":{"prompt_tokens":7,"completion_tokens":3}}'));
        handler.onResponseEnd(controller, {});
      } catch (error) {
        handler.onResponseError(controller, error);
      }
      return true;
    });
    const handler = { onRequestStart: faults.in('onRequestStart'), onResponseStart: faults.in('onResponseStart'),
      onResponseData: faults.in('onResponseData'), onResponseEnd: faults.in('onResponseEnd', () => over.resolve('done')),
      onResponseError: (_, error) => over.reject(error) };
    const limited = r.undiciInterceptor(limiter, { provider: 'openai', cost: faults.in('cost', () => ({ inputTokens: 5 })) });
    limited(dispatch)({ origin: 'http://localhost', path: '/v1/chat/completions', method: 'POST', body: '{"messages":[]}' },
      handler);
    return ended;
  },
};

for (const [name, operation] of Object.entries(OPERATIONS)) {
  for (const timed of [false, true]) {
    test(`${name}: the nth call of the own code throws${timed ? ', the clock too' : ''}`, async () => {
      const failed = new Set();
      for (let n = 1; ; n++) {
        assert.ok(n < MANY);
        const faults = new Faults(n);
        let clock = () => 5; // healthy, until it is begun
        const limiter = new Limiter({ concurrency: 3, inputTokens: r.perMinute(1000), clock: () => clock() });
        if (timed) clock = faults.in('clock', () => 5);
        const [outcome] = await Promise.allSettled([(async () => operation(faults, limiter))()]);
        clock = () => 5;
        if (faults.failed === null) {
          assert.equal(outcome.value, 'done', outcome.reason?.stack);
          break;
        }
        failed.add(faults.failed);
        if (outcome.status === 'rejected') {
          checkError(outcome.reason);
          assert.equal(outcome.reason.message, faults.failed);
        } else assert.ok(faults.failed === 'clock' || name === 'map that is left', `${faults.failed} was not told`);
        if (limiter._active > 0) {
          assert.equal(faults.failed, 'clock', `${faults.failed}: held`);
          await collected(limiter);
        }
        checkIdle(limiter, faults.failed);
      }
      assert.ok(failed.size > 1, [...failed].join());
    });
  }
}

for (const [name, operation] of Object.entries(OPERATIONS)) {
  test(`${name}: the clock throws from its nth call on`, async () => {
    for (let n = 1, reached = true; reached; n++) {
      let calls = 0;
      let clock = () => 5;
      const limiter = new Limiter({ concurrency: 3, inputTokens: r.perMinute(1000), clock: () => clock() });
      clock = () => {
        if (++calls >= n) throw new Fault('no time');
        return 5;
      };
      const [outcome] = await Promise.allSettled([(async () => operation(new Faults(0), limiter))()]);
      clock = () => 5;
      reached = calls >= n;
      if (outcome.status === 'rejected') checkError(outcome.reason);
      else assert.equal(outcome.value, 'done');
      await collected(limiter);
      checkIdle(limiter, `call ${n}`);
    }
  });
}

test('a tokenizer that throws: said once, and the request is sent', async () => {
  const done = spawnSync(process.execPath, ['-e', `
    const r = require(${JSON.stringify(require.resolve('rlimit'))});
    const limiter = new r.Limiter({ concurrency: 1, requests: r.perMinute(5) });
    const fetch = r.limitFetch(limiter, { provider: 'openai', fetch: async () => new Response('{}'),
      tokenizer: () => { throw new Error('no tokens'); } });
    const init = { method: 'POST', body: JSON.stringify({ messages: [{ role: 'user', content: 'hello' }] }) };
    (async () => {
      for (let i = 0; i < 3; i++) await (await fetch('http://localhost/v1/chat/completions', init)).text();
      console.log(limiter.status().active);
    })();`], { encoding: 'utf8' });
  assert.deepEqual([done.status, done.stdout], [0, '0\n']);
  assert.equal(done.stderr.match(/no tokens/g).length, 1);
});
