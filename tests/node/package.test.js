'use strict';

// What the package says of itself, and the add-on's source.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const rlimit = require('rlimit');

const ROOT = path.join(__dirname, '..', '..');
const PACKAGE = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));

test('the version is that of rlimit.h', () => {
  const [, version] = /^#define RLM_VERSION "(.*)"/m.exec(fs.readFileSync(path.join(ROOT, 'rlimit.h'), 'utf8'));
  assert.equal(PACKAGE.version, version);
  assert.equal(rlimit.VERSION, version);
});

test('it needs nothing at run time, and its entry points are there', () => {
  assert.equal(PACKAGE.dependencies, undefined);
  for (const file of [PACKAGE.main, PACKAGE.types, PACKAGE.exports['.'].types, PACKAGE.exports['.'].default]) {
    assert.ok(fs.existsSync(path.join(ROOT, file)), file);
  }
});

const headers = path.join(path.dirname(path.dirname(process.execPath)), 'include', 'node');
const compilers = ['gcc', 'clang'].filter((name) => spawnSync(name, ['--version']).status === 0);
const missing = !fs.existsSync(path.join(headers, 'node_api.h'))
  ? 'no headers of Node beside it'
  : compilers.length === 0 && 'no compiler';

test('the add-on compiles without a warning', { skip: missing }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rlimit-'));
  try {
    for (const compiler of compilers) {
      for (const standard of ['c99', 'c11', 'gnu17']) {
        const done = spawnSync(
          compiler,
          [
            `-std=${standard}`,
            '-O1',
            '-Wall',
            '-Wextra',
            '-Wpedantic',
            '-Wconversion',
            '-Werror',
            '-fPIC',
            '-c',
            '-isystem',
            headers,
            '-I',
            ROOT,
            '-I',
            path.join(ROOT, 'ext'),
            path.join(ROOT, 'bindings', 'node', 'addon.c'),
            '-o',
            path.join(folder, 'addon.o'),
          ],
          { encoding: 'utf8' },
        );
        assert.equal(done.status, 0, `${compiler} -std=${standard}\n${done.stderr}`);
      }
    }
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('an add-on that does not load is told with its path and cause', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rlimit-'));
  try {
    fs.cpSync(path.join(ROOT, 'bindings', 'node'), path.join(folder, 'bindings', 'node'), { recursive: true });
    const load = () =>
      spawnSync(
        process.execPath,
        ['-e', "try { require('./bindings/node'); } catch (e) { console.log(e.code, e.message); }"],
        { cwd: folder, encoding: 'utf8' },
      ).stdout;
    assert.match(load(), /^RLIMIT_ADDON rlimit: the add-on does not load: none is there; looked for .*Build it with/s);
    const file = path.join(folder, 'build', 'Release', 'rlimit.node');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, 'no add-on');
    const told = load();
    assert.ok(told.startsWith('RLIMIT_ADDON') && told.includes(file), told);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});
