'use strict';

// The add-on: a ready-made one of this platform, or the one that was built here.

const fs = require('fs');
const path = require('path');
const errors = require('./lib/errors.js');

const ROOT = path.join(__dirname, '..', '..');

/** Where it may be. What was built here was built because no ready-made one loads, or to be used. */
function candidates() {
  const ready = (name) => path.join(ROOT, 'prebuilds', name, 'rlimit.node');
  const platform = `${process.platform}-${process.arch}`;
  const built = path.join(ROOT, 'build', 'Release', 'rlimit.node');
  if (process.platform !== 'linux') return [built, ready(platform)];
  const [glibc, musl] = [ready(`${platform}-glibc`), ready(`${platform}-musl`)];
  if (fs.existsSync(glibc) && fs.existsSync(musl)) return [built, isMusl() ? musl : glibc];
  return [built, glibc, musl];
}

/** By which C library this process has mapped. The report tells too, but takes several times as long: for want of /proc. */
function isMusl() {
  try {
    return !/\/libc(\.so\.6|-2\.\d+\.so)\b/.test(fs.readFileSync('/proc/self/maps', 'latin1'));
  } catch {
    return process.report.getReport().header.glibcVersionRuntime === undefined;
  }
}

/** The add-on of the first file that loads. One that is there and does not load is never passed over in silence. */
function loaded() {
  const paths = candidates();
  const failures = [];
  for (const file of paths) {
    if (!fs.existsSync(file)) continue;
    try {
      const addon = require(file);
      if (failures.length > 0) process.emitWarning(`rlimit: ${tell(failures)}; ${file} is used`);
      return addon;
    } catch (error) {
      failures.push(Object.assign(error, { file }));
    }
  }
  const told = failures.length > 0 ? tell(failures) : `none is there; looked for ${paths.join(', ')}`;
  throw Object.assign(new Error(`rlimit: the add-on does not load: ${told}. ` +
    'Build it with: npm rebuild rlimit', { cause: failures[0] }), { code: 'RLIMIT_ADDON' });
}

/** Of each failure the file, which the system's words need not name. */
function tell(failures) {
  return failures.map(({ file, message }) => (message.includes(file) ? message : `${file}: ${message}`)).join('; ');
}

const native = loaded();
native.useErrors(errors.LimitError);
module.exports = native;

// What C does with arrays and numbers, in JavaScript's terms. Last, for it needs what stands above.
const { parse, Route } = require('./lib/feedback.js');
native.parse = parse;
native.Route = Route;
