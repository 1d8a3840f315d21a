'use strict';

// undiciInterceptor: with the older kind of handler (undici 6) and the newer (7 and 8), against the referee and against
// answers in every dress.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { AcquireTimeoutError, NeverAdmittedError, undiciInterceptor } = require('rlimit');
const { ACTUAL, BODY, ESTIMATE, agreed, answers, counting, limiterOf, nobody, nothingHeld, optional, referee, settled,
  until } = require('./referee.js');

const TIGHT = { rpm: 1200, tpm: 60000, period: 2, concurrency: 4, latencyMs: '5:20' };
const READ = ['plain', 'gzip', 'deflate', 'raw-deflate', 'br', 'stream', 'stream-crlf', 'stream-gzip', 'stream-br',
  'stream-long'];

function post(dispatcher, body, more) {
  return { dispatcher, method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer k' },
    body: JSON.stringify(body), ...more };
}

function question(n, more) {
  return { ...BODY, max_tokens: 16, messages: [{ role: 'user', content: `question ${n}` }], ...more };
}

for (const name of ['undici-6', 'undici', 'undici-8']) {
  const undici = optional(name);
  test(name, { skip: undici === null && 'is not installed, or does not run here' }, async (t) => {
    const agents = [];
    const limited = (limiter, options, ...more) => {
      const agent = new undici.Agent();
      agents.push(agent);
      return agent.compose(undiciInterceptor(limiter, options), ...more);
    };
    for (const [title, check] of Object.entries(CHECKS)) await t.test(title, (inner) => check(undici, limited, inner));
    await Promise.all(agents.map((agent) => agent.destroy()));
  });
}

const CHECKS = {
  async 'usage is read, and the body reaches the user as it was'(undici, limited) {
    const { url } = await answers();
    for (const path of READ) {
      const limiter = counting();
      const dispatcher = limited(limiter, { provider: 'litellm' });
      const { body, statusCode } = await undici.request(`${url}/${path}`, post(dispatcher, BODY));
      assert.equal(statusCode, 200);
      const bytes = Buffer.from(await body.arrayBuffer());
      const plain = await undici.request(`${url}/${path}`, post(undefined, BODY));
      assert.deepEqual(bytes, Buffer.from(await plain.body.arrayBuffer()));
      assert.deepEqual(settled(limiter), ACTUAL, path);
      nothingHeld(limiter);
    }
  },

  async 'answers that tell no usage; bodies that can be read once'(undici, limited) {
    const server = await answers();
    const limiter = counting();
    const dispatcher = limited(limiter, { provider: 'litellm' });
    for (const path of ['text', 'broken', 'strange', 'empty']) {
      await (await undici.request(`${server.url}/${path}`, post(dispatcher, BODY))).body.text();
    }
    assert.deepEqual(settled(limiter), { requests: 4, inputTokens: 40, outputTokens: 200 });
    server.seen.length = 0;
    async function* pieces() { yield '{"messages": [], '; yield '"max_tokens": 5}'; }
    const form = new undici.FormData();
    form.set('file', new Blob(['x'.repeat(5000)]), 'file');
    for (const body of [pieces(), form, null]) {
      const headers = body === form ? {} : { 'content-type': 'application/json' };
      await (await undici.request(`${server.url}/text`, post(dispatcher, null, { body, headers }))).body.text();
    }
    const sizes = server.seen.map(([, , size]) => size);
    assert.deepEqual([sizes[0], sizes[1] > 5000, sizes[2]], [33, true, 0]);
    assert.deepEqual(settled(limiter), { requests: 7, inputTokens: 40, outputTokens: 200 });
    nothingHeld(limiter);
  },

  async 'against the referee, through request, stream and fetch'(undici, limited) {
    const relay = await referee(TIGHT);
    const limiter = limiterOf(relay);
    const url = `${relay.url}/v1/chat/completions`;
    // fetch's bodies cannot be looked at here
    const estimate = () => ({ requests: 1, inputTokens: 3, outputTokens: 16 });
    const dispatcher = limited(limiter, { cost: estimate });
    const ask = async (n) => {
      const init = post(dispatcher, question(n % 10));
      if (n % 3 === 0) return (await (await undici.fetch(url, init)).json()).choices;
      if (n % 3 === 1) return (await (await undici.request(url, init)).body.json()).choices;
      const chunks = [];
      const { Writable } = require('node:stream');
      await undici.stream(url, init, () => new Writable({ write(chunk, _, done) { chunks.push(chunk); done(); } }));
      return JSON.parse(Buffer.concat(chunks)).choices;
    };
    const replies = await Promise.all(Array.from({ length: 70 }, (_, n) => ask(n)));
    assert.ok(replies.every(Boolean));
    const total = await agreed(relay, limiter);
    assert.equal(total.completed, 70);
    assert.ok(total.max_in_flight <= 4);
  },

  async 'the estimate of a request'(undici, limited) {
    const relay = await referee({ ...TIGHT, charge: 'actual' });
    const limiter = limiterOf(relay);
    const dispatcher = limited(limiter, { provider: 'litellm' });
    await Promise.all(Array.from({ length: 50 }, async (_, n) => {
      const body = question(n, { stream: n % 2 === 0, ...n % 2 === 0 && { stream_options: { include_usage: true } } });
      await (await undici.request(`${relay.url}/v1/chat/completions`, post(dispatcher, body))).body.text();
    }));
    assert.equal((await agreed(relay, limiter)).completed, 50);
  },

  async "undici's own retries, outside: each attempt waits, and pays"(undici, limited) {
    const relay = await referee({ concurrency: 1 });
    for (const fault of ['503', '429', 'drop']) {
      await relay.reset();
      const limiter = limiterOf(relay);
      await relay.fault(fault, { count: 1, ...fault === '429' && { value: 0.05 } });
      const errorCodes = ['UND_ERR_SOCKET', 'ECONNRESET'];
      const retry = undici.interceptors.retry({ methods: ['POST'], minTimeout: 1, errorCodes });
      const dispatcher = limited(limiter, {}, retry);
      const init = post(dispatcher, question(1));
      const { body, statusCode } = await undici.request(`${relay.url}/v1/chat/completions`, init);
      assert.equal(statusCode, 200, fault);
      await body.text();
      assert.equal((await relay.quiet()).received, 2, fault);
      assert.equal(settled(limiter).requests, 2, fault);
      nothingHeld(limiter);
    }
  },

  async "undici's own redirects: outside each hop pays, inside the request"(undici, limited) {
    const { url } = await answers();
    const redirect = undici.interceptors.redirect({ maxRedirections: 2 });
    const outside = counting();
    const each = limited(outside, { provider: 'litellm' }, redirect);
    const hops = await undici.request(`${url}/redirect`, post(each, BODY));
    assert.ok((await hops.body.json()).usage);
    assert.deepEqual(settled(outside), { ...ACTUAL, requests: 2 });
    const inside = counting();
    const agent = new undici.Agent();
    const dispatcher = agent.compose(redirect, undiciInterceptor(inside, { provider: 'litellm' }));
    const one = await undici.request(`${url}/redirect`, post(dispatcher, BODY));
    assert.equal(one.context.history.length, hops.context.history.length);
    assert.ok((await one.body.json()).usage);
    assert.deepEqual(settled(inside), ACTUAL);
    await agent.destroy();
    nothingHeld(outside);
    nothingHeld(inside);
  },

  async 'given up: its place is free at once'(undici, limited) {
    const relay = await referee({ concurrency: 1, latencyMs: '2000:2000' });
    const limiter = limiterOf(relay);
    const dispatcher = limited(limiter);
    const url = `${relay.url}/v1/chat/completions`;
    const ways = {
      async 'body.destroy()'(body) { body.on('error', () => {}).destroy(); },
      async 'break'(body) { for await (const chunk of body) if (chunk) break; },
      async 'signal'(body, controller) {
        body.on('error', () => {});
        controller.abort();
      },
    };
    let count = 0;
    for (const [way, leave] of Object.entries(ways)) {
      const controller = new AbortController();
      const init = post(dispatcher, question(1, { stream: true }), { signal: controller.signal });
      const { body } = await undici.request(url, init);
      assert.equal(limiter.status().active, 1, way);
      await leave(body, controller);
      await until(() => limiter.status().active === 0);
      assert.equal((await relay.quiet()).client_gone, ++count, way);
    }
    const response = await undici.fetch(url, post(dispatcher, question(1, { stream: true })));
    await response.body.cancel();
    await until(() => limiter.status().active === 0);
    assert.equal((await relay.quiet()).client_gone, ++count);
    assert.equal(settled(limiter).requests, count);
    assert.equal(limiter.status().failed, 0);
    nothingHeld(limiter);
  },

  async 'aborted while queued'(undici, limited) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const dispatcher = limited(limiter);
    const url = `${relay.url}/v1/chat/completions`;
    const permit = await limiter.acquire();
    for (const send of [undici.request, undici.fetch]) {
      const controller = new AbortController();
      const asked = send(url, post(dispatcher, question(1), { signal: controller.signal }));
      const refused = assert.rejects(asked, { name: 'AbortError' });
      await until(() => limiter.status().queued === 1);
      controller.abort();
      await refused;
      await until(() => limiter.status().queued === 0);
      const late = send(url, post(dispatcher, question(1), { signal: AbortSignal.abort() }));
      await assert.rejects(late, { name: 'AbortError' });
    }
    permit.settle();
    assert.equal((await relay.total()).received, 0);
    assert.equal(settled(limiter).requests, 1, 'that of the permit');
    nothingHeld(limiter);
    await (await undici.request(url, post(dispatcher, question(2)))).body.text();
    assert.equal((await relay.total()).received, 1);
  },

  async 'aborted while undici connects, or before the answer'(undici, limited) {
    const relay = await referee({ latencyMs: '60000:60000' });
    const limiter = limiterOf(relay);
    const dispatcher = limited(limiter);
    const controller = new AbortController();
    const url = `${relay.url}/v1/chat/completions`;
    const asked = undici.request(url, post(dispatcher, question(1), { signal: controller.signal }));
    const refused = assert.rejects(asked, { name: 'AbortError' });
    await relay.busy();
    controller.abort();
    await refused;
    assert.deepEqual([limiter.status().succeeded, limiter.status().failed, settled(limiter).requests], [0, 1, 1]);
    const early = new AbortController();
    const connecting = new undici.Agent({ connect: () => {} }).compose(undiciInterceptor(limiter)); // for ever
    const waiting = undici.request(url, post(connecting, question(1), { signal: early.signal }));
    const left = assert.rejects(waiting, { name: 'AbortError' });
    await until(() => limiter.status().active === 1);
    await new Promise((resolve) => setImmediate(resolve));
    early.abort();
    await left;
    assert.equal(settled(limiter).requests, 1, 'what was never sent is given back');
    nothingHeld(limiter);
    await relay.quiet();
  },

  async 'a time-out of the queue, larger than a limit, nobody listens'(undici, limited) {
    const relay = await referee({ tpm: 6000, period: 1 }); // 100
    const limiter = limiterOf(relay, { concurrency: 1 });
    const url = `${relay.url}/v1/chat/completions`;
    const dispatcher = limited(limiter, { queueTimeout: 5 });
    await assert.rejects(undici.request(url, post(dispatcher, question(1, { max_tokens: 200 }))), NeverAdmittedError);
    const permit = await limiter.acquire();
    await assert.rejects(undici.request(url, post(dispatcher, question(1))), AcquireTimeoutError);
    const fetched = undici.fetch(url, post(dispatcher, question(1)));
    await assert.rejects(fetched, (error) => error.cause instanceof AcquireTimeoutError);
    permit.cancel();
    await assert.rejects(undici.request(await nobody(), post(dispatcher, question(1))), { code: 'ECONNREFUSED' });
    assert.deepEqual(settled(limiter), { requests: 0, inputTokens: 0, outputTokens: 0 });
    assert.equal(limiter.status().failed, 1);
    assert.equal((await relay.total()).received, 0);
    nothingHeld(limiter);
  },

  async 'a cut answer, and an error inside a stream'(undici, limited) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    await relay.fault('drop_mid', { count: 1 });
    const { body } = await undici.request(`${relay.url}/v1/chat/completions`, post(limited(limiter), question(1)));
    await assert.rejects(body.text());
    assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 3, outputTokens: 16 });
    assert.equal(limiter.status().failed, 1);
    nothingHeld(limiter);
    const { url } = await answers();
    const other = counting();
    const init = post(limited(other, { provider: 'anthropic' }), BODY);
    await (await undici.request(`${url}/stream-error`, init)).body.text();
    assert.equal(other.status().failed, 1);
    nothingHeld(other);
  },

  async 'a cost function'(undici, limited) {
    const { url } = await answers();
    const limiter = counting();
    const cost = ({ body }) => body?.model === 'm' ? { inputTokens: 7 } : null;
    const dispatcher = limited(limiter, { cost });
    await (await undici.request(`${url}/text`, post(dispatcher, BODY))).body.text();
    await (await undici.request(`${url}/text`, { dispatcher })).body.text();
    assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 7, outputTokens: 0 });
    const wrong = limited(limiter, { cost: () => 5 });
    await assert.rejects(undici.request(url, post(wrong, BODY)), /^TypeError: cost: the function returned 5/);
    nothingHeld(limiter);
  },

  async 'the dispatcher of everything'(undici, limited) {
    const { url } = await answers();
    const limiter = counting();
    const before = undici.getGlobalDispatcher();
    undici.setGlobalDispatcher(limited(limiter, { provider: 'litellm', cost: () => ESTIMATE }));
    try {
      await (await undici.fetch(`${url}/stream-gzip`, { method: 'POST', body: 'x' })).text();
      assert.deepEqual(settled(limiter), ACTUAL);
    } finally {
      undici.setGlobalDispatcher(before);
    }
    nothingHeld(limiter);
  },
};

test("node's own fetch", async () => {
  const undici = optional('undici') ?? require('undici-6');
  const { url } = await answers();
  const limiter = counting();
  const agent = new undici.Agent();
  const dispatcher = agent.compose(undiciInterceptor(limiter, { provider: 'litellm', cost: () => ESTIMATE }));
  await (await fetch(`${url}/plain`, { method: 'POST', body: 'x', dispatcher })).text();
  assert.deepEqual(settled(limiter), ACTUAL);
  nothingHeld(limiter);
  await agent.close();
});
