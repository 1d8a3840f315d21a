"""The referee: a stand-in for a metered API that enforces limits with its own exact arithmetic.

    python -m relay --port 8080 --policy bucket --rpm 600 --tpm 80000 --concurrency 10 --keys k1,k2

`policies` is the arithmetic, without I/O; `audit` checks every admission a second time; `wire` is what the providers
send; `faults` is what can go wrong on demand; `server` joins them.
"""
