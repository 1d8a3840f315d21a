// Retries by class of failure: what may pass is tried again, what will not is thrown at once. Every attempt pays.
//
//     OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo node retry_faults.mjs
//
// The server is asked for faults: 500, 529, 429 with Retry-After, a broken connection, a spent quota, a bad key.
import { Limiter, RetryBudget, perSecond, retry } from 'rlimit';

const url = (process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1') + '/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY ?? 'demo'}`, 'content-type': 'application/json' };
const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 10 });

const limiter = new Limiter({ requests: perSecond(50) });
const budget = new RetryBudget({ share: 0.2, perSecond: 10 }); // in an outage, retries do not multiply the load

for (const fault of ['500', '529', '429=0.2', 'drop', 'quota', '401']) {
  let attempts = 0;
  const ask = async ({ attempt }) => {
    attempts = attempt;
    const faulty = attempt <= 2 || fault === 'quota' || fault === '401';
    const asked = faulty ? { 'x-relay-fault': fault } : {};
    const response = await fetch(url, { method: 'POST', body, headers: { ...headers, ...asked } });
    if (!response.ok) throw Object.assign(new Error(`${response.status}`), { response, body: await response.json() });
    return 'answered';
  };
  let answer;
  try {
    answer = await retry(ask, { limiter, attempts: 4, backoff: { base: 100, cap: 1000, least: { rate_limit: 100 } }, budget });
  } catch (error) {
    answer = `failed: ${error.message}`;
  }
  console.log(fault.padEnd(8), `${attempts} attempts, ${answer}`);
}
