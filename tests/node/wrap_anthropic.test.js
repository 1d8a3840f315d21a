'use strict';

// The @anthropic-ai/sdk package against the referee: wrapped, and with the limiter as middleware.
//
// The referee reserves max_tokens and gives the rest back (charge: actual), so the provider is "litellm" where limits
// are tight.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { default: Anthropic, RateLimitError, APIUserAbortError, APIConnectionError } = require('@anthropic-ai/sdk');
const { AcquireTimeoutError, Limiter, NeverAdmittedError, anthropicMiddleware, wrap } = require('rlimit');
const { agreed, collected, counting, limiterOf, nobody, nothingHeld, referee, settled, until } =
  require('./referee.js');

const TIGHT = { rpm: 1200, tpm: 60000, period: 2, concurrency: 4, latencyMs: '5:20', charge: 'actual' };

function question(n, more) {
  return { model: 'm', messages: [{ role: 'user', content: `question ${n}` }], max_tokens: 16, ...more };
}

function upTo(count, ask) {
  return Promise.all(Array.from({ length: count }, (_, n) => ask(n)));
}

const WAYS = {
  wrap: (relay, limiter, { maxRetries, timeout, middleware, ...options } = {}) => wrap(
    new Anthropic({ baseURL: relay.url, apiKey: 'k', timeout, middleware }), limiter,
    { ...options, retries: maxRetries }),
  anthropicMiddleware: (relay, limiter, { maxRetries, timeout, middleware = [], ...options } = {}) => new Anthropic({
    baseURL: relay.url, apiKey: 'k', maxRetries, timeout,
    middleware: [...middleware, anthropicMiddleware(limiter, options)],
  }),
};

for (const [way, client] of Object.entries(WAYS)) {
  test(way, async (t) => {
    for (const [title, check] of Object.entries(CHECKS)) await t.test(title, (inner) => check(client, inner));
  });
}

const CHECKS = {
  async 'plain, many at once'(client) {
    const relay = await referee(TIGHT);
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter, { provider: 'litellm' });
    const replies = await upTo(70, (n) => limited.messages.create(question(n)));
    assert.equal(new Set(replies.map((reply) => reply.content[0].text)).size, 70);
    const total = await agreed(relay, limiter);
    assert.deepEqual([total.received, total.completed], [70, 70]);
    assert.ok(total.max_in_flight <= 4);
  },

  async 'streams, many at once'(client) {
    const relay = await referee(TIGHT);
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter, { provider: 'litellm' });
    const used = await upTo(60, async (n) => {
      if (n % 2 === 1) return (await limited.messages.stream(question(n)).finalMessage()).usage.output_tokens;
      let output = 0;
      for await (const event of await limited.messages.create(question(n, { stream: true }))) {
        if (event.type === 'message_delta') output = event.usage.output_tokens;
      }
      return output;
    });
    assert.equal(used.reduce((a, b) => a + b), settled(limiter).outputTokens);
    const total = await agreed(relay, limiter);
    assert.deepEqual([total.received, total.completed], [60, 60]);
    assert.ok(total.max_in_flight <= 4);
  },

  // The provider does not count max_tokens, the referee does: only requests are limited here.
  async 'told only the provider'(client) {
    const relay = await referee({ rpm: 2400, period: 2, latencyMs: '5:20', charge: 'actual' });
    const limiter = new Limiter({ provider: 'anthropic' });
    const limited = client(relay, limiter);
    await upTo(83, (n) => limited.messages.create(question(n)));
    const total = await relay.quiet();
    assert.deepEqual(Object.values(total.refused).filter(Boolean), []);
    assert.deepEqual([total.received, total.completed], [83, 83]);
    nothingHeld(limiter);
  },

  async 'settles with usage'(client) {
    const relay = await referee({ charge: 'actual' });
    const limiter = limiterOf(relay);
    const { usage } = await client(relay, limiter).messages.create(question(1, { system: 'You are brief.' }));
    const { input_tokens: inputTokens, output_tokens: outputTokens } = usage;
    assert.deepEqual(settled(limiter), { requests: 1, inputTokens, outputTokens });
    await agreed(relay, limiter);
  },

  async 'faults are retried by the SDK; each attempt waits and pays'(client) {
    const relay = await referee({ concurrency: 4 });
    for (const fault of ['500', '503', '529', '429', 'drop', '529_after']) {
      await relay.reset();
      const limiter = limiterOf(relay);
      await relay.fault(fault, { count: 1, ...fault === '429' && { value: 0.05 } });
      assert.ok((await client(relay, limiter).messages.create(question(1))).content, fault);
      const total = await relay.quiet();
      assert.equal(total.received, 2, fault);
      assert.equal(settled(limiter).requests, 2, fault);
      assert.equal(limiter.status().retried, 1, fault);
      nothingHeld(limiter);
    }
  },

  async 'a refusal pauses everybody; the request counts, its tokens do not'(client) {
    const relay = await referee();
    for (const stream of [false, true]) {
      for (const [fault, most] of [['429=30', 30_000], ['429; no-retry-after', 60_000]]) {
        await relay.reset();
        const limiter = limiterOf(relay);
        const limited = client(relay, limiter, { maxRetries: 0 });
        assert.equal(limited.maxRetries, 0);
        const asked = limited.messages.create(question(1, { stream }), { headers: { 'x-relay-fault': fault } });
        await assert.rejects(asked, (error) => error instanceof RateLimitError && /rate limit/.test(error.message));
        assert.equal((await relay.total()).received, 1);
        assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 0, outputTokens: 0 });
        const { available, wait } = limiter.check();
        assert.ok(!available && wait > 0 && wait <= most, `${wait}`);
        nothingHeld(limiter);
      }
    }
  },

  async 'a cut answer keeps its estimate'(client) {
    const relay = await referee({ concurrency: 1 });
    for (const stream of [false, true]) {
      await relay.reset();
      const limiter = limiterOf(relay);
      const limited = client(relay, limiter, { maxRetries: 0 });
      await relay.fault('drop_mid', { count: 1 });
      await assert.rejects(async () => {
        const answer = await limited.messages.create(question(1, { stream }));
        for await (const event of answer) assert.ok(event);
      }, (error) => !String(error.code).startsWith('RLIMIT'));
      assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 3, outputTokens: 16 });
      nothingHeld(limiter);
      await limited.messages.create(question(2));
      assert.deepEqual(Object.values((await relay.quiet()).refused).filter(Boolean), []);
    }
  },

  async 'nobody listens'(client) {
    const limiter = counting();
    const limited = client({ url: await nobody() }, limiter, { maxRetries: 1 });
    await assert.rejects(limited.messages.create(question(1)), APIConnectionError);
    assert.equal(settled(limiter).requests, 0, 'what was not sent is given back');
    assert.deepEqual([limiter.status().failed, limiter.status().succeeded], [2, 0]);
    nothingHeld(limiter);
  },

  async 'a stream left early frees its place at once'(client) {
    const relay = await referee({ concurrency: 1, latencyMs: '2000:2000' });
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter);
    const ways = {
      async 'break'(stream) { for await (const event of stream) if (event) break; },
      async 'stream.controller'(stream) { stream.controller.abort(); },
      async 'signal'(stream, controller) {
        await (async () => { for await (const event of stream) if (event) controller.abort(); })().catch(() => {});
      },
    };
    let count = 0;
    for (const [name, leave] of Object.entries(ways)) {
      const controller = new AbortController();
      const stream = await limited.messages.create(question(1, { stream: true }), { signal: controller.signal });
      assert.equal(limiter.status().active, 1, name);
      await leave(stream, controller);
      assert.equal(limiter.status().active, 0, name);
      assert.equal((await relay.quiet()).client_gone, ++count, name);
    }
    const helper = limited.messages.stream(question(1));
    for await (const event of helper) if (event) break;
    assert.equal(limiter.status().active, 0, 'the helper');
    await relay.quiet();
    const { requests, outputTokens } = settled(limiter);
    assert.deepEqual([requests, outputTokens], [count + 1, 16 * (count + 1)]);
    nothingHeld(limiter);
  },

  async 'a stream that is dropped frees its place when it is collected'(client) {
    const relay = await referee({ concurrency: 1, latencyMs: '3000:3000' });
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter);
    await (async () => {
      const stream = await limited.messages.create(question(1, { stream: true }));
      await stream[Symbol.asyncIterator]().next();
    })();
    assert.equal(limiter.status().active, 1);
    await collected(() => limiter.status().active === 0);
    assert.equal((await relay.quiet()).client_gone, 1);
    nothingHeld(limiter);
  },

  async 'aborted while queued, and before the answer'(client) {
    const relay = await referee({ concurrency: 1, latencyMs: '60000:60000' });
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter);
    const permit = await limiter.acquire();
    const controller = new AbortController();
    const asked = assert.rejects(limited.messages.create(question(1), { signal: controller.signal }),
      APIUserAbortError);
    await until(() => limiter.status().queued === 1);
    controller.abort();
    await asked;
    assert.equal(limiter.status().queued, 0);
    permit.cancel();
    assert.equal((await relay.total()).received, 0);
    const later = new AbortController();
    const sent = assert.rejects(limited.messages.create(question(2), { signal: later.signal }), APIUserAbortError);
    await relay.busy();
    later.abort();
    await sent;
    await relay.quiet();
    assert.deepEqual([limiter.status().succeeded, limiter.status().failed, settled(limiter).requests], [0, 1, 1]);
    nothingHeld(limiter);
  },

  async 'a time-out of the queue is told as it is, and not tried again'(client) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter, { queueTimeout: 5 });
    const permit = await limiter.acquire();
    for (const stream of [false, true]) {
      await assert.rejects(limited.messages.create(question(1, { stream })), AcquireTimeoutError);
    }
    assert.equal(limiter.status().queued, 0);
    permit.settle();
    assert.equal((await relay.total()).received, 0);
    assert.ok((await limited.messages.create(question(1))).content);
    nothingHeld(limiter);
  },

  async 'the wait is in no time-out of the SDK'(client, t) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter, { timeout: 5000, maxRetries: 0 });
    const permit = await limiter.acquire();
    const started = [];
    const real = globalThis.setTimeout;
    const timers = t.mock.method(globalThis, 'setTimeout', (callback, delay, ...given) => {
      if (delay === 5000) started.push(limiter.status().queued);
      return real(callback, delay, ...given);
    });
    const asked = limited.messages.create(question(1)).asResponse();
    await until(() => limiter.status().queued === 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(started, [], 'none runs while it waits');
    permit.settle();
    assert.equal((await asked).status, 200);
    timers.mock.restore();
    assert.ok(started.length >= 1 && started.every((queued) => queued === 0));
    await (await asked).text();
    nothingHeld(limiter);
  },

  async 'larger than a limit'(client) {
    const relay = await referee({ tpm: 6000, period: 1 }); // 100
    const limiter = limiterOf(relay);
    await assert.rejects(client(relay, limiter).messages.create(question(1, { max_tokens: 200 })), NeverAdmittedError);
    assert.equal((await relay.total()).received, 0);
    nothingHeld(limiter);
  },

  async 'a middleware that sends again: each time waits, and pays'(client) {
    const relay = await referee({ concurrency: 1 });
    const limiter = limiterOf(relay);
    const again = async (request, next) => {
      const first = await next(request);
      await first.text();
      return next(request);
    };
    const limited = client(relay, limiter, { middleware: [again] });
    assert.ok((await limited.messages.create(question(1))).content);
    assert.equal((await relay.total()).received, 2);
    assert.equal(settled(limiter).requests, 2);
    nothingHeld(limiter);
    const stuck = client(relay, limiter, { queueTimeout: 5, middleware: [async (request, next) => {
      const unread = await next(request);
      return next(request).catch(async (error) => {
        await unread.body.cancel();
        throw error;
      });
    }] });
    await assert.rejects(stuck.messages.create(question(1)), AcquireTimeoutError); // the second waits for the first
    assert.equal((await relay.quiet()).received, 3);
    nothingHeld(limiter);
  },

  async 'copies share the limiter'(client) {
    const relay = await referee();
    const limiter = limiterOf(relay);
    const limited = client(relay, limiter);
    await limited.withOptions({ maxRetries: 5 }).messages.create(question(1));
    assert.equal(settled(limiter).requests, 1);
    const { data, response } = await limited.withOptions({}).messages.create(question(1)).withResponse();
    assert.ok(data.content);
    assert.equal(response.url, `${relay.url}/v1/messages`);
    assert.equal(settled(limiter).requests, 2);
    nothingHeld(limiter);
  },
};

test('one limiter over another is refused', () => {
  const limiter = counting();
  const client = new Anthropic({ apiKey: 'k', middleware: [anthropicMiddleware(limiter)] });
  assert.throws(() => wrap(client, limiter), /^TypeError: client: has a limiter already/);
  assert.throws(() => anthropicMiddleware(5), { code: 'RLIMIT_ARGUMENT', message: /^limiter: / });
  assert.throws(() => anthropicMiddleware(limiter, { retries: 1 }), { code: 'RLIMIT_ARGUMENT', message: /^retries: / });
});
