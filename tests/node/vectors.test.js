'use strict';

// The shared cases of tests/vectors: all of them, and random ones by seed. C, Python and Node give the same answers.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { parseExact, writeExact } = require('./exact.js');
const { logged, runCase } = require('./vectors.js');

const ROOT = path.join(__dirname, '..', '..');
const VECTORS = path.join(ROOT, 'tests', 'vectors');
const PYTHON = path.join(ROOT, 'build', 'venv', 'bin', 'python');

function python(script, ...parameters) {
  const done = spawnSync(PYTHON, [path.join(VECTORS, script), ...parameters], { encoding: 'utf8', timeout: 300000 });
  assert.equal(done.status, 0, `${done.stdout}${done.stderr}${done.error ?? ''}`);
  return done.stdout;
}

/** check.py's word on buckets whose rate cannot be carried exactly. */
function judge(cases) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rlimit-'));
  const file = path.join(folder, 'bound.jsonl');
  fs.writeFileSync(file, cases.map((one) => `${writeExact(logged(one))}\n`).join(''));
  try {
    python('check.py', file);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** Runs cases, and says how many. */
function runAll(cases) {
  for (const one of cases) if (one.kind !== 'bucket_bound') runCase(one);
  const bound = cases.filter((one) => one.kind === 'bucket_bound');
  if (bound.length > 0) judge(bound);
}

for (const file of fs.readdirSync(VECTORS).filter((name) => name.endsWith('.json'))) {
  const cases = parseExact(fs.readFileSync(path.join(VECTORS, file), 'utf8'));
  test(`${file}: ${cases.length} cases`, () => {
    assert.ok(cases.length > 0);
    runAll(cases);
  });
}

for (const seed of ['11', process.env.RLIMIT_TEST_SEED ?? '1']) {
  test(`250 random cases of seed ${seed}`, () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rlimit-'));
    const file = path.join(folder, 'random.jsonl');
    try {
      python('generate.py', '--random', seed, '250', file);
      runAll(fs.readFileSync(file, 'utf8').trim().split('\n').map(parseExact));
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
}
