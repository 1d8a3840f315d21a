// OpenAI, or whatever speaks its API: one more line, and no 429.
//
//     OPENAI_API_KEY=... node openai_plain.mjs
//
// OPENAI_BASE_URL is read by the SDK too.
import OpenAI from 'openai';
import { Limiter, wrap } from 'rlimit';

const limiter = new Limiter({ provider: 'openai' }); // its limits are learned from its answers
const client = wrap(new OpenAI(), limiter);
const model = process.env.MODEL ?? 'gpt-5-mini';

async function answer(question) {
  const messages = [{ role: 'user', content: question }];
  const reply = await client.chat.completions.create({ model, messages, max_completion_tokens: 100 });
  return reply.choices[0].message.content;
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
