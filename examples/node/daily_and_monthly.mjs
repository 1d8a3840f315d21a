// 1,000 requests a day and 50 dollars a month, counted from midnight and from the first, and kept over a restart.
//
//     node daily_and_monthly.mjs [STATE.json]
//
// Each run spends a little; the next goes on where it ended.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Limiter, calendarDay, calendarMonth } from 'rlimit';

const state = process.argv[2] ?? 'daily_and_monthly.json';
const pacific = -8 * 3_600_000; // utcOffset: whose midnight counts

const limiter = new Limiter({ requests: calendarDay(1000, { utcOffset: pacific }), microdollars: calendarMonth(50_000_000) });
if (existsSync(state)) limiter.restore(JSON.parse(readFileSync(state, 'utf8')));

const permit = await limiter.acquire({ microdollars: 12_000 }); // an estimate
permit.settle({ microdollars: 9_500 }); // what the call has cost

writeFileSync(state + '.new', JSON.stringify(limiter.save()));
renameSync(state + '.new', state); // whole or not at all, also in a crash

for (const { meter, used, capacity, reset } of limiter.status().limits) {
  console.log(`${meter}: ${used} of ${capacity} used, anew in ${(reset / 3_600_000).toFixed(1)} hours`);
}
