// Streams of the OpenAI API, many at once.
//
//     OPENAI_API_KEY=... node openai_streaming.mjs
//
// A stream counts as in flight until it ends. Its usage settles the account, if it is asked for.
import OpenAI from 'openai';
import { Limiter, perMinute, wrap } from 'rlimit';

const limiter = new Limiter({ requests: perMinute(500), tokens: perMinute(30_000), concurrency: 20 });
const client = wrap(new OpenAI(), limiter);
const model = process.env.MODEL ?? 'gpt-5-mini';

async function answer(question) {
  const stream = await client.chat.completions.create({
    model, messages: [{ role: 'user', content: question }], max_completion_tokens: 100,
    stream: true, stream_options: { include_usage: true },
  });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  return text;
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
