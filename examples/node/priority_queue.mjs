// Those who find no room wait in a bounded queue: by priority, first come first served within one, and nothing starves.
//
//     node priority_queue.mjs
//
// `timeout` is for the queue alone, not for the request. A full queue says so at once.
import { AcquireTimeoutError, Limiter, QueueFullError, perSecond } from 'rlimit';

const limiter = new Limiter({ requests: perSecond(20, { burst: 1 }), queue: 10 }); // 10,000 if not said

async function work(name, priority, timeout = 30_000) {
  const say = (text) => console.log(name.padEnd(10), priority.padEnd(8), text);
  try {
    const permit = await limiter.acquire({}, { priority, timeout });
    say(`after ${(permit.waited / 1000).toFixed(2)} s`);
    permit.settle();
  } catch (error) {
    if (error instanceof AcquireTimeoutError) say('gave up');
    else if (error instanceof QueueFullError) say('the queue is full');
    else throw error;
  }
}

const jobs = [['first', 'normal'], ['report 1', 'low'], ['report 2', 'low'], ['ticket 1', 'normal'], ['ticket 2', 'normal'],
  ['chat', 'high'], ['alarm', 'critical'], ['impatient', 'low', 60]];
for (let number = 0; number < 5; number++) jobs.push([`crowd ${number}`, 'normal']);
await Promise.all(jobs.map((job) => work(...job)));
