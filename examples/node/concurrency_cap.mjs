// At most 4 requests in flight. The place is given back on success, on an error and on an abort.
//
//     OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo node concurrency_cap.mjs
//
// The server allows 4 at a time here. Of 40 requests every fifth is given up by a time-out.
import { setTimeout as sleep } from 'node:timers/promises';
import { Limiter } from 'rlimit';

const url = (process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1') + '/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY ?? 'demo'}`, 'content-type': 'application/json' };
const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 10 });

const limiter = new Limiter({ concurrency: 4 });

async function ask(number) {
  const permit = await limiter.acquire();
  try {
    const slow = number % 5 === 0 ? { 'x-relay-fault': 'delay=5' } : {};
    const signal = AbortSignal.timeout(1000);
    const response = await fetch(url, { method: 'POST', headers: { ...headers, ...slow }, body, signal });
    await response.arrayBuffer();
    return response.ok ? 'answered' : `refused: ${response.status}`;
  } catch (error) {
    if (error.name !== 'TimeoutError') throw error;
    await sleep(200); // the server needs a moment to notice that nobody listens
    return 'given up';
  } finally {
    permit.settle();
  }
}

const answers = await Promise.all(Array.from({ length: 40 }, (_, number) => ask(number)));
for (const answer of new Set(answers.sort())) console.log(`${answer}: ${answers.filter((each) => each === answer).length}`);
console.log(`in flight at the end: ${limiter.status().active}`);
