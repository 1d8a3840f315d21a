// Requests and tokens a minute together: a request takes from both limits or from neither.
//
//     OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo node requests_and_tokens.mjs
//
// The server allows 10 requests and 2,000 tokens a second here. 40 calls begin at once, and none is refused.
import { Limiter, per } from 'rlimit';

const url = (process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1') + '/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY ?? 'demo'}`, 'content-type': 'application/json' };

// guard: the largest delay of a request on its way. Requests that overtake each other then still find room.
const limiter = new Limiter({ requests: per(10, 1000, { guard: 100 }), tokens: per(2000, 1000, { guard: 100 }) });

async function ask(number) {
  const content = `Ticket ${number}: where is my parcel? `.repeat(10);
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content }], max_tokens: 100 });
  const permit = await limiter.acquire({ inputTokens: 80, outputTokens: 100 });
  try {
    const response = await fetch(url, { method: 'POST', headers, body });
    if (!response.ok) throw new Error(`${response.status}`);
    await response.json();
  } finally {
    permit.settle();
  }
  console.log(`ticket ${String(number).padStart(2)} waited ${(permit.waited / 1000).toFixed(2)} s`);
}

await Promise.all(Array.from({ length: 40 }, (_, number) => ask(number)));
