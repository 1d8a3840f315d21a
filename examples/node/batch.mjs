// A batch: any number of tickets in bounded memory, with progress, errors by item, and resumable after a crash.
//
//     OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo node batch.mjs [RESULTS.jsonl]
//
// Run again, it goes on with what is not yet in RESULTS.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { Limiter, map, per, requestCost, retryable } from 'rlimit';

const url = (process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1') + '/chat/completions';
const key = process.env.OPENAI_API_KEY ?? 'demo';
const results = process.argv[2] ?? 'results.jsonl';

const guard = 100; // ms: the largest delay of a request on its way
const limiter = new Limiter({ requests: per(100, 1000, { guard }), tokens: per(10_000, 1000, { guard }), concurrency: 20 });

const request = (ticket) => ({ model: 'demo', messages: [{ role: 'user', content: ticket.text }], max_tokens: 50 });

/** Numbers of tickets that are done. A line cut short by a crash does not count. */
function finished() {
  const done = new Set();
  for (const line of existsSync(results) ? readFileSync(results, 'utf8').split('\n') : []) {
    try {
      done.add(JSON.parse(line).number);
    } catch { /* cut short */ }
  }
  return done;
}

function* tickets() {
  const done = finished();
  for (let number = 0; number < 300; number++) {
    if (!done.has(number)) yield { number, text: `Ticket ${number}: I cannot log in since yesterday.` };
  }
}

const classify = retryable(async (ticket) => {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-client-id': String(ticket.number) };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(request(ticket)) });
  if (!response.ok) throw Object.assign(new Error(`${response.status}`), { response });
  return (await response.json()).choices[0].message.content;
}, { limiter, cost: (ticket) => requestCost(request(ticket)) }); // every attempt pays

let failed = 0;
if (existsSync(results)) appendFileSync(results, '\n'); // after a line cut short
for await (const outcome of map(tickets(), (ticket) => classify(ticket), { concurrency: 20, ordered: false })) {
  if (outcome.ok) {
    appendFileSync(results, JSON.stringify({ number: outcome.item.number, answer: outcome.value }) + '\n');
  } else {
    failed++;
    console.error(`ticket ${outcome.item.number}: ${outcome.error}`);
  }
}
console.log(`${finished().size} done, ${failed} failed`);
