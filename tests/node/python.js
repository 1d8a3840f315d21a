'use strict';

// Runs a script of Python with the package of this checkout, to compare: what it prints is read as JSON.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.resolve(__dirname, '..', '..');
const PYTHON = path.join(ROOT, 'build', 'venv', 'bin', 'python');
const MISSING = fs.existsSync(PYTHON) ? false : 'needs build/venv';
const PYTHONPATH = ['tests/python', 'tests', 'bindings/python'].map((name) => path.join(ROOT, name))
  .join(path.delimiter);
// conftest builds the extension where it is missing or old.
const BEGIN = `
import contextlib, json, sys
with contextlib.redirect_stdout(sys.stderr):
    import conftest
given = json.load(sys.stdin)
`;

/** What a script prints; it finds `given` as read from JSON, and `json`. */
function python(script, given) {
  const text = execFileSync(PYTHON, ['-c', BEGIN + script], {
    input: JSON.stringify(given), cwd: ROOT, env: { ...process.env, PYTHONPATH }, maxBuffer: 1 << 28,
    encoding: 'utf8' });
  return JSON.parse(text);
}

module.exports = { MISSING, ROOT, python };
