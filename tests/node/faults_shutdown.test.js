'use strict';

// The end of a process or a worker, with waiters queued, permits out and requests under way: the exit code is the
// program's own, nothing is on stderr that it did not say, and nothing crashes or hangs.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');

const SAFE = { timeout: 240000, killSignal: 'SIGKILL' }; // against a hang only
const DROPPED = /^(\(node:\d+\) RlimitWarning: a permit was dropped .*\n|\(Use .*\n)*$/;
const NAMES = 'busy, fetching, ignore, kept, once, r, streaming, tick, worker';
const BUSY = path.join(__dirname, 'busy.js');

/** Runs code in a process of its own: its exit code or signal, what it printed, and what it complained of. */
function run(code, { flags = [], module = false } = {}) {
  const script = module
    ? `import busyModule from ${JSON.stringify(BUSY)};\nconst { ${NAMES} } = busyModule;\n${code}`
    : `const { ${NAMES} } = require(${JSON.stringify(BUSY)});\n(async () => {${code}})();`;
  const done = spawnSync(process.execPath, [...flags, ...(module ? ['--input-type=module'] : []), '-e', script],
    { encoding: 'utf8', ...SAFE });
  assert.equal(done.error, undefined);
  return { end: done.signal ?? done.status, out: done.stdout, complaint: done.stderr };
}

/** That code ends so; complaint: what stderr has to hold, if not nothing. */
function ends(code, end, { out = '', complaint, ...options } = {}) {
  const done = run(code, options);
  assert.equal(done.end, end, `${code}\n${done.complaint}`);
  assert.equal(done.out, out, code);
  if (complaint === undefined) assert.equal(done.complaint, '', code);
  else assert.match(done.complaint, complaint);
  assert.doesNotMatch(done.complaint, /FATAL|Assertion|napi_|Check failed|ERR_INTERNAL/);
}

// -- A process --

const STATES = { waiters: 'busy();', 'a fetch': 'await fetching();', 'a stream': 'await streaming(); busy();' };
const ENDS = {
  'process.exit()': ['process.exit(7);', 7],
  'an uncaught exception': ['setImmediate(() => { throw new Error("own"); });', 1, { complaint: /Error: own/ }],
  'an unhandled rejection': ['Promise.reject(new Error("own"));', 1, { complaint: /Error: own/ }],
  'a signal': ['process.kill(process.pid, "SIGTERM"); for (;;);', 'SIGTERM'],
};

for (const [state, begin] of Object.entries(STATES)) {
  test(`a process with ${state} that ends`, () => {
    for (const [code, end, options] of Object.values(ENDS)) ends(begin + code, end, options);
  });
}

test('a process in which nobody can be admitted any more ends by itself', () => {
  ends('busy(false);', 0);
  ends('busy(false); process.exitCode = 3;', 3);
  ends('for (let i = 0; i < 50; i++) new r.Limiter({ requests: r.perHour(1), unref: true }).acquire({ requests: 1 });', 0);
  ends(`const limiter = new r.Limiter({ requests: r.perHour(1), unref: true });
    limiter.tryAcquire();
    limiter.acquire({}, { timeout: 1e6 }).catch(ignore);
    process.on('beforeExit', () => console.log(limiter.status().queued));`, 0, { out: '1\n' });
});

test('a module that waits for what never comes is told of it by node', () => {
  ends('const limiter = busy(false); await limiter.acquire();', 13, { module: true, complaint: /top-level await|^$/ });
});

test('beforeExit and exit handlers use the limiter', () => {
  const use = `
    const use = (limiter, permit) => {
      limiter.acquire({}, { signal: new AbortController().signal }).catch(ignore);
      limiter.status(); limiter.check(); limiter.debit({ requests: 0 });
      permit.settle();
      const told = [limiter.status().queued, limiter.tryAcquire()];
      limiter.close();
      limiter.acquire().catch(ignore);
      return told;
    };
    busy(false);
    const limiter = new r.Limiter({ concurrency: 1 });
    const permit = limiter.tryAcquire();
    limiter.acquire().catch(ignore);`;
  ends(`${use} process.on('exit', () => console.log(JSON.stringify(use(limiter, permit))));`, 0, { out: '[1,null]\n' });
  ends(`${use} process.on('exit', () => console.log(JSON.stringify(use(limiter, permit)))); process.exit(4);`, 4,
    { out: '[1,null]\n' });
  ends(`${use} process.once('beforeExit', () => console.log(JSON.stringify(use(limiter, permit))));`, 0,
    { out: '[1,null]\n' });
  ends(`${use} process.on('exit', () => { use(limiter, permit); throw new Error('own'); });`, 1,
    { complaint: /Error: own/ });
});

test('a limiter whose waiters are admitted as the process is about to end', () => {
  ends(`const limiter = new r.Limiter({ concurrency: 1 });
    let permit = limiter.tryAcquire();
    let left = 5;
    for (let i = 0; i < 5; i++) limiter.acquire().then((one) => { permit = one; console.log(i); });
    process.on('beforeExit', () => { if (left-- > 0) setImmediate(() => permit.settle()); });`, 0,
  { out: '0\n1\n2\n3\n4\n' });
});

test('the end comes from within: a clock, a getter, a listener, a reaction, a collector', () => {
  const limiter = 'busy(); let ending = false; const limiter = new r.Limiter({ concurrency: 1, clock: () => { ' +
    'if (ending) end(); return 5; } }); const permit = limiter.tryAcquire(); const waiting = limiter.acquire();';
  const exit = 'const end = () => process.exit(6);';
  const places = {
    take: 'ending = true; limiter.tryAcquire();',
    settle: 'ending = true; permit.settle();',
    pump: 'setImmediate(() => { ending = true; limiter._pump(); });',
    construct: 'new r.Limiter({ concurrency: 1, clock: end });',
    getter: 'limiter.tryAcquire({ get requests() { return end(); } });',
    listener: `const controller = new AbortController(); limiter.acquire({}, { signal: controller.signal }).catch(ignore);
      controller.signal.addEventListener('abort', end); controller.abort();`,
    reaction: 'waiting.then(end); permit.settle();',
    fetch: 'await r.limitFetch(new r.Limiter({ concurrency: 1 }), { fetch: end })("http://localhost/");',
  };
  for (const code of Object.values(places)) ends(exit + limiter + code, 6);
  ends('busy(); let made = false; const limiter = new r.Limiter({ concurrency: 1, clock: () => { ' +
    'if (made) throw new Error("own"); return 0; } }); made = true; limiter.acquire();', 1, { complaint: /Error: own/ });
});

test('permits that were dropped, and a collector that runs while the process ends', () => {
  ends(`busy(false);
    const limiter = new r.Limiter({ concurrency: 300 });
    for (let i = 0; i < 300; i++) limiter.tryAcquire();
    kept.length = 0;
    process.on('exit', () => { global.gc(); limiter.tryAcquire(); global.gc(); });
    limiter.tryAcquire();
    global.gc();`, 0, { flags: ['--expose-gc'], complaint: DROPPED });
});

test('the package twice in one process, one of them unloaded', () => {
  ends(`const first = busy(false);
    for (const file of Object.keys(require.cache)) if (/bindings.node/.test(file)) delete require.cache[file];
    const again = require('rlimit');
    const limiter = new again.Limiter({ concurrency: 1 });
    limiter.tryAcquire();
    limiter.acquire().catch(ignore);
    let code;
    try { again.perMinute(0); } catch (error) { code = [error instanceof again.LimitError, error instanceof r.LimitError]; }
    console.log(code.join(), first.status().queued, limiter.status().queued, again.Limiter === r.Limiter);
    kept.length = 0;
    global.gc();`, 0, { flags: ['--expose-gc'], out: 'true,false 40 1 false\n', complaint: DROPPED });
});

// -- Contexts --

test('contexts of vm: what comes from them, and their end', () => {
  ends(`const vm = require('vm');
    const answers = await vm.runInNewContext(\`(async () => {
      let now = 5;
      const limiter = new r.Limiter({ concurrency: 1, requests: [r.perMinute(5), r.calendarDay(50)], clock: () => now });
      const permit = limiter.tryAcquire({ inputTokens: 5 });
      const waiting = limiter.acquire({});
      const errors = [];
      for (const wrong of [() => limiter.tryAcquire(5), () => limiter.tryAcquire({ requests: 1e6 }), () => r.perMinute(0)]) {
        try { wrong(); } catch (error) { errors.push(error.code); }
      }
      permit.settle({ inputTokens: 2 });
      (await waiting).settle();
      now = 'x';
      try { limiter.check(); } catch (error) { errors.push(error.code); }
      now = 6;
      return [limiter.status().succeeded, ...errors];
    })()\`, { r });
    console.log(answers.join());
    for (let i = 0; i < 20; i++) {
      kept.push(vm.runInNewContext('const l = new r.Limiter({ concurrency: 1, clock: () => 5 }); l.tryAcquire(); ' +
        'l.acquire().catch(() => 0); l', { r }));
    }
    kept.length = 10;
    for (let i = 0; i < 5; i++) { await tick(); global.gc(); }
    for (const limiter of kept) limiter.close();`, 0,
  { flags: ['--expose-gc'], out: '2,RLIMIT_ARGUMENT,RLIMIT_NEVER,RLM_E_AMOUNT,RLIMIT_ARGUMENT\n', complaint: DROPPED });
});

test('a clock that is stopped by the time-out of its context', () => {
  ends(`const vm = require('vm');
    const world = vm.createContext({ r, stuck: false });
    const limiter = vm.runInContext('new r.Limiter({ concurrency: 1, clock: () => { while (stuck); return 5; } })', world);
    const permit = limiter.tryAcquire();
    const waiting = limiter.acquire();
    world.limiter = limiter;
    for (const code of ['tryAcquire', 'acquire', 'check', 'status']) {
      try {
        vm.runInContext('stuck = true; limiter.' + code + '()', world, { timeout: 20 });
      } catch (error) {
        console.log(error.code);
      }
      world.stuck = false;
    }
    console.log(permit.state, limiter.status().active);
    permit.settle();
    (await waiting).settle();
    console.log(limiter.status().active, limiter.status().queued);`, 0,
  { out: `${'ERR_SCRIPT_EXECUTION_TIMEOUT\n'.repeat(4)}out 1\n0 0\n` });
});

// -- Workers --

const WORKERS = {
  'terminated while they wait': ['busy(); ready();', 'await one.terminate()', 1],
  'terminated in a loop': ['const limiter = busy(); ready(); for (;;) { limiter.tryAcquire(); limiter.status(); }',
    'await one.terminate()', 1],
  'terminated in a fetch': ['await fetching(); await streaming(); ready();', 'await one.terminate()', 1],
  'terminated in a clock': [`busy();
    let stuck = false;
    const limiter = new r.Limiter({ requests: r.perHour(1), clock: () => { if (stuck) { ready(); for (;;); } return 5; } });
    limiter.tryAcquire();
    limiter.acquire();
    stuck = true;
    limiter._pump();`, 'await one.terminate()', 1],
  'that exit': ['busy(); ready(); process.exit(5);', 'await one.ended()', 5],
  'that exit from a clock': ['busy(); ready(); new r.Limiter({ concurrency: 1, clock: () => process.exit(5) });',
    'await one.ended()', 5],
  'that end by themselves': ['busy(false); ready();', 'await one.ended()', 0],
  'that use it as they exit': [`busy(false);
    const limiter = new r.Limiter({ concurrency: 1 });
    const permit = limiter.tryAcquire();
    limiter.acquire().then((one) => one.settle());
    process.on('exit', () => { permit.settle(); limiter.acquire().catch(ignore); limiter.close(); });
    ready();`, 'await one.ended()', 0],
  'with workers of their own': ['busy(); kept.push(await worker("busy(); ready();")); ready();', 'await one.terminate()', 1],
};

for (const [name, [code, end, status]] of Object.entries(WORKERS)) {
  test(`workers ${name}`, () => {
    ends(`const workers = await Promise.all(Array.from({ length: 3 }, () => worker(${JSON.stringify(code)})));
      console.log((await Promise.all(workers.map(async (one) => ${end}))).join());
      const limiter = new r.Limiter({ concurrency: 1 });
      limiter.tryAcquire().settle();`, 0, { out: `${[status, status, status].join()}\n` });
  });
}

test('a worker that throws, or has no memory left, with waiters queued', () => {
  ends(`const one = await worker('busy(); ready(); setImmediate(() => { throw new Error("own"); });');
    one.on('error', (error) => console.log(error.message));
    console.log(await one.ended().catch((error) => error.message));`, 0, { out: 'own\nown\n' });
  ends(`const one = await worker(
      'busy(); ready(); setImmediate(() => { const all = []; for (;;) all.push(kept.slice()); });',
      { resourceLimits: { maxOldGenerationSizeMb: 20, maxYoungGenerationSizeMb: 4 } });
    one.on('error', (error) => console.log(error.code));
    await one.ended().catch(ignore);`, 0, { out: 'ERR_WORKER_OUT_OF_MEMORY\n', complaint: /^(?![^]*(napi|FATAL))/ });
});

test('workers come while others end', () => {
  ends(`const ways = ['busy(); ready();', 'busy(false); ready();', 'busy(); ready(); process.exit(0);',
      'ready(); for (;;) busy();'];
    let begun = 0;
    const chain = async () => {
      while (begun < 24) {
        const way = begun++ % ways.length;
        const one = await worker(ways[way]);
        if (way === 0 || way === 3) await one.terminate();
        else await one.ended();
      }
    };
    busy();
    await Promise.all([chain(), chain(), chain(), chain()]);
    console.log(kept[0].status().queued);
    process.exit(0);`, 0, { out: '40\n' });
});

test('workers that are terminated as they begin, wherever they are', () => {
  ends(`const { Worker } = require('worker_threads');
    for (let round = 0; round < 4; round++) {
      const workers = Array.from({ length: 6 }, () =>
        new Worker('for (;;) require(' + JSON.stringify(${JSON.stringify(BUSY)}) + ').busy();', { eval: true }));
      await once(workers[round], 'online');
      console.log((await Promise.all(workers.map((one) => one.terminate()))).length);
    }`, 0, { out: '6\n'.repeat(4) });
});

test('the main thread ends while workers run', () => {
  for (const [code, end, options] of Object.values(ENDS)) {
    ends(`busy(); await Promise.all([worker('busy(); ready();'), worker('ready(); for (;;) busy();'),
      worker('await fetching(); ready();')]); ${code}`, end, options);
  }
});
