'use strict';

// fast-check against the reference models of tests/vectors/oracle.py, which share no code with the implementation.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { after, test } = require('node:test');
const fc = require('fast-check');
const { parseExact, writeExact } = require('./exact.js');
const { runCase } = require('./vectors.js');

const ROOT = path.join(__dirname, '..', '..');
const server = spawn(path.join(ROOT, 'build', 'venv', 'bin', 'python'), [path.join(__dirname, 'oracle_server.py')], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const lines = readline.createInterface({ input: server.stdout })[Symbol.asyncIterator]();
after(() => server.stdin.end());

/** The case with the oracle's answers. */
async function answered(one) {
  server.stdin.write(`${writeExact(one)}\n`);
  const { value, done } = await lines.next();
  if (done) throw new Error('the oracle has ended');
  return parseExact(value);
}

const START = 1e14; // ns: more than a day, for zones east and west
const nat = (max) => fc.integer({ min: 0, max });
const between = (min, max) => fc.integer({ min, max });
const period = fc.oneof(
  between(1, 100),
  between(1, 100).map((n) => n * 1e9),
  between(1e3, 1e9),
);
const meter = fc.constantFrom('requests', 'input_tokens', 'output_tokens', 'tokens', 'microdollars', 'custom');
const bucket = fc
  .record({ kind: fc.constant('bucket'), meter, amount: between(1, 19), period_ns: period, burst: between(1, 40) })
  .filter(({ amount, period_ns }) => amount <= period_ns * 10);
const window = fc
  .record({ kind: fc.constant('window'), meter, amount: between(1, 19), period_ns: period })
  .filter(({ amount, period_ns }) => amount <= period_ns * 10);
const concurrency = fc.record({
  kind: fc.constant('concurrency'),
  meter: fc.constant('requests'),
  amount: between(1, 5),
  period_ns: fc.constant(1),
});
const calendar = fc.record({
  kind: fc.constant('calendar'),
  meter,
  amount: between(1, 19),
  period_ns: between(1, 100).map((n) => n * 1e9),
  wall_offset_ns: nat(1e9),
  utc_offset_s: between(-86400, 86400),
});
const limit = fc.oneof(bucket, window, calendar);
const cost = fc.record({
  requests: nat(4),
  input_tokens: nat(12),
  output_tokens: nat(12),
  microdollars: nat(4),
  custom: nat(4),
});
const gap = fc.oneof(fc.constant(0), nat(200), nat(3e9));
const permit = fc.constantFrom('a', 'b', 'c', 'd');

/** Operations with times that rise by gaps. */
function timed(op) {
  return fc.array(fc.tuple(gap, op), { minLength: 1, maxLength: 40 }).map((list) => {
    let now = START;
    return list.map(([more, one]) => ({ ...one, now: (now += more) }));
  });
}

const op = (name, fields) => fc.record({ op: fc.constant(name), ...fields });

function limiterOps(limits) {
  return timed(
    fc.oneof(
      { weight: 4, arbitrary: op('acquire', { permit, cost }) },
      op('check', { cost }),
      op('settle', { permit, actual: cost }),
      op('cancel', { permit }),
      op('status', { index: nat(limits.length - 1) }),
    ),
  );
}

const limiterCase = fc
  .array(fc.oneof(limit, concurrency), { minLength: 1, maxLength: 4 })
  .chain((limits) =>
    fc.record({
      kind: fc.constant('limiter'),
      limits: fc.constant(limits),
      start: fc.constant(START),
      ops: limiterOps(limits),
    }),
  );

const pieceCase = limit.chain((one) => {
  const common = [
    op('take', { n: nat(20) }),
    op('peek', { n: nat(20) }),
    op('debit', { n: nat(20) }),
    op('status', {}),
  ];
  if (one.kind === 'bucket')
    common.push(op('credit', { n: nat(20) }), op('reserve', { n: nat(20), max_wait: nat(1e9) }));
  return fc.record({
    kind: fc.constant(one.kind),
    limit: fc.constant(one),
    start: fc.constant(START),
    ops: timed(fc.oneof(...common)),
  });
});

const queueCase = fc.record({
  kind: fc.constant('queue'),
  config: fc.record({ capacity: between(1, 6), ageing_ns: nat(2e9) }),
  ops: timed(
    fc.oneof(
      { weight: 3, arbitrary: op('push', { priority: nat(4), deadline: fc.option(nat(1e10).map((n) => START + n)) }) },
      op('head', {}),
      op('expire', {}),
      op('remove', { pick: nat(9) }),
      op('deadline', {}),
      op('count', {}),
    ),
  ).map((ops) => {
    let pushed = 0;
    return ops.flatMap(({ pick, ...one }) => {
      if (one.op === 'push') return [{ ...one, id: `w${pushed++}` }];
      return one.op !== 'remove' ? [one] : pushed === 0 ? [] : [{ ...one, id: `w${pick % pushed}` }];
    });
  }),
});

const backoffCase = fc.record({
  kind: fc.constant('backoff'),
  seed: nat(2 ** 31 - 1),
  config: fc.record({
    base_ns: between(1, 1e9),
    factor_permille: between(1000, 5000),
    cap_ns: between(1e9, 6e9).map(Number),
    floor_ns: nat(1e8),
    jitter: fc.constantFrom('none', 'fraction', 'full', 'equal', 'decorrelated'),
    fraction_permille: nat(1000),
    attempts_max: nat(12),
    base_class_ns: fc.tuple(nat(1e9), nat(1e9), nat(1e9), nat(1e9)),
    least_class_ns: fc.tuple(nat(1e9), nat(1e9), nat(1e9), nat(1e9)),
    retry_after_max_ns: nat(1e9),
  }),
  ops: fc.array(op('next', { class: nat(3), priority: nat(3), retry_after: nat(2e9) }), {
    minLength: 1,
    maxLength: 15,
  }),
});

for (const [name, cases] of Object.entries({
  limiter: limiterCase,
  piece: pieceCase,
  queue: queueCase,
  backoff: backoffCase,
})) {
  test(`${name}: drawn operations answer as the oracle`, async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (one) => {
        runCase({ name: 'drawn', ...(await answered(one)) });
      }),
      { numRuns: 250 },
    );
  });
}
