'use strict';

// The referee as a child of the test, for tests of the integrations: what it counts is the verdict. And a server with
// answers that it does not give.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { existsSync } = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');
const zlib = require('node:zlib');
const assert = require('node:assert/strict');
const { after } = require('node:test');
const { Limiter, calendarMonth, per } = require('rlimit');

const TESTS = path.join(__dirname, '..');
const VENV = path.join(TESTS, '..', 'build', 'venv', 'bin', 'python');
const ROOM = 10 ** 9;

const children = [];
process.once('exit', () => children.forEach((child) => child.kill())); // where a test file dies of an error
const ended = new Set(); // what is to be stopped
after(() => Promise.all([...ended].map((stop) => stop())));

// -- The referee --

class Referee {
  constructor(child, url, options) {
    this.child = child;
    this.url = url;
    this.options = options;
  }

  async call(place, body, method) {
    const init = body === undefined ? { method } : { method: method ?? 'POST', body: JSON.stringify(body) };
    const answer = await fetch(this.url + place, init);
    const read = await answer.json();
    assert.ok(answer.ok, JSON.stringify(read));
    return read;
  }

  async total() {
    return (await this.call('/_stats')).total;
  }

  fault(kind, fields) {
    return this.call('/_faults', { ...fields, kind });
  }

  /** Once something is in flight there. */
  async busy(count = 1) {
    while ((await this.total()).in_flight < count);
  }

  /** The totals, once nothing is in flight there (a client that has gone is noticed a moment later). */
  async quiet() {
    for (;;) {
      const total = await this.total();
      if (total.in_flight > 0) continue;
      assert.equal(total.over_limit, 0);
      return total;
    }
  }

  /** As new, for the next test. */
  async reset() {
    await this.quiet();
    await this.call('/_faults', undefined, 'DELETE');
    await this.call('/_reset', undefined, 'POST');
  }
}

/** Options are those of the command line, in camelCase: rpm, tpm, concurrency, period (s), latencyMs, charge, keys. */
async function start(options) {
  const flags = Object.entries(options).flatMap(([name, value]) =>
    ['--' + name.replace(/[A-Z]/g, (letter) => '-' + letter.toLowerCase()), String(value)]);
  const python = process.env.PYTHON ?? (existsSync(VENV) ? VENV : 'python3');
  const stdio = ['ignore', 'pipe', 'inherit'];
  const child = spawn(python, ['-m', 'relay', '--port', '0', ...flags], { cwd: TESTS, stdio });
  ended.add(async () => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  children.push(child);
  const lines = readline.createInterface({ input: child.stdout });
  const [line] = await Promise.race([once(lines, 'line'), once(child, 'exit').then(([code]) => ['exit ' + code])]);
  const found = /listening on (http:\S+)/.exec(line);
  assert.ok(found, `the referee did not start: ${line}`);
  return new Referee(child, found[1], options);
}

const running = new Map();

/** A referee with these options, which has counted nothing yet. The tests of a file share those that are alike. */
async function referee(options = {}) {
  const key = JSON.stringify(options);
  if (!running.has(key)) running.set(key, start(options));
  const relay = await running.get(key);
  await relay.reset();
  return relay;
}

// -- Limiters --

/** A limiter told the limits of a referee; and two that never bind, whose use is what was settled in all. */
function limiterOf({ options }, more) {
  const { period = 60 } = options;
  const bind = (perMinute) => per(Math.floor(perMinute * period / 60), period * 1000, { guard: 250 });
  const limits = {
    requests: [calendarMonth(ROOM)], inputTokens: calendarMonth(ROOM), outputTokens: calendarMonth(ROOM),
  };
  if (options.rpm !== undefined) limits.requests.unshift(bind(options.rpm));
  if (options.tpm !== undefined) limits.tokens = bind(options.tpm);
  if (options.concurrency !== undefined) limits.concurrency = options.concurrency;
  return new Limiter({ ...limits, ...more });
}

/** A limiter that never binds and counts what is settled. */
function counting(more) {
  return limiterOf({ options: {} }, more);
}

/** What a limiter of limiterOf has settled in all. */
function settled(limiter) {
  const used = {};
  for (const one of limiter.status().limits) {
    if (one.limit.kind === 'calendar') used[one.meter] = one.used;
  }
  return used;
}

function nothingHeld(limiter) {
  const { active, queued } = limiter.status();
  assert.deepEqual({ active, queued }, { active: 0, queued: 0 });
}

/** That the limiter settled what the referee charged, was never refused, and holds nothing. Returns the totals. */
async function agreed(relay, limiter) {
  const total = await relay.quiet();
  assert.equal(Object.values(total.refused).reduce((a, b) => a + b, 0), 0, JSON.stringify(total.refused));
  nothingHeld(limiter);
  const { requests, input_tokens: inputTokens, output_tokens: outputTokens } = total.charged;
  assert.deepEqual(settled(limiter), { requests, inputTokens, outputTokens });
  return total;
}

/** Lets everything else go on until something is true. */
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

/** Collects garbage until something is true. */
async function collected(condition) {
  await until(() => {
    collect();
    return condition();
  });
}

/** A package if it is installed and runs here, else null. */
function optional(name) {
  try {
    return require(name);
  } catch {
    return null;
  }
}

// -- Answers that the referee does not give: compressed, redirected, not JSON --

const USAGE = { prompt_tokens: 11, completion_tokens: 22, total_tokens: 33 };
const BODY = { model: 'm', messages: [{ role: 'user', content: 'x'.repeat(40) }], max_tokens: 50 };
const ESTIMATE = { requests: 1, inputTokens: 10, outputTokens: 50 };
const ACTUAL = { requests: 1, inputTokens: 11, outputTokens: 22 };
const ANSWER = Buffer.from(JSON.stringify({ choices: [], usage: USAGE, text: 'usage '.repeat(50) }));

function event(fields) {
  return 'data: ' + JSON.stringify(fields) + '\n\n';
}

const EVENTS = Buffer.from(
  event({ choices: [{ delta: { content: 'a "usage": {"prompt_tokens": 9} b' } }], usage: null }).repeat(30) +
  event({ choices: [], usage: USAGE }) + 'data: [DONE]\n\n');
const LONG = Buffer.from(event({ type: 'response.completed', response: {
  output: 'x'.repeat(300_000),
  usage: { input_tokens: 11, input_tokens_details: { cached_tokens: 0 }, output_tokens: 22 },
} }));
const SQUEEZE = {
  gzip: zlib.gzipSync, deflate: zlib.deflateSync, 'raw-deflate': zlib.deflateRawSync, br: zlib.brotliCompressSync,
};

/** A server with an answer for each path; `seen` has what came: [method, path, size]. */
class Answers {
  constructor() {
    this.seen = [];
    this.server = http.createServer((request, response) => this.take(request, response));
  }

  async start() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    ended.add(() => {
      this.server.closeAllConnections();
      this.server.close();
    });
    return this;
  }

  async take(request, response) {
    const name = request.url.slice(1);
    let size = 0;
    try {
      for await (const chunk of request) size += chunk.length;
    } catch {
      return;
    }
    this.seen.push([request.method, name, size]);
    if (name.startsWith('stream')) this.stream(response, name);
    else this.plain(response, name);
  }

  plain(response, name) {
    const answer = (body, headers) => response.writeHead(200, headers).end(body);
    const json = { 'content-type': 'application/json' };
    if (name === 'redirect') response.writeHead(307, { location: '/plain' }).end();
    else if (name === 'text') answer('"usage": nothing', { 'content-type': 'text/plain' });
    else if (name === 'broken') answer('{"usage": {', json);
    else if (name === 'strange') {
      answer('[1, {"usage": 5}, {"usage": {"prompt_tokens": -3, "completion_tokens": "many"}}]', json);
    } else if (name === 'empty') response.writeHead(204).end();
    else if (/(files|models)$/.test(name)) answer('{"id": "1", "data": []}', json);
    else if (name in SQUEEZE) {
      answer(SQUEEZE[name](ANSWER), { ...json, 'content-encoding': name.replace('raw-', '') });
    } else answer(ANSWER, json);
  }

  stream(response, name) {
    const encoding = name.slice(7);
    const headers = { 'content-type': 'text/event-stream; charset=utf-8' };
    let data = name === 'stream-long' ? LONG : EVENTS;
    if (name === 'stream-crlf') data = Buffer.from(data.toString().replaceAll('\n', '\r\n'));
    if (name === 'stream-error') {
      const error = { type: 'error', error: { type: 'overloaded_error', message: 'no' } };
      data = Buffer.concat([data, Buffer.from(event(error))]);
    }
    if (encoding in SQUEEZE) {
      data = SQUEEZE[encoding](data);
      headers['content-encoding'] = encoding;
    }
    response.writeHead(200, headers);
    const size = name === 'stream-long' ? 997 : 7;
    for (let at = 0; at < data.length; at += size) response.write(data.subarray(at, at + size));
    response.end();
  }
}

let serving = null;

/** The one server of a file, whose `seen` is empty. */
async function answers() {
  serving ??= new Answers().start();
  const server = await serving;
  server.seen.length = 0;
  return server;
}

/** A URL where nobody listens. */
async function nobody() {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}/v1`;
}

module.exports = {
  ACTUAL, ANSWER, BODY, ESTIMATE, EVENTS, LONG, USAGE, agreed, answers, collected, counting, limiterOf, nobody,
  nothingHeld, optional, referee, settled, until,
};
