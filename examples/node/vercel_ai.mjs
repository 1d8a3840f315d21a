// The AI SDK: through the fetch option of its providers.
//
//     OPENAI_API_KEY=... node vercel_ai.mjs
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import { Limiter } from 'rlimit';

const limiter = new Limiter({ provider: 'openai' });
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, fetch: limiter.fetch });
const model = openai.chat(process.env.MODEL ?? 'gpt-5-mini');

async function answer(question, n) {
  const options = { model, prompt: question, maxOutputTokens: 100 };
  return n % 2 ? (await generateText(options)).text : streamText(options).text;
}

const questions = Array.from({ length: 40 }, (_, n) => `What is ${n} times ${n + 1}?`);
const answers = await Promise.all(questions.map(answer));
questions.forEach((question, n) => console.log(question, answers[n]));
