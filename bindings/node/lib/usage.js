'use strict';

// What the body of an answer tells of tokens: usage in every provider's form, and the bodies that it is looked for in,
// as they pass by. Internal.

const zlib = require('zlib');
const { AMOUNT_MAX } = require('./arguments.js');

const JSON_MOST = 16 << 20; // bytes of a JSON answer that are kept to read its usage; else the estimate stands
const ERROR_MOST = 64 << 10; // bytes of an error's body that are looked at
const LINE_MOST = 64 << 10; // characters of one line of a stream that are kept: of a longer one, its end

// -- Usage --

function count(value) {
  return Number.isSafeInteger(value) && value >= 0 && value <= AMOUNT_MAX ? value : undefined;
}

function isObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** An object that JSON is read to, or written from. */
function isPlain(value) {
  if (!isObject(value)) return false;
  const kind = Object.getPrototypeOf(value);
  return kind === null || Object.getPrototypeOf(kind) === null;
}

function cachedOf(details) {
  return isObject(details) ? count(details.cached_tokens) : undefined;
}

function usage(input, cacheRead, cacheWrite, output) {
  return { input, cacheRead: cacheRead ?? 0, cacheWrite: cacheWrite ?? 0, output };
}

/** Input that was told together with what came from a cache. */
function withoutCached(input, cached, output) {
  const inside = Math.min(cached ?? 0, input ?? 0);
  return usage(input === undefined ? undefined : input - inside, inside, 0, output);
}

/** The usage object of OpenAI (chat, responses, embeddings), Anthropic, Gemini or Bedrock, and of their likes. */
function readUsage(told) {
  if ('promptTokenCount' in told || 'candidatesTokenCount' in told) return readGemini(told);
  if ('inputTokens' in told || 'outputTokens' in told) { // Bedrock
    return usage(count(told.inputTokens), count(told.cacheReadInputTokens), count(told.cacheWriteInputTokens),
      count(told.outputTokens));
  }
  const prompt = count(told.prompt_tokens);
  const completion = count(told.completion_tokens);
  if (prompt !== undefined || completion !== undefined) {
    return withoutCached(prompt, cachedOf(told.prompt_tokens_details), completion ?? 0);
  }
  const input = count(told.input_tokens);
  const output = count(told.output_tokens);
  const inside = cachedOf(told.input_tokens_details); // the Responses API counts what was cached among the input
  if (inside !== undefined) return withoutCached(input, inside, output);
  return usage(input, count(told.cache_read_input_tokens), count(told.cache_creation_input_tokens), output);
}

function readGemini(told) {
  const cached = count(told.cachedContentTokenCount) ?? 0;
  const given = count(told.promptTokenCount);
  const output = count(told.candidatesTokenCount);
  const thoughts = count(told.thoughtsTokenCount) ?? 0;
  return usage(given === undefined ? undefined : Math.max(given - cached, 0), cached, 0,
    output === undefined ? undefined : output + thoughts);
}

/** The usage object in an answer or in one event of a stream; null if there is none. */
function findUsage(value) {
  const answer = Array.isArray(value) && value.length > 0 ? value[value.length - 1] : value; // Gemini streams a list
  if (!isObject(answer)) return null;
  for (const place of [answer, answer.response, answer.message, answer.metadata]) {
    if (!isObject(place)) continue;
    const found = place.usage || place.usageMetadata;
    if (isObject(found)) return found;
  }
  return null;
}

/** The usage in a JSON body (a string or bytes); undefined if there is none, or the body is not JSON. */
function usageOf(body) {
  const read = parsed(body);
  const found = read === undefined ? null : findUsage(read);
  return found === null ? undefined : readUsage(found);
}

/** A body as JSON; undefined if it is none. */
function parsed(body) {
  try {
    if (typeof body === 'string') return JSON.parse(body);
    if (body instanceof ArrayBuffer) return JSON.parse(Buffer.from(body).toString());
    if (!ArrayBuffer.isView(body)) return undefined;
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
  } catch {
    return undefined;
  }
}

// -- What passes by of a body --

/** A JSON answer or an error: kept, for it is small and its reader keeps it too. */
class Whole {
  #parts = [];
  #room;
  #truncate;

  constructor(most, truncate) {
    this.#room = most;
    this.#truncate = truncate;
  }

  feed(chunk) {
    if (chunk.length > this.#room) {
      if (!this.#truncate) {
        this.#parts = [];
        this.#room = -1;
        return;
      }
      chunk = chunk.subarray(0, this.#room);
    }
    if (this.#room <= 0) return;
    this.#parts.push(Buffer.from(chunk)); // a copy: the chunk's memory goes on to the reader
    this.#room -= chunk.length;
  }

  body() {
    return Buffer.concat(this.#parts);
  }
}

// What to look for in a line.
const USAGE = /"usage(?:Metadata)?"\s*:\s*(?=\{)/g;
const ERROR = /"error"\s*:\s*\{|"type"\s*:\s*"(?:error|response\.failed)"/;
const END = /^data:\s*\[DONE\]|"type"\s*:\s*"(?:message_stop|response\.completed|response\.incomplete)"/;

/** Server-sent events: lines are looked at as they pass, and only those parsed that tell usage, an error or the end. */
class Events {
  #onError;
  #line = ''; // begun, not ended; bytes as latin1
  #cut = false; // whether its beginning was dropped
  usage = {};
  deltas = 0;
  told = false; // whether the usage is that of the whole answer
  ended = false;

  constructor(onError) {
    this.#onError = onError;
  }

  feed(chunk) {
    let text = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).latin1Slice();
    if (text.includes('\r')) text = text.replace(/\r\n?/g, '\n');
    const lines = text.split('\n');
    const last = lines.pop();
    if (lines.length > 0) {
      lines[0] = this.#line + lines[0];
      this.#line = '';
      for (const line of lines) this.#take(line);
    }
    this.#line += last;
    if (this.#line.length > LINE_MOST) {
      this.#line = this.#line.slice(-LINE_MOST / 2);
      this.#cut = true;
    }
  }

  finish() {
    this.#take(this.#line);
    this.#line = '';
  }

  #take(line) {
    const cut = this.#cut;
    this.#cut = false;
    if (line === '' || !(cut || line.startsWith('data:'))) return;
    if (line.includes('"delta"')) this.deltas++;
    if (line.includes('"usage')) this.#takeUsage(line, cut);
    if (END.test(line)) this.ended = true;
    else if (!cut && ERROR.test(line)) this.#takeError(line.slice(5).trim());
  }

  #takeUsage(line, cut) {
    const places = [...line.matchAll(USAGE)];
    if (places.length === 0) return;
    const last = places[places.length - 1];
    // the end of a long event: usage is its last object of that name
    const event = cut ? { usage: firstObject(line.slice(last.index + last[0].length)) } : firstObject(line.slice(5));
    const found = findUsage(event);
    if (found === null) return;
    for (const [name, value] of Object.entries(found)) {
      if (value !== null) this.usage[name] = value;
    }
    this.told = event.type !== 'message_start';
  }

  #takeError(data) {
    const event = firstObject(data);
    if (!isObject(event)) return;
    if (event.type === 'error' || event.type === 'response.failed' || isObject(event.error)) {
      this.#onError(Buffer.from(data, 'latin1'));
    }
  }
}

/** The JSON object that begins a text, whatever follows it; null if there is none. */
function firstObject(text) {
  try {
    return JSON.parse(text);
  } catch {
    const end = endOfObject(text);
    return end < 0 ? null : parsed(text.slice(0, end)) ?? null;
  }
}

function endOfObject(text) {
  let depth = 0;
  for (const { 0: mark, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (mark === '{') depth++;
    else if (mark === '}' && --depth === 0) return index + 1;
  }
  return -1;
}

// -- Compressed bodies, where the hook lies below the client's own decoder --

const FLUSH = { finishFlush: zlib.constants.Z_SYNC_FLUSH, maxOutputLength: JSON_MOST }; // what is there of a cut body
const BROTLI = { finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH, maxOutputLength: JSON_MOST };
const gunzip = (data) => zlib.gunzipSync(data, FLUSH);
const DECODERS = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: inflate,
  br: (data) => zlib.brotliDecompressSync(data, BROTLI),
  zstd: zlib.zstdDecompressSync && ((data) => zlib.zstdDecompressSync(data,
    { finishFlush: zlib.constants.ZSTD_e_flush, maxOutputLength: JSON_MOST })),
};

/** deflate, which some servers send without its header. */
function inflate(data) {
  try {
    return zlib.inflateSync(data, FLUSH);
  } catch (error) {
    if (error.code === 'ERR_BUFFER_TOO_LARGE') throw error;
    return zlib.inflateRawSync(data, FLUSH);
  }
}

/** A function that decodes a body with this Content-Encoding, as far as it came; undefined if that is not possible. */
function decoder(encoding) {
  return DECODERS[encoding.trim().toLowerCase()];
}

function isEncoded(encoding) {
  return encoding !== '' && encoding.trim().toLowerCase() !== 'identity';
}

/** A compressed body: kept, and given to its reader decoded once no more of it comes. */
class Compressed {
  #kept = new Whole(JSON_MOST, true);
  #decode;
  #reader;

  constructor(reader, decode) {
    this.#reader = reader;
    this.#decode = decode;
  }

  feed(chunk) {
    this.#kept.feed(chunk);
  }

  read() {
    const data = this.#kept.body();
    if (data.length > 0) this.#reader.feed(this.#decode(data));
    return this.#reader;
  }
}

module.exports = {
  Compressed, ERROR_MOST, Events, JSON_MOST, LINE_MOST, Whole, decoder, findUsage, isEncoded, isObject, isPlain, parsed,
  readUsage, usageOf,
};
