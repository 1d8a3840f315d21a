// Any API by fetch: limiter.fetch is a fetch that waits its turn, and learns from the answers.
//
//     OPENAI_API_KEY=... node fetch_requests.mjs
import { Limiter, retry } from 'rlimit';

const limiter = new Limiter({ provider: 'openai' });
const url = (process.env.OPENAI_BASE_URL ?? 'https://api.openai.com/v1') + '/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY}`, 'content-type': 'application/json' };
const model = process.env.MODEL ?? 'gpt-5-mini';

async function answer(question) {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: question }], max_completion_tokens: 100 });
  // fetch does not retry; how many requests at a time the server allows is found by trying
  const response = await retry(() => limiter.fetch(url, { method: 'POST', headers, body }));
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()).choices[0].message.content;
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
