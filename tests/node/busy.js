'use strict';

// A process or worker that is full of what may be under way when it ends: for faults_shutdown.test.js, which runs code
// with these names in processes of its own.

const { once } = require('node:events');
const http = require('node:http');
const { Worker } = require('node:worker_threads');
const r = require('rlimit');

const kept = [];
const ignore = () => 0;
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** Limiters of every kind, each with a permit out and waiters; the first. timers: whether some wait for a time. */
function busy(timers = true) {
  const capped = { concurrency: 1 };
  const rated = timers ? { requests: r.perHour(1) } : capped;
  const first = kept.length;
  for (const options of [capped, rated, { ...rated, clock: () => performance.now() }, { ...rated, clock: 'coarse' },
    { ...rated, clock: new r.ManualClock() }, { ...capped, inputTokens: r.sliding(5, 5) }]) {
    const limiter = new r.Limiter(options);
    const { signal } = new AbortController();
    kept.push(limiter, limiter.tryAcquire());
    for (let i = 0; i < 40; i++) limiter.acquire({}, { signal, timeout: timers && i % 2 ? 1e6 : Infinity }).catch(ignore);
  }
  kept.push(new r.Bucket(r.perSecond(1)), new r.Window(r.sliding(5, 5)), new r.Queue(5, 0), new r.RetryBudget(),
    new r.Backoff().start(), new r.Route(), r.parse(429, { 'retry-after': '5' }).feedback);
  return kept[first];
}

/** A request through a limiter that the server has and does not answer, and another that waits for it; the limiter. */
async function fetching() {
  const server = http.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const limiter = new r.Limiter({ concurrency: 1 });
  const url = `http://127.0.0.1:${server.address().port}/`;
  const asked = once(server, 'request');
  kept.push(server, limiter);
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'hello' }] });
  for (let i = 0; i < 2; i++) limiter.fetch(url, { method: 'POST', body }).catch(ignore);
  kept.push(await asked);
  return limiter;
}

/** A response that has begun, whose body nobody has read, and a map and a retry that wait. */
async function streaming() {
  const server = http.createServer((request, response) => response.writeHead(200).write('x'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const limiter = new r.Limiter({ concurrency: 1 });
  kept.push(server, await limiter.fetch(`http://127.0.0.1:${server.address().port}/`));
  r.map([1, 2, 3], ignore, { limiter }).next().catch(ignore);
  r.retry(ignore, { limiter }).catch(ignore);
  return limiter;
}

/** A worker that runs code with these names, once it says something. */
async function worker(code, options) {
  const script = `const { parentPort, threadId } = require('worker_threads');
    const { busy, fetching, ignore, kept, r, streaming, tick, worker } = require(${JSON.stringify(__filename)});
    const ready = () => parentPort.postMessage('ready');
    (async () => {${code}})();`;
  const one = new Worker(script, { eval: true, ...options });
  const ended = once(one, 'exit').then(([status]) => status);
  ended.catch(ignore); // of an error that its own listener tells
  one.ended = () => ended;
  await once(one, 'message');
  return one;
}

module.exports = { busy, fetching, ignore, kept, once, r, streaming, tick, worker };
