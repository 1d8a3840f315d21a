// Support tickets through the SDKs of OpenAI and Anthropic against the referee: the usual way, and with one more line.
//
//     node demo.mjs      needs npm install here, and tests/relay/requirements.txt (PYTHON: a Python that has it)
//
// Half of 400 tickets of examples/tickets.jsonl goes to an OpenAI endpoint, half to an Anthropic one, at the same time. The
// referee charges max_tokens when it admits a request, and gives back what was not used. Exits with 1 unless the limited run
// completes every ticket without a single 429.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { Limiter, map, per, wrap } from 'rlimit';

const tests = fileURLToPath(new URL('../../tests', import.meta.url));
const tickets = fileURLToPath(new URL('../tickets.jsonl', import.meta.url));
const python = process.env.PYTHON ?? 'python3';
const MAX_TOKENS = 256;
const PERIOD_S = 3;
const REFILLS = 2; // how often the quota is refilled until it suffices
const AT_ONCE = 64;

/** A relay, in a process of its own, with limits for each period. */
async function referee(folder, name, limits) {
  const portFile = join(folder, name);
  const words = Object.entries(limits).flatMap(([option, limit]) => [`--${option}`, String(Math.floor(limit * 60 / PERIOD_S))]);
  const child = spawn(python, ['-m', 'relay', '--port', '0', '--port-file', portFile, '--policy', 'bucket', '--charge', 'actual',
    '--period', String(PERIOD_S), '--latency-ms', '20:200', '--network-ms', '0:10', ...words],
  { cwd: tests, stdio: ['ignore', 'ignore', 'inherit'] });
  for (let tries = 0; !existsSync(portFile); tries++) {
    if (child.exitCode !== null || tries > 1000) throw new Error('the referee did not start');
    await sleep(20);
  }
  const url = `http://127.0.0.1:${readFileSync(portFile, 'utf8')}`;
  return {
    url,
    stats: async () => (await (await fetch(url + '/_stats')).json()).total,
    reset: () => fetch(url + '/_reset', { method: 'POST' }),
    close: async () => child.kill() && await once(child, 'exit'),
  };
}

/** Limits a period, of requests, input and output tokens, so that the output binds. */
function quota(prompts) {
  const given = prompts.reduce((sum, prompt) => sum + Math.ceil([...prompt].length / 4), 0);
  return [prompts.length, given, Math.max(Math.floor(prompts.length * MAX_TOKENS / 2 / (1 + REFILLS)), MAX_TOKENS)];
}

const byOpenAI = (client, content) =>
  client.chat.completions.create({ model: 'demo', max_tokens: MAX_TOKENS, messages: [{ role: 'user', content }] });
const byAnthropic = (client, content) =>
  client.messages.create({ model: 'demo', max_tokens: MAX_TOKENS, messages: [{ role: 'user', content }] });

async function send(client, ask, prompts) {
  let completed = 0;
  for await (const outcome of map(prompts, (prompt) => ask(client, prompt), { concurrency: AT_ONCE, ordered: false })) {
    if (outcome.ok) completed++;
    else if (outcome.error.status !== 429) throw outcome.error;
  }
  return completed;
}

/** The figures of a run, by package; the number of 429s is the referee's. */
async function run(relays, prompts, limited) {
  await Promise.all(Object.values(relays).map((relay) => relay.reset()));
  const chat = new OpenAI({ baseURL: relays.openai.url + '/v1', apiKey: 'demo' });
  const claude = new Anthropic({ baseURL: relays.anthropic.url, apiKey: 'demo' });
  if (limited) {
    wrap(chat, new Limiter({ provider: 'litellm' })); // a relay that gives back what was not used; its limits are learned
    const limits = quota(prompts.anthropic).map((amount) => per(amount, PERIOD_S * 1000, { guard: 100 }));
    const [requests, inputTokens, outputTokens] = limits;
    wrap(claude, new Limiter({ requests, inputTokens, outputTokens }), { reservesOutput: true });
  }
  const began = performance.now();
  const completed = await Promise.all([send(chat, byOpenAI, prompts.openai), send(claude, byAnthropic, prompts.anthropic)]);
  const seconds = (performance.now() - began) / 1000;
  const figures = {};
  for (const [index, [name, relay]] of Object.entries(relays).entries()) {
    const { refused, received } = await relay.stats();
    const sum = Object.values(refused).reduce((total, n) => total + n, 0);
    figures[name] = { completed: completed[index], of: prompts[name].length, refused: sum, sent: received, seconds };
  }
  return figures;
}

const ROWS = [['tickets completed', (one) => `${one.completed} of ${one.of}`], ['429s', (one) => `${one.refused}`],
  ['requests sent', (one) => `${one.sent}`]];

function show(usual, limited) {
  const line = (label, left, right) => console.log(label.padEnd(34) + left.padStart(14) + right.padStart(14));
  console.log();
  line('', 'usual way', 'rlimit');
  for (const name of Object.keys(usual)) {
    for (const [label, text] of ROWS) line(`${name}: ${label}`, text(usual[name]), text(limited[name]));
  }
  line('seconds', usual.openai.seconds.toFixed(1), limited.openai.seconds.toFixed(1));
  console.log();
}

const texts = readFileSync(tickets, 'utf8').trim().split('\n').slice(0, 400).map((line) => JSON.parse(line).prompt);
const prompts = { openai: texts.filter((_, n) => n % 2 === 0), anthropic: texts.filter((_, n) => n % 2 === 1) };
const relays = {};
const folder = mkdtempSync(join(tmpdir(), 'rlimit-'));
let usual;
let limited;
try {
  for (const name of Object.keys(prompts)) {
    const [requests, given, output] = quota(prompts[name]);
    const limits = name === 'openai' ? { tpm: Math.floor(given / (1 + REFILLS)) + output } : { itpm: given, otpm: output };
    relays[name] = await referee(folder, name, { rpm: requests, ...limits });
    const words = { tpm: 'tokens', itpm: 'tokens of input', otpm: 'of output' };
    const allowed = Object.entries(limits).map(([option, limit]) => `${limit} ${words[option]}`).join(', ');
    console.log(`${prompts[name].length} tickets by the ${name} package; in ${PERIOD_S} s the server allows ${allowed}`);
  }
  console.log(`\nthe usual way: ${AT_ONCE} at a time, the packages retry twice`);
  usual = await run(relays, prompts, false);
  console.log('rlimit: one more line; the limits of the first server are not told');
  limited = await run(relays, prompts, true);
} finally {
  await Promise.all(Object.values(relays).map((relay) => relay.close()));
  rmSync(folder, { recursive: true, force: true });
}
show(usual, limited);
const refused = (figures) => Object.values(figures).reduce((sum, one) => sum + one.refused, 0);
console.log(`result usual_429s=${refused(usual)} limited_429s=${refused(limited)}`);
const perfect = Object.values(limited).every((one) => one.refused === 0 && one.completed === one.of && one.sent === one.of);
process.exitCode = perfect ? 0 : 1;
