'use strict';

// What a request will cost, before it is sent: tokens of a text, and the cost of a whole request body.
//
// Rules are coarse on purpose; the response's usage settles the account, and a Route learns what the rules get wrong.

const native = require('../load.js');
const { AMOUNT_MAX, kindOf, nameOf, optionsOf, rangeError, shown, typeError } = require('./arguments.js');

const CHARACTERS_A_TOKEN = 4;
const TOKENS_A_WORD = [13, 10]; // a token is 1/1.3 words
const TOKENS_A_MESSAGE = 3; // what separates messages, and begins the reply: counted with a tokenizer only
const OUTPUT_EXPECTED = 256; // where a request names no maximum, and nobody knows better
const IMAGE_TOKENS = 1600; // about the most that a provider counts for an image
const IMAGE_TOKENS_LOW = 85; // detail: low
const AUDIO_BYTES_A_TOKEN = 1600; // ten tokens a second, 16 kB a second
const FILE_BYTES_A_TOKEN = 50; // a page of 100 kB: 2,000 tokens

const METERS = ['requests', 'inputTokens', 'outputTokens', 'microdollars', 'custom'];
const RULES = ['characters', 'words'];

// -- Texts --

function estimateTokens(text, options) {
  const { rule, tokenizer } = optionsOf(options, ['rule', 'tokenizer']);
  if (typeof text !== 'string') throw typeError(`text: must be a string, not ${kindOf(text)}`);
  return new Counter(tokenizer, rule).total([text]);
}

/** Code points, with half a surrogate pair as one: what other languages count as characters. */
function characters(text) {
  let count = text.length;
  for (let i = 1; i < text.length; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xdc00 && (text.charCodeAt(i - 1) & 0xfc00) === 0xd800) count--;
  }
  return count;
}

// White space as Unicode has it, and the four separators of ASCII: not quite \s.
const WORD = /[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;

function words(text) {
  const found = text.match(WORD);
  return found === null ? 0 : found.length;
}

function sum(texts, count) {
  return texts.reduce((total, text) => total + count(text), 0);
}

// Two libraries refuse what looks like a special token unless told otherwise: one by two lists, one by an option.
const NONE_SPECIAL = Object.assign([], { disallowedSpecial: new Set() });

/** A function that encodes, of a tokenizer; a method goes first: some can also be called, and then return else. */
function encoderOf(tokenizer) {
  if (tokenizer === undefined || tokenizer === null) return null;
  const usable = typeof tokenizer === 'function' || typeof tokenizer === 'object';
  for (const name of usable ? ['encode_ordinary', 'encodeOrdinary', 'encode'] : []) {
    if (typeof tokenizer[name] !== 'function') continue;
    return name === 'encode' ? (text) => tokenizer.encode(text, NONE_SPECIAL, []) : (text) => tokenizer[name](text);
  }
  if (typeof tokenizer === 'function') return tokenizer;
  throw typeError(`tokenizer: must be a function of a text or have a method encode, not ${shown(tokenizer)}`);
}

/** Counts the tokens of texts by one rule. */
class Counter {
  constructor(tokenizer, rule = 'characters') {
    this.rule = nameOf('rule', rule, RULES);
    this.encode = encoderOf(tokenizer);
  }

  total(texts) {
    if (this.encode !== null) return Math.min(sum(texts, (text) => tokensBy(this.encode, text)), AMOUNT_MAX);
    if (this.rule === 'words') {
      return Math.min(Math.ceil(sum(texts, words) * TOKENS_A_WORD[0] / TOKENS_A_WORD[1]), AMOUNT_MAX);
    }
    return Math.min(Math.ceil(sum(texts, characters) / CHARACTERS_A_TOKEN), AMOUNT_MAX);
  }
}

function tokensBy(encode, text) {
  const tokens = encode(text);
  if (Number.isInteger(tokens)) {
    if (tokens < 0) throw rangeError(`tokenizer: returned ${tokens} for a text of ${characters(text)} characters`);
    return tokens;
  }
  const length = tokens !== null && typeof tokens === 'object' ? tokens.length ?? tokens.size : undefined;
  if (Number.isInteger(length)) return length;
  throw typeError(`tokenizer: must return a number or the tokens, not ${
    typeof tokens === 'number' ? tokens : kindOf(tokens)}`);
}

// -- Bodies --

// Keys whose values are not part of the prompt, or are counted elsewhere.
const NOT_TEXT = new Set([
  'type', 'role', 'id', 'index', 'status', 'cache_control', 'cachePoint', 'signature', 'thoughtSignature',
  'tool_use_id', 'toolUseId', 'tool_call_id', 'call_id', 'encrypted_content', 'file_id', 'container', 'citations',
  'annotations', 'logprobs', 'detail', 'media_type', 'mime_type', 'mimeType', 'format']);
const IMAGES = new Set(['image', 'image_url', 'input_image']);
const FILES = new Set(['input_audio', 'audio', 'input_file', 'file', 'document', 'video', 'inlineData', 'inline_data',
  'fileData', 'file_data']);
const AS_JSON = new Set(['input', 'args', 'arguments', 'parameters', 'json', 'response']);
// Members of the body that are sent as JSON, or as good as.
const SCHEMAS = ['tools', 'functions', 'response_format', 'toolConfig', 'output_config', 'output_format'];
const PROMPTS = ['messages', 'input', 'prompt', 'contents', 'system', 'instructions', 'systemInstruction',
  'system_instruction'];

/** An object that JSON would write with braces. */
function isMapping(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !ArrayBuffer.isView(value) &&
    !(value instanceof ArrayBuffer);
}

/** A number that JSON would write without a point; true and false too, as they are numbers to others. */
function isWhole(value) {
  return Number.isInteger(value) || typeof value === 'boolean' || typeof value === 'bigint';
}

function isEmpty(value) {
  if (!value) return true;
  return typeof value === 'object' && (Array.isArray(value) ? value : Object.keys(value)).length === 0;
}

/** Gathers what a body holds: texts, messages, and tokens of what is not text. */
class Prompt {
  constructor() {
    this.texts = [];
    this.messages = 0;
    this.tokens = 0;
  }

  /** A text, a part, or a list of them. Numbers in a list are tokens. */
  add(value) {
    if (typeof value === 'string') this.addText(value);
    else if (Array.isArray(value)) {
      for (const item of value) {
        if (isWhole(item)) this.tokens += 1;
        else this.add(item);
      }
    } else if (isMapping(value)) this.addPart(value);
  }

  addJson(value) {
    if (isEmpty(value)) return;
    const written = JSON.stringify(value, (key, inner) => (typeof inner === 'bigint' ? Number(inner) : inner));
    if (written === undefined) return;
    // JSON.stringify writes half a surrogate pair as an escape of six characters: it is one.
    this.texts.push(written.includes('\\ud') ?
      written.replace(/\\(?:(ud[0-9a-f]{3})|.)/g, (escape, half) => (half ? '\ufffd' : escape)) : written);
  }

  addText(text) {
    if (text.startsWith('data:') && text.slice(0, 128).includes(';base64,')) {
      const end = text.indexOf(';');
      this.addData(text.slice(5, end), characters(text) - characters(text.slice(0, end + 1)));
    } else this.texts.push(text);
  }

  addPart(part) {
    const kind = typeof part.type === 'string' ? part.type : '';
    if (part.role !== undefined) this.messages += 1;
    if (IMAGES.has(kind) || (kind === '' && part.image !== undefined)) this.addImage(part);
    else if (FILES.has(kind)) this.addFile(part);
    else for (const [key, value] of Object.entries(part)) this.addMember(key, value);
  }

  addMember(key, value) {
    if (FILES.has(key) && isMapping(value)) this.addFile({ [key]: value });
    else if (AS_JSON.has(key) && typeof value !== 'string') this.addJson(value);
    else if (!NOT_TEXT.has(key)) this.add(value);
  }

  addImage(part) {
    const image = part.image_url;
    const detail = !isEmpty(part.detail) ? part.detail : isMapping(image) ? image.detail : undefined;
    this.tokens += detail === 'low' ? IMAGE_TOKENS_LOW : IMAGE_TOKENS;
  }

  /** A file in one of many forms: its text where there is one, else by its size, else as one image. */
  addFile(part) {
    const [tokens, texts] = [this.tokens, this.texts.length];
    const places = [part];
    let kind = '';
    while (places.length > 0) {
      const place = places.pop();
      const named = [place.media_type, place.mime_type, place.mimeType, place.format].find((name) => !isEmpty(name));
      if (typeof named === 'string') kind = named;
      for (const [key, value] of Object.entries(place)) {
        if (isMapping(value)) {
          if (kind === '' && key !== 'source') kind = key;
          places.push(value);
        } else this.addFileMember(key, value, kind, place.type === 'text');
      }
    }
    if (this.tokens === tokens && this.texts.length === texts) this.tokens += IMAGE_TOKENS;
  }

  addFileMember(key, value, kind, isText) {
    if (['content', 'text', 'title', 'context'].includes(key) || (isText && key === 'data')) this.add(value);
    else if (['data', 'bytes', 'file_data'].includes(key)) {
      if (typeof value === 'string') this.addData(kind, characters(value));
      else if (ArrayBuffer.isView(value)) this.addData(kind, value.byteLength);
    }
  }

  addData(kind, base64Characters) {
    const size = Math.floor(base64Characters * 3 / 4);
    if (kind.startsWith('image')) this.tokens += IMAGE_TOKENS;
    else if (kind.includes('audio') || ['wav', 'mp3', 'pcm16'].includes(kind)) {
      this.tokens += Math.ceil(size / AUDIO_BYTES_A_TOKEN);
    } else this.tokens += Math.max(Math.ceil(size / FILE_BYTES_A_TOKEN), IMAGE_TOKENS);
  }
}

function readPrompt(body) {
  if (!PROMPTS.slice(0, 4).some((name) => body[name] !== undefined && body[name] !== null)) {
    throw rangeError('body: has none of messages, input, prompt, contents: not a request whose cost is known');
  }
  const prompt = new Prompt();
  for (const name of PROMPTS) prompt.add(body[name]);
  for (const name of SCHEMAS) prompt.addJson(body[name]);
  if (isMapping(body.text)) prompt.addJson(body.text.format); // of the responses API: the format of the answer
  return prompt;
}

/** A number of at least 1, else 0: a server answers for what makes no sense. */
function whole(value) {
  const number = typeof value === 'bigint' ? Number(value) : value;
  return Number.isInteger(number) && number > 0 ? Math.min(number, AMOUNT_MAX) : 0;
}

/** The most output tokens that the body asks for, of all its answers; 0 if it names none. */
function readMaximum(body) {
  let maximum = whole(body.max_completion_tokens) || whole(body.max_output_tokens) || whole(body.max_tokens);
  let answers = Math.max(whole(body.n), whole(body.best_of), 1);
  for (const [place, name] of [['inferenceConfig', 'maxTokens'], ['generationConfig', 'maxOutputTokens'],
    ['generation_config', 'max_output_tokens']]) {
    const config = body[place];
    if (!isMapping(config)) continue;
    maximum = maximum || whole(config[name]);
    answers = Math.max(answers, whole(config.candidateCount));
  }
  return Math.min(maximum * answers, AMOUNT_MAX);
}

function isEmbedding(body) {
  const { input, model = '' } = body;
  const named = typeof model === 'string' ? model : JSON.stringify(model) ?? '';
  if (named.toLowerCase().includes('embed') || body.encoding_format !== undefined || body.dimensions !== undefined) {
    return input !== undefined && input !== null;
  }
  return Array.isArray(input) && input.length > 0 &&
    input.every((item) => typeof item === 'string' || isWhole(item) || Array.isArray(item));
}

// -- Costs --

const COST_OPTIONS = ['provider', 'tokenizer', 'rule', 'route', 'expectedOutput', 'inputPrice', 'outputPrice'];

function requestCost(body, options) {
  const given = optionsOf(options, COST_OPTIONS);
  const named = expectedOf(given.expectedOutput);
  const route = given.route ?? null;
  if (route !== null &&
    typeof route.estimate !== 'function') throw typeError(`route: must be a Route, not ${kindOf(route)}`);
  const read = decode(body);
  const prompt = readPrompt(read);
  const counter = new Counter(given.tokenizer, given.rule);
  let input = counter.total(prompt.texts) + prompt.tokens;
  if (counter.encode !== null && prompt.messages > 0) input += TOKENS_A_MESSAGE * (prompt.messages + 1);
  input = Math.min(input, AMOUNT_MAX);
  const maximum = readMaximum(read);
  let expected = isEmbedding(read) ? 0 : named || maximum || OUTPUT_EXPECTED;
  if (route !== null) {
    const corrected = route.estimate({ inputTokens: input, outputTokens: expected });
    input = corrected.inputTokens ?? 0;
    expected = corrected.outputTokens ?? 0;
  }
  const cost = costFrom(native.httpEstimate(given.provider ?? 'generic',
    { inputTokens: input, outputMax: maximum, outputExpected: expected }));
  if (given.inputPrice === undefined && given.outputPrice === undefined) return cost;
  return priced(cost, { inputPrice: given.inputPrice, outputPrice: given.outputPrice });
}

function expectedOf(value) {
  if (value === undefined || value === null) return 0;
  if (typeof value !== 'number') throw typeError(`expectedOutput: must be a whole number, not ${kindOf(value)}`);
  if (whole(value) === 0 || whole(value) !== value) throw rangeError(`expectedOutput: must be 1 to 2^40, not ${value}`);
  return value;
}

/** Only what is not 0, but requests always. Frozen: several calls may share it. */
function costFrom(amounts) {
  const cost = { requests: amounts.requests ?? 1 };
  for (const meter of METERS) if (amounts[meter] > 0) cost[meter] = amounts[meter];
  return Object.freeze(cost);
}

function priced(cost, prices) {
  const { inputPrice, outputPrice } = optionsOf(prices, ['inputPrice', 'outputPrice'], 'prices');
  const given = optionsOf(cost, METERS, 'cost');
  for (const [name, amount] of Object.entries(given)) {
    if (amount === undefined) continue;
    if (typeof amount !== 'number') throw typeError(`${name}: must be a whole number, not ${kindOf(amount)}`);
    if (!Number.isInteger(amount) || amount < 0 || amount > AMOUNT_MAX) {
      throw rangeError(`${name}: must be 0 to 2^40, not ${amount}`);
    }
  }
  const { inputTokens = 0, outputTokens = 0 } = given;
  const [taken, made] = [priceOf('inputPrice', inputPrice ?? 0), priceOf('outputPrice', outputPrice ?? 0)];
  const scale = taken.scale > made.scale ? taken.scale : made.scale;
  const exact = BigInt(inputTokens) * taken.digits * (scale / taken.scale) +
    BigInt(outputTokens) * made.digits * (scale / made.scale);
  const microdollars = Math.min(Number((exact + scale - 1n) / scale), AMOUNT_MAX);
  return costFrom({ ...given, microdollars });
}

/** A price in dollars for a million tokens, which is microdollars a token, exactly as it is written: digits / scale. */
function priceOf(name, price) {
  if (typeof price !== 'number') {
    throw typeError(`${name}: must be a number of dollars for a million tokens, not ${kindOf(price)}`);
  }
  if (!(price >= 0 && price <= 1e9)) {
    throw rangeError(`${name}: must be 0 to 10^9 dollars for a million tokens, not ${price}`);
  }
  const [, integer, fraction = '', exponent = '0'] = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(price));
  const places = fraction.length - Number(exponent);
  return { digits: BigInt(integer + fraction), scale: 10n ** BigInt(places) };
}

function decode(body) {
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) {
    if (isMapping(body)) return body;
    throw typeError(`body: must be an object, or JSON as a string or bytes, not ${kindOf(body)}`);
  }
  let read;
  try {
    read = JSON.parse(typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw rangeError(`body: not JSON: ${error.message}`);
  }
  if (!isMapping(read)) throw rangeError(`body: JSON of ${kindOf(read)}, not an object`);
  return read;
}

module.exports = { estimateTokens, requestCost, priced, priceOf };
