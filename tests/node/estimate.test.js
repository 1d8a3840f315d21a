'use strict';

// estimateTokens, requestCost and priced: the rules as stated, and the same numbers as Python's for the same bodies.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const fc = require('fast-check');
const { Route, estimateTokens, priced, requestCost } = require('rlimit');
const { MISSING, python } = require('./python.js');

const isTypeError = (field) => ({ name: 'TypeError', code: 'RLIMIT_ARGUMENT', message: new RegExp(`^${field}: `) });
const isRangeError = (field) => ({ name: 'RangeError', message: new RegExp(`^${field}: `) });

// -- Texts --

test('a token is four characters, rounded up', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
    assert.equal(estimateTokens(text), Math.ceil([...text].length / 4));
  }));
});

test('a word is 1.3 tokens, rounded up', () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1 })), (words) => {
    assert.equal(estimateTokens(words.join(' \n'), { rule: 'words' }), Math.ceil(words.length * 13 / 10));
  }));
});

test('empty texts cost nothing', () => {
  assert.equal(estimateTokens(''), 0);
  assert.equal(estimateTokens('  ', { rule: 'words' }), 0);
  assert.equal(estimateTokens('', { tokenizer: (text) => text.length }), 0);
});

test('a tokenizer counts exactly', () => {
  const callable = Object.assign(() => ({ input_ids: [] }), { encode: (text) => text.split(' ') });
  const careful = {
    encode() {
      throw new Error('disallowed special token');
    },
    encode_ordinary: (text) => new Uint32Array(text.length),
  };
  for (const [tokenizer, tokens] of [[(text) => text.length, 11], [(text) => text.split(' '), 2], [callable, 2],
    [careful, 11], [{ encode: (text) => new Set(text) }, 8], [() => 7, 7]]) {
    assert.equal(estimateTokens('hello world', { tokenizer }), tokens);
  }
});

test('what looks like a special token is text to the method encode', () => {
  const byLists = { encode: (text, allowed = [], disallowed = 'all') => (disallowed === 'all' ? fail() : [...text]) };
  const byOption = { encode: (text, { disallowedSpecial = 'all' } = {}) => (disallowedSpecial === 'all' ?
    fail() : [...text]) };
  const fail = () => {
    throw new Error('special');
  };
  for (const tokenizer of [byLists, byOption]) assert.equal(estimateTokens('ab<|end|>', { tokenizer }), 9);
});

test('what will not do is named', () => {
  for (const tokenizer of ['gpt-4o', 3, {}, true, () => null, () => 1.5, () => true, () => 'tokens']) {
    assert.throws(() => estimateTokens('hello', { tokenizer }), isTypeError('tokenizer'));
  }
  assert.throws(() => estimateTokens('hello', { tokenizer: () => -1 }), isRangeError('tokenizer'));
  for (const text of [null, undefined, 5, ['hello']]) assert.throws(() => estimateTokens(text), isTypeError('text'));
  assert.throws(() => estimateTokens('hello', { rule: 'letters' }), /^RangeError: rule: .*'letters'/);
  assert.throws(() => estimateTokens('hello', { method: 'words' }), isTypeError('method'));
});

// -- Bodies: text --

const chat = (contents, more) =>
  ({ model: 'm', messages: contents.map((content) => ({ role: 'user', content })), ...more });
const TEXT = 'x'.repeat(41);
const FORTY = 'x'.repeat(40);
const TEXTS = [
  chat([TEXT]),
  chat(['x'.repeat(20), 'x'.repeat(21)]), // of all texts together, not rounded up each
  chat([[{ type: 'text', text: TEXT }]]),
  chat([[{ type: 'text', text: FORTY, cache_control: { type: 'ephemeral' } }, { type: 'text', text: 'x' }]]),
  { system: FORTY, messages: [{ role: 'user', content: 'x' }] },
  { system: [{ type: 'text', text: FORTY }], messages: [{ role: 'user', content: 'x' }] },
  { messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1234', content: TEXT }] }] },
  { messages: [{ role: 'assistant', content: null,
    tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'x', arguments: FORTY } }] }] },
  { messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'x'.repeat(39), input: {} },
    { type: 'text', text: 'xx' }] }] },
  { messages: [{ role: 'assistant', content: [{ type: 'thinking', thinking: TEXT, signature: 's'.repeat(400) }] }] },
  { input: TEXT },
  { input: [{ role: 'user', content: FORTY }], instructions: 'x' },
  { input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: TEXT }] }] },
  { input: [{ type: 'function_call_output', call_id: 'c', output: TEXT }] },
  { prompt: TEXT },
  { prompt: [FORTY, 'x'] },
  { input: [FORTY, 'x'], model: 'e' },
  { contents: [{ role: 'user', parts: [{ text: FORTY }] }], systemInstruction: { parts: [{ text: 'x' }] } },
  { messages: [{ role: 'user', content: [{ text: FORTY }] }], system: [{ text: 'x' }], inferenceConfig: {
    maxTokens: 9 } },
  { messages: [{ role: 'user', content: [{ type: 'document',
    source: { type: 'text', media_type: 'text/plain', data: TEXT } }] }] },
  { messages: [{ role: 'user', content: [{ type: 'document',
    source: { type: 'content', content: [{ type: 'text', text: TEXT }] } }] }] },
];

test('all texts of a body are counted, and nothing else', () => {
  for (const body of TEXTS) {
    const cost = requestCost(body);
    assert.equal(cost.inputTokens, 11, JSON.stringify(body));
    assert.deepEqual(requestCost(JSON.stringify(body)), cost);
    assert.deepEqual(requestCost(Buffer.from(JSON.stringify(body))), cost);
  }
});

test('a tokenizer counts each text, and three a message', () => {
  const tokenizer = (text) => text.split(/\s+/).length;
  const body = chat(['one two', 'three'], { tools: [{ name: 'a b' }] });
  assert.equal(requestCost(body, { tokenizer }).inputTokens, 2 + 1 + 2 + 3 * 2 + 3);
  assert.equal(requestCost({ prompt: 'one two' }, { tokenizer }).inputTokens, 2);
  assert.equal(requestCost(chat(['one two']), { rule: 'words' }).inputTokens, 3);
});

// -- Bodies: what is not text, and output --

const DATA = Buffer.alloc(48000).toString('base64');
const PARTS = [
  [{ type: 'image_url', image_url: { url: `data:image/png;base64,${DATA}` } }, 1600],
  [{ type: 'image_url', image_url: { url: 'https://example.com/x.png', detail: 'low' } }, 85],
  [{ type: 'input_image', image_url: `data:image/png;base64,${DATA}`, detail: 'low' }, 85],
  [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: DATA } }, 1600],
  [{ image: { format: 'png', source: { bytes: DATA } } }, 1600],
  [{ inlineData: { mimeType: 'image/png', data: DATA } }, 1600],
  [{ inline_data: { mime_type: 'audio/mp3', data: DATA } }, 30],
  [{ type: 'input_audio', input_audio: { format: 'wav', data: DATA } }, 30],
  [{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: DATA } }, 1600],
  [{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: DATA.repeat(10) } }, 9600],
  [{ type: 'document', source: { type: 'url', url: `https://example.com/${'x'.repeat(1000)}` } }, 1600],
  [{ type: 'file', file: { file_data: `data:application/pdf;base64,${DATA.repeat(10)}` } }, 9601],
  [{ type: 'input_file', file_id: 'file-123' }, 1600],
  [{ fileData: { mimeType: 'video/mp4', fileUri: 'gs://x' } }, 1600],
  [{ type: 'text', text: `data:image/png;base64,${DATA}` }, 1600],
  [{ type: 'something_new', words: FORTY, inner: { list: ['x'] } }, 11],
  [{}, undefined],
];

test('what is not text is counted by rule', () => {
  for (const [part, tokens] of PARTS) {
    assert.equal(requestCost(chat([[part]])).inputTokens, tokens, JSON.stringify(part).slice(0, 80));
    assert.equal(requestCost({ contents: [{ parts: [part] }] }).inputTokens, tokens);
  }
});

const OUTPUTS = [
  [{ max_tokens: 50 }, 50], [{ max_completion_tokens: 50 }, 50], [{ max_output_tokens: 50 }, 50],
  [{ max_completion_tokens: 50, max_tokens: 70 }, 50], [{ max_tokens: null }, 256], [{ max_tokens: 0 }, 256],
  [{ max_tokens: -5 }, 256], [{ max_tokens: true }, 256], [{ max_tokens: '9' }, 256], [{ max_tokens: 50, n: 3 }, 150],
  [{ max_tokens: 50, best_of: 2, n: 1 }, 100], [{ max_tokens: 2 ** 50 }, 2 ** 40],
  [{ max_tokens: 2 ** 39, n: 2 ** 39 }, 2 ** 40], [{ inferenceConfig: { maxTokens: 7 } }, 7],
  [{ generationConfig: { maxOutputTokens: 7, candidateCount: 2 } }, 14], [{}, 256]];

test('output is the maximum that is named', () => {
  for (const [more, tokens] of OUTPUTS) assert.equal(requestCost(chat(['hello'], more)).outputTokens, tokens);
});

test('the output that is expected counts where nothing is reserved', () => {
  const cost = (provider, expectedOutput, body = chat(['hello'], { max_tokens: 1000 })) =>
    requestCost(body, { provider, expectedOutput }).outputTokens;
  assert.equal(cost('anthropic'), 1000); // nobody knows better
  assert.equal(cost('anthropic', 300), 300);
  assert.equal(cost('anthropic', 3000), 1000);
  assert.equal(cost('openai', 300), 1000); // reserved by the server
  assert.equal(cost('openai', 300, chat(['hello'])), 300);
  for (const bad of [0, -1, 1.5, 2 ** 41, NaN]) assert.throws(() => cost('openai', bad),
    isRangeError('expectedOutput'));
  for (const bad of ['many', true, 5n]) assert.throws(() => cost('openai', bad), isTypeError('expectedOutput'));
});

test('embeddings have no output', () => {
  for (const body of [{ input: 'x', model: 'text-embedding-3' }, { input: ['x'] }, { input: [1, 2] },
    { input: 'x', dimensions: 8 }]) {
    assert.equal(requestCost(body).outputTokens, undefined);
  }
});

test('a route corrects the estimate', { skip: Route === undefined && 'no Route yet' }, () => {
  const route = new Route();
  const body = chat(['x'.repeat(4000)], { max_tokens: 4000 });
  for (let i = 0; i < 40; i++) {
    route.learn({ inputTokens: 1000, outputTokens: 4000 }, { inputTokens: 1500, outputTokens: 100 });
  }
  assert.deepEqual(requestCost(body, { provider: 'anthropic' }), { requests: 1, inputTokens: 1000,
    outputTokens: 4000 });
  const learned = requestCost(body, { provider: 'anthropic', route });
  assert.ok(learned.inputTokens >= 1400 && learned.inputTokens <= 1700, String(learned.inputTokens));
  assert.ok(learned.outputTokens >= 80 && learned.outputTokens <= 130, String(learned.outputTokens));
  assert.equal(requestCost(body, { provider: 'openai', route }).outputTokens, 4000);
});

test('what is no request is refused', () => {
  for (const body of [{}, { model: 'm' }, { messages: null }, '{', '[1]', Buffer.from([0xff])]) {
    assert.throws(() => requestCost(body), isRangeError('body'));
  }
  for (const body of [null, undefined, 5, []]) assert.throws(() => requestCost(body), isTypeError('body'));
  assert.throws(() => requestCost(chat(['x']), { provider: 'nobody' }), { name: 'RangeError', message: /nobody/ });
  assert.throws(() => requestCost(chat(['x']), { providr: 'openai' }), isTypeError('providr'));
});

// -- Costs --

test('a cost holds what is not nothing, and cannot be changed', () => {
  const cost = requestCost(chat(['hello'], { max_tokens: 5 }));
  assert.deepEqual(Object.entries(cost), [['requests', 1], ['inputTokens', 2], ['outputTokens', 5]]);
  assert.ok(Object.isFrozen(cost));
});

const PRICES = [[3, 15, 4500], [0.25, 1.25, 375], [0.1, 0, 100], [0.0001, 0, 1], [1e-7, 0, 1], [0, 0, 0]];

test('prices are exact, and rounded up', () => {
  for (const [inputPrice, outputPrice, microdollars] of PRICES) {
    const cost = priced({ inputTokens: 1000, outputTokens: 100 }, { inputPrice, outputPrice });
    assert.equal(cost.microdollars ?? 0, microdollars);
  }
  const body = chat(['x'.repeat(4000)], { max_tokens: 100 });
  assert.equal(requestCost(body, { inputPrice: 3, outputPrice: 15 }).microdollars, 4500);
});

test('bad prices and amounts are named', () => {
  for (const price of [-1, NaN, Infinity]) assert.throws(() => priced({}, { outputPrice: price }),
    isRangeError('outputPrice'));
  for (const price of ['3', true, 3n]) assert.throws(() => priced({}, { outputPrice: price }),
    isTypeError('outputPrice'));
  assert.throws(() => priced({ custom: -1 }, {}), isRangeError('custom'));
  assert.throws(() => priced({ inputTokens: '1' }, {}), isTypeError('inputTokens'));
  assert.throws(() => priced({ tokens: 1 }, {}), isTypeError('tokens'));
});

// -- As Python --

const COSTS = `
from rlimit import RequestCost
def cost(case):
    try:
        return dict(RequestCost.of(case["body"], provider=case.get("provider"), method=case.get("rule", "characters"),
                                   expected_output=case.get("expected")))
    except (ValueError, TypeError) as error:
        return type(error).__name__
print(json.dumps([cost(case) for case in given]))`;
const NAMES = { requests: 'requests', inputTokens: 'input_tokens', outputTokens: 'output_tokens' };

function costOf({ body, provider, rule, expected }) {
  try {
    const cost = requestCost(body, { provider, rule, expectedOutput: expected });
    return Object.fromEntries(Object.entries(cost).map(([name, amount]) => [NAMES[name], amount]));
  } catch (error) {
    return { RangeError: 'ValueError' }[error.name] ?? error.name;
  }
}

function assertAsPython(cases) {
  const expected = python(COSTS, cases);
  cases.forEach((one, i) => assert.deepEqual(costOf(one), expected[i], JSON.stringify(one).slice(0, 2000)));
}

test('bodies cost what they cost in Python', { skip: MISSING }, () => {
  const bodies = [...TEXTS, ...PARTS.map(([part]) => chat([[part]])), ...OUTPUTS.map(([more]) => chat(['hello'], more)),
    chat(['\u{1f600} \ud800 \u3000\u0085 a\u001cb\ufeffc']), chat(['x'], { tools: [{ name: '\ud800"\\\u0007\u2028',
      n: 0.5 }] }),
    { messages: [] }, {}, chat(['x'], { response_format: {}, functions: [] })];
  const cases = [];
  for (const provider of ['generic', 'openai', 'anthropic', 'azure', 'bedrock', 'gemini', 'groq', 'cerebras',
    'openrouter',
    'litellm']) {
    for (const body of bodies) cases.push({ body, provider }, { body, provider, rule: 'words', expected: 70 });
  }
  assertAsPython(cases);
});

test('any body costs what it costs in Python', { skip: MISSING }, () => {
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 12 }),
    fc.constantFrom('text', 'image', 'document', 'low', 'data:image/png;base64,AAAA', 'data:audio/wav;base64,AAAA',
      'data:;base64,'));
  const keys = fc.constantFrom('type', 'text', 'content', 'image', 'image_url', 'detail', 'source', 'data', 'bytes',
    'file',
    'input', 'role', 'parts', 'arguments', 'media_type', 'format', 'input_audio', 'title');
  const { junk } = fc.letrec((tie) => ({
    junk: fc.oneof({ maxDepth: 5, withCrossShrink: true }, text, fc.integer({ min: -9, max: 9999 }), fc.boolean(),
      fc.constant(null), fc.constant(0.5), fc.array(tie('junk'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(keys, fc.constantFrom('a', '\u00e9')), tie('junk'), { maxKeys: 4 })),
  }));
  const body = fc.dictionary(fc.constantFrom('messages', 'input', 'prompt', 'contents', 'system', 'tools',
    'max_tokens', 'n',
    'text', 'model', 'response_format', 'generationConfig'), junk);
  const rule = fc.constantFrom('characters', 'words');
  const provider = fc.constantFrom('generic', 'anthropic', 'gemini');
  const seed = Number(process.env.RLIMIT_SEED ?? Date.now() % 2 ** 31);
  const cases = fc.sample(fc.record({ body, rule, provider }), { numRuns: 4000, seed });
  try {
    assertAsPython(JSON.parse(JSON.stringify(cases)));
  } catch (error) {
    error.message += `\nseed ${seed}`;
    throw error;
  }
});

test('texts and prices count as in Python', { skip: MISSING }, () => {
  const texts = fc.sample(fc.string({ unit: 'binary', maxLength: 30 }), 500);
  const amounts = fc.sample(fc.tuple(fc.nat(1e6), fc.nat(1e6), fc.double({ min: 0, max: 1e9, noNaN: true }),
    fc.double({ min: 0, max: 100, noNaN: true })), 500);
  const [tokens, words, microdollars] = python(`
from rlimit import RequestCost, estimate_tokens
texts, amounts = given
print(json.dumps([[estimate_tokens(text) for text in texts], [estimate_tokens(text, method="words") for text in texts],
    [RequestCost(input_tokens=i, output_tokens=o).priced(p, q).microdollars for i, o, p,
      q in amounts]]))`, [texts, amounts]);
  assert.deepEqual(texts.map((text) => estimateTokens(text)), tokens);
  assert.deepEqual(texts.map((text) => estimateTokens(text, { rule: 'words' })), words);
  assert.deepEqual(amounts.map(([inputTokens, outputTokens, inputPrice, outputPrice]) =>
    priced({ inputTokens, outputTokens }, { inputPrice, outputPrice }).microdollars ?? 0), microdollars);
});
