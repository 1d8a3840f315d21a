'use strict';

// Worker threads: each has limiters of its own; one that ends, by itself or by terminate(), leaves nothing and does not
// crash.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');

function start(code) {
  const script = `const { parentPort, workerData } = require('worker_threads');
    const r = require(${JSON.stringify(require.resolve('rlimit'))});
    ${code}`;
  const worker = new Worker(script, { eval: true });
  worker.ended = once(worker, 'exit');
  return worker;
}

test('many at once, each with its own', async () => {
  const workers = Array.from({ length: 6 }, () =>
    start(`
    const limiter = new r.Limiter({ requests: r.perMinute(100), concurrency: 100 });
    let admitted = 0;
    for (let i = 0; i < 150; i++) if (limiter.tryAcquire() !== null) admitted++;
    try { new r.Limiter({ requests: r.perMinute(0) }); } catch (error) {
      parentPort.postMessage([admitted, error instanceof r.LimitError, error.code]);
    }`),
  );
  const answers = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]));
  assert.deepEqual(answers, Array(6).fill([100, true, 'RLM_E_AMOUNT']));
  await Promise.all(workers.map((worker) => worker.ended));
});

test('terminated with waiters queued, timers set and permits out', async () => {
  for (let round = 0; round < 4; round++) {
    const workers = Array.from({ length: 4 }, () =>
      start(`
      const kept = globalThis.kept = [];
      const requests = r.perHour(1);
      for (const options of [{ requests }, { concurrency: 1 }, { requests, clock: () => performance.now() },
          { requests, clock: new r.ManualClock() }, { provider: 'openai' }]) {
        const limiter = new r.Limiter(options);
        const controller = new AbortController();
        kept.push(limiter, limiter.tryAcquire(), controller);
        const { signal } = controller;
        for (let i = 0; i < 500; i++) {
          limiter.acquire({}, { signal, timeout: i % 2 ? 60000 : Infinity }).catch(() => 0);
        }
      }
      kept.push(new r.Bucket(r.perSecond(1)), new r.Window(r.sliding(5, 5)), new r.Queue(5, 0));
      kept.push(new r.BackoffPlan().start(5));
      parentPort.postMessage('waiting');
      ${round === 0 ? 'setInterval(() => 0, 1000);' : 'for (;;) kept[0].tryAcquire();'}`),
    );
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    assert.deepEqual(await Promise.all(workers.map((worker) => worker.terminate())), [1, 1, 1, 1]);
  }
});

test('a worker whose waiters are not waited for ends when told to', async () => {
  const worker = start(`
    const limiter = new r.Limiter({ requests: r.perHour(1), unref: true });
    limiter.tryAcquire();
    limiter.acquire().catch(() => 0);`);
  assert.deepEqual(await worker.ended, [0]); // the timer of an hour does not hold it
});

test('threads come and go, and memory stays', async () => {
  const one = async () => {
    const worker = start(`
      globalThis.kept = Array.from({ length: 60 }, () => {
        const limiter = new r.Limiter({ requests: r.perHour(1), inputTokens: r.sliding(100, 1000) });
        limiter.tryAcquire();
        limiter.acquire().catch(() => 0);
        return limiter;
      });
      parentPort.postMessage(0);`);
    await once(worker, 'message');
    await worker.terminate();
  };
  for (let i = 0; i < 6; i++) await one();
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 12; i++) await one();
  const grown = process.memoryUsage().rss - before; // 12 x 60 limiters with a queue each would be 370 MB
  assert.ok(grown < 60e6, `${grown}`);
});
