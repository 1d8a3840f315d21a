// How long to wait before a retry: by class of error, priority and jitter; what the server asks for wins.
//
//     node backoff_delays.mjs
import { Backoff } from 'rlimit';

for (const jitter of ['none', 'fraction', 'full', 'equal', 'decorrelated']) {
  const delays = new Backoff({ base: 1000, factor: 2, cap: 60_000, jitter, attempts: 6, seed: 1 });
  console.log(jitter.padEnd(13), ...[...delays].map((ms) => (ms / 1000).toFixed(2).padStart(6)));
}

for (const errorClass of ['rate_limit', 'server', 'network', 'fatal']) {
  const backoff = new Backoff({ jitter: 'none' });
  console.log(errorClass.padEnd(13), 'normal', backoff.start().delay(errorClass),
    'high', backoff.start().delay(errorClass, { priority: 'high' }),
    'told to wait 17 s:', backoff.start().delay(errorClass, { retryAfter: 17_000 }));
}
