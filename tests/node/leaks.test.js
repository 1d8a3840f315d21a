'use strict';

// Heap, native memory and handles stay flat over many operations. Run in a child, with the collector at hand.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { test } = require('node:test');

/** What code prints, run with r, settled() and tick(). */
function run(code) {
  const script = `
    const r = require(${JSON.stringify(require.resolve('rlimit'))});
    const tick = () => new Promise((resolve) => setImmediate(resolve));
    async function settled() {
      for (let i = 0; i < 6; i++) { await tick(); global.gc(); }
      const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
      const handles = process.getActiveResourcesInfo().filter((name) => name !== 'Immediate').length;
      return { heap: heapUsed, external: external + arrayBuffers, rss, handles };
    }
    async function flat(work, rounds = 3) {
      await work();
      const before = await settled();
      for (let i = 0; i < rounds; i++) await work();
      const after = await settled();
      return ['heap', 'external', 'rss', 'handles'].map((key) => after[key] - before[key]);
    }
    (async () => { ${code} })().then((answer) => console.log(JSON.stringify(answer)));`;
  const done = spawnSync(process.execPath, ['--expose-gc', '-e', script], { encoding: 'utf8', timeout: 120000 });
  assert.equal(done.status, 0, done.stderr);
  return { answer: JSON.parse(done.stdout), stderr: done.stderr };
}

const CASES = {
  'permits settled, 10^6': `
    const limiter = new r.Limiter({ requests: r.perSecond(1e9) });
    return flat(() => { for (let i = 0; i < 250000; i++) limiter.tryAcquire().settle(); });`,
  'permits dropped, 10^6': `
    const limiter = new r.Limiter({ requests: r.perSecond(1e9) });
    return flat(async () => {
      for (let i = 0; i < 250000; i++) {
        limiter.tryAcquire();
        if (i % 50000 === 0) await tick();
      }
    });`,
  'capped permits, 2 x 10^5': `
    const limiter = new r.Limiter({ requests: r.perSecond(1e9), concurrency: 100 });
    return flat(async () => {
      for (let i = 0; i < 50000; i++) (await limiter.acquire({ inputTokens: i })).settle({ inputTokens: 1 });
    });`,
  'waits admitted, 10^5': `
    const clock = new r.ManualClock();
    const limiter = new r.Limiter({ requests: r.per(1000, 1000), clock });
    return flat(async () => {
      for (let i = 0; i < 25; i++) {
        const waiting = Array.from({ length: 1000 }, () => limiter.acquire());
        clock.advance(1000);
        for (const permit of await Promise.all(waiting)) permit.settle();
      }
    });`,
  'waits aborted, timed out and closed, 10^5': `
    const clock = new r.ManualClock();
    const controller = new AbortController();
    return flat(async () => {
      for (let i = 0; i < 25; i++) {
        const limiter = new r.Limiter({ requests: r.perHour(1), clock });
        limiter.tryAcquire();
        const own = new AbortController();
        const ways = [{ signal: own.signal }, { timeout: 5 }, { signal: controller.signal }, {}];
        const waiting = Array.from({ length: 1000 }, (_, k) => limiter.acquire({}, ways[k % 4]).catch(() => 0));
        own.abort();
        clock.advance(10);
        limiter.close();
        await Promise.all(waiting);
      }
    });`,
  'limiters made and dropped, 2,000': `
    const clock = new r.ManualClock();
    return flat(async () => {
      for (let i = 0; i < 500; i++) {
        let limiter; // known to its own clock: a cycle
        const own = () => (limiter ? 1 : 1);
        const limits = { requests: r.perSecond(5), inputTokens: r.sliding(50, 500) };
        limiter = new r.Limiter({ ...limits, clock: i % 2 ? clock : own });
        limiter.tryAcquire();
        if (i % 50 === 0) await tick();
      }
      await settled();
    });`,
  'pieces, responses and routes, 10^5': `
    return flat(async () => {
      const route = new r.Route();
      for (let i = 0; i < 5000; i++) {
        new r.Bucket(r.perSecond(5)).take();
        new r.Window(r.sliding(5, 5000)).take();
        new r.BackoffPlan().start(i).next(0, 0);
        r.parse(429, { 'retry-after': '7', 'x-long': 'x'.repeat(2000) }, 'x'.repeat(3000)).feedback.readings;
        route.learn({ inputTokens: 5 }, route.estimate({ inputTokens: 5 }));
        if (i % 1000 === 0) await tick();
      }
    }, 4);`,
  'real timers, 2,000': `
    return flat(async () => {
      const limiter = new r.Limiter({ requests: r.per(100, 5) });
      await Promise.all(Array.from({ length: 500 }, () => limiter.acquire({}, { timeout: 60000 })));
    });`,
};

for (const [name, code] of Object.entries(CASES)) {
  test(name, () => {
    const [heap, external, rss, handles] = run(code).answer;
    assert.equal(handles, 0, 'handles');
    assert.ok(heap < 1e6, `heap grew by ${heap}`);
    assert.ok(external < 1e6, `external memory grew by ${external}`);
    assert.ok(rss < 60e6, `resident memory grew by ${rss}`);
  });
}

test('a permit that is dropped under a cap is settled when it is collected, and says so once', () => {
  const { answer, stderr } = run(`
    const limiter = new r.Limiter({ concurrency: 3, inputTokens: r.perMinute(100) });
    for (let i = 0; i < 3; i++) limiter.tryAcquire({ inputTokens: 10 });
    const waiting = limiter.acquire();
    await settled();
    (await waiting).settle();
    const { active, succeeded, limits } = limiter.status();
    return [active, succeeded, limits[0].used >= 29, limits[1].used];`);
  assert.deepEqual(answer, [0, 4, true, 0]);
  assert.equal(stderr.match(/a permit was dropped/g).length, 1);
});

test('without a cap, permits that were dropped are no longer counted as out', () => {
  const { answer } = run(`
    const limiter = new r.Limiter({ requests: r.perSecond(1e9) });
    for (let i = 0; i < 10000; i++) limiter.tryAcquire();
    await settled();
    const { active, succeeded } = limiter.status();
    return [active < 600, active + succeeded];`);
  assert.deepEqual(answer, [true, 10000]);
});

test('permits under a cap that are dropped one after another are all found, with or without a queue', () => {
  const { answer } = run(`
    const limiter = new r.Limiter({ concurrency: 3 });
    for (let i = 0; i < 3; i++) limiter.tryAcquire();
    const waiting = Array.from({ length: 9 }, () => limiter.acquire().then(() => 0)); // drops it
    let ended = false;
    const all = Promise.all(waiting).then(() => { ended = true; });
    for (let i = 0; i < 20 && !ended; i++) await settled();
    for (let i = 0; i < 20 && limiter.tryAcquire() === null; i++) await settled();
    return [ended, limiter.status().active <= 3];`);
  assert.deepEqual(answer, [true, true]);
});

test('a permit that somebody has is not ended with those dropped beside it, and they are found after it', () => {
  const { answer, stderr } = run(`
    const limiter = new r.Limiter({ concurrency: 3, inputTokens: r.perDay(100) });
    let kept = limiter.tryAcquire({ inputTokens: 1 });
    limiter.tryAcquire({ inputTokens: 10 });
    limiter.tryAcquire({ inputTokens: 20 });
    const waiting = Promise.all([limiter.acquire(), limiter.acquire(), limiter.acquire()]);
    await settled();
    const before = [limiter.status().active, limiter.status().queued, kept.state];
    kept.settle({ inputTokens: 5 });
    kept = null;
    await settled();
    for (const permit of await waiting) permit.settle();
    const { active, succeeded, limits } = limiter.status();
    return [...before, active, succeeded, limits[0].used];`);
  assert.deepEqual(answer, [3, 3, 'out', 0, 6, 35]);
  assert.equal(stderr.match(/a permit was dropped/g).length, 1);
});

test('under a cap the collector watches pages, not permits, and few of them', () => {
  const { answer } = run(`
    let watched = 0;
    const { register } = FinalizationRegistry.prototype;
    FinalizationRegistry.prototype.register = function count(...given) {
      watched++;
      return register.apply(this, given);
    };
    const limiter = new r.Limiter({ concurrency: 10 });
    for (let i = 0; i < 10000; i++) limiter.tryAcquire().settle();
    await Promise.all(Array.from({ length: 5000 }, async () => {
      const permit = await limiter.acquire();
      await null;
      permit.settle();
    }));
    return watched;`);
  assert.ok(answer < 200, `${answer}`);
});

test('a limiter that nobody has is collected, whatever became of its permits', () => {
  const { answer } = run(`
    const kept = [];
    const made = [{ concurrency: 600 }, { requests: r.perDay(5000) }].map((options) => {
      const limiter = new r.Limiter(options);
      for (let i = 0; i < 600; i++) limiter.tryAcquire();
      limiter.tryAcquire();
      return new WeakRef(limiter);
    });
    await settled();
    return made.map((limiter) => limiter.deref() === undefined);`);
  assert.deepEqual(answer, [true, true]);
});
