'use strict';

// npm's install script: nothing to do where a ready-made add-on loads; else it is built from source, with npm's own
// node-gyp.
//
// Never `node-gyp rebuild` or `clean`: they delete build/, which holds more than the add-on.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const ROOT = path.join(__dirname, '..', '..');
const BUILT = path.join(ROOT, 'build', 'Release', 'rlimit.node');
const SOURCES = ['bindings/node/addon.c', 'rlimit.h', 'ext/rlimit_http.h', 'binding.gyp']
  .map((file) => path.join(ROOT, file));

/** Whether an add-on loads that is not older than the source. */
function isThere() {
  try {
    require('./load.js');
  } catch (error) {
    if (error.code !== 'RLIMIT_ADDON') throw error;
    if (error.cause !== undefined) console.error(`${error.message}\nBuilding it.`);
    return false;
  }
  const used = Object.keys(require.cache).find((file) => file.endsWith('rlimit.node'));
  return used !== BUILT || SOURCES.every((file) => fs.statSync(file).mtimeMs <= fs.statSync(BUILT).mtimeMs);
}

/** npm's node-gyp, by the path that npm tells its scripts, or from beside npm. */
function nodeGyp() {
  const beside = path.join('node_modules', 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
  const prefix = path.dirname(path.dirname(process.execPath));
  const found = [process.env.npm_config_node_gyp, path.join(prefix, 'lib', beside),
    path.join(path.dirname(process.execPath), beside)].find((file) => file && fs.existsSync(file));
  return found === undefined ? ['node-gyp', []] : [process.execPath, [found]];
}

/** Where this Node's headers are, if they came with it: then nothing is downloaded. */
function headers() {
  const prefix = path.dirname(path.dirname(process.execPath));
  return fs.existsSync(path.join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function build() {
  const [command, first] = nodeGyp();
  const { status, error } = spawnSync(command, [...first, 'configure', 'build', ...headers()],
    { cwd: ROOT, stdio: 'inherit', shell: command === 'node-gyp' && process.platform === 'win32' });
  if (status === 0) return;
  console.error(`rlimit: the package holds no add-on for ${process.platform}-${process.arch} that loads, and building it failed` +
    `${error ? ` (${error.message})` : ''}. It needs Python and a C compiler: see https://github.com/nodejs/node-gyp`);
  process.exitCode = 1;
}

if (!isThere()) build();
