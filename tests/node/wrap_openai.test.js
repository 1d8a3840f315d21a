'use strict';

// The openai package, wrapped, against the referee.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { AcquireTimeoutError, Limiter, NeverAdmittedError, QueueFullError, limitFetch, wrap } = require('rlimit');
const { BODY, ESTIMATE, agreed, answers, collected, counting, limiterOf, nobody, nothingHeld, optional, referee,
  settled, until } = require('./referee.js');

globalThis.File ??= require('node:buffer').File; // node 18

// 40 requests, 2000 tokens in 2 s
const TIGHT = { rpm: 1200, tpm: 60000, period: 2, concurrency: 4, latencyMs: '5:20' };

function question(n, more) {
  return { model: 'm', messages: [{ role: 'user', content: `question ${n}` }], max_tokens: 16, ...more };
}

const STREAM = { stream: true, stream_options: { include_usage: true } };

function upTo(count, ask) {
  return Promise.all(Array.from({ length: count }, (_, n) => ask(n)));
}

// The last version that says it runs on node 20, and the last.
for (const name of ['openai', 'openai-7']) {
  const openai = optional(name);
  const version = openai === null ? name : require(`${name}/version`).VERSION;
  test(`openai ${version}`, { skip: openai === null && 'is not installed' }, async (t) => {
    for (const [title, check] of Object.entries(CHECKS)) await t.test(title, (inner) => check(openai, inner));
  });
}

function client(openai, relay, options) {
  return new openai.OpenAI({ baseURL: `${relay.url}/v1`, apiKey: 'k', ...options });
}

const CHECKS = {
  async 'plain, many at once'(openai) {
    const relay = await referee(TIGHT);
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter);
    const replies = await upTo(70, (n) => wrapped.chat.completions.create(question(n)));
    assert.equal(new Set(replies.map((reply) => reply.choices[0].message.content)).size, 70);
    const total = await agreed(relay, limiter);
    assert.deepEqual([total.received, total.completed], [70, 70]);
    assert.ok(total.max_in_flight <= 4);
  },

  async 'streams, many at once'(openai) {
    for (const [charge, provider] of [['estimate', 'openai'], ['actual', 'litellm']]) {
      const relay = await referee({ ...TIGHT, charge });
      const limiter = limiterOf(relay);
      const wrapped = wrap(client(openai, relay), limiter, { provider });
      const used = await upTo(60, async (n) => {
        let usage;
        for await (const chunk of await wrapped.chat.completions.create(question(n, STREAM))) usage = chunk.usage;
        return usage.completion_tokens;
      });
      const total = await agreed(relay, limiter);
      assert.deepEqual([total.received, total.completed], [60, 60]);
      assert.ok(total.max_in_flight <= 4);
      if (charge === 'actual') assert.equal(settled(limiter).outputTokens, used.reduce((a, b) => a + b));
    }
  },

  async 'a stream without usage keeps the estimate'(openai) {
    const relay = await referee();
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter, { provider: 'litellm' });
    for await (const chunk of await wrapped.chat.completions.create(question(1, { stream: true }))) assert.ok(chunk);
    assert.equal(settled(limiter).outputTokens, 16);
    const short = question(1, { stream: true, max_tokens: 1 });
    for await (const chunk of await wrapped.chat.completions.create(short)) assert.ok(chunk);
    const more = settled(limiter).outputTokens - 16; // the deltas are more
    assert.ok(more >= 3 && more <= 8, `${more}`);
    nothingHeld(limiter);
  },

  async 'told only the provider'(openai) {
    const relay = await referee({ rpm: 2400, tpm: 120000, period: 2, concurrency: 64, latencyMs: '5:20' });
    const limiter = new Limiter({ provider: 'openai' });
    const wrapped = wrap(client(openai, relay), limiter);
    await upTo(100, (n) => wrapped.chat.completions.create(question(n)));
    const total = await relay.quiet();
    assert.deepEqual(Object.values(total.refused).filter(Boolean), []);
    assert.deepEqual([total.received, total.completed], [100, 100]);
    nothingHeld(limiter);
    assert.equal(limiter.status().limits[0].inForce.amount, 80);
  },

  async 'faults are retried by the SDK; each attempt waits and pays'(openai) {
    const relay = await referee({ concurrency: 4 });
    for (const fault of ['500', '503', '529', '429', '408', 'drop', '500_after']) {
      await relay.reset();
      const limiter = limiterOf(relay);
      await relay.fault(fault, { count: 1, ...fault === '429' && { value: 0.05 } });
      assert.ok((await wrap(client(openai, relay), limiter).chat.completions.create(question(1))).choices, fault);
      const total = await relay.quiet();
      assert.equal(total.received, 2, fault);
      assert.equal(settled(limiter).requests, 2, fault);
      assert.equal(limiter.status().retried, 1, fault);
      nothingHeld(limiter);
    }
  },

  async 'a refusal pauses everybody; the request counts, its tokens do not'(openai) {
    const relay = await referee();
    for (const [fault, most] of [['429=30', 30_000], ['429; no-retry-after', 60_000]]) {
      await relay.reset();
      const limiter = limiterOf(relay);
      const wrapped = wrap(client(openai, relay), limiter, { retries: 0 });
      assert.equal(wrapped.maxRetries, 0);
      const asked = wrapped.chat.completions.create(question(1), { headers: { 'x-relay-fault': fault } });
      await assert.rejects(asked, openai.RateLimitError);
      assert.equal((await relay.total()).received, 1);
      assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 0, outputTokens: 0 });
      const { available, wait } = limiter.check();
      assert.ok(!available && wait > 0 && wait <= most, `${wait}`);
      nothingHeld(limiter);
    }
  },

  async 'a cut answer keeps its estimate'(openai) {
    const relay = await referee({ concurrency: 1 });
    for (const stream of [false, true]) {
      await relay.reset();
      const limiter = limiterOf(relay);
      const wrapped = wrap(client(openai, relay), limiter, { retries: 0 });
      await relay.fault('drop_mid', { count: 1 });
      await assert.rejects(async () => {
        const answer = await wrapped.chat.completions.create(question(1, { stream }));
        for await (const chunk of answer) assert.ok(chunk);
      }, (error) => !String(error.code).startsWith('RLIMIT'));
      assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 3, outputTokens: 16 });
      nothingHeld(limiter);
      await wrapped.chat.completions.create(question(2));
      await agreed(relay, limiter);
    }
  },

  async 'slow answers: the time-out of the SDK, and its retry, pay'(openai) {
    const relay = await referee({ concurrency: 4 });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay, { timeout: 1000 }), limiter, { retries: 1 });
    await relay.fault('delay', { value: 30, count: 1 });
    assert.ok((await wrapped.chat.completions.create(question(1))).choices);
    assert.equal(settled(limiter).requests, 2);
    assert.deepEqual([limiter.status().failed, limiter.status().succeeded], [1, 1]);
    assert.equal((await relay.total()).received, 2);
    nothingHeld(limiter);
  },

  async 'nobody listens'(openai) {
    const limiter = counting();
    const wrapped = wrap(new openai.OpenAI({ baseURL: await nobody(), apiKey: 'k' }), limiter, { retries: 1 });
    await assert.rejects(wrapped.chat.completions.create(question(1)), openai.APIConnectionError);
    assert.equal(settled(limiter).requests, 0, 'what was not sent is given back');
    assert.deepEqual([limiter.status().failed, limiter.status().succeeded], [2, 0]);
    nothingHeld(limiter);
  },

  async 'errors of the API are as ever'(openai) {
    const relay = await referee({ keys: 'good' });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter);
    for (const stream of [false, true]) {
      await assert.rejects(wrapped.chat.completions.create(question(1, { stream })), (error) => {
        assert.ok(error instanceof openai.AuthenticationError);
        assert.match(error.message, /Incorrect API key/);
        return true;
      });
    }
    await assert.rejects(wrapped.models.list(), openai.NotFoundError);
    nothingHeld(limiter);
  },

  // Streams that are not read to their end.

  async 'a stream left early frees its place at once'(openai) {
    const relay = await referee({ concurrency: 1, latencyMs: '2000:2000' });
    const ways = {
      async 'break'(stream) { for await (const chunk of stream) if (chunk) break; },
      async 'an error'(stream) {
        await assert.rejects(async () => { for await (const chunk of stream) throw new Error(chunk.id); });
      },
      async 'stream.controller'(stream) {
        for await (const chunk of stream) if (chunk) stream.controller.abort();
      },
      async 'stream.controller, nobody reads'(stream) { stream.controller.abort(); },
      async 'signal'(stream, controller) {
        await assert.rejects(async () => { for await (const chunk of stream) if (chunk) controller.abort(); })
          .catch(() => {}); // some versions end the loop instead
      },
      async 'toReadableStream().cancel()'(stream) {
        const reader = stream.toReadableStream().getReader();
        await reader.read();
        await reader.cancel();
      },
    };
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter);
    let count = 0;
    for (const [way, leave] of Object.entries(ways)) {
      const controller = new AbortController();
      const stream = await wrapped.chat.completions.create(question(1, { stream: true }),
        { signal: controller.signal });
      assert.equal(limiter.status().active, 1, way);
      await leave(stream, controller);
      assert.equal(limiter.status().active, 0, way);
      assert.equal((await relay.quiet()).client_gone, ++count, way);
    }
    assert.deepEqual(settled(limiter), { requests: count, inputTokens: 3 * count, outputTokens: 16 * count });
    nothingHeld(limiter);
  },

  async 'a stream that is dropped frees its place when it is collected'(openai) {
    const relay = await referee({ concurrency: 1, latencyMs: '3000:3000' });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter);
    for (let n = 0; n < 2; n++) {
      await (async () => {
        const stream = await wrapped.chat.completions.create(question(n, { stream: true }));
        await stream[Symbol.asyncIterator]().next();
      })();
      assert.equal(limiter.status().active, 1);
      await collected(() => limiter.status().active === 0);
      assert.equal((await relay.quiet()).client_gone, n + 1);
    }
    nothingHeld(limiter);
  },

  async 'aborted before the answer: no success'(openai) {
    const relay = await referee({ latencyMs: '60000:60000' });
    const limiter = limiterOf(relay);
    const controller = new AbortController();
    const wrapped = wrap(client(openai, relay), limiter);
    const asked = wrapped.chat.completions.create(question(1), { signal: controller.signal });
    const refused = assert.rejects(asked, openai.APIUserAbortError);
    await relay.busy();
    controller.abort();
    await refused;
    assert.deepEqual([limiter.status().succeeded, limiter.status().failed, settled(limiter).requests], [0, 1, 1]);
    nothingHeld(limiter);
  },

  // Waiting.

  async 'aborted while queued'(openai) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter);
    const permit = await limiter.acquire();
    const controller = new AbortController();
    const asked = wrapped.chat.completions.create(question(1), { signal: controller.signal });
    const refused = assert.rejects(asked, openai.APIUserAbortError);
    await until(() => limiter.status().queued === 1);
    controller.abort();
    await refused;
    assert.equal(limiter.status().queued, 0);
    const late = wrapped.chat.completions.create(question(1), { signal: AbortSignal.abort() });
    await assert.rejects(late, openai.APIUserAbortError);
    permit.settle();
    assert.equal((await relay.total()).received, 0);
    await wrapped.chat.completions.create(question(2));
    assert.equal((await relay.total()).received, 1);
    assert.equal(settled(limiter).requests, 2, 'that of the permit, and one');
    nothingHeld(limiter);
  },

  async 'a time-out of the queue is told as it is, and not tried again'(openai) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter, { queueTimeout: 5 });
    const permit = await limiter.acquire();
    for (const stream of [false, true]) {
      await assert.rejects(wrapped.chat.completions.create(question(1, { stream })), AcquireTimeoutError);
    }
    assert.equal(limiter.status().queued, 0);
    permit.settle();
    assert.equal((await relay.total()).received, 0);
    assert.ok((await wrapped.chat.completions.create(question(1))).choices);
    nothingHeld(limiter);
  },

  async 'the wait is in no time-out of the SDK'(openai, t) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay, { timeout: 5000, maxRetries: 0 }), limiter);
    const permit = await limiter.acquire();
    const started = [];
    const real = globalThis.setTimeout;
    const timers = t.mock.method(globalThis, 'setTimeout', (callback, delay, ...given) => {
      if (delay === 5000) started.push(limiter.status().queued);
      return real(callback, delay, ...given);
    });
    const asked = wrapped.chat.completions.create(question(1)).asResponse();
    await until(() => limiter.status().queued === 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(started, [], 'none runs while it waits');
    permit.settle();
    assert.equal((await asked).status, 200);
    timers.mock.restore();
    assert.ok(started.length >= 1 && started.every((queued) => queued === 0));
    await (await asked).text();
    assert.equal((await relay.total()).received, 1);
    nothingHeld(limiter);
  },

  async 'larger than a limit; the queue is full'(openai) {
    const relay = await referee({ tpm: 6000, period: 1 }); // 100
    const limiter = limiterOf(relay, { concurrency: 1, queue: 1 });
    const wrapped = wrap(client(openai, relay), limiter);
    await assert.rejects(wrapped.chat.completions.create(question(1, { max_tokens: 200 })), NeverAdmittedError);
    const permit = await limiter.acquire();
    const asked = wrapped.chat.completions.create(question(1));
    const answered = asked.then((reply) => reply.choices); // an APIPromise reads its answer when it is asked for it
    await until(() => limiter.status().queued === 1);
    await assert.rejects(wrapped.chat.completions.create(question(2)), QueueFullError);
    permit.settle();
    assert.ok(await answered);
    assert.equal((await relay.total()).received, 1);
    nothingHeld(limiter);
  },

  // The line itself.

  async 'copies share the limiter, and a second line changes it'(openai) {
    const relay = await referee();
    const [first, second] = [limiterOf(relay), limiterOf(relay)];
    const original = client(openai, relay);
    const wrapped = wrap(original, first);
    assert.equal(wrapped, original);
    const ask = (one) => one.chat.completions.create(question(1));
    await ask(wrapped.withOptions({ maxRetries: 5 }).withOptions({ timeout: 50_000 }));
    assert.equal(settled(first).requests, 1);
    const other = wrap(wrapped.withOptions({}), second, { priority: 'high' });
    await ask(other);
    await ask(wrapped);
    assert.deepEqual([settled(first).requests, settled(second).requests], [2, 1]);
    wrap(wrapped, second);
    await ask(wrapped);
    assert.deepEqual([settled(first).requests, settled(second).requests], [2, 2]);
    await ask(client(openai, relay));
    assert.deepEqual([settled(first).requests, settled(second).requests], [2, 2]);
    assert.throws(() => wrap(client(openai, relay, { fetch: first.fetch }), second),
      /^TypeError: client: has a limiter/);
    assert.throws(() => wrap(client(openai, relay, { fetch: limitFetch(first) }), second), { code: 'RLIMIT_ARGUMENT' });
  },

  async 'a fetch of the user'(openai) {
    const relay = await referee();
    const limiter = limiterOf(relay);
    const seen = [];
    const inner = (url, init) => {
      seen.push([Object.getOwnPropertySymbols(init).length, init.headers.get('x-stainless-retry-count')]);
      return globalThis.fetch(url, init);
    };
    await relay.fault('500', { count: 1 });
    await wrap(client(openai, relay, { fetch: inner }), limiter).chat.completions.create(question(1));
    assert.deepEqual(seen, [[0, '0'], [0, '1']]);
    assert.equal(settled(limiter).requests, 2);
    nothingHeld(limiter);
  },

  async 'responses as they came'(openai) {
    const relay = await referee({ charge: 'actual' });
    const limiter = limiterOf(relay);
    const wrapped = wrap(client(openai, relay), limiter, { provider: 'litellm' });
    const { data, response, request_id: id } = await wrapped.chat.completions.create(question(1)).withResponse();
    assert.ok(data.choices && id);
    assert.equal(response.url, `${relay.url}/v1/chat/completions`);
    const raw = await wrapped.chat.completions.create(question(2)).asResponse();
    assert.equal(limiter.status().active, 1);
    assert.ok((await raw.json()).choices);
    await agreed(relay, limiter);
  },

  async 'a cost function'(openai) {
    const relay = await referee();
    const limiter = limiterOf(relay);
    const seen = [];
    const cost = ({ method, url, body }) => {
      seen.push([method.toUpperCase(), url.slice(relay.url.length), body.model]);
      return body.max_tokens === 16 ? { inputTokens: 7 } : null;
    };
    const wrapped = wrap(client(openai, relay), limiter, { cost, retries: 0 });
    await wrapped.chat.completions.create(question(1, { max_tokens: 8 }));
    assert.equal(settled(limiter).requests, 0, 'null: it passes without the limiter');
    const failing = wrapped.chat.completions.create(question(1), { headers: { 'x-relay-fault': '500' } });
    await assert.rejects(failing, openai.InternalServerError);
    assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 7, outputTokens: 0 });
    assert.deepEqual(seen, Array(2).fill(['POST', '/v1/chat/completions', 'm']));
    for (const [wrong, message] of [[() => 5, /cost: .*5/], [() => ({ bogus: 1 }), /cost: .*bogus/],
      [() => ({ requests: -1 }), /cost: .*requests/], [() => { throw new Error('mine'); }, /^Error: mine$/]]) {
      wrap(wrapped, limiter, { cost: wrong, retries: 2 });
      await assert.rejects(wrapped.chat.completions.create(question(1)), message);
    }
    assert.equal((await relay.total()).received, 2);
    nothingHeld(limiter);
  },

  async 'other endpoints: what cannot be estimated is one request; uploads are sent once'(openai) {
    const server = await answers();
    const limiter = counting();
    const wrapped = wrap(client(openai, server), limiter, { provider: 'litellm' });
    const file = await openai.toFile(Buffer.from('x'.repeat(5000)), 'batch.jsonl');
    await wrapped.files.create({ file, purpose: 'batch' });
    assert.ok(server.seen[0][2] > 5000);
    await wrapped.models.list();
    assert.deepEqual(settled(limiter), { requests: 2, inputTokens: 0, outputTokens: 0 });
    const input = ['x'.repeat(20), 'x'.repeat(20)];
    await (await wrapped.embeddings.create({ model: 'm', input }).asResponse()).json();
    assert.deepEqual(settled(limiter), { requests: 3, inputTokens: 11, outputTokens: 22 }, 'the usage of the answer');
    await wrapped.responses.create({ model: 'm', input: 'x'.repeat(40), max_output_tokens: 50 }).asResponse()
      .then((response) => response.text());
    assert.deepEqual(settled(limiter), { requests: 4, inputTokens: 22, outputTokens: 44 });
    nothingHeld(limiter);
  },

  async 'Azure'(openai) {
    const server = await answers();
    const limiter = counting();
    const azure = new openai.AzureOpenAI({ endpoint: server.url, apiKey: 'k', apiVersion: '1' });
    const wrapped = wrap(azure, limiter);
    await wrapped.chat.completions.create(BODY);
    assert.equal(server.seen[0][1], 'openai/deployments/m/chat/completions?api-version=1');
    assert.deepEqual(settled(limiter), { ...ESTIMATE, inputTokens: 11 }, 'Azure keeps its estimate');
    nothingHeld(limiter);
  },

  async 'wrong arguments'(openai) {
    const limiter = new Limiter({ provider: 'openai' });
    const plain = new openai.OpenAI({ apiKey: 'k' });
    const { fetch } = plain;
    const cases = [
      [{}, limiter, {}, TypeError, /^client: /], [null, limiter, {}, TypeError, /^client: /],
      [plain, 5, {}, TypeError, /^limiter: /], [plain, limiter, { priority: 'urgent' }, RangeError, /^priority: /],
      [plain, limiter, { retries: -1 }, RangeError, /^retries: .*-1/],
      [plain, limiter, { retries: '1' }, TypeError, /^retries: /],
      [plain, limiter, { queueTimeout: -1 }, RangeError, /^queueTimeout: /],
      [plain, limiter, { retrys: 1 }, TypeError, /^retrys: /],
    ];
    for (const [one, other, options, kind, message] of cases) {
      assert.throws(() => wrap(one, other, options), (error) => error instanceof kind && message.test(error.message) &&
        error.code === 'RLIMIT_ARGUMENT', `${message}`);
    }
    assert.equal(plain.maxRetries, 2);
    assert.equal(plain.fetch, fetch, 'nothing is half done');
  },
};
