'use strict';

// Runs the cases of tests/vectors (its README.md says what they are) through the objects of the package.

const assert = require('node:assert/strict');
const native = require('../../bindings/node/load.js');
const { limitOf } = require('../../bindings/node/lib/limit.js');
const { limiterOf } = require('../../bindings/node/lib/limiter.js');
const rlimit = require('rlimit');

const KINDS = ['bucket', 'window', 'concurrency', 'calendar'];
const METERS = ['requests', 'input_tokens', 'output_tokens', 'tokens', 'microdollars', 'custom'];
const KEYS = ['requests', 'inputTokens', 'outputTokens', 'tokens', 'microdollars', 'custom'];
const WAITS = { never: rlimit.NEVER, release: rlimit.ON_RELEASE };
const MONTH = 2n ** 64n - 1n;
const JITTERS = ['none', 'fraction', 'full', 'equal', 'decorrelated'];
const ARGUMENTS = { push: ['id', 'deadline'], remove: ['id'], reconfigure: ['limit'] };
const ANSWERS = [
  'wait',
  'result',
  'limit',
  'used',
  'remaining',
  'reset_ns',
  'binding',
  'id',
  'deadline',
  'count',
  'delay',
];

/** A limit as the add-on takes it: what it is checked for is in C. */
function specOf(limit) {
  const kind = KINDS.indexOf(limit.kind);
  return [
    kind < 0 ? 9 : kind,
    limit.amount ?? 0,
    limit.period_ns === 'month' ? MONTH : (limit.period_ns ?? 0),
    limit.burst ?? 0,
    limit.guard_ns ?? 0,
    limit.cells ?? 0,
    limit.utc_offset_s ?? 0,
    limit.wall_offset_ns ?? 0,
    0,
    0,
  ];
}

function meterOf(name) {
  const index = METERS.indexOf(name);
  return index < 0 ? 9 : index;
}

function field(code) {
  return code.replace(/^RLM_E_/, '').toLowerCase();
}

function resultOf(call) {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (error instanceof rlimit.LimitError) return field(error.code);
    throw error;
  }
}

const usage = ([limit, used, remaining, reset]) => ({ limit, used, remaining, reset_ns: reset });

/** One bucket, window, cap or quota. */
class Piece {
  marks = new Map();

  constructor(test) {
    this.marked = test.kind === 'window' || test.kind === 'calendar';
    this.core = new rlimit[test.kind[0].toUpperCase() + test.kind.slice(1)](specOf(test.limit), test.start ?? 0);
  }

  take(op, index) {
    const answer = this.core.take(op.n, op.now ?? 0);
    if (!this.marked) return { wait: answer };
    this.marks.set(index, answer[1]);
    return { wait: answer[0] };
  }

  peek(op) {
    return { wait: this.core.peek(op.n, op.now ?? 0) };
  }

  reserve(op) {
    return { wait: this.core.reserve(op.n, op.max_wait, op.now) };
  }

  credit(op) {
    return { result: resultOf(() => this.core.credit(op.n, this.marked ? this.marks.get(op.of) : op.now)) };
  }

  debit(op) {
    return { result: resultOf(() => this.core.debit(op.n, op.now)) };
  }

  release(op) {
    return { result: resultOf(() => this.core.release(op.n)) };
  }

  reconfigure(op) {
    return { result: resultOf(() => this.core.reconfigure(specOf(op.limit), op.now ?? 0)) };
  }

  status(op) {
    return usage(this.core.status(op.now ?? 0));
  }
}

/** A Limiter on a clock that is set by hand. */
class WholeLimiter {
  permits = new Map();

  constructor(test) {
    this.clock = new rlimit.ManualClock();
    this.clock._cell[0] = BigInt(test.start);
    const list = test.limits.map((limit) => ({ meter: KEYS[meterOf(limit.meter)], limit: limitOf(specOf(limit)) }));
    this.core = limiterOf(list, { queue: 10, ageing: 0, clock: this.clock, wallOffset: 0 });
  }

  cost(given) {
    return Object.fromEntries([['requests', 0], ...Object.entries(given).map(([key, n]) => [KEYS[meterOf(key)], n])]);
  }

  at(op) {
    this.clock._cell[0] = BigInt(op.now);
  }

  acquire(op) {
    this.at(op);
    const cost = this.cost(op.cost);
    const [wait] = this.core._check({ inputTokens: 0, outputTokens: 0, microdollars: 0, custom: 0, ...cost });
    let permit = null;
    try {
      permit = this.core.tryAcquire(cost);
      assert.equal(permit !== null, wait === 0n, `check and tryAcquire differ: ${wait}, ${permit}`);
    } catch (error) {
      assert.ok(error instanceof rlimit.NeverAdmittedError, error);
      assert.equal(wait, rlimit.NEVER);
    }
    // a cost of nothing is a peek: there is nothing to end
    if (permit !== null && Object.values(cost).some((n) => n > 0)) this.permits.set(op.permit, permit);
    return { wait };
  }

  check(op) {
    this.at(op);
    const cost = { inputTokens: 0, outputTokens: 0, microdollars: 0, custom: 0, ...this.cost(op.cost) };
    const [wait, binding] = this.core._check(cost);
    const told = this.core.check(cost);
    assert.equal(told.available, wait === 0n);
    assert.equal(told.wait, wait < rlimit.ON_RELEASE ? Number(wait) / 1e6 : Infinity);
    return { wait, binding };
  }

  /** What ending a permit says; one that was never admitted is not there to be ended. */
  end(op, call) {
    this.at(op);
    const permit = this.permits.get(op.permit);
    if (permit === undefined) return { result: 'permit' };
    try {
      return { result: resultOf(() => call(permit)) };
    } catch (error) {
      assert.equal(error.code, 'RLIMIT_SETTLED');
      return { result: 'permit' };
    }
  }

  settle(op) {
    const actual = Object.fromEntries(METERS.map((meter, index) => [KEYS[index], op.actual[meter] ?? 0]));
    delete actual.tokens;
    return this.end(op, (permit) => permit.settle(actual));
  }

  cancel(op) {
    return this.end(op, (permit) => permit.cancel());
  }

  debit(op) {
    this.at(op);
    return { result: resultOf(() => this.core.debit(this.cost(op.cost))) };
  }

  reconfigure(op) {
    this.at(op);
    const status = this.core._core.reconfigure(op.index ?? 0, meterOf(op.limit.meter), specOf(op.limit));
    return { result: field(native.strerror(status)[2]) };
  }

  status(op) {
    this.at(op);
    return usage(this.core._core.status(op.index ?? 0));
  }
}

class BareQueue {
  ids = [];

  handles = new Map();

  constructor(test) {
    this.core = new rlimit.Queue(test.config.capacity, test.config.ageing_ns);
  }

  name(data) {
    return { id: data === null ? null : this.ids[Number(data)] };
  }

  push(op) {
    if (!this.ids.includes(op.id)) this.ids.push(op.id);
    const result = resultOf(() => {
      this.handles.set(op.id, this.core.push(this.ids.indexOf(op.id), op.priority, op.deadline ?? null, op.now));
    });
    return { result };
  }

  head() {
    return this.name(this.core.head());
  }

  expire(op) {
    return this.name(this.core.expire(op.now));
  }

  remove(op) {
    return { result: this.handles.has(op.id) ? resultOf(() => this.core.remove(this.handles.get(op.id))) : 'handle' };
  }

  deadline() {
    return { deadline: this.core.deadline() };
  }

  count() {
    return { count: this.core.count() };
  }
}

class Delays {
  constructor({ config, seed }) {
    this.core = new rlimit.BackoffPlan({
      baseNs: config.base_ns,
      factorPermille: config.factor_permille,
      capNs: config.cap_ns,
      floorNs: config.floor_ns,
      jitter: JITTERS.indexOf(config.jitter),
      fractionPermille: config.fraction_permille,
      attemptsMax: config.attempts_max,
      baseClassNs: config.base_class_ns,
      leastClassNs: config.least_class_ns,
      retryAfterMaxNs: config.retry_after_max_ns,
    }).start(seed);
  }

  next(op) {
    return { delay: this.core.next(op.class, op.priority, op.retry_after) };
  }
}

const SUBJECTS = {
  limiter: WholeLimiter,
  queue: BareQueue,
  backoff: Delays,
  bucket: Piece,
  window: Piece,
  concurrency: Piece,
  calendar: Piece,
};

function same(found, expected) {
  if (found === null || expected === null || typeof expected === 'string') return found === expected;
  return BigInt(found) === BigInt(expected);
}

function agrees(key, found, expected) {
  if (key !== 'wait' && key !== 'delay') return same(found, expected);
  if (expected === 'positive') return found > 0n && found < rlimit.NEVER;
  return same(found, WAITS[expected] ?? expected);
}

function runOps(test) {
  const subject = new SUBJECTS[test.kind](test);
  test.ops.forEach((op, index) => {
    const found = subject[op.op](op, index);
    for (const key of ANSWERS) {
      if (!(key in op) || ARGUMENTS[op.op]?.includes(key)) continue;
      const asked = JSON.stringify(op, (_, v) => (typeof v === 'bigint' ? `${v}` : v));
      assert.ok(agrees(key, found[key], op[key]), `${test.name}, op ${index} ${asked}: ${key} is ${found[key]}`);
    }
  });
}

function runErrors(test) {
  const status = new native.Limiter().begin([specOf(test.limit)], [meterOf(test.limit.meter)], 10, 0, undefined, 0);
  assert.equal(field(native.strerror(status)[2]), test.error);
}

const unsaid = (value) => (value === 'unsaid' ? 2n ** 64n - 1n : BigInt(value));

function runHttp(test) {
  const { expected } = test;
  const body = Buffer.from(' '.repeat(test.pad ?? 0) + test.body);
  const answer = rlimit.parse(test.status, test.headers, body, { provider: test.profile, wall: BigInt(test.wall_ns) });
  const { feedback } = answer;
  const found = {
    verdict: answer.verdict,
    reason: answer.reason || 'none',
    error_class: answer.errorClass,
    outcome: feedback.outcome,
    capped: answer.capped,
    named: [...feedback.named].sort(),
  };
  const words = { wait_ns: answer._waitNs, retry_after_ns: feedback._words[1], requested: feedback._words[2] };
  for (const [key, value] of Object.entries(expected)) {
    if (key in words) assert.equal(words[key], unsaid(value), `${test.name}: ${key}`);
    else {
      const wanted = key === 'named' ? value.map((name) => KEYS[METERS.indexOf(name)] ?? name).sort() : value;
      assert.deepEqual(found[key], wanted, `${test.name}: ${key}`);
    }
  }
  if (test.readings === undefined) return;
  const keys = ['limit', 'remaining', 'rounding', 'reset_ns', 'period_ns', 'period_least_ns', 'period_most_ns'];
  assert.deepEqual(
    feedback.readings.map((reading) => [reading.meter, ...reading._words.slice(1)]),
    test.readings.map((reading) => [KEYS[meterOf(reading.meter)], ...keys.map((key) => unsaid(reading[key]))]),
    test.name,
  );
}

function runCase(test) {
  if (test.kind === 'errors') runErrors(test);
  else if (test.kind === 'http') runHttp(test);
  else runOps(test);
}

/** A case of kind bucket_bound made and logged: tests/vectors/check.py judges it. */
function logged(test) {
  const bucket = new rlimit.Bucket(specOf(test.limit), test.start ?? 0);
  const log = test.calls.map(([now, n]) => {
    const wait = bucket.take(n, now);
    return [now, n, wait === rlimit.NEVER ? 'never' : wait];
  });
  return { name: test.name, limit: test.limit, start: test.start ?? 0, tolerance_ns: test.tolerance_ns ?? 1, log };
}

module.exports = { KEYS, METERS, logged, runCase, specOf };
