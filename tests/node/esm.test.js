'use strict';

// import and require give the same names, and the same objects.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { test } = require('node:test');
const rlimit = require('rlimit');

test('named imports, the default, and require are one', async () => {
  const imported = await import('rlimit');
  const names = Object.keys(imported).filter((name) => name !== 'default' && name !== 'module.exports');
  assert.deepEqual(names.sort(), Object.keys(rlimit).sort());
  for (const name of names) assert.equal(imported[name], rlimit[name]);
  assert.equal(imported.default, rlimit);
  assert.ok(Object.values(rlimit).every((value) => value !== undefined));
});

test('a module that imports names runs', () => {
  const script = `
    import { Limiter, perMinute, ManualClock, AcquireTimeoutError } from 'rlimit';
    import { retry, map, wrap, limitFetch, load } from 'rlimit';
    const limiter = new Limiter({ requests: perMinute(1) });
    const permit = await limiter.acquire();
    permit.settle();
    try { await limiter.acquire({}, { timeout: 1 }); } catch (error) {
      console.log(error instanceof AcquireTimeoutError);
    }`;
  const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', cwd: __dirname });
  assert.deepEqual([done.status, done.stdout, done.stderr], [0, 'true\n', '']);
});

test('await using, where the language has it', (t) => {
  const script = `
    const { Limiter } = require('rlimit');
    (async () => {
      const limiter = new Limiter({ concurrency: 1 });
      { await using permit = await limiter.acquire(); }
      { using permit = limiter.tryAcquire(); console.log(permit.state); }
      console.log(limiter.status().active);
    })();`;
  const done = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', cwd: __dirname });
  if (/SyntaxError/.test(done.stderr)) return t.skip('this Node has no using');
  assert.equal(done.stdout, 'out\n0\n');
});
