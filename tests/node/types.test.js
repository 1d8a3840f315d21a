'use strict';

// The declarations: a consumer in strict mode (types/consumer.ts) compiles, and what must not does not; every export is
// declared.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const rlimit = require('rlimit');

const TSC = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
const DECLARATIONS = path.join(__dirname, '..', '..', 'bindings', 'node');

function tsc(...parameters) {
  const done = spawnSync(process.execPath, [TSC, ...parameters], { encoding: 'utf8', cwd: __dirname, timeout: 120000 });
  return { status: done.status, text: done.stdout + done.stderr };
}

test('a consumer in strict mode', () => {
  const { status, text } = tsc('-p', 'types');
  assert.equal(status, 0, text);
});

test('every export is declared, and every declared value is exported', () => {
  const folder = fs.mkdtempSync(path.join(__dirname, 'types', 'all-'));
  try {
    const names = Object.keys(rlimit);
    fs.writeFileSync(
      path.join(folder, 'all.ts'),
      `import * as rlimit from 'rlimit';
      type Named = ${names.map((name) => `'${name}'`).join(' | ')};
      type Missing = Exclude<Named, keyof typeof rlimit>;
      type Extra = Exclude<keyof typeof rlimit, Named | 'default'>;
      export const none: [Missing, Extra] extends [never, never] ? true : { missing: Missing; extra: Extra } = true;`,
    );
    fs.writeFileSync(
      path.join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: '../tsconfig.json', files: ['all.ts'] }),
    );
    const { status, text } = tsc('-p', folder);
    assert.equal(status, 0, text);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('every declared function and class is documented', () => {
  const files = [
    'index.d.ts',
    ...fs
      .readdirSync(path.join(DECLARATIONS, 'lib'))
      .filter((name) => name.endsWith('.d.ts'))
      .map((name) => `lib/${name}`),
  ];
  for (const file of files) {
    const lines = fs.readFileSync(path.join(DECLARATIONS, file), 'utf8').split('\n');
    lines.forEach((line, index) => {
      if (!/^export (declare )?(function|class|const) /.test(line)) return;
      let above = index - 1;
      const [name] = line.split('(');
      while (/^export function/.test(lines[above]) && lines[above].split('(')[0] === name) above -= 1; // overloads
      assert.match(lines[above], /\*\/$/, `${file}:${index + 1} ${line}`);
    });
  }
});
