'use strict';

// JSON with 64-bit whole numbers: those above 2^53 become bigints, which JSON.parse alone would round.

const MARK = '\u0000int:';
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g;

function parseExact(text) {
  const marked = text.replace(TOKEN, (token) => (token[0] === '"' ? token : `"\\u0000int:${token}"`));
  return JSON.parse(marked, (key, value) => {
    if (typeof value !== 'string' || !value.startsWith(MARK)) return value;
    const exact = BigInt(value.slice(MARK.length));
    return exact <= BigInt(Number.MAX_SAFE_INTEGER) && exact >= -BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(exact)
      : exact;
  });
}

/** The reverse. */
function writeExact(value) {
  return JSON.stringify(value, (key, item) => (typeof item === 'bigint' ? `${MARK}${item}` : item)).replace(
    /"\\u0000int:(-?\d+)"/g,
    '$1',
  );
}

module.exports = { parseExact, writeExact };
