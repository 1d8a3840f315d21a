// Streams of Claude, many at once; the limiter is middleware of the SDK.
//
//     ANTHROPIC_API_KEY=... node anthropic_streaming.mjs
import Anthropic from '@anthropic-ai/sdk';
import { Limiter, anthropicMiddleware } from 'rlimit';

const limiter = new Limiter({ provider: 'anthropic' }); // its limits are learned from its answers
const client = new Anthropic({ middleware: [anthropicMiddleware(limiter)] });
const model = process.env.MODEL ?? 'claude-sonnet-5';

async function answer(question) {
  const messages = [{ role: 'user', content: question }];
  return client.messages.stream({ model, max_tokens: 100, messages }).finalText();
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
