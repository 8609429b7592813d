"""`python -m tests.soak --kills 50 --seed 0`: random SIGKILLs and faults over a tiny catalogue's
retrains, then a clean one.

`draws` says whom to kill, what to break and when, `faults` breaks and mends it, `system` is `mmesid up` as its user
knows it, `world` keeps something to do, `laws` are what must hold at the end.
"""
