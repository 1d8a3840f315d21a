"""A budget in dollars: no call that would exceed it, none above a tenth of it, a warning at 80 %, and a cheaper model when
the dearer one does not fit.

    python budget_guard.py
"""

from typing import Any, Dict, Optional, Tuple

from rlimit import Limiter, Permit, RequestCost, calendar_month

BUDGET = 1.00  # dollars a month
PRICES = {"large": (3.00, 15.00), "small": (0.25, 1.25)}  # dollars for a million tokens, input and output

budget = Limiter(microdollars=calendar_month(round(BUDGET * 1e6)))
warned = False


def choose(body: Dict[str, Any]) -> Optional[Tuple[str, Permit]]:
    """The first model whose call is affordable, and its permit; None: none is."""
    for model, prices in PRICES.items():
        cost = RequestCost.of(body).priced(*prices)
        if cost.microdollars > BUDGET * 1e6 / 10:
            print("  %s: %.4f dollars is more than a tenth of the budget" % (model, cost.microdollars / 1e6))
        elif budget.check(**cost).available:  # can afford?
            permit = budget.try_acquire(**cost)
            if permit is not None:  # nobody was faster
                return model, permit
        else:
            print("  %s: %.4f dollars is more than is left" % (model, cost.microdollars / 1e6))
    return None


def spend(body: Dict[str, Any], input_tokens: int, output_tokens: int) -> None:
    global warned
    chosen = choose(body)
    if chosen is None:
        print("refused")
        return
    model, permit = chosen
    actual = RequestCost(input_tokens=input_tokens, output_tokens=output_tokens).priced(*PRICES[model])  # track
    permit.settle(**actual)
    usage = budget.status().limits[0]
    print("%s: %.4f dollars, %.4f of %.2f spent" % (model, actual.microdollars / 1e6, usage.used / 1e6, BUDGET))
    if usage.used >= 0.8 * BUDGET * 1e6 and not warned:
        warned = True
        print("warning: 80 % of the budget is spent")


for call in range(14):
    long = "x" * (100_000 if call != 3 else 200_000)
    spend({"messages": [{"role": "user", "content": long}], "max_tokens": 1_000}, len(long) // 4, 600)
