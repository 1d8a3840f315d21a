'use strict';

// Calls of the add-on that fail for want of memory, one after another, in every operation: it throws an Error and has
// done nothing, so that the same again, with memory, answers as if it were the first time; and all memory is given back.
// The add-on is a build of its own, from faults.c.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '..', '..');
const FOLDER = path.join(ROOT, 'build', 'faults');
const FAULTY = path.join(FOLDER, 'rlimit.node');
const SOURCE = path.join(__dirname, 'faults.c');
const HEADERS = path.join(path.dirname(path.dirname(process.execPath)), 'include', 'node');
const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
const skip = !fs.existsSync(path.join(HEADERS, 'node_api.h'))
  ? 'no headers of Node beside it'
  : compiler === undefined && 'no compiler';
const MANY = 2000; // calls that one operation may make at most

/** Builds the add-on, whoever else does so at the same time. */
function build() {
  fs.mkdirSync(FOLDER, { recursive: true });
  const made = `${FAULTY}.${process.pid}`;
  const linked = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared'];
  const done = spawnSync(compiler, ['-std=c11', '-O1', '-g', '-fPIC', '-fvisibility=hidden', ...linked, '-isystem', HEADERS,
    '-I', ROOT, '-I', path.join(ROOT, 'ext'), SOURCE, '-o', made, '-lm'], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  fs.renameSync(made, FAULTY);
}

let r;
let native;
let base;
if (!skip) {
  build();
  require.extensions['.node'] = (module) => process.dlopen(module, FAULTY);
  r = require('rlimit');
  native = require('../../bindings/node/load.js');
  base = native.live();
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** What became of a call: { value } or { error }. */
async function outcomeOf(call) {
  try {
    return { value: await call() };
  } catch (error) {
    return { error };
  }
}

/** That an error says what is wrong, in our words. */
function checkError(error, failed, again, expected) {
  assert.ok(error instanceof Error, `${failed}: ${error}`);
  assert.ok(error.stack); // written now, so that it does not keep what was called
  if (error.code === 'RLIMIT_MEMORY') {
    assert.match(error.message, /out of memory$/);
    return;
  }
  if (expected !== undefined && error.code === expected.code) return;
  if (!again) assert.match(failed, /^napi_get_value_/, `${failed}: ${error.stack}`);
  assert.equal(error.code, 'RLIMIT_ARGUMENT', error.stack);
  assert.match(error.message, /must/);
}

function same(outcome, expected, told) {
  if (expected.error !== undefined) {
    assert.equal(outcome.error?.code, expected.error.code, `${told}: ${outcome.error?.stack}`);
    return;
  }
  if (outcome.error !== undefined) throw new Error(`${told}: then ${outcome.error.stack}`);
  assert.deepEqual(outcome.value, expected.value, told);
}

/**
 * Runs an operation with the first, second ... call failing, once and from there on, until none fails. `make` gives what
 * it works on, anew each time. Where it threw it is repeated, and has to do what it would have done. lasting: what it
 * does is not undone. drops: who cannot settle leaves that to the collector.
 */
async function sweep({ make = () => undefined, run, lasting = false, drops = false }) {
  const expected = await outcomeOf(() => run(make()));
  let reached = 0;
  for (const again of [false, true]) {
    for (let n = 1; ; n++) {
      assert.ok(n < MANY);
      const subject = make();
      native.arm(n, again);
      const outcome = await outcomeOf(() => run(subject));
      const failed = native.disarm();
      const told = `call ${n}, ${failed}${again ? ' and all after it' : ''}`;
      if (failed === '') {
        same(outcome, expected, told);
        break;
      }
      reached++;
      if (outcome.error === undefined) same(outcome, expected, told);
      else {
        checkError(outcome.error, failed, again, expected.error);
        if (!lasting) same(await outcomeOf(() => run(subject)), expected, told);
      }
      if (subject?.limiter !== undefined) {
        if (drops) await collected(subject.limiter);
        checkIdle(subject.limiter, told);
      }
    }
  }
  return reached;
}

/** Once the collector has found the permits that are dropped. */
async function collected(limiter) {
  for (let i = 0; i < 50 && limiter.status().active > 0; i++) {
    limiter._watch();
    await tick();
    global.gc();
  }
}

/** Nothing is held, nobody waits, and all the rest is free. */
function checkIdle(limiter, told) {
  const { active, queued, limits } = limiter.status();
  assert.deepEqual([active, queued, limiter._core.queued(), limiter._signals.size], [0, 0, 0, 0], told);
  for (const { meter, capacity, used, remaining } of limits) {
    if (used >= 0) assert.equal(used + remaining, capacity, told);
    if (meter === 'concurrency') assert.equal(used, 0, told);
  }
}

/** Once nothing is allocated but what was at first. */
async function givenBack() {
  for (let i = 0; i < 50 && native.live() !== base; i++) {
    await tick();
    global.gc();
  }
  assert.equal(native.live(), base, 'blocks of memory');
}

const clocked = (options) => ({ ...options, clock: new r.ManualClock(1000) });
const plain = (limiter) => JSON.parse(JSON.stringify(limiter.status()));

/** A limiter of everything, with its clock: by hand, or a function. */
function everything(clock = new r.ManualClock(5e6)) {
  return new r.Limiter({
    requests: [r.perMinute(100), r.calendarDay(1000)], inputTokens: r.sliding(10000, 60000), outputTokens: r.perMinute(1e6),
    concurrency: 5, clock,
  });
}

/** An operation on such a limiter that ends what it begins, with both kinds of clock. */
function onLimiter(run, before = () => ({})) {
  return ['by hand', 'a function'].map((kind) => [kind, {
    make() {
      const limiter = everything(kind === 'by hand' ? undefined : () => 5000);
      return { limiter, ...before(limiter) };
    },
    run,
  }]);
}

const cost = { inputTokens: 10, outputTokens: 20 };

const LIMITER_OPERATIONS = {
  'tryAcquire, settle': [({ limiter }) => {
    const permit = limiter.tryAcquire(cost);
    end(permit, () => permit.settle());
    return permit.state;
  }],
  'settle with the actual cost': [({ limiter }) => {
    const permit = limiter.tryAcquire(cost);
    end(permit, () => permit.settle({ inputTokens: 5 }));
    return [permit.cost, limiter.status().limits.map(({ used }) => used >= 0)];
  }],
  'cancel': [({ limiter }) => {
    const permit = limiter.tryAcquire(cost);
    end(permit, () => permit.cancel());
    return plain(limiter).limits.map(({ used }) => used);
  }],
  'settle in a page before': [({ limiter, permit }) => {
    if (permit.state === 'out') permit.settle();
    return limiter.status().active;
  }, (limiter) => {
    const permit = limiter.tryAcquire(cost);
    limiter._turnPage();
    return { permit };
  }],
  'a page that is full': [({ limiter }) => {
    const permits = [];
    try {
      for (let i = 0; i < 5; i++) permits.push(limiter.tryAcquire());
      return permits.length;
    } finally {
      endAll(permits);
    }
  }, (limiter) => {
    const permit = limiter.tryAcquire();
    for (let i = 0; i < 254; i++) limiter.tryAcquire({ requests: 0 }).settle();
    permit.cancel();
    return {};
  }],
  'never': [({ limiter }) => limiter.tryAcquire({ inputTokens: 1e6 })],
  'acquire, never': [({ limiter }) => limiter.acquire({ inputTokens: 1e6 })],
  'acquire': [async ({ limiter }) => {
    const permit = await limiter.acquire(cost, { priority: 'high' });
    end(permit, () => permit.settle());
    return permit.waited;
  }],
  'tryAcquire, refused': [({ limiter, permits }) => {
    try {
      while (permits.length < 5) permits.push(limiter.tryAcquire());
      return limiter.tryAcquire();
    } finally {
      endAll(permits);
    }
  }, () => ({ permits: [] })],
  'acquire, and it waits': [async ({ limiter, signal, out }) => {
    const waiting = [limiter.acquire(cost, { signal }), limiter.acquire(cost, { timeout: 5000 })];
    const ended = Promise.allSettled(waiting);
    try {
      endAll(out);
    } finally {
      endAll((await ended).flatMap(({ value }) => value ?? []));
    }
    return (await Promise.all(waiting)).map((permit) => permit.state);
  }, (limiter) => ({ signal: new AbortController().signal, out: Array.from({ length: 5 }, () => limiter.tryAcquire()) })],
  'acquire, and many wait': [async ({ limiter, out }) => {
    const waiting = Array.from({ length: 20 }, async () => {
      const permit = await limiter.acquire({ requests: 0 }, { timeout: 1e9 });
      end(permit, () => permit.settle());
    });
    const ended = Promise.allSettled(waiting);
    try {
      endAll(out);
    } finally {
      await ended;
    }
    return (await Promise.all(waiting)).length;
  }, (limiter) => ({ out: Array.from({ length: 5 }, () => limiter.tryAcquire()) })],
  'aborted': [async ({ limiter, out }) => {
    const controller = new AbortController();
    const waiting = limiter.acquire(cost, { signal: controller.signal });
    controller.abort();
    const { reason, value } = (await Promise.allSettled([waiting]))[0];
    endAll(value === undefined ? out : [...out, value]);
    if (reason !== undefined && reason.name !== 'AbortError') throw reason;
  }, (limiter) => ({ out: Array.from({ length: 5 }, () => limiter.tryAcquire()) })],
  'closed': [async ({ limiter, out }) => {
    const waiting = Promise.allSettled([limiter.acquire(), limiter.acquire()]);
    limiter.close();
    endAll(out);
    for (const { reason } of await waiting) assert.match(reason.code, /^RLIMIT_(CLOSED|MEMORY|ARGUMENT)$/);
    return limiter.closed;
  }, (limiter) => ({ out: Array.from({ length: 5 }, () => limiter.tryAcquire()) })],
  'check': [({ limiter }) => limiter.check({ inputTokens: 5 })],
  'check, with a wait': [({ limiter }) => {
    const { wait, meter } = limiter.check({ requests: 100 });
    return [wait > 0, meter];
  }, (limiter) => limiter.debit({ requests: 10 })],
  'status': [({ limiter }) => plain(limiter)],
  'debit': [({ limiter, at }) => {
    if (at.used === undefined) limiter.debit({ inputTokens: 5 });
    at.used = 5;
    return limiter.status().limits[2].used;
  }, () => ({ at: {} })],
  'pause': [({ limiter }) => {
    limiter.pause(5000);
    limiter.pause(1000, 'requests');
    const { available } = limiter.check();
    limiter.pause(0);
    return available;
  }],
  'observe': [({ limiter }) => {
    limiter.observe({ outcome: 'refused', readings: [{ meter: 'outputTokens', limit: 500, remaining: 400 }] });
    const { capacity, used } = limiter.status().limits[3];
    return [capacity, used];
  }],
  'observe with a permit': [({ limiter }) => {
    const permit = limiter.tryAcquire();
    try {
      limiter.observe({ outcome: 'failed' }, permit);
    } finally {
      end(permit, () => permit.settle());
    }
    return limiter.status().failed > 0;
  }],
  'reconfigure': [({ limiter }) => {
    limiter.reconfigure(0, r.perMinute(50));
    limiter.reconfigure('concurrency', 7);
    const [requests, , , , concurrency] = limiter.status().limits;
    assert.deepEqual([requests.capacity, concurrency.capacity], [requests.limit.amount, concurrency.limit.amount]);
    return [requests.capacity, concurrency.capacity];
  }],
  'reconfigure, refused': [({ limiter }) => limiter.reconfigure(0, r.sliding(5, 5))],
  'save, restore': [({ limiter }) => {
    const saved = limiter.save();
    if (saved[0].used === 0) limiter.restore([{ ...saved[0], used: 7 }]);
    return limiter.save();
  }],
  'syncWallClock': [({ limiter }) => limiter.syncWallClock(1.7e12)],
  'fetch': [async ({ limiter }) => {
    const body = { usage: { prompt_tokens: 30, completion_tokens: 4 } };
    const headers = { 'content-type': 'application/json', 'x-ratelimit-limit-requests': '90' };
    const fetch = r.limitFetch(limiter, { provider: 'openai', fetch: async () => Response.json(body, { headers }) });
    const answer = await fetch('http://localhost/v1/chat/completions', { method: 'POST',
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 9 }) });
    return [answer.status, await answer.json()];
  }],
  'retry': [({ limiter }) => r.retry(() => 5, { limiter, cost })],
  'map': [async ({ limiter }) => {
    const answers = [];
    for await (const outcome of r.map([1, 2], (item) => item * 2, { limiter, errors: 'throw' })) {
      answers.push(outcome.value);
    }
    return answers;
  }],
};

/** Ends a permit, and again with memory if that failed: the error goes on. */
function end(permit, how) {
  try {
    how();
  } catch (error) {
    assert.equal(permit.state, 'out');
    native.disarm();
    how();
    throw error;
  }
}

function endAll(permits) {
  const errors = [];
  for (const permit of permits.splice(0)) {
    try {
      end(permit, () => permit.settle());
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

const long = 'x'.repeat(3000);
const MAKERS = {
  'limits': { run: () => [
    r.perMinute(5, { burst: 2 }), r.sliding(5, 100), r.calendarDay(7), r.calendarMonth(7), r.learned(), r.adaptive(),
    r.ramp(), r.concurrent(5).replace({ amount: 6 }),
  ].map(String) },
  'a limit that cannot be': { run: () => r.perMinute(0) },
  'a limiter': { run: () => String(new r.Limiter({ requests: r.perMinute(5) })) },
  'a limiter by hand': { run: () => plain(new r.Limiter(clocked({ requests: r.perMinute(5), concurrency: 3 }))) },
  'a limiter with a clock that is code': { run: () => plain(new r.Limiter({ requests: r.perMinute(5), clock: () => 5 })) },
  'a limiter of a provider': { run: () => plain(new r.Limiter(clocked({ provider: 'anthropic' }))) },
  'a limiter with a coarse clock': { run: () => new r.Limiter({ requests: r.perMinute(5), clock: 'coarse' }).limits.length },
  'a limiter that cannot be': { run: () => new r.Limiter({ inputTokens: r.sliding(5, 5, { cells: 60000 }) }) },
  'a queue that is full': {
    make() {
      const limiter = new r.Limiter(clocked({ concurrency: 1, queue: 0 }));
      const permit = limiter.tryAcquire();
      return { at: { permit, limiter } };
    },
    run: ({ at }) => at.limiter.acquire(),
  },
  'an acquire that times out': {
    make() {
      const limiter = new r.Limiter(clocked({ concurrency: 1, requests: r.perMinute(10) }));
      return { at: { permit: limiter.tryAcquire(), limiter } };
    },
    async run({ at }) {
      const waiting = at.limiter.acquire(cost, { timeout: 10 });
      waiting.catch(() => 0);
      at.limiter.clock.advance(20);
      return waiting;
    },
  },
  'parse': { run: () => {
    const answer = r.parse(429, { 'retry-after': '7', 'x-long': long, [long]: 'short', 'x-ratelimit-limit-requests': '9' },
      JSON.stringify({ error: { code: 'rate_limit_exceeded', message: long } }), { provider: 'openai', wall: 1e12 });
    return [answer.verdict, answer.reason, answer.errorClass, answer.capped, answer.wait, answer.feedback.toJSON()];
  } },
  'parse of a provider that there is not': { run: () => r.parse(200, {}, '', { provider: 'nobody' }) },
  'classify': { run: () => r.classify({ status: 529, headers: { 'retry-after': '3' } }, { provider: 'anthropic' }) },
  'requestCost': {
    run: () => r.requestCost({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 7 }, { provider: 'openai' }),
  },
  'Route': { make: () => new r.Route(), run: (route) => {
    route.learn({ inputTokens: 5 }, { inputTokens: 6 });
    return Object.keys(route.estimate({ inputTokens: 7 }));
  } },
  'Route, estimate': { make: () => new r.Route(), run: (route) => route.estimate({ inputTokens: 7 }) },
  'new Route': { run: () => new r.Route(0.5).estimate({ inputTokens: 9 }) },
  'new Backoff': { run: () => new r.Backoff({ seed: 5 }).start().delay('server') },
  'delay': {
    make: () => new r.Backoff({ seed: 5 }).start(),
    run: (delays) => delays.delay('rate_limit', { priority: 'low', retryAfter: 7 }),
  },
  'new BackoffPlan': {
    run: () => new r.BackoffPlan({ attemptsMax: 5, baseClassNs: [1, 2, 3, 4] }).start(7n).next(1, 2, 5n),
  },
  'a BackoffPlan that cannot be': { run: () => new r.BackoffPlan({ factorPermille: 5 }) },
  'new RetryBudget': { run: () => [undefined, 'coarse', new r.ManualClock(5), () => 5].map((clock) =>
    new r.RetryBudget({ share: 0, perSecond: 1, burst: 1, clock }).retry()) },
  'RetryBudget': {
    make: () => new r.RetryBudget({ share: 0, perSecond: 1, burst: 1, clock: () => 5 }),
    run(budget) {
      budget.request();
      return budget.retry();
    },
  },
  'RetryBudget that is spent': {
    make() {
      const budget = new r.RetryBudget({ share: 0, perSecond: 1, burst: 1, clock: () => 5 });
      assert.equal(budget.retry(), true);
      return budget;
    },
    run: (budget) => budget.retry(),
  },
  'clocks': { run: () => [r.now(), r.nowCoarse(), r.wall()].map((ns) => typeof ns) },
};

const T = 10n ** 12n; // a time, in ns
const PIECES = {
  Bucket: [() => new r.Bucket(r.perMinute(5), T), {
    take: (piece) => piece.take(2, T), refused: (piece) => [piece.take(6, T), piece.peek(6, T)],
    peek: (piece) => piece.peek(1, T), reserve: (piece) => piece.reserve(3, 5n, T), credit: (piece) => piece.credit(1, T),
    debit: (piece) => piece.debit(2, T), status: (piece) => piece.status(T),
    reconfigure: (piece) => piece.reconfigure(r.perMinute(7), T),
    'reconfigure, refused': (piece) => piece.reconfigure(r.sliding(7, 7)),
  }],
  Window: [() => new r.Window(r.sliding(5, 1000), T), {
    take: (piece) => piece.take(2, T)[0], refused: (piece) => piece.take(6, T)[0], peek: (piece) => piece.peek(1, T),
    credit: (piece) => piece.credit(0, 0n), debit: (piece) => piece.debit(2, T), status: (piece) => piece.status(T),
    reconfigure: (piece) => piece.reconfigure(r.sliding(7, 1000), T),
  }],
  Concurrency: [() => new r.Concurrency(r.concurrent(5)), {
    take: (piece) => piece.take(2), refused: (piece) => piece.take(6), peek: (piece) => piece.peek(1),
    release: (piece) => piece.release(1), status: (piece) => piece.status(),
    reconfigure: (piece) => piece.reconfigure(r.concurrent(3)),
  }],
  Calendar: [() => new r.Calendar(r.calendarDay(5), T), {
    take: (piece) => piece.take(2, T)[0], refused: (piece) => piece.take(6, T)[0], peek: (piece) => piece.peek(1, T),
    credit: (piece) => piece.credit(0, 0n), debit: (piece) => piece.debit(2, T), status: (piece) => piece.status(T),
    save: (piece) => piece.save(), restore: (piece) => piece.restore([5, 2], T), sync: (piece) => piece.sync(T, T),
  }],
  Queue: [() => {
    const queue = new r.Queue(3, 10n);
    queue.push(7, 2, T, T);
    return queue;
  }, {
    push: (piece) => typeof piece.push(8, 1, null, T), head: (piece) => piece.head(), remove: (piece) => piece.remove(0),
    deadline: (piece) => piece.deadline(), count: (piece) => piece.count(),
    'expire, nobody': (piece) => piece.expire(T - 1n),
  }],
};

/** What a piece says of itself. */
const told = (piece) => (piece.status === undefined ? [piece.count(), piece.head()] : piece.status(T));

for (const [name, [make, operations]] of Object.entries(PIECES)) {
  MAKERS[`new ${name}`] = { run: () => told(make()) };
  for (const [operation, run] of Object.entries(operations)) {
    MAKERS[`${name}, ${operation}`] = { make, run: (piece) => {
      const answer = run(piece);
      native.disarm(); // what it says of itself is not at issue
      return [answer, told(piece)];
    } };
  }
}
// Who has expired has left the queue, though nobody can be told who it was.
MAKERS['Queue, expire'] = { make: PIECES.Queue[0], run: (queue) => [queue.expire(T), queue.count()], lasting: true };

for (const [name, operation] of Object.entries(MAKERS)) {
  test(name, { skip }, async () => {
    assert.ok((await sweep(operation)) > 0);
    await givenBack();
  });
}

for (const [name, [run, before]] of Object.entries(LIMITER_OPERATIONS)) {
  for (const [kind, operation] of onLimiter(run, before)) {
    test(`${name}, with a clock that is ${kind === 'by hand' ? 'set by hand' : kind}`, { skip }, async () => {
      assert.ok((await sweep({ ...operation, drops: ['fetch', 'retry', 'map'].includes(name) })) > 0);
      await givenBack();
    });
  }
}

test('the add-on itself: it is whole, or does not load', { skip }, () => {
  const names = Object.keys(native).filter((name) => !['arm', 'disarm', 'live', 'parse', 'Route'].includes(name));
  for (const again of [false, true]) {
    for (let n = 1; ; n++) {
      assert.ok(n < MANY);
      const module = { exports: {} };
      native.arm(n, again);
      let error;
      try {
        process.dlopen(module, FAULTY);
      } catch (caught) {
        error = caught;
      }
      const failed = native.disarm();
      if (failed === '') {
        assert.equal(error, undefined);
        assert.deepEqual(names.filter((name) => module.exports[name] === undefined), []);
        break;
      }
      checkError(error, failed, again);
    }
  }
});

test('LimitError is thrown, or nothing of it is known', { skip }, async () => {
  await sweep({ run: () => native.useErrors(r.LimitError) });
  native.useErrors(r.LimitError);
});

test('no memory for a page of permits: told to who asked, and the next is admitted', { skip }, async () => {
  const limiter = new r.Limiter(clocked({ requests: r.per(256, 1000) }));
  const { BigUint64Array } = globalThis;
  let failures = 0;
  globalThis.BigUint64Array = function Failing(length) {
    if (failures-- > 0) throw new RangeError('Array buffer allocation failed');
    return new BigUint64Array(length);
  };
  try {
    failures = 2;
    assert.throws(() => limiter.tryAcquire(), /allocation failed/);
    await assert.rejects(limiter.acquire(), /allocation failed/);
    const permits = Array.from({ length: 256 }, () => limiter.tryAcquire());
    const waiting = Promise.allSettled(Array.from({ length: 258 }, () => limiter.acquire()));
    failures = 1;
    limiter.clock.advance(1000);
    limiter.clock.advance(1000);
    const outcomes = await waiting;
    assert.deepEqual(outcomes.map(({ status }) => status).slice(255), ['fulfilled', 'rejected', 'fulfilled']);
    assert.match(outcomes[256].reason.message, /allocation failed/);
    endAll([...permits, ...outcomes.flatMap(({ value }) => value ?? [])]);
    checkIdle(limiter);
    const capped = new r.Limiter({ concurrency: 1 });
    const permit = capped.tryAcquire();
    failures = 1;
    assert.equal(capped.tryAcquire(), null); // it looks for dropped permits another time
    assert.equal(failures, 0);
    permit.settle();
  } finally {
    globalThis.BigUint64Array = BigUint64Array;
  }
});
