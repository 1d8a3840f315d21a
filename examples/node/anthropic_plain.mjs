// Claude: one more line, and no 429.
//
//     ANTHROPIC_API_KEY=... node anthropic_plain.mjs
import Anthropic from '@anthropic-ai/sdk';
import { Limiter, wrap } from 'rlimit';

const limiter = new Limiter({ provider: 'anthropic' }); // its limits are learned from its answers
const client = wrap(new Anthropic(), limiter);
const model = process.env.MODEL ?? 'claude-sonnet-5';

async function answer(question) {
  const reply = await client.messages.create({ model, max_tokens: 100, messages: [{ role: 'user', content: question }] });
  return reply.content[0].text;
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
