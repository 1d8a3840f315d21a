// Admit on an estimate, then settle with what the response says was used.
//
//     OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo node estimate_then_settle.mjs
//
// About four characters are a token; your own tokenizer goes in by `tokenizer`. What was not used is given back at once,
// what was used beyond the estimate delays those who come after.
import { Limiter, estimateTokens, per, requestCost } from 'rlimit';

const url = (process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1') + '/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY ?? 'demo'}`, 'content-type': 'application/json' };
const question = 'My invoice of last month shows a charge that I do not recognise. What is it for?';

const limiter = new Limiter({ requests: per(20, 1000, { guard: 100 }), tokens: per(1000, 1000, { guard: 100 }) });

console.log(`${estimateTokens(question)} tokens by characters, ${estimateTokens(question, { rule: 'words' })} by words`);
for (let number = 0; number < 12; number++) {
  const body = { model: 'demo', messages: [{ role: 'user', content: `${number}. ${question}` }], max_tokens: 200 };
  const estimate = requestCost(body);
  const permit = await limiter.acquire(estimate);
  let usage;
  try {
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
    usage = (await response.json()).usage;
  } finally {
    permit.settle({ inputTokens: usage?.prompt_tokens, outputTokens: usage?.completion_tokens });
  }
  console.log(`estimated ${estimate.inputTokens} + ${estimate.outputTokens} tokens,`,
    `used ${usage.prompt_tokens} + ${usage.completion_tokens}`);
}
