// undici: an interceptor of a dispatcher. Whatever goes through the dispatcher waits its turn.
//
//     OPENAI_API_KEY=... node undici_requests.mjs
import { Agent, interceptors, request } from 'undici';
import { Limiter, undiciInterceptor } from 'rlimit';

const limiter = new Limiter({ provider: 'openai' });
// the last one runs first: each attempt of the retry interceptor passes the limiter. It does not retry POST unless told to
const retry = interceptors.retry({ maxRetries: 5, methods: ['POST'], statusCodes: [429, 500, 502, 503, 504, 529] });
const dispatcher = new Agent().compose(undiciInterceptor(limiter), retry);
const url = (process.env.OPENAI_BASE_URL ?? 'https://api.openai.com/v1') + '/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY}`, 'content-type': 'application/json' };
const model = process.env.MODEL ?? 'gpt-5-mini';

async function answer(question) {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: question }], max_completion_tokens: 100 });
  const response = await request(url, { method: 'POST', headers, body, dispatcher });
  return (await response.body.json()).choices[0].message.content;
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
