// A budget in dollars: no call that would exceed it, none above a tenth of it, a warning at 80 %, and a cheaper model when
// the dearer one does not fit.
//
//     node budget_guard.mjs
import { Limiter, calendarMonth, priced, requestCost } from 'rlimit';

const BUDGET = 1.00; // dollars a month
const PRICES = { large: { inputPrice: 3.00, outputPrice: 15.00 }, small: { inputPrice: 0.25, outputPrice: 1.25 } };

const budget = new Limiter({ microdollars: calendarMonth(BUDGET * 1e6) });
const dollars = (microdollars) => (microdollars / 1e6).toFixed(4);
let warned = false;

/** The first model whose call is affordable, and its permit; undefined: none is. */
function choose(body) {
  for (const [model, prices] of Object.entries(PRICES)) {
    const cost = requestCost(body, prices);
    if (cost.microdollars > BUDGET * 1e6 / 10) {
      console.log(`  ${model}: ${dollars(cost.microdollars)} dollars is more than a tenth of the budget`);
    } else {
      const permit = budget.tryAcquire(cost); // can afford?
      if (permit) return { model, permit };
      console.log(`  ${model}: ${dollars(cost.microdollars)} dollars is more than is left`);
    }
  }
  return undefined;
}

function spend(body, inputTokens, outputTokens) {
  const chosen = choose(body);
  if (!chosen) return console.log('refused');
  const actual = priced({ inputTokens, outputTokens }, PRICES[chosen.model]); // track
  chosen.permit.settle(actual);
  const { used } = budget.status().limits[0];
  console.log(`${chosen.model}: ${dollars(actual.microdollars)} dollars, ${dollars(used)} of ${BUDGET.toFixed(2)} spent`);
  if (used >= 0.8 * BUDGET * 1e6 && !warned) {
    warned = true;
    console.log('warning: 80 % of the budget is spent');
  }
}

for (let call = 0; call < 14; call++) {
  const content = 'x'.repeat(call === 3 ? 200_000 : 100_000);
  spend({ messages: [{ role: 'user', content }], max_tokens: 1_000 }, content.length / 4, 600);
}
